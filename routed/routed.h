/* routed: the gateway. Routing events become the configuration of a running HAProxy. */
#ifndef PLOYZ_ROUTED_H
#define PLOYZ_ROUTED_H

#include "lib/ployz.h"

/* Interval between two polls of HAProxy for its connections and its process. */
#define POLL_USEC 1000000ull
/* The same while a `drained` request waits: HAProxy has no event for a connection that ended. */
#define DRAIN_USEC 50000ull
/* Time limit of one session with HAProxy, which normally takes milliseconds. */
#define SESSION_USEC 5000000ull
/* Time limit of a reload: configuration read, listeners handed over, the new process answers. */
#define RELOAD_USEC 15000000ull
/* Delay after a session or a reload that failed. */
#define RETRY_USEC 1000000ull
/* A newer watermark alone is saved this often, unless a request waits for it. */
#define SAVE_USEC 1000000ull
/* An `applied` request is refused after this, with the reason. */
#define APPLIED_WAIT_USEC 10000000ull
/* The same while an error is known that prevents the confirmation. */
#define APPLIED_ERROR_USEC 1000000ull
/* Longest wait of a `drained` request. */
#define DRAIN_MAX_MS 3600000
#define REPLY_MAX_BYTES (16u * 1024 * 1024)
/* Path segments that `strip` can remove: the configuration has one rule for each. */
#define STRIP_MAX 8
/* Server of a backend whose instances are being replaced: an address where nothing listens. HAProxy
 * retries what is refused there until a server is ready. */
#define HOLD_SERVER "hold"
#define HOLD_ADDRESS "127.0.0.1"
#define HOLD_PORT 1

struct routed_config {
	struct daemon_config daemon;
	bool prepare;	       /* --prepare */
	char **gateway_http;   /* --gateway-http: binds of the HTTP gateway */
	char *gateway_address; /* --gateway-address: where tcp routes listen */
	int64_t pool;	       /* --pool: HTTP backends that are declared ahead */
};

/* ---- view.c: the last entry of each subject, decoded (pure) ---- */

/* The last good entry of a subject. */
struct view_item {
	char *subject;
	const struct codec_schema *schema;
	void *object;
	uint64_t sequence;
};
struct view {
	struct map heads;   /* namespace → struct view_item of struct head */
	struct map claims;  /* route key → struct view_item of struct route_claim */
	struct map members; /* machine → struct view_item of struct member */
	struct map facts;   /* <machine>.<ns> → struct view_item of struct instances */
	struct map errors;  /* subject → `entry N on SUBJECT: why it cannot be decoded` */
	struct map waiting; /* namespace → the head that waits for its facts: struct view_item */
};
/* Everything up to `applied` was taken: heads whose facts are among it take effect. A subject whose
 * newest entry cannot be decoded, or whose head waits, and that has nothing in effect gets its last
 * good entry from `saved` (NULL: nothing), which view_encode made, maybe in an earlier process. */
void view_settle(struct view *view, const struct watermark *applied, const json_t *saved);
/* Takes one entry; `data` NULL: the subject is gone. Other subjects are ignored. 1: it was a
 * routing event or a member record; 0: it was not; -EBADMSG: it was and cannot be decoded; the last
 * good entry stays and `errors` has the reason. */
int view_take(struct view *view, const char *subject, uint64_t sequence, const char *data,
	      size_t size);
/* The entries in effect as a JSON object {subject: {"sequence", "entry"}}; an own reference. */
json_t *view_encode(const struct view *view);
void view_clear(struct view *view);
/* NULL: there is none. Borrowed. */
const struct head *view_head(const struct view *view, const char *ns);
const struct view_item *view_claim(const struct view *view, const char *key);
/* The key that a claim's token encodes, or NULL: a token that is not the canonical encoding is
 * refused. Owned by the caller. */
char *view_claim_key(const char *token);
/* An instance as its machine reports it. NULL also for a machine that is removed: its facts count
 * as absent. Borrowed. */
const struct instance *view_instance(const struct view *view, const char *machine, const char *ns,
				     const char *instance);
bool view_machine_is_removed(const struct view *view, const char *machine);

/* ---- claims.c: which namespace has a route (pure) ---- */

/* Why the claims do not give this route of this head to its namespace, or NULL: they do. Owned by
 * the caller. */
char *claims_refuse(const struct view *view, const struct head *head,
		    const struct head_route *route);

