#include "lib/ployz.h"
#include "tests/tap.h"

/* Every row is what stands in service `web` (which has an image and the ports http and dns), or a
 * whole manifest where it begins with `namespace`. NULL: it is good; otherwise a part of the
 * error. */
struct row {
	const char *yaml;
	const char *error;
};

static const struct row rows[] = {
	/* the document */
	{ "namespace: a\nservices: {}", NULL },
	{ "namespace: a", "services: is missing" },
	{ "services: {}", "namespace: is missing" },
	{ "namespace: A\nservices: {}", "namespace: 'A' is not a valid name" },
	{ "namespace: 1a\nservices: {}", "not a valid name" },
	{ "namespace: a-\nservices: {}", "not a valid name" },
	{ "namespace: 5\nservices: {}", "must be a string: put it in quotes" },
	{ "namespace: a\nservices: []", "services: must be a map" },
	{ "namespace: a\nservices: {}\nvolume: {}",
	  "3:1: volume: unknown key (did you mean 'volumes'?)" },
	{ "namespace: a\nservices: {We: {image: x}}", "'We' is not a valid name" },
	{ "namespace: a\nservices: {w: 5}", "services.w: must be an object" },
	{ "namespace: a\nservices: {w: {}}", "2:12: services.w.image: is missing" },
	{ "namespace: a\nnamespace: b", "2:1: the key 'namespace' is there twice" },
	/* image, replicas */
	{ "image: ''", "image: must not be empty" },
	{ "image: 'a b'", "no blanks" },
	{ "image: 5", "put it in quotes" },
	{ "image: [x]", "not a list" },
	{ "image: 'r.example/x@sha256:00'", NULL },
	{ "replicas: 1", NULL },
	{ "replicas: 1000", NULL },
	{ "replicas: global", NULL },
	{ "replicas: 0", NULL },
	{ "replicas: -1", "must be a whole number" },
	{ "replicas: 1001", "must be a whole number" },
	{ "replicas: '2'", "must be a whole number" },
	{ "replicas: 1.5", "must be a whole number" },
	{ "replicas: all", "or global" },
	{ "replicsa: 2", "4:5: services.web.replicsa: unknown key (did you mean 'replicas'?)" },
	{ "xyzzyxyzzy: 2", "unknown key" },
	/* commands, environment, files */
	{ "command: [sh, -c, x]", NULL },
	{ "command: sh -c x", "must be a list of strings" },
	{ "command: [sh, 5]", "command[1]: must be a string" },
	{ "entrypoint: [x]", NULL },
	{ "entrypoint: x", "must be a list of strings" },
	{ "env: {A: '1', B: ''}", NULL },
	{ "env: {A: 1}", "env.A: must be a string: put it in quotes" },
	{ "env: {A: true}", "env.A: must be a string" },
	{ "env: {'A=B': x}", "no =" },
	{ "env: [A]", "must be a map of strings" },
	{ "files: {/etc/x: hello}", NULL },
	{ "files: {etc/x: hello}", "not an absolute path" },
	{ "files: {/etc/../x: hello}", "not an absolute path" },
	{ "files: {/: hello}", "not an absolute path" },
	/* publish */
	{ "publish: [{port: http, host_port: 80}]", NULL },
	{ "publish: [{port: http, host_port: 80, address: 10.0.0.1}]", NULL },
	{ "publish: [{port: http, host_port: 80, address: '::1'}]", NULL },
	{ "publish: [{port: http, host_port: 80, address: here}]", "not an IP address" },
	{ "publish: [{port: http, host_port: 0}]", "must be between 1 and 65535" },
	{ "publish: [{port: http, host_port: 65536}]", "must be between 1 and 65535" },
	{ "publish: [{port: http}]", "publish[0].host_port: is missing" },
	{ "publish: [{port: htp, host_port: 80}]",
	  "there is no port 'htp' (did you mean 'http'?)" },
	{ "publish: [{port: http, host_port: 53}, {port: dns, host_port: 53}]", NULL },
	{ "publish: [{port: http, host_port: 80}, {port: http, host_port: 80}]",
	  "taken already by services.web" },
	/* routes */
	{ "routes: [{http: {port: http, hosts: [a.example]}}]", NULL },
	{ "routes: [{http: {port: http, hosts: ['*.example'], path: /api, strip: true}}]", NULL },
	{ "routes: [{http: {port: http, hosts: [a.example], path: api}}]", "not a path" },
	{ "routes: [{http: {port: http, hosts: [a.example], path: '/a b'}}]", "not a path" },
	{ "routes: [{http: {port: http, hosts: [a.example], path: '/a?b'}}]", "not a path" },
	{ "routes: [{http: {port: http, hosts: [a.example], path: '/a;b'}}]", "not a path" },
	{ "routes: [{http: {port: http, hosts: [a.example], path: '/a|b'}}]", "not a path" },
	{ "routes: [{http: {port: http, hosts: [a.example], path: /a/..b/.c/d.}}]", NULL },
	{ "routes: [{http: {port: http, hosts: [a.example], path: /a/}}]", NULL },
	{ "routes: [{http: {port: http, hosts: [a.example], path: '/a//b'}}]",
	  "routes[0].http.path: '/a//b' has an empty segment; write /a/b" },
	{ "routes: [{http: {port: http, hosts: [a.example], path: '//'}}]", "segment; write /" },
	{ "routes: [{http: {port: http, hosts: [a.example], path: '/a/../b'}}]",
	  "'/a/../b' has a segment that consists of dots; write /b" },
	{ "routes: [{http: {port: http, hosts: [a.example], path: '/a/./b'}}]", "; write /a/b" },
	{ "routes: [{http: {port: http, hosts: [a.example], path: '/../..'}}]", "; write /" },
	{ "routes: [{http: {port: http, hosts: [a.example], path: '/a/b/..'}}]", "; write /a" },
	{ "routes: [{http: {port: http, hosts: [a.example], path: '/a/.'}}]", "; write /a" },
	{ "routes: [{http: {port: http, hosts: [a.example], path: '/api/*'}}]",
	  "'/api/*' has a *: a path matches everything below it; write /api" },
	{ "routes: [{http: {port: http, hosts: [a.example], path: '/*'}}]", "; write /" },
	{ "routes: [{http: {port: http, hosts: [a.example], path: '/a/b*/c'}}]", "; write /a" },
	{ "routes: [{http: {port: http, hosts: [a.example], strip: true, path: "
	  "/1/2/3/4/5/6/7/8}}]",
	  NULL },
	{ "routes: [{http: {port: http, hosts: [a.example], strip: true, path: "
	  "/1/2/3/4/5/6/7/8/9}}]",
	  "routes[0].http.strip: strip removes at most 8 segments, '/1/2/3/4/5/6/7/8/9' has 9" },
	{ "routes: [{http: {port: http, hosts: [a.example], path: /1/2/3/4/5/6/7/8/9}}]", NULL },
	{ "routes: [{http: {port: http, hosts: [a.example], strip: yes}}]",
	  "must be true or false" },
	{ "routes: [{http: {port: http, hosts: [a_b]}}]", "hosts[0]: 'a_b' is not a host name" },
	{ "routes: [{http: {port: http, hosts: [tcp]}}]",
	  "hosts[0]: the host name 'tcp' stands for" },
	{ "routes: [{http: {port: http, hosts: []}}]", "hosts: must not be empty" },
	{ "routes: [{http: {port: http}}]", "routes[0].http.hosts: is missing" },
	{ "routes: [{http: {hosts: [a]}}]", "routes[0].http.port: is missing" },
	{ "routes: [{http: {port: dns, hosts: [a]}}]", "not a tcp port" },
	{ "routes: [{http: {port: zz, hosts: [a]}}]", "there is no port 'zz'" },
	{ "routes: [{http: {port: http, hosts: [a, a]}}]", "a/ is taken already" },
	{ "routes: [{http: {port: http, hosts: [a], path: /x}}, {http: {port: http, hosts: [a], "
	  "path: /x/}}]",
	  "taken" },
	{ "routes: [{http: {port: http, hosts: [a], path: /x}}, {http: {port: http, hosts: [a], "
	  "path: /y}}]",
	  NULL },
	{ "routes: [{tcp: {port: http, listen: 5432}}]", NULL },
	{ "routes: [{tcp: {port: http, listen: 0}}]", "must be between 1 and 65535" },
	{ "routes: [{tcp: {port: http, listen: 70000}}]", "must be between 1 and 65535" },
	{ "routes: [{tcp: {port: http, listen: 1}}, {tcp: {port: http, listen: 1}}]",
	  "tcp/1 is taken already" },
	{ "routes: [{}]", "exactly one of http, tcp" },
	{ "routes: [{tcp: {port: http, listen: 1}, http: {port: http, hosts: [a]}}]",
	  "exactly one of http, tcp" },
	{ "routes: {http: {}}", "must be a list" },
	/* ready */
	{ "ready: {}", NULL },
	{ "ready: {http: {port: http}}", NULL },
	{ "ready: {http: {port: http, path: /h, status: 204}}", NULL },
	{ "ready: {http: {port: http, status: 200-299}}", NULL },
	{ "ready: {http: {port: http, status: '200'}}", NULL },
	{ "ready: {http: {port: http, status: 99}}", "must be an HTTP status" },
	{ "ready: {http: {port: http, status: 299-200}}", "must be an HTTP status" },
	{ "ready: {http: {port: http, status: 200-}}", "must be an HTTP status" },
	{ "ready: {http: {port: http, status: ok}}", "must be an HTTP status" },
	{ "ready: {http: {port: http, status: true}}", "must be an HTTP status" },
	{ "ready: {http: {port: http, path: h}}", "not a path" },
	{ "ready: {http: {port: http, path: '/h?deep=1'}}", NULL },
	{ "ready: {http: {port: http, path: '/h#x'}}", "not a path" },
	{ "ready: {http: {port: http, path: '/h x'}}", "not a path" },
	{ "ready: {http: {port: nope}}", "there is no port 'nope'" },
	{ "ready: {tcp: {port: http}}", NULL },
	{ "ready: {tcp: {port: dns}}", "not a tcp port" },
	{ "ready: {tcp: {}}", "ready.tcp.port: is missing" },
	{ "ready: {exec: [true]}", "exec[0]: must be a string" },
	{ "ready: {exec: ['true']}", NULL },
	{ "ready: {exec: ['true'], tcp: {port: http}}", "at most one of http, tcp, exec, running" },
	{ "ready: {running: 5s}", NULL },
	{ "ready: {running: 5s, exec: ['true']}", "at most one of http, tcp, exec, running" },
	{ "ready: {running: soon}", "must be a duration" },
	{ "ready: {interval: 500ms, timeout: 1s, retries: 3, start_period: 1m}", NULL },
	{ "ready: {start_period: 0s}", NULL },
	{ "ready: {interval: 0s}", "must be between" },
	{ "ready: {interval: 5}", "must be a duration" },
	{ "ready: {interval: 5 s}", "must be a duration" },
	{ "ready: {interval: -1s}", "must be a duration" },
	{ "ready: {retries: 0}", "must be between 1" },
	{ "ready: {retires: 1}", "did you mean 'retries'?" },
	/* order and ends */
	{ "update: start-first", NULL },
	{ "update: stop-first", NULL },
	{ "update: rolling", "must be one of" },
	{ "stop_grace: 1h", NULL },
	{ "stop_grace: 2d", "must be a duration" },
	{ "stop_grace: 48h", "must be between" },
	{ "restart: on-failure", NULL },
	{ "restart: no", NULL },
	{ "restart: false", "must be one of" },
	{ "pull: always", NULL },
	{ "pull: maybe", "must be one of missing, always, never" },
	{ "pre_deploy: {command: [migrate]}", NULL },
	{ "pre_deploy: {timeout: 1m}", "command: is missing" },
	{ "pre_deploy: {command: []}", "must not be empty" },
	/* mounts */
	{ "mounts: [{volume: data, target: /data}]", NULL },
	{ "mounts: [{volume: dat, target: /data}]", "there is no volume 'dat'" },
	{ "mounts: [{tmpfs: 64M, target: /tmp, readonly: true}]", NULL },
	{ "mounts: [{tmpfs: many, target: /tmp}]", "must be a size" },
	{ "mounts: [{bind: /etc, target: /x}]", "namespace system only" },
	{ "mounts: [{target: /x}]", "exactly one of volume, tmpfs, bind" },
	{ "mounts: [{volume: data, tmpfs: 1M, target: /x}]", "exactly one of" },
	{ "mounts: [{volume: data, target: x}]", "not an absolute path" },
	{ "mounts: [{volume: data}]", "mounts[0].target: is missing" },
	{ "mounts: [{volume: data, target: /x}, {tmpfs: 1M, target: /x}]", "mounted already" },
	/* the rest */
	{ "resources: {cpus: 0.5, memory: 64M}", NULL },
	{ "resources: {memory: 1024}", NULL },
	{ "resources: {memory: 64X}", "must be a size" },
	{ "resources: {cpus: -1}", "must be between" },
	{ "resources: {cpus: .inf}", "a number out of range" },
	{ "user: '1000:1000'\ncap_add: [NET_ADMIN]\nhostname: h\nstop_signal: INT\nlabels: {a.b/c: "
	  "d}",
	  NULL },
	{ "user: 1000", "put it in quotes" },
	{ "hostname: 'a b'", "not a host name" },
	{ "labels: {a.b: 5}", "labels.a.b: must be a string" },
	{ "privileged: true", "namespace system only" },
	{ "host_network: true", "namespace system only" },
	{ "placement: {zones: [a], labels: {disk: ssd}, spread: machine}", NULL },
	{ "placement: {spread: rack}", "must be one of zone, machine" },
	{ "placement: {zone: [a]}", "did you mean 'zones'?" },
	{ "place: {zones: [a]}", "services.web.place: unknown key" },
	/* labels */
	{ "labels: {a: b}", NULL },
	{ "labels: {ployz.machine: m1}", "labels.ployz.machine: labels that begin with ployz." },
	/* grants */
	{ "namespace: a\nservices: {}\ngrants: {shop.test: [b, c], '*.shop.test': [b]}", NULL },
	{ "namespace: a\nservices: {}\ngrants: {not a host: [b]}",
	  "'not a host' is not a host name" },
	{ "namespace: a\nservices: {}\ngrants: {shop.test: b}", "must be a list of namespaces" },
	{ "namespace: a\nservices: {}\ngrants: {shop.test: []}", "must be a list of namespaces" },
	{ "namespace: a\nservices: {}\ngrants: {shop.test: [B]}", "'B' is not the name" },
	{ "namespace: a\nservices: {}\ngrants: [shop.test]", "must be an object" },
	{ "depends_on: [api]", NULL },
	{ "depends_on: [web]", "cannot depend on itself" },
	{ "depends_on: [nope]", "there is no service 'nope'" },
	{ "namespace: a\nservices:\n  a: {image: x, depends_on: [b]}\n  b: {image: x, depends_on: "
	  "[a]}",
	  "part of a cycle" },
	{ "namespace: system\nservices:\n  a: {image: x, privileged: true, host_network: true,\n"
	  "      mounts: [{bind: /etc, target: /x}]}",
	  NULL },
	{ "namespace: a\nservices: {}\nvolumes: {v: {mode: shared, driver: zfs, quota: 2G, owner: "
	  "'1:2', perm: '0750'}}",
	  NULL },
	{ "namespace: a\nservices: {}\nvolumes: {v: {owner: root}}",
	  "volumes.v.owner: must be uid:gid" },
	{ "namespace: a\nservices: {}\nvolumes: {v: {perm: '999'}}", "must be an octal mode" },
	{ "namespace: a\nservices: {}\nvolumes: {v: {perm: 0750}}", "put it in quotes" },
	{ "namespace: a\nservices: {}\nvolumes: {v: {driver: nfs}}",
	  "must be one of auto, btrfs, zfs, dir" },
	{ "namespace: a\nservices: {}\nvolumes: {v: {quota: big}}", "must be a size" },
};

