/* Phases lock and unlock: takes all the participants' locks in machine order, or none, and releases
 * them. */
#include "leased/rollout.h"

/* A deploy that changes nothing needs no participant. */
static bool is_needed(const struct rollout *r)
{
	return !r->nothing && r->manifest && r->plan->changes;
}

static const struct instance *find(const struct agent_locked *locked, const char *id)
{
	for (size_t i = 0; i < locked->n_instances; i++)
		if (streq(locked->instances[i].id, id))
			return &locked->instances[i];
	return NULL;
}

static bool runs(const struct instance *instance)
{
	switch ((enum instance_state)instance->state) {
	case INSTANCE_GONE:
	case INSTANCE_FAILED:
	case INSTANCE_STOPPED:
		return false;
	case INSTANCE_PULLING:
	case INSTANCE_CREATED:
	case INSTANCE_STARTING:
	case INSTANCE_READY:
	case INSTANCE_UNREADY:
	case INSTANCE_DRAINING:
		return true;
	}
	return false;
}

/* An instance that the plan keeps and that has ended, or NULL. */
static const char *missing(const struct rollout *r, const struct participant *p)
{
	for (size_t i = 0; i < r->n_candidates; i++) {
		const struct candidate *c = r->candidates[i];
		const struct instance *instance;

		if (c->action != SLOT_KEEP || !streq(c->slot->machine, p->machine))
			continue;
		instance = find(p->rpc.answer, c->instance);
		if (!instance || !runs(instance))
			return c->instance;
	}
	return NULL;
}

/* Only one that runs may be kept when its image turns out to be the wanted one. */
static void note_running(struct rollout *r, const struct participant *p)
{
	for (size_t i = 0; i < r->n_candidates; i++) {
		struct candidate *c = r->candidates[i];
		const struct instance *instance =
			c->slot->old && streq(candidate_old_machine(c), p->machine)
				? find(p->rpc.answer, c->slot->old)
				: NULL;

		if (instance)
			c->old_runs = runs(instance);
	}
}

static enum phase_result plan_again(struct rollout *r, const char *machine, const char *instance)
{
	if (r->plans >= PLAN_ATTEMPTS)
		return rollout_failf(r, FAILURE_FAILED, "deploy again",
				     "cannot execute the plan: instance %s on machine %s, which it "
				     "keeps, ended while it was made",
				     instance, machine);
	rollout_note(r,
		     "instance %s on machine %s has ended since the plan was made; planning "
		     "again",
		     instance, machine);
	for (size_t i = 0; i < r->n_participants; i++)
		rpc_clear(&r->participants[i]->rpc);
	planning_again(r);
	return PHASE_WAIT;
}

static enum phase_result lock_next(struct rollout *r)
{
	for (size_t i = 0; i < r->n_participants; i++) {
		struct participant *p = r->participants[i];
		const char *instance;

		if (!p->needed)
			continue;
		switch (rpc_verdict(&p->rpc, r->now_usec, RETRY_LIMIT_USEC)) {
		case VERDICT_PENDING:
			if (rpc_is_due(&p->rpc, r->now_usec, false))
				participants_ask(r, p, &p->rpc);
			return PHASE_WAIT;
		case VERDICT_ERROR:
			p->lock_sent = failure_is_no_answer(&p->rpc.failure);
			return rollout_rpc_error(r, &p->rpc);
		case VERDICT_ANSWER:
			break;
		}
		p->locked = true;
		p->locked_usec = p->rpc.sent_usec;
		instance = missing(r, p);
		if (instance)
			return plan_again(r, p->machine, instance);
		note_running(r, p);
	}
	return PHASE_DONE;
}

enum phase_result phase_lock_start(struct rollout *r)
{
	return is_needed(r) ? lock_next(r) : PHASE_DONE;
}

enum phase_result phase_lock_poll(struct rollout *r)
{
	enum phase_result result;

	if (!r->plan) {
		result = planning_poll(r);
		if (result == PHASE_DONE)
			result = planning_check(r);
		if (result != PHASE_DONE)
			return result;
		if (!r->plan->changes)
			return PHASE_DONE;
	}
	return lock_next(r);
}

/* --- release */

enum phase_result phase_unlock_start(struct rollout *r)
{
	struct agent_unlock unlock;

	rollout_command(r, &unlock.command);
	for (size_t i = 0; i < r->n_participants; i++) {
		struct participant *p = r->participants[i];

		rpc_clear(&p->renewal);
		/* A lock whose answer was lost may be held all the same. */
		if (p->locked || p->lock_sent)
			rpc_ask(r, &p->rpc, SUBJECT_AGENT_UNLOCK, p->machine, &unlock, AGENT_USEC);
	}
	return phase_unlock_poll(r);
}

enum phase_result phase_unlock_poll(struct rollout *r)
{
	for (size_t i = 0; i < r->n_participants; i++)
		if (r->participants[i]->rpc.state == RPC_WAITING)
			return PHASE_WAIT;
	/* A lock that is not released lapses by itself. */
	return PHASE_DONE;
}
