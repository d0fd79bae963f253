/* Candidates: all at once but for what they depend on; agentd is asked again whenever something is
 * heard of one, and once a second, so that an agentd that died and came back is taken up where it
 * was. The states themselves are told by the agents. */
#include "leased/leased.h"

static void ask_start(struct walk *walk, struct candidate *c);

bool starting_may(const struct walk *walk, const struct candidate *candidate)
{
	for (size_t i = 0; i < walk->n_candidates; i++) {
		const struct candidate *other = walk->candidates[i];

		if (other->service && other->state != CANDIDATE_READY &&
		    strv_contains(candidate->service->depends_on, other->service->name))
			return false;
	}
	return true;
}

static void pump(struct walk *walk);

static void failed(struct walk *walk, struct candidate *c, const struct instance *instance)
{
	c->state = CANDIDATE_FAILED;
	walk_failf(walk, FAILURE_FAILED,
		   "the old state goes on serving; mend the service and deploy again",
		   "service %s, slot %lld on machine %s did not get ready: %s", c->service->name,
		   (long long)c->slot->slot, c->slot->machine,
		   instance->reason ? instance->reason : "no reason given");
}

static void on_started(struct walk *walk, const struct failure *failure, void *answer, void *what)
{
	const struct agent_instance *started = answer;
	struct candidate *c = what;

	if (agent_is_silent(c, failure))
		return;
	if (started->instance && started->instance->state == INSTANCE_FAILED) {
		failed(walk, c, started->instance);
		return;
	}
	/* Ready counts once its fact is in the log: what the commit names must be routable
	 * there. */
	if (started->instance && started->instance->state == INSTANCE_READY && started->sequence) {
		free(c->address);
		c->address = xstrdup(started->instance->address);
		c->state = CANDIDATE_READY;
		pump(walk);
	} else if (c->again) {
		ask_start(walk, c);
	}
}

static void ask_start(struct walk *walk, struct candidate *c)
{
	struct agent_start start;

	start_request(walk, c, &start);
	c->asking = true;
	c->again = false;
	errand(walk, SUBJECT_AGENT_START, c->slot->machine, &start, AGENT_USEC, on_started, c);
	free(start.volumes);
}

static const char *old_machine(const struct candidate *c)
{
	return c->slot->from ? c->slot->from : c->slot->machine;
}

static void old_reference(const struct walk *walk, const struct candidate *c, struct agent_ref *ret)
{
	*ret = (struct agent_ref){
		.ns = walk->request->manifest->ns,
		.epoch = holding_lease(walk->holding)->epoch,
		.deploy = walk->request->deploy,
		.instance = c->slot->old,
		.grace_ms = -1,
	};
}

static void ask_stop(struct walk *walk, struct candidate *c);

static void on_stopped(struct walk *walk, const struct failure *failure, void *answer, void *what)
{
	const struct agent_instance *stopped = answer;
	struct candidate *c = what;

	if (agent_is_silent(c, failure))
		return;
	if (!stopped->instance || stopped->instance->state == INSTANCE_STOPPED ||
	    stopped->instance->state == INSTANCE_GONE ||
	    stopped->instance->state == INSTANCE_FAILED) {
		c->state = CANDIDATE_STARTING;
		ask_start(walk, c);
	} else if (c->again) {
		ask_stop(walk, c);
	}
}

static void ask_stop(struct walk *walk, struct candidate *c)
{
	struct agent_ref ref;

	old_reference(walk, c, &ref);
	c->asking = true;
	c->again = false;
	errand(walk, SUBJECT_AGENT_STOP, old_machine(c), &ref, AGENT_USEC, on_stopped, c);
}

static void on_quiet(struct walk *walk, char *const *instances)
{
	for (size_t i = 0; i < walk->n_candidates; i++) {
		struct candidate *c = walk->candidates[i];

		if (c->state != CANDIDATE_DRAINING || !strv_contains(instances, c->slot->old))
			continue;
		c->state = CANDIDATE_STOPPING;
		ask_stop(walk, c);
	}
}

/* Once all that are taken out of the way say so in the log: the gateways then hold what comes, and
 * what is under way there ends by itself before its instance is stopped. */
