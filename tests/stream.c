/* Streams: requests to the store, what is known of a stream, and following one, on a store that is
 * silent, behind, reverted and created again. */
#include "lib/bucket.h"
#include "lib/stream-private.h"
#include "tests/lib/blocks.h"
#include "tests/lib/store.h"
#include "tests/tap.h"

#define S(n) SECONDS(n)
#define A "ployz.v1.intent.member.a"
#define B "ployz.v1.intent.member.b"
#define C "ployz.v1.intent.namespace.c"
#define D "ployz.v1.intent.route.d"

static struct store_stream *intent;
static long blocks;

/* --- requests --- */

static int outcome;
static uint64_t at, at_usec;
static size_t calls;
static char *message, *hint, *data, *subject;
static int code;

static void keep_failure(const struct failure *failure)
{
	calls++;
	free(message);
	free(hint);
	message = failure ? xstrdup(failure->message) : NULL;
	hint = failure ? xstrdup(failure->hint) : NULL;
	code = failure ? failure->code : FAILURE_NONE;
}

static void on_append(enum stream_outcome result, uint64_t sequence, const struct failure *failure,
		      _unused_ void *userdata)
{
	keep_failure(failure);
	outcome = result;
	at = sequence;
}

static void on_entry(const struct failure *failure, const struct stream_entry *entry,
		     _unused_ void *userdata)
{
	keep_failure(failure);
	free(data);
	free(subject);
	data = entry ? xstrndup(entry->data, entry->size) : NULL;
	subject = entry ? xstrdup(entry->subject) : NULL;
	at = entry ? entry->sequence : 0;
	at_usec = entry ? entry->time_usec : 0;
}

static void on_done(const struct failure *failure, _unused_ void *userdata)
{
	keep_failure(failure);
}

static void on_info(const struct failure *failure, const json_t *info, _unused_ void *userdata)
{
	keep_failure(failure);
	free(data);
	data = info ? json_dumps(info, JSON_COMPACT) : NULL;
}

static void begin(void)
{
	store_reset();
	blocks = blocks_live;
	intent = store_stream("ployz", "PLOYZ_INTENT", 256, 1);
	outcome = -1;
	at = 0;
	calls = 0;
}

static void end(void)
{
	HOLDS(!fake_requests && !fake_timers && !fake_subscriptions);
	free(steal(message));
	free(steal(hint));
	free(steal(data));
	free(steal(subject));
	store_reset();
	HOLDS(blocks_live == blocks);
}

static void answer(const char *text)
{
	fake_answer(fake_requests, 0, text, strlen(text));
}

static void append(uint64_t expected, size_t size)
{
	const struct stream_append what = {
		.subject = A, .data = "{\"n\":1}", .size = size, .expected = expected
	};

	stream_append(&fake_bus, &what, on_append, NULL, NULL);
}

/* What a store answers to an append, and what that means. */
static const struct {
	const char *answer;
	enum stream_outcome outcome;
	int code;
	const char *message; /* a part of it */
} answers[] = {
	{ "{\"stream\":\"PLOYZ_INTENT\",\"seq\":7}", STREAM_DONE, FAILURE_NONE, NULL },
	{ "{\"error\":{\"code\":400,\"err_code\":10071,\"description\":\"wrong\"}}",
	  STREAM_CONFLICT, FAILURE_STALE, "cannot append to " A ": another writer changed it" },
	{ "{\"error\":{\"code\":400,\"err_code\":10164,\"description\":\"wrong\"}}",
	  STREAM_CONFLICT, FAILURE_STALE, "another writer" },
	{ "{\"error\":{\"code\":400,\"err_code\":10054,\"description\":\"too big\"}}",
	  STREAM_REFUSED, FAILURE_REFUSED, "too big (JetStream error 10054)" },
	{ "{\"error\":{\"code\":503,\"err_code\":10077,\"description\":\"maximum bytes "
	  "exceeded\"}}",
	  STREAM_REFUSED, FAILURE_REFUSED, "maximum bytes exceeded" },
	{ "{\"error\":{\"code\":503,\"err_code\":10077,\"description\":\"x: no space left on "
	  "device\"}}",
	  STREAM_UNKNOWN, FAILURE_REFUSED, "the store's disk is full" },
	{ "{\"error\":{\"code\":503,\"err_code\":10077,\"description\":\"x: disk quota "
	  "exceeded\"}}",
	  STREAM_UNKNOWN, FAILURE_REFUSED, "the store's disk is full" },
	{ "{\"error\":{\"code\":503,\"err_code\":10008,\"description\":\"unavailable\"}}",
	  STREAM_UNKNOWN, FAILURE_REFUSED, "unavailable" },
	{ "{\"error\":{\"code\":503}}", STREAM_UNKNOWN, FAILURE_REFUSED, "no reason given" },
	{ "{\"error\":{\"code\":400}}", STREAM_REFUSED, FAILURE_REFUSED, "no reason given" },
	{ "{\"error\":{\"code\":404,\"err_code\":10059,\"description\":\"stream not found\"}}",
	  STREAM_REFUSED, FAILURE_NOT_FOUND, "stream not found" },
	{ "{\"seq\":0}", STREAM_UNKNOWN, FAILURE_NO_QUORUM, "cannot decode the store's answer" },
	{ "what", STREAM_UNKNOWN, FAILURE_NO_QUORUM, "cannot decode the store's answer" },
};

static void test_append(void)
{
	const char *refusal = store_refusal;

	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		begin();
		store_appends = STORE_REFUSES;
		store_refusal = answers[i].answer;
		append(0, 2);
		ok(calls == 0, "not called before the append has returned");
		store_run();
		ok(calls == 1 && outcome == (int)answers[i].outcome && code == answers[i].code &&
			   (answers[i].message
				    ? message && hint && strstr(message, answers[i].message)
				    : !message && at == 7),
		   "%s: %s", answers[i].answer, message ? message : "done");
		end();
	}
	store_refusal = refusal;

	begin();
	append(0, 7);
	ok(fake_requests && streq(fake_requests->expected, "0") &&
		   streq(fake_requests->data, "{\"n\":1}"),
	   "the condition is sent with the data");
	append(12, 7);
	ok(streq(fake_requests->expected, "12"), "as a number");
	append(STREAM_ANY, 7);
	ok(!fake_requests->expected, "or not at all");
	store_run();
	end();

	begin();
	store_appends = STORE_SILENT;
	append(0, 2);
	store_pass(S(5) - 1);
	ok(calls == 0, "an answer is waited for");
	store_pass(1);
	ok(calls == 1 && outcome == STREAM_UNKNOWN && code == FAILURE_NO_QUORUM &&
		   strstr(message, "did not answer in time"),
	   "for 5 s");
	end();

	begin();
	store_appends = STORE_GONE;
	append(0, 2);
	store_run();
	ok(outcome == STREAM_UNKNOWN && code == FAILURE_NO_QUORUM &&
		   strstr(message, "does not answer"),
	   "without responders");
	end();

	begin();
	append(0, 2);
	fake_connection(false);
	ok(outcome == STREAM_UNKNOWN && code == FAILURE_UNREACHABLE &&
		   strstr(message, "local bus is not connected"),
	   "without a bus");
	fake_connection(true);
	end();

	begin();
	append(0, BUS_PAYLOAD_MAX + 1);
	store_pass(1);
	ok(outcome == STREAM_REFUSED && code == FAILURE_TOO_LARGE && strstr(message, "8 MiB"),
	   "too large: certain");
	end();
}

