/* What agentd is asked and answers. */
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
struct agent_locked {		    /* lock's answer */
	struct instance *instances; /* of the namespace on this machine, as they are now */
	size_t n_instances;
};
struct agent_unlock {
	struct agent_command command;
};
struct agent_prepare { /* agentd.prepare: fetch the image; asked again: how far it is */
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
struct agent_start { /* agentd.start: asked again: the instance as it is; no second container */
	struct agent_command command;
	char *instance;
	int64_t slot;
	struct service *service;
	struct volume *volumes; /* those that its mounts name */
	size_t n_volumes;
	char **new_volumes; /* of these, those that the plan creates; the others must exist */
	char *digest;
};
struct agent_instance {		   /* start, drain, stop, resume, remove's answer */
	struct instance *instance; /* NULL: there is no such container (any more) */
	int64_t sequence; /* of the entry in PLOYZ_FACTS that holds this state; 0: not published yet
			   */
};
struct agent_ref { /* drain, stop, resume, remove */
	struct agent_command command;
	char *instance;
	int64_t grace_ms; /* stop: TERM, then KILL after this; -1: the service's own */
};
struct agent_run { /* agentd.run: a pre_deploy command in a container of its own; asked again: how
		      it goes */
	struct agent_command command;
	struct service *service; /* its pre_deploy is what runs */
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
/* agentd.list: with an epoch it is leased's fence: agentd stores the epoch before it answers.
 * Without one (epoch 0) it only lists. */
struct agent_list {
	struct agent_command command; /* ns NULL: all namespaces; then without a fence */
	char **images;		      /* whose digests the answer should contain */
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
	int64_t epoch; /* highest that agentd has stored for the namespace; when it is higher than
			  the command's, the command fenced nothing */
	bool engine;
	char *engine_version;
	char *engine_error;
	char *arch;
	uint64_t disk;
	uint64_t disk_free;
	struct instance *instances; /* as inspected, candidates and stopped ones too */
	size_t n_instances;
	struct reservation *reservations;
	size_t n_reservations;
	struct host_port *host_ports; /* that containers of this engine publish */
	size_t n_host_ports;
	struct image_seen *images;
	size_t n_images;
};
struct agent_logs {   /* agentd.logs: lines come as PROGRESS_LINE on progress.<stream> */
	char *stream; /* an id that the asker chose and listens to; asked again: keeps it alive 30 s
		       */
	char *ns;
	char *service;	/* NULL: all of the namespace */
	char *instance; /* NULL: all of the service */
	bool follow;
	int64_t tail;	  /* lines of each; -1: all */
	int64_t since_ms; /* ago; -1: from the beginning */
	bool stop;	  /* ends it */
};
struct agent_streaming {
	int64_t instances; /* that the stream shows */
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
