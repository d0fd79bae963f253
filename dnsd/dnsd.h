/* dnsd: resolver for the zone ployz.internal, and forwarder for all other names. */
#ifndef PLOYZ_DNSD_H
#define PLOYZ_DNSD_H

#include <netinet/in.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include <libknot/libknot.h>
/* libknot defines attributes with the same names. */
#undef _cleanup_
#undef _noreturn_
#undef _unused_

#include "lib/ployz.h"

#define DNSD_PORT 53
#define DNSD_TTL 1		     /* seconds: bounds how long an answer outlives a commit */
#define DNSD_UDP_MIN 512	     /* bytes: RFC 1035, a client without EDNS */
#define DNSD_UDP_MAX 1232	     /* bytes: fits every path unfragmented */
#define DNSD_PACKET 4096	     /* bytes: the largest packet accepted or forwarded over UDP */
#define DNSD_BATCH 32		     /* packets taken from a socket per wake-up */
#define DNSD_SOCKET_BUFFER (4 << 20) /* bytes: holds a burst while the zone is rebuilt */
#define CONFIRMATION_MAX 256	     /* `applied` requests that wait; the oldest is refused */
/* The store has 1 s and then the local mirror has this long before the saved view is served. */
#define SAVED_VIEW_AFTER_USEC (2 * 1000000ull)
#define SAVED_VIEW_MAX_BYTES (256u << 20)
#define TCP_IDLE_USEC (10 * 1000000ull) /* RFC 7766: a few seconds; less under load */
#define TCP_CONNECTIONS 128		/* of all listeners; a new one replaces the longest idle */
#define TCP_UNSENT (256u * 1024)	/* bytes unsent beyond which no query is read */
#define FORWARD_MAX 512			/* pending queries; a new one replaces the oldest */
/* Time for one upstream's answer; stub resolvers retry after 5 s. */
#define FORWARD_TRY_USEC (1500 * 1000ull)
#define FORWARD_TCP_USEC (3000 * 1000ull) /* the same over TCP, with its handshake */
#define FORWARD_TRIES 3			  /* at least; or every upstream once */
/* The facts of a container that has just started arrive long before that. */
#define DEFER_USEC (1000 * 1000ull)
#define DEFER_FORGET_USEC (10 * 1000000ull) /* without a query: another container may have it */
#define DEFER_MAX 256			    /* queries */
#define DEFER_MAX_OF_ADDRESS 16
#define BIND_RETRY_USEC (5 * 1000000ull) /* while the bridge's address cannot be bound */

struct dnsd_config {
	struct daemon_config daemon;
	char **listen;	/* --dns-listen */
	char **forward; /* --forward */
};

/* IPv4 or IPv6 address and port. */
struct address {
	struct sockaddr_storage socket;
	socklen_t length;
};

/* Where an answer goes, however long it takes. */
struct client {
	uint64_t listener;   /* id of the UDP listener, or 0 */
	uint64_t connection; /* id of the TCP connection, or 0 */
	struct address from;
};

struct listener;
struct connection;
struct forward_query;
struct save;
TAILQ_HEAD(connection_list, connection);
struct deferred_query;
TAILQ_HEAD(deferred_list, deferred_query);

/* An address of this machine's subnet that sent queries and that no fact names. */
struct newcomer {
	uint32_t address;     /* host order; 0: no row */
	uint64_t first, last; /* query, boot time, µs */
};

/* An `applied` request that is not answered yet. */
struct confirmation {
	struct bus_call *call;
	const struct applied_request *request; /* borrowed from the call */
};

struct dnsd_counts {
	uint64_t udp, tcp;  /* packets received */
	uint64_t answered;  /* from the zone */
	uint64_t forwarded; /* sent to an upstream */
	uint64_t failed;    /* SERVFAIL: no upstream answered */
	uint64_t dropped;   /* not a query, or its answer could not be sent */
};

