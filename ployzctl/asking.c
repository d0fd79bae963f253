/* A manifest from a file, and its plan from this machine's placerd. */
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

int manifest_read(const char *file, struct manifest **ret)
{
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;
	_cleanup_(strv_freep) char **errors = NULL;
	_cleanup_free_ char *text = NULL;
	bool standard = streq(file, "-");
	const char *name = standard ? "stdin" : file;
	size_t size = 0;
	int r = standard ? read_stdin(&text, &size)
			 : file_read(file, MANIFEST_MAX_BYTES, &text, &size);

	if (r == -EFBIG) {
		failure_set(&failure, FAILURE_TOO_LARGE, "make it smaller: its files and env count",
			    "%s is larger than a manifest may be: the limit is %d bytes", name,
			    MANIFEST_MAX_BYTES);
		return session_say(&failure);
	}
	if (r < 0) {
		failure_set(&failure, FAILURE_INVALID, "-f FILE, or -f - for standard input",
			    "cannot read %s: %s", name, strerror(-r));
		return session_say(&failure);
	}
	r = manifest_parse(name, text, size, ret, &errors);
	if (r >= 0)
		return 0;
	for (char **error = errors; error && *error; error++) {
		_cleanup_free_ char *safe = text_safe(*error);

		fprintf(stderr, "%s\n", safe);
	}
	fprintf(stderr, "ployzctl: the manifest is refused; nothing was asked of the cluster\n");
	return EXIT_USAGE;
}

struct planning {
	struct ployzctl *ctl;
	planned_fn fn;
	void *userdata;
};

static void on_planned(const struct failure *failure, void *answer, void *userdata)
{
	struct planning *planning = userdata;

	if (failure)
		session_fail(planning->ctl, failure);
	else
		planning->fn(answer, planning->userdata);
	free(planning);
}

void plan_ask(struct ployzctl *ctl, const struct manifest *manifest, planned_fn fn, void *userdata)
{
	struct planning *planning = xcalloc(1, sizeof(*planning));
	struct plan_request request = { .manifest = (struct manifest *)manifest };

	*planning = (struct planning){ ctl, fn, userdata };
	bus_ask(ctl->bus, SUBJECT_PLAN, ctl->machine, &request, PLAN_USEC, on_planned, planning,
		NULL);
}

bool ask_yes(const char *question)
{
	char answer[16];

	fprintf(stderr, "%s [y/N] ", question);
	fflush(stderr);
	return fgets(answer, sizeof(answer), stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}
