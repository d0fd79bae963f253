/* Leases: the decision, the watch, holding one and breaking one, on a store that loses answers. */
#include "lib/lease.h"

#include "lib/str.h"
#include "tests/lib/blocks.h"
#include "tests/lib/store.h"
#include "tests/tap.h"

#define S(n) SECONDS(n)
#define KEY "$KV.PLOYZ_LEASES.shop"

/* --- the decision (pure) --- */

static const struct {
	const char *what;
	int state; /* -1: no value yet */
	const char *machine, *incarnation;
	uint64_t quiet_usec;
	enum lease_decision expected;
} decisions[] = {
	{ "never held", -1, NULL, NULL, 0, LEASE_TAKE_FREE },
	{ "free", LEASE_FREE, "m2", "x", 0, LEASE_TAKE_FREE },
	{ "held by another machine, just renewed", LEASE_HELD, "m2", "x", 0, LEASE_REFUSE },
	{ "held by another machine, not renewed for almost the term", LEASE_HELD, "m2", "x",
	  S(30) - 1, LEASE_REFUSE },
	{ "held by another machine, not renewed for the term", LEASE_HELD, "m2", "x", S(30),
	  LEASE_TAKE_EXPIRED },
	{ "held by this incarnation: another deploy of it", LEASE_HELD, "m1", "now", 0,
	  LEASE_REFUSE },
	{ "held by an earlier incarnation of this machine", LEASE_HELD, "m1", "before", 0,
	  LEASE_TAKE_OWN },
	{ "held by this incarnation and yet not renewed for the term", LEASE_HELD, "m1", "now",
	  S(31), LEASE_TAKE_EXPIRED },
	{ "another machine with the same incarnation", LEASE_HELD, "m2", "now", 0, LEASE_REFUSE },
};

static void test_decisions(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(decisions); i++) {
		const struct lease lease = {
			.state = decisions[i].state,
			.machine = (char *)decisions[i].machine,
			.incarnation = (char *)decisions[i].incarnation,
		};

		is_int(lease_decide(decisions[i].state < 0 ? NULL : &lease, "m1", "now",
				    decisions[i].quiet_usec),
		       decisions[i].expected, decisions[i].what);
	}
}

static void test_refusal(void)
{
	struct lease lease = {
		.ns = (char *)"shop",
		.state = LEASE_HELD,
		.machine = (char *)"m2",
		.operator_ = (char *)"alice@desk",
		.deploy = (char *)"abc",
		.verb = (char *)"deploy",
		.since = (char *)"2026-01-01T10:00:00.000Z",
	};
	struct failure failure = FAILURE_INIT;
	uint64_t since = 0;

	time_parse(lease.since, &since);
	lease_refusal(&lease, S(10), since + S(75), &failure);
	is(failure.message,
	   "cannot take the lease of namespace shop: alice@desk holds it for deploy abc on machine "
	   "m2 since 2026-01-01T10:00:00.000Z (75 s ago); if that leased has ended, the lease is "
	   "free in at most 20 s",
	   "a refusal names holder, reason, since when, and when it is free");
	is(failure.hint,
	   "wait for it (`ployzctl deploy attach abc`), or `ployzctl lease break shop`",
	   "and the next step");
	is_int(failure_exit((enum failure_code)failure.code), EXIT_LEASE_HELD, "exit 4");
	lease_refusal(&lease, S(40), since - S(5), &failure);
	ok(strstr(failure.message, "(0 ms ago)") && strstr(failure.message, "at most 0 ms"),
	   "clocks that disagree give no nonsense");
	failure_clear(&failure);
}

/* --- the store, a watch and a holder --- */

static struct store_stream *leases;
static struct lease_watch *watch;
static struct held_lease *held;
static size_t changes, renewals, waits, seen_changes;
static bool executes, free_in_changed;
static char *told, *why;
static struct lease *broken; /* what lease_break gave */

static void on_changed(_unused_ void *userdata)
{
	changes++;
	if (free_in_changed)
		held_lease_free(steal(held));
}

static void on_renewed(_unused_ void *userdata)
{
	renewals++;
}

static void on_waiting(const char *reason, _unused_ void *userdata)
{
	waits++;
	free(told);
	told = xstrdup(reason);
}

static bool on_executes(const char *deploy, _unused_ void *userdata)
{
	return executes && streq(deploy, "d1");
}

static const struct held_lease_ops ops = { on_changed, on_renewed, on_waiting, on_executes };
static const struct held_lease_ops few_ops = { .changed = on_changed };

