/* Whose commands agentd executes: head, epoch and lock; the fence; what arrives late. */
#include "tests/lib/surroundings.h"

/* --- the pure decision */

static struct head *head_of(const char *text)
{
	_cleanup_json_ json_t *json = json_of(text);
	void *head = NULL;

	if (codec_decode_new(&head_schema, json, CODEC_LENIENT, &head, NULL) < 0) {
		printf("Bail out! no head: %s\n", text);
		exit(1);
	}
	return head;
}

#define OPEN_D1                                                                        \
	"{'namespace':'shop','writer':'d1','epoch':5,'generation':2,'open':{'deploy':" \
	"'d1','epoch':5,'generation':2}}"
#define CLOSED_D1 "{'namespace':'shop','writer':'d1','epoch':5,'generation':2}"
#define OPEN_D2                                                                        \
	"{'namespace':'shop','writer':'d2','epoch':6,'generation':2,'open':{'deploy':" \
	"'d2','epoch':6,'generation':2}}"

static const struct {
	const char *name;
	const char *head; /* NULL: the namespace has no entry */
	uint64_t sequence;
	bool known, fresh;
	unsigned needs;
	int64_t stored;
	bool locked;
	int64_t epoch, generation;
	enum admission result;
	bool named;
} rows[] = {
	{ "the head was never read", NULL, 0, false, false, 0, 0, false, 5, 2, ADMISSION_READ,
	  false },
	{ "the head is older than the opening entry", OPEN_D1, 9, true, false, 0, 0, false, 5, 2,
	  ADMISSION_READ, false },
	{ "the opening entry itself", OPEN_D1, 10, true, false, 0, 0, false, 5, 2,
	  ADMISSION_ADMITTED, false },
	{ "a later entry", CLOSED_D1, 12, true, false, 0, 5, false, 5, 2, ADMISSION_ADMITTED,
	  false },
	{ "the store's leader is behind", OPEN_D1, 9, true, true, 0, 0, false, 5, 2,
	  ADMISSION_BEHIND, false },
	{ "the namespace has no entry, as far as is known", NULL, 0, true, false, 0, 0, false, 5, 2,
	  ADMISSION_READ, false },
	{ "the namespace has no entry", NULL, 0, true, true, 0, 0, false, 5, 2, ADMISSION_BEHIND,
	  false },
	{ "another deploy is open, as far as is known", OPEN_D2, 11, true, false, 0, 0, false, 5, 2,
	  ADMISSION_READ, false },
	{ "another deploy is open", OPEN_D2, 11, true, true, 0, 0, false, 5, 2, ADMISSION_FENCED,
	  false },
	{ "a made-up epoch", OPEN_D1, 10, true, true, 0, 0, false, 999, 2, ADMISSION_FENCED,
	  false },
	{ "a lower epoch", OPEN_D1, 10, true, true, 0, 0, false, 4, 2, ADMISSION_FENCED, false },
	{ "another generation of the store", OPEN_D1, 10, true, true, 0, 0, false, 5, 1,
	  ADMISSION_FENCED, false },
	{ "an epoch below the stored one", OPEN_D1, 10, true, false, 0, 6, false, 5, 2,
	  ADMISSION_FENCED, false },
	{ "which a list is told of", OPEN_D1, 10, true, false, NEEDS_NO_EPOCH, 6, false, 5, 2,
	  ADMISSION_ADMITTED, false },
	{ "an epoch equal to the stored one", OPEN_D1, 10, true, false, 0, 5, false, 5, 2,
	  ADMISSION_ADMITTED, false },
	{ "without the lock", OPEN_D1, 10, true, false, NEEDS_LOCK, 5, false, 5, 2,
	  ADMISSION_REFUSED, false },
	{ "with the lock", OPEN_D1, 10, true, false, NEEDS_LOCK, 5, true, 5, 2, ADMISSION_ADMITTED,
	  false },
	{ "with the lock of a closed deploy", CLOSED_D1, 12, true, false, NEEDS_LOCK, 5, true, 5, 2,
	  ADMISSION_ADMITTED, false },
	{ "a start for a closed deploy", CLOSED_D1, 12, true, false, NEEDS_LOCK | NEEDS_OPEN, 5,
	  true, 5, 2, ADMISSION_FENCED, false },
	{ "a start for an open deploy", OPEN_D1, 10, true, false, NEEDS_LOCK | NEEDS_OPEN, 5, true,
	  5, 2, ADMISSION_ADMITTED, false },
	{ "a stop of a committed instance for an open deploy", OPEN_D1, 10, true, true, NEEDS_LOCK,
	  5, true, 5, 2, ADMISSION_ADMITTED, true },
	{ "for a closed one", CLOSED_D1, 12, true, true, NEEDS_LOCK, 5, true, 5, 2,
	  ADMISSION_FENCED, true },
	{ "a removal of another instance", CLOSED_D1, 12, true, true, 0, 5, true, 5, 2,
	  ADMISSION_ADMITTED, false },
};

