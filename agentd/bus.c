/* Bus: the endpoints of agentd, and the progress that it publishes. */
#include "agentd/agentd.h"

static void answer_instance(struct bus_call *call, const struct agentd *agentd, const char *id)
{
	struct instance *fact = facts_get(agentd->facts, id);
	const struct agent_instance answer = {
		fact,
		fact ? (int64_t)facts_sequence(agentd->facts, fact) : 0,
	};

	bus_call_ok(call, &answer);
}

static bool id_valid(struct bus_call *call, const char *what, const char *id)
{
	if (id && instance_id_valid(id))
		return true;
	bus_call_failf(call, FAILURE_INVALID, "use only a-z, 0-9 and -",
		       "cannot execute a command for %s '%.80s': it is not an id", what,
		       id ? id : "");
	return false;
}

static bool engine_there(struct bus_call *call, const struct agentd *agentd)
{
	const char *machine = agentd->config->daemon.machine;

	if (agentd->daemon->stopping) {
		bus_call_failf(call, FAILURE_UNREACHABLE, "retry when it has started again",
			       "cannot execute a command on machine %s: its agentd is stopping",
			       machine);
		return false;
	}
	if (agentd->engine->up && agentd->adopted)
		return true;
	bus_call_failf(call, FAILURE_ENGINE, "`docker info` on that machine shows its state",
		       "cannot reach the container engine of machine %s: %s", machine,
		       agentd->engine->error ? agentd->engine->error
					     : "its containers are not known yet");
	return false;
}

/* An instance is not started without a network, or if its fact cannot be published. */
static bool may_start(struct bus_call *call, const struct agentd *agentd,
		      const struct service *service)
{
	if (!service->name || !name_valid(service->name)) {
		bus_call_failf(call, FAILURE_INVALID, "give the service a name",
			       "cannot start a service on machine %s: it has no name",
			       agentd->config->daemon.machine);
		return false;
	}
	if (facts_refused(agentd->facts)) {
		bus_call_fail(call, facts_refused(agentd->facts));
		return false;
	}
	if (!agentd->network.error)
		return true;
	bus_call_failf(call, FAILURE_NOT_READY, "`ployzctl status` shows when it is ready",
		       "cannot start service %s on machine %s: %s", service->name,
		       agentd->config->daemon.machine, agentd->network.error);
	return false;
}

static void fail_unsaved(struct bus_call *call, const struct agentd *agentd)
{
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;

	locks_failure(agentd, &failure);
	bus_call_fail(call, &failure);
}

/* --- locks */

static struct instance_use *uses_of(const struct agentd *agentd, size_t *ret_count)
{
	struct instance_use *uses = NULL;

	*ret_count = 0;
	for (struct map_item *i = NULL; (i = map_next(&agentd->controls, i));) {
		const struct control *control = i->value;
		struct instance_use *use;

		if (!control->service || states_is_end((enum instance_state)control->fact->state))
			continue;
		use = array_add(uses, *ret_count);
		*use = (struct instance_use){ control->fact->ns,
					      control->fact->service,
					      control->fact->deploy,
					      control->service->resources.memory,
					      control->service->resources.cpus,
					      control->service };
	}
	return uses;
}

static bool reservation_fits(const struct agentd *agentd, const struct agent_lock *lock,
			     struct failure *failure)
{
	struct capacity capacity = { agentd->engine->memory, (double)agentd->engine->cpus, NULL,
				     0 };
	_cleanup_free_ struct instance_use *uses = uses_of(agentd, &capacity.n_uses);

	capacity.uses = uses;
	return reservations_fit(&agentd->locks, lock, &capacity, boot_now_usec(), failure) >= 0;
}

static void answer_locked(struct bus_call *call, const struct agentd *agentd, const char *ns)
{
	struct agent_locked answer = { NULL, 0 };

	list_instances(agentd, ns, &answer.instances, &answer.n_instances);
	bus_call_ok(call, &answer);
	codec_clear(&agent_locked_schema, &answer);
}

