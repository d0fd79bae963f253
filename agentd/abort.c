/* Presumed abort: records which instances a deploy has taken out of service, requests the head when
 * the deploy's lock has ended, and carries out the decisions of aborting.c. Each decision is saved
 * before it is carried out, and carried out again after a restart. */
#include "agentd/agentd.h"

struct aborts {
	struct agentd *agentd;
	struct timer *tick;
};

static void on_tick(void *userdata);

struct aborts *abort_new(struct agentd *agentd)
{
	struct aborts *aborts = xcalloc(1, sizeof(*aborts));

	aborts->agentd = agentd;
	aborts->tick = timer_new(agentd->daemon->loop, on_tick, aborts);
	return aborts;
}

void abort_free(struct aborts *aborts)
{
	if (!aborts)
		return;
	timer_free(aborts->tick);
	free(aborts);
}

static bool is_out(const struct control *control)
{
	return control && control->want != WANT_REMOVE &&
	       (control->fact->state == INSTANCE_STOPPED ||
		control->fact->state == INSTANCE_DRAINING);
}

static void resume(struct control *control)
{
	if (is_out(control))
		control_command(control, EVENT_RESUME, -1, NULL);
}

/* The fact may report it as resumed although the start was lost with an earlier process. */
static void start_again(struct control *control)
{
	if (control && control->want == WANT_RUN &&
	    !states_is_end((enum instance_state)control->fact->state))
		control_start(control);
}

static void stop(struct control *control)
{
	enum instance_state state = (enum instance_state)control->fact->state;

	if (control->want == WANT_RUN || (control->want == WANT_STOP && state != INSTANCE_STOPPED))
		control_command(control, EVENT_STOP, -1, NULL);
}

/* The candidates of its deploy that conflict with the instance: the one of its slot, and those that
 * hold its host port or volume. */
static bool is_in_the_way(const struct stopped *stopped, const struct control *instance,
			  const struct control *other)
{
	const struct instance *fact = other->fact;

	if (!aborting_is_candidate(stopped, fact) || other->want == WANT_REMOVE)
		return false;
	if (streq(fact->service, stopped->service) && fact->slot == stopped->slot)
		return true;
	return instance &&
	       services_conflict(instance->fact->ns, instance->service, fact->ns, other->service);
}

/* Calls `fn` for each of these candidates; it may free the control. */
static void each_in_the_way(const struct agentd *agentd, const struct lock *lock,
			    const struct stopped *stopped,
			    void (*fn)(struct control *control, const struct stopped *stopped))
{
	const struct control *instance = agentd_control(agentd, stopped->instance);

	for (struct map_item *i = NULL; (i = map_next(&agentd->controls, i));) {
		struct control *other = i->value;

		if (streq(other->fact->ns, lock->ns) && is_in_the_way(stopped, instance, other))
			fn(other, stopped);
	}
}

static void stop_candidate(struct control *control, _unused_ const struct stopped *stopped)
{
	stop(control);
}

/* The candidate that presumed abort has stopped; the next holder's sweep removes the others. */
static void remove_candidate(struct control *control, _unused_ const struct stopped *stopped)
{
	if (is_out(control))
		control_command(control, EVENT_REMOVE, -1, NULL);
}

static void reverse(struct agentd *agentd, const struct lock *lock, const struct stopped *stopped)
{
	const struct head_seen *seen = heads_get(agentd->heads, lock->ns);
	struct control *instance = agentd_control(agentd, stopped->instance);

	if (!seen || !seen->head)
		return;
	if (instance && !head_instance(seen->head, stopped->instance, NULL))
		stop(instance);
	for (struct map_item *i = NULL; (i = map_next(&agentd->controls, i));) {
		struct control *other = i->value;

		if (streq(other->fact->ns, lock->ns) &&
		    aborting_is_candidate(stopped, other->fact) &&
		    head_instance(seen->head, other->fact->id, NULL))
			resume(other);
	}
}

