/* Choose: the best of the eligible machines by spread, then the service's volumes, the region's
 * role, capacity, id. */
#include "placerd/placerd.h"

/* Capacity is compared in steps: small differences do not count, so a plan that was previewed is
 * the plan that is made a moment later. */
#define CAPACITY_STEPS 20

struct score {
	struct host *host;
	size_t in_zone;	   /* of this service; fewer is better, as everywhere below */
	size_t on_machine; /* of this service */
	size_t volumes;	   /* volumes of the service that are not recorded there */
	int role;	   /* 0: the one that suits */
	int used;	   /* steps of capacity that are reserved or used */
	size_t instances;  /* of all services */
};

static void count_slots(const struct placing *placing)
{
	const struct planning *planning = placing->planning;

	for (size_t i = 0; i < planning->n_hosts; i++)
		planning->hosts[i].on_machine = planning->hosts[i].in_zone = 0;
	for (size_t i = 0; i < planning->plan->n_slots; i++) {
		const struct plan_slot *slot = &planning->plan->slots[i];
		struct host *host = host_find(planning, slot->machine);

		if (!host || slot->action == SLOT_REMOVE ||
		    !streq(slot->service, placing->service->name))
			continue;
		host->on_machine++;
		planning->hosts[host->zone].in_zone++;
	}
}

static bool wants_data(const struct service *service)
{
	for (size_t i = 0; i < service->n_mounts; i++)
		if (service->mounts[i].volume)
			return true;
	return false;
}

static int capacity_used(const struct host *host)
{
	const struct probe *probe = host->view->probe;
	double memory = probe->memory ? (double)host->memory_left / (double)probe->memory : 0;
	double really = probe->memory ? (double)probe->memory_free / (double)probe->memory : 0;
	double cpus = probe->cores ? host->cpus_left / (double)probe->cores : 0;
	double least = MIN2(MIN2(memory, really), cpus);

	return CAPACITY_STEPS - (int)(MAX2(least, 0.0) * CAPACITY_STEPS);
}

static void score_host(const struct placing *placing, struct host *host, struct score *ret)
{
	enum region_role suits = wants_data(placing->service) ? REGION_HOME_DATA : REGION_COMPUTE;

	*ret = (struct score){ .host = host, .on_machine = host->on_machine };
	if (placing->service->placement.spread == SPREAD_ZONE)
		ret->in_zone = placing->planning->hosts[host->zone].in_zone;
	ret->volumes =
		placing->service->n_mounts - volumes_recorded(placing, host->view->member->id);
	ret->role = host->region && host->region->role == (int)suits ? 0 : 1;
	ret->used = capacity_used(host);
	ret->instances = host->instances;
}

/* The criterion that distinguishes two machines, as text. Negative *ret_order: `a` is better. */
static const char *compare(const struct score *a, const struct score *b, int *ret_order)
{
	const struct {
		size_t a, b;
		const char *what;
	} rows[] = {
		{ a->in_zone, b->in_zone, "spread over zones" },
		{ a->on_machine, b->on_machine, "spread over machines" },
		{ a->volumes, b->volumes, "it has volumes of the service" },
		{ (size_t)a->role, (size_t)b->role, "its region's role suits the service" },
		{ (size_t)a->used, (size_t)b->used, "it has the most free capacity" },
		{ a->instances, b->instances, "it has the fewest instances" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		*ret_order = rows[i].a < rows[i].b ? -1 : rows[i].a > rows[i].b;
		if (*ret_order)
			return rows[i].what;
	}
	*ret_order = strcmp(a->host->view->member->id, b->host->view->member->id);
	return "first by id of equals";
}

struct host *choose_host(struct placing *placing, char **ret_why)
{
	struct planning *planning = placing->planning;
	struct score best = { .host = NULL }, second = { .host = NULL };
	size_t n_fit = 0;
	int order = 0;

	count_slots(placing);
	for (size_t i = 0; i < planning->n_hosts; i++) {
		struct score score;

		if (filter_host(placing, &planning->hosts[i], true, NULL) != FILTER_COUNT)
			continue;
		n_fit++;
		score_host(placing, &planning->hosts[i], &score);
		if (best.host)
			compare(&score, &best, &order);
		if (!best.host || order < 0) {
			second = best;
			best = score;
		} else {
			if (second.host)
				compare(&score, &second, &order);
			if (!second.host || order < 0)
				second = score;
		}
	}
	if (!best.host)
		return NULL;
	if (planning->n_hosts == 1)
		*ret_why = xstrdup("the only machine");
	else if (n_fit == 1)
		*ret_why = xstrdup("the only machine that can take it");
	else
		*ret_why = xasprintf("of %zu machines that can take it: %s", n_fit,
				     compare(&best, &second, &order));
	return best.host;
}
