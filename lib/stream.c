/* Streams: appending to, reading from and describing them, through JetStream's wire API. */
#include "lib/stream.h"

#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>

#include "lib/log.h"
#include "lib/str.h"
#include "lib/stream-private.h"

#define APPEND_USEC 5000000ull
#define MANAGE_USEC 10000000ull /* creating a stream syncs its directory */

/* A request to JetStream's API or to a stream's subject, and its callback. */
struct js_call {
	char *what; /* for messages: the subject or the stream */
	union {
		stream_append_fn append;
		stream_entry_fn entry;
		stream_done_fn done;
		stream_info_fn info;
	} fn;
	void *userdata;
};

static void js_call_free(void *p)
{
	struct js_call *call = p;

	free(call->what);
	free(call);
}

static struct js_call *js_call_new(const char *what, void *userdata)
{
	struct js_call *call = xcalloc(1, sizeof(*call));

	call->what = xstrdup(what);
	call->userdata = userdata;
	return call;
}

char *stream_api(const char *domain, const char *what, const char *stream, const char *more)
{
	return xasprintf("$JS.%s.API.%s%s%s%s%s", domain, what, stream ? "." : "",
			 stream ? stream : "", more ? "." : "", more ? more : "");
}

int stream_transport_failure(int error, const char *what, struct failure *failure)
{
	switch (error) {
	case -EHOSTUNREACH:
		return failure_set(failure, FAILURE_NO_QUORUM,
				   "is the store running and linked to the local bus? `ployzctl "
				   "status` shows it",
				   "cannot use %s: the store does not answer", what);
	case -ETIMEDOUT:
		return failure_set(failure, FAILURE_NO_QUORUM,
				   "it may be electing a leader: try again in 10 s",
				   "cannot use %s: the store did not answer in time", what);
	case -EMSGSIZE:
		return failure_set(
			failure, FAILURE_TOO_LARGE, "shorten it: files and env count",
			"cannot append to %s: the entry is larger than the bus limit of %u MiB",
			what, BUS_PAYLOAD_MAX >> 20);
	default:
		return failure_set(failure, FAILURE_UNREACHABLE,
				   "start nats-server on this machine",
				   "the local bus is not connected");
	}
}

int stream_api_error(const json_t *json, const char *what, struct failure *failure)
{
	const json_t *error = json_object_get(json, "error");
	int code = (int)json_integer_value(json_object_get(error, "err_code"));
	const char *text = json_string_value(json_object_get(error, "description"));

	if (!error)
		return 0;
	if (code == JS_ERR_STORE_FAILED && text && stream_disk_full(text, NULL, failure))
		return code;
	failure_set(failure, code == JS_ERR_STREAM_NOT_FOUND ? FAILURE_NOT_FOUND : FAILURE_REFUSED,
		    "`ployzctl status` shows the store's free space; read its log",
		    "cannot use %s: the store refuses it: %s (JetStream error %d)", what,
		    text ? text : "no reason given", code);
	return code ? code : -1;
}

/* Code 503: the store cannot do it now. One replica that could not write to its disk answers this
 * although the others may have stored the entry. Only a limit of the stream itself (`maximum bytes
 * exceeded`), which carries the same code, is the same on each replica. */
static bool is_temporary(const json_t *json)
{
	const json_t *error = json_object_get(json, "error");
	const char *text = json_string_value(json_object_get(error, "description"));

	return json_integer_value(json_object_get(error, "code")) == 503 &&
	       !str_starts(text ? text : "", "maximum ");
}

static void on_appended(int error, const struct bus_message *reply, void *userdata)
{
	struct js_call *call = userdata;
	struct failure failure = FAILURE_INIT;
	_cleanup_json_ json_t *json = NULL;
	enum stream_outcome outcome = STREAM_DONE;
	uint64_t sequence = 0;
	int code;

	if (error < 0) {
		stream_transport_failure(error, call->what, &failure);
		outcome = error == -EMSGSIZE ? STREAM_REFUSED : STREAM_UNKNOWN;
	} else {
		json = json_loadb(reply->data, reply->size, 0, NULL);
		code = stream_api_error(json, call->what, &failure);
		sequence = (uint64_t)json_integer_value(json_object_get(json, "seq"));
		if (code == JS_ERR_WRONG_LAST_SEQUENCE ||
		    code == JS_ERR_WRONG_LAST_SEQUENCE_CONSTANT) {
			outcome = STREAM_CONFLICT;
			failure_set(&failure, FAILURE_STALE, "read it again and retry",
				    "cannot append to %s: another writer changed it", call->what);
		} else if (code != 0) {
			outcome = is_temporary(json) ? STREAM_UNKNOWN : STREAM_REFUSED;
		} else if (!sequence) {
			/* Neither an acknowledgement nor an error: treated as no answer. */
			outcome = STREAM_UNKNOWN;
			failure_set(&failure, FAILURE_NO_QUORUM, "read the store's log",
				    "cannot decode the store's answer for %s", call->what);
		}
	}
	call->fn.append(outcome, sequence, outcome == STREAM_DONE ? NULL : &failure,
			call->userdata);
	failure_clear(&failure);
	js_call_free(call);
}

