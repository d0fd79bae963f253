/* An eye on the store: does it answer through the leaf link, how full are its streams, how far is
 * this machine's copy. Observation: it is told, never written anywhere. */
#include "meshd/meshd.h"

static const char *const watch_state_names[] = { "unknown", "answers", "silent" };

static void tell_state(struct meshd *meshd, enum watch_state state, const struct failure *failure)
{
	if (meshd->store == state)
		return;
	if (state == WATCH_SILENT)
		log_warning("%s; deploys wait for it, what runs goes on%s%s", failure->message,
			    failure->hint ? ". " : "", failure->hint ? failure->hint : "");
	else if (meshd->store == WATCH_SILENT)
		log_notice("the store answers again");
	meshd->store = state;
	meshd->store_since = time_now_usec();
	daemon_status(meshd->daemon,
		      state == WATCH_ANSWERS ? "the store answers" : "the store does not answer");
}

static void tell_usage(struct watched_stream *stream)
{
	bool over = stream->max_bytes &&
		    stream->bytes * 100 >= stream->max_bytes * STREAM_ALARM_PERCENT;
	_cleanup_free_ char *used = NULL, *room = NULL;

	if (over && !stream->alarmed) {
		used = size_human(stream->bytes);
		room = size_human(stream->max_bytes);
		log_warning("%s is over %d %% full: %s of %s; when it is full, changes are refused",
			    stream->name, STREAM_ALARM_PERCENT, used, room);
	}
	stream->alarmed = over;
}

/* A copy that holds more than the store: the store was put back or made anew. Nobody may go on from
 * that silently, but what to do is for people. The store was asked after the copy had answered:
 * what was appended meanwhile can only put the copy behind. */
static void tell_copy(const struct watched_stream *intent, struct watched_stream *copy)
{
	bool ahead = copy->last_sequence > intent->last_sequence;

	if (ahead && !copy->alarmed)
		log_error("this machine's copy of the log is ahead of the store (%llu, %llu): the "
			  "store has lost entries",
			  (unsigned long long)copy->last_sequence,
			  (unsigned long long)intent->last_sequence);
	copy->alarmed = ahead;
	copy->lag = ahead ? 0 : intent->last_sequence - copy->last_sequence;
}

static void ask(struct watched_stream *stream);

static uint64_t number(const json_t *object, const char *key)
{
	json_int_t value = json_integer_value(json_object_get(object, key));

	return value > 0 ? (uint64_t)value : 0;
}

static void on_info(const struct failure *failure, const json_t *info, void *userdata)
{
	struct watched_stream *stream = userdata;
	struct meshd *meshd = stream->meshd;
	struct watched_stream *intent = &meshd->streams[0],
			      *copy = &meshd->streams[ARRAY_SIZE(meshd->streams) - 1];
	const json_t *state = json_object_get(info, "state");

	stream->request = NULL;
	if (stream == copy)
		ask(intent);
	if (failure) {
		/* Its local server answers for the copy: only the store's silence is the
		 * store's. */
		if (stream != copy)
			tell_state(meshd, WATCH_SILENT, failure);
		else if (stream->seen)
			log_warning("this machine's copy of the log: %s", failure->message);
		stream->seen = false;
		return;
	}
	stream->seen = true;
	stream->bytes = number(state, "bytes");
	stream->messages = number(state, "messages");
	stream->last_sequence = number(state, "last_seq");
	stream->max_bytes = number(json_object_get(info, "config"), "max_bytes");
	if (stream == copy)
		return;
	if (stream == intent && copy->seen)
		tell_copy(intent, copy);
	tell_state(meshd, WATCH_ANSWERS, NULL);
	if (!streq(json_string_value(json_object_get(json_object_get(info, "config"), "discard")),
		   "old"))
		tell_usage(stream);
}

static void ask(struct watched_stream *stream)
{
	if (!stream->request)
		stream_info(stream->meshd->bus, stream->domain, stream->name, STORE_ASK_USEC,
			    on_info, stream, &stream->request);
}

/* All but the first, the log itself: it is asked once its copy has answered. */
static void look(void *userdata)
{
	struct meshd *meshd = userdata;

	for (size_t i = 1; i < ARRAY_SIZE(meshd->streams); i++)
		ask(&meshd->streams[i]);
	servers_look(meshd);
	timer_arm(meshd->watch, servers_trouble(meshd) ? WATCH_TROUBLE_USEC : WATCH_USEC);
}

void watch_start(struct meshd *meshd)
{
	meshd->streams[0] =
		(struct watched_stream){ .name = STREAM_INTENT, .domain = STORE_DOMAIN };
	meshd->streams[1] =
		(struct watched_stream){ .name = STREAM_STATUS, .domain = STORE_DOMAIN };
	meshd->streams[2] =
		(struct watched_stream){ .name = "KV_" BUCKET_LEASES, .domain = STORE_DOMAIN };
	meshd->streams[3] =
		(struct watched_stream){ .name = STREAM_INTENT, .domain = meshd->machine };
	for (size_t i = 0; i < ARRAY_SIZE(meshd->streams); i++)
		meshd->streams[i].meshd = meshd;
	servers_start(meshd);
	meshd->watch = timer_new(meshd->loop, look, meshd);
	timer_arm(meshd->watch, 0);
}

void watch_free(struct meshd *meshd)
{
	for (size_t i = 0; i < ARRAY_SIZE(meshd->streams); i++)
		bus_request_cancelp(&meshd->streams[i].request);
	servers_free(meshd);
	timer_free(steal(meshd->watch));
}

static json_t *stream_status(const struct watched_stream *stream, bool copy)
{
	json_t *json = json_pack("{s:s, s:s, s:I, s:I, s:I}", "stream", stream->name, "domain",
				 stream->domain, "bytes", (json_int_t)stream->bytes, "messages",
				 (json_int_t)stream->messages, "last_sequence",
				 (json_int_t)stream->last_sequence);

	if (stream->max_bytes) {
		json_object_set_new(json, "max_bytes", json_integer((json_int_t)stream->max_bytes));
		json_object_set_new(
			json, "percent",
			json_integer((json_int_t)(stream->bytes * 100 / stream->max_bytes)));
	}
	if (copy && !stream->alarmed)
		json_object_set_new(json, "behind", json_integer((json_int_t)stream->lag));
	if (copy && stream->alarmed)
		json_object_set_new(json, "trouble",
				    json_string("ahead of the store: the store has lost entries"));
	else if (stream->alarmed)
		json_object_set_new(json, "trouble",
				    json_string("nearly full: changes will be refused"));
	return json;
}

json_t *watch_status(const struct meshd *meshd)
{
	json_t *json = json_pack("{s:s}", "state", watch_state_names[meshd->store]);
	json_t *streams = json_array();

	if (meshd->store_since) {
		_cleanup_free_ char *since = time_format(meshd->store_since);

		json_object_set_new(json, "since", json_string(since));
	}
	for (size_t i = 0; i < ARRAY_SIZE(meshd->streams); i++)
		if (meshd->streams[i].seen)
			json_array_append_new(streams,
					      stream_status(&meshd->streams[i],
							    i + 1 == ARRAY_SIZE(meshd->streams)));
	json_object_set_new(json, "streams", streams);
	json_object_set_new(json, "disks", servers_status(meshd));
	return json;
}
