/* Agent: requests to agentd and its answers. */
#ifndef PLOYZ_MODEL_AGENT_H
#define PLOYZ_MODEL_AGENT_H

#include "lib/model/plan.h"

/* Every command begins with these five fields (COMMAND_FIELDS). agentd accepts a command only if
 * the namespace's head, read at `opened` or later, shows this generation, epoch and deploy: those
 * of the open deploy or, once that is closed, of the entry's writer. Otherwise it answers FENCED.
 */
struct agent_command {
	char *ns;
	int64_t epoch;
	char *deploy;
	int64_t generation; /* of the store */
	int64_t opened;	    /* sequence of the opening entry in PLOYZ_INTENT */
};
struct agent_lock { /* agentd.lock: also renews; a higher epoch supersedes */
	struct agent_command command;
	char *holder; /* machine of the leased that holds the lease */
	struct reservation reserve;
};
struct agent_locked {		    /* answer of lock */
	struct instance *instances; /* the namespace's instances on this machine, as they are now */
	size_t n_instances;
};
struct agent_unlock {
	struct agent_command command;
};
struct agent_prepare { /* agentd.prepare: fetches the image; a repeated request returns the progress
			*/
	struct agent_command command;
	char *image;
	int pull;
};
struct agent_prepared {
	char *state; /* pulling, ready, failed */
	char *digest;
	char *reason;
	int64_t done_bytes;
	int64_t total_bytes;
};
struct agent_start { /* agentd.start: a repeated request returns the instance and makes no second
			container */
	struct agent_command command;
	char *instance;
	int64_t slot;
	struct service *service;
	struct volume *volumes; /* the volumes that the service mounts */
	size_t n_volumes;
	char **new_volumes; /* the volumes among them that the plan creates; the others must exist
			     */
	char *digest;
};
struct agent_instance {		   /* answer of start, drain, stop, resume, remove */
	struct instance *instance; /* NULL: there is no such container (any more) */
	int64_t sequence; /* of the entry in PLOYZ_FACTS that holds this state; 0: not published yet
			   */
};
struct agent_ref { /* drain, stop, resume, remove */
	struct agent_command command;
	char *instance;
	int64_t grace_ms; /* stop: TERM, then KILL after this; -1: the service's own */
};
struct agent_run { /* agentd.run: runs a pre_deploy command in its own container; a repeated request
		      returns its state */
	struct agent_command command;
	struct service *service; /* the service whose pre_deploy runs */
	struct volume *volumes;
	size_t n_volumes;
	char **new_volumes;
	char *digest;
};
struct agent_ran {
	char *state; /* running, done, failed */
	int64_t exit_code;
	char *reason;
};
/* agentd.list: with an epoch it fences: agentd stores the epoch before it answers. Epoch 0 only
 * lists. */
struct agent_list {
	struct agent_command command; /* ns NULL: all namespaces; then without a fence */
	char **images;		      /* images whose digests the answer should contain */
};
/* agentd.probe: the last query before the commit. Each instance is inspected now. */
struct agent_probe {
	struct agent_command command;
	char **instances;
};
struct agent_probed {
	struct agent_instance *instances; /* in the order of the request; `instance` NULL: none */
	size_t n_instances;
};
struct agent_listed {
	int64_t epoch; /* highest epoch that agentd has stored for the namespace; if it is above the
			  command's, the command fenced nothing */
	bool engine;
	char *engine_version;
	char *engine_error;
	char *arch;
	uint64_t disk;
	uint64_t disk_free;
	struct instance *instances; /* as inspected, including candidates and stopped ones */
	size_t n_instances;
	struct reservation *reservations;
	size_t n_reservations;
	struct host_port *host_ports; /* host ports that containers of this engine publish */
	size_t n_host_ports;
	struct image_seen *images;
	size_t n_images;
};
struct agent_logs {   /* agentd.logs: lines are published as PROGRESS_LINE on progress.<stream> */
	char *stream; /* id chosen by the client, which subscribes to it; a repeated request extends
			 the stream by 30 s */
	char *ns;
	char *service;	/* NULL: all of the namespace */
	char *instance; /* NULL: all of the service */
	bool follow;
	int64_t tail;	  /* lines of each; -1: all */
	int64_t since_ms; /* ago; -1: from the beginning */
	bool stop;	  /* ends the stream */
};
struct agent_streaming {
	int64_t instances; /* number of instances that the stream shows */
};
struct empty {
	char nothing;
};
DEFINE_MODEL(agent_lock);
DEFINE_MODEL(agent_locked);
DEFINE_MODEL(agent_unlock);
DEFINE_MODEL(agent_prepare);
DEFINE_MODEL(agent_prepared);
DEFINE_MODEL(agent_start);
DEFINE_MODEL(agent_instance);
DEFINE_MODEL(agent_ref);
DEFINE_MODEL(agent_run);
DEFINE_MODEL(agent_ran);
DEFINE_MODEL(agent_list);
DEFINE_MODEL(agent_probe);
DEFINE_MODEL(agent_probed);
DEFINE_MODEL(agent_command);
DEFINE_MODEL(agent_listed);
DEFINE_MODEL(agent_logs);
DEFINE_MODEL(agent_streaming);
DEFINE_MODEL(empty);

#endif
