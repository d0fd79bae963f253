/* Route claims: which namespace is served at a route, for heads and claims. */
#include "routed/routed.h"
#include "tests/tap.h"

/* ---- heads and claims from text ---- */

static void add_route(struct head *head, const char *key)
{
	struct head_route *route = array_add(head->routes, head->n_routes);
	const char *slash = strchr(key, '/');

	route->key = xstrdup(key);
	route->service = xstrdup("web");
	route->port = xstrdup("http");
	if (str_starts(key, "tcp/")) {
		int_parse(slash + 1, 1, 65535, &route->listen);
		return;
	}
	route->host = xstrndup(key, (size_t)(slash - key));
	route->path = xstrdup(slash);
}

/* HOST=NS,NS */
static void add_grant(struct head *head, const char *text)
{
	_cleanup_(strv_freep) char **parts = strv_split(text, "=,");
	struct grant *grant = array_add(head->grants, head->n_grants);

	grant->host = xstrdup(parts[0]);
	for (char **ns = parts + 1; *ns; ns++)
		strv_push(&grant->namespaces, xstrdup(*ns));
}

/* `NS [route] … [grant:HOST=NS,NS] [open:DEPLOY] [uncommitted]` */
static void put_head(struct view *view, const char *words)
{
	_cleanup_(strv_freep) char **parts = strv_split(words, " ");
	_cleanup_(head_freep) struct head *head = codec_new(&head_schema);
	_cleanup_free_ char *subject = subject_make(SUBJECT_NAMESPACE, parts[0], NULL), *text;

	head->ns = xstrdup(parts[0]);
	head->revision = 1;
	for (char **word = parts + 1; *word; word++) {
		if (streq(*word, "uncommitted")) {
			head->revision = 0;
		} else if (str_starts(*word, "grant:")) {
			add_grant(head, *word + strlen("grant:"));
		} else if (str_starts(*word, "open:")) {
			head->open = codec_new(&open_deploy_schema);
			head->open->deploy = xstrdup(*word + strlen("open:"));
			head->open->epoch = 1;
		} else {
			add_route(head, *word);
		}
	}
	text = codec_print(&head_schema, head);
	if (view_take(view, subject, 1, text, strlen(text)) != 1)
		printf("# cannot take head %s\n", words);
	view_settle(view, &(struct watermark){ .generation = 1 }, NULL);
}

static void put_claim_of(struct view *view, int64_t sequence, const char *key, const char *ns,
			 const char *deploy)
{
	_cleanup_free_ char *token = route_token(key),
			    *subject = subject_make(SUBJECT_ROUTE, token, NULL);
	_cleanup_free_ char *text =
		codec_print(&route_claim_schema, &(struct route_claim){
							 .key = (char *)key,
							 .ns = (char *)ns,
							 .deploy = (char *)deploy,
							 .epoch = 1,
						 });

	if (view_take(view, subject, (uint64_t)sequence, text, strlen(text)) != 1)
		printf("# cannot take claim %s\n", key);
}

/* `SEQUENCE KEY NS [DEPLOY]` */
static void put_claim(struct view *view, const char *words)
{
	_cleanup_(strv_freep) char **parts = strv_split(words, " ");
	int64_t sequence;

	if (strv_count(parts) < 3 || int_parse(parts[0], 1, INT64_MAX, &sequence) < 0)
		return;
	put_claim_of(view, sequence, parts[1], parts[2], parts[3] ? parts[3] : "d");
}

/* ---- each combination by itself ---- */

struct row {
	const char *name;
	const char *heads[5], *claims[6];
	const char *ns, *key;
	const char *expected; /* NULL: served */
};

