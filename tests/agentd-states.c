/* agentd's pure files: what becomes of an instance, when the next probe is due, what a lock holds
 * and reserves, what conflicts. */
#include "agentd/agentd.h"
#include "tests/tap.h"

#define MS 1000ull
#define S 1000000ull

static const struct {
	const char *name;
	enum event events[8];
	size_t n;
	enum instance_state end;
	enum action last;
} paths[] = {
	{ "the usual way",
	  { EVENT_ORDERED, EVENT_CREATED, EVENT_STARTED, EVENT_PASSED },
	  4,
	  INSTANCE_READY,
	  ACTION_NOP },
	{ "asked again while it starts",
	  { EVENT_CREATED, EVENT_STARTED, EVENT_ORDERED },
	  3,
	  INSTANCE_STARTING,
	  ACTION_NOP },
	{ "it ends before it is ready",
	  { EVENT_CREATED, EVENT_STARTED, EVENT_DIED },
	  3,
	  INSTANCE_FAILED,
	  ACTION_HALT },
	{ "it ends before the engine said started",
	  { EVENT_CREATED, EVENT_DIED, EVENT_STARTED },
	  3,
	  INSTANCE_FAILED,
	  ACTION_NOP },
	{ "it never answers",
	  { EVENT_CREATED, EVENT_STARTED, EVENT_SPENT },
	  3,
	  INSTANCE_FAILED,
	  ACTION_HALT },
	{ "the engine will not create it", { EVENT_REFUSED }, 1, INSTANCE_FAILED, ACTION_NOP },
	{ "a ready one that ends is started by the engine",
	  { EVENT_CREATED, EVENT_STARTED, EVENT_PASSED, EVENT_DIED, EVENT_RESTARTED },
	  5,
	  INSTANCE_UNREADY,
	  ACTION_PROBE },
	{ "one that is restarted before it was ready has failed",
	  { EVENT_CREATED, EVENT_STARTED, EVENT_RESTARTED },
	  3,
	  INSTANCE_FAILED,
	  ACTION_HALT },
	{ "and is ready again",
	  { EVENT_CREATED, EVENT_STARTED, EVENT_PASSED, EVENT_DIED, EVENT_RESTARTED, EVENT_PASSED },
	  6,
	  INSTANCE_READY,
	  ACTION_NOP },
	{ "a ready one that ends for good",
	  { EVENT_CREATED, EVENT_STARTED, EVENT_PASSED, EVENT_ENDED },
	  4,
	  INSTANCE_FAILED,
	  ACTION_UNPROBE },
	{ "a ready one that never answers again is unready, not failed",
	  { EVENT_CREATED, EVENT_STARTED, EVENT_PASSED, EVENT_MISSED, EVENT_SPENT },
	  5,
	  INSTANCE_UNREADY,
	  ACTION_NOP },
	{ "stopped and resumed: it was ready",
	  { EVENT_CREATED, EVENT_STARTED, EVENT_PASSED, EVENT_STOP, EVENT_STOPPED, EVENT_RESUME },
	  6,
	  INSTANCE_UNREADY,
	  ACTION_START },
	{ "and does not fail for being slow",
	  { EVENT_CREATED, EVENT_STARTED, EVENT_PASSED, EVENT_STOP, EVENT_STOPPED, EVENT_RESUME,
	    EVENT_SPENT },
	  7,
	  INSTANCE_UNREADY,
	  ACTION_NOP },
	{ "drained and resumed",
	  { EVENT_CREATED, EVENT_STARTED, EVENT_PASSED, EVENT_DRAIN, EVENT_RESUME },
	  5,
	  INSTANCE_UNREADY,
	  ACTION_START },
	{ "its end while it is stopped is no failure",
	  { EVENT_CREATED, EVENT_STARTED, EVENT_STOP, EVENT_ENDED },
	  4,
	  INSTANCE_DRAINING,
	  ACTION_NOP },
	{ "removed",
	  { EVENT_CREATED, EVENT_STARTED, EVENT_PASSED, EVENT_DRAIN, EVENT_REMOVE, EVENT_REMOVED },
	  6,
	  INSTANCE_GONE,
	  ACTION_FREE },
	{ "removed before it was created",
	  { EVENT_ORDERED, EVENT_REMOVE, EVENT_CREATED },
	  3,
	  INSTANCE_DRAINING,
	  ACTION_END },
	{ "a failed one stays failed until it is removed",
	  { EVENT_REFUSED, EVENT_REMOVE },
	  2,
	  INSTANCE_FAILED,
	  ACTION_END },
	{ "a gone one stays gone",
	  { EVENT_REMOVE, EVENT_REMOVED, EVENT_ORDERED, EVENT_RESUME },
	  4,
	  INSTANCE_GONE,
	  ACTION_NOP },
	{ "removed by somebody else",
	  { EVENT_CREATED, EVENT_STARTED, EVENT_LOST },
	  3,
	  INSTANCE_GONE,
	  ACTION_FREE },
};

