/* placerd: which machine for which slot, from live probes. Nothing of it is stored. */
#ifndef PLOYZ_PLACERD_H
#define PLOYZ_PLACERD_H

#include "lib/ployz.h"

#define AGENT_USEC (2 * 1000000ull) /* agentd lists containers in tens of milliseconds */
/* Another machine's probe: its agentd's time and the way there. */
#define PROBE_USEC (3 * 1000000ull)
/* A store that was killed and started again, and the leaf link to it. */
#define LOST_USEC (2 * 1000000ull)
/* The snapshot of the log; with the probes below what leased waits (10 s). */
#define INTENT_USEC (4 * 1000000ull)

struct placerd_config {
	struct daemon_config daemon;
	char *proc; /* where the kernel's files are: /proc */
};

struct placerd {
	const struct placerd_config *config;
	struct daemon *daemon;
	struct gathering *gatherings; /* plans being made, any number at once */
	struct probing *probings;     /* probes of this machine being made */
	uint64_t plans;		      /* made since the start */
	uint64_t probes;
};

/* placerd.c */
struct placerd *placerd_new(struct daemon *daemon, const struct placerd_config *config);
int placerd_start(struct placerd *placerd);
void placerd_free(struct placerd *placerd);
DEFINE_CLEANUP(struct placerd, placerd_free);

/* bus.c: the doorplate. 0 or negative errno after having said why. */
int placerd_serve(struct placerd *placerd);

/* proc.c (pure): the kernel's texts */
/* A value of /proc/meminfo in bytes; 0 when it is not there. */
uint64_t proc_meminfo(const char *text, const char *key);
/* The first number of /proc/loadavg; 0 when it is none. */
double proc_loadavg(const char *text);
/* Adds the ports that /proc/net/{tcp,tcp6,udp,udp6} show as listened on and `probe` does not have
 * yet, without an owner. */
void proc_listeners(const char *text, enum protocol protocol, struct probe *probe);

/* probe.c: this machine, seen live */
struct probing;
typedef void (*probe_fn)(struct probe *probe, void *userdata);
/* Calls `fn` once, with a probe that it owns from then on; never before this has returned. */
struct probing *probe_make(struct placerd *placerd, char *const *images, probe_fn fn,
			   void *userdata);
/* Forgets it: `fn` is not called. */
void probe_drop(struct probing *probing);

/* gather.c: intent and probes of all machines for one plan */
void gather_start(struct placerd *placerd, struct bus_call *call,
		  const struct plan_request *request);
void gather_drop(struct gathering *gathering);
/* Plans that are being made now. */
size_t gather_count(const struct placerd *placerd);

/* One machine as the planner is shown it. All borrowed. */
struct sight {
	const struct machine *machine;
	const struct probe *probe; /* NULL: it did not answer */
	const char *silence;	   /* why, when it did not */
};
/* What a plan is made from. All borrowed. */
struct plan_input {
	const struct manifest *manifest;
	const struct head *head;	  /* the namespace's, or NULL */
	uint64_t sequence;		  /* that committed it; 0: nothing committed */
	const struct head *const *others; /* of every other namespace */
	size_t n_others;
	const struct sight *sights; /* machines that are neither joining nor removed */
	size_t n_sights;
	const struct region *const *regions;
	size_t n_regions;
	const char *deploy; /* the asker's, or NULL: its reservations and candidates do not count */
};

/* A host port that a slot of this plan takes, or that a slot which goes holds until it is gone. */
struct claim {
	int64_t port;
	int protocol;
	char *owner; /* namespace/service */
};
/* A machine while the plan is being made: what is left of it. */
struct host {
	const struct sight *sight;
	const struct region *region; /* NULL: it has no record, and any role's duties */
	int64_t memory_left;	     /* bytes; below zero where more is promised than there is */
	double cpus_left;
	size_t instances;  /* that run or will run there */
	size_t zone;	   /* the first host of the same zone */
	size_t on_machine; /* slots of the service that is being placed: here, */
	size_t in_zone;	   /* and in the zone; on the zone's first host */
	struct claim *claims;
	size_t n_claims;
};
struct home { /* of an exclusive volume */
	const char *volume;
	const char *machine;
};
/* The plan while it is being made. */
struct planning {
	const struct plan_input *input;
	struct host *hosts; /* by id */
	size_t n_hosts;
	struct home *homes;
	size_t n_homes;
	struct plan *plan;
};
/* One service while its slots are being placed. */
struct placing {
	struct planning *planning;
	const struct service *service;
	const struct head_service *head; /* NULL: it is new */
	const struct service *before;	 /* as the head's manifest has it; NULL: it is new */
	enum update_order update;
	const char *why_update;
};

