/* Prepare: the files that HAProxy starts from, and the saved table. */
#include "routed/routed.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* Above what the streams can hold for one gateway. */
#define SAVED_MAX_BYTES (256u * 1024 * 1024)

void prepare_paths(struct routed *routed)
{
	const struct daemon_config *config = &routed->config->daemon;

	routed->socket = xasprintf("%s/haproxy.sock", config->run);
	routed->master = xasprintf("%s/haproxy-master.sock", config->run);
	routed->config_path = xasprintf("%s/haproxy.cfg", config->run);
	routed->map_path = xasprintf("%s/haproxy-routes.map", config->run);
	routed->saved_path = xasprintf("%s/table.json", config->state);
}

struct table *prepare_saved(const struct routed_config *config, json_t **ret_entries)
{
	_cleanup_free_ char *path = xasprintf("%s/table.json", config->daemon.state);
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;
	_cleanup_free_ char *text = NULL;
	_cleanup_json_ json_t *json = NULL;
	void *table = NULL;
	size_t size;
	int r;

	r = file_read(path, SAVED_MAX_BYTES, &text, &size);
	if (r == -ENOENT)
		return codec_new(&table_schema);
	if (r >= 0) {
		json = json_loadb(text, size, 0, NULL);
		r = codec_decode_new(&table_schema, json, CODEC_LENIENT, &table, &failure);
	}
	if (r < 0) {
		log_errno(LOG_WARNING, r, "cannot read %s; starting without routes: %s", path,
			  failure.message ? failure.message : "");
		return codec_new(&table_schema);
	}
	if (ret_entries)
		*ret_entries = json_incref(json_object_get(json, "entries"));
	return table;
}

/* A running HAProxy gets the table through its sockets; one that starts has only the files. */
static int write_failed(struct routed *routed, const char *path, int error)
{
	char *why = xasprintf("cannot write %s: %s; an HAProxy that starts now has older routes, "
			      "and nothing is confirmed; retrying every second",
			      path, strerror(-error));

	if (!streq(routed->files_error, why))
		log_error("%s", why);
	free(routed->files_error);
	routed->files_error = why;
	return error;
}

static void write_succeeded(struct routed *routed)
{
	if (routed->files_error)
		log_notice("the gateway's files are written again");
	free(steal(routed->files_error));
}

static int write_when_changed(struct routed *routed, const char *path, char *text, char **last,
			      unsigned mode)
{
	_cleanup_free_ char *owned = text;
	int r;

	if (streq(text, *last))
		return 0;
	r = file_write_atomic(path, text, strlen(text), mode);
	if (r < 0)
		return write_failed(routed, path, r);
	free(*last);
	*last = steal(owned);
	routed->rewritten = true;
	return 0;
}

int prepare_write(struct routed *routed)
{
	struct render render = { routed->config->gateway_http, routed->config->gateway_address,
				 routed->socket, routed->map_path, routed->config->pool };
	int r;

	r = write_when_changed(routed, routed->map_path, render_map(routed->table),
			       &routed->rendered_map, 0644);
	if (r < 0)
		return r;
	return write_when_changed(routed, routed->config_path,
				  render_config(routed->table, &render), &routed->rendered, 0644);
}

int prepare_save(struct routed *routed)
{
	_cleanup_json_ json_t *json = NULL;
	_cleanup_free_ char *text = NULL;
	int r;

	free(routed->table->seen);
	routed->table->seen = projection_seen(routed->projection);
	json = codec_encode(&table_schema, routed->table);
	json_object_set_new(json, "entries", view_encode(&routed->view));
	text = json_text(json);
	r = file_write_atomic(routed->saved_path, text, strlen(text), 0600);
	if (r < 0)
		return write_failed(routed, routed->saved_path, r);
	routed->saved = routed->version;
	routed->saved_usec = boot_now_usec();
	routed->rewritten = false;
	write_succeeded(routed);
	return 0;
}

/* 0, or the negative errno of bind or listen. */
static int try_listen(const char *address, int64_t port)
{
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port) };
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	bool six = strchr(address, ':') != NULL;
	int fd, r = 0, on = 1;

	if (six ? inet_pton(AF_INET6, address, &in6.sin6_addr) != 1
		: !streq(address, "*") && inet_pton(AF_INET, address, &in.sin_addr) != 1)
		return 0; /* HAProxy may accept this form */
	fd = socket(six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return 0;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, six ? (struct sockaddr *)&in6 : (struct sockaddr *)&in,
		 six ? sizeof(in6) : sizeof(in)) < 0 ||
	    listen(fd, 1) < 0)
		r = -errno;
	close(fd);
	/* HAProxy may be allowed what this process is not. */
	return r == -EACCES || r == -EPERM ? 0 : r;
}

