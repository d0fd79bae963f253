/* Configuration: one row per option, used for the command line, the configuration file, the
 * defaults and --help. */
#ifndef PLOYZ_CONFIG_H
#define PLOYZ_CONFIG_H

#include <stdio.h>

#include "lib/failure.h"

enum config_type {
	CONFIG_STRING,	 /* char * */
	CONFIG_INT,	 /* int64_t within [min, max] */
	CONFIG_DURATION, /* uint64_t microseconds */
	CONFIG_SIZE,	 /* uint64_t bytes */
	CONFIG_BOOL,	 /* bool: a flag on the command line, yes/no in the file */
	CONFIG_STRV,	 /* char **: may be given several times */
};

struct config_row {
	const char *key; /* `--key` and `key = value` in the file */
	enum config_type type;
	size_t offset;
	const char *initial;  /* the default, as text; NULL: none */
	const char *argument; /* name of its value in --help: `URL` */
	const char *note;     /* one line for --help */
	int64_t min, max;     /* CONFIG_INT */
};
#define CONFIG_END          \
	{                   \
		.key = NULL \
	}

/* Fills `config` with the defaults of its rows. */
void config_init(const struct config_row *rows, void *config);
void config_clear(const struct config_row *rows, void *config);
/* Reads lines of `key = value`; `#` begins a comment. Keys without a row are ignored when `shared`
 * (the file serves several daemons), refused otherwise, with the nearest known one. 0, -ENOENT when
 * there is no such file, or another negative errno with `failure` set (its message has file:line).
 */
int config_read(const struct config_row *rows, void *config, const char *path, bool shared,
		struct failure *failure);
/* Sets one value from text. 0 or -EINVAL with `failure` set. */
int config_set(const struct config_row *rows, void *config, const char *key, const char *value,
	       struct failure *failure);
/* Takes `--key value`, `--key=value` from argv and leaves the rest: *ret_rest is the index of the
 * first word that is no option (after `--` too). 0 or -EINVAL with `failure` set. */
int config_arguments(const struct config_row *rows, void *config, int argc, char **argv,
		     int *ret_rest, struct failure *failure);
/* The rows as the lines of --help. */
void config_help(const struct config_row *rows, FILE *to);

#endif
