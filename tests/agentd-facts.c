/* Facts: the last query before the commit, what is appended and what is not, another machine with
 * the same id, and pre_deploy commands, which are in the facts while they run. */
#include "tests/lib/surroundings.h"

static struct deploy_of d1;

/* --- the last query */

static void query(void)
{
	struct reply reply = { .given = false };
	_cleanup_free_ char *text = NULL;

	world_with_deploy(&d1);
	ask_start(&d1, "web", 0, RUNNING);
	pass(3 * SECOND);
	ask(SUBJECT_AGENT_PROBE, "{%s,'instances':['" WEB "','shop-none-0-d1']}", command(&d1));
	is_answer("ok", "the candidates are inspected");
	ok(strstr(answer.text, "\"state\":\"ready\"") && count(answer.text, "\"sequence\":0}") == 1,
	   "  the answer has state and sequence: %s", answer.text);
	ok(count(answer.text, "\"sequence\"") == 2, "  one for each, in their order");
	engine.quiet = true;
	engine_die(WEB, 3);
	ask(SUBJECT_AGENT_PROBE, "{%s,'instances':['" WEB "']}", command(&d1));
	ok(strstr(answer.text, "\"state\":\"unready\""),
	   "a process that has ended, of which no event tells: %s", answer.text);
	is_state(WEB, "unready", "the fact fell with it");
	engine_restart(WEB);
	pass(3 * SECOND);
	ask(SUBJECT_AGENT_PROBE, "{%s,'instances':['" WEB "']}", command(&d1));
	pass(3 * SECOND);
	engine_die(WEB, 1);
	engine_restart(WEB);
	ask(SUBJECT_AGENT_PROBE, "{%s,'instances':['" WEB "']}", command(&d1));
	ok(strstr(answer.text, "\"state\":\"unready\""), "one that was restarted since: %s",
	   answer.text);
	engine.quiet = false;
	pass(5 * SECOND);
	text = xasprintf("{%s,'instances':['" WEB "']}", command(&d1));
	store.away = true;
	engine_die(WEB, 1);
	send_request(SUBJECT_AGENT_PROBE, text, &reply);
	pass(SECOND);
	ok(!reply.given, "it waits until the fact is acknowledged");
	pass(3 * SECOND);
	ok(reply.text && strstr(reply.text, "\"sequence\":0"), "or answers that it is not: %s",
	   reply.text);
	reply_clear(&reply);
	store.away = false;
	pass(5 * SECOND);
	engine.hold = "/json";
	send_request(SUBJECT_AGENT_PROBE, text, &reply);
	pass(4 * SECOND);
	is(code_of(&reply), "ENGINE", "an engine that does not answer is not taken for a state");
	reply_clear(&reply);
	engine.hold = NULL;
	world_end();
}

static void query_ends(void)
{
	world_with_deploy(&d1);
	ask_start(&d1, "web", 0, RUNNING ",'restart':'no'");
	pass(3 * SECOND);
	engine.quiet = true;
	engine.hold = "/logs";
	engine_die(WEB, 3);
	ask(SUBJECT_AGENT_PROBE, "{%s,'instances':['" WEB "']}", command(&d1));
	is_state(WEB, "unready", "one that ended for good falls at once");
	ok(!answer.given, "the answer waits for its last output");
	engine.hold = NULL;
	settle();
	ok(answer.text && strstr(answer.text, "\"state\":\"failed\""), "then it has failed: %s",
	   answer.text);
	engine.quiet = false;
	world_end();
}

/* --- facts */

static void batches(void)
{
	size_t before;

	world_with_deploy(&d1);
	before = store.appends;
	ask_start(&d1, "web", 0, RUNNING);
	ask_start(&d1, "web", 1, RUNNING);
	ask_start(&d1, "web", 2, RUNNING);
	pass(SECOND);
	ok(store.appends - before <= 3, "three starts are %zu entries", store.appends - before);
	pass(5 * SECOND);
	before = store.appends;
	agentd_restart();
	pass(60 * SECOND);
	is_int((long long)(store.appends - before), 0, "nothing is appended when nothing changes");
	world_end();
}

