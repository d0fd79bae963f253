#include "agentd/agentd.h"

#define MESSAGE_TRANSITION "5d1c9d0c6f0b4f2f8f1c6f7d3b1e9a42"

struct keeper *keeper_new(struct agentd *agentd, struct instance *fact)
{
	struct keeper *keeper = xcalloc(1, sizeof(*keeper));

	keeper->agentd = agentd;
	keeper->fact = fact;
	keeper->grace_ms = -1;
	keeper->verdict = EVENT_COUNT;
	map_put(&agentd->keepers, fact->id, keeper);
	return keeper;
}

void keeper_free(struct keeper *keeper)
{
	if (!keeper)
		return;
	engine_cancel(keeper->request);
	prober_free(keeper->prober);
	service_free(keeper->service);
	agent_start_free(keeper->order);
	free(keeper->container);
	free(keeper->started_at);
	free(keeper->audience);
	free(keeper->verdict_reason);
	free(keeper);
}

void keeper_set_service(struct keeper *keeper, const struct service *service)
{
	service_free(keeper->service);
	keeper->service = codec_copy(&service_schema, service);
}

static void on_probe(enum event event, const char *reason, void *userdata)
{
	struct keeper *keeper = userdata;

	if (event == EVENT_SPENT && keeper->fact->state == INSTANCE_STARTING) {
		prober_free(steal(keeper->prober));
		keeper_verdict(keeper, EVENT_SPENT, reason);
		return;
	}
	keeper_event(keeper, event, reason);
}

static void begin_probe(struct keeper *keeper)
{
	const char *address = keeper->fact->address;

	prober_free(steal(keeper->prober));
	if (keeper->service && keeper->service->host_network)
		address = keeper->agentd->network.address;
	keeper->prober = prober_new(keeper->agentd, keeper->service, keeper->container, address,
				    keeper->fact->state == INSTANCE_READY, on_probe, keeper);
}

static void leave(struct keeper *keeper)
{
	struct agentd *agentd = keeper->agentd;

	files_remove(agentd, keeper->fact->id);
	map_remove(&agentd->keepers, keeper->fact->id);
	keeper_free(keeper);
}

static void act(struct keeper *keeper, enum action action)
{
	switch (action) {
	case ACTION_NOP:
		break;
	case ACTION_CREATE:
		keeper_create(keeper);
		break;
	case ACTION_START:
		keeper_start(keeper);
		break;
	case ACTION_PROBE:
		begin_probe(keeper);
		break;
	case ACTION_SILENCE:
		prober_free(steal(keeper->prober));
		break;
	case ACTION_HALT:
		prober_free(steal(keeper->prober));
		keeper_halt(keeper);
		break;
	case ACTION_END:
		prober_free(steal(keeper->prober));
		keeper_end(keeper);
		break;
	case ACTION_FREE:
		leave(keeper);
		break;
	}
}

/* The one place where an instance changes its state. */
void keeper_event(struct keeper *keeper, enum event event, const char *reason)
{
	struct instance *fact = keeper->fact;
	enum instance_state state = (enum instance_state)fact->state;
	struct move move = states_move(state, event);
	const struct log_about about = { .ns = fact->ns,
					 .deploy = fact->deploy,
					 .instance = fact->id,
					 .message_id = MESSAGE_TRANSITION,
					 .epoch = (uint64_t)fact->epoch };

	if (move.next != state) {
		/* Why it failed stays with it when its container goes. */
		if (move.next == INSTANCE_GONE && !reason)
			reason = fact->reason;
		log_write(move.next == INSTANCE_FAILED ? LOG_WARNING : LOG_INFO, &about,
			  "%s: %s → %s (%s)%s%s", fact->id, instance_state_names[state],
			  instance_state_names[move.next], event_names[event], reason ? ": " : "",
			  reason ? reason : "");
		facts_state(keeper->agentd->facts, fact, move.next, reason, keeper->audience);
	}
	act(keeper, move.action);
}

static void on_last_words(const struct engine_answer *answer, void *userdata)
{
	struct keeper *keeper = userdata;
	enum event event = keeper->verdict;
	_cleanup_free_ char *reason = steal(keeper->verdict_reason);
	_cleanup_free_ char *output = keeper_output(answer);

	keeper->request = NULL;
	keeper->verdict = EVENT_COUNT;
	if (output && *output) {
		char *more = xasprintf("%s; its last output: %s", reason, output);

		free(reason);
		reason = more;
	}
	keeper_event(keeper, event, reason);
	/* The verdict may have left a stop or removal to do. */
	if (event != EVENT_LOST && keeper->want != WANT_RUN && !keeper->ending)
		keeper_end(keeper);
}

void keeper_verdict(struct keeper *keeper, enum event event, const char *reason)
{
	if (keeper->verdict != EVENT_COUNT)
		return;
	if (keeper->request || !keeper->container || !keeper->agentd->engine->up) {
		keeper_event(keeper, event, reason);
		return;
	}
	keeper->verdict = event;
	keeper->verdict_reason = xstrdup(reason);
	keeper_last_words(keeper, on_last_words);
}

void keeper_died(struct keeper *keeper, int64_t exit_code, const char *how)
{
	enum restart_policy policy =
		keeper->service ? (enum restart_policy)keeper->service->restart : RESTART_NO;
	bool again = states_restarts(policy, exit_code);
	bool young =
		keeper->fact->state == INSTANCE_STARTING || keeper->fact->state == INSTANCE_CREATED;
	_cleanup_free_ char *reason = xasprintf(
		"%s with exit code %lld%s", keeper->oom ? "it ran out of memory and ended" : how,
		(long long)exit_code,
		young	? " before it was ready"
		: again ? "; the engine starts it again"
			: "");

	keeper->oom = false;
	if (states_move((enum instance_state)keeper->fact->state, EVENT_DIED).action == ACTION_NOP)
		return;
	if (keeper->fact->exit_code != exit_code) {
		keeper->fact->exit_code = exit_code;
		facts_touch(keeper->agentd->facts, keeper->fact);
	}
	if (young || !again)
		keeper_verdict(keeper, again ? EVENT_DIED : EVENT_ENDED, reason);
	else
		keeper_event(keeper, EVENT_DIED, reason);
}

