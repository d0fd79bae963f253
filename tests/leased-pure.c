#include "leased/leased.h"

#include "tests/tap.h"

#define S(n) ((n)*1000000ull)

static const struct {
	const char *what;
	int state; /* -1: no value yet */
	const char *machine, *life;
	uint64_t quiet_usec;
	enum lease_decision expected;
} decisions[] = {
	{ "never held", -1, NULL, NULL, 0, LEASE_TAKE_FREE },
	{ "free", LEASE_FREE, "m2", "x", 0, LEASE_TAKE_FREE },
	{ "held by another machine, just renewed", LEASE_HELD, "m2", "x", 0, LEASE_REFUSE },
	{ "held by another machine, quiet for almost the term", LEASE_HELD, "m2", "x", S(30) - 1,
	  LEASE_REFUSE },
	{ "held by another machine, quiet for the term", LEASE_HELD, "m2", "x", S(30),
	  LEASE_TAKE_EXPIRED },
	{ "held by this very life: another deploy of ours", LEASE_HELD, "m1", "now", 0,
	  LEASE_REFUSE },
	{ "held by an earlier life of this machine", LEASE_HELD, "m1", "before", 0,
	  LEASE_TAKE_OWN },
	{ "held by this life and yet quiet for the term", LEASE_HELD, "m1", "now", S(31),
	  LEASE_TAKE_EXPIRED },
	{ "another machine with our life's id", LEASE_HELD, "m2", "now", 0, LEASE_REFUSE },
};

static void test_decisions(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(decisions); i++) {
		const struct lease lease = {
			.state = decisions[i].state,
			.machine = (char *)decisions[i].machine,
			.life = (char *)decisions[i].life,
		};

		is_int(lease_decide(decisions[i].state < 0 ? NULL : &lease, "m1", "now",
				    decisions[i].quiet_usec),
		       decisions[i].expected, decisions[i].what);
	}
}

static void test_refusal(void)
{
	struct lease lease = {
		.ns = (char *)"shop",
		.state = LEASE_HELD,
		.machine = (char *)"m2",
		.operator_ = (char *)"alice@desk",
		.deploy = (char *)"abc",
		.verb = (char *)"deploy",
		.since = (char *)"2026-01-01T10:00:00.000Z",
	};
	struct failure failure = FAILURE_INIT;
	uint64_t since = 0;

	time_parse(lease.since, &since);
	lease_refusal(&lease, S(10), since + S(75), &failure);
	is(failure.message,
	   "namespace shop is held by alice@desk for deploy abc on machine m2 since "
	   "2026-01-01T10:00:00.000Z (75 s ago); "
	   "if its holder has died it is free in at most 20 s",
	   "a refusal says who, why, since when, and when it is free");
	is(failure.hint,
	   "wait for it (`ployzctl deploy attach abc`), or `ployzctl lease break shop`",
	   "and what to do");
	is_int(failure_exit((enum failure_code)failure.code), EXIT_LEASE_HELD, "exit 4");
	lease_refusal(&lease, S(40), since - S(5), &failure);
	ok(strstr(failure.message, "(0 ms ago)") && strstr(failure.message, "at most 0 ms"),
	   "clocks that disagree give no nonsense");
	failure_clear(&failure);
}

/* Two services of a namespace, enough for heads and order. */
static struct manifest *manifest_of(const char *text)
{
	_cleanup_(strv_freep) char **errors = NULL;
	struct manifest *manifest = NULL;

	if (manifest_parse("test.json", text, strlen(text), &manifest, &errors) < 0)
		printf("Bail out! %s\n", errors ? errors[0] : "manifest");
	return manifest;
}

