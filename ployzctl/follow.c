/* Follow: shows the progress of a deploy until its end. Without progress it polls with
 * leased.attach, which also resolves a deploy that no leased executes any more. */
#include <unistd.h>

#include "ployzctl/ployzctl.h"
#include "ployzctl/pure.h"

#define TICK_USEC 1000000ull /* ages in the block are whole seconds */

struct follow {
	struct ployzctl *ctl;
	follow_fn fn;
	void *userdata;
	char *deploy;
	char *machine;	       /* whose leased is asked */
	struct deploy *record; /* the last one received */
	bool submitted;	       /* this process submitted the deploy */
	bool report;	       /* print the outcome */
	bool verbose;
	bool ended;

	struct bus_subscription *progress;
	struct live *live;   /* NULL with --json */
	struct timer *quiet; /* expires after POLL_USEC without progress */
	struct timer *tick;
	struct bus_request *request; /* the one that waits for its answer, or NULL */
	uint64_t silent_since;	     /* leased does not answer; 0: it does */
	uint64_t unresolved_since;   /* the outcome is unknown; 0: it is not */
	struct stream_follow *log;   /* reads the namespace's entries, or NULL */
	struct deferred *log_end;
	struct outcome_log found;
	bool log_failed;
};

static void poll_record(void *userdata);

/* --- the end */

static void finish(struct follow *f, int code)
{
	if (f->ended)
		return;
	f->ended = true;
	timer_disarm(f->quiet);
	timer_disarm(f->tick);
	f->fn(code, f->record, f->userdata);
}

static void keep_record(struct follow *f, const struct deploy *record)
{
	struct deploy *copy = codec_copy(&deploy_schema, record);

	deploy_free(f->record);
	f->record = copy;
}

static void finish_record(struct follow *f, const struct deploy *record)
{
	bool json = f->ctl->options.json;
	int code = EXIT_DONE;

	keep_record(f, record);
	if (json)
		session_json(&deploy_schema, record);
	if (f->report)
		code = outcome_report(json ? stderr : stdout, record, f->verbose);
	finish(f, code);
}

static void note(struct follow *f, const char *text)
{
	if (f->live)
		live_print(f->live, "%s", text);
}

/* --- an unknown outcome: waits until leased has resolved it */

static void finish_unknown(struct follow *f, const char *reason)
{
	_cleanup_free_ char *hint = xasprintf("run `ployzctl deploy attach %s`", f->deploy);

	finish(f, session_refuse(FAILURE_UNKNOWN, hint, "cannot tell the outcome of deploy %s: %s",
				 f->deploy, reason));
}

static void wait_unresolved(struct follow *f, const char *reason)
{
	if (!f->unresolved_since) {
		_cleanup_free_ char *text =
			xasprintf("%s; waiting until leased resolves it", reason);

		f->unresolved_since = boot_now_usec();
		note(f, text);
	} else if (boot_now_usec() - f->unresolved_since > RESOLVE_USEC) {
		finish_unknown(f, reason);
		return;
	}
	timer_arm(f->quiet, POLL_USEC);
}

/* --- leased has no record of a deploy that it had accepted: it ended before it stored one, and the
 * log decides */

static void on_log_entry(const struct stream_entry *entry, void *userdata)
{
	struct follow *f = userdata;
	void *head = NULL;

	if (codec_parse(&head_schema, entry->data, entry->size, CODEC_LENIENT, &head, NULL) < 0) {
		f->log_failed = true;
		return;
	}
	outcome_log_add(&f->found, head, entry->sequence);
	head_free(head);
}

static void on_log_live(_unused_ uint64_t sequence, void *userdata)
{
	struct follow *f = userdata;

	deferred_schedule(f->log_end);
}

static void on_log_lost(_unused_ const struct failure *why, void *userdata)
{
	struct follow *f = userdata;

	f->log_failed = true;
	deferred_schedule(f->log_end);
}

