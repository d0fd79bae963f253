/* The bus connection on a real nats-server: messages, requests, loss and return of the server. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/bus.h"
#include "lib/loop.h"
#include "lib/str.h"
#include "tests/fuzz/fake/log.h"
#include "tests/lib/blocks.h"
#include "tests/tap.h"

#define PATIENCE_USEC 10000000ull

static sd_event *loop;
static struct bus *bus;
static char url[64], directory[] = "/tmp/plt-connection.XXXXXX";
static int port;
static pid_t server;

/* --- the server --- */

static int free_port(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (bind(fd, (struct sockaddr *)&address, size) < 0 ||
	    getsockname(fd, (struct sockaddr *)&address, &size) < 0)
		exit(1);
	close(fd);
	return ntohs(address.sin_port);
}

static bool listens(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_port = htons((uint16_t)port),
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	bool connected = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;

	close(fd);
	return connected;
}

static void server_start(const char *users)
{
	_cleanup_free_ char *path = xasprintf("%s/nats.conf", directory);
	FILE *file = fopen(path, "w");

	fprintf(file, "listen: 127.0.0.1:%d\nmax_payload: 8MB\n%s\n", port, users ? users : "");
	fclose(file);
	fflush(stdout);
	server = fork();
	if (server == 0) {
		int null = open("/dev/null", O_RDWR);

		dup2(null, STDOUT_FILENO);
		dup2(null, STDERR_FILENO);
		execlp("nats-server", "nats-server", "-c", path, NULL);
		_exit(127);
	}
	for (int i = 0; i < 500 && !listens(); i++)
		usleep(20000);
}

static void server_kill(void)
{
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
	server = 0;
}

static void at_end(void)
{
	_cleanup_free_ char *path = xasprintf("%s/nats.conf", directory);

	if (server > 0)
		server_kill();
	unlink(path);
	rmdir(directory);
}

/* --- the loop --- */

static size_t count; /* what the tests wait for */

/* Runs the loop until `count` has reached this, or for too long. */
static bool until(size_t wanted)
{
	uint64_t deadline = boot_now_usec() + PATIENCE_USEC;

	while (count < wanted && boot_now_usec() < deadline)
		if (sd_event_run(loop, 100000) < 0)
			return false;
	return count >= wanted;
}

static void run_for(uint64_t usec)
{
	uint64_t deadline = boot_now_usec() + usec;

	while (boot_now_usec() < deadline)
		sd_event_run(loop, 10000);
}

static struct bus *open_as(const char *user, const char *password, int *ret_r, char **ret_message)
{
	struct bus_options options = { .url = url,
				       .name = "test",
				       .user = user,
				       .password = password,
				       .inbox = user ? "_INBOX.user" : NULL };
	struct failure failure = FAILURE_INIT;
	struct bus *opened = NULL;

	*ret_r = bus_open(loop, &options, &opened, &failure);
	*ret_message = xstrdup(failure.message);
	HOLDS(!failure.message || failure.hint);
	failure_clear(&failure);
	return opened;
}

/* --- messages --- */

static struct strbuf heard;
static struct bus_subscription *once;

static void on_message(const struct bus_message *message, void *userdata)
{
	HOLDS(message->data[message->size] == '\0' && strlen(message->data) == message->size);
	strbuf_printf(&heard, "%s%s:%s:%s:%s:%d ", (const char *)userdata, message->subject,
		      message->data, message->reply ? message->reply : "",
		      bus_header(message, "Key") ? bus_header(message, "Key") : "",
		      bus_status(message));
	count++;
}

static void on_once(const struct bus_message *message, void *userdata)
{
	on_message(message, userdata);
	bus_subscription_free(steal(once));
}

static bool has_heard(const char *expected)
{
	bool same = streq(heard.text ? heard.text : "", expected);

	if (!same)
		printf("# heard '%s'\n", heard.text ? heard.text : "");
	strbuf_clear(&heard);
	count = 0;
	return same;
}

static void forget(void)
{
	strbuf_clear(&heard);
	count = 0;
}

