/* The resolver between clients and upstreams, over UDP and TCP, when neither side follows the
 * protocol: a client receives only answers to its own queries, of a size that it accepts.
 *
 * Steps of one byte: a client's query, bytes of a TCP client, bytes or an answer of an upstream,
 * the end of a connection, a time-out.
 *
 * covers: dnsd/forward.c dnsd/upstream.c dnsd/tcp.c dnsd/query.c
 *
 * options: -max_len=400 -len_control=0 */
#include <sys/random.h>

#include "dnsd/dnsd.h"
#include "tests/fuzz/fake/log.h"
#include "tests/fuzz/fake/loop.h"
#include "tests/fuzz/fake/socket.h"

#define STEPS_MAX 16
#define CLIENT_ID 0x1234
#define WIRE_ID 0x5a5a
#define UDP_FD 1000000 /* not open */

static bool is_client[FAKE_SOCKETS];
static struct address local;
static bool edns_asked;

/* ---- in place of the other files ---- */

int listen_socket(_unused_ const struct dnsd *dnsd, _unused_ uint64_t id)
{
	return UDP_FD;
}

bool listen_is_own(_unused_ const struct dnsd *dnsd, _unused_ const struct address *address)
{
	return false;
}

ssize_t getrandom(void *buffer, size_t size, _unused_ unsigned flags)
{
	memset(buffer, WIRE_ID & 0xff, size);
	return (ssize_t)size;
}

int accept4(_unused_ int fd, struct sockaddr *address, socklen_t *size, _unused_ int flags)
{
	if (fake_n_sockets == FAKE_SOCKETS) {
		errno = EMFILE;
		return -1;
	}
	is_client[fake_n_sockets] = true;
	memcpy(address, &local.socket, local.length);
	*size = local.length;
	return fake_pair(SOCK_STREAM);
}

static void holds_answer(const uint8_t *wire, size_t size)
{
	HOLDS(size >= KNOT_WIRE_HEADER_SIZE && knot_wire_get_qr(wire));
	HOLDS(knot_wire_get_id(wire) == CLIENT_ID);
}

/* An answer to a client over UDP. */
ssize_t sendto(int fd, const void *data, size_t size, _unused_ int flags,
	       _unused_ const struct sockaddr *to, _unused_ socklen_t to_size)
{
	HOLDS(fd == UDP_FD);
	holds_answer(data, size);
	HOLDS(size <= (edns_asked ? DNSD_PACKET : DNSD_UDP_MIN));
	return (ssize_t)size;
}

/* ---- queries ---- */

static const struct {
	const char *name;
	uint16_t type;
	bool edns;
} queries[] = {
	{ "example.org", KNOT_RRTYPE_A, false },
	{ "example.org", KNOT_RRTYPE_AAAA, true },
	{ "a.very.long.name.of.some.host.example.org", KNOT_RRTYPE_TXT, true },
	{ "web.shop.ployz.internal", KNOT_RRTYPE_A, false },
	{ "nix", KNOT_RRTYPE_A, false },
};

static size_t make_query(uint8_t which, uint8_t *wire)
{
	static const uint8_t opt[] = { 0, 0, KNOT_RRTYPE_OPT, 0x10, 0, 0, 0, 0, 0, 0, 0 };
	size_t size;

	which %= ARRAY_SIZE(queries);
	memset(wire, 0, KNOT_WIRE_HEADER_SIZE);
	knot_wire_set_id(wire, CLIENT_ID);
	knot_wire_set_rd(wire);
	knot_wire_set_qdcount(wire, 1);
	HOLDS(name_write(queries[which].name, wire + KNOT_WIRE_HEADER_SIZE));
	size = KNOT_WIRE_HEADER_SIZE + knot_dname_size(wire + KNOT_WIRE_HEADER_SIZE);
	knot_wire_write_u16(wire + size, queries[which].type);
	knot_wire_write_u16(wire + size + 2, KNOT_CLASS_IN);
	size += 4;
	if (queries[which].edns) {
		memcpy(wire + size, opt, sizeof(opt));
		size += sizeof(opt);
		knot_wire_set_arcount(wire, 1);
	}
	return size;
}

static void ask_udp(struct dnsd *dnsd, struct cursor *c, uint8_t step)
{
	const struct client client = { .listener = 1, .from = local };
	uint8_t query[512], out[DNSD_UDP_MAX];
	size_t size, answered;

	if (step & 1) {
		const char *bytes = cursor_part(c, &size);

		size = MIN2(size, sizeof(query));
		memcpy(query, bytes, size);
		if (size >= 2)
			knot_wire_set_id(query, CLIENT_ID);
	} else {
		size = make_query(cursor_byte(c), query);
	}
	/* Earlier queries are checked against the largest limit. */
	edns_asked = edns_asked || size < KNOT_WIRE_HEADER_SIZE || knot_wire_get_arcount(query) ||
		     knot_wire_get_ancount(query) || knot_wire_get_nscount(query);
	if (query_answer(dnsd, &client, query, size, out, &answered)) {
		HOLDS(answered <= DNSD_UDP_MAX);
		holds_answer(out, answered);
	}
}

