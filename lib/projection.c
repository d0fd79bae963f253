/* Projection: the last entry of each wanted subject of PLOYZ_INTENT and PLOYZ_FACTS. Entries that
 * arrive before a stream is live are collected and handed over together, so that the reader has
 * either the old view or the new one. */
#include "lib/projection.h"

#include "lib/log.h"
#include "lib/loop.h"
#include "lib/map.h"
#include "lib/str.h"
#include "lib/streams.h"

/* Time for the store to answer before the local mirror is used. */
#define MIRROR_AFTER_USEC 1000000ull
#define MIRROR_RETRY_USEC 5000000ull
#define PROBE_USEC 1000000ull /* one answer of the local bus */
#define EXPECT_USEC 250000ull /* time for an acknowledged entry to arrive */

/* The entry of a subject that the reader has. */
struct item {
	uint64_t sequence, time_usec;
};

/* An entry that the reader does not have yet. */
struct pending {
	uint64_t sequence, time_usec;
	size_t size;
	char *data;
};

/* One of the two streams. */
struct part {
	struct projection *projection;
	const char *stream;
	char **filters;		   /* NULL: not followed */
	struct bus_request *probe; /* whether the local bus answers, before the store is followed */
	struct stream_follow *store;
	struct stream_follow *mirror; /* read once while the store does not answer */
	struct map items;	      /* subject → struct item */
	struct map arrived;	      /* subject → struct pending, from the store */
	struct map mirrored;	      /* subject → struct pending, from the mirror */
	bool loaded;		      /* the reader has a complete view of the stream */
	bool replacing;		      /* `arrived` will be the complete view */
	uint64_t ready;	    /* every entry up to this sequence is in `items` or in `arrived` */
	int64_t generation; /* generation of the reader's view */
	int64_t served;	    /* sequence of this stream in options.served */
	struct stream_seen known;    /* what the saved view knew of the stream */
	char *why;		     /* reason of the last loss, or NULL */
	int64_t *applied, *expected; /* this stream's sequences in the projection's watermarks */
};

struct projection {
	struct bus *bus;
	char *machine;
	const struct projection_ops *ops;
	void *userdata;
	struct part parts[2];
	struct watermark applied, expected;
	int64_t served_generation;
	uint64_t stale_since; /* CLOCK_REALTIME; 0: live */
	bool stale_reported;
	char *reason;
	struct timer *mirror_timer, *expect_timer;
	struct deferred *settle;
};

static struct part *next_part(const struct projection *p, struct part *after)
{
	struct part *part = after ? after + 1 : (struct part *)p->parts;

	while (part < p->parts + ARRAY_SIZE(p->parts) && !part->filters)
		part++;
	return part < p->parts + ARRAY_SIZE(p->parts) ? part : NULL;
}

static void pending_free(void *p)
{
	struct pending *pending = p;

	if (!pending)
		return;
	free(pending->data);
	free(pending);
}

static bool part_is_live(const struct part *part)
{
	return part->store && stream_follow_is_live(part->store);
}

static bool stores_are_live(const struct projection *p)
{
	for (struct part *part = NULL; (part = next_part(p, part));)
		if (!part_is_live(part))
			return false;
	return true;
}

bool projection_is_live(const struct projection *p)
{
	for (struct part *part = NULL; (part = next_part(p, part));)
		if (!part_is_live(part) || part->replacing)
			return false;
	return true;
}

static bool is_loaded(const struct projection *p)
{
	for (struct part *part = NULL; (part = next_part(p, part));)
		if (!part->loaded)
			return false;
	return true;
}

static void now_stale(struct projection *p, const char *reason, const char *hint)
{
	free(p->reason);
	p->reason = xasprintf("%s%s%s", reason, hint ? "; " : "", hint ? hint : "");
	if (!p->stale_since)
		p->stale_since = time_now_usec();
	if (p->stale_reported)
		return;
	p->stale_reported = true;
	if (p->ops->stale)
		p->ops->stale(true, p->userdata);
}

static void now_fresh(struct projection *p)
{
	if (!p->stale_since)
		return;
	p->stale_since = 0;
	p->stale_reported = false;
	free(steal(p->reason));
	if (p->ops->stale)
		p->ops->stale(false, p->userdata);
}

static void on_settle(void *userdata)
{
	struct projection *p = userdata;

	if (is_loaded(p))
		p->ops->settled(&p->applied, p->userdata);
}

/* Updates the reader's watermark; its generation is the lower one of the two parts. */
static void applied_up_to(struct part *part, uint64_t sequence)
{
	struct projection *p = part->projection;
	int64_t generation = INT64_MAX;

	*part->applied = (int64_t)sequence;
	for (struct part *other = NULL; (other = next_part(p, other));)
		if (other->loaded)
			generation = MIN2(generation, other->generation);
	p->applied.generation = generation == INT64_MAX ? 0 : generation;
	deferred_schedule(p->settle);
}

