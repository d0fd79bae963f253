/* Projection: the last entry of every subject of PLOYZ_INTENT and PLOYZ_FACTS that a reader wants,
 * kept fresh from the store. It starts from the machine's local mirrors while the store cannot be
 * reached. The reader keeps what it needs of an entry. */
#ifndef PLOYZ_PROJECTION_H
#define PLOYZ_PROJECTION_H

#include "lib/model/watermark.h"
#include "lib/stream.h"

struct projection;
struct projection_ops {
	/* The subject's last entry is now this one, zero-terminated beyond `size`, borrowed; `data`
	 * NULL: it is gone. */
	void (*entry)(const char *subject, uint64_t sequence, const char *data, size_t size,
		      void *userdata);
	/* Everything up to `applied` has been handed over; called when a load is complete and then
	 * once per iteration of the loop in which entries came. Act here, not in `entry`. */
	void (*settled)(const struct watermark *applied, void *userdata);
	/* The view may be behind from now on (it stays the last known good one), or is fresh again.
	 * May be NULL. */
	void (*stale)(bool stale, void *userdata);
};
struct projection_options {
	const char *machine;	   /* domain of the local mirrors */
	const char *const *intent; /* NULL-terminated filters of PLOYZ_INTENT; NULL: not followed */
	const char *const *facts;  /* the same of PLOYZ_FACTS */
	struct watermark served;   /* a saved view that is served already: a mirror that is behind
				      it is not used; all 0: none */
	const char *seen;	   /* projection_seen when that view was saved, or NULL */
};
struct projection *projection_new(struct bus *bus, const struct projection_options *options,
				  const struct projection_ops *ops, void *userdata);
void projection_free(struct projection *projection);
DEFINE_CLEANUP(struct projection, projection_free);
/* Another process knows of entries up to `wanted`: if they do not arrive within a moment, the
 * projection attaches again rather than wait for a missed heartbeat. */
void projection_expect(struct projection *projection, const struct watermark *wanted);
/* What was handed over. All 0 before the first load. Borrowed. */
const struct watermark *projection_applied(const struct projection *projection);
/* What is known of the store beyond the watermark, to be saved with a view: a restarted reader then
 * notices a store that was reverted or created again although its sequences suit. Owned by the
 * caller. */
char *projection_seen(const struct projection *projection);
/* Live: the last delivered entries have reached the leader's last for the filters, and nothing was
 * missed since. */
bool projection_is_live(const struct projection *projection);
/* CLOCK_REALTIME since when the view may be behind; 0: it is live. */
uint64_t projection_stale_since(const struct projection *projection);
/* Why it is stale, or NULL; borrowed. */
const char *projection_stale_reason(const struct projection *projection);
/* {"subjects":N,"applied":{…},"stale_since":"…"|absent,"stale_reason":"…"|absent}: for status. An
 * own reference. */
json_t *projection_status(const struct projection *projection);

#endif
