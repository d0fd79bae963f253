/* Planning: requests plans from placerd and makes candidates, pre_deploy runs and participants of
 * one. */
#include "leased/rollout.h"

void planning_ask(struct rollout *r, bool preview)
{
	const struct plan_request request = {
		.manifest = r->manifest,
		.deploy = r->request->deploy,
		.head = (int64_t)(preview ? r->sequence : r->opened),
		.digests = r->pinned,
	};

	rpc_ask(r, &r->planning, SUBJECT_PLAN, r->self, &request, PLAN_USEC);
}

enum phase_result planning_poll(struct rollout *r)
{
	const struct plan *plan;

	if (r->planning.state == RPC_WAITING)
		return PHASE_WAIT;
	if (r->planning.state == RPC_FAILED) {
		if (!rollout_may_retry(r, &r->planning.failure))
			return rollout_rpc_error(r, &r->planning);
		if (rpc_is_due(&r->planning, r->now_usec, false))
			planning_ask(r, !r->opened);
		return PHASE_WAIT;
	}
	plan = r->planning.answer;
	/* leased executes only a plan that was made from the head it opened. */
	if ((uint64_t)plan->head != r->sequence)
		return rollout_failf(r, FAILURE_STALE, "deploy again",
				     "cannot execute the plan: placerd made it from entry %lld of "
				     "namespace %s, this deploy opened entry %llu",
				     (long long)plan->head, r->ns, (unsigned long long)r->sequence);
	plan_free(r->plan);
	r->plan = codec_copy(&plan_schema, plan);
	rpc_clear(&r->planning);
	r->plans++;
	return PHASE_DONE;
}

static struct candidate *candidate_new(struct rollout *r, const struct plan_slot *slot)
{
	const struct slot *kept =
		r->base && slot->instance ? head_instance(r->base, slot->instance, NULL) : NULL;
	struct candidate *c = xcalloc(1, sizeof(*c));

	c->rollout = r;
	c->slot = slot;
	c->action = slot->action;
	c->service =
		slot->action == SLOT_REMOVE ? NULL : manifest_service(r->manifest, slot->service);
	c->digest = xstrdup(slot->digest);
	if (slot->action == SLOT_KEEP) {
		c->instance = xstrdup(slot->instance);
		c->state = CANDIDATE_READY;
		c->hash = xstrdup(kept ? kept->hash : NULL);
	} else if (slot->action != SLOT_REMOVE) {
		c->instance = instance_id(r->ns, slot->service, slot->slot, r->request->deploy);
	}
	return c;
}

static void add_run(struct rollout *r, const struct candidate *c)
{
	struct run *run;

	if (!c->service || !c->service->pre_deploy || c->action == SLOT_KEEP ||
	    run_of(r, c->service->name))
		return;
	run = xcalloc(1, sizeof(*run));
	run->where = c;
	*array_add(r->runs, r->n_runs) = run;
}

static void need(struct rollout *r, const char *machine)
{
	if (!machine)
		return;
	rollout_add_participant(r, machine);
	rollout_participant(r, machine)->needed = true;
}

void planning_take(struct rollout *r)
{
	rollout_clear_candidates(r);
	for (size_t i = 0; i < r->n_participants; i++)
		r->participants[i]->needed = false;
	for (size_t i = 0; i < r->plan->n_slots; i++) {
		struct candidate *c = candidate_new(r, &r->plan->slots[i]);

		*array_add(r->candidates, r->n_candidates) = c;
		add_run(r, c);
		need(r, c->slot->machine);
		need(r, c->slot->from);
	}
}

void planning_again(struct rollout *r)
{
	rollout_clear_candidates(r);
	plan_free(steal(r->plan));
	planning_ask(r, false);
}

static enum phase_result refuse(struct rollout *r)
{
	_cleanup_(strbuf_clear) struct strbuf all = STRBUF_INIT;

	for (size_t i = 0; i < r->plan->n_refusals; i++) {
		const struct plan_refusal *refusal = &r->plan->refusals[i];

		strbuf_printf(&all, "%s%s%s%s", i ? "\n" : "", refusal->path ? refusal->path : "",
			      refusal->path ? ": " : "", refusal->message);
	}
	return rollout_failf(r, FAILURE_REFUSED, r->plan->refusals[0].hint, "%s", all.text);
}

enum phase_result planning_check(struct rollout *r)
{
	struct progress progress = { .kind = PROGRESS_PLAN, .slot = -1, .plan = r->plan };

	r->ops->progress(r, &progress);
	if (r->plan->n_refusals)
		return refuse(r);
	if (r->plan->removes_all && !r->request->yes)
		return rollout_failf(r, FAILURE_REFUSED, "repeat the command with --yes",
				     "cannot deploy: this manifest removes everything in namespace "
				     "%s",
				     r->ns);
	if (!r->plan->changes)
		r->outcome = xstrdup("nothing to change");
	planning_take(r);
	return PHASE_DONE;
}
