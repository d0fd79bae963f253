/* Decoding: JSON to structs, checked against the rows of their schemas. */
#include "lib/codec.h"

#include <errno.h>
#include <math.h>

#include "lib/codec-private.h"
#include "lib/str.h"

const char *pairs_get(const struct pairs *pairs, const char *key)
{
	for (size_t i = 0; i < pairs->count; i++)
		if (streq(pairs->items[i].key, key))
			return pairs->items[i].value;
	return NULL;
}

void pairs_add(struct pairs *pairs, const char *key, const char *value)
{
	struct pair *pair = array_add(pairs->items, pairs->count);

	pair->key = xstrdup(key);
	pair->value = xstrdup(value);
}

void pairs_free(struct pairs *pairs)
{
	for (size_t i = 0; i < pairs->count; i++) {
		free(pairs->items[i].key);
		free(pairs->items[i].value);
	}
	free(pairs->items);
	*pairs = (struct pairs){ NULL, 0 };
}

static const char *json_kind(const json_t *json)
{
	if (!json)
		return "nothing";
	switch (json_typeof(json)) {
	case JSON_OBJECT:
		return "an object";
	case JSON_ARRAY:
		return "a list";
	case JSON_STRING:
		return "a string";
	case JSON_INTEGER:
	case JSON_REAL:
		return "a number";
	case JSON_TRUE:
	case JSON_FALSE:
		return "true or false";
	case JSON_NULL:
		return "null";
	}
	return "something else";
}

static int wrong_type(const char *wanted, const json_t *json, struct failure *failure)
{
	return failure_set(failure, FAILURE_INVALID, NULL, "must be %s, not %s", wanted,
			   json_kind(json));
}

static bool in_range(const struct codec_field *field, double value)
{
	if (field->min == 0 && field->max == 0)
		return value >= 0;
	return value >= (double)field->min && value <= (double)field->max;
}

static int out_of_range(const struct codec_field *field, struct failure *failure)
{
	if (field->min == 0 && field->max == 0)
		return failure_set(failure, FAILURE_INVALID, NULL, "must not be negative");
	return failure_set(failure, FAILURE_INVALID, NULL, "must be between %lld and %lld",
			   (long long)field->min, (long long)field->max);
}

static void field_clear(const struct codec_field *field, void *object)
{
	void *at = codec_member(field, object);

	switch (field->type) {
	case CODEC_STRING:
	case CODEC_NAME:
		free(steal(*(char **)at));
		break;
	case CODEC_STRV:
		strv_free(steal(*(char ***)at));
		break;
	case CODEC_PAIRS:
		pairs_free(at);
		break;
	case CODEC_STRUCT:
		codec_clear(field->schema, at);
		break;
	case CODEC_POINTER:
		codec_destroy(field->schema, steal(*(void **)at));
		break;
	case CODEC_LIST:
	case CODEC_MAP: {
		size_t *count = codec_count(field, object);
		char *items = steal(*(char **)at);

		for (size_t i = 0; i < *count; i++)
			codec_clear(field->schema, items + i * field->schema->size);
		free(items);
		*count = 0;
		break;
	}
	case CODEC_JSON:
		json_decref(steal(*(json_t **)at));
		break;
	case CODEC_CUSTOM:
		if (field->custom->free)
			field->custom->free(at);
		break;
	case CODEC_BOOL:
	case CODEC_INT:
	case CODEC_REAL:
	case CODEC_ENUM:
	case CODEC_DURATION:
	case CODEC_SIZE:
		break;
	}
}

static void field_default(const struct codec_field *field, void *object)
{
	void *at = codec_member(field, object);

	switch (field->type) {
	case CODEC_STRING:
	case CODEC_NAME:
		*(char **)at = xstrdup(field->text);
		break;
	case CODEC_BOOL:
		*(bool *)at = field->initial != 0;
		break;
	case CODEC_INT:
		*(int64_t *)at = field->initial;
		break;
	case CODEC_REAL:
		*(double *)at = (double)field->initial;
		break;
	case CODEC_ENUM:
		*(int *)at = (int)field->initial;
		break;
	case CODEC_DURATION:
	case CODEC_SIZE:
		*(uint64_t *)at = (uint64_t)field->initial;
		break;
	case CODEC_STRUCT:
		codec_init(field->schema, at);
		break;
	case CODEC_CUSTOM:
		if (field->custom->set_default)
			field->custom->set_default(at);
		break;
	case CODEC_STRV:
	case CODEC_PAIRS:
	case CODEC_POINTER:
	case CODEC_LIST:
	case CODEC_MAP:
	case CODEC_JSON:
		break; /* zero is empty */
	}
}