/* clang-format off */
static const struct row rows[] = {
	{ "a claim and a head that contains the route",
	  { "a h.example/" }, { "5 h.example a" },
	  "a", "h.example/", NULL },
	{ "no claim: no traffic",
	  { "a h.example/" }, { NULL },
	  "a", "h.example/", "no namespace has claimed h.example; deploy a again" },
	{ "another namespace has the claim",
	  { "a h.example/", "b h.example/" }, { "5 h.example b" },
	  "a", "h.example/", "namespace b has claimed h.example" },
	{ "also when that namespace does not have the route (yet)",
	  { "a h.example/", "b open:d" }, { "5 h.example b" },
	  "a", "h.example/", "namespace b has claimed h.example" },
	{ "of two heads with one route the claimant is served",
	  { "a h.example/", "b h.example/" }, { "5 h.example b" },
	  "b", "h.example/", NULL },
	{ "the deploy that claimed does not matter: the head contains the route",
	  { "a h.example/ open:other" }, { "5 h.example a earlier" },
	  "a", "h.example/", NULL },
	{ "tcp",
	  { "a tcp/5432" }, { "5 tcp/5432 a" },
	  "a", "tcp/5432", NULL },
	{ "tcp without a claim",
	  { "a tcp/5432" }, { NULL },
	  "a", "tcp/5432", "no namespace has claimed tcp/5432; deploy a again" },
	{ "tcp of another namespace",
	  { "a tcp/5432", "b tcp/5432" }, { "5 tcp/5432 b" },
	  "a", "tcp/5432", "namespace b has claimed tcp/5432" },

	/* Paths. */
	{ "a path needs its own claim, not only that on the host",
	  { "a h.example/api" }, { "5 h.example a" },
	  "a", "h.example/api", "no namespace has claimed h.example/api; deploy a again" },
	{ "host and path",
	  { "a h.example/api" }, { "5 h.example a", "6 h.example/api a" },
	  "a", "h.example/api", NULL },
	{ "a path below another namespace's host",
	  { "a h.example/", "b h.example/api" }, { "5 h.example a", "6 h.example/api b" },
	  "b", "h.example/api",
	  "host h.example belongs to namespace a, which does not grant it to b" },
	{ "also if the path was claimed first: the host's owner decides",
	  { "a h.example/", "b h.example/api" }, { "7 h.example a", "6 h.example/api b" },
	  "b", "h.example/api",
	  "host h.example belongs to namespace a, which does not grant it to b" },
	{ "and the host itself is served",
	  { "a h.example/", "b h.example/api" }, { "7 h.example a", "6 h.example/api b" },
	  "a", "h.example/", NULL },
	{ "a path that the host's owner grants",
	  { "a h.example/ grant:h.example=c,b", "b h.example/api" },
	  { "5 h.example a", "6 h.example/api b" },
	  "b", "h.example/api", NULL },
	{ "granted in any case of letters",
	  { "a h.example/ grant:H.Example=b", "b h.example/api" },
	  { "5 h.example a", "6 h.example/api b" },
	  "b", "h.example/api", NULL },
	{ "granted to others",
	  { "a h.example/ grant:h.example=c", "b h.example/api" },
	  { "5 h.example a", "6 h.example/api b" },
	  "b", "h.example/api",
	  "host h.example belongs to namespace a, which does not grant it to b" },
	{ "a grant of another host",
	  { "a h.example/ grant:i.example=b", "b h.example/api" },
	  { "5 h.example a", "6 h.example/api b" },
	  "b", "h.example/api",
	  "host h.example belongs to namespace a, which does not grant it to b" },
	{ "a grant does not replace the claim",
	  { "a h.example/ grant:h.example=b", "b h.example/api" }, { "5 h.example a" },
	  "b", "h.example/api", "no namespace has claimed h.example/api; deploy b again" },
	{ "nor does it give the host itself",
	  { "a h.example/ grant:h.example=b", "b h.example/" }, { "5 h.example a" },
	  "b", "h.example/", "namespace a has claimed h.example" },
	{ "a grant by a namespace that does not own the host",
	  { "a h.example/", "b h.example/api", "c grant:h.example=b" },
	  { "5 h.example a", "6 h.example/api b" },
	  "b", "h.example/api",
	  "host h.example belongs to namespace a, which does not grant it to b" },
	{ "any route on the host holds the claim on it",
	  { "a h.example/shop", "b h.example/api" },
	  { "5 h.example a", "6 h.example/shop a", "7 h.example/api b" },
	  "b", "h.example/api",
	  "host h.example belongs to namespace a, which does not grant it to b" },
	{ "the owner no longer has the host",
	  { "a other.example/", "b h.example/api" }, { "5 h.example a", "6 h.example/api b" },
	  "b", "h.example/api", NULL },
	{ "the owner is gone",
	  { "b h.example/api" }, { "5 h.example a", "6 h.example/api b" },
	  "b", "h.example/api", NULL },
	{ "a deploy that has claimed the host but not committed leaves no trace",
	  { "a open:d", "b h.example/api" }, { "5 h.example a", "6 h.example/api b" },
	  "b", "h.example/api", NULL },
	{ "nor a namespace that was never committed",
	  { "a h.example/ uncommitted open:d", "b h.example/api" },
	  { "5 h.example a", "6 h.example/api b" },
	  "b", "h.example/api", NULL },

	/* Wildcards. */
	{ "a wildcard",
	  { "a *.w.example/" }, { "5 *.w.example a" },
	  "a", "*.w.example/", NULL },
	{ "a host below another namespace's earlier wildcard",
	  { "a *.w.example/", "b h.w.example/" }, { "5 *.w.example a", "6 h.w.example b" },
	  "b", "h.w.example/",
	  "host h.w.example is below *.w.example of namespace a, which claimed it earlier and "
	  "does not grant it to b" },
	{ "that the wildcard's owner grants",
	  { "a *.w.example/ grant:*.w.example=b", "b h.w.example/" },
	  { "5 *.w.example a", "6 h.w.example b" },
	  "b", "h.w.example/", NULL },
	{ "that it grants by the host's own name",
	  { "a *.w.example/ grant:h.w.example=b", "b h.w.example/" },
	  { "5 *.w.example a", "6 h.w.example b" },
	  "b", "h.w.example/", NULL },
	{ "a grant of another host below the wildcard",
	  { "a *.w.example/ grant:i.w.example=b", "b h.w.example/" },
	  { "5 *.w.example a", "6 h.w.example b" },
	  "b", "h.w.example/",
	  "host h.w.example is below *.w.example of namespace a, which claimed it earlier and "
	  "does not grant it to b" },
	{ "a wildcard above an existing host: the exact host wins",
	  { "a *.w.example/", "b h.w.example/" }, { "7 *.w.example a", "6 h.w.example b" },
	  "b", "h.w.example/", NULL },
	{ "and the wildcard is served beside it",
	  { "a *.w.example/", "b h.w.example/" }, { "7 *.w.example a", "6 h.w.example b" },
	  "a", "*.w.example/", NULL },
	{ "a host below the namespace's own wildcard",
	  { "a *.w.example/ h.w.example/" }, { "5 *.w.example a", "6 h.w.example a" },
	  "a", "h.w.example/", NULL },
	{ "a wildcard that is claimed but not committed",
	  { "a open:d", "b h.w.example/" }, { "5 *.w.example a", "6 h.w.example b" },
	  "b", "h.w.example/", NULL },
	{ "a wildcard whose namespace has left it",
	  { "a h.example/", "b h.w.example/" }, { "5 *.w.example a", "6 h.w.example b" },
	  "b", "h.w.example/", NULL },
	{ "a host two labels below a wildcard is below it",
	  { "a *.example/", "b h.w.example/" }, { "5 *.example a", "6 h.w.example b" },
	  "b", "h.w.example/",
	  "host h.w.example is below *.example of namespace a, which claimed it earlier and "
	  "does not grant it to b" },
	{ "so is a wildcard below a wildcard",
	  { "a *.example/", "b *.w.example/" }, { "5 *.example a", "6 *.w.example b" },
	  "b", "*.w.example/",
	  "host *.w.example is below *.example of namespace a, which claimed it earlier and "
	  "does not grant it to b" },
	{ "a wildcard is not below itself",
	  { "a *.w.example/", "b *.w.example/" }, { "5 *.w.example b" },
	  "b", "*.w.example/", NULL },
	{ "of two wildcards above, the one that was claimed first takes the host",
	  { "a *.example/", "b h.w.example/", "c *.w.example/" },
	  { "5 *.example a", "4 *.w.example c", "6 h.w.example b" },
	  "b", "h.w.example/",
	  "host h.w.example is below *.w.example of namespace c, which claimed it earlier and "
	  "does not grant it to b" },
	{ "a grant by one of them is not enough",
	  { "a *.example/", "b h.w.example/", "c *.w.example/ grant:*.w.example=b" },
	  { "5 *.example a", "4 *.w.example c", "6 h.w.example b" },
	  "b", "h.w.example/",
	  "host h.w.example is below *.example of namespace a, which claimed it earlier and "
	  "does not grant it to b" },
	{ "a suffix without a dot is not below",
	  { "a *.w.example/", "b hw.example/" }, { "5 *.w.example a", "6 hw.example b" },
	  "b", "hw.example/", NULL },

	/* Paths below hosts below wildcards. */
	{ "a path on a host below an earlier wildcard",
	  { "a *.w.example/", "b h.w.example/api" },
	  { "5 *.w.example a", "6 h.w.example b", "7 h.w.example/api b" },
	  "b", "h.w.example/api",
	  "host h.w.example is below *.w.example of namespace a, which claimed it earlier and "
	  "does not grant it to b" },
	{ "also without any claim on the host",
	  { "a *.w.example/", "b h.w.example/api" }, { "5 *.w.example a", "7 h.w.example/api b" },
	  "b", "h.w.example/api",
	  "host h.w.example is below *.w.example of namespace a, which claimed it earlier and "
	  "does not grant it to b" },
	{ "a path that was claimed before the wildcard, without any claim on the host",
	  { "a *.w.example/", "b h.w.example/api" }, { "8 *.w.example a", "7 h.w.example/api b" },
	  "b", "h.w.example/api", NULL },
	{ "a path that the host's owner grants, on a host that the wildcard takes from that owner",
	  { "a *.w.example/", "b h.w.example/api", "c h.w.example/ grant:h.w.example=b" },
	  { "5 *.w.example a", "6 h.w.example c", "7 h.w.example/api b" },
	  "b", "h.w.example/api",
	  "host h.w.example is below *.w.example of namespace a, which claimed it earlier and "
	  "does not grant it to b" },
	{ "a path of the wildcard's namespace on a host that it takes",
	  { "a *.w.example/ h.w.example/api", "c h.w.example/" },
	  { "5 *.w.example a", "6 h.w.example c", "7 h.w.example/api a" },
	  "a", "h.w.example/api", NULL },
	{ "a path of a namespace to which the wildcard's owner grants, on a host that it takes",
	  { "a *.w.example/ grant:*.w.example=b", "b h.w.example/api", "c h.w.example/" },
	  { "5 *.w.example a", "6 h.w.example c", "7 h.w.example/api b" },
	  "b", "h.w.example/api", NULL },
	{ "a path on a host that the wildcard's owner granted to a third namespace: its grant counts",
	  { "a *.w.example/ grant:*.w.example=c", "b h.w.example/api", "c h.w.example/" },
	  { "5 *.w.example a", "6 h.w.example c", "7 h.w.example/api b" },
	  "b", "h.w.example/api",
	  "host h.w.example belongs to namespace c, which does not grant it to b" },
};
/* clang-format on */

