/* Attach: reports a deploy's record, and resolves an outcome that was not recorded. The record of a
 * deploy that runs here or ended recently is in memory; any other is read from the status stream.
 * If that record has no end and no lease names the deploy, the log decides: the first entry after
 * the deploy's last opening one. If there is none, a sweep appends one, which fences a late commit.
 * The record may be older than the opening entry: then the log is searched for it. */
#include "leased/leased.h"

struct attaching {
	LIST_ENTRY(attaching) entry;
	struct leased *leased;
	struct bus_call *call;		/* NULL: answered; the outcome is sent as progress */
	struct deploy_request *request; /* the deploy to execute; NULL: attach only */
	char *deploy;
	struct deploy *record;
	uint64_t until_usec; /* deadline for reading the record */
	uint64_t searched;   /* entries of the namespace up to here are not the deploy's */
	bool swept;
	struct bus_request *reading;
	struct timer *again;
};

static void read_record(void *userdata);

static void attaching_free(struct attaching *a)
{
	LIST_REMOVE(a, entry);
	bus_request_cancelp(&a->reading);
	timer_free(a->again);
	deploy_request_free(a->request);
	deploy_free(a->record);
	free(a->deploy);
	free(a);
}

void attachings_free(struct leased *leased)
{
	struct attaching *a;

	while ((a = LIST_FIRST(&leased->attachings))) {
		if (a->call)
			bus_call_drop(a->call);
		attaching_free(a);
	}
}

static struct attaching *attaching_new(struct leased *leased, struct bus_call *call,
				       const char *deploy)
{
	struct attaching *a = xcalloc(1, sizeof(*a));

	a->leased = leased;
	a->call = call;
	a->deploy = xstrdup(deploy);
	a->until_usec = boot_now_usec() + RECOGNISE_USEC;
	a->again = timer_new(leased->daemon->loop, read_record, a);
	LIST_INSERT_HEAD(&leased->attachings, a, entry);
	return a;
}

static void answer(struct attaching *a)
{
	const struct deploy_accepted accepted = { a->record->deploy, a->record };

	if (a->call)
		bus_call_ok(steal(a->call), &accepted);
}

static void fail(struct attaching *a, const struct failure *failure)
{
	if (a->call)
		bus_call_fail(steal(a->call), failure);
	attaching_free(a);
}

static void on_concluded(enum stream_outcome outcome, _unused_ uint64_t sequence,
			 const struct failure *failure, _unused_ void *userdata)
{
	/* The next attach resolves the outcome again. */
	if (outcome != STREAM_DONE)
		log_warning("cannot store the end of a deploy: %s; the next attach repeats it",
			    failure->message);
}

/* Records and reports the end. */
static void conclude(struct attaching *a)
{
	_cleanup_free_ char *subject =
		subject_make(SUBJECT_DEPLOY_STATUS, a->record->ns, a->record->deploy);
	_cleanup_free_ char *text = NULL;
	struct phase_change *change = array_add(a->record->phases, a->record->n_phases);
	struct stream_append append;

	free(a->record->at);
	a->record->at = time_format(time_now_usec());
	change->phase = a->record->phase;
	change->at = xstrdup(a->record->at);
	change->machine = xstrdup(a->leased->machine);
	change->note = xstrdup(a->record->failure ? a->record->failure->message : NULL);
	text = codec_print(&deploy_schema, a->record);
	append = (struct stream_append){
		.subject = subject,
		.data = text,
		.size = strlen(text),
		.expected = STREAM_ANY,
		.timeout_usec = CAS_STORE_USEC,
	};
	stream_append(a->leased->daemon->bus, &append, on_concluded, NULL, NULL);
	answer(a);
	progress_send_end(a->leased, a->record, 0);
	attaching_free(a);
}

static void read_next(struct attaching *a);

static void on_swept(_unused_ struct execution *execution, void *userdata)
{
	const char *deploy = userdata;
	struct leased *leased = execution->leased;
	struct attaching *a, *next;

	for (a = LIST_FIRST(&leased->attachings); a; a = next) {
		next = LIST_NEXT(a, entry);
		if (a->swept && a->record && streq(a->deploy, deploy))
			read_next(a);
	}
	free(userdata);
}

static void sweep(struct attaching *a)
{
	_cleanup_free_ char *id = id_new();
	struct deploy_request request = {
		.deploy = id,
		.ns = a->record->ns,
		.verb = (char *)"sweep",
		.operator_ = a->record->operator_,
		.why = (char *)"resolves an unknown outcome",
		.plan_seq = -1,
	};
	struct execution *execution;

	a->swept = true;
	a->record->phase = DEPLOY_UNKNOWN;
	answer(a);
	execution = execution_new(a->leased, &request);
	execution->done = on_swept;
	execution->done_userdata = xstrdup(a->deploy);
}

