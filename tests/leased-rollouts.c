/* Tests random rollouts with late, lost and repeated replies, crashes, a lease that is lost at any
 * point, and late appends; then the same with a mutated table of phases, which the checks must
 * detect.
 *
 *   leased-rollouts [RUNS [SEED]]     RUNS of each kind; SEED alone, with a trace, when RUNS is 0
 */
#include <stdio.h>

#include "tests/rollouts/world.h"
#include "tests/tap.h"

static void __attribute__((format(printf, 1, 2))) diag(const char *format, ...)
{
	va_list args;

	printf("# ");
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
}

static void seed_state(struct world *w)
{
	struct head *head = codec_new(&head_schema);
	struct head_service *service = array_add(head->services, head->n_services);
	struct service spec;
	_cleanup_free_ char *text = NULL, *subject = subject_make(SUBJECT_NAMESPACE, "shop", NULL);
	_cleanup_free_ char *hash = NULL;
	struct log_entry *entry;
	void *decoded = NULL;

	codec_init(&service_schema, &spec);
	spec.name = (char *)"web";
	spec.image = (char *)"v1";
	spec.replicas = w->options.replicas;
	hash = service_hash(&spec, "v1");
	head->ns = xstrdup("shop");
	head->revision = 1;
	head->deploy = xstrdup("d1");
	head->writer = xstrdup("d1");
	head->hash = xstrdup("h1");
	head->epoch = w->leases[0].epoch = 1;
	head->generation = 1;
	service->name = xstrdup("web");
	service->digest = xstrdup("v1");
	service->stop_grace = S;
	for (int i = 0; i < w->options.replicas; i++) {
		struct sim_agent *agent = &w->agents[i % MACHINES];
		struct sim_instance *instance = xcalloc(1, sizeof(*instance));
		struct slot *slot = array_add(service->slots, service->n_slots);

		instance->id = instance_id("shop", "web", i, "d1");
		instance->ns = xstrdup("shop");
		instance->deploy = xstrdup("d1");
		snprintf(instance->service, sizeof(instance->service), "web");
		instance->slot = i;
		instance->state = INSTANCE_READY;
		instance->facts = ++w->facts;
		*array_add(agent->instances, agent->n_instances) = instance;
		slot->slot = i;
		slot->instance = xstrdup(instance->id);
		slot->machine = xstrdup(agent->name);
		slot->deploy = xstrdup("d1");
		slot->hash = xstrdup(hash);
	}
	text = codec_print(&head_schema, head);
	store_put(w, STREAM_INTENT, subject, text);
	entry = &w->log[w->n_log - 1];
	head_free(entry->head);
	codec_parse(&head_schema, text, strlen(text), CODEC_LENIENT, &decoded, NULL);
	entry->head = decoded;
	head_free(head);
	for (int i = 0; i < MACHINES; i++)
		w->gateways[i].applied = w->last;
}

/* A candidate of a deploy that failed while its machine was unreachable. */
static void add_stray(struct world *w)
{
	struct sim_instance *instance = xcalloc(1, sizeof(*instance));
	struct deploy record = {
		.deploy = (char *)"d0",
		.ns = (char *)"shop",
		.phase = DEPLOY_FAILED,
	};
	_cleanup_free_ char *text = codec_print(&deploy_schema, &record);
	_cleanup_free_ char *subject = subject_make(SUBJECT_DEPLOY_STATUS, "shop", "d0");

	instance->id = instance_id("shop", "web", 0, "d0");
	instance->ns = xstrdup("shop");
	instance->deploy = xstrdup("d0");
	snprintf(instance->service, sizeof(instance->service), "web");
	instance->state = INSTANCE_READY;
	instance->facts = ++w->facts;
	*array_add(w->agents[0].instances, w->agents[0].n_instances) = instance;
	store_put(w, STREAM_STATUS, subject, text);
}

static void thaw(_unused_ struct world *w, void *userdata)
{
	((struct holder *)userdata)->frozen = false;
}

static void back(_unused_ struct world *w, void *userdata)
{
	*(bool *)userdata = false;
}

