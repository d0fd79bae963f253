/* The whole of agentd but its sockets and files, against an engine that answers whatever it likes:
 * lists, inspections, events, output, pulls, commands in containers; and a store that shows one
 * head or another. What agentd publishes and writes into the store has to be readable there, and
 * nothing may be left of it at its end.
 *
 * Steps of one byte: an answer (good, good but for some bytes, or as it comes), a piece of a
 * stream, a command from the bus, an answer of the store, the end of a turn, a timer.
 *
 * covers: agentd/engine.c agentd/adopt.c agentd/control.c agentd/control-engine.c
 * agentd/container.c agentd/container-read.c agentd/list.c agentd/images.c agentd/logs.c
 * agentd/run.c agentd/network.c agentd/prober.c agentd/lines.c agentd/states.c agentd/facts.c
 * agentd/facts-judge.c agentd/bus.c agentd/agentd.c agentd/commands.c agentd/admission.c
 * agentd/heads.c agentd/abort.c agentd/aborting.c agentd/locks.c agentd/records.c agentd/volumes.c
 * agentd/query.c agentd/conflicts.c
 *
 * options: -max_len=240 -len_control=0 */
#include <ifaddrs.h>
#include <sys/socket.h>

#include "agentd/agentd.h"
#include "tests/fuzz/fake/calls.h"
#include "tests/fuzz/fake/http.h"
#include "tests/fuzz/fake/log.h"
#include "tests/fuzz/fake/loop.h"
#include "tests/fuzz/generate.h"

#define STEPS_MAX 16
#define ROUNDS_MAX 30

static const struct agentd_config config = {
	.daemon = { .machine = (char *)"m1", .state = (char *)"/nonexistent" },
	.engine = (char *)"unix:///nonexistent/engine",
	.network = (char *)"ployz",
	.bridge = (char *)"ployz0",
	.publish_address = (char *)"127.0.0.1",
};

struct bus_request { /* to the store */
	struct bus_request *next, **link;
	char *subject;
	stream_append_fn fn;
	stream_entry_fn entry;
	stream_health_fn health;
	void *userdata;
};
struct stream_follow {
	const struct stream_follow_ops *ops;
	void *userdata;
};
static struct bus_request *requests;
static struct stream_follow *followers[2]; /* facts, the machine's record */
static size_t n_followers;

static struct bus_request *request_new(const char *subject, void *userdata)
{
	struct bus_request *request = xcalloc(1, sizeof(*request));

	*request = (struct bus_request){ .next = requests,
					 .link = &requests,
					 .subject = xstrdup(subject),
					 .userdata = userdata };
	if (request->next)
		request->next->link = &request->next;
	requests = request;
	return request;
}

void bus_request_cancel(struct bus_request *request)
{
	if (!request)
		return;
	*request->link = request->next;
	if (request->next)
		request->next->link = request->link;
	free(request->subject);
	free(request);
}

sd_event *bus_loop(_unused_ const struct bus *bus)
{
	return NULL;
}

void stream_append(_unused_ struct bus *bus, const struct stream_append *append,
		   stream_append_fn fn, void *userdata, struct bus_request **ret)
{
	struct failure failure = FAILURE_INIT;
	void *facts = NULL;

	/* What is in the store is read by every machine. */
	HOLDS(subject_match(SUBJECT_INSTANCES, append->subject, NULL, NULL));
	if (codec_parse(&instances_schema, append->data, append->size, CODEC_LENIENT, &facts,
			&failure) < 0)
		fprintf(stderr, "%s: %s\n", failure.path ? failure.path : "", failure.message);
	HOLDS(facts);
	instances_free(facts);
	*ret = request_new(append->subject, userdata);
	(*ret)->fn = fn;
}

void stream_last(_unused_ struct bus *bus, _unused_ const char *domain, _unused_ const char *stream,
		 const char *filter, _unused_ uint64_t timeout_usec, stream_entry_fn fn,
		 void *userdata, struct bus_request **ret)
{
	*ret = request_new(filter, userdata);
	(*ret)->entry = fn;
}

