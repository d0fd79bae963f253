/* One connection to the cluster: its context, the loop, error output, and how a verb ends. */
#include <pwd.h>
#include <signal.h>
#include <unistd.h>

#include "ployzctl/ployzctl.h"

#define DEFAULT_BUS "nats://127.0.0.1:4222"

static const struct config_row context_rows[] = {
	{ "bus", CONFIG_STRING, offsetof(struct context, bus), NULL, NULL, NULL, 0, 0 },
	{ "user", CONFIG_STRING, offsetof(struct context, user), NULL, NULL, NULL, 0, 0 },
	{ "password", CONFIG_STRING, offsetof(struct context, password), NULL, NULL, NULL, 0, 0 },
	{ "machine", CONFIG_STRING, offsetof(struct context, machine), NULL, NULL, NULL, 0, 0 },
	CONFIG_END,
};

/* --- errors and output */

/* The hint follows the first line; further lines of a message are its details. */
int session_report(const struct failure *failure)
{
	_cleanup_(strv_freep) char **lines =
		strv_split(failure->message ? failure->message : "no reason given", "\n");
	_cleanup_free_ char *hint = text_safe(failure->hint), *path = text_safe(failure->path);

	for (char **line = lines; line && *line; line++) {
		_cleanup_free_ char *safe = text_safe(*line);

		if (line == lines)
			fprintf(stderr, "ployzctl: %s%s%s%s%s\n", path, *path ? ": " : "", safe,
				*hint ? "; " : "", hint);
		else
			fprintf(stderr, "  %s\n", safe);
	}
	return failure_exit((enum failure_code)failure->code);
}

int session_refuse(enum failure_code code, const char *hint, const char *format, ...)
{
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;
	va_list args;

	va_start(args, format);
	failure_vset(&failure, code, hint, format, args);
	va_end(args);
	return session_report(&failure);
}

void session_fail(struct ployzctl *ctl, const struct failure *failure)
{
	session_end(ctl, session_report(failure));
}

void session_end(struct ployzctl *ctl, int exit_code)
{
	ctl->exit_code = exit_code;
	sd_event_exit(ctl->loop, 0);
}

void session_json_value(json_t *json)
{
	_cleanup_free_ char *text = json_text(json);

	puts(text);
	json_decref(json);
}

void session_json(const struct codec_schema *schema, const void *object)
{
	session_json_value(codec_encode(schema, object));
}

char *session_operator(void)
{
	const char *name = getenv("SUDO_USER");
	const struct passwd *user = name && *name ? NULL : getpwuid(getuid());

	return xstrdup(user ? user->pw_name : name && *name ? name : "unknown");
}

bool session_confirm(bool yes, const char *question, const char *what, int *ret_code)
{
	char answer[16];

	if (yes)
		return true;
	if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO)) {
		*ret_code = session_refuse(FAILURE_INVALID, "repeat the command with --yes",
					   "cannot %s: it needs a confirmation, and standard input "
					   "is no terminal",
					   what);
		return false;
	}
	fprintf(stderr, "%s [y/N] ", question);
	fflush(stderr);
	if (fgets(answer, sizeof(answer), stdin) && (answer[0] == 'y' || answer[0] == 'Y'))
		return true;
	fprintf(stderr, "ployzctl: declined, nothing changed\n");
	*ret_code = EXIT_NO;
	return false;
}

/* --- the context */

static int read_context(struct ployzctl *ctl, char *file, struct failure *failure)
{
	int r = config_read(context_rows, &ctl->context, file, true, failure);

	if (r < 0) {
		free(file);
		return r;
	}
	ctl->context_file = file;
	return 0;
}

static int named_context(struct ployzctl *ctl, const char *name, struct failure *failure)
{
	const char *home = getenv("HOME");
	char *file = strchr(name, '/')
			     ? xstrdup(name)
			     : xasprintf("%s/.config/ployz/%s.conf", home ? home : "", name);
	_cleanup_free_ char *path = xstrdup(file);
	int r = read_context(ctl, file, failure);

	if (r == -ENOENT)
		return failure_set(failure, FAILURE_INVALID,
				   "name another one with --context, or a bus with --bus",
				   "cannot read context %s: no such file", path);
	return r;
}

static int dev_context(struct ployzctl *ctl, const char *dir, struct failure *failure)
{
	_cleanup_free_ char *hint = xasprintf("start it with `ployzctl dev --dir %s`", dir);
	int r = read_context(ctl, xasprintf("%s/run/operator.conf", dir), failure);

	if (r == -ENOENT)
		return failure_set(failure, FAILURE_UNREACHABLE, hint,
				   "cannot reach the cluster in %s: `ployzctl dev` does not run "
				   "there",
				   dir);
	return r;
}

