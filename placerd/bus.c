/* Bus: the endpoints of placerd, which publishes nothing else. */
#include "placerd/placerd.h"

static void on_probed(struct probe *probe, void *userdata)
{
	bus_call_ok(userdata, probe);
	probe_free(probe);
}

static void on_probe(struct bus_call *call, void *request, void *userdata)
{
	probe_make(userdata, ((struct probe_request *)request)->images, on_probed, call);
}

/* The schema has checked types and ranges; references between the manifest's parts are checked
 * here. */
static void on_plan(struct bus_call *call, void *request, void *userdata)
{
	const struct plan_request *asked = request;
	_cleanup_json_ json_t *json = codec_encode(&manifest_schema, asked->manifest);
	_cleanup_(manifest_freep) struct manifest *checked = NULL;
	struct failure failure = FAILURE_INIT;

	if (manifest_decode(json, &checked, &failure) < 0) {
		failure_prefix(&failure, "manifest");
		bus_call_fail(call, &failure);
		failure_clear(&failure);
		return;
	}
	gather_start(userdata, call, asked);
}

static json_t *status(void *userdata)
{
	const struct placerd *placerd = userdata;

	return json_pack("{s:I,s:I,s:I}", "plans", (json_int_t)placerd->plans, "probes",
			 (json_int_t)placerd->probes, "planning",
			 (json_int_t)gather_count(placerd));
}

int placerd_serve(struct placerd *placerd)
{
	static const struct bus_endpoint verbs[] = {
		{ SUBJECT_PROBE, on_probe },
		{ SUBJECT_PLAN, on_plan },
	};

	return daemon_serve(placerd->daemon, verbs, ARRAY_SIZE(verbs), status, placerd);
}
