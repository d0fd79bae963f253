/* Upstream: sends queries to other resolvers, one socket for each. */
#include "dnsd/dnsd.h"

#include <sys/random.h>
#include <unistd.h>

#define RESOLV_CONF "/etc/resolv.conf"

static void try_now(struct dnsd *dnsd, struct forward_query *query);

static void arm(struct dnsd *dnsd)
{
	uint64_t deadline = forward_deadline(dnsd->forward), now = boot_now_usec();

	if (deadline)
		timer_arm(dnsd->forward_timer, deadline > now ? deadline - now : 0);
	else
		timer_disarm(dnsd->forward_timer);
}

static void close_socket(struct forward_query *query)
{
	sd_event_source_disable_unref(steal(query->source));
	if (query->fd >= 0)
		close(query->fd);
	query->fd = -1;
	free(steal(query->io));
	query->io_at = query->io_size = 0;
	query->sent = false;
}

static void finish(struct dnsd *dnsd, struct forward_query *query, uint8_t *wire, size_t size)
{
	uint8_t cut[DNSD_UDP_MIN];

	close_socket(query);
	knot_wire_set_id(wire, query->client_id);
	if (size > query->limit) {
		size = answer_refuse(wire, size, knot_wire_get_rcode(wire), true, cut);
		wire = cut;
	}
	query_answered(dnsd, &query->client, wire, size);
	forward_remove(dnsd->forward, query);
	arm(dnsd);
}

static void give_up(struct dnsd *dnsd, struct forward_query *query)
{
	uint8_t answer[DNSD_UDP_MIN];
	size_t size = answer_refuse(query->wire, query->size, KNOT_RCODE_SERVFAIL, false, answer);

	dnsd->counts.failed++;
	finish(dnsd, query, answer, size);
}

static void try_next(struct dnsd *dnsd, struct forward_query *query)
{
	close_socket(query);
	if (!forward_next(dnsd->forward, query)) {
		give_up(dnsd, query);
		return;
	}
	/* UDP again: it was another server that truncated its answer. */
	query->tcp = query->client.connection != 0;
	try_now(dnsd, query);
}

/* `wire` is what the upstream sent; it may be modified. */
static void judge(struct dnsd *dnsd, struct forward_query *query, uint8_t *wire, size_t size)
{
	switch (forward_judge(dnsd->forward, query, wire, size)) {
	case FORWARD_IGNORE:
		if (query->tcp)
			try_next(dnsd, query);
		break;
	case FORWARD_ANSWER:
		dnsd->forward->first = query->at;
		finish(dnsd, query, wire, size);
		break;
	case FORWARD_USE_TCP:
		close_socket(query);
		query->tcp = true;
		try_now(dnsd, query);
		break;
	case FORWARD_NEXT:
		try_next(dnsd, query);
		break;
	}
}

static int on_udp(sd_event_source *source _unused_, int fd, uint32_t events _unused_,
		  void *userdata)
{
	struct forward_query *query = userdata;
	uint8_t wire[UINT16_MAX];
	ssize_t n = recv(fd, wire, sizeof(wire), MSG_DONTWAIT);

	if (n >= 0)
		judge(query->owner, query, wire, (size_t)n);
	else if (errno != EAGAIN && errno != EINTR)
		try_next(query->owner, query);
	return 0;
}

