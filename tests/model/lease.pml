/* Model of one namespace's lease and log: two leased, an operator that breaks leases, and a store
 * whose answers get lost and to which appends arrive late.
 *
 * Clocks are not modelled: a held lease may be taken over at any moment, and its holder may be
 * paused at any moment without learning of it. What holds here holds whatever the clocks do.
 *
 * Bounds (-D): ROUNDS deploys and attaches that both leased begin together, DEATHS of a leased,
 * BREAKS of the lease, LATE appends under way at once (1 or 2), REOPEN times that a deploy opens
 * again after a refusal. LATE_LEASE: writes to the lease may arrive late too. LEASES_LOST: the
 * bucket may start empty again once, as after a recovery from a local mirror.
 *
 * Checked: each opening entry has a higher epoch than all before; a commit immediately follows its
 * own opening entry; no holder commits once a later one has opened; a deploy that was reported
 * failed is never committed, one that was reported done is; no deadlock.
 *
 * Mutations: NO_FENCE (a deploy appends no opening entry), NO_CAS (appends are unconditional),
 * UNKNOWN_IS_FAILED (a missing answer at the deadline counts as a failure), REFUSED_IS_FAILED (the
 * log is not read back after a refusal), NO_CLOSING (attach reports a failure without a closing
 * entry), NO_RAISE (the epoch is not raised above the head's; needs LEASES_LOST).
 */
#ifndef ROUNDS
#define ROUNDS 3
#endif
#ifndef DEATHS
#define DEATHS 1
#endif
#ifndef BREAKS
#define BREAKS 1
#endif
#ifndef LATE
#define LATE 1
#endif
#ifndef REOPEN
#define REOPEN 1
#endif

/* Kinds of an entry of the log, and of a write to the lease. */
#define NONE 0
#define OPEN 1
#define COMMIT 2
#define CLOSE 3
#define TAKE 4

/* What a writer knows of its append. */
#define DONE 1
#define CONFLICT 2
#define UNKNOWN 3

/* What was reported of a deploy; or UNKNOWN. */
#define SUCCEEDED 1
#define FAILED 2

/* The namespace's log: its last sequence and entry, and which entries each deploy has there. An
 * append of a deploy that is stored directly follows the sequence that it expected, so this is all
 * that reading the log back can show. */
byte last;
byte last_kind;
byte last_deploy;
byte last_epoch;
bool opened[ROUNDS + 1];
bool committed[ROUNDS + 1];
bool closed[ROUNDS + 1]; /* by an entry that this deploy or attach wrote */

byte reported[ROUNDS + 1];
byte rounds; /* begun */
byte fence;  /* the epoch of the latest holder that knows that it has opened */

/* The lease: its key's revision and value. */
byte revision;
byte lease_epoch;
byte lease_deploy; /* 0: free */

typedef message {
	byte kind; /* NONE: the place is free */
	byte expected;
	byte deploy;
	byte epoch;
};
message late[LATE];
byte deaths, breaks;

/* The store: compare-and-set on the subject's last sequence. Leaves the result in `stored`. */
inline store_head(what, after, who, at)
{
	if
#ifdef NO_CAS
	:: true ->
#else
	:: last == after ->
#endif
		assert(what != OPEN || at > last_epoch);
#ifdef NO_FENCE
		assert(what != COMMIT || after == last);
#else
		assert(what != COMMIT || (last_kind == OPEN && last_deploy == who));
#endif
		assert(what != COMMIT || at >= fence);
		assert(what != COMMIT || reported[who] != FAILED);
		last++;
		last_kind = what;
		last_deploy = who;
		last_epoch = at;
		opened[who] = opened[who] || what == OPEN;
		committed[who] = committed[who] || what == COMMIT;
		closed[who] = closed[who] || what == CLOSE;
		stored = true
	:: else -> stored = false
	fi
}

/* The same on the key's revision. */
inline store_lease(after, who, at)
{
	if
	:: revision == after ->
		revision++;
		lease_epoch = at;
		lease_deploy = who;
		stored = true
	:: else -> stored = false
	fi
}

inline store(what, after, who, at)
{
	if
	:: what == TAKE -> store_lease(after, who, at)
	:: else -> store_head(what, after, who, at)
	fi
}

