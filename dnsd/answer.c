/* Answer (pure): a query's bytes in, the answer's bytes out. */
#include "dnsd/dnsd.h"

#include <stdio.h>

#include <libknot/rrtype/opt.h>

/* \5ployz\10internal */
static const uint8_t apex[] = "\005ployz\010internal";
/* mname ployz.internal., rname hostmaster.ployz.internal. */
static const uint8_t hostmaster[] = "\012hostmaster\005ployz\010internal";

struct answer {
	const struct zone *zone;
	const struct answer_caller *caller;
	const knot_pkt_t *query;
	knot_pkt_t *pkt;
	struct name name;
	struct lookup lookup;
	uint16_t type;
};

/* Appends a record whose data is on the stack: libknot copies it. A record that does not fit sets
 * TC; an `extra` one is left out instead. */
static int put(struct answer *a, const uint8_t *owner, uint16_t hint, uint16_t type,
	       const uint8_t *data, uint16_t size, bool extra)
{
	_Alignas(knot_rdata_t) uint8_t buffer[sizeof(knot_rdata_t) + 1024];
	knot_rdata_t *rdata = (knot_rdata_t *)buffer;
	knot_dname_storage_t name;
	knot_rrset_t rr;

	if (size > 1024 || knot_dname_to_wire(name, owner, sizeof(name)) < 0)
		return KNOT_EINVAL;
	knot_rdata_init(rdata, size, data);
	knot_rrset_init(&rr, name, type, KNOT_CLASS_IN, DNSD_TTL);
	rr.rrs.count = 1;
	rr.rrs.size = (uint32_t)knot_rdata_size(size);
	rr.rrs.rdata = rdata;
	return knot_pkt_put(a->pkt, hint, &rr, extra ? KNOT_PF_NOTRUNC : KNOT_PF_NULL);
}

static int put_here(struct answer *a, uint16_t type, const uint8_t *data, uint16_t size)
{
	return put(a, knot_pkt_qname(a->query), KNOT_COMPR_HINT_QNAME, type, data, size, false);
}

static int put_address(struct answer *a, const uint8_t *owner, uint16_t hint, uint32_t address,
		       bool extra)
{
	uint8_t data[4];

	knot_wire_write_u32(data, address);
	return put(a, owner, hint, KNOT_RRTYPE_A, data, sizeof(data), extra);
}

static void put_soa(struct answer *a)
{
	uint8_t data[sizeof(apex) + sizeof(hostmaster) + 20], *at = data;

	memcpy(at, apex, sizeof(apex));
	at += sizeof(apex);
	memcpy(at, hostmaster, sizeof(hostmaster));
	at += sizeof(hostmaster);
	/* The zone has no transfers, so the serial is constant. A negative answer is valid for the
	 * last of these numbers: a name may exist a second later. */
	static const uint32_t numbers[] = { 1, 3600, 600, 86400, DNSD_TTL };
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++, at += 4)
		knot_wire_write_u32(at, numbers[i]);
	put(a, apex, KNOT_COMPR_HINT_NONE, KNOT_RRTYPE_SOA, data, (uint16_t)(at - data), false);
}

/* One string of a TXT record: its length and the text, truncated to 255 bytes. */
static void text_add(uint8_t *data, uint16_t *size, const char *key, const char *value)
{
	char text[256];
	int length = snprintf(text, sizeof(text), "%s=%s", key, value);

	if (length < 0)
		return;
	length = MIN2(length, 255);
	data[(*size)++] = (uint8_t)length;
	memcpy(data + *size, text, (size_t)length);
	*size = (uint16_t)(*size + length);
}