static int find_context(struct ployzctl *ctl, struct failure *failure)
{
	static const char *const usual[] = { "/etc/ployz/credentials/operator.conf",
					     "/run/ployz-dev/operator.conf" };
	const char *context = getenv("PLOYZ_CONTEXT"), *dir = getenv("PLOYZ_DIR");

	if (ctl->options.context)
		return named_context(ctl, ctl->options.context, failure);
	if (ctl->options.dir)
		return dev_context(ctl, ctl->options.dir, failure);
	if (context && *context)
		return named_context(ctl, context, failure);
	if (dir && *dir)
		return dev_context(ctl, dir, failure);
	for (size_t i = 0; i < ARRAY_SIZE(usual); i++) {
		int r = read_context(ctl, xstrdup(usual[i]), failure);

		if (r != -ENOENT)
			return r;
	}
	if (ctl->options.bus)
		return 0;
	return failure_set(failure, FAILURE_UNREACHABLE,
			   "start one with `ployzctl dev`, or name one with --context or --bus",
			   "cannot find a cluster: neither %s nor %s exists", usual[0], usual[1]);
}

/* The machine's id is in a file next to the operator's credentials. */
static void find_machine(struct ployzctl *ctl)
{
	const char *slash = ctl->context_file ? strrchr(ctl->context_file, '/') : NULL;
	_cleanup_free_ char *path = NULL, *text = NULL;

	if (ctl->options.machine)
		ctl->machine = ctl->options.machine;
	else if (ctl->context.machine)
		ctl->machine = ctl->context.machine;
	if (ctl->machine || !slash)
		return;
	path = xasprintf("%.*s/machine", (int)(slash - ctl->context_file), ctl->context_file);
	if (file_read(path, 128, &text, NULL) < 0)
		return;
	text[strcspn(text, "\r\n")] = '\0';
	if (name_valid(text))
		ctl->machine = ctl->context.machine = steal(text);
}

/* --- the loop */

static int on_signal(_unused_ sd_event_source *source, _unused_ const struct signalfd_siginfo *info,
		     void *userdata)
{
	struct ployzctl *ctl = userdata;

	ctl->signalled = true;
	if (ctl->interrupted)
		ctl->interrupted(ctl->interrupted_data);
	else
		session_end(ctl, EXIT_INTERRUPTED);
	return 0;
}

static int open_loop(struct ployzctl *ctl)
{
	sigset_t set;
	int r;

	/* Blocked before the bus opens: nats.c's threads inherit the mask. */
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	r = sd_event_new(&ctl->loop);
	if (r >= 0)
		r = sd_event_add_signal(ctl->loop, NULL, SIGINT, on_signal, ctl);
	if (r >= 0)
		r = sd_event_add_signal(ctl->loop, NULL, SIGTERM, on_signal, ctl);
	return r;
}

int session_open(struct ployzctl *ctl)
{
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;
	_cleanup_free_ char *inbox = NULL;
	struct bus_options options = { .name = "ployzctl" };
	int r = find_context(ctl, &failure);

	if (r < 0)
		return session_report(&failure);
	find_machine(ctl);
	r = open_loop(ctl);
	if (r < 0)
		return session_refuse(FAILURE_BUG, NULL, "cannot create the event loop: %s",
				      strerror(-r));
	options.url = ctl->options.bus	 ? ctl->options.bus
		      : ctl->context.bus ? ctl->context.bus
					 : DEFAULT_BUS;
	options.user = ctl->context.user;
	options.password = ctl->context.password;
	if (options.user)
		options.inbox = inbox = xasprintf("_INBOX.%s", options.user);
	if (bus_open(ctl->loop, &options, &ctl->bus, &failure) < 0)
		return session_report(&failure);
	if (!ctl->machine)
		return session_refuse(FAILURE_INVALID, "give --machine ID",
				      "cannot choose a machine: the context names none");
	return 0;
}

int session_run(struct ployzctl *ctl)
{
	int r = sd_event_loop(ctl->loop);

	if (r == -EACCES) /* the bus refused the user, and lib/bus has logged it */
		return EXIT_UNREACHABLE;
	if (r < 0)
		return session_refuse(FAILURE_BUG, NULL, "cannot run the event loop: %s",
				      strerror(-r));
	return ctl->exit_code;
}

void session_close(struct ployzctl *ctl)
{
	bus_free(ctl->bus);
	sd_event_unref(ctl->loop);
	config_clear(context_rows, &ctl->context);
	free(ctl->context_file);
}
