/* A service in the engine's words, and back from what the engine shows. */
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
		"\"NanoCpus\":500000000",
		"\"Memory\":67108864",
		"\"Dns\":[\"10.101.7.1\"]",
		"\"DnsSearch\":[\"shop.ployz.internal\"]",
		"\"Healthcheck\":{\"Test\":[\"NONE\"]}",
		"\"RestartPolicy\":{\"Name\":\"on-failure\"}",
		"\"LogConfig\":{\"Type\":\"json-file\",\"Config\":{\"max-size\":\"16m\",\"max-"
		"file\":\"2\"}}",
		"\"Source\":\"ployz-shop-data\"",
		"\"Source\":\"/state/files/x/0\"",
		"\"HostIp\":\"127.0.0.1\",\"HostPort\":\"8080\"",
		"\"Tmpfs\":{\"/tmp\":\"rw,size=1048576\"}",
		"\"NetworkMode\":\"ployz\"",
	};
	struct agent_start *order = order_of(
		"shop",
		"\"command\":[\"serve\"],\"env\":{\"COLOR\":\"red\"},\"files\":{\"/etc/"
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
		  "namespace system only" },
		{ "shop", "\"privileged\":true", "", "namespace system only" },
		{ "shop", "\"host_network\":true", "", "namespace system only" },
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

int main(void)
{
	config();
	refusals();
	strange();
	labels();
	return tap_done();
}
