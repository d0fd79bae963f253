#include "lib/model/agent.h"

#include <errno.h>

static const char *const prepared_states[] = { "pulling", "ready", "failed", NULL };
static const char *const ran_states[] = { "running", "done", "failed", NULL };

static int one_of(const char *const *names, const char *value, struct failure *failure)
{
	for (; *names; names++)
		if (strcmp(*names, value) == 0)
			return 0;
	failure_set(failure, FAILURE_INVALID, NULL, "'%s' is not a state of this object", value);
	failure_prefix(failure, "state");
	return -EINVAL;
}

/* The five fields at the beginning of every command. */
#define COMMAND_FIELDS(type, need)                                                          \
	FIELD_KEY(type, command.ns, "namespace", CODEC_NAME, .flags = need),                \
		FIELD_KEY(type, command.epoch, "epoch", CODEC_INT, .flags = need),          \
		FIELD_KEY(type, command.deploy, "deploy", CODEC_STRING, .flags = need),     \
		FIELD_KEY(type, command.generation, "generation", CODEC_INT, .flags = need, \
			  .note = "of the store"),                                          \
		FIELD_KEY(type, command.opened, "opened", CODEC_INT, .flags = need,         \
			  .note = "sequence of the opening entry")
#define SCHEMA(type, ...)                                                                        \
	const struct codec_schema type##_schema = {                                              \
		.name = #type, .size = sizeof(struct type), .fields = type##_fields, __VA_ARGS__ \
	}

static const struct codec_field agent_lock_fields[] = {
	COMMAND_FIELDS(struct agent_lock, CODEC_REQUIRED),
	FIELD(struct agent_lock, holder, CODEC_STRING,
	      .note = "machine of the leased that holds the lease"),
	FIELD(struct agent_lock, reserve, CODEC_STRUCT, .schema = &reservation_schema),
	FIELD_END,
};
SCHEMA(agent_lock);

static const struct codec_field agent_unlock_fields[] = {
	COMMAND_FIELDS(struct agent_unlock, CODEC_REQUIRED), FIELD_END
};
SCHEMA(agent_unlock);

static const struct codec_field agent_prepare_fields[] = {
	COMMAND_FIELDS(struct agent_prepare, CODEC_REQUIRED),
	FIELD(struct agent_prepare, image, CODEC_STRING, .flags = CODEC_REQUIRED),
	FIELD(struct agent_prepare, pull, CODEC_ENUM, .names = pull_policy_names,
	      .initial = PULL_MISSING),
	FIELD_END,
};
SCHEMA(agent_prepare);

static int prepared_check(const void *object, struct failure *failure)
{
	return one_of(prepared_states, ((const struct agent_prepared *)object)->state, failure);
}
static const struct codec_field agent_prepared_fields[] = {
	FIELD(struct agent_prepared, state, CODEC_STRING, .flags = CODEC_REQUIRED,
	      .note = "pulling, ready, failed"),
	FIELD(struct agent_prepared, digest, CODEC_STRING, .note = "the image's id"),
	FIELD(struct agent_prepared, reason, CODEC_STRING),
	FIELD(struct agent_prepared, done_bytes, CODEC_INT, .flags = CODEC_OMIT),
	FIELD(struct agent_prepared, total_bytes, CODEC_INT, .flags = CODEC_OMIT),
	FIELD_END,
};
SCHEMA(agent_prepared, .check = prepared_check);

static const struct codec_field agent_start_fields[] = {
	COMMAND_FIELDS(struct agent_start, CODEC_REQUIRED),
	FIELD(struct agent_start, instance, CODEC_STRING, .flags = CODEC_REQUIRED),
	FIELD(struct agent_start, slot, CODEC_INT),
	FIELD(struct agent_start, service, CODEC_POINTER, .flags = CODEC_REQUIRED,
	      .schema = &service_schema),
	FIELD_LIST(struct agent_start, volumes, n_volumes, CODEC_MAP, &volume_schema),
	FIELD(struct agent_start, new_volumes, CODEC_STRV,
	      .note = "that may be created; the others must exist"),
	FIELD(struct agent_start, digest, CODEC_STRING,
	      .note = "the image's id; absent: by its name"),
	FIELD_END,
};
SCHEMA(agent_start);

static const struct codec_field agent_instance_fields[] = {
	FIELD(struct agent_instance, instance, CODEC_POINTER, .schema = &instance_schema,
	      .note = "absent: there is no such container"),
	FIELD(struct agent_instance, sequence, CODEC_INT,
	      .note = "of the entry in PLOYZ_FACTS that holds this state"),
	FIELD_END,
};
SCHEMA(agent_instance);

static const struct codec_field agent_ref_fields[] = {
	COMMAND_FIELDS(struct agent_ref, CODEC_REQUIRED),
	FIELD(struct agent_ref, instance, CODEC_STRING, .flags = CODEC_REQUIRED),
	FIELD(struct agent_ref, grace_ms, CODEC_INT, .min = -1, .max = INT32_MAX, .initial = -1,
	      .note = "-1: the service's own"),
	FIELD_END,
};
SCHEMA(agent_ref);

