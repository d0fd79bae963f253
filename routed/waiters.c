/* Waiters: `applied` and `drained` requests, answered once the proxy has reached what they wait
 * for. */
#include "routed/routed.h"

/* Requests are repeated by their senders: no more than these are kept. */
#define WAITERS_MAX 256
/* HAProxy does not count a connection yet that was assigned its server a moment ago: two polls have
 * to agree. */
#define QUIET_POLLS 2

bool waiter_reached(const struct watermark *applied, const struct watermark *wanted)
{
	if (!wanted->generation && !wanted->intent && !wanted->facts)
		return true;
	return watermark_reached(applied, wanted);
}

/* An item is reported as held back only once the view covers the wanted entries: one of them may be
 * what replaces the bad entry. A head that waits for its facts is not applied before them. */
enum waiter_answer waiter_decide(const struct table *table, const struct watermark *applied,
				 const struct applied_request *request)
{
	struct watermark wanted = request->wanted;

	if (table && wanted.generation == table->watermark.generation)
		wanted.facts = MAX2(wanted.facts, table_needs(table, request->ns));
	if (table && waiter_reached(&table->watermark, &wanted) &&
	    table_held_of(table, request->ns))
		return WAITER_HELD;
	return applied && waiter_reached(applied, &wanted) ? WAITER_APPLIED : WAITER_WAIT;
}

/* ---- applied ---- */

static const struct watermark *applied_watermark(const struct routed *routed)
{
	return routed->applied.version ? &routed->applied.watermark : NULL;
}

/* The routes of a namespace (NULL: of all) that are not served, as `KEY: reason`; owned by the
 * caller. */
static char **unserved(const struct routed *routed, const char *ns)
{
	char **list = NULL;

	for (size_t i = 0; i < routed->table->n_routes; i++) {
		const struct table_route *route = &routed->table->routes[i];
		_cleanup_free_ char *error = NULL;

		if (ns && !streq(route->ns, ns))
			continue;
		error = routed_route_error(routed, route);
		if (error)
			strv_push(&list, xasprintf("%s: %s", route->key, error));
	}
	return list;
}

/* Answers the call if it can be answered now. */
static bool answer_applied(struct routed *routed, struct bus_call *call)
{
	const struct applied_request *request = bus_call_request(call);
	const struct table *table = routed->loaded ? routed->table : NULL;
	enum waiter_answer answer = waiter_decide(table, applied_watermark(routed), request);
	uint64_t stale = projection_stale_since(routed->projection);
	_cleanup_free_ char *since = stale ? time_format(stale) : NULL;
	_cleanup_(strv_freep) char **list = NULL;

	if (answer == WAITER_WAIT)
		return false;
	list = unserved(routed, request->ns);
	bus_call_ok(call, &(struct applied){
				  .applied = routed->applied.watermark,
				  .stale_since = since,
				  .held = answer == WAITER_HELD
						  ? (char *)table_held_of(table, request->ns)
						  : NULL,
				  .unserved = list,
			  });
	return true;
}

/* The message has the known reason, or the gateway's watermark. */
static void refuse(struct routed *routed, struct bus_call *call, const struct watermark *wanted)
{
	_cleanup_free_ char *text = watermark_text(wanted);
	_cleanup_free_ char *applied = watermark_text(&routed->applied.watermark);
	_cleanup_free_ char *so_far = routed->applied.version
					      ? xasprintf("the gateway has applied %s", applied)
					      : xstrdup("the gateway has applied nothing yet");
	const char *error = routed_error(routed);

	bus_call_failf(call, FAILURE_NOT_READY, "`ployzctl status` shows the gateway; then retry",
		       "cannot confirm %s: %s", text, error ? error : so_far);
}

