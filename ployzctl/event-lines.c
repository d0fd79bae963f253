/* Event lines (pure): the entries of the log as text: operator, verb, machine, and what changed. */
#include "ployzctl/pure.h"

static void free_instances(void *instances)
{
	instances_free(instances);
}

void event_memory_clear(struct event_memory *memory)
{
	map_clear(&memory->facts, free_instances);
}

static void add_line(char ***lines, struct strbuf *text)
{
	strv_push(lines, strbuf_steal(text));
}

static const char *or_else(const char *text, const char *otherwise)
{
	return text && *text ? text : otherwise;
}

static size_t count_slots(const struct head *head)
{
	size_t n = 0;

	for (size_t i = 0; i < head->n_services; i++)
		n += head->services[i].n_slots;
	return n;
}

/* A head is written when a deploy opens, when it commits, and when it is closed without a commit.
 */
static void head_lines(const struct head *head, char ***lines)
{
	struct strbuf text = STRBUF_INIT;

	if (head->open) {
		strbuf_printf(&text, "%s opened %s %s, executed by %s, epoch %lld",
			      or_else(head->open->operator_, "unknown operator"),
			      or_else(head->open->verb, "deploy"), head->open->deploy,
			      or_else(head->open->machine, "unknown machine"),
			      (long long)head->open->epoch);
	} else if (head->revision && !head->committed) {
		strbuf_printf(&text, "%s committed revision %lld by %s %s",
			      or_else(head->operator_, "unknown operator"),
			      (long long)head->revision, or_else(head->verb, "deploy"),
			      or_else(head->deploy, "-"));
		if (head->from)
			strbuf_printf(&text, " from %s", head->from);
		strbuf_printf(&text, ": %zu %s, %zu %s", head->n_services,
			      head->n_services == 1 ? "service" : "services", count_slots(head),
			      count_slots(head) == 1 ? "instance" : "instances");
		if (head->why)
			strbuf_printf(&text, ", because: %s", head->why);
	} else {
		strbuf_printf(&text, "the open deploy was closed: %s; ",
			      or_else(head->outcome, "no outcome recorded"));
		if (head->revision)
			strbuf_printf(&text, "revision %lld remains", (long long)head->revision);
		else
			strbuf_puts(&text, "nothing was ever committed");
	}
	add_line(lines, &text);
}

static void instance_line(const char *machine, const struct instance *before,
			  const struct instance *now, char ***lines)
{
	struct strbuf text = STRBUF_INIT;

	strbuf_printf(&text, "%s/%lld ", now->service, (long long)now->slot);
	if (before && before->state != now->state)
		strbuf_printf(&text, "%s, then ", instance_state_names[before->state]);
	strbuf_printf(&text, "%s on %s", instance_state_names[now->state], machine);
	if (now->address && now->state != INSTANCE_GONE)
		strbuf_printf(&text, " at %s", now->address);
	if (now->restarts && (!before || before->restarts != now->restarts))
		strbuf_printf(&text, ", restart %lld", (long long)now->restarts);
	strbuf_printf(&text, " (%s)", now->id);
	if (now->reason)
		strbuf_printf(&text, ": %s", now->reason);
	add_line(lines, &text);
}

static bool same(const struct instance *a, const struct instance *b)
{
	return a->state == b->state && a->restarts == b->restarts &&
	       streq(a->address, b->address) && streq(a->reason, b->reason);
}

static void instances_lines(struct event_memory *memory, const char *subject,
			    const struct instances *now, char ***lines)
{
	struct instances *before = map_get(&memory->facts, subject);

	for (size_t i = 0; i < now->n_instances; i++) {
		const struct instance *old =
			before ? instances_find(before, now->instances[i].id) : NULL;

		if (!old || !same(old, &now->instances[i]))
			instance_line(now->machine, old, &now->instances[i], lines);
	}
	for (size_t i = 0; before && i < before->n_instances; i++)
		if (!instances_find(now, before->instances[i].id)) {
			struct strbuf text = STRBUF_INIT;

			strbuf_printf(&text, "%s is no longer listed on %s",
				      before->instances[i].id, now->machine);
			add_line(lines, &text);
		}
	instances_free(before);
	map_put(&memory->facts, subject, codec_copy(&instances_schema, now));
}

static void member_lines(const struct member *member, char ***lines)
{
	struct strbuf text = STRBUF_INIT;

	strbuf_printf(&text, "%s (%s) is %s", member->id, or_else(member->name, "no name"),
		      life_cycle_names[member->life_cycle]);
	if (member->region)
		strbuf_printf(&text, ", region %s", member->region);
	if (member->subnet)
		strbuf_printf(&text, ", containers in %s", member->subnet);
	if (member->seat)
		strbuf_puts(&text, ", with a store seat");
	add_line(lines, &text);
}

