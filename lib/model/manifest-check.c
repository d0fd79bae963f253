/* Manifest check (pure): the rules that schema rows cannot express: references, claims, limits. */
#include "lib/model/manifest-check.h"

#include <arpa/inet.h>
#include <ctype.h>

#include "lib/map.h"
#include "lib/model/route-path.h"
#include "lib/model/route.h"
#include "lib/str.h"

#define SERVICES_MAX 1000
#define SYSTEM_NAMESPACE "system"
#define OWN_LABELS "ployz."

struct check {
	const struct manifest *manifest;
	manifest_report *report;
	void *userdata;
	struct map owners; /* key of a route or host port → path of its first user */
};

static void _printf_(3, 4) say(struct check *c, char *path, const char *format, ...)
{
	_cleanup_free_ char *owned = path, *message = NULL;
	va_list args;

	va_start(args, format);
	message = xvasprintf(format, args);
	va_end(args);
	c->report(owned, message, c->userdata);
}

/* Paths are made only for errors; say() takes ownership. */
#define AT(s, format, ...) xasprintf("services.%s." format, (s)->name, __VA_ARGS__)
#define AT_KEY(s, key) xasprintf("services.%s." key, (s)->name)

/* Refuses the second use of a key in one manifest and names the first. */
static void claim(struct check *c, char *key, char *path, const char *what)
{
	_cleanup_free_ char *owned_key = key, *owned_path = path;
	const char *owner = map_get(&c->owners, key);

	if (owner)
		say(c, xstrdup(path), "%s is taken already by %s", what, owner);
	else
		map_put(&c->owners, key, steal(owned_path));
}

static const char *nearest_port(const struct service *s, const char *name)
{
	const char *nearest;
	const char **names = xcalloc(s->n_ports + 1, sizeof(*names));

	for (size_t i = 0; i < s->n_ports; i++)
		names[i] = s->ports[i].name;
	nearest = str_nearest(name, names);
	free(names);
	return nearest;
}

/* NULL after the error of the reference was reported. */
static const struct port *refer(struct check *c, const struct service *s, const char *name,
				int protocol, char *path)
{
	const struct port *port = service_port(s, name);
	const char *nearest = port ? NULL : nearest_port(s, name);

	if (!port && nearest)
		say(c, path, "there is no port '%s' (did you mean '%s'?)", name, nearest);
	else if (!port)
		say(c, path, "there is no port '%s' in the service's ports", name);
	else if (protocol >= 0 && port->protocol != protocol)
		say(c, path, "port '%s' is not a %s port", name, protocol_names[protocol]);
	else
		free(path);
	return port;
}

static bool file_path_valid(const char *path)
{
	if (path[0] != '/' || !path[1])
		return false;
	for (const char *p = path; *p; p++)
		if (iscntrl((unsigned char)*p) || *p == ':')
			return false;
	for (const char *p = strstr(path, "/.."); p; p = strstr(p + 1, "/.."))
		if (p[3] == '\0' || p[3] == '/')
			return false;
	return true;
}

static void check_http_route(struct check *c, const struct service *s, size_t i)
{
	const struct http_route *http = s->routes[i].http;
	_cleanup_free_ char *error = route_path_error(http->path);
	int segments = route_path_segments(http->path);

	refer(c, s, http->port, PROTOCOL_TCP, AT(s, "routes[%zu].http.port", i));
	if (error)
		say(c, AT(s, "routes[%zu].http.path", i), "%s", error);
	if (http->strip && segments > MANIFEST_MAX_STRIP)
		say(c, AT(s, "routes[%zu].http.strip", i),
		    "strip removes at most %d segments, '%s' has %d; write a shorter path or no "
		    "strip",
		    MANIFEST_MAX_STRIP, http->path, segments);
	for (size_t j = 0; http->hosts[j]; j++) {
		_cleanup_free_ char *what = route_key_http(http->hosts[j], http->path);

		if (!hostname_valid(http->hosts[j]))
			say(c, AT(s, "routes[%zu].http.hosts[%zu]", i, j),
			    "'%s' is not a host name (a-z, 0-9, - and dots)", http->hosts[j]);
		else if (streq(http->hosts[j], "tcp"))
			say(c, AT(s, "routes[%zu].http.hosts[%zu]", i, j),
			    "the host name 'tcp' stands for tcp routes; choose another one");
		else
			claim(c, xstrdup(what), AT(s, "routes[%zu].http.hosts[%zu]", i, j), what);
	}
}

static void check_routes(struct check *c, const struct service *s)
{
	for (size_t i = 0; i < s->n_routes; i++) {
		const struct tcp_route *tcp = s->routes[i].tcp;

		if (!s->routes[i].http == !tcp)
			say(c, AT(s, "routes[%zu]", i), "must have exactly one of http, tcp");
		else if (tcp) {
			_cleanup_free_ char *what = route_key_tcp(tcp->listen);

			refer(c, s, tcp->port, PROTOCOL_TCP, AT(s, "routes[%zu].tcp.port", i));
			claim(c, xstrdup(what), AT(s, "routes[%zu].tcp.listen", i), what);
		} else
			check_http_route(c, s, i);
	}
}

