/* Bytes and entries of each namespace. */
#include "meshd/meshd.h"
#include "tests/tap.h"

static const struct {
	const char *subject;
	int64_t sequence;
	size_t size;
} entries[] = {
	{ "ployz.v1.intent.namespace.shop", 1, 100 },
	{ "ployz.v1.intent.namespace.shop", 2, 200 },
	{ "ployz.v1.intent.namespace.blog", 3, 50 },
	{ "ployz.v1.intent.route.shop%2Etest", 4, 10 },
	{ "ployz.v1.intent.route.orphan%2Etest", 5, 10 },
	{ "ployz.v1.intent.member.m1", 6, 1000 },
	{ "ployz.v1.intent.subnet.10-1-1", 7, 1000 },
	{ "ployz.v1.facts.m1", 1, 1000 },
	{ "ployz.v1.facts.m1.shop", 2, 30 },
	{ "ployz.v1.facts.m2.shop", 3, 40 },
	{ "ployz.v1.manifest.shop", 1, 1000 },
	{ "ployz.v1.manifest.shop", 4, 1000 },
	{ "ployz.v1.manifest.blog", 5, 500 },
	{ "ployz.v1.manifest.shop", 9, 1000 },
	{ "ployz.v1.status.deploy.shop.d1", 1, 60 },
	{ "$KV.PLOYZ_LEASES.shop", 1, 70 },
	{ "$KV.PLOYZ_LEASES.empty", 2, 70 },
	{ "ployz.v1.unknown.shop", 1, 5000 },
};

static struct head *make_head(const char *ns, int64_t release, size_t slots, size_t routes)
{
	struct head *head = codec_new(&head_schema);
	struct head_service *service = array_add(head->services, head->n_services);

	head->ns = xstrdup(ns);
	head->release = release;
	service->name = xstrdup("web");
	for (size_t i = 0; i < slots; i++)
		array_add(service->slots, service->n_slots)->instance = xstrdup("i");
	for (size_t i = 0; i < routes; i++)
		array_add(head->routes, head->n_routes)->key = xstrdup("k");
	return head;
}

static void take_head(struct account *account, const char *ns, int64_t release, size_t slots,
		      size_t routes)
{
	_cleanup_(head_freep) struct head *head = make_head(ns, release, slots, routes);

	account_head(account, head);
}

static void test_usage(void)
{
	static const struct {
		const char *ns;
		uint64_t bytes;
		int64_t messages, routes, slots;
	} expected[] = {
		{ "blog", 50 + 30 + 500 + 22, 2, 0, 1 },
		{ "empty", 70 + 22, 1, 0, 0 },
		{ "later", 0, 0, 1, 0 },
		{ "shop",
		  100 + 200 + 2 * 30 + 10 + 33 + 30 + 40 + 2 * 22 + 3 * 1000 + 3 * 22 + 60 + 30 +
			  70 + 21,
		  10, 2, 3 },
	};
	struct account *account = account_new();
	struct store_usage usage = { .n_namespaces = 0 };

	for (size_t i = 0; i < ARRAY_SIZE(entries); i++)
		account_entry(account, entries[i].subject, entries[i].sequence, entries[i].size);
	account_claim(account, "ployz.v1.intent.route.shop%2Etest", "blog");
	account_claim(account, "ployz.v1.intent.route.shop%2Etest", "shop");
	take_head(account, "shop", 1, 9, 9);
	take_head(account, "shop", 4, 3, 2);
	take_head(account, "blog", 5, 1, 0);
	take_head(account, "later", 0, 0, 1);
	account_usage(account, &usage);
	is_int((long long)usage.n_namespaces, ARRAY_SIZE(expected), "namespaces");
	for (size_t i = 0; i < ARRAY_SIZE(expected) && i < usage.n_namespaces; i++) {
		const struct namespace_usage *row = &usage.namespaces[i];

		is(row->ns, expected[i].ns, "by name");
		is_int((long long)row->bytes, (long long)expected[i].bytes, "its bytes");
		is_int(row->messages, expected[i].messages, "its entries");
		is_int(row->routes, expected[i].routes, "its routes");
		is_int(row->slots, expected[i].slots, "its slots");
	}
	is_int(account_manifests_kept(account), 2, "shop's manifest is the last but one");
	codec_clear(&store_usage_schema, &usage);
	account_free(account);
}

static void test_kept(void)
{
	static const struct {
		const char *name;
		int64_t release;
		size_t manifests; /* at 10, 20, 30 … */
		int64_t kept;
	} rows[] = {
		{ "no manifest", 0, 0, 1 },	{ "the last one", 30, 3, 1 },
		{ "the second", 20, 3, 2 },	{ "the first", 10, 3, 3 },
		{ "dropped already", 5, 3, 3 }, { "nothing committed", 0, 3, 1 },
		{ "later than all", 40, 3, 1 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct account *account = account_new();

		for (size_t n = 1; n <= rows[i].manifests; n++)
			account_entry(account, "ployz.v1.manifest.shop", (int64_t)n * 10, 1);
		take_head(account, "shop", rows[i].release, 1, 0);
		is_int(account_manifests_kept(account), rows[i].kept, rows[i].name);
		account_free(account);
	}
}

int main(void)
{
	test_usage();
	test_kept();
	return tap_done();
}