void stream_next(struct bus *bus, const char *domain, const char *stream, const char *filter,
		 _unused_ uint64_t sequence, uint64_t timeout_usec, stream_entry_fn fn,
		 void *userdata, struct bus_request **ret)
{
	stream_last(bus, domain, stream, filter, timeout_usec, fn, userdata, ret);
}

void stream_health(_unused_ struct bus *bus, _unused_ const char *domain,
		   _unused_ uint64_t timeout_usec, stream_health_fn fn, void *userdata,
		   struct bus_request **ret)
{
	*ret = request_new("", userdata);
	(*ret)->health = fn;
}

/* Heads of the namespace: as d1 opened it, as it committed, as it aborted, as d2 opened it. */
#define HEAD(more) "{\"namespace\":\"shop\",\"generation\":1," more "}"
#define SLOTS(id, deploy)                                                                         \
	"\"services\":[{\"name\":\"web\",\"slots\":[{\"slot\":0,\"instance\":\"" id               \
	"\",\"machine\":\"m1\",\"deploy\":\"" deploy "\"},{\"slot\":1,\"instance\":\"shop-web-1-" \
	"d0\",\"machine\":\"m1\",\"deploy\":\"d0\"}]}]"
static const char *const heads[] = {
	HEAD("\"writer\":\"d1\",\"epoch\":1,\"deploy\":\"d0\",\"open\":{\"deploy\":\"d1\","
	     "\"epoch\":1,"
	     "\"generation\":1}," SLOTS("shop-web-0-d0", "d0")),
	HEAD("\"writer\":\"d1\",\"epoch\":1,\"deploy\":\"d1\"," SLOTS("shop-web-0-d1", "d1")),
	HEAD("\"writer\":\"d1\",\"epoch\":1,\"deploy\":\"d0\"," SLOTS("shop-web-0-d0", "d0")),
	HEAD("\"writer\":\"d2\",\"epoch\":2,\"deploy\":\"d0\",\"open\":{\"deploy\":\"d2\","
	     "\"epoch\":2,"
	     "\"generation\":1}," SLOTS("shop-web-0-d0", "d0")),
	"{\"namespace\":7}",
	"",
};

static void tell_entry(const struct bus_request *request, const struct failure *failure,
		       uint8_t how)
{
	bool head = subject_match(SUBJECT_NAMESPACE, request->subject, NULL, NULL);
	const char *text = head ? heads[how / 4 % ARRAY_SIZE(heads)]
				: "{\"machine\":\"m1\",\"namespace\":\"shop\",\"nonce\":\"x\"}";
	const struct stream_entry entry = { request->subject, how, 0, text, strlen(text) };

	if (how % 8 == 7)
		request->entry(failure, NULL, request->userdata);
	else
		request->entry(NULL, *text ? &entry : NULL, request->userdata);
}

/* The store answers the newest request, one way or another. */
static void store_answer(uint8_t how)
{
	struct failure failure = FAILURE_INIT;
	struct bus_request request;

	if (!requests)
		return;
	request = *requests;
	requests->subject = NULL;
	bus_request_cancel(requests);
	failure_set(&failure, how % 8 == 3 ? FAILURE_REFUSED : FAILURE_NO_QUORUM, NULL, "no");
	if (request.health)
		request.health(how % 3 ? NULL : &failure, how % 3 ? "store-m1" : NULL,
			       how % 3 == 2 ? "no space left on device" : NULL, request.userdata);
	else if (request.entry)
		tell_entry(&request, &failure, how);
	else if (how % 8 < 4)
		request.fn(how % 8 == 3	  ? STREAM_REFUSED
			   : how % 8 == 2 ? STREAM_CONFLICT
					  : STREAM_UNKNOWN,
			   0, &failure, request.userdata);
	else
		request.fn(STREAM_DONE, how, NULL, request.userdata);
	free(request.subject);
	failure_clear(&failure);
}

struct stream_follow *stream_follow_new(_unused_ struct bus *bus,
					_unused_ const struct stream_follow_options *options,
					const struct stream_follow_ops *ops, void *userdata)
{
	struct stream_follow *follow = xcalloc(1, sizeof(*follow));

	follow->ops = ops;
	follow->userdata = userdata;
	HOLDS(n_followers < ARRAY_SIZE(followers));
	followers[n_followers++] = follow;
	return follow;
}

