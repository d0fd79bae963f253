/* Expiry without a clock to trust: what this leased saw of each lease, on its own boot-time clock,
 * counted only while its watch was known to be alive. */
#include "leased/leased.h"

static void seen_free(void *p)
{
	struct seen_lease *seen = p;

	if (!seen)
		return;
	lease_free(seen->lease);
	free(seen);
}

static void tell_holder(struct leased *leased, const struct lease *lease, uint64_t revision)
{
	for (size_t i = 0; i < leased->n_walks; i++) {
		struct walk *walk = leased->walks[i];

		if (!walk->ended && walk->holding && streq(walk->request->manifest->ns, lease->ns))
			holding_observe(walk->holding, lease, revision);
	}
}

static void on_entry(const struct stream_entry *entry, void *userdata)
{
	struct leased *leased = userdata;
	struct failure failure = FAILURE_INIT;
	struct seen_lease *seen;
	void *lease;

	if (codec_parse(&lease_schema, entry->data, entry->size, CODEC_LENIENT, &lease, &failure) <
	    0) {
		log_warning("lease %s cannot be read: %s %s", bucket_key(entry->subject),
			    failure.path ? failure.path : "it", failure.message);
		failure_clear(&failure);
		return;
	}
	seen = xcalloc(1, sizeof(*seen));
	seen->lease = lease;
	seen->revision = entry->sequence;
	seen->moved_usec = boot_now_usec();
	seen_free(map_put(&leased->leases, bucket_key(entry->subject), seen));
	tell_holder(leased, lease, entry->sequence);
}

static void on_live(_unused_ uint64_t sequence, void *userdata)
{
	struct leased *leased = userdata;

	leased->watch_live = true;
	leased->watch_since = boot_now_usec();
}

static void on_lost(const struct failure *why, void *userdata)
{
	struct leased *leased = userdata;

	if (leased->watch_live)
		log_warning(
			"the leases cannot be watched, none is taken to have expired meanwhile: %s",
			why->message);
	leased->watch_live = false;
}

static const struct stream_follow_ops watch_ops = {
	.entry = on_entry,
	.live = on_live,
	.lost = on_lost,
};

void watch_start(struct leased *leased)
{
	leased->watch = bucket_watch(leased->daemon->bus, BUCKET_LEASES, &watch_ops, leased);
}

void watch_stop(struct leased *leased)
{
	stream_follow_free(steal(leased->watch));
	map_clear(&leased->leases, seen_free);
}

uint64_t watch_quiet(const struct leased *leased, const char *ns, uint64_t revision)
{
	const struct seen_lease *seen = map_get(&leased->leases, ns);
	uint64_t from;

	if (!leased->watch_live || !seen || seen->revision != revision)
		return 0;
	from = MAX2(seen->moved_usec, leased->watch_since);
	return boot_now_usec() - from;
}
