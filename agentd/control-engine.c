/* Control engine: the requests of instance control to the engine, one at a time, each answer an
 * event. A missing answer is no event: control_take_up continues when the engine is reachable
 * again. */
#include "agentd/agentd.h"

#define DEFAULT_GRACE_MS 10000
#define LAST_OUTPUT_USEC (2 * 1000000ull)

static const char *const policies[] = {
	[RESTART_UNLESS_STOPPED] = "unless-stopped",
	[RESTART_ALWAYS] = "always",
	[RESTART_ON_FAILURE] = "on-failure",
	[RESTART_NO] = "no",
};

static void refuse(struct control *control, const char *what, const char *why)
{
	_cleanup_free_ char *reason = xasprintf("%s: %s", what, why);

	if (control_event(control, EVENT_REFUSED, reason))
		control_next(control);
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
	control->start_wanted = false;
	if (!engine_ok(answer)) {
		refuse(control, "the engine cannot start it", answer->message);
		return;
	}
	agent_start_free(steal(control->order));
	if (control->want == WANT_RUN)
		control_inspect(control);
	else
		control_next(control);
}

/* An instance that is ending holds its host ports and volumes until its container has stopped. */
static bool is_blocked(const struct control *control)
{
	const struct map *all = &control->agentd->controls;

	for (struct map_item *i = NULL; (i = map_next(all, i));) {
		const struct control *other = i->value;

		if (other != control && other->want != WANT_RUN &&
		    (other->ending || other->request) &&
		    services_conflict(control->fact->ns, control->service, other->fact->ns,
				      other->service))
			return true;
	}
	return false;
}

void control_start(struct control *control)
{
	_cleanup_free_ char *path = NULL;

	control->start_wanted = true;
	if (control->request || !control->container || !control->agentd->engine->up ||
	    control->agentd->daemon->stopping || is_blocked(control))
		return;
	/* This start is by our request, whatever the state was before. */
	free(steal(control->started_at));
	control->ending = false;
	control->own_start = true;
	path = xasprintf("/containers/%s/start", control->container);
	engine_ask(control->agentd->engine, "POST", path, NULL, ENGINE_USEC, on_started, control,
		   &control->request);
}

static void on_policy(const struct engine_answer *answer, void *userdata)
{
	struct control *control = userdata;
	struct engine *engine = control->agentd->engine;

	control->policy = NULL;
	control->engine_restarts = engine_ok(answer);
	if (engine_ok(answer) || away(answer) || engine->no_policy)
		return;
	/* Podman 4 has no such request. */
	engine->no_policy = engine->podman;
	log_info("cannot set the restart policy of %s: %s; agentd restarts it itself",
		 engine->no_policy ? "instances" : control->fact->id, answer->message);
}

void control_allow_restarts(struct control *control)
{
	enum restart_policy policy =
		control->service ? (enum restart_policy)control->service->restart : RESTART_NO;
	_cleanup_free_ char *path = NULL;
	_cleanup_json_ json_t *body = NULL;

	if (policy == RESTART_NO || control->engine_restarts || control->policy ||
	    !control->container || !control->agentd->engine->up ||
	    control->agentd->engine->no_policy)
		return;
	path = xasprintf("/containers/%s/update", control->container);
	body = json_pack("{s:{s:s}}", "RestartPolicy", "Name", policies[policy]);
	engine_ask(control->agentd->engine, "POST", path, body, ENGINE_USEC, on_policy, control,
		   &control->policy);
}

static const char name_taken[] = "cannot create its container";

/* A container with this name is ours if an earlier request may have created it. */
static void on_found(const struct engine_answer *answer, void *userdata)
{
	struct control *control = userdata;
	struct agentd *agentd = control->agentd;
	struct container_seen seen;
	bool ours;

	control->request = NULL;
	if (away(answer))
		return;
	if (!engine_ok(answer)) {
		refuse(control, name_taken, answer->message);
		return;
	}
	container_read(answer->json, agentd->config->network, &seen);
	ours = records_owner(agentd->records, &seen, agentd->config->daemon.machine);
	if (ours)
		control_set_container(control, seen.id);
	else
		records_remove(agentd->records, control->fact->id);
	container_clear(&seen);
	if (!ours)
		refuse(control, name_taken,
		       "a container that agentd did not make has this name; remove or rename it, "
		       "then deploy again");
	else if (control->want == WANT_RUN)
		control_inspect(control);
	else
		control_next(control);
}

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
	if (away(answer)) {
		/* The engine may have created it. */
		records_doubt(control->agentd->records, control->fact->id);
		return;
	}
	if (engine_name_taken(answer)) {
		find(control);
		return;
	}
	if (!engine_ok(answer) || !id) {
		records_remove(control->agentd->records, control->fact->id);
		refuse(control, "the engine cannot create it", answer->message);
		return;
	}
	control_set_container(control, id);
	if (control->want != WANT_RUN)
		control_next(control);
	else
		control_event(control, EVENT_CREATED, NULL);
}

