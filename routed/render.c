/* Render: makes haproxy.cfg and its map from a table. */
#include "routed/routed.h"

int render_bind_parse(const char *bind, char **ret_address, int64_t *ret_port)
{
	const char *colon = strrchr(bind, ':');

	if (!colon || colon == bind || strpbrk(bind, " \t\"'\\#,") ||
	    int_parse(colon + 1, 1, 65535, ret_port) < 0)
		return -EINVAL;
	*ret_address = xstrndup(bind, (size_t)(colon - bind));
	return 0;
}

static void render_global(struct strbuf *out, const struct render *render)
{
	strbuf_puts(out,
		    "# Written by routed at each change: what HAProxy starts from. Do not edit.\n");
	strbuf_printf(out,
		      "global\n"
		      "\tfd-hard-limit 100000\n"
		      "\thard-stop-after 1h\n"
		      "\tstats socket %s mode 600 level admin expose-fd listeners\n"
		      "\tstats timeout 1m\n\n",
		      render->socket);
	/* leastconn: without load it takes servers in turn. With roundrobin a server added at run
	 * time can wait for sixteen rounds of the others (measured with 2.6), and a slow one gets
	 * as many requests as the rest.
	 *
	 * Refused connections are retried each second, 30 times: a service whose instances are
	 * being replaced holds its requests as long as a queue would. A request that reached a
	 * server is never sent again: one that crashes a server would crash all of them. */
	strbuf_puts(out, "defaults\n"
			 "\tmode http\n"
			 "\tbalance leastconn\n"
			 "\ttimeout connect 2s\n"
			 "\ttimeout queue 30s\n"
			 "\ttimeout client 5m\n"
			 "\ttimeout server 5m\n"
			 "\ttimeout http-request 10s\n"
			 "\ttimeout http-keep-alive 1m\n"
			 "\ttimeout tunnel 1h\n"
			 "\tretries 30\n"
			 "\toption redispatch 1\n"
			 "\tretry-on conn-failure\n"
			 "\thttp-error status 502 content-type text/plain string \"the service "
			 "broke off its answer\\n\"\n"
			 "\thttp-error status 503 content-type text/plain string \"the service "
			 "cannot be reached\\n\"\n"
			 "\thttp-error status 504 content-type text/plain string \"the service did "
			 "not answer in time\\n\"\n\n");
}

/* The map's value for the longest known prefix of host and path is <backend>|<segments to
 * strip>|<owner>. An exact host wins over a wildcard. */
static void render_gateway(struct strbuf *out, const struct render *render)
{
	strbuf_puts(out, "frontend gateway\n");
	for (char **bind = render->http; bind && *bind; bind++)
		strbuf_printf(out, "\tbind %s\n", *bind);
	strbuf_puts(out, "\thttp-request set-var(txn.host) req.hdr(host),host_only,lower,rtrim(.)\n"
			 "\thttp-request set-header X-Forwarded-For %[src]\n"
			 "\thttp-request set-header X-Forwarded-Proto http unless { ssl_fc }\n"
			 "\thttp-request set-header X-Forwarded-Proto https if { ssl_fc }\n"
			 "\thttp-request set-header X-Forwarded-Host %[req.hdr(host)]\n"
			 "\thttp-request set-var-fmt(txn.key) \"%[var(txn.host)]%[path]/\"\n");
	strbuf_printf(out, "\thttp-request set-var(txn.to) var(txn.key),map_beg(%s)\n",
		      render->map);
	strbuf_puts(out, "\thttp-request set-var-fmt(txn.key) "
			 "\"*.%[var(txn.host),field(2,.,0)]%[path]/\"\n");
	strbuf_printf(out,
		      "\thttp-request set-var(txn.to) var(txn.key),map_beg(%s) unless { "
		      "var(txn.to) -m found }\n",
		      render->map);
	strbuf_puts(out, "\thttp-request return status 404 content-type text/plain lf-string "
			 "\"nothing is routed at host '%[var(txn.host)]', path '%[path]'\\n\" "
			 "unless { var(txn.to) -m found }\n"
			 "\thttp-request set-var(txn.backend) var(txn.to),field(1,|)\n"
			 "\thttp-request return status 503 content-type text/plain lf-string "
			 "\"%[var(txn.to),field(3,|)] has no ready instance\\n\" "
			 "if { var(txn.backend),nbsrv eq 0 }\n");
	for (int i = 1; i <= STRIP_MAX; i++)
		strbuf_printf(out,
			      "\thttp-request set-path \"/%%[path,field(%d,/,0)]\" "
			      "if { var(txn.to),field(2,|) %d }\n",
			      i + 2, i);
	strbuf_puts(out, "\tuse_backend %[var(txn.backend)]\n\n");
}

