/* Failpoints: while the directory PLOYZ_FAILPOINT has a file NAMESPACE.PHASE, a rollout of that
 * namespace waits before that phase and keeps its lease. A test can so stop a rollout at a phase
 * without depending on time. */
#include <stdlib.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "leased/leased.h"

static int on_removed(_unused_ sd_event_source *source, _unused_ const struct inotify_event *event,
		      void *userdata)
{
	struct leased *leased = userdata;
	struct execution *execution;

	LIST_FOREACH (execution, &leased->executions, entry)
		deferred_schedule(execution->poll);
	return 0;
}

int failpoint_start(struct leased *leased)
{
	const char *directory = getenv("PLOYZ_FAILPOINT");
	int r;

	if (!directory)
		return 0;
	r = sd_event_add_inotify(leased->daemon->loop, &leased->failpoint_watch, directory,
				 IN_DELETE | IN_MOVED_FROM, on_removed, leased);
	if (r < 0)
		return log_errno(LOG_ERR, r, "cannot watch PLOYZ_FAILPOINT %s", directory);
	leased->failpoints = directory;
	log_notice("failpoints enabled: PLOYZ_FAILPOINT is %s", directory);
	return 0;
}

bool failpoint_is_set(const struct leased *leased, const char *ns, const char *point)
{
	_cleanup_free_ char *path = NULL;

	if (!leased->failpoints)
		return false;
	path = xasprintf("%s/%s.%s", leased->failpoints, ns, point);
	return access(path, F_OK) == 0;
}
