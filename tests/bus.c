/* Endpoints and requests: what a daemon answers to requests, good and bad, and what a client makes
 * of the answers. */
#include <arpa/inet.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/model/agent.h"
#include "lib/model/deploy.h"
#include "lib/model/lease.h"
#include "lib/str.h"
#include "tests/fuzz/fake/bus.h"
#include "tests/fuzz/fake/log.h"
#include "tests/lib/blocks.h"
#include "tests/tap.h"

#define OWN "ployz.v1.m1.leased."
#define ALL "ployz.v1.all.leased."

static struct bus_call *call;
static size_t calls;
static char *asked; /* the namespace of the last request */

static void on_show(struct bus_call *c, void *request, void *userdata)
{
	const struct lease_ref *ref = request;

	HOLDS(userdata == &calls && request == bus_call_request(c));
	calls++;
	free(asked);
	asked = xstrdup(ref->ns);
	call = c;
}

static void on_list(struct bus_call *c, _unused_ void *request, _unused_ void *userdata)
{
	calls++;
	call = c;
}

static const struct bus_endpoint endpoints[] = {
	{ SUBJECT_LEASE_SHOW, on_show },
	{ SUBJECT_LEASE_LIST, on_list },
};

static json_t *status(void *userdata)
{
	HOLDS(userdata == &calls);
	return json_pack("{s:s}", "state", "good");
}

static long blocks;
static bool warm; /* what libraries allocate once is allocated */

static void begin(bus_status_fn fn)
{
	blocks = blocks_live;
	calls = 0;
	call = NULL;
	ok(bus_serve(&fake_bus, "leased", "m1", endpoints, ARRAY_SIZE(endpoints), fn, &calls) == 0,
	   "endpoints are served");
}

static void end(void)
{
	bus_services_free(&fake_bus);
	while (fake_subscriptions)
		bus_subscription_free(fake_subscriptions);
	free(steal(asked));
	fake_bus_end();
	fake_loop_end();
	HOLDS(blocks_live == blocks || !warm);
}

static struct bus_subscription *listener(const char *subject)
{
	struct bus_subscription *sub = fake_subscriptions;

	while (sub && !streq(sub->subject, subject))
		sub = sub->next;
	return sub;
}

static void ask(const char *pattern, const char *subject, const char *reply, const char *text)
{
	HOLDS(listener(pattern));
	fake_last_clear();
	fake_deliver(listener(pattern), subject, reply, NULL, text, strlen(text));
}

static void ask_own(const char *verb, const char *text)
{
	_cleanup_free_ char *subject = xasprintf(OWN "%s", verb);

	ask(OWN ">", subject, "_INBOX.y.1", text);
}

/* The text at a path of the last message: `ok/state`. NULL: it is not there. */
static char *got(const char *where)
{
	_cleanup_json_ json_t *json = fake_last.data ? json_loads(fake_last.data, 0, NULL) : NULL;
	_cleanup_(strv_freep) char **words = strv_split(where, "/");
	const json_t *at = json;

	for (char **word = words; word && *word; word++)
		at = json_is_array(at) ? json_array_get(at, strtoul(*word, NULL, 10))
				       : json_object_get(at, *word);
	return json_is_string(at)    ? xstrdup(json_string_value(at))
	       : json_is_integer(at) ? xasprintf("%lld", (long long)json_integer_value(at))
	       : json_is_object(at)  ? xasprintf("{%zu}", json_object_size(at))
	       : json_is_array(at)   ? xasprintf("[%zu]", json_array_size(at))
				     : NULL;
}

static void is_at(const char *where, const char *expected, const char *name)
{
	_cleanup_free_ char *text = got(where);

	is(text, expected, name);
}

static void has_at(const char *where, const char *part, const char *name)
{
	_cleanup_free_ char *text = got(where);

	if (!ok(text && strstr(text, part), "%s", name))
		printf("# got: %s\n", text ? text : "nothing");
}

