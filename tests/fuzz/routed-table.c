/* The log's entries as the gateway takes them, whatever stands in them: heads and facts become a
 * routing table, HAProxy's configuration and the commands that lead there.
 *
 * Steps of one byte: an entry (as text, or made of the bytes that follow), or what HAProxy has by
 * now.
 *
 * covers: routed/view.c routed/table.c routed/render.c routed/diff.c
 *
 * options: -max_len=2048 */
#include "tests/fuzz/gateway.h"
#include "tests/fuzz/generate.h"

#define STEPS_MAX 8
#define ROUTES_MAP "/run/routes.map"

static const struct {
	const char *subject;
	const struct codec_schema *schema;
} kinds[] = {
	{ "ployz.v1.intent.namespace.shop", &head_schema },
	{ "ployz.v1.intent.instances.m1.shop", &instances_schema },
	{ "ployz.v1.intent.namespace.web", &head_schema },
	{ "ployz.v1.intent.instances.m1.web", &instances_schema },
	{ "ployz.v1.intent.instances.x-1.shop", &instances_schema },
	{ "ployz.v1.intent.machine.m1", &machine_schema },
};

static void take_entry(struct view *view, struct cursor *c, uint8_t step, uint64_t sequence)
{
	const char *subject = kinds[step % ARRAY_SIZE(kinds)].subject;
	uint8_t way = cursor_byte(c) % 8;
	_cleanup_json_ json_t *json = NULL;
	_cleanup_free_ char *text = NULL;
	int r;

	if (way == 0)
		text = cursor_string(c);
	else if (way > 1)
		json = generate(c, kinds[step % ARRAY_SIZE(kinds)].schema);
	if (json)
		text = json_text(json);
	r = view_take(view, subject, sequence, text, text ? strlen(text) : 0);
	HOLDS((r == -EBADMSG) == (map_get(&view->troubles, subject) != NULL));
}

/* What a proxy has that did all that was asked of it. */
static void apply(const struct table *table, struct actual *actual)
{
	actual_clear(actual);
	for (size_t i = 0; i < table->n_backends; i++) {
		const struct table_backend *backend = &table->backends[i];
		char *name = table_backend_name(backend);

		HOLDS(name);
		for (size_t j = 0; j < backend->n_servers; j++) {
			const struct table_server *server = &backend->servers[j];

			if (server_is_open(server) &&
			    !actual_server(actual, name, server->instance))
				*array_add(actual->servers, actual->n_servers) =
					(struct actual_server){
						.backend = xstrdup(name),
						.name = xstrdup(server->instance),
						.address = xstrdup(server->address),
						.port = server->port,
						.state = SERVER_READY,
					};
		}
		if (table_backend_is_held(backend))
			*array_add(actual->servers, actual->n_servers) = (struct actual_server){
				.backend = xstrdup(name),
				.name = xstrdup(HOLD_SERVER),
				.address = xstrdup(HOLD_ADDRESS),
				.port = HOLD_PORT,
				.state = SERVER_READY,
			};
		strv_push(&actual->backends, name);
	}
	for (size_t i = 0; i < table->n_routes; i++) {
		_cleanup_free_ char *key = NULL, *value = NULL;

		if (table->routes[i].kind != KIND_HTTP || !table->routes[i].owner)
			continue;
		key = table_map_key(&table->routes[i]);
		value = table_map_value(table, &table->routes[i]);
		pairs_add(&actual->map, key, value);
	}
}

static void look(struct view *view, struct table **table, struct actual *actual, uint64_t sequence)
{
	static const int64_t taken[] = { 80, 5432 };
	static char *const binds[] = { (char *)"*:80", NULL };
	const struct render render = { (char **)binds, "*", "/run/s", ROUTES_MAP, 4 };
	struct table *before = *table;
	struct diff diff = { NULL, NULL };
	_cleanup_free_ char *text = NULL;
	void *same = NULL;

	*table = table_build(view, sequence, taken, ARRAY_SIZE(taken));
	diff_assign(*table, actual, before);
	table_free(before);
	for (size_t i = 0; i < (*table)->n_backends; i++)
		HOLDS((*table)->backends[i].kind == KIND_TCP || (*table)->backends[i].slot > 0);
	holds_table(*table, &render);
	/* It is saved, and read again by the next start. */
	text = codec_print(&table_schema, *table);
	HOLDS(codec_parse(&table_schema, text, strlen(text), CODEC_LENIENT, &same, NULL) == 0);
	table_free(same);
	diff_make(view, *table, actual, ROUTES_MAP, &diff);
	for (char **command = diff.commands; command && *command; command++)
		holds_command(*command);
	diff_clear(&diff);
	/* Where all is as it should be, nothing is left to say. */
	apply(*table, actual);
	diff_make(view, *table, actual, ROUTES_MAP, &diff);
	HOLDS(!diff.commands && !diff.reload);
	diff_clear(&diff);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cursor c = { data, data + size };
	struct view view = { MAP_INIT, MAP_INIT, MAP_INIT };
	struct actual actual = { 0 };
	struct table *table = NULL;
	uint64_t sequence = 1;

	for (int steps = 0; cursor_left(&c) && steps < STEPS_MAX; steps++, sequence++) {
		uint8_t step = cursor_byte(&c);

		if (step < 192)
			take_entry(&view, &c, step, sequence);
		else
			look(&view, &table, &actual, sequence);
	}
	look(&view, &table, &actual, sequence);
	table_free(table);
	actual_clear(&actual);
	view_clear(&view);
	return 0;
}
