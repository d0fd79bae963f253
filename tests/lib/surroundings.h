/* What agentd has around it, in the test's own process: a container engine without containers, a
 * store, callers, and a clock that only the test moves. Everything answers at once, in order,
 * unless the test holds it. Included once in a test, which is linked with agentd's files; what is
 * defined here takes the place of the library's. */
#ifndef PLOYZ_TESTS_SURROUNDINGS_H
#define PLOYZ_TESTS_SURROUNDINGS_H

#pragma GCC diagnostic ignored "-Wunused-function"

#include <ifaddrs.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agentd/agentd.h"
#include "tests/fuzz/fake/loop.h"
#include "tests/lib/fake-engine.h"
#include "tests/lib/fake-store.h"
#include "tests/tap.h"

#define SECOND 1000000ull
#define MACHINE "m1"

/* --- the log: the last lines, for what a test says about them */

static char *log_lines;

void log_write(_unused_ int level, _unused_ const struct log_about *about, const char *format, ...)
{
	va_list args;
	char *line, *all;

	if (level == LOG_DEBUG)
		return;
	va_start(args, format);
	line = xvasprintf(format, args);
	va_end(args);
	all = xasprintf("%s%s\n", log_lines ? log_lines : "", line);
	if (getenv("SHOW"))
		printf("# %s\n", line);
	free(log_lines);
	free(line);
	log_lines = all;
}

/* --- callers */

struct bus_call {
	enum subject_id subject;
	void *request;
	struct reply *reply;
};
struct reply {
	bool given;
	struct failure failure;
	char *text; /* of the answer; NULL: a failure, or none */
};
static const struct bus_endpoint *verbs;
static size_t n_verbs;
static bus_status_fn status_fn;
static struct progress_line {
	char *id, *text;
} * progress;
static size_t n_progress;

static void progress_clear(void)
{
	for (size_t i = 0; i < n_progress; i++) {
		free(progress[i].id);
		free(progress[i].text);
	}
	free(steal(progress));
	n_progress = 0;
}

int daemon_serve(_unused_ struct daemon *daemon, const struct bus_endpoint *served, size_t count,
		 bus_status_fn status, _unused_ void *userdata)
{
	verbs = served;
	n_verbs = count;
	status_fn = status;
	return 0;
}

static char *status_text;
static bool loop_ended;

int sd_event_exit(_unused_ sd_event *loop, _unused_ int code)
{
	loop_ended = true;
	return 0;
}

void daemon_status(_unused_ struct daemon *daemon, const char *format, ...)
{
	va_list args;

	free(status_text);
	va_start(args, format);
	status_text = xvasprintf(format, args);
	va_end(args);
}

static void call_end(struct bus_call *call)
{
	codec_destroy(subjects[call->subject].request, call->request);
	free(call);
}

void bus_call_ok(struct bus_call *call, const void *object)
{
	_cleanup_json_ json_t *json =
		object ? codec_encode(subjects[call->subject].reply, object) : json_object();

	call->reply->given = true;
	call->reply->text = json_text(json);
	call_end(call);
}

void bus_call_fail(struct bus_call *call, const struct failure *failure)
{
	call->reply->given = true;
	failure_copy(&call->reply->failure, failure);
	call_end(call);
}

void bus_call_failf(struct bus_call *call, enum failure_code code, const char *hint,
		    const char *format, ...)
{
	struct failure failure = FAILURE_INIT;
	va_list args;

	va_start(args, format);
	failure_vset(&failure, code, hint, format, args);
	va_end(args);
	bus_call_fail(call, &failure);
	failure_clear(&failure);
}

void bus_call_drop(struct bus_call *call)
{
	call_end(call);
}

void *bus_call_request(struct bus_call *call)
{
	return call->request;
}

int bus_event(_unused_ struct bus *bus, enum subject_id subject, const char *a,
	      _unused_ const char *b, const void *object)
{
	_cleanup_json_ json_t *json = codec_encode(subjects[subject].request, object);

	*array_add(progress, n_progress) = (struct progress_line){ xstrdup(a), json_text(json) };
	return 0;
}

/* --- the world */

