/* The slots of a service: what stays, what is replaced, what is new, what goes. */
#include "placerd/placerd.h"

static bool is_global(const struct service *service)
{
	return service->replicas == REPLICAS_GLOBAL;
}

static const char *ns_of(const struct placing *placing)
{
	return placing->planning->input->manifest->ns;
}

static bool is_planned(const struct placing *placing, int64_t number)
{
	const struct plan *plan = placing->planning->plan;

	for (size_t i = 0; i < plan->n_slots; i++)
		if (plan->slots[i].slot == number &&
		    streq(plan->slots[i].service, placing->service->name))
			return true;
	return false;
}

static bool is_planned_on(const struct placing *placing, const char *machine)
{
	const struct plan *plan = placing->planning->plan;

	for (size_t i = 0; i < plan->n_slots; i++)
		if (plan->slots[i].action != SLOT_REMOVE &&
		    streq(plan->slots[i].machine, machine) &&
		    streq(plan->slots[i].service, placing->service->name))
			return true;
	return false;
}

static void remove_slot(struct planning *planning, const char *service, const struct slot *slot,
			const char *why)
{
	struct plan_slot *row = plan_add(planning, service, slot->slot, SLOT_REMOVE, slot->machine);

	row->old = xstrdup(slot->instance);
	row->why = xstrdup(why);
}

/* Why the machine cannot be asked to take away what it has, or NULL. Owned by the caller. */
static char *lost_machine(const struct planning *planning, const char *machine)
{
	const struct host *host = host_find(planning, machine);

	if (!host)
		return xasprintf("machine %s is no member any more", machine);
	if (host->sight->probe)
		return NULL;
	return xasprintf("machine %s did not answer", machine);
}

/* A machine that does not answer would hold up every step of the deploy: what it has is given up,
 * loudly. */
static bool give_up(struct planning *planning, const char *service, const struct slot *slot)
{
	_cleanup_free_ char *lost = lost_machine(planning, slot->machine);

	if (!lost)
		return false;
	plan_warn(
		planning,
		"%s: what it has of slot %lld of service %s (%s) is left there and gets no traffic",
		lost, (long long)slot->slot, service, slot->instance);
	return true;
}

/* Why an instance is not left as it is. */
struct change {
	char *why;	    /* NULL: nothing changed */
	const char *digest; /* that it should run; NULL: known once it is pulled */
};

static void find_change(struct placing *placing, const struct host *host, const struct slot *slot,
			const struct instance *seen, struct change *ret)
{
	const struct service *service = placing->service, *before = placing->before;
	const char *running = seen->digest ? seen->digest : placing->head->digest;
	const char *digest = host_digest(host, service);
	_cleanup_free_ char *hash = service_hash(service, digest ? digest : running);
	_cleanup_free_ char *differs = NULL;

	*ret = (struct change){ .digest = digest };
	if (streq(hash, slot->hash) && digest)
		return;
	if (streq(hash, slot->hash) && service->pull == PULL_ALWAYS) {
		ret->why = xstrdup("pull is always: the image is fetched first, and the instance "
				   "kept if it is the same");
		return;
	}
	/* The image's name is gone from the machine, but what runs is what is asked for. */
	if (streq(hash, slot->hash) && before && streq(before->image, service->image)) {
		ret->digest = running;
		return;
	}
	differs = before ? diff_service(before, service, running, digest) : NULL;
	ret->why = xasprintf("changed: %s%s", differs ? differs : "how the container is made",
			     digest ? "" : "; the image is fetched first");
}

static void set_update(struct placing *placing, struct plan_slot *row)
{
	row->update = (int)placing->update;
	row->why_update = xstrdup(placing->why_update);
}

static void keep(struct placing *placing, struct host *host, const struct slot *slot,
		 const char *digest)
{
	struct plan_slot *row = plan_add(placing->planning, placing->service->name, slot->slot,
					 SLOT_KEEP, slot->machine);

	row->instance = xstrdup(slot->instance);
	row->digest = xstrdup(digest);
	row->why = xstrdup("unchanged");
	host_claim(host, ns_of(placing), placing->service);
	volume_settle(placing->planning, placing->service, slot->machine);
}