static void test_reading(void)
{
	struct bus_request *request = NULL;

	begin();
	store_put(intent, A, "{\"n\":1}");
	store_put(intent, C, "{\"n\":2}");
	store_put(intent, A, "{\"n\":3}");
	store_put(intent, B, "{\"n\":4}");
	stream_last(&fake_bus, "ployz", "PLOYZ_INTENT", A, S(1), on_entry, NULL, NULL);
	store_run();
	ok(!message && at == 3 && streq(data, "{\"n\":3}") && streq(subject, A),
	   "the last entry of a subject");
	ok(at_usec == intent->entries[2].time_usec, "with its time");
	stream_last(&fake_bus, "ployz", "PLOYZ_INTENT", "ployz.v1.intent.member.*", S(1), on_entry,
		    NULL, NULL);
	store_run();
	ok(at == 4 && streq(subject, B), "of a filter");
	stream_last(&fake_bus, "ployz", "PLOYZ_INTENT", D, S(1), on_entry, NULL, NULL);
	store_run();
	ok(!message && !data && calls == 3, "none is no failure");
	stream_next(&fake_bus, "ployz", "PLOYZ_INTENT", A, 2, S(1), on_entry, NULL, NULL);
	store_run();
	ok(at == 3, "the first from a sequence on");
	stream_next(&fake_bus, "ployz", "PLOYZ_INTENT", A, 3, S(1), on_entry, NULL, NULL);
	store_run();
	ok(at == 3, "that sequence too");
	stream_next(&fake_bus, "ployz", "PLOYZ_INTENT", A, 4, S(1), on_entry, NULL, NULL);
	store_run();
	ok(!message && !data, "or none");
	stream_at(&fake_bus, "ployz", "PLOYZ_INTENT", 2, S(1), on_entry, NULL, NULL);
	store_run();
	ok(at == 2 && streq(subject, C), "the entry at a sequence");
	stream_at(&fake_bus, "ployz", "PLOYZ_INTENT", 9, S(1), on_entry, NULL, NULL);
	store_run();
	ok(!message && !data, "or none");
	stream_last(&fake_bus, "ployz", "NONE", A, S(1), on_entry, NULL, NULL);
	store_run();
	ok(message && code == FAILURE_NOT_FOUND && !data, "a stream that is not there: a failure");
	store_reads = STORE_SILENT;
	stream_last(&fake_bus, "ployz", "PLOYZ_INTENT", A, S(1), on_entry, NULL, &request);
	store_pass(S(1) - 1);
	ok(calls == 9, "an answer is waited for");
	store_pass(1);
	ok(calls == 10 && code == FAILURE_NO_QUORUM, "as long as was said");
	stream_last(&fake_bus, "ployz", "PLOYZ_INTENT", A, S(1), on_entry, NULL, &request);
	bus_request_cancel(request);
	stream_next(&fake_bus, "ployz", "PLOYZ_INTENT", A, 1, S(1), on_entry, NULL, &request);
	bus_request_cancel(request);
	stream_at(&fake_bus, "ployz", "PLOYZ_INTENT", 1, S(1), on_entry, NULL, &request);
	bus_request_cancel(request);
	store_pass(S(2));
	is_int((long long)calls, 10, "one that is cancelled is not called");
	end();

	static const char *const broken[] = {
		"{\"message\":{\"subject\":\"a\",\"seq\":0}}",
		"{\"message\":{\"seq\":3}}",
		"{\"message\":{\"subject\":\"a\",\"seq\":3,\"data\":\"?\"}}",
		"nothing",
	};
	for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
		const char *refusal = store_refusal;

		begin();
		store_reads = STORE_REFUSES;
		store_refusal = broken[i];
		stream_last(&fake_bus, "ployz", "PLOYZ_INTENT", A, S(1), on_entry, NULL, NULL);
		store_run();
		ok(code == FAILURE_BUG && strstr(message, "cannot decode the store's answer") &&
			   !data,
		   "an answer that cannot be decoded: %s", broken[i]);
		store_refusal = refusal;
		end();
	}
	{
		const char *refusal = store_refusal;

		begin();
		store_reads = STORE_REFUSES;
		store_refusal = "{\"message\":{\"subject\":\"a\",\"seq\":3,\"time\":\"never\"}}";
		stream_last(&fake_bus, "ployz", "PLOYZ_INTENT", A, S(1), on_entry, NULL, NULL);
		store_run();
		ok(!message && streq(data, "") && at == 3 && at_usec == 0,
		   "an entry without data is empty, one without a time has none");
		store_refusal = refusal;
		end();
	}
}

static void test_managing(void)
{
	json_t *config = json_pack("{s:s}", "name", "PLOYZ_INTENT");
	const char *refusal = store_refusal;
	struct bus_request *request = NULL;

	begin();
	stream_ensure(&fake_bus, "ployz", config, on_done, NULL);
	ok(fake_requests &&
		   streq(fake_requests->subject, "$JS.ployz.API.STREAM.CREATE.PLOYZ_INTENT"),
	   "a stream is created");
	answer("{}");
	ok(calls == 1 && !message, "and that is told");
	stream_ensure(&fake_bus, "ployz", config, on_done, NULL);
	answer("{\"error\":{\"err_code\":10058}}");
	ok(calls == 1 &&
		   streq(fake_requests->subject, "$JS.ployz.API.STREAM.UPDATE.PLOYZ_INTENT") &&
		   streq(fake_requests->data, "{\"name\":\"PLOYZ_INTENT\"}"),
	   "one whose name is in use is updated");
	answer("{\"error\":{\"err_code\":10058}}");
	ok(calls == 2 && code == FAILURE_REFUSED && !fake_requests, "once");
	stream_ensure(&fake_bus, "ployz", config, on_done, NULL);
	answer("{\"error\":{\"err_code\":10052,\"description\":\"no\"}}");
	ok(calls == 3 && code == FAILURE_REFUSED && strstr(message, "no (JetStream error 10052)"),
	   "a refusal is told");
	stream_ensure(&fake_bus, "ployz", config, on_done, NULL);
	while (fake_tick())
		;
	ok(calls == 4 && code == FAILURE_NO_QUORUM && fake_now == S(10), "and silence, after 10 s");
	end();

	begin();
	stream_ensure(&fake_bus, "ployz", config, on_done, NULL);
	bus_request_cancel(fake_requests);
	ok(calls == 0, "one that is cancelled is not called");
	end();
	json_decref(config);

	config = json_pack("{s:s}", "name", "S");
	begin();
	stream_manage(&fake_bus, "m1", STREAM_CREATE, "S", config, on_done, NULL, NULL);
	ok(streq(fake_requests->subject, "$JS.m1.API.STREAM.CREATE.S") &&
		   streq(fake_requests->data, "{\"name\":\"S\"}"),
	   "one request creates a stream");
	answer("{}");
	ok(calls == 1 && !message, "when it is answered");
	stream_manage(&fake_bus, "m1", STREAM_CREATE, "S", config, on_done, NULL, NULL);
	answer("{\"error\":{\"err_code\":10058,\"description\":\"in use\"}}");
	ok(calls == 2 && strstr(message, "in use") && !fake_requests, "and never changes another");
	stream_manage(&fake_bus, "m1", STREAM_UPDATE, "S", config, on_done, NULL, NULL);
	ok(streq(fake_requests->subject, "$JS.m1.API.STREAM.UPDATE.S"), "one updates it");
	answer("what");
	ok(calls == 3 && code == FAILURE_BUG, "an answer that cannot be decoded is a failure");
	stream_manage(&fake_bus, "m1", STREAM_DELETE, "S", NULL, on_done, NULL, &request);
	ok(streq(fake_requests->subject, "$JS.m1.API.STREAM.DELETE.S") && !*fake_requests->data,
	   "one deletes it");
	bus_request_cancel(request);
	stream_manage(&fake_bus, "m1", STREAM_DELETE, "S", NULL, on_done, NULL, NULL);
	while (fake_tick())
		;
	ok(calls == 4 && code == FAILURE_NO_QUORUM && fake_now == S(10), "within 10 s");
	stream_info_subjects(&fake_bus, "ployz", "PLOYZ_INTENT", S(1), on_info, NULL, NULL);
	is(fake_requests->data, "{\"subjects_filter\":\">\"}", "a description with its subjects");
	store_run();
	ok(calls == 5 && data, "is given as the others are");
	end();
	json_decref(config);

	begin();
	stream_info(&fake_bus, "ployz", "PLOYZ_INTENT", S(1), on_info, NULL, NULL);
	store_run();
	ok(!message && data && strstr(data, "\"last_seq\":0"), "a stream is described");
	stream_info(&fake_bus, "ployz", "NONE", S(1), on_info, NULL, NULL);
	store_run();
	ok(code == FAILURE_NOT_FOUND && !data, "or not there");
	store_infos = STORE_SILENT;
	stream_info(&fake_bus, "ployz", "PLOYZ_INTENT", S(1), on_info, NULL, NULL);
	store_pass(S(1));
	ok(code == FAILURE_NO_QUORUM && !data, "or the store is silent");
	stream_info(&fake_bus, "ployz", "PLOYZ_INTENT", S(1), on_info, NULL, &request);
	bus_request_cancel(request);
	store_infos = STORE_REFUSES;
	store_refusal = "[1]";
	stream_info(&fake_bus, "ployz", "PLOYZ_INTENT", S(1), on_info, NULL, NULL);
	store_run();
	ok(code == FAILURE_BUG && strstr(message, "cannot decode the store's answer"),
	   "or not understood");
	is_int((long long)calls, 4, "each is told once");
	store_refusal = refusal;
	end();
}

