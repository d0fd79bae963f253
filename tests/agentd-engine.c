/* What agentd and the engine say to each other: listings, images, commands in containers, output,
 * events, an engine that is away; progress, and agentd's end. */
#include "tests/lib/surroundings.h"

static struct deploy_of d1;

static void lists(void)
{
	struct deploy_of d2 = { "d2", 6, 0 };

	world_with_deploy(&d1);
	ask(SUBJECT_AGENT_LOCK, "{%s,'holder':'m1','reserve':{'memory':1000,'cpus':0.5}}",
	    command(&d1));
	ask_start(&d1, "web", 0,
		  "'ports':{'http':{'port':80}},'publish':[{'port':'http','host_port':8080}],"
		  "'ready':{'running':'1s'}");
	pass(2 * SECOND);
	container_start(engine_make("stranger", NULL));
	ask(SUBJECT_AGENT_LIST, "{'images':['x','y']}");
	ok(strstr(answer.text, "\"engine\":true") && strstr(answer.text, "\"arch\":\"x86_64\"") &&
		   strstr(answer.text, "\"engine_version\":\"1.0\""),
	   "a list describes the engine: %s", answer.text);
	ok(strstr(answer.text, "\"port\":8080") && strstr(answer.text, "\"owner\":\"shop/web\""),
	   "a host port has its owner");
	ok(strstr(answer.text, "\"memory\":1000") && strstr(answer.text, "\"cpus\":0.5") &&
		   strstr(answer.text, "\"deploy\":\"d1\""),
	   "reservations are listed");
	is_int((long long)count(answer.text, "\"digest\":\"sha256:1\""), 3,
	       "so are the ids of the images that were asked for");
	is_int((long long)count(answer.text, "\"id\":\"shop-web-0-d1\""), 1, "and the instance");
	ok(!strstr(answer.text, "\"epoch\":0"), "without a namespace there is no epoch");
	pass(LOCK_TERM_USEC);
	ask(SUBJECT_AGENT_LIST, "{'namespace':'other'}");
	ok(!strstr(answer.text, WEB) && !strstr(answer.text, "\"reservations\":[{"),
	   "a lapsed reservation and other namespaces' instances are not: %s", answer.text);
	ask_ref(SUBJECT_AGENT_REMOVE, &d1, WEB);
	pass(SECOND);
	is_state(WEB, "gone", "what has ended is published …");
	open_deploy(&d2, NULL, "");
	take_lock(&d2);
	pass(SECOND);
	ok(!published("shop", WEB), "… until the namespace's next deploy");
	engine.refuse = "/containers/json";
	ask(SUBJECT_AGENT_LIST, "{}");
	ok(strstr(answer.text, "\"engine\":false") &&
		   strstr(answer.text, "\"engine_error\":\"no\""),
	   "a listing that the engine refuses says so: %s", answer.text);
	world_end();
}

static void owners(void)
{
	_cleanup_free_ char *text = NULL;

	world_with_deploy(&d1);
	ask_start(&d1, "web", 0,
		  "'ports':{'http':{'port':80}},'publish':[{'port':'http','host_port':8080}],"
		  "'ready':{'running':'1s'}");
	pass(2 * SECOND);
	/* The same ports and labels, made by hand. */
	engine_make("copy", engine_find(WEB)->labels)->body = json_incref(engine_find(WEB)->body);
	ask(SUBJECT_AGENT_LIST, "{}");
	is_int((long long)count(answer.text, "\"owner\":\"shop/web\""), 1,
	       "a copy's host port is not the service's");
	world_end();
}

