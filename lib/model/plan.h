/* Plan and probe: the input of placement and its decisions, with the reason for each slot. */
#ifndef PLOYZ_MODEL_PLAN_H
#define PLOYZ_MODEL_PLAN_H

#include "lib/model/instance.h"
#include "lib/model/machine.h"

/* Answer of placerd.probe: the present state of one machine. Never stored. */
struct reservation {
	char *ns;
	int64_t epoch;
	char *deploy;
	uint64_t memory; /* bytes */
	double cpus;
	struct host_port *host_ports;
	size_t n_host_ports;
	char **volumes; /* <ns>/<volume> */
	char **routes;	/* host and path, or tcp/<port>: route_key of lib/model/route.h */
};
struct host_port {
	int64_t port;
	int protocol;
	char *owner;   /* <ns>/<service>, or NULL: something outside ployz listens there */
	char *address; /* local address of the socket; NULL: unknown, maybe all */
};
struct probe {
	char *machine;
	int64_t cores;
	double load;	      /* 1-minute load average */
	uint64_t memory;      /* bytes */
	uint64_t memory_free; /* bytes available (MemAvailable) */
	uint64_t disk;	      /* bytes, of the engine's root */
	uint64_t disk_free;
	bool engine; /* reachable */
	char *engine_version;
	char *engine_error; /* why it is not reachable */
	char *arch;
	struct instance *instances; /* containers with our labels, as they are now */
	size_t n_instances;
	struct reservation *reservations; /* reservations of the present locks */
	size_t n_reservations;
	struct host_port *host_ports; /* ports taken on the machine */
	size_t n_host_ports;
	struct image_seen *images; /* of the requested images */
	size_t n_images;
	char **gateway_http;   /* ADDRESS:PORT where the machine's gateway takes HTTP */
	char *gateway_address; /* where it listens for tcp routes; `*`: on all addresses */
};
struct image_seen {
	char *image;
	char *digest; /* NULL: not on this machine */
};
DEFINE_MODEL(host_port);
DEFINE_MODEL(image_seen);
DEFINE_MODEL(probe);
DEFINE_MODEL(reservation);
struct probe_request {
	char **images; /* images whose digests the answer should contain */
};
DEFINE_MODEL(probe_request);

enum slot_action { SLOT_KEEP, SLOT_START, SLOT_REPLACE, SLOT_REMOVE };
extern const char *const slot_action_names[];

struct plan_slot {
	char *service;
	int64_t slot;
	int action;
	char *machine;	/* machine of the new instance (remove: of the present one) */
	char *from;	/* replace: the machine of the old instance, when another */
	char *instance; /* keep: the kept instance; start, replace: NULL until the deploy names it
			 */
	char *old;	/* replace, remove: the instance that is removed */
	char *digest;	/* image; NULL: known once it is pulled */
	int update;	/* enum update_order, of a replace */
	char *why;	/* as text: why this action and this machine */
	char *why_update;
};
/* The location of a volume that the manifest's services mount; it may be new. */
struct plan_volume {
	char *name;
	char *machine;
	int mode;	    /* enum volume_mode */
	int driver;	    /* enum volume_driver */
	int64_t generation; /* as recorded; of a new one: 1 */
	bool new_;	    /* wire: `new`: the head has no row of it there; it is created */
};
struct plan_route {
	char *key;     /* shop.example/ or tcp/5432 */
	char *service; /* service that gets the route; NULL: the route is removed */
	char *action;  /* add, keep, change, remove */
};
struct plan {
	char *ns;
	int64_t sequence; /* committed sequence it was made from (0: nothing committed) */
	int64_t head;	  /* sequence of the namespace's last entry when it was made; 0: none */
	int64_t revision; /* of the state it was made from */
	bool changes;
	bool removes_all; /* needs `yes` */
	struct plan_slot
		*slots; /* services in the manifest's order, slots by number, removals last */
	size_t n_slots;
	struct plan_volume *volumes;
	size_t n_volumes;
	struct plan_route *routes;
	size_t n_routes;
	char **warnings;
	struct plan_refusal *refusals; /* if there is one, the plan cannot be executed */
	size_t n_refusals;
	char **unreachable; /* machines that did not answer the probe */
	char *hash;	    /* manifest_hash */
};
struct plan_refusal {
	char *path; /* services.web.publish[0] */
	char *message;
	char *hint;
};
DEFINE_MODEL(plan);
struct plan_request {
	struct manifest *manifest;
	char *deploy; /* deploy whose own reservations and candidates do not count; NULL for a
			 preview */
	int64_t head; /* the namespace's last entry must be at least this one; 0: any */
	struct pairs digests; /* rollback: service → image id that it has to run */
};
DEFINE_MODEL(plan_request);

#endif
