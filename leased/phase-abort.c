/* Abort: removes the candidates of a deploy that did not commit and resumes the instances that were
 * stopped for them. */
#include "leased/rollout.h"

enum phase_result phase_abort_start(struct rollout *r)
{
	r->removal = removal_new(r);
	for (size_t i = 0; i < r->n_candidates; i++) {
		const struct candidate *c = r->candidates[i];

		if (c->started && c->action != SLOT_KEEP)
			removal_add(r->removal, c->slot->machine, c->instance, 0, 0);
	}
	return phase_abort_poll(r);
}

enum phase_result phase_abort_poll(struct rollout *r)
{
	struct failure failure = FAILURE_INIT;
	enum phase_result result = removal_poll(r->removal, &failure);

	if (result == PHASE_FAILED) {
		removal_left(r->removal, r->record);
		rollout_fail(r, &failure);
	} else if (result == PHASE_LOST) {
		rollout_lose(r, &failure);
	}
	failure_clear(&failure);
	return result;
}

/* --- resume: after the candidates are gone, because they may hold the same host port or volume */

static bool must_resume(const struct candidate *c)
{
	return c->old_stopped && !c->resumed;
}

static bool has_settled(enum instance_state state)
{
	return state == INSTANCE_READY || state == INSTANCE_FAILED || state == INSTANCE_GONE;
}

static void ask(struct rollout *r, struct candidate *c)
{
	struct agent_ref ref = { .instance = c->slot->old, .grace_ms = -1 };

	rollout_command(r, &ref.command);
	c->again = false;
	rpc_ask(r, &c->rpc, SUBJECT_AGENT_RESUME, candidate_old_machine(c), &ref, AGENT_USEC);
}

static enum phase_result poll_one(struct rollout *r, struct candidate *c)
{
	const struct agent_instance *answer;

	switch (rpc_verdict(&c->rpc, r->now_usec, RESUME_USEC)) {
	case VERDICT_ANSWER:
		answer = c->rpc.answer;
		/* While the deploy is open, gateways hold requests for this instance. */
		if (answer->instance && !has_settled((enum instance_state)answer->instance->state))
			break;
		c->resumed = true;
		return PHASE_DONE;
	case VERDICT_ERROR:
		if (c->rpc.failure.code == FAILURE_FENCED)
			return rollout_lose(r, &c->rpc.failure);
		/* agentd resumes the instance when the lock lapses (presumed abort). */
		rollout_note(r,
			     "cannot resume %s on machine %s: %s; agentd resumes it when the lock "
			     "lapses",
			     c->slot->old, candidate_old_machine(c), c->rpc.failure.message);
		c->resumed = true;
		return PHASE_DONE;
	case VERDICT_PENDING:
		break;
	}
	if (r->now_usec - r->phase_usec > RESUME_USEC) {
		rollout_note(r, "%s on machine %s was resumed and is not ready yet", c->slot->old,
			     candidate_old_machine(c));
		c->resumed = true;
		return PHASE_DONE;
	}
	if (rpc_is_due(&c->rpc, r->now_usec, c->again))
		ask(r, c);
	return PHASE_WAIT;
}

enum phase_result phase_resume_start(struct rollout *r)
{
	return phase_resume_poll(r);
}

enum phase_result phase_resume_poll(struct rollout *r)
{
	bool all = true;

	for (size_t i = 0; i < r->n_candidates; i++) {
		enum phase_result result = PHASE_DONE;

		if (must_resume(r->candidates[i]))
			result = poll_one(r, r->candidates[i]);
		if (result == PHASE_LOST)
			return result;
		all &= result == PHASE_DONE;
	}
	return all ? PHASE_DONE : PHASE_WAIT;
}
