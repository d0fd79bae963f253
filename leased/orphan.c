/* The record of a deploy whose leased died: the next holder writes its end, since nobody else
 * will. */
#include "leased/leased.h"

struct orphan_record {
	struct walk *walk;
	char *subject;
	bool committed;
	struct bus_request *request;
};

void orphan_free(struct orphan_record *o)
{
	if (!o)
		return;
	bus_request_cancel(o->request);
	free(o->subject);
	free(o);
}

static void on_written(enum stream_outcome outcome, _unused_ uint64_t sequence,
		       const struct failure *failure, _unused_ void *userdata)
{
	if (outcome != STREAM_DONE)
		log_info("the record of a dead deploy was not closed: %s", failure->message);
}

static void close_record(struct walk *walk, struct deploy *record, const struct orphan_record *o)
{
	_cleanup_free_ char *text = NULL;
	struct failure failure = FAILURE_INIT;
	struct phase_change *change;
	struct stream_append append;

	failure_set(&failure, o->committed ? FAILURE_CLEANUP_PENDING : FAILURE_LEASE_LOST, NULL,
		    "its leased on machine %s ended before it did; deploy %s took over",
		    record->machine ? record->machine : "unknown", walk->request->deploy);
	record->phase = o->committed ? DEPLOY_DONE : DEPLOY_FAILED;
	if (!o->committed)
		record->failure = error_from_failure(&failure);
	free(record->at);
	record->at = time_format(time_now_usec());
	change = array_add(record->phases, record->n_phases);
	change->phase = record->phase;
	change->at = xstrdup(record->at);
	change->machine = xstrdup(walk->leased->daemon->config->machine);
	change->note = xstrdup(failure.message);
	text = codec_print(&deploy_schema, record);
	append = (struct stream_append){
		.subject = o->subject,
		.data = text,
		.size = strlen(text),
		.expected = STREAM_ANY,
		.timeout_usec = STORE_USEC,
	};
	stream_append(walk->leased->daemon->bus, &append, on_written, NULL, NULL);
	failure_clear(&failure);
}

/* The walk may have ended meanwhile. */
static void done(struct orphan_record *o)
{
	struct walk *walk = o->walk;

	orphan_free(steal(walk->orphan_record));
	if (walk->ended)
		deferred_schedule(walk->leased->trim);
}

static void on_record(const struct failure *failure, const struct stream_entry *entry,
		      void *userdata)
{
	struct orphan_record *o = userdata;
	void *decoded = NULL;
	struct deploy *record;

	o->request = NULL;
	if (failure || !entry ||
	    codec_parse(&deploy_schema, entry->data, entry->size, CODEC_LENIENT, &decoded, NULL) <
		    0) {
		done(o);
		return;
	}
	record = decoded;
	if (!deploy_phase_is_end((enum deploy_phase)record->phase) ||
	    record->phase == DEPLOY_CLEANUP_PENDING)
		close_record(o->walk, record, o);
	deploy_free(record);
	done(o);
}

void orphan_close(struct walk *walk)
{
	const char *deploy = walk->orphan ? walk->orphan->deploy
			     : walk->base ? walk->base->deploy
					  : NULL;
	struct orphan_record *o;

	if (!deploy || walk->orphan_record)
		return;
	o = walk->orphan_record = xcalloc(1, sizeof(*o));
	o->walk = walk;
	o->subject = subject_make(SUBJECT_DEPLOY_STATUS, walk->request->manifest->ns, deploy);
	o->committed = !walk->orphan;
	stream_last(walk->leased->daemon->bus, STORE_DOMAIN, STREAM_STATUS, o->subject, STORE_USEC,
		    on_record, o, &o->request);
}
