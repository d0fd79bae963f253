/* Bus: the endpoints applied, drained and routes; every daemon has `status`. routed sends no
 * requests of its own. */
#include "routed/routed.h"

char *routed_route_error(const struct routed *routed, const struct table_route *route)
{
	const struct table_backend *backend = table_backend(routed->table, route->owner);
	_cleanup_free_ char *name = backend ? table_backend_name(backend) : NULL;

	if (route->error)
		return xstrdup(route->error);
	/* Without a reload HAProxy has neither more backends nor other ports. */
	if (routed->known && routed->reload_error && name &&
	    !actual_has_backend(&routed->actual, name))
		return xasprintf("HAProxy has no backend for it: %s", routed->reload_error);
	return NULL;
}

const char *routed_error(const struct routed *routed)
{
	if (routed->proxy_error)
		return routed->proxy_error;
	if (routed->files_error)
		return routed->files_error;
	return projection_stale_since(routed->projection)
		       ? projection_stale_reason(routed->projection)
		       : NULL;
}

static void on_applied(struct bus_call *call, _unused_ void *request, void *userdata)
{
	waiters_add_applied(userdata, call);
}

static void on_drained(struct bus_call *call, _unused_ void *request, void *userdata)
{
	waiters_add_drained(userdata, call);
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
	view->error = routed_route_error(routed, route);
	for (size_t i = 0; name && i < backend->n_servers; i++)
		view_server(routed, name, &backend->servers[i],
			    array_add(view->servers, view->n_servers));
}

static void on_routes(struct bus_call *call, _unused_ void *request, void *userdata)
{
	struct routed *routed = userdata;
	struct route_list *list = codec_new(&route_list_schema);
	uint64_t stale = projection_stale_since(routed->projection);

	list->applied = routed->applied.watermark;
	list->stale_since = stale ? time_format(stale) : NULL;
	for (size_t i = 0; i < routed->table->n_routes; i++)
		view_route(routed, &routed->table->routes[i],
			   array_add(list->routes, list->n_routes));
	bus_call_ok(call, list);
	route_list_free(list);
}

static void add_text(json_t *list, const char *text)
{
	if (text)
		json_array_append_new(list, json_utf8(text));
}

static json_t *held_list(const struct routed *routed)
{
	json_t *list = json_array();

	for (size_t i = 0; i < routed->table->n_held; i++) {
		_cleanup_free_ char *text =
			xasprintf("cannot decode %s; serving its last good entry",
				  routed->table->held[i].reason);

		add_text(list, text);
	}
	return list;
}

static json_t *unserved_list(const struct routed *routed)
{
	json_t *list = json_array();

	for (size_t i = 0; i < routed->table->n_routes; i++) {
		const struct table_route *route = &routed->table->routes[i];
		_cleanup_free_ char *error = routed_route_error(routed, route), *text = NULL;

		if (!error)
			continue;
		text = xasprintf("%s of %s/%s is not served: %s", route->key, route->ns,
				 route->service, error);
		add_text(list, text);
	}
	return list;
}

/* Everything that prevents the gateway from serving the current view. */
static json_t *error_list(const struct routed *routed, const json_t *held, const json_t *unserved)
{
	json_t *list = json_array();

	add_text(list, routed->proxy_error);
	add_text(list, routed->reload_error);
	add_text(list, routed->files_error);
	json_array_extend(list, (json_t *)held);
	json_array_extend(list, (json_t *)unserved);
	return list;
}

static json_t *proxy_status(const struct routed *routed)
{
	json_t *proxy = json_object();

	json_object_set_new(proxy, "answers", json_boolean(routed->known));
	if (routed->actual.pid) {
		json_object_set_new(proxy, "pid", json_integer(routed->actual.pid));
		json_object_set_new(proxy, "version", json_utf8(routed->actual.version));
		json_object_set_new(proxy, "uptime_s", json_integer(routed->actual.uptime_s));
	}
	json_object_set_new(proxy, "reloads", json_integer(routed->reloads));
	return proxy;
}

static json_t *status(void *userdata)
{
	const struct routed *routed = userdata;
	json_t *json = json_object();
	json_t *held = held_list(routed), *unserved = unserved_list(routed);

	json_object_set_new(json, "log", projection_status(routed->projection));
	json_object_set_new(json, "applied",
			    codec_encode(&watermark_schema, &routed->applied.watermark));
	json_object_set_new(json, "routes", json_integer((json_int_t)routed->table->n_routes));
	json_object_set_new(json, "haproxy", proxy_status(routed));
	json_object_set_new(json, "errors", error_list(routed, held, unserved));
	json_object_set_new(json, "held", held);
	json_object_set_new(json, "unserved", unserved);
	return json;
}

static const struct bus_endpoint verbs[] = {
	{ SUBJECT_ROUTED_APPLIED, on_applied },
	{ SUBJECT_ROUTED_DRAINED, on_drained },
	{ SUBJECT_ROUTED_ROUTES, on_routes },
};

int routed_serve(struct routed *routed)
{
	return daemon_serve(routed->daemon, verbs, ARRAY_SIZE(verbs), status, routed);
}
