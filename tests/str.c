#include "lib/str.h"

#include "tests/tap.h"

static const struct {
	const char *name;
	bool valid;
} names[] = {
	{ "web", true },
	{ "a", true },
	{ "a-b-9", true },
	{ "", false },
	{ "9a", false },
	{ "-a", false },
	{ "a-", false },
	{ "A", false },
	{ "a.b", false },
	{ "a_b", false },
	{ "\xc3\xa4", false },
	{ "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", true },
	{ "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false },
};

static const struct {
	const char *host;
	bool valid;
} hosts[] = {
	{ "shop.example", true }, { "localhost", true }, { "*.shop.example", true },
	{ "*", false },		  { "a..b", false },	 { ".a", false },
	{ "a.", false },	  { "-a.b", false },	 { "a-.b", false },
	{ "a b", false },	  { "1.2.3.4", true },	 { "Shop.example", false },
	{ "a.*.b", false },
};

static const struct {
	const char *text;
	long long usec; /* -1: refused */
	const char *back;
} durations[] = {
	{ "500ms", 500000, "500ms" },
	{ "10s", 10000000, "10s" },
	{ "5m", 300000000, "5m" },
	{ "1h", 3600000000, "1h" },
	{ "90s", 90000000, "90s" },
	{ "0s", 0, "0ms" },
	{ "60m", 3600000000, "1h" },
	{ "", -1, NULL },
	{ "10", -1, NULL },
	{ "s", -1, NULL },
	{ "-1s", -1, NULL },
	{ "1.5s", -1, NULL },
	{ "1d", -1, NULL },
	{ "1 s", -1, NULL },
	{ "99999999999999999999s", -1, NULL },
	{ "9999999999999999h", -1, NULL },
};

static const struct {
	const char *text;
	long long bytes; /* -1: refused */
	const char *back;
} sizes[] = {
	{ "512", 512, "512" },
	{ "64M", 67108864, "64M" },
	{ "2G", 2147483648, "2G" },
	{ "1K", 1024, "1K" },
	{ "1T", 1099511627776, "1T" },
	{ "1024K", 1048576, "1M" },
	{ "0", 0, "0" },
	{ "", -1, NULL },
	{ "M", -1, NULL },
	{ "64MB", -1, NULL },
	{ "64m", -1, NULL },
	{ "-1", -1, NULL },
	{ "99999999T", -1, NULL },
};

static const struct {
	const char *text;
	const char *nearest;
} nearest[] = {
	{ "replica", "replicas" }, { "iamge", "image" }, { "comand", "command" },
	{ "zzzzzzzz", NULL },	   { "env", "env" },
};

static void test_units(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(durations); i++) {
		_cleanup_free_ char *back = NULL,
				    *name = xasprintf("duration '%s'", durations[i].text);
		uint64_t usec = 0;
		int r = duration_parse(durations[i].text, &usec);

		is_int(r < 0 ? -1 : (long long)usec, durations[i].usec, name);
		if (r < 0)
			continue;
		back = duration_format(usec);
		is(back, durations[i].back, name);
	}
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		_cleanup_free_ char *back = NULL, *name = xasprintf("size '%s'", sizes[i].text);
		uint64_t bytes = 0;
		int r = size_parse(sizes[i].text, &bytes);

		is_int(r < 0 ? -1 : (long long)bytes, sizes[i].bytes, name);
		if (r < 0)
			continue;
		back = size_format(bytes);
		is(back, sizes[i].back, name);
	}
}

static void test_time(void)
{
	_cleanup_free_ char *text = time_format(1764000000123000ull);
	_cleanup_free_ char *id = id_new(), *other = id_new(), *hash = hash_hex("abc", 3);
	uint64_t usec = 0;

	is(text, "2025-11-24T16:00:00.123Z", "time as RFC 3339 with milliseconds");
	ok(time_parse(text, &usec) == 0 && usec == 1764000000123000ull, "and back");
	ok(time_parse("2025-11-24T16:00:00.123456789Z", &usec) == 0 && usec == 1764000000123456ull,
	   "nanoseconds, as nats-server writes them");
	ok(time_parse("yesterday", &usec) < 0 && time_parse(NULL, &usec) < 0,
	   "other texts are refused");
	ok(name_valid(id) && strlen(id) == 12 && strcmp(id, other) != 0,
	   "ids are names, and differ");
	/* FIPS 180-2, appendix B.1 */
	is(hash, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
	   "SHA-256 of 'abc'");
}

