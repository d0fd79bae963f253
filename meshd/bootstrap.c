/* Bootstrap: polls the store, judges it, and does what the verdict calls for. The streams of the
 * store are created once, on request. The marker records what has been seen of them; a store that
 * contradicts it is reported and not changed. The same poll then watches the store. */
#include "meshd/meshd.h"

static const char *const step_texts[] = {
	[BOOTSTRAP_POLL] = "polling the store",
	[BOOTSTRAP_WAIT] = "waiting for `ployzctl init NAME`",
	[BOOTSTRAP_CREATE] = "creating the streams",
	[BOOTSTRAP_MIRRORS] = "updating streams and local mirrors",
	[BOOTSTRAP_RECORDS] = "writing this machine's records",
	[BOOTSTRAP_DONE] = "done",
	[BOOTSTRAP_ERROR] = "waiting for `ployzctl store accept`",
};

const char *bootstrap_step_text(const struct meshd *meshd)
{
	return step_texts[meshd->step];
}

static void set_step(struct meshd *meshd, enum bootstrap_step step)
{
	if (meshd->step == step)
		return;
	meshd->step = step;
	daemon_status(meshd->daemon, "%s", step_texts[step]);
}

void bootstrap_poll_within(struct meshd *meshd, uint64_t usec)
{
	timer_arm_within(meshd->timer, usec);
}

/* --- steps that failed and are retried */

static bool is_unreachable(const struct failure *failure)
{
	return failure->code == FAILURE_NO_QUORUM || failure->code == FAILURE_UNREACHABLE ||
	       failure->code == FAILURE_TIMEOUT;
}

static void pause_then_poll(struct meshd *meshd)
{
	timer_arm(meshd->timer, meshd->retry_usec);
	meshd->retry_usec = MIN2(meshd->retry_usec * 2, STORE_RETRY_MAX_USEC);
}

/* The store starts at the same time as meshd: a missing answer is reported later than a refusal. */
static void report_failing(struct meshd *meshd, struct failing *failing, const char *what,
			   const struct failure *failure)
{
	uint64_t now = boot_now_usec();

	if (!failing->since)
		failing->since = now;
	if (failing->reported ||
	    (is_unreachable(failure) && now - failing->since < STORE_UNREACHABLE_USEC))
		return;
	failing->reported = true;
	meshd->settled = true;
	log_warning("cannot %s: %s; retrying, running containers continue%s%s", what,
		    failure->message, failure->hint ? "; " : "",
		    failure->hint ? failure->hint : "");
	daemon_status(meshd->daemon, "cannot %s: %s", what, failure->message);
}

static void recovered(struct failing *failing, const char *report)
{
	if (failing->reported)
		log_notice("%s", report);
	*failing = (struct failing){ .since = 0 };
}

void bootstrap_retry(struct meshd *meshd, const char *what, const struct failure *failure)
{
	report_failing(meshd, &meshd->failing, what, failure);
	pause_then_poll(meshd);
}

static void succeeded(struct meshd *meshd)
{
	recovered(&meshd->failing, "this machine's streams and records are complete");
	meshd->retry_usec = STORE_RETRY_USEC;
}

/* --- the marker */

int bootstrap_mark(struct meshd *meshd, const struct poll *poll)
{
	const char *state = meshd->config->daemon.state;
	_cleanup_(marker_freep) struct marker *known = store_known(meshd->marker, poll);
	_cleanup_(marker_freep) struct marker *marker = NULL;
	_cleanup_free_ char *now = time_format(time_now_usec());
	bool changed = false, taken;
	int r;

	marker = store_mark(meshd->marker, known, meshd->init, poll, now, &changed);
	if (!changed)
		return 0;
	taken = !meshd->marker || meshd->marker->generation != marker->generation;
	/* Facts of another generation do not prove that another machine wrote them. */
	if (taken && meshd->note && meshd->marker) {
		facts_note_free(meshd->note);
		meshd->note = codec_new(&facts_note_schema);
		r = facts_note_write(state, meshd->note);
		if (r < 0)
			return r;
	}
	r = marker_write(state, marker);
	if (r < 0)
		return r;
	if (taken)
		log_notice("this machine belongs to %s%s%sstore %s, generation %lld",
			   marker->cluster ? "cluster " : "",
			   marker->cluster ? marker->cluster : "", marker->cluster ? ", " : "",
			   marker->store, (long long)marker->generation);
	marker_free(meshd->marker);
	meshd->marker = steal(marker);
	if (meshd->init) {
		init_request_remove(state);
		init_request_free(steal(meshd->init));
	}
	if (taken)
		meshd->record_step = RECORD_FACTS;
	return 0;
}

