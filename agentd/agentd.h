/* agentd: this machine's containers. It alone speaks to the container engine; what it knows of its
 * own containers it writes into the log as facts, and it judges nobody else's. */
#ifndef PLOYZ_AGENTD_H
#define PLOYZ_AGENTD_H

#include "lib/ployz.h"

#define ENGINE_API "/v1.41"
#define PODMAN_API "/v4.0.0"		   /* of its own paths, which begin with /libpod */
#define ENGINE_USEC (60 * 1000000ull)	   /* an engine under load creates a container in seconds */
#define ENGINE_HELLO_USEC (5 * 1000000ull) /* an engine that lives says its version at once */
/* Told to end, agentd hears first what became of what it asked the engine to make: nobody else
 * would know of it. */
#define ENGINE_MAKING_USEC (15 * 1000000ull)
#define ENGINE_AGAIN_USEC 250000ull	     /* until the next try after it went away */
#define ENGINE_ANSWER_MAX (16 * 1024 * 1024) /* a list of some hundred containers */
#define FACTS_GATHER_USEC \
	50000ull /* what is only being made is told together: each entry is synced */
#define FACTS_PROBE_USEC \
	20000ull /* until its first probe has most likely passed: starting and ready are one entry */
#define FACTS_AGAIN_USEC 1000000ull /* until a fact that nobody acknowledged is sent again */
#define FACTS_HEALTH_USEC 2000000ull
#define CALL_WAIT_USEC (5 * 1000000ull) /* a question that waited longer has no asker any more */
#define CALLS_WAITING_MAX 256
#define LOCK_TERM_USEC LEASE_TERM_USEC	 /* a lock lapses this long after its holder's last word */
#define LOGS_TERM_USEC (30 * 1000000ull) /* a stream that nobody renews ends */
#define LINE_MAX_BYTES (16 * 1024)	 /* a longer line is cut, and says so */
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
	int error;	    /* negative errno: the engine did not answer; its state is unknown */
	int status;	    /* HTTP's; 0 with an error */
	const json_t *json; /* or NULL */
	const char *words;  /* the engine's own, or what kept it from answering; never NULL */
	const char *body;   /* as it came */
	size_t size;
};
static inline bool engine_ok(const struct engine_answer *answer)
{
	return answer->error == 0 && answer->status >= 200 && answer->status < 400;
}
/* A creation that found its name in use. Podman 4 says so with a status that is not its own. */
static inline bool engine_name_taken(const struct engine_answer *answer)
{
	return answer->status == 409 ||
	       (answer->status == 500 && strstr(answer->words, "is already in use"));
}
typedef void (*engine_fn)(const struct engine_answer *answer, void *userdata);
struct engine_request;
struct engine {
	struct agentd *agentd;
	char *socket;
	bool up;    /* it answered, and its events are followed */
	bool tried; /* it answered or failed at least once */
	bool podman;
	char *version;
	char *arch;
	char *root;	 /* its data directory */
	char *error;	 /* why it is not up */
	uint64_t memory; /* of the machine, bytes */
	int64_t cpus;
	struct engine_request *hello;
	struct http_request *events;
	size_t making;	    /* requests under way that make a container or a network */
	struct strbuf line; /* of the events, not whole yet */
	struct timer *timer;
};
int engine_new(struct agentd *agentd, const char *address, struct engine **ret,
	       struct failure *failure);
void engine_free(struct engine *engine);
/* Asks; `path` without the version. `fn` is called once unless it is cancelled. `body` is
 * borrowed. */
void engine_ask(struct engine *engine, const char *method, const char *path, const json_t *body,
		uint64_t usec, engine_fn fn, void *userdata, struct engine_request **ret);
void engine_cancel(struct engine_request *request);
/* Asks and only logs when it is refused. */
void engine_ask_aside(struct engine *engine, const char *method, const char *path, uint64_t usec);
/* A request whose answer streams, by its own rules. */
int engine_stream(struct engine *engine, const char *method, const char *path, const json_t *body,
		  http_body_fn on_body, http_done_fn done, void *userdata,
		  struct http_request **ret);
