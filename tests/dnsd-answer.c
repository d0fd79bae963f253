/* answer: packets in, packets out: sizes, truncation, and bytes that are not a packet. */
#include "dnsd/dnsd.h"
#include "tests/tap.h"

#define SLOTS 100

static struct zone *make_zone(void)
{
	struct zone *zone = zone_new();
	struct strbuf head = STRBUF_INIT, facts = STRBUF_INIT;

	strbuf_puts(&head, "{\"namespace\":\"shop\",\"revision\":1,\"deploy\":\"d\",\"services\":[{"
			   "\"name\":\"web\",\"ports\":{\"http\":{\"port\":80}},\"slots\":[");
	strbuf_puts(&facts, "{\"machine\":\"m\",\"namespace\":\"shop\",\"instances\":[");
	for (int i = 0; i < SLOTS; i++) {
		strbuf_printf(&head, "%s{\"slot\":%d,\"instance\":\"i%d\",\"machine\":\"m\"}",
			      i ? "," : "", i, i);
		strbuf_printf(
			&facts,
			"%s{\"id\":\"i%d\",\"namespace\":\"shop\",\"service\":\"web\",\"slot\":%d,"
			"\"state\":\"ready\",\"address\":\"10.101.1.%d\"}",
			i ? "," : "", i, i, i + 2);
	}
	strbuf_puts(&head, "]}]}");
	strbuf_puts(&facts, "]}");
	zone_entry(zone, "ployz.v1.intent.namespace.shop", 1, head.text, head.size);
	zone_entry(zone, "ployz.v1.facts.m.shop", 2, facts.text, facts.size);
	zone_entry(zone, "ployz.v1.intent.namespace.news", 3, "{", 1);
	zone_apply(zone, NULL);
	zone_settle(zone);
	strbuf_clear(&head);
	strbuf_clear(&facts);
	return zone;
}

static size_t make_query(const char *name, uint16_t type, int payload, uint8_t *wire)
{
	knot_pkt_t *pkt = knot_pkt_new(wire, 512, NULL);
	uint8_t dname[KNOT_DNAME_MAXLEN];
	size_t size;

	memset(wire, 0, KNOT_WIRE_HEADER_SIZE);
	name_write(name, dname);
	knot_wire_set_id(pkt->wire, 0x1234);
	knot_pkt_put_question(pkt, dname, KNOT_CLASS_IN, type);
	size = pkt->size;
	knot_pkt_free(pkt);
	if (payload) {
		uint8_t opt[11] = { 0, 0, 41, (uint8_t)(payload >> 8), (uint8_t)payload };

		memcpy(wire + size, opt, sizeof(opt));
		size += sizeof(opt);
		knot_wire_set_arcount(wire, 1);
	}
	return size;
}

static void test_sizes(const struct zone *zone)
{
	static const struct {
		const char *what, *name;
		uint16_t type;
		int payload;
		bool tcp;
		size_t most;
		bool cut;
		unsigned answers; /* 0: as many as fit */
	} rows[] = {
		{ "one slot", "1.web.shop.ployz.internal", KNOT_RRTYPE_A, 0, false, 512, false, 1 },
		{ "without EDNS", "web.shop.ployz.internal", KNOT_RRTYPE_A, 0, false, 512, true,
		  0 },
		{ "a tiny EDNS size", "web.shop.ployz.internal", KNOT_RRTYPE_A, 100, false, 512,
		  true, 0 },
		{ "a huge EDNS size", "web.shop.ployz.internal", KNOT_RRTYPE_A, 65000, false, 1232,
		  true, 0 },
		{ "TCP", "web.shop.ployz.internal", KNOT_RRTYPE_A, 0, true, 65535, false, SLOTS },
		{ "SRV, cut", "_http._tcp.web.shop.ployz.internal", KNOT_RRTYPE_SRV, 1232, false,
		  1232, true, 0 },
		{ "SRV over TCP", "_http._tcp.web.shop.ployz.internal", KNOT_RRTYPE_SRV, 0, true,
		  65535, false, SLOTS },
	};
	static uint8_t query[600], out[65535];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct answer_caller caller = { .allowed = true,
						.tcp = rows[i].tcp,
						.loaded = true };
		size_t size = 0,
		       asked = make_query(rows[i].name, rows[i].type, rows[i].payload, query);
		int verdict = answer_make(zone, &caller, query, asked, out, &size);
		knot_pkt_t *parsed = knot_pkt_new(out, (uint16_t)size, NULL);
		unsigned count;

		ok(verdict == ANSWER_SEND && size <= rows[i].most &&
			   knot_pkt_parse(parsed, 0) == KNOT_EOK,
		   "%s: %zu bytes, a whole packet", rows[i].what, size);
		count = knot_wire_get_ancount(out);
		ok(rows[i].answers ? count == rows[i].answers : count > 0 && count < SLOTS,
		   "%s: %u answers", rows[i].what, count);
		is_int(!!knot_wire_get_tc(out), rows[i].cut, rows[i].what);
		is_int(knot_pkt_has_edns(parsed), rows[i].payload != 0, rows[i].what);
		knot_pkt_free(parsed);
	}
}