static void test_requests(void)
{
	struct lease_view view = { .lease = { .ns = (char *)"shop", .epoch = 7 }, .revision = 12 };
	struct failure failure = FAILURE_INIT;

	begin(status);
	ok(listener(OWN ">") && listener(ALL ">") && listener("$SRV.>"), "on three subjects");
	ask_own("lease.show", "{\"namespace\":\"shop\"}");
	ok(calls == 1 && call && streq(asked, "shop") && !fake_last.data,
	   "a request reaches its handler, decoded; the answer may come later");
	bus_call_ok(call, &view);
	is(fake_last.subject, "_INBOX.y.1", "the answer goes to the reply subject");
	is_at("ok/lease/epoch", "7", "encoded");
	is_at("error", NULL, "it is no error");
	ok(!fake_last.keys[0], "and has no headers");

	ask(ALL ">", ALL "lease.show", "_INBOX.y.2", "{\"namespace\":\"shop\"}");
	bus_call_ok(call, NULL);
	ok(calls == 2 && streq(fake_last.data, "{\"ok\":{}}"), "one to all machines too");

	ask_own("lease.list", "");
	ok(calls == 3, "one without data is an empty object");
	failure_set(&failure, FAILURE_STALE, "read it again", "it was changed");
	failure_prefix(&failure, "a.b");
	bus_call_fail(call, &failure);
	failure_clear(&failure);
	is(fake_last.data,
	   "{\"error\":{\"code\":\"STALE\",\"message\":\"it was changed\",\"hint\":\"read it "
	   "again\",\"path\":\"a.b\"}}",
	   "a failure is encoded");
	ok(streq(fake_last.keys[0], "Nats-Service-Error") &&
		   streq(fake_last.values[0], "it was changed") &&
		   streq(fake_last.keys[1], "Nats-Service-Error-Code") &&
		   streq(fake_last.values[1], "5"),
	   "and counts as an error of the Services protocol");

	ask_own("lease.list", "{}");
	bus_call_failf(call, FAILURE_BUG, NULL, "two\nlines %d", 2);
	ok(streq(fake_last.data, "{\"error\":{\"code\":\"BUG\",\"message\":\"two\\nlines 2\"}}") &&
		   !fake_last.keys[0],
	   "a message of two lines is in the body only, without a hint");
	ask_own("lease.list", "{}");
	bus_call_failf(call, FAILURE_BUG, NULL, "cut \xe2\x82");
	is_at("error/message", "cut \xef\xbf\xbd\xef\xbf\xbd", "what is no UTF-8 is repaired");

	ask_own("lease.list", "{}");
	bus_call_drop(call);
	ok(!fake_last.data, "a dropped call is not answered");
	ask(OWN ">", OWN "lease.list", NULL, "{}");
	bus_call_ok(call, NULL);
	ok(!fake_last.data, "nor one without a reply subject");
	end();
}

static void test_refused(void)
{
	begin(status);
	ask_own("lease.show", "{}");
	ok(calls == 0, "a request that does not fit its schema");
	is_at("error/code", "INVALID", "is refused");
	has_at("error/message", "lease.show: namespace is missing", "with the field");
	ask_own("lease.show", "nonsense");
	has_at("error/message", "cannot decode request lease.show: the request", "or as a whole");
	ask_own("lease.what", "{}");
	is_at("error/code", "INVALID", "an unknown one too");
	has_at("error/message",
	       "leased has no verb 'lease.what' (it has lease.show, lease.list, "
	       "status)",
	       "with those that exist");
	ok(calls == 0 && streq(fake_last.values[1], "2"), "and calls nothing");
	end();
}

static void test_status(void)
{
	begin(status);
	ask_own("status", "");
	is(fake_last.data, "{\"ok\":{\"state\":\"good\"}}", "every daemon has a status");
	end();
	begin(NULL);
	ask_own("status", "");
	is(fake_last.data, "{\"ok\":{}}", "which may be empty");
	end();
}

static void services(const char *subject, const char *reply)
{
	ask("$SRV.>", subject, reply, "");
}

