/* `ployzctl dev`: the whole cluster on this machine, in the foreground, under one directory. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "ployzctl/dev.h"
#include "ployzctl/ployzctl.h"

#define NAME_WIDTH 8
#define OWN_NAME "dev"
#define ENGINE "engine" /* the child that an own engine is */

static const struct config_row rows[] = {
	{ "dir", CONFIG_STRING, offsetof(struct dev_config, dir), NULL, "DIR",
	  "directory of its files; /var/lib/ployz-dev for root, ~/.ployz-dev for others", 0, 0 },
	{ "keep", CONFIG_BOOL, offsetof(struct dev_config, keep), NULL, NULL,
	  "leave the containers and their network at the end", 0, 0 },
	{ "demo", CONFIG_BOOL, offsetof(struct dev_config, demo), NULL, NULL,
	  "deploy examples/hello.yaml when ready", 0, 0 },
	{ "name", CONFIG_STRING, offsetof(struct dev_config, name), NULL, "NAME",
	  "the machine's name; the host's when not given", 0, 0 },
	{ "engine", CONFIG_STRING, offsetof(struct dev_config, engine), NULL, "unix://PATH",
	  "the container engine; $DOCKER_HOST, Docker's own socket, or a dockerd that dev starts",
	  0, 0 },
	{ "bridge", CONFIG_STRING, offsetof(struct dev_config, bridge), "ployz0", "NAME",
	  "the containers' bridge", 0, 0 },
	{ "network", CONFIG_STRING, offsetof(struct dev_config, network), "ployz", "NAME",
	  "the engine's network on it", 0, 0 },
	{ "subnet", CONFIG_STRING, offsetof(struct dev_config, subnet), "10.101.0.0/16", "NETWORK",
	  "for containers: 10.B.0.0/16 to claim a /24 of, or 10.B.N.0/24", 0, 0 },
	{ "bus-port", CONFIG_INT, offsetof(struct dev_config, bus_port), "4222", "PORT",
	  "of the bus, on loopback", 1, 65535 },
	{ "leaf-port", CONFIG_INT, offsetof(struct dev_config, leaf_port), "0", "PORT",
	  "of the store, on loopback; 0: 7422, or any that is free", 0, 65535 },
	{ "gateway-http", CONFIG_STRING, offsetof(struct dev_config, gateway_http),
	  "127.0.0.1:8080", "ADDRESS:PORT", "where the gateway listens for HTTP", 0, 0 },
	{ "gateway-address", CONFIG_STRING, offsetof(struct dev_config, gateway_address),
	  "127.0.0.1", "ADDRESS", "where the gateway listens for tcp routes", 0, 0 },
	{ "dns-listen", CONFIG_STRV, offsetof(struct dev_config, dns_listen), "127.0.0.1:5353",
	  "ADDRESS:PORT",
	  "where the resolver listens besides the bridge; may be given several times", 0, 0 },
	{ "forward", CONFIG_STRV, offsetof(struct dev_config, forward), NULL, "ADDRESS:PORT",
	  "resolver of other names; those of /etc/resolv.conf when not given", 0, 0 },
	{ "log-level", CONFIG_INT, offsetof(struct dev_config, log_level), "6", "N",
	  "of the daemons: 0 to 7", 0, 7 },
	{ "help", CONFIG_BOOL, offsetof(struct dev_config, help), NULL, NULL, "print this help", 0,
	  0 },
	CONFIG_END,
};

static void stop(struct dev *dev, int exit_code);

/* --- output */

/* A name has the same colour in every run. */
static unsigned name_colour(const char *name)
{
	static const unsigned colours[] = { 36, 32, 33, 34, 35, 96, 92, 93, 94, 95 };
	unsigned sum = 0;

	for (; *name; name++)
		sum = sum * 31 + (unsigned char)*name;
	return colours[sum % ARRAY_SIZE(colours)];
}

static void show(const struct dev *dev, const char *name, const char *text)
{
	if (dev->colour)
		printf("\x1b[%um%-*s\x1b[0m %s\n", name_colour(name), NAME_WIDTH, name, text);
	else
		printf("%-*s %s\n", NAME_WIDTH, name, text);
	fflush(stdout);
}

void dev_print(const struct dev *dev, const char *format, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list args;

	va_start(args, format);
	text = xvasprintf(format, args);
	va_end(args);
	show(dev, OWN_NAME, text);
}

static void on_line(const char *name, bool own, const char *text, void *userdata)
{
	const struct dev *dev = userdata;

	if (own)
		dev_print(dev, "%s %s", name, text);
	else
		show(dev, name, text);
}

