#include "agentd/agentd.h"

/* Somebody waits to hear of a state, once the log has it. */
struct hearer {
	uint64_t version; /* of the namespace's list that holds it */
	char *audience;
	struct progress progress;
};

/* A namespace's list: every change of a turn of the loop goes out in one entry. */
struct fact_list {
	struct facts *facts;
	char *ns;
	struct instance **instances;
	size_t n_instances;
	uint64_t version;   /* raised by each change */
	struct map touched; /* instance → version of its own last change, as a number; absent: an
			       earlier life's */
	uint64_t sent;	    /* version that is on its way, or was last */
	uint64_t acked;	    /* version that the log has */
	uint64_t sequence;  /* of that entry */
	struct bus_request *request;
	struct hearer *hearers;
	size_t n_hearers;
};

struct facts {
	struct agentd *agentd;
	struct map lists; /* ns → struct fact_list */
	struct deferred *flush;
	struct timer *gather; /* until what can wait is sent */
	struct timer *again;
	struct stream_follow *follow; /* while an earlier life's facts are read */
	bool loaded;
	bool troubled;		/* said that the store does not take them */
	struct failure refused; /* set: why it takes none, such as a full disk */
	struct bus_request *health;
};

static void flush(void *userdata);

struct facts *facts_new(struct agentd *agentd)
{
	struct facts *facts = xcalloc(1, sizeof(*facts));

	facts->agentd = agentd;
	facts->flush = deferred_new(agentd->daemon->loop, flush, facts);
	facts->gather = timer_new(agentd->daemon->loop, flush, facts);
	facts->again = timer_new(agentd->daemon->loop, flush, facts);
	return facts;
}

static void hearer_clear(struct hearer *hearer)
{
	free(hearer->audience);
	codec_clear(&progress_schema, &hearer->progress);
}

static void list_free(void *p)
{
	struct fact_list *list = p;

	map_clear(&list->touched, NULL);

	if (list->request)
		bus_request_cancel(list->request);
	for (size_t i = 0; i < list->n_instances; i++)
		instance_free(list->instances[i]);
	free(list->instances);
	for (size_t i = 0; i < list->n_hearers; i++)
		hearer_clear(&list->hearers[i]);
	free(list->hearers);
	free(list->ns);
	free(list);
}

void facts_free(struct facts *facts)
{
	if (!facts)
		return;
	stream_follow_free(facts->follow);
	bus_request_cancel(facts->health);
	failure_clear(&facts->refused);
	map_clear(&facts->lists, list_free);
	deferred_free(facts->flush);
	timer_free(facts->gather);
	timer_free(facts->again);
	free(facts);
}

static struct fact_list *list_of(struct facts *facts, const char *ns)
{
	struct fact_list *list = map_get(&facts->lists, ns);

	if (list)
		return list;
	list = xcalloc(1, sizeof(*list));
	list->facts = facts;
	list->ns = xstrdup(ns);
	map_put(&facts->lists, ns, list);
	return list;
}

bool facts_loaded(const struct facts *facts)
{
	return facts->loaded;
}

static void on_entry(const struct stream_entry *entry, void *userdata)
{
	struct facts *facts = userdata;
	struct failure failure = FAILURE_INIT;
	struct instances *instances = NULL;
	struct fact_list *list;

	if (codec_parse(&instances_schema, entry->data, entry->size, CODEC_LENIENT,
			(void **)&instances, &failure) < 0) {
		/* Ours alone to write: the next change replaces it. */
		log_warning("the log's entry %s cannot be read (%s%s%s)", entry->subject,
			    failure.path ? failure.path : "", failure.path ? ": " : "",
			    failure.message);
		failure_clear(&failure);
		return;
	}
	list = list_of(facts, instances->ns);
	for (size_t i = 0; i < list->n_instances; i++)
		instance_free(list->instances[i]);
	list->n_instances = 0;
	free(steal(list->instances));
	for (size_t i = 0; i < instances->n_instances; i++) {
		struct instance **place = array_add(list->instances, list->n_instances);

		*place = codec_copy(&instance_schema, &instances->instances[i]);
	}
	list->sequence = entry->sequence;
	instances_free(instances);
}

static void on_live(_unused_ uint64_t sequence, void *userdata)
{
	struct facts *facts = userdata;

	stream_follow_free(steal(facts->follow));
	facts->loaded = true;
	facts->troubled = false;
	adopt_begin(facts->agentd);
	agentd_say_status(facts->agentd);
}

