/* Projection: the last entry of every subject of the log, kept fresh from the store; started from
 * the machine's own copy while the store does not answer. What an entry says is the listener's to
 * keep, as far as it needs it. */
#ifndef PLOYZ_PROJECTION_H
#define PLOYZ_PROJECTION_H

#include "lib/stream.h"

struct projection;
struct projection_ops {
	/* The subject's last entry is now this one, zero-terminated beyond `size`, borrowed; `data`
	 * NULL: it is gone. */
	void (*entry)(const char *subject, uint64_t sequence, const char *data, size_t size,
		      void *userdata);
	/* Everything up to `sequence` has been handed over; called when a load is complete and then
	 * once a turn of the loop in which entries came. Act here, not in `entry`. */
	void (*settled)(uint64_t sequence, void *userdata);
	/* The view may be behind from now on (still the last known good), or is fresh again. May be
	 * NULL. */
	void (*stale)(bool stale, void *userdata);
};
/* Follows PLOYZ_INTENT, or what of it has a subject that fits `filter` (NULL: all). `machine` names
 * the domain of the local copy. */
struct projection *projection_new(struct bus *bus, const char *machine, const char *filter,
				  const struct projection_ops *ops, void *userdata);
void projection_free(struct projection *projection);
DEFINE_CLEANUP(struct projection, projection_free);
/* Somebody knows of an entry with this sequence: if it is not here within a moment, the projection
 * attaches anew rather than wait for a missed heartbeat. */
void projection_expect(struct projection *projection, uint64_t sequence);
/* CLOCK_REALTIME since when the view may be behind; 0: it is fresh. */
uint64_t projection_stale_since(const struct projection *projection);
/* {"subjects":N,"sequence":N,"stale_since":"…"|absent}: for status; `sequence` where all of the log
 * is followed. An own reference. */
json_t *projection_status(const struct projection *projection);

#endif
