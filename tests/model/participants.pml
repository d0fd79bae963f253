/* Model of the participants of a rollout: one namespace with one stop-first slot on each machine,
 * whose committed instance is stopped before the candidate starts.
 *
 * Deploys are numbered in the order in which they open; the number is also the epoch and the name
 * of the instances that the deploy starts. Instance 0 is the one committed at the beginning. Each
 * deploy may end or be paused at any step, and does not learn that a later one has opened. Locks
 * may lapse at any moment; the log's leader answers every read (an agentd that gets no answer waits,
 * which is a pause). Commands get lost, arrive late, and their answers get lost.
 *
 * Assumed of agentd: its answer to `list` includes containers whose creation is under way, so that
 * creating one is a single step here. Beyond the letter of architecture.md (each is a mutation below):
 * it compares the epoch again when it acts, never makes an instance that it was told to remove, never
 * renews a lock that has lapsed, and grants a lock only when what it does by itself about an earlier
 * deploy is done.
 *
 * Bounds (-D): MACHINES (1 or 2), DEPLOYS (2 or 3), DEATHS of instances by themselves, LATE (0 or 1)
 * commands under way on each machine that were given up. ONE_STEP: a command is accepted and carried
 * out in one step.
 *
 * Checked: a commit names only candidates that the last query reported ready, and none that was
 * removed; no instance is removed that the head names; never two instances of one slot run at once;
 * no candidate starts after a later deploy's list was answered; at the end the committed instance is
 * not stopped, and a deploy that finished its clean-up or its abort has left nothing; no deadlock.
 *
 * Mutations: NO_FENCE (agentd accepts every command), NO_RECHECK (agentd compares the epoch only when
 * the command arrives, not when it acts), NO_PRESUMED_ABORT, NO_REVERSAL (a late commit does not
 * reverse a presumed abort), EARLY_REMOVAL (the presumed abort removes the candidate at once),
 * NO_LAST_QUERY, NO_TOMBSTONE (a start that arrives after the removal makes the instance again),
 * NO_LAPSE (a lock that has lapsed is renewed), EARLY_LOCK (a later deploy gets the lock before the
 * presumed abort of the earlier one is settled).
 */
#ifndef MACHINES
#define MACHINES 1
#endif
#ifndef DEPLOYS
#define DEPLOYS 2
#endif
#ifndef DEATHS
#define DEATHS 1
#endif
#ifndef LATE
#define LATE 1
#endif

#define ENTRIES (2 * DEPLOYS)
#define INSTANCES (DEPLOYS + 1)

/* Kinds of an entry. */
#define OPEN 1
#define COMMIT 2
#define CLOSE 3

/* States of an instance. */
#define ABSENT 0
#define RUNNING 1
#define READY 2
#define STOPPED 3 /* kept */
#define ENDED 4   /* by itself */
#define GONE 5

/* Verbs of a command. */
#define LIST 1
#define LOCK 2
#define STOP 3
#define START 4
#define PROBE 5
#define RESUME 6
#define REMOVE 7
#define UNLOCK 8

/* A command's way. */
#define IDLE 0
#define SENT 1
#define ACCEPTED 2
#define ANSWERED 3
#define REFUSED 4

/* What agentd does about an instance that a deploy stopped, once the deploy's lock is gone. */
#define WATCHING 0
#define ABORTING 1
#define REVERSING 2

typedef entry {
	byte kind;
	byte deploy;
	byte named[MACHINES]; /* the committed instance of each slot */
};
entry log[ENTRIES + 1];
byte last;

typedef message {
	byte phase;
	byte verb;
	byte machine;
	byte instance;
	byte deploy;
	byte opened; /* sequence of the deploy's opening entry */
};
message sent[DEPLOYS + 1]; /* each deploy's latest */
message late[MACHINES];	   /* given up, but still under way */

