/* Participants' locks: taken in machine order, renewed with the lease. */
#include "leased/rollout.h"

static void reserve_ports(const struct rollout *r, const struct service *service,
			  struct reservation *reserve)
{
	for (size_t i = 0; i < service->n_publish; i++) {
		const struct port *port = service_port(service, service->publish[i].port);
		struct host_port *taken = array_add(reserve->host_ports, reserve->n_host_ports);

		taken->port = service->publish[i].host_port;
		taken->protocol = port ? port->protocol : PROTOCOL_TCP;
		taken->owner = xasprintf("%s/%s", r->ns, service->name);
	}
}

static void reserve_volumes(const struct rollout *r, const struct service *service,
			    struct reservation *reserve)
{
	for (size_t i = 0; i < service->n_mounts; i++) {
		_cleanup_free_ char *volume = NULL;

		if (!service->mounts[i].volume)
			continue;
		volume = xasprintf("%s/%s", r->ns, service->mounts[i].volume);
		if (!strv_contains(reserve->volumes, volume))
			strv_push(&reserve->volumes, steal(volume));
	}
}

struct reservation *participants_reserve(const struct rollout *r, const char *machine)
{
	struct reservation *reserve = codec_new(&reservation_schema);

	reserve->ns = xstrdup(r->ns);
	reserve->deploy = xstrdup(r->request->deploy);
	reserve->epoch = r->lease.epoch;
	for (size_t i = 0; i < r->n_candidates; i++) {
		const struct candidate *c = r->candidates[i];

		if (!c->service || c->action == SLOT_KEEP || !streq(c->slot->machine, machine))
			continue;
		reserve->memory += c->service->resources.memory;
		reserve->cpus += c->service->resources.cpus;
		reserve_ports(r, c->service, reserve);
		reserve_volumes(r, c->service, reserve);
	}
	return reserve;
}

void participants_ask(struct rollout *r, struct participant *p, struct rpc *rpc)
{
	_cleanup_(reservation_freep) struct reservation *reserve =
		participants_reserve(r, p->machine);
	struct agent_lock lock = { .holder = (char *)r->self, .reserve = *reserve };

	p->lock_sent = true;
	rollout_command(r, &lock.command);
	rpc_ask(r, rpc, SUBJECT_AGENT_LOCK, p->machine, &lock, AGENT_USEC);
}

/* Handles the answers to the last renewals. */
static enum phase_result take_renewal(struct rollout *r, struct participant *p)
{
	if (p->renewal.state == RPC_ANSWERED) {
		p->locked_usec = p->renewal.sent_usec;
		rpc_clear(&p->renewal);
	} else if (p->renewal.state == RPC_FAILED) {
		if (p->renewal.failure.code == FAILURE_FENCED)
			return rollout_lose(r, &p->renewal.failure);
		/* participants_are_locked() requires the answer before the commit. */
		rollout_note(r,
			     "cannot renew the lock on machine %s: %s; repeating with the next "
			     "renewal of the lease",
			     p->machine, p->renewal.failure.message);
		rpc_clear(&p->renewal);
	}
	return PHASE_WAIT;
}

enum phase_result participants_renew(struct rollout *r)
{
	r->renewed = false;
	/* A lock that is being released is not renewed. */
	if (r->phase >= PHASE_CLOSE)
		return PHASE_WAIT;
	for (size_t i = 0; i < r->n_participants; i++) {
		struct participant *p = r->participants[i];
		enum phase_result result = take_renewal(r, p);

		if (result != PHASE_WAIT)
			return result;
		if (p->locked && p->renewal.state == RPC_IDLE)
			participants_ask(r, p, &p->renewal);
	}
	return PHASE_WAIT;
}

bool participants_are_locked(const struct rollout *r, const char **ret_machine)
{
	for (size_t i = 0; i < r->n_participants; i++) {
		const struct participant *p = r->participants[i];
		uint64_t locked = MAX2(p->locked_usec,
				       p->renewal.state == RPC_ANSWERED ? p->renewal.sent_usec : 0);

		if (!p->needed || (p->locked && r->now_usec - locked < NO_ANSWER_USEC))
			continue;
		*ret_machine = p->machine;
		return false;
	}
	return true;
}
