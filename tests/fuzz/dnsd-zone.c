/* Entries of the store with any contents, and the resolver's answers afterwards.
 *
 * Steps of one byte: an entry (text, or made of the bytes that follow), a rebuild, or a query of
 * any caller.
 *
 * covers: dnsd/zone.c dnsd/lookup.c dnsd/answer.c dnsd/name.c
 * options: -max_len=2048 */
#include "dnsd/dnsd.h"
#include "tests/fuzz/generate.h"

#define STEPS_MAX 12

static const struct {
	const char *subject;
	const struct codec_schema *schema;
} kinds[] = {
	{ "ployz.v1.intent.namespace.shop", &head_schema },
	{ "ployz.v1.facts.m1.shop", &instances_schema },
	{ "ployz.v1.facts.x-1.shop", &instances_schema },
	{ "ployz.v1.intent.member.m1", &member_schema },
	{ "ployz.v1.intent.namespace.web", &head_schema },
	{ "ployz.v1.facts.m1.web", &instances_schema },
	{ "ployz.v1.intent.member.x-1", &member_schema },
	{ "ployz.v1.status.deploy.shop.d1", &deploy_schema },
};

static const struct {
	const char *name;
	uint16_t type;
} queries[] = {
	{ "web.shop.ployz.internal", KNOT_RRTYPE_A },
	{ "web.shop.ployz.internal", KNOT_RRTYPE_TXT },
	{ "0.web.shop.ployz.internal", KNOT_RRTYPE_A },
	{ "0.web.shop.ployz.internal", KNOT_RRTYPE_TXT },
	{ "_http._tcp.web.shop.ployz.internal", KNOT_RRTYPE_SRV },
	{ "_80._tcp.http.shop.ployz.internal", KNOT_RRTYPE_SRV },
	{ "web.ployz.internal", KNOT_RRTYPE_A },
	{ "web.web.ployz.internal", KNOT_RRTYPE_TXT },
	{ "2.1.101.10.in-addr.arpa", KNOT_RRTYPE_PTR },
	{ "3.1.101.10.in-addr.arpa", KNOT_RRTYPE_PTR },
};

static void take_entry(struct zone *zone, struct cursor *c, uint8_t kind)
{
	uint8_t way = cursor_byte(c) % 8;
	_cleanup_json_ json_t *json = NULL;
	_cleanup_free_ char *text = NULL;

	if (way == 0)
		text = cursor_string(c);
	else if (way > 1)
		json = generate(c, kinds[kind].schema);
	if (json)
		text = json_text(json);
	if (way == 7)
		zone_restore(zone, kinds[kind].subject, text, text ? strlen(text) : 0);
	else
		zone_entry(zone, kinds[kind].subject, 1, text, text ? strlen(text) : 0);
}

static void holds_packet(uint8_t *wire, size_t size)
{
	knot_pkt_t *parsed = knot_pkt_new(wire, (uint16_t)size, NULL);

	HOLDS(knot_pkt_parse(parsed, 0) == KNOT_EOK);
	knot_pkt_free(parsed);
}

static void put_query(const struct zone *zone, uint8_t which, uint8_t flags)
{
	const char *name = queries[which].name;
	struct answer_caller caller = { .caller = { .ns = flags & 1 ? "shop" : NULL,
						    .candidate = (flags & 5) == 5 },
					.allowed = true,
					.loaded = true,
					.tcp = flags & 2,
					.rotation = flags };
	static uint8_t out[UINT16_MAX];
	uint8_t query[KNOT_WIRE_HEADER_SIZE + KNOT_DNAME_MAXLEN + 4] = { 1, 2, 1, 0, 0, 1 };
	uint8_t *at = query + KNOT_WIRE_HEADER_SIZE;
	size_t size, answered;
	struct name parsed;
	struct lookup found;
	char *why;

	HOLDS(name_write(name, at));
	name_parse(at, &parsed);
	lookup(zone, &caller.caller, &parsed, &found);
	why = lookup_why(&found, &parsed, &caller.caller, queries[which].type);
	HOLDS(why && *why);
	free(why);
	size = knot_dname_size(at);
	knot_wire_write_u16(at + size, queries[which].type);
	knot_wire_write_u16(at + size + 2, KNOT_CLASS_IN);
	size += KNOT_WIRE_HEADER_SIZE + 4;
	/* Reverse names outside of every subnet are forwarded. */
	if (answer_make(zone, &caller, query, size, out, &answered) != ANSWER_SEND) {
		HOLDS(found.verdict == LOOKUP_FORWARD);
		return;
	}
	HOLDS(answered <= (caller.tcp ? UINT16_MAX : DNSD_UDP_MIN));
	HOLDS(lookup_exists(&found) == (knot_wire_get_rcode(out) == KNOT_RCODE_NOERROR));
	holds_packet(out, answered);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cursor c = { data, data + size };
	_cleanup_(zone_freep) struct zone *zone = zone_new();
	uint32_t bridge;

	for (int steps = 0; cursor_left(&c) && steps < STEPS_MAX; steps++) {
		uint8_t step = cursor_byte(&c);

		if (step < 128) {
			take_entry(zone, &c, step % ARRAY_SIZE(kinds));
		} else if (step < 160) {
			const struct watermark applied = { .facts = step % 4 };

			zone_apply(zone, step % 8 < 4 ? &applied : NULL);
			zone_settle(zone);
		} else {
			zone_settle(zone);
			put_query(zone, step % ARRAY_SIZE(queries), cursor_byte(&c));
		}
	}
	zone_apply(zone, NULL);
	HOLDS(!zone_waits(zone, NULL));
	zone_settle(zone);
	HOLDS(zone_settle(zone) == 0);
	zone_bridge(zone, "m1", &bridge);
	return 0;
}