typedef participant {
	byte state[INSTANCES];
	bool ready[INSTANCES]; /* at the last query */
};
participant on[MACHINES];
byte begun, deaths;
/* A commit that its holder has given up. */
byte late_commit, late_commit_after;
/* Whether the deploy finished all its steps: 1 committed and cleaned, 2 aborted and cleaned. */
byte finished[DEPLOYS + 1];
bool replaces[(DEPLOYS + 1) * MACHINES]; /* the deploy replaces that slot's instance */
bool committed[DEPLOYS + 1];
bool failed[DEPLOYS + 1]; /* a candidate had ended when all had been ready once */
#define WAS_NAMED(m, i) (i == 0 || (committed[i] && replaces[i * MACHINES + m]))
#define PRESENT(m, i) (on[m].state[i] != ABSENT && on[m].state[i] != GONE)

#define RUNS(m, i) (on[m].state[i] == RUNNING || on[m].state[i] == READY)
#define NAMED(m) log[last].named[m]
#if DEPLOYS == 2
#define RUNNING_ON(m) (RUNS(m, 0) + RUNS(m, 1) + RUNS(m, 2))
#elif DEPLOYS == 3
#define RUNNING_ON(m) (RUNS(m, 0) + RUNS(m, 1) + RUNS(m, 2) + RUNS(m, 3))
#endif
#define FOR_MACHINES(m) for (m : 0 .. MACHINES - 1)

inline append_entry(what, who, m)
{
	assert(last < ENTRIES);
	last++;
	log[last].kind = what;
	log[last].deploy = who;
	FOR_MACHINES(m) {
		if
		:: what == COMMIT && replaces[who * MACHINES + m] ->
#ifndef NO_LAST_QUERY
			assert(on[m].ready[who]);
#endif
			assert(!failed[who]);
			assert(on[m].state[who] != GONE);
			log[last].named[m] = who
		:: else -> log[last].named[m] = log[last - 1].named[m]
		fi
	}
	committed[who] = committed[who] || what == COMMIT;
	m = 0
}

/* Compare-and-set: `stored` tells. */
inline append(what, who, after, m)
{
	if
	:: last == after -> append_entry(what, who, m); stored = true
	:: else -> stored = false
	fi
}

/* --- the rollout */

inline send(what, where, which)
{
	sent[me].phase = SENT;
	sent[me].verb = what;
	sent[me].machine = where;
	sent[me].instance = which;
	sent[me].deploy = me;
	sent[me].opened = opened
}

inline forget()
{
	sent[me].phase = IDLE; sent[me].verb = 0; sent[me].machine = 0; sent[me].instance = 0;
	sent[me].deploy = 0; sent[me].opened = 0
}

/* Sends, and waits for the answer: `done` or not. A command that is given up may arrive later. */
inline ask(what, where, which)
{
	atomic { send(what, where, which) }
	atomic {
		if
		:: sent[me].phase == ANSWERED -> done = true
		:: sent[me].phase == REFUSED -> done = false
		:: sent[me].phase == SENT || sent[me].phase == ACCEPTED -> /* given up */
			done = false;
			if
#if LATE
			:: late[where].phase == IDLE ->
				late[where].phase = sent[me].phase;
				late[where].verb = what;
				late[where].machine = where;
				late[where].instance = which;
				late[where].deploy = me;
				late[where].opened = opened
#endif
			:: true
			fi
		:: sent[me].phase == ANSWERED -> done = false /* the answer is lost */
		fi;
		forget()
	}
}

inline first_found()
{
	atomic {
		do
		:: !(found[m] & (1 << i)) -> i++
		:: else -> break
		od
	}
}

