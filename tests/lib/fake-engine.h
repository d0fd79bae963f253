/* A container engine without containers, in the test's own process: it speaks the part of Docker's
 * API that agentd uses. Part of surroundings.h. */
#ifndef PLOYZ_TESTS_FAKE_ENGINE_H
#define PLOYZ_TESTS_FAKE_ENGINE_H

#include "agentd/agentd.h"
#include "tests/fuzz/fake/http.h"

static struct agentd *agentd;

struct container {
	char *id, *name, *image, *policy, *address, *started_at;
	const char *state;
	json_t *labels, *body;
	int64_t exit_code, restarts;
	struct container *next;
};
static struct {
	struct container *containers; /* in the order of creation */
	char **volumes;
	struct strbuf asked; /* every request but reads of lists, one a line */
	const char *hold;    /* requests that contain this are not answered … */
	const char *refuse;  /* … are refused with a reason … */
	const char *refusal; /* … which is this one */
	bool away;	     /* every request breaks off */
	bool podman;
	bool no_update;	  /* it has no such request */
	bool quiet;	  /* no events */
	bool sick;	  /* HTTP probes are answered with 503 */
	int exec_code;	  /* of a command in a container */
	bool no_image;	  /* until it is pulled … */
	const char *pull; /* … with this output */
	unsigned number;  /* of the last container or start */
	char *output;	  /* of containers, in frames; NULL: none */
} engine;

static struct container *engine_find(const char *word)
{
	for (struct container *c = engine.containers; c; c = c->next)
		if (streq(c->id, word) || streq(c->name, word))
			return c;
	return NULL;
}

static const char *engine_state(const char *name)
{
	const struct container *c = engine_find(name);

	return c ? c->state : "none";
}

static void engine_event(const struct container *c, const char *action)
{
	_cleanup_json_ json_t *attributes = json_copy(c->labels), *event = NULL;
	_cleanup_free_ char *text = NULL, *line = NULL, *code = NULL;

	if (streq(action, "die")) {
		code = xasprintf("%lld", (long long)c->exit_code);
		json_object_set_new(attributes, "exitCode", json_string(code));
	}
	event = json_pack("{s:s, s:{s:s, s:O}}", "Action", action, "Actor", "ID", c->id,
			  "Attributes", attributes);
	text = json_text(event);
	line = xasprintf("%s\n", text);
	for (struct http_request *r = agentd ? agentd->http->requests : NULL; r && !engine.quiet;
	     r = r->next)
		if (strstr(r->url, "/events")) {
			fake_piece(r, 200, line, strlen(line));
			return;
		}
}

static void container_start(struct container *c)
{
	free(c->address);
	free(c->started_at);
	c->address = xasprintf("10.101.1.%u", 2 + ++engine.number % 200);
	c->started_at =
		xasprintf("2026-01-01T00:00:%02u.%06uZ", engine.number / 60 % 60, engine.number);
	c->state = "running";
	engine_event(c, "start");
}

/* Its process ends by itself. */
static void engine_die(const char *name, int64_t code)
{
	struct container *c = engine_find(name);

	if (!c || !streq(c->state, "running"))
		return;
	c->state = "exited";
	c->exit_code = code;
	free(steal(c->address));
	engine_event(c, "die");
}

/* The engine starts it again, as its restart policy says. */
static void engine_restart(const char *name)
{
	struct container *c = engine_find(name);

	if (!c || streq(c->policy, "no"))
		return;
	c->restarts++;
	container_start(c);
}

static void container_free(struct container *c)
{
	free(c->id);
	free(c->name);
	free(c->image);
	free(c->policy);
	free(c->address);
	free(c->started_at);
	json_decref(c->labels);
	json_decref(c->body);
	free(c);
}

static void engine_remove(const char *name)
{
	for (struct container **at = &engine.containers; *at; at = &(*at)->next) {
		struct container *c = *at;

		if (!streq(c->name, name) && !streq(c->id, name))
			continue;
		*at = c->next;
		engine_event(c, "destroy");
		container_free(c);
		return;
	}
}

/* A container that somebody else makes, by hand. Borrowed. */
static struct container *engine_make(const char *name, const json_t *labels)
{
	struct container *c = xcalloc(1, sizeof(*c)), **at = &engine.containers;

