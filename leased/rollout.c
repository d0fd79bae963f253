#include "leased/rollout.h"

static struct deploy *record_new(const struct rollout *r)
{
	const struct deploy_request *request = r->request;
	struct deploy *record = codec_new(&deploy_schema);

	record->deploy = xstrdup(request->deploy);
	record->ns = xstrdup(r->ns);
	record->verb = xstrdup(request->verb);
	record->operator_ = xstrdup(request->operator_);
	record->from = xstrdup(request->from);
	record->why = xstrdup(request->why);
	record->machine = xstrdup(r->self);
	record->at = r->ops->now_text((struct rollout *)r);
	return record;
}

struct rollout *rollout_new(const struct rollout_ops *ops, void *userdata, const char *self,
			    const struct deploy_request *request)
{
	struct rollout *r = xcalloc(1, sizeof(*r));

	r->table = phases;
	r->ops = ops;
	r->userdata = userdata;
	r->self = self;
	r->request = codec_copy(&deploy_request_schema, request);
	r->ns = r->request->manifest ? r->request->manifest->ns : r->request->ns;
	if (r->request->manifest)
		r->manifest = codec_copy(&manifest_schema, r->request->manifest);
	r->read.rollout = r->write.rollout = r;
	r->lease.state = HELD_TAKING;
	r->record = record_new(r);
	return r;
}

void rollout_clear_candidates(struct rollout *r)
{
	for (size_t i = 0; i < r->n_candidates; i++)
		candidate_free(r->candidates[i]);
	free(steal(r->candidates));
	r->n_candidates = 0;
	for (size_t i = 0; i < r->n_runs; i++)
		run_free(r->runs[i]);
	free(steal(r->runs));
	r->n_runs = 0;
}

static void participant_free(struct participant *p)
{
	rpc_clear(&p->list);
	rpc_clear(&p->rpc);
	rpc_clear(&p->renewal);
	free(p->machine);
	free(p);
}

void rollout_free(struct rollout *r)
{
	if (!r)
		return;
	confirmation_free(r->confirmation);
	removal_free(r->removal);
	claiming_free(r->claiming);
	rpc_clear(&r->planning);
	read_clear(&r->read);
	write_clear(&r->write);
	rollout_clear_candidates(r);
	for (size_t i = 0; i < r->n_participants; i++)
		participant_free(r->participants[i]);
	free(r->participants);
	for (size_t i = 0; i < r->n_leftovers; i++) {
		free(r->leftovers[i].machine);
		free(r->leftovers[i].instance);
		free(r->leftovers[i].service);
	}
	free(r->leftovers);
	plan_free(r->plan);
	head_free(r->head);
	head_free(r->base);
	head_free(r->trying);
	open_deploy_free(r->orphan);
	deploy_free(r->previous);
	deploy_free(r->record);
	manifest_free(r->manifest);
	pairs_free(&r->pinned);
	strv_free(r->unserved);
	strv_free(r->never);
	strv_free(r->perhaps);
	failure_clear(&r->failure);
	failure_clear(&r->lease.failure);
	free(r->cancelled);
	free(r->outcome);
	deploy_request_free(r->request);
	free(r);
}

void rollout_note(struct rollout *r, const char *format, ...)
{
	_cleanup_free_ char *text = NULL;
	struct progress progress = { .kind = PROGRESS_NOTE, .slot = -1 };
	va_list args;

	va_start(args, format);
	text = xvasprintf(format, args);
	va_end(args);
	progress.message = text;
	r->ops->progress(r, &progress);
}

void rollout_slot(struct rollout *r, const struct candidate *c, const char *state,
		  const char *message)
{
	struct progress progress = {
		.kind = PROGRESS_SLOT,
		.machine = c->slot->machine,
		.service = c->slot->service,
		.slot = c->slot->slot,
		.instance = c->instance,
		.state = (char *)state,
		.message = (char *)message,
	};

	r->ops->progress(r, &progress);
}

