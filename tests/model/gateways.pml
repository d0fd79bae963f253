/* Model of what stands between a commit and the removal of what it replaced: two gateways (or
 * resolvers) with their projections, one machine M that runs the instances, and the holders that
 * commit and remove.
 *
 * Instance n is the one that commit n names; instance 0 is committed at the beginning. A gateway's
 * link to the store and its link to M are cut and heal independently; the gateway's process or its
 * machine dies and comes back; the second gateway may join later. The holder reaches a gateway that is
 * up and linked to the store, and may give it up at any time. Time is modelled by its order alone: M
 * omits a gateway after that gateway has withdrawn M's addresses.
 *
 * Assumed, beyond the letter of architecture.md (each is a mutation below): a gateway restores M's
 * addresses only after M counts it as reachable again (NO_HANDSHAKE), has then asked the leader how
 * far its projection has to be (RESTORE_BY_FLAG), holds no item back (RESTORE_HELD) and has stored its
 * view (RESTORE_UNSAVED); after its machine was down it begins with M's addresses withdrawn
 * (BOOT_SERVES); a gateway that joins serves nothing before its projection was live (JOIN_SERVES).
 *
 * Bounds (-D): COMMITS, each with a holder of its own that may be paused or die; SWEEPS, whose holders
 * commit nothing; EVENTS: cuts, deaths and joins together; HELD entries that a gateway cannot decode;
 * FIRST_FAULTY: the gateways before this one only lag (0: both fail).
 *
 * Checked: no gateway that may send traffic to M serves an instance that was removed; the instance
 * that the head names is never removed; no deadlock.
 *
 * More mutations: FEWER_CONFIRMATIONS (one gateway is enough), AWAY_IS_ABSENT (a gateway that does not
 * answer is not waited for), EARLY_OMISSION (M omits a gateway before that has withdrawn its
 * addresses), CONFIRM_HELD (an item held back is confirmed), NO_SAVED_VIEW (a view is confirmed before
 * it is stored), OLD_MEMBERS (the set of machines is read before the commit), OLD_REACH (M was asked what
 * it reaches before the commit).
 */
#ifndef COMMITS
#define COMMITS 2
#endif
#ifndef EVENTS
#define EVENTS 4
#endif
#ifndef HELD
#define HELD 1
#endif

#define GATEWAYS 2
#ifndef FIRST_FAULTY
#define FIRST_FAULTY 1
#endif
#ifndef SWEEPS
#define SWEEPS 1
#endif
#define HOLDERS (COMMITS + SWEEPS)

typedef gateway {
	bool member;
	bool up;
	bool fed;	/* its link to the store is there */
#ifdef RESTORE_BY_FLAG
	bool live;	/* what it believes of its projection */
#endif
	byte applied;	/* commits that its projection has passed */
	byte view;	/* the commit whose instance it serves: less than `applied` while an item is held back */
	byte saved;	/* what it starts with after its death */
	bool link;	/* to M */
	bool withdrawn; /* it does not send to M */
	bool omitted;	/* M reports it as unreachable */
};
gateway at[GATEWAYS];
byte version; /* of the head */
bool removed[COMMITS + 1];
byte events, held;
byte begun; /* holders */

#define MAY_SEND(g) (at[g].member && at[g].up && !at[g].withdrawn)
inline check(g)
{
	assert(!(MAY_SEND(g) && removed[at[g].view]))
}

/* Whether the projection has reached the leader's last entry, asked now, and holds nothing back. */
#ifdef RESTORE_HELD
#define FRESH(g) (at[g].up && at[g].fed && at[g].applied == version)
#else
#define FRESH(g) (at[g].up && at[g].fed && at[g].applied == version && at[g].view == version)
#endif

