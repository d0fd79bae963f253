/* What agentd has around it, in the test's own process: a container engine without containers, a
 * store, callers, and a clock that only the test moves. Everything answers at once, in order,
 * unless the test holds it. Included once in a test, which is linked with agentd's files; what is
 * defined here takes the place of the library's. */
#ifndef PLOYZ_TESTS_SURROUNDINGS_H
#define PLOYZ_TESTS_SURROUNDINGS_H

#include <ifaddrs.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agentd/agentd.h"
#include "tests/fuzz/fake/http.h"
#include "tests/fuzz/fake/loop.h"
#include "tests/tap.h"

#pragma GCC diagnostic ignored "-Wunused-function"

#define SECOND 1000000ull
#define MACHINE "m1"

static struct agentd *agentd;

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

/* --- the store */

struct entry {
	struct entry *next;
	char *stream, *subject, *data;
	uint64_t sequence;
};
struct bus_request {
	struct bus_request *next, **link;
	char *stream, *subject, *data;
	uint64_t expected, sequence;
	bool append;
	stream_append_fn appended;
	stream_entry_fn entry;
	void *userdata;
};
struct stream_follow {
	struct stream_follow *next, **link;
	char *filter, *stream;
	bool live;
	const struct stream_follow_ops *ops;
	void *userdata;
};
static struct {
	struct entry *entries; /* the newest first */
	struct bus_request *requests;
	struct stream_follow *follows;
	uint64_t intent, facts; /* last sequences */
	bool away;		/* requests wait */
	bool lost;		/* appends are stored, and their answers lost */
	bool full;		/* appends are refused */
	size_t appends, reads;	/* that were answered */
} store;

static const struct entry *store_last(const char *stream, const char *subject)
{
	for (const struct entry *entry = store.entries; entry; entry = entry->next)
		if (streq(entry->stream, stream) && streq(entry->subject, subject))
			return entry;
	return NULL;
}

static uint64_t store_put(const char *stream, const char *subject, const char *data)
{
	struct entry *entry = xcalloc(1, sizeof(*entry));
	uint64_t *last = streq(stream, STREAM_FACTS) ? &store.facts : &store.intent;

	*entry = (struct entry){ .next = store.entries,
				 .stream = xstrdup(stream),
				 .subject = xstrdup(subject),
				 .data = xstrdup(data),
				 .sequence = ++*last };
	store.entries = entry;
	return entry->sequence;
}

static void store_clear(void)
{
	while (store.entries) {
		struct entry *entry = store.entries;

		store.entries = entry->next;
		free(entry->stream);
		free(entry->subject);
		free(entry->data);
		free(entry);
	}
}

static struct bus_request *request_new(const char *stream, const char *subject, void *userdata)
{
	struct bus_request *request = xcalloc(1, sizeof(*request));
	struct bus_request **at = &store.requests;

	/* At the end: the oldest is answered first. */
	while (*at)
		at = &(*at)->next;
	*request = (struct bus_request){ .link = at,
					 .stream = xstrdup(stream),
					 .subject = xstrdup(subject),
					 .userdata = userdata };
	*at = request;
	return request;
}

void bus_request_cancel(struct bus_request *request)
{
	if (!request)
		return;
	*request->link = request->next;
	if (request->next)
		request->next->link = request->link;
	free(request->stream);
	free(request->subject);
	free(request->data);
	free(request);
}

sd_event *bus_loop(_unused_ const struct bus *bus)
{
	return NULL;
}

void stream_append(_unused_ struct bus *bus, const struct stream_append *append,
		   stream_append_fn fn, void *userdata, struct bus_request **ret)
{
	struct bus_request *request = request_new(STREAM_FACTS, append->subject, userdata);

	request->append = true;
	request->data = xstrdup(append->data);
	request->expected = append->expected;
	request->appended = fn;
	*ret = request;
}

void stream_last(_unused_ struct bus *bus, _unused_ const char *domain, const char *stream,
		 const char *filter, _unused_ uint64_t timeout_usec, stream_entry_fn fn,
		 void *userdata, struct bus_request **ret)
{
	struct bus_request *request = request_new(stream, filter, userdata);

	request->entry = fn;
	*ret = request;
}

