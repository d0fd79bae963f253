/* Supervisor of `ployzctl dev`: starts children in order, restarts those that end, and stops all.
 */
#include "ployzctl/supervise.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROBE_USEC 20000ull  /* between two tries to connect to a child that starts */
#define STOP_USEC 5000000ull /* from TERM to KILL */
#define PAUSE_FIRST_USEC \
	100000ull /* after the second death in a row; doubled from one to the next */
#define PAUSE_MAX_USEC 5000000ull
#define STEADY_USEC 3000000ull /* after this run time a child's deaths count from zero */
#define START_ATTEMPTS 2       /* deaths before ready until the start has failed */
#define LINE_MAX_BYTES 8192
#define LOG_MAX_BYTES (16ll << 20) /* a larger log is renamed, and a new one begins */

enum state { WAITING, STARTING, READY, PAUSING, STOPPING, ENDED };

struct child {
	struct supervise *supervise;
	struct supervise_child spec;
	enum state state;
	pid_t pid; /* 0: does not run */
	sd_event_source *exit_source;
	sd_event_source *output_source;
	int output;
	int log;
	int64_t log_bytes;
	int probe;	     /* a connection that is being tried, or -1 */
	struct strbuf text;  /* of its line that is not complete */
	char *status;	     /* its STATUS= */
	char *last;	     /* its last line */
	struct timer *timer; /* the next probe, the next start, or KILL */
	uint64_t started_usec;
	unsigned deaths; /* in a row */
	bool was_ready;
	bool wanted_down;
};

struct supervise {
	sd_event *loop;
	char *run, *log;
	const struct supervise_ops *ops;
	void *userdata;
	struct child **children;
	size_t n_children;
	char *notify_path;
	struct supervise_notify *notify;
	struct deferred *next;
	bool reported; /* ready or failed */
	bool stopping; /* `stopped` is not called yet */
};

static void own_line(struct child *child, const char *format, ...) _printf_(2, 3);
static void own_line(struct child *child, const char *format, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list args;

	va_start(args, format);
	text = xvasprintf(format, args);
	va_end(args);
	child->supervise->ops->line(child->spec.name, true, text, child->supervise->userdata);
}

uint64_t supervise_pause(unsigned deaths)
{
	if (deaths <= 1)
		return 0;
	return MIN2(PAUSE_FIRST_USEC << MIN2(deaths - 2, 10u), PAUSE_MAX_USEC);
}

static struct child *find(const struct supervise *supervise, const char *name)
{
	for (size_t i = 0; i < supervise->n_children; i++)
		if (streq(supervise->children[i]->spec.name, name))
			return supervise->children[i];
	return NULL;
}

static char *pid_path(const struct child *child)
{
	return xasprintf("%s/%s.pid", child->supervise->run, child->spec.name);
}

/* --- output */

