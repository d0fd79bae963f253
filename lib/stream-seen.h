/* Stream seen (pure): what a reader knows of a stream, and whether the store's stream is still the
 * same. */
#ifndef PLOYZ_STREAM_SEEN_H
#define PLOYZ_STREAM_SEEN_H

#include <jansson.h>

#include "lib/failure.h"

struct stream_seen {
	char *created;	    /* creation time as the server formats it, or NULL; owned */
	char *store;	    /* id of the store's creation (lib/streams.h), or NULL; owned */
	int64_t generation; /* of the store; 0: unknown */
	uint64_t sequence;  /* highest known sequence; 0: none */
	uint64_t time_usec; /* when the store stored that entry, CLOCK_REALTIME; 0: unknown */
};

enum stream_verdict {
	STREAM_FIRST,	/* nothing was known */
	STREAM_SAME,	/* no value differs; only comparing a known entry proves it */
	STREAM_NEWER,	/* of a higher generation: read it from the beginning */
	STREAM_FOREIGN, /* created again, of a lower generation, or entries are missing */
};

/* Fills it from a STREAM.INFO answer. */
void stream_seen_parse(const json_t *info, struct stream_seen *ret);
/* `failure` is set for STREAM_FOREIGN; its hint names `ployzctl store accept`. */
enum stream_verdict stream_seen_compare(const struct stream_seen *seen,
					const struct stream_seen *now, const char *stream,
					struct failure *failure);
/* Fills the failure for a changed entry at `seen->sequence`. */
void stream_seen_reverted(const struct stream_seen *seen, const char *stream,
			  struct failure *failure);
void stream_seen_copy(struct stream_seen *to, const struct stream_seen *from);
void stream_seen_clear(struct stream_seen *seen);

#endif
