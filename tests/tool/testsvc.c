/* testsvc: the service inside the tests' containers. Static, so that an image is this one file.
 * It answers HTTP/1.1 and echoes WebSockets (RFC 6455), and misbehaves in the ways that its
 * arguments ask for. Every answer says the service's name in X-Name. */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <resolv.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/tool/wire.h"

#define REQUEST_MAX 8192
#define BODY_MAX 65536
#define FRAME_MAX 65535 /* of a WebSocket: one that is longer ends the connection */

struct answer {
	int status;
	size_t size;
	char body[BODY_MAX];
	uint64_t words; /* of the pattern, behind the body */
};

/* A path that begins with `prefix`; `rest` is what follows it. */
struct page {
	const char *prefix;
	void (*give)(const char *rest, struct answer *answer);
};

static const char *service_name = "testsvc";
static atomic_bool healthy = true;

static void wait_ms(long ms)
{
	struct timespec left = { ms / 1000, ms % 1000 * 1000000 };

	while (nanosleep(&left, &left) < 0 && errno == EINTR)
		;
}

static void __attribute__((format(printf, 3, 4)))
say(struct answer *answer, int status, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(answer->body, sizeof(answer->body), format, args);
	va_end(args);
	answer->status = status;
	answer->size = n < 0				  ? 0
		       : (size_t)n < sizeof(answer->body) ? (size_t)n
							  : sizeof(answer->body) - 1;
}

static void give_env(const char *rest, struct answer *answer)
{
	const char *value = getenv(rest);

	say(answer, value ? 200 : 404, "%s\n", value ? value : "");
}

static void give_file(const char *rest, struct answer *answer)
{
	char path[512];
	FILE *file;

	snprintf(path, sizeof(path), "/%s", rest);
	file = fopen(path, "re");
	if (!file) {
		say(answer, 404, "%s: %s\n", path, strerror(errno));
		return;
	}
	answer->size = fread(answer->body, 1, sizeof(answer->body), file);
	answer->status = 200;
	fclose(file);
}

static void give_slow(const char *rest, struct answer *answer)
{
	wait_ms(strtol(rest, NULL, 10));
	say(answer, 200, "%s\n", service_name);
}

static void give_exit(const char *rest, struct answer *answer)
{
	(void)answer;
	_exit((int)strtol(rest, NULL, 10));
}

static void give_health(const char *rest, struct answer *answer)
{
	(void)rest;
	say(answer, healthy ? 200 : 503, "%s\n", healthy ? "ready" : "unready");
}

static void give_sick(const char *rest, struct answer *answer)
{
	(void)rest;
	healthy = false;
	say(answer, 200, "unready from now on\n");
}

static void give_well(const char *rest, struct answer *answer)
{
	(void)rest;
	healthy = true;
	say(answer, 200, "ready from now on\n");
}

/* The addresses of a name, as the container's own resolver tells them: one a line. */
static size_t resolve(const char *name, struct in_addr *ret, size_t max)
{
	unsigned char reply[4096];
	size_t n = 0;
	ns_msg msg;
	ns_rr rr;
	int size;

	size = res_search(name, ns_c_in, ns_t_a, reply, sizeof(reply));
	if (size < 0 || ns_initparse(reply, size, &msg) < 0)
		return 0;
	for (int i = 0; i < ns_msg_count(msg, ns_s_an) && n < max; i++)
		if (ns_parserr(&msg, ns_s_an, i, &rr) == 0 && ns_rr_type(rr) == ns_t_a &&
		    ns_rr_rdlen(rr) == 4)
			memcpy(&ret[n++], ns_rr_rdata(rr), 4);
	return n;
}

static void give_resolve(const char *rest, struct answer *answer)
{
	struct in_addr addresses[64];
	size_t n = resolve(rest, addresses, 64);

	answer->status = n ? 200 : 404;
	for (size_t i = 0; i < n; i++)
		answer->size += (size_t)snprintf(answer->body + answer->size, 32, "%s\n",
						 inet_ntoa(addresses[i]));
}

