/* Status problems (pure): the list of problems of `ployzctl status`, from everything that it has
 * read. */
#include "ployzctl/pure.h"
#include "ployzctl/status.h"

static void add(char ***problems, const char *format, ...) _printf_(2, 3);
static void add(char ***problems, const char *format, ...)
{
	va_list args;
	char *text;

	va_start(args, format);
	text = xvasprintf(format, args);
	va_end(args);
	if (strv_contains(*problems, text))
		free(text);
	else
		strv_push(problems, text);
}

/* --- the store */

static void store_problems(const struct status *status, char ***problems)
{
	const struct snapshot *snapshot = status->snapshot;

	if (snapshot->mirror)
		add(problems, "store unreachable: the local mirrors of machine %s were read",
		    status->ctl->machine);
	for (char **error = snapshot->errors; error && *error; error++)
		add(problems, "%s; its last good state is served", *error);
	if (status->records_error)
		add(problems, "deploy records unreadable: %s", status->records_error);
	for (char **error = status->records ? status->records->errors : NULL; error && *error;
	     error++)
		add(problems, "%s", *error);
	if (status->leases_error)
		add(problems, "leases unreadable: %s", status->leases_error);
	if (status->usage_error)
		add(problems, "usage of the store unreadable: %s", status->usage_error);
	for (size_t i = 0; status->usage && i < status->usage->n_streams; i++) {
		const struct stream_usage *stream = &status->usage->streams[i];

		if (stream->alarm)
			add(problems,
			    "stream %s nearly full: 80 %% of its limit or more is used; run "
			    "`ployzctl store compact`",
			    stream->stream);
	}
}

/* --- daemons */

static char *error_text(const json_t *object)
{
	const char *error = json_string_value(json_object_get(object, "error"));
	const char *hint = json_string_value(json_object_get(object, "hint"));

	return xasprintf("%s%s%s", error, hint ? "; " : "", hint ? hint : "");
}

/* `namespace shop, machine m1: ERROR` of an object in a list, as JSON without `error`. */
static char *item_text(const json_t *item)
{
	_cleanup_(strbuf_clear) struct strbuf text = STRBUF_INIT;
	_cleanup_free_ char *error = NULL;
	const char *key;
	json_t *value;

	if (json_is_string(item))
		return xstrdup(json_string_value(item));
	if (!json_string_length(json_object_get(item, "error")))
		return json_text(item);
	error = error_text(item);
	json_object_foreach ((json_t *)item, key, value)
		if (json_is_string(value) && !streq(key, "error") && !streq(key, "hint"))
			strbuf_printf(&text, "%s%s %s", text.size ? ", " : "", key,
				      json_string_value(value));
	return xasprintf("%s%s%s", text.size ? text.text : "", text.size ? ": " : "", error);
}

/* In every daemon's status, `error` is a text (with its next step in `hint` beside it), `errors` a
 * list of texts or of objects; they exist only while something is wrong. */
static void gather_errors(const json_t *json, char ***errors)
{
	const json_t *item;
	const char *key;
	json_t *value;
	size_t i;

	json_array_foreach (json, i, item)
		gather_errors(item, errors);
	json_object_foreach ((json_t *)json, key, value) {
		if (streq(key, "error") && json_string_length(value))
			strv_push(errors, error_text(json));
		else if (streq(key, "errors") && json_is_array(value))
			json_array_foreach (value, i, item)
				strv_push(errors, item_text(item));
		else
			gather_errors(value, errors);
	}
}

char **status_errors(const struct observed *observed)
{
	const json_t *engine = json_object_get(observed->answer, "engine");
	const json_t *proxy = json_object_get(observed->answer, "haproxy");
	char **errors = NULL;

	gather_errors(observed->answer, &errors);
	if (!errors && json_is_false(json_object_get(engine, "reachable")))
		strv_push(&errors, xstrdup("the container engine does not answer"));
	if (!errors && json_is_false(json_object_get(proxy, "answers")))
		strv_push(&errors, xstrdup("HAProxy does not answer"));
	return errors;
}

const char *status_stale(const struct observed *observed)
{
	const json_t *log = json_object_get(observed->answer, "log");

	return json_string_value(json_object_get(log, "stale_since"));
}

/* A gateway reports the errors of its routes in its status too: they are listed once. */
static bool is_route_error(const struct status *status, const char *machine, const char *text)
{
	for (size_t i = 0; i < status->n_routes; i++) {
		const struct observed_routes *routes = &status->routes[i];

		for (size_t j = 0; routes->list && j < routes->list->n_routes; j++) {
			const struct route_view *route = &routes->list->routes[j];

			if (streq(routes->machine, machine) && route->error &&
			    strstr(text, route->key) && strstr(text, route->error))
				return true;
		}
	}
	return false;
}