static void transitions(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		struct move move = { INSTANCE_PULLING, ACTION_NOP };

		for (size_t j = 0; j < paths[i].n; j++)
			move = states_move(move.next, paths[i].events[j]);
		ok(move.next == paths[i].end && move.action == paths[i].last, "%s: %s",
		   paths[i].name, instance_state_names[move.next]);
	}
}

/* The whole table, one row a state, one word an event in their order: the next state and the
 * action.
 */
static void whole_table(void)
{
	static const char *const actions[] = { "",	   ":create", ":start", ":probe",
					       ":unprobe", ":halt",   ":end",	":free" };
	static const char *const table[] = {
		"pulling:create created:start starting:probe pulling pulling "
		"failed:halt failed:halt failed:halt pulling failed pulling "
		"draining:end stopped pulling draining:end gone:free pulling",
		"created:start created:start starting:probe created created failed:halt "
		"failed:halt failed:halt created failed created draining:end stopped "
		"created:start draining:end gone:free gone:free",
		"starting starting starting:probe ready starting failed:halt "
		"failed:halt failed:halt failed:halt failed draining:unprobe "
		"draining:end stopped:unprobe starting draining:end gone:free gone:free",
		"ready ready ready ready unready unready unready:unprobe failed:unprobe "
		"unready:probe failed:unprobe draining:unprobe draining:end "
		"stopped:unprobe ready draining:end gone:free gone:free",
		"unready unready unready:probe ready unready unready unready:unprobe "
		"failed:unprobe unready:probe failed:unprobe draining:unprobe "
		"draining:end stopped:unprobe unready draining:end gone:free gone:free",
		"draining draining:end draining draining draining draining draining "
		"draining draining draining draining draining:end stopped unready:start "
		"draining:end gone:free gone:free",
		"stopped stopped unready:probe stopped stopped stopped stopped "
		"stopped draining:end failed stopped stopped stopped unready:start "
		"stopped:end gone:free gone:free",
		"gone gone gone gone gone gone gone gone gone gone gone gone gone gone "
		"gone gone:free gone:free",
		"failed failed failed failed failed failed failed failed failed failed "
		"failed failed:end failed unready:start failed:end gone:free "
		"failed:free",
	};

	for (int state = INSTANCE_PULLING; state <= INSTANCE_FAILED; state++) {
		_cleanup_(strbuf_clear) struct strbuf row = STRBUF_INIT;

		for (int event = 0; event < EVENT_COUNT; event++) {
			struct move move =
				states_move((enum instance_state)state, (enum event)event);

			strbuf_printf(&row, "%s%s%s", event ? " " : "",
				      instance_state_names[move.next], actions[move.action]);
		}
		is(row.text, table[state], instance_state_names[state]);
	}
}

/* Nothing but a deploy's command takes an instance back from an end, and only a probe makes it
 * ready. */