void stream_follow_free(struct stream_follow *follow)
{
	for (size_t i = 0; i < n_followers; i++)
		if (followers[i] == follow)
			followers[i] = NULL;
	free(follow);
}

void daemon_status(_unused_ struct daemon *daemon, const char *format, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list args;

	va_start(args, format);
	text = xvasprintf(format, args);
	va_end(args);
}

/* Nothing is written, and no service is there to be connected to. */
int file_read(_unused_ const char *path, _unused_ size_t max, _unused_ char **ret_text,
	      _unused_ size_t *ret_size)
{
	return -ENOENT;
}
int file_write_atomic(_unused_ const char *path, _unused_ const void *data, _unused_ size_t size,
		      _unused_ unsigned mode)
{
	return 0;
}
int locks_load(_unused_ struct agentd *agentd)
{
	return 0;
}
int locks_save(struct agentd *agentd)
{
	json_decref(locks_encode(&agentd->locks));
	agentd->locks.unsaved = false;
	return 0;
}
char *files_directory(const struct agentd *agentd, const char *instance)
{
	return xasprintf("%s/files/%s", agentd->config->daemon.state, instance);
}
int files_write(_unused_ const struct agentd *agentd, _unused_ const char *instance,
		_unused_ const struct pairs *files, _unused_ struct failure *failure)
{
	return 0;
}
void files_remove(_unused_ const struct agentd *agentd, _unused_ const char *instance)
{
}
void container_context_fill(const struct agentd *agentd, struct container_context *context)
{
	*context = (struct container_context){ .machine = config.daemon.machine,
					       .network = config.network,
					       .bridge_address = agentd->network.address,
					       .publish_address = config.publish_address,
					       .podman = agentd->engine->podman };
}
int socket(_unused_ int domain, _unused_ int type, _unused_ int protocol)
{
	errno = EMFILE;
	return -1;
}

/* The machine's links are none of the input. */
int getifaddrs(struct ifaddrs **ret)
{
	*ret = NULL;
	return 0;
}
void freeifaddrs(_unused_ struct ifaddrs *all)
{
}

/* ---- the engine ---- */

#define SPEC(ready)                                                                       \
	"{\\\"image\\\":\\\"x\\\",\\\"name\\\":\\\"web\\\",\\\"ports\\\":{\\\"http\\\":{" \
	"\\\"port\\\":80}}," ready "\\\"restart\\\":\\\"on-failure\\\"}"
#define LABELS(id, spec)                                                                           \
	"{\"ployz.namespace\":\"shop\",\"ployz.service\":\"web\",\"ployz.instance\":\"" id         \
	"\",\"ployz.slot\":\"0\",\"ployz.deploy\":\"d1\",\"ployz.epoch\":\"1\",\"ployz.machine\":" \
	"\"m1\","                                                                                  \
	"\"ployz.spec\":\"" spec "\"}"
#define NETWORKS "{\"Networks\":{\"ployz\":{\"IPAddress\":\"10.101.1.2\"}}}"
#define INSPECT(state)                                                                             \
	"{\"Id\":\"c1\",\"Image\":\"sha256:1\",\"RestartCount\":1,\"Config\":{\"Labels\":" LABELS( \
		"shop-web-0-d1",                                                                   \
		SPEC("\\\"ready\\\":{\\\"exec\\\":[\\\"true\\\"]},")) "},"                         \
								      "\"NetworkSettings\""        \
								      ":" NETWORKS                 \
								      ",\"State\":{" state "}}"

