/* placerd: options, run() and main. */
#include "placerd/placerd.h"

#define SUMMARY "which machine for which slot, from live probes"

static const struct config_row rows[] = {
	DAEMON_ROWS(struct placerd_config, daemon, "placerd"),
	{ "proc", CONFIG_STRING, offsetof(struct placerd_config, proc), "/proc", "DIR",
	  "the kernel's files on memory, load and ports", 0, 0 },
	{ "gateway-http", CONFIG_STRV, offsetof(struct placerd_config, gateway_http), "*:80",
	  "ADDRESS:PORT", "where routed's gateway takes HTTP; may be given several times", 0, 0 },
	{ "gateway-address", CONFIG_STRING, offsetof(struct placerd_config, gateway_address), "*",
	  "ADDRESS", "where routed's gateway listens for tcp routes", 0, 0 },
	CONFIG_END,
};

static void config_freep(struct placerd_config *config)
{
	config_clear(rows, config);
}

struct placerd *placerd_new(struct daemon *daemon, const struct placerd_config *config)
{
	struct placerd *placerd = xcalloc(1, sizeof(*placerd));

	placerd->daemon = daemon;
	placerd->config = config;
	return placerd;
}

int placerd_start(struct placerd *placerd)
{
	daemon_status(placerd->daemon, "waiting for requests");
	return placerd_serve(placerd);
}

void placerd_free(struct placerd *placerd)
{
	if (!placerd)
		return;
	while (placerd->gatherings)
		gather_drop(placerd->gatherings);
	while (placerd->probings)
		probe_drop(placerd->probings);
	free(placerd);
}

static int run(int argc, char **argv)
{
	_cleanup_(config_freep) struct placerd_config config = { 0 };
	_cleanup_(daemon_freep) struct daemon *daemon = NULL;
	_cleanup_(placerd_freep) struct placerd *placerd = NULL;
	int r;

	r = daemon_new("placerd", SUMMARY, rows, &config, argc, argv, &daemon);
	if (r <= 0)
		return r;
	r = daemon_open_bus(daemon);
	if (r <= 0)
		return r;
	placerd = placerd_new(daemon, &config);
	r = placerd_start(placerd);
	if (r < 0)
		return r;
	return daemon_loop(daemon);
}

int main(int argc, char **argv)
{
	return run(argc, argv) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