static void report_marker(struct meshd *meshd, int r)
{
	if (r < 0 && !meshd->marker_failed)
		log_errno(LOG_ERR, r, "cannot write %s/store.json; retrying",
			  meshd->config->daemon.state);
	meshd->marker_failed = r < 0;
}

/* --- streams and mirrors */

static void on_operations(const struct failure *failure, void *userdata)
{
	struct meshd *meshd = userdata;

	operations_free(steal(meshd->operations));
	if (failure) {
		bootstrap_retry(meshd,
				meshd->step == BOOTSTRAP_CREATE ? "create the streams of the store"
								: "update the local mirrors",
				failure);
		return;
	}
	timer_arm(meshd->timer, 0);
}

static void create_streams(struct meshd *meshd)
{
	set_step(meshd, BOOTSTRAP_CREATE);
	meshd->operations = operations_new(meshd, on_operations, meshd);
	for (size_t i = 0; i < STREAMS_COUNT; i++)
		if (meshd->poll->store[i].result == POLL_ABSENT)
			operations_add(
				meshd->operations, STREAM_CREATE, (enum streams_id)i, false,
				streams_config((enum streams_id)i, 1, 1, meshd->init->store));
	operations_run(meshd->operations);
}

json_t *mirror_config(const struct meshd *meshd, enum streams_id id)
{
	json_t *config = streams_mirror_config(id);

	streams_mark(config, meshd->marker->generation, meshd->marker->store);
	return config;
}

static void add_mirror(struct meshd *meshd, enum streams_id id)
{
	const struct polled_stream *mirror = &meshd->poll->mirrors[id];
	const struct polled_stream *stream = &meshd->poll->store[id];
	struct operations *operations = meshd->operations;
	bool stalled = mirror_stalled(&meshd->stalls[id], mirror, stream, boot_now_usec());

	if (rebuild_is_of(meshd, id))
		return;
	switch (mirror_decide(mirror, stream, meshd->marker, streams_rows[id].per_subject,
			      stalled)) {
	case MIRROR_LEAVE:
		break;
	case MIRROR_CREATE:
		operations_add(operations, STREAM_CREATE, id, true, mirror_config(meshd, id));
		break;
	case MIRROR_DELETE:
		operations_add(operations, STREAM_DELETE, id, true, NULL);
		break;
	case MIRROR_UPDATE:
		if (!meshd->compaction)
			operations_add(operations, STREAM_UPDATE, id, true,
				       mirror_config(meshd, id));
		break;
	case MIRROR_REBUILD:
		if (meshd->rebuilding || meshd->compaction)
			break;
		/* The old mirror goes only where there is room for the new one. */
		if (mirror->result == POLL_PRESENT &&
		    !server_has_room(&meshd->servers[1], stream->bytes))
			break;
		if (stalled)
			log_notice("the local mirror of %s has stopped at entry %lld of %lld",
				   streams_rows[id].name, (long long)mirror->last_sequence,
				   (long long)stream->last_sequence);
		meshd->stalls[id] = (struct stall){ .since = 0 };
		rebuild_start(meshd, id);
		break;
	}
}

static bool is_lowered(const struct polled_stream *stream, enum streams_id id)
{
	int64_t limit = streams_rows[id].per_subject;

	return limit > 0 && stream->per_subject > 0 && stream->per_subject < limit;
}

static void add_raise(struct meshd *meshd, enum streams_id id)
{
	const struct polled_stream *stream = &meshd->poll->store[id];
	json_t *config = json_copy(stream->config);

	json_object_set_new(config, "max_msgs_per_subject",
			    json_integer(streams_rows[id].per_subject));
	operations_add(meshd->operations, STREAM_UPDATE, id, false, config);
}

/* A compaction that was interrupted leaves limits that are too low. It may also be another
 * machine's, which is under way: then they are raised later. */
