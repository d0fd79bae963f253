/* lib/http against servers of the test's own, which answer well and badly. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/http.h"
#include "lib/loop.h"
#include "lib/str.h"
#include "tests/tap.h"

#define BULK (8u * 1024 * 1024)

static char socket_path[108];
static unsigned connections;

/* One thread a connection, ended with the process. */
static void *serve(void *userdata)
{
	int fd = (int)(intptr_t)userdata;
	char request[4096], head[256];
	static char bulk[65536];

	for (;;) {
		ssize_t n = read(fd, request, sizeof(request) - 1);

		if (n <= 0)
			break;
		request[n] = '\0';
		if (strstr(request, "GET /hang")) {
			pause();
		} else if (strstr(request, "GET /half")) {
			dprintf(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
			break;
		} else if (strstr(request, "GET /drip")) {
			dprintf(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ndrip");
			pause();
		} else if (strstr(request, "GET /bulk")) {
			snprintf(head, sizeof(head),
				 "HTTP/1.1 200 OK\r\nContent-Length: %u\r\n\r\n", BULK);
			n = write(fd, head, strlen(head));
			for (unsigned left = BULK; left && n > 0; left -= sizeof(bulk))
				n = write(fd, bulk, sizeof(bulk));
		} else if (strstr(request, "GET /odd")) {
			dprintf(fd, "HTTP/1.1 042 Odd\r\nContent-Length: 0\r\n\r\n");
		} else if (strstr(request, "GET /none")) {
			dprintf(fd, "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone");
		} else {
			const char *body = strstr(request, "\r\n\r\n");

			body = body ? body + 4 : "";
			dprintf(fd, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%.4s%s",
				strlen(body) + 4, request, body);
		}
	}
	close(fd);
	return NULL;
}

static void *take(void *userdata)
{
	int listener = (int)(intptr_t)userdata, fd;
	pthread_t thread;

	while ((fd = accept(listener, NULL, NULL)) >= 0) {
		__atomic_add_fetch(&connections, 1, __ATOMIC_RELAXED);
		pthread_create(&thread, NULL, serve, (void *)(intptr_t)fd);
		pthread_detach(thread);
	}
	return NULL;
}

static int listen_tcp(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	pthread_t thread;

	if (bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, 16) < 0)
		exit(1);
	getsockname(fd, (struct sockaddr *)&at, &size);
	pthread_create(&thread, NULL, take, (void *)(intptr_t)fd);
	return ntohs(at.sin_port);
}

static void listen_unix(void)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	pthread_t thread;

	snprintf(socket_path, sizeof(socket_path), "/tmp/plt-http.%d", (int)getpid());
	memcpy(at.sun_path, socket_path, sizeof(at.sun_path));
	unlink(socket_path);
	if (bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, 16) < 0)
		exit(1);
	pthread_create(&thread, NULL, take, (void *)(intptr_t)fd);
}

struct seen {
	sd_event *loop;
	struct http *http;
	struct http_request *request;
	unsigned left; /* answers until the loop ends */
	int error, status;
	char *body;
	size_t streamed, largest;
	unsigned pauses;
	bool pausing, end_it;
	struct timer *again;
};

static void on_done(const struct http_answer *answer, void *userdata)
{
	struct seen *seen = userdata;

	seen->error = answer->error;
	seen->status = answer->status;
	free(seen->body);
	seen->body = xstrndup(answer->body, answer->size);
	if (--seen->left == 0)
		sd_event_exit(seen->loop, 0);
}

static void resume(void *userdata)
{
	struct seen *seen = userdata;

	seen->pausing = false;
	http_resume(seen->request);
}

static enum http_flow on_body(_unused_ int status, _unused_ const char *data, size_t size,
			      void *userdata)
{
	struct seen *seen = userdata;

	if (seen->end_it)
		return HTTP_END;
	if (seen->pauses < 20 && !seen->pausing && seen->streamed > seen->pauses * 65536) {
		seen->pauses++;
		seen->pausing = true;
		timer_arm(seen->again, 1000);
		return HTTP_PAUSE;
	}
	seen->streamed += size;
	seen->largest = MAX2(seen->largest, size);
	return HTTP_GO_ON;
}

static void on_limit(void *userdata)
{
	sd_event_exit(userdata, 1);
}

/* Asks `count` times at once and waits for all. */
static void ask(struct seen *seen, struct http_options options, unsigned count)
{
	struct timer *limit = timer_new(seen->loop, on_limit, seen->loop);

	options.done = on_done;
	options.userdata = seen;
	seen->left = count;
	timer_arm(limit, 20000000);
	for (unsigned i = 0; i < count; i++)
		http_start(seen->http, &options, &seen->request);
	sd_event_loop(seen->loop);
	timer_free(limit);
	/* A loop that ended does not begin again: each question has its own. */
}

static struct seen begin(void)
{
	struct seen seen = { .status = -1 };

