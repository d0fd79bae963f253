#include "dnsd/dnsd.h"

#include <arpa/inet.h>
#include <stdio.h>

static size_t bucket_of(uint32_t address)
{
	/* Addresses of one cluster differ in their low 16 bits. */
	return (address ^ address >> 12) % ARRAY_SIZE(((struct zone *)NULL)->hosts);
}

static void drop_service(void *value)
{
	struct zone_service *service = value;

	for (size_t i = 0; i < service->n_slots; i++) {
		free(service->slots[i].instance);
		free(service->slots[i].machine);
		free(service->slots[i].deploy);
	}
	for (size_t i = 0; i < service->n_ports; i++)
		free(service->ports[i].name);
	free(service->slots);
	free(service->ports);
	free(service->name);
	free(service);
}

static void drop_facts(void *value)
{
	instances_free(value);
}

static void drop_namespace(void *value)
{
	struct zone_namespace *ns = value;

	map_clear(&ns->facts, drop_facts);
	map_clear(&ns->services, drop_service);
	head_free(ns->head);
	free(ns->trouble);
	free(ns->deploy);
	free(ns->ns);
	free(ns);
}

static struct zone_namespace *namespace_get(struct zone *zone, const char *name)
{
	struct zone_namespace *ns = map_get(&zone->namespaces, name);

	if (!ns) {
		ns = xcalloc(1, sizeof(*ns));
		ns->ns = xstrdup(name);
		map_put(&zone->namespaces, name, ns);
	}
	ns->dirty = true;
	return ns;
}

struct zone *zone_new(void)
{
	return xcalloc(1, sizeof(struct zone));
}

void zone_free(struct zone *zone)
{
	if (!zone)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(zone->hosts); i++) {
		while (zone->hosts[i]) {
			struct zone_host *host = zone->hosts[i];

			zone->hosts[i] = host->next;
			free(host->service);
			free(host);
		}
	}
	map_clear(&zone->namespaces, drop_namespace);
	for (size_t i = 0; i < zone->n_machines; i++)
		free(zone->machines[i].id);
	free(zone->machines);
	free(zone);
}

static uint32_t ipv4(const char *text)
{
	struct in_addr address;

	return text && inet_pton(AF_INET, text, &address) == 1 ? ntohl(address.s_addr) : 0;
}

static int take_machine(struct zone *zone, const char *id, const char *data, size_t size)
{
	_cleanup_(machine_freep) struct machine *record = NULL;
	_cleanup_free_ char *network = NULL;
	struct zone_machine *machine = NULL;
	int64_t bits = 24;
	void *parsed;
	char *slash;

	for (size_t i = 0; i < zone->n_machines; i++)
		if (streq(zone->machines[i].id, id))
			machine = &zone->machines[i];
	if (data) {
		if (codec_parse(&machine_schema, data, size, CODEC_LENIENT, &parsed, NULL) < 0)
			return -EBADMSG;
		record = parsed;
	}
	if (!record || !record->subnet || record->life_cycle == MACHINE_REMOVED) {
		if (machine) {
			free(machine->id);
			*machine = zone->machines[--zone->n_machines];
		}
		return 0;
	}
	network = xstrdup(record->subnet);
	slash = strchr(network, '/');
	if (slash) {
		*slash = '\0';
		if (int_parse(slash + 1, 8, 30, &bits) < 0)
			return -EBADMSG;
	}
	if (!ipv4(network))
		return -EBADMSG;
	if (!machine) {
		machine = array_add(zone->machines, zone->n_machines);
		machine->id = xstrdup(id);
	}
	machine->mask = UINT32_MAX << (32 - bits);
	machine->subnet = ipv4(network) & machine->mask;
	return 0;
}

