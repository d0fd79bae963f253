#include <malloc.h>

#include "lib/codec.h"
#include "lib/str.h"

#include "tests/tap.h"

static const char *const colours[] = { "red", "green", NULL };

struct part {
	char *name; /* keyed */
	int64_t size;
};
static const struct codec_field part_fields[] = {
	FIELD(struct part, size, CODEC_INT, .min = 1, .max = 10, .initial = 3),
	FIELD_END,
};
static const struct codec_schema part_schema = {
	.name = "part",
	.size = sizeof(struct part),
	.fields = part_fields,
	.keyed = true,
};

struct thing {
	char *id;
	char *text;
	bool flag;
	int64_t number;
	double real;
	int colour;
	uint64_t wait, room;
	char **words;
	struct pairs env;
	struct part *parts;
	size_t n_parts;
	struct part *list;
	size_t n_list;
	struct part *one;
	json_t *raw;
};
static const struct codec_field thing_fields[] = {
	FIELD(struct thing, id, CODEC_NAME, .flags = CODEC_REQUIRED),
	FIELD(struct thing, text, CODEC_STRING, .text = "default"),
	FIELD(struct thing, flag, CODEC_BOOL, .initial = 1),
	FIELD(struct thing, number, CODEC_INT, .min = -5, .max = 5, .flags = CODEC_OMIT),
	FIELD(struct thing, real, CODEC_REAL),
	FIELD(struct thing, colour, CODEC_ENUM, .names = colours),
	FIELD(struct thing, wait, CODEC_DURATION, .initial = 1000000),
	FIELD(struct thing, room, CODEC_SIZE),
	FIELD(struct thing, words, CODEC_STRV),
	FIELD(struct thing, env, CODEC_PAIRS),
	FIELD_LIST(struct thing, parts, n_parts, CODEC_MAP, &part_schema),
	FIELD_LIST(struct thing, list, n_list, CODEC_LIST, &part_schema),
	FIELD(struct thing, one, CODEC_POINTER, .schema = &part_schema),
	FIELD(struct thing, raw, CODEC_JSON),
	FIELD_END,
};
static const struct codec_schema thing_schema = {
	.name = "thing",
	.size = sizeof(struct thing),
	.fields = thing_fields,
};

static const struct {
	const char *json;
	const char *path;    /* NULL: at the top */
	const char *message; /* NULL: it is good */
} rows[] = {
	{ "{\"id\":\"a\"}", NULL, NULL },
	{ "{\"id\":\"a\",\"text\":null}", NULL, NULL },
	{ "[]", NULL, "must be an object, not a list" },
	{ "{}", "id", "is missing" },
	{ "{\"id\":null}", "id", "is missing" },
	{ "{\"id\":\"A\"}", "id", "'A' is not a valid name" },
	{ "{\"id\":7}", "id", "must be a string: put it in quotes, not a number" },
	{ "{\"id\":\"a\",\"idd\":1}", "idd", "unknown key (did you mean 'id'?)" },
	{ "{\"id\":\"a\",\"xyzzyx\":1}", "xyzzyx", "unknown key" },
	{ "{\"id\":\"a\",\"flag\":\"yes\"}", "flag", "must be true or false, not a string" },
	{ "{\"id\":\"a\",\"number\":6}", "number", "must be between -5 and 5" },
	{ "{\"id\":\"a\",\"number\":1.5}", "number", "must be a whole number, not a number" },
	{ "{\"id\":\"a\",\"real\":-1}", "real", "must not be negative" },
	{ "{\"id\":\"a\",\"colour\":\"blue\"}", "colour", "must be one of red, green, not 'blue'" },
	{ "{\"id\":\"a\",\"wait\":\"soon\"}", "wait",
	  "must be a duration such as 500ms, 10s, 5m or 1h, not 'soon'" },
	{ "{\"id\":\"a\",\"wait\":5}", "wait", "must be a duration such as 10s, not a number" },
	{ "{\"id\":\"a\",\"room\":\"64MB\"}", "room",
	  "must be a size such as 64M or 2G, not '64MB'" },
	{ "{\"id\":\"a\",\"words\":\"w\"}", "words", "must be a list of strings, not a string" },
	{ "{\"id\":\"a\",\"words\":[\"w\",3]}", "words[1]",
	  "must be a string: put it in quotes, not a number" },
	{ "{\"id\":\"a\",\"env\":{\"A\":1}}", "env.A",
	  "must be a string: put it in quotes, not a number" },
	{ "{\"id\":\"a\",\"text\":\"a\\u0000b\"}", "text", "holds a zero byte" },
	{ "{\"id\":\"a\",\"parts\":{\"X\":{}}}", "parts.X", "'X' is not a valid name" },
	{ "{\"id\":\"a\",\"parts\":{\"x\":{\"size\":0}}}", "parts.x.size",
	  "must be between 1 and 10" },
	{ "{\"id\":\"a\",\"list\":[{},{\"size\":11}]}", "list[1].size",
	  "must be between 1 and 10" },
	{ "{\"id\":\"a\",\"one\":[]}", "one", "must be an object, not a list" },
};

