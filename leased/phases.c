/* Phases: the table of a rollout's phases, and the dispatcher, which alone makes transitions. The
 * dispatcher polls the current phase after every answer and every tick. A phase calls no other
 * phase: it returns a result, and its row names the successor. */
#include "leased/rollout.h"

#include <errno.h>

#include "lib/log.h"

#define ROW(name) #name, phase_##name##_start, phase_##name##_poll
/* clang-format off */
const struct phase_row phases[PHASE_COUNT] = {
	[PHASE_LEASE]    = { ROW(lease),    PHASE_HEAD,     PHASE_END },
	[PHASE_HEAD]     = { ROW(head),     PHASE_LOAD,     PHASE_RELEASE },
	[PHASE_LOAD]     = { ROW(load),     PHASE_PREVIEW,  PHASE_RELEASE },
	[PHASE_PREVIEW]  = { ROW(preview),  PHASE_OPEN,     PHASE_RELEASE },
	[PHASE_OPEN]     = { ROW(open),     PHASE_LIST,     PHASE_RELEASE },
	[PHASE_LIST]     = { ROW(list),     PHASE_SWEEP,    PHASE_CLOSE },
	[PHASE_SWEEP]    = { ROW(sweep),    PHASE_PLAN,     PHASE_CLOSE },
	[PHASE_PLAN]     = { ROW(plan),     PHASE_LOCK,     PHASE_CLOSE },
	[PHASE_LOCK]     = { ROW(lock),     PHASE_CLAIM,    PHASE_CLOSE },
	[PHASE_CLAIM]    = { ROW(claim),    PHASE_PREPARE,  PHASE_CLOSE },
	[PHASE_PREPARE]  = { ROW(prepare),  PHASE_START,    PHASE_CLOSE },
	[PHASE_START]    = { ROW(start),    PHASE_MANIFEST, PHASE_ABORT },
	[PHASE_MANIFEST] = { ROW(manifest), PHASE_QUERY,    PHASE_ABORT },
	[PHASE_QUERY]    = { ROW(query),    PHASE_COMMIT,   PHASE_ABORT },
	[PHASE_COMMIT]   = { ROW(commit),   PHASE_CONFIRM,  PHASE_ABORT },
	[PHASE_CONFIRM]  = { ROW(confirm),  PHASE_CLEAN,    PHASE_CLOSE },
	[PHASE_CLEAN]    = { ROW(clean),    PHASE_CLOSE,    PHASE_CLOSE },
	[PHASE_ABORT]    = { ROW(abort),    PHASE_RESUME,   PHASE_RESUME },
	[PHASE_RESUME]   = { ROW(resume),   PHASE_CLOSE,    PHASE_CLOSE },
	[PHASE_CLOSE]    = { ROW(close),    PHASE_UNLOCK,   PHASE_UNLOCK },
	[PHASE_UNLOCK]   = { ROW(unlock),   PHASE_RELEASE,  PHASE_RELEASE },
	[PHASE_RELEASE]  = { ROW(release),  PHASE_END,      PHASE_END },
	[PHASE_END]      = { ROW(end),      PHASE_END,      PHASE_END },
};
/* clang-format on */

/* A pending read or write belongs to one phase: it is cancelled with the phase. */
static void leave(struct rollout *r)
{
	read_clear(&r->read);
	write_clear(&r->write);
	head_free(steal(r->trying));
	rpc_clear(&r->planning);
	confirmation_free(steal(r->confirmation));
	removal_free(steal(r->removal));
	claiming_free(steal(r->claiming));
	for (size_t i = 0; i < r->n_candidates; i++) {
		rpc_clear(&r->candidates[i]->rpc);
		draining_free(steal(r->candidates[i]->draining));
	}
	for (size_t i = 0; i < r->n_runs; i++)
		rpc_clear(&r->runs[i]->rpc);
	for (size_t i = 0; i < r->n_participants; i++)
		rpc_clear(&r->participants[i]->rpc);
}

static void enter(struct rollout *r, enum phase phase)
{
	log_write(LOG_DEBUG, &(struct log_about){ .ns = r->ns, .deploy = r->request->deploy },
		  "deploy %s: %s → %s", r->request->deploy, phases[r->phase].name,
		  phases[phase].name);
	leave(r);
	r->phase = phase;
	r->phase_usec = r->now_usec;
	r->entered = r->repeating = r->stopped = false;
}

/* Conditions that end any phase. */
static enum phase_result check(struct rollout *r)
{
	struct failure failure = FAILURE_INIT;
	enum phase_result result;

