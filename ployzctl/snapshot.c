/* The last entry of each subject of PLOYZ_INTENT and PLOYZ_FACTS, read once: from the store, or
 * from this machine's local mirrors while the store does not answer. */
#include "lib/streams.h"
#include "ployzctl/ployzctl.h"

/* The one read of a session exists until the program ends. */
static struct {
	struct ployzctl *ctl;
	struct snapshot snapshot;
	bool facts; /* intent is read, facts are next */
	struct stream_follow *follow;
	struct deferred *next;
	snapshot_fn fn;
	void *userdata;
} reading;

static void *decode(const struct codec_schema *schema, const struct stream_entry *entry)
{
	void *object = NULL;
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;

	if (codec_parse(schema, entry->data, entry->size, CODEC_LENIENT, &object, &failure) < 0)
		strv_push(&reading.snapshot.errors,
			  xasprintf("cannot decode entry %llu on %s: %s%s%s",
				    (unsigned long long)entry->sequence, entry->subject,
				    failure.path ? failure.path : "", failure.path ? " " : "",
				    failure.message));
	return object;
}

static void on_entry(const struct stream_entry *entry, _unused_ void *userdata)
{
	struct snapshot *snapshot = &reading.snapshot;
	void *object;

	if (subject_match(SUBJECT_NAMESPACE, entry->subject, NULL, NULL)) {
		object = decode(&head_schema, entry);
		if (object)
			*array_add(snapshot->heads, snapshot->n_heads) =
				(struct snapshot_head){ object, entry->sequence, entry->time_usec };
	} else if (subject_match(SUBJECT_MEMBER, entry->subject, NULL, NULL)) {
		object = decode(&member_schema, entry);
		if (object)
			*array_add(snapshot->members, snapshot->n_members) = object;
	} else if (subject_match(SUBJECT_INSTANCES, entry->subject, NULL, NULL)) {
		object = decode(&instances_schema, entry);
		if (object)
			*array_add(snapshot->instances, snapshot->n_instances) =
				(struct snapshot_facts){ object, entry->sequence };
	} else if (subject_match(SUBJECT_MACHINE_FACTS, entry->subject, NULL, NULL)) {
		object = decode(&machine_facts_schema, entry);
		if (object)
			*array_add(snapshot->machine_facts, snapshot->n_machine_facts) = object;
	}
}

static int compare_heads(const void *a, const void *b)
{
	const struct snapshot_head *x = a, *y = b;

	return strcmp(x->head->ns, y->head->ns);
}

static bool removed(const struct snapshot *snapshot, const char *machine)
{
	for (size_t i = 0; i < snapshot->n_members; i++)
		if (streq(snapshot->members[i]->id, machine))
			return snapshot->members[i]->life_cycle == MACHINE_REMOVED;
	return false;
}

/* Facts of a removed member count as absent. */
static void drop_removed(struct snapshot *snapshot)
{
	size_t left = 0;

	for (size_t i = 0; i < snapshot->n_instances; i++)
		if (removed(snapshot, snapshot->instances[i].list->machine))
			instances_free(snapshot->instances[i].list);
		else
			snapshot->instances[left++] = snapshot->instances[i];
	snapshot->n_instances = left;
}

static void on_live(uint64_t sequence, _unused_ void *userdata)
{
	struct snapshot *snapshot = &reading.snapshot;

	if (!reading.facts) {
		snapshot->applied.intent = (int64_t)sequence;
		reading.facts = true;
		deferred_schedule(reading.next);
		return;
	}
	snapshot->applied.facts = (int64_t)sequence;
	if (snapshot->n_heads)
		qsort(snapshot->heads, snapshot->n_heads, sizeof(*snapshot->heads), compare_heads);
	drop_removed(snapshot);
	for (char **error = snapshot->errors; error && *error; error++)
		session_refuse(FAILURE_INVALID, "it is left out", "%s", *error);
	reading.fn(snapshot, reading.userdata);
}

static void snapshot_clear(struct snapshot *snapshot)
{
	for (size_t i = 0; i < snapshot->n_heads; i++)
		head_free(snapshot->heads[i].head);
	for (size_t i = 0; i < snapshot->n_members; i++)
		member_free(snapshot->members[i]);
	for (size_t i = 0; i < snapshot->n_machine_facts; i++)
		machine_facts_free(snapshot->machine_facts[i]);
	for (size_t i = 0; i < snapshot->n_instances; i++)
		instances_free(snapshot->instances[i].list);
	free(snapshot->heads);
	free(snapshot->members);
	free(snapshot->machine_facts);
	free(snapshot->instances);
	strv_free(snapshot->errors);
	*snapshot = (struct snapshot){ 0 };
}

static void on_lost(const struct failure *why, _unused_ void *userdata)
{
	if (reading.snapshot.mirror) {
		session_fail(reading.ctl, why);
		return;
	}
	fprintf(stderr, "ployzctl: %s; reading this machine's local mirrors\n", why->message);
	snapshot_clear(&reading.snapshot);
	reading.snapshot.mirror = true;
	reading.facts = false;
	deferred_schedule(reading.next);
}

static void read_next(_unused_ void *userdata)
{
	static const struct stream_follow_ops ops = { .entry = on_entry,
						      .live = on_live,
						      .lost = on_lost };
	const struct stream_follow_options options = {
		.domain = reading.snapshot.mirror ? reading.ctl->machine : STORE_DOMAIN,
		.stream = reading.facts ? STREAM_FACTS : STREAM_INTENT,
		.from = STREAM_FROM_LAST_PER_SUBJECT,
		.once = true,
	};

	stream_follow_free(reading.follow);
	reading.follow = stream_follow_new(reading.ctl->bus, &options, &ops, NULL);
}

static void on_info(const struct failure *failure, const json_t *info, _unused_ void *userdata)
{
	if (failure) {
		on_lost(failure, NULL);
		return;
	}
	reading.snapshot.applied.generation = streams_generation(info);
	read_next(NULL);
}

void snapshot_read(struct ployzctl *ctl, snapshot_fn fn, void *userdata)
{
	reading.ctl = ctl;
	reading.fn = fn;
	reading.userdata = userdata;
	reading.next = deferred_new(ctl->loop, read_next, NULL);
	stream_info(ctl->bus, STORE_DOMAIN, STREAM_INTENT, REQUEST_USEC, on_info, NULL, NULL);
}

const struct snapshot_head *snapshot_head(const struct snapshot *snapshot, const char *ns)
{
	for (size_t i = 0; i < snapshot->n_heads; i++)
		if (streq(snapshot->heads[i].head->ns, ns))
			return &snapshot->heads[i];
	return NULL;
}

const struct instance *snapshot_instance(const struct snapshot *snapshot, const char *machine,
					 const char *id)
{
	const struct instance *found = NULL;

	for (size_t i = 0; !found && i < snapshot->n_instances; i++)
		if (streq(snapshot->instances[i].list->machine, machine))
			found = instances_find(snapshot->instances[i].list, id);
	return found;
}

const struct machine_facts *snapshot_machine_facts(const struct snapshot *snapshot,
						   const char *machine)
{
	for (size_t i = 0; i < snapshot->n_machine_facts; i++)
		if (streq(snapshot->machine_facts[i]->machine, machine))
			return snapshot->machine_facts[i];
	return NULL;
}

char **snapshot_machines(const struct snapshot *snapshot)
{
	char **ids = NULL;

	for (size_t i = 0; i < snapshot->n_members; i++)
		if (snapshot->members[i]->life_cycle != MACHINE_REMOVED)
			strv_push(&ids, xstrdup(snapshot->members[i]->id));
	return ids;
}
