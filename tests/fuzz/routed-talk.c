/* A conversation with HAProxy over its socket: bytes in any pieces become as many replies as there
 * were commands, or an error.
 *
 * The first bytes are how many commands and how long the pieces; then what it answers, a piece
 * ended early by a byte 0xff; 0xfe ends the connection.
 *
 * covers: routed/haproxy.c
 *
 * options: -max_len=300 */
#include "tests/fuzz/fake/log.h"
#include "tests/fuzz/fake/loop.h"
#include "tests/fuzz/fake/socket.h"

#include "routed/routed.h"

struct heard {
	size_t wanted;
	unsigned times;
	int error;
};

static void on_replies(int error, char *const *replies, void *userdata)
{
	struct heard *heard = userdata;

	heard->times++;
	heard->error = error;
	HOLDS(error <= 0 && !error == (replies != NULL));
	if (replies)
		HOLDS(strv_count((char **)replies) == heard->wanted);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *commands[] = { (char *)"show info", (char *)"show map x", (char *)"show backend",
			     NULL };
	struct cursor c = { data, data + size };
	uint8_t how = cursor_byte(&c);
	struct heard heard = { .wanted = how & 1 ? 1 : 1 + how / 2 % 3 };
	struct talk *talk = NULL;
	static sd_event *loop;
	char asked[256];

	if (!loop)
		HOLDS(sd_event_new(&loop) >= 0);
	commands[heard.wanted] = NULL;
	if (how & 1)
		haproxy_master(loop, "/run/m", commands[0], on_replies, &heard, &talk);
	else
		haproxy_talk(loop, "/run/s", commands, on_replies, &heard, &talk);
	sd_event_run(loop, 0);
	HOLDS(fake_hear(0, asked, sizeof(asked)) > 0);
	while (cursor_left(&c) && !heard.times) {
		size_t length;
		const char *piece = cursor_part(&c, &length);
		const char *end = memchr(piece, 0xfe, length);

		fake_say(0, piece, end ? (size_t)(end - piece) : length);
		if (end)
			fake_hang_up(0);
		/* Once to be seen, once to be read. */
		while (!heard.times && sd_event_run(loop, 0) > 0)
			;
		if (end)
			break;
	}
	HOLDS(heard.times <= 1);
	/* What did not come to its end runs out of patience, or is given up. */
	if (!heard.times && how & 64) {
		HOLDS(fake_tick());
		HOLDS(heard.times == 1 && heard.error == -ETIMEDOUT);
	} else if (!heard.times) {
		talk_free(talk);
	}
	fake_sockets_end();
	fake_loop_end();
	return 0;
}