static void hand_over(struct part *part, const char *subject, const struct pending *entry)
{
	struct projection *p = part->projection;
	struct item *item = map_get(&part->items, subject);

	/* Equal sequences of different stores are different entries. */
	if (item && item->sequence == entry->sequence && item->time_usec &&
	    item->time_usec == entry->time_usec)
		return;
	if (!item) {
		item = xcalloc(1, sizeof(*item));
		map_put(&part->items, subject, item);
	}
	item->sequence = entry->sequence;
	item->time_usec = entry->time_usec;
	p->ops->entry(subject, entry->sequence, entry->data, entry->size, p->userdata);
}

static void collect(struct map *map, const struct stream_entry *e)
{
	struct pending *pending = xcalloc(1, sizeof(*pending));

	pending->sequence = e->sequence;
	pending->time_usec = e->time_usec;
	pending->size = e->size;
	pending->data = xmemdup(e->data, e->size);
	pending_free(map_put(map, e->subject, pending));
}

/* Hands over the entries collected in `map`; with `whole`, subjects that are not in it are removed.
 */
static void take_over(struct part *part, struct map *map, bool whole, uint64_t sequence)
{
	struct projection *p = part->projection;

	for (struct map_item *i = NULL; (i = map_next(map, i));)
		hand_over(part, i->key, i->value);
	for (struct map_item *i = NULL; whole && (i = map_next(&part->items, i));) {
		_cleanup_free_ char *subject = xstrdup(i->key);

		if (map_get(map, subject))
			continue;
		free(map_remove(&part->items, subject));
		p->ops->entry(subject, sequence, NULL, 0, p->userdata);
	}
	map_clear(map, pending_free);
	part->loaded = true;
	applied_up_to(part, sequence);
}

/* A view replaces another one only when every stream of the store can be followed: a store that
 * lacks entries of one stream may lack facts too, which cannot be detected. */
static void take_arrived(struct projection *p)
{
	bool whole = stores_are_live(p);

	for (struct part *part = NULL; (part = next_part(p, part));) {
		if (!part_is_live(part) || (part->replacing && part->loaded && !whole))
			continue;
		if (!part->replacing && !part->arrived.count &&
		    (uint64_t)*part->applied >= part->ready)
			continue;
		part->generation = stream_follow_seen(part->store)->generation;
		take_over(part, &part->arrived, part->replacing, part->ready);
		part->replacing = false;
	}
}

/* --- the store --- */

static void on_store_entry(const struct stream_entry *e, void *userdata)
{
	struct part *part = userdata;
	struct pending entry = { e->sequence, e->time_usec, e->size, (char *)e->data };

	if (!part_is_live(part) || part->replacing) {
		collect(&part->arrived, e);
		part->ready = MAX2(part->ready, e->sequence);
		return;
	}
	part->ready = e->sequence;
	hand_over(part, e->subject, &entry);
	applied_up_to(part, e->sequence);
}

/* `store accept` raises the generation of one stream after the other. */
static void check_generations(struct projection *p, int64_t generation)
{
	for (struct part *part = NULL; (part = next_part(p, part));)
		if (part_is_live(part) && stream_follow_seen(part->store)->generation < generation)
			stream_follow_check(part->store);
}

static void report_checked(struct projection *p)
{
	if (p->ops->checked && projection_is_live(p))
		p->ops->checked(p->userdata);
}

static void on_store_live(uint64_t sequence, void *userdata)
{
	struct part *part = userdata;
	struct projection *p = part->projection;

	stream_follow_free(steal(part->mirror));
	map_clear(&part->mirrored, pending_free);
	part->ready = sequence;
	take_arrived(p);
	check_generations(p, stream_follow_seen(part->store)->generation);
	if (!projection_is_live(p))
		return;
	timer_disarm(p->mirror_timer);
	now_fresh(p);
	report_checked(p);
}

static void on_store_reached(uint64_t sequence, void *userdata)
{
	struct part *part = userdata;

	part->ready = MAX2(part->ready, sequence);
	if (!part->replacing && part->ready > (uint64_t)*part->applied)
		applied_up_to(part, part->ready);
	report_checked(part->projection);
}

static void on_store_restart(void *userdata)
{
	struct part *part = userdata;

	map_clear(&part->arrived, pending_free);
	part->replacing = true;
	part->ready = 0;
}

static void on_store_lost(const struct failure *why, void *userdata)
{
	struct part *part = userdata;
	struct projection *p = part->projection;

	/* When a machine boots, the store starts beside this daemon: that is no failure. */
	if (part->loaded && (!p->stale_reported || !streq(part->why, why->message)))
		log_warning("cannot follow %s: %s; serving the last known state%s%s", part->stream,
			    why->message, why->code == FAILURE_REFUSED ? ": " : "",
			    why->code == FAILURE_REFUSED ? why->hint : "");
	free(part->why);
	part->why = xstrdup(why->message);
	now_stale(p, why->message, why->hint);
}

