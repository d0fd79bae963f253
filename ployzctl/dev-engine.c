/* Requests of `ployzctl dev` to the container engine: a ping at the start, and the removal of its
 * containers at the end. */
#include "ployzctl/dev.h"

#define PING_USEC 5000000ull
#define LIST_USEC 10000000ull
#define REMOVE_USEC 60000000ull
#define API "http://engine"

static void list_containers(struct dev *dev);

static void request(struct dev *dev, const char *method, const char *path, uint64_t timeout_usec,
		    http_done_fn done, void *userdata)
{
	_cleanup_free_ char *url = xasprintf(API "%s", path);
	const struct http_options options = {
		.socket = dev->engine,
		.method = method,
		.url = url,
		.timeout_usec = timeout_usec,
		.max = 16 << 20,
		.done = done,
		.userdata = userdata,
	};

	http_start(dev->http, &options, NULL);
}

static void on_ping(const struct http_answer *answer, void *userdata)
{
	struct dev *dev = userdata;
	_cleanup_free_ char *error = NULL;

	if (answer->error)
		error = xasprintf("%s", strerror(-answer->error));
	else if (answer->status != 200)
		error = xasprintf("it answered with status %d", answer->status);
	dev->pinged(dev, error);
}

void dev_engine_ping(struct dev *dev, void (*fn)(struct dev *dev, const char *error))
{
	dev->pinged = fn;
	request(dev, "GET", "/_ping", PING_USEC, on_ping, dev);
}

static void cleaned(struct dev *dev)
{
	if (dev->removed)
		dev_print(dev, "removed %u container%s", dev->removed,
			  dev->removed == 1 ? "" : "s");
	dev->cleaned(dev);
}

static void on_network(const struct http_answer *answer, void *userdata)
{
	struct dev *dev = userdata;

	if (answer->error || (answer->status >= 300 && answer->status != 404))
		dev_print(dev, "cannot remove network %s: %s", dev->config.network,
			  answer->error ? answer->text : answer->body);
	cleaned(dev);
}

static char *network_path(const struct dev *dev)
{
	_cleanup_free_ char *name = http_escape(dev->config.network, "");

	return xasprintf("/networks/%s", name);
}

/* A network of this name that belongs to another machine stays. */
static void on_inspected(const struct http_answer *answer, void *userdata)
{
	struct dev *dev = userdata;
	_cleanup_json_ json_t *network =
		answer->status == 200 ? json_loadb(answer->body, answer->size, 0, NULL) : NULL;
	const char *owner = json_string_value(
		json_object_get(json_object_get(network, "Labels"), "ployz.machine"));
	_cleanup_free_ char *path = network_path(dev);

	if (network && streq(owner, dev->machine))
		request(dev, "DELETE", path, LIST_USEC, on_network, dev);
	else
		cleaned(dev);
}

static void remove_network(struct dev *dev)
{
	_cleanup_free_ char *path = network_path(dev);

	request(dev, "GET", path, LIST_USEC, on_inspected, dev);
}

static void on_removed(const struct http_answer *answer, void *userdata)
{
	struct dev *dev = userdata;

	if (answer->error || (answer->status >= 300 && answer->status != 404))
		dev_print(dev, "cannot remove a container: %s",
			  answer->error ? answer->text : answer->body);
	else
		dev->removed++;
	if (--dev->http_left > 0)
		return;
	/* Containers that the engine was creating during the listing exist now. */
	if (dev->removed > dev->removed_before)
		list_containers(dev);
	else
		remove_network(dev);
}

static void on_list(const struct http_answer *answer, void *userdata)
{
	struct dev *dev = userdata;
	_cleanup_json_ json_t *list = NULL;
	json_t *container;
	size_t i;

	if (answer->error || answer->status != 200)
		dev_print(dev, "cannot list the containers: %s; they stay",
			  answer->error ? answer->text : answer->body);
	else
		list = json_loadb(answer->body, answer->size, 0, NULL);
	if (!dev->signals && json_array_size(list)) {
		dev_print(dev, "%zu containers of an earlier --keep stay", json_array_size(list));
		cleaned(dev);
		return;
	}
	json_array_foreach (list, i, container) {
		const char *id = json_string_value(json_object_get(container, "Id"));
		_cleanup_free_ char *path = xasprintf("/containers/%s?force=1&v=1", id ? id : "");

		if (!id || id[strspn(id, "0123456789abcdef")])
			continue;
		dev->http_left++;
		request(dev, "DELETE", path, REMOVE_USEC, on_removed, dev);
	}
	if (!dev->http_left)
		remove_network(dev);
}

static void list_containers(struct dev *dev)
{
	_cleanup_free_ char *label = xasprintf("ployz.machine=%s", dev->machine);
	_cleanup_json_ json_t *filters = json_pack("{s:[s]}", "label", label);
	_cleanup_free_ char *text = json_text(filters), *escaped = http_escape(text, "");
	_cleanup_free_ char *path = xasprintf("/containers/json?all=1&filters=%s", escaped);

	dev->removed_before = dev->removed;
	dev->http_left = 0;
	request(dev, "GET", path, LIST_USEC, on_list, dev);
}

void dev_engine_clean(struct dev *dev, void (*fn)(struct dev *dev))
{
	dev->cleaned = fn;
	list_containers(dev);
}
