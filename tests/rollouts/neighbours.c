/* Neighbours: simulates placerd and the gateways. */
#include "tests/rollouts/world.h"

#include "lib/str.h"

static const struct sim_instance *running(const struct world *w, const struct slot *slot)
{
	const struct sim_agent *a = &w->agents[slot->slot % MACHINES];

	for (size_t i = 0; i < a->n_instances; i++)
		if (streq(a->instances[i]->id, slot->instance))
			return a->instances[i]->state == INSTANCE_GONE ? NULL : a->instances[i];
	return NULL;
}

static const struct slot *slot_of(const struct head_service *service, int64_t number)
{
	for (size_t i = 0; service && i < service->n_slots; i++)
		if (service->slots[i].slot == number)
			return &service->slots[i];
	return NULL;
}

static void plan_service(const struct world *w, struct plan *plan, const struct head *head,
			 const struct service *service)
{
	const struct head_service *before =
		head && head->revision ? head_service(head, service->name) : NULL;
	_cleanup_free_ char *hash = service_hash(service, service->image);

	for (int64_t i = 0; i < service->replicas; i++) {
		const struct slot *old = slot_of(before, i);
		const struct sim_instance *seen = old ? running(w, old) : NULL;
		struct plan_slot *row = array_add(plan->slots, plan->n_slots);

		row->service = xstrdup(service->name);
		row->slot = i;
		row->machine = xstrdup(w->agents[i % MACHINES].name);
		row->digest = w->seed % 3 ? xstrdup(service->image) : NULL; /* pull: always */
		row->update = w->options.stop_first ? UPDATE_STOP_FIRST : UPDATE_START_FIRST;
		if (seen && streq(old->hash, hash) && seen->state != INSTANCE_FAILED &&
		    seen->state != INSTANCE_STOPPED) {
			row->action = SLOT_KEEP;
			row->instance = xstrdup(old->instance);
			continue;
		}
		row->action = seen ? SLOT_REPLACE : SLOT_START;
		row->old = seen ? xstrdup(old->instance) : NULL;
		plan->changes = true;
	}
}

void *placer_answer(struct world *w, const struct plan_request *request)
{
	const struct log_entry *entry = store_head(w, request->manifest->ns);
	const struct head *head = entry ? entry->head : NULL;
	struct plan *plan = codec_new(&plan_schema);
	_cleanup_free_ char *hash = manifest_hash(request->manifest);

	plan->ns = xstrdup(request->manifest->ns);
	plan->head = entry ? (int64_t)entry->sequence : 0;
	plan->sequence = head ? (int64_t)head_committed(head, entry->sequence) : 0;
	plan->changes = !head || !streq(head->hash, hash);
	for (size_t i = 0; i < request->manifest->n_services; i++)
		plan_service(w, plan, head, &request->manifest->services[i]);
	return plan;
}

static void on_follow(struct world *w, void *userdata)
{
	struct sim_gateway *gateway = userdata;

	if (!gateway->away && w->now >= w->store_away_until)
		gateway->applied = w->last;
	world_at(w, 10 * MS + world_random(w, world_chance(w, 10) ? 4 * S : 300 * MS), on_follow,
		 gateway, NULL);
}

void gateways_follow(struct world *w)
{
	for (int i = 0; i < MACHINES; i++)
		world_at(w, world_random(w, 100 * MS), on_follow, &w->gateways[i], NULL);
}

void *gateway_answer(struct world *w, int machine, enum subject_id subject, const void *request,
		     struct failure *failure)
{
	struct sim_gateway *gateway = &w->gateways[machine];
	struct applied *applied;

	(void)request;
	if (gateway->away) {
		failure_set(failure, FAILURE_UNREACHABLE, NULL, "it does not run");
		return NULL;
	}
	if (subject == SUBJECT_ROUTED_DRAINED)
		return codec_new(&drained_schema);
	applied = codec_new(&applied_schema);
	applied->applied = (struct watermark){ 1, (int64_t)gateway->applied, INT64_MAX };
	return applied;
}
