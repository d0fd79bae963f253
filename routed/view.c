/* View: the last good entry of every subject that the gateway follows. */
#include "routed/routed.h"

struct kind {
	enum subject_id subject;
	const struct codec_schema *schema;
	size_t map; /* offset in struct view */
	/* The key of the entry's item in its map, from the subject's placeholders; owned by the
	 * caller. NULL: they are none. */
	char *(*key)(const char *a, const char *b);
	/* Whether the entry's content matches its subject. */
	bool (*matches)(const void *object, const char *a, const char *b);
};

static char *key_plain(const char *a, _unused_ const char *b)
{
	return xstrdup(a);
}

static char *key_pair(const char *machine, const char *ns)
{
	return xasprintf("%s.%s", machine, ns);
}

char *view_claim_key(const char *token)
{
	_cleanup_free_ char *key = route_token_decode(token);
	_cleanup_free_ char *canonical = key ? route_token(key) : NULL;

	return streq(canonical, token) ? steal(key) : NULL;
}

static char *key_token(const char *token, _unused_ const char *b)
{
	return view_claim_key(token);
}

static bool head_matches(const void *object, const char *ns, _unused_ const char *b)
{
	return streq(((const struct head *)object)->ns, ns);
}

static bool claim_matches(const void *object, const char *token, _unused_ const char *b)
{
	_cleanup_free_ char *own = route_token(((const struct route_claim *)object)->key);

	return streq(own, token);
}

static bool member_matches(const void *object, const char *id, _unused_ const char *b)
{
	return streq(((const struct member *)object)->id, id);
}

static bool facts_match(const void *object, const char *machine, const char *ns)
{
	const struct instances *facts = object;

	return streq(facts->machine, machine) && streq(facts->ns, ns);
}

static const struct kind kinds[] = {
	{ SUBJECT_NAMESPACE, &head_schema, offsetof(struct view, heads), key_plain, head_matches },
	{ SUBJECT_ROUTE, &route_claim_schema, offsetof(struct view, claims), key_token,
	  claim_matches },
	{ SUBJECT_MEMBER, &member_schema, offsetof(struct view, members), key_plain,
	  member_matches },
	{ SUBJECT_INSTANCES, &instances_schema, offsetof(struct view, facts), key_pair,
	  facts_match },
};

static void item_free(void *p)
{
	struct view_item *item = p;

	if (!item)
		return;
	codec_destroy(item->schema, item->object);
	free(item->subject);
	free(item);
}

static int decode(const struct kind *kind, const char *a, const char *b, const char *data,
		  size_t size, void **ret, struct failure *failure)
{
	void *object = NULL;
	int r = codec_parse(kind->schema, data, size, CODEC_LENIENT, &object, failure);

	if (r < 0)
		return r;
	if (!kind->matches(object, a, b)) {
		codec_destroy(kind->schema, object);
		return failure_set(failure, FAILURE_INVALID, NULL,
				   "its content does not match its subject");
	}
	*ret = object;
	return 0;
}

static struct map *map_of(const struct view *view, const struct kind *kind)
{
	return (struct map *)((char *)view + kind->map);
}

static void put(struct map *map, const char *key, const struct kind *kind, const char *subject,
		uint64_t sequence, void *object)
{
	struct view_item *item = xcalloc(1, sizeof(*item));

	*item = (struct view_item){ xstrdup(subject), kind->schema, object, sequence };
	item_free(map_put(map, key, item));
}

/* The kind of a subject, with its placeholders (owned by the caller), or NULL. */
static const struct kind *kind_of(const char *subject, char **ret_a, char **ret_b)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (subject_match(kinds[i].subject, subject, ret_a, ret_b))
			return &kinds[i];
	return NULL;
}

static int take(struct view *view, const struct kind *kind, const char *subject, const char *a,
		const char *b, uint64_t sequence, const char *data, size_t size,
		struct failure *failure)
{
	_cleanup_free_ char *key = kind->key(a, b);
	struct map *map = map_of(view, kind);
	void *object = NULL;
	int r;

