/* What the reading verbs make of what they are told. */
#include "ployzctl/pure.h"
#include "tests/tap.h"

/* --- whose output is meant */

static const struct {
	const char *word, *expected; /* ns/service, or the failure */
} words[] = {
	{ "web", "shop/web" },
	{ "shop/web", "shop/web" },
	{ "blog/api", "blog/api" },
	{ "blog", "blog/*" },
	{ "api", "'api' is a service of more than one namespace: shop, blog" },
	{ "wbe", "there is no service or namespace 'wbe'; did you mean 'web'?" },
	{ "shop/nothing-near", "there is no service or namespace 'shop/nothing-near'" },
	{ "both", "shop/both" }, /* a service's name wins over a namespace's */
};

static void try_targets(void)
{
	_cleanup_(targets_clear) struct targets known = { NULL, 0 };

	targets_add(&known, "shop", "web");
	targets_add(&known, "shop", "web");
	targets_add(&known, "shop", "api");
	targets_add(&known, "shop", "both");
	targets_add(&known, "blog", "api");
	targets_add(&known, "both", "other");
	is_int((long long)known.count, 5, "each target once");
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		_cleanup_(targets_clear) struct targets found = { NULL, 0 };
		_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;
		_cleanup_free_ char *got = NULL;

		if (targets_find(&known, words[i].word, &found, &failure) < 0)
			got = xstrdup(failure.message);
		else
			got = xasprintf("%s/%s", found.items[0].ns,
					found.items[0].service ? found.items[0].service : "*");
		is(got, words[i].expected, words[i].word);
	}
}

/* --- the log in words, each entry after those above it */

static const struct {
	const char *subject, *data, *about, *lines; /* lines joined by ` / ` */
} entries[] = {
	{ "ployz.v1.intent.subnet.10-101-4", "{\"machine\":\"m1\"}", "subnet",
	  "m1 took 10.101.4.0/24 for its containers" },
	{ "ployz.v1.intent.machine.m1",
	  "{\"id\":\"m1\",\"name\":\"box\",\"life_cycle\":\"active\",\"region\":\"eu\",\"subnet\":"
	  "\"10.101.4.0/24\"}",
	  "machine", "m1 (box) is active, region eu, containers in 10.101.4.0/24" },
	{ "ployz.v1.intent.namespace.shop",
	  "{\"namespace\":\"shop\",\"revision\":0,\"open\":{\"deploy\":\"d1\",\"epoch\":1,"
	  "\"machine\":\"m1\",\"verb\":\"deploy\","
	  "\"operator\":\"ada\"}}",
	  "shop", "ada opened deploy d1, walked by m1, epoch 1" },
	{ "ployz.v1.intent.namespace.shop",
	  "{\"namespace\":\"shop\",\"revision\":0,\"outcome\":\"failed\"}", "shop",
	  "the deploy that was open ended: failed; nothing was ever committed" },
	{ "ployz.v1.intent.namespace.shop",
	  "{\"namespace\":\"shop\",\"revision\":1,\"deploy\":\"d2\",\"verb\":\"deploy\","
	  "\"operator\":\"ada\",\"from\":\"desk\","
	  "\"why\":\"first\",\"services\":[{\"name\":\"web\",\"slots\":[{\"slot\":0,\"instance\":"
	  "\"i\",\"machine\":\"m1\"}]}]}",
	  "shop",
	  "ada committed revision 1 by deploy d2 from desk: 1 service, 1 instance, because: "
	  "first" },
	{ "ployz.v1.intent.namespace.shop",
	  "{\"namespace\":\"shop\",\"revision\":1,\"committed\":5,\"outcome\":\"refused\"}", "shop",
	  "the deploy that was open ended: refused; revision 1 stands" },
	{ "ployz.v1.intent.instances.m1.shop",
	  "{\"machine\":\"m1\",\"namespace\":\"shop\",\"instances\":["
	  "{\"id\":\"a\",\"namespace\":\"shop\",\"service\":\"web\",\"slot\":0,\"state\":"
	  "\"starting\"},"
	  "{\"id\":\"b\",\"namespace\":\"shop\",\"service\":\"web\",\"slot\":1,\"state\":\"ready\","
	  "\"address\":\"10.101.4.2\"}]}",
	  "shop", "web/0 starting on m1 (a) / web/1 ready on m1 at 10.101.4.2 (b)" },
	{ "ployz.v1.intent.instances.m1.shop",
	  "{\"machine\":\"m1\",\"namespace\":\"shop\",\"instances\":["
	  "{\"id\":\"a\",\"namespace\":\"shop\",\"service\":\"web\",\"slot\":0,\"state\":"
	  "\"failed\",\"reason\":\"exited\"},"
	  "{\"id\":\"b\",\"namespace\":\"shop\",\"service\":\"web\",\"slot\":1,\"state\":\"ready\","
	  "\"address\":\"10.101.4.2\"}]}",
	  "shop", "web/0 starting, then failed on m1 (a): exited" },
	{ "ployz.v1.intent.instances.m1.shop",
	  "{\"machine\":\"m1\",\"namespace\":\"shop\",\"instances\":["
	  "{\"id\":\"b\",\"namespace\":\"shop\",\"service\":\"web\",\"slot\":1,\"state\":\"ready\","
	  "\"address\":\"10.101.4.2\","
	  "\"restarts\":1}]}",
	  "shop", "web/1 ready on m1 at 10.101.4.2, restart 1 (b) / a is no longer listed on m1" },
	{ "ployz.v1.intent.namespace.shop", "{\"revision\":1}", "shop",
	  "cannot be read: namespace is missing" },
	{ "ployz.v1.intent.later.x", "{}", "-",
	  "ployz.v1.intent.later.x: written by another version of ployz" },
};

