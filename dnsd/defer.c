/* Deferred queries: a container may send its first query before its machine's facts name its
 * address. Until they do, it has no namespace, and a name of its own deploy would be denied. Its
 * queries for the zone wait for the facts, for DEFER_USEC after the first one. */
#include "dnsd/dnsd.h"

struct deferred_query {
	struct client client;
	uint32_t address;  /* of the client, host order */
	uint64_t deadline; /* boot time, µs */
	uint8_t *wire;
	size_t size;
	TAILQ_ENTRY(deferred_query) by_age;
};

/* The row of an address, or the one that was used least recently. */
static struct newcomer *find_newcomer(struct dnsd *dnsd, uint32_t address)
{
	struct newcomer *oldest = &dnsd->newcomers[0];

	for (size_t i = 0; i < ARRAY_SIZE(dnsd->newcomers); i++) {
		if (dnsd->newcomers[i].address == address)
			return &dnsd->newcomers[i];
		if (dnsd->newcomers[i].last < oldest->last)
			oldest = &dnsd->newcomers[i];
	}
	return oldest;
}

/* Until when queries of this address wait, boot time; 0: they do not, because the facts have not
 * named it in time. */
static uint64_t wait_until(struct dnsd *dnsd, uint32_t address, uint64_t now)
{
	struct newcomer *newcomer = find_newcomer(dnsd, address);

	if (newcomer->address != address || now - newcomer->last > DEFER_FORGET_USEC) {
		newcomer->address = address;
		newcomer->first = now;
	}
	newcomer->last = now;
	return now - newcomer->first < DEFER_USEC ? newcomer->first + DEFER_USEC : 0;
}

static size_t count_of(const struct dnsd *dnsd, uint32_t address)
{
	const struct deferred_query *query;
	size_t count = 0;

	TAILQ_FOREACH (query, &dnsd->deferred, by_age)
		count += query->address == address;
	return count;
}

static void arm(struct dnsd *dnsd)
{
	const struct deferred_query *query;
	uint64_t earliest = UINT64_MAX, now = boot_now_usec();

	TAILQ_FOREACH (query, &dnsd->deferred, by_age)
		earliest = MIN2(earliest, query->deadline);
	if (earliest == UINT64_MAX)
		timer_disarm(dnsd->defer_timer);
	else
		timer_arm(dnsd->defer_timer, earliest > now ? earliest - now : 0);
}

static void remove_query(struct dnsd *dnsd, struct deferred_query *query)
{
	TAILQ_REMOVE(&dnsd->deferred, query, by_age);
	dnsd->n_deferred--;
	free(query->wire);
	free(query);
}

/* Answers those that need not wait any longer. */
static void answer_due(struct dnsd *dnsd)
{
	const struct zone *zone = dnsd_zone(dnsd);
	struct deferred_query *query = TAILQ_FIRST(&dnsd->deferred), *next;
	uint64_t now = boot_now_usec();

	for (; query; query = next) {
		next = TAILQ_NEXT(query, by_age);
		if (query->deadline > now && zone && !zone_host(zone, query->address))
			continue;
		query_answer_later(dnsd, &query->client, query->wire, query->size);
		remove_query(dnsd, query);
	}
	arm(dnsd);
}

static void on_timer(void *userdata)
{
	answer_due(userdata);
}

bool defer_query(struct dnsd *dnsd, const struct client *client, uint32_t address,
		 const uint8_t *wire, size_t size)
{
	uint64_t now = boot_now_usec(), deadline = wait_until(dnsd, address, now);
	struct deferred_query *query;

	if (!deadline || dnsd->n_deferred >= DEFER_MAX ||
	    count_of(dnsd, address) >= DEFER_MAX_OF_ADDRESS)
		return false;
	query = xcalloc(1, sizeof(*query));
	query->client = *client;
	query->address = address;
	query->deadline = deadline;
	query->wire = xmemdup(wire, size);
	query->size = size;
	TAILQ_INSERT_TAIL(&dnsd->deferred, query, by_age);
	dnsd->n_deferred++;
	if (!dnsd->defer_timer)
		dnsd->defer_timer = timer_new(dnsd->loop, on_timer, dnsd);
	arm(dnsd);
	return true;
}

void defer_settled(struct dnsd *dnsd)
{
	if (dnsd->n_deferred)
		answer_due(dnsd);
}

void defer_free(struct dnsd *dnsd)
{
	while (dnsd->n_deferred)
		remove_query(dnsd, TAILQ_FIRST(&dnsd->deferred));
	timer_free(steal(dnsd->defer_timer));
}
