/* Sync: one cycle reads what HAProxy has, sends the difference and, where that needs a reload,
 * requests one from its master; then it reads again until there is no difference. Every cycle
 * begins with what HAProxy reports, so a restarted routed, a restarted HAProxy and a change of the
 * table are one case. A change is urgent: the difference from what HAProxy had last is sent before
 * the reading, and the cycle corrects it.
 *
 * Until the projection has loaded, HAProxy is only read: it may be newer than the saved table. */
#include "routed/routed.h"

#define RELOAD_POLL_USEC 20000ull
#define RELOAD_RETRY_USEC 30000000ull /* after one that failed */

enum read_command { READ_INFO, READ_BACKENDS, READ_SERVERS, READ_CONNECTIONS, READ_MAP };

static void cycle(struct routed *routed);
static void change(struct routed *routed);

static void arm_poll(struct routed *routed)
{
	if (!routed->session && !timer_is_armed(routed->retry))
		timer_arm(routed->poll, routed->n_drained ? DRAIN_USEC : POLL_USEC);
}

/* ---- confirmation ---- */

static bool is_saved(const struct routed *routed)
{
	return routed->saved == routed->version && !routed->rewritten;
}

static bool save_is_due(const struct routed *routed)
{
	return !is_saved(routed) && (routed->rewritten || routed->n_applied || routed->n_drained ||
				     boot_now_usec() >= routed->saved_usec + SAVE_USEC);
}

/* haproxy.cfg is written before table.json, so that the saved watermark never exceeds what the
 * files contain. */
static int store_view(struct routed *routed)
{
	int r = prepare_write(routed);

	return r >= 0 && save_is_due(routed) ? prepare_save(routed) : r;
}

void sync_confirm(struct routed *routed)
{
	if (routed->reached.version) {
		store_view(routed);
		if (routed->saved >= routed->reached.version)
			routed->applied = routed->reached;
	}
	waiters_applied(routed);
}

/* ---- errors ---- */

/* There is no session with HAProxy, or it refuses a command: logged once. */
static void proxy_failed(struct routed *routed, char *why)
{
	if (!streq(routed->proxy_error, why))
		log_warning("%s; retrying every second", why);
	free(routed->proxy_error);
	routed->proxy_error = why;
	routed->known = false;
	routed->step = SYNC_IDLE;
	/* An HAProxy that starts meanwhile begins with the current table. */
	if (routed->loaded) {
		diff_assign(routed->table, &routed->actual, NULL);
		store_view(routed);
	}
	waiters_applied(routed);
	waiters_drained(routed);
	timer_arm(routed->retry, RETRY_USEC);
}

static void proxy_answered(struct routed *routed)
{
	if (routed->proxy_error)
		log_notice("HAProxy answers again");
	free(steal(routed->proxy_error));
}

/* ---- the end of a cycle ---- */

/* `changed` requests the next one. */
static void cycle_end(struct routed *routed)
{
	if (routed->changed)
		change(routed);
	else
		arm_poll(routed);
}

static void on_older(int error, char *const *replies, void *userdata)
{
	struct routed *routed = userdata;

	routed->session = NULL;
	actual_clear(&routed->older);
	if (!error && actual_read_older(&routed->older, replies[0]) < 0)
		log_debug("cannot read the connections of a process that a reload replaced");
	waiters_drained(routed);
	cycle_end(routed);
}

static void on_processes(int error, char *const *replies, void *userdata)
{
	struct routed *routed = userdata;
	_cleanup_free_ char *command = error ? NULL : actual_older_command(replies[0]);

	routed->session = NULL;
	if (command) {
		haproxy_master(routed->loop, routed->master, command, on_older, routed,
			       &routed->session);
		return;
	}
	actual_clear(&routed->older);
	waiters_drained(routed);
	cycle_end(routed);
}

/* HAProxy has the table, except what a failed reload leaves out (see routed_route_error). While a
 * `drained` request waits, connections of processes that a reload replaced count too: these serve
 * them to their end. */
static void cycle_done(struct routed *routed)
{
	const struct watermark *watermark = &routed->syncing.watermark;

	if (routed->reached.version != routed->syncing.version)
		daemon_status(routed->daemon, "%zu routes, as of intent %lld, facts %lld",
			      routed->table->n_routes, (long long)watermark->intent,
			      (long long)watermark->facts);
	routed->step = SYNC_IDLE;
	routed->reached = routed->syncing;
	sync_confirm(routed);
	if (routed->n_drained)
		haproxy_master(routed->loop, routed->master, "show proc", on_processes, routed,
			       &routed->session);
	else
		cycle_end(routed);
}

