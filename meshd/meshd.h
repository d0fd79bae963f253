/* meshd: this machine's membership of the cluster. On one machine: its identity, the configuration
 * of the two nats-servers, the bootstrap of the store, this machine's records, and reports on the
 * store. */
#ifndef PLOYZ_MESHD_H
#define PLOYZ_MESHD_H

#include "lib/ployz.h"

#include "lib/cas.h"
#include "lib/streams.h"

/* The user of an operator's programs on the local bus. */
#define OPERATOR "operator"

/* Limit of all streams of a server: more than the sum of lib/streams.c, so that a stream can be
 * restored beside the one that it replaces. */
#define FILE_STORE_MAX_BYTES (1280ull << 20)
#define STREAM_ALARM_PERCENT 80

/* Poll interval until the bootstrap is complete: at a start the store answers within tenths of a
 * second, and every daemon waits for the streams. */
#define STORE_RETRY_USEC 50000ull
#define STORE_RETRY_MAX_USEC 1000000ull
#define STORE_ASK_USEC 2000000ull /* one answer of the store or of the local bus */
/* How often streams and local mirrors are polled afterwards, and how often while something is
 * wrong with the store, a server or its disk. */
#define WATCH_USEC 10000000ull
#define WATCH_ERROR_USEC 2000000ull
/* An error of the store is reported when a second poll, after this time, finds the same one:
 * streams are not polled at one instant, and a new leader may be behind for a moment. */
#define STORE_CONFIRM_USEC 500000ull
/* A lowered limit of entries per subject that another machine's compaction left is raised after
 * this; one that was there when this meshd started at once. */
#define LIMIT_REPAIR_USEC 60000000ull
/* A local mirror that has not advanced for this long although the store has more is rebuilt. After
 * a cut link it attaches again within 17 s. */
#define MIRROR_STALLED_USEC 30000000ull
/* A write of one of this machine's records. */
#define RECORD_USEC 10000000ull
/* A server's start fails on a disk with less … */
#define DISK_ROOM_BYTES (4ull << 20)
/* … and with less than this, or than a twentieth of its size, it is reported. */
#define DISK_ALARM_BYTES (512ull << 20)
/* A server that cannot write any more is restarted, at most once in this time … */
#define SERVER_RESTART_USEC 15000000ull
/* … and so many times without having been healthy in between. */
#define SERVER_RESTARTS_MAX 3
/* A store that does not answer is reported after this time. */
#define STORE_UNREACHABLE_USEC 5000000ull
/* How long an answer of store.usage and the steps of store.compact may take. */
#define USAGE_USEC 15000000ull
#define COMPACT_USEC 30000000ull
#define COMPACT_POLL_USEC 200000ull
/* Manifests that a compaction keeps beyond the one that a head refers to: deploys that are aborted
 * meanwhile append more. */
#define COMPACT_MARGIN 4

struct meshd_config {
	struct daemon_config daemon;
	bool prepare; /* write identity, credentials and the servers' configuration, and exit */
	char *init;   /* with prepare: request the bootstrap of this cluster; NULL: no */
	char *name;   /* this machine's name; NULL: the host's */
	char *region; /* of a machine without a member record */
	char *leaf_listen; /* address:port where the store accepts leaf links */
	char *bus_data;	   /* the local bus's JetStream directory */
	char *store_data;  /* the store's */
	char *nats_server; /* the program */
	char *subnet;	   /* 10.B.0.0/16: one /24 of it is claimed; 10.B.N.0/24: this one */
};

/* --- permissions.c: pure. What each user may publish and subscribe to. */

struct permissions {
	char **publish;
	char **subscribe;
};
/* The users of the local bus, NULL-terminated: one for each daemon, and the operator. */
extern const char *const permission_users[];
/* The permissions of a user of the local bus on this machine: its endpoints, the verbs that it may
 * request, the subjects that it appends, the streams that it reads. */
void permissions_local(const char *user, const char *machine, struct permissions *ret);
/* What the store lets a machine's leaf link do: the sum of its users', bound to this machine. */
void permissions_leaf(const char *machine, struct permissions *ret);
void permissions_clear(struct permissions *permissions);

