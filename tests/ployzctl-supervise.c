/* The supervisor of `ployzctl dev`, with small children. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ployzctl/supervise.h"
#include "tests/tap.h"

#define PATIENCE_USEC 15000000ull
#define TRACED_USEC 200000ull

struct run {
	sd_event *loop;
	struct supervise *supervise;
	char *directory;
	char *output; /* lines, in order */
	char *failed;
	bool ready, stopped;
	unsigned kills; /* to be sent when `victim` is up */
	bool stop_when_ready;
	bool trace; /* it is traced when it is killed, and for a while more */
	pid_t tracer;
	int leash; /* the tracer runs as long as this is open */
};

static void keep(struct run *run, const char *name, bool own, const char *text)
{
	char *text_ = xasprintf("%s%s%s: %s\n", run->output ? run->output : "", own ? "*" : "",
				name, text);

	free(run->output);
	run->output = text_;
}

static int on_traced_enough(_unused_ sd_event_source *source, _unused_ uint64_t usec,
			    void *userdata)
{
	struct run *run = userdata;

	close(run->leash);
	return 0;
}

/* Traces a child as a debugger does: waitid() reports the child's end only when the tracer has
 * ended. */
static void trace(struct run *run, pid_t pid)
{
	int ready[2], leash[2];
	char byte = 0;

	if (pipe(ready) < 0 || pipe(leash) < 0)
		return;
	run->tracer = fork();
	if (run->tracer == 0) {
		close(leash[1]);
		byte = ptrace(PTRACE_SEIZE, pid, NULL, NULL) == 0 ? 'y' : 'n';
		if (write(ready[1], &byte, 1) == 1 && read(leash[0], &byte, 1) == 0)
			_exit(0);
		_exit(1);
	}
	ok(read(ready[0], &byte, 1) == 1 && byte == 'y', "it is traced");
	close(ready[0]);
	close(ready[1]);
	close(leash[0]);
	run->leash = leash[1];
	sd_event_add_time_relative(run->loop, NULL, CLOCK_BOOTTIME, TRACED_USEC, 0,
				   on_traced_enough, run);
}

static void kill_victim(struct run *run)
{
	_cleanup_free_ char *path = xasprintf("%s/victim.pid", run->directory), *text = NULL;

	if (file_read(path, 32, &text, NULL) < 0)
		return;
	if (run->trace)
		trace(run, atoi(text));
	kill(atoi(text), SIGKILL);
}

static void on_line(const char *name, bool own, const char *text, void *userdata)
{
	struct run *run = userdata;

	keep(run, name, own, text);
	if (run->kills && streq(name, "victim") && streq(text, "up")) {
		run->kills--;
		kill_victim(run);
	} else if (own && strstr(text, "ready again") && !run->kills) {
		supervise_stop(run->supervise, NULL);
	}
}

static void on_ready(void *userdata)
{
	struct run *run = userdata;

	run->ready = true;
	if (run->stop_when_ready)
		supervise_stop(run->supervise, NULL);
}

static void on_failed(const char *text, void *userdata)
{
	struct run *run = userdata;

	run->failed = xstrdup(text);
	supervise_stop(run->supervise, NULL);
}

static void on_stopped(void *userdata)
{
	struct run *run = userdata;

	run->stopped = true;
	sd_event_exit(run->loop, 0);
}

static const struct supervise_ops ops = {
	.line = on_line, .ready = on_ready, .failed = on_failed, .stopped = on_stopped
};

static int on_late(_unused_ sd_event_source *source, _unused_ uint64_t usec, void *userdata)
{
	struct run *run = userdata;

	return sd_event_exit(run->loop, 1);
}

static void run_new(struct run *run)
{
	char directory[] = "/tmp/plt.XXXXXX";

	*run = (struct run){ .directory = xstrdup(mkdtemp(directory)) };
	sd_event_new(&run->loop);
	sd_event_add_time_relative(run->loop, NULL, CLOCK_BOOTTIME, PATIENCE_USEC, 0, on_late, run);
	ok(supervise_new(run->loop, run->directory, run->directory, &ops, run, &run->supervise) ==
		   0,
	   "a supervisor");
}

