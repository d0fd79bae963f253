/* `ployzctl status`: what its two files share. */
#ifndef PLOYZ_PLOYZCTL_STATUS_H
#define PLOYZ_PLOYZCTL_STATUS_H

#include "ployzctl/ployzctl.h"

#define STATUS_DEPLOYS 8 /* of those that have ended */

/* One daemon of one machine, asked now. */
struct observed {
	char *machine;
	char *daemon;
	char *version; /* as it says to $SRV.PING; NULL: it did not */
	json_t *said;  /* its status; NULL: */
	char *trouble; /* why there is none */
	int64_t took_ms;
};

struct status {
	struct ployzctl *ctl;
	const struct snapshot *snapshot;
	uint64_t now_usec;
	struct deploy **deploys;
	size_t n_deploys;
	char *deploys_trouble;
	struct lease_list *leases;
	char *leases_trouble;
	struct observed *observed;
	size_t n_observed;

	unsigned pending; /* answers that are awaited */
	uint64_t begun_usec;
	struct stream_follow *follow;
	struct bus_subscription *pings;
	struct timer *gather;
};

/* Prints it all; whether it is as it should be. */
bool status_print(const struct status *status);
/* The same as one line of JSON. */
bool status_print_json(const struct status *status);

#endif