static char *whole(const char *yaml)
{
	struct strbuf text = STRBUF_INIT;
	bool has_image = strncmp(yaml, "image:", 6) == 0;

	if (str_starts(yaml, "namespace") || str_starts(yaml, "services"))
		return xstrdup(yaml);
	strbuf_printf(&text, "namespace: a\nservices:\n  web:\n    ");
	for (const char *p = yaml; *p; p++)
		strbuf_add(&text, *p == '\n' ? "\n    " : p, *p == '\n' ? 5 : 1);
	strbuf_puts(&text, "\n    ports: {http: {port: 80}, dns: {port: 53, protocol: udp}}\n");
	if (!has_image)
		strbuf_puts(&text, "    image: x\n");
	strbuf_puts(&text, "  api: {image: y}\nvolumes: {data: {}}\n");
	return strbuf_steal(&text);
}

/* Heads in the log carry manifests: what was encoded has to decode to the same. */
static void round_trip(const struct manifest *manifest, const char *name)
{
	_cleanup_json_ json_t *json = codec_encode(&manifest_schema, manifest), *again = NULL;
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;
	_cleanup_(manifest_freep) struct manifest *copy = NULL;

	if (manifest_decode(json, &copy, &failure) == 0)
		again = codec_encode(&manifest_schema, copy);
	if (!ok(again && json_equal(json, again), "round trip: %s", name))
		printf("#   %s: %s\n", failure.path ? failure.path : "",
		       failure.message ? failure.message : "differs");
}

