/* Instances: what is ours, what is ready, who restarts what, volumes, the last query, facts, and
 * pre_deploy commands. */
#include "tests/lib/surroundings.h"

static struct deploy_of d1;

#define WEB "shop-web-0-d1"
#define HTTP                                                                                  \
	"'ports':{'http':{'port':80}},'ready':{'http':{'port':'http','path':'/'},'interval':" \
	"'1s','retries':3}"

static void world_with_deploy(void)
{
	d1 = (struct deploy_of){ "d1", 5, 0 };
	world_begin();
	open_deploy(&d1, NULL, "");
	take_lock(&d1);
}

static size_t count(const char *text, const char *part)
{
	size_t n = 0;

	for (const char *at = text; at && (at = strstr(at, part)); at += strlen(part))
		n++;
	return n;
}

static void is_asked(const char *what, size_t times, const char *name)
{
	size_t n = count(engine.asked.text, what);

	if (!ok(n == times, "%s: %s %zu times", name, what, times))
		tap_show("asked", engine.asked.text);
}

/* --- readiness */

static void running(void)
{
	world_with_deploy();
	ask_start(&d1, "web", 0, RUNNING);
	pass(SECOND);
	is_state(WEB, "starting", "without a probe it is not ready at once");
	pass(2 * SECOND);
	is_state(WEB, "ready", "it is when it has run for its time");
	is(engine_find(WEB)->policy, "unless-stopped", "from then on the engine restarts it");
	world_end();
	world_with_deploy();
	ask_start(&d1, "web", 0, "'ready':{'running':'10s'}");
	pass(9 * SECOND);
	is_state(WEB, "starting", "the manifest says for how long");
	pass(2 * SECOND);
	is_state(WEB, "ready", "and then it is ready");
	world_end();
	world_with_deploy();
	ask_start(&d1, "web", 0, "'env':{}");
	pass(1900000);
	is_state(WEB, "starting", "2 s where it says nothing");
	pass(SECOND);
	is_state(WEB, "ready", "are enough");
	world_end();
}

static void ends_early(void)
{
	static const char *const policies[] = { "always", "on-failure", "unless-stopped", "no" };

	for (size_t i = 0; i < ARRAY_SIZE(policies); i++) {
		_cleanup_free_ char *more = xasprintf(RUNNING ",'restart':'%s'", policies[i]);
		_cleanup_free_ char *reason = NULL;

		world_with_deploy();
		ask_start(&d1, "web", 0, more);
		pass(SECOND);
		engine.output = (char *)"\1\0\0\0";
		engine_die(WEB, 3);
		engine_restart(WEB);
		pass(60 * SECOND);
		is_state(WEB, "failed", policies[i]);
		is_asked("/start", 1, "it has run once");
		reason = published_field("shop", WEB, "reason");
		ok(reason && strstr(reason, "exit code 3 before it was ready"), "  %s", reason);
		world_end();
	}
}

static void restarted_early(void)
{
	world_with_deploy();
	ask_start(&d1, "web", 0, HTTP);
	engine.sick = true;
	pass(SECOND);
	is_state(WEB, "starting", "it is probed");
	engine.quiet = true;
	engine_die(WEB, 1);
	free(engine_find(WEB)->policy);
	engine_find(WEB)->policy = xstrdup("always");
	engine_restart(WEB);
	engine.quiet = false;
	engine.sick = false;
	ask(SUBJECT_AGENT_PROBE, "{%s,'instances':['" WEB "']}", command(&d1));
	pass(SECOND);
	is_state(WEB, "failed", "one that somebody has restarted before it was ready has failed");
	is(engine_state(WEB), "exited", "and is stopped");
	world_end();
}

static void probed(void)
{
	_cleanup_free_ char *reason = NULL;

	world_with_deploy();
	engine.sick = true;
	ask_start(&d1, "web", 0, HTTP);
	pass(2 * SECOND);
	is_state(WEB, "starting", "a probe that fails does not make it ready");
	pass(5 * SECOND);
	is_state(WEB, "failed", "so many in a row do");
	is(engine_state(WEB), "exited", "it does not go on running");
	reason = published_field("shop", WEB, "reason");
	ok(reason && strstr(reason, "not ready after 3 probes: GET /: status 503"), "  %s", reason);
	world_end();
	world_with_deploy();
	ask_start(&d1, "web", 0, HTTP);
	pass(SECOND);
	is_state(WEB, "ready", "one that is answered does");
	engine.sick = true;
	pass(20 * SECOND);
	is_state(WEB, "unready", "later failures make it unready");
	engine.sick = false;
	pass(20 * SECOND);
	is_state(WEB, "ready", "and a later success ready again");
	world_end();
}

