/* Watch: reports the results of a poll in log and status: how full each stream is, and how far each
 * local mirror is. */
#include "meshd/meshd.h"

static void report_usage(struct meshd *meshd, enum streams_id id)
{
	const struct polled_stream *stream = &meshd->poll->store[id];
	bool over = stream_alarm(stream->bytes, stream->max_bytes);
	_cleanup_free_ char *used = NULL, *limit = NULL;

	if (over && !meshd->alarmed[id]) {
		used = size_human(stream->bytes);
		limit = size_human(stream->max_bytes);
		log_warning(
			"%s is over %d %% full (%s of %s): when it is full, %s; `ployzctl store "
			"usage` lists its namespaces, `ployzctl store compact` drops old entries",
			streams_rows[id].name, STREAM_ALARM_PERCENT, used, limit,
			streams_rows[id].discard_old ? "its oldest entries are dropped"
						     : "changes are refused");
	}
	meshd->alarmed[id] = over;
}

static void report_mirrors(struct meshd *meshd)
{
	bool unanswered = false;

	for (size_t i = 0; i < STREAMS_COUNT; i++)
		unanswered |= streams_rows[i].mirrored &&
			      meshd->poll->mirrors[i].result == POLL_UNANSWERED;
	if (unanswered && !meshd->mirrors_unanswered)
		log_warning("cannot read the local mirrors: the local bus does not answer for "
			    "them; retrying");
	else if (!unanswered && meshd->mirrors_unanswered)
		log_notice("the local mirrors can be read again");
	meshd->mirrors_unanswered = unanswered;
}

void watch_report(struct meshd *meshd)
{
	for (size_t i = 0; i < STREAMS_COUNT; i++)
		if (meshd->poll->store[i].result == POLL_PRESENT)
			report_usage(meshd, (enum streams_id)i);
	report_mirrors(meshd);
}

/* --- the status */

static json_t *stream_status(enum streams_id id, const char *domain,
			     const struct polled_stream *stream)
{
	json_t *json = json_pack("{s:s, s:s, s:I, s:I, s:I}", "stream", streams_rows[id].name,
				 "domain", domain, "bytes", (json_int_t)stream->bytes, "messages",
				 (json_int_t)stream->messages, "last_sequence",
				 (json_int_t)stream->last_sequence);

	if (stream->max_bytes) {
		json_object_set_new(json, "max_bytes", json_integer((json_int_t)stream->max_bytes));
		json_object_set_new(
			json, "percent",
			json_integer((json_int_t)(stream->bytes * 100 / stream->max_bytes)));
	}
	return json;
}

static json_t *store_stream_status(const struct meshd *meshd, enum streams_id id)
{
	const struct polled_stream *stream = &meshd->poll->store[id];
	json_t *json = stream_status(id, STORE_DOMAIN, stream);

	json_object_set_new(json, "generation", json_integer((json_int_t)stream->generation));
	json_object_set_new(json, "replicas", json_integer((json_int_t)stream->replicas));
	if (stream_refuses(id, stream))
		json_object_set_new(json, "alarm", json_true());
	return json;
}

static json_t *mirror_status(const struct meshd *meshd, enum streams_id id)
{
	const struct polled_stream *mirror = &meshd->poll->mirrors[id];
	const struct polled_stream *stream = &meshd->poll->store[id];
	json_t *json = stream_status(id, meshd->machine, mirror);
	int64_t behind = stream->last_sequence - mirror->last_sequence;

	if (stream->result == POLL_PRESENT)
		json_object_set_new(json, "behind", json_integer(MAX2(behind, 0)));
	if (rebuild_is_of(meshd, id))
		json_object_set_new(json, "rebuilding", json_true());
	return json;
}

static json_t *streams_status(const struct meshd *meshd)
{
	json_t *streams = json_array();

	for (size_t i = 0; meshd->poll && i < STREAMS_COUNT; i++)
		if (meshd->poll->store[i].result == POLL_PRESENT)
			json_array_append_new(streams,
					      store_stream_status(meshd, (enum streams_id)i));
	for (size_t i = 0; meshd->poll && i < STREAMS_COUNT; i++)
		if (meshd->poll->mirrors[i].result == POLL_PRESENT)
			json_array_append_new(streams, mirror_status(meshd, (enum streams_id)i));
	return streams;
}

static void add_error(json_t *json, const struct failure *failure)
{
	if (!failure_is_set(failure))
		return;
	json_object_set_new(json, "error", json_utf8(failure->message));
	json_object_set_new(json, "hint", json_utf8(failure->hint));
}

json_t *watch_status(const struct meshd *meshd)
{
	json_t *json = json_pack("{s:s}", "state", store_state_names[meshd->verdict.state]);
	const struct marker *marker = meshd->marker;

	if (meshd->since) {
		_cleanup_free_ char *since = time_format(meshd->since);

		json_object_set_new(json, "since", json_string(since));
	}
	if (marker) {
		json_object_set_new(json, "id", json_string(marker->store));
		json_object_set_new(json, "generation", json_integer(marker->generation));
	}
	add_error(json, &meshd->error);
	json_object_set_new(json, "streams", streams_status(meshd));
	json_object_set_new(json, "disks", servers_status(meshd));
	return json;
}