static void run_free(struct run *run)
{
	static const char *const names[] = { "first", "second", "victim", "stubborn", "server" };

	supervise_free(run->supervise);
	sd_event_unref(run->loop);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		_cleanup_free_ char *log = xasprintf("%s/%s.log", run->directory, names[i]);

		unlink(log);
	}
	ok(rmdir(run->directory) == 0, "no pid file and no socket is left");
	free(run->directory);
	free(run->output);
	free(run->failed);
}

static void add(struct run *run, const char *name, const char *script, enum supervise_ready ready,
		const char *after)
{
	struct supervise_child child = {
		.name = name, .ready = ready, .after = { after }, .stop_usec = 300000
	};
	char **argv = NULL;

	strv_push(&argv, supervise_program("perl"));
	strv_push(&argv, xstrdup("-e"));
	strv_push(
		&argv,
		xasprintf(
			"$| = 1; sub ready { use Socket; socket S, AF_UNIX, SOCK_DGRAM, 0; send S, "
			"\"STATUS=well\\nREADY=1\", 0, pack_sockaddr_un($ENV{NOTIFY_SOCKET}); } %s",
			script));
	child.argv = argv;
	supervise_add(run->supervise, &child);
}

static void test_pauses(void)
{
	static const unsigned ms[] = { 0, 0, 100, 200, 400, 800, 1600, 3200, 5000, 5000 };

	for (unsigned i = 0; i < ARRAY_SIZE(ms); i++)
		is_int((long long)supervise_pause(i), ms[i] * 1000ll, "pause");
	is_int((long long)supervise_pause(1000), 5000000, "pause");
}

static void test_order(void)
{
	struct run run;

	run_new(&run);
	run.stop_when_ready = true;
	add(&run, "second", "print qq(up\\n); ready(); sleep 60", SUPERVISE_NOTIFY, "first");
	add(&run, "first", "print qq(first: one\\ntwo\\nthree)", SUPERVISE_EXIT, NULL);
	supervise_start(run.supervise);
	ok(sd_event_loop(run.loop) == 0 && run.ready && run.stopped, "ready, and then stopped");
	is(run.output, "first: one\nfirst: two\nfirst: three\nsecond: up\n",
	   "one after the other; a daemon's name is printed once, the last line needs no line "
	   "break");
	run_free(&run);
}

static void test_failed(void)
{
	struct run run;

	run_new(&run);
	add(&run, "first", "print STDERR qq(nothing here\\n); exit 3", SUPERVISE_EXIT, NULL);
	add(&run, "second", "sleep 60", SUPERVISE_NOTIFY, "first");
	supervise_start(run.supervise);
	sd_event_loop(run.loop);
	is(run.failed, "first ended with code 3 before it was ready: nothing here",
	   "the message has the name, the exit code and the last line");
	ok(run.stopped && !run.ready, "never ready");
	run_free(&run);
	run_new(&run);
	add(&run, "server", "exit 1", SUPERVISE_NOTIFY, NULL);
	supervise_start(run.supervise);
	sd_event_loop(run.loop);
	is(run.failed, "server ended with code 1 before it was ready", "a daemon is started twice");
	is(run.output, "*server: ended with code 1; starting it again\n", "and that is printed");
	run_free(&run);
	run_new(&run);
	{
		struct supervise_child child = { .name = "server", .ready = SUPERVISE_EXIT };

		strv_push(&child.argv, xstrdup("/nowhere/program"));
		supervise_add(run.supervise, &child);
	}
	supervise_start(run.supervise);
	sd_event_loop(run.loop);
	ok(run.failed && strstr(run.failed, "cannot run /nowhere/program: No such file"),
	   "a program that does not exist");
	run_free(&run);
}

