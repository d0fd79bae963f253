/* leased: the one holder of a namespace's lease walks a deploy through its phases and commits
 * it. */
#ifndef PLOYZ_LEASED_H
#define PLOYZ_LEASED_H

#include "lib/ployz.h"

/* One answer of the store: a healthy one takes milliseconds. */
#define STORE_USEC (2 * 1000000ull)
/* Taking a lease while the store elects a leader (4–8 s). */
#define RIDE_OUT_USEC (15 * 1000000ull)
#define REPEAT_USEC 250000ull /* between two tries of one compare-and-set */
/* A holder stops acting this long before others may take over. */
#define LEASE_MARGIN_USEC (3 * 1000000ull)
#define PLAN_USEC (10 * 1000000ull)
/* For a daemon that is being restarted, before anything was started. */
#define PATIENCE_USEC (10 * 1000000ull)
#define AGENT_USEC (5 * 1000000ull)	/* agentd answers at once; long work is only accepted */
#define AGENT_ASK_AGAIN_USEC 1000000ull /* how far is it: covers an agentd that was restarted */
/* No answer of a machine for so long fails the deploy. */
#define AGENT_SILENT_USEC (60 * 1000000ull)
#define APPLIED_USEC (2 * 1000000ull)	 /* one deferred answer of a gateway or resolver */
#define APPLY_ALL_USEC (30 * 1000000ull) /* all of them; then cleaning is left for later */
/* What the engine may take beyond the service's stop_grace. */
#define REMOVE_EXTRA_USEC (30 * 1000000ull)
#define ABORT_USEC (20 * 1000000ull)	     /* taking back what was started */
#define DEFAULT_GRACE_USEC (10 * 1000000ull) /* stop_grace of a service that is no longer known */
#define ENDED_RECORDS_KEPT 16		     /* for who attaches late */

struct leased_config {
	struct daemon_config daemon;
};

/* What this leased saw of a namespace's lease. */
struct seen_lease {
	struct lease *lease;
	uint64_t revision;
	uint64_t moved_usec; /* boot-time clock, when the revision was seen to move */
};

struct leased {
	struct daemon *daemon;
	const struct leased_config *config;
	char *life;		     /* of this start: tells our own earlier lives from us */
	struct stream_follow *watch; /* of the lease bucket */
	bool watch_live;
	uint64_t watch_since;	       /* boot-time clock: quiet time counts from here */
	struct map leases;	       /* namespace → struct seen_lease */
	struct projection *projection; /* of the machines' records in the log */
	struct walk **walks;	       /* those under way */
	size_t n_walks;
	struct deploy *ended[ENDED_RECORDS_KEPT]; /* records of the last ended ones, oldest first */
	size_t n_ended;
	uint64_t walked;	     /* deploys since the start */
	struct map machines;	     /* ids of the machines that take part → any value */
	struct deferred *trim;	     /* frees the ended walks, outside their own callbacks */
	const char *hold;	     /* directory of a test's holds; NULL: none */
	sd_event_source *hold_watch; /* of that directory */
};

/* leased.c */
struct leased *leased_new(struct daemon *daemon, const struct leased_config *config);
int leased_start(struct leased *leased);
void leased_free(struct leased *leased);
DEFINE_CLEANUP(struct leased, leased_free);

/* bus.c: the doorplate. 0 or negative errno after having said why. */
int leased_serve(struct leased *leased);

struct candidate;
struct walk;
struct record_writer;
struct errand;
struct leaving;
struct draining;
struct orphan_record;
struct confirmation;

/* decide.c (pure): what a lease's value means for who wants it */
enum lease_decision {
	LEASE_TAKE_FREE,    /* nobody holds it */
	LEASE_TAKE_OWN,	    /* an earlier life of this machine's leased holds it */
	LEASE_TAKE_EXPIRED, /* its holder has been quiet for the whole term */
	LEASE_REFUSE,
};
/* `lease` NULL: there is no value yet. `quiet_usec`: how long this watcher saw it unmoved. */
enum lease_decision lease_decide(const struct lease *lease, const char *machine, const char *life,
				 uint64_t quiet_usec);
/* Who holds it, why, since when, and when it is free at most: the refusal's words. */
void lease_refusal(const struct lease *lease, uint64_t quiet_usec, uint64_t now_realtime_usec,
		   struct failure *failure);

/* head.c (pure): the next entries of a namespace's log. All are new and owned by the caller. */
struct head *head_opened(const struct head *before, uint64_t sequence,
			 const struct deploy_request *request, const struct lease *lease,
			 const char *now, const char *nonce);
