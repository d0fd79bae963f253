/* Container (pure): the engine's description of a container for a service. */
#include "agentd/agentd.h"

#define LOG_FILE_MAX "16m" /* of one file of a container's output … */
#define LOG_FILES "2"	   /* … of so many */
#define LABEL "ployz."
#define SYSTEM_NAMESPACE "system"

char *container_volume(const char *ns, const char *volume)
{
	/* Neither part has a dot: no two pairs share a name. */
	return xasprintf("ployz.%s.%s", ns, volume);
}

char *container_run_name(const struct agent_run *order)
{
	return instance_id(order->command.ns, order->service->name, INSTANCE_RUN_SLOT,
			   order->command.deploy);
}

static json_t *strings(char *const *v)
{
	json_t *list = json_array();

	for (; v && *v; v++)
		json_array_append_new(list, json_string(*v));
	return list;
}

/* Only the fields that a restarted agentd needs of a running instance, without files and secrets.
 */
static char *spec_text(const struct service *service)
{
	struct service spec;

	codec_init(&service_schema, &spec);
	spec.name = service->name;
	spec.image = service->image;
	spec.ports = service->ports;
	spec.n_ports = service->n_ports;
	spec.publish = service->publish;
	spec.n_publish = service->n_publish;
	spec.ready = service->ready;
	spec.stop_grace = service->stop_grace;
	spec.restart = service->restart;
	spec.mounts = service->mounts;
	spec.n_mounts = service->n_mounts;
	spec.resources = service->resources;
	spec.host_network = service->host_network;
	return codec_print(&service_schema, &spec);
}

static void label(json_t *labels, const char *key, char *value)
{
	_cleanup_free_ char *name = xasprintf(LABEL "%s", key);
	_cleanup_free_ char *owned = value;

	json_object_set_new(labels, name, json_string(owned ? owned : ""));
}

/* Labels of this prefix are agentd's: those of the manifest are left out, those of the image are
 * overridden, with an empty value where the container has none. */
static json_t *labels_of(const struct service *service, const struct agent_command *command,
			 const char *digest, const struct container_context *context)
{
	static const char *const none[] = { "instance", "slot", "run" };
	json_t *labels = json_object();

	for (size_t i = 0; i < service->labels.count; i++)
		if (!str_starts(service->labels.items[i].key, LABEL))
			json_object_set_new(labels, service->labels.items[i].key,
					    json_string(service->labels.items[i].value));
	for (size_t i = 0; i < ARRAY_SIZE(none); i++)
		label(labels, none[i], NULL);
	label(labels, "namespace", xstrdup(command->ns));
	label(labels, "service", xstrdup(service->name));
	label(labels, "deploy", xstrdup(command->deploy));
	label(labels, "epoch", xasprintf("%lld", (long long)command->epoch));
	label(labels, "hash", service_hash(service, digest));
	label(labels, "machine", xstrdup(context->machine));
	label(labels, "spec", spec_text(service));
	return labels;
}

static json_t *env_of(const struct pairs *env)
{
	json_t *list = json_array();

	for (size_t i = 0; i < env->count; i++) {
		_cleanup_free_ char *line =
			xasprintf("%s=%s", env->items[i].key, env->items[i].value);

		json_array_append_new(list, json_string(line));
	}
	return list;
}

static char *port_key(const struct port *port)
{
	return xasprintf("%lld/%s", (long long)port->port, protocol_names[port->protocol]);
}

static void set_ports(const struct service *service, const struct container_context *context,
		      json_t *body, json_t *host)
{
	json_t *exposed = json_object(), *bindings = json_object();

	json_object_set_new(body, "ExposedPorts", exposed);
	json_object_set_new(host, "PortBindings", bindings);
	for (size_t i = 0; i < service->n_ports; i++) {
		_cleanup_free_ char *key = port_key(&service->ports[i]);

		json_object_set_new(exposed, key, json_object());
	}
	for (size_t i = 0; i < service->n_publish; i++) {
		const struct publish *publish = &service->publish[i];
		const struct port *port = service_port(service, publish->port);
		_cleanup_free_ char *key = NULL, *number = NULL;
		json_t *list;

		if (!port)
			continue;
		key = port_key(port);
		number = xasprintf("%lld", (long long)publish->host_port);
		list = json_object_get(bindings, key);
		if (!list) {
			list = json_array();
			json_object_set_new(bindings, key, list);
		}
		json_array_append_new(list, json_pack("{s:s, s:s}", "HostIp",
						      publish->address ? publish->address
								       : context->publish_address,
						      "HostPort", number));
	}
}