static char *server, *error;

static void on_health(const struct failure *failure, const char *name, const char *text,
		      _unused_ void *userdata)
{
	keep_failure(failure);
	free(server);
	free(error);
	server = xstrdup(name);
	error = xstrdup(text);
}

static void test_health(void)
{
	struct bus_request *request = NULL;
	struct failure failure = FAILURE_INIT;
	char *asked;

	begin();
	asked = stream_health_subject("m1");
	is(asked, "$HEALTH.m1", "health is asked of a domain");
	free(asked);
	store_health = "{\"server\":{\"name\":\"store-m1\"},\"data\":{\"status\":\"ok\"}}";
	stream_health(&fake_bus, "ployz", S(1), on_health, NULL, NULL);
	store_run();
	ok(calls == 1 && !message && streq(server, "store-m1") && !error, "a server that is well");
	store_health = "{\"server\":{\"name\":\"store-m1\"},\"data\":{\"status\":\"error\","
		       "\"error\":\"x\"}}";
	stream_health(&fake_bus, "ployz", S(1), on_health, NULL, NULL);
	store_run();
	ok(!message && streq(error, "x"), "one that is not");
	store_health = "{}";
	stream_health(&fake_bus, "ployz", S(1), on_health, NULL, NULL);
	store_run();
	ok(!message && !server && error, "one that does not say why");
	store_health = NULL;
	stream_health(&fake_bus, "ployz", S(1), on_health, NULL, NULL);
	store_run();
	ok(calls == 4 && code == FAILURE_NO_QUORUM && !server && !error, "and one that is silent");
	stream_health(&fake_bus, "ployz", S(1), on_health, NULL, &request);
	bus_request_cancel(request);
	ok(calls == 4, "one that is cancelled is not called");
	free(steal(server));
	free(steal(error));
	ok(stream_disk_full("no space left on device", "store-m7", &failure) &&
		   streq(failure.message,
			 "the store's disk on machine m7 is full: no space left on device"),
	   "a full disk names its machine");
	ok(stream_disk_full("disk quota exceeded", "other", &failure) &&
		   streq(failure.message, "the store's disk is full: disk quota exceeded") &&
		   failure.code == FAILURE_REFUSED && failure.hint,
	   "if it is known");
	ok(!stream_disk_full("something else", "store-m7", NULL), "other errors are none");
	ok(stream_disk_full("no space left on device", NULL, NULL), "no failure is needed");
	failure_clear(&failure);
	end();
}

static void test_buckets(void)
{
	begin();
	store_stream("ployz", "KV_B", 1, 1);
	store_put(store_find("ployz", "KV_B"), "$KV.B.shop", "{\"n\":5}");
	bucket_get(&fake_bus, "B", "shop", S(1), on_entry, NULL, NULL);
	store_run();
	ok(!message && at == 1 && streq(data, "{\"n\":5}"), "a key of a bucket is read");
	is(bucket_key("$KV.B.shop.x"), "shop.x", "the key of a subject");
	is(bucket_key("shop"), "shop", "or what it is");
	is(bucket_key("$KV.B"), "$KV.B", "where it has none");
	end();
}

/* --- what is known of a stream (pure) --- */

static const struct {
	const char *what;
	struct stream_seen seen, now;
	enum stream_verdict expected;
	const char *message;
} verdicts[] = {
	{ "nothing is known", { 0 }, { (char *)"c", (char *)"s", 3, 9, 9 }, STREAM_FIRST, NULL },
	{ "the same",
	  { (char *)"c", (char *)"s", 3, 9, 8 },
	  { (char *)"c", (char *)"s", 3, 9, 8 },
	  STREAM_SAME,
	  NULL },
	{ "grown",
	  { (char *)"c", (char *)"s", 3, 9, 8 },
	  { (char *)"c", (char *)"s", 3, 10, 9 },
	  STREAM_SAME,
	  NULL },
	{ "another entry at the same sequence",
	  { (char *)"c", (char *)"s", 3, 9, 8 },
	  { (char *)"c", (char *)"s", 3, 9, 9 },
	  STREAM_FOREIGN,
	  "entries of X are missing: entry 9 differs from the one that was seen" },
	{ "its time is not known",
	  { (char *)"c", (char *)"s", 3, 9, 0 },
	  { (char *)"c", (char *)"s", 3, 9, 9 },
	  STREAM_SAME,
	  NULL },
	{ "nor now",
	  { (char *)"c", (char *)"s", 3, 9, 9 },
	  { (char *)"c", (char *)"s", 3, 9, 0 },
	  STREAM_SAME,
	  NULL },
	{ "shorter",
	  { (char *)"c", (char *)"s", 3, 9, 8 },
	  { (char *)"c", (char *)"s", 3, 8, 7 },
	  STREAM_FOREIGN,
	  "entries of X are missing: its last is 8, 9 was seen" },
	{ "created again",
	  { (char *)"c", (char *)"s", 3, 9, 8 },
	  { (char *)"d", (char *)"s", 3, 90, 9 },
	  STREAM_FOREIGN,
	  "X was created again: it is not the stream that was seen" },
	{ "of another store",
	  { (char *)"c", (char *)"s", 3, 9, 8 },
	  { (char *)"c", (char *)"t", 3, 90, 9 },
	  STREAM_FOREIGN,
	  "created again" },
	{ "of a lower generation",
	  { (char *)"c", (char *)"s", 3, 9, 8 },
	  { (char *)"c", (char *)"s", 2, 90, 9 },
	  STREAM_FOREIGN,
	  "X has store generation 2, generation 3 was seen" },
	{ "without a generation, where one was seen",
	  { NULL, NULL, 3, 0, 0 },
	  { (char *)"c", NULL, 0, 90, 9 },
	  STREAM_FOREIGN,
	  "generation 0" },
	{ "of a higher generation",
	  { (char *)"c", (char *)"s", 3, 9, 8 },
	  { (char *)"c", (char *)"s", 4, 9, 8 },
	  STREAM_NEWER,
	  NULL },
	{ "of a higher generation and otherwise another one",
	  { (char *)"c", (char *)"s", 3, 9, 8 },
	  { (char *)"d", (char *)"t", 4, 1, 1 },
	  STREAM_NEWER,
	  NULL },
	{ "of a generation, where none was known",
	  { NULL, NULL, 0, 9, 8 },
	  { (char *)"d", (char *)"t", 4, 9, 8 },
	  STREAM_SAME,
	  NULL },
	{ "shorter, where none was known",
	  { NULL, NULL, 0, 9, 8 },
	  { (char *)"d", (char *)"t", 4, 8, 7 },
	  STREAM_FOREIGN,
	  "missing" },
	{ "only the store was known",
	  { NULL, (char *)"s", 0, 0, 0 },
	  { (char *)"c", (char *)"t", 1, 0, 0 },
	  STREAM_FOREIGN,
	  "created again" },
	{ "only the creation was known",
	  { (char *)"c", NULL, 0, 0, 0 },
	  { (char *)"d", (char *)"t", 1, 0, 0 },
	  STREAM_FOREIGN,
	  "created again" },
};