void stream_next(struct bus *bus, const char *domain, const char *stream, const char *filter,
		 uint64_t sequence, uint64_t timeout_usec, stream_entry_fn fn, void *userdata,
		 struct bus_request **ret)
{
	stream_last(bus, domain, stream, filter, timeout_usec, fn, userdata, ret);
	(*ret)->sequence = sequence;
}

void stream_health(_unused_ struct bus *bus, _unused_ const char *domain,
		   _unused_ uint64_t timeout_usec, _unused_ stream_health_fn fn, void *userdata,
		   struct bus_request **ret)
{
	/* Never answered. */
	*ret = request_new("health", "health", userdata);
}

struct stream_follow *stream_follow_new(_unused_ struct bus *bus,
					const struct stream_follow_options *options,
					const struct stream_follow_ops *ops, void *userdata)
{
	struct stream_follow *follow = xcalloc(1, sizeof(*follow));

	*follow = (struct stream_follow){ .next = store.follows,
					  .link = &store.follows,
					  .filter = xstrdup(options->filters[0]),
					  .stream = xstrdup(options->stream),
					  .ops = ops,
					  .userdata = userdata };
	if (follow->next)
		follow->next->link = &follow->next;
	store.follows = follow;
	return follow;
}

void stream_follow_free(struct stream_follow *follow)
{
	if (!follow)
		return;
	*follow->link = follow->next;
	if (follow->next)
		follow->next->link = follow->link;
	free(follow->filter);
	free(follow->stream);
	free(follow);
}

/* Whether a filter that ends with `*`, or none, covers the subject. */
static bool covers(const char *filter, const char *subject)
{
	size_t length = strlen(filter);

	if (filter[length - 1] != '*')
		return streq(filter, subject);
	return strncmp(filter, subject, length - 1) == 0;
}

static bool follow_answer(void)
{
	for (struct stream_follow *follow = store.follows; follow; follow = follow->next) {
		if (follow->live)
			continue;
		follow->live = true;
		for (const struct entry *entry = store.entries; entry; entry = entry->next)
			if (streq(entry->stream, follow->stream) &&
			    covers(follow->filter, entry->subject) &&
			    store_last(entry->stream, entry->subject) == entry)
				follow->ops->entry(
					&(struct stream_entry){ entry->subject, entry->sequence, 0,
								entry->data, strlen(entry->data) },
					follow->userdata);
		follow->ops->live(0, follow->userdata);
		return true;
	}
	return false;
}

static void answer_append(const struct bus_request *request)
{
	const struct entry *last = store_last(request->stream, request->subject);
	struct failure failure = FAILURE_INIT;
	uint64_t sequence;

	store.appends++;
	if (store.full) {
		failure_set(&failure, FAILURE_REFUSED, NULL, "no space left on device");
		request->appended(STREAM_REFUSED, 0, &failure, request->userdata);
	} else if ((last ? last->sequence : 0) != request->expected) {
		failure_set(&failure, FAILURE_STALE, NULL, "wrong last sequence");
		request->appended(STREAM_CONFLICT, 0, &failure, request->userdata);
	} else {
		sequence = store_put(request->stream, request->subject, request->data);
		if (store.lost) {
			failure_set(&failure, FAILURE_NO_QUORUM, NULL, "no answer");
			request->appended(STREAM_UNKNOWN, 0, &failure, request->userdata);
		} else {
			request->appended(STREAM_DONE, sequence, NULL, request->userdata);
		}
	}
	failure_clear(&failure);
}

static void answer_read(const struct bus_request *request)
{
	const struct entry *found = store_last(request->stream, request->subject);
	struct stream_entry entry;

	store.reads++;
	/* The first one from `sequence` on. */
	for (const struct entry *older = found; request->sequence && older; older = older->next)
		if (streq(older->stream, request->stream) &&
		    streq(older->subject, request->subject) && older->sequence >= request->sequence)
			found = older;
	if (found && found->sequence < request->sequence)
		found = NULL;
	if (!found) {
		request->entry(NULL, NULL, request->userdata);
		return;
	}
	entry = (struct stream_entry){ found->subject, found->sequence, 0, found->data,
				       strlen(found->data) };
	request->entry(NULL, &entry, request->userdata);
}