static void on_seen(const struct lease *lease, uint64_t revision, _unused_ void *userdata)
{
	seen_changes++;
	if (held)
		held_lease_observe(held, lease, revision);
}

static const struct lease holder = {
	.ns = (char *)"shop",
	.machine = (char *)"m1",
	.incarnation = (char *)"now",
	.operator_ = (char *)"alice",
	.deploy = (char *)"d1",
	.verb = (char *)"deploy",
	.since = (char *)"2026-01-01T10:00:00.000Z",
};

static long blocks;

static void begin(void)
{
	store_reset();
	blocks = blocks_live;
	leases = store_stream("ployz", "KV_PLOYZ_LEASES", 1, 1);
	changes = renewals = waits = seen_changes = 0;
	executes = free_in_changed = false;
	watch = lease_watch_new(&fake_bus, on_seen, NULL);
	store_run();
}

static void end(void)
{
	held_lease_free(steal(held));
	lease_watch_free(steal(watch));
	store_run();
	HOLDS(!fake_requests && !fake_timers && !fake_subscriptions);
	free(steal(told));
	free(steal(why));
	lease_free(steal(broken));
	store_reset();
	HOLDS(blocks_live == blocks);
}

static void take(void)
{
	held = held_lease_new(&fake_bus, watch, &holder, &ops, NULL);
}

/* Another holder's value. */
static uint64_t put(int state, const char *machine, const char *incarnation, int64_t epoch,
		    const char *deploy)
{
	_cleanup_free_ char *text =
		xasprintf("{\"namespace\":\"shop\",\"state\":\"%s\",\"epoch\":%lld,\"machine\":"
			  "\"%s\",\"incarnation\":\"%s\",\"deploy\":\"%s\",\"operator\":\"bob\","
			  "\"nonce\":\"%u\"}",
			  state == LEASE_HELD ? "held" : "free", (long long)epoch, machine,
			  incarnation, deploy, (unsigned)leases->last);

	return store_put(leases, KEY, text);
}

static void put_free(void)
{
	put(LEASE_FREE, "m2", "x", 1, "d0");
}

static void put_held(void)
{
	put(LEASE_HELD, "m2", "x", 3, "d0");
}

/* The value that is stored now. */
static struct lease *stored(void)
{
	const struct store_entry *entry = store_last_of(leases, KEY);
	void *lease = NULL;

	if (entry)
		codec_parse(&lease_schema, entry->data, strlen(entry->data), CODEC_LENIENT, &lease,
			    NULL);
	return lease;
}

static bool stored_is(int state, int64_t epoch, const char *deploy)
{
	_cleanup_(lease_freep) struct lease *lease = stored();

	return lease && lease->state == state && lease->epoch == epoch &&
	       streq(lease->deploy, deploy) && lease->nonce;
}

static bool is_state(enum held_state state)
{
	if (held_lease_state(held) != state)
		printf("# state %d\n", held_lease_state(held));
	return held_lease_state(held) == state;
}

