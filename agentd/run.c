/* Run: executes a pre_deploy command once in the new image before the commit. While it runs it is
 * an instance of slot INSTANCE_RUN_SLOT in the facts: the resolver finds its deploy by its address.
 */
#include "agentd/agentd.h"

#define RUN_GRACE_S 2
#define ASIDE_USEC (10 * 1000000ull)
#define OUTPUT_USEC (2 * 1000000ull) /* that its output may take after its end */

struct run {
	struct runs *runs;
	struct agent_run *order;
	char *name;	   /* of its container, and its instance id */
	char *container;   /* the engine's id */
	const char *state; /* running, done, failed */
	int64_t exit_code;
	char *reason;
	bool record_wanted; /* its creation waits until its name is recorded */
	struct volume_check *volumes;
	struct engine_request *request;
	struct engine_request *output;
	struct timer *output_limit;
	uint64_t received; /* bytes of output */
	uint64_t skip;	   /* bytes that were received before and are read again */
	struct lines lines;
	char *last; /* line of output: often the reason */
	struct timer *limit;
	bool started, ended, reread;
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
	engine_cancel(run->output);
	volume_check_free(run->volumes);
	timer_free(run->limit);
	timer_free(run->output_limit);
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

/* --- its fact */

static void publish(struct run *run, const char *address)
{
	struct facts *facts = run->runs->agentd->facts;
	struct instance *fact = facts_get(facts, run->name);

	if (!fact) {
		fact = codec_new(&instance_schema);
		fact->id = xstrdup(run->name);
		fact->ns = xstrdup(run->order->command.ns);
		fact->service = xstrdup(run->order->service->name);
		fact->slot = INSTANCE_RUN_SLOT;
		fact->deploy = xstrdup(run->order->command.deploy);
		fact->epoch = run->order->command.epoch;
		fact->image = xstrdup(run->order->service->image);
		fact->digest = xstrdup(run->order->digest);
		fact->exit_code = -1;
		fact = facts_add(facts, fact);
	}
	free(fact->container);
	fact->container = xstrdup(run->container);
	free(fact->address);
	fact->address = xstrdup(address);
	facts_state(facts, fact, INSTANCE_STARTING, NULL, NULL);
}

static void unpublish(struct facts *facts, const char *name)
{
	struct instance *fact = facts_get(facts, name);

	if (fact && fact->slot == INSTANCE_RUN_SLOT)
		facts_drop(facts, fact);
}

/* --- its end */

struct removal {
	struct agentd *agentd;
	char *name;
};

static void on_removed(const struct engine_answer *answer, void *userdata)
{
	struct removal *removal = userdata;

	if (engine_ok(answer) || answer->status == 404)
		records_remove(removal->agentd->records, removal->name);
	else
		log_warning("cannot remove the pre_deploy container %s: %s; the namespace's next "
			    "deploy removes it",
			    removal->name, answer->message);
	free(removal->name);
	free(removal);
}

static void remove_container(struct agentd *agentd, const char *name, const char *container)
{
	_cleanup_free_ char *path = xasprintf("/containers/%s?force=1&v=1", container);
	struct removal *removal = xcalloc(1, sizeof(*removal));

	removal->agentd = agentd;
	removal->name = xstrdup(name);
	engine_ask(agentd->engine, "DELETE", path, NULL, ENGINE_USEC, on_removed, removal, NULL);
}

static void end(struct run *run, const char *state, int64_t exit_code, char *reason)
{
	struct agentd *agentd = run->runs->agentd;

	timer_disarm(run->limit);
	timer_disarm(run->output_limit);
	engine_cancel(steal(run->output));
	run->state = state;
	run->exit_code = exit_code;
	run->reason = reason;
	unpublish(agentd->facts, run->name);
	if (run->container)
		remove_container(agentd, run->name, run->container);
	files_remove(agentd, run->name);
	log_info("pre_deploy of %s/%s: %s%s%s", run->order->command.ns, run->order->service->name,
		 state, reason ? ": " : "", reason ? reason : "");
}

static void on_line(const char *stream, const char *line, size_t size, bool cut, void *userdata)
{
	struct run *run = userdata;
	struct progress progress;
	_cleanup_free_ char *text = str_valid(line, size);

	codec_init(&progress_schema, &progress);
	progress.kind = PROGRESS_LINE;
	progress.ns = xstrdup(run->order->command.ns);
	progress.service = xstrdup(run->order->service->name);
	progress.slot = INSTANCE_RUN_SLOT;
	progress.stream = xstrdup(stream);
	progress.message = xasprintf("%s%s", text, cut ? " … (line cut)" : "");
	free(run->last);
	run->last = str_cut(progress.message, REASON_MAX);
	bus_progress(run->runs->agentd, run->order->command.deploy, &progress);
	codec_clear(&progress_schema, &progress);
}

static void end_with(struct run *run, int64_t code)
{
	const struct pre_deploy *pre_deploy = run->order->service->pre_deploy;

	if (run->timed_out) {
		_cleanup_free_ char *limit = duration_human(pre_deploy->timeout);

		end(run, "failed", code, xasprintf("it did not end within %s", limit));
	} else if (code == 0) {
		end(run, "done", 0, NULL);
	} else {
		end(run, "failed", code,
		    xasprintf("%s ended with exit code %lld%s%s", pre_deploy->command[0],
			      (long long)code, run->last ? "; its last line: " : "",
			      run->last ? run->last : ""));
	}
}

static void on_exit_code(const struct engine_answer *answer, void *userdata)
{
	struct run *run = userdata;
	struct container_seen seen;

	run->request = NULL;
	if (!engine_ok(answer)) {
		end(run, "failed", -1, xasprintf("its exit code is unknown: %s", answer->message));
		return;
	}
	container_read(answer->json, "", &seen);
	if (seen.exit_code < 0)
		end(run, "failed", -1, xstrdup("the engine reports that it has not ended"));
	else
		end_with(run, seen.exit_code);
	container_clear(&seen);
}

static void inspect(struct run *run, const char *container, engine_fn fn)
{
	_cleanup_free_ char *path = xasprintf("/containers/%s/json", container);

	engine_ask(run->runs->agentd->engine, "GET", path, NULL, ENGINE_USEC, fn, run,
		   &run->request);
}

/* The exit code is read when the process has ended and its output is complete. */
static void output_complete(struct run *run)
{
	timer_disarm(run->output_limit);
	lines_flush(&run->lines);
	if (run->ended)
		inspect(run, run->container, on_exit_code);
}

static void on_waited(const struct engine_answer *answer, void *userdata)
{
	struct run *run = userdata;

	run->request = NULL;
	if (answer->error < 0) {
		end(run, "failed", -1, xasprintf("its end is unknown: %s", answer->message));
		return;
	}
	run->ended = true;
	if (run->output)
		timer_arm(run->output_limit, OUTPUT_USEC);
	else
		output_complete(run);
}

static void wait_for_end(struct run *run)
{
	_cleanup_free_ char *path = xasprintf("/containers/%s/wait", run->container);

	engine_ask(run->runs->agentd->engine, "POST", path, NULL,
		   run->order->service->pre_deploy->timeout + ENGINE_USEC, on_waited, run,
		   &run->request);
}

static enum http_flow on_output(_unused_ int status, const char *data, size_t size, void *userdata)
{
	struct run *run = userdata;
	size_t skipped = (size_t)MIN2(run->skip, (uint64_t)size);

