/* flood: what comes while the loop stands still.
 *
 *   flood URL held             more than the hand-off holds, on a subscription; then again, and the
 *                              bus is freed while nats.c's thread waits for room
 *   flood URL inbox MESSAGES   so many, to an inbox
 *
 * Exits 0 when what was to come has come, once and in order. */
#include <inttypes.h>
#include <stdio.h>

#include "lib/bus.h"
#include "lib/handoff.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/str.h"

#define SECONDS 1000000ull
#define PATIENCE_USEC (60 * SECONDS)
#define HELD (3 * HANDOFF_MAX)

struct flood {
	sd_event *loop;
	struct bus *from, *to;
	uint64_t expected, seen, disorder;
};

static int complain(const char *what)
{
	fprintf(stderr, "flood: %s\n", what);
	return 1;
}

static struct bus *opened(sd_event *loop, const char *url)
{
	struct bus_options options = { .url = url, .name = "flood" };
	struct failure failure = FAILURE_INIT;
	struct bus *bus = NULL;

	if (bus_open(loop, &options, &bus, &failure) < 0)
		complain(failure.message);
	failure_clear(&failure);
	return bus;
}

static void on_message(const struct bus_message *message, void *userdata)
{
	struct flood *flood = userdata;

	if (strtoull(message->data, NULL, 10) != flood->seen + 1)
		flood->disorder++;
	flood->seen++;
	if (flood->seen == flood->expected)
		sd_event_exit(flood->loop, 0);
}

static void on_late(void *userdata)
{
	struct flood *flood = userdata;

	sd_event_exit(flood->loop, 0);
}

/* All of it is sent, and read by nats.c's threads, before the loop turns: once the hand-off is
 * full the thread that delivers waits for room. */
static int pour(struct flood *flood, const char *subject)
{
	if (bus_subscribe(flood->to, subject, on_message, flood, NULL) < 0 ||
	    bus_flush(flood->to, 5 * SECONDS) < 0)
		return complain("cannot subscribe");
	flood->seen = 0;
	for (uint64_t i = 1; i <= flood->expected; i++) {
		char number[24];
		int length = snprintf(number, sizeof(number), "%" PRIu64, i);

		if (bus_publish(flood->from, subject, NULL, NULL, number, (size_t)length) < 0)
			return complain("cannot send");
	}
	if (bus_flush(flood->from, 20 * SECONDS) < 0 || bus_flush(flood->to, 20 * SECONDS) < 0)
		return complain("the messages do not reach the other side");
	return 0;
}

static int run_through(struct flood *flood, const char *subject)
{
	_cleanup_(timer_freep) struct timer *patience = timer_new(flood->loop, on_late, flood);

	if (pour(flood, subject) != 0)
		return 1;
	timer_arm(patience, PATIENCE_USEC);
	sd_event_loop(flood->loop);
	if (flood->seen == flood->expected && !flood->disorder)
		return 0;
	fprintf(stderr, "flood: %" PRIu64 " of %" PRIu64 " came, %" PRIu64 " not in their place\n",
		flood->seen, flood->expected, flood->disorder);
	return 1;
}

/* The loop has ended: what it was told before is all that it hears. */
static int held(struct flood *flood)
{
	int code;

	flood->expected = HELD;
	code = run_through(flood, "flood.through");
	if (code == 0)
		code = pour(flood, "flood.held");
	bus_free(steal(flood->to));
	return flood->seen && code == 0 ? complain("a bus that is freed was told of messages")
					: code;
}

static int to_inbox(struct flood *flood)
{
	_cleanup_free_ char *inbox = bus_inbox(flood->to);

	return run_through(flood, inbox);
}

int main(int argc, char **argv)
{
	_cleanup_(sd_event_unrefp) sd_event *loop = NULL;
	struct flood flood = { 0 };
	int64_t count = 0;
	int code = 1;

	log_open("flood");
	if (!(argc == 3 && streq(argv[2], "held")) &&
	    !(argc == 4 && streq(argv[2], "inbox") &&
	      int_parse(argv[3], 1, 1000000, &count) == 0)) {
		fputs("usage: flood URL held | inbox MESSAGES\n", stderr);
		return 2;
	}
	if (loop_new(&loop) < 0)
		return 1;
	flood.loop = loop;
	flood.expected = (uint64_t)count;
	flood.from = opened(loop, argv[1]);
	flood.to = flood.from ? opened(loop, argv[1]) : NULL;
	if (flood.to)
		code = count ? to_inbox(&flood) : held(&flood);
	bus_free(flood.to);
	bus_free(flood.from);
	return code;
}
