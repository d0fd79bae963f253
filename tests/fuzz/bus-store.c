/* The store's side of the bus: answers and deliveries of JetStream with any content, to code that
 * appends, reads, follows a stream or keeps a projection of it.
 *
 * Steps of one byte: a request, an answer (good, good but for some bytes, or any bytes), a
 * delivery, a loss or return of the connection, a timer, the end of an iteration.
 *
 * covers: lib/stream.c lib/stream-follow.c lib/stream-seen.c lib/projection.c lib/bucket.c
 * lib/cas.c
 *
 * options: -max_len=400 -len_control=0 */
#include <errno.h>

#include "lib/bucket.h"
#include "lib/cas.h"
#include "lib/projection.h"
#include "lib/streams.h"
#include "tests/fuzz/fake/bus.h"
#include "tests/fuzz/fake/log.h"
#include "tests/fuzz/fake/loop.h"

#define STEPS_MAX 20

static size_t asked, told;
static uint64_t last;			     /* of the bucket's entries */
static uint64_t sequence, consumer_sequence; /* of the next good delivery */

static void holds_words(const struct failure *failure)
{
	HOLDS(!failure || (failure_is_set(failure) && failure->message && *failure->message));
}

static void on_append(enum stream_outcome outcome, uint64_t at, const struct failure *failure,
		      _unused_ void *userdata)
{
	told++;
	holds_words(failure);
	HOLDS((outcome == STREAM_DONE) == !failure && (outcome != STREAM_DONE || at));
}

static void on_entry_read(const struct failure *failure, const struct stream_entry *entry,
			  _unused_ void *userdata)
{
	told++;
	holds_words(failure);
	HOLDS(!failure || !entry);
	if (entry)
		HOLDS(entry->subject && entry->sequence && entry->data &&
		      entry->data[entry->size] == '\0');
}

static void on_done(const struct failure *failure, _unused_ void *userdata)
{
	told++;
	holds_words(failure);
}

static void on_info(const struct failure *failure, const json_t *info, _unused_ void *userdata)
{
	told++;
	holds_words(failure);
	HOLDS(!failure == json_is_object(info));
}

static struct cas *cas;

static void on_written(enum cas_outcome outcome, uint64_t at, const struct failure *failure,
		       _unused_ void *userdata)
{
	bool stored = outcome == CAS_DONE || outcome == CAS_SUPERSEDED;

	told++;
	holds_words(failure);
	HOLDS(stored == !failure && stored == (at != 0));
	cas_free(steal(cas));
}

static void ask(uint8_t which)
{
	static const struct stream_append plain = {
		.subject = "ployz.v1.a", .data = "{}", .size = 2, .expected = STREAM_ANY
	};
	static const struct stream_append first = { .subject = "ployz.v1.b",
						    .data = "",
						    .expected = 0 };
	_cleanup_json_ json_t *config = streams_config(STREAMS_LEASES, 1, 1, "s");
	static const struct cas_options options = { .key = "ployz.v1.a",
						    .text = "{}",
						    .nonce = "n",
						    .expected = 3,
						    .deadline_usec = UINT64_MAX };

	asked++;
	switch (which % 8) {
	case 0:
		stream_append(&fake_bus, &plain, on_append, NULL, NULL);
		break;
	case 1:
		stream_append(&fake_bus, &first, on_append, NULL, NULL);
		break;
	case 2:
		stream_last(&fake_bus, STORE_DOMAIN, "S", "a", 1000, on_entry_read, NULL, NULL);
		break;
	case 3:
		stream_ensure(&fake_bus, STORE_DOMAIN, config, on_done, NULL);
		break;
	case 4:
		stream_info(&fake_bus, "m1", "S", 1000, on_info, NULL, NULL);
		break;
	case 5:
		bucket_get(&fake_bus, "LEASES", "shop", 1000, on_entry_read, NULL, NULL);
		break;
	case 6:
		stream_at(&fake_bus, STORE_DOMAIN, "S", 7, 1000, on_entry_read, NULL, NULL);
		break;
	case 7:
		if (cas) {
			asked--;
			break;
		}
		cas = cas_append(&fake_bus, &options, on_written, NULL, NULL);
		break;
	}
}

