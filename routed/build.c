/* Build: the routing table of a view. */
#include "routed/routed.h"

#include <assert.h>

struct build {
	const struct view *view;
	struct table *table;
	struct map keys; /* map key or tcp key → its `<ns>/<service>` */
	const int64_t *taken;
	size_t n_taken;
};

/* ---- servers ---- */

static int64_t port_of(const struct instance *fact, const struct port *wanted)
{
	for (size_t i = 0; i < fact->n_ports; i++)
		if (streq(fact->ports[i].name, wanted->name))
			return fact->ports[i].port;
	return wanted->port;
}

static enum server_state state_of(int state)
{
	if (instance_is_routable((enum instance_state)state))
		return SERVER_READY;
	/* A deploy has drained or stopped it; see hold(). */
	return state == INSTANCE_DRAINING || state == INSTANCE_STOPPED ? SERVER_DRAIN : SERVER_DOWN;
}

/* Whether requests wait for an instance in this state. One that was resumed after a failed switch
 * is unready until it answers again; its deploy is open until then. */
static bool is_awaited(const struct head *head, int state)
{
	return state_of(state) == SERVER_DRAIN || state == INSTANCE_STARTING ||
	       (state == INSTANCE_UNREADY && head->open);
}

/* In a stop-first switch the head still names the instances that were taken out of service while
 * nothing else is ready. */
static void hold(const struct build *build, const struct head *head, struct table_backend *backend)
{
	for (size_t i = 0; i < backend->n_servers; i++)
		if (backend->servers[i].state == SERVER_READY)
			return;
	for (size_t i = 0; i < backend->n_servers; i++) {
		struct table_server *server = &backend->servers[i];
		const struct instance *fact =
			view_instance(build->view, server->machine, head->ns, server->instance);

		if (fact && is_awaited(head, fact->state))
			server->state = SERVER_HELD;
	}
}

static bool has_server(const struct table_backend *backend, const char *instance)
{
	for (size_t i = 0; i < backend->n_servers; i++)
		if (streq(backend->servers[i].instance, instance))
			return true;
	return false;
}

static void add_servers(struct build *build, const struct head *head,
			const struct head_service *service, const struct port *port,
			struct table_backend *backend)
{
	for (size_t i = 0; i < service->n_slots; i++) {
		const struct slot *slot = &service->slots[i];
		const struct instance *fact =
			view_instance(build->view, slot->machine, head->ns, slot->instance);
		const char *address = fact && fact->address ? fact->address : slot->address;
		struct table_server *server;

		/* HAProxy refuses a whole configuration in which a server's name is repeated. */
		if (has_server(backend, slot->instance))
			continue;
		server = array_add(backend->servers, backend->n_servers);
		server->instance = xstrdup(slot->instance);
		server->machine = xstrdup(slot->machine);
		/* Name and address are inserted into the proxy's configuration and commands: an
		 * instance whose name or address is invalid gets no traffic. */
		if (instance_id_valid(slot->instance) && !streq(slot->instance, HOLD_SERVER) &&
		    instance_address_valid(address))
			server->address = xstrdup(address);
		server->port = fact ? port_of(fact, port) : port->port;
		server->state = fact ? (int)state_of(fact->state) : SERVER_DOWN;
	}
	hold(build, head, backend);
}

static const char *backend_for(struct build *build, const struct head *head,
			       const struct head_service *service, const struct port *port,
			       const struct table_route *route)
{
	_cleanup_free_ char *owner =
		route->kind == KIND_TCP
			? xasprintf("%s/%s/%s/%lld", head->ns, service->name, port->name,
				    (long long)route->listen)
			: xasprintf("%s/%s/%s", head->ns, service->name, port->name);
	struct table_backend *backend = table_backend(build->table, owner);

	if (backend)
		return backend->owner;
	backend = array_add(build->table->backends, build->table->n_backends);
	backend->owner = steal(owner);
	backend->kind = route->kind;
	backend->listen = route->listen;
	add_servers(build, head, service, port, backend);
	return backend->owner;
}