static const struct codec_field agent_run_fields[] = {
	COMMAND_FIELDS(struct agent_run, CODEC_REQUIRED),
	FIELD(struct agent_run, service, CODEC_POINTER, .flags = CODEC_REQUIRED,
	      .schema = &service_schema),
	FIELD_LIST(struct agent_run, volumes, n_volumes, CODEC_MAP, &volume_schema),
	FIELD(struct agent_run, new_volumes, CODEC_STRV,
	      .note = "that may be created; the others must exist"),
	FIELD(struct agent_run, digest, CODEC_STRING),
	FIELD_END,
};
SCHEMA(agent_run);

static int ran_check(const void *object, struct failure *failure)
{
	return one_of(ran_states, ((const struct agent_ran *)object)->state, failure);
}
static const struct codec_field agent_ran_fields[] = {
	FIELD(struct agent_ran, state, CODEC_STRING, .flags = CODEC_REQUIRED,
	      .note = "running, done, failed"),
	FIELD(struct agent_ran, exit_code, CODEC_INT, .min = -1, .max = 255, .initial = -1,
	      .note = "-1: none"),
	FIELD(struct agent_ran, reason, CODEC_STRING),
	FIELD_END,
};
SCHEMA(agent_ran, .check = ran_check);

static const struct codec_field agent_list_fields[] = {
	COMMAND_FIELDS(struct agent_list, 0),
	FIELD(struct agent_list, images, CODEC_STRV, .note = "whose ids the answer should contain"),
	FIELD_END,
};
SCHEMA(agent_list);

static const struct codec_field agent_command_fields[] = {
	FIELD_KEY(struct agent_command, ns, "namespace", CODEC_NAME, .flags = CODEC_REQUIRED),
	FIELD(struct agent_command, epoch, CODEC_INT, .flags = CODEC_REQUIRED),
	FIELD(struct agent_command, deploy, CODEC_STRING, .flags = CODEC_REQUIRED),
	FIELD(struct agent_command, generation, CODEC_INT, .flags = CODEC_REQUIRED),
	FIELD(struct agent_command, opened, CODEC_INT, .flags = CODEC_REQUIRED),
	FIELD_END,
};
SCHEMA(agent_command);

static const struct codec_field agent_probe_fields[] = {
	COMMAND_FIELDS(struct agent_probe, CODEC_REQUIRED),
	FIELD(struct agent_probe, instances, CODEC_STRV, .flags = CODEC_REQUIRED),
	FIELD_END,
};
SCHEMA(agent_probe);

static const struct codec_field agent_probed_fields[] = {
	FIELD_LIST(struct agent_probed, instances, n_instances, CODEC_LIST, &agent_instance_schema),
	FIELD_END,
};
SCHEMA(agent_probed);

static const struct codec_field agent_locked_fields[] = {
	FIELD_LIST(struct agent_locked, instances, n_instances, CODEC_LIST, &instance_schema),
	FIELD_END,
};
SCHEMA(agent_locked);

static const struct codec_field agent_listed_fields[] = {
	FIELD(struct agent_listed, epoch, CODEC_INT, .flags = CODEC_OMIT,
	      .note = "highest that is stored for the namespace"),
	FIELD(struct agent_listed, engine, CODEC_BOOL, .note = "it answers"),
	FIELD(struct agent_listed, engine_version, CODEC_STRING),
	FIELD(struct agent_listed, engine_error, CODEC_STRING),
	FIELD(struct agent_listed, arch, CODEC_STRING),
	FIELD(struct agent_listed, disk, CODEC_SIZE, .flags = CODEC_OMIT),
	FIELD(struct agent_listed, disk_free, CODEC_SIZE, .flags = CODEC_OMIT),
	FIELD_LIST(struct agent_listed, instances, n_instances, CODEC_LIST, &instance_schema),
	FIELD_LIST(struct agent_listed, reservations, n_reservations, CODEC_LIST,
		   &reservation_schema),
	FIELD_LIST(struct agent_listed, host_ports, n_host_ports, CODEC_LIST, &host_port_schema),
	FIELD_LIST(struct agent_listed, images, n_images, CODEC_LIST, &image_seen_schema),
	FIELD_END,
};
SCHEMA(agent_listed);

static const struct codec_field agent_logs_fields[] = {
	FIELD(struct agent_logs, stream, CODEC_NAME, .flags = CODEC_REQUIRED),
	FIELD_KEY(struct agent_logs, ns, "namespace", CODEC_NAME, .flags = CODEC_REQUIRED),
	FIELD(struct agent_logs, service, CODEC_NAME),
	FIELD(struct agent_logs, instance, CODEC_STRING),
	FIELD(struct agent_logs, follow, CODEC_BOOL),
	FIELD(struct agent_logs, tail, CODEC_INT, .min = -1, .max = INT32_MAX, .initial = -1,
	      .note = "-1: all"),
	FIELD(struct agent_logs, since_ms, CODEC_INT, .min = -1, .max = INT64_MAX / 2,
	      .initial = -1, .note = "-1: from the beginning"),
	FIELD(struct agent_logs, stop, CODEC_BOOL),
	FIELD_END,
};
SCHEMA(agent_logs);

static const struct codec_field agent_streaming_fields[] = {
	FIELD(struct agent_streaming, instances, CODEC_INT),
	FIELD_END,
};
SCHEMA(agent_streaming);

static const struct codec_field empty_fields[] = { FIELD_END };
SCHEMA(empty);
