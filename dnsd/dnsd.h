/* dnsd: names for the overlay, and a forwarder for the rest. */
#ifndef PLOYZ_DNSD_H
#define PLOYZ_DNSD_H

#include <netinet/in.h>
#include <sys/socket.h>

#include <libknot/libknot.h>
/* libknot has attributes of its own by these names. */
#undef _cleanup_
#undef _noreturn_
#undef _unused_

#include "lib/ployz.h"

#define DNSD_PORT 53
#define DNSD_TTL 1		     /* seconds: an answer is as old as the last commit at most */
#define DNSD_UDP_LEAST 512	     /* bytes: RFC 1035, a client without EDNS */
#define DNSD_UDP_MOST 1232	     /* bytes: fits every path unfragmented */
#define DNSD_PACKET 4096	     /* bytes: the largest that we take or pass on over UDP */
#define DNSD_BATCH 32		     /* packets taken from a socket per wake-up */
#define DNSD_SOCKET_BUFFER (4 << 20) /* bytes: a burst while the zone is rebuilt */
#define DNSD_WAITING 256	     /* `applied` questions that wait; the oldest is told no */
#define TCP_IDLE_USEC (10 * 1000000ull) /* RFC 7766: a few seconds; a busy server may say less */
#define TCP_CONNECTIONS 128		/* over all listeners; the longest idle one makes room */
#define TCP_UNSENT (256u * 1024)	/* bytes: a client that does not read is not read from */
#define FORWARD_MAX 512			/* questions under way; the oldest makes room */
/* An upstream's time; resolvers at home ask again after 5 s. */
#define FORWARD_TRY_USEC (1500 * 1000ull)
#define FORWARD_TCP_USEC (3000 * 1000ull) /* the same over TCP, which has to shake hands first */
#define FORWARD_TRIES 3			  /* at least; or every upstream once */
#define BIND_AGAIN_USEC (5 * 1000000ull)  /* the bridge's address is taken: look again */

struct dnsd_config {
	struct daemon_config daemon;
	char **listen;	/* --dns-listen */
	char **forward; /* --forward */
};

/* An address and port, v4 or v6. */
struct place_of {
	struct sockaddr_storage address;
	socklen_t length;
};

/* Who asked, so that an answer finds the way back however long it takes. */
struct client {
	uint64_t listener;   /* id of the UDP socket that it came through, or 0 */
	uint64_t connection; /* id of the TCP connection, or 0 */
	struct place_of from;
};

struct listener;
struct connection;
struct forward_query;

/* What waits until the zone has the log up to `sequence`. */
struct waiting {
	uint64_t sequence;
	struct bus_call *call;
};

struct dnsd_counts {
	uint64_t udp, tcp;  /* questions that came */
	uint64_t answered;  /* from the zone */
	uint64_t forwarded; /* handed to an upstream */
	uint64_t failed;    /* SERVFAIL: no upstream answered */
	uint64_t dropped;   /* no question at all, or its answer could not be sent */
};

struct dnsd {
	const struct dnsd_config *config;
	struct daemon *daemon; /* borrowed */
	sd_event *loop;	       /* borrowed */
	struct bus *bus;       /* borrowed */
	const char *machine;   /* this machine's id; borrowed */
	struct projection *projection;
	struct zone *zone;
	bool loaded;	   /* the zone was whole once; before that nothing is denied */
	uint64_t sequence; /* the zone has the log up to this */
	struct waiting *waiting;
	size_t n_waiting;
	struct listener **listeners;
	size_t n_listeners;
	struct timer *bind_again; /* while the bridge's address cannot be had */
	uint32_t bridge;	  /* address that is bound on the bridge, host order; 0: none yet */
	char *bridge_trouble;	  /* why it is not, or NULL */
	uint64_t next_id;	  /* of listeners, connections */
	struct connection *connections; /* the longest idle one last */
	size_t n_connections;
	struct forward *forward;
	struct timer *forward_timer; /* the earliest time-out of a question under way */
	uint16_t rotate;	     /* raised by each question: answers take turns */
	struct dnsd_counts counts;
};

