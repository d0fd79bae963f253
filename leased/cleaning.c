/* After the commit, what it left behind goes; before it, what was started is taken back. */
#include "leased/leased.h"

void step_apply(struct walk *walk)
{
	progress_phase(walk, DEPLOY_CLEANING, NULL);
	applying_go(walk, walk_next);
}

uint64_t cleaning_grace(const struct walk *walk, const char *name)
{
	const struct service *old = NULL;

	if (walk->base && walk->base->manifest)
		old = manifest_service(walk->base->manifest, name);
	return old ? old->stop_grace : DEFAULT_GRACE_USEC;
}

void step_clean(struct walk *walk)
{
	for (size_t i = 0; i < walk->n_candidates; i++) {
		const struct candidate *c = walk->candidates[i];
		uint64_t grace = cleaning_grace(walk, c->slot->service);

		if (c->slot->old && (c->action == SLOT_REPLACE || c->action == SLOT_REMOVE))
			leaving_add(walk, c->slot->from ? c->slot->from : c->slot->machine,
				    c->slot->old, (int64_t)(grace / 1000),
				    c->old_stopped ? 0 : grace);
	}
	leaving_go(walk);
}

void step_abort(struct walk *walk)
{
	leaving_clear(walk);
	for (size_t i = 0; i < walk->n_candidates; i++) {
		const struct candidate *c = walk->candidates[i];

		if (c->service && c->action != SLOT_KEEP && c->state != CANDIDATE_WAITING)
			leaving_add(walk, c->slot->machine, c->instance, 0, 0);
	}
	leaving_go(walk);
}

static bool must_resume(const struct candidate *c)
{
	return c->old_stopped && !c->resumed;
}

static void on_resumed(struct walk *walk, const struct failure *failure, _unused_ void *answer,
		       void *what)
{
	struct candidate *c = what;
	bool silent = failure &&
		      (failure->code == FAILURE_UNREACHABLE || failure->code == FAILURE_TIMEOUT);

	c->asking = false;
	if (silent && boot_now_usec() - walk->step_usec < ABORT_USEC)
		return; /* the next tick asks again */
	if (failure)
		progress_note(walk,
			      "%s was stopped for this deploy and could not be started again: %s",
			      c->slot->old, failure->message);
	c->resumed = true;
	if (--walk->pending == 0)
		walk_next(walk);
}

void resume_tick(struct walk *walk)
{
	for (size_t i = 0; i < walk->n_candidates; i++) {
		struct candidate *c = walk->candidates[i];
		const struct agent_ref ref = {
			.ns = walk->request->manifest->ns,
			.epoch = holding_lease(walk->holding)->epoch,
			.deploy = walk->request->deploy,
			.instance = c->slot->old,
			.grace_ms = -1,
		};

		if (!must_resume(c) || c->asking)
			continue;
		c->asking = true;
		errand(walk, SUBJECT_AGENT_RESUME, c->slot->from ? c->slot->from : c->slot->machine,
		       &ref, AGENT_USEC, on_resumed, c);
	}
}

/* Only once the candidates are gone: they may hold the same host port or volume. */
void step_resume(struct walk *walk)
{
	for (size_t i = 0; i < walk->n_candidates; i++)
		walk->pending += must_resume(walk->candidates[i]);
	if (walk->pending)
		resume_tick(walk);
	else
		walk_next(walk);
}