static void on_lost(const struct failure *why, void *userdata)
{
	struct facts *facts = userdata;

	if (facts->troubled)
		return;
	facts->troubled = true;
	log_warning("cannot read this machine's facts from the log: %s; trying again until it can",
		    why->message);
	agentd_say_status(facts->agentd);
}

void facts_load(struct facts *facts)
{
	static const struct stream_follow_ops ops = { .entry = on_entry,
						      .live = on_live,
						      .lost = on_lost };
	_cleanup_free_ char *filter =
		subject_make(SUBJECT_INSTANCES, facts->agentd->config->daemon.machine, "*");
	struct stream_follow_options options = {
		.domain = STORE_DOMAIN,
		.stream = STREAM_INTENT,
		.filter = filter,
		.from = STREAM_FROM_LAST_PER_SUBJECT,
	};

	facts->follow = stream_follow_new(facts->agentd->daemon->bus, &options, &ops, facts);
}

struct instance *facts_get(struct facts *facts, const char *id)
{
	for (struct map_item *i = NULL; (i = map_next(&facts->lists, i));) {
		struct fact_list *list = i->value;

		for (size_t j = 0; j < list->n_instances; j++)
			if (streq(list->instances[j]->id, id))
				return list->instances[j];
	}
	return NULL;
}

struct instance *facts_add(struct facts *facts, struct instance *instance)
{
	struct fact_list *list = list_of(facts, instance->ns);
	struct instance **place = array_add(list->instances, list->n_instances);

	*place = instance;
	facts_touch(facts, instance);
	return instance;
}

void facts_touch(struct facts *facts, const struct instance *instance)
{
	struct fact_list *list = list_of(facts, instance->ns);

	list->version++;
	map_put(&list->touched, instance->id, (void *)(uintptr_t)list->version);
	/* Nobody sends requests to what is not ready: what is being made can wait for the other
	 * instances of its deploy, what starts for its first probe. */
	if (instance->state == INSTANCE_PULLING || instance->state == INSTANCE_CREATED)
		timer_arm_within(facts->gather, FACTS_GATHER_USEC);
	else if (instance->state == INSTANCE_STARTING)
		timer_arm_within(facts->gather, FACTS_PROBE_USEC);
	else
		deferred_schedule(facts->flush);
}

void facts_state(struct facts *facts, struct instance *instance, enum instance_state state,
		 const char *reason, const char *audience)
{
	struct fact_list *list = list_of(facts, instance->ns);
	struct hearer *hearer;
	char *why = xstrdup(reason);

	instance->state = (int)state;
	free(instance->reason);
	instance->reason = why;
	free(instance->since);
	instance->since = time_format(time_now_usec());
	facts_touch(facts, instance);
	if (!audience)
		return;
	hearer = array_add(list->hearers, list->n_hearers);
	hearer->version = list->version;
	hearer->audience = xstrdup(audience);
	codec_init(&progress_schema, &hearer->progress);
	hearer->progress.kind = PROGRESS_SLOT;
	hearer->progress.ns = xstrdup(instance->ns);
	hearer->progress.service = xstrdup(instance->service);
	hearer->progress.slot = instance->slot;
	hearer->progress.instance = xstrdup(instance->id);
	hearer->progress.state = xstrdup(instance_state_names[state]);
	/* `reason` may have been the instance's own, which is gone by now. */
	hearer->progress.message = xstrdup(instance->reason);
}

void facts_forget(struct facts *facts, const char *ns)
{
	struct fact_list *list = map_get(&facts->lists, ns);
	size_t kept = 0;

	if (!list)
		return;
	for (size_t i = 0; i < list->n_instances; i++) {
		struct instance *instance = list->instances[i];

		if (states_is_end((enum instance_state)instance->state) &&
		    !agentd_control(facts->agentd, instance->id)) {
			map_remove(&list->touched, instance->id);
			instance_free(instance);
			list->version++;
		} else {
			list->instances[kept++] = instance;
		}
	}
	if (kept < list->n_instances) {
		/* array_add counts on zeroes behind the last element. */
		memset(list->instances + kept, 0,
		       (list->n_instances - kept) * sizeof(*list->instances));
		list->n_instances = kept;
		deferred_schedule(facts->flush);
	}
}

uint64_t facts_sequence(const struct facts *facts, const struct instance *instance)
{
	const struct fact_list *list = map_get(&facts->lists, instance->ns);

	/* Its own last change counts: another instance's may still be on its way. */
	return list && (uintptr_t)map_get(&list->touched, instance->id) <= list->acked
		       ? list->sequence
		       : 0;
}

