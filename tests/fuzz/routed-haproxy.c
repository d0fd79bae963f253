/* The whole of routed except its sockets and files, against an HAProxy (and its master) with
 * arbitrary answers. What routed sends are single commands, and the same rules hold for its
 * configuration; nothing is confirmed that HAProxy does not have or that is not saved.
 *
 * Steps of one byte: replies (good, good except for some bytes, or arbitrary), the end of a
 * session, an entry, a request, a timer.
 *
 * covers: routed/sync.c routed/actual.c routed/diff.c routed/bus.c routed/waiters.c routed/follow.c
 *
 * options: -max_len=300 -len_control=0 */
#include "tests/fuzz/fake/calls.h"
#include "tests/fuzz/fake/log.h"
#include "tests/fuzz/fake/loop.h"
#include "tests/fuzz/fake/projection.h"
#include "tests/fuzz/gateway.h"

#define STEPS_MAX 14
#define SOCKET "/run/haproxy.sock"
#define MASTER "/run/haproxy-master.sock"
#define ROUTES_MAP "/run/routes.map"

static char *const binds[] = { (char *)"*:80", NULL };
static const struct routed_config config = {
	.daemon = { .machine = (char *)"m1", .state = (char *)"/nonexistent" },
	.gateway_http = (char **)binds,
	.gateway_address = (char *)"*",
	.pool = 2,
};

/* ---- sessions and files ---- */

struct session {
	char **commands;
	bool master;
	session_fn fn;
	void *userdata;
};
static struct session *session_open;

static void session_new(char **commands, bool master, session_fn fn, void *userdata,
			struct session **ret)
{
	/* One session at a time. */
	HOLDS(!session_open);
	session_open = xcalloc(1, sizeof(*session_open));
	*session_open = (struct session){ commands, master, fn, userdata };
	for (char **command = commands; command && *command; command++)
		if (!master)
			holds_command(*command);
	*ret = session_open;
}

void haproxy_session(_unused_ sd_event *loop, const char *socket, char *const *commands,
		     session_fn fn, void *userdata, struct session **ret)
{
	HOLDS(streq(socket, SOCKET) && commands && *commands);
	session_new(strv_copy(commands), false, fn, userdata, ret);
}

void haproxy_master(_unused_ sd_event *loop, const char *socket, const char *command, session_fn fn,
		    void *userdata, struct session **ret)
{
	char **commands = NULL;

	HOLDS(streq(socket, MASTER));
	strv_push(&commands, xstrdup(command));
	session_new(commands, true, fn, userdata, ret);
}

void session_free(struct session *session)
{
	if (!session)
		return;
	if (session == session_open)
		session_open = NULL;
	strv_free(session->commands);
	free(session);
}

/* Its end is reported before it is freed; another may have begun by then. */
static void session_end(int error, char *const *replies)
{
	_cleanup_(session_freep) struct session *session = session_open;

	if (!session)
		return;
	session_open = NULL;
	session->fn(error, error ? NULL : replies, session->userdata);
}

void daemon_status(_unused_ struct daemon *daemon, const char *format, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list args;

	va_start(args, format);
	text = xvasprintf(format, args);
	va_end(args);
}

void prepare_paths(struct routed *routed)
{
	routed->socket = xstrdup(SOCKET);
	routed->master = xstrdup(MASTER);
	routed->map_path = xstrdup(ROUTES_MAP);
}

struct table *prepare_saved(_unused_ const struct routed_config *of, _unused_ json_t **ret_entries)
{
	return codec_new(&table_schema);
}

/* Whether files can be written, and whether a port has become free; an input changes them. */
static bool disk_full, listen_free;

int prepare_write(struct routed *routed)
{
	HOLDS(routed->table && routed->loaded);
	return 0;
}

int prepare_save(struct routed *routed)
{
	free(steal(routed->files_error));
	if (disk_full) {
		routed->files_error = xstrdup("cannot write it");
		return -ENOSPC;
	}
	routed->saved = routed->version;
	routed->saved_usec = boot_now_usec();
	routed->rewritten = false;
	return 0;
}

bool prepare_listen_is_free(_unused_ const struct routed *routed)
{
	return listen_free;
}

void prepare_check_listens(_unused_ struct routed *routed)
{
}

/* ---- HAProxy ---- */

#define SERVER(backend, name, address, admin, port)                                     \
	"3 " backend " 1 " name " " address " 2 " admin " 1 1 10 6 3 7 6 0 0 0 - " port \
	" - 0 0 - - 0\n"

