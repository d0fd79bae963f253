/* The three truths side by side, each with its age and who says so. */
#include "ployzctl/status.h"

/* --- what is as it should be */

static size_t wanted_of(const struct head_service *service)
{
	return service->n_slots;
}

static size_t ready_of(const struct snapshot *snapshot, const struct head_service *service)
{
	size_t ready = 0;

	for (size_t i = 0; i < service->n_slots; i++) {
		const struct instance *fact =
			snapshot_instance(snapshot, service->slots[i].instance);

		ready += fact && fact->state == INSTANCE_READY;
	}
	return ready;
}

static const json_t *log_of(const struct observed *observed)
{
	return json_object_get(observed->said, "log");
}

static const char *stale_of(const struct observed *observed)
{
	return json_string_value(json_object_get(log_of(observed), "stale_since"));
}

/* What meshd says of the machine's disks and servers, or NULL; borrowed. */
static const char *disk_trouble_of(const struct observed *observed)
{
	const json_t *disks = json_object_get(json_object_get(observed->said, "store"), "disks"),
		     *disk;
	size_t i;

	json_array_foreach (disks, i, disk)
		if (json_object_get(disk, "trouble"))
			return json_string_value(json_object_get(disk, "trouble"));
	return NULL;
}

/* What a daemon says of the outside thing it acts on, when that is not there. NULL: all is well. */
static const char *missing_of(const struct observed *observed)
{
	const json_t *engine = json_object_get(observed->said, "engine");
	const json_t *proxy = json_object_get(observed->said, "haproxy");

	if (json_is_false(json_object_get(engine, "reachable")))
		return "the container engine does not answer";
	if (json_is_false(json_object_get(proxy, "answers")))
		return "HAProxy does not answer";
	if (json_object_get(proxy, "trouble"))
		return json_string_value(json_object_get(proxy, "trouble"));
	return disk_trouble_of(observed);
}

static bool is_whole(const struct status *status)
{
	bool whole = !status->snapshot->copy && !status->deploys_trouble && !status->leases_trouble;

	for (size_t i = 0; i < status->n_observed; i++)
		whole = whole && status->observed[i].said && !stale_of(&status->observed[i]) &&
			!missing_of(&status->observed[i]);
	for (size_t i = 0; i < status->snapshot->n_heads; i++) {
		const struct head *head = status->snapshot->heads[i].head;

		for (size_t j = 0; j < head->n_services; j++)
			whole = whole && ready_of(status->snapshot, &head->services[j]) ==
						 wanted_of(&head->services[j]);
	}
	return whole;
}

/* --- intent */

static void print_intent(const struct status *status)
{
	static const char *const machine_heading[] = { "  MACHINE", "NAME", "LIFE-CYCLE",
						       "REGION",    "ZONE", "SUBNET",
						       "AGE",	    NULL };
	static const char *const heading[] = { "  NAMESPACE", "REVISION", "SERVICE",   "READY",
					       "WHO",	      "AGE",	  "UNDER-WAY", NULL };
	const struct snapshot *snapshot = status->snapshot;
	struct table machines, table;

	printf("INTENT (the log at sequence %llu, read from %s)\n",
	       (unsigned long long)snapshot->sequence,
	       snapshot->copy ? "this machine's copy: the store does not answer" : "the store");
	table_init(&machines, machine_heading);
	for (size_t i = 0; i < snapshot->n_machines; i++) {
		const struct machine *machine = snapshot->machines[i];
		_cleanup_free_ char *age = age_of(machine->since, status->now_usec),
				    *id = xasprintf("  %s", machine->id);

		table_row(&machines, id, machine->name, life_cycle_names[machine->life_cycle],
			  machine->region, machine->zone, machine->subnet, age);
	}
	table_print(&machines);
	table_clear(&machines);
	table_init(&table, heading);
	for (size_t i = 0; i < snapshot->n_heads; i++) {
		const struct head *head = snapshot->heads[i].head;
		_cleanup_free_ char *age = age_of(head->at, status->now_usec),
				    *ns = xasprintf("  %s", head->ns);
		_cleanup_free_ char *revision = xasprintf("%lld", (long long)head->revision);

		for (size_t j = 0; j < head->n_services; j++) {
			_cleanup_free_ char *ready =
				xasprintf("%zu/%zu", ready_of(snapshot, &head->services[j]),
					  wanted_of(&head->services[j]));

			table_row(&table, ns, revision, head->services[j].name, ready,
				  head->operator_, age, head->open ? head->open->deploy : NULL);
		}
		if (!head->n_services && head->open)
			table_row(&table, ns, revision, NULL, NULL, head->operator_, age,
				  head->open->deploy);
	}
	if (table.n_cells > table.columns)
		table_print(&table);
	table_clear(&table);
}

/* --- status */

static void print_status(const struct status *status)
{
	static const char *const heading[] = { "  DEPLOY", "NAMESPACE", "PHASE", "REVISION",
					       "WHO",	   "WALKED-BY", "AGE",	 NULL };
	size_t first = status->n_deploys > STATUS_DEPLOYS ? status->n_deploys - STATUS_DEPLOYS : 0;
	struct table table;

	printf("\nSTATUS (deploys as their leased recorded them%s%s)\n",
	       status->deploys_trouble ? "; not read: " : "",
	       status->deploys_trouble ? status->deploys_trouble : "");
	table_init(&table, heading);
	for (size_t i = 0; i < status->n_deploys; i++) {
		const struct deploy *deploy = status->deploys[i];
		_cleanup_free_ char *age = age_of(deploy->at, status->now_usec),
				    *id = xasprintf("  %s", deploy->deploy);
		_cleanup_free_ char *revision =
			deploy->revision ? xasprintf("%lld", (long long)deploy->revision) : NULL;

		/* Those that have not ended are shown however old they are. */
		if (i >= first || !deploy_phase_is_end((enum deploy_phase)deploy->phase))
			table_row(&table, id, deploy->ns, deploy_phase_names[deploy->phase],
				  revision, deploy->operator_, deploy->machine, age);
	}
	if (table.n_cells > table.columns)
		table_print(&table);
	else
		puts("  none");
	table_clear(&table);
}

