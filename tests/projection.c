/* The projection on a store and local mirrors that are silent, behind, reverted and created again.
 */
#include "lib/projection.h"

#include "tests/lib/blocks.h"
#include "tests/lib/store.h"
#include "tests/tap.h"

#define S(n) SECONDS(n)
#define A "ployz.v1.intent.namespace.a"
#define B "ployz.v1.intent.namespace.b"
#define M "ployz.v1.intent.member.m1"
#define F "ployz.v1.facts.m1.a"
#define G "ployz.v1.facts.m1.b"

static struct store_stream *intent, *facts, *mirror, *mirrored_facts;
static struct projection *projection;
static struct strbuf seen; /* what the reader was told */
static size_t n_stale, n_checked;
static long blocks;

static void on_entry(const char *subject, uint64_t sequence, const char *data, size_t size,
		     _unused_ void *userdata)
{
	const char *name = strrchr(subject, '.') + 1;

	HOLDS(!data || (strlen(data) == size && data[size] == '\0'));
	strbuf_printf(&seen, "%s%s=%llu%s ", strstr(subject, ".facts.") ? "f" : "", name,
		      (unsigned long long)sequence, data ? data : "!");
}

static void on_settled(const struct watermark *applied, _unused_ void *userdata)
{
	strbuf_printf(&seen, "[%lld %lld %lld] ", (long long)applied->generation,
		      (long long)applied->intent, (long long)applied->facts);
	HOLDS(applied == projection_applied(projection));
}

static void on_stale(bool stale, _unused_ void *userdata)
{
	n_stale++;
	strbuf_puts(&seen, stale ? "stale " : "fresh ");
	HOLDS(stale == (projection_stale_since(projection) != 0));
}

static void on_checked(_unused_ void *userdata)
{
	n_checked++;
	HOLDS(projection_checked(projection) != 0);
}

static const struct projection_ops ops = {
	.entry = on_entry,
	.settled = on_settled,
	.stale = on_stale,
	.checked = on_checked,
};
static const struct projection_ops few_ops = { .entry = on_entry, .settled = on_settled };
static const char *const namespaces[] = { "ployz.v1.intent.namespace.*", NULL };
static const char *const instances[] = { "ployz.v1.facts.*.*", NULL };
static struct projection_options options;

static void begin(void)
{
	store_reset();
	blocks = blocks_live;
	intent = store_stream("ployz", "PLOYZ_INTENT", 256, 1);
	facts = store_stream("ployz", "PLOYZ_FACTS", 1, 1);
	mirror = mirrored_facts = NULL;
	n_stale = n_checked = 0;
	options = (struct projection_options){ .machine = "m1",
					       .intent = namespaces,
					       .facts = instances };
}

static void start(void)
{
	projection = projection_new(&fake_bus, &options, &ops, NULL);
}

static void end(void)
{
	projection_free(steal(projection));
	store_run();
	HOLDS(!fake_requests && !fake_timers && !fake_subscriptions);
	strbuf_clear(&seen);
	store_reset();
	HOLDS(blocks_live == blocks);
}

static bool told(const char *expected)
{
	bool same = streq(seen.text ? seen.text : "", expected);

	if (!same)
		printf("# told '%s', expected '%s'\n", seen.text ? seen.text : "", expected);
	strbuf_clear(&seen);
	return same;
}

/* The last thing that it was told, once; and forgets the rest. */
static bool told_settled(const char *expected)
{
	const char *text = seen.text ? seen.text : "", *found = strstr(text, expected);
	bool once = found && streq(found, expected);

	if (!once)
		printf("# told '%s', expected '%s' at its end\n", text, expected);
	strbuf_clear(&seen);
	return once;
}

static void forget(void)
{
	strbuf_clear(&seen);
}

static bool is_stale_for(const char *reason)
{
	const char *now = projection_stale_reason(projection);

	if (!projection_stale_since(projection) || !now || !strstr(now, reason))
		printf("# reason '%s'\n", now ? now : "none");
	return projection_stale_since(projection) && now && strstr(now, reason) &&
	       !projection_is_live(projection);
}

