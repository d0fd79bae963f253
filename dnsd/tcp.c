#include "dnsd/dnsd.h"

#include <unistd.h>

#define READ_BYTES 16384u /* per wake-up */

struct connection {
	struct dnsd *dnsd; /* borrowed */
	uint64_t id;
	int fd;
	struct place_of from;
	sd_event_source *source;
	struct timer *idle;
	struct strbuf in;		    /* what came and is not a whole question yet */
	struct strbuf out;		    /* what is not sent yet */
	size_t under_way;		    /* forwarded questions */
	bool ended;			    /* the client sends no more */
	bool broken;			    /* closed as soon as nobody is inside */
	struct connection *previous, *next; /* by last use, the latest first */
};

int tcp_open(const struct place_of *place, bool free_)
{
	int fd = socket(place->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
	    yes = 1, r;

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (free_)
		setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &yes, sizeof(yes));
	if (place->address.ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof(yes));
	if (bind(fd, (const struct sockaddr *)&place->address, place->length) < 0 ||
	    listen(fd, 64) < 0) {
		r = -errno;
		close(fd);
		return r;
	}
	return fd;
}

static void unlink_connection(struct connection *c)
{
	if (c->previous)
		c->previous->next = c->next;
	else
		c->dnsd->connections = c->next;
	if (c->next)
		c->next->previous = c->previous;
	c->previous = c->next = NULL;
}

static void link_first(struct connection *c)
{
	c->next = c->dnsd->connections;
	if (c->next)
		c->next->previous = c;
	c->dnsd->connections = c;
}

static void connection_close(struct connection *c)
{
	unlink_connection(c);
	c->dnsd->n_connections--;
	sd_event_source_disable_unref(c->source);
	timer_free(c->idle);
	close(c->fd);
	strbuf_clear(&c->in);
	strbuf_clear(&c->out);
	free(c);
}

static void on_idle(void *userdata)
{
	connection_close(userdata);
}

/* Used just now: the last to make room for another. */
static void touch(struct connection *c)
{
	unlink_connection(c);
	link_first(c);
	timer_arm(c->idle, TCP_IDLE_USEC);
}

static void flush(struct connection *c)
{
	while (c->out.size) {
		ssize_t n = send(c->fd, c->out.text, c->out.size, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			c->broken = c->broken || (errno != EAGAIN && errno != EWOULDBLOCK);
			return;
		}
		strbuf_consume(&c->out, (size_t)n);
	}
}

static void put(struct connection *c, const uint8_t *wire, size_t size)
{
	uint8_t length[2];

	knot_wire_write_u16(length, (uint16_t)size);
	strbuf_add(&c->out, length, sizeof(length));
	strbuf_add(&c->out, wire, size);
}

/* Every whole question in the buffer, as long as the client takes its answers. */
static void take_questions(struct connection *c)
{
	struct client client = { .connection = c->id, .from = c->from };
	uint8_t answer[UINT16_MAX];
	size_t at = 0;

	while (!c->broken && c->in.size - at >= 2 && c->out.size < TCP_UNSENT) {
		const uint8_t *here = (const uint8_t *)c->in.text + at;
		size_t length = knot_wire_read_u16(here), size;

		if (c->in.size - at - 2 < length)
			break;
		at += 2 + length;
		c->dnsd->counts.tcp++;
		c->under_way++;
		if (ask(c->dnsd, &client, here + 2, length, answer, &size)) {
			c->under_way--;
			put(c, answer, size);
		} else if (length < KNOT_WIRE_HEADER_SIZE || knot_wire_get_qr(here + 2)) {
			c->broken = true;
		}
	}
	strbuf_consume(&c->in, at);
}

/* Goes on with what can be done, and waits for the rest. True: the connection is gone. */
static bool proceed(struct connection *c)
{
	size_t before;

	do {
		before = c->in.size;
		take_questions(c);
		flush(c);
	} while (!c->broken && c->in.size < before && c->out.size < TCP_UNSENT);
	if (c->broken || (c->ended && !c->under_way && !c->out.size)) {
		connection_close(c);
		return true;
	}
	sd_event_source_set_io_events(c->source,
				      (!c->ended && c->out.size < TCP_UNSENT ? EPOLLIN : 0u) |
					      (c->out.size ? EPOLLOUT : 0u));
	return false;
}

static int on_io(sd_event_source *source _unused_, int fd, uint32_t events, void *userdata)
{
	struct connection *c = userdata;
	char data[READ_BYTES];

	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
		ssize_t n = recv(fd, data, sizeof(data), MSG_DONTWAIT);

		if (n > 0)
			strbuf_add(&c->in, data, (size_t)n);
		else if (n == 0)
			c->ended = true;
		else if (errno != EAGAIN && errno != EINTR)
			c->broken = true;
		/* Nothing more can be sent, either: without this the hang-up would be told for
		 * ever. */
		if (n <= 0 && (events & (EPOLLHUP | EPOLLERR)))
			c->broken = true;
	}
	touch(c);
	proceed(c);
	return 0;
}

void tcp_accept(struct dnsd *dnsd, int fd)
{
	struct place_of from = { .length = sizeof(from.address) };
	struct connection *c;
	int client = accept4(fd, (struct sockaddr *)&from.address, &from.length,
			     SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (client < 0)
		return;
	if (dnsd->n_connections >= TCP_CONNECTIONS) {
		c = dnsd->connections;
		while (c->next)
			c = c->next;
		connection_close(c);
	}
	c = xcalloc(1, sizeof(*c));
	c->dnsd = dnsd;
	c->id = dnsd->next_id++;
	c->fd = client;
	c->from = from;
	c->idle = timer_new(dnsd->loop, on_idle, c);
	dnsd->n_connections++;
	link_first(c);
	timer_arm(c->idle, TCP_IDLE_USEC);
	if (sd_event_add_io(dnsd->loop, &c->source, client, EPOLLIN, on_io, c) < 0)
		connection_close(c);
}

/* May come from inside take_questions, when another question makes room: nothing is closed here. */
void tcp_send(struct dnsd *dnsd, uint64_t connection, const uint8_t *wire, size_t size)
{
	struct connection *c = dnsd->connections;

	while (c && c->id != connection)
		c = c->next;
	if (!c)
		return;
	c->under_way--;
	put(c, wire, size);
	/* The rest is done when the socket says that it takes more, which it does at once. */
	sd_event_source_set_io_events(c->source, (c->ended ? 0u : EPOLLIN) | EPOLLOUT);
}

void tcp_free(struct dnsd *dnsd)
{
	while (dnsd->connections)
		connection_close(dnsd->connections);
}
