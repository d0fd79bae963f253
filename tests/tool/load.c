/* load: a steady load of HTTP requests, and an honest count of what came back.
 *
 *   load [-k KEPT] [-n NEW] [-r RATE] [-s SECONDS] [-H HOST] ADDRESS:PORT [PATH]
 *
 * KEPT connections are kept alive, NEW threads open one for each request; each of them asks RATE
 * times a second. Ends after SECONDS, or at TERM or INT, with one line; the first failures go to
 * stderr as they happen. Exit 0 when every answer was 2xx. */
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/tool/target.h"

#define PATIENCE_S 30		    /* an answer that takes longer has failed */
#define SHOWN 10		    /* failures that are described */
#define BUCKETS (PATIENCE_S * 4000) /* of latency, a quarter of a millisecond each */
#define SEEN 128

struct asker {
	pthread_t thread;
	bool kept;
};

static struct sockaddr_in target;
static char request[1024];
static long interval_us = 10000;
static atomic_bool ending;
static atomic_ulong requests, good, bad_status, errors, shown;
static atomic_ulong latency[BUCKETS];
static int64_t began;

static struct {
	pthread_mutex_t lock;
	char text[SEEN][64]; /* first lines of bodies */
	unsigned long count[SEEN];
} seen = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void note_body(const char *body)
{
	size_t length = strcspn(body, "\r\n");

	if (length > sizeof(seen.text[0]) - 1)
		length = sizeof(seen.text[0]) - 1;
	pthread_mutex_lock(&seen.lock);
	for (size_t i = 0; i < SEEN; i++) {
		if (!seen.count[i])
			memcpy(seen.text[i], body, length);
		if (strlen(seen.text[i]) == length && memcmp(seen.text[i], body, length) == 0) {
			seen.count[i]++;
			break;
		}
	}
	pthread_mutex_unlock(&seen.lock);
}

static void failed(atomic_ulong *counter, bool kept, const char *what)
{
	(*counter)++;
	if (shown++ < SHOWN)
		fprintf(stderr, "load: after %.3f s, %s connection: %s\n",
			(double)(now_us(CLOCK_MONOTONIC) - began) / 1e6, kept ? "kept" : "new",
			what);
}

