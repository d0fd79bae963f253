/* Arguments: parses the verb, its options anywhere among its arguments, and the global options. */
#include "ployzctl/ployzctl.h"

const struct verb *verb_find(const char *name)
{
	for (size_t i = 0; i < n_verbs; i++)
		if (streq(verbs[i].name, name))
			return &verbs[i];
	return NULL;
}

const struct verb *verb_match(int argc, char **argv, int *ret_used)
{
	for (int words = MIN2(argc, 2); words > 0; words--) {
		_cleanup_free_ char *name =
			words == 2 ? xasprintf("%s %s", argv[0], argv[1]) : xstrdup(argv[0]);
		const struct verb *verb = verb_find(name);

		if (verb) {
			*ret_used = words;
			return verb;
		}
	}
	return NULL;
}

static const struct config_row *row_find(const struct config_row *rows, const char *key)
{
	size_t length = strcspn(key, "=");

	for (; rows && rows->key; rows++)
		if (strlen(rows->key) == length && strncmp(rows->key, key, length) == 0)
			return rows;
	return NULL;
}

static const char *short_key(const struct short_option *shorts, char letter)
{
	for (; shorts && shorts->letter; shorts++)
		if (shorts->letter == letter)
			return shorts->key;
	return NULL;
}

/* `-f` becomes `--file`; `-fX` becomes `--file=X`. NULL: no such letter. */
static char *lengthen(const struct short_option *shorts, const struct config_row *rows,
		      const char *word)
{
	const char *key = short_key(shorts, word[1]);
	const struct config_row *row = key ? row_find(rows, key) : NULL;

	if (!row || (row->type == CONFIG_BOOL && word[2]))
		return NULL;
	return word[2] ? xasprintf("--%s=%s", key, word + 2) : xasprintf("--%s", key);
}

static int apply(const struct config_row *rows, void *config, char **options,
		 struct failure *failure)
{
	int rest;

	return config_arguments(rows, config, (int)strv_count(options), options, &rest, failure);
}

int arguments_parse(struct global_options *global, const struct config_row *rows,
		    const struct short_option *shorts, void *config, int argc, char **argv,
		    char ***ret_words, struct failure *failure)
{
	static const struct config_row none[] = { CONFIG_END };
	_cleanup_(strv_freep) char **own = NULL, **common = NULL, **words = NULL;
	bool plain = false;
	int r;

	strv_push(&own, xstrdup(""));
	strv_push(&common, xstrdup(""));
	for (int i = 1; i < argc; i++) {
		_cleanup_free_ char *option = NULL;
		const struct config_row *row;
		char ***to = &own;

		if (plain || argv[i][0] != '-' || !argv[i][1]) {
			strv_push(&words, xstrdup(argv[i]));
			continue;
		}
		if (streq(argv[i], "--")) {
			plain = true;
			continue;
		}
		option = argv[i][1] == '-' ? xstrdup(argv[i]) : lengthen(shorts, rows, argv[i]);
		if (!option)
			return failure_set(failure, FAILURE_INVALID, NULL,
					   "cannot use option '%s': unknown option", argv[i]);
		row = row_find(rows, option + 2);
		if (!row) {
			row = row_find(global_rows, option + 2);
			to = row ? &common : &own;
		}
		/* Unknown options are kept: config_arguments refuses them and names the nearest. */
		strv_push(to, steal(option));
		if (row && row->type != CONFIG_BOOL && !strchr(argv[i], '=') &&
		    (argv[i][1] == '-' || !argv[i][2]) && i + 1 < argc)
			strv_push(to, xstrdup(argv[++i]));
	}
	r = apply(rows ? rows : none, config, own, failure);
	if (r >= 0)
		r = apply(global_rows, global, common, failure);
	if (r < 0)
		return r;
	*ret_words = steal(words);
	return 0;
}

static void print_usage(const struct verb *verb, const struct config_row *rows, FILE *to)
{
	fprintf(to, "Usage: ployzctl %s%s%s\n\n%s.\n", verb->name, *verb->arguments ? " " : "",
		verb->arguments, verb->summary);
	if (rows && rows->key) {
		fputs("\n", to);
		config_help(rows, to);
	}
}

int arguments_take(struct ployzctl *ctl, const char *name, const struct config_row *rows,
		   const struct short_option *shorts, void *config, int argc, char **argv,
		   size_t min, size_t max, char ***ret_words)
{
	const struct verb *verb = verb_find(name);
	_cleanup_(strv_freep) char **words = NULL;
	_cleanup_free_ char *hint = xasprintf("run `ployzctl %s --help`", name);
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;
	size_t n;

	if (rows)
		config_init(rows, config);
	if (arguments_parse(&ctl->options, rows, shorts, config, argc, argv, &words, &failure) <
	    0) {
		if (!failure.hint)
			failure.hint = steal(hint);
		return session_report(&failure);
	}
	if (ctl->options.help) {
		print_usage(verb, rows, stdout);
		return -1;
	}
	n = strv_count(words);
	if (n < min || n > max)
		return session_refuse(FAILURE_INVALID, hint,
				      "cannot run `%s`: %s (usage: ployzctl %s %s)", name,
				      n < min ? "an argument is missing" : "too many arguments",
				      name, verb->arguments);
	*ret_words = steal(words);
	return 0;
}

int revision_argument(const char *word, int64_t *ret)
{
	if (int_parse(word, 1, INT64_MAX, ret) == 0)
		return 0;
	return session_refuse(FAILURE_INVALID, "run `ployzctl ns history NS`",
			      "cannot read revision '%s': not a whole number from 1", word);
}

int namespace_argument(const char *word)
{
	if (name_valid(word))
		return 0;
	return session_refuse(FAILURE_INVALID, "run `ployzctl ns ls`",
			      "cannot use namespace '%s': not a valid name", word);
}

int deploy_argument(const char *word)
{
	if (name_valid(word))
		return 0;
	return session_refuse(FAILURE_INVALID, "run `ployzctl deploy ls`",
			      "cannot use deploy '%s': not a valid id", word);
}
