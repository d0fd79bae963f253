/* store.compact: lowers how many entries a subject keeps, so that the servers drop the oldest,
 * waits until they have, and restores the limit. Head and manifest of every namespace stay: the
 * last entry of a subject is never dropped, and manifests are kept back to the one that the head
 * refers to. An interrupted compaction leaves low limits, which bootstrap.c raises. */
#include "meshd/meshd.h"

/* Polls the number of entries per subject of a lowered stream until none exceeds its limit. */
struct counting {
	struct compaction *compaction;
	enum streams_id id;
	bool mirror;
	int64_t highest; /* highest number of entries of a subject; -1: unknown */
	struct bus_request *request;
};
struct compaction {
	struct meshd *meshd;
	struct bus_call *call;	     /* NULL: of this machine's mirrors alone */
	struct poll *poll;	     /* before */
	int64_t keep[STREAMS_COUNT]; /* entries per subject; 0: do not change this stream */
	struct polling *polling;
	struct accounting *accounting;
	struct operations *operations;
	struct counting counting[2 * STREAMS_COUNT];
	size_t n_counting, left;
	struct failure failure;				/* the first one */
	void (*counted)(struct compaction *compaction); /* when every count has been answered */
	struct timer *timer;
	uint64_t deadline_usec; /* boot time */
};

/* --- the end */

static void add_figures(const struct poll *poll, uint64_t *bytes, int64_t *messages)
{
	for (size_t i = 0; i < STREAMS_COUNT; i++) {
		*bytes += poll->store[i].bytes;
		*messages += (int64_t)poll->store[i].messages;
	}
}

static void finish(struct compaction *compaction, const struct poll *after)
{
	struct meshd *meshd = compaction->meshd;
	struct store_compacted compacted = { 0 };

	if (compaction->call && failure_is_set(&compaction->failure)) {
		bus_call_fail(steal(compaction->call), &compaction->failure);
	} else if (compaction->call) {
		add_figures(compaction->poll, &compacted.bytes_before, &compacted.messages_before);
		add_figures(after, &compacted.bytes_after, &compacted.messages_after);
		bus_call_ok(steal(compaction->call), &compacted);
	} else if (failure_is_set(&compaction->failure)) {
		log_failure(&compaction->failure);
	}
	compact_free(meshd);
	bootstrap_poll_within(meshd, WATCH_ERROR_USEC);
}

static void on_polled_after(struct poll *poll, void *userdata)
{
	struct compaction *compaction = userdata;

	compaction->polling = NULL;
	finish(compaction, poll);
	poll_free(poll);
}

/* --- limits */

static void fail(struct compaction *compaction, const struct failure *failure)
{
	if (!failure_is_set(&compaction->failure))
		failure_copy(&compaction->failure, failure);
}

static void add_limit(struct compaction *compaction, const struct polled_stream *stream,
		      enum streams_id id, bool mirror, int64_t limit)
{
	json_t *config = json_copy(stream->config);

	json_object_set_new(config, "max_msgs_per_subject", json_integer(limit));
	operations_add(compaction->operations, STREAM_UPDATE, id, mirror, config);
}

static void set_limits(struct compaction *compaction, bool lowered, operations_fn then)
{
	compaction->operations = operations_new(compaction->meshd, then, compaction);
	for (size_t i = 0; i < STREAMS_COUNT; i++) {
		enum streams_id id = (enum streams_id)i;
		int64_t limit = lowered ? compaction->keep[i] : streams_rows[i].per_subject;

		if (!compaction->keep[i])
			continue;
		if (compaction->call)
			add_limit(compaction, &compaction->poll->store[i], id, false, limit);
		if (compaction->poll->mirrors[i].result == POLL_PRESENT)
			add_limit(compaction, &compaction->poll->mirrors[i], id, true, limit);
	}
	operations_run(compaction->operations);
}

static void on_restored(const struct failure *failure, void *userdata)
{
	struct compaction *compaction = userdata;
	struct meshd *meshd = compaction->meshd;

	operations_free(steal(compaction->operations));
	if (!failure) {
		compaction->polling = poll_start(meshd, on_polled_after, compaction);
		return;
	}
	log_warning("cannot restore the limits after store compact: %s; retrying",
		    failure->message);
	meshd->lowered_since = 1; /* a time long ago: the next poll raises the limits */
	fail(compaction, failure);
	finish(compaction, NULL);
}

static void restore(struct compaction *compaction)
{
	set_limits(compaction, false, on_restored);
}

