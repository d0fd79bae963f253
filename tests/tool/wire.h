/* What testsvc and who talks to it have to agree on. */
#ifndef PLOYZ_TESTS_WIRE_H
#define PLOYZ_TESTS_WIRE_H

#include <nettle/base64.h>
#include <nettle/sha1.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Word K of /bytes/N is K × PATTERN, little-endian: a byte that is missing shows. */
#define PATTERN 0x9E3779B97F4A7C15u

#define OPCODE_TEXT 0x1
#define OPCODE_CLOSE 0x8
#define OPCODE_PING 0x9
#define OPCODE_PONG 0xA

/* The value of a header, empty when there is none. `head` is the request or answer without its
 * body. */
static inline void header_get(const char *head, const char *name, char *ret, size_t size)
{
	size_t length = strlen(name);

	ret[0] = '\0';
	for (const char *line = head; (line = strchr(line, '\n')); line++)
		if (strncasecmp(line + 1, name, length) == 0 && line[1 + length] == ':') {
			line += 1 + length + 1;
			line += strspn(line, " ");
			snprintf(ret, size, "%.*s", (int)strcspn(line, "\r\n"), line);
			return;
		}
}

/* Sec-WebSocket-Accept to a Sec-WebSocket-Key (RFC 6455, 4.2.2). */
#define ACCEPT_SIZE BASE64_ENCODE_RAW_LENGTH(SHA1_DIGEST_SIZE)
static inline void websocket_accept(const char *key, char ret[ACCEPT_SIZE + 1])
{
	static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
	uint8_t digest[SHA1_DIGEST_SIZE];
	struct sha1_ctx sha1;

	sha1_init(&sha1);
	sha1_update(&sha1, strlen(key), (const uint8_t *)key);
	sha1_update(&sha1, strlen(guid), (const uint8_t *)guid);
	sha1_digest(&sha1, sizeof(digest), digest);
	base64_encode_raw(ret, sizeof(digest), digest);
	ret[ACCEPT_SIZE] = '\0';
}

#endif
