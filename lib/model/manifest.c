#include "lib/model/manifest.h"

#include <errno.h>

#include "lib/str.h"

#define MSEC 1000ll
#define SECOND (1000 * MSEC)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define REPLICAS_MAX 1000

const char *const protocol_names[] = { "tcp", "udp", NULL };
const char *const update_order_names[] = { "default", "start-first", "stop-first", NULL };
const char *const restart_policy_names[] = { "unless-stopped", "always", "on-failure", "no", NULL };
const char *const pull_policy_names[] = { "missing", "always", "never", NULL };
const char *const spread_names[] = { "zone", "machine", NULL };
const char *const volume_mode_names[] = { "exclusive", "shared", NULL };
const char *const volume_driver_names[] = { "auto", "btrfs", "zfs", "dir", NULL };

static int replicas_decode(const json_t *json, void *at, struct failure *failure)
{
	json_int_t n = json_integer_value(json);

	if (streq(json_string_value(json), "global")) {
		*(int64_t *)at = REPLICAS_GLOBAL;
		return 0;
	}
	if (!json_is_integer(json) || n < 0 || n > REPLICAS_MAX)
		return failure_set(failure, FAILURE_INVALID, NULL,
				   "must be a whole number from 0 to %d, or global", REPLICAS_MAX);
	*(int64_t *)at = n;
	return 0;
}

static json_t *replicas_encode(const void *at)
{
	int64_t n = *(const int64_t *)at;

	return n == REPLICAS_GLOBAL ? json_string("global") : json_integer(n);
}

static void replicas_default(void *at)
{
	*(int64_t *)at = 1;
}

static const struct codec_custom replicas_custom = {
	.type = "int or \"global\"",
	.decode = replicas_decode,
	.encode = replicas_encode,
	.set_default = replicas_default,
};

/* `200` is one status, `200-399` a range. */
static int status_decode(const json_t *json, void *at, struct failure *failure)
{
	struct status_range *range = at, got = { 0, 0 };
	const char *text = json_string_value(json), *dash = text ? strchr(text, '-') : NULL;
	_cleanup_free_ char *first =
		text ? xstrndup(text, dash ? (size_t)(dash - text) : strlen(text)) : NULL;

	if (json_is_integer(json))
		got.first = got.last = json_integer_value(json);
	else if (!text || int_parse(first, 100, 599, &got.first) < 0 ||
		 int_parse(dash ? dash + 1 : first, 100, 599, &got.last) < 0)
		got.first = 0;
	if (got.first < 100 || got.last > 599 || got.first > got.last)
		return failure_set(
			failure, FAILURE_INVALID, NULL,
			"must be an HTTP status such as 200, or a range such as 200-399");
	*range = got;
	return 0;
}

static json_t *status_encode(const void *at)
{
	const struct status_range *range = at;
	_cleanup_free_ char *text = NULL;

	if (range->first == range->last)
		return json_integer(range->first);
	text = xasprintf("%lld-%lld", (long long)range->first, (long long)range->last);
	return json_string(text);
}

static void status_default(void *at)
{
	*(struct status_range *)at = (struct status_range){ 200, 399 };
}

static const struct codec_custom status_custom = {
	.type = "int or \"first-last\"",
	.decode = status_decode,
	.encode = status_encode,
	.set_default = status_default,
};

#define SCHEMA(name_, ...)                                                              \
	{                                                                               \
		.name = #name_, .size = sizeof(struct name_), .fields = name_##_fields, \
		__VA_ARGS__                                                             \
	}
#define PORT_NUMBER .flags = CODEC_REQUIRED, .min = 1, .max = 65535

static const struct codec_field port_fields[] = {
	FIELD(struct port, port, CODEC_INT, PORT_NUMBER, .note = "number in the container"),
	FIELD(struct port, protocol, CODEC_ENUM, .flags = CODEC_OMIT, .names = protocol_names),
	FIELD_END,
};
const struct codec_schema port_schema = SCHEMA(port, .keyed = true);

