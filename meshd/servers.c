/* Servers: watches the machine's two nats-servers and their disks. From 2.14 on, a server whose
 * write has failed stores nothing until it is restarted, even when there is free space again: meshd
 * then ends its process, and the supervisor restarts it. Each restart is reported, and their number
 * is bounded. */
#include "meshd/meshd.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define COMMAND_MAX 4096

enum server_step server_decide(const struct watched_server *server, uint64_t now)
{
	if (!server->error || server->full || !stream_disk_full(server->error, NULL, NULL))
		return SERVER_LEAVE;
	if (server->restart_usec && now - server->restart_usec < SERVER_RESTART_USEC)
		return SERVER_LEAVE;
	return server->restarts < SERVER_RESTARTS_MAX ? SERVER_RESTART : SERVER_GIVE_UP;
}

bool server_has_room(const struct watched_server *server, uint64_t bytes)
{
	if (server->error || server->full)
		return false;
	return !server->size || server->room >= 2 * bytes + DISK_ROOM_BYTES;
}

/* Whether a process is a nats-server that runs with this configuration. Its arguments are separated
 * by zero bytes. */
static bool is_server(const char *pid, const char *rendered)
{
	_cleanup_free_ char *path = xasprintf("/proc/%s/cmdline", pid), *arguments = NULL;
	const char *name;
	size_t size = 0;

	if (file_read(path, COMMAND_MAX, &arguments, &size) < 0 || size == 0)
		return false;
	name = strrchr(arguments, '/');
	if (!streq(name ? name + 1 : arguments, "nats-server"))
		return false;
	for (const char *at = arguments; at < arguments + size; at += strlen(at) + 1)
		if (streq(at, rendered))
			return true;
	return false;
}

static pid_t server_pid(const char *rendered)
{
	DIR *processes = opendir("/proc");
	struct dirent *entry;
	pid_t pid = 0;

	while (processes && !pid && (entry = readdir(processes)))
		if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' &&
		    is_server(entry->d_name, rendered))
			pid = (pid_t)strtol(entry->d_name, NULL, 10);
	if (processes)
		closedir(processes);
	return pid;
}

static void restart(struct watched_server *server)
{
	_cleanup_free_ char *rendered =
		xasprintf("%s/%s", server->meshd->config->daemon.run, server->rendered);
	pid_t pid = server_pid(rendered);

	server->restart_usec = boot_now_usec();
	server->restarts++;
	if (pid && kill(pid, SIGTERM) == 0)
		log_warning("%s stores nothing since its disk was full, and there is room again: "
			    "ended process %d so that it is restarted (%u of at most %d times)",
			    server->label, (int)pid, server->restarts, SERVER_RESTARTS_MAX);
	else
		log_error("cannot end %s, which stores nothing since its disk was full: %s; "
			  "restart it",
			  server->label, pid ? strerror(errno) : "cannot find its process");
}

static void report_disk(struct watched_server *server)
{
	bool full = server->size && server->room < DISK_ROOM_BYTES;
	bool low = server->size && server->room < MIN2(DISK_ALARM_BYTES, server->size / 20);
	_cleanup_free_ char *room = size_human(server->room), *size = size_human(server->size);

	if (full && !server->full)
		log_error("the disk of %s is full (%s: %s of %s left): changes are refused until "
			  "there is room, running containers continue; make room on it",
			  server->label, server->data, room, size);
	else if (low && !server->low && !full)
		log_warning("the disk of %s is nearly full (%s: %s of %s left): when it is full, "
			    "changes are refused; make room on it",
			    server->label, server->data, room, size);
	else if (!full && server->full)
		log_notice("the disk of %s has room again (%s: %s)", server->label, server->data,
			   room);
	server->full = full;
	server->low = low;
}

static void poll_disk(struct watched_server *server)
{
	struct statvfs disk;

	/* Before the server's first start there is no directory. */
	if (statvfs(server->data, &disk) < 0) {
		server->size = 0;
		return;
	}
	server->room = (uint64_t)disk.f_bavail * disk.f_frsize;
	server->size = (uint64_t)disk.f_blocks * disk.f_frsize;
	report_disk(server);
}

static void on_health(const struct failure *failure, _unused_ const char *name, const char *error,
		      void *userdata)
{
	struct watched_server *server = userdata;

	server->request = NULL;
	if (failure)
		return; /* the poll of its streams reports a missing answer */
	if (error && !server->error)
		log_warning("%s reports an error: %s", server->label, error);
	else if (!error && server->error)
		log_notice("%s is healthy again", server->label);
	free(server->error);
	server->error = xstrdup(error);
	if (!error) {
		server->restarts = 0;
		return;
	}
	poll_disk(server);
	switch (server_decide(server, boot_now_usec())) {
	case SERVER_LEAVE:
		break;
	case SERVER_RESTART:
		restart(server);
		break;
	case SERVER_GIVE_UP:
		log_error("%s stores nothing although it was restarted %d times; read its log",
			  server->label, SERVER_RESTARTS_MAX);
		server->restart_usec = boot_now_usec();
		break;
	}
}

/* The store may be polled more often than its server and disk. */
void servers_poll(struct meshd *meshd)
{
	uint64_t now = boot_now_usec();

	if (meshd->servers_polled && now - meshd->servers_polled < WATCH_ERROR_USEC / 2)
		return;
	meshd->servers_polled = now;
	for (size_t i = 0; i < ARRAY_SIZE(meshd->servers); i++) {
		struct watched_server *server = &meshd->servers[i];

		poll_disk(server);
		if (!server->request)
			stream_health(meshd->bus, server->domain, STORE_ASK_USEC, on_health, server,
				      &server->request);
	}
}

bool servers_error(const struct meshd *meshd)
{
	for (size_t i = 0; i < ARRAY_SIZE(meshd->servers); i++)
		if (meshd->servers[i].error || meshd->servers[i].full)
			return true;
	return false;
}

void servers_start(struct meshd *meshd)
{
	meshd->servers[0] = (struct watched_server){
		.label = "the store",
		.domain = STORE_DOMAIN,
		.data = meshd->config->store_data,
		.rendered = "store.conf",
		.meshd = meshd,
	};
	meshd->servers[1] = (struct watched_server){
		.label = "the local bus",
		.domain = meshd->machine,
		.data = meshd->config->bus_data,
		.rendered = "nats.conf",
		.meshd = meshd,
	};
}

void servers_free(struct meshd *meshd)
{
	for (size_t i = 0; i < ARRAY_SIZE(meshd->servers); i++) {
		bus_request_cancelp(&meshd->servers[i].request);
		free(steal(meshd->servers[i].error));
	}
}

json_t *servers_status(const struct meshd *meshd)
{
	json_t *disks = json_array();

	for (size_t i = 0; i < ARRAY_SIZE(meshd->servers); i++) {
		const struct watched_server *server = &meshd->servers[i];
		_cleanup_free_ char *room = size_human(server->room), *error = NULL;
		json_t *disk;

		if (!server->size)
			continue;
		if (server->full)
			error = xasprintf("the disk of %s is full (%s: %s left)", server->label,
					  server->data, room);
		else if (server->error)
			error = xasprintf("%s reports an error: %s", server->label, server->error);
		disk = json_pack("{s:s, s:s, s:I, s:I, s:s*}", "server", server->label, "directory",
				 server->data, "room", (json_int_t)server->room, "size",
				 (json_int_t)server->size, "error", error);
		json_array_append_new(disks, disk);
	}
	return disks;
}
