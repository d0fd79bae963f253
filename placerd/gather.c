/* One plan: a snapshot of the store, then the committed manifests and every machine's probe, then
 * the planner. */
#include "placerd/placerd.h"

struct gathering {
	struct gathering *next;
	struct placerd *placerd;
	struct bus_call *call;
	const struct plan_request *request; /* the call's */
	struct snapshot *snapshot;
	struct manifests *manifests;
	struct bus_scatter *scatter;
	struct probing *own; /* this machine's: a function call, not a request over the bus */
	size_t waiting;	     /* for manifests, this machine's probe, the others' probes */
	char **images;	     /* whose ids the probes should tell */
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
	manifests_free(g->manifests);
	snapshot_free(g->snapshot);
	if (g->scatter)
		bus_scatter_cancel(g->scatter);
	if (g->own)
		probe_drop(g->own);
	strv_free(g->images);
	free(g);
}

static void fail(struct gathering *g, const struct failure *failure)
{
	bus_call_fail(g->call, failure);
	gather_drop(g);
}

/* The snapshot as the planner takes it; the arrays are owned by the views. */
struct views {
	struct machine_view *machines;
	struct namespace_view *others;
	size_t n_others;
	struct route_claimed *claims;
	const struct head **heads;
	char **unreadable;
	struct route_known routes;
};

static void views_clear(struct views *views)
{
	free(views->machines);
	free(views->others);
	free(views->claims);
	free(views->heads);
	strv_free(views->unreadable);
}

static void view_namespaces(struct views *views, const struct snapshot *s, const char *own)
{
	views->others = xcalloc(s->n_namespaces + 1, sizeof(*views->others));
	views->heads = xcalloc(s->n_namespaces + 1, sizeof(*views->heads));
	for (size_t i = 0; i < s->n_namespaces; i++) {
		const struct namespace_entry *entry = &s->namespaces[i];

		if (!entry->head) {
			strv_push(&views->unreadable, xstrdup(entry->ns));
			continue;
		}
		views->heads[views->routes.n_heads++] = entry->head;
		if (!streq(entry->ns, own))
			views->others[views->n_others++] =
				(struct namespace_view){ entry->head, entry->manifest };
	}
}

static void view_snapshot(struct views *views, const struct snapshot *s, const char *own)
{
	views->machines = xcalloc(s->n_members + 1, sizeof(*views->machines));
	for (size_t i = 0; i < s->n_members; i++)
		views->machines[i] =
			(struct machine_view){ s->members[i].member, s->members[i].error,
					       s->members[i].probe, s->members[i].probe_error };
	view_namespaces(views, s, own);
	views->claims = xcalloc(s->n_claims + 1, sizeof(*views->claims));
	for (size_t i = 0; i < s->n_claims; i++)
		views->claims[i] =
			(struct route_claimed){ s->claims[i].claim, s->claims[i].sequence };
	views->routes.claims = views->claims;
	views->routes.n_claims = s->n_claims;
	views->routes.heads = views->heads;
	views->routes.unreadable = views->unreadable;
}

static void answer(struct gathering *g)
{
	const struct snapshot *s = g->snapshot;
	const char *ns = g->request->manifest->ns;
	const struct namespace_entry *own = snapshot_namespace(s, ns);
	_cleanup_(views_clear) struct views views = { .n_others = 0 };
	_cleanup_(plan_freep) struct plan *plan = NULL;

	view_snapshot(&views, s, ns);
	plan = plan_make(&(struct plan_input){
		.manifest = g->request->manifest,
		.digests = &g->request->digests,
		.head = own ? own->head : NULL,
		.entry = own ? own->sequence : 0,
		.sequence =
			own && own->head->revision ? head_committed(own->head, own->sequence) : 0,
		.before = own ? own->manifest : NULL,
		.others = views.others,
		.n_others = views.n_others,
		.machines = views.machines,
		.n_machines = s->n_members,
		.regions = (const struct region *const *)s->regions,
		.n_regions = s->n_regions,
		.routes = &views.routes,
		.deploy = g->request->deploy,
	});
	for (char **warning = s->warnings; warning && *warning; warning++)
		strv_push(&plan->warnings, xstrdup(*warning));
	log_write(LOG_DEBUG, &(struct log_about){ .ns = plan->ns, .deploy = g->request->deploy },
		  "plan: %zu slots, %zu refusals, %zu machines", plan->n_slots, plan->n_refusals,
		  s->n_members);
	g->placerd->plans++;
	bus_call_ok(g->call, plan);
	gather_drop(g);
}