/* What a good engine says to a path, by the byte: some say the one thing, some the other. */
static const struct good {
	const char *method, *path; /* a part of it */
	int status;
	const char *body;
} goods[] = {
	{ "GET", "/version", 200,
	  "{\"Version\":\"20.10\",\"Components\":[{\"Name\":\"Engine\"}]}" },
	{ "GET", "/version", 200,
	  "{\"Version\":\"4.3\",\"Components\":[{\"Name\":\"Podman Engine\"}]}" },
	{ "GET", "/info", 200,
	  "{\"Architecture\":\"x86_64\",\"DockerRootDir\":\"/"
	  "\",\"MemTotal\":1000000000,\"NCPU\":2}" },
	{ "GET", "/networks/", 200,
	  "{\"IPAM\":{\"Config\":[{\"Subnet\":\"10.101.1.0/24\"}]},\"Options\":{"
	  "\"com.docker.network.bridge.name\":\"ployz0\"}}" },
	{ "GET", "/networks/", 404, "{\"message\":\"no such network\"}" },
	{ "GET", "/networks/", 200,
	  "{\"IPAM\":{\"Config\":[{\"Subnet\":\"10.101.2.0/"
	  "24\"}]},\"Labels\":{\"ployz.machine\":\"m1\"}}" },
	{ "POST", "/update", 200, "{}" },
	{ "POST", "/update", 404, "Not Found" },
	{ "GET", "/volumes/", 200, "{\"Name\":\"v\"}" },
	{ "GET", "/volumes/", 404, "{\"message\":\"no such volume\"}" },
	{ "POST", "/networks/create", 201, "{\"Id\":\"n1\"}" },
	{ "DELETE", "/networks/", 204, "" },
	{ "GET", "/containers/json", 200, "[]" },
	{ "GET", "/containers/json", 200,
	  "[{\"Id\":\"c1\",\"ImageID\":\"sha256:1\",\"Names\":[\"/"
	  "shop-web-0-d1\"],\"State\":\"running\","
	  "\"Labels\":" LABELS("shop-web-0-d1",
			       SPEC("\\\"ready\\\":{\\\"http\\\":{\\\"port\\\":\\\"http\\\"}}"
				    ",")) ",\"NetworkSettings\":" NETWORKS
					  ",\"Ports\":[{\"PublicPort\":80,\"Type\":\"tcp\"}]},"
					  "{\"Id\":\"c2\",\"State\":\"exited\","
					  "\"Labels\":" LABELS("shop-web-1-d0", SPEC("")) "}]" },
	{ "GET", "/containers/json", 200,
	  "[{\"Id\":\"c9\",\"Names\":[\"/"
	  "shop-web-pre-d0\"],\"Labels\":{\"ployz.namespace\":\"shop\","
	  "\"ployz.service\":\"web\",\"ployz.run\":\"shop-web--1-d0\",\"ployz.machine\":\"m1\"}}"
	  "]" },
	{ "POST", "/containers/create", 201, "{\"Id\":\"c1\"}" },
	{ "POST", "/containers/create", 409, "{\"message\":\"the name is in use\"}" },
	{ "POST", "/start", 204, "" },
	{ "POST", "/stop", 204, "" },
	{ "POST", "/wait", 200, "{\"StatusCode\":0}" },
	{ "DELETE", "/containers/", 204, "" },
	{ "GET", "/exec/", 200, "{\"ExitCode\":0}" },
	{ "GET", "/exec/", 200, "{\"ExitCode\":1}" },
	{ "POST", "/exec", 201, "{\"Id\":\"e1\"}" },
	{ "GET", "/images/", 200, "{\"Id\":\"sha256:1\"}" },
	{ "GET", "/images/", 404, "{\"message\":\"no such image\"}" },
	{ "POST", "/images/create", 200,
	  "{\"status\":\"Downloading\",\"id\":\"a\",\"progressDetail\":{\"current\":5,\"total\":10}"
	  "}\n" },
	{ "POST", "/images/create", 200, "{\"error\":\"no such host\"}\n" },
	{ "GET", "/logs", 200, "\1\0\0\0\0\0\0\4one\n\2\0\0\0\0\0\0\3bad" },
	{ "GET", "/events", 200,
	  "{\"Action\":\"start\",\"Actor\":{\"ID\":\"c1\",\"Attributes\":{\"ployz.instance\":"
	  "\"shop-web-0-d1\"}}}\n" },
	{ "GET", "/events", 200,
	  "{\"Action\":\"die\",\"Actor\":{\"ID\":\"c1\",\"Attributes\":{\"ployz.instance\":\"shop-"
	  "web-0-d1\","
	  "\"exitCode\":\"1\"}}}\n" },
	{ "GET", "/events", 200,
	  "{\"Action\":\"destroy\",\"Actor\":{\"ID\":\"c1\",\"Attributes\":{\"ployz.instance\":"
	  "\"shop-web-0-d1\"}}}\n{\"Action\":\"oom\",\"Actor\":{\"ID\":\"c1\",\"Attributes\":{"
	  "\"ployz.instance\":\"shop-web-0-d1\"}}}\n" },
	{ "GET", "/json", 200, INSPECT("\"Status\":\"running\",\"StartedAt\":\"t1\"") },
	{ "GET", "/json", 200, INSPECT("\"Status\":\"running\",\"StartedAt\":\"t2\"") },
	{ "GET", "/json", 200, INSPECT("\"Status\":\"exited\",\"ExitCode\":1") },
	{ "GET", "/json", 200, INSPECT("\"Status\":\"created\"") },
	{ "GET", "/json", 404, "{\"message\":\"no such container\"}" },
	{ "GET", "http://", 200, "ok" },
	{ "", "", 500, "{\"message\":\"it has no idea\"}" },
};

