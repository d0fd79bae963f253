/* The commands for HAProxy that a table needs, given what HAProxy has; and reading its replies. */
#include "routed/routed.h"
#include "tests/tap.h"

#define MAP "/run/r.map"

/* A table in its own wire form, with apostrophes for quotes. */
static void *table_from(const char *text)
{
	_cleanup_free_ char *json = xstrdup(text);
	struct failure failure = FAILURE_INIT;
	void *table = NULL;

	for (char *c = json; *c; c++)
		if (*c == '\'')
			*c = '"';
	if (codec_parse(&table_schema, json, strlen(json), CODEC_STRICT, &table, &failure) < 0)
		printf("# %s: %s\n", failure.path, failure.message);
	failure_clear(&failure);
	return table;
}

#define ROUTE(key_host, owner_)                                                                  \
	"{'key':'" key_host "/','kind':'http','host':'" key_host "','path':'/','owner':'" owner_ \
	"'}"
#define SERVER(name, addr, state_) \
	"{'instance':'" name "','address':'" addr "','port':80,'state':'" state_ "'}"
#define BACKEND(owner_, slot_, servers_) \
	"{'owner':'" owner_ "','kind':'http','slot':" #slot_ ",'servers':[" servers_ "]}"
#define TABLE(routes_, backends_) "{'routes':[" routes_ "],'backends':[" backends_ "]}"

/* Servers of `show servers state`: admin state 0 ready, 1 maint, 8 drain. */
#define STATE(backend, name, addr, admin) \
	"3 " backend " 1 " name " " addr " 2 " admin " 1 1 0 1 0 0 0 0 0 0 - 80 - 0 0 - - 0\n"
#define USED(name, count) "p1," name ",0,0," count ",4,,17,0,0,,0,,0,0,0,0,DRAIN\n"
#define STAT_HEAD "# pxname,svname,qcur,qmax,scur,smax,slim,stot\n"

struct row {
	const char *name, *table, *servers, *connections, *map, *expected, *reload;
};

static const struct row rows[] = {
	{ "an empty table and an empty proxy", TABLE("", ""), "", "", "", "", NULL },
	{ "a first service",
	  TABLE(ROUTE("a.b", "n/w/h"), BACKEND("n/w/h", 0, SERVER("i1", "10.0.0.1", "ready"))), "",
	  "", "",
	  "add server p1/i1 10.0.0.1:80\nset server p1/i1 state ready\nadd map " MAP
	  " a.b/ p1|0|n/w/h\n",
	  NULL },
	{ "no difference",
	  TABLE(ROUTE("a.b", "n/w/h"), BACKEND("n/w/h", 0, SERVER("i1", "10.0.0.1", "ready"))),
	  STATE("p2", "i1", "10.0.0.1", "0"), "", "0x1 a.b/ p2|0|n/w/h\n", "", NULL },
	{ "nothing is ready: the hold server opens before the old one is drained",
	  TABLE(ROUTE("a.b", "n/w/h"), BACKEND("n/w/h", 0, SERVER("i1", "10.0.0.1", "held"))),
	  STATE("p2", "i1", "10.0.0.1", "0"), "", "0x1 a.b/ p2|0|n/w/h\n",
	  "add server p2/hold 127.0.0.1:1\nset server p2/hold state ready\n"
	  "set server p2/i1 state drain\n",
	  NULL },
	{ "an instance is ready: it opens before the hold server closes",
	  TABLE(ROUTE("a.b", "n/w/h"), BACKEND("n/w/h", 0, SERVER("i2", "10.0.0.2", "ready"))),
	  STATE("p2", "hold", "127.0.0.1", "0"), "", "0x1 a.b/ p2|0|n/w/h\n",
	  "add server p2/i2 10.0.0.2:80\nset server p2/i2 state ready\n"
	  "set server p2/hold state maint\n",
	  NULL },
	{ "an existing hold server is opened again",
	  TABLE(ROUTE("a.b", "n/w/h"), BACKEND("n/w/h", 0, SERVER("i1", "10.0.0.1", "held"))),
	  STATE("p2", "hold", "127.0.0.1", "1"), "", "0x1 a.b/ p2|0|n/w/h\n",
	  "set server p2/hold state ready\n", NULL },
	{ "a backend with only a hold server is free",
	  TABLE(ROUTE("a.b", "n/w/h"), BACKEND("n/w/h", 0, "")),
	  STATE("p1", "hold", "127.0.0.1", "1"), "", "", "add map " MAP " a.b/ p1|0|n/w/h\n",
	  NULL },
	{ "a switch: the new server opens before the old one is drained",
	  TABLE(ROUTE("a.b", "n/w/h"), BACKEND("n/w/h", 0, SERVER("i2", "10.0.0.2", "ready"))),
	  STATE("p1", "i1", "10.0.0.1", "0"), USED("i1", "4"), "0x1 a.b/ p1|0|n/w/h\n",
	  "add server p1/i2 10.0.0.2:80\nset server p1/i2 state ready\nset server p1/i1 state "
	  "drain\n",
	  NULL },
	{ "a draining server with connections is left alone",
	  TABLE(ROUTE("a.b", "n/w/h"), BACKEND("n/w/h", 0, SERVER("i2", "10.0.0.2", "ready"))),
	  STATE("p1", "i1", "10.0.0.1", "8") STATE("p1", "i2", "10.0.0.2", "0"), USED("i1", "1"),
	  "0x1 a.b/ p1|0|n/w/h\n", "", NULL },
	{ "connections to an ended instance are closed",
	  TABLE(ROUTE("a.b", "n/w/h"), BACKEND("n/w/h", 0, SERVER("i2", "10.0.0.2", "ready"))),
	  STATE("p1", "i3", "10.0.0.1", "8") STATE("p1", "i2", "10.0.0.2", "0"), USED("i3", "1"),
	  "0x1 a.b/ p1|0|n/w/h\n", "shutdown sessions server p1/i3\n", NULL },
	{ "a drained server is deleted",
	  TABLE(ROUTE("a.b", "n/w/h"), BACKEND("n/w/h", 0, SERVER("i2", "10.0.0.2", "ready"))),
	  STATE("p1", "i1", "10.0.0.1", "8") STATE("p1", "i2", "10.0.0.2", "0"), USED("i1", "0"),
	  "0x1 a.b/ p1|0|n/w/h\n", "set server p1/i1 state maint\ndel server p1/i1\n", NULL },
	{ "a restarted instance with another address",
	  TABLE(ROUTE("a.b", "n/w/h"), BACKEND("n/w/h", 0, SERVER("i1", "10.0.0.9", "ready"))),
	  STATE("p1", "i1", "10.0.0.1", "8"), "", "0x1 a.b/ p1|0|n/w/h\n",
	  "set server p1/i1 addr 10.0.0.9 port 80\nset server p1/i1 state ready\n", NULL },
	{ "an instance that is no longer ready",
	  TABLE(ROUTE("a.b", "n/w/h"), BACKEND("n/w/h", 0, SERVER("i1", "10.0.0.1", "down"))),
	  STATE("p1", "i1", "10.0.0.1", "0"), "", "0x1 a.b/ p1|0|n/w/h\n",
	  "set server p1/i1 state drain\n", NULL },
	{ "one route moves to another service, one is deleted",
	  TABLE(ROUTE("a.b", "n/v/h"), BACKEND("n/v/h", 0, "")), "", "",
	  "0x1 a.b/ p1|0|n/w/h\n0x2 c.d/ p1|0|n/w/h\n",
	  "set map " MAP " a.b/ p2|0|n/v/h\ndel map " MAP " c.d/\n", NULL },
	{ "the pool is exhausted",
	  TABLE(ROUTE("a.b", "n/w/h") "," ROUTE("c.d", "n/v/h") "," ROUTE("e.f", "n/u/h"),
		BACKEND("n/w/h", 0, "") "," BACKEND("n/v/h", 0, "") "," BACKEND("n/u/h", 0, "")),
	  "", "", "0x1 a.b/ p1|0|n/w/h\n0x2 c.d/ p2|0|n/v/h\n", "",
	  "the pool has no backend left for n/u/h" },
	{ "a new tcp port", "{'backends':[{'owner':'n/w/h/5432','kind':'tcp','listen':5432}]}", "",
	  "", "", "", "port 5432 is new" },
};