/* It did not answer somebody: it counts as away until it answers again. */
void engine_lost(struct engine *engine, const char *why);
/* The engine's words, taken over; where they tell of a full disk, with which one it is and what to
 * do. Owned by the caller. */
char *engine_disk_words(const struct engine *engine, char *words);
json_t *engine_status(const struct engine *engine);

/* container.c (pure): a service becomes the engine's words, and back */
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
char *container_run_name(const struct agent_run *order);
/* The engine's name of a volume; owned by the caller. */
char *container_volume(const char *ns, const char *volume);
/* What a container says of itself (an item of /containers/json or an inspection). */
struct container_seen {
	char *id;		   /* the engine's */
	struct instance *instance; /* from its labels and state; NULL: not one of ours */
	struct service *service;   /* what matters to it while it runs; may be NULL */
	bool run;		   /* a pre_deploy container */
	bool running;
	bool created;	  /* made and never started */
	char *started_at; /* as the engine says it; NULL in a list */
	struct host_port *host_ports;
	size_t n_host_ports;
};
void container_read(const json_t *json, const char *network, struct container_seen *ret);
void container_clear(struct container_seen *seen);

/* states.c (pure): what becomes of an instance */
enum event {
	EVENT_ORDERED,	 /* asked to start it */
	EVENT_CREATED,	 /* its container is made */
	EVENT_STARTED,	 /* its container runs for the first time, or again on our word */
	EVENT_PASSED,	 /* a probe was answered */
	EVENT_MISSED,	 /* probes are not answered any more */
	EVENT_SPENT,	 /* it never became ready, and there is no patience left */
	EVENT_DIED,	 /* its process ended; the engine starts it again */
	EVENT_ENDED,	 /* its process ended for good */
	EVENT_RESTARTED, /* the engine has started it again */
	EVENT_REFUSED,	 /* the engine would not make or start it */
	EVENT_DRAIN,
	EVENT_STOP,
	EVENT_STOPPED,
	EVENT_RESUME,
	EVENT_REMOVE,
	EVENT_REMOVED,
	EVENT_LOST, /* its container is not there any more */
	EVENT_COUNT,
};
enum action {
	ACTION_NOP,
	ACTION_CREATE,
	ACTION_START,
	ACTION_PROBE,	/* from now on */
	ACTION_SILENCE, /* no more probes */
	ACTION_HALT,	/* no more probes, and the engine shall not start it again */
	ACTION_END,	/* stop it, or stop and remove it, as was asked */
	ACTION_FREE,	/* nothing is left to look after */
};
struct move {
	enum instance_state next;
	enum action action;
};
struct move states_move(enum instance_state state, enum event event);
extern const char *const event_names[];
/* Whether the engine starts a container with this policy again after this exit. */
bool states_restarts(enum restart_policy policy, int64_t exit_code);
/* Whether the state is an end: nothing of it changes by itself any more. */
bool states_is_end(enum instance_state state);

/* pace.c (pure): when the next probe is due, and when patience ends */
struct pace {
	uint64_t begun;	  /* boot-time clock */
	uint64_t counted; /* when a failure was last counted */
	unsigned tries;
	int64_t failures; /* in a row, counted */
	bool ready;
};
void pace_begin(struct pace *pace, uint64_t now, bool ready);
/* After an answered probe: until the next one. */
uint64_t pace_passed(struct pace *pace, const struct ready *ready);
enum pace_verdict { PACE_WAIT, PACE_MISSED, PACE_SPENT };
/* After a failed one. *ret_usec: until the next one. */
enum pace_verdict pace_missed(struct pace *pace, const struct ready *ready, uint64_t now,
			      uint64_t *ret_usec);

/* prober.c */
struct prober;
typedef void (*prober_fn)(enum event event, const char *reason, void *userdata);
/* Probes until it is freed and tells of PASSED, MISSED and SPENT where that is news. `service` and
 * `address` are copied; `ready`: it was, as far as anybody knows. */
struct prober *prober_new(struct agentd *agentd, const struct service *service,
			  const char *container, const char *address, bool ready, prober_fn fn,
			  void *userdata);
void prober_free(struct prober *prober);

