/* Routes: refuses routes that conflict, and lists what changes in those of the head. */
#include "placerd/placerd.h"

static void add_listens(struct planning *planning, const struct head *head)
{
	for (size_t i = 0; i < head->n_routes; i++)
		if (!head->routes[i].host)
			*array_add(planning->listens, planning->n_listens) =
				(struct listen){ head->routes[i].listen, head->ns };
}

void listens_make(struct planning *planning)
{
	add_listens(planning, planning->wanted);
	for (size_t i = 0; i < planning->input->n_others; i++)
		add_listens(planning, planning->input->others[i].head);
}

/* The manifest path of one of the head's routes; owned by the caller. */
static char *route_path(const struct manifest *manifest, const struct head_route *route)
{
	const struct service *service = manifest_service(manifest, route->service);

	for (size_t i = 0; service && i < service->n_routes; i++) {
		const struct http_route *http = service->routes[i].http;
		const struct tcp_route *tcp = service->routes[i].tcp;

		if (tcp && !route->host && tcp->listen == route->listen)
			return xasprintf("services.%s.routes[%zu].tcp.listen", service->name, i);
		for (size_t j = 0; http && route->host && http->hosts[j]; j++) {
			_cleanup_free_ char *key = route_key_http(http->hosts[j], http->path);

			if (streq(key, route->key))
				return xasprintf("services.%s.routes[%zu].http.hosts[%zu]",
						 service->name, i, j);
		}
	}
	return xasprintf("services.%s.routes", route->service);
}

static void check_owner(struct planning *planning, const struct route_owners *owners,
			const struct head_route *route)
{
	struct route_conflict conflict;
	_cleanup_free_ char *hint = NULL;

	if (!route_conflict_of(owners, planning->wanted, route, &conflict))
		return;
	hint = xasprintf("choose another %s, remove it from namespace %s first%s%s",
			 route->host ? "host or path" : "port", conflict.ns,
			 route->host ? ", or let its manifest grant it to " : "",
			 route->host ? planning->wanted->ns : "");
	plan_refuse(planning, route_path(planning->input->manifest, route), hint,
		    "cannot claim route %s: %s", route->key, conflict.reason);
	route_conflict_clear(&conflict);
}

/* Once a gateway has served the port, a listening socket without an owner may be the gateway's. */
static bool was_claimed(const struct plan_input *input, const char *key)
{
	for (size_t i = 0; input->routes && i < input->routes->n_claims; i++)
		if (streq(input->routes->claims[i].claim->key, key))
			return true;
	return false;
}

/* The program that listens on a tcp route's port at this machine's gateway address, or NULL. Owned
 * by the caller. */
static char *listener(const struct probe *probe, int64_t port, bool *ret_known)
{
	*ret_known = true;
	if (gateway_has_port(probe, port, NULL))
		return xstrdup("the gateway itself, for HTTP,");
	for (size_t i = 0; i < probe->n_host_ports; i++) {
		const struct host_port *taken = &probe->host_ports[i];

		if (taken->port != port || taken->protocol != PROTOCOL_TCP ||
		    !addresses_overlap(taken->address, probe->gateway_address))
			continue;
		*ret_known = taken->owner;
		return taken->owner ? xasprintf("service %s", taken->owner)
				    : xstrdup("a program outside the cluster");
	}
	return NULL;
}

