/* agentd: options, start, end, and the reactions to a change. */
#include "agentd/agentd.h"

#define SUMMARY "controls this machine's containers"

static const struct config_row rows[] = {
	DAEMON_ROWS(struct agentd_config, daemon, "agentd"),
	{ "engine", CONFIG_STRING, offsetof(struct agentd_config, engine),
	  "unix:///var/run/docker.sock", "URL", "the container engine's socket", 0, 0 },
	{ "network", CONFIG_STRING, offsetof(struct agentd_config, network), "ployz", "NAME",
	  "the engine's name of the containers' network", 0, 0 },
	{ "bridge", CONFIG_STRING, offsetof(struct agentd_config, bridge), "ployz0", "LINK",
	  "the bridge that this network is on the machine", 0, 0 },
	{ "publish-address", CONFIG_STRING, offsetof(struct agentd_config, publish_address),
	  "127.0.0.1", "ADDRESS", "where published ports listen that name no address", 0, 0 },
	CONFIG_END,
};

static void config_freep(struct agentd_config *config)
{
	config_clear(rows, config);
}

static void on_lapse(void *userdata)
{
	struct agentd *agentd = userdata;
	uint64_t next = 0, now = boot_now_usec();

	if (locks_lapse(&agentd->locks, now)) {
		log_notice("a lock has lapsed: no message of its holder for %llu s",
			   LOCK_TERM_USEC / 1000000);
		agentd->locks.unsaved = true;
		abort_unlocked(agentd->aborts);
	}
	for (struct map_item *i = NULL; (i = map_next(&agentd->locks.map, i));) {
		const struct lock *lock = i->value;

		if (lock->held && (!next || lock->until < next))
			next = lock->until;
	}
	if (next)
		timer_arm(agentd->lapse, next - now);
}

/* A higher epoch ends an earlier holder's lock; the same entry decides about the instances that
 * this holder has stopped. The epoch is stored before any command is executed. */
static void on_head(const struct head_seen *seen, const struct failure *failure,
		    struct agentd *agentd)
{
	if (failure) {
		commands_unread(agentd->commands, seen, failure);
		return;
	}
	if (locks_shown(&agentd->locks, seen->ns, admission_epoch(seen->head),
			seen->head && seen->head->open ? seen->head->open->deploy : NULL))
		agentd->locks.unsaved = true;
	facts_generation(agentd->facts, admission_generation(seen->head));
	abort_unlocked(agentd->aborts);
	abort_head(agentd->aborts, seen);
	commands_poll(agentd->commands);
}

/* A start may wait for the end of another instance. */
static void on_changed(void *userdata)
{
	struct agentd *agentd = userdata;

	for (struct map_item *i = NULL; (i = map_next(&agentd->controls, i));) {
		struct control *control = i->value;

		if (control->start_wanted)
			control_next(control);
	}
	abort_settle(agentd->aborts);
	queries_poll(agentd->queries);
}

static void on_recorded(int error, void *userdata)
{
	struct agentd *agentd = userdata;
	_cleanup_free_ char *reason =
		error < 0 ? xasprintf("agentd cannot record its container: %s", strerror(-error))
			  : NULL;

	for (struct map_item *i = NULL; (i = map_next(&agentd->controls, i));) {
		struct control *control = i->value;

		if (!control->record_wanted)
			continue;
		control->record_wanted = false;
		if (error < 0)
			control_event(control, EVENT_REFUSED, reason);
		else if (control->want == WANT_RUN)
			control_create(control);
	}
	runs_saved(agentd->runs, error);
}

static bool may_end(void *userdata)
{
	struct agentd *agentd = userdata;

	if (!agentd->engine->making)
		return true;
	log_info("stopping once the container engine has answered all requests to create "
		 "containers");
	timer_arm(agentd->end, ENGINE_MAKING_USEC);
	return false;
}

void agentd_made(struct agentd *agentd)
{
	if (agentd->daemon->stopping && !agentd->engine->making)
		sd_event_exit(agentd->daemon->loop, 0);
}

static void on_end(void *userdata)
{
	struct agentd *agentd = userdata;

	log_warning("the container engine has not answered requests to create containers; the next "
		    "start of agentd adopts them");
	sd_event_exit(agentd->daemon->loop, 0);
}