static struct daemon daemon_;
static char state_directory[] = "/tmp/plt-agentd.XXXXXX";
static struct agentd_config config_ = {
	.daemon = { .machine = (char *)MACHINE, .state = state_directory },
	.engine = (char *)"unix:///nonexistent/engine",
	.network = (char *)"ployz",
	.bridge = (char *)"ployz0",
	.publish_address = (char *)"127.0.0.1",
};

int getifaddrs(struct ifaddrs **ret)
{
	*ret = NULL;
	return 0;
}

void freeifaddrs(_unused_ struct ifaddrs *all)
{
}

/* Probes by TCP reach nobody. */
int socket(_unused_ int domain, _unused_ int type, _unused_ int protocol)
{
	errno = EMFILE;
	return -1;
}

/* The oldest request of the engine that is not held is answered. */
static bool engine_answer(void)
{
	struct http_request *found[256] = { NULL };
	size_t n = 0;

	for (struct http_request *r = agentd->http->requests; r && n < ARRAY_SIZE(found);
	     r = r->next)
		found[n++] = r;
	while (n--) {
		struct http_request *request = found[n];
		_cleanup_free_ char *what = xasprintf("%s %s", request->method, request->url);
		bool probe = !str_starts(request->url, "http://engine");
		const char *path = strchr(request->url + strlen("http://engine"), '/');

		if (engine.away && !probe) {
			fake_end(request, -ECONNREFUSED, 0);
			return true;
		}
		if (engine.hold && strstr(what, engine.hold))
			continue;
		if (probe) {
			fake_end(request, 0, engine.sick ? 503 : 200);
			return true;
		}
		/* Behind the version. */
		path = strchr(path + 1, '/');
		if (streq(path, "/libpod"))
			path = strchr(path + 1, '/');
		if (engine.refuse && strstr(what, engine.refuse)) {
			respond_message(request, 500, engine.refusal ? engine.refusal : "no");
			return true;
		}
		if (!strstr(path, "/logs") && !strstr(path, "/wait") && !strstr(path, "/events") &&
		    !streq(request->method, "GET"))
			strbuf_printf(&engine.asked, "%s %s\n", request->method, path);
		if (engine_respond(request, path))
			return true;
	}
	return false;
}

/* Until nothing happens any more without time passing. */
static void settle(void)
{
	for (int rounds = 0; rounds < 100000; rounds++) {
		bool any = false;

		for (struct deferred *d = fake_deferred; d && !any; d = d->next)
			any = d->scheduled;
		if (any)
			fake_turn();
		fake_http_turn(agentd->http);
		if (engine_answer() || follow_answer() || store_answer() || any)
			continue;
		return;
	}
	printf("Bail out! it never comes to rest\n");
	exit(1);
}

/* Time passes. */
static void pass(uint64_t usec)
{
	uint64_t until = fake_now + usec;

	settle();
	for (;;) {
		struct timer *earliest = NULL;

		for (struct timer *timer = fake_timers; timer; timer = timer->next)
			if (timer->armed && timer->at <= until &&
			    (!earliest || timer->at < earliest->at))
				earliest = timer;
		if (!earliest)
			break;
		fake_now = MAX2(fake_now, earliest->at);
		earliest->armed = false;
		earliest->fn(earliest->userdata);
		settle();
	}
	fake_now = until;
}

static void agentd_begin(void)
{
	daemon_ = (struct daemon){ .name = "agentd", .config = &config_.daemon };
	if (agentd_new(&daemon_, &config_, &agentd) < 0 || agentd_start(agentd) < 0) {
		printf("Bail out! agentd does not start: %s\n", log_lines ? log_lines : "");
		exit(1);
	}
	pass(1000);
}

/* As after kill -9: what was on its way is lost with the process. */
static void agentd_kill(void)
{
	agentd_free(steal(agentd));
	while (store.requests)
		bus_request_cancel(store.requests);
}

static void agentd_restart(void)
{
	agentd_kill();
	agentd_begin();
}

/* A new machine with an empty store. */
static void world_begin(void)
{
	if (!mkdtemp(state_directory)) {
		printf("Bail out! no directory for its state\n");
		exit(1);
	}
	store_put(STREAM_INTENT, "ployz.v1.intent.member." MACHINE,
		  "{\"id\":\"" MACHINE
		  "\",\"subnet\":\"10.101.1.0/24\",\"life_cycle\":\"active\"}");
	agentd_begin();
}