/* Frames hold zero bytes. */
static size_t good_size(const struct good *good)
{
	return streq(good->path, "/logs") ? 23 : strlen(good->body);
}

static const struct good *good_answer(const struct http_request *request, uint8_t which)
{
	const struct good *found[ARRAY_SIZE(goods)];
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(goods) - 1; i++)
		if (streq(goods[i].method, request->method) && strstr(request->url, goods[i].path))
			found[n++] = &goods[i];
	found[n++] = &goods[ARRAY_SIZE(goods) - 1];
	/* The refusal is the rarest. */
	return found[n > 1 && which < 224 ? which % (n - 1) : n - 1];
}

/* The good answer with some of its bytes replaced by others. */
static void splice(struct cursor *c, struct strbuf *body)
{
	size_t at = (size_t)cursor_byte(c) << 8, size, gone = cursor_byte(c) % 32;
	struct strbuf tail = STRBUF_INIT;
	const char *bytes;

	at = (at | cursor_byte(c)) % (body->size + 1);
	bytes = cursor_part(c, &size);
	gone = MIN2(gone, body->size - at);
	strbuf_add(&tail, body->text + at + gone, body->size - at - gone);
	body->size = at;
	strbuf_add(body, bytes, size);
	strbuf_add(body, tail.text, tail.size);
	strbuf_clear(&tail);
}

/* A long text, so that what is cut somewhere is cut here: the last bytes of it are the input's. */
static void stretch(struct cursor *c, struct strbuf *body)
{
	static const char letters[] = "gr\xc3\xbc\xc3\x9f\xe2\x82\xac\xf0\x9f\x98\x80 ";

	strbuf_puts(body, "{\"message\":\"");
	for (int n = 20 + cursor_byte(c) % 64; n; n--)
		strbuf_puts(body, letters + (n == 20 ? cursor_byte(c) % 3 : 0));
	strbuf_puts(body, "\"}");
}

static void answer(struct http *http, struct cursor *c, uint8_t step)
{
	static const int statuses[] = { 200, 204, 304, 400, 404, 409, 500 };
	struct http_request *request = fake_request(http, cursor_byte(c));
	_cleanup_(strbuf_clear) struct strbuf body = STRBUF_INIT;
	const struct good *good;
	const char *bytes;
	size_t size;
	int status;

	if (!request)
		return;
	good = good_answer(request, cursor_byte(c));
	status = good->status;
	if (step % 8 < 5) {
		strbuf_add(&body, good->body, good_size(good));
		if (step % 8 == 4)
			splice(c, &body);
	} else if (step % 8 == 5) {
		status = statuses[cursor_byte(c) % ARRAY_SIZE(statuses)];
		stretch(c, &body);
	} else {
		status = statuses[cursor_byte(c) % ARRAY_SIZE(statuses)];
		bytes = cursor_part(c, &size);
		strbuf_add(&body, bytes, size);
	}
	if (step & 32 && !body.size)
		fake_end(request, -ECONNRESET, 0);
	else if (fake_piece(request, status, body.text ? body.text : "", body.size) &&
		 !(step & 8) && !request->paused && !request->over)
		fake_end(request, step & 16 && step & 32 ? -ECONNRESET : 0, status);
}

