/* Probe schedule (pure): when the next probe is due, when an instance has failed, and when an ended
 * one is started again. */
#include "agentd/agentd.h"

/* A service that is ready at once is detected within tens of milliseconds; the delay between probes
 * then grows up to the service's interval. */
static const uint64_t early_usec[] = { 5000,  10000,  20000,  30000,  50000,
				       50000, 100000, 100000, 200000, 400000 };
/* Delay of the next probe after a missed one of a ready instance, so that one lost packet does not
 * count. */
#define DOUBT_USEC 1000000ull
#define DOUBTS 2
/* As Docker does: the delay doubles, and is reset by a process that ran for long. */
#define RESTART_FIRST_USEC 100000ull
#define RESTART_LAST_USEC (60 * 1000000ull)
#define RESTART_RAN_USEC (10 * 1000000ull)

void schedule_begin(struct schedule *schedule, uint64_t now, bool ready)
{
	*schedule = (struct schedule){ .begun = now, .counted = now, .ready = ready };
}

uint64_t schedule_passed(struct schedule *schedule, const struct ready *ready)
{
	schedule->ready = true;
	schedule->failures = 0;
	return ready->interval * 5;
}

enum schedule_verdict schedule_missed(struct schedule *schedule, const struct ready *ready,
				      uint64_t now, uint64_t *ret_usec)
{
	if (schedule->ready) {
		*ret_usec = MIN2(DOUBT_USEC, ready->interval);
		if (++schedule->failures < DOUBTS)
			return SCHEDULE_WAIT;
		*ret_usec = ready->interval;
		return SCHEDULE_MISSED;
	}
	*ret_usec = ready->interval;
	if (schedule->tries < ARRAY_SIZE(early_usec))
		*ret_usec = MIN2(early_usec[schedule->tries], ready->interval);
	schedule->tries++;
	/* At most one failure per interval counts, because early probes are more frequent than
	 * configured. */
	if (now < schedule->begun + ready->start_period ||
	    now < schedule->counted + ready->interval)
		return SCHEDULE_WAIT;
	schedule->counted = now;
	return ++schedule->failures >= ready->retries ? SCHEDULE_SPENT : SCHEDULE_WAIT;
}

uint64_t schedule_restart(unsigned *restarts, uint64_t ran_usec)
{
	uint64_t delay = RESTART_FIRST_USEC;

	if (ran_usec >= RESTART_RAN_USEC)
		*restarts = 0;
	for (unsigned i = 0; i < *restarts && delay < RESTART_LAST_USEC; i++)
		delay *= 2;
	(*restarts)++;
	return MIN2(delay, RESTART_LAST_USEC);
}
