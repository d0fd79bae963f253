/* Adoption: the engine's containers and our facts, compared when the engine or agentd has started;
 * and the engine's events. */
#include "agentd/agentd.h"

#define MACHINE_LABEL "ployz.machine"
#define INSTANCE_LABEL "ployz.instance"
#define RUN_LABEL "ployz.run"

/* The fact of a container that has none is made from its labels: it was not stored before agentd
 * ended. */
static void adopt(struct agentd *agentd, struct container_seen *seen)
{
	struct control *control = agentd_control(agentd, seen->instance->id);
	struct instance *fact;
	bool known;

	if (!control) {
		fact = facts_get(agentd->facts, seen->instance->id);
		known = fact != NULL;
		if (!known) {
			fact = facts_add(agentd->facts, seen->instance);
			fact->since = time_format(time_now_usec());
			seen->instance = NULL;
		}
		control = control_new(agentd, fact);
		/* A list does not have it. */
		control->count_unknown = !known;
		if (fact->state == INSTANCE_GONE)
			facts_state(agentd->facts, fact, INSTANCE_DRAINING,
				    "its container still exists", NULL);
	}
	control_set_container(control, seen->id);
	if (!control->service && seen->service)
		control->service = steal(seen->service);
}

static void read_containers(struct agentd *agentd, const json_t *list, struct map *running)
{
	const json_t *item;
	size_t i;

	json_array_foreach (list, i, item) {
		struct container_seen seen;

		container_read(item, agentd->config->network, &seen);
		if (!records_owner(agentd->records, &seen, agentd->config->daemon.machine))
			log_debug("container %s carries labels of agentd, which did not make it",
				  seen.name ? seen.name : "(unnamed)");
		else if (seen.instance)
			adopt(agentd, &seen);
		else if (seen.running)
			map_put(running, seen.id, running);
		container_clear(&seen);
	}
}

/* The file of records may have been lost; facts name the engine's ids too. */
static void record_fact(struct instance *fact, void *userdata)
{
	struct agentd *agentd = userdata;

	if (fact->container && *fact->container && fact->state != INSTANCE_GONE &&
	    !records_id(agentd->records, fact->id))
		records_made(agentd->records, fact->id, fact->container);
}

/* A fact without a container: an instance that was never created can be started again. */
static void adopt_fact(struct instance *fact, void *userdata)
{
	struct agentd *agentd = userdata;

	if (fact->slot != INSTANCE_RUN_SLOT && !states_is_end((enum instance_state)fact->state) &&
	    !agentd_control(agentd, fact->id))
		control_new(agentd, fact);
}

/* What the list does not show may have been made after it: only an inspection proves that a
 * container is lost. */
static void take_up(struct control *control)
{
	if (control->container || control->request || control->order || control->want != WANT_RUN)
		control_take_up(control);
	else
		control_event(control, EVENT_LOST, "its container does not exist any more");
}

static void on_listed(const struct engine_answer *answer, void *userdata)
{
	struct agentd *agentd = userdata;
	struct map running = MAP_INIT;
	bool first = !agentd->adopted;

	agentd->adopting = NULL;
	if (!engine_ok(answer)) {
		if (answer->status)
			engine_lost(agentd->engine, answer->message);
		return;
	}
	facts_each(agentd->facts, record_fact, agentd);
	read_containers(agentd, answer->json, &running);
	facts_each(agentd->facts, adopt_fact, agentd);
	runs_adopt(agentd->runs, &running);
	map_clear(&running, NULL);
	agentd->adopted = true;
	/* A deploy's record takes precedence over the containers' states. */
	abort_begin(agentd->aborts);
	for (struct map_item *i = NULL; (i = map_next(&agentd->controls, i));)
		take_up(i->value);
	if (first)
		log_info("controlling %zu instances of this machine", agentd->controls.count);
	agentd_update_status(agentd);
	commands_poll(agentd->commands);
}

void adopt_begin(struct agentd *agentd)
{
	_cleanup_free_ char *filters = NULL, *escaped = NULL, *path = NULL;

	if (!agentd->engine->up || !facts_loaded(agentd->facts))
		return;
	engine_cancel(steal(agentd->adopting));
	filters =
		xasprintf("{\"label\":[\"" MACHINE_LABEL "=%s\"]}", agentd->config->daemon.machine);
	escaped = http_escape(filters, NULL);
	path = xasprintf("/containers/json?all=1&filters=%s", escaped);
	engine_ask(agentd->engine, "GET", path, NULL, ENGINE_USEC, on_listed, agentd,
		   &agentd->adopting);
}

/* Whether an end that an event reports may be that before the last start: events and answers do not
 * come in one order (seen with Podman 5.4: a stop's after the start that followed it). An
 * inspection shows the present state. */
static bool is_doubtful(const struct control *control, const json_t *event)
{
	json_int_t nanoseconds = json_integer_value(json_object_get(event, "timeNano"));
	uint64_t started;

	return !control->started_at ||
	       (nanoseconds > 0 && time_parse(control->started_at, &started) == 0 &&
		(uint64_t)nanoseconds / 1000 < started);
}

static bool is_end(const char *action)
{
	return streq(action, "die") || streq(action, "died");
}

static void on_end(struct control *control, const json_t *event, const char *code)
{
	int64_t exit_code = 0;

	control->own_start = false; /* the next start is not by our request */
	if (code && int_parse(code, 0, 255, &exit_code) == 0 && !is_doubtful(control, event))
		control_died(control, exit_code, "its process ended");
	else
		control_inspect(control);
}

void adopt_engine_event(struct agentd *agentd, const json_t *event)
{
	const char *action = json_string_value(json_object_get(event, "Action"));
	const json_t *actor = json_object_get(event, "Actor");
	const json_t *attributes = json_object_get(actor, "Attributes");
	const char *id = json_string_value(json_object_get(attributes, INSTANCE_LABEL));
	const char *run = json_string_value(json_object_get(attributes, RUN_LABEL));
	const char *container = json_string_value(json_object_get(actor, "ID"));
	struct control *control = id && agentd->adopted ? agentd_control(agentd, id) : NULL;

	if (action && container && run && *run && is_end(action))
		runs_died(agentd->runs, container);
	/* Events of another container with the same label do not concern the instance. */
	if (!action || !control || !control->container || !streq(control->container, container))
		return;
	log_debug("%s: the engine reports %s", id, action);
	if (streq(action, "oom")) {
		control->oom = true;
	} else if (streq(action, "start")) {
		if (control->own_start)
			control->own_start = false;
		else
			control_inspect(control);
	} else if (is_end(action)) {
		on_end(control, event, json_string_value(json_object_get(attributes, "exitCode")));
	} else if ((streq(action, "destroy") || streq(action, "remove")) && !control->request) {
		control_event(control, control->want == WANT_REMOVE ? EVENT_REMOVED : EVENT_LOST,
			      control->want == WANT_REMOVE
				      ? NULL
				      : "its container was removed from outside");
	}
}