struct dnsd {
	const struct dnsd_config *config;
	struct daemon *daemon;	       /* borrowed */
	sd_event *loop;		       /* borrowed */
	struct bus *bus;	       /* borrowed; NULL before dnsd_connect */
	const char *machine;	       /* this machine's id; borrowed */
	struct projection *projection; /* NULL before dnsd_connect */
	uint64_t started;	       /* CLOCK_REALTIME */
	struct zone *zone;	       /* what the projection delivered */
	struct view *view;	       /* the entries in effect, which `zone` was built from */
	struct view *waiting;	       /* heads that have not taken effect */
	bool loaded;		       /* the projection has settled once: `zone` is served */
	bool settled;		       /* no entry was delivered since the projection settled */
	struct watermark applied;      /* of `zone`; all 0 before `loaded` */
	struct view *saved;	   /* stored by an earlier process, until `loaded`; NULL: none */
	struct zone *saved_zone;   /* built from it, served until `loaded`; NULL: not served */
	struct timer *saved_timer; /* when it is served, unless `loaded` */
	struct watermark stored;   /* of the view in the state directory; all 0: none */
	bool changed;		   /* `view` has entries that are in no file */
	struct save *save;	   /* stores `view` */
	struct watermark saving;   /* of the view that is being stored */
	struct confirmation *confirmations;
	size_t n_confirmations;
	struct listener **listeners;
	size_t n_listeners;
	struct timer *bind_timer; /* while the bridge's address cannot be bound */
	uint32_t bridge;	  /* bound address of the bridge, host order; 0: none yet */
	char *bridge_error;	  /* why it is not bound, or NULL */
	uint64_t next_id;	  /* of listeners and connections */
	struct connection_list connections; /* the most recently used first */
	size_t n_connections;
	struct newcomer newcomers[64];
	struct deferred_list deferred; /* queries of newcomers, the oldest first */
	size_t n_deferred;
	struct timer *defer_timer; /* earliest deadline of a deferred query */
	struct forward *forward;
	struct timer *forward_timer; /* earliest deadline of a pending query */
	uint16_t rotation;	     /* raised by each query: rotates the order of addresses */
	struct dnsd_counts counts;
};

/* view.c, pure: the last decodable entry of each subject, as text, and the file that holds them. */
struct view {
	struct map entries;	  /* subject → struct view_entry */
	struct watermark applied; /* of a view that is stored */
	char *seen;		  /* the same: projection_seen, or NULL */
};
struct view_entry {
	size_t size;
	char data[]; /* zero-terminated beyond `size` */
};
struct view *view_new(void);
void view_free(struct view *view);
DEFINE_CLEANUP(struct view, view_free);
/* `data` NULL: the entry is gone. */
void view_put(struct view *view, const char *subject, const char *data, size_t size);
/* Borrowed; NULL: there is none. */
const struct view_entry *view_get(const struct view *view, const char *subject);
/* The file's contents, owned by the caller. */
char *view_encode(const struct view *view, size_t *ret_size);
/* Reads them back; 0, or -EBADMSG when they are incomplete. */
int view_decode(const char *text, size_t size, struct view **ret);