static void publish(const char *subject, const char *text)
{
	HOLDS(bus_publish(bus, subject, NULL, NULL, text, strlen(text)) == 0);
}

static void test_messages(void)
{
	const struct bus_headers headers = { { "Key", "Status" }, { "value", "409" }, 2 };
	struct bus_subscription *a = NULL, *b = NULL;

	HOLDS(bus_subscribe(bus, "t.a", on_message, (void *)"1", &a) == 0);
	HOLDS(bus_subscribe(bus, "t.*", on_message, (void *)"2", &b) == 0);
	HOLDS(bus_subscribe(bus, "t.once", on_once, (void *)"3", &once) == 0);
	publish("t.a", "x");
	ok(until(2) && strstr(heard.text, "1t.a:x:::0 ") && strstr(heard.text, "2t.a:x:::0 "),
	   "a message comes to each subscription");
	forget();
	publish("t.b", "");
	ok(until(1) && has_heard("2t.b::::0 "), "one without data is empty");
	HOLDS(bus_publish(bus, "t.b", "answer.here", &headers, "y", 1) == 0);
	ok(until(1) && has_heard("2t.b:y:answer.here:value:409 "),
	   "reply subject, headers and status travel");
	publish("t.once", "1");
	publish("t.once", "2");
	ok(until(3), "a subscription may be freed by its callback");
	run_for(50000);
	ok(heard.text && strstr(heard.text, "3t.once:1") && !strstr(heard.text, "3t.once:2"),
	   "and is not called any more");
	forget();
	bus_subscription_free(b);
	publish("t.b", "x");
	publish("t.a", "x");
	ok(until(1), "others are");
	run_for(50000);
	ok(has_heard("1t.a:x:::0 "), "one that is freed is not");
	bus_subscription_free(a);
	bus_subscription_free(NULL);
	ok(bus_subscribe(bus, "not a subject", on_message, (void *)"", &a) == -EINVAL,
	   "a subject that is none is refused");
}

static uint64_t last_number, disorder;
static size_t timer_calls;

static void on_number(const struct bus_message *message, _unused_ void *userdata)
{
	uint64_t number = strtoull(message->data, NULL, 10);

	disorder += number != last_number + 1;
	last_number = number;
	count++;
}

static void on_tick(void *userdata)
{
	struct timer *timer = *(struct timer **)userdata;

	timer_calls++;
	timer_arm(timer, 0);
}

static void test_many(void)
{
	struct bus_subscription *numbers = NULL;
	struct timer *timer = NULL;

	HOLDS(bus_subscribe(bus, "t.number", on_number, NULL, &numbers) == 0);
	for (int i = 1; i <= 3000; i++) {
		_cleanup_free_ char *text = xasprintf("%d", i);

		publish("t.number", text);
	}
	HOLDS(bus_flush(bus, 5000000) == 0);
	usleep(200000);
	timer = timer_new(loop, on_tick, &timer);
	timer_arm(timer, 0);
	count = 0;
	ok(until(3000) && disorder == 0, "many messages come in order");
	ok(timer_calls >= 3000 / 256, "and other work of the loop meanwhile (%zu)", timer_calls);
	timer_free(timer);
	run_for(20000);
	ok(count == 3000, "each once");
	bus_subscription_free(numbers);
	count = 0;
}

/* --- requests --- */

struct asked {
	int error;
	char data[32];
	size_t calls;
	struct bus_request *handle;
};

static void on_reply(int error, const struct bus_message *reply, void *userdata)
{
	struct asked *asked = userdata;

	HOLDS(!error == (reply != NULL));
	asked->error = error;
	asked->calls++;
	asked->handle = NULL;
	if (reply)
		snprintf(asked->data, sizeof(asked->data), "%s", reply->data);
	count++;
}

static void request(struct asked *asked, const char *subject, const char *text, uint64_t usec)
{
	*asked = (struct asked){ 0 };
	bus_request(bus, subject, NULL, text, strlen(text), usec, on_reply, asked, &asked->handle);
	HOLDS(!asked->calls && asked->handle);
}

static struct {
	char *reply, *text;
} kept[300];
static size_t n_kept;

