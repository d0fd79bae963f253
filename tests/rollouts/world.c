#include "tests/rollouts/world.h"

#include <stdio.h>

#include "lib/str.h"

uint64_t world_random(struct world *w, uint64_t below)
{
	/* splitmix64 (public domain algorithm by Sebastiano Vigna): fast, and good enough to
	 * choose. */
	uint64_t z = (w->seed += 0x9e3779b97f4a7c15ull);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return (z ^ (z >> 31)) % below;
}

bool world_chance(struct world *w, unsigned percent)
{
	return w->options.faults && !w->calm && world_random(w, 100) < percent;
}

uint64_t world_latency(struct world *w)
{
	if (world_chance(w, 4))
		return world_random(w, 12 * S);
	return 200 + world_random(w, 2 * MS);
}

static bool before(const struct event *a, const struct event *b)
{
	return a->at != b->at ? a->at < b->at : a->order < b->order;
}

void world_at(struct world *w, uint64_t usec, event_fn fn, void *userdata,
	      void (*drop)(void *userdata))
{
	size_t i = w->n_events;

	*array_add(w->events, w->n_events) =
		(struct event){ w->now + usec, w->order++, fn, userdata, drop };
	for (; i > 0 && before(&w->events[i], &w->events[(i - 1) / 2]); i = (i - 1) / 2) {
		struct event swap = w->events[i];

		w->events[i] = w->events[(i - 1) / 2];
		w->events[(i - 1) / 2] = swap;
	}
}

static struct event take_first(struct world *w)
{
	struct event first = w->events[0];
	size_t i = 0;

	w->events[0] = w->events[--w->n_events];
	for (;;) {
		size_t least = i;

		for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < w->n_events; child++)
			if (before(&w->events[child], &w->events[least]))
				least = child;
		if (least == i)
			return first;
		struct event swap = w->events[i];

		w->events[i] = w->events[least];
		w->events[least] = swap;
		i = least;
	}
}

void world_run(struct world *w, uint64_t until)
{
	while (w->n_events && w->events[0].at <= until && !w->violation[0]) {
		struct event event = take_first(w);

		w->now = event.at;
		event.fn(w, event.userdata);
	}
	w->now = MAX2(w->now, until);
}

void world_violation(struct world *w, const char *format, ...)
{
	va_list args;

	if (w->violation[0])
		return;
	va_start(args, format);
	vsnprintf(w->violation, sizeof(w->violation), format, args);
	va_end(args);
}

int world_namespace(const char *ns)
{
	return streq(ns, "blog") ? 1 : 0;
}

struct world *world_new(uint64_t seed, const struct options *options)
{
	struct world *w = xcalloc(1, sizeof(*w));

	w->seed = seed;
	w->options = *options;
	w->now = 1000 * S;
	for (int i = 0; i < MACHINES; i++)
		snprintf(w->agents[i].name, sizeof(w->agents[i].name), "m%d", i + 1);
	for (int i = 0; i < HOLDERS; i++) {
		w->holders[i].world = w;
		w->holders[i].index = i;
	}
	snprintf(w->leases[0].ns, sizeof(w->leases[0].ns), "shop");
	snprintf(w->leases[1].ns, sizeof(w->leases[1].ns), "blog");
	return w;
}

void world_free(struct world *w)
{
	for (size_t i = 0; i < w->n_events; i++)
		if (w->events[i].drop)
			w->events[i].drop(w->events[i].userdata);
	w->n_events = 0;
	for (int i = 0; i < HOLDERS; i++)
		holder_free(&w->holders[i]);
	free(w->events);
	store_free(w);
	for (int i = 0; i < MACHINES; i++)
		agent_free(&w->agents[i]);
	free(w);
}