proctype rollout(byte me)
{
	byte opened;
	byte m, i;
	byte found[MACHINES]; /* bit i: instance i is there */
	bool done, stored;

	/* Open: compare-and-set, read again after a refusal, so that it comes last in the end. What the
	 * plan replaces is decided here. */
	atomic {
		begun == me - 1 -> begun = me;
		append_entry(OPEN, me, m);
		opened = last;
		FOR_MACHINES(m) {
			if
			:: true -> replaces[me * MACHINES + m] = true
			:: m > 0 || me > 1 -> replaces[me * MACHINES + m] = false
			fi
		}
		m = 0
	}
	/* List every machine, and remove candidates that were never committed. A machine that does not
	 * answer can only be left alone. */
	do
	:: m < MACHINES ->
		ask(LIST, m, 0);
		atomic {
			if
			:: done ->
				for (i : 0 .. DEPLOYS) {
					if
					:: PRESENT(m, i) && !WAS_NAMED(m, i) ->
						found[m] = found[m] | (1 << i)
					:: else
					fi
				}
			:: !done && replaces[me * MACHINES + m] -> goto abort
			:: !done && !replaces[me * MACHINES + m]
			fi;
			i = 0;
			done = false
		}
		do
		:: found[m] != 0 ->
			first_found();
			ask(REMOVE, m, i);
			atomic {
				if
				:: done -> found[m] = found[m] & ~(1 << i)
				:: !done -> goto abort
				fi;
				i = 0;
				done = false
			}
		:: atomic { found[m] == 0 -> m++; break }
		od
	:: atomic { m == MACHINES -> m = 0; break }
	od;
	/* Lock every participant, all or none. */
	do
	:: m < MACHINES && replaces[me * MACHINES + m] ->
		ask(LOCK, m, 0);
		atomic {
			if
			:: done -> m++
			:: !done -> goto abort
			fi;
			done = false
		}
	:: atomic { m < MACHINES && !replaces[me * MACHINES + m] -> m++ }
	:: atomic { m == MACHINES -> m = 0; break }
	od;
	/* Stop the old instance, start the candidate, wait until it is ready. */
	do
	:: m < MACHINES && replaces[me * MACHINES + m] ->
		ask(STOP, m, log[opened].named[m]);
		atomic {
			if
			:: done
			:: !done -> goto abort
			fi;
			done = false
		}
		ask(START, m, me);
		atomic {
			if
			:: done
			:: !done -> goto abort
			fi;
			done = false
		}
		atomic {
			if
			:: on[m].state[me] == READY -> m++
			:: goto abort
			:: goto over
			fi
		}
	:: atomic { m < MACHINES && !replaces[me * MACHINES + m] -> m++ }
	:: atomic { m == MACHINES -> m = 0; break }
	od;
	atomic {
		FOR_MACHINES(m) {
			failed[me] = failed[me] || (replaces[me * MACHINES + m] && on[m].state[me] == ENDED)
		}
		m = 0
	}
#ifndef NO_LAST_QUERY
	do
	:: m < MACHINES && replaces[me * MACHINES + m] ->
		ask(PROBE, m, me);
		atomic {
			if
			:: done && on[m].ready[me] -> m++
			:: !(done && on[m].ready[me]) -> goto abort
			fi;
			done = false
		}
	:: atomic { m < MACHINES && !replaces[me * MACHINES + m] -> m++ }
	:: atomic { m == MACHINES -> m = 0; break }
	od;
#endif
	/* Commit: answered, refused, stored without an answer, or on its way for longer than the holder
	 * may wait. */
	atomic {
		if
		:: true ->
			append(COMMIT, me, opened, m);
			if
			:: stored
			:: goto over
			fi
		:: late_commit == 0 ->
			late_commit = me;
			late_commit_after = opened
		:: goto over
		fi;
		stored = false
	}
	if
	:: last > opened && log[opened + 1].kind == COMMIT && log[opened + 1].deploy == me
	:: goto over
	fi;
	/* Remove all that earlier heads named; unlock. That gateways confirm first is another model. */
	do
	:: m < MACHINES && replaces[me * MACHINES + m] ->
		atomic {
			for (i : 0 .. DEPLOYS) {
				if
				:: PRESENT(m, i) && i != log[opened + 1].named[m] -> found[m] = found[m] | (1 << i)
				:: else
				fi
			}
			i = 0
		}
		do
		:: found[m] != 0 ->
			first_found();
			ask(REMOVE, m, i);
			atomic {
				if
				:: done -> found[m] = found[m] & ~(1 << i); i = 0; done = false
				:: !done -> goto over
				fi
			}
		:: found[m] == 0 -> break
		od;
		ask(UNLOCK, m, 0);
		if
		:: atomic { done -> done = false; m++ }
		:: atomic { !done -> goto over }
		fi
	:: atomic { m < MACHINES && !replaces[me * MACHINES + m] -> m++ }
	:: atomic { m == MACHINES -> m = 0; finished[me] = 1; printf("reached: cleaned\n"); goto over }
	od;

abort:	/* The holder gives the deploy up, and no commit was sent: candidates are removed and what was stopped
	 * is resumed, then the closing entry follows. */
	atomic { m = 0; i = 0; done = false; FOR_MACHINES(i) { found[i] = 0 } i = 0 }
	do
	:: m < MACHINES && replaces[me * MACHINES + m] ->
		ask(REMOVE, m, me);
		if
		:: atomic { done -> done = false }
		:: atomic { !done -> goto over }
		fi;
		ask(RESUME, m, log[opened].named[m]);
		if
		:: atomic { done -> done = false; m++ }
		:: atomic { !done -> goto over }
		fi
	:: atomic { m < MACHINES && !replaces[me * MACHINES + m] -> m++ }
	:: atomic { m == MACHINES -> m = 0; break }
	od;
	atomic {
		append(CLOSE, me, opened, m);
		if
		:: stored -> stored = false
		:: !stored -> goto over
		:: goto over
		fi
	}
	do
	:: m < MACHINES && replaces[me * MACHINES + m] ->
		ask(UNLOCK, m, 0);
		if
		:: atomic { done -> done = false; m++ }
		:: atomic { !done -> goto over }
		fi
	:: atomic { m < MACHINES && !replaces[me * MACHINES + m] -> m++ }
	:: atomic { m == MACHINES -> m = 0; finished[me] = 2; printf("reached: aborted\n"); break }
	od;

over:	/* Ended, killed, or stopped because it lost its lease. */
	skip
}

