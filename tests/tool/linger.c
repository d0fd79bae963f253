/* linger: connections that last, and what became of each.
 *
 *   linger [-w WEBSOCKETS] [-d DOWNLOADS] [-b BYTES] [-r RATE] [-H HOST] ADDRESS:PORT
 *
 * Each WebSocket sends a message PINGS times a second and waits for its echo; each download takes
 * BYTES at RATE bytes a second, compares them with what testsvc sends, and begins again. One that
 * is cut is opened anew at once. A line for each end, its time in milliseconds since 1970:
 *
 *   MS websocket|download NAME cut|refused|wrong WHAT
 *
 * NAME is the service that answered (X-Name), - when none did. `cut` alone says nothing bad yet:
 * whoever knows when the connections of NAME were given up judges it. At TERM or INT the WebSockets
 * are closed and the downloads ended, and the last line is a summary. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/tool/target.h"
#include "tests/tool/wire.h"

#define PATIENCE_S 30 /* nothing comes for so long: the connection has failed */
#define PINGS 20
#define PIECE 65536 /* bytes of a download that are read at once */

struct connection {
	int fd;
	const char *kind;
	char name[64];
	char head[2048]; /* of the answer, and what came with it */
	size_t size;	 /* of head */
	size_t body;	 /* where in it the head ends */
	int status;
};

static struct sockaddr_in target;
static const char *host;
static uint64_t bytes = 100000000, rate = 50000000;
static atomic_bool ending;
static atomic_ulong handshakes, echoes, downloads, whole, cut, refused, wrong;

static void wait_until(int64_t us)
{
	struct timespec at = { us / 1000000, us % 1000000 * 1000 };

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
}

static void tell(const struct connection *c, atomic_ulong *counter, const char *how,
		 const char *what)
{
	(*counter)++;
	printf("%" PRId64 " %s %s %s %s\n", now_us(CLOCK_REALTIME) / 1000, c->kind,
	       c->name[0] ? c->name : "-", how, what);
}

/* Why recv gave no more: what errno says, or the other side's end. */
static const char *why(ssize_t n)
{
	return n < 0 ? strerror(errno) : "ended by the other side";
}