static void test_verdicts(void)
{
	struct stream_seen seen = { 0 }, copy = { 0 };
	json_t *info;

	for (size_t i = 0; i < ARRAY_SIZE(verdicts); i++) {
		struct failure failure = FAILURE_INIT;
		enum stream_verdict verdict =
			stream_seen_compare(&verdicts[i].seen, &verdicts[i].now, "X", &failure);

		ok(verdict == verdicts[i].expected &&
			   (verdicts[i].message
				    ? failure.message &&
					      strstr(failure.message, verdicts[i].message) &&
					      strstr(failure.hint, "ployzctl store accept")
				    : !failure.message),
		   "%s: %s", verdicts[i].what, failure.message ? failure.message : "none");
		failure_clear(&failure);
	}
	info = json_loads(
		"{\"created\":\"c\",\"state\":{\"last_seq\":7,\"last_ts\":\"2025-11-24T16:"
		"00:00.000001999Z\"},\"config\":{\"metadata\":{\"ployz.generation\":\"5\","
		"\"ployz.store\":\"s\"}}}",
		0, NULL);
	stream_seen_parse(info, &seen);
	ok(streq(seen.created, "c") && streq(seen.store, "s") && seen.generation == 5 &&
		   seen.sequence == 7 && seen.time_usec == 1764000000000001ull,
	   "what a stream's description says");
	stream_seen_copy(&copy, &seen);
	stream_seen_copy(&copy, &seen);
	ok(streq(copy.created, "c") && copy.created != seen.created && streq(copy.store, "s") &&
		   copy.store != seen.store && copy.time_usec == seen.time_usec,
	   "is copied whole");
	stream_seen_clear(&copy);
	stream_seen_clear(&seen);
	ok(!seen.created && !seen.store && !seen.generation && !seen.sequence, "and cleared");
	json_decref(info);
	info = json_loads("{\"state\":{\"last_seq\":0,\"last_ts\":\"2025-11-24T16:00:00Z\"}}", 0,
			  NULL);
	stream_seen_parse(info, &seen);
	ok(!seen.created && !seen.store && !seen.generation && !seen.sequence && !seen.time_usec,
	   "an empty stream has no last entry");
	json_decref(info);
	info = json_loads("{\"state\":{\"last_seq\":-3,\"last_ts\":\"x\"}}", 0, NULL);
	stream_seen_parse(info, &seen);
	ok(!seen.sequence && !seen.time_usec, "nor one whose numbers are none");
	json_decref(info);
	info = json_loads("{\"state\":{\"last_seq\":3,\"last_ts\":\"x\"}}", 0, NULL);
	stream_seen_parse(info, &seen);
	ok(seen.sequence == 3 && !seen.time_usec, "a time that is none is not known");
	json_decref(info);
}

/* --- following --- */

static struct stream_follow *follow;
static struct strbuf heard; /* sequences, L(sequence), R(sequence), restart, lost */
static size_t losses;
static int free_in; /* which callback frees the follower: 'e', 'l', 'r', 's', 'x' */
static bool was_cut;
static char *why;

static void maybe_free(int callback)
{
	if (free_in == callback)
		stream_follow_free(steal(follow));
}

static void on_follow_entry(const struct stream_entry *entry, _unused_ void *userdata)
{
	strbuf_printf(&heard, "%llu ", (unsigned long long)entry->sequence);
	HOLDS(entry->data[entry->size] == '\0' && entry->time_usec);
	maybe_free('e');
}

static void on_follow_live(uint64_t sequence, _unused_ void *userdata)
{
	strbuf_printf(&heard, "L%llu ", (unsigned long long)sequence);
	HOLDS(stream_follow_is_live(follow));
	maybe_free('l');
}

static void on_follow_reached(uint64_t sequence, _unused_ void *userdata)
{
	strbuf_printf(&heard, "R%llu ", (unsigned long long)sequence);
	maybe_free('r');
}

static void on_follow_restart(_unused_ void *userdata)
{
	strbuf_printf(&heard, "restart ");
	maybe_free('s');
}

static void on_follow_lost(const struct failure *failure, _unused_ void *userdata)
{
	HOLDS(failure && failure->message && failure->hint);
	HOLDS(!follow || !stream_follow_is_live(follow));
	losses++;
	free(why);
	why = xstrdup(failure->message);
	maybe_free('x');
}

static const struct stream_follow_ops follow_ops = { on_follow_entry, on_follow_live,
						     on_follow_reached, on_follow_restart,
						     on_follow_lost };
static const struct stream_follow_ops few_ops = { .entry = on_follow_entry };

static void follow_begin(void)
{
	begin();
	losses = 0;
	free_in = 0;
	was_cut = false;
}

/* A consumer cannot be ended then. */
static void cut(void)
{
	fake_connection(false);
	was_cut = true;
}

static void follow_end(void)
{
	stream_follow_free(steal(follow));
	store_run();
	ok(store_n_consumers() == 0 || was_cut, "and ends its consumer");
	strbuf_clear(&heard);
	free(steal(why));
	end();
}

static void start(enum stream_from from, const char *const *filters)
{
	const struct stream_follow_options options = { .domain = "ployz",
						       .stream = "PLOYZ_INTENT",
						       .filters = filters,
						       .from = from,
						       .sequence = 3 };

	follow = stream_follow_new(&fake_bus, &options, &follow_ops, NULL);
}

/* What was heard since the last question. */
static bool has_heard(const char *expected)
{
	bool same = streq(heard.text ? heard.text : "", expected);

	if (!same)
		printf("# heard '%s', expected '%s'\n", heard.text ? heard.text : "", expected);
	strbuf_clear(&heard);
	return same;
}

static void forget(void)
{
	strbuf_clear(&heard);
}

static void put(const char *where)
{
	store_put(intent, where, "{}");
}

static void fill(void)
{
	put(A); /* 1 */
	put(C); /* 2 */
	put(A); /* 3 */
	put(B); /* 4 */
	put(D); /* 5 */
}

static const char *const members[] = { "ployz.v1.intent.member.*", NULL };
static const char *const two[] = { "ployz.v1.intent.member.*", "ployz.v1.intent.namespace.*",
				   NULL };

