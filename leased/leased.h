/* leased: deploy leases. The holder of a namespace's lease executes a rollout through its phases
 * and commits it. rollout.h declares the model and its decisions; the files declared here carry
 * them out. */
#ifndef PLOYZ_LEASED_H
#define PLOYZ_LEASED_H

#include <sys/queue.h>

#include "leased/rollout.h"

#define RECORDS_KEPT 16 /* records of ended deploys, for a late attach */
#define RECORD_TRIES 10 /* writes of the final record; then the end is reported without it */
#define RECOGNISE_USEC (15 * 1000000ull) /* deadline for reading whether a deploy's id is known */

struct leased_config {
	struct daemon_config daemon;
};

struct execution;
struct attaching;
struct breaking;

struct leased {
	struct daemon *daemon;
	const struct leased_config *config;
	const char *machine;		    /* this machine's id; borrowed from the configuration */
	char *incarnation;		    /* id of this start of leased */
	struct lease_watch *watch;	    /* watches the lease bucket */
	struct projection *projection;	    /* the machine view: members of the log */
	struct map members;		    /* ids of the machines that take part → any value */
	LIST_HEAD(, execution) executions;  /* rollouts under way */
	LIST_HEAD(, attaching) attachings;  /* deploys whose records are being read or resolved */
	LIST_HEAD(, breaking) breakings;    /* leases that are being broken */
	struct deploy *ended[RECORDS_KEPT]; /* records of the last ended deploys, oldest first */
	size_t n_ended;
	uint64_t executed;		  /* deploys since the start */
	const char *failpoints;		  /* directory of a test's failpoints; NULL: none */
	sd_event_source *failpoint_watch; /* watches that directory */
};

/* leased.c */
struct leased *leased_new(struct daemon *daemon, const struct leased_config *config);
int leased_start(struct leased *leased);
void leased_free(struct leased *leased);
DEFINE_CLEANUP(struct leased, leased_free);
/* The machines that take part, sorted, owned by the caller. False: the machine view is not live. */
bool leased_members(const struct leased *leased, char ***ret);
int64_t leased_generation(const struct leased *leased);

/* bus.c: the endpoints. 0 or negative errno after the reason was logged. */
int leased_serve(struct leased *leased);
void breakings_free(struct leased *leased);

/* failpoint.c: stops a rollout at a phase, for tests */
/* Watches the directory that PLOYZ_FAILPOINT names, if it does. 0 or negative errno after the
 * reason was logged. */
int failpoint_start(struct leased *leased);
bool failpoint_is_set(const struct leased *leased, const char *ns, const char *point);

/* execution.c: connects one rollout to bus, store, lease and machine view */
struct execution {
	LIST_ENTRY(execution) entry;
	struct leased *leased;
	struct rollout *rollout;
	uint64_t began_usec; /* boot_now_usec */
	struct held_lease *lease;
	struct bus_subscription *progress; /* progress of this deploy from agentd */
	struct timer *tick;
	struct deferred *poll;
	struct record_writer *writer;
	bool reported;			 /* the end was reported */
	struct record_closing *closings; /* other deploys' records that are being closed */
	void (*done)(struct execution *execution,
		     void *userdata); /* may be NULL; called before the execution is freed */
	void *done_userdata;
};
struct execution *execution_new(struct leased *leased, const struct deploy_request *request);
void execution_free(struct execution *execution);
/* The rollout of this deploy that is under way here, or NULL. */
struct execution *execution_find(const struct leased *leased, const char *deploy);
/* The record of a deploy that is under way here or ended recently, or NULL; borrowed. */
const struct deploy *execution_record(const struct leased *leased, const char *deploy);
/* The end was reported: keeps the record, and frees the execution outside its own callbacks. */
void execution_ended(struct execution *execution);

/* execution-store.c: reads and appends of a rollout */
void execution_read_last(struct store_read *read, const char *stream, const char *subject);
void execution_read_at(struct store_read *read, const char *stream, uint64_t sequence);
void execution_read_next(struct store_read *read, const char *subject, uint64_t after);
void execution_read_history(struct store_read *read, const char *subject);
void execution_read_claims(struct store_read *read);
void execution_cancel_read(struct store_read *read);
void execution_append(struct store_write *write, const struct store_append *append);
void execution_cancel_write(struct store_write *write);
/* The lease was renewed: the append that is on its way may be repeated for longer. */
void execution_extend_write(struct execution *execution);

/* record.c: the durable status record, and progress */
void record_write(struct execution *execution, bool final);
void record_writer_free(struct record_writer *writer);
/* Reads another deploy's record and writes its end, unless it has ended; best effort. */
void record_close(struct execution *execution, const char *deploy, enum deploy_phase phase,
		  const char *note);
void record_closings_free(struct execution *execution);
void progress_send(struct execution *execution, struct progress *progress);
/* The end of a deploy, with its record. */
void progress_send_end(struct leased *leased, const struct deploy *record, uint64_t elapsed_usec);

/* attach.c: reports the record of any deploy, and resolves unknown outcomes */
void attach_serve(struct leased *leased, struct bus_call *call, const struct deploy_ref *ref);
/* Executes the request, unless the status stream knows its deploy already. Takes the call. */
void attach_or_execute(struct leased *leased, struct bus_call *call,
		       const struct deploy_request *request);
void attachings_free(struct leased *leased);

#endif
