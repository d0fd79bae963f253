/* The doorplate: what agentd hears, and what it says. */
#include "agentd/agentd.h"

static void give(struct bus_call *call, struct agentd *agentd, const char *id)
{
	const struct instance *fact = facts_get(agentd->facts, id);
	const struct agent_instance answer = {
		(struct instance *)fact,
		fact ? (int64_t)facts_sequence(agentd->facts, fact) : 0,
	};

	bus_call_ok(call, &answer);
}

static bool ids_valid(struct bus_call *call, const char *what, const char *id)
{
	if (instance_id_valid(id))
		return true;
	bus_call_failf(call, FAILURE_INVALID, NULL, "%s '%.80s' is not made of a-z, 0-9 and -",
		       what, id);
	return false;
}

static bool engine_there(struct bus_call *call, const struct agentd *agentd)
{
	if (agentd->daemon->told) {
		bus_call_failf(call, FAILURE_UNREACHABLE, "ask again: it is started again",
			       "agentd of machine %s is ending", agentd->config->daemon.machine);
		return false;
	}
	if (agentd->engine->up && agentd->adopted)
		return true;
	bus_call_failf(call, FAILURE_ENGINE,
		       "is the engine running? `docker info` on that machine asks it",
		       "the container engine of machine %s does not answer: %s",
		       agentd->config->daemon.machine,
		       agentd->engine->error ? agentd->engine->error
					     : "its containers are not known yet");
	return false;
}

/* A fence that is not on the disk would not outlive a restart. */
static void refuse_unsaved(const struct agentd *agentd, struct bus_call *call, int error)
{
	const char *machine = agentd->config->daemon.machine, *state = agentd->config->daemon.state;

	if (error == -ENOSPC)
		bus_call_failf(call, FAILURE_FAILED, "make room there, then deploy again",
			       "the disk of agentd's state on machine %s is full (%s)", machine,
			       state);
	else
		bus_call_failf(call, FAILURE_FAILED, "mend it, then deploy again",
			       "agentd on machine %s cannot write under %s: %s", machine, state,
			       strerror(-error));
}

/* Whose epoch is too low is refused; a higher one is remembered before anything is done on its
 * word. */
static bool admitted(struct bus_call *call, struct agentd *agentd, const char *ns, int64_t epoch,
		     const char *deploy)
{
	struct failure failure = FAILURE_INIT;
	int r = 0;

	if (!ids_valid(call, "deploy", deploy))
		return false;
	if (locks_admit(&agentd->locks, ns, epoch, &failure) < 0) {
		bus_call_fail(call, &failure);
		failure_clear(&failure);
		return false;
	}
	if (locks_heard(&agentd->locks, ns, epoch, deploy, boot_now_usec()) ||
	    agentd->locks.unsaved)
		r = locks_save(agentd);
	if (r < 0)
		refuse_unsaved(agentd, call, r);
	return r >= 0;
}

/* Until this machine's containers are known, a question waits; an engine that is away is told at
 * once. */
static bool waits(struct agentd *agentd, struct bus_call *call, bus_verb_fn fn)
{
	if (agentd->adopted || (agentd->engine->tried && !agentd->engine->up) ||
	    agentd->n_waiting == CALLS_WAITING_MAX)
		return false;
	agentd->waiting[agentd->n_waiting++] = (struct waiting_call){ call, fn, boot_now_usec() };
	return true;
}

void bus_calls_go_on(struct agentd *agentd)
{
	struct waiting_call waiting[CALLS_WAITING_MAX];
	size_t n = agentd->n_waiting;

	memcpy(waiting, agentd->waiting, n * sizeof(*waiting));
	agentd->n_waiting = 0;
	for (size_t i = 0; i < n; i++) {
		if (boot_now_usec() - waiting[i].since > CALL_WAIT_USEC)
			bus_call_drop(waiting[i].call);
		else
			waiting[i].fn(waiting[i].call, bus_call_request(waiting[i].call), agentd);
	}
}

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

