/* In the place of lib/log.c: lines are made, with all that they name, and nobody reads them. */
#ifndef PLOYZ_TESTS_FUZZ_FAKE_LOG_H
#define PLOYZ_TESTS_FUZZ_FAKE_LOG_H

#include "lib/log.h"
#include "tests/fuzz/fuzz.h"

void log_write(_unused_ int level, _unused_ const struct log_about *about, const char *format, ...)
{
	char line[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
}

#endif