	run->skip -= skipped;
	run->received += size - skipped;
	lines_feed(&run->lines, data + skipped, size - skipped);
	return HTTP_GO_ON;
}

static void on_output_end(_unused_ const struct http_answer *answer, void *userdata)
{
	struct run *run = userdata;

	run->output = NULL;
	output_complete(run);
}

static void read_output(struct run *run, bool follow)
{
	_cleanup_free_ char *path = xasprintf("/containers/%s/logs?stdout=1&stderr=1%s",
					      run->container, follow ? "&follow=1" : "");

	engine_stream(run->runs->agentd->engine, "GET", path, NULL, on_output, on_output_end, run,
		      &run->output);
}

/* Podman may follow the output of a process that ends while the request begins for ever (its issues
 * 6627 and 11461): what has not arrived is read without following. */
static void on_output_limit(void *userdata)
{
	struct run *run = userdata;

	engine_cancel(steal(run->output));
	if (run->reread) {
		output_complete(run);
		return;
	}
	run->reread = true;
	run->skip = run->received;
	timer_arm(run->output_limit, OUTPUT_USEC);
	read_output(run, false);
}

/* The answer to `wait` reports its end. */
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
	if (run->started && !run->ended)
		stop(run);
}

/* --- its start */

/* It runs, or has ended already. */
static void on_address(const struct engine_answer *answer, void *userdata)
{
	struct run *run = userdata;
	struct container_seen seen;

	run->request = NULL;
	if (engine_ok(answer)) {
		container_read(answer->json, run->runs->agentd->config->network, &seen);
		if (seen.running && seen.address)
			publish(run, seen.address);
		container_clear(&seen);
	}
	wait_for_end(run);
}

