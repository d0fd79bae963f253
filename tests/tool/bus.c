/* bus: one request to the bus or the store, for tests in sh.
 *
 *   bus URL [USER:PASSWORD] request SUBJECT JSON [SECONDS]
 *           prints the reply
 *   bus URL [USER:PASSWORD] publish SUBJECT JSON
 *   bus URL [USER:PASSWORD] append SUBJECT JSON EXPECTED
 *           into the store; EXPECTED: the subject's last sequence, or `any`; prints the new one
 *   bus URL [USER:PASSWORD] fill SUBJECT COUNT [FIRST]
 *           appends COUNT entries, each to a subject of its own: SUBJECT.nFIRST, …; several at once
 *   bus URL [USER:PASSWORD] last STREAM SUBJECT
 *           prints the last entry, from the store
 *   bus URL [USER:PASSWORD] stream CONFIG-JSON [DOMAIN]
 *           creates or updates it, in the store
 *   bus URL [USER:PASSWORD] streams [REPLICAS [STORE-ID [GENERATION]]]
 *           creates or updates all streams and the bucket of lib/streams.h in the store
 *           (defaults: 1, test, 1)
 *   bus URL [USER:PASSWORD] mirrors DOMAIN
 *           creates or updates a machine's local mirrors
 *   bus URL [USER:PASSWORD] listen SUBJECT COUNT [SECONDS]
 *           prints `subject data`, one a line
 *   bus URL [USER:PASSWORD] answer SUBJECT FILE
 *           answers each request with the file as it is then; prints the requests; until it is
 *           ended
 *
 * Exits 0 on success, 1 when the request was refused or not answered, 2 on wrong usage. */
#include <inttypes.h>
#include <stdio.h>

#include "lib/bus.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/str.h"
#include "lib/stream.h"
#include "lib/streams.h"

#define SECONDS 1000000ull
#define PATIENCE_SECONDS 10
#define AT_ONCE 64 /* appends of `fill` that are under way */

struct tool {
	sd_event *loop;
	struct bus *bus;
	int argc; /* of the words behind the verb */
	char **argv;
	int64_t count;
	int code; /* to exit with */
	struct timer *patience;
	size_t streams;		     /* whose creation was not answered yet */
	int64_t sent, stored, first; /* of `fill` */
};

static void end(struct tool *tool, int code)
{
	tool->code = code;
	sd_event_exit(tool->loop, 0);
}

static void complain(const struct failure *failure)
{
	fprintf(stderr, "bus: %s%s%s\n", failure->message, failure->hint ? "; " : "",
		failure->hint ? failure->hint : "");
}

static uint64_t patience(const struct tool *tool, int at)
{
	int64_t seconds = PATIENCE_SECONDS;

	if (tool->argc > at)
		int_parse(tool->argv[at], 1, 3600, &seconds);
	return (uint64_t)seconds * SECONDS;
}

static void on_reply(int error, const struct bus_message *reply, void *userdata)
{
	if (error < 0)
		fprintf(stderr, "bus: %s\n", strerror(-error));
	else
		printf("%.*s\n", (int)reply->size, reply->data);
	end(userdata, error < 0 ? 1 : 0);
}

static void verb_request(struct tool *tool)
{
	bus_request(tool->bus, tool->argv[0], NULL, tool->argv[1], strlen(tool->argv[1]),
		    patience(tool, 2), on_reply, tool, NULL);
}

static void verb_publish(struct tool *tool)
{
	int r = bus_publish(tool->bus, tool->argv[0], NULL, NULL, tool->argv[1],
			    strlen(tool->argv[1]));

	if (r == 0)
		r = bus_flush(tool->bus, 5 * SECONDS);
	if (r < 0)
		fprintf(stderr, "bus: %s\n", strerror(-r));
	end(tool, r < 0 ? 1 : 0);
}

static void on_append(enum stream_outcome outcome, uint64_t sequence, const struct failure *failure,
		      void *userdata)
{
	static const char *const words[] = { "done", "conflict: another entry is there",
					     "unknown: no answer", "refused" };

	if (outcome == STREAM_DONE)
		printf("%llu\n", (unsigned long long)sequence);
	else
		fprintf(stderr, "bus: %s%s%s\n", words[outcome],
			failure && failure->message ? ": " : "",
			failure && failure->message ? failure->message : "");
	end(userdata, outcome == STREAM_DONE ? 0 : 1);
}

