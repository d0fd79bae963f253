/* What the bus-*.c files share; nobody else includes it. */
#ifndef PLOYZ_BUS_PRIVATE_H
#define PLOYZ_BUS_PRIVATE_H

#include "lib/bus.h"
#include "lib/loop.h"

struct bus_watcher {
	bus_state_fn fn;
	void *userdata;
};

struct bus {
	sd_event *loop;
	struct __natsConnection *native;
	struct handoff *handoff; /* where nats.c's threads end */
	sd_event_source *source; /* its eventfd */
	bool connected;		 /* as the loop knows it */
	char *inbox;		 /* private prefix of this connection */
	uint64_t next_token;	 /* of requests; the last word of their reply subject */
	uint64_t next_subscription;
	struct bus_request *requests[64]; /* pending, by token */
	struct bus_subscription *subscriptions;
	struct bus_subscription *left; /* freed, but the reading thread may have one in its hands */
	struct __natsStatistics *statistics; /* where the connection's counters are copied to */
	struct bus_watcher *watchers;	     /* fn NULL: a free place */
	size_t n_watchers;
	struct bus_service *services; /* of bus_serve */
};

/* Runs `call` unless something before it failed. */
#define IFOK(status, call)                 \
	do {                               \
		if ((status) == NATS_OK)   \
			(status) = (call); \
	} while (0)

/* `destroy` frees the request's userdata when the request is cancelled before it was answered. */
void bus_request_own(struct bus_request *request, void (*destroy)(void *userdata));
void bus_services_free(struct bus *bus);

#endif
