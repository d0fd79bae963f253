/* Routes: what the gateway and the resolver are asked and answer. */
#ifndef PLOYZ_MODEL_ROUTE_H
#define PLOYZ_MODEL_ROUTE_H

#include "lib/model/namespace.h"
#include "lib/model/watermark.h"

/* Identifies a route in the whole cluster: `shop.example/api` or `tcp/5432`; owned by the
 * caller. */
char *route_key_http(const char *host, const char *path);
char *route_key_tcp(int64_t listen);
/* Every key of a service's routes; owned by the caller. */
char **route_keys(const struct service *service);

/* The key as one token of a subject: what is not a letter, a digit, `-` or `_` becomes %XX; and
 * back (NULL when it is not such a token). Both are owned by the caller. */
char *route_token(const char *key);
char *route_token_decode(const char *token);

/* ployz.v1.intent.route.<key>: which namespace has a host, a path of it or a tcp port. The key of a
 * claim on a host is the host alone. */
struct route_claim {
	char *key;
	char *ns;
	char *deploy;
	int64_t epoch;
	int64_t generation; /* of the store */
	char *at;	    /* RFC 3339 */
	char *nonce;	    /* of this write */
};
DEFINE_MODEL(route_claim);
/* Whether the claim holds, `head` being the claimant's (NULL: it has none): the head contains the
 * route (for a host: any route on it), or its open deploy is the claimant. */
bool route_claim_valid(const struct route_claim *claim, const struct head *head);
/* Whether `host` (maybe a wildcard `*.example`) covers `other`. */
bool route_host_covers(const char *host, const char *other);
/* Every key that a head's routes have to claim: for http the host and, below `/`, host and path;
 * for tcp the port. No key twice; owned by the caller. */
char **route_claim_keys(const struct head *head);

struct applied_request { /* routed.applied, dnsd.applied: answered once it is so */
	char *ns;	 /* whose entries must be applied; NULL: all */
	struct watermark wanted;
};
struct applied {
	struct watermark applied;
	char *stale_since; /* NULL: fresh */
	char *held;	   /* the item of the namespace that is held back, and why; NULL: none */
	char **unserved;   /* routed: routes of the namespace that it cannot serve, and why */
};
struct drained_request { /* routed.drained: answered once no connection is left, or after wait_ms */
	char **instances;
	struct watermark wanted;
	int64_t wait_ms;
};
struct drained {
	int64_t connections; /* left */
};
struct route_server {
	char *instance;
	char *machine;
	char *address; /* ip:port */
	char *state;   /* ready, held, drain, down */
	int64_t connections;
};
struct route_view {
	char *key;
	char *kind; /* http, tcp */
	char *ns;
	char *service;
	char *port;
	bool strip;
	struct route_server *servers;
	size_t n_servers;
	char *error; /* why this one is not served, or NULL */
};
struct route_list {
	struct watermark applied;
	char *stale_since;
	struct route_view *routes;
	size_t n_routes;
};
struct resolve_request { /* dnsd.resolve */
	char *name;
	char *type; /* A, AAAA, SRV, TXT */
	char *ns;   /* the caller's namespace, or NULL */
};
struct resolve_record {
	char *name;
	char *type;
	int64_t ttl;
	char *data;
};
struct resolved {
	char *status; /* NOERROR, NXDOMAIN, SERVFAIL, REFUSED, FORWARDED: not a name of the zone */
	char *why;    /* in words */
	struct resolve_record *records;
	size_t n_records;
	struct watermark applied;
	char *stale_since;
};
DEFINE_MODEL(applied_request);
DEFINE_MODEL(applied);
DEFINE_MODEL(drained_request);
DEFINE_MODEL(drained);
DEFINE_MODEL(route_list);
DEFINE_MODEL(resolve_request);
DEFINE_MODEL(resolved);

#endif
