/* Live: a deploy's progress, as a block that is redrawn on a terminal, otherwise as one line per
 * event. */
#include <sys/ioctl.h>
#include <unistd.h>

#include "ployzctl/ployzctl.h"

#define BLOCK_MAX 24 /* lines: a usual terminal has no room for more */

struct live_slot {
	char *key;  /* instance, or service/slot */
	char *name; /* service/slot */
	char *machine;
	char *state;
	char *message;
	uint64_t since_usec; /* boot-time clock */
};

struct live {
	FILE *to;
	bool animated;
	bool plan; /* shows the plan when it comes */
	struct live_slot *slots;
	size_t n_slots;
	char *pull;	     /* the last line about images */
	unsigned drawn;	     /* lines of the block on the terminal now */
	uint64_t begun_usec; /* start of the deploy on our boot-time clock; 0: unknown */
};

struct live *live_new(FILE *to, bool animated, bool plan)
{
	struct live *live = xcalloc(1, sizeof(*live));

	live->to = to;
	live->animated = animated;
	live->plan = plan;
	return live;
}

static char *pull_line(const struct progress *p)
{
	_cleanup_free_ char *done = size_human((uint64_t)p->done_bytes),
			    *total = size_human((uint64_t)p->total_bytes);

	if (p->total_bytes <= 0)
		return xasprintf("%s: %s", p->machine ? p->machine : "?",
				 p->message ? p->message : "fetching an image");
	return xasprintf("%s: %s (%s of %s)", p->machine ? p->machine : "?",
			 p->message ? p->message : "fetching an image", done, total);
}

char *live_line(const struct progress *p)
{
	const char *more = p->message && *p->message ? p->message : NULL;
	_cleanup_free_ char *line = NULL;

	switch ((enum progress_kind)p->kind) {
	case PROGRESS_PHASE:
		line = xasprintf("%s%s%s", deploy_phase_names[p->phase], more ? ": " : "",
				 more ? more : "");
		break;
	case PROGRESS_SLOT:
		line = xasprintf("%s/%lld %s on %s%s%s", p->service ? p->service : "?",
				 (long long)p->slot, p->state ? p->state : "?",
				 p->machine ? p->machine : "?", more ? ": " : "", more ? more : "");
		break;
	case PROGRESS_PULL:
		/* Do not report an image that is already present. */
		line = p->message || p->total_bytes > 0 ? pull_line(p) : NULL;
		break;
	case PROGRESS_NOTE:
		line = xstrdup(more);
		break;
	case PROGRESS_LINE:
		line = xasprintf("%s | %s", p->service ? p->service : "?",
				 p->message ? p->message : "");
		break;
	case PROGRESS_PLAN:
	case PROGRESS_END:
		break;
	}
	return line ? text_safe(line) : NULL;
}

/* --- the block */

