/* The model of one rollout: the state of a deploy and the decisions about it. Nothing declared here
 * uses the bus, a clock or a file: effects go through struct rollout_ops, their answers are written
 * into this model, and the dispatcher (phases.c) then polls the current phase. */
#ifndef PLOYZ_LEASED_ROLLOUT_H
#define PLOYZ_LEASED_ROLLOUT_H

#include "lib/ployz.h"

/* --- limits; all in µs of the boot-time clock */

#define REPEAT_USEC 1000000ull /* a request without a final answer is repeated after this */
#define PLAN_USEC                                                                      \
	(10 * 1000000ull) /* one plan: placerd reads the store and probes all machines \
			   */
#define AGENT_USEC \
	(5 * 1000000ull) /* agentd answers at once; it accepts long work and reports it later */
#define STORE_READ_USEC (5 * 1000000ull) /* one read of several entries from the leader */
/* A request is repeated for this long before anything was started: the daemon may be restarting. */
#define RETRY_LIMIT_USEC (10 * 1000000ull)
/* A deploy that has not committed fails after this time without an answer of an agentd. It is
 * shorter than the term of agentd's lock, after which agentd begins its presumed abort. */
#define NO_ANSWER_USEC (25 * 1000000ull)
#define APPLIED_USEC (2 * 1000000ull)	    /* one deferred answer of a gateway or resolver */
#define CONFIRM_USEC (30 * 1000000ull)	    /* all confirmations; then the clean-up stays pending */
#define REMOVE_EXTRA_USEC (30 * 1000000ull) /* time of the engine in addition to stop_grace */
#define FACT_USEC (25 * 1000000ull)	    /* until a fact is stored that the rollout waits for */
#define RESUME_USEC (20 * 1000000ull)	    /* resuming stopped instances */
#define DEFAULT_GRACE_USEC (10 * 1000000ull) /* stop_grace of a service that the head lacks */
#define PLAN_ATTEMPTS                                                                       \
	5 /* plans of one rollout: the preview, the plan, and three more if a lock's answer \
	     contradicts it */
#define RELEASES_MAX 8		/* releases of earlier holders that arrive late */
#define RELEASES_BEFORE_COPY 48 /* of the 64 that PLOYZ_MANIFESTS keeps per namespace */

struct rollout;

/* --- one request to another daemon */

enum rpc_state { RPC_IDLE, RPC_WAITING, RPC_ANSWERED, RPC_FAILED };
struct rpc {
	struct rollout *rollout;
	enum rpc_state state;
	enum subject_id subject;
	char *machine;
	struct failure failure; /* set in RPC_FAILED */
	void *answer;		/* set in RPC_ANSWERED, of the subject's reply schema */
	uint64_t sent_usec;	/* boot-time clock, of the last request */
	uint64_t answered_usec; /* boot-time clock, of the last answer; before that, of the first
				   request */
	void *handle;		/* of the ops that send the request */
};
enum rpc_verdict { VERDICT_PENDING, VERDICT_ANSWER, VERDICT_ERROR };

/* --- one read from the leader, and one compare-and-set write */

struct store_entry {
	char *subject;
	uint64_t sequence;
	char *text;
	size_t size;
};
struct store_read {
	struct rollout *rollout;
	enum rpc_state state;
	struct failure failure;
	struct store_entry *entries; /* empty: the subject has none */
	size_t n_entries;
	void *handle;
};
enum write_state {
	WRITE_IDLE,
	WRITE_WAITING,
	WRITE_DONE,
	WRITE_SUPERSEDED, /* stored; another writer has written since */
	WRITE_CONFLICT,	  /* certainly not stored: another writer was first */
	WRITE_REFUSED,	  /* certainly not stored */
	WRITE_UNKNOWN,	  /* may be stored, now or later */
};
struct store_write {
	struct rollout *rollout;
	enum write_state state;
	uint64_t sequence;
	struct failure failure;
	void *handle;
};
struct store_append {
	const char *stream;
	const char *subject;
	const char *text;
	const char *nonce;
	uint64_t expected;
	bool eager; /* the writer can do without it: a full disk ends it at once */
};

/* --- effects outside the model. Every member but `stopped` is required. */