static void open_log(struct child *child)
{
	_cleanup_free_ char *path = xasprintf("%s/%s.log", child->supervise->log, child->spec.name);
	_cleanup_free_ char *before = xasprintf("%s.1", path);
	struct stat st = { .st_size = 0 };

	if (stat(path, &st) == 0 && st.st_size > LOG_MAX_BYTES && rename(path, before) == 0)
		st.st_size = 0;
	child->log_bytes = st.st_size;
	child->log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static void log_line(struct child *child, const char *line)
{
	if (child->log < 0)
		return;
	child->log_bytes += dprintf(child->log, "%s\n", line);
	if (child->log_bytes > LOG_MAX_BYTES) {
		close(child->log);
		open_log(child);
	}
}

static void take_line(struct child *child, const char *line)
{
	const char *text = line;
	size_t n = strlen(child->spec.name);

	log_line(child, line);
	/* A daemon's log lines begin with its name, which is printed here already. */
	if (strncmp(line, child->spec.name, n) == 0 && str_starts(line + n, ": "))
		text = line + n + 2;
	free(child->last);
	child->last = xstrdup(text);
	if (child->spec.filter)
		text = child->spec.filter(text);
	if (text && *text)
		child->supervise->ops->line(child->spec.name, false, text,
					    child->supervise->userdata);
}

static void take_text(struct child *child, const char *data, size_t size)
{
	char *newline;

	strbuf_add(&child->text, data, size);
	while ((newline = memchr(child->text.text, '\n', child->text.size))) {
		*newline = '\0';
		take_line(child, child->text.text);
		strbuf_consume(&child->text, (size_t)(newline - child->text.text) + 1);
	}
	if (child->text.size > LINE_MAX_BYTES) {
		take_line(child, child->text.text);
		strbuf_clear(&child->text);
	}
}

static void close_output(struct child *child)
{
	if (child->output < 0)
		return;
	sd_event_source_disable_unref(steal(child->output_source));
	close(child->output);
	child->output = -1;
	if (child->text.size)
		take_line(child, child->text.text);
	strbuf_clear(&child->text);
}

static int on_output(_unused_ sd_event_source *source, int fd, _unused_ uint32_t revents,
		     void *userdata)
{
	struct child *child = userdata;
	char data[4096];
	ssize_t n = read(fd, data, sizeof(data));

	if (n > 0)
		take_text(child, data, (size_t)n);
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		close_output(child);
	return 0;
}

/* Reads what the child wrote before it ended; a pipe that a grandchild keeps open is not awaited.
 */
static void drain_output(struct child *child)
{
	for (int i = 0; child->output >= 0 && i < 64; i++) {
		struct pollfd p = { .fd = child->output, .events = POLLIN };

		if (poll(&p, 1, 0) <= 0)
			break;
		on_output(NULL, child->output, 0, child);
	}
	close_output(child);
}

/* --- starting */

static void become_ready(struct child *child)
{
	if (child->probe >= 0)
		close(child->probe);
	child->probe = -1;
	timer_disarm(child->timer);
	child->state = READY;
	if (child->was_ready)
		own_line(child, "ready again");
	child->was_ready = true;
	deferred_schedule(child->supervise->next);
}

static void probe(struct child *child)
{
	struct pollfd p = { .events = POLLOUT };
	socklen_t size = sizeof(int);
	int error = 0;

	if (child->probe < 0)
		child->probe =
			supervise_connect(child->spec.address, child->spec.ready == SUPERVISE_UNIX);
	p.fd = child->probe;
	if (child->probe >= 0 && poll(&p, 1, 0) > 0) {
		getsockopt(child->probe, SOL_SOCKET, SO_ERROR, &error, &size);
		if (!error && !(p.revents & POLLERR)) {
			become_ready(child);
			return;
		}
		close(child->probe);
		child->probe = -1;
	}
	timer_arm(child->timer, PROBE_USEC);
}

static void write_pid(const struct child *child)
{
	_cleanup_free_ char *path = pid_path(child);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0)
		return;
	dprintf(fd, "%d\n", (int)child->pid);
	close(fd);
}

static int on_exit_(sd_event_source *source, const siginfo_t *info, void *userdata);

