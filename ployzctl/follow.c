/* Watches a deploy that leased walks. Nothing depends on the watching: who misses progress asks for
 * the record, and a walk that died with its leased is told from one that goes on. */
#include <unistd.h>

#include "ployzctl/ployzctl.h"

#define TICK_USEC 1000000ull /* ages in the block are whole seconds */

struct following {
	struct ployzctl *ctl;
	char *deploy;
	struct deploy *record; /* as it was told last */
	struct bus_subscription *heard;
	struct live *live;   /* NULL with --json */
	struct timer *quiet; /* runs out when nothing was heard */
	struct timer *tick;
	uint64_t silent_since; /* leased does not answer; 0: it does */
	unsigned missing;      /* times in a row that no leased knew of the walk */
	bool verbose;
	bool ended;
};

static void asked_after(void *userdata);

/* --- the outcome */

static char *took(const struct deploy *record)
{
	int64_t ms = record->n_phases ? record->phases[record->n_phases - 1].elapsed_ms : 0;

	return duration_human((uint64_t)ms * 1000);
}

static void print_phases(FILE *to, const struct deploy *record)
{
	for (size_t i = 0; i + 1 < record->n_phases; i++) {
		int64_t ms = record->phases[i + 1].elapsed_ms - record->phases[i].elapsed_ms;
		_cleanup_free_ char *time = duration_human((uint64_t)MAX2(ms, (int64_t)0) * 1000);

		fprintf(to, "  %-12s %s\n", deploy_phase_names[record->phases[i].phase], time);
	}
}

static int ended_badly(const struct deploy *record)
{
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT, said = FAILURE_INIT;
	static const char *const words[] = {
		[DEPLOY_FAILED] = "failed before the commit, nothing changed",
		[DEPLOY_CLEANUP_PENDING] = "is committed, cleaning up is pending",
		[DEPLOY_REFUSED] = "was refused, nothing changed",
	};
	int code;

	if (record->failure)
		error_to_failure(record->failure, &failure);
	failure_set(&said, failure.code ? (enum failure_code)failure.code : FAILURE_FAILED,
		    failure.hint, "deploy %s of namespace %s %s: %s", record->deploy, record->ns,
		    words[record->phase],
		    failure.message ? failure.message : "no reason was given");
	code = session_say(&said);
	if (record->phase == DEPLOY_CLEANUP_PENDING)
		return EXIT_CLEANUP_PENDING;
	return record->phase == DEPLOY_FAILED && code != EXIT_NO_QUORUM ? EXIT_FAILED : code;
}

int follow_outcome(FILE *to, const struct deploy *record, bool verbose)
{
	_cleanup_free_ char *time = took(record);
	int code = EXIT_DONE;

	if (record->phase != DEPLOY_DONE)
		code = ended_badly(record);
	else if (!record->revision || !record->changed)
		fprintf(to, "deploy %s of namespace %s: nothing to change\n", record->deploy,
			record->ns);
	else
		fprintf(to,
			"deploy %s of namespace %s: committed revision %lld (sequence %lld) in "
			"%s\n",
			record->deploy, record->ns, (long long)record->revision,
			(long long)record->sequence, time);
	if (verbose)
		print_phases(to, record);
	return code;
}

static void finish(struct following *f, int code)
{
	f->ended = true;
	timer_disarm(f->quiet);
	timer_disarm(f->tick);
	session_end(f->ctl, code);
}

static void finish_record(struct following *f, const struct deploy *record)
{
	if (f->ctl->options.json)
		session_json(&deploy_schema, record);
	finish(f, follow_outcome(f->ctl->options.json ? stderr : stdout, record, f->verbose));
}

/* --- when it is quiet: does anybody still walk it? */

static void died(struct following *f, bool committed)
{
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;

	if (committed)
		failure_set(&failure, FAILURE_CLEANUP_PENDING,
			    "deploy again: the next deploy of the namespace cleans up",
			    "deploy %s is committed, but its leased ended before it had cleaned up",
			    f->deploy);
	else
		failure_set(&failure, FAILURE_FAILED,
			    "deploy again: the next deploy removes what this one has started",
			    "deploy %s died with its leased before the commit, nothing changed",
			    f->deploy);
	finish(f, session_say(&failure));
}

static void on_head(const struct failure *failure, const struct stream_entry *entry, void *userdata)
{
	struct following *f = userdata;
	void *head = NULL;

	if (f->ended)
		return;
	if (failure || (entry && codec_parse(&head_schema, entry->data, entry->size, CODEC_LENIENT,
					     &head, NULL) < 0)) {
		timer_arm(f->quiet, QUIET_USEC);
		return;
	}
	died(f, head && streq(((const struct head *)head)->deploy, f->deploy));
	head_free(head);
}

static bool walks(const struct bus_message *reply, const char *deploy)
{
	_cleanup_json_ json_t *json = json_loadb(reply->data, reply->size, 0, NULL);
	const json_t *list = json_object_get(json_object_get(json, "ok"), "walks"), *walk;
	size_t i;

	json_array_foreach (list, i, walk)
		if (streq(json_string_value(json_object_get(walk, "deploy")), deploy))
			return true;
	return false;
}

static void on_status(int error, const struct bus_message *reply, void *userdata)
{
	struct following *f = userdata;
	_cleanup_free_ char *subject = NULL;

	if (f->ended)
		return;
	if (error < 0 || walks(reply, f->deploy)) {
		f->missing = 0;
		timer_arm(f->quiet, QUIET_USEC);
		return;
	}
	/* It may have ended between the two questions: only the second time is it dead. */
	if (++f->missing < 2) {
		asked_after(f);
		return;
	}
	subject = subject_make(SUBJECT_NAMESPACE, f->record->ns, NULL);
	stream_last(f->ctl->bus, STORE_DOMAIN, STREAM_INTENT, subject, ASK_USEC, on_head, f, NULL);
}