struct rollout_ops {
	/* Sends the request; rpc_answer() is called after this has returned. */
	void (*ask)(struct rpc *rpc, const void *request, uint64_t timeout_usec);
	void (*cancel_rpc)(struct rpc *rpc);
	/* Each calls read_done() after it has returned. */
	void (*read_last)(struct store_read *read, const char *stream, const char *subject);
	void (*read_at)(struct store_read *read, const char *stream, uint64_t sequence);
	/* The first entry of the subject in PLOYZ_INTENT after this sequence. */
	void (*read_next)(struct store_read *read, const char *subject, uint64_t after);
	/* Every entry of the subject in PLOYZ_INTENT, oldest first. */
	void (*read_history)(struct store_read *read, const char *subject);
	/* The last entry of each namespace and of each route claim. */
	void (*read_claims)(struct store_read *read);
	void (*cancel_read)(struct store_read *read);
	/* Calls write_done() after it has returned. */
	void (*append)(struct store_write *write, const struct store_append *append);
	void (*cancel_write)(struct store_write *write);
	/* The lease; the answers are written into rollout->lease by rollout_lease(). */
	void (*lease_take)(struct rollout *rollout);
	void (*lease_raise)(struct rollout *rollout, int64_t above);
	void (*lease_release)(struct rollout *rollout);
	/* The machine view is being compared with the store's state since the rollout began; the
	 * rollout is polled when that ends. False: it was, or the view is not live. */
	bool (*checking)(struct rollout *rollout);
	/* Machines that take part, sorted, owned by the caller, as the machine view has them now.
	 * False: the view is not loaded or not live. */
	bool (*members)(struct rollout *rollout, char ***ret);
	/* Whether a failpoint stops the rollout here; rollout_poll() is called when it may
	 * continue. */
	bool (*stopped)(struct rollout *rollout, const char *point);
	/* Publishes progress; writes the durable record. */
	void (*progress)(struct rollout *rollout, struct progress *progress);
	void (*record)(struct rollout *rollout, bool final);
	/* Writes the end of another deploy's record, unless it has ended; best effort. */
	void (*close_record)(struct rollout *rollout, const char *deploy, enum deploy_phase phase,
			     const char *note);
	char *(*nonce)(struct rollout *rollout);    /* owned by the caller */
	char *(*now_text)(struct rollout *rollout); /* RFC 3339, owned by the caller */
	/* Schedules a call of rollout_poll(). */
	void (*schedule)(struct rollout *rollout);
};

/* --- phases */

enum phase_result {
	PHASE_WAIT,   /* poll again after an answer or a tick */
	PHASE_DONE,   /* go to the row's `next` */
	PHASE_FAILED, /* rollout->failure says why; go to the row's `on_failure` */
	PHASE_LOST,   /* the lease or the fence is lost: stop acting, go to the end */
};
enum phase {
	PHASE_LEASE,	/* take the namespace's lease */
	PHASE_HEAD,	/* read the head; a changed plan is refused */
	PHASE_LOAD,	/* rollback: the stored release becomes the manifest */
	PHASE_PREVIEW,	/* a preliminary plan: end without an append if nothing changes */
	PHASE_OPEN,	/* the opening entry: fences every earlier holder */
	PHASE_LIST,	/* fence every reachable machine and list its instances */
	PHASE_SWEEP,	/* remove candidates that were never committed */
	PHASE_PLAN,	/* plan from the opened head */
	PHASE_LOCK,	/* the participants' locks, all or none */
	PHASE_CLAIM,	/* route claims */
	PHASE_PREPARE,	/* images */
	PHASE_START,	/* pre_deploy, candidates, in depends_on order */
	PHASE_MANIFEST, /* the release that the commit refers to */
	PHASE_QUERY,	/* the last query of every candidate */
	PHASE_COMMIT,
	PHASE_CONFIRM, /* every gateway and resolver has applied the commit */
	PHASE_CLEAN,   /* drain and remove what the commit replaced */
	PHASE_ABORT,   /* without a commit: remove the candidates */
	PHASE_RESUME,  /* resume the instances that were stopped for them */
	PHASE_CLOSE,   /* append the entry that closes a deploy without a commit */
	PHASE_UNLOCK,
	PHASE_RELEASE,
	PHASE_END,
	PHASE_COUNT,
};
struct phase_row {
	const char *name;
	enum phase_result (*start)(struct rollout *rollout);
	enum phase_result (*poll)(struct rollout *rollout);
	enum phase next, on_failure;
};

