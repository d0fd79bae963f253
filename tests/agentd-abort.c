/* Presumed abort: what becomes of an instance that a deploy has stopped when its holder is gone. */
#include "tests/lib/surroundings.h"

static struct deploy_of d0, d1, d2;

#define OLD "shop-web-0-d0"
#define NEW "shop-web-0-d1"
#define NAMES_OLD "web/0/" OLD "/d0"
#define NAMES_NEW "web/0/" NEW "/d1"

#define PUBLISHED                                                                     \
	"'ports':{'http':{'port':80}},'publish':[{'port':'http','host_port':8080}],'" \
	"ready':{'running':'2s'}"

/* A committed instance with a host port. */
static void one_committed(void)
{
	d0 = (struct deploy_of){ "d0", 4, 0 };
	d1 = (struct deploy_of){ "d1", 5, 0 };
	d2 = (struct deploy_of){ "d2", 6, 0 };
	world_begin();
	open_deploy(&d0, NULL, "");
	take_lock(&d0);
	ask_start(&d0, "web", 0, PUBLISHED);
	pass(3 * SECOND);
	write_head(&d0, false, "d0", NAMES_OLD);
	ask_unlock(&d0);
	is_state(OLD, "ready", "an instance is committed and ready");
}

/* A stop-first update, as far as that its candidate is ready. */
static void updated(void)
{
	one_committed();
	open_deploy(&d1, "d0", NAMES_OLD);
	take_lock(&d1);
	ask_ref(SUBJECT_AGENT_DRAIN, &d1, OLD);
	ask_ref(SUBJECT_AGENT_STOP, &d1, OLD);
	pass(SECOND);
	is_state(OLD, "stopped", "its deploy stops the old one");
	ask_start(&d1, "web", 0, PUBLISHED);
	pass(3 * SECOND);
	is_state(NEW, "ready", "and starts a new one");
}

static void is_restored(const char *how)
{
	ok(streq(engine_state(OLD), "running"), "%s: the committed instance runs", how);
	ok(!streq(engine_state(NEW), "running"), "  the candidate does not");
	is_state(OLD, "ready", "  the facts say so");
}

static void holder_dies(void)
{
	updated();
	pass(LOCK_TERM_USEC - 4 * SECOND);
	ok(streq(engine_state(NEW), "running"), "while the lock may be renewed nothing happens");
	pass(8 * SECOND);
	is_restored("the holder died");
	is_state(NEW, "stopped", "the candidate is kept: a commit may still come");
	pass(600 * SECOND);
	is_state(NEW, "stopped", "for as long as the deploy is open");
	open_deploy(&d2, "d0", NAMES_OLD);
	pass(5 * SECOND);
	is_state(NEW, "gone", "when another deploy has closed it, the candidate is removed");
	is_state(OLD, "ready", "the committed instance stays");
	ok(!strstr(log_lines, "Bail"), "nothing else");
	world_end();
}

static void late_commit(void)
{
	updated();
	pass(LOCK_TERM_USEC + 5 * SECOND);
	is_restored("presumed aborted");
	write_head(&d1, false, "d1", NAMES_NEW);
	pass(5 * SECOND);
	ok(streq(engine_state(NEW), "running"), "a late commit: what it names runs again");
	ok(streq(engine_state(OLD), "exited"), "what it does not name is stopped, and kept");
	is_state(NEW, "ready", "the facts say so");
	agentd_restart();
	pass(5 * SECOND);
	is_state(NEW, "ready", "also after a restart");
	is_state(OLD, "stopped", "for the clean-up of a later holder");
	world_end();
	updated();
	pass(LOCK_TERM_USEC + 5 * SECOND);
	engine.hold = "/stop";
	write_head(&d1, false, "d1", NAMES_NEW);
	pass(2 * SECOND);
	agentd_restart();
	engine.hold = "/start";
	pass(2 * SECOND);
	agentd_restart();
	engine.hold = NULL;
	pass(5 * SECOND);
	ok(streq(engine_state(NEW), "running") && streq(engine_state(OLD), "exited"),
	   "killed while it reversed the abort: it is reversed");
	is_state(NEW, "ready", "the facts say so");
	ok(!strstr(log_lines, "damaged"), "and nothing was damaged");
	world_end();
}

