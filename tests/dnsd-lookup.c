/* lookup: which instances a name means, for each kind of caller and each state of a service. */
#include "dnsd/dnsd.h"
#include "tests/tap.h"

#define COMMITTED_AT 10 /* last byte of the address of web's slot 0 that the head names */
#define CANDIDATE_AT 20 /* the same of the open deploy's */

enum kind {
	OPERATOR, /* loopback: no namespace */
	COMMITTED,
	REPLACED,  /* by the committed revision, draining */
	LEFT_OVER, /* candidate of a deploy that has ended */
	FOREIGN,   /* candidate of another namespace's open deploy */
	CANDIDATE,
	PRE_DEPLOY,
};
static const struct {
	const char *name, *address;
	bool candidate; /* of shop's open deploy */
} kinds[] = {
	[OPERATOR] = { "operator", "127.0.0.1", false },
	[COMMITTED] = { "committed instance", "10.101.1.50", false },
	[REPLACED] = { "replaced instance", "10.101.1.51", false },
	[LEFT_OVER] = { "candidate of an ended deploy", "10.101.1.52", false },
	[FOREIGN] = { "another namespace's candidate", "10.101.1.60", false },
	[CANDIDATE] = { "candidate", "10.101.1.53", true },
	[PRE_DEPLOY] = { "pre_deploy container", "10.101.1.54", true },
};

/* One letter a slot: r ready, s starting, u unready, d draining, p pulling (without an address), f
 * failed; other letters: no fact. */
static const char *state_of(char letter)
{
	static const struct {
		char letter;
		const char *name;
	} rows[] = { { 'r', "ready" },	  { 's', "starting" }, { 'u', "unready" },
		     { 'd', "draining" }, { 'p', "pulling" },  { 'f', "failed" } };

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (rows[i].letter == letter)
			return rows[i].name;
	return NULL;
}

static void add_fact(struct strbuf *facts, const char *id, const char *service, int slot,
		     const char *deploy, const char *state, const char *address)
{
	strbuf_printf(facts,
		      "%s{\"id\":\"%s\",\"namespace\":\"shop\",\"service\":\"%s\",\"slot\":%d,"
		      "\"deploy\":\"%s\",\"state\":\"%s\",\"address\":\"%s\","
		      "\"ports\":{\"http\":{\"port\":8080},\"new\":{\"port\":9090}}}",
		      facts->text && facts->text[facts->size - 1] == '}' ? "," : "", id, service,
		      slot, deploy, state, address);
}

static void add_slots(struct strbuf *facts, const char *states, const char *deploy, size_t at)
{
	for (size_t i = 0; states && states[i]; i++) {
		const char *state = state_of(states[i]);
		char id[32], address[32];

		snprintf(id, sizeof(id), "web-%zu-%s", i, deploy);
		snprintf(address, sizeof(address), "10.101.1.%zu", at + i);
		if (state)
			add_fact(facts, id, "web", (int)i, deploy, state,
				 streq(state, "pulling") ? "" : address);
	}
}

static void take(struct zone *zone, const char *subject, struct strbuf *text)
{
	if (zone_entry(zone, subject, 1, text->text, text->size) != 1)
		abort();
	strbuf_clear(text);
}

/* `committed` NULL: the head has no service web. */
static struct zone *make_zone(const char *committed, const char *candidates)
{
	struct zone *zone = zone_new();
	struct strbuf text = STRBUF_INIT;

