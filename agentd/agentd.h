/* agentd: this machine's containers. Only agentd uses the container engine; it publishes its own
 * containers as facts and reports about no other machine. */
#ifndef PLOYZ_AGENTD_H
#define PLOYZ_AGENTD_H

#include <sys/queue.h>

#include "lib/ployz.h"

#define ENGINE_API "/v1.41"
#define PODMAN_API "/v4.0.0"	      /* of its own paths, which begin with /libpod */
#define ENGINE_USEC (60 * 1000000ull) /* an engine under load creates a container in seconds */
#define ENGINE_INFO_USEC                                                        \
	(5 * 1000000ull) /* a running engine reports its version well within it \
			  */
/* When agentd is stopped, it waits this long for containers that the engine is creating: no other
 * process knows of them. */
#define ENGINE_MAKING_USEC (15 * 1000000ull)
#define ENGINE_RETRY_USEC 250000ull	     /* until the next attempt after it went away */
#define ENGINE_ANSWER_MAX (16 * 1024 * 1024) /* a list of some hundred containers */
#define FACTS_GATHER_USEC \
	50000ull /* changes while containers are made share an entry: each is synced */
#define FACTS_PROBE_USEC \
	20000ull /* the first probe has mostly passed: starting and ready share one */
#define FACTS_RETRY_USEC 1000000ull /* until a fact that was not acknowledged is sent again */
#define FACTS_APPEND_USEC \
	(10 * 1000000ull) /* for one append; then the facts of that time are sent */
#define FACTS_READ_USEC (2 * 1000000ull)
#define HEAD_READ_USEC (2 * 1000000ull)	   /* for one answer; a healthy store needs milliseconds */
#define HEAD_AGAIN_USEC 250000ull	   /* until a leader that is behind gets another request */
#define COMMAND_WAIT_USEC (4 * 1000000ull) /* leased waits 5 s for an answer */
#define COMMANDS_WAITING_MAX 256
#define QUERY_USEC (3 * 1000000ull) /* for the answer to agentd.probe */
#define ABORT_TICK_USEC \
	1000000ull /* interval of reading the head again: no event announces a late commit */
#define LOCK_TERM_USEC                                                             \
	LEASE_TERM_USEC /* a lock lapses this long after its holder's last message \
			 */
#define LOGS_TERM_USEC (30 * 1000000ull) /* a stream that nobody renews ends */
#define LINE_MAX_BYTES (16 * 1024)	 /* a longer line is cut, and marked so */
#define LOGS_TURN_BYTES (256 * 1024)	 /* of output that is passed on in one stretch … */
#define LOGS_TURN_USEC 20000ull	  /* … of this length: about 12 MB/s, then the engine waits */
#define PULL_EVENT_USEC 200000ull /* progress of a pull: five times a second at most */
#define REASON_LINES 5		  /* last lines of output that explain a failure */
#define REASON_MAX 600

struct agentd;

struct agentd_config {
	struct daemon_config daemon;
	char *engine;	       /* unix:///var/run/docker.sock */
	char *network;	       /* the engine's name of the containers' network */
	char *bridge;	       /* the link that it is on the machine */
	char *publish_address; /* where ports are published that name no address */
};

/* engine.c: requests to the container engine */
struct engine_answer {
	int error;	     /* negative errno: the engine did not answer; its state is unknown */
	int status;	     /* HTTP's; 0 with an error */
	const json_t *json;  /* or NULL */
	const char *message; /* the engine's message, or the reason why there is no answer; never
				NULL */
	const char *body;    /* as it came */
	size_t size;
};
static inline bool engine_ok(const struct engine_answer *answer)
{
	return answer->error == 0 && answer->status >= 200 && answer->status < 400;
}
/* A creation whose name is in use. Podman 4 answers it with another status. */
static inline bool engine_name_taken(const struct engine_answer *answer)
{
	return answer->status == 409 ||
	       (answer->status == 500 && strstr(answer->message, "is already in use"));
}
typedef void (*engine_fn)(const struct engine_answer *answer, void *userdata);
struct engine_request;
TAILQ_HEAD(engine_requests, engine_request);
struct engine {
	struct agentd *agentd;
	char *socket;
	bool up;    /* it answered, and its events are followed */
	bool tried; /* it answered or failed at least once */
	bool podman;
	bool no_policy; /* it cannot change a restart policy */
	char *version;
	char *arch;
	char *root;	 /* its data directory */
	char *error;	 /* why it is not up */
	uint64_t memory; /* of the machine, bytes */
	int64_t cpus;
	struct engine_request *info;
	struct engine_request *events;
	size_t making;		       /* requests under way that make a container or a network */
	struct engine_requests unsent; /* that could not be started: answered in the next turn */
	struct deferred *answer_unsent;
	struct strbuf line; /* of the events, not whole yet */
	struct timer *timer;
};
int engine_new(struct agentd *agentd, const char *address, struct engine **ret,
	       struct failure *failure);