static void test_again(void)
{
	struct run run;

	run_new(&run);
	run.kills = 2;
	add(&run, "victim", "ready(); select undef, undef, undef, 0.1; print qq(up\\n); sleep 60",
	    SUPERVISE_NOTIFY, NULL);
	supervise_start(run.supervise);
	ok(sd_event_loop(run.loop) == 0 && run.stopped, "killed twice, and stopped");
	ok(run.output &&
		   strstr(run.output, "*victim: was killed by SIGKILL; starting it again\n") &&
		   strstr(run.output,
			  "*victim: was killed by SIGKILL; starting it again in 100 ms\n"),
	   "at once, then after a pause");
	if (run.output && !strstr(run.output, "in 100 ms"))
		tap_show("output", run.output);
	run_free(&run);
}

static void test_traced(void)
{
	struct run run;

	run_new(&run);
	run.kills = 1;
	run.trace = true;
	add(&run, "victim", "ready(); select undef, undef, undef, 0.1; print qq(up\\n); sleep 60",
	    SUPERVISE_NOTIFY, NULL);
	supervise_start(run.supervise);
	ok(sd_event_loop(run.loop) == 0 && run.stopped,
	   "killed while it is traced, it is started again");
	waitpid(run.tracer, NULL, 0);
	run_free(&run);
}

static void test_stubborn(void)
{
	struct run run;

	run_new(&run);
	run.stop_when_ready = true;
	add(&run, "stubborn", "$SIG{TERM} = 'IGNORE'; ready(); sleep 60 while 1", SUPERVISE_NOTIFY,
	    NULL);
	supervise_start(run.supervise);
	ok(sd_event_loop(run.loop) == 0 && run.stopped, "a child that ignores TERM ends too");
	is(run.output, "*stubborn: does not end; killing it\n", "and that is printed");
	run_free(&run);
}

static const char *drop_line(_unused_ const char *line)
{
	return NULL;
}

static void test_log(void)
{
	struct run run;
	struct supervise_child child = { .name = "first",
					 .ready = SUPERVISE_EXIT,
					 .filter = drop_line };
	_cleanup_free_ char *log = NULL, *before = NULL;
	struct stat now = { .st_size = -1 }, then = { .st_size = -1 };

	run_new(&run);
	run.stop_when_ready = true;
	log = xasprintf("%s/first.log", run.directory);
	before = xasprintf("%s.1", log);
	strv_push(&child.argv, supervise_program("perl"));
	strv_push(&child.argv, xstrdup("-e"));
	strv_push(&child.argv, xstrdup("print \"x\" x 1023, qq(\\n) for 1 .. 17 * 1024"));
	supervise_add(run.supervise, &child);
	supervise_start(run.supervise);
	sd_event_loop(run.loop);
	stat(log, &now);
	stat(before, &then);
	is_int(now.st_size + then.st_size, 17ll << 20, "a long log is complete");
	is_int(then.st_size, (16ll << 20) + 1024, "a new one began when it was too long");
	unlink(before);
	run_free(&run);
}

/* A variable from the supervisor, and the same one set in its own environment. */
static void test_environment(const char *before, const char *expected)
{
	struct run run;
	struct supervise_child child = { .name = "first",
					 .ready = SUPERVISE_EXIT,
					 .environment = "PLT_GIVEN=by the supervisor" };

	run_new(&run);
	run.stop_when_ready = true;
	if (before)
		setenv("PLT_GIVEN", before, 1);
	strv_push(&child.argv, supervise_program("perl"));
	strv_push(&child.argv, xstrdup("-e"));
	strv_push(&child.argv, xstrdup("print qq(given $ENV{PLT_GIVEN}\\n)"));
	supervise_add(run.supervise, &child);
	supervise_start(run.supervise);
	sd_event_loop(run.loop);
	is(run.output, expected, "the environment of a child");
	unsetenv("PLT_GIVEN");
	run_free(&run);
}

int main(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	test_pauses();
	test_order();
	test_environment(NULL, "first: given by the supervisor\n");
	test_environment("by the operator", "first: given by the operator\n");
	test_log();
	test_failed();
	test_again();
	test_traced();
	test_stubborn();
	return tap_done();
}