/* zone.c, pure: heads and facts in, what is answered out. */
struct zone_slot {
	int64_t slot;
	char *instance;
	char *machine;
	char *deploy;
	uint32_t address; /* host order; 0: none */
	bool ready;	  /* its last fact says so, and it has an address */
	int state;	  /* enum instance_state of its last fact; -1: no fact at all */
};
struct zone_port {
	char *name;
	int64_t port;
	int protocol; /* enum protocol */
};
struct zone_service {
	char *name;
	struct zone_slot *slots;
	size_t n_slots;
	size_t n_ready;
	struct zone_port *ports;
	size_t n_ports;
};
struct zone_namespace {
	char *ns;
	struct head *head; /* last good entry, or NULL */
	struct map facts;  /* machine → struct instances */
	char *trouble;	   /* an entry that cannot be read: the last good one stands */
	bool dirty;
	char *deploy; /* of the committed head, from here on as it is answered */
	int64_t revision;
	struct map services; /* name → struct zone_service */
};
/* One container's address: who it is when it asks, what it is called when it is asked for. */
struct zone_host {
	uint32_t address;	   /* host order */
	struct zone_namespace *ns; /* borrowed from the zone */
	char *service;
	int64_t slot;
	int state;
	bool committed;		/* the head names it */
	struct zone_host *next; /* same bucket */
};
struct zone_machine {
	char *id;
	uint32_t subnet; /* host order; the first address of the /24 */
	uint32_t mask;
};
struct zone {
	struct map namespaces; /* ns → struct zone_namespace */
	struct zone_machine *machines;
	size_t n_machines;
	struct zone_host *hosts[4096]; /* by address */
};
struct zone *zone_new(void);
void zone_free(struct zone *zone);
DEFINE_CLEANUP(struct zone, zone_free);
/* Takes the last entry of a subject of the log; `data` NULL: it is gone. Nothing is answered from
 * it before zone_settle. 0, or -EBADMSG when it cannot be read (the last good one stays). */
int zone_entry(struct zone *zone, const char *subject, const char *data, size_t size);
/* Builds anew what changed since; the number of namespaces that did. */
size_t zone_settle(struct zone *zone);
/* Borrowed look-ups until the next zone_settle; NULL: there is none. */
const struct zone_namespace *zone_find(const struct zone *zone, const char *ns);
const struct zone_service *zone_service(const struct zone_namespace *ns, const char *service);
const struct zone_slot *zone_slot(const struct zone_service *service, int64_t slot);
/* The instance that has this address now: ready ones before others, committed before candidates. */
const struct zone_host *zone_host(const struct zone *zone, uint32_t address);
/* Whether the address (host order) lies in a machine's subnet. */
bool zone_is_inside(const struct zone *zone, uint32_t address);
/* This machine's subnet: true with the bridge's address (the first of it, host order). */
bool zone_bridge(const struct zone *zone, const char *machine, uint32_t *ret);

/* name.c, pure: what a name asks for. */
enum name_kind {
	NAME_ELSEWHERE, /* not ours: forwarded */
	NAME_APEX,
	NAME_SERVICE,
	NAME_SLOT,
	NAME_PORT,     /* _http._tcp.web.shop */
	NAME_PROTOCOL, /* _tcp.web.shop: there is something below it */
	NAME_REVERSE,
	NAME_STRANGE, /* ours by its end, and nothing that could be there */
};
struct name {
	int kind;
	char service[64];
	char ns[64]; /* empty: the caller's own */
	char port[64];
	int protocol; /* enum protocol */
	int64_t slot;
	uint32_t address; /* NAME_REVERSE, host order */
	bool single;	  /* one label, nothing behind it */
};
/* Reads a name in wire form, lower case. */
void name_parse(const uint8_t *wire, struct name *ret);
/* Writes text (`web.shop.ployz.internal`, no escapes) as a wire name; false when it is none. */
bool name_write(const char *text, uint8_t ret[KNOT_DNAME_MAXLEN]);