/* Sends the rest of the query. 1: complete; 0: not yet; a negative errno. */
static int tcp_write(struct forward_query *query)
{
	ssize_t n = send(query->fd, query->io + query->io_at, query->io_size - query->io_at,
			 MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	query->io_at += (size_t)n;
	return query->io_at == query->io_size;
}

/* Reads the length, then as many bytes. 1: complete; 0: not yet; a negative errno. */
static int tcp_read(struct forward_query *query)
{
	ssize_t n = recv(query->fd, query->io + query->io_at, query->io_size - query->io_at,
			 MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (n == 0)
		return -ECONNRESET;
	query->io_at += (size_t)n;
	if (query->io_at < query->io_size)
		return 0;
	if (query->io_size > 2)
		return 1;
	query->io_size = 2u + knot_wire_read_u16(query->io);
	if (query->io_size == 2)
		return -EPROTO;
	query->io = xrealloc(query->io, query->io_size, 1);
	return 0;
}

static int on_tcp(sd_event_source *source, int fd _unused_, uint32_t events _unused_,
		  void *userdata)
{
	struct forward_query *query = userdata;
	int r = query->sent ? tcp_read(query) : tcp_write(query);

	if (r < 0) {
		try_next(query->owner, query);
	} else if (r > 0 && !query->sent) {
		query->sent = true;
		query->io = xrealloc(query->io, 2, 1);
		query->io_size = 2;
		query->io_at = 0;
		sd_event_source_set_io_events(source, EPOLLIN);
	} else if (r > 0) {
		/* close_socket frees the buffer of the query. */
		_cleanup_free_ uint8_t *wire = steal(query->io);

		judge(query->owner, query, wire + 2, query->io_size - 2);
	}
	return 0;
}

static int start(struct dnsd *dnsd, struct forward_query *query)
{
	const struct address *to = &dnsd->forward->upstreams[query->at];
	int type = query->tcp ? SOCK_STREAM : SOCK_DGRAM;

	if (listen_is_own(dnsd, to))
		return -ELOOP;
	query->fd = socket(to->socket.ss_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (query->fd < 0)
		return -errno;
	/* Connected: the kernel chooses a random port and drops packets of other senders. */
	if (connect(query->fd, (const struct sockaddr *)&to->socket, to->length) < 0 &&
	    errno != EINPROGRESS)
		return -errno;
	if (query->tcp) {
		query->io = xmalloc(query->size + 2);
		query->io_size = query->size + 2;
		knot_wire_write_u16(query->io, (uint16_t)query->size);
		memcpy(query->io + 2, query->wire, query->size);
		return sd_event_add_io(dnsd->loop, &query->source, query->fd, EPOLLOUT, on_tcp,
				       query);
	}
	if (send(query->fd, query->wire, query->size, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return -errno;
	return sd_event_add_io(dnsd->loop, &query->source, query->fd, EPOLLIN, on_udp, query);
}

static void try_now(struct dnsd *dnsd, struct forward_query *query)
{
	while (start(dnsd, query) < 0) {
		close_socket(query);
		if (!forward_next(dnsd->forward, query)) {
			give_up(dnsd, query);
			return;
		}
	}
	query->deadline = boot_now_usec() + (query->tcp ? FORWARD_TCP_USEC : FORWARD_TRY_USEC);
	arm(dnsd);
}

static void on_deadline(void *userdata)
{
	struct dnsd *dnsd = userdata;
	uint64_t now = boot_now_usec();
	struct forward_query *query = TAILQ_FIRST(&dnsd->forward->queries), *next;

	for (; query; query = next) {
		next = TAILQ_NEXT(query, by_age);
		if (query->deadline > now)
			continue;
		/* Later queries try another upstream first. */
		if (dnsd->forward->first == query->at)
			dnsd->forward->first = (query->at + 1) % dnsd->forward->n_upstreams;
		try_next(dnsd, query);
	}
	arm(dnsd);
}

void upstream_query(struct dnsd *dnsd, const struct client *client, const uint8_t *wire,
		    size_t size, size_t limit)
{
	struct forward_query *query = forward_surplus(dnsd->forward);
	uint16_t id = 0;

	if (query)
		give_up(dnsd, query);
	/* At boot the random pool may not be ready; the port is random in any case. */
	if (getrandom(&id, sizeof(id), GRND_NONBLOCK) < 0)
		id = (uint16_t)boot_now_usec();
	query = forward_add(dnsd->forward, client, wire, size, limit, id);
	if (!query)
		return;
	query->owner = dnsd;
	try_now(dnsd, query);
}

static size_t from_resolv_conf(struct dnsd *dnsd, struct address **ret)
{
	_cleanup_free_ char *text = NULL;
	size_t count = 0, kept = 0;
	int r = file_read(RESOLV_CONF, 1024 * 1024, &text, NULL);

	*ret = NULL;
	if (r < 0)
		log_errno(LOG_WARNING, r,
			  "cannot read " RESOLV_CONF "; refusing names of other zones");
	else
		count = addresses_of_resolv_conf(text, ret);
	for (size_t i = 0; i < count; i++)
		if (!listen_is_own(dnsd, &(*ret)[i]))
			(*ret)[kept++] = (*ret)[i];
	if (r >= 0 && !kept)
		log_warning("cannot forward: " RESOLV_CONF
			    " names no other resolver; refusing names of other zones");
	return kept;
}

int upstream_start(struct dnsd *dnsd)
{
	struct address *upstreams = NULL, address;
	size_t count = 0;

	if (!dnsd->config->forward)
		count = from_resolv_conf(dnsd, &upstreams);
	for (char **text = dnsd->config->forward; text && *text; text++) {
		if (streq(*text, "none"))
			continue;
		if (address_parse(*text, DNSD_PORT, &address) < 0 ||
		    address_is_wildcard(&address)) {
			log_error("cannot forward to '%s': not an address; write forward as "
				  "192.0.2.1, 192.0.2.1:53 or `none`",
				  *text);
			free(upstreams);
			return -EINVAL;
		}
		if (listen_is_own(dnsd, &address)) {
			log_error("cannot forward to %s: dnsd itself listens there; set another "
				  "resolver with forward",
				  *text);
			free(upstreams);
			return -ELOOP;
		}
		*array_add(upstreams, count) = address;
	}
	dnsd->forward = forward_new(upstreams, count);
	dnsd->forward_timer = timer_new(dnsd->loop, on_deadline, dnsd);
	return 0;
}

void upstream_free(struct dnsd *dnsd)
{
	struct forward_query *query;

	if (dnsd->forward)
		TAILQ_FOREACH (query, &dnsd->forward->queries, by_age)
			close_socket(query);
	forward_free(steal(dnsd->forward));
	timer_free(steal(dnsd->forward_timer));
}