static void put(struct store_stream *s, const char *subject, const char *data)
{
	store_put(s, subject, data);
}

/* The local mirrors: streams of the machine's domain with the same entries. */
static void copy_entries(struct store_stream *to, const struct store_stream *from)
{
	for (size_t i = to->n_entries; i < from->n_entries; i++) {
		put(to, from->entries[i].subject, from->entries[i].data);
		to->entries[i].time_usec = from->entries[i].time_usec;
		to->entries[i].gone = from->entries[i].gone;
	}
}

static void mirrors(void)
{
	if (!mirror)
		mirror = store_stream("m1", "PLOYZ_INTENT", 256, 0);
	if (!mirrored_facts)
		mirrored_facts = store_stream("m1", "PLOYZ_FACTS", 1, 0);
	copy_entries(mirror, intent);
	copy_entries(mirrored_facts, facts);
}

/* The store (not the mirrors, which are in another domain) does not answer. */
static struct store_stream *hidden[2];
static void store_vanishes(void)
{
	hidden[0] = intent;
	hidden[1] = facts;
	store_forget_consumers();
	intent->domain[0] = facts->domain[0] = '?';
	store_beat();
}

static void store_returns(void)
{
	intent->domain[0] = facts->domain[0] = 'p';
}

static void test_start(void)
{
	begin();
	put(intent, A, "x");
	start();
	ok(is_stale_for("not been read yet") && !n_stale &&
		   projection_applied(projection)->intent == 0,
	   "before anything is read the view is stale, and nothing is applied");
	store_run();
	ok(projection_is_live(projection) && !projection_stale_since(projection) &&
		   !projection_stale_reason(projection),
	   "then it is live");
	end();
}

static void test_first_load(void)
{
	begin();
	put(intent, A, "x");
	put(facts, F, "y");
	start();
	store_run();
	ok(told("a=1x fa=1y fresh [1 1 1] "), "both streams are read before the view is settled");
	put(intent, A, "z");
	put(facts, G, "v");
	store_run();
	ok(strstr(seen.text, "a=2z") && strstr(seen.text, "fb=2v") && strstr(seen.text, "[1 2 2]"),
	   "what follows is handed over");
	forget();
	put(intent, M, "m");
	store_run();
	ok(told(""), "what does not match is not");
	end();

	/* One of the two is late. */
	begin();
	put(intent, A, "x");
	put(facts, F, "y");
	facts->domain[0] = '?';
	start();
	store_run();
	ok(told("stale a=1x "), "one of two that is read is handed over");
	ok(!projection_is_live(projection) && is_stale_for("stream not found"),
	   "without one of them it is not live");
	put(intent, A, "z");
	store_run();
	ok(!strchr(seen.text ? seen.text : "", '['), "nor settled");
	forget();
	facts->domain[0] = 'p';
	store_pass(S(5));
	ok(told("fa=1y fresh [1 2 1] "), "with it it is");
	end();

	begin();
	options.facts = NULL;
	put(intent, A, "x");
	put(facts, F, "y");
	start();
	store_run();
	ok(told("a=1x fresh [1 1 0] ") && projection_is_live(projection), "only one is followed");
	is_int((long long)store_n_consumers(), 1, "by one consumer");
	end();

	begin();
	options.intent = NULL;
	put(facts, F, "y");
	projection = projection_new(&fake_bus, &options, &few_ops, NULL);
	store_run();
	ok(told("fa=1y [1 0 1] "), "or the other");
	end();

	begin();
	start();
	store_run();
	ok(told("fresh [1 0 0] "), "an empty store is a view");
	end();

	/* A replica that is behind: half a view is handed to nobody. */
	begin();
	for (int i = 0; i < 5; i++)
		put(intent, i % 2 ? A : B, "x");
	intent->visible = 2;
	start();
	store_run();
	ok(told("") && !projection_is_live(projection), "half a view is not handed over");
	intent->visible = 0;
	store_run();
	ok(told("b=5x a=4x fresh [1 5 0] "), "a whole one is");
	end();
}