/* Answers in the opposite order, when all are there. */
static void on_question(const struct bus_message *message, void *userdata)
{
	size_t all = *(size_t *)userdata;

	if (!message->reply)
		return;
	kept[n_kept].reply = xstrdup(message->reply);
	kept[n_kept++].text = xstrdup(message->data);
	while (n_kept && (n_kept == all || all == 0)) {
		all = 0;
		n_kept--;
		bus_publish(bus, kept[n_kept].reply, NULL, NULL, kept[n_kept].text,
			    strlen(kept[n_kept].text));
		free(kept[n_kept].reply);
		free(kept[n_kept].text);
	}
}

static void on_nothing(_unused_ const struct bus_message *message, _unused_ void *userdata)
{
}

static void test_requests(void)
{
	static struct asked many[200];
	struct bus_subscription *questions = NULL, *silent = NULL, *inbox = NULL;
	static char large[BUS_PAYLOAD_MAX + 1];
	size_t wanted = ARRAY_SIZE(many), wrong = 0;
	char *own = bus_inbox(bus), *other = bus_inbox(bus), *strange;
	struct asked asked;
	uint64_t began;

	HOLDS(bus_subscribe(bus, "q.echo", on_question, &wanted, &questions) == 0);
	HOLDS(bus_subscribe(bus, "q.silent", on_nothing, NULL, &silent) == 0);
	for (size_t i = 0; i < ARRAY_SIZE(many); i++) {
		_cleanup_free_ char *text = xasprintf("%zu", i);

		request(&many[i], "q.echo", text, 10000000);
	}
	ok(until(ARRAY_SIZE(many)), "many requests are answered");
	for (size_t i = 0; i < ARRAY_SIZE(many); i++) {
		_cleanup_free_ char *text = xasprintf("%zu", i);

		wrong += many[i].calls != 1 || many[i].error || !streq(many[i].data, text);
	}
	ok(wrong == 0, "each with its own answer, once");
	wanted = 1;
	count = 0;
	request(&asked, "q.nobody", "?", 10000000);
	ok(until(1) && asked.error == -EHOSTUNREACH, "a subject without a subscriber: at once");
	count = 0;
	began = boot_now_usec();
	request(&asked, "q.silent", "?", 200000);
	ok(until(1) && asked.error == -ETIMEDOUT && boot_now_usec() - began >= 200000 &&
		   boot_now_usec() - began < 2000000,
	   "one that does not answer: after the time");
	count = 0;
	request(&asked, "q.echo", "late", 10000000);
	bus_request_cancel(asked.handle);
	request(&many[0], "q.echo", "other", 10000000);
	ok(until(1) && many[0].error == 0 && streq(many[0].data, "other") && !asked.calls,
	   "one that is cancelled is not called");
	bus_request_cancel(NULL);
	count = 0;
	asked = (struct asked){ 0 };
	bus_request(bus, "q.echo", NULL, large, sizeof(large), 10000000, on_reply, &asked, NULL);
	ok(!asked.calls && until(1) && asked.error == -EMSGSIZE, "one that is too large: refused");
	ok(bus_publish(bus, "q.x", NULL, NULL, large, sizeof(large)) == -EMSGSIZE,
	   "as a message of that size");
	ok(bus_publish(bus, "q.x", NULL, NULL, large, sizeof(large) - 1) == 0,
	   "one as large as is allowed is not");

	ok(!streq(own, other) && str_starts(own, "_INBOX."),
	   "inboxes are of its own and different");
	HOLDS(bus_subscribe(bus, own, on_message, (void *)"", &inbox) == 0);
	count = 0;
	request(&asked, "q.silent", "?", 10000000);
	publish(own, "x");
	ok(until(1) && strstr(heard.text, ":x:") && !asked.calls, "what comes there is no reply");
	forget();
	/* What is sent to its reply subjects and belongs to no request. */
	strange = xasprintf("%.*s.nothing", (int)(strstr(own, ".x.") - own), own);
	publish(strange, "x");
	free(strange);
	strange = xasprintf("%.*s.999999999", (int)(strstr(own, ".x.") - own), own);
	publish(strange, "x");
	free(strange);
	run_for(50000);
	ok(!asked.calls, "nor what has another number");
	bus_request_cancel(asked.handle);
	bus_subscription_free(inbox);
	bus_subscription_free(questions);
	bus_subscription_free(silent);
	free(own);
	free(other);
}

