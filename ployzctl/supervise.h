/* Supervisor: children in the foreground. It starts each when those it needs are ready, prefixes
 * its lines with its name, restarts it when it dies, and ends all in reverse order. */
#ifndef PLOYZ_SUPERVISE_H
#define PLOYZ_SUPERVISE_H

#include "lib/ployz.h"

enum supervise_ready {
	SUPERVISE_EXIT,	  /* runs once; ready when it has ended with 0 */
	SUPERVISE_NOTIFY, /* sends READY=1 (sd_notify) */
	SUPERVISE_TCP,	  /* accepts a connection at `address`, an IPv4 address:port */
	SUPERVISE_UNIX,	  /* accepts a connection at `address`, a path */
};

struct supervise_child {
	const char *name;
	char **argv; /* argv[0]: path of the program; owned by the supervisor from then on */
	enum supervise_ready ready;
	char *address;		 /* owned by the supervisor from then on, or NULL */
	const char *environment; /* NAME=VALUE where dev's own has no NAME; or NULL */
	const char *after[6];	 /* names of those that have to be ready first */
	bool optional;		 /* its failure is reported, and the start continues */
	uint64_t stop_usec;	 /* from TERM to KILL; 0: 5 s */
	char *tmp;		 /* its $TMPDIR, or NULL; owned by the supervisor from then on */
	/* The part of a line that is printed, or NULL; the log file gets every line. */
	const char *(*filter)(const char *line);
};

struct supervise_ops {
	/* A line of a child, or of the supervisor about it (`own`). */
	void (*line)(const char *name, bool own, const char *text, void *userdata);
	/* All are ready; called once. */
	void (*ready)(void *userdata);
	/* One cannot be started; called once, instead of `ready`. `text` is a whole message. */
	void (*failed)(const char *text, void *userdata);
	/* After supervise_stop: no child runs any more. */
	void (*stopped)(void *userdata);
};

struct supervise;
/* `run`: directory of the notify socket and of NAME.pid; `log`: of NAME.log. SIGCHLD must be
 * blocked. 0 or negative errno. */
int supervise_new(sd_event *loop, const char *run, const char *log, const struct supervise_ops *ops,
		  void *userdata, struct supervise **ret);
/* Kills what still runs. */
void supervise_free(struct supervise *supervise);
DEFINE_CLEANUP(struct supervise, supervise_free);
void supervise_add(struct supervise *supervise, const struct supervise_child *child);
void supervise_start(struct supervise *supervise);
/* Ends all but `except` (may be NULL): each when those that need it have ended. `stopped` is called
 * once, when none of them is left. May then be called again without the exception. */
void supervise_stop(struct supervise *supervise, const char *except);
/* KILL to everything but `except` (may be NULL), now. */
void supervise_kill(struct supervise *supervise, const char *except);
/* Names of those that are not ready, with their STATUS=: `agentd (waiting for …), dnsd`; owned by
 * the caller. */
char *supervise_waiting(const struct supervise *supervise);

/* How long after its `deaths`-th death in a row a child is started again: at once, 100 ms … 5 s.
 */
uint64_t supervise_pause(unsigned deaths);

/* --- supervise-notify.c */

/* A socket at `path` for sd_notify(3); `fn` gets each line with the process that sent it. 0 or
 * negative errno. */
struct supervise_notify;
int supervise_notify_new(sd_event *loop, const char *path,
			 void (*fn)(pid_t pid, const char *line, void *userdata), void *userdata,
			 struct supervise_notify **ret);
void supervise_notify_free(struct supervise_notify *notify);
DEFINE_CLEANUP(struct supervise_notify, supervise_notify_free);

/* --- supervise-spawn.c */

/* Runs argv[0] in a process group of its own, that ends with its parent; *ret_output reads what it
 * writes. 0 or negative errno; that the program cannot be run is its output and exit code 127. */
int supervise_spawn(const struct supervise_child *child, const char *notify, pid_t *ret_pid,
		    int *ret_output);
/* A connection that is being made, non-blocking, to an IPv4 address:port or a Unix socket's path;
 * or a negative errno, -ECONNREFUSED and -ENOENT when nobody listens. */
int supervise_connect(const char *address, bool unix_socket);
/* Where $PATH has a program of this name, or NULL; owned by the caller. */
char *supervise_program(const char *name);

#endif
