/* terminal: runs a command as a shell does on a terminal of its own, and types ^C there.
 *
 *   terminal [-i REGEX]... [-t MILLISECONDS] COMMAND [ARGUMENT]...
 *
 * What is written there goes to stdout, and `terminal: typing ^C` when it does. As soon as it has
 * the first REGEX (extended), ^C is typed; then what comes after is held against the next one.
 * SIGUSR1 types one at once, -t so long after the start. The exit code is the command's, or 128 and
 * the signal that ended it.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <regex.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define REGEX_MAX 16
#define SEEN_MAX 65536 /* of the output since the last ^C; what is older is forgotten */
#define CTRL_C "\003"

struct terminal {
	int master;
	regex_t moments[REGEX_MAX];
	int n_moments, next; /* `next`: the one that is waited for */
	char seen[SEEN_MAX + 1];
	size_t size;
	long after_ms; /* 0: no time was told */
	bool escape;   /* inside a sequence that colours or erases: no text */
};

static void type_interrupt(const struct terminal *terminal)
{
	fputs("\nterminal: typing ^C\n", stdout);
	fflush(stdout);
	if (write(terminal->master, CTRL_C, 1) != 1)
		perror("terminal: write");
}

static void look(struct terminal *terminal)
{
	regmatch_t match;

	while (terminal->next < terminal->n_moments &&
	       regexec(&terminal->moments[terminal->next], terminal->seen, 1, &match, 0) == 0) {
		terminal->next++;
		terminal->size -= (size_t)match.rm_eo;
		memmove(terminal->seen, terminal->seen + match.rm_eo, terminal->size + 1);
		type_interrupt(terminal);
	}
}

static void take(struct terminal *terminal, const char *data, size_t size)
{
	if (fwrite(data, 1, size, stdout) != size || fflush(stdout) != 0)
		exit(1);
	for (size_t i = 0; i < size; i++) {
		if (data[i] == '\x1b')
			terminal->escape = true;
		if (terminal->escape) {
			terminal->escape = !strchr("ABCDEFGHJKSTfhlmnsu", data[i]);
			continue;
		}
		if (data[i] == '\r' || data[i] == '\0')
			continue;
		if (terminal->size == SEEN_MAX) {
			terminal->size = SEEN_MAX / 2;
			memmove(terminal->seen, terminal->seen + SEEN_MAX / 2, SEEN_MAX / 2);
		}
		terminal->seen[terminal->size++] = data[i];
	}
	terminal->seen[terminal->size] = '\0';
	look(terminal);
}

/* False: nobody has the terminal open any more, or nothing is there now. */
static int read_some(struct terminal *terminal)
{
	char data[4096];
	ssize_t n = read(terminal->master, data, sizeof(data));

	if (n > 0)
		take(terminal, data, (size_t)n);
	return n > 0 || (n < 0 && errno == EINTR);
}

static int code_of(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* What a shell with job control does: the command has a process group, which has the foreground. */
static int lead(char **argv)
{
	int status = 0;
	pid_t pid;

	signal(SIGTTOU, SIG_IGN);
	pid = fork();
	if (pid == 0) {
		setpgid(0, 0);
		tcsetpgrp(STDIN_FILENO, getpid());
		signal(SIGTTOU, SIG_DFL);
		execvp(argv[0], argv);
		perror(argv[0]);
		_exit(127);
	}
	if (pid < 0)
		return 126;
	setpgid(pid, pid);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		continue;
	/* This process's end hangs up on the foreground: on nobody but itself. */
	tcsetpgrp(STDIN_FILENO, getpgrp());
	return code_of(status);
}

static void watch(struct terminal *terminal, pid_t leader, int signals)
{
	struct pollfd p[] = { { .fd = terminal->master, .events = POLLIN },
			      { .fd = signals, .events = POLLIN } };
	struct signalfd_siginfo info;

	while (poll(p, 2, -1) >= 0 || errno == EINTR) {
		if ((p[0].revents & (POLLIN | POLLHUP)) && !read_some(terminal))
			p[0].fd = -1;
		if (!(p[1].revents & POLLIN) || read(signals, &info, sizeof(info)) <= 0)
			continue;
		if (info.ssi_signo == SIGUSR1 || info.ssi_signo == SIGALRM)
			type_interrupt(terminal);
		else if (info.ssi_signo == SIGTERM || (pid_t)info.ssi_pid == leader)
			return;
	}
}

static void alarm_in(long ms)
{
	const struct itimerval once = { .it_value = { ms / 1000, ms % 1000 * 1000 } };

	setitimer(ITIMER_REAL, &once, NULL);
}

static int run(struct terminal *terminal, char **argv)
{
	struct winsize size = { .ws_row = 40, .ws_col = 120 };
	sigset_t set, before;
	int status = 0, signals;
	pid_t leader;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGALRM);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, &before);
	signals = signalfd(-1, &set, SFD_CLOEXEC);
	leader = forkpty(&terminal->master, NULL, NULL, &size);
	if (leader == 0) {
		/* Whoever started this one in the background had it ignore them. */
		signal(SIGINT, SIG_DFL);
		signal(SIGQUIT, SIG_DFL);
		sigprocmask(SIG_SETMASK, &before, NULL);
		_exit(lead(argv));
	}
	if (leader < 0 || signals < 0) {
		perror("terminal");
		return 126;
	}
	alarm_in(terminal->after_ms);
	watch(terminal, leader, signals);
	if (waitpid(leader, &status, WNOHANG) <= 0) {
		close(terminal->master);
		return 128 + SIGTERM;
	}
	fcntl(terminal->master, F_SETFL, O_NONBLOCK);
	while (read_some(terminal))
		continue;
	return code_of(status);
}

int main(int argc, char **argv)
{
	static struct terminal terminal;
	int option;

	while ((option = getopt(argc, argv, "+i:t:")) != -1) {
		if (option == 't')
			terminal.after_ms = atol(optarg);
		else if (option != 'i' || terminal.n_moments == REGEX_MAX ||
			 regcomp(&terminal.moments[terminal.n_moments++], optarg, REG_EXTENDED))
			return 2;
	}
	if (optind == argc) {
		fputs("usage: terminal [-i REGEX]... [-t MILLISECONDS] COMMAND [ARGUMENT]...\n",
		      stderr);
		return 2;
	}
	return run(&terminal, argv + optind);
}
