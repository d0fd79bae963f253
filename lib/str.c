/* Strings: parsing and formatting of names, durations, sizes and times. */
#include "lib/str.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SECOND_USEC 1000000ull

static bool is_name_byte(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
}

bool name_valid(const char *s)
{
	size_t n = s ? strlen(s) : 0;

	if (n < 1 || n > 63 || s[0] < 'a' || s[0] > 'z' || s[n - 1] == '-')
		return false;
	for (; *s; s++)
		if (!is_name_byte(*s))
			return false;
	return true;
}

bool hostname_valid(const char *s)
{
	size_t label = 0;

	if (!s || !*s || strlen(s) > 253)
		return false;
	if (str_starts(s, "*."))
		s += 2;
	for (const char *p = s;; p++) {
		if (*p == '.' || *p == '\0') {
			if (label < 1 || label > 63 || p[-1] == '-' || p[-(ptrdiff_t)label] == '-')
				return false;
			label = 0;
			if (!*p)
				return true;
		} else if (is_name_byte(*p)) {
			label++;
		} else {
			return false;
		}
	}
}

/* Ordered from the largest: the first that divides a value gives its shortest exact text. */
static const struct {
	const char *suffix;
	uint64_t usec;
} duration_units[] = {
	{ "h", 3600 * SECOND_USEC },
	{ "m", 60 * SECOND_USEC },
	{ "s", SECOND_USEC },
	{ "ms", 1000 },
};

/* Decimal digits at *p, advanced past them. 0, -EINVAL when there are none, -ERANGE. */
static int digits(const char **p, uint64_t *ret)
{
	uint64_t value = 0;

	if (!isdigit((unsigned char)**p))
		return -EINVAL;
	for (; isdigit((unsigned char)**p); (*p)++)
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(**p - '0'), &value))
			return -ERANGE;
	*ret = value;
	return 0;
}

int duration_parse(const char *s, uint64_t *ret_usec)
{
	uint64_t value;

	if (digits(&s, &value) < 0)
		return -EINVAL;
	for (size_t i = 0; i < ARRAY_SIZE(duration_units); i++)
		if (streq(s, duration_units[i].suffix)) {
			/* Sums with it must not overflow either. */
			if (__builtin_mul_overflow(value, duration_units[i].usec, &value) ||
			    value > INT64_MAX)
				return -EINVAL;
			*ret_usec = value;
			return 0;
		}
	return -EINVAL;
}

char *duration_format(uint64_t usec)
{
	for (size_t i = 0; i < ARRAY_SIZE(duration_units); i++)
		if (usec && usec % duration_units[i].usec == 0)
			return xasprintf("%" PRIu64 "%s", usec / duration_units[i].usec,
					 duration_units[i].suffix);
	return xasprintf("%" PRIu64 "ms", usec / 1000);
}

char *duration_human(uint64_t usec)
{
	uint64_t seconds = usec / SECOND_USEC;

	if (usec < SECOND_USEC)
		return xasprintf("%" PRIu64 " ms", usec / 1000);
	if (seconds < 10)
		return xasprintf("%.1f s", (double)usec / SECOND_USEC);
	if (seconds < 120)
		return xasprintf("%" PRIu64 " s", seconds);
	if (seconds < 2 * 3600)
		return xasprintf("%" PRIu64 " min", seconds / 60);
	if (seconds < 48 * 3600)
		return xasprintf("%" PRIu64 " h", seconds / 3600);
	return xasprintf("%" PRIu64 " days", seconds / 86400);
}

static const char size_suffixes[] = "KMGT";

int size_parse(const char *s, uint64_t *ret_bytes)
{
	const char *suffix;
	uint64_t value;

	if (digits(&s, &value) < 0)
		return -EINVAL;
	if (*s) {
		suffix = strchr(size_suffixes, *s);
		if (!suffix || s[1] ||
		    __builtin_mul_overflow(value, 1ull << (10 * (suffix - size_suffixes + 1)),
					   &value))
			return -EINVAL;
	}
	if (value > INT64_MAX)
		return -EINVAL;
	*ret_bytes = value;
	return 0;
}