static void verb_append(struct tool *tool)
{
	struct stream_append append = {
		.subject = tool->argv[0],
		.data = tool->argv[1],
		.size = strlen(tool->argv[1]),
		.expected = STREAM_ANY,
	};
	int64_t expected;

	if (!streq(tool->argv[2], "any")) {
		if (int_parse(tool->argv[2], 0, INT64_MAX, &expected) < 0) {
			fprintf(stderr, "bus: EXPECTED is a number or `any`\n");
			end(tool, 2);
			return;
		}
		append.expected = (uint64_t)expected;
	}
	stream_append(tool->bus, &append, on_append, tool, NULL);
}

static void fill_one(struct tool *tool);

static void on_filled(enum stream_outcome outcome, _unused_ uint64_t sequence,
		      const struct failure *failure, void *userdata)
{
	struct tool *tool = userdata;

	if (outcome != STREAM_DONE) {
		complain(failure);
		end(tool, 1);
	} else if (++tool->stored == tool->count) {
		end(tool, 0);
	} else if (tool->sent < tool->count) {
		fill_one(tool);
	}
}

static void fill_one(struct tool *tool)
{
	_cleanup_free_ char *subject =
		xasprintf("%s.n%" PRId64, tool->argv[0], tool->first + tool->sent);
	const struct stream_append append = {
		.subject = subject,
		.data = "{}",
		.size = 2,
		.expected = STREAM_ANY,
		.timeout_usec = 20 * SECONDS,
	};

	tool->sent++;
	stream_append(tool->bus, &append, on_filled, tool, NULL);
}

static void verb_fill(struct tool *tool)
{
	if (int_parse(tool->argv[1], 1, 1000000, &tool->count) < 0 ||
	    (tool->argc > 2 && int_parse(tool->argv[2], 0, 1000000, &tool->first) < 0)) {
		fprintf(stderr, "bus: COUNT and FIRST are numbers\n");
		end(tool, 2);
		return;
	}
	while (tool->sent < MIN2(tool->count, AT_ONCE))
		fill_one(tool);
}

static void on_last(const struct failure *failure, const struct stream_entry *entry, void *userdata)
{
	if (failure)
		complain(failure);
	else if (entry)
		printf("%.*s\n", (int)entry->size, entry->data);
	end(userdata, entry ? 0 : 1);
}

static void verb_last(struct tool *tool)
{
	stream_last(tool->bus, STORE_DOMAIN, tool->argv[0], tool->argv[1], 5 * SECONDS, on_last,
		    tool, NULL);
}

static void on_stream(const struct failure *failure, void *userdata)
{
	if (failure)
		complain(failure);
	end(userdata, failure ? 1 : 0);
}

static void verb_stream(struct tool *tool)
{
	_cleanup_json_ json_t *config = json_loads(tool->argv[0], 0, NULL);

	if (!config) {
		fprintf(stderr, "bus: CONFIG-JSON is no JSON\n");
		end(tool, 2);
		return;
	}
	stream_ensure(tool->bus, tool->argc > 1 ? tool->argv[1] : STORE_DOMAIN, config, on_stream,
		      tool);
}

static void on_one_of_streams(const struct failure *failure, void *userdata)
{
	struct tool *tool = userdata;

	if (failure)
		complain(failure);
	if (failure || --tool->streams == 0)
		end(tool, failure ? 1 : 0);
}

static void verb_streams(struct tool *tool)
{
	const char *store = tool->argc > 1 ? tool->argv[1] : "test";
	int64_t replicas = 1, generation = 1;

	if ((tool->argc > 0 && int_parse(tool->argv[0], 1, 5, &replicas) < 0) ||
	    (tool->argc > 2 && int_parse(tool->argv[2], 1, INT64_MAX, &generation) < 0)) {
		fprintf(stderr, "bus: REPLICAS (1 to 5) and GENERATION are numbers\n");
		end(tool, 2);
		return;
	}
	tool->streams = STREAMS_COUNT;
	for (int i = 0; i < STREAMS_COUNT; i++) {
		_cleanup_json_ json_t *config =
			streams_config((enum streams_id)i, (int)replicas, generation, store);

		stream_ensure(tool->bus, STORE_DOMAIN, config, on_one_of_streams, tool);
	}
}

