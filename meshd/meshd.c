#include "meshd/meshd.h"

#include <sys/utsname.h>

#define SUMMARY "this machine's place in the mesh"

static const struct config_row rows[] = {
	DAEMON_ROWS(struct meshd_config, daemon, "meshd"),
	{ "prepare", CONFIG_BOOL, offsetof(struct meshd_config, prepare), NULL, NULL,
	  "write identity, credentials and the servers' configuration, and leave", 0, 0 },
	{ "name", CONFIG_STRING, offsetof(struct meshd_config, name), NULL, "NAME",
	  "this machine's name; the host's when not given", 0, 0 },
	{ "region", CONFIG_STRING, offsetof(struct meshd_config, region), "default", "REGION",
	  "region of a machine that has no record yet", 0, 0 },
	{ "leaf-listen", CONFIG_STRING, offsetof(struct meshd_config, leaf_listen),
	  "127.0.0.1:7422", "ADDRESS:PORT", "where the store takes leaf links", 0, 0 },
	{ "bus-data", CONFIG_STRING, offsetof(struct meshd_config, bus_data), "/var/lib/ployz/bus",
	  "DIR", "data of the local bus", 0, 0 },
	{ "store-data", CONFIG_STRING, offsetof(struct meshd_config, store_data),
	  "/var/lib/ployz/store", "DIR", "data of the store", 0, 0 },
	{ "nats-server", CONFIG_STRING, offsetof(struct meshd_config, nats_server), "nats-server",
	  "PROGRAM", "the server that --prepare asks for its version", 0, 0 },
	{ "subnet", CONFIG_STRING, offsetof(struct meshd_config, subnet), "10.101.0.0/16",
	  "NETWORK", "for containers: 10.B.0.0/16 to claim a /24 of, or 10.B.N.0/24", 0, 0 },
	CONFIG_END,
};

static void config_freep(struct meshd_config *config)
{
	config_clear(rows, config);
}

static void on_ready(struct meshd *meshd)
{
	_cleanup_free_ char *subnet = plan_subnet_text(&meshd->pool, meshd->subnet);

	log_info("machine %s (%s), subnet %s", meshd->machine, meshd->name, subnet);
	watch_start(meshd);
}

struct meshd *meshd_new(struct daemon *daemon, const struct meshd_config *config)
{
	struct meshd *meshd = xcalloc(1, sizeof(*meshd));
	struct utsname host;

	uname(&host);
	meshd->config = config;
	meshd->daemon = daemon;
	meshd->loop = daemon->loop;
	meshd->bus = daemon->bus;
	meshd->machine = config->daemon.machine;
	meshd->name = plan_name(config->name ? config->name : host.nodename);
	meshd->arch = xstrdup(host.machine);
	meshd->subnet = -1;
	meshd->ready = on_ready;
	return meshd;
}

void meshd_free(struct meshd *meshd)
{
	if (!meshd)
		return;
	watch_free(meshd);
	founding_free(meshd);
	free(meshd->name);
	free(meshd->arch);
	free(meshd);
}

/* Ready means that the others find their streams; but a store that stays silent must not keep the
 * machine from starting: what runs is served from the machine's copy. */
static int found(struct meshd *meshd)
{
	int r = 0;

	founding_start(meshd);
	while (r >= 0 && meshd->step != FOUNDING_DONE && !meshd->silent_said &&
	       sd_event_get_state(meshd->loop) < SD_EVENT_EXITING)
		r = sd_event_run(meshd->loop, UINT64_MAX);
	return r;
}

static int run(int argc, char **argv)
{
	_cleanup_(config_freep) struct meshd_config config = { 0 };
	_cleanup_(daemon_freep) struct daemon *daemon = NULL;
	_cleanup_(meshd_freep) struct meshd *meshd = NULL;
	struct plan_pool pool;
	int r;

	r = daemon_new("meshd", SUMMARY, rows, &config, argc, argv, &daemon);
	if (r <= 0)
		return r;
	if (plan_pool_parse(config.subnet, &pool) < 0) {
		log_error("--subnet wants 10.B.0.0/16 or 10.B.N.0/24, not '%s'", config.subnet);
		return -EINVAL;
	}
	if (config.prepare)
		return meshd_prepare(&config);
	r = daemon_open_bus(daemon);
	if (r <= 0)
		return r;
	meshd = meshd_new(daemon, &config);
	meshd->pool = pool;
	r = meshd_serve(meshd);
	if (r >= 0)
		r = found(meshd);
	if (r < 0 || sd_event_get_state(daemon->loop) >= SD_EVENT_EXITING)
		return MIN2(r, 0);
	return daemon_loop(daemon);
}

int main(int argc, char **argv)
{
	return run(argc, argv) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
