/* Volumes: where the data is, there its slot has to be. */
#include "placerd/placerd.h"

static bool is_exclusive(const struct manifest *manifest, const char *name)
{
	const struct volume *volume = name ? manifest_volume(manifest, name) : NULL;

	return volume && volume->mode == VOLUME_EXCLUSIVE;
}

static const struct home *find_home(const struct planning *planning, const char *volume)
{
	for (size_t i = 0; i < planning->n_homes; i++)
		if (streq(planning->homes[i].volume, volume))
			return &planning->homes[i];
	return NULL;
}

static void settle(struct planning *planning, const struct manifest *manifest,
		   const struct service *service, const char *machine)
{
	for (size_t i = 0; i < service->n_mounts; i++) {
		const char *volume = service->mounts[i].volume;

		if (!is_exclusive(manifest, volume) || find_home(planning, volume))
			continue;
		*array_add(planning->homes, planning->n_homes) =
			(struct home){ .volume = volume, .machine = machine };
	}
}

void volume_settle(struct planning *planning, const struct service *service, const char *machine)
{
	settle(planning, planning->input->manifest, service, machine);
}

void volumes_make(struct planning *planning)
{
	const struct head *head = planning->input->head;

	for (size_t i = 0; head && head->manifest && i < head->n_services; i++) {
		const struct service *service =
			manifest_service(head->manifest, head->services[i].name);

		for (size_t j = 0; service && j < head->services[i].n_slots; j++)
			settle(planning, head->manifest, service,
			       head->services[i].slots[j].machine);
	}
}

const struct home *volume_elsewhere(const struct planning *planning, const struct service *service,
				    const char *machine)
{
	for (size_t i = 0; i < service->n_mounts; i++) {
		const char *volume = service->mounts[i].volume;
		const struct home *home;

		if (!is_exclusive(planning->input->manifest, volume))
			continue;
		home = find_home(planning, volume);
		if (home && !streq(home->machine, machine))
			return home;
	}
	return NULL;
}

static void check_available(struct planning *planning, const struct volume *volume)
{
	if (volume->driver == VOLUME_BTRFS || volume->driver == VOLUME_ZFS)
		plan_refuse(planning, xasprintf("volumes.%s.driver", volume->name),
			    "leave `driver` out, or say dir: a plain directory",
			    "no machine offers the volume driver %s",
			    volume->driver == VOLUME_BTRFS ? "btrfs" : "zfs");
	if (volume->quota)
		plan_refuse(planning, xasprintf("volumes.%s.quota", volume->name),
			    "leave `quota` out",
			    "a volume that is a plain directory has no quota to hold it to");
}

/* An exclusive volume has one writer: a second instance, of this service or another, would be one
 * more. */
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
			if (service->replicas != 1)
				plan_refuse(planning,
					    xasprintf("services.%s.replicas", service->name),
					    "say replicas: 1, or make the volume's mode shared "
					    "(one for each machine)",
					    "volume %s is exclusive and has one writer, service %s "
					    "would have several "
					    "instances",
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
	const struct manifest *before =
		planning->input->head ? planning->input->head->manifest : NULL;

	for (size_t i = 0; i < manifest->n_volumes; i++) {
		check_available(planning, &manifest->volumes[i]);
		check_writers(planning, &manifest->volumes[i]);
	}
	for (size_t i = 0; before && i < before->n_volumes; i++)
		if (!manifest_volume(manifest, before->volumes[i].name))
			plan_warn(planning,
				  "volume %s is no longer in the manifest: its data is left where "
				  "it is",
				  before->volumes[i].name);
}
