/* Participants' locks: in machine order, all or none; renewed with the lease. */
#include "leased/leased.h"

struct reservation *participants_reserve(const struct walk *walk, const char *machine)
{
	struct reservation *reserve = codec_new(&reservation_schema);
	const char *ns = walk->request->manifest->ns;

	reserve->ns = xstrdup(ns);
	reserve->deploy = xstrdup(walk->request->deploy);
	reserve->epoch = walk->holding ? holding_lease(walk->holding)->epoch : 0;
	for (size_t i = 0; i < walk->n_candidates; i++) {
		const struct candidate *c = walk->candidates[i];

		if (!c->service || c->action == SLOT_KEEP || !streq(c->slot->machine, machine))
			continue;
		reserve->memory += c->service->resources.memory;
		reserve->cpus += c->service->resources.cpus;
		for (size_t j = 0; j < c->service->n_publish; j++) {
			const struct port *port =
				service_port(c->service, c->service->publish[j].port);
			struct host_port *taken =
				array_add(reserve->host_ports, reserve->n_host_ports);

			taken->port = c->service->publish[j].host_port;
			taken->protocol = port ? port->protocol : PROTOCOL_TCP;
			taken->owner = xasprintf("%s/%s", ns, c->service->name);
		}
		for (size_t j = 0; j < c->service->n_mounts; j++) {
			_cleanup_free_ char *volume = NULL;

			if (!c->service->mounts[j].volume)
				continue;
			volume = xasprintf("%s/%s", ns, c->service->mounts[j].volume);
			if (!strv_contains(reserve->volumes, volume))
				strv_push(&reserve->volumes, steal(volume));
		}
	}
	/* Routes belong to the whole namespace: every participant guards them against another's
	 * deploy. */
	for (size_t i = 0; i < walk->request->manifest->n_services; i++) {
		_cleanup_(strv_freep) char **keys =
			route_keys(&walk->request->manifest->services[i]);

		for (char **key = keys; key && *key; key++)
			strv_push(&reserve->routes, xstrdup(*key));
	}
	return reserve;
}

static void ask_lock(struct walk *walk, const char *machine, errand_fn fn, char *what)
{
	_cleanup_(reservation_freep) struct reservation *reserve =
		participants_reserve(walk, machine);
	const struct agent_lock lock = {
		.ns = walk->request->manifest->ns,
		.epoch = holding_lease(walk->holding)->epoch,
		.deploy = walk->request->deploy,
		.holder = walk->leased->daemon->config->machine,
		.reserve = *reserve,
	};

	errand(walk, SUBJECT_AGENT_LOCK, machine, &lock, AGENT_USEC, fn, what);
}

static void on_locked(struct walk *walk, const struct failure *failure, _unused_ void *answer,
		      _unused_ void *what)
{
	if (failure) {
		if (!walk_patient(walk, failure))
			walk_fail(walk, failure);
		return;
	}
	walk->n_locked++;
	step_lock(walk);
}

void step_lock(struct walk *walk)
{
	if (walk->n_locked == strv_count(walk->machines)) {
		walk_next(walk);
		return;
	}
	ask_lock(walk, walk->machines[walk->n_locked], on_locked, NULL);
}

void participants_tick(struct walk *walk)
{
	if (walk->again && !walk->errands)
		step_lock(walk);
}

static void on_renewed(struct walk *walk, const struct failure *failure, _unused_ void *answer,
		       void *what)
{
	struct failure lost = FAILURE_INIT;

	if (!failure)
		return;
	/* A machine that does not answer has its own deadline where its answer is needed. */
	if (failure->code != FAILURE_FENCED) {
		log_warning("machine %s: lock of namespace %s not renewed: %s", (char *)what,
			    walk->request->manifest->ns, failure->message);
		return;
	}
	failure_copy(&lost, failure);
	walk_lost(walk, &lost);
	failure_clear(&lost);
}

void participants_renew(struct walk *walk)
{
	/* What is being given back is not taken again. */
	if (walk->step >= STEP_UNLOCK)
		return;
	for (size_t i = 0; i < walk->n_locked; i++)
		ask_lock(walk, walk->machines[i], on_renewed, walk->machines[i]);
}

static void on_unlocked(struct walk *walk, const struct failure *failure, _unused_ void *answer,
			void *what)
{
	if (failure)
		log_info(
			"machine %s: lock of namespace %s not given back (%s): it lapses by itself",
			(char *)what, walk->request->manifest->ns, failure->message);
	if (--walk->pending == 0)
		walk_next(walk);
}

void step_unlock(struct walk *walk)
{
	const struct agent_unlock unlock = {
		.ns = walk->request->manifest->ns,
		.epoch = holding_lease(walk->holding)->epoch,
		.deploy = walk->request->deploy,
	};

	walk->pending = walk->n_locked;
	if (!walk->pending) {
		walk_next(walk);
		return;
	}
	for (size_t i = 0; i < walk->n_locked; i++)
		errand(walk, SUBJECT_AGENT_UNLOCK, walk->machines[i], &unlock, AGENT_USEC,
		       on_unlocked, walk->machines[i]);
}
