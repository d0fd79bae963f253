#include "lib/projection.h"

#include "lib/log.h"
#include "lib/loop.h"
#include "lib/map.h"
#include "lib/str.h"

/* How long the store may take before the machine's own copy serves. */
#define COPY_AFTER_USEC 1000000ull
#define EXPECT_USEC 250000ull /* an entry that was acknowledged is here long before that */

/* What an entry says is its listener's to keep. */
struct item {
	uint64_t sequence;
	uint64_t load; /* number of the load that saw it last */
};

struct projection {
	struct bus *bus;
	char *machine;
	char *filter; /* NULL: everything */
	const struct projection_ops *ops;
	void *userdata;
	struct stream_follow *store;
	struct stream_follow *copy; /* the local copy, read once while the store does not answer */
	struct map items;	    /* subject → struct item */
	uint64_t load;		    /* raised when everything is read from the beginning */
	uint64_t sequence;
	uint64_t expected;    /* somebody knows of an entry with this sequence */
	uint64_t stale_since; /* CLOCK_REALTIME; 0: fresh */
	struct timer *copy_timer, *expect_timer;
	struct deferred *settle;
};

static void set_stale(struct projection *p, bool stale)
{
	if (stale == (p->stale_since != 0))
		return;
	p->stale_since = stale ? time_now_usec() : 0;
	if (p->ops->stale)
		p->ops->stale(stale, p->userdata);
}

static void on_settle(void *userdata)
{
	struct projection *p = userdata;

	p->ops->settled(p->sequence, p->userdata);
}

static void entry(struct projection *p, const struct stream_entry *e)
{
	struct item *item = map_get(&p->items, e->subject);

	if (!item) {
		item = xcalloc(1, sizeof(*item));
		map_put(&p->items, e->subject, item);
	}
	item->load = p->load;
	if (item->sequence == e->sequence)
		return;
	item->sequence = e->sequence;
	p->ops->entry(e->subject, e->sequence, e->data, e->size, p->userdata);
}

/* A load is complete: what it did not see is gone. */
static void sweep(struct projection *p)
{
	for (struct map_item *i = NULL; (i = map_next(&p->items, i));) {
		_cleanup_free_ char *subject = NULL;
		struct item *item = i->value;

		if (item->load == p->load)
			continue;
		subject = xstrdup(i->key);
		free(map_remove(&p->items, subject));
		p->ops->entry(subject, p->sequence, NULL, 0, p->userdata);
	}
}

static void on_store_entry(const struct stream_entry *e, void *userdata)
{
	struct projection *p = userdata;

	entry(p, e);
	/* While loading, entries come in the order of the log but the view is not whole. */
	if (!stream_follow_is_live(p->store))
		return;
	p->sequence = e->sequence;
	deferred_schedule(p->settle);
}

static void on_store_live(uint64_t sequence, void *userdata)
{
	struct projection *p = userdata;

	timer_disarm(p->copy_timer);
	stream_follow_free(steal(p->copy));
	p->sequence = sequence;
	sweep(p);
	set_stale(p, false);
	deferred_schedule(p->settle);
}

static void on_store_restart(void *userdata)
{
	struct projection *p = userdata;

	p->load++;
}

static void on_store_lost(const struct failure *why, void *userdata)
{
	struct projection *p = userdata;

	/* At the start of a machine the store comes up beside us: that is no news. */
	if (!p->stale_since && p->sequence)
		log_warning("the log cannot be followed, the last known state stays: %s",
			    why->message);
	set_stale(p, true);
	if (!p->sequence && !p->copy && !timer_is_armed(p->copy_timer))
		timer_arm(p->copy_timer, 0);
}

static void on_copy_entry(const struct stream_entry *e, void *userdata)
{
	entry(userdata, e);
}

static void on_copy_live(uint64_t sequence, void *userdata)
{
	struct projection *p = userdata;

	stream_follow_free(steal(p->copy));
	if (p->sequence)
		return;
	log_notice("the store does not answer: serving from this machine's copy, as of %llu",
		   (unsigned long long)sequence);
	p->sequence = sequence;
	set_stale(p, true);
	/* The store's first load then tells what the copy has and the store has not. */
	p->load++;
	deferred_schedule(p->settle);
}

static void on_copy_lost(const struct failure *why, void *userdata)
{
	struct projection *p = userdata;

	log_debug("no copy of the log on this machine: %s", why->message);
	stream_follow_free(steal(p->copy));
	if (!p->sequence)
		timer_arm(p->copy_timer, COPY_AFTER_USEC);
}

static const struct stream_follow_ops store_ops = {
	.entry = on_store_entry,
	.live = on_store_live,
	.restart = on_store_restart,
	.lost = on_store_lost,
};

static const struct stream_follow_ops copy_ops = {
	.entry = on_copy_entry,
	.live = on_copy_live,
	.lost = on_copy_lost,
};

static void start_copy(void *userdata)
{
	struct projection *p = userdata;
	const struct stream_follow_options options = {
		.domain = p->machine,
		.stream = STREAM_INTENT,
		.filter = p->filter,
		.from = STREAM_FROM_LAST_PER_SUBJECT,
		.once = true,
	};

	if (!p->copy && !p->sequence)
		p->copy = stream_follow_new(p->bus, &options, &copy_ops, p);
}

static void on_expect(void *userdata)
{
	struct projection *p = userdata;

	if (p->sequence < p->expected)
		stream_follow_kick(p->store);
}

struct projection *projection_new(struct bus *bus, const char *machine, const char *filter,
				  const struct projection_ops *ops, void *userdata)
{
	const struct stream_follow_options options = {
		.domain = STORE_DOMAIN,
		.stream = STREAM_INTENT,
		.filter = filter,
		.from = STREAM_FROM_LAST_PER_SUBJECT,
	};
	struct projection *p = xcalloc(1, sizeof(*p));

	p->bus = bus;
	p->machine = xstrdup(machine);
	p->filter = xstrdup(filter);
	p->ops = ops;
	p->userdata = userdata;
	p->load = 1;
	p->settle = deferred_new(bus_loop(bus), on_settle, p);
	p->copy_timer = timer_new(bus_loop(bus), start_copy, p);
	p->expect_timer = timer_new(bus_loop(bus), on_expect, p);
	p->store = stream_follow_new(bus, &options, &store_ops, p);
	timer_arm(p->copy_timer, COPY_AFTER_USEC);
	return p;
}

void projection_free(struct projection *p)
{
	if (!p)
		return;
	stream_follow_free(p->store);
	stream_follow_free(p->copy);
	timer_free(p->copy_timer);
	timer_free(p->expect_timer);
	deferred_free(p->settle);
	map_clear(&p->items, free);
	free(p->machine);
	free(p->filter);
	free(p);
}

void projection_expect(struct projection *p, uint64_t sequence)
{
	if (sequence <= p->sequence)
		return;
	p->expected = MAX2(p->expected, sequence);
	timer_arm_within(p->expect_timer, EXPECT_USEC);
}

uint64_t projection_stale_since(const struct projection *p)
{
	return p->stale_since;
}

json_t *projection_status(const struct projection *p)
{
	json_t *json = json_pack("{s:I}", "subjects", (json_int_t)p->items.count);

	/* The last entry of a part says nothing of how far the whole log is known. */
	if (!p->filter)
		json_object_set_new(json, "sequence", json_integer((json_int_t)p->sequence));
	if (p->stale_since) {
		_cleanup_free_ char *since = time_format(p->stale_since);

		json_object_set_new(json, "stale_since", json_string(since));
	}
	return json;
}