/* --- counting the entries of each subject */

static int64_t highest_count(const json_t *info)
{
	const json_t *counts = json_object_get(json_object_get(info, "state"), "subjects"), *count;
	int64_t highest = 0;
	const char *subject;

	json_object_foreach ((json_t *)counts, subject, count)
		highest = MAX2(highest, json_integer_value(count));
	return highest;
}

static void on_count(_unused_ const struct failure *failure, const json_t *info, void *userdata)
{
	struct counting *counting = userdata;
	struct compaction *compaction = counting->compaction;

	counting->request = NULL;
	counting->highest = info ? highest_count(info) : -1;
	if (--compaction->left == 0)
		compaction->counted(compaction);
}

static void count_all(void *userdata)
{
	struct compaction *compaction = userdata;
	struct meshd *meshd = compaction->meshd;

	compaction->left = compaction->n_counting;
	for (size_t i = 0; i < compaction->n_counting; i++) {
		struct counting *counting = &compaction->counting[i];

		stream_info_subjects(meshd->bus, counting->mirror ? meshd->machine : STORE_DOMAIN,
				     streams_rows[counting->id].name, STORE_ASK_USEC, on_count,
				     counting, &counting->request);
	}
}

static void add_counting(struct compaction *compaction, enum streams_id id, bool mirror)
{
	compaction->counting[compaction->n_counting++] = (struct counting){
		.compaction = compaction,
		.id = id,
		.mirror = mirror,
		.highest = -1,
	};
}

/* --- waiting until the entries are dropped */

static void check_dropped(struct compaction *compaction)
{
	struct failure failure = FAILURE_INIT;
	bool dropped = true;

	for (size_t i = 0; i < compaction->n_counting; i++) {
		const struct counting *counting = &compaction->counting[i];

		dropped &= counting->highest >= 0 &&
			   counting->highest <= compaction->keep[counting->id];
	}
	if (dropped) {
		restore(compaction);
	} else if (boot_now_usec() < compaction->deadline_usec) {
		timer_arm(compaction->timer, COMPACT_POLL_USEC);
	} else {
		failure_set(&failure, FAILURE_TIMEOUT,
			    "repeat the command; `ployzctl store usage` shows the streams",
			    "cannot compact the store: it has not dropped its old entries within "
			    "%llu s",
			    (unsigned long long)(COMPACT_USEC / 1000000));
		fail(compaction, &failure);
		failure_clear(&failure);
		restore(compaction);
	}
}

static void on_lowered(const struct failure *failure, void *userdata)
{
	struct compaction *compaction = userdata;

	operations_free(steal(compaction->operations));
	if (failure) {
		fail(compaction, failure);
		restore(compaction);
		return;
	}
	for (size_t i = 0; i < STREAMS_COUNT; i++) {
		if (compaction->keep[i] && compaction->call)
			add_counting(compaction, (enum streams_id)i, false);
		if (compaction->keep[i] && compaction->poll->mirrors[i].result == POLL_PRESENT)
			add_counting(compaction, (enum streams_id)i, true);
	}
	compaction->counted = check_dropped;
	count_all(compaction);
}

static void lower(struct compaction *compaction)
{
	compaction->deadline_usec = boot_now_usec() + COMPACT_USEC;
	set_limits(compaction, true, on_lowered);
}

/* --- the request */

static void on_account(const struct failure *failure, struct account *account, void *userdata)
{
	struct compaction *compaction = userdata;
	const struct store_compact_request *request = bus_call_request(compaction->call);
	int64_t manifests;

	compaction->accounting = NULL;
	if (failure) {
		fail(compaction, failure);
		finish(compaction, NULL);
		return;
	}
	/* A stream whose limit is not higher is not changed. */
	manifests = MAX2(request->keep, account_manifests_kept(account) + COMPACT_MARGIN);
	account_free(account);
	if (request->keep < streams_rows[STREAMS_INTENT].per_subject)
		compaction->keep[STREAMS_INTENT] = request->keep;
	if (manifests < streams_rows[STREAMS_MANIFESTS].per_subject)
		compaction->keep[STREAMS_MANIFESTS] = manifests;
	log_notice("compacting the store to %lld entries per subject, for %s",
		   (long long)request->keep,
		   request->operator_ ? request->operator_ : "an operator");
	if (compaction->keep[STREAMS_INTENT] || compaction->keep[STREAMS_MANIFESTS])
		lower(compaction);
	else
		restore(compaction);
}