static void test_policies(void)
{
	follow_begin();
	fill();
	start(STREAM_FROM_LAST_PER_SUBJECT, NULL);
	ok(!stream_follow_is_live(follow), "a follower is not live at first");
	store_run();
	ok(has_heard("2 3 4 5 L5 ") && stream_follow_is_live(follow),
	   "the last entry of each subject, then it is live");
	ok(strstr(store_last_creation, "\"filter_subject\":\">\""), "that needs a filter");
	put(A);
	store_run();
	ok(has_heard("6 "), "then what follows");
	follow_end();

	follow_begin();
	fill();
	start(STREAM_FROM_ALL, NULL);
	store_run();
	ok(has_heard("1 2 3 4 5 L5 ") && !strstr(store_last_creation, "filter"), "everything");
	follow_end();

	follow_begin();
	fill();
	start(STREAM_FROM_SEQUENCE, NULL);
	store_run();
	ok(has_heard("3 4 5 L5 "), "from a sequence on");
	follow_end();

	follow_begin();
	put(A);
	start(STREAM_FROM_SEQUENCE, NULL);
	store_run();
	ok(has_heard("L1 "), "which may not be there yet");
	put(A);
	put(A);
	store_run();
	ok(has_heard("3 "), "until it is");
	follow_end();

	follow_begin();
	fill();
	start(STREAM_FROM_NEW, NULL);
	store_run();
	ok(has_heard("L5 "), "only what follows");
	store_forget_consumers();
	put(A);
	store_infos = STORE_GONE;
	store_pass(S(15));
	store_infos = STORE_ANSWERS;
	store_pass(S(6));
	ok(has_heard("6 L6 "), "what comes while it is away too");
	intent->generation++;
	put(A);
	stream_follow_check(follow);
	store_run();
	ok(has_heard("restart L7 "), "of a higher generation only what follows");
	put(A);
	store_run();
	ok(has_heard("8 "), "that");
	follow_end();

	follow_begin();
	fill();
	start(STREAM_FROM_LAST_PER_SUBJECT, members);
	store_run();
	ok(has_heard("3 4 L5 "), "of one filter; live as of the stream's last entry");
	ok(strstr(store_last_creation, "\"filter_subject\":\"ployz.v1.intent.member.*\""),
	   "which the server is told");
	follow_end();

	follow_begin();
	fill();
	start(STREAM_FROM_LAST_PER_SUBJECT, two);
	store_run();
	ok(has_heard("2 3 4 L5 "), "of two");
	ok(strstr(store_last_creation, "\"filter_subjects\":[\"ployz.v1.intent.member.*\","
				       "\"ployz.v1.intent.namespace.*\"]") &&
		   !strstr(store_last_creation, "\"filter_subject\":"),
	   "which the server is told in another field");
	follow_end();

	follow_begin();
	start(STREAM_FROM_LAST_PER_SUBJECT, NULL);
	store_run();
	ok(has_heard("L0 "), "of an empty stream it is live at once");
	ok(strstr(store_last_creation,
		  "\"ack_policy\":\"none\",\"deliver_policy\":\"last_per_subject\""),
	   "the consumer is ephemeral and wants no acknowledgements");
	ok(strstr(store_last_creation, "\"flow_control\":true,\"idle_heartbeat\":5000000000,"
				       "\"inactive_threshold\":60000000000,\"max_deliver\":1,"
				       "\"mem_storage\":true"),
	   "has heartbeats and ends by itself");
	follow_end();
}

/* Live is what has reached the leader's last entry for the filters. */
static void test_lag(void)
{
	follow_begin();
	fill();
	intent->visible = 2;
	start(STREAM_FROM_LAST_PER_SUBJECT, two);
	store_run();
	ok(has_heard("1 2 ") && !stream_follow_is_live(follow),
	   "on a replica that is behind it is not live");
	intent->visible = 3;
	store_pass(S(0.5));
	ok(has_heard("3 ") && !stream_follow_is_live(follow), "while it catches up neither");
	intent->visible = 4;
	store_pass(S(0.4));
	ok(has_heard("4 L5 "), "when it has caught up it is");
	is_int((long long)losses, 0, "and was never lost");
	follow_end();

	follow_begin();
	fill();
	intent->visible = 2;
	start(STREAM_FROM_LAST_PER_SUBJECT, NULL);
	store_pass(S(2) - 1);
	ok(losses == 0 && store_n_creations == 1, "a replica that stays behind is waited for");
	store_pass(1);
	ok(losses == 1 && strstr(why, "is behind: delivered up to 2, the leader has 5"),
	   "for a whole second without a delivery");
	intent->visible = 0;
	store_pass(S(0.1));
	ok(has_heard("1 2 3 4 5 L5 ") && store_n_creations == 2,
	   "then another consumer continues, perhaps on another replica");
	ok(strstr(store_last_creation, "\"opt_start_seq\":3"), "from where it was");
	follow_end();

	follow_begin();
	put(A);
	intent->visible = 1;
	start(STREAM_FROM_LAST_PER_SUBJECT, NULL);
	store_run();
	forget();
	for (int i = 0; i < 5; i++) {
		put(A);
		store_pass(S(0.9));
		intent->visible++;
	}
	ok(losses == 0, "deliveries that come slowly are progress");
	follow_end();

	/* What other filters match need not be delivered. */
	follow_begin();
	put(A);
	put(D);
	put(D);
	start(STREAM_FROM_LAST_PER_SUBJECT, members);
	store_run();
	ok(has_heard("1 L3 "), "entries that do not match are not waited for");
	follow_end();

	follow_begin();
	store_reads = STORE_SILENT;
	fill();
	start(STREAM_FROM_LAST_PER_SUBJECT, two);
	store_run();
	ok(has_heard("2 3 4 "), "while the leader does not answer it is not live");
	store_pass(S(5));
	ok(losses == 1, "after 5 s it is lost");
	store_reads = STORE_ANSWERS;
	store_pass(S(0.1));
	ok(has_heard("L5 "), "and attaches again");
	follow_end();

	/* The answers of the leader come after the entries. */
	follow_begin();
	store_reads = STORE_SILENT;
	fill();
	start(STREAM_FROM_ALL, two);
	store_run();
	store_reads = STORE_ANSWERS;
	store_release("");
	store_answer(store_oldest());
	ok(has_heard("1 2 3 4 "), "one answer of two is not enough");
	store_run();
	ok(has_heard("L5 "), "both are");
	follow_end();
}

