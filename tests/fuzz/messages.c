/* Messages of the bus, by every schema that travels there: bytes become an object or a failure with
 * words, and what was decoded is the same after another way over the wire.
 *
 * The first byte chooses the schema. The second: the rest is JSON as it comes, or what an object is
 * made of by the rows of the schema, so that every field of every schema has its turn. covers:
 * lib/codec.c lib/codec-encode.c lib/str.c options: -max_len=1024 */
#include "lib/codec-private.h"
#include "lib/ployz.h"
#include "tests/fuzz/fuzz.h"

#define SCHEMAS_MAX 200
#define DEPTH_MAX 5
#define ITEMS_MAX 3

static const struct codec_schema *schemas[SCHEMAS_MAX];
static size_t n_schemas;

static void add_schema(const struct codec_schema *schema)
{
	for (size_t i = 0; i < n_schemas; i++)
		if (schemas[i] == schema)
			return;
	HOLDS(n_schemas < SCHEMAS_MAX);
	schemas[n_schemas++] = schema;
	for (const struct codec_field *field = schema->fields; field->key; field++)
		if (field->schema)
			add_schema(field->schema);
}

/* Those of every subject, those of every bucket, and whatever they are made of. */
static void find_schemas(void)
{
	for (int i = 0; i < SUBJECT_COUNT; i++) {
		add_schema(subjects[i].request);
		add_schema(subjects[i].reply);
	}
	add_schema(&lease_schema);
	add_schema(&error_schema);
}

static json_t *make_text(struct cursor *c)
{
	size_t size;
	const char *part = cursor_part(c, &size);
	json_t *json = json_stringn(part, size);

	return json ? json : json_string("x");
}

static json_t *make_number(struct cursor *c, const struct codec_field *field)
{
	uint8_t kind = cursor_byte(c);

	switch (kind % 6) {
	case 0:
		return json_integer(field->min);
	case 1:
		return json_integer(field->max);
	case 2:
		return json_integer(field->max < INT64_MAX ? field->max + 1 : INT64_MIN);
	case 3:
		return json_real((double)(int8_t)cursor_byte(c) / 16);
	case 4:
		return json_integer((json_int_t)1 << cursor_byte(c) % 63);
	default:
		return json_integer(kind / 6);
	}
}

/* Anything, whatever the field is. */
static json_t *make_any(struct cursor *c)
{
	switch (cursor_byte(c) % 8) {
	case 0:
		return json_null();
	case 1:
		return json_true();
	case 2:
		return json_integer((int8_t)cursor_byte(c));
	case 3:
		return json_real(1e300);
	case 4:
		return json_array();
	case 5:
		return json_object();
	case 6:
		return json_pack("[n, b, s]", 0, "x");
	default:
		return make_text(c);
	}
}

static json_t *make_name(struct cursor *c)
{
	static const char *const names[] = { "a", "web", "shop", "m1", "x-1" };
	uint8_t kind = cursor_byte(c);

	return kind < 200 ? json_string(names[kind % ARRAY_SIZE(names)]) : make_text(c);
}

static json_t *make_unit(struct cursor *c, bool size)
{
	static const char *const units[] = { "ms", "s", "m", "h", "K", "M", "G", "T", "", "x" };
	uint8_t unit = cursor_byte(c);
	_cleanup_free_ char *text =
		xasprintf("%u%s", 1u << unit / 16, units[unit % ARRAY_SIZE(units)]);

	return size && unit > 240 ? json_integer((json_int_t)1 << cursor_byte(c) % 63)
				  : json_string(text);
}

static json_t *make_object(struct cursor *c, const struct codec_schema *schema, int depth);

static json_t *make_list(struct cursor *c, const struct codec_field *field, int depth)
{
	json_t *list = json_array();

	for (uint8_t n = cursor_byte(c) % (ITEMS_MAX + 1); n; n--)
		json_array_append_new(list, field->schema ? make_object(c, field->schema, depth + 1)
							  : make_text(c));
	return list;
}

static json_t *make_map(struct cursor *c, const struct codec_field *field, int depth)
{
	json_t *map = json_object();

	for (uint8_t n = cursor_byte(c) % (ITEMS_MAX + 1); n; n--) {
		json_t *key = make_name(c);

		json_object_set_new(map, json_string_value(key),
				    field->schema ? make_object(c, field->schema, depth + 1)
						  : make_text(c));
		json_decref(key);
	}
	return map;
}

