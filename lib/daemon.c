/* Daemon: options, log, loop, lock, bus and readiness, in this order. */
#include "lib/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <sys/file.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "lib/file.h"
#include "lib/log.h"
#include "lib/str.h"

#define CONNECT_EVERY_USEC 100000ull   /* while there is no bus yet */
#define CONNECT_SERVING_USEC 100000ull /* for one attempt of a daemon that serves meanwhile */
#define READY_USEC 1000000ull
#define HEAP_PIECE_BYTES (128 * 1024) /* larger blocks are mapped one by one */

struct credentials {
	char *user, *password;
};

static const struct config_row credentials_rows[] = {
	{ "user", CONFIG_STRING, offsetof(struct credentials, user), NULL, "NAME",
	  "name on the bus", 0, 0 },
	{ "password", CONFIG_STRING, offsetof(struct credentials, password), NULL, "TEXT",
	  "its secret", 0, 0 },
	CONFIG_END,
};

static void credentials_clear(struct credentials *credentials)
{
	config_clear(credentials_rows, credentials);
}

/* The command line is read twice: it names the configuration file, and its values take precedence
 * over that file's. */
static int configure(const struct config_row *rows, void *config, int argc, char **argv,
		     struct failure *failure)
{
	struct daemon_config *common = config;
	int rest = 1, r;

	config_init(rows, config);
	r = config_arguments(rows, config, argc, argv, &rest, failure);
	if (r < 0)
		return r;
	if (rest < argc)
		return failure_set(failure, FAILURE_INVALID, "`--help` lists the options",
				   "'%s' is not an option", argv[rest]);
	r = config_read(rows, config, common->config, true, failure);
	if (r < 0 && r != -ENOENT)
		return r;
	return config_arguments(rows, config, argc, argv, &rest, failure);
}

/* This machine's id: of --machine or the configuration file, or the one that meshd wrote beside the
 * credentials. */
static int find_machine(struct daemon_config *config)
{
	_cleanup_free_ char *path = xasprintf("%s/machine", config->credentials);
	_cleanup_free_ char *text = NULL;
	int r;

	if (config->machine)
		return 0;
	r = file_read(path, 128, &text, NULL);
	if (r < 0)
		return r;
	text[strcspn(text, "\r\n")] = '\0';
	if (!name_valid(text))
		return -EINVAL;
	config->machine = steal(text);
	return 0;
}

static void print_help(const char *name, const char *summary, const struct config_row *rows)
{
	printf("ployz-%s: %s\n\nUsage: %s [OPTION]...\n\n", name, summary, name);
	config_help(rows, stdout);
	printf("\nMore: man %s\n", name);
}

/* One heap instead of one per thread of nats.c. malloc keeps no more free memory than at its start:
 * by default it keeps twice the largest block that it ever freed. */
static void heap_set_up(void)
{
	mallopt(M_ARENA_MAX, 1);
	mallopt(M_MMAP_THRESHOLD, HEAP_PIECE_BYTES);
	mallopt(M_TRIM_THRESHOLD, HEAP_PIECE_BYTES);
	mallopt(M_TOP_PAD, HEAP_PIECE_BYTES / 2);
}

static int on_signal(_unused_ sd_event_source *source, _unused_ const struct signalfd_siginfo *info,
		     void *userdata)
{
	struct daemon *daemon = userdata;
	bool second = daemon->stopping;

	daemon->stopping = true;
	if (!second && daemon->may_end && !daemon->may_end(daemon->may_end_userdata))
		return 0;
	return sd_event_exit(daemon->loop, 0);
}

int daemon_new(const char *name, const char *summary, const struct config_row *rows, void *config,
	       int argc, char **argv, struct daemon **ret)
{
	struct daemon_config *common = config;
	struct failure failure = FAILURE_INIT;
	struct daemon *daemon;
	int r;

	heap_set_up();
	log_open(name);
	r = configure(rows, config, argc, argv, &failure);
	if (r < 0) {
		log_failure(&failure);
		failure_clear(&failure);
		return r;
	}
	log_set_level((int)common->log_level);
	if (common->help || common->version) {
		if (common->help)
			print_help(name, summary, rows);
		else
			printf("%s %s\n", name, PLOYZ_VERSION);
		return 0;
	}
	if (common->check) {
		printf("%s: configuration valid\n", name);
		return 0;
	}
	if (find_machine(common) == 0)
		log_set_machine(common->machine);
	daemon = xcalloc(1, sizeof(*daemon));
	daemon->name = name;
	daemon->config = common;
	daemon->lock = -1;
	r = loop_new_signals(&daemon->loop, on_signal, daemon);
	if (r < 0) {
		daemon_free(daemon);
		return log_errno(LOG_ERR, r, "cannot create the event loop");
	}
	*ret = daemon;
	return 1;
}

/* One process of each daemon per machine: two would answer each request twice. */
static int take_lock(struct daemon *daemon)
{
	_cleanup_free_ char *path = xasprintf("%s/lock", daemon->config->state);
	int r;

	r = directory_make(daemon->config->state, 0700);
	if (r < 0)
		return log_errno(LOG_ERR, r, "cannot create the state directory %s",
				 daemon->config->state);
	daemon->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (daemon->lock < 0)
		return log_errno(LOG_ERR, errno, "cannot open %s", path);
	if (flock(daemon->lock, LOCK_EX | LOCK_NB) < 0) {
		log_error("cannot start %s: another process holds %s; stop it first", daemon->name,
			  path);
		return -EBUSY;
	}
	return 0;
}

