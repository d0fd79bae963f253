/* Zone (pure): the last entries of heads, members and facts, and the tables that answer queries. */
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

	if (!service)
		return;
	for (size_t i = 0; i < service->n_slots; i++) {
		free(service->slots[i].instance);
		free(service->slots[i].machine);
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

static void drop_hosts(struct zone_namespace *ns)
{
	while (!LIST_EMPTY(&ns->hosts)) {
		struct zone_host *host = LIST_FIRST(&ns->hosts);

		LIST_REMOVE(host, in_namespace);
		LIST_REMOVE(host, in_bucket);
		free(host->service);
		free(host);
	}
}

static void drop_namespace(void *value)
{
	struct zone_namespace *ns = value;

	drop_hosts(ns);
	map_clear(&ns->facts, drop_facts);
	map_clear(&ns->services, drop_service);
	map_clear(&ns->candidates, drop_service);
	head_free(ns->head);
	head_free(ns->waiting);
	free(ns->deploy);
	free(ns->open);
	free(ns->ns);
	free(ns);
}

static void drop_error(void *value)
{
	struct zone_error *error = value;

	if (!error)
		return;
	free(error->ns);
	free(error->machine);
	free(error->text);
	free(error);
}

/* The caller is about to change it. */
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
	map_clear(&zone->namespaces, drop_namespace);
	map_clear(&zone->errors, drop_error);
	map_clear(&zone->removed, NULL);
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

/* Facts of a removed member count as absent, from the next zone_settle on. */
static void set_removed(struct zone *zone, const char *machine, bool removed)
{
	if (removed == (map_get(&zone->removed, machine) != NULL))
		return;
	if (removed)
		map_put(&zone->removed, machine, zone);
	else
		map_remove(&zone->removed, machine);
	for (struct map_item *item = NULL; (item = map_next(&zone->namespaces, item));) {
		struct zone_namespace *ns = item->value;

		ns->dirty = ns->dirty || map_get(&ns->facts, machine);
	}
}

static struct zone_machine *find_machine(const struct zone *zone, const char *id)
{
	for (size_t i = 0; i < zone->n_machines; i++)
		if (streq(zone->machines[i].id, id))
			return &zone->machines[i];
	return NULL;
}

static int parse_subnet(const char *text, uint32_t *ret_subnet, uint32_t *ret_mask)
{
	_cleanup_free_ char *network = xstrdup(text);
	char *slash = strchr(network, '/');
	int64_t bits = 24;

	if (slash)
		*slash = '\0';
	if ((slash && int_parse(slash + 1, 8, 30, &bits) < 0) || !ipv4(network))
		return -EBADMSG;
	*ret_mask = UINT32_MAX << (32 - bits);
	*ret_subnet = ipv4(network) & *ret_mask;
	return 0;
}

static int take_member(struct zone *zone, const char *id, const char *data, size_t size,
		       struct failure *failure)
{
	_cleanup_(member_freep) struct member *member = NULL;
	struct zone_machine *machine = find_machine(zone, id);
	uint32_t subnet = 0, mask = 0;
	void *parsed = NULL;

	if (data && codec_parse(&member_schema, data, size, CODEC_LENIENT, &parsed, failure) < 0)
		return -EBADMSG;
	member = parsed;
	if (member && member->subnet && member->life_cycle != MACHINE_REMOVED &&
	    parse_subnet(member->subnet, &subnet, &mask) < 0) {
		failure_set(failure, FAILURE_INVALID, NULL, "'%s' is not an IPv4 network",
			    member->subnet);
		failure_prefix(failure, "subnet");
		return -EBADMSG;
	}
	set_removed(zone, id, member && member->life_cycle == MACHINE_REMOVED);
	if (!subnet) {
		if (machine) {
			free(machine->id);
			*machine = zone->machines[--zone->n_machines];
		}
		return 0;
	}
	if (!machine) {
		machine = array_add(zone->machines, zone->n_machines);
		machine->id = xstrdup(id);
	}
	machine->mask = mask;
	machine->subnet = subnet;
	return 0;
}

static int take_head(struct zone *zone, const char *name, const char *data, size_t size,
		     bool effective, struct failure *failure)
{
	struct zone_namespace *ns = namespace_get(zone, name);
	struct head **to = effective || !data ? &ns->head : &ns->waiting;
	void *head = NULL;

	if (data && codec_parse(&head_schema, data, size, CODEC_LENIENT, &head, failure) < 0)
		return -EBADMSG;
	if (!data)
		head_free(steal(ns->waiting));
	head_free(*to);
	*to = head;
	return 0;
}

void zone_apply(struct zone *zone, const struct watermark *applied)
{
	for (struct map_item *item = NULL; (item = map_next(&zone->namespaces, item));) {
		struct zone_namespace *ns = item->value;

		if (!ns->waiting || (applied && !head_may_serve(ns->waiting, applied)))
			continue;
		head_free(ns->head);
		ns->head = steal(ns->waiting);
		ns->dirty = true;
	}
}

bool zone_waits(const struct zone *zone, const char *name)
{
	const struct zone_namespace *ns = name ? zone_find(zone, name) : NULL;

	if (name)
		return ns && ns->waiting;
	for (struct map_item *item = NULL; (item = map_next(&zone->namespaces, item));) {
		ns = item->value;
		if (ns->waiting)
			return true;
	}
	return false;
}

static int take_facts(struct zone *zone, const char *machine, const char *name, const char *data,
		      size_t size, struct failure *failure)
{
	struct zone_namespace *ns = namespace_get(zone, name);
	void *facts = NULL;

	if (data && codec_parse(&instances_schema, data, size, CODEC_LENIENT, &facts, failure) < 0)
		return -EBADMSG;
	instances_free(facts ? map_put(&ns->facts, machine, facts)
			     : map_remove(&ns->facts, machine));
	return 0;
}

/* `effective`: a head takes effect at once. */
static int take(struct zone *zone, const char *subject, const char *data, size_t size,
		bool effective, char **ret_ns, char **ret_machine, struct failure *failure)
{
	int r = 0;

	if (subject_match(SUBJECT_NAMESPACE, subject, ret_ns, NULL))
		r = take_head(zone, *ret_ns, data, size, effective, failure);
	else if (subject_match(SUBJECT_INSTANCES, subject, ret_machine, ret_ns))
		r = take_facts(zone, *ret_machine, *ret_ns, data, size, failure);
	else if (subject_match(SUBJECT_MEMBER, subject, ret_machine, NULL))
		r = take_member(zone, *ret_machine, data, size, failure);
	else
		return 0;
	return r < 0 ? r : 1;
}

static void set_error(struct zone *zone, const char *subject, uint64_t sequence, char *ns,
		      char *machine, const struct failure *failure)
{
	struct zone_error *error = xcalloc(1, sizeof(*error));

	error->ns = xstrdup(ns);
	error->machine = xstrdup(machine);
	error->text = xasprintf("entry %llu on %s: %s%s%s", (unsigned long long)sequence, subject,
				failure->path ? failure->path : "", failure->path ? ": " : "",
				failure->message);
	drop_error(map_put(&zone->errors, subject, error));
}

int zone_entry(struct zone *zone, const char *subject, uint64_t sequence, const char *data,
	       size_t size)
{
	_cleanup_free_ char *ns = NULL, *machine = NULL;
	struct failure failure = FAILURE_INIT;
	int r = take(zone, subject, data, size, false, &ns, &machine, &failure);

	if (r < 0)
		set_error(zone, subject, sequence, ns, machine, &failure);
	else if (r > 0)
		drop_error(map_remove(&zone->errors, subject));
	failure_clear(&failure);
	return r;
}

int zone_restore(struct zone *zone, const char *subject, const char *data, size_t size)
{
	_cleanup_free_ char *ns = NULL, *machine = NULL;

	return take(zone, subject, data, size, true, &ns, &machine, NULL);
}

const char *zone_error(const struct zone *zone, const char *subject)
{
	const struct zone_error *error = map_get(&zone->errors, subject);

	return error ? error->text : NULL;
}

const char *zone_held(const struct zone *zone, const char *ns)
{
	for (struct map_item *item = NULL; (item = map_next(&zone->errors, item));) {
		const struct zone_error *error = item->value;

		if ((!ns || streq(error->ns, ns)) &&
		    !(error->ns && error->machine && map_get(&zone->removed, error->machine)))
			return error->text;
	}
	return NULL;
}

static void slot_set(struct zone_slot *slot, int64_t number, const char *instance,
		     const char *machine)
{
	slot->slot = number;
	slot->instance = xstrdup(instance);
	slot->machine = xstrdup(machine);
	slot->state = -1;
}

static void slot_take_fact(struct zone_slot *slot, const struct instance *fact)
{
	/* A restarted container may have another address than it was committed with. */
	if (fact->address)
		slot->address = ipv4(fact->address);
	slot->state = fact->state;
	slot->ready = instance_is_routable((enum instance_state)fact->state) && slot->address;
	slot->running = slot->ready || (slot->address && (fact->state == INSTANCE_STARTING ||
							  fact->state == INSTANCE_UNREADY));
}

static void service_set_ports(struct zone_service *service, const struct port *ports, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct zone_port *port = array_add(service->ports, service->n_ports);

		port->name = xstrdup(ports[i].name);
		port->port = ports[i].port;
		port->protocol = ports[i].protocol;
	}
}

