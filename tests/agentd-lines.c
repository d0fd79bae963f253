/* Bytes from the engine: output in frames, lines of a pull, references of images. */
#include "agentd/agentd.h"
#include "tests/tap.h"

static void on_line(const char *stream, const char *line, size_t size, bool cut, void *userdata)
{
	struct strbuf *seen = userdata;

	if (size > 100)
		strbuf_printf(seen, "%s[%zu]%s;", stream, size, cut ? "cut" : "");
	else
		strbuf_printf(seen, "%s:%.*s%s;", stream, (int)size, line, cut ? "cut" : "");
}

static void frame(struct strbuf *out, int stream, const char *text, size_t size)
{
	const unsigned char header[8] = { (unsigned char)stream,
					  0,
					  0,
					  0,
					  (unsigned char)(size >> 24),
					  (unsigned char)(size >> 16),
					  (unsigned char)(size >> 8),
					  (unsigned char)size };

	strbuf_add(out, header, sizeof(header));
	strbuf_add(out, text, size);
}

/* Fed in pieces of `step` bytes, so that headers and lines are cut everywhere. */
static void feed(const struct strbuf *bytes, size_t step, const char *expected, const char *name)
{
	_cleanup_(strbuf_clear) struct strbuf seen = STRBUF_INIT;
	struct lines lines = { .fn = on_line, .userdata = &seen };

	for (size_t at = 0; at < bytes->size; at += step)
		lines_feed(&lines, bytes->text + at, MIN2(step, bytes->size - at));
	lines_flush(&lines);
	lines_clear(&lines);
	is(seen.text ? seen.text : "", expected, name);
}

static void frames(void)
{
	_cleanup_(strbuf_clear) struct strbuf bytes = STRBUF_INIT;
	_cleanup_(strbuf_clear) struct strbuf endless = STRBUF_INIT;
	_cleanup_(strbuf_clear) struct strbuf plain = STRBUF_INIT;
	_cleanup_free_ char *long_line = xmalloc(100000);
	char expected[64];

	frame(&bytes, 1, "one\ntw", 6);
	frame(&bytes, 2, "bad\r\n", 5);
	frame(&bytes, 1, "o\n", 2);
	frame(&bytes, 1, "", 0);
	frame(&bytes, 1, "\nend", 4);
	for (size_t step = 1; step <= bytes.size; step += 3)
		feed(&bytes, step, "stdout:one;stderr:bad;stdout:two;stdout:;stdout:end;",
		     "frames cut anywhere");
	memset(long_line, 'x', 100000);
	for (int i = 0; i < 30; i++)
		frame(&endless, 1, long_line, 100000);
	snprintf(expected, sizeof(expected), "stdout[%d]cut;", LINE_MAX_BYTES);
	feed(&endless, 4096, expected, "3 MB without a newline are one cut line");
	strbuf_puts(&plain, "no frames at all\nat all\n");
	feed(&plain, 5, "stdout:no frames at all;stdout:at all;", "plain output");
}

static void references(void)
{
	static const struct {
		const char *reference, *repository, *tag;
	} rows[] = {
		{ "web", "web", "latest" },
		{ "web:1.2", "web", "1.2" },
		{ "registry:5000/a/web", "registry:5000/a/web", "latest" },
		{ "registry:5000/a/web:2", "registry:5000/a/web", "2" },
		{ "web@sha256:abc", "web", "sha256:abc" },
		{ "registry:5000/web:2@sha256:abc", "registry:5000/web", "sha256:abc" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *repository = NULL, *tag = NULL;

		images_split(rows[i].reference, &repository, &tag);
		ok(streq(repository, rows[i].repository) && streq(tag, rows[i].tag),
		   "%s: %s and %s", rows[i].reference, repository, tag);
	}
}

static void pulls(void)
{
	static const char *const lines[] = {
		"{\"status\":\"Downloading\",\"id\":\"a\",\"progressDetail\":{\"current\":5,"
		"\"total\":10}}",
		"{\"status\":\"Downloading\",\"id\":\"b\",\"progressDetail\":{\"current\":99,"
		"\"total\":30}}",
		"{\"status\":\"Extracting\",\"id\":\"a\",\"progressDetail\":{\"current\":1,"
		"\"total\":10}}",
		"{\"status\":\"Downloading\",\"id\":\"c\",\"progressDetail\":{\"current\":-1,"
		"\"total\":-5}}",
		"not json",
		"[]",
		"{\"id\":7}",
		"",
	};
	struct pull_layers layers = { MAP_INIT, NULL };
	int64_t done, total;

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		pull_line(&layers, lines[i], strlen(lines[i]));
	pull_sum(&layers, &done, &total);
	is_int(done, 35, "bytes that are here, never more than there are");
	is_int(total, 40, "of all layers");
	is(layers.error, NULL, "no error yet");
	pull_line(&layers, "{\"error\":\"no such host\"}", 24);
	is(layers.error, "no such host", "the engine's own words");
	pull_clear(&layers);
}

static void bridges(void)
{
	static const struct {
		const char *subnet, *address;
	} rows[] = {
		{ "10.101.7.0/24", "10.101.7.1" },
		{ "10.101.7.0/16", NULL },
		{ "10.101.7.4/24", NULL },
		{ "10.101.7.0", NULL },
		{ "x/24", NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *address = network_bridge_address(rows[i].subnet);

		is(address, rows[i].address, rows[i].subnet);
	}
}

int main(void)
{
	frames();
	references();
	pulls();
	bridges();
	return tap_done();
}
