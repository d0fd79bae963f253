/* Addresses in text, and a resolv.conf that anybody wrote.
 *
 * The first byte chooses; the rest is the text.
 *
 * covers: dnsd/places.c
 *
 * options: -max_len=300 */
#include "dnsd/dnsd.h"
#include "tests/fuzz/fuzz.h"

static void holds_place(const struct place_of *place)
{
	_cleanup_free_ char *text = place_format(place);
	struct place_of same;
	uint32_t address;

	HOLDS(place_parse(text, 1, &same) == 0 && place_equal(place, &same));
	HOLDS(!(place_is_loopback(place) && place_is_wildcard(place)));
	place_ipv4(place, &address);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cursor c = { data, data + size };
	uint8_t which = cursor_byte(&c);
	_cleanup_free_ char *text = xstrndup((const char *)c.at, cursor_left(&c));
	struct place_of place, *places = NULL;
	size_t count;

	if (which & 1) {
		if (place_parse(text, DNSD_PORT, &place) == 0)
			holds_place(&place);
		return 0;
	}
	count = places_of_resolv_conf(text, &places);
	for (size_t i = 0; i < count; i++)
		holds_place(&places[i]);
	free(places);
	return 0;
}