static void put_text(struct answer *a)
{
	const struct lookup *lookup = &a->lookup;
	uint8_t data[1024];
	uint16_t size = 0;
	char number[64];

	if (lookup->verdict == LOOKUP_SERVICE) {
		bool committed = lookup->set == LOOKUP_COMMITTED;
		const char *deploy = committed ? lookup->ns->deploy : lookup->ns->open;

		text_add(data, &size, "deploy", deploy ? deploy : "");
		snprintf(number, sizeof(number), "%lld", (long long)lookup->ns->revision);
		/* An open deploy has no revision yet. */
		if (committed)
			text_add(data, &size, "revision", number);
		snprintf(number, sizeof(number), "%zu/%zu", lookup->service->n_ready,
			 lookup->service->n_slots);
		text_add(data, &size, "ready", number);
	} else {
		text_add(data, &size, "instance", lookup->slot->instance);
		text_add(data, &size, "machine", lookup->slot->machine);
		text_add(data, &size, "state",
			 lookup->slot->state < 0 ? "unknown"
						 : instance_state_names[lookup->slot->state]);
	}
	put_here(a, KNOT_RRTYPE_TXT, data, size);
}

/* The slot at this position of the rotated order. */
static const struct zone_slot *rotated(const struct answer *a, size_t at)
{
	const struct zone_service *service = a->lookup.service;

	return &service->slots[(at + a->caller->rotation) % service->n_slots];
}

static void put_addresses(struct answer *a)
{
	for (size_t i = 0; i < a->lookup.service->n_slots; i++) {
		const struct zone_slot *slot = rotated(a, i);

		if (lookup_has(&a->lookup, slot) &&
		    put_address(a, knot_pkt_qname(a->query), KNOT_COMPR_HINT_QNAME, slot->address,
				false) != KNOT_EOK)
			return;
	}
}

static bool target(const struct answer *a, const struct zone_slot *slot,
		   uint8_t ret[KNOT_DNAME_MAXLEN])
{
	char text[256];

	snprintf(text, sizeof(text), "%lld.%s.%s.ployz.internal", (long long)slot->slot,
		 a->lookup.service->name, a->lookup.ns->ns);
	return name_write(text, ret);
}

static void put_services(struct answer *a)
{
	uint8_t data[6 + KNOT_DNAME_MAXLEN];

	for (size_t i = 0; i < a->lookup.service->n_slots; i++) {
		const struct zone_slot *slot = rotated(a, i);

		if (!lookup_has(&a->lookup, slot) || !target(a, slot, data + 6))
			continue;
		knot_wire_write_u16(data, 0);
		knot_wire_write_u16(data + 2, 1);
		knot_wire_write_u16(data + 4, (uint16_t)a->lookup.port->port);
		if (put_here(a, KNOT_RRTYPE_SRV, data, (uint16_t)(6 + knot_dname_size(data + 6))) !=
		    KNOT_EOK)
			return;
	}
}

static void put_targets(struct answer *a)
{
	uint8_t owner[KNOT_DNAME_MAXLEN];

	knot_pkt_begin(a->pkt, KNOT_ADDITIONAL);
	for (size_t i = 0; i < a->lookup.service->n_slots; i++) {
		const struct zone_slot *slot = rotated(a, i);

		if (lookup_has(&a->lookup, slot) && target(a, slot, owner) &&
		    put_address(a, owner, KNOT_COMPR_HINT_NONE, slot->address, true) != KNOT_EOK)
			return;
	}
}

static void put_reverse(struct answer *a)
{
	uint8_t data[KNOT_DNAME_MAXLEN];
	char text[256];

	snprintf(text, sizeof(text), "%lld.%s.%s.ployz.internal", (long long)a->lookup.host->slot,
		 a->lookup.host->service, a->lookup.host->ns->ns);
	if (name_write(text, data))
		put_here(a, KNOT_RRTYPE_PTR, data, (uint16_t)knot_dname_size(data));
}

static void put_apex(struct answer *a)
{
	if (a->type == KNOT_RRTYPE_SOA)
		put_soa(a);
	else if (a->type == KNOT_RRTYPE_NS)
		put_here(a, KNOT_RRTYPE_NS, apex, sizeof(apex));
	else if (a->type == KNOT_RRTYPE_A && a->caller->self)
		put_address(a, knot_pkt_qname(a->query), KNOT_COMPR_HINT_QNAME, a->caller->self,
			    false);
}

