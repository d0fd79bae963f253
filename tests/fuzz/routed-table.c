/* Entries as the gateway takes them, whatever they contain: heads, claims, members and facts become
 * a routing table, HAProxy's configuration and the commands that lead there.
 *
 * Steps of one byte: an entry (as text, or made of the bytes that follow), the claims of a head, or
 * a table.
 *
 * covers: routed/view.c routed/claims.c routed/build.c routed/table.c routed/render.c routed/diff.c
 *
 * options: -max_len=2048 */
#include "tests/fuzz/gateway.h"
#include "tests/fuzz/generate.h"

#define STEPS_MAX 12
#define ROUTES_MAP "/run/routes.map"

static const struct {
	const char *subject;
	const struct codec_schema *schema;
	const char *names[4]; /* fields that the subject fixes, and their values */
} kinds[] = {
	{ "ployz.v1.intent.namespace.shop", &head_schema, { "namespace", "shop" } },
	{ "ployz.v1.facts.m1.shop", &instances_schema, { "machine", "m1", "namespace", "shop" } },
	{ "ployz.v1.intent.namespace.web", &head_schema, { "namespace", "web" } },
	{ "ployz.v1.facts.m1.web", &instances_schema, { "machine", "m1", "namespace", "web" } },
	{ "ployz.v1.facts.x-1.shop", &instances_schema, { "machine", "x-1", "namespace", "shop" } },
	{ "ployz.v1.intent.member.m1", &member_schema, { "id", "m1" } },
	{ "ployz.v1.intent.route.shop%2Eexample", &route_claim_schema, { "key", "shop.example" } },
	{ "ployz.v1.intent.route.%2A%2Eexample", &route_claim_schema, { "key", "*.example" } },
	{ "ployz.v1.intent.route.shop%2Eexample%2Fapi",
	  &route_claim_schema,
	  { "key", "shop.example/api" } },
	{ "ployz.v1.intent.route.tcp%2F5432", &route_claim_schema, { "key", "tcp/5432" } },
	{ "ployz.v1.intent.region.r1", &region_schema, { NULL } },
};

/* Mostly about what the subject names: anything else is refused at once. */
static void set_names(json_t *json, const char *const names[4])
{
	for (size_t i = 0; i < 4 && names[i]; i += 2)
		json_object_set_new(json, names[i], json_string(names[i + 1]));
}

static bool is_followed(const char *subject)
{
	return !subject_match(SUBJECT_REGION, subject, NULL, NULL);
}

/* Routes whose keys are those of their hosts and paths: others are refused at once. */
static void set_keys(json_t *head)
{
	json_t *route;
	size_t i;

	json_array_foreach (json_object_get(head, "routes"), i, route) {
		const char *host = json_string_value(json_object_get(route, "host"));
		const char *path = json_string_value(json_object_get(route, "path"));
		_cleanup_free_ char *key =
			host ? route_key_http(host, path)
			     : route_key_tcp(json_integer_value(json_object_get(route, "listen")));

		if (json_is_object(route))
			json_object_set_new(route, "key", json_utf8(key));
	}
}

/* A few hosts, a wildcard above them, a path and a port, of a service that exists: what claims and
 * servers decide. */
static json_t *make_route(struct cursor *c)
{
	static const char *const routes[][2] = {
		{ "shop.example", "/" }, { "*.example", "/" },	    { "shop.example", "/api" },
		{ "*.example", "/api" }, { "b.shop.example", "/" }, { "shop.example", "/api/v1/" }
	};
	uint8_t byte = cursor_byte(c);
	json_t *route =
		json_pack("{s:s, s:s, s:b}", "service", "web", "port", "http", "strip", byte & 1);

	byte /= 2;
	if (byte % 8 < ARRAY_SIZE(routes)) {
		json_object_set_new(route, "host", json_string(routes[byte % 8][0]));
		json_object_set_new(route, "path", json_string(routes[byte % 8][1]));
	} else {
		json_object_set_new(route, "listen", json_integer(byte % 2 ? 5432 : 5433));
	}
	return route;
}

static void mend_head(json_t *head, struct cursor *c)
{
	json_t *service, *routes = json_array();
	uint8_t count = cursor_byte(c) % 4, grants = cursor_byte(c);

	for (uint8_t i = 0; i < count; i++)
		json_array_append_new(routes, make_route(c));
	json_object_set_new(head, "routes", routes);
	json_object_set_new(head, "revision", json_integer(1));
	service = json_array_get(json_object_get(head, "services"), 0);
	if (!json_is_object(service)) {
		service = json_object();
		json_object_set_new(head, "services", json_pack("[o]", service));
	}
	json_object_set_new(service, "name", json_string("web"));
	json_object_set_new(service, "ports", json_pack("{s:{s:i}}", "http", "port", 80));
	if (grants < 128)
		json_object_set_new(head, "grants",
				    json_pack("[{s:s, s:[s]}]", "host",
					      grants & 1 ? "*.example" : "shop.example",
					      "namespaces", grants & 2 ? "web" : "shop"));
}

