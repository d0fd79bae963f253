/* Intent, store, status and observation side by side, each with its age and its observer. */
#include <inttypes.h>

#include "ployzctl/status.h"

/* --- intent */

static void print_members(const struct status *status)
{
	static const char *const heading[] = { "  MACHINE", "NAME", "LIFE-CYCLE",
					       "REGION",    "ZONE", "SUBNET",
					       "VERSION",   "AGE",  NULL };
	const struct snapshot *snapshot = status->snapshot;
	struct table table;

	table_init(&table, heading);
	for (size_t i = 0; i < snapshot->n_members; i++) {
		const struct member *member = snapshot->members[i];
		const struct machine_facts *facts = snapshot_machine_facts(snapshot, member->id);
		_cleanup_free_ char *age = age_of(member->since, status->now_usec);
		_cleanup_free_ char *id = xasprintf("  %s", member->id);

		table_row(&table, id, member->name, life_cycle_names[member->life_cycle],
			  member->region, member->zone, member->subnet,
			  facts ? facts->version : NULL, age);
	}
	table_print(&table);
	table_clear(&table);
}

static void add_namespace(const struct status *status, const struct head *head, struct table *table)
{
	_cleanup_free_ char *age = age_of(head->at, status->now_usec);
	_cleanup_free_ char *ns = xasprintf("  %s", head->ns);
	_cleanup_free_ char *revision = xasprintf("%lld", (long long)head->revision);
	const char *open = head->open ? head->open->deploy : NULL;

	for (size_t i = 0; i < head->n_services; i++) {
		const struct head_service *service = &head->services[i];
		_cleanup_free_ char *ready = xasprintf(
			"%zu/%zu", status_ready(status->snapshot, service), service->n_slots);

		table_row(table, ns, revision, service->name, ready, head->operator_, age, open);
	}
	if (!head->n_services && open)
		table_row(table, ns, revision, NULL, NULL, head->operator_, age, open);
}

static void print_intent(const struct status *status)
{
	static const char *const heading[] = { "  NAMESPACE", "REVISION", "SERVICE",	 "READY",
					       "WHO",	      "AGE",	  "OPEN-DEPLOY", NULL };
	const struct snapshot *snapshot = status->snapshot;
	_cleanup_free_ char *applied = watermark_text(&snapshot->applied);
	struct table table;

	printf("INTENT (%s, read from %s)\n", applied,
	       snapshot->mirror ? "this machine's local mirrors" : "the store");
	print_members(status);
	table_init(&table, heading);
	for (size_t i = 0; i < snapshot->n_heads; i++)
		add_namespace(status, snapshot->heads[i].head, &table);
	if (!table_is_empty(&table))
		table_print(&table);
	table_clear(&table);
}

/* --- the store's bytes */

static void print_streams(const struct store_usage *usage)
{
	static const char *const heading[] = { "  STREAM", "BYTES",    "LIMIT",
					       "USED",	   "MESSAGES", NULL };
	struct table table;

	table_init(&table, heading);
	for (size_t i = 0; i < usage->n_streams; i++) {
		const struct stream_usage *stream = &usage->streams[i];
		_cleanup_free_ char *name = xasprintf("  %s", stream->stream);
		_cleanup_free_ char *bytes = size_human(stream->bytes);
		_cleanup_free_ char *limit =
			stream->max_bytes ? size_human(stream->max_bytes) : NULL;
		_cleanup_free_ char *used =
			stream->max_bytes ? xasprintf("%" PRIu64 " %%",
						      stream->bytes * 100 / stream->max_bytes)
					  : NULL;
		_cleanup_free_ char *messages = xasprintf("%" PRId64, stream->messages);

		table_row(&table, name, bytes, limit, used, messages);
	}
	table_print(&table);
	table_clear(&table);
}