static struct member_entry *find_member(struct gathering *g, const char *machine)
{
	for (size_t i = 0; i < g->snapshot->n_members; i++)
		if (streq(g->snapshot->members[i].member->id, machine))
			return &g->snapshot->members[i];
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

	g->own = NULL;
	find_member(g, probe->machine)->probe = probe;
	one_less(g);
}

static void on_probe(const char *machine, const struct failure *failure, void *answered,
		     void *userdata)
{
	struct gathering *g = userdata;
	struct member_entry *entry = machine ? find_member(g, machine) : NULL;

	if (!machine) {
		g->scatter = NULL;
		one_less(g);
	} else if (failure) {
		free(entry->probe_error);
		entry->probe_error = xstrdup(failure->message);
	} else if (!streq(((struct probe *)answered)->machine, machine)) {
		free(entry->probe_error);
		entry->probe_error = xasprintf("machine %s answered for it",
					       ((struct probe *)answered)->machine);
	} else {
		entry->probe = codec_copy(&probe_schema, answered);
	}
}

static void on_manifests(const struct failure *failure, void *userdata)
{
	struct gathering *g = userdata;

	if (failure) {
		fail(g, failure);
		return;
	}
	manifests_free(steal(g->manifests));
	one_less(g);
}

static void push_new(char ***list, const char *item)
{
	if (!strv_contains(*list, item))
		strv_push(list, xstrdup(item));
}

/* A pinned image is also requested by its id: its name may be removed, or name another image. */
static void list_images(struct gathering *g)
{
	const struct manifest *manifest = g->request->manifest;

	for (size_t i = 0; i < manifest->n_services; i++) {
		const char *pinned = pairs_get(&g->request->digests, manifest->services[i].name);

		push_new(&g->images, manifest->services[i].image);
		if (pinned)
			push_new(&g->images, pinned);
	}
}

static void on_snapshot(const struct failure *failure, void *userdata)
{
	struct gathering *g = userdata;
	const char *self = g->placerd->config->daemon.machine;
	_cleanup_(strv_freep) char **others = NULL;

	if (failure) {
		fail(g, failure);
		return;
	}
	list_images(g);
	for (size_t i = 0; i < g->snapshot->n_members; i++)
		if (!streq(g->snapshot->members[i].member->id, self))
			strv_push(&others, xstrdup(g->snapshot->members[i].member->id));
	g->waiting = 1 + (find_member(g, self) ? 1 : 0) + (others ? 1 : 0);
	g->manifests = manifests_read(g->placerd, g->snapshot, on_manifests, g);
	if (find_member(g, self))
		g->own = probe_make(g->placerd, g->images, on_own_probe, g);
	if (others)
		bus_scatter(g->placerd->daemon->bus, SUBJECT_PROBE, others,
			    &(struct probe_request){ .images = g->images }, PROBE_USEC, on_probe, g,
			    &g->scatter);
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
	struct gathering *g = xcalloc(1, sizeof(*g));

	g->placerd = placerd;
	g->call = call;
	g->request = request;
	g->next = placerd->gatherings;
	placerd->gatherings = g;
	g->snapshot = snapshot_read(placerd, request->manifest->ns, (uint64_t)request->head,
				    on_snapshot, g);
}
