/* Projection: follows PLOYZ_INTENT and PLOYZ_FACTS in the store, from the local mirrors while the
 * store cannot be reached. */
#include "lib/projection.h"

#include "lib/log.h"
#include "lib/loop.h"
#include "lib/map.h"
#include "lib/str.h"

/* How long the store may take before the local mirror serves. */
#define MIRROR_AFTER_USEC 1000000ull
#define EXPECT_USEC 250000ull /* an acknowledged entry arrives long before that */

struct item {
	uint64_t sequence;
	uint64_t load; /* number of the load that saw it last */
};

/* One of the two streams. */
struct part {
	struct projection *projection;
	const char *stream;
	char **filters; /* NULL: not followed */
	struct stream_follow *store;
	struct stream_follow *mirror; /* read once while the store does not answer */
	struct map items;	      /* subject → struct item */
	uint64_t load;		      /* raised when everything is read from the beginning */
	int64_t *sequence;	      /* in projection->applied */
	int64_t *expected;	      /* in projection->expected */
	bool loaded;
};

struct projection {
	struct bus *bus;
	char *machine;
	const struct projection_ops *ops;
	void *userdata;
	struct part parts[2];
	struct watermark applied, expected;
	uint64_t stale_since; /* CLOCK_REALTIME; 0: live */
	char *reason;
	struct timer *mirror_timer, *expect_timer;
	struct deferred *settle;
};

static bool part_is_live(const struct part *part)
{
	return !part->filters || stream_follow_is_live(part->store);
}

bool projection_is_live(const struct projection *p)
{
	return part_is_live(&p->parts[0]) && part_is_live(&p->parts[1]);
}

static void set_stale(struct projection *p, bool stale, const char *reason)
{
	if (reason) {
		free(p->reason);
		p->reason = xstrdup(reason);
	}
	if (stale == (p->stale_since != 0))
		return;
	p->stale_since = stale ? time_now_usec() : 0;
	if (!stale)
		free(steal(p->reason));
	if (p->ops->stale)
		p->ops->stale(stale, p->userdata);
}

static bool is_loaded(const struct projection *p)
{
	return p->parts[0].loaded && p->parts[1].loaded;
}

static void on_settle(void *userdata)
{
	struct projection *p = userdata;

	if (is_loaded(p))
		p->ops->settled(&p->applied, p->userdata);
}

static void entry(struct part *part, const struct stream_entry *e)
{
	struct projection *p = part->projection;
	struct item *item = map_get(&part->items, e->subject);

	if (!item) {
		item = xcalloc(1, sizeof(*item));
		map_put(&part->items, e->subject, item);
	}
	item->load = part->load;
	if (item->sequence == e->sequence)
		return;
	item->sequence = e->sequence;
	p->ops->entry(e->subject, e->sequence, e->data, e->size, p->userdata);
}

static void sweep(struct part *part)
{
	struct projection *p = part->projection;

	for (struct map_item *i = NULL; (i = map_next(&part->items, i));) {
		_cleanup_free_ char *subject = NULL;
		struct item *item = i->value;

		if (item->load == part->load)
			continue;
		subject = xstrdup(i->key);
		free(map_remove(&part->items, subject));
		p->ops->entry(subject, (uint64_t)*part->sequence, NULL, 0, p->userdata);
	}
}

static void on_store_entry(const struct stream_entry *e, void *userdata)
{
	struct part *part = userdata;

	entry(part, e);
	if (!stream_follow_is_live(part->store))
		return;
	*part->sequence = (int64_t)e->sequence;
	deferred_schedule(part->projection->settle);
}

static void on_store_live(uint64_t sequence, void *userdata)
{
	struct part *part = userdata;
	struct projection *p = part->projection;

	stream_follow_free(steal(part->mirror));
	*part->sequence = (int64_t)sequence;
	part->loaded = true;
	p->applied.generation = 1;
	sweep(part);
	if (projection_is_live(p)) {
		timer_disarm(p->mirror_timer);
		set_stale(p, false, NULL);
	}
	deferred_schedule(p->settle);
}

static void on_store_restart(void *userdata)
{
	struct part *part = userdata;

	part->load++;
}

static void on_store_lost(const struct failure *why, void *userdata)
{
	struct part *part = userdata;
	struct projection *p = part->projection;

	if (!p->stale_since && part->loaded)
		log_warning("cannot follow %s: %s; serving the last known state", part->stream,
			    why->message);
	set_stale(p, true, why->message);
	if (!part->loaded && !part->mirror && !timer_is_armed(p->mirror_timer))
		timer_arm(p->mirror_timer, 0);
}

static void on_mirror_entry(const struct stream_entry *e, void *userdata)
{
	entry(userdata, e);
}

