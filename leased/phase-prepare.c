/* Phase prepare: fetches the images on every machine that needs them. */
#include "leased/rollout.h"

/* Judged by the plan: a slot that this phase turns into a kept one still represents its image. */
static bool needs_image(const struct candidate *c)
{
	return c->service && c->slot->action != SLOT_KEEP;
}

static bool same_image(const struct candidate *a, const struct candidate *b)
{
	return needs_image(b) && streq(a->service->image, b->service->image) &&
	       a->service->pull == b->service->pull && streq(a->slot->machine, b->slot->machine) &&
	       streq(a->slot->digest, b->slot->digest);
}

/* The first candidate of each image and machine, which represents the others. */
static bool is_first_of_image(const struct rollout *r, size_t i)
{
	if (!needs_image(r->candidates[i]))
		return false;
	for (size_t j = 0; j < i; j++)
		if (same_image(r->candidates[i], r->candidates[j]))
			return false;
	return true;
}

static void ask(struct rollout *r, struct candidate *c)
{
	const char *pinned = pairs_get(&r->pinned, c->service->name);
	/* A rollback runs the image that the revision ran. A machine that has the image is asked
	 * for its id, any other for its name; take() then compares the id. */
	bool by_id = pinned && c->slot->digest;
	struct agent_prepare prepare = {
		.image = by_id ? (char *)pinned : c->service->image,
		.pull = by_id ? PULL_NEVER : c->service->pull,
	};

	rollout_command(r, &prepare.command);
	c->again = false;
	rpc_ask(r, &c->rpc, SUBJECT_AGENT_PREPARE, c->slot->machine, &prepare, AGENT_USEC);
}

/* A slot is kept if the resolved digest is the image that runs; one whose instance has ended is
 * replaced. */
static void settle(struct rollout *r, struct candidate *c, const char *digest)
{
	const struct slot *old =
		r->base && c->slot->old ? head_instance(r->base, c->slot->old, NULL) : NULL;

	c->prepared = true;
	free(c->digest);
	c->digest = xstrdup(digest);
	free(c->hash);
	c->hash = service_hash(c->service, digest);
	if (c->action != SLOT_REPLACE || c->slot->digest || !old || !c->old_runs ||
	    !streq(old->hash, c->hash) || !streq(old->machine, c->slot->machine))
		return;
	c->action = SLOT_KEEP;
	c->state = CANDIDATE_READY;
	free(c->instance);
	c->instance = xstrdup(c->slot->old);
	rollout_slot(r, c, "ready", "the image has not changed: kept");
}

static enum phase_result take(struct rollout *r, struct candidate *c)
{
	const struct agent_prepared *prepared = c->rpc.answer;
	const char *pinned = pairs_get(&r->pinned, c->service->name);

	if (streq(prepared->state, "failed"))
		return rollout_failf(r, FAILURE_FAILED,
				     "check the image's name, and that its registry is reachable "
				     "from that machine",
				     "cannot fetch image %s of service %s on machine %s: %s",
				     c->service->image, c->service->name, c->slot->machine,
				     prepared->reason ? prepared->reason : "no reason given");
	if (!streq(prepared->state, "ready"))
		return PHASE_WAIT;
	if (pinned && !streq(prepared->digest, pinned))
		return rollout_failf(
			r, FAILURE_FAILED,
			"name the image by its digest in the manifest, or deploy a "
			"manifest instead of rolling back",
			"cannot roll back service %s on machine %s: image %s is %s now, "
			"that revision ran %s",
			c->service->name, c->slot->machine, c->service->image,
			prepared->digest ? prepared->digest : "(unknown)", pinned);
	for (size_t i = 0; i < r->n_candidates; i++)
		if (same_image(c, r->candidates[i]))
			settle(r, r->candidates[i], prepared->digest);
	return PHASE_DONE;
}

static enum phase_result poll_one(struct rollout *r, struct candidate *c)
{
	enum phase_result result;

	switch (rpc_verdict(&c->rpc, r->now_usec, NO_ANSWER_USEC)) {
	case VERDICT_ERROR:
		return rollout_rpc_error(r, &c->rpc);
	case VERDICT_ANSWER:
		result = take(r, c);
		if (result != PHASE_WAIT)
			return result;
		break;
	case VERDICT_PENDING:
		break;
	}
	if (rpc_is_due(&c->rpc, r->now_usec, c->again))
		ask(r, c);
	return PHASE_WAIT;
}

enum phase_result phase_prepare_start(struct rollout *r)
{
	if (r->nothing || !r->manifest || !r->plan->changes)
		return PHASE_DONE;
	rollout_phase(r, DEPLOY_STARTING, NULL);
	return phase_prepare_poll(r);
}

enum phase_result phase_prepare_poll(struct rollout *r)
{
	bool all = true;

	for (size_t i = 0; i < r->n_candidates; i++) {
		enum phase_result result;

		if (r->candidates[i]->prepared || !is_first_of_image(r, i))
			continue;
		result = poll_one(r, r->candidates[i]);
		if (result == PHASE_FAILED || result == PHASE_LOST)
			return result;
		all &= result == PHASE_DONE;
	}
	return all ? PHASE_DONE : PHASE_WAIT;
}
