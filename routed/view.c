#include "routed/routed.h"

static void view_head_free(void *p)
{
	struct view_head *entry = p;

	if (!entry)
		return;
	head_free(entry->head);
	free(entry);
}

static void facts_free(void *p)
{
	instances_free(p);
}

static int take_head(struct view *view, const char *subject, uint64_t sequence, const char *data,
		     size_t size, struct failure *failure)
{
	struct view_head *entry;
	void *head = NULL;
	int r;

	r = codec_parse(&head_schema, data, size, CODEC_LENIENT, &head, failure);
	if (r < 0)
		return r;
	entry = xcalloc(1, sizeof(*entry));
	entry->head = head;
	entry->committed = head_committed(head, sequence);
	view_head_free(map_put(&view->heads, subject, entry));
	return 0;
}

static int take_facts(struct view *view, const char *subject, const char *data, size_t size,
		      struct failure *failure)
{
	void *facts = NULL;
	int r;

	r = codec_parse(&instances_schema, data, size, CODEC_LENIENT, &facts, failure);
	if (r < 0)
		return r;
	facts_free(map_put(&view->facts, subject, facts));
	return 0;
}

int view_take(struct view *view, const char *subject, uint64_t sequence, const char *data,
	      size_t size)
{
	bool is_head = subject_match(SUBJECT_NAMESPACE, subject, NULL, NULL);
	struct failure failure = FAILURE_INIT;
	int r;

	if (!is_head && !subject_match(SUBJECT_INSTANCES, subject, NULL, NULL))
		return 0;
	free(map_remove(&view->troubles, subject));
	if (!data) {
		if (is_head)
			view_head_free(map_remove(&view->heads, subject));
		else
			facts_free(map_remove(&view->facts, subject));
		return 1;
	}
	r = is_head ? take_head(view, subject, sequence, data, size, &failure)
		    : take_facts(view, subject, data, size, &failure);
	if (r == 0)
		return 1;
	free(map_put(&view->troubles, subject,
		     xasprintf("entry %llu cannot be read, the one before it stays: %s%s%s",
			       (unsigned long long)sequence, failure.path ? failure.path : "",
			       failure.path ? ": " : "", failure.message)));
	failure_clear(&failure);
	return -EBADMSG;
}

bool view_ended(const struct view *view, const char *instance)
{
	for (struct map_item *i = NULL; (i = map_next(&view->facts, i));) {
		const struct instance *fact = instances_find(i->value, instance);

		if (fact)
			return fact->state == INSTANCE_GONE || fact->state == INSTANCE_STOPPED ||
			       fact->state == INSTANCE_FAILED;
	}
	return false;
}

void view_clear(struct view *view)
{
	map_clear(&view->heads, view_head_free);
	map_clear(&view->facts, facts_free);
	map_clear(&view->troubles, free);
}
