/* The engine's description of a container for a service, and back from what the engine shows. */
#include <unistd.h>

#include "agentd/agentd.h"
#include "tests/tap.h"

static const struct container_context context = {
	.machine = "m1",
	.network = "ployz",
	.bridge_address = "10.101.7.1",
	.publish_address = "127.0.0.1",
	.files = "/state/files/x",
};

static struct agent_start *order_of(const char *ns, const char *service, const char *volumes)
{
	_cleanup_free_ char *text = xasprintf("{\"namespace\":\"%s\",\"epoch\":4,\"deploy\":\"d1\","
					      "\"generation\":1,\"opened\":7,"
					      "\"instance\":\"shop-web-1-d1\",\"slot\":1,"
					      "\"digest\":\"sha256:abc\",\"service\":{\"name\":"
					      "\"web\",\"image\":\"web:1\",%s},\"volumes\":{%s}}",
					      ns, service, volumes);
	struct agent_start *order = NULL;
	struct failure failure = FAILURE_INIT;

	if (codec_parse(&agent_start_schema, text, strlen(text), CODEC_LENIENT, (void **)&order,
			&failure) < 0) {
		printf("Bail out! %s: %s\n", failure.path ? failure.path : "", failure.message);
		exit(1);
	}
	return order;
}

static void has(const char *text, const char *part)
{
	if (!ok(strstr(text, part), "%s", part))
		tap_show("in", text);
}

static void config(void)
{
	static const char *const parts[] = {
		"\"Image\":\"sha256:abc\"",
		"\"Env\":[\"COLOR=red\"]",
		"\"Cmd\":[\"serve\"]",
		"\"ployz.instance\":\"shop-web-1-d1\"",
		"\"ployz.epoch\":\"4\"",
		"\"ployz.slot\":\"1\"",
		"\"ployz.machine\":\"m1\"",
		"\"ployz.run\":\"\"",
		"\"my.label\":\"mine\"",
		"\"NanoCpus\":500000000",
		"\"Memory\":67108864",
		"\"Dns\":[\"10.101.7.1\"]",
		"\"DnsSearch\":[\"shop.ployz.internal\"]",
		"\"Healthcheck\":{\"Test\":[\"NONE\"]}",
		"\"RestartPolicy\":{\"Name\":\"no\"}",
		"\"LogConfig\":{\"Type\":\"json-file\",",
		"\"max-size\":\"16m\",\"max-file\":\"2\"",
		"\"Source\":\"ployz.shop.data\"",
		"\"Source\":\"/state/files/x/0\"",
		"\"HostIp\":\"127.0.0.1\",\"HostPort\":\"8080\"",
		"\"Tmpfs\":{\"/tmp\":\"rw,size=1048576\"}",
		"\"NetworkMode\":\"ployz\"",
	};
	struct agent_start *order = order_of(
		"shop",
		"\"command\":[\"serve\"],\"labels\":{\"ployz.run\":\"7up\",\"ployz.x\":\"7up\","
		"\"ployz.slot\":\"7up\",\"my.label\":\"mine\"},\"env\":{\"COLOR\":\"red\"},"
		"\"files\":{\"/etc/"
		"a\":\"x\"},\"ports\":{\"http\":{\"port\":80}},"
		"\"publish\":[{\"port\":\"http\",\"host_port\":8080}],\"restart\":\"on-failure\","
		"\"mounts\":[{\"volume\":\"data\",\"target\":\"/"
		"data\"},{\"tmpfs\":\"1M\",\"target\":\"/tmp\"}],"
		"\"resources\":{\"cpus\":0.5,\"memory\":\"64M\"}",
		"\"data\":{}");
	_cleanup_json_ json_t *body = NULL, *inspected = NULL;
	_cleanup_free_ char *text = NULL;
	struct failure failure = FAILURE_INIT;
	struct container_seen seen;

	is_int(container_config(order, &context, &body, &failure), 0,
	       "a service becomes a container");
	text = json_text(body);
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		has(text, parts[i]);
	ok(!strstr(text, "7up"), "labels of the manifest that begin with ployz. are left out");
	inspected = json_pack("{s:s, s:O, s:{s:s, s:s}, s:i, s:s, s:{s:{s:{s:s}}}}", "Id", "c1",
			      "Config", body, "State", "Status", "running", "StartedAt", "t",
			      "RestartCount", 2, "Image", "sha256:abc", "NetworkSettings",
			      "Networks", "ployz", "IPAddress", "10.101.7.9");
	container_read(inspected, "ployz", &seen);
	ok(seen.instance && seen.running && !seen.run, "it is known again by its labels");
	is(seen.instance ? seen.instance->id : NULL, "shop-web-1-d1", "its id");
	is(seen.instance ? seen.instance->address : NULL, "10.101.7.9", "its address");
	ok(seen.service && seen.service->restart == RESTART_ON_FAILURE &&
		   seen.service->n_ports == 1,
	   "and what matters of its service");
	ok(seen.service && seen.service->n_mounts == 2 &&
		   streq(seen.service->mounts[0].volume, "data"),
	   "with its volumes");
	is(seen.machine, "m1", "its machine");
	ok(seen.instance && streq(seen.instance->ns, "shop") &&
		   streq(seen.instance->service, "web") && seen.instance->slot == 1 &&
		   streq(seen.instance->deploy, "d1") && seen.instance->epoch == 4 &&
		   streq(seen.instance->digest, "sha256:abc") && seen.instance->restarts == 2 &&
		   streq(seen.instance->container, "c1") && streq(seen.instance->image, "web:1") &&
		   seen.instance->hash && seen.instance->n_ports == 1 &&
		   seen.instance->state == INSTANCE_STARTING,
	   "and all that its labels say");
	ok(seen.service && seen.service->env.count == 0 && seen.service->files.count == 0,
	   "and nothing that may be secret");
	container_clear(&seen);
	agent_start_free(order);
	failure_clear(&failure);
}

