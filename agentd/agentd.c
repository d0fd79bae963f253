#include "agentd/agentd.h"

#define SUMMARY "looks after this machine's containers"

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
		log_notice("a lock has lapsed: its holder has not been heard for %llu s",
			   LOCK_TERM_USEC / 1000000);
		locks_save(agentd);
	}
	for (struct map_item *i = NULL; (i = map_next(&agentd->locks.map, i));) {
		const struct lock *lock = i->value;

		if (lock->held && (!next || lock->until < next))
			next = lock->until;
	}
	if (next)
		timer_arm(agentd->lapse, next - now);
}

static bool may_end(void *userdata)
{
	struct agentd *agentd = userdata;

	if (!agentd->engine->making)
		return true;
	log_info("ending once the engine has made what it was asked for");
	timer_arm(agentd->end, ENGINE_MAKING_USEC);
	return false;
}

void agentd_made(struct agentd *agentd)
{
	if (agentd->daemon->told && !agentd->engine->making)
		sd_event_exit(agentd->daemon->loop, 0);
}

static void on_end(void *userdata)
{
	struct agentd *agentd = userdata;

	log_warning("the engine does not say whether it has made what it was asked for; it is "
		    "found at the next start");
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
	daemon->may_end = may_end;
	daemon->may_end_userdata = agentd;
	r = locks_load(agentd);
	if (r < 0)
		return r;
	timer_arm(agentd->lapse, 0);
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
	for (size_t i = 0; i < agentd->n_waiting; i++)
		bus_call_drop(agentd->waiting[i].call);
	map_clear(&agentd->controls, control_free_value);
	runs_free(agentd->runs);
	logs_free(agentd->logs);
	images_free(agentd->images);
	facts_free(agentd->facts);
	network_free(&agentd->network);
	engine_cancel(agentd->adopting);
	engine_free(agentd->engine);
	http_free(agentd->http);
	locks_clear(&agentd->locks);
	timer_free(agentd->lapse);
	timer_free(agentd->end);
	free(agentd);
}

int agentd_start(struct agentd *agentd)
{
	facts_load(agentd->facts);
	network_start(&agentd->network);
	agentd_say_status(agentd);
	return agentd_serve(agentd);
}

struct control *agentd_control(const struct agentd *agentd, const char *instance)
{
	return map_get(&agentd->controls, instance);
}

void agentd_go_on(struct agentd *agentd)
{
	if (!agentd->adopted)
		return;
	for (struct map_item *i = NULL; (i = map_next(&agentd->controls, i));)
		control_go_on(i->value);
}

void agentd_say_status(struct agentd *agentd)
{
	if (!agentd->engine->up)
		daemon_status(agentd->daemon, "The container engine does not answer: %s",
			      agentd->engine->error ? agentd->engine->error : "not asked yet");
	else if (!facts_loaded(agentd->facts))
		daemon_status(agentd->daemon, "Waiting for the log to read this machine's facts");
	else if (agentd->network.trouble)
		daemon_status(agentd->daemon, "Starts no containers: %s", agentd->network.trouble);
	else
		daemon_status(agentd->daemon, "%zu instances on engine %s", agentd->controls.count,
			      agentd->engine->version);
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
