/* The namespace's log: every append is a compare-and-set on the sequence that this walk last read
 * or wrote. */
#include "leased/leased.h"

static void on_waiting(const char *why, void *userdata)
{
	progress_note(userdata, "%s: repeating until the lease's own deadline", why);
}

/* Until when an append may be repeated: the lease's own deadline, no longer. */
static void append(struct walk *walk, const struct head *head, bool eager, sure_fn fn)
{
	_cleanup_free_ char *subject = subject_make(SUBJECT_NAMESPACE, head->ns, NULL);
	_cleanup_free_ char *text = codec_print(&head_schema, head);
	struct failure failure = FAILURE_INIT;
	const struct sure_append what = {
		.key = subject,
		.text = text,
		.nonce = head->nonce,
		.expected = walk->sequence,
		.deadline_usec = holding_deadline(walk->holding),
		.eager = eager,
	};

	/* A leased that was stopped for long wakes up here: its deadline may be over before its
	 * timer told. */
	if (boot_now_usec() >= what.deadline_usec) {
		failure_set(&failure, FAILURE_LEASE_LOST,
			    "deploy again; `ployzctl lease show` says who held it meanwhile",
			    "this leased slept past the term of its lease of namespace %s",
			    head->ns);
		walk_lost(walk, &failure);
		failure_clear(&failure);
		return;
	}
	sure_free(walk->append);
	walk->append = sure_append_new(walk->leased->daemon->bus, &what, fn, on_waiting, walk);
}

static void set_head(struct walk *walk, struct head *head, uint64_t sequence)
{
	head_free(walk->head);
	walk->head = head;
	walk->sequence = sequence;
}

static void fenced(struct walk *walk, const struct failure *failure)
{
	struct failure lost = FAILURE_INIT;

	failure_set(&lost, FAILURE_FENCED, "`ployzctl ns history` shows who; then deploy again",
		    "another holder has opened namespace %s meanwhile: %s",
		    walk->request->manifest->ns, failure->message);
	walk_lost(walk, &lost);
	failure_clear(&lost);
}

static void on_opened(enum sure_outcome outcome, uint64_t sequence, const struct failure *failure,
		      void *userdata)
{
	struct walk *walk = userdata;

	switch (outcome) {
	case SURE_DONE:
		walk->sequence = sequence;
		orphan_close(walk);
		walk_next(walk);
		return;
	case SURE_CONFLICT:
		fenced(walk, failure);
		return;
	case SURE_FAILED:
	case SURE_UNKNOWN:
		walk_fail(walk, failure);
		return;
	}
}

static void open_it(struct walk *walk, struct head *before, uint64_t sequence)
{
	_cleanup_free_ char *now = time_format(time_now_usec()), *nonce = id_new();
	const struct lease *lease = holding_lease(walk->holding);
	uint64_t committed = before ? head_committed(before, sequence) : 0;
	struct failure newer = FAILURE_INIT;
	struct head *opened;

	/* This leased slept between its lease and this reading: the compare-and-set alone would
	 * now put it before the one who holds the namespace. */
	if (before && before->epoch > lease->epoch) {
		failure_set(&newer, FAILURE_FENCED, NULL, "epoch %lld is over, the log has %lld",
			    (long long)lease->epoch, (long long)before->epoch);
		fenced(walk, &newer);
		failure_clear(&newer);
		head_free(before);
		return;
	}
	if (walk->request->plan_seq >= 0 && (uint64_t)walk->request->plan_seq != committed) {
		walk_failf(walk, FAILURE_STALE, "plan again: `ployzctl plan -f FILE`",
			   "namespace %s has changed since the plan (made from %lld, now %llu: "
			   "revision %lld by %s at %s)",
			   walk->request->manifest->ns, (long long)walk->request->plan_seq,
			   (unsigned long long)committed, before ? (long long)before->revision : 0,
			   before && before->operator_ ? before->operator_ : "nobody",
			   before && before->at ? before->at : "no time");
		head_free(before);
		return;
	}
	opened = head_opened(before, sequence, walk->request, lease, now, nonce);
	if (before && before->revision)
		walk->base = codec_copy(&head_schema, before);
	if (before && before->open)
		walk->orphan = codec_copy(&open_deploy_schema, before->open);
	head_free(before);
	set_head(walk, opened, sequence);
	append(walk, opened, true, on_opened);
}

