/* Replaces lib/loop.c and lib/clock.c: timers expire when the target or test says so, the earliest
 * first, and both clocks show that time. Nothing waits; a timer that is left behind is a failure.
 * Included once in a target or test. */
#ifndef PLOYZ_TESTS_FUZZ_FAKE_LOOP_H
#define PLOYZ_TESTS_FUZZ_FAKE_LOOP_H

#include "lib/clock.h"
#include "lib/loop.h"
#include "tests/fuzz/fuzz.h"

struct timer {
	struct timer *next, **link;
	loop_fn fn;
	void *userdata;
	bool armed;
	uint64_t at;
};
struct deferred {
	struct deferred *next, **link;
	loop_fn fn;
	void *userdata;
	bool scheduled;
};

/* What the clocks show when `fake_now` is 0. */
#define FAKE_BOOT_USEC 100000000000ull
#define FAKE_REAL_USEC 1764000000000000ull

static struct timer *fake_timers;
static struct deferred *fake_deferred;
static uint64_t fake_now;

uint64_t boot_now_usec(void)
{
	return FAKE_BOOT_USEC + fake_now;
}

uint64_t time_now_usec(void)
{
	return FAKE_REAL_USEC + fake_now;
}

struct timer *timer_new(_unused_ sd_event *loop, loop_fn fn, void *userdata)
{
	struct timer *timer = xcalloc(1, sizeof(*timer));

	*timer = (struct timer){
		.next = fake_timers, .link = &fake_timers, .fn = fn, .userdata = userdata
	};
	if (timer->next)
		timer->next->link = &timer->next;
	fake_timers = timer;
	return timer;
}

void timer_arm(struct timer *timer, uint64_t usec)
{
	timer->armed = true;
	timer->at = fake_now + usec;
}

void timer_arm_within(struct timer *timer, uint64_t usec)
{
	if (!timer->armed || timer->at > fake_now + usec)
		timer_arm(timer, usec);
}

void timer_disarm(struct timer *timer)
{
	timer->armed = false;
}

bool timer_is_armed(const struct timer *timer)
{
	return timer->armed;
}

void timer_free(struct timer *timer)
{
	if (!timer)
		return;
	*timer->link = timer->next;
	if (timer->next)
		timer->next->link = timer->link;
	free(timer);
}

struct deferred *deferred_new(_unused_ sd_event *loop, loop_fn fn, void *userdata)
{
	struct deferred *deferred = xcalloc(1, sizeof(*deferred));

	*deferred = (struct deferred){
		.next = fake_deferred, .link = &fake_deferred, .fn = fn, .userdata = userdata
	};
	if (deferred->next)
		deferred->next->link = &deferred->next;
	fake_deferred = deferred;
	return deferred;
}

void deferred_schedule(struct deferred *deferred)
{
	deferred->scheduled = true;
}

void deferred_free(struct deferred *deferred)
{
	if (!deferred)
		return;
	*deferred->link = deferred->next;
	if (deferred->next)
		deferred->next->link = deferred->link;
	free(deferred);
}

/* Runs what is deferred, as the end of an iteration does. */
static inline void fake_turn(void)
{
	struct deferred *deferred = fake_deferred;

	while (deferred) {
		if (!deferred->scheduled) {
			deferred = deferred->next;
			continue;
		}
		deferred->scheduled = false;
		deferred->fn(deferred->userdata);
		/* Any of them may have been freed. */
		deferred = fake_deferred;
	}
}

/* The armed timer that expires first, or NULL. */
static inline struct timer *fake_earliest(void)
{
	struct timer *earliest = NULL;

	for (struct timer *timer = fake_timers; timer; timer = timer->next)
		if (timer->armed && (!earliest || timer->at < earliest->at))
			earliest = timer;
	return earliest;
}

/* The earliest timer expires; false: none is armed. */
static inline bool fake_tick(void)
{
	struct timer *earliest = fake_earliest();

	if (!earliest)
		return false;
	fake_now = MAX2(fake_now, earliest->at);
	earliest->armed = false;
	earliest->fn(earliest->userdata);
	return true;
}

static inline void fake_loop_end(void)
{
	HOLDS(!fake_timers && !fake_deferred);
	fake_now = 0;
}

#endif