/* Whether M omits g: g has withdrawn its addresses by then, or cannot send at all. */
#ifdef EARLY_OMISSION
#define MAY_OMIT(g) (!at[g].link && !at[g].omitted)
#else
#define MAY_OMIT(g) (!at[g].link && !at[g].omitted && (at[g].withdrawn || !at[g].up))
#endif
#ifdef RESTORE_BY_FLAG
#define IS_LIVE(g) at[g].live
#else
#define IS_LIVE(g) FRESH(g)
#endif
#ifdef NO_HANDSHAKE
#define REACHED(g) at[g].link
#else
#define REACHED(g) (at[g].link && !at[g].omitted)
#endif
#ifdef RESTORE_UNSAVED
#define IS_SAVED(g) true
#else
#define IS_SAVED(g) (at[g].saved == at[g].view)
#endif
#define MAY_RESTORE(g) (at[g].up && at[g].withdrawn && REACHED(g) && IS_LIVE(g) && IS_SAVED(g))

#ifdef RESTORE_BY_FLAG
#define SET_LIVE(g, is) at[g].live = (is)
#else
#define SET_LIVE(g, is) skip
#endif

inline start(g)
{
	SET_LIVE(g, false);
	at[g].applied = at[g].saved;
	at[g].view = at[g].saved;
	check(g)
}


proctype projection(byte g)
{
end:
	do
	:: atomic {
		at[g].up && at[g].fed && at[g].applied < version ->
		at[g].applied++;
		at[g].view = at[g].applied;
		SET_LIVE(g, at[g].applied == version);
		check(g)
	   }
	:: atomic { /* an entry that it cannot decode */
		at[g].up && at[g].fed && at[g].applied < version && held < HELD ->
		held++;
		at[g].applied++;
		SET_LIVE(g, at[g].applied == version)
	   }
#ifdef RESTORE_BY_FLAG
	:: atomic { at[g].up && at[g].fed && at[g].applied == version && !at[g].live -> SET_LIVE(g, true) }
	:: atomic { at[g].live && !at[g].fed -> SET_LIVE(g, false) }
#endif
	:: atomic { at[g].up && at[g].saved != at[g].view -> at[g].saved = at[g].view }
	/* M's addresses. */
	:: atomic { at[g].up && !at[g].link && !at[g].withdrawn -> at[g].withdrawn = true }
	:: atomic {
		MAY_OMIT(g) -> at[g].omitted = true
	   }
	:: atomic { at[g].link && at[g].omitted -> at[g].omitted = false }
	:: atomic {
		MAY_RESTORE(g) -> at[g].withdrawn = false;
		printf("reached: restored\n");
		check(g)
	   }
	od
}

proctype world(byte g)
{
end:
	do
	:: atomic { at[g].member && at[g].fed && events < EVENTS -> events++; at[g].fed = false }
	:: atomic { at[g].up && !at[g].fed -> at[g].fed = true }
	:: atomic { at[g].member && at[g].link && events < EVENTS -> events++; at[g].link = false }
	:: atomic { at[g].up && !at[g].link -> at[g].link = true }
	:: atomic { /* the process dies, and is started again at once */
		at[g].up && events < EVENTS ->
		events++;
		start(g)
	   }
	:: atomic { /* the machine dies */
		at[g].up && events < EVENTS ->
		events++;
		at[g].up = false;
		SET_LIVE(g, false);
		at[g].fed = false;
		at[g].link = false
	   }
	:: atomic { /* and starts again, with its links down at first */
		at[g].member && !at[g].up ->
		at[g].up = true;
#ifdef BOOT_SERVES
		at[g].withdrawn = false;
#else
		at[g].withdrawn = true;
#endif
		start(g)
	   }
	:: atomic { /* a machine joins */
		!at[g].member && events < EVENTS ->
		events++;
		printf("reached: joined\n");
		at[g].member = true;
		at[g].up = true;
		at[g].fed = true;
		at[g].link = true;
#ifdef JOIN_SERVES
		at[g].withdrawn = false;
#else
		at[g].withdrawn = true;
#endif
		/* Its local mirror may be anywhere in the past. */
		if
		:: at[g].applied = version
		:: at[g].applied = 0
		fi;
		at[g].view = at[g].applied;
		at[g].saved = at[g].applied;
		check(g)
	   }
	od
}