static const struct codec_field publish_fields[] = {
	FIELD(struct publish, port, CODEC_NAME, .flags = CODEC_REQUIRED, .note = "a name of ports"),
	FIELD(struct publish, host_port, CODEC_INT, PORT_NUMBER, .note = "number on the machine"),
	FIELD(struct publish, address, CODEC_STRING, .note = "of the machine; absent: its default"),
	FIELD_END,
};
static const struct codec_schema publish_schema = SCHEMA(publish);

static const struct codec_field http_route_fields[] = {
	FIELD(struct http_route, port, CODEC_NAME, .flags = CODEC_REQUIRED,
	      .note = "a name of ports"),
	FIELD(struct http_route, hosts, CODEC_STRV, .flags = CODEC_REQUIRED),
	FIELD(struct http_route, path, CODEC_STRING, .text = "/",
	      .note = "/api matches /api and /api/..."),
	FIELD(struct http_route, strip, CODEC_BOOL, .flags = CODEC_OMIT,
	      .note = "removes the path"),
	FIELD_END,
};
static const struct codec_schema http_route_schema = SCHEMA(http_route);

static const struct codec_field tcp_route_fields[] = {
	FIELD(struct tcp_route, port, CODEC_NAME, .flags = CODEC_REQUIRED,
	      .note = "a name of ports"),
	FIELD(struct tcp_route, listen, CODEC_INT, PORT_NUMBER, .note = "number on the gateway"),
	FIELD_END,
};
static const struct codec_schema tcp_route_schema = SCHEMA(tcp_route);

static const struct codec_field route_spec_fields[] = {
	FIELD(struct route_spec, http, CODEC_POINTER, .schema = &http_route_schema),
	FIELD(struct route_spec, tcp, CODEC_POINTER, .schema = &tcp_route_schema),
	FIELD_END,
};
static const struct codec_schema route_spec_schema = SCHEMA(route_spec);

static const struct codec_field ready_http_fields[] = {
	FIELD(struct ready_http, port, CODEC_NAME, .flags = CODEC_REQUIRED,
	      .note = "a name of ports"),
	FIELD(struct ready_http, path, CODEC_STRING, .text = "/"),
	FIELD(struct ready_http, status, CODEC_CUSTOM, .custom = &status_custom, .note = "200-399"),
	FIELD_END,
};
static const struct codec_schema ready_http_schema = SCHEMA(ready_http);

static const struct codec_field ready_tcp_fields[] = {
	FIELD(struct ready_tcp, port, CODEC_NAME, .flags = CODEC_REQUIRED,
	      .note = "a name of ports"),
	FIELD_END,
};
static const struct codec_schema ready_tcp_schema = SCHEMA(ready_tcp);

static const struct codec_field ready_fields[] = {
	FIELD(struct ready, http, CODEC_POINTER, .schema = &ready_http_schema),
	FIELD(struct ready, tcp, CODEC_POINTER, .schema = &ready_tcp_schema),
	FIELD(struct ready, exec, CODEC_STRV, .note = "exits 0"),
	FIELD(struct ready, running, CODEC_DURATION, .flags = CODEC_OMIT, .min = 0, .max = HOUR,
	      .note = "runs for this long without ending"),
	FIELD(struct ready, interval, CODEC_DURATION, .min = 100 * MSEC, .max = HOUR,
	      .initial = SECOND),
	FIELD(struct ready, timeout, CODEC_DURATION, .min = 10 * MSEC, .max = HOUR,
	      .initial = 5 * SECOND),
	FIELD(struct ready, retries, CODEC_INT, .min = 1, .max = 10000, .initial = 30),
	FIELD(struct ready, start_period, CODEC_DURATION, .min = 0, .max = DAY),
	FIELD_END,
};
static const struct codec_schema ready_schema = SCHEMA(ready);

