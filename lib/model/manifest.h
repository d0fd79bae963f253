/* Manifest: the desired state of one namespace, in one document. */
#ifndef PLOYZ_MODEL_MANIFEST_H
#define PLOYZ_MODEL_MANIFEST_H

#include "lib/codec.h"

#define MANIFEST_MAX_BYTES (256 * 1024)
#define MANIFEST_MAX_ROUTES 256 /* keys: each host counts */
#define MANIFEST_MAX_SLOTS 2000
#define MANIFEST_MAX_STRIP 8 /* segments of a path that `strip` removes */
#define READY_RUNNING_USEC (2 * 1000000ull) /* default of `ready: {running}` */
#define REPLICAS_GLOBAL (-1)		    /* one slot on every eligible machine */

enum protocol { PROTOCOL_TCP, PROTOCOL_UDP };
extern const char *const protocol_names[];

struct port {
	char *name;
	int64_t port;
	int protocol; /* enum protocol */
};

struct publish {
	char *port; /* a name of `ports` */
	int64_t host_port;
	char *address; /* NULL: the machine's own default */
};

struct http_route {
	char *port;   /* a name of `ports` */
	char **hosts; /* at least one */
	char *path;   /* `/` at least; `/api` matches /api and /api/… */
	bool strip;
};
struct tcp_route {
	char *port;
	int64_t listen;
};
struct route_spec { /* exactly one is set */
	struct http_route *http;
	struct tcp_route *tcp;
};

struct status_range {
	int64_t first, last; /* HTTP statuses, both included */
};
struct ready_http {
	char *port;
	char *path;
	struct status_range status; /* 200–399 */
};
struct ready_tcp {
	char *port;
};
struct ready { /* at most one of http, tcp, exec, running is set */
	struct ready_http *http;
	struct ready_tcp *tcp;
	char **exec;
	uint64_t running;      /* µs that the process must run without ending; 0: not used */
	uint64_t interval;     /* µs */
	uint64_t timeout;      /* µs */
	int64_t retries; /* consecutive failures after start_period until the instance has failed */
	uint64_t start_period; /* µs; failures before it do not count */
};

enum update_order { UPDATE_DEFAULT, UPDATE_START_FIRST, UPDATE_STOP_FIRST };
enum restart_policy { RESTART_UNLESS_STOPPED, RESTART_ALWAYS, RESTART_ON_FAILURE, RESTART_NO };
enum pull_policy { PULL_MISSING, PULL_ALWAYS, PULL_NEVER };
extern const char *const update_order_names[];
extern const char *const restart_policy_names[];
extern const char *const pull_policy_names[];

struct mount {
	char *volume; /* a name of the manifest's volumes, or NULL */
	char *tmpfs;  /* size (`64M`), or NULL */
	char *bind;   /* host path: namespace `system` only */
	char *target;
	bool readonly;
};
struct resources {
	double cpus;	 /* 0: no limit */
	uint64_t memory; /* bytes; 0: no limit */
};
enum spread { SPREAD_ZONE, SPREAD_MACHINE };
extern const char *const spread_names[];
struct placement {
	char **machines, **regions, **zones;
	struct pairs labels;
	int spread; /* enum spread */
};
struct pre_deploy {
	char **command;
	uint64_t timeout; /* µs */
};

struct service {
	char *name; /* the key in the manifest; the first member */
	char *image;
	int64_t replicas; /* or REPLICAS_GLOBAL */
	char **command, **entrypoint;
	struct pairs env;
	struct pairs files; /* path → text */
	struct port *ports;
	size_t n_ports;
	struct publish *publish;
	size_t n_publish;
	struct route_spec *routes;
	size_t n_routes;
	struct ready *ready; /* NULL: tcp on the first port, if there is one, otherwise running for
				READY_RUNNING_USEC; see service_ready */
	int update;	     /* enum update_order */
	uint64_t stop_grace; /* µs */
	int restart;	     /* enum restart_policy */
	int pull;	     /* enum pull_policy */
	struct mount *mounts;
	size_t n_mounts;
	struct resources resources;
	char *user;
	char **cap_add, **cap_drop;
	struct pairs sysctls;
	char *hostname;
	char *stop_signal;
	struct pairs labels;
	bool privileged;   /* namespace `system` only */
	bool host_network; /* namespace `system` only */
	struct placement placement;
	char **depends_on;
	struct pre_deploy *pre_deploy;
};

enum volume_mode { VOLUME_EXCLUSIVE, VOLUME_SHARED };
enum volume_driver { VOLUME_AUTO, VOLUME_BTRFS, VOLUME_ZFS, VOLUME_DIR };
struct volume {
	char *name; /* the key in the manifest; the first member */
	int mode;
	int driver;
	uint64_t quota; /* bytes; 0: none */
	char *owner;	/* uid:gid */
	char *perm;	/* octal */
};

/* Namespaces that may claim paths below this host, or hosts below this wildcard. */
struct grant {
	char *host;
	char **namespaces;
};
struct grants {
	struct grant *items;
	size_t count;
};

struct manifest {
	char *ns; /* wire: `namespace` */
	struct service *services;
	size_t n_services;
	struct volume *volumes;
	size_t n_volumes;
	struct grants grants;
};
extern const char *const volume_mode_names[];
extern const char *const volume_driver_names[];

DEFINE_MODEL(grant);
DEFINE_MODEL(port);
DEFINE_MODEL(service);
DEFINE_MODEL(volume);
DEFINE_MODEL(manifest);

/* Decodes a manifest from JSON and checks it strictly, including the references between its parts.
 * As codec_decode. */
int manifest_decode(const json_t *json, struct manifest **ret, struct failure *failure);
/* Reads JSON or YAML text; `name` is the file's name in messages. Reports all errors together:
 * *ret_errors gets lines `name:line:column: path: what (did you mean …)`, NULL-terminated, owned by
 * the caller; the manifest is set only if there are none. 0 or a negative errno. */
int manifest_parse(const char *name, const char *text, size_t size, struct manifest **ret,
		   char ***ret_errors);

/* Borrowed look-ups by name; NULL: there is none. */
const struct service *manifest_service(const struct manifest *manifest, const char *name);
const struct volume *manifest_volume(const struct manifest *manifest, const char *name);
const struct port *service_port(const struct service *service, const char *name);
/* Fills `ret` with the service's readiness probe, defaults applied; its pointers are borrowed. */
void service_ready(const struct service *service, struct ready *ret);
/* The service's update order and the reason (`why` is static text): stop-first if the manifest says
 * so, or if a published host port or an exclusive volume requires it. */
enum update_order service_update(const struct manifest *manifest, const struct service *service,
				 const char **ret_why);
/* SHA-256 over the fields that change the container, with the image replaced by its resolved
 * `digest` (NULL: the name). Replicas, routes, placement and the probe schedule are left out. Owned
 * by the caller. */
char *service_hash(const struct service *service, const char *digest);
/* SHA-256 over the whole manifest; owned by the caller. */
char *manifest_hash(const struct manifest *manifest);

#endif
