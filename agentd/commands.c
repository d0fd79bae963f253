/* Commands: each waits until this machine's containers are known and the namespace's head is recent
 * enough; then it is admitted or refused (admission.c) and executed, in the order of arrival. */
#include "agentd/agentd.h"

#include <sys/queue.h>

struct waiting {
	TAILQ_ENTRY(waiting) link;
	struct bus_call *call;
	const struct command_rule *rule;
	uint64_t since; /* boot-time clock */
	uint64_t read;	/* number of the read that decides; 0: none was requested */
	bool again;	/* that read was behind the opening entry: the timer requests another */
};
TAILQ_HEAD(waiting_list, waiting);

struct commands {
	struct agentd *agentd;
	struct waiting_list list;
	size_t count;
	struct timer *again;
};

static void on_again(void *userdata);

struct commands *commands_new(struct agentd *agentd)
{
	struct commands *commands = xcalloc(1, sizeof(*commands));

	commands->agentd = agentd;
	TAILQ_INIT(&commands->list);
	commands->again = timer_new(agentd->daemon->loop, on_again, commands);
	return commands;
}

static void waiting_free(struct commands *commands, struct waiting *waiting)
{
	TAILQ_REMOVE(&commands->list, waiting, link);
	commands->count--;
	free(waiting);
}

void commands_free(struct commands *commands)
{
	struct waiting *waiting;

	if (!commands)
		return;
	while ((waiting = TAILQ_FIRST(&commands->list))) {
		bus_call_drop(waiting->call);
		waiting_free(commands, waiting);
	}
	timer_free(commands->again);
	free(commands);
}

/* A command waits until this machine's containers are known; an unreachable engine is reported at
 * once. */
static bool containers_known(const struct agentd *agentd)
{
	return agentd->adopted || (agentd->engine->tried && !agentd->engine->up);
}

static const struct agent_command *command_of(const struct waiting *waiting)
{
	/* Every command's struct begins with an agent_command. */
	return bus_call_request(waiting->call);
}

/* The instance that the command takes out of service, or NULL. */
static const char *taken_out(const struct waiting *waiting)
{
	return waiting->rule->instance ? waiting->rule->instance(bus_call_request(waiting->call))
				       : NULL;
}

/* A list without an epoch is no command. */
static int64_t epoch_of(const struct command_rule *rule, const struct agent_command *command)
{
	if (rule->needs & NEEDS_NOTHING)
		return 0;
	return rule->needs & NEEDS_NO_EPOCH ? command->epoch : MAX2(command->epoch, 1);
}

static enum admission decide(const struct commands *commands, const struct waiting *waiting,
			     struct failure *failure)
{
	struct agentd *agentd = commands->agentd;
	const struct agent_command *command = command_of(waiting);
	const struct head_seen *seen = heads_get(agentd->heads, command->ns);
	const char *instance = taken_out(waiting);
	struct admission_input input = {
		.command = command,
		.needs = waiting->rule->needs,
		.stored = locks_epoch(&agentd->locks, command->ns),
		.locked = locks_held(locks_get(&agentd->locks, command->ns), command->deploy,
				     boot_now_usec()),
	};

	if (seen && seen->known) {
		input.known = true;
		input.head = seen->head;
		input.sequence = seen->sequence;
		input.fresh = waiting->read && seen->done >= waiting->read;
	}
	input.named = input.head && instance && head_instance(input.head, instance, NULL);
	/* The head may have changed since the deploy was opened. */
	if (input.named && !input.fresh)
		return ADMISSION_READ;
	return admission_decide(&input, failure);
}

/* Only a read that began after the command arrived decides. */
static void read_head(struct commands *commands, struct waiting *waiting)
{
	struct heads *heads = commands->agentd->heads;
	const char *ns = command_of(waiting)->ns;
	const struct head_seen *seen = heads_get(heads, ns);

	if (!waiting->read || (seen && seen->done >= waiting->read))
		waiting->read = heads_read(heads, ns);
}

static void execute(struct commands *commands, struct waiting *waiting)
{
	struct agentd *agentd = commands->agentd;
	const struct agent_command *command = command_of(waiting);
	struct bus_call *call = waiting->call;
	const struct command_rule *rule = waiting->rule;

	waiting_free(commands, waiting);
	if (epoch_of(rule, command))
		locks_message(&agentd->locks, command->ns, command->deploy, boot_now_usec());
	rule->fn(call, bus_call_request(call), agentd);
}

