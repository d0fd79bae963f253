/* Aborting (pure): presumed abort, the decision about an instance that a deploy has stopped or
 * drained when the deploy's lock ends. There is one record per instance, and the head decides. */
#include "agentd/agentd.h"

const char *const aborting_state_names[] = {
	[ABORTING_HELD] = "held",
	[ABORTING_RESUMED] = "resumed",
	[ABORTING_DOUBT] = "doubt",
	[ABORTING_ABORTED] = "aborted",
	[ABORTING_CLOSED] = "closed",
	[ABORTING_SWEPT] = "swept",
	[ABORTING_REVERSED] = "reversed",
	[ABORTING_DONE] = "done",
	NULL,
};
const char *const aborting_event_names[] = {
	[ABORTING_TAKEN_OUT] = "taken out",
	[ABORTING_RESUME] = "resume",
	[ABORTING_LOCKED] = "locked",
	[ABORTING_UNLOCKED] = "unlocked",
	[ABORTING_OPEN] = "head open",
	[ABORTING_ENDED] = "head closed",
	[ABORTING_COMMITTED] = "committed",
	[ABORTING_DROPPED] = "dropped",
	[ABORTING_SETTLED] = "settled",
	[ABORTING_OTHER] = "other deploy",
	NULL,
};

#define HELD ABORTING_HELD
#define RESUMED ABORTING_RESUMED
#define DOUBT ABORTING_DOUBT
#define ABORTED ABORTING_ABORTED
#define CLOSED ABORTING_CLOSED
#define SWEPT ABORTING_SWEPT
#define REVERSED ABORTING_REVERSED
#define DONE ABORTING_DONE
#define nop ABORTING_NOP

/* While the deploy holds its lock (HELD, RESUMED) its own commands decide. Only a head decides
 * afterwards: DOUBT lasts until one was read, and ABORTED until an entry has closed the deploy,
 * because a commit may still be on its way until then. */
static const struct aborting_move moves[][ABORTING_EVENT_COUNT] = {
	[HELD] = {
		[ABORTING_TAKEN_OUT] = { HELD, nop },
		[ABORTING_RESUME] = { RESUMED, nop },
		[ABORTING_LOCKED] = { HELD, nop },
		[ABORTING_UNLOCKED] = { DOUBT, ABORTING_READ },
		[ABORTING_OPEN] = { HELD, nop },
		[ABORTING_ENDED] = { HELD, nop },
		[ABORTING_COMMITTED] = { DONE, nop },
		[ABORTING_DROPPED] = { DONE, nop },
		[ABORTING_SETTLED] = { HELD, nop },
		[ABORTING_OTHER] = { DONE, nop },
	},
	[RESUMED] = {
		[ABORTING_TAKEN_OUT] = { HELD, nop },
		[ABORTING_RESUME] = { RESUMED, nop },
		[ABORTING_LOCKED] = { RESUMED, nop },
		[ABORTING_UNLOCKED] = { DOUBT, ABORTING_READ },
		[ABORTING_OPEN] = { RESUMED, nop },
		[ABORTING_ENDED] = { RESUMED, nop },
		[ABORTING_COMMITTED] = { DONE, nop },
		[ABORTING_DROPPED] = { DONE, nop },
		[ABORTING_SETTLED] = { DONE, nop },
		[ABORTING_OTHER] = { DONE, nop },
	},
	[DOUBT] = {
		[ABORTING_TAKEN_OUT] = { HELD, nop },
		[ABORTING_RESUME] = { RESUMED, nop },
		[ABORTING_LOCKED] = { HELD, nop },
		[ABORTING_UNLOCKED] = { DOUBT, ABORTING_READ },
		[ABORTING_OPEN] = { ABORTED, ABORTING_RESTORE },
		[ABORTING_ENDED] = { CLOSED, ABORTING_RESTORE_AND_REMOVE },
		[ABORTING_COMMITTED] = { DONE, nop },
		[ABORTING_DROPPED] = { DONE, nop },
		[ABORTING_SETTLED] = { DOUBT, nop },
		[ABORTING_OTHER] = { DONE, nop },
	},
	[ABORTED] = {
		[ABORTING_TAKEN_OUT] = { HELD, nop },
		[ABORTING_RESUME] = { RESUMED, nop },
		[ABORTING_LOCKED] = { HELD, nop },
		[ABORTING_UNLOCKED] = { ABORTED, nop },
		[ABORTING_OPEN] = { ABORTED, nop },
		[ABORTING_ENDED] = { CLOSED, ABORTING_RESTORE_AND_REMOVE },
		[ABORTING_COMMITTED] = { REVERSED, ABORTING_REVERSE },
		[ABORTING_DROPPED] = { SWEPT, ABORTING_REMOVE },
		[ABORTING_SETTLED] = { ABORTED, nop },
		[ABORTING_OTHER] = { SWEPT, ABORTING_REMOVE },
	},
	[CLOSED] = {
		[ABORTING_TAKEN_OUT] = { HELD, nop },
		[ABORTING_RESUME] = { CLOSED, nop },
		[ABORTING_LOCKED] = { CLOSED, nop },
		[ABORTING_UNLOCKED] = { CLOSED, nop },
		[ABORTING_OPEN] = { CLOSED, nop },
		[ABORTING_ENDED] = { CLOSED, nop },
		[ABORTING_COMMITTED] = { CLOSED, nop },
		[ABORTING_DROPPED] = { SWEPT, ABORTING_REMOVE },
		[ABORTING_SETTLED] = { DONE, nop },
		[ABORTING_OTHER] = { SWEPT, ABORTING_REMOVE },
	},
	[SWEPT] = {
		[ABORTING_TAKEN_OUT] = { HELD, nop },
		[ABORTING_RESUME] = { SWEPT, nop },
		[ABORTING_LOCKED] = { SWEPT, nop },
		[ABORTING_UNLOCKED] = { SWEPT, nop },
		[ABORTING_OPEN] = { SWEPT, nop },
		[ABORTING_ENDED] = { SWEPT, nop },
		[ABORTING_COMMITTED] = { SWEPT, nop },
		[ABORTING_DROPPED] = { SWEPT, nop },
		[ABORTING_SETTLED] = { DONE, nop },
		[ABORTING_OTHER] = { SWEPT, nop },
	},
	[REVERSED] = {
		[ABORTING_TAKEN_OUT] = { HELD, nop },
		[ABORTING_RESUME] = { RESUMED, nop },
		[ABORTING_LOCKED] = { REVERSED, nop },
		[ABORTING_UNLOCKED] = { REVERSED, nop },
		[ABORTING_OPEN] = { REVERSED, nop },
		[ABORTING_ENDED] = { REVERSED, nop },
		[ABORTING_COMMITTED] = { REVERSED, nop },
		[ABORTING_DROPPED] = { DONE, nop },
		[ABORTING_SETTLED] = { DONE, nop },
		[ABORTING_OTHER] = { DONE, nop },
	},
	[DONE] = {
		[ABORTING_TAKEN_OUT] = { HELD, nop },
		[ABORTING_RESUME] = { DONE, nop },
		[ABORTING_LOCKED] = { DONE, nop },
		[ABORTING_UNLOCKED] = { DONE, nop },
		[ABORTING_OPEN] = { DONE, nop },
		[ABORTING_ENDED] = { DONE, nop },
		[ABORTING_COMMITTED] = { DONE, nop },
		[ABORTING_DROPPED] = { DONE, nop },
		[ABORTING_SETTLED] = { DONE, nop },
		[ABORTING_OTHER] = { DONE, nop },
	},
};

