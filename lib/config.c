/* Configuration: defaults, file and command line into a struct, by its rows. */
#include "lib/config.h"

#include <ctype.h>
#include <errno.h>

#include "lib/file.h"
#include "lib/str.h"

#define CONFIG_FILE_MAX (256 * 1024)

static const struct config_row *find(const struct config_row *rows, const char *key, size_t length)
{
	for (; rows->key; rows++)
		if (strlen(rows->key) == length && strncmp(rows->key, key, length) == 0)
			return rows;
	return NULL;
}

static int unknown(const struct config_row *rows, const char *dashes, const char *key,
		   struct failure *failure)
{
	const char *names[64];
	const char *nearest;
	size_t n = 0;

	for (; rows->key && n < ARRAY_SIZE(names) - 1; rows++)
		names[n++] = rows->key;
	names[n] = NULL;
	nearest = str_nearest(key, names);
	return failure_set(failure, FAILURE_INVALID, "--help lists them",
			   "%s%s is not a known option%s%s%s%s", dashes, key,
			   nearest ? " (did you mean " : "", nearest ? dashes : "",
			   nearest ? nearest : "", nearest ? "?)" : "");
}

static int row_set(const struct config_row *row, void *config, const char *value,
		   struct failure *failure)
{
	void *at = (char *)config + row->offset;
	int r = 0;

	switch (row->type) {
	case CONFIG_STRING:
		free(*(char **)at);
		*(char **)at = xstrdup(value);
		return 0;
	case CONFIG_STRV:
		strv_push(at, xstrdup(value));
		return 0;
	case CONFIG_INT:
		r = int_parse(value, row->min, row->max, at);
		if (r < 0)
			return failure_set(failure, FAILURE_INVALID, NULL,
					   "%s must be a number from %lld to %lld, not '%s'",
					   row->key, (long long)row->min, (long long)row->max,
					   value);
		return 0;
	case CONFIG_DURATION:
		r = duration_parse(value, at);
		if (r < 0)
			return failure_set(
				failure, FAILURE_INVALID, NULL,
				"%s must be a duration such as 500ms, 10s or 5m, not '%s'",
				row->key, value);
		return 0;
	case CONFIG_SIZE:
		r = size_parse(value, at);
		if (r < 0)
			return failure_set(failure, FAILURE_INVALID, NULL,
					   "%s must be a size such as 64M or 2G, not '%s'",
					   row->key, value);
		return 0;
	case CONFIG_BOOL:
		if (streq(value, "yes") || streq(value, "no")) {
			*(bool *)at = streq(value, "yes");
			return 0;
		}
		return failure_set(failure, FAILURE_INVALID, NULL, "%s must be yes or no, not '%s'",
				   row->key, value);
	}
	return 0;
}

void config_init(const struct config_row *rows, void *config)
{
	for (; rows->key; rows++) {
		void *at = (char *)config + rows->offset;

		switch (rows->type) {
		case CONFIG_STRING:
		case CONFIG_STRV:
			*(void **)at = NULL;
			break;
		case CONFIG_INT:
			*(int64_t *)at = 0;
			break;
		case CONFIG_DURATION:
		case CONFIG_SIZE:
			*(uint64_t *)at = 0;
			break;
		case CONFIG_BOOL:
			*(bool *)at = false;
			break;
		}
		if (rows->initial)
			row_set(rows, config, rows->initial, NULL);
	}
}

void config_clear(const struct config_row *rows, void *config)
{
	for (; rows->key; rows++) {
		void *at = (char *)config + rows->offset;

		if (rows->type == CONFIG_STRING)
			free(steal(*(char **)at));
		if (rows->type == CONFIG_STRV)
			strv_free(steal(*(char ***)at));
	}
}

/* A list's first value from a new source replaces the values of an earlier one: of the default or
 * of the file. */