static void images(void)
{
	world_with_deploy(&d1);
	ask(SUBJECT_AGENT_PREPARE, "{%s,'image':'x'}", command(&d1));
	ask(SUBJECT_AGENT_PREPARE, "{%s,'image':'x'}", command(&d1));
	ok(strstr(answer.text, "\"ready\"") && strstr(answer.text, "sha256:1"),
	   "an image that is there is ready: %s", answer.text);
	engine.no_image = true;
	ask(SUBJECT_AGENT_PREPARE, "{%s,'image':'y','pull':'never'}", command(&d1));
	ask(SUBJECT_AGENT_PREPARE, "{%s,'image':'y','pull':'never'}", command(&d1));
	ok(strstr(answer.text, "\"failed\"") && strstr(answer.text, "pull is never"),
	   "one that is not, and may not be pulled, has failed: %s", answer.text);
	engine.pull = "{\"status\":\"Downloading\",\"id\":\"a\",\"progressDetail\":{\"current\":5,"
		      "\"total\":10}}\n{\"status\":\"Extracting\",\"id\":\"a\",\"progressDetail\":{"
		      "\"current\":1,\"total\":10}}\n";
	ask(SUBJECT_AGENT_PREPARE, "{%s,'image':'z'}", command(&d1));
	ok(strstr(answer.text, "\"pulling\""), "one that is pulled: %s", answer.text);
	ask(SUBJECT_AGENT_PREPARE, "{%s,'image':'z'}", command(&d1));
	ok(strstr(answer.text, "\"ready\"") && strstr(answer.text, "\"done_bytes\":5"),
	   "is ready then: %s", answer.text);
	engine.no_image = true;
	engine.pull = "{\"error\":\"no such host\"}\n";
	ask(SUBJECT_AGENT_PREPARE, "{%s,'image':'q','pull':'always'}", command(&d1));
	ask(SUBJECT_AGENT_PREPARE, "{%s,'image':'q','pull':'always'}", command(&d1));
	ok(strstr(answer.text, "\"failed\"") && strstr(answer.text, "no such host"),
	   "a pull that fails gives the engine's reason: %s", answer.text);
	engine.pull = "{\"error\":\"write /x: no space left on device\"}\n";
	ask(SUBJECT_AGENT_PREPARE, "{%s,'image':'r','pull':'always'}", command(&d1));
	ask(SUBJECT_AGENT_PREPARE, "{%s,'image':'r','pull':'always'}", command(&d1));
	ok(strstr(answer.text, "disk on machine m1 is full") && strstr(answer.text, "free space"),
	   "a full disk is named with the next step: %s", answer.text);
	world_end();
}

static void commands(void)
{
	_cleanup_free_ char *reason = NULL;

	world_with_deploy(&d1);
	ask_start(&d1, "web", 0, "'ready':{'exec':['check','me'],'interval':'1s','retries':2}");
	pass(SECOND);
	is_state(WEB, "ready", "a command that ends with 0 makes it ready");
	engine.exec_code = 4;
	pass(20 * SECOND);
	is_state(WEB, "unready", "one that does not makes it unready");
	reason = published_field("shop", WEB, "reason");
	ok(reason && strstr(reason, "check: exit code 4: it says why"), "  %s", reason);
	engine.exec_code = 0;
	pass(10 * SECOND);
	is_state(WEB, "ready", "and ready again");
	engine.hold = "/exec";
	pass(30 * SECOND);
	is_state(WEB, "unready", "one that never ends counts as failed");
	engine.hold = NULL;
	pass(10 * SECOND);
	is_state(WEB, "ready", "until one does");
	engine.refuse = "/exec";
	pass(30 * SECOND);
	is_state(WEB, "unready", "so does one that the engine refuses");
	world_end();
	world_with_deploy(&d1);
	ask_start(&d1, "web", 0,
		  "'ports':{'http':{'port':80}},'ready':{'tcp':{'port':'http'},'interval':'1s',"
		  "'retries':2}");
	pass(10 * SECOND);
	is_state(WEB, "failed", "a port that cannot be reached");
	free(reason);
	reason = published_field("shop", WEB, "reason");
	ok(reason && strstr(reason, "port 80: Too many open files"), "  %s", reason);
	world_end();
}

static void output(void)
{
	_cleanup_free_ char *reason = NULL;

	world_with_deploy(&d1);
	ask_start(&d1, "web", 0, RUNNING);
	pass(SECOND);
	engine.output = (char *)"plain text\nlast\001line\n";
	engine_die(WEB, 3);
	settle();
	reason = published_field("shop", WEB, "reason");
	ok(reason && strstr(reason, "its last output: plain text | last line"),
	   "a failure has the last output: %s", reason);
	ask_start(&d1, "web", 1, RUNNING);
	pass(SECOND);
	progress_clear();
	ask(SUBJECT_AGENT_LOGS, "{'stream':'s1','namespace':'shop'}");
	ok(strstr(answer.text, "\"instances\":2"), "output of two instances: %s", answer.text);
	engine_die("shop-web-1-d1", 0);
	pass(SECOND);
	ok(n_progress > 2 && streq(progress[0].id, "s1") && strstr(progress[0].text, "plain text"),
	   "comes as progress");
	ok(strstr(progress[n_progress - 1].text, "\"end\"") ||
		   strstr(progress[n_progress - 2].text, "\"end\""),
	   "and ends");
	ask(SUBJECT_AGENT_LOGS, "{'stream':'s2','namespace':'shop','instance':'shop-none-0-d1'}");
	ok(strstr(answer.text, "\"instances\":0"), "of an instance that is not there: none");
	world_end();
}

