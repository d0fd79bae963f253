/* Host: the machines while a plan is made, with their reserved and free capacity. */
#include "placerd/placerd.h"

static int compare_hosts(const void *a, const void *b)
{
	const struct host *x = a, *y = b;

	return strcmp(x->view->member->id, y->view->member->id);
}

bool instance_runs(const struct instance *instance)
{
	return instance->state == INSTANCE_READY || instance->state == INSTANCE_STARTING ||
	       instance->state == INSTANCE_UNREADY;
}

static int compare_id(const void *id, const void *host)
{
	return strcmp(id, ((const struct host *)host)->view->member->id);
}

struct host *host_find(const struct planning *planning, const char *machine)
{
	if (!machine)
		return NULL;
	return bsearch(machine, planning->hosts, planning->n_hosts, sizeof(*planning->hosts),
		       compare_id);
}

const struct instance *host_instance(const struct host *host, const char *id)
{
	const struct probe *probe = host->view->probe;

	for (size_t i = 0; probe && i < probe->n_instances; i++)
		if (streq(probe->instances[i].id, id))
			return &probe->instances[i];
	return NULL;
}

static const char *image_id(const struct host *host, const char *image)
{
	const struct probe *probe = host->view->probe;

	for (size_t i = 0; probe && i < probe->n_images; i++)
		if (streq(probe->images[i].image, image))
			return probe->images[i].digest;
	return NULL;
}

bool host_has_image(const struct host *host, const char *image)
{
	return image_id(host, image);
}

bool host_has_digest(const struct host *host, const char *digest)
{
	const struct probe *probe = host->view->probe;

	for (size_t i = 0; probe && i < probe->n_images; i++)
		if (streq(probe->images[i].digest, digest))
			return true;
	return false;
}

const char *host_digest(const struct host *host, const struct placing *placing)
{
	const struct service *service = placing->service;

	if (placing->pinned)
		return host_has_digest(host, placing->pinned) ? placing->pinned : NULL;
	return service->pull == PULL_ALWAYS ? NULL : image_id(host, service->image);
}

static void add_claim(struct host *host, int64_t port, int protocol, char *owner)
{
	*array_add(host->claims, host->n_claims) =
		(struct port_claim){ .port = port, .protocol = protocol, .owner = owner };
}

void host_claim(struct host *host, const char *ns, const struct service *service)
{
	for (size_t i = 0; i < service->n_publish; i++) {
		const struct port *port = service_port(service, service->publish[i].port);

		add_claim(host, service->publish[i].host_port, port ? port->protocol : PROTOCOL_TCP,
			  xasprintf("%s/%s", ns, service->name));
	}
}

static void reserve(struct host *host, uint64_t memory, double cpus)
{
	host->memory_left -= (int64_t)MIN2(memory, (uint64_t)INT64_MAX / 2);
	host->cpus_left -= cpus;
}

void host_take(struct host *host, const char *ns, const struct service *service)
{
	reserve(host, service->resources.memory, service->resources.cpus);
	host->instances++;
	host_claim(host, ns, service);
}

void host_release(struct host *host, const struct service *service)
{
	host->memory_left += (int64_t)MIN2(service->resources.memory, (uint64_t)INT64_MAX / 2);
	host->cpus_left += service->resources.cpus;
	host->instances--;
}

/* Counts the instances that a committed head names and the machine has: running ones, and those
 * that a deploy is about to resume. `manifest` NULL: their requests are unknown. */
static void reserve_head(struct planning *planning, const struct head *head,
			 const struct manifest *manifest)
{
	for (size_t i = 0; i < head->n_services; i++) {
		const struct head_service *service = &head->services[i];
		const struct service *spec =
			manifest ? manifest_service(manifest, service->name) : NULL;

		for (size_t j = 0; j < service->n_slots; j++) {
			struct host *host = host_find(planning, service->slots[j].machine);
			const struct instance *seen =
				host ? host_instance(host, service->slots[j].instance) : NULL;

			if (!seen || (!instance_runs(seen) && seen->state != INSTANCE_STOPPED))
				continue;
			host->instances++;
			if (spec)
				reserve(host, spec->resources.memory, spec->resources.cpus);
		}
	}
}

/* A reservation whose deploy has committed is in its head's slots already. */
static bool reservation_counts(const struct plan_input *input,
			       const struct reservation *reservation)
{
	if (streq(reservation->ns, input->manifest->ns))
		return false;
	if (input->deploy && streq(reservation->deploy, input->deploy))
		return false;
	for (size_t i = 0; i < input->n_others; i++)
		if (streq(input->others[i].head->ns, reservation->ns))
			return !streq(input->others[i].head->deploy, reservation->deploy);
	return true;
}

static void take_reservations(struct planning *planning, struct host *host)
{
	const struct probe *probe = host->view->probe;

	for (size_t i = 0; i < probe->n_reservations; i++) {
		const struct reservation *reservation = &probe->reservations[i];

		if (!reservation_counts(planning->input, reservation))
			continue;
		reserve(host, reservation->memory, reservation->cpus);
		for (size_t j = 0; j < reservation->n_host_ports; j++) {
			const struct host_port *port = &reservation->host_ports[j];

			add_claim(host, port->port, port->protocol,
				  port->owner ? xstrdup(port->owner)
					      : xasprintf("%s/…", reservation->ns));
		}
	}
}

static const struct region *find_region(const struct plan_input *input, const char *name)
{
	for (size_t i = 0; i < input->n_regions; i++)
		if (streq(input->regions[i]->name, name))
			return input->regions[i];
	return NULL;
}

static void find_zone(struct planning *planning, size_t at)
{
	const struct member *member = planning->hosts[at].view->member;
	size_t i = 0;

	while (!streq(planning->hosts[i].view->member->region, member->region) ||
	       !streq(planning->hosts[i].view->member->zone, member->zone))
		i++;
	planning->hosts[at].zone = i;
}

void hosts_make(struct planning *planning)
{
	const struct plan_input *input = planning->input;

	planning->hosts = xcalloc(input->n_machines + 1, sizeof(*planning->hosts));
	planning->n_hosts = input->n_machines;
	for (size_t i = 0; i < input->n_machines; i++) {
		struct host *host = &planning->hosts[i];

		host->view = &input->machines[i];
		host->region = find_region(input, host->view->member->region);
		if (!host->view->probe)
			continue;
		host->memory_left =
			(int64_t)MIN2(host->view->probe->memory, (uint64_t)INT64_MAX / 2);
		host->cpus_left = (double)host->view->probe->cores;
		take_reservations(planning, host);
	}
	qsort(planning->hosts, planning->n_hosts, sizeof(*planning->hosts), compare_hosts);
	for (size_t i = 0; i < planning->n_hosts; i++)
		find_zone(planning, i);
	for (size_t i = 0; i < input->n_others; i++)
		reserve_head(planning, input->others[i].head, input->others[i].manifest);
	/* Without the committed manifest, the new one is the best estimate. */
	if (input->head)
		reserve_head(planning, input->head,
			     input->before ? input->before : input->manifest);
}

void hosts_free(struct planning *planning)
{
	for (size_t i = 0; i < planning->n_hosts; i++) {
		for (size_t j = 0; j < planning->hosts[i].n_claims; j++)
			free(planning->hosts[i].claims[j].owner);
		free(planning->hosts[i].claims);
	}
	free(planning->hosts);
}
