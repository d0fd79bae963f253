/* Forward (pure): the queries that are pending at upstreams. */
#include "dnsd/dnsd.h"

#include <ctype.h>

struct forward *forward_new(struct address *upstreams, size_t count)
{
	struct forward *forward = xcalloc(1, sizeof(*forward));

	forward->upstreams = upstreams;
	forward->n_upstreams = count;
	forward->next_id = 1;
	TAILQ_INIT(&forward->queries);
	return forward;
}

void forward_remove(struct forward *forward, struct forward_query *query)
{
	TAILQ_REMOVE(&forward->queries, query, by_age);
	forward->count--;
	free(query->wire);
	free(query->io);
	free(query);
}

void forward_free(struct forward *forward)
{
	if (!forward)
		return;
	while (!TAILQ_EMPTY(&forward->queries))
		forward_remove(forward, TAILQ_FIRST(&forward->queries));
	free(forward->upstreams);
	free(forward);
}

struct forward_query *forward_add(struct forward *forward, const struct client *client,
				  const uint8_t *wire, size_t size, size_t limit, uint16_t wire_id)
{
	struct forward_query *query;
	int length =
		size > KNOT_WIRE_HEADER_SIZE
			? knot_dname_wire_check(wire + KNOT_WIRE_HEADER_SIZE, wire + size, NULL)
			: 0;

	if (length <= 0 || KNOT_WIRE_HEADER_SIZE + (size_t)length + 4 > size)
		return NULL;
	query = xcalloc(1, sizeof(*query));
	query->id = forward->next_id++;
	query->client = *client;
	query->client_id = knot_wire_get_id(wire);
	query->wire_id = wire_id;
	query->wire = xmemdup(wire, size);
	query->size = size;
	query->question = (size_t)length + 4;
	query->limit = limit;
	query->tcp = client->connection != 0;
	query->at = forward->first;
	query->tries = 1;
	query->fd = -1;
	knot_wire_set_id(query->wire, wire_id);
	TAILQ_INSERT_TAIL(&forward->queries, query, by_age);
	forward->count++;
	return query;
}

struct forward_query *forward_surplus(const struct forward *forward)
{
	return forward->count >= FORWARD_MAX ? TAILQ_FIRST(&forward->queries) : NULL;
}

/* The name may differ in case; type and class may not differ. */
static bool same_question(const struct forward_query *query, const uint8_t *wire)
{
	const uint8_t *ours = query->wire + KNOT_WIRE_HEADER_SIZE,
		      *theirs = wire + KNOT_WIRE_HEADER_SIZE;
	size_t name = query->question - 4;

	/* tolower() does not change a label's length: it is below 'A'. */
	for (size_t i = 0; i < name; i++)
		if (tolower(ours[i]) != tolower(theirs[i]))
			return false;
	return memcmp(ours + name, theirs + name, 4) == 0;
}

enum forward_verdict forward_judge(const struct forward *forward, const struct forward_query *query,
				   const uint8_t *wire, size_t size)
{
	uint8_t rcode;

	if (size < KNOT_WIRE_HEADER_SIZE || !knot_wire_get_qr(wire) ||
	    knot_wire_get_id(wire) != query->wire_id)
		return FORWARD_IGNORE;
	rcode = knot_wire_get_rcode(wire);
	/* A server that cannot parse the query may omit the question. */
	if (knot_wire_get_qdcount(wire) == 0 && rcode != KNOT_RCODE_NOERROR)
		return FORWARD_NEXT;
	if (knot_wire_get_qdcount(wire) != 1 || size < KNOT_WIRE_HEADER_SIZE + query->question ||
	    !same_question(query, wire))
		return FORWARD_IGNORE;
	if (knot_wire_get_tc(wire) && !query->tcp)
		return FORWARD_USE_TCP;
	if ((rcode == KNOT_RCODE_SERVFAIL || rcode == KNOT_RCODE_REFUSED) &&
	    query->tries < forward->n_upstreams)
		return FORWARD_NEXT;
	return FORWARD_ANSWER;
}

bool forward_next(const struct forward *forward, struct forward_query *query)
{
	if (query->tries >= MAX2((size_t)FORWARD_TRIES, forward->n_upstreams))
		return false;
	query->tries++;
	query->at = (query->at + 1) % forward->n_upstreams;
	return true;
}

uint64_t forward_deadline(const struct forward *forward)
{
	const struct forward_query *query;
	uint64_t earliest = 0;

	TAILQ_FOREACH (query, &forward->queries, by_age)
		if (query->deadline && (!earliest || query->deadline < earliest))
			earliest = query->deadline;
	return earliest;
}
