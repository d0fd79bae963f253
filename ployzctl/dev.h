/* `ployzctl dev`: what its files share. */
#ifndef PLOYZ_PLOYZCTL_DEV_H
#define PLOYZ_PLOYZCTL_DEV_H

#include "lib/http.h"
#include "lib/ployz.h"
#include "ployzctl/supervise.h"

#define DEV_SLOW_USEC 5000000ull /* a start that takes longer says what it waits for */

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
	char **litter; /* what an own engine leaves elsewhere, empty: it was not there before */
	int lock;

	struct supervise *supervise;
	struct timer *slow;
	struct http *http;  /* to the engine */
	unsigned http_left; /* requests whose answer is awaited */
	void (*pinged)(struct dev *dev, const char *trouble);
	void (*cleaned)(struct dev *dev);
	unsigned removed, removed_before; /* containers; when they were last listed */
	char *machine;			  /* id; known once it is prepared */
	unsigned told; /* how often, to end; a start that failed ends by itself */
	bool colour;   /* names in colours */
};

/* --- dev-check.c: what has to be there; each says plainly what is not. 0 or negative errno. */

/* The directory, absolute and made, its lock, and a short directory for sockets. */
int dev_check_dir(struct dev *dev, struct failure *failure);
int dev_check_programs(struct dev *dev, struct failure *failure);
int dev_check_ports(struct dev *dev, struct failure *failure);
/* After the engine did not answer: starts an own one when it may. `why` says what was tried. */
int dev_check_engine(struct dev *dev, const char *why, struct failure *failure);

/* --- dev-remains.c: what is not to stay */

/* Whether cgroups are mounted, without which dockerd does not start. */
bool dev_has_cgroups(void);
/* Remembers which of the places that an own engine makes are there already. */
void dev_remains_note(struct dev *dev);
/* Sockets, pids, rendered configuration with its passwords, and what an own engine left; last of
 * all, when nothing runs any more. */
void dev_remains_remove(const struct dev *dev);

/* --- dev-children.c */

/* Writes the configuration that all daemons share. 0 or negative errno. */
int dev_configure(struct dev *dev, struct failure *failure);
/* Everything that runs, in the order of the start. */
void dev_children(struct dev *dev);
/* --demo, once all is ready: the example, deployed. */
void dev_demo(struct dev *dev);

/* --- dev-engine.c */

/* Asks the engine whether it is there; `fn` gets NULL or what is wrong. */
void dev_engine_ping(struct dev *dev, void (*fn)(struct dev *dev, const char *trouble));
/* Removes this machine's containers, then the network; then calls `fn`. After a start that failed
 * only the network, and only when no container is left of an earlier --keep. */
void dev_engine_clean(struct dev *dev, void (*fn)(struct dev *dev));

/* --- dev.c */

/* A line of dev's own. */
void dev_say(const struct dev *dev, const char *format, ...) _printf_(2, 3);

#endif