static void decisions(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct head *head = rows[i].head ? head_of(rows[i].head) : NULL;
		const struct agent_command order = { (char *)"shop", rows[i].epoch, (char *)"d1",
						     rows[i].generation, 10 };
		const struct admission_input input = {
			.command = &order,
			.needs = rows[i].needs,
			.known = rows[i].known,
			.fresh = rows[i].fresh,
			.head = head,
			.sequence = rows[i].sequence,
			.named = rows[i].named,
			.stored = rows[i].stored,
			.locked = rows[i].locked,
		};
		struct failure failure = FAILURE_INIT;
		enum admission result = admission_decide(&input, &failure);
		bool refused = result == ADMISSION_FENCED || result == ADMISSION_REFUSED ||
			       result == ADMISSION_BEHIND;

		ok(result == rows[i].result, "%s", rows[i].name);
		ok(refused == failure_is_set(&failure) &&
			   (!refused ||
			    failure.code == (result == ADMISSION_REFUSED ? FAILURE_REFUSED
									 : FAILURE_FENCED)),
		   "  and what it says: %s", failure.message ? failure.message : "nothing");
		failure_clear(&failure);
		head_free(head);
	}
}

static void epochs(void)
{
	struct head *open = head_of(OPEN_D2), *closed = head_of(CLOSED_D1);

	is_int(admission_epoch(open), 6, "the epoch of an open deploy");
	is_int(admission_epoch(closed), 5, "that of the writer once it is closed");
	is_int(admission_epoch(NULL), 0, "none of no head");
	is_int(admission_generation(open), 2, "the generation of an open deploy");
	is_int(admission_generation(NULL), 0, "none of no head");
	head_free(open);
	head_free(closed);
}

/* --- commands */

static int64_t listed_epoch(void)
{
	_cleanup_json_ json_t *json = json_loads(answer.text ? answer.text : "{}", 0, NULL);

	return json_integer_value(json_object_get(json, "epoch"));
}

static void usual(void)
{
	struct deploy_of d1 = { "d1", 5, 0 };

	world_begin();
	open_deploy(&d1, NULL, "");
	store.reads = 0;
	ask(SUBJECT_AGENT_LIST, "{%s}", command(&d1));
	is_answer("ok", "the holder lists");
	is_int(listed_epoch(), 5, "its epoch is stored");
	take_lock(&d1);
	is_answer("ok", "and locks");
	ok(!strstr(answer.text, "shop-"), "with the namespace's instances: none: %s", answer.text);
	ask_start(&d1, "web", 0, RUNNING);
	is_answer("ok", "a start is accepted");
	ask_start(&d1, "web", 0, RUNNING);
	is_int((long long)store.reads, 1, "one read of the head was enough");
	take_lock(&d1);
	ok(strstr(answer.text, "shop-web-0-d1") != NULL,
	   "a renewal is answered with the instance: %s", answer.text);
	agentd_restart();
	ask(SUBJECT_AGENT_LIST, "{'namespace':'shop'}");
	is_int(listed_epoch(), 5, "the epoch outlives a restart; without an epoch it only lists");
	ask_start(&d1, "web", 1, RUNNING);
	is_answer("ok", "so does the lock");
	world_end();
}

