#include "dnsd/dnsd.h"

/* Loopback is this machine's operator; containers are known by their address; nobody else is
 * answered. */
static void who(const struct dnsd *dnsd, const struct client *client, struct answer_caller *ret)
{
	const struct zone_host *host;
	uint32_t address;

	ret->allowed = place_is_loopback(&client->from);
	if (ret->allowed || !place_ipv4(&client->from, &address))
		return;
	ret->allowed = zone_is_inside(dnsd->zone, address);
	host = ret->allowed ? zone_host(dnsd->zone, address) : NULL;
	ret->ns = host ? host->ns->ns : NULL;
}

bool ask(struct dnsd *dnsd, const struct client *client, const uint8_t *wire, size_t size,
	 uint8_t *out, size_t *ret_size)
{
	struct answer_caller caller = {
		.tcp = client->connection != 0,
		.loaded = dnsd->loaded,
		.rotate = dnsd->rotate++,
		.self = dnsd->bridge,
	};

	who(dnsd, client, &caller);
	switch (answer_make(dnsd->zone, &caller, wire, size, out, ret_size)) {
	case ANSWER_SEND:
		dnsd->counts.answered++;
		return true;
	case ANSWER_FORWARD:
		if (!dnsd->forward->n_upstreams) {
			*ret_size = answer_refuse(wire, size, KNOT_RCODE_REFUSED, false, out);
			return true;
		}
		dnsd->counts.forwarded++;
		upstream_ask(dnsd, client, wire, size, *ret_size);
		return false;
	case ANSWER_DROP:
		break;
	}
	dnsd->counts.dropped++;
	return false;
}

void ask_answered(struct dnsd *dnsd, const struct client *client, const uint8_t *wire, size_t size)
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
