#include "agentd/agentd.h"

#define LOG_FILE_MAX "16m" /* of one file of a container's output … */
#define LOG_FILES "2"	   /* … of so many */
#define LABEL "ployz."
#define SYSTEM_NAMESPACE "system"

char *container_volume(const char *ns, const char *volume)
{
	return xasprintf("ployz-%s-%s", ns, volume);
}

char *container_run_name(const struct agent_run *order)
{
	return xasprintf("%s-%s-pre-%s", order->ns, order->service->name, order->deploy);
}

static json_t *strings(char *const *v)
{
	json_t *list = json_array();

	for (; v && *v; v++)
		json_array_append_new(list, json_string(*v));
	return list;
}

/* What an adopting agentd needs to know of a running instance, and no more: files and secrets stay
 * out. */
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

static json_t *labels_of(const struct service *service, const char *ns, const char *deploy,
			 int64_t epoch, const char *digest, const struct container_context *context)
{
	json_t *labels = json_object();

	for (size_t i = 0; i < service->labels.count; i++)
		json_object_set_new(labels, service->labels.items[i].key,
				    json_string(service->labels.items[i].value));
	label(labels, "namespace", xstrdup(ns));
	label(labels, "service", xstrdup(service->name));
	label(labels, "deploy", xstrdup(deploy));
	label(labels, "epoch", xasprintf("%lld", (long long)epoch));
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
		return failure_set(failure, FAILURE_INVALID, NULL,
				   "the tmpfs at %s: '%s' is no size", mount->target, mount->tmpfs);
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

/* What a container prints is kept, but not without end: its disk is everybody's. */
static void set_log(const struct container_context *context, json_t *host)
{
	/* Podman has its own words for it, and its own bound. */
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
	bool allowed = streq(ns, SYSTEM_NAMESPACE);

	for (size_t i = 0; i < service->n_mounts && !allowed; i++)
		if (service->mounts[i].bind)
			return failure_set(failure, FAILURE_INVALID, NULL,
					   "a host path may be mounted in namespace %s only",
					   SYSTEM_NAMESPACE);
	if (!allowed && (service->privileged || service->host_network))
		return failure_set(failure, FAILURE_INVALID, NULL,
				   "privileged and host_network are for namespace %s only",
				   SYSTEM_NAMESPACE);
	json_object_set_new(body, "Env", env_of(&service->env));
	/* agentd probes by itself: what the image brings would only load the machine. */
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

/* The engine's own volumes are plain directories: what they cannot be is refused, not left out. */
static int volumes_suit(const struct volume *volumes, size_t count, struct failure *failure)
{
	static const char *const hint = "leave it out of the manifest's volume";

	for (size_t i = 0; i < count; i++) {
		const struct volume *volume = &volumes[i];

		if (volume->driver == VOLUME_BTRFS || volume->driver == VOLUME_ZFS)
			return failure_set(
				failure, FAILURE_REFUSED, hint,
				"volume %s: this machine has plain directories only (driver dir)",
				volume->name);
		if (volume->quota)
			return failure_set(failure, FAILURE_REFUSED, hint,
					   "volume %s: plain directories have no quota",
					   volume->name);
		if (volume->owner || volume->perm)
			return failure_set(failure, FAILURE_REFUSED, hint,
					   "volume %s: the engine makes it with the owner and mode "
					   "that the image gives its directory",
					   volume->name);
	}
	return 0;
}

/* What every container of a service has: its image, and labels, to which the caller adds its own. */
static json_t *begin(const struct service *service, const char *ns, const char *deploy,
		     int64_t epoch, const char *digest, const struct container_context *context)
{
	return json_pack("{s:{}, s:s, s:o}", "HostConfig", "Image",
			 digest ? digest : service->image, "Labels",
			 labels_of(service, ns, deploy, epoch, digest, context));
}

int container_config(const struct agent_start *order, const struct container_context *context,
		     json_t **ret, struct failure *failure)
{
	static const char *const policies[] = {
		[RESTART_UNLESS_STOPPED] = "unless-stopped",
		[RESTART_ALWAYS] = "always",
		[RESTART_ON_FAILURE] = "on-failure",
		[RESTART_NO] = "no",
	};
	const struct service *service = order->service;
	_cleanup_json_ json_t *body = NULL;
	json_t *host, *labels;
	int r = volumes_suit(order->volumes, order->n_volumes, failure);

	if (r < 0)
		return r;
	body = begin(service, order->ns, order->deploy, order->epoch, order->digest, context);
	host = json_object_get(body, "HostConfig");
	labels = json_object_get(body, "Labels");
	label(labels, "instance", xstrdup(order->instance));
	label(labels, "slot", xasprintf("%lld", (long long)order->slot));
	if (service->command)
		json_object_set_new(body, "Cmd", strings(service->command));
	if (service->entrypoint)
		json_object_set_new(body, "Entrypoint", strings(service->entrypoint));
	json_object_set_new(host, "RestartPolicy",
			    json_pack("{s:s}", "Name", policies[service->restart]));
	set_log(context, host);
	r = common(service, order->ns, context, body, host, failure);
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
	int r = volumes_suit(order->volumes, order->n_volumes, failure);

	if (r < 0)
		return r;
	body = begin(service, order->ns, order->deploy, order->epoch, order->digest, context);
	host = json_object_get(body, "HostConfig");
	labels = json_object_get(body, "Labels");
	label(labels, "run", xstrdup("pre_deploy"));
	/* The whole command line is the operator's: what the image would put before it is left
	 * out. */
	json_object_set_new(body, "Entrypoint", strings(service->pre_deploy->command));
	json_object_set_new(body, "Cmd", json_array());
	json_object_set_new(host, "RestartPolicy", json_pack("{s:s}", "Name", "no"));
	set_log(context, host);
	r = common(service, order->ns, context, body, host, failure);
	if (r < 0)
		return r;
	*ret = steal(body);
	return 0;
}

static const char *text(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static const char *label_get(const json_t *labels, const char *key)
{
	char name[64];
	const char *value;

	snprintf(name, sizeof(name), LABEL "%s", key);
	value = text(labels, name);
	return value && *value ? value : NULL;
}

static int64_t label_int(const json_t *labels, const char *key, int64_t otherwise)
{
	const char *value = label_get(labels, key);
	int64_t number;

	return value && int_parse(value, 0, INT64_MAX, &number) == 0 ? number : otherwise;
}

static void read_state(const json_t *json, struct container_seen *seen, int64_t *ret_exit)
{
	const json_t *state = json_object_get(json, "State");
	const char *status =
		json_is_string(state) ? json_string_value(state) : text(state, "Status");
	const char *started = text(state, "StartedAt");

	/* `configured` and `initialized` are Podman's words for it. */
	seen->created = streq(status, "created") || streq(status, "configured") ||
			streq(status, "initialized");
	seen->running = streq(status, "running") || streq(status, "paused");
	seen->started_at = xstrdup(started);
	if (json_is_object(state) && !seen->running && !seen->created)
		*ret_exit = json_integer_value(json_object_get(state, "ExitCode")) & 255;
}

/* Labels may be an image's own, or anybody's: what they name becomes a path, a subject, an entry of
 * the log. */
static bool is_instance(const json_t *labels)
{
	const char *instance = label_get(labels, "instance");

	return instance && instance_id_valid(instance) &&
	       name_valid(label_get(labels, "namespace")) &&
	       name_valid(label_get(labels, "service"));
}

static void add_host_port(struct container_seen *seen, int64_t number, bool udp, const char *owner)
{
	struct host_port *port;

	if (number <= 0 || number > 65535)
		return;
	for (size_t i = 0; i < seen->n_host_ports; i++)
		if (seen->host_ports[i].port == number &&
		    (seen->host_ports[i].protocol == PROTOCOL_UDP) == udp)
			return;
	port = array_add(seen->host_ports, seen->n_host_ports);
	port->port = number;
	port->protocol = udp ? PROTOCOL_UDP : PROTOCOL_TCP;
	port->owner = xstrdup(owner);
}

static void read_instance(const json_t *json, const json_t *labels, const char *network,
			  struct container_seen *seen)
{
	struct instance *instance = codec_new(&instance_schema);
	const json_t *networks =
		json_object_get(json_object_get(json, "NetworkSettings"), "Networks");
	const char *address = text(json_object_get(networks, network), "IPAddress");
	const char *spec = label_get(labels, "spec");

	seen->instance = instance;
	instance->id = xstrdup(label_get(labels, "instance"));
	instance->ns = xstrdup(label_get(labels, "namespace"));
	instance->service = xstrdup(label_get(labels, "service"));
	instance->slot = label_int(labels, "slot", 0);
	instance->deploy = xstrdup(label_get(labels, "deploy"));
	instance->epoch = label_int(labels, "epoch", 0);
	instance->hash = xstrdup(label_get(labels, "hash"));
	instance->address = instance_address_valid(address) ? xstrdup(address) : NULL;
	/* A list has the id under ImageID, an inspection under Image. */
	instance->digest =
		xstrdup(text(json, "ImageID") ? text(json, "ImageID") : text(json, "Image"));
	instance->restarts = MAX2(json_integer_value(json_object_get(json, "RestartCount")), 0);
	instance->exit_code = -1;
	read_state(json, seen, &instance->exit_code);
	instance->state = seen->running	  ? INSTANCE_STARTING
			  : seen->created ? INSTANCE_CREATED
					  : INSTANCE_STOPPED;
	if (!spec || codec_parse(&service_schema, spec, strlen(spec), CODEC_LENIENT,
				 (void **)&seen->service, NULL) < 0)
		return;
	instance->image = xstrdup(seen->service->image);
	for (size_t i = 0; i < seen->service->n_ports; i++) {
		struct port *port = array_add(instance->ports, instance->n_ports);

		codec_copy_into(&port_schema, port, &seen->service->ports[i]);
	}
}

void container_read(const json_t *json, const char *network, struct container_seen *ret)
{
	const json_t *labels = json_object_get(json, "Labels"),
		     *ports = json_object_get(json, "Ports");
	_cleanup_free_ char *owner = NULL;
	const json_t *port;
	size_t i;

	*ret = (struct container_seen){ 0 };
	if (!labels)
		labels = json_object_get(json_object_get(json, "Config"), "Labels");
	ret->id = xstrdup(text(json, "Id"));
	ret->run = label_get(labels, "run") != NULL;
	if (label_get(labels, "namespace") && label_get(labels, "service"))
		owner = xasprintf("%s/%s", label_get(labels, "namespace"),
				  label_get(labels, "service"));
	json_array_foreach (ports, i, port)
		add_host_port(ret, json_integer_value(json_object_get(port, "PublicPort")),
			      streq(text(port, "Type"), "udp"), owner);
	if (!ret->run && is_instance(labels))
		read_instance(json, labels, network, ret);
}

void container_clear(struct container_seen *seen)
{
	free(seen->id);
	instance_free(seen->instance);
	service_free(seen->service);
	free(seen->started_at);
	for (size_t i = 0; i < seen->n_host_ports; i++)
		codec_clear(&host_port_schema, &seen->host_ports[i]);
	free(seen->host_ports);
	*seen = (struct container_seen){ 0 };
}
