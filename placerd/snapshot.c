/* Snapshot: PLOYZ_INTENT as the store's leader has it: heads, members, regions and claims. */
#include "placerd/placerd.h"

struct snapshot_reading {
	struct placerd *placerd;
	char *ns;      /* namespace whose last entry has to be at `head` or later */
	uint64_t head; /* 0: any */
	snapshot_fn fn;
	void *userdata;
	struct stream_follow *follow;
	struct timer *deadline;
	struct deferred *completion;
	struct failure lost; /* why the store could not be read at the last attempt */
	bool live;
};

static void reading_free(struct snapshot_reading *reading)
{
	if (!reading)
		return;
	stream_follow_free(reading->follow);
	timer_free(reading->deadline);
	deferred_free(reading->completion);
	failure_clear(&reading->lost);
	free(reading->ns);
	free(reading);
}

static void clear_namespace(struct namespace_entry *entry)
{
	free(entry->ns);
	head_free(entry->head);
	manifest_free(entry->manifest);
}

static void clear_member(struct member_entry *entry)
{
	member_free(entry->member);
	free(entry->error);
	probe_free(entry->probe);
	free(entry->probe_error);
}

static void clear_entries(struct snapshot *s)
{
	for (size_t i = 0; i < s->n_namespaces; i++)
		clear_namespace(&s->namespaces[i]);
	for (size_t i = 0; i < s->n_members; i++)
		clear_member(&s->members[i]);
	for (size_t i = 0; i < s->n_regions; i++)
		region_free(s->regions[i]);
	for (size_t i = 0; i < s->n_claims; i++)
		route_claim_free(s->claims[i].claim);
	free(steal(s->namespaces));
	free(steal(s->members));
	free(steal(s->regions));
	free(steal(s->claims));
	strv_free(steal(s->warnings));
	s->n_namespaces = s->n_members = s->n_regions = s->n_claims = 0;
}

void snapshot_free(struct snapshot *s)
{
	if (!s)
		return;
	reading_free(s->reading);
	clear_entries(s);
	free(s);
}

struct namespace_entry *snapshot_namespace(const struct snapshot *s, const char *ns)
{
	for (size_t i = 0; i < s->n_namespaces; i++)
		if (streq(s->namespaces[i].ns, ns))
			return &s->namespaces[i];
	return NULL;
}

/* A subject that is written while the snapshot is read is delivered again: the later entry replaces
 * the earlier one. */
static void take_head(struct snapshot *s, const char *ns, struct head *head, uint64_t sequence)
{
	struct namespace_entry *entry = snapshot_namespace(s, ns);

	if (!entry) {
		entry = array_add(s->namespaces, s->n_namespaces);
		entry->ns = xstrdup(ns);
	}
	head_free(entry->head);
	entry->head = head;
	entry->sequence = sequence;
}

/* A machine whose record cannot be decoded may still have instances. */
static void take_member(struct snapshot *s, const char *id, struct member *member,
			const char *error)
{
	struct member_entry *entry = NULL;

	for (size_t i = 0; i < s->n_members; i++)
		if (streq(s->members[i].member->id, id))
			entry = &s->members[i];
	if (!entry)
		entry = array_add(s->members, s->n_members);
	if (!member) {
		member = codec_new(&member_schema);
		member->id = xstrdup(id);
		member->life_cycle = MACHINE_STANDBY;
	}
	clear_member(entry);
	*entry = (struct member_entry){ .member = member, .error = xstrdup(error) };
}

static void take_region(struct snapshot *s, struct region *region)
{
	for (size_t i = 0; i < s->n_regions; i++)
		if (streq(s->regions[i]->name, region->name)) {
			region_free(s->regions[i]);
			s->regions[i] = region;
			return;
		}
	*array_add(s->regions, s->n_regions) = region;
}