inline send_late(n, what, after, who, at)
{
	late[n].kind = what;
	late[n].expected = after;
	late[n].deploy = who;
	late[n].epoch = at
}

/* What was under way arrives, or is lost. */
inline arrive(n)
{
	what_ = late[n].kind;
	after_ = late[n].expected;
	who_ = late[n].deploy;
	at_ = late[n].epoch;
	send_late(n, NONE, 0, 0, 0);
	if
	:: true -> store(what_, after_, who_, at_)
	:: true
	fi;
	stored = false; what_ = NONE; after_ = 0; who_ = 0; at_ = 0
}

/* One attempt: answered, done without an answer, on its way for longer than the writer waits, or
 * lost. */
inline attempt(what, after, who, at)
{
	if
	:: true -> store(what, after, who, at); answered = true
	:: true -> store(what, after, who, at)
	:: late[0].kind == NONE -> send_late(0, what, after, who, at)
#if LATE > 1
	:: late[0].kind != NONE && late[1].kind == NONE -> send_late(1, what, after, who, at)
#endif
	:: true
	fi
}

/* cas_append on the log: leaves DONE, CONFLICT or UNKNOWN in `outcome`. The entry that follows the
 * expected one decides. While there is none the same append is repeated, or given up at the
 * deadline. `mine`: whether the log shows this deploy's own entry of this kind. */
inline append(what, after, who, at, mine)
{
	do
	:: atomic {
		outcome == NONE ->
		attempt(what, after, who, at);
		if
		:: answered && stored -> outcome = DONE
#ifdef REFUSED_IS_FAILED
		:: answered && !stored -> outcome = CONFLICT
#endif
		:: else
		fi;
		stored = false;
		answered = false
	   }
	:: atomic { outcome == NONE && last != after -> outcome = (mine -> DONE : CONFLICT) }
	:: atomic { outcome == NONE -> outcome = UNKNOWN }
	:: outcome != NONE -> break
	:: atomic { deaths < DEATHS -> deaths++; goto idle }
	od
}

inline report(who, result)
{
	assert(result != FAILED || !committed[who]);
	assert(result != SUCCEEDED || committed[who]);
	reported[who] = result
}

