/* save: a file is written while the loop runs, and whole when the callback is called. */
#include "dnsd/dnsd.h"
#include "tests/tap.h"

#include <unistd.h>

struct result {
	sd_event *loop;
	int calls, error;
};

static void on_saved(int error, void *userdata)
{
	struct result *result = userdata;

	result->calls++;
	result->error = error;
	sd_event_exit(result->loop, 0);
}

static void is_file(const char *path, const char *expected, const char *what)
{
	_cleanup_free_ char *text = NULL;

	file_read(path, 1000, &text, NULL);
	is(text, expected, what);
}

static void save_text(const char *path, const char *text, struct result *result, bool wait)
{
	struct save *save;

	*result = (struct result){ 0 };
	sd_event_new(&result->loop);
	save = save_new(result->loop, path, on_saved, result);
	is(save_path(save), path, "its path");
	ok(!save_is_running(save), "nothing runs before it is started");
	save_start(save, xstrdup(text), strlen(text));
	ok(save_is_running(save), "it runs until the callback");
	ok(!result->calls, "which is not called from inside");
	if (wait) {
		sd_event_loop(result->loop);
		ok(!save_is_running(save), "it has ended");
		is_int(result->calls, 1, "one call");
	}
	save_free(save);
	sd_event_unref(result->loop);
}

int main(void)
{
	char directory[] = "/tmp/dnsd-save.XXXXXX";
	_cleanup_free_ char *path = NULL, *missing = NULL;
	struct result result;

	if (!mkdtemp(directory))
		return 1;
	path = xasprintf("%s/view", directory);
	missing = xasprintf("%s/none/view", directory);
	save_text(path, "first", &result, true);
	is_int(result.error, 0, "written");
	is_file(path, "first", "the file");
	save_text(path, "second", &result, false);
	is_int(result.calls, 0, "freed while it runs: no callback");
	is_file(path, "second", "but the file is whole");
	save_text(missing, "third", &result, true);
	is_int(result.error, -ENOENT, "a directory that is missing");
	unlink(path);
	rmdir(directory);
	return tap_done();
}
