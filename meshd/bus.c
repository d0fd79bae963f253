/* Bus: the endpoints of meshd.
 *
 * It appends intent.member.<own id>, intent.subnet.*, intent.region.* and facts.<own id>. */
#include "meshd/meshd.h"

static const struct bus_endpoint verbs[] = {
	{ SUBJECT_STORE_USAGE, usage_serve },
	{ SUBJECT_STORE_COMPACT, compact_serve },
	{ SUBJECT_STORE_ACCEPT, accept_serve },
};

static json_t *status(void *userdata)
{
	const struct meshd *meshd = userdata;
	json_t *json =
		json_pack("{s:s, s:s, s:s, s:s}", "machine", meshd->machine, "name", meshd->name,
			  "version", PLOYZ_VERSION, "bootstrap", bootstrap_step_text(meshd));

	if (meshd->marker && meshd->marker->cluster)
		json_object_set_new(json, "cluster", json_string(meshd->marker->cluster));
	if (meshd->subnet >= 0) {
		_cleanup_free_ char *subnet = plan_subnet_text(&meshd->pool, meshd->subnet);

		json_object_set_new(json, "subnet", json_string(subnet));
	}
	if (failure_is_set(&meshd->clone)) {
		json_object_set_new(json, "error", json_utf8(meshd->clone.message));
		json_object_set_new(json, "hint", json_utf8(meshd->clone.hint));
	}
	json_object_set_new(json, "store", watch_status(meshd));
	return json;
}

int meshd_serve(struct meshd *meshd)
{
	return daemon_serve(meshd->daemon, verbs, ARRAY_SIZE(verbs), status, meshd);
}
