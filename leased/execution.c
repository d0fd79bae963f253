/* Execution: connects one rollout to the bus, the store, the lease and the machine view. Every
 * answer is written into the model, which is then polled once in the next iteration of the loop. */
#include "leased/leased.h"

static struct execution *of(const struct rollout *r)
{
	return r->userdata;
}

static void on_answer(const struct failure *failure, void *answer, void *userdata)
{
	struct rpc *rpc = userdata;

	rpc->handle = NULL;
	rpc_answer(rpc, failure, failure ? NULL : codec_copy(subjects[rpc->subject].reply, answer));
}

static void ask(struct rpc *rpc, const void *request, uint64_t timeout_usec)
{
	struct bus_request *handle = NULL;

	bus_ask(of(rpc->rollout)->leased->daemon->bus, rpc->subject, rpc->machine, request,
		timeout_usec, on_answer, rpc, &handle);
	rpc->handle = handle;
}

static void cancel_rpc(struct rpc *rpc)
{
	bus_request_cancel(steal(rpc->handle));
}

/* --- the lease */

static void on_lease_changed(void *userdata)
{
	struct execution *execution = userdata;

	rollout_lease(execution->rollout, held_lease_state(execution->lease),
		      held_lease_get(execution->lease)->epoch,
		      held_lease_deadline(execution->lease), held_lease_failure(execution->lease));
}

static void on_lease_renewed(void *userdata)
{
	on_lease_changed(userdata);
	execution_extend_write(userdata);
}

static void on_lease_waiting(const char *why, void *userdata)
{
	struct execution *execution = userdata;

	rollout_note(execution->rollout, "%s; repeating", why);
}

static bool executes(const char *deploy, void *userdata)
{
	const struct execution *execution = userdata;
	const struct execution *other = execution_find(execution->leased, deploy);

	return other && other != execution && !other->rollout->ended && !other->rollout->lost;
}

static void lease_take(struct rollout *r)
{
	static const struct held_lease_ops ops = {
		.changed = on_lease_changed,
		.renewed = on_lease_renewed,
		.waiting = on_lease_waiting,
		.executes = executes,
	};
	struct execution *execution = of(r);
	_cleanup_free_ char *now = time_format(time_now_usec());
	const struct lease wanted = {
		.ns = (char *)r->ns,
		.state = LEASE_HELD,
		.machine = (char *)execution->leased->machine,
		.incarnation = execution->leased->incarnation,
		.operator_ = r->request->operator_,
		.deploy = r->request->deploy,
		.verb = r->request->verb,
		.since = now,
	};

	execution->lease = held_lease_new(execution->leased->daemon->bus, execution->leased->watch,
					  &wanted, &ops, execution);
}

static void lease_raise(struct rollout *r, int64_t above)
{
	held_lease_raise(of(r)->lease, above);
}

static void lease_release(struct rollout *r)
{
	held_lease_release(of(r)->lease);
}

/* --- the rest */

/* A deploy is opened in the store's generation, which an operator may have raised just now. */
static bool checking(struct rollout *r)
{
	struct projection *view = of(r)->leased->projection;

	if (!projection_is_live(view) || projection_checked(view) >= of(r)->began_usec)
		return false;
	projection_check(view);
	return true;
}

static bool members(struct rollout *r, char ***ret)
{
	int64_t generation = leased_generation(of(r)->leased);

	/* Sequences of two store generations are not comparable: the machine view must have the
	 * generation that the deploy was opened in. */
	if (!r->opened)
		r->generation = generation;
	return leased_members(of(r)->leased, ret) && r->generation == generation;
}

static bool stopped(struct rollout *r, const char *point)
{
	return failpoint_is_set(of(r)->leased, r->ns, point);
}

static void progress(struct rollout *r, struct progress *p)
{
	progress_send(of(r), p);
}

static void record(struct rollout *r, bool final)
{
	record_write(of(r), final);
}

static void close_record(struct rollout *r, const char *deploy, enum deploy_phase phase,
			 const char *note)
{
	record_close(of(r), deploy, phase, note);
}

static char *nonce(_unused_ struct rollout *r)
{
	return id_new();
}

static char *now_text(_unused_ struct rollout *r)
{
	return time_format(time_now_usec());
}

static void schedule(struct rollout *r)
{
	deferred_schedule(of(r)->poll);
}

