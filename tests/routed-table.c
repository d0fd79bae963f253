/* The routing table of a log: who gets a route, which servers are open, what one bad entry does. */
#include "routed/routed.h"
#include "tests/tap.h"

#define PORTS "\"ports\":{\"http\":{\"port\":8080},\"dns\":{\"port\":53,\"protocol\":\"udp\"}}"
#define HTTP(host, path) \
	"{\"http\":{\"port\":\"http\",\"hosts\":[\"" host "\"],\"path\":\"" path "\"}}"
#define HTTP_STRIP(host, path)                                                   \
	"{\"http\":{\"port\":\"http\",\"hosts\":[\"" host "\"],\"path\":\"" path \
	"\",\"strip\":true}}"
#define TCP(port, listen) "{\"tcp\":{\"port\":\"" port "\",\"listen\":" #listen "}}"

static void put_head(struct view *view, const char *ns, uint64_t sequence, const char *more,
		     const char *routes)
{
	_cleanup_free_ char *subject = subject_make(SUBJECT_NAMESPACE, ns, NULL);
	_cleanup_free_ char *text = xasprintf(
		"{\"namespace\":\"%s\",\"revision\":1,%s\"manifest\":{\"namespace\":\"%s\","
		"\"services\":{\"web\":"
		"{\"image\":\"x\"," PORTS
		",\"routes\":[%s]}}},\"services\":[{\"name\":\"web\",\"slots\":["
		"{\"slot\":0,\"instance\":\"%s-a\",\"machine\":\"m1\",\"address\":\"10.101.1.2\"},"
		"{\"slot\":1,\"instance\":\"%s-b\",\"machine\":\"m2\",\"address\":\"10.101.2.2\"}]}"
		"]}",
		ns, more, ns, routes, ns, ns);

	if (view_take(view, subject, sequence, text, strlen(text)) != 1)
		printf("# %s: %s\n", ns, (const char *)map_get(&view->troubles, subject));
}

static void put_fact(struct view *view, const char *machine, const char *ns, const char *slot,
		     const char *state, const char *address)
{
	_cleanup_free_ char *subject = subject_make(SUBJECT_INSTANCES, machine, ns);
	_cleanup_free_ char *text =
		xasprintf("{\"machine\":\"%s\",\"namespace\":\"%s\",\"instances\":[{\"id\":\"%s-%"
			  "s\",\"namespace\":\"%s\","
			  "\"service\":\"web\",\"slot\":0,\"deploy\":\"d\",\"epoch\":1,\"state\":"
			  "\"%s\"%s%s%s}]}",
			  machine, ns, ns, slot, ns, state, address ? ",\"address\":\"" : "",
			  address ? address : "", address ? "\"" : "");

	if (view_take(view, subject, 1, text, strlen(text)) != 1)
		printf("# %s: %s\n", subject, (const char *)map_get(&view->troubles, subject));
}

static char *servers_text(const struct table *table, const char *owner)
{
	const struct table_backend *backend = table_backend(table, owner);
	struct strbuf out = STRBUF_INIT;

	for (size_t i = 0; backend && i < backend->n_servers; i++)
		strbuf_printf(&out, "%s%s %s:%lld", i ? ", " : "",
			      server_state_names[backend->servers[i].state],
			      backend->servers[i].address, (long long)backend->servers[i].port);
	return strbuf_steal(&out);
}

