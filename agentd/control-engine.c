/* What a control asks of the engine: one thing at a time, each answer an event. An engine that does
 * not answer is no event: control_go_on takes the work up when it is back. */
#include "agentd/agentd.h"

#define DEFAULT_GRACE_MS 10000
#define LAST_WORDS_USEC (2 * 1000000ull)

static void refuse(struct control *control, const char *what, const char *words)
{
	_cleanup_free_ char *reason = xasprintf("%s: %s", what, words);

	control_event(control, EVENT_REFUSED, reason);
	if (control->want != WANT_RUN)
		control_end(control);
}

static bool away(const struct engine_answer *answer)
{
	return answer->error < 0;
}

static void on_started(const struct engine_answer *answer, void *userdata)
{
	struct control *control = userdata;

	control->request = NULL;
	/* 304: it runs already. */
	if (!engine_ok(answer) || answer->status == 304)
		control->own_start = false;
	if (away(answer))
		return;
	if (!engine_ok(answer)) {
		refuse(control, "the engine could not start it", answer->words);
		return;
	}
	agent_start_free(steal(control->order));
	control_inspect(control);
}

void control_start(struct control *control)
{
	_cleanup_free_ char *path = NULL;

	if (control->request || !control->container || !control->agentd->engine->up ||
	    control->agentd->daemon->told)
		return;
	/* Whatever it was before, this is not the engine's own doing. */
	free(steal(control->started_at));
	control->ending = false;
	control->own_start = true;
	path = xasprintf("/containers/%s/start", control->container);
	engine_ask(control->agentd->engine, "POST", path, NULL, ENGINE_USEC, on_started, control,
		   &control->request);
}

/* A listing may have told it already. */
static void set_container(struct control *control, const char *id)
{
	free(control->container);
	control->container = xstrdup(id);
}

static void on_found(const struct engine_answer *answer, void *userdata)
{
	struct control *control = userdata;
	const char *id = json_string_value(json_object_get(answer->json, "Id"));

	control->request = NULL;
	if (away(answer))
		return;
	if (!engine_ok(answer) || !id) {
		refuse(control, "its container's name is taken, and cannot be looked at",
		       answer->words);
		return;
	}
	set_container(control, id);
	control_inspect(control);
}

/* An earlier life, or an answer that was lost, has made it: it is ours if its labels say so. */
static void find(struct control *control)
{
	_cleanup_free_ char *path = xasprintf("/containers/%s/json", control->fact->id);

	engine_ask(control->agentd->engine, "GET", path, NULL, ENGINE_USEC, on_found, control,
		   &control->request);
}

static void on_created(const struct engine_answer *answer, void *userdata)
{
	struct control *control = userdata;
	const char *id = json_string_value(json_object_get(answer->json, "Id"));

	control->request = NULL;
	if (away(answer))
		return;
	if (engine_name_taken(answer)) {
		find(control);
		return;
	}
	if (!engine_ok(answer) || !id) {
		refuse(control, "the engine could not create it", answer->words);
		return;
	}
	set_container(control, id);
	if (control->want != WANT_RUN)
		control_end(control);
	else
		control_event(control, EVENT_CREATED, NULL);
}

void control_create(struct control *control)
{
	struct agentd *agentd = control->agentd;
	struct container_context context;
	struct failure failure = FAILURE_INIT;
	_cleanup_free_ char *files = files_directory(agentd, control->fact->id);
	_cleanup_free_ char *path = xasprintf("/containers/create?name=%s", control->fact->id);
	_cleanup_json_ json_t *body = NULL;

	/* All three are waited for: agentd_go_on comes when one is there. */
	if (control->request || !control->order || !agentd->engine->up || !agentd->network.ready ||
	    agentd->daemon->told)
		return;
	/* A listing has told of it already. */
	if (control->container) {
		control_inspect(control);
		return;
	}
	container_context_fill(agentd, &context);
	context.files = files;
	if (files_write(agentd, control->fact->id, &control->order->service->files, &failure) < 0 ||
	    container_config(control->order, &context, &body, &failure) < 0) {
		control_event(control, EVENT_REFUSED, failure.message);
		failure_clear(&failure);
		return;
	}
	engine_ask(agentd->engine, "POST", path, body, ENGINE_USEC, on_created, control,
		   &control->request);
}

static int64_t grace_s(const struct control *control)
{
	int64_t ms = control->grace_ms;

	if (ms < 0)
		ms = control->service ? (int64_t)(control->service->stop_grace / 1000)
				     : DEFAULT_GRACE_MS;
	return (ms + 999) / 1000;
}