/* The gateway of every machine listens on the port of a tcp route. */
static void check_listen(struct planning *planning, const struct head_route *route)
{
	const struct plan_input *input = planning->input;
	_cleanup_free_ char *first = NULL, *more = NULL;
	const char *machine = NULL;
	bool claimed = was_claimed(input, route->key), known = false;
	size_t count = 0;

	for (size_t i = 0; i < planning->n_hosts; i++) {
		const struct machine_view *view = planning->hosts[i].view;
		bool this_known;
		char *who = view->probe ? listener(view->probe, route->listen, &this_known) : NULL;

		if (!who)
			continue;
		if (!this_known && claimed) {
			plan_warn(planning,
				  "route %s: on machine %s %s listens on that port; unless it is "
				  "the gateway, the route cannot be served there",
				  route->key, view->member->id, who);
			free(who);
		} else if (count++) {
			free(who);
		} else {
			first = who;
			machine = view->member->id;
			known = this_known;
		}
	}
	if (!count)
		return;
	more = count > 1 ? xasprintf(" (and on %zu other machine%s)", count - 1,
				     count == 2 ? "" : "s")
			 : xstrdup("");
	plan_refuse(planning, route_path(input->manifest, route),
		    known ? "choose another port, or free this one in an earlier deploy"
			  : "choose another port, or end that program",
		    "cannot serve route %s: %s listens on port %lld of machine %s%s", route->key,
		    first, (long long)route->listen, machine, more);
}

static const struct head_route *committed_route(const struct planning *planning, const char *key)
{
	return planning->input->head ? head_route(planning->input->head, key) : NULL;
}

/* Namespaces whose routes the head granted: their next deploy is refused without the grant. */
static void check_grants(struct planning *planning, const struct route_owners *owners)
{
	const struct plan_input *input = planning->input;
	_cleanup_free_ const struct head **heads =
		xcalloc(input->n_others + 1, sizeof(struct head *));
	struct route_known known = { .heads = heads, .n_heads = 1 };
	_cleanup_(route_owners_freep) struct route_owners *after = NULL;

	if (!input->head || !input->head->n_grants || !input->routes)
		return;
	heads[0] = planning->wanted;
	for (size_t i = 0; i < input->n_others; i++)
		heads[known.n_heads++] = input->others[i].head;
	known.claims = input->routes->claims;
	known.n_claims = input->routes->n_claims;
	known.unreadable = input->routes->unreadable;
	after = route_owners_new(&known);
	for (size_t i = 0; i < input->n_others; i++) {
		const struct head *other = input->others[i].head;
		struct route_conflict conflict;

		if (!other->n_routes || route_conflict(owners, other, NULL) ||
		    !route_conflict(after, other, &conflict))
			continue;
		plan_warn(planning,
			  "namespace %s keeps route %s, but its next deploy will be refused: %s",
			  other->ns, conflict.key, conflict.reason);
		route_conflict_clear(&conflict);
	}
}

void routes_check(struct planning *planning)
{
	const struct plan_input *input = planning->input;
	static const struct route_known nothing = { .n_claims = 0 };
	_cleanup_(route_owners_freep) struct route_owners *owners =
		route_owners_new(input->routes ? input->routes : &nothing);

	for (size_t i = 0; i < planning->wanted->n_routes; i++) {
		const struct head_route *route = &planning->wanted->routes[i];

		check_owner(planning, owners, route);
		if (!route->host && !committed_route(planning, route->key))
			check_listen(planning, route);
	}
	check_grants(planning, owners);
}

static bool same_route(const struct head_route *a, const struct head_route *b)
{
	return streq(a->service, b->service) && streq(a->port, b->port) && a->strip == b->strip;
}

static void add_row(struct plan *plan, const char *key, const char *service, const char *action)
{
	*array_add(plan->routes, plan->n_routes) = (struct plan_route){
		.key = xstrdup(key),
		.service = xstrdup(service),
		.action = xstrdup(action),
	};
}

void routes_plan(struct planning *planning)
{
	const struct head *wanted = planning->wanted, *head = planning->input->head;

	for (size_t i = 0; i < wanted->n_routes; i++) {
		const struct head_route *route = &wanted->routes[i];
		const struct head_route *was = committed_route(planning, route->key);

		add_row(planning->plan, route->key, route->service,
			!was			 ? "add"
			: same_route(was, route) ? "keep"
						 : "change");
	}
	for (size_t i = 0; head && i < head->n_routes; i++)
		if (!head_route(wanted, head->routes[i].key))
			add_row(planning->plan, head->routes[i].key, NULL, "remove");
}