/* --- render.c: pure. The configurations of the two nats-servers. */

struct render_user {
	char *name;
	char *password;
};
struct render_member { /* one store of the quorum */
	char *machine;
	char *route; /* host:port of its cluster listener; NULL while the store stands alone */
	char *leaf;  /* host:port where it accepts leaf links */
};
struct render_bus {
	const char *machine;
	const char *listen; /* host:port for clients; loopback */
	const char *data;   /* JetStream's directory */
	const struct render_user *users;
	size_t n_users;
	const struct render_member *stores; /* every store that the leaf link may use */
	size_t n_stores;
	const char *leaf_password; /* the machine's own, as the store knows it */
};
struct render_store {
	const char *machine; /* where this store runs */
	const char *data;
	int64_t generation; /* of the store migration: names the cluster */
	const struct render_member *members;
	size_t n_members;
	const struct render_user *machines; /* whose leaf links are accepted */
	size_t n_machines;
};
/* nats-server's configuration as text, owned by the caller. */
char *render_bus(const struct render_bus *bus);
char *render_store(const struct render_store *store);

/* --- plan.c: pure. Names, subnets, and whether a record has to be written. */

/* A valid name made from a host name: `Web_01.example.org` → `web-01`; owned by the caller. */
char *plan_name(const char *hostname);
/* Where the containers' /24 may come from: 10.<base>.<third>.0/24, third -1: any. */
struct plan_pool {
	int base;
	int third;
};
/* `10.101.0.0/16` or `10.101.7.0/24`. 0 or -EINVAL. */
int plan_pool_parse(const char *text, struct plan_pool *ret);
/* The `attempt`-th third byte that this machine tries: begins at a hash of its id and wraps;
 * -1 when all were tried. */
int plan_subnet(const struct plan_pool *pool, const char *machine, unsigned attempt);
/* `10.101.7.0/24`, and the token of its claim's subject: `10-101-7`; owned by the caller. */
char *plan_subnet_text(const struct plan_pool *pool, int third);
char *plan_subnet_claim(const struct plan_pool *pool, int third);
/* The third byte of a subnet's text when the pool contains it, or -1. */
int plan_subnet_parse(const struct plan_pool *pool, const char *text);
/* What meshd knows of its machine at this start. */
struct plan_machine {
	const char *machine;
	const char *name;
	const char *region;
	const char *subnet;
	const char *arch;
	const char *version;
	int64_t cpus;
	uint64_t memory;    /* bytes */
	int64_t generation; /* of the store */
	const char *now;    /* RFC 3339 */
	const char *nonce;  /* of the write that may follow */
};
/* The record to write: `actual` (NULL: there is none) with the changed values, owned by the caller;
 * NULL when nothing has changed. Values that operators set (life cycle, region, zone, labels, seat)
 * are kept. `ret_why` names the changes; owned by the caller. */
struct member *plan_member(const struct member *actual, const struct plan_machine *machine,
			   char **ret_why);
struct machine_facts *plan_facts(const struct machine_facts *actual,
				 const struct plan_machine *machine, char **ret_why);

/* --- identity.c: who this machine is; its files. */

struct identity {
	char *machine; /* id */
	char *leaf_password;
	struct render_user *users; /* of the local bus, in the order of permission_users */
	size_t n_users;
};
/* Reads what `directory` holds and makes what it lacks: the id, a random password for each user.
 * The directory gets mode 0700, files 0600. 0 or negative errno after having logged why. */
int identity_open(const char *directory, struct identity *ret);
void identity_clear(struct identity *identity);
/* Creates the directory with `mode`, its missing parents with 0755. 0 or negative errno, logged. */
int private_directory(const char *path, unsigned mode);

/* --- prepare.c: --prepare, before the servers run. */

/* 0 or negative errno after having logged why. */
int meshd_prepare(const struct meshd_config *config);

/* --- marker.c: the files of the state directory. */

/* The last entry of a stream that was seen. */
struct seen {
	int64_t sequence;
	int64_t time_usec; /* when the store took it; 0: not known */
};
/* <state>/store.json: the store that this machine belongs to. While it exists, streams are created
 * only by store.accept. */
