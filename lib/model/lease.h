/* Lease: who may change a namespace now. */
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
	char *machine; /* the holder's, and its life: a new one at each start of leased */
	char *life;
	char *operator_;
	char *deploy;
	char *verb;
	char *since; /* RFC 3339; for people */
	char *nonce; /* of this write */
};
DEFINE_MODEL(lease);

/* leased.lease.show's answer and one of leased.lease.list's. */
struct lease_view {
	struct lease lease;
	int64_t revision;
	int64_t quiet_ms; /* since the revision last moved, as this leased observed; -1: unknown */
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

#endif