	while (*at)
		at = &(*at)->next;
	c->name = xstrdup(name);
	c->id = xasprintf("c%u-%s", ++engine.number, name);
	c->image = xstrdup("sha256:1");
	c->policy = xstrdup("no");
	c->state = "created";
	c->labels = labels ? json_copy((json_t *)labels) : json_object();
	*at = c;
	return c;
}

static void respond(struct http_request *request, int status, json_t *json)
{
	_cleanup_free_ char *text = json ? json_text(json) : xstrdup("");

	json_decref(json);
	fake_piece(request, status, text, strlen(text));
	fake_end(request, 0, status);
}

static void respond_message(struct http_request *request, int status, const char *message)
{
	respond(request, status, json_pack("{s:s}", "message", message));
}

static json_t *networks_of(const struct container *c)
{
	return json_pack("{s:{s:{s:s}}}", "Networks", "ployz", "IPAddress",
			 c->address ? c->address : "");
}

static json_t *inspect(const struct container *c)
{
	_cleanup_free_ char *name = xasprintf("/%s", c->name);

	return json_pack("{s:s, s:s, s:s, s:{s:s, s:I, s:s}, s:I, s:{s:{s:s}}, s:{s:O}, s:o}", "Id",
			 c->id, "Name", name, "Image", c->image, "State", "Status", c->state,
			 "ExitCode", (json_int_t)c->exit_code, "StartedAt",
			 c->started_at ? c->started_at : "", "RestartCount",
			 (json_int_t)c->restarts, "HostConfig", "RestartPolicy", "Name", c->policy,
			 "Config", "Labels", c->labels, "NetworkSettings", networks_of(c));
}

/* The ports that it publishes, as it was asked to. */
static json_t *ports_of(const struct container *c)
{
	const json_t *bindings = json_object_get(json_object_get(c->body, "HostConfig"),
						 "PortBindings"),
		     *binding;
	json_t *ports = json_array();
	const char *key;
	json_t *list;
	size_t i;

	json_object_foreach ((json_t *)bindings, key, list)
		json_array_foreach (list, i, binding)
			json_array_append_new(
				ports, json_pack("{s:i, s:s, s:O}", "PublicPort",
						 atoi(json_string_value(
							 json_object_get(binding, "HostPort"))),
						 "Type", strchr(key, '/') + 1, "IP",
						 json_object_get(binding, "HostIp")));
	return ports;
}

static json_t *list_containers(void)
{
	json_t *all = json_array();

	for (const struct container *c = engine.containers; c; c = c->next) {
		_cleanup_free_ char *name = xasprintf("/%s", c->name);

		json_array_append_new(all,
				      json_pack("{s:s, s:[s], s:s, s:O, s:s, s:o, s:o}", "Id",
						c->id, "Names", name, "ImageID", c->image, "Labels",
						c->labels, "State", c->state, "Ports", ports_of(c),
						"NetworkSettings", networks_of(c)));
	}
	return all;
}

static void create(struct http_request *request, const char *query)
{
	_cleanup_json_ json_t *body = json_loads(request->body ? request->body : "{}", 0, NULL);
	const char *name = strstr(query, "name=") ? strstr(query, "name=") + 5 : "";
	struct container *c;

	if (engine_find(name)) {
		respond_message(request, 409, "the name is already in use");
		return;
	}
	c = engine_make(name, json_object_get(body, "Labels"));
	c->body = json_incref(body);
	free(c->policy);
	c->policy = xstrdup(json_string_value(json_object_get(
		json_object_get(json_object_get(body, "HostConfig"), "RestartPolicy"), "Name")));
	respond(request, 201, json_pack("{s:s}", "Id", c->id));
}

static void update(struct http_request *request, struct container *c)
{
	_cleanup_json_ json_t *body = json_loads(request->body ? request->body : "{}", 0, NULL);

	if (engine.no_update) {
		fake_end(request, 0, 404);
		return;
	}
	free(c->policy);
	c->policy = xstrdup(
		json_string_value(json_object_get(json_object_get(body, "RestartPolicy"), "Name")));
	respond(request, 200, json_object());
}

static void stop(struct http_request *request, struct container *c)
{
	if (streq(c->state, "running"))
		engine_die(c->name, 143);
	fake_end(request, 0, 204);
}

