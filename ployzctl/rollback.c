/* `ployzctl rollback`: an earlier revision as an ordinary deploy, with the images that it ran. */
#include "ployzctl/ployzctl.h"

static const struct config_row rows[] = {
	{ "to", CONFIG_INT, offsetof(struct deploy_options, to), NULL, "N",
	  "the revision; without it, the one before the current one", 1, INT64_MAX },
	{ "yes", CONFIG_BOOL, offsetof(struct deploy_options, yes), NULL, NULL,
	  "do not ask before everything is removed", 0, 0 },
	{ "why", CONFIG_STRING, offsetof(struct deploy_options, why), NULL, "TEXT",
	  "kept with the revision", 0, 0 },
	{ "verbose", CONFIG_BOOL, offsetof(struct deploy_options, verbose), NULL, NULL,
	  "print the time of each phase (-v)", 0, 0 },
	CONFIG_END,
};
static const struct short_option shorts[] = { { 'v', "verbose" }, { 0, NULL } };

struct rollback {
	const char *ns;
	struct deploy_task task;
};

static void on_revisions(struct revision *revisions, _unused_ size_t count, void *userdata)
{
	struct rollback *rollback = userdata;
	struct deploy_task *task = &rollback->task;
	const struct release *release = revisions[0].content;
	_cleanup_free_ char *history = xasprintf("run `ployzctl ns history %s`", rollback->ns);
	_cleanup_free_ char *removal = xasprintf("run `ployzctl ns rm %s`", rollback->ns);

	if (!release) {
		session_end(
			task->ctl,
			session_refuse(FAILURE_NOT_FOUND, revisions[0].release ? history : removal,
				       "cannot roll back namespace %s to revision %lld: %s",
				       rollback->ns, (long long)revisions[0].number,
				       revisions[0].release ? "its manifest is not kept any more"
							    : "it has no services"));
		return;
	}
	if (!task->ctl->options.json)
		fprintf(stderr, "namespace %s: back to revision %lld, deployed by %s\n",
			rollback->ns, (long long)revisions[0].number,
			revisions[0].deploy ? revisions[0].deploy : "-");
	task->manifest = release->manifest;
	task->digests = &release->digests;
	task->to = revisions[0].number;
	deploy_task_start(task);
}

static int run(struct rollback *rollback)
{
	struct deploy_task *task = &rollback->task;
	int64_t wanted = task->options->to ? task->options->to : REVISION_BEFORE;
	int code = session_open(task->ctl);

	if (code)
		return code;
	revisions_read(task->ctl, rollback->ns, &wanted, 1, on_revisions, rollback);
	code = session_run(task->ctl);
	follow_free(steal(task->follow));
	return code;
}

int verb_rollback(struct ployzctl *ctl, int argc, char **argv)
{
	_cleanup_(strv_freep) char **words = NULL;
	struct deploy_options options = { 0 };
	struct rollback rollback = { .task = { .ctl = ctl,
					       .options = &options,
					       .verb = "rollback",
					       .subject = SUBJECT_ROLLBACK } };
	int code =
		arguments_take(ctl, "rollback", rows, shorts, &options, argc, argv, 1, 1, &words);

	if (!code)
		code = namespace_argument(words[0]);
	if (!code) {
		options.plan_seq = -1;
		rollback.ns = words[0];
		code = run(&rollback);
	}
	config_clear(rows, &options);
	return MAX2(code, 0);
}