/* ---- reload ---- */

/* Changes that need no reload are applied meanwhile. */
static void reload_failed(struct routed *routed, char *why)
{
	log_error("%s; retrying in 30 s", why);
	free(routed->reload_error);
	routed->reload_error = why;
	routed->reload_until = boot_now_usec() + RELOAD_RETRY_USEC;
	if (routed->known)
		cycle_done(routed);
	else
		proxy_failed(routed, xstrdup(why));
}

/* HAProxy 2.6 ends the connection at once; 2.7 and later answer when the reload is done, with
 * `Success=0` and the reason if it failed. */
static void on_reload_reply(int error, char *const *replies, void *userdata)
{
	struct routed *routed = userdata;

	routed->session = NULL;
	if (error && error != -ECONNRESET) {
		reload_failed(routed, xasprintf("cannot reload HAProxy: its master does not answer "
						"at %s (%s); start it with -W -S",
						routed->master, strerror(-error)));
		return;
	}
	if (!error && replies[0] && strstr(replies[0], "Success=0")) {
		reload_failed(routed, xasprintf("cannot reload HAProxy: it refuses the new "
						"configuration: %.600s",
						replies[0]));
		return;
	}
	timer_arm(routed->retry, RELOAD_POLL_USEC);
}

static void request_reload(struct routed *routed)
{
	if (routed->reload_error && boot_now_usec() < routed->reload_until) {
		cycle_done(routed);
		return;
	}
	log_notice("reloading HAProxy: %s", routed->diff.reload);
	/* Always written: --prepare may have written it since. */
	free(steal(routed->rendered));
	free(steal(routed->rendered_map));
	if (prepare_write(routed) < 0) {
		reload_failed(routed, xasprintf("cannot reload HAProxy: %s", routed->files_error));
		return;
	}
	routed->step = SYNC_RELOADING;
	routed->reloads++;
	routed->reload_pid = routed->actual.pid;
	routed->reload_until = boot_now_usec() + RELOAD_USEC;
	haproxy_master(routed->loop, routed->master, "reload", on_reload_reply, routed,
		       &routed->session);
}

/* ---- writing ---- */

/* Whether this reply reports success. A server with idle connections is not deleted yet: the next
 * poll tries again. */
static bool succeeded(const char *command, const char *reply)
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

	routed->session = NULL;
	if (error) {
		proxy_failed(routed, xasprintf("HAProxy does not answer at %s: %s", routed->socket,
					       strerror(-error)));
		return;
	}
	for (size_t i = 0; routed->diff.commands[i]; i++) {
		log_debug("haproxy: %s: %s", routed->diff.commands[i], replies[i]);
		if (!succeeded(routed->diff.commands[i], replies[i])) {
			proxy_failed(routed, xasprintf("HAProxy refuses '%s': %.200s",
						       routed->diff.commands[i],
						       replies[i] + strspn(replies[i], "\r\n")));
			return;
		}
	}
	if (routed->diff.reload)
		request_reload(routed);
	else
		cycle_done(routed);
}

static void make_diff(struct routed *routed)
{
	diff_clear(&routed->diff);
	routed->changed = false;
	routed->syncing = (struct mark){ routed->version, routed->table->watermark };
	diff_assign(routed->table, &routed->actual, NULL);
	prepare_check_listens(routed);
	diff_make(routed->table, &routed->actual, routed->map_path, &routed->diff);
}

static void write_diff(struct routed *routed)
{
	make_diff(routed);
	if (routed->diff.commands) {
		routed->step = SYNC_WRITING;
		haproxy_session(routed->loop, routed->socket, routed->diff.commands, on_written,
				routed, &routed->session);
	} else if (routed->diff.reload) {
		request_reload(routed);
	} else {
		free(steal(routed->reload_error));
		cycle_done(routed);
	}
}

/* ---- reading ---- */

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
		log_info("%s HAProxy %s, process %lld", routed->actual.pid ? "new" : "found",
			 actual.version ? actual.version : "", (long long)actual.pid);
	actual_clear(&routed->actual);
	routed->actual = actual;
	routed->known = true;
	return 0;
}

/* The process that answers is not yet the one that the reload starts. */
static void reload_pending(struct routed *routed, int error)
{
	if (boot_now_usec() < routed->reload_until) {
		timer_arm(routed->retry, RELOAD_POLL_USEC);
		return;
	}
	routed->known = error == 0 && !routed->actual.stopping;
	reload_failed(routed, xstrdup("cannot reload HAProxy: it did not take the new "
				      "configuration; its log has the reason"));
}

