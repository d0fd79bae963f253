/* `ployzctl status`: what its files share. */
#ifndef PLOYZ_PLOYZCTL_STATUS_H
#define PLOYZ_PLOYZCTL_STATUS_H

#include "ployzctl/ployzctl.h"

#define STATUS_DEPLOYS 8 /* shown of those that have ended */

/* One daemon of one machine, asked now. */
struct observed {
	char *machine;
	char *daemon;
	char *version;	/* from its answer to $SRV.PING; NULL: none */
	json_t *answer; /* its status; NULL: */
	char *error;	/* why there is none */
	int64_t took_ms;
};

/* The routing table of one machine's gateway, asked now. */
struct observed_routes {
	char *machine;
	struct route_list *list; /* NULL: it did not answer */
};

struct status {
	struct ployzctl *ctl;
	const struct snapshot *snapshot;
	uint64_t now_usec;
	const struct records *records; /* deploys; NULL: */
	char *records_error;
	struct lease_list *leases; /* NULL: */
	char *leases_error;
	struct store_usage *usage; /* NULL: */
	char *usage_error;
	struct observed *observed;
	size_t n_observed;
	struct observed_routes *routes;
	size_t n_routes;

	unsigned pending; /* answers that are awaited */
	uint64_t begun_usec;
	struct records_read *read;
	struct bus_subscription *pings;
	struct timer *gather;
	struct bus_scatter *scatter;
};

/* --- status-problems.c (pure) */

/* Everything that is wrong, one line each: `OBJECT STATE: REASON; NEXT STEP`. NULL: nothing. Owned
 * by the caller. */
char **status_problems(const struct status *status);
/* Slots of a service whose instance is ready by its machine's last facts. */
size_t status_ready(const struct snapshot *snapshot, const struct head_service *service);
/* When the daemon's view became stale, or NULL; borrowed. */
const char *status_stale(const struct observed *observed);
/* What the daemon reports as wrong (keys `error` and `errors` anywhere in its status); NULL:
 * nothing. Owned by the caller. */
char **status_errors(const struct observed *observed);

/* --- status-show.c */

void status_print(const struct status *status, char *const *problems);
/* The same as one line of JSON. */
void status_print_json(const struct status *status, char *const *problems);

#endif