	if (loop_new(&seen.loop) < 0 || http_new(seen.loop, &seen.http) < 0)
		exit(1);
	return seen;
}

static void end(struct seen *seen)
{
	timer_free(seen->again);
	http_free(seen->http);
	sd_event_unref(seen->loop);
	free(seen->body);
}

static void row(struct http_options options, unsigned count, int error, int status,
		const char *body, const char *name)
{
	struct seen seen = begin();

	ask(&seen, options, count);
	ok(seen.left == 0 && seen.error == error && seen.status == status &&
		   (!body || streq(seen.body, body)),
	   "%s (%d, %d, %.20s)", name, seen.error, seen.status, seen.body ? seen.body : "");
	end(&seen);
}

static void streams(const char *url)
{
	struct seen seen = begin();

	seen.again = timer_new(seen.loop, resume, &seen);
	ask(&seen, (struct http_options){ .url = url, .on_body = on_body }, 1);
	ok(seen.error == 0 && seen.streamed == BULK, "%zu bytes streamed over %u pauses",
	   seen.streamed, seen.pauses);
	ok(seen.largest <= 16384, "no piece is larger than 16 KiB (%zu)", seen.largest);
	end(&seen);
	seen = begin();
	seen.end_it = true;
	ask(&seen, (struct http_options){ .url = url, .on_body = on_body }, 1);
	is_int(seen.error, -ECANCELED, "enough is enough");
	end(&seen);
}

static void cancels(const char *url)
{
	struct seen seen = begin();
	struct http_options options = { .url = url, .done = on_done, .userdata = &seen };

	http_start(seen.http, &options, &seen.request);
	http_cancel(seen.request);
	sd_event_run(seen.loop, 50000);
	is_int(seen.status, -1, "a cancelled request is never heard of");
	is_int(http_start(seen.http, &(struct http_options){ .url = "ftp://x/" }, NULL), -EINVAL,
	       "http only");
	end(&seen);
}

int main(void)
{
	_cleanup_free_ char *base = xasprintf("http://127.0.0.1:%d", listen_tcp());
	_cleanup_free_ char *plain = xasprintf("%s/", base), *hang = xasprintf("%s/hang", base);
	_cleanup_free_ char *half = xasprintf("%s/half", base), *drip = xasprintf("%s/drip", base);
	_cleanup_free_ char *bulk = xasprintf("%s/bulk", base), *none = xasprintf("%s/none", base);
	_cleanup_free_ char *odd = xasprintf("%s/odd", base);
	_cleanup_free_ char *escaped = http_escape("a b/c:ü", "/");
	unsigned before;

	listen_unix();
	row((struct http_options){ .url = plain }, 1, 0, 200, "GET ", "an answer");
	row((struct http_options){ .url = plain, .method = "POST", .body = "{}", .size = 2 }, 1, 0,
	    200, "POST{}", "a body is sent");
	row((struct http_options){ .url = none }, 1, 0, 404, "none",
	    "another status is an answer too");
	row((struct http_options){ .url = "http://engine/", .socket = socket_path }, 1, 0, 200,
	    "GET ", "over a Unix socket");
	row((struct http_options){ .url = "http://engine/", .socket = "/nonexistent/s" }, 1,
	    -ENOENT, 0, "", "no such socket");
	row((struct http_options){ .url = "http://127.0.0.1:1/" }, 1, -ECONNREFUSED, 0, "",
	    "nobody listens");
	row((struct http_options){ .url = hang, .timeout_usec = 200000 }, 1, -ETIMEDOUT, 0, "",
	    "a hanging one");
	row((struct http_options){ .url = drip, .idle_usec = 200000 }, 1, -ETIMEDOUT, 200, "drip",
	    "one that stops in the middle");
	row((struct http_options){ .url = half }, 1, -ECONNRESET, 200, "half",
	    "one that ends in the middle");
	row((struct http_options){ .url = odd }, 1, -EPROTO, 0, "", "a status that is none");
	row((struct http_options){ .url = bulk, .max = 100000 }, 1, -EFBIG, 200, NULL,
	    "an answer over the limit");
	row((struct http_options){ .url = plain }, 50, 0, 200, "GET ", "fifty at once");
	before = connections;
	{
		struct seen seen = begin();
		struct http_options options = { .url = plain, .done = on_done, .userdata = &seen };

		for (int i = 0; i < 5; i++) {
			seen.left = 2; /* the loop goes on */
			seen.status = -1;
			http_start(seen.http, &options, NULL);
			while (seen.status < 0)
				sd_event_run(seen.loop, 1000000);
		}
		end(&seen);
	}
	is_int(connections - before, 1, "five in a row share one connection");
	streams(bulk);
	cancels(hang);
	is(escaped, "a%20b/c%3A%C3%BC", "escaped for a URL");
	unlink(socket_path);
	return tap_done();
}
