/* Tests the entries that a rollout appends to its namespace's log, and the order in which it starts
 * services. */
#include "leased/rollout.h"

#include "tests/tap.h"

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
	struct plan plan = { 0 };
	struct rollout rollout = {
		.request = &request,
		.ns = manifest->ns,
		.self = "m1",
		.manifest = manifest,
		.generation = 3,
		.release = 12,
		.lease = { .epoch = 7 },
		.plan = &plan,
	};
	struct head *opened = head_opened(&rollout, NULL, 0, "t1", "n1");
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
		   opened->open->epoch == 7 && opened->open->generation == 3 &&
		   streq(opened->writer, "d1") && head_committed(opened, 5) == 0,
	   "opening the first deploy commits nothing");
	for (size_t i = 0; i < 2; i++) {
		candidates[i] = (struct candidate){
			.rollout = &rollout,
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
	rollout.candidates = list;
	rollout.n_candidates = 2;
	committed = head_next(&rollout, "t2", "n2");
	ok(committed->revision == 1 && !committed->open && committed->n_services == 1 &&
		   committed->services[0].n_slots == 2 &&
		   streq(committed->services[0].slots[1].machine, "m2") &&
		   streq(committed->services[0].digest, "sha256:1"),
	   "the commit names service, digest, slots and their machines");
	is_int((long long)head_committed(committed, 9), 9, "a committing entry refers to itself");
	is_int(committed->release, 12, "it refers to its release");
	rollout.base = committed;
	reopened = head_opened(&rollout, committed, 9, "t3", "n3");
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
	opened = head_next(&rollout, "t5", "n5");
	ok(opened->services[0].n_slots == 1 &&
		   streq(opened->services[0].slots[0].address, "10.101.1.2") &&
		   streq(opened->services[0].slots[0].hash, "h"),
	   "a kept slot keeps its address and hash, a removed one is not named");
	head_free(opened);
	/* The store was reverted and accepted: its facts have lower sequences now. */
	committed->generation = 2;
	committed->facts = 99;
	head_free(reopened);
	reopened = head_opened(&rollout, committed, 9, "t6", "n6");
	ok(head_may_serve(reopened, &(struct watermark){ 3, 10, 45 }),
	   "an entry of another generation does not wait for the facts of the old one");
	rollout.head = reopened;
	is_int(rollout_watermark(&rollout).facts, 0, "nor is a gateway asked for them");
	candidates[0].facts = 46;
	opened = head_next(&rollout, "t7", "n7");
	is_int(opened->facts, 46, "the next commit waits for its own");
	head_free(opened);
	committed->generation = 3;
	head_free(reopened);
	rollout.head = reopened = head_opened(&rollout, committed, 9, "t8", "n8");
	opened = head_next(&rollout, "t9", "n9");
	ok(reopened->facts == 99 && opened->facts == 99, "in the same generation they are kept");
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
	struct rollout rollout = {
		.request = &request, .ns = "shop", .candidates = list, .n_candidates = 3
	};
	struct reservation *reserve;

	for (size_t i = 0; i < 3; i++) {
		c[i].slot = &slots[i];
		c[i].action = SLOT_START;
		c[i].service = manifest_service(manifest, slots[i].service);
	}
	ok(candidate_may_start(&rollout, &c[0]) && !candidate_may_start(&rollout, &c[2]),
	   "a service waits for what it depends on");
	c[0].state = CANDIDATE_READY;
	ok(!candidate_may_start(&rollout, &c[2]), "for every replica of it");
	c[1].state = CANDIDATE_READY;
	ok(candidate_may_start(&rollout, &c[2]), "and starts when all are ready");
	reserve = participants_reserve(&rollout, "m1");
	ok(reserve->memory == 64 * 1024 * 1024 && reserve->cpus > 0.4 && reserve->cpus < 0.6,
	   "a machine's reservation holds what starts there");
	reservation_free(reserve);
	manifest_free(manifest);
}

int main(void)
{
	test_heads();
	test_order();
	return tap_done();
}
