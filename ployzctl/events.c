/* `ployzctl events`: intent, facts and manifests as readable lines, merged in the order of time.
 * Facts are read from the beginning, because a change shows only against the entry before it. */
#include <inttypes.h>

#include "ployzctl/ployzctl.h"
#include "ployzctl/pure.h"

#define LAST_SHOWN 50 /* entries, without --since */

struct events_options {
	bool follow;
	int64_t since;
};
static const struct config_row events_rows[] = {
	{ "follow", CONFIG_BOOL, offsetof(struct events_options, follow), NULL, NULL,
	  "continue as entries arrive (-f)", 0, 0 },
	{ "since", CONFIG_INT, offsetof(struct events_options, since), "-1", "SEQ",
	  "from this sequence of the intent on; without it, the last 50 entries", -1, INT64_MAX },
	CONFIG_END,
};
static const struct short_option shorts[] = { { 'f', "follow" }, { 0, NULL } };

/* An entry as text that waits until all streams are read. */
struct held_entry {
	uint64_t time_usec;
	size_t source;
	uint64_t sequence;
	char *text;
};
struct events;
struct source {
	struct events *events;
	const char *stream;
	const char *name; /* in the lines */
	struct stream_follow *follow;
	bool live;
};
struct events {
	struct ployzctl *ctl;
	struct events_options options;
	const char *ns; /* NULL: all */
	struct event_memory memory;
	struct source sources[3];
	struct deferred *again;
	bool switching;	     /* to the local mirrors: other losses are still the store's */
	bool mirror;	     /* the local mirrors are read: the store does not answer */
	bool live;	     /* everything that was stored is shown */
	uint64_t since_usec; /* time of the first entry from --since on; 0: there is none yet */
	struct held_entry *held;
	size_t n_held;
};

static char *entry_json(const struct source *source, const struct stream_entry *entry)
{
	_cleanup_free_ char *time = time_format(entry->time_usec);
	json_t *data = json_loadb(entry->data, entry->size, JSON_ALLOW_NUL, NULL);
	_cleanup_json_ json_t *json =
		json_pack("{s:s, s:I, s:s, s:s, s:o}", "stream", source->stream, "sequence",
			  (json_int_t)entry->sequence, "time", time, "subject", entry->subject,
			  "entry", data ? data : json_null());
	_cleanup_free_ char *text = json_text(json);

	return xasprintf("%s\n", text);
}

/* One entry as the lines that are shown; empty when it changed nothing. */
static char *entry_text(const struct source *source, const struct stream_entry *entry,
			const char *about, char *const *lines)
{
	_cleanup_free_ char *time = time_format(entry->time_usec);
	struct strbuf text = STRBUF_INIT;

	for (; lines && *lines; lines++) {
		_cleanup_free_ char *safe = text_safe(*lines);

		strbuf_printf(&text, "%s %-8s %6" PRIu64 "  %-12s %s\n", time, source->name,
			      entry->sequence, about, safe);
	}
	return strbuf_steal(&text);
}

static void show(const struct events *events, const char *text)
{
	/* The process that reads the output has ended. */
	if (fputs(text, stdout) == EOF || (events->live && fflush(stdout) != 0))
		session_end(events->ctl, EXIT_DONE);
}

/* --- lines that wait until all streams are read */

static void hold(struct events *events, size_t source, const struct stream_entry *entry, char *text)
{
	struct held_entry *held = array_add(events->held, events->n_held);

	*held = (struct held_entry){ entry->time_usec, source, entry->sequence, text };
}

static void drop_held(struct events *events)
{
	for (size_t i = 0; i < events->n_held; i++)
		free(events->held[i].text);
	free(steal(events->held));
	events->n_held = 0;
}

static int compare_held(const void *a, const void *b)
{
	const struct held_entry *x = a, *y = b;

	if (x->time_usec != y->time_usec)
		return x->time_usec < y->time_usec ? -1 : 1;
	if (x->source != y->source)
		return x->source < y->source ? -1 : 1;
	return (x->sequence > y->sequence) - (x->sequence < y->sequence);
}

/* --since counts the entries of the intent; those of the other streams are shown from the time of
 * the first of these on. */
static bool wanted(const struct events *events, uint64_t time_usec)
{
	return events->options.since < 0 || (events->since_usec && time_usec >= events->since_usec);
}

static void show_held(struct events *events)
{
	size_t first = 0;

	if (events->n_held)
		qsort(events->held, events->n_held, sizeof(*events->held), compare_held);
	if (events->options.since < 0 && events->n_held > LAST_SHOWN)
		first = events->n_held - LAST_SHOWN;
	for (size_t i = first; i < events->n_held; i++)
		if (wanted(events, events->held[i].time_usec))
			show(events, events->held[i].text);
	drop_held(events);
}

