/* Endpoints of leased: deploy, rollback, sweep, attach, cancel, lease.list, lease.show,
 * lease.break. Requests of leased: placerd.plan, the verbs of agentd, routed.applied,
 * routed.drained, dnsd.applied. It writes intent.namespace.*, intent.route.*, manifest.*,
 * status.deploy.*.* and the leases. */
#include "leased/leased.h"

static int check_id(const struct deploy_request *request, struct failure *failure)
{
	if (name_valid(request->deploy))
		return 0;
	return failure_set(failure, FAILURE_INVALID, NULL, "'%s' is not the id of a deploy",
			   request->deploy);
}

/* Checks a manifest against every rule again: the client may be of another version. */
static int check_manifest(const struct deploy_request *request, struct failure *failure)
{
	_cleanup_json_ json_t *json = NULL;
	_cleanup_free_ char *text = NULL;
	_cleanup_(manifest_freep) struct manifest *manifest = NULL;

	if (!request->manifest || !name_valid(request->manifest->ns))
		return failure_set(failure, FAILURE_INVALID, NULL,
				   "the manifest names no namespace");
	json = codec_encode(&manifest_schema, request->manifest);
	text = json_text(json);
	if (strlen(text) > MANIFEST_MAX_BYTES)
		return failure_set(failure, FAILURE_TOO_LARGE,
				   "make it smaller: its files and env count",
				   "cannot accept the manifest of namespace %s: it has %zu bytes, "
				   "the limit is %d",
				   request->manifest->ns, strlen(text), MANIFEST_MAX_BYTES);
	return manifest_decode(json, &manifest, failure);
}

static int check_namespace(const struct deploy_request *request, struct failure *failure)
{
	if (request->ns && name_valid(request->ns) && !request->manifest)
		return 0;
	return failure_set(failure, FAILURE_INVALID, NULL,
			   "this request names a namespace and has no manifest");
}

static void answer_record(struct bus_call *call, const struct deploy *record)
{
	const struct deploy_accepted accepted = { record->deploy, (struct deploy *)record };

	bus_call_ok(call, &accepted);
}

/* `verb`: the verb to record; NULL: the request's. */
static void execute(struct leased *leased, struct bus_call *call, struct deploy_request *request,
		    const char *verb,
		    int (*check)(const struct deploy_request *request, struct failure *failure))
{
	const struct deploy *record = execution_record(leased, request->deploy);
	struct failure failure = FAILURE_INIT;

	if (record) {
		answer_record(call, record);
		return;
	}
	if (check_id(request, &failure) < 0 || check(request, &failure) < 0) {
		bus_call_fail(call, &failure);
		failure_clear(&failure);
		return;
	}
	if (verb) {
		free(request->verb);
		request->verb = xstrdup(verb);
	}
	attach_or_execute(leased, call, request);
}

static void on_deploy(struct bus_call *call, void *request, void *userdata)
{
	struct deploy_request *asked = request;

	/* A request with a manifest is neither a rollback nor a sweep, whatever its verb says. */
	execute(userdata, call, asked,
		streq(asked->verb, "rollback") || streq(asked->verb, "sweep") ? "deploy" : NULL,
		check_manifest);
}

static void on_rollback(struct bus_call *call, void *request, void *userdata)
{
	execute(userdata, call, request, "rollback", check_namespace);
}

static void on_sweep(struct bus_call *call, void *request, void *userdata)
{
	execute(userdata, call, request, "sweep", check_namespace);
}

static bool is_deploy(struct bus_call *call, const struct deploy_ref *ref)
{
	if (name_valid(ref->deploy))
		return true;
	bus_call_failf(call, FAILURE_INVALID, "`ployzctl deploy ls` lists them",
		       "'%s' is not the id of a deploy", ref->deploy ? ref->deploy : "");
	return false;
}

static void on_attach(struct bus_call *call, void *request, void *userdata)
{
	const struct deploy_ref *ref = request;
	struct leased *leased = userdata;
	const struct deploy *record = execution_record(leased, ref->deploy);

	if (record && record->phase != DEPLOY_UNKNOWN)
		answer_record(call, record);
	else if (is_deploy(call, ref))
		attach_serve(leased, call, ref);
}

static void on_cancel(struct bus_call *call, void *request, void *userdata)
{
	const struct deploy_ref *ref = request;
	struct leased *leased = userdata;
	struct execution *execution = execution_find(leased, ref->deploy);

	if (!is_deploy(call, ref))
		return;
	if (!execution) {
		bus_call_failf(call, FAILURE_NOT_FOUND,
			       "`ployzctl deploy show` names the machine that executes it",
			       "cannot cancel deploy %s: machine %s does not execute it",
			       ref->deploy, leased->machine);
		return;
	}
	if (rollout_cancel(execution->rollout, ref->operator_) < 0) {
		bus_call_failf(call, FAILURE_INVALID,
			       "`ployzctl deploy attach` shows how it ends; `ployzctl rollback` "
			       "returns to the revision before",
			       "cannot cancel deploy %s: it is past its commit or has failed",
			       ref->deploy);
		return;
	}
	answer_record(call, execution->rollout->record);
}

/* --- leases */

static void view(const struct leased *leased, const struct lease *lease, uint64_t revision,
		 struct lease_view *ret)
{
	uint64_t quiet = lease_watch_quiet(leased->watch, lease->ns, revision);

