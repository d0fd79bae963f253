/* Common to all targets. A target's first comment names the files that it is meant for in a line of
 * its own, `covers: FILE …`: tests/fuzz/run reports their coverage. */
#ifndef PLOYZ_TESTS_FUZZ_FUZZ_H
#define PLOYZ_TESTS_FUZZ_FUZZ_H

#include <stdio.h>

#include "lib/mem.h"

/* Called by libFuzzer with each input; returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Holds for every input; libFuzzer keeps an input for which it does not. */
#define HOLDS(condition)                                                                  \
	do {                                                                              \
		if (!(condition)) {                                                       \
			fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, \
				#condition);                                              \
			abort();                                                          \
		}                                                                         \
	} while (0)

/* An input that is read piece by piece: beyond its end it reads as zero. */
struct cursor {
	const uint8_t *at, *end;
};

static inline uint8_t cursor_byte(struct cursor *c)
{
	return c->at < c->end ? *c->at++ : 0;
}

static inline size_t cursor_left(const struct cursor *c)
{
	return (size_t)(c->end - c->at);
}

/* Bytes up to the next 0xff, which no text contains, or the end; the 0xff is consumed. */
static inline const char *cursor_part(struct cursor *c, size_t *ret_size)
{
	const uint8_t *begin = c->at;
	const uint8_t *mark = c->at < c->end ? memchr(c->at, 0xff, cursor_left(c)) : NULL;

	*ret_size = (size_t)((mark ? mark : c->end) - begin);
	c->at = mark ? mark + 1 : c->end;
	return (const char *)begin;
}

/* The same as a string of its own, allocated in its exact size. */
static inline char *cursor_string(struct cursor *c)
{
	size_t size;
	const char *part = cursor_part(c, &size);

	return xstrndup(part, size);
}

#endif
