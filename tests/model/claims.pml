/* Model of route claims: two namespaces whose deploys want routes that exclude each other.
 *
 * Two keys stand for every pair of claims that conflict across namespaces: UPPER is a host (or a
 * wildcard), LOWER a path below that host (or a host below that wildcard). A namespace may hold one
 * or both of them; two namespaces may not hold the same one, nor one each. Every read and every
 * write is a step of its own, and each deploy may be paused, or end, at any step; a paused writer
 * stands for an append that arrives late. A later deploy of the namespace may open meanwhile.
 *
 * Bounds (-D): DEPLOYS of the first namespace, OTHERS of the second. WILDCARD: UPPER is a wildcard,
 * which is allowed above another namespace's existing LOWER.
 *
 * Checked at each commit: no other namespace's committed head has the key, or the other key (with
 * WILDCARD: unless LOWER has the lower sequence); each route committed has this namespace's claim;
 * no claim is overwritten while its namespace's committed head has the route; no deadlock.
 *
 * Mutations: NO_CLAIM_READBACK (the claims are read before the write only), NO_CLAIM_CAS (a claim is
 * written unconditionally), NO_REWRITE (a claim of the own namespace is not written again by a deploy
 * whose opened head lacks the route), HEAD_FIRST (the claimant's head is read before the claim),
 * HIGHER_WINS (of two conflicting new claims the later one goes on), OPEN_IS_INVALID (an open deploy's
 * claim does not count), OWN_IS_FREE (a deploy overwrites the claim of a later one of its namespace),
 * NO_FENCE (the commit is unconditional).
 */
#ifndef DEPLOYS
#define DEPLOYS 2 /* of the first namespace */
#endif
#ifndef OTHERS
#define OTHERS 1 /* of the second */
#endif

#define UPPER 0
#define LOWER 1
#define BIT(k) (1 << (k))

typedef entry {
	byte routes; /* bits: of the committed state */
	byte open;   /* deploy; 0: none */
	byte moved;  /* entries so far: what the commit compares */
};
entry head[2];

typedef claim_entry {
	byte ns; /* plus one; 0: there is none */
	byte deploy;
	byte sequence;
};
claim_entry claim[2];
byte sequence;
byte begun[2];

#define HAS(n, k) ((head[n].routes & BIT(k)) != 0)
#ifdef OPEN_IS_INVALID
#define VALID(n, k, d) HAS(n, k)
#else
#define VALID(n, k, d) (HAS(n, k) || head[n].open == d)
#endif

#define OTHER (1 - me)

inline check_commit()
{
	for (k : 0 .. 1) {
		if
		:: wanted & BIT(k) ->
			assert(!HAS(OTHER, k));
			assert(claim[k].ns == me + 1);
#ifdef WILDCARD
			assert(!HAS(OTHER, 1 - k) || claim[LOWER].sequence < claim[UPPER].sequence)
#else
			assert(!HAS(OTHER, 1 - k))
#endif
		:: else
		fi
	}
	k = 0
}

