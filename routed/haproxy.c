#include "routed/routed.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PROMPT "\n> " /* what ends a reply in prompt mode */

struct talk {
	int fd;
	sd_event_source *source;
	struct timer *timer; /* the end of patience; or, after a failed connect, what tells of it */
	int error;	     /* of that connect */
	struct strbuf out, in;
	size_t scanned; /* of `in`: no prompt begins before */
	size_t wanted;	/* replies, that to `prompt` among them */
	char **replies;
	size_t n_replies;
	bool master; /* one reply, ended by the end of the connection */
	talk_fn fn;
	void *userdata;
};

void talk_free(struct talk *talk)
{
	if (!talk)
		return;
	sd_event_source_disable_unref(talk->source);
	timer_free(talk->timer);
	if (talk->fd >= 0)
		close(talk->fd);
	strbuf_clear(&talk->out);
	strbuf_clear(&talk->in);
	strv_free(talk->replies);
	free(talk);
}

static void finish(struct talk *talk, int error)
{
	_cleanup_(talk_freep) struct talk *ended = talk;

	sd_event_source_set_enabled(talk->source, SD_EVENT_OFF);
	timer_disarm(talk->timer);
	/* The first reply is that to `prompt`. */
	talk->fn(error, error ? NULL : talk->replies + (talk->master ? 0 : 1), talk->userdata);
}

static void on_timer(void *userdata)
{
	struct talk *talk = userdata;

	finish(talk, talk->error ? talk->error : -ETIMEDOUT);
}

static void gather(struct talk *talk)
{
	const char *end;

	while (talk->n_replies < talk->wanted && talk->in.text &&
	       (end = strstr(talk->in.text + talk->scanned, PROMPT))) {
		size_t size = (size_t)(end - talk->in.text);

		strv_push(&talk->replies, xstrndup(talk->in.text, size));
		talk->n_replies++;
		strbuf_consume(&talk->in, size + strlen(PROMPT));
		talk->scanned = 0;
	}
	talk->scanned = talk->in.size > strlen(PROMPT) ? talk->in.size - strlen(PROMPT) : 0;
}

/* 1: everything is here; 0: more to come. */
static int receive(struct talk *talk)
{
	char piece[16384];
	ssize_t n = recv(talk->fd, piece, sizeof(piece), MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (n == 0) {
		if (!talk->master)
			return -ECONNRESET;
		strv_push(&talk->replies, strbuf_steal(&talk->in));
		return 1;
	}
	if (memchr(piece, '\0', (size_t)n))
		return -EBADMSG;
	strbuf_add(&talk->in, piece, (size_t)n);
	if (talk->in.size > REPLY_MAX_BYTES)
		return -EMSGSIZE;
	if (!talk->master)
		gather(talk);
	return !talk->master && talk->n_replies == talk->wanted;
}

static int transmit(struct talk *talk)
{
	ssize_t n;

	if (!talk->out.size)
		return 0;
	n = send(talk->fd, talk->out.text, talk->out.size, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	strbuf_consume(&talk->out, (size_t)n);
	if (talk->out.size)
		return 0;
	sd_event_source_set_io_events(talk->source, EPOLLIN);
	/* The master ends the connection when it has answered and hears that nothing more comes. */
	if (talk->master)
		shutdown(talk->fd, SHUT_WR);
	return 0;
}

static int on_io(_unused_ sd_event_source *source, _unused_ int fd, uint32_t events, void *userdata)
{
	struct talk *talk = userdata;
	int r = 0;

	if (events & EPOLLOUT)
		r = transmit(talk);
	if (r == 0 && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		r = receive(talk);
	if (r)
		finish(talk, MIN2(r, 0));
	return 0;
}

static int dial(struct talk *talk, sd_event *loop, const char *socket_path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (strlen(socket_path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, socket_path);
	talk->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (talk->fd < 0 || connect(talk->fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return sd_event_add_io(loop, &talk->source, talk->fd, EPOLLIN | EPOLLOUT, on_io, talk);
}

static struct talk *talk_new(sd_event *loop, const char *socket_path, talk_fn fn, void *userdata)
{
	struct talk *talk = xcalloc(1, sizeof(*talk));

	talk->fd = -1;
	talk->fn = fn;
	talk->userdata = userdata;
	talk->timer = timer_new(loop, on_timer, talk);
	talk->error = dial(talk, loop, socket_path);
	timer_arm(talk->timer, talk->error ? 0 : TALK_USEC);
	return talk;
}

void haproxy_talk(sd_event *loop, const char *socket_path, char *const *commands, talk_fn fn,
		  void *userdata, struct talk **ret)
{
	struct talk *talk = talk_new(loop, socket_path, fn, userdata);

	strbuf_puts(&talk->out, "prompt\n");
	for (talk->wanted = 1; commands && *commands; commands++, talk->wanted++)
		strbuf_printf(&talk->out, "%s\n", *commands);
	*ret = talk;
}

void haproxy_master(sd_event *loop, const char *socket_path, const char *command, talk_fn fn,
		    void *userdata, struct talk **ret)
{
	struct talk *talk = talk_new(loop, socket_path, fn, userdata);

	talk->master = true;
	strbuf_printf(&talk->out, "%s\n", command);
	*ret = talk;
}