static void try_events(void)
{
	struct event_memory memory = { MAP_INIT };

	for (size_t i = 0; i < ARRAY_SIZE(entries); i++) {
		const struct stream_entry entry = { .subject = entries[i].subject,
						    .sequence = i + 1,
						    .data = entries[i].data,
						    .size = strlen(entries[i].data) };
		_cleanup_free_ char *about = NULL, *joined = NULL;
		_cleanup_(strv_freep) char **lines = NULL;

		event_lines(&memory, &entry, &about, &lines);
		joined = strv_join(lines, " / ");
		is(about, entries[i].about, entries[i].subject);
		is(joined, entries[i].lines, entries[i].lines);
	}
	event_memory_clear(&memory);
}

/* --- leases */

static void try_leases(void)
{
	uint64_t now;
	struct lease_view view = {
		.lease = { .ns = (char *)"shop",
			   .state = LEASE_HELD,
			   .epoch = 3,
			   .machine = (char *)"m1",
			   .operator_ = (char *)"ada",
			   .deploy = (char *)"d1",
			   .verb = (char *)"deploy",
			   .since = (char *)"2026-01-01T00:00:00.000Z" },
		.quiet_ms = 2000,
		.free_in_ms = 28000,
	};
	_cleanup_free_ char *held = NULL, *free_ = NULL;

	time_parse("2026-01-01T00:00:05.000Z", &now);
	held = lease_text(&view, now);
	is(held,
	   "namespace  shop\nstate      held\nheld by    ada\nverb       deploy\ndeploy     "
	   "d1\nmachine    m1\nepoch      3\n"
	   "since      2026-01-01T00:00:00.000Z (5.0 s ago)\nrenewed    2.0 s ago\nfree in    28 "
	   "s\n",
	   "a lease that is held");
	view = (struct lease_view){ .lease = { .ns = (char *)"shop", .epoch = 3 } };
	free_ = lease_text(&view, now);
	is(free_, "namespace  shop\nstate      free\nepoch      3\n", "a lease that is free");
}

/* --- routes */

static const struct {
	const char *states[3], *trouble, *expected;
	size_t ready;
} routes[] = {
	{ { "ready", "ready" }, NULL, "served", 2 },
	{ { "drain", "ready" }, NULL, "served", 1 },
	{ { "drain", "held" }, NULL, "held", 0 },
	{ { "down" }, NULL, "no server", 0 },
	{ { NULL }, NULL, "no server", 0 },
	{ { "ready" }, "taken by other/web", "trouble", 1 },
};

static void try_routes(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
		struct route_server servers[3] = { { 0 } };
		struct route_view view = { .servers = servers,
					   .trouble = (char *)routes[i].trouble };

		for (; routes[i].states[view.n_servers]; view.n_servers++)
			servers[view.n_servers].state = (char *)routes[i].states[view.n_servers];
		is(route_state(&view), routes[i].expected, routes[i].expected);
		is_int((long long)route_ready(&view), (long long)routes[i].ready,
		       "servers that are ready");
	}
}

/* --- schemas */

static const struct {
	const char *schema, *key, *type;
} types[] = {
	{ "port", "port", "integer 1 to 65535" },
	{ "port", "protocol", "tcp | udp" },
	{ "manifest", "services", "map of service" },
	{ "service", "replicas", "int or \"global\"" },
	{ "service", "command", "list of string" },
	{ "service", "env", "map of string" },
	{ "service", "ready", "object ready" },
	{ "head", "services", "list of head_service" },
	{ "lease_view", "quiet_ms", "integer from -1" },
	{ "ready", "interval", "duration" },
	{ "resources", "memory", "bytes" },
};

static void try_schemas(void)
{
	size_t n, seen = 0;
	_cleanup_free_ const struct codec_schema **schemas = schema_list(&n);

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		_cleanup_free_ char *got = NULL;

		for (size_t j = 0; j < n; j++)
			for (const struct codec_field *f = schemas[j]->fields; f->key; f++)
				if (streq(schemas[j]->name, types[i].schema) &&
				    streq(f->key, types[i].key))
					got = schema_type(f);
		is(got, types[i].type, types[i].key);
	}
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < n; j++)
			seen += streq(schemas[i]->name, schemas[j]->name);
	is_int((long long)seen, (long long)n, "each schema once");
}

int main(void)
{
	try_targets();
	try_events();
	try_leases();
	try_routes();
	try_schemas();
	return tap_done();
}
