/* Diff (pure): the commands that change the proxy's state to that of the table. */
#include "routed/routed.h"

void diff_clear(struct diff *diff)
{
	strv_free(diff->commands);
	free(diff->reload);
	*diff = (struct diff){ NULL, NULL };
}

/* The pool's number in `p7`, or 0. */
static int64_t slot_number(const char *backend)
{
	int64_t slot;

	return backend[0] == 'p' && int_parse(backend + 1, 1, 100000, &slot) == 0 ? slot : 0;
}

/* The slot of this owner by the proxy's map, or 0. */
static int64_t slot_of(const struct actual *actual, const char *owner)
{
	for (size_t i = 0; i < actual->map.count; i++) {
		_cleanup_(strv_freep) char **parts = strv_split(actual->map.items[i].value, "|");

		/* A slot without a backend in the proxy would need every backend before it. */
		if (strv_count(parts) == 3 && streq(parts[2], owner))
			return actual_has_backend(actual, parts[0]) ? slot_number(parts[0]) : 0;
	}
	return 0;
}

static bool slot_taken(const struct table *table, int64_t slot)
{
	for (size_t i = 0; i < table->n_backends; i++)
		if (table->backends[i].kind == KIND_HTTP && table->backends[i].slot == slot)
			return true;
	return false;
}

static bool is_hold(const struct actual_server *server)
{
	return streq(server->name, HOLD_SERVER);
}

/* Whether the proxy still uses it: by its map, or by a server that drains. */
static bool slot_busy(const struct actual *actual, int64_t slot)
{
	_cleanup_free_ char *name = xasprintf("p%lld", (long long)slot);
	size_t size = strlen(name);

	for (size_t i = 0; i < actual->n_servers; i++)
		if (streq(actual->servers[i].backend, name) && !is_hold(&actual->servers[i]))
			return true;
	for (size_t i = 0; i < actual->map.count; i++)
		if (str_starts(actual->map.items[i].value, name) &&
		    actual->map.items[i].value[size] == '|')
			return true;
	return false;
}

static int64_t free_slot(const struct table *table, const struct actual *actual)
{
	int64_t slot = 1;

	while (slot_taken(table, slot) || slot_busy(actual, slot))
		slot++;
	return slot;
}

void diff_assign(struct table *table, const struct actual *actual, const struct table *before)
{
	for (size_t i = 0; i < table->n_backends; i++) {
		struct table_backend *backend = &table->backends[i];
		int64_t slot;

		if (backend->kind != KIND_HTTP || backend->slot)
			continue;
		slot = slot_of(actual, backend->owner);
		if (slot && !slot_taken(table, slot))
			backend->slot = slot;
	}
	for (size_t i = 0; before && i < table->n_backends; i++) {
		struct table_backend *backend = &table->backends[i];
		const struct table_backend *old = table_backend(before, backend->owner);

		if (backend->kind == KIND_HTTP && !backend->slot && old && old->slot &&
		    !slot_taken(table, old->slot))
			backend->slot = old->slot;
	}
	for (size_t i = 0; i < table->n_backends; i++)
		if (table->backends[i].kind == KIND_HTTP && !table->backends[i].slot)
			table->backends[i].slot = free_slot(table, actual);
}

static void command(struct diff *diff, char *text)
{
	strv_push(&diff->commands, text);
}

static void reload(struct diff *diff, char *why)
{
	if (diff->reload)
		free(why);
	else
		diff->reload = why;
}

/* New servers get connections before anything else changes. */
static void open_server(struct diff *diff, const struct actual *actual, const char *backend,
			const struct table_server *wanted)
{
	const struct actual_server *server = actual_server(actual, backend, wanted->instance);

	if (!server)
		command(diff, xasprintf("add server %s/%s %s:%lld", backend, wanted->instance,
					wanted->address, (long long)wanted->port));
	else if (!streq(server->address, wanted->address) || server->port != wanted->port)
		command(diff,
			xasprintf("set server %s/%s addr %s port %lld", backend, wanted->instance,
				  wanted->address, (long long)wanted->port));
	if (!server || server->state != SERVER_READY)
		command(diff, xasprintf("set server %s/%s state ready", backend, wanted->instance));
}

/* It is closed, not deleted, when it is no longer needed: requests that wait for their next retry
 * may still refer to it. */
static void open_hold(struct diff *diff, const struct actual *actual, const char *backend)
{
	const struct actual_server *server = actual_server(actual, backend, HOLD_SERVER);

	if (!server)
		command(diff, xasprintf("add server %s/" HOLD_SERVER " " HOLD_ADDRESS ":%d",
					backend, HOLD_PORT));
	if (!server || server->state != SERVER_READY)
		command(diff, xasprintf("set server %s/" HOLD_SERVER " state ready", backend));
}