static void foreign_entry(const char *nonce)
{
	_cleanup_free_ char *text =
		xasprintf("{\"machine\":\"m1\",\"namespace\":\"shop\",\"instances\":[],\"nonce\":"
			  "\"%s\"}",
			  nonce);

	store_put(STREAM_FACTS, "ployz.v1.facts.m1.shop", text);
}

static void cloned(void)
{
	const struct entry *last;
	size_t appends;
	json_t *json;
	char *text;

	world_with_deploy(&d1);
	ask_start(&d1, "web", 0, RUNNING);
	pass(3 * SECOND);
	foreign_entry("somebody-else");
	last = store_last(STREAM_FACTS, "ployz.v1.facts.m1.shop");
	engine_die(WEB, 1);
	pass(60 * SECOND);
	ok(store_last(STREAM_FACTS, "ployz.v1.facts.m1.shop") == last,
	   "another machine with this id: its entry is not overwritten");
	ok(strstr(log_lines, "another machine with this id") && strstr(log_lines, "another id"),
	   "the log says so, and what to do");
	ok(strstr(status_text, "another machine with this id"), "so does the status: %s",
	   status_text);
	appends = store.appends;
	engine_restart(WEB);
	pass(10 * SECOND);
	is_int((long long)(store.appends - appends), 0, "no append is tried any more");
	json = status_fn(agentd);
	text = json_text(json);
	ok(strstr(text, "\"cloned\":true"), "the namespace is marked: %s", text);
	free(text);
	json_decref(json);
	take_lock(&d1);
	ask_start(&d1, "web", 1, RUNNING);
	is_answer("REFUSED", "nothing is started");
	ok(answer.failure.hint && strstr(answer.failure.hint, "another id"), "  %s; %s",
	   answer.failure.message, answer.failure.hint);
	ask(SUBJECT_AGENT_RUN,
	    "{%s,'service':{'name':'web','image':'x','pre_deploy':{'command':['x']}}}",
	    command(&d1));
	is_answer("REFUSED", "nothing is run");
	agentd_restart();
	take_lock(&d1);
	ask_start(&d1, "web", 1, RUNNING);
	is_answer("ok", "a restart, when the operator has decided, reads the facts anew");
	world_end();
}

/* A write of an earlier process that arrives late is no clone. */
static void late_write(void)
{
	_cleanup_free_ char *nonce = NULL;

	world_with_deploy(&d1);
	ask_start(&d1, "web", 0, RUNNING);
	pass(3 * SECOND);
	nonce = xasprintf("%s-x", records_incarnation(agentd->records));
	agentd_restart();
	foreign_entry(nonce);
	engine_die(WEB, 1);
	pass(5 * SECOND);
	is_state(WEB, "unready", "it is written over");
	ok(!strstr(log_lines, "another machine"), "and no other machine is suspected");
	store.lost = true;
	engine_restart(WEB);
	pass(SECOND);
	store.lost = false;
	pass(5 * SECOND);
	is_state(WEB, "ready", "an own write without an answer is recognised");
	ok(!strstr(log_lines, "another machine"), "and no other machine is suspected");
	world_end();
}

static void refused(void)
{
	world_with_deploy(&d1);
	ask_start(&d1, "web", 0, RUNNING);
	pass(3 * SECOND);
	store.full = true;
	engine_die(WEB, 1);
	pass(3 * SECOND);
	ask_start(&d1, "web", 1, RUNNING);
	is_answer("REFUSED", "a store that takes no facts: nothing is started");
	ok(strstr(answer.failure.message, "no space left"), "  %s", answer.failure.message);
	is_int((long long)count(log_lines, "cannot append the facts"), 1, "that is logged once");
	store.full = false;
	pass(3 * SECOND);
	is_state(WEB, "unready", "when it takes them again, they are there");
	take_lock(&d1);
	ask_start(&d1, "web", 1, RUNNING);
	is_answer("ok", "and what is asked is started");
	world_end();
}

/* The refused start is undone before the store takes facts again: nothing remains to be written, so
 * no later append would end the refusal. */
