/* The compare-and-set writer on a store that loses answers, refuses and is full. */
#include "lib/cas.h"

#include "tests/lib/blocks.h"
#include "tests/lib/store.h"
#include "tests/tap.h"

#define KEY "ployz.v1.intent.namespace.shop"
#define OURS "{\"nonce\":\"ours\"}"
#define THEIRS "{\"nonce\":\"theirs\"}"

static struct store_stream *intent, *leases;
static struct cas *cas;
static int outcome; /* of the writer; -1: none yet */
static uint64_t at;
static size_t calls, waits;
static char *why, *told;
static bool free_in_fn;

static void on_end(enum cas_outcome result, uint64_t sequence, const struct failure *failure,
		   _unused_ void *userdata)
{
	calls++;
	outcome = result;
	at = sequence;
	free(why);
	why = failure ? xstrdup(failure->message) : NULL;
	if (free_in_fn)
		cas_free(steal(cas));
}

static void on_waiting(const char *reason, _unused_ void *userdata)
{
	waits++;
	free(told);
	told = xstrdup(reason);
}

static long blocks;

static void begin(void)
{
	free(steal(why));
	free(steal(told));
	store_reset();
	blocks = blocks_live;
	intent = store_stream("ployz", "PLOYZ_INTENT", 256, 1);
	leases = store_stream("ployz", "KV_PLOYZ_LEASES", 1, 1);
	outcome = -1;
	at = 0;
	calls = waits = 0;
	free_in_fn = false;
}

static struct cas_options options(uint64_t expected, uint64_t seconds)
{
	return (struct cas_options){
		.key = KEY,
		.text = OURS,
		.nonce = "ours",
		.expected = expected,
		.deadline_usec = boot_now_usec() + SECONDS(seconds),
	};
}

static void start(uint64_t expected, uint64_t seconds)
{
	const struct cas_options o = options(expected, seconds);

	cas = cas_append(&fake_bus, &o, on_end, on_waiting, NULL);
}

static void end(void)
{
	cas_free(steal(cas));
	store_run();
	HOLDS(!fake_requests && !fake_timers);
	free(steal(why));
	free(steal(told));
	store_reset();
	HOLDS(blocks_live == blocks);
}

static bool ended(int expected, uint64_t sequence)
{
	if (outcome != expected || at != sequence || calls != 1)
		printf("# outcome %d at %llu, called %zu times\n", outcome, (unsigned long long)at,
		       calls);
	return outcome == expected && at == sequence && calls == 1;
}

static size_t stored(void)
{
	size_t n = 0;

	for (size_t i = 0; i < intent->n_entries; i++)
		n += streq(intent->entries[i].data, OURS);
	return n;
}

static void test_plain(void)
{
	begin();
	start(0, 10);
	ok(calls == 0, "the callback is not called before cas_append has returned");
	store_run();
	ok(ended(CAS_DONE, 1) && !why && !waits, "an acknowledged append is done");
	is(store_last_of(intent, KEY)->data, OURS, "the entry is stored");
	ok(store_n_appends == 1 && store_n_reads == 0, "with one request");
	end();

	begin();
	store_put(intent, KEY, THEIRS);
	start(0, 10);
	store_run();
	ok(ended(CAS_CONFLICT, 0) && why && strstr(why, KEY), "another writer's entry: conflict");
	ok(store_n_reads == 0, "certain without reading");
	end();

	begin();
	store_put(intent, KEY, THEIRS);
	store_put(intent, "ployz.v1.intent.namespace.other", THEIRS);
	start(1, 10);
	store_run();
	ok(ended(CAS_DONE, 3), "the condition is on the subject's last sequence");
	end();

	begin();
	store_appends = STORE_REFUSES;
	start(0, 10);
	store_run();
	ok(ended(CAS_REFUSED, 0) && strstr(why, "exceeds maximum"), "a refusal is final");
	ok(!waits, "and nothing is waited for");
	end();
}

static void test_bucket(void)
{
	const struct cas_options o = {
		.bucket = "PLOYZ_LEASES",
		.key = "shop",
		.text = OURS,
		.nonce = "ours",
		.deadline_usec = boot_now_usec() + SECONDS(10),
	};

	begin();
	store_appends = STORE_LOSES_ACK;
	cas = cas_append(&fake_bus, &o, on_end, on_waiting, NULL);
	store_run();
	ok(leases->last == 1 && streq(leases->entries[0].subject, "$KV.PLOYZ_LEASES.shop"),
	   "a bucket's key is written in its stream");
	store_appends = STORE_ANSWERS;
	store_pass(SECONDS(3));
	ok(ended(CAS_DONE, 1), "and read back there");
	end();
}