static bool address_valid(const char *address)
{
	unsigned char bytes[sizeof(struct in6_addr)];

	return inet_pton(AF_INET, address, bytes) == 1 || inet_pton(AF_INET6, address, bytes) == 1;
}

static void check_publish(struct check *c, const struct service *s)
{
	for (size_t i = 0; i < s->n_publish; i++) {
		const struct publish *p = &s->publish[i];
		const struct port *port = refer(c, s, p->port, -1, AT(s, "publish[%zu].port", i));
		const char *protocol = protocol_names[port ? port->protocol : PROTOCOL_TCP];

		if (p->address && !address_valid(p->address))
			say(c, AT(s, "publish[%zu].address", i), "'%s' is not an IP address",
			    p->address);
		claim(c,
		      xasprintf("publish %s %s %lld", p->address ? p->address : "", protocol,
				(long long)p->host_port),
		      AT(s, "publish[%zu].host_port", i), "this host port");
	}
}

static void check_ready(struct check *c, const struct service *s)
{
	const struct ready *ready = s->ready;

	if (!ready)
		return;
	if (!!ready->http + !!ready->tcp + !!ready->exec + !!ready->running > 1)
		say(c, AT_KEY(s, "ready"), "must have at most one of http, tcp, exec, running");
	if (ready->http) {
		refer(c, s, ready->http->port, PROTOCOL_TCP, AT_KEY(s, "ready.http.port"));
		if (!route_path_valid(ready->http->path, "?"))
			say(c, AT_KEY(s, "ready.http.path"), "'%s' is not a path",
			    ready->http->path);
	}
	if (ready->tcp)
		refer(c, s, ready->tcp->port, PROTOCOL_TCP, AT_KEY(s, "ready.tcp.port"));
}

static void check_mount(struct check *c, const struct service *s, size_t i)
{
	const struct mount *m = &s->mounts[i];
	uint64_t bytes;

	if (!!m->volume + !!m->tmpfs + !!m->bind != 1)
		say(c, AT(s, "mounts[%zu]", i), "must have exactly one of volume, tmpfs, bind");
	if (m->volume && !manifest_volume(c->manifest, m->volume))
		say(c, AT(s, "mounts[%zu].volume", i),
		    "there is no volume '%s' in the manifest's volumes", m->volume);
	if (m->tmpfs && (size_parse(m->tmpfs, &bytes) < 0 || !bytes))
		say(c, AT(s, "mounts[%zu].tmpfs", i), "must be a size such as 64M, not '%s'",
		    m->tmpfs);
	if (m->bind && !streq(c->manifest->ns, SYSTEM_NAMESPACE))
		say(c, AT(s, "mounts[%zu].bind", i),
		    "paths of the machine are for namespace " SYSTEM_NAMESPACE " only");
	else if (m->bind && !file_path_valid(m->bind) && !streq(m->bind, "/"))
		say(c, AT(s, "mounts[%zu].bind", i), "'%s' is not an absolute path", m->bind);
	if (!file_path_valid(m->target))
		say(c, AT(s, "mounts[%zu].target", i),
		    "'%s' is not an absolute path in the container", m->target);
	for (size_t j = 0; j < i; j++)
		if (streq(m->target, s->mounts[j].target)) {
			say(c, AT(s, "mounts[%zu].target", i), "'%s' is mounted already",
			    m->target);
			break;
		}
}

static void check_texts(struct check *c, const struct service *s)
{
	for (size_t i = 0; i < s->env.count; i++)
		if (!*s->env.items[i].key || strchr(s->env.items[i].key, '='))
			say(c, AT(s, "env.%s", s->env.items[i].key),
			    "a variable's name has at least one letter and no =");
	for (size_t i = 0; i < s->files.count; i++)
		if (!file_path_valid(s->files.items[i].key))
			say(c, AT(s, "files.%s", s->files.items[i].key),
			    "not an absolute path in the container");
	if (s->hostname &&
	    (!hostname_valid(s->hostname) || s->hostname[0] == '*' || strlen(s->hostname) > 63))
		say(c, AT_KEY(s, "hostname"), "'%s' is not a host name", s->hostname);
	/* agentd recognises its containers by these labels. */
	for (size_t i = 0; i < s->labels.count; i++)
		if (str_starts(s->labels.items[i].key, OWN_LABELS))
			say(c, AT(s, "labels.%s", s->labels.items[i].key),
			    "labels that begin with " OWN_LABELS " are reserved");
	if (s->image[strcspn(s->image, " \t\r\n")])
		say(c, AT_KEY(s, "image"), "an image's name has no blanks");
}

static void check_privileges(struct check *c, const struct service *s)
{
	if (streq(c->manifest->ns, SYSTEM_NAMESPACE))
		return;
	if (s->privileged)
		say(c, AT_KEY(s, "privileged"), "is for namespace " SYSTEM_NAMESPACE " only");
	if (s->host_network)
		say(c, AT_KEY(s, "host_network"), "is for namespace " SYSTEM_NAMESPACE " only");
}