	if (!key)
		return data ? failure_set(failure, FAILURE_INVALID, NULL,
					  "its subject names no route")
			    : 0;
	if (!data) {
		item_free(map_remove(map, key));
		if (kind->subject == SUBJECT_NAMESPACE)
			item_free(map_remove(&view->waiting, key));
		return 0;
	}
	r = decode(kind, a, b, data, size, &object, failure);
	if (r < 0)
		return r;
	if (kind->subject == SUBJECT_NAMESPACE)
		map = &view->waiting;
	put(map, key, kind, subject, sequence, object);
	return 0;
}

int view_take(struct view *view, const char *subject, uint64_t sequence, const char *data,
	      size_t size)
{
	_cleanup_free_ char *a = NULL, *b = NULL;
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;
	const struct kind *kind = kind_of(subject, &a, &b);

	if (!kind)
		return 0;
	free(map_remove(&view->errors, subject));
	if (take(view, kind, subject, a, b, sequence, data, size, &failure) >= 0)
		return 1;
	map_put(&view->errors, subject,
		xasprintf("entry %llu on %s: %s%s%s", (unsigned long long)sequence, subject,
			  failure.path ? failure.path : "", failure.path ? ": " : "",
			  failure.message));
	return -EBADMSG;
}

json_t *view_encode(const struct view *view)
{
	json_t *json = json_object();

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		for (struct map_item *j = NULL; (j = map_next(map_of(view, &kinds[i]), j));) {
			const struct view_item *item = j->value;

			json_object_set_new(json, item->subject,
					    json_pack("{s:I, s:o}", "sequence",
						      (json_int_t)item->sequence, "entry",
						      codec_encode(item->schema, item->object)));
		}
	return json;
}

/* A subject without an item gets its last good entry from `saved`. */
static void restore(struct view *view, const char *subject, const json_t *saved)
{
	const json_t *last = json_object_get(saved, subject);
	_cleanup_free_ char *a = NULL, *b = NULL, *key = NULL, *text = NULL;
	const struct kind *kind = kind_of(subject, &a, &b);
	json_int_t sequence = json_integer_value(json_object_get(last, "sequence"));
	void *object = NULL;

	if (!kind || !last)
		return;
	key = kind->key(a, b);
	if (!key || map_get(map_of(view, kind), key))
		return;
	text = json_text(json_object_get(last, "entry"));
	if (decode(kind, a, b, text, strlen(text), &object, NULL) >= 0)
		put(map_of(view, kind), key, kind, subject, (uint64_t)sequence, object);
}

void view_settle(struct view *view, const struct watermark *applied, const json_t *saved)
{
	for (struct map_item *i = NULL; (i = map_next(&view->errors, i));)
		restore(view, i->key, saved);
	for (struct map_item *i = NULL; (i = map_next(&view->waiting, i));) {
		struct view_item *item = i->value;
		_cleanup_free_ char *ns = xstrdup(i->key);

		if (!head_may_serve(item->object, applied)) {
			restore(view, item->subject, saved);
			continue;
		}
		map_remove(&view->waiting, ns);
		item_free(map_put(&view->heads, ns, item));
	}
}

const struct head *view_head(const struct view *view, const char *ns)
{
	const struct view_item *item = map_get(&view->heads, ns);

	return item ? item->object : NULL;
}

const struct view_item *view_claim(const struct view *view, const char *key)
{
	return map_get(&view->claims, key);
}

bool view_machine_is_removed(const struct view *view, const char *machine)
{
	const struct view_item *item = map_get(&view->members, machine);

	return item && ((const struct member *)item->object)->life_cycle == MACHINE_REMOVED;
}

const struct instance *view_instance(const struct view *view, const char *machine, const char *ns,
				     const char *instance)
{
	_cleanup_free_ char *key = key_pair(machine, ns);
	const struct view_item *item = map_get(&view->facts, key);

	if (!item || view_machine_is_removed(view, machine))
		return NULL;
	return instances_find(item->object, instance);
}

void view_clear(struct view *view)
{
	map_clear(&view->heads, item_free);
	map_clear(&view->waiting, item_free);
	map_clear(&view->claims, item_free);
	map_clear(&view->members, item_free);
	map_clear(&view->facts, item_free);
	map_clear(&view->errors, free);
}