	strbuf_puts(&text, "{\"id\":\"m1\",\"life_cycle\":\"active\","
			   "\"subnet\":\"10.101.1.0/24\"}");
	take(zone, "ployz.v1.intent.member.m1", &text);
	strbuf_puts(&text, "{\"namespace\":\"shop\",\"revision\":7,\"deploy\":\"d1\",\"open\":{"
			   "\"deploy\":\"d2\",\"epoch\":2},\"services\":[{\"name\":\"app\","
			   "\"slots\":[{\"slot\":0,\"instance\":\"app-0-d1\",\"machine\":\"m1\"}]"
			   "}");
	if (committed)
		strbuf_puts(&text, ",{\"name\":\"web\",\"ports\":{\"http\":{\"port\":80}},"
				   "\"slots\":[");
	for (size_t i = 0; committed && committed[i]; i++)
		strbuf_printf(&text,
			      "%s{\"slot\":%zu,\"instance\":\"web-%zu-d1\",\"machine\":\"m1\","
			      "\"address\":\"10.101.1.%zu\",\"deploy\":\"d1\"}",
			      i ? "," : "", i, i, COMMITTED_AT + i);
	strbuf_puts(&text, committed ? "]}]}" : "]}");
	take(zone, "ployz.v1.intent.namespace.shop", &text);
	strbuf_puts(&text, "{\"machine\":\"m1\",\"namespace\":\"shop\",\"instances\":[");
	add_fact(&text, "app-0-d1", "app", 0, "d1", "ready", kinds[COMMITTED].address);
	add_fact(&text, "app-0-d0", "app", 0, "d0", "draining", kinds[REPLACED].address);
	add_fact(&text, "app-0-dx", "app", 0, "dx", "ready", kinds[LEFT_OVER].address);
	add_fact(&text, "app-0-d2", "app", 0, "d2", "starting", kinds[CANDIDATE].address);
	add_fact(&text, "app--1-d2", "app", -1, "d2", "starting", kinds[PRE_DEPLOY].address);
	add_slots(&text, committed, "d1", COMMITTED_AT);
	add_slots(&text, candidates, "d2", CANDIDATE_AT);
	strbuf_puts(&text, "]}");
	take(zone, "ployz.v1.facts.m1.shop", &text);
	strbuf_puts(&text, "{\"namespace\":\"blog\",\"open\":{\"deploy\":\"d2\",\"epoch\":2}}");
	take(zone, "ployz.v1.intent.namespace.blog", &text);
	strbuf_puts(&text, "{\"machine\":\"m1\",\"namespace\":\"blog\",\"instances\":[");
	add_fact(&text, "blog-0-d2", "blog", 0, "d2", "starting", kinds[FOREIGN].address);
	strbuf_puts(&text, "]}");
	take(zone, "ployz.v1.facts.m1.blog", &text);
	zone_apply(zone, NULL);
	zone_settle(zone);
	return zone;
}

static size_t make_query(const char *name, uint16_t type, uint8_t *wire)
{
	knot_pkt_t *pkt = knot_pkt_new(wire, 512, NULL);
	uint8_t dname[KNOT_DNAME_MAXLEN];
	size_t size;

	memset(wire, 0, KNOT_WIRE_HEADER_SIZE);
	name_write(name, dname);
	knot_pkt_put_question(pkt, dname, KNOT_CLASS_IN, type);
	size = pkt->size;
	knot_pkt_free(pkt);
	return size;
}

/* `c0 n1 …`: whose address it is; for SRV the ports, `:8080 …`. Sorted. */
static void add_record(const knot_rrset_t *rr, char *text, size_t room)
{
	const uint8_t *data = rr->rrs.rdata->data;
	size_t used = strlen(text);

	if (rr->type == KNOT_RRTYPE_A)
		snprintf(text + used, room - used, "%s%c%d", used ? " " : "",
			 data[3] < CANDIDATE_AT ? 'c' : 'n', data[3] % 10);
	else if (rr->type == KNOT_RRTYPE_SRV)
		snprintf(text + used, room - used, "%s:%d", used ? " " : "",
			 knot_wire_read_u16(data + 4));
}