/* --- agentd */

/* agentd reads the head from the leader unless what it has read is as new as the opening entry. That the
 * command is accepted and carried out are two steps. */
#define SHOWS(d) (log[view].deploy == d)

inline accept(c)
{
#ifdef NO_FENCE
	c.phase = ACCEPTED
#else
	if
	:: view >= c.opened
	:: view < last -> view = last
	fi;
	if
	:: c.deploy >= epoch && SHOWS(c.deploy) ->
		if
		:: c.deploy > epoch ->
			epoch = c.deploy;
			lock = 0
		:: else
		fi;
		c.phase = ACCEPTED
	:: else -> c.phase = REFUSED
	fi
#endif
}

#if defined(NO_FENCE) || defined(NO_RECHECK)
#define FENCED(d) false
#else
#define FENCED(d) ((d) < epoch)
#endif

#ifdef EARLY_LOCK
#define SETTLED(d) true
#else
#define SETTLED(d) (stopped_by == 0 || stopped_by == (d))
#endif
/* A lock waits until what an earlier deploy has left is settled. */
#define CAN_ACT(c) (c.verb != LOCK || SETTLED(c.deploy) || FENCED(c.deploy))

#ifdef NO_LAPSE
#define LAPSED(d) false
#else
#define LAPSED(d) (lapsed == (d))
#endif

inline act(c)
{
	if
	:: FENCED(c.deploy) -> c.phase = REFUSED
	:: else -> carry_out(c)
	fi
}

