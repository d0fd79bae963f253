#include "agentd/agentd.h"

/* A service that is ready at once is found so within tens of milliseconds; one that takes longer is
 * asked less and less often, until its own interval is reached. */
static const uint64_t early_usec[] = { 5000,  10000,  20000,  30000,  50000,
				       50000, 100000, 100000, 200000, 400000 };
/* A ready one that misses is asked again this soon, so that one lost packet is no news. */
#define DOUBT_USEC 1000000ull
#define DOUBTS 2

void pace_begin(struct pace *pace, uint64_t now, bool ready)
{
	*pace = (struct pace){ .begun = now, .counted = now, .ready = ready };
}

uint64_t pace_passed(struct pace *pace, const struct ready *ready)
{
	pace->ready = true;
	pace->failures = 0;
	return ready->interval * 5;
}

enum pace_verdict pace_missed(struct pace *pace, const struct ready *ready, uint64_t now,
			      uint64_t *ret_usec)
{
	if (pace->ready) {
		*ret_usec = MIN2(DOUBT_USEC, ready->interval);
		if (++pace->failures < DOUBTS)
			return PACE_WAIT;
		*ret_usec = ready->interval;
		return PACE_MISSED;
	}
	*ret_usec = ready->interval;
	if (pace->tries < ARRAY_SIZE(early_usec))
		*ret_usec = MIN2(early_usec[pace->tries], ready->interval);
	pace->tries++;
	/* The early ones are ours, not the operator's: at most one failure an interval counts. */
	if (now < pace->begun + ready->start_period || now < pace->counted + ready->interval)
		return PACE_WAIT;
	pace->counted = now;
	return ++pace->failures >= ready->retries ? PACE_SPENT : PACE_WAIT;
}
