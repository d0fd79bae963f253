/* What `ployzctl dev` runs, in the order of its start, and the configuration that it gives them. */
#include <unistd.h>

#include "ployzctl/dev.h"

#define CONFIGURATION "%s/etc/ployz.conf"
/* Go collects garbage when its heap has doubled; with 20 % the servers have 54 and 31 MB after 500
 * deploys in a row, for 13 % more processor time of busy servers. The units set it too. */
#define NATS_ENVIRONMENT "GOGC=20"

int dev_configure(struct dev *dev, struct failure *failure)
{
	_cleanup_free_ char *path = xasprintf(CONFIGURATION, dev->dir);
	struct strbuf text = STRBUF_INIT;
	const char *dir = dev->dir;
	int r;

	strbuf_puts(&text, "# Written by `ployzctl dev` at each start: changes are lost.\n");
	strbuf_printf(&text, "bus = nats://127.0.0.1:%d\n", (int)dev->config.bus_port);
	strbuf_printf(&text, "credentials = %s/etc/credentials\n", dir);
	strbuf_printf(&text, "run = %s\n", dev->run);
	strbuf_printf(&text, "log-level = %d\n", (int)dev->config.log_level);
	if (dev->config.name)
		strbuf_printf(&text, "name = %s\n", dev->config.name);
	strbuf_printf(&text, "leaf-listen = 127.0.0.1:%d\n", (int)dev->config.leaf_port);
	strbuf_printf(&text, "bus-data = %s/state/bus\n", dir);
	strbuf_printf(&text, "store-data = %s/state/store\n", dir);
	strbuf_printf(&text, "nats-server = %s\n", dev->nats_server);
	strbuf_printf(&text, "subnet = %s\n", dev->config.subnet);
	strbuf_printf(&text, "engine = unix://%s\n", dev->engine);
	strbuf_printf(&text, "bridge = %s\n", dev->config.bridge);
	strbuf_printf(&text, "network = %s\n", dev->config.network);
	strbuf_printf(&text, "gateway-http = %s\n", dev->config.gateway_http);
	strbuf_printf(&text, "gateway-address = %s\n", dev->config.gateway_address);
	for (char **at = dev->config.dns_listen; at && *at; at++)
		strbuf_printf(&text, "dns-listen = %s\n", *at);
	for (char **to = dev->config.forward; to && *to; to++)
		strbuf_printf(&text, "forward = %s\n", *to);
	r = file_write_atomic(path, text.text, text.size, 0644);
	strbuf_clear(&text);
	if (r < 0)
		return failure_set(failure, FAILURE_FAILED, NULL, "cannot write %s: %s", path,
				   strerror(-r));
	return 0;
}

/* nats-server: warnings and errors, without its pid. Passwords are in plain text in a file that
 * only root can read. */
static const char *filter_nats(const char *line)
{
	const char *level = strstr(line, "] [");

	if (!level || str_starts(level, "] [INF]") || str_starts(level, "] [DBG]") ||
	    strstr(line, "Plaintext passwords"))
		return NULL;
	return level + 2;
}

/* HAProxy: warnings, except those about what was requested: its end, a server's state. */
static const char *filter_haproxy(const char *line)
{
	static const char *const usual[] = {
		" : Server p",	       "has no server available", "Exiting Master process",
		"All workers exited",  "exited with code 0",	  "exited with code 143",
		"exited with code 130"
	};

	for (size_t i = 0; i < ARRAY_SIZE(usual); i++)
		if (strstr(line, usual[i]))
			return NULL;
	return str_starts(line, "[NOTICE]") ? NULL : line;
}

static const char *filter_dockerd(const char *line)
{
	return strstr(line, "level=error") || strstr(line, "level=fatal") || !strstr(line, "level=")
		       ? line
		       : NULL;
}

/* A list of owned strings from owned strings. */
#define argv(...) argv_of((char *[]){ __VA_ARGS__, NULL })
static char **argv_of(char **owned)
{
	char **v = NULL;

	for (; *owned; owned++)
		strv_push(&v, *owned);
	return v;
}

static char **daemon_argv(const struct dev *dev, const char *daemon)
{
	return argv(xasprintf("%s/%s", dev->programs, daemon), xstrdup("--config"),
		    xasprintf(CONFIGURATION, dev->dir), xstrdup("--state"),
		    xasprintf("%s/state/%s", dev->dir, daemon));
}

/* agentd waits for what the engine is creating: no other process knows of it. */
#define AGENTD_STOP_USEC 20000000ull

static void add_daemon(struct dev *dev, const char *name, const char *also)
{
	const struct supervise_child child = {
		.name = name,
		.argv = daemon_argv(dev, name),
		.ready = SUPERVISE_NOTIFY,
		.after = { "meshd", "bus", also },
		.stop_usec = streq(name, "agentd") ? AGENTD_STOP_USEC : 0,
	};

	supervise_add(dev->supervise, &child);
}

/* `name` runs once: a daemon's --prepare. meshd's also requests the streams, which exist already
 * where an earlier `dev` has run in this directory: the same request then changes nothing. */
