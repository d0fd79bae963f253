#include "routed/routed.h"

/* The doorplate: applied, drained, routes; `status` is every daemon's. routed says nothing of its
 * own. */

/* Askers repeat themselves; more than these are not kept waiting. */
#define WAITERS_MAX 256

static void answer_applied(struct routed *routed, struct bus_call *call)
{
	uint64_t stale = projection_stale_since(routed->projection);
	_cleanup_free_ char *since = stale ? time_format(stale) : NULL;

	bus_call_ok(call, &(struct applied){ .sequence = routed->applied, .stale_since = since });
}

static void on_applied(struct bus_call *call, void *request, void *userdata)
{
	const struct applied_request *asked = request;
	struct routed *routed = userdata;

	if (routed->applied && asked->sequence <= routed->applied) {
		answer_applied(routed, call);
		return;
	}
	if (routed->n_applied == WAITERS_MAX) {
		bus_call_failf(call, FAILURE_NOT_READY, "ask again",
			       "too many wait for the gateway: %s",
			       routed->proxy_trouble ? routed->proxy_trouble : "it is behind");
		return;
	}
	*array_add(routed->applied_waiters, routed->n_applied) =
		(struct waiter_applied){ .call = call, .sequence = asked->sequence };
	projection_expect(routed->projection, (uint64_t)asked->sequence);
}

void bus_applied(struct routed *routed)
{
	size_t left = 0;

	for (size_t i = 0; i < routed->n_applied; i++) {
		struct waiter_applied waiter = routed->applied_waiters[i];

		if (waiter.sequence <= routed->applied)
			answer_applied(routed, waiter.call);
		else
			routed->applied_waiters[left++] = waiter;
	}
	routed->n_applied = left;
}

static int64_t connections_in(const struct actual *actual, char *const *instances)
{
	int64_t sum = 0;

	for (size_t i = 0; i < actual->n_servers; i++)
		if (strv_contains(instances, actual->servers[i].name))
			sum += actual->servers[i].connections;
	return sum;
}

/* A connection that was given its server a moment ago is not counted yet: two looks have to
 * agree. */
#define QUIET_LOOKS 2

void bus_drained(struct routed *routed)
{
	uint64_t now = boot_now_usec();
	size_t left = 0;

	for (size_t i = 0; i < routed->n_drained; i++) {
		struct waiter_drained waiter = routed->drained_waiters[i];
		const struct drained_request *asked = bus_call_request(waiter.call);
		int64_t count = connections_in(&routed->actual, asked->instances) +
				connections_in(&routed->older, asked->instances);

		waiter.quiet = routed->known && !count && routed->applied >= asked->sequence
				       ? waiter.quiet + 1
				       : 0;
		if (waiter.quiet >= QUIET_LOOKS || now >= waiter.until_usec)
			bus_call_ok(waiter.call, &(struct drained){ .connections = count });
		else
			routed->drained_waiters[left++] = waiter;
	}
	routed->n_drained = left;
}

static void on_drained(struct bus_call *call, void *request, void *userdata)
{
	const struct drained_request *asked = request;
	struct routed *routed = userdata;

	if (asked->wait_ms > DRAIN_MAX_MS) {
		bus_call_failf(call, FAILURE_INVALID, NULL, "wait_ms is at most %d", DRAIN_MAX_MS);
		return;
	}
	if (routed->n_drained == WAITERS_MAX) {
		bus_call_failf(call, FAILURE_NOT_READY, "ask again",
			       "too many wait for connections to end");
		return;
	}
	*array_add(routed->drained_waiters, routed->n_drained) = (struct waiter_drained){
		.call = call, .until_usec = boot_now_usec() + (uint64_t)asked->wait_ms * 1000
	};
	projection_expect(routed->projection, (uint64_t)asked->sequence);
	sync_look(routed);
}

void bus_drop_waiters(struct routed *routed)
{
	for (size_t i = 0; i < routed->n_applied; i++)
		bus_call_drop(routed->applied_waiters[i].call);
	for (size_t i = 0; i < routed->n_drained; i++)
		bus_call_drop(routed->drained_waiters[i].call);
	free(routed->applied_waiters);
	free(routed->drained_waiters);
}

