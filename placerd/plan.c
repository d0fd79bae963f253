/* Plan (pure): what a deploy would do, computed from a manifest, the committed state and the
 * present machines, without bus, clock or randomness. */
#include "placerd/placerd.h"

struct plan_slot *plan_add(struct planning *planning, const char *service, int64_t slot,
			   enum slot_action action, const char *machine)
{
	struct plan_slot *row = array_add(planning->plan->slots, planning->plan->n_slots);

	row->service = xstrdup(service);
	row->slot = slot;
	row->action = (int)action;
	row->machine = xstrdup(machine);
	return row;
}

void plan_warn(struct planning *planning, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	strv_push(&planning->plan->warnings, xvasprintf(format, args));
	va_end(args);
}

void plan_refuse(struct planning *planning, char *path, const char *hint, const char *format, ...)
{
	struct plan_refusal *refusal =
		array_add(planning->plan->refusals, planning->plan->n_refusals);
	va_list args;

	refusal->path = path;
	refusal->hint = xstrdup(hint);
	va_start(args, format);
	refusal->message = xvasprintf(format, args);
	va_end(args);
}

static struct placing placing_of(struct planning *planning, const struct service *service)
{
	const struct plan_input *input = planning->input;
	struct placing placing = { .planning = planning, .service = service };

	placing.head = input->head ? head_service(input->head, service->name) : NULL;
	placing.before = placing.head && input->before
				 ? manifest_service(input->before, service->name)
				 : NULL;
	placing.pinned = input->digests ? pairs_get(input->digests, service->name) : NULL;
	placing.update = service_update(input->manifest, service, &placing.why_update);
	return placing;
}

static size_t service_index(const struct manifest *manifest, const char *name)
{
	for (size_t i = 0; i < manifest->n_services; i++)
		if (streq(manifest->services[i].name, name))
			return i;
	return manifest->n_services;
}

/* Services in the manifest's order, slots by number, removals last. */
static int compare_rows(const void *a, const void *b, void *userdata)
{
	const struct plan_slot *x = a, *y = b;
	size_t i = service_index(userdata, x->service), j = service_index(userdata, y->service);
	bool x_goes = x->action == SLOT_REMOVE, y_goes = y->action == SLOT_REMOVE;
	int by_name;

	if (x_goes != y_goes)
		return x_goes ? 1 : -1;
	if (i != j)
		return i < j ? -1 : 1;
	by_name = strcmp(x->service, y->service);
	if (by_name)
		return by_name;
	return x->slot < y->slot ? -1 : x->slot > y->slot;
}

static void name_unreachable(struct planning *planning)
{
	for (size_t i = 0; i < planning->n_hosts; i++) {
		const struct machine_view *view = planning->hosts[i].view;

		if (view->probe)
			continue;
		strv_push(&planning->plan->unreachable, xstrdup(view->member->id));
		plan_warn(planning, "machine %s did not answer: %s", view->member->id,
			  view->probe_error ? view->probe_error : "no reason known");
	}
}

static void name_open(struct planning *planning)
{
	const struct plan_input *input = planning->input;
	const struct open_deploy *open = input->head ? input->head->open : NULL;

	if (!open || (input->deploy && streq(open->deploy, input->deploy)))
		return;
	plan_warn(planning,
		  "deploy %s of this namespace is open since %s on machine %s%s%s: this plan is "
		  "made from the state before it",
		  open->deploy, open->since ? open->since : "an unknown time",
		  open->machine ? open->machine : "unknown", open->operator_ ? ", by " : "",
		  open->operator_ ? open->operator_ : "");
}

/* Whether a committed manifest that the plan should know is not in the store any more. */
static bool manifest_missing(const struct plan_input *input)
{
	return input->head && input->head->revision && !input->before;
}

static void name_missing(struct planning *planning)
{
	const struct plan_input *input = planning->input;

	if (manifest_missing(input))
		plan_warn(planning,
			  "the committed manifest (revision %lld, entry %lld of " STREAM_MANIFESTS
			  ") is not in the store: instances are compared by their hash alone, and "
			  "this deploy stores its manifest anew",
			  (long long)input->head->revision, (long long)input->head->release);
	for (size_t i = 0; i < input->n_others; i++) {
		const struct namespace_view *other = &input->others[i];

		if (other->head->n_services && !other->manifest)
			plan_warn(
				planning,
				"the committed manifest of namespace %s is not in the store: what "
				"its instances request of machines does not count",
				other->head->ns);
	}
}