struct head *head_closed(const struct head *opened, const char *outcome, const char *now,
			 const char *nonce);
struct head *head_committed_next(const struct head *opened, const struct deploy_request *request,
				 const struct lease *lease, struct candidate *const *candidates,
				 size_t n_candidates, const char *now, const char *nonce);

/* sure.c: an append that is repeated until its outcome is known */
struct sure;
enum sure_outcome { SURE_DONE, SURE_CONFLICT, SURE_FAILED, SURE_UNKNOWN };
/* `failure` is set unless SURE_DONE. SURE_UNKNOWN: the deadline came before an answer did. */
typedef void (*sure_fn)(enum sure_outcome outcome, uint64_t sequence, const struct failure *failure,
			void *userdata);
struct sure_append {
	const char *bucket; /* a key of a bucket, or NULL: a subject of PLOYZ_INTENT */
	const char *key;    /* the key, or the subject */
	const char *text;
	const char *nonce; /* the entry's own, by which it is known again */
	uint64_t expected;
	uint64_t deadline_usec; /* boot-time clock */
	bool eager; /* nothing is lost with it: a full disk ends it at once, as SURE_UNKNOWN */
};
/* `waiting` (may be NULL) is told when an answer is missing, and again when it is known why. */
struct sure *sure_append_new(struct bus *bus, const struct sure_append *append, sure_fn fn,
			     void (*waiting)(const char *why, void *userdata), void *userdata);
void sure_free(struct sure *sure);
DEFINE_CLEANUP(struct sure, sure_free);

/* watch.c: what this leased sees of all leases */
void watch_start(struct leased *leased);
void watch_stop(struct leased *leased);
/* How long the revision has not moved while the watch was alive; 0 when that cannot be said. */
uint64_t watch_quiet(const struct leased *leased, const char *ns, uint64_t revision);

/* lease.c: holding one */
struct holding;
struct holding_ops {
	void (*taken)(void *userdata);
	void (*refused)(const struct failure *failure, void *userdata); /* never had it */
	void (*renewed)(void *userdata);
	void (*lost)(const struct failure *failure,
		     void *userdata);			  /* had it: stop acting at once */
	void (*waiting)(const char *why, void *userdata); /* an answer is missing */
};
/* Takes the lease of `holder->ns` for `holder` (its deploy, verb, operator) and keeps it. */
struct holding *holding_new(struct leased *leased, const struct lease *holder,
			    const struct holding_ops *ops, void *userdata);
/* What is held: epoch and all; borrowed. */
const struct lease *holding_lease(const struct holding *holding);
/* Until when (boot-time clock) this holder may act on what it holds. */
uint64_t holding_deadline(const struct holding *holding);
/* The value in the bucket is this one now: lost, when it is not ours. From watch.c. */
void holding_observe(struct holding *holding, const struct lease *lease, uint64_t revision);
/* Gives it back; `done` is called when it is, or when that could not be learned. */
void holding_release(struct holding *holding, loop_fn done, void *userdata);
void holding_free(struct holding *holding);
DEFINE_CLEANUP(struct holding, holding_free);

/* break.c: lease.show, lease.break */
void lease_show(struct leased *leased, struct bus_call *call, const struct lease_ref *ref);
void lease_break(struct leased *leased, struct bus_call *call, const struct lease_ref *ref);

/* walk.c: the phases as a table, and what every step uses */
enum step {
	STEP_LEASE,
	STEP_OPEN,
	STEP_SWEEP,
	STEP_PLAN,
	STEP_LOCK,
	STEP_PREPARE,
	STEP_RUN,
	STEP_START,
	STEP_COMMIT,
	STEP_APPLY,
	STEP_CLEAN,
	STEP_ABORT,  /* before the commit: take back what was started */
	STEP_RESUME, /* and start again what was stopped for it */
	STEP_CLOSE,  /* the entry that closes what was opened without a commit */
	STEP_UNLOCK,
	STEP_RELEASE,
	STEP_END,
};

enum candidate_state {
	CANDIDATE_WAITING,  /* for what it depends on */
	CANDIDATE_DRAINING, /* the old instance gets no more connections: stop-first */
	CANDIDATE_STOPPING, /* the old instance */
	CANDIDATE_STARTING,
	CANDIDATE_READY,
	CANDIDATE_FAILED,
};