static void change_phase(struct rollout *r, enum deploy_phase phase, const char *note)
{
	struct phase_change *change = array_add(r->record->phases, r->record->n_phases);

	free(r->record->at);
	r->record->at = r->ops->now_text(r);
	r->record->phase = (int)phase;
	change->phase = (int)phase;
	change->at = xstrdup(r->record->at);
	change->machine = xstrdup(r->self);
	change->elapsed_ms = (int64_t)((r->now_usec - r->began_usec) / 1000);
	change->note = xstrdup(note);
}

void rollout_phase(struct rollout *r, enum deploy_phase phase, const char *note)
{
	struct progress progress = { .kind = PROGRESS_PHASE, .slot = -1, .message = (char *)note };

	if (r->record->n_phases && r->record->phase == (int)phase)
		return;
	change_phase(r, phase, note);
	r->ops->record(r, false);
	r->ops->progress(r, &progress);
}

enum phase_result rollout_fail(struct rollout *r, const struct failure *failure)
{
	/* The first failure is the outcome; later failures, while the deploy is undone, are only
	 * reported. */
	if (failure_is_set(&r->failure))
		rollout_note(r, "%s", failure->message);
	else
		failure_copy(&r->failure, failure);
	return PHASE_FAILED;
}

enum phase_result rollout_failf(struct rollout *r, enum failure_code code, const char *hint,
				const char *format, ...)
{
	struct failure failure = FAILURE_INIT;
	va_list args;

	va_start(args, format);
	failure_vset(&failure, code, hint, format, args);
	va_end(args);
	rollout_fail(r, &failure);
	failure_clear(&failure);
	return PHASE_FAILED;
}

void rollout_committed(struct rollout *r)
{
	head_free(r->head);
	r->head = steal(r->trying);
	r->sequence = r->write.sequence;
	r->committed = true;
	r->record->revision = r->head->revision;
	r->record->sequence = (int64_t)r->sequence;
	r->record->changed = true;
}

enum phase_result rollout_lose(struct rollout *r, const struct failure *failure)
{
	bool pending = r->committing && !r->committed;

	/* The commit may have been acknowledged already; without an answer it may be stored, now or
	 * later. */
	if (pending && (r->write.state == WRITE_DONE || r->write.state == WRITE_SUPERSEDED))
		rollout_committed(r);
	else if (pending && (r->write.state == WRITE_WAITING || r->write.state == WRITE_UNKNOWN))
		r->unknown = true;
	rollout_fail(r, failure);
	return PHASE_LOST;
}

enum phase_result rollout_rpc_error(struct rollout *r, const struct rpc *rpc)
{
	if (rpc->failure.code == FAILURE_FENCED)
		return rollout_lose(r, &rpc->failure);
	return rollout_fail(r, &rpc->failure);
}

bool rollout_may_retry(struct rollout *r, const struct failure *failure)
{
	if (!failure_is_undecided(failure))
		return false;
	if (r->now_usec - r->phase_usec > RETRY_LIMIT_USEC)
		return false;
	if (!r->repeating)
		rollout_note(r, "%s; repeating the request", failure->message);
	r->repeating = true;
	return true;
}

void rollout_command(const struct rollout *r, struct agent_command *ret)
{
	*ret = (struct agent_command){
		.ns = (char *)r->ns,
		.epoch = r->lease.epoch,
		.deploy = r->request->deploy,
		.generation = r->generation,
		.opened = (int64_t)r->opened,
	};
}

struct participant *rollout_participant(const struct rollout *r, const char *machine)
{
	for (size_t i = 0; i < r->n_participants; i++)
		if (streq(r->participants[i]->machine, machine))
			return r->participants[i];
	return NULL;
}