static void test_take(void)
{
	begin();
	take();
	ok(is_state(HELD_TAKING) && !changes && held_lease_deadline(held) == 0,
	   "a lease is being taken at first");
	store_run();
	ok(is_state(HELD_HELD) && changes == 1, "then it is held");
	ok(stored_is(LEASE_HELD, 1, "d1"), "with the first epoch");
	is_int(held_lease_get(held)->epoch, 1, "which the holder knows");
	ok(held_lease_deadline(held) == boot_now_usec() + S(27),
	   "for the term less the margin, from when it was sent");
	ok(!held_lease_previous(held) && !failure_is_set(held_lease_failure(held)),
	   "from nobody, without a failure");
	is_int((long long)seen_changes, 1, "the watch sees it");
	ok(is_state(HELD_HELD), "and the holder recognises its own value");
	end();

	begin();
	put(LEASE_FREE, "m2", "x", 7, "d0");
	store_run();
	take();
	store_run();
	ok(stored_is(LEASE_HELD, 8, "d1") && !held_lease_previous(held),
	   "a free lease is taken with the next epoch");
	end();

	begin();
	put(LEASE_HELD, "m2", "x", 7, "d0");
	store_run();
	take();
	store_run();
	ok(is_state(HELD_REFUSED) && changes == 1 && leases->last == 1,
	   "a lease that another machine holds is refused");
	ok(strstr(held_lease_failure(held)->message, "bob holds it") &&
		   held_lease_failure(held)->code == FAILURE_LEASE_HELD,
	   "in its name");
	store_pass(S(60));
	ok(leases->last == 1 && changes == 1, "and not taken later");
	held_lease_release(held);
	store_pass(S(1));
	ok(is_state(HELD_REFUSED) && changes == 1, "releasing a refused one does nothing");
	end();

	begin();
	put(LEASE_HELD, "m2", "x", 7, "d0");
	store_run();
	store_pass(S(30) - 1);
	take();
	store_run();
	ok(is_state(HELD_REFUSED), "one that was not renewed for almost the term is refused");
	held_lease_free(steal(held));
	store_pass(1);
	take();
	store_run();
	ok(is_state(HELD_HELD) && stored_is(LEASE_HELD, 8, "d1"), "after the term it is taken");
	ok(held_lease_previous(held) && streq(held_lease_previous(held)->deploy, "d0"),
	   "from a holder that is known");
	end();

	begin();
	put(LEASE_HELD, "m1", "before", 7, "d0");
	store_run();
	take();
	store_run();
	ok(is_state(HELD_HELD) && held_lease_previous(held), "of an earlier incarnation: at once");
	end();

	begin();
	put(LEASE_HELD, "m1", "now", 7, "d1");
	store_run();
	executes = true;
	take();
	store_run();
	ok(is_state(HELD_REFUSED), "of a deploy that this process executes: refused");
	held_lease_free(steal(held));
	executes = false;
	take();
	store_run();
	ok(is_state(HELD_HELD), "of one that has ended here: at once");
	end();

	begin();
	put(LEASE_HELD, "m1", "now", 7, "d1");
	store_run();
	held = held_lease_new(&fake_bus, watch, &holder, &few_ops, NULL);
	store_run();
	ok(is_state(HELD_REFUSED), "without the question it counts as executed");
	end();

	begin();
	store_put(leases, KEY, "{\"namespace\":7}");
	store_run();
	take();
	store_run();
	ok(is_state(HELD_REFUSED) && strstr(held_lease_failure(held)->message, "decoded") &&
		   strstr(held_lease_failure(held)->hint, "lease break shop"),
	   "a value that cannot be decoded is refused");
	end();
}

static void test_take_trouble(void)
{
	begin();
	store_reads = STORE_GONE;
	take();
	store_run();
	ok(is_state(HELD_TAKING) && waits == 1 && told, "a store that does not answer is told");
	store_pass(S(0.25));
	is_int((long long)waits, 2, "and asked again");
	store_reads = STORE_ANSWERS;
	store_pass(S(0.25));
	ok(is_state(HELD_HELD), "until it answers");
	end();

	begin();
	store_reads = STORE_GONE;
	take();
	store_pass(S(15) - 1);
	ok(is_state(HELD_TAKING), "for 15 s");
	store_pass(S(0.25) + 1);
	ok(is_state(HELD_REFUSED) && changes == 1 &&
		   strstr(held_lease_failure(held)->message, "does not answer"),
	   "then it is refused with the reason");
	is_int((long long)store_n_appends, 0, "nothing was written");
	end();

	/* Another writer is faster. */
	begin();
	take();
	fake_tick();
	store_answer(store_oldest());
	put(LEASE_HELD, "m2", "x", 3, "d0");
	store_run();
	ok(is_state(HELD_TAKING) && leases->last == 1, "another writer was faster");
	store_pass(S(0.25));
	ok(is_state(HELD_REFUSED) && strstr(held_lease_failure(held)->message, "bob holds it"),
	   "its value is read, and refused in its name");
	end();

	/* The answer of the write is lost. */
	begin();
	store_appends = STORE_LOSES_ACK;
	take();
	store_run();
	store_pass(S(2));
	ok(is_state(HELD_TAKING) && waits, "a lost answer is told");
	store_pass(S(0.25));
	ok(is_state(HELD_HELD), "and the lease recognised in the log");
	ok(held_lease_deadline(held) == FAKE_BOOT_USEC + S(27),
	   "the deadline counts from the first attempt");
	end();

	begin();
	store_appends = STORE_SILENT;
	take();
	store_pass(S(15) - 1);
	ok(is_state(HELD_TAKING), "taking lasts 15 s");
	store_pass(1);
	ok(is_state(HELD_REFUSED) && held_lease_failure(held)->message, "and is refused then");
	end();

	begin();
	store_interfere = put_free;
	take();
	store_pass(S(15) - 1);
	ok(is_state(HELD_TAKING), "one that others write each time is tried for 15 s");
	store_pass(S(0.25) + 1);
	ok(is_state(HELD_REFUSED) && strstr(held_lease_failure(held)->message, "other writers were first"),
	   "then it is given up");
	ok(store_n_appends > 50 && store_n_appends < 62, "after a pause each time (%zu)",
	   store_n_appends);
	end();
}

