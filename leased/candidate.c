/* One candidate: drains and stops its predecessor (stop-first), starts it, waits until it is ready.
 * The request to its agentd is repeated at each report about it and once a second, which also
 * covers an agentd restart. */
#include "leased/rollout.h"

/* Added to the service's readiness limit: the engine creates and starts the container. */
#define ENGINE_EXTRA_USEC (180 * 1000000ull)

void candidate_free(struct candidate *c)
{
	rpc_clear(&c->rpc);
	draining_free(c->draining);
	free(c->instance);
	free(c->digest);
	free(c->hash);
	free(c->address);
	free(c);
}

bool candidate_may_start(const struct rollout *r, const struct candidate *c)
{
	for (size_t i = 0; i < r->n_candidates; i++) {
		const struct candidate *other = r->candidates[i];

		if (other->service && other->state != CANDIDATE_READY &&
		    strv_contains(c->service->depends_on, other->service->name))
			return false;
	}
	return true;
}

const char *candidate_old_machine(const struct candidate *c)
{
	return c->slot->from ? c->slot->from : c->slot->machine;
}

uint64_t candidate_ready_usec(const struct candidate *c)
{
	struct ready ready;

	service_ready(c->service, &ready);
	return ready.start_period + ready.running + (uint64_t)ready.retries * ready.interval;
}

static void ask_start(struct rollout *r, struct candidate *c)
{
	_cleanup_(strv_freep) char **new_volumes = NULL;
	size_t n_volumes;
	_cleanup_free_ struct volume *volumes =
		volumes_of(r, c->service, c->slot->machine, &n_volumes, &new_volumes);
	struct agent_start request = {
		.instance = c->instance,
		.slot = c->slot->slot,
		.service = (struct service *)c->service,
		.volumes = volumes,
		.n_volumes = n_volumes,
		.new_volumes = new_volumes,
		.digest = c->digest,
	};

	rollout_command(r, &request.command);
	c->again = false;
	if (!c->started)
		c->start_usec = r->now_usec;
	c->started = true;
	rpc_ask(r, &c->rpc, SUBJECT_AGENT_START, c->slot->machine, &request, AGENT_USEC);
}

static void ask_old(struct rollout *r, struct candidate *c, enum subject_id subject)
{
	struct agent_ref ref = { .instance = c->slot->old, .grace_ms = -1 };

	rollout_command(r, &ref.command);
	c->again = false;
	rpc_ask(r, &c->rpc, subject, candidate_old_machine(c), &ref, AGENT_USEC);
}

/* PHASE_WAIT: until `limit_usec` after the first drain, or stop, was sent. */
static enum phase_result wait_for_old(struct rollout *r, const struct candidate *c,
				      uint64_t limit_usec, const char *what)
{
	if (r->now_usec - c->old_usec <= limit_usec)
		return PHASE_WAIT;
	return rollout_failf(r, FAILURE_FAILED,
			     "the machine's engine or the store may be overloaded; deploy again",
			     "cannot replace %s on machine %s: it is not %s after %llu s",
			     c->slot->old, candidate_old_machine(c), what,
			     (unsigned long long)((r->now_usec - c->old_usec) / 1000000));
}

static enum phase_result ended(struct rollout *r, const struct candidate *c,
			       const struct instance *instance)
{
	const char *what = !instance				? "its container does not exist"
			   : instance->reason			? instance->reason
			   : instance->state == INSTANCE_FAILED ? "no reason given"
								: "something outside this deploy "
								  "stopped or removed it";

	return rollout_failf(r, FAILURE_FAILED,
			     "the committed state continues to serve; correct the service, then "
			     "deploy again",
			     "cannot start service %s, slot %lld on machine %s: %s",
			     c->service->name, (long long)c->slot->slot, c->slot->machine, what);
}

static enum phase_result take_start(struct rollout *r, struct candidate *c)
{
	const struct agent_instance *answer = c->rpc.answer;
	const struct instance *instance = answer->instance;

	if (!instance)
		return ended(r, c, NULL);
	switch ((enum instance_state)instance->state) {
	case INSTANCE_FAILED:
	case INSTANCE_GONE:
	case INSTANCE_STOPPED:
	case INSTANCE_DRAINING:
		return ended(r, c, instance);
	case INSTANCE_READY:
		/* A candidate counts as ready once its fact is stored: a gateway must be able to
		 * route to every instance that the commit names. */
		if (!answer->sequence)
			break;
		free(c->address);
		c->address = xstrdup(instance->address);
		c->facts = answer->sequence;
		c->state = CANDIDATE_READY;
		return PHASE_DONE;
	case INSTANCE_PULLING:
	case INSTANCE_CREATED:
	case INSTANCE_STARTING:
	case INSTANCE_UNREADY:
		break;
	}
	c->state = CANDIDATE_STARTING;
	if (r->now_usec - c->start_usec > candidate_ready_usec(c) + ENGINE_EXTRA_USEC)
		return rollout_failf(
			r, FAILURE_FAILED, "the machine's engine may be overloaded; deploy again",
			"cannot start service %s, slot %lld on machine %s: it is still "
			"%s after %llu s",
			c->service->name, (long long)c->slot->slot, c->slot->machine,
			instance_state_names[instance->state],
			(unsigned long long)((r->now_usec - c->start_usec) / 1000000));
	return PHASE_WAIT;
}

static enum phase_result poll_start(struct rollout *r, struct candidate *c)
{
	enum phase_result result;