static int take_head(struct zone *zone, const char *name, const char *data, size_t size)
{
	struct zone_namespace *ns = namespace_get(zone, name);
	struct failure failure = FAILURE_INIT;
	void *head = NULL;
	int r = 0;

	if (data)
		r = codec_parse(&head_schema, data, size, CODEC_LENIENT, &head, &failure);
	free(steal(ns->trouble));
	if (r < 0) {
		ns->trouble = xasprintf("the head cannot be read: %s%s%s",
					failure.path ? failure.path : "", failure.path ? ": " : "",
					failure.message);
		failure_clear(&failure);
		return -EBADMSG;
	}
	head_free(ns->head);
	ns->head = head;
	return 0;
}

static int take_facts(struct zone *zone, const char *machine, const char *name, const char *data,
		      size_t size)
{
	struct zone_namespace *ns = namespace_get(zone, name);
	struct failure failure = FAILURE_INIT;
	void *facts = NULL;
	int r = 0;

	if (data)
		r = codec_parse(&instances_schema, data, size, CODEC_LENIENT, &facts, &failure);
	if (r < 0) {
		free(ns->trouble);
		ns->trouble = xasprintf("the facts of %s cannot be read: %s%s%s", machine,
					failure.path ? failure.path : "", failure.path ? ": " : "",
					failure.message);
		failure_clear(&failure);
		return -EBADMSG;
	}
	instances_free(facts ? map_put(&ns->facts, machine, facts)
			     : map_remove(&ns->facts, machine));
	return 0;
}

int zone_entry(struct zone *zone, const char *subject, const char *data, size_t size)
{
	_cleanup_free_ char *a = NULL, *b = NULL;

	if (subject_match(SUBJECT_NAMESPACE, subject, &a, NULL))
		return take_head(zone, a, data, size);
	if (subject_match(SUBJECT_INSTANCES, subject, &a, &b))
		return take_facts(zone, a, b, data, size);
	if (subject_match(SUBJECT_MACHINE, subject, &a, NULL))
		return take_machine(zone, a, data, size);
	return 0;
}

static const struct instance *find_fact(const struct zone_namespace *ns, const struct slot *slot)
{
	const struct instances *facts = slot->machine ? map_get(&ns->facts, slot->machine) : NULL;

	return facts && slot->instance ? instances_find(facts, slot->instance) : NULL;
}

static void build_service(struct zone_namespace *ns, const struct head_service *from)
{
	struct zone_service *to = xcalloc(1, sizeof(*to));
	const struct service *spec =
		ns->head->manifest ? manifest_service(ns->head->manifest, from->name) : NULL;

	to->name = xstrdup(from->name);
	for (size_t i = 0; i < from->n_slots; i++) {
		const struct instance *fact = find_fact(ns, &from->slots[i]);
		struct zone_slot *slot = array_add(to->slots, to->n_slots);

		slot->slot = from->slots[i].slot;
		slot->instance = xstrdup(from->slots[i].instance);
		slot->machine = xstrdup(from->slots[i].machine);
		slot->deploy = xstrdup(from->slots[i].deploy);
		slot->state = fact ? fact->state : -1;
		/* A restarted container may have another address than it was committed with. */
		slot->address =
			ipv4(fact && fact->address ? fact->address : from->slots[i].address);
		slot->ready = fact && instance_is_routable((enum instance_state)fact->state) &&
			      slot->address;
		to->n_ready += slot->ready;
	}
	for (size_t i = 0; spec && i < spec->n_ports; i++) {
		struct zone_port *port = array_add(to->ports, to->n_ports);

		port->name = xstrdup(spec->ports[i].name);
		port->port = spec->ports[i].port;
		port->protocol = spec->ports[i].protocol;
	}
	/* Names are unique in a head; were they not, the last one stands. */
	to = map_put(&ns->services, from->name, to);
	if (to)
		drop_service(to);
}

static void forget_hosts(struct zone *zone, const struct zone_namespace *ns)
{
	for (size_t i = 0; i < ARRAY_SIZE(zone->hosts); i++) {
		struct zone_host **at = &zone->hosts[i];

		while (*at) {
			struct zone_host *host = *at;

			if (host->ns != ns) {
				at = &host->next;
				continue;
			}
			*at = host->next;
			free(host->service);
			free(host);
		}
	}
}

