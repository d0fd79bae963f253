/* Version of a nats-server, from the INFO line that it sends to each client. */
#include <errno.h>
#include <jansson.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/bus.h"
#include "lib/str.h"

#define NATS_PORT "4222"
#define OLDEST_MAJOR 2
#define OLDEST_MINOR 10 /* sync_interval: always */
#define INFO_MAX 4096

/* nats://user:password@host:port → host, port. */
static int url_split(const char *url, char **ret_host, char **ret_port)
{
	const char *start = strstr(url, "://"), *at, *end, *colon;

	start = start ? start + 3 : url;
	at = strchr(start, '@');
	if (at)
		start = at + 1;
	end = start + strcspn(start, "/,");
	if (*start == '[') { /* IPv6 */
		colon = memchr(start, ']', (size_t)(end - start));
		if (!colon)
			return -EINVAL;
		*ret_host = xstrndup(start + 1, (size_t)(colon - start - 1));
		colon = colon[1] == ':' ? colon + 1 : NULL;
	} else {
		colon = memchr(start, ':', (size_t)(end - start));
		*ret_host = xstrndup(start, (size_t)((colon ? colon : end) - start));
	}
	*ret_port = colon ? xstrndup(colon + 1, (size_t)(end - colon - 1)) : xstrdup(NATS_PORT);
	return 0;
}

static int wait_for(int fd, short events, uint64_t deadline)
{
	struct pollfd p = { .fd = fd, .events = events };
	uint64_t now = boot_now_usec();
	int r = now < deadline ? poll(&p, 1, (int)((deadline - now) / 1000) + 1) : 0;

	return r > 0 ? 0 : r == 0 ? -ETIMEDOUT : -errno;
}

static int open_socket(const struct addrinfo *address, uint64_t deadline)
{
	int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
	    error = 0, r;
	socklen_t size = sizeof(error);

	if (fd < 0)
		return -errno;
	if (connect(fd, address->ai_addr, address->ai_addrlen) < 0 && errno != EINPROGRESS) {
		r = -errno;
	} else {
		r = wait_for(fd, POLLOUT, deadline);
		if (r == 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
			r = -errno;
		if (r == 0)
			r = -error;
	}
	if (r < 0) {
		close(fd);
		return r;
	}
	return fd;
}

static int read_line(int fd, uint64_t deadline, char *line, size_t room)
{
	size_t size = 0;

	while (size < room - 1) {
		ssize_t n;
		int r = wait_for(fd, POLLIN, deadline);

		if (r < 0)
			return r;
		n = recv(fd, line + size, room - 1 - size, 0);
		if (n <= 0)
			return n < 0 ? -errno : -ECONNRESET;
		size += (size_t)n;
		line[size] = '\0';
		if (memchr(line, '\n', size))
			return 0;
	}
	return -EPROTO;
}

int bus_server_version(const char *url, uint64_t timeout_usec, char **ret)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	_cleanup_free_ char *host = NULL, *port = NULL;
	uint64_t deadline = boot_now_usec() + timeout_usec;
	_cleanup_(json_decrefp) json_t *info = NULL;
	struct addrinfo *addresses;
	char line[INFO_MAX];
	int fd, r;

	r = url_split(url, &host, &port);
	if (r < 0)
		return r;
	if (getaddrinfo(host, port, &hints, &addresses) != 0)
		return -EADDRNOTAVAIL;
	fd = open_socket(addresses, deadline);
	freeaddrinfo(addresses);
	if (fd < 0)
		return fd;
	r = read_line(fd, deadline, line, sizeof(line));
	close(fd);
	if (r < 0)
		return r;
	if (!str_starts(line, "INFO "))
		return -EPROTO;
	info = json_loads(line + 5, JSON_DISABLE_EOF_CHECK, NULL);
	*ret = xstrdup(json_string_value(json_object_get(info, "version")));
	return *ret ? 0 : -EPROTO;
}

bool bus_version_suits(const char *version)
{
	int major, minor;

	if (sscanf(version, "%d.%d", &major, &minor) != 2)
		return false;
	return major > OLDEST_MAJOR || (major == OLDEST_MAJOR && minor >= OLDEST_MINOR);
}