static void test_row(const struct row *row)
{
	_cleanup_free_ char *text = whole(row->yaml), *name = xstrdup(row->yaml);
	_cleanup_(strv_freep) char **errors = NULL;
	_cleanup_(manifest_freep) struct manifest *manifest = NULL;
	_cleanup_free_ char *said = NULL;
	int r = manifest_parse("m.yaml", text, strlen(text), &manifest, &errors);

	for (char *p = name; *p; p++)
		*p = *p == '\n' || *p == '#' ? ' ' : *p;
	said = strv_join(errors, "\n");
	if (!ok(row->error ? r < 0 && !manifest && strstr(said, row->error)
			   : r == 0 && manifest && !errors,
		"%s", name)) {
		tap_show("got", said);
		tap_show("expected", row->error);
	}
	if (manifest)
		round_trip(manifest, name);
}

static struct manifest *good(const char *text)
{
	_cleanup_(strv_freep) char **errors = NULL;
	struct manifest *manifest = NULL;

	if (manifest_parse("good", text, strlen(text), &manifest, &errors) < 0) {
		tap_show("unexpected", errors ? errors[0] : NULL);
		exit(EXIT_FAILURE);
	}
	return manifest;
}

static void test_all_at_once(void)
{
	static const char text[] =
		"namespace: A\nservices:\n  a: {imag: x, replicas: -1}\n  b: {image: 5}\n"
		"  c: {image: c, depends_on: [z]}\nvolumes: {v: {perm: x}}\nmore: 1\n";
	static const char *const expected[] = { "m:1:1: namespace:",
						"m:3:7: services.a.imag:",
						"m:3:16: services.a.replicas:",
						"m:3:3: services.a.image: is missing",
						"m:4:7: services.b.image:",
						"m:5:30: services.c.depends_on[0]:",
						"m:6:15: volumes.v.perm:",
						"m:7:1: more: unknown key" };
	_cleanup_(strv_freep) char **errors = NULL;
	_cleanup_free_ char *said = NULL;
	struct manifest *manifest = NULL;

	manifest_parse("m", text, strlen(text), &manifest, &errors);
	said = strv_join(errors, "\n");
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++)
		if (!ok(strstr(said, expected[i]) != NULL, "all at once: %s", expected[i]))
			tap_show("got", said);
	is_int((long long)strv_count(errors), ARRAY_SIZE(expected), "all at once: nothing else");
}

