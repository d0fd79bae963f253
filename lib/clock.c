/* Clock: CLOCK_REALTIME and CLOCK_BOOTTIME. */
#include "lib/clock.h"

#include <time.h>

#define SECOND_USEC 1000000ull

static uint64_t clock_usec(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * SECOND_USEC + (uint64_t)now.tv_nsec / 1000;
}

uint64_t time_now_usec(void)
{
	return clock_usec(CLOCK_REALTIME);
}

uint64_t boot_now_usec(void)
{
	return clock_usec(CLOCK_BOOTTIME);
}
