/* The status record of a deploy (durable) and its progress (not durable). */
#include "leased/leased.h"

#define MESSAGE_PHASE "8f3f0a7f6a5d4f1e9d9a2f6b0f6e7c11"

/* Only one write of the record is pending at a time; later changes are in the next one. */
struct record_writer {
	struct execution *execution;
	struct bus_request *request;
	struct timer *again;
	bool dirty;
	bool final; /* the end is reported once this record is stored */
	unsigned tries;
};

static void send(void *userdata);

static void report_end(struct record_writer *writer)
{
	struct execution *execution = writer->execution;
	const struct rollout *r = execution->rollout;

	progress_send_end(execution->leased, r->record, r->now_usec - r->began_usec);
	execution_ended(execution);
}

static void on_recorded(enum stream_outcome outcome, _unused_ uint64_t sequence,
			const struct failure *failure, void *userdata)
{
	struct record_writer *writer = userdata;

	writer->request = NULL;
	if (outcome != STREAM_DONE) {
		if (writer->tries == 0)
			log_warning("cannot store the record of deploy %s: %s; repeating",
				    writer->execution->rollout->request->deploy, failure->message);
		if (writer->final && ++writer->tries >= RECORD_TRIES) {
			report_end(writer);
			return;
		}
		timer_arm(writer->again, CAS_REPEAT_USEC);
		return;
	}
	writer->tries = 0;
	if (writer->dirty)
		send(writer);
	else if (writer->final)
		report_end(writer);
}

static void append(struct leased *leased, const struct deploy *record, stream_append_fn fn,
		   void *userdata, struct bus_request **ret)
{
	_cleanup_free_ char *subject =
		subject_make(SUBJECT_DEPLOY_STATUS, record->ns, record->deploy);
	_cleanup_free_ char *text = codec_print(&deploy_schema, record);
	const struct stream_append what = {
		.subject = subject,
		.data = text,
		.size = strlen(text),
		.expected = STREAM_ANY,
		.timeout_usec = CAS_STORE_USEC,
	};

	stream_append(leased->daemon->bus, &what, fn, userdata, ret);
}

static void send(void *userdata)
{
	struct record_writer *writer = userdata;

	writer->dirty = false;
	append(writer->execution->leased, writer->execution->rollout->record, on_recorded, writer,
	       &writer->request);
}

static void log_phase(const struct rollout *r)
{
	const struct phase_change *change = &r->record->phases[r->record->n_phases - 1];
	const struct log_about about = { .ns = r->ns,
					 .deploy = r->request->deploy,
					 .message_id = MESSAGE_PHASE,
					 .epoch = (uint64_t)r->record->epoch };

	log_write(LOG_INFO, &about, "deploy %s of namespace %s: %s%s%s", r->request->deploy, r->ns,
		  deploy_phase_names[r->record->phase], change->note ? ": " : "",
		  change->note ? change->note : "");
}

void record_write(struct execution *execution, bool final)
{
	struct record_writer *writer = execution->writer;

	log_phase(execution->rollout);
	if (!writer) {
		writer = execution->writer = xcalloc(1, sizeof(*writer));
		writer->execution = execution;
		writer->again = timer_new(execution->leased->daemon->loop, send, writer);
	}
	writer->final = final;
	/* A deploy that never had the lease changed nothing: its end is reported, not recorded. */
	if (final && !execution->rollout->record->epoch) {
		report_end(writer);
		return;
	}
	writer->dirty = true;
	if (!writer->request && !timer_is_armed(writer->again))
		send(writer);
}

void record_writer_free(struct record_writer *writer)
{
	if (!writer)
		return;
	bus_request_cancel(writer->request);
	timer_free(writer->again);
	free(writer);
}

/* --- progress */

void progress_send(struct execution *execution, struct progress *progress)
{
	const struct rollout *r = execution->rollout;
	_cleanup_free_ char *now = time_format(time_now_usec());
	const struct log_about about = { .ns = r->ns,
					 .deploy = r->request->deploy,
					 .epoch = (uint64_t)r->record->epoch };

	if (progress->kind == PROGRESS_NOTE)
		log_write(LOG_INFO, &about, "deploy %s: %s", r->request->deploy, progress->message);
	progress->at = now;
	progress->ns = (char *)r->ns;
	progress->phase = r->record->phase;
	progress->elapsed_ms = (int64_t)((r->now_usec - r->began_usec) / 1000);
	if (!progress->machine)
		progress->machine = (char *)execution->leased->machine;
	/* Progress is not durable by design: a client that missed it polls the record. */
	if (bus_event(execution->leased->daemon->bus, SUBJECT_PROGRESS, r->request->deploy, NULL,
		      progress) < 0)
		log_debug("cannot publish progress of deploy %s; clients poll its record",
			  r->request->deploy);
}

