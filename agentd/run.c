/* pre_deploy: a command in the new image, once, before the switch. */
#include "agentd/agentd.h"

#define RUN_GRACE_S 2
#define ASIDE_USEC (10 * 1000000ull)

struct run {
	struct runs *runs;
	struct agent_run *order;
	char *name;	   /* of its container */
	char *container;   /* the engine's id */
	const char *state; /* running, done, failed */
	int64_t exit_code;
	char *reason;
	struct engine_request *request;
	struct http_request *output;
	struct lines lines;
	char *last; /* line of output: it often says why */
	struct timer *limit;
	bool timed_out;
};

struct runs {
	struct agentd *agentd;
	struct map map; /* container name → struct run */
};

struct runs *runs_new(struct agentd *agentd)
{
	struct runs *runs = xcalloc(1, sizeof(*runs));

	runs->agentd = agentd;
	return runs;
}

static void run_free(void *p)
{
	struct run *run = p;

	engine_cancel(run->request);
	http_cancel(run->output);
	timer_free(run->limit);
	lines_clear(&run->lines);
	agent_run_free(run->order);
	free(run->name);
	free(run->container);
	free(run->reason);
	free(run->last);
	free(run);
}

void runs_free(struct runs *runs)
{
	if (!runs)
		return;
	map_clear(&runs->map, run_free);
	free(runs);
}

static void remove_aside(struct agentd *agentd, const char *container);

static void end(struct run *run, const char *state, int64_t exit_code, char *reason)
{
	timer_disarm(run->limit);
	http_cancel(steal(run->output));
	run->state = state;
	run->exit_code = exit_code;
	run->reason = reason;
	if (run->container)
		remove_aside(run->runs->agentd, run->container);
	files_remove(run->runs->agentd, run->name);
	log_info("pre_deploy of %s/%s: %s%s%s", run->order->ns, run->order->service->name, state,
		 reason ? ": " : "", reason ? reason : "");
}

static void on_line(const char *stream, const char *line, size_t size, bool cut, void *userdata)
{
	struct run *run = userdata;
	struct progress progress;
	_cleanup_free_ char *text = str_valid(line, size);

	codec_init(&progress_schema, &progress);
	progress.kind = PROGRESS_LINE;
	progress.ns = xstrdup(run->order->ns);
	progress.service = xstrdup(run->order->service->name);
	progress.slot = -1;
	progress.stream = xstrdup(stream);
	progress.message = xasprintf("%s%s", text, cut ? " … (line cut)" : "");
	free(run->last);
	run->last = str_cut(progress.message, REASON_MAX);
	bus_say(run->runs->agentd, run->order->deploy, &progress);
	codec_clear(&progress_schema, &progress);
}

static void on_exit_code(const struct engine_answer *answer, void *userdata)
{
	struct run *run = userdata;
	int64_t code = json_integer_value(json_object_get(json_object_get(answer->json, "State"),
							  "ExitCode")) &
		       255;

	run->request = NULL;
	if (!engine_ok(answer)) {
		end(run, "failed", -1, xasprintf("its end is unknown: %s", answer->words));
		return;
	}
	if (run->timed_out) {
		_cleanup_free_ char *limit =
			duration_human(run->order->service->pre_deploy->timeout);

		end(run, "failed", code, xasprintf("it did not end within %s", limit));
	} else if (code == 0) {
		end(run, "done", 0, NULL);
	} else {
		end(run, "failed", code,
		    xasprintf("%s ended with exit code %lld%s%s",
			      run->order->service->pre_deploy->command[0], (long long)code,
			      run->last ? "; its last line: " : "", run->last ? run->last : ""));
	}
}

static void ask_exit_code(struct run *run)
{
	_cleanup_free_ char *path = xasprintf("/containers/%s/json", run->container);

	engine_ask(run->runs->agentd->engine, "GET", path, NULL, ENGINE_USEC, on_exit_code, run,
		   &run->request);
}

static void on_waited(const struct engine_answer *answer, void *userdata)
{
	struct run *run = userdata;

	run->request = NULL;
	if (answer->error < 0)
		end(run, "failed", -1, xasprintf("its end is unknown: %s", answer->words));
	else
		ask_exit_code(run);
}

static enum http_flow on_output(_unused_ int status, const char *data, size_t size, void *userdata)
{
	struct run *run = userdata;

	lines_feed(&run->lines, data, size);
	return HTTP_GO_ON;
}

/* Its output ends a moment before it is seen as ended. */
static void on_output_end(_unused_ const struct http_answer *answer, void *userdata)
{
	struct run *run = userdata;
	_cleanup_free_ char *path = xasprintf("/containers/%s/wait", run->container);

	run->output = NULL;
	lines_flush(&run->lines);
	engine_ask(run->runs->agentd->engine, "POST", path, NULL,
		   run->order->service->pre_deploy->timeout + ENGINE_USEC, on_waited, run,
		   &run->request);
}

/* Its end comes as the end of its output. */
static void stop(struct run *run)
{
	_cleanup_free_ char *path =
		xasprintf("/containers/%s/stop?t=%d", run->container, RUN_GRACE_S);

	engine_ask_aside(run->runs->agentd->engine, "POST", path, ASIDE_USEC);
}

static void on_limit(void *userdata)
{
	struct run *run = userdata;

	run->timed_out = true;
	if (run->output)
		stop(run);
}

static void follow(struct run *run)
{
	_cleanup_free_ char *path =
		xasprintf("/containers/%s/logs?follow=1&stdout=1&stderr=1", run->container);

	engine_stream(run->runs->agentd->engine, "GET", path, NULL, on_output, on_output_end, run,
		      &run->output);
	/* Its time was over before it began. */
	if (run->timed_out)
		stop(run);
}