static const struct codec_field mount_fields[] = {
	FIELD(struct mount, volume, CODEC_NAME, .note = "a name of the manifest's volumes"),
	FIELD(struct mount, tmpfs, CODEC_STRING, .note = "its size"),
	FIELD(struct mount, bind, CODEC_STRING,
	      .note = "a path of the machine; namespace system only"),
	FIELD(struct mount, target, CODEC_STRING, .flags = CODEC_REQUIRED),
	FIELD(struct mount, readonly, CODEC_BOOL, .flags = CODEC_OMIT),
	FIELD_END,
};
static const struct codec_schema mount_schema = SCHEMA(mount);

static const struct codec_field resources_fields[] = {
	FIELD(struct resources, cpus, CODEC_REAL, .flags = CODEC_OMIT, .min = 0, .max = 4096),
	FIELD(struct resources, memory, CODEC_SIZE, .flags = CODEC_OMIT),
	FIELD_END,
};
static const struct codec_schema resources_schema = SCHEMA(resources);

static const struct codec_field placement_fields[] = {
	FIELD(struct placement, machines, CODEC_STRV),
	FIELD(struct placement, regions, CODEC_STRV),
	FIELD(struct placement, zones, CODEC_STRV),
	FIELD(struct placement, labels, CODEC_PAIRS),
	FIELD(struct placement, spread, CODEC_ENUM, .flags = CODEC_OMIT, .names = spread_names),
	FIELD_END,
};
static const struct codec_schema placement_schema = SCHEMA(placement);

static const struct codec_field pre_deploy_fields[] = {
	FIELD(struct pre_deploy, command, CODEC_STRV, .flags = CODEC_REQUIRED),
	FIELD(struct pre_deploy, timeout, CODEC_DURATION, .min = SECOND, .max = DAY,
	      .initial = 5 * MINUTE),
	FIELD_END,
};
static const struct codec_schema pre_deploy_schema = SCHEMA(pre_deploy);

static const struct codec_field service_fields[] = {
	FIELD(struct service, image, CODEC_STRING, .flags = CODEC_REQUIRED,
	      .note = "digest or tag"),
	FIELD(struct service, replicas, CODEC_CUSTOM, .custom = &replicas_custom),
	FIELD(struct service, command, CODEC_STRV),
	FIELD(struct service, entrypoint, CODEC_STRV),
	FIELD(struct service, env, CODEC_PAIRS),
	FIELD(struct service, files, CODEC_PAIRS, .note = "path to text, mounted read-only"),
	FIELD_LIST(struct service, ports, n_ports, CODEC_MAP, &port_schema),
	FIELD_LIST(struct service, publish, n_publish, CODEC_LIST, &publish_schema),
	FIELD_LIST(struct service, routes, n_routes, CODEC_LIST, &route_spec_schema),
	FIELD(struct service, ready, CODEC_POINTER, .schema = &ready_schema),
	FIELD(struct service, update, CODEC_ENUM, .flags = CODEC_OMIT, .names = update_order_names),
	FIELD(struct service, stop_grace, CODEC_DURATION, .min = 0, .max = DAY,
	      .initial = 10 * SECOND),
	FIELD(struct service, restart, CODEC_ENUM, .flags = CODEC_OMIT,
	      .names = restart_policy_names),
	FIELD(struct service, pull, CODEC_ENUM, .flags = CODEC_OMIT, .names = pull_policy_names),
	FIELD_LIST(struct service, mounts, n_mounts, CODEC_LIST, &mount_schema),
	FIELD(struct service, resources, CODEC_STRUCT, .flags = CODEC_OMIT,
	      .schema = &resources_schema),
	FIELD(struct service, user, CODEC_STRING),
	FIELD(struct service, cap_add, CODEC_STRV),
	FIELD(struct service, cap_drop, CODEC_STRV),
	FIELD(struct service, sysctls, CODEC_PAIRS),
	FIELD(struct service, hostname, CODEC_STRING),
	FIELD(struct service, stop_signal, CODEC_STRING),
	FIELD(struct service, labels, CODEC_PAIRS),
	FIELD(struct service, privileged, CODEC_BOOL, .flags = CODEC_OMIT),
	FIELD(struct service, host_network, CODEC_BOOL, .flags = CODEC_OMIT),
	FIELD(struct service, placement, CODEC_STRUCT, .flags = CODEC_OMIT,
	      .schema = &placement_schema),
	FIELD(struct service, depends_on, CODEC_STRV),
	FIELD(struct service, pre_deploy, CODEC_POINTER, .schema = &pre_deploy_schema),
	FIELD_END,
};
const struct codec_schema service_schema = SCHEMA(service, .keyed = true);