/* look.c, pure: a name and a caller held against the zone. */
enum look_verdict {
	LOOK_FORWARD,
	LOOK_APEX,
	LOOK_SERVICE,
	LOOK_SLOT,
	LOOK_PORT,
	LOOK_REVERSE,
	LOOK_EMPTY,	/* the name is there, or something is below it, but it has no records */
	LOOK_NO_CALLER, /* needs the caller's namespace, which it has none */
	LOOK_NO_NAMESPACE,
	LOOK_NO_SERVICE,
	LOOK_NO_SLOT,
	LOOK_NO_PORT,
	LOOK_NO_HOST,
	LOOK_STRANGE,
};
struct look {
	int verdict;
	const struct zone_namespace *ns;
	const struct zone_service *service;
	const struct zone_slot *slot;
	const struct zone_port *port;
	const struct zone_host *host;
};
/* `ns` is the caller's namespace, or NULL. */
void look_up(const struct zone *zone, const char *ns, const struct name *name, struct look *ret);
/* Whether the name is there (NOERROR). */
bool look_exists(const struct look *look);
/* In words: why this is the answer. Owned by the caller. */
char *look_why(const struct look *look, const struct name *name, const char *ns, uint16_t type);

/* answer.c, pure: a question's bytes in, the answer's bytes out. */
enum answer_verdict {
	ANSWER_DROP, /* no question: nothing is said */
	ANSWER_SEND,
	ANSWER_FORWARD, /* somebody else's name: nothing was written */
};
struct answer_caller {
	const char *ns; /* the caller's namespace, or NULL */
	bool allowed;	/* may ask at all */
	bool tcp;
	bool loaded;	 /* the zone is known */
	uint16_t rotate; /* where the answers begin */
	uint32_t self;	 /* the resolver's own address, host order, or 0 */
};
/* Writes the answer into `out` (65535 bytes over TCP, DNSD_UDP_MOST over UDP) and its size into
 * *ret_size. ANSWER_FORWARD: *ret_size is what the client takes at most instead. */
enum answer_verdict answer_make(const struct zone *zone, const struct answer_caller *caller,
				const uint8_t *query, size_t size, uint8_t *out, size_t *ret_size);
/* The question again with this rcode and no records (`truncated`: and TC); `size` is the query's.
 * Gives the answer's size. */
size_t answer_refuse(const uint8_t *query, size_t size, uint8_t rcode, bool truncated,
		     uint8_t *out);

/* forward.c, pure: the questions that are under way. */
struct forward_query {
	uint64_t id;	    /* of this table */
	uint16_t wire_id;   /* what the upstream sees */
	uint16_t client_id; /* what the client sent */
	struct client client;
	uint8_t *wire; /* the question as the upstream gets it */
	size_t size;
	size_t question; /* bytes of the question section, behind the header */
	size_t limit;	 /* what the client takes, bytes */
	bool tcp;	 /* asked over TCP now */
	size_t at;	 /* which upstream is asked */
	unsigned tries;
	uint64_t deadline; /* boot time, µs */
	int fd;		   /* upstream.c's socket, -1: none */
	void *owner;	   /* upstream.c's */
	sd_event_source *source;
	uint8_t *io; /* TCP: what is sent, then what is read */
	size_t io_at, io_size;
	bool sent;
	struct forward_query *previous, *next; /* by age */
};
struct forward {
	struct place_of *upstreams;
	size_t n_upstreams;
	size_t first; /* the one that answered last */
	struct forward_query *oldest, *newest;
	size_t count;
	uint64_t next_id;
};
enum forward_verdict {
	FORWARD_IGNORE, /* not the answer to this question */
	FORWARD_ANSWER,
	FORWARD_USE_TCP, /* truncated: ask again over TCP */
	FORWARD_NEXT,	 /* this upstream cannot: ask another */
};
struct forward *forward_new(struct place_of *upstreams, size_t count);
void forward_free(struct forward *forward);
/* A question that answer_make gave back; NULL when its question section cannot be told. `wire_id`
 * is random. */