/* One additional fault at a random time. */
static void misfortune(struct world *w, void *userdata)
{
	struct holder *h = userdata;

	switch (world_random(w, 11)) {
	case 0:
		h->dead = true;
		break;
	case 1:
		h->frozen = true;
		world_at(w, world_random(w, 60 * S), thaw, h, NULL);
		break;
	case 2:
		holder_break(w, h->ns);
		break;
	case 3:
		w->store_away_until = w->now + world_random(w, 45 * S);
		break;
	case 4: {
		struct sim_gateway *gateway = &w->gateways[world_random(w, MACHINES)];

		gateway->away = true;
		world_at(w, world_random(w, 90 * S), back, &gateway->away, NULL);
		break;
	}
	case 5: {
		struct sim_agent *agent = &w->agents[world_random(w, MACHINES)];

		agent->away = true;
		world_at(w, world_random(w, 40 * S), back, &agent->away, NULL);
		break;
	}
	case 8: /* the bucket was lost with the store, and starts empty */
		for (int i = 0; i < 2; i++)
			w->leases[i].held = false, w->leases[i].epoch = 0;
		break;
	case 9: { /* a restarted agentd gives holders their whole term again */
		struct sim_agent *agent = &w->agents[world_random(w, MACHINES)];

		for (int i = 0; i < 2; i++)
			agent_renew(w, &agent->locks[i]);
		agent->away = true;
		world_at(w, world_random(w, 3 * S), back, &agent->away, NULL);
		break;
	}
	default:
		break;
	}
}

static void second(struct world *w, _unused_ void *userdata)
{
	bool routes = w->options.routes;

	holder_begin(w, 2, routes ? "blog" : "shop", "d3", world_chance(w, 50) ? "v2" : "v3",
		     false);
	if (world_chance(w, 30))
		world_at(w, world_random(w, 5 * S), misfortune, &w->holders[2], NULL);
}

/* All faults end; a last holder cleans up without faults. */
static void last(struct world *w, _unused_ void *userdata)
{
	w->calm = true;
	w->store_away_until = 0;
	for (int i = 0; i < MACHINES; i++)
		w->gateways[i].away = w->agents[i].away = false;
	w->holders[0].final = true;
	holder_begin(w, 0, "shop", "d9", NULL, true);
}

/* Without faults a deploy is done or, if its candidates do not become ready, undone without
 * remains. */
static struct world *run_calm(uint64_t seed, const struct phase_row *table)
{
	struct options options = {
		.stop_first = seed % 2,
		.replicas = 1 + (int)(seed / 2 % 2),
		.fails = seed / 4 % 2,
		.table = table,
	};
	struct world *w = world_new(seed, &options);
	const struct log_entry *head;

	seed_state(w);
	add_stray(w);
	gateways_follow(w);
	holder_begin(w, 1, "shop", "d2", "v2", false);
	for (int i = 0; i < 1000 && !w->holders[1].record; i++)
		world_run(w, w->now + 100 * MS);
	world_run(w, w->now + 10 * MS);
	head = store_head(w, "shop");
	if (!w->holders[1].record ||
	    w->holders[1].record->phase != (int)(options.fails ? DEPLOY_FAILED : DEPLOY_DONE))
		world_violation(w, "a deploy without faults ended otherwise than its candidates");
	if (head->head->revision != (options.fails ? 1 : 2) || head->head->open)
		world_violation(w, "another revision is committed, or a deploy is open");
	if (w->leases[0].held)
		world_violation(w, "the lease is still held");
	for (int i = 0; i < MACHINES; i++)
		if (w->agents[i].locks[0].held)
			world_violation(w, "a lock is still held");
	check_leaks(w, head->head);
	check_committed(w, head->head);
	return w;
}

#define LAST_USEC (400 * S)
#define END_USEC (560 * S)

static struct world *run(uint64_t seed, const struct phase_row *table, bool trace)
{
	struct options options = {
		.faults = true,
		.routes = seed % 7 == 0,
		.stop_first = seed % 2,
		.replicas = 1 + (int)(seed / 2 % 2),
		.table = table,
	};
	struct world *w = world_new(seed * 0x9e3779b97f4a7c15ull + 1, &options);

	w->trace = trace;
	if (!options.routes)
		seed_state(w);
	gateways_follow(w);
	holder_begin(w, 1, "shop", "d2", "v2", false);
	if (world_chance(w, 70))
		world_at(w, world_random(w, world_chance(w, 50) ? 300 * MS : 4 * S), misfortune,
			 &w->holders[1], NULL);
	if (options.routes || world_chance(w, 60))
		world_at(w,
			 options.routes ? world_random(w, 20 * MS)
					: world_random(w, world_chance(w, 50) ? 2 * S : 90 * S),
			 second, NULL, NULL);
	if (!options.routes)
		world_at(w, LAST_USEC, last, NULL, NULL);
	world_run(w, 1000 * S + END_USEC);
	if (!w->violation[0])
		check_end(w);
	return w;
}

