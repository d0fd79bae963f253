/* Replaces lib/log.c: lines are formatted with all that they name; the last one is kept. */
#ifndef PLOYZ_TESTS_FUZZ_FAKE_LOG_H
#define PLOYZ_TESTS_FUZZ_FAKE_LOG_H

#include <syslog.h>

#include "lib/log.h"
#include "tests/fuzz/fuzz.h"

static char fake_log_line[1024]; /* the last one at warning or above */
static size_t fake_log_warnings;

void log_write(int level, _unused_ const struct log_about *about, const char *format, ...)
{
	char line[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	if (level > LOG_WARNING)
		return;
	fake_log_warnings++;
	memcpy(fake_log_line, line, sizeof(line));
}

#endif
