/* Checks: the invariants that no rollout may violate. */
#include "tests/rollouts/world.h"

#include "lib/str.h"

static struct holder *holder_of_deploy(struct world *w, const char *deploy)
{
	for (int i = 0; i < HOLDERS; i++)
		if (w->holders[i].started && streq(w->holders[i].deploy, deploy))
			return &w->holders[i];
	return NULL;
}

/* At a commit: no second commit of a revision, none of an older epoch, none with a candidate that
 * the last query did not report ready. */
static void check_commit(struct world *w, const struct log_entry *entry)
{
	const struct head *head = entry->head;
	const struct holder *h = holder_of_deploy(w, head->writer);

	for (size_t i = 0; i < w->n_log; i++) {
		const struct head *other = w->log[i].head;

		if (!other || other == head || !streq(other->ns, head->ns))
			continue;
		if (other->revision >= head->revision && w->log[i].sequence < entry->sequence)
			world_violation(w, "revision %lld was committed twice",
					(long long)head->revision);
		if (!head->release)
			world_violation(w, "deploy %s committed without a release", head->writer);
		if (other->epoch > head->epoch && w->log[i].sequence < entry->sequence)
			world_violation(w, "deploy %s committed with an epoch that is over",
					head->writer);
	}
	for (size_t i = 0; h && i < head->n_services; i++)
		for (size_t j = 0; j < head->services[i].n_slots; j++) {
			const struct slot *slot = &head->services[i].slots[j];

			if (streq(slot->deploy, head->writer) &&
			    !strv_contains(h->ready, slot->instance))
				world_violation(w,
						"%s was committed and the last query did not "
						"report it ready",
						slot->instance);
		}
}

static bool is_commit(const struct log_entry *entry)
{
	return entry->head && !entry->head->open && !entry->head->committed &&
	       entry->head->revision && streq(entry->head->writer, entry->head->deploy);
}

void check_append(struct world *w, const struct log_entry *entry)
{
	if (is_commit(entry))
		check_commit(w, entry);
}

/* A gateway whose view names an instance may still send it traffic. */
void check_removed(struct world *w, const struct sim_agent *agent,
		   const struct sim_instance *instance)
{
	const struct log_entry *entry = store_head(w, instance->ns);

	if (instance->state == INSTANCE_FAILED || instance->state == INSTANCE_STOPPED)
		return;
	if (entry && head_instance(entry->head, instance->id, NULL))
		world_violation(w, "%s was removed on %s while the head named it", instance->id,
				agent->name);
	for (int i = 0; i < MACHINES; i++) {
		const struct head *head = store_head_at(w, instance->ns, w->gateways[i].applied);

		if (head && head_instance(head, instance->id, NULL))
			world_violation(w, "%s was removed while the gateway of m%d had it",
					instance->id, i + 1);
	}
}

static const struct log_entry *commit_of(const struct world *w, const char *deploy)
{
	for (size_t i = 0; i < w->n_log; i++)
		if (is_commit(&w->log[i]) && streq(w->log[i].head->deploy, deploy))
			return &w->log[i];
	return NULL;
}

static void check_outcome(struct world *w, const struct holder *h)
{
	const struct log_entry *commit = commit_of(w, h->deploy);

	if (!h->record) {
		if (h->started && !h->dead)
			world_violation(w, "deploy %s never ended (phase %s)", h->deploy,
					phases[h->rollout->phase].name);
		return;
	}
	switch ((enum deploy_phase)h->record->phase) {
	case DEPLOY_FAILED:
	case DEPLOY_REFUSED:
		if (commit)
			world_violation(w, "deploy %s is reported failed and was committed",
					h->deploy);
		break;
	case DEPLOY_DONE:
	case DEPLOY_CLEANUP_PENDING:
		if (h->record->changed && !commit)
			world_violation(w, "deploy %s is reported committed and was not",
					h->deploy);
		break;
	default:
		break;
	}
}

static const struct sim_instance *instance_of(const struct world *w, const char *id)
{
	for (int i = 0; i < MACHINES; i++)
		for (size_t j = 0; j < w->agents[i].n_instances; j++)
			if (streq(w->agents[i].instances[j]->id, id))
				return w->agents[i].instances[j];
	return NULL;
}

void check_committed(struct world *w, const struct head *head)
{
	for (size_t i = 0; i < head->n_services; i++)
		for (size_t j = 0; j < head->services[i].n_slots; j++) {
			const struct sim_instance *instance =
				instance_of(w, head->services[i].slots[j].instance);

			if (!instance || instance->state == INSTANCE_GONE)
				world_violation(w, "the committed instance %s is gone",
						head->services[i].slots[j].instance);
			else if (instance->state == INSTANCE_STOPPED ||
				 instance->state == INSTANCE_DRAINING)
				world_violation(w, "the committed instance %s is stopped for good",
						instance->id);
		}
}

/* A clean-up is recorded as done only when nothing is left of it. */
void check_closed(struct world *w, const char *ns, const char *deploy, enum deploy_phase phase)
{
	_cleanup_free_ char *subject = subject_make(SUBJECT_DEPLOY_STATUS, ns, deploy);
	const struct log_entry *entry = store_last(w, STREAM_STATUS, subject);
	void *decoded = NULL;
	struct deploy *record;

	if (phase != DEPLOY_DONE || !entry ||
	    codec_parse(&deploy_schema, entry->text, strlen(entry->text), CODEC_LENIENT, &decoded,
			NULL) < 0)
		return;
	record = decoded;
	for (size_t i = 0; i < record->n_left; i++) {
		const struct sim_instance *instance = instance_of(w, record->left[i].instance);

		if (instance && instance->state != INSTANCE_GONE)
			world_violation(w, "the clean-up of deploy %s is recorded as done, %s runs",
					deploy, instance->id);
	}
	deploy_free(record);
}

/* After the last clean-up nothing runs that the head does not name. */
void check_leaks(struct world *w, const struct head *head)
{
	for (int i = 0; i < MACHINES; i++)
		for (size_t j = 0; j < w->agents[i].n_instances; j++) {
			const struct sim_instance *instance = w->agents[i].instances[j];

			if (instance->state != INSTANCE_GONE && streq(instance->ns, head->ns) &&
			    !head_instance(head, instance->id, NULL))
				world_violation(w, "%s was left", instance->id);
		}
}

void check_end(struct world *w)
{
	const struct log_entry *shop = store_head(w, "shop"), *blog = store_head(w, "blog");

	for (int i = 0; i < HOLDERS; i++)
		if (w->holders[i].started)
			check_outcome(w, &w->holders[i]);
	/* Without a last holder that cleans up, the state that a dead one left is permitted. */
	if (shop && w->holders[0].started) {
		check_committed(w, shop->head);
		if (shop->head->open)
			world_violation(w, "deploy %s is still open", shop->head->open->deploy);
		if (w->holders[0].record && w->holders[0].record->phase == DEPLOY_DONE)
			check_leaks(w, shop->head);
	}
	if (shop && blog && shop->head->n_routes && blog->head->n_routes)
		world_violation(w, "two namespaces have committed routes of one host");
}