static void carry_out(struct agentd *agentd, const struct lock *lock, const struct stopped *stopped,
		      enum aborting_action action)
{
	switch (action) {
	case ABORTING_NOP:
		break;
	case ABORTING_READ:
		heads_read(agentd->heads, lock->ns);
		break;
	case ABORTING_RESTORE:
		each_in_the_way(agentd, lock, stopped, stop_candidate);
		resume(agentd_control(agentd, stopped->instance));
		break;
	case ABORTING_RESTORE_ONLY:
		resume(agentd_control(agentd, stopped->instance));
		break;
	case ABORTING_RESTORE_AND_REMOVE:
		each_in_the_way(agentd, lock, stopped, stop_candidate);
		each_in_the_way(agentd, lock, stopped, remove_candidate);
		resume(agentd_control(agentd, stopped->instance));
		break;
	case ABORTING_REMOVE:
		each_in_the_way(agentd, lock, stopped, remove_candidate);
		break;
	case ABORTING_REVERSE:
		reverse(agentd, lock, stopped);
		break;
	}
}

/* --- decisions */

static void feed(struct aborts *aborts, const struct lock *lock, struct stopped *stopped,
		 enum aborting_event event)
{
	enum aborting_state state = (enum aborting_state)stopped->state;
	struct aborting_move move = aborting_move(state, event);
	const struct log_about about = { .ns = lock->ns,
					 .deploy = stopped->deploy,
					 .instance = stopped->instance };

	if (move.next != state) {
		log_write(move.next == ABORTING_ABORTED || move.next == ABORTING_REVERSED
				  ? LOG_NOTICE
				  : LOG_INFO,
			  &about, "%s, taken out of service by deploy %s: %s → %s (%s)",
			  stopped->instance, stopped->deploy, aborting_state_names[state],
			  aborting_state_names[move.next], aborting_event_names[event]);
		/* The instance was resumed: the deploy has to stop it again. */
		if (state == ABORTING_ABORTED)
			stopped->stop = false;
		stopped->state = move.next;
		aborts->agentd->locks.unsaved = true;
	}
	if (move.action != ABORTING_NOP)
		stopped->todo = move.action;
}

static void drop_done(struct lock *lock)
{
	size_t kept = 0;

	for (size_t i = 0; i < lock->n_stopped; i++) {
		if (lock->stopped[i].state == ABORTING_DONE)
			stopped_clear(&lock->stopped[i]);
		else
			lock->stopped[kept++] = lock->stopped[i];
	}
	/* array_add counts on zeroes behind the last element. */
	if (kept < lock->n_stopped)
		memset(lock->stopped + kept, 0, (lock->n_stopped - kept) * sizeof(*lock->stopped));
	lock->n_stopped = kept;
}

/* Saves each decision, then carries it out. A failed write is repeated. */
static int commit(struct aborts *aborts)
{
	struct agentd *agentd = aborts->agentd;
	int r = agentd->locks.unsaved ? locks_save(agentd) : 0;

	if (r < 0) {
		timer_arm_within(aborts->tick, ABORT_TICK_USEC);
		return r;
	}
	for (struct map_item *i = NULL; (i = map_next(&agentd->locks.map, i));) {
		struct lock *lock = i->value;

		for (size_t j = 0; j < lock->n_stopped; j++) {
			enum aborting_action action = (enum aborting_action)lock->stopped[j].todo;

			lock->stopped[j].todo = ABORTING_NOP;
			/* Before the containers are known, abort_begin does this. */
			if (agentd->adopted || action == ABORTING_READ)
				carry_out(agentd, lock, &lock->stopped[j], action);
		}
		drop_done(lock);
		if (lock->n_stopped)
			timer_arm_within(aborts->tick, ABORT_TICK_USEC);
	}
	return 0;
}

static struct stopped *record_of(struct lock *lock, const char *instance, const char *deploy)
{
	for (size_t i = 0; i < lock->n_stopped; i++)
		if (streq(lock->stopped[i].instance, instance) &&
		    streq(lock->stopped[i].deploy, deploy))
			return &lock->stopped[i];
	return NULL;
}

/* Only instances that the head names are resumed, so no others are recorded. */
static struct stopped *record_add(struct agentd *agentd, const struct agent_command *command,
				  const char *instance)
{
	const struct head_seen *seen = heads_get(agentd->heads, command->ns);
	const struct control *control = agentd_control(agentd, instance);
	struct lock *lock = locks_add(&agentd->locks, command->ns);
	struct stopped *stopped = record_of(lock, instance, command->deploy);

	if (stopped || !control || !seen || !seen->head ||
	    !head_instance(seen->head, instance, NULL))
		return stopped;
	stopped = array_add(lock->stopped, lock->n_stopped);
	*stopped = (struct stopped){
		.instance = xstrdup(instance),
		.service = xstrdup(control->fact->service),
		.slot = control->fact->slot,
		.deploy = xstrdup(command->deploy),
		.opened = command->opened,
	};
	agentd->locks.unsaved = true;
	return stopped;
}