static void test_services(void)
{
	char *id, *named, *other;

	begin(status);
	services("$SRV.PING", "_INBOX.y.1");
	is(fake_last.subject, "_INBOX.y.1", "the Services protocol is answered");
	is_at("type", "io.nats.micro.v1.ping_response", "PING");
	is_at("name", "leased", "with the daemon's name");
	is_at("version", PLOYZ_VERSION, "its version");
	is_at("metadata/machine", "m1", "its machine");
	is_at("endpoints", NULL, "without endpoints");
	id = got("id");
	ok(id && *id, "an id");
	services("$SRV.INFO.leased", "_INBOX.y.1");
	is_at("type", "io.nats.micro.v1.info_response", "INFO");
	is_at("description", "ployz", "a description");
	is_at("endpoints", "[2]", "the endpoints");
	is_at("endpoints/0/name", "lease.show", "each with its name");
	is_at("endpoints/0/subject", OWN "lease.show", "subject");
	is_at("endpoints/0/queue_group", "", "no queue group");
	is_at("endpoints/0/metadata/description", "one namespace's lease", "and description");
	is_at("endpoints/0/num_requests", NULL, "and no counts");

	ask_own("lease.show", "{\"namespace\":\"shop\"}");
	fake_now += 7;
	bus_call_ok(call, NULL);
	ask_own("lease.show", "{\"namespace\":\"shop\"}");
	fake_now += 3;
	bus_call_failf(call, FAILURE_STALE, NULL, "no");
	services("$SRV.STATS.leased", "_INBOX.y.1");
	is_at("type", "io.nats.micro.v1.stats_response", "STATS");
	has_at("started", "2025-", "since when");
	is_at("endpoints/0/num_requests", "2", "requests");
	is_at("endpoints/0/num_errors", "1", "errors");
	is_at("endpoints/0/last_error", "no", "the last one");
	is_at("endpoints/0/processing_time", "10000", "time, ns");
	is_at("endpoints/0/average_processing_time", "5000", "and its average");
	is_at("endpoints/0/metadata", NULL, "no description then");
	is_at("endpoints/1/num_requests", "0", "of one without requests");
	is_at("endpoints/1/last_error", "", "no error");
	is_at("endpoints/1/average_processing_time", "0", "no time");

	named = xasprintf("$SRV.PING.leased.%s", id);
	services(named, "_INBOX.y.1");
	ok(fake_last.data, "by name and id");
	other = xasprintf("$SRV.PING.leased.%s.x", id);
	static const char *const ignored[] = { "$SRV.PING.routed", "$SRV.PING.leased.other",
					       "$SRV.WHAT", "$SRV" };
	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++) {
		services(ignored[i], "_INBOX.y.1");
		ok(!fake_last.data, "%s is not answered", ignored[i]);
	}
	services(other, "_INBOX.y.1");
	ok(!fake_last.data, "nor what is longer");
	services("$SRV.PING", NULL);
	ok(!fake_last.data, "nor one without a reply subject");
	free(id);
	free(named);
	free(other);
	end();
}

static void test_open_calls(void)
{
	struct bus_call *first, *second;

	begin(status);
	ask_own("lease.show", "{\"namespace\":\"a\"}");
	first = call;
	ask_own("lease.show", "{\"namespace\":\"b\"}");
	second = call;
	ask_own("lease.show", "{\"namespace\":\"c\"}");
	bus_call_ok(second, NULL);
	bus_call_ok(first, NULL);
	end();
	ok(true, "calls that are open are freed with their bus");

	fake_deaf = true;
	blocks = blocks_live;
	ok(bus_serve(&fake_bus, "leased", "m1", endpoints, 1, status, &calls) == -ENOTCONN,
	   "without a subscription nothing is served");
	fake_deaf = false;
	end();

	begin(status);
	fake_connection(false);
	ask_own("status", "");
	ok(!fake_last.data, "without a bus nothing is answered");
	fake_connection(true);
	end();
}

/* --- requests to others --- */

static size_t answers;
static char *message, *hint, *path;
static int code;
static int64_t epoch;

static void on_answer(const struct failure *failure, void *answer, _unused_ void *userdata)
{
	const struct lease_view *view = answer;

	HOLDS(!failure == (answer != NULL));
	answers++;
	free(message);
	free(hint);
	message = failure ? xstrdup(failure->message) : NULL;
	hint = failure ? xstrdup(failure->hint) : NULL;
	free(path);
	path = failure ? xstrdup(failure->path) : NULL;
	code = failure ? failure->code : FAILURE_NONE;
	epoch = view ? view->lease.epoch : -1;
}