static void refusal_forgotten(void)
{
	struct deploy_of d2 = { "d2", 6, 0 };

	world_with_deploy(&d1);
	ask_start(&d1, "web", 0, RUNNING);
	pass(3 * SECOND);
	store.full = true;
	ask_start(&d1, "web", 1, RUNNING);
	pass(3 * SECOND);
	ask_start(&d1, "web", 2, RUNNING);
	is_answer("REFUSED", "while the disk is full nothing is started");
	ask_ref(SUBJECT_AGENT_REMOVE, &d1, "shop-web-1-d1");
	pass(SECOND);
	open_deploy(&d2, NULL, "");
	take_lock(&d2);
	pass(3 * SECOND);
	store.full = false;
	pass(3 * SECOND);
	take_lock(&d2);
	ask_start(&d2, "web", 1, RUNNING);
	is_answer("ok", "with room and nothing left to write, a start is accepted");
	pass(3 * SECOND);
	is_state("shop-web-1-d2", "ready", "and its fact is stored");
	world_end();
}

/* Reading back fails too, and an entry cannot be decoded. */
static void read_back(void)
{
	world_with_deploy(&d1);
	ask_start(&d1, "web", 0, RUNNING);
	pass(3 * SECOND);
	store.away = true;
	engine_die(WEB, 1);
	settle();
	for (int i = 0; i < 40; i++) {
		store_time_out();
		pass(SECOND);
	}
	is_int((long long)count(log_lines, "cannot append the facts"), 1,
	       "a store that does not answer is logged once");
	store.away = false;
	pass(15 * SECOND);
	is_state(WEB, "unready", "when it does, the facts are there");
	ok(strstr(log_lines, "takes facts again"), "that is logged too");
	store_put(STREAM_FACTS, "ployz.v1.facts.m1.shop", "{\"machine\":7}");
	engine_restart(WEB);
	pass(5 * SECOND);
	ok(strstr(log_lines, "another machine with this id"),
	   "an entry that cannot be decoded is not this machine's");
	agentd_restart();
	ok(strstr(log_lines, "cannot decode entry"), "at the start it is reported");
	pass(5 * SECOND);
	is_state(WEB, "ready", "what runs is adopted, however often it was restarted before");
	engine_die(WEB, 1);
	pass(5 * SECOND);
	is_state(WEB, "unready", "and replaced by the next change");
	world_end();
}

/* A healthy instance whose facts are lost, while its probe fails. */
static void lost(void)
{
	world_with_deploy(&d1);
	ask_start(&d1, "web", 0,
		  "'ports':{'http':{'port':80}},'ready':{'http':{'port':'http','path':'/'},"
		  "'interval':'1s','retries':3}");
	pass(3 * SECOND);
	is_state(WEB, "ready", "an instance is ready");
	agentd_kill();
	store_put(STREAM_FACTS, "ployz.v1.facts.m1.shop",
		  "{\"machine\":\"m1\",\"namespace\":\"shop\",\"instances\":[]}");
	engine.sick = true;
	agentd_begin();
	pass(60 * SECOND);
	is(engine_state(WEB), "running", "its facts are lost and it is slow: it is not stopped");
	is_state(WEB, "unready", "it is unready");
	engine.sick = false;
	pass(20 * SECOND);
	is_state(WEB, "ready", "until it is ready again");
	world_end();
}

/* The store is an older copy, which an operator has accepted: its generation is higher. */
static void reverted(void)
{
	const struct entry *last;

	world_with_deploy(&d1);
	ask_start(&d1, "web", 0, RUNNING);
	pass(3 * SECOND);
	is_state(WEB, "ready", "an instance is ready");
	store_revert_facts();
	is_state(WEB, NULL, "the store is an older copy without it");
	pass(60 * SECOND);
	d1.opened = store_put(STREAM_INTENT, "ployz.v1.intent.namespace.shop",
			      "{\"namespace\":\"shop\",\"writer\":\"d2\",\"epoch\":6,"
			      "\"generation\":2,\"open\":{\"deploy\":\"d2\",\"epoch\":6,"
			      "\"generation\":2}}");
	ask(SUBJECT_AGENT_LIST,
	    "{'namespace':'shop','epoch':6,'deploy':'d2','generation':2,'opened':%llu}",
	    (unsigned long long)d1.opened);
	is_answer("ok", "the next deploy opens in the next generation");
	pass(5 * SECOND);
	last = store_last(STREAM_FACTS, "ployz.v1.facts.m1.shop");
	ok(last && strstr(last->data, WEB), "and the facts are stored again");
	world_end();
}