/* ---- readers ---- */

static void on_bucket_entry(const struct stream_entry *entry, _unused_ void *userdata)
{
	HOLDS(entry->subject && entry->data && entry->data[entry->size] == '\0');
	/* In order, each once. */
	HOLDS(entry->sequence > last);
	last = entry->sequence;
	HOLDS(bucket_key(entry->subject));
}

static void on_bucket_live(_unused_ uint64_t at, _unused_ void *userdata)
{
}

static void on_bucket_restart(_unused_ void *userdata)
{
	last = 0;
}

static void on_bucket_reached(uint64_t at, _unused_ void *userdata)
{
	HOLDS(at >= last);
}

static void on_bucket_lost(const struct failure *why, _unused_ void *userdata)
{
	HOLDS(why);
	holds_words(why);
}

static void on_entry(const char *subject, _unused_ uint64_t at, const char *data, size_t size,
		     _unused_ void *userdata)
{
	HOLDS(subject && (!data || data[size] == '\0'));
}

static void on_settled(const struct watermark *applied, _unused_ void *userdata)
{
	HOLDS(applied->intent >= 0 && applied->facts >= 0);
}

/* ---- the store ---- */

static const struct {
	const char *subject; /* a part of it */
	const char *reply;
} goods[] = {
	{ "STREAM.INFO", "{\"created\":\"t1\",\"state\":{\"last_seq\":3}}" },
	{ "STREAM.INFO", "{\"created\":\"t2\",\"state\":{\"last_seq\":0}}" },
	{ "STREAM.INFO", "{\"created\":\"t1\",\"state\":{\"last_seq\":7,\"last_ts\":"
			 "\"2025-11-24T16:00:00.1Z\"},\"config\":{\"metadata\":{"
			 "\"ployz.generation\":\"2\",\"ployz.store\":\"s\"}}}" },
	{ "CONSUMER.CREATE", "{\"num_pending\":0}" },
	{ "CONSUMER.CREATE", "{\"num_pending\":2}" },
	{ "STREAM.MSG.GET", "{\"message\":{\"subject\":\"a.b\",\"seq\":5,\"data\":\"e30=\","
			    "\"time\":\"2025-11-24T16:00:00.1Z\"}}" },
	{ "STREAM.MSG.GET", "{\"error\":{\"err_code\":10037,\"description\":\"no message\"}}" },
	{ "STREAM.CREATE", "{\"error\":{\"err_code\":10058}}" },
	{ "STREAM.", "{\"config\":{}}" },
	{ "", "{\"stream\":\"S\",\"seq\":7}" },
	{ "", "{\"error\":{\"err_code\":10071,\"description\":\"wrong last sequence\"}}" },
	{ "", "{\"error\":{\"code\":503,\"err_code\":10008}}" },
};

static const char *good_reply(const char *subject, uint8_t which)
{
	const char *found[ARRAY_SIZE(goods)] = { NULL };
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(goods); i++)
		if (strstr(subject, goods[i].subject))
			found[n++] = goods[i].reply;
	return found[which % n];
}

static void answer(struct cursor *c, uint8_t step)
{
	struct bus_request *request = fake_asked(cursor_byte(c));
	static const int errors[] = { -EHOSTUNREACH, -ETIMEDOUT, -ENOTCONN, -EMSGSIZE };
	uint8_t which = cursor_byte(c);
	_cleanup_free_ char *bytes = NULL, *text = NULL;
	const char *good;
	size_t size, at;

	if (!request)
		return;
	good = good_reply(request->subject, which);
	if (step % 8 < 5) {
		fake_answer(request, 0, good, strlen(good));
	} else if (step % 8 == 5) {
		bytes = cursor_string(c);
		at = which % (strlen(good) + 1);
		size = cursor_byte(c) % 16;
		size = MIN2(size, strlen(good) - at);
		text = xasprintf("%.*s%s%s", (int)at, good, bytes, good + at + size);
		fake_answer(request, 0, text, strlen(text));
	} else if (step % 8 == 6) {
		const char *part = cursor_part(c, &size);

		fake_answer(request, 0, part, size);
	} else {
		fake_answer(request, errors[which % ARRAY_SIZE(errors)], "", 0);
	}
}