static void on_lock(struct bus_call *call, void *object, void *userdata)
{
	struct agentd *agentd = userdata;
	const struct agent_lock *lock = object;
	struct failure failure = FAILURE_INIT;
	_cleanup_json_ json_t *before = NULL, *after = NULL;
	_cleanup_free_ struct instance_use *uses = NULL;
	struct room room = { agentd->engine->memory, (double)agentd->engine->cpus, NULL, 0 };
	bool other;
	int r = 0;

	if (waits(agentd, call, on_lock))
		return;
	if (!ids_valid(call, "deploy", lock->deploy))
		return;
	uses = uses_of(agentd, &room.n_uses);
	room.uses = uses;
	if (locks_admit(&agentd->locks, lock->ns, lock->epoch, &failure) < 0 ||
	    locks_fits(&agentd->locks, lock, &room, boot_now_usec(), &failure) < 0) {
		bus_call_fail(call, &failure);
		failure_clear(&failure);
		return;
	}
	before = locks_encode(&agentd->locks);
	locks_take(&agentd->locks, lock, boot_now_usec(), &other);
	after = locks_encode(&agentd->locks);
	/* A renewal changes nothing that outlives a restart. */
	if (!json_equal(before, after) || agentd->locks.unsaved)
		r = locks_save(agentd);
	if (r < 0) {
		locks_release(&agentd->locks, lock->ns, lock->epoch, lock->deploy);
		refuse_unsaved(agentd, call, r);
		return;
	}
	timer_arm_within(agentd->lapse, LOCK_TERM_USEC);
	if (other) {
		facts_forget(agentd->facts, lock->ns);
		images_forget(agentd->images, lock->ns);
		runs_sweep(agentd->runs, lock->ns, lock->deploy);
	}
	bus_call_ok(call, NULL);
}

static void on_unlock(struct bus_call *call, void *object, void *userdata)
{
	struct agentd *agentd = userdata;
	const struct agent_unlock *unlock = object;

	if (!admitted(call, agentd, unlock->ns, unlock->epoch, unlock->deploy))
		return;
	if (locks_release(&agentd->locks, unlock->ns, unlock->epoch, unlock->deploy))
		locks_save(agentd);
	bus_call_ok(call, NULL);
}

static void on_prepare(struct bus_call *call, void *object, void *userdata)
{
	struct agentd *agentd = userdata;
	const struct agent_prepare *order = object;
	struct agent_prepared answer;

	if (waits(agentd, call, on_prepare))
		return;
	if (!admitted(call, agentd, order->ns, order->epoch, order->deploy) ||
	    !engine_there(call, agentd))
		return;
	images_prepare(agentd->images, order, &answer);
	bus_call_ok(call, &answer);
	codec_clear(&agent_prepared_schema, &answer);
}

static struct control *control_of_order(struct agentd *agentd, const struct agent_start *order)
{
	struct instance *fact = codec_new(&instance_schema);
	struct control *control;

	fact->id = xstrdup(order->instance);
	fact->ns = xstrdup(order->ns);
	fact->service = xstrdup(order->service->name);
	fact->slot = order->slot;
	fact->deploy = xstrdup(order->deploy);
	fact->epoch = order->epoch;
	fact->image = xstrdup(order->service->image);
	fact->digest = xstrdup(order->digest);
	fact->hash = service_hash(order->service, order->digest);
	fact->exit_code = -1;
	for (size_t i = 0; i < order->service->n_ports; i++) {
		struct port *port = array_add(fact->ports, fact->n_ports);

		codec_copy_into(&port_schema, port, &order->service->ports[i]);
	}
	control = control_new(agentd, facts_add(agentd->facts, fact));
	facts_state(agentd->facts, fact, INSTANCE_PULLING, NULL, order->deploy);
	return control;
}

static void on_start(struct bus_call *call, void *object, void *userdata)
{
	struct agentd *agentd = userdata;
	const struct agent_start *order = object;
	struct control *control;

	if (waits(agentd, call, on_start))
		return;
	if (!ids_valid(call, "instance", order->instance) ||
	    !admitted(call, agentd, order->ns, order->epoch, order->deploy))
		return;
	control = agentd_control(agentd, order->instance);
	if (!control && !facts_get(agentd->facts, order->instance)) {
		if (!engine_there(call, agentd))
			return;
		if (!order->service->name || !name_valid(order->service->name)) {
			bus_call_failf(call, FAILURE_INVALID, NULL,
				       "the service to start has no name");
			return;
		}
		if (agentd->network.trouble) {
			bus_call_failf(call, FAILURE_NOT_READY,
				       "`ployzctl status` shows what it waits for",
				       "machine %s starts no containers now: %s",
				       agentd->config->daemon.machine, agentd->network.trouble);
			return;
		}
		control = control_of_order(agentd, order);
	}
	if (control)
		control_order(control, order);
	/* What never comes into the log can never be routed. */
	if (facts_refused(agentd->facts))
		bus_call_fail(call, facts_refused(agentd->facts));
	else
		give(call, agentd, order->instance);
}

static void on_run(struct bus_call *call, void *object, void *userdata)
{
	struct agentd *agentd = userdata;
	const struct agent_run *order = object;
	struct agent_ran answer;

	if (waits(agentd, call, on_run))
		return;
	if (!admitted(call, agentd, order->ns, order->epoch, order->deploy) ||
	    !engine_there(call, agentd))
		return;
	if (!order->service->pre_deploy || !order->service->name ||
	    !name_valid(order->service->name)) {
		bus_call_failf(call, FAILURE_INVALID, NULL,
			       "the service to run has no name or no pre_deploy command");
		return;
	}
	if (agentd->network.trouble) {
		bus_call_failf(call, FAILURE_NOT_READY, "`ployzctl status` shows what it waits for",
			       "machine %s starts no containers now: %s",
			       agentd->config->daemon.machine, agentd->network.trouble);
		return;
	}
	runs_order(agentd->runs, order, &answer);
	bus_call_ok(call, &answer);
	codec_clear(&agent_ran_schema, &answer);
}