/* ---- the sockets ---- */

/* A socket of the one or the other kind; FAKE_SOCKETS: there is none. */
static size_t pick(uint8_t which, bool client)
{
	size_t found[FAKE_SOCKETS], n = 0;

	for (size_t i = 0; i < fake_n_sockets; i++)
		if (is_client[i] == client && fake_sockets[i].theirs >= 0)
			found[n++] = i;
	return n ? found[which % n] : FAKE_SOCKETS;
}

static void client_bytes(struct dnsd *dnsd, struct cursor *c, uint8_t step)
{
	uint8_t wire[514], which = cursor_byte(c);
	size_t n = pick(which, true), size;
	const char *bytes;

	if (n == FAKE_SOCKETS || step & 4) {
		tcp_accept(dnsd, UDP_FD);
		n = pick(255, true);
	}
	if (step & 1) {
		bytes = cursor_part(c, &size);
		fake_say(n, bytes, size);
		return;
	}
	size = make_query(which, wire + 2);
	knot_wire_write_u16(wire, (uint16_t)size);
	fake_say(n, wire, size + 2);
}

/* An answer to the query, with any flags and any bytes after the question. */
static void upstream_answer(struct cursor *c, uint8_t step)
{
	uint8_t which = cursor_byte(c), flags = cursor_byte(c), wire[2048];
	size_t n = pick(which, false), size, more;
	int type = 0;
	socklen_t length = sizeof(type);
	const char *bytes;

	if (n == FAKE_SOCKETS)
		return;
	getsockopt(fake_sockets[n].theirs, SOL_SOCKET, SO_TYPE, &type, &length);
	if (step & 1) {
		bytes = cursor_part(c, &size);
		fake_say(n, bytes, size);
		return;
	}
	size = make_query(which / 16, wire + 2);
	knot_wire_set_arcount(wire + 2, flags & 128 ? 1 : 0);
	knot_wire_set_id(wire + 2, WIRE_ID);
	knot_wire_set_qr(wire + 2);
	if (flags & 16)
		knot_wire_set_tc(wire + 2);
	knot_wire_set_rcode(wire + 2, flags & 15);
	bytes = cursor_part(c, &more);
	more = MIN2(more, (size_t)256);
	memcpy(wire + 2 + size, bytes, more);
	size += more;
	/* Larger than many clients accept. */
	if (flags & 32) {
		memset(wire + 2 + size, 0, 600);
		size += 600;
	}
	knot_wire_write_u16(wire, (uint16_t)size);
	if (type == SOCK_STREAM)
		fake_say(n, wire, size + 2);
	else
		fake_say(n, wire + 2, size);
}

static void read_clients(void)
{
	static uint8_t received[1 << 17];

	for (size_t i = 0; i < fake_n_sockets; i++) {
		ssize_t n = is_client[i] && fake_sockets[i].theirs >= 0
				    ? fake_hear(i, received, sizeof(received))
				    : 0;

		/* Whole answers, one after the other. */
		for (ssize_t at = 0; at < n; at += 2 + knot_wire_read_u16(received + at))
			HOLDS(at + 2 + knot_wire_read_u16(received + at) <= n &&
			      knot_wire_get_qr(received + at + 2));
	}
}

static void step(struct dnsd *dnsd, struct cursor *c)
{
	uint8_t step = cursor_byte(c);

	if (step < 64)
		ask_udp(dnsd, c, step);
	else if (step < 112)
		client_bytes(dnsd, c, step);
	else if (step < 208)
		upstream_answer(c, step);
	else if (step < 224)
		fake_hang_up(pick(cursor_byte(c), step & 1));
	else
		fake_tick();
	while (sd_event_run(dnsd->loop, 0) > 0)
		;
	read_clients();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char *const upstreams[] = { (char *)"192.0.2.1", (char *)"192.0.2.2:5300", NULL };
	const struct dnsd_config config = { .forward = (char **)upstreams };
	struct dnsd dnsd = { .config = &config, .next_id = 2, .loaded = true };
	struct cursor c = { data, data + size };
	static sd_event *loop;
	static struct zone *zone;

	if (!loop) {
		HOLDS(sd_event_new(&loop) >= 0);
		zone = zone_new();
	}
	address_parse("127.0.0.1", 4000, &local);
	edns_asked = false;
	memset(is_client, 0, sizeof(is_client));
	dnsd.loop = loop;
	dnsd.zone = zone;
	TAILQ_INIT(&dnsd.connections);
	TAILQ_INIT(&dnsd.deferred);
	HOLDS(upstream_start(&dnsd) == 0);
	for (int steps = 0; cursor_left(&c) && steps < STEPS_MAX; steps++)
		step(&dnsd, &c);
	upstream_free(&dnsd);
	tcp_free(&dnsd);
	fake_sockets_end();
	fake_loop_end();
	return 0;
}
