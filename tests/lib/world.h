/* Worlds for the planner's test: machines, regions and what is committed, written as text. */
#ifndef PLOYZ_TESTS_WORLD_H
#define PLOYZ_TESTS_WORLD_H

#include "placerd/placerd.h"

#define MEMBERS_MAX 256

/* `m1 zone=a mem=4G …; m2 …; region eu=compute; claim 10 blog a.example; volume data=m2; pin
 * web=id-web:1; missing`. Every machine has every image (id `id-NAME`) unless it says otherwise. A
 * claim is that of the committed deploy unless it names another; `volume` is a record of the own
 * head; `missing`: the own committed manifest is not in the store any more. */
struct world {
	struct member *members[MEMBERS_MAX];
	struct probe *probes[MEMBERS_MAX];
	struct machine_view views[MEMBERS_MAX];
	size_t n_machines;
	struct region *regions[8];
	size_t n_regions;
	struct head *head;
	struct manifest *before;
	struct namespace_view others[4];
	struct head *other_heads[4];
	struct manifest *other_manifests[4];
	size_t n_others;
	struct route_claim *claims[16];
	struct route_claimed claimed[16];
	size_t n_claims;
	const struct head *heads[5];
	struct route_known routes;
	struct pairs pins;
	char **volumes; /* of the own head, from the world's text */
	bool missing;
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
	struct member *member = world->members[i];
	struct probe *probe = world->probes[i];
	const char *is = strchr(word, '=');
	_cleanup_free_ char *key = xstrndup(word, is ? (size_t)(is - word) : strlen(word));
	_cleanup_free_ char *value = xstrdup(is ? is + 1 : "");
	char *colon = strrchr(value, ':');

	if (streq(key, "zone"))
		member->zone = steal(value);
	else if (streq(key, "region"))
		member->region = steal(value);
	else if (streq(key, "life"))
		member->life_cycle = streq(value, "draining") ? MACHINE_DRAINING : MACHINE_STANDBY;
	else if (streq(key, "label"))
		*colon = '\0', pairs_add(&member->labels, value, colon + 1);
	else if (streq(key, "unreachable"))
		world->views[i].probe = NULL, world->views[i].probe_error = "nobody listens";
	else if (streq(key, "unreadable"))
		world->views[i].record_error = "not JSON";
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
	else if (streq(key, "port")) /* PORT:OWNER or PORT:@ADDRESS */
		*colon = '\0',
		*array_add(probe->host_ports, probe->n_host_ports) = (struct host_port){
			.port = strtol(value, NULL, 10),
			.owner = colon[1] && colon[1] != '@' ? xstrdup(colon + 1) : NULL,
			.address = colon[1] == '@' ? xstrdup(colon + 2) : NULL,
		};
	else if (streq(key, "gateway"))
		free(probe->gateway_address), probe->gateway_address = steal(value);
	else if (streq(key, "http"))
		strv_push(&probe->gateway_http, steal(value));
	else if (streq(key, "reserved")) { /* ns:deploy,memory */
		struct reservation *r = array_add(probe->reservations, probe->n_reservations);
		_cleanup_(strv_freep) char **parts = strv_split(value, ":,");

		r->ns = xstrdup(parts[0]);
		r->deploy = xstrdup(parts[1]);
		r->memory = bytes(parts[2]);
	}
}

static void add_machine(struct world *world, char **words)
{
	size_t i = world->n_machines++;

	world->members[i] = codec_new(&member_schema);
	world->members[i]->id = xstrdup(words[0]);
	world->members[i]->life_cycle = MACHINE_ACTIVE;
	world->members[i]->region = xstrdup("r1");
	world->probes[i] = codec_new(&probe_schema);
	*world->probes[i] = (struct probe){
		.machine = xstrdup(words[0]),
		.cores = 4,
		.memory = 4ull << 30,
		.memory_free = 4ull << 30,
		.engine = true,
		.arch = xstrdup("x86_64"),
	};
	world->views[i].member = world->members[i];
	world->views[i].probe = world->probes[i];
	for (char **word = words + 1; *word; word++) {
		if (str_starts(*word, "region="))
			free(steal(world->members[i]->region));
		machine_word(world, i, *word);
	}
}

static void add_region(struct world *world, const char *word)
{
	_cleanup_(strv_freep) char **parts = strv_split(word, "=");
	struct region *region = codec_new(&region_schema);

	region->name = xstrdup(parts[0]);
	while (!streq(region_role_names[region->role], parts[1]))
		region->role++;
	world->regions[world->n_regions++] = region;
}

static void add_claim(struct world *world, char **words)
{
	struct route_claim *claim = codec_new(&route_claim_schema);

	claim->ns = xstrdup(words[1]);
	claim->key = xstrdup(words[2]);
	claim->deploy = xstrdup(words[3] ? words[3] : "old");
	world->claims[world->n_claims] = claim;
	world->claimed[world->n_claims++] =
		(struct route_claimed){ claim, strtoull(words[0], NULL, 10) };
}

static void make_world(struct world *world, const char *text)
{
	_cleanup_(strv_freep) char **parts = strv_split(text, ";");

	for (char **part = parts; part && *part; part++) {
		_cleanup_(strv_freep) char **words = strv_split(*part, " ");

		if (streq(words[0], "region"))
			add_region(world, words[1]);
		else if (streq(words[0], "claim"))
			add_claim(world, words + 1);
		else if (streq(words[0], "volume"))
			strv_push(&world->volumes, xstrdup(words[1]));
		else if (streq(words[0], "missing"))
			world->missing = true;
		else if (streq(words[0], "pin"))
			*strchr(words[1], '=') = '\0', pairs_add(&world->pins, words[1],
								 words[1] + strlen(words[1]) + 1);
		else
			add_machine(world, words);
	}
}