static void on_started(const struct engine_answer *answer, void *userdata)
{
	struct run *run = userdata;

	run->request = NULL;
	if (engine_ok(answer))
		follow(run);
	else
		end(run, "failed", -1,
		    xasprintf("the engine could not start it: %s", answer->words));
}

static void start(struct run *run)
{
	_cleanup_free_ char *path = xasprintf("/containers/%s/start", run->container);

	engine_ask(run->runs->agentd->engine, "POST", path, NULL, ENGINE_USEC, on_started, run,
		   &run->request);
}

/* An earlier life of agentd has begun it: what has run is not run again. */
static void on_found(const struct engine_answer *answer, void *userdata)
{
	struct run *run = userdata;
	const char *id = json_string_value(json_object_get(answer->json, "Id"));
	struct container_seen seen;

	run->request = NULL;
	if (!engine_ok(answer) || !id) {
		end(run, "failed", -1,
		    xasprintf("its container cannot be looked at: %s", answer->words));
		return;
	}
	run->container = xstrdup(id);
	container_read(answer->json, "", &seen);
	if (seen.run && !json_is_string(json_object_get(answer->json, "State")) &&
	    streq(json_string_value(
			  json_object_get(json_object_get(answer->json, "State"), "Status")),
		  "created"))
		start(run);
	else
		follow(run);
	container_clear(&seen);
}

static void on_created(const struct engine_answer *answer, void *userdata)
{
	struct run *run = userdata;
	const char *id = json_string_value(json_object_get(answer->json, "Id"));

	run->request = NULL;
	if (engine_name_taken(answer)) {
		_cleanup_free_ char *path = xasprintf("/containers/%s/json", run->name);

		engine_ask(run->runs->agentd->engine, "GET", path, NULL, ENGINE_USEC, on_found, run,
			   &run->request);
	} else if (!engine_ok(answer) || !id) {
		end(run, "failed", -1,
		    xasprintf("the engine could not create it: %s", answer->words));
	} else {
		run->container = xstrdup(id);
		start(run);
	}
}

static void begin(struct run *run)
{
	struct agentd *agentd = run->runs->agentd;
	struct container_context context;
	struct failure failure = FAILURE_INIT;
	_cleanup_free_ char *files = files_directory(agentd, run->name);
	_cleanup_free_ char *path = xasprintf("/containers/create?name=%s", run->name);
	_cleanup_json_ json_t *body = NULL;

	container_context_fill(agentd, &context);
	context.files = files;
	if (files_write(agentd, run->name, &run->order->service->files, &failure) < 0 ||
	    container_run_config(run->order, &context, &body, &failure) < 0) {
		end(run, "failed", -1, xstrdup(failure.message));
		failure_clear(&failure);
		return;
	}
	timer_arm(run->limit, run->order->service->pre_deploy->timeout);
	engine_ask(agentd->engine, "POST", path, body, ENGINE_USEC, on_created, run, &run->request);
}

void runs_order(struct runs *runs, const struct agent_run *order, struct agent_ran *ret)
{
	_cleanup_free_ char *name = container_run_name(order);
	struct run *run = map_get(&runs->map, name);

	if (!run) {
		run = xcalloc(1, sizeof(*run));
		run->runs = runs;
		run->order = codec_copy(&agent_run_schema, order);
		run->name = xstrdup(name);
		run->state = "running";
		run->exit_code = -1;
		run->lines = (struct lines){ .fn = on_line, .userdata = run };
		run->limit = timer_new(runs->agentd->daemon->loop, on_limit, run);
		map_put(&runs->map, name, run);
		begin(run);
	}
	codec_init(&agent_ran_schema, ret);
	ret->state = xstrdup(run->state);
	ret->exit_code = run->exit_code;
	ret->reason = xstrdup(run->reason);
}

static void remove_aside(struct agentd *agentd, const char *container)
{
	_cleanup_free_ char *path = xasprintf("/containers/%s?force=1&v=1", container);

	engine_ask_aside(agentd->engine, "DELETE", path, ENGINE_USEC);
}

static void on_leftovers(const struct engine_answer *answer, void *userdata)
{
	struct runs *runs = userdata;
	const json_t *item;
	size_t i;

	json_array_foreach (answer->json, i, item) {
		const char *id = json_string_value(json_object_get(item, "Id"));
		const char *name =
			json_string_value(json_array_get(json_object_get(item, "Names"), 0));

		/* Names begin with a slash. The new deploy's own may be among them already. */
		if (id && !(name && map_get(&runs->map, name + 1)))
			remove_aside(runs->agentd, id);
	}
}

void runs_sweep(struct runs *runs, const char *ns, const char *deploy)
{
	_cleanup_free_ char *filters = NULL, *escaped = NULL, *path = NULL;

	for (struct map_item *i = NULL; (i = map_next(&runs->map, i));) {
		struct run *run = i->value;

		if (!streq(run->order->ns, ns) || streq(run->order->deploy, deploy))
			continue;
		map_remove(&runs->map, run->name);
		run_free(run);
	}
	if (!runs->agentd->engine->up)
		return;
	filters = xasprintf("{\"label\":[\"ployz.machine=%s\",\"ployz.namespace=%s\",\"ployz.run="
			    "pre_deploy\"]}",
			    runs->agentd->config->daemon.machine, ns);
	escaped = http_escape(filters, NULL);
	path = xasprintf("/containers/json?all=1&filters=%s", escaped);
	engine_ask(runs->agentd->engine, "GET", path, NULL, ENGINE_USEC, on_leftovers, runs, NULL);
}
