/* Strings: names, durations, sizes, lists of strings, and a growing buffer. */
#ifndef PLOYZ_STR_H
#define PLOYZ_STR_H

#include "lib/clock.h"
#include "lib/mem.h"

static inline bool streq(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}
static inline bool str_starts(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

/* Whether `s` is a valid name: 1–63 of [a-z0-9-], a letter first, no hyphen last (so a DNS label).
 */
bool name_valid(const char *s);
/* Whether `s` is a host name: labels of [a-z0-9-] joined by dots, at most 253 bytes; a first label
 * `*` stands for one label. */
bool hostname_valid(const char *s);

/* `500ms 10s 5m 1h` to microseconds. 0, or -EINVAL. */
int duration_parse(const char *s, uint64_t *ret_usec);
/* The shortest text that duration_parse reads back to the same value; for people: `duration_human`
 * rounds (`1.2 s`, `3 min`). The caller owns it. */
char *duration_format(uint64_t usec);
char *duration_human(uint64_t usec);
/* `64M 2G 512` (base 2; K M G T) to bytes. 0, or -EINVAL (also when it does not fit). */
int size_parse(const char *s, uint64_t *ret_bytes);
/* The shortest text that size_parse reads back to the same value; the human form rounds. */
char *size_format(uint64_t bytes);
char *size_human(uint64_t bytes);
/* A decimal number with nothing before or behind it, within [min, max]. 0, -EINVAL or -ERANGE. */
int int_parse(const char *s, int64_t min, int64_t max, int64_t *ret);

/* The nearest of the NULL-terminated `names` to `s` by edit distance, or NULL when none is near
 * enough to be suggested. Borrowed from `names`. */
const char *str_nearest(const char *s, const char *const *names);

/* The bytes as valid UTF-8: invalid bytes and zero bytes become U+FFFD. The caller owns it. */
char *str_valid(const void *bytes, size_t size);
/* At most the first `most` bytes of valid text, without a partial character. The caller owns it. */
char *str_cut(const char *s, size_t most);

/* Wall-clock time as RFC 3339 in UTC with milliseconds, for people; the caller owns it.
 * `time_parse` reads it back. 0 or -EINVAL. */
char *time_format(uint64_t realtime_usec);
int time_parse(const char *s, uint64_t *ret_usec);

/* A new id: 12 of [a-z2-7], a letter first, from the system's random source. The caller owns it. */
char *id_new(void);
/* SHA-256 of the bytes as 64 hex digits; the caller owns it. */
char *hash_hex(const void *data, size_t size);

/* NULL-terminated lists of owned strings; NULL is the empty list. */
void strv_free(char **v);
static inline void strv_freep(char ***v)
{
	strv_free(*v);
}
size_t strv_count(char *const *v);
bool strv_contains(char *const *v, const char *s);
char **strv_copy(char *const *v);
/* Takes ownership of `s`. */
void strv_push(char ***v, char *s);
char *strv_join(char *const *v, const char *separator);
/* `s` cut at each of the one-byte `separators`; empty parts are dropped. */
char **strv_split(const char *s, const char *separators);

/* A growing buffer; `text` is always zero-terminated once something was added, NULL before. */
struct strbuf {
	char *text;
	size_t size; /* bytes, without the final zero */
	size_t room;
};
#define STRBUF_INIT        \
	{                  \
		NULL, 0, 0 \
	}
void strbuf_add(struct strbuf *b, const void *data, size_t size);
void strbuf_puts(struct strbuf *b, const char *s);
void strbuf_printf(struct strbuf *b, const char *format, ...) _printf_(2, 3);
/* Removes `size` bytes from the front. */
void strbuf_consume(struct strbuf *b, size_t size);
/* The text (an empty string if nothing was added), owned by the caller; the buffer is empty
 * again. */
char *strbuf_steal(struct strbuf *b);
void strbuf_clear(struct strbuf *b); /* _cleanup_(strbuf_clear) fits a struct strbuf */

#endif
