/* Messages of the bus, by every schema that travels there: bytes are decoded into an object or
 * refused with a message, and a decoded object is the same after encoding and decoding.
 *
 * The first byte chooses the schema. The second: the rest is JSON, or the input of a generator that
 * follows the schema's rows, so that every field of every schema is reached.
 *
 * covers: lib/codec.c lib/codec-encode.c lib/str.c
 *
 * options: -max_len=1024 */
#include "lib/ployz.h"
#include "tests/fuzz/generate.h"

#define SCHEMAS_MAX 200

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
		_cleanup_json_ json_t *json = generate(&c, schema);

		take(schema, json, way == 1 ? CODEC_STRICT : CODEC_LENIENT);
	}
	return 0;
}