static void test_store_away(void)
{
	uint64_t since;

	begin();
	put(intent, A, "x");
	put(facts, F, "y");
	start();
	store_run();
	forget();
	store_vanishes();
	since = fake_now;
	store_pass(S(13));
	ok(told("stale ") && is_stale_for("stream not found"), "a store that is away: stale");
	ok(projection_stale_since(projection) > FAKE_REAL_USEC + since, "since it was noticed");
	is_int((long long)fake_log_warnings, 4, "which is logged for each stream and reason");
	ok(strstr(fake_log_line, "serving the last known state") &&
		   !strstr(fake_log_line, "ployzctl"),
	   "with what is served");
	store_pass(S(60));
	is_int((long long)fake_log_warnings, 4, "and not again for the same reason");
	ok(told("") && n_stale == 2, "what was known stays");
	store_returns();
	put(intent, B, "z");
	store_pass(S(6));
	ok(told("b=2z fresh [1 2 1] ") && projection_is_live(projection),
	   "when it is back, what is new is handed over, and nothing else");
	end();

	begin();
	put(intent, A, "x");
	put(facts, F, "y");
	projection = projection_new(&fake_bus, &options, &few_ops, NULL);
	store_run();
	store_vanishes();
	store_pass(S(15));
	store_returns();
	store_pass(S(6));
	ok(projection_is_live(projection), "without a callback for staleness too");
	end();

	/* Facts keep one entry: the last one known is often gone. */
	begin();
	put(intent, A, "x");
	put(facts, F, "y");
	put(facts, G, "y");
	start();
	store_run();
	forget();
	store_vanishes();
	put(facts, G, "z");
	store_pass(S(15));
	store_returns();
	store_pass(S(6));
	ok(told("stale fb=3z fresh [1 1 3] "),
	   "what is read again is handed over only where it differs");
	end();

	/* Many changes while it was away: only the last of each subject counts. */
	begin();
	put(intent, A, "x");
	start();
	store_run();
	forget();
	store_vanishes();
	store_pass(S(15));
	for (int i = 0; i < 9; i++)
		put(intent, A, i == 8 ? "last" : "between");
	store_returns();
	store_pass(S(6));
	ok(told("stale a=10last fresh [1 10 0] "), "between them nothing is handed over");
	end();
}

static void test_expect(void)
{
	struct watermark wanted = { 1, 3, 0 };
	size_t infos;

	begin();
	put(intent, A, "x");
	start();
	store_run();
	forget();
	put(intent, M, "m");
	put(intent, M, "m");
	infos = store_n_infos;
	projection_expect(projection, &wanted);
	store_pass(S(0.25) - 1);
	ok(told("") && store_n_infos == infos, "an entry that others know of is waited for");
	store_pass(1);
	ok(told("[1 3 0] ") && store_n_infos == infos + 1,
	   "for a moment; then the leader is asked, and an entry that does not match is reached");
	projection_expect(projection, &wanted);
	store_pass(S(1));
	ok(told("") && store_n_infos == infos + 1, "what is reached is not asked for");
	end();

	/* An entry that does not arrive. */
	begin();
	put(intent, A, "x");
	start();
	store_run();
	forget();
	intent->visible = 1;
	put(intent, A, "y");
	wanted = (struct watermark){ 1, 2, 0 };
	projection_expect(projection, &wanted);
	store_pass(S(1.25));
	intent->visible = 0;
	store_pass(S(0.1));
	ok(told("stale a=2y fresh [1 2 0] "), "one that does not arrive: attached again");
	end();

	/* In time. */
	begin();
	put(intent, A, "x");
	start();
	store_run();
	infos = store_n_infos;
	projection_expect(projection, &wanted);
	put(intent, A, "y");
	store_pass(S(0.25));
	ok(store_n_infos == infos, "one that arrives in time: nothing is asked");
	wanted = (struct watermark){ 1, 9, 0 };
	projection_expect(projection, &wanted);
	wanted = (struct watermark){ 1, 2, 4 };
	projection_expect(projection, &wanted);
	store_pass(S(0.25));
	ok(store_n_infos == infos + 2, "what is expected of both is asked of both");
	end();

	/* Only the stream that is behind is asked. */
	begin();
	start();
	store_run();
	infos = store_n_infos;
	wanted = (struct watermark){ 1, 0, 4 };
	projection_expect(projection, &wanted);
	store_pass(S(0.25));
	is_int((long long)(store_n_infos - infos), 1, "only the stream that is behind is asked");
	end();

	/* Another generation. */
	begin();
	put(intent, A, "x");
	put(facts, F, "y");
	start();
	store_run();
	forget();
	infos = store_n_infos;
	wanted = (struct watermark){ 0, 9, 9 };
	projection_expect(projection, &wanted);
	store_pass(S(0.25));
	ok(store_n_infos == infos, "of a lower generation nothing is expected");
	intent->generation = facts->generation = 2;
	wanted = (struct watermark){ 2, 0, 0 };
	projection_expect(projection, &wanted);
	store_pass(S(0.25));
	ok(told("[2 1 1] ") || told("[1 1 1] [2 1 1] "), "a higher one is looked for");
	ok(projection_applied(projection)->generation == 2, "and found");
	wanted = (struct watermark){ 3, 1, 0 };
	projection_expect(projection, &wanted);
	wanted = (struct watermark){ 2, 7, 7 };
	projection_expect(projection, &wanted);
	infos = store_n_infos;
	store_pass(S(0.25));
	ok(store_n_infos > infos, "one that is not there yet is looked for too");
	end();

	/* Before the first answers. */
	begin();
	store_infos = STORE_SILENT;
	start();
	wanted = (struct watermark){ 1, 1, 1 };
	projection_expect(projection, &wanted);
	store_pass(S(0.5));
	ok(told(""), "before the store is followed nothing is asked");
	end();
}

