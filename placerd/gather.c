/* One plan: a snapshot of the intent from the store's leader, every machine's probe, then the
 * planner. */
#include "placerd/placerd.h"

/* A machine of the snapshot with its probe. */
struct member {
	struct machine *machine;
	struct probe *probe;
	char *silence;
};
struct gathering {
	struct gathering *next;
	struct placerd *placerd;
	struct bus_call *call;
	const struct plan_request *request; /* the call's */
	struct stream_follow *follow;
	struct timer *deadline; /* of the snapshot */
	struct failure lost;	/* why the store could not be read when it was last tried */
	struct bus_scatter *scatter;
	struct probing *own; /* this machine's: a function call, not a question over the bus */
	size_t waiting;	     /* probes: this machine's, the others' */
	struct head *head;   /* of the request's namespace */
	uint64_t sequence;   /* it was read at */
	struct head **others;
	size_t n_others;
	struct member *members;
	size_t n_members;
	struct region **regions;
	size_t n_regions;
	char **images;
	char **notes;	 /* entries that could not be read */
	bool unreadable; /* the namespace's own among them */
};

static void forget(struct gathering *g)
{
	struct gathering **link = &g->placerd->gatherings;

	while (*link != g)
		link = &(*link)->next;
	*link = g->next;
}

void gather_drop(struct gathering *g)
{
	forget(g);
	stream_follow_free(g->follow);
	timer_free(g->deadline);
	failure_clear(&g->lost);
	if (g->scatter)
		bus_scatter_cancel(g->scatter);
	if (g->own)
		probe_drop(g->own);
	head_free(g->head);
	for (size_t i = 0; i < g->n_others; i++)
		head_free(g->others[i]);
	free(g->others);
	for (size_t i = 0; i < g->n_members; i++) {
		machine_free(g->members[i].machine);
		probe_free(g->members[i].probe);
		free(g->members[i].silence);
	}
	free(g->members);
	for (size_t i = 0; i < g->n_regions; i++)
		region_free(g->regions[i]);
	free(g->regions);
	strv_free(g->images);
	strv_free(g->notes);
	free(g);
}

static void fail(struct gathering *g, const struct failure *failure)
{
	bus_call_fail(g->call, failure);
	gather_drop(g);
}

static void answer(struct gathering *g)
{
	struct sight *sights = xcalloc(g->n_members + 1, sizeof(*sights));
	struct plan_input input = {
		.manifest = g->request->manifest,
		.head = g->head,
		.sequence = g->head && g->head->revision ? head_committed(g->head, g->sequence) : 0,
		.others = (const struct head *const *)g->others,
		.n_others = g->n_others,
		.sights = sights,
		.n_sights = g->n_members,
		.regions = (const struct region *const *)g->regions,
		.n_regions = g->n_regions,
		.deploy = g->request->deploy,
	};
	_cleanup_(plan_freep) struct plan *plan = NULL;

	for (size_t i = 0; i < g->n_members; i++)
		sights[i] = (struct sight){ g->members[i].machine, g->members[i].probe,
					    g->members[i].silence };
	plan = plan_make(&input);
	for (char **note = g->notes; note && *note; note++)
		strv_push(&plan->warnings, xstrdup(*note));
	log_write(LOG_DEBUG, &(struct log_about){ .ns = plan->ns, .deploy = g->request->deploy },
		  "plan: %zu slots, %zu refusals, %zu machines", plan->n_slots, plan->n_refusals,
		  g->n_members);
	free(sights);
	g->placerd->plans++;
	bus_call_ok(g->call, plan);
	gather_drop(g);
}

static struct member *find_member(struct gathering *g, const char *machine)
{
	for (size_t i = 0; i < g->n_members; i++)
		if (streq(g->members[i].machine->id, machine))
			return &g->members[i];
	return NULL;
}

static void one_less(struct gathering *g)
{
	if (--g->waiting == 0)
		answer(g);
}

