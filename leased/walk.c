/* The walk of a deploy: each step enters, and its row says where it goes on when it has done its
 * work and when it cannot. Whatever comes back late finds its step gone: the questions of a step
 * are cancelled when it is left. */
#include "leased/leased.h"

struct step_row {
	const char *name;
	void (*enter)(struct walk *walk);
	enum step next, fail;
	void (*tick)(struct walk *walk); /* once a second; may be NULL */
};

static void step_lease(struct walk *walk);
static void step_release(struct walk *walk);

static void starting_tick(struct walk *walk)
{
	drainings_tick(walk);
	starting_heard(walk, NULL);
}

static void waiting_tick(struct walk *walk)
{
	if (walk->applied)
		applying_tick(walk);
	else
		leaving_tick(walk);
}

static const struct step_row steps[] = {
	[STEP_LEASE] = { "lease", step_lease, STEP_OPEN, STEP_END, NULL },
	[STEP_OPEN] = { "open", step_open, STEP_SWEEP, STEP_RELEASE, opening_tick },
	[STEP_SWEEP] = { "sweep", step_sweep, STEP_PLAN, STEP_CLOSE, waiting_tick },
	[STEP_PLAN] = { "plan", step_plan, STEP_LOCK, STEP_CLOSE, planning_tick },
	[STEP_LOCK] = { "lock", step_lock, STEP_PREPARE, STEP_CLOSE, participants_tick },
	[STEP_PREPARE] = { "prepare", step_prepare, STEP_RUN, STEP_CLOSE, preparing_again },
	[STEP_RUN] = { "run", step_run, STEP_START, STEP_CLOSE, running_again },
	[STEP_START] = { "start", step_start, STEP_COMMIT, STEP_ABORT, starting_tick },
	[STEP_COMMIT] = { "commit", step_commit, STEP_APPLY, STEP_ABORT, NULL },
	[STEP_APPLY] = { "apply", step_apply, STEP_CLEAN, STEP_UNLOCK, waiting_tick },
	[STEP_CLEAN] = { "clean", step_clean, STEP_UNLOCK, STEP_UNLOCK, waiting_tick },
	[STEP_ABORT] = { "abort", step_abort, STEP_RESUME, STEP_RESUME, waiting_tick },
	[STEP_RESUME] = { "resume", step_resume, STEP_CLOSE, STEP_CLOSE, resume_tick },
	[STEP_CLOSE] = { "close", step_close, STEP_UNLOCK, STEP_UNLOCK, NULL },
	[STEP_UNLOCK] = { "unlock", step_unlock, STEP_RELEASE, STEP_RELEASE, NULL },
	[STEP_RELEASE] = { "release", step_release, STEP_END, STEP_END, NULL },
	[STEP_END] = { "end", progress_end, STEP_END, STEP_END, NULL },
};

struct log_about walk_about(const struct walk *walk)
{
	return (struct log_about){
		.ns = walk->request->manifest->ns,
		.deploy = walk->request->deploy,
		.epoch = (uint64_t)walk->record->epoch,
	};
}

void walk_goto(struct walk *walk, enum step step)
{
	const struct log_about about = walk_about(walk);

	log_write(LOG_DEBUG, &about, "deploy %s: %s → %s", walk->request->deploy,
		  steps[walk->step].name, steps[step].name);
	errands_cancel(walk);
	applying_clear(walk);
	drainings_clear(walk);
	walk->applied = NULL;
	walk->pending = 0;
	walk->deadline_usec = 0;
	for (size_t i = 0; i < walk->n_candidates; i++)
		walk->candidates[i]->asking = false;
	walk->step = step;
	walk->held = false;
	walk->again = false;
	walk_enter(walk);
}

void walk_enter(struct walk *walk)
{
	const char *name = steps[walk->step].name;
	bool held = walk->held;

	walk->held = walk->step != STEP_END &&
		     hold_wants(walk->leased, walk->request->manifest->ns, name);
	if (walk->held && !held)
		progress_note(walk, "held before step %s", name);
	if (walk->held)
		return;
	walk->step_usec = boot_now_usec();
	steps[walk->step].enter(walk);
}

void walk_next(struct walk *walk)
{
	walk_goto(walk, steps[walk->step].next);
}

