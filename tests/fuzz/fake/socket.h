/* Replaces the kernel's sockets: each connected or accepted socket is one end of a pair, and the
 * target has the other. Nothing leaves the process. Included once in a target. */
#ifndef PLOYZ_TESTS_FUZZ_FAKE_SOCKET_H
#define PLOYZ_TESTS_FUZZ_FAKE_SOCKET_H

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"

#define FAKE_SOCKETS 16

struct fake_socket {
	int ours, theirs; /* this end: closed by its owner */
};
static struct fake_socket fake_sockets[FAKE_SOCKETS];
static size_t fake_n_sockets;

/* A new pair; returns the end of the code under test. */
static inline int fake_pair(int type)
{
	int fds[2];

	HOLDS(fake_n_sockets < FAKE_SOCKETS);
	HOLDS(socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
	fake_sockets[fake_n_sockets++] = (struct fake_socket){ fds[0], fds[1] };
	return fds[0];
}

int socket(_unused_ int domain, int type, _unused_ int protocol)
{
	if (fake_n_sockets == FAKE_SOCKETS) {
		errno = EMFILE;
		return -1;
	}
	return fake_pair(type & (SOCK_STREAM | SOCK_DGRAM));
}

int connect(_unused_ int fd, _unused_ const struct sockaddr *address, _unused_ socklen_t size)
{
	return 0;
}

/* The target sends this; what does not fit at once, or has no receiver, is lost. */
static inline void fake_say(size_t n, const void *data, size_t size)
{
	ssize_t said = n < fake_n_sockets && size ? send(fake_sockets[n].theirs, data, size,
							 MSG_NOSIGNAL | MSG_DONTWAIT)
						  : 0;

	(void)said;
}

/* What the target has received; -1: nothing. */
static inline ssize_t fake_hear(size_t n, void *data, size_t room)
{
	return n < fake_n_sockets ? recv(fake_sockets[n].theirs, data, room, MSG_DONTWAIT) : -1;
}

/* The target closes it. */
static inline void fake_hang_up(size_t n)
{
	if (n < fake_n_sockets && fake_sockets[n].theirs >= 0) {
		close(fake_sockets[n].theirs);
		fake_sockets[n].theirs = -1;
	}
}

/* All sockets have been closed. */
static inline void fake_sockets_end(void)
{
	/* File descriptors are reused: first all of the target's. */
	for (size_t i = 0; i < fake_n_sockets; i++)
		fake_hang_up(i);
	for (size_t i = 0; i < fake_n_sockets; i++)
		HOLDS(fcntl(fake_sockets[i].ours, F_GETFD) < 0);
	fake_n_sockets = 0;
}

#endif