/* One slot of the plan on its way. */
struct candidate {
	struct walk *walk;
	const struct plan_slot *slot;  /* of walk->plan */
	const struct service *service; /* of the manifest; NULL: the slot goes */
	int action;	/* enum slot_action; a replacement with the same image becomes a keep */
	char *instance; /* the new one's id, or the one that is kept */
	char *digest;
	char *hash;
	char *address;
	int state;
	char *said;	  /* last state that went into the progress */
	bool prepared;	  /* its image is on its machine */
	bool old_stopped; /* the old instance was stopped for it, or is about to be */
	bool draining;	  /* its fact says so, and the gateways are asked */
	bool drain_told;  /* its fact says so, in the log at drain_sequence; 0: it has ended */
	uint64_t drain_sequence;
	bool resumed;	     /* and has been started again */
	bool asking;	     /* an agentd.start is on its way */
	bool again;	     /* something happened meanwhile: ask once more */
	uint64_t heard_usec; /* boot-time clock, last answer of its agentd */
};

struct walk {
	struct leased *leased;
	struct deploy_request *request;
	struct deploy *record; /* the status record, as it is now */
	enum step step;
	uint64_t began_usec; /* boot-time clock */
	uint64_t step_usec;  /* the same, of the current step */
	bool again;	     /* the current step's one question is asked again with the next tick */
	bool held;	     /* before the current step, by a test */
	struct holding *holding;
	struct sure *append;	/* the one append to the log that is on its way */
	struct errand *errands; /* questions to other daemons */
	struct bus_request *reading;
	struct head *head;   /* the namespace's head as last read or written; NULL: none yet */
	uint64_t sequence;   /* its place */
	struct head *trying; /* the commit that is on its way */
	struct head *base;   /* the committed state that this deploy starts from; NULL: none */
	struct open_deploy *orphan; /* a dead deploy that was still open */
	struct plan *plan;
	struct bus_subscription *heard; /* progress of this deploy from agentd */
	struct candidate **candidates;
	size_t n_candidates;
	char **machines; /* participants, sorted */
	size_t n_locked;
	bool committed;
	bool lost;		  /* the lease is gone: no more appends, no more commands */
	struct failure failure;	  /* why it fails, or why cleaning is pending */
	char *outcome;		  /* for the closing entry */
	uint64_t deadline_usec;	  /* of the current step, boot-time clock; 0: none */
	struct timer *tick;	  /* asks again, checks the deadline */
	struct leaving **leaving; /* instances that have to go */
	size_t n_leaving;
	bool leaving_begun;	     /* nothing is removed before leaving_go */
	struct draining **drainings; /* instances whose connections are waited for */
	size_t n_drainings;
	struct confirmation *confirmations; /* of gateways and resolvers; while `applied` is set */
	size_t n_confirmations;
	void (*applied)(struct walk *walk);  /* what comes once all have confirmed */
	char **peers;			     /* machines that take part, asked at the sweep */
	struct orphan_record *orphan_record; /* while the dead deploy's record is read */
	size_t pending;			     /* what the current step still waits for */
	struct record_writer *writer;	     /* of the status record */
	bool ended;
};
struct walk *walk_new(struct leased *leased, const struct deploy_request *request);
/* Into the current step, unless a test holds the walk before it. */
void walk_enter(struct walk *walk);
/* The status record of a deploy that is under way or has ended lately, or NULL; borrowed. */
const struct deploy *walk_record(const struct leased *leased, const char *deploy);
void walk_free(struct walk *walk);
/* The current step has done its work: on to the next one. */
void walk_next(struct walk *walk);
void walk_goto(struct walk *walk, enum step step);
/* The current step cannot: `failure` is kept as the walk's and the table says where it goes on. */
void walk_fail(struct walk *walk, const struct failure *failure);
void walk_failf(struct walk *walk, enum failure_code code, const char *hint, const char *format,
		...) _printf_(4, 5);
/* Whether the step should ask again rather than fail: nobody answered, and that has not lasted
 * long. */
bool walk_patient(struct walk *walk, const struct failure *failure);
void walk_lost(struct walk *walk, const struct failure *failure);
/* Its end was told: what it held is given up, and soon it is gone. */
void walk_ended(struct walk *walk);
/* Frees the ended walks but for their records, outside their own callbacks; userdata is the
 * leased. */
void walks_trim(void *userdata);
/* Machines that take part, as the log has them now; owned by the caller. */
char **walk_peers(const struct walk *walk);
/* What leased's log lines of this walk are about. */
struct log_about walk_about(const struct walk *walk);