/* control.c: one instance */
enum want { WANT_RUN, WANT_STOP, WANT_REMOVE };
struct control {
	struct agentd *agentd;
	struct instance *fact;	 /* of facts.c, which owns it */
	struct service *service; /* what matters while it runs; NULL: unknown */
	struct agent_start
		*order;	  /* until its container runs; NULL: adopted, or asked of an earlier life */
	char *container;  /* the engine's id, or NULL */
	char *started_at; /* as last inspected */
	char *audience;	  /* the deploy whose progress hears of it */
	enum want want;
	int64_t grace_ms;
	bool ending;	      /* the stop or removal is on its way */
	enum event verdict;   /* while its last words are fetched: what is then told … */
	char *verdict_reason; /* … and why */
	struct engine_request *request; /* the one thing that the engine is asked for it now */
	bool inspect_again;		/* something happened while it was busy */
	bool own_start; /* asked for here: its answer is inspected, its event says nothing more */
	bool oom;			/* the kernel has killed in it for want of memory */
	struct prober *prober;
};
struct control *control_new(struct agentd *agentd, struct instance *fact);
void control_free(struct control *control);
void control_event(struct control *control, enum event event, const char *reason);
/* It came to its end by itself: `event` is told with its exit code and last words in the reason. */
void control_verdict(struct control *control, enum event event, const char *reason);
void control_inspect(struct control *control);
void control_order(struct control *control, const struct agent_start *order);
/* drain, stop, resume, remove */
void control_command(struct control *control, enum event event, const struct agent_ref *ref);
void control_died(struct control *control, int64_t exit_code, const char *how);
/* Takes up what stands still: the network, the engine or the order is there now. */
void control_go_on(struct control *control);
void control_set_service(struct control *control, const struct service *service);

/* control-engine.c: what a control asks of the engine */
void control_create(struct control *control);
void control_start(struct control *control);
void control_halt(struct control *control);
void control_end(struct control *control);
void control_last_words(struct control *control, engine_fn fn);
/* The output in such an answer as one line; owned by the caller; NULL: none. */
char *control_output(const struct engine_answer *answer);

/* files.c: a service's small files, and its volumes' owners */
char *files_directory(const struct agentd *agentd, const char *instance);
int files_write(const struct agentd *agentd, const char *instance, const struct pairs *files,
		struct failure *failure);
void files_remove(const struct agentd *agentd, const char *instance);
void container_context_fill(const struct agentd *agentd, struct container_context *context);

/* facts.c: what is known of this machine's instances, on its way into the log */
struct facts;
struct facts *facts_new(struct agentd *agentd);
void facts_free(struct facts *facts);
/* Reads what an earlier life wrote; agentd_ready() hears when it is there. */
void facts_load(struct facts *facts);
bool facts_loaded(const struct facts *facts);
struct instance *facts_get(struct facts *facts, const char *id);
/* Takes ownership and gives the place it has from now on. */
struct instance *facts_add(struct facts *facts, struct instance *instance);
/* A member changed: it is published at the end of this turn. */
void facts_touch(struct facts *facts, const struct instance *instance);
/* It came into another state: the same, and `audience` (may be NULL) hears once it is
 * acknowledged. */
void facts_state(struct facts *facts, struct instance *instance, enum instance_state state,
		 const char *reason, const char *audience);
/* Ended instances of a namespace that no container stands for leave the list. */
void facts_forget(struct facts *facts, const char *ns);
/* Sequence of the log entry that holds the instance as it is now; 0: not acknowledged yet. */
uint64_t facts_sequence(const struct facts *facts, const struct instance *instance);
void facts_each(struct facts *facts, void (*fn)(struct instance *fact, void *userdata),
		void *userdata);
/* Why the store takes no facts for as long as its disk is full; borrowed; NULL: it takes them, or
 * the reason is not known. */
const struct failure *facts_refused(const struct facts *facts);
json_t *facts_status(const struct facts *facts);