static void committed_in_time(void)
{
	updated();
	write_head(&d1, false, "d1", NAMES_NEW);
	pass(LOCK_TERM_USEC + 5 * SECOND);
	ok(streq(engine_state(NEW), "running") && streq(engine_state(OLD), "exited"),
	   "a holder that died after its commit: nothing is undone");
	world_end();
}

static void superseded(void)
{
	updated();
	open_deploy(&d2, "d0", NAMES_OLD);
	ask(SUBJECT_AGENT_LIST, "{%s}", command(&d2));
	is_answer("ok", "the next holder lists");
	pass(3 * SECOND);
	is_restored("superseded");
	is_state(NEW, "gone", "the candidate is removed at once: its deploy is closed");
	world_end();
}

/* The next holder's own commands meet the abort. */
static void next_holder(void)
{
	updated();
	engine.hold = "POST http://engine/v1.41/containers/c";
	open_deploy(&d2, "d0", NAMES_OLD);
	ask(SUBJECT_AGENT_LIST, "{%s}", command(&d2));
	ask_ref(SUBJECT_AGENT_REMOVE, &d2, NEW);
	is_answer("ok", "its sweep removes the candidate while that is being stopped");
	take_lock(&d2);
	ok(strstr(answer.text, OLD) && strstr(answer.text, "\"unready\""),
	   "its lock shows that the old one comes back");
	engine.hold = NULL;
	pass(5 * SECOND);
	is_restored("swept");
	is_state(NEW, "gone", "the candidate is gone");
	ask_ref(SUBJECT_AGENT_DRAIN, &d2, OLD);
	ask_ref(SUBJECT_AGENT_STOP, &d2, OLD);
	pass(5 * SECOND);
	is_state(OLD, "stopped", "the next holder stops it in its turn");
	pass(LOCK_TERM_USEC + 5 * SECOND);
	is_state(OLD, "ready", "and dies in its turn");
	world_end();
}

static void next_holder_stops(void)
{
	updated();
	open_deploy(&d2, "d0", NAMES_OLD);
	engine.hold = "/start";
	take_lock(&d2);
	ask_ref(SUBJECT_AGENT_STOP, &d2, OLD);
	is_answer("ok", "the next holder stops the instance that is just being resumed");
	engine.hold = NULL;
	pass(20 * SECOND);
	is_state(OLD, "stopped", "it stays stopped: its own deploy wants it so");
	ask_unlock(&d2);
	pass(5 * SECOND);
	is_state(OLD, "ready", "until that deploy itself gives the lock back without a commit");
	world_end();
}

/* agentd dies at any point of it. */
static void restarts(void)
{
	updated();
	agentd_restart();
	pass(5 * SECOND);
	is_state(OLD, "stopped", "a restart while the holder lives changes nothing");
	ok(streq(engine_state(NEW), "running"), "  the candidate runs");
	engine.hold = "/stop";
	pass(LOCK_TERM_USEC + 2 * SECOND);
	agentd_restart();
	engine.hold = NULL;
	pass(5 * SECOND);
	is_restored("killed while it stopped the candidate");
	engine.hold = "DELETE";
	open_deploy(&d2, "d0", NAMES_OLD);
	pass(3 * SECOND);
	agentd_restart();
	engine.hold = NULL;
	pass(5 * SECOND);
	is_state(NEW, "gone", "killed while it removed it: it is removed");
	is_state(OLD, "ready", "and the instance stays");
	world_end();
}

/* The process is killed after its decision was saved, before anything was done. */
static void killed_early(void)
{
	updated();
	agentd_kill();
	agentd_begin();
	/* The lock that was read from the file has its whole term again. */
	pass(LOCK_TERM_USEC - 2 * SECOND);
	ok(streq(engine_state(NEW), "running"), "after a restart the holder has its term again");
	engine.away = true;
	pass(5 * SECOND);
	agentd_restart();
	pass(5 * SECOND);
	engine.away = false;
	pass(10 * SECOND);
	is_restored("with an engine that was away");
	world_end();
}

/* The lock ends and the head is read before the containers are known. */
static void before_adoption(void)
{
	updated();
	engine.hold = "/containers/json";
	agentd_restart();
	pass(LOCK_TERM_USEC + 5 * SECOND);
	ok(strstr(log_lines, "doubt → aborted"), "it is decided before the containers are known");
	ok(streq(engine_state(NEW), "running"), "and not carried out");
	engine.hold = NULL;
	pass(10 * SECOND);
	is_restored("when they are known");
	world_end();
	/* Only drained: a restart does not stop it. */
	one_committed();
	open_deploy(&d1, "d0", NAMES_OLD);
	take_lock(&d1);
	ask_ref(SUBJECT_AGENT_DRAIN, &d1, OLD);
	agentd_restart();
	pass(5 * SECOND);
	ok(streq(engine_state(OLD), "running"), "what is only drained keeps running");
	is_state(OLD, "draining", "drained");
	world_end();
}