static void test_characters(void)
{
	static const struct {
		const char *bytes;
		size_t size;
		const char *text;
	} valid[] = {
		{ "plain", 5, "plain" },
		{ "gr\xc3\xbc\xc3\x9f", 6, "gr\xc3\xbc\xc3\x9f" },
		{ "bad\xff!", 5, "bad\xef\xbf\xbd!" },
		{ "cut\xc3", 4, "cut\xef\xbf\xbd" },
		{ "a\0b", 3,
		  "a\xef\xbf\xbd"
		  "b" },
		{ "\xf0\x9f\x98\x80", 4, "\xf0\x9f\x98\x80" },
		{ "\xc0\xaf", 2, "\xef\xbf\xbd\xef\xbf\xbd" },
		{ "\xed\xa0\x80", 3, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
		{ "", 0, "" },
	};
	static const struct {
		const char *text;
		size_t most;
		const char *cut;
	} cuts[] = {
		{ "plain", 5, "plain" },	   { "plain", 4, "plai" },
		{ "gr\xc3\xbc\xc3\x9f", 3, "gr" }, { "gr\xc3\xbc\xc3\x9f", 4, "gr\xc3\xbc" },
		{ "\xf0\x9f\x98\x80", 3, "" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(valid); i++) {
		_cleanup_free_ char *text = str_valid(valid[i].bytes, valid[i].size);

		is(text, valid[i].text, "what is no UTF-8 is replaced");
	}
	for (size_t i = 0; i < ARRAY_SIZE(cuts); i++) {
		_cleanup_free_ char *text = str_cut(cuts[i].text, cuts[i].most);

		is(text, cuts[i].cut, "no character is cut in two");
	}
}

static void test_lists(void)
{
	_cleanup_(strv_freep) char **v = strv_split(".a..bc.", ".");
	_cleanup_free_ char *joined = strv_join(v, "+");
	struct strbuf b = STRBUF_INIT;

	is(joined, "a+bc", "split drops empty parts, join puts a separator between");
	ok(strv_contains(v, "bc") && !strv_contains(v, "b") && !strv_contains(NULL, "b"),
	   "contains");
	for (int i = 0; i < 1000; i++)
		strbuf_printf(&b, "%d,", i % 10);
	ok(b.size == 2000 && strlen(b.text) == 2000, "a buffer grows and stays terminated");
	strbuf_consume(&b, 1996);
	is(b.text, "8,9,", "consumed from the front");
	strbuf_clear(&b);
}

int main(void)
{
	static const char *const keys[] = { "image", "replicas", "command", "env", NULL };
	int64_t n;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		ok(name_valid(names[i].name) == names[i].valid, "name '%s' is %s", names[i].name,
		   names[i].valid ? "valid" : "refused");
	for (size_t i = 0; i < ARRAY_SIZE(hosts); i++)
		ok(hostname_valid(hosts[i].host) == hosts[i].valid, "host '%s' is %s",
		   hosts[i].host, hosts[i].valid ? "valid" : "refused");
	test_units();
	for (size_t i = 0; i < ARRAY_SIZE(nearest); i++)
		is(str_nearest(nearest[i].text, keys), nearest[i].nearest, "nearest known key");
	test_time();
	test_characters();
	test_lists();
	ok(int_parse("42", 0, 100, &n) == 0 && n == 42, "a number");
	ok(int_parse("101", 0, 100, &n) < 0 && int_parse("", 0, 9, &n) < 0 &&
		   int_parse("4x", 0, 9, &n) < 0 &&
		   int_parse("99999999999999999999", 0, INT64_MAX, &n) < 0,
	   "what is not one, or out of range, is refused");
	return tap_done();
}