struct marker {
	char *cluster; /* as `init` named it; NULL on a machine that joined a store */
	char *store;   /* random id of the store */
	int64_t generation;
	struct seen seen[STREAMS_COUNT];
	char *since; /* RFC 3339 */
};
DEFINE_MODEL(marker);
/* <state>/init.json: the request of `init` or `dev` to create the streams. */
struct init_request {
	char *cluster;
	char *store; /* the id that the store will have */
	char *since; /* RFC 3339 */
};
DEFINE_MODEL(init_request);
/* <state>/facts.json: the nonces of this machine's own writes to facts.<machine>. */
struct facts_note {
	char *written;	/* of the last write that was confirmed; NULL: none */
	char **pending; /* of later writes with an unknown outcome */
};
DEFINE_MODEL(facts_note);

/* *ret NULL: there is none. 0, or negative errno with `failure` when it cannot be read. */
int marker_read(const char *state, struct marker **ret, struct failure *failure);
int init_request_read(const char *state, struct init_request **ret, struct failure *failure);
int facts_note_read(const char *state, struct facts_note **ret, struct failure *failure);
/* 0 or negative errno. */
int marker_write(const char *state, const struct marker *marker);
int init_request_write(const char *state, const struct init_request *request);
int facts_note_write(const char *state, const struct facts_note *note);
void init_request_remove(const char *state);
/* Records the request to create the store of cluster `name`. Nothing to do, and 0, when this
 * machine's marker or request names that cluster. 0 or negative errno after having logged why. */
int init_request_make(const char *state, const char *name);

/* --- poll.c: the streams of the store and the local mirrors as STREAM.INFO shows them. */

enum poll_result { POLL_UNANSWERED, POLL_ABSENT, POLL_PRESENT };
struct polled_stream {
	enum poll_result result;
	int64_t generation; /* of its metadata; 0: none */
	char *store;	    /* the same; NULL: none */
	uint64_t messages, bytes, max_bytes;
	int64_t last_sequence;
	int64_t last_time_usec; /* 0: no entry */
	int64_t per_subject;	/* entries that a subject keeps; 0: no limit */
	int64_t replicas;
	json_t *config; /* its whole StreamConfig */
};
struct poll {
	struct polled_stream store[STREAMS_COUNT];
	struct polled_stream mirrors[STREAMS_COUNT]; /* only where streams_rows says `mirrored` */
	struct seen marked; /* the entry of PLOYZ_INTENT that the marker names last; 0: dropped, or
			       not read */
	struct failure unanswered; /* why a stream of the store is POLL_UNANSWERED */
};
void poll_free(struct poll *poll);
struct polling;
/* Passes ownership of `poll`. Called once, after poll_start has returned, unless cancelled. */
typedef void (*poll_fn)(struct poll *poll, void *userdata);
struct meshd;
struct polling *poll_start(struct meshd *meshd, poll_fn fn, void *userdata);
void poll_cancel(struct polling *polling);

/* A local mirror that is behind and does not advance. */
struct stall {
	int64_t sequence; /* its last */
	uint64_t since;	  /* boot time; 0: it is not behind */
};

/* --- verdict.c: pure. Judges the store from its streams, the marker and the local mirrors. */

enum store_state {
	STORE_UNKNOWN,	     /* not polled yet */
	STORE_UNREACHABLE,   /* it does not answer */
	STORE_UNINITIALISED, /* no streams, no marker, no request to create them */
	STORE_CREATE,	     /* requested streams are missing */
	STORE_TAKE,	     /* good, and of another generation than the marker, or without one */
	STORE_GOOD,
	/* Errors: nothing is written until an operator decides. */
	STORE_FOREIGN,	/* to be created, but it has streams of another store */
	STORE_MISSING,	/* streams that this machine has seen are missing */
	STORE_OTHER,	/* another store than this machine's */
	STORE_MIXED,	/* its streams have different generations */
	STORE_OLDER,	/* a lower generation than this machine has seen */
	STORE_BEHIND,	/* the end of a stream is before what this machine has seen */
	STORE_DIVERGED, /* another entry at a sequence that this machine has seen */
};
extern const char *const store_state_names[];
struct store_verdict {
	enum store_state state;
	enum streams_id stream; /* the stream that shows the error */
	int64_t seen, is;	/* generations (OLDER, MIXED) or sequences (BEHIND, DIVERGED) */
};
bool store_is_error(enum store_state state);
/* What this machine has seen: the marker, raised by local mirrors of the same store and generation;
 * without a marker the newest mirrors. NULL: nothing. Owned by the caller. */
