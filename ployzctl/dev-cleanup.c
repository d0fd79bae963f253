/* Removes what `ployzctl dev` must not leave behind: files that are valid only while it runs, and
 * what its own engine makes outside dev's directory. */
#include <ftw.h>
#include <mntent.h>
#include <stdio.h>
#include <sys/mount.h>
#include <unistd.h>

#include "ployzctl/dev.h"

#define MOUNTS "/proc/self/mounts"

/* In <dir>/run, by name: other programs may use the directory that --dir names. The servers'
 * configuration has passwords. */
static const char *const rendered[] = {
	"operator.conf",      "notify",	      "nats.conf",	     "store.conf",  "haproxy.cfg",
	"haproxy-routes.map", "haproxy.sock", "haproxy-master.sock", "docker.sock", "dockerd.pid"
};

/* dockerd and containerd make these in addition to the directories that they are given. */
static const char *const engine_places[] = { "/run/containerd/s", "/run/containerd",
					     "/run/docker/plugins", "/run/docker" };

bool dev_has_cgroups(void)
{
	FILE *mounts = setmntent(MOUNTS, "r");
	const struct mntent *mount;
	bool found = false;

	while (mounts && !found && (mount = getmntent(mounts)))
		found = str_starts(mount->mnt_type, "cgroup");
	if (mounts)
		endmntent(mounts);
	return found;
}

static void note(struct dev *dev, char *path)
{
	if (access(path, F_OK) < 0)
		strv_push(&dev->leftovers, path);
	else
		free(path);
}

void dev_cleanup_note(struct dev *dev)
{
	FILE *mounts = setmntent(MOUNTS, "r");
	const struct mntent *mount;

	for (size_t i = 0; i < ARRAY_SIZE(engine_places); i++)
		note(dev, xstrdup(engine_places[i]));
	while (mounts && (mount = getmntent(mounts)))
		if (streq(mount->mnt_type, "cgroup") || streq(mount->mnt_type, "cgroup2"))
			note(dev, xasprintf("%s/docker", mount->mnt_dir));
	if (mounts)
		endmntent(mounts);
}

/* A dockerd that ended before it was ready leaves its data directory mounted on itself. */
static void unmount_below(const char *directory)
{
	_cleanup_(strv_freep) char **found = NULL;
	FILE *mounts = setmntent(MOUNTS, "r");
	const struct mntent *mount;
	size_t n = strlen(directory);

	while (mounts && (mount = getmntent(mounts)))
		if (str_starts(mount->mnt_dir, directory) &&
		    (!mount->mnt_dir[n] || mount->mnt_dir[n] == '/'))
			strv_push(&found, xstrdup(mount->mnt_dir));
	if (mounts)
		endmntent(mounts);
	/* In reverse: a later one may be mounted on an earlier one. */
	for (n = strv_count(found); found && n > 0; n--)
		if (umount2(found[n - 1], MNT_DETACH) < 0)
			log_debug("cannot unmount %s: %s", found[n - 1], strerror(errno));
}

static int remove_one(const char *path, _unused_ const struct stat *st, _unused_ int kind,
		      _unused_ struct FTW *where)
{
	/* A file that cannot be removed stays, and its directory with it. */
	if (remove(path) < 0)
		log_debug("cannot remove %s: %s", path, strerror(errno));
	return 0;
}

void dev_cleanup_run(const struct dev *dev)
{
	_cleanup_free_ char *engine = NULL, *data = NULL, *link = NULL;

	if (!dev->run)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(rendered); i++) {
		_cleanup_free_ char *path = xasprintf("%s/%s", dev->run, rendered[i]);

		unlink(path);
	}
	engine = xasprintf("%s/engine", dev->run);
	data = xasprintf("%s/engine", dev->dir);
	if (dev->engine_own) {
		unmount_below(data);
		unmount_below(engine);
		nftw(engine, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
	}
	/* rmdir removes only empty ones. */
	for (char **path = dev->leftovers; path && *path; path++)
		rmdir(*path);
	link = xasprintf("%s/run", dev->dir);
	if (rmdir(dev->run) == 0 && !streq(link, dev->run))
		unlink(link);
}
