/* The doorplate: what a daemon hears, its answers, and the NATS Services protocol (ADR-32). */
#include <errno.h>
#include <stdio.h>

#include "lib/bus-private.h"
#include "lib/log.h"
#include "lib/str.h"

#define SERVICES_ALL "$SRV.>"
#define STATUS_VERB "status"

struct door_verb {
	struct bus_verb verb;
	char *subject;
	uint64_t requests, errors;
	uint64_t usec; /* between hearing a request and answering it, summed */
	char *last_error;
};

/* One bus_serve. Calls that are still open when the bus goes must not touch it: they are its
 * list. */
struct bus_door {
	struct bus_door *next;
	struct bus *bus;
	char *daemon, *machine, *id, *started;
	struct door_verb *verbs;
	size_t n_verbs;
	bus_status_fn status;
	void *userdata;
	struct bus_call *calls;
};

struct bus_call {
	struct bus_door *door;
	struct bus_call *next, **link;
	struct door_verb *verb;
	char *reply;
	void *request;	/* decoded */
	uint64_t since; /* boot-time clock */
};

static void call_free(struct bus_call *call)
{
	*call->link = call->next;
	if (call->next)
		call->next->link = call->link;
	if (call->verb)
		codec_destroy(subjects[call->verb->verb.subject].request, call->request);
	free(call->reply);
	free(call);
}

void bus_doors_free(struct bus *bus)
{
	for (struct bus_door *door = bus->doors, *next; door; door = next) {
		next = door->next;
		while (door->calls)
			call_free(door->calls);
		for (size_t i = 0; i < door->n_verbs; i++) {
			free(door->verbs[i].subject);
			free(door->verbs[i].last_error);
		}
		free(door->verbs);
		free(door->daemon);
		free(door->machine);
		free(door->id);
		free(door->started);
		free(door);
	}
	bus->doors = NULL;
}

static void answer(struct bus_call *call, const char *key, json_t *value,
		   const struct bus_headers *headers)
{
	_cleanup_json_ json_t *json = json_object();
	_cleanup_free_ char *text = NULL;
	int r;

	json_object_set_new(json, key, value);
	text = json_text(json);
	if (call->reply) {
		r = bus_publish(call->door->bus, call->reply, NULL, headers, text, strlen(text));
		if (r == -EMSGSIZE)
			log_error("an answer of %zu bytes is over the bus's limit and was not sent",
				  strlen(text));
	}
	if (call->verb) {
		call->verb->requests++;
		call->verb->usec += boot_now_usec() - call->since;
	}
	call_free(call);
}

void bus_call_ok(struct bus_call *call, const void *object)
{
	json_t *value = object ? codec_encode(subjects[call->verb->verb.subject].reply, object)
			       : json_object();

	answer(call, "ok", value, NULL);
}

void bus_call_fail(struct bus_call *call, const struct failure *failure)
{
	/* The Services protocol counts a reply with these headers as an error. */
	struct bus_headers headers = { .keys = { "Nats-Service-Error", "Nats-Service-Error-Code" },
				       .count = 2 };
	json_t *error = json_object();
	char number[16];

	snprintf(number, sizeof(number), "%d", failure_exit((enum failure_code)failure->code));
	headers.values[0] = failure->message ? failure->message : "";
	headers.values[1] = number;
	json_object_set_new(error, "code", json_string(failure_code_names[failure->code]));
	json_object_set_new(error, "message", json_words(failure->message ? failure->message : ""));
	if (failure->hint)
		json_object_set_new(error, "hint", json_words(failure->hint));
	if (failure->path)
		json_object_set_new(error, "path", json_words(failure->path));
	if (call->verb) {
		call->verb->errors++;
		free(call->verb->last_error);
		call->verb->last_error = xstrdup(failure->message);
	}
	/* A header ends at its line: a message with line breaks travels in the body only. */
	answer(call, "error", error, strpbrk(headers.values[0], "\r\n") ? NULL : &headers);
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
	call_free(call);
}

void *bus_call_request(struct bus_call *call)
{
	return call->request;
}

static struct bus_call *call_new(struct bus_door *door, struct door_verb *verb, const char *reply)
{
	struct bus_call *call = xcalloc(1, sizeof(*call));

	call->door = door;
	call->verb = verb;
	call->reply = xstrdup(reply);
	call->since = boot_now_usec();
	call->next = door->calls;
	call->link = &door->calls;
	if (call->next)
		call->next->link = &call->next;
	door->calls = call;
	return call;
}

static void unknown_verb(struct bus_door *door, const char *word, struct bus_call *call)
{
	struct strbuf known = STRBUF_INIT;

	for (size_t i = 0; i < door->n_verbs; i++)
		strbuf_printf(&known, "%s, ", subject_verb(door->verbs[i].verb.subject));
	strbuf_puts(&known, STATUS_VERB);
	bus_call_failf(call, FAILURE_INVALID, "are all of this cluster's programs of one version?",
		       "%s knows no verb '%s' (it has %s)", door->daemon, word, known.text);
	strbuf_clear(&known);
}

