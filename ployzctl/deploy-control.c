/* `ployzctl deploy attach|cancel|sweep`: deploys that are under way or have a pending clean-up. */
#include "ployzctl/ployzctl.h"
#include "ployzctl/pure.h"

struct control_options {
	bool verbose;
};
static const struct config_row rows[] = {
	{ "verbose", CONFIG_BOOL, offsetof(struct control_options, verbose), NULL, NULL,
	  "print the time of each phase (-v)", 0, 0 },
	CONFIG_END,
};
static const struct short_option shorts[] = { { 'v', "verbose" }, { 0, NULL } };

struct control {
	struct ployzctl *ctl;
	struct control_options options;
	const char *deploy;
	char *operator_;
	struct records_read *read;
	struct follow *follow;
	struct deferred *next; /* sweep: the next namespace */
	char **namespaces;     /* sweep: the namespaces to sweep */
	size_t done;	       /* sweep: number of namespaces that are done */
	int code;	       /* sweep: the first one that is not 0 */
};

static int control_run(struct control *control)
{
	int code = session_run(control->ctl);

	follow_free(control->follow);
	records_read_free(control->read);
	deferred_free(control->next);
	strv_free(control->namespaces);
	free(control->operator_);
	return code;
}

static void on_ended(int exit_code, _unused_ const struct deploy *record, void *userdata)
{
	struct control *control = userdata;

	session_end(control->ctl, exit_code);
}

/* --- attach */

int verb_deploy_attach(struct ployzctl *ctl, int argc, char **argv)
{
	_cleanup_(strv_freep) char **words = NULL;
	struct control control = { .ctl = ctl };
	struct follow_options options = { .report = true };
	int code = arguments_take(ctl, "deploy attach", rows, shorts, &control.options, argc, argv,
				  1, 1, &words);

	if (!code)
		code = deploy_argument(words[0]);
	if (!code)
		code = session_open(ctl);
	if (code)
		return MAX2(code, 0);
	options.deploy = words[0];
	options.machine = ctl->machine;
	options.verbose = control.options.verbose;
	control.follow = follow_new(ctl, &options, on_ended, &control);
	return control_run(&control);
}

/* --- cancel */

/* A cancel has succeeded if the deploy ended without its commit. */
static void on_cancel_ended(int exit_code, const struct deploy *record, void *userdata)
{
	struct control *control = userdata;
	struct ployzctl *ctl = control->ctl;

	if (!record || !deploy_phase_is_end((enum deploy_phase)record->phase)) {
		session_end(ctl, exit_code);
	} else if (record->phase == DEPLOY_FAILED || record->phase == DEPLOY_REFUSED) {
		if (!ctl->options.json)
			printf("deploy %s of namespace %s: cancelled, nothing changed\n",
			       record->deploy, record->ns);
		session_end(ctl, EXIT_DONE);
	} else if (record->phase == DEPLOY_UNKNOWN) {
		session_end(ctl, outcome_report(stderr, record, false));
	} else {
		session_end(ctl,
			    session_refuse(FAILURE_NOT_FOUND, "run `ployzctl rollback` to undo it",
					   "cannot cancel deploy %s of namespace %s: it has "
					   "committed",
					   record->deploy, record->ns));
	}
}

static void on_cancelled(const struct failure *failure, void *answer, void *userdata)
{
	struct control *control = userdata;
	const struct deploy_accepted *accepted = answer;
	const struct deploy *record = accepted ? accepted->record : NULL;
	const struct follow_options options = {
		.deploy = control->deploy,
		.machine = record && record->machine ? record->machine : control->ctl->machine,
		.verbose = control->options.verbose,
	};

	if (failure) {
		session_fail(control->ctl, failure);
		return;
	}
	if (record && deploy_phase_is_end((enum deploy_phase)record->phase)) {
		if (control->ctl->options.json)
			session_json(&deploy_schema, record);
		on_cancel_ended(EXIT_DONE, record, control);
		return;
	}
	control->follow = follow_new(control->ctl, &options, on_cancel_ended, control);
}