/* Candidates ask, too: who has an address is told by the facts alone, not by the head. */
static void build_hosts(struct zone *zone, struct zone_namespace *ns)
{
	for (struct map_item *item = NULL; (item = map_next(&ns->facts, item));) {
		const struct instances *facts = item->value;

		for (size_t i = 0; i < facts->n_instances; i++) {
			const struct instance *fact = &facts->instances[i];
			uint32_t address = ipv4(fact->address);
			struct zone_host *host;

			if (!address || fact->state == INSTANCE_GONE ||
			    fact->state == INSTANCE_FAILED || fact->state == INSTANCE_STOPPED)
				continue;
			host = xcalloc(1, sizeof(*host));
			host->address = address;
			host->ns = ns;
			host->service = xstrdup(fact->service);
			host->slot = fact->slot;
			host->state = fact->state;
			host->committed = ns->head && head_instance(ns->head, fact->id, NULL);
			host->next = zone->hosts[bucket_of(address)];
			zone->hosts[bucket_of(address)] = host;
		}
	}
}

static void build(struct zone *zone, struct zone_namespace *ns)
{
	map_clear(&ns->services, drop_service);
	free(steal(ns->deploy));
	ns->revision = 0;
	if (ns->head && ns->head->revision > 0) {
		ns->deploy = xstrdup(ns->head->deploy);
		ns->revision = ns->head->revision;
		for (size_t i = 0; i < ns->head->n_services; i++)
			build_service(ns, &ns->head->services[i]);
	}
	forget_hosts(zone, ns);
	build_hosts(zone, ns);
	ns->dirty = false;
}

size_t zone_settle(struct zone *zone)
{
	size_t changed = 0;

	for (struct map_item *item = NULL; (item = map_next(&zone->namespaces, item));) {
		struct zone_namespace *ns = item->value;

		if (!ns->dirty)
			continue;
		build(zone, ns);
		changed++;
		if (!ns->head && !ns->facts.count && !ns->trouble) {
			map_remove(&zone->namespaces, ns->ns);
			drop_namespace(ns);
		}
	}
	return changed;
}

const struct zone_namespace *zone_find(const struct zone *zone, const char *ns)
{
	return map_get(&zone->namespaces, ns);
}

const struct zone_service *zone_service(const struct zone_namespace *ns, const char *service)
{
	return map_get(&ns->services, service);
}

const struct zone_slot *zone_slot(const struct zone_service *service, int64_t slot)
{
	for (size_t i = 0; i < service->n_slots; i++)
		if (service->slots[i].slot == slot)
			return &service->slots[i];
	return NULL;
}

/* A dead machine's facts stand for ever, and its addresses may be given out again. */
static int rank(const struct zone_host *host)
{
	return (host->state == INSTANCE_READY ? 2 : 0) + (host->committed ? 1 : 0);
}

const struct zone_host *zone_host(const struct zone *zone, uint32_t address)
{
	const struct zone_host *best = NULL;

	for (const struct zone_host *host = zone->hosts[bucket_of(address)]; host;
	     host = host->next)
		if (host->address == address && (!best || rank(host) > rank(best)))
			best = host;
	return best;
}

bool zone_is_inside(const struct zone *zone, uint32_t address)
{
	for (size_t i = 0; i < zone->n_machines; i++)
		if ((address & zone->machines[i].mask) == zone->machines[i].subnet)
			return true;
	return false;
}

bool zone_bridge(const struct zone *zone, const char *machine, uint32_t *ret)
{
	for (size_t i = 0; i < zone->n_machines; i++) {
		if (!streq(zone->machines[i].id, machine))
			continue;
		*ret = zone->machines[i].subnet + 1;
		return true;
	}
	return false;
}
