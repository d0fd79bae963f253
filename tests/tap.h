/* TAP for C tests: rows of {input, expected}, one line each, a plan at the end. */
#ifndef PLOYZ_TESTS_TAP_H
#define PLOYZ_TESTS_TAP_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int tap_count, tap_failed;

static inline bool __attribute__((format(printf, 2, 3))) ok(bool pass, const char *format, ...)
{
	va_list args;

	printf("%sok %d - ", pass ? "" : "not ", ++tap_count);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	if (!pass)
		tap_failed++;
	fflush(stdout);
	return pass;
}

static inline void tap_show(const char *label, const char *text)
{
	printf("#   %s: ", label);
	for (; text && *text; text++) {
		putchar(*text);
		if (*text == '\n')
			printf("#   ");
	}
	printf("%s\n", text ? "" : "(null)");
}

/* Equal strings; NULL equals only NULL. Shows both when they differ. */
static inline bool is(const char *got, const char *expected, const char *name)
{
	bool same = got == expected || (got && expected && strcmp(got, expected) == 0);

	if (!ok(same, "%s", name)) {
		tap_show("got", got);
		tap_show("expected", expected);
	}
	return same;
}

static inline bool is_int(long long got, long long expected, const char *name)
{
	if (!ok(got == expected, "%s", name))
		printf("#   got: %lld\n#   expected: %lld\n", got, expected);
	return got == expected;
}

static inline void skip(const char *name, const char *reason)
{
	printf("ok %d - %s # SKIP %s\n", ++tap_count, name, reason);
}

static inline int tap_done(void)
{
	printf("1..%d\n", tap_count);
	return tap_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