static void test_rows(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct view view = { 0 };
		const struct head_route *route;
		_cleanup_free_ char *why = NULL;

		for (size_t j = 0; rows[i].heads[j]; j++)
			put_head(&view, rows[i].heads[j]);
		for (size_t j = 0; rows[i].claims[j]; j++)
			put_claim(&view, rows[i].claims[j]);
		route = head_route(view_head(&view, rows[i].ns), rows[i].key);
		why = claims_refuse(&view, view_head(&view, rows[i].ns), route);
		is(why, rows[i].expected, rows[i].name);
		view_clear(&view);
	}
}

/* ---- every combination of two namespaces, a wildcard, a host and a path ---- */

static const char *const keys[] = { "*.w.example/", "h.w.example/", "h.w.example/api" };
static const char *const claim_keys[] = { "*.w.example", "h.w.example", "h.w.example/api" };
static const char *const namespaces[] = { "a", "b" };
static const int orders[6][3] = { { 1, 2, 3 }, { 1, 3, 2 }, { 2, 1, 3 },
				  { 2, 3, 1 }, { 3, 1, 2 }, { 3, 2, 1 } };

/* Bit `route` of heads[ns]: the head has it. claims[route]: 0 none, else 1 + the namespace. */
struct world {
	unsigned heads[2], claims[3], grants[2], order;
};