static void build_service(struct zone_namespace *ns, const struct head_service *from)
{
	struct zone_service *service = xcalloc(1, sizeof(*service));

	service->name = xstrdup(from->name);
	for (size_t i = 0; i < from->n_slots; i++) {
		struct zone_slot *slot = array_add(service->slots, service->n_slots);

		slot_set(slot, from->slots[i].slot, from->slots[i].instance,
			 from->slots[i].machine);
		slot->address = ipv4(from->slots[i].address);
	}
	service_set_ports(service, from->ports, from->n_ports);
	/* Names are unique in a valid head; of duplicates the last one counts. */
	drop_service(map_put(&ns->services, from->name, service));
}

static void build_candidate(struct zone_namespace *ns, const char *machine,
			    const struct instance *fact)
{
	struct zone_service *service = map_get(&ns->candidates, fact->service);
	struct zone_slot *slot;

	if (!service) {
		service = xcalloc(1, sizeof(*service));
		service->name = xstrdup(fact->service);
		map_put(&ns->candidates, fact->service, service);
	}
	/* A pre_deploy container has no service name. */
	if (fact->slot < 0)
		return;
	if (!service->n_ports)
		service_set_ports(service, fact->ports, fact->n_ports);
	slot = array_add(service->slots, service->n_slots);
	slot_set(slot, fact->slot, fact->id, machine);
	slot_take_fact(slot, fact);
}

