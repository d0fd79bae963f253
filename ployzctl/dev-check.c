/* Preconditions of `ployzctl dev`, checked before it starts anything. */
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ployzctl/dev.h"
#include "ployzctl/ployzctl.h"

/* A Unix socket's path ends at 107 bytes, and HAProxy adds to the name while it binds. */
#define RUN_MAX 70
#define DEFAULT_DIR "/var/lib/ployz-dev"
#define DEFAULT_RUN "/run/ployz-dev"
#define LEAF_PORT 7422
#define PATH_HINT " (Debian keeps it in /usr/sbin)"
#define DEFAULT_ENGINE "unix:///var/run/docker.sock"

static char *absolute(const char *path)
{
	_cleanup_free_ char *here = NULL;

	if (path[0] == '/')
		return xstrdup(path);
	here = getcwd(NULL, 0);
	return xasprintf("%s/%s", here ? here : "", path);
}

static int take_lock(struct dev *dev, struct failure *failure)
{
	_cleanup_free_ char *path = xasprintf("%s/lock", dev->dir), *holder = NULL;

	dev->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (dev->lock < 0)
		return failure_set(failure, FAILURE_FAILED,
				   "give a directory of your own with --dir", "cannot open %s: %s",
				   path, strerror(errno));
	if (flock(dev->lock, LOCK_EX | LOCK_NB) < 0) {
		file_read(path, 64, &holder, NULL);
		return failure_set(
			failure, FAILURE_FAILED, "end it, or give another directory with --dir",
			"cannot use directory %s: another `ployzctl dev`%s%.*s runs there",
			dev->dir, holder && *holder ? ", pid " : "",
			(int)strcspn(holder ? holder : "", "\n"), holder ? holder : "");
	}
	if (ftruncate(dev->lock, 0) == 0)
		dprintf(dev->lock, "%d\n", (int)getpid());
	return 0;
}

/* <dir>/run is the common path; it is a link if the path would be too long for sockets. */
static int make_run(struct dev *dev, struct failure *failure)
{
	_cleanup_free_ char *run = xasprintf("%s/run", dev->dir),
			    *hash = hash_hex(dev->dir, strlen(dev->dir));
	struct stat st;
	int r;

	if (streq(dev->dir, DEFAULT_DIR))
		dev->run = xstrdup(DEFAULT_RUN);
	else if (strlen(run) <= RUN_MAX)
		dev->run = xstrdup(run);
	else
		dev->run =
			xasprintf("%s-%.8s", geteuid() == 0 ? DEFAULT_RUN : "/tmp/ployz-dev", hash);
	r = directory_make(dev->run, 0755);
	if (r < 0)
		return failure_set(failure, FAILURE_FAILED, "give another directory with --dir",
				   "cannot make %s: %s", dev->run, strerror(-r));
	if (streq(dev->run, run))
		return 0;
	if (lstat(dev->run, &st) < 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid())
		return failure_set(failure, FAILURE_FAILED,
				   "give a directory with a shorter path with --dir",
				   "cannot use %s: another user owns it", dev->run);
	if (unlink(run) < 0 && errno != ENOENT)
		return failure_set(failure, FAILURE_FAILED, "remove it",
				   "cannot replace %s by a link: %s", run, strerror(errno));
	if (symlink(dev->run, run) < 0)
		return failure_set(failure, FAILURE_FAILED, NULL, "cannot make %s: %s", run,
				   strerror(errno));
	return 0;
}

