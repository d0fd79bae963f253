/* Health of the servers that keep the streams, and the meaning of their error texts. */
#include <errno.h>

#include "lib/str.h"
#include "lib/stream-private.h"
#include "lib/stream.h"

#define HEALTH "$HEALTH."
#define STORE_NAME "store-" /* prefix of a store's server name, before the machine's id */

struct health_call {
	stream_health_fn fn;
	void *userdata;
};

char *stream_health_subject(const char *domain)
{
	return xasprintf(HEALTH "%s", domain);
}

bool stream_disk_full(const char *message, const char *server, struct failure *failure)
{
	_cleanup_free_ char *where = NULL;

	if (!strstr(message, "no space left on device") && !strstr(message, "disk quota exceeded"))
		return false;
	if (str_starts(server ? server : "", STORE_NAME))
		where = xasprintf(" on machine %s", server + strlen(STORE_NAME));
	failure_set(
		failure, FAILURE_REFUSED,
		"free space on that disk; writing then continues by itself, and running instances "
		"are not affected (`ployzctl status` shows the disks)",
		"the store's disk%s is full: %s", where ? where : "", message);
	return true;
}

static void on_health(int error, const struct bus_message *reply, void *userdata)
{
	struct health_call *call = userdata;
	struct failure failure = FAILURE_INIT;
	_cleanup_json_ json_t *json = NULL;
	const json_t *data;
	const char *status, *message;

	if (error < 0) {
		stream_transport_failure(error, "its health", &failure);
		call->fn(&failure, NULL, NULL, call->userdata);
		failure_clear(&failure);
		free(call);
		return;
	}
	json = json_loadb(reply->data, reply->size, 0, NULL);
	data = json_object_get(json, "data");
	status = json_string_value(json_object_get(data, "status"));
	message = json_string_value(json_object_get(data, "error"));
	call->fn(NULL, json_string_value(json_object_get(json_object_get(json, "server"), "name")),
		 streq(status, "ok") ? NULL
		 : message	     ? message
				     : "it names no reason",
		 call->userdata);
	free(call);
}

void stream_health(struct bus *bus, const char *domain, uint64_t timeout_usec, stream_health_fn fn,
		   void *userdata, struct bus_request **ret)
{
	_cleanup_free_ char *subject = stream_health_subject(domain);
	struct health_call *call = xcalloc(1, sizeof(*call));
	struct bus_request *handle;

	call->fn = fn;
	call->userdata = userdata;
	bus_request(bus, subject, NULL, "", 0, timeout_usec, on_health, call, &handle);
	bus_request_own(handle, free);
	if (ret)
		*ret = handle;
}