static void test_generations(void)
{
	uint64_t since;

	begin();
	put(intent, A, "x");
	put(intent, B, "x");
	put(facts, F, "y");
	start();
	store_run();
	forget();

	/* Reverted and moved on, with equal sequences. */
	store_vanishes();
	store_pass(S(15));
	store_stream_clear(intent);
	fake_now += S(60);
	put(intent, A, "new");
	put(intent, A, "newer");
	store_returns();
	store_pass(S(10));
	ok(told("stale "), "a store that lacks entries changes nothing");
	ok(is_stale_for("differs from the one") && is_stale_for("ployzctl store accept"),
	   "and the reason names the next step");
	ok(strstr(fake_log_line, "differs from the one") &&
		   strstr(fake_log_line, "ployzctl store accept"),
	   "the log too");
	put(facts, G, "z");
	store_pass(S(10));
	ok(strstr(seen.text ? seen.text : "", "a=") == NULL, "what other streams have goes on");
	forget();
	intent->generation = 2;
	store_pass(S(6));
	ok(told("a=2newer b=2! fresh [1 2 2] "),
	   "with a higher generation it is taken, and what it lacks is dropped");
	ok(projection_applied(projection)->generation == 1,
	   "as long as one stream is of the lower one, that is the generation");
	facts->generation = 2;
	store_pass(S(31));
	ok(projection_applied(projection)->generation == 2 && projection_is_live(projection),
	   "then it is the higher one");
	end();

	/* Both are raised while nothing is missing: a check asks at once. */
	begin();
	put(intent, A, "x");
	put(facts, F, "y");
	start();
	ok(!projection_checked(projection), "nothing is checked before the first load");
	store_run();
	n_checked = 0;
	store_pass(S(5));
	since = boot_now_usec();
	ok(projection_checked(projection) && projection_checked(projection) < since && !n_checked,
	   "without a check the view rests on the last request");
	intent->generation = facts->generation = 2;
	put(intent, B, "x");
	projection_check(projection);
	projection_check(projection);
	store_run();
	ok(projection_checked(projection) >= since && n_checked &&
		   projection_applied(projection)->generation == 2,
	   "a check finds a raised generation");
	store_vanishes();
	store_pass(S(20));
	ok(!projection_checked(projection), "a view that is not live is not checked");
	end();

	/* Both are raised: the stream that was never lost is asked at once. */
	begin();
	put(intent, A, "x");
	put(facts, F, "y");
	start();
	store_run();
	strcpy(intent->created, "2025-12-24T16:00:00Z");
	store_consumer_end(&store_consumers[0]);
	HOLDS(store_consumers[1].stream == facts);
	store_pass(S(20));
	ok(is_stale_for("PLOYZ_INTENT was created again"), "one of two streams is created again");
	forget();
	intent->generation = facts->generation = 2;
	store_pass(S(5.5));
	ok(projection_applied(projection)->generation == 2 && projection_is_live(projection),
	   "when both are raised, the other is asked too");
	end();

	/* A load that is under way when the generation is raised. */
	begin();
	put(intent, A, "x");
	put(intent, B, "x");
	intent->visible = 1;
	start();
	store_run();
	store_stream_clear(intent);
	intent->visible = 0;
	intent->generation = facts->generation = 2;
	put(intent, B, "y");
	store_forget_consumers();
	store_pass(S(20));
	ok(projection_is_live(projection) && strstr(seen.text, "b=1y") && !strstr(seen.text, "a="),
	   "what was read of the lower one is dropped");
	end();
}

