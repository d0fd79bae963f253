#include "lib/model/namespace.h"

#include "lib/model/route.h"
#include "lib/str.h"

static const struct codec_field slot_fields[] = {
	FIELD(struct slot, slot, CODEC_INT, .flags = CODEC_REQUIRED,
	      .note = "number of the replica, from 0"),
	FIELD(struct slot, instance, CODEC_STRING, .flags = CODEC_REQUIRED),
	FIELD(struct slot, machine, CODEC_STRING, .flags = CODEC_REQUIRED),
	FIELD(struct slot, address, CODEC_STRING, .note = "IPv4 when it was committed"),
	FIELD(struct slot, deploy, CODEC_STRING, .note = "deploy that started the instance"),
	FIELD(struct slot, hash, CODEC_STRING, .note = "service hash of the instance"),
	FIELD_END,
};
const struct codec_schema slot_schema = { .name = "slot",
					  .size = sizeof(struct slot),
					  .fields = slot_fields };

static const struct codec_field head_service_fields[] = {
	FIELD(struct head_service, name, CODEC_NAME, .flags = CODEC_REQUIRED),
	FIELD(struct head_service, digest, CODEC_STRING, .note = "of the image"),
	FIELD_LIST(struct head_service, ports, n_ports, CODEC_MAP, &port_schema),
	FIELD(struct head_service, stop_grace, CODEC_DURATION, .initial = 10 * 1000000),
	FIELD_LIST(struct head_service, slots, n_slots, CODEC_LIST, &slot_schema),
	FIELD_END,
};
const struct codec_schema head_service_schema = {
	.name = "head_service",
	.size = sizeof(struct head_service),
	.fields = head_service_fields,
};

static const struct codec_field head_route_fields[] = {
	FIELD(struct head_route, key, CODEC_STRING, .flags = CODEC_REQUIRED,
	      .note = "host and path, or tcp/port"),
	FIELD(struct head_route, service, CODEC_NAME, .flags = CODEC_REQUIRED),
	FIELD(struct head_route, port, CODEC_NAME, .flags = CODEC_REQUIRED,
	      .note = "a name of the service's ports"),
	FIELD(struct head_route, host, CODEC_STRING, .note = "http"),
	FIELD(struct head_route, path, CODEC_STRING, .note = "http"),
	FIELD(struct head_route, strip, CODEC_BOOL, .flags = CODEC_OMIT, .note = "http"),
	FIELD(struct head_route, listen, CODEC_INT, .flags = CODEC_OMIT, .max = 65535,
	      .note = "tcp"),
	FIELD_END,
};
static const struct codec_schema head_route_schema = {
	.name = "head_route",
	.size = sizeof(struct head_route),
	.fields = head_route_fields,
};

static const struct codec_field head_volume_fields[] = {
	FIELD(struct head_volume, name, CODEC_NAME, .flags = CODEC_REQUIRED),
	FIELD(struct head_volume, machine, CODEC_NAME, .flags = CODEC_REQUIRED,
	      .note = "machine that has its data"),
	FIELD(struct head_volume, mode, CODEC_ENUM, .flags = CODEC_OMIT,
	      .names = volume_mode_names),
	FIELD(struct head_volume, driver, CODEC_ENUM, .flags = CODEC_OMIT,
	      .names = volume_driver_names),
	FIELD(struct head_volume, generation, CODEC_INT, .min = 1, .max = INT64_MAX, .initial = 1,
	      .note = "raised when the data moves or is restored"),
	FIELD_END,
};
const struct codec_schema head_volume_schema = {
	.name = "head_volume",
	.size = sizeof(struct head_volume),
	.fields = head_volume_fields,
};

static const struct codec_field open_deploy_fields[] = {
	FIELD(struct open_deploy, deploy, CODEC_STRING, .flags = CODEC_REQUIRED),
	FIELD(struct open_deploy, epoch, CODEC_INT, .flags = CODEC_REQUIRED),
	FIELD(struct open_deploy, generation, CODEC_INT, .note = "of the store"),
	FIELD(struct open_deploy, machine, CODEC_STRING, .note = "whose leased executes it"),
	FIELD(struct open_deploy, verb, CODEC_STRING),
	FIELD_KEY(struct open_deploy, operator_, "operator", CODEC_STRING),
	FIELD(struct open_deploy, since, CODEC_STRING),
	FIELD_END,
};
const struct codec_schema open_deploy_schema = {
	.name = "open_deploy",
	.size = sizeof(struct open_deploy),
	.fields = open_deploy_fields,
};