static void test_large(void)
{
	static const char small[] = "{\"namespace\":\"a\",\"services\":{}}";
	_cleanup_free_ char *text = xcalloc(1, MANIFEST_MAX_BYTES + 2);
	_cleanup_(strv_freep) char **errors = NULL, **none = NULL;
	struct manifest *manifest = NULL;

	memset(text, ' ', MANIFEST_MAX_BYTES + 1);
	memcpy(text, small, strlen(small));
	ok(manifest_parse("m", text, MANIFEST_MAX_BYTES + 1, &manifest, &errors) < 0 &&
		   strstr(errors[0], "larger than 262144 bytes"),
	   "a manifest that is too large");
	ok(manifest_parse("m", text, MANIFEST_MAX_BYTES, &manifest, &none) == 0 && !none,
	   "and one that is as large as is allowed");
	manifest_free(manifest);
}

/* The limits of a namespace, at exactly N and one over it. */
static void test_limits(void)
{
	for (int more = 0; more <= 1; more++) {
		struct strbuf routes = STRBUF_INIT, slots = STRBUF_INIT;
		const char *const what[] = { "257 routes", "2001 slots" };
		struct strbuf *texts[] = { &routes, &slots };

		strbuf_puts(&routes, "namespace: a\nservices:\n  web:\n    image: x\n"
				     "    ports: {http: {port: 80}}\n    routes:\n"
				     "      - tcp: {port: http, listen: 1}\n"
				     "      - http: {port: http, hosts: [a");
		for (int i = 0; i < MANIFEST_MAX_ROUTES - 2 + more; i++)
			strbuf_printf(&routes, ", r%d.test", i);
		strbuf_puts(&routes, "]}\n");
		strbuf_printf(&slots,
			      "namespace: a\nservices:\n  a: {image: x, replicas: 1000}\n"
			      "  b: {image: x, replicas: 999}\n  c: {image: x, replicas: %s}\n"
			      "  d: {image: x, replicas: %d}\n",
			      "global", more);
		for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
			_cleanup_(strv_freep) char **errors = NULL;
			_cleanup_(manifest_freep) struct manifest *manifest = NULL;
			int r = manifest_parse("m", texts[i]->text, texts[i]->size, &manifest,
					       &errors);

			if (more)
				ok(r < 0 && strstr(errors[0], what[i]), "%s are too many", what[i]);
			else
				ok(r == 0, "one less than %s", what[i]);
			strbuf_clear(texts[i]);
		}
	}
}

