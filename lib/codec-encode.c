/* Encoding: structs to JSON, to text and to copies. */
#include "lib/codec.h"

#include "lib/codec-private.h"
#include "lib/str.h"

json_t *json_utf8(const char *s)
{
	_cleanup_free_ char *valid = NULL;
	json_t *json;

	if (!s)
		return json_null();
	json = json_string(s);
	if (json)
		return json;
	valid = str_valid(s, strlen(s));
	return json_string(valid);
}

/* Takes the value's reference; without a key it is left out. */
static void set(json_t *object, const char *key, json_t *value)
{
	_cleanup_json_ json_t *valid = key ? json_utf8(key) : NULL;

	json_object_set_new_nocheck(object, json_string_value(valid), value);
}

static json_t *encode_strv(char *const *v)
{
	json_t *list = json_array();

	for (; v && *v; v++)
		json_array_append_new(list, json_utf8(*v));
	return list;
}

static json_t *encode_pairs(const struct pairs *pairs)
{
	json_t *object = json_object();

	for (size_t i = 0; i < pairs->count; i++)
		set(object, pairs->items[i].key, json_utf8(pairs->items[i].value));
	return object;
}

static json_t *encode_fields(const struct codec_schema *schema, const void *object);

static json_t *encode_items(const struct codec_field *field, const void *object)
{
	json_t *all = field->type == CODEC_LIST ? json_array() : json_object();
	const char *items = *(char **)codec_member(field, object);

	for (size_t i = 0; i < *codec_count(field, object); i++) {
		const char *item = items + i * field->schema->size;

		if (field->type == CODEC_LIST)
			json_array_append_new(all, codec_encode(field->schema, item));
		else
			set(all, *(char *const *)item, encode_fields(field->schema, item));
	}
	return all;
}

static json_t *unless_default(const struct codec_field *field, bool is_default, json_t *json)
{
	if (!(field->flags & CODEC_OMIT) || !is_default)
		return json;
	json_decref(json);
	return NULL;
}

/* NULL: the key is left out. */
static json_t *field_encode(const struct codec_field *field, const void *object)
{
	const void *at = codec_member(field, object);
	_cleanup_free_ char *text = NULL;

	switch (field->type) {
	case CODEC_STRING:
	case CODEC_NAME:
		return *(char *const *)at ? json_utf8(*(char *const *)at) : NULL;
	case CODEC_BOOL:
		return unless_default(field, *(const bool *)at == (field->initial != 0),
				      json_boolean(*(const bool *)at));
	case CODEC_INT:
		return unless_default(field, *(const int64_t *)at == field->initial,
				      json_integer(*(const int64_t *)at));
	case CODEC_REAL:
		return unless_default(field, *(const double *)at == (double)field->initial,
				      json_real(*(const double *)at));
	case CODEC_ENUM:
		return unless_default(field, *(const int *)at == (int)field->initial,
				      json_string(field->names[*(const int *)at]));
	case CODEC_DURATION:
		text = duration_format(*(const uint64_t *)at);
		return unless_default(field, *(const uint64_t *)at == (uint64_t)field->initial,
				      json_string(text));
	case CODEC_SIZE:
		return unless_default(field, *(const uint64_t *)at == (uint64_t)field->initial,
				      json_integer((json_int_t) * (const uint64_t *)at));
	case CODEC_STRV:
		return *(char **const *)at ? encode_strv(*(char **const *)at) : NULL;
	case CODEC_PAIRS:
		return ((const struct pairs *)at)->count ? encode_pairs(at) : NULL;
	case CODEC_STRUCT: {
		json_t *json = codec_encode(field->schema, at);

		return unless_default(field, json_object_size(json) == 0, json);
	}
	case CODEC_POINTER:
		return *(void *const *)at ? codec_encode(field->schema, *(void *const *)at) : NULL;
	case CODEC_LIST:
	case CODEC_MAP:
		if (*codec_count(field, object) == 0 && !(field->flags & CODEC_REQUIRED))
			return NULL;
		return encode_items(field, object);
	case CODEC_JSON:
		return json_incref(*(json_t *const *)at);
	case CODEC_CUSTOM:
		return field->custom->encode(at);
	}
	return NULL;
}

static json_t *encode_fields(const struct codec_schema *schema, const void *object)
{
	json_t *json = json_object();

	if (!json)
		mem_exhausted();
	for (const struct codec_field *field = schema->fields; field->key; field++) {
		json_t *value = field_encode(field, object);

		if (value)
			json_object_set_new_nocheck(json, field->key, value);
	}
	return json;
}

json_t *codec_encode(const struct codec_schema *schema, const void *object)
{
	json_t *json = encode_fields(schema, object);

	if (schema->keyed && *(char *const *)object)
		json_object_set_new_nocheck(json, KEY_OF_ITS_OWN,
					    json_utf8(*(char *const *)object));
	return json;
}

char *codec_print(const struct codec_schema *schema, const void *object)
{
	_cleanup_json_ json_t *json = codec_encode(schema, object);

	return json_text(json);
}

void *codec_copy(const struct codec_schema *schema, const void *object)
{
	void *copy;

	if (!object)
		return NULL;
	copy = xmalloc(schema->size);
	codec_copy_into(schema, copy, object);
	return copy;
}

void codec_copy_into(const struct codec_schema *schema, void *to, const void *from)
{
	_cleanup_json_ json_t *json = codec_encode(schema, from);
	struct failure failure = FAILURE_INIT;

	/* What a schema has encoded it can decode; if its object was incomplete, the copy is empty.
	 */
	if (codec_decode(schema, json, CODEC_LENIENT, to, &failure) < 0)
		codec_init(schema, to);
	failure_clear(&failure);
}

static char *dump(const json_t *json, size_t flags)
{
	char *text = json_dumps(json, flags | JSON_COMPACT | JSON_ENCODE_ANY);

	if (!text)
		mem_exhausted();
	return text;
}

char *json_text(const json_t *json)
{
	return dump(json, 0);
}

char *json_sorted(const json_t *json)
{
	return dump(json, JSON_SORT_KEYS);
}