static const struct {
	const char *command; /* its beginning */
	const char *reply;
} goods[] = {
	{ "show info", "Name: HAProxy\nVersion: 2.6.12\nPid: 100\nUptime_sec: 5\nStopping: 0\n" },
	{ "show info", "Name: HAProxy\nVersion: 2.6.12\nPid: 101\nUptime_sec: 0\n" },
	{ "show info", "Pid: 100\nStopping: 1\n" },
	{ "show backend", "# name\np1\np2\ntcp-5432\n" },
	{ "show backend", "# name\np1\np2\n" },
	{ "show servers", "1\n# be_id be_name srv_id srv_name srv_addr\n" },
	{ "show servers", "1\n" SERVER("p1", "i1", "10.101.1.2", "0", "80")
				  SERVER("tcp-5432", "i2", "10.101.2.2", "8", "80") },
	{ "show servers", "1\n" SERVER("p2", "i1", "10.101.1.2", "1", "80")
				  SERVER("p1", "old", "10.101.1.9", "0", "80") },
	{ "show stat", "# pxname,svname,qcur,qmax,scur,smax\n" },
	{ "show stat", "# pxname,svname,qcur,qmax,scur,smax\np1,i1,0,0,2,3,\np1,old,0,0,0,3,\n" },
	{ "show map", "" },
	{ "show map",
	  "0x1 shop.example/ p1|0|shop/web/http\n0x2 old.example/ p2|0|old/web/http\n" },
	{ "add server", "New server registered.\n" },
	{ "show proc", "#<PID> <type>\n1 master 0\n# workers\n100 worker 1\n# old workers\n99 "
		       "worker 2\n98 worker 3\n" },
	{ "show proc", "# workers\n100 worker 1\n" },
	{ "@!", "# pxname,svname,qcur,qmax,scur,\np1,i1,0,0,1,\n" },
	{ "reload", "Success=1\n" },
	{ "reload", "Success=0\nit cannot\n" },
};

static char *good_reply(const char *command, uint8_t which)
{
	const char *found[ARRAY_SIZE(goods)];
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(goods); i++)
		if (str_starts(command, goods[i].command))
			found[n++] = goods[i].reply;
	if (strstr(command, " addr "))
		return xstrdup("IP changed from 1.1.1.1 to 1.1.1.2\n");
	return xstrdup(n ? found[which % n] : "");
}

/* Replies are text: where there is a zero byte, there is the end. */
static char *splice(struct cursor *c, const char *good)
{
	size_t size = strlen(good), at = cursor_byte(c) % (size + 1), gone = cursor_byte(c) % 32;
	_cleanup_free_ char *bytes = cursor_string(c);

	gone = MIN2(gone, size - at);
	return xasprintf("%.*s%s%s", (int)at, good, bytes, good + at + gone);
}

static void reply(struct cursor *c, uint8_t step)
{
	_cleanup_(strv_freep) char **replies = NULL;
	uint8_t which = cursor_byte(c), spoilt = cursor_byte(c);
	size_t i = 0, n = session_open ? strv_count(session_open->commands) : 0;

	for (; i < n; i++) {
		_cleanup_free_ char *good = good_reply(session_open->commands[i], which);

		if (step % 4 == 0 && i == spoilt % n)
			strv_push(&replies, splice(c, good));
		else if (step % 16 == 1)
			strv_push(&replies, cursor_string(c));
		else
			strv_push(&replies, steal(good));
		which = (uint8_t)(which >> 1 | which << 7);
	}
	session_end(0, replies);
}

/* ---- entries and requests ---- */

#define HEAD(ns, routes)                                                                          \
	"{\"namespace\":\"" ns "\",\"revision\":1,\"services\":[{\"name\":\"web\",\"ports\":{"    \
	"\"http\":{\"port\":80}},\"slots\":[{\"slot\":0,\"instance\":\"i1\",\"machine\":\"m1\"}," \
	"{\"slot\":1,\"instance\":\"i2\",\"machine\":\"m1\"}]}],\"routes\":[" routes "]}"
#define HTTP(name)                                                                      \
	"{\"key\":\"" name "/\",\"service\":\"web\",\"port\":\"http\",\"host\":\"" name \
	"\",\"path\":"                                                                  \
	"\"/\"}"
#define TCP ",{\"key\":\"tcp/5432\",\"service\":\"web\",\"port\":\"http\",\"listen\":5432}"
#define CLAIM(key, ns) \
	"{\"key\":\"" key "\",\"namespace\":\"" ns "\",\"deploy\":\"d1\",\"epoch\":1}"
#define FACT(id, state)                                                                    \
	"{\"id\":\"" id "\",\"namespace\":\"shop\",\"service\":\"web\",\"state\":\"" state \
	"\",\"address\":\"10.101.1.2\"}"

