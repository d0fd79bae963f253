/* What agentd is asked and answers. */
#ifndef PLOYZ_MODEL_AGENT_H
#define PLOYZ_MODEL_AGENT_H

#include "lib/model/plan.h"

/* Every command carries these; a lower epoch than the highest seen is refused (FENCED). */
struct agent_lock { /* agentd.lock: also renews; a higher epoch supersedes */
	char *ns;
	int64_t epoch;
	char *deploy;
	char *holder; /* machine of the leased that holds the lease */
	struct reservation reserve;
};
struct agent_unlock {
	char *ns;
	int64_t epoch;
	char *deploy;
};
struct agent_prepare { /* agentd.prepare: fetch the image; asked again: how far it is */
	char *ns;
	int64_t epoch;
	char *deploy;
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
	char *ns;
	int64_t epoch;
	char *deploy;
	char *instance;
	int64_t slot;
	struct service *service;
	struct volume *volumes; /* those that its mounts name */
	size_t n_volumes;
	char *digest;
};
struct agent_instance {		   /* start, drain, stop, resume, remove's answer */
	struct instance *instance; /* NULL: there is no such container (any more) */
	int64_t sequence; /* of the log entry that holds this state; 0: not published yet */
};
struct agent_ref { /* drain, stop, resume, remove */
	char *ns;
	int64_t epoch;
	char *deploy; /* that asks (for progress) */
	char *instance;
	int64_t grace_ms; /* stop: TERM, then KILL after this; -1: the service's own */
};
struct agent_run { /* agentd.run: a pre_deploy command in a container of its own; asked again: how
		      it goes */
	char *ns;
	int64_t epoch;
	char *deploy;
	struct service *service; /* its pre_deploy is what runs */
	struct volume *volumes;
	size_t n_volumes;
	char *digest;
};
struct agent_ran {
	char *state; /* running, done, failed */
	int64_t exit_code;
	char *reason;
};
struct agent_list {    /* agentd.list */
	char *ns;      /* NULL: all */
	char **images; /* whose digests the answer should tell */
};
struct agent_listed {
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
DEFINE_MODEL(agent_unlock);
DEFINE_MODEL(agent_prepare);
DEFINE_MODEL(agent_prepared);
DEFINE_MODEL(agent_start);
DEFINE_MODEL(agent_instance);
DEFINE_MODEL(agent_ref);
DEFINE_MODEL(agent_run);
DEFINE_MODEL(agent_ran);
DEFINE_MODEL(agent_list);
DEFINE_MODEL(agent_listed);
DEFINE_MODEL(agent_logs);
DEFINE_MODEL(agent_streaming);
DEFINE_MODEL(empty);

#endif
