/* Phase open: appends the opening entry. */
#include "leased/rollout.h"

enum phase_result phase_open_start(struct rollout *r)
{
	if (r->nothing)
		return PHASE_DONE;
	return opening_poll(r);
}

enum phase_result phase_open_poll(struct rollout *r)
{
	return opening_poll(r);
}