static void test_runs(uint64_t runs, uint64_t first)
{
	uint64_t violations = 0, commits = 0, unknown = 0, pending = 0, failed = 0;

	for (uint64_t i = 0; i < 8; i++) {
		struct world *w = run_calm(i, NULL);

		ok(!w->violation[0], "without faults: %s", w->violation);
		world_free(w);
	}
	for (uint64_t i = 0; i < runs; i++) {
		struct world *w = run(first + i, NULL, false);

		if (w->violation[0] && ++violations <= 10)
			diag("seed %llu: %s", (unsigned long long)(first + i), w->violation);
		for (int j = 1; j < HOLDERS; j++) {
			const struct deploy *record = w->holders[j].record;

			commits += record && record->phase == DEPLOY_DONE && record->changed;
			unknown += record && record->phase == DEPLOY_UNKNOWN;
			pending += record && record->phase == DEPLOY_CLEANUP_PENDING;
			failed += record && record->phase == DEPLOY_FAILED;
		}
		world_free(w);
	}
	ok(violations == 0, "%llu random rollouts, %llu violations", (unsigned long long)runs,
	   (unsigned long long)violations);
	diag("committed %llu, unknown %llu, clean-up pending %llu, failed %llu",
	     (unsigned long long)commits, (unsigned long long)unknown, (unsigned long long)pending,
	     (unsigned long long)failed);
	ok(runs < 1000 || (commits && unknown && pending && failed), "every outcome occurred");
	printf("# rollouts: runs=%llu violations=%llu\n", (unsigned long long)runs,
	       (unsigned long long)violations);
}

/* --- mutations of the table */

static enum phase_result skip_phase(_unused_ struct rollout *r)
{
	return PHASE_DONE;
}

static const struct {
	const char *what;
	enum phase phase;
	int next, on_failure; /* -1: as it is */
	bool skip;
} mutations[] = {
	{ "no opening entry", PHASE_OPEN, -1, -1, true },
	{ "no fence of the machines", PHASE_LIST, -1, -1, true },
	{ "no locks", PHASE_LOCK, -1, -1, true },
	{ "no route claims", PHASE_CLAIM, -1, -1, true },
	{ "no last query", PHASE_QUERY, -1, -1, true },
	{ "no confirmation", PHASE_CONFIRM, -1, -1, true },
	{ "no removal of what was replaced", PHASE_CLEAN, -1, -1, true },
	{ "no closing entry", PHASE_CLOSE, -1, -1, true },
	{ "no sweep", PHASE_SWEEP, -1, -1, true },
	{ "no unlock", PHASE_UNLOCK, -1, -1, true },
	{ "no release of the lease", PHASE_RELEASE, -1, -1, true },
	{ "no abort", PHASE_ABORT, -1, -1, true },
	{ "no manifest", PHASE_MANIFEST, -1, -1, true },
	{ "a last query that failed is committed", PHASE_QUERY, -1, PHASE_COMMIT, false },
	{ "a start that failed is committed", PHASE_START, -1, PHASE_COMMIT, false },
	{ "instances are removed without confirmation", PHASE_CONFIRM, -1, PHASE_CLEAN, false },
	{ "a route conflict is committed", PHASE_CLAIM, -1, PHASE_PREPARE, false },
	{ "a failed start is not undone", PHASE_START, -1, PHASE_CLOSE, false },
	{ "the commit precedes the candidates", PHASE_PREPARE, PHASE_COMMIT, -1, false },
	{ "the removal precedes the confirmation", PHASE_COMMIT, PHASE_CLEAN, -1, false },
};

#define MUTANT_RUNS 3000

static void test_mutations(void)
{
	size_t caught = 0;

	for (size_t i = 0; i < ARRAY_SIZE(mutations); i++) {
		struct phase_row table[PHASE_COUNT];
		struct phase_row *row = &table[mutations[i].phase];
		bool noticed = false;
		uint64_t at;

		memcpy(table, phases, sizeof(table));
		if (mutations[i].skip)
			row->start = skip_phase;
		if (mutations[i].next >= 0)
			row->next = (enum phase)mutations[i].next;
		if (mutations[i].on_failure >= 0)
			row->on_failure = (enum phase)mutations[i].on_failure;
		for (at = 0; at < MUTANT_RUNS && !noticed; at++) {
			struct world *w = run(at, table, false);

			if (!w->violation[0]) {
				world_free(w);
				w = run_calm(at, table);
			}
			noticed = w->violation[0];
			if (noticed)
				diag("%s: seed %llu: %s", mutations[i].what, (unsigned long long)at,
				     w->violation);
			world_free(w);
		}
		caught += noticed;
		ok(noticed, "detected: %s", mutations[i].what);
	}
	ok(caught >= 12, "at least 12 mutations of the table are caught (%zu)", caught);
}

int main(int argc, char **argv)
{
	uint64_t runs = argc > 1 ? strtoull(argv[1], NULL, 10) : 100000;
	uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;

	if (argc > 2 && runs == 0) {
		struct world *w = run(seed, NULL, true);

		printf("# %s\n", w->violation[0] ? w->violation : "no violation");
		world_free(w);
		return 0;
	}
	test_runs(runs, seed);
	test_mutations();
	return tap_done();
}