inline carry_out(c)
{
	if
	:: c.verb == LIST -> listed = c.deploy; c.phase = ANSWERED
	:: c.verb == LOCK && LAPSED(c.deploy) -> c.phase = REFUSED
	:: c.verb == LOCK && !LAPSED(c.deploy) && SETTLED(c.deploy) -> lock = c.deploy; c.phase = ANSWERED
	:: c.verb == PROBE -> on[me].ready[c.deploy] = (on[me].state[c.deploy] == READY); c.phase = ANSWERED
	:: c.verb == REMOVE -> remove(c.instance); c.phase = ANSWERED
	:: c.verb == UNLOCK ->
		if
		:: lock == c.deploy -> lock = 0
		:: else
		fi;
		c.phase = ANSWERED
	:: (c.verb == STOP || c.verb == START || c.verb == RESUME) && lock != c.deploy -> c.phase = REFUSED
	:: c.verb == STOP && lock == c.deploy ->
		if
		:: RUNS(me, c.instance) -> on[me].state[c.instance] = STOPPED
		:: else
		fi;
		stopped_by = c.deploy;
		stopped = c.instance;
		recovery = WATCHING;
		aborted = false;
		c.phase = ANSWERED
	:: c.verb == START && lock == c.deploy ->
		if
		:: on[me].state[c.deploy] == ABSENT -> run_instance(c.deploy, RUNNING)
#ifdef NO_TOMBSTONE
		:: on[me].state[c.deploy] == GONE -> run_instance(c.deploy, RUNNING)
#endif
		:: else
		fi;
		assert(c.deploy >= listed);
		c.phase = ANSWERED
	:: c.verb == RESUME && lock == c.deploy ->
		if
		:: on[me].state[c.instance] == STOPPED -> run_instance(c.instance, READY)
		:: else
		fi;
		c.phase = ANSWERED
	fi
}

inline run_instance(which, how)
{
	on[me].state[which] = how;
	assert(RUNNING_ON(me) <= 1)
}

inline remove(which)
{
	assert(NAMED(me) != which);
	on[me].state[which] = GONE
}

#define UNLOCKED (stopped_by != 0 && lock != stopped_by)
#define CANDIDATE stopped_by
/* Whether an entry has closed the deploy that stopped the instance. */
#define CLOSED (log[last].kind != OPEN || log[last].deploy != stopped_by)
/* Aborted, and only another entry can tell what is to be done. */
#define WAITS (NAMED(me) == stopped && aborted && !CLOSED)

inline settle()
{
	stopped_by = 0; stopped = 0; recovery = WATCHING; aborted = false
}

#define BECOMES_READY(i) atomic { on[me].state[i] == RUNNING -> on[me].state[i] = READY }
#define ENDS(i) atomic { RUNS(me, i) && deaths < DEATHS -> deaths++; on[me].state[i] = ENDED }

#ifdef ONE_STEP
#define AND_ACT(c) ; if :: c.phase == ACCEPTED && CAN_ACT(c) -> act(c) :: else fi
#else
#define AND_ACT(c)
#endif

