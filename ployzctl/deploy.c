/* `ployzctl deploy`: plan, ask where everything goes, hand over, follow. */
#include <unistd.h>

#include "ployzctl/ployzctl.h"

static const struct config_row rows[] = {
	{ "file", CONFIG_STRING, offsetof(struct deploy_options, file), NULL, "FILE",
	  "the manifest (-f); - for standard input", 0, 0 },
	{ "yes", CONFIG_BOOL, offsetof(struct deploy_options, yes), NULL, NULL,
	  "go on where everything is removed", 0, 0 },
	{ "plan-seq", CONFIG_INT, offsetof(struct deploy_options, plan_seq), "-1", "N",
	  "refuse (5) unless the namespace is as it was at this sequence", -1, INT64_MAX },
	{ "why", CONFIG_STRING, offsetof(struct deploy_options, why), NULL, "TEXT",
	  "kept with the revision", 0, 0 },
	{ "verbose", CONFIG_BOOL, offsetof(struct deploy_options, verbose), NULL, NULL,
	  "tell the time of each phase (-v)", 0, 0 },
	CONFIG_END,
};
static const struct short_option shorts[] = { { 'f', "file" }, { 'v', "verbose" }, { 0, NULL } };

struct deploying {
	struct ployzctl *ctl;
	const struct deploy_options *options;
	struct manifest *manifest;
	const char *verb;
};

/* Everything goes: --yes, or a person who says so. */
static int confirm(const struct deploying *d, const struct plan *plan)
{
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;
	_cleanup_free_ char *question = xasprintf("Remove everything of namespace %s?", plan->ns);

	if (!plan->removes_all || d->options->yes)
		return 0;
	if (isatty(STDIN_FILENO) && isatty(STDERR_FILENO)) {
		if (ask_yes(question))
			return 0;
		fprintf(stderr, "ployzctl: nothing was done\n");
		return EXIT_NO;
	}
	failure_set(&failure, FAILURE_INVALID, "the same with --yes",
		    "everything of namespace %s would be removed: nothing was done", plan->ns);
	return session_say(&failure);
}

static void show_plan(const struct deploying *d, const struct plan *plan)
{
	struct strbuf text = STRBUF_INIT;

	if (d->ctl->options.json)
		return;
	tree_plan(plan, &text);
	fputs(text.text, stderr);
	strbuf_clear(&text);
}

static int refused(const struct plan *plan)
{
	const struct plan_refusal *first = &plan->refusals[0];
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;

	failure_set(&failure, FAILURE_REFUSED, first->hint,
		    "the deploy of namespace %s is refused, nothing changed: %s%s%s", plan->ns,
		    first->path ? first->path : "", first->path ? ": " : "", first->message);
	return session_say(&failure);
}

static void on_planned(const struct plan *plan, void *userdata)
{
	struct deploying *d = userdata;
	_cleanup_free_ char *deploy = id_new(), *operator_ = session_operator();
	struct deploy_request request = {
		.deploy = deploy,
		.manifest = d->manifest,
		.verb = (char *)d->verb,
		.operator_ = operator_,
		.from = (char *)d->ctl->machine,
		.why = d->options->why,
		.yes = d->options->yes || plan->removes_all, /* confirmed below */
		.plan_seq = d->options->plan_seq >= 0 ? d->options->plan_seq : plan->sequence,
	};
	int code;

	show_plan(d, plan);
	code = plan->n_refusals ? refused(plan) : confirm(d, plan);
	if (code) {
		session_end(d->ctl, code);
		return;
	}
	if (!d->ctl->options.json)
		fprintf(stderr, "deploy %s\n", deploy);
	follow_deploy(d->ctl, &request, deploy, d->options->verbose);
}

int deploy_run(struct ployzctl *ctl, struct manifest *manifest,
	       const struct deploy_options *options, const char *verb)
{
	struct deploying deploying = { ctl, options, manifest, verb };
	int code = session_open(ctl);

	if (code)
		return code;
	plan_ask(ctl, manifest, on_planned, &deploying);
	return session_run(ctl);
}

int verb_deploy(struct ployzctl *ctl, int argc, char **argv)
{
	_cleanup_(manifest_freep) struct manifest *manifest = NULL;
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;
	_cleanup_(strv_freep) char **words = NULL;
	struct deploy_options options;
	int code = arguments_take(ctl, "deploy", rows, shorts, &options, argc, argv, 0, 0, &words);

	if (!code && !options.file) {
		failure_set(&failure, FAILURE_INVALID,
			    "ployzctl deploy -f FILE; ployzctl deploy --help",
			    "deploy wants a manifest");
		code = session_say(&failure);
	}
	if (!code)
		code = manifest_read(options.file, &manifest);
	if (!code)
		code = deploy_run(ctl, manifest, &options, "deploy");
	config_clear(rows, &options);
	return MAX2(code, 0);
}
