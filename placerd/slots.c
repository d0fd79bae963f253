/* Slots: which slots of a service stay, are replaced, are new or are removed. */
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

static size_t count_planned(const struct placing *placing)
{
	const struct plan *plan = placing->planning->plan;
	size_t count = 0;

	for (size_t i = 0; i < plan->n_slots; i++)
		count += plan->slots[i].action != SLOT_REMOVE &&
			 streq(plan->slots[i].service, placing->service->name);
	return count;
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

/* Binds the service's volumes to the row's machine; the row's reason names those that it creates.
 */
static void settle(struct placing *placing, struct plan_slot *row)
{
	_cleanup_(strv_freep) char **created = volumes_settle(placing, row->machine);
	_cleanup_free_ char *names = strv_join(created, ", "), *why = row->why;

	if (created)
		row->why = xasprintf("%s; new volume%s %s", why, created[1] ? "s" : "", names);
	else
		steal(why);
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
	settle(placing, row);
}

/* Whether the old instance stops first or last decides whether both have to fit. */
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
	row->digest = xstrdup(host_digest(host, placing));
	row->why = xstrdup(why);
	if (seen)
		set_update(placing, row);
	host_take(host, ns_of(placing), placing->service);
	settle(placing, row);
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
	/* A head with a duplicate slot number is invalid; the first one counts. */
	for (size_t i = 0; i < placing->n_kept; i++)
		if (!is_planned(placing, placing->kept[i]->slot))
			stay(placing, placing->kept[i]);
}

/* Why the slot does not stay where the head has it, as text; *ret_old its instance, when that can
 * be removed. Owned by the caller. */
static char *why_moved(struct placing *placing, const struct slot *slot, const char **ret_old)
{
	const struct host *host = host_find(placing->planning, slot->machine);
	_cleanup_free_ char *unfit = NULL;
	char *lost = lost_machine(placing->planning, slot->machine);

	if (lost)
		return lost;
	if (host_instance(host, slot->instance))
		*ret_old = slot->instance;
	filter_host(placing, host, true, &unfit);
	return xasprintf("leaves machine %s: %s", slot->machine,
			 unfit ? unfit : "old and new do not fit there together");
}

static void place(struct placing *placing, int64_t number, const struct slot *slot,
		  struct host *host, const char *choice)
{
	const char *old = NULL;
	_cleanup_free_ char *moved = slot ? why_moved(placing, slot, &old) : NULL;
	struct plan_slot *row;

	row = plan_add(placing->planning, placing->service->name, number,
		       old ? SLOT_REPLACE : SLOT_START, host->view->member->id);
	row->old = xstrdup(old);
	row->from =
		slot && old && !streq(slot->machine, row->machine) ? xstrdup(slot->machine) : NULL;
	row->digest = xstrdup(host_digest(host, placing));
	row->why = xasprintf("%s; %s",
			     moved	     ? moved
			     : placing->head ? "new slot"
					     : "new service",
			     choice);
	if (old)
		set_update(placing, row);
	host_take(host, ns_of(placing), placing->service);
	settle(placing, row);
}

static bool is_kept_on(const struct placing *placing, const char *machine)
{
	for (size_t i = 0; i < placing->n_kept; i++)
		if (streq(placing->kept[i]->machine, machine) &&
		    !is_planned(placing, placing->kept[i]->slot))
			return true;
	return false;
}

/* A machine that only lacks capacity, an image or a port is named in a warning and left out; the
 * others get theirs. */
static void place_global(struct placing *placing)
{
	struct planning *planning = placing->planning;
	int64_t number = 0;
	bool any = false;

	for (size_t i = 0; i < planning->n_hosts; i++) {
		struct host *host = &planning->hosts[i];
		_cleanup_free_ char *why = NULL;
		enum filter filter;

		/* What is kept there and has no row is refused already. */
		if (is_planned_on(placing, host->view->member->id) ||
		    is_kept_on(placing, host->view->member->id)) {
			any = true;
			continue;
		}
		filter = filter_host(placing, host, true, &why);
		if (filter == FILTER_IMAGE || filter == FILTER_PORT || filter == FILTER_MEMORY ||
		    filter == FILTER_CPUS)
			plan_warn(planning, "service %s gets no instance on machine %s: %s",
				  placing->service->name, host->view->member->id, why);
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

/* False: no machine can take it, which is refused. */
static bool place_slot(struct placing *placing, int64_t number, const struct slot *slot)
{
	_cleanup_free_ char *choice = NULL;
	struct host *host = choose_host(placing, &choice);

	if (!host) {
		filter_refuse(placing, number);
		return false;
	}
	place(placing, number, slot, host, choice);
	return true;
}

/* First the kept slots that have to move, then the slots of lost machines, then the lowest free
 * numbers. */
void slots_place(struct placing *placing)
{
	int64_t replicas = placing->service->replicas, number = 0;
	int64_t missing;

	if (is_global(placing->service)) {
		place_global(placing);
		return;
	}
	missing = replicas - (int64_t)count_planned(placing);
	for (size_t i = 0; missing && i < placing->n_kept; i++) {
		if (is_planned(placing, placing->kept[i]->slot))
			continue;
		if (!place_slot(placing, placing->kept[i]->slot, placing->kept[i]))
			return;
		missing--;
	}
	for (size_t i = 0; missing && i < placing->n_lost; i++) {
		if (is_planned(placing, placing->lost[i]->slot))
			continue;
		if (!place_slot(placing, placing->lost[i]->slot, placing->lost[i]))
			return;
		missing--;
	}
	for (; missing; missing--) {
		while (is_planned(placing, number))
			number++;
		if (!place_slot(placing, number, NULL))
			return;
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