static void daemon_problems(const struct status *status, char ***problems)
{
	for (size_t i = 0; i < status->n_observed; i++) {
		const struct observed *o = &status->observed[i];
		const json_t *log = json_object_get(o->answer, "log");
		const char *stale = status_stale(o);
		const char *why = json_string_value(json_object_get(log, "stale_reason"));
		_cleanup_(strv_freep) char **errors = status_errors(o);

		if (!o->answer)
			add(problems,
			    "%s of machine %s unreachable: %s; see its log: journalctl -u "
			    "ployz-%s",
			    o->daemon, o->machine, o->error, o->daemon);
		if (stale)
			add(problems, "%s of machine %s stale since %s%s%s", o->daemon, o->machine,
			    stale, why ? ": " : "", why ? why : "");
		for (char **error = errors; error && *error; error++)
			if (!streq(o->daemon, "routed") ||
			    !is_route_error(status, o->machine, *error))
				add(problems, "%s of machine %s: %s", o->daemon, o->machine,
				    *error);
	}
}

/* --- instances */

static bool slot_ready(const struct snapshot *snapshot, const struct slot *slot)
{
	const struct instance *fact = snapshot_instance(snapshot, slot->machine, slot->instance);

	return fact && fact->state == INSTANCE_READY;
}

size_t status_ready(const struct snapshot *snapshot, const struct head_service *service)
{
	size_t ready = 0;

	for (size_t i = 0; i < service->n_slots; i++)
		ready += slot_ready(snapshot, &service->slots[i]);
	return ready;
}

static void slot_problem(const struct snapshot *snapshot, const struct head *head,
			 const struct head_service *service, const struct slot *slot,
			 char ***problems)
{
	const struct instance *fact = snapshot_instance(snapshot, slot->machine, slot->instance);

	if (slot_ready(snapshot, slot))
		return;
	add(problems, "instance %s of %s/%s on machine %s %s%s%s; run `ployzctl logs %s/%s`",
	    slot->instance, head->ns, service->name, slot->machine,
	    fact ? instance_state_names[fact->state] : "without facts",
	    fact && fact->reason ? ": " : "", fact && fact->reason ? fact->reason : "", head->ns,
	    service->name);
}

static void instance_problems(const struct status *status, char ***problems)
{
	const struct snapshot *snapshot = status->snapshot;

	for (size_t i = 0; i < snapshot->n_heads; i++) {
		const struct head *head = snapshot->heads[i].head;

		for (size_t j = 0; j < head->n_services; j++)
			for (size_t k = 0; k < head->services[j].n_slots; k++)
				slot_problem(snapshot, head, &head->services[j],
					     &head->services[j].slots[k], problems);
	}
}

/* --- routes */

static const struct route_view *view_of(const struct route_list *list, const char *ns,
					const char *key)
{
	for (size_t i = 0; i < list->n_routes; i++)
		if (streq(list->routes[i].ns, ns) && streq(list->routes[i].key, key))
			return &list->routes[i];
	return NULL;
}

/* Whether a gateway that has applied the facts up to `facts` knows a ready instance of the
 * service. */
static bool knows_ready(const struct snapshot *snapshot, const struct head_service *service,
			int64_t facts)
{
	for (size_t i = 0; service && i < service->n_slots; i++)
		for (size_t j = 0; j < snapshot->n_instances; j++) {
			const struct snapshot_facts *entry = &snapshot->instances[j];

			if ((int64_t)entry->sequence <= facts &&
			    streq(entry->list->machine, service->slots[i].machine) &&
			    slot_ready(snapshot, &service->slots[i]) &&
			    instances_find(entry->list, service->slots[i].instance))
				return true;
		}
	return false;
}

/* One route of a head on one gateway. A gateway that has not applied the head yet is not wrong. */
static void route_problem(const struct status *status, const struct observed_routes *routes,
			  const struct snapshot_head *at, const struct head_route *route,
			  char ***problems)
{
	const struct head *head = at->head;
	const struct route_view *view = view_of(routes->list, head->ns, route->key);
	const struct head_service *service = head_service(head, route->service);
	const struct watermark wanted = { .generation = status->snapshot->applied.generation,
					  .intent = (int64_t)at->sequence };

	if (!watermark_reached(&routes->list->applied, &wanted) || (view && view->error))
		return;
	if (!view)
		add(problems,
		    "route %s of namespace %s not served by the gateway of machine %s: "
		    "it does not have the route",
		    route->key, head->ns, routes->machine);
	else if (!route_ready(view) &&
		 knows_ready(status->snapshot, service, routes->list->applied.facts))
		add(problems,
		    "route %s of namespace %s not served by the gateway of machine %s: "
		    "%s; run `ployzctl route ls`",
		    route->key, head->ns, routes->machine, route_state(view));
}

static void route_problems(const struct status *status, char ***problems)
{
	const struct snapshot *snapshot = status->snapshot;

	for (size_t i = 0; i < status->n_routes; i++) {
		const struct observed_routes *routes = &status->routes[i];

		for (size_t j = 0; routes->list && j < routes->list->n_routes; j++) {
			const struct route_view *view = &routes->list->routes[j];

			if (view->error)
				add(problems,
				    "route %s of %s/%s not served by the gateway of "
				    "machine %s: %s",
				    view->key, view->ns, view->service, routes->machine,
				    view->error);
		}
		for (size_t j = 0; routes->list && j < snapshot->n_heads; j++) {
			const struct snapshot_head *at = &snapshot->heads[j];

			for (size_t k = 0; k < at->head->n_routes; k++)
				route_problem(status, routes, at, &at->head->routes[k], problems);
		}
	}
}