static void on_mirror_live(uint64_t sequence, void *userdata)
{
	struct part *part = userdata;
	struct projection *p = part->projection;

	stream_follow_free(steal(part->mirror));
	if (part->loaded)
		return;
	log_notice("the store does not answer: serving %s from the local mirror, as of %llu",
		   part->stream, (unsigned long long)sequence);
	*part->sequence = (int64_t)sequence;
	part->loaded = true;
	p->applied.generation = 1;
	set_stale(p, true, NULL);
	part->load++;
	deferred_schedule(p->settle);
}

static void on_mirror_lost(const struct failure *why, void *userdata)
{
	struct part *part = userdata;

	log_debug("no local mirror of %s: %s", part->stream, why->message);
	stream_follow_free(steal(part->mirror));
	if (!part->loaded)
		timer_arm_within(part->projection->mirror_timer, MIRROR_AFTER_USEC);
}

static const struct stream_follow_ops store_ops = {
	.entry = on_store_entry,
	.live = on_store_live,
	.restart = on_store_restart,
	.lost = on_store_lost,
};

static const struct stream_follow_ops mirror_ops = {
	.entry = on_mirror_entry,
	.live = on_mirror_live,
	.lost = on_mirror_lost,
};

static void start_mirror(void *userdata)
{
	struct projection *p = userdata;

	for (size_t i = 0; i < ARRAY_SIZE(p->parts); i++) {
		struct part *part = &p->parts[i];
		const struct stream_follow_options options = {
			.domain = p->machine,
			.stream = part->stream,
			.filters = (const char *const *)part->filters,
			.from = STREAM_FROM_LAST_PER_SUBJECT,
			.once = true,
		};

		if (part->filters && !part->mirror && !part->loaded)
			part->mirror = stream_follow_new(p->bus, &options, &mirror_ops, part);
	}
}

static void on_expect(void *userdata)
{
	struct projection *p = userdata;

	for (size_t i = 0; i < ARRAY_SIZE(p->parts); i++)
		if (p->parts[i].filters && *p->parts[i].sequence < *p->parts[i].expected)
			stream_follow_kick(p->parts[i].store);
}

static void part_start(struct projection *p, struct part *part, const char *stream,
		       const char *const *filters, int64_t *sequence, int64_t *expected)
{
	const struct stream_follow_options options = {
		.domain = STORE_DOMAIN,
		.stream = stream,
		.filters = filters,
		.from = STREAM_FROM_LAST_PER_SUBJECT,
	};

	part->projection = p;
	part->stream = stream;
	part->sequence = sequence;
	part->expected = expected;
	part->load = 1;
	part->loaded = !filters;
	if (!filters)
		return;
	part->filters = strv_copy((char *const *)filters);
	part->store = stream_follow_new(p->bus, &options, &store_ops, part);
}

struct projection *projection_new(struct bus *bus, const struct projection_options *options,
				  const struct projection_ops *ops, void *userdata)
{
	struct projection *p = xcalloc(1, sizeof(*p));

	p->bus = bus;
	p->machine = xstrdup(options->machine);
	p->ops = ops;
	p->userdata = userdata;
	p->settle = deferred_new(bus_loop(bus), on_settle, p);
	p->mirror_timer = timer_new(bus_loop(bus), start_mirror, p);
	p->expect_timer = timer_new(bus_loop(bus), on_expect, p);
	part_start(p, &p->parts[0], STREAM_INTENT, options->intent, &p->applied.intent,
		   &p->expected.intent);
	part_start(p, &p->parts[1], STREAM_FACTS, options->facts, &p->applied.facts,
		   &p->expected.facts);
	timer_arm(p->mirror_timer, MIRROR_AFTER_USEC);
	return p;
}

void projection_free(struct projection *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(p->parts); i++) {
		stream_follow_free(p->parts[i].store);
		stream_follow_free(p->parts[i].mirror);
		map_clear(&p->parts[i].items, free);
		strv_free(p->parts[i].filters);
	}
	timer_free(p->mirror_timer);
	timer_free(p->expect_timer);
	deferred_free(p->settle);
	free(p->machine);
	free(p->reason);
	free(p);
}

void projection_expect(struct projection *p, const struct watermark *wanted)
{
	if (watermark_reached(&p->applied, wanted))
		return;
	watermark_raise(&p->expected, wanted);
	timer_arm_within(p->expect_timer, EXPECT_USEC);
}

const struct watermark *projection_applied(const struct projection *p)
{
	return &p->applied;
}

uint64_t projection_stale_since(const struct projection *p)
{
	return p->stale_since;
}

const char *projection_stale_reason(const struct projection *p)
{
	return p->reason;
}

json_t *projection_status(const struct projection *p)
{
	json_t *json = json_pack("{s:I, s:o}", "subjects",
				 (json_int_t)(p->parts[0].items.count + p->parts[1].items.count),
				 "applied", codec_encode(&watermark_schema, &p->applied));

	if (p->stale_since) {
		_cleanup_free_ char *since = time_format(p->stale_since);

		json_object_set_new(json, "stale_since", json_string(since));
	}
	if (p->reason)
		json_object_set_new(json, "stale_reason", json_words(p->reason));
	return json;
}