void engine_free(struct engine *engine);
/* Sends a request; `path` without the version. `fn` is called once unless it is cancelled, never
 * before this has returned. `body` is borrowed. */
void engine_ask(struct engine *engine, const char *method, const char *path, const json_t *body,
		uint64_t usec, engine_fn fn, void *userdata, struct engine_request **ret);
void engine_cancel(struct engine_request *request);
/* Sends a request whose refusal is only logged. */
void engine_ask_aside(struct engine *engine, const char *method, const char *path, uint64_t usec);
/* A request whose answer streams, by the rules of lib/http.h; `done` is called as `fn` above. */
void engine_stream(struct engine *engine, const char *method, const char *path, const json_t *body,
		   http_body_fn on_body, http_done_fn done, void *userdata,
		   struct engine_request **ret);
void engine_resume(struct engine_request *request);
/* Reports a missing answer: the engine counts as unreachable until it answers again. */
void engine_lost(struct engine *engine, const char *why);
/* The engine's message, whose ownership passes; that of a full disk gets the machine and the next
 * step. Owned by the caller. */
char *engine_disk_message(const struct engine *engine, char *message);
json_t *engine_status(const struct engine *engine);

/* container.c (pure): the engine's description of a container for a service */
struct container_context {
	const char *machine;
	const char *network;
	const char *bridge_address; /* the resolver's */
	const char *publish_address;
	const char *files; /* directory of this instance's files */
	bool podman;
	uint64_t nofile,
		nproc; /* what this process may have: where the engine may not raise limits */
};
/* The body of /containers/create. 0 and an own reference, or -EINVAL with `failure`. */
int container_config(const struct agent_start *order, const struct container_context *context,
		     json_t **ret, struct failure *failure);
/* The same for the one-shot container of a service's pre_deploy command. */
int container_run_config(const struct agent_run *order, const struct container_context *context,
			 json_t **ret, struct failure *failure);
/* The name of that container, and its instance id; owned by the caller. */
char *container_run_name(const struct agent_run *order);
/* The engine's name of a volume; owned by the caller. */
char *container_volume(const char *ns, const char *volume);

/* container-read.c (pure): a container as the engine describes it (an item of /containers/json or
 * an inspection) */
struct container_seen {
	char *id;		   /* the engine's */
	char *name;		   /* the engine's, without the slash */
	char *machine;		   /* that made it, by its label */
	struct instance *instance; /* from its labels and state; NULL: the labels name none */
	struct service *service;   /* what matters to it while it runs; may be NULL */
	char *run;		   /* of a pre_deploy container: its instance id */
	bool running;
	bool created;	      /* made and never started */
	bool engine_restarts; /* the engine restarts it when it ends; only of an inspection */
	char *started_at;     /* as the engine writes it; NULL in a list */
	char *address;	      /* on our network */
	int64_t exit_code;    /* -1: none */
	struct host_port *host_ports; /* without their owner */
	size_t n_host_ports;
};
void container_read(const json_t *json, const char *network, struct container_seen *ret);
void container_clear(struct container_seen *seen);

/* records.c: the containers that agentd has made */
struct records;
/* `saved` is called after each write of the file, with 0 or a negative errno. */
int records_new(sd_event *loop, const char *directory, void (*saved)(int error, void *userdata),
		void *userdata, struct records **ret);
