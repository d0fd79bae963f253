#include "lib/model/plan.h"

const char *const slot_action_names[] = {
	[SLOT_KEEP] = "keep",
	[SLOT_START] = "start",
	[SLOT_REPLACE] = "replace",
	[SLOT_REMOVE] = "remove",
	NULL,
};

static const struct codec_field host_port_fields[] = {
	FIELD(struct host_port, port, CODEC_INT, .flags = CODEC_REQUIRED, .min = 1, .max = 65535),
	FIELD(struct host_port, protocol, CODEC_ENUM, .names = protocol_names),
	FIELD(struct host_port, owner, CODEC_STRING, .note = "namespace/service; absent: not ours"),
	FIELD(struct host_port, address, CODEC_STRING, .note = "absent: not known"),
	FIELD_END,
};
const struct codec_schema host_port_schema = {
	.name = "host_port",
	.size = sizeof(struct host_port),
	.fields = host_port_fields,
};

static const struct codec_field image_seen_fields[] = {
	FIELD(struct image_seen, image, CODEC_STRING, .flags = CODEC_REQUIRED),
	FIELD(struct image_seen, digest, CODEC_STRING, .note = "absent: not on this machine"),
	FIELD_END,
};
const struct codec_schema image_seen_schema = {
	.name = "image_seen",
	.size = sizeof(struct image_seen),
	.fields = image_seen_fields,
};

static const struct codec_field reservation_fields[] = {
	FIELD_KEY(struct reservation, ns, "namespace", CODEC_NAME),
	FIELD(struct reservation, epoch, CODEC_INT, .flags = CODEC_OMIT),
	FIELD(struct reservation, deploy, CODEC_STRING),
	FIELD(struct reservation, memory, CODEC_SIZE, .flags = CODEC_OMIT),
	FIELD(struct reservation, cpus, CODEC_REAL, .flags = CODEC_OMIT),
	FIELD_LIST(struct reservation, host_ports, n_host_ports, CODEC_LIST, &host_port_schema),
	FIELD(struct reservation, volumes, CODEC_STRV, .note = "namespace/volume"),
	FIELD(struct reservation, routes, CODEC_STRV, .note = "host/path or tcp/port"),
	FIELD_END,
};
const struct codec_schema reservation_schema = {
	.name = "reservation",
	.size = sizeof(struct reservation),
	.fields = reservation_fields,
};

static const struct codec_field probe_fields[] = {
	FIELD(struct probe, machine, CODEC_NAME, .flags = CODEC_REQUIRED),
	FIELD(struct probe, cores, CODEC_INT),
	FIELD(struct probe, load, CODEC_REAL, .note = "of the last minute"),
	FIELD(struct probe, memory, CODEC_SIZE),
	FIELD(struct probe, memory_free, CODEC_SIZE, .note = "available without swapping"),
	FIELD(struct probe, disk, CODEC_SIZE, .flags = CODEC_OMIT, .note = "of the engine's root"),
	FIELD(struct probe, disk_free, CODEC_SIZE, .flags = CODEC_OMIT),
	FIELD(struct probe, engine, CODEC_BOOL, .note = "it answers"),
	FIELD(struct probe, engine_version, CODEC_STRING),
	FIELD(struct probe, engine_error, CODEC_STRING, .note = "why it does not answer"),
	FIELD(struct probe, arch, CODEC_STRING),
	FIELD_LIST(struct probe, instances, n_instances, CODEC_LIST, &instance_schema),
	FIELD_LIST(struct probe, reservations, n_reservations, CODEC_LIST, &reservation_schema),
	FIELD_LIST(struct probe, host_ports, n_host_ports, CODEC_LIST, &host_port_schema),
	FIELD_LIST(struct probe, images, n_images, CODEC_LIST, &image_seen_schema),
	FIELD(struct probe, gateway_http, CODEC_STRV,
	      .note = "address:port where the gateway takes HTTP"),
	FIELD(struct probe, gateway_address, CODEC_STRING,
	      .note = "where the gateway listens for tcp routes"),
	FIELD_END,
};
const struct codec_schema probe_schema = {
	.name = "probe",
	.size = sizeof(struct probe),
	.fields = probe_fields,
};

static const struct codec_field probe_request_fields[] = {
	FIELD(struct probe_request, images, CODEC_STRV,
	      .note = "images whose ids the answer should contain"),
	FIELD_END,
};
const struct codec_schema probe_request_schema = {
	.name = "probe_request",
	.size = sizeof(struct probe_request),
	.fields = probe_request_fields,
};

static const struct codec_field plan_slot_fields[] = {
	FIELD(struct plan_slot, service, CODEC_NAME, .flags = CODEC_REQUIRED),
	FIELD(struct plan_slot, slot, CODEC_INT),
	FIELD(struct plan_slot, action, CODEC_ENUM, .flags = CODEC_REQUIRED,
	      .names = slot_action_names),
	FIELD(struct plan_slot, machine, CODEC_NAME, .flags = CODEC_REQUIRED),
	FIELD(struct plan_slot, from, CODEC_NAME,
	      .note = "machine of the old instance, if it is another"),
	FIELD(struct plan_slot, instance, CODEC_STRING, .note = "the kept instance"),
	FIELD(struct plan_slot, old, CODEC_STRING, .note = "the instance that is removed"),
	FIELD(struct plan_slot, digest, CODEC_STRING, .note = "absent: known once it is pulled"),
	FIELD(struct plan_slot, update, CODEC_ENUM, .flags = CODEC_OMIT,
	      .names = update_order_names, .note = "of a replace"),
	FIELD(struct plan_slot, why, CODEC_STRING, .note = "why this action and this machine"),
	FIELD(struct plan_slot, why_update, CODEC_STRING),
	FIELD_END,
};
static const struct codec_schema plan_slot_schema = {
	.name = "plan_slot",
	.size = sizeof(struct plan_slot),
	.fields = plan_slot_fields,
};

