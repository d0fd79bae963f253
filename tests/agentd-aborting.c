/* Presumed abort, the pure part: the table, what a head means, which instances are candidates. */
#include "tests/lib/surroundings.h"

#define OLD "shop-web-0-d0"
#define NEW "shop-web-0-d1"
#define NAMES_OLD "web/0/" OLD "/d0"
#define NAMES_NEW "web/0/" NEW "/d1"

static const struct {
	const char *name;
	enum aborting_event events[6];
	size_t n;
	enum aborting_state end;
	enum aborting_action last;
} rows[] = {
	{ "stopped, then the deploy resumes it and it runs",
	  { ABORTING_TAKEN_OUT, ABORTING_RESUME, ABORTING_SETTLED },
	  3,
	  ABORTING_DONE,
	  ABORTING_NOP },
	{ "the lock ends: the head is asked for",
	  { ABORTING_UNLOCKED },
	  1,
	  ABORTING_DOUBT,
	  ABORTING_READ },
	{ "it ends and comes back before the head was read",
	  { ABORTING_UNLOCKED, ABORTING_LOCKED },
	  2,
	  ABORTING_HELD,
	  ABORTING_NOP },
	{ "the head still names it, the deploy is open",
	  { ABORTING_UNLOCKED, ABORTING_OPEN },
	  2,
	  ABORTING_ABORTED,
	  ABORTING_RESTORE },
	{ "the same read again",
	  { ABORTING_UNLOCKED, ABORTING_OPEN, ABORTING_OPEN },
	  3,
	  ABORTING_ABORTED,
	  ABORTING_NOP },
	{ "the deploy is closed later",
	  { ABORTING_UNLOCKED, ABORTING_OPEN, ABORTING_ENDED },
	  3,
	  ABORTING_CLOSED,
	  ABORTING_RESTORE_AND_REMOVE },
	{ "and all of it is reached",
	  { ABORTING_UNLOCKED, ABORTING_OPEN, ABORTING_ENDED, ABORTING_SETTLED },
	  4,
	  ABORTING_DONE,
	  ABORTING_NOP },
	{ "an abort is not over before the deploy is closed",
	  { ABORTING_UNLOCKED, ABORTING_OPEN, ABORTING_SETTLED },
	  3,
	  ABORTING_ABORTED,
	  ABORTING_NOP },
	{ "the deploy was closed already",
	  { ABORTING_UNLOCKED, ABORTING_ENDED },
	  2,
	  ABORTING_CLOSED,
	  ABORTING_RESTORE_AND_REMOVE },
	{ "it had committed",
	  { ABORTING_UNLOCKED, ABORTING_COMMITTED },
	  2,
	  ABORTING_DONE,
	  ABORTING_NOP },
	{ "a late commit",
	  { ABORTING_UNLOCKED, ABORTING_OPEN, ABORTING_COMMITTED },
	  3,
	  ABORTING_REVERSED,
	  ABORTING_REVERSE },
	{ "and the candidate runs again",
	  { ABORTING_UNLOCKED, ABORTING_OPEN, ABORTING_COMMITTED, ABORTING_SETTLED },
	  4,
	  ABORTING_DONE,
	  ABORTING_NOP },
	{ "a later head names neither: the candidate goes",
	  { ABORTING_UNLOCKED, ABORTING_OPEN, ABORTING_DROPPED },
	  3,
	  ABORTING_SWEPT,
	  ABORTING_REMOVE },
	{ "another deploy takes the instance over",
	  { ABORTING_UNLOCKED, ABORTING_OPEN, ABORTING_ENDED, ABORTING_OTHER },
	  4,
	  ABORTING_SWEPT,
	  ABORTING_REMOVE },
	{ "its own holder comes back after the abort",
	  { ABORTING_UNLOCKED, ABORTING_OPEN, ABORTING_LOCKED },
	  3,
	  ABORTING_HELD,
	  ABORTING_NOP },
	{ "while the holder is there no head decides",
	  { ABORTING_OPEN, ABORTING_ENDED },
	  2,
	  ABORTING_HELD,
	  ABORTING_NOP },
	{ "but a commit ends it", { ABORTING_COMMITTED }, 1, ABORTING_DONE, ABORTING_NOP },
	{ "resumed, and the lock ends before it runs",
	  { ABORTING_RESUME, ABORTING_UNLOCKED, ABORTING_ENDED },
	  3,
	  ABORTING_CLOSED,
	  ABORTING_RESTORE_AND_REMOVE },
	{ "resumed and stopped again",
	  { ABORTING_RESUME, ABORTING_TAKEN_OUT, ABORTING_SETTLED },
	  3,
	  ABORTING_HELD,
	  ABORTING_NOP },
};

