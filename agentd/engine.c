/* Engine: requests to the container engine over its Unix socket, and the stream of its events. */
#include "agentd/agentd.h"

#define UNIX_SCHEME "unix://"
#define MESSAGE_MAX 400
#define EVENT_MAX_BYTES (1024 * 1024) /* one event is one line */

struct engine_request {
	TAILQ_ENTRY(engine_request) link; /* of those that could not be started */
	struct engine *engine;
	struct http_request *http; /* NULL: it could not be started */
	engine_fn fn;		   /* of a gathered answer */
	http_body_fn on_body;	   /* of a streamed one … */
	http_done_fn done;	   /* … and its end */
	void *userdata;
	bool makes; /* counted as making */
};

static void ask_version(void *userdata);
static void on_unsent(void *userdata);

int engine_new(struct agentd *agentd, const char *address, struct engine **ret,
	       struct failure *failure)
{
	struct engine *engine;

	if (!str_starts(address, UNIX_SCHEME "/"))
		return failure_set(
			failure, FAILURE_INVALID, "engine = unix:///var/run/docker.sock",
			"cannot use container engine %s: its address is not unix:///PATH", address);
	engine = xcalloc(1, sizeof(*engine));
	engine->agentd = agentd;
	engine->socket = xstrdup(address + strlen(UNIX_SCHEME));
	engine->timer = timer_new(agentd->daemon->loop, ask_version, engine);
	timer_arm(engine->timer, 0);
	TAILQ_INIT(&engine->unsent);
	engine->answer_unsent = deferred_new(agentd->daemon->loop, on_unsent, engine);
	*ret = engine;
	return 0;
}

void engine_free(struct engine *engine)
{
	if (!engine)
		return;
	engine_cancel(engine->info);
	engine_cancel(engine->events);
	timer_free(engine->timer);
	deferred_free(engine->answer_unsent);
	strbuf_clear(&engine->line);
	free(engine->socket);
	free(engine->version);
	free(engine->arch);
	free(engine->root);
	free(engine->error);
	free(engine);
}

char *engine_disk_message(const struct engine *engine, char *message)
{
	_cleanup_free_ char *said = message;

	if (!strstr(said, "no space left on device"))
		return steal(said);
	return xasprintf(
		"the container engine's disk on machine %s is full (%s): free space there, "
		"then deploy again; the engine reports: %s",
		engine->agentd->config->daemon.machine,
		engine->root ? engine->root : engine->socket, said);
}

/* The engine's `message`, else the status. Bounded, one line. */
static char *message_of(const struct engine *engine, const struct http_answer *answer,
			const json_t *json)
{
	const char *said = json_string_value(json_object_get(json, "message"));
	char *message;

	if (answer->error < 0)
		message = xstrdup(answer->text);
	else if (said && *said)
		message = str_cut(said, MESSAGE_MAX);
	else
		message = xasprintf("HTTP status %d", answer->status);
	for (char *p = message; *p; p++)
		if (*p == '\n' || *p == '\r')
			*p = ' ';
	return engine_disk_message(engine, message);
}

static void on_answer(const struct http_answer *http, void *userdata)
{
	struct engine_request *request = userdata;
	struct engine *engine = request->engine;
	_cleanup_json_ json_t *json = json_loadb(http->body, http->size, JSON_DECODE_ANY, NULL);
	_cleanup_free_ char *message = message_of(engine, http, json);
	struct engine_answer answer = { http->error, http->error < 0 ? 0 : http->status,
					json,	     message,
					http->body,  http->size };
	engine_fn fn = request->fn;
	void *data = request->userdata;

	engine->making -= request->makes;
	free(request);
	/* The callback runs first, so that its owner keeps its state and continues when the engine
	 * is reachable again. */
	fn(&answer, data);
	if (answer.error < 0 && answer.error != -EFBIG && engine->up)
		engine_lost(engine, message);
	agentd_made(engine->agentd);
}

static enum http_flow on_stream_body(int status, const char *data, size_t size, void *userdata)
{
	struct engine_request *request = userdata;

	/* The callback may cancel it. */
	return request->on_body(status, data, size, request->userdata);
}

static void on_stream_end(const struct http_answer *answer, void *userdata)
{
	struct engine_request *request = userdata;
	http_done_fn done = request->done;
	void *data = request->userdata;

	free(request);
	done(answer, data);
}