static void on_own_probe(struct probe *probe, void *userdata)
{
	struct gathering *g = userdata;
	struct member *member = find_member(g, probe->machine);

	g->own = NULL;
	if (member)
		member->probe = probe;
	else
		probe_free(probe);
	one_less(g);
}

static void on_probe(const char *machine, const struct failure *failure, void *answered,
		     void *userdata)
{
	struct gathering *g = userdata;
	struct member *member = machine ? find_member(g, machine) : NULL;

	if (!machine) {
		g->scatter = NULL;
		one_less(g);
	} else if (failure) {
		free(member->silence);
		member->silence = xstrdup(failure->message);
	} else if (!streq(((struct probe *)answered)->machine, machine)) {
		member->silence = xstrdup("another machine answered for it");
	} else {
		member->probe = codec_copy(&probe_schema, answered);
	}
}

static void ask_machines(struct gathering *g)
{
	const char *self = g->placerd->config->daemon.machine;
	const struct manifest *manifest = g->request->manifest;
	_cleanup_(strv_freep) char **others = NULL;

	for (size_t i = 0; i < manifest->n_services; i++)
		if (!strv_contains(g->images, manifest->services[i].image))
			strv_push(&g->images, xstrdup(manifest->services[i].image));
	for (size_t i = 0; i < g->n_members; i++)
		if (!streq(g->members[i].machine->id, self))
			strv_push(&others, xstrdup(g->members[i].machine->id));
	g->waiting = 1 + (find_member(g, self) ? 1 : 0) + (others ? 1 : 0);
	if (find_member(g, self))
		g->own = probe_make(g->placerd, g->images, on_own_probe, g);
	if (others)
		bus_scatter(g->placerd->daemon->bus, SUBJECT_PROBE, others,
			    &(struct probe_request){ .images = g->images }, PROBE_USEC, on_probe, g,
			    &g->scatter);
	one_less(g);
}

/* An entry that was written while the snapshot was read comes a second time: the later one
 * holds. */
static void take_head(struct gathering *g, struct head *head, uint64_t sequence)
{
	if (streq(head->ns, g->request->manifest->ns)) {
		head_free(g->head);
		g->head = head;
		g->sequence = sequence;
		return;
	}
	for (size_t i = 0; i < g->n_others; i++)
		if (streq(g->others[i]->ns, head->ns)) {
			head_free(g->others[i]);
			g->others[i] = head;
			return;
		}
	*array_add(g->others, g->n_others) = head;
}

static void take_machine(struct gathering *g, struct machine *machine)
{
	struct member *member = find_member(g, machine->id);

	if (!member)
		member = array_add(g->members, g->n_members);
	machine_free(member->machine);
	member->machine = machine;
}

static void take_region(struct gathering *g, struct region *region)
{
	for (size_t i = 0; i < g->n_regions; i++)
		if (streq(g->regions[i]->name, region->name)) {
			region_free(g->regions[i]);
			g->regions[i] = region;
			return;
		}
	*array_add(g->regions, g->n_regions) = region;
}

/* An entry speaks of what its subject names, or it is not one of ours. */
static int parse(const struct stream_entry *entry, const struct codec_schema *schema,
		 size_t name_at, const char *name, void **ret, struct failure *failure)
{
	int r = codec_parse(schema, entry->data, entry->size, CODEC_LENIENT, ret, failure);

	if (r < 0)
		return r;
	if (streq(*(char **)((char *)*ret + name_at), name))
		return 0;
	codec_destroy(schema, steal(*ret));
	return failure_set(failure, FAILURE_INVALID, NULL,
			   "it is about another one than its subject says");
}

/* One entry that cannot be read does not stop the others; but the namespace's own has to be
 * readable. */
