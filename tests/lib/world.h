/* Worlds for the planner's test: machines, regions and what is committed, written in words. */
#ifndef PLOYZ_TESTS_WORLD_H
#define PLOYZ_TESTS_WORLD_H

#include "placerd/placerd.h"

#define MEMBERS_MAX 256

/* Worlds are written as words: `m1 zone=a mem=4G …; m2 …; region eu=compute`. Every machine has
 * every image (id `id-NAME`) unless it says otherwise. */
struct world {
	struct machine *machines[MEMBERS_MAX];
	struct probe *probes[MEMBERS_MAX];
	struct sight sights[MEMBERS_MAX];
	size_t n_machines;
	struct region *regions[8];
	size_t n_regions;
	struct head *head;
	struct head *others[4];
	size_t n_others;
};

/* Rows are easier read with ' than with \". */
static void *from_text(const struct codec_schema *schema, const char *text)
{
	_cleanup_free_ char *json = xstrdup(text);
	struct failure failure = FAILURE_INIT;
	void *object = NULL;

	for (char *p = json; *p; p++)
		if (*p == '\'')
			*p = '"';
	if (codec_parse(schema, json, strlen(json), CODEC_STRICT, &object, &failure) < 0) {
		printf("Bail out! %s: %s: %s\n", text, failure.path ? failure.path : "",
		       failure.message);
		exit(1);
	}
	return object;
}

static char *image_id(const char *image)
{
	return xasprintf("id-%s", image);
}

static void see_image(struct probe *probe, const char *image, const char *digest)
{
	for (size_t i = 0; i < probe->n_images; i++)
		if (streq(probe->images[i].image, image))
			return;
	*array_add(probe->images, probe->n_images) =
		(struct image_seen){ .image = xstrdup(image), .digest = xstrdup(digest) };
}

static uint64_t bytes(const char *text)
{
	uint64_t value = 0;

	size_parse(text, &value);
	return value;
}

static void machine_word(struct world *world, size_t i, const char *word)
{
	struct machine *machine = world->machines[i];
	struct probe *probe = world->probes[i];
	const char *is = strchr(word, '=');
	_cleanup_free_ char *key = xstrndup(word, is ? (size_t)(is - word) : strlen(word));
	_cleanup_free_ char *value = xstrdup(is ? is + 1 : "");
	char *colon = strrchr(value, ':');

	if (streq(key, "zone"))
		machine->zone = steal(value);
	else if (streq(key, "region"))
		machine->region = steal(value);
	else if (streq(key, "life"))
		machine->life_cycle = streq(value, "draining") ? MACHINE_DRAINING : MACHINE_STANDBY;
	else if (streq(key, "label"))
		*colon = '\0', pairs_add(&machine->labels, value, colon + 1);
	else if (streq(key, "silent"))
		world->sights[i].probe = NULL, world->sights[i].silence = "nobody listens";
	else if (streq(key, "engine"))
		probe->engine = false, probe->engine_error = steal(value);
	else if (streq(key, "mem"))
		probe->memory = probe->memory_free = bytes(value);
	else if (streq(key, "free"))
		probe->memory_free = bytes(value);
	else if (streq(key, "cpus"))
		probe->cores = strtol(value, NULL, 10);
	else if (streq(key, "arch"))
		free(probe->arch), probe->arch = steal(value);
	else if (streq(key, "image"))
		colon = strchr(value, '@'), *colon = '\0',
		see_image(probe, value, colon[1] ? colon + 1 : NULL);
	else if (streq(key, "port"))
		*colon = '\0',
		*array_add(probe->host_ports, probe->n_host_ports) =
			(struct host_port){ .port = strtol(value, NULL, 10),
					    .owner = colon[1] ? xstrdup(colon + 1) : NULL };
	else if (streq(key, "reserved")) { /* ns:deploy,memory or a route */
		struct reservation *r = array_add(probe->reservations, probe->n_reservations);
		_cleanup_(strv_freep) char **parts = strv_split(value, ":,");

		r->ns = xstrdup(parts[0]);
		r->deploy = xstrdup(parts[1]);
		if (strchr(parts[2], '/'))
			strv_push(&r->routes, xstrdup(parts[2]));
		else
			r->memory = bytes(parts[2]);
	}
}