static void store_away(void)
{
	updated();
	store.away = true;
	pass(LOCK_TERM_USEC + 20 * SECOND);
	ok(streq(engine_state(NEW), "running") && streq(engine_state(OLD), "exited"),
	   "without the store nothing is decided");
	for (int i = 0; i < 20; i++) {
		store_time_out();
		pass(2 * SECOND);
	}
	ok(streq(engine_state(NEW), "running"), "however often it does not answer");
	agentd_restart();
	store.away = false;
	pass(LOCK_TERM_USEC + 10 * SECOND);
	is_restored("the store is back");
	world_end();
}

static void store_away_committed(void)
{
	updated();
	store.away = true;
	pass(LOCK_TERM_USEC + 5 * SECOND);
	write_head(&d1, false, "d1", NAMES_NEW);
	store.away = false;
	pass(5 * SECOND);
	ok(streq(engine_state(NEW), "running") && streq(engine_state(OLD), "exited"),
	   "a commit that was stored meanwhile counts");
	world_end();
}

/* The holder was only cut off, and comes back. */
static void comes_back(void)
{
	updated();
	pass(LOCK_TERM_USEC + 5 * SECOND);
	is_restored("cut off for too long");
	take_lock(&d1);
	is_answer("ok", "the holder comes back and locks");
	ok(strstr(answer.text, "\"stopped\"") && strstr(answer.text, "\"ready\""),
	   "the answer shows what became of its instances");
	pass(10 * SECOND);
	is_restored("nothing is stopped again by itself");
	ask_ref(SUBJECT_AGENT_STOP, &d1, OLD);
	ask_ref(SUBJECT_AGENT_RESUME, &d1, NEW);
	pass(10 * SECOND);
	ok(streq(engine_state(OLD), "exited") && streq(engine_state(NEW), "running"),
	   "the holder's commands count again");
	ask_ref(SUBJECT_AGENT_STOP, &d1, NEW);
	ask_ref(SUBJECT_AGENT_RESUME, &d1, OLD);
	pass(5 * SECOND);
	ask_ref(SUBJECT_AGENT_REMOVE, &d1, NEW);
	ask_ref(SUBJECT_AGENT_RESUME, &d1, OLD);
	write_head(&d1, false, "d0", NAMES_OLD);
	ask_unlock(&d1);
	pass(5 * SECOND);
	is_state(OLD, "ready", "it aborts by itself");
	is_state(NEW, "gone", "and removes its candidate");
	world_end();
}

/* The deploy aborts by itself, and dies or unlocks before the instance runs. */
static void own_abort(void)
{
	updated();
	ask_ref(SUBJECT_AGENT_REMOVE, &d1, NEW);
	pass(SECOND);
	engine.hold = "/start";
	ask_ref(SUBJECT_AGENT_RESUME, &d1, OLD);
	is_answer("ok", "the deploy resumes the instance");
	settle();
	agentd_restart();
	engine.hold = NULL;
	pass(5 * SECOND);
	is_state(OLD, "ready", "a restart before it runs does not leave it stopped");
	write_head(&d1, false, "d0", NAMES_OLD);
	ask_unlock(&d1);
	pass(5 * SECOND);
	ok(!strstr(log_lines, "→ doubt"), "and nothing is in doubt afterwards");
	world_end();
	updated();
	ask_unlock(&d1);
	write_head(&d1, false, "d0", NAMES_OLD);
	pass(5 * SECOND);
	is_restored("one that unlocks without resuming");
	is_state(NEW, "gone", "its candidate is removed");
	world_end();
}

/* The holder that has locked again resumes its candidate: that is not undone. */
static void comes_back_and_resumes(void)
{
	updated();
	pass(LOCK_TERM_USEC + 5 * SECOND);
	take_lock(&d1);
	ask_ref(SUBJECT_AGENT_RESUME, &d1, NEW);
	pass(10 * SECOND);
	ok(streq(engine_state(NEW), "running"), "a candidate that its holder resumes runs");
	world_end();
}

