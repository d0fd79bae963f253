/* Filter: hard filters, each with the reason why a machine is not eligible for a service. */
#include "placerd/placerd.h"

typedef char *(*filter_fn)(const struct placing *placing, const struct host *host);

static char *by_life_cycle(_unused_ const struct placing *placing, const struct host *host)
{
	const struct machine_view *view = host->view;

	if (view->record_error)
		return xasprintf("its member record cannot be decoded: %s", view->record_error);
	if (view->member->life_cycle == MACHINE_ACTIVE)
		return NULL;
	return xasprintf("it is %s", life_cycle_names[view->member->life_cycle]);
}

static char *by_region(_unused_ const struct placing *placing, const struct host *host)
{
	const struct region *region = host->region;

	if (!region || (region->role != REGION_DRAINING && region->role != REGION_DISABLED))
		return NULL;
	return xasprintf("its region %s is %s", region->name, region_role_names[region->role]);
}

static char *by_engine(_unused_ const struct placing *placing, const struct host *host)
{
	const struct machine_view *view = host->view;
	const char *error = view->probe ? view->probe->engine_error : view->probe_error;

	if (view->probe && view->probe->engine)
		return NULL;
	return xasprintf("%s: %s",
			 view->probe ? "its container engine cannot be reached"
				     : "it did not answer",
			 error ? error : "no reason known");
}

static char *not_among(const char *what, const char *value, char *const *wanted)
{
	_cleanup_free_ char *list = NULL;

	if (!wanted || !*wanted || (value && strv_contains(wanted, value)))
		return NULL;
	list = strv_join(wanted, ", ");
	return xasprintf("its %s is %s, the service is for %s", what, value ? value : "not known",
			 list);
}

static char *by_labels(const struct placement *placement, const struct member *member)
{
	for (size_t i = 0; i < placement->labels.count; i++) {
		const struct pair *wanted = &placement->labels.items[i];
		const char *value = pairs_get(&member->labels, wanted->key);

		if (streq(wanted->key, "arch") && !value)
			continue;
		if (!value)
			return xasprintf("it has no label %s", wanted->key);
		if (!streq(value, wanted->value))
			return xasprintf("its label %s is %s, not %s", wanted->key, value,
					 wanted->value);
	}
	return NULL;
}

static char *by_placement(const struct placing *placing, const struct host *host)
{
	const struct placement *placement = &placing->service->placement;
	const struct member *member = host->view->member;
	char *why = NULL;

	if (!member->name || !strv_contains(placement->machines, member->name))
		why = not_among("id", member->id, placement->machines);
	if (!why)
		why = not_among("region", member->region, placement->regions);
	if (!why)
		why = not_among("zone", member->zone, placement->zones);
	return why ? why : by_labels(placement, member);
}

/* The label `arch` need not be set: the engine reports it. */
static char *by_arch(const struct placing *placing, const struct host *host)
{
	const char *wanted = pairs_get(&placing->service->placement.labels, "arch");
	const char *arch = host->view->probe->arch;

	if (!wanted || pairs_get(&host->view->member->labels, "arch") || streq(arch, wanted))
		return NULL;
	return xasprintf("its architecture is %s, not %s", arch ? arch : "not known", wanted);
}

static char *by_volume(const struct placing *placing, const struct host *host)
{
	return volume_elsewhere(placing, host->view->member->id);
}

static char *by_image(const struct placing *placing, const struct host *host)
{
	const struct service *service = placing->service;

	if (placing->pinned) {
		/* A digest always names the same image; a tag may have moved. */
		if (host_has_digest(host, placing->pinned) ||
		    (service->pull != PULL_NEVER && strchr(service->image, '@')))
			return NULL;
		return xasprintf("it does not have image %s, which the service has to run, and %s "
				 "cannot be pulled by digest",
				 placing->pinned, service->image);
	}
	if (service->pull != PULL_NEVER || host_has_image(host, service->image))
		return NULL;
	return xasprintf("it does not have image %s, and pull is never", service->image);
}