static void take_entry(struct view *view, struct cursor *c, uint8_t step, uint64_t sequence)
{
	size_t kind = step % ARRAY_SIZE(kinds);
	const char *subject = kinds[kind].subject;
	uint8_t way = cursor_byte(c) % 16;
	_cleanup_json_ json_t *json = NULL;
	_cleanup_free_ char *text = NULL;
	int r;

	if (way == 0)
		text = cursor_string(c);
	else if (way > 1)
		json = generate(c, kinds[kind].schema);
	if (json && way > 2)
		set_names(json, kinds[kind].names);
	if (json && way > 6 && kinds[kind].schema == &head_schema)
		mend_head(json, c);
	if (json && way > 6 && kinds[kind].schema == &route_claim_schema)
		json_object_set_new(json, "namespace", json_string(way & 1 ? "shop" : "web"));
	if (json && way > 3)
		set_keys(json);
	if (json)
		text = json_text(json);
	r = view_take(view, subject, sequence, text, text ? strlen(text) : 0);
	HOLDS((r == 0) == !is_followed(subject));
	HOLDS((r == -EBADMSG) == (map_get(&view->errors, subject) != NULL));
}

/* What a namespace's deploy claims: what is not claimed yet, or everything. */
static void claim(struct view *view, const char *ns, bool everything, uint64_t sequence)
{
	const struct watermark at = { 1, (int64_t)sequence, (int64_t)sequence };
	const struct head *head = (view_settle(view, &at, NULL), view_head(view, ns));
	_cleanup_(strv_freep) char **keys = head ? route_claim_keys(head) : NULL;

	for (char **key = keys; key && *key; key++) {
		struct route_claim claim = { *key, (char *)ns, (char *)"d", 1, 1, NULL, NULL };
		_cleanup_free_ char *token = route_token(*key),
				    *subject = subject_make(SUBJECT_ROUTE, token, NULL),
				    *text = NULL;

		if (!everything && view_claim(view, *key))
			continue;
		text = codec_print(&route_claim_schema, &claim);
		view_take(view, subject, sequence, text, strlen(text));
	}
}

/* What a proxy has after it carried out every command. */
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

/* Heads that wait have needs, and are not saved. */
static void drop_needs(void *p)
{
	struct table *table = p;

	for (size_t i = 0; i < table->n_needs; i++)
		free(table->needs[i].ns);
	table->n_needs = 0;
}

/* A view that is made of the saved entries of another gives the same table. */
static void holds_saved(const struct view *view, const struct watermark *at, const char *table)
{
	_cleanup_json_ json_t *saved = view_encode(view);
	struct view again = { 0 };
	_cleanup_free_ char *text = NULL;
	struct table *same;

	for (void *i = json_object_iter(saved); i; i = json_object_iter_next(saved, i)) {
		const char *subject = json_object_iter_key(i);

		HOLDS(view_take(&again, subject, 1, "{", 1) == -EBADMSG);
	}
	view_settle(&again, at, saved);
	map_clear(&again.errors, free);
	for (struct map_item *i = NULL; (i = map_next(&view->errors, i));)
		map_put(&again.errors, i->key, xstrdup(i->value));
	same = table_build(&again, at, NULL, 0);
	drop_needs(same);
	text = codec_print(&table_schema, same);
	HOLDS(streq(text, table));
	table_free(same);
	view_clear(&again);
}

static void build_table(struct view *view, struct table **table, struct actual *actual,
			uint64_t sequence)
{
	static const int64_t taken[] = { 80, 5432 };
	static char *const binds[] = { (char *)"*:80", NULL };
	const struct render render = { (char **)binds, "*", "/run/s", ROUTES_MAP, 4 };
	struct table *before = *table;
	const struct watermark at = { 1, (int64_t)sequence, (int64_t)sequence };
	struct diff diff = { NULL, NULL };
	_cleanup_free_ char *text = NULL, *open = NULL;
	void *same = NULL;

	view_settle(view, &at, NULL);
	same = table_build(view, &at, NULL, 0);
	drop_needs(same);
	open = codec_print(&table_schema, same);
	table_free(same);
	holds_saved(view, &at, open);

	*table = table_build(view, &at, taken, ARRAY_SIZE(taken));
	diff_assign(*table, actual, before);
	table_free(before);
	for (size_t i = 0; i < (*table)->n_backends; i++)
		HOLDS((*table)->backends[i].kind == KIND_TCP || (*table)->backends[i].slot > 0);
	holds_table(*table, &render);
	/* It is saved and read by the next start. */
	text = codec_print(&table_schema, *table);
	HOLDS(codec_parse(&table_schema, text, strlen(text), CODEC_LENIENT, &same, NULL) == 0);
	table_free(same);
	diff_make(*table, actual, ROUTES_MAP, &diff);
	for (char **command = diff.commands; command && *command; command++)
		holds_command(*command);
	diff_clear(&diff);
	/* Then no command is left. */
	apply(*table, actual);
	diff_make(*table, actual, ROUTES_MAP, &diff);
	HOLDS(!diff.commands && !diff.reload);
	diff_clear(&diff);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cursor c = { data, data + size };
	struct view view = { 0 };
	struct actual actual = { 0 };
	struct table *table = NULL;
	uint64_t sequence = 1;

	for (int steps = 0; cursor_left(&c) && steps < STEPS_MAX; steps++, sequence++) {
		uint8_t step = cursor_byte(&c);

		if (step < 176)
			take_entry(&view, &c, step, sequence);
		else if (step < 208)
			claim(&view, step & 1 ? "shop" : "web", !(step & 6), sequence);
		else
			build_table(&view, &table, &actual, sequence);
	}
	build_table(&view, &table, &actual, sequence);
	table_free(table);
	actual_clear(&actual);
	view_clear(&view);
	return 0;
}
