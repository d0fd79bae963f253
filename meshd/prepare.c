/* Prepare: `meshd --prepare` writes the files that the two nats-servers need, and the request of
 * `init`. */
#include "meshd/meshd.h"

#define RENDERED_MODE 0600

/* The local bus listens on loopback only. `nats://127.0.0.1:4222` → `127.0.0.1:4222`, borrowed. */
static const char *bus_listen(const char *url)
{
	const char *at = strstr(url, "://");

	at = at ? at + 3 : url;
	if (!str_starts(at, "127.") && !str_starts(at, "[::1]:") && !str_starts(at, "localhost:"))
		return NULL;
	return strchr(at, ':') && !strpbrk(at, "@,/") ? at : NULL;
}

static int write_rendered(const char *directory, const char *name, char *text)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", directory, name);
	_cleanup_free_ char *owned = text;
	int r = file_write_atomic(path, text, strlen(text), RENDERED_MODE);

	if (r < 0)
		return log_errno(LOG_ERR, r, "cannot write %s", path);
	return 0;
}

static int render(const struct meshd_config *config, const struct identity *identity,
		  const char *listen)
{
	const struct render_member member = { .machine = identity->machine,
					      .leaf = config->leaf_listen };
	const struct render_user machine = { .name = identity->machine,
					     .password = identity->leaf_password };
	const struct render_bus bus = {
		.machine = identity->machine,
		.listen = listen,
		.data = config->bus_data,
		.users = identity->users,
		.n_users = identity->n_users,
		.stores = &member,
		.n_stores = 1,
		.leaf_password = identity->leaf_password,
	};
	const struct render_store store = {
		.machine = identity->machine,
		.data = config->store_data,
		.generation = 1,
		.members = &member,
		.n_members = 1,
		.machines = &machine,
		.n_machines = 1,
	};
	int r = write_rendered(config->daemon.run, "nats.conf", render_bus(&bus));

	return r < 0 ? r : write_rendered(config->daemon.run, "store.conf", render_store(&store));
}

int meshd_prepare(const struct meshd_config *config)
{
	const char *listen = bus_listen(config->daemon.bus);
	_cleanup_(identity_clear) struct identity identity = { 0 };
	struct failure failure = FAILURE_INIT;
	int r;

	if (!listen) {
		log_error("cannot listen on %s: the local bus listens on loopback only; change "
			  "--bus, as in nats://127.0.0.1:4222",
			  config->daemon.bus);
		return -EINVAL;
	}
	r = bus_program_check(config->nats_server, &failure);
	if (r < 0)
		log_failure(&failure);
	failure_clear(&failure);
	if (r >= 0)
		r = identity_open(config->daemon.credentials, &identity);
	if (r >= 0)
		r = directory_make(config->daemon.run, 0755);
	if (r >= 0)
		r = render(config, &identity, listen);
	if (r >= 0 && config->init)
		r = init_request_make(config->daemon.state, config->init);
	if (r < 0)
		return r;
	log_info("prepared %s: %s/nats.conf and %s/store.conf", identity.machine,
		 config->daemon.run, config->daemon.run);
	return 0;
}