static void print_store(const struct status *status)
{
	static const char *const heading[] = { "  NAMESPACE", "BYTES", "MESSAGES", NULL };
	struct table table;

	printf("\nSTORE (bytes as meshd of machine %s accounts them)\n", status->ctl->machine);
	if (!status->usage) {
		printf("  unreadable: %s\n", status->usage_error ? status->usage_error : "-");
		return;
	}
	print_streams(status->usage);
	table_init(&table, heading);
	for (size_t i = 0; i < status->usage->n_namespaces; i++) {
		const struct namespace_usage *ns = &status->usage->namespaces[i];
		_cleanup_free_ char *name = xasprintf("  %s", ns->ns);
		_cleanup_free_ char *bytes = size_human(ns->bytes);
		_cleanup_free_ char *messages = xasprintf("%" PRId64, ns->messages);

		table_row(&table, name, bytes, messages);
	}
	if (!table_is_empty(&table))
		table_print(&table);
	table_clear(&table);
}

/* --- status */

static void print_deploys(const struct status *status)
{
	static const char *const heading[] = { "  DEPLOY", "NAMESPACE", "PHASE", "REVISION",
					       "WHO",	   "MACHINE",	"AGE",	 NULL };
	const struct records *records = status->records;
	size_t n = records ? records->count : 0;
	size_t first = n > STATUS_DEPLOYS ? n - STATUS_DEPLOYS : 0;
	struct table table;

	puts("\nSTATUS (deploys as their leased recorded them)");
	table_init(&table, heading);
	for (size_t i = 0; i < n; i++) {
		const struct deploy *deploy = records->items[i];
		_cleanup_free_ char *age = age_of(deploy->at, status->now_usec);
		_cleanup_free_ char *id = xasprintf("  %s", deploy->deploy);
		_cleanup_free_ char *revision =
			deploy->revision ? xasprintf("%lld", (long long)deploy->revision) : NULL;
		bool ended = deploy_phase_is_end((enum deploy_phase)deploy->phase) &&
			     deploy->phase != DEPLOY_UNKNOWN &&
			     deploy->phase != DEPLOY_CLEANUP_PENDING;

		/* Deploys with a pending clean-up or an unknown outcome are shown whatever their
		 * age. */
		if (i >= first || !ended)
			table_row(&table, id, deploy->ns, deploy_phase_names[deploy->phase],
				  revision, deploy->operator_, deploy->machine, age);
	}
	if (!records)
		printf("  unreadable: %s\n", status->records_error ? status->records_error : "-");
	else if (table_is_empty(&table))
		puts("  none");
	else
		table_print(&table);
	table_clear(&table);
}

/* --- observation */

static char *applied_text(const json_t *log)
{
	const json_t *applied = json_object_get(log, "applied");
	struct watermark watermark;

	if (codec_decode(&watermark_schema, applied, CODEC_LENIENT, &watermark, NULL) < 0)
		return NULL;
	return watermark_text(&watermark);
}

/* A daemon's state, in one cell. */
static char *observed_text(const struct observed *observed)
{
	const json_t *log = json_object_get(observed->answer, "log");
	_cleanup_(strv_freep) char **errors = status_errors(observed);
	_cleanup_free_ char *applied = applied_text(log);
	const char *stale = status_stale(observed);

	if (!observed->answer)
		return xstrdup(observed->error);
	if (errors)
		return xstrdup(errors[0]);
	if (stale)
		return xasprintf("stale since %s%s%s", stale, applied ? ", applied " : "",
				 applied ? applied : "");
	return applied ? xasprintf("applied %s", applied) : xstrdup("answers");
}

static void print_leases(const struct status *status)
{
	size_t held = 0;

	if (status->leases_error) {
		printf("  leases unreadable: %s\n", status->leases_error);
		return;
	}
	for (size_t i = 0; status->leases && i < status->leases->n_leases; i++) {
		const struct lease *lease = &status->leases->leases[i].lease;
		_cleanup_free_ char *age = age_of(lease->since, status->now_usec);

		if (lease->state != LEASE_HELD)
			continue;
		held++;
		printf("  lease of %s: held by %s on machine %s for %s %s since %s\n", lease->ns,
		       lease->operator_ ? lease->operator_ : "-",
		       lease->machine ? lease->machine : "-", lease->verb ? lease->verb : "deploy",
		       lease->deploy ? lease->deploy : "-", age ? age : "-");
	}
	if (!held)
		puts("  leases: none held");
}