/* ---- table.c: what the proxy should do ---- */

enum route_kind { KIND_HTTP, KIND_TCP };
enum server_state {
	SERVER_DOWN,  /* named by the head, but no traffic may go there */
	SERVER_DRAIN, /* no new traffic; existing connections continue to their end */
	SERVER_HELD,  /* as drain, and no other is ready: requests are held for the next instance */
	SERVER_READY,
};
extern const char *const kind_names[];
extern const char *const server_state_names[];

struct table_server {
	char *instance;
	char *machine;
	char *address; /* IPv4, or NULL: not known */
	int64_t port;
	int state; /* enum server_state */
};
struct table_backend {
	char *owner; /* <ns>/<service>/<port>, for tcp with the listening port behind it */
	int kind;
	int64_t slot;	/* http: number of the pool's backend, from 1; 0: none yet */
	int64_t listen; /* tcp */
	struct table_server *servers;
	size_t n_servers;
};
struct table_route {
	char *key; /* route_key_http, route_key_tcp */
	int kind;
	char *ns, *service, *port;
	char *host, *path; /* http */
	bool strip;
	int64_t listen; /* tcp */
	char *owner;	/* of its backend; NULL with an error */
	char *error;	/* why it is not served, or NULL */
};
/* A subject whose newest entry cannot be decoded: its last good entry stays. */
struct table_held {
	char *reason;	   /* `entry N on SUBJECT: …` */
	char **namespaces; /* whose confirmations are held back */
};
/* The facts that a namespace's head requires; the head takes effect with them. */
struct table_need {
	char *ns;
	int64_t facts; /* sequence in PLOYZ_FACTS, of the watermark's generation */
};
/* The routing table; only a complete view replaces it. */
struct table {
	struct watermark watermark;
	char *seen; /* projection_seen when it was saved, or NULL */
	struct table_backend *backends;
	size_t n_backends;
	struct table_route *routes;
	size_t n_routes;
	struct table_held *held;
	size_t n_held;
	struct table_need *needs;
	size_t n_needs;
	char **ended; /* instances whose process has ended */
};
DEFINE_MODEL(table);

struct table_backend *table_backend(const struct table *table, const char *owner);
/* Whether new connections go there. */
static inline bool server_is_open(const struct table_server *server)
{
	return server->address && server->state == SERVER_READY;
}
/* Whether requests are held there for the next instance. */
bool table_backend_is_held(const struct table_backend *backend);
/* The name of a backend in HAProxy: p7, tcp-5432; owned by the caller, NULL for one without a
 * slot. */
char *table_backend_name(const struct table_backend *backend);
/* The value of an HTTP route in the map: <backend>|<segments to strip>|<owner>; owned by the
 * caller. NULL when its backend has no slot. */
char *table_map_value(const struct table *table, const struct table_route *route);
/* The key of an HTTP route in the map: host and path with a slash behind it, so that the longest
 * prefix match is a match by segment. Owned by the caller. */
char *table_map_key(const struct table_route *route);
/* Segments of a path: /a/b has two. */
int table_segments(const char *path);
/* The facts that the heads of a namespace (NULL: of all) require. */
int64_t table_needs(const struct table *table, const char *ns);
/* The item of a namespace (NULL: of any) that is held back, with the reason; NULL: none.
 * Borrowed. */
const char *table_held_of(const struct table *table, const char *ns);

/* ---- build.c: the routing table of a view (pure) ---- */

/* `taken` lists ports that tcp routes cannot have (those of the HTTP gateway). */
struct table *table_build(const struct view *view, const struct watermark *watermark,
			  const int64_t *taken, size_t n_taken);

/* ---- actual.c: what the proxy does ---- */

struct actual_server {
	char *backend, *name, *address;
	int64_t port;
	int state;	     /* enum server_state; SERVER_DOWN: maint */
	int64_t connections; /* in use */
};
struct actual {
	int64_t pid;
	char *version;
	int64_t uptime_s;
	bool stopping;
	char **backends;
	struct actual_server *servers;
	size_t n_servers;
	struct pairs map;
};
void actual_clear(struct actual *actual);
bool actual_has_backend(const struct actual *actual, const char *name);
struct actual_server *actual_server(const struct actual *actual, const char *backend,
				    const char *name);
