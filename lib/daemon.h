/* Daemon: the beginning and the end of every run(). */
#ifndef PLOYZ_DAEMON_H
#define PLOYZ_DAEMON_H

#include "lib/bus.h"
#include "lib/config.h"
#include "lib/loop.h"

/* The configuration that every daemon has; its struct begins with this member. */
struct daemon_config {
	char *config;	   /* --config: the file all of them share */
	char *bus;	   /* --bus: URL of the local bus */
	char *credentials; /* --credentials: directory of <daemon>.conf with user and password */
	char *machine;	   /* --machine: this machine's id */
	char *state;	   /* --state: this daemon's state directory */
	char *run;	   /* --run: directory of sockets and rendered configuration */
	int64_t log_level; /* --log-level: 0–7 as syslog */
	bool check;	   /* --check: test the configuration and exit */
	bool version;
	bool help;
};
/* Put first in a daemon's rows: DAEMON_ROWS(struct routed_config, daemon, "routed"), … */
/* One row a line: */
/* clang-format off */
#define DAEMON_ROWS(type, member, name) \
	{ "config", CONFIG_STRING, offsetof(type, member.config), "/etc/ployz/ployz.conf", "FILE", \
	  "the configuration file that all daemons share", 0, 0 }, \
	{ "bus", CONFIG_STRING, offsetof(type, member.bus), "nats://127.0.0.1:4222", "URL", \
	  "the local bus", 0, 0 }, \
	{ "credentials", CONFIG_STRING, offsetof(type, member.credentials), \
	  "/etc/ployz/credentials", "DIR", \
	  "holds " name ".conf: user and password for the bus", 0, 0 }, \
	{ "machine", CONFIG_STRING, offsetof(type, member.machine), NULL, "ID", \
	  "this machine's id", 0, 0 }, \
	{ "state", CONFIG_STRING, offsetof(type, member.state), "/var/lib/ployz/" name, "DIR", \
	  "what has to outlive a restart", 0, 0 }, \
	{ "run", CONFIG_STRING, offsetof(type, member.run), "/run/ployz", "DIR", \
	  "sockets and rendered configuration", 0, 0 }, \
	{ "log-level", CONFIG_INT, offsetof(type, member.log_level), "6", "N", \
	  "0 (emergencies) to 7 (debug)", 0, 7 }, \
	{ "check", CONFIG_BOOL, offsetof(type, member.check), NULL, NULL, \
	  "test the configuration and leave", 0, 0 }, \
	{ "version", CONFIG_BOOL, offsetof(type, member.version), NULL, NULL, \
	  "print the version", 0, 0 }, \
	{ "help", CONFIG_BOOL, offsetof(type, member.help), NULL, NULL, "print this help", 0, 0 }
/* clang-format on */

struct daemon {
	const char *name;
	const struct daemon_config *config;
	sd_event *loop;
	struct bus *bus; /* after daemon_open_bus */
	int lock;	 /* of <state>/lock: one process of each daemon per machine */
	/* Called when a signal ends the daemon; NULL: it ends. False: it ends its loop by itself
	 * soon; a second signal ends it at once. */
	bool (*may_end)(void *userdata);
	void *may_end_userdata;
	bool stopping; /* a signal was received: nothing new is begun */
	/* Called before daemon_open_bus waits for a bus, on the loop that runs meanwhile; NULL: the
	 * daemon does nothing without one. 1: it serves without a bus and is ready; 0; a negative
	 * errno, after logging why, ends it. */
	int (*without_bus)(void *userdata);
	void *without_bus_userdata;
};

/* Log, options, configuration file, then the loop with its signals. Returns 1 with *ret set to
 * continue; 0 when --help, --version or --check was the whole task; a negative errno after logging
 * why. `config` is the daemon's struct (its daemon_config first) and must outlive the daemon. */
int daemon_new(const char *name, const char *summary, const struct config_row *rows, void *config,
	       int argc, char **argv, struct daemon **ret);
/* Takes the state directory's lock (a second process of the daemon is refused), connects to the bus
 * and waits for it, logging that once. Returns 1 to continue; 0 when a signal ended the daemon
 * meanwhile; a negative errno after logging why. */
int daemon_open_bus(struct daemon *daemon);
/* Serves its endpoints on the bus (see bus_serve). 0, or a negative errno after logging why. */
int daemon_serve(struct daemon *daemon, const struct bus_endpoint *verbs, size_t count,
		 bus_status_fn status, void *userdata);
/* READY=1, the loop until it ends, STOPPING=1. The loop's exit code. */
int daemon_loop(struct daemon *daemon);
/* STATUS= for the service manager: the daemon's current activity. */
void daemon_status(struct daemon *daemon, const char *format, ...) _printf_(2, 3);
void daemon_free(struct daemon *daemon);
DEFINE_CLEANUP(struct daemon, daemon_free);

#ifndef PLOYZ_VERSION
#define PLOYZ_VERSION "0.1.0"
#endif

#endif
