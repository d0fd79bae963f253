/* Facts: the states of this machine's instances, one list per namespace. Each list is one entry in
 * PLOYZ_FACTS, written by compare-and-set: another writer there is another machine with this id. */
#include "agentd/agentd.h"

/* A change of state, reported to a deploy's progress once it is acknowledged. */
struct report {
	uint64_t version; /* of the namespace's list that holds it */
	char *subscriber;
	struct progress progress;
};

/* A namespace's list: all changes of a turn of the loop go out in one entry. */
struct fact_list {
	struct facts *facts;
	char *ns;
	struct instance **instances;
	size_t n_instances;
	uint64_t version;   /* raised by each change */
	struct map touched; /* instance → version of its own last change, as a number; absent: an
			       earlier process's */
	uint64_t sent;	    /* version that is on its way, or was last */
	uint64_t acked;	    /* version that is stored */
	uint64_t sequence;  /* of the subject's last entry, as far as it is known */
	char *stored;	    /* the instances in it, encoded; NULL: not known */
	char *sending;	    /* those on their way */
	char *nonce;	    /* of that write */
	struct cas *cas;
	struct bus_request *read; /* of the entry that the write did not expect */
	bool cloned;		  /* another machine writes it: this one does not any more */
	struct report *reports;
	size_t n_reports;
};

struct facts {
	struct agentd *agentd;
	struct map lists; /* ns → struct fact_list */
	struct deferred *flush;
	struct timer *gather; /* until what can wait is sent */
	struct timer *retry;
	struct stream_follow *follow; /* while an earlier process's facts are read */
	bool loaded;
	int64_t generation;	/* of the store, as a head last showed it; 0: none did */
	bool failing;		/* it was logged that the store refuses them */
	struct failure refused; /* set: why it takes none, such as a full disk */
	struct failure cloned;	/* set: another machine has this one's id */
};

static void flush(void *userdata);

struct facts *facts_new(struct agentd *agentd)
{
	struct facts *facts = xcalloc(1, sizeof(*facts));

	facts->agentd = agentd;
	facts->flush = deferred_new(agentd->daemon->loop, flush, facts);
	facts->gather = timer_new(agentd->daemon->loop, flush, facts);
	facts->retry = timer_new(agentd->daemon->loop, flush, facts);
	return facts;
}

static void report_clear(struct report *report)
{
	free(report->subscriber);
	codec_clear(&progress_schema, &report->progress);
}

static void list_free(void *p)
{
	struct fact_list *list = p;

	map_clear(&list->touched, NULL);
	cas_free(list->cas);
	bus_request_cancel(list->read);
	free(list->stored);
	free(list->sending);
	free(list->nonce);
	for (size_t i = 0; i < list->n_instances; i++)
		instance_free(list->instances[i]);
	free(list->instances);
	for (size_t i = 0; i < list->n_reports; i++)
		report_clear(&list->reports[i]);
	free(list->reports);
	free(list->ns);
	free(list);
}