void progress_send_end(struct leased *leased, const struct deploy *record, uint64_t elapsed_usec)
{
	const struct progress end = {
		.kind = PROGRESS_END,
		.at = record->at,
		.machine = (char *)leased->machine,
		.ns = record->ns,
		.slot = -1,
		.phase = record->phase,
		.record = (struct deploy *)record,
		.elapsed_ms = (int64_t)(elapsed_usec / 1000),
	};

	if (bus_event(leased->daemon->bus, SUBJECT_PROGRESS, record->deploy, NULL, &end) < 0)
		log_info("cannot publish the end of deploy %s; clients poll its record",
			 record->deploy);
}

/* --- other deploys' records */

struct record_closing {
	struct execution *execution;
	struct record_closing *next;
	char *deploy, *note;
	enum deploy_phase phase;
	struct bus_request *request;
};

static void closing_free(struct record_closing *closing)
{
	bus_request_cancel(closing->request);
	free(closing->deploy);
	free(closing->note);
	free(closing);
}

static void closing_done(struct record_closing *closing)
{
	struct record_closing **link = &closing->execution->closings;

	while (*link != closing)
		link = &(*link)->next;
	*link = closing->next;
	closing_free(closing);
}

void record_closings_free(struct execution *execution)
{
	while (execution->closings)
		closing_done(execution->closings);
}

static void on_closed(enum stream_outcome outcome, _unused_ uint64_t sequence,
		      const struct failure *failure, void *userdata)
{
	struct record_closing *closing = userdata;

	closing->request = NULL;
	if (outcome != STREAM_DONE)
		log_info("cannot close the record of deploy %s: %s", closing->deploy,
			 failure->message);
	closing_done(closing);
}

static void change(struct record_closing *closing, struct deploy *record)
{
	struct failure failure = FAILURE_INIT;
	struct phase_change *change = array_add(record->phases, record->n_phases);

	record->phase = (int)closing->phase;
	free(record->at);
	record->at = time_format(time_now_usec());
	error_free(steal(record->failure));
	if (closing->phase == DEPLOY_FAILED) {
		failure_set(&failure, FAILURE_LEASE_LOST, NULL, "%s", closing->note);
		record->failure = error_from_failure(&failure);
		failure_clear(&failure);
	}
	if (closing->phase == DEPLOY_DONE)
		record->n_left = 0;
	change->phase = record->phase;
	change->at = xstrdup(record->at);
	change->machine = xstrdup(closing->execution->leased->machine);
	change->note = xstrdup(closing->note);
}

static void on_record(const struct failure *failure, const struct stream_entry *entry,
		      void *userdata)
{
	struct record_closing *closing = userdata;
	struct left *left = NULL;
	size_t n_left = 0;
	void *decoded = NULL;
	struct deploy *record;

	closing->request = NULL;
	if (failure || !entry ||
	    codec_parse(&deploy_schema, entry->data, entry->size, CODEC_LENIENT, &decoded, NULL) <
		    0) {
		closing_done(closing);
		return;
	}
	record = decoded;
	if (record_is_pending(record)) {
		left = record->left;
		n_left = record->n_left;
		change(closing, record);
		append(closing->execution->leased, record, on_closed, closing, &closing->request);
		record->left = left;
		record->n_left = n_left;
	} else {
		closing_done(closing);
	}
	deploy_free(record);
}

void record_close(struct execution *execution, const char *deploy, enum deploy_phase phase,
		  const char *note)
{
	_cleanup_free_ char *subject =
		subject_make(SUBJECT_DEPLOY_STATUS, execution->rollout->ns, deploy);
	struct record_closing *closing = xcalloc(1, sizeof(*closing));

	closing->execution = execution;
	closing->deploy = xstrdup(deploy);
	closing->note = xstrdup(note);
	closing->phase = phase;
	closing->next = execution->closings;
	execution->closings = closing;
	stream_last(execution->leased->daemon->bus, STORE_DOMAIN, STREAM_STATUS, subject,
		    CAS_STORE_USEC, on_record, closing, &closing->request);
}
