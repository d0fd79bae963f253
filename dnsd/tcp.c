/* TCP: connections of clients, with several queries each. */
#include "dnsd/dnsd.h"

#include <unistd.h>

#define READ_BYTES 16384u /* per wake-up */

struct connection {
	struct dnsd *dnsd; /* borrowed */
	uint64_t id;
	int fd;
	struct address from;
	sd_event_source *source;
	struct timer *idle;
	struct strbuf in;  /* received, not yet a whole query */
	struct strbuf out; /* not sent yet */
	size_t pending;	   /* forwarded queries */
	bool ended;	   /* the client sends no more */
	bool broken;	   /* to be closed once no caller uses it */
	TAILQ_ENTRY(connection) by_use;
};

int tcp_open(const struct address *address, bool free_bind)
{
	int fd = socket(address->socket.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
	    yes = 1, r;

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (free_bind)
		setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &yes, sizeof(yes));
	if (address->socket.ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof(yes));
	if (bind(fd, (const struct sockaddr *)&address->socket, address->length) < 0 ||
	    listen(fd, 64) < 0) {
		r = -errno;
		close(fd);
		return r;
	}
	return fd;
}

static void connection_close(struct connection *c)
{
	TAILQ_REMOVE(&c->dnsd->connections, c, by_use);
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

/* A connection in use is the last to be closed for another. */
static void touch(struct connection *c)
{
	TAILQ_REMOVE(&c->dnsd->connections, c, by_use);
	TAILQ_INSERT_HEAD(&c->dnsd->connections, c, by_use);
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

/* Answers every whole query in the buffer, as long as the client reads its answers. */
static void take_queries(struct connection *c)
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
		c->pending++;
		if (query_answer(c->dnsd, &client, here + 2, length, answer, &size)) {
			c->pending--;
			put(c, answer, size);
		} else if (length < KNOT_WIRE_HEADER_SIZE || knot_wire_get_qr(here + 2)) {
			c->broken = true;
		}
	}
	strbuf_consume(&c->in, at);
}

/* Answers what can be answered and waits for the rest. True: the connection is closed. */
static bool proceed(struct connection *c)
{
	size_t before;

	do {
		before = c->in.size;
		take_queries(c);
		flush(c);
	} while (!c->broken && c->in.size < before && c->out.size < TCP_UNSENT);
	if (c->broken || (c->ended && !c->pending && !c->out.size)) {
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
		/* Nothing can be sent either; without this the loop would report the hang-up
		 * again and again. */
		if (n <= 0 && (events & (EPOLLHUP | EPOLLERR)))
			c->broken = true;
	}
	touch(c);
	proceed(c);
	return 0;
}

void tcp_accept(struct dnsd *dnsd, int fd)
{
	struct address from = { .length = sizeof(from.socket) };
	struct connection *c;
	int client = accept4(fd, (struct sockaddr *)&from.socket, &from.length,
			     SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (client < 0)
		return;
	if (dnsd->n_connections >= TCP_CONNECTIONS)
		connection_close(TAILQ_LAST(&dnsd->connections, connection_list));
	c = xcalloc(1, sizeof(*c));
	c->dnsd = dnsd;
	c->id = dnsd->next_id++;
	c->fd = client;
	c->from = from;
	c->idle = timer_new(dnsd->loop, on_idle, c);
	dnsd->n_connections++;
	TAILQ_INSERT_HEAD(&dnsd->connections, c, by_use);
	timer_arm(c->idle, TCP_IDLE_USEC);
	if (sd_event_add_io(dnsd->loop, &c->source, client, EPOLLIN, on_io, c) < 0)
		connection_close(c);
}

/* take_queries may be the caller, when a pending query is dropped for another: nothing is closed
 * here. */
void tcp_send(struct dnsd *dnsd, uint64_t connection, const uint8_t *wire, size_t size)
{
	struct connection *c;

	TAILQ_FOREACH (c, &dnsd->connections, by_use)
		if (c->id == connection)
			break;
	if (!c)
		return;
	c->pending--;
	put(c, wire, size);
	/* on_io sends it in the next iteration of the loop. */
	sd_event_source_set_io_events(c->source, (c->ended ? 0u : EPOLLIN) | EPOLLOUT);
}

void tcp_free(struct dnsd *dnsd)
{
	while (!TAILQ_EMPTY(&dnsd->connections))
		connection_close(TAILQ_FIRST(&dnsd->connections));
}
