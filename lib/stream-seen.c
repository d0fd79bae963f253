/* Stream seen (pure): whether a stream of the store is the one that a reader knows. */
#include "lib/stream-seen.h"

#include "lib/str.h"
#include "lib/streams.h"

#define ACCEPT                                                                       \
	"restore the store, or run `ployzctl store accept` to continue without the " \
	"missing entries"

void stream_seen_parse(const json_t *info, struct stream_seen *ret)
{
	const json_t *state = json_object_get(info, "state");
	json_int_t sequence = json_integer_value(json_object_get(state, "last_seq"));

	*ret = (struct stream_seen){
		.created = xstrdup(json_string_value(json_object_get(info, "created"))),
		.store = xstrdup(streams_store(info)),
		.generation = streams_generation(info),
		.sequence = sequence > 0 ? (uint64_t)sequence : 0,
	};
	if (!ret->sequence ||
	    time_parse(json_string_value(json_object_get(state, "last_ts")), &ret->time_usec) < 0)
		ret->time_usec = 0;
}

static bool differ(const char *a, const char *b)
{
	return a && b && !streq(a, b);
}

void stream_seen_reverted(const struct stream_seen *seen, const char *stream,
			  struct failure *failure)
{
	failure_set(failure, FAILURE_REFUSED, ACCEPT,
		    "entries of %s are missing: entry %llu differs from the one that was seen",
		    stream, (unsigned long long)seen->sequence);
}

enum stream_verdict stream_seen_compare(const struct stream_seen *seen,
					const struct stream_seen *now, const char *stream,
					struct failure *failure)
{
	if (!seen->created && !seen->store && !seen->generation && !seen->sequence)
		return STREAM_FIRST;
	if (now->generation < seen->generation) {
		failure_set(failure, FAILURE_REFUSED, ACCEPT,
			    "%s has store generation %lld, generation %lld was seen", stream,
			    (long long)now->generation, (long long)seen->generation);
		return STREAM_FOREIGN;
	}
	if (seen->generation && now->generation > seen->generation)
		return STREAM_NEWER;
	if (differ(seen->created, now->created) || differ(seen->store, now->store)) {
		failure_set(failure, FAILURE_REFUSED, ACCEPT,
			    "%s was created again: it is not the stream that was seen", stream);
		return STREAM_FOREIGN;
	}
	if (now->sequence < seen->sequence) {
		failure_set(failure, FAILURE_REFUSED, ACCEPT,
			    "entries of %s are missing: its last is %llu, %llu was seen", stream,
			    (unsigned long long)now->sequence, (unsigned long long)seen->sequence);
		return STREAM_FOREIGN;
	}
	if (now->sequence == seen->sequence && now->time_usec && seen->time_usec &&
	    now->time_usec != seen->time_usec) {
		stream_seen_reverted(seen, stream, failure);
		return STREAM_FOREIGN;
	}
	return STREAM_SAME;
}

void stream_seen_copy(struct stream_seen *to, const struct stream_seen *from)
{
	struct stream_seen copy = *from;

	copy.created = xstrdup(from->created);
	copy.store = xstrdup(from->store);
	stream_seen_clear(to);
	*to = copy;
}

void stream_seen_clear(struct stream_seen *seen)
{
	free(seen->created);
	free(seen->store);
	*seen = (struct stream_seen){ 0 };
}
