/* A failure as it is reported to the operator: what was refused, why, and the next step. */
#ifndef PLOYZ_FAILURE_H
#define PLOYZ_FAILURE_H

#include "lib/mem.h"

/* Exit codes of ployzctl, the same for every verb, with their descriptions for --help and the
 * manual. */
#define EXIT_CODES(X)                                                          \
	X(EXIT_DONE, 0, "done")                                                \
	X(EXIT_NO, 1, "the answer is no")                                      \
	X(EXIT_USAGE, 2, "wrong usage or invalid manifest")                    \
	X(EXIT_UNREACHABLE, 3, "cannot reach the bus or the machine")          \
	X(EXIT_LEASE_HELD, 4, "refused: lease held")                           \
	X(EXIT_STALE, 5, "refused: stale, changed since the plan")             \
	X(EXIT_FAILED, 6, "failed before the commit, nothing changed")         \
	X(EXIT_CLEANUP_PENDING, 7, "committed, clean-up pending")              \
	X(EXIT_NO_QUORUM, 8, "no quorum")                                      \
	X(EXIT_UNKNOWN, 9, "outcome unknown: the commit was not acknowledged") \
	X(EXIT_BUG, 70, "a bug")                                               \
	X(EXIT_MEMORY, MEM_EXIT_CODE, "out of memory")                         \
	X(EXIT_INTERRUPTED, 130, "interrupted")

enum exit_code {
#define X(id, code, description) id = (code),
	EXIT_CODES(X)
#undef X
};

/* Every code that a failure can have, its text on the wire and the exit code for it. */
#define FAILURE_CODES(X)                                                    \
	X(FAILURE_NOT_FOUND, "NOT_FOUND", EXIT_NO)                          \
	X(FAILURE_NOT_READY, "NOT_READY", EXIT_NO)                          \
	X(FAILURE_INVALID, "INVALID", EXIT_USAGE)                           \
	X(FAILURE_TOO_LARGE, "TOO_LARGE", EXIT_USAGE)                       \
	X(FAILURE_UNREACHABLE, "UNREACHABLE", EXIT_UNREACHABLE)             \
	X(FAILURE_TIMEOUT, "TIMEOUT", EXIT_UNREACHABLE)                     \
	X(FAILURE_LEASE_HELD, "LEASE_HELD", EXIT_LEASE_HELD)                \
	X(FAILURE_STALE, "STALE", EXIT_STALE)                               \
	X(FAILURE_LEASE_LOST, "LEASE_LOST", EXIT_FAILED)                    \
	X(FAILURE_FENCED, "FENCED", EXIT_FAILED)                            \
	X(FAILURE_REFUSED, "REFUSED", EXIT_FAILED)                          \
	X(FAILURE_FAILED, "FAILED", EXIT_FAILED)                            \
	X(FAILURE_ENGINE, "ENGINE", EXIT_FAILED)                            \
	X(FAILURE_CLEANUP_PENDING, "CLEANUP_PENDING", EXIT_CLEANUP_PENDING) \
	X(FAILURE_NO_QUORUM, "NO_QUORUM", EXIT_NO_QUORUM)                   \
	X(FAILURE_UNKNOWN, "UNKNOWN", EXIT_UNKNOWN)                         \
	X(FAILURE_BUG, "BUG", EXIT_BUG)

enum failure_code {
	FAILURE_NONE,
#define X(id, text, status) id,
	FAILURE_CODES(X)
#undef X
};

struct failure {
	int code;      /* enum failure_code; FAILURE_NONE: nothing went wrong */
	char *message; /* what was refused and why; owned */
	char *hint;    /* the next command or step to try, or NULL; owned */
	char *path; /* the field of the document that is at fault (`services.web.image`), or NULL */
};

#define FAILURE_INIT                           \
	{                                      \
		FAILURE_NONE, NULL, NULL, NULL \
	}

/* Texts on the wire, indexed by enum failure_code, NULL-terminated; [0] is "NONE". */
extern const char *const failure_code_names[];

/* Fills `f` (freeing what it held) and returns -1 × an errno that suits the code, for `return
 * failure_set(…)`. `hint` may be NULL. `f` may be NULL: only the errno. */
int failure_set(struct failure *f, enum failure_code code, const char *hint, const char *format,
		...) _printf_(4, 5);
/* The same with the arguments as a list, for functions that take a format themselves. */
int failure_vset(struct failure *f, enum failure_code code, const char *hint, const char *format,
		 va_list args) _printf_(4, 0);
/* Moves `from` into `to` (which may be NULL) and leaves `from` empty. */
void failure_move(struct failure *to, struct failure *from);
void failure_copy(struct failure *to, const struct failure *from);
/* Puts `prefix` before the path: fields are named from the inside out. `prefix` may be NULL. */
void failure_prefix(struct failure *f, const char *prefix);
/* Frees what it holds and makes it empty again; takes NULL. */
void failure_clear(struct failure *f);
/* The exit code of ployzctl that this failure leads to. */
int failure_exit(enum failure_code code);
static inline bool failure_is_set(const struct failure *f)
{
	return f->code != FAILURE_NONE;
}

#endif