static void close_connection(struct connection *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

/* Connects, asks, and reads the head of the answer. What went wrong has been told. */
static bool begin(struct connection *c, const char *request, int wanted)
{
	struct timeval patience = { PATIENCE_S, 0 };
	char what[64];
	ssize_t n = -1;
	char *end = NULL;

	c->name[0] = '\0';
	c->size = 0;
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
	if (connect(c->fd, (struct sockaddr *)&target, sizeof(target)) < 0 ||
	    send(c->fd, request, strlen(request), MSG_NOSIGNAL) < 0) {
		tell(c, &refused, "refused", strerror(errno));
		close_connection(c);
		return false;
	}
	while (!end && c->size < sizeof(c->head) - 1 &&
	       (n = recv(c->fd, c->head + c->size, sizeof(c->head) - 1 - c->size, 0)) > 0) {
		c->size += (size_t)n;
		c->head[c->size] = '\0';
		end = strstr(c->head, "\r\n\r\n");
	}
	if (!end || sscanf(c->head, "HTTP/1.%*1[01] %3d", &c->status) != 1) {
		tell(c, &refused, "refused", why(n));
		close_connection(c);
		return false;
	}
	c->body = (size_t)(end + 4 - c->head);
	end[2] = '\0'; /* the head alone is looked through */
	header_get(c->head, "X-Name", c->name, sizeof(c->name));
	if (c->status != wanted) {
		snprintf(what, sizeof(what), "status %d", c->status);
		tell(c, &refused, "refused", what);
		close_connection(c);
		return false;
	}
	return true;
}

static bool websocket_open(struct connection *c)
{
	char key[BASE64_ENCODE_RAW_LENGTH(16) + 1] = "", request[512];
	char accept[64], expected[ACCEPT_SIZE + 1];
	uint8_t nonce[16];

	if (getrandom(nonce, sizeof(nonce), 0) != sizeof(nonce))
		return false;
	base64_encode_raw(key, sizeof(nonce), nonce);
	snprintf(request, sizeof(request),
		 "GET /echo HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
		 "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n",
		 host, key);
	handshakes++;
	if (!begin(c, request, 101))
		return false;
	header_get(c->head, "Sec-WebSocket-Accept", accept, sizeof(accept));
	websocket_accept(key, expected);
	if (strcmp(accept, expected) != 0 || c->size != c->body) {
		tell(c, &wrong, "wrong", "Sec-WebSocket-Accept");
		close_connection(c);
		return false;
	}
	return true;
}

/* A frame of opcode with `size` (at most 125) bytes, masked as a client has to. */
static bool websocket_send(int fd, int opcode, const char *payload, size_t size)
{
	uint8_t frame[6 + 125];

	frame[0] = (uint8_t)(0x80 | opcode);
	frame[1] = (uint8_t)(0x80 | size);
	if (getrandom(frame + 2, 4, 0) != 4)
		return false;
	for (size_t i = 0; i < size; i++)
		frame[6 + i] = (uint8_t)payload[i] ^ frame[2 + i % 4];
	return send(fd, frame, 6 + size, MSG_NOSIGNAL) == (ssize_t)(6 + size);
}

/* One message and its echo. False: the connection is over, and that has been told. */
static bool websocket_ask(struct connection *c, unsigned long number)
{
	char text[64];
	uint8_t back[2 + sizeof(text)];
	size_t size = (size_t)snprintf(text, sizeof(text), "message %lu", number);
	ssize_t n;

	if (!websocket_send(c->fd, OPCODE_TEXT, text, size)) {
		tell(c, &cut, "cut", strerror(errno));
		return false;
	}
	n = recv(c->fd, back, 2 + size, MSG_WAITALL);
	if (n != (ssize_t)(2 + size)) {
		tell(c, &cut, "cut", why(n));
		return false;
	}
	if (back[0] != 0x81 || back[1] != size || memcmp(back + 2, text, size) != 0) {
		tell(c, &wrong, "wrong", "another echo than was sent");
		return false;
	}
	echoes++;
	return true;
}

static void *run_websocket(void *unused)
{
	struct connection c = { .fd = -1, .kind = "websocket" };

	(void)unused;
	while (!ending) {
		int64_t next = now_us(CLOCK_MONOTONIC);

		if (!websocket_open(&c)) {
			wait_until(next + 100000); /* told; not a hundred times a second */
			continue;
		}
		for (unsigned long n = 1; !ending && websocket_ask(&c, n); n++)
			wait_until(next += 1000000 / PINGS);
		if (ending)
			websocket_send(c.fd, OPCODE_CLOSE, "\x03\xE8", 2); /* 1000: done */
		close_connection(&c);
	}
	return NULL;
}

/* Whether the bytes at `offset` of the pattern are these. */
static bool is_pattern(const uint8_t *data, size_t size, uint64_t offset)
{
	for (size_t i = 0; i < size; i++, offset++)
		if (data[i] != (uint8_t)(offset / 8 * PATTERN >> offset % 8 * 8))
			return false;
	return true;
}

static void download(struct connection *c)
{
	static _Thread_local uint8_t piece[PIECE];
	int64_t began = now_us(CLOCK_MONOTONIC);
	uint64_t got = c->size - c->body;
	char what[96];
	ssize_t n = 0;

	if (!is_pattern((uint8_t *)c->head + c->body, got, 0)) {
		tell(c, &wrong, "wrong", "other bytes than were asked for");
		return;
	}
	while (got < bytes && (n = recv(c->fd, piece, sizeof(piece), 0)) > 0) {
		if (!is_pattern(piece, (size_t)n, got)) {
			tell(c, &wrong, "wrong", "other bytes than were asked for");
			return;
		}
		got += (uint64_t)n;
		wait_until(began + (int64_t)(got * 1000000 / rate));
	}
	if (got == bytes) {
		whole++;
		return;
	}
	snprintf(what, sizeof(what), "after %" PRIu64 " of %" PRIu64 " bytes: %s", got, bytes,
		 why(n));
	tell(c, &cut, "cut", what);
}

static void *run_download(void *unused)
{
	struct connection c = { .fd = -1, .kind = "download" };
	char request[256];

	(void)unused;
	snprintf(request, sizeof(request),
		 "GET /bytes/%" PRIu64 " HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", bytes,
		 host);
	while (!ending) {
		int64_t next = now_us(CLOCK_MONOTONIC) + 100000;

		downloads++;
		if (begin(&c, request, 200))
			download(&c);
		else
			wait_until(next);
		close_connection(&c);
	}
	return NULL;
}

static void usage(void)
{
	fputs("usage: linger [-w WEBSOCKETS] [-d DOWNLOADS] [-b BYTES] [-r RATE] [-H HOST] "
	      "ADDRESS:PORT\n",
	      stderr);
	exit(2);
}

static long count_of(const char *text)
{
	char *end;
	long n = strtol(text, &end, 10);

	if (*end || end == text || n < 0)
		usage();
	return n;
}

static int start_all(long websockets, long streams, pthread_t *threads)
{
	for (long i = 0; i < websockets + streams; i++)
		if (pthread_create(&threads[i], NULL, i < websockets ? run_websocket : run_download,
				   NULL) != 0)
			return -1;
	return 0;
}

int main(int argc, char **argv)
{
	long websockets = 1, streams = 1;
	pthread_t *threads;
	sigset_t signals;
	int option, caught;

	while ((option = getopt(argc, argv, "w:d:b:r:H:")) != -1)
		switch (option) {
		case 'w':
			websockets = count_of(optarg);
			break;
		case 'd':
			streams = count_of(optarg);
			break;
		case 'b':
			bytes = (uint64_t)count_of(optarg);
			break;
		case 'r':
			rate = (uint64_t)count_of(optarg);
			break;
		case 'H':
			host = optarg;
			break;
		default:
			usage();
		}
	if (optind + 1 != argc || websockets + streams == 0 || websockets + streams > 1000 ||
	    !rate || bytes % 8)
		usage();
	if (!target_parse(argv[optind], &target))
		usage();
	host = host ? host : argv[optind];
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	setvbuf(stdout, NULL, _IOLBF, 0);
	threads = calloc((size_t)(websockets + streams), sizeof(*threads));
	if (!threads || start_all(websockets, streams, threads) < 0)
		return 1;
	sigwait(&signals, &caught);
	ending = true;
	for (long i = 0; i < websockets + streams; i++)
		pthread_join(threads[i], NULL);
	free(threads);
	printf("handshakes %lu echoes %lu downloads %lu whole %lu cut %lu refused %lu wrong %lu\n",
	       handshakes, echoes, downloads, whole, cut, refused, wrong);
	return refused || wrong;
}