struct marker *store_known(const struct marker *marker, const struct poll *poll);
/* `marker` may be NULL, and so may `known` and `request`. */
struct store_verdict store_judge(const struct marker *marker, const struct marker *known,
				 const struct init_request *request, const struct poll *poll);
/* The error of a verdict, with the next step. */
void store_failure(const struct store_verdict *verdict, const struct marker *known,
		   const struct init_request *request, const struct poll *poll,
		   struct failure *ret);
/* The marker after a poll that was judged TAKE or GOOD; owned by the caller. `ret_changed`: whether
 * it has to be written. */
struct marker *store_mark(const struct marker *marker, const struct marker *known,
			  const struct init_request *request, const struct poll *poll,
			  const char *now, bool *ret_changed);
/* The store id and generation that accepting this store gives to all its streams. The id is
 * borrowed. */
const char *store_accept_id(const struct marker *known, const struct init_request *request,
			    const struct poll *poll);
int64_t store_accept_generation(const struct marker *known, const struct poll *poll);
/* Whether a stream is over the alarm's line. */
bool stream_alarm(uint64_t bytes, uint64_t max_bytes);
/* Whether changes will be refused soon: the same of a stream that does not drop its oldest
 * entries. */
bool stream_refuses(enum streams_id id, const struct polled_stream *stream);
/* What has to be done about a local mirror, its store and the marker being good. */
enum mirror_step {
	MIRROR_LEAVE,
	MIRROR_CREATE,	/* it starts with the stream */
	MIRROR_DELETE,	/* of another store or generation, and the stream is empty */
	MIRROR_UPDATE,	/* its limit is another than it should be */
	MIRROR_REBUILD, /* missing, outdated or stalled, and the stream has entries */
};
enum mirror_step mirror_decide(const struct polled_stream *mirror,
			       const struct polled_stream *stream, const struct marker *marker,
			       int64_t per_subject, bool stalled);
/* Follows a mirror from poll to poll; whether it has stalled. */
bool mirror_stalled(struct stall *stall, const struct polled_stream *mirror,
		    const struct polled_stream *stream, uint64_t now);
/* Whether a local mirror was created from another store or generation. */
bool mirror_outdated(const struct polled_stream *mirror, const struct marker *marker);

/* --- account.c: pure. Bytes and entries of each namespace. */

struct account;
struct account *account_new(void);
void account_free(struct account *account);
/* Counts one entry of a stream: its subject and the size of its payload. */
void account_entry(struct account *account, const char *subject, int64_t sequence, size_t size);
/* Takes the last entry of a namespace's head or of a route claim. */
void account_head(struct account *account, const struct head *head);
void account_claim(struct account *account, const char *subject, const char *ns);
/* The namespaces, by name, into `usage`. */
void account_usage(const struct account *account, struct store_usage *usage);
/* Entries per subject of PLOYZ_MANIFESTS that must stay so that every head keeps its manifest. At
 * least 1. */
int64_t account_manifests_kept(const struct account *account);

/* --- usage.c: store.usage. */

struct usage;
struct accounting;
/* Gets a failure, or the account with its ownership. Called once unless cancelled. */
typedef void (*accounting_fn)(const struct failure *failure, struct account *account,
			      void *userdata);
struct accounting *accounting_start(struct meshd *meshd, accounting_fn fn, void *userdata);
void accounting_cancel(struct accounting *accounting);
void usage_serve(struct bus_call *call, void *request, void *userdata);
void usage_free(struct meshd *meshd);

/* --- compact.c: store.compact, which lowers limits temporarily. */

struct compaction;
void compact_serve(struct bus_call *call, void *request, void *userdata);
/* Compacts this machine's mirrors after a compaction on another machine. */
void compact_mirrors(struct meshd *meshd);
void compact_free(struct meshd *meshd);