static const struct stream_follow_ops store_ops = {
	.entry = on_store_entry,
	.live = on_store_live,
	.reached = on_store_reached,
	.restart = on_store_restart,
	.lost = on_store_lost,
};

/* --- the local mirror --- */

/* Whether the mirror is at least as new as the view that is served. */
static bool mirror_suits(const struct part *part, const struct stream_seen *mirror)
{
	int64_t served = part->projection->served_generation;

	if (mirror->generation && served && mirror->generation != served)
		return mirror->generation > served;
	/* A mirror that was behind when the store was reverted has later entries of the reverted
	 * store. */
	if (mirror->store && part->known.store && !streq(mirror->store, part->known.store))
		return false;
	if (mirror->sequence == part->known.sequence && part->known.time_usec &&
	    mirror->time_usec != part->known.time_usec)
		return false;
	return mirror->sequence >= (uint64_t)part->served;
}

static void on_mirror_entry(const struct stream_entry *e, void *userdata)
{
	struct part *part = userdata;

	collect(&part->mirrored, e);
}

static void mirror_end(struct part *part)
{
	stream_follow_free(steal(part->mirror));
	map_clear(&part->mirrored, pending_free);
	if (!part->loaded)
		timer_arm_within(part->projection->mirror_timer, MIRROR_RETRY_USEC);
}

static void on_mirror_live(uint64_t sequence, void *userdata)
{
	struct part *part = userdata;
	const struct stream_seen *seen = stream_follow_seen(part->mirror);

	if (!part->loaded && mirror_suits(part, seen)) {
		log_notice("store unreachable: serving %s from the local mirror, as of "
			   "%llu",
			   part->stream, (unsigned long long)sequence);
		part->generation =
			seen->generation ? seen->generation : part->projection->served_generation;
		stream_follow_learn(part->store, seen);
		take_over(part, &part->mirrored, true, sequence);
	}
	mirror_end(part);
}

static void on_mirror_lost(const struct failure *why, void *userdata)
{
	struct part *part = userdata;

	log_debug("no local mirror of %s: %s", part->stream, why->message);
	mirror_end(part);
}

static const struct stream_follow_ops mirror_ops = {
	.entry = on_mirror_entry,
	.live = on_mirror_live,
	.lost = on_mirror_lost,
};

static void start_mirrors(void *userdata)
{
	struct projection *p = userdata;

	for (struct part *part = NULL; (part = next_part(p, part));) {
		const struct stream_follow_options options = {
			.domain = p->machine,
			.stream = part->stream,
			.filters = (const char *const *)part->filters,
			.from = STREAM_FROM_LAST_PER_SUBJECT,
			.once = true,
		};

		if (part->store && !part->mirror && !part->loaded)
			part->mirror = stream_follow_new(p->bus, &options, &mirror_ops, part);
	}
}

/* --- starting and ending --- */

static void on_expect(void *userdata)
{
	struct projection *p = userdata;
	bool newer = p->expected.generation > p->applied.generation;

	for (struct part *part = NULL; (part = next_part(p, part));)
		if (part->store && (newer || *part->applied < *part->expected))
			stream_follow_check(part->store);
}

static void follow_store(struct part *part, const struct stream_seen *seen)
{
	const struct stream_follow_options options = {
		.domain = STORE_DOMAIN,
		.stream = part->stream,
		.filters = (const char *const *)part->filters,
		.from = STREAM_FROM_LAST_PER_SUBJECT,
		.seen = seen,
	};

	part->store = stream_follow_new(part->projection->bus, &options, &store_ops, part);
	timer_arm_within(part->projection->mirror_timer, MIRROR_AFTER_USEC);
}

/* The store has lost entries if it lacks one that the mirror has. */
static void on_probe(const struct failure *failure, const json_t *info, void *userdata)
{
	struct part *part = userdata;
	struct stream_seen seen = { 0 }, mirror = { 0 };

	part->probe = NULL;
	stream_seen_copy(&seen, &part->known);
	if (!failure)
		stream_seen_parse(info, &mirror);
	if (!failure && mirror_suits(part, &mirror)) {
		seen.generation = MAX2(seen.generation, mirror.generation);
		seen.sequence = mirror.sequence;
		seen.time_usec = mirror.time_usec;
		free(seen.store);
		seen.store = steal(mirror.store);
	}
	follow_store(part, &seen);
	stream_seen_clear(&mirror);
	stream_seen_clear(&seen);
}