/* Each reads one reply of HAProxy. 0 or -EBADMSG. */
int actual_read_info(struct actual *actual, const char *reply);
int actual_read_backends(struct actual *actual, const char *reply);
int actual_read_servers(struct actual *actual, const char *reply);
int actual_read_connections(struct actual *actual, const char *reply);
int actual_read_map(struct actual *actual, const char *reply);
/* From the master's `show proc`: the command that queries each process replaced by a reload for its
 * connections; owned by the caller, NULL when there is none. */
char *actual_older_command(const char *reply);
/* Its reply: the connections of each server, as servers of `older`. 0 or -EBADMSG. */
int actual_read_older(struct actual *older, const char *reply);

/* ---- diff.c: the commands that lead from the proxy's state to the table (pure) ---- */

struct diff {
	char **commands; /* for the runtime socket, in order */
	char *reload;	 /* why a reload is needed after them, or NULL */
};
void diff_clear(struct diff *diff);
/* Gives each HTTP backend of the table its slot: the one it has in the proxy, or else in `before`
 * (may be NULL), or a free one; slots beyond the pool need a reload. */
void diff_assign(struct table *table, const struct actual *actual, const struct table *before);
void diff_make(const struct table *table, const struct actual *actual, const char *map,
	       struct diff *ret);

/* ---- render.c: haproxy.cfg (pure) ---- */

struct render {
	char **http;	     /* binds */
	const char *address; /* of tcp listens */
	const char *socket;  /* runtime socket */
	const char *map;     /* the map's file */
	int64_t pool;
};
/* Both texts are owned by the caller. */
char *render_config(const struct table *table, const struct render *render);
char *render_map(const struct table *table);
/* `ADDRESS:PORT` as the text before the last colon and a number; `*` stays. 0 or -EINVAL. */
int render_bind_parse(const char *bind, char **ret_address, int64_t *ret_port);

/* ---- haproxy.c: sessions on its sockets ---- */

/* Sends commands one after the other and gathers the replies. `fn` is called once, never before
 * haproxy_session has returned: with 0 and as many replies as there were commands, or a negative
 * errno. */
struct session;
typedef void (*session_fn)(int error, char *const *replies, void *userdata);
void haproxy_session(sd_event *loop, const char *socket, char *const *commands, session_fn fn,
		     void *userdata, struct session **ret);
/* The same on the master's socket, which ends the connection after one command: one reply, maybe
 * empty. */
void haproxy_master(sd_event *loop, const char *socket, const char *command, session_fn fn,
		    void *userdata, struct session **ret);
void session_free(struct session *session);
DEFINE_CLEANUP(struct session, session_free);

/* ---- sync.c: applies the table to the proxy ---- */

enum sync_step {
	SYNC_IDLE,
	SYNC_READING,	/* what HAProxy has */
	SYNC_WRITING,	/* the difference */
	SYNC_RELOADING, /* requested from the master; waiting for another process */
};
/* One table: tables are numbered, because a watermark does not change with a listen error. */
struct mark {
	uint64_t version;
	struct watermark watermark;
};
struct waiter_applied {
	struct bus_call *call;
	uint64_t since_usec; /* CLOCK_BOOTTIME */
};
struct waiter_drained {
	struct bus_call *call;
	uint64_t until_usec; /* CLOCK_BOOTTIME */
	int quiet;	     /* consecutive polls that found no connection */
};

