/* Confirmation: `applied` requests, and the stored view that they depend on.
 *
 * A view is stored before it is confirmed, and a restarted dnsd serves nothing older: neither a
 * local mirror that is behind the stored view nor, while nothing else is available, anything but
 * the stored view itself. The view is written only when a request needs it, one write at a time. */
#include "dnsd/dnsd.h"

static void remove_at(struct dnsd *dnsd, size_t at)
{
	memmove(&dnsd->confirmations[at], &dnsd->confirmations[at + 1],
		(--dnsd->n_confirmations - at) * sizeof(*dnsd->confirmations));
}

bool confirmation_serve_stored(struct dnsd *dnsd, const char *why)
{
	_cleanup_free_ char *as_of = watermark_text(&dnsd->stored);

	if (dnsd->loaded || dnsd->saved_zone || !dnsd->saved)
		return dnsd->loaded || dnsd->saved_zone;
	dnsd->saved_zone = zone_new();
	for (struct map_item *item = NULL; (item = map_next(&dnsd->saved->entries, item));) {
		const struct view_entry *entry = item->value;

		if (zone_entry(dnsd->saved_zone, item->key, 0, entry->data, entry->size) < 0)
			log_error("cannot decode %s in %s", zone_error(dnsd->saved_zone, item->key),
				  save_path(dnsd->save));
	}
	zone_apply(dnsd->saved_zone, NULL);
	zone_settle(dnsd->saved_zone);
	log_notice("cannot load the zone: %s; serving the stored view as of %s", why, as_of);
	listen_bridge(dnsd);
	confirmation_poll(dnsd);
	dnsd_report(dnsd);
	return true;
}

static void on_saved_timer(void *userdata)
{
	confirmation_serve_stored(userdata, "neither the store nor the local mirror answers");
}

static void on_saved(int error, void *userdata)
{
	struct dnsd *dnsd = userdata;

	if (error == 0) {
		dnsd->stored = dnsd->saving;
		confirmation_poll(dnsd);
		return;
	}
	log_errno(LOG_ERR, error, "cannot store the view in %s", save_path(dnsd->save));
	dnsd->changed = true;
	for (size_t i = 0; i < dnsd->n_confirmations;) {
		struct confirmation *waiting = &dnsd->confirmations[i];

		if (!watermark_reached(&dnsd->saving, &waiting->request->wanted)) {
			i++;
			continue;
		}
		bus_call_failf(
			waiting->call, FAILURE_FAILED,
			"make its directory writable, with free space, and repeat the command",
			"cannot store the view in %s: %s", save_path(dnsd->save), strerror(-error));
		remove_at(dnsd, i);
	}
}

static int read_stored(struct dnsd *dnsd, const char *path)
{
	_cleanup_free_ char *text = NULL;
	size_t size = 0;
	int r = file_read(path, SAVED_VIEW_MAX_BYTES, &text, &size);

	if (r == 0)
		r = view_decode(text, size, &dnsd->saved);
	if (r == 0)
		dnsd->stored = dnsd->saved->applied;
	return r;
}

int confirmation_start(struct dnsd *dnsd)
{
	_cleanup_free_ char *path = xasprintf("%s/view", dnsd->config->daemon.state);
	int r;

	dnsd->save = save_new(dnsd->loop, path, on_saved, dnsd);
	if (!dnsd->save)
		return log_errno(LOG_ERR, errno, "cannot prepare to store the view in %s", path);
	r = read_stored(dnsd, path);
	if (r < 0 && r != -ENOENT)
		log_errno(LOG_ERR, r,
			  "cannot read the stored view in %s; waiting for the store or the local "
			  "mirror",
			  path);
	dnsd->saved_timer = timer_new(dnsd->loop, on_saved_timer, dnsd);
	return 0;
}

void confirmation_follow(struct dnsd *dnsd)
{
	timer_arm(dnsd->saved_timer, SAVED_VIEW_AFTER_USEC);
}