void facts_each(struct facts *facts, void (*fn)(struct instance *fact, void *userdata),
		void *userdata)
{
	for (struct map_item *i = NULL; (i = map_next(&facts->lists, i));) {
		struct fact_list *list = i->value;

		for (size_t j = 0; j < list->n_instances; j++)
			fn(list->instances[j], userdata);
	}
}

static void tell_hearers(struct fact_list *list)
{
	size_t kept = 0;

	for (size_t i = 0; i < list->n_hearers; i++) {
		struct hearer *hearer = &list->hearers[i];

		if (hearer->version <= list->acked) {
			bus_say(list->facts->agentd, hearer->audience, &hearer->progress);
			hearer_clear(hearer);
		} else {
			list->hearers[kept++] = *hearer;
		}
	}
	if (kept < list->n_hearers)
		memset(list->hearers + kept, 0, (list->n_hearers - kept) * sizeof(*list->hearers));
	list->n_hearers = kept;
}

/* A store that can write nothing more does not answer, but says why when it is asked. */
static void on_health(_unused_ const struct failure *failure, const char *server,
		      const char *trouble, void *userdata)
{
	struct facts *facts = userdata;

	facts->health = NULL;
	if (trouble)
		stream_disk_full(trouble, server, &facts->refused);
}

const struct failure *facts_refused(const struct facts *facts)
{
	return failure_is_set(&facts->refused) ? &facts->refused : NULL;
}

static void on_appended(enum stream_outcome outcome, uint64_t sequence,
			const struct failure *failure, void *userdata)
{
	struct fact_list *list = userdata;
	struct facts *facts = list->facts;

	list->request = NULL;
	if (outcome != STREAM_DONE) {
		list->sent = list->acked;
		if (!facts->troubled)
			log_warning("the log does not take the facts of namespace %s: %s; trying "
				    "again every second",
				    list->ns, failure->message);
		facts->troubled = true;
		if (outcome == STREAM_REFUSED)
			failure_copy(&facts->refused, failure);
		else if (!facts->health)
			stream_health(facts->agentd->daemon->bus, STORE_DOMAIN, FACTS_HEALTH_USEC,
				      on_health, facts, &facts->health);
		timer_arm(facts->again, FACTS_AGAIN_USEC);
		agentd_say_status(facts->agentd);
		return;
	}
	if (facts->troubled) {
		log_notice("the log takes facts again");
		facts->troubled = false;
		failure_clear(&facts->refused);
		agentd_say_status(facts->agentd);
	}
	list->acked = list->sent;
	list->sequence = sequence;
	tell_hearers(list);
	if (list->acked != list->version)
		deferred_schedule(facts->flush);
}

static void send_list(struct fact_list *list)
{
	struct facts *facts = list->facts;
	const char *machine = facts->agentd->config->daemon.machine;
	_cleanup_free_ char *subject = subject_make(SUBJECT_INSTANCES, machine, list->ns);
	_cleanup_free_ struct instance *instances =
		xcalloc(list->n_instances + 1, sizeof(*instances));
	struct instances entry = { (char *)machine, list->ns, instances, list->n_instances };
	_cleanup_free_ char *text = NULL;
	struct stream_append append = { .subject = subject,
					.expected = STREAM_ANY,
					.rollup = true };

	for (size_t i = 0; i < list->n_instances; i++)
		instances[i] = *list->instances[i]; /* borrowed for the encoding */
	text = codec_print(&instances_schema, &entry);
	append.data = text;
	append.size = strlen(text);
	list->sent = list->version;
	stream_append(facts->agentd->daemon->bus, &append, on_appended, list, &list->request);
}

static void flush(void *userdata)
{
	struct facts *facts = userdata;

	/* Before our own past is read nothing is written over it. */
	if (!facts->loaded)
		return;
	for (struct map_item *i = NULL; (i = map_next(&facts->lists, i));) {
		struct fact_list *list = i->value;

		if (!list->request && list->acked != list->version)
			send_list(list);
	}
}

json_t *facts_status(const struct facts *facts)
{
	json_t *namespaces = json_object();

	for (struct map_item *i = NULL; (i = map_next(&facts->lists, i));) {
		const struct fact_list *list = i->value;

		json_object_set_new(namespaces, list->ns,
				    json_pack("{s:I, s:I, s:b}", "instances",
					      (json_int_t)list->n_instances, "sequence",
					      (json_int_t)list->sequence, "acknowledged",
					      list->acked == list->version));
	}
	return json_pack("{s:b, s:o}", "loaded", facts->loaded, "namespaces", namespaces);
}
