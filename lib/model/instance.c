#include "lib/model/instance.h"

#include <arpa/inet.h>

#include "lib/str.h"

/* A container name that is also a DNS label: a name that is too long is cut and made unique by a
 * hash. */
#define INSTANCE_ID_MAX 128

const char *const instance_state_names[] = {
	[INSTANCE_PULLING] = "pulling",	  [INSTANCE_CREATED] = "created",
	[INSTANCE_STARTING] = "starting", [INSTANCE_READY] = "ready",
	[INSTANCE_UNREADY] = "unready",	  [INSTANCE_DRAINING] = "draining",
	[INSTANCE_STOPPED] = "stopped",	  [INSTANCE_GONE] = "gone",
	[INSTANCE_FAILED] = "failed",	  NULL,
};

static const struct codec_field instance_fields[] = {
	FIELD(struct instance, id, CODEC_STRING, .flags = CODEC_REQUIRED,
	      .note = "the container's name"),
	FIELD(struct instance, container, CODEC_STRING,
	      .note = "the engine's own id of the container"),
	FIELD_KEY(struct instance, ns, "namespace", CODEC_NAME, .flags = CODEC_REQUIRED),
	FIELD(struct instance, service, CODEC_NAME, .flags = CODEC_REQUIRED),
	FIELD(struct instance, slot, CODEC_INT, .min = INSTANCE_RUN_SLOT, .max = INT64_MAX,
	      .note = "number of the replica, from 0; -1: a pre_deploy container"),
	FIELD(struct instance, deploy, CODEC_STRING, .note = "the deploy that started it"),
	FIELD(struct instance, epoch, CODEC_INT),
	FIELD(struct instance, state, CODEC_ENUM, .flags = CODEC_REQUIRED,
	      .names = instance_state_names),
	FIELD(struct instance, address, CODEC_STRING, .note = "IPv4 on the bridge"),
	FIELD_LIST(struct instance, ports, n_ports, CODEC_MAP, &port_schema),
	FIELD(struct instance, image, CODEC_STRING, .note = "as the manifest named it"),
	FIELD(struct instance, digest, CODEC_STRING, .note = "id of the image that runs"),
	FIELD(struct instance, hash, CODEC_STRING, .note = "hash of the service it was made from"),
	FIELD(struct instance, reason, CODEC_STRING, .note = "of unready, failed, gone"),
	FIELD(struct instance, exit_code, CODEC_INT, .flags = CODEC_OMIT, .min = -1, .max = 255,
	      .initial = -1, .note = "-1: none"),
	FIELD(struct instance, restarts, CODEC_INT, .flags = CODEC_OMIT),
	FIELD(struct instance, since, CODEC_STRING, .note = "when the state last changed"),
	FIELD_END,
};
const struct codec_schema instance_schema = {
	.name = "instance",
	.size = sizeof(struct instance),
	.fields = instance_fields,
};

static const struct codec_field instances_fields[] = {
	FIELD(struct instances, machine, CODEC_STRING, .flags = CODEC_REQUIRED),
	FIELD_KEY(struct instances, ns, "namespace", CODEC_NAME, .flags = CODEC_REQUIRED),
	FIELD_LIST(struct instances, instances, n_instances, CODEC_LIST, &instance_schema),
	FIELD(struct instances, nonce, CODEC_STRING, .note = "of this write"),
	FIELD_END,
};
const struct codec_schema instances_schema = {
	.name = "instances",
	.size = sizeof(struct instances),
	.fields = instances_fields,
};

char *instance_id(const char *ns, const char *service, int64_t slot, const char *deploy)
{
	_cleanup_free_ char *whole =
		xasprintf("%s-%s-%lld-%s", ns, service, (long long)slot, deploy ? deploy : "");
	_cleanup_free_ char *hash = NULL;

	if (strlen(whole) <= INSTANCE_ID_MAX)
		return steal(whole);
	hash = hash_hex(whole, strlen(whole));
	return xasprintf("%.*s-%.12s", INSTANCE_ID_MAX - 13, whole, hash);
}

bool instance_id_valid(const char *id)
{
	size_t length = strlen(id);

	return length > 0 && length <= INSTANCE_ID_MAX &&
	       strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789-") == length && id[0] != '-';
}

bool instance_address_valid(const char *address)
{
	struct in_addr in;

	return address && inet_pton(AF_INET, address, &in) == 1;
}

const struct instance *instances_find(const struct instances *instances, const char *id)
{
	for (size_t i = 0; i < instances->n_instances; i++)
		if (streq(instances->instances[i].id, id))
			return &instances->instances[i];
	return NULL;
}

bool instance_is_routable(enum instance_state state)
{
	return state == INSTANCE_READY;
}