/* A reload of facts, which prove nothing, waits until intent has proved itself. */
static void test_gate(void)
{
	begin();
	put(intent, A, "x");
	put(facts, F, "y");
	put(facts, G, "y");
	start();
	store_run();
	forget();
	store_vanishes();
	store_pass(S(15));
	/* Reverted: facts that moved on, and intent that lacks an entry. */
	store_stream_clear(intent);
	store_stream_clear(facts);
	put(facts, F, "old");
	put(facts, F, "old");
	put(facts, F, "old");
	store_returns();
	store_pass(S(20));
	ok(told("stale ") && is_stale_for("PLOYZ_INTENT"),
	   "facts of a store that was reverted are not taken");
	put(facts, F, "older");
	store_pass(S(1));
	ok(told(""), "nor what follows");
	intent->generation = facts->generation = 2;
	store_pass(S(31));
	ok(projection_is_live(projection) && strstr(seen.text, "a=0!") &&
		   strstr(seen.text, "fa=4older") && strstr(seen.text, "fb=4!") &&
		   strstr(seen.text, "[2 0 4]"),
	   "until the whole store is accepted");
	end();
}

static void test_mirror(void)
{
	/* The store cannot be reached. */
	begin();
	put(intent, A, "x");
	put(intent, B, "x");
	put(facts, F, "y");
	mirrors();
	store_vanishes();
	start();
	store_pass(S(1) - 1);
	ok(told("stale "), "a store that is away is waited for");
	store_pass(1);
	ok(strstr(seen.text, "a=1x b=2x ") && strstr(seen.text, "fa=1y ") &&
		   told_settled("[0 2 1] "),
	   "for 1 s, then the mirror serves");
	ok(is_stale_for("stream not found"), "stale");
	put(intent, B, "z");
	store_returns();
	store_pass(S(6));
	ok(told("b=3z fresh [1 3 1] "), "the store continues from there");
	ok(store_n_consumers() == 2, "and the mirror is not followed any more");
	end();

	/* A silent store. */
	begin();
	put(intent, A, "x");
	put(facts, F, "y");
	mirrors();
	store_creations = STORE_SILENT;
	start();
	store_pass(S(1) - 1);
	ok(told(""), "a store that is silent");
	store_creations = STORE_ANSWERS;
	store_pass(1);
	ok(projection_applied(projection)->intent == 1 && !projection_is_live(projection),
	   "is waited for 1 s, then the mirror serves");
	forget();
	store_pass(S(6));
	ok(projection_is_live(projection), "until the store is there");
	ok(!strstr(seen.text ? seen.text : "", "a=1"), "nothing is handed over again");
	end();

	/* The mirror never overrules what is applied. */
	begin();
	put(intent, A, "x");
	put(facts, F, "y");
	mirrors();
	start();
	store_run();
	forget();
	put(intent, A, "z");
	store_run();
	forget();
	store_vanishes();
	store_pass(S(30));
	ok(told("stale ") && projection_applied(projection)->intent == 2,
	   "a mirror that is behind is not used later");
	end();

	/* While the mirror is read, the store comes. */
	begin();
	put(intent, A, "x");
	mirrors();
	put(intent, A, "z");
	store_vanishes();
	start();
	for (int i = 0; i < 4; i++)
		store_answer(store_oldest()), fake_tick();
	store_returns();
	store_run();
	store_pass(S(6));
	ok(projection_is_live(projection) && strstr(seen.text, "a=2z") &&
		   !strstr(strstr(seen.text, "a=2z"), "a=1x"),
	   "an older entry never follows a newer one");
	end();

	/* Older than what is served. */
	begin();
	put(intent, A, "x");
	put(facts, F, "y");
	mirrors();
	options.served = (struct watermark){ 1, 2, 1 };
	store_vanishes();
	start();
	store_pass(S(20));
	ok(told("stale fa=1y ") || told("stale "), "a mirror that is older than what is served");
	ok(projection_applied(projection)->intent == 0, "is not used");
	put(intent, B, "b");
	mirrors();
	store_pass(S(6));
	ok(projection_applied(projection)->intent == 2, "until it is as new");
	ok(strstr(seen.text, "[1 2 1]") != NULL, "with the generation that is served");
	end();

	/* A store that has less than the mirror. */
	begin();
	put(intent, A, "x");
	put(intent, B, "x");
	put(facts, F, "y");
	mirrors();
	store_stream_clear(intent);
	fake_now += S(60);
	put(intent, A, "new");
	start();
	store_pass(S(3));
	ok(projection_applied(projection)->intent == 2 && is_stale_for("1, 2 was seen"),
	   "a store that lacks what the mirror has is refused, and the mirror serves");
	forget();
	intent->generation = facts->generation = 2;
	store_pass(S(10));
	ok(projection_is_live(projection) && strstr(seen.text, "b=1!") &&
		   strstr(seen.text, "a=1new"),
	   "until it is accepted");
	end();

	/* A store that has other entries than the mirror. */
	begin();
	put(intent, A, "x");
	mirrors();
	store_stream_clear(intent);
	fake_now += S(60);
	put(intent, B, "new");
	put(intent, B, "new");
	start();
	store_pass(S(3));
	ok(is_stale_for("1 differs") && projection_applied(projection)->intent == 1,
	   "or that has another entry there");
	end();

	/* The mirror of another store. */
	begin();
	put(intent, A, "x");
	mirrors();
	mirror->generation = mirrored_facts->generation = 1;
	strcpy(mirror->store, "other");
	start();
	store_pass(S(3));
	ok(is_stale_for("created again"), "or that is another store");
	end();

	begin();
	put(intent, A, "x");
	mirrors();
	mirror->generation = mirrored_facts->generation = 1;
	intent->generation = facts->generation = 2;
	store_stream_clear(intent);
	start();
	store_pass(S(3));
	ok(projection_is_live(projection) && told("fresh [2 0 0] "),
	   "a store of a higher generation than the mirror's is taken at once");
	end();

	begin();
	put(intent, A, "x");
	mirrors();
	mirror->generation = mirrored_facts->generation = 1;
	options.served = (struct watermark){ 2, 0, 0 };
	store_vanishes();
	start();
	store_pass(S(10));
	ok(told("stale "), "a mirror of a lower generation than what is served is not used");
	end();

	begin();
	put(intent, A, "x");
	mirrors();
	mirror->generation = mirrored_facts->generation = 3;
	options.served = (struct watermark){ 2, 50, 0 };
	store_vanishes();
	start();
	store_pass(S(10));
	ok(told("stale a=1x [3 1 0] "), "one of a higher generation is");
	end();

	/* What the mirror has served, the store must have. */
	begin();
	put(intent, A, "x");
	mirrors();
	store_vanishes();
	start();
	store_run();
	put(intent, B, "y");
	mirrors();
	store_pass(S(2));
	ok(told_settled("[0 2 0] "), "a mirror that follows while it is waited for");
	store_stream_clear(intent);
	put(intent, A, "x");
	store_returns();
	store_pass(S(6));
	ok(is_stale_for("1, 2 was seen") && told(""), "and a store that has less then");
	end();

	/* The store is there before the mirror has been read. */
	begin();
	put(intent, A, "x");
	put(facts, F, "y");
	mirrors();
	intent->visible = facts->visible = 0;
	store_vanishes();
	start();
	store_pass(S(0.9));
	mirror->visible = mirrored_facts->visible = 9;
	store_creations = STORE_SILENT;
	store_pass(S(0.5));
	store_creations = STORE_ANSWERS;
	store_returns();
	store_pass(S(2));
	ok(projection_is_live(projection) && store_n_consumers() == 2,
	   "when the store is there, the mirror is not read on");
	end();

	/* Freed while it collects. */
	begin();
	put(intent, A, "x");
	put(intent, B, "x");
	intent->visible = 1;
	start();
	store_run();
	end();
	begin();
	put(intent, A, "x");
	put(intent, B, "x");
	mirrors();
	mirror->visible = 1;
	store_vanishes();
	start();
	store_pass(S(1.1));
	ok(told("stale "), "half a mirror is not served");
	end();

	/* Without a mirror. */
	begin();
	put(intent, A, "x");
	store_vanishes();
	start();
	store_pass(S(20));
	ok(told("stale ") && fake_log_warnings == 0, "without store and mirror nothing is served");
	mirrors();
	store_pass(S(6));
	ok(strstr(seen.text, "a=1x") != NULL, "a mirror that is created later is found");
	end();

	/* What is served, and a store that is behind it. */
	begin();
	put(intent, A, "x");
	put(facts, F, "y");
	options.served = (struct watermark){ 1, 5, 1 };
	start();
	store_pass(S(2));
	ok(!projection_is_live(projection) && is_stale_for("1, 5 was seen"),
	   "a store that is behind what is served is refused");
	ok(!strstr(seen.text, "a=1x"), "and not taken");
	end();

	begin();
	put(intent, A, "x");
	options.served = (struct watermark){ 2, 0, 0 };
	start();
	store_pass(S(2));
	ok(is_stale_for("generation 2 was seen"), "one of a lower generation too");
	end();

	/* The mirror's probe is silent. */
	begin();
	put(intent, A, "x");
	mirrors();
	store_infos = STORE_SILENT;
	start();
	store_pass(S(1) - 1);
	ok(told("") && store_n_infos == 2, "a local bus that is silent");
	store_infos = STORE_ANSWERS;
	store_pass(1);
	ok(projection_is_live(projection), "is waited for 1 s");
	end();

	begin();
	start();
	projection_free(steal(projection));
	start();
	store_vanishes();
	store_run();
	projection_free(steal(projection));
	projection_free(NULL);
	ok(told("stale "), "it can be freed at any time");
	end();
}

