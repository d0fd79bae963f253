/* Leases in the store: watching, holding and breaking them. Every write is a compare-and-set on the
 * revision last read; keys are never deleted and never expire. */
#ifndef PLOYZ_LEASE_H
#define PLOYZ_LEASE_H

#include "lib/cas.h"
#include "lib/map.h"
#include "lib/model/lease.h"

/* A holder stops acting this long before others may take over. */
#define LEASE_MARGIN_USEC (3 * 1000000ull)
/* Time limit for taking and for releasing: a store elects a leader in 4–8 s. */
#define LEASE_TAKE_USEC (15 * 1000000ull)

/* --- lease-watch.c: expiry without synchronised clocks. Times are of this process's boot-time
 * clock and count only while the watch receives every entry. */

struct lease_watch;
struct lease_seen {
	struct lease *lease;
	uint64_t revision;
	uint64_t moved_usec; /* boot-time clock, when the revision was seen to change */
};
/* `changed` (may be NULL) is called with each value; borrowed. */
typedef void (*lease_changed_fn)(const struct lease *lease, uint64_t revision, void *userdata);
struct lease_watch *lease_watch_new(struct bus *bus, lease_changed_fn changed, void *userdata);
void lease_watch_free(struct lease_watch *watch);
DEFINE_CLEANUP(struct lease_watch, lease_watch_free);
bool lease_watch_is_live(const struct lease_watch *watch);
/* How long the lease's revision has not changed while the watch was live, µs; 0 if unknown. */
uint64_t lease_watch_quiet(const struct lease_watch *watch, const char *key, uint64_t revision);
/* key → struct lease_seen; borrowed. */
const struct map *lease_watch_all(const struct lease_watch *watch);

/* --- held-lease.c: taking, renewing every LEASE_RENEW_USEC, raising the epoch, releasing. */

enum held_state {
	HELD_TAKING,
	HELD_HELD,
	HELD_RAISING, /* held; a higher epoch is being written */
	HELD_REFUSED, /* not taken: see held_lease_failure */
	HELD_LOST,    /* lost after it was held: the holder stops acting at once */
	HELD_RELEASING,
	HELD_RELEASED, /* free, or its state is unknown */
};
struct held_lease_ops {
	/* The state has changed. Called from the loop, after held_lease_new has returned. May free
	 * the lease. */
	void (*changed)(void *userdata);
	/* A renewal was acknowledged: held_lease_deadline has changed. May be NULL. */
	void (*renewed)(void *userdata);
	/* An answer is missing. May be NULL. */
	void (*waiting)(const char *why, void *userdata);
	/* Whether this process still executes this deploy: a lease that names this incarnation but
	 * a deploy that has ended here is taken over at once. NULL: never. */
	bool (*executes)(const char *deploy, void *userdata);
};
struct held_lease;
/* Takes the lease of `holder->ns` for `holder` (machine, incarnation, deploy, verb, operator). */
struct held_lease *held_lease_new(struct bus *bus, struct lease_watch *watch,
				  const struct lease *holder, const struct held_lease_ops *ops,
				  void *userdata);
enum held_state held_lease_state(const struct held_lease *held);
/* Why the lease was refused or lost, or why its release is unknown; borrowed; otherwise empty. */
const struct failure *held_lease_failure(const struct held_lease *held);
/* The value of the held lease; borrowed. */
const struct lease *held_lease_get(const struct held_lease *held);
/* The value that was taken over, of an earlier incarnation, an ended deploy or a holder that did
 * not renew it; NULL: the lease was free. Borrowed. */
const struct lease *held_lease_previous(const struct held_lease *held);
/* The time (boot-time clock) until which the holder may act, counted from the first attempt of its
 * last acknowledged write; 0 unless it is held. */
uint64_t held_lease_deadline(const struct held_lease *held);
/* Writes an epoch higher than `above`; the state is HELD_RAISING until that is acknowledged. Does
 * nothing when the epoch is higher already, or when it is not held. */
void held_lease_raise(struct held_lease *held, int64_t above);
/* Called by the watch: the lease is lost if the value is another holder's. */
void held_lease_observe(struct held_lease *held, const struct lease *lease, uint64_t revision);
/* Frees it: HELD_RELEASING, then HELD_RELEASED. A write under way is waited for. Does nothing when
 * it was refused or lost. */
void held_lease_release(struct held_lease *held);
/* Frees the object without a write; a held lease lapses. */
void held_lease_free(struct held_lease *held);
DEFINE_CLEANUP(struct held_lease, held_lease_free);

/* --- lease-break.c: frees a held lease for an operator; the epoch stays. */
struct lease_breaking;
/* `lease` and `revision` are those after the write; NULL with `failure`. Borrowed. Called once
 * unless the breaker is freed, after lease_break has returned; may free it. A free lease stays as
 * it is; a value that cannot be decoded is replaced. */
typedef void (*lease_broken_fn)(const struct failure *failure, const struct lease *lease,
				uint64_t revision, void *userdata);
struct lease_breaking *lease_break(struct bus *bus, const char *key, const char *operator_,
				   lease_broken_fn fn, void *userdata);
void lease_breaking_free(struct lease_breaking *breaking);
DEFINE_CLEANUP(struct lease_breaking, lease_breaking_free);

#endif
