#include "leased/leased.h"

#include <stdlib.h>

#define SUMMARY "executes deploys under a lease and commits them"

static const struct config_row rows[] = {
	DAEMON_ROWS(struct leased_config, daemon, "leased"),
	CONFIG_END,
};

/* The machine view: machines whose gateways, resolvers and agents take part. */
static void on_entry(const char *subject, uint64_t sequence, const char *data, size_t size,
		     void *userdata)
{
	struct leased *leased = userdata;
	_cleanup_free_ char *id = NULL;
	void *decoded = NULL;

	if (!subject_match(SUBJECT_MEMBER, subject, &id, NULL))
		return;
	if (data && codec_parse(&member_schema, data, size, CODEC_LENIENT, &decoded, NULL) < 0) {
		/* Without its last state the machine would be left out of deploys. */
		log_warning("cannot decode entry %llu on %s; using its last good entry",
			    (unsigned long long)sequence, subject);
		return;
	}
	if (decoded && member_takes_part(decoded))
		map_put(&leased->members, id, leased);
	else
		map_remove(&leased->members, id);
	member_free(decoded);
}

static void on_settled(_unused_ const struct watermark *applied, void *userdata)
{
	struct leased *leased = userdata;

	daemon_status(leased->daemon, "%zu machines take part in deploys", leased->members.count);
}

/* Executions that wait for the machine view are polled. */
static void on_checked(void *userdata)
{
	struct leased *leased = userdata;
	struct execution *execution;

	LIST_FOREACH (execution, &leased->executions, entry)
		deferred_schedule(execution->poll);
}

static const struct projection_ops projection_ops = {
	.checked = on_checked,
	.entry = on_entry,
	.settled = on_settled,
};

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

bool leased_members(const struct leased *leased, char ***ret)
{
	const struct map_item *item = NULL;
	char **members = NULL;

	while ((item = map_next(&leased->members, item)))
		strv_push(&members, xstrdup(item->key));
	if (members)
		qsort(members, strv_count(members), sizeof(char *), compare_names);
	*ret = members;
	return projection_is_live(leased->projection);
}

int64_t leased_generation(const struct leased *leased)
{
	return projection_applied(leased->projection)->generation;
}

struct leased *leased_new(struct daemon *daemon, const struct leased_config *config)
{
	struct leased *leased = xcalloc(1, sizeof(*leased));

	leased->daemon = daemon;
	leased->config = config;
	leased->machine = config->daemon.machine;
	leased->incarnation = id_new();
	LIST_INIT(&leased->executions);
	LIST_INIT(&leased->attachings);
	LIST_INIT(&leased->breakings);
	return leased;
}

/* A lease that was broken or taken over is lost at once, not at its deadline. */
static void on_lease(const struct lease *lease, uint64_t revision, void *userdata)
{
	struct leased *leased = userdata;
	struct execution *execution, *next;

	for (execution = LIST_FIRST(&leased->executions); execution; execution = next) {
		next = LIST_NEXT(execution, entry);
		if (execution->lease && streq(execution->rollout->ns, lease->ns))
			held_lease_observe(execution->lease, lease, revision);
	}
}

int leased_start(struct leased *leased)
{
	_cleanup_free_ char *members = subject_filter(SUBJECT_MEMBER);
	const char *const filters[] = { members, NULL };
	const struct projection_options options = {
		.machine = leased->machine,
		.intent = filters,
	};
	int r = failpoint_start(leased);

	if (r < 0)
		return r;
	leased->projection = projection_new(leased->daemon->bus, &options, &projection_ops, leased);
	leased->watch = lease_watch_new(leased->daemon->bus, on_lease, leased);
	return leased_serve(leased);
}

void leased_free(struct leased *leased)
{
	if (!leased)
		return;
	while (!LIST_EMPTY(&leased->executions))
		execution_free(LIST_FIRST(&leased->executions));
	attachings_free(leased);
	breakings_free(leased);
	for (size_t i = 0; i < leased->n_ended; i++)
		deploy_free(leased->ended[i]);
	lease_watch_free(leased->watch);
	sd_event_source_disable_unref(leased->failpoint_watch);
	projection_free(leased->projection);
	map_clear(&leased->members, NULL);
	free(leased->incarnation);
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
