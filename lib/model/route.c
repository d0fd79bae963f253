#include "lib/model/route.h"

#include <ctype.h>

#include "lib/str.h"

/* Host names are the same in any case; a slash at the end of a path makes no other route. */
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

#define SCHEMA(name_)                                                                  \
	{                                                                              \
		.name = #name_, .size = sizeof(struct name_), .fields = name_##_fields \
	}

static const struct codec_field applied_request_fields[] = {
	FIELD(struct applied_request, sequence, CODEC_INT, .flags = CODEC_REQUIRED,
	      .note = "of the log"),
	FIELD_END,
};
const struct codec_schema applied_request_schema = SCHEMA(applied_request);

static const struct codec_field applied_fields[] = {
	FIELD(struct applied, sequence, CODEC_INT, .note = "applied up to"),
	FIELD(struct applied, stale_since, CODEC_STRING, .note = "absent: fresh"),
	FIELD_END,
};
const struct codec_schema applied_schema = SCHEMA(applied);

static const struct codec_field drained_request_fields[] = {
	FIELD(struct drained_request, instances, CODEC_STRV, .flags = CODEC_REQUIRED),
	FIELD(struct drained_request, sequence, CODEC_INT,
	      .note = "counted once the proxy has the log up to this"),
	FIELD(struct drained_request, wait_ms, CODEC_INT, .note = "answered by then at the latest"),
	FIELD_END,
};
const struct codec_schema drained_request_schema = SCHEMA(drained_request);

static const struct codec_field drained_fields[] = {
	FIELD(struct drained, connections, CODEC_INT, .note = "that are left"),
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
	FIELD(struct route_view, trouble, CODEC_STRING, .note = "why it is not served"),
	FIELD_END,
};
static const struct codec_schema route_view_schema = SCHEMA(route_view);

static const struct codec_field route_list_fields[] = {
	FIELD(struct route_list, sequence, CODEC_INT, .note = "applied up to"),
	FIELD(struct route_list, stale_since, CODEC_STRING, .note = "absent: fresh"),
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
	FIELD(struct resolved, sequence, CODEC_INT, .note = "of the log, that the answer rests on"),
	FIELD(struct resolved, stale_since, CODEC_STRING, .note = "absent: fresh"),
	FIELD_END,
};
const struct codec_schema resolved_schema = SCHEMA(resolved);