	if (r->phase == PHASE_LEASE || r->phase >= PHASE_RELEASE)
		return PHASE_WAIT;
	/* Only the lock and the lease are left to release, and both are lost already. */
	if (r->phase >= PHASE_CLOSE &&
	    (r->lease.state == HELD_LOST || r->now_usec >= r->lease.deadline_usec))
		return PHASE_LOST;
	if (r->lease.state == HELD_LOST)
		return rollout_lose(r, &r->lease.failure);
	/* A process that was stopped for long continues here: its deadline may have passed before
	 * its timer reported that. */
	if (r->now_usec >= r->lease.deadline_usec) {
		failure_set(&failure, FAILURE_LEASE_LOST,
			    "`ployzctl lease show` shows who has held it since; deploy again",
			    "cannot continue deploy %s: the lease of namespace %s was not renewed "
			    "within its term",
			    r->request->deploy, r->ns);
		result = rollout_lose(r, &failure);
		failure_clear(&failure);
		return result;
	}
	/* An opening entry that is on its way is waited for, so that it can be closed. */
	if (r->cancelled && r->phase < PHASE_COMMIT && !failure_is_set(&r->failure) &&
	    !(r->phase == PHASE_OPEN && r->write.state != WRITE_IDLE))
		return rollout_failf(r, FAILURE_FAILED, NULL, "deploy %s was cancelled by %s",
				     r->request->deploy, r->cancelled);
	return r->renewed ? participants_renew(r) : PHASE_WAIT;
}

bool rollout_is_stopped(struct rollout *r, const char *point)
{
	bool stopped = r->ops->stopped && r->ops->stopped(r, point);

	if (stopped && !r->stopped)
		rollout_note(r, "failpoint: waiting before phase %s", point);
	r->stopped = stopped;
	return stopped;
}

static enum phase_result run(struct rollout *r)
{
	const struct phase_row *row = &r->table[r->phase];
	enum phase_result result = check(r);

	if (result != PHASE_WAIT)
		return result;
	if (r->entered)
		return row->poll(r);
	if (r->phase != PHASE_END && rollout_is_stopped(r, row->name))
		return PHASE_WAIT;
	r->phase_usec = r->now_usec;
	r->entered = true;
	return row->start(r);
}

void rollout_poll(struct rollout *r, uint64_t now_usec)
{
	/* An answer that arrives while a phase runs is polled when that phase returns. */
	if (r->polling || r->ended)
		return;
	r->polling = true;
	r->now_usec = now_usec;
	while (!r->ended) {
		enum phase_result result = run(r);

		if (result == PHASE_WAIT)
			break;
		switch (result) {
		case PHASE_WAIT:
			break;
		case PHASE_DONE:
			enter(r, r->table[r->phase].next);
			break;
		case PHASE_FAILED:
			enter(r, r->table[r->phase].on_failure);
			break;
		case PHASE_LOST:
			r->lost = true;
			enter(r, PHASE_END);
			break;
		}
	}
	r->polling = false;
}

int rollout_cancel(struct rollout *r, const char *operator_)
{
	if (r->phase >= PHASE_COMMIT || failure_is_set(&r->failure))
		return -EALREADY;
	free(r->cancelled);
	r->cancelled = xstrdup(operator_ ? operator_ : "an unnamed operator");
	r->ops->schedule(r);
	return 0;
}

void rollout_lease(struct rollout *r, enum held_state state, int64_t epoch, uint64_t deadline_usec,
		   const struct failure *failure)
{
	if (state == HELD_HELD && r->lease.state == HELD_HELD &&
	    deadline_usec > r->lease.deadline_usec)
		r->renewed = true;
	r->lease.state = state;
	r->lease.epoch = epoch;
	r->lease.deadline_usec = deadline_usec;
	failure_clear(&r->lease.failure);
	if (failure && failure_is_set(failure))
		failure_copy(&r->lease.failure, failure);
	r->ops->schedule(r);
}

/* Intermediate states decide nothing, and a request delays an engine that starts containers: only
 * readiness and ends cause a request. */
static bool is_in_progress(const char *state)
{
	static const enum instance_state states[] = { INSTANCE_PULLING, INSTANCE_CREATED,
						      INSTANCE_STARTING };

	for (size_t i = 0; i < ARRAY_SIZE(states); i++)
		if (streq(state, instance_state_names[states[i]]))
			return true;
	return false;
}

void rollout_on_progress(struct rollout *r, const struct progress *p)
{
	bool slot = p->kind == PROGRESS_SLOT && p->instance && !is_in_progress(p->state);
	bool pull = p->kind == PROGRESS_PULL && p->state && !streq(p->state, "pulling");
	bool run = p->kind == PROGRESS_LINE && p->state;

	for (size_t i = 0; i < r->n_candidates; i++) {
		struct candidate *c = r->candidates[i];

		if ((pull && streq(p->machine, c->slot->machine)) ||
		    (slot && (streq(p->instance, c->instance) || streq(p->instance, c->slot->old))))
			c->again = true;
	}
	for (size_t i = 0; run && i < r->n_runs; i++)
		r->runs[i]->again = true;
	if (slot && r->removal)
		removal_on_progress(r->removal, p->instance);
	if (slot || pull || run)
		r->ops->schedule(r);
}