/* `seen` is the result of projection_seen, maybe of an earlier process or version. */
static void part_know(struct part *part, const json_t *seen)
{
	const json_t *row = json_object_get(seen, part->stream);
	json_int_t sequence = json_integer_value(json_object_get(row, "sequence"));
	json_int_t time_usec = json_integer_value(json_object_get(row, "time_usec"));

	part->known = (struct stream_seen){
		.generation = part->projection->served_generation,
		.sequence = (uint64_t)part->served,
		.created = xstrdup(json_string_value(json_object_get(row, "created"))),
		.store = xstrdup(json_string_value(json_object_get(row, "store"))),
	};
	if (sequence >= part->served && sequence > 0 && time_usec > 0) {
		part->known.sequence = (uint64_t)sequence;
		part->known.time_usec = (uint64_t)time_usec;
	}
}

static void part_start(struct projection *p, struct part *part, const char *const *filters,
		       const json_t *seen)
{
	part->projection = p;
	if (!filters)
		return;
	part_know(part, seen);
	part->filters = strv_copy((char *const *)filters);
	part->replacing = true;
	stream_info(p->bus, p->machine, part->stream, PROBE_USEC, on_probe, part, &part->probe);
}

struct projection *projection_new(struct bus *bus, const struct projection_options *options,
				  const struct projection_ops *ops, void *userdata)
{
	struct projection *p = xcalloc(1, sizeof(*p));
	_cleanup_json_ json_t *seen = options->seen ? json_loads(options->seen, 0, NULL) : NULL;

	p->bus = bus;
	p->machine = xstrdup(options->machine);
	p->ops = ops;
	p->userdata = userdata;
	p->served_generation = options->served.generation;
	p->stale_since = time_now_usec();
	p->reason = xstrdup("the store has not been read yet");
	p->settle = deferred_new(bus_loop(bus), on_settle, p);
	p->mirror_timer = timer_new(bus_loop(bus), start_mirrors, p);
	p->expect_timer = timer_new(bus_loop(bus), on_expect, p);
	p->parts[0] = (struct part){ .stream = STREAM_INTENT,
				     .served = options->served.intent,
				     .applied = &p->applied.intent,
				     .expected = &p->expected.intent };
	p->parts[1] = (struct part){ .stream = STREAM_FACTS,
				     .served = options->served.facts,
				     .applied = &p->applied.facts,
				     .expected = &p->expected.facts };
	part_start(p, &p->parts[0], options->intent, seen);
	part_start(p, &p->parts[1], options->facts, seen);
	return p;
}

void projection_free(struct projection *p)
{
	if (!p)
		return;
	for (struct part *part = NULL; (part = next_part(p, part));) {
		bus_request_cancel(part->probe);
		stream_follow_free(part->store);
		stream_follow_free(part->mirror);
		map_clear(&part->items, free);
		map_clear(&part->arrived, pending_free);
		map_clear(&part->mirrored, pending_free);
		stream_seen_clear(&part->known);
		strv_free(part->filters);
		free(part->why);
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
	if (wanted->generation < p->applied.generation || watermark_reached(&p->applied, wanted))
		return;
	if (wanted->generation > p->expected.generation)
		p->expected = *wanted;
	else
		watermark_raise(&p->expected, wanted);
	timer_arm_within(p->expect_timer, EXPECT_USEC);
}

void projection_check(struct projection *p)
{
	for (struct part *part = NULL; (part = next_part(p, part));)
		if (part->store)
			stream_follow_check(part->store);
}

uint64_t projection_checked(const struct projection *p)
{
	uint64_t checked = UINT64_MAX;

	if (!projection_is_live(p))
		return 0;
	for (struct part *part = NULL; (part = next_part(p, part));)
		checked = MIN2(checked, stream_follow_checked(part->store));
	return checked;
}

const struct watermark *projection_applied(const struct projection *p)
{
	return &p->applied;
}

char *projection_seen(const struct projection *p)
{
	_cleanup_json_ json_t *json = json_object();

	for (struct part *part = NULL; (part = next_part(p, part));) {
		const struct stream_seen *seen =
			part->store ? stream_follow_seen(part->store) : &part->known;

		json_object_set_new(json, part->stream,
				    json_pack("{s:s*, s:s*, s:I, s:I}", "created", seen->created,
					      "store", seen->store, "sequence",
					      (json_int_t)seen->sequence, "time_usec",
					      (json_int_t)seen->time_usec));
	}
	return json_text(json);
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
	size_t count = p->parts[0].items.count + p->parts[1].items.count;
	json_t *json = json_pack("{s:I, s:o}", "subjects", (json_int_t)count, "applied",
				 codec_encode(&watermark_schema, &p->applied));

	if (p->stale_since) {
		_cleanup_free_ char *since = time_format(p->stale_since);

		json_object_set_new(json, "stale_since", json_string(since));
	}
	if (p->reason)
		json_object_set_new(json, "stale_reason", json_utf8(p->reason));
	return json;
}
