/* Volume: a slot must be on the machine with the data of its volumes, which the head records. */
#include "placerd/placerd.h"

static const struct volume *mounted(const struct planning *planning, const struct mount *mount)
{
	return mount->volume ? manifest_volume(planning->input->manifest, mount->volume) : NULL;
}

static const struct head_volume *recorded(const struct planning *planning, const char *volume,
					  const char *machine)
{
	const struct head *head = planning->input->head;

	return head ? head_volume(head, volume, machine) : NULL;
}

/* The plan's row of a volume: on this machine, or (machine NULL) any. */
static const struct plan_volume *planned(const struct planning *planning, const char *volume,
					 const char *machine)
{
	const struct plan *plan = planning->plan;

	for (size_t i = 0; i < plan->n_volumes; i++)
		if (streq(plan->volumes[i].name, volume) &&
		    (!machine || streq(plan->volumes[i].machine, machine)))
			return &plan->volumes[i];
	return NULL;
}

static char *located(const struct planning *planning, const char *volume, const char *machine)
{
	return xasprintf("volume %s is on machine %s%s", volume, machine,
			 host_find(planning, machine) ? "" : ", which is not a member");
}

char *volume_elsewhere(const struct placing *placing, const char *machine)
{
	const struct planning *planning = placing->planning;

	for (size_t i = 0; i < placing->service->n_mounts; i++) {
		const struct volume *volume = mounted(planning, &placing->service->mounts[i]);
		const struct head_volume *record;
		const struct plan_volume *row;

		if (!volume || volume->mode != VOLUME_EXCLUSIVE)
			continue;
		row = planned(planning, volume->name, NULL);
		if (row && !streq(row->machine, machine))
			return located(planning, volume->name, row->machine);
		/* A volume that was shared until now is on several machines: any of them fits. */
		record = row ? NULL : recorded(planning, volume->name, NULL);
		if (record && !recorded(planning, volume->name, machine))
			return located(planning, volume->name, record->machine);
	}
	return NULL;
}

size_t volumes_recorded(const struct placing *placing, const char *machine)
{
	const struct service *service = placing->service;
	size_t count = 0;

	for (size_t i = 0; i < service->n_mounts; i++)
		count += service->mounts[i].volume &&
			 recorded(placing->planning, service->mounts[i].volume, machine);
	return count;
}

static void add_row(struct planning *planning, const struct volume *volume,
		    const struct head_volume *record, const char *machine)
{
	*array_add(planning->plan->volumes, planning->plan->n_volumes) = (struct plan_volume){
		.name = xstrdup(volume->name),
		.machine = xstrdup(machine),
		.mode = volume->mode,
		/* The row has the actual driver, because the meaning of `auto` may change. */
		.driver = record			  ? record->driver
			  : volume->driver == VOLUME_AUTO ? VOLUME_DIR
							  : volume->driver,
		.generation = record ? record->generation : 1,
		.new_ = !record,
	};
}

char **volumes_settle(struct placing *placing, const char *machine)
{
	struct planning *planning = placing->planning;
	char **created = NULL;

	for (size_t i = 0; i < placing->service->n_mounts; i++) {
		const struct volume *volume = mounted(planning, &placing->service->mounts[i]);
		const struct head_volume *record;

		if (!volume || planned(planning, volume->name, machine))
			continue;
		record = recorded(planning, volume->name, machine);
		add_row(planning, volume, record, machine);
		if (!record)
			strv_push(&created, xstrdup(volume->name));
	}
	return created;
}

static int compare_rows(const void *a, const void *b)
{
	const struct plan_volume *x = a, *y = b;
	int by_name = strcmp(x->name, y->name);

	return by_name ? by_name : strcmp(x->machine, y->machine);
}

