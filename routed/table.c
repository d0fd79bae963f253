/* Table: encodes the routing table for table.json, and queries it. */
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
	FIELD(struct table_route, error, CODEC_STRING),
	FIELD_END,
};
static const struct codec_schema route_schema = {
	.name = "table_route",
	.size = sizeof(struct table_route),
	.fields = route_fields,
};

static const struct codec_field held_fields[] = {
	FIELD(struct table_held, reason, CODEC_STRING, .flags = CODEC_REQUIRED),
	FIELD(struct table_held, namespaces, CODEC_STRV),
	FIELD_END,
};
static const struct codec_schema held_schema = {
	.name = "table_held",
	.size = sizeof(struct table_held),
	.fields = held_fields,
};

static const struct codec_field need_fields[] = {
	FIELD_KEY(struct table_need, ns, "namespace", CODEC_STRING, .flags = CODEC_REQUIRED),
	FIELD(struct table_need, facts, CODEC_INT),
	FIELD_END,
};
static const struct codec_schema need_schema = {
	.name = "table_need",
	.size = sizeof(struct table_need),
	.fields = need_fields,
};

static const struct codec_field table_fields[] = {
	FIELD(struct table, watermark, CODEC_STRUCT, .schema = &watermark_schema),
	FIELD(struct table, seen, CODEC_STRING),
	FIELD_LIST(struct table, backends, n_backends, CODEC_LIST, &backend_schema),
	FIELD_LIST(struct table, routes, n_routes, CODEC_LIST, &route_schema),
	FIELD_LIST(struct table, held, n_held, CODEC_LIST, &held_schema),
	FIELD_LIST(struct table, needs, n_needs, CODEC_LIST, &need_schema),
	FIELD(struct table, ended, CODEC_STRV),
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

int table_segments(const char *path)
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
	return xasprintf("%s|%d|%s", name, route->strip ? table_segments(route->path) : 0,
			 route->owner);
}

char *table_map_key(const struct table_route *route)
{
	size_t size = strlen(route->path);

	while (size && route->path[size - 1] == '/')
		size--;
	return xasprintf("%s%.*s/", route->host, (int)size, route->path);
}

int64_t table_needs(const struct table *table, const char *ns)
{
	int64_t facts = 0;

	for (size_t i = 0; i < table->n_needs; i++)
		if (!ns || streq(table->needs[i].ns, ns))
			facts = MAX2(facts, table->needs[i].facts);
	return facts;
}

const char *table_held_of(const struct table *table, const char *ns)
{
	for (size_t i = 0; i < table->n_held; i++)
		if (!ns || strv_contains(table->held[i].namespaces, ns))
			return table->held[i].reason;
	return NULL;
}