static void on_request(const struct bus_message *message, void *userdata)
{
	struct bus_door *door = userdata;
	const char *word = message->subject;
	struct failure failure = FAILURE_INIT;
	struct door_verb *verb = NULL;
	struct bus_call *call;
	int r;

	for (int dots = 0; dots < 4; dots++)
		word = strchr(word, '.') + 1;
	for (size_t i = 0; i < door->n_verbs; i++)
		if (streq(subject_verb(door->verbs[i].verb.subject), word))
			verb = &door->verbs[i];
	call = call_new(door, verb, message->reply);
	if (streq(word, STATUS_VERB)) {
		answer(call, "ok", door->status ? door->status(door->userdata) : json_object(),
		       NULL);
		return;
	}
	if (!verb) {
		unknown_verb(door, word, call);
		return;
	}
	r = codec_parse(subjects[verb->verb.subject].request, message->size ? message->data : "{}",
			message->size ? message->size : 2, CODEC_LENIENT, &call->request, &failure);
	if (r < 0) {
		bus_call_failf(call, FAILURE_INVALID,
			       "are all of this cluster's programs of one version?",
			       "request %s: %s %s", word,
			       failure.path ? failure.path : "the request", failure.message);
		failure_clear(&failure);
		return;
	}
	verb->verb.handler(call, call->request, door->userdata);
}

static json_t *endpoint_json(const struct door_verb *verb, bool stats)
{
	json_t *json = json_object();

	json_object_set_new(json, "name", json_string(subject_verb(verb->verb.subject)));
	json_object_set_new(json, "subject", json_string(verb->subject));
	json_object_set_new(json, "queue_group", json_string(""));
	if (!stats) {
		json_object_set_new(
			json, "metadata",
			json_pack("{s:s}", "description", subjects[verb->verb.subject].note));
		return json;
	}
	json_object_set_new(json, "num_requests", json_integer((json_int_t)verb->requests));
	json_object_set_new(json, "num_errors", json_integer((json_int_t)verb->errors));
	json_object_set_new(json, "last_error",
			    json_words(verb->last_error ? verb->last_error : ""));
	json_object_set_new(json, "processing_time", json_integer((json_int_t)verb->usec * 1000));
	json_object_set_new(json, "average_processing_time",
			    json_integer(verb->requests
						 ? (json_int_t)(verb->usec * 1000 / verb->requests)
						 : 0));
	return json;
}

/* $SRV.<PING|INFO|STATS>[.<name>[.<id>]] */
static void on_services(const struct bus_message *message, void *userdata)
{
	struct bus_door *door = userdata;
	_cleanup_(strv_freep) char **words = strv_split(message->subject, ".");
	size_t n = strv_count(words);
	_cleanup_json_ json_t *json = NULL;
	_cleanup_free_ char *text = NULL, *type = NULL;
	json_t *endpoints;
	bool ping;

	if (!message->reply || n < 2 || n > 4 || (n > 2 && !streq(words[2], door->daemon)) ||
	    (n > 3 && !streq(words[3], door->id)))
		return;
	ping = streq(words[1], "PING");
	if (!ping && !streq(words[1], "INFO") && !streq(words[1], "STATS"))
		return;
	type = xasprintf("io.nats.micro.v1.%s_response", ping			   ? "ping"
							 : streq(words[1], "INFO") ? "info"
										   : "stats");
	json = json_pack("{s:s, s:s, s:s, s:s, s:{s:s}}", "type", type, "name", door->daemon, "id",
			 door->id, "version", PLOYZ_VERSION, "metadata", "machine", door->machine);
	if (!ping) {
		bool stats = streq(words[1], "STATS");

		json_object_set_new(json, stats ? "started" : "description",
				    json_string(stats ? door->started : "ployz"));
		endpoints = json_array();
		for (size_t i = 0; i < door->n_verbs; i++)
			json_array_append_new(endpoints, endpoint_json(&door->verbs[i], stats));
		json_object_set_new(json, "endpoints", endpoints);
	}
	text = json_text(json);
	if (bus_publish(door->bus, message->reply, NULL, NULL, text, strlen(text)) < 0)
		log_debug("could not answer %s", message->subject);
}

int bus_serve(struct bus *bus, const char *daemon, const char *machine,
	      const struct bus_verb *verbs, size_t count, bus_status_fn status, void *userdata)
{
	_cleanup_free_ char *own = subject_door(machine, daemon), *all = subject_door(NULL, daemon);
	struct bus_door *door = xcalloc(1, sizeof(*door));
	int r;

	door->bus = bus;
	door->daemon = xstrdup(daemon);
	door->machine = xstrdup(machine);
	door->id = id_new();
	door->started = time_format(time_now_usec());
	door->status = status;
	door->userdata = userdata;
	door->verbs = xcalloc(count, sizeof(*door->verbs));
	door->n_verbs = count;
	for (size_t i = 0; i < count; i++) {
		door->verbs[i].verb = verbs[i];
		door->verbs[i].subject = subject_make(verbs[i].subject, machine, NULL);
	}
	door->next = bus->doors;
	bus->doors = door;
	r = bus_subscribe(bus, own, on_request, door, NULL);
	if (r >= 0)
		r = bus_subscribe(bus, all, on_request, door, NULL);
	if (r >= 0)
		r = bus_subscribe(bus, SERVICES_ALL, on_services, door, NULL);
	return r;
}

int bus_event(struct bus *bus, enum subject_id subject, const char *a, const char *b,
	      const void *object)
{
	_cleanup_free_ char *name = subject_make(subject, a, b);
	_cleanup_free_ char *text = codec_print(subjects[subject].request, object);

	return bus_publish(bus, name, NULL, NULL, text, strlen(text));
}
