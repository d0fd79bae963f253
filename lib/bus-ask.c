/* Typed requests: to one daemon, or to the same daemon of many machines. */
#include <errno.h>

#include "lib/bus-private.h"
#include "lib/str.h"

struct ask {
	enum subject_id subject;
	char *machine; /* or NULL */
	uint64_t timeout_usec;
	bus_answer_fn fn;
	void *userdata;
};

/* Freed with its request: the caller's handle is the bus_request, which owns the ask. */
static void ask_free(void *p)
{
	struct ask *ask = p;

	free(ask->machine);
	free(ask);
}

static void transport_failure(const struct ask *ask, int error, struct failure *failure)
{
	const char *owner = subjects[ask->subject].owner;
	const char *machine = ask->machine ? ask->machine : "this machine";
	_cleanup_free_ char *hint = NULL, *waited = NULL;

	switch (error) {
	case -EHOSTUNREACH:
		hint = xasprintf("is ployz-%s running there? `ployzctl status` shows who answers",
				 owner);
		failure_set(failure, FAILURE_UNREACHABLE, hint, "%s of machine %s does not answer",
			    owner, machine);
		return;
	case -ETIMEDOUT:
		waited = duration_human(ask->timeout_usec);
		hint = xasprintf("read its log: journalctl -u ployz-%s", owner);
		failure_set(failure, FAILURE_TIMEOUT, hint,
			    "%s of machine %s did not answer within %s", owner, machine, waited);
		return;
	case -EMSGSIZE:
		failure_set(
			failure, FAILURE_TOO_LARGE,
			"make the manifest smaller: its files and env count",
			"cannot send the request to %s: it is larger than the bus limit of %u MiB",
			owner, BUS_PAYLOAD_MAX >> 20);
		return;
	default:
		failure_set(failure, FAILURE_UNREACHABLE, "start nats-server on this machine",
			    "the local bus is not connected");
	}
}

/* {"ok": …} or {"error": {…}} into the answer or the failure. */
static int answer_decode(enum subject_id subject, const struct bus_message *reply, void **ret,
			 struct failure *failure)
{
	_cleanup_json_ json_t *json = json_loadb(reply->data, reply->size, JSON_ALLOW_NUL, NULL);
	const json_t *error = json_object_get(json, "error"), *answer = json_object_get(json, "ok");
	const char *code, *message, *hint, *path;

	if (json_is_object(error)) {
		code = json_string_value(json_object_get(error, "code"));
		message = json_string_value(json_object_get(error, "message"));
		hint = json_string_value(json_object_get(error, "hint"));
		path = json_string_value(json_object_get(error, "path"));
		failure_set(failure, FAILURE_BUG, hint, "%s",
			    message ? message : "the request was refused without a reason");
		for (int i = 1; code && failure_code_names[i]; i++)
			if (streq(code, failure_code_names[i]))
				failure->code = i;
		failure_prefix(failure, path);
		return -EREMOTEIO;
	}
	if (!json_is_object(answer) ||
	    codec_decode_new(subjects[subject].reply, answer, CODEC_LENIENT, ret, failure) < 0) {
		_cleanup_free_ char *why =
			failure->message ? xasprintf("%s %s", failure->path ? failure->path : "it",
						     failure->message)
					 : xstrdup("it is neither ok nor error");

		return failure_set(failure, FAILURE_BUG,
				   "check that all programs of this cluster have one version",
				   "cannot decode the answer of %s to %s: %s",
				   subjects[subject].owner, subject_verb(subject), why);
	}
	return 0;
}

static void on_answer(int error, const struct bus_message *reply, void *userdata)
{
	struct ask *ask = userdata;
	struct failure failure = FAILURE_INIT;
	void *answer = NULL;

	if (error < 0)
		transport_failure(ask, error, &failure);
	else
		answer_decode(ask->subject, reply, &answer, &failure);
	ask->fn(failure_is_set(&failure) ? &failure : NULL, answer, ask->userdata);
	codec_destroy(subjects[ask->subject].reply, answer);
	failure_clear(&failure);
	ask_free(ask);
}