struct routed {
	const struct routed_config *config;
	struct daemon *daemon;
	sd_event *loop;
	struct bus *bus;
	struct projection *projection;
	struct view view;
	bool partial;	      /* entries arrived since the last complete view */
	bool loaded;	      /* `table` is of the projection, not only of table.json */
	json_t *last_good;    /* entries of table.json, until `loaded`; or NULL */
	struct table *table;  /* wanted; replaced whole */
	uint64_t version;     /* of `table` */
	struct actual actual; /* as last read */
	struct actual
		older;	  /* servers of the processes that a reload replaced and that still serve */
	struct diff diff; /* being sent to HAProxy */
	int64_t *taken;	  /* ports of the HTTP gateway */
	size_t n_taken;
	char *socket, *master, *map_path, *config_path, *saved_path;
	char *rendered;		 /* content of haproxy.cfg: written only when it changes */
	char *rendered_map;	 /* the same of its map */
	uint64_t saved;		 /* version of the table in table.json; 0: none of this process */
	uint64_t saved_usec;	 /* CLOCK_BOOTTIME when it was saved */
	bool rewritten;		 /* haproxy.cfg or its map changed since then */
	struct session *session; /* one at a time */
	enum sync_step step;
	bool changed;		  /* the table changed during a session */
	bool known;		  /* `actual` is what HAProxy has */
	struct mark syncing;	  /* table that is being applied */
	struct mark reached;	  /* table that HAProxy has */
	struct mark applied;	  /* the same, and it is saved */
	int64_t reload_pid;	  /* process that a reload replaces */
	uint64_t reload_until;	  /* CLOCK_BOOTTIME */
	int64_t reloads;	  /* requested by this process */
	char *reload_error;	  /* why the last one failed, or NULL */
	char *proxy_error;	  /* why there is no session with HAProxy, or NULL */
	char *files_error;	  /* which file cannot be written, and why, or NULL */
	struct map listen_errors; /* tcp port → why it cannot be listened on */
	struct timer *poll;	  /* connections, and whether it is still the same process */
	struct timer *retry;
	struct waiter_applied *applied_waiters;
	size_t n_applied;
	struct waiter_drained *drained_waiters;
	size_t n_drained;
};
void sync_start(struct routed *routed);
void sync_free(struct routed *routed);
/* The view is complete up to `watermark`: the table is built again and applied. */
void sync_table(struct routed *routed, const struct watermark *watermark);
/* Reads the connections now rather than at the next poll. */
void sync_poll(struct routed *routed);
/* Saves the table that HAProxy has if a request waits for it, and answers such requests. */
void sync_confirm(struct routed *routed);

/* ---- prepare.c: the files that HAProxy starts from ---- */

/* The table that was saved last, or an empty one. `ret_entries` (may be NULL) gets the entries that
 * it was made from (see view_settle), or NULL. */
struct table *prepare_saved(const struct routed_config *config, json_t **ret_entries);
/* Writes haproxy.cfg and its map when they changed. 0 or a negative errno after having logged the
 * reason. */
int prepare_write(struct routed *routed);
/* Saves the table and the view in the state directory. 0 or a negative errno after having logged
 * the reason. */
int prepare_save(struct routed *routed);
/* Puts the paths of `config` into the struct. */
void prepare_paths(struct routed *routed);
/* Sets the error of tcp routes of the table whose port another program listens on. */
void prepare_check_listens(struct routed *routed);
/* Whether a port in `listen_errors` can be listened on now. */
bool prepare_listen_is_free(const struct routed *routed);
/* routed --prepare. 0 or a negative errno after having logged the reason. */
int routed_prepare(const struct routed_config *config);

/* ---- waiters.c: requests that wait for the proxy ---- */

/* The answer of an `applied` request at this moment (pure). */
enum waiter_answer { WAITER_WAIT, WAITER_APPLIED, WAITER_HELD };
/* `table` is of the newest complete view (NULL: there is none), `applied` NULL: nothing is
 * applied. */
enum waiter_answer waiter_decide(const struct table *table, const struct watermark *applied,
				 const struct applied_request *request);
/* Whether everything in `wanted` is applied; an empty `wanted` requires any applied table (pure).
 */
bool waiter_reached(const struct watermark *applied, const struct watermark *wanted);
/* Both take ownership of the call. */
void waiters_add_applied(struct routed *routed, struct bus_call *call);
void waiters_add_drained(struct routed *routed, struct bus_call *call);
/* Answers the requests that can be answered: the table is another one, HAProxy has it, or time
 * passed. */
void waiters_applied(struct routed *routed);
/* The same after connections were counted. */
void waiters_drained(struct routed *routed);
void waiters_free(struct routed *routed);

/* ---- bus.c: endpoints ---- */

int routed_serve(struct routed *routed);
/* Why this gateway does not serve a route of its table, or NULL; owned by the caller. */
char *routed_route_error(const struct routed *routed, const struct table_route *route);
/* What prevents confirmations now, or NULL; borrowed. */
const char *routed_error(const struct routed *routed);

/* ---- follow.c: the projection that feeds the table ---- */

void routed_follow(struct routed *routed);

/* ---- routed.c ---- */

struct routed *routed_new(struct daemon *daemon, const struct routed_config *config);
int routed_start(struct routed *routed);
void routed_free(struct routed *routed);
DEFINE_CLEANUP(struct routed, routed_free);

#endif
