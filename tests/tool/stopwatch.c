/* stopwatch: how long something takes until it is seen from outside.
 *
 *   stopwatch engine SOCKET COUNT NAME <BODY
 *       Creates COUNT containers NAME-0, NAME-1, … of the body on standard input and starts them,
 *       straight by the engine's API: all at once, each on a connection of its own that was opened
 *       before the clock began.
 *   stopwatch command COMMAND…
 *       Runs the command; until it has ended.
 *   stopwatch swarm SOCKET COUNT SERVICE COMMAND…
 *       Runs the command; until Swarm says of COUNT tasks of that service that they run. Before
 *       the engine has told of COUNT starts of its containers Swarm is not asked.
 *   stopwatch routed SOCKET COUNT LABEL=VALUE ADDRESS:PORT HOST COMMAND…
 *       Runs the command; until COUNT different containers have answered through the gateway
 *       (testsvc names its container in its second line). Before the engine has told of COUNT
 *       starts of containers with that label the gateway is not asked: none of its answers could
 *       be the last one, and to ask would be work for the machine that is measured.
 *
 * Prints `seen_ms N`, and with a command also `returned_ms N exit N`; where starts are waited for
 * `started_ms N`, the last of them, before that. Exit 1 when it was not seen.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/tool/target.h"

#define PATIENCE_MS 60000
#define PAUSE_US \
	5000 /* between two requests while nothing is routed: the load of them is nothing */
#define COUNT_MAX 256
#define TEXT_MAX 65536
#define TASKS_MAX (1024 * 1024)

struct creation {
	pthread_t thread;
	int fd, number;
	bool done;
};

static const char *container_name, *service;
static char body[TEXT_MAX];
static size_t body_size;
static pthread_barrier_t together;
static pid_t child;
static double began_ms, returned_ms;
static int exit_code = -1;

static double now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static void die(const char *what)
{
	fprintf(stderr, "stopwatch: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int engine_open(const char *path)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(to.sun_path)) {
		errno = ENAMETOOLONG;
		die(path);
	}
	strcpy(to.sun_path, path);
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		die(path);
	return fd;
}

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

/* Reads until `enough` says so; the answer's status, or 0. */
static int receive(int fd, char *text, size_t max, bool (*enough)(const char *text))
{
	size_t size = 0;
	int status = 0;
	ssize_t n;

	text[0] = '\0';
	while (!enough(text) && size < max - 1 &&
	       (n = recv(fd, text + size, max - 1 - size, 0)) > 0) {
		size += (size_t)n;
		text[size] = '\0';
	}
	return sscanf(text, "HTTP/1.%*1[01] %3d", &status) == 1 ? status : 0;
}

/* The whole head, and as much behind it as it says. */
static bool whole_answer(const char *text)
{
	const char *end = strstr(text, "\r\n\r\n"),
		   *length = strcasestr(text, "\r\ncontent-length:");

	if (!end)
		return false;
	return !length || length > end || strlen(end + 4) >= strtoul(length + 17, NULL, 10);
}

static bool whole_head(const char *text)
{
	return strstr(text, "\r\n\r\n") != NULL;
}

static int engine_ask(int fd, const char *path, const char *data, size_t size, char *answer)
{
	char head[512];
	int n = snprintf(
		head, sizeof(head),
		"POST /v1.41%s HTTP/1.1\r\nHost: engine\r\nContent-Type: application/json\r\n"
		"Content-Length: %zu\r\n\r\n",
		path, size);

	if (!send_all(fd, head, (size_t)n) || !send_all(fd, data, size))
		return 0;
	return receive(fd, answer, TEXT_MAX, whole_answer);
}

static void *create_and_start(void *arg)
{
	struct creation *creation = arg;
	char path[256], answer[TEXT_MAX];
	int status;

	pthread_barrier_wait(&together);
	snprintf(path, sizeof(path), "/containers/create?name=%s-%d", container_name,
		 creation->number);
	status = engine_ask(creation->fd, path, body, body_size, answer);
	if (status == 201) {
		snprintf(path, sizeof(path), "/containers/%s-%d/start", container_name,
			 creation->number);
		status = engine_ask(creation->fd, path, "", 0, answer);
	}
	creation->done = status == 204;
	if (!creation->done)
		fprintf(stderr, "stopwatch: %s: %s\n", path, answer);
	return NULL;
}

