#include "tests/fuzz/generate.h"

#include "lib/codec-private.h"
#include "lib/str.h"

#define DEPTH_MAX 7
#define ITEMS_MAX 3

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
	static const char *const names[] = { "web", "shop", "m1", "http", "a", "db", "x-1" };
	uint8_t kind = cursor_byte(c);

	return kind < 200 ? json_string(names[kind % ARRAY_SIZE(names)]) : make_text(c);
}

/* Words that mean something somewhere. */
static json_t *make_string(struct cursor *c)
{
	static const char *const words[] = {
		"i1",	      "m1",	    "d1",
		"10.101.1.2", "10.101.1.3", "shop.example",
		"/",	      "/api",	    "web",
		"sha256:00",  "*.example",  "10.101.1.0/24",
		"64M",	      "0750",	    "1:1",
		"ready",      "done",	    "2025-11-24T16:00:00.123Z",
		"member",     "shop/data",  "tcp/5432",
		"add",	      "",	    "::1",
	};
	uint8_t kind = cursor_byte(c);

	return kind < 200 ? json_string(words[kind % ARRAY_SIZE(words)]) : make_text(c);
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
							  : make_string(c));
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
	return json_string(n ? field->names[cursor_byte(c) % n] : NULL);
}

static json_t *make_field(struct cursor *c, const struct codec_field *field, int depth)
{
	switch (field->type) {
	case CODEC_STRING:
		return make_string(c);
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

json_t *generate(struct cursor *c, const struct codec_schema *schema)
{
	return make_object(c, schema, 0);
}