/* zone.c, pure: the zone built from heads, members and facts. */
struct zone_slot {
	int64_t slot;
	char *instance;
	char *machine;
	uint32_t address; /* host order; 0: none */
	int state;	  /* enum instance_state of its last fact; -1: no fact */
	bool ready;	  /* its last fact says so, and it has an address */
	bool running;	  /* has an address and is starting, unready or ready */
};
struct zone_port {
	char *name;
	int64_t port;
	int protocol; /* enum protocol */
};
struct zone_service {
	char *name;
	struct zone_slot *slots; /* by number */
	size_t n_slots;
	size_t n_ready, n_running;
	struct zone_port *ports;
	size_t n_ports;
};
LIST_HEAD(zone_hosts, zone_host);
struct zone_namespace {
	char *ns;
	struct head *head;    /* last good entry that has taken effect, or NULL */
	struct head *waiting; /* a later one, which has not, or NULL */
	struct map facts;     /* machine → struct instances */
	bool dirty;
	/* Built from these by zone_settle: */
	bool unknown; /* the head exists, and none has been decoded and taken effect */
	char *deploy; /* of the committed head */
	int64_t revision;
	struct map services;   /* name → struct zone_service: what the head names */
	char *open;	       /* the open deploy, or NULL */
	struct map candidates; /* name → struct zone_service: what the open deploy has started */
	struct zone_hosts hosts;
};
enum zone_role {
	ZONE_OTHER,	/* of an earlier deploy, or of one that has ended */
	ZONE_CANDIDATE, /* of the open deploy, not committed */
	ZONE_COMMITTED, /* the head names it */
};
/* The instance that has an address: its namespace when it asks, its name in a reverse lookup. */
struct zone_host {
	uint32_t address;	   /* host order */
	struct zone_namespace *ns; /* borrowed from the zone */
	char *service;
	int64_t slot; /* -1: a pre_deploy container */
	int state;
	int role; /* enum zone_role */
	LIST_ENTRY(zone_host) in_bucket;
	LIST_ENTRY(zone_host) in_namespace;
};
struct zone_machine {
	char *id;
	uint32_t subnet; /* host order; the first address of the /24 */
	uint32_t mask;
};
/* An entry that could not be decoded: its last good state is kept. */
struct zone_error {
	char *ns;      /* of the item; NULL: a member */
	char *machine; /* of facts and members; NULL: a head */
	char *text;    /* `entry 12 on ployz.v1.…: REASON` */
};
struct zone {
	struct map namespaces; /* ns → struct zone_namespace */
	struct map errors;     /* subject → struct zone_error */
	struct map removed;    /* ids of removed members: their facts count as absent */
	struct zone_machine *machines;
	size_t n_machines;
	struct zone_hosts hosts[4096]; /* by address */
};
struct zone *zone_new(void);
void zone_free(struct zone *zone);
DEFINE_CLEANUP(struct zone, zone_free);
/* Takes the last entry of a subject; `data` NULL: it is gone. A head waits for zone_apply, and all
 * answers change with zone_settle. 1; 0 when the zone needs nothing of this subject; -EBADMSG when
 * the entry cannot be decoded (the last good one is kept, zone_error names it). */
int zone_entry(struct zone *zone, const char *subject, uint64_t sequence, const char *data,
	       size_t size);
/* Everything up to `applied` was taken: heads whose facts are among it take effect (NULL: all). The
 * streams of heads and facts have no common order. */
void zone_apply(struct zone *zone, const struct watermark *applied);
/* Whether a head of a namespace (NULL: of any) has not taken effect. */
bool zone_waits(const struct zone *zone, const char *ns);
/* Rebuilds what changed since; the number of namespaces rebuilt. */
size_t zone_settle(struct zone *zone);
/* Takes an earlier entry of a subject whose last one could not be decoded, or is a head that waits:
 * it takes effect until that does, and the error stays. As zone_entry. */
int zone_restore(struct zone *zone, const char *subject, const char *data, size_t size);
/* Why the last entry of a subject could not be decoded, or NULL; borrowed. */
const char *zone_error(const struct zone *zone, const char *subject);
/* The same of any item of a namespace (NULL: of any item), facts of removed members aside. */
const char *zone_held(const struct zone *zone, const char *ns);
/* Borrowed until the next zone_settle; NULL: there is none. */
const struct zone_namespace *zone_find(const struct zone *zone, const char *ns);
const struct zone_service *zone_service(const struct zone_namespace *ns, const char *service);
const struct zone_service *zone_candidate(const struct zone_namespace *ns, const char *service);
const struct zone_slot *zone_slot(const struct zone_service *service, int64_t slot);
/* The instance that has this address: ready ones before others, then committed ones and candidates
 * before others. */
const struct zone_host *zone_host(const struct zone *zone, uint32_t address);
/* Whether the address (host order) is in a member's subnet, or in that of this one. */
bool zone_is_inside(const struct zone *zone, uint32_t address);
bool zone_is_on(const struct zone *zone, const char *machine, uint32_t address);
/* The bridge's address of a machine: the first of its subnet, host order. False: no subnet. */
bool zone_bridge(const struct zone *zone, const char *machine, uint32_t *ret);