static int time_engine(const char *path, int count)
{
	static struct creation creations[COUNT_MAX];
	bool done = true;

	body_size = fread(body, 1, sizeof(body), stdin);
	pthread_barrier_init(&together, NULL, (unsigned)count + 1);
	for (int i = 0; i < count; i++) {
		creations[i] = (struct creation){ .fd = engine_open(path), .number = i };
		if (pthread_create(&creations[i].thread, NULL, create_and_start, &creations[i]))
			die("no thread");
	}
	began_ms = now_ms();
	pthread_barrier_wait(&together);
	for (int i = 0; i < count; i++) {
		pthread_join(creations[i].thread, NULL);
		done = done && creations[i].done;
	}
	printf("seen_ms %.1f\n", now_ms() - began_ms);
	return done ? 0 : 1;
}

/* Its end is waited for beside what is looked at. */
static void *wait_for_command(void *arg)
{
	int status = 0;

	(void)arg;
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	returned_ms = now_ms() - began_ms;
	exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	return NULL;
}

/* What it prints goes to stderr: stdout is the figures'. */
static pthread_t run_command(char **command)
{
	posix_spawn_file_actions_t actions;
	pthread_t thread;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
	began_ms = now_ms();
	errno = posix_spawnp(&child, command[0], &actions, NULL, command, environ);
	if (errno)
		die(command[0]);
	if (pthread_create(&thread, NULL, wait_for_command, NULL))
		die("no thread");
	return thread;
}

static int time_command(char **command)
{
	pthread_join(run_command(command), NULL);
	printf("returned_ms %.1f exit %d\n", returned_ms, exit_code);
	return exit_code == 0 ? 0 : 1;
}

static int report(double seen_ms, pthread_t command)
{
	if (seen_ms < 0)
		kill(child, SIGTERM);
	pthread_join(command, NULL);
	if (seen_ms < 0)
		fprintf(stderr, "stopwatch: not seen within %d s\n", PATIENCE_MS / 1000);
	printf("seen_ms %.1f returned_ms %.1f exit %d\n", seen_ms, returned_ms, exit_code);
	return seen_ms >= 0 && exit_code == 0 ? 0 : 1;
}

/* Events come one a line; a piece of a chunk's framing on the same stream is no line with a
 * "start". */
static double count_starts(int fd, int count)
{
	static char text[TEXT_MAX];
	size_t size = 0;

	for (;;) {
		struct pollfd ready = { .fd = fd, .events = POLLIN };
		ssize_t n;
		char *end;

		if (now_ms() - began_ms > PATIENCE_MS || poll(&ready, 1, PATIENCE_MS) <= 0)
			return -1;
		n = recv(fd, text + size, sizeof(text) - 1 - size, 0);
		if (n <= 0)
			return -1;
		size += (size_t)n;
		text[size] = '\0';
		while ((end = strchr(text, '\n'))) {
			*end = '\0';
			if (strstr(text, "\"Action\":\"start\"") && --count == 0)
				return now_ms() - began_ms;
			size -= (size_t)(end + 1 - text);
			memmove(text, end + 1, size + 1);
		}
	}
}

static bool never(const char *text)
{
	(void)text;
	return false;
}

/* By HTTP/1.0: the answer is whole when the connection ends. */
static double count_running(const char *path, int count)
{
	static const char running[] = "\"State\":\"running\"";
	static char answer[TASKS_MAX];
	char request[512];

	/* {"service":["…"],"desired-state":["running"]} */
	snprintf(request, sizeof(request),
		 "GET /v1.41/tasks?filters=%%7B%%22service%%22:%%5B%%22%s%%22%%5D,"
		 "%%22desired-state%%22:%%5B%%22running%%22%%5D%%7D HTTP/1.0\r\n\r\n",
		 service);
	while (now_ms() - began_ms < PATIENCE_MS) {
		int fd = engine_open(path), n = 0;

		if (send_all(fd, request, strlen(request)))
			receive(fd, answer, sizeof(answer), never);
		close(fd);
		for (const char *at = answer; (at = strstr(at, running)); at++)
			n++;
		if (n >= count)
			return now_ms() - began_ms;
		usleep(PAUSE_US);
	}
	return -1;
}