/* The request goes to the machine in the deploy's record or, while the store does not answer, to
 * the session's machine. */
static void on_found(_unused_ const struct failure *failure, const struct records *records,
		     void *userdata)
{
	struct control *control = userdata;
	const struct deploy *record = records->count ? records->items[0] : NULL;
	const struct deploy_ref ref = { .deploy = (char *)control->deploy,
					.ns = record ? record->ns : NULL,
					.operator_ = control->operator_ };

	bus_ask(control->ctl->bus, SUBJECT_CANCEL,
		record && record->machine ? record->machine : control->ctl->machine, &ref,
		REQUEST_USEC, on_cancelled, control, NULL);
}

int verb_deploy_cancel(struct ployzctl *ctl, int argc, char **argv)
{
	_cleanup_(strv_freep) char **words = NULL;
	struct control control = { .ctl = ctl };
	int code = arguments_take(ctl, "deploy cancel", rows, shorts, &control.options, argc, argv,
				  1, 1, &words);

	if (!code)
		code = deploy_argument(words[0]);
	if (!code)
		code = session_open(ctl);
	if (code)
		return MAX2(code, 0);
	control.deploy = words[0];
	control.operator_ = session_operator();
	control.read = records_read(ctl, NULL, control.deploy, on_found, &control);
	return control_run(&control);
}

/* --- sweep: the namespaces one after the other */

static void on_swept(int exit_code, _unused_ const struct deploy *record, void *userdata)
{
	struct control *control = userdata;

	if (!control->code)
		control->code = exit_code;
	if (control->ctl->signalled)
		session_end(control->ctl, exit_code);
	else
		deferred_schedule(control->next);
}

static void sweep_next(void *userdata)
{
	struct control *control = userdata;
	struct ployzctl *ctl = control->ctl;
	char *ns = control->namespaces ? control->namespaces[control->done] : NULL;
	_cleanup_free_ char *deploy = id_new();
	const struct deploy_request request = {
		.deploy = deploy,
		.ns = ns,
		.verb = (char *)"sweep",
		.operator_ = control->operator_,
		.from = (char *)ctl->machine,
		.plan_seq = -1,
	};
	const struct follow_options options = {
		.request = &request,
		.subject = SUBJECT_SWEEP,
		.deploy = deploy,
		.machine = ctl->machine,
		.verbose = control->options.verbose,
		.report = true,
	};

	follow_free(steal(control->follow));
	if (!ns) {
		session_end(ctl, control->code);
		return;
	}
	control->done++;
	control->follow = follow_new(ctl, &options, on_swept, control);
}

static void on_pending(const struct failure *failure, const struct records *records, void *userdata)
{
	struct control *control = userdata;

	if (failure) {
		session_fail(control->ctl, failure);
		return;
	}
	for (size_t i = 0; i < records->count; i++) {
		const struct deploy *record = records->items[i];

		if (record_pending(records, record) &&
		    !strv_contains(control->namespaces, record->ns))
			strv_push(&control->namespaces, xstrdup(record->ns));
	}
	if (!control->namespaces && !control->ctl->options.json)
		puts("no clean-up is pending");
	sweep_next(control);
}

int verb_deploy_sweep(struct ployzctl *ctl, int argc, char **argv)
{
	_cleanup_(strv_freep) char **words = NULL;
	struct control control = { .ctl = ctl };
	int code = arguments_take(ctl, "deploy sweep", rows, shorts, &control.options, argc, argv,
				  0, 1, &words);

	if (!code && words)
		code = namespace_argument(words[0]);
	if (!code)
		code = session_open(ctl);
	if (code)
		return MAX2(code, 0);
	control.operator_ = session_operator();
	control.next = deferred_new(ctl->loop, sweep_next, &control);
	if (words) {
		strv_push(&control.namespaces, xstrdup(words[0]));
		sweep_next(&control);
	} else {
		control.read = records_read(ctl, NULL, NULL, on_pending, &control);
	}
	return control_run(&control);
}