static int decode_string(const struct codec_field *field, const json_t *json, char **at,
			 struct failure *failure)
{
	const char *s = json_string_value(json);

	if (!s)
		return wrong_type(json_is_number(json) ? "a string: put it in quotes" : "a string",
				  json, failure);
	/* A zero byte would end the text early for later readers. */
	if (strlen(s) != json_string_length(json))
		return failure_set(failure, FAILURE_INVALID, NULL, "holds a zero byte");
	if (field->type == CODEC_NAME && !name_valid(s))
		return failure_set(failure, FAILURE_INVALID,
				   "names are 1 to 63 of a-z, 0-9 and -, a letter first, no - last",
				   "'%s' is not a valid name", s);
	if ((field->flags & CODEC_REQUIRED) && !*s)
		return failure_set(failure, FAILURE_INVALID, NULL, "must not be empty");
	*at = xstrdup(s);
	return 0;
}

static int decode_number(const struct codec_field *field, const json_t *json, void *at,
			 struct failure *failure)
{
	if (field->type == CODEC_REAL ? !json_is_number(json) : !json_is_integer(json))
		return wrong_type(field->type == CODEC_REAL ? "a number" : "a whole number", json,
				  failure);
	if (!isfinite(json_number_value(json)) || !in_range(field, json_number_value(json)))
		return out_of_range(field, failure);
	if (field->type == CODEC_REAL)
		*(double *)at = json_number_value(json);
	else
		*(int64_t *)at = json_integer_value(json);
	return 0;
}

static int decode_enum(const struct codec_field *field, const json_t *json, int *at,
		       struct failure *failure)
{
	_cleanup_free_ char *all = NULL;
	const char *s = json_string_value(json);

	for (int i = 0; s && field->names[i]; i++)
		if (streq(s, field->names[i])) {
			*at = i;
			return 0;
		}
	all = strv_join((char *const *)field->names, ", ");
	if (!s)
		return failure_set(failure, FAILURE_INVALID, NULL, "must be one of %s, not %s", all,
				   json_kind(json));
	return failure_set(failure, FAILURE_INVALID, NULL, "must be one of %s, not '%s'", all, s);
}

static int decode_unit(const struct codec_field *field, const json_t *json, uint64_t *at,
		       struct failure *failure)
{
	const char *s = json_string_value(json);
	uint64_t value;

	if (field->type == CODEC_SIZE && json_is_integer(json) && json_integer_value(json) >= 0)
		value = (uint64_t)json_integer_value(json);
	else if (!s)
		return wrong_type(field->type == CODEC_SIZE ? "a size such as 64M"
							    : "a duration such as 10s",
				  json, failure);
	else if ((field->type == CODEC_SIZE ? size_parse(s, &value) : duration_parse(s, &value)) <
		 0)
		return failure_set(failure, FAILURE_INVALID, NULL, "must be %s, not '%s'",
				   field->type == CODEC_SIZE
					   ? "a size such as 64M or 2G"
					   : "a duration such as 500ms, 10s, 5m or 1h",
				   s);
	if (!in_range(field, (double)value)) {
		_cleanup_free_ char *min = field->type == CODEC_SIZE
						   ? size_format((uint64_t)field->min)
						   : duration_format((uint64_t)field->min);
		_cleanup_free_ char *max = field->type == CODEC_SIZE
						   ? size_format((uint64_t)field->max)
						   : duration_format((uint64_t)field->max);

		return failure_set(failure, FAILURE_INVALID, NULL, "must be between %s and %s", min,
				   max);
	}
	*at = value;
	return 0;
}

static void index_prefix(struct failure *failure, size_t i)
{
	_cleanup_free_ char *index = xasprintf("[%zu]", i);

	failure_prefix(failure, index);
}

static int decode_strv(const json_t *json, char ***at, struct failure *failure)
{
	static const struct codec_field item = { .type = CODEC_STRING };
	_cleanup_(strv_freep) char **v = NULL;
	size_t i;
	json_t *value;

	if (!json_is_array(json))
		return wrong_type("a list of strings", json, failure);
	if (json_array_size(json) == 0)
		return 0;
	v = xcalloc(json_array_size(json) + 1, sizeof(char *));
	json_array_foreach (json, i, value) {
		int r = decode_string(&item, value, &v[i], failure);

		if (r < 0) {
			index_prefix(failure, i);
			return r;
		}
	}
	*at = steal(v);
	return 0;
}