/* The position of a delivery in its stream; sometimes a wrong one. */
static void deliver(struct cursor *c, uint8_t step)
{
	static const char *const subjects_[] = { "ployz.v1.intent.namespace.shop",
						 "ployz.v1.intent.member.m1", "$KV.LEASES.shop",
						 "a" };
	uint8_t how = cursor_byte(c);
	struct bus_subscription *sub = fake_listening(how / 64);
	struct fake_headers headers = { NULL, { NULL, NULL }, { NULL, NULL } };
	_cleanup_free_ char *reply = NULL, *word = NULL;
	const char *data;
	size_t size;

	if (!sub)
		return;
	if (step % 8 == 7) {
		word = cursor_string(c);
		headers = (struct fake_headers){ how & 1 ? "100" : word,
						 { "Nats-Last-Consumer", "Nats-Consumer-Stalled" },
						 { how & 2 ? word : "1", how & 4 ? word : NULL } };
	} else if (step % 8 == 6) {
		reply = cursor_string(c);
	} else {
		sequence += how % 4;
		consumer_sequence = how & 32 ? how % 8 : consumer_sequence + 1;
		reply = xasprintf("$JS.ACK.%sS.c.1.%llu.%llu.1764000000000000000.%d%s",
				  how & 16 ? "ployz.hash." : "", (unsigned long long)sequence,
				  (unsigned long long)consumer_sequence, how & 8 ? 0 : 1,
				  how & 16 ? ".token" : "");
	}
	data = cursor_part(c, &size);
	fake_deliver(sub, subjects_[how % ARRAY_SIZE(subjects_)], reply, &headers, data, size);
}

static void step(struct projection *projection, struct cursor *c)
{
	uint8_t step = cursor_byte(c);
	const struct watermark wanted = { step % 4, step, step };

	if (step < 96)
		answer(c, step);
	else if (step < 176)
		deliver(c, step);
	else if (step < 192)
		ask(cursor_byte(c));
	else if (step < 200)
		fake_connection(step & 1);
	else if (step < 204)
		projection_expect(projection, &wanted);
	else if (step < 216)
		fake_turn();
	else if (step < 220)
		consumer_sequence = 0;
	else
		fake_tick();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct projection_ops ops = { .entry = on_entry, .settled = on_settled };
	static const struct stream_follow_ops follow_ops = { on_bucket_entry, on_bucket_live,
							     on_bucket_reached, on_bucket_restart,
							     on_bucket_lost };
	static const char *const intent[] = { "ployz.v1.intent.namespace.*",
					      "ployz.v1.intent.member.*", NULL };
	static const char *const facts[] = { "ployz.v1.facts.>", NULL };
	static const struct projection_options options = {
		.machine = "m1", .intent = intent, .facts = facts, .served = { 1, 2, 0 }
	};
	struct cursor c = { data, data + size };
	struct projection *projection = projection_new(&fake_bus, &options, &ops, NULL);
	struct stream_follow *follow = bucket_watch(&fake_bus, "LEASES", &follow_ops, NULL);

	asked = told = 0;
	last = sequence = consumer_sequence = 0;
	fake_tick();
	for (int steps = 0; cursor_left(&c) && steps < STEPS_MAX; steps++)
		step(projection, &c);
	json_decref(projection_status(projection));
	projection_free(projection);
	stream_follow_free(follow);
	/* Each request was answered once. */
	for (size_t n = 100; n && fake_requests; n--)
		fake_answer(fake_requests, -ETIMEDOUT, "", 0);
	if (cas)
		told++;
	cas_free(steal(cas));
	HOLDS(asked == told);
	fake_bus_end();
	fake_loop_end();
	return 0;
}
