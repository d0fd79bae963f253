#include "leased/leased.h"

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void add_machine(struct walk *walk, const char *machine)
{
	if (machine && !strv_contains(walk->machines, machine))
		strv_push(&walk->machines, xstrdup(machine));
}

/* The rows of the plan become candidates; what goes is left to the cleaning. */
static void make_candidates(struct walk *walk)
{
	const struct manifest *manifest = walk->request->manifest;
	const struct slot *kept;

	for (size_t i = 0; i < walk->plan->n_slots; i++) {
		const struct plan_slot *slot = &walk->plan->slots[i];
		struct candidate *c = xcalloc(1, sizeof(*c));
		size_t n = walk->n_candidates;

		walk->candidates = array_grow(walk->candidates, n, sizeof(*walk->candidates));
		walk->candidates[walk->n_candidates++] = c;
		c->walk = walk;
		c->slot = slot;
		c->action = slot->action;
		c->service = slot->action == SLOT_REMOVE
				     ? NULL
				     : manifest_service(manifest, slot->service);
		c->digest = xstrdup(slot->digest);
		c->heard_usec = boot_now_usec();
		if (slot->action == SLOT_KEEP) {
			c->instance = xstrdup(slot->instance);
			c->state = CANDIDATE_READY;
			kept = walk->base ? head_instance(walk->base, slot->instance, NULL) : NULL;
			c->hash = xstrdup(kept ? kept->hash : NULL);
		} else if (slot->action != SLOT_REMOVE) {
			c->instance = instance_id(manifest->ns, slot->service, slot->slot,
						  walk->request->deploy);
		}
		add_machine(walk, slot->machine);
		add_machine(walk, slot->from);
	}
	if (walk->machines)
		qsort(walk->machines, strv_count(walk->machines), sizeof(char *), compare_names);
}

static void refuse(struct walk *walk)
{
	struct strbuf all = STRBUF_INIT;

	for (size_t i = 0; i < walk->plan->n_refusals; i++) {
		const struct plan_refusal *refusal = &walk->plan->refusals[i];

		strbuf_printf(&all, "%s%s%s%s", i ? "\n" : "", refusal->path ? refusal->path : "",
			      refusal->path ? ": " : "", refusal->message);
	}
	walk_failf(walk, FAILURE_REFUSED, walk->plan->refusals[0].hint, "%s", all.text);
	strbuf_clear(&all);
}

static void on_plan(struct walk *walk, const struct failure *failure, void *answer,
		    _unused_ void *what)
{
	if (failure) {
		if (!walk_patient(walk, failure))
			walk_fail(walk, failure);
		return;
	}
	walk->plan = codec_copy(&plan_schema, answer);
	progress_plan(walk);
	if (walk->plan->n_refusals) {
		refuse(walk);
		return;
	}
	if (walk->plan->removes_all && !walk->request->yes) {
		walk_failf(walk, FAILURE_REFUSED, "say --yes if that is what you want",
			   "this manifest removes everything in namespace %s",
			   walk->request->manifest->ns);
		return;
	}
	make_candidates(walk);
	if (!walk->plan->changes && !walk->orphan) {
		walk->outcome = xstrdup("nothing to change");
		walk_goto(walk, STEP_CLOSE);
		return;
	}
	walk_next(walk);
}

static void ask_plan(struct walk *walk)
{
	const struct plan_request request = {
		.manifest = walk->request->manifest,
		.deploy = walk->request->deploy,
	};

	errand(walk, SUBJECT_PLAN, walk->leased->daemon->config->machine, &request, PLAN_USEC,
	       on_plan, NULL);
}

void step_plan(struct walk *walk)
{
	ask_plan(walk);
}

void planning_tick(struct walk *walk)
{
	if (walk->again && !walk->errands)
		ask_plan(walk);
}
