/* A daemon's endpoints and their clients: requests of every subject with any bytes, answers of any
 * daemon, the NATS Services protocol. Each side can decode what the other encodes.
 *
 * Steps of one byte: a request (as text, or made of the bytes that follow), the answer of a call
 * that was kept, a request to another daemon or to several, its answer.
 *
 * covers: lib/bus-serve.c lib/bus-ask.c lib/subjects.c
 *
 * options: -max_len=512 -len_control=0 */
#include <errno.h>

#include "lib/map.h"
#include "tests/fuzz/fake/bus.h"
#include "tests/fuzz/fake/log.h"
#include "tests/fuzz/fake/loop.h"
#include "tests/fuzz/generate.h"

#define STEPS_MAX 16
#define CALLS_MAX 8
#define DAEMON "agentd"

static struct bus_endpoint verbs[SUBJECT_COUNT];
static size_t n_verbs;
static struct bus_call *kept[CALLS_MAX];
static size_t n_kept;
static uint8_t manner;				/* of the next answer … */
static const struct codec_schema *reply_schema; /* … and its schema */
static size_t asked, told;
static char *answer_text; /* the last one that was published */

/* `schema` of the answer; NULL: it is not known any more. */
static void give(struct bus_call *call, const struct codec_schema *schema, uint8_t how)
{
	struct failure failure = FAILURE_INIT;
	void *object;

	switch (schema ? how % 4 : 1 + how % 3) {
	case 0:
		object = codec_new(schema);
		bus_call_ok(call, object);
		codec_destroy(schema, object);
		break;
	case 1:
		bus_call_ok(call, NULL);
		break;
	case 2:
		failure_set(&failure, (enum failure_code)(1 + how % FAILURE_BUG),
			    how & 16 ? "a\nhint" : NULL,
			    how & 32 ? "cut \xe2\x82 and\r\nmore" : "no");
		failure_prefix(&failure, how & 64 ? "a.b[1]" : NULL);
		bus_call_fail(call, &failure);
		failure_clear(&failure);
		break;
	default:
		bus_call_drop(call);
	}
}

static void handler(struct bus_call *call, void *request, _unused_ void *userdata)
{
	HOLDS(request && request == bus_call_request(call));
	if (manner & 128 && n_kept < CALLS_MAX)
		kept[n_kept++] = call;
	else
		give(call, reply_schema, manner);
}

static json_t *status(_unused_ void *userdata)
{
	return json_pack("{s:s}", "state", "well");
}

static void on_published(_unused_ const char *subject, const char *data, size_t size)
{
	_cleanup_json_ json_t *json = json_loadb(data, size, JSON_REJECT_DUPLICATES, NULL);

	HOLDS(json_is_object(json));
	free(answer_text);
	answer_text = xstrndup(data, size);
}

static void request(struct cursor *c, uint8_t step)
{
	static const char *const services[] = { "$SRV.PING", "$SRV.INFO", "$SRV.STATS." DAEMON,
						"$SRV.X", "$SRV.PING." DAEMON ".nix" };
	static const char *const strange[] = { "ployz.v1.m1." DAEMON ".status",
					       "ployz.v1.all." DAEMON ".nix",
					       "ployz.v1.m1." DAEMON ".a.b.c" };
	const struct bus_endpoint *verb = &verbs[cursor_byte(c) % n_verbs];
	_cleanup_free_ char *subject = NULL, *text = NULL;
	_cleanup_json_ json_t *json = NULL;
	/* The newest first: its services, all, its own. */
	struct bus_subscription *sub = fake_listening(step % 8 == 0 ? 0 : 1 + step % 2);
	size_t size = 0;

	manner = cursor_byte(c);
	reply_schema = subjects[verb->subject].reply;
	if (step % 8 == 0)
		subject = xstrdup(services[manner % ARRAY_SIZE(services)]);
	else if (step % 8 == 1)
		subject = xstrdup(strange[manner % ARRAY_SIZE(strange)]);
	else
		subject = subject_make(verb->subject, "m1", NULL);
	if (step % 8 < 4) {
		text = cursor_string(c);
	} else {
		json = generate(c, subjects[verb->subject].request);
		text = json_text(json);
	}
	size = strlen(text);
	free(steal(answer_text));
	fake_deliver(sub, subject, manner & 64 ? NULL : "_INBOX.y.1", NULL, text, size);
}

