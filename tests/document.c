#include "lib/document.h"
#include "lib/str.h"
#include "tests/tap.h"

/* The value as compact JSON, or a part of the error. */
static const struct {
	const char *name, *text, *json, *error;
} rows[] = {
	{ "m", "{\"a\": [1, \"x\"]}", "{\"a\":[1,\"x\"]}", NULL },
	{ "m", "  \n{}", "{}", NULL },
	{ "m", "{\"a\": 1,}", NULL, "m:1:9: not valid JSON" },
	{ "m", "{\n  \"a\": x}", NULL, "m:2:" },
	{ "m", "{\"a\": 1, \"a\": 2}", NULL, "not valid JSON: duplicate object key" },
	{ "m", "{a: 1}", NULL, "not valid JSON" },
	{ "m.json", "a: 1", NULL, "not valid JSON" },
	{ "m.json", "", NULL, "not valid JSON" },
	{ "m", "a: 1", "{\"a\":1}", NULL },
	{ "m", "[~, null, Null, '', \"\"]", "[null,null,null,\"\",\"\"]", NULL },
	{ "m", "[true, False, TRUE, yes, on, no]", "[true,false,true,\"yes\",\"on\",\"no\"]",
	  NULL },
	{ "m", "[7, -7, +7, 007, 0o17, 0xfF]", "[7,-7,7,7,15,255]", NULL },
	{ "m", "[1.5, 1e3, .5, 5., -2.5e-1]", "[1.5,1000.0,0.5,5.0,-0.25]", NULL },
	{ "m", "[1.2.3, 1_000, 0b1, 0o8, 10s, 1e, '7', .]",
	  "[\"1.2.3\",\"1_000\",\"0b1\",\"0o8\",\"10s\",\"1e\",\"7\",\".\"]", NULL },
	{ "m", "[2026-11-24, 12:30, <<]", "[\"2026-11-24\",\"12:30\",\"<<\"]", NULL },
	{ "m", "a:\n", "{\"a\":null}", NULL },
	{ "m", "a: |\n  x\n  y\n", "{\"a\":\"x\\ny\\n\"}", NULL },
	{ "m", "8080: x", "{\"8080\":\"x\"}", NULL },
	{ "m", "a: .inf", NULL, "m:1:4: a number out of range" },
	{ "m", "a: 99999999999999999999", NULL, "a number out of range" },
	{ "m", "a: 1e999", NULL, "a number out of range" },
	{ "m", "a: 1\nb: 2\na: 3", NULL, "m:3:1: the key 'a' is there twice" },
	{ "m", "a: &x 1", NULL, "m:1:4: anchors" },
	{ "m", "a: *x", NULL, "m:1:4: aliases" },
	{ "m", "a: &x [1]", NULL, "anchors" },
	{ "m", "a: &x {b: 1}", NULL, "anchors" },
	{ "m", "&k a: 1", NULL, "anchors" },
	{ "m", "<<: {a: 1}", NULL, "m:1:1: merge keys" },
	{ "m", "a: !!str 5", NULL, "tags" },
	{ "m", "a: !x {b: 1}", NULL, "tags" },
	{ "m", "? [a]\n: 1", NULL, "a key must be plain text" },
	{ "m", "a: 1\n---\nb: 1", NULL, "m:2:1: a second document" },
	{ "m", "", NULL, "nothing in it" },
	{ "m", "# only words\n", NULL, "nothing in it" },
	{ "m", "a: [1", NULL, "m:" },
	{ "m", "a: b: c", NULL, "m:1:5:" },
	{ "m", "\ta: 1", NULL, "m:1:1:" },
	{ "m", "a: \"\xff\"", NULL, "m:" },
	{ "m", "\"a\\0b\": 1", NULL, "zero byte" },
};

static const struct {
	const char *text, *path;
	int line, column;
} places[] = {
	{ "a: 1\nb:\n  c: [x, y]\n", "b.c[1]", 3, 10 },
	{ "a: 1\nb:\n  c: [x, y]\n", "b.c", 3, 3 },
	{ "a: 1\nb:\n  c: [x, y]\n", "b.z", 2, 1 },
	{ "a: 1\nb:\n  c: [x, y]\n", "b.c[7]", 3, 3 },
	{ "a: 1\n", NULL, 1, 1 },
	{ "a: {x.y: 1, x: 2}\n", "a.x.y", 1, 5 },
	{ "a: {x.y: 1, x: 2}\n", "a.x", 1, 13 },
	{ "{\"a\": 1,\n \"b\": {\"c\": [true, \"y\"]}}", "b.c[1]", 2, 20 },
	{ "{\"a\": 1,\n \"b\": {\"c\": [true, \"y\"]}}", "b.c", 2, 8 },
	{ "{\"a\\\"}\": [],\n \"b\": {}, \"c\": 1}", "c", 2, 11 },
	{ "{\"ü\": 1, \"b\": 2}", "b", 1, 10 },
	{ "\n {\"a\": 1}", NULL, 2, 2 },
};

static void test_depth(const char *label, const char *before, const char *open,
		       const char *expected)
{
	_cleanup_(document_freep) struct document *document = NULL;
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;
	_cleanup_(strbuf_clear) struct strbuf text = STRBUF_INIT;

	strbuf_puts(&text, before);
	for (int i = 0; i < 1000; i++)
		strbuf_puts(&text, open);
	for (int i = 0; i < 1000; i++)
		strbuf_puts(&text, "]");
	strbuf_puts(&text, *before == '{' ? "}" : "");
	ok(document_parse("m", text.text, text.size, &document, &failure) < 0 &&
		   strstr(failure.message, expected),
	   "too deep: %s (%s)", label, failure.message ? failure.message : "accepted");
}

int main(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_(document_freep) struct document *document = NULL;
		_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;
		_cleanup_free_ char *got = NULL;
		int r = document_parse(rows[i].name, rows[i].text, strlen(rows[i].text), &document,
				       &failure);

		got = r == 0 ? json_text(document_root(document)) : xstrdup(failure.message);
		if (!ok(rows[i].error ? r < 0 && strstr(got, rows[i].error)
				      : r == 0 && streq(got, rows[i].json),
			"row %zu", i)) {
			tap_show("text", rows[i].text);
			tap_show("got", got);
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		_cleanup_(document_freep) struct document *document = NULL;
		int line = 0, column = 0;

		if (document_parse("m", places[i].text, strlen(places[i].text), &document, NULL) ==
		    0)
			document_where(document, places[i].path, &line, &column);
		if (!ok(line == places[i].line && column == places[i].column, "place %zu", i))
			printf("#   got %d:%d\n", line, column);
	}
	test_depth("YAML", "a: ", "[", "nested too deep");
	test_depth("JSON", "{\"a\": ", "[", "nested deeper");
	return tap_done();
}