static void test_rules(const struct zone *zone)
{
	static const struct {
		const char *what, *name;
		uint16_t type;
		bool allowed, loaded;
		int verdict, rcode;
	} rows[] = {
		{ "strangers", "web.shop.ployz.internal", KNOT_RRTYPE_A, false, true, ANSWER_SEND,
		  KNOT_RCODE_REFUSED },
		{ "strangers, other zones", "example.org", KNOT_RRTYPE_A, false, true, ANSWER_SEND,
		  KNOT_RCODE_REFUSED },
		{ "a head that cannot be decoded", "web.news.ployz.internal", KNOT_RRTYPE_A, true,
		  true, ANSWER_SEND, KNOT_RCODE_SERVFAIL },
		{ "before the first load", "web.shop.ployz.internal", KNOT_RRTYPE_A, true, false,
		  ANSWER_SEND, KNOT_RCODE_SERVFAIL },
		{ "other zones before the first load", "example.org", KNOT_RRTYPE_A, true, false,
		  ANSWER_FORWARD, 0 },
		{ "a transfer", "ployz.internal", KNOT_RRTYPE_AXFR, true, true, ANSWER_SEND,
		  KNOT_RCODE_REFUSED },
		{ "an unknown type", "web.shop.ployz.internal", 65280, true, true, ANSWER_SEND,
		  KNOT_RCODE_NOERROR },
		{ "an unknown name", "nix.shop.ployz.internal", KNOT_RRTYPE_A, true, true,
		  ANSWER_SEND, KNOT_RCODE_NXDOMAIN },
		{ "a single label", "nix", KNOT_RRTYPE_A, true, true, ANSWER_SEND,
		  KNOT_RCODE_NXDOMAIN },
	};
	static uint8_t query[600], out[65535];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct answer_caller caller = { .allowed = rows[i].allowed,
						.loaded = rows[i].loaded };
		size_t size = 0, asked = make_query(rows[i].name, rows[i].type, 0, query);
		int verdict = answer_make(zone, &caller, query, asked, out, &size);

		ok(verdict == rows[i].verdict &&
			   (verdict != ANSWER_SEND || knot_wire_get_rcode(out) == rows[i].rcode),
		   "%s", rows[i].what);
	}
}

/* Every cut of a good packet, and every single byte of it changed: an answer or none, never
 * more. */
static void test_damage(const struct zone *zone)
{
	struct answer_caller caller = { .allowed = true, .loaded = true };
	uint8_t query[600], damaged[600], out[DNSD_UDP_MAX];
	size_t asked = make_query("web.shop.ployz.internal", KNOT_RRTYPE_A, 1232, query), size;
	static const uint8_t header[KNOT_WIRE_HEADER_SIZE] = { 0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1 };
	unsigned wrong = 0, rounds = 0;

	for (size_t cut = 0; cut < asked; cut++) {
		int verdict = answer_make(zone, &caller, query, cut, out, &size);

		wrong += cut < KNOT_WIRE_HEADER_SIZE
				 ? verdict != ANSWER_DROP
				 : verdict != ANSWER_SEND ||
					   knot_wire_get_rcode(out) != KNOT_RCODE_FORMERR;
	}
	is_int(wrong, 0, "each cut: FORMERR, and silence without a whole header");
	for (size_t at = 0; at < asked; at++) {
		for (int value = 0; value < 256; value++) {
			memcpy(damaged, query, asked);
			damaged[at] = (uint8_t)value;
			rounds++;
			size = 0;
			if (answer_make(zone, &caller, damaged, asked, out, &size) == ANSWER_SEND &&
			    (size < KNOT_WIRE_HEADER_SIZE || size > DNSD_UDP_MAX ||
			     !knot_wire_get_qr(out)))
				wrong++;
		}
	}
	ok(rounds && !wrong, "%u packets with one byte changed", rounds);
	srandom(1);
	for (int round = 0; round < 200000; round++) {
		size_t length = (size_t)random() % 200;

		for (size_t i = 0; i < length; i++)
			damaged[i] = (uint8_t)random();
		if (round % 2 && length > 12)
			memcpy(damaged, header, sizeof(header));
		answer_make(zone, &caller, damaged, length, out, &size);
	}
	ok(true, "noise");
}

int main(void)
{
	struct zone *zone = make_zone();

	test_sizes(zone);
	test_rules(zone);
	test_damage(zone);
	zone_free(zone);
	return tap_done();
}