/* The oldest request is answered. */
static bool store_answer(void)
{
	struct bus_request *request = store.requests, copy;

	while (request && !request->append && !request->entry)
		request = request->next;
	if (store.away || !request)
		return false;
	copy = *request;
	request->stream = request->subject = request->data = NULL;
	bus_request_cancel(request);
	if (copy.append)
		answer_append(&copy);
	else
		answer_read(&copy);
	free(copy.stream);
	free(copy.subject);
	free(copy.data);
	return true;
}

/* Nobody answered in time. */
static void store_time_out(void)
{
	struct failure failure = FAILURE_INIT;
	struct bus_request *request = store.requests, copy;

	while (request && !request->append && !request->entry)
		request = request->next;
	if (!request)
		return;
	failure_set(&failure, FAILURE_NO_QUORUM, NULL, "no answer");
	copy = *request;
	request->stream = request->subject = request->data = NULL;
	bus_request_cancel(request);
	if (copy.append)
		copy.appended(STREAM_UNKNOWN, 0, &failure, copy.userdata);
	else
		copy.entry(&failure, NULL, copy.userdata);
	free(copy.stream);
	free(copy.subject);
	free(copy.data);
	failure_clear(&failure);
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

int daemon_serve(_unused_ struct daemon *daemon, const struct bus_endpoint *served, size_t count,
		 bus_status_fn status, _unused_ void *userdata)
{
	verbs = served;
	n_verbs = count;
	status_fn = status;
	return 0;
}

static char *status_text;

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

/* --- the engine */

struct container {
	char *id, *name, *image, *policy, *address, *started_at;
	const char *state;
	json_t *labels, *body;
	int64_t exit_code, restarts;
	struct container *next;
};
static struct {
	struct container *containers; /* in the order of creation */
	char **volumes;
	struct strbuf asked; /* every request but reads of lists, one a line */
	const char *hold;    /* requests that contain this are not answered … */
	const char *refuse;  /* … are refused with a reason … */
	const char *refusal; /* … which is this one */
	bool away;	     /* every request breaks off */
	bool podman;
	bool no_update;	 /* it has no such request */
	bool quiet;	 /* no events */
	bool sick;	 /* HTTP probes are answered with 503 */
	unsigned number; /* of the last container or start */
	char *output;	 /* of containers, in frames; NULL: none */
} engine;

static struct container *engine_find(const char *word)
{
	for (struct container *c = engine.containers; c; c = c->next)
		if (streq(c->id, word) || streq(c->name, word))
			return c;
	return NULL;
}

static const char *engine_state(const char *name)
{
	const struct container *c = engine_find(name);

	return c ? c->state : "none";
}

static void engine_event(const struct container *c, const char *action)
{
	_cleanup_json_ json_t *attributes = json_copy(c->labels), *event = NULL;
	_cleanup_free_ char *text = NULL, *line = NULL, *code = NULL;

	if (streq(action, "die")) {
		code = xasprintf("%lld", (long long)c->exit_code);
		json_object_set_new(attributes, "exitCode", json_string(code));
	}
	event = json_pack("{s:s, s:{s:s, s:O}}", "Action", action, "Actor", "ID", c->id,
			  "Attributes", attributes);
	text = json_text(event);
	line = xasprintf("%s\n", text);
	for (struct http_request *r = agentd->http->requests; r && !engine.quiet; r = r->next)
		if (strstr(r->url, "/events")) {
			fake_piece(r, 200, line, strlen(line));
			return;
		}
}

static void container_start(struct container *c)
{
	free(c->address);
	free(c->started_at);
	c->address = xasprintf("10.101.1.%u", 2 + ++engine.number % 200);
	c->started_at =
		xasprintf("2026-01-01T00:00:%02u.%06uZ", engine.number / 60 % 60, engine.number);
	c->state = "running";
	engine_event(c, "start");
}

/* Its process ends by itself. */
static void engine_die(const char *name, int64_t code)
{
	struct container *c = engine_find(name);

	if (!c || !streq(c->state, "running"))
		return;
	c->state = "exited";
	c->exit_code = code;
	free(steal(c->address));
	engine_event(c, "die");
}

/* The engine starts it again, as its restart policy says. */
static void engine_restart(const char *name)
{
	struct container *c = engine_find(name);

	if (!c || streq(c->policy, "no"))
		return;
	c->restarts++;
	container_start(c);
}

static void container_free(struct container *c)
{
	free(c->id);
	free(c->name);
	free(c->image);
	free(c->policy);
	free(c->address);
	free(c->started_at);
	json_decref(c->labels);
	json_decref(c->body);
	free(c);
}

static void engine_remove(const char *name)
{
	for (struct container **at = &engine.containers; *at; at = &(*at)->next) {
		struct container *c = *at;

		if (!streq(c->name, name) && !streq(c->id, name))
			continue;
		*at = c->next;
		engine_event(c, "destroy");
		container_free(c);
		return;
	}
}

/* A container that somebody else makes, by hand. Borrowed. */
static struct container *engine_make(const char *name, const json_t *labels)
{
	struct container *c = xcalloc(1, sizeof(*c)), **at = &engine.containers;

	while (*at)
		at = &(*at)->next;
	c->name = xstrdup(name);
	c->id = xasprintf("c%u-%s", ++engine.number, name);
	c->image = xstrdup("sha256:1");
	c->policy = xstrdup("no");
	c->state = "created";
	c->labels = json_copy((json_t *)labels);
	*at = c;
	return c;
}

static void respond(struct http_request *request, int status, json_t *json)
{
	_cleanup_free_ char *text = json ? json_text(json) : xstrdup("");

	json_decref(json);
	fake_piece(request, status, text, strlen(text));
	fake_end(request, 0, status);
}

static void respond_message(struct http_request *request, int status, const char *message)
{
	respond(request, status, json_pack("{s:s}", "message", message));
}

static json_t *networks_of(const struct container *c)
{
	return json_pack("{s:{s:{s:s}}}", "Networks", "ployz", "IPAddress",
			 c->address ? c->address : "");
}

static json_t *inspect(const struct container *c)
{
	_cleanup_free_ char *name = xasprintf("/%s", c->name);

	return json_pack("{s:s, s:s, s:s, s:{s:s, s:I, s:s}, s:I, s:{s:{s:s}}, s:{s:O}, s:o}", "Id",
			 c->id, "Name", name, "Image", c->image, "State", "Status", c->state,
			 "ExitCode", (json_int_t)c->exit_code, "StartedAt",
			 c->started_at ? c->started_at : "", "RestartCount",
			 (json_int_t)c->restarts, "HostConfig", "RestartPolicy", "Name", c->policy,
			 "Config", "Labels", c->labels, "NetworkSettings", networks_of(c));
}

static json_t *list_containers(void)
{
	json_t *all = json_array();

	for (const struct container *c = engine.containers; c; c = c->next) {
		_cleanup_free_ char *name = xasprintf("/%s", c->name);

		json_array_append_new(all, json_pack("{s:s, s:[s], s:s, s:O, s:s, s:[], s:o}", "Id",
						     c->id, "Names", name, "ImageID", c->image,
						     "Labels", c->labels, "State", c->state,
						     "Ports", "NetworkSettings", networks_of(c)));
	}
	return all;
}

static void create(struct http_request *request, const char *query)
{
	_cleanup_json_ json_t *body = json_loads(request->body ? request->body : "{}", 0, NULL);
	const char *name = strstr(query, "name=") ? strstr(query, "name=") + 5 : "";
	struct container *c;

	if (engine_find(name)) {
		respond_message(request, 409, "the name is already in use");
		return;
	}
	c = engine_make(name, json_object_get(body, "Labels"));
	c->body = json_incref(body);
	free(c->policy);
	c->policy = xstrdup(json_string_value(json_object_get(
		json_object_get(json_object_get(body, "HostConfig"), "RestartPolicy"), "Name")));
	respond(request, 201, json_pack("{s:s}", "Id", c->id));
}

static void update(struct http_request *request, struct container *c)
{
	_cleanup_json_ json_t *body = json_loads(request->body ? request->body : "{}", 0, NULL);

	if (engine.no_update) {
		fake_end(request, 0, 404);
		return;
	}
	free(c->policy);
	c->policy = xstrdup(
		json_string_value(json_object_get(json_object_get(body, "RestartPolicy"), "Name")));
	respond(request, 200, json_object());
}

static void stop(struct http_request *request, struct container *c)
{
	if (streq(c->state, "running"))
		engine_die(c->name, 143);
	fake_end(request, 0, 204);
}

/* `rest`: WORD or WORD/VERB. */
static bool container_request(struct http_request *request, const char *rest)
{
	size_t length = strcspn(rest, "/?");
	_cleanup_free_ char *word = xstrndup(rest, length);
	_cleanup_free_ char *verb =
		xstrndup(rest + length + (rest[length] == '/'),
			 rest[length] == '/' ? strcspn(rest + length + 1, "?") : 0);
	struct container *c = engine_find(word);

	if (!c) {
		respond_message(request, 404, "no such container");
	} else if (streq(request->method, "DELETE")) {
		engine_remove(c->id);
		fake_end(request, 0, 204);
	} else if (streq(verb, "json")) {
		respond(request, 200, inspect(c));
	} else if (streq(verb, "start")) {
		bool runs = streq(c->state, "running");

		if (!runs)
			container_start(c);
		fake_end(request, 0, runs ? 304 : 204);
	} else if (streq(verb, "stop")) {
		stop(request, c);
	} else if (streq(verb, "update")) {
		update(request, c);
	} else if (streq(verb, "wait") || (streq(verb, "logs") && request->on_body)) {
		/* Both end with the process. */
		if (streq(c->state, "running"))
			return false;
		if (streq(verb, "logs") && engine.output)
			fake_piece(request, 200, engine.output, strlen(engine.output));
		fake_end(request, 0, 200);
	} else if (streq(verb, "logs")) {
		if (engine.output)
			fake_piece(request, 200, engine.output, strlen(engine.output));
		fake_end(request, 0, 200);
	} else {
		respond_message(request, 501, "not here");
	}
	return true;
}

static void volume_request(struct http_request *request, const char *name)
{
	if (strv_contains(engine.volumes, name))
		respond(request, 200, json_pack("{s:s}", "Name", name));
	else
		respond_message(request, 404, "no such volume");
}

/* False: it is not answered now. */
static bool engine_respond(struct http_request *request, const char *path)
{
	if (str_starts(path, "/events"))
		return false;
	if (str_starts(path, "/version"))
		respond(request, 200,
			json_pack("{s:s, s:[{s:s}]}", "Version", "1.0", "Components", "Name",
				  engine.podman ? "Podman Engine" : "Engine"));
	else if (str_starts(path, "/info"))
		respond(request, 200,
			json_pack("{s:s, s:I, s:I}", "Architecture", "x86_64", "MemTotal",
				  (json_int_t)1 << 30, "NCPU", (json_int_t)4));
	else if (str_starts(path, "/networks/"))
		respond(request, 200,
			json_pack("{s:{s:[{s:s}]}}", "IPAM", "Config", "Subnet", "10.101.1.0/24"));
	else if (str_starts(path, "/containers/json"))
		respond(request, 200, list_containers());
	else if (str_starts(path, "/containers/create"))
		create(request, path);
	else if (str_starts(path, "/containers/"))
		return container_request(request, path + strlen("/containers/"));
	else if (str_starts(path, "/volumes/"))
		volume_request(request, path + strlen("/volumes/"));
	else if (str_starts(path, "/images/"))
		respond(request, 200, json_pack("{s:s}", "Id", "sha256:1"));
	else
		respond_message(request, 501, "not here");
	return true;
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
	struct http_request *found[256];
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
	for (size_t i = 0; i < n_progress; i++) {
		free(progress[i].id);
		free(progress[i].text);
	}
	free(steal(progress));
	n_progress = 0;
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		_cleanup_free_ char *path = xasprintf("%s/%s", state_directory, files[i]);

		unlink(path);
	}
	rmdir(state_directory);
	strcpy(state_directory + strlen(state_directory) - 6, "XXXXXX");
	free(steal(log_lines));
	free(steal(status_text));
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
static void ask(enum subject_id subject, const char *format, ...)
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

#endif
