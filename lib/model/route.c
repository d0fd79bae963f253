#include "lib/model/route.h"

#include <ctype.h>
#include <strings.h>

#include "lib/str.h"

/* Host names are case-insensitive, and a slash at the end of a path does not make another route. */
char *route_key_http(const char *host, const char *path)
{
	size_t length = path ? strlen(path) : 0;
	char *key;

	while (length > 1 && path[length - 1] == '/')
		length--;
	key = length ? xasprintf("%s%.*s", host, (int)length, path) : xasprintf("%s/", host);
	for (char *p = key; *p && *p != '/'; p++)
		*p = (char)tolower((unsigned char)*p);
	return key;
}

char *route_key_tcp(int64_t listen)
{
	return xasprintf("tcp/%lld", (long long)listen);
}

char **route_keys(const struct service *service)
{
	char **keys = NULL;

	for (size_t i = 0; i < service->n_routes; i++) {
		const struct route_spec *route = &service->routes[i];

		for (char **host = route->http ? route->http->hosts : NULL; host && *host; host++)
			strv_push(&keys, route_key_http(*host, route->http->path));
		if (route->tcp)
			strv_push(&keys, route_key_tcp(route->tcp->listen));
	}
	return keys;
}

char *route_token(const char *key)
{
	static const char hex[] = "0123456789ABCDEF";
	struct strbuf token = STRBUF_INIT;

	for (const unsigned char *p = (const unsigned char *)key; *p; p++) {
		char escaped[3] = { '%', hex[*p >> 4], hex[*p & 15] };

		if (isalnum(*p) || *p == '-' || *p == '_')
			strbuf_add(&token, p, 1);
		else
			strbuf_add(&token, escaped, sizeof(escaped));
	}
	return strbuf_steal(&token);
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

char *route_token_decode(const char *token)
{
	struct strbuf key = STRBUF_INIT;

	for (const char *p = token; *p; p++) {
		int high, low;
		char c;

		if (*p != '%') {
			strbuf_add(&key, p, 1);
			continue;
		}
		high = hex_value(p[1]);
		low = high < 0 ? -1 : hex_value(p[2]);
		if (low < 0) {
			strbuf_clear(&key);
			return NULL;
		}
		c = (char)(high << 4 | low);
		if (!c) {
			strbuf_clear(&key);
			return NULL;
		}
		strbuf_add(&key, &c, 1);
		p += 2;
	}
	return strbuf_steal(&key);
}

bool route_claim_valid(const struct route_claim *claim, const struct head *head)
{
	if (!head || !streq(head->ns, claim->ns))
		return false;
	if (head->open && streq(head->open->deploy, claim->deploy) &&
	    head->open->epoch == claim->epoch)
		return true;
	for (size_t i = 0; i < head->n_routes; i++) {
		const struct head_route *route = &head->routes[i];

		if (streq(route->key, claim->key))
			return true;
		if (route->host && !strchr(claim->key, '/') && !strcasecmp(route->host, claim->key))
			return true;
	}
	return false;
}

bool route_host_covers(const char *host, const char *other)
{
	size_t suffix, length;

	if (strncmp(host, "*.", 2) != 0)
		return strcasecmp(host, other) == 0;
	suffix = strlen(host + 1);
	length = strlen(other);
	return length > suffix && strcasecmp(other + length - suffix, host + 1) == 0;
}

static void push_new(char ***keys, char *key)
{
	if (strv_contains(*keys, key))
		free(key);
	else
		strv_push(keys, key);
}

char **route_claim_keys(const struct head *head)
{
	char **keys = NULL;

	for (size_t i = 0; i < head->n_routes; i++) {
		const struct head_route *route = &head->routes[i];

		if (route->host) {
			_cleanup_free_ char *whole = route_key_http(route->host, NULL);

			/* The host alone, in lower case: the key of `/` without its slash. */
			push_new(&keys, xstrndup(whole, strlen(whole) - 1));
			if (streq(whole, route->key))
				continue;
		}
		push_new(&keys, xstrdup(route->key));
	}
	return keys;
}

#define SCHEMA(name_)                                                                  \
	{                                                                              \
		.name = #name_, .size = sizeof(struct name_), .fields = name_##_fields \
	}

static const struct codec_field route_claim_fields[] = {
	FIELD(struct route_claim, key, CODEC_STRING, .flags = CODEC_REQUIRED,
	      .note = "host, host/path or tcp/port"),
	FIELD_KEY(struct route_claim, ns, "namespace", CODEC_NAME, .flags = CODEC_REQUIRED),
	FIELD(struct route_claim, deploy, CODEC_STRING, .flags = CODEC_REQUIRED),
	FIELD(struct route_claim, epoch, CODEC_INT, .flags = CODEC_REQUIRED),
	FIELD(struct route_claim, generation, CODEC_INT, .note = "of the store"),
	FIELD(struct route_claim, at, CODEC_STRING),
	FIELD(struct route_claim, nonce, CODEC_STRING, .note = "of this write"),
	FIELD_END,
};
const struct codec_schema route_claim_schema = SCHEMA(route_claim);

static const struct codec_field applied_request_fields[] = {
	FIELD_KEY(struct applied_request, ns, "namespace", CODEC_NAME,
		  .note = "whose entries must be applied; absent: all"),
	FIELD(struct applied_request, wanted, CODEC_STRUCT, .schema = &watermark_schema),
	FIELD_END,
};
const struct codec_schema applied_request_schema = SCHEMA(applied_request);

static const struct codec_field applied_fields[] = {
	FIELD(struct applied, applied, CODEC_STRUCT, .schema = &watermark_schema),
	FIELD(struct applied, stale_since, CODEC_STRING, .note = "absent: live"),
	FIELD(struct applied, held, CODEC_STRING,
	      .note = "the item of the namespace that is held back, and why"),
	FIELD(struct applied, unserved, CODEC_STRV,
	      .note = "routes of the namespace that are not served, and why"),
	FIELD_END,
};
const struct codec_schema applied_schema = SCHEMA(applied);

static const struct codec_field drained_request_fields[] = {
	FIELD(struct drained_request, instances, CODEC_STRV, .flags = CODEC_REQUIRED),
	FIELD(struct drained_request, wanted, CODEC_STRUCT, .schema = &watermark_schema,
	      .note = "counted once the proxy has applied this"),
	FIELD(struct drained_request, wait_ms, CODEC_INT, .note = "longest time until the answer"),
	FIELD_END,
};
const struct codec_schema drained_request_schema = SCHEMA(drained_request);

static const struct codec_field drained_fields[] = {
	FIELD(struct drained, connections, CODEC_INT,
	      .note = "number of connections that are left"),
	FIELD_END,
};
const struct codec_schema drained_schema = SCHEMA(drained);

static const struct codec_field route_server_fields[] = {
	FIELD(struct route_server, instance, CODEC_STRING),
	FIELD(struct route_server, machine, CODEC_STRING),
	FIELD(struct route_server, address, CODEC_STRING, .note = "ip:port"),
	FIELD(struct route_server, state, CODEC_STRING, .note = "ready, held, drain, down"),
	FIELD(struct route_server, connections, CODEC_INT),
	FIELD_END,
};
static const struct codec_schema route_server_schema = SCHEMA(route_server);

static const struct codec_field route_view_fields[] = {
	FIELD(struct route_view, key, CODEC_STRING, .note = "host and path, or tcp/port"),
	FIELD(struct route_view, kind, CODEC_STRING, .note = "http, tcp"),
	FIELD_KEY(struct route_view, ns, "namespace", CODEC_STRING),
	FIELD(struct route_view, service, CODEC_STRING),
	FIELD(struct route_view, port, CODEC_STRING),
	FIELD(struct route_view, strip, CODEC_BOOL, .flags = CODEC_OMIT),
	FIELD_LIST(struct route_view, servers, n_servers, CODEC_LIST, &route_server_schema),
	FIELD(struct route_view, error, CODEC_STRING, .note = "why it is not served"),
	FIELD_END,
};
static const struct codec_schema route_view_schema = SCHEMA(route_view);

static const struct codec_field route_list_fields[] = {
	FIELD(struct route_list, applied, CODEC_STRUCT, .schema = &watermark_schema),
	FIELD(struct route_list, stale_since, CODEC_STRING, .note = "absent: live"),
	FIELD_LIST(struct route_list, routes, n_routes, CODEC_LIST, &route_view_schema),
	FIELD_END,
};
const struct codec_schema route_list_schema = SCHEMA(route_list);

static const struct codec_field resolve_request_fields[] = {
	FIELD(struct resolve_request, name, CODEC_STRING, .flags = CODEC_REQUIRED),
	FIELD(struct resolve_request, type, CODEC_STRING, .text = "A", .note = "A, AAAA, SRV, TXT"),
	FIELD_KEY(struct resolve_request, ns, "namespace", CODEC_STRING, .note = "of the caller"),
	FIELD_END,
};
const struct codec_schema resolve_request_schema = SCHEMA(resolve_request);

static const struct codec_field resolve_record_fields[] = {
	FIELD(struct resolve_record, name, CODEC_STRING),
	FIELD(struct resolve_record, type, CODEC_STRING),
	FIELD(struct resolve_record, ttl, CODEC_INT, .note = "seconds"),
	FIELD(struct resolve_record, data, CODEC_STRING),
	FIELD_END,
};
static const struct codec_schema resolve_record_schema = SCHEMA(resolve_record);

static const struct codec_field resolved_fields[] = {
	FIELD(struct resolved, status, CODEC_STRING,
	      .note = "NOERROR, NXDOMAIN, SERVFAIL, REFUSED, FORWARDED"),
	FIELD(struct resolved, why, CODEC_STRING),
	FIELD_LIST(struct resolved, records, n_records, CODEC_LIST, &resolve_record_schema),
	FIELD(struct resolved, applied, CODEC_STRUCT, .schema = &watermark_schema),
	FIELD(struct resolved, stale_since, CODEC_STRING, .note = "absent: live"),
	FIELD_END,
};
const struct codec_schema resolved_schema = SCHEMA(resolved);