void facts_free(struct facts *facts)
{
	if (!facts)
		return;
	stream_follow_free(facts->follow);
	failure_clear(&facts->refused);
	failure_clear(&facts->cloned);
	map_clear(&facts->lists, list_free);
	deferred_free(facts->flush);
	timer_free(facts->gather);
	timer_free(facts->retry);
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

static void take_entry(struct fact_list *list, const struct instances *instances)
{
	for (size_t i = 0; i < list->n_instances; i++)
		instance_free(list->instances[i]);
	list->n_instances = 0;
	free(steal(list->instances));
	for (size_t i = 0; i < instances->n_instances; i++)
		*array_add(list->instances, list->n_instances) =
			codec_copy(&instance_schema, &instances->instances[i]);
}

static void on_entry(const struct stream_entry *entry, void *userdata)
{
	struct facts *facts = userdata;
	struct failure failure = FAILURE_INIT;
	struct instances *instances = NULL;
	_cleanup_free_ char *ns = NULL;
	struct fact_list *list;

	if (!subject_match(SUBJECT_INSTANCES, entry->subject, NULL, &ns))
		return;
	list = list_of(facts, ns);
	list->sequence = entry->sequence;
	if (codec_parse(&instances_schema, entry->data, entry->size, CODEC_LENIENT,
			(void **)&instances, &failure) < 0) {
		/* Only this machine writes it. */
		log_warning("cannot decode entry %llu on %s: %s%s%s; the next change replaces it",
			    (unsigned long long)entry->sequence, entry->subject,
			    failure.path ? failure.path : "", failure.path ? ": " : "",
			    failure.message);
		failure_clear(&failure);
		return;
	}
	take_entry(list, instances);
	instances_free(instances);
}

static void on_live(_unused_ uint64_t sequence, void *userdata)
{
	struct facts *facts = userdata;

	stream_follow_free(steal(facts->follow));
	facts->loaded = true;
	facts->failing = false;
	records_write_facts(facts->agentd->records);
	adopt_begin(facts->agentd);
	agentd_update_status(facts->agentd);
}

static void on_lost(const struct failure *why, void *userdata)
{
	struct facts *facts = userdata;

	if (facts->failing)
		return;
	facts->failing = true;
	log_warning("cannot read this machine's facts from %s: %s; retrying until it answers",
		    STREAM_FACTS, why->message);
	agentd_update_status(facts->agentd);
}

void facts_load(struct facts *facts)
{
	static const struct stream_follow_ops ops = { .entry = on_entry,
						      .live = on_live,
						      .lost = on_lost };
	_cleanup_free_ char *filter =
		subject_make(SUBJECT_INSTANCES, facts->agentd->config->daemon.machine, "*");
	const char *const filters[] = { filter, NULL };
	struct stream_follow_options options = {
		.domain = STORE_DOMAIN,
		.stream = STREAM_FACTS,
		.filters = filters,
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
	/* An instance that is not ready gets no traffic, so its fact can wait: while it is created
	 * for the other instances of its deploy, while it starts for its first probe. A pre_deploy
	 * command resolves names as soon as it runs, and the resolver identifies it by the address
	 * in its fact. */
	if (instance->slot == INSTANCE_RUN_SLOT)
		deferred_schedule(facts->flush);
	else if (instance->state == INSTANCE_PULLING || instance->state == INSTANCE_CREATED)
		timer_arm_within(facts->gather, FACTS_GATHER_USEC);
	else if (instance->state == INSTANCE_STARTING)
		timer_arm_within(facts->gather, FACTS_PROBE_USEC);
	else
		deferred_schedule(facts->flush);
}

void facts_state(struct facts *facts, struct instance *instance, enum instance_state state,
		 const char *reason, const char *subscriber)
{
	struct fact_list *list = list_of(facts, instance->ns);
	struct report *report;
	char *why = xstrdup(reason);

	instance->state = (int)state;
	free(instance->reason);
	instance->reason = why;
	free(instance->since);
	instance->since = time_format(time_now_usec());
	facts_touch(facts, instance);
	if (!subscriber)
		return;
	report = array_add(list->reports, list->n_reports);
	report->version = list->version;
	report->subscriber = xstrdup(subscriber);
	codec_init(&progress_schema, &report->progress);
	report->progress.kind = PROGRESS_SLOT;
	report->progress.ns = xstrdup(instance->ns);
	report->progress.service = xstrdup(instance->service);
	report->progress.slot = instance->slot;
	report->progress.instance = xstrdup(instance->id);
	report->progress.state = xstrdup(instance_state_names[state]);
	/* `reason` may have been the instance's own, which was freed above. */
	report->progress.message = xstrdup(instance->reason);
}

/* array_add counts on zeroes behind the last element. */
static void keep(struct fact_list *list, size_t kept)
{
	if (kept == list->n_instances)
		return;
	memset(list->instances + kept, 0, (list->n_instances - kept) * sizeof(*list->instances));
	list->n_instances = kept;
	list->version++;
	deferred_schedule(list->facts->flush);
}

void facts_drop(struct facts *facts, struct instance *instance)
{
	struct fact_list *list = list_of(facts, instance->ns);
	size_t kept = 0;

	for (size_t i = 0; i < list->n_instances; i++)
		if (list->instances[i] != instance)
			list->instances[kept++] = list->instances[i];
	keep(list, kept);
	map_remove(&list->touched, instance->id);
	instance_free(instance);
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
		} else {
			list->instances[kept++] = instance;
		}
	}
	keep(list, kept);
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

static void send_reports(struct fact_list *list)
{
	size_t kept = 0;

	for (size_t i = 0; i < list->n_reports; i++) {
		struct report *report = &list->reports[i];

		if (report->version <= list->acked) {
			bus_progress(list->facts->agentd, report->subscriber, &report->progress);
			report_clear(report);
		} else {
			list->reports[kept++] = *report;
		}
	}
	if (kept < list->n_reports)
		memset(list->reports + kept, 0, (list->n_reports - kept) * sizeof(*list->reports));
	list->n_reports = kept;
}

const struct failure *facts_refused(const struct facts *facts)
{
	if (failure_is_set(&facts->cloned))
		return &facts->cloned;
	return failure_is_set(&facts->refused) ? &facts->refused : NULL;
}

/* --- writing */

/* A refusal is remembered only while a write is outstanding; afterwards it would refuse every start
 * although nothing asks the store again. */
static void forget_refusal(struct facts *facts)
{
	if (!facts->failing)
		return;
	facts->failing = false;
	failure_clear(&facts->refused);
	agentd_update_status(facts->agentd);
}

static void acknowledged(struct fact_list *list, uint64_t sequence)
{
	struct facts *facts = list->facts;

	if (facts->failing)
		log_notice("%s takes facts again", STREAM_FACTS);
	forget_refusal(facts);
	list->acked = list->sent;
	list->sequence = sequence;
	free(list->stored);
	list->stored = steal(list->sending);
	send_reports(list);
	agentd_changed(facts->agentd);
	if (list->acked != list->version)
		deferred_schedule(facts->flush);
}

/* The next attempt sends the facts of that time. */
static void failed(struct fact_list *list, const struct failure *failure)
{
	struct facts *facts = list->facts;

	list->sent = list->acked;
	timer_arm_within(facts->retry, FACTS_RETRY_USEC);
	if (failure->code == FAILURE_REFUSED)
		failure_copy(&facts->refused, failure);
	if (facts->failing)
		return;
	facts->failing = true;
	log_warning("cannot append the facts of namespace %s: %s; retrying every second", list->ns,
		    failure->message);
	agentd_update_status(facts->agentd);
}

/* Two machines that report as one: each answers the other's commands. Nothing is overwritten, and
 * nothing is started, until an operator has given one of them another id. */
static void cloned(struct fact_list *list, uint64_t sequence)
{
	struct facts *facts = list->facts;

	list->cloned = true;
	failure_set(&facts->cloned, FAILURE_REFUSED,
		    "give one of the two machines another id, then restart agentd",
		    "cannot report for machine %s: another machine with this id wrote the facts of "
		    "namespace %s (entry %llu of %s)",
		    facts->agentd->config->daemon.machine, list->ns, (unsigned long long)sequence,
		    STREAM_FACTS);
	log_write(LOG_CRIT, NULL, "%s; %s; nothing is started", facts->cloned.message,
		  facts->cloned.hint);
	agentd_update_status(facts->agentd);
}

/* The last entry of the subject decides the outcome of a write and the sequence that the next one
 * expects. */
static void on_read(const struct failure *failure, const struct stream_entry *entry, void *userdata)
{
	struct fact_list *list = userdata;
	const struct records *records = list->facts->agentd->records;
	struct instances unknown = { 0 }, *instances = NULL;
	uint64_t sequence = entry ? entry->sequence : 0;

	list->read = NULL;
	if (failure) {
		failed(list, failure);
		return;
	}
	/* An entry that cannot be decoded is not this machine's. */
	if (entry)
		codec_parse(&instances_schema, entry->data, entry->size, CODEC_LENIENT,
			    (void **)&instances, NULL);
	switch (facts_judge(!entry	? NULL
			    : instances ? instances
					: &unknown,
			    sequence, list->sequence, list->nonce, records_incarnation(records),
			    records_previous(records))) {
	case FACTS_STORED:
		acknowledged(list, sequence);
		break;
	case FACTS_RETRY:
		list->sequence = sequence;
		list->sent = list->acked;
		timer_arm_within(list->facts->retry, FACTS_RETRY_USEC);
		break;
	case FACTS_CLONED:
		cloned(list, sequence);
		break;
	}
	instances_free(instances);
}

static void read_back(struct fact_list *list)
{
	_cleanup_free_ char *subject = subject_make(
		SUBJECT_INSTANCES, list->facts->agentd->config->daemon.machine, list->ns);

	stream_last(list->facts->agentd->daemon->bus, STORE_DOMAIN, STREAM_FACTS, subject,
		    FACTS_READ_USEC, on_read, list, &list->read);
}

static void on_appended(enum cas_outcome outcome, uint64_t sequence, const struct failure *failure,
			void *userdata)
{
	struct fact_list *list = userdata;

	cas_free(steal(list->cas));
	switch (outcome) {
	case CAS_DONE:
		acknowledged(list, sequence);
		break;
	case CAS_REFUSED:
		failed(list, failure);
		break;
	case CAS_SUPERSEDED:
	case CAS_CONFLICT:
		read_back(list);
		break;
	case CAS_UNKNOWN:
		failed(list, failure);
		read_back(list);
		break;
	}
}

static void on_waiting(const char *why, void *userdata)
{
	struct fact_list *list = userdata;
	struct failure failure = FAILURE_INIT;

	if (stream_disk_full(why, NULL, &failure))
		failure_copy(&list->facts->refused, &failure);
	if (!list->facts->failing) {
		list->facts->failing = true;
		log_warning("cannot append the facts of namespace %s: %s; retrying", list->ns, why);
		agentd_update_status(list->facts->agentd);
	}
	failure_clear(&failure);
}

static json_t *encode(const struct fact_list *list)
{
	const char *machine = list->facts->agentd->config->daemon.machine;
	_cleanup_free_ struct instance *instances =
		xcalloc(list->n_instances + 1, sizeof(*instances));
	const struct instances entry = { (char *)machine, list->ns, instances, list->n_instances,
					 NULL };

	for (size_t i = 0; i < list->n_instances; i++)
		instances[i] = *list->instances[i]; /* borrowed for the encoding */
	return codec_encode(&instances_schema, &entry);
}

static void send_list(struct fact_list *list)
{
	struct agentd *agentd = list->facts->agentd;
	_cleanup_free_ char *subject =
		subject_make(SUBJECT_INSTANCES, agentd->config->daemon.machine, list->ns);
	_cleanup_free_ char *text = NULL, *id = id_new();
	_cleanup_json_ json_t *json = encode(list);
	struct cas_options options = { .stream = STREAM_FACTS,
				       .key = subject,
				       .expected = list->sequence,
				       .deadline_usec = boot_now_usec() + FACTS_APPEND_USEC,
				       .eager = true };

	free(list->sending);
	list->sending = json_text(json);
	list->sent = list->version;
	/* Back to what is stored: nothing is appended when nothing has changed. */
	if (streq(list->sending, list->stored)) {
		list->acked = list->sent;
		forget_refusal(list->facts);
		send_reports(list);
		agentd_changed(agentd);
		return;
	}
	free(list->nonce);
	list->nonce = xasprintf("%s-%s", records_incarnation(agentd->records), id);
	json_object_set_new(json, "nonce", json_string(list->nonce));
	text = json_text(json);
	options.text = text;
	options.nonce = list->nonce;
	list->cas = cas_append(agentd->daemon->bus, &options, on_appended, on_waiting, list);
}

static void flush(void *userdata)
{
	struct facts *facts = userdata;

	/* Nothing is written before the facts of an earlier process were read. */
	if (!facts->loaded)
		return;
	for (struct map_item *i = NULL; (i = map_next(&facts->lists, i));) {
		struct fact_list *list = i->value;

		if (!list->cas && !list->read && !list->cloned && list->acked != list->version)
			send_list(list);
	}
}

/* What the list's entry holds is unknown. */
static void send_again(struct fact_list *list)
{
	free(steal(list->stored));
	list->version++;
	for (size_t i = 0; i < list->n_instances; i++)
		map_put(&list->touched, list->instances[i]->id, (void *)(uintptr_t)list->version);
}

void facts_generation(struct facts *facts, int64_t generation)
{
	bool raised = facts->generation && generation > facts->generation;

	facts->generation = MAX2(facts->generation, generation);
	if (!raised)
		return;
	log_notice("the store is of generation %lld now; sending this machine's facts again",
		   (long long)generation);
	for (struct map_item *i = NULL; (i = map_next(&facts->lists, i));)
		send_again(i->value);
	deferred_schedule(facts->flush);
}

json_t *facts_status(const struct facts *facts)
{
	json_t *namespaces = json_object();

	for (struct map_item *i = NULL; (i = map_next(&facts->lists, i));) {
		const struct fact_list *list = i->value;

		json_object_set_new(namespaces, list->ns,
				    json_pack("{s:I, s:I, s:b, s:b}", "instances",
					      (json_int_t)list->n_instances, "sequence",
					      (json_int_t)list->sequence, "acknowledged",
					      list->acked == list->version, "cloned",
					      list->cloned));
	}
	return json_pack("{s:b, s:o}", "loaded", facts->loaded, "namespaces", namespaces);
}
