/* The routing table of a view: which servers are open, and what one bad route does. */
#include "tests/routed-view.h"

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
		{ "unready", NULL, "failed", "down 10.101.1.2:8080, down 10.101.2.2:8080",
		  "unready is not waited for" },
		{ "failed", NULL, "gone", "down 10.101.1.2:8080, down 10.101.2.2:8080",
		  "nothing to hold" },
		{ "ready", NULL, NULL, "ready 10.101.1.2:8080, down 10.101.2.2:8080",
		  "no fact is down" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct view view = { 0 };
		_cleanup_free_ char *text = NULL;
		struct table *table;

		put_head(&view, "shop", "", HTTP("shop.example/", "shop.example", "/"));
		put_fact(&view, "m1", "shop", "a", rows[i].a, rows[i].address_a);
		if (rows[i].b)
			put_fact(&view, "m2", "shop", "b", rows[i].b, NULL);
		table = build(&view);
		text = servers_text(table, "shop/web/http");
		is(text, rows[i].expected, rows[i].name);
		table_free(table);
		view_clear(&view);
	}
}

/* An open deploy may have resumed the instance that is not ready yet. */
static void test_resumed(void)
{
	_cleanup_(table_freep) struct table *table = NULL;
	_cleanup_free_ char *text = NULL;
	struct view view = { 0 };

	put_head(&view, "shop", "\"open\":{\"deploy\":\"d\",\"epoch\":1},",
		 HTTP("shop.example/", "shop.example", "/"));
	put_fact(&view, "m1", "shop", "a", "unready", NULL);
	put_fact(&view, "m2", "shop", "b", "failed", NULL);
	table = build(&view);
	text = servers_text(table, "shop/web/http");
	is(text, "held 10.101.1.2:8080, down 10.101.2.2:8080",
	   "unready is waited for while a deploy is open");
	view_clear(&view);
}

/* The port that an instance reports, and one backend for all routes to a port. */
static void test_ports(void)
{
	static const char facts[] =
		"{\"machine\":\"m1\",\"namespace\":\"shop\",\"instances\":[{\"id\":\"shop-a\","
		"\"namespace\":\"shop\",\"service\":\"web\",\"state\":\"ready\","
		"\"ports\":{\"dns\":{\"port\":1},\"http\":{\"port\":9090}}}]}";
	_cleanup_(table_freep) struct table *table = NULL;
	_cleanup_free_ char *text = NULL;
	struct view view = { 0 };

	put_head(&view, "shop", "",
		 HTTP("shop.example/", "shop.example",
		      "/") "," HTTP("b.example/", "b.example",
				    "/") "," TCP("http", 5432) "," TCP("http", 5433));
	take(&view, "ployz.v1.facts.m1.shop", 1, facts);
	table = build(&view);
	text = servers_text(table, "shop/web/http");
	is(text, "ready 10.101.1.2:9090, down 10.101.2.2:8080",
	   "the port of the fact wins over the head's");
	is_int((long long)table->n_backends, 3,
	       "HTTP routes to a port share a backend, each tcp route has its own");
	is(table->routes[1].owner, "shop/web/http", "which both name");
	is(table->routes[3].owner, "shop/web/http/5433", "by port, and listening port");
	view_clear(&view);
}

