/* Names, subnets, and whether a machine's records have to be written. */
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
	is(claim, "10-101-7", "the token of its claim");
	ok(first >= 1 && first <= 254, "first try within .1 to .254");
	is_int(plan_subnet(&pool, "maaa", 0), first, "the same id tries the same first");
	ok(plan_subnet(&pool, "maaa", 1) == (first == 254 ? 1 : first + 1), "then the next");
	for (unsigned i = 0; i < 254; i++) {
		int third = plan_subnet(&pool, "maaa", i);

		distinct += third >= 1 && third <= 254 && !seen[third];
		seen[third] = true;
	}
	is_int(distinct, 254, "tries all of them");
	is_int(plan_subnet(&pool, "maaa", 254), -1, "and then no more");
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

static const struct plan_machine machine = {
	.machine = "maaa",
	.name = "web-01",
	.region = "default",
	.subnet = "10.101.7.0/24",
	.arch = "x86_64",
	.version = "0.1.0",
	.cpus = 4,
	.memory = 8ull << 30,
	.generation = 1,
	.now = "2026-11-24T00:00:00.000Z",
	.nonce = "n1",
};

static void test_member(void)
{
	_cleanup_free_ char *why = NULL, *changed_why = NULL;
	_cleanup_(member_freep) struct member *first = plan_member(NULL, &machine, &why),
					      *changed = NULL;
	struct plan_machine later = machine;

	is(first->id, "maaa", "first record: id");
	is(first->name, "web-01", "name");
	is(first->subnet, "10.101.7.0/24", "subnet");
	is(first->region, "default", "region");
	ok(first->seat, "with a store seat");
	is_int(first->life_cycle, MACHINE_ACTIVE, "active");
	is(first->since, machine.now, "since now");
	is(first->nonce, "n1", "the nonce of the write");
	is(why, "first record, name web-01, subnet 10.101.7.0/24", "says what changed");
	ok(!plan_member(first, &machine, &changed_why), "the same: nothing to write");
	/* What operators decide is theirs. */
	first->life_cycle = MACHINE_DRAINING;
	first->seat = false;
	free(first->region);
	first->region = xstrdup("north");
	pairs_add(&first->labels, "disk", "ssd");
	later.now = "2027-01-01T00:00:00.000Z";
	later.nonce = "n2";
	later.version = "0.2.0";
	later.memory = 1;
	ok(!plan_member(first, &later, &changed_why),
	   "time, facts and what an operator set change nothing");
	later.subnet = "10.101.8.0/24";
	later.name = "web-02";
	changed = plan_member(first, &later, &changed_why);
	ok(changed != NULL, "another subnet and name: written");
	if (!changed)
		return;
	is(changed_why, "name web-01 → web-02, subnet 10.101.7.0/24 → 10.101.8.0/24",
	   "says what changed");
	is(changed->name, "web-02", "new name");
	is(changed->nonce, "n2", "new nonce");
	is(changed->since, machine.now, "its age is kept");
	is(changed->region, "north", "the operator's region is kept");
	is_int(changed->life_cycle, MACHINE_DRAINING, "and the life cycle");
	is_int(changed->seat, false, "and the seat");
	is(pairs_get(&changed->labels, "disk"), "ssd", "and the labels");
}

static void test_facts(void)
{
	static const struct {
		const char *why; /* NULL: nothing to write */
		const char *version, *arch;
		int64_t cpus, generation;
		uint64_t memory;
	} rows[] = {
		{ NULL, "0.1.0", "x86_64", 4, 1, 8ull << 30 },
		{ "version 0.1.0 → 0.2.0", "0.2.0", "x86_64", 4, 1, 8ull << 30 },
		{ "architecture x86_64 → aarch64", "0.1.0", "aarch64", 4, 1, 8ull << 30 },
		{ "cpus 4 → 8", "0.1.0", "x86_64", 8, 1, 8ull << 30 },
		{ "generation 1 → 2", "0.1.0", "x86_64", 4, 2, 8ull << 30 },
		{ "memory 8.0 GiB → 16 GiB", "0.1.0", "x86_64", 4, 1, 16ull << 30 },
		{ "version 0.1.0 → 0.2.0, cpus 4 → 8", "0.2.0", "x86_64", 8, 1, 8ull << 30 },
	};
	_cleanup_free_ char *first_why = NULL;
	_cleanup_(machine_facts_freep) struct machine_facts *first =
		plan_facts(NULL, &machine, &first_why);

	is(first->machine, "maaa", "first facts: machine");
	is(first->version, "0.1.0", "version");
	is(first->arch, "x86_64", "architecture");
	is_int(first->cpus, 4, "cpus");
	is_int((long long)first->memory, 8ll << 30, "memory");
	is_int(first->generation, 1, "generation");
	is(first->since, machine.now, "since now");
	is(first->nonce, "n1", "the nonce of the write");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct plan_machine later = machine;
		_cleanup_free_ char *why = NULL;
		_cleanup_(machine_facts_freep) struct machine_facts *facts = NULL;

		later.version = rows[i].version;
		later.arch = rows[i].arch;
		later.cpus = rows[i].cpus;
		later.generation = rows[i].generation;
		later.memory = rows[i].memory;
		later.now = "later";
		later.nonce = "n2";
		facts = plan_facts(first, &later, &why);
		is(why, rows[i].why, rows[i].why ? rows[i].why : "the same: nothing to write");
		is(facts ? facts->nonce : NULL, rows[i].why ? "n2" : NULL, "its nonce");
		is(facts ? facts->since : NULL, rows[i].why ? "later" : NULL, "since when");
	}
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
		{ "healthy", { .error = NULL }, 100, SERVER_LEAVE },
		{ "another error", { .error = (char *)"no quorum" }, 100, SERVER_LEAVE },
		{ "the disk is still full",
		  { .error = (char *)full, .full = true },
		  100,
		  SERVER_LEAVE },
		{ "there is room again", { .error = (char *)full }, 100, SERVER_RESTART },
		{ "restarted just now",
		  { .error = (char *)full, .restarts = 1, .restart_usec = 1 },
		  SERVER_RESTART_USEC,
		  SERVER_LEAVE },
		{ "restarted a while ago",
		  { .error = (char *)full, .restarts = 1, .restart_usec = 1 },
		  SERVER_RESTART_USEC + 1,
		  SERVER_RESTART },
		{ "restarted often enough",
		  { .error = (char *)full, .restarts = SERVER_RESTARTS_MAX, .restart_usec = 1 },
		  SERVER_RESTART_USEC + 1,
		  SERVER_GIVE_UP },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		is_int(server_decide(&rows[i].server, rows[i].now), rows[i].step, rows[i].name);
}

static void test_room(void)
{
	static const struct {
		const char *name;
		struct watched_server server;
		uint64_t bytes;
		bool room;
	} rows[] = {
		{ "the disk is not known", { .size = 0 }, 1000, true },
		{ "room enough", { .size = 1 << 30, .room = DISK_ROOM_BYTES + 2000 }, 1000, true },
		{ "a byte too little",
		  { .size = 1 << 30, .room = DISK_ROOM_BYTES + 1999 },
		  1000,
		  false },
		{ "full", { .size = 1 << 30, .room = 1 << 29, .full = true }, 0, false },
		{ "an error",
		  { .size = 1 << 30, .room = 1 << 29, .error = (char *)"e" },
		  0,
		  false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		is_int(server_has_room(&rows[i].server, rows[i].bytes), rows[i].room, rows[i].name);
}

int main(void)
{
	test_names();
	test_pool();
	test_subnets();
	test_member();
	test_facts();
	test_servers();
	test_room();
	return tap_done();
}
