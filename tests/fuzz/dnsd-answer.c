/* A client's packet, and the resolver's answer to it.
 *
 * The first two bytes are the client and the transport; the rest is the packet.
 * covers: dnsd/answer.c dnsd/name.c dnsd/lookup.c
 * options: -max_len=600 */
#include "dnsd/dnsd.h"
#include "tests/fuzz/fuzz.h"

#define FACT_OF(service, n, id, deploy, state, address)                                      \
	"{\"id\":\"" id "\",\"namespace\":\"shop\",\"service\":\"" service "\",\"slot\":" #n \
	",\"deploy\":\"" deploy "\",\"state\":\"" state "\",\"address\":\"" address          \
	"\",\"ports\":{\"http\":{\"port\":81}}}"
#define FACT(n, id, state, address) FACT_OF("web", n, id, "d3", state, address)
#define SLOT(n, id) "{\"slot\":" #n ",\"instance\":\"" id "\",\"machine\":\"m1\"}"

static const struct {
	const char *subject, *data;
} entries[] = {
	{ "ployz.v1.intent.member.m1",
	  "{\"id\":\"m1\",\"life_cycle\":\"active\",\"subnet\":\"10.101.1.0/24\"}" },
	{ "ployz.v1.intent.namespace.shop",
	  "{\"namespace\":\"shop\",\"revision\":3,\"deploy\":\"d3\",\"open\":{\"deploy\":\"d4\","
	  "\"epoch\":4},\"services\":[{\"name\":\"web\",\"ports\":{\"http\":{\"port\":80},\"dns\":{"
	  "\"port\":53,\"protocol\":\"udp\"}},\"slots\":[" SLOT(0, "a") "," SLOT(1, "b") "," SLOT(
		  2, "c") "]}]}" },
	{ "ployz.v1.facts.m1.shop",
	  "{\"machine\":\"m1\",\"namespace\":\"shop\",\"instances\":[" FACT(0, "a", "ready", "10.101.1.2") "," FACT(
		  1, "b", "ready",
		  "10.101.1.3") "," FACT(2, "c", "unready",
					 "10.101.1.4") "," FACT_OF("web", 2, "e", "d4", "starting",
								   "10.101.1.6") "," FACT_OF("db",
											     0, "f",
											     "d4",
											     "unrea"
											     "dy",
											     "10."
											     "101."
											     "1.7") "," FACT_OF("db",
														-1,
														"g",
														"d4",
														"starting",
														"10.101.1.8") "]}" },
};

static struct zone *make_zone(void)
{
	struct zone *zone = zone_new();

	for (size_t i = 0; i < ARRAY_SIZE(entries); i++)
		HOLDS(zone_entry(zone, entries[i].subject, i + 1, entries[i].data,
				 strlen(entries[i].data)) == 1);
	zone_apply(zone, NULL);
	zone_settle(zone);
	return zone;
}

/* Other software parses it as well. */
static void holds_packet(const uint8_t *wire, size_t size)
{
	_cleanup_free_ uint8_t *copy = xmemdup(wire, size);
	knot_pkt_t *parsed = knot_pkt_new(copy, (uint16_t)size, NULL);

	HOLDS(parsed && knot_pkt_parse(parsed, 0) == KNOT_EOK);
	knot_pkt_free(parsed);
}

static void holds_answer(const struct answer_caller *caller, const uint8_t *query,
			 const uint8_t *out, size_t size)
{
	HOLDS(size >= KNOT_WIRE_HEADER_SIZE);
	HOLDS(knot_wire_get_qr(out) && knot_wire_get_ra(out));
	HOLDS(knot_wire_get_id(out) == knot_wire_get_id(query));
	HOLDS(knot_wire_get_opcode(out) == knot_wire_get_opcode(query));
	HOLDS(knot_wire_get_rd(out) == knot_wire_get_rd(query));
	holds_packet(out, size);
	if (!caller->allowed)
		HOLDS(!knot_wire_get_ancount(out) && !knot_wire_get_nscount(out));
	if (!caller->allowed || !caller->loaded)
		HOLDS(knot_wire_get_rcode(out) != KNOT_RCODE_NXDOMAIN);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct zone *zone;
	struct cursor c = { data, data + size };
	uint8_t flags = cursor_byte(&c);
	struct answer_caller caller = {
		.caller = { .ns = flags & 1   ? "shop"
				  : flags & 2 ? "nix"
					      : NULL,
			    .candidate = (flags & 65) == 65 },
		.allowed = !(flags & 4),
		.tcp = flags & 8,
		.loaded = !(flags & 16),
		.rotation = cursor_byte(&c),
		.self = flags & 32 ? 0x0a650101 : 0,
	};
	size_t asked = cursor_left(&c), answered = 0, room = caller.tcp ? UINT16_MAX : DNSD_UDP_MAX;
	_cleanup_free_ uint8_t *query = xmalloc(asked), *out = xmalloc(room);

	if (!zone)
		zone = make_zone();
	memcpy(query, c.at, asked);
	switch (answer_make(zone, &caller, query, asked, out, &answered)) {
	case ANSWER_DROP:
		HOLDS(asked < KNOT_WIRE_HEADER_SIZE || knot_wire_get_qr(query));
		break;
	case ANSWER_FORWARD:
		HOLDS(caller.allowed);
		HOLDS(caller.tcp ? answered == UINT16_MAX
				 : answered >= DNSD_UDP_MIN && answered <= DNSD_PACKET);
		break;
	case ANSWER_SEND:
		HOLDS(answered <= room);
		holds_answer(&caller, query, out, answered);
		break;
	}
	HOLDS(!asked || memcmp(query, c.at, asked) == 0);
	return 0;
}
