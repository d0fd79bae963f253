/* Phase list: sends agentd.list with the namespace's epoch to every machine, which fences each one
 * that answers and returns its instances. */
#include "leased/rollout.h"

/* A machine that raises the epochs of everybody else by more than deploys do would soon leave no
 * higher epoch. */
#define EPOCH_LEAP_MAX (1ll << 32)

static void ask(struct rollout *r, struct participant *p)
{
	struct agent_list list = { .images = NULL };

	rollout_command(r, &list.command);
	rpc_ask(r, &p->list, SUBJECT_AGENT_LIST, p->machine, &list, AGENT_USEC);
}

/* Machines may have joined since the preview. */
static enum phase_result add_members(struct rollout *r)
{
	_cleanup_(strv_freep) char **machines = NULL;

	if (!r->ops->members(r, &machines) || !machines)
		return rollout_failf(r, FAILURE_NO_QUORUM,
				     "`ployzctl status` shows whether the store answers; then "
				     "deploy again",
				     "cannot fence the machines of namespace %s: the machine view "
				     "is not live",
				     r->ns);
	for (char **machine = machines; *machine; machine++)
		rollout_add_participant(r, *machine);
	return PHASE_DONE;
}

enum phase_result phase_list_start(struct rollout *r)
{
	if (r->nothing)
		return PHASE_DONE;
	if (add_members(r) == PHASE_FAILED)
		return PHASE_FAILED;
	for (size_t i = 0; i < r->n_participants; i++) {
		rpc_clear(&r->participants[i]->list);
		ask(r, r->participants[i]);
	}
	return PHASE_WAIT;
}

static bool is_named(const struct rollout *r, const char *machine)
{
	for (size_t i = 0; r->base && i < r->base->n_services; i++)
		for (size_t j = 0; j < r->base->services[i].n_slots; j++)
			if (streq(r->base->services[i].slots[j].machine, machine))
				return true;
	return false;
}

static enum phase_result poll_one(struct rollout *r, struct participant *p)
{
	/* A machine with committed instances may only be restarting its agentd, and without its
	 * answer they would be placed elsewhere: the request is repeated. Any other machine gets
	 * one request. */
	uint64_t limit_usec = is_named(r, p->machine) ? RETRY_LIMIT_USEC : 0;
	const struct agent_listed *listed;

	if (p->listed || p->unreachable)
		return PHASE_DONE;
	switch (rpc_verdict(&p->list, r->now_usec, limit_usec)) {
	case VERDICT_PENDING:
		if (rpc_is_due(&p->list, r->now_usec, false))
			ask(r, p);
		return PHASE_WAIT;
	case VERDICT_ERROR:
		if (p->list.failure.code == FAILURE_FENCED)
			return rollout_lose(r, &p->list.failure);
		rollout_note(r, "cannot fence machine %s: %s", p->machine, p->list.failure.message);
		p->unreachable = true;
		return PHASE_DONE;
	case VERDICT_ANSWER:
		break;
	}
	listed = p->list.answer;
	if (listed->epoch - r->lease.epoch > EPOCH_LEAP_MAX) {
		rollout_note(r,
			     "cannot fence machine %s: it reports epoch %lld, which no deploy can "
			     "have reached",
			     p->machine, (long long)listed->epoch);
		p->unreachable = true;
		return PHASE_DONE;
	}
	/* A restored store may have lower epochs than participants have stored. */
	if (listed->epoch > r->lease.epoch) {
		r->above = MAX2(r->above, listed->epoch);
		r->reopening = true;
		return PHASE_DONE;
	}
	/* It is fenced; an empty list does not mean that nothing is there. */
	if (!listed->engine && listed->engine_error) {
		rollout_note(r, "cannot list the instances on machine %s: %s", p->machine,
			     listed->engine_error);
		p->unreachable = true;
		return PHASE_DONE;
	}
	p->listed = true;
	return PHASE_DONE;
}

static enum phase_result reopen(struct rollout *r)
{
	enum phase_result result = opening_poll(r);

	if (result != PHASE_DONE)
		return result;
	r->reopening = false;
	for (size_t i = 0; i < r->n_participants; i++) {
		r->participants[i]->listed = false;
		if (!r->participants[i]->unreachable)
			ask(r, r->participants[i]);
	}
	return PHASE_WAIT;
}

enum phase_result phase_list_poll(struct rollout *r)
{
	bool all = true;

	if (r->reopening)
		return reopen(r);
	for (size_t i = 0; i < r->n_participants; i++) {
		enum phase_result result = poll_one(r, r->participants[i]);

		if (result == PHASE_LOST)
			return result;
		all &= result == PHASE_DONE;
	}
	if (!all)
		return PHASE_WAIT;
	return r->reopening ? reopen(r) : PHASE_DONE;
}
