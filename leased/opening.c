/* Opening: the compare-and-set append that fences every earlier holder, under an epoch that is
 * higher than any that was seen. */
#include "leased/rollout.h"

#define OPENINGS_MAX \
	8 /* attempts: entries of earlier holders may arrive late, and epochs may rise */

static enum phase_result check_plan(struct rollout *r, const struct head *head)
{
	uint64_t committed = head ? head_committed(head, r->sequence) : 0;

	if (r->request->plan_seq < 0 || (uint64_t)r->request->plan_seq == committed)
		return PHASE_DONE;
	return rollout_failf(r, FAILURE_STALE, "plan again: `ployzctl plan -f FILE`",
			     "cannot execute the plan: namespace %s has changed since (made from "
			     "%lld, now %llu: revision %lld by %s at %s)",
			     r->ns, (long long)r->request->plan_seq, (unsigned long long)committed,
			     head ? (long long)head->revision : 0,
			     head && head->operator_ ? head->operator_ : "an unnamed operator",
			     head && head->at ? head->at : "an unknown time");
}

enum phase_result opening_take(struct rollout *r, const struct store_read *read)
{
	const struct store_entry *entry = read->n_entries ? &read->entries[0] : NULL;
	struct failure broken = FAILURE_INIT;
	struct head *head = entry ? entry_head(entry, &broken) : NULL;

	if (entry && !head) {
		rollout_fail(r, &broken);
		failure_clear(&broken);
		return PHASE_FAILED;
	}
	head_free(r->head);
	r->head = head;
	r->sequence = entry ? entry->sequence : 0;
	head_free(steal(r->base));
	if (head && head->revision)
		r->base = codec_copy(&head_schema, head);
	if (head) {
		r->release = head->release;
		r->release_number = head->release_number;
	}
	return check_plan(r, head);
}

static enum phase_result fenced(struct rollout *r, const char *why)
{
	struct failure failure = FAILURE_INIT;
	enum phase_result result;

	failure_set(&failure, FAILURE_FENCED,
		    "`ployzctl ns history` shows who wrote it; then deploy again",
		    "cannot continue deploy %s: %s", r->request->deploy, why);
	result = rollout_lose(r, &failure);
	failure_clear(&failure);
	return result;
}

static void append(struct rollout *r)
{
	_cleanup_free_ char *now = r->ops->now_text(r), *nonce = r->ops->nonce(r);

	head_free(r->trying);
	r->trying = head_opened(r, r->head, r->sequence, now, nonce);
	r->openings++;
	rollout_append_head(r, r->trying, true);
}

static void opened(struct rollout *r)
{
	const struct open_deploy *before = r->head ? r->head->open : NULL;

	if (before && !streq(before->deploy, r->request->deploy)) {
		open_deploy_free(r->orphan);
		r->orphan = codec_copy(&open_deploy_schema, before);
	}
	head_free(r->head);
	r->head = steal(r->trying);
	r->sequence = r->opened = r->write.sequence;
	r->record->epoch = r->lease.epoch;
	r->record->opened = (int64_t)r->opened;
	write_clear(&r->write);
}

/* An earlier holder's entry was first: the closing entry of an abort, or a late commit. This
 * rollout holds the lease, so it starts from that entry. */
static enum phase_result read_again(struct rollout *r)
{
	_cleanup_free_ char *subject = NULL;
	enum phase_result result;

	if (r->openings >= OPENINGS_MAX)
		return fenced(r, "other writers keep changing its namespace");
	if (r->read.state == RPC_IDLE) {
		subject = subject_make(SUBJECT_NAMESPACE, r->ns, NULL);
		r->read.state = RPC_WAITING;
		r->ops->read_last(&r->read, STREAM_INTENT, subject);
		return PHASE_WAIT;
	}
	if (r->read.state == RPC_WAITING)
		return PHASE_WAIT;
	if (r->read.state == RPC_FAILED)
		return rollout_fail(r, &r->read.failure);
	result = opening_take(r, &r->read);
	read_clear(&r->read);
	write_clear(&r->write);
	return result;
}

enum phase_result opening_poll(struct rollout *r)
{
	bool own = r->head && streq(r->head->writer, r->request->deploy);
	int64_t above = MAX2(r->above, r->head && !own ? r->head->epoch : 0);
	enum phase_result result;

	if (r->lease.state == HELD_RAISING)
		return PHASE_WAIT;
	switch (r->write.state) {
	case WRITE_IDLE:
		if (r->lease.epoch <= above) {
			r->lease.state = HELD_RAISING;
			r->ops->lease_raise(r, above);
			return PHASE_WAIT;
		}
		append(r);
		return PHASE_WAIT;
	case WRITE_WAITING:
		return PHASE_WAIT;
	case WRITE_DONE:
		opened(r);
		return PHASE_DONE;
	case WRITE_SUPERSEDED:
		return fenced(r, "another holder has opened its namespace");
	case WRITE_CONFLICT:
		result = read_again(r);
		if (result != PHASE_DONE)
			return result;
		return opening_poll(r);
	case WRITE_REFUSED:
	case WRITE_UNKNOWN:
		return rollout_fail(r, &r->write.failure);
	}
	return PHASE_WAIT;
}