static int decode_pairs(const json_t *json, struct pairs *at, struct failure *failure)
{
	static const struct codec_field item = { .type = CODEC_STRING };
	const char *key;
	json_t *value;

	if (!json_is_object(json))
		return wrong_type("a map of strings", json, failure);
	json_object_foreach ((json_t *)json, key, value) {
		_cleanup_free_ char *text = NULL;
		int r = decode_string(&item, value, &text, failure);

		if (r < 0) {
			failure_prefix(failure, key);
			pairs_free(at);
			return r;
		}
		pairs_add(at, key, text);
	}
	return 0;
}

/* `object` owns what was decoded so far; clearing it frees that on failure. */
static int decode_list(const struct codec_field *field, const json_t *json, enum codec_mode mode,
		       void *object, struct failure *failure)
{
	size_t *count = codec_count(field, object);
	char *items;
	json_t *value;
	size_t i;

	if (!json_is_array(json))
		return wrong_type("a list", json, failure);
	if ((field->flags & CODEC_REQUIRED) && json_array_size(json) == 0)
		return failure_set(failure, FAILURE_INVALID, NULL, "must not be empty");
	if (json_array_size(json) == 0)
		return 0;
	items = array_new(json_array_size(json), field->schema->size);
	*(void **)codec_member(field, object) = items;
	json_array_foreach (json, i, value) {
		int r = codec_decode(field->schema, value, mode, items + i * field->schema->size,
				     failure);

		if (r < 0) {
			index_prefix(failure, i);
			return r;
		}
		*count = i + 1;
	}
	return 0;
}

static int decode_map(const struct codec_field *field, const json_t *json, enum codec_mode mode,
		      void *object, struct failure *failure)
{
	size_t *count = codec_count(field, object);
	const char *key;
	json_t *value;
	char *items;

	if (!json_is_object(json))
		return wrong_type("a map", json, failure);
	if (json_object_size(json) == 0)
		return 0;
	items = array_new(json_object_size(json), field->schema->size);
	*(void **)codec_member(field, object) = items;
	json_object_foreach ((json_t *)json, key, value) {
		char *item = items + *count * field->schema->size;
		int r = 0;

		if (!(field->flags & CODEC_ANY_KEY) && !name_valid(key))
			r = failure_set(
				failure, FAILURE_INVALID,
				"names are 1 to 63 of a-z, 0-9 and -, a letter first, no - last",
				"'%s' is not a valid name", key);
		else
			r = codec_decode(field->schema, value, mode, item, failure);
		if (r < 0) {
			failure_prefix(failure, key);
			return r;
		}
		free(*(char **)item);
		*(char **)item = xstrdup(key);
		(*count)++;
	}
	return 0;
}

static int field_decode(const struct codec_field *field, const json_t *json, enum codec_mode mode,
			void *object, struct failure *failure)
{
	void *at = codec_member(field, object);
	int r;

	switch (field->type) {
	case CODEC_STRING:
	case CODEC_NAME:
		return decode_string(field, json, at, failure);
	case CODEC_BOOL:
		if (!json_is_boolean(json))
			return wrong_type("true or false", json, failure);
		*(bool *)at = json_is_true(json);
		return 0;
	case CODEC_INT:
	case CODEC_REAL:
		return decode_number(field, json, at, failure);
	case CODEC_ENUM:
		return decode_enum(field, json, at, failure);
	case CODEC_DURATION:
	case CODEC_SIZE:
		return decode_unit(field, json, at, failure);
	case CODEC_STRV:
		r = decode_strv(json, at, failure);
		if (r == 0 && (field->flags & CODEC_REQUIRED) && !*(char ***)at)
			return failure_set(failure, FAILURE_INVALID, NULL, "must not be empty");
		return r;
	case CODEC_PAIRS:
		return decode_pairs(json, at, failure);
	case CODEC_STRUCT:
		return codec_decode(field->schema, json, mode, at, failure);
	case CODEC_POINTER:
		return codec_decode_new(field->schema, json, mode, at, failure);
	case CODEC_LIST:
		return decode_list(field, json, mode, object, failure);
	case CODEC_MAP:
		return decode_map(field, json, mode, object, failure);
	case CODEC_JSON:
		*(json_t **)at = json_incref((json_t *)json);
		return 0;
	case CODEC_CUSTOM:
		return field->custom->decode(json, at, failure);
	}
	return -EINVAL;
}