char *size_format(uint64_t bytes)
{
	for (int i = 3; i >= 0; i--) {
		uint64_t unit = 1ull << (10 * (i + 1));

		if (bytes && bytes % unit == 0)
			return xasprintf("%" PRIu64 "%c", bytes / unit, size_suffixes[i]);
	}
	return xasprintf("%" PRIu64, bytes);
}

char *size_human(uint64_t bytes)
{
	for (int i = 3; i >= 0; i--) {
		uint64_t unit = 1ull << (10 * (i + 1));

		if (bytes >= 10 * unit)
			return xasprintf("%" PRIu64 " %ciB", bytes / unit, size_suffixes[i]);
		if (bytes >= unit)
			return xasprintf("%.1f %ciB", (double)bytes / (double)unit,
					 size_suffixes[i]);
	}
	return xasprintf("%" PRIu64 " B", bytes);
}

int int_parse(const char *s, int64_t min, int64_t max, int64_t *ret)
{
	char *end;
	long long value;

	if (!s || (!isdigit((unsigned char)*s) && *s != '-'))
		return -EINVAL;
	errno = 0;
	value = strtoll(s, &end, 10);
	if (*end || end == s)
		return -EINVAL;
	if (errno == ERANGE || value < min || value > max)
		return -ERANGE;
	*ret = value;
	return 0;
}

/* Levenshtein's distance; names are short, so one row on the stack of at most 64 is enough. */
static size_t distance(const char *a, const char *b)
{
	size_t row[65], n = strlen(b);

	if (strlen(a) > 64 || n > 64)
		return SIZE_MAX;
	for (size_t j = 0; j <= n; j++)
		row[j] = j;
	for (size_t i = 1; a[i - 1]; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= n; j++) {
			size_t cost = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			row[j] = MIN2(cost, MIN2(row[j], row[j - 1]) + 1);
		}
	}
	return row[n];
}

const char *str_nearest(const char *s, const char *const *names)
{
	size_t best = MAX2(strlen(s) / 3, (size_t)2) + 1;
	const char *nearest = NULL;

	for (; *names; names++) {
		size_t d = distance(s, *names);

		if (d < best) {
			best = d;
			nearest = *names;
		}
	}
	return nearest;
}

/* Bytes of the character that begins here; 0: invalid (overlong, a surrogate, beyond U+10FFFF,
 * incomplete). */
