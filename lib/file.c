/* Files: read and written whole. */
#include "lib/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static void closep(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static int write_all(int fd, const char *data, size_t size)
{
	while (size > 0) {
		ssize_t n = write(fd, data, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data += n;
		size -= (size_t)n;
	}
	return 0;
}

int file_read(const char *path, size_t max, char **ret_text, size_t *ret_size)
{
	_cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	_cleanup_free_ char *text = NULL;
	size_t size = 0, room = 0;

	if (fd < 0)
		return -errno;
	for (;;) {
		ssize_t n;

		if (size == room) {
			/* One byte more than `max` shows that the file is too long. */
			room = MIN2(MAX2(room * 2, (size_t)4096), max + 1);
			text = xrealloc(text, room + 1, 1);
		}
		n = read(fd, text + size, room - size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		size += (size_t)n;
		if (size > max)
			return -EFBIG;
	}
	text[size] = '\0';
	*ret_text = steal(text);
	if (ret_size)
		*ret_size = size;
	return 0;
}

/* The rename itself is durable only when the directory is. */
static int directory_sync(const char *path)
{
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *parent = slash == path ? xstrdup("/")
				      : slash	    ? xstrndup(path, (size_t)(slash - path))
						    : xstrdup(".");
	_cleanup_(closep) int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) < 0)
		return -errno;
	return 0;
}

int file_write_atomic(const char *path, const void *data, size_t size, unsigned mode)
{
	_cleanup_free_ char *beside = xasprintf("%s.XXXXXX", path);
	_cleanup_(closep) int fd = mkostemp(beside, O_CLOEXEC);
	int r;

	if (fd < 0)
		return -errno;
	r = write_all(fd, data, size);
	if (r == 0 && (fchmod(fd, mode) < 0 || fsync(fd) < 0 || rename(beside, path) < 0))
		r = -errno;
	if (r < 0) {
		unlink(beside);
		return r;
	}
	return directory_sync(path);
}

int directory_make(const char *path, unsigned mode)
{
	_cleanup_free_ char *partial = xstrdup(path);
	struct stat st;

	for (char *p = partial + 1;; p++) {
		char c = *p;

		if (c != '/' && c != '\0')
			continue;
		*p = '\0';
		if (mkdir(partial, mode) < 0 && errno != EEXIST)
			return -errno;
		*p = c;
		if (!c)
			break;
	}
	if (stat(path, &st) < 0)
		return -errno;
	return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}
