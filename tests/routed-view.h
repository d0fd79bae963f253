/* Entries for tests of the gateway's view and table. */
#ifndef PLOYZ_TESTS_ROUTED_VIEW_H
#define PLOYZ_TESTS_ROUTED_VIEW_H

#include "routed/routed.h"
#include "tests/tap.h"

#define PORTS "\"ports\":{\"http\":{\"port\":8080},\"dns\":{\"port\":53,\"protocol\":\"udp\"}}"
#define ROUTE(key, port, more) \
	"{\"key\":\"" key "\",\"service\":\"web\",\"port\":\"" port "\"," more "}"
#define HTTP(key, host, path) ROUTE(key, "http", "\"host\":\"" host "\",\"path\":\"" path "\"")
#define HTTP_STRIP(key, host, path) \
	ROUTE(key, "http", "\"host\":\"" host "\",\"path\":\"" path "\",\"strip\":true")
#define TCP(port, listen) ROUTE("tcp/" #listen, port, "\"listen\":" #listen)

static const struct watermark at = { 1, 40, 7 };

static inline int take(struct view *view, const char *subject, uint64_t sequence, const char *text)
{
	int r = view_take(view, subject, sequence, text, strlen(text));

	if (r != 1)
		printf("# %s: %s\n", subject, (const char *)map_get(&view->errors, subject));
	return r;
}

static inline void put_claim(struct view *view, const char *key, const char *ns)
{
	_cleanup_free_ char *token = route_token(key),
			    *subject = subject_make(SUBJECT_ROUTE, token, NULL);
	_cleanup_free_ char *text = xasprintf(
		"{\"key\":\"%s\",\"namespace\":\"%s\",\"deploy\":\"d\",\"epoch\":1}", key, ns);

	take(view, subject, 1, text);
}

/* A head, and the claims that its routes need. */
static inline void put_head(struct view *view, const char *ns, const char *more, const char *routes)
{
	_cleanup_free_ char *subject = subject_make(SUBJECT_NAMESPACE, ns, NULL);
	_cleanup_(strv_freep) char **keys = NULL;
	_cleanup_free_ char *text = xasprintf(
		"{\"namespace\":\"%s\",\"revision\":1,%s\"services\":[{\"name\":\"web\"," PORTS
		",\"slots\":["
		"{\"slot\":0,\"instance\":\"%s-a\",\"machine\":\"m1\",\"address\":\"10.101.1.2\"},"
		"{\"slot\":1,\"instance\":\"%s-b\",\"machine\":\"m2\",\"address\":\"10.101.2.2\"}]}"
		"],"
		"\"routes\":[%s]}",
		ns, more, ns, ns, routes);

	if (take(view, subject, 1, text) != 1)
		return;
	view_settle(view, &at, NULL);
	keys = route_claim_keys(view_head(view, ns));
	for (size_t i = 0; i < strv_count(keys); i++)
		if (!view_claim(view, keys[i]))
			put_claim(view, keys[i], ns);
}

static inline void put_fact(struct view *view, const char *machine, const char *ns,
			    const char *slot, const char *state, const char *address)
{
	_cleanup_free_ char *subject = subject_make(SUBJECT_INSTANCES, machine, ns);
	_cleanup_free_ char *text =
		xasprintf("{\"machine\":\"%s\",\"namespace\":\"%s\",\"instances\":[{\"id\":\"%s-%"
			  "s\",\"namespace\":\"%s\","
			  "\"service\":\"web\",\"slot\":0,\"deploy\":\"d\",\"epoch\":1,\"state\":"
			  "\"%s\"%s%s%s}]}",
			  machine, ns, ns, slot, ns, state, address ? ",\"address\":\"" : "",
			  address ? address : "", address ? "\"" : "");

	take(view, subject, 1, text);
}

static inline void put_member(struct view *view, const char *id, const char *life_cycle)
{
	_cleanup_free_ char *subject = subject_make(SUBJECT_MEMBER, id, NULL);
	_cleanup_free_ char *text =
		xasprintf("{\"id\":\"%s\",\"life_cycle\":\"%s\"}", id, life_cycle);

	take(view, subject, 1, text);
}

static inline struct table *build(struct view *view)
{
	static const int64_t taken[] = { 80 };

	view_settle(view, &at, NULL);
	return table_build(view, &at, taken, ARRAY_SIZE(taken));
}

static inline char *servers_text(const struct table *table, const char *owner)
{
	const struct table_backend *backend = table_backend(table, owner);
	struct strbuf out = STRBUF_INIT;

	for (size_t i = 0; backend && i < backend->n_servers; i++)
		strbuf_printf(&out, "%s%s %s:%lld", i ? ", " : "",
			      server_state_names[backend->servers[i].state],
			      backend->servers[i].address, (long long)backend->servers[i].port);
	return strbuf_steal(&out);
}

#endif