static void on_head(const struct failure *failure, const struct stream_entry *entry, void *userdata)
{
	struct walk *walk = userdata;
	struct failure broken = FAILURE_INIT;
	void *head = NULL;

	walk->reading = NULL;
	if (failure) {
		if (boot_now_usec() < holding_deadline(walk->holding) &&
		    (failure->code == FAILURE_NO_QUORUM || failure->code == FAILURE_UNREACHABLE)) {
			if (!walk->again)
				on_waiting(failure->message, walk);
			walk->again = true;
		} else {
			walk_fail(walk, failure);
		}
		return;
	}
	if (entry && codec_parse(&head_schema, entry->data, entry->size, CODEC_LENIENT, &head,
				 &broken) < 0) {
		walk_failf(walk, FAILURE_BUG, "are all of this cluster's programs of one version?",
			   "the head of namespace %s cannot be read: %s %s",
			   walk->request->manifest->ns, broken.path ? broken.path : "it",
			   broken.message);
		failure_clear(&broken);
		return;
	}
	open_it(walk, head, entry ? entry->sequence : 0);
}

static void read_head(struct walk *walk)
{
	_cleanup_free_ char *subject =
		subject_make(SUBJECT_NAMESPACE, walk->request->manifest->ns, NULL);

	stream_last(walk->leased->daemon->bus, STORE_DOMAIN, STREAM_INTENT, subject, STORE_USEC,
		    on_head, walk, &walk->reading);
}

void step_open(struct walk *walk)
{
	progress_phase(walk, DEPLOY_PLANNING, NULL);
	read_head(walk);
}

void opening_tick(struct walk *walk)
{
	if (walk->again && !walk->reading && !walk->append)
		read_head(walk);
}

static void on_committed(enum sure_outcome outcome, uint64_t sequence,
			 const struct failure *failure, void *userdata)
{
	struct walk *walk = userdata;
	struct failure unknown = FAILURE_INIT;

	switch (outcome) {
	case SURE_DONE:
		set_head(walk, steal(walk->trying), sequence);
		walk->committed = true;
		walk->record->revision = walk->head->revision;
		walk->record->sequence = (int64_t)sequence;
		walk->record->changed = true;
		walk_next(walk);
		return;
	case SURE_CONFLICT:
		fenced(walk, failure);
		return;
	case SURE_FAILED:
		walk_fail(walk, failure);
		return;
	case SURE_UNKNOWN:
		/* Nothing may be removed now: either state may be the committed one. */
		failure_set(&unknown, FAILURE_NO_QUORUM,
			    "once the store answers, `ployzctl ns show` tells which revision "
			    "holds; the next deploy cleans up",
			    "it is not known whether the commit was stored: %s", failure->message);
		walk_lost(walk, &unknown);
		failure_clear(&unknown);
		return;
	}
}

void step_commit(struct walk *walk)
{
	_cleanup_free_ char *now = time_format(time_now_usec()), *nonce = id_new();
	struct head *next;

	progress_phase(walk, DEPLOY_COMMITTING, NULL);
	next = head_committed_next(walk->head, walk->request, holding_lease(walk->holding),
				   walk->candidates, walk->n_candidates, now, nonce);
	/* The head that is there stays until this one is: a refusal leaves the deploy open, to be
	 * closed. */
	head_free(walk->trying);
	walk->trying = next;
	append(walk, next, false, on_committed);
}

static void on_closed(enum sure_outcome outcome, uint64_t sequence, const struct failure *failure,
		      void *userdata)
{
	struct walk *walk = userdata;

	if (outcome == SURE_DONE)
		walk->sequence = sequence;
	else
		progress_note(walk,
			      "the entry that closes it was not stored (%s): the next holder's "
			      "opening does it",
			      failure->message);
	walk_next(walk);
}

void step_close(struct walk *walk)
{
	_cleanup_free_ char *now = time_format(time_now_usec()), *nonce = id_new();

	if (!walk->head || !walk->head->open) {
		walk_next(walk);
		return;
	}
	set_head(walk,
		 head_closed(walk->head, walk->outcome ? walk->outcome : "failed", now, nonce),
		 walk->sequence);
	append(walk, walk->head, false, on_closed);
}
