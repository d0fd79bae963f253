#include "lib/model/deploy.h"

const char *const deploy_phase_names[] = {
	[DEPLOY_PLANNING] = "planning",
	[DEPLOY_STARTING] = "starting",
	[DEPLOY_COMMITTING] = "committing",
	[DEPLOY_CLEANING] = "cleaning",
	[DEPLOY_DONE] = "done",
	[DEPLOY_FAILED] = "failed",
	[DEPLOY_CLEANUP_PENDING] = "cleanup_pending",
	[DEPLOY_REFUSED] = "refused",
	[DEPLOY_UNKNOWN] = "unknown",
	NULL,
};
const char *const progress_kind_names[] = {
	[PROGRESS_PHASE] = "phase", [PROGRESS_SLOT] = "slot",
	[PROGRESS_PULL] = "pull",   [PROGRESS_NOTE] = "note",
	[PROGRESS_PLAN] = "plan",   [PROGRESS_LINE] = "line",
	[PROGRESS_END] = "end",	    NULL,
};

bool deploy_phase_is_end(enum deploy_phase phase)
{
	return phase >= DEPLOY_DONE;
}

static const struct codec_field error_fields[] = {
	FIELD(struct error, code, CODEC_ENUM, .flags = CODEC_REQUIRED, .names = failure_code_names),
	FIELD(struct error, message, CODEC_STRING),
	FIELD(struct error, hint, CODEC_STRING, .note = "the next step"),
	FIELD(struct error, path, CODEC_STRING, .note = "the invalid field of the manifest"),
	FIELD_END,
};
const struct codec_schema error_schema = { .name = "error",
					   .size = sizeof(struct error),
					   .fields = error_fields };

static const struct codec_field phase_change_fields[] = {
	FIELD(struct phase_change, phase, CODEC_ENUM, .flags = CODEC_REQUIRED,
	      .names = deploy_phase_names),
	FIELD(struct phase_change, at, CODEC_STRING),
	FIELD(struct phase_change, machine, CODEC_STRING),
	FIELD(struct phase_change, elapsed_ms, CODEC_INT, .note = "since the deploy began"),
	FIELD(struct phase_change, note, CODEC_STRING),
	FIELD_END,
};
static const struct codec_schema phase_change_schema = {
	.name = "phase_change",
	.size = sizeof(struct phase_change),
	.fields = phase_change_fields,
};

static const struct codec_field left_fields[] = {
	FIELD(struct left, instance, CODEC_STRING, .flags = CODEC_REQUIRED),
	FIELD(struct left, machine, CODEC_STRING, .flags = CODEC_REQUIRED),
	FIELD(struct left, reason, CODEC_STRING),
	FIELD_END,
};
static const struct codec_schema left_schema = {
	.name = "left",
	.size = sizeof(struct left),
	.fields = left_fields,
};

static const struct codec_field deploy_fields[] = {
	FIELD(struct deploy, deploy, CODEC_STRING, .flags = CODEC_REQUIRED),
	FIELD_KEY(struct deploy, ns, "namespace", CODEC_NAME, .flags = CODEC_REQUIRED),
	FIELD(struct deploy, verb, CODEC_STRING),
	FIELD_KEY(struct deploy, operator_, "operator", CODEC_STRING),
	FIELD(struct deploy, from, CODEC_STRING),
	FIELD(struct deploy, why, CODEC_STRING),
	FIELD(struct deploy, machine, CODEC_STRING, .note = "whose leased executes it"),
	FIELD(struct deploy, epoch, CODEC_INT),
	FIELD(struct deploy, phase, CODEC_ENUM, .flags = CODEC_REQUIRED,
	      .names = deploy_phase_names),
	FIELD(struct deploy, revision, CODEC_INT, .note = "that it committed; 0: none"),
	FIELD(struct deploy, sequence, CODEC_INT, .note = "of the commit in the log; 0: none"),
	FIELD(struct deploy, changed, CODEC_BOOL),
	FIELD(struct deploy, opened, CODEC_INT, .flags = CODEC_OMIT,
	      .note = "sequence of the opening entry in the log"),
	FIELD_LIST(struct deploy, left, n_left, CODEC_LIST, &left_schema,
		   .note = "of cleanup_pending: what is not removed yet"),
	FIELD(struct deploy, supersedes, CODEC_STRV,
	      .note = "earlier deploys whose pending clean-up passed to this one"),
	FIELD(struct deploy, unserved, CODEC_STRV,
	      .note = "routes that a gateway cannot serve, with the reason"),
	FIELD_LIST(struct deploy, phases, n_phases, CODEC_LIST, &phase_change_schema),
	FIELD(struct deploy, failure, CODEC_POINTER, .schema = &error_schema),
	FIELD(struct deploy, at, CODEC_STRING),
	FIELD_END,
};
const struct codec_schema deploy_schema = { .name = "deploy",
					    .size = sizeof(struct deploy),
					    .fields = deploy_fields };

