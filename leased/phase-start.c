/* Phase start: runs pre_deploy commands and starts candidates, in depends_on order, on all machines
 * at once. */
#include "leased/rollout.h"

enum phase_result phase_start_start(struct rollout *r)
{
	if (r->nothing || !r->manifest || !r->plan->changes)
		return PHASE_DONE;
	return phase_start_poll(r);
}

static enum phase_result poll_all(struct rollout *r, bool *ret_moved)
{
	bool all = true;

	*ret_moved = false;
	for (size_t i = 0; i < r->n_runs; i++) {
		enum run_state before = r->runs[i]->state;
		enum phase_result result = run_poll(r, r->runs[i]);

		if (result == PHASE_FAILED || result == PHASE_LOST)
			return result;
		*ret_moved |= before != r->runs[i]->state;
	}
	for (size_t i = 0; i < r->n_candidates; i++) {
		enum candidate_state before = r->candidates[i]->state;
		enum phase_result result = candidate_poll(r, r->candidates[i]);

		if (result == PHASE_FAILED || result == PHASE_LOST)
			return result;
		all &= result == PHASE_DONE;
		*ret_moved |= before != r->candidates[i]->state;
	}
	return all ? PHASE_DONE : PHASE_WAIT;
}

enum phase_result phase_start_poll(struct rollout *r)
{
	enum phase_result result;
	bool moved;

	/* Another candidate may have waited for the one that became ready. */
	do
		result = poll_all(r, &moved);
	while (result == PHASE_WAIT && moved);
	return result;
}