/* Fills the answer section; it stays empty where the name has no records of this type. */
static void fill(struct answer *a)
{
	static const uint8_t hinfo[] = "\007RFC8482"; /* and an empty string: its zero byte */

	if (a->type == KNOT_RRTYPE_ANY) {
		put_here(a, KNOT_RRTYPE_HINFO, hinfo, sizeof(hinfo));
		return;
	}
	switch ((enum lookup_verdict)a->lookup.verdict) {
	case LOOKUP_APEX:
		put_apex(a);
		break;
	case LOOKUP_SERVICE:
		if (a->type == KNOT_RRTYPE_A)
			put_addresses(a);
		else if (a->type == KNOT_RRTYPE_TXT)
			put_text(a);
		break;
	case LOOKUP_SLOT:
		if (a->type == KNOT_RRTYPE_A && lookup_has(&a->lookup, a->lookup.slot))
			put_address(a, knot_pkt_qname(a->query), KNOT_COMPR_HINT_QNAME,
				    a->lookup.slot->address, false);
		else if (a->type == KNOT_RRTYPE_TXT)
			put_text(a);
		break;
	case LOOKUP_PORT:
		if (a->type == KNOT_RRTYPE_SRV)
			put_services(a);
		break;
	case LOOKUP_REVERSE:
		if (a->type == KNOT_RRTYPE_PTR)
			put_reverse(a);
		break;
	default:
		break;
	}
}

static void write_zone(struct answer *a)
{
	knot_wire_set_aa(a->pkt->wire);
	if (!lookup_exists(&a->lookup)) {
		knot_wire_set_rcode(a->pkt->wire, KNOT_RCODE_NXDOMAIN);
		knot_pkt_begin(a->pkt, KNOT_AUTHORITY);
		put_soa(a);
		return;
	}
	knot_pkt_begin(a->pkt, KNOT_ANSWER);
	fill(a);
	if (knot_wire_get_ancount(a->pkt->wire) == 0 && !knot_wire_get_tc(a->pkt->wire)) {
		knot_pkt_begin(a->pkt, KNOT_AUTHORITY);
		put_soa(a);
	} else if (a->lookup.verdict == LOOKUP_PORT && a->type == KNOT_RRTYPE_SRV) {
		put_targets(a);
	}
}

/* The OPT record fits: its space was reserved before anything was written. */
static void write_opt(struct answer *a, uint8_t extended)
{
	uint8_t opt[KNOT_EDNS_MIN_SIZE] = { 0 };

	knot_wire_write_u16(opt + 1, KNOT_RRTYPE_OPT);
	knot_wire_write_u16(opt + 3, DNSD_UDP_MAX);
	opt[KNOT_EDNS_EXT_RCODE_POS] = extended;
	if (knot_edns_do(a->query->opt_rr))
		opt[7] = 0x80;
	memcpy(a->pkt->wire + a->pkt->size, opt, sizeof(opt));
	a->pkt->size += sizeof(opt);
	knot_wire_add_arcount(a->pkt->wire, 1);
}

/* Returns the extended rcode; -1: forward. */
static int respond(struct answer *a)
{
	uint16_t class = knot_pkt_qclass(a->query);

	if (!a->caller->allowed || class != KNOT_CLASS_IN)
		return KNOT_RCODE_REFUSED;
	if (knot_pkt_has_edns(a->query) &&
	    knot_edns_get_version(a->query->opt_rr) != KNOT_EDNS_VERSION)
		return KNOT_RCODE_BADVERS;
	if (a->type == KNOT_RRTYPE_AXFR || a->type == KNOT_RRTYPE_IXFR)
		return KNOT_RCODE_REFUSED;
	name_parse(knot_pkt_qname(a->query), &a->name);
	lookup(a->zone, &a->caller->caller, &a->name, &a->lookup);
	if (a->lookup.verdict == LOOKUP_FORWARD)
		return -1;
	/* A name whose head cannot be decoded must not be denied. */
	if (!a->caller->loaded || a->lookup.verdict == LOOKUP_UNKNOWN)
		return KNOT_RCODE_SERVFAIL;
	write_zone(a);
	return knot_wire_get_rcode(a->pkt->wire);
}

