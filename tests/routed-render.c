/* haproxy.cfg of a table: what is in it for each route, and what is not. */
#include "routed/routed.h"
#include "tests/tap.h"

static struct table *example(void)
{
	static const char text[] =
		"{\"routes\":[{\"key\":\"a.b/api\",\"kind\":\"http\",\"host\":\"a.b\",\"path\":\"/"
		"api\",\"strip\":true,"
		"\"owner\":\"n/w/h\"},"
		"{\"key\":\"c.d/\",\"kind\":\"http\",\"host\":\"c.d\",\"path\":\"/"
		"\",\"error\":\"another namespace has it\"}],"
		"\"backends\":[{\"owner\":\"n/w/h\",\"kind\":\"http\",\"slot\":2,\"servers\":["
		"{\"instance\":\"i1\",\"address\":\"10.0.0.1\",\"port\":80,\"state\":\"ready\"},"
		"{\"instance\":\"i2\",\"address\":\"10.0.0.2\",\"port\":80,\"state\":\"drain\"},"
		"{\"instance\":\"i3\",\"address\":\"10.0.0.3\",\"port\":80,\"state\":\"held\"},"
		"{\"instance\":\"i4\",\"port\":80,\"state\":\"ready\"}]},"
		"{\"owner\":\"n/db/sql/5432\",\"kind\":\"tcp\",\"listen\":5432,\"servers\":["
		"{\"instance\":\"d1\",\"address\":\"10.0.0.4\",\"port\":5432,\"state\":\"ready\"}]}"
		"]}";
	struct failure failure = FAILURE_INIT;
	void *table = NULL;

	if (codec_parse(&table_schema, text, sizeof(text) - 1, CODEC_STRICT, &table, &failure) < 0)
		printf("# %s: %s\n", failure.path, failure.message);
	failure_clear(&failure);
	return table;
}

static void test_config(void)
{
	static const char tail[] = "# Backends without a service wait for one: they cannot be made "
				   "while HAProxy runs.\n"
				   "backend p1\n"
				   "backend p2\n"
				   "\tserver i1 10.0.0.1:80\n"
				   "\tserver hold 127.0.0.1:1\n"
				   "backend p3\n"
				   "\n"
				   "# n/db/sql/5432\n"
				   "frontend listen-5432\n"
				   "\tmode tcp\n"
				   "\tbind 127.0.0.1:5432\n"
				   "\ttimeout client 1h\n"
				   "\tdefault_backend tcp-5432\n"
				   "backend tcp-5432\n"
				   "\tmode tcp\n"
				   "\ttimeout server 1h\n"
				   "\tserver d1 10.0.0.4:5432\n";
	static const char *const contained[] = {
		"\tstats socket /run/h.sock mode 600 level admin expose-fd listeners\n",
		"frontend gateway\n\tbind *:80\n\tbind 127.0.0.1:8080\n",
		"map_beg(/run/r.map)",
		"\tmode http\n\tbalance leastconn\n",
		"\tretries 30\n\toption redispatch 1\n\tretry-on conn-failure\n",
		"\thttp-request set-header X-Forwarded-For %[src]\n",
		"\thttp-request set-path \"/%[path,field(3,/,0)]\" if { var(txn.to),field(2,|)",
		"\ttimeout tunnel 1h\n",
	};
	char *binds[] = { (char *)"*:80", (char *)"127.0.0.1:8080", NULL };
	struct render render = { binds, "127.0.0.1", "/run/h.sock", "/run/r.map", 3 };
	_cleanup_(table_freep) struct table *table = example();
	_cleanup_free_ char *text = render_config(table, &render);
	const char *at = strstr(text, "# Backends without");

	is(at, tail,
	   "backends have what is open, and where requests wait; tcp listens have their own");
	for (size_t i = 0; i < ARRAY_SIZE(contained); i++)
		ok(strstr(text, contained[i]) != NULL, "has line %zu of what it must have", i + 1);
	free(text);
	table->backends[0].slot = 4;
	text = render_config(table, &render);
	ok(strstr(text, "backend p6\n") && !strstr(text, "backend p7\n"),
	   "a pool grows by whole pools");
}

static void test_map(void)
{
	_cleanup_(table_freep) struct table *table = example();
	_cleanup_free_ char *text = render_map(table);

	is(strchr(text, '\n') + 1, "a.b/api/ p2|1|n/w/h\n",
	   "the map has what is served, and not the route with an error");
}

static void test_binds(void)
{
	static const struct {
		const char *bind, *address;
		int64_t port;
	} rows[] = {
		{ "*:80", "*", 80 },	 { "127.0.0.1:8080", "127.0.0.1", 8080 },
		{ "::1:80", "::1", 80 }, { "80", NULL, 0 },
		{ ":80", NULL, 0 },	 { "*:0", NULL, 0 },
		{ "*:65536", NULL, 0 },	 { "*:http", NULL, 0 },
		{ "* ssl:80", NULL, 0 }, { "*:80 crt x", NULL, 0 },
		{ "", NULL, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *address = NULL;
		int64_t port = 0;
		int r = render_bind_parse(rows[i].bind, &address, &port);

		is_int(r, rows[i].address ? 0 : -EINVAL, rows[i].bind);
		is(address, rows[i].address, "  its address");
		if (r == 0)
			is_int(port, rows[i].port, "  its port");
	}
}

int main(void)
{
	test_config();
	test_map();
	test_binds();
	return tap_done();
}
