/* The routing table of a view: which servers are open, what one bad route or entry does. */
#include "routed/routed.h"
#include "tests/tap.h"

#define PORTS "\"ports\":{\"http\":{\"port\":8080},\"dns\":{\"port\":53,\"protocol\":\"udp\"}}"
#define ROUTE(key, port, more) \
	"{\"key\":\"" key "\",\"service\":\"web\",\"port\":\"" port "\"," more "}"
#define HTTP(key, host, path) ROUTE(key, "http", "\"host\":\"" host "\",\"path\":\"" path "\"")
#define HTTP_STRIP(key, host, path) \
	ROUTE(key, "http", "\"host\":\"" host "\",\"path\":\"" path "\",\"strip\":true")
#define TCP(port, listen) ROUTE("tcp/" #listen, port, "\"listen\":" #listen)

static int take(struct view *view, const char *subject, uint64_t sequence, const char *text)
{
	int r = view_take(view, subject, sequence, text, strlen(text));

	if (r != 1)
		printf("# %s: %s\n", subject, (const char *)map_get(&view->errors, subject));
	return r;
}

static void put_claim(struct view *view, const char *key, const char *ns)
{
	_cleanup_free_ char *token = route_token(key),
			    *subject = subject_make(SUBJECT_ROUTE, token, NULL);
	_cleanup_free_ char *text = xasprintf(
		"{\"key\":\"%s\",\"namespace\":\"%s\",\"deploy\":\"d\",\"epoch\":1}", key, ns);

	take(view, subject, 1, text);
}

/* A head, and the claims that its routes need. */
static void put_head(struct view *view, const char *ns, const char *more, const char *routes)
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
	keys = route_claim_keys(view_head(view, ns));
	for (size_t i = 0; i < strv_count(keys); i++)
		if (!view_claim(view, keys[i]))
			put_claim(view, keys[i], ns);
}

static void put_fact(struct view *view, const char *machine, const char *ns, const char *slot,
		     const char *state, const char *address)
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

static void put_member(struct view *view, const char *id, const char *life_cycle)
{
	_cleanup_free_ char *subject = subject_make(SUBJECT_MEMBER, id, NULL);
	_cleanup_free_ char *text =
		xasprintf("{\"id\":\"%s\",\"life_cycle\":\"%s\"}", id, life_cycle);

	take(view, subject, 1, text);
}

static const struct watermark at = { 1, 40, 7 };

static struct table *build(const struct view *view)
{
	static const int64_t taken[] = { 80 };

	return table_build(view, &at, taken, ARRAY_SIZE(taken));
}

static char *servers_text(const struct table *table, const char *owner)
{
	const struct table_backend *backend = table_backend(table, owner);
	struct strbuf out = STRBUF_INIT;

	for (size_t i = 0; backend && i < backend->n_servers; i++)
		strbuf_printf(&out, "%s%s %s:%lld", i ? ", " : "",
			      server_state_names[backend->servers[i].state],
			      backend->servers[i].address, (long long)backend->servers[i].port);
	return strbuf_steal(&out);
}

