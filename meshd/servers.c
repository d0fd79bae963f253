/* The machine's two nats-servers and the disks that they write on. From 2.14 on a server that could
 * not write keeps nothing more, whatever room there is, until it is started again: when there is
 * room, its process is ended, and whoever supervises it starts it. Intent is not touched by that;
 * each time is said, and it is not done without end. */
#include "meshd/meshd.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define COMMAND_MAX 4096

enum server_step server_decide(const struct watched_server *server, uint64_t now)
{
	if (!server->trouble || server->full || !stream_disk_full(server->trouble, NULL, NULL))
		return SERVER_LEAVE;
	if (server->again_usec && now - server->again_usec < SERVER_AGAIN_USEC)
		return SERVER_LEAVE;
	return server->again < SERVER_AGAIN_MAX ? SERVER_AGAIN : SERVER_GIVE_UP;
}

/* Whether a process is a nats-server that runs with this configuration: its words end with zeros.
 */
static bool is_server(const char *pid, const char *rendered)
{
	_cleanup_free_ char *path = xasprintf("/proc/%s/cmdline", pid), *words = NULL;
	const char *name;
	size_t size = 0;

	if (file_read(path, COMMAND_MAX, &words, &size) < 0 || size == 0)
		return false;
	name = strrchr(words, '/');
	if (!streq(name ? name + 1 : words, "nats-server"))
		return false;
	for (const char *at = words; at < words + size; at += strlen(at) + 1)
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

static void start_again(struct watched_server *server)
{
	_cleanup_free_ char *rendered =
		xasprintf("%s/%s", server->meshd->config->daemon.run, server->rendered);
	pid_t pid = server_pid(rendered);

	server->again_usec = boot_now_usec();
	server->again++;
	if (pid && kill(pid, SIGTERM) == 0)
		log_warning("%s writes no more since its disk was full, and there is room again: "
			    "ended process %d, to be "
			    "started again (%u of at most %d times)",
			    server->words, (int)pid, server->again, SERVER_AGAIN_MAX);
	else
		log_error("%s writes no more since its disk was full, and cannot be ended by meshd "
			  "(%s): start it again by "
			  "hand",
			  server->words, pid ? strerror(errno) : "its process is not found");
}

static void tell_disk(struct watched_server *server)
{
	bool full = server->size && server->room < DISK_ROOM_BYTES;
	bool low = server->size && server->room < MIN2(DISK_ALARM_BYTES, server->size / 20);
	_cleanup_free_ char *room = size_human(server->room), *size = size_human(server->size);

	if (full && !server->full)
		log_error("the disk of %s is full (%s: %s of %s left): nothing can be changed "
			  "until there is room; what "
			  "runs goes on",
			  server->words, server->data, room, size);
	else if (low && !server->low && !full)
		log_warning("the disk of %s is nearly full (%s: %s of %s left); when it is full, "
			    "changes are refused",
			    server->words, server->data, room, size);
	else if (!full && server->full)
		log_notice("the disk of %s has room again (%s: %s)", server->words, server->data,
			   room);
	server->full = full;
	server->low = low;
}

static void look_at_disk(struct watched_server *server)
{
	struct statvfs disk;

	/* Before the server's first start there is no directory. */
	if (statvfs(server->data, &disk) < 0) {
		server->size = 0;
		return;
	}
	server->room = (uint64_t)disk.f_bavail * disk.f_frsize;
	server->size = (uint64_t)disk.f_blocks * disk.f_frsize;
	tell_disk(server);
}

static void on_health(const struct failure *failure, _unused_ const char *name, const char *trouble,
		      void *userdata)
{
	struct watched_server *server = userdata;

	server->request = NULL;
	if (failure)
		return; /* its silence is told where its streams are looked at */
	if (trouble && !server->trouble)
		log_warning("%s is not well: %s", server->words, trouble);
	else if (!trouble && server->trouble)
		log_notice("%s is well again", server->words);
	free(server->trouble);
	server->trouble = xstrdup(trouble);
	if (!trouble) {
		server->again = 0;
		return;
	}
	look_at_disk(server);
	switch (server_decide(server, boot_now_usec())) {
	case SERVER_LEAVE:
		break;
	case SERVER_AGAIN:
		start_again(server);
		break;
	case SERVER_GIVE_UP:
		log_error("%s writes no more although it was started again %d times: its log says "
			  "why",
			  server->words, SERVER_AGAIN_MAX);
		server->again_usec = boot_now_usec();
		break;
	}
}

void servers_look(struct meshd *meshd)
{
	for (size_t i = 0; i < ARRAY_SIZE(meshd->servers); i++) {
		struct watched_server *server = &meshd->servers[i];

		look_at_disk(server);
		if (!server->request)
			stream_health(meshd->bus, server->domain, STORE_ASK_USEC, on_health, server,
				      &server->request);
	}
}

bool servers_trouble(const struct meshd *meshd)
{
	for (size_t i = 0; i < ARRAY_SIZE(meshd->servers); i++)
		if (meshd->servers[i].trouble || meshd->servers[i].full)
			return true;
	return false;
}

void servers_start(struct meshd *meshd)
{
	meshd->servers[0] = (struct watched_server){
		.words = "the store",
		.domain = STORE_DOMAIN,
		.data = meshd->config->store_data,
		.rendered = "store.conf",
		.meshd = meshd,
	};
	meshd->servers[1] = (struct watched_server){
		.words = "the local bus",
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
		free(steal(meshd->servers[i].trouble));
	}
}

json_t *servers_status(const struct meshd *meshd)
{
	json_t *disks = json_array();

	for (size_t i = 0; i < ARRAY_SIZE(meshd->servers); i++) {
		const struct watched_server *server = &meshd->servers[i];
		_cleanup_free_ char *room = size_human(server->room), *trouble = NULL;
		json_t *disk;

		if (!server->size)
			continue;
		if (server->full)
			trouble = xasprintf("the disk of %s is full (%s: %s left)", server->words,
					    server->data, room);
		else if (server->trouble)
			trouble = xasprintf("%s is not well: %s", server->words, server->trouble);
		disk = json_pack("{s:s, s:s, s:I, s:I, s:s*}", "of", server->words, "directory",
				 server->data, "room", (json_int_t)server->room, "size",
				 (json_int_t)server->size, "trouble", trouble);
		json_array_append_new(disks, disk);
	}
	return disks;
}