/* --- restarts */

static void engine_restarts(void)
{
	_cleanup_free_ char *restarts = NULL;

	world_with_deploy();
	ask_start(&d1, "web", 0, RUNNING);
	pass(3 * SECOND);
	engine_die(WEB, 1);
	settle();
	is_state(WEB, "unready", "a ready one that dies is unready at once");
	engine_restart(WEB);
	settle();
	is_state(WEB, "unready", "restarted, it is not ready yet");
	pass(3 * SECOND);
	is_state(WEB, "ready", "it is ready again after its time");
	restarts = published_field("shop", WEB, "restarts");
	is(restarts, "1", "the restart is counted");
	is_asked("/start", 1, "agentd has started it once");
	world_end();
}

static void missed_restart(void)
{
	world_with_deploy();
	ask_start(&d1, "web", 0, RUNNING);
	pass(3 * SECOND);
	agentd_kill();
	engine.quiet = true;
	engine_find(WEB)->state = "exited";
	engine_find(WEB)->restarts++;
	engine_find(WEB)->state = "running";
	agentd_begin();
	engine.quiet = false;
	is_state(WEB, "unready", "a restart while agentd was away is noticed");
	pass(3 * SECOND);
	is_state(WEB, "ready", "it is ready again after its time");
	world_end();
}

/* An engine that cannot change the policy: agentd restarts. */
static void own_restarts(void)
{
	_cleanup_free_ char *restarts = NULL;

	world_with_deploy();
	engine.no_update = engine.podman = true;
	agentd_restart();
	ask_start(&d1, "web", 0, RUNNING);
	ask_start(&d1, "web", 1, RUNNING ",'restart':'on-failure'");
	pass(3 * SECOND);
	is_state(WEB, "ready", "an engine without such a request");
	is(engine_find(WEB)->policy, "no", "does not restart");
	is(count(log_lines, "cannot set the restart policy") == 1 ? "once" : log_lines, "once",
	   "that is logged once");
	engine_die(WEB, 0);
	engine_die("shop-web-1-d1", 0);
	pass(SECOND);
	is(engine_state(WEB), "running", "agentd starts it again");
	is(engine_state("shop-web-1-d1"), "exited", "on-failure is not for exit code 0");
	is_state("shop-web-1-d1", "failed", "it has ended for good");
	is_state(WEB, "unready", "it is not ready yet");
	pass(3 * SECOND);
	is_state(WEB, "ready", "then it is");
	restarts = published_field("shop", WEB, "restarts");
	is(restarts, "1", "the restart is counted");
	for (int i = 0; i < 5; i++) {
		engine_die(WEB, 1);
		pass(100 * SECOND);
	}
	is(engine_state(WEB), "running", "however often");
	engine_die(WEB, 1);
	agentd_restart();
	pass(5 * SECOND);
	is(engine_state(WEB), "running", "also across a restart of agentd");
	write_head(&d1, false, "d1", "");
	ask_ref(SUBJECT_AGENT_REMOVE, &d1, WEB);
	pass(5 * SECOND);
	is(engine_state(WEB), "none", "what is removed stays away");
	world_end();
}

/* It dies between being ready and the engine's change of policy. */
static void policy_races(void)
{
	world_with_deploy();
	engine.hold = "/update";
	ask_start(&d1, "web", 0, RUNNING);
	pass(3 * SECOND);
	is_state(WEB, "ready", "the engine takes its time to change the policy");
	engine_die(WEB, 1);
	pass(SECOND);
	is(engine_state(WEB), "running", "it died before: agentd starts it");
	engine.hold = NULL;
	pass(5 * SECOND);
	is(engine_find(WEB)->policy, "unless-stopped", "the next time the engine does");
	world_end();
	world_with_deploy();
	engine.hold = "/update";
	ask_start(&d1, "web", 0, RUNNING);
	pass(3 * SECOND);
	engine.hold = NULL;
	agentd_restart();
	pass(5 * SECOND);
	is(engine_find(WEB)->policy, "unless-stopped", "a restarted agentd sets it too");
	world_end();
}

