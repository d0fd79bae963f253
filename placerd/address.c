/* Address: which listening addresses exclude each other. */
#include "placerd/placerd.h"

static bool is_any(const char *address)
{
	static const char *const names[] = { "", "*", "0.0.0.0", "::", "[::]" };

	if (!address)
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (streq(address, names[i]))
			return true;
	return false;
}

/* Without the brackets of an IPv6 address. */
static size_t bare(const char **address)
{
	size_t length = strlen(*address);

	if (length < 2 || (*address)[0] != '[' || (*address)[length - 1] != ']')
		return length;
	(*address)++;
	return length - 2;
}

bool addresses_overlap(const char *a, const char *b)
{
	size_t length;

	if (is_any(a) || is_any(b))
		return true;
	length = bare(&a);
	return length == bare(&b) && strncmp(a, b, length) == 0;
}

bool gateway_has_port(const struct probe *probe, int64_t port, const char *address)
{
	for (char **bind = probe->gateway_http; bind && *bind; bind++) {
		const char *colon = strrchr(*bind, ':');
		_cleanup_free_ char *at = colon ? xstrndup(*bind, (size_t)(colon - *bind)) : NULL;
		int64_t number;

		if (colon && int_parse(colon + 1, 1, 65535, &number) == 0 && number == port &&
		    addresses_overlap(at, address))
			return true;
	}
	return false;
}