void stream_append(struct bus *bus, const struct stream_append *append, stream_append_fn fn,
		   void *userdata, struct bus_request **ret)
{
	struct bus_headers headers = { .count = 0 };
	struct js_call *call = js_call_new(append->subject, userdata);
	struct bus_request *handle;
	char number[24];

	call->fn.append = fn;
	if (append->expected != STREAM_ANY) {
		snprintf(number, sizeof(number), "%" PRIu64, append->expected);
		headers.keys[headers.count] = "Nats-Expected-Last-Subject-Sequence";
		headers.values[headers.count++] = number;
	}
	bus_request(bus, append->subject, &headers, append->data, append->size,
		    append->timeout_usec ? append->timeout_usec : APPEND_USEC, on_appended, call,
		    &handle);
	bus_request_own(handle, js_call_free);
	if (ret)
		*ret = handle;
}

/* STREAM.MSG.GET's message, its data from base64. */
static int entry_decode(const json_t *message, struct stream_entry *entry, char **ret_data)
{
	const char *encoded = json_string_value(json_object_get(message, "data"));
	const char *time = json_string_value(json_object_get(message, "time"));
	size_t room = encoded ? strlen(encoded) : 0;
	_cleanup_free_ char *data = xmalloc(room + 1);

	entry->subject = json_string_value(json_object_get(message, "subject"));
	entry->sequence = (uint64_t)json_integer_value(json_object_get(message, "seq"));
	if (!entry->subject || !entry->sequence)
		return -EBADMSG;
	if (encoded && sodium_base642bin((unsigned char *)data, room + 1, encoded, room, NULL,
					 &entry->size, NULL, sodium_base64_VARIANT_ORIGINAL) != 0)
		return -EBADMSG;
	data[entry->size] = '\0';
	if (time_parse(time, &entry->time_usec) < 0)
		entry->time_usec = 0;
	entry->data = data;
	*ret_data = steal(data);
	return 0;
}

static void on_message(int error, const struct bus_message *reply, void *userdata)
{
	struct js_call *call = userdata;
	struct failure failure = FAILURE_INIT;
	_cleanup_json_ json_t *json = NULL;
	struct stream_entry entry = { 0 };
	_cleanup_free_ char *data = NULL;
	int code = 0;

	if (error < 0) {
		stream_transport_failure(error, call->what, &failure);
	} else {
		json = json_loadb(reply->data, reply->size, 0, NULL);
		code = stream_api_error(json, call->what, &failure);
		if (code == JS_ERR_NO_MESSAGE)
			failure_clear(&failure);
		else if (code == 0 &&
			 entry_decode(json_object_get(json, "message"), &entry, &data) < 0)
			failure_set(&failure, FAILURE_BUG, "read the store's log",
				    "cannot decode the store's answer for %s", call->what);
	}
	call->fn.entry(failure_is_set(&failure) ? &failure : NULL, data ? &entry : NULL,
		       call->userdata);
	failure_clear(&failure);
	js_call_free(call);
}

static void message_get(struct bus *bus, const char *domain, const char *stream,
			const json_t *which, const char *what, uint64_t timeout_usec,
			stream_entry_fn fn, void *userdata, struct bus_request **ret)
{
	_cleanup_free_ char *api = stream_api(domain, "STREAM.MSG.GET", stream, NULL);
	_cleanup_free_ char *text = json_text(which);
	struct js_call *call = js_call_new(what, userdata);
	struct bus_request *handle;

	call->fn.entry = fn;
	bus_request(bus, api, NULL, text, strlen(text), timeout_usec, on_message, call, &handle);
	bus_request_own(handle, js_call_free);
	if (ret)
		*ret = handle;
}

void stream_last(struct bus *bus, const char *domain, const char *stream, const char *filter,
		 uint64_t timeout_usec, stream_entry_fn fn, void *userdata,
		 struct bus_request **ret)
{
	_cleanup_json_ json_t *which = json_pack("{s:s}", "last_by_subj", filter);

	message_get(bus, domain, stream, which, filter, timeout_usec, fn, userdata, ret);
}

void stream_next(struct bus *bus, const char *domain, const char *stream, const char *filter,
		 uint64_t sequence, uint64_t timeout_usec, stream_entry_fn fn, void *userdata,
		 struct bus_request **ret)
{
	_cleanup_json_ json_t *which =
		json_pack("{s:I, s:s}", "seq", (json_int_t)sequence, "next_by_subj", filter);

	message_get(bus, domain, stream, which, filter, timeout_usec, fn, userdata, ret);
}

