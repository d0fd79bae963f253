/* A plan, made from arbitrary entries of the store and arbitrary probes of other machines: its
 * asker can decode it, it names members only, has each slot once, no more slots than replicas, an
 * exclusive volume only where it is recorded, and is the same when it is made again.
 *
 * Steps of one byte: a manifest, a head with its manifest, a committed manifest with slots on the
 * members, a machine with its probe, a region, a route claim, a pinned image; as text, or made of
 * the bytes that follow.
 *
 * covers: placerd/plan.c placerd/host.c placerd/filter.c placerd/choose.c placerd/keep.c
 * placerd/slots.c placerd/volume.c placerd/routes.c placerd/address.c placerd/diff.c
 * lib/model/route-owner.c
 *
 * options: -max_len=1600 */
#include "placerd/placerd.h"
#include "tests/fuzz/generate.h"

#define STEPS_MAX 10
#define MACHINES_MAX 4
#define OTHERS_MAX 2

#define CLAIMS_MAX 3

struct world {
	struct manifest *manifest;
	struct head *heads[1 + OTHERS_MAX]; /* the own one (or NULL), then others */
	struct manifest *manifests[1 + OTHERS_MAX];
	size_t n_others;
	struct member *members[MACHINES_MAX];
	struct probe *probes[MACHINES_MAX];
	size_t n_machines;
	struct region *region;
	struct route_claim *claims[CLAIMS_MAX];
	size_t n_claims;
	struct pairs pins;
};

static void *take(struct cursor *c, const struct codec_schema *schema)
{
	_cleanup_json_ json_t *json = NULL;
	_cleanup_free_ char *text = NULL;
	void *object = NULL;

	if (cursor_byte(c) % 8 == 0) {
		text = cursor_string(c);
		json = json_loads(text, 0, NULL);
	} else {
		json = generate(c, schema);
	}
	codec_decode_new(schema, json, CODEC_LENIENT, &object, NULL);
	return object;
}

/* A manifest that reaches the planner has passed its check. NULL: none. */
static struct manifest *take_manifest(struct cursor *c)
{
	static const char *const known[] = {
		"{\"namespace\":\"shop\",\"services\":{\"web\":{\"image\":\"x\",\"replicas\":3,"
		"\"ports\":{\"http\":{"
		"\"port\":80}},\"routes\":[{\"http\":{\"port\":\"http\",\"hosts\":[\"shop."
		"example\"]}}]}}}",
		"{\"namespace\":\"shop\",\"services\":{\"web\":{\"image\":\"x\",\"replicas\":"
		"\"global\"},\"db\":{"
		"\"image\":\"y\",\"mounts\":[{\"volume\":\"data\",\"target\":\"/"
		"d\"}],\"resources\":{\"memory\":"
		"\"64M\",\"cpus\":1}}},\"volumes\":{\"data\":{}}}",
		"{\"namespace\":\"shop\",\"services\":{\"web\":{\"image\":\"x\",\"replicas\":2,"
		"\"ports\":{\"http\":{"
		"\"port\":80}},\"publish\":[{\"port\":\"http\",\"host_port\":8080}],\"placement\":{"
		"\"zones\":[\"web\"],"
		"\"spread\":\"machine\"},\"routes\":[{\"tcp\":{\"port\":\"http\",\"listen\":5432}}]"
		"}}}",
		"{\"namespace\":\"shop\",\"services\":{}}",
	};
	uint8_t which = cursor_byte(c);
	_cleanup_json_ json_t *json = NULL;
	struct manifest *manifest = NULL;

	json = which < 192 ? json_loads(known[which % ARRAY_SIZE(known)], 0, NULL)
			   : generate(c, &manifest_schema);
	return manifest_decode(json, &manifest, NULL) < 0 ? NULL : manifest;
}

/* The store has one record of each machine; a probe that names another machine is refused by the
 * asker. */
static void take_machine(struct world *world, struct cursor *c)
{
	struct member *member = take(c, &member_schema);
	struct probe *probe = take(c, &probe_schema);
	bool fits = member && world->n_machines < MACHINES_MAX && member_takes_part(member);

	for (size_t i = 0; fits && i < world->n_machines; i++)
		fits = !streq(world->members[i]->id, member->id);
	if (!fits) {
		member_free(member);
		probe_free(probe);
		return;
	}
	world->members[world->n_machines] = member;
	world->probes[world->n_machines++] = probe;
}