static void verb_mirrors(struct tool *tool)
{
	for (int i = 0; i < STREAMS_COUNT; i++)
		tool->streams += streams_rows[i].mirrored;
	for (int i = 0; i < STREAMS_COUNT; i++) {
		_cleanup_json_ json_t *config = streams_mirror_config((enum streams_id)i);

		if (streams_rows[i].mirrored)
			stream_ensure(tool->bus, tool->argv[0], config, on_one_of_streams, tool);
	}
}

static void on_message(const struct bus_message *message, void *userdata)
{
	struct tool *tool = userdata;

	if (tool->count <= 0)
		return;
	printf("%s %.*s\n", message->subject, (int)message->size, message->data);
	fflush(stdout);
	if (--tool->count == 0)
		end(tool, 0);
}

static void on_silence(void *userdata)
{
	fprintf(stderr, "bus: not so many messages came\n");
	end(userdata, 1);
}

static void verb_listen(struct tool *tool)
{
	struct bus_subscription *subscription;
	int r;

	if (int_parse(tool->argv[1], 1, 1000000, &tool->count) < 0) {
		fprintf(stderr, "bus: COUNT is a number\n");
		end(tool, 2);
		return;
	}
	r = bus_subscribe(tool->bus, tool->argv[0], on_message, tool, &subscription);
	if (r < 0) {
		fprintf(stderr, "bus: %s\n", strerror(-r));
		end(tool, 1);
		return;
	}
	tool->patience = timer_new(tool->loop, on_silence, tool);
	timer_arm(tool->patience, patience(tool, 2));
}

static void on_request(const struct bus_message *message, void *userdata)
{
	struct tool *tool = userdata;
	_cleanup_free_ char *text = NULL;
	size_t size;

	printf("%.*s\n", (int)message->size, message->data);
	fflush(stdout);
	if (file_read(tool->argv[1], BUS_PAYLOAD_MAX, &text, &size) == 0 && message->reply)
		bus_publish(tool->bus, message->reply, NULL, NULL, text, size);
}

static void verb_answer(struct tool *tool)
{
	struct bus_subscription *subscription;
	int r = bus_subscribe(tool->bus, tool->argv[0], on_request, tool, &subscription);

	if (r == 0)
		return;
	fprintf(stderr, "bus: %s\n", strerror(-r));
	end(tool, 1);
}

static const struct {
	const char *name;
	int arguments; /* at least */
	void (*fn)(struct tool *tool);
} verbs[] = {
	{ "request", 2, verb_request }, { "publish", 2, verb_publish },
	{ "append", 3, verb_append },	{ "fill", 2, verb_fill },
	{ "last", 2, verb_last },	{ "stream", 1, verb_stream },
	{ "streams", 0, verb_streams }, { "mirrors", 1, verb_mirrors },
	{ "listen", 2, verb_listen },	{ "answer", 2, verb_answer },
};

int main(int argc, char **argv)
{
	struct tool tool = { .code = 2 };
	struct failure failure = FAILURE_INIT;
	struct bus_options options = { .name = "test" };
	int at = 2;

	log_open("bus");
	if (argc > 2 && strchr(argv[2], ':')) {
		char *colon = strchr(argv[2], ':');

		*colon = '\0';
		options.user = argv[2];
		options.password = colon + 1;
		options.inbox = xasprintf("_INBOX.%s", options.user);
		at = 3;
	}
	for (size_t i = 0; argc > at && i < ARRAY_SIZE(verbs); i++) {
		if (!streq(argv[at], verbs[i].name) || argc - at - 1 < verbs[i].arguments)
			continue;
		options.url = argv[1];
		if (loop_new(&tool.loop) < 0)
			return 1;
		tool.code = 1;
		if (bus_open(tool.loop, &options, &tool.bus, &failure) < 0) {
			complain(&failure);
			failure_clear(&failure);
		} else {
			tool.argc = argc - at - 1;
			tool.argv = argv + at + 1;
			verbs[i].fn(&tool);
			sd_event_loop(tool.loop);
		}
		timer_free(tool.patience);
		bus_free(tool.bus);
		sd_event_unref(tool.loop);
		free((char *)options.inbox);
		return tool.code;
	}
	fprintf(stderr,
		"usage: bus URL [USER:PASSWORD] "
		"request|publish|append|fill|last|stream|streams|mirrors|listen|answer …\n");
	return 2;
}
