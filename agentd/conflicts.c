/* Conflicts (pure): whether two services need the same exclusive host port or volume. */
#include "agentd/agentd.h"

static int protocol_of(const struct service *service, const struct publish *publish)
{
	const struct port *port = service_port(service, publish->port);

	return port ? port->protocol : PROTOCOL_TCP;
}

static bool shares_host_port(const struct service *a, const struct service *b)
{
	for (size_t i = 0; i < a->n_publish; i++)
		for (size_t j = 0; j < b->n_publish; j++)
			if (a->publish[i].host_port == b->publish[j].host_port &&
			    protocol_of(a, &a->publish[i]) == protocol_of(b, &b->publish[j]))
				return true;
	return false;
}

static bool shares_volume(const struct service *a, const struct service *b)
{
	for (size_t i = 0; i < a->n_mounts; i++)
		for (size_t j = 0; a->mounts[i].volume && j < b->n_mounts; j++)
			if (streq(a->mounts[i].volume, b->mounts[j].volume))
				return true;
	return false;
}

/* Ports of the host's own network are as exclusive as published ones. */
static bool shares_network_port(const struct service *a, const struct service *b)
{
	if (!a->host_network || !b->host_network)
		return false;
	for (size_t i = 0; i < a->n_ports; i++)
		for (size_t j = 0; j < b->n_ports; j++)
			if (a->ports[i].port == b->ports[j].port &&
			    a->ports[i].protocol == b->ports[j].protocol)
				return true;
	return false;
}

bool services_conflict(const char *ns_a, const struct service *a, const char *ns_b,
		       const struct service *b)
{
	if (!a || !b)
		return false;
	return shares_host_port(a, b) || shares_network_port(a, b) ||
	       (streq(ns_a, ns_b) && shares_volume(a, b));
}
