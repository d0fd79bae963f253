/* States (pure): the transitions of an instance's state. */
#include "agentd/agentd.h"

const char *const event_names[] = {
	[EVENT_ORDERED] = "ordered", [EVENT_CREATED] = "created", [EVENT_STARTED] = "started",
	[EVENT_PASSED] = "passed",   [EVENT_MISSED] = "missed",	  [EVENT_SPENT] = "spent",
	[EVENT_DIED] = "died",	     [EVENT_ENDED] = "ended",	  [EVENT_RESTARTED] = "restarted",
	[EVENT_REFUSED] = "refused", [EVENT_DRAIN] = "drain",	  [EVENT_STOP] = "stop",
	[EVENT_STOPPED] = "stopped", [EVENT_RESUME] = "resume",	  [EVENT_REMOVE] = "remove",
	[EVENT_REMOVED] = "removed", [EVENT_LOST] = "lost",	  NULL,
};

#define PULLING INSTANCE_PULLING
#define CREATED INSTANCE_CREATED
#define STARTING INSTANCE_STARTING
#define READY INSTANCE_READY
#define UNREADY INSTANCE_UNREADY
#define DRAINING INSTANCE_DRAINING
#define STOPPED INSTANCE_STOPPED
#define GONE INSTANCE_GONE
#define FAILED INSTANCE_FAILED
#define nop ACTION_NOP

/* A failed one keeps its entry until it is removed: the reason outlives its container. An instance
 * fails by itself only before it was ever ready; one that is resumed was ready, and stays unready
 * until it is ready again. A restart is a death. */
