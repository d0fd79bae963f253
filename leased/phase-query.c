/* Phase query: inspects every candidate once more, just before the commit. */
#include "leased/rollout.h"

static bool is_new(const struct candidate *c)
{
	return c->service && c->action != SLOT_KEEP && c->action != SLOT_REMOVE;
}

static char **instances_on(const struct rollout *r, const char *machine)
{
	char **instances = NULL;

	for (size_t i = 0; i < r->n_candidates; i++)
		if (is_new(r->candidates[i]) && streq(r->candidates[i]->slot->machine, machine))
			strv_push(&instances, xstrdup(r->candidates[i]->instance));
	return instances;
}

/* All answers must be of one round: an earlier report may have changed. */
static void ask_all(struct rollout *r)
{
	for (size_t i = 0; i < r->n_candidates; i++)
		r->candidates[i]->queried = r->candidates[i]->again = false;
	for (size_t i = 0; i < r->n_participants; i++) {
		struct participant *p = r->participants[i];
		_cleanup_(strv_freep) char **instances = instances_on(r, p->machine);
		struct agent_probe probe = { .instances = instances };

		if (!instances)
			continue;
		rollout_command(r, &probe.command);
		rpc_ask(r, &p->rpc, SUBJECT_AGENT_PROBE, p->machine, &probe, AGENT_USEC);
	}
}

static enum phase_result check_locks(struct rollout *r)
{
	const char *machine = NULL;

	if (participants_are_locked(r, &machine))
		return PHASE_DONE;
	return rollout_failf(r, FAILURE_FAILED, "deploy again",
			     "cannot commit: machine %s has not confirmed its lock for %llu s",
			     machine, (unsigned long long)(NO_ANSWER_USEC / 1000000));
}

enum phase_result phase_query_start(struct rollout *r)
{
	if (r->nothing || !r->manifest || !r->plan->changes)
		return PHASE_DONE;
	ask_all(r);
	return phase_query_poll(r);
}

static struct candidate *candidate_of(const struct rollout *r, const char *instance)
{
	for (size_t i = 0; i < r->n_candidates; i++)
		if (is_new(r->candidates[i]) && streq(r->candidates[i]->instance, instance))
			return r->candidates[i];
	return NULL;
}

static enum phase_result not_ready(struct rollout *r, const struct candidate *c,
				   const struct instance *instance)
{
	return rollout_failf(r, FAILURE_FAILED,
			     "the committed state continues to serve; correct the service, then "
			     "deploy again",
			     "cannot commit: service %s, slot %lld on machine %s was ready and is "
			     "%s now%s%s",
			     c->service->name, (long long)c->slot->slot, c->slot->machine,
			     instance ? instance_state_names[instance->state] : "absent",
			     instance && instance->reason ? ": " : "",
			     instance && instance->reason ? instance->reason : "");
}

static enum phase_result not_stored(struct rollout *r, const struct candidate *c)
{
	return rollout_failf(
		r, FAILURE_FAILED, "`ployzctl store usage` shows whether PLOYZ_FACTS is full",
		"cannot commit: service %s, slot %lld on machine %s is ready, but its fact "
		"is not stored",
		c->service->name, (long long)c->slot->slot, c->slot->machine);
}

/* PHASE_WAIT: it may still become ready. */
static enum phase_result judge(struct rollout *r, struct candidate *c,
			       const struct agent_instance *answer)
{
	const struct instance *instance = answer->instance;

	if (!instance)
		return not_ready(r, c, NULL);
	switch ((enum instance_state)instance->state) {
	case INSTANCE_READY:
		/* What is never stored can never be routed. */
		if (!answer->sequence)
			return r->now_usec - r->phase_usec <= FACT_USEC ? PHASE_WAIT
									: not_stored(r, c);
		c->queried = true;
		c->facts = answer->sequence;
		free(c->address);
		c->address = xstrdup(instance->address);
		return PHASE_DONE;
	case INSTANCE_PULLING:
	case INSTANCE_CREATED:
	case INSTANCE_STARTING:
	case INSTANCE_UNREADY:
		/* It may become ready within the rest of its readiness limit. */
		if (r->now_usec - c->start_usec <= candidate_ready_usec(c))
			return PHASE_WAIT;
		return not_ready(r, c, instance);
	case INSTANCE_DRAINING:
	case INSTANCE_STOPPED:
	case INSTANCE_GONE:
	case INSTANCE_FAILED:
		return not_ready(r, c, instance);
	}
	return PHASE_WAIT;
}

static enum phase_result take(struct rollout *r, const struct participant *p)
{
	_cleanup_(strv_freep) char **instances = instances_on(r, p->machine);
	const struct agent_probed *probed = p->rpc.answer;
	bool all = true;

	for (size_t i = 0; instances && instances[i]; i++) {
		static const struct agent_instance none = { NULL, 0 };
		enum phase_result result =
			judge(r, candidate_of(r, instances[i]),
			      i < probed->n_instances ? &probed->instances[i] : &none);

		if (result == PHASE_FAILED)
			return result;
		all &= result == PHASE_DONE;
	}
	return all ? PHASE_DONE : PHASE_WAIT;
}

static bool something_happened(const struct rollout *r)
{
	for (size_t i = 0; i < r->n_candidates; i++)
		if (r->candidates[i]->again)
			return true;
	return false;
}

enum phase_result phase_query_poll(struct rollout *r)
{
	bool all = true, due = true;

	for (size_t i = 0; i < r->n_participants; i++) {
		struct participant *p = r->participants[i];
		enum phase_result result;

		if (p->rpc.state == RPC_IDLE)
			continue;
		switch (rpc_verdict(&p->rpc, r->now_usec, NO_ANSWER_USEC)) {
		case VERDICT_ERROR:
			return rollout_rpc_error(r, &p->rpc);
		case VERDICT_ANSWER:
			result = take(r, p);
			if (result == PHASE_FAILED)
				return result;
			all &= result == PHASE_DONE;
			break;
		case VERDICT_PENDING:
			all = false;
			break;
		}
		due &= rpc_is_due(&p->rpc, r->now_usec, something_happened(r));
	}
	if (all && !something_happened(r))
		return check_locks(r);
	if (due)
		ask_all(r);
	return PHASE_WAIT;
}