static void on_answer(const struct failure *failure, void *object, _unused_ void *userdata)
{
	told++;
	HOLDS(!failure == (object != NULL));
	HOLDS(!failure || (failure_is_set(failure) && failure->message && *failure->message));
}

static void on_gathered(const char *machine, const struct failure *failure, void *object,
			void *userdata)
{
	struct bus_scatter **scatter = userdata;

	HOLDS(!machine || !failure == (object != NULL));
	if (!machine)
		*scatter = NULL;
}

/* A request of this process, which a later step answers. */
static void ask(struct cursor *c, struct bus_scatter **scatter)
{
	static char *const machines[] = { (char *)"m1", (char *)"m2", NULL };
	static char *const nobody[] = { NULL };
	uint8_t which = cursor_byte(c);
	const struct bus_endpoint *verb = &verbs[which % n_verbs];

	if (which < 192 || *scatter) {
		asked++;
		bus_ask(&fake_bus, verb->subject, which & 1 ? "m1" : NULL, NULL, 1000000, on_answer,
			NULL, NULL);
	} else {
		bus_scatter(&fake_bus, verb->subject, which & 1 ? machines : nobody, NULL, 1000,
			    on_gathered, scatter, scatter);
	}
}

static void answer(struct cursor *c, uint8_t step)
{
	static const int errors[] = { -EHOSTUNREACH, -ETIMEDOUT, -ENOTCONN, -EMSGSIZE };
	uint8_t which = cursor_byte(c);
	struct bus_request *pending = fake_asked(which);
	const char *bytes;
	size_t size;

	if (!pending)
		return;
	if (step % 4 == 0 && answer_text) {
		fake_answer(pending, 0, answer_text, strlen(answer_text));
	} else if (step % 4 == 1) {
		fake_answer(pending, errors[which / 16 % ARRAY_SIZE(errors)], "", 0);
	} else if (step % 4 == 2) {
		_cleanup_json_ json_t *json = json_object();
		_cleanup_free_ char *text = NULL;

		for (size_t i = 0; i < n_verbs; i++)
			if (subject_match(verbs[i].subject, pending->subject, NULL, NULL))
				json_object_set_new(json, "ok",
						    generate(c, subjects[verbs[i].subject].reply));
		text = json_text(json);
		fake_answer(pending, 0, text, strlen(text));
	} else {
		bytes = cursor_part(c, &size);
		fake_answer(pending, 0, bytes, size);
	}
}

static void step(struct cursor *c, struct bus_scatter **scatter)
{
	uint8_t step = cursor_byte(c);

	if (step < 112)
		request(c, step);
	else if (step < 144 && n_kept)
		give(kept[--n_kept], NULL, cursor_byte(c));
	else if (step < 176)
		ask(c, scatter);
	else if (step < 224)
		answer(c, step);
	else if (step < 228)
		bus_scatter_cancel(steal(*scatter));
	else if (step < 232)
		fake_connection(step & 1);
	else
		fake_tick();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cursor c = { data, data + size };
	struct bus_scatter *scatter = NULL;

	if (!n_verbs)
		for (int i = 0; i < SUBJECT_COUNT; i++)
			if (subjects[i].kind == SUBJECT_REQUEST)
				verbs[n_verbs++] =
					(struct bus_endpoint){ (enum subject_id)i, handler };
	asked = told = n_kept = 0;
	fake_published = on_published;
	HOLDS(bus_serve(&fake_bus, DAEMON, "m1", verbs, n_verbs, status, NULL) == 0);
	for (int steps = 0; cursor_left(&c) && steps < STEPS_MAX; steps++)
		step(&c, &scatter);
	bus_scatter_cancel(scatter);
	while (fake_requests)
		fake_answer(fake_requests, -ETIMEDOUT, "", 0);
	HOLDS(asked == told);
	/* Open calls are freed with their service. */
	bus_services_free(&fake_bus);
	while (fake_subscriptions)
		bus_subscription_free(fake_subscriptions);
	free(steal(answer_text));
	fake_bus_end();
	fake_loop_end();
	return 0;
}
