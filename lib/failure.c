/* Failures: their codes, texts and exit codes. */
#include "lib/failure.h"

#include <errno.h>

const char *const failure_code_names[] = {
	"NONE",
#define X(id, text, status) text,
	FAILURE_CODES(X)
#undef X
		NULL,
};

static int code_errno(enum failure_code code)
{
	switch (code) {
	case FAILURE_NOT_FOUND:
		return -ENOENT;
	case FAILURE_INVALID:
		return -EINVAL;
	case FAILURE_TOO_LARGE:
		return -EMSGSIZE;
	case FAILURE_UNREACHABLE:
		return -EHOSTUNREACH;
	case FAILURE_TIMEOUT:
		return -ETIMEDOUT;
	case FAILURE_LEASE_HELD:
		return -EBUSY;
	case FAILURE_STALE:
	case FAILURE_FENCED:
	case FAILURE_LEASE_LOST:
		return -ESTALE;
	default:
		return -EIO;
	}
}

int failure_vset(struct failure *f, enum failure_code code, const char *hint, const char *format,
		 va_list args)
{
	struct failure made = { .code = code };

	if (!f)
		return code_errno(code);
	/* Built before the old one is freed: its texts may be among the arguments. */
	made.message = xvasprintf(format, args);
	made.hint = xstrdup(hint);
	failure_clear(f);
	*f = made;
	return code_errno(code);
}

int failure_set(struct failure *f, enum failure_code code, const char *hint, const char *format,
		...)
{
	va_list args;
	int r;

	va_start(args, format);
	r = failure_vset(f, code, hint, format, args);
	va_end(args);
	return r;
}

void failure_move(struct failure *to, struct failure *from)
{
	if (to) {
		failure_clear(to);
		*to = *from;
		*from = (struct failure)FAILURE_INIT;
	} else {
		failure_clear(from);
	}
}

void failure_copy(struct failure *to, const struct failure *from)
{
	struct failure copy = { from->code, xstrdup(from->message), xstrdup(from->hint),
				xstrdup(from->path) };

	failure_clear(to);
	*to = copy;
}

void failure_prefix(struct failure *f, const char *prefix)
{
	char *path;

	if (!f || !prefix)
		return;
	if (!f->path)
		path = xstrdup(prefix);
	else
		path = xasprintf(f->path[0] == '[' ? "%s%s" : "%s.%s", prefix, f->path);
	free(f->path);
	f->path = path;
}

void failure_clear(struct failure *f)
{
	if (!f)
		return;
	free(f->message);
	free(f->hint);
	free(f->path);
	*f = (struct failure)FAILURE_INIT;
}

int failure_exit(enum failure_code code)
{
	switch (code) {
#define X(id, text, status) \
	case id:            \
		return status;
		FAILURE_CODES(X)
#undef X
	case FAILURE_NONE:
		return EXIT_DONE;
	}
	return EXIT_BUG;
}
