/* Keep: which slots of the head a service keeps: those that serve. */
#include "placerd/placerd.h"

void remove_slot(struct planning *planning, const char *service, const struct slot *slot,
		 const char *why)
{
	struct plan_slot *row = plan_add(planning, service, slot->slot, SLOT_REMOVE, slot->machine);

	row->old = xstrdup(slot->instance);
	row->why = xstrdup(why);
}

char *lost_machine(const struct planning *planning, const char *machine)
{
	const struct host *host = host_find(planning, machine);

	if (!host)
		return xasprintf("machine %s is not a member", machine);
	if (!host->view->probe)
		return xasprintf("machine %s did not answer", machine);
	if (!host->view->probe->engine)
		return xasprintf("the container engine of machine %s cannot be reached", machine);
	return NULL;
}

/* A deploy that waited for an unreachable machine would block at every step. */
bool give_up(struct planning *planning, const char *service, const struct slot *slot)
{
	_cleanup_free_ char *lost = lost_machine(planning, slot->machine);

	if (!lost)
		return false;
	plan_warn(planning,
		  "%s: instance %s of slot %lld of service %s is left there and gets no traffic",
		  lost, slot->instance, (long long)slot->slot, service);
	return true;
}

void find_change(const struct placing *placing, const struct host *host, const struct slot *slot,
		 const struct instance *seen, struct change *ret)
{
	const struct service *service = placing->service, *before = placing->before;
	const char *running = seen->digest ? seen->digest : placing->head->digest;
	const char *digest = placing->pinned ? placing->pinned : host_digest(host, placing);
	const char *image = seen->image ? seen->image : before ? before->image : NULL;
	_cleanup_free_ char *hash = service_hash(service, digest ? digest : running);
	_cleanup_free_ char *differs = NULL;
	bool same = streq(hash, slot->hash);

	*ret = (struct change){ .digest = digest };
	if (same && digest)
		return;
	if (same && service->pull == PULL_ALWAYS) {
		ret->why = xstrdup("pull is always: the image is fetched first, and the instance "
				   "kept if it is the same");
		return;
	}
	/* The machine no longer has the image's name, but the instance runs the wanted image. */
	if (same && streq(image, service->image)) {
		ret->digest = running;
		return;
	}
	differs = before ? diff_service(before, service, running, digest)
			 : xstrdup("in what is not known, its committed manifest is missing");
	ret->why = xasprintf("changed: %s%s", differs ? differs : "how the container is made",
			     digest ? "" : "; the image is fetched first");
}

/* The order in which slots are kept when there are too many; smaller is better. */
struct rank {
	const struct slot *slot;
	int state; /* 0 ready, 1 running, 2 not running */
	bool changed;
};

static void rank_slot(const struct placing *placing, const struct slot *slot, struct rank *ret)
{
	const struct host *host = host_find(placing->planning, slot->machine);
	const struct instance *seen = host_instance(host, slot->instance);
	struct change change = { NULL, NULL };

	*ret = (struct rank){ .slot = slot, .state = 2, .changed = true };
	if (!seen || !instance_runs(seen))
		return;
	ret->state = seen->state == INSTANCE_READY ? 0 : 1;
	if (filter_host(placing, host, false, NULL) != FILTER_COUNT)
		return;
	find_change(placing, host, slot, seen, &change);
	ret->changed = change.why;
	free(change.why);
}

static int compare_ranks(const void *a, const void *b)
{
	const struct rank *x = a, *y = b;

	if (x->state != y->state)
		return x->state - y->state;
	if (x->changed != y->changed)
		return x->changed ? 1 : -1;
	return x->slot->slot < y->slot->slot ? -1 : x->slot->slot > y->slot->slot;
}

static int compare_numbers(const void *a, const void *b)
{
	const struct slot *x = *(const struct slot *const *)a, *y = *(const struct slot *const *)b;

	return x->slot < y->slot ? -1 : x->slot > y->slot;
}

static void drop_rank(struct placing *placing, const struct rank *rank, bool others_ready)
{
	static const char *const states[] = { "ready", "not ready", "not running" };
	struct planning *planning = placing->planning;
	int64_t replicas = placing->service->replicas;
	struct host *host = host_find(planning, rank->slot->machine);
	_cleanup_free_ char *why = xasprintf(
		"the service has %lld replica%s now%s%s", (long long)replicas,
		replicas == 1 ? "" : "s", rank->state && others_ready ? "; this instance is " : "",
		rank->state && others_ready ? states[rank->state] : "");

	remove_slot(planning, placing->service->name, rank->slot, why);
	/* A removed slot holds its ports until the clean-up after the commit. */
	host_claim(host, planning->input->manifest->ns,
		   placing->before ? placing->before : placing->service);
}

/* Slots are kept in the order of their rank, not of their numbers, which need not be dense. */
static void keep_best(struct placing *placing)
{
	size_t replicas = (size_t)placing->service->replicas, n = placing->n_kept;
	struct rank *ranks = xcalloc(n, sizeof(*ranks));

	for (size_t i = 0; i < n; i++)
		rank_slot(placing, placing->kept[i], &ranks[i]);
	qsort(ranks, n, sizeof(*ranks), compare_ranks);
	for (size_t i = 0; i < replicas; i++)
		placing->kept[i] = ranks[i].slot;
	placing->n_kept = replicas;
	for (size_t i = replicas; i < n; i++)
		drop_rank(placing, &ranks[i], replicas && ranks[0].state == 0);
	if (replicas && ranks[0].state)
		plan_warn(placing->planning,
			  "service %s: no instance is ready, so none that stays is ready",
			  placing->service->name);
	free(ranks);
}

void slots_select(struct placing *placing)
{
	const struct service *service = placing->service;

	if (!placing->head)
		return;
	for (size_t i = 0; i < placing->head->n_slots; i++) {
		const struct slot *slot = &placing->head->slots[i];

		if (give_up(placing->planning, service->name, slot))
			*array_add(placing->lost, placing->n_lost) = slot;
		else
			*array_add(placing->kept, placing->n_kept) = slot;
	}
	if (service->replicas != REPLICAS_GLOBAL && placing->n_kept > (size_t)service->replicas)
		keep_best(placing);
	if (placing->n_kept)
		qsort(placing->kept, placing->n_kept, sizeof(*placing->kept), compare_numbers);
	if (placing->n_lost)
		qsort(placing->lost, placing->n_lost, sizeof(*placing->lost), compare_numbers);
}
