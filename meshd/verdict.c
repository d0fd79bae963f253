/* Verdict (pure): judges the store from its streams, this machine's marker and its local mirrors.
 */
#include "meshd/meshd.h"

const char *const store_state_names[] = {
	[STORE_UNKNOWN] = "unknown",
	[STORE_UNREACHABLE] = "unreachable",
	[STORE_UNINITIALISED] = "uninitialised",
	[STORE_CREATE] = "creating",
	[STORE_TAKE] = "good",
	[STORE_GOOD] = "good",
	[STORE_FOREIGN] = "foreign",
	[STORE_MISSING] = "missing",
	[STORE_OTHER] = "other",
	[STORE_MIXED] = "mixed",
	[STORE_OLDER] = "older",
	[STORE_BEHIND] = "behind",
	[STORE_DIVERGED] = "diverged",
	NULL,
};

#define ACCEPT_HINT                                                                       \
	"restore the store's data, or run `ployzctl store accept` to continue with what " \
	"the store holds"

bool store_is_error(enum store_state state)
{
	return state >= STORE_FOREIGN;
}

bool stream_alarm(uint64_t bytes, uint64_t max_bytes)
{
	return max_bytes && bytes >= max_bytes / 100 * STREAM_ALARM_PERCENT;
}

bool mirror_outdated(const struct polled_stream *mirror, const struct marker *marker)
{
	return mirror->generation != marker->generation || !streq(mirror->store, marker->store);
}

bool mirror_stalled(struct stall *stall, const struct polled_stream *mirror,
		    const struct polled_stream *stream, uint64_t now)
{
	bool behind = mirror->result == POLL_PRESENT && stream->result == POLL_PRESENT &&
		      mirror->last_sequence < stream->last_sequence;

	if (!behind) {
		*stall = (struct stall){ .since = 0 };
		return false;
	}
	if (!stall->since || stall->sequence != mirror->last_sequence)
		*stall = (struct stall){ .sequence = mirror->last_sequence, .since = now };
	return now - stall->since >= MIRROR_STALLED_USEC;
}

bool stream_refuses(enum streams_id id, const struct polled_stream *stream)
{
	return !streams_rows[id].discard_old && stream_alarm(stream->bytes, stream->max_bytes);
}

enum mirror_step mirror_decide(const struct polled_stream *mirror,
			       const struct polled_stream *stream, const struct marker *marker,
			       int64_t per_subject, bool stalled)
{
	bool empty = stream->messages == 0;

	if (mirror->result == POLL_UNANSWERED)
		return MIRROR_LEAVE;
	if (mirror->result == POLL_ABSENT)
		return empty ? MIRROR_CREATE : MIRROR_REBUILD;
	if (mirror_outdated(mirror, marker))
		return empty ? MIRROR_DELETE : MIRROR_REBUILD;
	if (stalled && !empty)
		return MIRROR_REBUILD;
	return mirror->per_subject == per_subject ? MIRROR_LEAVE : MIRROR_UPDATE;
}

static void raise_seen(struct seen *seen, const struct polled_stream *stream)
{
	bool dated = stream->last_sequence == seen->sequence && !seen->time_usec;

	if (stream->last_sequence <= seen->sequence && !dated)
		return;
	seen->sequence = stream->last_sequence;
	seen->time_usec = stream->last_time_usec;
}

/* The mirror of the highest generation, or NULL. */
static const struct polled_stream *newest_mirror(const struct poll *poll)
{
	const struct polled_stream *newest = NULL;

	for (size_t i = 0; i < STREAMS_COUNT; i++) {
		const struct polled_stream *mirror = &poll->mirrors[i];

		if (mirror->result == POLL_PRESENT && mirror->store && mirror->generation > 0 &&
		    (!newest || mirror->generation > newest->generation))
			newest = mirror;
	}
	return newest;
}

struct marker *store_known(const struct marker *marker, const struct poll *poll)
{
	const struct polled_stream *newest = newest_mirror(poll);
	struct marker *known;

	if (!marker && !newest)
		return NULL;
	known = marker ? codec_copy(&marker_schema, marker) : codec_new(&marker_schema);
	if (!marker) {
		known->store = xstrdup(newest->store);
		known->generation = newest->generation;
	}
	for (size_t i = 0; i < STREAMS_COUNT; i++) {
		const struct polled_stream *mirror = &poll->mirrors[i];

		if (mirror->result == POLL_PRESENT && !mirror_outdated(mirror, known))
			raise_seen(&known->seen[i], mirror);
	}
	return known;
}

/* --- the verdict */

static struct store_verdict verdict_of(enum store_state state, size_t stream, int64_t seen,
				       int64_t is)
{
	return (struct store_verdict){
		.state = state,
		.stream = (enum streams_id)stream,
		.seen = seen,
		.is = is,
	};
}

