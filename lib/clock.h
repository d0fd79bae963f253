/* Clock: the two clocks of the project, in microseconds. A file of its own, so that a test links a
 * clock that it can move. */
#ifndef PLOYZ_CLOCK_H
#define PLOYZ_CLOCK_H

#include <stdint.h>

uint64_t time_now_usec(void); /* CLOCK_REALTIME: for records that people read, never for expiry */
uint64_t boot_now_usec(void); /* CLOCK_BOOTTIME: for every wait and expiry */

#endif