void records_free(struct records *records);
/* Records that a container of this name is about to be created. True: the record is on the disk;
 * false: it is written with the others of this turn, then `saved` is called. */
bool records_expect(struct records *records, const char *name);
/* The answer is missing: the container may have been created. */
void records_doubt(struct records *records, const char *name);
void records_made(struct records *records, const char *name, const char *id);
void records_remove(struct records *records, const char *name);
/* The engine's id of the container of this name; NULL: not known. Borrowed. */
const char *records_id(const struct records *records, const char *name);
/* Whether agentd made this container: by the recorded engine id or, where no answer contained it,
 * by label and name. */
bool records_owner(const struct records *records, const struct container_seen *seen,
		   const char *machine);
/* Ids of this process and of the last one that wrote facts (NULL: none); borrowed. */
const char *records_incarnation(const struct records *records);
const char *records_previous(const struct records *records);
/* Records that this process writes facts from now on. */
void records_write_facts(struct records *records);

/* states.c (pure): what becomes of an instance */
enum event {
	EVENT_ORDERED,	 /* asked to start it */
	EVENT_CREATED,	 /* its container is made */
	EVENT_STARTED,	 /* its container runs for the first time, or again by our request */
	EVENT_PASSED,	 /* a probe was answered, or it has run for long enough */
	EVENT_MISSED,	 /* probes are not answered any more */
	EVENT_SPENT,	 /* not ready after `retries` failed probes */
	EVENT_DIED,	 /* its process ended and is restarted */
	EVENT_ENDED,	 /* its process ended for good */
	EVENT_RESTARTED, /* it was restarted, not by our request */
	EVENT_REFUSED,	 /* the engine would not make or start it */
	EVENT_DRAIN,
	EVENT_STOP,
	EVENT_STOPPED,
	EVENT_RESUME,
	EVENT_REMOVE,
	EVENT_REMOVED,
	EVENT_LOST, /* its container does not exist any more */
	EVENT_COUNT,
};
enum action {
	ACTION_NOP,
	ACTION_CREATE,
	ACTION_START,
	ACTION_PROBE,	/* from now on */
	ACTION_UNPROBE, /* no more probes */
	ACTION_HALT,	/* no more probes, and its process ends */
	ACTION_END,	/* stop it, or stop and remove it, as was asked */
	ACTION_FREE,	/* nothing is left to control */
};
struct move {
	enum instance_state next;
	enum action action;
};
struct move states_move(enum instance_state state, enum event event);
extern const char *const event_names[];
/* Whether a container with this policy is started again after this exit. */
bool states_restarts(enum restart_policy policy, int64_t exit_code);
/* Whether the state is an end: nothing of it changes by itself any more. */
bool states_is_end(enum instance_state state);

/* schedule.c (pure): when the next probe is due, and when an instance has failed */
struct schedule {
	uint64_t begun;	  /* boot-time clock */
	uint64_t counted; /* when a failure was last counted */
	unsigned tries;
	int64_t failures; /* in a row, counted */
	bool ready;
};
void schedule_begin(struct schedule *schedule, uint64_t now, bool ready);
/* After an answered probe: until the next one. */
uint64_t schedule_passed(struct schedule *schedule, const struct ready *ready);
enum schedule_verdict { SCHEDULE_WAIT, SCHEDULE_MISSED, SCHEDULE_SPENT };
/* After a failed one. *ret_usec: until the next one. */
enum schedule_verdict schedule_missed(struct schedule *schedule, const struct ready *ready,
				      uint64_t now, uint64_t *ret_usec);
/* The delay before an ended process that ran for `ran_usec` is restarted. */
uint64_t schedule_restart(unsigned *restarts, uint64_t ran_usec);

/* prober.c */
struct prober;
typedef void (*prober_fn)(enum event event, const char *reason, void *userdata);
/* Probes until it is freed and reports each change to PASSED, MISSED or SPENT. `service` and
 * `address` are copied; `ready`: the last known state. */
struct prober *prober_new(struct agentd *agentd, const struct service *service,
			  const char *container, const char *address, bool ready, prober_fn fn,
			  void *userdata);
void prober_free(struct prober *prober);

