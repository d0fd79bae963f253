/* Instances that go: connections end or their grace does, then agentd removes them, asked again
 * until they are gone. */
#include "leased/leased.h"

struct leaving {
	char *machine, *instance;
	int64_t grace_ms;
	uint64_t drain_usec; /* how long its connections may go on; 0: not waited for */
	bool drained, asking, gone;
	struct failure last; /* why it is not gone yet */
};

void leaving_clear(struct walk *walk)
{
	walk->leaving_begun = false;
	for (size_t i = 0; i < walk->n_leaving; i++) {
		struct leaving *leaving = walk->leaving[i];

		free(leaving->machine);
		free(leaving->instance);
		failure_clear(&leaving->last);
		free(leaving);
	}
	free(steal(walk->leaving));
	walk->n_leaving = 0;
}

void leaving_add(struct walk *walk, const char *machine, const char *instance, int64_t grace_ms,
		 uint64_t drain_usec)
{
	struct leaving *leaving = xcalloc(1, sizeof(*leaving));

	leaving->machine = xstrdup(machine);
	leaving->instance = xstrdup(instance);
	leaving->grace_ms = grace_ms;
	leaving->drain_usec = drain_usec;
	leaving->drained = drain_usec == 0;
	*array_add(walk->leaving, walk->n_leaving) = leaving;
}

static void reference(const struct walk *walk, const struct leaving *leaving, struct agent_ref *ret)
{
	*ret = (struct agent_ref){
		.ns = walk->request->manifest->ns,
		.epoch = holding_lease(walk->holding)->epoch,
		.deploy = walk->request->deploy,
		.instance = leaving->instance,
		.grace_ms = leaving->grace_ms,
	};
}

static bool all_gone(const struct walk *walk)
{
	for (size_t i = 0; i < walk->n_leaving; i++)
		if (!walk->leaving[i]->gone)
			return false;
	return true;
}

static void finish(struct walk *walk)
{
	leaving_clear(walk);
	walk->deadline_usec = 0;
	walk_next(walk);
}

static void on_removed(struct walk *walk, const struct failure *failure, void *answer, void *what)
{
	const struct agent_instance *removed = answer;
	struct leaving *leaving = what;

	leaving->asking = false;
	if (failure) {
		failure_copy(&leaving->last, failure);
	} else if (removed->instance && removed->instance->state != INSTANCE_GONE) {
		failure_set(&leaving->last, FAILURE_CLEANUP_PENDING, NULL, "%s is still %s",
			    leaving->instance, instance_state_names[removed->instance->state]);
	} else {
		leaving->gone = true;
		if (all_gone(walk))
			finish(walk);
	}
}

static void ask_remove(struct walk *walk, struct leaving *leaving)
{
	struct agent_ref ref;

	reference(walk, leaving, &ref);
	leaving->asking = true;
	errand(walk, SUBJECT_AGENT_REMOVE, leaving->machine, &ref, AGENT_USEC, on_removed, leaving);
}

/* No connection is left, or the grace is over. */
static void let_go(struct walk *walk, _unused_ char *const *instances)
{
	for (size_t i = 0; i < walk->n_leaving; i++) {
		struct leaving *leaving = walk->leaving[i];

		if (!leaving->drained)
			ask_remove(walk, leaving);
		leaving->drained = true;
	}
}

static void on_marked(_unused_ struct walk *walk, const struct failure *failure,
		      _unused_ void *answer, _unused_ void *what)
{
	/* Only what `ps` shows: the gateways have let go of it already. */
	if (failure)
		log_debug("not marked draining: %s", failure->message);
}

/* Marks those that still may have connections, and waits until there are none. */
static void drain(struct walk *walk)
{
	uint64_t longest = 0;
	char **instances = NULL;

	for (size_t i = 0; i < walk->n_leaving; i++) {
		struct leaving *leaving = walk->leaving[i];
		struct agent_ref ref;

		if (leaving->drained)
			continue;
		reference(walk, leaving, &ref);
		errand(walk, SUBJECT_AGENT_DRAIN, leaving->machine, &ref, AGENT_USEC, on_marked,
		       NULL);
		strv_push(&instances, xstrdup(leaving->instance));
		longest = MAX2(longest, leaving->drain_usec);
	}
	if (instances)
		draining_begin(walk, instances, 0, longest, let_go);
}

void leaving_go(struct walk *walk)
{
	uint64_t longest = 0;

	walk->leaving_begun = true;
	if (all_gone(walk)) {
		finish(walk);
		return;
	}
	for (size_t i = 0; i < walk->n_leaving; i++) {
		struct leaving *leaving = walk->leaving[i];
		uint64_t grace = leaving->grace_ms > 0 ? (uint64_t)leaving->grace_ms * 1000 : 0;

		longest = MAX2(longest, leaving->drain_usec + grace);
		if (leaving->drained)
			ask_remove(walk, leaving);
	}
	walk->deadline_usec = boot_now_usec() + longest + REMOVE_EXTRA_USEC;
	drain(walk);
}

static void give_up(struct walk *walk)
{
	struct strbuf names = STRBUF_INIT;
	const struct leaving *last = NULL;

	for (size_t i = 0; i < walk->n_leaving; i++) {
		if (walk->leaving[i]->gone)
			continue;
		last = walk->leaving[i];
		strbuf_printf(&names, "%s%s on machine %s", names.size ? ", " : "", last->instance,
			      last->machine);
	}
	walk->deadline_usec = 0;
	walk_failf(walk, walk->committed ? FAILURE_CLEANUP_PENDING : FAILURE_FAILED,
		   "the next deploy of the namespace removes them", "not removed yet: %s (%s)",
		   names.text ? names.text : "",
		   last && last->last.message ? last->last.message : "no answer");
	strbuf_clear(&names);
}

void leaving_tick(struct walk *walk)
{
	if (!walk->leaving_begun)
		return;
	if (walk->deadline_usec && boot_now_usec() > walk->deadline_usec) {
		give_up(walk);
		return;
	}
	drainings_tick(walk);
	for (size_t i = 0; i < walk->n_leaving; i++) {
		struct leaving *leaving = walk->leaving[i];

		if (leaving->drained && !leaving->asking && !leaving->gone)
			ask_remove(walk, leaving);
	}
}

void leaving_heard(struct walk *walk, const struct progress *progress)
{
	for (size_t i = 0; walk->leaving_begun && i < walk->n_leaving; i++) {
		struct leaving *leaving = walk->leaving[i];

		if (streq(progress->instance, leaving->instance) && leaving->drained &&
		    !leaving->asking && !leaving->gone)
			ask_remove(walk, leaving);
	}
}
