/* events: the log as readable lines. It is read from its beginning, because what changed shows only
 * against what was there before. */
#include <inttypes.h>

#include "ployzctl/ployzctl.h"
#include "ployzctl/reading.h"

#define LAST_SHOWN 50 /* entries, when --since says nothing */

struct events_options {
	bool follow;
	int64_t since;
};
static const struct config_row events_rows[] = {
	{ "follow", CONFIG_BOOL, offsetof(struct events_options, follow), NULL, NULL,
	  "go on as entries come (-f)", 0, 0 },
	{ "since", CONFIG_INT, offsetof(struct events_options, since), "-1", "SEQ",
	  "from this sequence on; without: the last 50 entries", -1, INT64_MAX },
	CONFIG_END,
};
static const struct short_option shorts[] = { { 'f', "follow" }, { 0, NULL } };

struct events {
	struct ployzctl *ctl;
	struct events_options options;
	const char *ns; /* NULL: everything */
	struct event_memory memory;
	struct stream_follow *follow;
	struct deferred *again;
	bool copy; /* the store does not answer: this machine's copy is read */
	bool live;
	char *last[LAST_SHOWN]; /* what waits to be shown, in a ring */
	size_t n_last;
};

static char *entry_json(const struct stream_entry *entry)
{
	_cleanup_free_ char *time = time_format(entry->time_usec);
	json_t *data = json_loadb(entry->data, entry->size, JSON_ALLOW_NUL, NULL);
	_cleanup_json_ json_t *json =
		json_pack("{s:I, s:s, s:s, s:o}", "sequence", (json_int_t)entry->sequence, "time",
			  time, "subject", entry->subject, "entry", data ? data : json_null());

	_cleanup_free_ char *text = json_text(json);

	return xasprintf("%s\n", text);
}

/* One entry as the text that is shown, lines with their ends; empty: there is nothing to say of
 * it. */
static char *entry_text(const struct stream_entry *entry, const char *about, char *const *lines)
{
	_cleanup_free_ char *time = time_format(entry->time_usec);
	struct strbuf text = STRBUF_INIT;

	for (; lines && *lines; lines++) {
		_cleanup_free_ char *safe = text_safe(*lines);

		strbuf_printf(&text, "%s %6" PRIu64 "  %-12s %s\n", time, entry->sequence, about,
			      safe);
	}
	return strbuf_steal(&text);
}

static void show(const struct events *events, const char *text)
{
	/* Whoever read this has gone: nothing is left to be done. */
	if (fputs(text, stdout) == EOF || (events->live && fflush(stdout) != 0))
		session_end(events->ctl, EXIT_DONE);
}

static void keep_last(struct events *events, char *text)
{
	char **place = &events->last[events->n_last++ % LAST_SHOWN];

	free(*place);
	*place = text;
}

static void show_last(struct events *events)
{
	size_t first = events->n_last > LAST_SHOWN ? events->n_last - LAST_SHOWN : 0;

	for (; first < events->n_last; first++)
		show(events, events->last[first % LAST_SHOWN]);
}

static void on_entry(const struct stream_entry *entry, void *userdata)
{
	struct events *events = userdata;
	_cleanup_free_ char *about = NULL, *text = NULL;
	_cleanup_(strv_freep) char **lines = NULL;

	event_lines(&events->memory, entry, &about, &lines);
	if ((events->ns && !streq(events->ns, about)) ||
	    (int64_t)entry->sequence < events->options.since)
		return;
	if (events->ctl->options.json)
		text = entry_json(entry);
	else
		text = entry_text(entry, about, lines);
	if (!*text)
		return;
	if (events->live || events->options.since >= 0)
		show(events, text);
	else
		keep_last(events, steal(text));
}

static void on_live(_unused_ uint64_t sequence, void *userdata)
{
	struct events *events = userdata;

	if (!events->live && events->options.since < 0)
		show_last(events);
	events->live = true;
	fflush(stdout);
	if (!events->options.follow)
		session_end(events->ctl, EXIT_DONE);
}

static void on_restart(void *userdata)
{
	struct events *events = userdata;

	fprintf(stderr, "ployzctl: the log is another one now: it was restored or made anew\n");
	event_memory_clear(&events->memory);
}

static void on_lost(const struct failure *why, void *userdata)
{
	struct events *events = userdata;

	if (events->options.follow) {
		fprintf(stderr, "ployzctl: %s; trying again\n", why->message);
		return;
	}
	if (events->copy) {
		session_fail(events->ctl, why);
		return;
	}
	fprintf(stderr, "ployzctl: %s; reading this machine's copy of the log\n", why->message);
	events->copy = true;
	deferred_schedule(events->again);
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
	const struct stream_follow_options options = {
		.domain = events->copy ? events->ctl->machine : STORE_DOMAIN,
		.stream = STREAM_INTENT,
		.from = STREAM_FROM_ALL,
		.once = !events->options.follow,
	};

	stream_follow_free(events->follow);
	event_memory_clear(&events->memory);
	events->follow = stream_follow_new(events->ctl->bus, &options, &ops, events);
}

static void on_interrupt(void *userdata)
{
	session_end(userdata, EXIT_DONE);
}

static int read_log(struct events *events)
{
	struct ployzctl *ctl = events->ctl;
	int code = session_open(ctl);

	if (code)
		return code;
	if (events->options.follow) {
		ctl->interrupted = on_interrupt;
		ctl->interrupted_data = ctl;
	}
	events->again = deferred_new(ctl->loop, attach, events);
	attach(events);
	code = session_run(ctl);
	stream_follow_free(events->follow);
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
	for (size_t i = 0; i < LAST_SHOWN; i++)
		free(events.last[i]);
	config_clear(events_rows, &events.options);
	return MAX2(code, 0);
}