static void test_defaults(void)
{
	_cleanup_(manifest_freep) struct manifest *m =
		good("namespace: a\nservices:\n  w: {image: x, ports: {d: {port: 53, "
		     "protocol: udp}, h: {port: 80}}}\n  u: {image: x, ports: {d: {port: 53, "
		     "protocol: udp}}}\n");
	const struct service *w = manifest_service(m, "w");
	struct ready ready;

	is_int(w->replicas, 1, "default replicas");
	is_int((long long)w->stop_grace, 10000000, "default stop_grace");
	is_int(w->restart, RESTART_UNLESS_STOPPED, "default restart");
	is_int(w->placement.spread, SPREAD_ZONE, "default spread");
	service_ready(w, &ready);
	is(ready.tcp ? ready.tcp->port : NULL, "h", "ready by default: the first TCP port");
	is_int(ready.retries, 30, "default retries");
	is_int((long long)ready.timeout, 5000000, "default timeout");
	is_int((long long)ready.running, 0, "then not by running");
	service_ready(manifest_service(m, "u"), &ready);
	is_int((long long)ready.running, 2000000, "ready by default without a TCP port: running");
	is_int(service_update(m, w, NULL), UPDATE_START_FIRST, "start-first by default");
	ok(!manifest_service(m, "z") && !manifest_volume(m, "z") && !service_port(w, "z"),
	   "look-ups of nothing");
}