static size_t client_limit(const knot_pkt_t *query, bool tcp, size_t max)
{
	size_t size = DNSD_UDP_MIN;

	if (tcp)
		return UINT16_MAX;
	if (knot_pkt_has_edns(query))
		size = MAX2(size, (size_t)knot_edns_get_payload(query->opt_rr));
	return MIN2(size, max);
}

static enum answer_verdict answer_parsed(struct answer *a, uint8_t *out, size_t *ret_size)
{
	bool edns = knot_pkt_has_edns(a->query);
	int rcode;

	a->type = knot_pkt_qtype(a->query);
	a->pkt = knot_pkt_new(out, (uint16_t)client_limit(a->query, a->caller->tcp, DNSD_UDP_MAX),
			      NULL);
	if (!a->pkt)
		mem_exhausted();
	knot_pkt_init_response(a->pkt, a->query);
	knot_wire_set_ra(a->pkt->wire);
	if (edns)
		knot_pkt_reserve(a->pkt, KNOT_EDNS_MIN_SIZE);
	rcode = respond(a);
	if (rcode >= 0) {
		knot_wire_set_rcode(a->pkt->wire, KNOT_EDNS_RCODE_LO(rcode));
		if (edns)
			write_opt(a, (uint8_t)KNOT_EDNS_RCODE_HI(rcode));
		*ret_size = a->pkt->size;
	} else {
		*ret_size = client_limit(a->query, a->caller->tcp, DNSD_PACKET);
	}
	knot_pkt_free(a->pkt);
	return rcode < 0 ? ANSWER_FORWARD : ANSWER_SEND;
}

enum answer_verdict answer_make(const struct zone *zone, const struct answer_caller *caller,
				const uint8_t *query, size_t size, uint8_t *out, size_t *ret_size)
{
	struct answer a = { .zone = zone, .caller = caller };
	enum answer_verdict verdict = ANSWER_SEND;
	knot_pkt_t *parsed;

	if (size < KNOT_WIRE_HEADER_SIZE || size > UINT16_MAX || knot_wire_get_qr(query))
		return ANSWER_DROP;
	if (knot_wire_get_opcode(query) != KNOT_OPCODE_QUERY) {
		*ret_size = answer_refuse(query, 0, KNOT_RCODE_NOTIMPL, false, out);
		return ANSWER_SEND;
	}
	/* libknot parses in place; KEEPWIRE leaves the bytes as they are. */
	parsed = knot_pkt_new((void *)query, (uint16_t)size, NULL);
	if (!parsed)
		mem_exhausted();
	if (knot_pkt_parse(parsed, KNOT_PF_KEEPWIRE) != KNOT_EOK ||
	    knot_wire_get_qdcount(query) != 1) {
		*ret_size = answer_refuse(query, size, KNOT_RCODE_FORMERR, false, out);
	} else {
		a.query = parsed;
		verdict = answer_parsed(&a, out, ret_size);
	}
	knot_pkt_free(parsed);
	return verdict;
}

size_t answer_refuse(const uint8_t *query, size_t size, uint8_t rcode, bool truncated, uint8_t *out)
{
	size_t question = 0;
	int length;

	memset(out, 0, KNOT_WIRE_HEADER_SIZE);
	memcpy(out, query, 3);
	knot_wire_set_qr(out);
	knot_wire_clear_aa(out);
	knot_wire_clear_tc(out);
	knot_wire_set_ra(out);
	if (truncated)
		knot_wire_set_tc(out);
	knot_wire_set_rcode(out, rcode);
	if (size > KNOT_WIRE_HEADER_SIZE && knot_wire_get_qdcount(query) >= 1) {
		length = knot_dname_wire_check(query + KNOT_WIRE_HEADER_SIZE, query + size, NULL);
		if (length > 0 && KNOT_WIRE_HEADER_SIZE + (size_t)length + 4 <= size)
			question = (size_t)length + 4;
	}
	if (question) {
		memcpy(out + KNOT_WIRE_HEADER_SIZE, query + KNOT_WIRE_HEADER_SIZE, question);
		knot_wire_set_qdcount(out, 1);
	}
	return KNOT_WIRE_HEADER_SIZE + question;
}