void rollout_add_participant(struct rollout *r, const char *machine)
{
	struct participant *added;
	size_t at = r->n_participants;

	if (rollout_participant(r, machine))
		return;
	added = xcalloc(1, sizeof(*added));
	added->machine = xstrdup(machine);
	*array_add(r->participants, r->n_participants) = added;
	for (; at > 0 && strcmp(r->participants[at - 1]->machine, machine) > 0; at--)
		r->participants[at] = r->participants[at - 1];
	r->participants[at] = added;
}

uint64_t rollout_grace(const struct rollout *r, const char *name)
{
	const struct head_service *service = r->base && name ? head_service(r->base, name) : NULL;

	return service ? service->stop_grace : DEFAULT_GRACE_USEC;
}

struct watermark rollout_watermark(const struct rollout *r)
{
	struct watermark wanted = {
		.generation = r->generation,
		.intent = (int64_t)r->sequence,
		.facts = r->head ? r->head->facts : 0,
	};

	for (size_t i = 0; i < r->n_candidates; i++)
		wanted.facts = MAX2(wanted.facts, r->candidates[i]->facts);
	return wanted;
}

/* The code that ployzctl exits with. Before the commit every failure but a refusal is one that
 * changed nothing; after the commit every failure leaves a pending clean-up. */
static enum failure_code end_code(const struct rollout *r)
{
	enum failure_code code = (enum failure_code)r->failure.code;

	if (r->unknown)
		return FAILURE_UNKNOWN;
	if (r->committed)
		return FAILURE_CLEANUP_PENDING;
	return failure_exit(code) == EXIT_UNREACHABLE || failure_exit(code) == EXIT_NO
		       ? FAILURE_FAILED
		       : code;
}

static enum deploy_phase end_phase(const struct rollout *r)
{
	if (!failure_is_set(&r->failure))
		return DEPLOY_DONE;
	if (r->unknown)
		return DEPLOY_UNKNOWN;
	if (r->committed)
		return DEPLOY_CLEANUP_PENDING;
	/* The clean-up is still that of the deploy that committed, whose record stays pending. */
	if (r->failure.code == FAILURE_CLEANUP_PENDING && r->manifest)
		return DEPLOY_DONE;
	if (r->failure.code == FAILURE_LEASE_HELD || r->failure.code == FAILURE_STALE ||
	    r->failure.code == FAILURE_INVALID)
		return DEPLOY_REFUSED;
	return DEPLOY_FAILED;
}

/* The pending clean-up of the previous deploy, which this one did not finish, passes to this one if
 * it has committed. */
static void add_superseded(struct rollout *r)
{
	struct deploy *previous = r->previous;

	if (!previous || r->record->phase != DEPLOY_CLEANUP_PENDING)
		return;
	for (char **id = previous->supersedes; id && *id; id++)
		strv_push(&r->record->supersedes, xstrdup(*id));
	strv_push(&r->record->supersedes, xstrdup(previous->deploy));
}

void rollout_conclude(struct rollout *r)
{
	struct failure unknown = FAILURE_INIT;
	_cleanup_free_ char *hint =
		xasprintf("`ployzctl deploy attach %s` resolves it", r->request->deploy);

	if (r->unknown) {
		failure_set(&unknown, FAILURE_UNKNOWN, hint,
			    "cannot tell whether the commit of deploy %s was stored: %s",
			    r->request->deploy,
			    r->failure.message ? r->failure.message : "the store did not answer");
		failure_move(&r->failure, &unknown);
	}
	r->record->unserved = strv_copy(r->unserved);
	if (failure_is_set(&r->failure)) {
		r->record->failure = error_from_failure(&r->failure);
		r->record->failure->code = (int)end_code(r);
	}
	change_phase(r, end_phase(r), r->failure.message ? r->failure.message : r->outcome);
	if (!r->record->n_left && !r->cleaned &&
	    (r->record->phase == DEPLOY_CLEANUP_PENDING ||
	     r->failure.code == FAILURE_CLEANUP_PENDING))
		cleaning_left(r, r->failure.message);
	add_superseded(r);
}