static void show(const char *machine)
{
	const struct lease_ref ref = { .ns = (char *)"shop" };

	bus_ask(&fake_bus, SUBJECT_LEASE_SHOW, machine, &ref, 2000000, on_answer, NULL, NULL);
}

static const struct {
	int error;
	const char *answer;
	int code;
	const char *message, *hint; /* parts */
} replies[] = {
	{ 0, "{\"ok\":{\"lease\":{\"namespace\":\"shop\",\"state\":\"held\",\"epoch\":7}}}",
	  FAILURE_NONE, NULL, NULL },
	{ 0, "{\"error\":{\"code\":\"LEASE_HELD\",\"message\":\"m\",\"hint\":\"h\"}}",
	  FAILURE_LEASE_HELD, "m", "h" },
	{ 0, "{\"error\":{\"code\":\"NOT_FOUND\"}}", FAILURE_NOT_FOUND, "without a reason", NULL },
	{ 0, "{\"error\":{\"code\":\"WHAT\",\"message\":\"m\"}}", FAILURE_BUG, "m", NULL },
	{ 0, "{\"error\":{}}", FAILURE_BUG, "without a reason", NULL },
	{ 0, "{\"ok\":{\"lease\":{}}}", FAILURE_BUG, "lease.namespace is missing", "one version" },
	{ 0, "{}", FAILURE_BUG, "neither ok nor error", "one version" },
	{ 0, "{\"ok\":7}", FAILURE_BUG, "neither ok nor error", "one version" },
	{ 0, "what", FAILURE_BUG, "neither ok nor error", "one version" },
	{ -EHOSTUNREACH, "", FAILURE_UNREACHABLE, "leased of machine m1", "ployz-leased" },
	{ -ETIMEDOUT, "", FAILURE_TIMEOUT, "within 2.0 s", "journalctl -u ployz-leased" },
	{ -EMSGSIZE, "", FAILURE_TOO_LARGE, "8 MiB", NULL },
	{ -ENOTCONN, "", FAILURE_UNREACHABLE, "local bus", NULL },
};

static void test_ask(void)
{
	struct bus_request *request = NULL;
	blocks = blocks_live;
	for (size_t i = 0; i < ARRAY_SIZE(replies); i++) {
		answers = 0;
		show("m1");
		HOLDS(streq(fake_requests->subject, OWN "lease.show") &&
		      streq(fake_requests->data, "{\"namespace\":\"shop\"}"));
		fake_answer(fake_requests, replies[i].error, replies[i].answer,
			    strlen(replies[i].answer));
		ok(answers == 1 && code == replies[i].code &&
			   (!replies[i].message || strstr(message, replies[i].message)) &&
			   (!replies[i].hint || (hint && strstr(hint, replies[i].hint))) &&
			   (code != FAILURE_NONE || epoch == 7),
		   "%s: %s", replies[i].answer, message ? message : "an answer");
	}
	answers = 0;
	show("m1");
	fake_now += 1999999;
	HOLDS(fake_earliest()->at == fake_now + 1);
	ok(answers == 0, "an answer is waited for");
	fake_tick();
	ok(answers == 1 && code == FAILURE_TIMEOUT, "as long as was said");
	bus_ask(&fake_bus, SUBJECT_LEASE_LIST, "m1", NULL, 1, on_answer, NULL, &request);
	ok(streq(fake_requests->data, "{}"), "no request is an empty one");
	bus_request_cancel(request);
	ok(answers == 1 && !fake_requests, "one that is cancelled is not called");
	show(NULL);
	fake_answer(fake_requests, -EHOSTUNREACH, "", 0);
	ok(strstr(message, "this machine") != NULL, "without a machine it is this one");
	show("m1");
	fake_answer(fake_requests, 0,
		    "{\"error\":{\"code\":\"INVALID\",\"message\":\"m\",\"path\":\"a.b\"}}", 55);
	ok(code == FAILURE_INVALID && streq(path, "a.b"),
	   "an error has the field that is at fault");
	free(steal(message));
	free(steal(hint));
	free(steal(path));
	end();
}

static size_t parts, part_failures, ends;
static struct bus_scatter *scatter;
static bool cancel_in;

