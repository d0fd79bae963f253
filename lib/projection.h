/* Projection: the last entry of every subject of PLOYZ_INTENT and PLOYZ_FACTS that a reader wants,
 * updated from the store. While the store cannot be reached at the start, the machine's local
 * mirrors are used. The reader copies what it needs of an entry. */
#ifndef PLOYZ_PROJECTION_H
#define PLOYZ_PROJECTION_H

#include "lib/model/watermark.h"
#include "lib/stream.h"

struct projection;
struct projection_ops {
	/* The subject's last entry is now this one, zero-terminated beyond `size`, borrowed; `data`
	 * NULL: the subject has no entry any more. */
	void (*entry)(const char *subject, uint64_t sequence, const char *data, size_t size,
		      void *userdata);
	/* Everything up to `applied` has been handed over; called when a load is complete and then
	 * once per iteration of the loop in which entries arrived. Readers act here, not in
	 * `entry`. */
	void (*settled)(const struct watermark *applied, void *userdata);
	/* The view has become stale (it stays the last known good one), or is live again. May be
	 * NULL. */
	void (*stale)(bool stale, void *userdata);
	/* projection_checked has risen. May be NULL. */
	void (*checked)(void *userdata);
};
struct projection_options {
	const char *machine;	   /* domain of the local mirrors */
	const char *const *intent; /* NULL-terminated filters of PLOYZ_INTENT; NULL: not followed */
	const char *const *facts;  /* the same of PLOYZ_FACTS */
	struct watermark served; /* of a saved view that is served already: a mirror that is behind
				    it is not used; all 0: none */
	const char *seen;	 /* projection_seen when that view was saved, or NULL */
};
struct projection *projection_new(struct bus *bus, const struct projection_options *options,
				  const struct projection_ops *ops, void *userdata);
void projection_free(struct projection *projection);
DEFINE_CLEANUP(struct projection, projection_free);
/* Another process has seen entries up to `wanted`: if they do not arrive within 0.25 s, the
 * projection attaches again instead of waiting for a missed heartbeat. */
void projection_expect(struct projection *projection, const struct watermark *wanted);
/* The watermark of what was handed over; all 0 before the first load. Borrowed. */
const struct watermark *projection_applied(const struct projection *projection);
/* What is known of the store besides the watermark, to be saved with a view: with it a restarted
 * reader detects a store that was reverted or created again even if its sequences fit. Owned by the
 * caller. */
char *projection_seen(const struct projection *projection);
/* Asks the store's leaders for their state now, unless that is under way. */
void projection_check(struct projection *projection);
/* The view has everything that the leaders had at this time (boot_now_usec), and their generation;
 * 0: it is not live. */
uint64_t projection_checked(const struct projection *projection);
/* Whether the last delivered entries have reached the leader's last ones for the filters, and none
 * was missed since. */
bool projection_is_live(const struct projection *projection);
/* CLOCK_REALTIME since when the view may be stale; 0: it is live. */
uint64_t projection_stale_since(const struct projection *projection);
/* Why it is stale, or NULL; borrowed. */
const char *projection_stale_reason(const struct projection *projection);
/* {"subjects":N,"applied":{…},"stale_since":"…"|absent,"stale_reason":"…"|absent}: for status. An
 * own reference. */
json_t *projection_status(const struct projection *projection);

#endif