static void test_lost_answer(void)
{
	begin();
	store_appends = STORE_LOSES_ACK;
	start(0, 30);
	store_run();
	ok(intent->last == 1 && calls == 0, "stored, and the answer is lost");
	store_pass(SECONDS(2) - 1);
	ok(!waits && store_n_reads == 0, "for 2 s an answer is waited for");
	store_pass(1);
	ok(waits == 1 && strstr(told, "electing a leader"), "then the reason is told");
	is_int((long long)store_n_healths, 1, "the store's health is asked");
	is_int((long long)store_n_reads, 0, "and there is a pause");
	store_pass(250000 - 1);
	is_int((long long)store_n_reads, 0, "of 250 ms");
	store_pass(1);
	ok(ended(CAS_DONE, 1), "then the log is read and the entry recognised by its nonce");
	is_int((long long)stored(), 1, "it is stored once");
	is_int((long long)waits, 1, "the reason was told once");
	end();
}

static void test_lost_request(void)
{
	begin();
	store_put(intent, KEY, THEIRS);
	store_appends = STORE_SILENT;
	start(1, 30);
	store_run();
	store_appends = STORE_ANSWERS;
	store_pass(SECONDS(2.25));
	ok(ended(CAS_DONE, 2), "a request that was lost is repeated");
	ok(store_n_appends == 2 && stored() == 1, "once");
	end();

	begin();
	store_appends = STORE_GONE;
	start(0, 30);
	store_run();
	ok(calls == 0 && waits == 1, "without a responder it is doubtful too");
	store_appends = STORE_ANSWERS;
	store_pass(SECONDS(0.25));
	ok(ended(CAS_DONE, 1), "and repeated after the pause");
	end();
}

/* The first attempt arrives late: after the subject was read, before the second attempt. */
static void test_late_arrival(void)
{
	begin();
	store_appends = STORE_SILENT;
	start(0, 30);
	store_run();
	store_pass(SECONDS(2) + 250000 - 1);
	store_put(intent, KEY, OURS);
	store_appends = STORE_ANSWERS;
	store_pass(1);
	ok(ended(CAS_DONE, 1), "an attempt that arrives late is recognised");
	end();

	begin();
	store_reads = STORE_SILENT;
	store_appends = STORE_SILENT;
	start(0, 60);
	store_pass(SECONDS(2.25));
	ok(store_n_reads == 1 && calls == 0, "the log is read");
	store_pass(SECONDS(2.25));
	is_int((long long)store_n_reads, 2, "a read without an answer is repeated after a pause");
	is_int((long long)store_n_appends, 1, "and not followed by an append");
	is_int((long long)waits, 1, "the reason is told once");
	store_reads = store_appends = STORE_ANSWERS;
	store_pass(SECONDS(2.25));
	ok(ended(CAS_DONE, 1), "until the log says that it is not there: then it is appended");
	end();
}

static void test_superseded(void)
{
	begin();
	store_put(intent, KEY, THEIRS);
	store_appends = STORE_LOSES_ACK;
	start(1, 30);
	store_run();
	store_put(intent, KEY, THEIRS);
	store_put(intent, KEY, THEIRS);
	store_pass(SECONDS(2.25));
	ok(ended(CAS_SUPERSEDED, 2) && !why, "stored and superseded: both are learned");
	end();

	begin();
	store_appends = STORE_LOSES_ACK;
	start(0, 30);
	store_run();
	store_put(intent, KEY, THEIRS);
	store_pass(SECONDS(2.25));
	ok(ended(CAS_SUPERSEDED, 1), "the same for a subject's first entry");
	end();

	begin();
	store_put(intent, KEY, THEIRS);
	store_appends = STORE_SILENT;
	start(1, 30);
	store_run();
	store_put(intent, KEY, THEIRS);
	store_put(intent, KEY, OURS); /* another place than the one that was asked for */
	store_pass(SECONDS(2.25));
	ok(ended(CAS_CONFLICT, 0) && strstr(why, "another writer"),
	   "only the first entry after the expected one can be ours");
	ok(store_n_appends == 1, "nothing is written over another writer's entry");
	end();

	/* The successor cannot be read: that it is stored is known. */
	begin();
	store_appends = STORE_LOSES_ACK;
	start(0, 30);
	store_run();
	store_pass(SECONDS(2.25) - 1);
	while (fake_earliest() && store_n_reads == 0)
		fake_tick(), store_answer(store_oldest());
	store_reads = STORE_GONE;
	store_run();
	ok(ended(CAS_DONE, 1), "what is known to be stored is done");
	end();
}