static const struct codec_field volume_fields[] = {
	FIELD(struct volume, mode, CODEC_ENUM, .flags = CODEC_OMIT, .names = volume_mode_names),
	FIELD(struct volume, driver, CODEC_ENUM, .flags = CODEC_OMIT, .names = volume_driver_names),
	FIELD(struct volume, quota, CODEC_SIZE, .flags = CODEC_OMIT),
	FIELD(struct volume, owner, CODEC_STRING, .note = "uid:gid"),
	FIELD(struct volume, perm, CODEC_STRING, .note = "octal"),
	FIELD_END,
};
const struct codec_schema volume_schema = SCHEMA(volume, .keyed = true);

/* Wire form: an object from host to list of namespaces. */
static int grants_decode(const json_t *json, void *at, struct failure *failure)
{
	struct grants *grants = at;
	const char *host;
	json_t *list, *item;
	size_t i;

	if (!json_is_object(json))
		return failure_set(failure, FAILURE_INVALID, NULL,
				   "must be an object: host to list of namespaces");
	json_object_foreach ((json_t *)json, host, list) {
		struct grant *grant;

		if (!json_is_array(list) || !json_array_size(list)) {
			failure_set(failure, FAILURE_INVALID, NULL, "must be a list of namespaces");
			failure_prefix(failure, host);
			return -EINVAL;
		}
		grant = array_add(grants->items, grants->count);
		grant->host = xstrdup(host);
		json_array_foreach (list, i, item) {
			const char *ns = json_string_value(item);

			if (!ns || !name_valid(ns)) {
				failure_set(failure, FAILURE_INVALID, NULL,
					    "'%s' is not the name of a namespace", ns ? ns : "");
				failure_prefix(failure, host);
				return -EINVAL;
			}
			strv_push(&grant->namespaces, xstrdup(ns));
		}
	}
	return 0;
}

static json_t *grants_encode(const void *at)
{
	const struct grants *grants = at;
	json_t *object;

	if (!grants->count)
		return NULL;
	object = json_object();
	for (size_t i = 0; i < grants->count; i++) {
		json_t *list = json_array();

		for (char **ns = grants->items[i].namespaces; ns && *ns; ns++)
			json_array_append_new(list, json_string(*ns));
		json_object_set_new(object, grants->items[i].host, list);
	}
	return object;
}

static void grants_free(void *at)
{
	struct grants *grants = at;

	for (size_t i = 0; i < grants->count; i++)
		codec_clear(&grant_schema, &grants->items[i]);
	free(grants->items);
	*grants = (struct grants){ NULL, 0 };
}

static const struct codec_custom grants_custom = {
	.type = "map of host to list of namespaces",
	.decode = grants_decode,
	.encode = grants_encode,
	.free = grants_free,
};

static const struct codec_field grant_fields[] = {
	FIELD(struct grant, host, CODEC_STRING, .flags = CODEC_REQUIRED),
	FIELD(struct grant, namespaces, CODEC_STRV, .flags = CODEC_REQUIRED),
	FIELD_END,
};
const struct codec_schema grant_schema = SCHEMA(grant);

static const struct codec_field manifest_fields[] = {
	FIELD_KEY(struct manifest, ns, "namespace", CODEC_NAME, .flags = CODEC_REQUIRED),
	FIELD_LIST(struct manifest, services, n_services, CODEC_MAP, &service_schema,
		   .flags = CODEC_REQUIRED),
	FIELD_LIST(struct manifest, volumes, n_volumes, CODEC_MAP, &volume_schema),
	FIELD(struct manifest, grants, CODEC_CUSTOM, .custom = &grants_custom,
	      .note = "namespaces that may claim paths below a host, or hosts below a wildcard"),
	FIELD_END,
};
const struct codec_schema manifest_schema = SCHEMA(manifest);

