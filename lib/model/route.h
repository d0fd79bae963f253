/* Routes: what the gateway and the resolver are asked and answer. */
#ifndef PLOYZ_MODEL_ROUTE_H
#define PLOYZ_MODEL_ROUTE_H

#include "lib/model/namespace.h"

/* Identifies a route in the whole cluster: `shop.example/api` or `tcp/5432`; owned by the
 * caller. */
char *route_key_http(const char *host, const char *path);
char *route_key_tcp(int64_t listen);
/* Every key of a service's routes; owned by the caller. */
char **route_keys(const struct service *service);

struct applied_request { /* routed.applied, dnsd.applied: answered once it is so */
	int64_t sequence;
};
struct applied {
	int64_t sequence;  /* applied up to */
	char *stale_since; /* NULL: fresh */
};
struct drained_request { /* routed.drained: answered once no connection is left, or after wait_ms */
	char **instances;
	int64_t sequence;
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
	char *trouble; /* why this one is not served, or NULL */
};
struct route_list {
	int64_t sequence;
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
	int64_t sequence;
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