static void add_machine(struct world *world, char **words)
{
	size_t i = world->n_machines++;

	world->machines[i] = codec_new(&machine_schema);
	world->machines[i]->id = xstrdup(words[0]);
	world->machines[i]->life_cycle = MACHINE_ACTIVE;
	world->machines[i]->region = xstrdup("r1");
	world->probes[i] = codec_new(&probe_schema);
	*world->probes[i] = (struct probe){
		.machine = xstrdup(words[0]),
		.cores = 4,
		.memory = 4ull << 30,
		.memory_free = 4ull << 30,
		.engine = true,
		.arch = xstrdup("x86_64"),
	};
	world->sights[i].machine = world->machines[i];
	world->sights[i].probe = world->probes[i];
	for (char **word = words + 1; *word; word++) {
		if (str_starts(*word, "region="))
			free(steal(world->machines[i]->region));
		machine_word(world, i, *word);
	}
}

static void make_world(struct world *world, const char *text)
{
	_cleanup_(strv_freep) char **parts = strv_split(text, ";");

	for (char **part = parts; part && *part; part++) {
		_cleanup_(strv_freep) char **words = strv_split(*part, " ");
		struct region *region;
		char *is;

		if (!streq(words[0], "region")) {
			add_machine(world, words);
			continue;
		}
		region = codec_new(&region_schema);
		is = strchr(words[1], '=');
		*is = '\0';
		region->name = xstrdup(words[1]);
		while (!streq(region_role_names[region->role], is + 1))
			region->role++;
		world->regions[world->n_regions++] = region;
	}
}

static size_t machine_index(const struct world *world, const char *id)
{
	size_t i = 0;

	while (i < world->n_machines && !streq(world->machines[i]->id, id))
		i++;
	return i;
}

/* `web.0@m1=ready`: what the head names there, and how the machine's probe sees it (absent: not at
 * all). */
static void run_slot(struct world *world, struct head *head, const char *word)
{
	_cleanup_(strv_freep) char **parts = strv_split(word, ".@=");
	const struct service *spec = manifest_service(head->manifest, parts[0]);
	_cleanup_free_ char *digest = image_id(spec->image);
	struct head_service *service = head->services;
	struct slot *slot;
	size_t at = machine_index(world, parts[2]);
	struct instance *seen;

	while (!streq(service->name, parts[0]))
		service++;
	slot = array_add(service->slots, service->n_slots);
	slot->slot = strtol(parts[1], NULL, 10);
	slot->machine = xstrdup(parts[2]);
	slot->deploy = xstrdup("old");
	slot->instance = instance_id(head->ns, parts[0], slot->slot, "old");
	slot->hash = service_hash(spec, digest);
	if (!parts[3] || at == world->n_machines)
		return;
	seen = array_add(world->probes[at]->instances, world->probes[at]->n_instances);
	*seen = (struct instance){ .id = xstrdup(slot->instance),
				   .ns = xstrdup(head->ns),
				   .service = xstrdup(parts[0]),
				   .slot = slot->slot,
				   .exit_code = -1,
				   .digest = xstrdup(digest) };
	while (!streq(instance_state_names[seen->state], parts[3]))
		seen->state++;
}

static struct head *make_head(struct world *world, const char *manifest, const char *running)
{
	struct head *head = codec_new(&head_schema);
	_cleanup_(strv_freep) char **words = strv_split(running ? running : "", " ");

	head->manifest = from_text(&manifest_schema, manifest);
	head->ns = xstrdup(head->manifest->ns);
	head->revision = 3;
	head->deploy = xstrdup("old");
	head->hash = manifest_hash(head->manifest);
	for (size_t i = 0; i < head->manifest->n_services; i++) {
		struct head_service *service = array_add(head->services, head->n_services);

		service->name = xstrdup(head->manifest->services[i].name);
		service->digest = image_id(head->manifest->services[i].image);
	}
	for (char **word = words; word && *word; word++)
		run_slot(world, head, *word);
	return head;
}

static void end_world(struct world *world)
{
	for (size_t i = 0; i < world->n_machines; i++) {
		machine_free(world->machines[i]);
		probe_free(world->probes[i]);
	}
	for (size_t i = 0; i < world->n_regions; i++)
		region_free(world->regions[i]);
	for (size_t i = 0; i < world->n_others; i++)
		head_free(world->others[i]);
	head_free(world->head);
}

#endif
