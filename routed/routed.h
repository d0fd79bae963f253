/* routed: the gateway. Routing events become the configuration of a running HAProxy. */
#ifndef PLOYZ_ROUTED_H
#define PLOYZ_ROUTED_H

#include "lib/ployz.h"

/* Connections of a server that nobody waits for are looked at this often; also how soon another
 * HAProxy process is noticed. */
#define LOOK_USEC 1000000ull
/* HAProxy tells nobody that a connection ended: while somebody waits for that it is asked this
 * often. */
#define DRAIN_USEC 50000ull
/* One conversation with HAProxy: it answers within milliseconds or not at all. */
#define TALK_USEC 5000000ull
/* A reload: configuration read, listeners handed over, the new process answering. */
#define RELOAD_USEC 15000000ull
/* After a conversation or a reload that failed. */
#define RETRY_USEC 1000000ull
/* Longest that a question for drained connections is held. */
#define DRAIN_MAX_MS 3600000
#define REPLY_MAX_BYTES (16u * 1024 * 1024)
/* Segments of a path that `strip` can take away: the configuration has one rule for each. */
#define STRIP_MAX 8
/* Stands in a backend while its instances are replaced: an address where nobody listens. What is
 * refused there is tried again, until a server that is ready has taken its place. */
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

/* ---- table.c: what the proxy should do ---- */

enum route_kind { KIND_HTTP, KIND_TCP };
enum server_state {
	SERVER_DOWN,  /* named by the head, but no traffic may go there */
	SERVER_DRAIN, /* no new traffic; what is connected may end */
	SERVER_HELD,  /* the same, and nothing else is ready: requests wait for what comes */
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
	char *owner;	/* of its backend; NULL with trouble */
	char *trouble;	/* why it is not served, or NULL */
};
struct table {
	int64_t sequence; /* of the log */
	struct table_backend *backends;
	size_t n_backends;
	struct table_route *routes;
	size_t n_routes;
	char **troubles; /* of whole namespaces: an entry that cannot be read */
};
DEFINE_MODEL(table);

/* What the log says, decoded; an entry that cannot be decoded leaves the last good one in its
 * place. */
struct view_head {
	struct head *head;
	uint64_t committed; /* sequence of its commit; 0: nothing was ever committed */
};
struct view {
	struct map heads;    /* subject → struct view_head */
	struct map facts;    /* subject → struct instances */
	struct map troubles; /* subject → why its last entry could not be read */
};
/* Takes one entry of the log; `data` NULL: it is gone. Other subjects than heads and facts are
 * ignored. 1: it was one of ours; 0: it was not; -EBADMSG: it was, and could not be read (the view
 * remembers why). */
int view_take(struct view *view, const char *subject, uint64_t sequence, const char *data,
	      size_t size);
void view_clear(struct view *view);
/* Whether a fact says that this instance's process has ended. */
bool view_ended(const struct view *view, const char *instance);

/* The routing table of a view. `taken` lists ports that tcp routes cannot have (the HTTP gateway's
 * own). */
struct table *table_build(const struct view *view, uint64_t sequence, const int64_t *taken,
			  size_t n_taken);
struct table_backend *table_backend(const struct table *table, const char *owner);
/* Whether new connections go there. */
static inline bool server_is_open(const struct table_server *server)
{
	return server->address && server->state == SERVER_READY;
}
/* Whether requests wait there for an instance that is about to come. */
bool table_backend_is_held(const struct table_backend *backend);
/* The name of a backend in HAProxy: p7, tcp-5432; owned by the caller, NULL for one without a
 * slot. */
char *table_backend_name(const struct table_backend *backend);
/* What the map says for an HTTP route: <backend>|<segments to strip>|<owner>; owned by the caller.
 * NULL when its backend has no slot. */
char *table_map_value(const struct table *table, const struct table_route *route);
/* The key of an HTTP route in the map: host and path with a slash behind it, so that the longest
 * match of the beginning is a match by segment. Owned by the caller. */
char *table_map_key(const struct table_route *route);

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
/* The master's `show proc`: the command that asks each process that a reload has replaced for its
 * connections; owned by the caller, NULL when there is none. */
char *actual_older_command(const char *reply);
/* The answer: the connections of each server, as servers of `older`. 0 or -EBADMSG. */
int actual_read_older(struct actual *older, const char *reply);

/* ---- diff.c: what has to be said to it ---- */

struct diff {
	char **commands; /* for the runtime socket, in order */
	char *reload;	 /* why a reload is needed after them, or NULL */
};
void diff_clear(struct diff *diff);
/* Gives each HTTP backend of the table its slot: the one it has in the proxy, or else in `before`
 * (may be NULL), or a free one; slots beyond the pool mean a reload. */