/* The old instance, when there is one, goes first or last: that decides whether both have to
 * fit. */
static bool replace_here(struct placing *placing, struct host *host, const struct slot *slot,
			 const struct instance *seen, const char *why)
{
	bool frees = seen && instance_runs(seen) && placing->update == UPDATE_STOP_FIRST &&
		     placing->before;
	struct plan_slot *row;

	if (frees)
		host_release(host, placing->before);
	if (filter_host(placing, host, true, NULL) != FILTER_COUNT) {
		if (frees) {
			host->memory_left -= (int64_t)placing->before->resources.memory;
			host->cpus_left -= placing->before->resources.cpus;
			host->instances++;
		}
		return false;
	}
	row = plan_add(placing->planning, placing->service->name, slot->slot,
		       seen ? SLOT_REPLACE : SLOT_START, slot->machine);
	row->old = xstrdup(seen ? slot->instance : NULL);
	row->digest = xstrdup(host_digest(host, placing->service));
	row->why = xstrdup(why);
	if (seen)
		set_update(placing, row);
	host_take(host, ns_of(placing), placing->service);
	volume_settle(placing->planning, placing->service, slot->machine);
	return true;
}

static char *not_running(const struct slot *slot, const struct instance *seen)
{
	if (!seen || seen->state == INSTANCE_GONE)
		return xasprintf("the instance is gone (%s)", slot->instance);
	return xasprintf("the instance is %s%s%s", instance_state_names[seen->state],
			 seen->reason ? ": " : "", seen->reason ? seen->reason : "");
}

/* Where it is now, one slot of the head. */
static void stay(struct placing *placing, const struct slot *slot)
{
	struct host *host = host_find(placing->planning, slot->machine);
	const struct instance *seen = host_instance(host, slot->instance);
	struct change change = { NULL, NULL };
	_cleanup_free_ char *why = NULL, *unfit = NULL;

	if (filter_host(placing, host, false, &unfit) != FILTER_COUNT) {
		if (is_global(placing->service)) {
			why = xasprintf("machine %s takes no instance any more: %s", slot->machine,
					unfit);
			remove_slot(placing->planning, placing->service->name, slot, why);
		}
		return;
	}
	if (!seen || !instance_runs(seen)) {
		why = not_running(slot, seen);
	} else {
		find_change(placing, host, slot, seen, &change);
		why = change.why;
		if (!why) {
			keep(placing, host, slot, change.digest);
			return;
		}
	}
	if (!replace_here(placing, host, slot, seen, why) && is_global(placing->service))
		filter_refuse(placing, slot->slot);
}

void slots_stay(struct placing *placing)
{
	const struct service *service = placing->service;
	size_t n_slots = placing->head ? placing->head->n_slots : 0;

	for (size_t i = 0; i < n_slots; i++) {
		const struct slot *slot = &placing->head->slots[i];
		struct host *host = host_find(placing->planning, slot->machine);
		_cleanup_free_ char *why = NULL;

		if (give_up(placing->planning, service->name, slot))
			continue;
		if (is_global(service) || slot->slot < service->replicas)
			continue;
		why = xasprintf("the service has %lld replica%s now", (long long)service->replicas,
				service->replicas == 1 ? "" : "s");
		remove_slot(placing->planning, service->name, slot, why);
		/* It goes after the commit: until then it holds its ports. */
		if (placing->before)
			host_claim(host, ns_of(placing), placing->before);
	}
	for (size_t i = 0; i < n_slots; i++) {
		const struct slot *slot = &placing->head->slots[i];
		const struct host *host = host_find(placing->planning, slot->machine);

		if (host && host->sight->probe && !is_planned(placing, slot->slot))
			stay(placing, slot);
	}
}

/* Why the slot does not stay where the head has it, in words; *ret_old its instance, when that can
 * be taken away. Owned by the caller. */