/* While it is live, the leader is asked every 30 s. */
static void test_verify(void)
{
	follow_begin();
	fill();
	start(STREAM_FROM_LAST_PER_SUBJECT, members);
	store_run();
	forget();
	put(D);
	store_pass(S(30) - 1);
	is_int((long long)store_n_infos, 1, "for 30 s it is not asked");
	store_pass(1);
	ok(has_heard("R6 ") && store_n_infos == 2, "then it is: everything was handed over");
	put(D);
	put(A);
	store_pass(S(30));
	ok(has_heard("8 R8 "), "and again");
	is_int((long long)store_n_creations, 1, "by the same consumer");
	follow_end();

	/* The consumer's replica is cut off from the leader, and still sends heartbeats. */
	follow_begin();
	fill();
	start(STREAM_FROM_LAST_PER_SUBJECT, members);
	store_run();
	forget();
	intent->visible = 5;
	put(A);
	put(B);
	store_pass(S(30));
	ok(stream_follow_is_live(follow) && has_heard(""),
	   "an entry that is missing is waited for");
	store_pass(S(1) - 1);
	ok(losses == 0, "for a second");
	store_pass(1);
	ok(losses == 1 && strstr(why, "is behind: delivered up to 4, the leader has 7"),
	   "then it is lost");
	intent->visible = 0;
	store_pass(S(0.1));
	ok(has_heard("6 7 L7 "), "and continues on another replica");
	follow_end();

	follow_begin();
	fill();
	start(STREAM_FROM_LAST_PER_SUBJECT, members);
	store_run();
	forget();
	intent->visible = 5;
	put(A);
	store_pass(S(30.5));
	intent->visible = 0;
	store_run();
	ok(has_heard("6 R6 ") && losses == 0, "one that comes meanwhile is enough");
	store_pass(S(29));
	is_int((long long)store_n_infos, 2, "and the next question is in 30 s");
	follow_end();

	follow_begin();
	start(STREAM_FROM_ALL, NULL);
	store_run();
	store_infos = STORE_SILENT;
	store_pass(S(35));
	ok(losses == 1 && !stream_follow_is_live(follow), "a leader that does not answer: lost");
	follow_end();

	follow_begin();
	start(STREAM_FROM_ALL, NULL);
	store_run();
	store_reads = STORE_GONE;
	store_pass(S(30));
	ok(losses > 0, "one that answers half too");
	follow_end();

	/* Asked at once. */
	follow_begin();
	fill();
	start(STREAM_FROM_LAST_PER_SUBJECT, members);
	stream_follow_check(follow);
	store_run();
	ok(has_heard("3 4 L5 "), "before it is attached, asking changes nothing");
	put(D);
	stream_follow_check(follow);
	stream_follow_check(follow);
	store_run();
	ok(has_heard("R6 ") && store_n_infos == 2, "asked twice, it asks once");
	store_pass(S(29.9));
	store_infos = STORE_SILENT;
	stream_follow_check(follow);
	store_pass(S(1));
	is_int((long long)store_n_infos, 3, "and not when its time would have come");
	store_infos = STORE_ANSWERS;
	store_release("");
	store_run();
	ok(has_heard("R6 "), "until it is answered");
	store_pass(S(30) - 1);
	ok(store_n_infos == 4, "and then again");
	store_pass(1);
	ok(store_n_infos == 5, "after 30 s");
	store_infos = STORE_GONE;
	stream_follow_kick(follow);
	store_pass(S(20));
	store_infos = STORE_ANSWERS;
	put(A);
	stream_follow_check(follow);
	store_run();
	ok(stream_follow_is_live(follow), "one that waits to retry retries at once");
	follow_end();

	follow_begin();
	fill();
	start(STREAM_FROM_LAST_PER_SUBJECT, members);
	store_run();
	forget();
	intent->generation = 2;
	stream_follow_check(follow);
	store_run();
	ok(has_heard("restart 3 4 L5 ") && stream_follow_seen(follow)->generation == 2,
	   "a generation that was raised is found");
	follow_end();
}

static void test_silence(void)
{
	follow_begin();
	fill();
	start(STREAM_FROM_LAST_PER_SUBJECT, NULL);
	store_run();
	forget();
	store_pass(S(29));
	ok(losses == 0 && store_n_creations == 1, "heartbeats keep it attached");
	store_mute = true;
	store_infos = STORE_GONE;
	store_pass(S(8));
	ok(losses == 0 || why, "a missing heartbeat");
	store_pass(S(5));
	ok(losses > 0 && strstr(why, "does not answer"), "or two");
	store_pass(S(60));
	ok(losses < 30, "it retries less and less often (%zu)", losses);
	losses = 0;
	store_pass(S(30));
	is_int((long long)losses, 6, "down to every 5 s");
	store_mute = false;
	store_infos = STORE_ANSWERS;
	put(A);
	store_pass(S(5));
	ok(has_heard("6 L6 "), "and continues when the store is back");
	store_infos = STORE_GONE;
	store_beat();
	store_forget_consumers();
	losses = 0;
	store_pass(S(12.5) - 1);
	ok(losses == 0, "without its consumer");
	store_pass(1);
	ok(losses == 1 && strstr(why, "no heartbeat of PLOYZ_INTENT for 12 s"),
	   "it is lost after two and a half heartbeats");
	store_infos = STORE_ANSWERS;
	store_pass(S(0.1));
	ok(has_heard("L6 "), "and attaches again at once");
	follow_end();

	/* The time to the first retry. */
	follow_begin();
	store_infos = STORE_GONE;
	start(STREAM_FROM_ALL, NULL);
	store_run();
	ok(losses == 1 && store_n_infos == 1, "a store that does not answer");
	store_pass(S(0.1) - 1);
	ok(store_n_infos == 1, "is asked again");
	store_pass(1);
	ok(store_n_infos == 2, "after 100 ms");
	store_pass(S(0.2));
	ok(store_n_infos == 3, "200 ms");
	store_pass(S(0.4) - 1);
	ok(store_n_infos == 3, "and twice that");
	store_infos = STORE_ANSWERS;
	store_pass(1);
	ok(stream_follow_is_live(follow), "until it answers");
	store_infos = STORE_GONE;
	losses = 0;
	stream_follow_kick(follow);
	store_run();
	store_pass(S(0.1));
	ok(losses == 2, "after that it begins with 100 ms again");
	follow_end();

	/* Nothing of an attachment is left when the next begins. */
	follow_begin();
	fill();
	start(STREAM_FROM_ALL, NULL);
	store_run();
	store_pass(S(28));
	store_infos = STORE_SILENT;
	stream_follow_kick(follow);
	store_pass(S(12.4));
	ok(losses == 2 && store_n_infos == 4, "neither its heartbeat nor its next question");
	store_infos = STORE_ANSWERS;
	intent->visible = 5;
	put(A);
	store_pass(S(5));
	losses = 0;
	store_pass(S(0.5));
	stream_follow_kick(follow);
	store_infos = STORE_SILENT;
	store_pass(S(4));
	ok(losses == 0, "nor its waiting for a replica");
	intent->visible = 0;
	follow_end();

	/* Requests without an answer. */
	follow_begin();
	store_creations = STORE_SILENT;
	start(STREAM_FROM_ALL, NULL);
	store_pass(S(5) - 1);
	ok(losses == 0 && !stream_follow_is_live(follow), "a consumer that is not created");
	store_pass(1);
	ok(losses == 1 && strstr(why, "did not answer in time"), "is given up after 5 s");
	store_creations = STORE_REFUSES;
	store_pass(S(0.2));
	ok(losses > 1 && strstr(why, "exceeds maximum"), "or when it is refused");
	store_creations = STORE_ANSWERS;
	store_pass(S(5));
	ok(has_heard("L0 "), "and tried again");
	follow_end();

	follow_begin();
	fake_deaf = true;
	start(STREAM_FROM_ALL, NULL);
	store_run();
	ok(store_n_creations == 0 && losses == 0, "without a subscription nothing is created");
	fake_deaf = false;
	store_pass(S(0.1));
	ok(has_heard("L0 "), "and that is tried again");
	follow_end();

	follow_begin();
	const struct stream_follow_options often = { .domain = "ployz",
						     .stream = "PLOYZ_INTENT",
						     .from = STREAM_FROM_ALL,
						     .heartbeat_usec = S(1) };
	follow = stream_follow_new(&fake_bus, &often, &follow_ops, NULL);
	store_run();
	ok(strstr(store_last_creation, "\"idle_heartbeat\":1000000000"), "other heartbeats");
	store_mute = true;
	store_pass(S(2.5));
	ok(losses == 1 && strstr(why, "for 2 s"), "are missed earlier");
	follow_end();
}

static struct bus_subscription *inbox(void)
{
	for (size_t i = 0; i < STORE_CONSUMERS; i++)
		if (store_consumers[i].stream)
			return store_inbox(&store_consumers[i]);
	return NULL;
}

