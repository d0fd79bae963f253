/* The gateway's view: entries that cannot be decoded, heads that wait, what is saved and what is
 * confirmed. */
#include "tests/routed-view.h"

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

/* A claim that never could be decoded, and one that another namespace had last. */
static void test_held_claim(void)
{
	static const char *const holders[] = { NULL, "other" };

	for (size_t i = 0; i < ARRAY_SIZE(holders); i++) {
		_cleanup_(table_freep) struct table *table = NULL;
		struct view view = { 0 };

		put_head(&view, "shop", "", HTTP("shop.example/", "shop.example", "/"));
		view_take(&view, "ployz.v1.intent.route.shop%2Eexample", 2, NULL, 0);
		if (holders[i])
			put_claim(&view, "shop.example", holders[i]);
		view_take(&view, "ployz.v1.intent.route.shop%2Eexample", 9, "{", 1);
		table = build(&view);
		ok(table_held_of(table, "shop"), "a claim holds back whoever has the route");
		ok(!table_held_of(table, "other") == !holders[i], "and whoever had the claim");
		view_clear(&view);
	}
}

static void test_ended(void)
{
	for (int state = 0; instance_state_names[state]; state++) {
		bool expected = state == INSTANCE_GONE || state == INSTANCE_STOPPED ||
				state == INSTANCE_FAILED;
		_cleanup_(table_freep) struct table *table = NULL;
		struct view view = { 0 };

		put_fact(&view, "m1", "shop", "a", instance_state_names[state], NULL);
		table = build(&view);
		ok(strv_contains(table->ended, "shop-a") == expected, "%s: %s",
		   instance_state_names[state], expected ? "its process has ended" : "it runs");
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
		}
		view_settle(&view, &at, saved);
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
	view_settle(&view, &at, saved);
	ok(!view_head(&view, "shop"), "what the store does not have is not restored");
	view_take(&view, SHOP_HEAD, 9, "{", 1);
	view_settle(&view, &at, NULL);
	view_settle(&view, &at, wrong);
	ok(!view_head(&view, "shop"), "nor is anything without a saved entry");
	put_head(&view, "shop", "", "");
	view_take(&view, SHOP_HEAD, 10, "{", 1);
	view_settle(&view, &at, saved);
	is_int((long long)view_head(&view, "shop")->n_routes, 0, "a newer last good entry is kept");
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

#define SHOP(deploy, generation, facts)                               \
	"{\"namespace\":\"shop\",\"revision\":1,\"deploy\":\"" deploy \
	"\",\"generation\":" #generation ",\"facts\":" #facts "}"

static const char *deploy_of(const struct view *view)
{
	const struct head *head = view_head(view, "shop");

	return head ? head->deploy : NULL;
}

/* The streams of heads and of facts have no common order: a head waits for the facts that it relies
 * on. */
static void test_waiting(void)
{
	static const struct {
		const char *name, *entry; /* NULL: none; "": it is gone */
		struct watermark applied;
		const char *deploy;
	} rows[] = {
		{ "a first head waits for its facts", SHOP("d1", 1, 5), { 1, 9, 4 }, NULL },
		{ "and takes effect with them", NULL, { 1, 9, 5 }, "d1" },
		{ "the next one waits", SHOP("d2", 1, 7), { 1, 9, 5 }, "d1" },
		{ "for all of its facts", NULL, { 1, 9, 6 }, "d1" },
		{ "and then replaces the one before", NULL, { 1, 9, 7 }, "d2" },
		{ "facts that are there already are not waited for",
		  SHOP("d3", 1, 7),
		  { 1, 9, 7 },
		  "d3" },
		{ "facts of an older generation are not compared",
		  SHOP("d4", 1, 99),
		  { 2, 1, 1 },
		  "d4" },
		{ "nor those of a newer one", SHOP("d5", 3, 99), { 2, 1, 1 }, "d5" },
		{ "one that waits", SHOP("d6", 2, 9), { 2, 1, 8 }, "d5" },
		{ "is replaced by a newer one", SHOP("d7", 2, 10), { 2, 1, 9 }, "d5" },
		{ "which waits for its own", NULL, { 2, 1, 10 }, "d7" },
		{ "one that waits", SHOP("d8", 2, 20), { 2, 1, 10 }, "d7" },
		{ "and is gone", "", { 2, 1, 10 }, NULL },
		{ "does not come back", NULL, { 2, 1, 20 }, NULL },
	};
	struct view view = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (rows[i].entry)
			view_take(&view, SHOP_HEAD, 9, *rows[i].entry ? rows[i].entry : NULL,
				  strlen(rows[i].entry));
		view_settle(&view, &rows[i].applied, NULL);
		is(deploy_of(&view), rows[i].deploy, rows[i].name);
	}
	view_clear(&view);
}

/* While it waits the one before serves, also after a restart; and it is not confirmed. */
static void test_waiting_unconfirmed(void)
{
	static const struct watermark early = { 1, 9, 4 }, late = { 1, 9, 5 };
	const struct applied_request request = { .ns = (char *)"shop", .wanted = { 1, 9, 3 } };
	const struct applied_request other = { .ns = (char *)"other", .wanted = { 1, 9, 3 } };
	const struct applied_request all = { .wanted = { 1, 9, 3 } };
	_cleanup_(table_freep) struct table *before = NULL, *after = NULL;
	_cleanup_json_ json_t *saved = NULL;
	struct view old = { 0 }, view = { 0 };

	take(&old, SHOP_HEAD, 1, SHOP("d1", 1, 3));
	view_settle(&old, &early, NULL);
	take(&old, SHOP_HEAD, 2, SHOP("d2", 1, 5));
	view_settle(&old, &early, NULL);
	saved = view_encode(&old);
	take(&view, SHOP_HEAD, 2, SHOP("d2", 1, 5));
	view_settle(&view, &early, saved);
	is(deploy_of(&view), "d1", "the head that was in effect serves after a restart");
	before = table_build(&view, &early, NULL, 0);
	is_int(waiter_decide(before, &early, &request), WAITER_WAIT,
	       "a head that waits is not confirmed");
	is_int(waiter_decide(before, &early, &all), WAITER_WAIT, "nor with all others");
	is_int(waiter_decide(before, &early, &other), WAITER_APPLIED, "others are");
	view_settle(&view, &late, NULL);
	after = table_build(&view, &late, NULL, 0);
	is(deploy_of(&view), "d2", "with its facts it takes effect");
	is_int(waiter_decide(after, &early, &request), WAITER_WAIT,
	       "and is not confirmed before HAProxy has them");
	is_int(waiter_decide(after, &late, &request), WAITER_APPLIED, "and then is");
	view_clear(&old);
	view_clear(&view);
}

int main(void)
{
	test_held();
	test_held_claim();
	test_held_and_mended();
	test_ended();
	test_restored();
	test_not_restored();
	test_saved();
	test_waiters();
	test_waiting();
	test_waiting_unconfirmed();
	return tap_done();
}
