#include "leased/leased.h"

static void stamp(struct head *head, const char *now, const char *nonce)
{
	free(head->at);
	free(head->nonce);
	head->at = xstrdup(now);
	head->nonce = xstrdup(nonce);
}

struct head *head_opened(const struct head *before, uint64_t sequence,
			 const struct deploy_request *request, const struct lease *lease,
			 const char *now, const char *nonce)
{
	struct head *head = before ? codec_copy(&head_schema, before) : codec_new(&head_schema);
	struct open_deploy *open = xcalloc(1, sizeof(*open));

	if (!before) {
		head->ns = xstrdup(request->manifest->ns);
	} else {
		/* The entry that committed this state stays named, however many follow that only
		 * open and close. */
		head->committed = (int64_t)head_committed(before, sequence);
		codec_destroy(&open_deploy_schema, steal(head->open));
		free(steal(head->outcome));
	}
	open->deploy = xstrdup(request->deploy);
	open->epoch = lease->epoch;
	open->machine = xstrdup(lease->machine);
	open->verb = xstrdup(request->verb);
	open->operator_ = xstrdup(request->operator_);
	open->since = xstrdup(now);
	head->open = open;
	head->epoch = lease->epoch;
	stamp(head, now, nonce);
	return head;
}

struct head *head_closed(const struct head *opened, const char *outcome, const char *now,
			 const char *nonce)
{
	struct head *head = codec_copy(&head_schema, opened);

	codec_destroy(&open_deploy_schema, steal(head->open));
	free(head->outcome);
	head->outcome = xstrdup(outcome);
	stamp(head, now, nonce);
	return head;
}

static void add_slot(struct head_service *service, const struct candidate *candidate,
		     const struct head *before)
{
	const struct slot *kept = before ? head_instance(before, candidate->instance, NULL) : NULL;
	struct slot *slot = array_add(service->slots, service->n_slots);

	slot->slot = candidate->slot->slot;
	slot->instance = xstrdup(candidate->instance);
	slot->machine = xstrdup(candidate->slot->machine);
	slot->address = xstrdup(candidate->address ? candidate->address
				: kept		   ? kept->address
						   : NULL);
	slot->deploy =
		xstrdup(kept && kept->deploy ? kept->deploy : candidate->walk->request->deploy);
	slot->hash = xstrdup(candidate->hash ? candidate->hash : kept ? kept->hash : NULL);
	if (!service->digest)
		service->digest = xstrdup(candidate->digest);
}

struct head *head_committed_next(const struct head *opened, const struct deploy_request *request,
				 const struct lease *lease, struct candidate *const *candidates,
				 size_t n_candidates, const char *now, const char *nonce)
{
	struct head *head = codec_new(&head_schema);

	head->ns = xstrdup(opened->ns);
	head->revision = opened->revision + 1;
	head->deploy = xstrdup(request->deploy);
	head->verb = xstrdup(request->verb);
	head->operator_ = xstrdup(request->operator_);
	head->from = xstrdup(request->from);
	head->why = xstrdup(request->why);
	head->epoch = lease->epoch;
	head->hash = manifest_hash(request->manifest);
	head->manifest = codec_copy(&manifest_schema, request->manifest);
	for (size_t i = 0; i < request->manifest->n_services; i++) {
		const struct service *wanted = &request->manifest->services[i];
		struct head_service *service = array_add(head->services, head->n_services);

		service->name = xstrdup(wanted->name);
		for (size_t j = 0; j < n_candidates; j++)
			if (candidates[j]->service && candidates[j]->action != SLOT_REMOVE &&
			    streq(candidates[j]->service->name, wanted->name))
				add_slot(service, candidates[j], opened);
	}
	stamp(head, now, nonce);
	return head;
}