void waiters_add_applied(struct routed *routed, struct bus_call *call)
{
	const struct applied_request *request = bus_call_request(call);

	if (answer_applied(routed, call))
		return;
	if (routed->n_applied == WAITERS_MAX) {
		refuse(routed, call, &request->wanted);
		return;
	}
	*array_add(routed->applied_waiters, routed->n_applied) =
		(struct waiter_applied){ .call = call, .since_usec = boot_now_usec() };
	projection_expect(routed->projection, &request->wanted);
	/* HAProxy may have the table already; then only the save is missing. */
	if (routed->reached.version != routed->applied.version)
		sync_confirm(routed);
}

void waiters_applied(struct routed *routed)
{
	uint64_t limit = routed_error(routed) ? APPLIED_ERROR_USEC : APPLIED_WAIT_USEC;
	uint64_t now = boot_now_usec();
	size_t left = 0;

	for (size_t i = 0; i < routed->n_applied; i++) {
		struct waiter_applied waiter = routed->applied_waiters[i];
		const struct applied_request *request = bus_call_request(waiter.call);

		if (answer_applied(routed, waiter.call))
			continue;
		if (now >= waiter.since_usec + limit)
			refuse(routed, waiter.call, &request->wanted);
		else
			routed->applied_waiters[left++] = waiter;
	}
	routed->n_applied = left;
}

/* ---- drained ---- */

static int64_t connections_in(const struct actual *actual, char *const *instances)
{
	int64_t sum = 0;

	for (size_t i = 0; i < actual->n_servers; i++)
		if (strv_contains(instances, actual->servers[i].name))
			sum += actual->servers[i].connections;
	return sum;
}

/* The count is meaningful only once HAProxy sends the instances no new connections. */
static bool is_countable(const struct routed *routed, const struct drained_request *request)
{
	const struct watermark *applied = applied_watermark(routed);

	return routed->known && applied && waiter_reached(applied, &request->wanted);
}

/* Answers the call if it can be answered now. */
static bool answer_drained(struct routed *routed, struct waiter_drained *waiter)
{
	const struct drained_request *request = bus_call_request(waiter->call);
	bool late = boot_now_usec() >= waiter->until_usec;
	int64_t count = connections_in(&routed->actual, request->instances) +
			connections_in(&routed->older, request->instances);

	if (!is_countable(routed, request)) {
		waiter->quiet = 0;
		if (late)
			refuse(routed, waiter->call, &request->wanted);
		return late;
	}
	waiter->quiet = count ? 0 : waiter->quiet + 1;
	if (!late && waiter->quiet < QUIET_POLLS)
		return false;
	bus_call_ok(waiter->call, &(struct drained){ .connections = count });
	return true;
}

void waiters_add_drained(struct routed *routed, struct bus_call *call)
{
	const struct drained_request *request = bus_call_request(call);

	if (request->wait_ms > DRAIN_MAX_MS) {
		bus_call_failf(call, FAILURE_INVALID, NULL,
			       "cannot wait for connections: wait_ms is at most %d", DRAIN_MAX_MS);
		return;
	}
	if (routed->n_drained == WAITERS_MAX) {
		bus_call_failf(call, FAILURE_NOT_READY, "retry",
			       "cannot wait for connections: %d requests wait already",
			       WAITERS_MAX);
		return;
	}
	*array_add(routed->drained_waiters, routed->n_drained) = (struct waiter_drained){
		.call = call, .until_usec = boot_now_usec() + (uint64_t)request->wait_ms * 1000
	};
	projection_expect(routed->projection, &request->wanted);
	sync_poll(routed);
}

void waiters_drained(struct routed *routed)
{
	size_t left = 0;

	for (size_t i = 0; i < routed->n_drained; i++) {
		struct waiter_drained waiter = routed->drained_waiters[i];

		if (!answer_drained(routed, &waiter))
			routed->drained_waiters[left++] = waiter;
	}
	routed->n_drained = left;
}

void waiters_free(struct routed *routed)
{
	for (size_t i = 0; i < routed->n_applied; i++)
		bus_call_drop(routed->applied_waiters[i].call);
	for (size_t i = 0; i < routed->n_drained; i++)
		bus_call_drop(routed->drained_waiters[i].call);
	free(routed->applied_waiters);
	free(routed->drained_waiters);
}