static void on_entry(const struct stream_entry *entry, void *userdata)
{
	struct gathering *g = userdata;
	struct failure failure = FAILURE_INIT;
	_cleanup_free_ char *name = NULL;
	void *object = NULL;
	int r = 0;

	if (subject_match(SUBJECT_NAMESPACE, entry->subject, &name, NULL)) {
		r = parse(entry, &head_schema, offsetof(struct head, ns), name, &object, &failure);
		if (object)
			take_head(g, object, entry->sequence);
		g->unreadable |= r < 0 && streq(name, g->request->manifest->ns);
	} else if (subject_match(SUBJECT_MACHINE, entry->subject, &name, NULL)) {
		r = parse(entry, &machine_schema, offsetof(struct machine, id), name, &object,
			  &failure);
		if (object)
			take_machine(g, object);
	} else if (subject_match(SUBJECT_REGION, entry->subject, &name, NULL)) {
		r = parse(entry, &region_schema, offsetof(struct region, name), name, &object,
			  &failure);
		if (object)
			take_region(g, object);
	}
	if (r < 0)
		strv_push(&g->notes,
			  xasprintf("entry %llu of %s cannot be read and is left out: %s%s%s",
				    (unsigned long long)entry->sequence, entry->subject,
				    failure.path ? failure.path : "", failure.path ? ": " : "",
				    failure.message));
	failure_clear(&failure);
}

/* Who is still joining has nothing to offer, who was removed no more. */
static void drop_strangers(struct gathering *g)
{
	size_t n = 0;

	for (size_t i = 0; i < g->n_members; i++) {
		int life_cycle = g->members[i].machine->life_cycle;

		if (life_cycle == MACHINE_JOINING || life_cycle == MACHINE_REMOVED)
			machine_free(g->members[i].machine);
		else
			g->members[n++] = g->members[i];
	}
	g->n_members = n;
}

static void on_live(_unused_ uint64_t sequence, void *userdata)
{
	struct gathering *g = userdata;
	struct failure failure = FAILURE_INIT;

	stream_follow_free(steal(g->follow));
	timer_disarm(g->deadline);
	if (g->unreadable) {
		failure_set(&failure, FAILURE_FAILED,
			    "an older version of the programs may have met a newer one's entry",
			    "what is committed of namespace %s cannot be read: %s",
			    g->request->manifest->ns, g->notes[0]);
		fail(g, &failure);
		failure_clear(&failure);
		return;
	}
	drop_strangers(g);
	ask_machines(g);
}

static void on_restart(void *userdata)
{
	struct gathering *g = userdata;

	strv_free(steal(g->notes));
	g->unreadable = false;
}

/* The follower tries again by itself: a store that is being started is there within a second or
 * two. */
static void on_lost(const struct failure *why, void *userdata)
{
	struct gathering *g = userdata;

	if (!failure_is_set(&g->lost))
		timer_arm(g->deadline, LOST_USEC);
	failure_copy(&g->lost, why);
}

static void on_deadline(void *userdata)
{
	struct gathering *g = userdata;

	if (!failure_is_set(&g->lost))
		failure_set(&g->lost, FAILURE_NO_QUORUM,
			    "`ployzctl status` shows whether the store answers; then try again",
			    "the store did not hand over what is committed within %llu s",
			    (unsigned long long)(INTENT_USEC / 1000000));
	fail(g, &g->lost);
}

size_t gather_count(const struct placerd *placerd)
{
	size_t count = 0;

	for (const struct gathering *g = placerd->gatherings; g; g = g->next)
		count++;
	return count;
}

void gather_start(struct placerd *placerd, struct bus_call *call,
		  const struct plan_request *request)
{
	static const struct stream_follow_ops ops = {
		.entry = on_entry,
		.live = on_live,
		.restart = on_restart,
		.lost = on_lost,
	};
	const struct stream_follow_options options = {
		.domain = STORE_DOMAIN,
		.stream = STREAM_INTENT,
		.filter = INTENT_ALL,
		.from = STREAM_FROM_LAST_PER_SUBJECT,
	};
	struct gathering *g = xcalloc(1, sizeof(*g));

	g->placerd = placerd;
	g->call = call;
	g->request = request;
	g->next = placerd->gatherings;
	placerd->gatherings = g;
	g->deadline = timer_new(placerd->daemon->loop, on_deadline, g);
	timer_arm(g->deadline, INTENT_USEC);
	g->follow = stream_follow_new(placerd->daemon->bus, &options, &ops, g);
}
