/* Name (pure): parses a name of a query. */
#include "dnsd/dnsd.h"

#include <stdio.h>

#define LABELS 6 /* no name of the zone has more, and no reverse name of an IPv4 address */

struct labels {
	char text[LABELS][64];
	size_t count;
	bool plain; /* only bytes that names of the zone consist of */
};

/* Keeps the last LABELS labels; a name with more is not plain. */
static void split(const uint8_t *wire, struct labels *ret)
{
	size_t total = knot_dname_labels(wire, NULL), skipped = total > LABELS ? total - LABELS : 0;

	ret->count = 0;
	ret->plain = total <= LABELS;
	for (; *wire; wire += *wire + 1) {
		char *to;

		if (skipped) {
			skipped--;
			continue;
		}
		to = ret->text[ret->count++];
		for (size_t i = 0; i < *wire; i++) {
			uint8_t c = wire[1 + i];

			if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' &&
			    c != '_') {
				ret->plain = false;
				c = '?';
			}
			to[i] = (char)c;
		}
		to[*wire] = '\0';
	}
}

static bool protocol_of(const char *label, int *ret)
{
	if (label[0] != '_')
		return false;
	for (int i = 0; protocol_names[i]; i++) {
		if (streq(label + 1, protocol_names[i])) {
			*ret = i;
			return true;
		}
	}
	return false;
}

/* The labels before `ployz.internal`, or a single label. */
static void parse_zone(const struct labels *labels, size_t count, struct name *ret)
{
	const char(*at)[64] = labels->text;

	ret->kind = NAME_INVALID;
	if (!labels->plain || !count)
		return;
	if (protocol_of(at[0], &ret->protocol)) {
		ret->kind = NAME_PROTOCOL;
		at++;
	} else if (at[0][0] == '_' && count > 1 && protocol_of(at[1], &ret->protocol)) {
		memcpy(ret->port, at[0] + 1, sizeof(ret->port) - 1);
		ret->kind = NAME_PORT;
		at += 2;
	} else if (int_parse(at[0], 0, INT32_MAX, &ret->slot) == 0) {
		ret->kind = NAME_SLOT;
		at++;
	} else {
		ret->kind = NAME_SERVICE;
	}
	count -= (size_t)(at - (const char(*)[64])labels->text);
	if (count < 1 || count > 2 || !name_valid(at[0]) || (count == 2 && !name_valid(at[1]))) {
		ret->kind = NAME_INVALID;
		return;
	}
	memcpy(ret->service, at[0], sizeof(ret->service));
	if (count == 2)
		memcpy(ret->ns, at[1], sizeof(ret->ns));
}

static bool parse_reverse(const struct labels *labels, struct name *ret)
{
	uint32_t address = 0;
	int64_t octet;

	if (labels->count != 6 || !labels->plain || !streq(labels->text[5], "arpa") ||
	    !streq(labels->text[4], "in-addr"))
		return false;
	for (int i = 3; i >= 0; i--) {
		if (int_parse(labels->text[i], 0, 255, &octet) < 0)
			return false;
		address = address << 8 | (uint32_t)octet;
	}
	ret->kind = NAME_REVERSE;
	ret->address = address;
	return true;
}

void name_parse(const uint8_t *wire, struct name *ret)
{
	struct labels labels;

	memset(ret, 0, sizeof(*ret));
	split(wire, &labels);
	if (labels.count >= 2 && streq(labels.text[labels.count - 1], "internal") &&
	    streq(labels.text[labels.count - 2], "ployz")) {
		if (labels.count == 2)
			ret->kind = NAME_APEX;
		else
			parse_zone(&labels, labels.count - 2, ret);
	} else if (labels.count == 1) {
		parse_zone(&labels, 1, ret);
		ret->single = true;
		if (ret->kind != NAME_SERVICE)
			ret->kind = NAME_INVALID;
	} else if (!parse_reverse(&labels, ret)) {
		ret->kind = NAME_FOREIGN;
	}
}

bool name_write(const char *text, uint8_t ret[KNOT_DNAME_MAXLEN])
{
	return *text && knot_dname_from_str(ret, text, KNOT_DNAME_MAXLEN) != NULL;
}
