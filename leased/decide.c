#include "leased/leased.h"

enum lease_decision lease_decide(const struct lease *lease, const char *machine, const char *life,
				 uint64_t quiet_usec)
{
	if (!lease || lease->state == LEASE_FREE)
		return LEASE_TAKE_FREE;
	/* One leased a machine, held by its lock file: another life of ours is over. */
	if (streq(lease->machine, machine) && !streq(lease->life, life))
		return LEASE_TAKE_OWN;
	if (quiet_usec >= LEASE_TERM_USEC)
		return LEASE_TAKE_EXPIRED;
	return LEASE_REFUSE;
}

void lease_refusal(const struct lease *lease, uint64_t quiet_usec, uint64_t now_realtime_usec,
		   struct failure *failure)
{
	_cleanup_free_ char *hint = NULL, *age = NULL, *left = NULL;
	uint64_t since = 0;

	/* Ages are for people: a clock that runs behind gives 0, never a huge number. */
	if (time_parse(lease->since, &since) < 0 || since > now_realtime_usec)
		since = now_realtime_usec;
	age = duration_human(now_realtime_usec - since);
	left = duration_human(quiet_usec < LEASE_TERM_USEC ? LEASE_TERM_USEC - quiet_usec : 0);
	hint = xasprintf("wait for it (`ployzctl deploy attach %s`), or `ployzctl lease break %s`",
			 lease->deploy ? lease->deploy : "ID", lease->ns);
	failure_set(failure, FAILURE_LEASE_HELD, hint,
		    "namespace %s is held by %s for %s %s on machine %s since %s (%s ago); if its "
		    "holder has died it is free in at most %s",
		    lease->ns, lease->operator_ ? lease->operator_ : "somebody",
		    lease->verb ? lease->verb : "deploy", lease->deploy ? lease->deploy : "",
		    lease->machine ? lease->machine : "unknown",
		    lease->since ? lease->since : "unknown", age, left);
}
