/* Records (pure): interprets the status records of other deploys. */
#include "leased/rollout.h"

bool record_is_pending(const struct deploy *record)
{
	return record->phase == DEPLOY_CLEANUP_PENDING || record->phase == DEPLOY_UNKNOWN ||
	       !deploy_phase_is_end((enum deploy_phase)record->phase);
}

bool record_is_void(const struct deploy *record)
{
	return !record->sequence &&
	       (record->phase == DEPLOY_FAILED || record->phase == DEPLOY_REFUSED);
}

bool record_resolve(struct deploy *record, const struct head *next, uint64_t sequence)
{
	struct failure failure = FAILURE_INIT;

	if (!next)
		return false;
	error_free(steal(record->failure));
	if (!next->open && streq(next->deploy, record->deploy) &&
	    streq(next->writer, record->deploy) && !next->committed) {
		record->phase = DEPLOY_CLEANUP_PENDING;
		record->revision = next->revision;
		record->sequence = (int64_t)sequence;
		record->changed = true;
		failure_set(&failure, FAILURE_CLEANUP_PENDING,
			    "`ployzctl deploy sweep` finishes the clean-up",
			    "deploy %s committed revision %lld, its clean-up is pending",
			    record->deploy, (long long)next->revision);
	} else {
		record->phase = DEPLOY_FAILED;
		failure_set(&failure, FAILURE_FAILED, "deploy again",
			    "deploy %s did not commit: entry %llu of namespace %s, by deploy %s, "
			    "followed its opening entry",
			    record->deploy, (unsigned long long)sequence, record->ns,
			    next->writer ? next->writer : "unknown");
	}
	record->failure = error_from_failure(&failure);
	failure_clear(&failure);
	return true;
}

void record_unopened(struct deploy *record)
{
	struct failure failure = FAILURE_INIT;

	record->phase = DEPLOY_FAILED;
	failure_set(&failure, FAILURE_FAILED, "deploy again",
		    "deploy %s did not commit: namespace %s has no entry of it", record->deploy,
		    record->ns);
	error_free(record->failure);
	record->failure = error_from_failure(&failure);
	failure_clear(&failure);
}
