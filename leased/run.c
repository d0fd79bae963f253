/* Run: runs a service's pre_deploy command once in the new image, after the services that it
 * depends on are ready and before its candidates start. */
#include "leased/rollout.h"

void run_free(struct run *run)
{
	rpc_clear(&run->rpc);
	free(run);
}

struct run *run_of(const struct rollout *r, const char *service)
{
	for (size_t i = 0; i < r->n_runs; i++)
		if (streq(r->runs[i]->where->service->name, service))
			return r->runs[i];
	return NULL;
}

struct volume *volumes_of(const struct rollout *r, const struct service *service,
			  const char *machine, size_t *ret_count, char ***ret_new)
{
	struct volume *volumes = NULL;
	size_t count = 0;

	*ret_new = NULL;
	for (size_t i = 0; i < service->n_mounts; i++) {
		const char *name = service->mounts[i].volume;
		const struct volume *volume = name ? manifest_volume(r->manifest, name) : NULL;

		if (volume)
			*array_add(volumes, count) = *volume;
		for (size_t j = 0; volume && j < r->plan->n_volumes; j++) {
			const struct plan_volume *planned = &r->plan->volumes[j];

			if (planned->new_ && streq(planned->name, name) &&
			    streq(planned->machine, machine))
				strv_push(ret_new, xstrdup(name));
		}
	}
	*ret_count = count;
	return volumes;
}

static void ask(struct rollout *r, struct run *run)
{
	const struct candidate *c = run->where;
	_cleanup_(strv_freep) char **new_volumes = NULL;
	size_t n_volumes;
	_cleanup_free_ struct volume *volumes =
		volumes_of(r, c->service, c->slot->machine, &n_volumes, &new_volumes);
	struct agent_run request = {
		.service = (struct service *)c->service,
		.volumes = volumes,
		.n_volumes = n_volumes,
		.new_volumes = new_volumes,
		.digest = c->digest,
	};

	rollout_command(r, &request.command);
	run->again = false;
	rpc_ask(r, &run->rpc, SUBJECT_AGENT_RUN, c->slot->machine, &request, AGENT_USEC);
}

static bool is_needed(const struct rollout *r, const struct service *service)
{
	for (size_t i = 0; i < r->n_candidates; i++)
		if (r->candidates[i]->service == service && r->candidates[i]->action != SLOT_KEEP)
			return true;
	return false;
}

static enum phase_result take(struct rollout *r, struct run *run)
{
	const struct agent_ran *ran = run->rpc.answer;
	const char *service = run->where->service->name;

	if (streq(ran->state, "failed"))
		return rollout_failf(r, FAILURE_FAILED,
				     "its output is above; correct the command or the image, then "
				     "deploy again",
				     "cannot deploy service %s: its pre_deploy command failed: %s",
				     service, ran->reason ? ran->reason : "no reason given");
	if (!streq(ran->state, "done"))
		return PHASE_WAIT;
	rollout_note(r, "pre_deploy of service %s has succeeded", service);
	run->state = RUN_DONE;
	return PHASE_DONE;
}

enum phase_result run_poll(struct rollout *r, struct run *run)
{
	const struct candidate *c = run->where;
	enum phase_result result;

	if (run->state == RUN_DONE)
		return PHASE_DONE;
	/* Every slot already runs this image. */
	if (!is_needed(r, c->service)) {
		run->state = RUN_DONE;
		return PHASE_DONE;
	}
	if (run->state == RUN_WAITING) {
		if (!candidate_may_start(r, c) || rollout_is_stopped(r, "run"))
			return PHASE_WAIT;
		rollout_note(r, "running pre_deploy of service %s on machine %s", c->service->name,
			     c->slot->machine);
		run->state = RUN_RUNNING;
		ask(r, run);
		return PHASE_WAIT;
	}
	switch (rpc_verdict(&run->rpc, r->now_usec, NO_ANSWER_USEC)) {
	case VERDICT_ERROR:
		return rollout_rpc_error(r, &run->rpc);
	case VERDICT_ANSWER:
		result = take(r, run);
		if (result != PHASE_WAIT)
			return result;
		break;
	case VERDICT_PENDING:
		break;
	}
	if (rpc_is_due(&run->rpc, r->now_usec, run->again))
		ask(r, run);
	return PHASE_WAIT;
}
