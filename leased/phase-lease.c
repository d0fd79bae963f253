/* Phases lease and release: takes and releases the namespace's lease. */
#include "leased/rollout.h"

enum phase_result phase_lease_start(struct rollout *r)
{
	r->began_usec = r->began_usec ? r->began_usec : r->now_usec;
	r->ops->lease_take(r);
	return PHASE_WAIT;
}

enum phase_result phase_lease_poll(struct rollout *r)
{
	switch (r->lease.state) {
	case HELD_HELD:
		r->record->epoch = r->lease.epoch;
		return PHASE_DONE;
	case HELD_REFUSED:
	case HELD_LOST:
		return rollout_fail(r, &r->lease.failure);
	case HELD_TAKING:
	case HELD_RAISING:
	case HELD_RELEASING:
	case HELD_RELEASED:
		return PHASE_WAIT;
	}
	return PHASE_WAIT;
}

enum phase_result phase_release_start(struct rollout *r)
{
	/* Nothing is left to release, and no answer would follow. */
	if (r->lease.state == HELD_LOST)
		return PHASE_DONE;
	r->lease.state = HELD_RELEASING;
	r->ops->lease_release(r);
	return PHASE_WAIT;
}

enum phase_result phase_release_poll(struct rollout *r)
{
	return r->lease.state == HELD_RELEASING ? PHASE_WAIT : PHASE_DONE;
}