/* name.c, pure: parses a name. */
enum name_kind {
	NAME_FOREIGN, /* not of the zone: forwarded */
	NAME_APEX,
	NAME_SERVICE,
	NAME_SLOT,
	NAME_PORT,     /* _http._tcp.web.shop */
	NAME_PROTOCOL, /* _tcp.web.shop: an empty non-terminal */
	NAME_REVERSE,
	NAME_INVALID, /* of the zone, but no service can have it */
};
struct name {
	int kind;
	char service[64];
	char ns[64]; /* empty: the caller's own */
	char port[64];
	int protocol; /* enum protocol */
	int64_t slot;
	uint32_t address; /* NAME_REVERSE, host order */
	bool single;	  /* one label */
};
/* Parses a name in wire form, lower case. */
void name_parse(const uint8_t *wire, struct name *ret);
/* Writes text (`web.shop.ployz.internal`, no escapes) as a wire name; false: not a name. */
bool name_write(const char *text, uint8_t ret[KNOT_DNAME_MAXLEN]);

/* lookup.c, pure: a name and a caller against the zone. */
struct caller {
	const char *ns; /* namespace of the caller, or NULL */
	bool candidate; /* a candidate of its open deploy: it also finds the deploy's candidates */
};
enum lookup_verdict {
	LOOKUP_FORWARD,
	LOOKUP_APEX,
	LOOKUP_SERVICE,
	LOOKUP_SLOT,
	LOOKUP_PORT,
	LOOKUP_REVERSE,
	LOOKUP_EMPTY,	  /* the name exists, or a name below it, but it has no records */
	LOOKUP_NO_CALLER, /* needs the caller's namespace, and the caller has none */
	LOOKUP_NO_NAMESPACE,
	LOOKUP_NO_SERVICE,
	LOOKUP_NO_SLOT,
	LOOKUP_NO_PORT,
	LOOKUP_NO_HOST,
	LOOKUP_INVALID,
	LOOKUP_UNKNOWN, /* the namespace's head cannot be decoded: nothing can be denied */
};
/* Which slots of `service` are the answer. */
enum lookup_set {
	LOOKUP_COMMITTED, /* ready ones that the head names */
	LOOKUP_READY,	  /* ready candidates */
	LOOKUP_RUNNING,	  /* running candidates */
};
struct lookup {
	int verdict;
	int set; /* enum lookup_set */
	const struct zone_namespace *ns;
	const struct zone_service *service; /* of the set */
	const struct zone_slot *slot;
	const struct zone_port *port;
	const struct zone_host *host;
};
void lookup(const struct zone *zone, const struct caller *caller, const struct name *name,
	    struct lookup *ret);
/* Whether the name exists (NOERROR). */
bool lookup_exists(const struct lookup *lookup);
/* Whether this slot of `lookup->service` belongs to the answer. */
bool lookup_has(const struct lookup *lookup, const struct zone_slot *slot);
/* The reason for the answer; owned by the caller. */
char *lookup_why(const struct lookup *lookup, const struct name *name, const struct caller *caller,
		 uint16_t type);

/* answer.c, pure: a query's bytes in, the answer's bytes out. */
enum answer_verdict {
	ANSWER_DROP, /* not a query */
	ANSWER_SEND,
	ANSWER_FORWARD, /* a name of another zone: nothing was written */
};
struct answer_caller {
	struct caller caller;
	bool allowed; /* may use this resolver */
	bool tcp;
	bool loaded;	   /* the zone is known */
	uint16_t rotation; /* of the addresses */
	uint32_t self;	   /* the resolver's own address, host order, or 0 */
};
/* Writes the answer into `out` (65535 bytes over TCP, DNSD_UDP_MAX over UDP) and its size into
 * *ret_size. ANSWER_FORWARD: *ret_size is the largest answer that the client accepts. */
enum answer_verdict answer_make(const struct zone *zone, const struct answer_caller *caller,
				const uint8_t *query, size_t size, uint8_t *out, size_t *ret_size);
/* The query's question with this rcode and no records (`truncated`: and TC); `size` is the query's.
 * The answer's size. */
size_t answer_refuse(const uint8_t *query, size_t size, uint8_t rcode, bool truncated,
		     uint8_t *out);