static void ask_create(struct control *control)
{
	struct agentd *agentd = control->agentd;
	struct container_context context;
	struct failure failure = FAILURE_INIT;
	_cleanup_free_ char *files = files_directory(agentd, control->fact->id);
	_cleanup_free_ char *path = xasprintf("/containers/create?name=%s", control->fact->id);
	_cleanup_json_ json_t *body = NULL;

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

static void on_volumes(enum volume_verdict verdict, const char *reason, void *userdata)
{
	struct control *control = userdata;

	volume_check_free(steal(control->volumes));
	if (control->want != WANT_RUN)
		control_next(control);
	else if (verdict == VOLUMES_THERE)
		ask_create(control);
	else if (verdict == VOLUMES_MISSING)
		control_event(control, EVENT_REFUSED, reason);
}

void control_create(struct control *control)
{
	struct agentd *agentd = control->agentd;

	/* The instance waits for each of these; control_take_up or control_create continues it. */
	if (control->request || control->volumes || !control->order || !agentd->engine->up ||
	    !agentd->network.ready || agentd->daemon->stopping)
		return;
	/* A list has shown the container already. */
	if (control->container) {
		control_inspect(control);
		return;
	}
	control->record_wanted = !records_expect(agentd->records, control->fact->id);
	if (control->record_wanted)
		return;
	control->volumes =
		volume_check_new(agentd, control->order->command.ns, control->order->service,
				 control->order->new_volumes, on_volumes, control);
	if (!control->volumes)
		ask_create(control);
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
	agentd_changed(control->agentd);
	if (away(answer)) {
		control->halt_wanted = true;
		return;
	}
	if (!engine_ok(answer) && answer->status != 404)
		log_warning("cannot stop %s, which has failed: %s", control->fact->id,
			    answer->message);
	control_next(control);
}

/* A failed instance is kept until it is removed, but its process is stopped. */
void control_halt(struct control *control)
{
	control->halt_wanted = control->container != NULL;
	if (!control->container || !control->agentd->engine->up || control->request)
		return;
	control->halt_wanted = false;
	ask_stop(control, on_halted);
}

static void on_removed(const struct engine_answer *answer, void *userdata)
{
	struct control *control = userdata;

	control->request = NULL;
	control->ending = false;
	agentd_changed(control->agentd);
	if (away(answer))
		return;
	/* 409: another removal of it is under way; its end comes as an event. */
	if (engine_ok(answer) || answer->status == 404)
		control_event(control, EVENT_REMOVED, NULL);
	else if (answer->status != 409)
		log_warning("cannot remove %s: %s; repeated with the next request to remove it",
			    control->fact->id, answer->message);
}

static void ask_remove(struct control *control)
{
	/* v: anonymous volumes only. Those of a namespace have names and stay. */
	_cleanup_free_ char *path = xasprintf("/containers/%s?force=1&v=1", control->container);

	engine_ask(control->agentd->engine, "DELETE", path, NULL, ENGINE_USEC, on_removed, control,
		   &control->request);
}

static void on_stopped(const struct engine_answer *answer, void *userdata)
{
	struct control *control = userdata;

	control->request = NULL;
	control->ending = false;
	agentd_changed(control->agentd);
	if (away(answer))
		return;
	if (!engine_ok(answer) && answer->status != 404) {
		log_warning("cannot stop %s: %s", control->fact->id, answer->message);
		if (control->want == WANT_STOP)
			return;
	}
	if (control->want == WANT_REMOVE) {
		control->ending = true;
		ask_remove(control);
	} else if (control->want == WANT_STOP) {
		control_event(control, EVENT_STOPPED, NULL);
	} else {
		/* Resumed meanwhile. */
		control_next(control);
	}
}

bool control_end(struct control *control)
{
	bool stopped = control->fact->state == INSTANCE_STOPPED;

	/* The request under way ends first; its answer comes back here. */
	if (control->request || control->ending || control->want == WANT_RUN)
		return true;
	if (control->want == WANT_STOP && (stopped || control->fact->state == INSTANCE_FAILED))
		return true;
	volume_check_free(steal(control->volumes));
	if (!control->container)
		return control_event(
			control, control->want == WANT_STOP ? EVENT_STOPPED : EVENT_REMOVED, NULL);
	if (!control->agentd->engine->up)
		return true;
	control->ending = true;
	if (stopped)
		ask_remove(control);
	else
		ask_stop(control, on_stopped);
	return true;
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

void control_last_output(struct control *control, engine_fn fn)
{
	_cleanup_free_ char *path = xasprintf("/containers/%s/logs?stdout=1&stderr=1&tail=%d",
					      control->container, REASON_LINES);

	engine_ask(control->agentd->engine, "GET", path, NULL, LAST_OUTPUT_USEC, fn, control,
		   &control->request);
}