static void fence(void)
{
	struct deploy_of d1 = { "d1", 5, 0 }, d2 = { "d2", 6, 0 }, made_up = { "dx", 1000, 1 };

	world_begin();
	open_deploy(&d1, NULL, "");
	take_lock(&d1);
	ask(SUBJECT_AGENT_LIST, "{%s}", command(&made_up));
	is_answer("FENCED", "a made-up epoch is refused");
	ask(SUBJECT_AGENT_LIST, "{'namespace':'shop'}");
	is_int(listed_epoch(), 5, "and not remembered");
	ask_start(&d1, "web", 0, RUNNING);
	is_answer("ok", "the rightful holder continues");
	open_deploy(&d2, NULL, "");
	ask_start(&d1, "web", 1, RUNNING);
	is_answer("ok", "until a head was read that names another, which nobody asked for yet");
	ask(SUBJECT_AGENT_LIST, "{%s}", command(&d2));
	is_int(listed_epoch(), 6, "the next holder's list fences");
	ask_start(&d1, "web", 2, RUNNING);
	is_answer("FENCED", "the earlier holder's start comes too late");
	ok(!engine_find("shop-web-2-d1"), "and makes nothing");
	ask_ref(SUBJECT_AGENT_REMOVE, &d1, "shop-web-0-d1");
	is_answer("FENCED", "so does its removal");
	ask_start(&d2, "web", 0, RUNNING);
	is_answer("REFUSED", "without a lock nothing is started");
	take_lock(&d2);
	ask_start(&d2, "web", 0, RUNNING);
	is_answer("ok", "with it, it is");
	agentd_restart();
	ask_start(&d1, "web", 3, RUNNING);
	is_answer("FENCED", "the fence outlives a restart");
	world_end();
}

/* A late entry of a lower epoch cannot unseat the rightful holder; a store that has gone back
 * reports which epoch a holder has to exceed. */
static void restored(void)
{
	struct deploy_of d9 = { "d9", 9, 0 }, d2 = { "d2", 2, 0 }, raised = { "d2", 10, 0 };

	world_begin();
	open_deploy(&d9, NULL, "");
	take_lock(&d9);
	open_deploy(&d2, NULL, "");
	ask(SUBJECT_AGENT_LIST, "{%s}", command(&d2));
	is_answer("ok", "a lower epoch that the head shows may list");
	is_int(listed_epoch(), 9, "and is told of the higher one: it has fenced nothing");
	take_lock(&d2);
	is_answer("FENCED", "it may not lock");
	open_deploy(&raised, NULL, "");
	ask(SUBJECT_AGENT_LIST, "{%s}", command(&raised));
	is_int(listed_epoch(), 10, "having raised its epoch and opened again it fences");
	take_lock(&raised);
	is_answer("ok", "and locks");
	world_end();
}

