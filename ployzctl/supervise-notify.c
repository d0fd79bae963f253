/* The notification socket of the children: sd_notify(3), received as by a service manager. */
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "ployzctl/supervise.h"

#define MESSAGE_MAX_BYTES 4096

struct supervise_notify {
	int fd;
	sd_event_source *source;
	char *path;
	void (*fn)(pid_t pid, const char *line, void *userdata);
	void *userdata;
};

/* The sender's pid as the kernel reports it; 0: unknown. */
static pid_t sender_of(struct msghdr *message)
{
	struct ucred credentials;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_CREDENTIALS)
			continue;
		memcpy(&credentials, CMSG_DATA(c), sizeof(credentials));
		return credentials.pid;
	}
	return 0;
}

static int on_message(_unused_ sd_event_source *source, int fd, _unused_ uint32_t revents,
		      void *userdata)
{
	struct supervise_notify *notify = userdata;
	char data[MESSAGE_MAX_BYTES + 1], control[CMSG_SPACE(sizeof(struct ucred))];
	struct iovec iov = { .iov_base = data, .iov_len = MESSAGE_MAX_BYTES };
	struct msghdr message = { .msg_iov = &iov,
				  .msg_iovlen = 1,
				  .msg_control = control,
				  .msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	pid_t pid = n > 0 ? sender_of(&message) : 0;

	if (!pid)
		return 0;
	data[n] = '\0';
	for (char *line = data, *next; line; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		notify->fn(pid, line, notify->userdata);
	}
	return 0;
}

int supervise_notify_new(sd_event *loop, const char *path,
			 void (*fn)(pid_t pid, const char *line, void *userdata), void *userdata,
			 struct supervise_notify **ret)
{
	_cleanup_(supervise_notify_freep) struct supervise_notify *notify =
		xcalloc(1, sizeof(*notify));
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int on = 1, r;

	notify->fn = fn;
	notify->userdata = userdata;
	notify->fd = -1;
	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	unlink(path);
	notify->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (notify->fd < 0 || bind(notify->fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	notify->path = xstrdup(path);
	if (setsockopt(notify->fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) < 0)
		return -errno;
	r = sd_event_add_io(loop, &notify->source, notify->fd, EPOLLIN, on_message, notify);
	if (r < 0)
		return r;
	*ret = steal(notify);
	return 0;
}

void supervise_notify_free(struct supervise_notify *notify)
{
	if (!notify)
		return;
	sd_event_source_disable_unref(notify->source);
	if (notify->fd >= 0)
		close(notify->fd);
	if (notify->path)
		unlink(notify->path);
	free(notify->path);
	free(notify);
}