static void judged(void)
{
	static const struct {
		const char *name;
		bool there;
		const char *nonce;
		uint64_t sequence, expected;
		const char *previous;
		enum facts_verdict verdict;
	} rows[] = {
		{ "no entry", false, NULL, 0, 5, "p", FACTS_RETRY },
		{ "an older one: the store has gone back", true, "x-1", 4, 5, "p", FACTS_RETRY },
		{ "the expected one", true, "x-1", 5, 5, "p", FACTS_RETRY },
		{ "the one that was sent", true, "me-7", 6, 5, "p", FACTS_STORED },
		{ "an earlier one of this process", true, "me-6", 6, 5, "p", FACTS_RETRY },
		{ "one of the last process", true, "p-6", 6, 5, "p", FACTS_RETRY },
		{ "one whose writer only begins like it", true, "me2-6", 6, 5, "p", FACTS_CLONED },
		{ "another machine's", true, "x-1", 6, 5, "p", FACTS_CLONED },
		{ "without a nonce", true, NULL, 6, 5, NULL, FACTS_CLONED },
		{ "of an unknown last process", true, "-6", 6, 5, "", FACTS_CLONED },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct instances entry = { .nonce = (char *)rows[i].nonce };

		is_int(facts_judge(rows[i].there ? &entry : NULL, rows[i].sequence,
				   rows[i].expected, "me-7", "me", rows[i].previous),
		       rows[i].verdict, rows[i].name);
	}
}

/* --- pre_deploy */

#define PRE "shop-web--1-d1"

static void ask_run(void)
{
	ask(SUBJECT_AGENT_RUN,
	    "{%s,'service':{'name':'web','image':'x','pre_deploy':{'command':['migrate'],"
	    "'timeout':'60s'}}}",
	    command(&d1));
}

static void pre_deploy(void)
{
	_cleanup_free_ char *slot = NULL, *address = NULL, *deploy = NULL;

	world_with_deploy(&d1);
	ask_run();
	ok(strstr(answer.text, "\"running\""), "a command runs: %s", answer.text);
	slot = published_field("shop", PRE, "slot");
	address = published_field("shop", PRE, "address");
	deploy = published_field("shop", PRE, "deploy");
	is(slot, "-1", "it is published, with slot -1");
	ok(address && strstr(address, "10.101.1."), "its address %s", address);
	is(deploy, "\"d1\"", "and its deploy");
	is_state(PRE, "starting", "as starting");
	ask(SUBJECT_AGENT_LIST, "{'namespace':'shop'}");
	ok(!strstr(answer.text, PRE), "a list has only instances that stay");
	engine.output = (char *)"migrating\n";
	engine.quiet = true;
	engine_die(PRE, 0);
	settle();
	engine.quiet = false;
	ok(!published("shop", PRE), "when it has ended it is not published");
	ok(n_progress && strstr(progress[n_progress - 1].text, "migrating") &&
		   streq(progress[n_progress - 1].id, "d1"),
	   "its output is progress");
	ask_run();
	ok(strstr(answer.text, "\"done\""), "and done: %s", answer.text);
	is(engine_state(PRE), "none", "its container is removed");
	ok(!records_expect(agentd->records, PRE), "and its record");
	world_end();
	world_with_deploy(&d1);
	engine.refuse = "DELETE";
	ask_run();
	engine_die(PRE, 0);
	settle();
	ok(records_id(agentd->records, PRE) && strstr(log_lines, "cannot remove the pre_deploy"),
	   "one that cannot be removed stays recorded");
	world_end();
	world_with_deploy(&d1);
	ask_run();
	engine_die(PRE, 4);
	settle();
	ask_run();
	ok(strstr(answer.text, "\"failed\"") && strstr(answer.text, "exit code 4"), "%s",
	   answer.text);
	world_end();
	world_with_deploy(&d1);
	ask_run();
	pass(61 * SECOND);
	take_lock(&d1);
	ask_run();
	ok(strstr(answer.text, "did not end within 60 s"), "a limit: %s", answer.text);
	is_asked("/stop", 1, "it is stopped");
	world_end();
}