/* --- accept.c: store.accept. */

struct accepting;
void accept_serve(struct bus_call *call, void *request, void *userdata);
void accept_free(struct meshd *meshd);

/* --- operations.c: several changes of streams, awaited together. */

struct operations;
/* `failure` is the first one, or NULL. Called once, never before operations_run has returned. */
typedef void (*operations_fn)(const struct failure *failure, void *userdata);
struct operations *operations_new(struct meshd *meshd, operations_fn fn, void *userdata);
/* `config` is taken over; NULL for STREAM_DELETE. `mirror`: of this machine's local mirror. */
void operations_add(struct operations *operations, enum stream_verb verb, enum streams_id id,
		    bool mirror, json_t *config);
size_t operations_count(const struct operations *operations);
/* Sends them. With none, operations_fn is called from the loop all the same. */
void operations_run(struct operations *operations);
void operations_free(struct operations *operations);

/* --- rebuild.c: a local mirror from a snapshot of the store. */

struct rebuilding;
/* One at a time: meshd->rebuilding until it has ended; then the store is polled. */
void rebuild_start(struct meshd *meshd, enum streams_id id);
bool rebuild_is_of(const struct meshd *meshd, enum streams_id id);
void rebuild_free(struct meshd *meshd);

/* --- meshd.c and the acting files */

/* One of the machine's two nats-servers, and the disk that it writes on. */
struct watched_server {
	const char *label; /* `the store`, `the local bus` */
	const char *domain;
	const char *data;      /* its directory */
	const char *rendered;  /* its configuration, by which its process is known */
	uint64_t room, size;   /* of the disk, bytes; size 0: not known */
	bool full, low;	       /* reported */
	char *error;	       /* as the server states it, or NULL */
	unsigned restarts;     /* since it was healthy */
	uint64_t restart_usec; /* boot time of the last one; 0: none */
	struct bus_request *request;
	struct meshd *meshd;
};

/* Something that is retried. */
struct failing {
	uint64_t since; /* boot time of the first failure; 0: it does not fail */
	bool reported;
};

enum bootstrap_step {
	BOOTSTRAP_POLL,	   /* the store has not been judged yet, or does not answer */
	BOOTSTRAP_WAIT,	   /* for `ployzctl init` */
	BOOTSTRAP_CREATE,  /* the streams of the store */
	BOOTSTRAP_MIRRORS, /* the local mirrors, and limits that a compaction left */
	BOOTSTRAP_RECORDS,
	BOOTSTRAP_DONE,
	BOOTSTRAP_ERROR, /* an operator has to decide */
};

/* records.c goes through these in this order. */
enum record_step {
	RECORD_FACTS,
	RECORD_MEMBER,
	RECORD_SUBNET,
	RECORD_ADMISSION,
	RECORD_REGION,
	RECORD_DONE,
};

struct meshd {
	const struct meshd_config *config;
	struct daemon *daemon;
	sd_event *loop;
	struct bus *bus;
	const char *machine; /* id; the configuration's */
	char *name;
	char *arch;
	int64_t cpus;
	uint64_t memory; /* bytes */

	/* bootstrap.c */
	struct marker *marker;	      /* as written; NULL: none */
	struct init_request *init;    /* NULL: none */
	struct poll *poll;	      /* the last one; NULL: none yet */
	struct marker *known;	      /* what marker and mirrors show together, at that poll */
	struct store_verdict verdict; /* of that poll */
	struct failure error;	      /* of the store; empty: none, or not confirmed */
	enum store_state suspected;   /* error that the poll before has found */
	uint64_t since;		      /* CLOCK_REALTIME of the last change of verdict.state */
	enum bootstrap_step step;
	struct polling *polling;
	struct operations *operations;
	struct timer *timer;	    /* of the next poll */
	uint64_t retry_usec;	    /* the next pause until the bootstrap is done */
	struct failing unreachable; /* the store does not answer */
	struct failing failing;	    /* a step that is repeated */
	bool settled;		    /* there is nothing to wait for: meshd may be ready */
	bool marker_failed;	    /* reported that it cannot be written */
	uint64_t lowered_since;	    /* boot time since when a limit has been too low; 0: none */
	bool started;		    /* the first complete bootstrap is done */

