#include "routed/routed.h"

#define SUMMARY "the gateway: routing events become HAProxy's configuration"

static const struct config_row rows[] = {
	DAEMON_ROWS(struct routed_config, daemon, ROUTED),
	{ "prepare", CONFIG_BOOL, offsetof(struct routed_config, prepare), NULL, NULL,
	  "write haproxy.cfg from the last known routes, and leave", 0, 0 },
	{ "gateway-http", CONFIG_STRV, offsetof(struct routed_config, gateway_http), "*:80",
	  "ADDRESS:PORT", "where the gateway takes HTTP; may be given several times", 0, 0 },
	{ "gateway-address", CONFIG_STRING, offsetof(struct routed_config, gateway_address), "*",
	  "ADDRESS", "where tcp routes listen", 0, 0 },
	{ "pool", CONFIG_INT, offsetof(struct routed_config, pool), "64", "N",
	  "HTTP backends declared ahead: as many services get routes without a reload", 1, 10000 },
	CONFIG_END,
};

static void config_freep(struct routed_config *config)
{
	config_clear(rows, config);
}

static int run(int argc, char **argv)
{
	_cleanup_(config_freep) struct routed_config config = { 0 };
	_cleanup_(daemon_freep) struct daemon *daemon = NULL;
	_cleanup_(routed_freep) struct routed *routed = NULL;
	int r;

	r = daemon_new(ROUTED, SUMMARY, rows, &config, argc, argv, &daemon);
	if (r <= 0)
		return r;
	if (config.prepare)
		return routed_prepare(&config);
	r = daemon_open_bus(daemon);
	if (r < 0)
		return r == -ECANCELED ? 0 : r;
	routed = routed_new(daemon, &config);
	r = routed_start(routed);
	if (r < 0)
		return r;
	return daemon_loop(daemon);
}

int main(int argc, char **argv)
{
	return run(argc, argv) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
