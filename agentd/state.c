/* The highest epochs and the reservations outlive this process: a restart must not open the
 * fence. */
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
		return log_errno(LOG_ERR, r,
				 "cannot read %s, which says whose commands are too old", path);
	json = json_loadb(text, size, 0, NULL);
	r = locks_decode(&agentd->locks, json, boot_now_usec());
	if (r < 0)
		log_error("%s is damaged: it says whose commands are too old. When no deploy is "
			  "under way, remove it and start again",
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
	if (r < 0)
		log_errno(LOG_ERR, r, "cannot write %s", path);
	return r;
}
