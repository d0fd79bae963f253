/* Configuration files and command lines, and the small texts that stand in them: durations, sizes,
 * numbers, times, names.
 *
 * The first byte chooses; the rest is the text.
 *
 * covers: lib/config.c lib/str.c
 *
 * options: -max_len=400 */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/config.h"
#include "lib/str.h"
#include "tests/fuzz/fuzz.h"

#define WORDS_MAX 12

struct settings {
	char *bus;
	int64_t level;
	uint64_t wait, room;
	bool check;
	char **listen;
};

static const struct config_row rows[] = {
	{ "bus", CONFIG_STRING, offsetof(struct settings, bus), "nats://127.0.0.1:4222", "URL", "",
	  0, 0 },
	{ "log-level", CONFIG_INT, offsetof(struct settings, level), "6", "N", "", 0, 7 },
	{ "wait", CONFIG_DURATION, offsetof(struct settings, wait), "10s", "DURATION", "", 0, 0 },
	{ "room", CONFIG_SIZE, offsetof(struct settings, room), "64M", "SIZE", "", 0, 0 },
	{ "check", CONFIG_BOOL, offsetof(struct settings, check), NULL, NULL, "", 0, 0 },
	{ "listen", CONFIG_STRV, offsetof(struct settings, listen), "*:80", "ADDRESS:PORT", "", 0,
	  0 },
	CONFIG_END,
};

static void holds_settings(const struct settings *settings)
{
	HOLDS(settings->bus && settings->level >= 0 && settings->level <= 7);
	HOLDS(settings->wait <= INT64_MAX && settings->room <= INT64_MAX);
}

static void read_file(const uint8_t *data, size_t size, bool shared)
{
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;
	struct settings settings;
	char path[40];
	int fd = memfd_create("ployz.conf", MFD_CLOEXEC), r;

	HOLDS(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	config_init(rows, &settings);
	r = config_read(rows, &settings, path, shared, &failure);
	close(fd);
	HOLDS(r <= 0 && r != -ENOENT && !r == !failure_is_set(&failure));
	HOLDS(!r || str_starts(failure.message, path));
	holds_settings(&settings);
	config_clear(rows, &settings);
}

static void read_arguments(struct cursor *c)
{
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;
	char *words[WORDS_MAX + 1] = { (char *)"ployz" };
	struct settings settings;
	int count = 1, rest = -1, r;

	while (cursor_left(c) && count < WORDS_MAX)
		words[count++] = cursor_string(c);
	config_init(rows, &settings);
	r = config_arguments(rows, &settings, count, words, &rest, &failure);
	HOLDS(!r == !failure_is_set(&failure) && (r || (rest >= 1 && rest <= count)));
	holds_settings(&settings);
	config_clear(rows, &settings);
	while (count > 1)
		free(words[--count]);
}

/* What was read is written so that it is read back to the same. */
static void read_units(const char *text)
{
	_cleanup_free_ char *back = NULL, *human = NULL;
	uint64_t value, again;
	int64_t number;

	if (duration_parse(text, &value) == 0) {
		back = duration_format(value);
		human = duration_human(value);
		HOLDS(duration_parse(back, &again) == 0 && again == value && *human);
	} else if (size_parse(text, &value) == 0) {
		back = size_format(value);
		human = size_human(value);
		HOLDS(size_parse(back, &again) == 0 && again == value && *human);
	} else if (time_parse(text, &value) == 0) {
		back = time_format(value);
		HOLDS(time_parse(back, &again) == 0 && again / 1000 == value / 1000);
	}
	if (int_parse(text, -1000, 1000, &number) == 0)
		HOLDS(number >= -1000 && number <= 1000);
}

static void read_names(const char *text)
{
	static const char *const names[] = { "image", "replicas", "command", NULL };
	_cleanup_free_ char *valid = str_valid(text, strlen(text)), *cut = str_cut(valid, 20),
			    *joined = NULL;
	_cleanup_(strv_freep) char **parts = strv_split(text, ".,");
	const char *nearest = str_nearest(text, names);

	HOLDS(!name_valid(text) || (strlen(text) <= 63 && hostname_valid(text)));
	HOLDS(!hostname_valid(text) || strlen(text) <= 253);
	HOLDS(!nearest || strv_contains((char **)names, nearest));
	HOLDS(strlen(cut) <= 20 && strncmp(cut, valid, strlen(cut)) == 0);
	joined = strv_join(parts, "");
	HOLDS(strlen(joined) <= strlen(text) && !strpbrk(joined, ".,"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cursor c = { data, data + size };
	uint8_t which = cursor_byte(&c);
	_cleanup_free_ char *text = NULL;

	switch (which % 4) {
	case 0:
		read_file(c.at, cursor_left(&c), which & 4);
		break;
	case 1:
		read_arguments(&c);
		break;
	case 2:
		text = xstrndup((const char *)c.at, cursor_left(&c));
		read_units(text);
		break;
	case 3:
		text = xstrndup((const char *)c.at, cursor_left(&c));
		read_names(text);
		break;
	}
	return 0;
}