static void lock(struct bus_call *call, void *object, void *userdata)
{
	struct agentd *agentd = userdata;
	const struct agent_lock *order = object;
	const char *ns = order->command.ns;
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;
	_cleanup_json_ json_t *before = NULL, *after = NULL;
	bool other;

	if (!reservation_fits(agentd, order, &failure)) {
		bus_call_fail(call, &failure);
		return;
	}
	before = locks_encode(&agentd->locks);
	other = locks_take(&agentd->locks, order, boot_now_usec());
	abort_locked(agentd->aborts, ns, order->command.deploy);
	after = locks_encode(&agentd->locks);
	/* A renewal changes nothing that outlives a restart. */
	if ((!json_equal(before, after) || agentd->locks.unsaved) && locks_save(agentd) < 0) {
		locks_release(&agentd->locks, ns, order->command.deploy);
		abort_unlocked(agentd->aborts);
		fail_unsaved(call, agentd);
		return;
	}
	timer_arm_within(agentd->lapse, LOCK_TERM_USEC);
	if (other) {
		facts_forget(agentd->facts, ns);
		images_forget(agentd->images, ns);
		runs_sweep(agentd->runs, ns, order->command.deploy);
	}
	answer_locked(call, agentd, ns);
}

static void unlock(struct bus_call *call, void *object, void *userdata)
{
	struct agentd *agentd = userdata;
	const struct agent_command *command = &((const struct agent_unlock *)object)->command;

	if (locks_release(&agentd->locks, command->ns, command->deploy)) {
		/* A command that arrives late is compared with the head of that time. */
		heads_forget(agentd->heads, command->ns);
		agentd->locks.unsaved = true;
		abort_unlocked(agentd->aborts);
	}
	bus_call_ok(call, NULL);
}

/* --- instances */

static void prepare(struct bus_call *call, void *object, void *userdata)
{
	struct agentd *agentd = userdata;
	struct agent_prepared answer;

	if (!engine_there(call, agentd))
		return;
	images_prepare(agentd->images, object, &answer);
	bus_call_ok(call, &answer);
	codec_clear(&agent_prepared_schema, &answer);
}

static struct control *control_of_order(struct agentd *agentd, const struct agent_start *order)
{
	struct instance *fact = codec_new(&instance_schema);
	struct control *control;

	fact->id = xstrdup(order->instance);
	fact->ns = xstrdup(order->command.ns);
	fact->service = xstrdup(order->service->name);
	fact->slot = order->slot;
	fact->deploy = xstrdup(order->command.deploy);
	fact->epoch = order->command.epoch;
	fact->image = xstrdup(order->service->image);
	fact->digest = xstrdup(order->digest);
	fact->hash = service_hash(order->service, order->digest);
	fact->exit_code = -1;
	for (size_t i = 0; i < order->service->n_ports; i++) {
		struct port *port = array_add(fact->ports, fact->n_ports);

		codec_copy_into(&port_schema, port, &order->service->ports[i]);
	}
	control = control_new(agentd, facts_add(agentd->facts, fact));
	facts_state(agentd->facts, fact, INSTANCE_PULLING, NULL, order->command.deploy);
	return control;
}

/* An instance that was removed before this message arrived must not be created. */
static bool is_removed(struct bus_call *call, const struct agentd *agentd,
		       const struct agent_start *order)
{
	if (!locks_refuses(&agentd->locks, order->command.ns, order->instance))
		return false;
	bus_call_failf(call, FAILURE_REFUSED, "deploy again",
		       "cannot start %s: its deploy has removed it", order->instance);
	return true;
}

static void start(struct bus_call *call, void *object, void *userdata)
{
	struct agentd *agentd = userdata;
	const struct agent_start *order = object;
	const struct instance *fact = facts_get(agentd->facts, order->instance);
	struct control *control = agentd_control(agentd, order->instance);

	if (!id_valid(call, "instance", order->instance) || is_removed(call, agentd, order))
		return;
	if (fact && (!streq(fact->ns, order->command.ns) || fact->slot == INSTANCE_RUN_SLOT)) {
		bus_call_failf(call, FAILURE_INVALID, NULL,
			       "cannot start %s in namespace %s: it is an instance of namespace %s",
			       order->instance, order->command.ns, fact->ns);
		return;
	}
	if (!control && !fact) {
		if (!engine_there(call, agentd) || !may_start(call, agentd, order->service))
			return;
		control = control_of_order(agentd, order);
	}
	if (control)
		control_order(control, order);
	/* An instance of another namespace would never be published. */
	if (facts_refused(agentd->facts))
		bus_call_fail(call, facts_refused(agentd->facts));
	else
		answer_instance(call, agentd, order->instance);
}

static void run(struct bus_call *call, void *object, void *userdata)
{
	struct agentd *agentd = userdata;
	const struct agent_run *order = object;
	struct agent_ran answer;

	if (!engine_there(call, agentd) || !may_start(call, agentd, order->service))
		return;
	if (!order->service->pre_deploy) {
		bus_call_failf(call, FAILURE_INVALID, NULL,
			       "cannot run the pre_deploy command of service %s: it has none",
			       order->service->name);
		return;
	}
	runs_order(agentd->runs, order, &answer);
	bus_call_ok(call, &answer);
	codec_clear(&agent_ran_schema, &answer);
}