/* plan.c (pure) */
/* The same input gives the same plan. Owned by the caller; never NULL. */
struct plan *plan_make(const struct plan_input *input);
struct plan_slot *plan_add(struct planning *planning, const char *service, int64_t slot,
			   enum slot_action action, const char *machine);
void plan_warn(struct planning *planning, const char *format, ...) _printf_(2, 3);
/* `path` becomes the refusal's. */
void plan_refuse(struct planning *planning, char *path, const char *hint, const char *format, ...)
	_printf_(4, 5);

/* host.c (pure): machines and what is left of them */
void hosts_make(struct planning *planning);
void hosts_free(struct planning *planning);
/* Borrowed, or NULL. */
struct host *host_find(const struct planning *planning, const char *machine);
/* The id of the image on that machine, or NULL: absent, or known once it is pulled. Borrowed. */
const char *host_digest(const struct host *host, const struct service *service);
bool host_has_image(const struct host *host, const char *image);
/* Takes the service's room on the machine. */
void host_take(struct host *host, const char *ns, const struct service *service);
/* Gives back what an instance of the service had there: it stops before the next one starts. */
void host_release(struct host *host, const struct service *service);
void host_claim(struct host *host, const char *ns, const struct service *service);
/* The instance as the machine's probe saw it, or NULL. Borrowed. */
const struct instance *host_instance(const struct host *host, const char *id);
/* An instance in this state is one that goes on without anybody's doing. */
bool instance_runs(const struct instance *instance);

/* filter.c (pure): may this service run there? */
enum filter {
	FILTER_LIFE_CYCLE,
	FILTER_REGION,
	FILTER_ENGINE,
	FILTER_PLACE,
	FILTER_ARCH,
	FILTER_VOLUME,
	FILTER_IMAGE,
	FILTER_PORT,
	FILTER_MEMORY,
	FILTER_CPUS,
	FILTER_COUNT,
};
/* The first filter that the machine fails, with *ret_why in words (owned by the caller);
 * FILTER_COUNT: none. `fresh`: a new container is needed there. */
enum filter filter_host(struct placing *placing, const struct host *host, bool fresh,
			char **ret_why);
/* The refusal: what each machine failed, and at which part of the manifest that lies. */
void filter_refuse(struct placing *placing, int64_t slot);

/* volume.c (pure): a slot is bound to the machine where its exclusive volume lives */
void volumes_make(struct planning *planning);
/* An exclusive volume of the service that lives on another machine than this one: its home, or
 * NULL. */
const struct home *volume_elsewhere(const struct planning *planning, const struct service *service,
				    const char *machine);
/* The service's exclusive volumes live on this machine from now on. */
void volume_settle(struct planning *planning, const struct service *service, const char *machine);
void volumes_check(struct planning *planning);

/* choose.c (pure): the best of those that may */
/* A machine for a new container of the service, or NULL; *ret_why in words, owned by the caller. */
struct host *choose_host(struct placing *placing, char **ret_why);

/* slots.c (pure): the slots of one service */
/* What stays where it runs, and what is replaced there; what goes. Before any place_rest. */
void slots_stay(struct placing *placing);
/* Places what has no machine yet. */
void slots_place(struct placing *placing);
/* Services that the manifest does not name any more. */
void slots_remove_services(struct planning *planning);

/* diff.c (pure): what changed, in words */
/* In what the container made of `after` differs from the one made of `before`; owned by the caller.
 * Values are not told: they may be secret. */
char *diff_service(const struct service *before, const struct service *after,
		   const char *digest_before, const char *digest_after);

/* conflict.c (pure): what the whole manifest may not have, and its routes */
void conflicts_check(struct planning *planning);
void routes_plan(struct planning *planning);

#endif
