/* The commit: one compare-and-set append to the namespace's log. */
#include "leased/rollout.h"

enum phase_result phase_commit_start(struct rollout *r)
{
	_cleanup_free_ char *now = NULL, *nonce = NULL;

	if (r->nothing || !r->manifest || !r->plan->changes)
		return PHASE_DONE;
	rollout_phase(r, DEPLOY_COMMITTING, NULL);
	now = r->ops->now_text(r);
	nonce = r->ops->nonce(r);
	r->trying = head_next(r, now, nonce);
	r->committing = true;
	rollout_append_head(r, r->trying, false);
	return PHASE_WAIT;
}

static enum phase_result fenced(struct rollout *r, const char *what)
{
	struct failure failure = FAILURE_INIT;
	enum phase_result result;

	failure_set(&failure, FAILURE_FENCED,
		    "`ployzctl ns history` shows who wrote it; then deploy again",
		    "cannot continue deploy %s: %s", r->request->deploy, what);
	result = rollout_lose(r, &failure);
	failure_clear(&failure);
	return result;
}

enum phase_result phase_commit_poll(struct rollout *r)
{
	switch (r->write.state) {
	case WRITE_IDLE:
	case WRITE_WAITING:
		return PHASE_WAIT;
	case WRITE_DONE:
		rollout_committed(r);
		return PHASE_DONE;
	case WRITE_SUPERSEDED:
		rollout_committed(r);
		return fenced(r, "it has committed, and another holder has opened the namespace "
				 "since");
	case WRITE_CONFLICT:
		return fenced(r, "another holder opened the namespace before the commit");
	case WRITE_REFUSED:
		return rollout_fail(r, &r->write.failure);
	case WRITE_UNKNOWN:
		/* Nothing is removed: either state may be the committed one. */
		return rollout_lose(r, &r->write.failure);
	}
	return PHASE_WAIT;
}
