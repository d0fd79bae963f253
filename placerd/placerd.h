/* placerd: placement. It plans which machine gets which slot, from live probes; it stores nothing.
 */
#ifndef PLOYZ_PLACERD_H
#define PLOYZ_PLACERD_H

#include "lib/ployz.h"

#define AGENT_USEC (2 * 1000000ull) /* agentd lists containers in tens of milliseconds */
/* Another machine's probe: its agentd's time and the way there. */
#define PROBE_USEC (3 * 1000000ull)
/* A store that was killed and started again, and the leaf link to it. */
#define LOST_USEC (2 * 1000000ull)
/* The snapshot of PLOYZ_INTENT; with the probes below leased's own limit (10 s). */
#define SNAPSHOT_USEC (4 * 1000000ull)
/* One manifest of PLOYZ_MANIFESTS; the probes take as long. */
#define MANIFEST_USEC (3 * 1000000ull)
#define MANIFESTS_AT_ONCE 32 /* at most 256 KiB each */

struct placerd_config {
	struct daemon_config daemon;
	char *proc;	       /* directory of the kernel's files: /proc */
	char **gateway_http;   /* routed's: where this machine's gateway takes HTTP */
	char *gateway_address; /* routed's: where it listens for tcp routes */
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

/* bus.c: the endpoints. 0 or a negative errno, with the reason logged. */
int placerd_serve(struct placerd *placerd);

/* proc.c (pure): the kernel's texts */
/* A value of /proc/meminfo in bytes; 0 when it is not there. */
uint64_t proc_meminfo(const char *text, const char *key);
/* The first number of /proc/loadavg; 0 when it is none. */
double proc_loadavg(const char *text);
/* Adds the ports that /proc/net/{tcp,tcp6,udp,udp6} show as listened on, each with its address and
 * without an owner, unless `probe` has them already. */
void proc_listeners(const char *text, enum protocol protocol, struct probe *probe);

/* probe.c: this machine, seen live */
struct probing;
typedef void (*probe_fn)(struct probe *probe, void *userdata);
/* Calls `fn` once, with a probe that it owns from then on; never before this has returned. */
struct probing *probe_make(struct placerd *placerd, char *const *images, probe_fn fn,
			   void *userdata);
/* Cancels it: `fn` is not called. */
void probe_drop(struct probing *probing);

/* snapshot.c: PLOYZ_INTENT as the store's leader has it */
struct namespace_entry {
	char *ns;
	struct head *head; /* NULL: it cannot be decoded */
	uint64_t sequence;
	struct manifest *manifest; /* committed; read by manifests.c; NULL: none, or not kept */
};
struct member_entry {
	struct member *member; /* of one that cannot be decoded: the id alone */
	char *error;	       /* why it cannot be decoded, or NULL */
	struct probe *probe;   /* taken by gather.c; NULL: none */
	char *probe_error;     /* why there is none */
};
struct claim_entry {
	struct route_claim *claim;
	uint64_t sequence;
};
struct snapshot {
	struct namespace_entry *namespaces;
	size_t n_namespaces;
	struct member_entry *members; /* when it is complete: those that take part */
	size_t n_members;
	struct region **regions;
	size_t n_regions;
	struct claim_entry *claims;
	size_t n_claims;
	char **warnings; /* entries that cannot be decoded */
	struct snapshot_reading *reading;
};
/* Called once: with a failure, or (NULL) when the snapshot is complete: it holds everything that
 * the leader has, and the namespace's last entry is at `head` or later. */
typedef void (*snapshot_fn)(const struct failure *failure, void *userdata);
struct snapshot *snapshot_read(struct placerd *placerd, const char *ns, uint64_t head,
			       snapshot_fn fn, void *userdata);
void snapshot_free(struct snapshot *snapshot);
DEFINE_CLEANUP(struct snapshot, snapshot_free);
/* Borrowed, or NULL: no entry. */
struct namespace_entry *snapshot_namespace(const struct snapshot *snapshot, const char *ns);

/* manifests.c: the committed manifest of every namespace of the snapshot */
struct manifests;
/* Called once: with a failure, or (NULL) when each is read or known not to be kept any more. */
typedef void (*manifests_fn)(const struct failure *failure, void *userdata);
struct manifests *manifests_read(struct placerd *placerd, struct snapshot *snapshot,
				 manifests_fn fn, void *userdata);
void manifests_free(struct manifests *manifests);
DEFINE_CLEANUP(struct manifests, manifests_free);

/* gather.c: snapshot, manifests and probes of all machines for one plan */
void gather_start(struct placerd *placerd, struct bus_call *call,
		  const struct plan_request *request);
void gather_drop(struct gathering *gathering);
/* Plans that are being made now. */
size_t gather_count(const struct placerd *placerd);

/* One machine as the planner sees it. All borrowed. */
struct machine_view {
	const struct member *member;
	const char *record_error;  /* why the member record cannot be decoded, or NULL */
	const struct probe *probe; /* NULL: it did not answer */
	const char *probe_error;   /* why it did not answer */
};
/* Another namespace. All borrowed. */
struct namespace_view {
	const struct head *head;
	const struct manifest
		*manifest; /* as committed; NULL: none, or not in the store any more */
};
/* What a plan is made from. All borrowed. */
struct plan_input {
	const struct manifest *manifest;
	const struct pairs *digests;   /* service → image id that it has to run; NULL: none */
	const struct head *head;       /* the namespace's, or NULL */
	uint64_t entry;		       /* sequence of the entry that `head` is; 0: none */
	uint64_t sequence;	       /* that committed it; 0: nothing committed */
	const struct manifest *before; /* committed; NULL: none, or not in the store any more */
	const struct namespace_view *others;
	size_t n_others;
	const struct machine_view *machines; /* members that take part */
	size_t n_machines;
	const struct region *const *regions;
	size_t n_regions;
	const struct route_known *routes; /* claims and heads, with the namespace's own; or NULL */
	const char *deploy; /* the asker's, or NULL: its reservations and candidates do not count */
};

/* A host port that a slot of this plan takes, or that a removed slot holds until the commit. */
struct port_claim {
	int64_t port;
	int protocol;
	char *owner; /* namespace/service */
};
/* A machine while the plan is being made: what is left of it. */
struct host {
	const struct machine_view *view;
	const struct region *region; /* NULL: it has no record, which excludes nothing */
	int64_t memory_left;	     /* bytes; below zero where more is reserved than there is */
	double cpus_left;
	size_t instances;  /* that run or will run there */
	size_t zone;	   /* index of the first host of the same zone */
	size_t on_machine; /* slots of the service that is being placed: here, */
	size_t in_zone;	   /* and in the zone; on the zone's first host */
	struct port_claim *claims;
	size_t n_claims;
};
/* A port on which every gateway listens for a tcp route. Borrowed. */
struct listen {
	int64_t port;
	const char *ns;
};
/* The plan while it is being made. */
struct planning {
	const struct plan_input *input;
	struct host *hosts; /* by id */
	size_t n_hosts;
	struct head *wanted;	/* the manifest's routes and grants as a head holds them */
	struct listen *listens; /* of `wanted` and of all other heads */
	size_t n_listens;
	struct plan *plan;
};
/* One service while its slots are being placed. */
struct placing {
	struct planning *planning;
	const struct service *service;
	const struct head_service *head; /* NULL: it is new */
	const struct service *before;	 /* as committed; NULL: new, or not known any more */
	const char *pinned;		 /* image id that it has to run, or NULL */
	enum update_order update;
	const char *why_update;
	const struct slot **kept; /* slots of the head that the service keeps, by number */
	size_t n_kept;
	const struct slot **lost; /* slots on machines that cannot be asked, by number */
	size_t n_lost;
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
/* The id of the image that the service would run on that machine, or NULL: absent, or known once it
 * is pulled. Borrowed. */
const char *host_digest(const struct host *host, const struct placing *placing);
bool host_has_image(const struct host *host, const char *image);
/* Whether an image with this id is there. */
bool host_has_digest(const struct host *host, const char *digest);
/* Subtracts the service's requests from the machine's free capacity. */
void host_take(struct host *host, const char *ns, const struct service *service);
/* Gives back what an instance of the service had there: it stops before the next one starts. */
void host_release(struct host *host, const struct service *service);
void host_claim(struct host *host, const char *ns, const struct service *service);
/* The instance as the machine's probe saw it, or NULL. Borrowed. */
const struct instance *host_instance(const struct host *host, const char *id);
/* Whether an instance in this state runs and continues to run. */
bool instance_runs(const struct instance *instance);

/* address.c (pure): addresses that are listened on */
/* Whether one port cannot be listened on at both addresses; NULL, `*`, `0.0.0.0` and `::` stand for
 * all. */
bool addresses_overlap(const char *a, const char *b);
/* Whether the machine's gateway takes HTTP on this port and address (NULL: any). */
bool gateway_has_port(const struct probe *probe, int64_t port, const char *address);

/* filter.c (pure): may this service run there? */
enum filter {
	FILTER_LIFE_CYCLE,
	FILTER_REGION,
	FILTER_ENGINE,
	FILTER_PLACEMENT,
	FILTER_ARCH,
	FILTER_VOLUME,
	FILTER_IMAGE,
	FILTER_PORT,
	FILTER_MEMORY,
	FILTER_CPUS,
	FILTER_COUNT,
};
/* The first filter that the machine fails, with *ret_why as text (owned by the caller; may be
 * NULL); FILTER_COUNT: none. `fresh`: a new container is needed there. */
enum filter filter_host(const struct placing *placing, const struct host *host, bool fresh,
			char **ret_why);
/* Adds the refusal: the filter that each machine failed and the field of the manifest. `slot` -1:
 * any. */
void filter_refuse(const struct placing *placing, int64_t slot);

/* volume.c (pure): a slot is bound to the machine where its exclusive volume is */
/* Why the service's exclusive volumes keep it from this machine, or NULL. Owned by the caller. */
char *volume_elsewhere(const struct placing *placing, const char *machine);
/* How many of the service's volumes the head records on this machine. */
size_t volumes_recorded(const struct placing *placing, const char *machine);
/* The service's volumes are on this machine from now on. Returns the names of those that are
 * created there, or NULL; owned by the caller. */
char **volumes_settle(struct placing *placing, const char *machine);
void volumes_check(struct planning *planning);
/* Completes and sorts the plan's volumes, after all slots are placed. */
void volumes_plan(struct planning *planning);
/* Whether the commit would record a volume that the head does not. */
bool volumes_change(const struct planning *planning);

/* choose.c (pure): the best of those that may */
/* A machine for a new container of the service, or NULL; *ret_why as text, owned by the caller. */
struct host *choose_host(struct placing *placing, char **ret_why);

/* keep.c (pure): which slots of the head a service keeps */
/* Fills `kept` and `lost`; slots that are neither are removed. Before any slots_stay. */
void slots_select(struct placing *placing);
/* Why the machine cannot be asked to remove its instances, or NULL. Owned by the caller. */
char *lost_machine(const struct planning *planning, const char *machine);
/* Whether there is such a reason; then it adds the warning that the slot's instance is left there.
 */
bool give_up(struct planning *planning, const char *service, const struct slot *slot);
void remove_slot(struct planning *planning, const char *service, const struct slot *slot,
		 const char *why);
/* Why an instance is not left as it is. */
struct change {
	char *why;	    /* NULL: nothing changed */
	const char *digest; /* that it should run; NULL: known once it is pulled */
};
void find_change(const struct placing *placing, const struct host *host, const struct slot *slot,
		 const struct instance *seen, struct change *ret);

/* slots.c (pure): the slots of one service */
/* Adds the rows of slots that stay or are replaced on their machine. Called for all services before
 * any slots_place. */
void slots_stay(struct placing *placing);
/* Places what has no machine yet. */
void slots_place(struct placing *placing);
/* Services that the manifest does not name any more. */
void slots_remove_services(struct planning *planning);

/* diff.c (pure) */
/* The differences between the containers of `before` and `after`, as text; owned by the caller.
 * Values are left out: they may be secret. */
char *diff_service(const struct service *before, const struct service *after,
		   const char *digest_before, const char *digest_after);

/* routes.c (pure): refuses routes that conflict, and lists the changes of routes */
/* Fills the planning's `listens`. */
void listens_make(struct planning *planning);
void routes_check(struct planning *planning);
void routes_plan(struct planning *planning);

#endif
