/* Loop: one sd-event loop per daemon. Timers use CLOCK_BOOTTIME; nothing sleeps. */
#ifndef PLOYZ_LOOP_H
#define PLOYZ_LOOP_H

#include <systemd/sd-event.h>

#include "lib/mem.h"

/* A loop that ends on SIGTERM and SIGINT, ignores SIGPIPE and notifies the service manager's
 * watchdog where that is configured. Blocks these signals: call it before anything starts threads.
 * 0 or negative errno; free with sd_event_unref. */
int loop_new(sd_event **ret);
/* The same, but `fn` handles the signals with `userdata`; NULL: they end the loop. */
int loop_new_signals(sd_event **ret, sd_event_signal_handler_t fn, void *userdata);

typedef void (*loop_fn)(void *userdata);

/* A timer that calls `fn` once, `usec` microseconds from now. Armed again by timer_arm; freed by
 * timer_free. The callback may free its own timer. */
struct timer;
struct timer *timer_new(sd_event *loop, loop_fn fn, void *userdata);
void timer_arm(struct timer *timer, uint64_t usec);
/* The same, unless it expires sooner already. */
void timer_arm_within(struct timer *timer, uint64_t usec);
void timer_disarm(struct timer *timer);
bool timer_is_armed(const struct timer *timer);
void timer_free(struct timer *timer);
DEFINE_CLEANUP(struct timer, timer_free);

/* Work deferred to the next iteration of the loop: `fn` runs once, however often it was scheduled.
 */
struct deferred;
struct deferred *deferred_new(sd_event *loop, loop_fn fn, void *userdata);
void deferred_schedule(struct deferred *deferred);
void deferred_free(struct deferred *deferred);
DEFINE_CLEANUP(struct deferred, deferred_free);

static inline void event_source_unrefp(sd_event_source **source)
{
	sd_event_source_disable_unref(*source);
}

#endif
