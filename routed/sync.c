#include "routed/routed.h"

/* One cycle: read what HAProxy has, say the difference, and where that needs a reload ask its
 * master for one; then read again until there is no difference. Every cycle begins with what
 * HAProxy says of itself, so a restarted routed, a restarted HAProxy and a plain change are one
 * case. A change is in a hurry: what differs from what HAProxy had last is said in front of the
 * reading, and what was wrong in that is the cycle's. */

#define RELOAD_LOOK_USEC 20000ull
#define RELOAD_AGAIN_USEC 30000000ull /* after one that failed */

enum read_command { READ_INFO, READ_BACKENDS, READ_SERVERS, READ_CONNECTIONS, READ_MAP };

static void cycle(struct routed *routed);
static void change(struct routed *routed);
static void write_diff(struct routed *routed);

static void plan_look(struct routed *routed)
{
	if (!routed->talk && !timer_is_armed(routed->retry))
		timer_arm(routed->look, routed->n_drained ? DRAIN_USEC : LOOK_USEC);
}

/* HAProxy cannot be talked to, or refuses: said once. */
static void in_trouble(struct routed *routed, char *why)
{
	if (!streq(routed->proxy_trouble, why))
		log_warning("%s, retrying", why);
	free(routed->proxy_trouble);
	routed->proxy_trouble = why;
	routed->known = false;
	routed->step = SYNC_IDLE;
	/* One that comes up meanwhile starts from the current table. */
	diff_assign(routed->table, &routed->actual, NULL);
	prepare_write(routed);
	bus_drained(routed);
	timer_arm(routed->retry, RETRY_USEC);
}

static void out_of_trouble(struct routed *routed)
{
	if (routed->proxy_trouble)
		log_notice("HAProxy answers again");
	free(steal(routed->proxy_trouble));
}

/* The end of a cycle; `changed` asks for the next. */
static void cycle_end(struct routed *routed)
{
	if (routed->changed)
		change(routed);
	else
		plan_look(routed);
}

static void on_older(int error, char *const *replies, void *userdata)
{
	struct routed *routed = userdata;

	routed->talk = NULL;
	actual_clear(&routed->older);
	if (!error && actual_read_older(&routed->older, replies[0]) < 0)
		log_debug("a process that a reload replaced does not say its connections");
	bus_drained(routed);
	cycle_end(routed);
}

static void on_processes(int error, char *const *replies, void *userdata)
{
	struct routed *routed = userdata;
	_cleanup_free_ char *command = error ? NULL : actual_older_command(replies[0]);

	routed->talk = NULL;
	if (command) {
		haproxy_master(routed->loop, routed->master, command, on_older, routed,
			       &routed->talk);
		return;
	}
	actual_clear(&routed->older);
	bus_drained(routed);
	cycle_end(routed);
}

/* HAProxy does what the table says. While somebody waits for connections to end, those of the
 * processes that a reload replaced count too: they serve them to their end. */
static void settled(struct routed *routed)
{
	routed->step = SYNC_IDLE;
	prepare_write(routed);
	if (routed->applied != routed->sequence) {
		routed->applied = routed->sequence;
		daemon_status(routed->daemon, "%zu routes, as of %lld", routed->table->n_routes,
			      (long long)routed->applied);
	}
	bus_applied(routed);
	if (routed->n_drained)
		haproxy_master(routed->loop, routed->master, "show proc", on_processes, routed,
			       &routed->talk);
	else
		cycle_end(routed);
}

static void reload_failed(struct routed *routed, char *why)
{
	log_error("%s", why);
	free(routed->reload_trouble);
	routed->reload_trouble = why;
	routed->reload_until = boot_now_usec() + RELOAD_AGAIN_USEC;
	routed->step = SYNC_IDLE;
	cycle_end(routed);
}

/* HAProxy 2.6 ends the connection at once; 2.7 and later answer when it is done, `Success=0` with
 * the reason. */
static void on_reload_asked(int error, char *const *replies, void *userdata)
{
	struct routed *routed = userdata;

	routed->talk = NULL;
	if (error && error != -ECONNRESET) {
		reload_failed(routed, xasprintf("HAProxy's master does not answer at %s (%s): is "
						"it run with -W -S?",
						routed->master, strerror(-error)));
		return;
	}
	if (!error && replies[0] && strstr(replies[0], "Success=0")) {
		reload_failed(routed, xasprintf("HAProxy refuses the new configuration: %.600s",
						replies[0]));
		return;
	}
	timer_arm(routed->retry, RELOAD_LOOK_USEC);
}