/* Why the machine's gateway needs the port, or NULL. Owned by the caller. */
static char *gateway_port(const struct planning *planning, const struct host *host,
			  const struct publish *publish)
{
	const struct probe *probe = host->view->probe;

	if (gateway_has_port(probe, publish->host_port, publish->address))
		return xstrdup("the gateway");
	if (!addresses_overlap(probe->gateway_address, publish->address))
		return NULL;
	for (size_t i = 0; i < planning->n_listens; i++)
		if (planning->listens[i].port == publish->host_port)
			return xasprintf("the gateway, for route tcp/%lld of namespace %s",
					 (long long)publish->host_port, planning->listens[i].ns);
	return NULL;
}

static char *port_owner(const struct placing *placing, const struct host *host,
			const struct publish *publish, int protocol)
{
	const struct planning *planning = placing->planning;
	_cleanup_free_ char *self =
		xasprintf("%s/%s", planning->input->manifest->ns, placing->service->name);
	const struct probe *probe = host->view->probe;

	for (size_t i = 0; i < host->n_claims; i++)
		if (host->claims[i].port == publish->host_port &&
		    host->claims[i].protocol == protocol)
			return xstrdup(host->claims[i].owner);
	for (size_t i = 0; i < probe->n_host_ports; i++) {
		const struct host_port *taken = &probe->host_ports[i];

		/* What the service's own instances hold is free by the time that the next one
		 * starts: a published port makes it stop-first. Those that stay have a claim,
		 * above. */
		if (taken->port == publish->host_port && taken->protocol == protocol &&
		    !streq(taken->owner, self) && taken->owner)
			return xstrdup(taken->owner);
	}
	if (protocol == PROTOCOL_TCP) {
		char *gateway = gateway_port(planning, host, publish);

		if (gateway)
			return gateway;
	}
	for (size_t i = 0; i < probe->n_host_ports; i++) {
		const struct host_port *taken = &probe->host_ports[i];

		if (taken->port == publish->host_port && taken->protocol == protocol &&
		    !taken->owner && addresses_overlap(taken->address, publish->address))
			return xstrdup("a program outside the cluster");
	}
	return NULL;
}

static char *by_port(const struct placing *placing, const struct host *host)
{
	const struct service *service = placing->service;

	for (size_t i = 0; i < service->n_publish; i++) {
		const struct port *port = service_port(service, service->publish[i].port);
		int protocol = port ? port->protocol : PROTOCOL_TCP;
		_cleanup_free_ char *owner =
			port_owner(placing, host, &service->publish[i], protocol);

		if (owner)
			return xasprintf("host port %lld/%s is taken by %s",
					 (long long)service->publish[i].host_port,
					 protocol_names[protocol], owner);
	}
	return NULL;
}

static char *by_memory(const struct placing *placing, const struct host *host)
{
	uint64_t wanted = placing->service->resources.memory;
	_cleanup_free_ char *wants = NULL, *left = NULL;

	if (!wanted || (host->memory_left > 0 && (uint64_t)host->memory_left >= wanted))
		return NULL;
	wants = size_human(wanted);
	left = size_human(host->memory_left > 0 ? (uint64_t)host->memory_left : 0);
	return xasprintf("the service requests %s of memory, %s is available", wants, left);
}

static char *by_cpus(const struct placing *placing, const struct host *host)
{
	double wanted = placing->service->resources.cpus;

	/* Sums of tenths are not exact. */
	if (wanted <= 0 || host->cpus_left + 1e-6 >= wanted)
		return NULL;
	return xasprintf("the service requests %.3g cpus, %.3g are available", wanted,
			 host->cpus_left > 0 ? host->cpus_left : 0.0);
}