/* --- compacting only the mirrors, after another machine's meshd has compacted the store: a mirror
 * keeps the dropped entries until its own limit is lowered, too. */

static int64_t excess(const struct poll *poll, enum streams_id id)
{
	const struct polled_stream *mirror = &poll->mirrors[id], *stream = &poll->store[id];

	if (mirror->result != POLL_PRESENT || mirror->last_sequence != stream->last_sequence ||
	    mirror->messages < stream->messages)
		return 0;
	return (int64_t)(mirror->messages - stream->messages);
}

/* Two counts of each stream, the store's and the mirror's. */
static void check_measured(struct compaction *compaction)
{
	bool any = false;

	for (size_t i = 0; i + 1 < compaction->n_counting; i += 2) {
		const struct counting *store = &compaction->counting[i], *mirror = store + 1;

		if (store->highest <= 0 || mirror->highest <= store->highest)
			continue;
		compaction->keep[store->id] = store->highest;
		any = true;
	}
	compaction->n_counting = 0;
	if (any)
		lower(compaction);
	else
		finish(compaction, NULL);
}

static void measure(struct compaction *compaction)
{
	for (size_t i = 0; i < STREAMS_COUNT; i++) {
		enum streams_id id = (enum streams_id)i;

		compaction->meshd->mirror_excess[i] = excess(compaction->poll, id);
		if (!compaction->meshd->mirror_excess[i])
			continue;
		add_counting(compaction, id, false);
		add_counting(compaction, id, true);
	}
	compaction->counted = check_measured;
	if (compaction->n_counting)
		count_all(compaction);
	else
		finish(compaction, NULL);
}

/* --- the start of both */

static void on_polled(struct poll *poll, void *userdata)
{
	struct compaction *compaction = userdata;
	struct meshd *meshd = compaction->meshd;
	_cleanup_(marker_freep) struct marker *known = store_known(meshd->marker, poll);
	struct store_verdict verdict = store_judge(meshd->marker, known, meshd->init, poll);
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;

	compaction->polling = NULL;
	compaction->poll = poll;
	if (verdict.state == STORE_GOOD && compaction->call) {
		compaction->accounting = accounting_start(meshd, on_account, compaction);
		return;
	}
	if (verdict.state == STORE_GOOD) {
		measure(compaction);
		return;
	}
	store_failure(&verdict, known, meshd->init, poll, &failure);
	fail(compaction, &failure);
	finish(compaction, NULL);
}

static struct compaction *compaction_new(struct meshd *meshd)
{
	struct compaction *compaction = xcalloc(1, sizeof(*compaction));

	compaction->meshd = meshd;
	compaction->timer = timer_new(meshd->loop, count_all, compaction);
	meshd->compaction = compaction;
	return compaction;
}

void compact_serve(struct bus_call *call, _unused_ void *request, void *userdata)
{
	struct meshd *meshd = userdata;
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;
	struct compaction *compaction;

	if (meshd->accepting || meshd->compaction) {
		bus_call_failf(call, FAILURE_REFUSED, "repeat the command when that has ended",
			       "cannot compact the store: another %s is under way",
			       meshd->accepting ? "store accept" : "store compact");
		return;
	}
	if (bootstrap_require_good(meshd, &failure) < 0) {
		bus_call_fail(call, &failure);
		return;
	}
	compaction = compaction_new(meshd);
	compaction->call = call;
	compaction->polling = poll_start(meshd, on_polled, compaction);
}

void compact_mirrors(struct meshd *meshd)
{
	struct compaction *compaction;
	bool any = false;

	for (size_t i = 0; i < STREAMS_COUNT; i++) {
		int64_t now = excess(meshd->poll, (enum streams_id)i);

		any |= now > 0 && now != meshd->mirror_excess[i];
	}
	if (!any || meshd->accepting || meshd->compaction)
		return;
	compaction = compaction_new(meshd);
	compaction->polling = poll_start(meshd, on_polled, compaction);
}

void compact_free(struct meshd *meshd)
{
	struct compaction *compaction = steal(meshd->compaction);

	if (!compaction)
		return;
	poll_cancel(compaction->polling);
	accounting_cancel(compaction->accounting);
	operations_free(compaction->operations);
	for (size_t i = 0; i < compaction->n_counting; i++)
		bus_request_cancelp(&compaction->counting[i].request);
	timer_free(compaction->timer);
	poll_free(compaction->poll);
	failure_clear(&compaction->failure);
	if (compaction->call)
		bus_call_drop(compaction->call);
	free(compaction);
}
