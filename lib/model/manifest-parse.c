#include "lib/model/manifest.h"

#include <errno.h>

#include "lib/document.h"
#include "lib/model/manifest-check.h"
#include "lib/map.h"
#include "lib/str.h"

#define ERRORS_MAX 100 /* more are of no use, and each costs a decoding */

static void first_rule(const char *path, const char *message, void *userdata)
{
	struct failure *failure = userdata;

	if (failure_is_set(failure))
		return;
	failure_set(failure, FAILURE_INVALID, NULL, "%s", message);
	failure_prefix(failure, path);
}

int manifest_decode(const json_t *json, struct manifest **ret, struct failure *failure)
{
	_cleanup_(manifest_freep) struct manifest *manifest = NULL;
	struct failure broken = FAILURE_INIT;
	int r = codec_decode_new(&manifest_schema, json, CODEC_STRICT, (void **)&manifest, failure);

	if (r < 0)
		return r;
	manifest_check(manifest, first_rule, &broken);
	if (failure_is_set(&broken)) {
		failure_move(failure, &broken);
		return -EINVAL;
	}
	*ret = steal(manifest);
	return 0;
}

/* Errors are collected by repairing a copy: each reported part is removed or filled in, and the
 * rest is decoded again until it has no error. */
struct collector {
	const char *name;
	const struct document *document;
	char **errors;
	struct map tries; /* path → how often it was repaired, 1 + n */
	struct map taint; /* top-level key, or `services.web`: parts with a reported error, whose
			     rules are not checked */
};

static void report(struct collector *c, const char *path, const char *message, const char *hint)
{
	int line, column;

	document_where(c->document, path, &line, &column);
	strv_push(&c->errors, xasprintf("%s:%d:%d: %s%s%s%s%s%s", c->name, line, column,
					path ? path : "", path ? ": " : "", message,
					hint ? " (" : "", hint ? hint : "", hint ? ")" : ""));
}

static char *part_of(const struct collector *c, const char *path)
{
	const json_t *root = document_root(c->document), *child;
	_cleanup_free_ char *top = NULL, *name = NULL;
	const char *rest = path;
	size_t index;

	if (!path || !document_step(root, &rest, &top, &index) || !top)
		return xstrdup("");
	child = json_object_get(root, top);
	if (!json_is_object(child) || !document_step(child, &rest, &name, &index))
		return steal(top);
	return xasprintf("%s.%s", top, name);
}

static void rule(const char *path, const char *message, void *userdata)
{
	struct collector *c = userdata;
	_cleanup_free_ char *part = part_of(c, path);

	if (!map_get(&c->taint, part) && strv_count(c->errors) < ERRORS_MAX)
		report(c, path, message, NULL);
}

/* The innermost member that holds `path` and that exists, and how much of the path is missing
 * below. */
struct found {
	json_t *owner; /* the object */
	char *key;
	json_t *missing; /* the object that lacks the last part, or NULL */
	char *missing_key;
};

static void found_clear(struct found *found)
{
	free(found->key);
	free(found->missing_key);
}

static void find(json_t *json, const char *path, struct found *found)
{
	while (path && *path) {
		_cleanup_free_ char *key = NULL;
		json_t *next;
		size_t index;

		if (!document_step(json, &path, &key, &index))
			return;
		next = key ? json_object_get(json, key) : json_array_get(json, index);
		if (key && json_is_object(json) && (!next || json_is_null(next)) && !*path) {
			found->missing = json;
			found->missing_key = steal(key);
			return;
		}
		if (!next)
			return;
		if (key) {
			free(found->key);
			found->owner = json;
			found->key = steal(key);
		}
		json = next;
	}
}

/* False: nothing can be repaired. */
static bool mend(json_t *work, const char *path, size_t n_tries)
{
	_cleanup_(found_clear) struct found found = { 0 };
	json_t *filler;

	find(work, path, &found);
	/* Replaces a missing required value by one of these; a value of the wrong type is removed
	 * again. */
	if (found.missing && n_tries / 2 < 4) {
		filler = n_tries / 2 == 0   ? json_string("x")
			 : n_tries / 2 == 1 ? json_integer(1)
			 : n_tries / 2 == 2 ? json_object()
					    : json_pack("[s]", "x");
		return json_object_set_new(found.missing, found.missing_key, filler) == 0;
	}
	return found.owner && json_object_del(found.owner, found.key) == 0;
}

static struct manifest *collect(struct collector *c)
{
	_cleanup_json_ json_t *work = json_deep_copy(document_root(c->document));

	for (size_t i = 0; i < 10 * ERRORS_MAX; i++) {
		_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;
		_cleanup_free_ char *part = NULL;
		struct manifest *manifest = NULL;
		uintptr_t tries;

		if (codec_decode_new(&manifest_schema, work, CODEC_STRICT, (void **)&manifest,
				     &failure) == 0)
			return manifest;
		part = part_of(c, failure.path);
		map_put(&c->taint, part, c);
		tries = (uintptr_t)map_get(&c->tries, failure.path ? failure.path : "");
		if (!tries)
			report(c, failure.path, failure.message, failure.hint);
		map_put(&c->tries, failure.path ? failure.path : "", (void *)(tries + 1));
		if (!failure.path || strv_count(c->errors) >= ERRORS_MAX ||
		    !mend(work, failure.path, tries))
			return NULL;
	}
	return NULL;
}

int manifest_parse(const char *name, const char *text, size_t size, struct manifest **ret,
		   char ***ret_errors)
{
	_cleanup_(document_freep) struct document *document = NULL;
	_cleanup_(manifest_freep) struct manifest *manifest = NULL;
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;
	struct collector c = { .name = name };
	int r;

	*ret_errors = NULL;
	if (size > MANIFEST_MAX_BYTES) {
		strv_push(ret_errors,
			  xasprintf("%s:1:1: larger than %d bytes", name, MANIFEST_MAX_BYTES));
		return -EFBIG;
	}
	r = document_parse(name, text, size, &document, &failure);
	if (r < 0) {
		strv_push(ret_errors, steal(failure.message));
		return r;
	}
	c.document = document;
	manifest = collect(&c);
	/* If a whole map is invalid, references into it are not checked. */
	if (manifest && !map_get(&c.taint, "services") && !map_get(&c.taint, "volumes"))
		manifest_check(manifest, rule, &c);
	map_clear(&c.tries, NULL);
	map_clear(&c.taint, NULL);
	*ret_errors = c.errors;
	if (c.errors || !manifest)
		return -EINVAL;
	*ret = steal(manifest);
	return 0;
}