const struct service *manifest_service(const struct manifest *manifest, const char *name)
{
	for (size_t i = 0; i < manifest->n_services; i++)
		if (streq(manifest->services[i].name, name))
			return &manifest->services[i];
	return NULL;
}

const struct volume *manifest_volume(const struct manifest *manifest, const char *name)
{
	for (size_t i = 0; i < manifest->n_volumes; i++)
		if (streq(manifest->volumes[i].name, name))
			return &manifest->volumes[i];
	return NULL;
}

const struct port *service_port(const struct service *service, const char *name)
{
	for (size_t i = 0; i < service->n_ports; i++)
		if (streq(service->ports[i].name, name))
			return &service->ports[i];
	return NULL;
}

void service_ready(const struct service *service, struct ready *ret)
{
	*ret = service->ready
		       ? *service->ready
		       : (struct ready){ .interval = SECOND, .timeout = 5 * SECOND, .retries = 30 };
	if (ret->http || ret->tcp || ret->exec || ret->running)
		return;
	/* A TCP probe cannot test a UDP port. */
	for (size_t i = 0; i < service->n_ports; i++)
		if (service->ports[i].protocol == PROTOCOL_TCP) {
			/* Both structs begin with the port's name, the only field of ready_tcp. */
			_Static_assert(offsetof(struct port, name) ==
					       offsetof(struct ready_tcp, port),
				       "name");
			ret->tcp = (struct ready_tcp *)(void *)&service->ports[i];
			return;
		}
	ret->running = READY_RUNNING_USEC;
}

enum update_order service_update(const struct manifest *manifest, const struct service *service,
				 const char **ret_why)
{
	const char *why = NULL;

	if (service->update == UPDATE_STOP_FIRST)
		why = "the manifest says stop-first";
	else if (service->n_publish)
		why = "a published host port can be held by one instance only";
	else if (service->host_network && service->n_ports)
		why = "ports of the host's network can be held by one instance only";
	for (size_t i = 0; !why && i < service->n_mounts; i++) {
		const struct volume *volume = manifest_volume(manifest, service->mounts[i].volume);

		if (service->mounts[i].volume && volume && volume->mode == VOLUME_EXCLUSIVE)
			why = "an exclusive volume can be held by one instance only";
	}
	if (ret_why)
		*ret_why = why					   ? why
			   : service->update == UPDATE_START_FIRST ? "the manifest says start-first"
								   : "nothing requires stop-first";
	return why ? UPDATE_STOP_FIRST : UPDATE_START_FIRST;
}

static char *hash_json(const json_t *json)
{
	_cleanup_free_ char *text = json_sorted(json);

	return hash_hex(text, strlen(text));
}

char *service_hash(const struct service *service, const char *digest)
{
	static const char *const not_the_container[] = { "replicas",  "routes",	   "update",
							 "pull",      "placement", "depends_on",
							 "pre_deploy" };
	static const char *const schedule[] = { "interval", "timeout", "retries", "start_period" };
	_cleanup_json_ json_t *json = codec_encode(&service_schema, service);
	struct ready ready;
	json_t *probe;

	for (size_t i = 0; i < ARRAY_SIZE(not_the_container); i++)
		json_object_del(json, not_the_container[i]);
	if (digest)
		json_object_set_new_nocheck(json, "image", json_string_nocheck(digest));
	/* Sorting the keys loses the order of the ports: the first one is encoded. */
	service_ready(service, &ready);
	probe = codec_encode(&ready_schema, &ready);
	for (size_t i = 0; i < ARRAY_SIZE(schedule); i++)
		json_object_del(probe, schedule[i]);
	json_object_set_new_nocheck(json, "ready", probe);
	return hash_json(json);
}

char *manifest_hash(const struct manifest *manifest)
{
	_cleanup_json_ json_t *json = codec_encode(&manifest_schema, manifest);

	return hash_json(json);
}