static int add_tmpfs(const struct mount *mount, json_t *tmpfs, struct failure *failure)
{
	_cleanup_free_ char *options = NULL;
	uint64_t bytes;

	if (size_parse(mount->tmpfs, &bytes) < 0)
		return failure_set(failure, FAILURE_INVALID, "write a size such as 64M",
				   "cannot mount a tmpfs at %s: '%s' is not a size", mount->target,
				   mount->tmpfs);
	options =
		xasprintf("%s,size=%llu", mount->readonly ? "ro" : "rw", (unsigned long long)bytes);
	json_object_set_new(tmpfs, mount->target, json_string(options));
	return 0;
}

static int set_mounts(const struct service *service, const char *ns,
		      const struct container_context *context, json_t *host,
		      struct failure *failure)
{
	json_t *mounts = json_array(), *tmpfs = json_object();

	json_object_set_new(host, "Mounts", mounts);
	json_object_set_new(host, "Tmpfs", tmpfs);
	for (size_t i = 0; i < service->n_mounts; i++) {
		const struct mount *mount = &service->mounts[i];
		_cleanup_free_ char *name = NULL;

		if (mount->tmpfs) {
			if (add_tmpfs(mount, tmpfs, failure) < 0)
				return -EINVAL;
			continue;
		}
		name = mount->volume ? container_volume(ns, mount->volume) : xstrdup(mount->bind);
		json_array_append_new(mounts, json_pack("{s:s, s:s, s:s, s:b}", "Type",
							mount->volume ? "volume" : "bind", "Source",
							name, "Target", mount->target, "ReadOnly",
							mount->readonly));
	}
	for (size_t i = 0; i < service->files.count; i++) {
		_cleanup_free_ char *path = xasprintf("%s/%zu", context->files, i);

		json_array_append_new(
			mounts, json_pack("{s:s, s:s, s:s, s:b}", "Type", "bind", "Source", path,
					  "Target", service->files.items[i].key, "ReadOnly", 1));
	}
	return 0;
}

static void set_limits(const struct service *service, const struct container_context *context,
		       json_t *host)
{
	if (service->resources.cpus > 0)
		json_object_set_new(host, "NanoCpus",
				    json_integer((json_int_t)(service->resources.cpus * 1e9)));
	if (service->resources.memory)
		json_object_set_new(host, "Memory",
				    json_integer((json_int_t)service->resources.memory));
	/* Podman raises both to its own defaults, which a machine may refuse: ask for what there
	 * is. */
	if (context->podman)
		json_object_set_new(host, "Ulimits",
				    json_pack("[{s:s, s:I, s:I}, {s:s, s:I, s:I}]", "Name",
					      "nofile", "Soft", (json_int_t)context->nofile, "Hard",
					      (json_int_t)context->nofile, "Name", "nproc", "Soft",
					      (json_int_t)context->nproc, "Hard",
					      (json_int_t)context->nproc));
}

static json_t *sysctls_of(const struct pairs *sysctls)
{
	json_t *object = json_object();

	for (size_t i = 0; i < sysctls->count; i++)
		json_object_set_new(object, sysctls->items[i].key,
				    json_string(sysctls->items[i].value));
	return object;
}

static void set_network(const struct service *service, const char *ns,
			const struct container_context *context, json_t *body, json_t *host)
{
	_cleanup_free_ char *search = xasprintf("%s.ployz.internal", ns);

	if (service->host_network) {
		json_object_set_new(host, "NetworkMode", json_string("host"));
		return;
	}
	json_object_set_new(host, "NetworkMode", json_string(context->network));
	json_object_set_new(host, "Dns", json_pack("[s]", context->bridge_address));
	json_object_set_new(host, "DnsSearch", json_pack("[s]", search));
	json_object_set_new(body, "NetworkingConfig",
			    json_pack("{s:{s:{}}}", "EndpointsConfig", context->network));
}

/* A container's output is kept up to a limit: all containers share the disk. */
static void set_log(const struct container_context *context, json_t *host)
{
	/* Podman has another option for it, and its own limit. */
	if (!context->podman)
		json_object_set_new(host, "LogConfig",
				    json_pack("{s:s, s:{s:s, s:s}}", "Type", "json-file", "Config",
					      "max-size", LOG_FILE_MAX, "max-file", LOG_FILES));
}

/* What an instance and a pre_deploy command have in common. */
static int common(const struct service *service, const char *ns,
		  const struct container_context *context, json_t *body, json_t *host,
		  struct failure *failure)
{
	static const char *const hint = "deploy it in namespace " SYSTEM_NAMESPACE;
	bool allowed = streq(ns, SYSTEM_NAMESPACE);