static void on_part(const char *machine, const struct failure *failure, void *answer,
		    _unused_ void *userdata)
{
	if (!machine) {
		HOLDS(!failure && !answer);
		ends++;
		scatter = NULL;
		return;
	}
	HOLDS(!failure == (answer != NULL));
	parts++;
	part_failures += failure != NULL;
	if (cancel_in)
		bus_scatter_cancel(steal(scatter));
}

static void scatter_begin(char *const *machines)
{
	const struct lease_ref ref = { .ns = (char *)"shop" };

	parts = part_failures = ends = 0;
	cancel_in = false;
	bus_scatter(&fake_bus, SUBJECT_LEASE_SHOW, machines, &ref, 1000000, on_part, NULL,
		    &scatter);
}

static void test_scatter(void)
{
	char *const machines[] = { (char *)"m1", (char *)"m2", (char *)"m3", NULL };
	char *const nobody[] = { NULL };
	static const char good[] =
		"{\"ok\":{\"lease\":{\"namespace\":\"shop\",\"state\":\"held\",\"epoch\":7}}}";

	blocks = blocks_live;
	scatter_begin(machines);
	ok(parts == 0 && fake_requests && fake_requests->next && fake_requests->next->next,
	   "several machines are asked at once");
	fake_answer(fake_requests, 0, good, strlen(good));
	fake_answer(fake_requests, -EHOSTUNREACH, "", 0);
	ok(parts == 2 && part_failures == 1 && ends == 0, "each answer is given, or its failure");
	fake_answer(fake_requests, 0, good, strlen(good));
	ok(parts == 3 && part_failures == 1 && ends == 1, "and then the end");

	scatter_begin(nobody);
	ok(ends == 0, "with nobody to ask the end is not given at once");
	fake_tick();
	ok(ends == 1 && parts == 0, "but soon");

	scatter_begin(machines);
	fake_answer(fake_requests, 0, good, strlen(good));
	bus_scatter_cancel(steal(scatter));
	ok(!fake_requests && parts == 1 && ends == 0, "one that is cancelled asks nobody");

	scatter_begin(machines);
	cancel_in = true;
	fake_answer(fake_requests, 0, good, strlen(good));
	ok(!fake_requests && parts == 1 && ends == 0, "from its callback too");

	scatter_begin(nobody);
	bus_scatter_cancel(steal(scatter));
	ok(!fake_tick() && ends == 0, "with nobody to ask too");
	bus_scatter_cancel(NULL);
	end();
}

static void test_event(void)
{
	struct progress progress = { .message = (char *)"hello" };

	blocks = blocks_live;
	progress.ns = (char *)"shop";
	ok(bus_event(&fake_bus, SUBJECT_PROGRESS, "d1", NULL, &progress) == 0 &&
		   streq(fake_last.subject, "ployz.v1.progress.d1"),
	   "an event is published");
	is_at("message", "hello", "encoded");
	fake_connection(false);
	ok(bus_event(&fake_bus, SUBJECT_PROGRESS, "d1", NULL, &progress) == -ENOTCONN,
	   "unless there is no bus");
	fake_connection(true);
	end();
}

/* --- the server's version --- */