/* `rest`: WORD or WORD/VERB. */
static bool container_request(struct http_request *request, const char *rest)
{
	size_t length = strcspn(rest, "/?");
	_cleanup_free_ char *word = xstrndup(rest, length);
	_cleanup_free_ char *verb =
		xstrndup(rest + length + (rest[length] == '/'),
			 rest[length] == '/' ? strcspn(rest + length + 1, "?") : 0);
	struct container *c = engine_find(word);

	if (!c) {
		respond_message(request, 404, "no such container");
	} else if (streq(request->method, "DELETE")) {
		engine_remove(c->id);
		fake_end(request, 0, 204);
	} else if (streq(verb, "json")) {
		respond(request, 200, inspect(c));
	} else if (streq(verb, "start")) {
		bool runs = streq(c->state, "running");

		if (!runs)
			container_start(c);
		fake_end(request, 0, runs ? 304 : 204);
	} else if (streq(verb, "stop")) {
		stop(request, c);
	} else if (streq(verb, "exec")) {
		respond(request, 201, json_pack("{s:s}", "Id", "e1"));
	} else if (streq(verb, "update")) {
		update(request, c);
	} else if (streq(verb, "wait") || (streq(verb, "logs") && request->on_body)) {
		/* Both end with the process. */
		if (streq(c->state, "running"))
			return false;
		if (streq(verb, "logs") && engine.output)
			fake_piece(request, 200, engine.output, strlen(engine.output));
		fake_end(request, 0, 200);
	} else if (streq(verb, "logs")) {
		if (engine.output)
			fake_piece(request, 200, engine.output, strlen(engine.output));
		fake_end(request, 0, 200);
	} else {
		respond_message(request, 501, "not here");
	}
	return true;
}

static void exec_request(struct http_request *request, const char *rest)
{
	if (strstr(rest, "/start")) {
		fake_piece(request, 200, "it says why", strlen("it says why"));
		fake_end(request, 0, 200);
	} else {
		respond(request, 200, json_pack("{s:i}", "ExitCode", engine.exec_code));
	}
}

static void image_request(struct http_request *request, const char *rest)
{
	if (str_starts(rest, "create")) {
		engine.no_image = false;
		if (engine.pull)
			fake_piece(request, 200, engine.pull, strlen(engine.pull));
		fake_end(request, 0, 200);
	} else if (engine.no_image) {
		respond_message(request, 404, "no such image");
	} else {
		respond(request, 200, json_pack("{s:s}", "Id", "sha256:1"));
	}
}

static void volume_request(struct http_request *request, const char *name)
{
	if (strv_contains(engine.volumes, name))
		respond(request, 200, json_pack("{s:s}", "Name", name));
	else
		respond_message(request, 404, "no such volume");
}

/* False: it is not answered now. */
static bool engine_respond(struct http_request *request, const char *path)
{
	if (str_starts(path, "/events"))
		return false;
	if (str_starts(path, "/version"))
		respond(request, 200,
			json_pack("{s:s, s:[{s:s}]}", "Version", "1.0", "Components", "Name",
				  engine.podman ? "Podman Engine" : "Engine"));
	else if (str_starts(path, "/info"))
		respond(request, 200,
			json_pack("{s:s, s:I, s:I}", "Architecture", "x86_64", "MemTotal",
				  (json_int_t)1 << 30, "NCPU", (json_int_t)4));
	else if (str_starts(path, "/networks/"))
		respond(request, 200,
			json_pack("{s:{s:[{s:s}]}}", "IPAM", "Config", "Subnet", "10.101.1.0/24"));
	else if (str_starts(path, "/containers/json"))
		respond(request, 200, list_containers());
	else if (str_starts(path, "/containers/create"))
		create(request, path);
	else if (str_starts(path, "/containers/"))
		return container_request(request, path + strlen("/containers/"));
	else if (str_starts(path, "/volumes/"))
		volume_request(request, path + strlen("/volumes/"));
	else if (str_starts(path, "/exec/"))
		exec_request(request, path + strlen("/exec/"));
	else if (str_starts(path, "/images/"))
		image_request(request, path + strlen("/images/"));
	else
		respond_message(request, 501, "not here");
	return true;
}

#endif