/* forward.c, pure: the queries that are pending at upstreams. */
struct forward_query {
	uint64_t id;	    /* of this table */
	uint16_t wire_id;   /* sent to the upstream */
	uint16_t client_id; /* sent by the client */
	struct client client;
	uint8_t *wire; /* the query as the upstream gets it */
	size_t size;
	size_t question; /* bytes of the question section, which follows the header */
	size_t limit;	 /* bytes: the largest answer that the client accepts */
	bool tcp;	 /* sent over TCP now */
	size_t at;	 /* index of the upstream */
	unsigned tries;
	uint64_t deadline; /* boot time, µs */
	int fd;		   /* upstream.c's socket, -1: none */
	void *owner;	   /* upstream.c's */
	sd_event_source *source;
	uint8_t *io; /* TCP: the bytes to send, then the bytes read */
	size_t io_at, io_size;
	bool sent;
	TAILQ_ENTRY(forward_query) by_age;
};
TAILQ_HEAD(forward_list, forward_query);
struct forward {
	struct address *upstreams;
	size_t n_upstreams;
	size_t first;		     /* the upstream that answered last */
	struct forward_list queries; /* the oldest first */
	size_t count;
	uint64_t next_id;
};
enum forward_verdict {
	FORWARD_IGNORE, /* not the answer to this query */
	FORWARD_ANSWER,
	FORWARD_USE_TCP, /* truncated: repeat over TCP */
	FORWARD_NEXT,	 /* this upstream failed: try another */
};
/* Takes ownership of `upstreams`. */
struct forward *forward_new(struct address *upstreams, size_t count);
void forward_free(struct forward *forward);
/* A query that answer_make wants forwarded; NULL when its question section is malformed. `wire_id`
 * is random. */
struct forward_query *forward_add(struct forward *forward, const struct client *client,
				  const uint8_t *wire, size_t size, size_t limit, uint16_t wire_id);
void forward_remove(struct forward *forward, struct forward_query *query);
/* The query that must be dropped before another is added, or NULL. */
struct forward_query *forward_surplus(const struct forward *forward);
/* What an upstream's packet means. */
enum forward_verdict forward_judge(const struct forward *forward, const struct forward_query *query,
				   const uint8_t *wire, size_t size);
/* Selects the next upstream; false: all tries are used. */
bool forward_next(const struct forward *forward, struct forward_query *query);
/* The earliest deadline; 0: none. */
uint64_t forward_deadline(const struct forward *forward);

/* address.c, pure: addresses and their text. */
/* `1.2.3.4`, `1.2.3.4:53`, `[::1]:53`, `::1`; 0 or -EINVAL. */
int address_parse(const char *text, uint16_t port, struct address *ret);
/* Owned by the caller. */
char *address_format(const struct address *address);
bool address_equal(const struct address *a, const struct address *b);
/* The IPv4 address in host order (also of a mapped one); false: it has none. */
bool address_ipv4(const struct address *address, uint32_t *ret);
bool address_is_loopback(const struct address *address);
bool address_is_wildcard(const struct address *address);
/* The `nameserver` lines of a resolv.conf; the number of addresses, owned by the caller. */
size_t addresses_of_resolv_conf(const char *text, struct address **ret);

/* listen.c: sockets on the wanted addresses. */
/* Those of the configuration; a negative errno after logging which one and why. */
int listen_start(struct dnsd *dnsd);
/* The bridge's, once this machine's subnet is known. */
void listen_bridge(struct dnsd *dnsd);
void listen_free(struct dnsd *dnsd);
/* The UDP socket of a listener, or -1 when the listener is closed. */
int listen_socket(const struct dnsd *dnsd, uint64_t id);
/* Whether dnsd itself listens there. */
bool listen_is_own(const struct dnsd *dnsd, const struct address *address);
/* The addresses of all listeners, for status. */
json_t *listen_status(const struct dnsd *dnsd);

/* udp.c */
/* A bound descriptor or a negative errno; `free_bind` binds an address that does not exist yet. */
int udp_open(const struct address *address, bool free_bind);
void udp_read(struct dnsd *dnsd, uint64_t listener, int fd);
void udp_send(int fd, const struct address *to, const uint8_t *wire, size_t size);

/* tcp.c */
int tcp_open(const struct address *address, bool free_bind);
void tcp_accept(struct dnsd *dnsd, int fd);
void tcp_send(struct dnsd *dnsd, uint64_t connection, const uint8_t *wire, size_t size);
void tcp_free(struct dnsd *dnsd);

