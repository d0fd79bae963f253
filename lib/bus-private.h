/* Internals that the bus-*.c and stream*.c files share. */
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
	struct handoff *handoff; /* queue from nats.c's threads */
	sd_event_source *source; /* its eventfd */
	bool connected;		 /* as far as the loop has processed it */
	char *inbox;		 /* private prefix of this connection */
	uint64_t next_token;	 /* of requests; the last token of their reply subject */
	uint64_t next_subscription;
	struct bus_request *requests[64]; /* pending, by token */
	struct bus_subscription *subscriptions;
	struct bus_subscription *retired;    /* freed; nats.c's reading thread may still use them */
	struct __natsStatistics *statistics; /* buffer for the connection's counters */
	struct bus_watcher *watchers;	     /* fn NULL: unused */
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