static void add_prepare(struct dev *dev, const char *name, const char *daemon, const char *after)
{
	struct supervise_child child = {
		.name = name,
		.argv = daemon_argv(dev, daemon),
		.ready = SUPERVISE_EXIT,
		.after = { after },
	};

	strv_push(&child.argv, xstrdup("--prepare"));
	if (streq(daemon, "meshd")) {
		strv_push(&child.argv, xstrdup("--init"));
		strv_push(&child.argv, xstrdup(DEV_CLUSTER));
	}
	supervise_add(dev->supervise, &child);
}

static void add_server(struct dev *dev, const char *name, const char *file, int port,
		       const char *after)
{
	const struct supervise_child child = {
		.name = name,
		.argv = argv(xstrdup(dev->nats_server), xstrdup("-c"),
			     xasprintf("%s/%s", dev->run, file)),
		.ready = SUPERVISE_TCP,
		.address = xasprintf("127.0.0.1:%d", port),
		.environment = NATS_ENVIRONMENT,
		.after = { after },
		.filter = filter_nats,
	};

	supervise_add(dev->supervise, &child);
}

/* Under dev's own directory, without a bridge and without firewall rules, so that nothing of it
 * stays on the system. */
static void add_engine(struct dev *dev)
{
	_cleanup_free_ char *directory = xasprintf("%s/engine", dev->run);
	const struct supervise_child child = {
		.name = "engine",
		.argv = argv(xstrdup(dev->dockerd), xasprintf("--data-root=%s/engine", dev->dir),
			     xasprintf("--exec-root=%s/engine", dev->run),
			     xasprintf("--pidfile=%s/dockerd.pid", dev->run),
			     xasprintf("--host=unix://%s", dev->engine), xstrdup("--bridge=none"),
			     xstrdup("--iptables=false"), xstrdup("--ip6tables=false"),
			     xstrdup("--ip-forward=false"), xstrdup("--ip-masq=false")),
		.ready = SUPERVISE_NOTIFY, /* it accepts connections long before it answers */
		.stop_usec = 20000000,
		/* A containerd that hangs writes its stacks there when it is killed. */
		.tmp = xstrdup(directory),
		.filter = filter_dockerd,
	};

	directory_make(directory, 0700);
	supervise_add(dev->supervise, &child);
}

static void add_gateway(struct dev *dev)
{
	const struct supervise_child child = {
		.name = "gateway",
		.argv = argv(xstrdup(dev->haproxy), xstrdup("-W"), xstrdup("-S"),
			     xasprintf("%s/haproxy-master.sock", dev->run), xstrdup("-f"),
			     xasprintf("%s/haproxy.cfg", dev->run)),
		.ready = SUPERVISE_UNIX,
		.address = xasprintf("%s/haproxy.sock", dev->run),
		.after = { "table" },
		.filter = filter_haproxy,
	};

	supervise_add(dev->supervise, &child);
}

void dev_children(struct dev *dev)
{
	if (dev->engine_own)
		add_engine(dev);
	add_prepare(dev, "prepare", "meshd", NULL);
	add_server(dev, "store", "store.conf", (int)dev->config.leaf_port, "prepare");
	add_server(dev, "bus", "nats.conf", (int)dev->config.bus_port, "store");
	add_prepare(dev, "table", "routed", "prepare");
	add_gateway(dev);
	{
		const struct supervise_child meshd = {
			.name = "meshd",
			.argv = daemon_argv(dev, "meshd"),
			.ready = SUPERVISE_NOTIFY,
			.after = { "bus" },
		};

		supervise_add(dev->supervise, &meshd);
	}
	add_daemon(dev, "agentd", dev->engine_own ? "engine" : NULL);
	add_daemon(dev, "placerd", NULL);
	add_daemon(dev, "leased", NULL);
	add_daemon(dev, "dnsd", NULL);
	add_daemon(dev, "routed", "gateway");
}

void dev_demo(struct dev *dev)
{
	/* In the source tree, or installed; the image is built if its script exists. */
	static const char *const directories[] = { "examples", "/usr/share/doc/ployz/examples" };
	struct supervise_child image = { .name = "image",
					 .ready = SUPERVISE_EXIT,
					 .optional = true };
	struct supervise_child deploy = { .name = "deploy",
					  .ready = SUPERVISE_EXIT,
					  .optional = true };
	_cleanup_free_ char *engine = xasprintf("unix://%s", dev->engine);

	setenv("DOCKER_HOST", engine, 1);
	for (size_t i = 0; i < ARRAY_SIZE(directories); i++) {
		_cleanup_free_ char *manifest = xasprintf("%s/hello.yaml", directories[i]);
		_cleanup_free_ char *script = xasprintf("%s/image", directories[i]);

		if (access(manifest, R_OK) < 0)
			continue;
		if (access(script, X_OK) == 0) {
			image.argv = argv(steal(script));
			supervise_add(dev->supervise, &image);
		}
		deploy.argv = argv(xstrdup("/proc/self/exe"), xstrdup("--dir"), xstrdup(dev->dir),
				   xstrdup("deploy"), xstrdup("-f"), steal(manifest));
		deploy.after[0] = "image";
		supervise_add(dev->supervise, &deploy);
		supervise_start(dev->supervise);
		return;
	}
	dev_print(dev,
		  "cannot deploy the demo: examples/hello.yaml does not exist here; run `ployzctl "
		  "dev --demo` in the source tree");
}
