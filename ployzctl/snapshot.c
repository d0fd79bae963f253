/* The last entry of each subject of the log, read once. */
#include "ployzctl/ployzctl.h"

struct reading {
	struct ployzctl *ctl;
	struct snapshot snapshot;
	struct stream_follow *follow;
	struct deferred *again; /* a follower is freed outside its own callback */
	snapshot_fn fn;
	void *userdata;
};

/* The one reading of a session lives until the program's end. */
static struct reading reading;

static void *decode(const struct codec_schema *schema, const struct stream_entry *entry)
{
	void *object = NULL;
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;

	if (codec_parse(schema, entry->data, entry->size, CODEC_LENIENT, &object, &failure) < 0)
		fprintf(stderr,
			"ployzctl: entry %llu on %s cannot be read: %s%s%s; it is left out\n",
			(unsigned long long)entry->sequence, entry->subject,
			failure.path ? failure.path : "", failure.path ? " " : "", failure.message);
	return object;
}

static void on_entry(const struct stream_entry *entry, void *userdata)
{
	struct snapshot *snapshot = userdata;
	void *object;

	if (subject_match(SUBJECT_NAMESPACE, entry->subject, NULL, NULL)) {
		object = decode(&head_schema, entry);
		if (object)
			*array_add(snapshot->heads, snapshot->n_heads) =
				(struct snapshot_head){ object, entry->sequence, entry->time_usec };
	} else if (subject_match(SUBJECT_MACHINE, entry->subject, NULL, NULL)) {
		object = decode(&machine_schema, entry);
		if (object)
			*array_add(snapshot->machines, snapshot->n_machines) = object;
	} else if (subject_match(SUBJECT_INSTANCES, entry->subject, NULL, NULL)) {
		object = decode(&instances_schema, entry);
		if (object)
			*array_add(snapshot->instances, snapshot->n_instances) = object;
	}
}

static int compare_heads(const void *a, const void *b)
{
	const struct snapshot_head *x = a, *y = b;

	return strcmp(x->head->ns, y->head->ns);
}

static void on_live(uint64_t sequence, void *userdata)
{
	struct snapshot *snapshot = userdata;

	if (snapshot->n_heads)
		qsort(snapshot->heads, snapshot->n_heads, sizeof(*snapshot->heads), compare_heads);
	snapshot->sequence = sequence;
	reading.fn(snapshot, reading.userdata);
}

static void on_lost(const struct failure *why, _unused_ void *userdata)
{
	if (reading.snapshot.copy) {
		session_fail(reading.ctl, why);
		return;
	}
	fprintf(stderr, "ployzctl: %s; reading this machine's copy of the log\n", why->message);
	reading.snapshot = (struct snapshot){ .copy = true };
	deferred_schedule(reading.again);
}

static void attach(_unused_ void *userdata)
{
	static const struct stream_follow_ops ops = { .entry = on_entry,
						      .live = on_live,
						      .lost = on_lost };
	const struct stream_follow_options options = {
		.domain = reading.snapshot.copy ? reading.ctl->machine : STORE_DOMAIN,
		.stream = STREAM_INTENT,
		.from = STREAM_FROM_LAST_PER_SUBJECT,
		.once = true,
	};

	stream_follow_free(reading.follow);
	reading.follow = stream_follow_new(reading.ctl->bus, &options, &ops, &reading.snapshot);
}

void snapshot_read(struct ployzctl *ctl, snapshot_fn fn, void *userdata)
{
	reading = (struct reading){ .ctl = ctl, .fn = fn, .userdata = userdata };
	reading.again = deferred_new(ctl->loop, attach, NULL);
	attach(NULL);
}

const struct snapshot_head *snapshot_head(const struct snapshot *snapshot, const char *ns)
{
	for (size_t i = 0; i < snapshot->n_heads; i++)
		if (streq(snapshot->heads[i].head->ns, ns))
			return &snapshot->heads[i];
	return NULL;
}

const struct instance *snapshot_instance(const struct snapshot *snapshot, const char *id)
{
	const struct instance *found = NULL;

	for (size_t i = 0; !found && i < snapshot->n_instances; i++)
		found = instances_find(snapshot->instances[i], id);
	return found;
}

char **snapshot_machines(const struct snapshot *snapshot)
{
	char **ids = NULL;

	for (size_t i = 0; i < snapshot->n_machines; i++)
		if (snapshot->machines[i]->life_cycle != MACHINE_REMOVED)
			strv_push(&ids, xstrdup(snapshot->machines[i]->id));
	return ids;
}
