/* Network: the containers' bridge, made from the subnet of this machine's member record. */
#include "agentd/agentd.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <stdio.h>

#define BRIDGE_OPTION "com.docker.network.bridge.name"

char *network_bridge_address(const char *subnet)
{
	struct in_addr address;
	char text[INET_ADDRSTRLEN];
	const char *slash = strchr(subnet, '/');
	_cleanup_free_ char *base = NULL;

	if (!streq(slash, "/24"))
		return NULL;
	base = xstrndup(subnet, (size_t)(slash - subnet));
	if (inet_pton(AF_INET, base, &address) != 1 || (ntohl(address.s_addr) & 0xff))
		return NULL;
	address.s_addr = htonl(ntohl(address.s_addr) + 1);
	return xstrdup(inet_ntop(AF_INET, &address, text, sizeof(text)));
}

void network_new(struct agentd *agentd)
{
	agentd->network.agentd = agentd;
	agentd->network.error = xstrdup("the store has no member record of this machine yet");
}

void network_free(struct network *network)
{
	stream_follow_free(network->follow);
	engine_cancel(network->request);
	free(network->subnet);
	free(network->address);
	free(network->error);
}

static void set_error(struct network *network, char *why)
{
	bool news = !streq(network->error, why);

	network->ready = false;
	free(network->error);
	network->error = why;
	if (news)
		log_warning("cannot start containers: %s", network->error);
	agentd_update_status(network->agentd);
}

static void is_ready(struct network *network)
{
	free(steal(network->error));
	if (!network->ready)
		log_info("containers' network %s: bridge %s, %s", network->agentd->config->network,
			 network->agentd->config->bridge, network->subnet);
	network->ready = true;
	agentd_update_status(network->agentd);
	agentd_take_up(network->agentd);
}

static void on_created(const struct engine_answer *answer, void *userdata)
{
	struct network *network = userdata;

	network->request = NULL;
	if (answer->error < 0)
		return;
	if (engine_ok(answer))
		is_ready(network);
	else
		set_error(network,
			  xasprintf("the engine cannot make the network %s (%s, bridge %s): %s",
				    network->agentd->config->network, network->subnet,
				    network->agentd->config->bridge, answer->message));
}

/* Another link of this machine that has the bridge's address (left behind by an engine that ended,
 * say): packets to the containers would go there. Owned by the caller; NULL: there is none. */
static char *other_link(const struct network *network)
{
	struct ifaddrs *all = NULL;
	char *other = NULL, text[INET_ADDRSTRLEN];

	if (getifaddrs(&all) < 0)
		return NULL;
	for (const struct ifaddrs *i = all; i && !other; i = i->ifa_next) {
		const struct sockaddr_in *in =
			(const struct sockaddr_in *)(const void *)i->ifa_addr;

		if (in && in->sin_family == AF_INET &&
		    inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text)) &&
		    streq(text, network->address) &&
		    !streq(i->ifa_name, network->agentd->config->bridge))
			other = xstrdup(i->ifa_name);
	}
	freeifaddrs(all);
	return other;
}

static json_t *docker_network(const struct network *network)
{
	const struct agentd_config *config = network->agentd->config;

	return json_pack("{s:s, s:s, s:b, s:{s:s, s:[{s:s, s:s}]}, s:{s:s}, s:{s:s}}", "Name",
			 config->network, "Driver", "bridge", "CheckDuplicate", 1, "IPAM", "Driver",
			 "default", "Config", "Subnet", network->subnet, "Gateway",
			 network->address, "Options", BRIDGE_OPTION, config->bridge, "Labels",
			 "ployz.machine", config->daemon.machine);
}

/* By Podman's own interface, since Docker's has no field that turns its resolver off: it would
 * listen on the bridge's port 53, which is dnsd's, and where its program is not installed, Podman 5
 * does not get as far as starting a container again (measured with 5.4). */
static json_t *podman_network(const struct network *network)
{
	const struct agentd_config *config = network->agentd->config;

	return json_pack("{s:s, s:s, s:s, s:b, s:[{s:s, s:s}], s:{s:s}}", "name", config->network,
			 "driver", "bridge", "network_interface", config->bridge, "dns_enabled", 0,
			 "subnets", "subnet", network->subnet, "gateway", network->address,
			 "labels", "ployz.machine", config->daemon.machine);
}

static void create(struct network *network)
{
	const struct agentd_config *config = network->agentd->config;
	bool podman = network->agentd->engine->podman;
	_cleanup_free_ char *other = other_link(network);
	_cleanup_json_ json_t *body = podman ? podman_network(network) : docker_network(network);

	if (other) {
		set_error(network,
			  xasprintf("link %s has address %s, which the containers' network %s "
				    "needs; remove it (`ip link del %s`) if it is unused",
				    other, network->address, config->network, other));
		return;
	}
	engine_ask(network->agentd->engine, "POST",
		   podman ? "/libpod/networks/create" : "/networks/create", body, ENGINE_USEC,
		   on_created, network, &network->request);
}

