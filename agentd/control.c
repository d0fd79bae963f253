#include "agentd/agentd.h"

#define MESSAGE_TRANSITION "5d1c9d0c6f0b4f2f8f1c6f7d3b1e9a42"

struct control *control_new(struct agentd *agentd, struct instance *fact)
{
	struct control *control = xcalloc(1, sizeof(*control));

	control->agentd = agentd;
	control->fact = fact;
	control->grace_ms = -1;
	control->verdict = EVENT_COUNT;
	map_put(&agentd->controls, fact->id, control);
	return control;
}

void control_free(struct control *control)
{
	if (!control)
		return;
	engine_cancel(control->request);
	prober_free(control->prober);
	service_free(control->service);
	agent_start_free(control->order);
	free(control->container);
	free(control->started_at);
	free(control->audience);
	free(control->verdict_reason);
	free(control);
}

void control_set_service(struct control *control, const struct service *service)
{
	service_free(control->service);
	control->service = codec_copy(&service_schema, service);
}

static void on_probe(enum event event, const char *reason, void *userdata)
{
	struct control *control = userdata;

	if (event == EVENT_SPENT && control->fact->state == INSTANCE_STARTING) {
		prober_free(steal(control->prober));
		control_verdict(control, EVENT_SPENT, reason);
		return;
	}
	control_event(control, event, reason);
}

static void begin_probe(struct control *control)
{
	const char *address = control->fact->address;

	prober_free(steal(control->prober));
	if (control->service && control->service->host_network)
		address = control->agentd->network.address;
	control->prober = prober_new(control->agentd, control->service, control->container, address,
				    control->fact->state == INSTANCE_READY, on_probe, control);
}

static void leave(struct control *control)
{
	struct agentd *agentd = control->agentd;

	files_remove(agentd, control->fact->id);
	map_remove(&agentd->controls, control->fact->id);
	control_free(control);
}

static void act(struct control *control, enum action action)
{
	switch (action) {
	case ACTION_NOP:
		break;
	case ACTION_CREATE:
		control_create(control);
		break;
	case ACTION_START:
		control_start(control);
		break;
	case ACTION_PROBE:
		begin_probe(control);
		break;
	case ACTION_SILENCE:
		prober_free(steal(control->prober));
		break;
	case ACTION_HALT:
		prober_free(steal(control->prober));
		control_halt(control);
		break;
	case ACTION_END:
		prober_free(steal(control->prober));
		control_end(control);
		break;
	case ACTION_FREE:
		leave(control);
		break;
	}
}

/* The one place where an instance changes its state. */
void control_event(struct control *control, enum event event, const char *reason)
{
	struct instance *fact = control->fact;
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
		facts_state(control->agentd->facts, fact, move.next, reason, control->audience);
	}
	act(control, move.action);
}

static void on_last_words(const struct engine_answer *answer, void *userdata)
{
	struct control *control = userdata;
	enum event event = control->verdict;
	_cleanup_free_ char *reason = steal(control->verdict_reason);
	_cleanup_free_ char *output = control_output(answer);

	control->request = NULL;
	control->verdict = EVENT_COUNT;
	if (output && *output) {
		char *more = xasprintf("%s; its last output: %s", reason, output);

		free(reason);
		reason = more;
	}
	control_event(control, event, reason);
	/* The verdict may have left a stop or removal to do. */
	if (event != EVENT_LOST && control->want != WANT_RUN && !control->ending)
		control_end(control);
}

void control_verdict(struct control *control, enum event event, const char *reason)
{
	if (control->verdict != EVENT_COUNT)
		return;
	if (control->request || !control->container || !control->agentd->engine->up) {
		control_event(control, event, reason);
		return;
	}
	control->verdict = event;
	control->verdict_reason = xstrdup(reason);
	control_last_words(control, on_last_words);
}

void control_died(struct control *control, int64_t exit_code, const char *how)
{
	enum restart_policy policy =
		control->service ? (enum restart_policy)control->service->restart : RESTART_NO;
	bool again = states_restarts(policy, exit_code);
	bool young =
		control->fact->state == INSTANCE_STARTING || control->fact->state == INSTANCE_CREATED;
	_cleanup_free_ char *reason = xasprintf(
		"%s with exit code %lld%s", control->oom ? "it ran out of memory and ended" : how,
		(long long)exit_code,
		young	? " before it was ready"
		: again ? "; the engine starts it again"
			: "");

	control->oom = false;
	if (states_move((enum instance_state)control->fact->state, EVENT_DIED).action == ACTION_NOP)
		return;
	if (control->fact->exit_code != exit_code) {
		control->fact->exit_code = exit_code;
		facts_touch(control->agentd->facts, control->fact);
	}
	if (young || !again)
		control_verdict(control, again ? EVENT_DIED : EVENT_ENDED, reason);
	else
		control_event(control, EVENT_DIED, reason);
}

