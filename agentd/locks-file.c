/* Locks file: keeps epochs, reservations and records of presumed abort across a restart. */
#include "agentd/agentd.h"

#define LOCKS_MAX_BYTES (16 * 1024 * 1024)

static char *path_of(const struct agentd *agentd)
{
	return xasprintf("%s/locks.json", agentd->config->daemon.state);
}

int locks_load(struct agentd *agentd)
{
	_cleanup_free_ char *path = path_of(agentd), *text = NULL;
	_cleanup_json_ json_t *json = NULL;
	size_t size = 0;
	int r;

	r = file_read(path, LOCKS_MAX_BYTES, &text, &size);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return log_errno(LOG_ERR, r, "cannot read %s, which holds the namespaces' epochs",
				 path);
	json = json_loadb(text, size, 0, NULL);
	r = locks_decode(&agentd->locks, json, boot_now_usec());
	if (r < 0)
		log_error("cannot read %s, which holds the namespaces' epochs: it is damaged; when "
			  "no deploy is under way, remove it and start agentd again",
			  path);
	return r;
}

int locks_save(struct agentd *agentd)
{
	_cleanup_free_ char *path = path_of(agentd), *text = NULL;
	_cleanup_json_ json_t *json = locks_encode(&agentd->locks);
	int r;

	text = json_text(json);
	r = file_write_atomic(path, text, strlen(text), 0600);
	agentd->locks.unsaved = r < 0;
	agentd->locks.error = r;
	if (r < 0)
		log_errno(LOG_ERR, r, "cannot write %s", path);
	return r;
}

void locks_failure(const struct agentd *agentd, struct failure *failure)
{
	const char *machine = agentd->config->daemon.machine, *state = agentd->config->daemon.state;

	if (agentd->locks.error == -ENOSPC)
		failure_set(
			failure, FAILURE_FAILED, "free space there, then deploy again",
			"cannot store the epoch on machine %s: the disk of agentd's state is full "
			"(%s)",
			machine, state);
	else
		failure_set(failure, FAILURE_FAILED, "repair it, then deploy again",
			    "cannot store the epoch on machine %s: cannot write under %s: %s",
			    machine, state, strerror(-agentd->locks.error));
}
