/* One poll of all streams: STREAM.INFO of the local mirrors, then of the store. The mirrors come
 * first: what is appended in between can only put a mirror behind, never ahead. */
#include "meshd/meshd.h"

struct question {
	struct polling *polling;
	enum streams_id id;
	bool mirror;
	struct bus_request *request;
};
struct polling {
	struct meshd *meshd;
	struct poll *poll;
	struct question questions[2 * STREAMS_COUNT];
	size_t count;
	size_t left; /* answers of this round */
	void (*next)(struct polling *polling);
	struct seen marked; /* of the marker, when the poll began */
	struct bus_request *marked_request;
	poll_fn fn;
	void *userdata;
};

static void polled_clear(struct polled_stream *stream)
{
	free(stream->store);
	json_decref(stream->config);
}

void poll_free(struct poll *poll)
{
	if (!poll)
		return;
	for (size_t i = 0; i < STREAMS_COUNT; i++) {
		polled_clear(&poll->store[i]);
		polled_clear(&poll->mirrors[i]);
	}
	failure_clear(&poll->unanswered);
	free(poll);
}

void poll_cancel(struct polling *polling)
{
	if (!polling)
		return;
	for (size_t i = 0; i < polling->count; i++)
		bus_request_cancelp(&polling->questions[i].request);
	bus_request_cancelp(&polling->marked_request);
	poll_free(polling->poll);
	free(polling);
}

static void finish(struct polling *polling)
{
	poll_fn fn = polling->fn;
	void *userdata = polling->userdata;
	struct poll *poll = steal(polling->poll);

	poll_cancel(polling);
	fn(poll, userdata);
}

static uint64_t number(const json_t *object, const char *key)
{
	json_int_t value = json_integer_value(json_object_get(object, key));

	return value > 0 ? (uint64_t)value : 0;
}

static void read_info(struct polled_stream *stream, const json_t *info)
{
	const json_t *state = json_object_get(info, "state");
	json_t *config = json_object_get(info, "config");
	const char *last = json_string_value(json_object_get(state, "last_ts"));
	uint64_t time_usec = 0;

	stream->result = POLL_PRESENT;
	stream->generation = streams_generation(info);
	stream->store = xstrdup(streams_store(info));
	stream->messages = number(state, "messages");
	stream->bytes = number(state, "bytes");
	stream->max_bytes = number(config, "max_bytes");
	stream->last_sequence = (int64_t)number(state, "last_seq");
	if (stream->messages && last && time_parse(last, &time_usec) == 0)
		stream->last_time_usec = (int64_t)time_usec;
	stream->per_subject = (int64_t)number(config, "max_msgs_per_subject");
	stream->replicas = (int64_t)number(config, "num_replicas");
	stream->config = json_incref(config);
}

static void on_info(const struct failure *failure, const json_t *info, void *userdata)
{
	struct question *question = userdata;
	struct polling *polling = question->polling;
	struct polled_stream *stream = question->mirror ? &polling->poll->mirrors[question->id]
							: &polling->poll->store[question->id];

	question->request = NULL;
	if (!failure) {
		read_info(stream, info);
	} else if (failure->code == FAILURE_NOT_FOUND) {
		stream->result = POLL_ABSENT;
	} else {
		stream->result = POLL_UNANSWERED;
		if (!question->mirror)
			failure_copy(&polling->poll->unanswered, failure);
	}
	if (--polling->left == 0)
		polling->next(polling);
}

static void ask_all(struct polling *polling, bool mirror, void (*next)(struct polling *polling))
{
	struct meshd *meshd = polling->meshd;

	polling->next = next;
	for (size_t i = 0; i < STREAMS_COUNT; i++)
		polling->left += !mirror || streams_rows[i].mirrored;
	for (size_t i = 0; i < STREAMS_COUNT; i++) {
		struct question *question = &polling->questions[polling->count];

		if (mirror && !streams_rows[i].mirrored)
			continue;
		polling->count++;
		*question = (struct question){
			.polling = polling,
			.id = (enum streams_id)i,
			.mirror = mirror,
		};
		stream_info(meshd->bus, mirror ? meshd->machine : STORE_DOMAIN,
			    streams_rows[i].name, STORE_ASK_USEC, on_info, question,
			    &question->request);
	}
}

static void on_marked(_unused_ const struct failure *failure, const struct stream_entry *entry,
		      void *userdata)
{
	struct polling *polling = userdata;

	polling->marked_request = NULL;
	/* A later entry: the one that was seen was dropped. */
	if (entry && (int64_t)entry->sequence == polling->marked.sequence)
		polling->poll->marked = (struct seen){
			.sequence = polling->marked.sequence,
			.time_usec = (int64_t)entry->time_usec,
		};
	finish(polling);
}

/* A store that was reverted and has grown past what the marker has seen has another entry there. */
static void ask_marked(struct polling *polling)
{
	const struct polled_stream *intent = &polling->poll->store[STREAMS_INTENT];

	if (intent->result != POLL_PRESENT || !polling->marked.sequence ||
	    intent->last_sequence <= polling->marked.sequence) {
		finish(polling);
		return;
	}
	stream_next(polling->meshd->bus, STORE_DOMAIN, STREAM_INTENT, INTENT_ALL,
		    (uint64_t)polling->marked.sequence, STORE_ASK_USEC, on_marked, polling,
		    &polling->marked_request);
}

static void ask_store(struct polling *polling)
{
	ask_all(polling, false, ask_marked);
}

struct polling *poll_start(struct meshd *meshd, poll_fn fn, void *userdata)
{
	struct polling *polling = xcalloc(1, sizeof(*polling));

	polling->meshd = meshd;
	polling->poll = xcalloc(1, sizeof(*polling->poll));
	polling->fn = fn;
	polling->userdata = userdata;
	if (meshd->marker)
		polling->marked = meshd->marker->seen[STREAMS_INTENT];
	ask_all(polling, true, ask_store);
	return polling;
}