static void ask_reload(struct routed *routed)
{
	if (routed->reload_trouble && boot_now_usec() < routed->reload_until) {
		routed->step = SYNC_IDLE;
		cycle_end(routed);
		return;
	}
	log_notice("reloading HAProxy: %s", routed->diff.reload);
	/* Not by what was written last: --prepare may have written since. */
	free(steal(routed->rendered));
	free(steal(routed->rendered_map));
	if (prepare_write(routed) < 0) {
		reload_failed(routed, xstrdup("haproxy.cfg cannot be written"));
		return;
	}
	routed->step = SYNC_RELOADING;
	routed->reloads++;
	routed->reload_pid = routed->actual.pid;
	routed->reload_until = boot_now_usec() + RELOAD_USEC;
	haproxy_master(routed->loop, routed->master, "reload", on_reload_asked, routed,
		       &routed->talk);
}

/* Whether this reply says that the command was carried out. A server with idle connections is not
 * deleted yet: the next look tries again. */
static bool was_done(const char *command, const char *reply)
{
	if (str_starts(command, "del server"))
		return true;
	if (str_starts(command, "add server"))
		return strstr(reply, "New server registered") != NULL;
	if (strstr(command, " addr "))
		return strstr(reply, "changed") || strstr(reply, "no need");
	return reply[strspn(reply, " \r\n")] == '\0';
}

static void on_written(int error, char *const *replies, void *userdata)
{
	struct routed *routed = userdata;

	routed->talk = NULL;
	if (error) {
		in_trouble(routed, xasprintf("HAProxy does not answer at %s: %s", routed->socket,
					     strerror(-error)));
		return;
	}
	for (size_t i = 0; routed->diff.commands[i]; i++) {
		log_debug("haproxy: %s: %s", routed->diff.commands[i], replies[i]);
		if (!was_done(routed->diff.commands[i], replies[i])) {
			in_trouble(routed, xasprintf("HAProxy answers '%s' with '%.200s'",
						     routed->diff.commands[i],
						     replies[i] + strspn(replies[i], "\r\n")));
			return;
		}
	}
	if (routed->diff.reload) {
		ask_reload(routed);
		return;
	}
	settled(routed);
}

static void make_diff(struct routed *routed)
{
	diff_clear(&routed->diff);
	routed->changed = false;
	routed->sequence = routed->table->sequence;
	diff_assign(routed->table, &routed->actual, NULL);
	prepare_check_listens(routed);
	diff_make(&routed->view, routed->table, &routed->actual, routed->map_path, &routed->diff);
}

static void write_diff(struct routed *routed)
{
	make_diff(routed);
	if (routed->diff.commands) {
		routed->step = SYNC_WRITING;
		haproxy_talk(routed->loop, routed->socket, routed->diff.commands, on_written,
			     routed, &routed->talk);
	} else if (routed->diff.reload) {
		ask_reload(routed);
	} else {
		free(steal(routed->reload_trouble));
		settled(routed);
	}
}

static int take_replies(struct routed *routed, char *const *replies)
{
	struct actual actual = { 0 };
	int r = actual_read_info(&actual, replies[READ_INFO]);

	if (r >= 0)
		r = actual_read_backends(&actual, replies[READ_BACKENDS]);
	if (r >= 0)
		r = actual_read_servers(&actual, replies[READ_SERVERS]);
	if (r >= 0)
		r = actual_read_connections(&actual, replies[READ_CONNECTIONS]);
	if (r >= 0)
		r = actual_read_map(&actual, replies[READ_MAP]);
	if (r < 0) {
		actual_clear(&actual);
		return r;
	}
	if (routed->actual.pid != actual.pid && routed->step != SYNC_RELOADING)
		log_info("%s HAProxy %s, process %lld",
			 routed->actual.pid ? "there is a new" : "found",
			 actual.version ? actual.version : "", (long long)actual.pid);
	actual_clear(&routed->actual);
	routed->actual = actual;
	routed->known = true;
	return 0;
}

