#include "routed/routed.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define SAVED_MAX_BYTES (16u * 1024 * 1024)

void prepare_paths(struct routed *routed)
{
	const struct daemon_config *config = &routed->config->daemon;

	routed->socket = xasprintf("%s/haproxy.sock", config->run);
	routed->master = xasprintf("%s/haproxy-master.sock", config->run);
	routed->config_path = xasprintf("%s/haproxy.cfg", config->run);
	routed->map_path = xasprintf("%s/haproxy-routes.map", config->run);
	routed->saved_path = xasprintf("%s/table.json", config->state);
}

struct table *prepare_saved(const struct routed_config *config)
{
	_cleanup_free_ char *path = xasprintf("%s/table.json", config->daemon.state);
	_cleanup_free_ char *text = NULL;
	struct failure failure = FAILURE_INIT;
	void *table = NULL;
	size_t size;
	int r;

	r = file_read(path, SAVED_MAX_BYTES, &text, &size);
	if (r == -ENOENT)
		return codec_new(&table_schema);
	if (r >= 0)
		r = codec_parse(&table_schema, text, size, CODEC_LENIENT, &table, &failure);
	if (r < 0) {
		log_errno(LOG_WARNING, r, "%s cannot be read, the gateway starts without routes",
			  path);
		failure_clear(&failure);
		return codec_new(&table_schema);
	}
	return table;
}

/* HAProxy has what it needs from its sockets; one that starts anew has only the files. */
static void in_files_trouble(struct routed *routed, const char *path, int error)
{
	char *why =
		xasprintf("%s cannot be written: %s; a HAProxy that starts now begins with older "
			  "routes: mend that, routed tries again every second",
			  path, strerror(-error));

	if (!streq(routed->files_trouble, why))
		log_error("%s", why);
	free(routed->files_trouble);
	routed->files_trouble = why;
}

static int write_when_changed(struct routed *routed, const char *path, char *text, char **last,
			      unsigned mode)
{
	_cleanup_free_ char *owned = text;
	int r;

	if (streq(text, *last))
		return 0;
	r = file_write_atomic(path, text, strlen(text), mode);
	if (r < 0) {
		in_files_trouble(routed, path, r);
		return r;
	}
	free(*last);
	*last = steal(owned);
	routed->unsaved = true;
	return 0;
}

/* Not for each entry of the log: the table tells which it is of. */
static int save(struct routed *routed)
{
	_cleanup_free_ char *text = codec_print(&table_schema, routed->table);
	int r = file_write_atomic(routed->saved_path, text, strlen(text), 0600);

	if (r < 0)
		in_files_trouble(routed, routed->saved_path, r);
	else
		routed->unsaved = false;
	return r;
}

int prepare_write(struct routed *routed)
{
	struct render render = { routed->config->gateway_http, routed->config->gateway_address,
				 routed->socket, routed->map_path, routed->config->pool };
	int r;

	r = write_when_changed(routed, routed->map_path, render_map(routed->table),
			       &routed->rendered_map, 0644);
	if (r >= 0)
		r = write_when_changed(routed, routed->config_path,
				       render_config(routed->table, &render), &routed->rendered,
				       0644);
	if (r >= 0 && routed->unsaved)
		r = save(routed);
	if (r >= 0 && routed->files_trouble) {
		log_notice("the gateway's files are written again");
		free(steal(routed->files_trouble));
	}
	return r;
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
		return 0; /* a form that HAProxy may know */
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

void prepare_check_listens(struct routed *routed)
{
	for (size_t i = 0; i < routed->table->n_routes; i++) {
		struct table_route *route = &routed->table->routes[i];
		_cleanup_free_ char *name = xasprintf("tcp-%lld", (long long)route->listen);
		int r;

		if (route->kind != KIND_TCP || !route->owner ||
		    actual_has_backend(&routed->actual, name))
			continue;
		r = try_listen(routed->config->gateway_address, route->listen);
		if (r == 0)
			continue;
		/* One port that cannot be had would keep HAProxy from all of its configuration. */
		route->trouble = xasprintf("port %lld cannot be listened on: %s",
					   (long long)route->listen, strerror(-r));
		log_warning("%s: %s", route->key, route->trouble);
		drop_backend(routed->table, route->owner);
		free(steal(route->owner));
	}
}

/* Whether our HAProxy runs: then the ports that are in use are its own. */
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
			log_error("the gateway cannot listen on %s (%s): %s, or give it another "
				  "address with gateway-http",
				  *bind, strerror(-r),
				  r == -EADDRINUSE ? "end the program that uses it"
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

	routed->table = prepare_saved(config);
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
		return log_errno(LOG_ERR, r, "%s and %s cannot be made", config->daemon.run,
				 config->daemon.state);
	return prepare_write(routed);
}