static void make_view(const struct world *world, struct view *view)
{
	for (size_t ns = 0; ns < 2; ns++) {
		_cleanup_(strbuf_clear) struct strbuf words = STRBUF_INIT;

		strbuf_puts(&words, namespaces[ns]);
		for (size_t i = 0; i < 3; i++)
			if (world->heads[ns] & 1u << i)
				strbuf_printf(&words, " %s", keys[i]);
		if (world->grants[ns])
			strbuf_printf(&words, " grant:*.w.example=%s grant:h.w.example=%s",
				      namespaces[!ns], namespaces[!ns]);
		put_head(view, words.text);
	}
	for (size_t i = 0; i < 3; i++)
		if (world->claims[i])
			put_claim_of(view, orders[world->order][i], claim_keys[i],
				     namespaces[world->claims[i] - 1], "d");
}

/* Bit `route` of ret[ns]: it is served. */
static void serve(const struct world *world, unsigned ret[2])
{
	struct view view = { 0 };

	make_view(world, &view);
	for (size_t ns = 0; ns < 2; ns++) {
		const struct head *head = view_head(&view, namespaces[ns]);

		ret[ns] = 0;
		for (size_t i = 0; i < head->n_routes; i++) {
			_cleanup_free_ char *why = claims_refuse(&view, head, &head->routes[i]);

			for (size_t j = 0; j < 3 && !why; j++)
				ret[ns] |= streq(head->routes[i].key, keys[j]) << j;
		}
	}
	view_clear(&view);
}

