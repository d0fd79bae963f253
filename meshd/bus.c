#include "meshd/meshd.h"

/* The doorplate. meshd is asked for its status alone; `status` is every daemon's.
 *
 * It says: intent.machine.<own id>, intent.subnet.*, intent.region.*, each by compare-and-set. */

static json_t *status(void *userdata)
{
	const struct meshd *meshd = userdata;
	json_t *json =
		json_pack("{s:s, s:s, s:s, s:s}", "machine", meshd->machine, "name", meshd->name,
			  "version", PLOYZ_VERSION, "founding", founding_words(meshd));

	if (meshd->subnet >= 0) {
		_cleanup_free_ char *subnet = plan_subnet_text(&meshd->pool, meshd->subnet);

		json_object_set_new(json, "subnet", json_string(subnet));
	}
	json_object_set_new(json, "store", watch_status(meshd));
	return json;
}

int meshd_serve(struct meshd *meshd)
{
	return daemon_serve(meshd->daemon, NULL, 0, status, meshd);
}
