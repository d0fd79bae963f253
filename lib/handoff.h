/* Hand-off: the queue from nats.c's threads to the loop. Only lib/bus.c includes it. */
#ifndef PLOYZ_HANDOFF_H
#define PLOYZ_HANDOFF_H

#include <nats/nats.h>

#include "lib/mem.h"

#define HANDOFF_MAX 16384 /* queued messages before nats.c's thread waits too */

enum incoming_kind {
	INCOMING_MESSAGE,
	INCOMING_LOST, /* the connection */
	INCOMING_BACK,
	INCOMING_CLOSED, /* closed for good */
};

struct incoming {
	struct incoming *next;
	enum incoming_kind kind;
	uint64_t subscription; /* id; looked up again on the loop, it may be gone */
	natsMsg *message;
};
void incoming_free(struct incoming *incoming);

struct handoff;
/* Counted references: a thread may still be inside a callback when the bus is freed. */
struct handoff *handoff_new(void);
struct handoff *handoff_ref(struct handoff *handoff);
void handoff_unref(struct handoff *handoff);
/* On nats.c's threads: queues (taking ownership of the message) and wakes the loop. A full queue
 * makes the thread wait; nats.c's own limit on pending messages bounds those behind it. */
void handoff_put(struct handoff *handoff, enum incoming_kind kind, uint64_t subscription,
		 natsMsg *message);
/* On the loop: the oldest one, owned by the caller, or NULL; *ret_more: others are queued. */
struct incoming *handoff_take(struct handoff *handoff, bool *ret_more);
/* The eventfd that is readable while something is queued; borrowed. */
int handoff_event(const struct handoff *handoff);
/* From now on nothing is queued, and no thread waits for room. */
void handoff_close(struct handoff *handoff);
/* The connection's own callbacks have no closure that says when they are done: a hand-off that they
 * may still write to is kept for the life of the process. Takes the caller's reference. */
void handoff_retire(struct handoff *handoff);

#endif