static bool claims_committed(const struct world *world, size_t route)
{
	unsigned ns = world->claims[route] - 1;

	/* Any route on the host holds the claim on the host. */
	return world->claims[route] &&
	       world->heads[ns] & (route == 1 ? 1u << 1 | 1u << 2 : 1u << route);
}

static struct world world_number(unsigned n)
{
	struct world world = { 0 };

	world.heads[0] = n % 8, n /= 8;
	world.heads[1] = n % 8, n /= 8;
	for (size_t i = 0; i < 3; i++)
		world.claims[i] = n % 3, n /= 3;
	world.grants[0] = n % 2, n /= 2;
	world.grants[1] = n % 2, n /= 2;
	world.order = n;
	return world;
}
#define WORLDS (8 * 8 * 27 * 4 * 6)

/* Whether leased lets a deploy with this head commit: it holds every claim that it needs, and none
 * of its routes has a conflict. */
static bool may_commit(const struct view *view, const struct head *head)
{
	struct route_claimed claims[3];
	const struct head *heads[2];
	struct route_known known = { .claims = claims, .heads = heads };
	_cleanup_(route_owners_freep) struct route_owners *owners = NULL;
	_cleanup_(strv_freep) char **needed = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(claim_keys); i++) {
		const struct view_item *claim = view_claim(view, claim_keys[i]);

		if (claim)
			claims[known.n_claims++] =
				(struct route_claimed){ claim->object, claim->sequence };
	}
	for (size_t i = 0; i < ARRAY_SIZE(namespaces); i++)
		heads[known.n_heads++] = view_head(view, namespaces[i]);
	owners = route_owners_new(&known);
	needed = route_claims_needed(owners, head);
	return !needed && !route_conflict(owners, head, NULL);
}