/* The first stream of the store with this result, or STREAMS_COUNT. */
static size_t first_with(const struct poll *poll, enum poll_result result)
{
	size_t i = 0;

	while (i < STREAMS_COUNT && poll->store[i].result != result)
		i++;
	return i;
}

/* The first stream that is of another store, or STREAMS_COUNT. */
static size_t first_other(const struct poll *poll, const char *store)
{
	size_t i = 0;

	while (i < STREAMS_COUNT &&
	       (poll->store[i].result != POLL_PRESENT || streq(poll->store[i].store, store)))
		i++;
	return i;
}

/* The first stream whose generation is not that of the first one, or STREAMS_COUNT. */
static size_t first_mixed(const struct poll *poll)
{
	size_t i = 0;

	while (i < STREAMS_COUNT && poll->store[i].generation == poll->store[0].generation)
		i++;
	return i;
}

static struct store_verdict judge_requested(const struct init_request *request,
					    const struct poll *poll)
{
	size_t other = first_other(poll, request->store);
	size_t missing = first_with(poll, POLL_ABSENT);

	if (other < STREAMS_COUNT)
		return verdict_of(STORE_FOREIGN, other, 0, 0);
	if (missing < STREAMS_COUNT)
		return verdict_of(STORE_CREATE, missing, 0, 0);
	return verdict_of(STORE_TAKE, 0, 0, 0);
}

/* A machine without a marker adopts the store that it finds, if that is complete. */
static struct store_verdict judge_unknown(const struct poll *poll)
{
	size_t missing = first_with(poll, POLL_ABSENT);
	size_t mixed = first_mixed(poll);

	if (missing < STREAMS_COUNT)
		return verdict_of(STORE_UNINITIALISED, missing, 0, 0);
	if (poll->store[0].generation == 0 || !poll->store[0].store)
		return verdict_of(STORE_OTHER, 0, 0, 0);
	if (first_other(poll, poll->store[0].store) < STREAMS_COUNT)
		return verdict_of(STORE_OTHER, first_other(poll, poll->store[0].store), 0, 0);
	if (mixed < STREAMS_COUNT)
		return verdict_of(STORE_MIXED, mixed, poll->store[0].generation,
				  poll->store[mixed].generation);
	return verdict_of(STORE_TAKE, 0, 0, 0);
}

/* Sequences and entries, within one generation. */
static struct store_verdict judge_content(const struct marker *marker, const struct marker *known,
					  const struct poll *poll)
{
	const struct seen *intent = marker ? &marker->seen[STREAMS_INTENT] : NULL;
	const struct seen *marked = &poll->marked;

	for (size_t i = 0; i < STREAMS_COUNT; i++)
		if (poll->store[i].last_sequence < known->seen[i].sequence)
			return verdict_of(STORE_BEHIND, i, known->seen[i].sequence,
					  poll->store[i].last_sequence);
	for (size_t i = 0; i < STREAMS_COUNT; i++) {
		const struct polled_stream *stream = &poll->store[i];
		const struct seen *seen = &known->seen[i];

		/* An empty stream keeps no time: what was in it has expired. */
		if (stream->messages && stream->last_sequence == seen->sequence &&
		    seen->time_usec && stream->last_time_usec != seen->time_usec)
			return verdict_of(STORE_DIVERGED, i, seen->sequence, seen->sequence);
	}
	/* A mirror may have followed the store past that entry: only the marker knows what it was.
	 */
	if (intent && marked->sequence && marked->sequence == intent->sequence &&
	    intent->time_usec && marked->time_usec != intent->time_usec)
		return verdict_of(STORE_DIVERGED, STREAMS_INTENT, intent->sequence,
				  intent->sequence);
	return verdict_of(STORE_GOOD, 0, 0, 0);
}

struct store_verdict store_judge(const struct marker *marker, const struct marker *known,
				 const struct init_request *request, const struct poll *poll)
{
	size_t other, mixed, missing = first_with(poll, POLL_ABSENT);
	struct store_verdict verdict;
	int64_t generation;

	if (first_with(poll, POLL_UNANSWERED) < STREAMS_COUNT)
		return verdict_of(STORE_UNREACHABLE, first_with(poll, POLL_UNANSWERED), 0, 0);
	/* The streams of a request are created only where nothing speaks of another store. */
	if (!marker && request && (!known || streq(known->store, request->store)))
		return judge_requested(request, poll);
	if (!known)
		return judge_unknown(poll);
	if (missing < STREAMS_COUNT)
		return verdict_of(STORE_MISSING, missing, 0, 0);
	other = first_other(poll, known->store);
	if (other < STREAMS_COUNT)
		return verdict_of(STORE_OTHER, other, 0, 0);
	generation = poll->store[0].generation;
	mixed = first_mixed(poll);
	if (mixed < STREAMS_COUNT)
		return verdict_of(STORE_MIXED, mixed, generation, poll->store[mixed].generation);
	if (generation < known->generation)
		return verdict_of(STORE_OLDER, 0, known->generation, generation);
	if (generation > known->generation)
		return verdict_of(STORE_TAKE, 0, known->generation, generation);
	verdict = judge_content(marker, known, poll);
	if (verdict.state == STORE_GOOD && !marker)
		verdict.state = STORE_TAKE;
	return verdict;
}

