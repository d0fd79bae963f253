/* Phase plan: requests the plan to execute, made from the opened head. */
#include "leased/rollout.h"

enum phase_result phase_plan_start(struct rollout *r)
{
	if (r->nothing || !r->manifest)
		return PHASE_DONE;
	planning_again(r);
	return PHASE_WAIT;
}

enum phase_result phase_plan_poll(struct rollout *r)
{
	enum phase_result result;

	if (!r->plan) {
		result = planning_poll(r);
		if (result != PHASE_DONE)
			return result;
	}
	return planning_check(r);
}