#ifdef CONFIRM_HELD
#define SERVES(g, v) (at[g].applied >= v)
#else
#define SERVES(g, v) (at[g].applied >= v && at[g].view >= v)
#endif
#if defined(NO_SAVED_VIEW)
#define STORED(g, v) true
#elif defined(CONFIRM_HELD)
#define STORED(g, v) (at[g].saved == at[g].view)
#else
#define STORED(g, v) (at[g].saved >= v)
#endif

/* Not reached by the holder, and M reports that it does not reach it either. */
#ifdef OLD_REACH
#define EXCUSED(g) (asked[g] && !(at[g].up && at[g].fed) && omitted[g])
#else
#define EXCUSED(g) (asked[g] && !(at[g].up && at[g].fed) && at[g].omitted)
#endif

/* Holder n commits n; the last one only sweeps. */
proctype holder(byte me)
{
	bool asked[GATEWAYS];
#ifdef OLD_REACH
	bool omitted[GATEWAYS];
#endif
	byte mine; /* the commit up to which it cleans */
	byte g, answers;

	atomic {
		begun == me - 1 -> begun = me;
#ifdef OLD_MEMBERS
		for (g : 0 .. GATEWAYS - 1) { asked[g] = at[g].member }
		g = 0;
#endif
#ifdef OLD_REACH
		for (g : 0 .. GATEWAYS - 1) { omitted[g] = at[g].omitted }
		g = 0;
#endif
		skip
	}
	atomic {
		if
		:: me <= COMMITS && version == me - 1 -> version = me
		:: me > COMMITS || version != me - 1 /* fenced before its commit, or it changes nothing */
		fi;
		mine = version
	}
#ifndef OLD_MEMBERS
	atomic {
		for (g : 0 .. GATEWAYS - 1) { asked[g] = at[g].member }
		g = 0
	}
#endif
	do
	:: g < GATEWAYS ->
		if
		:: atomic { !asked[g] -> g++ }
		:: atomic { asked[g] && at[g].up && at[g].fed && SERVES(g, mine) && STORED(g, mine) -> answers++; g++ }
		:: atomic { EXCUSED(g) -> printf("reached: excused\n"); g++ }
#ifdef AWAY_IS_ABSENT
		:: atomic { asked[g] && (!at[g].up || !at[g].fed) -> g++ }
#endif
#ifdef FEWER_CONFIRMATIONS
		:: atomic { asked[g] && answers > 0 -> g++ }
#endif
		:: goto pending
		fi
	:: atomic { g == GATEWAYS -> g = 0; break }
	od;
	/* Drain and remove all that earlier heads named. */
	do
	:: atomic {
		g < mine ->
		assert(g != version);
		removed[g] = true;
#if COMMITS > 1
		if
		:: g < mine - 1 -> printf("reached: an earlier clean-up is finished\n")
		:: else
		fi;
#endif
		g++;
		check(0);
		check(1)
	   }
	:: g == mine -> break
	:: goto pending
	od;
pending: /* Killed, or the clean-up is pending: it is left to a later holder. */
	printf("reached: the end of a holder\n")
}

init {
	byte i;

	atomic {
		for (i : 0 .. GATEWAYS - 1) {
			at[i].member = true;
			at[i].up = true;
			at[i].fed = true;
			SET_LIVE(i, true);
			at[i].link = true
		}
		if
		:: true
		:: at[1].member = false; at[1].up = false; at[1].fed = false; SET_LIVE(1, false); at[1].link = false
		fi;
		for (i : 0 .. GATEWAYS - 1) {
			run projection(i);
			if
			:: i >= FIRST_FAULTY -> run world(i)
			:: else
			fi
		}
		for (i : 1 .. HOLDERS) {
			run holder(i)
		}
		i = 0
	}
}
