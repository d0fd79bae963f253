#include "lib/model/machine.h"

const char *const life_cycle_names[] = {
	[MACHINE_JOINING] = "joining",	 [MACHINE_ACTIVE] = "active",
	[MACHINE_DRAINING] = "draining", [MACHINE_STANDBY] = "standby",
	[MACHINE_REMOVED] = "removed",	 NULL,
};
const char *const region_role_names[] = {
	[REGION_HOME_DATA] = "home_data",
	[REGION_COMPUTE] = "compute",
	[REGION_DRAINING] = "draining",
	[REGION_DISABLED] = "disabled",
	NULL,
};

static const struct codec_field member_fields[] = {
	FIELD(struct member, id, CODEC_NAME, .flags = CODEC_REQUIRED),
	FIELD(struct member, name, CODEC_STRING),
	FIELD(struct member, public_key, CODEC_STRING, .note = "WireGuard's, base64"),
	FIELD(struct member, overlay, CODEC_STRING, .note = "IPv6 address in the mesh"),
	FIELD(struct member, subnet, CODEC_STRING, .note = "the containers' IPv4 network"),
	FIELD(struct member, region, CODEC_STRING),
	FIELD(struct member, zone, CODEC_STRING),
	FIELD(struct member, labels, CODEC_PAIRS),
	FIELD(struct member, life_cycle, CODEC_ENUM, .flags = CODEC_REQUIRED,
	      .names = life_cycle_names),
	FIELD(struct member, seat, CODEC_BOOL, .flags = CODEC_OMIT, .note = "it has a store seat"),
	FIELD(struct member, since, CODEC_STRING),
	FIELD(struct member, nonce, CODEC_STRING, .note = "of this write"),
	FIELD_END,
};
const struct codec_schema member_schema = {
	.name = "member",
	.size = sizeof(struct member),
	.fields = member_fields,
};

static const struct codec_field machine_facts_fields[] = {
	FIELD(struct machine_facts, machine, CODEC_NAME, .flags = CODEC_REQUIRED),
	FIELD(struct machine_facts, endpoints, CODEC_STRV,
	      .note = "address:port where WireGuard is reached"),
	FIELD(struct machine_facts, version, CODEC_STRING),
	FIELD(struct machine_facts, arch, CODEC_STRING, .note = "as the engine names it"),
	FIELD(struct machine_facts, cpus, CODEC_INT, .flags = CODEC_OMIT),
	FIELD(struct machine_facts, memory, CODEC_SIZE, .flags = CODEC_OMIT),
	FIELD(struct machine_facts, generation, CODEC_INT, .flags = CODEC_OMIT,
	      .note = "highest store generation that it has seen"),
	FIELD(struct machine_facts, since, CODEC_STRING),
	FIELD(struct machine_facts, nonce, CODEC_STRING, .note = "of this write"),
	FIELD_END,
};
const struct codec_schema machine_facts_schema = {
	.name = "machine_facts",
	.size = sizeof(struct machine_facts),
	.fields = machine_facts_fields,
};

static const struct codec_field region_fields[] = {
	FIELD(struct region, name, CODEC_NAME, .flags = CODEC_REQUIRED),
	FIELD(struct region, role, CODEC_ENUM, .flags = CODEC_REQUIRED, .names = region_role_names),
	FIELD(struct region, since, CODEC_STRING),
	FIELD(struct region, who, CODEC_STRING),
	FIELD(struct region, nonce, CODEC_STRING, .note = "of this write"),
	FIELD_END,
};
const struct codec_schema region_schema = {
	.name = "region",
	.size = sizeof(struct region),
	.fields = region_fields,
};

static const struct codec_field subnet_claim_fields[] = {
	FIELD(struct subnet_claim, machine, CODEC_NAME, .flags = CODEC_REQUIRED),
	FIELD(struct subnet_claim, since, CODEC_STRING),
	FIELD(struct subnet_claim, nonce, CODEC_STRING, .note = "of this write"),
	FIELD_END,
};
const struct codec_schema subnet_claim_schema = {
	.name = "subnet_claim",
	.size = sizeof(struct subnet_claim),
	.fields = subnet_claim_fields,
};
