/* The status record (durable) and the progress (not): what happened, when, where. */
#include "leased/leased.h"

/* One write of the record is on its way at a time; what changed meanwhile goes with the next. */
struct record_writer {
	struct walk *walk;
	struct bus_request *request;
	struct timer *again;
	bool dirty;
	bool final; /* the end is told once this one is stored */
	unsigned tries;
};

#define RECORD_TRIES 10 /* of the final record: then the end is told without it */

static void record_send(void *userdata);

static void tell_end(struct walk *walk)
{
	const struct progress end = {
		.kind = PROGRESS_END,
		.at = walk->record->at,
		.machine = walk->leased->daemon->config->machine,
		.ns = walk->request->manifest->ns,
		.slot = -1,
		.phase = walk->record->phase,
		.record = walk->record,
		.elapsed_ms = (int64_t)((boot_now_usec() - walk->began_usec) / 1000),
	};

	if (bus_event(walk->leased->daemon->bus, SUBJECT_PROGRESS, walk->request->deploy, NULL,
		      &end) < 0)
		log_info("the end of deploy %s could not be told: who watches asks for it",
			 walk->request->deploy);
	walk_ended(walk);
}

static void on_recorded(enum stream_outcome outcome, _unused_ uint64_t sequence,
			const struct failure *failure, void *userdata)
{
	struct record_writer *writer = userdata;

	writer->request = NULL;
	if (outcome != STREAM_DONE) {
		if (writer->tries == 0)
			log_warning("the record of deploy %s is not stored yet: %s",
				    writer->walk->request->deploy, failure->message);
		if (writer->final && ++writer->tries >= RECORD_TRIES) {
			tell_end(writer->walk);
			return;
		}
		timer_arm(writer->again, REPEAT_USEC);
		return;
	}
	writer->tries = 0;
	if (writer->dirty)
		record_send(writer);
	else if (writer->final)
		tell_end(writer->walk);
}

static void record_send(void *userdata)
{
	struct record_writer *writer = userdata;
	struct walk *walk = writer->walk;
	_cleanup_free_ char *subject = subject_make(
		SUBJECT_DEPLOY_STATUS, walk->request->manifest->ns, walk->request->deploy);
	_cleanup_free_ char *text = codec_print(&deploy_schema, walk->record);
	const struct stream_append append = {
		.subject = subject,
		.data = text,
		.size = strlen(text),
		.expected = STREAM_ANY,
		.timeout_usec = STORE_USEC,
	};

	writer->dirty = false;
	stream_append(walk->leased->daemon->bus, &append, on_recorded, writer, &writer->request);
}

static void record_write(struct walk *walk)
{
	struct record_writer *writer = walk->writer;

	if (!writer) {
		writer = walk->writer = xcalloc(1, sizeof(*writer));
		writer->walk = walk;
		writer->again = timer_new(walk->leased->daemon->loop, record_send, writer);
	}
	writer->dirty = true;
	if (!writer->request && !timer_is_armed(writer->again))
		record_send(writer);
}

void record_writer_free(struct record_writer *writer)
{
	if (!writer)
		return;
	bus_request_cancel(writer->request);
	timer_free(writer->again);
	free(writer);
}

static void tell(struct walk *walk, struct progress *progress)
{
	_cleanup_free_ char *now = time_format(time_now_usec());

	progress->at = now;
	progress->ns = walk->request->manifest->ns;
	progress->phase = walk->record->phase;
	progress->elapsed_ms = (int64_t)((boot_now_usec() - walk->began_usec) / 1000);
	if (!progress->machine)
		progress->machine = walk->leased->daemon->config->machine;
	/* Not durable by design: whoever missed it asks for the record. */
	if (bus_event(walk->leased->daemon->bus, SUBJECT_PROGRESS, walk->request->deploy, NULL,
		      progress) < 0)
		log_debug("progress of deploy %s was not heard", walk->request->deploy);
}

static void change_phase(struct walk *walk, enum deploy_phase phase, const char *note)
{
	struct deploy *record = walk->record;
	struct phase_change *change = array_add(record->phases, record->n_phases);
	const struct log_about about = walk_about(walk);

	free(record->at);
	record->at = time_format(time_now_usec());
	record->phase = phase;
	change->phase = phase;
	change->at = xstrdup(record->at);
	change->machine = xstrdup(walk->leased->daemon->config->machine);
	change->elapsed_ms = (int64_t)((boot_now_usec() - walk->began_usec) / 1000);
	change->note = xstrdup(note);
	log_write(LOG_INFO, &about, "deploy %s of namespace %s: %s%s%s", walk->request->deploy,
		  walk->request->manifest->ns, deploy_phase_names[phase], note ? ": " : "",
		  note ? note : "");
}

void progress_phase(struct walk *walk, enum deploy_phase phase, const char *note)
{
	struct progress progress = { .kind = PROGRESS_PHASE, .slot = -1, .message = (char *)note };

	if (walk->record->n_phases && walk->record->phase == (int)phase)
		return;
	change_phase(walk, phase, note);
	record_write(walk);
	tell(walk, &progress);
}

void progress_note(struct walk *walk, const char *format, ...)
{
	const struct log_about about = walk_about(walk);
	_cleanup_free_ char *text = NULL;
	struct progress progress = { .kind = PROGRESS_NOTE, .slot = -1 };
	va_list args;

	va_start(args, format);
	text = xvasprintf(format, args);
	va_end(args);
	progress.message = text;
	log_write(LOG_INFO, &about, "deploy %s: %s", walk->request->deploy, text);
	tell(walk, &progress);
}

void progress_slot(struct walk *walk, const struct candidate *candidate, const char *state,
		   const char *message)
{
	struct progress progress = {
		.kind = PROGRESS_SLOT,
		.machine = candidate->slot->machine,
		.service = candidate->slot->service,
		.slot = candidate->slot->slot,
		.instance = candidate->instance,
		.state = (char *)state,
		.message = (char *)message,
	};

	tell(walk, &progress);
}

void progress_plan(struct walk *walk)
{
	struct progress progress = { .kind = PROGRESS_PLAN, .slot = -1, .plan = walk->plan };

	tell(walk, &progress);
}

/* What the asker's exit code comes from: before the commit everything but a refusal is a failure
 * that changed nothing, after it everything is cleaning that is pending. */
static enum failure_code end_code(const struct walk *walk)
{
	enum failure_code code = (enum failure_code)walk->failure.code;

	if (walk->committed)
		return FAILURE_CLEANUP_PENDING;
	return failure_exit(code) == EXIT_UNREACHABLE || failure_exit(code) == EXIT_NO
		       ? FAILURE_FAILED
		       : code;
}

void progress_end(struct walk *walk)
{
	struct deploy *record = walk->record;
	enum deploy_phase phase = DEPLOY_DONE;

	if (failure_is_set(&walk->failure)) {
		phase = walk->committed ? DEPLOY_CLEANUP_PENDING : DEPLOY_FAILED;
		if (!walk->committed &&
		    (walk->failure.code == FAILURE_LEASE_HELD ||
		     walk->failure.code == FAILURE_STALE || walk->failure.code == FAILURE_INVALID))
			phase = DEPLOY_REFUSED;
		record->failure = error_from_failure(&walk->failure);
		record->failure->code = end_code(walk);
	}
	change_phase(walk, phase, walk->failure.message ? walk->failure.message : walk->outcome);
	/* Nothing became of a deploy that never had the lease: its end is told, not recorded. */
	if (!record->epoch) {
		tell_end(walk);
		return;
	}
	record_write(walk);
	walk->writer->final = true;
}
