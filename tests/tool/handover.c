/* handover: nats.c's threads and the loop under load.
 *
 *   handover URL traffic MESSAGES   numbered messages and requests both ways, while subscriptions
 *                                   to them are created and freed
 *   handover URL storm              the same, with a bus that is freed whenever the connection is
 *                                   lost and opened again when it returns, until a message arrives
 * on handover.end; prints `lost` and `back` handover URL turnover ROUNDS    buses are opened, and
 * freed while messages and answers arrive
 *
 * Prints counts; exits 0 when no message was lost, repeated, out of order or delivered to a freed
 * receiver. Its purpose is to be built with SAN=thread or SAN=address. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "lib/bus.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/str.h"

#define SECONDS 1000000ull
#define PATIENCE_USEC (60 * SECONDS)
#define REQUEST_USEC (20 * SECONDS)
#define AGAIN_USEC 50000
#define PLACES 24	 /* subscriptions that are created and freed */
#define AT_ONCE 64	 /* messages sent in one iteration of the loop */
#define UNDER_WAY 1024	 /* sent and not yet received, at most */
#define LONG_BYTES 16384 /* long enough to keep nats.c's reading thread busy */

/* A subscription and its receiver. */
struct listener {
	struct traffic *traffic;
	struct bus_subscription *subscription;
	unsigned place;
	bool gone;
};

struct asked {
	struct traffic *traffic;
	struct bus_request *request;
	struct asked *next, **link;
};

/* Numbered messages from one bus to the other. */
struct lane {
	struct traffic *traffic;
	struct bus *from, *to;
	const char *name;
	uint64_t sent, seen;
	uint64_t skipped; /* numbers that were sent while the connection was lost */
};

/* The request that ends a storm. */
struct last {
	struct traffic *traffic;
	struct bus *bus;
	const char *subject;
	struct timer *again;
};

struct traffic {
	sd_event *loop;
	const char *url;
	struct bus *left, *right, *third;
	struct lane there, back;
	struct listener *listeners[PLACES];
	struct asked *asked;
	uint64_t messages; /* to send each way; 0: until the end is requested */
	uint64_t dropped, ghosts, disorder;
	uint64_t requests, answered, refused, cancelled, answers;
	uint64_t lost, returns;
	bool storm, ending, bad;
	struct last last[2];
	int unanswered; /* of the last requests */
	struct deferred *turn;
	struct timer *patience;
	char *padding;
};

