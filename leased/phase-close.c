/* Phases close and end: appends the entry that closes a deploy without a commit, and reports the
 * end. */
#include "leased/rollout.h"

enum phase_result phase_close_start(struct rollout *r)
{
	_cleanup_free_ char *now = NULL, *nonce = NULL;

	if (!r->opened || r->committed || !r->head || !r->head->open)
		return PHASE_DONE;
	now = r->ops->now_text(r);
	nonce = r->ops->nonce(r);
	r->trying = head_closed(r->head,
				failure_is_set(&r->failure) ? r->failure.message
				: r->outcome		    ? r->outcome
							    : "closed",
				now, nonce);
	/* A full disk is not waited for: the next opening entry closes the deploy. */
	rollout_append_head(r, r->trying, true);
	return PHASE_WAIT;
}

enum phase_result phase_close_poll(struct rollout *r)
{
	switch (r->write.state) {
	case WRITE_IDLE:
	case WRITE_WAITING:
		return PHASE_WAIT;
	case WRITE_DONE:
	case WRITE_SUPERSEDED:
		head_free(r->head);
		r->head = steal(r->trying);
		r->sequence = r->write.sequence;
		return PHASE_DONE;
	case WRITE_CONFLICT:
	case WRITE_REFUSED:
	case WRITE_UNKNOWN:
		rollout_note(r,
			     "cannot close deploy %s in the log: %s; the next holder's opening "
			     "entry closes it",
			     r->request->deploy, r->write.failure.message);
		return PHASE_DONE;
	}
	return PHASE_WAIT;
}

/* An instance that could not be removed leaves the clean-up pending, also of a failed deploy. */
static void count_left(struct rollout *r)
{
	if (!r->record->n_left || failure_is_set(&r->failure))
		return;
	failure_set(&r->failure, FAILURE_CLEANUP_PENDING,
		    "the next deploy or `ployzctl deploy sweep` of the namespace removes it",
		    "cannot remove %s on machine %s: %s", r->record->left[0].instance,
		    r->record->left[0].machine,
		    r->record->left[0].reason ? r->record->left[0].reason : "no answer");
}

enum phase_result phase_end_start(struct rollout *r)
{
	count_left(r);
	rollout_conclude(r);
	r->ended = true;
	r->ops->record(r, true);
	return PHASE_WAIT;
}

enum phase_result phase_end_poll(_unused_ struct rollout *r)
{
	return PHASE_WAIT;
}