static void test_states(void)
{
	static const struct {
		const char *a, *address_a, *b, *expected, *name;
	} rows[] = {
		{ "ready", "10.101.1.9", "ready", "ready 10.101.1.9:8080, ready 10.101.2.2:8080",
		  "the fact's address wins over the head's" },
		{ "ready", NULL, "starting", "ready 10.101.1.2:8080, down 10.101.2.2:8080",
		  "starting is down" },
		{ "ready", NULL, "unready", "ready 10.101.1.2:8080, down 10.101.2.2:8080",
		  "unready is down" },
		{ "ready", NULL, "draining", "ready 10.101.1.2:8080, drain 10.101.2.2:8080",
		  "draining beside a ready one drains" },
		{ "stopped", NULL, "draining", "held 10.101.1.2:8080, held 10.101.2.2:8080",
		  "with nothing ready both are held" },
		{ "stopped", NULL, "failed", "held 10.101.1.2:8080, down 10.101.2.2:8080",
		  "failed is never held" },
		{ "starting", NULL, "unready", "held 10.101.1.2:8080, down 10.101.2.2:8080",
		  "what is started again is waited for" },
		{ "failed", NULL, "gone", "down 10.101.1.2:8080, down 10.101.2.2:8080",
		  "nothing to hold" },
		{ "ready", NULL, NULL, "ready 10.101.1.2:8080, down 10.101.2.2:8080",
		  "no fact is down" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct view view = { 0 };
		_cleanup_free_ char *text = NULL;
		struct table *table;

		put_head(&view, "shop", 5, "", HTTP("shop.example", "/"));
		put_fact(&view, "m1", "shop", "a", rows[i].a, rows[i].address_a);
		if (rows[i].b)
			put_fact(&view, "m2", "shop", "b", rows[i].b, NULL);
		table = table_build(&view, 9, NULL, 0);
		text = servers_text(table, "shop/web/http");
		is(text, rows[i].expected, rows[i].name);
		table_free(table);
		view_clear(&view);
	}
}

static void test_conflicts(void)
{
	const int64_t taken[] = { 80 };
	struct view view = { 0 };
	struct table *table;

	put_head(&view, "late", 20, "",
		 HTTP("shop.example", "/api/") "," HTTP("late.example", "/"));
	put_head(&view, "early", 30, "\"committed\":10,",
		 HTTP("shop.example", "/api") "," TCP("http", 80));
	put_head(&view, "udp", 40, "", TCP("dns", 5353) "," TCP("http", 5432));
	table = table_build(&view, 40, taken, 1);
	is_int((long long)table->n_routes, 6, "every route is listed, served or not");
	is(table->routes[0].trouble, NULL, "the earlier commit has the route");
	is(table->routes[0].ns, "early", "by the sequence of the commit, not of the entry");
	is(table->routes[1].trouble, "port 80 is the HTTP gateway's own",
	   "the gateway's port is its own");
	is(table->routes[2].trouble, "shop.example/api is routed to early/web, which had it first",
	   "the later one is told who has it");
	is(table->routes[3].trouble, NULL, "its other route is served");
	is(table->routes[4].trouble, "port 'dns' is udp", "udp is not routed");
	is(table->routes[5].trouble, NULL, "tcp is");
	ok(table_backend(table, "udp/web/http/5432") != NULL, "with a backend of its own");
	table_free(table);
	view_clear(&view);
}

static void test_bad_entries(void)
{
	static const char bad[] = "{\"namespace\":\"shop\",\"revision\":\"many\"}";
	const char *subject = "ployz.v1.intent.namespace.shop";
	struct view view = { 0 };
	struct table *table;

	is_int(view_take(&view, "ployz.v1.intent.machine.m1", 1, "{}", 2), 0,
	       "other subjects are not ours");
	put_head(&view, "shop", 5, "", HTTP("shop.example", "/"));
	is_int(view_take(&view, subject, 6, bad, sizeof(bad) - 1), -EBADMSG,
	       "an entry that cannot be read");
	table = table_build(&view, 6, NULL, 0);
	is_int((long long)table->n_routes, 1, "leaves the last good one");
	ok(table->troubles && strstr(table->troubles[0], subject) &&
		   strstr(table->troubles[0], "revision"),
	   "and is named with its field: %s", table->troubles ? table->troubles[0] : "");
	table_free(table);
	is_int(view_take(&view, "ployz.v1.intent.instances.m1.shop", 7, "[", 1), -EBADMSG,
	       "so with facts");
	put_head(&view, "shop", 8, "", HTTP("shop.example", "/"));
	put_fact(&view, "m1", "shop", "a", "ready", NULL);
	table = table_build(&view, 8, NULL, 0);
	ok(!table->troubles, "a good entry ends the trouble");
	table_free(table);
	is_int(view_take(&view, subject, 9, NULL, 0), 1, "a namespace can go");
	table = table_build(&view, 9, NULL, 0);
	is_int((long long)table->n_routes, 0, "and its routes with it");
	table_free(table);
	view_clear(&view);
}

static void test_map(void)
{
	static const struct {
		const char *routes, *key, *value;
	} rows[] = {
		{ HTTP("shop.example", "/"), "shop.example/", "p3|0|shop/web/http" },
		{ HTTP_STRIP("shop.example", "/"), "shop.example/", "p3|0|shop/web/http" },
		{ HTTP("SHOP.example", "/api"), "shop.example/api/", "p3|0|shop/web/http" },
		{ HTTP_STRIP("shop.example", "/api/v1/"), "shop.example/api/v1/",
		  "p3|2|shop/web/http" },
		{ HTTP_STRIP("*.shop.example", "/api"), "*.shop.example/api/",
		  "p3|1|shop/web/http" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *key = NULL, *value = NULL;
		struct view view = { 0 };
		struct table *table;

		put_head(&view, "shop", 5, "", rows[i].routes);
		table = table_build(&view, 5, NULL, 0);
		if (table->n_backends == 1) {
			is(table_map_value(table, &table->routes[0]), NULL,
			   "no value without a slot");
			table->backends[0].slot = 3;
			key = table_map_key(&table->routes[0]);
			value = table_map_value(table, &table->routes[0]);
		}
		is(key, rows[i].key, rows[i].key);
		is(value, rows[i].value, rows[i].value);
		table_free(table);
		view_clear(&view);
	}
}

/* Whatever a head or a fact says: it becomes words of the proxy's configuration, or nothing. */
static void test_strange(void)
{
	static const struct {
		const char *slots, *servers;
	} rows[] = {
		{ "{\"slot\":0,\"instance\":\"a\",\"machine\":\"m\",\"address\":\"10.1.1.2\"},"
		  "{\"slot\":1,\"instance\":\"a\",\"machine\":\"m\",\"address\":\"10.1.1.3\"}",
		  "a 10.1.1.2" },
		{ "{\"slot\":0,\"instance\":\"a\",\"machine\":\"m\",\"address\":\"1.1.1."
		  "1\\n\\tbind *:1\"}",
		  "a (none)" },
		{ "{\"slot\":0,\"instance\":\"a\\nglobal\",\"machine\":\"m\",\"address\":\"10.1.1."
		  "2\"}",
		  "a\nglobal (none)" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct view view = { MAP_INIT, MAP_INIT, MAP_INIT };
		_cleanup_free_ char *text =
			xasprintf("{\"namespace\":\"s\",\"revision\":1,\"manifest\":{\"namespace\":"
				  "\"s\",\"services\":{"
				  "\"web\":{\"image\":\"x\"," PORTS ",\"routes\":[" HTTP(
					  "a.example",
					  "/") "]}}},"
					       "\"services\":[{\"name\":\"web\",\"slots\":[%s]}]}",
				  rows[i].slots);
		_cleanup_(strbuf_clear) struct strbuf seen = STRBUF_INIT;
		const struct table_backend *backend;
		struct table *table;

		view_take(&view, "ployz.v1.intent.namespace.s", 1, text, strlen(text));
		table = table_build(&view, 1, NULL, 0);
		backend = table_backend(table, "s/web/http");
		for (size_t j = 0; backend && j < backend->n_servers; j++)
			strbuf_printf(&seen, "%s%s %s", j ? ", " : "", backend->servers[j].instance,
				      backend->servers[j].address ? backend->servers[j].address
								  : "(none)");
		is(seen.text, rows[i].servers, "servers of a strange head");
		table_free(table);
		view_clear(&view);
	}
}

int main(void)
{
	test_states();
	test_conflicts();
	test_bad_entries();
	test_map();
	test_strange();
	return tap_done();
}
