/* Compare-and-set writer: one append that is repeated until its outcome is known. After an append
 * without an answer the writer reads the subject from the leader, identifies its own entry by the
 * nonce, and repeats the same compare-and-set until the deadline. Another writer's entry is never
 * overwritten. It writes all heads, claims, members, facts, manifests and leases. */
#ifndef PLOYZ_CAS_H
#define PLOYZ_CAS_H

#include "lib/stream.h"

#define CAS_STORE_USEC (2 * 1000000ull) /* for one answer; a healthy store needs milliseconds */
#define CAS_REPEAT_USEC 250000ull	/* between two attempts */
#define CAS_MAX_USEC (60 * 1000000ull)	/* no attempt begins later, whatever the deadline */

enum cas_outcome {
	CAS_DONE,	/* stored at `sequence`, and then the subject's last entry */
	CAS_SUPERSEDED, /* stored at `sequence`; another writer has written since */
	CAS_CONFLICT,	/* certainly not stored: another writer's entry was first */
	CAS_REFUSED,	/* certainly not stored: the store refuses it */
	CAS_UNKNOWN,	/* the deadline passed without an answer: may be stored, now or later */
};
/* `failure` is set for CONFLICT, REFUSED and UNKNOWN. The callback may free the writer. */
typedef void (*cas_fn)(enum cas_outcome outcome, uint64_t sequence, const struct failure *failure,
		       void *userdata);
struct cas_options {
	const char *bucket; /* `key` is a key of this bucket; NULL: it is a subject of `stream` */
	const char *stream; /* NULL: PLOYZ_INTENT */
	const char *key;
	const char *text; /* a JSON object whose `nonce` is `nonce` */
	const char *nonce;
	uint64_t expected;	/* last sequence of the subject that the writer read; 0: none */
	uint64_t deadline_usec; /* boot-time clock; see also cas_extend */
	bool eager; /* the writer can do without it: a full disk ends it at once, as CAS_UNKNOWN */
};
struct cas;
/* `fn` is called once, after this has returned, unless the writer is freed first. `waiting` (may be
 * NULL) is called once when an answer is missing, and again when the store reports a reason. */
struct cas *cas_append(struct bus *bus, const struct cas_options *options, cas_fn fn,
		       void (*waiting)(const char *why, void *userdata), void *userdata);
/* Extends the deadline after a renewal of the lease. CAS_MAX_USEC still counts from the first
 * attempt. */
void cas_extend(struct cas *cas, uint64_t deadline_usec);
void cas_free(struct cas *cas);
DEFINE_CLEANUP(struct cas, cas_free);

#endif