static void deliver(const char *reply)
{
	fake_deliver(inbox(), A, reply, NULL, "{}", 2);
}

static void control(const char *reply, const char *delivered, const char *stalled)
{
	const struct fake_headers headers = { "100",
					      { delivered ? "Nats-Last-Consumer" : NULL,
						stalled ? "Nats-Consumer-Stalled" : NULL },
					      { delivered, stalled } };

	fake_deliver(inbox(), "x", reply, &headers, "", 0);
}

static void test_deliveries(void)
{
	const struct fake_headers gone = { "409", { NULL, NULL }, { NULL, NULL } };

	follow_begin();
	start(STREAM_FROM_ALL, NULL);
	store_run();
	forget();
	deliver("$JS.ACK.S.c.1.7.1.1764000000000000000.0");
	ok(has_heard("7 "), "a delivery names its place");
	deliver("$JS.ACK.d.a.S.c.1.9.2.1764000000000000000.0.t");
	ok(has_heard("9 "), "with a domain too");
	deliver("$JS.ACK.d.a.S.c.1.10.3.1764000000000000000.0");
	ok(has_heard("10 "), "and without the token at its end");
	deliver("$JS.ACK.S.c.1.11.4");
	deliver("$JS.ACK.S.c.1.x.4.1764000000000000000.0");
	deliver("$JS.ACK.S.c.1.11.x.1764000000000000000.0");
	deliver("$JS.ACK.S.c.1.11.4.x.0");
	deliver("$JS.NAK.S.c.1.11.4.1764000000000000000.0");
	deliver("$JX.ACK.S.c.1.11.4.1764000000000000000.0");
	deliver(NULL);
	ok(has_heard("") && stream_follow_is_live(follow), "one that does not is ignored");
	deliver("$JS.ACK.S.c.1.11.4.1764000000000000000.0");
	ok(has_heard("11 "), "and none is missing after it");
	ok(stream_follow_seen(follow)->sequence == 11 &&
		   stream_follow_seen(follow)->time_usec == 1764000000000000ull,
	   "what is known follows");
	deliver("$JS.ACK.S.c.1.13.6.1764000000000000000.0");
	ok(has_heard("") && !stream_follow_is_live(follow), "a skipped one: it attaches again");
	follow_end();

	follow_begin();
	fill();
	start(STREAM_FROM_ALL, NULL);
	store_run();
	forget();
	deliver("$JS.ACK.S.c.1.5.6.1764000000000000000.0");
	ok(has_heard("") && !stream_follow_is_live(follow), "one that comes twice too");
	store_run();
	ok(has_heard("L5 ") && store_n_creations == 2 && losses == 0, "at once");
	ok(store_n_consumers() == 1, "the other consumer is ended");
	follow_end();

	follow_begin();
	fill();
	start(STREAM_FROM_ALL, NULL);
	store_run();
	forget();
	control(NULL, "5", NULL);
	ok(stream_follow_is_live(follow), "a heartbeat with as many deliveries");
	control(NULL, "6", NULL);
	ok(!stream_follow_is_live(follow), "one with more: some are missing");
	store_run();
	ok(has_heard("L5 "), "it attaches again");
	control("$JS.FC.1", NULL, NULL);
	is(store_flow, "$JS.FC.1", "flow control is answered");
	control(NULL, "0", "$JS.FC.2");
	is(store_flow, "$JS.FC.2", "and a consumer that stalls");
	control("", "0", "$JS.FC.3");
	is(store_flow, "$JS.FC.3", "an empty reply is none");
	control(NULL, "x", NULL);
	ok(stream_follow_is_live(follow), "a number that is none is ignored");
	fake_deliver(inbox(), "x", NULL, &gone, "", 0);
	ok(!stream_follow_is_live(follow), "a consumer that the server ends");
	store_run();
	ok(has_heard("L5 ") && losses == 0, "is replaced at once");
	follow_end();
}

/* Of each entry only its size. */
static size_t last_size;
static void on_sized(const struct stream_entry *entry, _unused_ void *userdata)
{
	last_size = entry->size;
	strbuf_printf(&heard, "%llu ", (unsigned long long)entry->sequence);
}

static void test_headers_only(void)
{
	static const struct stream_follow_ops sized_ops = { .entry = on_sized };
	struct fake_headers headers = { NULL, { "Nats-Msg-Size", NULL }, { "4711", NULL } };
	const struct stream_follow_options options = { .domain = "ployz",
						       .stream = "PLOYZ_INTENT",
						       .from = STREAM_FROM_ALL,
						       .headers_only = true };

	follow_begin();
	follow = stream_follow_new(&fake_bus, &options, &sized_ops, NULL);
	store_run();
	ok(strstr(store_last_creation, "\"headers_only\":true"), "only headers are delivered");
	fake_deliver(inbox(), A, "$JS.ACK.S.c.1.7.1.1764000000000000000.0", &headers, "", 0);
	ok(has_heard("7 ") && last_size == 4711, "with the size of the data");
	headers.values[0] = "x";
	fake_deliver(inbox(), A, "$JS.ACK.S.c.1.8.2.1764000000000000000.0", &headers, "", 0);
	ok(has_heard("8 ") && last_size == 0, "if it is one");
	follow_end();

	follow_begin();
	start(STREAM_FROM_ALL, NULL);
	store_run();
	ok(!strstr(store_last_creation, "headers_only"), "otherwise the data is");
	forget();
	headers.values[0] = "4711";
	follow_end();
}

static void test_connection(void)
{
	follow_begin();
	fill();
	start(STREAM_FROM_ALL, NULL);
	store_run();
	forget();
	cut();
	ok(losses == 1 && strstr(why, "local bus is not connected") &&
		   !stream_follow_is_live(follow),
	   "without the bus it is lost");
	store_pass(S(1));
	put(A);
	fake_connection(true);
	store_run();
	ok(has_heard("6 L6 "), "with it it attaches at once");
	follow_end();

	/* Callbacks may free it. */
	for (const char *callback = "elrsx"; *callback; callback++) {
		follow_begin();
		fill();
		free_in = (unsigned char)*callback;
		start(STREAM_FROM_ALL, NULL);
		store_run();
		if (*callback == 'r')
			store_pass(S(30));
		if (*callback == 's') {
			intent->generation++;
			store_pass(S(31));
		}
		if (*callback == 'x')
			cut();
		fake_connection(true);
		ok(!follow, "callback %c frees it", *callback);
		store_run();
		follow_end();
	}
	stream_follow_free(NULL);

	/* Freed at any point of its attachment. */
	for (int steps = 0; steps < 12; steps++) {
		follow_begin();
		fill();
		start(STREAM_FROM_ALL, two);
		for (int i = 0; i < steps; i++)
			if (store_oldest())
				store_answer(store_oldest());
			else
				fake_tick();
		follow_end();
	}

	follow_begin();
	fill();
	const struct stream_follow_options plain = { .domain = "ployz",
						     .stream = "PLOYZ_INTENT",
						     .from = STREAM_FROM_ALL };
	follow = stream_follow_new(&fake_bus, &plain, &few_ops, NULL);
	store_pass(S(35));
	cut();
	fake_connection(true);
	intent->generation++;
	store_pass(S(35));
	ok(has_heard("1 2 3 4 5 1 2 3 4 5 "), "callbacks that are not set are not called");
	follow_end();

	/* Once. */
	follow_begin();
	fill();
	const struct stream_follow_options once = {
		.domain = "ployz", .stream = "PLOYZ_INTENT", .from = STREAM_FROM_ALL, .once = true
	};
	store_infos = STORE_GONE;
	follow = stream_follow_new(&fake_bus, &once, &follow_ops, NULL);
	store_pass(S(60));
	ok(losses == 1 && store_n_infos == 1, "one that follows once does not retry");
	follow_end();

	follow_begin();
	fill();
	intent->visible = 2;
	follow = stream_follow_new(&fake_bus, &once, &follow_ops, NULL);
	store_pass(S(4));
	ok(losses == 0 && has_heard("1 2 "), "on a replica that is behind it is not lost");
	intent->visible = 0;
	store_pass(S(1));
	ok(losses == 0 && has_heard("3 4 5 L5 "), "but attaches to another");
	follow_end();

	follow_begin();
	fill();
	intent->visible = 2;
	follow = stream_follow_new(&fake_bus, &once, &follow_ops, NULL);
	store_pass(S(60));
	ok(losses == 1 && store_n_creations == 6 && has_heard("1 2 "), "five times");
	follow_end();
}

