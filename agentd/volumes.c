/* Volumes: a named volume that the plan does not create must exist before a container mounts it;
 * the engine would create an empty one in its place. */
#include "agentd/agentd.h"

struct volume_check {
	struct agentd *agentd;
	char *ns;
	char **names; /* the manifest's names of volumes that must exist */
	size_t next;
	struct engine_request *request;
	volume_fn fn;
	void *userdata;
};

static void ask(struct volume_check *check);

void volume_check_free(struct volume_check *check)
{
	if (!check)
		return;
	engine_cancel(check->request);
	strv_free(check->names);
	free(check->ns);
	free(check);
}

static void missing(struct volume_check *check)
{
	const char *name = check->names[check->next];
	_cleanup_free_ char *volume = container_volume(check->ns, name);
	_cleanup_free_ char *reason = xasprintf("volume %s is recorded on this machine, but the "
						"engine has no volume %s; restore it "
						"under that name, then deploy again",
						name, volume);

	check->fn(VOLUMES_MISSING, reason, check->userdata);
}

static void on_inspected(const struct engine_answer *answer, void *userdata)
{
	struct volume_check *check = userdata;
	_cleanup_free_ char *reason = NULL;

	check->request = NULL;
	if (answer->error < 0) {
		check->fn(VOLUMES_AWAY, answer->message, check->userdata);
	} else if (answer->status == 404) {
		missing(check);
	} else if (!engine_ok(answer)) {
		reason = xasprintf("the engine cannot inspect volume %s: %s",
				   check->names[check->next], answer->message);
		check->fn(VOLUMES_MISSING, reason, check->userdata);
	} else if (check->names[++check->next]) {
		ask(check);
	} else {
		check->fn(VOLUMES_THERE, NULL, check->userdata);
	}
}

static void ask(struct volume_check *check)
{
	_cleanup_free_ char *volume = container_volume(check->ns, check->names[check->next]);
	_cleanup_free_ char *path = xasprintf("/volumes/%s", volume);

	engine_ask(check->agentd->engine, "GET", path, NULL, ENGINE_USEC, on_inspected, check,
		   &check->request);
}

char **volumes_required(const struct service *service, char *const *created)
{
	char **names = NULL;

	for (size_t i = 0; i < service->n_mounts; i++) {
		const char *name = service->mounts[i].volume;

		if (name && !strv_contains(created, name) && !strv_contains(names, name))
			strv_push(&names, xstrdup(name));
	}
	return names;
}

struct volume_check *volume_check_new(struct agentd *agentd, const char *ns,
				      const struct service *service, char *const *created,
				      volume_fn fn, void *userdata)
{
	char **names = volumes_required(service, created);
	struct volume_check *check;

	if (!names)
		return NULL;
	check = xcalloc(1, sizeof(*check));
	check->agentd = agentd;
	check->ns = xstrdup(ns);
	check->names = names;
	check->fn = fn;
	check->userdata = userdata;
	ask(check);
	return check;
}