/* A reader that was restarted, with a saved view and what it knew of the store. */
static char *saved;

static void save(void)
{
	begin();
	put(intent, A, "x");
	put(intent, B, "x");
	put(facts, F, "y");
	start();
	store_run();
	free(saved);
	saved = projection_seen(projection);
	projection_free(steal(projection));
	store_run();
	forget();
	options.served = (struct watermark){ 1, 2, 1 };
	options.seen = saved;
}

static void saved_end(void)
{
	projection_free(steal(projection));
	free(steal(saved));
	end();
}

static void test_saved(void)
{
	save();
	start();
	store_run();
	ok(projection_is_live(projection) && strstr(seen.text, "[1 2 1]"),
	   "a restarted reader takes the store that it knew");
	saved_end();

	save();
	intent->entries[1].time_usec++;
	start();
	store_run();
	ok(is_stale_for("2 differs"), "not one with another entry at the same sequence");
	saved_end();

	save();
	put(intent, B, "z");
	intent->entries[1].time_usec++;
	start();
	store_run();
	ok(is_stale_for("2 differs"), "nor one that has moved on from there");
	saved_end();

	save();
	strcpy(intent->created, "2025-12-24T16:00:00Z");
	start();
	store_run();
	ok(is_stale_for("PLOYZ_INTENT was created again"), "nor one that was created again");
	saved_end();

	save();
	strcpy(intent->store, "s2");
	start();
	store_run();
	ok(is_stale_for("PLOYZ_INTENT was created again"), "nor another store");
	saved_end();

	save();
	strcpy(intent->created, "2025-12-24T16:00:00Z");
	intent->generation = facts->generation = 2;
	store_stream_clear(intent);
	start();
	store_run();
	ok(projection_is_live(projection) && strstr(seen.text, "[2 0 1]"),
	   "but one of a higher generation");
	saved_end();

	save();
	mirrors();
	store_vanishes();
	start();
	store_pass(S(1));
	ok(strstr(seen.text, "a=1x b=2x ") && strstr(seen.text, "[1 2 1]"), "the mirror serves");
	ok(is_stale_for("stream not found"), "stale");
	saved_end();

	save();
	mirrors();
	mirror->entries[1].time_usec++;
	store_vanishes();
	start();
	store_pass(S(20));
	ok(!strstr(seen.text, "a=1x"), "unless it has another entry there");
	saved_end();

	save();
	mirrors();
	mirror->generation = 1;
	strcpy(mirror->store, "s2");
	store_vanishes();
	start();
	store_pass(S(20));
	ok(!strstr(seen.text, "a=1x"), "or is of another store");
	saved_end();

	/* What was saved by another program, or not at all. */
	static const char *const broken[] = {
		"?",
		"{}",
		"{\"PLOYZ_INTENT\":7}",
		"{\"PLOYZ_INTENT\":{\"sequence\":\"x\",\"time_usec\":-5,\"created\":[]}}",
		"{\"PLOYZ_INTENT\":{\"sequence\":1,\"time_usec\":5}}",
		"{\"PLOYZ_INTENT\":{\"sequence\":9,\"time_usec\":0}}",
	};
	for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
		save();
		options.seen = broken[i];
		start();
		store_run();
		ok(projection_is_live(projection), "%s says nothing", broken[i]);
		saved_end();
	}
	save();
	put(intent, B, "z");
	options.seen = "{\"PLOYZ_INTENT\":{\"sequence\":2,\"time_usec\":5}}";
	start();
	store_run();
	ok(is_stale_for("2 differs"), "a time counts at the sequence that is served");
	projection_free(steal(projection));
	store_run();
	options.seen = "{\"PLOYZ_INTENT\":{\"sequence\":3,\"time_usec\":5}}";
	start();
	store_run();
	ok(is_stale_for("3 differs"), "or at a later one");
	saved_end();
}