static unsigned terminal_columns(const struct live *live)
{
	struct winsize size;

	return ioctl(fileno(live->to), TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col
										   : 80;
}

static void erase(struct live *live)
{
	if (live->drawn)
		fprintf(live->to, "\x1b[%uA\x1b[J", live->drawn);
	live->drawn = 0;
}

/* Cut to the terminal's width: a wrapped line would count as two for the next erase. */
static void draw_line(struct live *live, const char *text, unsigned columns)
{
	size_t bytes = 0;

	for (unsigned n = 0; text[bytes] && n < columns - 1; n++)
		do
			bytes++;
		while (((unsigned char)text[bytes] & 0xc0) == 0x80);
	fprintf(live->to, "%.*s\n", (int)bytes, text);
	live->drawn++;
}

static void draw(struct live *live)
{
	unsigned columns = terminal_columns(live);
	uint64_t now = boot_now_usec();

	for (size_t i = 0; i < live->n_slots && live->drawn < BLOCK_MAX; i++) {
		const struct live_slot *slot = &live->slots[i];
		_cleanup_free_ char *age = duration_human(now - slot->since_usec);
		_cleanup_free_ char *line =
			xasprintf("  %-20s %-10s %-12s %8s  %s", slot->name, slot->state,
				  slot->machine, age, slot->message ? slot->message : "");

		draw_line(live, line, columns);
	}
	if (live->pull && live->drawn < BLOCK_MAX) {
		_cleanup_free_ char *line = xasprintf("  %s", live->pull);

		draw_line(live, line, columns);
	}
	fflush(live->to);
}

void live_tick(struct live *live)
{
	if (!live->animated || !(live->n_slots || live->pull))
		return;
	erase(live);
	draw(live);
}

static void print_above(struct live *live, const char *line)
{
	if (live->animated)
		erase(live);
	fprintf(live->to, "%s\n", line);
	if (live->animated)
		draw(live);
	fflush(live->to);
}

void live_print(struct live *live, const char *format, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list args;

	va_start(args, format);
	text = xvasprintf(format, args);
	va_end(args);
	print_above(live, text);
}

/* --- events */

static struct live_slot *slot_of(struct live *live, const struct progress *p)
{
	_cleanup_free_ char *name =
		xasprintf("%s/%lld", p->service ? p->service : "?", (long long)p->slot);
	const char *key = p->instance ? p->instance : name;
	struct live_slot *slot;

	for (size_t i = 0; i < live->n_slots; i++)
		if (streq(live->slots[i].key, key))
			return &live->slots[i];
	slot = array_add(live->slots, live->n_slots);
	slot->key = xstrdup(key);
	slot->name = text_safe(name);
	slot->machine = text_safe(p->machine);
	slot->state = xstrdup("");
	return slot;
}

/* The machine's agentd and the executing leased both report a slot: a known state is not shown
 * again. */
static bool slot_changed(struct live *live, const struct progress *p)
{
	struct live_slot *slot = slot_of(live, p);
	_cleanup_free_ char *state = text_safe(p->state);

	if (streq(slot->state, state))
		return false;
	free(slot->state);
	free(slot->message);
	slot->state = steal(state);
	slot->message = p->message ? text_safe(p->message) : NULL;
	slot->since_usec = boot_now_usec();
	return true;
}

static bool pull_changed(struct live *live, const struct progress *p)
{
	char *text =
		xasprintf("%s: %s", p->machine ? p->machine : "", p->message ? p->message : "");
	bool changed = !live->pull || strcmp(text, live->pull) != 0;

	free(live->pull);
	if (!live->animated) {
		live->pull = text;
		return changed;
	}
	free(text);
	live->pull = live_line(p);
	live_tick(live);
	return false;
}

static void show_plan(struct live *live, const struct plan *plan)
{
	struct strbuf text = STRBUF_INIT;

	tree_plan(plan, &text);
	if (text.size)
		text.text[text.size - 1] = '\0';
	print_above(live, text.text);
	strbuf_clear(&text);
}

void live_progress(struct live *live, const struct progress *p)
{
	_cleanup_free_ char *line = live_line(p);

	/* Only leased reports the elapsed time; events of agentd are placed on the same clock. */
	if (p->elapsed_ms > 0)
		live->begun_usec = boot_now_usec() - (uint64_t)p->elapsed_ms * 1000;
	if (p->kind == PROGRESS_PLAN && p->plan && live->plan)
		show_plan(live, p->plan);
	if (p->kind == PROGRESS_SLOT && (!slot_changed(live, p) || live->animated)) {
		live_tick(live);
		return;
	}
	if (p->kind == PROGRESS_PULL && !pull_changed(live, p))
		return;
	if (p->kind == PROGRESS_PHASE && !deploy_phase_is_end((enum deploy_phase)p->phase))
		free(steal(live->pull));
	if (!line)
		return;
	/* After an attach the elapsed time is unknown until leased reports it. */
	if (!live->begun_usec && live->plan) {
		live_print(live, "           %s", line);
		return;
	}
	if (!live->begun_usec)
		live->begun_usec = boot_now_usec();
	live_print(live, "%7.1f s  %s", (double)(boot_now_usec() - live->begun_usec) / 1000000,
		   line);
}

void live_free(struct live *live)
{
	if (!live)
		return;
	for (size_t i = 0; i < live->n_slots; i++) {
		free(live->slots[i].key);
		free(live->slots[i].name);
		free(live->slots[i].machine);
		free(live->slots[i].state);
		free(live->slots[i].message);
	}
	free(live->slots);
	free(live->pull);
	free(live);
}
