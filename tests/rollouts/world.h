/* World: simulates store, lease, agents, gateways and planner with its own clock, so that a deploy
 * with lost answers, crashes and takeovers runs in a millisecond. It simulates the receivers of
 * leased's requests as the design describes them; the rollouts are leased's own code. */
#ifndef PLOYZ_TESTS_ROLLOUTS_WORLD_H
#define PLOYZ_TESTS_ROLLOUTS_WORLD_H

#include "leased/rollout.h"

#define MS 1000ull
#define S 1000000ull
#define MACHINES 2
#define HOLDERS 3

struct world;

/* --- time: everything that happens later is an event */
typedef void (*event_fn)(struct world *world, void *userdata);
struct event {
	uint64_t at;
	uint64_t order; /* orders events of one time by their creation */
	event_fn fn;
	void *userdata;
	void (*drop)(void *userdata); /* frees an event that does not run; may be NULL */
};

/* --- the store */
struct log_entry {
	const char *stream;
	char *subject, *text;
	uint64_t sequence;
	char *nonce;
	struct head *head; /* decoded; NULL: not a head */
};
struct attempt { /* a pending append; it remains when its writer ends */
	struct world *world;
	struct store_write *write; /* NULL: the writer has ended */
	char *subject, *text, *nonce;
	const char *stream;
	uint64_t expected, deadline;
	enum { ATTEMPT_FLYING, ATTEMPT_STORED, ATTEMPT_CONFLICT } outcome;
	uint64_t sequence;
	bool resolved;	/* the writer has its answer */
	int references; /* events that refer to it */
};

/* --- leases */
struct sim_lease {
	char ns[16];
	bool held;
	int64_t epoch;
	int holder;	/* index of the holder that has the lease */
	uint64_t moved; /* time of the last write */
};

/* --- agents */
struct sim_instance {
	char *id, *ns, *deploy;
	char service[16];
	int64_t slot;
	enum instance_state state;
	bool aborted;  /* stopped as a candidate by a presumed abort */
	char *stopper; /* the deploy that stopped it */
	bool dies;     /* fails soon after it is ready */
	int64_t facts; /* sequence of the fact with this state */
	uint64_t ready_at;
};
struct sim_lock {
	char ns[16];
	char *deploy;
	int64_t epoch, opened;
	bool held;
	uint64_t until;
};
struct sim_agent {
	char name[8];
	bool away;
	struct sim_instance **instances;
	size_t n_instances;
	struct sim_lock locks[2];
	int64_t epochs[2]; /* by namespace */
};

/* --- gateways */
struct sim_gateway {
	bool away;
	uint64_t applied; /* sequence of the log */
};

/* --- holders: one leased each */
struct holder {
	struct world *world;
	int index;
	struct rollout *rollout;
	char ns[16], deploy[16];
	bool frozen, dead, started;
	int64_t epoch;
	uint64_t deadline;
	bool scheduled;
	bool final; /* this rollout runs without faults */
	uint64_t ended_at;
	struct deploy *record; /* its final record */
	char **ready;	 /* instances that the last answer of each agentd.probe reported ready */
	bool lost_watch; /* it does not see that its lease was broken */
	struct phase_row table[PHASE_COUNT];
};

struct options {
	bool faults; /* lost, late and repeated answers; crashes; lost leases */
	bool routes; /* two namespaces claim one host */
	bool stop_first;
	bool fails; /* candidates do not become ready */
	int replicas;
	const struct phase_row *table; /* NULL: phases */
};

struct world {
	uint64_t now;
	uint64_t seed;
	struct options options;
	struct event *events; /* a heap */
	size_t n_events;
	uint64_t order;
	struct log_entry *log;
	size_t n_log;
	uint64_t last; /* sequence */
	int64_t facts; /* last sequence of PLOYZ_FACTS */
	struct sim_lease leases[2];
	struct sim_agent agents[MACHINES];
	struct sim_gateway gateways[MACHINES];
	struct holder holders[HOLDERS];
	uint64_t store_away_until;
	bool calm;	     /* no faults any more */
	char violation[256]; /* the first violation; empty: none */
	bool trace;
};

struct world *world_new(uint64_t seed, const struct options *options);
void world_free(struct world *world);
/* Runs until no event is left or until the time `until`. */
void world_run(struct world *world, uint64_t until);
uint64_t world_random(struct world *world, uint64_t below);
bool world_chance(struct world *world, unsigned percent);
/* A random latency: mostly about a millisecond, sometimes seconds. */
uint64_t world_latency(struct world *world);
void world_at(struct world *world, uint64_t usec_from_now, event_fn fn, void *userdata,
	      void (*drop)(void *userdata));
void world_violation(struct world *world, const char *format, ...) _printf_(2, 3);
int world_namespace(const char *ns); /* 0 or 1 */

/* store.c */
const struct log_entry *store_last(const struct world *world, const char *stream,
				   const char *subject);
const struct log_entry *store_head(const struct world *world, const char *ns);
/* The head of a namespace as of a sequence, or NULL. */
const struct head *store_head_at(const struct world *world, const char *ns, uint64_t sequence);
void store_free(struct world *world);
void sim_read_last(struct store_read *read, const char *stream, const char *subject);
void sim_read_at(struct store_read *read, const char *stream, uint64_t sequence);
void sim_read_next(struct store_read *read, const char *subject, uint64_t after);
void sim_read_history(struct store_read *read, const char *subject);
void sim_read_claims(struct store_read *read);
void sim_cancel_read(struct store_read *read);
void sim_append(struct store_write *write, const struct store_append *append);
void sim_cancel_write(struct store_write *write);
/* Appends a record, without compare-and-set. */
void store_put(struct world *world, const char *stream, const char *subject, const char *text);

/* agents.c: the present answer of an agent, or NULL with the failure */
void *agent_answer(struct world *world, struct sim_agent *agent, enum subject_id subject,
		   const void *request, struct failure *failure);
void agent_renew(struct world *world, struct sim_lock *lock);
void agents_head_changed(struct world *world, const char *ns);
void agent_free(struct sim_agent *agent);

/* neighbours.c: placerd and the gateways */
void *placer_answer(struct world *world, const struct plan_request *request);
void *gateway_answer(struct world *world, int machine, enum subject_id subject, const void *request,
		     struct failure *failure);
void gateways_follow(struct world *world);

/* holders.c */
struct holder *holder_of(const struct rollout *rollout);
void holder_begin(struct world *world, int index, const char *ns, const char *deploy,
		  const char *image, bool sweep);
void holder_break(struct world *world, const char *ns);
void holder_free(struct holder *holder);

/* checks.c */
void check_append(struct world *world, const struct log_entry *entry);
void check_removed(struct world *world, const struct sim_agent *agent,
		   const struct sim_instance *instance);
void check_closed(struct world *world, const char *ns, const char *deploy, enum deploy_phase phase);
void check_end(struct world *world);
void check_committed(struct world *world, const struct head *head);
void check_leaks(struct world *world, const struct head *head);

#endif
