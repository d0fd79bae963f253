/* Diff: the changes between two versions of a service as text. It names variables but not their
 * values, which may be secret. */
#include "placerd/placerd.h"

/* Keys of the manifest that do not change the container itself. */
static const char *const not_the_container[] = {
	"name", "image",     "replicas",   "routes",	 "update",
	"pull", "placement", "depends_on", "pre_deploy", NULL,
};

static void add(struct strbuf *text, const char *what)
{
	strbuf_printf(text, "%s%s", text->size ? ", " : "", what);
}

/* The first 12 digits, as the engine's own lists show an id. */
static char *short_digest(const char *digest)
{
	return xstrndup(str_starts(digest, "sha256:") ? digest + strlen("sha256:") : digest, 12);
}

static void image_changes(struct strbuf *text, const struct service *before,
			  const struct service *after, const char *digest_before,
			  const char *digest_after)
{
	_cleanup_free_ char *from = NULL, *to = NULL, *change = NULL;

	if (digest_before && digest_after && streq(digest_before, digest_after))
		return;
	if (!streq(before->image, after->image)) {
		change = xasprintf("image %s → %s", before->image, after->image);
	} else if (digest_before && digest_after) {
		from = short_digest(digest_before);
		to = short_digest(digest_after);
		change = xasprintf("image %s has another id (%s → %s)", after->image, from, to);
	} else {
		return;
	}
	add(text, change);
}

static void pair_changes(struct strbuf *text, const char *what, const struct pairs *before,
			 const struct pairs *after)
{
	struct strbuf names = STRBUF_INIT;
	_cleanup_free_ char *change = NULL;

	for (size_t i = 0; i < after->count; i++) {
		const char *was = pairs_get(before, after->items[i].key);

		if (!streq(was, after->items[i].value))
			strbuf_printf(&names, "%s%s%s", names.size ? " " : "", was ? "" : "+",
				      after->items[i].key);
	}
	for (size_t i = 0; i < before->count; i++)
		if (!pairs_get(after, before->items[i].key))
			strbuf_printf(&names, "%s-%s", names.size ? " " : "", before->items[i].key);
	if (names.size) {
		change = xasprintf("%s (%s)", what, names.text);
		add(text, change);
	}
	strbuf_clear(&names);
}

static bool is_pairs(const char *key)
{
	return streq(key, "env") || streq(key, "files") || streq(key, "labels") ||
	       streq(key, "sysctls");
}

static bool shown_otherwise(const char *key)
{
	for (const char *const *other = not_the_container; *other; other++)
		if (streq(*other, key))
			return true;
	return is_pairs(key);
}

char *diff_service(const struct service *before, const struct service *after,
		   const char *digest_before, const char *digest_after)
{
	_cleanup_json_ json_t *old = codec_encode(&service_schema, before);
	_cleanup_json_ json_t *new = codec_encode(&service_schema, after);
	struct strbuf text = STRBUF_INIT;
	const char *key;
	json_t *value;

	image_changes(&text, before, after, digest_before, digest_after);
	pair_changes(&text, "env", &before->env, &after->env);
	pair_changes(&text, "files", &before->files, &after->files);
	pair_changes(&text, "labels", &before->labels, &after->labels);
	pair_changes(&text, "sysctls", &before->sysctls, &after->sysctls);
	json_object_foreach (new, key, value)
		if (!shown_otherwise(key) && !json_equal(value, json_object_get(old, key)))
			add(&text, key);
	json_object_foreach (old, key, value)
		if (!shown_otherwise(key) && !json_object_get(new, key))
			add(&text, key);
	return text.size ? strbuf_steal(&text) : NULL;
}