/* Two machines may have two builds under one name; each runs its own. */
static void name_images(struct planning *planning, const struct service *service)
{
	const struct plan *plan = planning->plan;
	const struct plan_slot *first = NULL;

	for (size_t i = 0; i < plan->n_slots; i++) {
		const struct plan_slot *slot = &plan->slots[i];

		if (slot->action == SLOT_REMOVE || !slot->digest ||
		    !streq(slot->service, service->name))
			continue;
		if (!first)
			first = slot;
		if (streq(first->digest, slot->digest))
			continue;
		plan_warn(planning, "service %s: image %s is not the same on machines %s and %s",
			  service->name, service->image, first->machine, slot->machine);
		return;
	}
}

/* Whether every instance that the head names stays, and nothing else comes. */
static bool slots_change(const struct planning *planning)
{
	const struct plan *plan = planning->plan;
	const struct head *head = planning->input->head;
	size_t committed = 0;

	for (size_t i = 0; head && i < head->n_services; i++)
		committed += head->services[i].n_slots;
	for (size_t i = 0; i < plan->n_slots; i++)
		if (plan->slots[i].action != SLOT_KEEP)
			return true;
	/* A slot that has no row is on a machine that cannot be asked. */
	return plan->n_slots != committed;
}

static void find_changes(struct planning *planning)
{
	const struct plan_input *input = planning->input;
	struct plan *plan = planning->plan;
	bool committed = input->head && input->head->revision > 0;

	if (committed)
		plan->changes = !streq(plan->hash, input->head->hash);
	else
		plan->changes = input->manifest->n_services || input->manifest->n_volumes ||
				input->manifest->grants.count;
	/* A refused plan does not count as one without changes. */
	plan->changes |= plan->n_refusals > 0 || manifest_missing(input) ||
			 slots_change(planning) || volumes_change(planning);
	for (size_t i = 0; i < plan->n_routes; i++)
		plan->changes |= !streq(plan->routes[i].action, "keep");
	plan->removes_all = committed && input->head->n_services && !input->manifest->n_services;
	if (plan->removes_all)
		plan_warn(planning, "this removes everything in namespace %s", plan->ns);
}

static void plan_slots(struct planning *planning)
{
	const struct manifest *manifest = planning->input->manifest;
	struct placing *placings = xcalloc(manifest->n_services + 1, sizeof(*placings));
	struct plan *plan = planning->plan;

	for (size_t i = 0; i < manifest->n_services; i++) {
		placings[i] = placing_of(planning, &manifest->services[i]);
		slots_select(&placings[i]);
	}
	/* All that stays first: what is new takes what they leave. */
	for (size_t i = 0; i < manifest->n_services; i++)
		slots_stay(&placings[i]);
	for (size_t i = 0; i < manifest->n_services; i++) {
		slots_place(&placings[i]);
		name_images(planning, &manifest->services[i]);
		free(placings[i].kept);
		free(placings[i].lost);
	}
	free(placings);
	slots_remove_services(planning);
	if (plan->n_slots)
		qsort_r(plan->slots, plan->n_slots, sizeof(*plan->slots), compare_rows,
			(void *)manifest);
}

struct plan *plan_make(const struct plan_input *input)
{
	struct planning planning = {
		.input = input,
		.wanted = codec_new(&head_schema),
		.plan = codec_new(&plan_schema),
	};
	struct plan *plan = planning.plan;

	plan->ns = xstrdup(input->manifest->ns);
	plan->head = (int64_t)input->entry;
	plan->sequence = (int64_t)input->sequence;
	plan->revision = input->head ? input->head->revision : 0;
	plan->hash = manifest_hash(input->manifest);
	planning.wanted->ns = xstrdup(plan->ns);
	head_take_routes(planning.wanted, input->manifest);
	listens_make(&planning);
	hosts_make(&planning);
	name_unreachable(&planning);
	name_open(&planning);
	name_missing(&planning);
	volumes_check(&planning);
	routes_check(&planning);
	plan_slots(&planning);
	volumes_plan(&planning);
	routes_plan(&planning);
	find_changes(&planning);
	hosts_free(&planning);
	head_free(planning.wanted);
	free(planning.listens);
	return plan;
}
