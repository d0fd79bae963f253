/* Before anything starts: images on every machine that needs them, then pre_deploy commands. */
#include "leased/leased.h"

/* The service's volumes, as agentd wants them beside it: a shallow list, freed by the caller, items
 * borrowed. */
static struct volume *volumes_of(const struct walk *walk, const struct service *service,
				 size_t *ret_count)
{
	struct volume *volumes = NULL;
	size_t count = 0;

	for (size_t i = 0; i < service->n_mounts; i++) {
		const struct volume *volume = service->mounts[i].volume
						      ? manifest_volume(walk->request->manifest,
									service->mounts[i].volume)
						      : NULL;

		if (volume)
			*array_add(volumes, count) = *volume;
	}
	*ret_count = count;
	return volumes;
}

/* By the plan: a slot that settles as kept meanwhile still stands for its image. */
static bool needs_image(const struct candidate *c)
{
	return c->service && c->slot->action != SLOT_KEEP;
}

static bool same_image(const struct candidate *a, const struct candidate *b)
{
	return needs_image(b) && streq(a->service->image, b->service->image) &&
	       a->service->pull == b->service->pull && streq(a->slot->machine, b->slot->machine);
}

static void ask_prepare(struct walk *walk, struct candidate *c);

/* With its digest known, a slot whose image turned out to be the one that runs is kept after
 * all. */
static void settle(struct walk *walk, struct candidate *c, const char *digest)
{
	const struct slot *old =
		walk->base && c->slot->old ? head_instance(walk->base, c->slot->old, NULL) : NULL;

	c->prepared = true;
	free(c->digest);
	c->digest = xstrdup(digest);
	free(c->hash);
	c->hash = service_hash(c->service, digest);
	if (c->action != SLOT_REPLACE || c->slot->digest || !old || !streq(old->hash, c->hash) ||
	    !streq(old->machine, c->slot->machine))
		return;
	c->action = SLOT_KEEP;
	c->state = CANDIDATE_READY;
	free(c->instance);
	c->instance = xstrdup(c->slot->old);
	progress_slot(walk, c, "ready", "the image has not changed: kept");
}

static void on_prepared(struct walk *walk, const struct failure *failure, void *answer, void *what)
{
	const struct agent_prepared *prepared = answer;
	struct candidate *c = what;

	if (agent_is_silent(c, failure))
		return;
	if (streq(prepared->state, "failed")) {
		walk_failf(walk, FAILURE_FAILED,
			   "is the image's name right, and is its registry reachable from there?",
			   "image %s of service %s cannot be had on machine %s: %s",
			   c->service->image, c->service->name, c->slot->machine,
			   prepared->reason ? prepared->reason : "no reason given");
	} else if (streq(prepared->state, "ready")) {
		for (size_t i = 0; i < walk->n_candidates; i++)
			if (same_image(c, walk->candidates[i]))
				settle(walk, walk->candidates[i], prepared->digest);
		if (--walk->pending == 0)
			walk_next(walk);
	} else if (c->again) {
		ask_prepare(walk, c);
	}
}

static void ask_prepare(struct walk *walk, struct candidate *c)
{
	const struct agent_prepare prepare = {
		.ns = walk->request->manifest->ns,
		.epoch = holding_lease(walk->holding)->epoch,
		.deploy = walk->request->deploy,
		.image = c->service->image,
		.pull = c->service->pull,
	};

	c->asking = true;
	c->again = false;
	errand(walk, SUBJECT_AGENT_PREPARE, c->slot->machine, &prepare, AGENT_USEC, on_prepared, c);
}

/* The candidates that stand for their image and machine: the first of each. */
static bool is_first_of_image(const struct walk *walk, size_t i)
{
	if (!needs_image(walk->candidates[i]))
		return false;
	for (size_t j = 0; j < i; j++)
		if (same_image(walk->candidates[i], walk->candidates[j]))
			return false;
	return true;
}