/* A change is progress once the store has it. */
static void reports(void)
{
	size_t before;

	world_with_deploy(&d1);
	pass(SECOND);
	ask_start(&d1, "web", 0, RUNNING);
	pass(SECOND);
	before = n_progress;
	ok(before > 0 && streq(progress[0].id, "d1") &&
		   strstr(progress[0].text, "\"namespace\":\"shop\"") &&
		   strstr(progress[0].text, "\"service\":\"web\"") &&
		   strstr(progress[0].text, "\"machine\":\"m1\"") &&
		   strstr(progress[0].text, "\"instance\":\"" WEB "\""),
	   "changes are reported to the deploy: %s", before ? progress[0].text : "");
	store.away = true;
	pass(5 * SECOND);
	is_int((long long)(n_progress - before), 0, "not before they are acknowledged");
	store.away = false;
	pass(5 * SECOND);
	is_int((long long)(n_progress - before), 1, "then they are, each once");
	ok(strstr(progress[n_progress - 1].text, "\"state\":\"ready\""), "with the state: %s",
	   progress[n_progress - 1].text);
	world_end();
}

static void away(void)
{
	world_with_deploy(&d1);
	ask_start(&d1, "web", 0, RUNNING);
	pass(3 * SECOND);
	engine.away = true;
	ask(SUBJECT_AGENT_LIST, "{}");
	ok(strstr(answer.text, "\"engine\":false"), "an engine that breaks off is away: %s",
	   answer.text);
	pass(5 * SECOND);
	is_state(WEB, "ready", "that changes no fact");
	is_int((long long)count(log_lines, "cannot reach the container engine"), 1,
	       "it is logged once");
	ok(strstr(status_text, "cannot reach the container engine"), "and in the status: %s",
	   status_text);
	ask_ref(SUBJECT_AGENT_REMOVE, &d1, WEB);
	is_answer("ENGINE", "a command is refused");
	engine.quiet = true;
	engine.away = false;
	engine_find(WEB)->state = "exited";
	engine_find(WEB)->exit_code = 1;
	engine.quiet = false;
	pass(SECOND);
	is_state(WEB, "unready", "back, what happened meanwhile is seen");
	ok(strstr(log_lines, "reachable again"), "that is logged too");
	ok(strstr(status_text, "1 instances"), "and in the status: %s", status_text);
	world_end();
}

/* Events come in pieces, and of anything. */
static void events(void)
{
	static const char *const pieces[] = {
		"{\"Action\":\"oo",
		"m\",\"Actor\":{\"ID\":\"%s\",\"Attributes\":{\"ployz.instance\":\"" WEB "\"}}}\n{",
		"\"Action\":\"die\",\"Actor\":{\"ID\":\"other\",\"Attributes\":{\"ployz.instance\":"
		"\"" WEB "\",\"exitCode\":\"9\"}}}\nnot json\n",
	};
	struct http_request *stream = NULL;
	_cleanup_free_ char *reason = NULL;

	world_with_deploy(&d1);
	ask_start(&d1, "web", 0, RUNNING ",'restart':'no'");
	pass(3 * SECOND);
	for (struct http_request *r = agentd->http->requests; r; r = r->next)
		if (strstr(r->url, "/events"))
			stream = r;
	for (size_t i = 0; stream && i < ARRAY_SIZE(pieces); i++) {
		const char *hole = strstr(pieces[i], "%s");
		_cleanup_free_ char *text =
			hole ? xasprintf("%.*s%s%s", (int)(hole - pieces[i]), pieces[i],
					 engine_find(WEB)->id, hole + 2)
			     : xstrdup(pieces[i]);

		fake_piece(stream, 200, text, strlen(text));
	}
	settle();
	is_state(WEB, "ready", "another container's end is not its own");
	engine_die(WEB, 137);
	settle();
	reason = published_field("shop", WEB, "reason");
	ok(reason && strstr(reason, "exceeded its memory limit"), "its own has its reason: %s",
	   reason);
	is_state(WEB, "failed", "it has ended for good");
	fake_end(stream, -ECONNRESET, 0);
	settle();
	ok(strstr(log_lines, "cannot reach the container engine"), "a stream that ends is a loss");
	world_end();
}

/* A start waits for the end of what holds its port. */
static void ports(void)
{
	static const char *const more =
		"'ports':{'http':{'port':80}},'publish':[{'port':'http','host_port':8080}],"
		"'ready':{'running':'1s'}";

	world_with_deploy(&d1);
	ask_start(&d1, "web", 0, more);
	pass(3 * SECOND);
	engine.hold = "/stop";
	ask_ref(SUBJECT_AGENT_REMOVE, &d1, WEB);
	ask_start(&d1, "next", 0, more);
	ask_start(&d1, "free", 0, "'ready':{'running':'1s'}");
	pass(3 * SECOND);
	is_state("shop-next-0-d1", "created", "a start waits for the end of what holds its port");
	is_state("shop-free-0-d1", "ready", "one that needs no such port does not");
	engine.hold = NULL;
	pass(3 * SECOND);
	is_state("shop-next-0-d1", "ready", "and follows it");
	world_end();
}