/* locks.c */
struct lock {
	char *ns;
	int64_t epoch; /* highest seen; kept for ever */
	bool held;
	char *deploy, *holder;
	struct reservation reserve;
	uint64_t until;	   /* boot-time clock */
	char *last_deploy; /* that locked the namespace last */
};
struct locks {
	struct map map; /* ns → struct lock */
	bool unsaved;	/* the file could not be written: nobody is admitted before it is */
};
struct room { /* what the machine has, and what other namespaces' containers use of it */
	uint64_t memory;
	double cpus;
	const struct instance_use *uses;
	size_t n_uses;
};
struct instance_use {
	const char *ns, *service, *deploy;
	uint64_t memory;
	double cpus;
	const struct service *published;
};
/* Whether a command may pass (pure): -EPERM with FENCED for an epoch lower than the highest
 * seen. */
int locks_admit(const struct locks *locks, const char *ns, int64_t epoch, struct failure *failure);
/* Whether the reservation fits beside what others hold (pure). 0, or a negative errno with
 * `failure`. */
int locks_fits(const struct locks *locks, const struct agent_lock *want, const struct room *room,
	       uint64_t now, struct failure *failure);
/* *ret_new: another deploy than the namespace's last one. */
void locks_take(struct locks *locks, const struct agent_lock *want, uint64_t now, bool *ret_new);
/* The holder's word: renews what it holds, remembers its epoch. True: there is something to
 * save. */
bool locks_heard(struct locks *locks, const char *ns, int64_t epoch, const char *deploy,
		 uint64_t now);
bool locks_release(struct locks *locks, const char *ns, int64_t epoch, const char *deploy);
/* True: some have lapsed. */
bool locks_lapse(struct locks *locks, uint64_t now);
void locks_clear(struct locks *locks);
json_t *locks_encode(const struct locks *locks);
int locks_decode(struct locks *locks, const json_t *json, uint64_t now);
/* locks-file.c: 0 or negative errno. */
int locks_load(struct agentd *agentd);
int locks_save(struct agentd *agentd);

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
	char *subnet;  /* from the machine record; NULL: not there yet */
	char *address; /* of the bridge */
	char *trouble; /* why it is not ready */
	struct stream_follow *follow;
	struct engine_request *request;
};
void network_new(struct agentd *agentd);
void network_free(struct network *network);
void network_start(struct network *network);
/* The engine is here (again): looks whether the network is there as it should be, and makes it. */
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

/* adopt.c: the engine's containers and our facts, held against each other */
void adopt_begin(struct agentd *agentd);
void adopt_engine_event(struct agentd *agentd, const json_t *event);

/* list.c */
void list_answer(struct agentd *agentd, struct bus_call *call, const struct agent_list *request);

/* bus.c: the doorplate. 0 or negative errno after having said why. */
int agentd_serve(struct agentd *agentd);
void bus_say(struct agentd *agentd, const char *id, struct progress *progress);
/* Calls that came before the containers were known. */
struct waiting_call {
	struct bus_call *call;
	bus_verb_fn fn;
	uint64_t since;
};
void bus_calls_go_on(struct agentd *agentd);

struct agentd {
	struct daemon *daemon;
	const struct agentd_config *config;
	struct http *http;
	struct engine *engine;
	struct network network;
	struct facts *facts;
	struct images *images;
	struct logs *logs;
	struct runs *runs;
	struct locks locks;
	struct map controls; /* instance id → struct control */
	bool adopted;	    /* the containers of this engine are known */
	struct timer *end;  /* until what is being made is waited for no more */
	struct engine_request *adopting;
	struct timer *lapse; /* of locks */
	struct waiting_call waiting[CALLS_WAITING_MAX];
	size_t n_waiting;
};
/* agentd.c */
int agentd_new(struct daemon *daemon, const struct agentd_config *config, struct agentd **ret);
void agentd_free(struct agentd *agentd);
DEFINE_CLEANUP(struct agentd, agentd_free);
int agentd_start(struct agentd *agentd);
/* The engine has answered: when agentd was told to end and nothing is being made, it ends. */
void agentd_made(struct agentd *agentd);
struct control *agentd_control(const struct agentd *agentd, const char *instance);
/* Something that controls wait for is there now. */
void agentd_go_on(struct agentd *agentd);
/* Says in STATUS= and the log what keeps it, or that nothing does. */
void agentd_say_status(struct agentd *agentd);

#endif
