#include "routed/routed.h"

const char *const kind_names[] = { "http", "tcp", NULL };
const char *const server_state_names[] = { "down", "drain", "held", "ready", NULL };

static const struct codec_field server_fields[] = {
	FIELD(struct table_server, instance, CODEC_STRING, .flags = CODEC_REQUIRED),
	FIELD(struct table_server, machine, CODEC_STRING),
	FIELD(struct table_server, address, CODEC_STRING),
	FIELD(struct table_server, port, CODEC_INT, .min = 1, .max = 65535, .initial = 1),
	FIELD(struct table_server, state, CODEC_ENUM, .names = server_state_names),
	FIELD_END,
};
static const struct codec_schema server_schema = {
	.name = "table_server",
	.size = sizeof(struct table_server),
	.fields = server_fields,
};

static const struct codec_field backend_fields[] = {
	FIELD(struct table_backend, owner, CODEC_STRING, .flags = CODEC_REQUIRED),
	FIELD(struct table_backend, kind, CODEC_ENUM, .names = kind_names),
	FIELD(struct table_backend, slot, CODEC_INT, .min = 0, .max = 100000),
	FIELD(struct table_backend, listen, CODEC_INT, .min = 0, .max = 65535),
	FIELD_LIST(struct table_backend, servers, n_servers, CODEC_LIST, &server_schema),
	FIELD_END,
};
static const struct codec_schema backend_schema = {
	.name = "table_backend",
	.size = sizeof(struct table_backend),
	.fields = backend_fields,
};

static const struct codec_field route_fields[] = {
	FIELD(struct table_route, key, CODEC_STRING, .flags = CODEC_REQUIRED),
	FIELD(struct table_route, kind, CODEC_ENUM, .names = kind_names),
	FIELD_KEY(struct table_route, ns, "namespace", CODEC_STRING),
	FIELD(struct table_route, service, CODEC_STRING),
	FIELD(struct table_route, port, CODEC_STRING),
	FIELD(struct table_route, host, CODEC_STRING),
	FIELD(struct table_route, path, CODEC_STRING),
	FIELD(struct table_route, strip, CODEC_BOOL),
	FIELD(struct table_route, listen, CODEC_INT, .min = 0, .max = 65535),
	FIELD(struct table_route, owner, CODEC_STRING),
	FIELD(struct table_route, trouble, CODEC_STRING),
	FIELD_END,
};
static const struct codec_schema route_schema = {
	.name = "table_route",
	.size = sizeof(struct table_route),
	.fields = route_fields,
};

static const struct codec_field table_fields[] = {
	FIELD(struct table, sequence, CODEC_INT),
	FIELD_LIST(struct table, backends, n_backends, CODEC_LIST, &backend_schema),
	FIELD_LIST(struct table, routes, n_routes, CODEC_LIST, &route_schema),
	FIELD(struct table, troubles, CODEC_STRV),
	FIELD_END,
};
const struct codec_schema table_schema = { .name = "table",
					   .size = sizeof(struct table),
					   .fields = table_fields };

struct table_backend *table_backend(const struct table *table, const char *owner)
{
	for (size_t i = 0; owner && i < table->n_backends; i++)
		if (streq(table->backends[i].owner, owner))
			return &table->backends[i];
	return NULL;
}

bool table_backend_is_held(const struct table_backend *backend)
{
	for (size_t i = 0; i < backend->n_servers; i++)
		if (backend->servers[i].state == SERVER_HELD)
			return true;
	return false;
}

char *table_backend_name(const struct table_backend *backend)
{
	if (backend->kind == KIND_TCP)
		return xasprintf("tcp-%lld", (long long)backend->listen);
	return backend->slot ? xasprintf("p%lld", (long long)backend->slot) : NULL;
}

static int segments(const char *path)
{
	int count = 0;

	for (; *path; path++)
		count += *path == '/' && path[1] && path[1] != '/';
	return count;
}

char *table_map_value(const struct table *table, const struct table_route *route)
{
	const struct table_backend *backend = table_backend(table, route->owner);
	_cleanup_free_ char *name = backend ? table_backend_name(backend) : NULL;

	if (!name)
		return NULL;
	return xasprintf("%s|%d|%s", name, route->strip ? segments(route->path) : 0, route->owner);
}