void stream_at(struct bus *bus, const char *domain, const char *stream, uint64_t sequence,
	       uint64_t timeout_usec, stream_entry_fn fn, void *userdata, struct bus_request **ret)
{
	_cleanup_json_ json_t *which = json_pack("{s:I}", "seq", (json_int_t)sequence);
	_cleanup_free_ char *what = xasprintf("entry %" PRIu64 " of %s", sequence, stream);

	message_get(bus, domain, stream, which, what, timeout_usec, fn, userdata, ret);
}

static void on_info(int error, const struct bus_message *reply, void *userdata)
{
	struct js_call *call = userdata;
	struct failure failure = FAILURE_INIT;
	_cleanup_json_ json_t *json = NULL;

	if (error < 0) {
		stream_transport_failure(error, call->what, &failure);
	} else {
		json = json_loadb(reply->data, reply->size, 0, NULL);
		if (!json_is_object(json))
			failure_set(&failure, FAILURE_BUG, "read the store's log",
				    "cannot decode the store's answer for %s", call->what);
		else
			stream_api_error(json, call->what, &failure);
	}
	call->fn.info(failure_is_set(&failure) ? &failure : NULL,
		      failure_is_set(&failure) ? NULL : json, call->userdata);
	failure_clear(&failure);
	js_call_free(call);
}

static void info_get(struct bus *bus, const char *domain, const char *stream, const char *request,
		     uint64_t timeout_usec, stream_info_fn fn, void *userdata,
		     struct bus_request **ret)
{
	_cleanup_free_ char *api = stream_api(domain, "STREAM.INFO", stream, NULL);
	struct js_call *call = js_call_new(stream, userdata);
	struct bus_request *handle;

	call->fn.info = fn;
	bus_request(bus, api, NULL, request, strlen(request), timeout_usec, on_info, call, &handle);
	bus_request_own(handle, js_call_free);
	if (ret)
		*ret = handle;
}

void stream_info(struct bus *bus, const char *domain, const char *stream, uint64_t timeout_usec,
		 stream_info_fn fn, void *userdata, struct bus_request **ret)
{
	info_get(bus, domain, stream, "", timeout_usec, fn, userdata, ret);
}

void stream_info_subjects(struct bus *bus, const char *domain, const char *stream,
			  uint64_t timeout_usec, stream_info_fn fn, void *userdata,
			  struct bus_request **ret)
{
	info_get(bus, domain, stream, "{\"subjects_filter\":\">\"}", timeout_usec, fn, userdata,
		 ret);
}

/* stream_ensure: create; where the name is in use with another configuration, update. */
struct ensure {
	struct bus *bus;
	char *domain;
	json_t *config;
	bool updating;
	stream_done_fn fn;
	void *userdata;
};

static void ensure_free(void *p)
{
	struct ensure *ensure = p;

	free(ensure->domain);
	json_decref(ensure->config);
	free(ensure);
}

static void ensure_send(struct ensure *ensure);

static void on_ensured(int error, const struct bus_message *reply, void *userdata)
{
	struct ensure *ensure = userdata;
	const char *name = json_string_value(json_object_get(ensure->config, "name"));
	struct failure failure = FAILURE_INIT;
	_cleanup_json_ json_t *json = NULL;
	int code = 0;

	if (error < 0) {
		stream_transport_failure(error, name, &failure);
	} else {
		json = json_loadb(reply->data, reply->size, 0, NULL);
		code = stream_api_error(json, name, &failure);
	}
	if (code == JS_ERR_STREAM_NAME_IN_USE && !ensure->updating) {
		ensure->updating = true;
		failure_clear(&failure);
		ensure_send(ensure);
		return;
	}
	ensure->fn(failure_is_set(&failure) ? &failure : NULL, ensure->userdata);
	failure_clear(&failure);
	ensure_free(ensure);
}

static void ensure_send(struct ensure *ensure)
{
	const char *name = json_string_value(json_object_get(ensure->config, "name"));
	_cleanup_free_ char *api = stream_api(
		ensure->domain, ensure->updating ? "STREAM.UPDATE" : "STREAM.CREATE", name, NULL);
	_cleanup_free_ char *text = json_text(ensure->config);
	struct bus_request *handle;

	bus_request(ensure->bus, api, NULL, text, strlen(text), MANAGE_USEC, on_ensured, ensure,
		    &handle);
	bus_request_own(handle, ensure_free);
}

void stream_ensure(struct bus *bus, const char *domain, const json_t *config, stream_done_fn fn,
		   void *userdata)
{
	struct ensure *ensure = xcalloc(1, sizeof(*ensure));

	ensure->bus = bus;
	ensure->domain = xstrdup(domain);
	ensure->config = json_incref((json_t *)config);
	ensure->fn = fn;
	ensure->userdata = userdata;
	ensure_send(ensure);
}
