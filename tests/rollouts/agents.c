/* Agents: simulates agentd as a participant of deploys, by the design's table of participants. */
#include "tests/rollouts/world.h"

#include <stdio.h>

#include "lib/str.h"

static struct sim_instance *find(struct sim_agent *a, const char *id)
{
	for (size_t i = 0; i < a->n_instances; i++)
		if (streq(a->instances[i]->id, id))
			return a->instances[i];
	return NULL;
}

void agent_free(struct sim_agent *a)
{
	for (size_t i = 0; i < a->n_instances; i++) {
		free(a->instances[i]->id);
		free(a->instances[i]->ns);
		free(a->instances[i]->deploy);
		free(a->instances[i]->stopper);
		free(a->instances[i]);
	}
	free(a->instances);
	for (int i = 0; i < 2; i++)
		free(a->locks[i].deploy);
}

static void set_state(struct world *w, struct sim_instance *instance, enum instance_state state)
{
	if (w->trace && instance->state != state)
		printf("# %9.3f %s: %s → %s\n", (double)(w->now - 1000 * S) / 1e6, instance->id,
		       instance_state_names[instance->state], instance_state_names[state]);
	instance->state = state;
	instance->facts = ++w->facts;
}

/* --- presumed abort */

static struct sim_instance *candidate_of(struct sim_agent *a, const struct sim_instance *old)
{
	for (size_t i = 0; i < a->n_instances; i++)
		if (streq(a->instances[i]->deploy, old->stopper) &&
		    streq(a->instances[i]->service, old->service) &&
		    a->instances[i]->slot == old->slot && streq(a->instances[i]->ns, old->ns))
			return a->instances[i];
	return NULL;
}

/* The lock of the deploy that stopped an instance has lapsed or was superseded: the head decides.
 */
static void settle(struct world *w, struct sim_agent *a, const char *ns)
{
	const struct log_entry *entry = store_head(w, ns);
	const struct sim_lock *lock = &a->locks[world_namespace(ns)];

	for (size_t i = 0; entry && i < a->n_instances; i++) {
		struct sim_instance *old = a->instances[i], *candidate;

		if (!streq(old->ns, ns) || !old->stopper ||
		    (lock->held && streq(lock->deploy, old->stopper)))
			continue;
		candidate = candidate_of(a, old);
		if (head_instance(entry->head, old->id, NULL)) {
			if (candidate && candidate->state != INSTANCE_GONE) {
				set_state(w, candidate, INSTANCE_STOPPED);
				candidate->aborted = true;
			}
			if (old->state == INSTANCE_STOPPED || old->state == INSTANCE_DRAINING)
				set_state(w, old, INSTANCE_READY);
		} else if (candidate && candidate->aborted &&
			   head_instance(entry->head, candidate->id, NULL)) {
			/* The commit was stored late: reverses the abort. */
			if (old->state == INSTANCE_READY)
				set_state(w, old, INSTANCE_STOPPED);
			if (candidate->state == INSTANCE_STOPPED)
				set_state(w, candidate, INSTANCE_READY);
			candidate->aborted = false;
		}
	}
}

struct settling {
	struct sim_agent *agent;
	char ns[16];
};

static void on_settle(struct world *w, void *userdata)
{
	struct settling *settling = userdata;

	if (w->now < w->store_away_until) {
		world_at(w, S, on_settle, settling, free);
		return;
	}
	settle(w, settling->agent, settling->ns);
	free(settling);
}

static void settle_soon(struct world *w, struct sim_agent *a, const char *ns)
{
	struct settling *settling = xcalloc(1, sizeof(*settling));

	settling->agent = a;
	strcpy(settling->ns, ns);
	world_at(w, world_latency(w), on_settle, settling, free);
}

void agents_head_changed(struct world *w, const char *ns)
{
	for (int i = 0; i < MACHINES; i++)
		settle_soon(w, &w->agents[i], ns);
}

/* --- locks */

static void on_lapse(struct world *w, void *userdata)
{
	struct sim_lock *lock = userdata;

	if (!lock->held || lock->until > w->now)
		return;
	lock->held = false;
	for (int i = 0; i < MACHINES; i++)
		if (&w->agents[i].locks[0] == lock || &w->agents[i].locks[1] == lock)
			settle_soon(w, &w->agents[i], lock->ns);
}

