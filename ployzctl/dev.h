/* `ployzctl dev`: what its files share. */
#ifndef PLOYZ_PLOYZCTL_DEV_H
#define PLOYZ_PLOYZCTL_DEV_H

#include "lib/http.h"
#include "lib/ployz.h"
#include "ployzctl/supervise.h"

#define DEV_CLUSTER "dev"	 /* name of the cluster that it initialises */
#define DEV_SLOW_USEC 5000000ull /* after this a start reports what it waits for */

struct dev_config {
	char *dir;
	bool keep;
	bool demo;
	bool help;
	char *name;
	char *engine; /* unix:// address; NULL: $DOCKER_HOST, the default one, or an own one */
	char *bridge;
	char *network;
	char *subnet;
	int64_t bus_port;
	int64_t leaf_port; /* 0: 7422 or any that is free */
	char *gateway_http;
	char *gateway_address;
	char **dns_listen;
	char **forward;
	int64_t log_level;
};

enum dev_phase { DEV_STARTING, DEV_RUNNING, DEV_ENDING, DEV_CLEANING, DEV_ENGINE_ENDING };

struct dev {
	struct dev_config config;
	sd_event *loop;
	enum dev_phase phase;
	int exit_code;
	uint64_t begun_usec;

	/* dev-check.c */
	char *dir;	 /* absolute */
	char *run;	 /* of sockets: short */
	char *programs;	 /* directory of the daemons */
	char *engine;	 /* path of the engine's socket */
	bool engine_own; /* dev started it */
	char *nats_server, *haproxy, *dockerd;
	char **leftovers; /* paths that an own engine makes elsewhere, absent before its start */
	int lock;

	struct supervise *supervise;
	struct timer *slow;
	struct http *http;  /* to the engine */
	unsigned http_left; /* requests whose answer is awaited */
	void (*pinged)(struct dev *dev, const char *error);
	void (*cleaned)(struct dev *dev);
	unsigned removed, removed_before; /* containers; when they were last listed */
	char *machine;			  /* id; known once it is prepared */
	unsigned signals;		  /* received; 0 at the end: the start failed */
	bool colour;			  /* names in colours */
};

/* --- dev-check.c: preconditions; each 0, or negative errno with `failure`. */

/* The directory, absolute and made, its lock, and a short directory for sockets. */
int dev_check_dir(struct dev *dev, struct failure *failure);
int dev_check_programs(struct dev *dev, struct failure *failure);
int dev_check_ports(struct dev *dev, struct failure *failure);
/* After the engine did not answer: starts an own one when it may. `why` says what was tried. */
int dev_check_engine(struct dev *dev, const char *why, struct failure *failure);

/* --- dev-cleanup.c: files that do not outlive `dev` */

/* Whether cgroups are mounted, without which dockerd does not start. */
bool dev_has_cgroups(void);
/* Remembers which of the paths that an own engine makes are absent. */
void dev_cleanup_note(struct dev *dev);
/* Removes sockets, pids, rendered configuration with its passwords, and what an own engine left.
 * Called last, when nothing runs any more. */
void dev_cleanup_run(const struct dev *dev);

/* --- dev-children.c */

/* Writes the configuration that all daemons share. 0 or negative errno. */
int dev_configure(struct dev *dev, struct failure *failure);
/* Adds every child with those that it needs first. */
void dev_children(struct dev *dev);
/* --demo: deploys the example, once all is ready. */
void dev_demo(struct dev *dev);

/* --- dev-engine.c */

/* Asks the engine for an answer; `fn` gets NULL or the error. */
void dev_engine_ping(struct dev *dev, void (*fn)(struct dev *dev, const char *error));
/* Removes this machine's containers, then the network; then calls `fn`. After a start that failed
 * only the network, and only when no container is left of an earlier --keep. */
void dev_engine_clean(struct dev *dev, void (*fn)(struct dev *dev));

/* --- dev.c */

/* Prints a line of dev's own. */
void dev_print(const struct dev *dev, const char *format, ...) _printf_(2, 3);

#endif