/* --- loss and return --- */

static char states[64];
static bool unwatch_in;

static void on_state(bool connected, void *userdata)
{
	size_t length = strlen(states);

	snprintf(states + length, sizeof(states) - length, "%s%c", (const char *)userdata,
		 connected ? '+' : '-');
	count++;
	if (unwatch_in)
		bus_unwatch_state(bus, userdata);
}

static struct asked again;

/* A request from the callback of one that failed. */
static void on_reply_ask(int error, const struct bus_message *reply, void *userdata)
{
	on_reply(error, reply, userdata);
	request(&again, "q.echo", "?", 10000000);
}

static void test_loss(void)
{
	struct bus_subscription *echo = NULL;
	struct asked asked, first = { 0 };
	size_t wanted = 1;
	char one[] = "1", two[] = "2", three[] = "3";

	HOLDS(bus_subscribe(bus, "q.echo", on_question, &wanted, &echo) == 0);
	bus_watch_state(bus, on_state, one);
	bus_watch_state(bus, on_state, two);
	bus_watch_state(bus, on_state, three);
	bus_unwatch_state(bus, two);
	request(&asked, "q.silent.but.there", "?", 60000000);
	bus_subscription_free(NULL);
	count = 0;
	run_for(20000);
	HOLDS(bus_subscribe(bus, "q.silent", on_nothing, NULL, NULL) == 0);
	HOLDS(bus_flush(bus, 1000000) == 0);
	request(&asked, "q.silent", "?", 60000000);
	bus_request(bus, "q.silent", NULL, "?", 1, 60000000, on_reply_ask, &first, NULL);
	run_for(20000);
	count = 0;
	server_kill();
	ok(until(4), "a server that is killed is noticed");
	is(states, "1-3-", "watchers are told, each once");
	ok(asked.error == -ENOTCONN && asked.calls == 1 && first.error == -ENOTCONN,
	   "and requests fail at once");
	ok(bus_publish(bus, "x", NULL, NULL, "", 0) == -ENOTCONN, "nothing can be published");
	count = 0;
	ok(until(1) && again.calls == 1 && again.error == -ENOTCONN,
	   "a request that is made then fails too, once");
	ok(strstr(fake_log_line, "connection lost; reconnecting"), "the log says so");
	bus_watch_state(bus, on_state, two);
	states[0] = '\0';
	count = 0;
	server_start(NULL);
	ok(until(3) && streq(states, "1+2+3+"), "a server that is back too (%s)", states);
	count = 0;
	request(&asked, "q.echo", "back", 10000000);
	ok(until(1) && streq(asked.data, "back"), "subscriptions are there again");

	unwatch_in = true;
	states[0] = '\0';
	count = 0;
	server_kill();
	until(3);
	server_start(NULL);
	run_for(500000);
	is(states, "1-2-3-", "a watcher may end itself in its callback");
	bus_subscription_free(echo);

	kill(server, SIGSTOP);
	waitpid(server, NULL, WUNTRACED);
	ok(bus_flush(bus, 200000) == -ETIMEDOUT, "what does not reach the server: a time-out");
	kill(server, SIGCONT);
	ok(bus_flush(bus, 5000000) == 0, "and afterwards it does");
}

/* --- opening and freeing --- */

static void test_open(void)
{
	_cleanup_free_ char *message = NULL;
	int r;

	bus = open_as(NULL, NULL, &r, &message);
	ok(!bus && r == -ECONNREFUSED && strstr(message, url), "without a server: %s", message);
	free(steal(message));
	server_start(NULL);
	bus = open_as(NULL, NULL, &r, &message);
	ok(bus && r == 0 && !message && bus_loop(bus) == loop, "with a server it is opened");
}