char *table_map_key(const struct table_route *route)
{
	size_t size = strlen(route->path);

	while (size && route->path[size - 1] == '/')
		size--;
	return xasprintf("%s%.*s/", route->host, (int)size, route->path);
}

/* A head with the sequence of its commit: who came first keeps a route. */
struct ranked {
	const struct head *head;
	uint64_t committed;
};

static int by_commit(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;

	if (x->committed != y->committed)
		return x->committed < y->committed ? -1 : 1;
	return strcmp(x->head->ns, y->head->ns);
}

struct build {
	const struct view *view;
	struct table *table;
	struct map keys; /* route key → `<ns>/<service>` that has it */
	const int64_t *taken;
	size_t n_taken;
};

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
	/* What a deploy took out of the way; see hold(). */
	return state == INSTANCE_DRAINING || state == INSTANCE_STOPPED ? SERVER_DRAIN : SERVER_DOWN;
}

static const struct instance *fact_of(const struct build *build, const struct head *head,
				      const char *machine, const char *instance)
{
	_cleanup_free_ char *subject = subject_make(SUBJECT_INSTANCES, machine, head->ns);
	const struct instances *facts = map_get(&build->view->facts, subject);

	return facts ? instances_find(facts, instance) : NULL;
}

/* In a stop-first switch the head still names what was taken out of the way (or is being started
 * again, when the switch has failed) while nothing else is ready. */
