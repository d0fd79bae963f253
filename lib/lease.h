/* Leases in the store: what this process sees of them, and holding one. Every write is a
 * compare-and-set on the revision last read; keys are never deleted and never expire. */
#ifndef PLOYZ_LEASE_H
#define PLOYZ_LEASE_H

#include "lib/cas.h"
#include "lib/map.h"
#include "lib/model/lease.h"

/* A holder stops acting this long before others may take over. */
#define LEASE_MARGIN_USEC (3 * 1000000ull)
/* How long taking and releasing may take: a store elects a leader in 4–8 s. */
#define LEASE_TAKE_USEC (15 * 1000000ull)

/* --- lease-watch.c: expiry without synchronised clocks. What was seen of each lease, on this
 * process's own boot-time clock, counted only while the watch was known to be alive. */

struct lease_watch;
struct lease_seen {
	struct lease *lease;
	uint64_t revision;
	uint64_t moved_usec; /* boot-time clock, when the revision was seen to move */
};
/* `changed` (may be NULL) gets each value as it is seen; borrowed. */
typedef void (*lease_changed_fn)(const struct lease *lease, uint64_t revision, void *userdata);
struct lease_watch *lease_watch_new(struct bus *bus, lease_changed_fn changed, void *userdata);
void lease_watch_free(struct lease_watch *watch);
DEFINE_CLEANUP(struct lease_watch, lease_watch_free);
bool lease_watch_is_live(const struct lease_watch *watch);
/* How long this revision has not moved while the watch was alive, µs; 0 when that is not known. */
uint64_t lease_watch_quiet(const struct lease_watch *watch, const char *key, uint64_t revision);
/* key → struct lease_seen; borrowed. */
const struct map *lease_watch_all(const struct lease_watch *watch);

/* --- held-lease.c: taking, renewing every LEASE_RENEW_USEC, raising the epoch, releasing. */

enum held_state {
	HELD_TAKING,
	HELD_HELD,
	HELD_RAISING, /* held; a higher epoch is being written */
	HELD_REFUSED, /* never had it: see held_lease_failure */
	HELD_LOST,    /* had it: the holder stops acting at once */
	HELD_RELEASING,
	HELD_RELEASED, /* free, or it was not learned whether it is */
};
struct held_lease_ops {
	/* The state is another one. Called from the loop, never before held_lease_new has
	 * returned. May free the lease. */
	void (*changed)(void *userdata);
	/* A renewal was acknowledged: held_lease_deadline is later now. May be NULL. */
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
/* Why it was refused or lost, or why it is not known whether it was released; borrowed; empty
 * otherwise. */
const struct failure *held_lease_failure(const struct held_lease *held);
/* What is held, with its epoch; borrowed. */
const struct lease *held_lease_get(const struct held_lease *held);
/* The lease that it was taken over from, held by an earlier incarnation, an ended deploy or a
 * holder that has not renewed it; NULL: it was free. Borrowed. */
const struct lease *held_lease_previous(const struct held_lease *held);
/* Until when (boot-time clock) the holder may act: counted from when its last acknowledged write
 * was first sent; 0 unless it is held. */
uint64_t held_lease_deadline(const struct held_lease *held);
/* Writes an epoch higher than `above`; the state is HELD_RAISING until that is acknowledged. Does
 * nothing when the epoch is higher already, or when it is not held. */
void held_lease_raise(struct held_lease *held, int64_t above);
/* From the watch: another value means that the lease is lost. */
void held_lease_observe(struct held_lease *held, const struct lease *lease, uint64_t revision);
/* Frees it: HELD_RELEASING, then HELD_RELEASED. A write under way is waited for. Does nothing when
 * it was refused or lost. */
void held_lease_release(struct held_lease *held);
/* Forgets it; what is held lapses by itself. */
void held_lease_free(struct held_lease *held);
DEFINE_CLEANUP(struct held_lease, held_lease_free);

/* --- lease-break.c: frees a held lease for an operator; the epoch stays. */
struct lease_breaking;
/* `lease` and `revision` are those after the write; NULL with `failure`. Borrowed. Called once
 * unless it is freed, never before lease_break has returned; may free it. A lease that is free
 * already is left as it is; a value that cannot be decoded is replaced. */
typedef void (*lease_broken_fn)(const struct failure *failure, const struct lease *lease,
				uint64_t revision, void *userdata);
struct lease_breaking *lease_break(struct bus *bus, const char *key, const char *operator_,
				   lease_broken_fn fn, void *userdata);
void lease_breaking_free(struct lease_breaking *breaking);
DEFINE_CLEANUP(struct lease_breaking, lease_breaking_free);

#endif
