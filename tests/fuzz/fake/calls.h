/* Replaces lib/bus-serve.c and daemon_serve: requests reach a daemon's endpoints, and each answer
 * can be decoded with its schema. A call that is never answered is a failure. Included once in a
 * target. */
#ifndef PLOYZ_TESTS_FUZZ_FAKE_CALLS_H
#define PLOYZ_TESTS_FUZZ_FAKE_CALLS_H

#include "lib/daemon.h"
#include "lib/str.h"
#include "tests/fuzz/fuzz.h"

struct bus_call {
	enum subject_id subject;
	void *request;
};

static size_t fake_calls;
/* The daemon's endpoints, once it serves. */
static const struct bus_endpoint *fake_verbs;
static size_t fake_n_verbs;
static bus_status_fn fake_status;
static void *fake_server;

int daemon_serve(_unused_ struct daemon *daemon, const struct bus_endpoint *verbs, size_t count,
		 bus_status_fn status, void *userdata)
{
	fake_verbs = verbs;
	fake_n_verbs = count;
	fake_status = status;
	fake_server = userdata;
	return 0;
}

/* The object can be encoded and decoded again. */
static inline void holds_readable(const struct codec_schema *schema, const void *object)
{
	_cleanup_json_ json_t *json = codec_encode(schema, object);
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;
	void *same = NULL;
	int r = codec_decode_new(schema, json, CODEC_LENIENT, &same, &failure);

	if (r < 0)
		fprintf(stderr, "%s cannot be read: %s: %s\n", schema->name,
			failure.path ? failure.path : "", failure.message);
	HOLDS(r == 0);
	codec_destroy(schema, same);
}

static void call_end(struct bus_call *call)
{
	codec_destroy(subjects[call->subject].request, call->request);
	free(call);
	HOLDS(fake_calls-- > 0);
}

void bus_call_ok(struct bus_call *call, const void *object)
{
	if (object)
		holds_readable(subjects[call->subject].reply, object);
	call_end(call);
}

void bus_call_fail(struct bus_call *call, const struct failure *failure)
{
	HOLDS(failure_is_set(failure) && failure->message && *failure->message);
	call_end(call);
}

void bus_call_failf(struct bus_call *call, enum failure_code code, const char *hint,
		    const char *format, ...)
{
	struct failure failure = FAILURE_INIT;
	va_list args;

	va_start(args, format);
	failure_vset(&failure, code, hint, format, args);
	va_end(args);
	bus_call_fail(call, &failure);
	failure_clear(&failure);
}

void bus_call_drop(struct bus_call *call)
{
	call_end(call);
}

void *bus_call_request(struct bus_call *call)
{
	return call->request;
}

int bus_event(_unused_ struct bus *bus, enum subject_id subject, _unused_ const char *a,
	      _unused_ const char *b, const void *object)
{
	holds_readable(subjects[subject].request, object);
	return 0;
}

/* Calls the endpoint of this subject; a request that its schema refuses does not reach the daemon.
 */
static inline void fake_call(enum subject_id subject, const json_t *request)
{
	const struct bus_endpoint *verb = NULL;
	struct bus_call *call;
	void *decoded = NULL;

	for (size_t i = 0; i < fake_n_verbs; i++)
		if (fake_verbs[i].subject == subject)
			verb = &fake_verbs[i];
	HOLDS(verb);
	if (codec_decode_new(subjects[subject].request, request, CODEC_LENIENT, &decoded, NULL) < 0)
		return;
	call = xcalloc(1, sizeof(*call));
	call->subject = subject;
	call->request = decoded;
	fake_calls++;
	verb->handler(call, decoded, fake_server);
}

#endif