/* What the caller gets for a name; "NX": NXDOMAIN, "": no records. */
static void query_zone(const struct zone *zone, enum kind kind, const char *name, uint16_t type,
		       char *text, size_t room)
{
	struct answer_caller caller = { .tcp = true, .loaded = true };
	struct client client = { .listener = 1 };
	static uint8_t query[600], out[65535];
	const knot_pktsection_t *section;
	size_t size = 0, asked = make_query(name, type, query);
	knot_pkt_t *parsed;

	address_parse(kinds[kind].address, 1000, &client.from);
	query_identify(zone, &client, &caller);
	*text = '\0';
	if (answer_make(zone, &caller, query, asked, out, &size) != ANSWER_SEND) {
		snprintf(text, room, "not sent");
		return;
	}
	parsed = knot_pkt_new(out, (uint16_t)size, NULL);
	knot_pkt_parse(parsed, 0);
	section = knot_pkt_section(parsed, KNOT_ANSWER);
	if (knot_wire_get_rcode(out) == KNOT_RCODE_NXDOMAIN)
		snprintf(text, room, "NX");
	for (uint16_t i = 0; i < section->count; i++)
		add_record(knot_pkt_rr(section, i), text, room);
	/* The addresses that come with SRV records are those of its targets. */
	section = knot_pkt_section(parsed, KNOT_ADDITIONAL);
	for (uint16_t i = 0; type == KNOT_RRTYPE_SRV && i < section->count; i++)
		add_record(knot_pkt_rr(section, i), text, room);
	knot_pkt_free(parsed);
}

struct row {
	const char *committed, *candidates; /* states of web's slots */
	const char *name;		    /* without a namespace */
	const char *others;		    /* what every caller but a candidate gets */
	const char *candidate;
};

static const struct row rows[] = {
	/* only committed instances */
	{ "rr", "", "web", "c0 c1", "c0 c1" },
	{ "ru", "", "web", "c0", "c0" },
	{ "u", "", "web", "", "" },
	{ "x", "", "web", "", "" },
	/* both */
	{ "rr", "r", "web", "c0 c1", "n0" },
	{ "rr", "rs", "web", "c0 c1", "n0" },
	{ "rr", "ss", "web", "c0 c1", "c0 c1" },
	{ "rr", "pp", "web", "c0 c1", "c0 c1" },
	{ "rr", "ff", "web", "c0 c1", "c0 c1" },
	{ "uu", "rr", "web", "", "n0 n1" },
	{ "uu", "su", "web", "", "n0 n1" },
	{ "uu", "sp", "web", "", "n0" },
	{ "uu", "df", "web", "", "" },
	{ "xx", "s", "web", "", "n0" },
	/* only candidates */
	{ NULL, "rr", "web", "NX", "n0 n1" },
	{ NULL, "rs", "web", "NX", "n0" },
	{ NULL, "su", "web", "NX", "n0 n1" },
	{ NULL, "p", "web", "NX", "" },
	{ NULL, "f", "web", "NX", "" },
	{ NULL, "d", "web", "NX", "" },
	{ NULL, "", "web", "NX", "NX" },
	/* one slot: by its own state, not by that of the service */
	{ "rr", "rs", "0.web", "c0", "n0" },
	{ "rr", "rs", "1.web", "c1", "c1" },
	{ "ru", "rs", "1.web", "", "n1" },
	{ "r", "rs", "1.web", "NX", "n1" },
	{ "rr", "r", "1.web", "c1", "c1" },
	{ "r", "r", "1.web", "NX", "NX" },
	{ NULL, "rs", "1.web", "NX", "n1" },
	{ NULL, "p", "0.web", "NX", "" },
	/* SRV: the port of the instances that are answered */
	{ "rr", "", "_http._tcp.web", ":80 :80 c0 c1", ":80 :80 c0 c1" },
	{ "rr", "r", "_http._tcp.web", ":80 :80 c0 c1", ":8080 n0" },
	{ "rr", "s", "_http._tcp.web", ":80 :80 c0 c1", ":80 :80 c0 c1" },
	{ "u", "su", "_http._tcp.web", "", ":8080 :8080 n0 n1" },
	{ "rr", "s", "_new._tcp.web", "NX", ":9090 n0" },
	{ "rr", "s", "_9090._tcp.web", "NX", ":9090 n0" },
	{ "r", "r", "_80._tcp.web", ":80 c0", ":80 c0" },
	{ NULL, "r", "_http._tcp.web", "NX", ":8080 n0" },
	{ NULL, "r", "_http._udp.web", "NX", "NX" },
	{ NULL, "r", "_tcp.web", "NX", "" },
};

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void sort_words(char *text)
{
	char **words = strv_split(text, " ");
	char *sorted;

	if (words)
		qsort(words, strv_count(words), sizeof(*words), compare);
	sorted = strv_join(words, " ");
	strcpy(text, sorted);
	free(sorted);
	strv_free(words);
}

