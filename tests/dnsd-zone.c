/* zone, name and lookup: entries in, answers out. */
#include "dnsd/dnsd.h"
#include "tests/tap.h"

#define SLOT(n, id, address) \
	"{\"slot\":" #n ",\"instance\":\"" id "\",\"machine\":\"m1\",\"address\":\"" address "\"}"
#define FACT(n, id, state, address)                                                  \
	"{\"id\":\"" id "\",\"namespace\":\"shop\",\"service\":\"web\",\"slot\":" #n \
	",\"state\":\"" state "\",\"address\":\"" address "\"}"
#define FACTS(list) "{\"machine\":\"m1\",\"namespace\":\"shop\",\"instances\":[" list "]}"

#define HEAD(services) \
	"{\"namespace\":\"shop\",\"revision\":3,\"deploy\":\"d3\",\"services\":[" services "]}"
#define SUBNET "\"subnet\":\"10.101.1.0/24\"}"
#define MEMBER_M1 "ployz.v1.intent.member.m1"
#define HEAD_SHOP "ployz.v1.intent.namespace.shop"
#define FACTS_M1 "ployz.v1.facts.m1.shop"
#define FACTS_M2 "ployz.v1.facts.m2.shop"

static const char head[] =
	HEAD("{\"name\":\"web\",\"ports\":{\"http\":{\"port\":8080},\"stat\":{\"port\":8125,"
	     "\"protocol\":\"udp\"}},\"slots\":[" SLOT(0, "a", "10.101.1.2") "," SLOT(
		     1, "b", "10.101.1.3") "," SLOT(2, "c", "10.101.1.4") "]}");

static int take(struct zone *zone, const char *subject, const char *data)
{
	int r = zone_entry(zone, subject, 12, data, data ? strlen(data) : 0);

	zone_apply(zone, NULL);
	zone_settle(zone);
	return r;
}

