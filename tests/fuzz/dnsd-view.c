/* The stored view, as a damaged disk or another program may have left it: what is read back is a
 * whole view, and writing it gives the same.
 *
 * covers: dnsd/view.c
 * options: -max_len=400 */
#include "dnsd/dnsd.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(view_freep) struct view *view = NULL, *same = NULL;
	_cleanup_free_ char *text = NULL;
	size_t length;

	if (view_decode((const char *)data, size, &view) < 0) {
		HOLDS(!view);
		return 0;
	}
	text = view_encode(view, &length);
	HOLDS(view_decode(text, length, &same) == 0);
	HOLDS(same->entries.count == view->entries.count);
	HOLDS(memcmp(&same->applied, &view->applied, sizeof(view->applied)) == 0 &&
	      streq(same->seen, view->seen));
	for (struct map_item *item = NULL; (item = map_next(&view->entries, item));) {
		const struct view_entry *a = item->value, *b = view_get(same, item->key);

		HOLDS(b && a->size == b->size && memcmp(a->data, b->data, a->size) == 0);
	}
	return 0;
}
