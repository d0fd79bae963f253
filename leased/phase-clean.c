/* Phases confirm and clean: waits until every gateway and resolver has applied the commit, then
 * drains and removes the instances that it replaced and those that earlier deploys left. */
#include "leased/rollout.h"

static bool has_targets(const struct rollout *r)
{
	size_t n;
	_cleanup_free_ struct cleaning_target *targets = cleaning_targets(r, &n);

	return n > 0;
}

enum phase_result phase_confirm_start(struct rollout *r)
{
	if (r->nothing || (!r->committed && !has_targets(r)))
		return PHASE_DONE;
	if (r->committed)
		rollout_phase(r, DEPLOY_CLEANING, NULL);
	return phase_confirm_poll(r);
}

enum phase_result phase_confirm_poll(struct rollout *r)
{
	const struct watermark wanted = rollout_watermark(r);
	struct failure failure = FAILURE_INIT;
	bool retry;

	if (r->confirmation)
		return confirmation_poll(r->confirmation);
	/* Uses the present set of machines: one may have joined since the plan. */
	r->confirmation = confirmation_new(r, &wanted);
	if (r->confirmation)
		return confirmation_poll(r->confirmation);
	failure_set(&failure, FAILURE_NO_QUORUM,
		    "the next deploy or `ployzctl deploy sweep` of the namespace cleans up",
		    "cannot remove what was replaced: the machine view is not live");
	retry = rollout_may_retry(r, &failure);
	failure.code = FAILURE_CLEANUP_PENDING;
	if (!retry)
		rollout_fail(r, &failure);
	failure_clear(&failure);
	return retry ? PHASE_WAIT : PHASE_FAILED;
}

enum phase_result phase_clean_start(struct rollout *r)
{
	size_t n;
	_cleanup_free_ struct cleaning_target *targets = cleaning_targets(r, &n);

	if (r->nothing)
		return PHASE_DONE;
	r->removal = removal_new(r);
	for (size_t i = 0; i < n; i++)
		removal_add(r->removal, targets[i].machine, targets[i].instance,
			    targets[i].grace_usec, targets[i].drain_usec);
	return phase_clean_poll(r);
}

/* This clean-up includes the pending clean-up of earlier deploys. */
static void close_previous(struct rollout *r)
{
	_cleanup_free_ char *note = xasprintf("cleaned up by deploy %s", r->request->deploy);

	if (!r->previous || r->record->n_left)
		return;
	r->ops->close_record(r, r->previous->deploy, DEPLOY_DONE, note);
	for (char **id = r->previous->supersedes; id && *id; id++)
		r->ops->close_record(r, *id, DEPLOY_DONE, note);
	deploy_free(steal(r->previous));
}

/* A holder that died after its commit has recorded nothing of what is left: then only the answer of
 * each machine tells. Returns one that did not answer, or NULL. */
static const char *unrecorded(const struct rollout *r)
{
	const struct deploy *previous = r->previous;

	if (!previous || (previous->n_left && !previous->supersedes))
		return NULL;
	for (size_t i = 0; i < r->n_participants; i++)
		if (!r->participants[i]->listed)
			return r->participants[i]->machine;
	return NULL;
}

static enum phase_result cleaned(struct rollout *r)
{
	const char *machine = unrecorded(r);

	r->cleaned = true;
	if (machine)
		return rollout_failf(r, FAILURE_CLEANUP_PENDING,
				     "the next deploy or `ployzctl deploy sweep` of the namespace "
				     "cleans it up",
				     "cannot tell what deploy %s left on machine %s: it was not "
				     "recorded, and the machine does not answer",
				     r->previous->deploy, machine);
	close_previous(r);
	return PHASE_DONE;
}

enum phase_result phase_clean_poll(struct rollout *r)
{
	struct failure failure = FAILURE_INIT;
	enum phase_result result = removal_poll(r->removal, &failure);

	if (result == PHASE_DONE) {
		result = cleaned(r);
	} else if (result == PHASE_FAILED) {
		removal_left(r->removal, r->record);
		rollout_fail(r, &failure);
	} else if (result == PHASE_LOST) {
		removal_left(r->removal, r->record);
		rollout_lose(r, &failure);
	}
	failure_clear(&failure);
	return result;
}