static void print_observation(const struct status *status)
{
	static const char *const heading[] = { "  MACHINE", "DAEMON", "VERSION",
					       "OBSERVED",  "AFTER",  NULL };
	struct table table;

	printf("\nOBSERVATION (requested now through machine %s)\n", status->ctl->machine);
	table_init(&table, heading);
	for (size_t i = 0; i < status->n_observed; i++) {
		const struct observed *observed = &status->observed[i];
		_cleanup_free_ char *text = observed_text(observed);
		_cleanup_free_ char *machine = xasprintf("  %s", observed->machine);
		_cleanup_free_ char *took = xasprintf("%lld ms", (long long)observed->took_ms);

		table_row(&table, machine, observed->daemon, observed->version, text, took);
	}
	table_print(&table);
	table_clear(&table);
	print_leases(status);
}

void status_print(const struct status *status, char *const *problems)
{
	print_intent(status);
	print_store(status);
	print_deploys(status);
	print_observation(status);
	printf("\nPROBLEMS\n");
	if (!problems)
		puts("  none");
	for (; problems && *problems; problems++) {
		_cleanup_free_ char *safe = text_safe(*problems);

		printf("  %s\n", safe);
	}
}

/* --- JSON */

static json_t *intent_json(const struct snapshot *snapshot)
{
	json_t *heads = json_array(), *members = json_array(), *facts = json_array(),
	       *instances = json_array();

	for (size_t i = 0; i < snapshot->n_heads; i++)
		json_array_append_new(heads, codec_encode(&head_schema, snapshot->heads[i].head));
	for (size_t i = 0; i < snapshot->n_members; i++)
		json_array_append_new(members, codec_encode(&member_schema, snapshot->members[i]));
	for (size_t i = 0; i < snapshot->n_machine_facts; i++)
		json_array_append_new(
			facts, codec_encode(&machine_facts_schema, snapshot->machine_facts[i]));
	for (size_t i = 0; i < snapshot->n_instances; i++)
		json_array_append_new(instances,
				      codec_encode(&instances_schema, snapshot->instances[i].list));
	return json_pack("{s:o, s:b, s:o, s:o, s:o, s:o}", "applied",
			 codec_encode(&watermark_schema, &snapshot->applied), "mirror",
			 snapshot->mirror, "namespaces", heads, "members", members, "machine_facts",
			 facts, "instances", instances);
}

static json_t *observation_json(const struct status *status)
{
	json_t *list = json_array();

	for (size_t i = 0; i < status->n_observed; i++) {
		const struct observed *observed = &status->observed[i];

		json_array_append_new(list,
				      json_pack("{s:s, s:s, s:s*, s:s*, s:O*, s:I}", "machine",
						observed->machine, "daemon", observed->daemon,
						"version", observed->version, "error",
						observed->error, "status", observed->answer,
						"took_ms", (json_int_t)observed->took_ms));
	}
	return list;
}

static json_t *routes_json(const struct status *status)
{
	json_t *list = json_array();

	for (size_t i = 0; i < status->n_routes; i++) {
		json_t *json = status->routes[i].list
				       ? codec_encode(&route_list_schema, status->routes[i].list)
				       : json_object();

		json_object_set_new(json, "machine", json_string(status->routes[i].machine));
		json_array_append_new(list, json);
	}
	return list;
}

void status_print_json(const struct status *status, char *const *problems)
{
	json_t *deploys = json_array(), *list = json_array(), *json;

	for (size_t i = 0; status->records && i < status->records->count; i++)
		json_array_append_new(deploys,
				      codec_encode(&deploy_schema, status->records->items[i]));
	for (char *const *problem = problems; problem && *problem; problem++)
		json_array_append_new(list, json_string(*problem));
	json = json_pack("{s:o, s:o, s:o, s:o, s:o}", "problems", list, "intent",
			 intent_json(status->snapshot), "deploys", deploys, "observation",
			 observation_json(status), "routes", routes_json(status));
	if (status->usage)
		json_object_set_new(json, "store",
				    codec_encode(&store_usage_schema, status->usage));
	if (status->leases)
		json_object_update_new(json, codec_encode(&lease_list_schema, status->leases));
	session_json_value(json);
}