#define ORDER(more)                                                                          \
	"{\"namespace\":\"shop\",\"epoch\":1,\"deploy\":\"d1\",\"generation\":1,\"opened\":" \
	"1," more "}"
#define SERVICE(more) \
	"\"service\":{\"name\":\"web\",\"image\":\"x\",\"ports\":{\"http\":{\"port\":80}}" more "}"

static const struct {
	enum subject_id subject;
	const char *request;
} orders[] = {
	{ SUBJECT_AGENT_START, ORDER("\"instance\":\"shop-web-0-d1\"," SERVICE("")) },
	{ SUBJECT_AGENT_START,
	  ORDER("\"instance\":\"shop-web-0-d1\"," SERVICE(",\"ready\":{\"exec\":[\"true\"]}")) },
	{ SUBJECT_AGENT_START,
	  ORDER("\"instance\":\"shop-web-1-d1\",\"slot\":1," SERVICE(
		  ",\"ready\":{\"http\":{\"port\":\"http\"},\"retries\":1},\"restart\":\"no\"")) },
	{ SUBJECT_AGENT_DRAIN, ORDER("\"instance\":\"shop-web-0-d1\"") },
	{ SUBJECT_AGENT_STOP, ORDER("\"instance\":\"shop-web-0-d1\"") },
	{ SUBJECT_AGENT_RESUME, ORDER("\"instance\":\"shop-web-0-d1\"") },
	{ SUBJECT_AGENT_REMOVE, ORDER("\"instance\":\"shop-web-0-d1\"") },
	{ SUBJECT_AGENT_REMOVE, ORDER("\"instance\":\"shop-web-1-d0\"") },
	{ SUBJECT_AGENT_PREPARE, ORDER("\"image\":\"x:1\"") },
	{ SUBJECT_AGENT_PREPARE, ORDER("\"image\":\"r:5000/x@sha256:1\",\"pull\":\"always\"") },
	{ SUBJECT_AGENT_RUN, ORDER(SERVICE(",\"pre_deploy\":{\"command\":[\"true\"]}")) },
	{ SUBJECT_AGENT_LIST, "{\"images\":[\"x:1\"]}" },
	{ SUBJECT_AGENT_LIST, "{\"namespace\":\"shop\"}" },
	{ SUBJECT_AGENT_LOGS, "{\"stream\":\"s1\",\"namespace\":\"shop\",\"follow\":true}" },
	{ SUBJECT_AGENT_LOGS, "{\"stream\":\"s2\",\"namespace\":\"shop\",\"tail\":5}" },
	{ SUBJECT_AGENT_LOGS, "{\"stream\":\"s1\",\"namespace\":\"shop\",\"stop\":true}" },
	{ SUBJECT_AGENT_LOCK, ORDER("\"holder\":\"m1\",\"reserve\":{\"memory\":1000}") },
	{ SUBJECT_AGENT_LOCK,
	  "{\"namespace\":\"shop\",\"epoch\":2,\"deploy\":\"d2\",\"generation\":1,\"opened\":2}" },
	{ SUBJECT_AGENT_UNLOCK, ORDER("\"x\":0") },
	{ SUBJECT_AGENT_STOP, ORDER("\"instance\":\"shop-web-1-d0\"") },
	{ SUBJECT_AGENT_DRAIN, ORDER("\"instance\":\"shop-web-1-d0\"") },
	{ SUBJECT_AGENT_PROBE, ORDER("\"instances\":[\"shop-web-0-d1\",\"shop-web-0-d0\"]") },
	{ SUBJECT_AGENT_START,
	  ORDER("\"instance\":\"shop-web-2-d1\",\"slot\":2," SERVICE(
		  ",\"mounts\":[{\"volume\":\"data\",\"target\":\"/d\"}],\"ready\":{\"running\":"
		  "\"1s\"}")) },
};