/* fetch/NAME:PORT/PATH: what another service answers, found by its name. */
static void give_fetch(const char *rest, struct answer *answer)
{
	struct sockaddr_in to = { .sin_family = AF_INET };
	struct timeval patience = { 5, 0 };
	char name[256], request[1024];
	unsigned port;
	int at = 0, fd;
	ssize_t n;
	char *body;

	if (sscanf(rest, "%255[^:/]:%u%n", name, &port, &at) != 2 || at == 0) {
		say(answer, 400, "fetch/NAME:PORT/PATH\n");
		return;
	}
	if (resolve(name, &to.sin_addr, 1) == 0) {
		say(answer, 502, "%s: no such name\n", name);
		return;
	}
	to.sin_port = htons((uint16_t)port);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	snprintf(request, sizeof(request), "GET %.512s HTTP/1.0\r\nHost: %s\r\n\r\n",
		 rest[at] ? rest + at : "/", name);
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 ||
	    send(fd, request, strlen(request), MSG_NOSIGNAL) < 0) {
		say(answer, 502, "%s:%u: %s\n", name, port, strerror(errno));
		close(fd);
		return;
	}
	while (answer->size < BODY_MAX - 1 &&
	       (n = recv(fd, answer->body + answer->size, BODY_MAX - 1 - answer->size, 0)) > 0)
		answer->size += (size_t)n;
	close(fd);
	answer->body[answer->size] = '\0';
	body = strstr(answer->body, "\r\n\r\n");
	answer->status = body ? 200 : 502;
	if (body) {
		answer->size = strlen(body + 4);
		memmove(answer->body, body + 4, answer->size);
	}
}

/* bytes/N: N bytes of the pattern, rounded up to whole words. */
static void give_bytes(const char *rest, struct answer *answer)
{
	answer->status = 200;
	answer->words = (strtoull(rest, NULL, 10) + 7) / 8;
}

static void give_name(const char *rest, struct answer *answer)
{
	char host[256] = "";

	(void)rest;
	gethostname(host, sizeof(host) - 1);
	say(answer, 200, "%s\nhost %s\n", service_name, host);
}

static const struct page pages[] = {
	{ "/env/", give_env },	   { "/file/", give_file },    { "/slow/", give_slow },
	{ "/exit/", give_exit },   { "/health", give_health }, { "/sick", give_sick },
	{ "/well", give_well },	   { "/fetch/", give_fetch },  { "/resolve/", give_resolve },
	{ "/bytes/", give_bytes }, { "/", give_name },
};

static bool send_all(int fd, const char *data, size_t size)
{
	while (size > 0) {
		ssize_t n = send(fd, data, size, MSG_NOSIGNAL);

		if (n <= 0)
			return false;
		data += n;
		size -= (size_t)n;
	}
	return true;
}

static bool send_words(int fd, uint64_t count)
{
	uint64_t words[2048], at = 0;

	while (at < count) {
		size_t n = 0;

		while (n < sizeof(words) / sizeof(words[0]) && at < count)
			words[n++] = at++ * PATTERN;
		if (!send_all(fd, (const char *)words, n * sizeof(words[0])))
			return false;
	}
	return true;
}

static bool receive_all(int fd, void *to, size_t size)
{
	return recv(fd, to, size, MSG_WAITALL) == (ssize_t)size;
}

static bool shake_hands(int fd, const char *request)
{
	char key[64], accept[ACCEPT_SIZE + 1], head[512];

	header_get(request, "Sec-WebSocket-Key", key, sizeof(key));
	websocket_accept(key, accept);
	snprintf(head, sizeof(head),
		 "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
		 "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\nX-Name: %s\r\n\r\n",
		 accept, service_name);
	return send_all(fd, head, strlen(head));
}