static int open_connection(void)
{
	struct timeval patience = { PATIENCE_S, 0 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
	if (connect(fd, (struct sockaddr *)&target, sizeof(target)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/* Closed by the other side while nothing was asked: a kept connection may end so at any time. */
static bool ended_idle(int fd)
{
	struct pollfd ready = { .fd = fd, .events = POLLIN };

	return poll(&ready, 1, 0) > 0;
}

/* Reads one answer whole. Its status, 0 when the connection ended before it, or -1 with errno
 * set. */
static int read_answer(int fd, bool *ret_close)
{
	char buffer[65536];
	size_t size = 0, want = sizeof(buffer) - 1;
	char *body = NULL;
	int status = 0;

	while (size < want) {
		ssize_t n = recv(fd, buffer + size, sizeof(buffer) - 1 - size, 0);

		if (n < 0)
			return -1;
		if (n == 0)
			break;
		size += (size_t)n;
		buffer[size] = '\0';
		if (!body && (body = strstr(buffer, "\r\n\r\n"))) {
			char *length = strcasestr(buffer, "\r\ncontent-length:");

			body += 4;
			*ret_close = strcasestr(buffer, "\r\nconnection: close") != NULL ||
				     !length || length > body;
			if (sscanf(buffer, "HTTP/1.%*1[01] %3d", &status) != 1)
				return 0;
			if (length && length < body)
				want = (size_t)(body - buffer) + strtoul(length + 17, NULL, 10);
		}
	}
	if (!body || (size < want && want != sizeof(buffer) - 1))
		return 0;
	if (status >= 200 && status < 300)
		note_body(body);
	return status;
}

static void ask(int *fd, bool kept)
{
	bool reused, closing = true;
	int64_t start, spent;
	char what[64];
	int status;

	if (*fd >= 0 && ended_idle(*fd)) {
		close(*fd);
		*fd = -1;
	}
	reused = *fd >= 0;
	requests++;
	start = now_us(CLOCK_MONOTONIC);
	if (!reused && (*fd = open_connection()) < 0) {
		failed(&errors, kept, strerror(errno));
		return;
	}
	if (send(*fd, request, strlen(request), MSG_NOSIGNAL) < 0)
		status = -1;
	else
		status = read_answer(*fd, &closing);
	spent = (now_us(CLOCK_MONOTONIC) - start) / 250;
	latency[spent < BUCKETS ? spent : BUCKETS - 1]++;
	if (status >= 200 && status < 300) {
		good++;
	} else if (status > 0) {
		snprintf(what, sizeof(what), "status %d", status);
		failed(&bad_status, kept, what);
	} else {
		failed(&errors, kept,
		       status < 0 ? strerror(errno)
		       : reused	  ? "ended before the answer, reused"
				  : "ended before the answer");
		closing = true;
	}
	if (closing || !kept) {
		close(*fd);
		*fd = -1;
	}
}

static void *run(void *arg)
{
	const struct asker *asker = arg;
	int64_t next = now_us(CLOCK_MONOTONIC);
	int fd = -1;

	while (!ending) {
		int64_t left;

		ask(&fd, asker->kept);
		next += interval_us;
		left = next - now_us(CLOCK_MONOTONIC);
		if (left > 0)
			nanosleep(&(struct timespec){ left / 1000000, left % 1000000 * 1000 },
				  NULL);
		else
			next -= left; /* late: no burst to make up for it */
	}
	if (fd >= 0)
		close(fd);
	return NULL;
}

static double percentile_ms(double share)
{
	unsigned long total = 0, sum = 0;

	for (int i = 0; i < BUCKETS; i++)
		total += latency[i];
	for (int i = 0; i < BUCKETS; i++) {
		sum += latency[i];
		if (total && (double)sum >= share * (double)total)
			return (i + 1) * 0.25;
	}
	return 0;
}

static void report(void)
{
	printf("requests %lu good %lu status %lu errors %lu p50_ms %.2f p99_ms %.2f max_ms %.2f",
	       requests, good, bad_status, errors, percentile_ms(0.5), percentile_ms(0.99),
	       percentile_ms(1));
	for (size_t i = 0; i < SEEN && seen.count[i]; i++)
		printf(" %s=%lu", seen.text[i][0] ? seen.text[i] : "-", seen.count[i]);
	putchar('\n');
}

static void usage(void)
{
	fputs("usage: load [-k KEPT] [-n NEW] [-r RATE] [-s SECONDS] [-H HOST] ADDRESS:PORT "
	      "[PATH]\n",
	      stderr);
	exit(2);
}

int main(int argc, char **argv)
{
	long kept = 2, fresh = 2, rate = 100, seconds = 0, option;
	struct timespec *limit = NULL, end_after = { 0, 0 };
	struct asker *askers;
	const char *host;
	sigset_t signals;

	host = NULL;
	while ((option = getopt(argc, argv, "k:n:r:s:H:")) != -1)
		switch (option) {
		case 'k':
			kept = strtol(optarg, NULL, 10);
			break;
		case 'n':
			fresh = strtol(optarg, NULL, 10);
			break;
		case 'r':
			rate = strtol(optarg, NULL, 10);
			break;
		case 's':
			seconds = strtol(optarg, NULL, 10);
			break;
		case 'H':
			host = optarg;
			break;
		default:
			usage();
		}
	if (optind >= argc || rate <= 0 || kept < 0 || fresh < 0 || kept + fresh == 0 ||
	    kept + fresh > 1000)
		usage();
	if (!target_parse(argv[optind], &target))
		usage();
	interval_us = 1000000 / rate;
	snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n",
		 optind + 1 < argc ? argv[optind + 1] : "/", host ? host : argv[optind]);

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	began = now_us(CLOCK_MONOTONIC);
	askers = calloc((size_t)(kept + fresh), sizeof(*askers));
	if (!askers)
		return 1;
	for (long i = 0; i < kept + fresh; i++) {
		askers[i].kept = i < kept;
		if (pthread_create(&askers[i].thread, NULL, run, &askers[i]) != 0)
			return 1;
	}
	if (seconds > 0) {
		end_after.tv_sec = seconds;
		limit = &end_after;
	}
	sigtimedwait(&signals, NULL, limit);
	ending = true;
	for (long i = 0; i < kept + fresh; i++)
		pthread_join(askers[i].thread, NULL);
	free(askers);
	report();
	return good == requests ? 0 : 1;
}
