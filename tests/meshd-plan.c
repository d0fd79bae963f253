/* Names, subnets, and whether a machine's record has to be written. */
#include "meshd/meshd.h"
#include "tests/tap.h"

static void test_names(void)
{
	static const struct {
		const char *hostname, *name;
	} rows[] = {
		{ "web", "web" },
		{ "web-01", "web-01" },
		{ "Web_01.example.org", "web-01" },
		{ "01web", "web" },
		{ "-a--b-", "a-b" },
		{ "a..b", "a" },
		{ "127", "machine" },
		{ "", "machine" },
		{ "höst", "h-st" },
		{ "(none)", "none" },
		{ "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffff1234567",
		  "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffff123" },
		{ "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffff12-4567",
		  "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffff12" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *name = plan_name(rows[i].hostname);

		is(name, rows[i].name, rows[i].hostname);
		ok(name_valid(name), "a valid name from '%s'", rows[i].hostname);
	}
}

static void test_pool(void)
{
	static const struct {
		const char *text;
		int base, third; /* base -1: refused */
	} rows[] = {
		{ "10.101.0.0/16", 101, -1 },
		{ "10.0.0.0/16", 0, -1 },
		{ "10.101.7.0/24", 101, 7 },
		{ "10.101.0.0/24", 101, 0 },
		{ "10.255.255.0/24", 255, 255 },
		{ "10.101.7.0/16", -1, 0 },
		{ "10.256.0.0/16", -1, 0 },
		{ "10.101.256.0/24", -1, 0 },
		{ "10.101.07.0/24", -1, 0 },
		{ "10.101.7.0/25", -1, 0 },
		{ "10.101.7.1/24", -1, 0 },
		{ "10.101.7.0/24 ", -1, 0 },
		{ "192.168.0.0/16", -1, 0 },
		{ "fd00::/64", -1, 0 },
		{ "", -1, 0 },
		{ NULL, -1, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct plan_pool pool = { .base = -1 };
		int r = plan_pool_parse(rows[i].text, &pool);

		ok(rows[i].base < 0
			   ? r == -EINVAL
			   : r == 0 && pool.base == rows[i].base && pool.third == rows[i].third,
		   "pool '%s'", rows[i].text ? rows[i].text : "(none)");
	}
}

static void test_subnets(void)
{
	const struct plan_pool pool = { .base = 101, .third = -1 },
			       one = { .base = 101, .third = 7 };
	bool seen[256] = { false };
	int first = plan_subnet(&pool, "maaa", 0), distinct = 0;
	_cleanup_free_ char *text = plan_subnet_text(&pool, 7),
			    *claim = plan_subnet_claim(&pool, 7);
	static const struct {
		const char *text;
		int third, third_of_one;
	} rows[] = {
		{ "10.101.7.0/24", 7, 7 },   { "10.101.254.0/24", 254, -1 },
		{ "10.102.7.0/24", -1, -1 }, { "10.101.0.0/16", -1, -1 },
		{ "10.101.7.0/25", -1, -1 }, { NULL, -1, -1 },
	};

	is(text, "10.101.7.0/24", "a subnet's text");
	is(claim, "10-101-7", "the words of its claim");
	ok(first >= 1 && first <= 254, "first try within .1 to .254");
	is_int(plan_subnet(&pool, "maaa", 0), first, "the same id tries the same first");
	ok(plan_subnet(&pool, "maaa", 1) == (first == 254 ? 1 : first + 1), "then the next");
	for (unsigned i = 0; i < 254; i++) {
		int third = plan_subnet(&pool, "maaa", i);

		distinct += third >= 1 && third <= 254 && !seen[third];
		seen[third] = true;
	}
	is_int(distinct, 254, "goes round all of them");
	is_int(plan_subnet(&pool, "maaa", 254), -1, "and then knows no more");
	ok(plan_subnet(&pool, "mbbb", 0) != first, "another id begins elsewhere");
	is_int(plan_subnet(&one, "maaa", 0), 7, "a /24: this one");
	is_int(plan_subnet(&one, "maaa", 1), -1, "or none");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		is_int(plan_subnet_parse(&pool, rows[i].text), rows[i].third,
		       rows[i].text ? rows[i].text : "(none)");
		is_int(plan_subnet_parse(&one, rows[i].text), rows[i].third_of_one,
		       "as the only one");
	}
}

static const struct plan_facts facts = {
	.machine = "maaa",
	.name = "web-01",
	.region = "default",
	.subnet = "10.101.7.0/24",
	.arch = "x86_64",
	.version = "0.1.0",
	.now = "2026-11-24T00:00:00.000Z",
};

static void test_record(void)
{
	_cleanup_free_ char *why = NULL, *changed_why = NULL;
	_cleanup_(machine_freep) struct machine *first = plan_record(NULL, &facts, &why),
						*changed = NULL;
	struct plan_facts later = facts;

	is(first->id, "maaa", "first record: id");
	is(first->name, "web-01", "name");
	is(first->subnet, "10.101.7.0/24", "subnet");
	is(first->region, "default", "region");
	is(first->quorum, "member", "of the quorum");
	is_int(first->life_cycle, MACHINE_ACTIVE, "active");
	is(first->since, facts.now, "since now");
	ok(!plan_record(first, &facts, &changed_why), "the same facts: nothing to write");
	/* What operators decide is theirs. */
	first->life_cycle = MACHINE_DRAINING;
	free(first->region);
	first->region = xstrdup("north");
	pairs_add(&first->labels, "disk", "ssd");
	later.now = "2027-01-01T00:00:00.000Z";
	ok(!plan_record(first, &later, &changed_why),
	   "time alone changes nothing, nor what an operator set");
	later.version = "0.2.0";
	later.name = "web-02";
	changed = plan_record(first, &later, &changed_why);
	ok(changed != NULL, "another version and name: written");
	if (!changed)
		return;
	is(changed_why, "name web-01 → web-02, version 0.1.0 → 0.2.0", "says what changed");
	is(changed->name, "web-02", "new name");
	is(changed->since, facts.now, "its age is kept");
	is(changed->region, "north", "the operator's region is kept");
	is_int(changed->life_cycle, MACHINE_DRAINING, "and the life cycle");
	is(pairs_get(&changed->labels, "disk"), "ssd", "and the labels");
}

/* A server is ended only when that can help, and not without end. */
static void test_servers(void)
{
	static const char *const full = "JetStream stream write error: no space left on device";
	static const struct {
		const char *name;
		struct watched_server server;
		uint64_t now;
		enum server_step step;
	} rows[] = {
		{ "well", { .trouble = NULL }, 100, SERVER_LEAVE },
		{ "unwell for another reason",
		  { .trouble = (char *)"no quorum" },
		  100,
		  SERVER_LEAVE },
		{ "the disk is still full",
		  { .trouble = (char *)full, .full = true },
		  100,
		  SERVER_LEAVE },
		{ "there is room again", { .trouble = (char *)full }, 100, SERVER_AGAIN },
		{ "ended just now",
		  { .trouble = (char *)full, .again = 1, .again_usec = 1 },
		  SERVER_AGAIN_USEC,
		  SERVER_LEAVE },
		{ "ended a while ago",
		  { .trouble = (char *)full, .again = 1, .again_usec = 1 },
		  SERVER_AGAIN_USEC + 1,
		  SERVER_AGAIN },
		{ "ended often enough",
		  { .trouble = (char *)full, .again = SERVER_AGAIN_MAX, .again_usec = 1 },
		  SERVER_AGAIN_USEC + 1,
		  SERVER_GIVE_UP },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		is_int(server_decide(&rows[i].server, rows[i].now), rows[i].step, rows[i].name);
}

int main(void)
{
	test_names();
	test_pool();
	test_subnets();
	test_record();
	test_servers();
	return tap_done();
}