struct aborting_move aborting_move(enum aborting_state state, enum aborting_event event)
{
	return moves[state][event];
}

bool aborting_reads(enum aborting_state state)
{
	return state == DOUBT || state == ABORTED || state == REVERSED;
}

enum aborting_action aborting_repeat(enum aborting_state state)
{
	switch (state) {
	case ABORTING_RESUMED:
		return ABORTING_RESTORE_ONLY;
	case ABORTING_ABORTED:
		return ABORTING_RESTORE;
	case ABORTING_CLOSED:
		return ABORTING_RESTORE_AND_REMOVE;
	case ABORTING_SWEPT:
		return ABORTING_REMOVE;
	case ABORTING_REVERSED:
		return ABORTING_REVERSE;
	case ABORTING_DOUBT:
		return ABORTING_READ;
	case ABORTING_HELD:
	case ABORTING_DONE:
		return nop;
	}
	return nop;
}

/* The deploy has committed, with this entry or before a later deploy's entry. */
static bool names_deploy(const struct head *head, const char *deploy)
{
	if (streq(head->deploy, deploy))
		return true;
	for (size_t i = 0; i < head->n_services; i++)
		for (size_t j = 0; j < head->services[i].n_slots; j++)
			if (streq(head->services[i].slots[j].deploy, deploy))
				return true;
	return false;
}

bool aborting_head(const struct stopped *stopped, const struct head *head, uint64_t sequence,
		   enum aborting_event *ret)
{
	bool open;

	if (!head)
		return false;
	/* An entry before the opening one has not closed the deploy: a commit may still be on its
	 * way. */
	open = (head->open && streq(head->open->deploy, stopped->deploy)) ||
	       sequence < (uint64_t)stopped->opened;
	if (head_instance(head, stopped->instance, NULL))
		*ret = open ? ABORTING_OPEN : ABORTING_ENDED;
	else if (names_deploy(head, stopped->deploy))
		*ret = ABORTING_COMMITTED;
	else if (open)
		/* The store is behind what the deploy was opened in, and the instance was
		 * committed later still: this entry decides nothing about it. */
		return false;
	else
		*ret = ABORTING_DROPPED;
	return true;
}

bool aborting_is_candidate(const struct stopped *stopped, const struct instance *fact)
{
	return streq(fact->deploy, stopped->deploy) && !streq(fact->id, stopped->instance);
}