proctype leased()
{
	byte deploy;
	byte subject;  /* attach: the deploy that is resolved; 0: this is a deploy */
	byte epoch;
	byte expected; /* the last sequence that this holder read or wrote */
	byte held;     /* the lease's revision that it read or wrote */
	byte reopened;
	byte outcome;
	bool answered, stored;

idle:
	atomic {
		deploy = 0; subject = 0; epoch = 0; expected = 0; held = 0; reopened = 0;
		outcome = NONE; answered = false; stored = false;
		if
		:: rounds == ROUNDS -> goto over
		:: rounds < ROUNDS
		:: rounds < ROUNDS && reported[1] % UNKNOWN == 0 && rounds >= 1 -> subject = 1
		:: rounds < ROUNDS && reported[2] % UNKNOWN == 0 && rounds >= 2 -> subject = 2
#if ROUNDS > 3
		:: rounds < ROUNDS && reported[3] % UNKNOWN == 0 && rounds >= 3 -> subject = 3
#endif
		fi;
		rounds++;
		deploy = rounds;
		/* Take the lease: it is free, expired, or an earlier incarnation's. */
		held = revision;
		epoch = lease_epoch + 1
	}
	atomic {
		if
#ifdef LATE_LEASE
		:: true -> attempt(TAKE, held, deploy, epoch)
#else
		:: true -> store_lease(held, deploy, epoch)
#endif
		fi;
		stored = false;
		answered = false
	}
	/* Whose it is decides, not the answer. */
	atomic {
		if
		:: lease_deploy == deploy -> held = revision
		:: lease_deploy != deploy -> goto failed
		fi;
		if
		:: subject != 0 -> goto attach
		:: else
		fi
	}
read:	/* Read the head, raise the epoch above its epoch, open. */
	atomic {
		expected = last;
		if
#ifndef NO_RAISE
		:: last_epoch >= epoch && revision == held && lease_deploy == deploy ->
			store_lease(held, deploy, last_epoch + 1);
			stored = false;
			held = revision;
			epoch = lease_epoch
		:: last_epoch >= epoch && (revision != held || lease_deploy != deploy) -> goto failed
#endif
		:: else
		fi
	}
#ifdef NO_FENCE
	atomic { fence = (epoch > fence -> epoch : fence) }
#else
	append(OPEN, expected, deploy, epoch, opened[deploy]);
	atomic {
		if
		:: outcome == DONE ->
			expected++;
			fence = (epoch > fence -> epoch : fence)
		:: outcome == CONFLICT && reopened < REOPEN && lease_deploy == deploy ->
			/* An entry of an earlier holder arrived late. */
			printf("reached: opened again\n");
			reopened++;
			outcome = NONE;
			goto read
		:: outcome == CONFLICT && (reopened == REOPEN || lease_deploy != deploy) -> goto failed
		:: outcome == UNKNOWN -> goto failed
		fi;
		outcome = NONE
	}
#endif
	/* The work. The deploy is then committed, or aborted if the work fails or was cancelled; a
	 * holder that learns that it has lost its lease stops at once. */
	if
	:: true
	:: atomic { lease_deploy != deploy -> printf("reached: the lease is lost\n"); goto failed }
	:: goto abort
	:: atomic { deaths < DEATHS -> deaths++; goto idle }
	fi;
	append(COMMIT, expected, deploy, epoch, committed[deploy]);
	atomic {
		if
		:: outcome == DONE -> report(deploy, SUCCEEDED)
		:: outcome == CONFLICT -> printf("reached: a commit that is fenced\n"); goto failed
#ifdef UNKNOWN_IS_FAILED
		:: outcome == UNKNOWN -> goto failed
#else
		:: outcome == UNKNOWN -> printf("reached: an unknown outcome\n"); report(deploy, UNKNOWN)
#endif
		fi;
		goto release
	}
abort:	/* No commit was ever sent: the deploy has failed, whatever becomes of this entry. */
	append(CLOSE, expected, deploy, epoch, closed[deploy]);
failed:
	atomic {
		report(deploy, FAILED);
		goto release
	}
attach:	/* The entry after the subject's opening one decides. If there is none, the closing entry that is
	 * appended here fences a late commit. */
	atomic {
		outcome = NONE;
		expected = last;
		if
		:: committed[subject] ->
			printf("reached: attach finds a commit\n");
			report(subject, SUCCEEDED);
			goto release
		:: !committed[subject] && opened[subject] && last_deploy != subject ->
			report(subject, FAILED);
			goto release
		:: !committed[subject] && last_deploy == subject && last_kind == CLOSE ->
			report(subject, FAILED);
			goto release
		:: last_deploy == subject && last_kind == OPEN
		:: !opened[subject] ->
			/* Its opening entry may still be under way, a commit is not. */
			goto release
		fi
	}
#ifdef NO_CLOSING
	atomic { report(subject, FAILED) }
#else
	append(CLOSE, expected, deploy, epoch, closed[deploy]);
	atomic {
		if
		:: outcome == DONE -> printf("reached: attach closes\n"); report(subject, FAILED)
		:: outcome == CONFLICT -> printf("reached: attach is too late to close\n"); goto attach
		:: outcome == UNKNOWN -> report(subject, UNKNOWN)
		fi
	}
#endif
release:
	atomic {
		if
		:: revision == held && lease_deploy == deploy -> revision++; lease_deploy = 0
		:: true /* unanswered, lost, or not its own any more */
		fi;
		goto idle
	}
over:
	skip
}

proctype network()
{
	byte what_, after_, who_, at_;
	bool stored;
end:
	do
	:: atomic { late[0].kind != NONE -> arrive(0) }
#if LATE > 1
	:: atomic { late[1].kind != NONE -> arrive(1) }
#endif
	od
}

proctype operator()
{
end:
	do
	:: atomic {
		breaks < BREAKS && lease_deploy != 0 ->
		breaks++;
		revision++;
		lease_deploy = 0
	   }
#ifdef LEASES_LOST
	:: atomic {
		breaks < BREAKS && revision > 0 ->
		breaks++;
		revision = 0;
		lease_epoch = 0;
		lease_deploy = 0
	   }
#endif
	od
}

init {
	atomic {
		run leased();
		run leased();
		run network();
		run operator()
	}
}
