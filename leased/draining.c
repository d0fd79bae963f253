/* Draining: polls every gateway for connections to instances that are stopped or removed, until
 * there are none or the grace period is over. */
#include "leased/rollout.h"

/* One question: a gateway refuses to wait for hours, and one that is restarted forgets it. */
#define ASK_USEC (30 * 1000000ull)

struct drained_gateway {
	char *machine;
	struct rpc rpc;
	bool done;
};
struct draining {
	struct rollout *rollout;
	char **instances;
	struct watermark wanted; /* a gateway that has applied it sends them no new connections */
	uint64_t until_usec;
	struct drained_gateway *gateways;
	size_t n_gateways;
};

struct draining *draining_new(struct rollout *r, char *const *instances,
			      const struct watermark *wanted, uint64_t grace_usec)
{
	struct draining *draining = xcalloc(1, sizeof(*draining));
	_cleanup_(strv_freep) char **machines = NULL;

	draining->rollout = r;
	draining->instances = strv_copy(instances);
	draining->wanted = *wanted;
	draining->until_usec = r->now_usec + grace_usec;
	/* A view that is not live has the last known machines; the grace period limits the wait. */
	r->ops->members(r, &machines);
	draining->n_gateways = strv_count(machines);
	draining->gateways = xcalloc(draining->n_gateways + 1, sizeof(*draining->gateways));
	for (size_t i = 0; i < draining->n_gateways; i++)
		draining->gateways[i].machine = xstrdup(machines[i]);
	return draining;
}

void draining_free(struct draining *draining)
{
	if (!draining)
		return;
	for (size_t i = 0; i < draining->n_gateways; i++) {
		rpc_clear(&draining->gateways[i].rpc);
		free(draining->gateways[i].machine);
	}
	free(draining->gateways);
	strv_free(draining->instances);
	free(draining);
}

static void ask(struct draining *draining, struct drained_gateway *gateway)
{
	struct rollout *r = draining->rollout;
	uint64_t left = r->now_usec < draining->until_usec ? draining->until_usec - r->now_usec : 0;
	uint64_t wait = MIN2(left, ASK_USEC);
	const struct drained_request request = {
		.instances = draining->instances,
		.wanted = draining->wanted,
		.wait_ms = (int64_t)(wait / 1000),
	};

	rpc_ask(r, &gateway->rpc, SUBJECT_ROUTED_DRAINED, gateway->machine, &request,
		wait + AGENT_USEC);
}

static void take(struct draining *draining, struct drained_gateway *gateway)
{
	const struct drained *drained = gateway->rpc.answer;

	if (drained->connections > 0 && draining->rollout->now_usec < draining->until_usec)
		return;
	gateway->done = true;
	if (drained->connections > 0)
		rollout_note(draining->rollout,
			     "%lld connections did not end within the grace period on machine %s",
			     (long long)drained->connections, gateway->machine);
}

static bool poll_gateway(struct draining *draining, struct drained_gateway *gateway)
{
	struct rollout *r = draining->rollout;

	if (gateway->rpc.state == RPC_ANSWERED)
		take(draining, gateway);
	if (gateway->done)
		return true;
	if (r->now_usec >= draining->until_usec && gateway->rpc.state == RPC_FAILED) {
		rollout_note(r, "cannot count the connections of the gateway on machine %s: %s",
			     gateway->machine, gateway->rpc.failure.message);
		gateway->done = true;
		return true;
	}
	if (rpc_is_due(&gateway->rpc, r->now_usec, false))
		ask(draining, gateway);
	return false;
}

enum phase_result draining_poll(struct draining *draining)
{
	bool all = true;

	for (size_t i = 0; i < draining->n_gateways; i++)
		all &= poll_gateway(draining, &draining->gateways[i]);
	return all ? PHASE_DONE : PHASE_WAIT;
}