/* Rows of mounted volumes stay, also on machines without a slot. */
void volumes_plan(struct planning *planning)
{
	const struct manifest *manifest = planning->input->manifest;
	const struct head *head = planning->input->head;
	struct plan *plan = planning->plan;

	for (size_t i = 0; i < manifest->n_services; i++)
		for (size_t j = 0; j < manifest->services[i].n_mounts; j++) {
			const struct volume *volume =
				mounted(planning, &manifest->services[i].mounts[j]);

			for (size_t k = 0; volume && head && k < head->n_volumes; k++)
				if (streq(head->volumes[k].name, volume->name) &&
				    !planned(planning, volume->name, head->volumes[k].machine))
					add_row(planning, volume, &head->volumes[k],
						head->volumes[k].machine);
		}
	if (plan->n_volumes)
		qsort(plan->volumes, plan->n_volumes, sizeof(*plan->volumes), compare_rows);
}

bool volumes_change(const struct planning *planning)
{
	const struct plan *plan = planning->plan;

	for (size_t i = 0; i < plan->n_volumes; i++)
		if (plan->volumes[i].new_)
			return true;
	return false;
}

static void check_driver(struct planning *planning, const struct volume *volume)
{
	const struct head_volume *record = recorded(planning, volume->name, NULL);

	if (volume->driver == VOLUME_BTRFS || volume->driver == VOLUME_ZFS)
		plan_refuse(planning, xasprintf("volumes.%s.driver", volume->name),
			    "omit `driver`, or set it to dir: a plain directory",
			    "no machine offers the volume driver %s",
			    volume_driver_names[volume->driver]);
	else if (record && record->driver != VOLUME_AUTO && volume->driver != VOLUME_AUTO &&
		 record->driver != volume->driver)
		plan_refuse(planning, xasprintf("volumes.%s.driver", volume->name),
			    "omit `driver`, or use a volume of another name",
			    "volume %s on machine %s has the driver %s, which cannot be changed",
			    volume->name, record->machine, volume_driver_names[record->driver]);
	if (volume->quota)
		plan_refuse(planning, xasprintf("volumes.%s.quota", volume->name), "omit `quota`",
			    "a volume that is a plain directory cannot have a quota");
}

/* An exclusive volume has one writer: neither several instances of a service, nor two services. */
static void check_writers(struct planning *planning, const struct volume *volume)
{
	const struct manifest *manifest = planning->input->manifest;
	const char *writer = NULL;

	if (volume->mode != VOLUME_EXCLUSIVE)
		return;
	for (size_t i = 0; i < manifest->n_services; i++) {
		const struct service *service = &manifest->services[i];

		for (size_t j = 0; j < service->n_mounts; j++) {
			if (!streq(service->mounts[j].volume, volume->name) ||
			    service->mounts[j].readonly)
				continue;
			if (service->replicas > 1 || service->replicas == REPLICAS_GLOBAL)
				plan_refuse(planning,
					    xasprintf("services.%s.replicas", service->name),
					    "set replicas: 1, or make the volume's mode shared "
					    "(one on each machine)",
					    "volume %s is exclusive and has one writer, service %s "
					    "would have several instances",
					    volume->name, service->name);
			else if (writer && !streq(writer, service->name))
				plan_refuse(planning,
					    xasprintf("services.%s.mounts[%zu]", service->name, j),
					    "mount it readonly in one of them, or make the "
					    "volume's mode shared",
					    "volume %s is exclusive and has one writer, which is "
					    "service %s already",
					    volume->name, writer);
			writer = service->name;
		}
	}
}

void volumes_check(struct planning *planning)
{
	const struct manifest *manifest = planning->input->manifest;
	const struct manifest *before = planning->input->before;

	for (size_t i = 0; i < manifest->n_volumes; i++) {
		check_driver(planning, &manifest->volumes[i]);
		check_writers(planning, &manifest->volumes[i]);
	}
	for (size_t i = 0; before && i < before->n_volumes; i++) {
		const char *name = before->volumes[i].name;
		const struct head_volume *record = recorded(planning, name, NULL);

		if (!manifest_volume(manifest, name) && record)
			plan_warn(planning,
				  "volume %s is no longer in the manifest: its data stays on "
				  "machine %s",
				  name, record->machine);
	}
}