/* Taking it ends at once where the disk is full; renewing goes on. */
static void test_disk(void)
{
	begin();
	store_appends = STORE_SILENT;
	store_health = "{\"server\":{\"name\":\"store-m1\"},\"data\":{\"status\":\"error\","
		       "\"error\":\"no space left on device\"}}";
	take();
	store_pass(S(2));
	ok(is_state(HELD_REFUSED) && strstr(held_lease_failure(held)->message, "is full"),
	   "with a full disk it is refused at once");
	held_lease_free(steal(held));
	store_appends = STORE_ANSWERS;
	take();
	store_run();
	store_appends = STORE_SILENT;
	store_pass(S(20));
	ok(is_state(HELD_HELD) && strstr(told, "is full"), "one that is held is renewed");
	store_appends = STORE_ANSWERS;
	store_pass(S(5));
	ok(is_state(HELD_HELD) && renewals == 1, "until there is room");
	end();
}

static void test_renew(void)
{
	uint64_t deadline;

	begin();
	take();
	store_run();
	deadline = held_lease_deadline(held);
	store_pass(S(10) - 1);
	is_int((long long)leases->last, 1, "for 10 s nothing is written");
	store_pass(1);
	ok(leases->last == 2 && renewals == 1 && changes == 1, "then it is renewed");
	ok(stored_is(LEASE_HELD, 1, "d1"), "with the same epoch");
	ok(held_lease_deadline(held) == deadline + S(10), "and the deadline is later");
	store_pass(S(100));
	ok(is_state(HELD_HELD) && renewals == 11 && leases->last == 12, "and so on");
	end();

	begin();
	take();
	store_run();
	deadline = held_lease_deadline(held);
	store_appends = store_reads = STORE_SILENT;
	store_pass(S(27) - 1);
	ok(is_state(HELD_HELD) && held_lease_deadline(held) == deadline,
	   "without an answer it is held up to the deadline");
	store_pass(1);
	ok(is_state(HELD_LOST) && changes == 2 && held_lease_deadline(held) == 0, "then lost");
	ok(held_lease_failure(held)->code == FAILURE_LEASE_LOST &&
		   strstr(held_lease_failure(held)->message, "not be renewed in time"),
	   "for that reason");
	store_appends = store_reads = STORE_ANSWERS;
	store_pass(S(60));
	ok(is_state(HELD_LOST) && changes == 2 && leases->last == 1,
	   "a renewal that was under way does not come later");
	held_lease_release(held);
	store_pass(S(1));
	ok(is_state(HELD_LOST) && leases->last == 1, "a lost one is not released");
	end();

	begin();
	take();
	store_run();
	store_appends = STORE_REFUSES;
	store_pass(S(10));
	ok(is_state(HELD_HELD) && waits == 1 && strstr(told, "exceeds maximum"),
	   "a refused renewal is told; the lease is held up to its deadline");
	store_pass(S(0.25));
	ok(waits == 2 && leases->last == 1, "and tried again");
	store_appends = STORE_ANSWERS;
	store_pass(S(0.25));
	ok(is_state(HELD_HELD) && renewals == 1 && leases->last == 2 &&
		   !failure_is_set(held_lease_failure(held)),
	   "until it succeeds");
	store_appends = STORE_REFUSES;
	store_pass(S(27));
	ok(is_state(HELD_LOST) && strstr(held_lease_failure(held)->message, "exceeds maximum"),
	   "or the deadline passes, which names it");
	end();

	begin();
	held = held_lease_new(&fake_bus, watch, &holder, &few_ops, NULL);
	store_run();
	store_appends = STORE_REFUSES;
	store_pass(S(10));
	store_appends = STORE_ANSWERS;
	store_pass(S(10));
	ok(is_state(HELD_HELD) && leases->last > 1, "callbacks that are not set are not called");
	end();

	begin();
	take();
	store_run();
	lease_watch_free(steal(watch));
	watch = lease_watch_new(&fake_bus, NULL, NULL);
	put(LEASE_HELD, "m2", "x", 2, "d2");
	store_pass(S(10));
	ok(is_state(HELD_LOST) && strstr(held_lease_failure(held)->message, "another writer"),
	   "another writer's value is found by the next renewal");
	ok(leases->last == 2, "and not written over");
	end();
}