/* Whether the stream is the same one. */
static void test_identity(void)
{
	struct stream_seen seen = { .generation = 1, .sequence = 9 };

	follow_begin();
	fill();
	start(STREAM_FROM_LAST_PER_SUBJECT, NULL);
	store_run();
	is_int((long long)store_n_reads, 1, "at first only the leader's last entry is read");
	stream_follow_kick(follow);
	store_run();
	is_int((long long)store_n_reads, 2, "and where nothing was added");
	put(A);
	store_run();
	put(A);
	store_forget_consumers();
	stream_follow_kick(follow);
	store_run();
	is_int((long long)store_n_reads, 4, "where something was, the last one known too");
	follow_end();

	/* The store was reverted to a backup, with the same creation. */
	follow_begin();
	fill();
	start(STREAM_FROM_LAST_PER_SUBJECT, NULL);
	store_run();
	forget();
	intent->last = 3;
	free(intent->entries[4].subject);
	free(intent->entries[4].data);
	free(intent->entries[3].subject);
	free(intent->entries[3].data);
	intent->n_entries = 3;
	store_forget_consumers();
	store_pass(S(13));
	ok(losses > 1 && strstr(why, "its last is 3, 5 was seen") && has_heard(""),
	   "a stream that lacks entries is refused");
	fake_now += S(3600);
	put(A);
	put(A);
	store_pass(S(10));
	ok(strstr(why, "entry 5 differs") && has_heard(""), "one with another entry there too");
	put(A);
	store_pass(S(10));
	ok(strstr(why, "entry 5 differs") && has_heard(""), "and one that has moved past it");
	ok(!stream_follow_is_live(follow), "it is not live");
	intent->generation = 2;
	store_pass(S(6));
	ok(has_heard("restart 2 6 L6 "), "until its generation is higher");
	follow_end();

	/* The last entry that was read is gone, as it is where a subject keeps one entry. */
	follow_begin();
	intent->per_subject = 1;
	fill();
	start(STREAM_FROM_LAST_PER_SUBJECT, members);
	store_run();
	forget();
	put(D);
	store_forget_consumers();
	store_pass(S(14));
	ok(has_heard("restart 3 4 L6 ") && losses == 1, "an entry that is gone: everything again");
	follow_end();

	follow_begin();
	intent->per_subject = 1;
	fill();
	start(STREAM_FROM_ALL, NULL);
	store_run();
	forget();
	put(D);
	put(D);
	store_forget_consumers();
	store_pass(S(14));
	ok(has_heard("7 L7 "), "which others than the last of each subject do not need");
	follow_end();

	/* Created again. */
	follow_begin();
	fill();
	start(STREAM_FROM_LAST_PER_SUBJECT, NULL);
	store_run();
	forget();
	strcpy(intent->created, "2025-12-24T16:00:00Z");
	store_forget_consumers();
	store_pass(S(14));
	ok(strstr(why, "was created again") && has_heard(""), "a stream that was created again");
	follow_end();

	/* The evidence cannot be read. */
	follow_begin();
	fill();
	start(STREAM_FROM_LAST_PER_SUBJECT, NULL);
	store_run();
	forget();
	put(A);
	store_forget_consumers();
	store_reads = STORE_GONE;
	store_pass(S(14));
	ok(losses > 1 && store_n_creations == 1 && has_heard(""),
	   "without the last entry nothing is taken");
	store_reads = STORE_ANSWERS;
	store_pass(S(6));
	ok(has_heard("6 L6 "), "with it it continues");
	follow_end();

	/* What the reader knew before. */
	follow_begin();
	fill();
	struct stream_follow_options options = { .domain = "ployz",
						 .stream = "PLOYZ_INTENT",
						 .from = STREAM_FROM_LAST_PER_SUBJECT,
						 .seen = &seen };
	follow = stream_follow_new(&fake_bus, &options, &follow_ops, NULL);
	store_run();
	ok(losses == 1 && strstr(why, "its last is 5, 9 was seen"), "what was known counts");
	for (int i = 0; i < 4; i++)
		put(A);
	store_pass(S(1));
	ok(has_heard("2 4 5 9 L9 "), "when it is there, the stream is read");
	follow_end();

	follow_begin();
	fill();
	seen = (struct stream_seen){ .generation = 2 };
	follow = stream_follow_new(&fake_bus, &options, &follow_ops, NULL);
	store_run();
	ok(losses == 1 && strstr(why, "generation 2 was seen"), "a lower generation is refused");
	follow_end();

	/* Without a generation: what is refused is raised above its own. */
	follow_begin();
	fill();
	seen = (struct stream_seen){ .sequence = 9 };
	follow = stream_follow_new(&fake_bus, &options, &follow_ops, NULL);
	store_run();
	ok(losses == 1 && strstr(why, "9 was seen"), "a generation that is not known");
	intent->generation = 2;
	store_pass(S(1));
	ok(has_heard("restart 2 3 4 5 L5 "), "is that of the stream that was refused");
	follow_end();

	/* Where the evidence is another one from the start. */
	follow_begin();
	fill();
	seen = (struct stream_seen){ .sequence = 4, .time_usec = 7 };
	follow = stream_follow_new(&fake_bus, &options, &follow_ops, NULL);
	store_run();
	ok(losses == 1 && strstr(why, "4 differs"), "an entry that a mirror has otherwise");
	follow_end();

	follow_begin();
	intent->per_subject = 1;
	fill();
	seen = (struct stream_seen){ .sequence = 1, .time_usec = 7 };
	follow = stream_follow_new(&fake_bus, &options, &follow_ops, NULL);
	store_run();
	ok(has_heard("2 3 4 5 L5 "), "or that is gone: nothing was handed over yet");
	follow_end();

	follow_begin();
	fill();
	start(STREAM_FROM_LAST_PER_SUBJECT, NULL);
	seen = (struct stream_seen){ .sequence = 9, .time_usec = 7 };
	stream_follow_learn(follow, &seen);
	store_run();
	ok(losses == 1 && strstr(why, "9 was seen"), "what is learned elsewhere counts");
	seen = (struct stream_seen){ .sequence = 2, .time_usec = 7 };
	stream_follow_learn(follow, &seen);
	ok(stream_follow_seen(follow)->sequence == 9, "if it is newer");
	follow_end();
}

int main(void)
{
	blocks_begin();
	fake_published = store_published;
	test_append();
	test_reading();
	test_managing();
	test_health();
	test_buckets();
	test_verdicts();
	test_policies();
	test_lag();
	test_verify();
	test_silence();
	test_deliveries();
	test_headers_only();
	test_connection();
	test_identity();
	return tap_done();
}