	switch (rpc_verdict(&c->rpc, r->now_usec, NO_ANSWER_USEC)) {
	case VERDICT_ERROR:
		return rollout_rpc_error(r, &c->rpc);
	case VERDICT_ANSWER:
		result = take_start(r, c);
		if (result == PHASE_FAILED)
			return result;
		break;
	case VERDICT_PENDING:
		break;
	}
	/* A ready candidate is polled again only after a report about it. */
	if (c->state == CANDIDATE_READY ? c->again && rpc_is_due(&c->rpc, r->now_usec, true)
					: rpc_is_due(&c->rpc, r->now_usec, c->again))
		ask_start(r, c);
	return c->state == CANDIDATE_READY ? PHASE_DONE : PHASE_WAIT;
}

static void enter_starting(struct rollout *r, struct candidate *c)
{
	rpc_clear(&c->rpc);
	c->state = CANDIDATE_STARTING;
	ask_start(r, c);
}

static void enter_stopping(struct rollout *r, struct candidate *c)
{
	rpc_clear(&c->rpc);
	c->state = CANDIDATE_STOPPING;
	c->old_usec = r->now_usec;
	ask_old(r, c, SUBJECT_AGENT_STOP);
}

static enum phase_result poll_stop(struct rollout *r, struct candidate *c)
{
	const struct agent_instance *answer;
	uint64_t limit = rollout_grace(r, c->slot->service) + REMOVE_EXTRA_USEC;

	switch (rpc_verdict(&c->rpc, r->now_usec, NO_ANSWER_USEC)) {
	case VERDICT_ERROR:
		return rollout_rpc_error(r, &c->rpc);
	case VERDICT_ANSWER:
		answer = c->rpc.answer;
		if (!answer->instance || answer->instance->state == INSTANCE_STOPPED ||
		    answer->instance->state == INSTANCE_GONE ||
		    answer->instance->state == INSTANCE_FAILED) {
			if (!rollout_is_stopped(r, "candidate"))
				enter_starting(r, c);
			return PHASE_WAIT;
		}
		if (wait_for_old(r, c, limit, "stopped") == PHASE_FAILED)
			return PHASE_FAILED;
		break;
	case VERDICT_PENDING:
		break;
	}
	if (rpc_is_due(&c->rpc, r->now_usec, c->again))
		ask_old(r, c, SUBJECT_AGENT_STOP);
	return PHASE_WAIT;
}

/* Once the fact says `draining`, the gateways hold new requests; requests in progress end before
 * the instance is stopped. */
static void begin_draining(struct rollout *r, struct candidate *c, int64_t facts)
{
	char *instances[] = { c->slot->old, NULL };
	const struct watermark wanted = {
		.generation = r->generation,
		.intent = (int64_t)r->sequence,
		.facts = facts,
	};

	c->draining = draining_new(r, instances, &wanted, rollout_grace(r, c->slot->service));
}

static enum phase_result poll_drain(struct rollout *r, struct candidate *c)
{
	const struct agent_instance *answer;

	if (c->draining) {
		if (draining_poll(c->draining) == PHASE_WAIT || rollout_is_stopped(r, "stop"))
			return PHASE_WAIT;
		draining_free(steal(c->draining));
		enter_stopping(r, c);
		return PHASE_WAIT;
	}
	switch (rpc_verdict(&c->rpc, r->now_usec, NO_ANSWER_USEC)) {
	case VERDICT_ERROR:
		return rollout_rpc_error(r, &c->rpc);
	case VERDICT_ANSWER:
		answer = c->rpc.answer;
		if (!answer->instance || answer->instance->state != INSTANCE_DRAINING ||
		    answer->sequence) {
			begin_draining(r, c, answer->instance ? answer->sequence : 0);
			return poll_drain(r, c);
		}
		if (wait_for_old(r, c, FACT_USEC, "known as draining") == PHASE_FAILED)
			return PHASE_FAILED;
		break;
	case VERDICT_PENDING:
		break;
	}
	if (rpc_is_due(&c->rpc, r->now_usec, c->again))
		ask_old(r, c, SUBJECT_AGENT_DRAIN);
	return PHASE_WAIT;
}

static void begin(struct rollout *r, struct candidate *c)
{
	if (c->action == SLOT_REPLACE && c->slot->update == UPDATE_STOP_FIRST && c->slot->old) {
		c->state = CANDIDATE_DRAINING;
		c->old_stopped = true;
		c->old_usec = r->now_usec;
		rollout_slot(r, c, "stopping", "the old instance is stopped first");
		ask_old(r, c, SUBJECT_AGENT_DRAIN);
	} else {
		enter_starting(r, c);
	}
}

enum phase_result candidate_poll(struct rollout *r, struct candidate *c)
{
	const struct run *run;

	if (!c->service || c->action == SLOT_KEEP)
		return PHASE_DONE;
	switch (c->state) {
	case CANDIDATE_WAITING:
		run = run_of(r, c->service->name);
		if ((run && run->state != RUN_DONE) || !candidate_may_start(r, c))
			return PHASE_WAIT;
		begin(r, c);
		return PHASE_WAIT;
	case CANDIDATE_DRAINING:
		return poll_drain(r, c);
	case CANDIDATE_STOPPING:
		return poll_stop(r, c);
	case CANDIDATE_STARTING:
	case CANDIDATE_READY:
		return poll_start(r, c);
	}
	return PHASE_WAIT;
}