/* The watermark that a restarted dnsd would serve at least. */
static const struct watermark *durable(const struct dnsd *dnsd)
{
	bool same = dnsd->loaded && dnsd->settled && !dnsd->changed && !save_is_running(dnsd->save);

	return same ? &dnsd->applied : &dnsd->stored;
}

static void answer(struct dnsd *dnsd, const struct confirmation *waiting)
{
	const char *held = zone_held(dnsd_zone(dnsd), waiting->request->ns);
	uint64_t since = dnsd_stale_since(dnsd);
	_cleanup_free_ char *stale = since ? time_format(since) : NULL;
	struct applied applied = { .applied = *durable(dnsd),
				   .stale_since = stale,
				   .held = (char *)held };

	bus_call_ok(waiting->call, &applied);
}

/* Whether the request was answered. */
static bool try_answer(struct dnsd *dnsd, const struct confirmation *waiting)
{
	const struct watermark *applied = dnsd_applied(dnsd), *wanted = &waiting->request->wanted;

	if (wanted->generation < applied->generation) {
		_cleanup_free_ char *text = watermark_text(wanted);

		bus_call_failf(waiting->call, FAILURE_NOT_READY, "repeat the command",
			       "cannot confirm %s: the store's generation is %lld", text,
			       (long long)applied->generation);
		return true;
	}
	if (!dnsd_zone(dnsd) || !watermark_reached(durable(dnsd), wanted) ||
	    zone_waits(dnsd_zone(dnsd), waiting->request->ns))
		return false;
	answer(dnsd, waiting);
	return true;
}

static void store(struct dnsd *dnsd)
{
	size_t size;
	char *text;

	dnsd->view->applied = dnsd->applied;
	free(dnsd->view->seen);
	dnsd->view->seen = projection_seen(dnsd->projection);
	text = view_encode(dnsd->view, &size);
	dnsd->saving = dnsd->applied;
	dnsd->changed = false;
	save_start(dnsd->save, text, size);
}

void confirmation_poll(struct dnsd *dnsd)
{
	bool wanted = false;

	for (size_t i = 0; i < dnsd->n_confirmations;) {
		struct confirmation *waiting = &dnsd->confirmations[i];

		if (try_answer(dnsd, waiting)) {
			remove_at(dnsd, i);
			continue;
		}
		wanted = wanted || (watermark_reached(&dnsd->applied, &waiting->request->wanted) &&
				    !watermark_reached(durable(dnsd), &waiting->request->wanted));
		i++;
	}
	/* Between two calls of `settled` the view is newer than its watermark. */
	if (wanted && dnsd->settled && !save_is_running(dnsd->save))
		store(dnsd);
}

static void refuse_oldest(struct dnsd *dnsd)
{
	_cleanup_free_ char *applied = watermark_text(dnsd_applied(dnsd));

	bus_call_failf(dnsd->confirmations[0].call, FAILURE_NOT_READY, "repeat the command",
		       "cannot confirm: applied up to %s, and %d other requests wait", applied,
		       CONFIRMATION_MAX);
	remove_at(dnsd, 0);
}

void confirmation_add(struct dnsd *dnsd, struct bus_call *call)
{
	struct confirmation *waiting;

	if (dnsd->n_confirmations >= CONFIRMATION_MAX)
		refuse_oldest(dnsd);
	waiting = array_add(dnsd->confirmations, dnsd->n_confirmations);
	waiting->call = call;
	waiting->request = bus_call_request(call);
	projection_expect(dnsd->projection, &waiting->request->wanted);
	confirmation_poll(dnsd);
}

void confirmation_free(struct dnsd *dnsd)
{
	while (dnsd->n_confirmations)
		bus_call_drop(dnsd->confirmations[--dnsd->n_confirmations].call);
	free(steal(dnsd->confirmations));
	timer_free(steal(dnsd->saved_timer));
	save_free(steal(dnsd->save));
	view_free(steal(dnsd->saved));
	zone_free(steal(dnsd->saved_zone));
}
