/* An HTTP client against servers that write any bytes in any pieces: each request ends once, within
 * its limits, and nothing is kept of it.
 *
 * The first two bytes are what is asked; then come pieces of what the server writes, each ended by
 * a byte 0xff; 0xfe ends its connection.
 *
 * covers: lib/http.c
 *
 * options: -max_len=600 */
#include "tests/fuzz/fake/log.h"
#include "tests/fuzz/fake/loop.h"
#include "tests/fuzz/fake/socket.h"

#include "lib/http.h"

#define ANSWER_MAX 200
#define REQUESTS_MAX 3
#define ROUNDS_MAX 40

struct asked {
	struct http_request *request;
	struct http *http;
	unsigned times;
	bool paused, over;
	uint8_t how; /* its callbacks' manners */
};

static void on_done(const struct http_answer *answer, void *userdata)
{
	struct asked *asked = userdata;

	HOLDS(asked->times++ == 0);
	asked->over = true;
	HOLDS(answer->error <= 0 && answer->status >= 0 && answer->status <= 999);
	HOLDS(answer->body && answer->body[answer->size] == '\0' && answer->size <= ANSWER_MAX);
	HOLDS(answer->text && (!*answer->text || answer->error));
	HOLDS(answer->error || answer->status >= 100);
}

static enum http_flow on_body(int status, const char *data, size_t size, void *userdata)
{
	struct asked *asked = userdata;
	_cleanup_free_ char *copy = xmemdup(data, size);

	HOLDS(!asked->over && !asked->paused && status >= 200 && status < 300 && size <= 16384);
	switch (asked->how++ % 8) {
	case 5:
		asked->paused = true;
		return HTTP_PAUSE;
	case 6:
		asked->over = asked->how & 64;
		if (asked->over)
			http_cancel(asked->request);
		return HTTP_GO_ON;
	case 7:
		return asked->how & 32 ? HTTP_END : HTTP_GO_ON;
	default:
		return HTTP_GO_ON;
	}
}

static void start(struct http *http, struct asked *asked, uint8_t what, uint8_t how)
{
	static const char *const methods[] = { "GET", "POST", "HEAD", "DELETE" };
	const struct http_options options = {
		.socket = "/run/engine",
		.method = methods[what % 4],
		.url = "http://engine/v1.41/x",
		.body = what & 4 ? "{}" : NULL,
		.size = what & 4 ? 2 : 0,
		.max = ANSWER_MAX,
		.fresh = what & 8,
		.timeout_usec = what & 16 ? 60000000 : 0,
		.idle_usec = what & 32 ? 60000000 : 0,
		.on_body = what & 64 ? on_body : NULL,
		.done = on_done,
		.userdata = asked,
	};

	*asked = (struct asked){ .http = http, .how = how };
	HOLDS(http_start(http, &options, &asked->request) == 0);
}

/* Until nothing is left to do at once. */
static void settle(sd_event *loop)
{
	for (int round = 0; round < ROUNDS_MAX; round++) {
		bool more = false;

		while (sd_event_run(loop, 0) > 0)
			more = true;
		for (struct timer *timer = fake_timers; timer && !more; timer = timer->next)
			more = timer->armed && timer->at <= fake_now + 1000;
		if (!more)
			return;
		fake_tick();
		fake_turn();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cursor c = { data, data + size };
	uint8_t what = cursor_byte(&c), how = cursor_byte(&c);
	struct asked asked[REQUESTS_MAX];
	size_t n = 1 + how % REQUESTS_MAX;
	static sd_event *loop;
	struct http *http;
	char heard[4096];

	if (!loop)
		HOLDS(sd_event_new(&loop) >= 0);
	HOLDS(http_new(loop, &http) == 0);
	for (size_t i = 0; i < n; i++)
		start(http, &asked[i], what, how);
	settle(loop);
	for (size_t turn = 0; cursor_left(&c); turn++) {
		size_t length, which = fake_n_sockets ? turn % fake_n_sockets : 0;
		const char *piece = cursor_part(&c, &length);
		const char *end = memchr(piece, 0xfe, length);

		fake_hear(which, heard, sizeof(heard));
		fake_say(which, piece, end ? (size_t)(end - piece) : length);
		if (end)
			fake_hang_up(which);
		settle(loop);
		for (size_t i = 0; i < n; i++)
			if (asked[i].paused && !asked[i].over) {
				asked[i].paused = false;
				http_resume(asked[i].request);
			}
		settle(loop);
	}
	/* Some are given up; the rest hears of the end of all connections, or of nothing more. */
	for (size_t i = 0; i < n; i++)
		if (!asked[i].over && (how >> i) & 4) {
			asked[i].over = true;
			http_cancel(asked[i].request);
		}
	for (size_t i = 0; i < fake_n_sockets; i++)
		fake_hang_up(i);
	settle(loop);
	http_free(http);
	fake_sockets_end();
	fake_loop_end();
	return 0;
}
