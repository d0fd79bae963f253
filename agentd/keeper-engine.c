/* What a keeper asks of the engine: one thing at a time, each answer an event. An engine that does
 * not answer is no event: keeper_go_on takes the work up when it is back. */
#include "agentd/agentd.h"

#define DEFAULT_GRACE_MS 10000
#define LAST_WORDS_USEC (2 * 1000000ull)

static void refuse(struct keeper *keeper, const char *what, const char *words)
{
	_cleanup_free_ char *reason = xasprintf("%s: %s", what, words);

	keeper_event(keeper, EVENT_REFUSED, reason);
	if (keeper->want != WANT_RUN)
		keeper_end(keeper);
}

static bool away(const struct engine_answer *answer)
{
	return answer->error < 0;
}

static void on_started(const struct engine_answer *answer, void *userdata)
{
	struct keeper *keeper = userdata;

	keeper->request = NULL;
	/* 304: it runs already. */
	if (!engine_ok(answer) || answer->status == 304)
		keeper->own_start = false;
	if (away(answer))
		return;
	if (!engine_ok(answer)) {
		refuse(keeper, "the engine could not start it", answer->words);
		return;
	}
	agent_start_free(steal(keeper->order));
	keeper_inspect(keeper);
}

void keeper_start(struct keeper *keeper)
{
	_cleanup_free_ char *path = NULL;

	if (keeper->request || !keeper->container || !keeper->agentd->engine->up ||
	    keeper->agentd->daemon->told)
		return;
	/* Whatever it was before, this is not the engine's own doing. */
	free(steal(keeper->started_at));
	keeper->ending = false;
	keeper->own_start = true;
	path = xasprintf("/containers/%s/start", keeper->container);
	engine_ask(keeper->agentd->engine, "POST", path, NULL, ENGINE_USEC, on_started, keeper,
		   &keeper->request);
}

/* A listing may have told it already. */
static void set_container(struct keeper *keeper, const char *id)
{
	free(keeper->container);
	keeper->container = xstrdup(id);
}

static void on_found(const struct engine_answer *answer, void *userdata)
{
	struct keeper *keeper = userdata;
	const char *id = json_string_value(json_object_get(answer->json, "Id"));

	keeper->request = NULL;
	if (away(answer))
		return;
	if (!engine_ok(answer) || !id) {
		refuse(keeper, "its container's name is taken, and cannot be looked at",
		       answer->words);
		return;
	}
	set_container(keeper, id);
	keeper_inspect(keeper);
}

/* An earlier life, or an answer that was lost, has made it: it is ours if its labels say so. */
static void find(struct keeper *keeper)
{
	_cleanup_free_ char *path = xasprintf("/containers/%s/json", keeper->fact->id);

	engine_ask(keeper->agentd->engine, "GET", path, NULL, ENGINE_USEC, on_found, keeper,
		   &keeper->request);
}

static void on_created(const struct engine_answer *answer, void *userdata)
{
	struct keeper *keeper = userdata;
	const char *id = json_string_value(json_object_get(answer->json, "Id"));

	keeper->request = NULL;
	if (away(answer))
		return;
	if (engine_name_taken(answer)) {
		find(keeper);
		return;
	}
	if (!engine_ok(answer) || !id) {
		refuse(keeper, "the engine could not create it", answer->words);
		return;
	}
	set_container(keeper, id);
	if (keeper->want != WANT_RUN)
		keeper_end(keeper);
	else
		keeper_event(keeper, EVENT_CREATED, NULL);
}

void keeper_create(struct keeper *keeper)
{
	struct agentd *agentd = keeper->agentd;
	struct container_context context;
	struct failure failure = FAILURE_INIT;
	_cleanup_free_ char *files = files_directory(agentd, keeper->fact->id);
	_cleanup_free_ char *path = xasprintf("/containers/create?name=%s", keeper->fact->id);
	_cleanup_json_ json_t *body = NULL;

	/* All three are waited for: agentd_go_on comes when one is there. */
	if (keeper->request || !keeper->order || !agentd->engine->up || !agentd->network.ready ||
	    agentd->daemon->told)
		return;
	/* A listing has told of it already. */
	if (keeper->container) {
		keeper_inspect(keeper);
		return;
	}
	container_context_fill(agentd, &context);
	context.files = files;
	if (files_write(agentd, keeper->fact->id, &keeper->order->service->files, &failure) < 0 ||
	    container_config(keeper->order, &context, &body, &failure) < 0) {
		keeper_event(keeper, EVENT_REFUSED, failure.message);
		failure_clear(&failure);
		return;
	}
	engine_ask(agentd->engine, "POST", path, body, ENGINE_USEC, on_created, keeper,
		   &keeper->request);
}