static void on_log_end(void *userdata)
{
	struct follow *f = userdata;
	const char *machine = f->record->machine ? f->record->machine : f->machine;
	_cleanup_free_ char *hint = NULL;

	stream_follow_free(steal(f->log));
	if (f->ended)
		return;
	switch (f->log_failed ? OUTCOME_OPEN
			      : outcome_log_result(&f->found, (uint64_t)f->record->opened)) {
	case OUTCOME_COMMITTED:
		hint = xasprintf("run `ployzctl deploy sweep %s`", f->record->ns);
		finish(f, session_refuse(FAILURE_CLEANUP_PENDING, hint,
					 "deploy %s of namespace %s committed, clean-up pending: "
					 "leased of machine %s ended",
					 f->deploy, f->record->ns, machine));
		return;
	case OUTCOME_CLOSED:
	case OUTCOME_ABSENT:
		finish(f, session_refuse(FAILURE_FAILED, "deploy again",
					 "deploy %s of namespace %s failed before the commit, "
					 "nothing changed: leased of machine %s ended",
					 f->deploy, f->record->ns, machine));
		return;
	case OUTCOME_OPEN:
		hint = xasprintf("leased of machine %s ended before it reported", machine);
		wait_unresolved(f, hint);
		return;
	}
}

static void read_log(struct follow *f)
{
	static const struct stream_follow_ops ops = { .entry = on_log_entry,
						      .live = on_log_live,
						      .lost = on_log_lost };
	_cleanup_free_ char *filter = subject_make(SUBJECT_NAMESPACE, f->record->ns, NULL);
	const char *const filters[] = { filter, NULL };
	const struct stream_follow_options options = {
		.domain = STORE_DOMAIN,
		.stream = STREAM_INTENT,
		.filters = filters,
		.from = f->record->opened ? STREAM_FROM_SEQUENCE : STREAM_FROM_ALL,
		.sequence = (uint64_t)f->record->opened,
		.once = true,
	};

	if (f->log)
		return;
	f->found = (struct outcome_log){ .deploy = f->deploy };
	f->log_failed = false;
	f->log = stream_follow_new(f->ctl->bus, &options, &ops, f);
}

/* --- the poll */

static void no_answer(struct follow *f, const struct failure *failure)
{
	if (!f->silent_since) {
		f->silent_since = boot_now_usec();
		note(f, failure->message);
	} else if (boot_now_usec() - f->silent_since > SILENT_USEC) {
		if (f->submitted)
			finish_unknown(f, failure->message);
		else
			finish(f, session_report(failure));
		return;
	}
	timer_arm(f->quiet, POLL_USEC);
}

static void attach_failed(struct follow *f, const struct failure *failure)
{
	if (failure->code == FAILURE_NOT_FOUND && f->record)
		read_log(f);
	else if (failure->code == FAILURE_NOT_FOUND || failure->code == FAILURE_INVALID)
		finish(f, session_report(failure));
	else
		no_answer(f, failure);
}

static void on_attached(const struct failure *failure, void *answer, void *userdata)
{
	struct follow *f = userdata;
	const struct deploy_accepted *accepted = answer;
	const struct deploy *record = accepted ? accepted->record : NULL;

	f->request = NULL;
	if (f->ended)
		return;
	if (failure) {
		attach_failed(f, failure);
		return;
	}
	f->silent_since = 0;
	if (!record) {
		timer_arm(f->quiet, POLL_USEC);
		return;
	}
	if (deploy_phase_is_end((enum deploy_phase)record->phase) &&
	    record->phase != DEPLOY_UNKNOWN) {
		finish_record(f, record);
		return;
	}
	if (!f->record && f->live)
		live_print(f->live, "deploy %s of namespace %s: %s", f->deploy, record->ns,
			   deploy_phase_names[record->phase]);
	keep_record(f, record);
	if (record->phase == DEPLOY_UNKNOWN)
		wait_unresolved(f, "the commit was not acknowledged");
	else
		timer_arm(f->quiet, POLL_USEC);
}

static void poll_record(void *userdata)
{
	struct follow *f = userdata;
	const struct deploy_ref ref = { .deploy = f->deploy };

	if (f->request || f->log)
		return;
	bus_ask(f->ctl->bus, SUBJECT_ATTACH, f->machine, &ref, REQUEST_USEC, on_attached, f,
		&f->request);
}

/* --- progress */