/* The holder dies after it has resumed the instance, before that runs. */
static void resumed_in_doubt(void)
{
	updated();
	engine.hold = "/start";
	ask_ref(SUBJECT_AGENT_RESUME, &d1, OLD);
	pass(LOCK_TERM_USEC + 5 * SECOND);
	ok(strstr(log_lines, "resumed → doubt"), "a resumption that is not reached is in doubt");
	engine.hold = NULL;
	pass(5 * SECOND);
	is_restored("resumed by a holder that died");
	world_end();
}

/* What is recorded is shown, until it is reached. */
static void status(void)
{
	json_t *json;
	char *text;

	updated();
	engine.hold = "DELETE";
	open_deploy(&d2, "d0", NAMES_OLD);
	ask(SUBJECT_AGENT_LIST, "{%s}", command(&d2));
	pass(5 * SECOND);
	json = status_fn(agentd);
	text = json_text(json);
	ok(strstr(text, "\"state\":\"closed\"") && strstr(text, OLD),
	   "the status shows what is under way: %s", text);
	free(text);
	json_decref(json);
	engine.hold = NULL;
	pass(5 * SECOND);
	json = status_fn(agentd);
	text = json_text(json);
	ok(!strstr(text, "\"state\":\"closed\""), "until it is done: %s", text);
	free(text);
	json_decref(json);
	world_end();
}

/* Only drained: it runs, but gets no traffic. */
static void drained(void)
{
	one_committed();
	open_deploy(&d1, "d0", NAMES_OLD);
	take_lock(&d1);
	ask_ref(SUBJECT_AGENT_DRAIN, &d1, OLD);
	is_state(OLD, "draining", "drained");
	pass(LOCK_TERM_USEC + 5 * SECOND);
	is_state(OLD, "ready", "it gets traffic again when the holder is gone");
	world_end();
	one_committed();
	open_deploy(&d1, "d0", NAMES_OLD);
	take_lock(&d1);
	ask_start(&d1, "web", 0, RUNNING);
	pass(3 * SECOND);
	write_head(&d1, false, "d1", NAMES_NEW);
	ask_ref(SUBJECT_AGENT_DRAIN, &d1, OLD);
	pass(LOCK_TERM_USEC + 5 * SECOND);
	is_state(OLD, "draining", "drained after the commit it stays so");
	ok(!strstr(log_lines, "taken out of service"), "and was never recorded");
	world_end();
}

/* A candidate of another service holds the port. */
static void port_moves(void)
{
	one_committed();
	open_deploy(&d1, "d0", NAMES_OLD);
	take_lock(&d1);
	ask_ref(SUBJECT_AGENT_STOP, &d1, OLD);
	pass(SECOND);
	ask_start(&d1, "other", 0, PUBLISHED);
	ask_start(&d1, "third", 0, RUNNING);
	ask_start(&d1, "web", 1, RUNNING);
	pass(3 * SECOND);
	engine.hold = "/stop";
	pass(LOCK_TERM_USEC + 5 * SECOND);
	ok(streq(engine_state(OLD), "exited"), "the port's holder is stopped first");
	engine.hold = NULL;
	pass(5 * SECOND);
	is_state(OLD, "ready", "then the instance is resumed");
	is_state("shop-other-0-d1", "stopped", "the candidate that held its port is stopped");
	is_state("shop-third-0-d1", "ready", "one that is not in its way is left to the sweep");
	is_state("shop-web-1-d1", "ready", "so is one of another slot");
	world_end();
}

/* What cannot be saved is not done. */
static void unsaved(void)
{
	_cleanup_free_ char *path = NULL;

	updated();
	path = xasprintf("%s/locks.json", state_directory);
	unlink(path);
	directory_make(path, 0700);
	pass(LOCK_TERM_USEC + 5 * SECOND);
	ok(streq(engine_state(NEW), "running") && streq(engine_state(OLD), "exited"),
	   "a decision that cannot be saved is not carried out");
	rmdir(path);
	pass(5 * SECOND);
	is_restored("when it can");
	world_end();
}

int main(void)
{
	holder_dies();
	late_commit();
	committed_in_time();
	superseded();
	next_holder();
	next_holder_stops();
	restarts();
	killed_early();
	before_adoption();
	store_away();
	store_away_committed();
	comes_back();
	comes_back_and_resumes();
	resumed_in_doubt();
	status();
	own_abort();
	drained();
	port_moves();
	unsaved();
	return tap_done();
}
