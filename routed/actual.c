/* Actual: what HAProxy reports about itself, its servers and its map (pure). */
#include "routed/routed.h"

/* Admin state of `show servers state` (state file version 1). */
#define ADMIN_MAINT 0x01
#define ADMIN_DRAIN 0x08

void actual_clear(struct actual *actual)
{
	for (size_t i = 0; i < actual->n_servers; i++) {
		free(actual->servers[i].backend);
		free(actual->servers[i].name);
		free(actual->servers[i].address);
	}
	free(actual->servers);
	free(actual->version);
	strv_free(actual->backends);
	pairs_free(&actual->map);
	*actual = (struct actual){ 0 };
}

bool actual_has_backend(const struct actual *actual, const char *name)
{
	return strv_contains(actual->backends, name);
}

struct actual_server *actual_server(const struct actual *actual, const char *backend,
				    const char *name)
{
	for (size_t i = 0; i < actual->n_servers; i++)
		if (streq(actual->servers[i].backend, backend) &&
		    streq(actual->servers[i].name, name))
			return &actual->servers[i];
	return NULL;
}

/* Names are sent back in commands, so a name that would end a command is refused. */
static bool is_word(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s <= ' ' || (unsigned char)*s >= 0x7f || *s == ';')
			return false;
	return true;
}

/* The value of a line `key: value`, or NULL; owned by the caller. */
static char *info_value(char *const *lines, const char *key)
{
	size_t size = strlen(key);

	for (; lines && *lines; lines++)
		if (str_starts(*lines, key) && (*lines)[size] == ':')
			return xstrdup(*lines + size + 1 + strspn(*lines + size + 1, " "));
	return NULL;
}

int actual_read_info(struct actual *actual, const char *reply)
{
	_cleanup_(strv_freep) char **lines = strv_split(reply, "\r\n");
	_cleanup_free_ char *pid = info_value(lines, "Pid");
	_cleanup_free_ char *uptime = info_value(lines, "Uptime_sec");
	_cleanup_free_ char *stopping = info_value(lines, "Stopping");

	if (!pid || int_parse(pid, 1, INT32_MAX, &actual->pid) < 0)
		return -EBADMSG;
	if (!uptime || int_parse(uptime, 0, INT64_MAX, &actual->uptime_s) < 0)
		actual->uptime_s = 0;
	actual->stopping = stopping && !streq(stopping, "0");
	free(actual->version);
	actual->version = info_value(lines, "Version");
	return 0;
}

int actual_read_backends(struct actual *actual, const char *reply)
{
	_cleanup_(strv_freep) char **lines = strv_split(reply, "\r\n");

	if (!lines || !str_starts(lines[0], "# name"))
		return -EBADMSG;
	strv_free(steal(actual->backends));
	for (char **line = lines + 1; *line; line++) {
		if (!is_word(*line))
			return -EBADMSG;
		strv_push(&actual->backends, xstrdup(*line));
	}
	return 0;
}

/* Columns: 1 backend, 3 server, 4 address, 6 admin state, 18 port. */
int actual_read_servers(struct actual *actual, const char *reply)
{
	_cleanup_(strv_freep) char **lines = strv_split(reply, "\r\n");

	if (!lines || !streq(lines[0], "1"))
		return -EBADMSG;
	for (char **line = lines + 1; *line; line++) {
		_cleanup_(strv_freep) char **words = strv_split(*line, " ");
		struct actual_server server = { 0 };
		int64_t admin;

		if ((*line)[0] == '#')
			continue;
		if (strv_count(words) < 19 || !is_word(words[1]) || !is_word(words[3]) ||
		    int_parse(words[6], 0, 255, &admin) < 0 ||
		    int_parse(words[18], 0, 65535, &server.port) < 0)
			return -EBADMSG;
		server.backend = xstrdup(words[1]);
		server.name = xstrdup(words[3]);
		server.address = xstrdup(words[4]);
		server.state = admin & ADMIN_MAINT   ? SERVER_DOWN
			       : admin & ADMIN_DRAIN ? SERVER_DRAIN
						     : SERVER_READY;
		*array_add(actual->servers, actual->n_servers) = server;
	}
	return 0;
}

/* A line of `show stat` as CSV: pxname, svname, qcur, qmax, scur, … `scur` counts a session from
 * the moment it is assigned to the server; `show servers conn` misses some of a server that the
 * configuration names. 1: of a server; 0: another line; -EBADMSG. */
static int read_stat(const char *line, char **ret_backend, char **ret_server, int64_t *ret_sessions)
{
	_cleanup_(strv_freep) char **words = strv_split(line, ",");

	if (line[0] == '#')
		return 0;
	if (strv_count(words) < 5 || int_parse(words[4], 0, INT32_MAX, ret_sessions) < 0)
		return -EBADMSG;
	*ret_backend = xstrdup(words[0]);
	*ret_server = xstrdup(words[1]);
	return 1;
}

/* Adds to the known servers; with `make`, unknown ones are added. */
static int read_stats(struct actual *actual, const char *reply, bool make)
{
	_cleanup_(strv_freep) char **lines = strv_split(reply, "\r\n");

	for (char **line = lines; line && *line; line++) {
		_cleanup_free_ char *backend = NULL, *name = NULL;
		struct actual_server *server;
		int64_t sessions;
		int r = read_stat(*line, &backend, &name, &sessions);

		if (r < 0)
			return r;
		if (r == 0)
			continue;
		server = actual_server(actual, backend, name);
		if (!server && make) {
			server = array_add(actual->servers, actual->n_servers);
			server->backend = steal(backend);
			server->name = steal(name);
		}
		if (server)
			server->connections += sessions;
	}
	return 0;
}

int actual_read_connections(struct actual *actual, const char *reply)
{
	return str_starts(reply, "# pxname,svname,qcur,qmax,scur,")
		       ? read_stats(actual, reply, false)
		       : -EBADMSG;
}

int actual_read_older(struct actual *older, const char *reply)
{
	return read_stats(older, reply, true);
}

/* Lines `PID worker …` behind `# old workers`. */
char *actual_older_command(const char *reply)
{
	_cleanup_(strv_freep) char **lines = strv_split(reply, "\r\n");
	struct strbuf command = STRBUF_INIT;
	bool old = false;

	for (char **line = lines; line && *line; line++) {
		_cleanup_(strv_freep) char **words = strv_split(*line, " \t");
		int64_t pid;

		if ((*line)[0] == '#')
			old = str_starts(*line, "# old workers");
		else if (old && strv_count(words) > 1 && streq(words[1], "worker") &&
			 int_parse(words[0], 1, INT32_MAX, &pid) == 0)
			strbuf_printf(&command, "%s@!%lld show stat -1 4 -1",
				      command.size ? ";" : "", (long long)pid);
	}
	return command.size ? strbuf_steal(&command) : NULL;
}

/* Lines `0x55… KEY VALUE`. */
int actual_read_map(struct actual *actual, const char *reply)
{
	_cleanup_(strv_freep) char **lines = strv_split(reply, "\r\n");

	if (str_starts(reply, "Unknown map"))
		return -EBADMSG;
	pairs_free(&actual->map);
	for (char **line = lines; line && *line; line++) {
		_cleanup_(strv_freep) char **words = strv_split(*line, " ");

		if (strv_count(words) != 3 || !is_word(words[1]) || !is_word(words[2]))
			return -EBADMSG;
		pairs_add(&actual->map, words[1], words[2]);
	}
	return 0;
}
