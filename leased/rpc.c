/* Rpc: the requests of a rollout to other daemons, as the model keeps them. A reply only changes
 * the model and schedules the dispatcher. */
#include "leased/rollout.h"

bool failure_is_no_answer(const struct failure *failure)
{
	return failure->code == FAILURE_UNREACHABLE || failure->code == FAILURE_TIMEOUT;
}

bool failure_is_undecided(const struct failure *failure)
{
	return failure_is_no_answer(failure) || failure->code == FAILURE_NO_QUORUM;
}

static void forget(struct rpc *rpc)
{
	if (rpc->state == RPC_WAITING)
		rpc->rollout->ops->cancel_rpc(rpc);
	failure_clear(&rpc->failure);
	if (rpc->answer)
		codec_destroy(subjects[rpc->subject].reply, steal(rpc->answer));
	rpc->state = RPC_IDLE;
}

void rpc_clear(struct rpc *rpc)
{
	if (rpc->rollout)
		forget(rpc);
	free(steal(rpc->machine));
	rpc->sent_usec = rpc->answered_usec = 0;
}

void rpc_ask(struct rollout *rollout, struct rpc *rpc, enum subject_id subject, const char *machine,
	     const void *request, uint64_t timeout_usec)
{
	rpc->rollout = rollout;
	forget(rpc);
	/* The time without an answer counts from the first request with this subject to this
	 * machine. */
	if (rpc->subject != subject || !streq(rpc->machine, machine) || !rpc->answered_usec)
		rpc->answered_usec = rollout->now_usec;
	rpc->subject = subject;
	if (!streq(rpc->machine, machine)) {
		free(rpc->machine);
		rpc->machine = xstrdup(machine);
	}
	rpc->sent_usec = rollout->now_usec;
	rpc->state = RPC_WAITING;
	rollout->ops->ask(rpc, request, timeout_usec);
}

void rpc_answer(struct rpc *rpc, const struct failure *failure, void *answer)
{
	struct rollout *rollout = rpc->rollout;

	rpc->answer = answer;
	rpc->state = failure ? RPC_FAILED : RPC_ANSWERED;
	if (failure)
		failure_copy(&rpc->failure, failure);
	if (!failure || !failure_is_undecided(failure))
		rpc->answered_usec = MAX2(rpc->sent_usec, rollout->now_usec);
	rollout->ops->schedule(rollout);
}

bool rpc_is_due(const struct rpc *rpc, uint64_t now_usec, bool again)
{
	if (rpc->state == RPC_WAITING)
		return false;
	return rpc->state == RPC_IDLE || again || now_usec - rpc->sent_usec >= REPEAT_USEC;
}

enum rpc_verdict rpc_verdict(const struct rpc *rpc, uint64_t now_usec, uint64_t limit_usec)
{
	if (rpc->state == RPC_ANSWERED)
		return VERDICT_ANSWER;
	if (rpc->state != RPC_FAILED)
		return VERDICT_PENDING;
	if (failure_is_undecided(&rpc->failure) && now_usec - rpc->answered_usec < limit_usec)
		return VERDICT_PENDING;
	return VERDICT_ERROR;
}