static void machine_facts_lines(const struct machine_facts *facts, char ***lines)
{
	_cleanup_free_ char *memory = size_human(facts->memory);
	struct strbuf text = STRBUF_INIT;

	strbuf_printf(&text, "%s reports version %s, %s, %lld CPUs, %s of memory, generation %lld",
		      facts->machine, or_else(facts->version, "unknown"),
		      or_else(facts->arch, "unknown architecture"), (long long)facts->cpus, memory,
		      (long long)facts->generation);
	add_line(lines, &text);
}

static void route_lines(const struct route_claim *claim, char ***lines)
{
	struct strbuf text = STRBUF_INIT;

	strbuf_printf(&text, "deploy %s claimed route %s, epoch %lld", claim->deploy, claim->key,
		      (long long)claim->epoch);
	add_line(lines, &text);
}

static void release_lines(const struct release *release, char ***lines)
{
	const struct manifest *manifest = release->manifest;
	size_t n = manifest ? manifest->n_services : 0;
	struct strbuf text = STRBUF_INIT;

	strbuf_printf(&text, "deploy %s stored the manifest for revision %lld: %zu %s",
		      or_else(release->deploy, "-"), (long long)release->revision, n,
		      n == 1 ? "service" : "services");
	add_line(lines, &text);
}

static void region_lines(const struct region *region, char ***lines)
{
	struct strbuf text = STRBUF_INIT;

	strbuf_printf(&text, "%s set region %s to %s", or_else(region->who, "unknown operator"),
		      or_else(region->name, "?"), region_role_names[region->role]);
	add_line(lines, &text);
}

static void subnet_lines(const char *subnet, const struct subnet_claim *claim, char ***lines)
{
	struct strbuf text = STRBUF_INIT;

	strbuf_printf(&text, "%s claimed ", claim->machine);
	for (const char *p = subnet; *p; p++)
		strbuf_printf(&text, "%c", *p == '-' ? '.' : *p);
	strbuf_puts(&text, ".0/24 for its containers");
	add_line(lines, &text);
}

/* The object of an entry: a namespace, which is in the entry's subject or content, or one of these
 * names. */
static const struct kind {
	enum subject_id subject;
	const char *about; /* NULL: the last name of the subject */
} kinds[] = {
	{ SUBJECT_NAMESPACE, NULL },	      { SUBJECT_INSTANCES, NULL },
	{ SUBJECT_MANIFEST, NULL },	      { SUBJECT_MEMBER, "machine" },
	{ SUBJECT_MACHINE_FACTS, "machine" }, { SUBJECT_REGION, "region" },
	{ SUBJECT_SUBNET, "subnet" },	      { SUBJECT_ROUTE, "route" },
};

static void object_lines(struct event_memory *memory, enum subject_id kind, const char *subject,
			 const char *a, const void *object, char ***lines)
{
	switch (kind) {
	case SUBJECT_NAMESPACE:
		head_lines(object, lines);
		return;
	case SUBJECT_INSTANCES:
		instances_lines(memory, subject, object, lines);
		return;
	case SUBJECT_MANIFEST:
		release_lines(object, lines);
		return;
	case SUBJECT_MEMBER:
		member_lines(object, lines);
		return;
	case SUBJECT_MACHINE_FACTS:
		machine_facts_lines(object, lines);
		return;
	case SUBJECT_REGION:
		region_lines(object, lines);
		return;
	case SUBJECT_ROUTE:
		route_lines(object, lines);
		return;
	default:
		subnet_lines(a, object, lines);
		return;
	}
}

static char *about_of(const struct kind *kind, const void *object, const char *a, const char *b)
{
	if (kind->subject == SUBJECT_ROUTE && object)
		return xstrdup(((const struct route_claim *)object)->ns);
	return xstrdup(kind->about ? kind->about : b ? b : a);
}

void event_lines(struct event_memory *memory, const struct stream_entry *entry, char **ret_about,
		 char ***ret_lines)
{
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;

	*ret_lines = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		const struct kind *kind = &kinds[i];
		const struct codec_schema *schema = subjects[kind->subject].request;
		_cleanup_free_ char *a = NULL, *b = NULL;
		void *object = NULL;

		if (!subject_match(kind->subject, entry->subject, &a, &b))
			continue;
		if (codec_parse(schema, entry->data, entry->size, CODEC_LENIENT, &object,
				&failure) < 0)
			strv_push(ret_lines, xasprintf("cannot decode the entry: %s%s%s",
						       failure.path ? failure.path : "",
						       failure.path ? " " : "", failure.message));
		else
			object_lines(memory, kind->subject, entry->subject, a, object, ret_lines);
		*ret_about = about_of(kind, object, a, b);
		codec_destroy(schema, object);
		return;
	}
	*ret_about = xstrdup("-");
	strv_push(ret_lines, xasprintf("%s: unknown subject", entry->subject));
}