static void laws(void)
{
	bool only_probes = true, ends_hold = true;

	for (int state = INSTANCE_PULLING; state <= INSTANCE_FAILED; state++)
		for (int event = 0; event < EVENT_COUNT; event++) {
			struct move move =
				states_move((enum instance_state)state, (enum event)event);

			if (move.next == INSTANCE_READY && state != INSTANCE_READY &&
			    event != EVENT_PASSED)
				only_probes = false;
			if (state == INSTANCE_GONE && move.next != INSTANCE_GONE)
				ends_hold = false;
			if (state == INSTANCE_FAILED && move.next != INSTANCE_FAILED &&
			    event != EVENT_RESUME && event != EVENT_REMOVED)
				ends_hold = false;
		}
	ok(only_probes, "only an answered probe makes ready");
	ok(ends_hold, "an end is left by command only");
	ok(states_restarts(RESTART_UNLESS_STOPPED, 0) && states_restarts(RESTART_ALWAYS, 1),
	   "always means always");
	ok(states_restarts(RESTART_ON_FAILURE, 1) && !states_restarts(RESTART_ON_FAILURE, 0),
	   "on-failure means failure");
	ok(!states_restarts(RESTART_NO, 1), "no means no");
}

static void probes(void)
{
	const struct ready ready = {
		.interval = S, .timeout = 5 * S, .retries = 3, .start_period = 0
	};
	const struct ready late = {
		.interval = S, .timeout = 5 * S, .retries = 2, .start_period = 10 * S
	};
	const struct ready often = { .interval = 100 * MS, .timeout = S, .retries = 2 };
	struct schedule p;
	uint64_t now = 100 * S, next = 0, early = 0;
	enum schedule_verdict verdict = SCHEDULE_WAIT;
	int tries = 0;

	schedule_begin(&p, now, false);
	for (; verdict == SCHEDULE_WAIT && tries < 1000; tries++) {
		verdict = schedule_missed(&p, &ready, now, &next);
		if (tries == 5)
			early = now - 100 * S;
		now += next;
	}
	ok(early > 0 && early < 200 * MS, "six probes in the first 200 ms (%llu us)",
	   (unsigned long long)early);
	ok(verdict == SCHEDULE_SPENT && now - 100 * S >= 3 * S && now - 100 * S < 6 * S,
	   "three failures an interval apart and it is over (%llu us)",
	   (unsigned long long)(now - 100 * S));
	is_int((long long)next, (long long)S, "by then it is probed every interval");
	schedule_begin(&p, now = 0, false);
	for (verdict = SCHEDULE_WAIT; verdict == SCHEDULE_WAIT && now < 100 * S; now += next)
		verdict = schedule_missed(&p, &late, now, &next);
	ok(verdict == SCHEDULE_SPENT && now > 11 * S && now < 15 * S,
	   "failures before start_period do not count");
	schedule_begin(&p, 0, false);
	schedule_missed(&p, &often, 0, &next);
	is_int((long long)next, 5 * (long long)MS, "the first is 5 ms later");
	for (int i = 0; i < 9; i++)
		schedule_missed(&p, &often, 0, &next);
	is_int((long long)next, 100 * (long long)MS, "never later than the interval");
	is_int((long long)schedule_passed(&p, &ready), 5 * (long long)S,
	       "once ready, five intervals");
	is_int(schedule_missed(&p, &ready, now, &next), SCHEDULE_WAIT,
	       "one miss of a ready one does not count");
	is_int((long long)next, (long long)S, "it is asked again soon");
	is_int(schedule_missed(&p, &ready, now, &next), SCHEDULE_MISSED, "two do");
	is_int((long long)next, (long long)S, "then every interval");
	schedule_passed(&p, &ready);
	is_int(schedule_missed(&p, &late, now, &next), SCHEDULE_WAIT,
	       "an answer between them counts anew");
	schedule_begin(&p, 0, true);
	is_int(schedule_missed(&p, &late, 0, &next), SCHEDULE_WAIT,
	       "one adopted as ready is ready");
	is_int(schedule_missed(&p, &late, 0, &next), SCHEDULE_MISSED, "and needs two as well");
}

