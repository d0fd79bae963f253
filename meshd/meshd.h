/* meshd: this machine's place in the mesh. On one machine: who it is, the configurations of the two
 * nats-servers, the streams at the first start, this machine's records, and an eye on the store. */
#ifndef PLOYZ_MESHD_H
#define PLOYZ_MESHD_H

#include "lib/ployz.h"

/* The user of an operator's programs on the local bus. */
#define OPERATOR "operator"

/* The store's streams: what they may hold. JetStream reserves these bytes when it makes them. */
#define INTENT_MAX_BYTES (512ull << 20)
#define INTENT_HISTORY 256 /* entries of one subject: at least 50 revisions of a namespace */
#define STATUS_MAX_BYTES (128ull << 20)
#define STATUS_MAX_AGE_USEC (90ull * 24 * 3600 * 1000000)
#define LEASES_MAX_BYTES (16ull << 20)
/* What a server's streams may hold together, with room for one more of the log beside it. */
#define FILE_STORE_MAX_BYTES (1280ull << 20)
#define STREAM_ALARM_PERCENT 80

/* The store is asked again this soon while it has not answered yet: at a start it comes within
 * tenths of a second, and every daemon waits for what meshd makes in it. */
#define STORE_RETRY_USEC 50000ull
#define STORE_RETRY_MAX_USEC 1000000ull
#define STORE_ASK_USEC 2000000ull
/* How often the store and the copy are looked at afterwards. */
#define WATCH_USEC 10000000ull
/* While a server is not well, or its disk is full, it is looked at this often. */
#define WATCH_TROUBLE_USEC 2000000ull
/* A disk with less is full as far as a server's start is concerned … */
#define DISK_ROOM_BYTES (4ull << 20)
/* … and with less than this, or than a twentieth of itself, it is told. */
#define DISK_ALARM_BYTES (512ull << 20)
/* A server that writes no more is started again, this long after the last time at the soonest, and
 * so many times without having been well in between. */
#define SERVER_AGAIN_USEC 15000000ull
#define SERVER_AGAIN_MAX 3
/* Said aloud, at most once in this time, while the store does not answer. */
#define STORE_SILENT_USEC 5000000ull

struct meshd_config {
	struct daemon_config daemon;
	bool prepare; /* write identity, credentials and the servers' configuration, and leave */
	char *name;   /* this machine's name; NULL: the host's */
	char *region; /* where a machine without a record is put */
	char *leaf_listen; /* address:port where the store takes leaf links */
	char *bus_data;	   /* the local bus's JetStream directory */
	char *store_data;  /* the store's */
	char *nats_server; /* the program */
	char *subnet;	   /* 10.B.0.0/16: one of it is claimed; 10.B.N.0/24: this one */
};

/* --- permissions.c: pure. Who may say and hear what. */

struct permissions {
	char **publish;
	char **subscribe;
};
/* The users of the local bus, NULL-terminated: one for each daemon, and the operator. */
extern const char *const permission_users[];
/* What a user of the local bus may do on this machine: its doorplate, what it asks of others, what
 * it writes, what it reads of the streams. */
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
	char *leaf;  /* host:port where it takes leaf links */
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
	int64_t generation; /* of the founding: names the cluster */
	const struct render_member *members;
	size_t n_members;
	const struct render_user *machines; /* whose leaf links are taken */
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
/* The `attempt`-th third byte that this machine tries: begins at a hash of its id and goes round;
 * -1 when all were tried. */
int plan_subnet(const struct plan_pool *pool, const char *machine, unsigned attempt);
/* `10.101.7.0/24`, and the words of its claim's subject: `10-101-7`; owned by the caller. */
char *plan_subnet_text(const struct plan_pool *pool, int third);
char *plan_subnet_claim(const struct plan_pool *pool, int third);
/* The third byte of a subnet's text when the pool has it, or -1. */
int plan_subnet_parse(const struct plan_pool *pool, const char *text);
/* What meshd knows of its machine at this start. */
struct plan_facts {
	const char *machine;
	const char *name;
	const char *region;
	const char *subnet;
	const char *arch;
	const char *version;
	const char *now; /* RFC 3339 */
};
/* The machine's record as it should be: `actual` (NULL: there is none) with what has changed, owned
 * by the caller; NULL when it stands as it is. What operators set (life cycle, region, zone,
 * labels) is kept. `ret_why` says in words what changed; owned by the caller. */
struct machine *plan_record(const struct machine *actual, const struct plan_facts *facts,
			    char **ret_why);

/* --- identity.c: who this machine is; its files. */

struct identity {
	char *machine; /* id */
	char *leaf_password;
	struct render_user *users; /* of the local bus, in the order of permission_users */
	size_t n_users;
};
/* Reads what `directory` holds and makes what it lacks: the id, a random password for each user.
 * The directory gets mode 0700, files 0600. 0 or negative errno after having said why. */