static const struct {
	const char *subject, *data;
} entries[] = {
	{ "ployz.v1.intent.namespace.shop", HEAD("shop", HTTP("shop.example")) },
	{ "ployz.v1.intent.namespace.shop", HEAD("shop", HTTP("shop.example") TCP) },
	{ "ployz.v1.intent.namespace.shop", NULL },
	{ "ployz.v1.intent.namespace.shop", "{" },
	{ "ployz.v1.intent.namespace.blog", HEAD("blog", HTTP("blog.example")) },
	{ "ployz.v1.intent.namespace.more",
	  HEAD("more", HTTP("shop.example") "," HTTP("more.example")) },
	{ "ployz.v1.intent.route.shop%2Eexample", CLAIM("shop.example", "shop") },
	{ "ployz.v1.intent.route.shop%2Eexample", CLAIM("shop.example", "more") },
	{ "ployz.v1.intent.route.tcp%2F5432", CLAIM("tcp/5432", "shop") },
	{ "ployz.v1.intent.route.blog%2Eexample", CLAIM("blog.example", "blog") },
	{ "ployz.v1.facts.m1.shop",
	  "{\"machine\":\"m1\",\"namespace\":\"shop\",\"instances\":[" FACT("i1", "ready") "," FACT(
		  "i2", "unready") "]}" },
	{ "ployz.v1.facts.m1.shop",
	  "{\"machine\":\"m1\",\"namespace\":\"shop\",\"instances\":[" FACT(
		  "i1", "draining") "," FACT("i2", "ready") "]}" },
	{ "ployz.v1.intent.member.m1", "{\"id\":\"m1\",\"life_cycle\":\"removed\"}" },
};

static const struct {
	enum subject_id subject;
	const char *request;
} questions[] = {
	{ SUBJECT_ROUTED_APPLIED, "{}" },
	{ SUBJECT_ROUTED_APPLIED,
	  "{\"namespace\":\"shop\",\"wanted\":{\"generation\":1,\"intent\":3,"
	  "\"facts\":3}}" },
	{ SUBJECT_ROUTED_APPLIED, "{\"wanted\":{\"generation\":2,\"intent\":1,\"facts\":1}}" },
	{ SUBJECT_ROUTED_DRAINED, "{\"instances\":[\"i1\",\"old\"],\"wait_ms\":3600000}" },
	{ SUBJECT_ROUTED_DRAINED, "{\"instances\":[\"i1\"],\"wait_ms\":0}" },
	{ SUBJECT_ROUTED_ROUTES, "{}" },
};

static void take_entry(struct routed *routed, uint8_t which, uint64_t sequence)
{
	const struct projection *projection = routed->projection;
	const char *data = entries[which % ARRAY_SIZE(entries)].data;

	projection->ops->entry(entries[which % ARRAY_SIZE(entries)].subject, sequence, data,
			       data ? strlen(data) : 0, projection->userdata);
	if (which & 128)
		projection->ops->settled(
			&(struct watermark){ 1, (int64_t)sequence, (int64_t)sequence },
			projection->userdata);
}

static void question(uint8_t which)
{
	static json_t *known[ARRAY_SIZE(questions)];

	which %= ARRAY_SIZE(questions);
	if (!known[which])
		known[which] = json_loads(questions[which].request, 0, NULL);
	fake_call(questions[which].subject, known[which]);
}

/* A table is only built of a complete view. */
static void tick(struct routed *routed)
{
	uint64_t version = routed->version;

	fake_tick();
	HOLDS(!routed->partial || routed->version == version);
}

static void holds_marks(const struct routed *routed)
{
	HOLDS(routed->applied.version <= routed->reached.version);
	HOLDS(routed->applied.version <= routed->saved);
	HOLDS(routed->reached.version <= routed->syncing.version);
	HOLDS(routed->syncing.version <= routed->version);
}

static void step(struct routed *routed, struct cursor *c, uint64_t sequence)
{
	uint8_t step = cursor_byte(c);

	if (step < 144)
		reply(c, step);
	else if (step < 160)
		session_end(step & 1 ? -ECONNRESET : -EBADMSG, NULL);
	else if (step < 192)
		take_entry(routed, cursor_byte(c), sequence);
	else if (step < 206)
		question(cursor_byte(c));
	else if (step == 206)
		disk_full = !disk_full;
	else if (step == 207)
		listen_free = !listen_free;
	else
		tick(routed);
	holds_marks(routed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct daemon daemon = { .name = "routed", .config = &config.daemon };
	struct cursor c = { data, data + size };
	struct routed *routed = routed_new(&daemon, &config);

	disk_full = listen_free = false;
	HOLDS(routed_start(routed) == 0);
	for (uint64_t steps = 1; cursor_left(&c) && steps < STEPS_MAX; steps++)
		step(routed, &c, steps);
	json_decref(fake_status(fake_server));
	/* Each step is the last one of another input. */
	if (routed->loaded)
		holds_table(routed->table, &(struct render){ config.gateway_http, "*", SOCKET,
							     ROUTES_MAP, config.pool });
	routed_free(routed);
	HOLDS(!session_open && !fake_calls);
	fake_loop_end();
	return 0;
}
