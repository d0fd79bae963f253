/* The texts of ployzctl: tables, plans, progress, outcomes. */
#include "ployzctl/ployzctl.h"
#include "tests/tap.h"

static void test_tables(void)
{
	static const char *const heading[] = { "NAME", "STATE", "WHY", NULL };
	_cleanup_free_ char *empty = NULL, *text = NULL;
	struct table table;

	table_init(&table, heading);
	empty = table_render(&table);
	is(empty, "NAME  STATE  WHY\n", "a table without rows is its heading");
	table_row(&table, "web", "ready", "");
	table_row(&table, "gr\u00fc\u00dfe", NULL, "a\033[31mb\nc");
	text = table_render(&table);
	is(text,
	   "NAME   STATE  WHY\n"
	   "web    ready  -\n"
	   "gr\u00fc\u00dfe  -      a?[31mb?c\n",
	   "columns fit letters, not bytes; nothing moves the cursor");
	table_clear(&table);
}

static const struct {
	const char *text, *expected;
} safes[] = {
	{ NULL, "" },
	{ "plain", "plain" },
	{ "\033]0;title\007", "?]0;title?" },
	{ "a\tb", "a\tb" },
	{ "caf\u00e9 \u2026", "caf\u00e9 \u2026" },
	{ "\xc2\x9b"
	  "31m",
	  "??31m" },
	{ "\x7f\r", "??" },
	{ "\xc2", "\xc2" },
};

static const struct {
	const char *since, *expected;
} ages[] = {
	{ NULL, NULL },
	{ "yesterday", NULL },
	{ "2026-01-01T00:00:00.000Z", "1.0 s" },
	{ "2026-01-01T00:00:02.000Z", "0 ms" },
};

static void test_texts(void)
{
	uint64_t now;

	for (size_t i = 0; i < ARRAY_SIZE(safes); i++) {
		_cleanup_free_ char *safe = text_safe(safes[i].text);

		is(safe, safes[i].expected, "text for a terminal");
	}
	time_parse("2026-01-01T00:00:01.000Z", &now);
	for (size_t i = 0; i < ARRAY_SIZE(ages); i++) {
		_cleanup_free_ char *age = age_of(ages[i].since, now);

		if (ages[i].expected)
			ok(age != NULL, "%s has an age: %s", ages[i].since, age);
		else
			is(age, NULL, "no age of no time");
	}
}

/* --- plans */

static void check_plan(const struct plan *plan, const char *expected, const char *name)
{
	struct strbuf text = STRBUF_INIT;

	tree_plan(plan, &text);
	is(text.text, expected, name);
	strbuf_clear(&text);
}

