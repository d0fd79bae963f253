/* The participant's side of the deploy protocol: admission of commands, locks with their
 * reservations, and presumed abort. Part of agentd.h. */
#ifndef PLOYZ_AGENTD_PARTICIPANT_H
#define PLOYZ_AGENTD_PARTICIPANT_H

/* admission.c (pure): whether a command may be executed */
enum command_needs {
	NEEDS_LOCK = 1 << 0,	 /* the deploy's lock on this machine */
	NEEDS_OPEN = 1 << 1,	 /* the deploy must not be closed yet */
	NEEDS_NO_EPOCH = 1 << 2, /* list: a lower epoch than the stored one is answered, too */
	NEEDS_NOTHING = 1 << 3,	 /* not a command: it only waits until the containers are known */
	NEEDS_TURN = 1 << 4, /* its instance's stop or drain that has arrived before has ended */
};
struct admission_input {
	const struct agent_command *command;
	unsigned needs;
	bool known; /* the head was read */
	bool fresh; /* after the command had arrived */
	const struct head *head;
	uint64_t sequence; /* of the head's entry */
	bool named;	   /* the head names the instance that the command takes out of service */
	int64_t stored;	   /* highest epoch that is stored for the namespace */
	bool locked;	   /* the deploy has the lock */
};
enum admission {
	ADMISSION_READ,	  /* the known head is too old to decide: read it again */
	ADMISSION_BEHIND, /* the store is behind the opening entry: refuse with `failure` if it does
			     not catch up */
	ADMISSION_ADMITTED,
	ADMISSION_FENCED,
	ADMISSION_REFUSED,
};
enum admission admission_decide(const struct admission_input *input, struct failure *failure);
/* The epoch that a head shows; 0: none. */
int64_t admission_epoch(const struct head *head);
/* The generation of the store that a head shows; 0: none. */
int64_t admission_generation(const struct head *head);

/* heads.c: heads as read from the stream's leader */
struct heads;
struct head_seen {
	struct heads *heads;
	char *ns;
	bool known;
	struct head *head; /* NULL: the namespace has no entry */
	uint64_t sequence;
	uint64_t begun, done; /* numbers of the last read that began, and that ended */
	bool again;	      /* another read follows */
	struct bus_request *request;
};
/* A read has ended; with `failure` the head is unknown. */
typedef void (*head_fn)(const struct head_seen *seen, const struct failure *failure,
			struct agentd *agentd);
struct heads *heads_new(struct agentd *agentd, head_fn fn);
void heads_free(struct heads *heads);
const struct head_seen *heads_get(const struct heads *heads, const char *ns);
/* Gives the number of a read that begins now, or after the one under way. */
uint64_t heads_read(struct heads *heads, const char *ns);
/* Marks the known head as too old to decide. */
void heads_forget(struct heads *heads, const char *ns);

/* commands.c: commands that wait for their admission */
struct command_rule {
	bus_endpoint_fn fn; /* executes it */
	unsigned needs;
	/* The instance that it takes out of service; NULL: none. A head that names it decides only
	 * if it was read after the command had arrived. */
	const char *(*instance)(const void *request);
};
struct commands;
struct commands *commands_new(struct agentd *agentd);
void commands_free(struct commands *commands);
void commands_take(struct commands *commands, struct bus_call *call,
		   const struct command_rule *rule);
/* A condition that commands wait for is met. */
void commands_poll(struct commands *commands);
/* The head that they wait for could not be read. */
void commands_unread(struct commands *commands, const struct head_seen *seen,
		     const struct failure *failure);

/* aborting.c (pure): presumed abort of one instance that a deploy has taken out of service */
enum aborting_state {
	ABORTING_HELD,	   /* the deploy holds its lock */
	ABORTING_RESUMED,  /* the deploy itself has resumed the instance */
	ABORTING_DOUBT,	   /* the lock has ended; the head is not read yet */
	ABORTING_ABORTED,  /* presumed aborted; a late commit may still come */
	ABORTING_CLOSED,   /* a later entry has closed the deploy */
	ABORTING_SWEPT,	   /* only the candidate is left to remove */
	ABORTING_REVERSED, /* a late commit came */
	ABORTING_DONE,
};
enum aborting_event {
	ABORTING_TAKEN_OUT, /* the deploy stops or drains the instance */
	ABORTING_RESUME,    /* the deploy resumes it */
	ABORTING_LOCKED,    /* the deploy has taken the lock (again) */
	ABORTING_UNLOCKED,  /* the lock has lapsed, was released or superseded */
	ABORTING_OPEN,	    /* the head names the instance; the deploy is open */
	ABORTING_ENDED,	    /* the head names the instance; the deploy is closed */
	ABORTING_COMMITTED, /* the head names the deploy's instances instead */
	ABORTING_DROPPED,   /* the head names neither */
	ABORTING_SETTLED,   /* the state's action is complete */
	ABORTING_OTHER,	    /* another deploy commands the instance */
	ABORTING_EVENT_COUNT,
};
enum aborting_action {
	ABORTING_NOP,
	ABORTING_READ,		     /* request the head */
	ABORTING_RESTORE,	     /* stop the candidate and keep it, resume the instance */
	ABORTING_RESTORE_ONLY,	     /* resume the instance */
	ABORTING_RESTORE_AND_REMOVE, /* remove the candidate, resume the instance */
	ABORTING_REMOVE,	     /* remove the candidate that was stopped */
	ABORTING_REVERSE,	     /* stop the instance, resume the candidate */
};
struct aborting_move {
	enum aborting_state next;
	enum aborting_action action;
};
extern const char *const aborting_state_names[];
extern const char *const aborting_event_names[];
struct aborting_move aborting_move(enum aborting_state state, enum aborting_event event);
/* The action to repeat until it is complete, also after a restart. */
enum aborting_action aborting_repeat(enum aborting_state state);
/* Whether the state waits for a head. */
bool aborting_reads(enum aborting_state state);
struct stopped { /* one record */
	char *instance, *service;
	int64_t slot;
	char *deploy;	/* deploy that has taken it out of service */
	int64_t opened; /* that deploy's opening entry */
	bool stop;	/* stopped, not only drained */
	int state;	/* enum aborting_state */
	int todo;	/* enum aborting_action, when the record is saved */
};
void stopped_clear(struct stopped *stopped);
/* The event that a head causes for the record. False: none. */
bool aborting_head(const struct stopped *stopped, const struct head *head, uint64_t sequence,
		   enum aborting_event *ret);