int abort_command(struct aborts *aborts, const struct agent_command *command, const char *instance,
		  enum event event)
{
	struct lock *lock = locks_add(&aborts->agentd->locks, command->ns);
	struct stopped *stopped;

	for (size_t i = 0; i < lock->n_stopped; i++)
		if (streq(lock->stopped[i].instance, instance) &&
		    !streq(lock->stopped[i].deploy, command->deploy))
			feed(aborts, lock, &lock->stopped[i], ABORTING_OTHER);
	if (event == EVENT_STOP || event == EVENT_DRAIN) {
		stopped = record_add(aborts->agentd, command, instance);
		if (stopped && event == EVENT_STOP && !stopped->stop) {
			stopped->stop = true;
			aborts->agentd->locks.unsaved = true;
		}
	} else {
		stopped = record_of(lock, instance, command->deploy);
	}
	if (stopped && event != EVENT_REMOVE)
		feed(aborts, lock, stopped,
		     event == EVENT_RESUME ? ABORTING_RESUME : ABORTING_TAKEN_OUT);
	return commit(aborts);
}

void abort_locked(struct aborts *aborts, const char *ns, const char *deploy)
{
	struct lock *lock = locks_get(&aborts->agentd->locks, ns);

	for (size_t i = 0; lock && i < lock->n_stopped; i++)
		if (streq(lock->stopped[i].deploy, deploy))
			feed(aborts, lock, &lock->stopped[i], ABORTING_LOCKED);
}

void abort_unlocked(struct aborts *aborts)
{
	uint64_t now = boot_now_usec();

	for (struct map_item *i = NULL; (i = map_next(&aborts->agentd->locks.map, i));) {
		struct lock *lock = i->value;

		for (size_t j = 0; j < lock->n_stopped; j++) {
			struct stopped *stopped = &lock->stopped[j];

			if ((stopped->state == ABORTING_HELD ||
			     stopped->state == ABORTING_RESUMED) &&
			    !locks_held(lock, stopped->deploy, now))
				feed(aborts, lock, stopped, ABORTING_UNLOCKED);
		}
	}
	commit(aborts);
}

void abort_head(struct aborts *aborts, const struct head_seen *seen)
{
	struct lock *lock = locks_get(&aborts->agentd->locks, seen->ns);
	enum aborting_event event;

	for (size_t i = 0; lock && i < lock->n_stopped; i++)
		if (aborting_head(&lock->stopped[i], seen->head, seen->sequence, &event))
			feed(aborts, lock, &lock->stopped[i], event);
	commit(aborts);
}

/* --- whether a decision is carried out */

static bool is_back(const struct control *control)
{
	return !control || (!is_out(control) && !control->start_wanted);
}

static bool candidates_gone(const struct agentd *agentd, const struct lock *lock,
			    const struct stopped *stopped)
{
	for (struct map_item *i = NULL; (i = map_next(&agentd->controls, i));) {
		const struct control *other = i->value;

		if (streq(other->fact->ns, lock->ns) &&
		    aborting_is_candidate(stopped, other->fact) &&
		    (is_out(other) || other->want == WANT_REMOVE))
			return false;
	}
	return true;
}

static bool is_reversed(const struct agentd *agentd, const struct lock *lock,
			const struct stopped *stopped)
{
	const struct head_seen *seen = heads_get(agentd->heads, lock->ns);
	const struct control *instance = agentd_control(agentd, stopped->instance);

	if (!seen || !seen->head ||
	    (instance && instance->fact->state != INSTANCE_STOPPED &&
	     !states_is_end((enum instance_state)instance->fact->state)))
		return false;
	for (struct map_item *i = NULL; (i = map_next(&agentd->controls, i));) {
		const struct control *other = i->value;

		if (streq(other->fact->ns, lock->ns) &&
		    aborting_is_candidate(stopped, other->fact) &&
		    head_instance(seen->head, other->fact->id, NULL) && !is_back(other))
			return false;
	}
	return true;
}