/* A head and its manifest, which may be missing; the store has one of each namespace. */
static void take_head(struct world *world, struct cursor *c, bool own)
{
	struct head *head = take(c, &head_schema);
	struct manifest *manifest = take_manifest(c);
	size_t at = own ? 0 : 1 + world->n_others;

	for (size_t i = 0; head && i <= world->n_others; i++)
		if (i != at && world->heads[i] && streq(world->heads[i]->ns, head->ns))
			head_free(steal(head));
	if (!head || at > OTHERS_MAX) {
		head_free(head);
		manifest_free(manifest);
		return;
	}
	head_free(world->heads[at]);
	manifest_free(world->manifests[at]);
	world->heads[at] = head;
	world->manifests[at] = manifest;
	world->n_others += !own;
}

/* A slot of the head, on a member where there is one, and the instance as its probe sees it. */
static void add_slot(struct world *world, struct cursor *c, struct head_service *service,
		     const struct service *spec)
{
	struct slot *slot = array_add(service->slots, service->n_slots);
	size_t at = cursor_byte(c) % (MACHINES_MAX + 1);
	struct probe *probe = at < world->n_machines ? world->probes[at] : NULL;
	uint8_t how = cursor_byte(c);
	struct instance *seen;

	slot->slot = how % 5;
	slot->machine = xstrdup(at < world->n_machines ? world->members[at]->id : "lost");
	slot->instance = instance_id("shop", service->name, slot->slot, "old");
	slot->hash = service_hash(spec, how & 32 ? "id" : "another");
	if (!probe || how & 64)
		return;
	probe->engine = true;
	world->members[at]->life_cycle =
		how & 128 ? MACHINE_ACTIVE : world->members[at]->life_cycle;
	seen = array_add(probe->instances, probe->n_instances);
	*seen = (struct instance){ .id = xstrdup(slot->instance),
				   .state = cursor_byte(c) % (INSTANCE_FAILED + 1),
				   .digest = xstrdup("id"),
				   .image = xstrdup(spec->image) };
}

/* What leased would have committed: a manifest's services with slots on the members, and volumes.
 */
static void commit(struct world *world, struct cursor *c)
{
	struct manifest *manifest = take_manifest(c);
	struct head *head = manifest ? codec_new(&head_schema) : NULL;

	if (!head)
		return;
	head->ns = xstrdup("shop");
	head->revision = 1;
	head->hash = manifest_hash(manifest);
	head_take_routes(head, manifest);
	for (size_t i = 0; i < manifest->n_services && i < 3; i++) {
		struct head_service *service = array_add(head->services, head->n_services);

		service->name = xstrdup(manifest->services[i].name);
		for (size_t n = cursor_byte(c) % 4; n; n--)
			add_slot(world, c, service, &manifest->services[i]);
	}
	for (size_t i = 0; i < manifest->n_volumes && i < world->n_machines; i++)
		*array_add(head->volumes, head->n_volumes) = (struct head_volume){
			.name = xstrdup(manifest->volumes[i].name),
			.machine = xstrdup(world->members[i]->id),
			.generation = 1,
		};
	head_free(world->heads[0]);
	manifest_free(world->manifests[0]);
	world->heads[0] = head;
	world->manifests[0] = manifest;
}

static void step(struct world *world, struct cursor *c)
{
	struct manifest *manifest;
	struct route_claim *claim;
	_cleanup_free_ char *bytes = NULL, *pin = NULL;

	switch (cursor_byte(c) % 10) {
	case 0:
		manifest = take_manifest(c);
		if (!manifest)
			break;
		manifest_free(world->manifest);
		world->manifest = manifest;
		break;
	case 1:
		take_head(world, c, true);
		break;
	case 2:
	case 9:
		commit(world, c);
		break;
	case 3:
		take_head(world, c, false);
		break;
	case 4:
		region_free(world->region);
		world->region = take(c, &region_schema);
		break;
	case 5:
		claim = take(c, &route_claim_schema);
		if (claim && world->n_claims < CLAIMS_MAX)
			world->claims[world->n_claims++] = claim;
		else
			route_claim_free(claim);
		break;
	case 6:
		bytes = cursor_string(c);
		pin = str_valid(bytes, strlen(bytes));
		if (!world->pins.count)
			pairs_add(&world->pins, "web", pin);
		break;
	default:
		take_machine(world, c);
		break;
	}
}

static bool is_member(const struct world *world, const char *machine)
{
	for (size_t i = 0; i < world->n_machines; i++)
		if (streq(world->members[i]->id, machine))
			return true;
	return false;
}

static void holds_slots(const struct world *world, const struct plan *plan)
{
	for (size_t i = 0; i < plan->n_slots; i++) {
		const struct plan_slot *slot = &plan->slots[i];
		const struct service *service = manifest_service(world->manifest, slot->service);
		int64_t count = 0;

		if (slot->action == SLOT_REMOVE)
			continue;
		HOLDS(service);
		HOLDS(is_member(world, slot->machine));
		for (size_t j = 0; j < plan->n_slots; j++) {
			const struct plan_slot *other = &plan->slots[j];

			if (other->action == SLOT_REMOVE || !streq(other->service, slot->service))
				continue;
			count++;
			HOLDS(j == i || other->slot != slot->slot);
		}
		HOLDS(service->replicas == REPLICAS_GLOBAL || count <= service->replicas);
	}
}

