/* Phase sweep: removes instances that the namespace's head does not name. A candidate that was
 * never committed is removed now, before the plan: no gateway has ever sent traffic to it. An
 * instance that an earlier head may have named is removed after the commit, like those that the
 * commit replaces. */
#include "leased/rollout.h"

static bool is_stray(const struct rollout *r, const struct instance *instance)
{
	return instance->state != INSTANCE_GONE &&
	       !(r->base && head_instance(r->base, instance->id, NULL));
}

/* A deploy whose record decides whether its instance was committed and is not read yet, or NULL. */
static const char *unknown_deploy(const struct rollout *r)
{
	for (size_t i = 0; i < r->n_participants; i++) {
		const struct agent_listed *listed =
			r->participants[i]->listed ? r->participants[i]->list.answer : NULL;

		for (size_t j = 0; listed && j < listed->n_instances; j++) {
			const struct instance *instance = &listed->instances[j];

			if (is_stray(r, instance) && instance->deploy &&
			    !strv_contains(r->never, instance->deploy) &&
			    !strv_contains(r->perhaps, instance->deploy))
				return instance->deploy;
		}
	}
	return NULL;
}

static void read_record(struct rollout *r, const char *deploy)
{
	_cleanup_free_ char *subject = subject_make(SUBJECT_DEPLOY_STATUS, r->ns, deploy);

	r->read.state = RPC_WAITING;
	r->ops->read_last(&r->read, STREAM_STATUS, subject);
}

static void take_record(struct rollout *r, const char *deploy)
{
	void *record = NULL;
	bool never = r->read.n_entries &&
		     codec_parse(&deploy_schema, r->read.entries[0].text, r->read.entries[0].size,
				 CODEC_LENIENT, &record, NULL) == 0 &&
		     record_is_void(record);

	deploy_free(record);
	strv_push(never ? &r->never : &r->perhaps, xstrdup(deploy));
	read_clear(&r->read);
}

static void add_leftover(struct rollout *r, const char *machine, const char *instance,
			 const char *service)
{
	struct leftover *left = array_add(r->leftovers, r->n_leftovers);

	left->machine = xstrdup(machine);
	left->instance = xstrdup(instance);
	left->service = xstrdup(service);
}

/* What an earlier clean-up left on a machine that was not listed now: only its record says so, and
 * that record is not done before the machine has answered. */
static void add_unlisted(struct rollout *r)
{
	for (size_t i = 0; r->previous && i < r->previous->n_left; i++) {
		const struct left *left = &r->previous->left[i];
		const struct participant *p = rollout_participant(r, left->machine);

		if (p && !p->listed && !(r->base && head_instance(r->base, left->instance, NULL)))
			add_leftover(r, left->machine, left->instance, NULL);
	}
}

static void sort(struct rollout *r, const struct participant *p)
{
	const struct agent_listed *listed = p->listed ? p->list.answer : NULL;

	for (size_t i = 0; listed && i < listed->n_instances; i++) {
		const struct instance *instance = &listed->instances[i];

		if (!is_stray(r, instance))
			continue;
		/* A pre_deploy container has no slot, and no head ever named it. */
		if (instance->slot >= 0 && !strv_contains(r->never, instance->deploy)) {
			add_leftover(r, p->machine, instance->id, instance->service);
			continue;
		}
		rollout_note(r, "removing %s, which deploy %s left on machine %s", instance->id,
			     instance->deploy ? instance->deploy : "(unknown)", p->machine);
		removal_add(r->removal, p->machine, instance->id, UINT64_MAX, 0);
	}
}

enum phase_result phase_sweep_start(struct rollout *r)
{
	if (r->nothing)
		return PHASE_DONE;
	/* Our opening entry followed that deploy's opening entry, so that deploy did not commit. */
	if (r->orphan) {
		_cleanup_free_ char *note = xasprintf(
			"leased on machine %s ended before the deploy did; deploy %s took over",
			r->orphan->machine ? r->orphan->machine : "(unknown)", r->request->deploy);

		strv_push(&r->never, xstrdup(r->orphan->deploy));
		r->ops->close_record(r, r->orphan->deploy, DEPLOY_FAILED, note);
	}
	strv_push(&r->never, xstrdup(r->request->deploy));
	return phase_sweep_poll(r);
}

static enum phase_result classify(struct rollout *r)
{
	const char *deploy = unknown_deploy(r);

	while (deploy) {
		if (r->read.state == RPC_WAITING)
			return PHASE_WAIT;
		if (r->read.state == RPC_FAILED && rollout_may_retry(r, &r->read.failure)) {
			read_clear(&r->read);
			return PHASE_WAIT;
		}
		if (r->read.state == RPC_FAILED)
			return rollout_fail(r, &r->read.failure);
		if (r->read.state == RPC_IDLE) {
			read_record(r, deploy);
			return PHASE_WAIT;
		}
		take_record(r, deploy);
		deploy = unknown_deploy(r);
	}
	return PHASE_DONE;
}

enum phase_result phase_sweep_poll(struct rollout *r)
{
	struct failure failure = FAILURE_INIT;
	enum phase_result result;

	if (!r->removal) {
		result = classify(r);
		if (result != PHASE_DONE)
			return result;
		r->removal = removal_new(r);
		for (size_t i = 0; i < r->n_participants; i++)
			sort(r, r->participants[i]);
		add_unlisted(r);
	}
	result = removal_poll(r->removal, &failure);
	if (result == PHASE_LOST)
		result = rollout_lose(r, &failure);
	/* The record lists it for the next holder; this deploy can still succeed. */
	if (result == PHASE_FAILED) {
		rollout_note(r, "%s", failure.message);
		removal_left(r->removal, r->record);
		result = PHASE_DONE;
	}
	failure_clear(&failure);
	return result;
}
