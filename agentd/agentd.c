#include "agentd/agentd.h"

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

static void config_free(struct agentd_config *config)
{
	config_clear(rows, config);
}

static int run(int argc, char **argv)
{
	_cleanup_(config_free) struct agentd_config config = { 0 };
	_cleanup_(daemon_freep) struct daemon *daemon = NULL;
	_cleanup_(agentd_freep) struct agentd *agentd = NULL;
	int r;

	r = daemon_new("agentd", "looks after this machine's containers", rows, &config, argc, argv,
		       &daemon);
	if (r <= 0)
		return r;
	r = daemon_open_bus(daemon);
	if (r < 0)
		return r;
	r = agentd_new(daemon, &config, &agentd);
	if (r < 0)
		return r;
	r = agentd_start(agentd);
	if (r < 0)
		return r;
	r = bus_serve(daemon->bus, "agentd", config.daemon.machine, agentd_verbs,
		      agentd_verbs_count, agentd_status, agentd);
	if (r < 0)
		return log_errno(LOG_ERR, r, "cannot listen on the bus");
	return daemon_loop(daemon);
}

int main(int argc, char **argv)
{
	return run(argc, argv) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