static void hold(const struct build *build, const struct head *head, struct table_backend *backend)
{
	for (size_t i = 0; i < backend->n_servers; i++)
		if (backend->servers[i].state == SERVER_READY)
			return;
	for (size_t i = 0; i < backend->n_servers; i++) {
		struct table_server *server = &backend->servers[i];
		const struct instance *fact =
			fact_of(build, head, server->machine, server->instance);

		if (fact &&
		    (state_of(fact->state) == SERVER_DRAIN || fact->state == INSTANCE_STARTING))
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

static void add_servers(struct build *build, const struct head *head, const char *service,
			const struct port *port, struct table_backend *backend)
{
	const struct head_service *placed = head_service(head, service);

	for (size_t i = 0; placed && i < placed->n_slots; i++) {
		const struct slot *slot = &placed->slots[i];
		const struct instance *fact = fact_of(build, head, slot->machine, slot->instance);
		const char *address = fact && fact->address ? fact->address : slot->address;
		struct table_server *server;

		/* HAProxy would refuse all of a configuration in which a server is there twice. */
		if (has_server(backend, slot->instance))
			continue;
		server = array_add(backend->servers, backend->n_servers);
		server->instance = xstrdup(slot->instance);
		server->machine = xstrdup(slot->machine);
		/* Both stand in the proxy's configuration and commands: what is neither a name of
		 * its own nor an address gets no traffic. */
		if (instance_id_valid(slot->instance) && !streq(slot->instance, HOLD_SERVER) &&
		    instance_address_valid(address))
			server->address = xstrdup(address);
		server->port = fact ? port_of(fact, port) : port->port;
		server->state = fact ? (int)state_of(fact->state) : SERVER_DOWN;
	}
	hold(build, head, backend);
}

static const char *backend_for(struct build *build, const struct head *head,
			       const struct service *service, const struct port *port,
			       enum route_kind kind, int64_t listen)
{
	_cleanup_free_ char *owner =
		kind == KIND_TCP ? xasprintf("%s/%s/%s/%lld", head->ns, service->name, port->name,
					     (long long)listen)
				 : xasprintf("%s/%s/%s", head->ns, service->name, port->name);
	struct table_backend *backend = table_backend(build->table, owner);

	if (backend)
		return backend->owner;
	backend = array_add(build->table->backends, build->table->n_backends);
	backend->owner = steal(owner);
	backend->kind = (int)kind;
	backend->listen = listen;
	add_servers(build, head, service->name, port, backend);
	return backend->owner;
}

/* /api and /api/ are one place. */
static char *build_key(const struct table_route *route)
{
	return route->kind == KIND_HTTP ? table_map_key(route) : xstrdup(route->key);
}

/* What could be misread in the map or in a command is no path. */
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

/* Why this route cannot be served, or NULL; owned by the caller. */
static char *trouble(struct build *build, const struct table_route *route, const struct port *port)
{
	_cleanup_free_ char *key = build_key(route);
	const char *holder = map_get(&build->keys, key);

	if (holder)
		return xasprintf("%s is routed to %s, which had it first", route->key, holder);
	if (!port)
		return xasprintf("the service has no port '%s'", route->port);
	if (port->protocol != PROTOCOL_TCP)
		return xasprintf("port '%s' is udp", route->port);
	if (route->kind == KIND_HTTP) {
		if (!hostname_valid(route->host))
			return xasprintf("'%s' is not a host name", route->host);
		if (!path_valid(route->path))
			return xasprintf("'%s' is not a path", route->path);
		if (route->strip && segments(route->path) > STRIP_MAX)
			return xasprintf("no more than %d segments of a path can be stripped",
					 STRIP_MAX);
		return NULL;
	}
	for (size_t i = 0; i < build->n_taken; i++)
		if (build->taken[i] == route->listen)
			return xasprintf("port %lld is the HTTP gateway's own",
					 (long long)route->listen);
	return NULL;
}

/* Takes over `route` by value; key and kind are set. */
static void add_route(struct build *build, const struct head *head, const struct service *service,
		      struct table_route route)
{
	const struct port *port = service_port(service, route.port);

	route.ns = xstrdup(head->ns);
	route.service = xstrdup(service->name);
	route.port = xstrdup(route.port);
	route.trouble = trouble(build, &route, port);
	if (!route.trouble) {
		_cleanup_free_ char *key = build_key(&route);

		map_put(&build->keys, key, xasprintf("%s/%s", head->ns, service->name));
		route.owner = xstrdup(backend_for(build, head, service, port,
						  (enum route_kind)route.kind, route.listen));
	}
	*array_add(build->table->routes, build->table->n_routes) = route;
}

static char *lower(const char *s)
{
	char *copy = xstrdup(s);

	for (char *c = copy; *c; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c = (char)(*c - 'A' + 'a');
	return copy;
}

static void add_service(struct build *build, const struct head *head, const struct service *service)
{
	for (size_t i = 0; i < service->n_routes; i++) {
		const struct route_spec *spec = &service->routes[i];

		if (spec->tcp)
			add_route(build, head, service,
				  (struct table_route){ .key = route_key_tcp(spec->tcp->listen),
							.kind = KIND_TCP,
							.port = spec->tcp->port,
							.listen = spec->tcp->listen });
		for (char **host = spec->http ? spec->http->hosts : NULL; host && *host; host++) {
			char *name = lower(*host);

			add_route(
				build, head, service,
				(struct table_route){ .key = route_key_http(name, spec->http->path),
						      .kind = KIND_HTTP,
						      .port = spec->http->port,
						      .host = name,
						      .path = xstrdup(spec->http->path),
						      .strip = spec->http->strip });
		}
	}
}

static void add_troubles(struct build *build)
{
	for (struct map_item *i = NULL; (i = map_next(&build->view->troubles, i));)
		strv_push(&build->table->troubles,
			  xasprintf("%s: %s", i->key, (const char *)i->value));
}

struct table *table_build(const struct view *view, uint64_t sequence, const int64_t *taken,
			  size_t n_taken)
{
	struct build build = { .view = view, .keys = MAP_INIT, .taken = taken, .n_taken = n_taken };
	struct ranked *ranked = xcalloc(view->heads.count + 1, sizeof(*ranked));
	size_t count = 0;

	build.table = codec_new(&table_schema);
	build.table->sequence = (int64_t)sequence;
	for (struct map_item *i = NULL; (i = map_next(&view->heads, i));) {
		const struct view_head *entry = i->value;

		if (entry->committed && entry->head->manifest)
			ranked[count++] = (struct ranked){ entry->head, entry->committed };
	}
	qsort(ranked, count, sizeof(*ranked), by_commit);
	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < ranked[i].head->manifest->n_services; j++)
			add_service(&build, ranked[i].head, &ranked[i].head->manifest->services[j]);
	add_troubles(&build);
	map_clear(&build.keys, free);
	free(ranked);
	return build.table;
}