static void on_read(int error, char *const *replies, void *userdata)
{
	struct routed *routed = userdata;
	bool reloading = routed->step == SYNC_RELOADING;
	size_t said = strv_count(routed->diff.commands);
	int r = error;

	routed->talk = NULL;
	for (size_t i = 0; !error && i < said; i++)
		log_debug("haproxy: %s: %s", routed->diff.commands[i], replies[i]);
	if (!error)
		r = take_replies(routed, replies + said);
	if (reloading &&
	    (r < 0 || routed->actual.stopping || routed->actual.pid == routed->reload_pid)) {
		if (boot_now_usec() < routed->reload_until)
			timer_arm(routed->retry, RELOAD_LOOK_USEC);
		else
			reload_failed(routed, xstrdup("HAProxy did not take the new configuration; "
						      "its log says why"));
		return;
	}
	if (r < 0) {
		in_trouble(routed, r == -EBADMSG ? xasprintf("the HAProxy at %s does not run with "
							     "routed's configuration",
							     routed->socket)
						 : xasprintf("HAProxy does not answer at %s: %s",
							     routed->socket, strerror(-r)));
		return;
	}
	if (reloading) {
		free(steal(routed->reload_trouble));
		log_info("HAProxy is reloaded: process %lld", (long long)routed->actual.pid);
	}
	out_of_trouble(routed);
	write_diff(routed);
}

/* Says what is in `diff`, and reads. */
static void say_and_read(struct routed *routed)
{
	static const char *const reading[] = {
		[READ_INFO] = "show info",
		[READ_BACKENDS] = "show backend",
		[READ_SERVERS] = "show servers state",
		[READ_CONNECTIONS] = "show stat -1 4 -1",
	};
	_cleanup_(strv_freep) char **commands = NULL;

	for (char **command = routed->diff.commands; command && *command; command++)
		strv_push(&commands, xstrdup(*command));
	for (size_t i = 0; i < ARRAY_SIZE(reading); i++)
		strv_push(&commands, xstrdup(reading[i]));
	strv_push(&commands, xasprintf("show map %s", routed->map_path));
	timer_disarm(routed->look);
	timer_disarm(routed->retry);
	if (routed->step != SYNC_RELOADING)
		routed->step = SYNC_READING;
	haproxy_talk(routed->loop, routed->socket, commands, on_read, routed, &routed->talk);
}

static void cycle(struct routed *routed)
{
	if (routed->talk || !routed->table) {
		routed->changed = true;
		return;
	}
	diff_clear(&routed->diff);
	say_and_read(routed);
}

/* The table is another one. */
static void change(struct routed *routed)
{
	if (routed->talk || !routed->known) {
		cycle(routed);
		return;
	}
	make_diff(routed);
	if (routed->diff.reload)
		cycle(routed);
	else if (routed->diff.commands || routed->n_drained || routed->reload_trouble)
		say_and_read(routed);
	else
		settled(routed); /* an entry that is about something else */
}

static void on_retry(void *userdata)
{
	cycle(userdata);
}

/* HAProxy has no event for a connection that ended, nor for its own restart: it is asked. */
static void on_look(void *userdata)
{
	struct routed *routed = userdata;

	if (!routed->table)
		return;
	for (size_t i = 0; i < routed->table->n_routes; i++)
		if (routed->table->routes[i].kind == KIND_TCP && routed->table->routes[i].trouble) {
			/* Somebody else had its port; perhaps no more. */
			sync_table(routed, (uint64_t)routed->table->sequence);
			return;
		}
	cycle(routed);
}

void sync_table(struct routed *routed, uint64_t sequence)
{
	struct table *before = routed->table;

	routed->table = table_build(&routed->view, sequence, routed->taken, routed->n_taken);
	if (!routed->known)
		diff_assign(routed->table, &routed->actual, before);
	else
		/* A slot that was chosen and waits for its reload stays chosen. */
		diff_assign(routed->table, &routed->actual,
			    routed->step == SYNC_RELOADING ? before : NULL);
	table_free(before);
	routed->changed = true;
	/* A conversation or a reload that is on its way ends in a change of its own. */
	if (!routed->talk && routed->step != SYNC_RELOADING)
		change(routed);
}

void sync_look(struct routed *routed)
{
	if (!routed->talk && routed->step != SYNC_RELOADING && !timer_is_armed(routed->retry))
		cycle(routed);
}

void sync_start(struct routed *routed)
{
	routed->look = timer_new(routed->loop, on_look, routed);
	routed->retry = timer_new(routed->loop, on_retry, routed);
}

void sync_free(struct routed *routed)
{
	talk_free(steal(routed->talk));
	timer_free(routed->look);
	timer_free(routed->retry);
	diff_clear(&routed->diff);
	actual_clear(&routed->actual);
	actual_clear(&routed->older);
	table_free(routed->table);
	free(routed->reload_trouble);
	free(routed->proxy_trouble);
}