static void ask_stop(struct control *control, engine_fn fn)
{
	int64_t seconds = grace_s(control);
	_cleanup_free_ char *path =
		xasprintf("/containers/%s/stop?t=%lld", control->container, (long long)seconds);

	engine_ask(control->agentd->engine, "POST", path, NULL,
		   ENGINE_USEC + (uint64_t)seconds * 1000000, fn, control, &control->request);
}

static void on_halted(const struct engine_answer *answer, void *userdata)
{
	struct control *control = userdata;

	control->request = NULL;
	if (!engine_ok(answer) && answer->status != 404)
		log_warning("%s has failed and could not be stopped: %s", control->fact->id,
			    answer->words);
	if (control->want != WANT_RUN && !away(answer))
		control_end(control);
}

/* A failed one is kept for whoever asks why, but the engine must not go on starting it. */
void control_halt(struct control *control)
{
	if (control->container && control->agentd->engine->up && !control->request)
		ask_stop(control, on_halted);
}

static void on_removed(const struct engine_answer *answer, void *userdata)
{
	struct control *control = userdata;

	control->request = NULL;
	control->ending = false;
	if (away(answer))
		return;
	/* 409: another removal of it is under way; its end comes as an event. */
	if (engine_ok(answer) || answer->status == 404)
		control_event(control, EVENT_REMOVED, NULL);
	else if (answer->status != 409)
		log_warning("%s could not be removed: %s", control->fact->id, answer->words);
}

static void ask_remove(struct control *control)
{
	/* v: the volumes that nobody named. Ours have names and stay. */
	_cleanup_free_ char *path = xasprintf("/containers/%s?force=1&v=1", control->container);

	engine_ask(control->agentd->engine, "DELETE", path, NULL, ENGINE_USEC, on_removed, control,
		   &control->request);
}

static void on_stopped(const struct engine_answer *answer, void *userdata)
{
	struct control *control = userdata;

	control->request = NULL;
	control->ending = false;
	if (away(answer))
		return;
	if (!engine_ok(answer) && answer->status != 404) {
		log_warning("%s could not be stopped: %s", control->fact->id, answer->words);
		if (control->want != WANT_REMOVE)
			return;
	}
	if (control->want == WANT_REMOVE) {
		control->ending = true;
		ask_remove(control);
	} else if (control->want == WANT_STOP) {
		control_event(control, EVENT_STOPPED, NULL);
	} else {
		/* Resumed meanwhile. */
		control_start(control);
	}
}

void control_end(struct control *control)
{
	bool stopped = control->fact->state == INSTANCE_STOPPED;

	/* What is asked now ends first; its answer comes back here. */
	if (control->request || control->ending || control->want == WANT_RUN)
		return;
	if (control->want == WANT_STOP && (stopped || control->fact->state == INSTANCE_FAILED))
		return;
	if (!control->container) {
		control_event(control, control->want == WANT_STOP ? EVENT_STOPPED : EVENT_REMOVED,
			     NULL);
		return;
	}
	if (!control->agentd->engine->up)
		return;
	control->ending = true;
	if (stopped)
		ask_remove(control);
	else
		ask_stop(control, on_stopped);
}

static void add_line(_unused_ const char *stream, const char *line, size_t size, _unused_ bool cut,
		     void *userdata)
{
	struct strbuf *all = userdata;

	if (all->size && size)
		strbuf_puts(all, " | ");
	for (size_t i = 0; i < size && all->size < REASON_MAX; i++)
		strbuf_add(all, (unsigned char)line[i] < ' ' ? " " : &line[i], 1);
}

char *control_output(const struct engine_answer *answer)
{
	_cleanup_(strbuf_clear) struct strbuf all = STRBUF_INIT;
	struct lines lines = { .fn = add_line, .userdata = &all };
	_cleanup_free_ char *valid = NULL;

	if (!engine_ok(answer))
		return NULL;
	lines_feed(&lines, answer->body, answer->size);
	lines_flush(&lines);
	lines_clear(&lines);
	if (!all.size)
		return NULL;
	valid = str_valid(all.text, all.size);
	return str_cut(valid, REASON_MAX);
}

void control_last_words(struct control *control, engine_fn fn)
{
	_cleanup_free_ char *path = xasprintf("/containers/%s/logs?stdout=1&stderr=1&tail=%d",
					      control->container, REASON_LINES);

	engine_ask(control->agentd->engine, "GET", path, NULL, LAST_WORDS_USEC, fn, control,
		   &control->request);
}