static void refuse(struct commands *commands, struct waiting *waiting,
		   const struct failure *failure)
{
	bus_call_fail(waiting->call, failure);
	waiting_free(commands, waiting);
}

/* An epoch that is not on the disk would not fence after a restart. */
static bool stored(struct commands *commands, struct waiting *waiting)
{
	struct agentd *agentd = commands->agentd;
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;

	if (!agentd->locks.unsaved || locks_save(agentd) >= 0)
		return true;
	locks_failure(agentd, &failure);
	refuse(commands, waiting, &failure);
	return false;
}

/* A command that takes its instance out of service has arrived before and waits for the head: the
 * resume that overtakes it would be undone by it. */
static bool has_turn(const struct waiting *waiting)
{
	const struct agent_ref *ref = bus_call_request(waiting->call);
	const struct waiting *before = waiting;
	const char *instance;

	if (!(waiting->rule->needs & NEEDS_TURN))
		return true;
	while ((before = TAILQ_PREV(before, waiting_list, link))) {
		instance = taken_out(before);
		if (instance && streq(instance, ref->instance))
			return false;
	}
	return true;
}

static void poll(struct commands *commands, struct waiting *waiting)
{
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;
	bool late = boot_now_usec() - waiting->since > COMMAND_WAIT_USEC;

	if (!containers_known(commands->agentd)) {
		timer_arm_within(commands->again, HEAD_AGAIN_USEC);
		if (!late)
			return;
		/* The answer is not needed any more. */
		bus_call_drop(waiting->call);
		waiting_free(commands, waiting);
		return;
	}
	if (!epoch_of(waiting->rule, command_of(waiting))) {
		execute(commands, waiting);
		return;
	}
	if (!has_turn(waiting))
		return;
	switch (decide(commands, waiting, &failure)) {
	case ADMISSION_READ:
		read_head(commands, waiting);
		return;
	case ADMISSION_BEHIND:
		if (late) {
			refuse(commands, waiting, &failure);
			return;
		}
		waiting->again = true;
		timer_arm_within(commands->again, HEAD_AGAIN_USEC);
		return;
	case ADMISSION_ADMITTED:
		if (stored(commands, waiting))
			execute(commands, waiting);
		return;
	case ADMISSION_FENCED:
	case ADMISSION_REFUSED:
		refuse(commands, waiting, &failure);
		return;
	}
}

void commands_poll(struct commands *commands)
{
	struct waiting *waiting = TAILQ_FIRST(&commands->list), *next;

	/* Executing a command may add commands but removes none. */
	for (; waiting; waiting = next) {
		next = TAILQ_NEXT(waiting, link);
		poll(commands, waiting);
	}
}

static void on_again(void *userdata)
{
	struct commands *commands = userdata;
	struct waiting *waiting;

	TAILQ_FOREACH (waiting, &commands->list, link)
		if (waiting->again) {
			waiting->again = false;
			waiting->read = 0;
		}
	commands_poll(commands);
}

void commands_unread(struct commands *commands, const struct head_seen *seen,
		     const struct failure *failure)
{
	struct waiting *waiting = TAILQ_FIRST(&commands->list), *next;

	for (; waiting; waiting = next) {
		next = TAILQ_NEXT(waiting, link);
		if (waiting->read && waiting->read <= seen->done &&
		    streq(command_of(waiting)->ns, seen->ns))
			refuse(commands, waiting, failure);
	}
	/* Others may have waited for their turn. */
	commands_poll(commands);
}

void commands_take(struct commands *commands, struct bus_call *call,
		   const struct command_rule *rule)
{
	const struct agentd *agentd = commands->agentd;
	struct waiting *waiting;

	if (commands->count == COMMANDS_WAITING_MAX) {
		bus_call_failf(call, FAILURE_UNREACHABLE, "retry in some seconds",
			       "cannot execute a command on machine %s: %d others wait already",
			       agentd->config->daemon.machine, COMMANDS_WAITING_MAX);
		return;
	}
	waiting = xcalloc(1, sizeof(*waiting));
	waiting->call = call;
	waiting->rule = rule;
	waiting->since = boot_now_usec();
	TAILQ_INSERT_TAIL(&commands->list, waiting, link);
	commands->count++;
	poll(commands, waiting);
}