static void test_observe(void)
{
	struct lease *own;

	begin();
	take();
	store_run();
	put(LEASE_FREE, "m1", "now", 1, "d1");
	store_run();
	ok(is_state(HELD_LOST) && strstr(held_lease_failure(held)->message, "broken by bob"),
	   "a broken lease is lost at once");
	store_pass(S(60));
	ok(leases->last == 2 && changes == 2,
	   "nothing is written any more, and no deadline passes");
	end();

	begin();
	take();
	store_run();
	store_appends = STORE_SILENT;
	store_pass(S(11));
	put(LEASE_HELD, "m2", "x", 2, "d2");
	store_run();
	ok(is_state(HELD_LOST) && store_n_appends == 2, "during a renewal too");
	store_pass(S(60));
	ok(store_n_appends == 2 && changes == 2, "which is not repeated then");
	end();

	begin();
	take();
	store_run();
	put(LEASE_HELD, "m2", "x", 2, "d2");
	store_run();
	ok(is_state(HELD_LOST) && strstr(held_lease_failure(held)->message, "taken over by bob"),
	   "one that was taken over too");
	end();

	begin();
	take();
	store_run();
	own = stored();
	held_lease_observe(held, own, 1);
	ok(is_state(HELD_HELD), "its own value is no loss");
	own->state = LEASE_FREE;
	held_lease_observe(held, own, 7);
	ok(is_state(HELD_HELD), "nor one with the nonce of the last write");
	free(own->nonce);
	own->nonce = xstrdup("other");
	held_lease_observe(held, own, 1);
	ok(is_state(HELD_HELD), "nor an older revision");
	held_lease_observe(held, own, 2);
	ok(is_state(HELD_LOST), "another value that is newer is");
	lease_free(own);
	end();

	begin();
	take();
	put(LEASE_FREE, "m2", "x", 2, "d2");
	store_run();
	ok(is_state(HELD_HELD), "while it is being taken another value is no loss");
	free_in_changed = true;
	put(LEASE_FREE, "m2", "x", 4, "d2");
	store_run();
	ok(!held, "the callback may free it");
	end();
}

static void test_raise(void)
{
	begin();
	take();
	held_lease_raise(held, 5);
	store_run();
	ok(is_state(HELD_HELD) && stored_is(LEASE_HELD, 1, "d1"), "one not held yet is not raised");
	held_lease_raise(held, 0);
	ok(is_state(HELD_HELD) && !fake_requests, "an epoch that is higher already is left");
	held_lease_raise(held, 1);
	ok(is_state(HELD_RAISING) && changes == 1 && held_lease_deadline(held),
	   "the same epoch is raised");
	store_run();
	ok(is_state(HELD_HELD) && changes == 2 && renewals == 1 && stored_is(LEASE_HELD, 2, "d1"),
	   "by one");
	held_lease_raise(held, 40);
	held_lease_raise(held, 30);
	store_run();
	ok(is_state(HELD_HELD) && stored_is(LEASE_HELD, 41, "d1") && leases->last == 3 &&
		   held_lease_get(held)->epoch == 41,
	   "above what is wanted, in one write");
	held_lease_raise(held, 41);
	held_lease_raise(held, 50);
	store_run();
	ok(is_state(HELD_HELD) && stored_is(LEASE_HELD, 51, "d1") && leases->last == 5,
	   "what is wanted meanwhile follows");
	end();

	/* During a renewal. */
	begin();
	take();
	store_run();
	store_pass(S(10) - 1);
	fake_now++;
	fake_tick();
	held_lease_raise(held, 9);
	ok(is_state(HELD_RAISING) && leases->last == 1, "a renewal under way is waited for");
	store_run();
	ok(is_state(HELD_HELD) && stored_is(LEASE_HELD, 10, "d1") && leases->last == 3,
	   "then it is raised");
	end();

	begin();
	take();
	store_run();
	store_appends = STORE_REFUSES;
	held_lease_raise(held, 9);
	store_run();
	ok(is_state(HELD_RAISING) && waits == 1, "a refused one is tried again");
	store_appends = STORE_ANSWERS;
	store_pass(S(0.25));
	ok(is_state(HELD_HELD) && stored_is(LEASE_HELD, 10, "d1"), "with the same epoch");
	end();

	begin();
	take();
	store_run();
	store_appends = store_reads = STORE_SILENT;
	held_lease_raise(held, 9);
	store_pass(S(27));
	ok(is_state(HELD_LOST), "it is lost at the deadline");
	held_lease_raise(held, 90);
	ok(is_state(HELD_LOST), "and not raised any more");
	end();
}