static void drop_backend(struct table *table, const char *owner)
{
	struct table_backend *backend = table_backend(table, owner);
	size_t at;

	if (!backend)
		return;
	at = (size_t)(backend - table->backends);
	free(backend->owner);
	for (size_t i = 0; i < backend->n_servers; i++) {
		free(backend->servers[i].instance);
		free(backend->servers[i].machine);
		free(backend->servers[i].address);
	}
	free(backend->servers);
	memmove(backend, backend + 1, (table->n_backends - at - 1) * sizeof(*backend));
	table->n_backends--;
	memset(&table->backends[table->n_backends], 0, sizeof(*backend));
}

/* The reason that the port cannot be listened on, or NULL; owned by the caller. */
static char *check_listen(const struct routed *routed, const char *port, int64_t listen)
{
	int r = try_listen(routed->config->gateway_address, listen);

	return r < 0 ? xasprintf("cannot listen on port %s: %s; retrying every second", port,
				 strerror(-r))
		     : NULL;
}

/* One port that cannot be listened on makes HAProxy refuse its whole configuration. */
void prepare_check_listens(struct routed *routed)
{
	struct map errors = MAP_INIT;

	for (size_t i = 0; i < routed->table->n_routes; i++) {
		struct table_route *route = &routed->table->routes[i];
		_cleanup_free_ char *port = xasprintf("%lld", (long long)route->listen);
		_cleanup_free_ char *name = xasprintf("tcp-%s", port);
		const char *last = map_get(&routed->listen_errors, port);

		if (route->kind != KIND_TCP)
			continue;
		/* This table was checked already. */
		if (last && streq(route->error, last))
			free(map_put(&errors, port, xstrdup(last)));
		if (!route->owner || actual_has_backend(&routed->actual, name))
			continue;
		route->error = check_listen(routed, port, route->listen);
		if (!route->error)
			continue;
		if (!streq(route->error, last))
			log_warning("%s: %s", route->key, route->error);
		free(map_put(&errors, port, xstrdup(route->error)));
		drop_backend(routed->table, route->owner);
		free(steal(route->owner));
	}
	map_clear(&routed->listen_errors, free);
	routed->listen_errors = errors;
}

bool prepare_listen_is_free(const struct routed *routed)
{
	for (struct map_item *i = NULL; (i = map_next(&routed->listen_errors, i));) {
		int64_t port;

		if (int_parse(i->key, 1, 65535, &port) == 0 &&
		    try_listen(routed->config->gateway_address, port) == 0)
			return true;
	}
	return false;
}

/* Whether this gateway's HAProxy runs; then it is the program that uses the ports. */
static bool master_answers(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd, r = -1;

	if (strlen(path) >= sizeof(address.sun_path))
		return false;
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0) {
		r = connect(fd, (struct sockaddr *)&address, sizeof(address));
		close(fd);
	}
	return r == 0;
}

static int check_binds(const struct routed_config *config)
{
	for (char **bind = config->gateway_http; bind && *bind; bind++) {
		_cleanup_free_ char *address = NULL;
		int64_t port;
		int r = render_bind_parse(*bind, &address, &port);

		if (r == 0)
			r = try_listen(address, port);
		if (r < 0) {
			log_error("cannot listen on %s: %s; %s, or choose another address with "
				  "gateway-http",
				  *bind, strerror(-r),
				  r == -EADDRINUSE ? "stop the program that uses it"
						   : "make it an address of this machine");
			return r;
		}
	}
	return 0;
}

int routed_prepare(const struct routed_config *config)
{
	_cleanup_(routed_freep) struct routed *routed = routed_new(NULL, config);
	int r;

	routed->table = prepare_saved(config, NULL);
	if (!master_answers(routed->master)) {
		r = check_binds(config);
		if (r < 0)
			return r;
		prepare_check_listens(routed);
	}
	r = directory_make(config->daemon.run, 0755);
	if (r >= 0)
		r = directory_make(config->daemon.state, 0700);
	if (r < 0)
		return log_errno(LOG_ERR, r, "cannot create %s and %s", config->daemon.run,
				 config->daemon.state);
	return prepare_write(routed);
}
