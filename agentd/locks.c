#include "agentd/agentd.h"

static void lock_free(void *p)
{
	struct lock *lock = p;

	free(lock->ns);
	free(lock->deploy);
	free(lock->holder);
	free(lock->last_deploy);
	codec_clear(&reservation_schema, &lock->reserve);
	free(lock);
}

void locks_clear(struct locks *locks)
{
	map_clear(&locks->map, lock_free);
}

int locks_admit(const struct locks *locks, const char *ns, int64_t epoch, struct failure *failure)
{
	const struct lock *lock = map_get(&locks->map, ns);

	if (!lock || epoch >= lock->epoch)
		return 0;
	return failure_set(
		failure, FAILURE_FENCED, "`ployzctl lease show` says who holds the namespace now",
		"namespace %s: a command of epoch %lld is refused, epoch %lld has been here", ns,
		(long long)epoch, (long long)lock->epoch);
}

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
			   "choose another host_port, or wait for its end",
			   "host port %lld is taken by %s", (long long)port, by);
}

/* Against one other namespace's reservation. */
static int conflict(const struct reservation *want, const struct lock *other,
		    struct failure *failure)
{
	const char *what;

	for (size_t i = 0; i < want->n_host_ports; i++)
		if (port_in(&other->reserve, want->host_ports[i].port,
			    want->host_ports[i].protocol)) {
			_cleanup_free_ char *by = xasprintf("a deploy of namespace %s", other->ns);

			return port_taken(want->host_ports[i].port, by, failure);
		}
	if (shares(want->volumes, other->reserve.volumes, &what))
		return failure_set(failure, FAILURE_REFUSED, "wait for its end",
				   "volume %s is reserved by a deploy of namespace %s", what,
				   other->ns);
	if (shares(want->routes, other->reserve.routes, &what))
		return failure_set(
			failure, FAILURE_REFUSED, "wait for its end, or choose another route",
			"route %s is reserved by a deploy of namespace %s", what, other->ns);
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

static int has_room(const struct reservation *want, const struct room *room,
		    const struct tally *used, struct failure *failure)
{
	const char *other = used->biggest ? used->biggest : "no other namespace";

	if (room->memory && want->memory && used->memory + want->memory > room->memory) {
		_cleanup_free_ char *wanted = size_human(want->memory),
				    *all = size_human(room->memory),
				    *taken = size_human(used->memory);

		return failure_set(failure, FAILURE_REFUSED,
				   "ask for less memory, or add a machine",
				   "%s of memory do not fit: the machine has %s, %s of it are "
				   "taken, most by namespace %s",
				   wanted, all, taken, other);
	}
	if (room->cpus > 0 && want->cpus > 0 && used->cpus + want->cpus > room->cpus + 1e-9)
		return failure_set(failure, FAILURE_REFUSED, "ask for fewer CPUs, or add a machine",
				   "%g CPUs do not fit: the machine has %g, %g of them are taken, "
				   "most by namespace %s",
				   want->cpus, room->cpus, used->cpus, other);
	return 0;
}

int locks_fits(const struct locks *locks, const struct agent_lock *want, const struct room *room,
	       uint64_t now, struct failure *failure)
{
	struct tally used = { 0, 0, NULL, 0 };
	int r = 0;

	for (struct map_item *i = NULL; (i = map_next(&locks->map, i)) && r == 0;) {
		const struct lock *other = i->value;

		if (!other->held || other->until <= now || streq(other->ns, want->ns))
			continue;
		count(&used, other->ns, other->reserve.memory, other->reserve.cpus);
		r = conflict(&want->reserve, other, failure);
	}
	for (size_t i = 0; i < room->n_uses && r == 0; i++) {
		const struct instance_use *use = &room->uses[i];

		/* Its own are the plan's business: they may be what it replaces. */
		if (streq(use->ns, want->ns) || is_reserved(locks, use))
			continue;
		count(&used, use->ns, use->memory, use->cpus);
		r = published(&want->reserve, use, failure);
	}
	return r < 0 ? r : has_room(&want->reserve, room, &used, failure);
}

static struct lock *lock_of(struct locks *locks, const char *ns)
{
	struct lock *lock = map_get(&locks->map, ns);