static void test_update(void)
{
	_cleanup_(manifest_freep) struct manifest *m =
		good("namespace: a\nservices:\n  p: {image: x, ports: {h: {port: 80}}, publish: "
		     "[{port: h, host_port: 80}]}\n"
		     "  v: {image: x, mounts: [{volume: e, target: /e}]}\n  s: {image: x, mounts: "
		     "[{volume: s, target: /s}]}\n"
		     "  o: {image: x, update: stop-first}\nvolumes: {e: {}, s: {mode: shared}}\n");
	const char *why;

	is_int(service_update(m, manifest_service(m, "p"), &why), UPDATE_STOP_FIRST,
	       "a host port: stop-first");
	is_int(service_update(m, manifest_service(m, "v"), &why), UPDATE_STOP_FIRST,
	       "an exclusive volume: stop-first");
	ok(strstr(why, "exclusive volume") != NULL, "and it says why");
	is_int(service_update(m, manifest_service(m, "s"), &why), UPDATE_START_FIRST,
	       "a shared volume: start-first");
	is_int(service_update(m, manifest_service(m, "o"), &why), UPDATE_STOP_FIRST,
	       "said so: stop-first");
}

/* Whether the hash differs from that of the plain service. */
static const struct {
	const char *more;
	bool differs;
} hashes[] = {
	{ "replicas: 3", false },
	{ "routes: [{tcp: {port: h, listen: 1}}]", false },
	{ "placement: {zones: [a]}", false },
	{ "pull: always", false },
	{ "update: stop-first", false },
	{ "ready: {interval: 3s}", false },
	{ "ready: {tcp: {port: h}, retries: 3}", false },
	{ "ready: {http: {port: h}}", true },
	{ "env: {A: b}", true },
	{ "command: [x]", true },
	{ "files: {/a: b}", true },
	{ "user: x", true },
	{ "resources: {memory: 1M}", true },
	{ "labels: {a: b}", true },
	{ "stop_signal: INT", true },
};