static void table(void)
{
	bool restored = true, removed = true, reversed = true;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct aborting_move move = { ABORTING_HELD, ABORTING_NOP };

		for (size_t j = 0; j < rows[i].n; j++)
			move = aborting_move(move.next, rows[i].events[j]);
		ok(move.next == rows[i].end && move.action == rows[i].last, "%s: %s", rows[i].name,
		   aborting_state_names[move.next]);
	}
	for (int state = ABORTING_HELD; state <= ABORTING_DONE; state++)
		for (int event = 0; event < ABORTING_EVENT_COUNT; event++) {
			struct aborting_move move = aborting_move((enum aborting_state)state,
								  (enum aborting_event)event);

			if (move.action == ABORTING_RESTORE &&
			    (state != ABORTING_DOUBT || event != ABORTING_OPEN))
				restored = false;
			if ((move.action == ABORTING_RESTORE_AND_REMOVE ||
			     move.action == ABORTING_REMOVE) &&
			    event != ABORTING_ENDED && event != ABORTING_DROPPED &&
			    event != ABORTING_OTHER)
				removed = false;
			if (move.action == ABORTING_REVERSE &&
			    (state != ABORTING_ABORTED || event != ABORTING_COMMITTED))
				reversed = false;
		}
	ok(restored, "only a head that was read after the lock had ended aborts");
	ok(removed, "a candidate is removed only when an entry has closed its deploy");
	ok(reversed, "only a late commit reverses");
}

/* The whole table, one row a state, one word an event in their order: the next state and the
 * action.
 */
static void whole_table(void)
{
	static const char *const actions[] = {
		"", ":read", ":restore", ":restore-only", ":restore-remove", ":remove", ":reverse"
	};
	static const char *const wanted[] = {
		"held resumed held doubt:read held held done done held done",
		"held resumed resumed doubt:read resumed resumed done done done done",
		"held resumed held doubt:read aborted:restore closed:restore-remove "
		"done done doubt done",
		"held resumed held aborted aborted closed:restore-remove "
		"reversed:reverse swept:remove aborted swept:remove",
		"held closed closed closed closed closed closed swept:remove done "
		"swept:remove",
		"held swept swept swept swept swept swept swept done swept",
		"held resumed reversed reversed reversed reversed reversed done done "
		"done",
		"held done done done done done done done done done",
	};

	for (int state = ABORTING_HELD; state <= ABORTING_DONE; state++) {
		_cleanup_(strbuf_clear) struct strbuf row = STRBUF_INIT;

		for (int event = 0; event < ABORTING_EVENT_COUNT; event++) {
			struct aborting_move move = aborting_move((enum aborting_state)state,
								  (enum aborting_event)event);

			strbuf_printf(&row, "%s%s%s", event ? " " : "",
				      aborting_state_names[move.next], actions[move.action]);
		}
		is(row.text, wanted[state], aborting_state_names[state]);
	}
}

