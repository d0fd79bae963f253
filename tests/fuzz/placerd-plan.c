/* A plan, made from whatever the log and other machines' probes say: it can be read by whoever
 * asked, names machines that there are, has each slot once, and is the same when it is made again.
 *
 * Steps of one byte: a manifest, a head, a machine with its probe, a region; as text, or made of
 * the bytes that follow.
 *
 * covers: placerd/plan.c placerd/host.c placerd/filter.c placerd/choose.c placerd/slots.c
 * placerd/volume.c placerd/conflict.c placerd/diff.c
 *
 * options: -max_len=1600 */
#include "placerd/placerd.h"
#include "tests/fuzz/generate.h"

#define STEPS_MAX 10
#define MACHINES_MAX 4
#define OTHERS_MAX 2

struct world {
	struct manifest *manifest;
	struct head *head, *others[OTHERS_MAX];
	size_t n_others;
	struct machine *machines[MACHINES_MAX];
	struct probe *probes[MACHINES_MAX];
	size_t n_machines;
	struct region *region;
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

/* Manifests that came as far as a plan have passed their check. */
static void take_manifest(struct world *world, struct cursor *c)
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
		"\"port\":80}},\"publish\":[{\"port\":\"http\",\"host_port\":8080}],\"place\":{"
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
	if (manifest_decode(json, &manifest, NULL) < 0)
		return;
	manifest_free(world->manifest);
	world->manifest = manifest;
}

/* The log has one record of each machine; whose probe says that it is another is refused by who
 * asks. */
static void take_machine(struct world *world, struct cursor *c)
{
	struct machine *machine = take(c, &machine_schema);
	struct probe *probe = take(c, &probe_schema);
	bool fits = machine && world->n_machines < MACHINES_MAX &&
		    machine->life_cycle != MACHINE_JOINING &&
		    machine->life_cycle != MACHINE_REMOVED;

	for (size_t i = 0; fits && i < world->n_machines; i++)
		fits = !streq(world->machines[i]->id, machine->id);
	if (!fits) {
		machine_free(machine);
		probe_free(probe);
		return;
	}
	world->machines[world->n_machines] = machine;
	world->probes[world->n_machines++] = probe;
}

static void step(struct world *world, struct cursor *c)
{
	struct head *head;

	switch (cursor_byte(c) % 6) {
	case 0:
		take_manifest(world, c);
		break;
	case 1:
		head_free(world->head);
		world->head = take(c, &head_schema);
		break;
	case 2:
		head = take(c, &head_schema);
		if (head && world->n_others < OTHERS_MAX)
			world->others[world->n_others++] = head;
		else
			head_free(head);
		break;
	case 3:
		region_free(world->region);
		world->region = take(c, &region_schema);
		break;
	default:
		take_machine(world, c);
		break;
	}
}

static void holds_plan(const struct world *world, const struct plan *plan)
{
	for (size_t i = 0; i < plan->n_slots; i++) {
		const struct plan_slot *slot = &plan->slots[i];
		bool known = false;

		if (slot->action == SLOT_REMOVE)
			continue;
		HOLDS(manifest_service(world->manifest, slot->service));
		for (size_t j = 0; j < world->n_machines; j++)
			known = known || streq(world->machines[j]->id, slot->machine);
		HOLDS(known);
		for (size_t j = 0; j < i; j++)
			HOLDS(plan->slots[j].action == SLOT_REMOVE ||
			      plan->slots[j].slot != slot->slot ||
			      !streq(plan->slots[j].service, slot->service));
	}
}

static char *plan_text(const struct plan_input *input, const struct world *world)
{
	struct plan *plan = plan_make(input);
	char *text = codec_print(&plan_schema, plan);

	holds_plan(world, plan);
	plan_free(plan);
	return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cursor c = { data, data + size };
	struct world world = { 0 };
	struct sight sights[MACHINES_MAX];
	_cleanup_free_ char *text = NULL, *again = NULL;
	struct plan_input input;
	void *same = NULL;

	for (int steps = 0; cursor_left(&c) && steps < STEPS_MAX; steps++)
		step(&world, &c);
	for (size_t i = 0; i < world.n_machines; i++)
		sights[i] = (struct sight){ world.machines[i], world.probes[i],
					    world.probes[i] ? NULL : "it did not answer" };
	input = (struct plan_input){
		world.manifest,	      world.head,
		world.head ? 7 : 0,   (const struct head *const *)world.others,
		world.n_others,	      sights,
		world.n_machines,     (const struct region *const *)&world.region,
		world.region ? 1 : 0, size % 2 ? "d1" : NULL
	};
	if (world.manifest) {
		text = plan_text(&input, &world);
		again = plan_text(&input, &world);
		HOLDS(streq(text, again));
		HOLDS(codec_parse(&plan_schema, text, strlen(text), CODEC_LENIENT, &same, NULL) ==
		      0);
		plan_free(same);
	}
	manifest_free(world.manifest);
	head_free(world.head);
	region_free(world.region);
	for (size_t i = 0; i < world.n_others; i++)
		head_free(world.others[i]);
	for (size_t i = 0; i < world.n_machines; i++) {
		machine_free(world.machines[i]);
		probe_free(world.probes[i]);
	}
	return 0;
}