static const struct codec_field head_fields[] = {
	FIELD_KEY(struct head, ns, "namespace", CODEC_NAME, .flags = CODEC_REQUIRED),
	FIELD(struct head, revision, CODEC_INT,
	      .note = "raised by each commit; 0: nothing was ever committed"),
	FIELD(struct head, committed, CODEC_INT, .flags = CODEC_OMIT,
	      .note = "sequence of the entry that committed this state; absent: this entry itself"),
	FIELD(struct head, deploy, CODEC_STRING, .note = "deploy that committed this state"),
	FIELD(struct head, verb, CODEC_STRING),
	FIELD_KEY(struct head, operator_, "operator", CODEC_STRING),
	FIELD(struct head, from, CODEC_STRING, .note = "the machine that the command was given on"),
	FIELD(struct head, why, CODEC_STRING),
	FIELD(struct head, at, CODEC_STRING),
	FIELD(struct head, writer, CODEC_STRING, .note = "the deploy that wrote this entry"),
	FIELD(struct head, epoch, CODEC_INT, .note = "of that deploy"),
	FIELD(struct head, generation, CODEC_INT, .note = "of the store"),
	FIELD(struct head, nonce, CODEC_STRING, .note = "by which the writer identifies its entry"),
	FIELD(struct head, hash, CODEC_STRING, .note = "of the committed manifest"),
	FIELD(struct head, release, CODEC_INT, .flags = CODEC_OMIT,
	      .note = "sequence of that manifest in PLOYZ_MANIFESTS"),
	FIELD(struct head, release_number, CODEC_INT, .flags = CODEC_OMIT,
	      .note = "of that entry in the namespace"),
	FIELD(struct head, facts, CODEC_INT, .flags = CODEC_OMIT,
	      .note = "PLOYZ_FACTS up to which the committed instances were ready"),
	FIELD_LIST(struct head, services, n_services, CODEC_LIST, &head_service_schema),
	FIELD_LIST(struct head, routes, n_routes, CODEC_LIST, &head_route_schema),
	FIELD_LIST(struct head, grants, n_grants, CODEC_LIST, &grant_schema),
	FIELD_LIST(struct head, volumes, n_volumes, CODEC_LIST, &head_volume_schema),
	FIELD(struct head, open, CODEC_POINTER, .schema = &open_deploy_schema,
	      .note = "the deploy that is open; absent: none"),
	FIELD(struct head, outcome, CODEC_STRING, .note = "outcome of the deploy that was open"),
	FIELD_END,
};
const struct codec_schema head_schema = { .name = "head",
					  .size = sizeof(struct head),
					  .fields = head_fields };

uint64_t head_committed(const struct head *head, uint64_t sequence)
{
	if (!head->revision)
		return 0;
	return head->committed ? (uint64_t)head->committed : sequence;
}

const struct head_service *head_service(const struct head *head, const char *name)
{
	for (size_t i = 0; i < head->n_services; i++)
		if (streq(head->services[i].name, name))
			return &head->services[i];
	return NULL;
}

const struct slot *head_instance(const struct head *head, const char *instance,
				 const struct head_service **ret_service)
{
	for (size_t i = 0; instance && i < head->n_services; i++)
		for (size_t j = 0; j < head->services[i].n_slots; j++)
			if (streq(head->services[i].slots[j].instance, instance)) {
				if (ret_service)
					*ret_service = &head->services[i];
				return &head->services[i].slots[j];
			}
	return NULL;
}

const struct port *head_service_port(const struct head_service *service, const char *name)
{
	for (size_t i = 0; i < service->n_ports; i++)
		if (streq(service->ports[i].name, name))
			return &service->ports[i];
	return NULL;
}

const struct head_volume *head_volume(const struct head *head, const char *name,
				      const char *machine)
{
	for (size_t i = 0; i < head->n_volumes; i++)
		if (streq(head->volumes[i].name, name) &&
		    (!machine || streq(head->volumes[i].machine, machine)))
			return &head->volumes[i];
	return NULL;
}

const struct head_route *head_route(const struct head *head, const char *key)
{
	for (size_t i = 0; i < head->n_routes; i++)
		if (streq(head->routes[i].key, key))
			return &head->routes[i];
	return NULL;
}

bool head_may_serve(const struct head *head, const struct watermark *applied)
{
	return head->generation != applied->generation || applied->facts >= head->facts;
}

static void take_http(struct head *head, const struct service *service,
		      const struct http_route *http)
{
	for (char **host = http->hosts; host && *host; host++) {
		struct head_route *route = array_add(head->routes, head->n_routes);

		route->key = route_key_http(*host, http->path);
		route->service = xstrdup(service->name);
		route->port = xstrdup(http->port);
		route->host = xstrdup(*host);
		route->path = xstrdup(http->path);
		route->strip = http->strip;
	}
}

static void take_tcp(struct head *head, const struct service *service, const struct tcp_route *tcp)
{
	struct head_route *route = array_add(head->routes, head->n_routes);

	route->key = route_key_tcp(tcp->listen);
	route->service = xstrdup(service->name);
	route->port = xstrdup(tcp->port);
	route->listen = tcp->listen;
}

void head_take_routes(struct head *head, const struct manifest *manifest)
{
	for (size_t i = 0; i < head->n_routes; i++)
		codec_clear(&head_route_schema, &head->routes[i]);
	free(steal(head->routes));
	head->n_routes = 0;
	for (size_t i = 0; i < head->n_grants; i++)
		codec_clear(&grant_schema, &head->grants[i]);
	free(steal(head->grants));
	head->n_grants = 0;
	for (size_t i = 0; i < manifest->n_services; i++) {
		const struct service *service = &manifest->services[i];

		for (size_t j = 0; j < service->n_routes; j++) {
			if (service->routes[j].http)
				take_http(head, service, service->routes[j].http);
			if (service->routes[j].tcp)
				take_tcp(head, service, service->routes[j].tcp);
		}
	}
	for (size_t i = 0; i < manifest->grants.count; i++)
		codec_copy_into(&grant_schema, array_add(head->grants, head->n_grants),
				&manifest->grants.items[i]);
}