	*ret = (struct lease_view){
		.lease = *lease, /* borrowed for the answer */
		.revision = (int64_t)revision,
		.quiet_ms = (int64_t)(quiet / 1000),
	};
	if (lease->state == LEASE_HELD && quiet < LEASE_TERM_USEC)
		ret->free_in_ms = (int64_t)((LEASE_TERM_USEC - quiet) / 1000);
}

static bool leases_are_known(struct bus_call *call, const struct leased *leased)
{
	if (lease_watch_is_live(leased->watch))
		return true;
	bus_call_failf(call, FAILURE_NO_QUORUM, "`ployzctl status` shows whether the store answers",
		       "cannot read the leases: the store does not answer");
	return false;
}

static void on_lease_list(struct bus_call *call, _unused_ void *request, void *userdata)
{
	struct leased *leased = userdata;
	struct lease_list list = { 0 };

	if (!leases_are_known(call, leased))
		return;
	for (struct map_item *i = NULL; (i = map_next(lease_watch_all(leased->watch), i));) {
		const struct lease_seen *seen = i->value;

		view(leased, seen->lease, seen->revision, array_add(list.leases, list.n_leases));
	}
	bus_call_ok(call, &list);
	free(list.leases);
}

static bool is_namespace(struct bus_call *call, const struct lease_ref *ref)
{
	if (name_valid(ref->ns))
		return true;
	bus_call_failf(call, FAILURE_INVALID, "`ployzctl lease ls` lists them",
		       "'%s' is not the name of a namespace", ref->ns ? ref->ns : "");
	return false;
}

static void no_lease(struct bus_call *call, const char *ns)
{
	bus_call_failf(call, FAILURE_NOT_FOUND, "`ployzctl lease ls` lists them",
		       "namespace %s has never had a lease", ns);
}

static void on_lease_show(struct bus_call *call, void *request, void *userdata)
{
	struct leased *leased = userdata;
	const struct lease_ref *ref = request;
	const struct lease_seen *seen;
	struct lease_view answer;

	if (!is_namespace(call, ref) || !leases_are_known(call, leased))
		return;
	seen = map_get(lease_watch_all(leased->watch), ref->ns);
	if (!seen) {
		no_lease(call, ref->ns);
		return;
	}
	view(leased, seen->lease, seen->revision, &answer);
	bus_call_ok(call, &answer);
}

struct breaking {
	LIST_ENTRY(breaking) entry;
	struct leased *leased;
	struct bus_call *call;
	struct lease_breaking *write;
};

static void breaking_free(struct breaking *breaking)
{
	LIST_REMOVE(breaking, entry);
	lease_breaking_free(breaking->write);
	free(breaking);
}

void breakings_free(struct leased *leased)
{
	struct breaking *breaking;

	while ((breaking = LIST_FIRST(&leased->breakings))) {
		bus_call_drop(breaking->call);
		breaking_free(breaking);
	}
}

static void on_broken(const struct failure *failure, const struct lease *lease, uint64_t revision,
		      void *userdata)
{
	struct breaking *breaking = userdata;
	const struct lease_ref *ref = bus_call_request(breaking->call);
	struct lease_view answer;

	if (failure) {
		bus_call_fail(breaking->call, failure);
	} else {
		log_notice("lease of namespace %s broken by %s%s%s", lease->ns,
			   ref->operator_ ? ref->operator_ : "an unnamed operator",
			   ref->why ? ": " : "", ref->why ? ref->why : "");
		view(breaking->leased, lease, revision, &answer);
		bus_call_ok(breaking->call, &answer);
	}
	breaking_free(breaking);
}

static void on_lease_break(struct bus_call *call, void *request, void *userdata)
{
	const struct lease_ref *ref = request;
	struct leased *leased = userdata;
	struct breaking *breaking;

	if (!is_namespace(call, ref))
		return;
	breaking = xcalloc(1, sizeof(*breaking));
	breaking->leased = leased;
	breaking->call = call;
	LIST_INSERT_HEAD(&leased->breakings, breaking, entry);
	breaking->write =
		lease_break(leased->daemon->bus, ref->ns, ref->operator_, on_broken, breaking);
}

/* --- */

static json_t *status(void *userdata)
{
	const struct leased *leased = userdata;
	json_t *rollouts = json_array();
	const struct execution *execution;

	LIST_FOREACH (execution, &leased->executions, entry) {
		const struct rollout *r = execution->rollout;

		if (!r->ended)
			json_array_append_new(
				rollouts, json_pack("{s:s, s:s, s:s}", "deploy", r->request->deploy,
						    "namespace", r->ns, "phase",
						    deploy_phase_names[r->record->phase]));
	}
	return json_pack("{s:s, s:b, s:I, s:I, s:o, s:o}", "incarnation", leased->incarnation,
			 "leases_watched", lease_watch_is_live(leased->watch), "leases",
			 (json_int_t)lease_watch_all(leased->watch)->count, "executed",
			 (json_int_t)leased->executed, "rollouts", rollouts, "log",
			 projection_status(leased->projection));
}

int leased_serve(struct leased *leased)
{
	static const struct bus_endpoint verbs[] = {
		{ SUBJECT_DEPLOY, on_deploy },	       { SUBJECT_ROLLBACK, on_rollback },
		{ SUBJECT_SWEEP, on_sweep },	       { SUBJECT_ATTACH, on_attach },
		{ SUBJECT_CANCEL, on_cancel },	       { SUBJECT_LEASE_LIST, on_lease_list },
		{ SUBJECT_LEASE_SHOW, on_lease_show }, { SUBJECT_LEASE_BREAK, on_lease_break },
	};

	return daemon_serve(leased->daemon, verbs, ARRAY_SIZE(verbs), status, leased);
}
