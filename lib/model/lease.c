#include "lib/model/lease.h"

const char *const lease_state_names[] = { [LEASE_FREE] = "free", [LEASE_HELD] = "held", NULL };

static const struct codec_field lease_fields[] = {
	FIELD_KEY(struct lease, ns, "namespace", CODEC_NAME, .flags = CODEC_REQUIRED),
	FIELD(struct lease, state, CODEC_ENUM, .flags = CODEC_REQUIRED, .names = lease_state_names),
	FIELD(struct lease, epoch, CODEC_INT, .flags = CODEC_REQUIRED,
	      .note = "raised by one with each change of holder"),
	FIELD(struct lease, machine, CODEC_STRING, .note = "the holder's"),
	FIELD(struct lease, life, CODEC_STRING,
	      .note = "of the holder: a new one at each start of leased"),
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
	      .note = "since the revision last moved, as this leased observed"),
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
