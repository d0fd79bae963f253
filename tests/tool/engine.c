/* engine: a container engine without containers, for tests that want a thousand deploys or two
 * hundred instances: it speaks the part of Docker's API that agentd and `ployzctl dev` use, and
 * what it starts runs at once and answers every HTTP request with its name. It restarts nothing.
 *
 *   engine SOCKET
 *
 * Its containers listen on their own addresses: the machine must take these for its own, which
 * `ip route add local 10.101.N.0/24 dev LINK` says. It has every image, and refuses what it
 * does not know: exec, output. A volume exists once a container that mounts it was made. */
#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/ployz.h"

#define API "/v1.41"
#define DONE "HTTP/1.1 204 No Content\r\n\r\n"
#define REQUEST_MAX (8u * 1024 * 1024)

struct engine {
	sd_event *loop;
	struct map containers; /* id → struct container */
	struct map networks;   /* name → json_t, as an inspection shows it */
	char **volumes;
	struct map listening; /* id of a connection that follows events → struct connection */
};

struct container {
	struct engine *engine;
	char *id, *name, *address, *started_at;
	const char *state;
	json_t *body; /* as it was asked for */
	int64_t exit_code;
	struct listener *listeners;
	size_t n_listeners;
};

struct listener {
	struct engine *engine;
	const struct container *container; /* NULL: the engine's own socket */
	sd_event_source *source;
	int fd;
};

struct connection {
	struct engine *engine;
	char *name; /* of the container that answers; NULL: the engine does */
	char *key;  /* in `listening`, while it follows events */
	sd_event_source *source;
	int fd;
	struct strbuf in, out;
	bool closing; /* when `out` is written */
};

struct request {
	const char *method, *path, *query;
	json_t *body;
};

static void answer(struct connection *c, int status, const char *body)
{
	strbuf_printf(&c->out, "HTTP/1.1 %d %s\r\nContent-Length: %zu\r\n\r\n%s", status,
		      status < 300 ? "OK" : "No", strlen(body), body);
}

static void answer_json(struct connection *c, int status, json_t *json)
{
	_cleanup_free_ char *text = json_text(json);

	answer(c, status, text);
	json_decref(json);
}

static void refuse(struct connection *c, int status, const char *words)
{
	answer_json(c, status, json_pack("{s:s}", "message", words));
}

/* Owned by the caller. */
static char *unescape(const char *s, size_t size)
{
	char *plain = curl_easy_unescape(NULL, s, (int)size, NULL), *own = xstrdup(plain);

	curl_free(plain);
	return own;
}

/* Owned by the caller; NULL: it is not there. */
static char *query_get(const char *query, const char *key)
{
	size_t length = strlen(key);

	for (const char *at = query; *at;) {
		size_t size = strcspn(at, "&");

		if (size > length && at[length] == '=' && strncmp(at, key, length) == 0)
			return unescape(at + length + 1, size - length - 1);
		at += size + (at[size] == '&');
	}
	return NULL;
}

static const char *network_of(const json_t *body)
{
	return json_string_value(
		json_object_get(json_object_get(body, "HostConfig"), "NetworkMode"));
}

static const json_t *labels_of(const struct container *container)
{
	return json_object_get(container->body, "Labels");
}

/* Whether the labels have each KEY=VALUE that the filters want. */
static bool suits(const json_t *filters, const json_t *labels)
{
	const json_t *wanted = json_object_get(filters, "label"), *item;
	size_t i;

	json_array_foreach (wanted, i, item) {
		const char *text = json_string_value(item);
		size_t n = text ? strcspn(text, "=") : 0;
		_cleanup_free_ char *key = xstrndup(text ? text : "", n);
		const char *value = json_string_value(json_object_get(labels, key));

		if (!text || !text[n] || !streq(value, text + n + 1))
			return false;
	}
	return true;
}

static void connection_free(struct connection *c)
{
	if (c->key)
		map_remove(&c->engine->listening, c->key);
	free(c->key);
	free(c->name);
	sd_event_source_disable_unref(c->source);
	close(c->fd);
	strbuf_clear(&c->in);
	strbuf_clear(&c->out);
	free(c);
}

