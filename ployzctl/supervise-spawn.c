/* Starting children, and connecting to them. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "ployzctl/supervise.h"

/* In the child, after the fork: nothing here allocates. */
_noreturn_ static void child_exec(char *const *argv, int output, char *const *environment,
				  pid_t parent)
{
	int null = open("/dev/null", O_RDONLY);
	sigset_t none;

	/* The terminal's ^C reaches the parent only, which ends its children in order. */
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(127);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	if (dup2(null, STDIN_FILENO) < 0 || dup2(output, STDOUT_FILENO) < 0 ||
	    dup2(output, STDERR_FILENO) < 0)
		_exit(127);
	execve(argv[0], argv, environment);
	dprintf(STDERR_FILENO, "cannot run %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

/* The environment without what the parent's service manager has set. */
static char **child_environment(const struct supervise_child *child, const char *notify)
{
	static const char *const dropped[] = {
		"NOTIFY_SOCKET=", "WATCHDOG_USEC=", "WATCHDOG_PID=",
		"LISTEN_FDS=",	  "LISTEN_PID=",    "JOURNAL_STREAM="
	};
	char **environment = NULL;

	for (char **p = environ; *p; p++) {
		bool drop = false;

		for (size_t i = 0; i < ARRAY_SIZE(dropped); i++)
			drop |= str_starts(*p, dropped[i]);
		drop |= child->tmp && str_starts(*p, "TMPDIR=");
		if (!drop)
			strv_push(&environment, xstrdup(*p));
	}
	strv_push(&environment, xasprintf("NOTIFY_SOCKET=%s", notify));
	if (child->environment) {
		_cleanup_free_ char *name =
			xstrndup(child->environment, strcspn(child->environment, "="));

		if (!getenv(name))
			strv_push(&environment, xstrdup(child->environment));
	}
	if (child->tmp)
		strv_push(&environment, xasprintf("TMPDIR=%s", child->tmp));
	return environment;
}

int supervise_spawn(const struct supervise_child *child, const char *notify, pid_t *ret_pid,
		    int *ret_output)
{
	_cleanup_(strv_freep) char **environment = child_environment(child, notify);
	pid_t parent = getpid(), pid;
	int pipes[2], r;

	if (pipe2(pipes, O_CLOEXEC) < 0)
		return -errno;
	pid = fork();
	if (pid == 0)
		child_exec(child->argv, pipes[1], environment, parent);
	r = pid < 0 ? -errno : 0;
	close(pipes[1]);
	if (r < 0) {
		close(pipes[0]);
		return r;
	}
	fcntl(pipes[0], F_SETFL, O_NONBLOCK);
	*ret_pid = pid;
	*ret_output = pipes[0];
	return 0;
}

int supervise_connect(const char *at, bool unix_socket)
{
	union {
		struct sockaddr any;
		struct sockaddr_in in;
		struct sockaddr_un un;
	} address = { .any = { 0 } };
	const char *colon = strrchr(at, ':');
	_cleanup_free_ char *host = NULL;
	socklen_t size = sizeof(address.in);
	int fd, r;

	if (unix_socket) {
		address.un.sun_family = AF_UNIX;
		if (strlen(at) >= sizeof(address.un.sun_path))
			return -ENAMETOOLONG;
		memcpy(address.un.sun_path, at, strlen(at) + 1);
		size = sizeof(address.un);
	} else {
		if (!colon)
			return -EINVAL;
		host = xstrndup(at, (size_t)(colon - at));
		address.in.sin_family = AF_INET;
		address.in.sin_port = htons((uint16_t)atoi(colon + 1));
		if (inet_pton(AF_INET, host, &address.in.sin_addr) != 1)
			return -EINVAL;
	}
	fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, &address.any, size) == 0 || errno == EINPROGRESS)
		return fd;
	r = -errno;
	close(fd);
	return r;
}

char *supervise_program(const char *name)
{
	const char *path = getenv("PATH");
	_cleanup_(strv_freep) char **directories = strv_split(
		path ? path : "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", ":");

	for (char **directory = directories; directory && *directory; directory++) {
		_cleanup_free_ char *program = xasprintf("%s/%s", *directory, name);

		if (access(program, X_OK) == 0)
			return steal(program);
	}
	return NULL;
}
