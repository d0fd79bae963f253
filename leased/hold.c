/* Held for a test: while the directory that PLOYZ_HOLD names has a file NAMESPACE.STEP, a deploy of
 * that namespace waits before that step, its lease renewed meanwhile. So what happens at a phase is
 * tried at that phase, and not about when it might come. */
#include <stdlib.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "leased/leased.h"

static int on_removed(_unused_ sd_event_source *source, _unused_ const struct inotify_event *event,
		      void *userdata)
{
	struct leased *leased = userdata;

	for (size_t i = 0; i < leased->n_walks; i++)
		if (leased->walks[i]->held)
			walk_enter(leased->walks[i]);
	return 0;
}

int hold_start(struct leased *leased)
{
	const char *directory = getenv("PLOYZ_HOLD");
	int r;

	if (!directory)
		return 0;
	r = sd_event_add_inotify(leased->daemon->loop, &leased->hold_watch, directory,
				 IN_DELETE | IN_MOVED_FROM, on_removed, leased);
	if (r < 0)
		return log_errno(LOG_ERR, r, "PLOYZ_HOLD: cannot watch %s", directory);
	leased->hold = directory;
	log_notice("deploys can be held: PLOYZ_HOLD is %s", directory);
	return 0;
}

bool hold_wants(const struct leased *leased, const char *ns, const char *step)
{
	_cleanup_free_ char *path = NULL;

	if (!leased->hold)
		return false;
	path = xasprintf("%s/%s.%s", leased->hold, ns, step);
	return access(path, F_OK) == 0;
}
