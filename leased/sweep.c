/* What a namespace has running that its committed head does not name is left of a deploy that died
 * before its commit, or of one whose cleaning was not finished. The next holder removes it, before
 * it plans. */
#include "leased/leased.h"

static bool belongs(const struct walk *walk, const struct instance *instance)
{
	if (streq(instance->deploy, walk->request->deploy) || instance->state == INSTANCE_GONE)
		return true;
	return walk->base && head_instance(walk->base, instance->id, NULL);
}

static void on_listed(struct walk *walk, const struct failure *failure, void *answer, void *what)
{
	const struct agent_listed *listed = answer;

	if (failure)
		progress_note(walk, "machine %s could not be asked what is left there: %s",
			      (char *)what, failure->message);
	for (size_t i = 0; !failure && i < listed->n_instances; i++) {
		const struct instance *instance = &listed->instances[i];

		if (belongs(walk, instance))
			continue;
		progress_note(walk, "removing %s, left on machine %s by deploy %s", instance->id,
			      (char *)what, instance->deploy ? instance->deploy : "unknown");
		leaving_add(walk, what, instance->id, -1, 0);
	}
	if (--walk->pending > 0)
		return;
	if (walk->n_leaving)
		applying_go(walk, leaving_go); /* no gateway may still send traffic there */
	else
		walk_next(walk);
}

void step_sweep(struct walk *walk)
{
	const struct agent_list list = { .ns = walk->request->manifest->ns };

	walk->peers = walk_peers(walk);
	walk->pending = strv_count(walk->peers);
	if (!walk->pending) {
		walk_next(walk);
		return;
	}
	for (char **machine = walk->peers; *machine; machine++)
		errand(walk, SUBJECT_AGENT_LIST, *machine, &list, AGENT_USEC, on_listed, *machine);
}
