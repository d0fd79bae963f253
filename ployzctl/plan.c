/* `ployzctl plan`: what a deploy would do, and why. */
#include "ployzctl/ployzctl.h"

/* --- the request */

struct planning {
	struct ployzctl *ctl;
	plan_fn fn;
	void *userdata;
};

static void on_plan(const struct failure *failure, void *answer, void *userdata)
{
	struct planning *planning = userdata;

	if (failure)
		session_fail(planning->ctl, failure);
	else
		planning->fn(answer, planning->userdata);
	free(planning);
}

void plan_request(struct ployzctl *ctl, const struct manifest *manifest,
		  const struct pairs *digests, plan_fn fn, void *userdata)
{
	struct planning *planning = xcalloc(1, sizeof(*planning));
	struct plan_request request = { .manifest = (struct manifest *)manifest };

	*planning = (struct planning){ ctl, fn, userdata };
	if (digests)
		request.digests = *digests;
	bus_ask(ctl->bus, SUBJECT_PLAN, ctl->machine, &request, PLAN_USEC, on_plan, planning, NULL);
}

/* --- the verb */

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
	int code = manifest_file_read(file, &manifest);

	if (!code)
		code = session_open(ctl);
	if (code)
		return code;
	plan_request(ctl, manifest, NULL, on_planned, ctl);
	return session_run(ctl);
}

int verb_plan(struct ployzctl *ctl, int argc, char **argv)
{
	_cleanup_(strv_freep) char **words = NULL;
	struct plan_options options;
	int code = arguments_take(ctl, "plan", rows, shorts, &options, argc, argv, 0, 0, &words);

	if (!code && !options.file)
		code = session_refuse(FAILURE_INVALID, "give -f FILE",
				      "cannot plan: no manifest is given");
	else if (!code)
		code = plan_file(ctl, options.file);
	config_clear(rows, &options);
	return MAX2(code, 0);
}
