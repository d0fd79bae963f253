/* `ployzctl plan`: what a deploy would do, and why. */
#include "ployzctl/ployzctl.h"

struct plan_options {
	char *file;
};

static const struct config_row rows[] = {
	{ "file", CONFIG_STRING, offsetof(struct plan_options, file), NULL, "FILE",
	  "the manifest (-f); - for standard input", 0, 0 },
	CONFIG_END,
};
static const struct short_option shorts[] = { { 'f', "file" }, { 0, NULL } };

static void on_planned(const struct plan *plan, void *userdata)
{
	struct ployzctl *ctl = userdata;
	struct strbuf text = STRBUF_INIT;

	if (ctl->options.json) {
		session_json(&plan_schema, plan);
	} else {
		tree_plan(plan, &text);
		fputs(text.text, stdout);
		strbuf_clear(&text);
	}
	session_end(ctl, plan->n_refusals ? EXIT_FAILED : plan->changes ? EXIT_NO : EXIT_DONE);
}

static int plan_file(struct ployzctl *ctl, const char *file)
{
	_cleanup_(manifest_freep) struct manifest *manifest = NULL;
	int code = manifest_read(file, &manifest);

	if (!code)
		code = session_open(ctl);
	if (code)
		return code;
	plan_ask(ctl, manifest, on_planned, ctl);
	return session_run(ctl);
}

int verb_plan(struct ployzctl *ctl, int argc, char **argv)
{
	_cleanup_(strv_freep) char **words = NULL;
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;
	struct plan_options options;
	int code = arguments_take(ctl, "plan", rows, shorts, &options, argc, argv, 0, 0, &words);

	if (!code && !options.file) {
		failure_set(&failure, FAILURE_INVALID, "ployzctl plan -f FILE",
			    "plan wants a manifest");
		code = session_say(&failure);
	} else if (!code) {
		code = plan_file(ctl, options.file);
	}
	config_clear(rows, &options);
	return MAX2(code, 0);
}