static void test_free(void)
{
	struct asked asked;
	struct bus_subscription *subscription = NULL;

	count = 0;
	HOLDS(bus_subscribe(bus, "f.>", on_message, (void *)"", &subscription) == 0);
	publish("f.a", "x");
	request(&asked, "f.b", "?", 60000000);
	bus_free(steal(bus));
	run_for(50000);
	ok(count == 0 && !asked.calls, "a freed bus calls nothing");
	bus_free(NULL);
}

static json_t *no_status(_unused_ void *userdata)
{
	return json_object();
}

/* A bus with much of everything, opened and freed. */
static void cycle(void)
{
	static const struct bus_endpoint none[1];
	struct bus_subscription *subscriptions[100];
	_cleanup_free_ char *error = NULL;
	struct asked asked[100];
	int r;

	bus = open_as(NULL, NULL, &r, &error);
	HOLDS(bus);
	for (int i = 0; i < 50; i++)
		HOLDS(bus_serve(bus, "test", "m1", none, 0, no_status, NULL) == 0);
	for (size_t i = 0; i < ARRAY_SIZE(subscriptions); i++)
		HOLDS(bus_subscribe(bus, i ? "c.other" : "c.x", on_nothing, NULL,
				    &subscriptions[i]) == 0);
	for (size_t i = 0; i < ARRAY_SIZE(asked); i++)
		request(&asked[i], "c.x", "?", 60000000);
	for (size_t i = 0; i < 50; i++)
		bus_request_cancel(asked[i].handle);
	for (int i = 0; i < 300; i++)
		publish("c.x", "y");
	for (size_t i = 50; i < ARRAY_SIZE(subscriptions); i++)
		bus_subscription_free(subscriptions[i]);
	for (int i = 0; i < 10; i++) {
		publish("c.x", "y");
		run_for(5000);
	}
	bus_free(steal(bus));
	run_for(50000);
}

static void test_memory(void)
{
	long before;

	cycle();
	cycle();
	before = blocks_live;
	cycle();
	ok(blocks_live - before < 40, "a freed bus leaves nothing behind (%ld blocks)",
	   blocks_live - before);
}

static void test_users(void)
{
	_cleanup_free_ char *message = NULL;
	char *inbox;
	int r;

	server_kill();
	server_start("authorization { users [ { user: u, password: p } ] }");
	bus = open_as("u", "wrong", &r, &message);
	ok(!bus && r == -EACCES && strstr(message, "as user u"), "a wrong password: %s", message);
	free(steal(message));
	bus = open_as(NULL, NULL, &r, &message);
	ok(!bus && r == -EACCES && strstr(message, "(none)"), "no user: %s", message);
	free(steal(message));
	bus = open_as("u", "p", &r, &message);
	ok(bus && r == 0, "the right one is opened");
	inbox = bus_inbox(bus);
	ok(str_starts(inbox, "_INBOX.user."), "with inboxes of its own");
	free(inbox);
	server_kill();
	server_start("authorization { users [ { user: u, password: q } ] }");
	r = 0;
	for (int i = 0; i < 200 && sd_event_get_state(loop) != SD_EVENT_FINISHED; i++)
		sd_event_run(loop, 100000);
	sd_event_get_exit_code(loop, &r);
	ok(sd_event_get_state(loop) == SD_EVENT_FINISHED && r == -EACCES,
	   "a user that is refused later ends the loop");
	bus_free(steal(bus));
}

int main(void)
{
	setenv("PATH", "/usr/bin:/bin:/usr/sbin:/sbin", 0);
	_cleanup_free_ char *path = xasprintf("%s:/usr/sbin:/sbin", getenv("PATH"));

	setenv("PATH", path, 1);
	if (!mkdtemp(directory) || loop_new(&loop) < 0)
		return 1;
	atexit(at_end);
	port = free_port();
	snprintf(url, sizeof(url), "nats://127.0.0.1:%d", port);
	test_open();
	if (!bus) {
		printf("Bail out! nats-server does not start\n");
		return 1;
	}
	test_messages();
	test_many();
	test_requests();
	test_loss();
	test_free();
	test_memory();
	test_users();
	sd_event_unref(loop);
	strbuf_clear(&heard);
	return tap_done();
}
