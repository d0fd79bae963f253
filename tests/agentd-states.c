/* What becomes of an instance, when the next probe is due, whose command passes: agentd's pure
 * files. */
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
} walk_rows[] = {
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
	{ "and is ready again",
	  { EVENT_CREATED, EVENT_STARTED, EVENT_PASSED, EVENT_DIED, EVENT_RESTARTED, EVENT_PASSED },
	  6,
	  INSTANCE_READY,
	  ACTION_NOP },
	{ "a ready one that ends for good",
	  { EVENT_CREATED, EVENT_STARTED, EVENT_PASSED, EVENT_ENDED },
	  4,
	  INSTANCE_FAILED,
	  ACTION_SILENCE },
	{ "a ready one that never answers again is unready, not failed",
	  { EVENT_CREATED, EVENT_STARTED, EVENT_PASSED, EVENT_MISSED, EVENT_SPENT },
	  5,
	  INSTANCE_UNREADY,
	  ACTION_NOP },
	{ "stopped and resumed",
	  { EVENT_CREATED, EVENT_STARTED, EVENT_PASSED, EVENT_STOP, EVENT_STOPPED, EVENT_RESUME },
	  6,
	  INSTANCE_STARTING,
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

static void walks(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(walk_rows); i++) {
		struct move move = { INSTANCE_PULLING, ACTION_NOP };

		for (size_t j = 0; j < walk_rows[i].n; j++)
			move = states_move(move.next, walk_rows[i].events[j]);
		ok(move.next == walk_rows[i].end && move.action == walk_rows[i].last, "%s: %s",
		   walk_rows[i].name, instance_state_names[move.next]);
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

static void pace(void)
{
	const struct ready ready = {
		.interval = S, .timeout = 5 * S, .retries = 3, .start_period = 0
	};
	const struct ready late = {
		.interval = S, .timeout = 5 * S, .retries = 2, .start_period = 10 * S
	};
	struct pace p;
	uint64_t now = 100 * S, next = 0, early = 0;
	enum pace_verdict verdict = PACE_WAIT;
	int tries = 0;

	pace_begin(&p, now, false);
	for (; verdict == PACE_WAIT && tries < 1000; tries++) {
		verdict = pace_missed(&p, &ready, now, &next);
		if (tries == 5)
			early = now - 100 * S;
		now += next;
	}
	ok(early > 0 && early < 200 * MS, "six probes in the first 200 ms (%llu us)",
	   (unsigned long long)early);
	ok(verdict == PACE_SPENT && now - 100 * S >= 3 * S && now - 100 * S < 6 * S,
	   "three failures an interval apart and it is over (%llu us)",
	   (unsigned long long)(now - 100 * S));
	pace_begin(&p, now = 0, false);
	for (verdict = PACE_WAIT; verdict == PACE_WAIT && now < 100 * S; now += next)
		verdict = pace_missed(&p, &late, now, &next);
	ok(verdict == PACE_SPENT && now > 11 * S && now < 15 * S,
	   "failures before start_period do not count");
	is_int((long long)pace_passed(&p, &ready), 5 * (long long)S, "once ready, five intervals");
	is_int(pace_missed(&p, &ready, now, &next), PACE_WAIT,
	       "one miss of a ready one is no news");
	is_int((long long)next, (long long)S, "it is asked again soon");
	is_int(pace_missed(&p, &ready, now, &next), PACE_MISSED, "two are");
}

static struct agent_lock wanted(char *ns, int64_t epoch, char *deploy)
{
	struct agent_lock want;

	codec_init(&agent_lock_schema, &want);
	want.ns = ns;
	want.epoch = epoch;
	want.deploy = deploy;
	return want;
}

static void refused(const struct locks *locks, const struct agent_lock *want,
		    const struct room *room, const char *words)
{
	struct failure failure = FAILURE_INIT;
	int r = locks_fits(locks, want, room, 0, &failure);

	ok(r < 0 && strstr(failure.message, words), "refused: %s",
	   failure.message ? failure.message : "not at all");
	failure_clear(&failure);
}

static void locks(void)
{
	struct locks locks = { .map = MAP_INIT };
	struct failure failure = FAILURE_INIT;
	struct agent_lock a = wanted((char *)"a", 5, (char *)"d1"),
			  b = wanted((char *)"b", 1, (char *)"d2");
	struct host_port port = { 80, PROTOCOL_TCP, NULL, NULL },
			 udp = { 80, PROTOCOL_UDP, NULL, NULL };
	char *routes[] = { (char *)"shop.example/", NULL };
	struct instance_use use = { "c", "db", "d9", 600, 1.5, NULL };
	struct room room = { 1000, 2, &use, 1 };
	_cleanup_json_ json_t *saved = NULL;
	struct locks again = { .map = MAP_INIT }, damaged = { .map = MAP_INIT };
	bool other = false;

	a.reserve.host_ports = &port;
	a.reserve.n_host_ports = 1;
	a.reserve.routes = routes;
	a.reserve.memory = 300;
	locks_take(&locks, &a, 0, &other);
	ok(other, "a first lock is of a new deploy");
	locks_take(&locks, &a, 0, &other);
	ok(!other, "a renewal is not");
	is_int(locks_admit(&locks, "a", 5, NULL), 0, "the same epoch passes");
	is_int(locks_admit(&locks, "z", 0, NULL), 0, "an unknown namespace passes");
	ok(locks_admit(&locks, "a", 4, &failure) < 0 && failure.code == FAILURE_FENCED,
	   "a lower epoch is fenced");
	is_int(locks_fits(&locks, &a, &room, 0, NULL), 0, "its own reservation is not in its way");
	b.reserve.host_ports = &port;
	b.reserve.n_host_ports = 1;
	refused(&locks, &b, &room, "namespace a");
	b.reserve.host_ports = &udp;
	is_int(locks_fits(&locks, &b, &room, 0, NULL), 0,
	       "the same number of another protocol is free");
	b.reserve.routes = routes;
	refused(&locks, &b, &room, "shop.example/");
	b.reserve.routes = NULL;
	b.reserve.memory = 101;
	refused(&locks, &b, &room, "namespace c");
	b.reserve.memory = 100;
	is_int(locks_fits(&locks, &b, &room, 0, NULL), 0, "to the last byte");
	b.reserve.cpus = 0.6;
	refused(&locks, &b, &room, "CPUs");
	saved = locks_encode(&locks);
	is_int(locks_decode(&again, saved, 0), 0, "what was saved is read back");
	ok(locks_admit(&again, "a", 4, NULL) < 0, "and still fences");
	json_object_del(json_object_get(saved, "a"), "reserve");
	ok(locks_decode(&damaged, saved, 0) == 0 && locks_admit(&damaged, "a", 4, NULL) < 0,
	   "so it does without what was reserved");
	ok(((struct lock *)map_get(&again.map, "a"))->reserve.n_host_ports == 1,
	   "and still reserves");
	ok(!locks_lapse(&again, LOCK_TERM_USEC - 1) && locks_lapse(&again, LOCK_TERM_USEC),
	   "for one term");
	ok(!locks_release(&locks, "a", 5, "d7"), "another deploy cannot give it back");
	ok(locks_heard(&locks, "a", 6, "d3", 0), "a higher epoch is remembered");
	ok(!((struct lock *)map_get(&locks.map, "a"))->held,
	   "and voids what the earlier one reserved");
	is_int(locks_decode(&again, json_true(), 0), -EINVAL, "what is no file of ours is refused");
	locks_clear(&locks);
	locks_clear(&again);
	locks_clear(&damaged);
	failure_clear(&failure);
}

int main(void)
{
	walks();
	laws();
	pace();
	locks();
	return tap_done();
}