void walk_fail(struct walk *walk, const struct failure *failure)
{
	/* The first reason is the one that counts; what fails while taking back is a line of its
	 * own. */
	if (failure_is_set(&walk->failure))
		progress_note(walk, "%s", failure->message);
	else
		failure_copy(&walk->failure, failure);
	leaving_clear(walk);
	walk_goto(walk, steps[walk->step].fail);
}

void walk_failf(struct walk *walk, enum failure_code code, const char *hint, const char *format,
		...)
{
	struct failure failure = FAILURE_INIT;
	va_list args;

	va_start(args, format);
	failure_vset(&failure, code, hint, format, args);
	va_end(args);
	walk_fail(walk, &failure);
	failure_clear(&failure);
}

bool walk_patient(struct walk *walk, const struct failure *failure)
{
	if ((failure->code != FAILURE_UNREACHABLE && failure->code != FAILURE_TIMEOUT) ||
	    boot_now_usec() - walk->step_usec > PATIENCE_USEC)
		return false;
	if (!walk->again)
		progress_note(walk, "%s; asking again", failure->message);
	walk->again = true;
	return true;
}

void walk_lost(struct walk *walk, const struct failure *failure)
{
	if (walk->lost || walk->step == STEP_END)
		return;
	walk->lost = true;
	failure_copy(&walk->failure, failure);
	bus_request_cancel(steal(walk->reading));
	sure_free(steal(walk->append));
	leaving_clear(walk);
	walk_goto(walk, STEP_END);
}

static void on_lease_taken(void *userdata)
{
	struct walk *walk = userdata;
	const struct lease *lease = holding_lease(walk->holding);

	walk->record->epoch = lease->epoch;
	walk_next(walk);
}

static void on_lease_refused(const struct failure *failure, void *userdata)
{
	walk_fail(userdata, failure);
}

static void on_lease_renewed(void *userdata)
{
	participants_renew(userdata);
}

static void on_lease_lost(const struct failure *failure, void *userdata)
{
	walk_lost(userdata, failure);
}

static void on_lease_waiting(const char *why, void *userdata)
{
	progress_note(userdata, "%s: asking again", why);
}

static const struct holding_ops holding_ops = {
	.taken = on_lease_taken,
	.refused = on_lease_refused,
	.renewed = on_lease_renewed,
	.lost = on_lease_lost,
	.waiting = on_lease_waiting,
};

static void step_lease(struct walk *walk)
{
	const struct deploy_request *request = walk->request;
	_cleanup_free_ char *now = time_format(time_now_usec());
	const struct lease wanted = {
		.ns = request->manifest->ns,
		.state = LEASE_HELD,
		.machine = (char *)walk->leased->daemon->config->machine,
		.life = walk->leased->life,
		.operator_ = request->operator_,
		.deploy = request->deploy,
		.verb = request->verb,
		.since = now,
	};

	walk->holding = holding_new(walk->leased, &wanted, &holding_ops, walk);
}

static void on_released(void *userdata)
{
	walk_next(userdata);
}

static void step_release(struct walk *walk)
{
	holding_release(walk->holding, on_released, walk);
}

static void on_tick(void *userdata)
{
	struct walk *walk = userdata;

	if (walk->ended)
		return;
	timer_arm(walk->tick, AGENT_ASK_AGAIN_USEC);
	if (steps[walk->step].tick && !walk->held)
		steps[walk->step].tick(walk);
}

/* Agents tell what happens as it happens; what they tell only makes us ask. */
static void on_heard(const struct bus_message *message, void *userdata)
{
	struct walk *walk = userdata;
	void *progress = NULL;
	const struct progress *p;

	if (walk->ended || walk->held ||
	    codec_parse(&progress_schema, message->data, message->size, CODEC_LENIENT, &progress,
			NULL) < 0)
		return;
	p = progress;
	/* Our own words come back too. */
	if (p->kind == PROGRESS_SLOT && walk->step == STEP_START)
		starting_heard(walk, p);
	else if (p->kind == PROGRESS_SLOT)
		leaving_heard(walk, p);
	else if (p->kind == PROGRESS_PULL && walk->step == STEP_PREPARE && p->state &&
		 !streq(p->state, "pulling"))
		preparing_again(walk);
	else if (p->kind == PROGRESS_LINE && walk->step == STEP_RUN && p->state)
		running_again(walk);
	progress_free(progress);
}

char **walk_peers(const struct walk *walk)
{
	const struct map_item *item = NULL;
	char **peers = NULL;

	while ((item = map_next(&walk->leased->machines, item)))
		strv_push(&peers, xstrdup(item->key));
	return peers;
}

