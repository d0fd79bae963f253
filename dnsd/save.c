/* Save: writes a file durably on a thread of its own, because fsync blocks for milliseconds in
 * which the resolver would not answer. */
#include "dnsd/dnsd.h"

#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct save {
	char *path;
	save_fn fn;
	void *userdata;
	sd_event_source *source;
	int event; /* eventfd: the write has ended */
	bool running;
	bool threaded; /* `thread` is to be joined */
	pthread_t thread;
	/* The thread's while it runs, afterwards the loop's: */
	char *text;
	size_t size;
	int result;
};

static void *write_file(void *arg)
{
	struct save *save = arg;
	const uint64_t one = 1;

	save->result = file_write_atomic(save->path, save->text, save->size, 0600);
	/* The counter cannot overflow: it is read before the next write starts. */
	if (write(save->event, &one, sizeof(one)) < 0)
		log_debug("cannot wake the loop: %s", strerror(errno));
	return NULL;
}

static void finish(struct save *save)
{
	if (save->threaded)
		pthread_join(save->thread, NULL);
	save->threaded = save->running = false;
	free(steal(save->text));
}

static int on_event(_unused_ sd_event_source *source, int fd, _unused_ uint32_t events,
		    void *userdata)
{
	struct save *save = userdata;
	uint64_t count;

	if (read(fd, &count, sizeof(count)) < 0)
		return 0;
	finish(save);
	save->fn(save->result, save->userdata);
	return 0;
}

struct save *save_new(sd_event *loop, const char *path, save_fn fn, void *userdata)
{
	struct save *save = xcalloc(1, sizeof(*save));

	save->path = xstrdup(path);
	save->fn = fn;
	save->userdata = userdata;
	save->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (save->event >= 0 &&
	    sd_event_add_io(loop, &save->source, save->event, EPOLLIN, on_event, save) < 0) {
		close(save->event);
		save->event = -1;
	}
	if (save->event < 0) {
		save_free(save);
		return NULL;
	}
	return save;
}

void save_start(struct save *save, char *text, size_t size)
{
	save->running = true;
	save->text = text;
	save->size = size;
	save->threaded = pthread_create(&save->thread, NULL, write_file, save) == 0;
	/* Without a thread the loop waits. */
	if (!save->threaded)
		write_file(save);
}

bool save_is_running(const struct save *save)
{
	return save->running;
}

const char *save_path(const struct save *save)
{
	return save->path;
}

void save_free(struct save *save)
{
	if (!save)
		return;
	finish(save);
	sd_event_source_disable_unref(save->source);
	if (save->event >= 0)
		close(save->event);
	free(save->path);
	free(save);
}
