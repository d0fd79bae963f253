/* Heads (pure): makes the next entries of a namespace's log. */
#include "leased/rollout.h"

static void stamp(struct head *head, const struct rollout *rollout, const char *now,
		  const char *nonce)
{
	free(head->at);
	free(head->nonce);
	head->at = xstrdup(now);
	head->nonce = xstrdup(nonce);
	if (!rollout)
		return;
	free(head->writer);
	head->writer = xstrdup(rollout->request->deploy);
	head->epoch = rollout->lease.epoch;
	head->generation = rollout->generation;
}

/* The facts of another generation of the store may be gone: no reader can wait for them. */
static int64_t facts_before(const struct rollout *rollout, const struct head *before)
{
	return before && before->generation == rollout->generation ? before->facts : 0;
}

struct head *head_opened(const struct rollout *rollout, const struct head *before,
			 uint64_t sequence, const char *now, const char *nonce)
{
	const struct deploy_request *request = rollout->request;
	struct head *head = before ? codec_copy(&head_schema, before) : codec_new(&head_schema);
	struct open_deploy *open = xcalloc(1, sizeof(*open));

	if (!before) {
		head->ns = xstrdup(rollout->ns);
	} else {
		/* Entries that only open and close a deploy keep the sequence of the entry that
		 * committed the state. */
		head->committed = (int64_t)head_committed(before, sequence);
		head->facts = facts_before(rollout, before);
		open_deploy_free(steal(head->open));
		free(steal(head->outcome));
	}
	open->deploy = xstrdup(request->deploy);
	open->epoch = rollout->lease.epoch;
	open->generation = rollout->generation;
	open->machine = xstrdup(rollout->self);
	open->verb = xstrdup(request->verb);
	open->operator_ = xstrdup(request->operator_);
	open->since = xstrdup(now);
	head->open = open;
	stamp(head, rollout, now, nonce);
	return head;
}

struct head *head_closed(const struct head *opened, const char *outcome, const char *now,
			 const char *nonce)
{
	struct head *head = codec_copy(&head_schema, opened);

	open_deploy_free(steal(head->open));
	free(head->outcome);
	head->outcome = xstrdup(outcome);
	stamp(head, NULL, now, nonce);
	return head;
}

static void add_slot(const struct rollout *rollout, struct head_service *service,
		     const struct candidate *candidate)
{
	const struct slot *kept =
		rollout->base ? head_instance(rollout->base, candidate->instance, NULL) : NULL;
	struct slot *slot = array_add(service->slots, service->n_slots);

	slot->slot = candidate->slot->slot;
	slot->instance = xstrdup(candidate->instance);
	slot->machine = xstrdup(candidate->slot->machine);
	slot->address = xstrdup(candidate->address ? candidate->address
				: kept		   ? kept->address
						   : NULL);
	slot->deploy = xstrdup(kept && kept->deploy ? kept->deploy : rollout->request->deploy);
	slot->hash = xstrdup(candidate->hash ? candidate->hash : kept ? kept->hash : NULL);
	if (!service->digest)
		service->digest = xstrdup(candidate->digest);
}

static void add_service(const struct rollout *rollout, struct head *head,
			const struct service *wanted)
{
	struct head_service *service = array_add(head->services, head->n_services);
	const struct head_service *before =
		rollout->base ? head_service(rollout->base, wanted->name) : NULL;

	service->name = xstrdup(wanted->name);
	service->stop_grace = wanted->stop_grace;
	for (size_t i = 0; i < wanted->n_ports; i++)
		codec_copy_into(&port_schema, array_add(service->ports, service->n_ports),
				&wanted->ports[i]);
	for (size_t i = 0; i < rollout->n_candidates; i++) {
		const struct candidate *c = rollout->candidates[i];

		if (c->service && c->action != SLOT_REMOVE && streq(c->service->name, wanted->name))
			add_slot(rollout, service, c);
	}
	/* A service without instances keeps the image that it ran last. */
	if (!service->digest && before)
		service->digest = xstrdup(before->digest);
}

/* A volume's row stays after the service that mounted it was removed. */
static void add_volumes(const struct rollout *rollout, struct head *head)
{
	const struct head *base = rollout->base;

	for (size_t i = 0; base && i < base->n_volumes; i++)
		codec_copy_into(&head_volume_schema, array_add(head->volumes, head->n_volumes),
				&base->volumes[i]);
	for (size_t i = 0; i < rollout->plan->n_volumes; i++) {
		const struct plan_volume *planned = &rollout->plan->volumes[i];
		struct head_volume *volume =
			(struct head_volume *)head_volume(head, planned->name, planned->machine);

		/* The mode may have changed; the data is where it was. */
		if (volume)
			volume->mode = planned->mode;
		if (volume || !planned->new_)
			continue;
		volume = array_add(head->volumes, head->n_volumes);
		volume->name = xstrdup(planned->name);
		volume->machine = xstrdup(planned->machine);
		volume->mode = planned->mode;
		volume->driver = planned->driver;
		volume->generation = planned->generation;
	}
}

struct head *head_next(const struct rollout *rollout, const char *now, const char *nonce)
{
	const struct deploy_request *request = rollout->request;
	struct head *head = codec_new(&head_schema);

	head->ns = xstrdup(rollout->ns);
	head->revision = (rollout->base ? rollout->base->revision : 0) + 1;
	head->deploy = xstrdup(request->deploy);
	head->verb = xstrdup(request->verb);
	head->operator_ = xstrdup(request->operator_);
	head->from = xstrdup(request->from);
	head->why = xstrdup(request->why);
	head->hash = manifest_hash(rollout->manifest);
	head->release = rollout->release;
	head->release_number = rollout->release_number;
	head->facts =
		MAX2(rollout_watermark(rollout).facts, facts_before(rollout, rollout->base));
	for (size_t i = 0; i < rollout->manifest->n_services; i++)
		add_service(rollout, head, &rollout->manifest->services[i]);
	head_take_routes(head, rollout->manifest);
	add_volumes(rollout, head);
	stamp(head, rollout, now, nonce);
	return head;
}
