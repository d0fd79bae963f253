/* Cleaning (pure): lists the instances that the commit replaced and those that earlier deploys
 * left. */
#include "leased/rollout.h"

struct cleaning_target *cleaning_targets(const struct rollout *r, size_t *ret_count)
{
	struct cleaning_target *targets = NULL;
	size_t n = 0;

	for (size_t i = 0; r->committed && i < r->n_candidates; i++) {
		const struct candidate *c = r->candidates[i];
		uint64_t grace = rollout_grace(r, c->slot->service);

		if (c->slot->old && (c->action == SLOT_REPLACE || c->action == SLOT_REMOVE))
			*array_add(targets, n) = (struct cleaning_target){
				candidate_old_machine(c),
				c->slot->old,
				grace,
				c->old_stopped ? 0 : grace,
			};
	}
	for (size_t i = 0; i < r->n_leftovers; i++) {
		uint64_t grace = rollout_grace(r, r->leftovers[i].service);

		*array_add(targets, n) = (struct cleaning_target){
			r->leftovers[i].machine,
			r->leftovers[i].instance,
			grace,
			grace,
		};
	}
	*ret_count = n;
	return targets;
}

void cleaning_left(struct rollout *r, const char *reason)
{
	size_t n;
	_cleanup_free_ struct cleaning_target *targets = cleaning_targets(r, &n);

	for (size_t i = 0; i < n; i++) {
		struct left *left = array_add(r->record->left, r->record->n_left);

		left->instance = xstrdup(targets[i].instance);
		left->machine = xstrdup(targets[i].machine);
		left->reason = xstrdup(reason);
	}
}