/* conflicts.c (pure): whether two services need the same exclusive host port or volume */
bool services_conflict(const char *ns_a, const struct service *a, const char *ns_b,
		       const struct service *b);

/* volumes.c: whether the volumes that a service mounts exist */
enum volume_verdict {
	VOLUMES_THERE,
	VOLUMES_MISSING, /* the reason names the volume and the next step */
	VOLUMES_AWAY,	 /* the engine did not answer */
};
typedef void (*volume_fn)(enum volume_verdict verdict, const char *reason, void *userdata);
struct volume_check;
/* Checks all volumes but those of `created`, which may be created. NULL: the service mounts no
 * other one. `fn` is called once, never before this has returned; it may free the check. */
struct volume_check *volume_check_new(struct agentd *agentd, const char *ns,
				      const struct service *service, char *const *created,
				      volume_fn fn, void *userdata);
void volume_check_free(struct volume_check *check);
/* The manifest's names of the volumes that must exist (pure); owned by the caller. */
char **volumes_required(const struct service *service, char *const *created);

/* control.c: instance control */
enum want { WANT_RUN, WANT_STOP, WANT_REMOVE };
struct control {
	struct agentd *agentd;
	struct instance *fact;	   /* of facts.c, which owns it */
	struct service *service;   /* what matters while it runs; NULL: unknown */
	struct agent_start *order; /* until its container runs; NULL: adopted */
	char *container;	   /* the engine's id, or NULL */
	char *started_at;	   /* as last inspected */
	uint64_t started_usec;	   /* boot-time clock, when that was first seen; 0: not running */
	char *subscriber;	   /* the deploy whose progress gets its changes */
	enum want want;
	int64_t grace_ms;
	bool ending;	      /* the stop or removal is on its way */
	bool start_wanted;    /* a start is due, and waits for something */
	bool halt_wanted;     /* it has failed, and its process may still run */
	bool record_wanted;   /* its creation waits until its name is recorded */
	enum event verdict;   /* while its last output is fetched: the event that follows … */
	char *verdict_reason; /* … and its reason */
	struct engine_request *request; /* the one thing that the engine is asked for it now */
	struct volume_check *volumes;
	struct engine_request *policy; /* the restart policy is being set */
	bool engine_restarts;	       /* the engine restarts it when it ends */
	struct timer *restart;	       /* until agentd does, where the engine does not */
	bool restart_due;	       /* if the next inspection finds it ended */
	bool count_unknown;	       /* no fact had the engine's count of restarts */
	unsigned restarts;	       /* in a row, by agentd */
	bool inspect_again;	       /* something happened while it was busy */
	uint64_t inspections;	       /* begun */
	uint64_t inspected;	       /* number of the last one that was answered */
	bool own_start; /* by our request: its answer is inspected, its event adds nothing */
	bool oom;	/* the kernel has killed in it for want of memory */
	struct prober *prober;
};
struct control *control_new(struct agentd *agentd, struct instance *fact);
void control_free(struct control *control);
/* False: the control was freed; the same for the other functions that return bool. */
bool control_event(struct control *control, enum event event, const char *reason);
/* The process ended by itself: the event follows with its last output in the reason. */
bool control_verdict(struct control *control, enum event event, const char *reason);
/* Gives the number of the inspection that begins after this call. */
uint64_t control_inspect(struct control *control);
void control_order(struct control *control, const struct agent_start *order);
/* drain, stop, resume, remove. `subscriber` NULL: as before. */
bool control_command(struct control *control, enum event event, int64_t grace_ms,
		     const char *subscriber);
bool control_died(struct control *control, int64_t exit_code, const char *how);
/* Continues with the request that waited for the last one's end. */
void control_next(struct control *control);
/* Continues after the engine, the network or agentd was unavailable. */
void control_take_up(struct control *control);
void control_set_service(struct control *control, const struct service *service);
void control_set_container(struct control *control, const char *id);