static char *hash_of(const char *more, const char *digest)
{
	_cleanup_free_ char *text = xasprintf(
		"namespace: a\nservices:\n  w:\n    image: x\n    ports: {h: {port: 80}}\n    %s\n",
		more);
	_cleanup_(manifest_freep) struct manifest *m = good(text);

	return service_hash(&m->services[0], digest);
}

static void test_hashes(void)
{
	_cleanup_free_ char *plain = hash_of("", NULL), *one = hash_of("", "sha256:1"),
			    *two = hash_of("", "sha256:2");
	_cleanup_free_ char *ab = hash_of("env: {A: a, B: b}", NULL),
			    *ba = hash_of("env: {B: b, A: a}", NULL);

	for (size_t i = 0; i < ARRAY_SIZE(hashes); i++) {
		_cleanup_free_ char *hash = hash_of(hashes[i].more, NULL);

		ok(streq(hash, plain) != hashes[i].differs, "hash: %s %s", hashes[i].more,
		   hashes[i].differs ? "counts" : "does not count");
	}
	ok(!streq(one, two) && !streq(one, plain), "hash: the digest counts");
	is(ab, ba, "hash: the order of keys does not count");
}

static void test_examples(void)
{
	_cleanup_free_ char *yaml = NULL, *json = NULL, *yaml_hash = NULL, *json_hash = NULL;
	_cleanup_(manifest_freep) struct manifest *a = NULL, *b = NULL;

	if (file_read("examples/hello.yaml", MANIFEST_MAX_BYTES, &yaml, NULL) < 0 ||
	    file_read("examples/hello.json", MANIFEST_MAX_BYTES, &json, NULL) < 0) {
		skip("examples", "not run from the top of the tree");
		return;
	}
	a = good(yaml);
	b = good(json);
	yaml_hash = manifest_hash(a);
	json_hash = manifest_hash(b);
	is(yaml_hash, json_hash, "examples: JSON and YAML are one model");
}

int main(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		test_row(&rows[i]);
	test_all_at_once();
	test_large();
	test_limits();
	test_defaults();
	test_update();
	test_hashes();
	test_examples();
	return tap_done();
}