/* A request that could not be started is answered like a refusal: the engine may be reachable. */
static void on_unsent(void *userdata)
{
	static const struct http_answer refusal = {
		.status = 400,
		.body = "{\"message\":\"the request to the engine is too long\"}",
		.size = sizeof("{\"message\":\"the request to the engine is too long\"}") - 1,
		.text = "",
	};
	struct engine *engine = userdata;
	struct engine_request *request = TAILQ_FIRST(&engine->unsent);

	/* A callback may cancel others. */
	if (request) {
		TAILQ_REMOVE(&engine->unsent, request, link);
		if (!TAILQ_EMPTY(&engine->unsent))
			deferred_schedule(engine->answer_unsent);
		if (request->fn)
			on_answer(&refusal, request);
		else
			on_stream_end(&refusal, request);
	}
}

static bool makes(const char *path)
{
	return str_starts(path, "/containers/create") || str_starts(path, "/networks/create") ||
	       str_starts(path, "/libpod/networks/create");
}

/* `options` has the time-out and the callbacks; method, path and body are filled in here. */
static void send_off(struct engine_request *request, const char *method, const char *path,
		     const json_t *body, struct http_options *options)
{
	struct engine *engine = request->engine;
	const char *api = str_starts(path, "/libpod/") ? PODMAN_API : ENGINE_API;
	_cleanup_free_ char *url = xasprintf("http://engine%s%s", api, path);
	_cleanup_free_ char *text = body ? json_text(body) : NULL;

	options->socket = engine->socket;
	options->method = method;
	options->url = url;
	options->body = text;
	options->size = text ? strlen(text) : 0;
	options->userdata = request;
	if (http_start(engine->agentd->http, options, &request->http) == 0)
		return;
	log_error("cannot send a request to the container engine: its path is too long: %.100s",
		  path);
	request->http = NULL;
	TAILQ_INSERT_TAIL(&engine->unsent, request, link);
	deferred_schedule(engine->answer_unsent);
}

void engine_ask(struct engine *engine, const char *method, const char *path, const json_t *body,
		uint64_t usec, engine_fn fn, void *userdata, struct engine_request **ret)
{
	struct engine_request *request = xcalloc(1, sizeof(*request));
	struct http_options options = {
		.timeout_usec = usec,
		.max = ENGINE_ANSWER_MAX,
		.done = on_answer,
	};

	request->engine = engine;
	request->fn = fn;
	request->userdata = userdata;
	request->makes = makes(path);
	engine->making += request->makes;
	send_off(request, method, path, body, &options);
	if (ret)
		*ret = request;
}

void engine_stream(struct engine *engine, const char *method, const char *path, const json_t *body,
		   http_body_fn on_body, http_done_fn done, void *userdata,
		   struct engine_request **ret)
{
	struct engine_request *request = xcalloc(1, sizeof(*request));
	struct http_options options = {
		.fresh = true,
		.on_body = on_stream_body,
		.done = on_stream_end,
	};

	request->engine = engine;
	request->on_body = on_body;
	request->done = done;
	request->userdata = userdata;
	send_off(request, method, path, body, &options);
	*ret = request;
}

void engine_resume(struct engine_request *request)
{
	if (request->http)
		http_resume(request->http);
}

void engine_cancel(struct engine_request *request)
{
	if (!request)
		return;
	if (request->http)
		http_cancel(request->http);
	else
		TAILQ_REMOVE(&request->engine->unsent, request, link);
	request->engine->making -= request->makes;
	free(request);
}

static void on_aside(const struct engine_answer *answer, void *userdata)
{
	_cleanup_free_ char *what = userdata;

	if (!engine_ok(answer) && answer->status != 404 && answer->status != 409)
		log_warning("the container engine refuses %s: %s", what, answer->message);
}

void engine_ask_aside(struct engine *engine, const char *method, const char *path, uint64_t usec)
{
	engine_ask(engine, method, path, NULL, usec, on_aside, xasprintf("%s %s", method, path),
		   NULL);
}

void engine_lost(struct engine *engine, const char *why)
{
	bool news = engine->up || !engine->tried;
	char *error = xstrdup(why);

	engine->up = false;
	engine->tried = true;
	free(engine->error);
	engine->error = error;
	engine_cancel(steal(engine->info));
	engine_cancel(steal(engine->events));
	strbuf_clear(&engine->line);
	timer_arm(engine->timer, ENGINE_RETRY_USEC);
	if (!news)
		return;
	log_warning(
		"cannot reach the container engine at %s: %s; containers keep running, retrying "
		"until it answers",
		engine->socket, error);
	agentd_update_status(engine->agentd);
	commands_poll(engine->agentd->commands);
}