static void check_numbers(struct check *c, const struct service *s)
{
	for (size_t i = 0; i < s->n_ports; i++)
		for (size_t j = 0; j < i; j++)
			if (s->ports[i].port == s->ports[j].port &&
			    s->ports[i].protocol == s->ports[j].protocol)
				say(c, AT(s, "ports.%s", s->ports[i].name),
				    "is the same port as '%s'", s->ports[j].name);
}

static void check_depends(struct check *c, const struct service *s)
{
	for (size_t i = 0; s->depends_on && s->depends_on[i]; i++) {
		const char *name = s->depends_on[i];

		if (streq(name, s->name))
			say(c, AT(s, "depends_on[%zu]", i), "a service cannot depend on itself");
		else if (!manifest_service(c->manifest, name))
			say(c, AT(s, "depends_on[%zu]", i), "there is no service '%s'", name);
	}
}

/* Repeatedly marks services whose dependencies are all marked; the rest is part of a cycle or
 * depends on one. */
static void check_circles(struct check *c)
{
	const struct manifest *m = c->manifest;
	_cleanup_free_ bool *done = xcalloc(m->n_services + 1, sizeof(bool));
	bool moved = true;

	while (moved) {
		moved = false;
		for (size_t i = 0; i < m->n_services; i++) {
			bool waits = false;

			for (char **d = m->services[i].depends_on; !done[i] && d && *d; d++) {
				const struct service *other = manifest_service(m, *d);

				waits = waits || (other && other != &m->services[i] &&
						  !done[other - m->services]);
			}
			moved = moved || (!done[i] && !waits);
			done[i] = done[i] || !waits;
		}
	}
	for (size_t i = 0; i < m->n_services; i++)
		if (!done[i])
			say(c, AT_KEY(&m->services[i], "depends_on"), "is part of a cycle");
}

static bool owner_valid(const char *owner)
{
	const char *colon = strchr(owner, ':');
	_cleanup_free_ char *uid = xstrndup(owner, colon ? (size_t)(colon - owner) : 0);
	int64_t id;

	return colon && int_parse(uid, 0, UINT32_MAX - 1, &id) == 0 &&
	       int_parse(colon + 1, 0, UINT32_MAX - 1, &id) == 0;
}

static void check_volume(struct check *c, const struct volume *v)
{
	if (v->owner && !owner_valid(v->owner))
		say(c, xasprintf("volumes.%s.owner", v->name),
		    "must be uid:gid in numbers, not '%s'", v->owner);
	if (v->perm &&
	    (strlen(v->perm) < 3 || strlen(v->perm) > 4 || v->perm[strspn(v->perm, "01234567")]))
		say(c, xasprintf("volumes.%s.perm", v->name),
		    "must be an octal mode such as \"0750\", not '%s'", v->perm);
}

static void check_grants(struct check *c)
{
	for (size_t i = 0; i < c->manifest->grants.count; i++) {
		const char *host = c->manifest->grants.items[i].host;

		if (!hostname_valid(host))
			say(c, xasprintf("grants.%s", host), "'%s' is not a host name", host);
	}
}

/* Limits of the whole namespace. A global service has a slot on each machine and is counted as one.
 */
static void check_limits(struct check *c)
{
	size_t routes = 0;
	int64_t slots = 0;

	for (size_t i = 0; i < c->manifest->n_services; i++) {
		const struct service *s = &c->manifest->services[i];
		_cleanup_(strv_freep) char **keys = route_keys(s);

		routes += strv_count(keys);
		slots += s->replicas == REPLICAS_GLOBAL ? 1 : s->replicas;
	}
	if (routes > MANIFEST_MAX_ROUTES)
		say(c, xstrdup("services"), "%zu routes, the limit of a namespace is %d", routes,
		    MANIFEST_MAX_ROUTES);
	if (slots > MANIFEST_MAX_SLOTS)
		say(c, xstrdup("services"), "%lld slots, the limit of a namespace is %d",
		    (long long)slots, MANIFEST_MAX_SLOTS);
}

void manifest_check(const struct manifest *manifest, manifest_report *report, void *userdata)
{
	struct check c = { .manifest = manifest, .report = report, .userdata = userdata };

	if (manifest->n_services > SERVICES_MAX) {
		say(&c, xstrdup("services"), "more than %d services", SERVICES_MAX);
		return;
	}
	for (size_t i = 0; i < manifest->n_services; i++) {
		const struct service *s = &manifest->services[i];

		check_texts(&c, s);
		check_numbers(&c, s);
		check_publish(&c, s);
		check_routes(&c, s);
		check_ready(&c, s);
		for (size_t j = 0; j < s->n_mounts; j++)
			check_mount(&c, s, j);
		check_privileges(&c, s);
		check_depends(&c, s);
	}
	check_circles(&c);
	check_grants(&c);
	check_limits(&c);
	for (size_t i = 0; i < manifest->n_volumes; i++)
		check_volume(&c, &manifest->volumes[i]);
	map_clear(&c.owners, free);
}
