/* Phase claim: claims the manifest's routes. */
#include "leased/rollout.h"

static bool has_routes(const struct manifest *manifest)
{
	for (size_t i = 0; i < manifest->n_services; i++)
		if (manifest->services[i].n_routes)
			return true;
	return false;
}

enum phase_result phase_claim_start(struct rollout *r)
{
	if (r->nothing || !r->manifest || !r->plan->changes || !has_routes(r->manifest))
		return PHASE_DONE;
	r->claiming = claiming_new(r);
	return claiming_poll(r->claiming);
}

enum phase_result phase_claim_poll(struct rollout *r)
{
	return claiming_poll(r->claiming);
}