/* --- deploys */

static const struct observed *leased_of(const struct status *status, const char *machine)
{
	for (size_t i = 0; i < status->n_observed; i++)
		if (streq(status->observed[i].daemon, "leased") &&
		    streq(status->observed[i].machine, machine))
			return &status->observed[i];
	return NULL;
}

/* The snapshot was read before leased answered, and the record after it: a deploy that the snapshot
 * has, the answer lacks and the record calls unfinished has lost its executor. */
static bool is_orphan(const struct status *status, const struct deploy *record)
{
	const struct snapshot_head *at = snapshot_head(status->snapshot, record->ns);
	const struct observed *leased = leased_of(status, record->machine);

	if (!at || deploy_phase_is_end((enum deploy_phase)record->phase))
		return false;
	if (!(at->head->open && streq(at->head->open->deploy, record->deploy)) &&
	    !streq(at->head->deploy, record->deploy))
		return false;
	return leased ? leased->answer && !rollout_listed(leased->answer, record->deploy) : true;
}

static const struct deploy *record_of(const struct status *status, const char *deploy)
{
	for (size_t i = 0; status->records && i < status->records->count; i++)
		if (streq(status->records->items[i]->deploy, deploy))
			return status->records->items[i];
	return NULL;
}

/* An open deploy whose record was never written. */
static void open_problem(const struct status *status, const struct head *head, char ***problems)
{
	const struct observed *leased = head->open ? leased_of(status, head->open->machine) : NULL;

	if (!head->open || !status->records || record_of(status, head->open->deploy) ||
	    (leased && (!leased->answer || rollout_listed(leased->answer, head->open->deploy))))
		return;
	add(problems,
	    "deploy %s of namespace %s stopped: no leased executes it; run `ployzctl "
	    "deploy sweep %s`",
	    head->open->deploy, head->ns, head->ns);
}

/* The gateways' present answers are newer than the record's list of routes. */
static bool gateways_serve(const struct status *status, const struct snapshot_head *at)
{
	const struct watermark wanted = { .generation = status->snapshot->applied.generation,
					  .intent = (int64_t)at->sequence };

	for (size_t i = 0; i < status->n_routes; i++) {
		const struct route_list *list = status->routes[i].list;

		if (!list || !watermark_reached(&list->applied, &wanted))
			return false;
		for (size_t j = 0; j < list->n_routes; j++)
			if (streq(list->routes[j].ns, at->head->ns) && list->routes[j].error)
				return false;
	}
	return status->n_routes > 0;
}

static void deploy_problem(const struct status *status, const struct deploy *record,
			   char ***problems)
{
	const struct snapshot_head *at = snapshot_head(status->snapshot, record->ns);
	bool current = at && streq(at->head->deploy, record->deploy);

	if (record->phase == DEPLOY_UNKNOWN)
		add(problems,
		    "deploy %s of namespace %s outcome unknown: the commit was not "
		    "acknowledged; run `ployzctl deploy attach %s`",
		    record->deploy, record->ns, record->deploy);
	if (record_pending(status->records, record))
		add(problems,
		    "deploy %s of namespace %s clean-up pending: %zu instance%s left; run "
		    "`ployzctl deploy sweep %s`",
		    record->deploy, record->ns, record->n_left, record->n_left == 1 ? "" : "s",
		    record->ns);
	else if (record->phase == DEPLOY_DONE && record->n_left && current)
		add(problems,
		    "deploy %s of namespace %s left %zu instance%s; run `ployzctl deploy "
		    "sweep %s`",
		    record->deploy, record->ns, record->n_left, record->n_left == 1 ? "" : "s",
		    record->ns);
	for (char **route = current && !gateways_serve(status, at) ? record->unserved : NULL;
	     route && *route; route++)
		add(problems,
		    "deploy %s of namespace %s route not served: %s; run `ployzctl route "
		    "ls`",
		    record->deploy, record->ns, *route);
	if (is_orphan(status, record))
		add(problems,
		    "deploy %s of namespace %s stopped in phase %s: no leased executes "
		    "it; run `ployzctl deploy attach %s`",
		    record->deploy, record->ns, deploy_phase_names[record->phase], record->deploy);
}

char **status_problems(const struct status *status)
{
	char **problems = NULL;

	store_problems(status, &problems);
	daemon_problems(status, &problems);
	route_problems(status, &problems);
	instance_problems(status, &problems);
	for (size_t i = 0; status->records && i < status->records->count; i++)
		deploy_problem(status, status->records->items[i], &problems);
	for (size_t i = 0; i < status->snapshot->n_heads; i++)
		open_problem(status, status->snapshot->heads[i].head, &problems);
	return problems;
}