static const struct rollout_ops ops = {
	.ask = ask,
	.cancel_rpc = cancel_rpc,
	.read_last = execution_read_last,
	.read_at = execution_read_at,
	.read_next = execution_read_next,
	.read_history = execution_read_history,
	.read_claims = execution_read_claims,
	.cancel_read = execution_cancel_read,
	.append = execution_append,
	.cancel_write = execution_cancel_write,
	.lease_take = lease_take,
	.lease_raise = lease_raise,
	.lease_release = lease_release,
	.checking = checking,
	.members = members,
	.stopped = stopped,
	.progress = progress,
	.record = record,
	.close_record = close_record,
	.nonce = nonce,
	.now_text = now_text,
	.schedule = schedule,
};

/* Takes ownership of the record. */
static void keep_record(struct leased *leased, struct deploy *ended)
{
	if (leased->n_ended == RECORDS_KEPT) {
		deploy_free(leased->ended[0]);
		memmove(leased->ended, leased->ended + 1,
			--leased->n_ended * sizeof(*leased->ended));
	}
	leased->ended[leased->n_ended++] = ended;
}

static void finish(struct execution *execution)
{
	struct deploy *copy = codec_copy(&deploy_schema, execution->rollout->record);

	keep_record(execution->leased, copy);
	if (execution->done)
		execution->done(execution, execution->done_userdata);
	execution_free(execution);
}

static bool is_finished(const struct execution *execution)
{
	return execution->reported && !execution->closings;
}

static void on_poll(void *userdata)
{
	struct execution *execution = userdata;

	rollout_poll(execution->rollout, boot_now_usec());
	if (is_finished(execution))
		finish(execution);
}

static void on_tick(void *userdata)
{
	struct execution *execution = userdata;

	timer_arm(execution->tick, REPEAT_USEC);
	on_poll(execution);
}

void execution_ended(struct execution *execution)
{
	execution->reported = true;
	bus_subscription_free(steal(execution->progress));
	held_lease_free(steal(execution->lease));
	deferred_schedule(execution->poll);
}

/* Progress of agents is not durable: it only makes the rollout repeat its request. */
static void on_progress(const struct bus_message *message, void *userdata)
{
	struct execution *execution = userdata;
	void *decoded = NULL;

	if (execution->rollout->ended || codec_parse(&progress_schema, message->data, message->size,
						     CODEC_LENIENT, &decoded, NULL) < 0)
		return;
	rollout_on_progress(execution->rollout, decoded);
	progress_free(decoded);
}

struct execution *execution_new(struct leased *leased, const struct deploy_request *request)
{
	_cleanup_free_ char *subject = subject_make(SUBJECT_PROGRESS, request->deploy, NULL);
	struct execution *execution = xcalloc(1, sizeof(*execution));

	execution->leased = leased;
	execution->began_usec = boot_now_usec();
	execution->poll = deferred_new(leased->daemon->loop, on_poll, execution);
	execution->tick = timer_new(leased->daemon->loop, on_tick, execution);
	execution->rollout = rollout_new(&ops, execution, leased->machine, request);
	if (bus_subscribe(leased->daemon->bus, subject, on_progress, execution,
			  &execution->progress) < 0)
		log_warning("cannot subscribe to the progress of deploy %s; polling its agents "
			    "once a second",
			    request->deploy);
	LIST_INSERT_HEAD(&leased->executions, execution, entry);
	leased->executed++;
	timer_arm(execution->tick, REPEAT_USEC);
	deferred_schedule(execution->poll);
	projection_check(leased->projection);
	return execution;
}

void execution_free(struct execution *execution)
{
	LIST_REMOVE(execution, entry);
	record_closings_free(execution);
	record_writer_free(execution->writer);
	rollout_free(execution->rollout);
	held_lease_free(execution->lease);
	bus_subscription_free(execution->progress);
	timer_free(execution->tick);
	deferred_free(execution->poll);
	free(execution);
}

struct execution *execution_find(const struct leased *leased, const char *deploy)
{
	struct execution *execution;

	LIST_FOREACH (execution, &leased->executions, entry)
		if (streq(execution->rollout->request->deploy, deploy))
			return execution;
	return NULL;
}

const struct deploy *execution_record(const struct leased *leased, const char *deploy)
{
	const struct execution *execution = execution_find(leased, deploy);

	if (execution)
		return execution->rollout->record;
	for (size_t i = 0; i < leased->n_ended; i++)
		if (streq(leased->ended[i]->deploy, deploy))
			return leased->ended[i];
	return NULL;
}