/* --- observation */

static char *what_of(const struct status *status, const struct observed *observed)
{
	const json_t *sequence = json_object_get(log_of(observed), "sequence");
	uint64_t at = (uint64_t)json_integer_value(sequence);
	const char *stale = stale_of(observed);

	if (!observed->said)
		return xstrdup(observed->trouble);
	if (missing_of(observed))
		return xstrdup(missing_of(observed));
	if (stale)
		return xasprintf("log up to %llu, stale since %s", (unsigned long long)at, stale);
	if (json_is_integer(sequence) && at < status->snapshot->sequence)
		return xasprintf("log up to %llu, %llu behind", (unsigned long long)at,
				 (unsigned long long)(status->snapshot->sequence - at));
	if (json_is_integer(sequence))
		return xasprintf("log up to %llu", (unsigned long long)at);
	return xstrdup("answers");
}

static void print_leases(const struct status *status)
{
	size_t held = 0;

	if (status->leases_trouble) {
		printf("  leases: %s\n", status->leases_trouble);
		return;
	}
	for (size_t i = 0; status->leases && i < status->leases->n_leases; i++) {
		const struct lease *lease = &status->leases->leases[i].lease;
		_cleanup_free_ char *age = age_of(lease->since, status->now_usec);

		if (lease->state != LEASE_HELD)
			continue;
		held++;
		printf("  lease of %s: held by %s on machine %s for %s %s since %s\n", lease->ns,
		       lease->operator_ ? lease->operator_ : "somebody",
		       lease->machine ? lease->machine : "?", lease->verb ? lease->verb : "deploy",
		       lease->deploy ? lease->deploy : "?", age ? age : "?");
	}
	if (!held)
		puts("  leases: none is held");
}

static void print_observation(const struct status *status)
{
	static const char *const heading[] = { "  MACHINE", "DAEMON", "VERSION",
					       "SEEN",	    "TOOK",   NULL };
	struct table table;

	printf("\nOBSERVATION (asked now by ployzctl through machine %s)\n", status->ctl->machine);
	table_init(&table, heading);
	for (size_t i = 0; i < status->n_observed; i++) {
		const struct observed *observed = &status->observed[i];
		_cleanup_free_ char *what = what_of(status, observed),
				    *machine = xasprintf("  %s", observed->machine);
		_cleanup_free_ char *took = xasprintf("%lld ms", (long long)observed->took_ms);

		table_row(&table, machine, observed->daemon, observed->version, what, took);
	}
	table_print(&table);
	table_clear(&table);
	print_leases(status);
}

bool status_print(const struct status *status)
{
	bool whole = is_whole(status);

	print_intent(status);
	print_status(status);
	print_observation(status);
	printf("\n%s\n", whole ? "all is as it should be" : "not all is as it should be");
	return whole;
}

/* --- JSON */

static json_t *intent_json(const struct snapshot *snapshot)
{
	json_t *heads = json_array(), *machines = json_array(), *instances = json_array();

	for (size_t i = 0; i < snapshot->n_heads; i++)
		json_array_append_new(heads, codec_encode(&head_schema, snapshot->heads[i].head));
	for (size_t i = 0; i < snapshot->n_machines; i++)
		json_array_append_new(machines,
				      codec_encode(&machine_schema, snapshot->machines[i]));
	for (size_t i = 0; i < snapshot->n_instances; i++)
		json_array_append_new(instances,
				      codec_encode(&instances_schema, snapshot->instances[i]));
	return json_pack("{s:I, s:b, s:o, s:o, s:o}", "sequence", (json_int_t)snapshot->sequence,
			 "copy", snapshot->copy, "namespaces", heads, "machines", machines,
			 "instances", instances);
}

static json_t *observation_json(const struct status *status)
{
	json_t *list = json_array();

	for (size_t i = 0; i < status->n_observed; i++) {
		const struct observed *observed = &status->observed[i];

		json_array_append_new(
			list, json_pack("{s:s, s:s, s:s*, s:s*, s:O*, s:I}", "machine",
					observed->machine, "daemon", observed->daemon, "version",
					observed->version, "trouble", observed->trouble, "status",
					observed->said, "took_ms", (json_int_t)observed->took_ms));
	}
	return list;
}

bool status_print_json(const struct status *status)
{
	bool whole = is_whole(status);
	json_t *deploys = json_array();
	json_t *json;

	for (size_t i = 0; i < status->n_deploys; i++)
		json_array_append_new(deploys, codec_encode(&deploy_schema, status->deploys[i]));
	json = json_pack("{s:b, s:o, s:o, s:o}", "whole", whole, "intent",
			 intent_json(status->snapshot), "deploys", deploys, "observation",
			 observation_json(status));
	if (status->leases)
		json_object_update_new(json, codec_encode(&lease_list_schema, status->leases));
	session_json_value(json);
	return whole;
}
