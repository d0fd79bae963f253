/* store.accept: an operator decides to continue with a store that contradicts what this machine has
 * seen. All its streams get a generation above every one that was seen, so that every reader drops
 * what it holds of the earlier one; missing streams are created. */
#include "meshd/meshd.h"

struct accepting {
	struct meshd *meshd;
	struct bus_call *call;
	struct polling *polling;
	struct operations *operations;
	int64_t generation; /* the new one; 0: not decided yet */
	bool foreign;	    /* the store is used instead of the one that was requested */
	unsigned checks;    /* polls after the update */
	struct timer *timer;
};

/* A leader that was just elected may describe a stream as it was before. */
#define CHECKS_MAX 10

static void finish(struct accepting *accepting, const struct failure *failure)
{
	struct meshd *meshd = accepting->meshd;
	struct store_accepted accepted = { .generation = accepting->generation };

	if (failure)
		bus_call_fail(accepting->call, failure);
	else
		bus_call_ok(accepting->call, &accepted);
	accepting->call = NULL;
	accept_free(meshd);
	bootstrap_poll_within(meshd, 0);
}

/* After the update the verdict must be GOOD; the poll of bootstrap.c may have adopted the store
 * already. */
static void on_checked(struct poll *poll, void *userdata)
{
	struct accepting *accepting = userdata;
	struct meshd *meshd = accepting->meshd;
	_cleanup_(marker_freep) struct marker *known = store_known(meshd->marker, poll);
	struct store_verdict verdict = store_judge(meshd->marker, known, meshd->init, poll);
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;
	int r;

	accepting->polling = NULL;
	if (verdict.state != STORE_TAKE && verdict.state != STORE_GOOD &&
	    ++accepting->checks < CHECKS_MAX) {
		poll_free(poll);
		timer_arm(accepting->timer, STORE_CONFIRM_USEC);
		return;
	}
	if (verdict.state == STORE_TAKE || verdict.state == STORE_GOOD) {
		r = bootstrap_mark(meshd, poll);
		if (r < 0)
			failure_set(&failure, FAILURE_FAILED,
				    "free space there, then run `ployzctl store accept` again",
				    "cannot write the marker of the store to %s: %s",
				    meshd->config->daemon.state, strerror(-r));
	} else {
		store_failure(&verdict, known, meshd->init, poll, &failure);
	}
	poll_free(poll);
	finish(accepting, failure_is_set(&failure) ? &failure : NULL);
}

static void check(void *userdata)
{
	struct accepting *accepting = userdata;

	accepting->polling = poll_start(accepting->meshd, on_checked, accepting);
}

static void on_updated(const struct failure *failure, void *userdata)
{
	struct accepting *accepting = userdata;

	operations_free(steal(accepting->operations));
	if (!failure && accepting->foreign) {
		init_request_remove(accepting->meshd->config->daemon.state);
		init_request_free(steal(accepting->meshd->init));
	}
	if (failure)
		finish(accepting, failure);
	else
		check(accepting);
}

/* The configuration of this version; limits in bytes and replicas stay as they are. */
static json_t *accepted_config(const struct polled_stream *stream, enum streams_id id,
			       int64_t replicas, int64_t generation, const char *store)
{
	json_t *config = streams_config(id, (int)replicas, generation, store);

	if (stream->result == POLL_PRESENT && stream->max_bytes > streams_rows[id].max_bytes)
		json_object_set_new(config, "max_bytes",
				    json_integer((json_int_t)stream->max_bytes));
	return config;
}

static void update(struct accepting *accepting, const struct poll *poll, const char *store)
{
	int64_t replicas = 1;

	for (size_t i = 0; i < STREAMS_COUNT; i++)
		replicas = MAX2(replicas, poll->store[i].replicas);
	accepting->operations = operations_new(accepting->meshd, on_updated, accepting);
	for (size_t i = 0; i < STREAMS_COUNT; i++) {
		enum streams_id id = (enum streams_id)i;
		bool present = poll->store[i].result == POLL_PRESENT;

		operations_add(accepting->operations, present ? STREAM_UPDATE : STREAM_CREATE, id,
			       false,
			       accepted_config(&poll->store[i], id, replicas, accepting->generation,
					       store));
	}
	operations_run(accepting->operations);
}

static void on_polled(struct poll *poll, void *userdata)
{
	struct accepting *accepting = userdata;
	struct meshd *meshd = accepting->meshd;
	const struct store_accept_request *request = bus_call_request(accepting->call);
	_cleanup_(marker_freep) struct marker *known = store_known(meshd->marker, poll);
	struct store_verdict verdict = store_judge(meshd->marker, known, meshd->init, poll);
	/* A gateway or resolver may have seen entries that were lost before meshd polled them. */
	bool forced = request->force && verdict.state == STORE_GOOD;
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;

	accepting->polling = NULL;
	store_failure(&verdict, known, meshd->init, poll, &failure);
	if (!store_is_error(verdict.state) && !forced) {
		if (!failure_is_set(&failure))
			failure_set(&failure, FAILURE_REFUSED,
				    "if `ployzctl status` shows a gateway or resolver that misses "
				    "entries, run `ployzctl store accept --force`",
				    "cannot accept the store: it has no error");
		poll_free(poll);
		finish(accepting, &failure);
		return;
	}
	accepting->foreign = verdict.state == STORE_FOREIGN;
	accepting->generation = store_accept_generation(known, poll);
	log_notice("accepting the store as generation %lld, for %s%s%s: %s",
		   (long long)accepting->generation,
		   request->operator_ ? request->operator_ : "an operator",
		   request->why ? ", " : "", request->why ? request->why : "",
		   forced ? "forced" : failure.message);
	update(accepting, poll, store_accept_id(known, meshd->init, poll));
	poll_free(poll);
}

void accept_serve(struct bus_call *call, _unused_ void *request, void *userdata)
{
	struct meshd *meshd = userdata;

	if (meshd->accepting || meshd->compaction) {
		bus_call_failf(call, FAILURE_REFUSED, "repeat the command when that has ended",
			       "cannot accept the store: another %s is under way",
			       meshd->accepting ? "store accept" : "store compact");
		return;
	}
	meshd->accepting = xcalloc(1, sizeof(*meshd->accepting));
	meshd->accepting->meshd = meshd;
	meshd->accepting->call = call;
	meshd->accepting->timer = timer_new(meshd->loop, check, meshd->accepting);
	meshd->accepting->polling = poll_start(meshd, on_polled, meshd->accepting);
}

void accept_free(struct meshd *meshd)
{
	struct accepting *accepting = steal(meshd->accepting);

	if (!accepting)
		return;
	poll_cancel(accepting->polling);
	operations_free(accepting->operations);
	timer_free(accepting->timer);
	if (accepting->call)
		bus_call_drop(accepting->call);
	free(accepting);
}