static void restarts(void)
{
	unsigned n = 0;

	is_int((long long)schedule_restart(&n, 0), 100 * (long long)MS, "the first restart");
	is_int((long long)schedule_restart(&n, 0), 200 * (long long)MS, "doubles");
	is_int((long long)schedule_restart(&n, 0), 400 * (long long)MS, "and doubles");
	for (int i = 0; i < 100; i++)
		schedule_restart(&n, 0);
	is_int((long long)schedule_restart(&n, 0), 60 * (long long)S, "up to a minute");
	is_int((long long)schedule_restart(&n, 10 * S - 1), 60 * (long long)S, "until it ran long");
	is_int((long long)schedule_restart(&n, 10 * S), 100 * (long long)MS, "then it begins anew");
	is_int((long long)schedule_restart(&n, 0), 200 * (long long)MS, "and doubles again");
}

/* --- locks and reservations */

static struct agent_lock wanted(char *ns, char *deploy)
{
	struct agent_lock want;

	codec_init(&agent_lock_schema, &want);
	want.command.ns = ns;
	want.command.epoch = 1;
	want.command.deploy = deploy;
	return want;
}

static void refused(const struct locks *locks, const struct agent_lock *want,
		    const struct capacity *capacity, const char *message)
{
	struct failure failure = FAILURE_INIT;
	int r = reservations_fit(locks, want, capacity, 0, &failure);

	ok(r < 0 && strstr(failure.message, message), "refused: %s",
	   failure.message ? failure.message : "not at all");
	failure_clear(&failure);
}

static void reservations(void)
{
	struct locks locks = { .map = MAP_INIT };
	struct agent_lock a = wanted((char *)"a", (char *)"d1"),
			  b = wanted((char *)"b", (char *)"d2"),
			  e = wanted((char *)"e", (char *)"d9");
	struct host_port port = { .port = 80 }, udp = { .port = 80, .protocol = PROTOCOL_UDP },
			 other = { .port = 81 };
	struct port named = { (char *)"http", 8080, PROTOCOL_UDP };
	struct publish publish = { (char *)"http", 81, NULL };
	struct service service = {
		.ports = &named, .n_ports = 1, .publish = &publish, .n_publish = 1
	};
	char *routes[] = { (char *)"shop.example/", NULL }, *volumes[] = { (char *)"a/data", NULL };
	struct instance_use use = { "c", "db", "d9", 600, 1.5, NULL };
	struct capacity capacity = { 1000, 2, &use, 1 };

	a.reserve.host_ports = &port;
	a.reserve.n_host_ports = 1;
	a.reserve.routes = routes;
	a.reserve.volumes = volumes;
	a.reserve.memory = 300;
	a.reserve.cpus = 0.25;
	locks_take(&locks, &a, 0);
	is_int(reservations_fit(&locks, &a, &capacity, 0, NULL), 0,
	       "its own reservation is not in its way");
	b.reserve.host_ports = &port;
	b.reserve.n_host_ports = 1;
	refused(&locks, &b, &capacity, "host port 80: a deploy of namespace a");
	is_int(reservations_fit(&locks, &b, &capacity, LOCK_TERM_USEC, NULL), 0,
	       "one that has lapsed neither");
	b.reserve.host_ports = &udp;
	is_int(reservations_fit(&locks, &b, &capacity, 0, NULL), 0,
	       "the same number of another protocol is free");
	use.published = &service;
	b.reserve.host_ports = &other;
	is_int(reservations_fit(&locks, &b, &capacity, 0, NULL), 0,
	       "also of one that is published");
	named.protocol = PROTOCOL_TCP;
	refused(&locks, &b, &capacity, "host port 81: service db of namespace c");
	use.ns = "b";
	is_int(reservations_fit(&locks, &b, &capacity, 0, NULL), 0,
	       "what its own namespace publishes is the plan's business");
	use.ns = "c";
	use.published = NULL;
	b.reserve.n_host_ports = 0;
	b.reserve.routes = routes;
	refused(&locks, &b, &capacity, "shop.example/");
	b.reserve.routes = NULL;
	b.reserve.volumes = volumes;
	refused(&locks, &b, &capacity, "a/data");
	b.reserve.volumes = NULL;
	b.reserve.memory = 101;
	refused(&locks, &b, &capacity, "namespace c");
	b.reserve.memory = 100;
	is_int(reservations_fit(&locks, &b, &capacity, 0, NULL), 0, "to the last byte");
	b.reserve.cpus = 0.26;
	refused(&locks, &b, &capacity, "CPUs");
	b.reserve.cpus = 0.25;
	is_int(reservations_fit(&locks, &b, &capacity, 0, NULL), 0, "to the last part of a CPU");
	capacity.memory = 0;
	b.reserve.memory = 1000000;
	is_int(reservations_fit(&locks, &b, &capacity, 0, NULL), 0,
	       "a machine whose memory is unknown refuses none");
	capacity.memory = 1000;
	/* A candidate whose deploy has a reservation is counted once. */
	e.command.ns = (char *)"c";
	e.reserve.memory = 600;
	locks_take(&locks, &e, 0);
	b.reserve.memory = 100;
	is_int(reservations_fit(&locks, &b, &capacity, 0, NULL), 0,
	       "a candidate is counted in its deploy's reservation");
	locks_clear(&locks);
}

