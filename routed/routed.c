/* routed: options, start and end. */
#include "routed/routed.h"

#define SUMMARY "the gateway: routing events become HAProxy's configuration"

static const struct config_row rows[] = {
	DAEMON_ROWS(struct routed_config, daemon, "routed"),
	{ "prepare", CONFIG_BOOL, offsetof(struct routed_config, prepare), NULL, NULL,
	  "write haproxy.cfg from the last known routes and exit", 0, 0 },
	{ "gateway-http", CONFIG_STRV, offsetof(struct routed_config, gateway_http), "*:80",
	  "ADDRESS:PORT", "where the gateway accepts HTTP; may be given several times", 0, 0 },
	{ "gateway-address", CONFIG_STRING, offsetof(struct routed_config, gateway_address), "*",
	  "ADDRESS", "where tcp routes listen", 0, 0 },
	{ "pool", CONFIG_INT, offsetof(struct routed_config, pool), "64", "N",
	  "HTTP backends declared ahead: as many services need no reload", 1, 10000 },
	CONFIG_END,
};

static void config_freep(struct routed_config *config)
{
	config_clear(rows, config);
}

static int taken_ports(struct routed *routed)
{
	for (char **bind = routed->config->gateway_http; bind && *bind; bind++) {
		_cleanup_free_ char *address = NULL;
		int64_t port;

		if (render_bind_parse(*bind, &address, &port) < 0) {
			log_error("cannot use gateway-http '%s': it is not ADDRESS:PORT", *bind);
			return -EINVAL;
		}
		*array_add(routed->taken, routed->n_taken) = port;
	}
	return 0;
}

struct routed *routed_new(struct daemon *daemon, const struct routed_config *config)
{
	struct routed *routed = xcalloc(1, sizeof(*routed));

	routed->config = config;
	routed->daemon = daemon;
	routed->loop = daemon ? daemon->loop : NULL;
	routed->bus = daemon ? daemon->bus : NULL;
	prepare_paths(routed);
	return routed;
}

int routed_start(struct routed *routed)
{
	int r = taken_ports(routed);

	if (r < 0)
		return r;
	sync_start(routed);
	routed_follow(routed);
	return routed_serve(routed);
}

void routed_free(struct routed *routed)
{
	if (!routed)
		return;
	waiters_free(routed);
	projection_free(routed->projection);
	sync_free(routed);
	view_clear(&routed->view);
	free(routed->taken);
	free(routed->socket);
	free(routed->master);
	free(routed->map_path);
	free(routed->config_path);
	free(routed->saved_path);
	free(routed->rendered);
	free(routed->rendered_map);
	free(routed->files_error);
	free(routed);
}

static int run(int argc, char **argv)
{
	_cleanup_(config_freep) struct routed_config config = { 0 };
	_cleanup_(daemon_freep) struct daemon *daemon = NULL;
	_cleanup_(routed_freep) struct routed *routed = NULL;
	int r;

	r = daemon_new("routed", SUMMARY, rows, &config, argc, argv, &daemon);
	if (r <= 0)
		return r;
	if (config.prepare)
		return routed_prepare(&config);
	r = daemon_open_bus(daemon);
	if (r <= 0)
		return r;
	routed = routed_new(daemon, &config);
	r = routed_start(routed);
	if (r < 0)
		return r;
	return daemon_loop(daemon);
}

int main(int argc, char **argv)
{
	return run(argc, argv) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
