/* What the tools that ask over the network share: who is asked, and the time. */
#ifndef PLOYZ_TESTS_TARGET_H
#define PLOYZ_TESTS_TARGET_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

static inline int64_t now_us(clockid_t id)
{
	struct timespec now;

	clock_gettime(id, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* An IPv4 address:port. */
static inline bool target_parse(const char *text, struct sockaddr_in *ret)
{
	char address[64];
	unsigned port;

	*ret = (struct sockaddr_in){ .sin_family = AF_INET };
	if (sscanf(text, "%63[0-9.]:%u", address, &port) != 2 ||
	    inet_pton(AF_INET, address, &ret->sin_addr) != 1)
		return false;
	ret->sin_port = htons((uint16_t)port);
	return true;
}

#endif