static void test_committed(void)
{
	unsigned committed = 0, refused = 0;

	for (unsigned n = 0; n < WORLDS; n++) {
		const struct world world = world_number(n);
		struct view view = { 0 };

		make_view(&world, &view);
		for (size_t ns = 0; ns < 2; ns++) {
			const struct head *head = view_head(&view, namespaces[ns]);
			bool commits = may_commit(&view, head);

			for (size_t i = 0; commits && i < head->n_routes; i++) {
				_cleanup_free_ char *why =
					claims_refuse(&view, head, &head->routes[i]);

				committed++;
				refused += why != NULL;
			}
		}
		view_clear(&view);
	}
	ok(committed > 1000, "%u routes of deploys that may commit", committed);
	is_int(refused, 0, "are served");
}

static void test_worlds(void)
{
	unsigned twice = 0, unclaimed = 0, traces = 0, granted = 0, first = 0, infringed = 0;

	for (unsigned n = 0; n < WORLDS; n++) {
		const struct world world = world_number(n);
		unsigned served[2], without[2];

		serve(&world, served);
		twice += (served[0] & served[1]) != 0;
		for (size_t i = 0; i < 3; i++) {
			struct world other = world;

			for (unsigned ns = 0; ns < 2; ns++) {
				bool own = world.claims[i] == ns + 1 && world.heads[ns] & 1u << i;

				unclaimed += served[ns] & 1u << i && !own;
				/* The other namespace grants everything; everything was claimed
				 * first. */
				granted += own && world.grants[!ns] && !(served[ns] & 1u << i);
				first += own && world.order == 0 && world.claims[0] == ns + 1 &&
					 claims_committed(&world, 0) && world.claims[1] == ns + 1 &&
					 !(served[ns] & 1u << i);
				infringed +=
					i == 2 && served[ns] & 1u << 2 &&
					world.claims[1] == 1 + !ns && !world.grants[!ns] &&
					claims_committed(&world, 1) &&
					!(world.claims[0] == ns + 1 && claims_committed(&world, 0));
			}
			if (!world.claims[i] || claims_committed(&world, i))
				continue;
			other.claims[i] = 0;
			serve(&other, without);
			traces += without[0] != served[0] || without[1] != served[1];
		}
	}
	is_int(twice, 0, "no key is served for two namespaces");
	is_int(unclaimed, 0, "nothing is served without its own claim");
	is_int(traces, 0, "a claim that is not committed changes nothing");
	is_int(granted, 0, "a namespace to which the other grants everything is served");
	is_int(first, 0, "the namespace that claimed first is served");
	is_int(infringed, 0, "no path below another namespace's host without a grant");
}

/* The lookup of wildcards agrees with route_host_covers. */
static void test_covers(void)
{
	static const char *const hosts[] = { "example",	    "h.example",     "*.example",
					     "h.w.example", "*.w.example",   "hw.example",
					     "w.example",   "h.h.w.example", "*.h.w.example" };
	unsigned wrong = 0;

	for (size_t i = 0; i < ARRAY_SIZE(hosts); i++)
		for (size_t j = 0; j < ARRAY_SIZE(hosts); j++) {
			_cleanup_free_ char *a = xasprintf("a %s/", hosts[i]);
			_cleanup_free_ char *b = xasprintf("b %s/", hosts[j]), *why = NULL;
			struct view view = { 0 };
			const struct head *head;

			if (i == j)
				continue;
			put_head(&view, a);
			put_head(&view, b);
			put_claim_of(&view, 1, hosts[i], "a", "d");
			put_claim_of(&view, 2, hosts[j], "b", "d");
			head = view_head(&view, "b");
			why = claims_refuse(&view, head, &head->routes[0]);
			wrong += (why != NULL) != route_host_covers(hosts[i], hosts[j]);
			view_clear(&view);
		}
	is_int(wrong, 0, "hosts below wildcards are those of route_host_covers");
}

int main(void)
{
	test_rows();
	test_worlds();
	test_committed();
	test_covers();
	return tap_done();
}
