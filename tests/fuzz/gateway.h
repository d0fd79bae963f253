/* What routed-table.c and routed-haproxy.c check of a routing table: whatever the entries contain,
 * haproxy.cfg, its map and the commands get single words, and no more lines than they should. */
#ifndef PLOYZ_TESTS_FUZZ_GATEWAY_H
#define PLOYZ_TESTS_FUZZ_GATEWAY_H

#include "routed/routed.h"
#include "tests/fuzz/fuzz.h"

static inline size_t count_lines(const char *text)
{
	size_t lines = 0;

	for (; *text; text++)
		lines += *text == '\n';
	return lines;
}

/* Those that a configuration names: the open ones, and those where requests are held. */
static inline size_t servers_wanted(const struct table *table)
{
	size_t count = 0;

	for (size_t i = 0; i < table->n_backends; i++) {
		count += table_backend_is_held(&table->backends[i]);
		for (size_t j = 0; j < table->backends[i].n_servers; j++)
			count += server_is_open(&table->backends[i].servers[j]);
	}
	return count;
}

/* As many lines as a table with these backends has, and one for each server. */
static inline size_t lines_wanted(const struct table *table, const struct render *render)
{
	static struct table_backend plain = { .owner = (char *)"o", .kind = KIND_TCP, .listen = 1 };
	struct table one = { .backends = &plain, .n_backends = 1 }, none = { .n_backends = 0 };
	_cleanup_free_ char *with = render_config(&one, render),
			    *without = render_config(&none, render);
	size_t lines = count_lines(without), of_tcp = count_lines(with) - lines, tcp = 0;
	int64_t highest = 1;

	for (size_t i = 0; i < table->n_backends; i++)
		if (table->backends[i].kind == KIND_TCP)
			tcp++;
		else
			highest = MAX2(highest, table->backends[i].slot);
	/* Pools come whole. */
	lines += (size_t)((highest + render->pool - 1) / render->pool - 1) * (size_t)render->pool;
	return lines + tcp * of_tcp + servers_wanted(table);
}

static inline void holds_servers(const char *config)
{
	for (const char *line = strstr(config, "\tserver "); line;
	     line = strstr(line + 1, "\tserver ")) {
		char name[160], address[64], rest[2];
		int port;

		HOLDS(sscanf(line, "\tserver %159[a-z0-9-] %63[0-9.]:%d%1[\n]", name, address,
			     &port, rest) == 4);
		HOLDS(port >= 1 && port <= 65535);
	}
}

static inline void holds_table(const struct table *table, const struct render *render)
{
	_cleanup_free_ char *config = render_config(table, render), *map = render_map(table);
	size_t mapped = 0;

	HOLDS(count_lines(config) == lines_wanted(table, render));
	holds_servers(config);
	for (size_t i = 0; i < table->n_routes; i++) {
		const struct table_route *route = &table->routes[i];

		HOLDS(!route->owner == (route->error != NULL));
		HOLDS(!route->owner || table_backend(table, route->owner));
		mapped += route->kind == KIND_HTTP && route->owner &&
			  table_backend(table, route->owner)->slot;
	}
	/* And the comment. */
	HOLDS(count_lines(map) == mapped + 1);
	for (const char *line = strchr(map, '\n') + 1; *line; line = strchr(line, '\n') + 1) {
		size_t key = strcspn(line, " "), value = strcspn(line + key + 1, "\n");

		HOLDS(line[key] == ' ' && strcspn(line + key + 1, " \t\r\"'\\#;") >= value);
	}
}

/* A command is one line, and only one command. */
static inline void holds_command(const char *command)
{
	for (const char *p = command; *p; p++)
		HOLDS((unsigned char)*p >= ' ' && *p != ';');
}

#endif
