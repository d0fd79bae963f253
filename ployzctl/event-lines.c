/* Entries of the log in words: who did what from where, and what changed. */
#include "ployzctl/reading.h"

static void forget(void *instances)
{
	instances_free(instances);
}

void event_memory_clear(struct event_memory *memory)
{
	map_clear(&memory->facts, forget);
}

static void say(char ***lines, struct strbuf *text)
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

/* A head is written when a deploy opens, when it commits, and when one is given up. */
static void head_lines(const struct head *head, char ***lines)
{
	struct strbuf text = STRBUF_INIT;

	if (head->open) {
		strbuf_printf(&text, "%s opened %s %s, walked by %s, epoch %lld",
			      or_else(head->open->operator_, "somebody"),
			      or_else(head->open->verb, "deploy"), head->open->deploy,
			      or_else(head->open->machine, "an unknown machine"),
			      (long long)head->open->epoch);
	} else if (head->revision && !head->committed) {
		strbuf_printf(&text, "%s committed revision %lld by %s %s",
			      or_else(head->operator_, "somebody"), (long long)head->revision,
			      or_else(head->verb, "deploy"), or_else(head->deploy, "-"));
		if (head->from)
			strbuf_printf(&text, " from %s", head->from);
		strbuf_printf(&text, ": %zu %s, %zu %s", head->n_services,
			      head->n_services == 1 ? "service" : "services", count_slots(head),
			      count_slots(head) == 1 ? "instance" : "instances");
		if (head->why)
			strbuf_printf(&text, ", because: %s", head->why);
	} else {
		strbuf_printf(&text, "the deploy that was open ended: %s; ",
			      or_else(head->outcome, "no outcome told"));
		if (head->revision)
			strbuf_printf(&text, "revision %lld stands", (long long)head->revision);
		else
			strbuf_puts(&text, "nothing was ever committed");
	}
	say(lines, &text);
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
	say(lines, &text);
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
			say(lines, &text);
		}
	instances_free(before);
	map_put(&memory->facts, subject, codec_copy(&instances_schema, now));
}

static void machine_lines(const struct machine *machine, char ***lines)
{
	struct strbuf text = STRBUF_INIT;

	strbuf_printf(&text, "%s (%s) is %s", machine->id, or_else(machine->name, "no name"),
		      life_cycle_names[machine->life_cycle]);
	if (machine->region)
		strbuf_printf(&text, ", region %s", machine->region);
	if (machine->subnet)
		strbuf_printf(&text, ", containers in %s", machine->subnet);
	if (machine->version)
		strbuf_printf(&text, ", version %s", machine->version);
	say(lines, &text);
}

static void region_lines(const struct region *region, char ***lines)
{
	struct strbuf text = STRBUF_INIT;

	strbuf_printf(&text, "%s set region %s to %s", or_else(region->who, "somebody"),
		      or_else(region->name, "?"), region_role_names[region->role]);
	say(lines, &text);
}

static void subnet_lines(const char *subnet, const struct subnet_claim *claim, char ***lines)
{
	struct strbuf text = STRBUF_INIT;

	strbuf_printf(&text, "%s took ", claim->machine);
	for (const char *p = subnet; *p; p++)
		strbuf_printf(&text, "%c", *p == '-' ? '.' : *p);
	strbuf_puts(&text, ".0/24 for its containers");
	say(lines, &text);
}

static const enum subject_id kinds[] = {
	SUBJECT_NAMESPACE, SUBJECT_INSTANCES, SUBJECT_MACHINE, SUBJECT_REGION, SUBJECT_SUBNET,
};

static void tell(struct event_memory *memory, enum subject_id kind, const char *subject,
		 const char *a, const void *object, char ***lines)
{
	switch (kind) {
	case SUBJECT_NAMESPACE:
		head_lines(object, lines);
		return;
	case SUBJECT_INSTANCES:
		instances_lines(memory, subject, object, lines);
		return;
	case SUBJECT_MACHINE:
		machine_lines(object, lines);
		return;
	case SUBJECT_REGION:
		region_lines(object, lines);
		return;
	default:
		subnet_lines(a, object, lines);
		return;
	}
}

static char *about(enum subject_id kind, const char *a, const char *b)
{
	switch (kind) {
	case SUBJECT_NAMESPACE:
		return xstrdup(a);
	case SUBJECT_INSTANCES:
		return xstrdup(b);
	case SUBJECT_MACHINE:
		return xstrdup("machine");
	case SUBJECT_REGION:
		return xstrdup("region");
	default:
		return xstrdup("subnet");
	}
}

void event_lines(struct event_memory *memory, const struct stream_entry *entry, char **ret_about,
		 char ***ret_lines)
{
	struct failure failure = FAILURE_INIT;

	*ret_lines = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		const struct codec_schema *schema = subjects[kinds[i]].request;
		_cleanup_free_ char *a = NULL, *b = NULL;
		void *object = NULL;

		if (!subject_match(kinds[i], entry->subject, &a, &b))
			continue;
		*ret_about = about(kinds[i], a, b);
		if (codec_parse(schema, entry->data, entry->size, CODEC_LENIENT, &object,
				&failure) < 0)
			strv_push(ret_lines, xasprintf("cannot be read: %s%s%s",
						       failure.path ? failure.path : "",
						       failure.path ? " " : "", failure.message));
		else
			tell(memory, kinds[i], entry->subject, a, object, ret_lines);
		codec_destroy(schema, object);
		failure_clear(&failure);
		return;
	}
	*ret_about = xstrdup("-");
	strv_push(ret_lines, xasprintf("%s: written by another version of ployz", entry->subject));
}