static void view_server(const struct routed *routed, const char *backend,
			const struct table_server *server, struct route_server *view)
{
	const struct actual_server *actual =
		actual_server(&routed->actual, backend, server->instance);

	view->instance = xstrdup(server->instance);
	view->machine = xstrdup(server->machine);
	if (server->address)
		view->address = xasprintf("%s:%lld", server->address, (long long)server->port);
	view->state = xstrdup(server_state_names[server->address ? server->state : SERVER_DOWN]);
	view->connections = actual ? actual->connections : 0;
}

static void view_route(const struct routed *routed, const struct table_route *route,
		       struct route_view *view)
{
	const struct table_backend *backend = table_backend(routed->table, route->owner);
	_cleanup_free_ char *name = backend ? table_backend_name(backend) : NULL;

	view->key = xstrdup(route->key);
	view->kind = xstrdup(kind_names[route->kind]);
	view->ns = xstrdup(route->ns);
	view->service = xstrdup(route->service);
	view->port = xstrdup(route->port);
	view->strip = route->strip;
	view->trouble = xstrdup(route->trouble);
	for (size_t i = 0; name && i < backend->n_servers; i++)
		view_server(routed, name, &backend->servers[i],
			    array_add(view->servers, view->n_servers));
}

static void on_routes(struct bus_call *call, _unused_ void *request, void *userdata)
{
	struct routed *routed = userdata;
	struct route_list *list = codec_new(&route_list_schema);
	uint64_t stale = projection_stale_since(routed->projection);

	list->sequence = routed->applied;
	list->stale_since = stale ? time_format(stale) : NULL;
	for (size_t i = 0; routed->table && i < routed->table->n_routes; i++)
		view_route(routed, &routed->table->routes[i],
			   array_add(list->routes, list->n_routes));
	bus_call_ok(call, list);
	route_list_free(list);
}

static void add_text(json_t *list, const char *text)
{
	if (text)
		json_array_append_new(list, json_words(text));
}

static json_t *troubles(const struct routed *routed)
{
	json_t *list = json_array();

	add_text(list, routed->proxy_trouble);
	add_text(list, routed->reload_trouble);
	for (size_t i = 0; routed->table && i < strv_count(routed->table->troubles); i++)
		add_text(list, routed->table->troubles[i]);
	for (size_t i = 0; routed->table && i < routed->table->n_routes; i++) {
		const struct table_route *route = &routed->table->routes[i];
		_cleanup_free_ char *text = NULL;

		if (!route->trouble)
			continue;
		text = xasprintf("%s of %s/%s is not served: %s", route->key, route->ns,
				 route->service, route->trouble);
		add_text(list, text);
	}
	return list;
}

static json_t *status(void *userdata)
{
	const struct routed *routed = userdata;
	json_t *json = json_object();
	json_t *proxy = json_object();

	json_object_set_new(json, "log", projection_status(routed->projection));
	json_object_set_new(json, "applied", json_integer(routed->applied));
	json_object_set_new(json, "routes",
			    json_integer(routed->table ? (json_int_t)routed->table->n_routes : 0));
	json_object_set_new(proxy, "answers", json_boolean(routed->known));
	if (routed->actual.pid) {
		json_object_set_new(proxy, "pid", json_integer(routed->actual.pid));
		json_object_set_new(proxy, "version", json_words(routed->actual.version));
		json_object_set_new(proxy, "uptime_s", json_integer(routed->actual.uptime_s));
	}
	json_object_set_new(proxy, "reloads", json_integer(routed->reloads));
	if (routed->files_trouble)
		json_object_set_new(proxy, "trouble", json_words(routed->files_trouble));
	json_object_set_new(json, "haproxy", proxy);
	json_object_set_new(json, "troubles", troubles(routed));
	return json;
}

static const struct bus_verb verbs[] = {
	{ SUBJECT_ROUTED_APPLIED, on_applied },
	{ SUBJECT_ROUTED_DRAINED, on_drained },
	{ SUBJECT_ROUTED_ROUTES, on_routes },
};

int routed_serve(struct routed *routed)
{
	return daemon_serve(routed->daemon, verbs, ARRAY_SIZE(verbs), status, routed);
}
