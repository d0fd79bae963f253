/* Addresses (pure): IPv4 or IPv6 address and port, and their text. */
#include "dnsd/dnsd.h"

#include <arpa/inet.h>
#include <netdb.h>

int address_parse(const char *text, uint16_t port, struct address *ret)
{
	_cleanup_free_ char *copy = xstrdup(text);
	struct sockaddr_in *v4 = (struct sockaddr_in *)&ret->socket;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&ret->socket;
	char *host = copy, *colon = strrchr(copy, ':'), *service = NULL;
	int64_t number = port;

	if (*copy == '[') {
		char *end = strchr(copy, ']');

		if (!end || (end[1] && end[1] != ':'))
			return -EINVAL;
		host++;
		*end = '\0';
		service = end[1] ? end + 2 : NULL;
	} else if (colon && strchr(copy, ':') == colon) {
		*colon = '\0';
		service = colon + 1;
	}
	if (service && int_parse(service, 1, 65535, &number) < 0)
		return -EINVAL;
	memset(ret, 0, sizeof(*ret));
	if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons((uint16_t)number);
		ret->length = sizeof(*v4);
	} else if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons((uint16_t)number);
		ret->length = sizeof(*v6);
	} else {
		return -EINVAL;
	}
	return 0;
}

char *address_format(const struct address *address)
{
	char host[INET6_ADDRSTRLEN] = "", service[8] = "";

	getnameinfo((const struct sockaddr *)&address->socket, address->length, host, sizeof(host),
		    service, sizeof(service), NI_NUMERICHOST | NI_NUMERICSERV);
	return xasprintf(address->socket.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host,
			 service);
}

bool address_equal(const struct address *a, const struct address *b)
{
	return a->length == b->length && memcmp(&a->socket, &b->socket, a->length) == 0;
}

bool address_ipv4(const struct address *address, uint32_t *ret)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)&address->socket;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&address->socket;

	if (address->socket.ss_family == AF_INET)
		*ret = ntohl(v4->sin_addr.s_addr);
	else if (address->socket.ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
		*ret = knot_wire_read_u32(v6->sin6_addr.s6_addr + 12);
	else
		return false;
	return true;
}

bool address_is_loopback(const struct address *address)
{
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&address->socket;
	uint32_t ipv4;

	if (address_ipv4(address, &ipv4))
		return ipv4 >> 24 == 127;
	return address->socket.ss_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
}

bool address_is_wildcard(const struct address *address)
{
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&address->socket;
	uint32_t ipv4;

	if (address_ipv4(address, &ipv4))
		return ipv4 == 0;
	return address->socket.ss_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr);
}

size_t addresses_of_resolv_conf(const char *text, struct address **ret)
{
	_cleanup_(strv_freep) char **lines = strv_split(text, "\n");
	struct address *addresses = NULL, address;
	size_t count = 0;

	for (char **line = lines; line && *line; line++) {
		_cleanup_(strv_freep) char **words = strv_split(*line, " \t\r");

		if (strv_count(words) >= 2 && streq(words[0], "nameserver") &&
		    address_parse(words[1], DNSD_PORT, &address) == 0)
			*array_add(addresses, count) = address;
	}
	*ret = addresses;
	return count;
}