/* Where entries are gone, ours may be among them. */
static void test_dropped(void)
{
	begin();
	intent->per_subject = 2;
	store_put(intent, KEY, THEIRS);
	store_appends = STORE_LOSES_ACK;
	start(1, 30);
	store_run();
	store_put(intent, KEY, THEIRS);
	store_put(intent, KEY, THEIRS);
	store_pass(SECONDS(2.25));
	ok(ended(CAS_UNKNOWN, 0) && strstr(why, "are gone"),
	   "an entry that may have been dropped is unknown, not a conflict");
	end();

	begin();
	store_put(leases, "$KV.PLOYZ_LEASES.shop", THEIRS);
	{
		struct cas_options o = options(1, 30);

		o.bucket = "PLOYZ_LEASES";
		o.key = "shop";
		store_appends = STORE_LOSES_ACK;
		cas = cas_append(&fake_bus, &o, on_end, on_waiting, NULL);
	}
	store_run();
	store_put(leases, "$KV.PLOYZ_LEASES.shop", THEIRS);
	store_pass(SECONDS(2.25));
	ok(ended(CAS_CONFLICT, 0), "where one entry is kept, a superseded one is a conflict");
	end();

	begin();
	store_put(leases, "$KV.PLOYZ_LEASES.shop", THEIRS);
	{
		struct cas_options o = options(1, 30);

		o.bucket = "PLOYZ_LEASES";
		o.key = "shop";
		store_appends = STORE_LOSES_ACK;
		cas = cas_append(&fake_bus, &o, on_end, on_waiting, NULL);
	}
	store_run();
	store_pass(SECONDS(2.25));
	ok(ended(CAS_DONE, 2), "ours replaces the expected one there");
	end();
}

/* A conflict or a refusal after a doubtful attempt decides nothing. */
static void test_doubtful_answers(void)
{
	begin();
	store_appends = STORE_LOSES_ACK;
	store_reads = STORE_GONE;
	start(0, 30);
	store_run();
	store_pass(SECONDS(2.25));
	ok(calls == 0 && stored() == 1, "stored, the log cannot be read");
	store_reads = STORE_ANSWERS;
	store_pass(SECONDS(0.25));
	ok(ended(CAS_DONE, 1), "it is read again");
	end();

	begin();
	store_appends = STORE_SILENT;
	start(0, 30);
	store_run();
	store_appends = STORE_REFUSES;
	store_pass(SECONDS(2.25));
	ok(calls == 0 && waits == 2 && strstr(told, "exceeds maximum"),
	   "a refusal after a doubtful attempt is told and leaves it open");
	store_put(intent, KEY, OURS);
	store_pass(SECONDS(1));
	ok(ended(CAS_DONE, 1), "the first attempt may still arrive");
	end();

	begin();
	store_appends = STORE_SILENT;
	start(0, 10);
	store_run();
	store_appends = STORE_REFUSES;
	store_pass(SECONDS(9.9));
	ok(calls == 0, "refused again and again, it stays open");
	ok(store_n_appends < 40 && store_n_reads < 80, "with a pause each time (%zu, %zu)",
	   store_n_appends, store_n_reads);
	is_int((long long)waits, 2, "and each reason is told once");
	store_pass(SECONDS(0.1));
	ok(ended(CAS_UNKNOWN, 0) && strstr(why, "exceeds maximum"),
	   "until the deadline, which names the refusal");
	end();
}

/* A leader that conflicts although nothing is stored: an append of another writer is in flight. */
static void test_no_tight_loop(void)
{
	static const char *const conflict =
		"{\"error\":{\"code\":400,\"err_code\":10071,\"description\":\"wrong\"}}";
	const char *refusal = store_refusal;

	begin();
	store_appends = STORE_SILENT;
	start(0, 10);
	store_run();
	store_appends = STORE_REFUSES;
	store_refusal = conflict;
	store_pass(SECONDS(7));
	ok(calls == 0 && store_n_appends > 2, "a conflict with nothing in the log is repeated");
	ok(store_n_appends < 30 && store_n_reads < 60, "with a pause between (%zu, %zu)",
	   store_n_appends, store_n_reads);
	store_refusal = refusal;
	store_appends = STORE_ANSWERS;
	store_pass(SECONDS(1));
	ok(ended(CAS_DONE, 1), "until it succeeds");
	end();
}