static void test_plans(void)
{
	struct plan_slot slots[] = {
		{ .service = (char *)"web",
		  .slot = 0,
		  .action = SLOT_KEEP,
		  .machine = (char *)"m1",
		  .why = (char *)"unchanged" },
		{ .service = (char *)"web",
		  .slot = 1,
		  .action = SLOT_REPLACE,
		  .machine = (char *)"m2",
		  .from = (char *)"m1",
		  .why = (char *)"changed: env (A)",
		  .update = UPDATE_STOP_FIRST,
		  .why_update = (char *)"host port 80" },
		{ .service = (char *)"api",
		  .slot = 0,
		  .action = SLOT_START,
		  .machine = (char *)"m1",
		  .why = (char *)"new" },
		{ .service = (char *)"web",
		  .slot = 2,
		  .action = SLOT_REMOVE,
		  .machine = (char *)"m1",
		  .why = (char *)"2 replicas" },
	};
	struct plan_route routes[] = {
		{ .key = (char *)"a.test/", .service = (char *)"web", .action = (char *)"add" },
		{ .key = (char *)"b.test/", .action = (char *)"remove" },
	};
	struct plan_volume volumes[] = {
		{ .name = (char *)"data", .machine = (char *)"m1" },
		{ .name = (char *)"cache", .machine = (char *)"m2", .new_ = true },
	};
	char *warnings[] = { (char *)"careful", NULL }, *silent[] = { (char *)"m3", NULL };
	struct plan plan = {
		.ns = (char *)"shop",
		.sequence = 17,
		.revision = 3,
		.changes = true,
		.slots = slots,
		.n_slots = ARRAY_SIZE(slots),
		.routes = routes,
		.n_routes = ARRAY_SIZE(routes),
		.volumes = volumes,
		.n_volumes = ARRAY_SIZE(volumes),
		.warnings = warnings,
		.unreachable = silent,
	};
	const struct plan nothing = { .ns = (char *)"shop" };

	check_plan(&nothing, "namespace shop, nothing committed yet\n  nothing to change\n",
		   "an empty plan");
	check_plan(&plan,
		   "namespace shop, from revision 3 (sequence 17)\n"
		   "  web\n"
		   "    = 0 keep on m1: unchanged\n"
		   "    ~ 1 replace on m2 (was on m1): changed: env (A)\n"
		   "        stop-first: host port 80\n"
		   "  api\n"
		   "    + 0 start on m1: new\n"
		   "  web\n"
		   "    - 2 remove from m1: 2 replicas\n"
		   "  routes\n"
		   "    + a.test/ to web\n"
		   "    - b.test/\n"
		   "  volumes\n"
		   "    = data on m1\n"
		   "    + cache on m2: new, empty\n"
		   "  1 to start, 1 to replace, 1 to remove, 1 kept\n"
		   "  warning: careful\n"
		   "  warning: machine m3 does not answer\n",
		   "each slot with its reason");
}

static void test_refusals(void)
{
	struct plan_refusal refusals[] = {
		{ .path = (char *)"services.web.publish[0]",
		  .message = (char *)"host port 80 is taken",
		  .hint = (char *)"take another" },
		{ .message = (char *)"no room" },
	};
	const struct plan plan = {
		.ns = (char *)"shop",
		.sequence = 17,
		.revision = 3,
		.changes = true,
		.refusals = refusals,
		.n_refusals = ARRAY_SIZE(refusals),
	};

	check_plan(&plan,
		   "namespace shop, from revision 3 (sequence 17)\n"
		   "  0 to start, 0 to replace, 0 to remove, 0 kept\n"
		   "  refused: services.web.publish[0]: host port 80 is taken; take another\n"
		   "  refused: no room\n",
		   "refusals with their path and the next step");
}

/* --- progress */

static const struct {
	const char *what;
	struct progress progress;
	const char *expected;
} events[] = {
	{ "a phase", { .kind = PROGRESS_PHASE, .phase = DEPLOY_STARTING }, "starting" },
	{ "a phase with a note",
	  { .kind = PROGRESS_PHASE, .phase = DEPLOY_FAILED, .message = (char *)"no" },
	  "failed: no" },
	{ "a slot",
	  { .kind = PROGRESS_SLOT,
	    .service = (char *)"web",
	    .slot = 1,
	    .state = (char *)"ready",
	    .machine = (char *)"m1" },
	  "web/1 ready on m1" },
	{ "a slot with a reason",
	  { .kind = PROGRESS_SLOT,
	    .service = (char *)"web",
	    .state = (char *)"failed",
	    .machine = (char *)"m1",
	    .message = (char *)"exits with 7\nbye" },
	  "web/0 failed on m1: exits with 7?bye" },
	{ "a pull",
	  { .kind = PROGRESS_PULL, .machine = (char *)"m1", .message = (char *)"busybox" },
	  "m1: busybox" },
	{ "a pull of known size",
	  { .kind = PROGRESS_PULL,
	    .machine = (char *)"m1",
	    .done_bytes = 1 << 20,
	    .total_bytes = 2 << 20 },
	  "m1: fetching an image (1.0 MiB of 2.0 MiB)" },
	{ "a note", { .kind = PROGRESS_NOTE, .message = (char *)"well" }, "well" },
	{ "a line of output",
	  { .kind = PROGRESS_LINE, .service = (char *)"web", .message = (char *)"hi" },
	  "web | hi" },
	{ "the end", { .kind = PROGRESS_END }, NULL },
	{ "nothing at all", { .kind = PROGRESS_SLOT }, "?/0 ? on ?" },
};