static bool may_raise_limits(struct meshd *meshd)
{
	uint64_t now = boot_now_usec();
	bool lowered = false;

	for (size_t i = 0; i < STREAMS_COUNT; i++)
		lowered |= is_lowered(&meshd->poll->store[i], (enum streams_id)i);
	if (!lowered || meshd->compaction) {
		meshd->lowered_since = 0;
		return false;
	}
	if (!meshd->lowered_since)
		meshd->lowered_since = now;
	return !meshd->started || now - meshd->lowered_since >= LIMIT_REPAIR_USEC;
}

/* Whether a stream must be updated first. */
static bool update_streams(struct meshd *meshd)
{
	bool raise = may_raise_limits(meshd);

	meshd->operations = operations_new(meshd, on_operations, meshd);
	for (size_t i = 0; i < STREAMS_COUNT; i++) {
		if (streams_rows[i].mirrored)
			add_mirror(meshd, (enum streams_id)i);
		if (raise && is_lowered(&meshd->poll->store[i], (enum streams_id)i))
			add_raise(meshd, (enum streams_id)i);
	}
	if (!operations_count(meshd->operations)) {
		operations_free(steal(meshd->operations));
		return false;
	}
	if (!meshd->started)
		set_step(meshd, BOOTSTRAP_MIRRORS);
	operations_run(meshd->operations);
	return true;
}

/* --- the verdict, carried out */

static void watch_on(struct meshd *meshd)
{
	timer_arm(meshd->timer, servers_error(meshd) || failure_is_set(&meshd->clone)
					? WATCH_ERROR_USEC
					: WATCH_USEC);
}

void bootstrap_records_done(struct meshd *meshd)
{
	_cleanup_free_ char *subnet = plan_subnet_text(&meshd->pool, meshd->subnet);

	succeeded(meshd);
	set_step(meshd, BOOTSTRAP_DONE);
	if (!meshd->started)
		log_info("machine %s (%s), subnet %s", meshd->machine, meshd->name, subnet);
	meshd->started = true;
	meshd->settled = true;
	watch_on(meshd);
}

static void act_good(struct meshd *meshd)
{
	report_marker(meshd, bootstrap_mark(meshd, meshd->poll));
	if (update_streams(meshd))
		return;
	if (failure_is_set(&meshd->clone)) {
		meshd->settled = true;
		watch_on(meshd);
	} else if (meshd->record_step != RECORD_DONE) {
		set_step(meshd, BOOTSTRAP_RECORDS);
		records_run(meshd);
	} else {
		succeeded(meshd);
		set_step(meshd, BOOTSTRAP_DONE);
		records_check(meshd);
		if (!meshd->rebuilding)
			compact_mirrors(meshd);
		watch_on(meshd);
	}
}

static void act_take(struct meshd *meshd)
{
	struct failure failure = FAILURE_INIT;
	int r;

	records_stop(meshd);
	r = bootstrap_mark(meshd, meshd->poll);
	if (r == 0) {
		timer_arm(meshd->timer, 0);
		return;
	}
	failure_set(&failure, FAILURE_FAILED, NULL, "%s", strerror(-r));
	bootstrap_retry(meshd, "write the marker of the store to the state directory", &failure);
	failure_clear(&failure);
}

static void act_unreachable(struct meshd *meshd)
{
	records_stop(meshd);
	memset(meshd->stalls, 0, sizeof(meshd->stalls));
	if (!meshd->started)
		set_step(meshd, BOOTSTRAP_POLL);
	report_failing(meshd, &meshd->unreachable, "reach the store", &meshd->poll->unanswered);
	if (meshd->started)
		timer_arm(meshd->timer, WATCH_ERROR_USEC);
	else
		pause_then_poll(meshd);
}

static void act_uninitialised(struct meshd *meshd)
{
	struct failure failure = FAILURE_INIT;

	if (meshd->step != BOOTSTRAP_WAIT) {
		store_failure(&meshd->verdict, meshd->known, meshd->init, meshd->poll, &failure);
		log_notice("%s; %s", failure.message, failure.hint);
		failure_clear(&failure);
	}
	set_step(meshd, BOOTSTRAP_WAIT);
	meshd->settled = true;
	timer_arm(meshd->timer, STORE_RETRY_MAX_USEC);
}