/* --- candidates */

enum candidate_state {
	CANDIDATE_WAITING,  /* for the services it depends on, or for pre_deploy */
	CANDIDATE_DRAINING, /* stop-first: the old instance gets no new connections */
	CANDIDATE_STOPPING, /* stop-first: the old instance stops */
	CANDIDATE_STARTING,
	CANDIDATE_READY,
};
struct candidate {
	struct rollout *rollout;
	const struct plan_slot *slot;  /* of rollout->plan */
	const struct service *service; /* of the manifest; NULL: the slot is removed */
	int action;	/* enum slot_action; a replacement with the same image becomes a keep */
	char *instance; /* id of the new or of the kept instance */
	char *digest, *hash, *address;
	enum candidate_state state;
	struct rpc rpc;	     /* request about the candidate or its old instance */
	bool again;	     /* progress arrived: repeat the request */
	bool old_runs;	     /* the old instance ran when its machine was locked */
	bool prepared;	     /* its image is on its machine */
	bool started;	     /* a start was sent: the instance may exist */
	bool queried;	     /* the last query reported it ready */
	int64_t facts;	     /* sequence of the fact that reported it ready */
	uint64_t start_usec; /* boot-time clock, when its start was sent */
	uint64_t old_usec;   /* the same of the first drain or stop of the old instance */
	bool old_stopped;    /* a command to drain or stop the old instance may have been sent */
	bool resumed;	     /* the old instance was resumed */
	struct draining *draining;
};
/* A service's pre_deploy. */
enum run_state { RUN_WAITING, RUN_RUNNING, RUN_DONE };
struct run {
	const struct candidate *where;
	enum run_state state;
	struct rpc rpc;
	bool again;
};
/* A machine that takes part: its list, its lock. */
struct participant {
	char *machine;
	struct rpc list;    /* PHASE_LIST */
	struct rpc rpc;	    /* lock, last query, unlock */
	struct rpc renewal; /* renewal of the lock, with each renewal of the lease */
	bool listed;	    /* it answered its last list, which fenced it */
	bool unreachable;   /* it did not answer its list */
	bool needed;	    /* the plan names it */
	bool locked;
	bool lock_sent;	      /* a lock was sent: it may be held */
	uint64_t locked_usec; /* when the last acknowledged lock was sent */
};
/* An instance that the sweep found and that a committed head may have named. */
struct leftover {
	char *machine, *instance, *service;
};

/* --- the rollout */

struct rollout_lease {
	enum held_state state;
	int64_t epoch;
	uint64_t deadline_usec; /* boot-time clock: until when this holder may act */
	struct failure failure;
};

struct rollout {
	const struct phase_row *table; /* `phases`; tests set another one */
	const struct rollout_ops *ops;
	void *userdata;	  /* argument of the ops */
	const char *self; /* this machine's id; borrowed */
	struct deploy_request *request;
	const char *ns;		   /* borrowed from the request */
	struct manifest *manifest; /* what is deployed; NULL: only a clean-up */
	struct pairs pinned;	   /* rollback: service → image id */
	struct deploy *record;	   /* the status record, as it is now */
	uint64_t now_usec;	   /* boot-time clock, at this poll */
	uint64_t began_usec, phase_usec;

	enum phase phase;
	bool entered;	/* the phase's start function was called */
	bool stopped;	/* before the phase, by a failpoint */
	bool repeating; /* it was reported that the phase repeats its request */
	bool polling;
	bool renewed;	 /* the lease was renewed: renew the locks */
	char *cancelled; /* name of the operator who cancelled, or NULL */
	struct rollout_lease lease;

	int64_t generation; /* of the store */
	struct store_read read;
	struct store_write write;
	struct head *head; /* as last read or written; NULL: none yet */
	uint64_t sequence; /* sequence of the entry of `head`; 0: none */
	struct head *base; /* the committed state that this deploy starts from; NULL: none */
	uint64_t opened;   /* sequence of our opening entry; 0: not opened */
	struct open_deploy *orphan; /* the open deploy that our opening entry superseded, or NULL */
	struct deploy *previous;    /* record of the deploy that committed `base`, or NULL */
	struct head *trying;	    /* the head that is being appended */