static void locks(void)
{
	struct locks locks = { .map = MAP_INIT }, again = { .map = MAP_INIT };
	struct agent_lock a = wanted((char *)"a", (char *)"d1"),
			  b = wanted((char *)"a", (char *)"d2");
	struct host_port port = { .port = 80 };
	const struct lock *lock;

	a.reserve.host_ports = &port;
	a.reserve.n_host_ports = 1;
	is_int(locks_epoch(&locks, "a"), 0, "no epoch is stored");
	ok(!locks_held(locks_get(&locks, "a"), "d1", 0), "and nothing is held");
	ok(locks_shown(&locks, "a", 5, NULL) && locks_epoch(&locks, "a") == 5,
	   "a head shows an epoch");
	ok(!locks_shown(&locks, "a", 5, NULL) && !locks_shown(&locks, "a", 4, NULL) &&
		   locks_epoch(&locks, "a") == 5,
	   "the same or a lower one is nothing new");
	ok(locks_take(&locks, &a, 0), "a first lock is of a new deploy");
	ok(!locks_take(&locks, &a, 0), "a renewal is not");
	lock = locks_get(&locks, "a");
	ok(locks_held(lock, "d1", LOCK_TERM_USEC - 1) && !locks_held(lock, "d1", LOCK_TERM_USEC),
	   "it holds for one term");
	ok(!locks_held(lock, "d2", 0), "for its deploy");
	locks_message(&locks, "a", "d2", 10 * S);
	ok(!locks_held(lock, "d1", LOCK_TERM_USEC), "another's message does not renew it");
	locks_message(&locks, "a", "d1", LOCK_TERM_USEC);
	ok(!locks_held(lock, "d1", LOCK_TERM_USEC), "nor one that comes too late");
	locks_message(&locks, "a", "d1", 10 * S);
	ok(locks_held(lock, "d1", LOCK_TERM_USEC), "the holder's does");
	ok(!locks_release(&locks, "a", "d7") && locks_held(lock, "d1", 0),
	   "another deploy cannot give it back");
	ok(!locks_release(&locks, "z", "d1"), "nor one of another namespace");
	ok(locks_refuse(&locks, "a", "i1") && !locks_refuse(&locks, "a", "i1"),
	   "an instance is refused once");
	ok(locks_refuses(&locks, "a", "i1") && !locks_refuses(&locks, "a", "i2") &&
		   !locks_refuses(&locks, "z", "i1"),
	   "that one, there");
	locks_take(&locks, &a, 0);
	ok(locks_refuses(&locks, "a", "i1"), "for as long as its deploy has the namespace");
	ok(!locks_lapse(&locks, LOCK_TERM_USEC - 1) && lock->held, "it does not lapse early");
	ok(locks_lapse(&locks, LOCK_TERM_USEC) && !lock->held, "it lapses");
	ok(!locks_lapse(&locks, LOCK_TERM_USEC), "once");
	is_int((long long)lock->reserve.n_host_ports, 0, "and reserves nothing any more");
	ok(!locks_release(&locks, "a", "d1"), "there is nothing to give back");
	locks_take(&locks, &a, 0);
	ok(locks_release(&locks, "a", "d1") && !lock->held, "its deploy gives it back");
	ok(locks_take(&locks, &b, 0) && !locks_refuses(&locks, "a", "i1"),
	   "another deploy begins anew");
	ok(locks_shown(&locks, "a", 6, "d2") && lock->held,
	   "a holder that raises its epoch keeps its lock");
	ok(locks_shown(&locks, "a", 7, "d3") && !lock->held, "another's higher epoch ends it");
	locks_refuse(&locks, "a", "i3");
	ok(locks_shown(&locks, "a", 8, NULL) && !locks_refuses(&locks, "a", "i3"),
	   "and what it refused");
	locks_clear(&locks);
	locks_clear(&again);
}

