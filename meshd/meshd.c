/* meshd: options, run() and main. */
#include "meshd/meshd.h"

#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#define SUMMARY "this machine's membership of the cluster"

static const struct config_row rows[] = {
	DAEMON_ROWS(struct meshd_config, daemon, "meshd"),
	{ "prepare", CONFIG_BOOL, offsetof(struct meshd_config, prepare), NULL, NULL,
	  "write identity, credentials and the servers' configuration, and exit", 0, 0 },
	{ "init", CONFIG_STRING, offsetof(struct meshd_config, init), NULL, "NAME",
	  "with --prepare: request the creation of the store of cluster NAME", 0, 0 },
	{ "name", CONFIG_STRING, offsetof(struct meshd_config, name), NULL, "NAME",
	  "this machine's name; the host's when not given", 0, 0 },
	{ "region", CONFIG_STRING, offsetof(struct meshd_config, region), "default", "REGION",
	  "region of a machine without a member record", 0, 0 },
	{ "leaf-listen", CONFIG_STRING, offsetof(struct meshd_config, leaf_listen),
	  "127.0.0.1:7422", "ADDRESS:PORT", "where the store accepts leaf links", 0, 0 },
	{ "bus-data", CONFIG_STRING, offsetof(struct meshd_config, bus_data), "/var/lib/ployz/bus",
	  "DIR", "data of the local bus", 0, 0 },
	{ "store-data", CONFIG_STRING, offsetof(struct meshd_config, store_data),
	  "/var/lib/ployz/store", "DIR", "data of the store", 0, 0 },
	{ "nats-server", CONFIG_STRING, offsetof(struct meshd_config, nats_server), "nats-server",
	  "PROGRAM", "the server that --prepare asks for its version", 0, 0 },
	{ "subnet", CONFIG_STRING, offsetof(struct meshd_config, subnet), "10.101.0.0/16",
	  "NETWORK", "for containers: 10.B.0.0/16 to claim a /24 of it, or 10.B.N.0/24", 0, 0 },
	CONFIG_END,
};

static void config_freep(struct meshd_config *config)
{
	config_clear(rows, config);
}

struct meshd *meshd_new(struct daemon *daemon, const struct meshd_config *config)
{
	struct meshd *meshd = xcalloc(1, sizeof(*meshd));
	struct utsname host;
	struct sysinfo system = { 0 };

	uname(&host);
	sysinfo(&system);
	meshd->config = config;
	meshd->daemon = daemon;
	meshd->loop = daemon->loop;
	meshd->bus = daemon->bus;
	meshd->machine = config->daemon.machine;
	meshd->name = plan_name(config->name ? config->name : host.nodename);
	meshd->arch = xstrdup(host.machine);
	meshd->cpus = sysconf(_SC_NPROCESSORS_ONLN);
	meshd->memory = (uint64_t)system.totalram * system.mem_unit;
	meshd->subnet = -1;
	return meshd;
}

void meshd_free(struct meshd *meshd)
{
	if (!meshd)
		return;
	usage_free(meshd);
	compact_free(meshd);
	accept_free(meshd);
	bootstrap_free(meshd);
	free(meshd->name);
	free(meshd->arch);
	free(meshd);
}

/* Reads the state directory. 0 or negative errno after having logged why. */
static int read_state(struct meshd *meshd)
{
	const char *state = meshd->config->daemon.state;
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;
	int r = marker_read(state, &meshd->marker, &failure);

	if (r >= 0)
		r = facts_note_read(state, &meshd->note, &failure);
	if (r < 0)
		log_failure(&failure);
	return r;
}

/* READY=1 means that the streams exist. A store that does not answer or waits for an operator must
 * not prevent the machine's start: the other daemons then use the local mirrors. */
static int bootstrap(struct meshd *meshd)
{
	int r = read_state(meshd);

	if (r < 0)
		return r;
	bootstrap_start(meshd);
	while (r >= 0 && !meshd->settled && sd_event_get_state(meshd->loop) < SD_EVENT_EXITING)
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
		log_error("cannot use subnet '%s': it is neither 10.B.0.0/16 nor 10.B.N.0/24; "
			  "change --subnet",
			  config.subnet);
		return -EINVAL;
	}
	if (config.init && !config.prepare) {
		log_error("cannot initialise cluster %s: --init needs --prepare; run `ployzctl "
			  "init %s`",
			  config.init, config.init);
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
		r = bootstrap(meshd);
	if (r < 0 || sd_event_get_state(daemon->loop) >= SD_EVENT_EXITING)
		return MIN2(r, 0);
	return daemon_loop(daemon);
}

int main(int argc, char **argv)
{
	return run(argc, argv) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
