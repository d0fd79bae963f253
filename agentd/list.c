/* What the engine shows, asked live. */
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
struct image_question {
	struct listing *listing;
	size_t index;
};

static void disk_room(const struct agentd *agentd, struct agent_listed *listed)
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
	struct image_question *question = userdata;
	struct listing *listing = question->listing;

	if (engine_ok(answer))
		listing->listed.images[question->index].digest =
			xstrdup(json_string_value(json_object_get(answer->json, "Id")));
	free(question);
	finish(listing);
}

static void ask_images(struct listing *listing, char *const *images)
{
	for (; images && *images; images++) {
		_cleanup_free_ char *name = http_escape(*images, "/:@");
		_cleanup_free_ char *path = xasprintf("/images/%s/json", name);
		struct image_question *question;
		struct image_seen *seen;

		if (!*name)
			continue;
		question = xcalloc(1, sizeof(*question));
		seen = array_add(listing->listed.images, listing->listed.n_images);
		seen->image = xstrdup(*images);
		question->listing = listing;
		question->index = listing->listed.n_images - 1;
		listing->pending++;
		engine_ask(listing->agentd->engine, "GET", path, NULL, ENGINE_HELLO_USEC, on_image,
			   question, NULL);
	}
}

/* Where agentd looks after it, what it knows goes beyond what a list shows. */
static void add_instance(struct listing *listing, struct container_seen *seen)
{
	const struct control *control = agentd_control(listing->agentd, seen->instance->id);
	struct instance *place;

	if (listing->ns && !streq(listing->ns, seen->instance->ns))
		return;
	place = array_add(listing->listed.instances, listing->listed.n_instances);
	codec_copy_into(&instance_schema, place, control ? control->fact : seen->instance);
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
		listed->engine_error = xstrdup(answer->words);
		finish(listing);
		return;
	}
	json_array_foreach (answer->json, i, item) {
		struct container_seen seen;
		const char *machine = json_string_value(
			json_object_get(json_object_get(item, "Labels"), "ployz.machine"));

		container_read(item, listing->agentd->config->network, &seen);
		if (seen.instance && streq(machine, listing->agentd->config->daemon.machine))
			add_instance(listing, &seen);
		for (size_t j = 0; j < seen.n_host_ports; j++) {
			struct host_port *port =
				array_add(listed->host_ports, listed->n_host_ports);

			*port = seen.host_ports[j];
			seen.host_ports[j].owner = NULL;
		}
		container_clear(&seen);
	}
	finish(listing);
}

void list_answer(struct agentd *agentd, struct bus_call *call, const struct agent_list *request)
{
	struct listing *listing = xcalloc(1, sizeof(*listing));
	struct agent_listed *listed = &listing->listed;

	listing->agentd = agentd;
	listing->call = call;
	listing->ns = xstrdup(request->ns);
	listing->pending = 1;
	codec_init(&agent_listed_schema, listed);
	listed->engine = agentd->engine->up;
	listed->engine_version = xstrdup(agentd->engine->version);
	listed->engine_error = xstrdup(agentd->engine->error);
	listed->arch = xstrdup(agentd->engine->arch);
	disk_room(agentd, listed);
	add_reservations(agentd, listed);
	if (!agentd->engine->up) {
		if (!listed->engine_error)
			listed->engine_error = xstrdup("it has not answered yet");
		finish(listing);
		return;
	}
	engine_ask(agentd->engine, "GET", "/containers/json?all=1", NULL, ENGINE_HELLO_USEC,
		   on_containers, listing, NULL);
	ask_images(listing, request->images);
}