static void waiting(void)
{
	struct deploy_of d1 = { "d1", 5, 0 }, ahead = { "d1", 5, 0 };
	struct reply first = { .given = false }, second = { .given = false };
	_cleanup_free_ char *text = NULL;

	world_begin();
	open_deploy(&d1, NULL, "");
	store.away = true;
	text = xasprintf("{%s,'holder':'m1'}", command(&d1));
	send_request(SUBJECT_AGENT_LOCK, text, &first);
	send_request(SUBJECT_AGENT_LOCK, text, &second);
	settle();
	ok(!first.given && !second.given, "a command waits for the head");
	store.away = false;
	settle();
	is(code_of(&first), "ok", "and is executed when it was read");
	is(code_of(&second), "ok", "so is the next");
	reply_clear(&first);
	reply_clear(&second);
	ahead.opened = d1.opened + 1;
	free(text);
	text = xasprintf("{%s}", command(&ahead));
	send_request(SUBJECT_AGENT_LIST, text, &first);
	pass(SECOND);
	ok(!first.given, "a command whose opening entry the leader does not have yet waits");
	write_head(&d1, true, NULL, "");
	pass(SECOND);
	is(code_of(&first), "ok", "until the leader has it");
	reply_clear(&first);
	ahead.opened += 100;
	free(text);
	text = xasprintf("{%s}", command(&ahead));
	send_request(SUBJECT_AGENT_LIST, text, &first);
	pass(3 * SECOND);
	ok(!first.given, "while there is time");
	pass(2 * SECOND);
	is(code_of(&first), "FENCED", "an opening entry that never comes is none");
	reply_clear(&first);
	store.away = true;
	ahead.opened = d1.opened + 1;
	write_head(&d1, true, NULL, "");
	ask_unlock(&d1);
	send_request(SUBJECT_AGENT_LIST, text, &first);
	store_time_out();
	settle();
	is(code_of(&first), "NO_QUORUM", "a store that does not answer is reported");
	ok(first.failure.message && strstr(first.failure.message, "head of namespace shop"),
	   "with what could not be read: %s", first.failure.message);
	reply_clear(&first);
	world_end();
}

/* What is sent before a removal, an unlock or a closing entry and arrives after it. */
static void late(void)
{
	struct deploy_of d1 = { "d1", 5, 0 };

	world_begin();
	open_deploy(&d1, NULL, "");
	take_lock(&d1);
	ask_ref(SUBJECT_AGENT_REMOVE, &d1, "shop-web-0-d1");
	is_answer("ok", "an instance that was not started yet is removed");
	ask_start(&d1, "web", 0, RUNNING);
	is_answer("REFUSED", "its start, which comes late, is refused");
	agentd_restart();
	ask_start(&d1, "web", 0, RUNNING);
	is_answer("REFUSED", "also after a restart");
	ask_start(&d1, "web", 1, RUNNING);
	is_answer("ok", "another one is started");
	write_head(&d1, false, NULL, "");
	ask_unlock(&d1);
	is_answer("ok", "the deploy closes and unlocks");
	ask_start(&d1, "web", 2, RUNNING);
	is_answer("FENCED", "a start that comes later still is refused");
	take_lock(&d1);
	is_answer("ok", "it may lock again to clean up");
	ask_start(&d1, "web", 2, RUNNING);
	is_answer("FENCED", "but starts nothing");
	ask(SUBJECT_AGENT_RUN,
	    "{%s,'service':{'name':'web','image':'x','pre_deploy':{'command':['x']}}}",
	    command(&d1));
	is_answer("FENCED", "and runs nothing");
	ask_ref(SUBJECT_AGENT_REMOVE, &d1, "shop-web-1-d1");
	is_answer("ok", "it removes");
	pass(SECOND);
	ok(!engine.containers, "nothing is left");
	world_end();
}

static void lapse(void)
{
	struct deploy_of d1 = { "d1", 5, 0 };

	world_begin();
	open_deploy(&d1, NULL, "");
	take_lock(&d1);
	pass(LOCK_TERM_USEC - SECOND);
	ask_start(&d1, "web", 0, RUNNING);
	is_answer("ok", "a lock holds for its term");
	pass(LOCK_TERM_USEC - SECOND);
	ask_start(&d1, "web", 1, RUNNING);
	is_answer("ok", "and each message of the holder renews it");
	pass(LOCK_TERM_USEC + SECOND);
	ask_start(&d1, "web", 2, RUNNING);
	is_answer("REFUSED", "then it lapses");
	ask_ref(SUBJECT_AGENT_DRAIN, &d1, "shop-web-0-d1");
	is_answer("REFUSED", "no drain without it");
	ask_ref(SUBJECT_AGENT_STOP, &d1, "shop-web-0-d1");
	is_answer("REFUSED", "no stop");
	ask_ref(SUBJECT_AGENT_RESUME, &d1, "shop-web-0-d1");
	is_answer("REFUSED", "no resume");
	ask(SUBJECT_AGENT_PREPARE, "{%s,'image':'x'}", command(&d1));
	is_answer("ok", "an image may be fetched");
	ask_ref(SUBJECT_AGENT_REMOVE, &d1, "shop-web-0-d1");
	is_answer("ok", "and a candidate removed");
	take_lock(&d1);
	is_answer("ok", "the holder may lock again");
	world_end();
}