	struct rpc planning;
	struct plan *plan;
	int plans;     /* made so far */
	int openings;  /* opening entries sent so far */
	int64_t above; /* highest epoch that was seen; ours has to be higher */
	bool reopening;
	bool nothing;			   /* nothing changes and nothing is left to clean */
	struct participant **participants; /* sorted by machine */
	size_t n_participants;
	struct candidate **candidates;
	size_t n_candidates;
	struct run **runs;
	size_t n_runs;
	struct leftover *leftovers;
	size_t n_leftovers;
	struct claiming *claiming;
	int releases;	     /* appends of a release that another writer preceded */
	uint64_t copy_after; /* append the committed release again, after this sequence; 0: no */
	char **never;	     /* deploys that certainly did not commit */
	char **perhaps;	     /* deploys that may have committed */
	int64_t release, release_number; /* values for the next head */

	bool committing; /* the append of the commit was sent at least once */
	bool committed;
	bool cleaned;		/* everything that it knew of is removed */
	bool unknown;		/* the commit's outcome is not known */
	bool lost;		/* no more appends, no more commands */
	struct failure failure; /* the outcome's failure: before the commit its reason, afterwards
				   that of the pending clean-up */
	char *outcome;		/* for the closing entry */
	struct confirmation *confirmation;
	struct removal *removal;
	char **unserved; /* routes that a gateway cannot serve */
	bool ended;
};

/* rollout.c: the model */
struct rollout *rollout_new(const struct rollout_ops *ops, void *userdata, const char *self,
			    const struct deploy_request *request);
void rollout_free(struct rollout *rollout);
DEFINE_CLEANUP(struct rollout, rollout_free);
/* Keeps the first failure; a later one becomes a progress note. Gives PHASE_FAILED. */
enum phase_result rollout_fail(struct rollout *rollout, const struct failure *failure);
enum phase_result rollout_failf(struct rollout *rollout, enum failure_code code, const char *hint,
				const char *format, ...) _printf_(4, 5);
/* The same for a failure that ends the rollout at once. Gives PHASE_LOST. */
enum phase_result rollout_lose(struct rollout *rollout, const struct failure *failure);
/* Records that the commit was acknowledged. */
void rollout_committed(struct rollout *rollout);
/* The phase result of an rpc in VERDICT_ERROR: PHASE_LOST for FENCED, otherwise PHASE_FAILED. */
enum phase_result rollout_rpc_error(struct rollout *rollout, const struct rpc *rpc);
/* Whether the current phase may repeat its request after this failure; reports that once. */
bool rollout_may_retry(struct rollout *rollout, const struct failure *failure);
void rollout_note(struct rollout *rollout, const char *format, ...) _printf_(2, 3);
/* Sets and reports the record's phase. */
void rollout_phase(struct rollout *rollout, enum deploy_phase phase, const char *note);
void rollout_slot(struct rollout *rollout, const struct candidate *candidate, const char *state,
		  const char *message);
void rollout_command(const struct rollout *rollout, struct agent_command *ret);
/* Adds the machine if it is not there; keeps them sorted. */
void rollout_add_participant(struct rollout *rollout, const char *machine);
struct participant *rollout_participant(const struct rollout *rollout, const char *machine);
/* How long connections to an instance of this service may continue, µs: the service's stop_grace in
 * `base`. */
uint64_t rollout_grace(const struct rollout *rollout, const char *service);
/* Sets the record's final phase, failure and `left`. */
void rollout_conclude(struct rollout *rollout);
void rollout_clear_candidates(struct rollout *rollout);
/* The watermark that every gateway and resolver must have applied before replaced instances are
 * removed. */
struct watermark rollout_watermark(const struct rollout *rollout);

/* phases.c: the table and the dispatcher */
extern const struct phase_row phases[PHASE_COUNT];
/* Polls the current phase, and goes through the transitions that follow. */
void rollout_poll(struct rollout *rollout, uint64_t now_usec);
/* Whether a failpoint stops the rollout at this point; reports that once. */
bool rollout_is_stopped(struct rollout *rollout, const char *point);
/* Makes the rollout fail with the next poll; -EALREADY from PHASE_COMMIT on. */
int rollout_cancel(struct rollout *rollout, const char *operator_);
/* Progress of an agent: requests about its instance are repeated. */
void rollout_on_progress(struct rollout *rollout, const struct progress *progress);
/* The lease changed; `epoch` and `deadline_usec` are valid while it is held. */
void rollout_lease(struct rollout *rollout, enum held_state state, int64_t epoch,
		   uint64_t deadline_usec, const struct failure *failure);