/* hold.c: deploys that a test holds before a step */
/* Watches the directory that PLOYZ_HOLD names, if it does. 0 or negative errno after having said
 * why. */
int hold_start(struct leased *leased);
bool hold_wants(const struct leased *leased, const char *ns, const char *step);

/* errand.c: questions of a walk, all cancelled with it */
typedef void (*errand_fn)(struct walk *walk, const struct failure *failure, void *answer,
			  void *what);
void errand(struct walk *walk, enum subject_id subject, const char *machine, const void *request,
	    uint64_t timeout_usec, errand_fn fn, void *what);
void errands_cancel(struct walk *walk);
/* An answer about a candidate has come. Whether it is none: then the walk goes on asking, or has
 * failed. */
bool agent_is_silent(struct candidate *candidate, const struct failure *failure);

/* log.c: reading the head, opening, committing, closing */
void step_open(struct walk *walk);
void opening_tick(struct walk *walk);
void step_commit(struct walk *walk);
void step_close(struct walk *walk);

/* planning.c */
void step_plan(struct walk *walk);
void planning_tick(struct walk *walk);

/* participants.c */
void step_lock(struct walk *walk);
void step_unlock(struct walk *walk);
void participants_tick(struct walk *walk);
void participants_renew(struct walk *walk);
/* The reservation that the candidates of a machine need (pure); owned by the caller. */
struct reservation *participants_reserve(const struct walk *walk, const char *machine);

/* sweep.c: what a dead deploy left */
void step_sweep(struct walk *walk);

/* orphan.c: writes the end of a dead deploy's record; best effort, nothing waits for it */
void orphan_close(struct walk *walk);
void orphan_free(struct orphan_record *orphan);

/* preparing.c: images, pre_deploy commands; …_again asks how far they are */
void step_prepare(struct walk *walk);
void preparing_again(struct walk *walk);
void step_run(struct walk *walk);
void running_again(struct walk *walk);
/* What agentd is asked for a candidate; `ret->volumes` is the caller's to free, all else
 * borrowed. */
void start_request(const struct walk *walk, const struct candidate *candidate,
		   struct agent_start *ret);

/* starting.c */
void step_start(struct walk *walk);
/* Something was heard of an instance (NULL: a second has passed): its agentd is asked how it is. */
void starting_heard(struct walk *walk, const struct progress *progress);
/* Whether everything this service depends on is ready (pure). */
bool starting_may(const struct walk *walk, const struct candidate *candidate);

/* applying.c: every gateway and resolver has the log up to walk->sequence, then `then` */
void applying_go(struct walk *walk, void (*then)(struct walk *walk));
void applying_tick(struct walk *walk);
void applying_clear(struct walk *walk);

/* draining.c: `then` is called once no gateway has a connection to these instances (which it takes
 * over) any more, or `grace_usec` is over. `sequence`: they count from where the log has it that
 * nothing new is sent there; 0: every gateway has that already. */
typedef void (*draining_fn)(struct walk *walk, char *const *instances);
void draining_begin(struct walk *walk, char **instances, uint64_t sequence, uint64_t grace_usec,
		    draining_fn then);
void drainings_tick(struct walk *walk);
void drainings_clear(struct walk *walk);

/* leaving.c: drain and remove; walk_next when all are gone, walk_fail at the deadline */
void leaving_add(struct walk *walk, const char *machine, const char *instance, int64_t grace_ms,
		 uint64_t drain_usec);
void leaving_go(struct walk *walk);
void leaving_tick(struct walk *walk);
void leaving_heard(struct walk *walk, const struct progress *progress);
void leaving_clear(struct walk *walk);

/* cleaning.c */
/* How long connections to what leaves may go on: the grace of the service as it was committed
 * before. */
uint64_t cleaning_grace(const struct walk *walk, const char *service);
void step_apply(struct walk *walk);
void step_clean(struct walk *walk);
void step_abort(struct walk *walk);
void step_resume(struct walk *walk);
void resume_tick(struct walk *walk);

/* progress.c: the status record and what goes out as it happens */
void progress_phase(struct walk *walk, enum deploy_phase phase, const char *note);
void progress_note(struct walk *walk, const char *format, ...) _printf_(2, 3);
void progress_slot(struct walk *walk, const struct candidate *candidate, const char *state,
		   const char *message);
void progress_plan(struct walk *walk);
/* Writes the final record, then tells the end; then the walk has ended. */
void progress_end(struct walk *walk);
void record_writer_free(struct record_writer *writer);

#endif