static void probe(struct bus_call *call, void *object, void *userdata)
{
	struct agentd *agentd = userdata;

	if (engine_there(call, agentd))
		queries_serve(agentd->queries, call, object);
}

/* A committed instance may be removed only once a later head does not name it. */
static bool is_committed(struct bus_call *call, const struct agentd *agentd,
			 const struct agent_ref *ref)
{
	const struct head_seen *seen = heads_get(agentd->heads, ref->command.ns);

	if (!seen || !seen->head || !head_instance(seen->head, ref->instance, NULL))
		return false;
	bus_call_failf(call, FAILURE_REFUSED, "deploy a manifest without it",
		       "cannot remove %s: it is committed in namespace %s", ref->instance,
		       ref->command.ns);
	return true;
}

static void command(struct bus_call *call, struct agentd *agentd, const struct agent_ref *ref,
		    enum event event)
{
	struct control *control;

	if (!id_valid(call, "instance", ref->instance) || !engine_there(call, agentd))
		return;
	control = agentd_control(agentd, ref->instance);
	if (control && !streq(control->fact->ns, ref->command.ns)) {
		bus_call_failf(call, FAILURE_INVALID, NULL,
			       "cannot command %s in namespace %s: it is an instance of namespace "
			       "%s",
			       ref->instance, ref->command.ns, control->fact->ns);
		return;
	}
	if (event == EVENT_REMOVE && is_committed(call, agentd, ref))
		return;
	if (event == EVENT_REMOVE && !facts_get(agentd->facts, ref->instance) &&
	    locks_refuse(&agentd->locks, ref->command.ns, ref->instance))
		agentd->locks.unsaved = true;
	if (abort_command(agentd->aborts, &ref->command, ref->instance, event) < 0) {
		fail_unsaved(call, agentd);
		return;
	}
	if (control)
		control_command(control, event, ref->grace_ms, ref->command.deploy);
	answer_instance(call, agentd, ref->instance);
}

static void drain(struct bus_call *call, void *object, void *userdata)
{
	command(call, userdata, object, EVENT_DRAIN);
}

static void stop(struct bus_call *call, void *object, void *userdata)
{
	command(call, userdata, object, EVENT_STOP);
}

static void resume(struct bus_call *call, void *object, void *userdata)
{
	command(call, userdata, object, EVENT_RESUME);
}

static void remove_instance(struct bus_call *call, void *object, void *userdata)
{
	command(call, userdata, object, EVENT_REMOVE);
}

static void list(struct bus_call *call, void *object, void *userdata)
{
	list_answer(userdata, call, object);
}

static void logs(struct bus_call *call, void *object, void *userdata)
{
	struct agentd *agentd = userdata;
	struct agent_streaming answer;

	if (!engine_there(call, agentd))
		return;
	answer.instances = logs_serve(agentd->logs, object);
	bus_call_ok(call, &answer);
}

/* --- the endpoints */

static const char *instance_of_ref(const void *request)
{
	return ((const struct agent_ref *)request)->instance;
}

/* The admission of each command. Removal needs no lock, because the sweep precedes the locks. */
static const struct command_rule rules[SUBJECT_COUNT] = {
	[SUBJECT_AGENT_LOCK] = { lock, 0, NULL },
	[SUBJECT_AGENT_UNLOCK] = { unlock, 0, NULL },
	[SUBJECT_AGENT_PREPARE] = { prepare, 0, NULL },
	[SUBJECT_AGENT_RUN] = { run, NEEDS_LOCK | NEEDS_OPEN, NULL },
	[SUBJECT_AGENT_START] = { start, NEEDS_LOCK | NEEDS_OPEN, NULL },
	[SUBJECT_AGENT_PROBE] = { probe, 0, NULL },
	[SUBJECT_AGENT_DRAIN] = { drain, NEEDS_LOCK, instance_of_ref },
	[SUBJECT_AGENT_STOP] = { stop, NEEDS_LOCK, instance_of_ref },
	[SUBJECT_AGENT_RESUME] = { resume, NEEDS_LOCK | NEEDS_TURN, NULL },
	[SUBJECT_AGENT_REMOVE] = { remove_instance, 0, instance_of_ref },
	[SUBJECT_AGENT_LIST] = { list, NEEDS_NO_EPOCH, NULL },
	[SUBJECT_AGENT_LOGS] = { logs, NEEDS_NOTHING, NULL },
};