/* rpc.c */
void rpc_ask(struct rollout *rollout, struct rpc *rpc, enum subject_id subject, const char *machine,
	     const void *request, uint64_t timeout_usec);
/* `failure` is borrowed; `answer` is taken over. One of them is NULL. */
void rpc_answer(struct rpc *rpc, const struct failure *failure, void *answer);
/* Cancels the request, frees its answer and makes it RPC_IDLE. */
void rpc_clear(struct rpc *rpc);
/* Whether to send the request now: it is idle, or its last answer was not final and is older than
 * REPEAT_USEC or `again` is set. */
bool rpc_is_due(const struct rpc *rpc, uint64_t now_usec, bool again);
/* A missing answer is VERDICT_PENDING until there was none for `limit_usec`. */
enum rpc_verdict rpc_verdict(const struct rpc *rpc, uint64_t now_usec, uint64_t limit_usec);
bool failure_is_no_answer(const struct failure *failure);
/* No answer, or one that the store could not be read for: it may be electing a leader, and nothing
 * was executed. */
bool failure_is_undecided(const struct failure *failure);

/* store.c: reads and writes of the model */
void read_done(struct store_read *read, const struct failure *failure);
struct store_entry *read_add(struct store_read *read, const char *subject, uint64_t sequence,
			     const char *text, size_t size);
void read_clear(struct store_read *read);
void write_done(struct store_write *write, enum write_state state, uint64_t sequence,
		const struct failure *failure);
void write_clear(struct store_write *write);
/* Appends the head at the model's sequence. */
void rollout_append_head(struct rollout *rollout, const struct head *head, bool eager);
/* The head of an entry; NULL with `failure` when it cannot be decoded. */
struct head *entry_head(const struct store_entry *entry, struct failure *failure);

/* heads.c: the next entries of a namespace's log. All are new and owned by the caller. */
struct head *head_opened(const struct rollout *rollout, const struct head *before,
			 uint64_t sequence, const char *now, const char *nonce);
struct head *head_closed(const struct head *opened, const char *outcome, const char *now,
			 const char *nonce);
struct head *head_next(const struct rollout *rollout, const char *now, const char *nonce);

/* records.c: interprets the records of other deploys */
/* Resolves the outcome of the deploy that was opened at record->opened from the first entry of its
 * namespace after that (NULL: there is none) and sets the record's end. False: it is not decided.
 */
bool record_resolve(struct deploy *record, const struct head *next, uint64_t sequence);
/* Sets the record's end to failed: no entry of its namespace is the deploy's. */
void record_unopened(struct deploy *record);
/* Whether the deploy has committed by its record and its clean-up is not finished. */
bool record_is_pending(const struct deploy *record);
/* Whether the deploy certainly did not commit. */
bool record_is_void(const struct deploy *record);

/* planning.c: requests plans from placerd and makes candidates, runs and participants of one */
void planning_ask(struct rollout *rollout, bool preview);
enum phase_result planning_poll(struct rollout *rollout);
/* Discards the plan and requests another one, from the opened head. */
void planning_again(struct rollout *rollout);
/* Whether rollout->plan may be executed; then its candidates, runs and participants are made. */
enum phase_result planning_check(struct rollout *rollout);
/* Makes candidates, runs and participants of rollout->plan. */
void planning_take(struct rollout *rollout);

/* opening.c: raises the epoch above all that were seen, then appends the opening entry */
enum phase_result opening_poll(struct rollout *rollout);
/* Makes the last entry of the namespace the rollout's starting point. PHASE_DONE, or PHASE_FAILED:
 * it cannot be decoded, or the approved plan was made from another entry. */
enum phase_result opening_take(struct rollout *rollout, const struct store_read *read);

/* participants.c: locks */
void participants_ask(struct rollout *rollout, struct participant *participant, struct rpc *rpc);
/* The reservation that the candidates on a machine need; owned by the caller. */
struct reservation *participants_reserve(const struct rollout *rollout, const char *machine);
/* Called at each renewal of the lease; PHASE_LOST when a participant has fenced this rollout. */
enum phase_result participants_renew(struct rollout *rollout);
/* Whether every lock was acknowledged within its term; otherwise *ret_machine is a machine without
 * that. */
