/* Version check of the installed nats-server, before it is started. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/bus.h"
#include "lib/failure.h"
#include "lib/str.h"

#define VERSION_USEC 5000000ull

/* nats-server --version, run for its one line. */
struct versions {
	sd_event *loop;
	int output;
	struct strbuf text;
	int status; /* exit status; -1: it did not exit in time */
};

static int on_output(_unused_ sd_event_source *source, int fd, _unused_ uint32_t revents,
		     void *userdata)
{
	struct versions *v = userdata;
	char data[512];
	ssize_t n = read(fd, data, sizeof(data));

	if (n > 0 && v->text.size < 4096)
		strbuf_add(&v->text, data, (size_t)n);
	else if (n <= 0)
		sd_event_source_set_enabled(source, SD_EVENT_OFF);
	return 0;
}

static int on_exit_(_unused_ sd_event_source *source, const siginfo_t *info, void *userdata)
{
	struct versions *v = userdata;

	v->status = info->si_code == CLD_EXITED ? info->si_status : 128 + info->si_status;
	return sd_event_exit(v->loop, 0);
}

static int on_late(_unused_ sd_event_source *source, _unused_ uint64_t usec, void *userdata)
{
	struct versions *v = userdata;

	return sd_event_exit(v->loop, 0);
}

static int spawn(const char *program, int output, pid_t *ret)
{
	char *argv[] = { (char *)program, (char *)"--version", NULL };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none;
	int r;

	sigemptyset(&none);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO);
	r = posix_spawnp(ret, program, &actions, &attributes, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attributes);
	return -r;
}

/* Runs the program until it exits or its time is over; its output is in v->text. */
static int versions_run(struct versions *v, const char *program)
{
	sd_event_source *output = NULL;
	int pipes[2], r;
	sigset_t child;
	pid_t pid = 0;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	if (pipe2(pipes, O_CLOEXEC) < 0)
		return -errno;
	r = spawn(program, pipes[1], &pid);
	close(pipes[1]);
	if (r >= 0)
		r = sd_event_new(&v->loop);
	if (r >= 0)
		r = sd_event_add_io(v->loop, &output, pipes[0], EPOLLIN, on_output, v);
	/* Output is read before the exit is handled. */
	if (r >= 0)
		r = sd_event_source_set_priority(output, SD_EVENT_PRIORITY_IMPORTANT);
	if (r >= 0)
		r = sd_event_add_child(v->loop, NULL, pid, WEXITED, on_exit_, v);
	if (r >= 0)
		r = sd_event_add_time_relative(v->loop, NULL, CLOCK_BOOTTIME, VERSION_USEC, 0,
					       on_late, v);
	if (r >= 0)
		r = sd_event_loop(v->loop);
	if (pid > 0 && v->status < 0) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	sd_event_source_disable_unref(output);
	sd_event_unref(v->loop);
	close(pipes[0]);
	return r;
}

/* `nats-server: v2.10.27` → `2.10.27`; owned by the caller, NULL when it is something else. */
static char *version_of(const char *text)
{
	const char *v = text ? strstr(text, ": v") : NULL;

	return v ? xstrndup(v + 3, strcspn(v + 3, " \r\n")) : NULL;
}

#define NATS_CURE                                                                              \
	"install nats-server 2.10 or newer (Debian 13's package runs on Debian 12 too; `make " \
	"demo` installs it)"

int bus_program_check(const char *program, struct failure *failure)
{
	struct versions v = { .status = -1 };
	_cleanup_free_ char *version = NULL;
	int r = versions_run(&v, program);

	if (r == -ENOENT) {
		failure_set(failure, FAILURE_FAILED, NATS_CURE,
			    "cannot run %s: it is not installed", program);
	} else if (r < 0) {
		failure_set(failure, FAILURE_FAILED, NATS_CURE, "cannot run %s: %s", program,
			    strerror(-r));
	} else if (v.status != 0) {
		r = failure_set(failure, FAILURE_FAILED, NATS_CURE, "cannot use %s: `--version` %s",
				program, v.status < 0 ? "does not exit" : "fails");
	} else {
		version = version_of(v.text.text);
		if (!version || !bus_version_suits(version))
			r = failure_set(failure, FAILURE_FAILED, NATS_CURE,
					"cannot use %s: version %s is too old, acknowledged writes "
					"would not be on disk",
					program, version ? version : "unknown");
	}
	strbuf_clear(&v.text);
	return r;
}
