/* Addresses in text, and the contents of a resolv.conf.
 *
 * The first byte chooses; the rest is the text.
 *
 * covers: dnsd/address.c
 *
 * options: -max_len=300 */
#include "dnsd/dnsd.h"
#include "tests/fuzz/fuzz.h"

static void holds_address(const struct address *address)
{
	_cleanup_free_ char *text = address_format(address);
	struct address same;
	uint32_t ipv4;

	HOLDS(address_parse(text, 1, &same) == 0 && address_equal(address, &same));
	HOLDS(!(address_is_loopback(address) && address_is_wildcard(address)));
	address_ipv4(address, &ipv4);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cursor c = { data, data + size };
	uint8_t which = cursor_byte(&c);
	_cleanup_free_ char *text = xstrndup((const char *)c.at, cursor_left(&c));
	struct address address, *addresses = NULL;
	size_t count;

	if (which & 1) {
		if (address_parse(text, DNSD_PORT, &address) == 0)
			holds_address(&address);
		return 0;
	}
	count = addresses_of_resolv_conf(text, &addresses);
	for (size_t i = 0; i < count; i++)
		holds_address(&addresses[i]);
	free(addresses);
	return 0;
}
