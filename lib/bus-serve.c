/* Endpoints: the requests that a daemon answers, and the NATS Services protocol (ADR-32). */
#include <errno.h>
#include <stdio.h>

#include "lib/bus-private.h"
#include "lib/log.h"
#include "lib/str.h"

#define SERVICES_ALL "$SRV.>"
#define STATUS_VERB "status"

struct endpoint {
	struct bus_endpoint row;
	char *subject;
	uint64_t requests, errors;
	uint64_t usec; /* from receiving a request to answering it, summed */
	char *last_error;
};

/* What one bus_serve registered. It lists its open calls, which are freed with the bus. */
struct bus_service {
	struct bus_service *next;
	struct bus *bus;
	char *daemon, *machine, *id, *started;
	struct endpoint *endpoints;
	size_t n_endpoints;
	bus_status_fn status;
	void *userdata;
	struct bus_call *calls;
};

struct bus_call {
	struct bus_service *service;
	struct bus_call *next, **link;
	struct endpoint *endpoint;
	char *reply;
	void *request;	/* decoded */
	uint64_t since; /* boot-time clock */
};

static void call_free(struct bus_call *call)
{
	*call->link = call->next;
	if (call->next)
		call->next->link = call->link;
	if (call->endpoint)
		codec_destroy(subjects[call->endpoint->row.subject].request, call->request);
	free(call->reply);
	free(call);
}

void bus_services_free(struct bus *bus)
{
	for (struct bus_service *service = bus->services, *next; service; service = next) {
		next = service->next;
		while (service->calls)
			call_free(service->calls);
		for (size_t i = 0; i < service->n_endpoints; i++) {
			free(service->endpoints[i].subject);
			free(service->endpoints[i].last_error);
		}
		free(service->endpoints);
		free(service->daemon);
		free(service->machine);
		free(service->id);
		free(service->started);
		free(service);
	}
	bus->services = NULL;
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
		r = bus_publish(call->service->bus, call->reply, NULL, headers, text, strlen(text));
		if (r == -EMSGSIZE)
			log_error("cannot send an answer of %zu bytes: it is larger than the bus "
				  "limit",
				  strlen(text));
	}
	if (call->endpoint) {
		call->endpoint->requests++;
		call->endpoint->usec += boot_now_usec() - call->since;
	}
	call_free(call);
}