/* What a machine that was removed last reported counts as absent. */
static void test_removed(void)
{
	static const struct {
		const char *life_cycle, *expected;
		size_t ended;
	} rows[] = {
		{ "active", "ready 10.101.1.9:8080, down 10.101.2.2:8080", 1 },
		{ "draining", "ready 10.101.1.9:8080, down 10.101.2.2:8080", 1 },
		{ "standby", "ready 10.101.1.9:8080, down 10.101.2.2:8080", 1 },
		{ "removed", "down 10.101.1.2:8080, down 10.101.2.2:8080", 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct view view = { 0 };
		_cleanup_(table_freep) struct table *table = NULL;
		_cleanup_free_ char *text = NULL;

		put_head(&view, "shop", "", HTTP("shop.example/", "shop.example", "/"));
		put_fact(&view, "m1", "shop", "a", "ready", "10.101.1.9");
		put_fact(&view, "m1", "other", "x", "gone", NULL);
		put_member(&view, "m1", rows[i].life_cycle);
		table = build(&view);
		text = servers_text(table, "shop/web/http");
		is(text, rows[i].expected, rows[i].life_cycle);
		is_int((long long)strv_count(table->ended), (long long)rows[i].ended,
		       "  and its ended instances");
		view_clear(&view);
	}
}

/* Each of these routes stands in one head beside a good one, which is served in any case. */
static void test_unserved(void)
{
	static const struct {
		const char *route, *error;
	} rows[] = {
		{ TCP("http", 80), "port 80 is the HTTP gateway's own" },
		{ TCP("dns", 5353), "port 'dns' is udp" },
		{ TCP("none", 5353), "service web has no port 'none'" },
		{ TCP("http", 5432), NULL },
		{ "{\"key\":\"tcp/1\",\"service\":\"db\",\"port\":\"http\",\"listen\":1}",
		  "the head has no service db" },
		{ ROUTE("tcp/5432", "http", "\"listen\":5433"),
		  "the head names it tcp/5432, not tcp/5433" },
		{ ROUTE("mine.example/", "http", "\"strip\":true"),
		  "it names neither a host nor a port to listen on" },
		{ HTTP("mine.example/", "yours.example", "/"),
		  "the head names it mine.example/, not yours.example/" },
		{ HTTP("mine.example/", "mine.example", "/api"),
		  "the head names it mine.example/, not mine.example/api" },
		{ HTTP("a_b.example/", "a_b.example", "/"), "'a_b.example' is not a host name" },
		{ HTTP("b.example/x y", "b.example", "/x y"), "'/x y' is not a path" },
		{ HTTP("b.example/x|y", "b.example", "/x|y"), "'/x|y' is not a path" },
		{ HTTP("b.examplex", "b.example", "x"), "'x' is not a path" },
		{ HTTP("b.example/\\u007f", "b.example", "/\\u007f"), "'/\x7f' is not a path" },
		{ HTTP_STRIP("b.example/1/2/3/4/5/6/7/8", "b.example", "/1/2/3/4/5/6/7/8"), NULL },
		{ HTTP_STRIP("b.example/1/2/3/4/5/6/7/8/9", "b.example", "/1/2/3/4/5/6/7/8/9"),
		  "strip removes at most 8 segments, /1/2/3/4/5/6/7/8/9 has 9" },
		{ HTTP("b.example/1/2/3/4/5/6/7/8/9", "b.example", "/1/2/3/4/5/6/7/8/9"), NULL },
		{ HTTP("shop.example/", "shop.example", "/"),
		  "the head names it twice; it is served by shop/web" },
		{ HTTP("taken.example/", "taken.example", "/"),
		  "namespace other has claimed taken.example" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *routes = xasprintf(
			"%s,%s", HTTP("shop.example/", "shop.example", "/"), rows[i].route);
		_cleanup_(table_freep) struct table *table = NULL;
		struct view view = { 0 };

		put_claim(&view, "taken.example", "other");
		put_head(&view, "shop", "", routes);
		table = build(&view);
		is_int((long long)table->n_routes, 2, "every route is listed, served or not");
		if (table->n_routes == 2) {
			is(table->routes[0].error, NULL, "  the good one is served");
			is(table->routes[1].error, rows[i].error, rows[i].route);
			ok(!table->routes[1].owner == (rows[i].error != NULL),
			   "  it has a backend if it is served");
		}
		view_clear(&view);
	}
}

/* Two heads with one route: the claim decides, not the order of commits. */
static void test_conflict(void)
{
	static const struct {
		const char *holder, *owner, *other;
	} rows[] = {
		{ "early", "early/web/http", "late/web/http" },
		{ "late", "late/web/http", "early/web/http" },
		{ NULL, NULL, NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_(table_freep) struct table *table = NULL;
		struct view view = { 0 };

		put_claim(&view, "h.example", rows[i].holder ? rows[i].holder : "nobody");
		put_head(&view, "early", "\"committed\":10,", HTTP("h.example/", "h.example", "/"));
		put_head(&view, "late", "\"committed\":20,", HTTP("h.example/", "h.example", "/"));
		table = build(&view);
		is_int((long long)table->n_backends, rows[i].owner != NULL,
		       "one backend for the claimant");
		ok(!rows[i].owner || table_backend(table, rows[i].owner), "  it is that of %s",
		   rows[i].owner ? rows[i].owner : "none");
		ok(!table_backend(table, rows[i].other), "  and not the other's");
		view_clear(&view);
	}
}

static void test_uncommitted(void)
{
	static const char head[] =
		"{\"namespace\":\"shop\",\"revision\":0,\"open\":{\"deploy\":\"d\",\"epoch\":1},"
		"\"services\":[{\"name\":\"web\"," PORTS
		"}],\"routes\":[" HTTP("shop.example/", "shop.example", "/") "]}";
	_cleanup_(table_freep) struct table *table = NULL;
	struct view view = { 0 };

	put_claim(&view, "shop.example", "shop");
	take(&view, "ployz.v1.intent.namespace.shop", 1, head);
	table = build(&view);
	is_int((long long)table->n_routes, 0, "what was never committed is not routed");
	view_clear(&view);
}

static void test_map(void)
{
	static const struct {
		const char *routes, *key, *value;
	} rows[] = {
		{ HTTP("shop.example/", "shop.example", "/"), "shop.example/",
		  "p3|0|shop/web/http" },
		{ HTTP_STRIP("shop.example/", "shop.example", "/"), "shop.example/",
		  "p3|0|shop/web/http" },
		{ HTTP("az.example/api", "AZ.example", "/api"), "az.example/api/",
		  "p3|0|shop/web/http" },
		{ HTTP("shop.example/api", "SHOP.example", "/api"), "shop.example/api/",
		  "p3|0|shop/web/http" },
		{ HTTP_STRIP("shop.example/api/v1", "shop.example", "/api/v1/"),
		  "shop.example/api/v1/", "p3|2|shop/web/http" },
		{ HTTP_STRIP("*.shop.example/api", "*.shop.example", "/api"), "*.shop.example/api/",
		  "p3|1|shop/web/http" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *key = NULL, *value = NULL;
		struct view view = { 0 };
		struct table *table;

		put_head(&view, "shop", "", rows[i].routes);
		table = build(&view);
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

/* Heads and facts with strange contents: only valid names and addresses get traffic. */
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
		_cleanup_free_ char *text = xasprintf(
			"{\"namespace\":\"s\",\"revision\":1,\"services\":[{\"name\":"
			"\"web\"," PORTS
			",\"slots\":[%s]}],\"routes\":[" HTTP("a.example/", "a.example", "/") "]}",
			rows[i].slots);
		_cleanup_(strbuf_clear) struct strbuf seen = STRBUF_INIT;
		const struct table_backend *backend;
		struct view view = { 0 };
		struct table *table;

		take(&view, "ployz.v1.intent.namespace.s", 1, text);
		put_claim(&view, "a.example", "s");
		table = build(&view);
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
	test_resumed();
	test_ports();
	test_removed();
	test_unserved();
	test_conflict();
	test_uncommitted();
	test_map();
	test_strange();
	return tap_done();
}