/* The starts of containers with that label, from now on. */
static int engine_watch(const char *path, const char *label)
{
	char request[512], answer[TEXT_MAX];
	int fd = engine_open(path), n;

	/* {"type":["container"],"event":["start"],"label":["…"]} */
	n = snprintf(
		request, sizeof(request),
		"GET "
		"/v1.41/events?filters=%%7B%%22type%%22:%%5B%%22container%%22%%5D,%%22event%%22:"
		"%%5B%%22start%%22%%5D,%%22label%%22:%%5B%%22%s%%22%%5D%%7D HTTP/1.1\r\n"
		"Host: engine\r\n\r\n",
		label);
	if (!send_all(fd, request, (size_t)n) ||
	    receive(fd, answer, sizeof(answer), whole_head) != 200)
		die("the engine's events");
	return fd;
}

static int time_swarm(const char *path, int count, char **command)
{
	double started_ms, seen_ms = -1;
	char label[256];
	pthread_t thread;
	int fd;

	snprintf(label, sizeof(label), "com.docker.swarm.service.name=%s", service);
	fd = engine_watch(path, label);
	thread = run_command(command);
	started_ms = count_starts(fd, count);
	if (started_ms >= 0)
		seen_ms = count_running(path, count);
	printf("started_ms %.1f ", started_ms);
	return report(seen_ms, thread);
}

static int gateway_open(const char *text)
{
	struct sockaddr_in to;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct timeval patience = { 5, 0 };

	if (!target_parse(text, &to)) {
		errno = EINVAL;
		die(text);
	}
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		die(text);
	return fd;
}

/* Which container answers, in `ret`; false: none does. */
static bool gateway_ask(const char *gateway, const char *host, char ret[64])
{
	char request[512], answer[TEXT_MAX];
	int fd = gateway_open(gateway), status = 0;
	const char *line;
	int n = snprintf(request, sizeof(request),
			 "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", host);

	if (send_all(fd, request, (size_t)n))
		status = receive(fd, answer, sizeof(answer), whole_answer);
	close(fd);
	line = status == 200 ? strstr(answer, "\nhost ") : NULL;
	return line && sscanf(line, "\nhost %63s", ret) == 1;
}

static double count_answers(const char *gateway, const char *host, int count)
{
	static char seen[COUNT_MAX][64];
	int n = 0;

	while (now_ms() - began_ms < PATIENCE_MS) {
		bool known = false;
		char name[64];

		if (!gateway_ask(gateway, host, name)) {
			usleep(PAUSE_US);
			continue;
		}
		for (int i = 0; i < n && !known; i++)
			known = strcmp(seen[i], name) == 0;
		if (known)
			continue;
		strcpy(seen[n], name);
		if (++n == count)
			return now_ms() - began_ms;
	}
	return -1;
}

static int time_routed(char **argv, int count)
{
	const char *path = argv[0], *label = argv[2], *gateway = argv[3], *host = argv[4];
	int fd = engine_watch(path, label);
	pthread_t thread = run_command(argv + 5);
	double started_ms = count_starts(fd, count), seen_ms = -1;

	if (started_ms >= 0)
		seen_ms = count_answers(gateway, host, count);
	printf("started_ms %.1f ", started_ms);
	return report(seen_ms, thread);
}

int main(int argc, char **argv)
{
	int count = argc > 4 ? atoi(argv[3]) : 0;

	if (argc > 2 && strcmp(argv[1], "command") == 0)
		return time_command(argv + 2);
	if (count < 1 || count > COUNT_MAX)
		goto usage;
	if (strcmp(argv[1], "engine") == 0 && argc == 5) {
		container_name = argv[4];
		return time_engine(argv[2], count);
	}
	if (strcmp(argv[1], "swarm") == 0 && argc > 5) {
		service = argv[4];
		return time_swarm(argv[2], count, argv + 5);
	}
	if (strcmp(argv[1], "routed") == 0 && argc > 7)
		return time_routed(argv + 2, count);
usage:
	fputs("usage: stopwatch engine SOCKET COUNT NAME <BODY\n"
	      "       stopwatch command COMMAND…\n"
	      "       stopwatch swarm SOCKET COUNT SERVICE COMMAND…\n"
	      "       stopwatch routed SOCKET COUNT LABEL=VALUE ADDRESS:PORT HOST COMMAND…\n",
	      stderr);
	return 2;
}
