/* Confirmation: every gateway and resolver that may send traffic has applied the store up to a
 * watermark. A daemon that is down may have a proxy that still sends traffic to an instance that
 * would be removed, so nothing is removed until every daemon has answered. */
#include "leased/rollout.h"

struct confirming {
	enum subject_id subject;
	char *machine;
	struct rpc rpc;
	bool done;
	struct failure last; /* why the last answer does not confirm */
};
struct confirmation {
	struct rollout *rollout;
	struct watermark wanted;
	uint64_t until_usec;
	struct confirming *items;
	size_t n_items;
};

static const enum subject_id confirm_subjects[] = { SUBJECT_ROUTED_APPLIED, SUBJECT_DNSD_APPLIED };

struct confirmation *confirmation_new(struct rollout *r, const struct watermark *wanted)
{
	_cleanup_(strv_freep) char **machines = NULL;
	struct confirmation *confirmation;
	size_t n = 0;

	if (!r->ops->members(r, &machines) || !machines)
		return NULL;
	confirmation = xcalloc(1, sizeof(*confirmation));
	confirmation->rollout = r;
	confirmation->wanted = *wanted;
	confirmation->until_usec = r->now_usec + CONFIRM_USEC;
	confirmation->n_items = strv_count(machines) * ARRAY_SIZE(confirm_subjects);
	confirmation->items = xcalloc(confirmation->n_items, sizeof(*confirmation->items));
	for (char **machine = machines; *machine; machine++)
		for (size_t i = 0; i < ARRAY_SIZE(confirm_subjects); i++) {
			confirmation->items[n].subject = confirm_subjects[i];
			confirmation->items[n++].machine = xstrdup(*machine);
		}
	return confirmation;
}

void confirmation_free(struct confirmation *confirmation)
{
	if (!confirmation)
		return;
	for (size_t i = 0; i < confirmation->n_items; i++) {
		rpc_clear(&confirmation->items[i].rpc);
		free(confirmation->items[i].machine);
		failure_clear(&confirmation->items[i].last);
	}
	free(confirmation->items);
	free(confirmation);
}

static void ask(struct confirmation *confirmation, struct confirming *item)
{
	struct rollout *r = confirmation->rollout;
	const struct applied_request request = { .ns = (char *)r->ns,
						 .wanted = confirmation->wanted };

	rpc_ask(r, &item->rpc, item->subject, item->machine, &request, APPLIED_USEC);
}

static void take_unserved(struct rollout *r, const struct confirming *item,
			  const struct applied *applied)
{
	for (char **route = applied->unserved; route && *route; route++) {
		_cleanup_free_ char *text = xasprintf("%s (machine %s)", *route, item->machine);

		if (!strv_contains(r->unserved, text))
			strv_push(&r->unserved, steal(text));
	}
}

static void take(struct confirmation *confirmation, struct confirming *item)
{
	const struct applied *applied = item->rpc.answer;

	if (applied->held) {
		failure_set(&item->last, FAILURE_NOT_READY, NULL, "it holds back %s",
			    applied->held);
	} else if (!watermark_reached(&applied->applied, &confirmation->wanted)) {
		_cleanup_free_ char *text = watermark_text(&applied->applied);

		failure_set(&item->last, FAILURE_NOT_READY, NULL, "it has applied %s", text);
	} else {
		item->done = true;
		take_unserved(confirmation->rollout, item, applied);
	}
}

static enum phase_result expired(struct confirmation *confirmation, const struct confirming *item)
{
	_cleanup_free_ char *wanted = watermark_text(&confirmation->wanted);

	return rollout_failf(
		confirmation->rollout, FAILURE_CLEANUP_PENDING,
		"start it again (`ployzctl status` shows it); the next deploy or `ployzctl deploy "
		"sweep` of the namespace cleans up",
		"cannot remove what was replaced: %s of machine %s has not confirmed %s: %s",
		subjects[item->subject].owner, item->machine, wanted,
		item->last.message ? item->last.message : "it did not answer");
}

enum phase_result confirmation_poll(struct confirmation *confirmation)
{
	struct rollout *r = confirmation->rollout;
	const struct confirming *missing = NULL;

	for (size_t i = 0; i < confirmation->n_items; i++) {
		struct confirming *item = &confirmation->items[i];
		bool behind;

		if (item->done)
			continue;
		if (item->rpc.state == RPC_ANSWERED)
			take(confirmation, item);
		else if (item->rpc.state == RPC_FAILED)
			failure_copy(&item->last, &item->rpc.failure);
		if (item->done)
			continue;
		missing = item;
		/* A daemon that answers but is behind is asked again at once, one that does not
		 * answer with the next tick. */
		behind = item->rpc.state == RPC_FAILED && item->rpc.failure.code == FAILURE_TIMEOUT;
		if (rpc_is_due(&item->rpc, r->now_usec, behind))
			ask(confirmation, item);
	}
	if (!missing)
		return PHASE_DONE;
	return r->now_usec > confirmation->until_usec ? expired(confirmation, missing) : PHASE_WAIT;
}