static void take_claim(struct snapshot *s, struct route_claim *claim, uint64_t sequence)
{
	struct claim_entry *entry = NULL;

	for (size_t i = 0; i < s->n_claims; i++)
		if (streq(s->claims[i].claim->key, claim->key))
			entry = &s->claims[i];
	if (!entry)
		entry = array_add(s->claims, s->n_claims);
	route_claim_free(entry->claim);
	*entry = (struct claim_entry){ claim, sequence };
}

/* Decodes an entry, whose content has to match its subject. */
static int decode(const struct stream_entry *entry, const struct codec_schema *schema,
		  size_t name_at, const char *name, void **ret, struct failure *failure)
{
	int r = codec_parse(schema, entry->data, entry->size, CODEC_LENIENT, ret, failure);

	if (r < 0)
		return r;
	if (streq(*(char **)((char *)*ret + name_at), name))
		return 0;
	codec_destroy(schema, steal(*ret));
	return failure_set(failure, FAILURE_INVALID, NULL, "its subject names another one");
}

/* The entry's object is added to the snapshot even if it cannot be decoded. */
static int take(struct snapshot *s, const struct stream_entry *entry, struct failure *failure)
{
	_cleanup_free_ char *name = NULL, *key = NULL;
	void *object = NULL;
	int r = 0;

	if (subject_match(SUBJECT_NAMESPACE, entry->subject, &name, NULL)) {
		r = decode(entry, &head_schema, offsetof(struct head, ns), name, &object, failure);
		take_head(s, name, object, entry->sequence);
	} else if (subject_match(SUBJECT_MEMBER, entry->subject, &name, NULL)) {
		r = decode(entry, &member_schema, offsetof(struct member, id), name, &object,
			   failure);
		take_member(s, name, object, failure->message);
	} else if (subject_match(SUBJECT_REGION, entry->subject, &name, NULL)) {
		r = decode(entry, &region_schema, offsetof(struct region, name), name, &object,
			   failure);
		if (object)
			take_region(s, object);
	} else if (subject_match(SUBJECT_ROUTE, entry->subject, &name, NULL)) {
		key = route_token_decode(name);
		r = decode(entry, &route_claim_schema, offsetof(struct route_claim, key), key,
			   &object, failure);
		if (object)
			take_claim(s, object, entry->sequence);
	}
	return r;
}

static bool is_complete(const struct snapshot *s)
{
	const struct namespace_entry *own = snapshot_namespace(s, s->reading->ns);

	return s->reading->live && (own ? own->sequence : 0) >= s->reading->head;
}

/* Ends the reading and reports it. */
static void finish(struct snapshot *s, const struct failure *failure)
{
	snapshot_fn fn = s->reading->fn;
	void *userdata = s->reading->userdata;

	reading_free(steal(s->reading));
	fn(failure_is_set(failure) ? failure : NULL, userdata);
}

static void drop_members(struct snapshot *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->n_members; i++)
		if (member_takes_part(s->members[i].member))
			s->members[n++] = s->members[i];
		else
			clear_member(&s->members[i]);
	s->n_members = n;
}

static void complete(void *userdata)
{
	struct snapshot *s = userdata;
	struct failure failure = FAILURE_INIT;
	const struct namespace_entry *own;

	if (!is_complete(s))
		return;
	drop_members(s);
	own = snapshot_namespace(s, s->reading->ns);
	if (own && !own->head)
		failure_set(&failure, FAILURE_FAILED,
			    "a newer version of the programs may have written it",
			    "cannot decode entry %llu of namespace %s",
			    (unsigned long long)own->sequence, own->ns);
	else if (!s->n_members)
		failure_set(&failure, FAILURE_NOT_READY,
			    "`ployzctl status` shows the machines; meshd writes their records",
			    "cannot plan namespace %s: the store has no member record",
			    s->reading->ns);
	finish(s, &failure);
	failure_clear(&failure);
}

static void check_complete(struct snapshot *s)
{
	if (is_complete(s))
		deferred_schedule(s->reading->completion);
}

