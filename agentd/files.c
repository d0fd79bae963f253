/* Files: a service's small files, written for its container to mount; and the limits of this
 * process. */
#include "agentd/agentd.h"

#include <dirent.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

char *files_directory(const struct agentd *agentd, const char *instance)
{
	return xasprintf("%s/files/%s", agentd->config->daemon.state, instance);
}

int files_write(const struct agentd *agentd, const char *instance, const struct pairs *files,
		struct failure *failure)
{
	_cleanup_free_ char *directory = files_directory(agentd, instance);
	int r = 0;

	if (files->count == 0)
		return 0;
	r = directory_make(directory, 0755);
	for (size_t i = 0; i < files->count && r >= 0; i++) {
		_cleanup_free_ char *path = xasprintf("%s/%zu", directory, i);

		r = file_write_atomic(path, files->items[i].value, strlen(files->items[i].value),
				      0444);
	}
	if (r < 0)
		return failure_set(failure, FAILURE_FAILED, NULL,
				   "cannot write its files under %s: %s%s", directory, strerror(-r),
				   r == -ENOSPC ? "; free space on that disk of the machine" : "");
	return 0;
}

void files_remove(const struct agentd *agentd, const char *instance)
{
	_cleanup_free_ char *directory = files_directory(agentd, instance);
	DIR *entries = opendir(directory);
	struct dirent *entry;

	if (!entries)
		return;
	while ((entry = readdir(entries)))
		if (entry->d_name[0] != '.')
			unlinkat(dirfd(entries), entry->d_name, 0);
	closedir(entries);
	rmdir(directory);
}

/* Podman lowers its own limits (processes to 32768), and where it may not raise them again it can
 * give no more than it has. */
#define NOFILE_MAX 1048576
#define NPROC_MAX 32768

static uint64_t limit_of(int resource, uint64_t most)
{
	struct rlimit limit = { 0, 0 };

	if (getrlimit((__rlimit_resource_t)resource, &limit) < 0 || limit.rlim_max == RLIM_INFINITY)
		return most;
	return MIN2(limit.rlim_max, most);
}

void container_context_fill(const struct agentd *agentd, struct container_context *context)
{
	*context = (struct container_context){
		.machine = agentd->config->daemon.machine,
		.network = agentd->config->network,
		.bridge_address = agentd->network.address,
		.publish_address = agentd->config->publish_address,
		.files = "",
		.podman = agentd->engine->podman,
		.nofile = limit_of(RLIMIT_NOFILE, NOFILE_MAX),
		.nproc = limit_of(RLIMIT_NPROC, NPROC_MAX),
	};
}