static bool is_settled(const struct agentd *agentd, const struct lock *lock,
		       const struct stopped *stopped)
{
	const struct control *instance = agentd_control(agentd, stopped->instance);

	switch ((enum aborting_state)stopped->state) {
	case ABORTING_RESUMED:
		return is_back(instance);
	case ABORTING_CLOSED:
		return is_back(instance) && candidates_gone(agentd, lock, stopped);
	case ABORTING_SWEPT:
		return candidates_gone(agentd, lock, stopped);
	case ABORTING_REVERSED:
		return is_reversed(agentd, lock, stopped);
	case ABORTING_HELD:
	case ABORTING_DOUBT:
	case ABORTING_ABORTED:
	case ABORTING_DONE:
		return false;
	}
	return false;
}

void abort_settle(struct aborts *aborts)
{
	const struct agentd *agentd = aborts->agentd;
	bool any = false;

	if (!agentd->adopted || !agentd->engine->up)
		return;
	for (struct map_item *i = NULL; (i = map_next(&agentd->locks.map, i));) {
		struct lock *lock = i->value;

		for (size_t j = 0; j < lock->n_stopped; j++)
			if (is_settled(agentd, lock, &lock->stopped[j])) {
				feed(aborts, lock, &lock->stopped[j], ABORTING_SETTLED);
				any = true;
			}
	}
	if (any)
		commit(aborts);
}

/* --- repeating decisions, also after a restart */

/* Repeats each decision until it is carried out; a record that waits for a head requests it. */
static void on_tick(void *userdata)
{
	struct aborts *aborts = userdata;
	struct agentd *agentd = aborts->agentd;

	if (commit(aborts) < 0)
		return;
	for (struct map_item *i = NULL; (i = map_next(&agentd->locks.map, i));) {
		const struct lock *lock = i->value;

		for (size_t j = 0; j < lock->n_stopped; j++) {
			enum aborting_state state = (enum aborting_state)lock->stopped[j].state;

			if (aborting_reads(state))
				heads_read(agentd->heads, lock->ns);
			if (agentd->adopted)
				carry_out(agentd, lock, &lock->stopped[j], aborting_repeat(state));
		}
	}
}

/* Records that were resumed already; the others wait for the head. */
static void start_candidates(const struct agentd *agentd, const struct lock *lock,
			     const struct stopped *stopped)
{
	for (struct map_item *i = NULL; (i = map_next(&agentd->controls, i));) {
		struct control *other = i->value;

		if (streq(other->fact->ns, lock->ns) &&
		    aborting_is_candidate(stopped, other->fact) && !is_out(other))
			start_again(other);
	}
}

/* Continues the decisions of an earlier process. */
static void begin(const struct agentd *agentd, const struct lock *lock,
		  const struct stopped *stopped)
{
	struct control *control = agentd_control(agentd, stopped->instance);

	switch ((enum aborting_state)stopped->state) {
	case ABORTING_HELD:
		/* A stop that the deploy requested is repeated after a restart. */
		if (stopped->stop && control)
			stop(control);
		break;
	case ABORTING_RESUMED:
	case ABORTING_ABORTED:
	case ABORTING_CLOSED:
		start_again(control);
		break;
	case ABORTING_REVERSED:
		start_candidates(agentd, lock, stopped);
		break;
	case ABORTING_DOUBT:
	case ABORTING_SWEPT:
	case ABORTING_DONE:
		break;
	}
}

void abort_begin(struct aborts *aborts)
{
	struct agentd *agentd = aborts->agentd;

	abort_unlocked(aborts);
	on_tick(aborts);
	for (struct map_item *i = NULL; (i = map_next(&agentd->locks.map, i));) {
		const struct lock *lock = i->value;

		for (size_t j = 0; j < lock->n_stopped; j++)
			begin(agentd, lock, &lock->stopped[j]);
	}
}

json_t *abort_status(const struct lock *lock)
{
	json_t *all = json_array();

	for (size_t i = 0; i < lock->n_stopped; i++)
		json_array_append_new(all, json_pack("{s:s, s:s, s:s}", "instance",
						     lock->stopped[i].instance, "deploy",
						     lock->stopped[i].deploy, "state",
						     aborting_state_names[lock->stopped[i].state]));
	return all;
}