void agent_renew(struct world *w, struct sim_lock *lock)
{
	lock->until = w->now + LEASE_TERM_USEC;
	world_at(w, LEASE_TERM_USEC, on_lapse, lock, NULL);
}

/* --- admission, by the head as read from the leader */

static bool fenced(struct failure *failure)
{
	failure_set(failure, FAILURE_FENCED, NULL, "the head shows another deploy");
	return true;
}

static bool refuses(struct world *w, struct sim_agent *a, const struct agent_command *command,
		    bool needs_lock, struct failure *failure)
{
	int n = world_namespace(command->ns);
	struct sim_lock *lock = &a->locks[n];
	const struct log_entry *entry = store_head(w, command->ns);

	if (w->now < w->store_away_until) {
		failure_set(failure, FAILURE_TIMEOUT, NULL, "the store does not answer");
		return true;
	}
	if (!entry || entry->sequence < (uint64_t)command->opened ||
	    !streq(entry->head->writer, command->deploy) || entry->head->epoch != command->epoch ||
	    command->epoch < a->epochs[n])
		return fenced(failure);
	if (command->epoch > a->epochs[n]) {
		a->epochs[n] = command->epoch;
		if (lock->held && !streq(lock->deploy, command->deploy)) {
			lock->held = false;
			settle_soon(w, a, command->ns);
		}
	}
	if (needs_lock && (!lock->held || !streq(lock->deploy, command->deploy))) {
		failure_set(failure, FAILURE_REFUSED, NULL, "the deploy has no lock here");
		return true;
	}
	if (lock->held && streq(lock->deploy, command->deploy))
		agent_renew(w, lock);
	return false;
}

static void fill(const struct sim_instance *from, struct instance *to)
{
	codec_init(&instance_schema, to);
	to->id = xstrdup(from->id);
	to->ns = xstrdup(from->ns);
	to->service = xstrdup(from->service);
	to->slot = from->slot;
	to->deploy = xstrdup(from->deploy);
	to->state = from->state;
	to->address = xstrdup("10.101.1.2");
}

static void *list(struct sim_agent *a, const char *ns, size_t offset, size_t count_offset,
		  const struct codec_schema *schema)
{
	void *answer = codec_new(schema);
	struct instance **items = (struct instance **)((char *)answer + offset);
	size_t *count = (size_t *)((char *)answer + count_offset);

	for (size_t i = 0; i < a->n_instances; i++)
		if (streq(a->instances[i]->ns, ns) && a->instances[i]->state != INSTANCE_GONE)
			fill(a->instances[i], array_add(*items, *count));
	return answer;
}

static void *instance_answer(const struct sim_instance *instance)
{
	struct agent_instance *answer = codec_new(&agent_instance_schema);

	if (!instance || instance->state == INSTANCE_GONE)
		return answer;
	answer->instance = xcalloc(1, sizeof(*answer->instance));
	fill(instance, answer->instance);
	answer->sequence = instance->facts;
	return answer;
}

/* --- the states of an instance */

static void on_died(struct world *w, void *userdata)
{
	struct sim_instance *instance = userdata;

	if (instance->state == INSTANCE_READY)
		set_state(w, instance, INSTANCE_FAILED);
}

static void on_ready(struct world *w, void *userdata)
{
	struct sim_instance *instance = userdata;

	if (instance->state != INSTANCE_STARTING)
		return;
	if (w->options.fails || world_chance(w, 4)) {
		set_state(w, instance, INSTANCE_FAILED);
		return;
	}
	set_state(w, instance, INSTANCE_READY);
	if (world_chance(w, 8))
		world_at(w, world_random(w, 3 * S), on_died, instance, NULL);
}

