#include "meshd/meshd.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#define VERSION_USEC 5000000ull
#define RENDERED_MODE 0600

/* nats-server --version, run for its one line. */
struct versions {
	sd_event *loop;
	int output;
	struct strbuf text;
	int status; /* as wait gives it; -1: it did not end in time */
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

/* Runs the program to its end or its time-out; its output is in v->text. */
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
	/* The output is read before the end is acted on. */
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

static int check_server(const char *program)
{
	struct versions v = { .status = -1 };
	_cleanup_free_ char *version = NULL;
	int r = versions_run(&v, program);

	if (r == -ENOENT) {
		log_error("%s is not installed; " NATS_CURE, program);
	} else if (r < 0) {
		log_errno(LOG_ERR, r, "cannot run %s", program);
	} else if (v.status != 0) {
		log_error("%s --version %s; " NATS_CURE, program,
			  v.status < 0 ? "does not end" : "does not work");
		r = -ENOEXEC;
	} else {
		version = version_of(v.text.text);
		if (!version || !bus_version_suits(version)) {
			log_error("%s is version %s, too old to keep what it "
				  "acknowledged; " NATS_CURE,
				  program, version ? version : "unknown");
			r = -EPROTONOSUPPORT;
		}
	}
	strbuf_clear(&v.text);
	return r;
}

/* The local bus listens on loopback only. `nats://127.0.0.1:4222` → `127.0.0.1:4222`, borrowed. */
static const char *bus_listen(const char *url)
{
	const char *at = strstr(url, "://");

	at = at ? at + 3 : url;
	if (!str_starts(at, "127.") && !str_starts(at, "[::1]:") && !str_starts(at, "localhost:"))
		return NULL;
	return strchr(at, ':') && !strpbrk(at, "@,/") ? at : NULL;
}

static int write_rendered(const char *directory, const char *name, char *text)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", directory, name);
	_cleanup_free_ char *owned = text;
	int r = file_write_atomic(path, text, strlen(text), RENDERED_MODE);

	if (r < 0)
		return log_errno(LOG_ERR, r, "cannot write %s", path);
	return 0;
}

static int render(const struct meshd_config *config, const struct identity *identity,
		  const char *listen)
{
	const struct render_member member = { .machine = identity->machine,
					      .leaf = config->leaf_listen };
	const struct render_user machine = { .name = identity->machine,
					     .password = identity->leaf_password };
	const struct render_bus bus = {
		.machine = identity->machine,
		.listen = listen,
		.data = config->bus_data,
		.users = identity->users,
		.n_users = identity->n_users,
		.stores = &member,
		.n_stores = 1,
		.leaf_password = identity->leaf_password,
	};
	const struct render_store store = {
		.machine = identity->machine,
		.data = config->store_data,
		.generation = 1,
		.members = &member,
		.n_members = 1,
		.machines = &machine,
		.n_machines = 1,
	};
	int r = write_rendered(config->daemon.run, "nats.conf", render_bus(&bus));

	return r < 0 ? r : write_rendered(config->daemon.run, "store.conf", render_store(&store));
}

int meshd_prepare(const struct meshd_config *config)
{
	const char *listen = bus_listen(config->daemon.bus);
	_cleanup_(identity_clear) struct identity identity = { 0 };
	int r;

	if (!listen) {
		log_error(
			"--bus %s: the local bus listens on loopback, as in nats://127.0.0.1:4222",
			config->daemon.bus);
		return -EINVAL;
	}
	r = check_server(config->nats_server);
	if (r >= 0)
		r = identity_open(config->daemon.credentials, &identity);
	if (r >= 0)
		r = directory_make(config->daemon.run, 0755);
	if (r >= 0)
		r = render(config, &identity, listen);
	if (r < 0)
		return r;
	log_info("prepared %s: %s/nats.conf and %s/store.conf", identity.machine,
		 config->daemon.run, config->daemon.run);
	return 0;
}
