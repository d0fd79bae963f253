/* view: entries in, a file out, and back; files that are damaged are refused. */
#include "dnsd/dnsd.h"
#include "tests/tap.h"

static struct view *make_view(void)
{
	struct view *view = view_new();

	view_put(view, "a.b", "{\"x\":1}", 7);
	view_put(view, "a.c", "line\nend\n", 9);
	view_put(view, "a.d", "", 0);
	view_put(view, "a.e", "gone", 4);
	view_put(view, "a.b", "{\"x\":2}", 7);
	view_put(view, "a.e", NULL, 0);
	view_put(view, "a.f", NULL, 0);
	view->applied = (struct watermark){ .generation = 2, .intent = 4711, .facts = 12 };
	view->seen = xstrdup("{\"PLOYZ_INTENT\":{}}");
	return view;
}

static bool is_entry(const struct view *view, const char *subject, const char *expected)
{
	const struct view_entry *entry = view_get(view, subject);

	if (!expected)
		return !entry;
	return entry && entry->size == strlen(expected) && streq(entry->data, expected);
}

static void test_round(const char *text, size_t size)
{
	struct view *view = NULL;

	is_int(view_decode(text, size, &view), 0, "a file is read back");
	if (!view)
		return;
	ok(view->applied.generation == 2 && view->applied.intent == 4711 &&
		   view->applied.facts == 12,
	   "its watermark");
	is(view->seen, "{\"PLOYZ_INTENT\":{}}", "what was seen");
	is_int((long long)view->entries.count, 3, "its entries");
	ok(is_entry(view, "a.b", "{\"x\":2}") && is_entry(view, "a.c", "line\nend\n") &&
		   is_entry(view, "a.d", "") && is_entry(view, "a.e", NULL),
	   "the last one of each subject");
	view_free(view);
}

/* Each length that is not the whole one, and each byte changed: refused, or another whole view. */
static void test_damage(const char *text, size_t size)
{
	_cleanup_free_ char *copy = xmemdup(text, size);
	unsigned wrong = 0;

	for (size_t length = 0; length < size; length++) {
		_cleanup_free_ char *cut = xmemdup(text, length);
		struct view *view = NULL;

		wrong += view_decode(cut, length, &view) != -EBADMSG;
		view_free(view);
	}
	is_int(wrong, 0, "a file that was cut is refused");
	for (size_t at = 0; at < size; at++) {
		for (int value = 0; value < 256; value++) {
			struct view *view = NULL;

			copy[at] = (char)value;
			if (view_decode(copy, size, &view) == 0 && !view)
				wrong++;
			view_free(view);
		}
		copy[at] = text[at];
	}
	is_int(wrong, 0, "a file with one byte changed");
}

/* A text that ends at a zero byte would be written back shorter than it was read. */
static void test_zero(void)
{
	static const char text[] = "ployz-dnsd-view 1 1 2 3 0\n\0\nend\n";
	struct view *view = NULL;

	is_int(view_decode(text, sizeof(text) - 1, &view), -EBADMSG,
	       "a zero byte in what was seen is refused");
	view_free(view);
}

int main(void)
{
	static const struct {
		const char *what, *text;
	} refused[] = {
		{ "an empty file", "" },
		{ "no header", "end\n" },
		{ "another version", "ployz-dnsd-view 2 1 1 1 0\n{}\nend\n" },
		{ "a number too few", "ployz-dnsd-view 1 1 1 0\n{}\nend\n" },
		{ "a number too many", "ployz-dnsd-view 1 1 1 1 0 0\n{}\nend\n" },
		{ "a negative sequence", "ployz-dnsd-view 1 1 1 -1 0\n{}\nend\n" },
		{ "nothing that was seen", "ployz-dnsd-view 1 1 1 1 0\n" },
		{ "an entry too few", "ployz-dnsd-view 1 1 1 1 1\n{}\nend\n" },
		{ "a line too many", "ployz-dnsd-view 1 1 1 1 0\n{}\nend\nend\n" },
		{ "an entry too many", "ployz-dnsd-view 1 1 1 1 0\n{}\na 0\n\nend\n" },
		{ "an entry shorter than its size",
		  "ployz-dnsd-view 1 1 1 1 1\n{}\na 3\nx\nend\n" },
		{ "a size beyond the file",
		  "ployz-dnsd-view 1 1 1 1 1\n{}\na 99999999999\nx\nend\n" },
		{ "a negative size", "ployz-dnsd-view 1 1 1 1 1\n{}\na -1\nx\nend\n" },
		{ "no size", "ployz-dnsd-view 1 1 1 1 1\n{}\na\nx\nend\n" },
		{ "a huge count",
		  "ployz-dnsd-view 1 1 1 1 9223372036854775807\n{}\na 1\nx\nend\n" },
	};
	struct view *view = make_view();
	size_t size;
	char *text = view_encode(view, &size);

	test_round(text, size);
	test_damage(text, size);
	test_zero();
	free(text);
	view_free(view);
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		view = NULL;
		is_int(view_decode(refused[i].text, strlen(refused[i].text), &view), -EBADMSG,
		       refused[i].what);
		view_free(view);
	}
	view = NULL;
	is_int(view_decode("ployz-dnsd-view 1 1 0 0 0\n\nend\n", 31, &view), 0,
	       "a view without entries");
	view_free(view);
	return tap_done();
}