static void list_begin(const struct config_row *row, void *config, uint64_t *begun,
		       const struct config_row *rows)
{
	uint64_t bit = 1ull << ((size_t)(row - rows) % 64);

	if (row->type != CONFIG_STRV || (*begun & bit))
		return;
	*begun |= bit;
	strv_free(steal(*(char ***)((char *)config + row->offset)));
}

int config_set(const struct config_row *rows, void *config, const char *key, const char *value,
	       struct failure *failure)
{
	const struct config_row *row = find(rows, key, strlen(key));

	if (!row)
		return unknown(rows, "", key, failure);
	return row_set(row, config, value, failure);
}

static char *trim(char *s)
{
	size_t n;

	while (isspace((unsigned char)*s))
		s++;
	for (n = strlen(s); n > 0 && isspace((unsigned char)s[n - 1]); n--)
		s[n - 1] = '\0';
	return s;
}

static int line_set(const struct config_row *rows, void *config, char *line, bool shared,
		    uint64_t *begun, struct failure *failure)
{
	const struct config_row *row;
	char *equals, *key;

	line[strcspn(line, "#")] = '\0';
	line = trim(line);
	if (!*line)
		return 0;
	equals = strchr(line, '=');
	if (!equals)
		return failure_set(failure, FAILURE_INVALID, NULL,
				   "expected `key = value`, not '%s'", line);
	*equals = '\0';
	key = trim(line);
	row = find(rows, key, strlen(key));
	if (!row)
		return shared ? 0 : unknown(rows, "", key, failure);
	list_begin(row, config, begun, rows);
	return row_set(row, config, trim(equals + 1), failure);
}

int config_read(const struct config_row *rows, void *config, const char *path, bool shared,
		struct failure *failure)
{
	_cleanup_free_ char *text = NULL;
	uint64_t begun = 0;
	unsigned number = 1;
	int r;

	r = file_read(path, CONFIG_FILE_MAX, &text, NULL);
	if (r == -ENOENT)
		return r;
	if (r < 0) {
		failure_set(failure, FAILURE_INVALID, NULL, "cannot read %s: %s", path,
			    strerror(-r));
		return r;
	}
	for (char *line = text, *next; line; line = next, number++) {
		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		r = line_set(rows, config, line, shared, &begun, failure);
		if (r < 0) {
			failure_set(failure, FAILURE_INVALID, failure->hint, "%s:%u: %s", path,
				    number, failure->message);
			return r;
		}
	}
	return 0;
}

int config_arguments(const struct config_row *rows, void *config, int argc, char **argv,
		     int *ret_rest, struct failure *failure)
{
	uint64_t begun = 0;
	int i;

	for (i = 1; i < argc && str_starts(argv[i], "--"); i++) {
		const char *key = argv[i] + 2, *value = strchr(key, '=');
		size_t length = value ? (size_t)(value - key) : strlen(key);
		const struct config_row *row = find(rows, key, length);
		int r;

		if (!length) {
			i++;
			break;
		}
		if (!row) {
			_cleanup_free_ char *name = xstrndup(key, length);

			return unknown(rows, "--", name, failure);
		}
		if (row->type == CONFIG_BOOL && !value) {
			value = "yes";
		} else if (value) {
			value++;
		} else if (i + 1 < argc) {
			value = argv[++i];
		} else {
			return failure_set(failure, FAILURE_INVALID, NULL, "--%s needs a value: %s",
					   row->key, row->argument ? row->argument : "VALUE");
		}
		list_begin(row, config, &begun, rows);
		r = row_set(row, config, value, failure);
		if (r < 0)
			return r;
	}
	*ret_rest = i;
	return 0;
}

void config_help(const struct config_row *rows, FILE *to)
{
	for (; rows->key; rows++) {
		_cleanup_free_ char *left =
			xasprintf("--%s%s%s", rows->key, rows->argument ? " " : "",
				  rows->argument ? rows->argument : "");

		fprintf(to, "  %-28s %s%s%s%s\n", left, rows->note,
			rows->initial ? " (default " : "", rows->initial ? rows->initial : "",
			rows->initial ? ")" : "");
	}
}