static int spawn(struct child *child)
{
	sd_event *loop = child->supervise->loop;
	int r = supervise_spawn(&child->spec, child->supervise->notify_path, &child->pid,
				&child->output);

	if (r >= 0)
		r = sd_event_add_io(loop, &child->output_source, child->output, EPOLLIN, on_output,
				    child);
	if (r >= 0)
		r = sd_event_add_child(loop, &child->exit_source, child->pid, WEXITED, on_exit_,
				       child);
	/* sd-event's child source is one-shot: while the child is traced, waitid() does not report
	 * its end, and the one shot would be lost. It cannot change from one-shot to on directly.
	 */
	if (r >= 0)
		r = sd_event_source_set_enabled(child->exit_source, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_source_set_enabled(child->exit_source, SD_EVENT_ON);
	return r;
}

static void start(struct child *child)
{
	int r;

	child->state = STARTING;
	child->started_usec = boot_now_usec();
	free(steal(child->status));
	r = spawn(child);
	if (r < 0) {
		own_line(child, "cannot start: %s", strerror(-r));
		child->state = PAUSING;
		timer_arm(child->timer, supervise_pause(++child->deaths + 1));
		return;
	}
	write_pid(child);
	if (child->spec.ready == SUPERVISE_TCP || child->spec.ready == SUPERVISE_UNIX)
		timer_arm(child->timer, PROBE_USEC);
}

static void on_timer(void *userdata)
{
	struct child *child = userdata;

	if (child->state == STARTING)
		probe(child);
	else if (child->state == PAUSING)
		start(child);
	else if (child->state == STOPPING && child->pid) {
		own_line(child, "does not end; killing it");
		kill(child->pid, SIGKILL);
	}
}

/* --- ending */

static char *exit_text(const siginfo_t *info)
{
	if (info->si_code == CLD_EXITED)
		return xasprintf("ended with code %d", info->si_status);
	return xasprintf("was killed by %s%s%s", "SIG", sigabbrev_np(info->si_status),
			 info->si_code == CLD_DUMPED ? " (core dumped)" : "");
}

static void fail_start(struct child *child, const char *how)
{
	struct supervise *supervise = child->supervise;
	_cleanup_free_ char *text =
		xasprintf("%s %s before it was ready%s%s", child->spec.name, how,
			  child->last ? ": " : "", child->last ? child->last : "");

	if (child->spec.optional) {
		own_line(child, "%s", how);
		deferred_schedule(supervise->next);
	}
	if (child->spec.optional || supervise->reported)
		return;
	supervise->reported = true;
	supervise->ops->failed(text, supervise->userdata);
}

static void died(struct child *child, const siginfo_t *info)
{
	_cleanup_free_ char *how = exit_text(info), *in = NULL;
	uint64_t pause;

	if (child->spec.ready == SUPERVISE_EXIT) {
		bool good = info->si_code == CLD_EXITED && info->si_status == 0;

		child->state = ENDED;
		child->was_ready = good;
		if (good)
			deferred_schedule(child->supervise->next);
		else
			fail_start(child, how);
		return;
	}
	if (boot_now_usec() - child->started_usec >= STEADY_USEC)
		child->deaths = 0;
	child->deaths++;
	child->state = PAUSING;
	if (!child->was_ready && child->deaths >= START_ATTEMPTS && !child->supervise->reported) {
		child->state = ENDED;
		fail_start(child, how);
		return;
	}
	pause = supervise_pause(child->deaths);
	in = duration_human(pause);
	own_line(child, "%s; starting it again%s%s", how, pause ? " in " : "", pause ? in : "");
	timer_arm(child->timer, pause);
}

static int on_exit_(_unused_ sd_event_source *source, const siginfo_t *info, void *userdata)
{
	struct child *child = userdata;
	_cleanup_free_ char *path = pid_path(child);

	sd_event_source_disable_unref(steal(child->exit_source));
	drain_output(child);
	unlink(path);
	child->pid = 0;
	timer_disarm(child->timer);
	if (child->probe >= 0)
		close(child->probe);
	child->probe = -1;
	if (child->wanted_down) {
		child->state = ENDED;
		deferred_schedule(child->supervise->next);
	} else {
		died(child, info);
	}
	return 0;
}

static bool needs(const struct child *child, const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(child->spec.after) && child->spec.after[i]; i++)
		if (streq(child->spec.after[i], name))
			return true;
	return false;
}

/* Sends TERM to children that no running child needs; those that do not run have ended. */
static bool stop_more(struct supervise *supervise)
{
	bool left = false;

	for (size_t i = 0; i < supervise->n_children; i++) {
		struct child *child = supervise->children[i];
		bool needed = false;

		if (!child->wanted_down || child->state == ENDED)
			continue;
		left = true;
		for (size_t k = 0; k < supervise->n_children; k++)
			needed |= needs(supervise->children[k], child->spec.name) &&
				  supervise->children[k]->pid;
		if (needed || child->state == STOPPING)
			continue;
		child->state = STOPPING;
		if (child->pid) {
			kill(child->pid, SIGTERM);
			timer_arm(child->timer,
				  child->spec.stop_usec ? child->spec.stop_usec : STOP_USEC);
		} else {
			child->state = ENDED;
			deferred_schedule(supervise->next);
		}
	}
	return left;
}

static bool may_start(const struct supervise *supervise, const struct child *child)
{
	for (size_t i = 0; i < ARRAY_SIZE(child->spec.after) && child->spec.after[i]; i++) {
		const struct child *other = find(supervise, child->spec.after[i]);

		if (other && !other->was_ready)
			return false;
	}
	return true;
}

/* Starts or stops every child that may start or stop now. */
static void go_on(void *userdata)
{
	struct supervise *supervise = userdata;
	bool all = true;

	if (supervise->stopping) {
		if (!stop_more(supervise)) {
			supervise->stopping = false;
			supervise->ops->stopped(supervise->userdata);
		}
		return;
	}
	for (size_t i = 0; i < supervise->n_children; i++) {
		struct child *child = supervise->children[i];

		if (child->state == WAITING && may_start(supervise, child))
			start(child);
		all &= child->was_ready || child->spec.optional;
	}
	if (all && !supervise->reported) {
		supervise->reported = true;
		supervise->ops->ready(supervise->userdata);
	}
}

