/* Every live gateway and resolver says that it has the log up to our entry. A daemon that is dead
 * may still have a living proxy that sends traffic to what would be removed: it is asked until it
 * is back, or nothing is removed. */
#include "leased/leased.h"

struct confirmation {
	enum subject_id subject;
	char *machine;
	bool asking, done;
	struct failure last;
};

void applying_clear(struct walk *walk)
{
	for (size_t i = 0; i < walk->n_confirmations; i++) {
		free(walk->confirmations[i].machine);
		failure_clear(&walk->confirmations[i].last);
	}
	free(steal(walk->confirmations));
	walk->n_confirmations = 0;
}

static void on_applied(struct walk *walk, const struct failure *failure, void *answer, void *what);

/* No longer applying before what comes next: its ticks are the next one's. */
static void finish(struct walk *walk)
{
	void (*then)(struct walk * walk) = steal(walk->applied);

	walk->deadline_usec = 0;
	then(walk);
}

static void ask(struct walk *walk, struct confirmation *c)
{
	const struct applied_request request = { .sequence = (int64_t)walk->sequence };

	c->asking = true;
	errand(walk, c->subject, c->machine, &request, APPLIED_USEC, on_applied, c);
}

static void on_applied(struct walk *walk, const struct failure *failure, void *answer, void *what)
{
	const struct applied *applied = answer;
	struct confirmation *c = what;

	c->asking = false;
	if (failure) {
		failure_copy(&c->last, failure);
		/* One that is alive but behind is asked again at once; a dead one with the next
		 * tick. */
		if (failure->code == FAILURE_TIMEOUT && boot_now_usec() < walk->deadline_usec)
			ask(walk, c);
		return;
	}
	if ((uint64_t)applied->sequence < walk->sequence) {
		failure_set(&c->last, FAILURE_NOT_READY, NULL, "it has the log up to %lld only",
			    (long long)applied->sequence);
		return;
	}
	c->done = true;
	if (--walk->pending > 0)
		return;
	finish(walk);
}

void applying_tick(struct walk *walk)
{
	for (size_t i = 0; i < walk->n_confirmations && walk->pending; i++) {
		struct confirmation *c = &walk->confirmations[i];

		if (c->done)
			continue;
		if (boot_now_usec() > walk->deadline_usec) {
			walk_failf(walk, walk->committed ? FAILURE_CLEANUP_PENDING : FAILURE_FAILED,
				   "bring it back (`ployzctl status` shows it); the next deploy of "
				   "the namespace cleans up",
				   "%s of machine %s has not confirmed the log up to %llu, so "
				   "nothing was removed: %s",
				   subjects[c->subject].owner, c->machine,
				   (unsigned long long)walk->sequence,
				   c->last.message ? c->last.message : "it did not answer");
			return;
		}
		if (!c->asking)
			ask(walk, c);
	}
}

void applying_go(struct walk *walk, void (*then)(struct walk *walk))
{
	static const enum subject_id asked[] = { SUBJECT_ROUTED_APPLIED, SUBJECT_DNSD_APPLIED };

	applying_clear(walk);
	walk->applied = then;
	walk->deadline_usec = boot_now_usec() + APPLY_ALL_USEC;
	for (char **machine = walk->peers; machine && *machine; machine++)
		for (size_t i = 0; i < ARRAY_SIZE(asked); i++) {
			struct confirmation *c =
				array_add(walk->confirmations, walk->n_confirmations);

			c->subject = asked[i];
			c->machine = xstrdup(*machine);
		}
	walk->pending = walk->n_confirmations;
	/* Asked only now: the list does not move any more. */
	for (size_t i = 0; i < walk->n_confirmations; i++)
		ask(walk, &walk->confirmations[i]);
	if (!walk->pending)
		finish(walk);
}
