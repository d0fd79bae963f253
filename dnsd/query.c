/* Query: identifies the client, answers from the zone or forwards, and sends forwarded answers. */
#include "dnsd/dnsd.h"

/* Loopback is this machine's operator. */
void query_identify(const struct zone *zone, const struct client *client, struct answer_caller *ret)
{
	const struct zone_host *host;
	uint32_t address;

	ret->allowed = address_is_loopback(&client->from);
	if (ret->allowed || !address_ipv4(&client->from, &address))
		return;
	ret->allowed = zone_is_inside(zone, address);
	host = ret->allowed ? zone_host(zone, address) : NULL;
	if (!host)
		return;
	ret->caller.ns = host->ns->ns;
	ret->caller.candidate = host->role == ZONE_CANDIDATE;
}

/* A container of this machine that no fact names yet; *ret is its address. The bridge's own address
 * is the machine's. */
static bool is_newcomer(const struct dnsd *dnsd, const struct zone *zone,
			const struct client *client, const struct answer_caller *caller,
			uint32_t *ret)
{
	return caller->allowed && !caller->caller.ns && !address_is_loopback(&client->from) &&
	       address_ipv4(&client->from, ret) && *ret != dnsd->bridge &&
	       zone_is_on(zone, dnsd->machine, *ret);
}

/* Whether an answer is to be sent now. */
static bool answer(struct dnsd *dnsd, const struct client *client, bool may_defer,
		   const uint8_t *wire, size_t size, uint8_t *out, size_t *ret_size)
{
	const struct zone *zone = dnsd_zone(dnsd);
	struct answer_caller caller = {
		.tcp = client->connection != 0,
		.loaded = zone != NULL,
		.rotation = dnsd->rotation++,
		.self = dnsd->bridge,
	};
	uint32_t address;

	if (!zone)
		zone = dnsd->zone;
	query_identify(zone, client, &caller);
	switch (answer_make(zone, &caller, wire, size, out, ret_size)) {
	case ANSWER_SEND:
		/* Only an answer of the zone is authoritative. */
		if (may_defer && knot_wire_get_aa(out) &&
		    is_newcomer(dnsd, zone, client, &caller, &address) &&
		    defer_query(dnsd, client, address, wire, size))
			return false;
		dnsd->counts.answered++;
		return true;
	case ANSWER_FORWARD:
		if (!dnsd->forward->n_upstreams) {
			*ret_size = answer_refuse(wire, size, KNOT_RCODE_REFUSED, false, out);
			return true;
		}
		dnsd->counts.forwarded++;
		upstream_query(dnsd, client, wire, size, *ret_size);
		return false;
	case ANSWER_DROP:
		break;
	}
	dnsd->counts.dropped++;
	return false;
}

bool query_answer(struct dnsd *dnsd, const struct client *client, const uint8_t *wire, size_t size,
		  uint8_t *out, size_t *ret_size)
{
	return answer(dnsd, client, true, wire, size, out, ret_size);
}

void query_answer_later(struct dnsd *dnsd, const struct client *client, const uint8_t *wire,
			size_t size)
{
	uint8_t out[UINT16_MAX];
	size_t answered;

	if (answer(dnsd, client, false, wire, size, out, &answered))
		query_answered(dnsd, client, out, answered);
}

void query_answered(struct dnsd *dnsd, const struct client *client, const uint8_t *wire,
		    size_t size)
{
	int fd;

	if (client->connection) {
		tcp_send(dnsd, client->connection, wire, size);
		return;
	}
	fd = listen_socket(dnsd, client->listener);
	if (fd >= 0)
		udp_send(fd, &client->from, wire, size);
}