/* ---- routes ---- */

/* A path with characters that are special in the map or in a command is refused. */
static bool path_valid(const char *path)
{
	if (path[0] != '/')
		return false;
	for (; *path; path++)
		if ((unsigned char)*path <= ' ' || (unsigned char)*path >= 0x7f ||
		    strchr(";\\|#\"'", *path))
			return false;
	return true;
}

/* A route whose key does not match its host, path or port: claims are on keys, but traffic follows
 * the other fields. */
static char *refuse_form(const struct table_route *route)
{
	_cleanup_free_ char *key = NULL;

	if (route->kind == KIND_TCP) {
		if (route->listen < 1)
			return xstrdup("it names neither a host nor a port to listen on");
		key = route_key_tcp(route->listen);
	} else {
		if (!hostname_valid(route->host))
			return xasprintf("'%s' is not a host name", route->host);
		if (!path_valid(route->path))
			return xasprintf("'%s' is not a path", route->path);
		key = route_key_http(route->host, route->path);
	}
	return streq(key, route->key) ? NULL
				      : xasprintf("the head names it %s, not %s", route->key, key);
}

/* Routes that this gateway can serve for no namespace. */
static char *refuse_service(const struct build *build, const struct table_route *route,
			    const struct head_service *service, const struct port *port)
{
	if (!service)
		return xasprintf("the head has no service %s", route->service);
	if (!port)
		return xasprintf("service %s has no port '%s'", route->service, route->port);
	if (port->protocol != PROTOCOL_TCP)
		return xasprintf("port '%s' is udp", route->port);
	if (route->kind == KIND_HTTP && route->strip && table_segments(route->path) > STRIP_MAX)
		return xasprintf("strip removes at most %d segments, %s has %d", STRIP_MAX,
				 route->path, table_segments(route->path));
	for (size_t i = 0; route->kind == KIND_TCP && i < build->n_taken; i++)
		if (build->taken[i] == route->listen)
			return xasprintf("port %lld is the HTTP gateway's own",
					 (long long)route->listen);
	return NULL;
}

/* Why this route cannot be served, or NULL; owned by the caller. */
static char *refuse(struct build *build, const struct head *head, const struct head_route *wanted,
		    const struct table_route *route, const struct head_service *service,
		    const struct port *port)
{
	_cleanup_free_ char *key = NULL;
	const char *holder;
	char *why = refuse_form(route);

	if (!why)
		why = claims_refuse(build->view, head, wanted);
	if (!why)
		why = refuse_service(build, route, service, port);
	if (why)
		return why;
	key = route->kind == KIND_HTTP ? table_map_key(route) : xstrdup(route->key);
	holder = map_get(&build->keys, key);
	if (holder)
		return xasprintf("the head names it twice; it is served by %s", holder);
	map_put(&build->keys, key, xasprintf("%s/%s", head->ns, route->service));
	return NULL;
}