static void test_versions(void)
{
	static const struct {
		const char *version;
		bool suits;
	} rows[] = {
		{ "2.10.0", true }, { "2.10.27", true }, { "2.11.0-dev", true }, { "3.0", true },
		{ "10.1.0", true }, { "2.9.25", false }, { "1.11.0", false },	 { "2", false },
		{ "2.x", false },   { "", false },	 { "v2.10.0", false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		ok(bus_version_suits(rows[i].version) == rows[i].suits, "nats-server %s",
		   rows[i].version);
}

/* A listener that says this to one client, in two pieces where there is a `|`; NULL: nothing. */
static pid_t greet(int family, const char *greeting, char *port, size_t room)
{
	union {
		struct sockaddr any;
		struct sockaddr_in four;
		struct sockaddr_in6 six;
	} address = { .six = { .sin6_family = (sa_family_t)family } };
	socklen_t size = sizeof(address);
	int fd = socket(family, SOCK_STREAM, 0), client;
	const char *cut = greeting ? strchr(greeting, '|') : NULL;
	pid_t pid;

	if (family == AF_INET)
		address.four.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else
		address.six.sin6_addr = in6addr_loopback;
	if (bind(fd, &address.any, size) < 0 || listen(fd, 1) < 0) {
		close(fd);
		return -1;
	}
	if (getsockname(fd, &address.any, &size) < 0) {
		close(fd);
		return -1;
	}
	snprintf(port, room, "%d", ntohs(address.four.sin_port));
	fflush(stdout);
	pid = fork();
	if (pid > 0) {
		close(fd);
		return pid;
	}
	client = accept(fd, NULL, NULL);
	if (cut) {
		dprintf(client, "%.*s", (int)(cut - greeting), greeting);
		usleep(20000);
		greeting = cut + 1;
	}
	if (greeting)
		dprintf(client, "%s", greeting);
	else
		pause();
	_exit(0);
}

static void test_server_version(void)
{
	static const char *const urls[][2] = { { "nats://127.0.0.1:", "" },
					       { "127.0.0.1:", "" },
					       { "nats://user:secret@127.0.0.1:", "" },
					       { "nats://127.0.0.1:", "/path" },
					       { "nats://127.0.0.1:", ",x" } };
	static char endless[5000];
	static const struct {
		const char *what, *greeting, *version;
		int r;
	} greetings[] = {
		{ "its INFO line", "INFO {\"version\":\"2.10.27\"}\r\n", "2.10.27", 0 },
		{ "in two pieces", "INFO {\"ver|sion\":\"2.10.27\"}\r\nPING\r\n", "2.10.27", 0 },
		{ "without a version", "INFO {}\r\n", NULL, -EPROTO },
		{ "another line", "HTTP/1.1 400\r\n", NULL, -EPROTO },
		{ "half a line", "INFO {", NULL, -ECONNRESET },
		{ "a line without an end", endless, NULL, -EPROTO },
		{ "nothing", NULL, NULL, -ETIMEDOUT },
	};
	char port[8], *version = NULL, *url;
	pid_t pid;

	memset(endless, 'x', sizeof(endless) - 1);
	for (size_t i = 0; i < ARRAY_SIZE(greetings); i++) {
		int r;

		pid = greet(AF_INET, greetings[i].greeting, port, sizeof(port));
		url = xasprintf("nats://127.0.0.1:%s", port);
		r = bus_server_version(url, greetings[i].greeting ? 5000000 : 50000, &version);
		ok(r == greetings[i].r && streq(version, greetings[i].version),
		   "a server that says %s (%d)", greetings[i].what, r);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		free(steal(version));
		free(url);
	}
	for (size_t i = 0; i < ARRAY_SIZE(urls); i++) {
		pid = greet(AF_INET, greetings[0].greeting, port, sizeof(port));
		url = xasprintf("%s%s%s", urls[i][0], port, urls[i][1]);
		ok(bus_server_version(url, 5000000, &version) == 0 && streq(version, "2.10.27"),
		   "%sPORT%s", urls[i][0], urls[i][1]);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		free(steal(version));
		free(url);
	}
	pid = greet(AF_INET6, greetings[0].greeting, port, sizeof(port));
	url = xasprintf("nats://[::1]:%s", port);
	if (pid < 0)
		skip("nats://[::1]", "no IPv6 here");
	else
		ok(bus_server_version(url, 5000000, &version) == 0, "nats://[::1]");
	if (pid > 0) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	free(steal(version));
	ok(bus_server_version("nats://[::1", 50000, &version) == -EINVAL, "an address without ]");
	ok(bus_server_version("nats://no.such.host.invalid", 50000, &version) == -EADDRNOTAVAIL,
	   "a host that is not known");
	ok(bus_server_version("nats://127.0.0.1:1", 50000, &version) == -ECONNREFUSED,
	   "a port without a listener");
	ok(bus_server_version("nats://127.0.0.1", 50000, &version) != -EADDRNOTAVAIL && !version,
	   "without a port it is 4222");
	free(url);
}

int main(void)
{
	blocks_begin();
	test_status();
	warm = true;
	test_requests();
	test_refused();
	test_services();
	test_open_calls();
	test_ask();
	test_scatter();
	test_event();
	test_versions();
	test_server_version();
	return tap_done();
}
