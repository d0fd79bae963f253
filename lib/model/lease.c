#include "lib/model/lease.h"

#include "lib/str.h"

const char *const lease_state_names[] = { [LEASE_FREE] = "free", [LEASE_HELD] = "held", NULL };

static const struct codec_field lease_fields[] = {
	FIELD_KEY(struct lease, ns, "namespace", CODEC_NAME, .flags = CODEC_REQUIRED),
	FIELD(struct lease, state, CODEC_ENUM, .flags = CODEC_REQUIRED, .names = lease_state_names),
	FIELD(struct lease, epoch, CODEC_INT, .flags = CODEC_REQUIRED,
	      .note = "raised by one with each change of holder"),
	FIELD(struct lease, machine, CODEC_STRING, .note = "the holder's"),
	FIELD(struct lease, incarnation, CODEC_STRING,
	      .note = "of the holder: a new one at each start of its daemon"),
	FIELD_KEY(struct lease, operator_, "operator", CODEC_STRING),
	FIELD(struct lease, deploy, CODEC_STRING),
	FIELD(struct lease, verb, CODEC_STRING),
	FIELD(struct lease, since, CODEC_STRING),
	FIELD(struct lease, nonce, CODEC_STRING, .note = "of this write"),
	FIELD_END,
};
const struct codec_schema lease_schema = { .name = "lease",
					   .size = sizeof(struct lease),
					   .fields = lease_fields };

static const struct codec_field lease_view_fields[] = {
	FIELD(struct lease_view, lease, CODEC_STRUCT, .flags = CODEC_REQUIRED,
	      .schema = &lease_schema),
	FIELD(struct lease_view, revision, CODEC_INT),
	FIELD(struct lease_view, quiet_ms, CODEC_INT, .min = -1, .max = INT64_MAX,
	      .note = "since the revision last changed, as this leased observed"),
	FIELD(struct lease_view, free_in_ms, CODEC_INT,
	      .note = "at most, until it may be taken over"),
	FIELD_END,
};
const struct codec_schema lease_view_schema = {
	.name = "lease_view",
	.size = sizeof(struct lease_view),
	.fields = lease_view_fields,
};

static const struct codec_field lease_list_fields[] = {
	FIELD_LIST(struct lease_list, leases, n_leases, CODEC_LIST, &lease_view_schema),
	FIELD_END,
};
const struct codec_schema lease_list_schema = {
	.name = "lease_list",
	.size = sizeof(struct lease_list),
	.fields = lease_list_fields,
};

static const struct codec_field lease_ref_fields[] = {
	FIELD_KEY(struct lease_ref, ns, "namespace", CODEC_STRING, .flags = CODEC_REQUIRED),
	FIELD_KEY(struct lease_ref, operator_, "operator", CODEC_STRING, .note = "who breaks it"),
	FIELD(struct lease_ref, why, CODEC_STRING),
	FIELD_END,
};
const struct codec_schema lease_ref_schema = {
	.name = "lease_ref",
	.size = sizeof(struct lease_ref),
	.fields = lease_ref_fields,
};

enum lease_decision lease_decide(const struct lease *lease, const char *machine,
				 const char *incarnation, uint64_t quiet_usec)
{
	if (!lease || lease->state == LEASE_FREE)
		return LEASE_TAKE_FREE;
	/* A lock file permits one leased per machine, so other incarnations of this machine have
	 * ended. */
	if (streq(lease->machine, machine) && !streq(lease->incarnation, incarnation))
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

	/* Ages are only displayed: a clock that is behind gives 0 instead of an underflow. */
	if (time_parse(lease->since, &since) < 0 || since > now_realtime_usec)
		since = now_realtime_usec;
	age = duration_human(now_realtime_usec - since);
	left = duration_human(quiet_usec < LEASE_TERM_USEC ? LEASE_TERM_USEC - quiet_usec : 0);
	hint = xasprintf("wait for it (`ployzctl deploy attach %s`), or `ployzctl lease break %s`",
			 lease->deploy ? lease->deploy : "ID", lease->ns);
	failure_set(failure, FAILURE_LEASE_HELD, hint,
		    "cannot take the lease of namespace %s: %s holds it for %s %s on machine %s "
		    "since %s (%s ago); if that leased has ended, the lease is free in at most %s",
		    lease->ns, lease->operator_ ? lease->operator_ : "an unnamed operator",
		    lease->verb ? lease->verb : "deploy", lease->deploy ? lease->deploy : "",
		    lease->machine ? lease->machine : "unknown",
		    lease->since ? lease->since : "unknown", age, left);
}