/* --- identity */

static void copies(void)
{
	struct container *copy;
	_cleanup_free_ char *id = NULL;

	world_with_deploy();
	ask_start(&d1, "web", 0, RUNNING);
	pass(3 * SECOND);
	copy = engine_make("by-hand", engine_find(WEB)->labels);
	container_start(copy);
	settle();
	agentd_restart();
	ask(SUBJECT_AGENT_LIST, "{'namespace':'shop'}");
	is_int((long long)count(answer.text, "\"id\":\"" WEB "\""), 1,
	       "a copy of its image, run by hand, is not listed");
	id = published_field("shop", WEB, "container");
	ok(id && !strstr(id, "by-hand"), "it is not adopted: %s", id);
	engine_die("by-hand", 0);
	pass(SECOND);
	is_state(WEB, "ready", "its end changes nothing");
	write_head(&d1, false, "d1", "");
	ask_ref(SUBJECT_AGENT_REMOVE, &d1, WEB);
	pass(SECOND);
	is(engine_state(WEB), "none", "a removal removes ours");
	is(engine_state("by-hand"), "exited", "and leaves the stranger's");
	world_end();
}

static void strangers(void)
{
	_cleanup_json_ json_t *labels =
		json_of("{'ployz.machine':'m1','ployz.namespace':'shop','ployz.service':'web',"
			"'ployz.instance':'shop-web-0-d1','ployz.slot':'0','ployz.deploy':'d1'}");
	_cleanup_free_ char *reason = NULL;

	world_with_deploy();
	container_start(engine_make(WEB, labels));
	agentd_restart();
	ask(SUBJECT_AGENT_LIST, "{'namespace':'shop'}");
	ok(!strstr(answer.text, "shop-web"), "labels and a name do not make it ours: %s",
	   answer.text);
	ok(!published("shop", WEB), "it is not published");
	ask_start(&d1, "web", 0, RUNNING);
	pass(SECOND);
	is_state(WEB, "failed", "one of ours cannot be made beside it");
	reason = published_field("shop", WEB, "reason");
	ok(reason && strstr(reason, "did not make has this name; remove or rename it"), "  %s",
	   reason);
	ask_ref(SUBJECT_AGENT_REMOVE, &d1, WEB);
	pass(SECOND);
	is_state(WEB, "gone", "ours is gone");
	is(engine_state(WEB), "running", "the stranger's stays");
	agentd_restart();
	is_state(WEB, "gone", "it is not adopted later either");
	world_end();
}

/* The answer to the creation is lost with the process, or with the engine. */
static void lost_answers(void)
{
	static const char *const ways[] = { "with the process", "with the engine" };

	for (size_t way = 0; way < ARRAY_SIZE(ways); way++) {
		_cleanup_json_ json_t *labels = NULL;

		world_with_deploy();
		engine.hold = "/containers/create";
		ask_start(&d1, "web", 0, RUNNING);
		pass(SECOND);
		labels = json_of("{'ployz.machine':'m1','ployz.namespace':'shop',"
				 "'ployz.service':'web','ployz.instance':'shop-web-0-d1',"
				 "'ployz.slot':'0','ployz.deploy':'d1','ployz.spec':"
				 "'{\\'name\\':\\'web\\'}'}");
		engine_make(WEB, labels);
		if (way == 0)
			agentd_kill();
		engine.hold = NULL;
		if (way == 0) {
			agentd_begin();
		} else {
			engine.away = true;
			pass(SECOND);
			engine.away = false;
			pass(SECOND);
		}
		ask(SUBJECT_AGENT_LIST, "{'namespace':'shop'}");
		ok(strstr(answer.text, WEB), "%s: it is found again: %s", ways[way], answer.text);
		ask_start(&d1, "web", 0, RUNNING);
		pass(3 * SECOND);
		is_state(WEB, "ready", "and started");
		is_asked("/containers/create", way, "not made again");
		world_end();
	}
}