static void on_deleted(const struct engine_answer *answer, void *userdata)
{
	struct network *network = userdata;

	network->request = NULL;
	if (answer->error < 0)
		return;
	if (engine_ok(answer))
		create(network);
	else
		set_error(network,
			  xasprintf("the engine cannot remove network %s, whose subnet is not "
				    "this machine's %s: %s",
				    network->agentd->config->network, network->subnet,
				    answer->message));
}

/* A network that agentd made for an earlier subnet is replaced while no container is attached to
 * it. Another one is not touched. */
static void differs(struct network *network, const json_t *json, const char *subnet,
		    const char *bridge)
{
	const struct agentd_config *config = network->agentd->config;
	const char *owner = json_string_value(
		json_object_get(json_object_get(json, "Labels"), "ployz.machine"));
	_cleanup_free_ char *path = xasprintf("/networks/%s", config->network);

	if (owner && json_object_size(json_object_get(json, "Containers")) == 0) {
		engine_ask(network->agentd->engine, "DELETE", path, NULL, ENGINE_USEC, on_deleted,
			   network, &network->request);
		return;
	}
	set_error(network, xasprintf("the engine's network %s has %s on %s, this machine has %s on "
				     "%s: remove it (docker network rm %s)",
				     config->network, subnet ? subnet : "no subnet",
				     bridge ? bridge : "another bridge", network->subnet,
				     config->bridge, config->network));
}

static void on_seen(const struct engine_answer *answer, void *userdata)
{
	struct network *network = userdata;
	const json_t *pool =
		json_array_get(json_object_get(json_object_get(answer->json, "IPAM"), "Config"), 0);
	const char *subnet = json_string_value(json_object_get(pool, "Subnet"));
	const char *bridge = json_string_value(
		json_object_get(json_object_get(answer->json, "Options"), BRIDGE_OPTION));

	network->request = NULL;
	if (answer->error < 0)
		return;
	if (answer->status == 404)
		create(network);
	else if (!engine_ok(answer))
		set_error(network, xasprintf("the engine does not show its network %s: %s",
					     network->agentd->config->network, answer->message));
	/* Podman does not show which bridge it is. */
	else if (!streq(subnet, network->subnet) ||
		 (bridge && !streq(bridge, network->agentd->config->bridge)))
		differs(network, answer->json, subnet, bridge);
	else
		is_ready(network);
}

void network_ensure(struct network *network)
{
	_cleanup_free_ char *path = NULL;

	if (!network->subnet || !network->agentd->engine->up || network->request)
		return;
	path = xasprintf("/networks/%s", network->agentd->config->network);
	engine_ask(network->agentd->engine, "GET", path, NULL, ENGINE_USEC, on_seen, network,
		   &network->request);
}

static void on_entry(const struct stream_entry *entry, void *userdata)
{
	struct network *network = userdata;
	struct failure failure = FAILURE_INIT;
	struct member *member = NULL;
	_cleanup_free_ char *address = NULL;

	if (codec_parse(&member_schema, entry->data, entry->size, CODEC_LENIENT, (void **)&member,
			&failure) < 0) {
		log_warning("cannot decode entry %llu on %s: %s%s%s; the subnet stays as it was",
			    (unsigned long long)entry->sequence, entry->subject,
			    failure.path ? failure.path : "", failure.path ? ": " : "",
			    failure.message);
		failure_clear(&failure);
		return;
	}
	address = member->subnet ? network_bridge_address(member->subnet) : NULL;
	if (!address) {
		set_error(network,
			  xasprintf("this machine's member record has no subnet a.b.c.0/24 (%s)",
				    member->subnet ? member->subnet : "none"));
	} else if (!streq(member->subnet, network->subnet)) {
		network->ready = false;
		free(network->subnet);
		free(network->address);
		network->subnet = xstrdup(member->subnet);
		network->address = steal(address);
		network_ensure(network);
	}
	member_free(member);
}

static void on_live(_unused_ uint64_t sequence, void *userdata)
{
	struct network *network = userdata;

	if (!network->subnet)
		log_notice("cannot start containers: %s; waiting for it", network->error);
	agentd_update_status(network->agentd);
}

void network_start(struct network *network)
{
	static const struct stream_follow_ops ops = { .entry = on_entry, .live = on_live };
	_cleanup_free_ char *filter =
		subject_make(SUBJECT_MEMBER, network->agentd->config->daemon.machine, NULL);
	const char *const filters[] = { filter, NULL };
	const struct stream_follow_options options = {
		.domain = STORE_DOMAIN,
		.stream = STREAM_INTENT,
		.filters = filters,
		.from = STREAM_FROM_LAST_PER_SUBJECT,
	};

	network->follow = stream_follow_new(network->agentd->daemon->bus, &options, &ops, network);
}
