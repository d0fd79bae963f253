/* Admission (pure): whether a command may be executed, decided from the namespace's head, the
 * stored epoch and the lock. */
#include "agentd/agentd.h"

/* Who may command according to a head: the open deploy or, once it is closed, the writer of the
 * entry. */
struct shown {
	const char *deploy;
	int64_t epoch, generation;
	bool open;
};

static struct shown shown_by(const struct head *head)
{
	if (head->open)
		return (struct shown){ head->open->deploy, head->open->epoch,
				       head->open->generation, true };
	return (struct shown){ head->writer, head->epoch, head->generation, false };
}

int64_t admission_epoch(const struct head *head)
{
	return head ? MAX2(shown_by(head).epoch, head->epoch) : 0;
}

int64_t admission_generation(const struct head *head)
{
	return head ? shown_by(head).generation : 0;
}

static enum admission fenced(const struct agent_command *command, struct failure *failure,
			     const char *hint, const char *why)
{
	failure_set(failure, FAILURE_FENCED, hint,
		    "cannot execute a command of deploy %s in namespace %s: %s", command->deploy,
		    command->ns, why);
	return ADMISSION_FENCED;
}

static enum admission not_reached(const struct admission_input *input, struct failure *failure)
{
	const struct agent_command *command = input->command;
	_cleanup_free_ char *why =
		input->head
			? xasprintf("its last entry in the store is %llu, before the deploy's "
				    "opening entry %lld",
				    (unsigned long long)input->sequence, (long long)command->opened)
			: xasprintf("it has no entry in the store, so none at %lld",
				    (long long)command->opened);

	return fenced(command, failure, "deploy again", why);
}

static enum admission other_shown(const struct admission_input *input, const struct shown *shown,
				  struct failure *failure)
{
	const struct agent_command *command = input->command;
	_cleanup_free_ char *why = xasprintf(
		"its head names deploy %s with epoch %lld and generation %lld, the command epoch "
		"%lld and generation %lld",
		shown->deploy ? shown->deploy : "(none)", (long long)shown->epoch,
		(long long)shown->generation, (long long)command->epoch,
		(long long)command->generation);

	return fenced(command, failure, "`ployzctl lease show` names the present holder", why);
}

/* The head names the command's deploy: compares this machine's own epoch and lock. */
static enum admission admit_shown(const struct admission_input *input, const struct shown *shown,
				  struct failure *failure)
{
	const struct agent_command *command = input->command;
	_cleanup_free_ char *why = NULL;

	if (input->needs & NEEDS_OPEN && !shown->open)
		return fenced(command, failure, "deploy again", "the deploy is closed");
	/* A request that was delayed: the deploy has ended without replacing the instance. */
	if (input->named && !shown->open)
		return fenced(command, failure, "deploy again",
			      "the deploy is closed, and its head names the instance");
	if (command->epoch < input->stored && !(input->needs & NEEDS_NO_EPOCH)) {
		why = xasprintf("its epoch is %lld, this machine has stored %lld",
				(long long)command->epoch, (long long)input->stored);
		return fenced(command, failure,
			      "the holder raises its epoch and opens the deploy again", why);
	}
	if (input->needs & NEEDS_LOCK && !input->locked) {
		failure_set(failure, FAILURE_REFUSED, "lock the machine again, or deploy again",
			    "cannot execute a command of deploy %s in namespace %s: the deploy has "
			    "no lock on this machine (a lock lapses %llu s after its holder's last "
			    "message)",
			    command->deploy, command->ns, LOCK_TERM_USEC / 1000000);
		return ADMISSION_REFUSED;
	}
	return ADMISSION_ADMITTED;
}

enum admission admission_decide(const struct admission_input *input, struct failure *failure)
{
	const struct agent_command *command = input->command;
	struct shown shown;

	if (!input->known)
		return ADMISSION_READ;
	if (!input->head || input->sequence < (uint64_t)command->opened) {
		if (!input->fresh)
			return ADMISSION_READ;
		not_reached(input, failure);
		return ADMISSION_BEHIND;
	}
	shown = shown_by(input->head);
	if (streq(shown.deploy, command->deploy) && shown.epoch == command->epoch &&
	    shown.generation == command->generation)
		return admit_shown(input, &shown, failure);
	/* The command's own entry may have followed an entry that was read earlier. */
	return input->fresh ? other_shown(input, &shown, failure) : ADMISSION_READ;
}
