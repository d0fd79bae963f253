/* Creating, updating and deleting streams, and counting the entries of their subjects. */
#include "lib/str.h"
#include "lib/stream-private.h"

#define MANAGE_USEC 10000000ull /* creating a stream syncs its directory */

static const char *const verbs[] = {
	[STREAM_CREATE] = "STREAM.CREATE",
	[STREAM_UPDATE] = "STREAM.UPDATE",
	[STREAM_DELETE] = "STREAM.DELETE",
};

struct manage_call {
	char *stream;
	stream_done_fn fn;
	void *userdata;
};

static void manage_call_free(void *p)
{
	struct manage_call *call = p;

	free(call->stream);
	free(call);
}

static void on_managed(int error, const struct bus_message *reply, void *userdata)
{
	struct manage_call *call = userdata;
	struct failure failure = FAILURE_INIT;
	_cleanup_json_ json_t *json = NULL;

	if (error < 0) {
		stream_transport_failure(error, call->stream, &failure);
	} else {
		json = json_loadb(reply->data, reply->size, 0, NULL);
		if (json_is_object(json))
			stream_api_error(json, call->stream, &failure);
		else
			failure_set(&failure, FAILURE_BUG, "read the store's log",
				    "cannot decode the store's answer for %s", call->stream);
	}
	call->fn(failure_is_set(&failure) ? &failure : NULL, call->userdata);
	failure_clear(&failure);
	manage_call_free(call);
}

void stream_manage(struct bus *bus, const char *domain, enum stream_verb verb, const char *stream,
		   const json_t *config, stream_done_fn fn, void *userdata,
		   struct bus_request **ret)
{
	_cleanup_free_ char *api = stream_api(domain, verbs[verb], stream, NULL);
	_cleanup_free_ char *text = config ? json_text(config) : xstrdup("");
	struct manage_call *call = xcalloc(1, sizeof(*call));
	struct bus_request *handle;

	call->stream = xstrdup(stream);
	call->fn = fn;
	call->userdata = userdata;
	bus_request(bus, api, NULL, text, strlen(text), MANAGE_USEC, on_managed, call, &handle);
	bus_request_own(handle, manage_call_free);
	if (ret)
		*ret = handle;
}
