/* Instances: the facts that each machine writes about its own containers. */
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
	INSTANCE_STOPPED, /* stopped and kept by its deploy until the deploy has committed or failed
			   */
	INSTANCE_GONE,
	INSTANCE_FAILED,
};
extern const char *const instance_state_names[];

/* The slot of a pre_deploy container in the facts, by which the resolver finds the deploy of its
 * address. It is never committed and gets no traffic. */
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
	char *digest;	   /* id of the image that runs */
	char *hash;	   /* service_hash of the service it was made from */
	char *reason;	   /* of unready, failed, gone */
	int64_t exit_code; /* -1: none */
	int64_t restarts;
	char *since; /* when the state last changed; RFC 3339 */
};
DEFINE_MODEL(instance);

/* ployz.v1.facts.<machine>.<ns>: all instances of a namespace on a machine. */
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
/* Whether the text is a valid instance id: ids become parts of paths, subjects and the gateway's
 * configuration. */
bool instance_id_valid(const char *id);
/* Whether the text is an IPv4 address; false for NULL. */
bool instance_address_valid(const char *address);
const struct instance *instances_find(const struct instances *instances, const char *id);
/* Whether traffic may go to an instance in this state. */
bool instance_is_routable(enum instance_state state);

#endif