static void take_seen(struct keeper *keeper, struct container_seen *seen)
{
	struct instance *fact = keeper->fact, *now = seen->instance;
	bool changed = false;

	free(keeper->container);
	keeper->container = steal(seen->id);
	/* What failed is told as it failed, however often the engine tried it afterwards. */
	if (states_is_end((enum instance_state)fact->state))
		return;
	/* A container that does not run has no address: the last one stays until it gets
	 * another. */
	if (now->address && !streq(fact->address, now->address)) {
		free(fact->address);
		fact->address = steal(now->address);
		changed = true;
	}
	if (now->digest && !streq(fact->digest, now->digest)) {
		free(fact->digest);
		fact->digest = steal(now->digest);
		changed = true;
	}
	if (fact->restarts != now->restarts) {
		fact->restarts = now->restarts;
		changed = true;
	}
	if (!keeper->service && seen->service)
		keeper->service = steal(seen->service);
	if (changed)
		facts_touch(keeper->agentd->facts, fact);
}

static void judge_running(struct keeper *keeper, const struct container_seen *seen)
{
	bool again = keeper->started_at && !streq(keeper->started_at, seen->started_at);
	enum instance_state state = (enum instance_state)keeper->fact->state;

	free(keeper->started_at);
	keeper->started_at = xstrdup(seen->started_at);
	if (state == INSTANCE_PULLING || state == INSTANCE_CREATED)
		keeper_event(keeper, EVENT_STARTED, NULL);
	else if (again)
		keeper_event(keeper, EVENT_RESTARTED, "the engine has started it again");
	else if (!keeper->prober && (state == INSTANCE_STARTING || state == INSTANCE_READY ||
				     state == INSTANCE_UNREADY))
		begin_probe(keeper);
}

static void on_inspected(const struct engine_answer *answer, void *userdata)
{
	struct keeper *keeper = userdata;
	struct container_seen seen;

	keeper->request = NULL;
	if (answer->status == 404) {
		keeper_event(keeper, EVENT_LOST, "its container is not there any more");
		return;
	}
	if (!engine_ok(answer)) {
		if (answer->status)
			log_warning("%s cannot be inspected: %s", keeper->fact->id, answer->words);
		return;
	}
	container_read(answer->json, keeper->agentd->config->network, &seen);
	if (!seen.instance) {
		container_clear(&seen);
		return;
	}
	take_seen(keeper, &seen);
	if (keeper->want != WANT_RUN)
		keeper_end(keeper);
	else if (seen.running)
		judge_running(keeper, &seen);
	else if (seen.created && keeper->order)
		keeper_event(keeper,
			     keeper->fact->state == INSTANCE_PULLING ? EVENT_CREATED
								     : EVENT_ORDERED,
			     NULL);
	else if (!seen.created)
		keeper_died(keeper, seen.instance->exit_code, "its process ended");
	container_clear(&seen);
	if (keeper->inspect_again)
		keeper_inspect(keeper);
}

void keeper_inspect(struct keeper *keeper)
{
	_cleanup_free_ char *path = NULL;

	if (!keeper->container)
		return;
	if (keeper->request) {
		keeper->inspect_again = true;
		return;
	}
	keeper->inspect_again = false;
	path = xasprintf("/containers/%s/json", keeper->container);
	engine_ask(keeper->agentd->engine, "GET", path, NULL, ENGINE_USEC, on_inspected, keeper,
		   &keeper->request);
}

static void set_audience(struct keeper *keeper, const char *deploy)
{
	free(keeper->audience);
	keeper->audience = xstrdup(deploy);
}

void keeper_order(struct keeper *keeper, const struct agent_start *order)
{
	set_audience(keeper, order->deploy);
	if (!keeper->order &&
	    (keeper->fact->state == INSTANCE_PULLING || keeper->fact->state == INSTANCE_CREATED)) {
		keeper->order = codec_copy(&agent_start_schema, order);
		if (!keeper->service)
			keeper_set_service(keeper, order->service);
	}
	if (!keeper->request)
		keeper_event(keeper, EVENT_ORDERED, NULL);
}

void keeper_command(struct keeper *keeper, enum event event, const struct agent_ref *ref)
{
	set_audience(keeper, ref->deploy);
	if (event == EVENT_STOP && keeper->want != WANT_REMOVE)
		keeper->want = WANT_STOP;
	if (event == EVENT_REMOVE)
		keeper->want = WANT_REMOVE;
	if (event == EVENT_RESUME) {
		if (keeper->want == WANT_REMOVE)
			return;
		keeper->want = WANT_RUN;
	}
	if (ref->grace_ms >= 0)
		keeper->grace_ms = ref->grace_ms;
	keeper_event(keeper, event, NULL);
}

void keeper_go_on(struct keeper *keeper)
{
	/* The engine's events may have been missed. */
	keeper->own_start = false;
	if (keeper->request)
		return;
	if (keeper->want != WANT_RUN) {
		keeper->ending = false;
		keeper_end(keeper);
	} else if (keeper->container) {
		keeper_inspect(keeper);
	} else if (keeper->order) {
		keeper_event(keeper, EVENT_ORDERED, NULL);
	}
}
