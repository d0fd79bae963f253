/* The command line: verbs of one word and two, options anywhere, short and long, own and global. */
#include "ployzctl/ployzctl.h"
#include "tests/tap.h"

struct options {
	char *file;
	bool yes;
	int64_t number;
};
static const struct config_row rows[] = {
	{ "file", CONFIG_STRING, offsetof(struct options, file), NULL, "FILE", "a file", 0, 0 },
	{ "yes", CONFIG_BOOL, offsetof(struct options, yes), NULL, NULL, "do not ask", 0, 0 },
	{ "number", CONFIG_INT, offsetof(struct options, number), "7", "N", "a number", -1, 99 },
	CONFIG_END,
};
static const struct short_option shorts[] = {
	{ 'f', "file" }, { 'y', "yes" }, { 'n', "number" }, { 0, NULL }
};

static const struct {
	const char *typed; /* separated by blanks */
	const char *words; /* joined by a comma; NULL: refused */
	const char *file;
	bool yes, json;
	int64_t number;
	const char *machine;
} lines[] = {
	{ "v", "", NULL, false, false, 7, NULL },
	{ "v a b", "a,b", NULL, false, false, 7, NULL },
	{ "v -f x", "", "x", false, false, 7, NULL },
	{ "v -fx", "", "x", false, false, 7, NULL },
	{ "v --file x", "", "x", false, false, 7, NULL },
	{ "v --file=x", "", "x", false, false, 7, NULL },
	{ "v -f -", "", "-", false, false, 7, NULL },
	{ "v a --yes b -f x", "a,b", "x", true, false, 7, NULL },
	{ "v a -y b", "a,b", NULL, true, false, 7, NULL },
	{ "v a --json", "a", NULL, false, true, 7, NULL },
	{ "v --machine m1 a --json -y", "a", NULL, true, true, 7, "m1" },
	{ "v --machine=m1 a", "a", NULL, false, false, 7, "m1" },
	{ "v --number -1 a", "a", NULL, false, false, -1, NULL },
	{ "v -n 12", "", NULL, false, false, 12, NULL },
	{ "v -- --yes -f", "--yes,-f", NULL, false, false, 7, NULL },
	{ "v -", "-", NULL, false, false, 7, NULL },
	{ "v -f", NULL, NULL, false, false, 7, NULL },
	{ "v --file", NULL, NULL, false, false, 7, NULL },
	{ "v --sideways", NULL, NULL, false, false, 7, NULL },
	{ "v -s", NULL, NULL, false, false, 7, NULL },
	{ "v -yes", NULL, NULL, false, false, 7, NULL },
	{ "v --number 100", NULL, NULL, false, false, 7, NULL },
	{ "v --number=many", NULL, NULL, false, false, 7, NULL },
	{ "v --machine", NULL, NULL, false, false, 7, NULL },
};

static void test_line(size_t i)
{
	_cleanup_(strv_freep) char **typed = strv_split(lines[i].typed, " ");
	_cleanup_(strv_freep) char **words = NULL;
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;
	struct global_options global = { 0 };
	struct options options;
	_cleanup_free_ char *joined = NULL;
	int r;

	config_init(global_rows, &global);
	config_init(rows, &options);
	r = arguments_parse(&global, rows, shorts, &options, (int)strv_count(typed), typed, &words,
			    &failure);
	if (!lines[i].words) {
		ok(r < 0 && failure.message, "refused: %s", lines[i].typed);
	} else {
		joined = strv_join(words, ",");
		is(joined ? joined : "", lines[i].words, lines[i].typed);
		is(options.file, lines[i].file, "its file");
		is(global.machine, lines[i].machine, "its machine");
		ok(options.yes == lines[i].yes && global.json == lines[i].json &&
			   options.number == lines[i].number,
		   "its flags and number");
	}
	config_clear(rows, &options);
	config_clear(global_rows, &global);
}

static const struct {
	const char *typed, *verb;
	int used;
} matches[] = {
	{ "plan", "plan", 1 },
	{ "plan -f x", "plan", 1 },
	{ "deploy", "deploy", 1 },
	{ "deploy -f x", "deploy", 1 },
	{ "deploy ls", "deploy ls", 2 },
	{ "deploy ls shop", "deploy ls", 2 },
	{ "deploy nothing", "deploy", 1 },
	{ "deploy sweep", "deploy sweep", 2 },
	{ "deploy cancel x", "deploy cancel", 2 },
	{ "rollback shop --to 3", "rollback", 1 },
	{ "diff shop 1 2", "diff", 1 },
	{ "init blue", "init", 1 },
	{ "store usage", "store usage", 2 },
	{ "store", NULL, 0 },
	{ "ns rm shop", "ns rm", 2 },
	{ "ns", NULL, 0 },
	{ "ns dance", NULL, 0 },
	{ "dance", NULL, 0 },
	{ "schema lease", "schema", 1 },
};

static void test_verbs(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(matches); i++) {
		_cleanup_(strv_freep) char **typed = strv_split(matches[i].typed, " ");
		int used = 0;
		const struct verb *verb = verb_match((int)strv_count(typed), typed, &used);

		is(verb ? verb->name : NULL, matches[i].verb, matches[i].typed);
		is_int(used, matches[i].used, "its number of words");
	}
	for (size_t i = 0; i < n_verbs; i++)
		ok(verb_find(verbs[i].name) == &verbs[i] && verbs[i].run && *verbs[i].summary,
		   "%s is listed once, with a summary and a function", verbs[i].name);
}

int main(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		test_line(i);
	test_verbs();
	return tap_done();
}