static json_t *make_enum(struct cursor *c, const struct codec_field *field)
{
	size_t n = 0;

	while (field->names[n])
		n++;
	return json_string(field->names[cursor_byte(c) % n]);
}

static json_t *make_field(struct cursor *c, const struct codec_field *field, int depth)
{
	switch (field->type) {
	case CODEC_STRING:
		return cursor_byte(c) % 4 ? make_name(c) : make_text(c);
	case CODEC_NAME:
		return make_name(c);
	case CODEC_BOOL:
		return json_boolean(cursor_byte(c) & 1);
	case CODEC_INT:
	case CODEC_REAL:
		return make_number(c, field);
	case CODEC_ENUM:
		return make_enum(c, field);
	case CODEC_DURATION:
	case CODEC_SIZE:
		return make_unit(c, field->type == CODEC_SIZE);
	case CODEC_STRV:
	case CODEC_LIST:
		return make_list(c, field, depth);
	case CODEC_PAIRS:
	case CODEC_MAP:
		return make_map(c, field, depth);
	case CODEC_STRUCT:
	case CODEC_POINTER:
		return make_object(c, field->schema, depth + 1);
	case CODEC_JSON:
	case CODEC_CUSTOM:
		break;
	}
	return make_any(c);
}

/* Fields beyond the end of the input are there where they are needed, so that a short input is a
 * whole object. */
static json_t *make_object(struct cursor *c, const struct codec_schema *schema, int depth)
{
	json_t *object = json_object();

	for (const struct codec_field *field = schema->fields; field->key && depth < DEPTH_MAX;
	     field++) {
		bool needed = field->flags & CODEC_REQUIRED;
		uint8_t kind = cursor_left(c) ? cursor_byte(c) : needed ? 1 : 0;

		if (kind % 32 == 31)
			json_object_set_new(object, field->key, make_any(c));
		else if (kind % 3 || (needed && kind % 32 != 30))
			json_object_set_new(object, field->key, make_field(c, field, depth));
	}
	if (schema->keyed && depth == 0)
		json_object_set_new(object, KEY_OF_ITS_OWN, make_name(c));
	if (cursor_byte(c) == 0xfe)
		json_object_set_new(object, "of a later version", make_any(c));
	return object;
}

static bool is_zero(const struct codec_schema *schema, const void *object)
{
	for (size_t i = 0; i < schema->size; i++)
		if (((const char *)object)[i])
			return false;
	return true;
}

static void holds_failure(const struct failure *failure)
{
	HOLDS(failure_is_set(failure) && failure->message && *failure->message);
	HOLDS(failure_exit((enum failure_code)failure->code) != EXIT_DONE);
}

static void holds_object(const struct codec_schema *schema, const void *object)
{
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;
	_cleanup_free_ char *text = codec_print(schema, object), *again = NULL, *of_copy = NULL;
	void *same = NULL, *copy = codec_copy(schema, object);

	HOLDS(codec_parse(schema, text, strlen(text), CODEC_LENIENT, &same, &failure) == 0);
	again = codec_print(schema, same);
	of_copy = codec_print(schema, copy);
	HOLDS(streq(text, again) && streq(text, of_copy));
	codec_destroy(schema, same);
	codec_destroy(schema, copy);
}

static void take(const struct codec_schema *schema, const json_t *json, enum codec_mode mode)
{
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;
	void *object = xmalloc(schema->size);
	int r = codec_decode(schema, json, mode, object, &failure);

	HOLDS(r <= 0);
	if (r < 0) {
		holds_failure(&failure);
		HOLDS(is_zero(schema, object));
	} else {
		HOLDS(!failure_is_set(&failure));
		/* Strictly, a name that has no row comes from the map that it is the key of. */
		if (mode == CODEC_LENIENT)
			holds_object(schema, object);
	}
	codec_destroy(schema, object);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cursor c = { data, data + size };
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;
	const struct codec_schema *schema;
	void *object = NULL;
	uint8_t way;

	if (!n_schemas)
		find_schemas();
	schema = schemas[cursor_byte(&c) % n_schemas];
	way = cursor_byte(&c) % 4;
	if (way == 0) {
		if (codec_parse(schema, c.at, cursor_left(&c), CODEC_LENIENT, &object, &failure) <
		    0)
			holds_failure(&failure);
		else
			holds_object(schema, object);
		codec_destroy(schema, object);
	} else {
		_cleanup_json_ json_t *json = make_object(&c, schema, 0);

		take(schema, json, way == 1 ? CODEC_STRICT : CODEC_LENIENT);
	}
	return 0;
}