static void take_seen(struct control *control, struct container_seen *seen)
{
	struct instance *fact = control->fact, *now = seen->instance;
	bool changed = false;

	free(control->container);
	control->container = steal(seen->id);
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
	if (!control->service && seen->service)
		control->service = steal(seen->service);
	if (changed)
		facts_touch(control->agentd->facts, fact);
}

static void judge_running(struct control *control, const struct container_seen *seen)
{
	bool again = control->started_at && !streq(control->started_at, seen->started_at);
	enum instance_state state = (enum instance_state)control->fact->state;

	free(control->started_at);
	control->started_at = xstrdup(seen->started_at);
	if (state == INSTANCE_PULLING || state == INSTANCE_CREATED)
		control_event(control, EVENT_STARTED, NULL);
	else if (again)
		control_event(control, EVENT_RESTARTED, "the engine has started it again");
	else if (!control->prober && (state == INSTANCE_STARTING || state == INSTANCE_READY ||
				     state == INSTANCE_UNREADY))
		begin_probe(control);
}

static void on_inspected(const struct engine_answer *answer, void *userdata)
{
	struct control *control = userdata;
	struct container_seen seen;

	control->request = NULL;
	if (answer->status == 404) {
		control_event(control, EVENT_LOST, "its container is not there any more");
		return;
	}
	if (!engine_ok(answer)) {
		if (answer->status)
			log_warning("%s cannot be inspected: %s", control->fact->id, answer->words);
		return;
	}
	container_read(answer->json, control->agentd->config->network, &seen);
	if (!seen.instance) {
		container_clear(&seen);
		return;
	}
	take_seen(control, &seen);
	if (control->want != WANT_RUN)
		control_end(control);
	else if (seen.running)
		judge_running(control, &seen);
	else if (seen.created && control->order)
		control_event(control,
			     control->fact->state == INSTANCE_PULLING ? EVENT_CREATED
								     : EVENT_ORDERED,
			     NULL);
	else if (!seen.created)
		control_died(control, seen.instance->exit_code, "its process ended");
	container_clear(&seen);
	if (control->inspect_again)
		control_inspect(control);
}

void control_inspect(struct control *control)
{
	_cleanup_free_ char *path = NULL;

	if (!control->container)
		return;
	if (control->request) {
		control->inspect_again = true;
		return;
	}
	control->inspect_again = false;
	path = xasprintf("/containers/%s/json", control->container);
	engine_ask(control->agentd->engine, "GET", path, NULL, ENGINE_USEC, on_inspected, control,
		   &control->request);
}

static void set_audience(struct control *control, const char *deploy)
{
	free(control->audience);
	control->audience = xstrdup(deploy);
}

void control_order(struct control *control, const struct agent_start *order)
{
	set_audience(control, order->deploy);
	if (!control->order &&
	    (control->fact->state == INSTANCE_PULLING || control->fact->state == INSTANCE_CREATED)) {
		control->order = codec_copy(&agent_start_schema, order);
		if (!control->service)
			control_set_service(control, order->service);
	}
	if (!control->request)
		control_event(control, EVENT_ORDERED, NULL);
}

void control_command(struct control *control, enum event event, const struct agent_ref *ref)
{
	set_audience(control, ref->deploy);
	if (event == EVENT_STOP && control->want != WANT_REMOVE)
		control->want = WANT_STOP;
	if (event == EVENT_REMOVE)
		control->want = WANT_REMOVE;
	if (event == EVENT_RESUME) {
		if (control->want == WANT_REMOVE)
			return;
		control->want = WANT_RUN;
	}
	if (ref->grace_ms >= 0)
		control->grace_ms = ref->grace_ms;
	control_event(control, event, NULL);
}

void control_go_on(struct control *control)
{
	/* The engine's events may have been missed. */
	control->own_start = false;
	if (control->request)
		return;
	if (control->want != WANT_RUN) {
		control->ending = false;
		control_end(control);
	} else if (control->container) {
		control_inspect(control);
	} else if (control->order) {
		control_event(control, EVENT_ORDERED, NULL);
	}
}