static void test_rows(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct failure failure = FAILURE_INIT;
		void *thing = NULL;
		int r = codec_parse(&thing_schema, rows[i].json, strlen(rows[i].json), CODEC_STRICT,
				    &thing, &failure);

		ok((r < 0) == (rows[i].message != NULL), "%s %s", rows[i].json,
		   rows[i].message ? "is refused" : "is good");
		is(failure.message, rows[i].message, "  in these words");
		is(failure.path, rows[i].path, "  at this place");
		if (r < 0) {
			unsigned char zero[sizeof(struct thing)] = { 0 };
			struct thing left;
			_cleanup_json_ json_t *json =
				json_loads(rows[i].json, JSON_ALLOW_NUL, NULL);

			codec_decode(&thing_schema, json, CODEC_STRICT, &left, NULL);
			ok(memcmp((unsigned char *)&left, zero, sizeof(zero)) == 0,
			   "  and nothing is left of it");
		}
		codec_destroy(&thing_schema, thing);
		failure_clear(&failure);
	}
}

static void test_round_trip(void)
{
	static const char text[] = "{\"id\":\"a\",\"text\":\"t\",\"flag\":false,\"number\":-2,"
				   "\"real\":0.5,\"colour\":\"green\",\"wait\":\"90s\","
				   "\"room\":1024,\"words\":[\"x\",\"y\"],\"env\":{\"B\":\"2\","
				   "\"A\":\"1\"},\"parts\":{\"p\":{\"size\":4},\"o\":{\"size\":3}},"
				   "\"list\":[{\"size\":9}],\"one\":{\"size\":5,\"name\":\"uno\"},"
				   "\"raw\":[1,{\"k\":null}]}";
	_cleanup_free_ char *back = NULL, *again = NULL;
	void *object = NULL;
	struct thing *thing, *copy;

	ok(codec_parse(&thing_schema, text, strlen(text), CODEC_LENIENT, &object, NULL) == 0,
	   "every type decodes");
	thing = object;
	ok(thing->n_parts == 2 && streq(thing->parts[0].name, "p") && thing->parts[1].size == 3,
	   "a map keeps the document's order and its keys");
	is(thing->one->name, "uno", "a keyed struct that stands alone has its name");
	is(pairs_get(&thing->env, "A"), "1", "pairs are found by key");
	back = codec_print(&thing_schema, thing);
	is(back, text, "what was decoded encodes to the same text");
	copy = codec_copy(&thing_schema, thing);
	codec_destroy(&thing_schema, thing);
	again = codec_print(&thing_schema, copy);
	is(again, text, "a copy stands without its original");
	codec_destroy(&thing_schema, copy);
}

/* Whatever got into a struct from an argument or a container: it travels, and nobody ends for it.
 */
static void test_bytes(void)
{
	struct pair pair = { (char *)"K\xff", (char *)"v\xc3" };
	char *words[] = { (char *)"\x80", NULL };
	struct thing thing = { .id = (char *)"a", .text = (char *)"cut\xe2\x82", .words = words };
	_cleanup_free_ char *text = NULL;

	thing.env = (struct pairs){ &pair, 1 };
	text = codec_print(&thing_schema, &thing);
	ok(strstr(text, "\"cut\xef\xbf\xbd\xef\xbf\xbd\"") && strstr(text, "[\"\xef\xbf\xbd\"]") &&
		   strstr(text, "{\"K\xef\xbf\xbd\":\"v\xef\xbf\xbd\"}"),
	   "what is no UTF-8 is replaced: %s", text);
}

/* A list that came over the bus is gone on with: a deploy's record gets its next phase. */
static void test_grown(void)
{
	static const char text[] =
		"{\"id\":\"a\",\"list\":[{\"size\":1},{\"size\":2},{\"size\":3}],"
		"\"parts\":{\"x\":{},\"y\":{},\"z\":{}}}";
	void *object = NULL;
	struct thing *thing;

	ok(codec_parse(&thing_schema, text, strlen(text), CODEC_STRICT, &object, NULL) == 0,
	   "lists of three");
	thing = object;
	array_add(thing->list, thing->n_list)->size = 4;
	array_add(thing->parts, thing->n_parts)->name = xstrdup("more");
	ok(malloc_usable_size(thing->list) >= 4 * sizeof(struct part) &&
		   malloc_usable_size(thing->parts) >= 4 * sizeof(struct part),
	   "what was decoded has room for what is added");
	ok(thing->n_list == 4 && thing->list[2].size == 3 && thing->list[3].size == 4,
	   "behind what was there");
	codec_destroy(&thing_schema, thing);
}

int main(void)
{
	_cleanup_free_ char *text = NULL;
	void *object = NULL;
	struct thing *thing;

	test_rows();
	test_round_trip();
	test_bytes();
	test_grown();
	ok(codec_parse(&thing_schema, "{\"id\":\"a\",\"zzz\":1}", 18, CODEC_LENIENT, &object,
		       NULL) == 0,
	   "unknown keys pass on the bus");
	thing = object;
	ok(streq(thing->text, "default") && thing->flag && thing->wait == 1000000 &&
		   thing->colour == 0 && !thing->words,
	   "what is absent has its default");
	text = codec_print(&thing_schema, thing);
	ok(!strstr(text, "number") && strstr(text, "\"flag\":true"),
	   "a default is left out where its row says so");
	codec_destroy(&thing_schema, thing);
	ok(codec_decode_new(&thing_schema, NULL, CODEC_LENIENT, &object, NULL) < 0,
	   "nothing is refused");
	ok(codec_parse(&thing_schema, "{\"id\":", 6, CODEC_LENIENT, &object, NULL) < 0,
	   "half a document is refused");
	ok(codec_parse(&thing_schema, "{\"id\":\"a\",\"id\":\"b\"}", 19, CODEC_LENIENT, &object,
		       NULL) < 0,
	   "a key that stands twice is refused");
	return tap_done();
}