void walk_ended(struct walk *walk)
{
	walk->ended = true;
	timer_disarm(walk->tick);
	bus_subscription_free(steal(walk->heard));
	holding_free(steal(walk->holding));
	deferred_schedule(walk->leased->trim);
}

/* Takes the record. */
static void keep_record(struct leased *leased, struct deploy *record)
{
	if (leased->n_ended == ENDED_RECORDS_KEPT) {
		deploy_free(leased->ended[0]);
		memmove(leased->ended, leased->ended + 1,
			--leased->n_ended * sizeof(*leased->ended));
	}
	leased->ended[leased->n_ended++] = record;
}

void walks_trim(void *userdata)
{
	struct leased *leased = userdata;
	struct walk **all = steal(leased->walks);
	size_t n = leased->n_walks;

	leased->n_walks = 0;
	for (size_t i = 0; i < n; i++) {
		/* A dead deploy's record is still being read: its end comes here again. */
		if (all[i]->ended && !all[i]->orphan_record) {
			keep_record(leased, steal(all[i]->record));
			walk_free(all[i]);
		} else {
			*array_add(leased->walks, leased->n_walks) = all[i];
		}
	}
	free(all);
}

static struct deploy *record_new(const struct leased *leased, const struct deploy_request *request)
{
	struct deploy *record = codec_new(&deploy_schema);

	record->deploy = xstrdup(request->deploy);
	record->ns = xstrdup(request->manifest->ns);
	record->verb = xstrdup(request->verb);
	record->operator_ = xstrdup(request->operator_);
	record->from = xstrdup(request->from);
	record->why = xstrdup(request->why);
	record->machine = xstrdup(leased->daemon->config->machine);
	record->at = time_format(time_now_usec());
	return record;
}

struct walk *walk_new(struct leased *leased, const struct deploy_request *request)
{
	_cleanup_free_ char *subject = subject_make(SUBJECT_PROGRESS, request->deploy, NULL);
	struct walk *walk = xcalloc(1, sizeof(*walk));

	walk->leased = leased;
	walk->request = codec_copy(&deploy_request_schema, request);
	walk->record = record_new(leased, request);
	walk->began_usec = boot_now_usec();
	walk->tick = timer_new(leased->daemon->loop, on_tick, walk);
	timer_arm(walk->tick, AGENT_ASK_AGAIN_USEC);
	if (bus_subscribe(leased->daemon->bus, subject, on_heard, walk, &walk->heard) < 0)
		log_warning("deploy %s: its agents cannot be heard, they are asked once a second",
			    request->deploy);
	*array_add(leased->walks, leased->n_walks) = walk;
	leased->walked++;
	walk->step = STEP_LEASE;
	walk_enter(walk);
	return walk;
}

const struct deploy *walk_record(const struct leased *leased, const char *deploy)
{
	for (size_t i = 0; i < leased->n_walks; i++)
		if (streq(leased->walks[i]->request->deploy, deploy))
			return leased->walks[i]->record;
	for (size_t i = 0; i < leased->n_ended; i++)
		if (streq(leased->ended[i]->deploy, deploy))
			return leased->ended[i];
	return NULL;
}

static void candidate_free(struct candidate *c)
{
	free(c->instance);
	free(c->digest);
	free(c->hash);
	free(c->address);
	free(c);
}

void walk_free(struct walk *walk)
{
	if (!walk)
		return;
	errands_cancel(walk);
	applying_clear(walk);
	drainings_clear(walk);
	leaving_clear(walk);
	bus_request_cancel(walk->reading);
	sure_free(walk->append);
	holding_free(walk->holding);
	record_writer_free(walk->writer);
	bus_subscription_free(walk->heard);
	timer_free(walk->tick);
	for (size_t i = 0; i < walk->n_candidates; i++)
		candidate_free(walk->candidates[i]);
	free(walk->candidates);
	head_free(walk->head);
	head_free(walk->base);
	head_free(walk->trying);
	orphan_free(walk->orphan_record);
	codec_destroy(&open_deploy_schema, walk->orphan);
	plan_free(walk->plan);
	strv_free(walk->machines);
	strv_free(walk->peers);
	failure_clear(&walk->failure);
	free(walk->outcome);
	deploy_free(walk->record);
	deploy_request_free(walk->request);
	free(walk);
}