static void drain(struct walk *walk)
{
	uint64_t sequence = 0, longest = 0;
	char **instances = NULL;

	for (size_t i = 0; i < walk->n_candidates; i++)
		if (walk->candidates[i]->state == CANDIDATE_DRAINING &&
		    !walk->candidates[i]->drain_told)
			return;
	for (size_t i = 0; i < walk->n_candidates; i++) {
		struct candidate *c = walk->candidates[i];

		if (c->state != CANDIDATE_DRAINING || c->draining)
			continue;
		c->draining = true;
		sequence = MAX2(sequence, c->drain_sequence);
		longest = MAX2(longest, cleaning_grace(walk, c->slot->service));
		strv_push(&instances, xstrdup(c->slot->old));
	}
	if (instances)
		draining_begin(walk, instances, sequence, longest, on_quiet);
}

static void ask_drain(struct walk *walk, struct candidate *c);

static void on_draining(struct walk *walk, const struct failure *failure, void *answer, void *what)
{
	const struct agent_instance *old = answer;
	struct candidate *c = what;

	if (agent_is_silent(c, failure))
		return;
	if (!old->instance || old->instance->state != INSTANCE_DRAINING || old->sequence) {
		c->drain_told = true;
		c->drain_sequence = old->instance ? (uint64_t)old->sequence : 0;
		drain(walk);
	} else if (c->again) {
		ask_drain(walk, c);
	}
}

static void ask_drain(struct walk *walk, struct candidate *c)
{
	struct agent_ref ref;

	old_reference(walk, c, &ref);
	c->old_stopped = true;
	c->asking = true;
	c->again = false;
	errand(walk, SUBJECT_AGENT_DRAIN, old_machine(c), &ref, AGENT_USEC, on_draining, c);
}

static void begin(struct walk *walk, struct candidate *c)
{
	/* Its agentd's silence counts from the first question, not from the plan. */
	c->heard_usec = boot_now_usec();
	if (c->action == SLOT_REPLACE && c->slot->update == UPDATE_STOP_FIRST && c->slot->old) {
		c->state = CANDIDATE_DRAINING;
		progress_slot(walk, c, "stopping", "the old instance first");
		ask_drain(walk, c);
	} else {
		c->state = CANDIDATE_STARTING;
		ask_start(walk, c);
	}
}

/* Starts what may start; goes on when everything is ready. */
static void pump(struct walk *walk)
{
	size_t waiting = 0;

	for (size_t i = 0; i < walk->n_candidates; i++) {
		struct candidate *c = walk->candidates[i];

		if (!c->service)
			continue;
		if (c->state == CANDIDATE_WAITING && starting_may(walk, c))
			begin(walk, c);
		if (c->state != CANDIDATE_READY)
			waiting++;
	}
	if (!waiting)
		walk_next(walk);
}

void step_start(struct walk *walk)
{
	pump(walk);
}

static void ask_again(struct walk *walk, struct candidate *c)
{
	if (c->asking)
		c->again = true;
	else if (c->state == CANDIDATE_STARTING)
		ask_start(walk, c);
	else if (c->state == CANDIDATE_DRAINING && !c->drain_told)
		ask_drain(walk, c);
	else if (c->state == CANDIDATE_STOPPING)
		ask_stop(walk, c);
}

/* What is only on its way decides nothing, and asking costs the engine's machine time while it
 * starts containers: readiness and ends are asked about. */
static bool is_on_its_way(const char *state)
{
	static const enum instance_state ways[] = { INSTANCE_PULLING, INSTANCE_CREATED,
						    INSTANCE_STARTING, INSTANCE_DRAINING };

	for (size_t i = 0; i < ARRAY_SIZE(ways); i++)
		if (streq(state, instance_state_names[ways[i]]))
			return true;
	return false;
}

void starting_heard(struct walk *walk, const struct progress *progress)
{
	if (progress && is_on_its_way(progress->state))
		return;
	for (size_t i = 0; i < walk->n_candidates; i++) {
		struct candidate *c = walk->candidates[i];

		if (!progress || streq(progress->instance, c->instance) ||
		    streq(progress->instance, c->slot->old))
			ask_again(walk, c);
	}
}