/* One frame comes, and goes back as the other side has to send it: not masked. False: the end. */
static bool echo_frame(int fd, uint8_t *payload)
{
	uint8_t head[2], longer[8], mask[4], back[4];
	uint64_t size;
	int opcode;

	if (!receive_all(fd, head, sizeof(head)) || !(head[1] & 0x80))
		return false;
	opcode = head[0] & 0x0F;
	size = head[1] & 0x7F;
	if (size >= 126) {
		size_t n = size == 126 ? 2 : 8;

		if (!receive_all(fd, longer, n))
			return false;
		size = 0;
		for (size_t i = 0; i < n; i++)
			size = size << 8 | longer[i];
	}
	if (size > FRAME_MAX || !receive_all(fd, mask, sizeof(mask)) ||
	    (size && !receive_all(fd, payload, size)))
		return false;
	for (size_t i = 0; i < size; i++)
		payload[i] ^= mask[i % 4];
	back[0] = opcode == OPCODE_PING ? (head[0] & 0xF0) | OPCODE_PONG : head[0];
	back[1] = size < 126 ? (uint8_t)size : 126;
	back[2] = (uint8_t)(size >> 8);
	back[3] = (uint8_t)size;
	return send_all(fd, (const char *)back, size < 126 ? 2 : 4) &&
	       send_all(fd, (const char *)payload, size) && opcode != OPCODE_CLOSE;
}

static void echo(int fd, const char *request)
{
	uint8_t *payload = malloc(FRAME_MAX);

	if (payload && shake_hands(fd, request))
		while (echo_frame(fd, payload))
			;
	free(payload);
}

static bool answer_one(int fd, char *request)
{
	static const char *const closing[] = { "\nconnection: close", "\nConnection: close",
					       " HTTP/1.0\r" };
	char method[16], path[1024], head[256];
	struct answer *answer;
	bool keep = true;

	for (size_t i = 0; i < sizeof(closing) / sizeof(closing[0]); i++)
		if (strstr(request, closing[i]))
			keep = false;
	if (sscanf(request, "%15s %1023s", method, path) != 2)
		return false;
	if (strcmp(path, "/echo") == 0) {
		echo(fd, request);
		return false;
	}
	answer = calloc(1, sizeof(*answer));
	if (!answer)
		return false;
	for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++)
		if (strncmp(path, pages[i].prefix, strlen(pages[i].prefix)) == 0) {
			pages[i].give(path + strlen(pages[i].prefix), answer);
			break;
		}
	snprintf(head, sizeof(head),
		 "HTTP/1.1 %d %s\r\nContent-Length: %" PRIu64 "\r\nX-Name: %s\r\n%s\r\n",
		 answer->status, answer->status < 400 ? "OK" : "No",
		 answer->size + answer->words * 8, service_name,
		 keep ? "" : "Connection: close\r\n");
	keep = send_all(fd, head, strlen(head)) && send_all(fd, answer->body, answer->size) &&
	       send_words(fd, answer->words) && keep;
	free(answer);
	return keep;
}

static void *serve(void *arg)
{
	int fd = (int)(intptr_t)arg;
	char request[REQUEST_MAX];
	size_t size = 0;
	char *end;
	ssize_t n;

	while (size < sizeof(request) - 1 &&
	       (n = recv(fd, request + size, sizeof(request) - 1 - size, 0)) > 0) {
		size += (size_t)n;
		request[size] = '\0';
		while ((end = strstr(request, "\r\n\r\n"))) {
			size_t used = (size_t)(end + 4 - request);

			end[2] = '\0';
			if (!answer_one(fd, request))
				goto out;
			size -= used;
			memmove(request, request + used, size + 1);
		}
	}
out:
	close(fd);
	return NULL;
}

static int listen_on(long port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int));
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 1024) < 0) {
		perror("testsvc: cannot listen");
		exit(1);
	}
	return fd;
}

static void end(int signal)
{
	(void)signal;
	_exit(0);
}

static void *die_later(void *arg)
{
	wait_ms((long)(intptr_t)arg);
	fprintf(stderr, "%s: dies, as it was told\n", service_name);
	_exit(3);
}

/* Bytes of every value, as fast as somebody takes them: with line breaks among them, and zeros, and
 * what is no UTF-8. */