void diff_assign(struct table *table, const struct actual *actual, const struct table *before);
void diff_make(const struct view *view, const struct table *table, const struct actual *actual,
	       const char *map, struct diff *ret);

/* ---- render.c: haproxy.cfg ---- */

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

/* ---- haproxy.c: conversations over its sockets ---- */

/* Sends commands one after the other and gathers the replies. `fn` is called once, never before
 * haproxy_talk has returned: with 0 and as many replies as there were commands, or a negative
 * errno. */
struct talk;
typedef void (*talk_fn)(int error, char *const *replies, void *userdata);
void haproxy_talk(sd_event *loop, const char *socket, char *const *commands, talk_fn fn,
		  void *userdata, struct talk **ret);
/* The same of the master's socket, which ends the connection after one command: one reply, maybe
 * empty. */
void haproxy_master(sd_event *loop, const char *socket, const char *command, talk_fn fn,
		    void *userdata, struct talk **ret);
void talk_free(struct talk *talk);
DEFINE_CLEANUP(struct talk, talk_free);

/* ---- sync.c: makes the proxy do what the table says ---- */

enum sync_step {
	SYNC_IDLE,
	SYNC_READING,	/* what HAProxy has */
	SYNC_WRITING,	/* the difference */
	SYNC_RELOADING, /* the master was asked; waiting for another process */
};

struct waiter_applied {
	struct bus_call *call;
	int64_t sequence;
};
struct waiter_drained {
	struct bus_call *call;
	uint64_t until_usec; /* CLOCK_BOOTTIME */
	int quiet;	     /* looks in a row that found no connection */
};

struct routed {
	const struct routed_config *config;
	struct daemon *daemon;
	sd_event *loop;
	struct bus *bus;
	struct projection *projection;
	struct view view;
	struct table *table;  /* wanted; replaced whole */
	struct actual actual; /* as last read */
	struct actual
		older;	  /* servers of the processes that a reload replaced and that still serve */
	struct diff diff; /* on its way to HAProxy */
	int64_t *taken;	  /* ports of the HTTP gateway */
	size_t n_taken;
	char *socket, *master, *map_path, *config_path, *saved_path;
	char *rendered; /* what haproxy.cfg holds, so that it is only written when it changed */
	char *rendered_map;
	bool unsaved;	   /* table.json is of before they were written */
	struct talk *talk; /* one conversation at a time */
	enum sync_step step;
	bool changed;	       /* the table changed while a conversation was on its way */
	bool known;	       /* `actual` is what HAProxy has */
	int64_t sequence;      /* of the table that is being applied */
	int64_t applied;       /* HAProxy has the log up to here */
	int64_t reload_pid;    /* the process that a reload replaces */
	uint64_t reload_until; /* CLOCK_BOOTTIME */
	int64_t reloads;       /* asked for by this process */
	char *reload_trouble;  /* why the last one did not work, or NULL */
	char *proxy_trouble;   /* why HAProxy cannot be talked to, or NULL */
	char *files_trouble;   /* which of its files cannot be written, and why, or NULL */
	struct timer *look;    /* connections, and whether it is still the same process */
	struct timer *retry;
	struct waiter_applied *applied_waiters;
	size_t n_applied;
	struct waiter_drained *drained_waiters;
	size_t n_drained;
};
void sync_start(struct routed *routed);
void sync_free(struct routed *routed);
/* The view changed: the table is built anew and applied. */
void sync_table(struct routed *routed, uint64_t sequence);
/* Ask for the connections now rather than at the next look. */
void sync_look(struct routed *routed);

/* ---- prepare.c: the files that HAProxy starts from ---- */

/* The table that was saved last, or an empty one. */
struct table *prepare_saved(const struct routed_config *config);
/* Writes haproxy.cfg and its map when they changed, the table into the state directory. 0 or
 * negative errno after having said why. */
int prepare_write(struct routed *routed);
/* Puts the paths of `config` into the struct. */
void prepare_paths(struct routed *routed);
/* Sets trouble on tcp routes of the table whose port somebody else listens on. */
void prepare_check_listens(struct routed *routed);
/* routed --prepare. 0 or negative errno after having said why. */
int routed_prepare(const struct routed_config *config);

/* ---- bus.c ---- */

int routed_serve(struct routed *routed);
/* Answers who waited for this; called when `applied` moved. */
void bus_applied(struct routed *routed);
/* The same after connections were counted. */
void bus_drained(struct routed *routed);
void bus_drop_waiters(struct routed *routed);

/* ---- follow.c: the log that feeds the table ---- */

void routed_follow(struct routed *routed);

/* ---- routed.c ---- */

struct routed *routed_new(struct daemon *daemon, const struct routed_config *config);
int routed_start(struct routed *routed);
void routed_free(struct routed *routed);
DEFINE_CLEANUP(struct routed, routed_free);

#endif
