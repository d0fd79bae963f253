/* Deploy: its life-cycle record (status), its progress (not durable), its requests. */
#ifndef PLOYZ_MODEL_DEPLOY_H
#define PLOYZ_MODEL_DEPLOY_H

#include "lib/model/manifest.h"
#include "lib/model/plan.h"

enum deploy_phase {
	DEPLOY_PLANNING,
	DEPLOY_STARTING,
	DEPLOY_COMMITTING,
	DEPLOY_CLEANING,
	DEPLOY_DONE,
	DEPLOY_FAILED,
	DEPLOY_CLEANUP_PENDING,
	DEPLOY_REFUSED,
	DEPLOY_UNKNOWN, /* the commit was not acknowledged: `deploy attach` resolves it */
};
extern const char *const deploy_phase_names[];
bool deploy_phase_is_end(enum deploy_phase phase);

/* A failure as it travels. */
struct error {
	int code; /* enum failure_code */
	char *message;
	char *hint;
	char *path;
};
DEFINE_MODEL(error);

struct phase_change {
	int phase;
	char *at; /* RFC 3339 */
	char *machine;
	int64_t elapsed_ms; /* since the deploy began, on its leased's boot-time clock */
	char *note;
};

/* An instance that the clean-up of a committed deploy has not removed yet. */
struct left {
	char *instance;
	char *machine;
	char *reason;
};

/* ployz.v1.status.deploy.<ns>.<deploy> */
struct deploy {
	char *deploy;
	char *ns;
	char *verb;
	char *operator_;
	char *from;
	char *why;
	char *machine; /* whose leased executes it */
	int64_t epoch;
	int phase;
	int64_t revision;  /* that it committed; 0: none */
	int64_t sequence;  /* of the commit in the log; 0: none */
	bool changed;	   /* false: there was nothing to change */
	int64_t opened;	   /* sequence of the opening entry in the log; 0: none */
	struct left *left; /* of cleanup_pending: what is not removed yet */
	size_t n_left;
	char **supersedes; /* earlier deploys whose pending clean-up this one has taken over */
	char **unserved;   /* routes of this deploy that a gateway cannot serve, with the reason */
	struct phase_change *phases;
	size_t n_phases;
	struct error *failure;
	char *at; /* of this record */
};
DEFINE_MODEL(deploy);

/* leased.deploy, leased.rollback, leased.sweep */
struct deploy_request {
	char *deploy; /* the id, chosen by the asker: a repeated request is about the same deploy */
	char *ns;     /* rollback, sweep; of a deploy the manifest names it */
	struct manifest *manifest; /* deploy only */
	char *verb;		   /* deploy, remove, rollback, sweep */
	char *operator_;
	char *from;
	char *why;
	bool yes;	  /* continue where the plan removes everything */
	int64_t plan_seq; /* committed sequence that the approved plan was made from; -1: any */
	int64_t to;	  /* rollback: the revision; 0: the one before the current one */
};
DEFINE_MODEL(deploy_request);
struct deploy_accepted {
	char *deploy;
	struct deploy *record; /* how far it is */
};
DEFINE_MODEL(deploy_accepted);
struct deploy_ref { /* leased.attach, leased.cancel */
	char *deploy;
	char *operator_; /* cancel: who */
	char *ns; /* NULL: the answering leased searches its own rollouts and the status stream */
};
DEFINE_MODEL(deploy_ref);

enum progress_kind {
	PROGRESS_PHASE, /* the deploy entered `phase` */
	PROGRESS_SLOT,	/* an instance changed to `state` */
	PROGRESS_PULL,	/* an image is being fetched */
	PROGRESS_NOTE,	/* something worth a line */
	PROGRESS_PLAN,	/* `plan` is what will be done */
	PROGRESS_LINE,	/* a line of output: pre_deploy, logs */
	PROGRESS_END,	/* the last one: `record` is the outcome */
};
extern const char *const progress_kind_names[];

/* ployz.v1.progress.<id> */
struct progress {
	int kind;
	char *at; /* RFC 3339 */
	char *machine;
	char *ns;
	char *service;
	int64_t slot; /* -1: none */
	char *instance;
	int phase;   /* enum deploy_phase */
	char *state; /* of instance_state_names, or NULL */
	char *message;
	char *stream;	    /* stdout or stderr, of a line */
	int64_t done_bytes; /* of a pull */
	int64_t total_bytes;
	struct plan *plan;
	struct deploy *record;
	int64_t elapsed_ms;
};
DEFINE_MODEL(progress);

/* Moves a failure into its travelling form and back. */
struct error *error_from_failure(const struct failure *failure);
void error_to_failure(const struct error *error, struct failure *failure);

#endif
