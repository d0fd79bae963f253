#include "leased/leased.h"

#define SUMMARY "walks deploys under a lease and commits them"

static const struct config_row rows[] = {
	DAEMON_ROWS(struct leased_config, daemon, "leased"),
	CONFIG_END,
};

/* Machines that gateways, resolvers and agents run on: those that joined and have not left. */
static void on_entry(const char *subject, _unused_ uint64_t sequence, const char *data, size_t size,
		     void *userdata)
{
	struct leased *leased = userdata;
	_cleanup_free_ char *id = NULL;
	void *decoded = NULL;
	bool peer = false;

	if (!subject_match(SUBJECT_MACHINE, subject, &id, NULL))
		return;
	if (data && codec_parse(&machine_schema, data, size, CODEC_LENIENT, &decoded, NULL) == 0) {
		const struct machine *machine = decoded;

		peer = machine->life_cycle == MACHINE_ACTIVE ||
		       machine->life_cycle == MACHINE_DRAINING;
	}
	if (peer)
		map_put(&leased->machines, id, leased);
	else
		map_remove(&leased->machines, id);
	codec_destroy(&machine_schema, decoded);
}

static void on_settled(_unused_ uint64_t sequence, void *userdata)
{
	struct leased *leased = userdata;

	daemon_status(leased->daemon, "%zu machines take part", leased->machines.count);
}

static const struct projection_ops projection_ops = {
	.entry = on_entry,
	.settled = on_settled,
};

struct leased *leased_new(struct daemon *daemon, const struct leased_config *config)
{
	struct leased *leased = xcalloc(1, sizeof(*leased));

	leased->daemon = daemon;
	leased->config = config;
	leased->life = id_new();
	leased->trim = deferred_new(daemon->loop, walks_trim, leased);
	return leased;
}

int leased_start(struct leased *leased)
{
	_cleanup_free_ char *machines = subject_filter(SUBJECT_MACHINE);
	int r = hold_start(leased);

	if (r < 0)
		return r;
	leased->projection = projection_new(leased->daemon->bus, leased->daemon->config->machine,
					    machines, &projection_ops, leased);
	watch_start(leased);
	return leased_serve(leased);
}

void leased_free(struct leased *leased)
{
	if (!leased)
		return;
	for (size_t i = 0; i < leased->n_walks; i++)
		walk_free(leased->walks[i]);
	free(leased->walks);
	for (size_t i = 0; i < leased->n_ended; i++)
		deploy_free(leased->ended[i]);
	watch_stop(leased);
	sd_event_source_disable_unref(leased->hold_watch);
	projection_free(leased->projection);
	deferred_free(leased->trim);
	map_clear(&leased->machines, NULL);
	free(leased->life);
	free(leased);
}

static void config_freep(struct leased_config *config)
{
	config_clear(rows, config);
}

static int run(int argc, char **argv)
{
	_cleanup_(config_freep) struct leased_config config = { 0 };
	_cleanup_(daemon_freep) struct daemon *daemon = NULL;
	_cleanup_(leased_freep) struct leased *leased = NULL;
	int r;

	r = daemon_new("leased", SUMMARY, rows, &config, argc, argv, &daemon);
	if (r <= 0)
		return r;
	r = daemon_open_bus(daemon);
	if (r <= 0)
		return r;
	leased = leased_new(daemon, &config);
	r = leased_start(leased);
	if (r < 0)
		return r;
	return daemon_loop(daemon);
}

int main(int argc, char **argv)
{
	return run(argc, argv) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
