/* Instances: facts that each machine writes of its own containers. */
#ifndef PLOYZ_MODEL_INSTANCE_H
#define PLOYZ_MODEL_INSTANCE_H

#include "lib/model/manifest.h"

enum instance_state {
	INSTANCE_PULLING,
	INSTANCE_CREATED,
	INSTANCE_STARTING,
	INSTANCE_READY,
	INSTANCE_UNREADY,
	INSTANCE_DRAINING,
	INSTANCE_STOPPED, /* stopped by its deploy and kept, until the deploy has committed or
			     failed */
	INSTANCE_GONE,
	INSTANCE_FAILED,
};
extern const char *const instance_state_names[];

/* The slot of a pre_deploy container in the facts: its deploy is known by its address; it is never
 * committed and gets no traffic. */
#define INSTANCE_RUN_SLOT (-1)

struct instance {
	char *id;	 /* container name: <ns>-<service>-<slot>-<deploy> */
	char *container; /* the engine's own id of the container; NULL: not made yet */
	char *ns;
	char *service;
	int64_t slot;
	char *deploy; /* the deploy that started it */
	int64_t epoch;
	int state;
	char *address; /* IPv4 on ployz0, or NULL while there is none */
	struct port *ports;
	size_t n_ports;
	char *image;	   /* as the manifest named it */
	char *digest;	   /* what runs: image id */
	char *hash;	   /* service_hash it was made from */
	char *reason;	   /* of unready, failed, gone */
	int64_t exit_code; /* -1: none */
	int64_t restarts;
	char *since; /* of the state; RFC 3339 */
};
DEFINE_MODEL(instance);

/* ployz.v1.facts.<machine>.<ns>: all of them in one entry. */
struct instances {
	char *machine;
	char *ns;
	struct instance *instances;
	size_t n_instances;
	char *nonce; /* of this write */
};
DEFINE_MODEL(instances);

/* The id of an instance, the same for each repetition of a deploy's request; owned by the
 * caller. */
char *instance_id(const char *ns, const char *service, int64_t slot, const char *deploy);
/* Whether it can be one, whoever says so: it becomes a part of paths, subjects and the gateway's
 * configuration. */
bool instance_id_valid(const char *id);
/* Whether it is an IPv4 address; NULL is none. */
bool instance_address_valid(const char *address);
const struct instance *instances_find(const struct instances *instances, const char *id);
/* Whether traffic may go to an instance in this state. */
bool instance_is_routable(enum instance_state state);

#endif