/* What a slot mounts is in the plan where the slot is; an exclusive volume that is recorded is not
 * created elsewhere. */
static void holds_volumes(const struct world *world, const struct plan *plan)
{
	for (size_t i = 0; i < plan->n_slots; i++) {
		const struct plan_slot *slot = &plan->slots[i];
		const struct service *service = manifest_service(world->manifest, slot->service);

		for (size_t j = 0; slot->action != SLOT_REMOVE && j < service->n_mounts; j++) {
			const char *name = service->mounts[j].volume;
			bool listed = !name;

			for (size_t k = 0; name && k < plan->n_volumes; k++)
				listed |= streq(plan->volumes[k].name, name) &&
					  streq(plan->volumes[k].machine, slot->machine);
			HOLDS(listed);
		}
	}
	for (size_t i = 0; i < plan->n_volumes; i++)
		HOLDS(!plan->volumes[i].new_ || plan->volumes[i].mode != VOLUME_EXCLUSIVE ||
		      !world->heads[0] ||
		      !head_volume(world->heads[0], plan->volumes[i].name, NULL));
}

static char *plan_text(const struct plan_input *input, const struct world *world)
{
	struct plan *plan = plan_make(input);
	char *text = codec_print(&plan_schema, plan);

	holds_slots(world, plan);
	holds_volumes(world, plan);
	plan_free(plan);
	return text;
}

static void try_plan(struct world *world, const char *deploy)
{
	struct machine_view machines[MACHINES_MAX];
	struct namespace_view others[OTHERS_MAX];
	struct route_claimed claims[CLAIMS_MAX];
	const struct head *heads[1 + OTHERS_MAX];
	struct route_known routes = { .claims = claims,
				      .n_claims = world->n_claims,
				      .heads = heads };
	_cleanup_free_ char *text = NULL, *repeated = NULL;
	void *same = NULL;

	for (size_t i = 0; i < world->n_machines; i++)
		machines[i] = (struct machine_view){
			.member = world->members[i],
			.probe = world->probes[i],
			.probe_error = world->probes[i] ? NULL : "it did not answer",
		};
	for (size_t i = 0; i < world->n_claims; i++)
		claims[i] = (struct route_claimed){ world->claims[i], 5 + i };
	for (size_t i = 0; i <= world->n_others; i++)
		if (world->heads[i])
			heads[routes.n_heads++] = world->heads[i];
	for (size_t i = 0; i < world->n_others; i++)
		others[i] = (struct namespace_view){ world->heads[1 + i], world->manifests[1 + i] };

	const struct plan_input input = {
		.manifest = world->manifest,
		.digests = &world->pins,
		.head = world->heads[0],
		.entry = world->heads[0] ? 9 : 0,
		.sequence = world->heads[0] ? 7 : 0,
		.before = world->heads[0] ? world->manifests[0] : NULL,
		.others = others,
		.n_others = world->n_others,
		.machines = machines,
		.n_machines = world->n_machines,
		.regions = (const struct region *const *)&world->region,
		.n_regions = world->region ? 1 : 0,
		.routes = &routes,
		.deploy = deploy,
	};
	text = plan_text(&input, world);
	repeated = plan_text(&input, world);
	HOLDS(streq(text, repeated));
	HOLDS(codec_parse(&plan_schema, text, strlen(text), CODEC_LENIENT, &same, NULL) == 0);
	plan_free(same);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cursor c = { data, data + size };
	struct world world = { 0 };

	for (int steps = 0; cursor_left(&c) && steps < STEPS_MAX; steps++)
		step(&world, &c);
	/* Whose head it is, is known by the subject. */
	if (world.manifest && world.heads[0]) {
		free(world.heads[0]->ns);
		world.heads[0]->ns = xstrdup(world.manifest->ns);
	}
	if (world.manifest)
		try_plan(&world, size % 2 ? "d1" : NULL);
	manifest_free(world.manifest);
	for (size_t i = 0; i <= OTHERS_MAX; i++) {
		head_free(world.heads[i]);
		manifest_free(world.manifests[i]);
	}
	region_free(world.region);
	for (size_t i = 0; i < world.n_machines; i++) {
		member_free(world.members[i]);
		probe_free(world.probes[i]);
	}
	for (size_t i = 0; i < world.n_claims; i++)
		route_claim_free(world.claims[i]);
	pairs_free(&world.pins);
	return 0;
}