int dev_check_dir(struct dev *dev, struct failure *failure)
{
	static const char *const parts[] = { "etc", "log", "state" };
	const char *home = getenv("HOME");
	_cleanup_free_ char *homes = xasprintf("%s/.ployz-dev", home ? home : "");
	int r;

	dev->dir = absolute(dev->config.dir  ? dev->config.dir
			    : geteuid() == 0 ? DEFAULT_DIR
					     : homes);
	for (size_t n = strlen(dev->dir); n > 1 && dev->dir[n - 1] == '/'; n--)
		dev->dir[n - 1] = '\0';
	if (strpbrk(dev->dir, "#\n"))
		return failure_set(failure, FAILURE_INVALID, "give another with --dir",
				   "cannot use directory %s: its name has a '#' or a line break",
				   dev->dir);
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		_cleanup_free_ char *path = xasprintf("%s/%s", dev->dir, parts[i]);

		r = directory_make(path, 0755);
		if (r < 0)
			return failure_set(failure, FAILURE_FAILED,
					   "give a directory of your own with --dir",
					   "cannot make %s: %s", path, strerror(-r));
	}
	r = take_lock(dev, failure);
	return r < 0 ? r : make_run(dev, failure);
}

int dev_check_programs(struct dev *dev, struct failure *failure)
{
	static const char *const daemons[] = { "meshd",	  "agentd", "leased",
					       "placerd", "dnsd",   "routed" };

	dev->programs = programs_directory();
	for (size_t i = 0; i < ARRAY_SIZE(daemons); i++) {
		_cleanup_free_ char *program = xasprintf("%s/%s", dev->programs, daemons[i]);

		if (access(program, X_OK) < 0)
			return failure_set(failure, FAILURE_FAILED,
					   "build all of ployz with `make`, or install it",
					   "cannot run daemon %s: %s", program, strerror(errno));
	}
	dev->nats_server = supervise_program("nats-server");
	if (!dev->nats_server)
		return failure_set(failure, FAILURE_FAILED,
				   "install nats-server 2.10 or newer (Debian 13's package runs on "
				   "Debian 12 too)" PATH_HINT,
				   "cannot find nats-server: not installed, or not in $PATH");
	if (bus_program_check(dev->nats_server, failure) < 0)
		return -EPROTONOSUPPORT;
	dev->haproxy = supervise_program("haproxy");
	if (!dev->haproxy)
		return failure_set(failure, FAILURE_FAILED,
				   "run `apt-get install haproxy`" PATH_HINT,
				   "cannot find haproxy: not installed, or not in $PATH");
	dev->dockerd = supervise_program("dockerd");
	return 0;
}

static int resolve(const char *address, int type, struct addrinfo **ret)
{
	const char *colon = strrchr(address, ':');
	struct addrinfo hints = { .ai_socktype = type,
				  .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE };
	_cleanup_free_ char *host = NULL;
	size_t n;

	if (!colon || !colon[1])
		return -EINVAL;
	host = xstrndup(address, (size_t)(colon - address));
	n = strlen(host);
	if (host[0] == '[' && n > 1 && host[n - 1] == ']') {
		host[n - 1] = '\0';
		memmove(host, host + 1, n - 1);
	}
	return getaddrinfo(streq(host, "*") || !*host ? NULL : host, colon + 1, &hints, ret) == 0
		       ? 0
		       : -EINVAL;
}

/* Binds for a moment, so that a port in use is found before anything is started. The port that was
 * bound, or a negative errno. */
static int try_bind(const char *address, int type)
{
	struct addrinfo *where = NULL;
	struct sockaddr_in bound = { 0 };
	socklen_t size = sizeof(bound);
	int fd, on = 1, r;

	r = resolve(address, type, &where);
	if (r < 0)
		return r;
	fd = socket(where->ai_family, type | SOCK_CLOEXEC, 0);
	if (fd < 0 ||
	    (type == SOCK_STREAM &&
	     setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0) ||
	    bind(fd, where->ai_addr, where->ai_addrlen) < 0 ||
	    (type == SOCK_STREAM && listen(fd, 1) < 0))
		r = -errno;
	else if (where->ai_family == AF_INET &&
		 getsockname(fd, (struct sockaddr *)&bound, &size) == 0)
		r = ntohs(bound.sin_port);
	freeaddrinfo(where);
	if (fd >= 0)
		close(fd);
	return r;
}