void step_prepare(struct walk *walk)
{
	progress_phase(walk, DEPLOY_STARTING, NULL);
	for (size_t i = 0; i < walk->n_candidates; i++)
		if (is_first_of_image(walk, i))
			walk->pending++;
	if (!walk->pending) {
		walk_next(walk);
		return;
	}
	for (size_t i = 0; i < walk->n_candidates; i++)
		if (is_first_of_image(walk, i))
			ask_prepare(walk, walk->candidates[i]);
}

void preparing_again(struct walk *walk)
{
	for (size_t i = 0; i < walk->n_candidates; i++) {
		struct candidate *c = walk->candidates[i];

		if (c->prepared || !is_first_of_image(walk, i))
			continue;
		if (c->asking)
			c->again = true;
		else
			ask_prepare(walk, c);
	}
}

static void ask_run(struct walk *walk, struct candidate *c);

static void on_ran(struct walk *walk, const struct failure *failure, void *answer, void *what)
{
	const struct agent_ran *ran = answer;
	struct candidate *c = what;

	if (agent_is_silent(c, failure))
		return;
	if (streq(ran->state, "failed")) {
		walk_failf(walk, FAILURE_FAILED,
			   "its output is above; mend the command or the image and deploy again",
			   "pre_deploy of service %s failed: %s", c->service->name,
			   ran->reason ? ran->reason : "no reason given");
	} else if (streq(ran->state, "done")) {
		progress_note(walk, "pre_deploy of service %s is done", c->service->name);
		c->heard_usec = 0;
		step_run(walk);
	} else if (c->again) {
		ask_run(walk, c);
	}
}

static void ask_run(struct walk *walk, struct candidate *c)
{
	size_t n_volumes;
	_cleanup_free_ struct volume *volumes = volumes_of(walk, c->service, &n_volumes);
	const struct agent_run run = {
		.ns = walk->request->manifest->ns,
		.epoch = holding_lease(walk->holding)->epoch,
		.deploy = walk->request->deploy,
		.service = (struct service *)c->service,
		.volumes = volumes,
		.n_volumes = n_volumes,
		.digest = c->digest,
	};

	c->asking = true;
	c->again = false;
	errand(walk, SUBJECT_AGENT_RUN, c->slot->machine, &run, AGENT_USEC, on_ran, c);
}

/* The first candidate of each service that changes and has a pre_deploy; one after the other, in
 * the manifest's order. heard_usec 0 marks those that are done. */
static struct candidate *next_to_run(const struct walk *walk)
{
	const char *seen = NULL;

	for (size_t i = 0; i < walk->n_candidates; i++) {
		struct candidate *c = walk->candidates[i];

		if (!needs_image(c) || c->action == SLOT_KEEP || !c->service->pre_deploy ||
		    streq(seen, c->service->name))
			continue;
		if (c->heard_usec)
			return c;
		seen = c->service->name;
	}
	return NULL;
}

void step_run(struct walk *walk)
{
	struct candidate *c = next_to_run(walk);

	if (!c) {
		walk_next(walk);
		return;
	}
	if (!c->asking) {
		progress_note(walk, "running pre_deploy of service %s on machine %s",
			      c->service->name, c->slot->machine);
		c->heard_usec = boot_now_usec();
		ask_run(walk, c);
	}
}

void running_again(struct walk *walk)
{
	struct candidate *c = next_to_run(walk);

	if (c && c->asking)
		c->again = true;
	else if (c)
		ask_run(walk, c);
}

void start_request(const struct walk *walk, const struct candidate *c, struct agent_start *ret)
{
	*ret = (struct agent_start){
		.ns = walk->request->manifest->ns,
		.epoch = holding_lease(walk->holding)->epoch,
		.deploy = walk->request->deploy,
		.instance = c->instance,
		.slot = c->slot->slot,
		.service = (struct service *)c->service,
		.digest = c->digest,
	};
	ret->volumes = volumes_of(walk, c->service, &ret->n_volumes);
}