/* Deploy `d` of namespace `me`; each has a number of its own in its namespace. */
proctype rollout(byte me; byte d)
{
	byte opened;	/* what the commit compares */
	byte had;	/* routes of the opened head */
	byte wanted;
	byte own[2];	/* sequences of its claims */
	byte k;
	byte seen_ns, seen_deploy, seen; /* a claim as it was read */
	bool valid;
#ifdef HEAD_FIRST
	byte early_open;
	bool early_has;
#endif

	atomic {
		begun[me] == d - 1 -> begun[me] = d;
		head[me].open = d;
		head[me].moved++;
		opened = head[me].moved;
		had = head[me].routes;
		if
		:: wanted = 0
		:: wanted = BIT(UPPER)
		:: wanted = BIT(LOWER)
		:: wanted = BIT(UPPER) | BIT(LOWER)
		fi
	}
	/* Write all: the upper key first. */
write:
	atomic {
		do
		:: k < 2 && (!(wanted & BIT(k)) || own[k] != 0) -> k++
		:: else -> break
		od;
		if
		:: k == 2 -> k = 0; goto read_back
		:: k < 2
		fi
	}
	/* Read the claim, then its claimant's head. */
#ifdef HEAD_FIRST
	atomic { early_open = head[OTHER].open; early_has = HAS(OTHER, k) }
#endif
	atomic {
		seen_ns = claim[k].ns; seen_deploy = claim[k].deploy; seen = claim[k].sequence;
		if
		:: had & BIT(k) ->
			assert(seen_ns == me + 1 || head[me].moved != opened);
			own[k] = seen;
			seen_ns = 0; seen_deploy = 0; seen = 0;
			goto write
		:: else
		fi
	}
	if
	:: atomic {
		seen_ns == OTHER + 1 ->
#ifdef HEAD_FIRST
		valid = (early_has || early_open == seen_deploy);
#else
		valid = VALID(OTHER, k, seen_deploy);
#endif
		if
		:: valid -> printf("reached: refused\n"); goto over
		:: else -> printf("reached: an invalid claim is overwritten\n")
		fi
	   }
#ifdef OWN_IS_FREE
	:: seen_ns != OTHER + 1
#else
	:: seen_ns == 0 || (seen_ns == me + 1 && seen_deploy < d)
	/* A later deploy of this namespace has claimed it: this one is fenced. */
	:: atomic { seen_ns == me + 1 && seen_deploy > d -> printf("reached: fenced by a claim\n"); goto over }
#endif
	:: goto over
	fi;
	atomic {
		valid = false;
		if
#ifdef NO_REWRITE
		:: seen_ns == me + 1 -> own[k] = seen
		:: seen_ns != me + 1 && claim[k].sequence == seen ->
#elif defined(NO_CLAIM_CAS)
		:: true ->
#else
		:: claim[k].sequence == seen ->
#endif
			assert(claim[k].ns != OTHER + 1 || !HAS(OTHER, k));
			sequence++;
			claim[k].ns = me + 1;
			claim[k].deploy = d;
			claim[k].sequence = sequence;
			own[k] = sequence
		:: else -> printf("reached: another writer was first\n")
		fi;
		seen_ns = 0; seen_deploy = 0; seen = 0;
		goto write
	}
read_back: /* Read all: each own claim must be there at its sequence, and no other one with a lower one. */
#ifndef NO_CLAIM_READBACK
	atomic {
		do
		:: k < 2 && !(wanted & BIT(k)) -> k++
		:: else -> break
		od;
		if
		:: k == 2 -> k = 0; goto commit
		:: k < 2 && (claim[k].ns != me + 1 || claim[k].sequence != own[k]) -> goto over
		:: k < 2 && claim[k].ns == me + 1 && claim[k].sequence == own[k]
		fi;
		if
		:: wanted & BIT(1 - k) -> k++; goto read_back
		:: !(wanted & BIT(1 - k))
		fi;
		seen_ns = claim[1 - k].ns; seen_deploy = claim[1 - k].deploy; seen = claim[1 - k].sequence
	}
	atomic {
		if
#ifdef WILDCARD
		:: k == UPPER
		:: k == LOWER && seen_ns == OTHER + 1 && VALID(OTHER, 1 - k, seen_deploy) && seen < own[k] -> goto over
#elif defined(HIGHER_WINS)
		:: seen_ns == OTHER + 1 && VALID(OTHER, 1 - k, seen_deploy) && seen > own[k] -> goto over
#else
		:: seen_ns == OTHER + 1 && VALID(OTHER, 1 - k, seen_deploy) && seen < own[k] ->
			printf("reached: a lower sequence wins\n");
			goto over
#endif
		:: else
		fi;
		seen_ns = 0; seen_deploy = 0; seen = 0;
		k++;
		goto read_back
	}
#endif
commit:
	atomic {
		if
#ifdef NO_FENCE
		:: true ->
#else
		:: head[me].moved == opened ->
#endif
			check_commit();
			head[me].routes = wanted;
			printf("reached: committed\n");
			head[me].open = 0;
			head[me].moved++
		:: head[me].moved == opened -> /* the work failed: abort */
			head[me].open = 0;
			head[me].moved++
		:: true
		fi;
		goto ended
	}
over:	/* Refused, killed, or out of time: with a closing entry or without. */
	atomic {
		if
		:: head[me].moved == opened ->
			head[me].open = 0;
			head[me].moved++
		:: true
		fi
	}
ended:
	atomic {
		opened = 0; had = 0; wanted = 0; own[0] = 0; own[1] = 0; k = 0;
		seen_ns = 0; seen_deploy = 0; seen = 0; valid = false
	}
}

init {
	byte i;

	atomic {
		for (i : 1 .. DEPLOYS) {
			run rollout(0, i)
		}
		for (i : 1 .. OTHERS) {
			run rollout(1, i)
		}
		i = 0
	}
}