static void take(struct bus_call *call, struct agentd *agentd, enum subject_id subject)
{
	const struct agent_command *command = bus_call_request(call);

	if (command->epoch && !id_valid(call, "deploy", command->deploy))
		return;
	if (command->epoch && !command->ns) {
		bus_call_failf(call, FAILURE_INVALID, "name the namespace",
			       "cannot fence all namespaces at once");
		return;
	}
	commands_take(agentd->commands, call, &rules[subject]);
}

#define ENDPOINT(name, subject)                                                        \
	static void name(struct bus_call *call, _unused_ void *object, void *userdata) \
	{                                                                              \
		take(call, userdata, subject);                                         \
	}
ENDPOINT(on_lock, SUBJECT_AGENT_LOCK)
ENDPOINT(on_unlock, SUBJECT_AGENT_UNLOCK)
ENDPOINT(on_prepare, SUBJECT_AGENT_PREPARE)
ENDPOINT(on_run, SUBJECT_AGENT_RUN)
ENDPOINT(on_start, SUBJECT_AGENT_START)
ENDPOINT(on_probe, SUBJECT_AGENT_PROBE)
ENDPOINT(on_drain, SUBJECT_AGENT_DRAIN)
ENDPOINT(on_stop, SUBJECT_AGENT_STOP)
ENDPOINT(on_resume, SUBJECT_AGENT_RESUME)
ENDPOINT(on_remove, SUBJECT_AGENT_REMOVE)
ENDPOINT(on_list, SUBJECT_AGENT_LIST)

static void on_logs(struct bus_call *call, _unused_ void *object, void *userdata)
{
	struct agentd *agentd = userdata;

	commands_take(agentd->commands, call, &rules[SUBJECT_AGENT_LOGS]);
}

static json_t *lock_status(const struct lock *lock)
{
	return json_pack("{s:I, s:b, s:s*, s:o}", "epoch", (json_int_t)lock->epoch, "held",
			 lock->held, "deploy", lock->deploy, "out_of_service", abort_status(lock));
}

static json_t *status(void *userdata)
{
	struct agentd *agentd = userdata;
	json_t *network = json_pack("{s:s, s:s, s:b}", "name", agentd->config->network, "bridge",
				    agentd->config->bridge, "ready", agentd->network.ready);
	json_t *locks = json_object();

	if (agentd->network.subnet)
		json_object_set_new(network, "subnet", json_string(agentd->network.subnet));
	if (agentd->network.error)
		json_object_set_new(network, "error", json_utf8(agentd->network.error));
	for (struct map_item *i = NULL; (i = map_next(&agentd->locks.map, i));)
		json_object_set_new(locks, i->key, lock_status(i->value));
	return json_pack("{s:o, s:o, s:o, s:o, s:b, s:I}", "engine", engine_status(agentd->engine),
			 "network", network, "facts", facts_status(agentd->facts), "locks", locks,
			 "adopted", agentd->adopted, "instances",
			 (json_int_t)agentd->controls.count);
}

int agentd_serve(struct agentd *agentd)
{
	static const struct bus_endpoint verbs[] = {
		{ SUBJECT_AGENT_LOCK, on_lock },       { SUBJECT_AGENT_UNLOCK, on_unlock },
		{ SUBJECT_AGENT_PREPARE, on_prepare }, { SUBJECT_AGENT_START, on_start },
		{ SUBJECT_AGENT_RUN, on_run },	       { SUBJECT_AGENT_PROBE, on_probe },
		{ SUBJECT_AGENT_DRAIN, on_drain },     { SUBJECT_AGENT_STOP, on_stop },
		{ SUBJECT_AGENT_RESUME, on_resume },   { SUBJECT_AGENT_REMOVE, on_remove },
		{ SUBJECT_AGENT_LIST, on_list },       { SUBJECT_AGENT_LOGS, on_logs },
	};

	return daemon_serve(agentd->daemon, verbs, ARRAY_SIZE(verbs), status, agentd);
}

void bus_progress(struct agentd *agentd, const char *id, struct progress *progress)
{
	free(progress->machine);
	progress->machine = xstrdup(agentd->config->daemon.machine);
	free(progress->at);
	progress->at = time_format(time_now_usec());
	/* Progress is not durable: a subscriber that missed it polls. */
	bus_event(agentd->daemon->bus, SUBJECT_PROGRESS, id, NULL, progress);
}