/* query.c: a client's query from its arrival to its answer. */
/* Fills `allowed` and `caller` of an empty *ret: a container is identified by its address; only
 * loopback and addresses of members' subnets are allowed. */
void query_identify(const struct zone *zone, const struct client *client,
		    struct answer_caller *ret);
/* Whether an answer is to be sent now; its size in *ret_size. */
bool query_answer(struct dnsd *dnsd, const struct client *client, const uint8_t *wire, size_t size,
		  uint8_t *out, size_t *ret_size);
/* Answers a deferred query. */
void query_answer_later(struct dnsd *dnsd, const struct client *client, const uint8_t *wire,
			size_t size);
/* Sends a forwarded query's answer. */
void query_answered(struct dnsd *dnsd, const struct client *client, const uint8_t *wire,
		    size_t size);

/* defer.c: queries of containers that no fact names yet. */
/* Whether the query waits; it is answered by query_answer_later. */
bool defer_query(struct dnsd *dnsd, const struct client *client, uint32_t address,
		 const uint8_t *wire, size_t size);
/* The zone has changed. */
void defer_settled(struct dnsd *dnsd);
void defer_free(struct dnsd *dnsd);

/* upstream.c: queries to other resolvers. */
/* The upstreams of the configuration, or of /etc/resolv.conf. 0 or a negative errno after logging
 * why. */
int upstream_start(struct dnsd *dnsd);
void upstream_query(struct dnsd *dnsd, const struct client *client, const uint8_t *wire,
		    size_t size, size_t limit);
void upstream_free(struct dnsd *dnsd);

/* save.c: writes a file durably on a thread of its own, because fsync blocks. */
typedef void (*save_fn)(int error, void *userdata);
/* `path` is copied. `fn` gets 0 or the negative errno of each write. NULL: errno says why. */
struct save *save_new(sd_event *loop, const char *path, save_fn fn, void *userdata);
/* Takes ownership of `text`. Must not be called while a write runs. */
void save_start(struct save *save, char *text, size_t size);
bool save_is_running(const struct save *save);
const char *save_path(const struct save *save);
/* Waits for a write that runs. */
void save_free(struct save *save);

/* confirmation.c: `applied` requests, and the stored view that they depend on. */
/* Reads the stored view. 0 or a negative errno after logging why. */
int confirmation_start(struct dnsd *dnsd);
/* The projection has started: the stored view is served if it does not settle in time. */
void confirmation_follow(struct dnsd *dnsd);
/* Serves the stored view unless a newer one is served. Whether any is. */
bool confirmation_serve_stored(struct dnsd *dnsd, const char *why);
/* Takes ownership of the call. */
void confirmation_add(struct dnsd *dnsd, struct bus_call *call);
/* Answers every request that the stored view satisfies; stores the view for the others. */
void confirmation_poll(struct dnsd *dnsd);
void confirmation_free(struct dnsd *dnsd);

/* bus.c: the endpoints (0 or a negative errno after logging why), and the projection. */
int dnsd_serve(struct dnsd *dnsd);
void dnsd_follow(struct dnsd *dnsd);
void dnsd_unfollow(struct dnsd *dnsd);
/* STATUS= for the service manager. */
void dnsd_report(struct dnsd *dnsd);
/* CLOCK_REALTIME since when the served zone may be behind; 0: it is live. */
uint64_t dnsd_stale_since(const struct dnsd *dnsd);

struct dnsd *dnsd_new(struct daemon *daemon, const struct dnsd_config *config);
void dnsd_free(struct dnsd *dnsd);
DEFINE_CLEANUP(struct dnsd, dnsd_free);
/* Listens. 0 or a negative errno after logging why. */
int dnsd_start(struct dnsd *dnsd);
/* Once there is a bus: follows the store and opens the endpoints. As dnsd_start. */
int dnsd_connect(struct dnsd *dnsd);
/* The zone that is served: the projection's, before it has settled the saved one, or NULL. */
const struct zone *dnsd_zone(const struct dnsd *dnsd);
/* The watermark of that zone. */
const struct watermark *dnsd_applied(const struct dnsd *dnsd);

#endif