/* What was saved is read back. */
static void saved(void)
{
	struct locks locks = { .map = MAP_INIT }, again = { .map = MAP_INIT },
		     damaged = { .map = MAP_INIT };
	struct agent_lock a = wanted((char *)"a", (char *)"d1");
	struct host_port port = { .port = 80 };
	struct stopped *stopped;
	struct lock *lock;
	_cleanup_json_ json_t *json = NULL;

	a.reserve.host_ports = &port;
	a.reserve.n_host_ports = 1;
	a.holder = (char *)"m7";
	locks_shown(&locks, "a", 5, NULL);
	locks_take(&locks, &a, 0);
	locks_refuse(&locks, "a", "i1");
	lock = locks_get(&locks, "a");
	for (int i = 0; i < 2; i++) {
		stopped = array_add(lock->stopped, lock->n_stopped);
		*stopped = (struct stopped){ .instance = xstrdup("i2"),
					     .service = xstrdup("web"),
					     .slot = 3,
					     .deploy = xstrdup("d1"),
					     .opened = 77,
					     .stop = true,
					     .state = i ? ABORTING_DONE : ABORTING_ABORTED };
	}
	json = locks_encode(&locks);
	is_int(locks_decode(&again, json, 100), 0, "what was saved is read back");
	lock = locks_get(&again, "a");
	ok(lock->epoch == 5 && locks_held(lock, "d1", 100 + LOCK_TERM_USEC - 1) &&
		   !locks_held(lock, "d1", 100 + LOCK_TERM_USEC) && streq(lock->holder, "m7") &&
		   streq(lock->last_deploy, "d1"),
	   "the epoch, the lock for its whole term, its holder");
	is_int((long long)lock->reserve.n_host_ports, 1, "what it reserves");
	ok(locks_refuses(&again, "a", "i1"), "what it refuses");
	ok(lock->n_stopped == 1 && streq(lock->stopped[0].instance, "i2") &&
		   streq(lock->stopped[0].service, "web") && lock->stopped[0].slot == 3 &&
		   streq(lock->stopped[0].deploy, "d1") && lock->stopped[0].opened == 77 &&
		   lock->stopped[0].stop && lock->stopped[0].state == ABORTING_ABORTED,
	   "and its records, but for those that are done");
	json_object_del(json_object_get(json, "a"), "reserve");
	ok(locks_decode(&damaged, json, 0) == 0 && locks_epoch(&damaged, "a") == 5 &&
		   !locks_held(locks_get(&damaged, "a"), "d1", 0),
	   "without what was reserved nothing is held, and the epoch is");
	locks_clear(&damaged);
	json_array_append_new(json_object_get(json_object_get(json, "a"), "stopped"),
			      json_object());
	is_int(locks_decode(&damaged, json, 0), -EINVAL, "a damaged record is refused");
	locks_clear(&damaged);
	json_object_set_new(json_object_get(json, "a"), "epoch", json_integer(-1));
	is_int(locks_decode(&damaged, json, 0), -EINVAL, "so is an epoch below 0");
	locks_clear(&damaged);
	json_object_set_new(json_object_get(json, "a"), "epoch", json_string("5"));
	is_int(locks_decode(&damaged, json, 0), -EINVAL, "or none");
	is_int(locks_decode(&damaged, json_true(), 0), -EINVAL,
	       "what is no file of ours is refused");
	locks_clear(&locks);
	locks_clear(&again);
	locks_clear(&damaged);
}

/* --- conflicts */

static struct service *service_of(const char *text)
{
	_cleanup_free_ char *json = xstrdup(text);
	void *service = NULL;
	struct failure failure = FAILURE_INIT;