/* Whether an instance is one that the deploy has started. */
bool aborting_is_candidate(const struct stopped *stopped, const struct instance *fact);

/* locks.c (pure) */
struct lock {
	char *ns;
	int64_t epoch; /* highest that a head has shown; kept for ever */
	bool held;
	char *deploy, *holder;
	struct reservation reserve;
	uint64_t until;	   /* boot-time clock */
	char *last_deploy; /* that locked the namespace last */
	char **removed;	   /* instances that the deploy removed before they were started */
	struct stopped *stopped;
	size_t n_stopped;
};
struct locks {
	struct map map; /* ns → struct lock */
	bool unsaved;	/* differs from the file: no command is admitted before it is written */
	int error;	/* of the last write */
};
struct lock *locks_get(const struct locks *locks, const char *ns);
struct lock *locks_add(struct locks *locks, const char *ns);
/* The highest epoch stored; 0: none. */
int64_t locks_epoch(const struct locks *locks, const char *ns);
/* Whether this deploy holds the lock. `lock` may be NULL. */
bool locks_held(const struct lock *lock, const char *deploy, uint64_t now);
/* A head shows this epoch, and this open deploy (NULL: none). True: it is higher than the stored
 * one; the lock of another deploy has ended. */
bool locks_shown(struct locks *locks, const char *ns, int64_t epoch, const char *open);
/* True: another deploy than the namespace's last one. */
bool locks_take(struct locks *locks, const struct agent_lock *want, uint64_t now);
/* A message of the holder renews its lock. */
void locks_message(struct locks *locks, const char *ns, const char *deploy, uint64_t now);
bool locks_release(struct locks *locks, const char *ns, const char *deploy);
/* True: some have lapsed. */
bool locks_lapse(struct locks *locks, uint64_t now);
/* Records an instance that was removed before it was started, so that a late start is refused.
 * True: it is new. */
bool locks_refuse(struct locks *locks, const char *ns, const char *instance);
bool locks_refuses(const struct locks *locks, const char *ns, const char *instance);
void locks_clear(struct locks *locks);
json_t *locks_encode(const struct locks *locks);
int locks_decode(struct locks *locks, const json_t *json, uint64_t now);

/* reservations.c (pure) */
struct instance_use {
	const char *ns, *service, *deploy;
	uint64_t memory;
	double cpus;
	const struct service *published;
};
struct capacity { /* of the machine, and what instances use of it */
	uint64_t memory;
	double cpus;
	const struct instance_use *uses;
	size_t n_uses;
};
/* Whether the lock's reservation fits. 0, or a negative errno with `failure`. */
int reservations_fit(const struct locks *locks, const struct agent_lock *want,
		     const struct capacity *capacity, uint64_t now, struct failure *failure);

/* locks-file.c: 0 or negative errno. */
int locks_load(struct agentd *agentd);
int locks_save(struct agentd *agentd);
/* Why it cannot be saved, as the answer to a request. */
void locks_failure(const struct agentd *agentd, struct failure *failure);

/* abort.c: presumed abort */
struct aborts;
struct aborts *abort_new(struct agentd *agentd);
void abort_free(struct aborts *aborts);
/* Before a drain, stop, resume or remove is carried out. 0, or a negative errno: not recorded. */
int abort_command(struct aborts *aborts, const struct agent_command *command, const char *instance,
		  enum event event);
void abort_locked(struct aborts *aborts, const char *ns, const char *deploy);
/* Some lock may have ended. */
void abort_unlocked(struct aborts *aborts);
void abort_head(struct aborts *aborts, const struct head_seen *seen);
/* Some instance has changed. */
void abort_settle(struct aborts *aborts);
/* The containers are known (again). */
void abort_begin(struct aborts *aborts);
json_t *abort_status(const struct lock *lock);

#endif