/* control-engine.c: requests of instance control to the engine */
void control_create(struct control *control);
void control_start(struct control *control);
void control_halt(struct control *control);
bool control_end(struct control *control);
/* The instance is ready: makes the engine restart it from now on. */
void control_allow_restarts(struct control *control);
void control_last_output(struct control *control, engine_fn fn);
/* The output in such an answer as one line; owned by the caller; NULL: none. */
char *control_output(const struct engine_answer *answer);

/* files.c: a service's small files */
char *files_directory(const struct agentd *agentd, const char *instance);
int files_write(const struct agentd *agentd, const char *instance, const struct pairs *files,
		struct failure *failure);
void files_remove(const struct agentd *agentd, const char *instance);
void container_context_fill(const struct agentd *agentd, struct container_context *context);

/* facts.c: the states of this machine's instances, and their writes to the store */
struct facts;
struct facts *facts_new(struct agentd *agentd);
void facts_free(struct facts *facts);
/* Reads what an earlier process wrote; adopt_begin follows. */
void facts_load(struct facts *facts);
bool facts_loaded(const struct facts *facts);
struct instance *facts_get(struct facts *facts, const char *id);
/* Takes ownership; returns the instance's new address in memory. */
struct instance *facts_add(struct facts *facts, struct instance *instance);
/* Removes it from the facts and frees it. */
void facts_drop(struct facts *facts, struct instance *instance);
/* A member changed: it is published at the end of this turn. */
void facts_touch(struct facts *facts, const struct instance *instance);
/* Publishes a change of its state; the subscriber (may be NULL) gets it once it is acknowledged. */
void facts_state(struct facts *facts, struct instance *instance, enum instance_state state,
		 const char *reason, const char *subscriber);
/* Removes the ended instances of a namespace that have no container from the facts. */
void facts_forget(struct facts *facts, const char *ns);
/* A head has this generation of the store. After an operator has accepted a store, its entries may be
 * older than this machine's last ones. */
void facts_generation(struct facts *facts, int64_t generation);
/* Sequence in PLOYZ_FACTS of the entry that holds the instance as it is now; 0: not acknowledged.
 */
uint64_t facts_sequence(const struct facts *facts, const struct instance *instance);
void facts_each(struct facts *facts, void (*fn)(struct instance *fact, void *userdata),
		void *userdata);
/* Why no instance may be started because its fact could not be published: another machine has this
 * one's id, or the store refuses facts. Borrowed; NULL: there is no known reason. */
const struct failure *facts_refused(const struct facts *facts);
json_t *facts_status(const struct facts *facts);
/* facts-judge.c (pure): classifies the entry with which an append of facts conflicted */
enum facts_verdict {
	FACTS_STORED, /* it is the one that was sent */
	FACTS_RETRY,  /* it is this machine's, or the store has lost entries: append after it */
	FACTS_CLONED, /* another machine with this id wrote it */
};
enum facts_verdict facts_judge(const struct instances *entry, uint64_t sequence, uint64_t expected,
			       const char *sent_nonce, const char *incarnation,
			       const char *previous);

#include "agentd/participant.h"

/* images.c */
struct images;
struct images *images_new(struct agentd *agentd);
void images_free(struct images *images);
void images_prepare(struct images *images, const struct agent_prepare *order,
		    struct agent_prepared *ret);
void images_forget(struct images *images, const char *ns);
/* `repository` and `tag` of a reference (pure); owned by the caller. */
void images_split(const char *reference, char **ret_repository, char **ret_tag);
/* Bytes of a pull (pure): one line of the engine's progress. */
struct pull_layers {
	struct map map; /* layer → struct pull_layer */
	char *error;
};
void pull_line(struct pull_layers *layers, const char *line, size_t size);
void pull_sum(const struct pull_layers *layers, int64_t *ret_done, int64_t *ret_total);
void pull_clear(struct pull_layers *layers);

/* lines.c (pure): the engine's multiplexed output becomes lines */
typedef void (*line_fn)(const char *stream, const char *line, size_t size, bool cut,
			void *userdata);
struct lines {
	unsigned char header[8];
	size_t have; /* of the header */
	size_t left; /* of the frame */
	struct {
		char *text;
		size_t size;
		bool cut; /* the rest of this line is dropped */
	} streams[2];
	bool broken; /* no frame: it is passed on as plain text */
	line_fn fn;
	void *userdata;
};
void lines_feed(struct lines *lines, const char *data, size_t size);
/* What was not ended by a newline. */
void lines_flush(struct lines *lines);
void lines_clear(struct lines *lines);