	for (size_t i = 0; i < service->n_mounts && !allowed; i++)
		if (service->mounts[i].bind)
			return failure_set(failure, FAILURE_INVALID, hint,
					   "cannot mount host path %s: only namespace %s may",
					   service->mounts[i].bind, SYSTEM_NAMESPACE);
	if (!allowed && (service->privileged || service->host_network))
		return failure_set(
			failure, FAILURE_INVALID, hint,
			"cannot start service %s privileged or on the host's network: only "
			"namespace %s may",
			service->name, SYSTEM_NAMESPACE);
	json_object_set_new(body, "Env", env_of(&service->env));
	/* agentd probes; the image's own health check would only load the machine. */
	json_object_set_new(body, "Healthcheck", json_pack("{s:[s]}", "Test", "NONE"));
	if (service->user)
		json_object_set_new(body, "User", json_string(service->user));
	if (service->hostname)
		json_object_set_new(body, "Hostname", json_string(service->hostname));
	if (service->stop_signal)
		json_object_set_new(body, "StopSignal", json_string(service->stop_signal));
	if (service->cap_add)
		json_object_set_new(host, "CapAdd", strings(service->cap_add));
	if (service->cap_drop)
		json_object_set_new(host, "CapDrop", strings(service->cap_drop));
	if (service->sysctls.count)
		json_object_set_new(host, "Sysctls", sysctls_of(&service->sysctls));
	if (service->privileged)
		json_object_set_new(host, "Privileged", json_true());
	set_network(service, ns, context, body, host);
	set_limits(service, context, host);
	return set_mounts(service, ns, context, host, failure);
}

/* The engine's volumes are plain directories: other options are refused. */
static int volumes_check(const struct volume *volumes, size_t count, struct failure *failure)
{
	static const char *const hint = "remove it from the manifest's volume";

	for (size_t i = 0; i < count; i++) {
		const struct volume *volume = &volumes[i];

		if (volume->driver == VOLUME_BTRFS || volume->driver == VOLUME_ZFS)
			return failure_set(failure, FAILURE_REFUSED, hint,
					   "cannot create volume %s: this machine has only plain "
					   "directories (driver "
					   "dir)",
					   volume->name);
		if (volume->quota)
			return failure_set(
				failure, FAILURE_REFUSED, hint,
				"cannot create volume %s: plain directories have no quota",
				volume->name);
		if (volume->owner || volume->perm)
			return failure_set(
				failure, FAILURE_REFUSED, hint,
				"cannot create volume %s: its owner and mode are those of "
				"the image's directory",
				volume->name);
	}
	return 0;
}

/* The image and labels that all containers of a service have; the caller adds more. */
static json_t *begin(const struct service *service, const struct agent_command *command,
		     const char *digest, const struct container_context *context)
{
	return json_pack("{s:{}, s:s, s:o}", "HostConfig", "Image",
			 digest ? digest : service->image, "Labels",
			 labels_of(service, command, digest, context));
}

/* The engine does not restart an instance before it was ready: a process that ends earlier runs
 * once. */
static void set_no_restart(json_t *host)
{
	json_object_set_new(host, "RestartPolicy", json_pack("{s:s}", "Name", "no"));
}

int container_config(const struct agent_start *order, const struct container_context *context,
		     json_t **ret, struct failure *failure)
{
	const struct service *service = order->service;
	_cleanup_json_ json_t *body = NULL;
	json_t *host, *labels;
	int r = volumes_check(order->volumes, order->n_volumes, failure);

	if (r < 0)
		return r;
	body = begin(service, &order->command, order->digest, context);
	host = json_object_get(body, "HostConfig");
	labels = json_object_get(body, "Labels");
	label(labels, "instance", xstrdup(order->instance));
	label(labels, "slot", xasprintf("%lld", (long long)order->slot));
	if (service->command)
		json_object_set_new(body, "Cmd", strings(service->command));
	if (service->entrypoint)
		json_object_set_new(body, "Entrypoint", strings(service->entrypoint));
	set_no_restart(host);
	set_log(context, host);
	r = common(service, order->command.ns, context, body, host, failure);
	if (r < 0)
		return r;
	if (!service->host_network)
		set_ports(service, context, body, host);
	*ret = steal(body);
	return 0;
}

int container_run_config(const struct agent_run *order, const struct container_context *context,
			 json_t **ret, struct failure *failure)
{
	const struct service *service = order->service;
	_cleanup_json_ json_t *body = NULL;
	json_t *host, *labels;
	int r = volumes_check(order->volumes, order->n_volumes, failure);

	if (r < 0)
		return r;
	body = begin(service, &order->command, order->digest, context);
	host = json_object_get(body, "HostConfig");
	labels = json_object_get(body, "Labels");
	label(labels, "run", container_run_name(order));
	/* The manifest gives the whole command line: the image's entrypoint is left out. */
	json_object_set_new(body, "Entrypoint", strings(service->pre_deploy->command));
	json_object_set_new(body, "Cmd", json_array());
	set_no_restart(host);
	set_log(context, host);
	r = common(service, order->command.ns, context, body, host, failure);
	if (r < 0)
		return r;
	*ret = steal(body);
	return 0;
}