/* --- what is reported */

void store_failure(const struct store_verdict *verdict, const struct marker *known,
		   const struct init_request *request, const struct poll *poll, struct failure *ret)
{
	const char *stream = streams_rows[verdict->stream].name;
	const char *id = poll->store[verdict->stream].store;
	long long seen = (long long)verdict->seen, is = (long long)verdict->is;

	switch (verdict->state) {
	case STORE_FOREIGN:
		failure_set(ret, FAILURE_REFUSED,
			    "run `ployzctl store accept` to use the store that exists",
			    "cannot initialise cluster %s: %s exists already, of store %s",
			    request->cluster, stream, id ? id : "(no id)");
		return;
	case STORE_MISSING:
		failure_set(ret, FAILURE_REFUSED, ACCEPT_HINT,
			    "cannot use the store: %s does not exist, this machine has seen it at "
			    "entry %lld",
			    stream, (long long)known->seen[verdict->stream].sequence);
		return;
	case STORE_OTHER:
		failure_set(ret, FAILURE_REFUSED, ACCEPT_HINT,
			    "cannot use the store: %s is of store %s, this machine belongs to "
			    "store %s",
			    stream, id ? id : "(no id)", known ? known->store : "(none)");
		return;
	case STORE_MIXED:
		failure_set(ret, FAILURE_REFUSED, ACCEPT_HINT,
			    "cannot use the store: %s has generation %lld, %s has %lld", stream, is,
			    streams_rows[0].name, seen);
		return;
	case STORE_OLDER:
		failure_set(ret, FAILURE_REFUSED, ACCEPT_HINT,
			    "cannot use the store: its generation is %lld, this machine has seen "
			    "%lld",
			    is, seen);
		return;
	case STORE_BEHIND:
		failure_set(ret, FAILURE_REFUSED, ACCEPT_HINT,
			    "cannot use the store: it has lost entries, %s ends at %lld, this "
			    "machine has seen %lld",
			    stream, is, seen);
		return;
	case STORE_DIVERGED:
		failure_set(
			ret, FAILURE_REFUSED, ACCEPT_HINT,
			"cannot use the store: it has lost entries, entry %lld of %s is another "
			"than this machine has seen",
			is, stream);
		return;
	case STORE_UNINITIALISED:
		failure_set(ret, FAILURE_NOT_FOUND, "run `ployzctl init NAME`",
			    "cannot find a cluster: %s does not exist", stream);
		return;
	case STORE_UNREACHABLE:
		failure_copy(ret, &poll->unanswered);
		return;
	default:
		failure_clear(ret);
	}
}

/* --- the marker that follows */

struct marker *store_mark(const struct marker *marker, const struct marker *known,
			  const struct init_request *request, const struct poll *poll,
			  const char *now, bool *ret_changed)
{
	const struct polled_stream *intent = &poll->store[STREAMS_INTENT];
	bool fresh = !known || known->generation != intent->generation;
	struct marker *mark = known ? codec_copy(&marker_schema, known) : codec_new(&marker_schema);

	if (fresh) {
		memset(mark->seen, 0, sizeof(mark->seen));
		free(mark->store);
		mark->store = xstrdup(intent->store);
		mark->generation = intent->generation;
		free(mark->since);
		mark->since = xstrdup(now);
	}
	if (!mark->cluster && request && streq(request->store, mark->store))
		mark->cluster = xstrdup(request->cluster);
	if (!mark->since)
		mark->since = xstrdup(now);
	for (size_t i = 0; i < STREAMS_COUNT; i++)
		raise_seen(&mark->seen[i], &poll->store[i]);
	*ret_changed =
		fresh || !marker || memcmp(mark->seen, marker->seen, sizeof(mark->seen)) != 0;
	return mark;
}

/* The id that other machines know, so that they follow an accepted store by themselves. */
const char *store_accept_id(const struct marker *known, const struct init_request *request,
			    const struct poll *poll)
{
	if (known)
		return known->store;
	for (size_t i = 0; i < STREAMS_COUNT; i++)
		if (poll->store[i].result == POLL_PRESENT && poll->store[i].store)
			return poll->store[i].store;
	return request ? request->store : NULL;
}

int64_t store_accept_generation(const struct marker *known, const struct poll *poll)
{
	int64_t highest = known ? known->generation : 0;

	for (size_t i = 0; i < STREAMS_COUNT; i++) {
		highest = MAX2(highest, poll->store[i].generation);
		highest = MAX2(highest, poll->mirrors[i].generation);
	}
	return highest + 1;
}
