/* Control: one instance from its start request to its removal. The requests to the engine are in
 * control-engine.c. */
#include "agentd/agentd.h"

#define MESSAGE_TRANSITION "5d1c9d0c6f0b4f2f8f1c6f7d3b1e9a42"

static void on_restart(void *userdata);

struct control *control_new(struct agentd *agentd, struct instance *fact)
{
	struct control *control = xcalloc(1, sizeof(*control));

	control->agentd = agentd;
	control->fact = fact;
	control->grace_ms = -1;
	control->verdict = EVENT_COUNT;
	control->restart = timer_new(agentd->daemon->loop, on_restart, control);
	control->container = fact->container && *fact->container ? xstrdup(fact->container) : NULL;
	map_put(&agentd->controls, fact->id, control);
	return control;
}

void control_free(struct control *control)
{
	if (!control)
		return;
	engine_cancel(control->request);
	engine_cancel(control->policy);
	volume_check_free(control->volumes);
	prober_free(control->prober);
	timer_free(control->restart);
	service_free(control->service);
	agent_start_free(control->order);
	free(control->container);
	free(control->started_at);
	free(control->subscriber);
	free(control->verdict_reason);
	free(control);
}

void control_set_service(struct control *control, const struct service *service)
{
	service_free(control->service);
	control->service = codec_copy(&service_schema, service);
}

void control_set_container(struct control *control, const char *id)
{
	struct instance *fact = control->fact;

	if (!streq(control->container, id)) {
		free(control->container);
		control->container = xstrdup(id);
	}
	records_made(control->agentd->records, fact->id, id);
	if (streq(fact->container, id))
		return;
	free(fact->container);
	fact->container = xstrdup(id);
	facts_touch(control->agentd->facts, fact);
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

/* The instance has neither a container nor any state here. */
static void leave(struct control *control)
{
	struct agentd *agentd = control->agentd;

	files_remove(agentd, control->fact->id);
	records_remove(agentd->records, control->fact->id);
	map_remove(&agentd->controls, control->fact->id);
	control_free(control);
}

/* False: the control was freed. */
static bool act(struct control *control, enum action action)
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
	case ACTION_UNPROBE:
		prober_free(steal(control->prober));
		break;
	case ACTION_HALT:
		prober_free(steal(control->prober));
		control_halt(control);
		break;
	case ACTION_END:
		prober_free(steal(control->prober));
		return control_end(control);
	case ACTION_FREE:
		leave(control);
		return false;
	}
	return true;
}

bool control_event(struct control *control, enum event event, const char *reason)
{
	struct instance *fact = control->fact;
	struct agentd *agentd = control->agentd;
	enum instance_state state = (enum instance_state)fact->state;
	struct move move = states_move(state, event);
	const struct log_about about = { .ns = fact->ns,
					 .deploy = fact->deploy,
					 .instance = fact->id,
					 .message_id = MESSAGE_TRANSITION,
					 .epoch = (uint64_t)fact->epoch };

	agentd_changed(agentd);
	if (move.next != state) {
		/* The reason of a failure stays in the fact after the container was removed. */
		if (move.next == INSTANCE_GONE && !reason)
			reason = fact->reason;
		log_write(move.next == INSTANCE_FAILED ? LOG_WARNING : LOG_INFO, &about,
			  "%s: %s → %s (%s)%s%s", fact->id, instance_state_names[state],
			  instance_state_names[move.next], event_names[event], reason ? ": " : "",
			  reason ? reason : "");
		facts_state(agentd->facts, fact, move.next, reason, control->subscriber);
		if (move.next == INSTANCE_READY)
			control_allow_restarts(control);
	}
	return act(control, move.action);
}

static void on_last_output(const struct engine_answer *answer, void *userdata)
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
	if (control_event(control, event, reason))
		control_next(control);
}

bool control_verdict(struct control *control, enum event event, const char *reason)
{
	if (control->verdict != EVENT_COUNT)
		return true;
	/* No traffic meanwhile. */
	if (control->fact->state == INSTANCE_READY && !control_event(control, EVENT_DIED, reason))
		return false;
	if (control->request || !control->container || !control->agentd->engine->up)
		return control_event(control, event, reason);
	control->verdict = event;
	control->verdict_reason = xstrdup(reason);
	control_last_output(control, on_last_output);
	return true;
}

/* The engine restarts it where its policy could be set; otherwise it is found dead when this timer
 * ends, and agentd starts it. */