static int64_t grace_s(const struct keeper *keeper)
{
	int64_t ms = keeper->grace_ms;

	if (ms < 0)
		ms = keeper->service ? (int64_t)(keeper->service->stop_grace / 1000)
				     : DEFAULT_GRACE_MS;
	return (ms + 999) / 1000;
}

static void ask_stop(struct keeper *keeper, engine_fn fn)
{
	int64_t seconds = grace_s(keeper);
	_cleanup_free_ char *path =
		xasprintf("/containers/%s/stop?t=%lld", keeper->container, (long long)seconds);

	engine_ask(keeper->agentd->engine, "POST", path, NULL,
		   ENGINE_USEC + (uint64_t)seconds * 1000000, fn, keeper, &keeper->request);
}

static void on_halted(const struct engine_answer *answer, void *userdata)
{
	struct keeper *keeper = userdata;

	keeper->request = NULL;
	if (!engine_ok(answer) && answer->status != 404)
		log_warning("%s has failed and could not be stopped: %s", keeper->fact->id,
			    answer->words);
	if (keeper->want != WANT_RUN && !away(answer))
		keeper_end(keeper);
}

/* A failed one is kept for whoever asks why, but the engine must not go on starting it. */
void keeper_halt(struct keeper *keeper)
{
	if (keeper->container && keeper->agentd->engine->up && !keeper->request)
		ask_stop(keeper, on_halted);
}

static void on_removed(const struct engine_answer *answer, void *userdata)
{
	struct keeper *keeper = userdata;

	keeper->request = NULL;
	keeper->ending = false;
	if (away(answer))
		return;
	/* 409: another removal of it is under way; its end comes as an event. */
	if (engine_ok(answer) || answer->status == 404)
		keeper_event(keeper, EVENT_REMOVED, NULL);
	else if (answer->status != 409)
		log_warning("%s could not be removed: %s", keeper->fact->id, answer->words);
}

static void ask_remove(struct keeper *keeper)
{
	/* v: the volumes that nobody named. Ours have names and stay. */
	_cleanup_free_ char *path = xasprintf("/containers/%s?force=1&v=1", keeper->container);

	engine_ask(keeper->agentd->engine, "DELETE", path, NULL, ENGINE_USEC, on_removed, keeper,
		   &keeper->request);
}

static void on_stopped(const struct engine_answer *answer, void *userdata)
{
	struct keeper *keeper = userdata;

	keeper->request = NULL;
	keeper->ending = false;
	if (away(answer))
		return;
	if (!engine_ok(answer) && answer->status != 404) {
		log_warning("%s could not be stopped: %s", keeper->fact->id, answer->words);
		if (keeper->want != WANT_REMOVE)
			return;
	}
	if (keeper->want == WANT_REMOVE) {
		keeper->ending = true;
		ask_remove(keeper);
	} else if (keeper->want == WANT_STOP) {
		keeper_event(keeper, EVENT_STOPPED, NULL);
	} else {
		/* Resumed meanwhile. */
		keeper_start(keeper);
	}
}

void keeper_end(struct keeper *keeper)
{
	bool stopped = keeper->fact->state == INSTANCE_STOPPED;

	/* What is asked now ends first; its answer comes back here. */
	if (keeper->request || keeper->ending || keeper->want == WANT_RUN)
		return;
	if (keeper->want == WANT_STOP && (stopped || keeper->fact->state == INSTANCE_FAILED))
		return;
	if (!keeper->container) {
		keeper_event(keeper, keeper->want == WANT_STOP ? EVENT_STOPPED : EVENT_REMOVED,
			     NULL);
		return;
	}
	if (!keeper->agentd->engine->up)
		return;
	keeper->ending = true;
	if (stopped)
		ask_remove(keeper);
	else
		ask_stop(keeper, on_stopped);
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

char *keeper_output(const struct engine_answer *answer)
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

void keeper_last_words(struct keeper *keeper, engine_fn fn)
{
	_cleanup_free_ char *path = xasprintf("/containers/%s/logs?stdout=1&stderr=1&tail=%d",
					      keeper->container, REASON_LINES);

	engine_ask(keeper->agentd->engine, "GET", path, NULL, LAST_WORDS_USEC, fn, keeper,
		   &keeper->request);
}