static char *why_moved(struct placing *placing, const struct slot *slot, const char **ret_old)
{
	const struct host *host = host_find(placing->planning, slot->machine);
	_cleanup_free_ char *unfit = NULL;

	if (!host || !host->sight->probe)
		return lost_machine(placing->planning, slot->machine);
	if (host_instance(host, slot->instance))
		*ret_old = slot->instance;
	filter_host(placing, host, true, &unfit);
	return xasprintf("leaves machine %s: %s", slot->machine,
			 unfit ? unfit : "there is no room for old and new");
}

static void place(struct placing *placing, int64_t number, const struct slot *slot,
		  struct host *host, const char *choice)
{
	const char *old = NULL;
	_cleanup_free_ char *moved = slot ? why_moved(placing, slot, &old) : NULL;
	struct plan_slot *row;

	row = plan_add(placing->planning, placing->service->name, number,
		       old ? SLOT_REPLACE : SLOT_START, host->sight->machine->id);
	row->old = xstrdup(old);
	row->from =
		slot && old && !streq(slot->machine, row->machine) ? xstrdup(slot->machine) : NULL;
	row->digest = xstrdup(host_digest(host, placing->service));
	row->why = xasprintf("%s; %s",
			     moved	     ? moved
			     : placing->head ? "new slot"
					     : "new service",
			     choice);
	if (old)
		set_update(placing, row);
	host_take(host, ns_of(placing), placing->service);
	volume_settle(placing->planning, placing->service, row->machine);
}

/* A machine that is eligible but for its room or a port is told of and left out: the others get
 * theirs. */
static void place_global(struct placing *placing)
{
	struct planning *planning = placing->planning;
	int64_t number = 0;
	bool any = false;

	for (size_t i = 0; i < planning->n_hosts; i++) {
		struct host *host = &planning->hosts[i];
		_cleanup_free_ char *why = NULL;
		enum filter filter;

		if (is_planned_on(placing, host->sight->machine->id)) {
			any = true;
			continue;
		}
		filter = filter_host(placing, host, true, &why);
		if (filter == FILTER_IMAGE || filter == FILTER_PORT || filter == FILTER_MEMORY ||
		    filter == FILTER_CPUS)
			plan_warn(planning, "service %s gets no instance on machine %s: %s",
				  placing->service->name, host->sight->machine->id, why);
		if (filter != FILTER_COUNT)
			continue;
		while (is_planned(placing, number))
			number++;
		place(placing, number, NULL, host, "one on each machine that can take it");
		any = true;
	}
	if (!any)
		filter_refuse(placing, -1);
}

void slots_place(struct placing *placing)
{
	if (is_global(placing->service)) {
		place_global(placing);
		return;
	}
	for (int64_t number = 0; number < placing->service->replicas; number++) {
		const struct slot *slot = NULL;
		_cleanup_free_ char *choice = NULL;
		struct host *host;

		if (is_planned(placing, number))
			continue;
		for (size_t i = 0; placing->head && i < placing->head->n_slots; i++)
			if (placing->head->slots[i].slot == number)
				slot = &placing->head->slots[i];
		host = choose_host(placing, &choice);
		if (!host) {
			filter_refuse(placing, number);
			return;
		}
		place(placing, number, slot, host, choice);
	}
}

void slots_remove_services(struct planning *planning)
{
	const struct plan_input *input = planning->input;

	for (size_t i = 0; input->head && i < input->head->n_services; i++) {
		const struct head_service *service = &input->head->services[i];

		if (manifest_service(input->manifest, service->name))
			continue;
		plan_warn(
			planning,
			"service %s is not in the manifest: it is removed with its %zu instance%s",
			service->name, service->n_slots, service->n_slots == 1 ? "" : "s");
		for (size_t j = 0; j < service->n_slots; j++)
			if (!give_up(planning, service->name, &service->slots[j]))
				remove_slot(planning, service->name, &service->slots[j],
					    "the manifest does not name the service");
	}
}