struct connecting {
	struct daemon *daemon;
	struct bus_options options;
	struct timer *timer;
	bool logged;
	bool done;
	int result;
};

static void try_connect(void *userdata)
{
	struct connecting *c = userdata;
	struct failure failure = FAILURE_INIT;
	int r = bus_open(c->daemon->loop, &c->options, &c->daemon->bus, &failure);

	/* A server that refuses is final; one that cannot be reached may be starting. */
	if (r == 0 || r == -EPROTONOSUPPORT || r == -EACCES) {
		if (r < 0)
			log_failure(&failure);
		c->result = r;
		c->done = true;
	} else {
		if (!c->logged)
			log_notice("%s; waiting for it", failure.message);
		c->logged = true;
		timer_arm(c->timer, CONNECT_EVERY_USEC);
	}
	failure_clear(&failure);
}

static int start_without_bus(struct daemon *daemon)
{
	int r = daemon->without_bus ? daemon->without_bus(daemon->without_bus_userdata) : 0;

	if (r > 0)
		sd_notify(false, "READY=1");
	return r;
}

/* The loop runs meanwhile, so that signals end the daemon and nothing sleeps. */
static int wait_for_bus(struct daemon *daemon, const struct bus_options *options)
{
	struct connecting c = { .daemon = daemon, .options = *options };
	int r;

	if (bus_open(daemon->loop, options, &daemon->bus, NULL) == 0)
		return 0;
	r = start_without_bus(daemon);
	if (r < 0)
		return r;
	/* An attempt blocks the loop. */
	if (daemon->without_bus)
		c.options.connect_usec = CONNECT_SERVING_USEC;
	c.timer = timer_new(daemon->loop, try_connect, &c);
	timer_arm(c.timer, 0);
	while (r >= 0 && !c.done && sd_event_get_state(daemon->loop) != SD_EVENT_FINISHED)
		r = sd_event_run(daemon->loop, UINT64_MAX);
	timer_free(c.timer);
	if (r < 0)
		return r;
	return c.done ? c.result : -ECANCELED;
}

int daemon_open_bus(struct daemon *daemon)
{
	_cleanup_free_ char *path =
		xasprintf("%s/%s.conf", daemon->config->credentials, daemon->name);
	_cleanup_(credentials_clear) struct credentials credentials = { NULL, NULL };
	_cleanup_free_ char *inbox = NULL;
	struct failure failure = FAILURE_INIT;
	struct bus_options options = { .url = daemon->config->bus, .name = daemon->name };
	int r;

	if (!daemon->config->machine) {
		log_error("cannot start %s: this machine has no id; run `meshd --prepare`, or give "
			  "--machine ID",
			  daemon->name);
		return -ENXIO;
	}
	r = take_lock(daemon);
	if (r < 0)
		return r;
	r = config_read(credentials_rows, &credentials, path, false, &failure);
	if (r < 0 && r != -ENOENT) {
		log_error("%s", failure.message);
		failure_clear(&failure);
		return r;
	}
	if (credentials.user) {
		inbox = xasprintf("_INBOX.%s", credentials.user);
		options.user = credentials.user;
		options.password = credentials.password ? credentials.password : "";
		options.inbox = inbox;
	}
	r = wait_for_bus(daemon, &options);
	if (r == -ECANCELED)
		return 0;
	if (r == -EPROTONOSUPPORT || r == -EACCES)
		return r; /* the reason was logged */
	return r < 0 ? log_errno(LOG_ERR, r, "no bus at %s", daemon->config->bus) : 1;
}

int daemon_serve(struct daemon *daemon, const struct bus_endpoint *verbs, size_t count,
		 bus_status_fn status, void *userdata)
{
	int r = bus_serve(daemon->bus, daemon->name, daemon->config->machine, verbs, count, status,
			  userdata);

	return r < 0 ? log_errno(LOG_ERR, r, "cannot listen on the bus") : 0;
}

int daemon_loop(struct daemon *daemon)
{
	int r;

	/* A client may send a request as soon as this daemon is ready: the server must know its
	 * subscriptions. */
	if (daemon->bus && bus_flush(daemon->bus, READY_USEC) < 0)
		log_debug("the bus has not confirmed the subscriptions yet");
	sd_notify(false, "READY=1");
	log_info("ready");
	r = sd_event_loop(daemon->loop);
	sd_notify(false, "STOPPING=1");
	log_info("stopping");
	return r;
}

void daemon_status(struct daemon *daemon, const char *format, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list args;

	va_start(args, format);
	text = xvasprintf(format, args);
	va_end(args);
	sd_notifyf(false, "STATUS=%s", text);
	log_debug("%s: %s", daemon->name, text);
}

void daemon_free(struct daemon *daemon)
{
	if (!daemon)
		return;
	bus_free(daemon->bus);
	sd_event_unref(daemon->loop);
	if (daemon->lock >= 0)
		close(daemon->lock);
	free(daemon);
}