static void test_states(void)
{
	static const struct {
		const char *a, *address_a, *b, *expected, *name;
	} rows[] = {
		{ "ready", "10.101.1.9", "ready", "ready 10.101.1.9:8080, ready 10.101.2.2:8080",
		  "the fact's address wins over the head's" },
		{ "ready", NULL, "starting", "ready 10.101.1.2:8080, down 10.101.2.2:8080",
		  "starting is down" },
		{ "ready", NULL, "unready", "ready 10.101.1.2:8080, down 10.101.2.2:8080",
		  "unready is down" },
		{ "ready", NULL, "draining", "ready 10.101.1.2:8080, drain 10.101.2.2:8080",
		  "draining beside a ready one drains" },
		{ "stopped", NULL, "draining", "held 10.101.1.2:8080, held 10.101.2.2:8080",
		  "with nothing ready both are held" },
		{ "stopped", NULL, "failed", "held 10.101.1.2:8080, down 10.101.2.2:8080",
		  "failed is never held" },
		{ "starting", NULL, "unready", "held 10.101.1.2:8080, down 10.101.2.2:8080",
		  "what is started again is waited for" },
		{ "failed", NULL, "gone", "down 10.101.1.2:8080, down 10.101.2.2:8080",
		  "nothing to hold" },
		{ "ready", NULL, NULL, "ready 10.101.1.2:8080, down 10.101.2.2:8080",
		  "no fact is down" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct view view = { 0 };
		_cleanup_free_ char *text = NULL;
		struct table *table;

		put_head(&view, "shop", "", HTTP("shop.example/", "shop.example", "/"));
		put_fact(&view, "m1", "shop", "a", rows[i].a, rows[i].address_a);
		if (rows[i].b)
			put_fact(&view, "m2", "shop", "b", rows[i].b, NULL);
		table = build(&view);
		text = servers_text(table, "shop/web/http");
		is(text, rows[i].expected, rows[i].name);
		table_free(table);
		view_clear(&view);
	}
}

/* What a machine that was removed last reported counts as absent. */
static void test_removed(void)
{
	static const struct {
		const char *life_cycle, *expected;
		size_t ended;
	} rows[] = {
		{ "active", "ready 10.101.1.9:8080, down 10.101.2.2:8080", 1 },
		{ "draining", "ready 10.101.1.9:8080, down 10.101.2.2:8080", 1 },
		{ "standby", "ready 10.101.1.9:8080, down 10.101.2.2:8080", 1 },
		{ "removed", "down 10.101.1.2:8080, down 10.101.2.2:8080", 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct view view = { 0 };
		_cleanup_(table_freep) struct table *table = NULL;
		_cleanup_free_ char *text = NULL;

		put_head(&view, "shop", "", HTTP("shop.example/", "shop.example", "/"));
		put_fact(&view, "m1", "shop", "a", "ready", "10.101.1.9");
		put_fact(&view, "m1", "other", "x", "gone", NULL);
		put_member(&view, "m1", rows[i].life_cycle);
		table = build(&view);
		text = servers_text(table, "shop/web/http");
		is(text, rows[i].expected, rows[i].life_cycle);
		is_int((long long)strv_count(table->ended), (long long)rows[i].ended,
		       "  and its ended instances");
		view_clear(&view);
	}
}

/* Each of these routes stands in one head beside a good one, which is served in any case. */
static void test_unserved(void)
{
	static const struct {
		const char *route, *error;
	} rows[] = {
		{ TCP("http", 80), "port 80 is the HTTP gateway's own" },
		{ TCP("dns", 5353), "port 'dns' is udp" },
		{ TCP("none", 5353), "service web has no port 'none'" },
		{ TCP("http", 5432), NULL },
		{ "{\"key\":\"tcp/1\",\"service\":\"db\",\"port\":\"http\",\"listen\":1}",
		  "the head has no service db" },
		{ ROUTE("tcp/5432", "http", "\"listen\":5433"),
		  "the head names it tcp/5432, not tcp/5433" },
		{ ROUTE("mine.example/", "http", "\"strip\":true"),
		  "it names neither a host nor a port to listen on" },
		{ HTTP("mine.example/", "yours.example", "/"),
		  "the head names it mine.example/, not yours.example/" },
		{ HTTP("mine.example/", "mine.example", "/api"),
		  "the head names it mine.example/, not mine.example/api" },
		{ HTTP("a_b.example/", "a_b.example", "/"), "'a_b.example' is not a host name" },
		{ HTTP("b.example/x y", "b.example", "/x y"), "'/x y' is not a path" },
		{ HTTP("b.example/x|y", "b.example", "/x|y"), "'/x|y' is not a path" },
		{ HTTP_STRIP("b.example/1/2/3/4/5/6/7/8", "b.example", "/1/2/3/4/5/6/7/8"), NULL },
		{ HTTP_STRIP("b.example/1/2/3/4/5/6/7/8/9", "b.example", "/1/2/3/4/5/6/7/8/9"),
		  "strip removes at most 8 segments, /1/2/3/4/5/6/7/8/9 has 9" },
		{ HTTP("b.example/1/2/3/4/5/6/7/8/9", "b.example", "/1/2/3/4/5/6/7/8/9"), NULL },
		{ HTTP("shop.example/", "shop.example", "/"),
		  "the head names it twice; it is served by shop/web" },
		{ HTTP("taken.example/", "taken.example", "/"),
		  "namespace other has claimed taken.example" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *routes = xasprintf(
			"%s,%s", HTTP("shop.example/", "shop.example", "/"), rows[i].route);
		_cleanup_(table_freep) struct table *table = NULL;
		struct view view = { 0 };

		put_claim(&view, "taken.example", "other");
		put_head(&view, "shop", "", routes);
		table = build(&view);
		is_int((long long)table->n_routes, 2, "every route is listed, served or not");
		if (table->n_routes == 2) {
			is(table->routes[0].error, NULL, "  the good one is served");
			is(table->routes[1].error, rows[i].error, rows[i].route);
			ok(!table->routes[1].owner == (rows[i].error != NULL),
			   "  it has a backend if it is served");
		}
		view_clear(&view);
	}
}

/* Two heads with one route: the claim decides, not the order of commits. */
static void test_conflict(void)
{
	static const struct {
		const char *holder, *owner, *other;
	} rows[] = {
		{ "early", "early/web/http", "late/web/http" },
		{ "late", "late/web/http", "early/web/http" },
		{ NULL, NULL, NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_(table_freep) struct table *table = NULL;
		struct view view = { 0 };

		put_claim(&view, "h.example", rows[i].holder ? rows[i].holder : "nobody");
		put_head(&view, "early", "\"committed\":10,", HTTP("h.example/", "h.example", "/"));
		put_head(&view, "late", "\"committed\":20,", HTTP("h.example/", "h.example", "/"));
		table = build(&view);
		is_int((long long)table->n_backends, rows[i].owner != NULL,
		       "one backend for the claimant");
		ok(!rows[i].owner || table_backend(table, rows[i].owner), "  it is that of %s",
		   rows[i].owner ? rows[i].owner : "none");
		ok(!table_backend(table, rows[i].other), "  and not the other's");
		view_clear(&view);
	}
}

static void test_uncommitted(void)
{
	static const char head[] =
		"{\"namespace\":\"shop\",\"revision\":0,\"open\":{\"deploy\":\"d\",\"epoch\":1},"
		"\"services\":[{\"name\":\"web\"," PORTS
		"}],\"routes\":[" HTTP("shop.example/", "shop.example", "/") "]}";
	_cleanup_(table_freep) struct table *table = NULL;
	struct view view = { 0 };

	put_claim(&view, "shop.example", "shop");
	take(&view, "ployz.v1.intent.namespace.shop", 1, head);
	table = build(&view);
	is_int((long long)table->n_routes, 0, "what was never committed is not routed");
	view_clear(&view);
}

/* ---- entries that cannot be decoded ---- */

#define SHOP_HEAD "ployz.v1.intent.namespace.shop"

static void test_held(void)
{
	static const struct {
		const char *name, *subject, *text;
		const char *held; /* namespace that is held back */
		const char *word; /* in the reason */
	} rows[] = {
		{ "a head", SHOP_HEAD, "{\"namespace\":\"shop\",\"revision\":\"many\"}", "shop",
		  "revision" },
		{ "a head of another namespace", SHOP_HEAD,
		  "{\"namespace\":\"other\",\"revision\":1}", "shop", "subject" },
		{ "facts", "ployz.v1.facts.m2.shop", "[", "shop", "facts.m2.shop" },
		{ "facts of another machine", "ployz.v1.facts.m2.shop",
		  "{\"machine\":\"m1\",\"namespace\":\"shop\"}", "shop", "subject" },
		{ "facts of another namespace", "ployz.v1.facts.m2.shop",
		  "{\"machine\":\"m2\",\"namespace\":\"other\"}", "shop", "subject" },
		{ "the claim of a route", "ployz.v1.intent.route.shop%2Eexample", "{}", "shop",
		  "shop%2Eexample" },
		{ "a claim on another key than its subject's",
		  "ployz.v1.intent.route.shop%2Eexample",
		  "{\"key\":\"h.example\",\"namespace\":\"shop\",\"deploy\":\"d\",\"epoch\":1}",
		  "shop", "subject" },
		{ "a claim that the namespace still has, on a route that it has not",
		  "ployz.v1.intent.route.old%2Eexample", "{}", "shop", "old%2Eexample" },
		{ "a claim that no namespace needs", "ployz.v1.intent.route.x%2Eexample", "{}",
		  NULL, "x%2Eexample" },
		{ "another spelling of a token", "ployz.v1.intent.route.sh%6Fp%2Eexample",
		  "{\"key\":\"shop.example\",\"namespace\":\"other\",\"deploy\":\"d\",\"epoch\":1}",
		  NULL, "names no route" },
		{ "a member", "ployz.v1.intent.member.m1", "{\"id\":\"m1\"}", NULL, "member.m1" },
		{ "a member of another name", "ployz.v1.intent.member.m1",
		  "{\"id\":\"m2\",\"life_cycle\":\"removed\"}", NULL, "subject" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_(table_freep) struct table *table = NULL, *after = NULL;
		_cleanup_free_ char *servers = NULL;
		struct view view = { 0 };
		const char *held;

		put_head(&view, "shop", "", HTTP("shop.example/", "shop.example", "/"));
		put_claim(&view, "old.example", "shop");
		put_head(&view, "other", "", HTTP("other.example/", "other.example", "/"));
		put_fact(&view, "m1", "shop", "a", "ready", NULL);
		is_int(view_take(&view, rows[i].subject, 9, rows[i].text, strlen(rows[i].text)),
		       -EBADMSG, rows[i].name);
		table = build(&view);
		held = table_held_of(table, NULL);
		ok(held && strstr(held, rows[i].word) && str_starts(held, "entry 9 on "),
		   "  it is named: %s", held ? held : "(none)");
		ok(!table_held_of(table, "shop") == !rows[i].held,
		   "  and held back for its namespace");
		is(table_held_of(table, "other"), NULL, "  not for another one");
		is_int((long long)table->n_routes, 2, "  the last good entries are served");
		servers = servers_text(table, "shop/web/http");
		is(servers, "ready 10.101.1.2:8080, down 10.101.2.2:8080", "  with their servers");
		view_take(&view, rows[i].subject, 10, NULL, 0);
		after = build(&view);
		is(table_held_of(after, NULL), NULL, "  until the entry is gone");
		view_clear(&view);
	}
}

static void test_held_and_mended(void)
{
	struct view view = { 0 };
	struct table *table;

	is_int(view_take(&view, "ployz.v1.intent.region.r1", 1, "{}", 2), 0,
	       "other subjects are not followed");
	is_int(view_take(&view, "ployz.v1.facts.m1", 1, "{}", 2), 0, "nor are machine facts");
	is_int(view_take(&view, SHOP_HEAD, 1, "{", 1), -EBADMSG, "a first entry that is bad");
	table = build(&view);
	is_int((long long)table->n_routes, 0, "there is no last good one");
	ok(table_held_of(table, "shop"), "but the item is held back");
	table_free(table);
	put_head(&view, "shop", "", HTTP("shop.example/", "shop.example", "/"));
	table = build(&view);
	is(table_held_of(table, "shop"), NULL, "a good entry ends it");
	table_free(table);
	view_take(&view, "ployz.v1.facts.m9.shop", 2, "{", 1);
	put_member(&view, "m9", "removed");
	table = build(&view);
	is(table_held_of(table, "shop"), NULL, "facts of a removed machine hold nothing back");
	table_free(table);
	is_int(view_take(&view, SHOP_HEAD, 9, NULL, 0), 1, "a namespace can go");
	table = build(&view);
	is_int((long long)table->n_routes, 0, "and its routes with it");
	table_free(table);
	view_clear(&view);
}

/* After a restart the last good entry of a bad one comes from what was saved. */
static void test_restored(void)
{
	static const char *const subjects_of[] = { SHOP_HEAD, "ployz.v1.facts.m1.shop",
						   "ployz.v1.intent.route.shop%2Eexample",
						   "ployz.v1.intent.member.m2" };

	for (size_t i = 0; i < ARRAY_SIZE(subjects_of); i++) {
		const char *subject = subjects_of[i];
		struct view before = { 0 }, view = { 0 };
		_cleanup_(table_freep) struct table *table = NULL;
		_cleanup_json_ json_t *saved = NULL;
		_cleanup_free_ char *servers = NULL;

		put_head(&before, "shop", "", HTTP("shop.example/", "shop.example", "/"));
		put_fact(&before, "m1", "shop", "a", "ready", "10.101.1.9");
		put_fact(&before, "m2", "shop", "b", "ready", NULL);
		put_member(&before, "m2", "removed");
		saved = view_encode(&before);
		is_int((long long)json_object_size(saved), 5, "every last good entry is saved");
		/* The same entries again, but for one. */
		for (void *j = json_object_iter(saved); j; j = json_object_iter_next(saved, j)) {
			const char *key = json_object_iter_key(j);
			_cleanup_free_ char *text =
				json_text(json_object_get(json_object_iter_value(j), "entry"));

			view_take(&view, key, 9, streq(key, subject) ? "{" : text,
				  streq(key, subject) ? 1 : strlen(text));
			view_restore(&view, key, saved);
		}
		table = build(&view);
		servers = servers_text(table, "shop/web/http");
		is(servers, "ready 10.101.1.9:8080, down 10.101.2.2:8080", subject);
		ok(i == 3 || table_held_of(table, "shop"), "  it is still held back");
		view_clear(&before);
		view_clear(&view);
	}
}

static void test_not_restored(void)
{
	_cleanup_json_ json_t *saved = NULL, *wrong = json_pack("{s:{s:i}}", SHOP_HEAD, "entry", 1);
	struct view before = { 0 }, view = { 0 };

	put_head(&before, "shop", "", HTTP("shop.example/", "shop.example", "/"));
	saved = view_encode(&before);
	view_restore(&view, SHOP_HEAD, saved);
	ok(!view_head(&view, "shop"), "what the store does not have is not restored");
	view_take(&view, SHOP_HEAD, 9, "{", 1);
	view_restore(&view, SHOP_HEAD, NULL);
	view_restore(&view, SHOP_HEAD, wrong);
	ok(!view_head(&view, "shop"), "nor is anything without a saved entry");
	put_head(&view, "shop", "", "");
	view_take(&view, SHOP_HEAD, 10, "{", 1);
	view_restore(&view, SHOP_HEAD, saved);
	is_int((long long)view_head(&view, "shop")->n_routes, 0, "a newer last good entry is kept");
	view_restore(&view, "ployz.v1.intent.region.r1", saved);
	view_clear(&before);
	view_clear(&view);
}

/* What table.json keeps. */
static void test_saved(void)
{
	_cleanup_(table_freep) struct table *table = NULL;
	_cleanup_free_ char *text = NULL, *again = NULL;
	struct view view = { 0 };
	void *saved = NULL;

	put_head(&view, "shop", "", HTTP("shop.example/", "shop.example", "/") "," TCP("http", 80));
	put_fact(&view, "m1", "shop", "a", "gone", NULL);
	view_take(&view, SHOP_HEAD, 9, "{", 1);
	table = build(&view);
	text = codec_print(&table_schema, table);
	is_int(codec_parse(&table_schema, text, strlen(text), CODEC_STRICT, &saved, NULL), 0,
	       "a table is read back");
	again = codec_print(&table_schema, saved);
	is(again, text, "with everything in it");
	is_int(((struct table *)saved)->watermark.generation, 1, "its generation");
	is_int(((struct table *)saved)->watermark.intent, 40, "its intent sequence");
	is_int(((struct table *)saved)->watermark.facts, 7, "its facts sequence");
	table_free(saved);
	view_clear(&view);
}

/* ---- confirmation ---- */

static void test_waiters(void)
{
	static const struct watermark none = { 0 }, early = { 1, 39, 7 }, exact = { 1, 40, 7 },
				      later = { 1, 41, 7 }, facts = { 1, 40, 8 },
				      older = { 0, 40, 7 }, newer = { 2, 1, 1 };
	static const struct {
		const char *name, *ns;
		bool table, held;
		const struct watermark *applied, *wanted;
		enum waiter_answer expected;
	} rows[] = {
		{ "nothing is loaded", "shop", false, false, NULL, &none, WAITER_WAIT },
		{ "nothing is applied", "shop", true, false, NULL, &none, WAITER_WAIT },
		{ "anything is applied", "shop", true, false, &exact, &none, WAITER_APPLIED },
		{ "exactly this", "shop", true, false, &exact, &exact, WAITER_APPLIED },
		{ "an earlier one", "shop", true, false, &exact, &early, WAITER_APPLIED },
		{ "a later intent", "shop", true, false, &exact, &later, WAITER_WAIT },
		{ "later facts", "shop", true, false, &exact, &facts, WAITER_WAIT },
		{ "known, but HAProxy is behind", "shop", true, false, &early, &exact,
		  WAITER_WAIT },
		{ "an older generation", "shop", true, false, &exact, &older, WAITER_WAIT },
		{ "a newer generation", "shop", true, false, &exact, &newer, WAITER_WAIT },
		{ "an item is held back", "shop", true, true, &exact, &exact, WAITER_HELD },
		{ "also before HAProxy has the rest", "shop", true, true, &early, &exact,
		  WAITER_HELD },
		{ "also before it has anything", "shop", true, true, NULL, &exact, WAITER_HELD },
		{ "an item may be replaced by an entry that is wanted", "shop", true, true, &exact,
		  &later, WAITER_WAIT },
		{ "other namespaces are not held back", "other", true, true, &exact, &exact,
		  WAITER_APPLIED },
		{ "nor confirmed for it", "other", true, true, &early, &exact, WAITER_WAIT },
		{ "a request about all of them is", NULL, true, true, &exact, &exact, WAITER_HELD },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct view view = { 0 };
		_cleanup_(table_freep) struct table *table = NULL;

		if (rows[i].held)
			view_take(&view, SHOP_HEAD, 9, "{", 1);
		table = build(&view);
		is_int(waiter_decide(rows[i].table ? table : NULL, rows[i].applied,
				     &(struct applied_request){ .ns = (char *)rows[i].ns,
								.wanted = *rows[i].wanted }),
		       rows[i].expected, rows[i].name);
		view_clear(&view);
	}
}

static void test_map(void)
{
	static const struct {
		const char *routes, *key, *value;
	} rows[] = {
		{ HTTP("shop.example/", "shop.example", "/"), "shop.example/",
		  "p3|0|shop/web/http" },
		{ HTTP_STRIP("shop.example/", "shop.example", "/"), "shop.example/",
		  "p3|0|shop/web/http" },
		{ HTTP("shop.example/api", "SHOP.example", "/api"), "shop.example/api/",
		  "p3|0|shop/web/http" },
		{ HTTP_STRIP("shop.example/api/v1", "shop.example", "/api/v1/"),
		  "shop.example/api/v1/", "p3|2|shop/web/http" },
		{ HTTP_STRIP("*.shop.example/api", "*.shop.example", "/api"), "*.shop.example/api/",
		  "p3|1|shop/web/http" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *key = NULL, *value = NULL;
		struct view view = { 0 };
		struct table *table;

		put_head(&view, "shop", "", rows[i].routes);
		table = build(&view);
		if (table->n_backends == 1) {
			is(table_map_value(table, &table->routes[0]), NULL,
			   "no value without a slot");
			table->backends[0].slot = 3;
			key = table_map_key(&table->routes[0]);
			value = table_map_value(table, &table->routes[0]);
		}
		is(key, rows[i].key, rows[i].key);
		is(value, rows[i].value, rows[i].value);
		table_free(table);
		view_clear(&view);
	}
}

/* Heads and facts with strange contents: only valid names and addresses get traffic. */
static void test_strange(void)
{
	static const struct {
		const char *slots, *servers;
	} rows[] = {
		{ "{\"slot\":0,\"instance\":\"a\",\"machine\":\"m\",\"address\":\"10.1.1.2\"},"
		  "{\"slot\":1,\"instance\":\"a\",\"machine\":\"m\",\"address\":\"10.1.1.3\"}",
		  "a 10.1.1.2" },
		{ "{\"slot\":0,\"instance\":\"a\",\"machine\":\"m\",\"address\":\"1.1.1."
		  "1\\n\\tbind *:1\"}",
		  "a (none)" },
		{ "{\"slot\":0,\"instance\":\"a\\nglobal\",\"machine\":\"m\",\"address\":\"10.1.1."
		  "2\"}",
		  "a\nglobal (none)" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *text = xasprintf(
			"{\"namespace\":\"s\",\"revision\":1,\"services\":[{\"name\":"
			"\"web\"," PORTS
			",\"slots\":[%s]}],\"routes\":[" HTTP("a.example/", "a.example", "/") "]}",
			rows[i].slots);
		_cleanup_(strbuf_clear) struct strbuf seen = STRBUF_INIT;
		const struct table_backend *backend;
		struct view view = { 0 };
		struct table *table;

		take(&view, "ployz.v1.intent.namespace.s", 1, text);
		put_claim(&view, "a.example", "s");
		table = build(&view);
		backend = table_backend(table, "s/web/http");
		for (size_t j = 0; backend && j < backend->n_servers; j++)
			strbuf_printf(&seen, "%s%s %s", j ? ", " : "", backend->servers[j].instance,
				      backend->servers[j].address ? backend->servers[j].address
								  : "(none)");
		is(seen.text, rows[i].servers, "servers of a strange head");
		table_free(table);
		view_clear(&view);
	}
}

/* The streams of heads and of facts have no common order: a head waits for the facts that it relies
 * on. */
static void test_waiting(void)
{
	struct view view = { .heads = MAP_INIT };
	struct watermark applied = { .generation = 1, .facts = 5 };

	put_head(&view, "shop", "\"generation\":1,\"deploy\":\"d1\",", HTTP("a/", "a", "/"));
	view_settle(&view, &applied);
	put_head(&view, "shop", "\"generation\":1,\"facts\":7,\"deploy\":\"d2\",",
		 HTTP("a/", "a", "/"));
	is(view_head(&view, "shop")->deploy, "d1", "a head whose facts are not applied waits");
	applied.facts = 6;
	view_settle(&view, &applied);
	is(view_head(&view, "shop")->deploy, "d1", "for all of them");
	applied.facts = 7;
	view_settle(&view, &applied);
	is(view_head(&view, "shop")->deploy, "d2", "and then takes effect");
	put_head(&view, "shop", "\"generation\":2,\"facts\":9,\"deploy\":\"d3\",",
		 HTTP("a/", "a", "/"));
	is(view_head(&view, "shop")->deploy, "d3", "facts of another generation are not compared");
	put_head(&view, "shop", "\"generation\":1,\"facts\":9,\"deploy\":\"d4\",",
		 HTTP("a/", "a", "/"));
	view_take(&view, "ployz.v1.intent.namespace.shop", 9, NULL, 0);
	applied.facts = 9;
	view_settle(&view, &applied);
	ok(!view_head(&view, "shop"), "one that is gone meanwhile does not come back");
	view_clear(&view);
}

int main(void)
{
	test_states();
	test_removed();
	test_unserved();
	test_conflict();
	test_uncommitted();
	test_held();
	test_held_and_mended();
	test_restored();
	test_not_restored();
	test_saved();
	test_waiters();
	test_map();
	test_strange();
	test_waiting();
	return tap_done();
}
