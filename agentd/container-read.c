/* Container (pure): a container as the engine describes it. Its labels may be an image's or another
 * program's: only records.c knows whether agentd made it. */
#include "agentd/agentd.h"

#define LABEL "ployz."

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

static bool is_one_of(const char *status, const char *const *list)
{
	for (; *list; list++)
		if (streq(status, *list))
			return true;
	return false;
}

/* Docker's states, and those that Podman has besides: configured, initialized, stopped, stopping.
 */
static void read_state(const json_t *json, struct container_seen *seen)
{
	static const char *const made[] = { "created", "configured", "initialized", NULL };
	static const char *const runs[] = { "running", "paused", "stopping", NULL };
	const json_t *state = json_object_get(json, "State");
	const char *status =
		json_is_string(state) ? json_string_value(state) : text(state, "Status");

	seen->created = is_one_of(status, made);
	seen->running = is_one_of(status, runs);
	seen->started_at = xstrdup(text(state, "StartedAt"));
	seen->exit_code = -1;
	if (json_is_object(state) && !seen->running && !seen->created)
		seen->exit_code = json_integer_value(json_object_get(state, "ExitCode")) & 255;
}

static bool read_restarts(const json_t *json)
{
	const json_t *policy =
		json_object_get(json_object_get(json, "HostConfig"), "RestartPolicy");
	const char *name = text(policy, "Name");

	return name && *name && !streq(name, "no");
}

/* Labels are checked because their values become paths, subjects and entries of the store. */
static bool is_instance(const json_t *labels)
{
	const char *instance = label_get(labels, "instance");

	return instance && instance_id_valid(instance) &&
	       name_valid(label_get(labels, "namespace")) &&
	       name_valid(label_get(labels, "service"));
}

/* A port on all addresses has no address. */
static void add_host_port(struct container_seen *seen, int64_t number, bool udp,
			  const char *address)
{
	struct host_port *port;

	if (number <= 0 || number > 65535)
		return;
	if (!instance_address_valid(address) || streq(address, "0.0.0.0"))
		address = NULL;
	for (size_t i = 0; i < seen->n_host_ports; i++) {
		port = &seen->host_ports[i];
		if (port->port == number && (port->protocol == PROTOCOL_UDP) == udp &&
		    streq(port->address, address))
			return;
	}
	port = array_add(seen->host_ports, seen->n_host_ports);
	port->port = number;
	port->protocol = udp ? PROTOCOL_UDP : PROTOCOL_TCP;
	port->address = xstrdup(address);
}

static void read_instance(const json_t *json, const json_t *labels, struct container_seen *seen)
{
	struct instance *instance = codec_new(&instance_schema);
	const char *spec = label_get(labels, "spec");

	seen->instance = instance;
	instance->id = xstrdup(label_get(labels, "instance"));
	instance->container = xstrdup(seen->id);
	instance->ns = xstrdup(label_get(labels, "namespace"));
	instance->service = xstrdup(label_get(labels, "service"));
	instance->slot = label_int(labels, "slot", 0);
	instance->deploy = xstrdup(label_get(labels, "deploy"));
	instance->epoch = label_int(labels, "epoch", 0);
	instance->hash = xstrdup(label_get(labels, "hash"));
	instance->address = xstrdup(seen->address);
	/* A list has the id under ImageID, an inspection under Image. */
	instance->digest =
		xstrdup(text(json, "ImageID") ? text(json, "ImageID") : text(json, "Image"));
	instance->restarts = MAX2(json_integer_value(json_object_get(json, "RestartCount")), 0);
	instance->exit_code = seen->exit_code;
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

static void read_address(const json_t *json, const char *network, struct container_seen *seen)
{
	const json_t *networks =
		json_object_get(json_object_get(json, "NetworkSettings"), "Networks");
	const char *address = text(json_object_get(networks, network), "IPAddress");

	seen->address = instance_address_valid(address) ? xstrdup(address) : NULL;
}

/* An inspection has one name, a list several; each begins with a slash. */
static void read_name(const json_t *json, struct container_seen *seen)
{
	const char *name = text(json, "Name");

	if (!name)
		name = json_string_value(json_array_get(json_object_get(json, "Names"), 0));
	seen->name = xstrdup(name && *name == '/' ? name + 1 : name);
}

void container_read(const json_t *json, const char *network, struct container_seen *ret)
{
	const json_t *labels = json_object_get(json, "Labels"),
		     *ports = json_object_get(json, "Ports");
	const char *run;
	const json_t *port;
	size_t i;

	*ret = (struct container_seen){ 0 };
	if (!labels)
		labels = json_object_get(json_object_get(json, "Config"), "Labels");
	ret->id = xstrdup(text(json, "Id"));
	ret->machine = xstrdup(label_get(labels, "machine"));
	run = label_get(labels, "run");
	ret->run = run && instance_id_valid(run) ? xstrdup(run) : NULL;
	read_name(json, ret);
	read_state(json, ret);
	read_address(json, network, ret);
	ret->engine_restarts = read_restarts(json);
	json_array_foreach (ports, i, port)
		add_host_port(ret, json_integer_value(json_object_get(port, "PublicPort")),
			      streq(text(port, "Type"), "udp"), text(port, "IP"));
	if (!run && is_instance(labels))
		read_instance(json, labels, ret);
}

void container_clear(struct container_seen *seen)
{
	free(seen->id);
	free(seen->name);
	free(seen->machine);
	instance_free(seen->instance);
	service_free(seen->service);
	free(seen->run);
	free(seen->started_at);
	free(seen->address);
	for (size_t i = 0; i < seen->n_host_ports; i++)
		codec_clear(&host_port_schema, &seen->host_ports[i]);
	free(seen->host_ports);
	*seen = (struct container_seen){ 0 };
}