static void follow(struct run *run)
{
	run->started = true;
	inspect(run, run->container, on_address);
	read_output(run, true);
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
		    xasprintf("the engine cannot start it: %s", answer->message));
}

static void start(struct run *run)
{
	_cleanup_free_ char *path = xasprintf("/containers/%s/start", run->container);

	engine_ask(run->runs->agentd->engine, "POST", path, NULL, ENGINE_USEC, on_started, run,
		   &run->request);
}

/* An earlier process of agentd started it: a command that has run is not run again. */
static void on_found(const struct engine_answer *answer, void *userdata)
{
	struct run *run = userdata;
	struct agentd *agentd = run->runs->agentd;
	struct container_seen seen;

	run->request = NULL;
	if (!engine_ok(answer)) {
		end(run, "failed", -1,
		    xasprintf("the engine cannot inspect its container: %s", answer->message));
		return;
	}
	container_read(answer->json, agentd->config->network, &seen);
	if (!records_owner(agentd->records, &seen, agentd->config->daemon.machine)) {
		end(run, "failed", -1,
		    xasprintf("a container that agentd did not make has its name, %s; remove or "
			      "rename it, then deploy again",
			      run->name));
	} else {
		run->container = xstrdup(seen.id);
		records_made(agentd->records, run->name, seen.id);
		if (seen.created)
			start(run);
		else
			follow(run);
	}
	container_clear(&seen);
}

static void on_created(const struct engine_answer *answer, void *userdata)
{
	struct run *run = userdata;
	struct records *records = run->runs->agentd->records;
	const char *id = json_string_value(json_object_get(answer->json, "Id"));

	run->request = NULL;
	if (answer->error < 0)
		records_doubt(records, run->name);
	if (engine_name_taken(answer)) {
		inspect(run, run->name, on_found);
	} else if (!engine_ok(answer) || !id) {
		end(run, "failed", -1,
		    xasprintf("the engine cannot create it: %s", answer->message));
	} else {
		run->container = xstrdup(id);
		records_made(records, run->name, id);
		start(run);
	}
}

static void create(struct run *run)
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

static void on_volumes(enum volume_verdict verdict, const char *reason, void *userdata)
{
	struct run *run = userdata;

	volume_check_free(steal(run->volumes));
	if (verdict == VOLUMES_THERE)
		create(run);
	else
		end(run, "failed", -1, xstrdup(reason));
}

static void begin(struct run *run)
{
	struct agentd *agentd = run->runs->agentd;

	run->record_wanted = !records_expect(agentd->records, run->name);
	if (run->record_wanted)
		return;
	run->volumes = volume_check_new(agentd, run->order->command.ns, run->order->service,
					run->order->new_volumes, on_volumes, run);
	if (!run->volumes)
		create(run);
}

