#include "dnsd/dnsd.h"

#include <arpa/inet.h>
#include <netdb.h>

int place_parse(const char *text, uint16_t port, struct place_of *ret)
{
	_cleanup_free_ char *host = xstrdup(text);
	struct sockaddr_in *v4 = (struct sockaddr_in *)&ret->address;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&ret->address;
	char *address = host, *colon = strrchr(host, ':'), *service = NULL;
	int64_t number = port;

	if (*host == '[') {
		char *end = strchr(host, ']');

		if (!end || (end[1] && end[1] != ':'))
			return -EINVAL;
		address++;
		*end = '\0';
		service = end[1] ? end + 2 : NULL;
	} else if (colon && strchr(host, ':') == colon) {
		*colon = '\0';
		service = colon + 1;
	}
	if (service && int_parse(service, 1, 65535, &number) < 0)
		return -EINVAL;
	memset(ret, 0, sizeof(*ret));
	if (inet_pton(AF_INET, address, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons((uint16_t)number);
		ret->length = sizeof(*v4);
	} else if (inet_pton(AF_INET6, address, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons((uint16_t)number);
		ret->length = sizeof(*v6);
	} else {
		return -EINVAL;
	}
	return 0;
}

char *place_format(const struct place_of *place)
{
	char host[INET6_ADDRSTRLEN] = "", service[8] = "";

	getnameinfo((const struct sockaddr *)&place->address, place->length, host, sizeof(host),
		    service, sizeof(service), NI_NUMERICHOST | NI_NUMERICSERV);
	return xasprintf(place->address.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, service);
}

bool place_equal(const struct place_of *a, const struct place_of *b)
{
	return a->length == b->length && memcmp(&a->address, &b->address, a->length) == 0;
}

bool place_ipv4(const struct place_of *place, uint32_t *ret)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)&place->address;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&place->address;

	if (place->address.ss_family == AF_INET)
		*ret = ntohl(v4->sin_addr.s_addr);
	else if (place->address.ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
		*ret = knot_wire_read_u32(v6->sin6_addr.s6_addr + 12);
	else
		return false;
	return true;
}

bool place_is_loopback(const struct place_of *place)
{
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&place->address;
	uint32_t address;

	if (place_ipv4(place, &address))
		return address >> 24 == 127;
	return place->address.ss_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
}

bool place_is_wildcard(const struct place_of *place)
{
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&place->address;
	uint32_t address;

	if (place_ipv4(place, &address))
		return address == 0;
	return place->address.ss_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr);
}

size_t places_of_resolv_conf(const char *text, struct place_of **ret)
{
	char **lines = strv_split(text, "\n");
	struct place_of *places = NULL, place;
	size_t count = 0;

	for (char **line = lines; line && *line; line++) {
		char **words = strv_split(*line, " \t\r");

		if (strv_count(words) >= 2 && streq(words[0], "nameserver") &&
		    place_parse(words[1], DNSD_PORT, &place) == 0) {
			struct place_of *new = array_add(places, count);

			*new = place;
		}
		strv_free(words);
	}
	strv_free(lines);
	*ret = places;
	return count;
}