proctype agentd(byte me)
{
	/* durable */
	byte epoch;
	byte lapsed;	 /* deploy whose lock has lapsed */
	byte stopped_by; /* deploy that stopped the instance below; 0: none */
	byte stopped;
	byte recovery; /* WATCHING, ABORTING, REVERSING */
	bool aborted;
	/* not durable: losing it is a lapse, or a pause */
	byte lock; /* deploy; 0: none */
	byte view; /* sequence up to which it has read the log */
	/* what the properties refer to */
	byte listed; /* the latest deploy whose list was answered */
end:
	do
	:: atomic { sent[1].phase == SENT && sent[1].machine == me -> accept(sent[1]) AND_ACT(sent[1]) }
	:: atomic { sent[1].phase == ACCEPTED && sent[1].machine == me && CAN_ACT(sent[1]) -> act(sent[1]) }
	:: atomic { sent[2].phase == SENT && sent[2].machine == me -> accept(sent[2]) AND_ACT(sent[2]) }
	:: atomic { sent[2].phase == ACCEPTED && sent[2].machine == me && CAN_ACT(sent[2]) -> act(sent[2]) }
#if DEPLOYS > 2
	:: atomic { sent[3].phase == SENT && sent[3].machine == me -> accept(sent[3]) AND_ACT(sent[3]) }
	:: atomic { sent[3].phase == ACCEPTED && sent[3].machine == me && CAN_ACT(sent[3]) -> act(sent[3]) }
#endif
	:: atomic { late[me].phase == SENT -> accept(late[me]) }
	:: atomic { late[me].phase == ACCEPTED && CAN_ACT(late[me]) -> act(late[me]) }
	:: atomic {
		late[me].phase != IDLE ->
		late[me].phase = IDLE; late[me].verb = 0; late[me].machine = 0; late[me].instance = 0;
		late[me].deploy = 0; late[me].opened = 0
	   }
	/* The lock lapses. */
	:: atomic { lock != 0 -> lapsed = lock; lock = 0 }
#ifdef NO_LAPSE
	/* A renewal arrives nevertheless. */
	:: atomic { lock == 0 && lapsed != 0 && lapsed == epoch && SHOWS(epoch) -> lock = epoch }
#endif
#ifndef NO_PRESUMED_ABORT
	/* Presumed abort: read the head, then act upon it, one step at a time. */
	:: atomic {
		UNLOCKED && recovery == WATCHING && !WAITS ->
		if
		:: NAMED(me) == stopped && !aborted -> recovery = ABORTING
		:: NAMED(me) == stopped && aborted && CLOSED -> settle()
#ifndef NO_REVERSAL
		:: NAMED(me) == CANDIDATE && aborted -> recovery = REVERSING
#else
		:: NAMED(me) == CANDIDATE && aborted -> settle()
#endif
		:: NAMED(me) == CANDIDATE && !aborted -> settle()
		:: NAMED(me) != CANDIDATE && NAMED(me) != stopped -> settle()
		fi
	   }
	:: atomic {
		UNLOCKED && recovery == ABORTING ->
		if
		:: RUNS(me, CANDIDATE) ->
#ifdef EARLY_REMOVAL
			on[me].state[CANDIDATE] = GONE
#else
			on[me].state[CANDIDATE] = STOPPED
#endif
		:: !RUNS(me, CANDIDATE) ->
			if
			:: on[me].state[stopped] == STOPPED -> run_instance(stopped, READY); printf("reached: resumed\n")
			:: else
			fi;
			aborted = true;
			recovery = WATCHING
		fi
	   }
	:: atomic {
		UNLOCKED && recovery == REVERSING ->
		if
		:: RUNS(me, stopped) -> on[me].state[stopped] = STOPPED
		:: !RUNS(me, stopped) ->
			if
			:: on[me].state[CANDIDATE] == STOPPED -> run_instance(CANDIDATE, READY); printf("reached: reversed\n")
			:: else
			fi;
			settle()
		fi
	   }
#endif
	/* The engine: instances become ready, or end by themselves. */
	:: BECOMES_READY(1)
	:: ENDS(1)
	:: BECOMES_READY(2)
	:: ENDS(2)
#if DEPLOYS > 2
	:: BECOMES_READY(3)
	:: ENDS(3)
#endif
	od
}

proctype network()
{
	byte m;
	bool stored;
end:
	do
	:: atomic {
		late_commit != 0 ->
		if
		:: true ->
			append(COMMIT, late_commit, late_commit_after, m);
			if
			:: stored -> printf("reached: a late commit\n")
			:: else -> printf("reached: a late commit that is fenced\n")
			fi
		:: true
		fi;
		stored = false;
		late_commit = 0;
		late_commit_after = 0
	   }
	od
}

/* Runs when nothing else can. */
proctype final()
{
	byte m, i;

	atomic {
		timeout ->
		FOR_MACHINES(m) {
			assert(on[m].state[NAMED(m)] != STOPPED && on[m].state[NAMED(m)] != GONE);
			for (i : 1 .. DEPLOYS) {
				assert(finished[i] != 2 || !replaces[i * MACHINES + m] || on[m].state[i] == GONE ||
				       on[m].state[i] == ABSENT)
			}
			for (i : 0 .. DEPLOYS) {
				assert(finished[DEPLOYS] != 1 || !replaces[DEPLOYS * MACHINES + m] || i == NAMED(m) ||
				       on[m].state[i] == GONE || on[m].state[i] == ABSENT)
			}
		}
	}
}

init {
	byte i;

	atomic {
		for (i : 0 .. MACHINES - 1) {
			on[i].state[0] = READY;
			run agentd(i)
		}
		for (i : 1 .. DEPLOYS) {
			run rollout(i)
		}
		i = 0;
		run network();
		run final()
	}
}