int agentd_new(struct daemon *daemon, const struct agentd_config *config, struct agentd **ret)
{
	_cleanup_(agentd_freep) struct agentd *agentd = xcalloc(1, sizeof(*agentd));
	struct failure failure = FAILURE_INIT;
	int r;

	agentd->daemon = daemon;
	agentd->config = config;
	network_new(agentd);
	r = http_new(daemon->loop, &agentd->http);
	if (r < 0)
		return log_errno(LOG_ERR, r, "cannot make an HTTP client");
	r = engine_new(agentd, config->engine, &agentd->engine, &failure);
	if (r < 0) {
		log_error("%s (%s)", failure.message, failure.hint);
		failure_clear(&failure);
		return r;
	}
	agentd->lapse = timer_new(daemon->loop, on_lapse, agentd);
	agentd->end = timer_new(daemon->loop, on_end, agentd);
	agentd->changed = deferred_new(daemon->loop, on_changed, agentd);
	daemon->may_end = may_end;
	daemon->may_end_userdata = agentd;
	r = records_new(daemon->loop, config->daemon.state, on_recorded, agentd, &agentd->records);
	if (r >= 0)
		r = locks_load(agentd);
	if (r < 0)
		return r;
	timer_arm(agentd->lapse, 0);
	agentd->heads = heads_new(agentd, on_head);
	agentd->commands = commands_new(agentd);
	agentd->queries = queries_new(agentd);
	agentd->aborts = abort_new(agentd);
	agentd->facts = facts_new(agentd);
	agentd->images = images_new(agentd);
	agentd->logs = logs_new(agentd);
	agentd->runs = runs_new(agentd);
	*ret = steal(agentd);
	return 0;
}

static void control_free_value(void *control)
{
	control_free(control);
}

void agentd_free(struct agentd *agentd)
{
	if (!agentd)
		return;
	commands_free(agentd->commands);
	queries_free(agentd->queries);
	abort_free(agentd->aborts);
	heads_free(agentd->heads);
	map_clear(&agentd->controls, control_free_value);
	runs_free(agentd->runs);
	logs_free(agentd->logs);
	images_free(agentd->images);
	facts_free(agentd->facts);
	network_free(&agentd->network);
	engine_cancel(agentd->adopting);
	engine_free(agentd->engine);
	http_free(agentd->http);
	records_free(agentd->records);
	locks_clear(&agentd->locks);
	deferred_free(agentd->changed);
	timer_free(agentd->lapse);
	timer_free(agentd->end);
	free(agentd);
}

int agentd_start(struct agentd *agentd)
{
	facts_load(agentd->facts);
	network_start(&agentd->network);
	agentd_update_status(agentd);
	return agentd_serve(agentd);
}

struct control *agentd_control(const struct agentd *agentd, const char *instance)
{
	return map_get(&agentd->controls, instance);
}

void agentd_take_up(struct agentd *agentd)
{
	if (!agentd->adopted)
		return;
	for (struct map_item *i = NULL; (i = map_next(&agentd->controls, i));)
		control_take_up(i->value);
}

void agentd_changed(struct agentd *agentd)
{
	deferred_schedule(agentd->changed);
}

void agentd_update_status(struct agentd *agentd)
{
	if (facts_refused(agentd->facts))
		daemon_status(agentd->daemon, "starts no containers: %s",
			      facts_refused(agentd->facts)->message);
	else if (!agentd->engine->up)
		daemon_status(agentd->daemon, "cannot reach the container engine: %s",
			      agentd->engine->error ? agentd->engine->error : "not asked yet");
	else if (!facts_loaded(agentd->facts))
		daemon_status(agentd->daemon,
			      "waiting for the store: reading this machine's facts");
	else if (agentd->network.error)
		daemon_status(agentd->daemon, "starts no containers: %s", agentd->network.error);
	else
		daemon_status(agentd->daemon, "%zu instances on container engine %s",
			      agentd->controls.count, agentd->engine->version);
}

static int run(int argc, char **argv)
{
	_cleanup_(config_freep) struct agentd_config config = { 0 };
	_cleanup_(daemon_freep) struct daemon *daemon = NULL;
	_cleanup_(agentd_freep) struct agentd *agentd = NULL;
	int r;

	r = daemon_new("agentd", SUMMARY, rows, &config, argc, argv, &daemon);
	if (r <= 0)
		return r;
	r = daemon_open_bus(daemon);
	if (r <= 0)
		return r;
	r = agentd_new(daemon, &config, &agentd);
	if (r < 0)
		return r;
	r = agentd_start(agentd);
	if (r < 0)
		return r;
	return daemon_loop(daemon);
}

int main(int argc, char **argv)
{
	return run(argc, argv) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
