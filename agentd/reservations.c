/* Reservations (pure): whether a lock's reservation fits beside those of other namespaces and what
 * their instances use. */
#include "agentd/agentd.h"

static bool shares(char *const *a, char *const *b, const char **ret)
{
	for (; a && *a; a++)
		if (strv_contains(b, *a)) {
			*ret = *a;
			return true;
		}
	return false;
}

static const struct host_port *port_in(const struct reservation *reserve, int64_t number,
				       int protocol)
{
	for (size_t i = 0; i < reserve->n_host_ports; i++)
		if (reserve->host_ports[i].port == number &&
		    reserve->host_ports[i].protocol == protocol)
			return &reserve->host_ports[i];
	return NULL;
}

static int port_taken(int64_t port, const char *by, struct failure *failure)
{
	return failure_set(failure, FAILURE_REFUSED,
			   "choose another host_port, or wait until it is free",
			   "cannot reserve host port %lld: %s uses it", (long long)port, by);
}

/* Against one other namespace's reservation. */
static int conflict(const struct reservation *want, const struct lock *other,
		    struct failure *failure)
{
	_cleanup_free_ char *by = xasprintf("a deploy of namespace %s", other->ns);
	const char *what;

	for (size_t i = 0; i < want->n_host_ports; i++)
		if (port_in(&other->reserve, want->host_ports[i].port,
			    want->host_ports[i].protocol))
			return port_taken(want->host_ports[i].port, by, failure);
	if (shares(want->volumes, other->reserve.volumes, &what))
		return failure_set(failure, FAILURE_REFUSED, "deploy again when it has ended",
				   "cannot reserve volume %s: %s has reserved it", what, by);
	if (shares(want->routes, other->reserve.routes, &what))
		return failure_set(failure, FAILURE_REFUSED,
				   "choose another route, or deploy again when it has ended",
				   "cannot reserve route %s: %s has reserved it", what, by);
	return 0;
}

static int published(const struct reservation *want, const struct instance_use *use,
		     struct failure *failure)
{
	for (size_t i = 0; use->published && i < use->published->n_publish; i++) {
		const struct publish *publish = &use->published->publish[i];
		const struct port *port = service_port(use->published, publish->port);

		if (port_in(want, publish->host_port, port ? port->protocol : PROTOCOL_TCP)) {
			_cleanup_free_ char *by =
				xasprintf("service %s of namespace %s", use->service, use->ns);

			return port_taken(publish->host_port, by, failure);
		}
	}
	return 0;
}

/* A candidate of a deploy that holds a reservation is counted there. */
static bool is_reserved(const struct locks *locks, const struct instance_use *use)
{
	const struct lock *lock = map_get(&locks->map, use->ns);

	return lock && lock->held && streq(lock->deploy, use->deploy);
}

struct tally {
	uint64_t memory;
	double cpus;
	const char *biggest; /* namespace that uses most of the memory */
	uint64_t most;
};

static void count(struct tally *tally, const char *ns, uint64_t memory, double cpus)
{
	tally->memory += memory;
	tally->cpus += cpus;
	if (!tally->biggest || memory > tally->most) {
		tally->biggest = ns;
		tally->most = memory;
	}
}

static int within_capacity(const struct reservation *want, const struct capacity *capacity,
			   const struct tally *used, struct failure *failure)
{
	const char *other = used->biggest ? used->biggest : "no other namespace";

	if (capacity->memory && want->memory && used->memory + want->memory > capacity->memory) {
		_cleanup_free_ char *wanted = size_human(want->memory),
				    *all = size_human(capacity->memory),
				    *taken = size_human(used->memory);

		return failure_set(failure, FAILURE_REFUSED,
				   "request less memory, or add a machine",
				   "cannot reserve %s of memory: the machine has %s, %s of it are "
				   "used or reserved, most by namespace %s",
				   wanted, all, taken, other);
	}
	if (capacity->cpus > 0 && want->cpus > 0 && used->cpus + want->cpus > capacity->cpus + 1e-9)
		return failure_set(
			failure, FAILURE_REFUSED, "request fewer CPUs, or add a machine",
			"cannot reserve %g CPUs: the machine has %g, %g of them are used or "
			"reserved, most by namespace %s",
			want->cpus, capacity->cpus, used->cpus, other);
	return 0;
}

int reservations_fit(const struct locks *locks, const struct agent_lock *want,
		     const struct capacity *capacity, uint64_t now, struct failure *failure)
{
	struct tally used = { 0, 0, NULL, 0 };
	int r = 0;

	for (struct map_item *i = NULL; (i = map_next(&locks->map, i)) && r == 0;) {
		const struct lock *other = i->value;

		if (!other->held || other->until <= now || streq(other->ns, want->command.ns))
			continue;
		count(&used, other->ns, other->reserve.memory, other->reserve.cpus);
		r = conflict(&want->reserve, other, failure);
	}
	for (size_t i = 0; i < capacity->n_uses && r == 0; i++) {
		const struct instance_use *use = &capacity->uses[i];

		/* Instances of its own namespace do not count: the plan may replace them. */
		if (streq(use->ns, want->command.ns) || is_reserved(locks, use))
			continue;
		count(&used, use->ns, use->memory, use->cpus);
		r = published(&want->reserve, use, failure);
	}
	return r < 0 ? r : within_capacity(&want->reserve, capacity, &used, failure);
}