	for (char *p = json; *p; p++)
		if (*p == '\'')
			*p = '"';
	if (codec_parse(&service_schema, json, strlen(json), CODEC_LENIENT, &service, &failure) <
	    0) {
		printf("Bail out! %s: %s: %s\n", text, failure.path, failure.message);
		exit(1);
	}
	return service;
}

#define PORTS \
	"'name':'a','image':'x','ports':{'http':{'port':80},'dns':{'port':53,'protocol':'udp'}}"

static void conflicts(void)
{
	static const struct {
		const char *name, *a, *b;
		bool one_namespace, result;
	} rows[] = {
		{ "nothing in common", "{" PORTS "}", "{" PORTS "}", true, false },
		{ "one host port", "{" PORTS ",'publish':[{'port':'http','host_port':80}]}",
		  "{" PORTS ",'publish':[{'port':'http','host_port':81},{'port':'http',"
		  "'host_port':80}]}",
		  false, true },
		{ "another host port", "{" PORTS ",'publish':[{'port':'http','host_port':80}]}",
		  "{" PORTS ",'publish':[{'port':'http','host_port':81}]}", true, false },
		{ "one of another protocol",
		  "{" PORTS ",'publish':[{'port':'http','host_port':80}]}",
		  "{" PORTS ",'publish':[{'port':'dns','host_port':80}]}", true, false },
		{ "one volume", "{" PORTS ",'mounts':[{'volume':'data','target':'/a'}]}",
		  "{" PORTS ",'mounts':[{'tmpfs':'1M','target':'/t'},{'volume':'data','target':'/b'"
		  "}]}",
		  true, true },
		{ "one of another namespace",
		  "{" PORTS ",'mounts':[{'volume':'data','target':'/a'}]}",
		  "{" PORTS ",'mounts':[{'volume':'data','target':'/b'}]}", false, false },
		{ "two without a volume", "{" PORTS ",'mounts':[{'tmpfs':'1M','target':'/t'}]}",
		  "{" PORTS ",'mounts':[{'tmpfs':'1M','target':'/t'}]}", true, false },
		{ "the host's network", "{" PORTS ",'host_network':true}",
		  "{" PORTS ",'host_network':true}", false, true },
		{ "of one of them", "{" PORTS ",'host_network':true}", "{" PORTS "}", true, false },
		{ "with other ports", "{" PORTS ",'host_network':true}",
		  "{'name':'a','image':'x','ports':{'http':{'port':53}},'host_network':true}", true,
		  false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct service *a = service_of(rows[i].a), *b = service_of(rows[i].b);
		const char *ns = rows[i].one_namespace ? "n" : "m";

		ok(services_conflict("n", a, ns, b) == rows[i].result &&
			   services_conflict(ns, b, "n", a) == rows[i].result,
		   "%s: %s", rows[i].name, rows[i].result ? "conflict" : "none");
		ok(!services_conflict("n", NULL, ns, b) && !services_conflict("n", a, ns, NULL),
		   "  one that is not known conflicts with none");
		service_free(a);
		service_free(b);
	}
}

static void required(void)
{
	struct service *service = service_of(
		"{'name':'a','image':'x','mounts':[{'volume':'b','target':'/1'},"
		"{'tmpfs':'1M','target':'/2'},{'volume':'a','target':'/3'},{'volume':'b',"
		"'target':'/4'},{'volume':'c','target':'/5'}]}");
	char *created[] = { (char *)"c", NULL };
	_cleanup_(strv_freep) char **names = volumes_required(service, created);
	_cleanup_free_ char *text = strv_join(names, " "), *one = container_volume("a-b", "c"),
			    *two = container_volume("a", "b-c");

	is(text, "b a", "the volumes that must exist, each once");
	is(one, "ployz.a-b.c", "a volume's name in the engine");
	ok(!streq(one, two), "no two volumes share one");
	service_free(service);
}

int main(void)
{
	transitions();
	whole_table();
	laws();
	probes();
	restarts();
	reservations();
	locks();
	saved();
	conflicts();
	required();
	return tap_done();
}