/* Reported once it is confirmed. Nothing is written until an operator has decided. */
static void act_error(struct meshd *meshd)
{
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;
	enum store_state suspected = meshd->suspected;

	records_stop(meshd);
	meshd->suspected = meshd->verdict.state;
	if (suspected != meshd->verdict.state) {
		timer_arm(meshd->timer, STORE_CONFIRM_USEC);
		return;
	}
	store_failure(&meshd->verdict, meshd->known, meshd->init, meshd->poll, &failure);
	if (!streq(failure.message, meshd->error.message))
		log_error("%s; meshd writes nothing to it; %s", failure.message, failure.hint);
	failure_move(&meshd->error, &failure);
	set_step(meshd, BOOTSTRAP_ERROR);
	meshd->settled = true;
	timer_arm(meshd->timer, WATCH_ERROR_USEC);
}

static void act(struct meshd *meshd)
{
	enum store_state state = meshd->verdict.state;

	if (state != STORE_UNREACHABLE)
		recovered(&meshd->unreachable, "the store answers again");
	if (!store_is_error(state) && state != STORE_UNREACHABLE) {
		meshd->suspected = STORE_UNKNOWN;
		if (failure_is_set(&meshd->error))
			log_notice("the store is usable again");
		failure_clear(&meshd->error);
	}
	switch (state) {
	case STORE_UNKNOWN:
		break;
	case STORE_UNREACHABLE:
		act_unreachable(meshd);
		break;
	case STORE_UNINITIALISED:
		act_uninitialised(meshd);
		break;
	case STORE_CREATE:
		create_streams(meshd);
		break;
	case STORE_TAKE:
		act_take(meshd);
		break;
	case STORE_GOOD:
		act_good(meshd);
		break;
	default:
		act_error(meshd);
	}
}

static void on_polled(struct poll *poll, void *userdata)
{
	struct meshd *meshd = userdata;
	enum store_state before = meshd->verdict.state;

	meshd->polling = NULL;
	poll_free(meshd->poll);
	meshd->poll = poll;
	marker_free(meshd->known);
	meshd->known = store_known(meshd->marker, poll);
	meshd->verdict = store_judge(meshd->marker, meshd->known, meshd->init, poll);
	if (before != meshd->verdict.state)
		meshd->since = time_now_usec();
	watch_report(meshd);
	act(meshd);
}

/* The request may come at any time: `init` runs beside a meshd that waits for it. */
static void read_request(struct meshd *meshd)
{
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;

	if (meshd->marker)
		return;
	init_request_free(steal(meshd->init));
	if (init_request_read(meshd->config->daemon.state, &meshd->init, &failure) < 0)
		log_failure(&failure);
}

static void poll_now(void *userdata)
{
	struct meshd *meshd = userdata;

	servers_poll(meshd);
	if (meshd->polling || meshd->operations)
		return;
	read_request(meshd);
	meshd->polling = poll_start(meshd, on_polled, meshd);
}

int bootstrap_require_good(const struct meshd *meshd, struct failure *failure)
{
	if (failure_is_set(&meshd->error)) {
		failure_copy(failure, &meshd->error);
	} else if (!meshd->poll) {
		failure_set(failure, FAILURE_NO_QUORUM, "repeat the command in 2 s",
			    "cannot use the store: it has not been polled yet");
	} else if (meshd->verdict.state != STORE_GOOD) {
		store_failure(&meshd->verdict, meshd->known, meshd->init, meshd->poll, failure);
		if (!failure_is_set(failure))
			failure_set(failure, FAILURE_NO_QUORUM, "repeat the command in 2 s",
				    "cannot use the store: %s", step_texts[meshd->step]);
	}
	return failure_is_set(failure) ? -EAGAIN : 0;
}

void bootstrap_start(struct meshd *meshd)
{
	meshd->timer = timer_new(meshd->loop, poll_now, meshd);
	meshd->retry_usec = STORE_RETRY_USEC;
	servers_start(meshd);
	timer_arm(meshd->timer, 0);
}

void bootstrap_free(struct meshd *meshd)
{
	poll_cancel(meshd->polling);
	operations_free(meshd->operations);
	rebuild_free(meshd);
	records_free(meshd);
	servers_free(meshd);
	timer_free(meshd->timer);
	poll_free(meshd->poll);
	marker_free(meshd->known);
	marker_free(meshd->marker);
	init_request_free(meshd->init);
	failure_clear(&meshd->error);
}