/* What the head names is nobody's to remove. */
static void committed(void)
{
	struct deploy_of d1 = { "d1", 5, 0 }, d2 = { "d2", 6, 0 };

	world_begin();
	open_deploy(&d1, NULL, "");
	take_lock(&d1);
	ask_start(&d1, "web", 0, RUNNING);
	pass(3 * SECOND);
	is_state("shop-web-0-d1", "ready", "an instance is ready");
	write_head(&d1, false, "d1", "web/0/shop-web-0-d1/d1");
	ask_unlock(&d1);
	open_deploy(&d2, "d1", "web/0/shop-web-0-d1/d1");
	take_lock(&d2);
	ask_ref(SUBJECT_AGENT_REMOVE, &d2, "shop-web-0-d1");
	is_answer("REFUSED", "a committed instance is not removed");
	ok(strstr(answer.failure.message, "is committed"), "%s", answer.failure.message);
	write_head(&d2, false, "d2", "");
	ask_ref(SUBJECT_AGENT_REMOVE, &d2, "shop-web-0-d1");
	is_answer("ok", "once a later head does not name it, it is");
	pass(SECOND);
	is_state("shop-web-0-d1", "gone", "and is gone");
	world_end();
}

/* The leader takes its time for the head that a stop needs; meanwhile the deploy is given up. */
static void in_order(void)
{
	struct deploy_of d1 = { "d1", 5, 0 }, d2 = { "d2", 6, 0 };
	struct reply stop = { .given = false }, resume = { .given = false };
	_cleanup_free_ char *text = NULL;

	world_begin();
	open_deploy(&d1, NULL, "");
	take_lock(&d1);
	ask_start(&d1, "web", 0, RUNNING);
	pass(3 * SECOND);
	write_head(&d1, false, "d1", "web/0/shop-web-0-d1/d1");
	ask_unlock(&d1);
	open_deploy(&d2, "d1", "web/0/shop-web-0-d1/d1");
	take_lock(&d2);
	store.away = true;
	text = xasprintf("{%s,'instance':'shop-web-0-d1'}", command(&d2));
	send_request(SUBJECT_AGENT_STOP, text, &stop);
	send_request(SUBJECT_AGENT_RESUME, text, &resume);
	settle();
	store.away = false;
	pass(SECOND);
	is(code_of(&stop), "ok", "a stop waits for the head");
	is(code_of(&resume), "ok", "and a resume for the stop before it");
	pass(5 * SECOND);
	is_state("shop-web-0-d1", "ready", "so the instance runs");
	reply_clear(&stop);
	reply_clear(&resume);
	world_end();
}

/* A full disk under the file of epochs. */
static void unsaved(void)
{
	struct deploy_of d1 = { "d1", 5, 0 };
	_cleanup_free_ char *path = NULL;

	world_begin();
	open_deploy(&d1, NULL, "");
	path = xasprintf("%s/locks.json.tmp", state_directory);
	free(path);
	path = xasprintf("%s/locks.json", state_directory);
	if (directory_make(path, 0700) < 0)
		ok(false, "a directory stands where the file is written");
	ask(SUBJECT_AGENT_LIST, "{%s}", command(&d1));
	is_answer("FAILED", "an epoch that cannot be stored does not fence");
	take_lock(&d1);
	is_answer("FAILED", "and nothing is done by it");
	rmdir(path);
	take_lock(&d1);
	is_answer("ok", "until it can");
	world_end();
}