static void test_progress(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(events); i++) {
		_cleanup_free_ char *line = live_line(&events[i].progress);

		is(line, events[i].expected, events[i].what);
	}
}

/* leased and agentd both report a slot; its state is printed once. */
static void test_live(void)
{
	static const struct progress twice = {
		.kind = PROGRESS_SLOT,
		.service = (char *)"web",
		.state = (char *)"ready",
		.machine = (char *)"m1",
		.instance = (char *)"i",
	};
	char *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);
	struct live *live = live_new(to, false, false);

	live_progress(live, &twice);
	live_progress(live, &twice);
	live_free(live);
	fclose(to);
	is(text, "    0.0 s  web/0 ready on m1\n", "a known state is not printed again");
	free(text);
}

/* --- outcomes */

#define SHOP "ployzctl: deploy d of namespace shop "
#define FAILED SHOP "failed before the commit, nothing changed: "
#define REFUSED SHOP "refused, nothing changed: "
#define BECAUSE "because; do this\n"
#define SWEEP "; run `ployzctl deploy sweep shop`\n"

static char *two_routes[] = { (char *)"a.test/: port 80 is taken", (char *)"tcp/53: in use", NULL };
static struct left two_left[] = {
	{ .instance = (char *)"i1", .machine = (char *)"m1", .reason = (char *)"no answer" },
	{ .instance = (char *)"i2", .machine = (char *)"m2" },
};

static const struct {
	const char *name;
	int phase, code; /* of the failure */
	int64_t revision;
	size_t left;
	bool unserved;
	int expected;
	const char *message; /* on stderr */
} outcomes[] = {
	{ "done", DEPLOY_DONE, FAILURE_NONE, 4, 0, false, EXIT_DONE, "" },
	{ "nothing to change", DEPLOY_DONE, FAILURE_NONE, 0, 0, false, EXIT_DONE, "" },
	{ "done, with routes that are not served", DEPLOY_DONE, FAILURE_NONE, 4, 0, true, EXIT_NO,
	  "ployzctl: 2 routes of namespace shop not served; run `ployzctl route ls`\n"
	  "  a.test/: port 80 is taken\n  tcp/53: in use\n" },
	{ "done, with instances left", DEPLOY_DONE, FAILURE_NONE, 4, 1, false, EXIT_CLEANUP_PENDING,
	  "ployzctl: 1 instance of namespace shop not removed" SWEEP
	  "  i1 on machine m1: no answer\n" },
	{ "failed", DEPLOY_FAILED, FAILURE_FAILED, 0, 0, false, EXIT_FAILED, FAILED BECAUSE },
	{ "failed because an agentd did not answer", DEPLOY_FAILED, FAILURE_TIMEOUT, 0, 0, false,
	  EXIT_FAILED, FAILED BECAUSE },
	{ "failed because the lease was lost", DEPLOY_FAILED, FAILURE_LEASE_LOST, 0, 0, false,
	  EXIT_FAILED, FAILED BECAUSE },
	{ "failed without a store", DEPLOY_FAILED, FAILURE_NO_QUORUM, 0, 0, false, EXIT_NO_QUORUM,
	  FAILED BECAUSE },
	{ "a sweep that did not finish", DEPLOY_FAILED, FAILURE_CLEANUP_PENDING, 0, 0, false,
	  EXIT_CLEANUP_PENDING, SHOP "did not finish the clean-up: because" SWEEP },
	{ "failed without a reason", DEPLOY_FAILED, FAILURE_NONE, 0, 0, false, EXIT_FAILED,
	  FAILED "no reason given\n" },
	{ "lease held", DEPLOY_REFUSED, FAILURE_LEASE_HELD, 0, 0, false, EXIT_LEASE_HELD,
	  REFUSED BECAUSE },
	{ "stale", DEPLOY_REFUSED, FAILURE_STALE, 0, 0, false, EXIT_STALE, REFUSED BECAUSE },
	{ "invalid", DEPLOY_REFUSED, FAILURE_INVALID, 0, 0, false, EXIT_USAGE, REFUSED BECAUSE },
	{ "committed", DEPLOY_CLEANUP_PENDING, FAILURE_TIMEOUT, 4, 0, false, EXIT_CLEANUP_PENDING,
	  SHOP "committed, clean-up pending: because" SWEEP },
	{ "committed, with instances left and routes that are not served", DEPLOY_CLEANUP_PENDING,
	  FAILURE_CLEANUP_PENDING, 4, 2, true, EXIT_CLEANUP_PENDING,
	  SHOP "committed, clean-up pending: because" SWEEP
	       "ployzctl: 2 instances of namespace shop not removed" SWEEP
	       "  i1 on machine m1: no answer\n  i2 on machine m2\n"
	       "ployzctl: 2 routes of namespace shop not served; run `ployzctl route ls`\n"
	       "  a.test/: port 80 is taken\n  tcp/53: in use\n" },
	{ "unknown", DEPLOY_UNKNOWN, FAILURE_UNKNOWN, 0, 0, false, EXIT_UNKNOWN,
	  SHOP "outcome unknown: because; run `ployzctl deploy attach d`\n" },
	{ "unknown, whatever the reason's own code", DEPLOY_UNKNOWN, FAILURE_NO_QUORUM, 0, 0, false,
	  EXIT_UNKNOWN, SHOP "outcome unknown: because; run `ployzctl deploy attach d`\n" },
};