static void test_release(void)
{
	begin();
	take();
	store_run();
	held_lease_release(held);
	ok(is_state(HELD_RELEASING) && changes == 1 && held_lease_deadline(held) == 0,
	   "a lease is being released");
	held_lease_release(held);
	store_run();
	ok(is_state(HELD_RELEASED) && changes == 2 && stored_is(LEASE_FREE, 1, "d1"),
	   "then it is free, with its epoch");
	ok(leases->last == 2 && !failure_is_set(held_lease_failure(held)), "by one write");
	store_pass(S(60));
	ok(leases->last == 2 && changes == 2, "and not renewed any more");
	end();

	/* During a renewal. */
	begin();
	take();
	store_run();
	store_pass(S(10) - 1);
	fake_now++;
	fake_tick();
	held_lease_release(held);
	ok(leases->last == 1 && is_state(HELD_RELEASING), "a renewal under way is waited for");
	store_run();
	ok(is_state(HELD_RELEASED) && leases->last == 3 && stored_is(LEASE_FREE, 1, "d1") &&
		   renewals == 0,
	   "then it is released");
	store_pass(S(60));
	ok(is_state(HELD_RELEASED) && changes == 2, "and no deadline passes later");
	end();

	/* While it is being taken. */
	begin();
	store_n_reads = 0;
	take();
	held_lease_release(held);
	store_run();
	ok(is_state(HELD_RELEASED) && leases->last == 0 && changes == 1 && store_n_reads == 0,
	   "before anything was written it is released at once");
	end();
	begin();
	store_reads = STORE_SILENT;
	take();
	store_run();
	held_lease_release(held);
	store_reads = STORE_ANSWERS;
	store_release("");
	store_run();
	ok(is_state(HELD_RELEASED) && leases->last == 0, "and a read under way is cancelled");
	end();
	begin();
	take();
	fake_tick();
	store_answer(store_oldest());
	held_lease_release(held);
	store_run();
	ok(is_state(HELD_RELEASED) && leases->last == 2 && stored_is(LEASE_FREE, 1, "d1") &&
		   changes == 1,
	   "a write under way is waited for, and released");
	end();
	begin();
	take();
	fake_tick();
	store_answer(store_oldest());
	held_lease_release(held);
	put(LEASE_HELD, "m2", "x", 3, "d0");
	store_run();
	ok(is_state(HELD_RELEASED) && leases->last == 1 && failure_is_set(held_lease_failure(held)),
	   "unless it failed");
	end();

	begin();
	take();
	store_run();
	store_pass(S(20));
	store_appends = STORE_SILENT;
	held_lease_release(held);
	store_pass(S(14.9));
	ok(is_state(HELD_RELEASING) && changes == 1, "releasing is tried for 15 s");
	end();

	begin();
	take();
	store_run();
	store_pass(S(5));
	store_appends = store_reads = STORE_SILENT;
	store_pass(S(15));
	held_lease_release(held);
	store_pass(S(10));
	ok(is_state(HELD_RELEASING) && changes == 1, "the holder's deadline does not end that");
	store_pass(S(12) - 1);
	ok(is_state(HELD_RELEASING), "15 s after the renewal that it waited for");
	store_pass(1);
	ok(is_state(HELD_RELEASED), "it ends");
	end();

	begin();
	take();
	store_run();
	store_appends = STORE_SILENT;
	held_lease_release(held);
	store_run();
	held_lease_free(steal(held));
	store_pass(S(60));
	ok(store_n_appends == 2, "one that is freed writes nothing more");
	end();

	begin();
	store_reads = STORE_SILENT;
	take();
	store_run();
	held_lease_free(steal(held));
	store_pass(S(60));
	ok(store_n_appends == 0 && changes == 0, "nor reads");
	end();

	begin();
	take();
	store_run();
	store_appends = store_reads = STORE_SILENT;
	held_lease_release(held);
	store_pass(S(15) - 1);
	ok(is_state(HELD_RELEASING), "for 15 s it is tried");
	store_pass(1);
	ok(is_state(HELD_RELEASED) && failure_is_set(held_lease_failure(held)),
	   "then it is not known whether it is free");
	end();

	begin();
	take();
	store_run();
	store_mute = true;
	put(LEASE_HELD, "m2", "x", 3, "d0");
	held_lease_release(held);
	store_run();
	ok(is_state(HELD_RELEASED) && leases->last == 2, "another holder's value stays");
	end();

	begin();
	take();
	store_run();
	put(LEASE_HELD, "m2", "x", 3, "d0");
	held_lease_release(held);
	store_run();
	ok(is_state(HELD_RELEASED), "what the watch sees then changes nothing");
	end();
	held_lease_free(NULL);
}