void runs_saved(struct runs *runs, int error)
{
	for (struct map_item *i = NULL; (i = map_next(&runs->map, i));) {
		struct run *run = i->value;

		if (!run->record_wanted)
			continue;
		run->record_wanted = false;
		if (error < 0)
			end(run, "failed", -1,
			    xasprintf("agentd cannot record it: %s", strerror(-error)));
		else
			begin(run);
	}
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
		run->output_limit = timer_new(runs->agentd->daemon->loop, on_output_limit, run);
		map_put(&runs->map, name, run);
		begin(run);
	}
	codec_init(&agent_ran_schema, ret);
	ret->state = xstrdup(run->state);
	ret->exit_code = run->exit_code;
	ret->reason = xstrdup(run->reason);
}

/* --- containers of other deploys and of earlier processes */

static void on_leftovers(const struct engine_answer *answer, void *userdata)
{
	struct runs *runs = userdata;
	struct agentd *agentd = runs->agentd;
	const json_t *item;
	size_t i;

	json_array_foreach (answer->json, i, item) {
		struct container_seen seen;

		container_read(item, "", &seen);
		/* The new deploy's container may be in the list already. */
		if (seen.run && !map_get(&runs->map, seen.run) &&
		    records_owner(agentd->records, &seen, agentd->config->daemon.machine)) {
			unpublish(agentd->facts, seen.run);
			remove_container(agentd, seen.run, seen.id);
		}
		container_clear(&seen);
	}
}

void runs_sweep(struct runs *runs, const char *ns, const char *deploy)
{
	struct agentd *agentd = runs->agentd;
	_cleanup_free_ char *filters = NULL, *escaped = NULL, *path = NULL;

	for (struct map_item *i = NULL; (i = map_next(&runs->map, i));) {
		struct run *run = i->value;

		if (!streq(run->order->command.ns, ns) || streq(run->order->command.deploy, deploy))
			continue;
		unpublish(agentd->facts, run->name);
		/* The engine may be making it. */
		if (!run->container)
			records_doubt(agentd->records, run->name);
		map_remove(&runs->map, run->name);
		run_free(run);
	}
	if (!agentd->engine->up)
		return;
	filters = xasprintf("{\"label\":[\"ployz.machine=%s\",\"ployz.namespace=%s\"]}",
			    agentd->config->daemon.machine, ns);
	escaped = http_escape(filters, NULL);
	path = xasprintf("/containers/json?all=1&filters=%s", escaped);
	engine_ask(agentd->engine, "GET", path, NULL, ENGINE_USEC, on_leftovers, runs, NULL);
}

/* Facts of commands that do not run. */
struct ended {
	const struct runs *runs;
	const struct map *containers;
	bool listed; /* those of these containers; otherwise those of no such container */
	struct instance **facts;
	size_t n_facts;
};

static void find_ended(struct instance *fact, void *userdata)
{
	struct ended *ended = userdata;
	bool listed = fact->container && map_get(ended->containers, fact->container);

	if (fact->slot == INSTANCE_RUN_SLOT && listed == ended->listed &&
	    (listed || !map_get(&ended->runs->map, fact->id)))
		*array_add(ended->facts, ended->n_facts) = fact;
}

static void drop_ended(const struct runs *runs, const struct map *containers, bool listed)
{
	struct facts *facts = runs->agentd->facts;
	struct ended ended = { runs, containers, listed, NULL, 0 };

	facts_each(facts, find_ended, &ended);
	for (size_t i = 0; i < ended.n_facts; i++)
		facts_drop(facts, ended.facts[i]);
	free(ended.facts);
}

void runs_adopt(struct runs *runs, const struct map *running)
{
	drop_ended(runs, running, false);
}

/* Its address may be assigned to another container soon. */
void runs_died(struct runs *runs, const char *container)
{
	struct map died = MAP_INIT;

	map_put(&died, container, runs);
	drop_ended(runs, &died, true);
	map_clear(&died, NULL);
}