static const struct codec_field deploy_request_fields[] = {
	FIELD(struct deploy_request, deploy, CODEC_STRING, .flags = CODEC_REQUIRED,
	      .note = "id chosen by the client"),
	FIELD_KEY(struct deploy_request, ns, "namespace", CODEC_NAME,
		  .note = "for rollback and sweep; otherwise the manifest has it"),
	FIELD(struct deploy_request, manifest, CODEC_POINTER, .schema = &manifest_schema,
	      .note = "deploy"),
	FIELD(struct deploy_request, verb, CODEC_STRING, .text = "deploy"),
	FIELD_KEY(struct deploy_request, operator_, "operator", CODEC_STRING),
	FIELD(struct deploy_request, from, CODEC_STRING),
	FIELD(struct deploy_request, why, CODEC_STRING),
	FIELD(struct deploy_request, yes, CODEC_BOOL),
	FIELD(struct deploy_request, plan_seq, CODEC_INT, .min = -1, .max = INT64_MAX,
	      .initial = -1,
	      .note = "committed sequence that the approved plan was made from; -1: any"),
	FIELD(struct deploy_request, to, CODEC_INT, .flags = CODEC_OMIT,
	      .note = "rollback: the revision; 0: the one before the current one"),
	FIELD_END,
};
const struct codec_schema deploy_request_schema = {
	.name = "deploy_request",
	.size = sizeof(struct deploy_request),
	.fields = deploy_request_fields,
};

static const struct codec_field deploy_accepted_fields[] = {
	FIELD(struct deploy_accepted, deploy, CODEC_STRING, .flags = CODEC_REQUIRED),
	FIELD(struct deploy_accepted, record, CODEC_POINTER, .schema = &deploy_schema),
	FIELD_END,
};
const struct codec_schema deploy_accepted_schema = {
	.name = "deploy_accepted",
	.size = sizeof(struct deploy_accepted),
	.fields = deploy_accepted_fields,
};

static const struct codec_field deploy_ref_fields[] = {
	FIELD(struct deploy_ref, deploy, CODEC_STRING, .flags = CODEC_REQUIRED),
	FIELD_KEY(struct deploy_ref, operator_, "operator", CODEC_STRING),
	FIELD_KEY(struct deploy_ref, ns, "namespace", CODEC_STRING),
	FIELD_END,
};
const struct codec_schema deploy_ref_schema = {
	.name = "deploy_ref",
	.size = sizeof(struct deploy_ref),
	.fields = deploy_ref_fields,
};

static const struct codec_field progress_fields[] = {
	FIELD(struct progress, kind, CODEC_ENUM, .flags = CODEC_REQUIRED,
	      .names = progress_kind_names),
	FIELD(struct progress, at, CODEC_STRING),
	FIELD(struct progress, machine, CODEC_STRING),
	FIELD_KEY(struct progress, ns, "namespace", CODEC_STRING),
	FIELD(struct progress, service, CODEC_STRING),
	FIELD(struct progress, slot, CODEC_INT, .min = -1, .max = INT64_MAX, .initial = -1),
	FIELD(struct progress, instance, CODEC_STRING),
	FIELD(struct progress, phase, CODEC_ENUM, .names = deploy_phase_names),
	FIELD(struct progress, state, CODEC_STRING),
	FIELD(struct progress, message, CODEC_STRING),
	FIELD(struct progress, stream, CODEC_STRING, .note = "stdout or stderr, of a line"),
	FIELD(struct progress, done_bytes, CODEC_INT, .flags = CODEC_OMIT),
	FIELD(struct progress, total_bytes, CODEC_INT, .flags = CODEC_OMIT),
	FIELD(struct progress, plan, CODEC_POINTER, .schema = &plan_schema),
	FIELD(struct progress, record, CODEC_POINTER, .schema = &deploy_schema),
	FIELD(struct progress, elapsed_ms, CODEC_INT, .flags = CODEC_OMIT),
	FIELD_END,
};
const struct codec_schema progress_schema = {
	.name = "progress",
	.size = sizeof(struct progress),
	.fields = progress_fields,
};

struct error *error_from_failure(const struct failure *failure)
{
	struct error *error = xcalloc(1, sizeof(*error));

	error->code = failure->code;
	error->message = xstrdup(failure->message);
	error->hint = xstrdup(failure->hint);
	error->path = xstrdup(failure->path);
	return error;
}

void error_to_failure(const struct error *error, struct failure *failure)
{
	failure_set(failure, (enum failure_code)error->code, error->hint, "%s",
		    error->message ? error->message : "");
	failure_prefix(failure, error->path);
}
