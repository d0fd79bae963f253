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

static const struct codec_field machine_fields[] = {
	FIELD(struct machine, id, CODEC_NAME, .flags = CODEC_REQUIRED),
	FIELD(struct machine, name, CODEC_STRING),
	FIELD(struct machine, public_key, CODEC_STRING, .note = "WireGuard's, base64"),
	FIELD(struct machine, overlay, CODEC_STRING, .note = "IPv6 address in the mesh"),
	FIELD(struct machine, subnet, CODEC_STRING, .note = "the containers' IPv4 network"),
	FIELD(struct machine, endpoints, CODEC_STRV,
	      .note = "address:port where WireGuard is reached"),
	FIELD(struct machine, region, CODEC_STRING),
	FIELD(struct machine, zone, CODEC_STRING),
	FIELD(struct machine, labels, CODEC_PAIRS),
	FIELD(struct machine, arch, CODEC_STRING, .note = "as the engine names it"),
	FIELD(struct machine, life_cycle, CODEC_ENUM, .flags = CODEC_REQUIRED,
	      .names = life_cycle_names),
	FIELD(struct machine, quorum, CODEC_STRING, .note = "`member`, or absent"),
	FIELD(struct machine, generation, CODEC_INT, .flags = CODEC_OMIT,
	      .note = "highest founding of the store that it has seen"),
	FIELD(struct machine, version, CODEC_STRING),
	FIELD(struct machine, since, CODEC_STRING),
	FIELD_END,
};
const struct codec_schema machine_schema = {
	.name = "machine",
	.size = sizeof(struct machine),
	.fields = machine_fields,
};

static const struct codec_field region_fields[] = {
	FIELD(struct region, name, CODEC_NAME, .flags = CODEC_REQUIRED),
	FIELD(struct region, role, CODEC_ENUM, .flags = CODEC_REQUIRED, .names = region_role_names),
	FIELD(struct region, since, CODEC_STRING),
	FIELD(struct region, who, CODEC_STRING),
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
	FIELD_END,
};
const struct codec_schema subnet_claim_schema = {
	.name = "subnet_claim",
	.size = sizeof(struct subnet_claim),
	.fields = subnet_claim_fields,
};