static void test_names(void)
{
	static const struct {
		const char *text;
		int kind;
		const char *service, *ns;
	} rows[] = {
		{ "web", NAME_SERVICE, "web", "" },
		{ "web.ployz.internal", NAME_SERVICE, "web", "" },
		{ "web.shop.ployz.internal", NAME_SERVICE, "web", "shop" },
		{ "0.web.ployz.internal", NAME_SLOT, "web", "" },
		{ "12.web.shop.ployz.internal", NAME_SLOT, "web", "shop" },
		{ "_http._tcp.web.shop.ployz.internal", NAME_PORT, "web", "shop" },
		{ "_http._udp.web.ployz.internal", NAME_PORT, "web", "" },
		{ "_tcp.web.shop.ployz.internal", NAME_PROTOCOL, "web", "shop" },
		{ "ployz.internal", NAME_APEX, "", "" },
		{ "0.ployz.internal", NAME_INVALID, NULL, NULL },
		{ "_http.web.shop.ployz.internal", NAME_INVALID, NULL, NULL },
		{ "_http._sctp.web.shop.ployz.internal", NAME_INVALID, NULL, NULL },
		{ "a.b.web.shop.ployz.internal", NAME_INVALID, NULL, NULL },
		{ "a.b.c.d.e.f.web.shop.ployz.internal", NAME_INVALID, NULL, NULL },
		{ "we\\000b.shop.ployz.internal", NAME_INVALID, NULL, NULL },
		{ "-web.shop.ployz.internal", NAME_INVALID, NULL, NULL },
		{ "7", NAME_INVALID, NULL, NULL },
		{ "_tcp", NAME_INVALID, NULL, NULL },
		{ ".", NAME_FOREIGN, "", "" },
		{ "example.org", NAME_FOREIGN, "", "" },
		{ "internal", NAME_SERVICE, "internal", "" },
		{ "xployz.internal", NAME_FOREIGN, "", "" },
		{ "ployz.internal.example.org", NAME_FOREIGN, "", "" },
		{ "2.1.101.10.in-addr.arpa", NAME_REVERSE, "", "" },
		{ "1.101.10.in-addr.arpa", NAME_FOREIGN, "", "" },
		{ "256.1.101.10.in-addr.arpa", NAME_FOREIGN, "", "" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint8_t wire[KNOT_DNAME_MAXLEN];
		struct name name = { 0 };
		bool good = name_write(rows[i].text, wire);

		if (good)
			name_parse(wire, &name);
		good = good && name.kind == rows[i].kind &&
		       (!rows[i].service ||
			(streq(name.service, rows[i].service) && streq(name.ns, rows[i].ns)));
		ok(good, "name %s", rows[i].text);
	}
}

static int verdict(const struct zone *zone, const char *ns, const char *text)
{
	const struct caller caller = { .ns = ns };
	uint8_t wire[KNOT_DNAME_MAXLEN];
	struct lookup found;
	struct name name;
	char *why;

	name_write(text, wire);
	name_parse(wire, &name);
	lookup(zone, &caller, &name, &found);
	why = lookup_why(&found, &name, &caller, KNOT_RRTYPE_A);
	if (!why || !*why)
		return -1;
	free(why);
	return found.verdict;
}

static void test_verdicts(const struct zone *zone)
{
	static const struct {
		const char *ns, *text;
		int verdict;
	} rows[] = {
		{ NULL, "web.shop.ployz.internal", LOOKUP_SERVICE },
		{ "shop", "web", LOOKUP_SERVICE },
		{ "shop", "web.ployz.internal", LOOKUP_SERVICE },
		{ NULL, "web", LOOKUP_NO_CALLER },
		{ "blog", "web", LOOKUP_NO_SERVICE },
		{ "shop", "nix", LOOKUP_NO_SERVICE },
		{ NULL, "web.nix.ployz.internal", LOOKUP_NO_NAMESPACE },
		{ NULL, "2.web.shop.ployz.internal", LOOKUP_SLOT },
		{ NULL, "3.web.shop.ployz.internal", LOOKUP_NO_SLOT },
		{ NULL, "_http._tcp.web.shop.ployz.internal", LOOKUP_PORT },
		{ NULL, "_8080._tcp.web.shop.ployz.internal", LOOKUP_PORT },
		{ NULL, "_stat._udp.web.shop.ployz.internal", LOOKUP_PORT },
		{ NULL, "_stat._tcp.web.shop.ployz.internal", LOOKUP_NO_PORT },
		{ NULL, "_tcp.web.shop.ployz.internal", LOOKUP_EMPTY },
		{ NULL, "shop.ployz.internal", LOOKUP_EMPTY },
		{ "shop", "shop", LOOKUP_NO_SERVICE },
		{ NULL, "2.1.101.10.in-addr.arpa", LOOKUP_REVERSE },
		{ NULL, "99.1.101.10.in-addr.arpa", LOOKUP_NO_HOST },
		{ NULL, "99.1.102.10.in-addr.arpa", LOOKUP_FORWARD },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		is_int(verdict(zone, rows[i].ns, rows[i].text), rows[i].verdict, rows[i].text);
}

static size_t ready(const struct zone *zone)
{
	const struct zone_namespace *ns = zone_find(zone, "shop");
	const struct zone_service *service = ns ? zone_service(ns, "web") : NULL;

	return service ? service->n_ready : 99;
}

static const struct zone_service *web(const struct zone *zone)
{
	return zone_service(zone_find(zone, "shop"), "web");
}

static void test_facts(struct zone *zone)
{
	uint32_t bridge;

	is_int((long long)ready(zone), 0, "a head without facts has no ready instance");
	take(zone, FACTS_M1,
	     FACTS(FACT(0, "a", "ready", "10.101.1.2") "," FACT(
		     1, "b", "unready", "10.101.1.3") "," FACT(9, "x", "ready", "10.101.1.9")));
	is_int((long long)ready(zone), 1, "only a ready instance that the head names");
	ok(zone_slot(web(zone), 0)->ready && !zone_slot(web(zone), 1)->ready, "slot by slot");
	ok(zone_host(zone, 0x0a650109) && zone_host(zone, 0x0a650109)->role == ZONE_OTHER,
	   "an instance that the head does not name has its address");
	take(zone, FACTS_M2, FACTS(FACT(7, "old", "unready", "10.101.1.2")));
	is_int(zone_host(zone, 0x0a650102)->slot, 0, "of two with one address, the ready one");
	take(zone, FACTS_M2, FACTS(FACT(7, "old", "ready", "10.101.1.2")));
	is_int(zone_host(zone, 0x0a650102)->slot, 0, "of two ready ones, the committed one");
	take(zone, FACTS_M2, FACTS(FACT(0, "a", "ready", "10.101.1.66")));
	is_int(zone_slot(web(zone), 0)->address, 0x0a650102,
	       "another machine's fact about an instance does not count");
	take(zone, FACTS_M2, NULL);
	take(zone, FACTS_M1,
	     FACTS(FACT(0, "a", "ready", "10.101.1.7") "," FACT(1, "b", "ready", "")));
	is_int(zone_slot(web(zone), 0)->address, 0x0a650107, "the address of the fact");
	ok(!zone_host(zone, 0x0a650102), "the old address is free");
	take(zone, FACTS_M1, FACTS(FACT(0, "a", "gone", "10.101.1.7")));
	ok(!zone_host(zone, 0x0a650107) && ready(zone) == 0, "an instance that is gone");
	ok(zone_bridge(zone, "m1", &bridge) && bridge == 0x0a650101,
	   "the bridge has the first address of the subnet");
	ok(!zone_bridge(zone, "m2", &bridge), "a machine without a record has none");
}

/* Facts of a removed member count as absent, in whatever order the entries arrive. */
static void test_removed(struct zone *zone)
{
	static const char removed[] = "{\"id\":\"m1\",\"life_cycle\":\"removed\"," SUBNET;

	take(zone, FACTS_M1, FACTS(FACT(0, "a", "ready", "10.101.1.2")));
	is_int((long long)ready(zone), 1, "a member's facts");
	take(zone, MEMBER_M1, removed);
	is_int((long long)ready(zone), 0, "a removed member's facts");
	ok(!zone_host(zone, 0x0a650102), "nor has its instance an address");
	ok(!zone_is_inside(zone, 0x0a650105), "nor is its subnet allowed");
	take(zone, FACTS_M1, FACTS(FACT(1, "b", "ready", "10.101.1.3")));
	is_int((long long)ready(zone), 0, "facts that arrive after its removal");
	is_int(take(zone, FACTS_M1, "{"), -EBADMSG, "an undecodable one");
	ok(zone_error(zone, FACTS_M1) && !zone_held(zone, "shop"), "holds nothing back");
	take(zone, MEMBER_M1, "{\"id\":\"m1\",\"life_cycle\":\"active\"," SUBNET);
	is_int((long long)ready(zone), 1, "facts of a member that is admitted again");
	ok(zone_held(zone, "shop"), "and their error counts");
	take(zone, FACTS_M1, NULL);
	ok(!zone_error(zone, FACTS_M1), "an entry that is gone has no error");
}

static void test_errors(struct zone *zone)
{
	take(zone, FACTS_M1, FACTS(FACT(0, "a", "ready", "10.101.1.2")));
	is_int(take(zone, FACTS_M1, "{\"x"), -EBADMSG, "facts that cannot be decoded");
	is_int((long long)ready(zone), 1, "leave the last good ones");
	is_int(take(zone, HEAD_SHOP, "{\"namespace\":\"shop\",\"revision\":\"x\"}"), -EBADMSG,
	       "a head that cannot be decoded");
	is_int((long long)ready(zone), 1, "leaves the last good one");
	is(zone_error(zone, HEAD_SHOP),
	   "entry 12 on ployz.v1.intent.namespace.shop: revision: must be a whole number, not a "
	   "string",
	   "its error names entry, field and reason");
	ok(zone_held(zone, "shop"), "and holds the namespace back");
	ok(!zone_held(zone, "blog"), "but no other namespace");
	ok(zone_held(zone, NULL), "all namespaces together are held back");
	is_int(take(zone, HEAD_SHOP, head), 1, "a good head");
	ok(!zone_error(zone, HEAD_SHOP), "has no error");
	ok(zone_held(zone, "shop") == zone_error(zone, FACTS_M1), "the facts still have theirs");
	take(zone, FACTS_M1, FACTS(FACT(0, "a", "ready", "10.101.1.2")));
	ok(!zone_held(zone, NULL), "until good ones arrive");
	is_int(take(zone, MEMBER_M1, "{\"id\":\"m1\",\"life_cycle\":\"active\",\"subnet\":\"x\"}"),
	       -EBADMSG, "a member whose subnet cannot be parsed");
	is(zone_error(zone, MEMBER_M1),
	   "entry 12 on ployz.v1.intent.member.m1: subnet: 'x' is not an IPv4 network", "is named");
	ok(zone_is_inside(zone, 0x0a650105), "its last good record counts");
	ok(!zone_held(zone, "shop") && zone_held(zone, NULL), "a member is no namespace's item");
	take(zone, MEMBER_M1, "{\"id\":\"m1\",\"life_cycle\":\"active\"," SUBNET);
	is_int(take(zone, "ployz.v1.facts.m1", "{"), 0, "a subject that the zone does not need");
}

/* A head that was never decoded: nothing can be denied. */
static void test_unknown(struct zone *zone)
{
	take(zone, "ployz.v1.intent.namespace.news", "{\"namespace\":7}");
	is_int(verdict(zone, NULL, "web.news.ployz.internal"), LOOKUP_UNKNOWN,
	       "a namespace whose only head cannot be decoded");
	is_int(verdict(zone, "news", "web"), LOOKUP_UNKNOWN, "the same from inside");
	is_int(zone_restore(zone, "ployz.v1.intent.namespace.news", "{", 1), -EBADMSG,
	       "a stored entry that cannot be decoded either");
	zone_restore(zone, "ployz.v1.intent.namespace.news", head, strlen(head));
	zone_settle(zone);
	is_int(verdict(zone, NULL, "web.news.ployz.internal"), LOOKUP_SERVICE,
	       "a stored entry is its last good one");
	ok(zone_held(zone, "news"), "the error stays");
	take(zone, "ployz.v1.intent.namespace.news", NULL);
	is_int(verdict(zone, NULL, "web.news.ployz.internal"), LOOKUP_NO_NAMESPACE,
	       "a namespace that is gone");
}

#define HEAD_OF(deploy, facts)                                                      \
	"{\"namespace\":\"shop\",\"revision\":1,\"generation\":1,\"facts\":" #facts \
	",\"deploy\":\"" deploy "\"}"

static void take_head(struct zone *zone, const char *head_text, int64_t generation, int64_t facts)
{
	const struct watermark applied = { .generation = generation, .facts = facts };

	if (head_text)
		zone_entry(zone, HEAD_SHOP, 1, head_text, strlen(head_text));
	zone_apply(zone, &applied);
	zone_settle(zone);
}

/* The streams of heads and of facts have no common order: a head waits for the facts that it relies
 * on. */
static void test_waiting(void)
{
	static const struct {
		const char *what;
		int64_t generation, facts;
		bool waits;
	} rows[] = {
		{ "the facts are not applied yet", 1, 6, true },
		{ "they are", 1, 7, false },
		{ "facts of another generation are not compared", 2, 3, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct zone *zone = zone_new();

		take_head(zone, HEAD_OF("d1", 5), 1, 5);
		is(zone_find(zone, "shop")->deploy, "d1", "a head whose facts are applied");
		ok(!zone_waits(zone, "shop") && !zone_waits(zone, NULL), "takes effect");
		take_head(zone, HEAD_OF("d2", 7), 1, 6);
		is(zone_find(zone, "shop")->deploy, "d1", "one whose facts are not waits");
		ok(zone_waits(zone, "shop") && zone_waits(zone, NULL), "and is known to wait");
		ok(!zone_waits(zone, "blog"), "no other namespace waits");
		take_head(zone, NULL, rows[i].generation, rows[i].facts);
		is(zone_find(zone, "shop")->deploy, rows[i].waits ? "d1" : "d2", rows[i].what);
		is_int(zone_waits(zone, "shop"), rows[i].waits, "it waits, or it does not");
		take_head(zone, HEAD_OF("d3", 6), 1, 6);
		is(zone_find(zone, "shop")->deploy, "d3", "the last one counts");
		take_head(zone, HEAD_OF("d4", 9), 1, 6);
		take(zone, HEAD_SHOP, NULL);
		ok(!zone_find(zone, "shop") && !zone_waits(zone, NULL), "with its subject it goes");
		zone_free(zone);
	}
}

/* A first head that waits: nothing can be denied until it, or a stored one, takes effect. */
static void test_first_waits(void)
{
	static const char stored[] = HEAD_OF("d0", 3);
	struct zone *zone = zone_new();

	take_head(zone, HEAD_OF("d1", 5), 1, 4);
	is_int(verdict(zone, NULL, "web.shop.ployz.internal"), LOOKUP_UNKNOWN, "unknown");
	zone_restore(zone, HEAD_SHOP, stored, strlen(stored));
	take_head(zone, NULL, 1, 4);
	is(zone_find(zone, "shop")->deploy, "d0", "a stored head is in effect meanwhile");
	ok(zone_waits(zone, "shop"), "while the first one waits");
	take_head(zone, NULL, 1, 5);
	is(zone_find(zone, "shop")->deploy, "d1", "until the facts are applied");
	zone_free(zone);
}

/* 2,000 slots on one machine: a rebuild is linear in their number. */
static void test_size(void)
{
	struct strbuf slots = STRBUF_INIT, facts = STRBUF_INIT;
	struct zone *zone = zone_new();
	uint64_t started;

	strbuf_puts(&slots, "{\"namespace\":\"shop\",\"revision\":1,\"services\":[{\"name\":"
			    "\"web\",\"slots\":[");
	strbuf_puts(&facts, "{\"machine\":\"m1\",\"namespace\":\"shop\",\"instances\":[");
	for (int i = 0; i < MANIFEST_MAX_SLOTS; i++) {
		strbuf_printf(&slots,
			      "%s{\"slot\":%d,\"instance\":\"shop-web-%d-d\","
			      "\"machine\":\"m1\"}",
			      i ? "," : "", i, i);
		strbuf_printf(&facts,
			      "%s{\"id\":\"shop-web-%d-d\",\"namespace\":\"shop\",\"service\":"
			      "\"web\",\"slot\":%d,\"state\":\"ready\",\"address\":"
			      "\"10.101.%d.%d\"}",
			      i ? "," : "", i, i, 1 + i / 250, 2 + i % 250);
	}
	strbuf_puts(&slots, "]}]}");
	strbuf_puts(&facts, "]}");
	zone_entry(zone, HEAD_SHOP, 1, slots.text, slots.size);
	zone_entry(zone, FACTS_M1, 2, facts.text, facts.size);
	started = boot_now_usec();
	zone_apply(zone, NULL);
	zone_settle(zone);
	ok(boot_now_usec() - started < 250000 && ready(zone) == MANIFEST_MAX_SLOTS,
	   "2,000 slots: rebuilt in %llu us", (unsigned long long)(boot_now_usec() - started));
	strbuf_clear(&slots);
	strbuf_clear(&facts);
	zone_free(zone);
}

int main(void)
{
	struct zone *zone = zone_new();

	test_names();
	take(zone, MEMBER_M1, "{\"id\":\"m1\",\"life_cycle\":\"active\"," SUBNET);
	take(zone, HEAD_SHOP, head);
	take(zone, "ployz.v1.intent.namespace.blog", "{\"namespace\":\"blog\",\"revision\":1}");
	take(zone, FACTS_M1, FACTS(FACT(0, "a", "ready", "10.101.1.2")));
	test_verdicts(zone);
	take(zone, FACTS_M1, NULL);
	test_facts(zone);
	test_removed(zone);
	test_errors(zone);
	test_unknown(zone);
	take(zone, FACTS_M1, NULL);
	take(zone, HEAD_SHOP, NULL);
	ok(!zone_find(zone, "shop"), "a namespace that is gone");
	zone_free(zone);
	test_waiting();
	test_first_waits();
	test_size();
	return tap_done();
}