static char *lower(const char *s)
{
	char *copy = xstrdup(s);

	for (char *c = copy; *c; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c = (char)(*c - 'A' + 'a');
	return copy;
}

static void add_route(struct build *build, const struct head *head, const struct head_route *wanted)
{
	const struct head_service *service = head_service(head, wanted->service);
	const struct port *port = service ? head_service_port(service, wanted->port) : NULL;
	struct table_route route = {
		.key = xstrdup(wanted->key),
		.kind = wanted->host ? KIND_HTTP : KIND_TCP,
		.ns = xstrdup(head->ns),
		.service = xstrdup(wanted->service),
		.port = xstrdup(wanted->port),
	};

	if (wanted->host) {
		route.host = lower(wanted->host);
		route.path = xstrdup(wanted->path ? wanted->path : "/");
		route.strip = wanted->strip;
	} else {
		route.listen = wanted->listen;
	}
	route.error = refuse(build, head, wanted, &route, service, port);
	/* Otherwise the route has an error. */
	assert(route.error || (service && port));
	if (!route.error)
		route.owner = xstrdup(backend_for(build, head, service, port, &route));
	*array_add(build->table->routes, build->table->n_routes) = route;
}

/* ---- held items, needed facts, ended instances ---- */

/* Every namespace with a route that needs the claim with this key. */
static void add_claimants(const struct build *build, const char *token, struct table_held *held)
{
	_cleanup_free_ char *key = view_claim_key(token);
	const struct view_item *claim = key ? view_claim(build->view, key) : NULL;

	for (struct map_item *i = NULL; key && (i = map_next(&build->view->heads, i));) {
		const struct view_item *head = i->value;
		_cleanup_(strv_freep) char **keys = route_claim_keys(head->object);

		if (strv_contains(keys, key))
			strv_push(&held->namespaces, xstrdup(i->key));
	}
	if (claim) {
		const struct route_claim *last = claim->object;

		if (!strv_contains(held->namespaces, last->ns))
			strv_push(&held->namespaces, xstrdup(last->ns));
	}
}

static void add_held(struct build *build, const char *subject, const char *reason)
{
	_cleanup_free_ char *a = NULL, *b = NULL;
	struct table_held *held;

	/* The facts of a removed machine count as absent. */
	if (subject_match(SUBJECT_INSTANCES, subject, &a, &b) &&
	    view_machine_is_removed(build->view, a))
		return;
	held = array_add(build->table->held, build->table->n_held);
	held->reason = xstrdup(reason);
	if (b) {
		strv_push(&held->namespaces, steal(b));
	} else if (subject_match(SUBJECT_NAMESPACE, subject, &a, NULL)) {
		strv_push(&held->namespaces, xstrdup(a));
	} else if (subject_match(SUBJECT_ROUTE, subject, &a, NULL)) {
		add_claimants(build, a, held);
	}
}

static void add_needs(struct build *build, const struct map *heads)
{
	for (struct map_item *i = NULL; (i = map_next(heads, i));) {
		const struct head *head = ((const struct view_item *)i->value)->object;

		if (head->facts && head->generation == build->table->watermark.generation)
			*array_add(build->table->needs, build->table->n_needs) =
				(struct table_need){ xstrdup(i->key), head->facts };
	}
}

static void add_ended(struct build *build, const struct instances *facts)
{
	if (view_machine_is_removed(build->view, facts->machine))
		return;
	for (size_t i = 0; i < facts->n_instances; i++) {
		int state = facts->instances[i].state;

		if (state == INSTANCE_GONE || state == INSTANCE_STOPPED || state == INSTANCE_FAILED)
			strv_push(&build->table->ended, xstrdup(facts->instances[i].id));
	}
}

struct table *table_build(const struct view *view, const struct watermark *watermark,
			  const int64_t *taken, size_t n_taken)
{
	struct build build = { .view = view, .keys = MAP_INIT, .taken = taken, .n_taken = n_taken };

	build.table = codec_new(&table_schema);
	build.table->watermark = *watermark;
	for (struct map_item *i = NULL; (i = map_next(&view->heads, i));) {
		const struct head *head = ((const struct view_item *)i->value)->object;

		for (size_t j = 0; head->revision && j < head->n_routes; j++)
			add_route(&build, head, &head->routes[j]);
	}
	for (struct map_item *i = NULL; (i = map_next(&view->facts, i));)
		add_ended(&build, ((const struct view_item *)i->value)->object);
	for (struct map_item *i = NULL; (i = map_next(&view->errors, i));)
		add_held(&build, i->key, i->value);
	add_needs(&build, &view->heads);
	add_needs(&build, &view->waiting);
	map_clear(&build.keys, free);
	return build.table;
}