static bool is_srv(const char *name)
{
	return str_starts(name, "_") && strchr(name + 1, '_');
}

static void test_form(const struct zone *zone, const struct row *row, enum kind kind,
		      const char *form)
{
	static const uint16_t types[] = { KNOT_RRTYPE_AAAA, KNOT_RRTYPE_ANY, KNOT_RRTYPE_TXT,
					  KNOT_RRTYPE_A, KNOT_RRTYPE_SRV };
	const char *expected = kinds[kind].candidate ? row->candidate : row->others;
	bool same = true;
	char got[512];

	query_zone(zone, kind, form, is_srv(row->name) ? KNOT_RRTYPE_SRV : KNOT_RRTYPE_A, got,
		   sizeof(got));
	sort_words(got);
	if (!ok(streq(got, expected), "%s of %s over %s: %s asks %s",
		row->candidates[0] ? row->candidates : "nothing", "d2",
		row->committed ? row->committed : "no service", kinds[kind].name, form))
		printf("#   got: '%s'\n#   expected: '%s'\n", got, expected);
	/* A name exists for every type or for none. */
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		query_zone(zone, kind, form, types[i], got, sizeof(got));
		same = same && streq(got, "NX") == streq(expected, "NX");
	}
	if (!same)
		ok(false, "%s exists for every type or for none", form);
}

static void test_row(const struct row *row)
{
	struct zone *zone = make_zone(row->committed, row->candidates);
	_cleanup_free_ char *whole = xasprintf("%s.shop.ployz.internal", row->name);
	_cleanup_free_ char *zoned = xasprintf("%s.ployz.internal", row->name);

	for (enum kind kind = 0; kind < ARRAY_SIZE(kinds); kind++) {
		test_form(zone, row, kind, whole);
		if (kind == OPERATOR || kind == FOREIGN)
			continue;
		test_form(zone, row, kind, zoned);
		if (streq(row->name, "web"))
			test_form(zone, row, kind, "web");
	}
	zone_free(zone);
}

static void is_answer(const struct zone *zone, enum kind kind, const char *name, uint16_t type,
		      const char *expected, const char *what)
{
	char got[512];

	query_zone(zone, kind, name, type, got, sizeof(got));
	sort_words(got);
	is(got, expected, what);
}