static const struct move moves[][EVENT_COUNT] = {
	[PULLING] = {
		[EVENT_ORDERED] = { PULLING, ACTION_CREATE },
		[EVENT_CREATED] = { CREATED, ACTION_START },
		[EVENT_STARTED] = { STARTING, ACTION_PROBE },
		[EVENT_PASSED] = { PULLING, nop },
		[EVENT_MISSED] = { PULLING, nop },
		[EVENT_SPENT] = { FAILED, ACTION_HALT },
		[EVENT_DIED] = { FAILED, ACTION_HALT },
		[EVENT_ENDED] = { FAILED, ACTION_HALT },
		[EVENT_RESTARTED] = { PULLING, nop },
		[EVENT_REFUSED] = { FAILED, nop },
		[EVENT_DRAIN] = { PULLING, nop },
		[EVENT_STOP] = { DRAINING, ACTION_END },
		[EVENT_STOPPED] = { STOPPED, nop },
		[EVENT_RESUME] = { PULLING, nop },
		[EVENT_REMOVE] = { DRAINING, ACTION_END },
		[EVENT_REMOVED] = { GONE, ACTION_FREE },
		[EVENT_LOST] = { PULLING, nop },
	},
	[CREATED] = {
		[EVENT_ORDERED] = { CREATED, ACTION_START },
		[EVENT_CREATED] = { CREATED, ACTION_START },
		[EVENT_STARTED] = { STARTING, ACTION_PROBE },
		[EVENT_PASSED] = { CREATED, nop },
		[EVENT_MISSED] = { CREATED, nop },
		[EVENT_SPENT] = { FAILED, ACTION_HALT },
		[EVENT_DIED] = { FAILED, ACTION_HALT },
		[EVENT_ENDED] = { FAILED, ACTION_HALT },
		[EVENT_RESTARTED] = { CREATED, nop },
		[EVENT_REFUSED] = { FAILED, nop },
		[EVENT_DRAIN] = { CREATED, nop },
		[EVENT_STOP] = { DRAINING, ACTION_END },
		[EVENT_STOPPED] = { STOPPED, nop },
		[EVENT_RESUME] = { CREATED, ACTION_START },
		[EVENT_REMOVE] = { DRAINING, ACTION_END },
		[EVENT_REMOVED] = { GONE, ACTION_FREE },
		[EVENT_LOST] = { GONE, ACTION_FREE },
	},
	[STARTING] = {
		[EVENT_ORDERED] = { STARTING, nop },
		[EVENT_CREATED] = { STARTING, nop },
		[EVENT_STARTED] = { STARTING, ACTION_PROBE },
		[EVENT_PASSED] = { READY, nop },
		[EVENT_MISSED] = { STARTING, nop },
		[EVENT_SPENT] = { FAILED, ACTION_HALT },
		[EVENT_DIED] = { FAILED, ACTION_HALT },
		[EVENT_ENDED] = { FAILED, ACTION_HALT },
		[EVENT_RESTARTED] = { FAILED, ACTION_HALT },
		[EVENT_REFUSED] = { FAILED, nop },
		[EVENT_DRAIN] = { DRAINING, ACTION_UNPROBE },
		[EVENT_STOP] = { DRAINING, ACTION_END },
		[EVENT_STOPPED] = { STOPPED, ACTION_UNPROBE },
		[EVENT_RESUME] = { STARTING, nop },
		[EVENT_REMOVE] = { DRAINING, ACTION_END },
		[EVENT_REMOVED] = { GONE, ACTION_FREE },
		[EVENT_LOST] = { GONE, ACTION_FREE },
	},
	[READY] = {
		[EVENT_ORDERED] = { READY, nop },
		[EVENT_CREATED] = { READY, nop },
		[EVENT_STARTED] = { READY, nop },
		[EVENT_PASSED] = { READY, nop },
		[EVENT_MISSED] = { UNREADY, nop },
		[EVENT_SPENT] = { UNREADY, nop },
		[EVENT_DIED] = { UNREADY, ACTION_UNPROBE },
		[EVENT_ENDED] = { FAILED, ACTION_UNPROBE },
		[EVENT_RESTARTED] = { UNREADY, ACTION_PROBE },
		[EVENT_REFUSED] = { FAILED, ACTION_UNPROBE },
		[EVENT_DRAIN] = { DRAINING, ACTION_UNPROBE },
		[EVENT_STOP] = { DRAINING, ACTION_END },
		[EVENT_STOPPED] = { STOPPED, ACTION_UNPROBE },
		[EVENT_RESUME] = { READY, nop },
		[EVENT_REMOVE] = { DRAINING, ACTION_END },
		[EVENT_REMOVED] = { GONE, ACTION_FREE },
		[EVENT_LOST] = { GONE, ACTION_FREE },
	},
	[UNREADY] = {
		[EVENT_ORDERED] = { UNREADY, nop },
		[EVENT_CREATED] = { UNREADY, nop },
		[EVENT_STARTED] = { UNREADY, ACTION_PROBE },
		[EVENT_PASSED] = { READY, nop },
		[EVENT_MISSED] = { UNREADY, nop },
		[EVENT_SPENT] = { UNREADY, nop },
		[EVENT_DIED] = { UNREADY, ACTION_UNPROBE },
		[EVENT_ENDED] = { FAILED, ACTION_UNPROBE },
		[EVENT_RESTARTED] = { UNREADY, ACTION_PROBE },
		[EVENT_REFUSED] = { FAILED, ACTION_UNPROBE },
		[EVENT_DRAIN] = { DRAINING, ACTION_UNPROBE },
		[EVENT_STOP] = { DRAINING, ACTION_END },
		[EVENT_STOPPED] = { STOPPED, ACTION_UNPROBE },
		[EVENT_RESUME] = { UNREADY, nop },
		[EVENT_REMOVE] = { DRAINING, ACTION_END },
		[EVENT_REMOVED] = { GONE, ACTION_FREE },
		[EVENT_LOST] = { GONE, ACTION_FREE },
	},
	[DRAINING] = {
		[EVENT_ORDERED] = { DRAINING, nop },
		[EVENT_CREATED] = { DRAINING, ACTION_END },
		[EVENT_STARTED] = { DRAINING, nop },
		[EVENT_PASSED] = { DRAINING, nop },
		[EVENT_MISSED] = { DRAINING, nop },
		[EVENT_SPENT] = { DRAINING, nop },
		[EVENT_DIED] = { DRAINING, nop },
		[EVENT_ENDED] = { DRAINING, nop },
		[EVENT_RESTARTED] = { DRAINING, nop },
		[EVENT_REFUSED] = { DRAINING, nop },
		[EVENT_DRAIN] = { DRAINING, nop },
		[EVENT_STOP] = { DRAINING, ACTION_END },
		[EVENT_STOPPED] = { STOPPED, nop },
		[EVENT_RESUME] = { UNREADY, ACTION_START },
		[EVENT_REMOVE] = { DRAINING, ACTION_END },
		[EVENT_REMOVED] = { GONE, ACTION_FREE },
		[EVENT_LOST] = { GONE, ACTION_FREE },
	},
	[STOPPED] = {
		[EVENT_ORDERED] = { STOPPED, nop },
		[EVENT_CREATED] = { STOPPED, nop },
		[EVENT_STARTED] = { UNREADY, ACTION_PROBE },
		[EVENT_PASSED] = { STOPPED, nop },
		[EVENT_MISSED] = { STOPPED, nop },
		[EVENT_SPENT] = { STOPPED, nop },
		[EVENT_DIED] = { STOPPED, nop },
		[EVENT_ENDED] = { STOPPED, nop },
		[EVENT_RESTARTED] = { DRAINING, ACTION_END },
		[EVENT_REFUSED] = { FAILED, nop },
		[EVENT_DRAIN] = { STOPPED, nop },
		[EVENT_STOP] = { STOPPED, nop },
		[EVENT_STOPPED] = { STOPPED, nop },
		[EVENT_RESUME] = { UNREADY, ACTION_START },
		[EVENT_REMOVE] = { STOPPED, ACTION_END },
		[EVENT_REMOVED] = { GONE, ACTION_FREE },
		[EVENT_LOST] = { GONE, ACTION_FREE },
	},
	[GONE] = {
		[EVENT_ORDERED] = { GONE, nop },
		[EVENT_CREATED] = { GONE, nop },
		[EVENT_STARTED] = { GONE, nop },
		[EVENT_PASSED] = { GONE, nop },
		[EVENT_MISSED] = { GONE, nop },
		[EVENT_SPENT] = { GONE, nop },
		[EVENT_DIED] = { GONE, nop },
		[EVENT_ENDED] = { GONE, nop },
		[EVENT_RESTARTED] = { GONE, nop },
		[EVENT_REFUSED] = { GONE, nop },
		[EVENT_DRAIN] = { GONE, nop },
		[EVENT_STOP] = { GONE, nop },
		[EVENT_STOPPED] = { GONE, nop },
		[EVENT_RESUME] = { GONE, nop },
		[EVENT_REMOVE] = { GONE, nop },
		[EVENT_REMOVED] = { GONE, ACTION_FREE },
		[EVENT_LOST] = { GONE, ACTION_FREE },
	},
	[FAILED] = {
		[EVENT_ORDERED] = { FAILED, nop },
		[EVENT_CREATED] = { FAILED, nop },
		[EVENT_STARTED] = { FAILED, nop },
		[EVENT_PASSED] = { FAILED, nop },
		[EVENT_MISSED] = { FAILED, nop },
		[EVENT_SPENT] = { FAILED, nop },
		[EVENT_DIED] = { FAILED, nop },
		[EVENT_ENDED] = { FAILED, nop },
		[EVENT_RESTARTED] = { FAILED, nop },
		[EVENT_REFUSED] = { FAILED, nop },
		[EVENT_DRAIN] = { FAILED, nop },
		[EVENT_STOP] = { FAILED, ACTION_END },
		[EVENT_STOPPED] = { FAILED, nop },
		[EVENT_RESUME] = { UNREADY, ACTION_START },
		[EVENT_REMOVE] = { FAILED, ACTION_END },
		[EVENT_REMOVED] = { GONE, ACTION_FREE },
		[EVENT_LOST] = { FAILED, ACTION_FREE },
	},
};

struct move states_move(enum instance_state state, enum event event)
{
	return moves[state][event];
}

bool states_restarts(enum restart_policy policy, int64_t exit_code)
{
	switch (policy) {
	case RESTART_ALWAYS:
	case RESTART_UNLESS_STOPPED:
		return true;
	case RESTART_ON_FAILURE:
		return exit_code != 0;
	case RESTART_NO:
		return false;
	}
	return false;
}

bool states_is_end(enum instance_state state)
{
	return state == INSTANCE_GONE || state == INSTANCE_FAILED;
}