static void test_outcomes(void)
{
	FILE *nowhere = fopen("/dev/null", "w"), *terminal = stderr;

	/* Failures are printed on stderr. */
	if (!nowhere || !freopen("/dev/null", "w", stderr))
		exit(EXIT_FAILURE);
	for (size_t i = 0; i < ARRAY_SIZE(outcomes); i++) {
		struct error error = { .code = outcomes[i].code,
				       .message = (char *)"because",
				       .hint = (char *)"do this" };
		const struct deploy record = {
			.deploy = (char *)"d",
			.ns = (char *)"shop",
			.phase = outcomes[i].phase,
			.revision = outcomes[i].revision,
			.changed = outcomes[i].revision != 0,
			.left = two_left,
			.n_left = outcomes[i].left,
			.unserved = outcomes[i].unserved ? two_routes : NULL,
			.failure = outcomes[i].code ? &error : NULL,
		};
		char *text = NULL;
		size_t size = 0;
		int code;

		stderr = open_memstream(&text, &size); /* glibc: a variable */
		code = outcome_report(nowhere, &record, true);
		fclose(stderr);
		stderr = terminal;
		is_int(code, outcomes[i].expected, outcomes[i].name);
		is(text, outcomes[i].message, outcomes[i].name);
		free(text);
	}
	fclose(nowhere);
}

static void test_done_lines(void)
{
	static struct phase_change cleaned = { .phase = DEPLOY_DONE,
					       .elapsed_ms = 1500,
					       .note = (char *)"cleaned" };
	static const struct {
		const char *verb;
		int64_t revision;
		const char *expected;
	} rows[] = {
		{ "deploy", 4,
		  "deploy d of namespace shop: committed revision 4 (sequence 17) in 1.5 s\n" },
		{ "deploy", 0, "deploy d of namespace shop: nothing to change\n" },
		{ "sweep", 0, "sweep d of namespace shop: cleaned\n" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct deploy record = {
			.deploy = (char *)"d",
			.ns = (char *)"shop",
			.verb = (char *)rows[i].verb,
			.phase = DEPLOY_DONE,
			.revision = rows[i].revision,
			.sequence = 17,
			.changed = rows[i].revision != 0,
			.phases = &cleaned,
			.n_phases = 1,
		};
		char *text = NULL;
		size_t size = 0;
		FILE *to = open_memstream(&text, &size);

		outcome_report(to, &record, false);
		fclose(to);
		is(text, rows[i].expected, rows[i].expected);
		free(text);
	}
}

int main(void)
{
	test_tables();
	test_texts();
	test_plans();
	test_refusals();
	test_progress();
	test_live();
	test_outcomes();
	test_done_lines();
	return tap_done();
}
