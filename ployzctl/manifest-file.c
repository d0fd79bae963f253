/* Reads a manifest from a file or from standard input. */
#include <errno.h>
#include <unistd.h>

#include "ployzctl/ployzctl.h"

static int read_stdin(char **ret, size_t *ret_size)
{
	struct strbuf text = STRBUF_INIT;
	char buffer[16384];
	ssize_t n;

	while ((n = read(STDIN_FILENO, buffer, sizeof(buffer))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 || text.size + (size_t)n > MANIFEST_MAX_BYTES) {
			int r = n < 0 ? -errno : -EFBIG;

			strbuf_clear(&text);
			return r;
		}
		strbuf_add(&text, buffer, (size_t)n);
	}
	*ret_size = text.size;
	*ret = strbuf_steal(&text);
	return 0;
}

int manifest_file_read(const char *file, struct manifest **ret)
{
	_cleanup_(strv_freep) char **errors = NULL;
	_cleanup_free_ char *text = NULL;
	bool standard = streq(file, "-");
	const char *name = standard ? "stdin" : file;
	size_t size = 0;
	int r = standard ? read_stdin(&text, &size)
			 : file_read(file, MANIFEST_MAX_BYTES, &text, &size);

	if (r == -EFBIG)
		return session_refuse(FAILURE_TOO_LARGE, "shorten its files and env",
				      "cannot read manifest %s: larger than the limit of %d bytes",
				      name, MANIFEST_MAX_BYTES);
	if (r < 0)
		return session_refuse(FAILURE_INVALID, "give -f FILE, or -f - for standard input",
				      "cannot read manifest %s: %s", name, strerror(-r));
	r = manifest_parse(name, text, size, ret, &errors);
	if (r >= 0)
		return 0;
	for (char **error = errors; error && *error; error++) {
		_cleanup_free_ char *safe = text_safe(*error);

		fprintf(stderr, "%s\n", safe);
	}
	return session_refuse(FAILURE_INVALID, "correct the lines above",
			      "cannot use manifest %s: it is invalid, no request was sent", name);
}