static void build_host(struct zone *zone, struct zone_namespace *ns, const struct instance *fact,
		       enum zone_role role)
{
	uint32_t address = ipv4(fact->address);
	struct zone_host *host;

	if (!address || fact->state == INSTANCE_GONE || fact->state == INSTANCE_FAILED ||
	    fact->state == INSTANCE_STOPPED)
		return;
	host = xcalloc(1, sizeof(*host));
	host->address = address;
	host->ns = ns;
	host->service = xstrdup(fact->service);
	host->slot = fact->slot;
	host->state = fact->state;
	host->role = role;
	LIST_INSERT_HEAD(&zone->hosts[bucket_of(address)], host, in_bucket);
	LIST_INSERT_HEAD(&ns->hosts, host, in_namespace);
}

/* `named`: instance → struct zone_slot of the committed head. */
static void build_facts(struct zone *zone, struct zone_namespace *ns, const struct map *named)
{
	for (struct map_item *item = NULL; (item = map_next(&ns->facts, item));) {
		const struct instances *facts = item->value;

		if (map_get(&zone->removed, item->key))
			continue;
		for (size_t i = 0; i < facts->n_instances; i++) {
			const struct instance *fact = &facts->instances[i];
			struct zone_slot *slot = map_get(named, fact->id);
			enum zone_role role = ZONE_OTHER;

			if (slot && streq(slot->machine, item->key)) {
				role = ZONE_COMMITTED;
				slot_take_fact(slot, fact);
			} else if (ns->open && streq(fact->deploy, ns->open)) {
				role = ZONE_CANDIDATE;
				build_candidate(ns, item->key, fact);
			}
			build_host(zone, ns, fact, role);
		}
	}
}