bool participants_are_locked(const struct rollout *rollout, const char **ret_machine);

/* candidate.c */
void candidate_free(struct candidate *candidate);
enum phase_result candidate_poll(struct rollout *rollout, struct candidate *candidate);
/* Whether the services that its service depends on are ready. */
bool candidate_may_start(const struct rollout *rollout, const struct candidate *candidate);
const char *candidate_old_machine(const struct candidate *candidate);
/* Time limit from its start until it is ready, µs. */
uint64_t candidate_ready_usec(const struct candidate *candidate);

/* run.c: pre_deploy */
void run_free(struct run *run);
enum phase_result run_poll(struct rollout *rollout, struct run *run);
struct run *run_of(const struct rollout *rollout, const char *service);
/* The volumes that a service mounts, for agentd's requests: a list that the caller frees, its items
 * borrowed; *ret_new those that the plan creates on that machine, owned by the caller. */
struct volume *volumes_of(const struct rollout *rollout, const struct service *service,
			  const char *machine, size_t *ret_count, char ***ret_new);

/* confirmation.c: waits until every gateway and resolver has applied a watermark */
struct confirmation;
/* Covers the machines that take part now; NULL with the failure when the machine view is not live.
 */
struct confirmation *confirmation_new(struct rollout *rollout, const struct watermark *wanted);
/* PHASE_FAILED after CONFIRM_USEC, with the failure naming who has not confirmed. */
enum phase_result confirmation_poll(struct confirmation *confirmation);
void confirmation_free(struct confirmation *confirmation);

/* draining.c: waits until no gateway has a connection to an instance, or its grace period is over
 */
struct draining;
struct draining *draining_new(struct rollout *rollout, char *const *instances,
			      const struct watermark *wanted, uint64_t grace_usec);
/* PHASE_WAIT or PHASE_DONE. */
enum phase_result draining_poll(struct draining *draining);
void draining_free(struct draining *draining);

/* cleaning.c: lists the instances that the commit replaced and those that earlier deploys left */
struct cleaning_target {
	const char *machine, *instance;
	uint64_t grace_usec, drain_usec;
};
/* The caller frees the list; its items are borrowed. */
struct cleaning_target *cleaning_targets(const struct rollout *rollout, size_t *ret_count);
/* Appends all of them to the record's `left`. */
void cleaning_left(struct rollout *rollout, const char *reason);

/* removal.c: drains instances, then has agentd remove them */
struct removal;
struct removal *removal_new(struct rollout *rollout);
/* `drain_usec`: how long its connections may continue; 0: do not wait. `grace_usec` UINT64_MAX: the
 * service's own. */
void removal_add(struct removal *removal, const char *machine, const char *instance,
		 uint64_t grace_usec, uint64_t drain_usec);
bool removal_is_empty(const struct removal *removal);
/* PHASE_FAILED at the deadline; `ret` names the instances that are left and the reason. */
enum phase_result removal_poll(struct removal *removal, struct failure *ret);
void removal_on_progress(struct removal *removal, const char *instance);
/* Appends the instances that are not removed to the record. */
void removal_left(const struct removal *removal, struct deploy *record);
void removal_free(struct removal *removal);

/* claiming.c: reads all claims, writes the missing ones, and reads all again */
struct claiming;
struct claiming *claiming_new(struct rollout *rollout);
enum phase_result claiming_poll(struct claiming *claiming);
void claiming_free(struct claiming *claiming);

/* phase-*.c: start and poll of each row, named phase_<name>_start and _poll */
#define PHASE(name)                                              \
	enum phase_result name##_start(struct rollout *rollout); \
	enum phase_result name##_poll(struct rollout *rollout)
PHASE(phase_lease);
PHASE(phase_head);
PHASE(phase_load);
PHASE(phase_preview);
PHASE(phase_open);
PHASE(phase_list);
PHASE(phase_sweep);
PHASE(phase_plan);
PHASE(phase_lock);
PHASE(phase_claim);
PHASE(phase_prepare);
PHASE(phase_start);
PHASE(phase_manifest);
PHASE(phase_query);
PHASE(phase_commit);
PHASE(phase_confirm);
PHASE(phase_clean);
PHASE(phase_abort);
PHASE(phase_resume);
PHASE(phase_close);
PHASE(phase_unlock);
PHASE(phase_release);
PHASE(phase_end);
#undef PHASE

#endif
