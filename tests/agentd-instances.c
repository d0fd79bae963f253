/* Instances: what is ready, who restarts what, what is ours, and volumes. */
#include "tests/lib/surroundings.h"

static struct deploy_of d1;

#define HTTP                                                                                  \
	"'ports':{'http':{'port':80}},'ready':{'http':{'port':'http','path':'/'},'interval':" \
	"'1s','retries':3}"

/* --- readiness */

static void running(void)
{
	_cleanup_free_ char *slot = NULL, *epoch = NULL;

	world_with_deploy(&d1);
	ask_start(&d1, "web", 7, RUNNING);
	ask_start(&d1, "web", 0, RUNNING);
	pass(SECOND);
	slot = published_field("shop", "shop-web-7-d1", "slot");
	epoch = published_field("shop", "shop-web-7-d1", "epoch");
	ok(streq(slot, "7") && streq(epoch, "5"), "its slot and epoch are published");
	is_state(WEB, "starting", "without a probe it is not ready at once");
	pass(2 * SECOND);
	is_state(WEB, "ready", "it is when it has run for its time");
	is(engine_find(WEB)->policy, "unless-stopped", "from then on the engine restarts it");
	agentd_restart();
	pass(5 * SECOND);
	is_asked("/update", 2, "it is told so once for each");
	world_end();
	world_with_deploy(&d1);
	ask_start(&d1, "web", 0, "'ready':{'running':'10s'}");
	pass(9 * SECOND);
	is_state(WEB, "starting", "the manifest says for how long");
	pass(2 * SECOND);
	is_state(WEB, "ready", "and then it is ready");
	world_end();
	world_with_deploy(&d1);
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

		world_with_deploy(&d1);
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
	world_with_deploy(&d1);
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

	world_with_deploy(&d1);
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
	world_with_deploy(&d1);
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

	world_with_deploy(&d1);
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
	world_with_deploy(&d1);
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

	world_with_deploy(&d1);
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
	world_with_deploy(&d1);
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
	world_with_deploy(&d1);
	engine.hold = "/update";
	ask_start(&d1, "web", 0, RUNNING);
	pass(3 * SECOND);
	engine.hold = NULL;
	agentd_restart();
	pass(5 * SECOND);
	is(engine_find(WEB)->policy, "unless-stopped", "a restarted agentd sets it too");
	world_end();
}

/* An end before the last start, of which an event comes late. */
static void late_event(void)
{
	struct http_request *stream = NULL;
	_cleanup_free_ char *text = NULL;

	world_with_deploy(&d1);
	ask_start(&d1, "web", 0, RUNNING);
	pass(3 * SECOND);
	for (struct http_request *r = agentd->http->requests; r; r = r->next)
		if (strstr(r->url, "/events"))
			stream = r;
	text = xasprintf("{\"Action\":\"die\",\"timeNano\":1000,\"Actor\":{\"ID\":\"%s\","
			 "\"Attributes\":{\"ployz.instance\":\"" WEB "\",\"exitCode\":\"1\"}}}\n",
			 engine_find(WEB)->id);
	fake_piece(stream, 200, text, strlen(text));
	settle();
	is_state(WEB, "ready", "an event of an earlier end is checked by an inspection");
	world_end();
}

/* What a deploy has stopped is not to run, whoever starts it. */
static void started_outside(void)
{
	world_with_deploy(&d1);
	ask_start(&d1, "web", 0, RUNNING);
	pass(3 * SECOND);
	ask_ref(SUBJECT_AGENT_STOP, &d1, WEB);
	pass(SECOND);
	container_start(engine_find(WEB));
	pass(SECOND);
	is(engine_state(WEB), "exited",
	   "a stopped instance that is started from outside is stopped");
	is_state(WEB, "stopped", "again");
	agentd_kill();
	container_start(engine_find(WEB));
	agentd_begin();
	pass(SECOND);
	is(engine_state(WEB), "exited", "also while agentd is away");
	ask_ref(SUBJECT_AGENT_RESUME, &d1, WEB);
	pass(5 * SECOND);
	is_state(WEB, "ready", "its deploy can resume it");
	world_end();
}

/* --- identity */

static void copies(void)
{
	struct container *copy;
	_cleanup_free_ char *id = NULL;

	world_with_deploy(&d1);
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

	world_with_deploy(&d1);
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

		world_with_deploy(&d1);
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

	world_with_deploy(&d1);
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
	world_with_deploy(&d1);
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
	world_with_deploy(&d1);
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
	world_with_deploy(&d1);
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

	world_with_deploy(&d1);
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

	world_with_deploy(&d1);
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
	late_event();
	started_outside();
	copies();
	strangers();
	lost_answers();
	lost_records();
	lost_facts();
	being_made();
	removed_outside();
	unsent();
	volumes();
	return tap_done();
}