static void test_deadlines(void)
{
	uint64_t expected;

	begin();
	store_appends = store_reads = STORE_SILENT;
	start(0, 10);
	store_pass(SECONDS(10) - 1);
	ok(calls == 0, "before the deadline nothing is decided");
	store_pass(1);
	ok(ended(CAS_UNKNOWN, 0) && why, "at the deadline it is unknown");
	store_appends = store_reads = STORE_ANSWERS;
	store_pass(SECONDS(10));
	ok(calls == 1 && stored() == 0, "and nothing is written later");
	end();

	begin();
	store_appends = store_reads = STORE_SILENT;
	start(0, 10);
	store_pass(SECONDS(9));
	cas_extend(cas, boot_now_usec() + SECONDS(10));
	cas_extend(cas, boot_now_usec() + SECONDS(1));
	store_pass(SECONDS(10) - 1);
	ok(calls == 0, "a deadline is moved, and never to an earlier time");
	store_pass(1);
	ok(ended(CAS_UNKNOWN, 0), "up to the later one");
	end();

	begin();
	store_appends = store_reads = STORE_SILENT;
	start(0, 1000);
	store_pass(SECONDS(60) - 1);
	ok(calls == 0, "for 60 s it is repeated");
	store_pass(1);
	ok(ended(CAS_UNKNOWN, 0), "and no longer, whatever the deadline is");
	end();

	begin();
	start(0, 0);
	ok(calls == 0 && !fake_requests, "past its deadline nothing is sent");
	store_pass(1);
	ok(ended(CAS_REFUSED, 0) && strstr(why, "deadline passed"), "which is certain");
	end();

	/* The machine is suspended during the pause. */
	begin();
	store_appends = STORE_SILENT;
	start(0, 5);
	store_pass(SECONDS(2) + 1);
	fake_now += SECONDS(100);
	store_appends = STORE_ANSWERS;
	store_run();
	ok(ended(CAS_UNKNOWN, 0) && stored() == 0, "after a suspension nothing is written");
	end();

	/* An answer that comes before the time-out counts, however late the clock is. */
	begin();
	start(0, 1);
	expected = fake_now;
	fake_now += SECONDS(1) - 1;
	store_run();
	ok(ended(CAS_DONE, 1) && fake_now > expected, "an acknowledgement counts");
	end();
}