static void test_status(void)
{
	json_t *status;

	begin();
	put(intent, A, "x");
	put(facts, F, "y");
	put(facts, G, "y");
	start();
	store_run();
	status = projection_status(projection);
	is_int(json_integer_value(json_object_get(status, "subjects")), 3, "status: subjects");
	is_int(json_integer_value(
		       json_object_get(json_object_get(status, "applied"), "generation")),
	       1, "and what is applied");
	ok(!json_object_get(status, "stale_since") && !json_object_get(status, "stale_reason"),
	   "of a view that is fresh");
	json_decref(status);
	store_vanishes();
	store_pass(S(15));
	status = projection_status(projection);
	ok(json_string_value(json_object_get(status, "stale_since")) &&
		   strstr(json_string_value(json_object_get(status, "stale_reason")), "not found"),
	   "and of one that is stale, with the reason");
	json_decref(status);
	end();
}

/* Attaching again for a skipped delivery is not staleness, and not liveness either. */
static void test_attach_again(void)
{
	begin();
	put(intent, A, "x");
	start();
	store_run();
	forget();
	fake_deliver(store_inbox(&store_consumers[0]), A, "$JS.ACK.S.c.1.9.9.1764000000000000000.0",
		     NULL, "{}", 2);
	ok(!projection_is_live(projection) && !projection_stale_since(projection) && told(""),
	   "a skipped delivery: it attaches again");
	put(intent, B, "y");
	store_run();
	ok(told("b=2y [1 2 0] ") && projection_is_live(projection), "and nobody is told");
	end();
}

int main(void)
{
	blocks_begin();
	fake_published = store_published;
	test_start();
	test_first_load();
	test_store_away();
	test_expect();
	test_generations();
	test_gate();
	test_mirror();
	test_saved();
	test_status();
	test_attach_again();
	return tap_done();
}