static void *print_garbage(void *arg)
{
	char bytes[4096];
	unsigned state = 1;

	(void)arg;
	for (;;) {
		for (size_t i = 0; i < sizeof(bytes); i++) {
			state = state * 1103515245u + 12345u;
			bytes[i] = (char)(state >> 16);
		}
		if (write(STDOUT_FILENO, bytes, sizeof(bytes)) < 0)
			return NULL;
		wait_ms(1);
	}
}

/* So many MB without one line break. */
static void *print_flood(void *arg)
{
	static char piece[1 << 16];

	memset(piece, 'x', sizeof(piece));
	for (intptr_t left = (intptr_t)arg * 16; left > 0; left--)
		if (write(STDOUT_FILENO, piece, sizeof(piece)) < 0)
			break;
	return NULL;
}

/* Takes the connection, and then says nothing, for ever; or an answer of one byte a second. */
static void *hold(void *arg)
{
	char byte;

	while (recv((int)(intptr_t)arg, &byte, 1, 0) > 0)
		;
	close((int)(intptr_t)arg);
	return NULL;
}

static void *drip(void *arg)
{
	static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n";

	for (size_t i = 0;; i++) {
		char byte = i < sizeof(answer) - 1 ? answer[i] : 'x';

		if (send((int)(intptr_t)arg, &byte, 1, MSG_NOSIGNAL) < 0)
			break;
		wait_ms(1000);
	}
	close((int)(intptr_t)arg);
	return NULL;
}

static void start_thread(void *(*function)(void *), intptr_t arg)
{
	pthread_attr_t attr;
	pthread_t thread;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&thread, &attr, function, (void *)arg) != 0 && function != die_later &&
	    function != print_garbage && function != print_flood)
		close((int)arg);
	pthread_attr_destroy(&attr);
}

/* What the command line says. */
static long port = 8080, start_after, die_after, flood_mb;
static int exit_with = -1;
static bool ignore_term, garbage;
static void *(*answering)(void *) = serve;

/* 0, or 2 for a word that is none. */
static int take_options(int argc, char **argv)
{
	static const struct option options[] = {
		{ "port", required_argument, NULL, 'p' },
		{ "name", required_argument, NULL, 'n' },
		{ "start-after", required_argument, NULL, 's' },
		{ "die-after", required_argument, NULL, 'd' },
		{ "exit", required_argument, NULL, 'e' },
		{ "ignore-term", no_argument, NULL, 'i' },
		{ "garbage", no_argument, NULL, 'g' },
		{ "flood-mb", required_argument, NULL, 'f' },
		{ "hold", no_argument, NULL, 'h' },
		{ "drip", no_argument, NULL, 'r' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (option) {
		case 'p':
			port = strtol(optarg, NULL, 10);
			break;
		case 'g':
			garbage = true;
			break;
		case 'f':
			flood_mb = strtol(optarg, NULL, 10);
			break;
		case 'h':
			answering = hold;
			break;
		case 'r':
			answering = drip;
			break;
		case 'n':
			service_name = optarg;
			break;
		case 's':
			start_after = strtol(optarg, NULL, 10);
			break;
		case 'd':
			die_after = strtol(optarg, NULL, 10);
			break;
		case 'e':
			exit_with = (int)strtol(optarg, NULL, 10);
			break;
		case 'i':
			ignore_term = true;
			break;
		default:
			return 2;
		}
	return 0;
}

int main(int argc, char **argv)
{
	int fd, r = take_options(argc, argv);

	if (r)
		return r;
	/* The first process of a container ignores what it has no handler for. */
	signal(SIGTERM, ignore_term ? SIG_IGN : end);
	signal(SIGINT, end);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (start_after)
		wait_ms(start_after);
	if (exit_with >= 0) {
		fprintf(stderr, "%s: exits with %d, as it was told\n", service_name, exit_with);
		return exit_with;
	}
	fd = listen_on(port);
	printf("%s: listens on port %ld\n", service_name, port);
	if (die_after)
		start_thread(die_later, die_after);
	if (garbage)
		start_thread(print_garbage, 0);
	if (flood_mb)
		start_thread(print_flood, flood_mb);
	for (;;) {
		int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

		if (client < 0)
			continue;
		setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
		start_thread(answering, client);
	}
}