static void test_disk(void)
{
	static const char *const full =
		"{\"error\":{\"code\":503,\"err_code\":10077,\"description\":"
		"\"write /store/1.blk: no space left on device\"}}";
	static const char *const limit = "{\"error\":{\"code\":503,\"err_code\":10077,"
					 "\"description\":\"maximum bytes exceeded\"}}";
	static const char *const busy = "{\"error\":{\"code\":503,\"err_code\":10008,"
					"\"description\":\"JetStream system temporarily "
					"unavailable\"}}";
	const char *refusal = store_refusal;
	struct cas_options o;

	begin();
	store_appends = STORE_SILENT;
	store_health = "{\"server\":{\"name\":\"store-m1\"},\"data\":{\"status\":\"error\","
		       "\"error\":\"no space left on device\"}}";
	start(0, 30);
	store_pass(SECONDS(2));
	ok(waits == 2 && strstr(told, "machine m1 is full"), "a full disk is told");
	store_pass(SECONDS(10));
	is_int((long long)waits, 2, "once");
	ok(calls == 0, "and the append is repeated");
	store_appends = STORE_ANSWERS;
	store_pass(SECONDS(2.25));
	ok(ended(CAS_DONE, 1), "until there is room");
	end();

	begin();
	store_appends = STORE_SILENT;
	store_health = "{\"server\":{\"name\":\"store-m1\"},\"data\":{\"status\":\"error\","
		       "\"error\":\"no space left on device\"}}";
	o = options(0, 30);
	o.eager = true;
	cas = cas_append(&fake_bus, &o, on_end, on_waiting, NULL);
	store_pass(SECONDS(2));
	ok(ended(CAS_UNKNOWN, 0) && strstr(why, "is full"), "an eager one ends at once");
	store_appends = STORE_ANSWERS;
	store_pass(SECONDS(10));
	ok(calls == 1 && store_n_appends == 1 && store_n_reads == 0,
	   "and nothing of it is under way any more");
	end();

	/* The writer ends while its repetition is under way. */
	begin();
	store_appends = STORE_SILENT;
	o = options(0, 30);
	o.eager = true;
	free_in_fn = true;
	cas = cas_append(&fake_bus, &o, on_end, on_waiting, NULL);
	store_pass(SECONDS(2));
	store_health = "{\"server\":{\"name\":\"store-m1\"},\"data\":{\"status\":\"error\","
		       "\"error\":\"no space left on device\"}}";
	store_reads = STORE_SILENT;
	store_pass(SECONDS(5));
	ok(ended(CAS_UNKNOWN, 0) && !cas && !fake_requests,
	   "a read that is under way then is cancelled once");
	end();

	begin();
	store_appends = store_reads = store_healths = STORE_SILENT;
	o = options(0, 30);
	o.eager = true;
	cas = cas_append(&fake_bus, &o, on_end, on_waiting, NULL);
	store_pass(SECONDS(5));
	ok(store_n_reads == 2, "while a read is under way");
	store_healths = STORE_ANSWERS;
	store_health = "{\"server\":{\"name\":\"store-m1\"},\"data\":{\"status\":\"error\","
		       "\"error\":\"no space left on device\"}}";
	store_release("$HEALTH");
	store_run();
	ok(ended(CAS_UNKNOWN, 0) && !fake_requests,
	   "when health ends it, no append and no read is under way any more");
	end();

	begin();
	store_appends = store_healths = STORE_SILENT;
	start(0, 30);
	store_pass(SECONDS(2));
	store_put(intent, KEY, THEIRS);
	store_pass(SECONDS(0.25));
	ok(ended(CAS_CONFLICT, 0) && !fake_requests, "nor is the question for health");
	end();

	begin();
	store_appends = STORE_REFUSES;
	store_refusal = full;
	start(0, 30);
	store_run();
	ok(calls == 0 && waits == 1 && strstr(told, "is full"),
	   "a replica that cannot write leaves it open");
	store_put(intent, KEY, OURS);
	store_pass(SECONDS(1));
	ok(ended(CAS_DONE, 1), "the others may have stored it");
	end();

	begin();
	store_appends = STORE_REFUSES;
	store_refusal = full;
	o = options(0, 30);
	o.eager = true;
	cas = cas_append(&fake_bus, &o, on_end, on_waiting, NULL);
	store_run();
	ok(ended(CAS_UNKNOWN, 0) && strstr(why, "is full"), "an eager one ends then too");
	end();

	begin();
	store_appends = STORE_REFUSES;
	store_refusal = limit;
	start(0, 30);
	store_run();
	ok(ended(CAS_REFUSED, 0) && strstr(why, "maximum bytes"), "a full stream refuses");
	end();

	begin();
	store_appends = STORE_REFUSES;
	store_refusal = busy;
	o = options(0, 30);
	o.eager = true;
	cas = cas_append(&fake_bus, &o, on_end, on_waiting, NULL);
	store_run();
	ok(calls == 0 && waits == 1 && strstr(told, "temporarily"), "unavailable: repeated");
	store_appends = STORE_ANSWERS;
	store_pass(SECONDS(1));
	ok(ended(CAS_DONE, 1), "by an eager one too");
	end();
	store_refusal = refusal;

	/* Health is asked again with each doubtful answer, one question at a time. */
	begin();
	store_appends = store_reads = STORE_SILENT;
	start(0, 20);
	store_pass(SECONDS(12));
	ok(store_n_healths >= 4 && store_n_healths <= 6, "health is asked again (%zu)",
	   store_n_healths);
	end();
}

static void test_disconnected(void)
{
	begin();
	start(0, 30);
	fake_connection(false);
	ok(calls == 0 && waits == 1, "a lost connection leaves it open");
	fake_connection(true);
	store_pass(SECONDS(0.25));
	ok(ended(CAS_DONE, 1), "and it goes on when that is back");
	end();

	begin();
	start(0, 30);
	store_appends = STORE_LOSES_ACK;
	store_run();
	cas_free(steal(cas));
	store_pass(SECONDS(60));
	ok(calls == 0 && waits == 0, "one that was freed calls nothing");
	end();
	cas_free(NULL);
}

static void test_other_stream(void)
{
	struct store_stream *facts;
	struct cas_options o = options(0, 30);

	begin();
	facts = store_stream("ployz", "PLOYZ_FACTS", 1, 1);
	o.stream = "PLOYZ_FACTS";
	o.key = "ployz.v1.facts.m1";
	o.deadline_usec = boot_now_usec() + SECONDS(30);
	store_appends = STORE_LOSES_ACK;
	cas = cas_append(&fake_bus, &o, on_end, NULL, NULL);
	store_run();
	store_pass(SECONDS(2.25));
	ok(ended(CAS_DONE, 1) && facts->last == 1, "another stream is read back in that stream");
	end();
}

int main(void)
{
	blocks_begin();
	fake_published = store_published;
	test_plain();
	test_bucket();
	test_lost_answer();
	test_lost_request();
	test_late_arrival();
	test_superseded();
	test_dropped();
	test_doubtful_answers();
	test_no_tight_loop();
	test_deadlines();
	test_disk();
	test_disconnected();
	test_other_stream();
	begin();
	store_reset();
	return tap_done();
}