static const struct codec_field plan_route_fields[] = {
	FIELD(struct plan_route, key, CODEC_STRING, .flags = CODEC_REQUIRED,
	      .note = "host/path or tcp/port"),
	FIELD(struct plan_route, service, CODEC_NAME,
	      .note = "service that gets the route; absent: the route is removed"),
	FIELD(struct plan_route, action, CODEC_STRING, .flags = CODEC_REQUIRED,
	      .note = "add, keep, change, remove"),
	FIELD_END,
};
static const struct codec_schema plan_route_schema = {
	.name = "plan_route",
	.size = sizeof(struct plan_route),
	.fields = plan_route_fields,
};

static const struct codec_field plan_volume_fields[] = {
	FIELD(struct plan_volume, name, CODEC_NAME, .flags = CODEC_REQUIRED),
	FIELD(struct plan_volume, machine, CODEC_NAME, .flags = CODEC_REQUIRED),
	FIELD(struct plan_volume, mode, CODEC_ENUM, .flags = CODEC_OMIT,
	      .names = volume_mode_names),
	FIELD(struct plan_volume, driver, CODEC_ENUM, .flags = CODEC_OMIT,
	      .names = volume_driver_names),
	FIELD(struct plan_volume, generation, CODEC_INT, .min = 1, .max = INT64_MAX, .initial = 1),
	FIELD_KEY(struct plan_volume, new_, "new", CODEC_BOOL, .flags = CODEC_OMIT,
		  .note = "the volume is created there"),
	FIELD_END,
};
static const struct codec_schema plan_volume_schema = {
	.name = "plan_volume",
	.size = sizeof(struct plan_volume),
	.fields = plan_volume_fields,
};

static const struct codec_field plan_refusal_fields[] = {
	FIELD(struct plan_refusal, path, CODEC_STRING, .note = "the field of the manifest"),
	FIELD(struct plan_refusal, message, CODEC_STRING, .flags = CODEC_REQUIRED),
	FIELD(struct plan_refusal, hint, CODEC_STRING),
	FIELD_END,
};
static const struct codec_schema plan_refusal_schema = {
	.name = "plan_refusal",
	.size = sizeof(struct plan_refusal),
	.fields = plan_refusal_fields,
};

static const struct codec_field plan_fields[] = {
	FIELD_KEY(struct plan, ns, "namespace", CODEC_NAME, .flags = CODEC_REQUIRED),
	FIELD(struct plan, sequence, CODEC_INT, .note = "committed sequence it was made from"),
	FIELD(struct plan, head, CODEC_INT, .flags = CODEC_OMIT,
	      .note = "sequence of the namespace's last entry"),
	FIELD(struct plan, revision, CODEC_INT),
	FIELD(struct plan, changes, CODEC_BOOL, .note = "false: nothing would be done"),
	FIELD(struct plan, removes_all, CODEC_BOOL, .flags = CODEC_OMIT, .note = "needs `yes`"),
	FIELD_LIST(struct plan, slots, n_slots, CODEC_LIST, &plan_slot_schema),
	FIELD_LIST(struct plan, volumes, n_volumes, CODEC_LIST, &plan_volume_schema),
	FIELD_LIST(struct plan, routes, n_routes, CODEC_LIST, &plan_route_schema),
	FIELD(struct plan, warnings, CODEC_STRV),
	FIELD_LIST(struct plan, refusals, n_refusals, CODEC_LIST, &plan_refusal_schema,
		   .note = "if there is one, the plan cannot be executed"),
	FIELD(struct plan, unreachable, CODEC_STRV,
	      .note = "machines that did not answer the probe"),
	FIELD(struct plan, hash, CODEC_STRING, .note = "of the manifest"),
	FIELD_END,
};
const struct codec_schema plan_schema = { .name = "plan",
					  .size = sizeof(struct plan),
					  .fields = plan_fields };

static const struct codec_field plan_request_fields[] = {
	FIELD(struct plan_request, manifest, CODEC_POINTER, .flags = CODEC_REQUIRED,
	      .schema = &manifest_schema),
	FIELD(struct plan_request, deploy, CODEC_STRING,
	      .note = "the asking deploy; absent: a preview"),
	FIELD(struct plan_request, head, CODEC_INT, .flags = CODEC_OMIT, .max = INT64_MAX,
	      .note = "the namespace's last entry must be at least this one"),
	FIELD(struct plan_request, digests, CODEC_PAIRS,
	      .note = "rollback: service to the image id that it has to run"),
	FIELD_END,
};
const struct codec_schema plan_request_schema = {
	.name = "plan_request",
	.size = sizeof(struct plan_request),
	.fields = plan_request_fields,
};
