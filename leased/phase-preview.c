/* Phase preview: requests a preliminary plan. A deploy that changes nothing and has nothing to
 * clean ends here, without an append. */
#include "leased/rollout.h"

static void read_previous(struct rollout *r)
{
	_cleanup_free_ char *subject = NULL;

	if (!r->base || !r->base->deploy)
		return;
	subject = subject_make(SUBJECT_DEPLOY_STATUS, r->ns, r->base->deploy);
	r->read.state = RPC_WAITING;
	r->ops->read_last(&r->read, STREAM_STATUS, subject);
}

/* Requests without an epoch fence nothing. */
static enum phase_result ask_lists(struct rollout *r)
{
	_cleanup_(strv_freep) char **machines = NULL;
	struct failure failure = FAILURE_INIT;
	const struct agent_list list = { .command = { .ns = (char *)r->ns } };

	if (r->ops->checking(r))
		return PHASE_WAIT;
	if (!r->ops->members(r, &machines) || !machines) {
		failure_set(&failure, FAILURE_NO_QUORUM,
			    "`ployzctl status` shows whether the store answers; then deploy again",
			    "cannot list the instances of namespace %s: the machine view is not "
			    "loaded",
			    r->ns);
		if (rollout_may_retry(r, &failure)) {
			failure_clear(&failure);
			return PHASE_WAIT;
		}
		rollout_fail(r, &failure);
		failure_clear(&failure);
		return PHASE_FAILED;
	}
	for (char **machine = machines; *machine; machine++) {
		rollout_add_participant(r, *machine);
		rpc_ask(r, &rollout_participant(r, *machine)->list, SUBJECT_AGENT_LIST, *machine,
			&list, AGENT_USEC);
	}
	return PHASE_DONE;
}

enum phase_result phase_preview_start(struct rollout *r)
{
	if (r->manifest)
		planning_ask(r, true);
	read_previous(r);
	return ask_lists(r) == PHASE_FAILED ? PHASE_FAILED : PHASE_WAIT;
}

static void take_previous(struct rollout *r)
{
	void *record = NULL;

	if (r->read.n_entries &&
	    codec_parse(&deploy_schema, r->read.entries[0].text, r->read.entries[0].size,
			CODEC_LENIENT, &record, NULL) == 0 &&
	    record_is_pending(record))
		r->previous = record;
	else
		deploy_free(record);
	read_clear(&r->read);
}

/* An instance of the namespace exists that its head does not name. */
static bool has_strays(const struct rollout *r)
{
	for (size_t i = 0; i < r->n_participants; i++) {
		const struct agent_listed *listed = r->participants[i]->list.answer;

		for (size_t j = 0; listed && j < listed->n_instances; j++)
			if (listed->instances[j].state != INSTANCE_GONE &&
			    !(r->base && head_instance(r->base, listed->instances[j].id, NULL)))
				return true;
	}
	return false;
}

static bool is_clean(const struct rollout *r)
{
	return !r->previous && !(r->head && r->head->open) && !has_strays(r);
}

static enum phase_result check_plan(struct rollout *r)
{
	struct progress progress = { .kind = PROGRESS_PLAN, .slot = -1, .plan = r->plan };
	bool clean = is_clean(r);

	/* Instances that a dead deploy left may make the plan fail: then the sweep comes first. */
	if (r->plan->n_refusals && clean)
		return planning_check(r);
	if (r->plan->changes || r->plan->n_refusals || !clean)
		return PHASE_DONE;
	r->nothing = true;
	r->outcome = xstrdup("nothing to change");
	r->ops->progress(r, &progress);
	return PHASE_DONE;
}

enum phase_result phase_preview_poll(struct rollout *r)
{
	enum phase_result result;

	if (!r->n_participants) {
		result = ask_lists(r);
		if (result != PHASE_DONE)
			return result;
	}
	if (r->read.state == RPC_WAITING)
		return PHASE_WAIT;
	if (r->read.state == RPC_FAILED && !rollout_may_retry(r, &r->read.failure))
		return rollout_fail(r, &r->read.failure);
	if (r->read.state == RPC_FAILED) {
		read_clear(&r->read);
		read_previous(r);
		return PHASE_WAIT;
	}
	if (r->read.state == RPC_ANSWERED)
		take_previous(r);
	for (size_t i = 0; i < r->n_participants; i++)
		if (r->participants[i]->list.state == RPC_WAITING)
			return PHASE_WAIT;
	if (!r->manifest) {
		r->nothing = is_clean(r);
		r->outcome = xstrdup(r->nothing ? "nothing to clean" : "cleaned");
		return PHASE_DONE;
	}
	if (!r->plan) {
		result = planning_poll(r);
		if (result != PHASE_DONE)
			return result;
	}
	return check_plan(r);
}
