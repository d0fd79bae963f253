/* Common to manifest-json.c and manifest-yaml.c: text in, a manifest or errors out. */
#ifndef PLOYZ_TESTS_FUZZ_MANIFEST_H
#define PLOYZ_TESTS_FUZZ_MANIFEST_H

#include "lib/document.h"
#include "lib/model/manifest.h"
#include "lib/str.h"
#include "tests/fuzz/fuzz.h"

#define ERRORS_MAX 100

/* `name:line:column: message`, with a position that exists in the text (or is its end). */
static inline void holds_place(const char *error, const char *name, const char *text, size_t size)
{
	size_t lines = 1;
	int line = 0, column = 0, read = 0;

	/* YAML has more kinds of line breaks. */
	for (size_t i = 0; i < size; i++)
		lines += text[i] == '\n' || text[i] == '\r' || (text[i] & 0x80);
	HOLDS(str_starts(error, name));
	HOLDS(sscanf(error + strlen(name), ":%d:%d: %n", &line, &column, &read) == 2 && read > 0);
	HOLDS(line >= 1 && (size_t)line <= lines + 1 && column >= 1 && (size_t)column <= size + 2);
	HOLDS(error[strlen(name) + (size_t)read]);
}

/* A manifest is the same after encoding and decoding, and as a document. */
static inline void holds_manifest(const struct manifest *manifest)
{
	_cleanup_free_ char *text = codec_print(&manifest_schema, manifest), *again = NULL;
	_cleanup_free_ char *hash = manifest_hash(manifest), *hash_again = NULL;
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;
	_cleanup_json_ json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	struct manifest *same = NULL;

	HOLDS(json && manifest_decode(json, &same, &failure) == 0);
	again = codec_print(&manifest_schema, same);
	HOLDS(streq(text, again));
	hash_again = manifest_hash(same);
	HOLDS(streq(hash, hash_again));
	for (size_t i = 0; i < manifest->n_services; i++) {
		_cleanup_free_ char *a = service_hash(&manifest->services[i], NULL);
		_cleanup_free_ char *b = service_hash(&same->services[i], NULL);
		const char *why = NULL;

		HOLDS(streq(a, b));
		service_update(manifest, &manifest->services[i], &why);
		HOLDS(why);
	}
	manifest_free(same);
}

static inline void manifest_input(const char *name, const uint8_t *data, size_t size)
{
	_cleanup_(strv_freep) char **errors = NULL;
	/* Allocated in its exact size, so that a read beyond it is detected. */
	_cleanup_free_ char *text = xmalloc(size);
	struct manifest *manifest = NULL;
	int r;

	if (size)
		memcpy(text, data, size);
	r = manifest_parse(name, text, size, &manifest, &errors);
	HOLDS(r <= 0 && (r == 0) == (manifest != NULL) && (r == 0) == !errors);
	HOLDS(strv_count(errors) <= ERRORS_MAX);
	for (char **error = errors; error && *error; error++)
		holds_place(*error, name, text, size);
	if (manifest)
		holds_manifest(manifest);
	manifest_free(manifest);
}

#endif