static size_t machine_index(const struct world *world, const char *id)
{
	size_t i = 0;

	while (i < world->n_machines && !streq(world->members[i]->id, id))
		i++;
	return i;
}

static void record_volume(struct head *head, const char *name, const char *machine, int mode)
{
	if (head_volume(head, name, machine))
		return;
	*array_add(head->volumes, head->n_volumes) = (struct head_volume){
		.name = xstrdup(name),
		.machine = xstrdup(machine),
		.mode = mode,
		.driver = VOLUME_DIR,
		.generation = 2,
	};
}

/* `web.0@m1=ready`: what the head names there, and how the machine's probe sees it (absent: not at
 * all). */
static void run_slot(struct world *world, struct head *head, const struct manifest *manifest,
		     const char *word)
{
	_cleanup_(strv_freep) char **parts = strv_split(word, ".@=");
	const struct service *spec = manifest_service(manifest, parts[0]);
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
	for (size_t i = 0; i < spec->n_mounts; i++)
		if (spec->mounts[i].volume)
			record_volume(head, spec->mounts[i].volume, parts[2],
				      manifest_volume(manifest, spec->mounts[i].volume)->mode);
	if (!parts[3] || at == world->n_machines)
		return;
	seen = array_add(world->probes[at]->instances, world->probes[at]->n_instances);
	*seen = (struct instance){ .id = xstrdup(slot->instance),
				   .ns = xstrdup(head->ns),
				   .service = xstrdup(parts[0]),
				   .slot = slot->slot,
				   .exit_code = -1,
				   .image = xstrdup(spec->image),
				   .digest = xstrdup(digest) };
	while (!streq(instance_state_names[seen->state], parts[3]))
		seen->state++;
}

static struct head *make_head(struct world *world, const struct manifest *manifest,
			      const char *running)
{
	struct head *head = codec_new(&head_schema);
	_cleanup_(strv_freep) char **words = strv_split(running ? running : "", " ");

	head->ns = xstrdup(manifest->ns);
	head->revision = 3;
	head->release = 7;
	head->deploy = xstrdup("old");
	head->hash = manifest_hash(manifest);
	head_take_routes(head, manifest);
	for (size_t i = 0; i < manifest->n_services; i++) {
		struct head_service *service = array_add(head->services, head->n_services);

		service->name = xstrdup(manifest->services[i].name);
		service->digest = image_id(manifest->services[i].image);
	}
	for (char **word = words; word && *word; word++)
		run_slot(world, head, manifest, *word);
	return head;
}

/* What is committed of the own namespace, and of another one. */
static void commit(struct world *world, const char *manifest, const char *running)
{
	struct manifest *before = from_text(&manifest_schema, manifest);

	world->head = make_head(world, before, running);
	for (char **volume = world->volumes; volume && *volume; volume++) {
		_cleanup_(strv_freep) char **parts = strv_split(*volume, "=:");

		record_volume(world->head, parts[0], parts[1],
			      streq(parts[2], "shared") ? VOLUME_SHARED : VOLUME_EXCLUSIVE);
	}
	world->before = before;
}

static void commit_other(struct world *world, const char *manifest, const char *running)
{
	size_t i = world->n_others++;

	world->other_manifests[i] = from_text(&manifest_schema, manifest);
	world->other_heads[i] = make_head(world, world->other_manifests[i], running);
	world->others[i] =
		(struct namespace_view){ world->other_heads[i], world->other_manifests[i] };
}

/* The planner's input; borrowed from the world. */
static struct plan_input input_of(struct world *world, const struct manifest *manifest)
{
	size_t n_heads = 0;

	if (world->head)
		world->heads[n_heads++] = world->head;
	for (size_t i = 0; i < world->n_others; i++)
		world->heads[n_heads++] = world->other_heads[i];
	world->routes = (struct route_known){ .claims = world->claimed,
					      .n_claims = world->n_claims,
					      .heads = world->heads,
					      .n_heads = n_heads };
	return (struct plan_input){
		.manifest = manifest,
		.digests = &world->pins,
		.head = world->head,
		.entry = world->head ? 43 : 0,
		.sequence = world->head ? 41 : 0,
		.before = world->missing ? NULL : world->before,
		.others = world->others,
		.n_others = world->n_others,
		.machines = world->views,
		.n_machines = world->n_machines,
		.regions = (const struct region *const *)world->regions,
		.n_regions = world->n_regions,
		.routes = &world->routes,
		.deploy = "d1",
	};
}

static void end_world(struct world *world)
{
	for (size_t i = 0; i < world->n_machines; i++) {
		member_free(world->members[i]);
		probe_free(world->probes[i]);
	}
	for (size_t i = 0; i < world->n_regions; i++)
		region_free(world->regions[i]);
	for (size_t i = 0; i < world->n_others; i++) {
		head_free(world->other_heads[i]);
		manifest_free(world->other_manifests[i]);
	}
	for (size_t i = 0; i < world->n_claims; i++)
		route_claim_free(world->claims[i]);
	head_free(world->head);
	manifest_free(world->before);
	pairs_free(&world->pins);
	strv_free(world->volumes);
}

#endif