static void refusals(void)
{
	static const struct {
		const char *ns, *service, *volumes, *words;
	} rows[] = {
		{ "shop", "\"mounts\":[{\"bind\":\"/etc\",\"target\":\"/e\"}]", "",
		  "only namespace system may" },
		{ "shop", "\"privileged\":true", "", "only namespace system may" },
		{ "shop", "\"host_network\":true", "", "only namespace system may" },
		{ "shop", "\"command\":[\"x\"]", "\"data\":{\"driver\":\"zfs\"}",
		  "plain directories" },
		{ "shop", "\"command\":[\"x\"]", "\"data\":{\"quota\":\"1G\"}", "no quota" },
		{ "system", "\"privileged\":true", "", NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct agent_start *order = order_of(rows[i].ns, rows[i].service, rows[i].volumes);
		struct failure failure = FAILURE_INIT;
		_cleanup_json_ json_t *body = NULL;
		int r = container_config(order, &context, &body, &failure);

		ok(rows[i].words ? r < 0 && strstr(failure.message, rows[i].words) : r == 0,
		   "%s: %s", rows[i].service, failure.message ? failure.message : "allowed");
		failure_clear(&failure);
		agent_start_free(order);
	}
}

/* What the engine says is read without trust. */
static void strange(void)
{
	static const char *const texts[] = {
		"{}",
		"[]",
		"null",
		"{\"Labels\":7}",
		"{\"Id\":1,\"Labels\":{\"ployz.namespace\":\"a\",\"ployz.service\":\"b\",\"ployz."
		"instance\":\"c\",\"ployz.spec\":\"{\"}}",
		"{\"Id\":\"x\",\"Labels\":{\"ployz.namespace\":\"a\",\"ployz.service\":\"b\","
		"\"ployz.instance\":\"c\",\"ployz.slot\":\"-9\",\"ployz.epoch\":\"x\"},\"State\":[]"
		",\"Ports\":[1,{\"PublicPort\":99999999}]}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		_cleanup_json_ json_t *json = json_loads(texts[i], JSON_DECODE_ANY, NULL);
		struct container_seen seen;

		container_read(json, "ployz", &seen);
		ok(seen.n_host_ports == 0 && !seen.running, "%.40s", texts[i]);
		container_clear(&seen);
	}
}

/* An image may bring labels of its own: what cannot be an instance is none. */
static void labels(void)
{
	static const struct {
		const char *ns, *service, *instance;
		bool ours;
	} rows[] = {
		{ "shop", "web", "shop-web-0-d1", true }, { "Bad Name", "web", "a", false },
		{ "shop", "../web", "a", false },	  { "shop", "web", "../../etc", false },
		{ "shop", "web", "-a", false },		  { "shop", "web", "", false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_json_ json_t *json =
			json_pack("{s:s, s:{s:s, s:s, s:s}, s:{s:{s:{s:s}}}}", "Id", "c", "Labels",
				  "ployz.namespace", rows[i].ns, "ployz.service", rows[i].service,
				  "ployz.instance", rows[i].instance, "NetworkSettings", "Networks",
				  "ployz", "IPAddress", "10.0.0.1\nserver x");
		struct container_seen seen;

		container_read(json, "ployz", &seen);
		ok((seen.instance != NULL) == rows[i].ours, "%s/%s %s", rows[i].ns, rows[i].service,
		   rows[i].instance);
		ok(!seen.instance || !seen.instance->address, "  and what is no address is none");
		container_clear(&seen);
	}
}

static void pre_deploy(void)
{
	static const char text[] = "{\"namespace\":\"shop\",\"epoch\":4,\"deploy\":\"d1\","
				   "\"generation\":1,\"opened\":7,"
				   "\"service\":{\"name\":\"web\",\"image\":\"web:1\",\"command\":["
				   "\"serve\"],\"pre_deploy\":"
				   "{\"command\":[\"migrate\",\"--all\"]},\"restart\":\"always\"}}";
	static const char *const parts[] = {
		"\"Image\":\"web:1\"",
		"\"Entrypoint\":[\"migrate\",\"--all\"]",
		"\"Cmd\":[]",
		"\"RestartPolicy\":{\"Name\":\"no\"}",
		"\"ployz.run\":\"shop-web--1-d1\"",
		"\"ployz.instance\":\"\"",
		"\"Dns\":[\"10.101.7.1\"]",
	};
	struct agent_run *order = NULL;
	_cleanup_json_ json_t *body = NULL, *listed = NULL;
	_cleanup_free_ char *config_text = NULL, *name = NULL;
	struct container_seen seen;

	codec_parse(&agent_run_schema, text, strlen(text), CODEC_LENIENT, (void **)&order, NULL);
	is_int(container_run_config(order, &context, &body, NULL), 0,
	       "a pre_deploy command becomes a container");
	config_text = json_text(body);
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		has(config_text, parts[i]);
	name = container_run_name(order);
	is(name, "shop-web--1-d1", "its name is that of an instance of slot -1");
	listed = json_pack("{s:s, s:[s], s:O, s:s}", "Id", "c1", "Names", "/shop-web--1-d1",
			   "Labels", json_object_get(body, "Labels"), "State", "running");
	container_read(listed, "ployz", &seen);
	is(seen.run, "shop-web--1-d1", "it is known again");
	ok(!seen.instance, "and is no instance");
	container_clear(&seen);
	agent_run_free(order);
}

/* Docker's states and Podman's. */
static void states(void)
{
	static const struct {
		const char *status;
		bool running, created;
		int64_t exit_code;
	} rows[] = {
		{ "created", false, true, -1 },	    { "configured", false, true, -1 },
		{ "initialized", false, true, -1 }, { "running", true, false, -1 },
		{ "paused", true, false, -1 },	    { "stopping", true, false, -1 },
		{ "exited", false, false, 3 },	    { "stopped", false, false, 3 },
		{ "dead", false, false, 3 },	    { "restarting", false, false, 3 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_json_ json_t *json =
			json_pack("{s:s, s:s, s:{s:s, s:i, s:s}}", "Id", "c", "Name", "/x", "State",
				  "Status", rows[i].status, "ExitCode", 256 + 3, "StartedAt", "t");
		_cleanup_json_ json_t *listed =
			json_pack("{s:s, s:s}", "Id", "c", "State", rows[i].status);
		struct container_seen seen, item;

		container_read(json, "ployz", &seen);
		container_read(listed, "ployz", &item);
		ok(seen.running == rows[i].running && seen.created == rows[i].created &&
			   seen.exit_code == rows[i].exit_code && streq(seen.started_at, "t"),
		   "%s: %s", rows[i].status,
		   rows[i].running   ? "it runs"
		   : rows[i].created ? "it was never started"
				     : "it has ended");
		ok(item.running == rows[i].running && item.created == rows[i].created &&
			   item.exit_code == -1,
		   "  also in a list, without an exit code");
		container_clear(&seen);
		container_clear(&item);
	}
}

static void policies(void)
{
	static const struct {
		const char *name;
		bool restarts;
	} rows[] = { { "no", false }, { "", false }, { "always", true }, { "on-failure", true } };

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_json_ json_t *json = json_pack("{s:{s:{s:s}}}", "HostConfig",
							"RestartPolicy", "Name", rows[i].name);
		struct container_seen seen;

		container_read(json, "ployz", &seen);
		ok(seen.engine_restarts == rows[i].restarts, "restart policy '%s'", rows[i].name);
		container_clear(&seen);
	}
}

static void ports(void)
{
	static const struct {
		int64_t port;
		int protocol;
		const char *address;
	} wanted[] = {
		{ 80, PROTOCOL_TCP, NULL },	  { 80, PROTOCOL_UDP, NULL },
		{ 65535, PROTOCOL_TCP, NULL },	  { 81, PROTOCOL_TCP, "127.0.0.1" },
		{ 81, PROTOCOL_TCP, "10.0.0.1" }, { 82, PROTOCOL_TCP, NULL },
	};
	_cleanup_json_ json_t *json = json_loads(
		"{\"Ports\":[{\"PublicPort\":80,\"Type\":\"tcp\"},{\"PublicPort\":80,\"Type\":"
		"\"tcp\"},"
		"{\"PublicPort\":80,\"Type\":\"udp\"},{\"PublicPort\":0},{\"PublicPort\":65536},"
		"{\"PublicPort\":65535},{\"PrivatePort\":5},"
		"{\"PublicPort\":81,\"Type\":\"tcp\",\"IP\":\"127.0.0.1\"},"
		"{\"PublicPort\":81,\"Type\":\"tcp\",\"IP\":\"10.0.0.1\"},"
		"{\"PublicPort\":81,\"Type\":\"tcp\",\"IP\":\"10.0.0.1\"},"
		"{\"PublicPort\":82,\"Type\":\"tcp\",\"IP\":\"0.0.0.0\"},"
		"{\"PublicPort\":82,\"Type\":\"tcp\",\"IP\":\"::\"}]}",
		0, NULL);
	struct container_seen seen;

	container_read(json, "ployz", &seen);
	is_int((long long)seen.n_host_ports, (long long)ARRAY_SIZE(wanted),
	       "host ports, each once");
	for (size_t i = 0; i < ARRAY_SIZE(wanted) && i < seen.n_host_ports; i++)
		ok(seen.host_ports[i].port == wanted[i].port &&
			   seen.host_ports[i].protocol == wanted[i].protocol &&
			   streq(seen.host_ports[i].address, wanted[i].address),
		   "%lld on %s", (long long)wanted[i].port,
		   wanted[i].address ? wanted[i].address : "all addresses");
	container_clear(&seen);
}

static void on_saved(_unused_ int error, _unused_ void *userdata)
{
}

/* Which containers agentd has made. */
static void owners(void)
{
	static const struct {
		const char *name, *machine, *instance, *container, *id;
		bool ours;
	} rows[] = {
		{ "recorded with its id", "m1", "i-made", "i-made", "c-made", true },
		{ "renamed, with that id", "m1", "i-made", "other", "c-made", true },
		{ "another id under that name", "m1", "i-made", "i-made", "c-other", false },
		{ "of another machine", "m2", "i-made", "i-made", "c-made", false },
		{ "perhaps made, by label and name", "m1", "i-doubt", "i-doubt", "c-x", true },
		{ "perhaps made, with another name", "m1", "i-doubt", "copy", "c-x", false },
		{ "about to be made: it cannot exist yet", "m1", "i-new", "i-new", "c-x", false },
		{ "never recorded", "m1", "i-none", "i-none", "c-x", false },
	};
	char directory[] = "/tmp/plt-records.XXXXXX";
	_cleanup_free_ char *path = NULL;
	struct records *records = NULL;

	if (!mkdtemp(directory) || records_new(NULL, directory, on_saved, NULL, &records) < 0) {
		ok(false, "a file of records is made");
		return;
	}
	path = xasprintf("%s/containers.json", directory);
	records_expect(records, "i-made");
	records_made(records, "i-made", "c-made");
	records_expect(records, "i-doubt");
	records_doubt(records, "i-doubt");
	ok(!records_expect(records, "i-new"), "what is about to be made is recorded first");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *name = xasprintf("/%s", rows[i].container);
		_cleanup_json_ json_t *json = json_pack(
			"{s:s, s:s, s:{s:s, s:s, s:s, s:s}}", "Id", rows[i].id, "Name", name,
			"Labels", "ployz.machine", rows[i].machine, "ployz.namespace", "shop",
			"ployz.service", "web", "ployz.instance", rows[i].instance);
		struct container_seen seen;

		container_read(json, "ployz", &seen);
		ok(records_owner(records, &seen, "m1") == rows[i].ours, "%s: %s", rows[i].name,
		   rows[i].ours ? "ours" : "not ours");
		container_clear(&seen);
	}
	records_remove(records, "i-made");
	is(records_id(records, "i-made"), NULL, "a record is removed");
	records_write_facts(records);
	ok(!records_previous(records), "no process was before this one");
	ok(records_expect(records, "i-new"), "and all of it is on the disk");
	records_free(records);
	if (records_new(NULL, directory, on_saved, NULL, &records) < 0) {
		ok(false, "a file of records is read");
		return;
	}
	ok(records_previous(records) &&
		   !streq(records_previous(records), records_incarnation(records)),
	   "the next process knows the one that wrote facts before it");
	records_free(records);
	if (file_write_atomic(path, "{}", 2, 0600) < 0 ||
	    records_new(NULL, directory, on_saved, NULL, &records) != -EINVAL)
		ok(false, "a damaged file is refused");
	unlink(path);
	rmdir(directory);
}

int main(void)
{
	config();
	refusals();
	strange();
	labels();
	pre_deploy();
	states();
	policies();
	ports();
	owners();
	return tap_done();
}
