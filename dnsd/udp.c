/* UDP: batches of queries from a socket, and their answers. */
#include "dnsd/dnsd.h"

#include <unistd.h>

int udp_open(const struct address *address, bool free_bind)
{
	int fd = socket(address->socket.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
	    yes = 1;
	int buffer = DNSD_SOCKET_BUFFER, r;

	if (fd < 0)
		return -errno;
	if (free_bind)
		setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &yes, sizeof(yes));
	if (address->socket.ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof(yes));
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof(buffer));
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer));
	if (bind(fd, (const struct sockaddr *)&address->socket, address->length) < 0) {
		r = -errno;
		close(fd);
		return r;
	}
	return fd;
}

struct batch {
	struct mmsghdr in[DNSD_BATCH], out[DNSD_BATCH];
	struct iovec in_data[DNSD_BATCH], out_data[DNSD_BATCH];
	struct client clients[DNSD_BATCH];
	uint8_t queries[DNSD_BATCH][DNSD_PACKET];
	uint8_t answers[DNSD_BATCH][DNSD_UDP_MAX];
};

/* An answer that does not fit into the socket's buffer is lost, as any UDP packet may be. */
static void send_batch(struct dnsd *dnsd, int fd, struct batch *batch, unsigned count)
{
	unsigned at = 0;

	while (at < count) {
		int n = sendmmsg(fd, batch->out + at, count - at, MSG_DONTWAIT);

		if (n > 0) {
			at += (unsigned)n;
		} else if (errno != EINTR) {
			dnsd->counts.dropped++;
			at++;
		}
	}
}

void udp_read(struct dnsd *dnsd, uint64_t listener, int fd)
{
	struct batch batch;
	unsigned replies = 0;
	int count;

	for (size_t i = 0; i < DNSD_BATCH; i++) {
		batch.in_data[i] = (struct iovec){ batch.queries[i], DNSD_PACKET };
		batch.in[i] =
			(struct mmsghdr){ .msg_hdr = { .msg_name = &batch.clients[i].from.socket,
						       .msg_namelen =
							       sizeof(struct sockaddr_storage),
						       .msg_iov = &batch.in_data[i],
						       .msg_iovlen = 1 } };
	}
	count = recvmmsg(fd, batch.in, DNSD_BATCH, MSG_DONTWAIT, NULL);
	for (int i = 0; i < count; i++) {
		struct client *client = &batch.clients[i];
		size_t size;

		client->listener = listener;
		client->connection = 0;
		client->from.length = batch.in[i].msg_hdr.msg_namelen;
		dnsd->counts.udp++;
		if (!query_answer(dnsd, client, batch.queries[i], batch.in[i].msg_len,
				  batch.answers[replies], &size))
			continue;
		batch.out_data[replies] = (struct iovec){ batch.answers[replies], size };
		batch.out[replies] =
			(struct mmsghdr){ .msg_hdr = { .msg_name = &client->from.socket,
						       .msg_namelen = client->from.length,
						       .msg_iov = &batch.out_data[replies],
						       .msg_iovlen = 1 } };
		replies++;
	}
	send_batch(dnsd, fd, &batch, replies);
}

void udp_send(int fd, const struct address *to, const uint8_t *wire, size_t size)
{
	if (sendto(fd, wire, size, MSG_DONTWAIT, (const struct sockaddr *)&to->socket, to->length) <
	    0)
		log_debug("cannot send an answer: %s", strerror(errno));
}