static void show_ready(const struct dev *dev)
{
	_cleanup_free_ char *took = duration_human(boot_now_usec() - dev->begun_usec);
	_cleanup_free_ char *listens = strv_join(dev->config.dns_listen, ", ");
	const char *first = dev->config.dns_listen ? dev->config.dns_listen[0] : "127.0.0.1:53";
	const char *colon = strrchr(first, ':');
	const char *known = getenv("PLOYZ_DIR");
	bool usual = !dev->config.dir || streq(dev->config.dir, known);

	printf("\nready in %s: store, bus, gateway, meshd, agentd, placerd, leased, dnsd, routed\n",
	       took);
	printf("  machine   %s\n", dev->machine);
	printf("  gateway   http://%s\n", dev->config.gateway_http);
	printf("  resolver  %s (dig @%.*s -p %s SERVICE.NAMESPACE.ployz.internal)\n", listens,
	       (int)(colon - first), first, colon + 1);
	printf("  engine    unix://%s%s\n", dev->engine, dev->engine_own ? " (dev's own)" : "");
	printf("  state     %s/state\n  logs      %s/log\n", dev->dir, dev->dir);
	printf("  deploy    ployzctl%s%s deploy -f examples/hello.yaml\n", usual ? "" : " --dir ",
	       usual ? "" : dev->dir);
	printf("  end       ^C%s\n\n", dev->config.keep ? " (--keep: containers stay)" : "");
	fflush(stdout);
}

/* --- the operator's context, with which another ployzctl finds this cluster */

static char *context_path(const struct dev *dev)
{
	return xasprintf("%s/operator.conf", dev->run);
}

/* This machine's id, which meshd --prepare has written. 0 or negative errno. */
static int read_machine(struct dev *dev)
{
	_cleanup_free_ char *path = xasprintf("%s/etc/credentials/machine", dev->dir);
	char *machine;
	int r;

	if (dev->machine)
		return 0;
	r = file_read(path, 128, &machine, NULL);
	if (r < 0)
		return r;
	machine[strcspn(machine, "\n")] = '\0';
	dev->machine = machine;
	return 0;
}

static int write_context(struct dev *dev)
{
	_cleanup_free_ char *from = xasprintf("%s/etc/credentials/operator.conf", dev->dir);
	_cleanup_free_ char *path = context_path(dev), *credentials = NULL, *text = NULL;
	int r = file_read(from, 4096, &credentials, NULL);

	if (r >= 0)
		r = read_machine(dev);
	if (r < 0)
		return r;
	text = xasprintf("bus = nats://127.0.0.1:%d\nmachine = %s\n%s", (int)dev->config.bus_port,
			 dev->machine, credentials);
	return file_write_atomic(path, text, strlen(text), 0600);
}

/* --- phases */

static void on_ready(void *userdata)
{
	struct dev *dev = userdata;
	int r = write_context(dev);

	timer_disarm(dev->slow);
	if (r < 0) {
		dev_print(dev, "cannot write %s/operator.conf: %s", dev->run, strerror(-r));
		stop(dev, EXIT_NO);
		return;
	}
	dev->phase = DEV_RUNNING;
	show_ready(dev);
	if (dev->config.demo)
		dev_demo(dev);
}

static void on_failed(const char *text, void *userdata)
{
	struct dev *dev = userdata;

	dev_print(dev, "cannot start: %s", text);
	stop(dev, EXIT_NO);
}

static void on_slow(void *userdata)
{
	struct dev *dev = userdata;
	_cleanup_free_ char *waiting = supervise_waiting(dev->supervise);

	dev_print(dev, "still starting; waiting for %s", waiting);
	timer_arm(dev->slow, DEV_SLOW_USEC);
}

static void finish(struct dev *dev)
{
	if (dev->supervise)
		dev_print(dev, "ended");
	sd_event_exit(dev->loop, dev->exit_code);
}

static void on_cleaned(struct dev *dev)
{
	if (!dev->engine_own) {
		finish(dev);
		return;
	}
	dev->phase = DEV_ENGINE_ENDING;
	supervise_stop(dev->supervise, NULL);
}

static void on_stopped(void *userdata)
{
	struct dev *dev = userdata;

	/* Containers are removed after the daemons have ended and before the engine does. A machine
	 * without an id has none. */
	if (dev->phase == DEV_ENDING && !dev->config.keep && read_machine(dev) == 0) {
		dev->phase = DEV_CLEANING;
		dev_engine_clean(dev, on_cleaned);
	} else if (dev->phase == DEV_ENDING) {
		if (dev->machine)
			dev_print(dev, "--keep: the containers stay%s",
				  dev->engine_own ? ", stopped, with their engine" : "");
		on_cleaned(dev);
	} else {
		finish(dev);
	}
}

static void stop(struct dev *dev, int exit_code)
{
	_cleanup_free_ char *context = context_path(dev);

	if (dev->phase >= DEV_ENDING)
		return;
	dev->phase = DEV_ENDING;
	dev->exit_code = exit_code;
	timer_disarm(dev->slow);
	unlink(context);
	if (dev->supervise)
		supervise_stop(dev->supervise, ENGINE);
	else
		finish(dev);
}

/* The first signal ends all in order, the second kills the daemons and then removes the containers,
 * the third leaves the containers. */
