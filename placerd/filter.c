/* Hard filters: each says in words why a machine may not take a service. */
#include "placerd/placerd.h"

typedef char *(*filter_fn)(struct placing *placing, const struct host *host);

static char *by_life_cycle(_unused_ struct placing *placing, const struct host *host)
{
	const struct machine *machine = host->sight->machine;

	if (machine->life_cycle == MACHINE_ACTIVE)
		return NULL;
	return xasprintf("it is %s", life_cycle_names[machine->life_cycle]);
}

static char *by_region(_unused_ struct placing *placing, const struct host *host)
{
	const struct region *region = host->region;

	if (!region || (region->role != REGION_DRAINING && region->role != REGION_DISABLED))
		return NULL;
	return xasprintf("its region %s is %s", region->name, region_role_names[region->role]);
}

static char *by_engine(_unused_ struct placing *placing, const struct host *host)
{
	const struct sight *sight = host->sight;

	if (!sight->probe)
		return xasprintf("it did not answer: %s",
				 sight->silence ? sight->silence : "no reason known");
	if (sight->probe->engine)
		return NULL;
	return xasprintf("its engine cannot be reached: %s", sight->probe->engine_error
								     ? sight->probe->engine_error
								     : "no reason known");
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

static char *by_labels(const struct place *place, const struct machine *machine)
{
	for (size_t i = 0; i < place->labels.count; i++) {
		const struct pair *wanted = &place->labels.items[i];
		const char *value = pairs_get(&machine->labels, wanted->key);

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

static char *by_place(struct placing *placing, const struct host *host)
{
	const struct place *place = &placing->service->place;
	const struct machine *machine = host->sight->machine;
	char *why = NULL;

	if (!machine->name || !strv_contains(place->machines, machine->name))
		why = not_among("id", machine->id, place->machines);
	if (!why)
		why = not_among("region", machine->region, place->regions);
	if (!why)
		why = not_among("zone", machine->zone, place->zones);
	return why ? why : by_labels(place, machine);
}

/* The label `arch` needs nobody to set it: the engine knows. */
static char *by_arch(struct placing *placing, const struct host *host)
{
	const char *wanted = pairs_get(&placing->service->place.labels, "arch");
	const char *arch = host->sight->probe && host->sight->probe->arch
				   ? host->sight->probe->arch
				   : host->sight->machine->arch;

	if (!wanted || pairs_get(&host->sight->machine->labels, "arch") || streq(arch, wanted))
		return NULL;
	return xasprintf("its architecture is %s, not %s", arch ? arch : "not known", wanted);
}

static char *by_volume(struct placing *placing, const struct host *host)
{
	const struct home *home =
		volume_elsewhere(placing->planning, placing->service, host->sight->machine->id);

	if (!home)
		return NULL;
	return xasprintf(
		"volume %s lives on machine %s%s", home->volume, home->machine,
		host_find(placing->planning, home->machine) ? "" : ", which is no member any more");
}

static char *by_image(struct placing *placing, const struct host *host)
{
	const struct service *service = placing->service;

	if (service->pull != PULL_NEVER || host_has_image(host, service->image))
		return NULL;
	return xasprintf("it does not have image %s, and pull is never", service->image);
}

static const char *port_owner(struct placing *placing, const struct host *host, int64_t port,
			      int protocol)
{
	_cleanup_free_ char *self =
		xasprintf("%s/%s", placing->planning->input->manifest->ns, placing->service->name);
	const struct probe *probe = host->sight->probe;

	for (size_t i = 0; i < host->n_claims; i++)
		if (host->claims[i].port == port && host->claims[i].protocol == protocol)
			return host->claims[i].owner;
	for (size_t i = 0; i < probe->n_host_ports; i++) {
		const struct host_port *taken = &probe->host_ports[i];

		/* What the service's own instances hold is free by the time that the next one
		 * starts: a published port makes it stop-first. Those that stay have a claim,
		 * above. */
		if (taken->port == port && taken->protocol == protocol &&
		    !streq(taken->owner, self))
			return taken->owner ? taken->owner
					    : "something that is not of this cluster";
	}
	return NULL;
}

static char *by_port(struct placing *placing, const struct host *host)
{
	const struct service *service = placing->service;

	for (size_t i = 0; i < service->n_publish; i++) {
		const struct port *port = service_port(service, service->publish[i].port);
		int protocol = port ? port->protocol : PROTOCOL_TCP;
		const char *owner =
			port_owner(placing, host, service->publish[i].host_port, protocol);

		if (owner)
			return xasprintf("host port %lld/%s is taken by %s",
					 (long long)service->publish[i].host_port,
					 protocol_names[protocol], owner);
	}
	return NULL;
}

static char *by_memory(struct placing *placing, const struct host *host)
{
	uint64_t wanted = placing->service->resources.memory;
	_cleanup_free_ char *wants = NULL, *left = NULL;

	if (!wanted || (host->memory_left > 0 && (uint64_t)host->memory_left >= wanted))
		return NULL;
	wants = size_human(wanted);
	left = size_human(host->memory_left > 0 ? (uint64_t)host->memory_left : 0);
	return xasprintf("the service reserves %s of memory, it has %s left to promise", wants,
			 left);
}

static char *by_cpus(struct placing *placing, const struct host *host)
{
	double wanted = placing->service->resources.cpus;

	/* Sums of tenths are not exact. */
	if (wanted <= 0 || host->cpus_left + 1e-6 >= wanted)
		return NULL;
	return xasprintf("the service reserves %.3g cpus, it has %.3g left to promise", wanted,
			 host->cpus_left > 0 ? host->cpus_left : 0.0);
}

/* `lasting`: a container that runs is held to it as well. `path` is in the service. */
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
	[FILTER_PLACE] = { by_place, true, ".place", "change `place`, or the machines' labels" },
	[FILTER_ARCH] = { by_arch, true, ".place.labels.arch",
			  "change `place`, or add such a machine" },
	[FILTER_VOLUME] = { by_volume, true, ".mounts",
			    "bring that machine back, or give the service a volume of another "
			    "name" },
	[FILTER_IMAGE] = { by_image, false, ".image",
			   "load the image there, or say pull: missing" },
	[FILTER_PORT] = { by_port, false, ".publish",
			  "choose another host_port, or free this one" },
	[FILTER_MEMORY] = { by_memory, false, ".resources.memory",
			    "ask for less, free some, or say update: stop-first where old and new "
			    "do not fit together" },
	[FILTER_CPUS] = { by_cpus, false, ".resources.cpus",
			  "ask for less, free some, or say update: stop-first where old and new do "
			  "not fit together" },
};

enum filter filter_host(struct placing *placing, const struct host *host, bool fresh,
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

/* Machines that failed for the same reason are told together: 200 of them make one line. */
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

void filter_refuse(struct placing *placing, int64_t slot)
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
		group_add(&groups, &n_groups, planning->hosts[i].sight->machine->id, why);
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