static void before_adoption(void)
{
	struct deploy_of d1 = { "d1", 5, 0 };
	struct reply reply = { .given = false };
	_cleanup_free_ char *text = NULL;

	world_begin();
	open_deploy(&d1, NULL, "");
	engine.hold = "/containers/json";
	agentd_restart();
	text = xasprintf("{%s,'holder':'m1'}", command(&d1));
	send_request(SUBJECT_AGENT_LOCK, text, &reply);
	settle();
	ok(!reply.given, "until the containers are known, a command waits");
	engine.hold = NULL;
	settle();
	is(code_of(&reply), "ok", "then it is executed");
	reply_clear(&reply);
	engine.away = true;
	agentd_restart();
	ask_start(&d1, "web", 0, RUNNING);
	is_answer("ENGINE", "an engine that is away is reported at once");
	ask(SUBJECT_AGENT_LIST, "{%s}", command(&d1));
	is_answer("ok", "a list says so in its answer");
	ok(strstr(answer.text, "\"engine\":false"), "  %s", answer.text);
	world_end();
}

/* What the machine has not got is not reserved. */
static void capacity(void)
{
	struct deploy_of d1 = { "d1", 5, 0 };

	world_begin();
	open_deploy(&d1, NULL, "");
	ask(SUBJECT_AGENT_LOCK, "{%s,'reserve':{'cpus':4.5}}", command(&d1));
	is_answer("REFUSED", "more CPUs than the machine has");
	ask(SUBJECT_AGENT_LOCK, "{%s,'reserve':{'memory':'2G'}}", command(&d1));
	is_answer("REFUSED", "more memory");
	ask(SUBJECT_AGENT_LOCK, "{%s,'reserve':{'cpus':4,'memory':'1G'}}", command(&d1));
	is_answer("ok", "all of it");
	world_end();
	/* Nothing is started before the machine has a network. */
	world_begin();
	open_deploy(&d1, NULL, "");
	take_lock(&d1);
	free(agentd->network.error);
	agentd->network.error = xstrdup("no network");
	ask_start(&d1, "web", 0, RUNNING);
	is_answer("NOT_READY", "without a network nothing is started");
	ok(strstr(answer.failure.message, "no network") && !engine.containers, "  %s",
	   answer.failure.message);
	world_end();
}

static void invalid(void)
{
	struct deploy_of d1 = { "d1", 5, 0 };

	world_begin();
	open_deploy(&d1, NULL, "");
	take_lock(&d1);
	ask(SUBJECT_AGENT_LIST, "{'epoch':5,'deploy':'d1'}");
	is_answer("INVALID", "a fence names its namespace");
	ask(SUBJECT_AGENT_LIST, "{'namespace':'shop','epoch':5,'deploy':'../x','opened':1}");
	is_answer("INVALID", "a deploy's id is one");
	ask_ref(SUBJECT_AGENT_STOP, &d1, "Not An Id");
	is_answer("INVALID", "so is an instance's");
	ask(SUBJECT_AGENT_START, "{%s,'instance':'a','service':{'name':'web','image':'x'}}",
	    command(&d1));
	ask(SUBJECT_AGENT_RUN, "{%s,'service':{'name':'web','image':'x'}}", command(&d1));
	is_answer("INVALID", "a service without a pre_deploy command runs none");
	for (size_t i = 0; i < COMMANDS_WAITING_MAX; i++) {
		static struct reply held[COMMANDS_WAITING_MAX];

		store.away = true;
		send_request(SUBJECT_AGENT_LIST,
			     "{'namespace':'other','epoch':1,'deploy':'d','opened':7}", &held[i]);
	}
	ask(SUBJECT_AGENT_LIST, "{'namespace':'other','epoch':1,'deploy':'d','opened':7}");
	is_answer("UNREACHABLE", "a command beyond the limit is refused at once");
	world_end();
}

int main(void)
{
	decisions();
	epochs();
	usual();
	fence();
	restored();
	waiting();
	late();
	lapse();
	committed();
	in_order();
	unsaved();
	before_adoption();
	capacity();
	invalid();
	return tap_done();
}
