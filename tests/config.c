#include "lib/config.h"
#include "lib/file.h"
#include "lib/str.h"

#include <errno.h>
#include <unistd.h>

#include "tests/tap.h"

struct settings {
	char *name;
	int64_t level;
	uint64_t wait, room;
	bool on;
	char **listen;
};

static const struct config_row rows[] = {
	{ "name", CONFIG_STRING, offsetof(struct settings, name), "nobody", "NAME", "who", 0, 0 },
	{ "level", CONFIG_INT, offsetof(struct settings, level), "3", "N", "how much", 0, 7 },
	{ "wait", CONFIG_DURATION, offsetof(struct settings, wait), "1s", "TIME", "how long", 0,
	  0 },
	{ "room", CONFIG_SIZE, offsetof(struct settings, room), NULL, "SIZE", "how large", 0, 0 },
	{ "on", CONFIG_BOOL, offsetof(struct settings, on), NULL, NULL, "whether", 0, 0 },
	{ "listen", CONFIG_STRV, offsetof(struct settings, listen), "*:80", "ADDRESS", "where", 0,
	  0 },
	CONFIG_END,
};

static const struct {
	const char *arguments; /* cut at blanks */
	const char *message;   /* NULL: good */
	const char *shown;     /* name level wait on listen… */
} lines[] = {
	{ "", NULL, "nobody 3 1s no *:80" },
	{ "--name=x --level 5 --on", NULL, "x 5 1s yes *:80" },
	{ "--on=no --wait 5m", NULL, "nobody 3 5m no *:80" },
	{ "--listen a:1 --listen b:2", NULL, "nobody 3 1s no a:1 b:2" },
	{ "--level 8", "level must be a number from 0 to 7, not '8'", NULL },
	{ "--level", "--level needs a value: N", NULL },
	{ "--nmae x", "--nmae is not a known option (did you mean --name?)", NULL },
	{ "--wait 5", "wait must be a duration such as 500ms, 10s or 5m, not '5'", NULL },
	{ "--room 5MB", "room must be a size such as 64M or 2G, not '5MB'", NULL },
	{ "--on=maybe", "on must be yes or no, not 'maybe'", NULL },
};

static char *show(const struct settings *s)
{
	_cleanup_free_ char *listen = strv_join(s->listen, " "), *wait = duration_format(s->wait);

	return xasprintf("%s %lld %s %s %s", s->name, (long long)s->level, wait,
			 s->on ? "yes" : "no", listen);
}

static void test_arguments(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		_cleanup_free_ char *all = xasprintf("program %s", lines[i].arguments),
				    *shown = NULL;
		_cleanup_(strv_freep) char **argv = strv_split(all, " ");
		struct failure failure = FAILURE_INIT;
		struct settings settings;
		int rest, r;

		config_init(rows, &settings);
		r = config_arguments(rows, &settings, (int)strv_count(argv), argv, &rest, &failure);
		is(failure.message, lines[i].message, all);
		if (r == 0) {
			shown = show(&settings);
			is(shown, lines[i].shown, "  gives these values");
		}
		config_clear(rows, &settings);
		failure_clear(&failure);
	}
}

static const struct {
	const char *text;
	bool shared;
	const char *message;
	const char *shown;
} files[] = {
	{ "# nothing\n\nname = x y \nlevel=1\n", false, NULL, "x y 1 1s no *:80" },
	{ "listen = a\nlisten = b # two\n", false, NULL, "nobody 3 1s no a b" },
	{ "other = 1\n", true, NULL, "nobody 3 1s no *:80" },
	{ "nam = 1\n", false, ":1: nam is not a known option (did you mean name?)", NULL },
	{ "\nname\n", false, ":2: expected `key = value`, not 'name'", NULL },
	{ "level = 99\n", true, ":1: level must be a number from 0 to 7, not '99'", NULL },
};

static void test_files(void)
{
	char path[] = "/tmp/ployz-config-XXXXXX";
	int fd = mkstemp(path);

	close(fd);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		struct failure failure = FAILURE_INIT;
		_cleanup_free_ char *shown = NULL;
		struct settings settings;
		int r;

		file_write_atomic(path, files[i].text, strlen(files[i].text), 0600);
		config_init(rows, &settings);
		r = config_read(rows, &settings, path, files[i].shared, &failure);
		is(failure.message ? failure.message + strlen(path) : NULL, files[i].message,
		   files[i].text);
		if (r == 0) {
			shown = show(&settings);
			is(shown, files[i].shown, "  gives these values");
		}
		config_clear(rows, &settings);
		failure_clear(&failure);
	}
	unlink(path);
	is_int(config_read(rows, &(struct settings){ 0 }, path, false, NULL), -ENOENT,
	       "a file that is not there is told apart");
}

int main(void)
{
	test_arguments();
	test_files();
	return tap_done();
}