int identity_open(const char *directory, struct identity *ret);
void identity_clear(struct identity *identity);

/* --- prepare.c: --prepare, before the servers run. */

/* 0 or negative errno after having said why. */
int meshd_prepare(const struct meshd_config *config);

/* --- meshd.c and the acting files */

enum watch_state { WATCH_UNKNOWN, WATCH_ANSWERS, WATCH_SILENT };

/* A stream as it was seen last. */
struct watched_stream {
	const char *name;
	const char *domain;
	uint64_t bytes, max_bytes;
	uint64_t messages, last_sequence;
	uint64_t lag; /* of a copy: entries behind */
	bool alarmed; /* said that it is over the alarm's line */
	bool seen;
	struct bus_request *request; /* on its way */
	struct meshd *meshd;
};

/* One of the machine's two nats-servers, and the disk that it writes on. */
struct watched_server {
	const char *words; /* `the store`, `the local bus` */
	const char *domain;
	const char *data;     /* its directory */
	const char *rendered; /* its configuration, by which its process is known */
	uint64_t room, size;  /* of the disk, bytes; size 0: not known */
	bool full, low;	      /* said so */
	char *trouble;	      /* in its own words, or NULL */
	unsigned again;	      /* times that it was ended since it was well */
	uint64_t again_usec;  /* boot time of the last one; 0: none */
	struct bus_request *request;
	struct meshd *meshd;
};

enum founding_step {
	FOUNDING_INTENT, /* streams and bucket of the store, in this order … */
	FOUNDING_STATUS,
	FOUNDING_LEASES,
	FOUNDING_COPY,	 /* … then this machine's copy */
	FOUNDING_RECORD, /* the machine's record is read */
	FOUNDING_SUBNET, /* and its subnet claimed, where it has none */
	FOUNDING_WRITE,	 /* the record written, when it changed */
	FOUNDING_REGION,
	FOUNDING_DONE,
};

struct meshd {
	const struct meshd_config *config;
	struct daemon *daemon;
	sd_event *loop;
	struct bus *bus;
	const char *machine; /* id; the configuration's */
	char *name;
	char *arch;

	/* founding.c, records.c */
	enum founding_step step;
	struct timer *retry; /* of the step that the store did not answer */
	uint64_t retry_usec; /* the next pause */
	uint64_t
		silent_since; /* boot time of the first question without an answer; 0: it answers */
	bool silent_said;
	struct bus_request *request; /* the step's question on its way */
	struct machine *record;	     /* as the log has it, or NULL */
	uint64_t record_sequence;    /* 0: none */
	struct machine *wanted;	     /* the record to be written */
	char *wanted_why;
	struct plan_pool pool;
	int subnet; /* third byte, or -1 */
	unsigned subnet_attempt;
	void (*ready)(struct meshd *meshd); /* when the founding is done */

	/* watch.c */
	struct timer *watch;
	struct watched_server servers[2]; /* the store, the local bus */
	struct watched_stream streams[4]; /* intent, status, leases, the copy */
	enum watch_state store;
	uint64_t store_since; /* CLOCK_REALTIME of the last change of `store` */
};

struct meshd *meshd_new(struct daemon *daemon, const struct meshd_config *config);
void meshd_free(struct meshd *meshd);
DEFINE_CLEANUP(struct meshd, meshd_free);

/* founding.c: walks the steps; each is repeated until the store answers, then `ready` is called. */
void founding_start(struct meshd *meshd);
void founding_free(struct meshd *meshd);
/* The step in words; static text. */
const char *founding_words(const struct meshd *meshd);
/* For records.c: goes on to a step; asks the same again after a pause. */
void founding_go(struct meshd *meshd, enum founding_step step);
void founding_again(struct meshd *meshd, const struct failure *failure);

/* records.c: the steps from FOUNDING_RECORD on. */
void records_step(struct meshd *meshd);

/* watch.c: looks at the streams and the link every WATCH_USEC. */
void watch_start(struct meshd *meshd);
void watch_free(struct meshd *meshd);
json_t *watch_status(const struct meshd *meshd);

/* servers.c: whether the two nats-servers can write, and what is done when they cannot. */
void servers_start(struct meshd *meshd);
void servers_free(struct meshd *meshd);
void servers_look(struct meshd *meshd);
/* One of them is not well, or its disk is full. */
bool servers_trouble(const struct meshd *meshd);
json_t *servers_status(const struct meshd *meshd);
/* The decision alone (pure). */
enum server_step {
	SERVER_LEAVE, /* it is well, or its disk is still full, or it was ended just now */
	SERVER_AGAIN, /* end it: whoever supervises it starts it again, and it takes up its files */
	SERVER_GIVE_UP, /* it was started again often enough */
};
enum server_step server_decide(const struct watched_server *server, uint64_t now);

/* bus.c: the doorplate. 0 or negative errno. */
int meshd_serve(struct meshd *meshd);

#endif