static void on_restart(void *userdata)
{
	struct control *control = userdata;

	if (control->fact->state != INSTANCE_UNREADY || control->want != WANT_RUN)
		return;
	control->restart_due = true;
	control_inspect(control);
}

static void arm_restart(struct control *control)
{
	uint64_t now = boot_now_usec();
	uint64_t ran = control->started_usec ? now - control->started_usec : 0;

	if (!timer_is_armed(control->restart))
		timer_arm(control->restart, schedule_restart(&control->restarts, ran));
	control->started_usec = 0;
}

bool control_died(struct control *control, int64_t exit_code, const char *how)
{
	enum restart_policy policy =
		control->service ? (enum restart_policy)control->service->restart : RESTART_NO;
	struct instance *fact = control->fact;
	bool again = states_restarts(policy, exit_code);
	bool young = fact->state == INSTANCE_STARTING || fact->state == INSTANCE_CREATED;
	_cleanup_free_ char *reason = xasprintf(
		"%s with exit code %lld%s",
		control->oom ? "it exceeded its memory limit and ended" : how, (long long)exit_code,
		young	? " before it was ready"
		: again ? "; it is started again"
			: "");

	control->oom = false;
	if (control->start_wanted ||
	    states_move((enum instance_state)fact->state, EVENT_DIED).action == ACTION_NOP)
		return true;
	if (fact->exit_code != exit_code) {
		fact->exit_code = exit_code;
		facts_touch(control->agentd->facts, fact);
	}
	if (young || !again)
		return control_verdict(control, again ? EVENT_DIED : EVENT_ENDED, reason);
	arm_restart(control);
	return control_event(control, EVENT_DIED, reason);
}

/* True: the engine has restarted it since it was last inspected. */
static bool take_seen(struct control *control, struct container_seen *seen)
{
	struct instance *fact = control->fact, *now = seen->instance;
	bool changed = false, more = now->restarts > fact->restarts;
	bool restarted = more && !control->count_unknown;

	control_set_container(control, seen->id);
	control->engine_restarts = seen->engine_restarts;
	/* A failed instance keeps its state. */
	if (states_is_end((enum instance_state)fact->state))
		return false;
	/* A container that does not run has no address: the last one is kept until it gets another.
	 */
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
	control->count_unknown = false;
	if (more) {
		fact->restarts = now->restarts;
		changed = true;
	}
	if (!control->service && seen->service)
		control->service = steal(seen->service);
	if (changed)
		facts_touch(control->agentd->facts, fact);
	return restarted;
}

static bool judge_running(struct control *control, const struct container_seen *seen,
			  bool restarted)
{
	bool again =
		control->started_at ? !streq(control->started_at, seen->started_at) : restarted;
	enum instance_state state = (enum instance_state)control->fact->state;

	free(control->started_at);
	control->started_at = xstrdup(seen->started_at);
	if (!control->started_usec || again)
		control->started_usec = boot_now_usec();
	if (state == INSTANCE_PULLING || state == INSTANCE_CREATED)
		return control_event(control, EVENT_STARTED, NULL);
	if (again)
		return control_event(control, EVENT_RESTARTED, "its process was started again");
	if (!control->prober &&
	    (state == INSTANCE_STARTING || state == INSTANCE_READY || state == INSTANCE_UNREADY))
		begin_probe(control);
	if (state == INSTANCE_READY)
		control_allow_restarts(control);
	return true;
}

static bool judge_ended(struct control *control, const struct container_seen *seen)
{
	if (control->restart_due && !seen->engine_restarts &&
	    control->fact->state == INSTANCE_UNREADY) {
		control->restart_due = false;
		control->fact->restarts++;
		facts_touch(control->agentd->facts, control->fact);
		control_start(control);
		return true;
	}
	control->restart_due = false;
	return control_died(control, seen->instance->exit_code, "its process ended");
}