static void test_heads(void)
{
	struct manifest *manifest = manifest_of("{\"namespace\":\"shop\",\"services\":{\"web\":{"
						"\"image\":\"w:1\",\"replicas\":2}}}");
	struct deploy_request request = {
		.deploy = (char *)"d1",
		.manifest = manifest,
		.verb = (char *)"deploy",
		.operator_ = (char *)"alice",
		.from = (char *)"desk",
		.plan_seq = -1,
	};
	struct lease lease = { .ns = (char *)"shop", .epoch = 7, .machine = (char *)"m1" };
	struct head *opened = head_opened(NULL, 0, &request, &lease, "t1", "n1");
	struct walk walk = { .request = &request };
	struct plan_slot slots[2] = {
		{ .service = (char *)"web",
		  .slot = 0,
		  .action = SLOT_START,
		  .machine = (char *)"m1" },
		{ .service = (char *)"web",
		  .slot = 1,
		  .action = SLOT_START,
		  .machine = (char *)"m2" },
	};
	struct candidate candidates[2], *list[2];
	struct head *committed, *reopened, *closed;

	ok(opened->revision == 0 && opened->open && streq(opened->open->deploy, "d1") &&
		   opened->open->epoch == 7 && head_committed(opened, 5) == 0,
	   "opening the first deploy commits nothing");
	for (size_t i = 0; i < 2; i++) {
		candidates[i] = (struct candidate){
			.walk = &walk,
			.slot = &slots[i],
			.service = &manifest->services[0],
			.action = SLOT_START,
			.instance = (char *)(i ? "i1" : "i0"),
			.address = (char *)"10.101.1.2",
			.digest = (char *)"sha256:1",
			.hash = (char *)"h",
		};
		list[i] = &candidates[i];
	}
	committed = head_committed_next(opened, &request, &lease, list, 2, "t2", "n2");
	ok(committed->revision == 1 && !committed->open && committed->n_services == 1 &&
		   committed->services[0].n_slots == 2 &&
		   streq(committed->services[0].slots[1].machine, "m2") &&
		   streq(committed->services[0].digest, "sha256:1"),
	   "the commit names service, digest, slots and their machines");
	is_int((long long)head_committed(committed, 9), 9, "it is committed where it stands");
	reopened = head_opened(committed, 9, &request, &lease, "t3", "n3");
	ok(reopened->revision == 1 && head_committed(reopened, 10) == 9 &&
		   reopened->n_services == 1,
	   "opening again keeps the state and where it was committed");
	closed = head_closed(reopened, "failed", "t4", "n4");
	ok(!closed->open && streq(closed->outcome, "failed") && head_committed(closed, 11) == 9 &&
		   streq(closed->services[0].slots[0].instance, "i0"),
	   "closing keeps them too and says what became of it");
	candidates[0].action = SLOT_KEEP;
	candidates[0].address = candidates[0].hash = NULL;
	candidates[1].action = SLOT_REMOVE;
	head_free(opened);
	opened = head_committed_next(reopened, &request, &lease, list, 2, "t5", "n5");
	ok(opened->services[0].n_slots == 1 &&
		   streq(opened->services[0].slots[0].address, "10.101.1.2") &&
		   streq(opened->services[0].slots[0].hash, "h"),
	   "a kept slot keeps its address and hash, a removed one is not named");
	head_free(opened);
	head_free(committed);
	head_free(reopened);
	head_free(closed);
	manifest_free(manifest);
}

static void test_order(void)
{
	struct manifest *manifest = manifest_of(
		"{\"namespace\":\"shop\",\"services\":{"
		"\"db\":{\"image\":\"d:1\",\"resources\":{\"memory\":\"64M\",\"cpus\":0.5}},"
		"\"web\":{\"image\":\"w:1\",\"depends_on\":[\"db\"]}}}");
	struct deploy_request request = { .deploy = (char *)"d1", .manifest = manifest };
	struct plan_slot slots[3] = {
		{ .service = (char *)"db", .slot = 0, .machine = (char *)"m1" },
		{ .service = (char *)"db", .slot = 1, .machine = (char *)"m2" },
		{ .service = (char *)"web", .slot = 0, .machine = (char *)"m1" },
	};
	struct candidate c[3] = { { 0 } }, *list[3] = { &c[0], &c[1], &c[2] };
	struct walk walk = { .request = &request, .candidates = list, .n_candidates = 3 };
	struct reservation *reserve;

	for (size_t i = 0; i < 3; i++) {
		c[i].slot = &slots[i];
		c[i].action = SLOT_START;
		c[i].service = manifest_service(manifest, slots[i].service);
	}
	ok(starting_may(&walk, &c[0]) && !starting_may(&walk, &c[2]),
	   "a service waits for what it depends on");
	c[0].state = CANDIDATE_READY;
	ok(!starting_may(&walk, &c[2]), "for every replica of it");
	c[1].state = CANDIDATE_READY;
	ok(starting_may(&walk, &c[2]), "and starts when all are ready");
	reserve = participants_reserve(&walk, "m1");
	ok(reserve->memory == 64 * 1024 * 1024 && reserve->cpus > 0.4 && reserve->cpus < 0.6,
	   "a machine's reservation holds what starts there");
	reservation_free(reserve);
	manifest_free(manifest);
}

int main(void)
{
	test_decisions();
	test_refusal();
	test_heads();
	test_order();
	return tap_done();
}
