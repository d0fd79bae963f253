#include "agentd/agentd.h"

#define MACHINE_LABEL "ployz.machine"
#define INSTANCE_LABEL "ployz.instance"

/* The fact of a container that no fact speaks of is what its labels say. */
static struct control *adopt(struct agentd *agentd, struct container_seen *seen)
{
	struct control *control = agentd_control(agentd, seen->instance->id);
	struct instance *fact;

	if (!control) {
		fact = facts_get(agentd->facts, seen->instance->id);
		if (!fact) {
			fact = facts_add(agentd->facts, seen->instance);
			fact->since = time_format(time_now_usec());
			seen->instance = NULL;
		}
		control = control_new(agentd, fact);
		if (fact->state == INSTANCE_GONE)
			facts_state(agentd->facts, fact, INSTANCE_DRAINING,
				    "its container is still there", NULL);
	}
	if (!control->container)
		control->container = xstrdup(seen->id);
	if (!control->service && seen->service)
		control->service = steal(seen->service);
	return control;
}

static void read_containers(struct agentd *agentd, const json_t *list, struct map *here)
{
	const json_t *item;
	size_t i;

	json_array_foreach (list, i, item) {
		struct container_seen seen;

		container_read(item, agentd->config->network, &seen);
		if (seen.instance && seen.id) {
			struct control *control = adopt(agentd, &seen);

			map_put(here, control->fact->id, control);
		}
		container_clear(&seen);
	}
}

/* A fact that no container stands for: what was never created can still be ordered again. */
static void adopt_fact(struct instance *fact, void *userdata)
{
	struct agentd *agentd = userdata;

	if (!states_is_end((enum instance_state)fact->state) && !agentd_control(agentd, fact->id))
		control_new(agentd, fact);
}

static void on_listed(const struct engine_answer *answer, void *userdata)
{
	struct agentd *agentd = userdata;
	struct map here = MAP_INIT;

	agentd->adopting = NULL;
	if (!engine_ok(answer)) {
		if (answer->status)
			engine_lost(agentd->engine, answer->words);
		return;
	}
	read_containers(agentd, answer->json, &here);
	facts_each(agentd->facts, adopt_fact, agentd);
	for (struct map_item *i = NULL; (i = map_next(&agentd->controls, i));) {
		struct control *control = i->value;

		if (map_get(&here, control->fact->id))
			control_go_on(control);
		else if (!control->request && !control->order && control->want == WANT_RUN)
			control_event(control, EVENT_LOST, "its container is not there any more");
		else if (!control->request) {
			free(steal(control->container));
			control_go_on(control);
		}
	}
	map_clear(&here, NULL);
	if (!agentd->adopted)
		log_info("%zu containers of this machine are looked after", agentd->controls.count);
	agentd->adopted = true;
	agentd_say_status(agentd);
	bus_calls_go_on(agentd);
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

/* Whether an end that an event tells of may be that before the last start: events do not come in
 * one order with answers (seen with Podman 5.4: a stop's after the start that followed it). What an
 * inspection says is so now. */
static bool is_doubtful(const struct control *control, const json_t *event)
{
	json_int_t nanoseconds = json_integer_value(json_object_get(event, "timeNano"));
	uint64_t started;

	return !control->started_at ||
	       (nanoseconds > 0 && time_parse(control->started_at, &started) == 0 &&
		(uint64_t)nanoseconds / 1000 < started);
}

void adopt_engine_event(struct agentd *agentd, const json_t *event)
{
	const char *action = json_string_value(json_object_get(event, "Action"));
	const json_t *actor = json_object_get(event, "Actor");
	const json_t *attributes = json_object_get(actor, "Attributes");
	const char *id = json_string_value(json_object_get(attributes, INSTANCE_LABEL));
	const char *container = json_string_value(json_object_get(actor, "ID"));
	const char *code = json_string_value(json_object_get(attributes, "exitCode"));
	struct control *control = id && agentd->adopted ? agentd_control(agentd, id) : NULL;
	int64_t exit_code = 0;

	/* An event of a container that an instance's name stood for before is none of it now. */
	if (!action || !control || !control->container || !streq(control->container, container))
		return;
	log_debug("%s: the engine says %s", id, action);
	if (streq(action, "oom")) {
		control->oom = true;
	} else if (streq(action, "start")) {
		if (control->own_start)
			control->own_start = false;
		else
			control_inspect(control);
	} else if (streq(action, "die") || streq(action, "died")) {
		control->own_start = false; /* the next one is the engine's own */
		if (code && int_parse(code, 0, 255, &exit_code) == 0 && !is_doubtful(control, event))
			control_died(control, exit_code, "its process ended");
		else
			control_inspect(control);
	} else if ((streq(action, "destroy") || streq(action, "remove")) && !control->request) {
		control_event(control, control->want == WANT_REMOVE ? EVENT_REMOVED : EVENT_LOST,
			     control->want == WANT_REMOVE
				     ? NULL
				     : "its container was removed by somebody else");
	}
}
