/* The log's entries as the resolver takes them, whatever stands in them, and what it answers
 * afterwards.
 *
 * Steps of one byte: an entry (as text, or made of the bytes that follow), the end of a turn, or a
 * question. covers: dnsd/zone.c dnsd/look.c dnsd/answer.c dnsd/name.c options: -max_len=2048 */
#include "dnsd/dnsd.h"
#include "tests/fuzz/generate.h"

#define STEPS_MAX 12

static const struct {
	const char *subject;
	const struct codec_schema *schema;
} kinds[] = {
	{ "ployz.v1.intent.namespace.shop", &head_schema },
	{ "ployz.v1.intent.instances.m1.shop", &instances_schema },
	{ "ployz.v1.intent.instances.x-1.shop", &instances_schema },
	{ "ployz.v1.intent.machine.m1", &machine_schema },
	{ "ployz.v1.intent.namespace.web", &head_schema },
	{ "ployz.v1.intent.instances.m1.web", &instances_schema },
	{ "ployz.v1.intent.machine.x-1", &machine_schema },
	{ "ployz.v1.status.deploy.shop.d1", &deploy_schema },
};

static const struct {
	const char *name;
	uint16_t type;
} questions[] = {
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
	zone_entry(zone, kinds[kind].subject, text, text ? strlen(text) : 0);
}

static void holds_packet(uint8_t *wire, size_t size)
{
	knot_pkt_t *parsed = knot_pkt_new(wire, (uint16_t)size, NULL);

	HOLDS(knot_pkt_parse(parsed, 0) == KNOT_EOK);
	knot_pkt_free(parsed);
}

static void put_question(const struct zone *zone, uint8_t which, uint8_t flags)
{
	const char *name = questions[which].name, *ns = flags & 1 ? "shop" : NULL;
	struct answer_caller caller = {
		.ns = ns, .allowed = true, .loaded = true, .tcp = flags & 2, .rotate = flags
	};
	static uint8_t out[UINT16_MAX];
	uint8_t query[KNOT_WIRE_HEADER_SIZE + KNOT_DNAME_MAXLEN + 4] = { 1, 2, 1, 0, 0, 1 };
	uint8_t *at = query + KNOT_WIRE_HEADER_SIZE;
	size_t size, answered;
	struct name parsed;
	struct look look;
	char *why;

	HOLDS(name_write(name, at));
	name_parse(at, &parsed);
	look_up(zone, ns, &parsed, &look);
	why = look_why(&look, &parsed, ns, questions[which].type);
	HOLDS(why && *why);
	free(why);
	size = knot_dname_size(at);
	knot_wire_write_u16(at + size, questions[which].type);
	knot_wire_write_u16(at + size + 2, KNOT_CLASS_IN);
	size += KNOT_WIRE_HEADER_SIZE + 4;
	/* A zone that lies inside no machine's network knows nothing of its addresses. */
	if (answer_make(zone, &caller, query, size, out, &answered) != ANSWER_SEND) {
		HOLDS(look.verdict == LOOK_FORWARD);
		return;
	}
	HOLDS(answered <= (caller.tcp ? UINT16_MAX : DNSD_UDP_LEAST));
	HOLDS(look_exists(&look) == (knot_wire_get_rcode(out) == KNOT_RCODE_NOERROR));
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
			zone_settle(zone);
		} else {
			zone_settle(zone);
			put_question(zone, step % ARRAY_SIZE(questions), cursor_byte(&c));
		}
	}
	zone_settle(zone);
	HOLDS(zone_settle(zone) == 0);
	zone_bridge(zone, "m1", &bridge);
	return 0;
}
