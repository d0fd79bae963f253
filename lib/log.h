/* Log: journal fields if stderr is the journal's stream, otherwise one line on stderr. */
#ifndef PLOYZ_LOG_H
#define PLOYZ_LOG_H

#include <errno.h>
#include <syslog.h>

#include "lib/failure.h"
#include "lib/mem.h"

/* Fields of a line; members that are NULL or 0 are left out. All are borrowed. */
struct log_about {
	const char *ns;		/* PLOYZ_NAMESPACE= */
	const char *deploy;	/* PLOYZ_DEPLOY= */
	const char *instance;	/* PLOYZ_INSTANCE= */
	const char *message_id; /* MESSAGE_ID=: 32 hex digits, on transitions */
	uint64_t epoch;		/* PLOYZ_EPOCH= */
	int error; /* ERRNO=: positive or negative errno; its text is appended to the line */
};

/* `ident` names the program and is borrowed for good. Where stderr is the journal's stream the
 * lines go to the journal with their fields; anywhere else to stderr. */
void log_open(const char *ident);
/* PLOYZ_MACHINE= of every later line; copied. */
void log_set_machine(const char *machine);
/* Lines with a level above this one (LOG_INFO at first) are not written. */
void log_set_level(int level);
/* One line. Never fails, never changes errno. */
void log_write(int level, const struct log_about *about, const char *format, ...) _printf_(3, 4);

#define log_debug(...) log_write(LOG_DEBUG, NULL, __VA_ARGS__)
#define log_info(...) log_write(LOG_INFO, NULL, __VA_ARGS__)
#define log_notice(...) log_write(LOG_NOTICE, NULL, __VA_ARGS__)
#define log_warning(...) log_write(LOG_WARNING, NULL, __VA_ARGS__)
#define log_error(...) log_write(LOG_ERR, NULL, __VA_ARGS__)
/* A failure and its hint, on one line. */
void log_failure(const struct failure *failure);
/* The same with an errno whose text follows the line; gives the negative errno back. */
#define log_errno(level, errnum, ...)                                                      \
	({                                                                                 \
		int log_errnum = (errnum);                                                 \
		log_write(level, &(struct log_about){ .error = log_errnum }, __VA_ARGS__); \
		log_errnum < 0 ? log_errnum : -log_errnum;                                 \
	})

#endif
