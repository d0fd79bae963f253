/* zone, name and look: heads and facts in, who is who out. */
#include "dnsd/dnsd.h"
#include "tests/tap.h"

#define SLOT(n, id, address) \
	"{\"slot\":" #n ",\"instance\":\"" id "\",\"machine\":\"m1\",\"address\":\"" address "\"}"
#define FACT(n, id, state, address)                                                  \
	"{\"id\":\"" id "\",\"namespace\":\"shop\",\"service\":\"web\",\"slot\":" #n \
	",\"state\":\"" state "\",\"address\":\"" address "\"}"
#define FACTS(list) "{\"machine\":\"m1\",\"namespace\":\"shop\",\"instances\":[" list "]}"

static const char head[] =
	"{\"namespace\":\"shop\",\"revision\":3,\"deploy\":\"d3\",\"manifest\":{\"namespace\":"
	"\"shop\",\"services\":"
	"{\"web\":{\"image\":\"x\",\"replicas\":3,\"ports\":{\"http\":{\"port\":8080},\"stat\":{"
	"\"port\":8125,"
	"\"protocol\":\"udp\"}}}}},\"services\":[{\"name\":\"web\",\"slots\":[" SLOT(
		0, "a", "10.101.1.2") "," SLOT(1, "b", "10.101.1.3") "," SLOT(2, "c",
									      "10.101.1.4") "]}]}";