/* One entry that cannot be decoded does not block the others. */
static void on_entry(const struct stream_entry *entry, void *userdata)
{
	struct snapshot *s = userdata;
	struct failure failure = FAILURE_INIT;

	if (take(s, entry, &failure) < 0)
		strv_push(&s->warnings, xasprintf("cannot decode entry %llu of %s: %s%s%s",
						  (unsigned long long)entry->sequence,
						  entry->subject, failure.path ? failure.path : "",
						  failure.path ? ": " : "", failure.message));
	failure_clear(&failure);
	check_complete(s);
}

static void on_live(_unused_ uint64_t sequence, void *userdata)
{
	struct snapshot *s = userdata;

	s->reading->live = true;
	check_complete(s);
}

static void on_restart(void *userdata)
{
	struct snapshot *s = userdata;

	clear_entries(s);
	s->reading->live = false;
}

/* The follower retries by itself; a store that is being started answers within a second or two. */
static void on_lost(const struct failure *why, void *userdata)
{
	struct snapshot *s = userdata;

	s->reading->live = false;
	if (!failure_is_set(&s->reading->lost))
		timer_arm_within(s->reading->deadline, LOST_USEC);
	failure_copy(&s->reading->lost, why);
}

static void on_deadline(void *userdata)
{
	struct snapshot *s = userdata;
	const struct snapshot_reading *reading = s->reading;
	const struct namespace_entry *own = snapshot_namespace(s, reading->ns);
	struct failure failure = FAILURE_INIT;

	if (is_complete(s)) { /* became live in the same turn of the event loop */
		complete(s);
		return;
	}
	if (reading->live)
		failure_set(&failure, FAILURE_NOT_READY,
			    "`ployzctl status` shows whether the store is well; then retry",
			    "cannot plan namespace %s from entry %llu: its last entry in the store "
			    "is %llu",
			    reading->ns, (unsigned long long)reading->head,
			    (unsigned long long)(own ? own->sequence : 0));
	else if (failure_is_set(&reading->lost))
		failure_copy(&failure, &reading->lost);
	else
		failure_set(&failure, FAILURE_NO_QUORUM,
			    "`ployzctl status` shows whether the store answers; then retry",
			    "cannot read " STREAM_INTENT ": incomplete after %llu s",
			    (unsigned long long)(SNAPSHOT_USEC / 1000000));
	finish(s, &failure);
	failure_clear(&failure);
}

struct snapshot *snapshot_read(struct placerd *placerd, const char *ns, uint64_t head,
			       snapshot_fn fn, void *userdata)
{
	static const struct stream_follow_ops ops = {
		.entry = on_entry,
		.live = on_live,
		.restart = on_restart,
		.lost = on_lost,
	};
	_cleanup_free_ char *namespaces = subject_filter(SUBJECT_NAMESPACE);
	_cleanup_free_ char *members = subject_filter(SUBJECT_MEMBER);
	_cleanup_free_ char *regions = subject_filter(SUBJECT_REGION);
	_cleanup_free_ char *claims = subject_filter(SUBJECT_ROUTE);
	const char *const filters[] = { namespaces, members, regions, claims, NULL };
	const struct stream_follow_options options = {
		.domain = STORE_DOMAIN,
		.stream = STREAM_INTENT,
		.filters = filters,
		.from = STREAM_FROM_LAST_PER_SUBJECT,
	};
	struct snapshot *s = xcalloc(1, sizeof(*s));
	struct snapshot_reading *reading = xcalloc(1, sizeof(*reading));

	s->reading = reading;
	reading->placerd = placerd;
	reading->ns = xstrdup(ns);
	reading->head = head;
	reading->fn = fn;
	reading->userdata = userdata;
	reading->completion = deferred_new(placerd->daemon->loop, complete, s);
	reading->deadline = timer_new(placerd->daemon->loop, on_deadline, s);
	timer_arm(reading->deadline, SNAPSHOT_USEC);
	reading->follow = stream_follow_new(placerd->daemon->bus, &options, &ops, s);
	return s;
}