/* logs.c */
struct logs;
struct logs *logs_new(struct agentd *agentd);
void logs_free(struct logs *logs);
int64_t logs_serve(struct logs *logs, const struct agent_logs *request);

/* network.c: the containers' bridge */
struct network {
	struct agentd *agentd;
	bool ready;
	char *subnet;  /* from the member record; NULL: none yet */
	char *address; /* of the bridge */
	char *error;   /* why it is not ready */
	struct stream_follow *follow;
	struct engine_request *request;
};
void network_new(struct agentd *agentd);
void network_free(struct network *network);
void network_start(struct network *network);
/* The engine is reachable: checks the network and creates it if necessary. */
void network_ensure(struct network *network);
/* `.1` of a /24 (pure); owned by the caller; NULL: it is none. */
char *network_bridge_address(const char *subnet);

/* run.c: pre_deploy commands */
struct runs;
struct runs *runs_new(struct agentd *agentd);
void runs_free(struct runs *runs);
void runs_order(struct runs *runs, const struct agent_run *order, struct agent_ran *ret);
/* Removes what earlier deploys' commands left of a namespace. */
void runs_sweep(struct runs *runs, const char *ns, const char *deploy);
/* The containers are known: `running` has the ids of those that run. */
void runs_adopt(struct runs *runs, const struct map *running);
void runs_saved(struct runs *runs, int error);
/* A container of ours has ended. */
void runs_died(struct runs *runs, const char *container);

/* adopt.c: compares the engine's containers with our facts */
void adopt_begin(struct agentd *agentd);
void adopt_engine_event(struct agentd *agentd, const json_t *event);

/* list.c */
void list_answer(struct agentd *agentd, struct bus_call *call, const struct agent_list *request);
/* The instances of a namespace (NULL: of all) that have a container or will have one. */
void list_instances(const struct agentd *agentd, const char *ns, struct instance **instances,
		    size_t *count);

/* query.c: agentd.probe, the last query before the commit */
struct queries;
struct queries *queries_new(struct agentd *agentd);
void queries_free(struct queries *queries);
void queries_serve(struct queries *queries, struct bus_call *call,
		   const struct agent_probe *request);
/* An instance or its fact has changed. */
void queries_poll(struct queries *queries);

/* bus.c: the endpoints. 0 or negative errno after the reason was logged. */
int agentd_serve(struct agentd *agentd);
void bus_progress(struct agentd *agentd, const char *id, struct progress *progress);

struct agentd {
	struct daemon *daemon;
	const struct agentd_config *config;
	struct http *http;
	struct engine *engine;
	struct network network;
	struct records *records;
	struct facts *facts;
	struct heads *heads;
	struct commands *commands;
	struct queries *queries;
	struct images *images;
	struct logs *logs;
	struct runs *runs;
	struct locks locks;
	struct aborts *aborts;
	struct map controls;	  /* instance id → struct control */
	struct deferred *changed; /* runs the reactions to a change of an instance */
	bool adopted;		  /* the containers of this engine are known */
	struct timer *end;	  /* until what is being made is waited for no more */
	struct engine_request *adopting;
	struct timer *lapse; /* of locks */
};
/* agentd.c */
int agentd_new(struct daemon *daemon, const struct agentd_config *config, struct agentd **ret);
void agentd_free(struct agentd *agentd);
DEFINE_CLEANUP(struct agentd, agentd_free);
int agentd_start(struct agentd *agentd);
/* The engine has answered: when agentd is being stopped and nothing is being made, it ends. */
void agentd_made(struct agentd *agentd);
struct control *agentd_control(const struct agentd *agentd, const char *instance);
/* A resource that instances wait for is available. */
void agentd_take_up(struct agentd *agentd);
/* An instance, or the engine's work on it, has changed. */
void agentd_changed(struct agentd *agentd);
/* STATUS= for the service manager. */
void agentd_update_status(struct agentd *agentd);

#endif
