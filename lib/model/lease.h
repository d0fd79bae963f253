/* Lease: the permission to change a namespace. */
#ifndef PLOYZ_MODEL_LEASE_H
#define PLOYZ_MODEL_LEASE_H

#include "lib/codec.h"

enum lease_state { LEASE_FREE, LEASE_HELD };
extern const char *const lease_state_names[];

#define LEASE_RENEW_USEC (10 * 1000000ull)
#define LEASE_TERM_USEC (30 * 1000000ull)

/* The value of key <ns> in PLOYZ_LEASES. */
struct lease {
	char *ns;
	int state;
	int64_t epoch; /* raised by one with each change of holder; kept through renewals and free
			*/
	char *machine; /* machine of the holder; the incarnation is new at each start of the daemon
			*/
	char *incarnation;
	char *operator_;
	char *deploy;
	char *verb;
	char *since; /* RFC 3339; for people */
	char *nonce; /* of this write */
};
DEFINE_MODEL(lease);

/* Answer of leased.lease.show, and an item of leased.lease.list's. */
struct lease_view {
	struct lease lease;
	int64_t revision;
	int64_t quiet_ms;   /* since the revision last changed, as this leased observed; -1: unknown
			     */
	int64_t free_in_ms; /* at most, until it may be taken over; 0: now */
};
DEFINE_MODEL(lease_view);
struct lease_list {
	struct lease_view *leases;
	size_t n_leases;
};
DEFINE_MODEL(lease_list);
struct lease_ref { /* lease.show, lease.break */
	char *ns;
	char *operator_; /* break: who */
	char *why;
};
DEFINE_MODEL(lease_ref);

/* Whether a process may take a lease with this value (pure). */
enum lease_decision {
	LEASE_TAKE_FREE,    /* not held */
	LEASE_TAKE_OWN,	    /* held by an earlier incarnation of this machine's daemon */
	LEASE_TAKE_EXPIRED, /* its holder has not renewed it for a whole term */
	LEASE_REFUSE,
};
/* `lease` NULL: there is no value yet. `quiet_usec`: time without a change that this watcher saw.
 */
enum lease_decision lease_decide(const struct lease *lease, const char *machine,
				 const char *incarnation, uint64_t quiet_usec);
/* The refusal's message: holder, reason, since when, and when it is free at the latest (pure). */
void lease_refusal(const struct lease *lease, uint64_t quiet_usec, uint64_t now_realtime_usec,
		   struct failure *failure);

#endif