/* An executing leased reports `unknown` at its deadline: the process that submitted the deploy
 * prints the next step, one that attached to it waits for the resolution. */
static void on_end(struct follow *f, const struct deploy *record)
{
	if (record->phase != DEPLOY_UNKNOWN || f->submitted) {
		finish_record(f, record);
		return;
	}
	keep_record(f, record);
	wait_unresolved(f, "the commit was not acknowledged");
}

static void on_progress(const struct bus_message *message, void *userdata)
{
	struct follow *f = userdata;
	_cleanup_(progress_freep) struct progress *p = NULL;

	if (f->ended || codec_parse(&progress_schema, message->data, message->size, CODEC_LENIENT,
				    (void **)&p, NULL) < 0)
		return;
	f->silent_since = 0;
	timer_arm(f->quiet, POLL_USEC);
	if (f->live)
		live_progress(f->live, p);
	else if (p->kind != PROGRESS_END)
		session_json(&progress_schema, p);
	if (p->kind == PROGRESS_END && p->record)
		on_end(f, p->record);
}

static void on_accepted(const struct failure *failure, void *answer, void *userdata)
{
	struct follow *f = userdata;
	const struct deploy_accepted *accepted = answer;

	f->request = NULL;
	if (f->ended)
		return;
	/* A lost answer is no refusal: the rollout may be under way; its record shows that. */
	if (failure && failure->code != FAILURE_TIMEOUT) {
		finish(f, session_report(failure));
		return;
	}
	if (accepted && accepted->record)
		keep_record(f, accepted->record);
	timer_arm(f->quiet, POLL_USEC);
}

static void on_tick(void *userdata)
{
	struct follow *f = userdata;

	live_tick(f->live);
	timer_arm(f->tick, TICK_USEC);
}

static void on_interrupted(void *userdata)
{
	struct follow *f = userdata;

	fprintf(stderr,
		"\nployzctl: detached, deploy %s continues; run `ployzctl deploy attach %s`\n",
		f->deploy, f->deploy);
	finish(f, EXIT_NO);
}

/* --- construction */

static void open_display(struct follow *f)
{
	const char *term = getenv("TERM");
	bool animated =
		isatty(STDERR_FILENO) && !getenv("NO_COLOR") && term && !streq(term, "dumb");

	if (f->ctl->options.json)
		return;
	f->live = live_new(stderr, animated, !f->submitted);
	if (animated)
		timer_arm(f->tick, TICK_USEC);
}

struct follow *follow_new(struct ployzctl *ctl, const struct follow_options *options, follow_fn fn,
			  void *userdata)
{
	struct follow *f = xcalloc(1, sizeof(*f));
	_cleanup_free_ char *subject = subject_make(SUBJECT_PROGRESS, options->deploy, NULL);

	f->ctl = ctl;
	f->fn = fn;
	f->userdata = userdata;
	f->deploy = xstrdup(options->deploy);
	f->machine = xstrdup(options->machine);
	f->submitted = options->request != NULL;
	f->report = options->report;
	f->verbose = options->verbose;
	f->quiet = timer_new(ctl->loop, poll_record, f);
	f->tick = timer_new(ctl->loop, on_tick, f);
	f->log_end = deferred_new(ctl->loop, on_log_end, f);
	open_display(f);
	ctl->interrupted = on_interrupted;
	ctl->interrupted_data = f;
	bus_subscribe(ctl->bus, subject, on_progress, f, &f->progress);
	if (options->request)
		bus_ask(ctl->bus, options->subject, f->machine, options->request, REQUEST_USEC,
			on_accepted, f, &f->request);
	else
		poll_record(f);
	return f;
}

void follow_free(struct follow *f)
{
	if (!f)
		return;
	if (f->ctl->interrupted_data == f) {
		f->ctl->interrupted = NULL;
		f->ctl->interrupted_data = NULL;
	}
	bus_request_cancelp(&f->request);
	bus_subscription_free(f->progress);
	stream_follow_free(f->log);
	deferred_free(f->log_end);
	timer_free(f->quiet);
	timer_free(f->tick);
	live_free(f->live);
	deploy_free(f->record);
	free(f->deploy);
	free(f->machine);
	free(f);
}
