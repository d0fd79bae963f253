/* Sessions on HAProxy's sockets: commands go out, replies are gathered. */
#include "routed/routed.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PROMPT "\n> " /* what ends a reply in prompt mode */

struct session {
	int fd;
	sd_event_source *source;
	struct timer *timer; /* the time limit; after a failed connect, what reports it */
	int error;	     /* of that connect */
	struct strbuf out, in;
	size_t scanned; /* bytes of `in` in which no prompt begins */
	size_t wanted;	/* replies, including the one to `prompt` */
	char **replies;
	size_t n_replies;
	bool master; /* one reply, ended by the end of the connection */
	session_fn fn;
	void *userdata;
};

void session_free(struct session *session)
{
	if (!session)
		return;
	sd_event_source_disable_unref(session->source);
	timer_free(session->timer);
	if (session->fd >= 0)
		close(session->fd);
	strbuf_clear(&session->out);
	strbuf_clear(&session->in);
	strv_free(session->replies);
	free(session);
}

static void finish(struct session *session, int error)
{
	_cleanup_(session_freep) struct session *ended = session;

	sd_event_source_set_enabled(session->source, SD_EVENT_OFF);
	timer_disarm(session->timer);
	/* The first reply is the one to `prompt`. */
	session->fn(error, error ? NULL : session->replies + (session->master ? 0 : 1),
		    session->userdata);
}

static void on_timer(void *userdata)
{
	struct session *session = userdata;

	finish(session, session->error ? session->error : -ETIMEDOUT);
}

static void gather(struct session *session)
{
	const char *end;

	while (session->n_replies < session->wanted && session->in.text &&
	       (end = strstr(session->in.text + session->scanned, PROMPT))) {
		size_t size = (size_t)(end - session->in.text);

		strv_push(&session->replies, xstrndup(session->in.text, size));
		session->n_replies++;
		strbuf_consume(&session->in, size + strlen(PROMPT));
		session->scanned = 0;
	}
	session->scanned =
		session->in.size > strlen(PROMPT) ? session->in.size - strlen(PROMPT) : 0;
}

/* 1: complete; 0: more is to come. */
static int receive(struct session *session)
{
	char piece[16384];
	ssize_t n = recv(session->fd, piece, sizeof(piece), MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (n == 0) {
		if (!session->master)
			return -ECONNRESET;
		strv_push(&session->replies, strbuf_steal(&session->in));
		return 1;
	}
	if (memchr(piece, '\0', (size_t)n))
		return -EBADMSG;
	strbuf_add(&session->in, piece, (size_t)n);
	if (session->in.size > REPLY_MAX_BYTES)
		return -EMSGSIZE;
	if (!session->master)
		gather(session);
	return !session->master && session->n_replies == session->wanted;
}

static int transmit(struct session *session)
{
	ssize_t n;

	if (!session->out.size)
		return 0;
	n = send(session->fd, session->out.text, session->out.size, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	strbuf_consume(&session->out, (size_t)n);
	if (session->out.size)
		return 0;
	sd_event_source_set_io_events(session->source, EPOLLIN);
	/* The master ends the connection once it has answered and its input is closed. */
	if (session->master)
		shutdown(session->fd, SHUT_WR);
	return 0;
}

static int on_io(_unused_ sd_event_source *source, _unused_ int fd, uint32_t events, void *userdata)
{
	struct session *session = userdata;
	int r = 0;

	if (events & EPOLLOUT)
		r = transmit(session);
	if (r == 0 && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		r = receive(session);
	if (r)
		finish(session, MIN2(r, 0));
	return 0;
}

static int dial(struct session *session, sd_event *loop, const char *socket_path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (strlen(socket_path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, socket_path);
	session->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (session->fd < 0 ||
	    connect(session->fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return sd_event_add_io(loop, &session->source, session->fd, EPOLLIN | EPOLLOUT, on_io,
			       session);
}

static struct session *session_new(sd_event *loop, const char *socket_path, session_fn fn,
				   void *userdata)
{
	struct session *session = xcalloc(1, sizeof(*session));

	session->fd = -1;
	session->fn = fn;
	session->userdata = userdata;
	session->timer = timer_new(loop, on_timer, session);
	session->error = dial(session, loop, socket_path);
	timer_arm(session->timer, session->error ? 0 : SESSION_USEC);
	return session;
}

void haproxy_session(sd_event *loop, const char *socket_path, char *const *commands, session_fn fn,
		     void *userdata, struct session **ret)
{
	struct session *session = session_new(loop, socket_path, fn, userdata);

	strbuf_puts(&session->out, "prompt\n");
	for (session->wanted = 1; commands && *commands; commands++, session->wanted++)
		strbuf_printf(&session->out, "%s\n", *commands);
	*ret = session;
}

void haproxy_master(sd_event *loop, const char *socket_path, const char *command, session_fn fn,
		    void *userdata, struct session **ret)
{
	struct session *session = session_new(loop, socket_path, fn, userdata);

	session->master = true;
	strbuf_printf(&session->out, "%s\n", command);
	*ret = session;
}