static void no_answer(struct following *f, const struct failure *failure)
{
	_cleanup_free_ char *hint = NULL;
	_cleanup_(failure_clear) struct failure said = FAILURE_INIT;

	if (!f->silent_since) {
		f->silent_since = boot_now_usec();
		if (f->live)
			live_say(f->live, "%s; waiting for it", failure->message);
	} else if (boot_now_usec() - f->silent_since > SILENT_USEC) {
		hint = xasprintf("ployzctl deploy attach %s", f->deploy);
		failure_set(&said, FAILURE_UNREACHABLE, hint,
			    "%s; how deploy %s ended is not known", failure->message, f->deploy);
		finish(f, session_say(&said));
		return;
	}
	timer_arm(f->quiet, QUIET_USEC);
}

static void keep_record(struct following *f, const struct deploy *record)
{
	deploy_free(f->record);
	f->record = codec_copy(&deploy_schema, record);
}

static void on_attached(const struct failure *failure, void *answer, void *userdata)
{
	struct following *f = userdata;
	const struct deploy_accepted *accepted = answer;
	_cleanup_free_ char *subject = NULL;

	if (f->ended)
		return;
	if (failure && failure->code == FAILURE_NOT_FOUND && f->record) {
		died(f, false);
		return;
	}
	if (failure && (failure->code == FAILURE_NOT_FOUND || failure->code == FAILURE_INVALID)) {
		finish(f, session_say(failure));
		return;
	}
	if (failure) {
		no_answer(f, failure);
		return;
	}
	f->silent_since = 0;
	if (!accepted->record) {
		timer_arm(f->quiet, QUIET_USEC);
		return;
	}
	if (deploy_phase_is_end((enum deploy_phase)accepted->record->phase)) {
		finish_record(f, accepted->record);
		return;
	}
	if (!f->record && f->live)
		live_say(f->live, "deploy %s of namespace %s: %s", f->deploy, accepted->record->ns,
			 deploy_phase_names[accepted->record->phase]);
	keep_record(f, accepted->record);
	subject =
		subject_status(f->record->machine ? f->record->machine : f->ctl->machine, "leased");
	bus_request(f->ctl->bus, subject, NULL, "{}", 2, ASK_USEC, on_status, f, NULL);
}

static void asked_after(void *userdata)
{
	struct following *f = userdata;
	struct deploy_ref ref = { .deploy = f->deploy };

	bus_ask(f->ctl->bus, SUBJECT_ATTACH, f->ctl->machine, &ref, ASK_USEC, on_attached, f, NULL);
}

/* --- what is heard */

static void on_progress(const struct bus_message *message, void *userdata)
{
	struct following *f = userdata;
	void *object = NULL;
	const struct progress *p;

	if (f->ended || codec_parse(&progress_schema, message->data, message->size, CODEC_LENIENT,
				    &object, NULL) < 0)
		return;
	p = object;
	f->missing = 0;
	f->silent_since = 0;
	timer_arm(f->quiet, QUIET_USEC);
	if (f->live)
		live_progress(f->live, p);
	else if (p->kind != PROGRESS_END)
		session_json(&progress_schema, p);
	if (p->kind == PROGRESS_END && p->record)
		finish_record(f, p->record);
	progress_free(object);
}

static void on_accepted(const struct failure *failure, void *answer, void *userdata)
{
	struct following *f = userdata;
	const struct deploy_accepted *accepted = answer;

	if (f->ended)
		return;
	/* A lost answer is no refusal: the walk may be under way, its record tells. */
	if (failure && failure->code != FAILURE_TIMEOUT) {
		finish(f, session_say(failure));
		return;
	}
	if (accepted && accepted->record)
		keep_record(f, accepted->record);
	timer_arm(f->quiet, QUIET_USEC);
}

static void on_tick(void *userdata)
{
	struct following *f = userdata;

	live_tick(f->live);
	timer_arm(f->tick, TICK_USEC);
}

static void on_interrupted(void *userdata)
{
	struct following *f = userdata;

	fprintf(stderr,
		"\nployzctl: detached; the deploy goes on\n  try: ployzctl deploy attach %s\n",
		f->deploy);
	finish(f, EXIT_NO);
}

void follow_deploy(struct ployzctl *ctl, const struct deploy_request *request, const char *deploy,
		   bool verbose)
{
	/* Lives until the program's end. */
	static struct following following;
	struct following *f = &following;
	_cleanup_free_ char *subject = subject_make(SUBJECT_PROGRESS, deploy, NULL);
	const char *term = getenv("TERM");
	bool animated =
		isatty(STDERR_FILENO) && !getenv("NO_COLOR") && term && !streq(term, "dumb");

	f->ctl = ctl;
	f->deploy = xstrdup(deploy);
	f->verbose = verbose;
	f->quiet = timer_new(ctl->loop, asked_after, f);
	f->tick = timer_new(ctl->loop, on_tick, f);
	if (!ctl->options.json) {
		f->live = live_new(stderr, animated, !request);
		if (animated)
			timer_arm(f->tick, TICK_USEC);
	}
	ctl->interrupted = on_interrupted;
	ctl->interrupted_data = f;
	bus_subscribe(ctl->bus, subject, on_progress, f, &f->heard);
	if (request)
		bus_ask(ctl->bus, SUBJECT_DEPLOY, ctl->machine, request, ASK_USEC, on_accepted, f,
			NULL);
	else
		asked_after(f);
}
