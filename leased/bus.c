/* The doorplate: what leased hears. What it says: placerd.plan, agentd's verbs, routed and dnsd's
 * `applied`, routed.drained; it writes intent.namespace.*, status.deploy.*.* and the leases. */
#include "leased/leased.h"

/* A manifest that came over the bus is held against every rule again: the asker may be another
 * version. */
static int check_request(const struct deploy_request *request, struct failure *failure)
{
	_cleanup_json_ json_t *json = NULL;
	_cleanup_free_ char *text = NULL;
	struct manifest *manifest = NULL;
	int r;

	if (!name_valid(request->deploy))
		return failure_set(failure, FAILURE_INVALID, NULL, "'%s' is not a deploy's id",
				   request->deploy);
	if (!request->manifest || !name_valid(request->manifest->ns))
		return failure_set(failure, FAILURE_INVALID, NULL,
				   "the manifest names no namespace");
	json = codec_encode(&manifest_schema, request->manifest);
	text = json_text(json);
	if (strlen(text) > MANIFEST_MAX_BYTES)
		return failure_set(failure, FAILURE_TOO_LARGE,
				   "make it smaller: its files and env count",
				   "the manifest of namespace %s has %zu bytes, the limit is %d",
				   request->manifest->ns, strlen(text), MANIFEST_MAX_BYTES);
	r = manifest_decode(json, &manifest, failure);
	manifest_free(manifest);
	return r;
}

static void answer_record(struct bus_call *call, const struct deploy *record)
{
	const struct deploy_accepted accepted = { record->deploy, (struct deploy *)record };

	bus_call_ok(call, &accepted);
}

static void on_deploy(struct bus_call *call, void *request, void *userdata)
{
	const struct deploy_request *asked = request;
	struct leased *leased = userdata;
	struct failure failure = FAILURE_INIT;
	const struct deploy *record = walk_record(leased, asked->deploy);

	if (!record && check_request(asked, &failure) < 0) {
		bus_call_fail(call, &failure);
		failure_clear(&failure);
		return;
	}
	if (!record)
		record = walk_new(leased, asked)->record;
	answer_record(call, record);
}

static void on_attached(const struct failure *failure, const struct stream_entry *entry,
			void *userdata)
{
	struct bus_call *call = userdata;
	const struct deploy_ref *ref = bus_call_request(call);
	struct failure broken = FAILURE_INIT;
	void *record = NULL;

	if (!failure && !entry)
		failure_set(&broken, FAILURE_NOT_FOUND, "`ployzctl deploy ls` lists them",
			    "no deploy %s is known here", ref->deploy);
	else if (!failure)
		codec_parse(&deploy_schema, entry->data, entry->size, CODEC_LENIENT, &record,
			    &broken);
	if (!record) {
		bus_call_fail(call, failure ? failure : &broken);
		failure_clear(&broken);
		return;
	}
	answer_record(call, record);
	deploy_free(record);
}

static void on_attach(struct bus_call *call, void *request, void *userdata)
{
	const struct deploy_ref *ref = request;
	struct leased *leased = userdata;
	const struct deploy *record = walk_record(leased, ref->deploy);
	_cleanup_free_ char *subject = NULL;

	if (record) {
		answer_record(call, record);
		return;
	}
	if (!name_valid(ref->deploy)) {
		bus_call_failf(call, FAILURE_INVALID, "`ployzctl deploy ls` lists them",
			       "'%s' is not a deploy's id", ref->deploy ? ref->deploy : "");
		return;
	}
	/* Not walked here, or long ago: the record tells. */
	subject = subject_make(SUBJECT_DEPLOY_STATUS, ref->ns ? ref->ns : "*", ref->deploy);
	stream_last(leased->daemon->bus, STORE_DOMAIN, STREAM_STATUS, subject, STORE_USEC,
		    on_attached, call, NULL);
}

static void on_lease_list(struct bus_call *call, _unused_ void *request, void *userdata)
{
	struct leased *leased = userdata;
	struct lease_list list = { 0 };

	if (!leased->watch_live) {
		bus_call_failf(call, FAILURE_NO_QUORUM,
			       "is the store running? `ployzctl status` shows it",
			       "the leases cannot be read at the moment");
		return;
	}
	for (struct map_item *i = NULL; (i = map_next(&leased->leases, i));) {
		const struct seen_lease *seen = i->value;
		struct lease_view *view = array_add(list.leases, list.n_leases);
		uint64_t quiet = watch_quiet(leased, i->key, seen->revision);

		view->lease = *seen->lease; /* borrowed for the answer */
		view->revision = (int64_t)seen->revision;
		view->quiet_ms = (int64_t)(quiet / 1000);
		if (seen->lease->state == LEASE_HELD && quiet < LEASE_TERM_USEC)
			view->free_in_ms = (int64_t)((LEASE_TERM_USEC - quiet) / 1000);
	}
	bus_call_ok(call, &list);
	free(list.leases);
}

static void on_lease_show(struct bus_call *call, void *request, void *userdata)
{
	lease_show(userdata, call, request);
}

static void on_lease_break(struct bus_call *call, void *request, void *userdata)
{
	lease_break(userdata, call, request);
}

static json_t *status(void *userdata)
{
	const struct leased *leased = userdata;
	json_t *walks = json_array();

	for (size_t i = 0; i < leased->n_walks; i++) {
		const struct walk *walk = leased->walks[i];

		if (!walk->ended)
			json_array_append_new(
				walks, json_pack("{s:s, s:s, s:s}", "deploy", walk->request->deploy,
						 "namespace", walk->request->manifest->ns, "phase",
						 deploy_phase_names[walk->record->phase]));
	}
	return json_pack("{s:s, s:b, s:I, s:I, s:o, s:o}", "life", leased->life, "leases_watched",
			 leased->watch_live, "leases", (json_int_t)leased->leases.count,
			 "deploys_walked", (json_int_t)leased->walked, "walks", walks, "log",
			 projection_status(leased->projection));
}

int leased_serve(struct leased *leased)
{
	static const struct bus_verb verbs[] = {
		{ SUBJECT_DEPLOY, on_deploy },		 { SUBJECT_ATTACH, on_attach },
		{ SUBJECT_LEASE_LIST, on_lease_list },	 { SUBJECT_LEASE_SHOW, on_lease_show },
		{ SUBJECT_LEASE_BREAK, on_lease_break },
	};

	return daemon_serve(leased->daemon, verbs, ARRAY_SIZE(verbs), status, leased);
}
