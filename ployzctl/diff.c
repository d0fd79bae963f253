/* `ployzctl diff`: what two revisions of a namespace run differently. */
#include "ployzctl/ployzctl.h"
#include "ployzctl/pure.h"

struct diff {
	struct ployzctl *ctl;
	const char *ns;
};

static void print_json(const struct diff *diff, const struct differences *differences)
{
	for (size_t i = 0; i < differences->count; i++) {
		const struct difference *d = &differences->items[i];

		session_json_value(json_pack("{s:s, s:s, s:s*, s:s*, s:s*}", "namespace", diff->ns,
					     "part", d->part, "field", d->field, "from", d->from,
					     "to", d->to));
	}
}

static void print_text(const struct diff *diff, const struct revision *revisions,
		       const struct differences *differences)
{
	_cleanup_free_ char *text = differences_text(differences);

	printf("namespace %s: revision %lld (deploy %s) to revision %lld (deploy %s)\n%s", diff->ns,
	       (long long)revisions[0].number, revisions[0].deploy ? revisions[0].deploy : "-",
	       (long long)revisions[1].number, revisions[1].deploy ? revisions[1].deploy : "-",
	       text);
}

/* A revision without a manifest has no services; one whose manifest was dropped is unknown. */
static bool kept(const struct diff *diff, const struct revision *revision)
{
	_cleanup_free_ char *hint = xasprintf("run `ployzctl ns history %s`", diff->ns);

	if (revision->content || !revision->release)
		return true;
	session_end(diff->ctl, session_refuse(FAILURE_NOT_FOUND, hint,
					      "cannot compare revision %lld of namespace %s: its "
					      "manifest is not kept any more",
					      (long long)revision->number, diff->ns));
	return false;
}

static void on_revisions(struct revision *revisions, _unused_ size_t count, void *userdata)
{
	const struct diff *diff = userdata;
	_cleanup_(differences_clear) struct differences differences = { NULL, 0 };

	if (!kept(diff, &revisions[0]) || !kept(diff, &revisions[1]))
		return;
	release_diff(revisions[0].content, revisions[1].content, &differences);
	if (diff->ctl->options.json)
		print_json(diff, &differences);
	else
		print_text(diff, revisions, &differences);
	session_end(diff->ctl, differences.count ? EXIT_NO : EXIT_DONE);
}

int verb_diff(struct ployzctl *ctl, int argc, char **argv)
{
	_cleanup_(strv_freep) char **words = NULL;
	struct diff diff = { .ctl = ctl };
	int64_t wanted[2] = { 0, REVISION_CURRENT };
	int code = arguments_take(ctl, "diff", NULL, NULL, NULL, argc, argv, 2, 3, &words);

	if (!code)
		code = namespace_argument(words[0]);
	for (size_t i = 1; !code && words[i]; i++)
		code = revision_argument(words[i], &wanted[i - 1]);
	if (!code)
		code = session_open(ctl);
	if (code)
		return MAX2(code, 0);
	diff.ns = words[0];
	revisions_read(ctl, diff.ns, wanted, 2, on_revisions, &diff);
	return session_run(ctl);
}