void bus_call_ok(struct bus_call *call, const void *object)
{
	json_t *value = object ? codec_encode(subjects[call->endpoint->row.subject].reply, object)
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
	json_object_set_new(error, "message", json_utf8(failure->message ? failure->message : ""));
	if (failure->hint)
		json_object_set_new(error, "hint", json_utf8(failure->hint));
	if (failure->path)
		json_object_set_new(error, "path", json_utf8(failure->path));
	if (call->endpoint) {
		call->endpoint->errors++;
		free(call->endpoint->last_error);
		call->endpoint->last_error = xstrdup(failure->message);
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

static struct bus_call *call_new(struct bus_service *service, struct endpoint *endpoint,
				 const char *reply)
{
	struct bus_call *call = xcalloc(1, sizeof(*call));

	call->service = service;
	call->endpoint = endpoint;
	call->reply = xstrdup(reply);
	call->since = boot_now_usec();
	call->next = service->calls;
	call->link = &service->calls;
	if (call->next)
		call->next->link = &call->next;
	service->calls = call;
	return call;
}

static void refuse_unknown(struct bus_service *service, const char *word, struct bus_call *call)
{
	struct strbuf known = STRBUF_INIT;

	for (size_t i = 0; i < service->n_endpoints; i++)
		strbuf_printf(&known, "%s, ", subject_verb(service->endpoints[i].row.subject));
	strbuf_puts(&known, STATUS_VERB);
	bus_call_failf(call, FAILURE_INVALID,
		       "check that all programs of this cluster have one version",
		       "%s has no verb '%s' (it has %s)", service->daemon, word, known.text);
	strbuf_clear(&known);
}

static void on_request(const struct bus_message *message, void *userdata)
{
	struct bus_service *service = userdata;
	const char *word = message->subject;
	struct failure failure = FAILURE_INIT;
	struct endpoint *endpoint = NULL;
	struct bus_call *call;
	int r;

	for (int dots = 0; dots < 4; dots++)
		word = strchr(word, '.') + 1;
	for (size_t i = 0; i < service->n_endpoints; i++)
		if (streq(subject_verb(service->endpoints[i].row.subject), word))
			endpoint = &service->endpoints[i];
	call = call_new(service, endpoint, message->reply);
	if (streq(word, STATUS_VERB)) {
		answer(call, "ok",
		       service->status ? service->status(service->userdata) : json_object(), NULL);
		return;
	}
	if (!endpoint) {
		refuse_unknown(service, word, call);
		return;
	}
	r = codec_parse(subjects[endpoint->row.subject].request,
			message->size ? message->data : "{}", message->size ? message->size : 2,
			CODEC_LENIENT, &call->request, &failure);
	if (r < 0) {
		bus_call_failf(call, FAILURE_INVALID,
			       "check that all programs of this cluster have one version",
			       "cannot decode request %s: %s %s", word,
			       failure.path ? failure.path : "the request", failure.message);
		failure_clear(&failure);
		return;
	}
	endpoint->row.handler(call, call->request, service->userdata);
}

static json_t *endpoint_json(const struct endpoint *endpoint, bool stats)
{
	json_t *json = json_object();

	json_object_set_new(json, "name", json_string(subject_verb(endpoint->row.subject)));
	json_object_set_new(json, "subject", json_string(endpoint->subject));
	json_object_set_new(json, "queue_group", json_string(""));
	if (!stats) {
		json_object_set_new(
			json, "metadata",
			json_pack("{s:s}", "description", subjects[endpoint->row.subject].note));
		return json;
	}
	json_object_set_new(json, "num_requests", json_integer((json_int_t)endpoint->requests));
	json_object_set_new(json, "num_errors", json_integer((json_int_t)endpoint->errors));
	json_object_set_new(json, "last_error",
			    json_utf8(endpoint->last_error ? endpoint->last_error : ""));
	json_object_set_new(json, "processing_time",
			    json_integer((json_int_t)endpoint->usec * 1000));
	json_object_set_new(json, "average_processing_time",
			    json_integer(endpoint->requests ? (json_int_t)(endpoint->usec * 1000 /
									   endpoint->requests)
							    : 0));
	return json;
}

/* $SRV.<PING|INFO|STATS>[.<name>[.<id>]] */
static void on_services(const struct bus_message *message, void *userdata)
{
	struct bus_service *service = userdata;
	_cleanup_(strv_freep) char **words = strv_split(message->subject, ".");
	size_t n = strv_count(words);
	_cleanup_json_ json_t *json = NULL;
	_cleanup_free_ char *text = NULL, *type = NULL;
	json_t *list;
	bool ping;

	if (!message->reply || n < 2 || n > 4 || (n > 2 && !streq(words[2], service->daemon)) ||
	    (n > 3 && !streq(words[3], service->id)))
		return;
	ping = streq(words[1], "PING");
	if (!ping && !streq(words[1], "INFO") && !streq(words[1], "STATS"))
		return;
	type = xasprintf("io.nats.micro.v1.%s_response", ping			   ? "ping"
							 : streq(words[1], "INFO") ? "info"
										   : "stats");
	json = json_pack("{s:s, s:s, s:s, s:s, s:{s:s}}", "type", type, "name", service->daemon,
			 "id", service->id, "version", PLOYZ_VERSION, "metadata", "machine",
			 service->machine);
	if (!ping) {
		bool stats = streq(words[1], "STATS");

		json_object_set_new(json, stats ? "started" : "description",
				    json_string(stats ? service->started : "ployz"));
		list = json_array();
		for (size_t i = 0; i < service->n_endpoints; i++)
			json_array_append_new(list, endpoint_json(&service->endpoints[i], stats));
		json_object_set_new(json, "endpoints", list);
	}
	text = json_text(json);
	if (bus_publish(service->bus, message->reply, NULL, NULL, text, strlen(text)) < 0)
		log_debug("cannot answer %s: the bus is not connected", message->subject);
}

int bus_serve(struct bus *bus, const char *daemon, const char *machine,
	      const struct bus_endpoint *endpoints, size_t count, bus_status_fn status,
	      void *userdata)
{
	_cleanup_free_ char *own = subject_endpoints(machine, daemon),
			    *all = subject_endpoints(NULL, daemon);
	struct bus_service *service = xcalloc(1, sizeof(*service));
	int r;

	service->bus = bus;
	service->daemon = xstrdup(daemon);
	service->machine = xstrdup(machine);
	service->id = id_new();
	service->started = time_format(time_now_usec());
	service->status = status;
	service->userdata = userdata;
	service->endpoints = xcalloc(count, sizeof(*service->endpoints));
	service->n_endpoints = count;
	for (size_t i = 0; i < count; i++) {
		service->endpoints[i].row = endpoints[i];
		service->endpoints[i].subject = subject_make(endpoints[i].subject, machine, NULL);
	}
	service->next = bus->services;
	bus->services = service;
	r = bus_subscribe(bus, own, on_request, service, NULL);
	if (r >= 0)
		r = bus_subscribe(bus, all, on_request, service, NULL);
	if (r >= 0)
		r = bus_subscribe(bus, SERVICES_ALL, on_services, service, NULL);
	return r;
}

int bus_event(struct bus *bus, enum subject_id subject, const char *a, const char *b,
	      const void *object)
{
	_cleanup_free_ char *name = subject_make(subject, a, b);
	_cleanup_free_ char *text = codec_print(subjects[subject].request, object);

	return bus_publish(bus, name, NULL, NULL, text, strlen(text));
}
