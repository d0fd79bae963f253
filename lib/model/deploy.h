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

/* A failure on the wire. */
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
	char *machine; /* machine whose leased executes it */
	int64_t epoch;
	int phase;
	int64_t revision;  /* revision that the deploy committed; 0: none */
	int64_t sequence;  /* sequence of the commit in the log; 0: none */
	bool changed;	   /* false: there was nothing to change */
	int64_t opened;	   /* sequence of the opening entry in the log; 0: none */
	struct left *left; /* in cleanup_pending: instances that are not removed yet */
	size_t n_left;
	char **supersedes; /* earlier deploys whose pending clean-up passed to this one */
	char **unserved;   /* routes of this deploy that a gateway cannot serve, with the reason */
	struct phase_change *phases;
	size_t n_phases;
	struct error *failure;
	char *at; /* of this record */
};
DEFINE_MODEL(deploy);

/* leased.deploy, leased.rollback, leased.sweep */
struct deploy_request {
	char *deploy; /* id chosen by the client: a repeated request with it starts no second deploy
		       */
	char *ns;     /* set for rollback and sweep; otherwise the manifest has it */
	struct manifest *manifest; /* deploy only */
	char *verb;		   /* deploy, remove, rollback, sweep */
	char *operator_;
	char *from;
	char *why;
	bool yes;	  /* permit a plan that removes everything */
	int64_t plan_seq; /* committed sequence that the approved plan was made from; -1: any */
	int64_t to;	  /* rollback: the revision; 0: the one before the current one */
};
DEFINE_MODEL(deploy_request);
struct deploy_accepted {
	char *deploy;
	struct deploy *record; /* the deploy's record */
};
DEFINE_MODEL(deploy_accepted);
struct deploy_ref { /* leased.attach, leased.cancel */
	char *deploy;
	char *operator_; /* cancel: the operator's name */
	char *ns; /* NULL: the answering leased searches its own rollouts and the status stream */
};
DEFINE_MODEL(deploy_ref);

enum progress_kind {
	PROGRESS_PHASE, /* the deploy entered `phase` */
	PROGRESS_SLOT,	/* an instance changed to `state` */
	PROGRESS_PULL,	/* an image is being fetched */
	PROGRESS_NOTE,	/* a message for the operator */
	PROGRESS_PLAN,	/* `plan` is the plan to execute */
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
	int64_t done_bytes; /* bytes pulled */
	int64_t total_bytes;
	struct plan *plan;
	struct deploy *record;
	int64_t elapsed_ms;
};
DEFINE_MODEL(progress);

/* Converts a failure to its wire form and back. */
struct error *error_from_failure(const struct failure *failure);
void error_to_failure(const struct error *error, struct failure *failure);

#endif