static int complain(const char *format, ...) _printf_(1, 2);
static int complain(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("handover: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	return 1;
}

static struct bus *opened(sd_event *loop, const char *url, const char *name)
{
	struct bus_options options = { .url = url, .name = name };
	struct failure failure = FAILURE_INIT;
	struct bus *bus = NULL;

	if (bus_open(loop, &options, &bus, &failure) < 0)
		complain("%s", failure.message);
	failure_clear(&failure);
	return bus;
}

/* A number, sometimes followed by enough text that reading it takes time. */
static int send_number(struct traffic *t, struct bus *bus, const char *subject, uint64_t number)
{
	int length = number % 16 == 0 ? LONG_BYTES : (int)(number % 64);
	_cleanup_free_ char *text = xasprintf("%" PRIu64 " %.*s", number, length, t->padding);

	return bus_publish(bus, subject, NULL, NULL, text, strlen(text));
}

static void on_numbered(const struct bus_message *message, void *userdata)
{
	struct lane *lane = userdata;
	uint64_t number = strtoull(message->data, NULL, 10);

	if (number <= lane->seen) {
		lane->traffic->disorder++;
		return;
	}
	lane->skipped += number - lane->seen - 1;
	lane->seen = number;
	deferred_schedule(lane->traffic->turn);
}

static void drop(struct traffic *t, unsigned place)
{
	struct listener *listener = steal(t->listeners[place]);

	if (!listener)
		return;
	listener->gone = true;
	bus_subscription_free(listener->subscription);
	t->dropped++;
	free(listener);
}

/* Every other one frees itself at its first message. */
static void on_heard(_unused_ const struct bus_message *message, void *userdata)
{
	struct listener *listener = userdata;

	if (listener->gone || listener->traffic->listeners[listener->place] != listener)
		listener->traffic->ghosts++;
	else if (listener->place % 2)
		drop(listener->traffic, listener->place);
}

static void listen(struct traffic *t, unsigned place)
{
	struct listener *listener = xcalloc(1, sizeof(*listener));
	struct lane *lane = place % 4 < 2 ? &t->there : &t->back;

	listener->traffic = t;
	listener->place = place;
	if (bus_subscribe(lane->to, lane->name, on_heard, listener, &listener->subscription) < 0)
		free(listener);
	else
		t->listeners[place] = listener;
}

static void asked_free(void *userdata)
{
	struct asked *asked = userdata;

	*asked->link = asked->next;
	if (asked->next)
		asked->next->link = asked->link;
	free(asked);
}

static void on_answer(int error, _unused_ const struct bus_message *reply, void *userdata)
{
	struct asked *asked = userdata;
	struct traffic *t = asked->traffic;

	if (error < 0)
		t->refused++;
	else
		t->answered++;
	asked_free(asked);
	deferred_schedule(t->turn);
}

static void ask(struct traffic *t, struct bus *bus, const char *subject)
{
	struct asked *asked = xcalloc(1, sizeof(*asked));

	asked->traffic = t;
	asked->next = t->asked;
	asked->link = &t->asked;
	if (t->asked)
		t->asked->link = &asked->next;
	t->asked = asked;
	t->requests++;
	bus_request(bus, subject, NULL, "?", 1, REQUEST_USEC, on_answer, asked, &asked->request);
}

static void on_question(const struct bus_message *message, void *userdata)
{
	struct traffic *t = userdata;
	struct bus *bus = strstr(message->subject, "left") ? t->left : t->right;

	if (message->reply && bus_publish(bus, message->reply, NULL, NULL, "!", 1) == 0)
		t->answers++;
}

static bool lane_send(struct traffic *t, struct lane *lane)
{
	for (int i = 0; i < AT_ONCE; i++) {
		if ((t->messages && lane->sent == t->messages) ||
		    lane->sent - lane->seen - lane->skipped >= UNDER_WAY)
			return false;
		if (send_number(t, lane->from, lane->name, lane->sent + 1) < 0)
			return false;
		lane->sent++;
	}
	return true;
}

static bool all_seen(const struct traffic *t)
{
	return t->there.seen == t->messages && t->back.seen == t->messages && !t->asked;
}

static void on_turn(void *userdata)
{
	struct traffic *t = userdata;
	bool more;

	if (t->ending)
		return;
	more = lane_send(t, &t->there);
	more = lane_send(t, &t->back) || more;
	for (unsigned place = 0; place < PLACES; place++) {
		if (t->listeners[place] && (t->dropped + place) % 3 == 0)
			drop(t, place);
		if (!t->listeners[place])
			listen(t, place);
	}
	if (more) {
		ask(t, t->left, "handover.ask.right");
		ask(t, t->right, "handover.ask.left");
		/* One is cancelled while its answer is under way. */
		if (t->requests % 8 == 0) {
			bus_request_cancel(t->asked->request);
			asked_free(t->asked);
			t->cancelled++;
		}
		deferred_schedule(t->turn);
	}
	if (t->messages && all_seen(t))
		sd_event_exit(t->loop, 0);
}

static void on_late(void *userdata)
{
	struct traffic *t = userdata;

	t->bad = true;
	complain("it does not come to an end: there %" PRIu64 " of %" PRIu64 ", back %" PRIu64
		 " of %" PRIu64,
		 t->there.seen, t->there.sent, t->back.seen, t->back.sent);
	sd_event_exit(t->loop, 0);
}

static int traffic_open(struct traffic *t)
{
	t->padding = xmalloc(LONG_BYTES + 1);
	memset(t->padding, '.', LONG_BYTES);
	t->padding[LONG_BYTES] = '\0';
	t->left = opened(t->loop, t->url, "left");
	t->right = t->left ? opened(t->loop, t->url, "right") : NULL;
	if (!t->right)
		return -ENOTCONN;
	t->there = (struct lane){ t, t->left, t->right, "handover.there", 0, 0, 0 };
	t->back = (struct lane){ t, t->right, t->left, "handover.back", 0, 0, 0 };
	t->turn = deferred_new(t->loop, on_turn, t);
	t->patience = timer_new(t->loop, on_late, t);
	timer_arm(t->patience, PATIENCE_USEC);
	if (bus_subscribe(t->right, t->there.name, on_numbered, &t->there, NULL) < 0 ||
	    bus_subscribe(t->left, t->back.name, on_numbered, &t->back, NULL) < 0 ||
	    bus_subscribe(t->left, "handover.ask.left", on_question, t, NULL) < 0 ||
	    bus_subscribe(t->right, "handover.ask.right", on_question, t, NULL) < 0)
		return -ENOTCONN;
	/* The server has the subscriptions before the first message is sent. */
	return bus_flush(t->left, 5 * SECONDS) < 0 ? -ENOTCONN : bus_flush(t->right, 5 * SECONDS);
}

static void traffic_close(struct traffic *t)
{
	for (unsigned place = 0; place < PLACES; place++)
		drop(t, place);
	while (t->asked) {
		bus_request_cancel(t->asked->request);
		asked_free(t->asked);
		t->cancelled++;
	}
	for (size_t i = 0; i < ARRAY_SIZE(t->last); i++)
		timer_free(t->last[i].again);
	bus_free(t->third);
	bus_free(t->left);
	bus_free(t->right);
	deferred_free(t->turn);
	timer_free(t->patience);
	free(t->padding);
}

static int traffic_judge(const struct traffic *t)
{
	uint64_t skipped = t->there.skipped + t->back.skipped;

	printf("%" PRIu64 " and %" PRIu64 " messages, %" PRIu64 " subscriptions dropped, %" PRIu64
	       " requests: %" PRIu64 " answered, %" PRIu64 " failed, %" PRIu64 " taken back\n",
	       t->there.seen, t->back.seen, t->dropped, t->requests, t->answered, t->refused,
	       t->cancelled);
	if (t->bad)
		return 1;
	if (t->ghosts)
		return complain("%" PRIu64 " messages came to somebody who had gone", t->ghosts);
	if (t->disorder)
		return complain("%" PRIu64 " messages came twice, or out of order", t->disorder);
	if (t->requests != t->answered + t->refused + t->cancelled)
		return complain("not every request was told once");
	if (t->storm)
		return t->lost && t->lost == t->returns
			       ? 0
			       : complain("lost %" PRIu64 " times, back %" PRIu64 " times", t->lost,
					  t->returns);
	if (skipped || t->refused)
		return complain("%" PRIu64 " messages were lost, %" PRIu64 " requests failed",
				skipped, t->refused);
	return 0;
}

static int verb_traffic(struct traffic *t, uint64_t messages)
{
	t->messages = messages;
	if (traffic_open(t) < 0)
		return complain("no bus at %s", t->url);
	deferred_schedule(t->turn);
	sd_event_loop(t->loop);
	traffic_close(t);
	return traffic_judge(t);
}
static void on_state(bool connected, void *userdata)
{
	struct traffic *t = userdata;

	if (!connected) {
		t->lost++;
		puts("lost");
		/* While its own threads try to reconnect. */
		bus_free(steal(t->third));
	} else {
		t->returns++;
		puts("back");
		t->third = opened(t->loop, t->url, "third");
		deferred_schedule(t->turn);
	}
	fflush(stdout);
}

/* At the end each sends the other one more request, repeated until both are connected. */
static void on_last_answer(int error, _unused_ const struct bus_message *reply, void *userdata)
{
	struct last *last = userdata;
	struct traffic *t = last->traffic;

	if (error < 0)
		timer_arm(last->again, AGAIN_USEC);
	else if (--t->unanswered == 0)
		sd_event_exit(t->loop, 0);
}

static void last_ask(void *userdata)
{
	struct last *last = userdata;

	bus_request(last->bus, last->subject, NULL, "?", 1, REQUEST_USEC, on_last_answer, last,
		    NULL);
}

static void on_end(_unused_ const struct bus_message *message, void *userdata)
{
	struct traffic *t = userdata;

	if (t->ending)
		return;
	t->ending = true;
	t->last[0] = (struct last){ t, t->left, "handover.ask.right", NULL };
	t->last[1] = (struct last){ t, t->right, "handover.ask.left", NULL };
	for (size_t i = 0; i < ARRAY_SIZE(t->last); i++) {
		t->last[i].again = timer_new(t->loop, last_ask, &t->last[i]);
		last_ask(&t->last[i]);
		t->unanswered++;
	}
}

static int verb_storm(struct traffic *t, _unused_ uint64_t count)
{
	t->storm = true;
	if (traffic_open(t) < 0)
		return complain("no bus at %s", t->url);
	t->third = opened(t->loop, t->url, "third");
	bus_watch_state(t->left, on_state, t);
	bus_subscribe(t->left, "handover.end", on_end, t, NULL);
	deferred_schedule(t->turn);
	puts("begun");
	fflush(stdout);
	sd_event_loop(t->loop);
	traffic_close(t);
	return traffic_judge(t);
}

/* A bus that is opened, receives some of the traffic, sends requests and is freed during both. */
struct guest {
	struct traffic *traffic;
	struct bus *bus;
	struct deferred *turn;
	uint64_t rounds, heard, heard_in_all;
};

static void on_guest_heard(_unused_ const struct bus_message *message, void *userdata)
{
	struct guest *guest = userdata;

	if (!guest->bus)
		guest->traffic->ghosts++;
	guest->heard++;
	guest->heard_in_all++;
	deferred_schedule(guest->turn);
}

static void on_guest_answer(_unused_ int error, _unused_ const struct bus_message *reply,
			    void *userdata)
{
	struct guest *guest = userdata;

	if (!guest->bus)
		guest->traffic->ghosts++;
}

static int guest_arrive(struct guest *guest)
{
	struct traffic *t = guest->traffic;

	guest->heard = 0;
	guest->bus = opened(t->loop, t->url, "guest");
	if (!guest->bus ||
	    bus_subscribe(guest->bus, t->there.name, on_guest_heard, guest, NULL) < 0 ||
	    bus_subscribe(guest->bus, t->back.name, on_guest_heard, guest, NULL) < 0)
		return -ENOTCONN;
	for (int i = 0; i < 16; i++)
		bus_request(guest->bus, i % 2 ? "handover.ask.left" : "handover.ask.right", NULL,
			    "?", 1, REQUEST_USEC, on_guest_answer, guest, NULL);
	return 0;
}

static void on_guest_turn(void *userdata)
{
	struct guest *guest = userdata;
	struct traffic *t = guest->traffic;

	/* Some are freed before they have received anything. */
	if (guest->bus && guest->heard >= guest->rounds % 4 * 16) {
		bus_free(steal(guest->bus));
		guest->rounds--;
	}
	if (!guest->bus && guest->rounds > 0 && guest_arrive(guest) < 0)
		t->bad = true;
	if (t->bad || guest->rounds == 0)
		sd_event_exit(t->loop, 0);
	else if (guest->rounds % 4 == 0)
		deferred_schedule(guest->turn);
}

static int verb_turnover(struct traffic *t, uint64_t rounds)
{
	struct guest guest = { .traffic = t, .rounds = rounds };
	int code;

	if (traffic_open(t) < 0)
		return complain("no bus at %s", t->url);
	guest.turn = deferred_new(t->loop, on_guest_turn, &guest);
	deferred_schedule(guest.turn);
	deferred_schedule(t->turn);
	sd_event_loop(t->loop);
	bus_free(guest.bus);
	deferred_free(guest.turn);
	traffic_close(t);
	code = traffic_judge(t);
	printf("%" PRIu64 " buses freed, that had heard %" PRIu64 " messages\n",
	       (rounds - guest.rounds), guest.heard_in_all);
	return code;
}

static const struct {
	const char *name;
	bool counts;
	int (*fn)(struct traffic *traffic, uint64_t count);
} verbs[] = {
	{ "traffic", true, verb_traffic },
	{ "storm", false, verb_storm },
	{ "turnover", true, verb_turnover },
};

int main(int argc, char **argv)
{
	_cleanup_(sd_event_unrefp) sd_event *loop = NULL;
	struct traffic traffic = { .url = argv[1] };
	int64_t count = 0;

	log_open("handover");
	for (size_t i = 0; argc > 2 && i < ARRAY_SIZE(verbs); i++) {
		if (!streq(argv[2], verbs[i].name) || argc != (verbs[i].counts ? 4 : 3))
			continue;
		if (verbs[i].counts && int_parse(argv[3], 1, 100000000, &count) < 0)
			break;
		if (loop_new(&loop) < 0)
			return 1;
		traffic.loop = loop;
		return verbs[i].fn(&traffic, (uint64_t)count);
	}
	fputs("usage: handover URL traffic MESSAGES | storm | turnover ROUNDS\n", stderr);
	return 2;
}