static void open_servers(const struct table *table, const struct actual *actual, struct diff *diff)
{
	for (size_t i = 0; i < table->n_backends; i++) {
		const struct table_backend *backend = &table->backends[i];
		_cleanup_free_ char *name = table_backend_name(backend);

		if (!name)
			continue;
		if (!actual_has_backend(actual, name)) {
			reload(diff,
			       backend->kind == KIND_TCP
				       ? xasprintf("port %lld is new", (long long)backend->listen)
				       : xasprintf("the pool has no backend left for %s",
						   backend->owner));
			continue;
		}
		for (size_t j = 0; j < backend->n_servers; j++)
			if (server_is_open(&backend->servers[j]))
				open_server(diff, actual, name, &backend->servers[j]);
		if (table_backend_is_held(backend))
			open_hold(diff, actual, name);
	}
}

/* One command per key, each of which is atomic in the proxy: first new and changed keys, then
 * deleted ones. */
static void change_map(const struct table *table, const struct actual *actual, const char *map,
		       struct diff *diff)
{
	struct map wanted = MAP_INIT;

	for (size_t i = 0; i < table->n_routes; i++) {
		const struct table_route *route = &table->routes[i];
		const struct table_backend *backend = table_backend(table, route->owner);
		_cleanup_free_ char *name = backend ? table_backend_name(backend) : NULL;
		_cleanup_free_ char *key = NULL, *value = NULL;
		const char *now;

		if (route->kind != KIND_HTTP || !name)
			continue;
		key = table_map_key(route);
		map_put(&wanted, key, (void *)route);
		if (!actual_has_backend(actual, name))
			continue;
		value = table_map_value(table, route);
		now = pairs_get(&actual->map, key);
		if (!now)
			command(diff, xasprintf("add map %s %s %s", map, key, value));
		else if (!streq(now, value))
			command(diff, xasprintf("set map %s %s %s", map, key, value));
	}
	for (size_t i = 0; i < actual->map.count; i++)
		if (!map_get(&wanted, actual->map.items[i].key))
			command(diff, xasprintf("del map %s %s", map, actual->map.items[i].key));
	map_clear(&wanted, NULL);
}

static bool is_wanted(const struct table_backend *backend, const struct actual_server *server)
{
	if (is_hold(server))
		return table_backend_is_held(backend);
	for (size_t i = 0; i < backend->n_servers; i++)
		if (server_is_open(&backend->servers[i]) &&
		    streq(backend->servers[i].instance, server->name))
			return true;
	return false;
}

static bool is_open(const struct table *table, const struct actual_server *server)
{
	for (size_t i = 0; i < table->n_backends; i++) {
		_cleanup_free_ char *name = table_backend_name(&table->backends[i]);

		if (streq(name, server->backend))
			return is_wanted(&table->backends[i], server);
	}
	return false;
}

/* A server that is no longer wanted gets no new connections and is deleted after its last one. Not
 * all of them end with its process: a container's network disappears with the data it still had to
 * send, and no end of the connection is ever sent. */
static void close_servers(const struct table *table, const struct actual *actual, struct diff *diff)
{
	for (size_t i = 0; i < actual->n_servers; i++) {
		const struct actual_server *server = &actual->servers[i];

		if (is_open(table, server))
			continue;
		if (is_hold(server)) {
			if (server->state == SERVER_READY)
				command(diff, xasprintf("set server %s/" HOLD_SERVER " state maint",
							server->backend));
		} else if (server->state == SERVER_READY) {
			command(diff, xasprintf("set server %s/%s state drain", server->backend,
						server->name));
		} else if (!server->connections) {
			if (server->state != SERVER_DOWN)
				command(diff, xasprintf("set server %s/%s state maint",
							server->backend, server->name));
			command(diff, xasprintf("del server %s/%s", server->backend, server->name));
		} else if (strv_contains(table->ended, server->name)) {
			command(diff, xasprintf("shutdown sessions server %s/%s", server->backend,
						server->name));
		}
	}
}

/* A port without a route is released. */
static void close_listens(const struct table *table, const struct actual *actual, struct diff *diff)
{
	for (char **name = actual->backends; name && *name; name++) {
		bool wanted = false;

		if (!str_starts(*name, "tcp-"))
			continue;
		for (size_t i = 0; i < table->n_backends && !wanted; i++) {
			_cleanup_free_ char *other = table_backend_name(&table->backends[i]);

			wanted = streq(other, *name);
		}
		if (!wanted)
			reload(diff,
			       xasprintf("port %s has no route any more", *name + strlen("tcp-")));
	}
}

void diff_make(const struct table *table, const struct actual *actual, const char *map,
	       struct diff *ret)
{
	open_servers(table, actual, ret);
	change_map(table, actual, map, ret);
	close_servers(table, actual, ret);
	close_listens(table, actual, ret);
}