/* By number; of two with one number the one that can be used comes first. */
static int slot_compare(const void *left, const void *right)
{
	const struct zone_slot *a = left, *b = right;

	if (a->slot != b->slot)
		return a->slot < b->slot ? -1 : 1;
	return (b->ready * 2 + b->running) - (a->ready * 2 + a->running);
}

static void candidate_finish(struct zone_service *service)
{
	size_t kept = 0;

	if (service->n_slots)
		qsort(service->slots, service->n_slots, sizeof(*service->slots), slot_compare);
	for (size_t i = 0; i < service->n_slots; i++) {
		if (kept && service->slots[kept - 1].slot == service->slots[i].slot) {
			free(service->slots[i].instance);
			free(service->slots[i].machine);
			continue;
		}
		service->slots[kept++] = service->slots[i];
	}
	service->n_slots = kept;
}

static void service_count(struct zone_service *service)
{
	for (size_t i = 0; i < service->n_slots; i++) {
		service->n_ready += service->slots[i].ready;
		service->n_running += service->slots[i].running;
	}
}

static void name_slots(const struct map *services, struct map *named)
{
	for (struct map_item *item = NULL; (item = map_next(services, item));) {
		struct zone_service *service = item->value;

		for (size_t i = 0; i < service->n_slots; i++)
			map_put(named, service->slots[i].instance, &service->slots[i]);
	}
}

static void build(struct zone *zone, struct zone_namespace *ns)
{
	_cleanup_free_ char *subject = subject_make(SUBJECT_NAMESPACE, ns->ns, NULL);
	struct map named = MAP_INIT;

	drop_hosts(ns);
	map_clear(&ns->services, drop_service);
	map_clear(&ns->candidates, drop_service);
	free(steal(ns->deploy));
	free(steal(ns->open));
	ns->revision = 0;
	ns->unknown = !ns->head && (ns->waiting || zone_error(zone, subject));
	if (ns->head && ns->head->revision > 0) {
		ns->deploy = xstrdup(ns->head->deploy);
		ns->revision = ns->head->revision;
		for (size_t i = 0; i < ns->head->n_services; i++)
			build_service(ns, &ns->head->services[i]);
	}
	if (ns->head && ns->head->open)
		ns->open = xstrdup(ns->head->open->deploy);
	name_slots(&ns->services, &named);
	build_facts(zone, ns, &named);
	map_clear(&named, NULL);
	for (struct map_item *item = NULL; (item = map_next(&ns->services, item));)
		service_count(item->value);
	for (struct map_item *item = NULL; (item = map_next(&ns->candidates, item));) {
		candidate_finish(item->value);
		service_count(item->value);
	}
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
		if (!ns->head && !ns->waiting && !ns->facts.count && !ns->unknown) {
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

const struct zone_service *zone_candidate(const struct zone_namespace *ns, const char *service)
{
	return map_get(&ns->candidates, service);
}

const struct zone_slot *zone_slot(const struct zone_service *service, int64_t slot)
{
	for (size_t i = 0; i < service->n_slots; i++)
		if (service->slots[i].slot == slot)
			return &service->slots[i];
	return NULL;
}

/* Facts of an unreachable machine stay, and its addresses may be assigned again. */
static int rank(const struct zone_host *host)
{
	return (host->state == INSTANCE_READY ? 2 : 0) + (host->role != ZONE_OTHER ? 1 : 0);
}

const struct zone_host *zone_host(const struct zone *zone, uint32_t address)
{
	const struct zone_host *best = NULL, *host;

	LIST_FOREACH (host, &zone->hosts[bucket_of(address)], in_bucket)
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

bool zone_is_on(const struct zone *zone, const char *id, uint32_t address)
{
	const struct zone_machine *machine = find_machine(zone, id);

	return machine && (address & machine->mask) == machine->subnet;
}

bool zone_bridge(const struct zone *zone, const char *machine, uint32_t *ret)
{
	const struct zone_machine *found = find_machine(zone, machine);

	if (!found)
		return false;
	*ret = found->subnet + 1;
	return true;
}