static void take(struct zone *zone, const char *subject, const char *data)
{
	zone_entry(zone, subject, data, data ? strlen(data) : 0);
	zone_settle(zone);
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
		{ "0.ployz.internal", NAME_STRANGE, NULL, NULL },
		{ "_http.web.shop.ployz.internal", NAME_STRANGE, NULL, NULL },
		{ "_http._sctp.web.shop.ployz.internal", NAME_STRANGE, NULL, NULL },
		{ "a.b.web.shop.ployz.internal", NAME_STRANGE, NULL, NULL },
		{ "a.b.c.d.e.f.web.shop.ployz.internal", NAME_STRANGE, NULL, NULL },
		{ "we\\000b.shop.ployz.internal", NAME_STRANGE, NULL, NULL },
		{ "-web.shop.ployz.internal", NAME_STRANGE, NULL, NULL },
		{ "7", NAME_STRANGE, NULL, NULL },
		{ "_tcp", NAME_STRANGE, NULL, NULL },
		{ ".", NAME_ELSEWHERE, "", "" },
		{ "example.org", NAME_ELSEWHERE, "", "" },
		{ "internal", NAME_SERVICE, "internal", "" },
		{ "xployz.internal", NAME_ELSEWHERE, "", "" },
		{ "ployz.internal.example.org", NAME_ELSEWHERE, "", "" },
		{ "2.1.101.10.in-addr.arpa", NAME_REVERSE, "", "" },
		{ "1.101.10.in-addr.arpa", NAME_ELSEWHERE, "", "" },
		{ "256.1.101.10.in-addr.arpa", NAME_ELSEWHERE, "", "" },
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

static int look_for(const struct zone *zone, const char *ns, const char *text, struct look *look)
{
	uint8_t wire[KNOT_DNAME_MAXLEN];
	struct name name;
	char *why;

	name_write(text, wire);
	name_parse(wire, &name);
	look_up(zone, ns, &name, look);
	why = look_why(look, &name, ns, KNOT_RRTYPE_A);
	if (!why || !*why)
		return -1;
	free(why);
	return look->verdict;
}

static void test_looks(const struct zone *zone)
{
	static const struct {
		const char *ns, *text;
		int verdict;
	} rows[] = {
		{ NULL, "web.shop.ployz.internal", LOOK_SERVICE },
		{ "shop", "web", LOOK_SERVICE },
		{ "shop", "web.ployz.internal", LOOK_SERVICE },
		{ NULL, "web", LOOK_NO_CALLER },
		{ "blog", "web", LOOK_NO_SERVICE },
		{ "shop", "nix", LOOK_NO_SERVICE },
		{ NULL, "web.nix.ployz.internal", LOOK_NO_NAMESPACE },
		{ NULL, "2.web.shop.ployz.internal", LOOK_SLOT },
		{ NULL, "3.web.shop.ployz.internal", LOOK_NO_SLOT },
		{ NULL, "_http._tcp.web.shop.ployz.internal", LOOK_PORT },
		{ NULL, "_8080._tcp.web.shop.ployz.internal", LOOK_PORT },
		{ NULL, "_stat._udp.web.shop.ployz.internal", LOOK_PORT },
		{ NULL, "_stat._tcp.web.shop.ployz.internal", LOOK_NO_PORT },
		{ NULL, "_tcp.web.shop.ployz.internal", LOOK_EMPTY },
		{ NULL, "shop.ployz.internal", LOOK_EMPTY },
		{ "shop", "shop", LOOK_NO_SERVICE },
		{ NULL, "2.1.101.10.in-addr.arpa", LOOK_REVERSE },
		{ NULL, "99.1.101.10.in-addr.arpa", LOOK_NO_HOST },
		{ NULL, "99.1.102.10.in-addr.arpa", LOOK_FORWARD },
	};
	struct look look;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		is_int(look_for(zone, rows[i].ns, rows[i].text, &look), rows[i].verdict,
		       rows[i].text);
}

static size_t ready(const struct zone *zone)
{
	const struct zone_namespace *ns = zone_find(zone, "shop");
	const struct zone_service *service = ns ? zone_service(ns, "web") : NULL;

	return service ? service->n_ready : 99;
}

static void test_facts(struct zone *zone)
{
	static const char subject[] = "ployz.v1.intent.instances.m1.shop";
	const struct zone_service *web;
	uint32_t bridge;

	is_int((long long)ready(zone), 0, "a head without facts has nobody ready");
	take(zone, subject,
	     FACTS(FACT(0, "a", "ready", "10.101.1.2") "," FACT(
		     1, "b", "unready", "10.101.1.3") "," FACT(9, "x", "ready", "10.101.1.9")));
	is_int((long long)ready(zone), 1, "ready and committed, nothing else");
	web = zone_service(zone_find(zone, "shop"), "web");
	ok(zone_slot(web, 0)->ready && !zone_slot(web, 1)->ready, "slot by slot");
	ok(zone_host(zone, 0x0a650109) && !zone_host(zone, 0x0a650109)->committed,
	   "a candidate may ask, too");
	take(zone, "ployz.v1.intent.instances.m2.shop",
	     "{\"machine\":\"m2\",\"namespace\":\"shop\",\"instances\":[" FACT(7, "old", "unready",
									       "10.101.1.2") "]}");
	is_int(zone_host(zone, 0x0a650102)->slot, 0, "two claim an address: the ready one has it");
	take(zone, "ployz.v1.intent.instances.m2.shop", NULL);
	take(zone, subject,
	     FACTS(FACT(0, "a", "ready", "10.101.1.7") "," FACT(1, "b", "ready", "")));
	web = zone_service(zone_find(zone, "shop"), "web");
	is_int(zone_slot(web, 0)->address, 0x0a650107, "the fact's address wins");
	ok(!zone_host(zone, 0x0a650102), "the old one is nobody's");
	take(zone, subject, FACTS(FACT(0, "a", "gone", "10.101.1.7")));
	ok(!zone_host(zone, 0x0a650107) && ready(zone) == 0, "gone");
	is_int(zone_entry(zone, subject, "{\"x", 3), -EBADMSG, "what is no JSON is refused");
	zone_settle(zone);
	ok(zone_find(zone, "shop") && zone_find(zone, "shop")->trouble, "and named");
	ok(zone_bridge(zone, "m1", &bridge) && bridge == 0x0a650101,
	   "the bridge is the first of the subnet");
	take(zone, "ployz.v1.intent.machine.m1",
	     "{\"id\":\"m1\",\"life_cycle\":\"removed\",\"subnet\":\"10.101.1.0/24\"}");
	ok(!zone_is_inside(zone, 0x0a650105), "a removed machine's subnet is no longer inside");
}

int main(void)
{
	struct zone *zone = zone_new();

	test_names();
	take(zone, "ployz.v1.intent.machine.m1",
	     "{\"id\":\"m1\",\"life_cycle\":\"active\",\"subnet\":\"10.101.1.0/24\"}");
	take(zone, "ployz.v1.intent.namespace.shop", head);
	take(zone, "ployz.v1.intent.namespace.blog", "{\"namespace\":\"blog\",\"revision\":1}");
	take(zone, "ployz.v1.intent.instances.m1.shop", FACTS(FACT(0, "a", "ready", "10.101.1.2")));
	test_looks(zone);
	take(zone, "ployz.v1.intent.instances.m1.shop", NULL);
	test_facts(zone);
	take(zone, "ployz.v1.intent.instances.m1.shop", NULL);
	take(zone, "ployz.v1.intent.namespace.shop", NULL);
	ok(!zone_find(zone, "shop"), "a namespace that is gone is not there");
	zone_free(zone);
	return tap_done();
}