	struct rebuilding *rebuilding;	    /* NULL: none */
	struct stall stalls[STREAMS_COUNT]; /* of the local mirrors */

	/* records.c */
	enum record_step record_step;
	struct bus_request *request; /* a step's read */
	struct cas *cas;	     /* a step's write */
	struct facts_note *note;     /* as stored in the file */
	char *nonce;		     /* of the write that is under way */
	struct failure clone;	     /* another machine writes as this one; empty: no */
	struct member *member;	     /* as the log has it, or NULL */
	uint64_t member_sequence;    /* 0: none */
	struct member *member_wanted;
	struct machine_facts *facts_wanted;
	char *wanted_why;
	struct plan_pool pool;
	int subnet; /* third byte, or -1 */
	unsigned subnet_attempt;
	uint64_t claim_sequence;	 /* of the claim that may be overwritten; 0: none */
	struct bus_request *facts_check; /* is the last entry still this machine's? */

	/* watch.c */
	bool alarmed[STREAMS_COUNT];	  /* reported */
	bool mirrors_unanswered;	  /* reported */
	struct watched_server servers[2]; /* the store, the local bus */
	uint64_t servers_polled;	  /* boot time of the last poll */

	/* usage.c, compact.c, accept.c */
	struct usage *usage;
	struct compaction *compaction;
	int64_t mirror_excess[STREAMS_COUNT]; /* entries beyond the store's, when last measured */
	struct accepting *accepting;
};

struct meshd *meshd_new(struct daemon *daemon, const struct meshd_config *config);
void meshd_free(struct meshd *meshd);
DEFINE_CLEANUP(struct meshd, meshd_free);

/* The StreamConfig of a local mirror of the store that the marker names; an own reference. */
json_t *mirror_config(const struct meshd *meshd, enum streams_id id);
/* bootstrap.c: polls the store, judges it, and does what the verdict calls for. */
void bootstrap_start(struct meshd *meshd);
void bootstrap_free(struct meshd *meshd);
/* The current activity; static text. */
const char *bootstrap_step_text(const struct meshd *meshd);
/* Polls within `usec`. */
void bootstrap_poll_within(struct meshd *meshd, uint64_t usec);
/* Called by records.c: all records are written; a step has to be repeated. */
void bootstrap_records_done(struct meshd *meshd);
void bootstrap_retry(struct meshd *meshd, const char *what, const struct failure *failure);
/* Adopts the store of this poll, judged TAKE or GOOD, as this machine's. 0 or negative errno. */
int bootstrap_mark(struct meshd *meshd, const struct poll *poll);
/* Refuses a store verb while the store is not good. 0, or -1 × errno with `failure`. */
int bootstrap_require_good(const struct meshd *meshd, struct failure *failure);

/* records.c */
void records_run(struct meshd *meshd);
void records_stop(struct meshd *meshd);
/* Whether the last entry of this machine's facts is still its own. */
void records_check(struct meshd *meshd);
void records_free(struct meshd *meshd);

/* watch.c: reports the results of a poll in log and status. */
void watch_report(struct meshd *meshd);
json_t *watch_status(const struct meshd *meshd);

/* servers.c: whether the two nats-servers can write, and what is done when they cannot. */
void servers_start(struct meshd *meshd);
void servers_free(struct meshd *meshd);
void servers_poll(struct meshd *meshd);
/* Whether a server reports an error, or its disk is full. */
bool servers_error(const struct meshd *meshd);
json_t *servers_status(const struct meshd *meshd);
/* The decision alone (pure). */
enum server_step {
	SERVER_LEAVE,	/* healthy, or its disk is still full, or it was restarted just now */
	SERVER_RESTART, /* end it: its supervisor starts it again */
	SERVER_GIVE_UP, /* it was restarted often enough */
};
enum server_step server_decide(const struct watched_server *server, uint64_t now);
/* Whether the server can store `bytes` more, twice over (pure). */
bool server_has_room(const struct watched_server *server, uint64_t bytes);

/* bus.c: the endpoints. 0 or negative errno. */
int meshd_serve(struct meshd *meshd);

#endif
