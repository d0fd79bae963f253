/* agentd.list: the containers of this machine, with what the engine shows at this moment. */
#include "agentd/agentd.h"

#include <sys/statvfs.h>

/* One answer being gathered: the containers, and each image that was asked for. */
struct listing {
	struct agentd *agentd;
	struct bus_call *call;
	char *ns;
	struct agent_listed listed;
	size_t pending;
};
struct image_query {
	struct listing *listing;
	size_t index;
};

static void disk_space(const struct agentd *agentd, struct agent_listed *listed)
{
	struct statvfs fs;
	const char *root = agentd->engine->root;

	if (!root || statvfs(root, &fs) < 0)
		return;
	listed->disk = (uint64_t)fs.f_blocks * fs.f_frsize;
	listed->disk_free = (uint64_t)fs.f_bavail * fs.f_frsize;
}

static void add_reservations(const struct agentd *agentd, struct agent_listed *listed)
{
	for (struct map_item *i = NULL; (i = map_next(&agentd->locks.map, i));) {
		const struct lock *lock = i->value;
		struct reservation *place;

		if (!lock->held || lock->until <= boot_now_usec())
			continue;
		place = array_add(listed->reservations, listed->n_reservations);
		codec_copy_into(&reservation_schema, place, &lock->reserve);
		free(place->ns);
		place->ns = xstrdup(lock->ns);
		free(place->deploy);
		place->deploy = xstrdup(lock->deploy);
		place->epoch = lock->epoch;
	}
}

static void finish(struct listing *listing)
{
	if (--listing->pending > 0)
		return;
	bus_call_ok(listing->call, &listing->listed);
	codec_clear(&agent_listed_schema, &listing->listed);
	free(listing->ns);
	free(listing);
}

static void on_image(const struct engine_answer *answer, void *userdata)
{
	struct image_query *query = userdata;
	struct listing *listing = query->listing;

	if (engine_ok(answer))
		listing->listed.images[query->index].digest =
			xstrdup(json_string_value(json_object_get(answer->json, "Id")));
	free(query);
	finish(listing);
}

static void ask_images(struct listing *listing, char *const *images)
{
	for (; images && *images; images++) {
		_cleanup_free_ char *name = http_escape(*images, "/:@");
		_cleanup_free_ char *path = xasprintf("/images/%s/json", name);
		struct image_query *query;
		struct image_seen *seen;

		if (!*name)
			continue;
		query = xcalloc(1, sizeof(*query));
		seen = array_add(listing->listed.images, listing->listed.n_images);
		seen->image = xstrdup(*images);
		query->listing = listing;
		query->index = listing->listed.n_images - 1;
		listing->pending++;
		engine_ask(listing->agentd->engine, "GET", path, NULL, ENGINE_INFO_USEC, on_image,
			   query, NULL);
	}
}

void list_instances(const struct agentd *agentd, const char *ns, struct instance **instances,
		    size_t *count)
{
	for (struct map_item *i = NULL; (i = map_next(&agentd->controls, i));) {
		const struct control *control = i->value;

		if (!ns || streq(ns, control->fact->ns))
			codec_copy_into(&instance_schema, array_add(*instances, *count),
					control->fact);
	}
}

/* `<ns>/<service>` of a container that agentd made; owned by the caller; NULL: not agentd's. */
static char *owner_of(const struct agentd *agentd, const struct container_seen *seen)
{
	if (!seen->instance ||
	    !records_owner(agentd->records, seen, agentd->config->daemon.machine))
		return NULL;
	return xasprintf("%s/%s", seen->instance->ns, seen->instance->service);
}

static void add_host_ports(struct listing *listing, struct container_seen *seen)
{
	struct agent_listed *listed = &listing->listed;

	for (size_t i = 0; i < seen->n_host_ports; i++) {
		struct host_port *port = array_add(listed->host_ports, listed->n_host_ports);

		codec_copy_into(&host_port_schema, port, &seen->host_ports[i]);
		port->owner = owner_of(listing->agentd, seen);
	}
}

static void on_containers(const struct engine_answer *answer, void *userdata)
{
	struct listing *listing = userdata;
	struct agent_listed *listed = &listing->listed;
	const json_t *item;
	size_t i;

	if (!engine_ok(answer)) {
		listed->engine = false;
		free(listed->engine_error);
		listed->engine_error = xstrdup(answer->message);
		finish(listing);
		return;
	}
	json_array_foreach (answer->json, i, item) {
		struct container_seen seen;

		container_read(item, listing->agentd->config->network, &seen);
		add_host_ports(listing, &seen);
		container_clear(&seen);
	}
	/* Read now: it includes containers that were being created when the engine was asked. */
	list_instances(listing->agentd, listing->ns, &listed->instances, &listed->n_instances);
	finish(listing);
}

void list_answer(struct agentd *agentd, struct bus_call *call, const struct agent_list *request)
{
	struct listing *listing = xcalloc(1, sizeof(*listing));
	struct agent_listed *listed = &listing->listed;

	listing->agentd = agentd;
	listing->call = call;
	listing->ns = xstrdup(request->command.ns);
	listing->pending = 1;
	codec_init(&agent_listed_schema, listed);
	if (request->command.ns)
		listed->epoch = locks_epoch(&agentd->locks, request->command.ns);
	listed->engine = agentd->engine->up;
	listed->engine_version = xstrdup(agentd->engine->version);
	listed->engine_error = xstrdup(agentd->engine->error);
	listed->arch = xstrdup(agentd->engine->arch);
	disk_space(agentd, listed);
	add_reservations(agentd, listed);
	if (!agentd->engine->up) {
		if (!listed->engine_error)
			listed->engine_error = xstrdup("no answer yet");
		finish(listing);
		return;
	}
	engine_ask(agentd->engine, "GET", "/containers/json?all=1", NULL, ENGINE_INFO_USEC,
		   on_containers, listing, NULL);
	ask_images(listing, request->images);
}
