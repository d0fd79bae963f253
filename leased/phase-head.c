/* Phases head and load: reads the head and, for a rollback, the stored release that becomes the
 * manifest. */
#include "leased/rollout.h"

static void read_head(struct rollout *r)
{
	_cleanup_free_ char *subject = subject_make(SUBJECT_NAMESPACE, r->ns, NULL);

	read_clear(&r->read);
	r->read.state = RPC_WAITING;
	r->ops->read_last(&r->read, STREAM_INTENT, subject);
}

enum phase_result phase_head_start(struct rollout *r)
{
	rollout_phase(r, DEPLOY_PLANNING, NULL);
	read_head(r);
	return PHASE_WAIT;
}

enum phase_result phase_head_poll(struct rollout *r)
{
	switch (r->read.state) {
	case RPC_IDLE: /* the last read failed */
		read_head(r);
		return PHASE_WAIT;
	case RPC_WAITING:
		return PHASE_WAIT;
	case RPC_FAILED:
		if (!rollout_may_retry(r, &r->read.failure))
			return rollout_fail(r, &r->read.failure);
		read_clear(&r->read);
		return PHASE_WAIT;
	case RPC_ANSWERED:
		return opening_take(r, &r->read);
	}
	return PHASE_WAIT;
}

/* --- rollback */

static enum phase_result not_found(struct rollout *r, int64_t to)
{
	return rollout_failf(
		r, FAILURE_INVALID, "`ployzctl ns history` lists the revisions that are kept",
		"cannot roll back namespace %s to revision %lld: the store does not have it", r->ns,
		(long long)to);
}

enum phase_result phase_load_start(struct rollout *r)
{
	_cleanup_free_ char *subject = NULL;

	if (!streq(r->request->verb, "rollback"))
		return PHASE_DONE;
	if (!r->base)
		return rollout_failf(r, FAILURE_INVALID, NULL,
				     "cannot roll back namespace %s: nothing was ever committed",
				     r->ns);
	subject = subject_make(SUBJECT_NAMESPACE, r->ns, NULL);
	r->read.state = RPC_WAITING;
	r->ops->read_history(&r->read, subject);
	return PHASE_WAIT;
}

/* Sequence of a revision's release, from the namespace's entries; 0: not found. */
static uint64_t find_release(const struct rollout *r, int64_t revision)
{
	uint64_t release = 0;

	for (size_t i = 0; i < r->read.n_entries; i++) {
		_cleanup_(head_freep) struct head *head = entry_head(&r->read.entries[i], NULL);

		if (head && head->revision == revision && head->release)
			release = (uint64_t)head->release;
	}
	return release;
}

static enum phase_result take_release(struct rollout *r, int64_t to)
{
	const struct store_entry *entry = r->read.n_entries ? &r->read.entries[0] : NULL;
	_cleanup_(release_freep) struct release *release = NULL;
	void *decoded = NULL;

	if (!entry || codec_parse(&release_schema, entry->text, entry->size, CODEC_LENIENT,
				  &decoded, NULL) < 0)
		return not_found(r, to);
	release = decoded;
	if (!streq(release->ns, r->ns))
		return not_found(r, to);
	manifest_free(r->manifest);
	r->manifest = steal(release->manifest);
	for (size_t i = 0; i < release->digests.count; i++)
		pairs_add(&r->pinned, release->digests.items[i].key,
			  release->digests.items[i].value);
	return PHASE_DONE;
}

enum phase_result phase_load_poll(struct rollout *r)
{
	int64_t to = r->request->to ? r->request->to : r->base->revision - 1;
	uint64_t release;

	if (r->read.state == RPC_WAITING)
		return PHASE_WAIT;
	if (r->read.state == RPC_FAILED)
		return rollout_fail(r, &r->read.failure);
	if (r->read.n_entries &&
	    !subject_match(SUBJECT_NAMESPACE, r->read.entries[0].subject, NULL, NULL))
		return take_release(r, to);
	release = to >= 1 ? find_release(r, to) : 0;
	if (!release)
		return not_found(r, to);
	read_clear(&r->read);
	r->read.state = RPC_WAITING;
	r->ops->read_at(&r->read, STREAM_MANIFESTS, release);
	return PHASE_WAIT;
}