static void repeated(void)
{
	static const enum aborting_action actions[] = {
		[ABORTING_HELD] = ABORTING_NOP,
		[ABORTING_RESUMED] = ABORTING_RESTORE_ONLY,
		[ABORTING_DOUBT] = ABORTING_READ,
		[ABORTING_ABORTED] = ABORTING_RESTORE,
		[ABORTING_CLOSED] = ABORTING_RESTORE_AND_REMOVE,
		[ABORTING_SWEPT] = ABORTING_REMOVE,
		[ABORTING_REVERSED] = ABORTING_REVERSE,
		[ABORTING_DONE] = ABORTING_NOP,
	};

	for (int state = ABORTING_HELD; state <= ABORTING_DONE; state++) {
		ok(aborting_repeat((enum aborting_state)state) == actions[state],
		   "what is done again in state %s", aborting_state_names[state]);
		ok(aborting_reads((enum aborting_state)state) ==
			   (state == ABORTING_DOUBT || state == ABORTING_ABORTED ||
			    state == ABORTING_REVERSED),
		   "  and whether a head is read");
	}
}

static const struct {
	const char *name;
	bool open; /* of d1; otherwise d2 wrote the entry */
	bool other_open;
	const char *committed, *slots;
	uint64_t sequence;
	bool means;
	enum aborting_event event;
} heads[] = {
	{ "as it was opened", true, false, "d0", NAMES_OLD, 10, true, ABORTING_OPEN },
	{ "another deploy has opened", false, true, "d0", NAMES_OLD, 11, true, ABORTING_ENDED },
	{ "closed by another", false, false, "d0", NAMES_OLD, 11, true, ABORTING_ENDED },
	{ "committed", false, false, "d1", NAMES_NEW, 11, true, ABORTING_COMMITTED },
	{ "committed, and another deploy after it", false, false, "d2", NAMES_NEW, 12, true,
	  ABORTING_COMMITTED },
	{ "committed without that slot", false, false, "d1", "", 11, true, ABORTING_COMMITTED },
	{ "replaced by another deploy", false, false, "d2", "web/0/shop-web-0-d2/d2", 12, true,
	  ABORTING_DROPPED },
	{ "a store that is behind names it: a commit may still come", false, false, "d0", NAMES_OLD,
	  9, true, ABORTING_OPEN },
	{ "a store that is behind and names nothing says nothing", false, false, NULL, "", 9, false,
	  ABORTING_OPEN },
};

static void classification(void)
{
	struct stopped stopped = { .instance = (char *)OLD,
				   .service = (char *)"web",
				   .deploy = (char *)"d1",
				   .opened = 10 };
	struct instance candidate = { .id = (char *)NEW, .deploy = (char *)"d1" },
			old = { .id = (char *)OLD, .deploy = (char *)"d0" },
			itself = { .id = (char *)OLD, .deploy = (char *)"d1" };
	enum aborting_event event = ABORTING_EVENT_COUNT;

	for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
		struct deploy_of writer = { heads[i].open ? "d1" : "d2", 5, 0 };
		struct head *head = NULL;
		const struct entry *entry;

		write_head(&writer, heads[i].open || heads[i].other_open, heads[i].committed,
			   heads[i].slots);
		entry = store_last(STREAM_INTENT, "ployz.v1.intent.namespace.shop");
		codec_parse(&head_schema, entry->data, strlen(entry->data), CODEC_LENIENT,
			    (void **)&head, NULL);
		ok(aborting_head(&stopped, head, heads[i].sequence, &event) == heads[i].means &&
			   (!heads[i].means || event == heads[i].event),
		   "%s: %s", heads[i].name,
		   heads[i].means ? aborting_event_names[event] : "nothing");
		head_free(head);
	}
	ok(!aborting_head(&stopped, NULL, 0, &event), "no entry says nothing");
	ok(aborting_is_candidate(&stopped, &candidate) && !aborting_is_candidate(&stopped, &old) &&
		   !aborting_is_candidate(&stopped, &itself),
	   "candidates are the deploy's own instances");
	store_clear();
	memset(&store, 0, sizeof(store));
}

int main(void)
{
	table();
	whole_table();
	repeated();
	classification();
	return tap_done();
}
