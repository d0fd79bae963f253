/* Routes: keys, claims, and the requests to gateway and resolver with their answers. */
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
/* Whether the claim is valid: the claimant's `head` (NULL: it has none) contains the route (for a
 * host: any route on it), or its open deploy is the claimant. */
bool route_claim_valid(const struct route_claim *claim, const struct head *head);
/* Whether `host` (maybe a wildcard `*.example`) covers `other`. */
bool route_host_covers(const char *host, const char *other);
/* The keys that a head's routes must claim, each once: for http the host and, below `/`, host and
 * path; for tcp the port. Owned by the caller. */
char **route_claim_keys(const struct head *head);

/* --- route-owner.c: who owns hosts and ports. A host belongs to one namespace. */
struct route_claimed {
	const struct route_claim *claim;
	uint64_t sequence; /* of the claim's entry */
};
/* All claims and all heads, those of the asking namespace too. Borrowed. */
struct route_known {
	const struct route_claimed *claims;
	size_t n_claims;
	const struct head *const *heads;
	size_t n_heads;
	char *const *unreadable; /* namespaces whose head cannot be decoded: their claims count */
};
/* Makes the table of owners. The objects that `known` refers to must exist as long as the result.
 */
struct route_owners;
struct route_owners *route_owners_new(const struct route_known *known);
void route_owners_free(struct route_owners *owners);
DEFINE_CLEANUP(struct route_owners, route_owners_free);
struct route_conflict {
	char *key;    /* of the wanted route */
	char *ns;     /* of the owner */
	char *reason; /* `host a.example belongs to namespace blog, which …` */
};
/* Whether `wanted` (its ns, routes and grants are used) may not have this route, because another
 * namespace owns the key, the host or a wildcard above the host and does not grant it. Of two
 * claims under different keys the lower sequence was first. The function is used before a deploy
 * claims, without its claims, and afterwards, with them. `ret` (may be NULL) is filled on a
 * conflict; the caller clears it. */
bool route_conflict_of(const struct route_owners *owners, const struct head *wanted,
		       const struct head_route *route, struct route_conflict *ret);
/* The same for the first route of `wanted` that has a conflict. */
bool route_conflict(const struct route_owners *owners, const struct head *wanted,
		    struct route_conflict *ret);
void route_conflict_clear(struct route_conflict *conflict);
/* The keys that `wanted` must still claim: those of route_claim_keys except its namespace's valid
 * claims and the hosts that another namespace owns and grants. Owned by the caller. */
char **route_claims_needed(const struct route_owners *owners, const struct head *wanted);

struct applied_request { /* routed.applied, dnsd.applied: answered once the entries are applied */
	char *ns;	 /* whose entries must be applied; NULL: all */
	struct watermark wanted;
};
struct applied {
	struct watermark applied;
	char *stale_since; /* NULL: live */
	char *held;	   /* the item of the namespace that is held back, and why; NULL: none */
	char **unserved; /* routed: routes of the namespace that it cannot serve, with the reason */
};
struct drained_request { /* routed.drained: answered once no connection is left, or after wait_ms */
	char **instances;
	struct watermark wanted;
	int64_t wait_ms;
};
struct drained {
	int64_t connections; /* connections that are left */
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
	char *why;    /* the reason as text */
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