/* Without --since only the last entries are kept while the streams are read. */
static void bound_held(struct events *events)
{
	size_t keep = (size_t)LAST_SHOWN * ARRAY_SIZE(events->sources), dropped;

	if (events->options.since >= 0 || events->n_held < 16 * keep)
		return;
	qsort(events->held, events->n_held, sizeof(*events->held), compare_held);
	dropped = events->n_held - keep;
	for (size_t i = 0; i < dropped; i++)
		free(events->held[i].text);
	memmove(events->held, events->held + dropped, keep * sizeof(*events->held));
	memset(events->held + keep, 0, dropped * sizeof(*events->held));
	events->n_held = keep;
}

/* --- entries */

static void on_entry(const struct stream_entry *entry, void *userdata)
{
	struct source *source = userdata;
	struct events *events = source->events;
	bool intent = source == &events->sources[0];
	_cleanup_free_ char *about = NULL, *text = NULL;
	_cleanup_(strv_freep) char **lines = NULL;

	event_lines(&events->memory, entry, &about, &lines);
	if (intent && (int64_t)entry->sequence < events->options.since)
		return;
	if (intent && !events->since_usec)
		events->since_usec = entry->time_usec;
	if (events->ns && !streq(events->ns, about))
		return;
	if (events->ctl->options.json)
		text = entry_json(source, entry);
	else
		text = entry_text(source, entry, about, lines);
	if (!*text)
		return;
	if (events->live && wanted(events, entry->time_usec)) {
		show(events, text);
	} else if (!events->live) {
		hold(events, (size_t)(source - events->sources), entry, steal(text));
		bound_held(events);
	}
}

static void on_live(_unused_ uint64_t sequence, void *userdata)
{
	struct source *source = userdata;
	struct events *events = source->events;

	source->live = true;
	for (size_t i = 0; i < ARRAY_SIZE(events->sources); i++)
		if (!events->sources[i].live)
			return;
	if (!events->live)
		show_held(events);
	events->live = true;
	fflush(stdout);
	if (!events->options.follow)
		session_end(events->ctl, EXIT_DONE);
}

static void on_restart(void *userdata)
{
	struct source *source = userdata;

	fprintf(stderr, "ployzctl: stream %s was restored or created again\n", source->stream);
	event_memory_clear(&source->events->memory);
}

static void on_lost(const struct failure *why, void *userdata)
{
	struct source *source = userdata;
	struct events *events = source->events;

	if (events->options.follow) {
		fprintf(stderr, "ployzctl: %s; retrying\n", why->message);
		return;
	}
	if (events->switching)
		return;
	if (events->mirror) {
		session_fail(events->ctl, why);
		return;
	}
	fprintf(stderr, "ployzctl: %s; reading this machine's local mirrors\n", why->message);
	events->mirror = events->switching = true;
	deferred_schedule(events->again);
}

static void detach(struct events *events)
{
	for (size_t i = 0; i < ARRAY_SIZE(events->sources); i++) {
		stream_follow_free(steal(events->sources[i].follow));
		events->sources[i].live = false;
	}
	event_memory_clear(&events->memory);
	drop_held(events);
	events->since_usec = 0;
}

static void attach(void *userdata)
{
	static const struct stream_follow_ops ops = {
		.entry = on_entry,
		.live = on_live,
		.restart = on_restart,
		.lost = on_lost,
	};
	struct events *events = userdata;

	detach(events);
	events->switching = false;
	for (size_t i = 0; i < ARRAY_SIZE(events->sources); i++) {
		struct source *source = &events->sources[i];
		const struct stream_follow_options options = {
			.domain = events->mirror ? events->ctl->machine : STORE_DOMAIN,
			.stream = source->stream,
			.from = STREAM_FROM_ALL,
			.once = !events->options.follow,
		};

		source->follow = stream_follow_new(events->ctl->bus, &options, &ops, source);
	}
}

static void on_interrupt(void *userdata)
{
	session_end(userdata, EXIT_DONE);
}

static int read_log(struct events *events)
{
	static const struct {
		const char *stream, *name;
	} streams[] = {
		{ STREAM_INTENT, "intent" },
		{ STREAM_FACTS, "facts" },
		{ STREAM_MANIFESTS, "manifest" },
	};
	struct ployzctl *ctl = events->ctl;
	int code = session_open(ctl);

	if (code)
		return code;
	if (events->options.follow) {
		ctl->interrupted = on_interrupt;
		ctl->interrupted_data = ctl;
	}
	for (size_t i = 0; i < ARRAY_SIZE(events->sources); i++)
		events->sources[i] = (struct source){ .events = events,
						      .stream = streams[i].stream,
						      .name = streams[i].name };
	events->again = deferred_new(ctl->loop, attach, events);
	attach(events);
	code = session_run(ctl);
	detach(events);
	deferred_free(events->again);
	return code;
}

int verb_events(struct ployzctl *ctl, int argc, char **argv)
{
	_cleanup_(strv_freep) char **words = NULL;
	struct events events = { .ctl = ctl };
	int code = arguments_take(ctl, "events", events_rows, shorts, &events.options, argc, argv,
				  0, 1, &words);

	if (!code) {
		events.ns = words ? words[0] : NULL;
		code = read_log(&events);
	}
	event_memory_clear(&events.memory);
	config_clear(events_rows, &events.options);
	return MAX2(code, 0);
}