static void world_end(void)
{
	static const char *const files[] = { "locks.json", "containers.json" };

	agentd_kill();
	while (engine.containers) {
		struct container *c = engine.containers;

		engine.containers = c->next;
		container_free(c);
	}
	store_clear();
	strv_free(steal(engine.volumes));
	strbuf_clear(&engine.asked);
	progress_clear();
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		_cleanup_free_ char *path = xasprintf("%s/%s", state_directory, files[i]);

		unlink(path);
	}
	rmdir(state_directory);
	strcpy(state_directory + strlen(state_directory) - 6, "XXXXXX");
	free(steal(log_lines));
	free(steal(status_text));
	loop_ended = false;
	memset(&engine, 0, sizeof(engine));
	memset(&store, 0, sizeof(store));
	fake_url_max = 0;
	fake_loop_end();
}

/* --- what the test asks and sees */

static void reply_clear(struct reply *reply)
{
	failure_clear(&reply->failure);
	free(reply->text);
	*reply = (struct reply){ .given = false };
}

/* Rows are easier read with ' than with \". */
static json_t *json_of(const char *text)
{
	_cleanup_free_ char *copy = xstrdup(text);
	json_t *json;

	for (char *p = copy; *p; p++)
		if (*p == '\'')
			*p = '"';
	json = json_loads(copy, 0, NULL);
	if (!json) {
		printf("Bail out! not JSON: %s\n", text);
		exit(1);
	}
	return json;
}

/* Sends a request; the reply, which outlives the call, gets the answer when there is one. */
static void send_request(enum subject_id subject, const char *text, struct reply *reply)
{
	_cleanup_json_ json_t *json = json_of(text);
	struct bus_call *call = xcalloc(1, sizeof(*call));
	struct failure failure = FAILURE_INIT;

	if (codec_decode_new(subjects[subject].request, json, CODEC_LENIENT, &call->request,
			     &failure) < 0) {
		printf("Bail out! %s: %s: %s\n", text, failure.path, failure.message);
		exit(1);
	}
	call->subject = subject;
	call->reply = reply;
	for (size_t i = 0; i < n_verbs; i++)
		if (verbs[i].subject == subject) {
			verbs[i].handler(call, call->request, agentd);
			return;
		}
}

static struct reply answer;

/* The same, and what comes of it at once is in `answer`. */
static void _printf_(2, 3) ask(enum subject_id subject, const char *format, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list args;

	va_start(args, format);
	text = xvasprintf(format, args);
	va_end(args);
	reply_clear(&answer);
	send_request(subject, text, &answer);
	settle();
}

static const char *code_of(const struct reply *reply)
{
	if (!reply->given)
		return "no answer";
	return reply->text ? "ok" : failure_code_names[reply->failure.code];
}

static bool is_answer(const char *code, const char *name)
{
	bool same = is(code_of(&answer), code, name);

	if (!same)
		tap_show("says", answer.text ? answer.text : answer.failure.message);
	return same;
}

/* The instance's state as it is published; NULL: it is not. */
static const char *published(const char *ns, const char *id)
{
	_cleanup_free_ char *subject = subject_make(SUBJECT_INSTANCES, MACHINE, ns);
	const struct entry *entry = store_last(STREAM_FACTS, subject);
	static char state[32];
	const json_t *item;
	json_t *json;
	size_t i;

	if (!entry)
		return NULL;
	json = json_loads(entry->data, 0, NULL);
	*state = 0;
	json_array_foreach (json_object_get(json, "instances"), i, item)
		if (streq(json_string_value(json_object_get(item, "id")), id))
			snprintf(state, sizeof(state), "%s",
				 json_string_value(json_object_get(item, "state")));
	json_decref(json);
	return *state ? state : NULL;
}

static bool is_state(const char *id, const char *state, const char *name)
{
	return is(published("shop", id), state, name);
}

/* One field of it, as text; owned by the caller; NULL: absent. */
static char *published_field(const char *ns, const char *id, const char *field)
{
	_cleanup_free_ char *subject = subject_make(SUBJECT_INSTANCES, MACHINE, ns);
	const struct entry *entry = store_last(STREAM_FACTS, subject);
	_cleanup_json_ json_t *json = entry ? json_loads(entry->data, 0, NULL) : NULL;
	const json_t *item;
	size_t i;

	json_array_foreach (json_object_get(json, "instances"), i, item)
		if (streq(json_string_value(json_object_get(item, "id")), id))
			return json_dumps(json_object_get(item, field), JSON_ENCODE_ANY);
	return NULL;
}