/* What one entry says. False: it is the deploy's opening entry or comes before it, so the next one
 * is read. */
static bool take_entry(struct attaching *a, const struct head *head, uint64_t sequence)
{
	bool own = head && streq(head->writer, a->deploy);

	if (own && head->open) {
		a->record->opened = (int64_t)sequence;
		return false;
	}
	if (!own && !a->record->opened) {
		a->searched = sequence;
		return false;
	}
	return true;
}

static void on_next(const struct failure *failure, const struct stream_entry *entry, void *userdata)
{
	struct attaching *a = userdata;
	_cleanup_(head_freep) struct head *head = NULL;
	void *decoded = NULL;

	a->reading = NULL;
	if (failure) {
		fail(a, failure);
		return;
	}
	if (entry &&
	    codec_parse(&head_schema, entry->data, entry->size, CODEC_LENIENT, &decoded, NULL) == 0)
		head = decoded;
	if (entry && !take_entry(a, head, entry->sequence)) {
		read_next(a);
	} else if (record_resolve(a->record, head, entry ? entry->sequence : 0)) {
		conclude(a);
	} else if (!a->swept) {
		sweep(a);
	} else if (!a->record->opened) {
		record_unopened(a->record);
		conclude(a);
	} else {
		log_warning("cannot resolve the outcome of deploy %s: namespace %s has no entry "
			    "after its opening one",
			    a->deploy, a->record->ns);
		attaching_free(a);
	}
}

static void read_next(struct attaching *a)
{
	_cleanup_free_ char *subject = subject_make(SUBJECT_NAMESPACE, a->record->ns, NULL);
	uint64_t after = MAX2((uint64_t)a->record->opened, a->searched);

	stream_next(a->leased->daemon->bus, STORE_DOMAIN, STREAM_INTENT, subject, after + 1,
		    CAS_STORE_USEC, on_next, a, &a->reading);
}

/* Whether another machine's leased executes it; the deploys of this one are in memory. */
static bool is_executed(const struct attaching *a)
{
	const struct lease_seen *seen = map_get(lease_watch_all(a->leased->watch), a->record->ns);

	return seen && seen->lease->state == LEASE_HELD && streq(seen->lease->deploy, a->deploy) &&
	       !streq(seen->lease->machine, a->leased->machine) &&
	       lease_watch_quiet(a->leased->watch, a->record->ns, seen->revision) < LEASE_TERM_USEC;
}

static void take_record(struct attaching *a)
{
	bool open = !deploy_phase_is_end((enum deploy_phase)a->record->phase) ||
		    a->record->phase == DEPLOY_UNKNOWN;

	if (!open || is_executed(a)) {
		answer(a);
		attaching_free(a);
	} else {
		read_next(a);
	}
}

static void on_record(const struct failure *failure, const struct stream_entry *entry,
		      void *userdata)
{
	struct attaching *a = userdata;
	struct failure broken = FAILURE_INIT;
	void *record = NULL;

	a->reading = NULL;
	if (failure) {
		if (boot_now_usec() < a->until_usec)
			timer_arm(a->again, CAS_REPEAT_USEC);
		else
			fail(a, failure);
		return;
	}
	if (!entry && a->request) {
		struct leased *leased = a->leased;
		struct execution *execution = execution_find(leased, a->deploy);

		if (!execution)
			execution = execution_new(leased, a->request);
		a->record = codec_copy(&deploy_schema, execution->rollout->record);
		answer(a);
		attaching_free(a);
		return;
	}
	if (!entry)
		failure_set(&broken, FAILURE_NOT_FOUND, "`ployzctl deploy ls` lists them",
			    "cannot attach to deploy %s: the store has no record of it", a->deploy);
	else
		codec_parse(&deploy_schema, entry->data, entry->size, CODEC_LENIENT, &record,
			    &broken);
	if (!record) {
		fail(a, &broken);
		failure_clear(&broken);
		return;
	}
	a->record = record;
	take_record(a);
}

static void read_record(void *userdata)
{
	struct attaching *a = userdata;
	const char *ns = "*";
	_cleanup_free_ char *subject = NULL;

	if (a->request)
		ns = a->request->manifest ? a->request->manifest->ns : a->request->ns;
	subject = subject_make(SUBJECT_DEPLOY_STATUS, ns, a->deploy);
	stream_last(a->leased->daemon->bus, STORE_DOMAIN, STREAM_STATUS, subject, CAS_STORE_USEC,
		    on_record, a, &a->reading);
}

void attach_serve(struct leased *leased, struct bus_call *call, const struct deploy_ref *ref)
{
	read_record(attaching_new(leased, call, ref->deploy));
}

void attach_or_execute(struct leased *leased, struct bus_call *call,
		       const struct deploy_request *request)
{
	struct attaching *a = attaching_new(leased, call, request->deploy);

	a->request = codec_copy(&deploy_request_schema, request);
	read_record(a);
}