/* The file of records is gone: facts know the ids too. */
static void lost_records(void)
{
	_cleanup_free_ char *path = NULL;

	world_with_deploy();
	ask_start(&d1, "web", 0, RUNNING);
	pass(3 * SECOND);
	path = xasprintf("%s/containers.json", state_directory);
	agentd_kill();
	unlink(path);
	agentd_begin();
	is_state(WEB, "ready",
		 "without its file of records it knows its containers from the facts");
	ask(SUBJECT_AGENT_LIST, "{'namespace':'shop'}");
	ok(strstr(answer.text, WEB), "and lists them");
	world_end();
}

/* Facts that were not stored before the process was killed. */
static void lost_facts(void)
{
	world_with_deploy();
	store.away = true;
	ask_start(&d1, "web", 0, RUNNING);
	pass(SECOND);
	agentd_kill();
	store.away = false;
	agentd_begin();
	pass(3 * SECOND);
	is_state(WEB, "ready", "a container without a fact is adopted: it is recorded");
	world_end();
}

static void being_made(void)
{
	world_with_deploy();
	engine.hold = "/containers/create";
	ask_start(&d1, "web", 0, RUNNING);
	pass(SECOND);
	ask(SUBJECT_AGENT_LIST, "{%s}", command(&d1));
	ok(strstr(answer.text, WEB), "a list has what is being made: %s", answer.text);
	take_lock(&d1);
	ok(strstr(answer.text, WEB), "so has a lock's answer");
	engine.hold = "/containers/json";
	agentd->engine->up = true;
	adopt_begin(agentd);
	engine.hold = NULL;
	pass(3 * SECOND);
	is_state(WEB, "ready", "what was made after a listing was asked for is not lost");
	world_end();
}

static void removed_outside(void)
{
	world_with_deploy();
	ask_start(&d1, "web", 0, RUNNING);
	ask_start(&d1, "web", 1, RUNNING);
	pass(3 * SECOND);
	engine_remove(WEB);
	pass(SECOND);
	is_state(WEB, "gone", "a container that somebody removes is gone");
	engine.quiet = true;
	engine_remove("shop-web-1-d1");
	engine.quiet = false;
	agentd_restart();
	is_state("shop-web-1-d1", "gone", "also while agentd is away");
	world_end();
}

/* --- requests that cannot be started */

static void unsent(void)
{
	_cleanup_free_ char *reason = NULL;

	world_with_deploy();
	fake_url_max = 60;
	ask_start(&d1, "web-with-a-long-name", 0, RUNNING);
	pass(SECOND);
	is_state("shop-web-with-a-long-name-0-d1", "failed",
		 "a request that cannot be started is answered");
	reason = published_field("shop", "shop-web-with-a-long-name-0-d1", "reason");
	ok(reason && strstr(reason, "too long"), "  %s", reason);
	ask_ref(SUBJECT_AGENT_REMOVE, &d1, "shop-web-with-a-long-name-0-d1");
	pass(SECOND);
	is_state("shop-web-with-a-long-name-0-d1", "gone", "the instance is not blocked");
	fake_url_max = 0;
	ask(SUBJECT_AGENT_PREPARE, "{%s,'image':'x','pull':'always'}", command(&d1));
	fake_url_max = 30;
	ask(SUBJECT_AGENT_PREPARE, "{%s,'image':'y','pull':'always'}", command(&d1));
	ask(SUBJECT_AGENT_PREPARE, "{%s,'image':'y','pull':'always'}", command(&d1));
	ok(strstr(answer.text, "\"failed\""), "so is a stream that cannot: %s", answer.text);
	fake_url_max = 0;
	world_end();
}

/* --- volumes */

#define DATA RUNNING ",'mounts':[{'volume':'data','target':'/data'}]"

static void ask_start_with(const char *service, const char *more, const char *new_volumes)
{
	ask(SUBJECT_AGENT_START,
	    "{%s,'instance':'shop-%s-0-d1','slot':0,'service':{'name':'%s','image':'x',%s},"
	    "'volumes':{'data':{},'more':{}},'new_volumes':[%s]}",
	    command(&d1), service, service, more, new_volumes);
}

