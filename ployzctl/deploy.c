/* `ployzctl deploy`: plans, confirms where everything is removed, submits and follows. */
#include "ployzctl/ployzctl.h"

static const struct config_row rows[] = {
	{ "file", CONFIG_STRING, offsetof(struct deploy_options, file), NULL, "FILE",
	  "the manifest (-f); - for standard input", 0, 0 },
	{ "yes", CONFIG_BOOL, offsetof(struct deploy_options, yes), NULL, NULL,
	  "do not ask before everything is removed", 0, 0 },
	{ "plan-seq", CONFIG_INT, offsetof(struct deploy_options, plan_seq), "-1", "N",
	  "refuse (5) unless the namespace is as it was at this sequence", -1, INT64_MAX },
	{ "why", CONFIG_STRING, offsetof(struct deploy_options, why), NULL, "TEXT",
	  "kept with the revision", 0, 0 },
	{ "verbose", CONFIG_BOOL, offsetof(struct deploy_options, verbose), NULL, NULL,
	  "print the time of each phase (-v)", 0, 0 },
	CONFIG_END,
};
static const struct short_option shorts[] = { { 'f', "file" }, { 'v', "verbose" }, { 0, NULL } };

/* --- plan, confirm, submit, follow */

static void show_plan(const struct deploy_task *task, const struct plan *plan)
{
	_cleanup_(strbuf_clear) struct strbuf text = STRBUF_INIT;

	if (task->ctl->options.json)
		return;
	tree_plan(plan, &text);
	fputs(text.text, stderr);
}

static int refused(const struct deploy_task *task, const struct plan *plan)
{
	const struct plan_refusal *first = &plan->refusals[0];
	const char *verb = streq(task->verb, "rollback") ? "roll back" : task->verb;

	return session_refuse(FAILURE_REFUSED, first->hint, "cannot %s namespace %s: %s%s%s", verb,
			      plan->ns, first->path ? first->path : "", first->path ? ": " : "",
			      first->message);
}

/* A plan that removes everything needs --yes or a confirmation at the terminal. */
static bool confirmed(const struct deploy_task *task, const struct plan *plan, int *ret_code)
{
	_cleanup_free_ char *question = xasprintf("Remove everything of namespace %s?", plan->ns);
	_cleanup_free_ char *what = xasprintf("remove everything of namespace %s", plan->ns);

	return session_confirm(!plan->removes_all || task->options->yes, question, what, ret_code);
}

static void on_ended(int exit_code, _unused_ const struct deploy *record, void *userdata)
{
	struct deploy_task *task = userdata;

	session_end(task->ctl, exit_code);
}

static void submit(struct deploy_task *task, const struct plan *plan)
{
	_cleanup_free_ char *deploy = id_new(), *operator_ = session_operator();
	bool rollback = task->subject == SUBJECT_ROLLBACK;
	const struct deploy_request request = {
		.deploy = deploy,
		.ns = rollback ? task->manifest->ns : NULL,
		.manifest = rollback ? NULL : (struct manifest *)task->manifest,
		.verb = (char *)task->verb,
		.operator_ = operator_,
		.from = (char *)task->ctl->machine,
		.why = task->options->why,
		.yes = task->options->yes || plan->removes_all, /* confirmed */
		.plan_seq = task->options->plan_seq >= 0 ? task->options->plan_seq : plan->sequence,
		.to = task->to,
	};
	const struct follow_options options = {
		.request = &request,
		.subject = task->subject,
		.deploy = deploy,
		.machine = task->ctl->machine,
		.verbose = task->options->verbose,
		.report = true,
	};

	if (!task->ctl->options.json)
		fprintf(stderr, "deploy %s\n", deploy);
	task->follow = follow_new(task->ctl, &options, on_ended, task);
}

static void on_planned(const struct plan *plan, void *userdata)
{
	struct deploy_task *task = userdata;
	int code = EXIT_DONE;

	show_plan(task, plan);
	if (plan->n_refusals)
		session_end(task->ctl, refused(task, plan));
	else if (!confirmed(task, plan, &code))
		session_end(task->ctl, code);
	else
		submit(task, plan);
}

void deploy_task_start(struct deploy_task *task)
{
	plan_request(task->ctl, task->manifest, task->digests, on_planned, task);
}

int deploy_task_run(struct deploy_task *task)
{
	int code = session_open(task->ctl);

	if (code)
		return code;
	deploy_task_start(task);
	code = session_run(task->ctl);
	follow_free(steal(task->follow));
	return code;
}

/* --- the verb */

int verb_deploy(struct ployzctl *ctl, int argc, char **argv)
{
	_cleanup_(manifest_freep) struct manifest *manifest = NULL;
	_cleanup_(strv_freep) char **words = NULL;
	struct deploy_options options = { 0 };
	struct deploy_task task = {
		.ctl = ctl, .options = &options, .verb = "deploy", .subject = SUBJECT_DEPLOY
	};
	int code = arguments_take(ctl, "deploy", rows, shorts, &options, argc, argv, 0, 0, &words);

	if (!code && !options.file)
		code = session_refuse(FAILURE_INVALID, "give -f FILE",
				      "cannot deploy: no manifest is given");
	if (!code)
		code = manifest_file_read(options.file, &manifest);
	if (!code) {
		task.manifest = manifest;
		code = deploy_task_run(&task);
	}
	config_clear(rows, &options);
	return MAX2(code, 0);
}