static void test_edges(void)
{
	struct zone *zone = make_zone("r", "r");
	struct strbuf text = STRBUF_INIT;

	is_answer(zone, CANDIDATE, "app", KNOT_RRTYPE_A, "n0",
		  "a candidate finds the committed instance of another service");
	is_answer(zone, OPERATOR, "web", KNOT_RRTYPE_A, "NX", "the operator has no namespace");
	is_answer(zone, FOREIGN, "web", KNOT_RRTYPE_A, "NX", "a service of another namespace");
	is_answer(zone, OPERATOR, "54.1.101.10.in-addr.arpa", KNOT_RRTYPE_PTR, "",
		  "a pre_deploy container has no name");
	strbuf_puts(&text, "{\"machine\":\"m1\",\"namespace\":\"shop\",\"instances\":[");
	add_fact(&text, "app-0-d2", "app", 0, "d2", "starting", kinds[CANDIDATE].address);
	strbuf_puts(&text, "]}");
	take(zone, "ployz.v1.facts.m1.shop", &text);
	zone_apply(zone, NULL);
	zone_settle(zone);
	is_answer(zone, CANDIDATE, "web", KNOT_RRTYPE_A, "", "a candidate that is gone");
	zone_free(zone);
	/* The same facts once the deploy is closed. */
	zone = make_zone("r", "r");
	strbuf_puts(&text, "{\"namespace\":\"shop\",\"revision\":7,\"deploy\":\"d1\",\"services\":["
			   "{\"name\":\"web\",\"slots\":[{\"slot\":0,\"instance\":\"web-0-d1\","
			   "\"machine\":\"m1\"}]}]}");
	take(zone, "ployz.v1.intent.namespace.shop", &text);
	zone_apply(zone, NULL);
	zone_settle(zone);
	is_answer(zone, CANDIDATE, "web", KNOT_RRTYPE_A, "c0",
		  "after an abort its candidates find committed instances only");
	/* And once it has committed. */
	strbuf_puts(&text, "{\"namespace\":\"shop\",\"revision\":8,\"deploy\":\"d2\",\"services\":["
			   "{\"name\":\"web\",\"slots\":[{\"slot\":0,\"instance\":\"web-0-d2\","
			   "\"machine\":\"m1\"}]}]}");
	take(zone, "ployz.v1.intent.namespace.shop", &text);
	zone_apply(zone, NULL);
	zone_settle(zone);
	is_answer(zone, OPERATOR, "web.shop.ployz.internal", KNOT_RRTYPE_A, "n0",
		  "after the commit everybody finds them");
	is_answer(zone, PRE_DEPLOY, "app", KNOT_RRTYPE_A, "NX",
		  "a service that the commit left out is gone");
	zone_free(zone);
}

/* Two candidates of one slot, which no rollout makes: the one that can be used counts. */
static void test_twice(void)
{
	struct zone *zone = make_zone(NULL, "s");
	struct strbuf text = STRBUF_INIT;

	strbuf_puts(&text, "{\"machine\":\"m2\",\"namespace\":\"shop\",\"instances\":[");
	add_fact(&text, "web-0-d2", "web", 0, "d2", "ready", "10.101.1.27");
	strbuf_puts(&text, "]}");
	take(zone, "ployz.v1.facts.m2.shop", &text);
	zone_apply(zone, NULL);
	zone_settle(zone);
	is_answer(zone, CANDIDATE, "web", KNOT_RRTYPE_A, "n7", "two candidates of one slot");
	is_answer(zone, CANDIDATE, "0.web.ployz.internal", KNOT_RRTYPE_A, "n7",
		  "the same by its number");
	zone_free(zone);
}

static void is_why(const struct zone *zone, bool candidate, const char *name, const char *expected)
{
	const struct caller caller = { .ns = "shop", .candidate = candidate };
	_cleanup_free_ char *why = NULL;
	uint8_t wire[KNOT_DNAME_MAXLEN];
	struct lookup found;
	struct name parsed;

	name_write(name, wire);
	name_parse(wire, &parsed);
	lookup(zone, &caller, &parsed, &found);
	why = lookup_why(&found, &parsed, &caller, KNOT_RRTYPE_A);
	is(why, expected, "the reason");
}

static void test_reasons(void)
{
	struct zone *zone = make_zone("rpx", "rs");

	is_why(zone, false, "web",
	       "web in shop, revision 7: 1 of 3 instances are ready; slot 1: pulling; "
	       "slot 2: no facts");
	is_why(zone, true, "web",
	       "web in shop, open deploy d2: 1 of 2 instances are ready; slot 1: starting");
	is_why(zone, true, "0.web.ployz.internal",
	       "slot 0 of web in shop: instance web-0-d2 on m1, ready");
	is_why(zone, false, "7.web.ployz.internal", "web in shop has 3 slots, none with number 7");
	is_why(zone, false, "_x._tcp.web.ployz.internal", "web in shop has no tcp port x");
	is_why(zone, false, "nix", "namespace shop has no service nix");
	zone_free(zone);
}

int main(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		test_row(&rows[i]);
	test_edges();
	test_twice();
	test_reasons();
	return tap_done();
}