static void on_read(int error, char *const *replies, void *userdata)
{
	struct routed *routed = userdata;
	bool reloading = routed->step == SYNC_RELOADING;
	size_t sent = strv_count(routed->diff.commands);
	int r = error;

	routed->session = NULL;
	for (size_t i = 0; !error && i < sent; i++)
		log_debug("haproxy: %s: %s", routed->diff.commands[i], replies[i]);
	if (!error)
		r = take_replies(routed, replies + sent);
	if (reloading &&
	    (r < 0 || routed->actual.stopping || routed->actual.pid == routed->reload_pid)) {
		reload_pending(routed, r);
		return;
	}
	if (r < 0) {
		proxy_failed(routed,
			     r == -EBADMSG
				     ? xasprintf("the HAProxy at %s does not run with routed's "
						 "configuration",
						 routed->socket)
				     : xasprintf("HAProxy does not answer at %s: %s",
						 routed->socket, strerror(-r)));
		return;
	}
	if (reloading) {
		free(steal(routed->reload_error));
		log_info("HAProxy is reloaded: process %lld", (long long)routed->actual.pid);
	}
	proxy_answered(routed);
	if (routed->loaded) {
		write_diff(routed);
		return;
	}
	routed->step = SYNC_IDLE;
	routed->changed = false;
	waiters_applied(routed);
	waiters_drained(routed);
	cycle_end(routed);
}

/* Sends the commands of `diff`, then reads. */
static void send_and_read(struct routed *routed)
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
	timer_disarm(routed->poll);
	timer_disarm(routed->retry);
	if (routed->step != SYNC_RELOADING)
		routed->step = SYNC_READING;
	haproxy_session(routed->loop, routed->socket, commands, on_read, routed, &routed->session);
}

static void cycle(struct routed *routed)
{
	if (routed->session) {
		routed->changed = true;
		return;
	}
	diff_clear(&routed->diff);
	send_and_read(routed);
}

/* The table was replaced. */
static void change(struct routed *routed)
{
	if (routed->session || !routed->known || !routed->loaded) {
		cycle(routed);
		return;
	}
	make_diff(routed);
	if (routed->diff.reload)
		cycle(routed);
	else if (routed->diff.commands || routed->n_drained || routed->reload_error)
		send_and_read(routed);
	else
		cycle_done(routed); /* no difference */
}

static void on_retry(void *userdata)
{
	cycle(userdata);
}

/* HAProxy has no event for a connection that ended, nor for its own restart: it is polled. */
static void on_poll(void *userdata)
{
	struct routed *routed = userdata;

	/* While entries are missing the view is not a view of any moment: no table is built. */
	if (routed->loaded && !routed->partial && prepare_listen_is_free(routed))
		sync_table(routed, &routed->table->watermark);
	else
		cycle(routed);
}

void sync_table(struct routed *routed, const struct watermark *watermark)
{
	struct table *before = routed->table;

	routed->table = table_build(&routed->view, watermark, routed->taken, routed->n_taken);
	routed->version++;
	routed->loaded = true;
	/* Slots do not change while HAProxy's state is unknown or a chosen slot waits for its
	 * reload. */
	diff_assign(routed->table, &routed->actual,
		    !routed->known || routed->step == SYNC_RELOADING ? before : NULL);
	table_free(before);
	routed->changed = true;
	waiters_applied(routed);
	/* The end of a session or of a reload in progress begins the next cycle. */
	if (!routed->session && routed->step != SYNC_RELOADING)
		change(routed);
}

void sync_poll(struct routed *routed)
{
	if (!routed->session && routed->step != SYNC_RELOADING && !timer_is_armed(routed->retry))
		cycle(routed);
}

void sync_start(struct routed *routed)
{
	routed->table = prepare_saved(routed->config, &routed->last_good);
	routed->poll = timer_new(routed->loop, on_poll, routed);
	routed->retry = timer_new(routed->loop, on_retry, routed);
	timer_arm(routed->poll, POLL_USEC);
}

void sync_free(struct routed *routed)
{
	session_free(steal(routed->session));
	timer_free(routed->poll);
	timer_free(routed->retry);
	diff_clear(&routed->diff);
	actual_clear(&routed->actual);
	actual_clear(&routed->older);
	table_free(routed->table);
	json_decref(routed->last_good);
	map_clear(&routed->listen_errors, free);
	free(routed->reload_error);
	free(routed->proxy_error);
}