/* --- what leased writes and sends, by deploy, epoch and opening entry */

struct deploy_of {
	const char *id;
	int epoch;
	uint64_t opened;
};

/* A head of namespace shop: `slots` are `service/slot/instance/deploy` words; the deploy is open or
 * the entry's writer; `committed` names the deploy that committed the state. */
static uint64_t write_head(const struct deploy_of *deploy, bool open, const char *committed,
			   const char *slots)
{
	_cleanup_(strv_freep) char **words = strv_split(slots, " ");
	_cleanup_json_ json_t *head =
		json_pack("{s:s, s:s, s:i, s:i, s:s*, s:i, s:[]}", "namespace", "shop", "writer",
			  deploy->id, "epoch", deploy->epoch, "generation", 1, "deploy", committed,
			  "revision", committed ? 1 : 0, "services");
	_cleanup_free_ char *text = NULL;

	if (open)
		json_object_set_new(head, "open",
				    json_pack("{s:s, s:i, s:i}", "deploy", deploy->id, "epoch",
					      deploy->epoch, "generation", 1));
	for (char **word = words; word && *word; word++) {
		_cleanup_(strv_freep) char **parts = strv_split(*word, "/");

		json_array_append_new(json_object_get(head, "services"),
				      json_pack("{s:s, s:[{s:i, s:s, s:s, s:s}]}", "name", parts[0],
						"slots", "slot", atoi(parts[1]), "instance",
						parts[2], "machine", MACHINE, "deploy", parts[3]));
	}
	text = json_text(head);
	return store_put(STREAM_INTENT, "ployz.v1.intent.namespace.shop", text);
}

/* The fields that every command begins with. Borrowed until the next but three calls. */
static const char *command(const struct deploy_of *deploy)
{
	static char texts[4][256];
	static unsigned next;
	char *text = texts[next++ % 4];

	snprintf(text, sizeof(texts[0]),
		 "'namespace':'shop','epoch':%d,'deploy':'%s','generation':1,'opened':%llu",
		 deploy->epoch, deploy->id, (unsigned long long)deploy->opened);
	return text;
}

/* Opens it, as the last entry of the head. */
static void open_deploy(struct deploy_of *deploy, const char *committed, const char *slots)
{
	deploy->opened = write_head(deploy, true, committed, slots);
}

static void take_lock(const struct deploy_of *deploy)
{
	ask(SUBJECT_AGENT_LOCK, "{%s,'holder':'m1','reserve':{}}", command(deploy));
}

static void ask_unlock(const struct deploy_of *deploy)
{
	ask(SUBJECT_AGENT_UNLOCK, "{%s}", command(deploy));
}

#define RUNNING "'ready':{'running':'2s'}"

/* Service `web`, or another, with more fields. */
static void ask_start(const struct deploy_of *deploy, const char *service, int slot,
		      const char *more)
{
	ask(SUBJECT_AGENT_START,
	    "{%s,'instance':'shop-%s-%d-%s','slot':%d,'service':{'name':'%s','image':'x',%s}}",
	    command(deploy), service, slot, deploy->id, slot, service, more);
}

static void ask_ref(enum subject_id subject, const struct deploy_of *deploy, const char *instance)
{
	ask(subject, "{%s,'instance':'%s'}", command(deploy), instance);
}

/* --- one deploy that has the lock */

#define WEB "shop-web-0-d1"
static void world_with_deploy(struct deploy_of *deploy)
{
	*deploy = (struct deploy_of){ "d1", 5, 0 };
	world_begin();
	open_deploy(deploy, NULL, "");
	take_lock(deploy);
}

static size_t count(const char *text, const char *part)
{
	size_t n = 0;

	for (const char *at = text; at && (at = strstr(at, part)); at += strlen(part))
		n++;
	return n;
}

static void is_asked(const char *what, size_t times, const char *name)
{
	size_t n = count(engine.asked.text, what);

	if (!ok(n == times, "%s: %s %zu times", name, what, times))
		tap_show("asked", engine.asked.text);
}

#endif