	if (lock)
		return lock;
	lock = xcalloc(1, sizeof(*lock));
	lock->ns = xstrdup(ns);
	codec_init(&reservation_schema, &lock->reserve);
	map_put(&locks->map, ns, lock);
	return lock;
}

static void release(struct lock *lock)
{
	lock->held = false;
	free(steal(lock->deploy));
	free(steal(lock->holder));
	codec_clear(&reservation_schema, &lock->reserve);
	codec_init(&reservation_schema, &lock->reserve);
}

void locks_take(struct locks *locks, const struct agent_lock *want, uint64_t now, bool *ret_new)
{
	struct lock *lock = lock_of(locks, want->ns);

	*ret_new = !streq(lock->last_deploy, want->deploy);
	release(lock);
	lock->epoch = want->epoch;
	lock->held = true;
	lock->deploy = xstrdup(want->deploy);
	lock->holder = xstrdup(want->holder);
	free(lock->last_deploy);
	lock->last_deploy = xstrdup(want->deploy);
	codec_clear(&reservation_schema, &lock->reserve);
	codec_copy_into(&reservation_schema, &lock->reserve, &want->reserve);
	lock->until = now + LOCK_TERM_USEC;
}

bool locks_heard(struct locks *locks, const char *ns, int64_t epoch, const char *deploy,
		 uint64_t now)
{
	struct lock *lock = lock_of(locks, ns);
	bool higher = epoch > lock->epoch;

	if (higher) {
		/* Another holder: what the earlier one reserved is void. */
		release(lock);
		lock->epoch = epoch;
	}
	if (lock->held && streq(lock->deploy, deploy))
		lock->until = now + LOCK_TERM_USEC;
	return higher;
}

bool locks_release(struct locks *locks, const char *ns, int64_t epoch, const char *deploy)
{
	struct lock *lock = map_get(&locks->map, ns);

	if (!lock || !lock->held || epoch < lock->epoch || !streq(lock->deploy, deploy))
		return false;
	release(lock);
	return true;
}

bool locks_lapse(struct locks *locks, uint64_t now)
{
	bool any = false;

	for (struct map_item *i = NULL; (i = map_next(&locks->map, i));) {
		struct lock *lock = i->value;

		if (!lock->held || lock->until > now)
			continue;
		release(lock);
		any = true;
	}
	return any;
}

json_t *locks_encode(const struct locks *locks)
{
	json_t *all = json_object();

	for (struct map_item *i = NULL; (i = map_next(&locks->map, i));) {
		const struct lock *lock = i->value;
		json_t *one = json_pack("{s:I, s:s*}", "epoch", (json_int_t)lock->epoch,
					"last_deploy", lock->last_deploy);

		if (lock->held) {
			json_object_set_new(one, "deploy", json_string(lock->deploy));
			json_object_set_new(one, "holder",
					    json_string(lock->holder ? lock->holder : ""));
			json_object_set_new(one, "reserve",
					    codec_encode(&reservation_schema, &lock->reserve));
		}
		json_object_set_new(all, lock->ns, one);
	}
	return all;
}

int locks_decode(struct locks *locks, const json_t *json, uint64_t now)
{
	const char *ns;
	json_t *one;

	if (!json_is_object(json))
		return -EINVAL;
	json_object_foreach ((json_t *)json, ns, one) {
		const json_t *epoch = json_object_get(one, "epoch");
		const char *deploy = json_string_value(json_object_get(one, "deploy"));
		struct lock *lock;

		if (!json_is_integer(epoch) || json_integer_value(epoch) < 0)
			return -EINVAL;
		lock = lock_of(locks, ns);
		lock->epoch = json_integer_value(epoch);
		lock->last_deploy = xstrdup(json_string_value(json_object_get(one, "last_deploy")));
		if (!deploy || codec_decode(&reservation_schema, json_object_get(one, "reserve"),
					    CODEC_LENIENT, &lock->reserve, NULL) < 0)
			continue;
		/* How long nobody listened is unknown: the holder has its whole term to be heard
		 * again. */
		lock->held = true;
		lock->deploy = xstrdup(deploy);
		lock->holder = xstrdup(json_string_value(json_object_get(one, "holder")));
		lock->until = now + LOCK_TERM_USEC;
	}
	return 0;
}