static void order(struct cursor *c, uint8_t step)
{
	uint8_t which = cursor_byte(c);
	static json_t *known[ARRAY_SIZE(orders)];

	if (step & 1) {
		enum subject_id subject = fake_verbs[which % fake_n_verbs].subject;
		_cleanup_json_ json_t *request = generate(c, subjects[subject].request);

		fake_call(subject, request);
		return;
	}
	which %= ARRAY_SIZE(orders);
	if (!known[which])
		known[which] = json_loads(orders[which].request, 0, NULL);
	HOLDS(known[which]);
	fake_call(orders[which].subject, known[which]);
}

static void entry(size_t follower, const char *subject, const char *data)
{
	const struct stream_entry entry = {
		.subject = subject, .sequence = 7, .data = data, .size = strlen(data)
	};
	struct stream_follow *follow = followers[follower];

	if (follow)
		follow->ops->entry(&entry, follow->userdata);
}

static void step(struct agentd *agentd, struct cursor *c)
{
	uint8_t step = cursor_byte(c);

	if (step < 128)
		answer(agentd->http, c, step);
	else if (step < 192)
		order(c, step);
	else if (step < 208)
		store_answer(cursor_byte(c));
	else if (step < 224)
		fake_turn();
	else
		fake_tick();
	fake_http_turn(agentd->http);
}

static void begin(struct agentd *agentd, uint8_t flags)
{
	entry(1, "ployz.v1.intent.member.m1",
	      "{\"id\":\"m1\",\"life_cycle\":\"active\",\"subnet\":\"10.101.1.0/24\"}");
	if (flags & 1)
		entry(0, "ployz.v1.facts.m1.shop",
		      "{\"machine\":\"m1\",\"namespace\":\"shop\",\"instances\":[{\"id\":\"shop-"
		      "web-0-d1\",\"container\":\"c1\",\"deploy\":\"d1\",\"namespace\":\"shop\","
		      "\"service\":\"web\",\"state\":\"ready\"},{\"id\":\"shop-web-1-d0\","
		      "\"container\":\"c2\",\"deploy\":\"d0\",\"namespace\":\"shop\",\"slot\":1,"
		      "\"service\":\"web\",\"state\":\"ready\"},{\"id\":\"shop-web--1-d0\","
		      "\"slot\":-1,"
		      "\"container\":\"c9\",\"deploy\":\"d0\",\"namespace\":\"shop\",\"service\":"
		      "\"web\","
		      "\"state\":\"starting\"}]}");
	followers[0]->ops->live(7, followers[0]->userdata);
	for (int round = 0; round < (flags >> 1) % 8; round++) {
		struct http_request *request = agentd->http->requests;

		if (!request)
			fake_tick();
		else if (!request->on_body) {
			const struct good *good = good_answer(request, flags >> 4);

			fake_piece(request, good->status, good->body, strlen(good->body));
			fake_end(request, 0, good->status);
		} else if (request->next) {
			request = request->next;
			fake_piece(request, 200, "[]", 2);
			fake_end(request, 0, 200);
		}
	}
}

static void end(struct agentd *agentd)
{
	json_decref(fake_status(fake_server));
	for (int round = 0; round < ROUNDS_MAX && agentd->http->requests; round++) {
		while (agentd->http->requests)
			fake_end(agentd->http->requests, -ECONNRESET, 0);
		fake_turn();
	}
	agentd_free(agentd);
	HOLDS(!requests && !fake_calls);
	n_followers = 0;
	fake_loop_end();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct daemon daemon = { .name = "agentd", .config = &config.daemon };
	struct cursor c = { data, data + size };
	struct agentd *agentd;
	uint8_t flags = cursor_byte(&c);

	HOLDS(agentd_new(&daemon, &config, &agentd) == 0);
	HOLDS(agentd_start(agentd) == 0 && agentd_serve(agentd) == 0);
	fake_tick();
	begin(agentd, flags);
	for (int steps = 0; cursor_left(&c) && steps < STEPS_MAX; steps++)
		step(agentd, &c);
	end(agentd);
	return 0;
}