static const struct codec_field *field_find(const struct codec_schema *schema, const char *key)
{
	for (const struct codec_field *field = schema->fields; field->key; field++)
		if (streq(field->key, key))
			return field;
	return NULL;
}

static int refuse_unknown(const struct codec_schema *schema, const json_t *json,
			  struct failure *failure)
{
	const char *key;
	json_t *value;

	json_object_foreach ((json_t *)json, key, value) {
		const char *names[64], *nearest;
		size_t n = 0;

		if (field_find(schema, key))
			continue;
		for (const struct codec_field *field = schema->fields;
		     field->key && n < ARRAY_SIZE(names) - 1; field++)
			names[n++] = field->key;
		names[n] = NULL;
		nearest = str_nearest(key, names);
		failure_set(failure, FAILURE_INVALID, NULL,
			    nearest ? "unknown key (did you mean '%s'?)" : "unknown key", nearest);
		failure_prefix(failure, key);
		return -EINVAL;
	}
	return 0;
}

static int decode_fields(const struct codec_schema *schema, const json_t *json,
			 enum codec_mode mode, void *object, struct failure *failure)
{
	int r;

	if (!json_is_object(json))
		return wrong_type("an object", json, failure);
	if (mode == CODEC_STRICT) {
		r = refuse_unknown(schema, json, failure);
		if (r < 0)
			return r;
	}
	for (const struct codec_field *field = schema->fields; field->key; field++) {
		json_t *value = json_object_get(json, field->key);

		if (!value || json_is_null(value)) {
			if (field->flags & CODEC_REQUIRED) {
				failure_set(failure, FAILURE_INVALID, NULL, "is missing");
				failure_prefix(failure, field->key);
				return -EINVAL;
			}
			field_default(field, object);
			continue;
		}
		r = field_decode(field, value, mode, object, failure);
		if (r < 0) {
			failure_prefix(failure, field->key);
			return r;
		}
	}
	if (schema->keyed && mode == CODEC_LENIENT)
		*(char **)object =
			xstrdup(json_string_value(json_object_get(json, KEY_OF_ITS_OWN)));
	return schema->check ? schema->check(object, failure) : 0;
}

int codec_decode(const struct codec_schema *schema, const json_t *json, enum codec_mode mode,
		 void *object, struct failure *failure)
{
	struct failure scratch = FAILURE_INIT;
	int r;

	memset(object, 0, schema->size);
	r = decode_fields(schema, json, mode, object, failure ? failure : &scratch);
	failure_clear(&scratch);
	if (r < 0)
		codec_clear(schema, object);
	return r;
}

int codec_decode_new(const struct codec_schema *schema, const json_t *json, enum codec_mode mode,
		     void **ret, struct failure *failure)
{
	void *object = xmalloc(schema->size);
	int r = codec_decode(schema, json, mode, object, failure);

	if (r < 0) {
		free(object);
		return r;
	}
	*ret = object;
	return 0;
}

int codec_parse(const struct codec_schema *schema, const void *data, size_t size,
		enum codec_mode mode, void **ret, struct failure *failure)
{
	_cleanup_json_ json_t *json = NULL;
	json_error_t error;

	json = json_loadb(data, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
	if (!json)
		return failure_set(failure, FAILURE_INVALID, NULL,
				   "not valid JSON at line %d, column %d: %s", error.line,
				   error.column, error.text);
	return codec_decode_new(schema, json, mode, ret, failure);
}

void codec_init(const struct codec_schema *schema, void *object)
{
	memset(object, 0, schema->size);
	for (const struct codec_field *field = schema->fields; field->key; field++)
		field_default(field, object);
}

void *codec_new(const struct codec_schema *schema)
{
	void *object = xmalloc(schema->size);

	codec_init(schema, object);
	return object;
}

void codec_clear(const struct codec_schema *schema, void *object)
{
	for (const struct codec_field *field = schema->fields; field->key; field++)
		field_clear(field, object);
	if (schema->keyed)
		free(*(char **)object);
	memset(object, 0, schema->size);
}

void codec_destroy(const struct codec_schema *schema, void *object)
{
	if (!object)
		return;
	codec_clear(schema, object);
	free(object);
}
