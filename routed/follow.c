#include "routed/routed.h"

/* The log as routed sees it: entries go into the view, and once a turn the view becomes a table. */

static void on_entry(const char *subject, uint64_t sequence, const char *data, size_t size,
		     void *userdata)
{
	struct routed *routed = userdata;

	if (view_take(&routed->view, subject, sequence, data, size) == -EBADMSG)
		log_warning("%s: %s", subject,
			    (const char *)map_get(&routed->view.troubles, subject));
}

static void on_settled(uint64_t sequence, void *userdata)
{
	sync_table(userdata, sequence);
}

static const struct projection_ops ops = { .entry = on_entry, .settled = on_settled };

static int taken_ports(struct routed *routed)
{
	for (char **bind = routed->config->gateway_http; bind && *bind; bind++) {
		_cleanup_free_ char *address = NULL;
		int64_t port;

		if (render_bind_parse(*bind, &address, &port) < 0) {
			log_error("gateway-http wants ADDRESS:PORT, not '%s'", *bind);
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
	routed->projection =
		projection_new(routed->bus, routed->config->daemon.machine, &ops, routed);
	return routed_serve(routed);
}

void routed_free(struct routed *routed)
{
	if (!routed)
		return;
	bus_drop_waiters(routed);
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
	free(routed);
}