struct forward_query *forward_add(struct forward *forward, const struct client *client,
				  const uint8_t *wire, size_t size, size_t limit, uint16_t wire_id);
void forward_remove(struct forward *forward, struct forward_query *query);
/* The question that has to make room for another, or NULL. */
struct forward_query *forward_surplus(const struct forward *forward);
/* What an upstream's bytes mean. */
enum forward_verdict forward_judge(const struct forward *forward, const struct forward_query *query,
				   const uint8_t *wire, size_t size);
/* Goes to the next upstream; false: all had their turn. */
bool forward_next(const struct forward *forward, struct forward_query *query);
/* The earliest deadline; 0: none. */
uint64_t forward_deadline(const struct forward *forward);

/* places.c, pure: addresses in text. */
/* `1.2.3.4`, `1.2.3.4:53`, `[::1]:53`, `::1`; 0 or -EINVAL. */
int place_parse(const char *text, uint16_t port, struct place_of *ret);
/* Owned by the caller. */
char *place_format(const struct place_of *place);
bool place_equal(const struct place_of *a, const struct place_of *b);
/* The IPv4 address in host order (also of a mapped one); false: it has none. */
bool place_ipv4(const struct place_of *place, uint32_t *ret);
bool place_is_loopback(const struct place_of *place);
bool place_is_wildcard(const struct place_of *place);
/* The `nameserver` lines of a resolv.conf; the number of places, owned by the caller. */
size_t places_of_resolv_conf(const char *text, struct place_of **ret);

/* listen.c: sockets on the addresses that are wanted. */
/* Those of the configuration; a negative errno after having said which one and why. */
int listen_start(struct dnsd *dnsd);
/* The bridge's, once this machine's subnet is known. */
void listen_bridge(struct dnsd *dnsd);
void listen_free(struct dnsd *dnsd);
/* The UDP socket of a listener that is still there, or -1. */
int listen_socket(const struct dnsd *dnsd, uint64_t id);
/* Whether we ourselves listen there. */
bool listen_is_own(const struct dnsd *dnsd, const struct place_of *place);
/* Addresses that are listened on, as text: for status. */
json_t *listen_status(const struct dnsd *dnsd);

/* udp.c */
/* Bound; `free` also to an address that is not there yet. A descriptor or a negative errno. */
int udp_open(const struct place_of *place, bool free);
void udp_read(struct dnsd *dnsd, uint64_t listener, int fd);
void udp_send(int fd, const struct place_of *to, const uint8_t *wire, size_t size);

/* tcp.c */
int tcp_open(const struct place_of *place, bool free);
void tcp_accept(struct dnsd *dnsd, int fd);
void tcp_send(struct dnsd *dnsd, uint64_t connection, const uint8_t *wire, size_t size);
void tcp_free(struct dnsd *dnsd);

/* ask.c: a client's question to its answer. */
/* Whether there is something to send at once; its size in *ret_size. */
bool ask(struct dnsd *dnsd, const struct client *client, const uint8_t *wire, size_t size,
	 uint8_t *out, size_t *ret_size);
void ask_answered(struct dnsd *dnsd, const struct client *client, const uint8_t *wire, size_t size);

/* upstream.c: asks others. */
/* The upstreams of the configuration, or of /etc/resolv.conf. 0 or negative errno after having said
 * why. */
int upstream_start(struct dnsd *dnsd);
void upstream_ask(struct dnsd *dnsd, const struct client *client, const uint8_t *wire, size_t size,
		  size_t limit);
void upstream_free(struct dnsd *dnsd);

/* bus.c: the doorplate (0 or negative errno after having said why), and the log that feeds the
 * zone.
 */
int dnsd_serve(struct dnsd *dnsd);
void dnsd_follow(struct dnsd *dnsd);
void dnsd_unfollow(struct dnsd *dnsd);

struct dnsd *dnsd_new(struct daemon *daemon, const struct dnsd_config *config);
void dnsd_free(struct dnsd *dnsd);
DEFINE_CLEANUP(struct dnsd, dnsd_free);
int dnsd_start(struct dnsd *dnsd);

#endif
