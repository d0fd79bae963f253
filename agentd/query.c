/* Query: agentd.probe, the last query before the commit. It inspects each instance, and the answer
 * has the sequence of the entry in PLOYZ_FACTS with the observed state. */
#include "agentd/agentd.h"

struct query_item {
	char *id;
	uint64_t inspection; /* number of the one that answers it */
};

struct query {
	TAILQ_ENTRY(query) link;
	struct queries *queries;
	struct bus_call *call;
	char *ns;
	struct query_item *items;
	size_t n_items;
	struct timer *limit;
};
TAILQ_HEAD(query_list, query);

struct queries {
	struct agentd *agentd;
	struct query_list list;
};

struct queries *queries_new(struct agentd *agentd)
{
	struct queries *queries = xcalloc(1, sizeof(*queries));

	queries->agentd = agentd;
	TAILQ_INIT(&queries->list);
	return queries;
}

static void query_free(struct query *query)
{
	TAILQ_REMOVE(&query->queries->list, query, link);
	timer_free(query->limit);
	for (size_t i = 0; i < query->n_items; i++)
		free(query->items[i].id);
	free(query->items);
	free(query->ns);
	free(query);
}

void queries_free(struct queries *queries)
{
	struct query *query;

	if (!queries)
		return;
	while ((query = TAILQ_FIRST(&queries->list))) {
		bus_call_drop(query->call);
		query_free(query);
	}
	free(queries);
}

/* NULL: the namespace has no such instance. */
static struct instance *fact_of(const struct query *query, const struct query_item *item)
{
	struct instance *fact = facts_get(query->queries->agentd->facts, item->id);

	return fact && streq(fact->ns, query->ns) ? fact : NULL;
}

/* An instance without a container cannot be inspected. While the last output of an ended one is
 * fetched, its state has not changed yet. */
static bool is_inspected(const struct query *query, const struct query_item *item)
{
	const struct control *control = agentd_control(query->queries->agentd, item->id);

	if (!control || !control->container)
		return true;
	return control->inspected >= item->inspection && control->verdict == EVENT_COUNT;
}

static bool all_inspected(const struct query *query)
{
	for (size_t i = 0; i < query->n_items; i++)
		if (!is_inspected(query, &query->items[i]))
			return false;
	return true;
}

static bool all_stored(const struct query *query)
{
	const struct facts *facts = query->queries->agentd->facts;

	for (size_t i = 0; i < query->n_items; i++) {
		const struct instance *fact = fact_of(query, &query->items[i]);

		if (fact && !facts_sequence(facts, fact))
			return false;
	}
	return true;
}

/* A state that is not stored has sequence 0. */
static void answer(struct query *query)
{
	const struct facts *facts = query->queries->agentd->facts;
	_cleanup_free_ struct agent_instance *instances =
		xcalloc(query->n_items + 1, sizeof(*instances));
	const struct agent_probed probed = { instances, query->n_items };

	for (size_t i = 0; i < query->n_items; i++) {
		struct instance *fact = fact_of(query, &query->items[i]);

		if (!fact)
			continue;
		instances[i].instance = fact; /* borrowed for the encoding */
		instances[i].sequence = (int64_t)facts_sequence(facts, fact);
	}
	bus_call_ok(query->call, &probed);
	query_free(query);
}

static void on_limit(void *userdata)
{
	struct query *query = userdata;
	const struct agentd *agentd = query->queries->agentd;

	if (all_inspected(query)) {
		answer(query);
		return;
	}
	bus_call_failf(query->call, FAILURE_ENGINE, "`docker info` on that machine shows its state",
		       "cannot inspect the candidates on machine %s: the container engine did not "
		       "answer within %llu s",
		       agentd->config->daemon.machine, QUERY_USEC / 1000000);
	query_free(query);
}

void queries_poll(struct queries *queries)
{
	struct query *query = TAILQ_FIRST(&queries->list), *next;

	for (; query; query = next) {
		next = TAILQ_NEXT(query, link);
		if (all_inspected(query) && all_stored(query))
			answer(query);
	}
}

void queries_serve(struct queries *queries, struct bus_call *call,
		   const struct agent_probe *request)
{
	struct query *query = xcalloc(1, sizeof(*query));

	query->queries = queries;
	query->call = call;
	query->ns = xstrdup(request->command.ns);
	TAILQ_INSERT_TAIL(&queries->list, query, link);
	query->limit = timer_new(queries->agentd->daemon->loop, on_limit, query);
	timer_arm(query->limit, QUERY_USEC);
	for (char **id = request->instances; id && *id; id++) {
		struct query_item *item = array_add(query->items, query->n_items);
		struct control *control = agentd_control(queries->agentd, *id);

		item->id = xstrdup(*id);
		item->inspection = control ? control_inspect(control) : 0;
	}
	queries_poll(queries);
}