static void volumes(void)
{
	_cleanup_free_ char *reason = NULL;

	world_with_deploy();
	ask_start_with("web", DATA, "");
	pass(SECOND);
	is_state(WEB, "failed", "a volume that must exist and does not");
	reason = published_field("shop", WEB, "reason");
	ok(reason && strstr(reason, "volume data ") && strstr(reason, "ployz.shop.data") &&
		   strstr(reason, "restore it"),
	   "  is named with the next step: %s", reason);
	is_asked("/containers/create", 0, "nothing is made");
	strv_push(&engine.volumes, xstrdup("ployz.shop.data"));
	ask_start_with("db", DATA, "");
	pass(3 * SECOND);
	is_state("shop-db-0-d1", "ready", "where it exists the instance starts");
	ask_start_with("queue", RUNNING ",'mounts':[{'volume':'more','target':'/data'}]", "'more'");
	pass(3 * SECOND);
	is_state("shop-queue-0-d1", "ready", "a new one may be made");
	ask_start_with("two",
		       RUNNING ",'mounts':[{'volume':'data','target':'/a'},{'volume':'more',"
			       "'target':'/b'}]",
		       "");
	pass(SECOND);
	is_state("shop-two-0-d1", "failed", "each is checked");
	ask_ref(SUBJECT_AGENT_REMOVE, &d1, "shop-db-0-d1");
	pass(SECOND);
	is_asked("DELETE /volumes", 0, "a removal deletes no volume");
	engine.refuse = "/volumes/";
	ask_start_with("odd", DATA, "");
	pass(SECOND);
	is_state("shop-odd-0-d1", "failed", "an engine that cannot say refuses the start");
	engine.refuse = NULL;
	engine.hold = "/volumes/";
	ask_start_with("late", DATA, "");
	engine.hold = NULL;
	engine.away = true;
	pass(SECOND);
	engine.away = false;
	pass(5 * SECOND);
	is_state("shop-late-0-d1", "ready", "an engine that was away is asked again");
	world_end();
}

/* --- the last query */

static void query(void)
{
	struct reply reply = { .given = false };
	_cleanup_free_ char *text = NULL;

	world_with_deploy();
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
	world_with_deploy();
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

	world_with_deploy();
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

	world_with_deploy();
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

	world_with_deploy();
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
	world_with_deploy();
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

	world_with_deploy();
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
	engine_die(PRE, 0);
	settle();
	ok(!published("shop", PRE), "when it has ended it is not published");
	ask_run();
	ok(strstr(answer.text, "\"done\""), "and done: %s", answer.text);
	is(engine_state(PRE), "none", "its container is removed");
	world_end();
	world_with_deploy();
	ask_run();
	engine_die(PRE, 4);
	settle();
	ask_run();
	ok(strstr(answer.text, "\"failed\"") && strstr(answer.text, "exit code 4"), "%s",
	   answer.text);
	world_end();
	world_with_deploy();
	ask_run();
	pass(61 * SECOND);
	take_lock(&d1);
	ask_run();
	ok(strstr(answer.text, "did not end within 60 s"), "a limit: %s", answer.text);
	is_asked("/stop", 1, "it is stopped");
	world_end();
}

/* agentd dies while it runs, or before it has started it; in Podman's words, too. */
static void pre_deploy_restarts(void)
{
	static const char *const made[] = { "created", "configured", "initialized" };

	for (size_t i = 0; i < ARRAY_SIZE(made); i++) {
		world_with_deploy();
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
	world_with_deploy();
	ask_run();
	agentd_kill();
	engine.quiet = true;
	engine_find(PRE)->state = "exited";
	engine.quiet = false;
	agentd_begin();
	ok(!published("shop", PRE), "one that ended while agentd was away is not published");
	world_end();
	world_with_deploy();
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

	world_with_deploy();
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
	running();
	ends_early();
	restarted_early();
	probed();
	engine_restarts();
	missed_restart();
	own_restarts();
	policy_races();
	copies();
	strangers();
	lost_answers();
	lost_records();
	lost_facts();
	being_made();
	removed_outside();
	unsent();
	volumes();
	query();
	query_ends();
	batches();
	cloned();
	late_write();
	refused();
	judged();
	pre_deploy();
	pre_deploy_restarts();
	pre_deploy_sweep();
	return tap_done();
}
