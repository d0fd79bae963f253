/* `ployzctl ps`: the instances of all machines as their engines show them now, or by the last facts
 * of a machine that does not answer. */
#include "ployzctl/ployzctl.h"

struct listing {
	struct ployzctl *ctl;
	const char *ns; /* NULL: all */
	const struct snapshot *snapshot;
	struct instance_row {
		char *machine;
		struct instance *instance;
	} * rows;
	size_t n_rows;
	int code;
};

static void add(struct listing *listing, const char *machine, const struct instance *instance)
{
	struct instance_row *row;

	if (instance->state == INSTANCE_GONE || (listing->ns && !streq(listing->ns, instance->ns)))
		return;
	row = array_add(listing->rows, listing->n_rows);
	row->machine = xstrdup(machine);
	row->instance = codec_copy(&instance_schema, instance);
	/* The facts have the time of the state, which the engine does not know. */
	if (!row->instance->since) {
		const struct instance *fact =
			snapshot_instance(listing->snapshot, machine, instance->id);

		row->instance->since = fact ? xstrdup(fact->since) : NULL;
	}
}

static void add_facts(struct listing *listing, const char *machine)
{
	for (size_t i = 0; i < listing->snapshot->n_instances; i++) {
		const struct instances *facts = listing->snapshot->instances[i].list;

		for (size_t j = 0; streq(facts->machine, machine) && j < facts->n_instances; j++)
			add(listing, machine, &facts->instances[j]);
	}
}

static int compare(const void *a, const void *b)
{
	const struct instance *x = ((const struct instance_row *)a)->instance;
	const struct instance *y = ((const struct instance_row *)b)->instance;
	int r = strcmp(x->ns, y->ns);

	if (r == 0)
		r = strcmp(x->service, y->service);
	if (r == 0)
		r = (x->slot > y->slot) - (x->slot < y->slot);
	return r ? r : strcmp(x->id, y->id);
}

/* Other instances are candidates of an open deploy, or were left by one that ended early. */
static bool is_committed(const struct listing *listing, const struct instance *instance)
{
	const struct snapshot_head *at = snapshot_head(listing->snapshot, instance->ns);

	return at && head_instance(at->head, instance->id, NULL);
}

static void print_json(const struct listing *listing)
{
	for (size_t i = 0; i < listing->n_rows; i++) {
		const struct instance *instance = listing->rows[i].instance;
		json_t *json = codec_encode(&instance_schema, instance);

		json_object_set_new(json, "committed",
				    json_boolean(is_committed(listing, instance)));
		json_object_set_new(json, "machine", json_string(listing->rows[i].machine));
		session_json_value(json);
	}
}

static void print_table(const struct listing *listing)
{
	static const char *const heading[] = { "NAMESPACE", "SERVICE", "SLOT", "MACHINE",  "STATE",
					       "ADDRESS",   "IMAGE",   "AGE",  "INSTANCE", NULL };
	struct table table;

	table_init(&table, heading);
	for (size_t i = 0; i < listing->n_rows; i++) {
		const struct instance *instance = listing->rows[i].instance;
		_cleanup_free_ char *slot = xasprintf("%lld", (long long)instance->slot);
		_cleanup_free_ char *age = age_of(instance->since, time_now_usec());
		_cleanup_free_ char *state =
			xasprintf("%s%s", instance_state_names[instance->state],
				  is_committed(listing, instance) ? "" : ", not committed");

		table_row(&table, instance->ns, instance->service, slot, listing->rows[i].machine,
			  state, instance->address, instance->image, age, instance->id);
	}
	table_print(&table);
	table_clear(&table);
}

static void finish(struct listing *listing)
{
	if (listing->n_rows)
		qsort(listing->rows, listing->n_rows, sizeof(*listing->rows), compare);
	if (listing->ctl->options.json)
		print_json(listing);
	else
		print_table(listing);
	session_end(listing->ctl, listing->code);
}

static void on_listed(const char *machine, const struct failure *failure, void *answer,
		      void *userdata)
{
	struct listing *listing = userdata;
	const struct agent_listed *listed = answer;

	if (!machine) {
		finish(listing);
		return;
	}
	if (failure || !listed->engine) {
		session_refuse(FAILURE_UNREACHABLE, "its last facts are shown",
			       "cannot list the instances of machine %s: %s", machine,
			       failure		      ? failure->message
			       : listed->engine_error ? listed->engine_error
						      : "its engine does not answer");
		listing->code = EXIT_NO;
		add_facts(listing, machine);
		return;
	}
	for (size_t i = 0; i < listed->n_instances; i++)
		add(listing, machine, &listed->instances[i]);
}

static void on_snapshot(const struct snapshot *snapshot, void *userdata)
{
	struct listing *listing = userdata;
	_cleanup_(strv_freep) char **machines = snapshot_machines(snapshot);
	const struct agent_list request = { .command = { .ns = (char *)listing->ns } };

	listing->snapshot = snapshot;
	bus_scatter(listing->ctl->bus, SUBJECT_AGENT_LIST, machines, &request, REQUEST_USEC,
		    on_listed, listing, NULL);
}

int verb_ps(struct ployzctl *ctl, int argc, char **argv)
{
	_cleanup_(strv_freep) char **words = NULL;
	struct listing listing = { .ctl = ctl };
	int code = arguments_take(ctl, "ps", NULL, NULL, NULL, argc, argv, 0, 1, &words);

	if (!code && words)
		code = namespace_argument(words[0]);
	if (!code)
		code = session_open(ctl);
	if (code)
		return MAX2(code, 0);
	listing.ns = words ? words[0] : NULL;
	snapshot_read(ctl, on_snapshot, &listing);
	code = session_run(ctl);
	for (size_t i = 0; i < listing.n_rows; i++) {
		free(listing.rows[i].machine);
		instance_free(listing.rows[i].instance);
	}
	free(listing.rows);
	return code;
}
