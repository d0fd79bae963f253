/* Namespace head: one log entry with the complete state of a namespace except its manifest. */
#ifndef PLOYZ_MODEL_NAMESPACE_H
#define PLOYZ_MODEL_NAMESPACE_H

#include "lib/model/manifest.h"
#include "lib/model/watermark.h"

struct slot {
	int64_t slot; /* 0, 1, … */
	char *instance;
	char *machine;
	char *address; /* IPv4 that the instance had when it was committed */
	char *deploy;  /* deploy that started the instance */
	char *hash;    /* service_hash of the service that runs there */
};
struct head_service {
	char *name;
	char *digest; /* of the image */
	struct port *ports;
	size_t n_ports;
	uint64_t stop_grace; /* µs */
	struct slot *slots;
	size_t n_slots;
};
/* One key of one route. */
struct head_route {
	char *key; /* route_key_http or route_key_tcp */
	char *service;
	char *port; /* a name of the service's ports */
	char *host; /* http; NULL: tcp */
	char *path; /* http */
	bool strip;
	int64_t listen; /* tcp */
};
/* The location of a volume's data. An exclusive volume has one row, a shared one a row per machine.
 * A row stays when the service that mounts it is removed. */
struct head_volume {
	char *name;
	char *machine;
	int mode;	    /* enum volume_mode */
	int driver;	    /* enum volume_driver */
	int64_t generation; /* raised when the data moves or is restored; from 1 */
};
struct open_deploy {
	char *deploy;
	int64_t epoch;
	int64_t generation; /* of the store */
	char *machine;	    /* whose leased executes it */
	char *verb;
	char *operator_; /* wire: `operator` */
	char *since;
};

/* ployz.v1.intent.namespace.<ns> */
struct head {
	char *ns;
	int64_t revision;	/* raised by each commit; 0: nothing was ever committed */
	int64_t committed;	/* sequence of the entry that committed this revision; 0: this entry
				   itself */
	char *deploy;		/* deploy that committed this state */
	char *verb;		/* deploy, remove, rollback … */
	char *operator_;	/* wire: `operator`: the operator's name */
	char *from;		/* wire: `from`: the machine that the command was given on */
	char *why;		/* free text, or NULL */
	char *at;		/* RFC 3339 */
	char *writer;		/* the deploy that wrote this entry */
	int64_t epoch;		/* epoch of that deploy */
	int64_t generation;	/* store generation that the writer's leased knew */
	char *nonce;		/* by which the writer identifies its entry */
	char *hash;		/* manifest_hash of the committed manifest */
	int64_t release_number; /* its release.number */
	int64_t release;	/* sequence of that manifest in PLOYZ_MANIFESTS; 0: none */
	int64_t facts; /* PLOYZ_FACTS up to which the committed instances were ready: a gateway or
			  resolver serves this head once it has applied these facts */
	struct head_service *services; /* the manifest's services, in its order */
	size_t n_services;
	struct head_route *routes;
	size_t n_routes;
	struct grant *grants;
	size_t n_grants;
	struct head_volume *volumes;
	size_t n_volumes;
	struct open_deploy *open; /* NULL: none */
	char *outcome;		  /* on a closing entry: the outcome of the deploy that was open */
};
DEFINE_MODEL(slot);
DEFINE_MODEL(open_deploy);
DEFINE_MODEL(head_service);
DEFINE_MODEL(head_volume);
DEFINE_MODEL(head);

/* Sequence of the entry that committed this state; `head` was read at the given sequence. */
uint64_t head_committed(const struct head *head, uint64_t sequence);
const struct head_service *head_service(const struct head *head, const char *name);
/* The slot that names this instance, or NULL. `ret_service` may be NULL. Borrowed. */
const struct slot *head_instance(const struct head *head, const char *instance,
				 const struct head_service **ret_service);
/* The port of that name, or NULL; borrowed. */
const struct port *head_service_port(const struct head_service *service, const char *name);
/* The row of a volume on this machine or (machine NULL) on any; NULL: the head has none. Borrowed.
 */
const struct head_volume *head_volume(const struct head *head, const char *name,
				      const char *machine);
const struct head_route *head_route(const struct head *head, const char *key);
/* Whether a reader that has applied `applied` may serve this head. Heads and facts are streams
 * without a common order: a head that is served before its facts names instances that do not seem
 * ready yet. Sequences of another generation are not compared. */
bool head_may_serve(const struct head *head, const struct watermark *applied);
/* Replaces the routes and grants of `head` by those of the manifest. */
void head_take_routes(struct head *head, const struct manifest *manifest);

#endif