static void test_watch(void)
{
	const struct lease_seen *seen;

	begin();
	ok(lease_watch_is_live(watch), "a watch is live when it has read all leases");
	put(LEASE_HELD, "m2", "x", 3, "d0");
	store_run();
	seen = map_get(lease_watch_all(watch), "shop");
	ok(seen && seen->revision == 1 && seen->lease->epoch == 3 && seen_changes == 1,
	   "it knows what it saw");
	store_pass(S(7));
	ok(lease_watch_quiet(watch, "shop", 1) == S(7), "and how long that has not moved");
	is_int((long long)lease_watch_quiet(watch, "shop", 2), 0, "another revision: not known");
	is_int((long long)lease_watch_quiet(watch, "other", 1), 0, "another lease: not known");
	put(LEASE_HELD, "m2", "x", 3, "d0");
	store_pass(S(1));
	ok(lease_watch_quiet(watch, "shop", 2) == S(1), "a renewal begins anew");
	store_mute = true;
	store_infos = STORE_SILENT;
	store_pass(S(30));
	ok(!lease_watch_is_live(watch) && lease_watch_quiet(watch, "shop", 2) == 0,
	   "without heartbeats nothing is known");
	ok(fake_log_warnings == 1 && strstr(fake_log_line, "cannot follow the leases"),
	   "which is logged once");
	store_mute = false;
	store_infos = STORE_ANSWERS;
	store_pass(S(6));
	ok(lease_watch_is_live(watch) && lease_watch_quiet(watch, "shop", 2) <= S(6),
	   "when it is back, counting begins there");
	store_put(leases, KEY, "{}");
	store_run();
	ok(!map_get(lease_watch_all(watch), "shop") && seen_changes == 2,
	   "a value that cannot be decoded replaces what was known");
	ok(strstr(fake_log_line, "cannot decode lease shop: "), "and is logged");
	end();

	/* The bucket of a new generation begins with revision 1 again. */
	begin();
	put(LEASE_HELD, "m2", "x", 3, "d0");
	store_put(leases, "$KV.PLOYZ_LEASES.other",
		  "{\"namespace\":\"other\",\"state\":\"free\",\"epoch\":1}");
	store_run();
	ok(map_get(lease_watch_all(watch), "other") != NULL, "it knows every lease");
	store_pass(S(40));
	store_stream_clear(leases);
	leases->generation = 2;
	strcpy(leases->created, "2026-01-01T00:00:00Z");
	put(LEASE_HELD, "m3", "y", 1, "d9");
	store_forget_consumers();
	store_pass(S(20));
	seen = map_get(lease_watch_all(watch), "shop");
	ok(seen && seen->revision == 1 && streq(seen->lease->machine, "m3") &&
		   lease_watch_quiet(watch, "shop", 1) <= S(20),
	   "a revision of another bucket is another one");
	ok(!map_get(lease_watch_all(watch), "other"), "and what is not there is not known");
	end();
	lease_watch_free(NULL);
}

/* --- breaking one --- */

static struct lease_breaking *breaking;
static size_t breaks;
static uint64_t broken_revision;

static void on_broken(const struct failure *failure, const struct lease *lease, uint64_t revision,
		      _unused_ void *userdata)
{
	breaks++;
	broken_revision = revision;
	free(why);
	why = failure ? xstrdup(failure->message) : NULL;
	lease_free(broken);
	broken = lease ? codec_copy(&lease_schema, lease) : NULL;
	lease_breaking_free(steal(breaking));
}

static void break_begin(void)
{
	begin();
	breaks = 0;
}

