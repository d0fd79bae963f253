/* Loop: signals, watchdog, timers and deferred work. */
#include "lib/loop.h"

#include <errno.h>
#include <signal.h>
#include <time.h>

struct timer {
	sd_event_source *source;
	loop_fn fn;
	void *userdata;
};

struct deferred {
	sd_event_source *source;
	loop_fn fn;
	void *userdata;
};

int loop_new(sd_event **ret)
{
	return loop_new_signals(ret, NULL, NULL);
}

int loop_new_signals(sd_event **ret, sd_event_signal_handler_t fn, void *userdata)
{
	sd_event *loop = NULL;
	sigset_t set;
	int r;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	signal(SIGPIPE, SIG_IGN);
	r = sd_event_new(&loop);
	if (r < 0)
		return r;
	r = sd_event_add_signal(loop, NULL, SIGTERM, fn, userdata);
	if (r >= 0)
		r = sd_event_add_signal(loop, NULL, SIGINT, fn, userdata);
	if (r >= 0)
		r = sd_event_set_watchdog(loop, true);
	if (r < 0) {
		sd_event_unref(loop);
		return r;
	}
	*ret = loop;
	return 0;
}

static int on_timer(_unused_ sd_event_source *source, _unused_ uint64_t usec, void *userdata)
{
	struct timer *timer = userdata;

	timer->fn(timer->userdata);
	return 0;
}

struct timer *timer_new(sd_event *loop, loop_fn fn, void *userdata)
{
	struct timer *timer = xcalloc(1, sizeof(*timer));
	int r;

	timer->fn = fn;
	timer->userdata = userdata;
	/* Accuracy 1 ms: sd-event's default delays wake-ups by up to 250 ms. */
	r = sd_event_add_time(loop, &timer->source, CLOCK_BOOTTIME, 0, 1000, on_timer, timer);
	if (r == -ENOMEM)
		mem_exhausted();
	/* A timer that is created while its loop ends (-ESTALE) never expires. */
	if (r >= 0)
		sd_event_source_set_enabled(timer->source, SD_EVENT_OFF);
	return timer;
}

void timer_arm(struct timer *timer, uint64_t usec)
{
	uint64_t now = 0;

	if (!timer->source)
		return;
	sd_event_now(sd_event_source_get_event(timer->source), CLOCK_BOOTTIME, &now);
	sd_event_source_set_time(timer->source, now + usec);
	sd_event_source_set_enabled(timer->source, SD_EVENT_ONESHOT);
}

void timer_arm_within(struct timer *timer, uint64_t usec)
{
	uint64_t now = 0, due = 0;

	if (timer_is_armed(timer)) {
		sd_event_now(sd_event_source_get_event(timer->source), CLOCK_BOOTTIME, &now);
		sd_event_source_get_time(timer->source, &due);
		if (due <= now + usec)
			return;
	}
	timer_arm(timer, usec);
}

void timer_disarm(struct timer *timer)
{
	if (timer->source)
		sd_event_source_set_enabled(timer->source, SD_EVENT_OFF);
}

bool timer_is_armed(const struct timer *timer)
{
	int enabled = SD_EVENT_OFF;

	if (timer->source)
		sd_event_source_get_enabled(timer->source, &enabled);
	return enabled != SD_EVENT_OFF;
}

void timer_free(struct timer *timer)
{
	if (!timer)
		return;
	sd_event_source_disable_unref(timer->source);
	free(timer);
}

static int on_deferred(_unused_ sd_event_source *source, void *userdata)
{
	struct deferred *deferred = userdata;

	deferred->fn(deferred->userdata);
	return 0;
}

struct deferred *deferred_new(sd_event *loop, loop_fn fn, void *userdata)
{
	struct deferred *deferred = xcalloc(1, sizeof(*deferred));
	int r;

	deferred->fn = fn;
	deferred->userdata = userdata;
	r = sd_event_add_defer(loop, &deferred->source, on_deferred, deferred);
	if (r == -ENOMEM)
		mem_exhausted();
	if (r < 0)
		return deferred;
	sd_event_source_set_enabled(deferred->source, SD_EVENT_OFF);
	/* Runs after the sources that schedule it, so that one iteration gathers all work. */
	sd_event_source_set_priority(deferred->source, SD_EVENT_PRIORITY_IDLE / 2);
	return deferred;
}

void deferred_schedule(struct deferred *deferred)
{
	if (deferred->source)
		sd_event_source_set_enabled(deferred->source, SD_EVENT_ONESHOT);
}

void deferred_free(struct deferred *deferred)
{
	if (!deferred)
		return;
	sd_event_source_disable_unref(deferred->source);
	free(deferred);
}
