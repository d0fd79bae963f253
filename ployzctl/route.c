/* `ployzctl route ls`: the routing table of every machine's gateway, as its proxy has it. */
#include "ployzctl/ployzctl.h"
#include "ployzctl/pure.h"

#define SERVERS_SHOWN 4

size_t route_ready(const struct route_view *route)
{
	size_t n = 0;

	for (size_t i = 0; i < route->n_servers; i++)
		n += streq(route->servers[i].state, "ready");
	return n;
}

const char *route_state(const struct route_view *route)
{
	if (route->error)
		return "error";
	if (route_ready(route))
		return "served";
	for (size_t i = 0; i < route->n_servers; i++)
		if (streq(route->servers[i].state, "held"))
			return "held";
	return "no server";
}

struct routes {
	struct ployzctl *ctl;
	struct table table;
	struct bus_scatter *scatter;
	char **errors; /* printed after the table */
	int code;
};

static char *servers_text(const struct route_view *route)
{
	struct strbuf text = STRBUF_INIT;

	for (size_t i = 0; i < route->n_servers && i < SERVERS_SHOWN; i++) {
		const struct route_server *server = &route->servers[i];

		strbuf_printf(&text, "%s%s", i ? ", " : "",
			      server->address ? server->address : server->instance);
		if (!streq(server->state, "ready"))
			strbuf_printf(&text, " (%s)", server->state ? server->state : "?");
	}
	if (route->n_servers > SERVERS_SHOWN)
		strbuf_printf(&text, ", and %zu more", route->n_servers - SERVERS_SHOWN);
	return strbuf_steal(&text);
}

static void add_error(struct routes *routes, char *text)
{
	strv_push(&routes->errors, text);
	routes->code = EXIT_NO;
}

static void add_route(struct routes *routes, const char *machine, const struct route_view *route)
{
	_cleanup_free_ char *service = xasprintf("%s/%s", route->ns, route->service);
	_cleanup_free_ char *ready = xasprintf("%zu/%zu", route_ready(route), route->n_servers);
	_cleanup_free_ char *servers = servers_text(route);

	table_row(&routes->table, route->key, route->kind, service, route->port, ready,
		  route_state(route), machine, servers);
	if (route->error)
		add_error(routes, xasprintf("cannot serve route %s of %s on machine %s: %s",
					    route->key, service, machine, route->error));
}

static void print_list(const char *machine, const struct route_list *list)
{
	json_t *json = codec_encode(&route_list_schema, list);

	json_object_set_new(json, "machine", json_string(machine));
	session_json_value(json);
}

static void on_routes(const char *machine, const struct failure *failure, void *answer,
		      void *userdata)
{
	struct routes *routes = userdata;
	const struct route_list *list = answer;

	if (!machine) {
		routes->scatter = NULL;
		session_end(routes->ctl, routes->code);
		return;
	}
	if (failure) {
		session_report(failure);
		routes->code = EXIT_NO;
		return;
	}
	if (list->stale_since)
		add_error(routes,
			  xasprintf("gateway of machine %s stale since %s: it cannot follow "
				    "the store and serves the last known state",
				    machine, list->stale_since));
	if (routes->ctl->options.json)
		print_list(machine, list);
	for (size_t i = 0; i < list->n_routes; i++)
		add_route(routes, machine, &list->routes[i]);
}

static void on_snapshot(const struct snapshot *snapshot, void *userdata)
{
	struct routes *routes = userdata;
	_cleanup_(strv_freep) char **machines = snapshot_machines(snapshot);

	bus_scatter(routes->ctl->bus, SUBJECT_ROUTED_ROUTES, machines, NULL, REQUEST_USEC,
		    on_routes, routes, &routes->scatter);
}

int verb_route_ls(struct ployzctl *ctl, int argc, char **argv)
{
	static const char *const heading[] = { "ROUTE", "KIND",	   "SERVICE", "PORT", "READY",
					       "STATE", "GATEWAY", "SERVERS", NULL };
	_cleanup_(strv_freep) char **words = NULL;
	struct routes routes = { .ctl = ctl };
	int code = arguments_take(ctl, "route ls", NULL, NULL, NULL, argc, argv, 0, 0, &words);

	if (!code)
		code = session_open(ctl);
	if (code)
		return MAX2(code, 0);
	table_init(&routes.table, heading);
	snapshot_read(ctl, on_snapshot, &routes);
	code = session_run(ctl);
	bus_scatter_cancel(routes.scatter);
	if (!ctl->options.json)
		table_print(&routes.table);
	for (char **error = routes.errors; error && *error; error++)
		session_refuse(FAILURE_NOT_READY, NULL, "%s", *error);
	table_clear(&routes.table);
	strv_free(routes.errors);
	return code;
}