static void render_servers(struct strbuf *out, const struct table_backend *backend)
{
	for (size_t i = 0; backend && i < backend->n_servers; i++)
		if (server_is_open(&backend->servers[i]))
			strbuf_printf(out, "\tserver %s %s:%lld\n", backend->servers[i].instance,
				      backend->servers[i].address,
				      (long long)backend->servers[i].port);
	if (backend && table_backend_is_held(backend))
		strbuf_printf(out, "\tserver " HOLD_SERVER " " HOLD_ADDRESS ":%d\n", HOLD_PORT);
}

static const struct table_backend *backend_in(const struct table *table, int64_t slot)
{
	for (size_t i = 0; i < table->n_backends; i++)
		if (table->backends[i].kind == KIND_HTTP && table->backends[i].slot == slot)
			return &table->backends[i];
	return NULL;
}

/* A multiple of the pool, so that exceeding it costs one reload and not one for each further
 * service. */
static int64_t pool_size(const struct table *table, int64_t pool)
{
	int64_t highest = 1;

	for (size_t i = 0; i < table->n_backends; i++)
		if (table->backends[i].kind == KIND_HTTP)
			highest = MAX2(highest, table->backends[i].slot);
	return (highest + pool - 1) / pool * pool;
}

static void render_tcp(struct strbuf *out, const struct table_backend *backend,
		       const struct render *render)
{
	strbuf_printf(out,
		      "\n# %s\n"
		      "frontend listen-%lld\n"
		      "\tmode tcp\n"
		      "\tbind %s:%lld\n"
		      "\ttimeout client 1h\n"
		      "\tdefault_backend tcp-%lld\n"
		      "backend tcp-%lld\n"
		      "\tmode tcp\n"
		      "\ttimeout server 1h\n",
		      backend->owner, (long long)backend->listen, render->address,
		      (long long)backend->listen, (long long)backend->listen,
		      (long long)backend->listen);
	render_servers(out, backend);
}

char *render_config(const struct table *table, const struct render *render)
{
	struct strbuf out = STRBUF_INIT;
	int64_t pool = pool_size(table, render->pool);

	render_global(&out, render);
	render_gateway(&out, render);
	strbuf_puts(&out, "# Backends without a service wait for one: they cannot be made while "
			  "HAProxy runs.\n");
	for (int64_t slot = 1; slot <= pool; slot++) {
		strbuf_printf(&out, "backend p%lld\n", (long long)slot);
		render_servers(&out, backend_in(table, slot));
	}
	for (size_t i = 0; i < table->n_backends; i++)
		if (table->backends[i].kind == KIND_TCP)
			render_tcp(&out, &table->backends[i], render);
	return strbuf_steal(&out);
}

char *render_map(const struct table *table)
{
	struct strbuf out = STRBUF_INIT;

	strbuf_puts(&out, "# Written by routed: beginning of host and path, backend|segments to "
			  "strip|owner.\n");
	for (size_t i = 0; i < table->n_routes; i++) {
		const struct table_route *route = &table->routes[i];
		_cleanup_free_ char *value = NULL;

		if (route->kind != KIND_HTTP || !route->owner)
			continue;
		value = table_map_value(table, route);
		if (value) {
			_cleanup_free_ char *key = table_map_key(route);

			strbuf_printf(&out, "%s %s\n", key, value);
		}
	}
	return strbuf_steal(&out);
}