/* `lasting`: it also applies to a container that runs. `path` is below the service. */
static const struct {
	filter_fn fn;
	bool lasting;
	const char *path;
	const char *hint;
} filters[FILTER_COUNT] = {
	[FILTER_LIFE_CYCLE] = { by_life_cycle, true, "", "activate a machine, or add one" },
	[FILTER_REGION] = { by_region, true, "", "give a region the role compute or home_data" },
	[FILTER_ENGINE] = { by_engine, true, "",
			    "`ployzctl status` shows what is down on which machine" },
	[FILTER_PLACEMENT] = { by_placement, true, ".placement",
			       "change `placement`, or the machines' labels" },
	[FILTER_ARCH] = { by_arch, true, ".placement.labels.arch",
			  "change `placement`, or add such a machine" },
	[FILTER_VOLUME] = { by_volume, true, ".mounts",
			    "bring that machine back, or give the service a volume of another "
			    "name" },
	[FILTER_IMAGE] = { by_image, false, ".image",
			   "load the image there, or set pull: missing" },
	[FILTER_PORT] = { by_port, false, ".publish",
			  "choose another host_port, or free this one" },
	[FILTER_MEMORY] = { by_memory, false, ".resources.memory",
			    "request less, free some, or set update: stop-first where old and new "
			    "do not fit together" },
	[FILTER_CPUS] = { by_cpus, false, ".resources.cpus",
			  "request less, free some, or set update: stop-first where old and new "
			  "do not fit together" },
};

enum filter filter_host(const struct placing *placing, const struct host *host, bool fresh,
			char **ret_why)
{
	for (size_t i = 0; i < FILTER_COUNT; i++) {
		char *why = fresh || filters[i].lasting ? filters[i].fn(placing, host) : NULL;

		if (!why)
			continue;
		if (ret_why)
			*ret_why = why;
		else
			free(why);
		return (enum filter)i;
	}
	return FILTER_COUNT;
}

/* Machines that failed for the same reason are listed together: 200 of them make one line. */
struct group {
	char *why;
	char *machines;
	size_t count;
};
#define GROUP_NAMES 3

static void group_add(struct group **groups, size_t *n_groups, const char *machine, char *why)
{
	struct group *group = NULL;
	char *longer;

	for (size_t i = 0; i < *n_groups; i++)
		if (streq((*groups)[i].why, why))
			group = &(*groups)[i];
	if (!group) {
		group = array_add(*groups, *n_groups);
		group->why = xstrdup(why);
	}
	if (group->count++ < GROUP_NAMES) {
		longer = xasprintf("%s%s%s", group->machines ? group->machines : "",
				   group->machines ? ", " : "", machine);
		free(group->machines);
		group->machines = longer;
	}
	free(why);
}

void filter_refuse(const struct placing *placing, int64_t slot)
{
	struct planning *planning = placing->planning;
	struct strbuf text = STRBUF_INIT;
	struct group *groups = NULL;
	size_t n_groups = 0;
	enum filter furthest = FILTER_LIFE_CYCLE;

	for (size_t i = 0; i < planning->n_hosts; i++) {
		char *why = NULL;
		enum filter filter = filter_host(placing, &planning->hosts[i], true, &why);

		if (filter == FILTER_COUNT)
			continue;
		furthest = MAX2(furthest, filter);
		group_add(&groups, &n_groups, planning->hosts[i].view->member->id, why);
	}
	for (size_t i = 0; i < n_groups; i++) {
		strbuf_printf(&text, "%s%s", i ? "; " : "", groups[i].machines);
		if (groups[i].count > GROUP_NAMES)
			strbuf_printf(&text, " and %zu others", groups[i].count - GROUP_NAMES);
		strbuf_printf(&text, ": %s", groups[i].why);
		free(groups[i].why);
		free(groups[i].machines);
	}
	free(groups);
	if (slot < 0)
		plan_refuse(
			planning,
			xasprintf("services.%s%s", placing->service->name, filters[furthest].path),
			filters[furthest].hint, "no machine can take service %s: %s",
			placing->service->name, text.text ? text.text : "there is none");
	else
		plan_refuse(
			planning,
			xasprintf("services.%s%s", placing->service->name, filters[furthest].path),
			filters[furthest].hint, "no machine can take slot %lld of service %s: %s",
			(long long)slot, placing->service->name,
			text.text ? text.text : "there is none");
	strbuf_clear(&text);
}