/* Removal and stop at any moment of its way. */
static void interrupted(void)
{
	static const char *const held[] = { "/containers/create", "/start", "/json" };

	for (size_t i = 0; i < ARRAY_SIZE(held); i++) {
		world_with_deploy(&d1);
		engine.hold = held[i];
		ask_start(&d1, "web", 0, RUNNING);
		pass(SECOND);
		ask_ref(SUBJECT_AGENT_REMOVE, &d1, WEB);
		engine.hold = NULL;
		pass(5 * SECOND);
		is_state(WEB, "gone", held[i]);
		is(engine_state(WEB), "none", "  nothing is left");
		world_end();
		world_with_deploy(&d1);
		engine.hold = held[i];
		ask_start(&d1, "web", 0, RUNNING);
		pass(SECOND);
		ask_ref(SUBJECT_AGENT_STOP, &d1, WEB);
		engine.hold = NULL;
		pass(5 * SECOND);
		is_state(WEB, "stopped", held[i]);
		ok(!streq(engine_state(WEB), "running"), "  it does not run");
		ask_ref(SUBJECT_AGENT_RESUME, &d1, WEB);
		pass(5 * SECOND);
		ok(streq(engine_state(WEB), "running") || i == 0, "  resumed, it does");
		world_end();
	}
	world_with_deploy(&d1);
	ask_start(&d1, "web", 0, RUNNING ",'stop_grace':'3s'");
	pass(3 * SECOND);
	engine.hold = "/stop";
	ask_ref(SUBJECT_AGENT_STOP, &d1, WEB);
	ask_ref(SUBJECT_AGENT_RESUME, &d1, WEB);
	engine.hold = NULL;
	pass(5 * SECOND);
	is_state(WEB, "ready", "resumed while it was being stopped");
	ask(SUBJECT_AGENT_STOP, "{%s,'instance':'" WEB "','grace_ms':7500}", command(&d1));
	pass(SECOND);
	is_asked("/stop?t=8", 1, "the command's grace");
	is_asked("/stop?t=3", 1, "or the service's");
	world_end();
}

/* Told to end while the engine makes something, agentd waits for it. */
static void its_end(void)
{
	world_with_deploy(&d1);
	ok(daemon_.may_end(daemon_.may_end_userdata), "it may end at once when nothing is made");
	engine.hold = "/containers/create";
	ask_start(&d1, "web", 0, RUNNING);
	pass(SECOND);
	ok(!daemon_.may_end(daemon_.may_end_userdata), "while the engine makes something it waits");
	daemon_.stopping = true;
	ask_start(&d1, "web", 1, RUNNING);
	is_answer("UNREACHABLE", "and begins nothing");
	ok(!loop_ended, "it has not ended");
	engine.hold = NULL;
	settle();
	ok(loop_ended, "then it ends");
	is(engine_state(WEB), "created", "what was made is not started");
	world_end();
	world_with_deploy(&d1);
	engine.hold = "/containers/create";
	ask_start(&d1, "web", 0, RUNNING);
	pass(SECOND);
	daemon_.may_end(daemon_.may_end_userdata);
	daemon_.stopping = true;
	pass(ENGINE_MAKING_USEC - SECOND);
	ok(!loop_ended, "it waits for a time");
	pass(2 * SECOND);
	ok(loop_ended, "not for ever");
	world_end();
}

/* A pre_deploy command of an earlier deploy, in the same process. */
static void earlier_run(void)
{
	struct deploy_of d2 = { "d2", 6, 0 };

	world_with_deploy(&d1);
	ask(SUBJECT_AGENT_RUN,
	    "{%s,'service':{'name':'web','image':'x','pre_deploy':{'command':['x']}}}",
	    command(&d1));
	open_deploy(&d2, NULL, "");
	take_lock(&d2);
	ok(!published("shop", "shop-web--1-d1"), "the next deploy ends an earlier one's command");
	pass(SECOND);
	is(engine_state("shop-web--1-d1"), "none", "and removes its container");
	ask(SUBJECT_AGENT_RUN,
	    "{%s,'service':{'name':'web','image':'x','pre_deploy':{'command':['x']}}}",
	    command(&d2));
	take_lock(&d2);
	ok(published("shop", "shop-web--1-d2"), "its own goes on when it locks again");
	engine.output = (char *)"without a newline";
	engine_die("shop-web--1-d2", 5);
	settle();
	ask(SUBJECT_AGENT_RUN,
	    "{%s,'service':{'name':'web','image':'x','pre_deploy':{'command':['x']}}}",
	    command(&d2));
	ok(strstr(answer.text, "\"exit_code\":5") &&
		   strstr(answer.text, "its last line: without a newline"),
	   "%s", answer.text);
	world_end();
}

int main(void)
{
	lists();
	owners();
	images();
	commands();
	output();
	reports();
	away();
	events();
	ports();
	interrupted();
	its_end();
	earlier_run();
	return tap_done();
}