/* Podman sometimes follows the output of a process that has ended without an end. */
static void pre_deploy_endless(void)
{
	world_with_deploy(&d1);
	engine.endless_follow = true;
	engine.output = (char *)"no such table\n";
	ask_run();
	engine_die(PRE, 4);
	pass(SECOND);
	ask_run();
	ok(strstr(answer.text, "\"running\""), "its output is awaited: %s", answer.text);
	pass(2 * SECOND);
	ask_run();
	ok(strstr(answer.text, "exit code 4; its last line: no such table"),
	   "output that does not end is read again without following: %s", answer.text);
	is_int((long long)count(answer.text, "no such table"), 1, "once");
	is(engine_state(PRE), "none", "its container is removed");
	world_end();
	world_with_deploy(&d1);
	engine.hold = "/logs";
	ask_run();
	engine_die(PRE, 0);
	pass(5 * SECOND);
	ask_run();
	ok(strstr(answer.text, "\"done\""), "without any output its exit code decides: %s",
	   answer.text);
	world_end();
	world_with_deploy(&d1);
	engine.hold = "/logs";
	ask_run();
	pass(61 * SECOND);
	pass(5 * SECOND);
	take_lock(&d1);
	ask_run();
	ok(strstr(answer.text, "did not end within 60 s"), "and the limit holds: %s", answer.text);
	world_end();
}

/* agentd dies while it runs, or before it has started it; in Podman's words, too. */
static void pre_deploy_restarts(void)
{
	static const char *const made[] = { "created", "configured", "initialized" };

	for (size_t i = 0; i < ARRAY_SIZE(made); i++) {
		world_with_deploy(&d1);
		engine.hold = "/start";
		ask_run();
		agentd_restart();
		engine.hold = NULL;
		engine_find(PRE)->state = made[i];
		take_lock(&d1);
		ask_run();
		is(engine_state(PRE), "running", made[i]);
		ok(published("shop", PRE), "it is published");
		agentd_restart();
		ok(published("shop", PRE), "after a restart it still is");
		ask_run();
		engine_die(PRE, 0);
		engine_find(PRE)->state = i ? "stopped" : "exited";
		settle();
		ask_run();
		ok(strstr(answer.text, "\"done\""), "what has run is not run again: %s",
		   answer.text);
		is_asked("/start", 1, "once");
		world_end();
	}
	world_with_deploy(&d1);
	ask_run();
	agentd_kill();
	engine.quiet = true;
	engine_find(PRE)->state = "exited";
	engine.quiet = false;
	agentd_begin();
	ok(!published("shop", PRE), "one that ended while agentd was away is not published");
	world_end();
	world_with_deploy(&d1);
	ask_run();
	agentd_restart();
	engine_die(PRE, 0);
	settle();
	ok(!published("shop", PRE), "nor one that ends and nobody asks for");
	world_end();
}

/* What another deploy has left, and what is only labelled like it. */
static void pre_deploy_sweep(void)
{
	struct deploy_of d2 = { "d2", 6, 0 };
	struct container *copy;

	world_with_deploy(&d1);
	ask_run();
	copy = engine_make("copied", engine_find(PRE)->labels);
	container_start(copy);
	agentd_restart();
	open_deploy(&d2, NULL, "");
	take_lock(&d2);
	pass(SECOND);
	is(engine_state(PRE), "none", "the next deploy removes what an earlier one has left");
	ok(!published("shop", PRE), "it is not published any more");
	is(engine_state("copied"), "running", "a copy of it stays");
	world_end();
}

int main(void)
{
	query();
	query_ends();
	batches();
	cloned();
	late_write();
	refused();
	refusal_forgotten();
	read_back();
	lost();
	reverted();
	judged();
	pre_deploy();
	pre_deploy_endless();
	pre_deploy_restarts();
	pre_deploy_sweep();
	return tap_done();
}