static void test_diffs(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *servers =
			xasprintf("1\n# be_id be_name\n%s\n", rows[i].servers);
		_cleanup_free_ char *used = xasprintf(STAT_HEAD "%s", rows[i].connections);
		_cleanup_(table_freep) struct table *table = table_from(rows[i].table);
		struct actual actual = { 0 };
		struct diff diff = { 0 };
		struct strbuf text = STRBUF_INIT;

		actual_read_backends(&actual, "# name\np1\np2\n");
		if (actual_read_servers(&actual, servers) ||
		    actual_read_connections(&actual, used) || actual_read_map(&actual, rows[i].map))
			printf("# unreadable\n");
		diff_assign(table, &actual, NULL);
		/* i1 drains, i3 has ended. */
		strv_push(&table->ended, xstrdup("i3"));
		diff_make(table, &actual, MAP, &diff);
		for (size_t j = 0; j < strv_count(diff.commands); j++)
			strbuf_printf(&text, "%s\n", diff.commands[j]);
		is(text.text ? text.text : "", rows[i].expected, rows[i].name);
		is(diff.reload, rows[i].reload, "  its reload");
		strbuf_clear(&text);
		diff_clear(&diff);
		actual_clear(&actual);
	}
}

static void test_replies(void)
{
	static const struct {
		int (*read)(struct actual *, const char *);
		const char *reply;
		int expected;
		const char *name;
	} replies[] = {
		{ actual_read_info,
		  "Name: HAProxy\nVersion: 3.0.1\nPid: 77\nUptime_sec: 5\nStopping: 0\n", 0,
		  "info" },
		{ actual_read_info, "Name: HAProxy\n", -EBADMSG, "info without a process" },
		{ actual_read_info, "", -EBADMSG, "no info" },
		{ actual_read_backends, "Permission denied", -EBADMSG, "no backends" },
		{ actual_read_servers, "2\n", -EBADMSG, "another version of the state" },
		{ actual_read_servers, "1\n3 p1 1 s1\n", -EBADMSG, "a short line" },
		{ actual_read_connections, STAT_HEAD "p1,i1,0,0,many,4\n", -EBADMSG,
		  "sessions that are no number" },
		{ actual_read_connections, STAT_HEAD "p1,i1,0\n", -EBADMSG,
		  "a short line of sessions" },
		{ actual_read_connections, "", -EBADMSG, "no sessions" },
		{ actual_read_map, "Unknown map identifier. Please use #<id> or <file>.\n",
		  -EBADMSG, "no map" },
		{ actual_read_map, "0x1 onlykey\n", -EBADMSG, "a map without a value" },
		{ actual_read_map, "\n", 0, "an empty map" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(replies); i++) {
		struct actual actual = { 0 };

		is_int(replies[i].read(&actual, replies[i].reply), replies[i].expected,
		       replies[i].name);
		actual_clear(&actual);
	}
}

int main(void)
{
	test_diffs();
	test_replies();
	return tap_done();
}