static void command(struct bus_call *call, struct agentd *agentd, const struct agent_ref *ref,
		    enum event event, bus_verb_fn fn)
{
	struct control *control;

	if (waits(agentd, call, fn))
		return;
	if (!admitted(call, agentd, ref->ns, ref->epoch, ref->deploy) ||
	    !engine_there(call, agentd))
		return;
	control = agentd_control(agentd, ref->instance);
	if (control && !streq(control->fact->ns, ref->ns)) {
		bus_call_failf(call, FAILURE_INVALID, NULL, "instance %s is not of namespace %s",
			       ref->instance, ref->ns);
		return;
	}
	if (control)
		control_command(control, event, ref);
	give(call, agentd, ref->instance);
}

static void on_drain(struct bus_call *call, void *object, void *userdata)
{
	command(call, userdata, object, EVENT_DRAIN, on_drain);
}

static void on_stop(struct bus_call *call, void *object, void *userdata)
{
	command(call, userdata, object, EVENT_STOP, on_stop);
}

static void on_resume(struct bus_call *call, void *object, void *userdata)
{
	command(call, userdata, object, EVENT_RESUME, on_resume);
}

static void on_remove(struct bus_call *call, void *object, void *userdata)
{
	command(call, userdata, object, EVENT_REMOVE, on_remove);
}

static void on_list(struct bus_call *call, void *object, void *userdata)
{
	struct agentd *agentd = userdata;

	if (!waits(agentd, call, on_list))
		list_answer(agentd, call, object);
}

static void on_logs(struct bus_call *call, void *object, void *userdata)
{
	struct agentd *agentd = userdata;
	struct agent_streaming answer;

	if (waits(agentd, call, on_logs))
		return;
	if (!engine_there(call, agentd))
		return;
	answer.instances = logs_serve(agentd->logs, object);
	bus_call_ok(call, &answer);
}

static json_t *status(void *userdata)
{
	struct agentd *agentd = userdata;
	json_t *network = json_pack("{s:s, s:s, s:b}", "name", agentd->config->network, "bridge",
				    agentd->config->bridge, "ready", agentd->network.ready);
	json_t *locks = json_object();

	if (agentd->network.subnet)
		json_object_set_new(network, "subnet", json_string(agentd->network.subnet));
	if (agentd->network.trouble)
		json_object_set_new(network, "trouble", json_words(agentd->network.trouble));
	for (struct map_item *i = NULL; (i = map_next(&agentd->locks.map, i));) {
		const struct lock *lock = i->value;

		json_object_set_new(locks, lock->ns,
				    json_pack("{s:I, s:b, s:s*}", "epoch", (json_int_t)lock->epoch,
					      "held", lock->held, "deploy", lock->deploy));
	}
	return json_pack("{s:o, s:o, s:o, s:o, s:b, s:I}", "engine", engine_status(agentd->engine),
			 "network", network, "facts", facts_status(agentd->facts), "locks", locks,
			 "adopted", agentd->adopted, "instances",
			 (json_int_t)agentd->controls.count);
}

int agentd_serve(struct agentd *agentd)
{
	static const struct bus_verb verbs[] = {
		{ SUBJECT_AGENT_LOCK, on_lock },       { SUBJECT_AGENT_UNLOCK, on_unlock },
		{ SUBJECT_AGENT_PREPARE, on_prepare }, { SUBJECT_AGENT_START, on_start },
		{ SUBJECT_AGENT_RUN, on_run },	       { SUBJECT_AGENT_DRAIN, on_drain },
		{ SUBJECT_AGENT_STOP, on_stop },       { SUBJECT_AGENT_RESUME, on_resume },
		{ SUBJECT_AGENT_REMOVE, on_remove },   { SUBJECT_AGENT_LIST, on_list },
		{ SUBJECT_AGENT_LOGS, on_logs },
	};

	return daemon_serve(agentd->daemon, verbs, ARRAY_SIZE(verbs), status, agentd);
}

void bus_say(struct agentd *agentd, const char *id, struct progress *progress)
{
	free(progress->machine);
	progress->machine = xstrdup(agentd->config->daemon.machine);
	free(progress->at);
	progress->at = time_format(time_now_usec());
	/* Progress is not durable: who does not hear it asks again. */
	bus_event(agentd->daemon->bus, SUBJECT_PROGRESS, id, NULL, progress);
}