static size_t utf8_length(const unsigned char *s, size_t left)
{
	size_t n = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;

	if (n > left || s[0] > 0xf4)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
	    (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return n;
}

char *str_valid(const void *bytes, size_t size)
{
	const unsigned char *at = bytes;
	struct strbuf out = STRBUF_INIT;

	while (size) {
		size_t length = *at ? utf8_length(at, size) : 0;

		if (length)
			strbuf_add(&out, at, length);
		else
			strbuf_puts(&out, "\xef\xbf\xbd");
		at += MAX2(length, (size_t)1);
		size -= MAX2(length, (size_t)1);
	}
	return strbuf_steal(&out);
}

char *str_cut(const char *s, size_t most)
{
	size_t size = strnlen(s, most + 1);

	if (size <= most)
		return xstrdup(s);
	/* A character's further bytes begin with 10. */
	for (size = most; size && ((unsigned char)s[size] & 0xc0) == 0x80; size--)
		;
	return xstrndup(s, size);
}

char *time_format(uint64_t realtime_usec)
{
	time_t seconds = (time_t)(realtime_usec / SECOND_USEC);
	struct tm tm;
	char text[32];

	gmtime_r(&seconds, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	return xasprintf("%s.%03uZ", text, (unsigned)(realtime_usec % SECOND_USEC / 1000));
}

int time_parse(const char *s, uint64_t *ret_usec)
{
	struct tm tm = { 0 };
	uint64_t fraction = 0, unit = SECOND_USEC / 10;
	const char *p = s ? strptime(s, "%Y-%m-%dT%H:%M:%S", &tm) : NULL;
	time_t seconds;

	if (!p)
		return -EINVAL;
	if (*p == '.')
		for (p++; isdigit((unsigned char)*p); p++, unit /= 10)
			fraction += (uint64_t)(*p - '0') * unit;
	seconds = timegm(&tm);
	if (!streq(p, "Z") || seconds < 0)
		return -EINVAL;
	*ret_usec = (uint64_t)seconds * SECOND_USEC + fraction;
	return 0;
}

char *id_new(void)
{
	static const char digits32[] = "abcdefghijklmnopqrstuvwxyz234567";
	char id[13];

	for (size_t i = 0; i < 12; i++)
		id[i] = digits32[randombytes_uniform(i ? 32 : 26)];
	id[12] = '\0';
	return xstrdup(id);
}

char *hash_hex(const void *data, size_t size)
{
	unsigned char hash[crypto_hash_sha256_BYTES];
	char hex[2 * sizeof(hash) + 1];

	crypto_hash_sha256(hash, data, size);
	sodium_bin2hex(hex, sizeof(hex), hash, sizeof(hash));
	return xstrdup(hex);
}

void strv_free(char **v)
{
	for (char **p = v; p && *p; p++)
		free(*p);
	free(v);
}

size_t strv_count(char *const *v)
{
	size_t n = 0;

	while (v && v[n])
		n++;
	return n;
}

bool strv_contains(char *const *v, const char *s)
{
	for (; v && *v; v++)
		if (streq(*v, s))
			return true;
	return false;
}

char **strv_copy(char *const *v)
{
	char **copy = NULL;

	for (; v && *v; v++)
		strv_push(&copy, xstrdup(*v));
	return copy;
}

void strv_push(char ***v, char *s)
{
	size_t n = strv_count(*v);

	*v = xrealloc(*v, n + 2, sizeof(char *));
	(*v)[n] = s;
	(*v)[n + 1] = NULL;
}

char *strv_join(char *const *v, const char *separator)
{
	struct strbuf b = STRBUF_INIT;

	for (char *const *p = v; p && *p; p++) {
		if (p != v)
			strbuf_puts(&b, separator);
		strbuf_puts(&b, *p);
	}
	return strbuf_steal(&b);
}

char **strv_split(const char *s, const char *separators)
{
	char **v = NULL;

	while (s && *s) {
		size_t n = strcspn(s, separators);

		if (n)
			strv_push(&v, xstrndup(s, n));
		s += n + (s[n] != '\0');
	}
	return v;
}

static void strbuf_reserve(struct strbuf *b, size_t more)
{
	size_t need;

	if (__builtin_add_overflow(b->size, more + 1, &need))
		mem_exhausted();
	if (b->text && need <= b->room)
		return;
	b->room = MAX2(need, MAX2(b->room * 2, (size_t)64));
	b->text = xrealloc(b->text, b->room, 1);
}

void strbuf_add(struct strbuf *b, const void *data, size_t size)
{
	strbuf_reserve(b, size);
	if (size)
		memcpy(b->text + b->size, data, size);
	b->size += size;
	b->text[b->size] = '\0';
}

void strbuf_puts(struct strbuf *b, const char *s)
{
	strbuf_add(b, s, strlen(s));
}

void strbuf_printf(struct strbuf *b, const char *format, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list args;

	va_start(args, format);
	text = xvasprintf(format, args);
	va_end(args);
	strbuf_puts(b, text);
}

void strbuf_consume(struct strbuf *b, size_t size)
{
	if (!size)
		return;
	b->size -= size;
	memmove(b->text, b->text + size, b->size + 1);
}

char *strbuf_steal(struct strbuf *b)
{
	char *text = b->text ? b->text : xstrdup("");

	*b = (struct strbuf)STRBUF_INIT;
	return text;
}

void strbuf_clear(struct strbuf *b)
{
	free(b->text);
	*b = (struct strbuf)STRBUF_INIT;
}
