/* Lease watch: expiry without synchronised clocks. Each watcher measures on its own boot-time clock
 * how long a lease's revision has not changed, and only while it is known to receive every entry.
 */
#include "lib/bucket.h"
#include "lib/lease.h"
#include "lib/log.h"
#include "lib/str.h"

struct lease_watch {
	struct stream_follow *follow;
	struct map leases; /* key → struct lease_seen */
	bool live;
	uint64_t live_since; /* boot-time clock */
	lease_changed_fn changed;
	void *userdata;
};

static void seen_free(void *p)
{
	struct lease_seen *seen = p;

	if (!seen)
		return;
	lease_free(seen->lease);
	free(seen);
}

static void on_entry(const struct stream_entry *entry, void *userdata)
{
	struct lease_watch *watch = userdata;
	const char *key = bucket_key(entry->subject);
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;
	struct lease_seen *seen;
	void *lease = NULL;

	if (codec_parse(&lease_schema, entry->data, entry->size, CODEC_LENIENT, &lease, &failure) <
	    0) {
		log_warning("cannot decode lease %s: %s%s%s", key, failure.path ? failure.path : "",
			    failure.path ? " " : "", failure.message);
		/* The last decoded value is no longer the current one. */
		seen_free(map_remove(&watch->leases, key));
		return;
	}
	seen = xcalloc(1, sizeof(*seen));
	seen->lease = lease;
	seen->revision = entry->sequence;
	seen->moved_usec = boot_now_usec();
	seen_free(map_put(&watch->leases, key, seen));
	if (watch->changed)
		watch->changed(seen->lease, seen->revision, watch->userdata);
}

static void on_live(_unused_ uint64_t sequence, void *userdata)
{
	struct lease_watch *watch = userdata;

	watch->live = true;
	watch->live_since = boot_now_usec();
}

/* The bucket was created again: its revisions may repeat those of the old one with other values. */
static void on_restart(void *userdata)
{
	struct lease_watch *watch = userdata;

	map_clear(&watch->leases, seen_free);
}

static void on_lost(const struct failure *why, void *userdata)
{
	struct lease_watch *watch = userdata;

	if (watch->live)
		log_warning("cannot follow the leases: %s; none expires until they can be followed",
			    why->message);
	watch->live = false;
}

static const struct stream_follow_ops follow_ops = {
	.entry = on_entry,
	.live = on_live,
	.restart = on_restart,
	.lost = on_lost,
};

struct lease_watch *lease_watch_new(struct bus *bus, lease_changed_fn changed, void *userdata)
{
	struct lease_watch *watch = xcalloc(1, sizeof(*watch));

	watch->changed = changed;
	watch->userdata = userdata;
	watch->follow = bucket_watch(bus, BUCKET_LEASES, &follow_ops, watch);
	return watch;
}

void lease_watch_free(struct lease_watch *watch)
{
	if (!watch)
		return;
	stream_follow_free(watch->follow);
	map_clear(&watch->leases, seen_free);
	free(watch);
}

bool lease_watch_is_live(const struct lease_watch *watch)
{
	return watch->live;
}

uint64_t lease_watch_quiet(const struct lease_watch *watch, const char *key, uint64_t revision)
{
	const struct lease_seen *seen = map_get(&watch->leases, key);

	if (!watch->live || !seen || seen->revision != revision)
		return 0;
	return boot_now_usec() - MAX2(seen->moved_usec, watch->live_since);
}

const struct map *lease_watch_all(const struct lease_watch *watch)
{
	return &watch->leases;
}