static void test_break(void)
{
	break_begin();
	put(LEASE_HELD, "m2", "x", 3, "d0");
	breaking = lease_break(&fake_bus, "shop", "carol", on_broken, NULL);
	ok(breaks == 0, "the callback is not called before lease_break has returned");
	store_run();
	ok(breaks == 1 && !why && broken_revision == 2 && stored_is(LEASE_FREE, 3, "d0"),
	   "a held lease is freed, its epoch stays");
	ok(streq(broken->operator_, "carol") && streq(broken->verb, "break") && broken->since &&
		   broken->state == LEASE_FREE,
	   "with who did it");
	end();

	break_begin();
	put(LEASE_FREE, "m2", "x", 3, "d0");
	breaking = lease_break(&fake_bus, "shop", "carol", on_broken, NULL);
	store_run();
	ok(breaks == 1 && broken_revision == 1 && leases->last == 1 && broken->epoch == 3,
	   "a free one is given as it is");
	end();

	break_begin();
	breaking = lease_break(&fake_bus, "shop", "carol", on_broken, NULL);
	store_run();
	ok(breaks == 1 && strstr(why, "never had one") && !broken && leases->last == 0,
	   "one that was never held is not found");
	end();

	break_begin();
	store_put(leases, KEY, "{\"epoch\":\"x\"}");
	breaking = lease_break(&fake_bus, "shop", NULL, on_broken, NULL);
	store_run();
	ok(breaks == 1 && !why && stored_is(LEASE_FREE, 0, NULL) && streq(broken->ns, "shop"),
	   "a value that cannot be decoded is replaced");
	end();

	/* The holder renews it meanwhile. */
	break_begin();
	put(LEASE_HELD, "m2", "x", 3, "d0");
	breaking = lease_break(&fake_bus, "shop", "carol", on_broken, NULL);
	store_answer(store_oldest());
	put(LEASE_HELD, "m2", "x", 3, "d0");
	store_run();
	ok(breaks == 0 && leases->last == 2, "a renewal is faster");
	store_pass(S(0.25));
	ok(breaks == 1 && broken_revision == 3 && stored_is(LEASE_FREE, 3, "d0"),
	   "then it is read again and freed");
	end();

	break_begin();
	put(LEASE_HELD, "m2", "x", 3, "d0");
	store_reads = STORE_GONE;
	breaking = lease_break(&fake_bus, "shop", "carol", on_broken, NULL);
	store_pass(S(1));
	ok(breaks == 0 && store_n_reads > 2, "a store that does not answer is asked again");
	store_reads = STORE_ANSWERS;
	store_pass(S(1));
	ok(breaks == 1 && broken_revision == 2, "until it answers");
	end();

	break_begin();
	put(LEASE_HELD, "m2", "x", 3, "d0");
	store_reads = STORE_GONE;
	breaking = lease_break(&fake_bus, "shop", "carol", on_broken, NULL);
	store_pass(S(15) - 1);
	ok(breaks == 0, "for 15 s");
	store_pass(S(0.25) + 1);
	ok(breaks == 1 && why && !broken && broken_revision == 0, "then it fails");
	end();

	break_begin();
	put(LEASE_HELD, "m2", "x", 3, "d0");
	store_appends = STORE_REFUSES;
	breaking = lease_break(&fake_bus, "shop", "carol", on_broken, NULL);
	store_run();
	ok(breaks == 1 && strstr(why, "exceeds maximum") && !broken, "a refusal is told");
	end();

	break_begin();
	put(LEASE_HELD, "m2", "x", 3, "d0");
	breaking = lease_break(&fake_bus, "shop", "carol", on_broken, NULL);
	lease_breaking_free(steal(breaking));
	store_pass(S(20));
	ok(breaks == 0 && leases->last == 1, "one that was freed does nothing");
	store_appends = STORE_SILENT;
	breaking = lease_break(&fake_bus, "shop", "carol", on_broken, NULL);
	store_pass(S(1));
	lease_breaking_free(steal(breaking));
	store_pass(S(20));
	ok(breaks == 0 && store_n_appends == 1, "nor during its write");
	end();
	lease_breaking_free(NULL);

	/* Conflicts up to the end. */
	break_begin();
	put(LEASE_HELD, "m2", "x", 3, "d0");
	breaking = lease_break(&fake_bus, "shop", "carol", on_broken, NULL);
	store_interfere = put_held;
	store_pass(S(15) - 1);
	ok(breaks == 0, "one that is renewed each time is tried for 15 s");
	store_pass(S(0.25) + 1);
	ok(breaks == 1 && strstr(why, "another writer"), "then it is given up");
	ok(store_n_appends > 50 && store_n_appends < 62, "after a pause each time (%zu)",
	   store_n_appends);
	end();
}

int main(void)
{
	blocks_begin();
	fake_published = store_published;
	test_decisions();
	test_refusal();
	test_take();
	test_take_trouble();
	test_disk();
	test_renew();
	test_observe();
	test_raise();
	test_release();
	test_watch();
	test_break();
	return tap_done();
}