static enum http_flow on_events(_unused_ int status, const char *data, size_t size, void *userdata)
{
	struct engine *engine = userdata;
	size_t begin = 0;

	strbuf_add(&engine->line, data, size);
	for (size_t i = 0; i < engine->line.size; i++) {
		_cleanup_json_ json_t *event = NULL;

		if (engine->line.text[i] != '\n')
			continue;
		event = json_loadb(engine->line.text + begin, i - begin, 0, NULL);
		begin = i + 1;
		if (event)
			adopt_engine_event(engine->agentd, event);
	}
	strbuf_consume(&engine->line, begin);
	return engine->line.size > EVENT_MAX_BYTES ? HTTP_END : HTTP_GO_ON;
}

static void on_events_end(const struct http_answer *answer, void *userdata)
{
	struct engine *engine = userdata;

	engine->events = NULL;
	engine_lost(engine, answer->error < 0 ? answer->text : "its stream of events ended");
}

/* Since one second ago: an event between the connection and the first list may be delivered twice
 * but is not lost. */
static void follow_events(struct engine *engine)
{
	_cleanup_free_ char *filters =
		xasprintf("{\"type\":[\"container\"],\"label\":[\"ployz.machine=%s\"]}",
			  engine->agentd->config->daemon.machine);
	_cleanup_free_ char *escaped = http_escape(filters, NULL);
	_cleanup_free_ char *path =
		xasprintf("/events?since=%llu&filters=%s",
			  (unsigned long long)(time_now_usec() / 1000000 - 1), escaped);

	engine_stream(engine, "GET", path, NULL, on_events, on_events_end, engine, &engine->events);
}

static void on_info(const struct engine_answer *answer, void *userdata)
{
	struct engine *engine = userdata;
	const char *arch, *root;

	engine->info = NULL;
	if (!engine_ok(answer)) {
		engine_lost(engine, answer->message);
		return;
	}
	arch = json_string_value(json_object_get(answer->json, "Architecture"));
	root = json_string_value(json_object_get(answer->json, "DockerRootDir"));
	free(engine->arch);
	engine->arch = xstrdup(arch);
	free(engine->root);
	engine->root = xstrdup(root);
	engine->memory = (uint64_t)json_integer_value(json_object_get(answer->json, "MemTotal"));
	engine->cpus = json_integer_value(json_object_get(answer->json, "NCPU"));
	if (engine->tried)
		log_notice("container engine reachable again at %s", engine->socket);
	else
		log_info("container engine %s at %s", engine->version, engine->socket);
	engine->up = true;
	engine->tried = true;
	free(steal(engine->error));
	follow_events(engine);
	network_ensure(&engine->agentd->network);
	adopt_begin(engine->agentd);
	agentd_update_status(engine->agentd);
}

static void on_version(const struct engine_answer *answer, void *userdata)
{
	struct engine *engine = userdata;
	const json_t *components = json_object_get(answer->json, "Components");
	const char *name, *version;

	engine->info = NULL;
	version = json_string_value(json_object_get(answer->json, "Version"));
	if (!engine_ok(answer) || !version) {
		engine_lost(engine, answer->message);
		return;
	}
	name = json_string_value(json_object_get(json_array_get(components, 0), "Name"));
	engine->podman = name && str_starts(name, "Podman");
	engine->no_policy = false;
	free(engine->version);
	engine->version = xasprintf("%s%s", engine->podman ? "podman " : "", version);
	engine_ask(engine, "GET", "/info", NULL, ENGINE_INFO_USEC, on_info, engine, &engine->info);
}

static void ask_version(void *userdata)
{
	struct engine *engine = userdata;

	engine_ask(engine, "GET", "/version", NULL, ENGINE_INFO_USEC, on_version, engine,
		   &engine->info);
}

json_t *engine_status(const struct engine *engine)
{
	json_t *status = json_pack("{s:b, s:s}", "reachable", engine->up, "socket", engine->socket);

	if (engine->version)
		json_object_set_new(status, "version", json_utf8(engine->version));
	if (engine->error)
		json_object_set_new(status, "error", json_utf8(engine->error));
	return status;
}
