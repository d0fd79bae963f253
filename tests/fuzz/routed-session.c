/* A session with HAProxy over its socket: bytes in any pieces become as many replies as there were
 * commands, or an error.
 *
 * The first bytes are the number of commands and the length of the pieces; then HAProxy's output, a
 * piece ended early by a byte 0xff; 0xfe ends the connection.
 *
 * covers: routed/haproxy.c
 *
 * options: -max_len=300 */
#include "tests/fuzz/fake/log.h"
#include "tests/fuzz/fake/loop.h"
#include "tests/fuzz/fake/socket.h"

#include "routed/routed.h"

struct result {
	size_t wanted;
	unsigned times;
	int error;
};

static void on_replies(int error, char *const *replies, void *userdata)
{
	struct result *result = userdata;

	result->times++;
	result->error = error;
	HOLDS(error <= 0 && !error == (replies != NULL));
	if (replies)
		HOLDS(strv_count((char **)replies) == result->wanted);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *commands[] = { (char *)"show info", (char *)"show map x", (char *)"show backend",
			     NULL };
	struct cursor c = { data, data + size };
	uint8_t how = cursor_byte(&c);
	struct result result = { .wanted = how & 1 ? 1 : 1 + how / 2 % 3 };
	struct session *session = NULL;
	static sd_event *loop;
	char asked[256];

	if (!loop)
		HOLDS(sd_event_new(&loop) >= 0);
	commands[result.wanted] = NULL;
	if (how & 1)
		haproxy_master(loop, "/run/m", commands[0], on_replies, &result, &session);
	else
		haproxy_session(loop, "/run/s", commands, on_replies, &result, &session);
	sd_event_run(loop, 0);
	HOLDS(fake_hear(0, asked, sizeof(asked)) > 0);
	while (cursor_left(&c) && !result.times) {
		size_t length;
		const char *piece = cursor_part(&c, &length);
		const char *end = memchr(piece, 0xfe, length);

		fake_say(0, piece, end ? (size_t)(end - piece) : length);
		if (end)
			fake_hang_up(0);
		/* One iteration polls, another reads. */
		while (!result.times && sd_event_run(loop, 0) > 0)
			;
		if (end)
			break;
	}
	HOLDS(result.times <= 1);
	/* An incomplete session runs into its time limit or is freed. */
	if (!result.times && how & 64) {
		HOLDS(fake_tick());
		HOLDS(result.times == 1 && result.error == -ETIMEDOUT);
	} else if (!result.times) {
		session_free(session);
	}
	fake_sockets_end();
	fake_loop_end();
	return 0;
}
