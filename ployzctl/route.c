/* `ployzctl route ls`: the routing table as this machine's gateway has it. */
#include "ployzctl/ployzctl.h"

static char *servers(const struct route_view *route)
{
	struct strbuf text = STRBUF_INIT;

	for (size_t i = 0; i < route->n_servers; i++) {
		const struct route_server *server = &route->servers[i];

		strbuf_printf(&text, "%s%s %s", i ? ", " : "", server->address ? server->address : server->instance,
			      server->state ? server->state : "?");
		if (server->connections > 0)
			strbuf_printf(&text, " (%lld)", (long long)server->connections);
	}
	return strbuf_steal(&text);
}

static void on_routes(const struct failure *failure, void *answer, void *userdata)
{
	static const char *const heading[] = { "ROUTE", "KIND", "NAMESPACE", "SERVICE", "PORT", "SERVERS", "TROUBLE", NULL };
	struct ployzctl *ctl = userdata;
	const struct route_list *list = answer;
	struct table table;

	if (failure) {
		session_fail(ctl, failure);
		return;
	}
	if (ctl->options.json) {
		session_json(&route_list_schema, list);
		session_end(ctl, EXIT_DONE);
		return;
	}
	table_init(&table, heading);
	for (size_t i = 0; i < list->n_routes; i++) {
		const struct route_view *route = &list->routes[i];
		_cleanup_free_ char *where = servers(route);

		table_row(&table, route->key, route->kind, route->ns, route->service, route->port, where, route->trouble);
	}
	table_print(&table);
	table_clear(&table);
	if (list->stale_since)
		fprintf(stderr, "ployzctl: the gateway's view is stale since %s: its last known good one\n", list->stale_since);
	session_end(ctl, EXIT_DONE);
}

int verb_route_ls(struct ployzctl *ctl, int argc, char **argv)
{
	_cleanup_(strv_freep) char **words = NULL;
	int code = arguments_take(ctl, "route ls", NULL, NULL, NULL, argc, argv, 0, 0, &words);

	if (!code)
		code = session_open(ctl);
	if (code)
		return MAX2(code, 0);
	bus_ask(ctl->bus, SUBJECT_ROUTED_ROUTES, ctl->machine, NULL, ASK_USEC, on_routes, ctl, NULL);
	return session_run(ctl);
}