void supervise_stop(struct supervise *supervise, const char *except)
{
	supervise->stopping = true;
	supervise->reported = true;
	for (size_t i = 0; i < supervise->n_children; i++)
		if (!streq(supervise->children[i]->spec.name, except))
			supervise->children[i]->wanted_down = true;
	deferred_schedule(supervise->next);
}

void supervise_kill(struct supervise *supervise, const char *except)
{
	for (size_t i = 0; i < supervise->n_children; i++) {
		struct child *child = supervise->children[i];

		if (except && streq(child->spec.name, except))
			continue;
		child->wanted_down = true;
		if (child->pid)
			kill(child->pid, SIGKILL);
	}
}

char *supervise_waiting(const struct supervise *supervise)
{
	struct strbuf text = STRBUF_INIT;

	for (size_t i = 0; i < supervise->n_children; i++) {
		const struct child *child = supervise->children[i];

		if (child->was_ready || child->state == WAITING)
			continue;
		strbuf_printf(&text, "%s%s", text.size ? ", " : "", child->spec.name);
		if (child->status)
			strbuf_printf(&text, " (%s)", child->status);
	}
	return strbuf_steal(&text);
}

/* --- notifications of the children */

static void take_notification(struct child *child, const char *line)
{
	if (str_starts(line, "STATUS=")) {
		free(child->status);
		child->status = xstrdup(line + 7);
	} else if (streq(line, "READY=1") && child->spec.ready == SUPERVISE_NOTIFY &&
		   child->state == STARTING) {
		become_ready(child);
	}
}

static void on_notify(pid_t pid, const char *line, void *userdata)
{
	struct supervise *supervise = userdata;

	for (size_t i = 0; i < supervise->n_children; i++)
		if (supervise->children[i]->pid == pid)
			take_notification(supervise->children[i], line);
}

/* --- construction */

int supervise_new(sd_event *loop, const char *run, const char *log, const struct supervise_ops *ops,
		  void *userdata, struct supervise **ret)
{
	struct supervise *supervise = xcalloc(1, sizeof(*supervise));
	int r;

	supervise->loop = sd_event_ref(loop);
	supervise->run = xstrdup(run);
	supervise->log = xstrdup(log);
	supervise->ops = ops;
	supervise->userdata = userdata;
	supervise->next = deferred_new(loop, go_on, supervise);
	supervise->notify_path = xasprintf("%s/notify", run);
	r = supervise_notify_new(loop, supervise->notify_path, on_notify, supervise,
				 &supervise->notify);
	if (r < 0) {
		supervise_free(supervise);
		return r;
	}
	*ret = supervise;
	return 0;
}

void supervise_add(struct supervise *supervise, const struct supervise_child *spec)
{
	struct child *child = xcalloc(1, sizeof(*child));

	child->supervise = supervise;
	child->spec = *spec;
	child->output = child->probe = -1;
	open_log(child);
	child->timer = timer_new(supervise->loop, on_timer, child);
	*(struct child **)array_add(supervise->children, supervise->n_children) = child;
}

void supervise_start(struct supervise *supervise)
{
	deferred_schedule(supervise->next);
}

static void child_free(struct child *child)
{
	if (child->pid) {
		_cleanup_free_ char *path = pid_path(child);

		kill(child->pid, SIGKILL);
		waitpid(child->pid, NULL, 0);
		unlink(path);
	}
	sd_event_source_disable_unref(child->exit_source);
	close_output(child);
	if (child->log >= 0)
		close(child->log);
	if (child->probe >= 0)
		close(child->probe);
	timer_free(child->timer);
	strv_free(child->spec.argv);
	free(child->spec.address);
	free(child->spec.tmp);
	free(child->status);
	free(child->last);
	free(child);
}

void supervise_free(struct supervise *supervise)
{
	if (!supervise)
		return;
	for (size_t i = 0; i < supervise->n_children; i++)
		child_free(supervise->children[i]);
	free(supervise->children);
	deferred_free(supervise->next);
	supervise_notify_free(supervise->notify);
	free(supervise->notify_path);
	free(supervise->run);
	free(supervise->log);
	sd_event_unref(supervise->loop);
	free(supervise);
}