static struct sim_instance *start(struct world *w, struct sim_agent *a,
				  const struct agent_start *order)
{
	struct sim_instance *instance = find(a, order->instance);

	if (instance)
		return instance;
	instance = xcalloc(1, sizeof(*instance));
	*array_add(a->instances, a->n_instances) = instance;
	instance->id = xstrdup(order->instance);
	instance->ns = xstrdup(order->command.ns);
	instance->deploy = xstrdup(order->command.deploy);
	strcpy(instance->service, "web");
	instance->slot = order->slot;
	set_state(w, instance, INSTANCE_STARTING);
	world_at(w, 20 * MS + world_random(w, 200 * MS), on_ready, instance, NULL);
	return instance;
}

static void *reference(struct world *w, struct sim_agent *a, enum subject_id subject,
		       const struct agent_ref *ref)
{
	struct sim_instance *instance = find(a, ref->instance);

	if (!instance || instance->state == INSTANCE_GONE)
		return instance_answer(NULL);
	switch (subject) {
	case SUBJECT_AGENT_DRAIN:
	case SUBJECT_AGENT_STOP:
		if (instance->state != INSTANCE_FAILED)
			set_state(w, instance,
				  subject == SUBJECT_AGENT_STOP ? INSTANCE_STOPPED
								: INSTANCE_DRAINING);
		free(instance->stopper);
		instance->stopper = xstrdup(ref->command.deploy);
		break;
	case SUBJECT_AGENT_RESUME:
		if (instance->state == INSTANCE_STOPPED || instance->state == INSTANCE_DRAINING)
			set_state(w, instance, INSTANCE_READY);
		break;
	case SUBJECT_AGENT_REMOVE:
		check_removed(w, a, instance);
		set_state(w, instance, INSTANCE_GONE);
		break;
	default:
		break;
	}
	return instance_answer(instance);
}

static void *probe(struct sim_agent *a, const struct agent_probe *asked)
{
	struct agent_probed *answer = codec_new(&agent_probed_schema);

	for (char **id = asked->instances; id && *id; id++) {
		struct agent_instance *one = array_add(answer->instances, answer->n_instances);
		struct agent_instance *made = instance_answer(find(a, *id));

		*one = *made;
		free(made);
	}
	return answer;
}

void *agent_answer(struct world *w, struct sim_agent *a, enum subject_id subject,
		   const void *request, struct failure *failure)
{
	const struct agent_command *command = request;
	struct sim_lock *lock = &a->locks[world_namespace(command->ns)];
	struct agent_prepared *prepared;
	struct agent_listed *listed;
	bool needs_lock = subject == SUBJECT_AGENT_START || subject == SUBJECT_AGENT_DRAIN ||
			  subject == SUBJECT_AGENT_STOP || subject == SUBJECT_AGENT_RESUME;

	if (a->away) {
		failure_set(failure, FAILURE_TIMEOUT, NULL, "it does not answer");
		return NULL;
	}
	if (!(subject == SUBJECT_AGENT_LIST && !command->epoch) &&
	    refuses(w, a, command, needs_lock, failure))
		return NULL;
	switch (subject) {
	case SUBJECT_AGENT_LIST:
		listed = list(a, command->ns, offsetof(struct agent_listed, instances),
			      offsetof(struct agent_listed, n_instances), &agent_listed_schema);
		listed->epoch = a->epochs[world_namespace(command->ns)];
		return listed;
	case SUBJECT_AGENT_LOCK:
		strcpy(lock->ns, command->ns);
		free(lock->deploy);
		lock->deploy = xstrdup(command->deploy);
		lock->epoch = command->epoch;
		lock->held = true;
		agent_renew(w, lock);
		return list(a, command->ns, offsetof(struct agent_locked, instances),
			    offsetof(struct agent_locked, n_instances), &agent_locked_schema);
	case SUBJECT_AGENT_UNLOCK:
		if (lock->held && streq(lock->deploy, command->deploy)) {
			lock->held = false;
			settle_soon(w, a, command->ns);
		}
		return codec_new(&empty_schema);
	case SUBJECT_AGENT_PREPARE:
		prepared = codec_new(&agent_prepared_schema);
		prepared->state = xstrdup("ready");
		prepared->digest = xstrdup(((const struct agent_prepare *)request)->image);
		return prepared;
	case SUBJECT_AGENT_START:
		return instance_answer(start(w, a, request));
	case SUBJECT_AGENT_PROBE:
		return probe(a, request);
	default:
		return reference(w, a, subject, request);
	}
}