/* False: the control was freed. */
static bool judge(struct control *control, struct container_seen *seen)
{
	bool adopted = control->count_unknown, restarted = take_seen(control, seen);

	/* The engine restarts only what was ready once: it does not fail for being slow now. */
	if (adopted && seen->engine_restarts && control->fact->state == INSTANCE_STARTING)
		facts_state(control->agentd->facts, control->fact, INSTANCE_UNREADY,
			    "it was adopted without a fact", NULL);
	/* dockerd starts a container with policy `always` when it starts itself. */
	if (seen->running && control->fact->state == INSTANCE_STOPPED && !control->start_wanted) {
		control->want = MAX2(control->want, WANT_STOP);
		return control_event(control, EVENT_RESTARTED, "it was started from outside");
	}
	if (control->want != WANT_RUN || control->start_wanted)
		return true;
	if (seen->running) {
		control->restart_due = false;
		return judge_running(control, seen, restarted);
	}
	if (!seen->created)
		return judge_ended(control, seen);
	if (!control->order)
		return true;
	return control_event(
		control, control->fact->state == INSTANCE_PULLING ? EVENT_CREATED : EVENT_ORDERED,
		NULL);
}

/* A container that was never started can be created again. */
static void lost(struct control *control)
{
	free(steal(control->container));
	free(steal(control->fact->container));
	records_remove(control->agentd->records, control->fact->id);
	if (control_event(control, EVENT_LOST, "its container does not exist any more") &&
	    control->order)
		control_event(control, EVENT_ORDERED, NULL);
}

static void on_inspected(const struct engine_answer *answer, void *userdata)
{
	struct control *control = userdata;
	struct container_seen seen;
	bool there = true;

	control->request = NULL;
	if (answer->status == 404) {
		lost(control);
		return;
	}
	if (!engine_ok(answer)) {
		if (answer->status)
			log_warning("cannot inspect %s: %s", control->fact->id, answer->message);
		return;
	}
	control->inspected = control->inspections;
	agentd_changed(control->agentd);
	container_read(answer->json, control->agentd->config->network, &seen);
	if (seen.id && seen.instance && streq(seen.instance->id, control->fact->id))
		there = judge(control, &seen);
	container_clear(&seen);
	if (there)
		control_next(control);
}

uint64_t control_inspect(struct control *control)
{
	_cleanup_free_ char *path = NULL;

	if (control->request || !control->container) {
		control->inspect_again = control->container != NULL;
		return control->inspections + 1;
	}
	control->inspect_again = false;
	control->inspections++;
	path = xasprintf("/containers/%s/json", control->container);
	engine_ask(control->agentd->engine, "GET", path, NULL, ENGINE_USEC, on_inspected, control,
		   &control->request);
	return control->inspections;
}

static void set_subscriber(struct control *control, const char *deploy)
{
	free(control->subscriber);
	control->subscriber = xstrdup(deploy);
}

void control_order(struct control *control, const struct agent_start *order)
{
	set_subscriber(control, order->command.deploy);
	if (!control->order && (control->fact->state == INSTANCE_PULLING ||
				control->fact->state == INSTANCE_CREATED)) {
		control->order = codec_copy(&agent_start_schema, order);
		if (!control->service)
			control_set_service(control, order->service);
	}
	if (!control->request)
		control_event(control, EVENT_ORDERED, NULL);
}

static enum want want_after(enum want want, enum event event)
{
	if (event == EVENT_REMOVE || want == WANT_REMOVE)
		return WANT_REMOVE;
	if (event == EVENT_STOP)
		return WANT_STOP;
	return event == EVENT_RESUME ? WANT_RUN : want;
}

bool control_command(struct control *control, enum event event, int64_t grace_ms,
		     const char *subscriber)
{
	if (subscriber)
		set_subscriber(control, subscriber);
	/* An instance that is being removed is not resumed. */
	if (event == EVENT_RESUME && control->want == WANT_REMOVE)
		return true;
	control->want = want_after(control->want, event);
	if (control->want != WANT_RUN)
		control->start_wanted = control->halt_wanted = false;
	if (grace_ms >= 0)
		control->grace_ms = grace_ms;
	return control_event(control, event, NULL);
}

void control_next(struct control *control)
{
	if (control->request)
		return;
	if (control->want != WANT_RUN)
		control_end(control);
	else if (control->halt_wanted)
		control_halt(control);
	else if (control->start_wanted)
		control_start(control);
	else if (control->inspect_again)
		control_inspect(control);
}

void control_take_up(struct control *control)
{
	/* The engine's events may have been missed. */
	control->own_start = false;
	if (control->request)
		return;
	control->ending = false;
	if (control->want != WANT_RUN || control->start_wanted || control->halt_wanted)
		control_next(control);
	else if (control->container)
		control_inspect(control);
	else if (control->order)
		control_event(control, EVENT_ORDERED, NULL);
}