void bus_ask(struct bus *bus, enum subject_id subject, const char *machine, const void *request,
	     uint64_t timeout_usec, bus_answer_fn fn, void *userdata, struct bus_request **ret)
{
	_cleanup_free_ char *name = subject_make(subject, machine, NULL);
	_cleanup_free_ char *text =
		request ? codec_print(subjects[subject].request, request) : xstrdup("{}");
	struct ask *ask = xcalloc(1, sizeof(*ask));
	struct bus_request *handle;

	ask->subject = subject;
	ask->machine = xstrdup(machine);
	ask->timeout_usec = timeout_usec;
	ask->fn = fn;
	ask->userdata = userdata;
	bus_request(bus, name, NULL, text, strlen(text), timeout_usec, on_answer, ask, &handle);
	bus_request_own(handle, ask_free);
	if (ret)
		*ret = handle;
}

struct scatter_part {
	struct bus_scatter *scatter;
	char *machine;
	struct bus_request *request;
};

struct bus_scatter {
	struct scatter_part *parts;
	size_t n_parts, pending;
	bool calling; /* inside the caller's callback: a cancellation takes effect after it */
	bool cancelled;
	struct timer *empty; /* reports the end where there was no machine to ask */
	bus_gather_fn fn;
	void *userdata;
};

static void scatter_destroy(struct bus_scatter *scatter)
{
	for (size_t i = 0; i < scatter->n_parts; i++) {
		bus_request_cancel(scatter->parts[i].request);
		free(scatter->parts[i].machine);
	}
	timer_free(scatter->empty);
	free(scatter->parts);
	free(scatter);
}

void bus_scatter_cancel(struct bus_scatter *scatter)
{
	if (!scatter)
		return;
	if (scatter->calling)
		scatter->cancelled = true;
	else
		scatter_destroy(scatter);
}

static void scatter_call(struct bus_scatter *scatter, const char *machine,
			 const struct failure *failure, void *answer)
{
	scatter->calling = true;
	scatter->fn(machine, failure, answer, scatter->userdata);
	scatter->calling = false;
}

static void scatter_end(void *userdata)
{
	struct bus_scatter *scatter = userdata;

	if (!scatter->cancelled)
		scatter_call(scatter, NULL, NULL, NULL);
	scatter_destroy(scatter);
}

static void on_part(const struct failure *failure, void *answer, void *userdata)
{
	struct scatter_part *part = userdata;
	struct bus_scatter *scatter = part->scatter;

	part->request = NULL;
	scatter->pending--;
	scatter_call(scatter, part->machine, failure, answer);
	if (scatter->cancelled)
		scatter_destroy(scatter);
	else if (scatter->pending == 0)
		scatter_end(scatter);
}

void bus_scatter(struct bus *bus, enum subject_id subject, char *const *machines,
		 const void *request, uint64_t timeout_usec, bus_gather_fn fn, void *userdata,
		 struct bus_scatter **ret)
{
	struct bus_scatter *scatter = xcalloc(1, sizeof(*scatter));

	scatter->fn = fn;
	scatter->userdata = userdata;
	scatter->n_parts = scatter->pending = strv_count(machines);
	scatter->parts = xcalloc(scatter->n_parts, sizeof(*scatter->parts));
	for (size_t i = 0; i < scatter->n_parts; i++) {
		struct scatter_part *part = &scatter->parts[i];

		part->scatter = scatter;
		part->machine = xstrdup(machines[i]);
		bus_ask(bus, subject, part->machine, request, timeout_usec, on_part, part,
			&part->request);
	}
	if (!scatter->n_parts) {
		scatter->empty = timer_new(bus->loop, scatter_end, scatter);
		timer_arm(scatter->empty, 0);
	}
	if (ret)
		*ret = scatter;
}