/* The connection may be gone afterwards. */
static void flush(struct connection *c)
{
	while (c->out.size) {
		ssize_t n = send(c->fd, c->out.text, c->out.size, MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			break;
		if (n <= 0) {
			connection_free(c);
			return;
		}
		strbuf_consume(&c->out, (size_t)n);
	}
	if (c->closing && !c->out.size)
		connection_free(c);
	else
		sd_event_source_set_io_events(c->source, EPOLLIN | (c->out.size ? EPOLLOUT : 0));
}

static void tell(struct container *container, const char *action)
{
	struct engine *engine = container->engine;
	_cleanup_json_ json_t *attributes = json_copy((json_t *)labels_of(container));
	_cleanup_json_ json_t *event = NULL;
	_cleanup_free_ char *text = NULL;

	json_object_set_new(attributes, "name", json_string(container->name));
	if (streq(action, "die")) {
		_cleanup_free_ char *code = xasprintf("%lld", (long long)container->exit_code);

		json_object_set_new(attributes, "exitCode", json_string(code));
	}
	event = json_pack("{s:s, s:s, s:{s:s, s:O}, s:I}", "Type", "container", "Action", action,
			  "Actor", "ID", container->id, "Attributes", attributes, "timeNano",
			  (json_int_t)time_now_usec() * 1000);
	text = json_text(event);
	for (struct map_item *i = NULL; (i = map_next(&engine->listening, i));) {
		struct connection *c = i->value;

		strbuf_printf(&c->out, "%zx\r\n%s\n\r\n", strlen(text) + 1, text);
		flush(c);
	}
}

static void follow_events(struct connection *c)
{
	c->key = xasprintf("%d", c->fd);
	map_put(&c->engine->listening, c->key, c);
	strbuf_puts(&c->out, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
			     "Transfer-Encoding: chunked\r\n\r\n");
}

/* --- containers */

static void container_end(struct container *container, int64_t exit_code)
{
	for (size_t i = 0; i < container->n_listeners; i++) {
		sd_event_source_disable_unref(container->listeners[i].source);
		close(container->listeners[i].fd);
	}
	free(steal(container->listeners));
	container->n_listeners = 0;
	free(steal(container->address));
	container->state = "exited";
	container->exit_code = exit_code;
	tell(container, "die");
}

static void container_free(struct container *container)
{
	json_decref(container->body);
	free(container->id);
	free(container->name);
	free(container->started_at);
	free(container);
}

static struct container *container_find(const struct engine *engine, const char *word)
{
	struct container *container = map_get(&engine->containers, word);

	for (struct map_item *i = NULL; !container && (i = map_next(&engine->containers, i));)
		if (streq(((struct container *)i->value)->name, word))
			container = i->value;
	return container;
}

static bool address_taken(const struct engine *engine, const char *address)
{
	for (struct map_item *i = NULL; (i = map_next(&engine->containers, i));)
		if (streq(((struct container *)i->value)->address, address))
			return true;
	return false;
}

/* The first free one of the network's /24; owned by the caller; NULL: there is none. */
static char *address_choose(const struct engine *engine, const char *network)
{
	const json_t *pool = json_array_get(
		json_object_get(json_object_get(map_get(&engine->networks, network), "IPAM"),
				"Config"),
		0);
	const char *gateway = json_string_value(json_object_get(pool, "Gateway"));
	const char *dot = gateway ? strrchr(gateway, '.') : NULL;

	for (int i = 2; dot && i < 255; i++) {
		_cleanup_free_ char *address =
			xasprintf("%.*s.%d", (int)(dot - gateway), gateway, i);

		if (!address_taken(engine, address))
			return steal(address);
	}
	return NULL;
}

static int on_accept(sd_event_source *source, int fd, uint32_t revents, void *userdata);

static int listen_on(struct listener *listener, const struct sockaddr *to, socklen_t size)
{
	const int one = 1;

	listener->fd = socket(to->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (listener->fd < 0)
		return -errno;
	setsockopt(listener->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener->fd, to, size) < 0 || listen(listener->fd, SOMAXCONN) < 0)
		return -errno;
	return sd_event_add_io(listener->engine->loop, &listener->source, listener->fd, EPOLLIN,
			       on_accept, listener);
}

static int container_listen(struct container *container)
{
	const json_t *ports = json_object_get(container->body, "ExposedPorts");
	struct sockaddr_in to = { .sin_family = AF_INET };
	const char *port;
	json_t *value;
	int r = 0;

	container->listeners = xcalloc(json_object_size(ports), sizeof(*container->listeners));
	inet_pton(AF_INET, container->address, &to.sin_addr);
	json_object_foreach ((json_t *)ports, port, value) {
		struct listener *listener = &container->listeners[container->n_listeners++];

		listener->engine = container->engine;
		listener->container = container;
		to.sin_port = htons((uint16_t)atoi(port));
		r = listen_on(listener, (const struct sockaddr *)&to, sizeof(to));
		if (r < 0)
			return r;
	}
	return 0;
}

static void start(struct connection *c, struct container *container)
{
	int r;

	if (streq(container->state, "running")) {
		strbuf_puts(&c->out, "HTTP/1.1 304 Not Modified\r\n\r\n");
		return;
	}
	container->address = address_choose(container->engine, network_of(container->body));
	if (!container->address) {
		refuse(c, 500, "its network is not there, or has no address left");
		return;
	}
	r = container_listen(container);
	if (r < 0) {
		_cleanup_free_ char *words =
			xasprintf("cannot listen on %s: %s", container->address, strerror(-r));

		container_end(container, 128);
		refuse(c, 500, words);
		return;
	}
	free(container->started_at);
	container->started_at = time_format(time_now_usec());
	container->state = "running";
	tell(container, "start");
	strbuf_puts(&c->out, DONE);
}

static void stop(struct connection *c, struct container *container, bool remove)
{
	if (streq(container->state, "running"))
		container_end(container, 128 + SIGTERM);
	if (remove) {
		tell(container, "destroy");
		map_remove(&container->engine->containers, container->id);
		container_free(container);
	}
	strbuf_puts(&c->out, DONE);
}

static void make_volumes(struct engine *engine, const json_t *body)
{
	const json_t *mounts = json_object_get(json_object_get(body, "HostConfig"), "Mounts"),
		     *mount;
	size_t i;

	json_array_foreach (mounts, i, mount) {
		const char *source = json_string_value(json_object_get(mount, "Source"));

		if (source && streq(json_string_value(json_object_get(mount, "Type")), "volume") &&
		    !strv_contains(engine->volumes, source))
			strv_push(&engine->volumes, xstrdup(source));
	}
}

static void update(struct connection *c, struct container *container, const json_t *body)
{
	json_t *host = json_object_get(container->body, "HostConfig");
	json_t *policy = json_object_get(body, "RestartPolicy");

	if (policy)
		json_object_set(host, "RestartPolicy", policy);
	answer_json(c, 200, json_pack("{s:[]}", "Warnings"));
}

static void volume(struct connection *c, const char *name)
{
	if (strv_contains(c->engine->volumes, name))
		answer_json(c, 200, json_pack("{s:s, s:s}", "Name", name, "Driver", "local"));
	else
		refuse(c, 404, "no such volume");
}

static void create(struct connection *c, const struct request *request)
{
	struct engine *engine = c->engine;
	_cleanup_free_ char *name = query_get(request->query, "name"), *seed = NULL;
	struct container *container;

	if (!name || !network_of(request->body)) {
		refuse(c, 400, "a container wants a name and a NetworkMode here");
		return;
	}
	if (container_find(engine, name)) {
		refuse(c, 409, "the name is taken");
		return;
	}
	container = xcalloc(1, sizeof(*container));
	seed = xasprintf("%s %llu", name, (unsigned long long)time_now_usec());
	container->engine = engine;
	container->id = hash_hex(seed, strlen(seed));
	container->name = steal(name);
	container->state = "created";
	container->body = json_incref(request->body);
	map_put(&engine->containers, container->id, container);
	make_volumes(engine, request->body);
	tell(container, "create");
	answer_json(c, 201, json_pack("{s:s, s:[]}", "Id", container->id, "Warnings"));
}

static json_t *networks_of(const struct container *container)
{
	return json_pack("{s:{s:{s:s}}}", "Networks", network_of(container->body), "IPAddress",
			 container->address ? container->address : "");
}

static void inspect(struct connection *c, const struct container *container)
{
	_cleanup_json_ json_t *config = json_copy(container->body);
	json_t *host = json_object_get(container->body, "HostConfig");

	json_object_del(config, "HostConfig");
	answer_json(
		c, 200,
		json_pack("{s:s, s:s, s:o, s:{s:s, s:b, s:I, s:s}, s:I, s:O, s:O, s:o}", "Id",
			  container->id, "Name", container->name, "Image",
			  json_incref(json_object_get(container->body, "Image")), "State", "Status",
			  container->state, "Running", streq(container->state, "running"),
			  "ExitCode", (json_int_t)container->exit_code, "StartedAt",
			  container->started_at ? container->started_at : "0001-01-01T00:00:00Z",
			  "RestartCount", (json_int_t)0, "HostConfig", host, "Config", config,
			  "NetworkSettings", networks_of(container)));
}

static void list(struct connection *c, const struct request *request)
{
	_cleanup_free_ char *text = query_get(request->query, "filters");
	_cleanup_json_ json_t *filters = json_loads(text ? text : "{}", 0, NULL);
	json_t *all = json_array();

	for (struct map_item *i = NULL; (i = map_next(&c->engine->containers, i));) {
		const struct container *container = i->value;

		if (suits(filters, labels_of(container)))
			json_array_append_new(
				all, json_pack("{s:s, s:[s], s:O, s:O, s:s, s:[], s:o}", "Id",
					       container->id, "Names", container->name, "ImageID",
					       json_object_get(container->body, "Image"), "Labels",
					       labels_of(container), "State", container->state,
					       "Ports", "NetworkSettings", networks_of(container)));
	}
	answer_json(c, 200, all);
}

/* /containers/WORD[/VERB] */
static void containers(struct connection *c, const struct request *request, const char *rest)
{
	size_t length = strcspn(rest, "/");
	_cleanup_free_ char *word = xstrndup(rest, length);
	const char *verb = rest[length] ? rest + length + 1 : "";
	struct container *container = container_find(c->engine, word);
	bool get = streq(request->method, "GET"), post = streq(request->method, "POST");

	if (!container)
		refuse(c, 404, "no such container");
	else if (get && streq(verb, "json"))
		inspect(c, container);
	else if (post && streq(verb, "start"))
		start(c, container);
	else if (post && streq(verb, "stop"))
		stop(c, container, false);
	else if (post && streq(verb, "update"))
		update(c, container, request->body);
	else if (streq(request->method, "DELETE") && !*verb)
		stop(c, container, true);
	else
		refuse(c, 501, "this engine has no containers that could do that");
}

static void networks(struct connection *c, const struct request *request, const char *name)
{
	struct map *all = &c->engine->networks;
	json_t *network = map_get(all, name);

	if (streq(request->method, "POST") && streq(name, "create")) {
		const char *wanted = json_string_value(json_object_get(request->body, "Name"));

		network = json_copy(request->body);
		json_object_set_new(network, "Containers", json_object());
		json_decref(map_put(all, wanted ? wanted : "none", network));
		answer_json(c, 201, json_pack("{s:s}", "Id", wanted ? wanted : "none"));
	} else if (!network) {
		refuse(c, 404, "no such network");
	} else if (streq(request->method, "DELETE")) {
		json_decref(map_remove(all, name));
		strbuf_puts(&c->out, DONE);
	} else {
		answer_json(c, 200, json_incref(network));
	}
}

static void image(struct connection *c, const char *name)
{
	_cleanup_free_ char *hash = hash_hex(name, strlen(name));

	answer_json(c, 200, json_pack("{s:s+}", "Id", "sha256:", hash));
}

static void serve(struct connection *c, const struct request *request)
{
	const char *path = request->path;

	if (str_starts(path, API))
		path += strlen(API);
	if (c->name)
		answer(c, 200, c->name);
	else if (streq(path, "/_ping"))
		answer(c, 200, "OK");
	else if (streq(path, "/version"))
		answer(c, 200, "{\"Version\":\"0.0\"}");
	else if (streq(path, "/info"))
		answer(c, 200,
		       "{\"Architecture\":\"x86_64\",\"MemTotal\":68719476736,\"NCPU\":64}");
	else if (streq(path, "/events"))
		follow_events(c);
	else if (streq(path, "/containers/json"))
		list(c, request);
	else if (streq(path, "/containers/create"))
		create(c, request);
	else if (str_starts(path, "/containers/"))
		containers(c, request, path + strlen("/containers/"));
	else if (str_starts(path, "/networks/"))
		networks(c, request, path + strlen("/networks/"));
	else if (str_starts(path, "/volumes/"))
		volume(c, path + strlen("/volumes/"));
	else if (str_starts(path, "/images/"))
		image(c, path);
	else
		refuse(c, 501, "this engine does not know that");
}

/* --- requests as they come */

/* 1: one was served; 0: it is not whole yet; negative: it is none. */
static int serve_one(struct connection *c)
{
	const char *end = c->in.text ? strstr(c->in.text, "\r\n\r\n") : NULL, *length;
	struct request request = { 0 };
	_cleanup_free_ char *head = NULL;
	char *rest, *target;
	size_t whole;
	int64_t size;

	if (!end)
		return c->in.size > REQUEST_MAX ? -EMSGSIZE : 0;
	head = xstrndup(c->in.text, (size_t)(end - c->in.text) + 2);
	length = strcasestr(head, "\r\nContent-Length:");
	size = length ? strtoll(length + strlen("\r\nContent-Length:"), NULL, 10) : 0;
	if (size < 0 || size > REQUEST_MAX)
		return -EMSGSIZE;
	whole = (size_t)(end - c->in.text) + 4 + (size_t)size;
	if (c->in.size < whole)
		return 0;
	if (strcasestr(head, "\r\nConnection: close"))
		c->closing = true;
	rest = head;
	request.method = strsep(&rest, " ");
	target = strsep(&rest, " ");
	request.path = strsep(&target, "?");
	request.query = target ? target : "";
	request.body = json_loadb(end + 4, (size_t)size, 0, NULL);
	if (request.path)
		serve(c, &request);
	json_decref(request.body);
	strbuf_consume(&c->in, whole);
	return request.path ? 1 : -EPROTO;
}

static int on_connection(_unused_ sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct connection *c = userdata;
	char data[65536];
	int r = 1;

	if (revents & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
		ssize_t n = recv(fd, data, sizeof(data), 0);

		if (n == 0 || (n < 0 && errno != EAGAIN)) {
			connection_free(c);
			return 0;
		}
		if (n > 0)
			strbuf_add(&c->in, data, (size_t)n);
	}
	while (r > 0)
		r = serve_one(c);
	if (r < 0)
		connection_free(c);
	else
		flush(c);
	return 0;
}

static int on_accept(_unused_ sd_event_source *source, int fd, _unused_ uint32_t revents,
		     void *userdata)
{
	const struct listener *listener = userdata;
	const struct container *container = listener->container;
	int taken = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct connection *c;

	if (taken < 0)
		return 0;
	c = xcalloc(1, sizeof(*c));
	c->engine = listener->engine;
	c->fd = taken;
	c->name = container ? xasprintf("%s\n", container->name) : NULL;
	return sd_event_add_io(c->engine->loop, &c->source, taken, EPOLLIN, on_connection, c);
}

int main(int argc, char **argv)
{
	struct engine engine = { 0 };
	struct listener own = { .engine = &engine };
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int r;

	if (argc != 2 || strlen(argv[1]) >= sizeof(to.sun_path)) {
		fprintf(stderr, "usage: engine SOCKET\n");
		return 2;
	}
	strncpy(to.sun_path, argv[1], sizeof(to.sun_path) - 1);
	unlink(argv[1]);
	r = loop_new(&engine.loop);
	if (r >= 0)
		r = listen_on(&own, (const struct sockaddr *)&to, sizeof(to));
	if (r >= 0)
		r = sd_event_loop(engine.loop);
	if (r < 0)
		fprintf(stderr, "engine: %s: %s\n", argv[1], strerror(-r));
	unlink(argv[1]);
	return r < 0;
}