static int check_port(const char *address, int type, const char *user, const char *option,
		      struct failure *failure)
{
	_cleanup_free_ char *hint =
		xasprintf("end the program that listens there, or give another with %s", option);
	_cleanup_free_ char *option_hint = xasprintf("give %s", option);
	int r = try_bind(address, type);

	if (r >= 0)
		return 0;
	if (r == -EINVAL)
		return failure_set(failure, FAILURE_INVALID, option_hint,
				   "cannot use address '%s' for %s: not ADDRESS:PORT", address,
				   user);
	return failure_set(failure, FAILURE_FAILED, hint, "cannot listen on %s (%s) for %s: %s",
			   address, type == SOCK_DGRAM ? "udp" : "tcp", user,
			   r == -EADDRINUSE ? "in use by another program" : strerror(-r));
}

int dev_check_ports(struct dev *dev, struct failure *failure)
{
	_cleanup_free_ char *bus = xasprintf("127.0.0.1:%d", (int)dev->config.bus_port);
	_cleanup_free_ char *leaf = xasprintf(
		"127.0.0.1:%d", (int)(dev->config.leaf_port ? dev->config.leaf_port : LEAF_PORT));
	int r = check_port(bus, SOCK_STREAM, "the bus", "--bus-port PORT", failure);

	if (r >= 0 && dev->config.leaf_port)
		r = check_port(leaf, SOCK_STREAM, "the store", "--leaf-port PORT", failure);
	else if (r >= 0)
		/* Only meshd uses this port, so any free one does. */
		dev->config.leaf_port = try_bind(leaf, SOCK_STREAM) < 0
						? try_bind("127.0.0.1:0", SOCK_STREAM)
						: LEAF_PORT;
	if (r >= 0)
		r = check_port(dev->config.gateway_http, SOCK_STREAM, "the gateway",
			       "--gateway-http ADDRESS:PORT", failure);
	for (char **at = dev->config.dns_listen; r >= 0 && at && *at; at++) {
		r = check_port(*at, SOCK_DGRAM, "the resolver", "--dns-listen ADDRESS:PORT",
			       failure);
		if (r >= 0)
			r = check_port(*at, SOCK_STREAM, "the resolver",
				       "--dns-listen ADDRESS:PORT", failure);
	}
	return r;
}

int dev_check_engine(struct dev *dev, const char *why, struct failure *failure)
{
	static const char *const hint =
		"start it (systemctl start docker), or name another with --engine unix://PATH";
	const char *wanted = dev->config.engine ? dev->config.engine : getenv("DOCKER_HOST");

	if (!why) { /* first: only the address */
		if (!wanted || !*wanted)
			wanted = DEFAULT_ENGINE;
		if (!str_starts(wanted, "unix://"))
			return failure_set(failure, FAILURE_INVALID, hint,
					   "cannot use container engine '%s': its address does not "
					   "begin with unix://",
					   wanted);
		dev->engine = xstrdup(wanted + 7);
		return 0;
	}
	if (wanted && *wanted)
		return failure_set(failure, FAILURE_ENGINE, hint,
				   "cannot reach the container engine at %s: %s", wanted, why);
	if (!dev->dockerd || geteuid() != 0)
		return failure_set(
			failure, FAILURE_ENGINE, hint,
			"cannot reach a container engine at " DEFAULT_ENGINE ": %s, and %s", why,
			dev->dockerd ? "only root can start one" : "dockerd is not installed");
	if (!dev_has_cgroups())
		return failure_set(failure, FAILURE_ENGINE,
				   "mount -t cgroup2 none /sys/fs/cgroup, or name an engine with "
				   "--engine unix://PATH",
				   "cannot reach a container engine at " DEFAULT_ENGINE
				   ": %s, and dockerd cannot start: no cgroups are mounted",
				   why);
	free(dev->engine);
	dev->engine = xasprintf("%s/docker.sock", dev->run);
	dev->engine_own = true;
	dev_cleanup_note(dev);
	dev_print(dev,
		  "no container engine answers at " DEFAULT_ENGINE ": starting dockerd under %s",
		  dev->dir);
	return 0;
}
