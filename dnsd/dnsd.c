/* dnsd: options, run() and main. */
#include "dnsd/dnsd.h"

#define SUMMARY "resolver for ployz.internal, and forwarder for all other names"

static const struct config_row rows[] = {
	DAEMON_ROWS(struct dnsd_config, daemon, "dnsd"),
	{ "dns-listen", CONFIG_STRV, offsetof(struct dnsd_config, listen), NULL, "ADDRESS:PORT",
	  "listen here, besides port 53 of the containers' bridge", 0, 0 },
	{ "forward", CONFIG_STRV, offsetof(struct dnsd_config, forward), NULL, "ADDRESS:PORT",
	  "resolver for other names, or `none`; those of /etc/resolv.conf when not given", 0, 0 },
	CONFIG_END,
};

static void config_freep(struct dnsd_config *config)
{
	config_clear(rows, config);
}

struct dnsd *dnsd_new(struct daemon *daemon, const struct dnsd_config *config)
{
	struct dnsd *dnsd = xcalloc(1, sizeof(*dnsd));

	dnsd->config = config;
	dnsd->daemon = daemon;
	dnsd->loop = daemon->loop;
	dnsd->machine = config->daemon.machine;
	dnsd->started = time_now_usec();
	dnsd->zone = zone_new();
	dnsd->view = view_new();
	dnsd->waiting = view_new();
	TAILQ_INIT(&dnsd->connections);
	TAILQ_INIT(&dnsd->deferred);
	dnsd->next_id = 1;
	return dnsd;
}

void dnsd_free(struct dnsd *dnsd)
{
	if (!dnsd)
		return;
	dnsd_unfollow(dnsd);
	confirmation_free(dnsd);
	defer_free(dnsd);
	upstream_free(dnsd);
	tcp_free(dnsd);
	listen_free(dnsd);
	zone_free(dnsd->zone);
	view_free(dnsd->view);
	view_free(dnsd->waiting);
	free(dnsd);
}

const struct zone *dnsd_zone(const struct dnsd *dnsd)
{
	return dnsd->loaded ? dnsd->zone : dnsd->saved_zone;
}

const struct watermark *dnsd_applied(const struct dnsd *dnsd)
{
	return dnsd->saved_zone ? &dnsd->stored : &dnsd->applied;
}

int dnsd_start(struct dnsd *dnsd)
{
	int r = listen_start(dnsd);

	if (r >= 0)
		r = upstream_start(dnsd);
	if (r >= 0)
		r = confirmation_start(dnsd);
	return r;
}

int dnsd_connect(struct dnsd *dnsd)
{
	dnsd->bus = dnsd->daemon->bus;
	dnsd_follow(dnsd);
	return dnsd_serve(dnsd);
}

static int without_bus(void *userdata)
{
	return confirmation_serve_stored(userdata, "the local bus does not answer");
}

static int run(int argc, char **argv)
{
	_cleanup_(config_freep) struct dnsd_config config = { 0 };
	_cleanup_(daemon_freep) struct daemon *daemon = NULL;
	_cleanup_(dnsd_freep) struct dnsd *dnsd = NULL;
	int r;

	r = daemon_new("dnsd", SUMMARY, rows, &config, argc, argv, &daemon);
	if (r <= 0)
		return r;
	dnsd = dnsd_new(daemon, &config);
	r = dnsd_start(dnsd);
	if (r < 0)
		return r;
	daemon->without_bus = without_bus;
	daemon->without_bus_userdata = dnsd;
	r = daemon_open_bus(daemon);
	if (r <= 0)
		return r;
	r = dnsd_connect(dnsd);
	if (r < 0)
		return r;
	return daemon_loop(daemon);
}

int main(int argc, char **argv)
{
	return run(argc, argv) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