static int on_signal(_unused_ sd_event_source *source, const struct signalfd_siginfo *info,
		     void *userdata)
{
	struct dev *dev = userdata;

	dev->signals++;
	if (dev->signals > 2) {
		dev_print(dev, "ending at once, without removing the containers");
		dev->exit_code = 128 + (int)info->ssi_signo;
		return sd_event_exit(dev->loop, 0);
	}
	if (dev->phase < DEV_ENDING) {
		dev_print(dev, "ending (once more: at once)");
		/* A signal after the start is the expected end. */
		stop(dev, dev->phase == DEV_RUNNING ? EXIT_DONE : EXIT_NO);
		return 0;
	}
	dev_print(dev, "killing the daemons (once more: without removing the containers)");
	/* Not the engine: it removes the containers. */
	if (dev->supervise && dev->phase == DEV_ENDING)
		supervise_kill(dev->supervise, ENGINE);
	return 0;
}

static void refuse(struct dev *dev, struct failure *failure)
{
	session_report(failure);
	failure_clear(failure);
	dev->exit_code = EXIT_NO;
}

static const struct supervise_ops supervise_ops = {
	.line = on_line,
	.ready = on_ready,
	.failed = on_failed,
	.stopped = on_stopped,
};

static void on_engine(struct dev *dev, const char *error)
{
	struct failure failure = FAILURE_INIT;
	_cleanup_free_ char *log = xasprintf("%s/log", dev->dir);
	int r = 0;

	if (dev->phase != DEV_STARTING)
		return;
	if (error)
		r = dev_check_engine(dev, error, &failure);
	if (r >= 0)
		r = dev_configure(dev, &failure);
	if (r >= 0) {
		r = supervise_new(dev->loop, dev->run, log, &supervise_ops, dev, &dev->supervise);
		if (r < 0)
			failure_set(&failure, FAILURE_FAILED, NULL, "cannot listen in %s: %s",
				    dev->run, strerror(-r));
	}
	if (r < 0) {
		refuse(dev, &failure);
		finish(dev);
		return;
	}
	dev_children(dev);
	timer_arm(dev->slow, DEV_SLOW_USEC);
	supervise_start(dev->supervise);
}

/* --- the verb */

static int open_loop(struct dev *dev)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	sigset_t set;
	int r;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		sigaddset(&set, signals[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	r = sd_event_new(&dev->loop);
	for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(signals); i++)
		r = sd_event_add_signal(dev->loop, NULL, signals[i], on_signal, dev);
	if (r >= 0)
		r = http_new(dev->loop, &dev->http);
	if (r >= 0)
		dev->slow = timer_new(dev->loop, on_slow, dev);
	return r;
}

static void dev_clear(struct dev *dev)
{
	timer_free(dev->slow);
	supervise_free(dev->supervise);
	http_free(dev->http);
	sd_event_unref(dev->loop);
	/* The lock is released last: until then no other `dev` uses the directory. */
	if (dev->lock >= 0) {
		dev_cleanup_run(dev);
		close(dev->lock);
	}
	config_clear(rows, &dev->config);
	free(dev->dir);
	free(dev->run);
	free(dev->programs);
	free(dev->engine);
	free(dev->nats_server);
	free(dev->haproxy);
	free(dev->dockerd);
	strv_free(dev->leftovers);
	free(dev->machine);
}

static int check(struct dev *dev, struct failure *failure)
{
	int r = dev_check_programs(dev, failure);

	if (r >= 0)
		r = dev_check_dir(dev, failure);
	if (r >= 0)
		r = dev_check_ports(dev, failure);
	return r < 0 ? r : dev_check_engine(dev, NULL, failure);
}

int verb_dev(struct ployzctl *ctl, int argc, char **argv)
{
	_cleanup_(dev_clear) struct dev dev = { .lock = -1, .begun_usec = boot_now_usec() };
	struct failure failure = FAILURE_INIT;
	int rest = 1, r;

	config_init(rows, &dev.config);
	r = config_arguments(rows, &dev.config, argc, argv, &rest, &failure);
	if (r >= 0 && rest < argc)
		r = failure_set(&failure, FAILURE_INVALID, "run `ployzctl dev --help`",
				"cannot use argument '%s': dev has only options", argv[rest]);
	if (r < 0) {
		refuse(&dev, &failure);
		return EXIT_USAGE;
	}
	if (dev.config.help) {
		printf("Usage: ployzctl dev [OPTION]...\n\nRun the whole cluster on this machine, "
		       "in the foreground.\n\n");
		config_help(rows, stdout);
		return EXIT_DONE;
	}
	if (!dev.config.dir)
		dev.config.dir = xstrdup(ctl->options.dir ? ctl->options.dir : getenv("PLOYZ_DIR"));
	dev.colour = isatty(STDOUT_FILENO) && !getenv("NO_COLOR");
	/* First: from here on a signal is an event of the loop, and everything is cleaned up. */
	r = open_loop(&dev);
	if (r < 0) {
		return session_refuse(FAILURE_BUG, NULL, "cannot create the event loop: %s",
				      strerror(-r));
	}
	r = check(&dev, &failure);
	if (r < 0) {
		refuse(&dev, &failure);
		return dev.exit_code;
	}
	dev_engine_ping(&dev, on_engine);
	sd_event_loop(dev.loop);
	return dev.exit_code;
}
