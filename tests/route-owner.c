/* Ownership of routes: rows of claims and heads with the conflict that follows, and a model of
 * concurrent deploys, in which no two namespaces ever commit routes that exclude each other. */
#include "lib/ployz.h"
#include "tests/tap.h"

#define KNOWN_MAX 32

/* Written as words: `head blog a.example/ b.example/x grant a.example=shop open d7:3; claim 12 blog
 * a.example d1:2; unreadable blog`. */
struct known {
	struct head *heads[KNOWN_MAX];
	size_t n_heads;
	struct route_claim *claims[KNOWN_MAX];
	struct route_claimed claimed[KNOWN_MAX];
	size_t n_claims;
	char **unreadable;
};

static void add_route(struct head *head, const char *key)
{
	struct head_route *route = array_add(head->routes, head->n_routes);
	const char *slash = strchr(key, '/');

	route->key = xstrdup(key);
	route->service = xstrdup("web");
	route->port = xstrdup("http");
	if (str_starts(key, "tcp/"))
		return;
	route->host = xstrndup(key, (size_t)(slash - key));
	route->path = xstrdup(slash);
}

static void add_grant(struct head *head, const char *word)
{
	_cleanup_(strv_freep) char **parts = strv_split(word, "=,");
	struct grant *grant = array_add(head->grants, head->n_grants);

	grant->host = xstrdup(parts[0]);
	for (char **ns = parts + 1; *ns; ns++)
		strv_push(&grant->namespaces, xstrdup(*ns));
}

static void parse_deploy(const char *word, char **ret_deploy, int64_t *ret_epoch)
{
	const char *colon = strchr(word, ':');

	*ret_deploy = xstrndup(word, colon ? (size_t)(colon - word) : strlen(word));
	*ret_epoch = colon ? strtol(colon + 1, NULL, 10) : 1;
}

/* From the words behind `head`. */
static struct head *make_head(char **words)
{
	struct head *head = codec_new(&head_schema);

	head->ns = xstrdup(words[0]);
	for (char **word = words + 1; *word; word++) {
		if (streq(*word, "grant")) {
			add_grant(head, *++word);
		} else if (streq(*word, "open")) {
			head->open = codec_new(&open_deploy_schema);
			parse_deploy(*++word, &head->open->deploy, &head->open->epoch);
		} else {
			add_route(head, *word);
		}
	}
	return head;
}

static void add_claim(struct known *known, uint64_t sequence, const char *ns, const char *key,
		      const char *deploy)
{
	struct route_claim *claim = codec_new(&route_claim_schema);

	claim->ns = xstrdup(ns);
	claim->key = xstrdup(key);
	parse_deploy(deploy, &claim->deploy, &claim->epoch);
	known->claims[known->n_claims] = claim;
	known->claimed[known->n_claims++] = (struct route_claimed){ claim, sequence };
}

static void make_known(struct known *known, const char *text)
{
	_cleanup_(strv_freep) char **parts = strv_split(text, ";");

	for (char **part = parts; part && *part; part++) {
		_cleanup_(strv_freep) char **words = strv_split(*part, " ");

		if (streq(words[0], "head"))
			known->heads[known->n_heads++] = make_head(words + 1);
		else if (streq(words[0], "claim"))
			add_claim(known, strtoull(words[1], NULL, 10), words[2], words[3],
				  words[4] ? words[4] : "old");
		else
			strv_push(&known->unreadable, xstrdup(words[1]));
	}
}

static void clear_known(struct known *known)
{
	for (size_t i = 0; i < known->n_heads; i++)
		head_free(known->heads[i]);
	for (size_t i = 0; i < known->n_claims; i++)
		route_claim_free(known->claims[i]);
	strv_free(known->unreadable);
}

static struct route_owners *owners_of(const struct known *known)
{
	return route_owners_new(&(struct route_known){
		.claims = known->claimed,
		.n_claims = known->n_claims,
		.heads = (const struct head *const *)known->heads,
		.n_heads = known->n_heads,
		.unreadable = known->unreadable,
	});
}

#define BLOG_A "head blog a.example/; claim 10 blog a.example"
#define BLOG_ANY "head blog *.example/; claim 10 blog *.example"

static const struct row {
	const char *name, *known, *wanted, *conflict, *needed;
} rows[] = {
	{ "nothing is known", "", "shop a.example/ tcp/5432", "none", "a.example tcp/5432" },
	{ "a host of another namespace", BLOG_A, "shop a.example/",
	  "a.example/: it belongs to namespace blog", NULL },
	{ "a path of another namespace's host", BLOG_A, "shop a.example/x",
	  "a.example/x: host a.example belongs to namespace blog, which does not grant it to shop",
	  NULL },
	{ "the whole host when another namespace has a path of it",
	  "head blog a.example/x; claim 10 blog a.example; claim 11 blog a.example/x",
	  "shop a.example/", "a.example/: it belongs to namespace blog", NULL },
	{ "a path beside another namespace's path",
	  "head blog a.example/x; claim 10 blog a.example; claim 11 blog a.example/x",
	  "shop a.example/y",
	  "a.example/y: host a.example belongs to namespace blog, which does not grant it to shop",
	  NULL },
	{ "a path that is granted",
	  "head blog a.example/ grant a.example=shop; claim 10 blog a.example", "shop a.example/x",
	  "none", "a.example/x" },
	{ "another namespace's grant does not count",
	  "head blog a.example/; head shop grant a.example=shop; claim 10 blog a.example",
	  "shop a.example/x",
	  "a.example/x: host a.example belongs to namespace blog, which does not grant it to shop",
	  NULL },
	{ "a grant for another namespace",
	  "head blog a.example/ grant a.example=news; claim 10 blog a.example", "shop a.example/x",
	  "a.example/x: host a.example belongs to namespace blog, which does not grant it to shop",
	  NULL },
	{ "a grant is for paths, not for the host",
	  "head blog a.example/ grant a.example=shop; claim 10 blog a.example", "shop a.example/",
	  "a.example/: it belongs to namespace blog", NULL },
	{ "a granted path that its owner has itself",
	  "head blog a.example/ a.example/x grant a.example=shop; claim 10 blog a.example; claim "
	  "11 blog a.example/x",
	  "shop a.example/x", "a.example/x: it belongs to namespace blog", NULL },
	{ "the owner is not excluded by a path that it has granted",
	  "head blog a.example/; head shop a.example/x; claim 10 blog a.example; claim 11 shop "
	  "a.example/x",
	  "blog a.example/ a.example/y", "none", "a.example/y" },
	{ "nor does it get that path back",
	  "head blog a.example/; head shop a.example/x; claim 10 blog a.example; claim 11 shop "
	  "a.example/x",
	  "blog a.example/ a.example/x", "a.example/x: it belongs to namespace shop", NULL },
	{ "a withdrawn grant counts at the next deploy",
	  "head blog a.example/; head shop a.example/x; claim 10 blog a.example; claim 11 shop "
	  "a.example/x",
	  "shop a.example/x",
	  "a.example/x: host a.example belongs to namespace blog, which does not grant it to shop",
	  NULL },
	{ "a granted path is left when its owner goes: no third namespace gets the host",
	  "head shop a.example/x; claim 10 blog a.example; claim 11 shop a.example/x; head blog",
	  "news a.example/",
	  "a.example/: host a.example belongs to namespace shop, which does not grant it to news",
	  NULL },
	{ "unless it grants the path",
	  "head shop a.example/x; claim 10 blog a.example; claim 11 shop a.example/x; head blog",
	  "news a.example/ grant a.example=shop", "none", "a.example" },
	{ "a host below another namespace's wildcard", BLOG_ANY, "shop a.example/",
	  "a.example/: wildcard *.example belongs to namespace blog, which does not grant "
	  "a.example "
	  "to shop",
	  NULL },
	{ "two labels below it", BLOG_ANY, "shop b.a.example/",
	  "b.a.example/: wildcard *.example belongs to namespace blog, which does not grant "
	  "b.a.example to shop",
	  NULL },
	{ "a wildcard below another namespace's wildcard", BLOG_ANY, "shop *.a.example/",
	  "*.a.example/: wildcard *.example belongs to namespace blog, which does not grant "
	  "*.a.example to shop",
	  NULL },
	{ "the same wildcard", BLOG_ANY, "shop *.example/",
	  "*.example/: it belongs to namespace blog", NULL },
	{ "a granted host below a wildcard",
	  "head blog *.example/ grant *.example=shop; claim 10 blog *.example", "shop a.example/",
	  "none", "a.example" },
	{ "one host granted below a wildcard",
	  "head blog *.example/ grant a.example=shop; claim 10 blog *.example", "shop a.example/",
	  "none", "a.example" },
	{ "another one is not",
	  "head blog *.example/ grant a.example=shop; claim 10 blog *.example", "shop b.example/",
	  "b.example/: wildcard *.example belongs to namespace blog, which does not grant "
	  "b.example "
	  "to shop",
	  NULL },
	{ "a wildcard above another namespace's host", BLOG_A, "shop *.example/", "none",
	  "*.example" },
	{ "a host that is older than the wildcard above it",
	  "head shop a.example/; claim 9 shop a.example; " BLOG_ANY, "shop a.example/ a.example/x",
	  "none", "a.example/x" },
	{ "one that is younger", "head shop a.example/; claim 11 shop a.example; " BLOG_ANY,
	  "shop a.example/",
	  "a.example/: wildcard *.example belongs to namespace blog, which does not grant "
	  "a.example "
	  "to shop",
	  NULL },
	{ "an old claim on a route that was given up since does not count as older",
	  "head shop; claim 9 shop a.example; " BLOG_ANY, "shop a.example/",
	  "a.example/: wildcard *.example belongs to namespace blog, which does not grant "
	  "a.example "
	  "to shop",
	  NULL },
	{ "a granted path of a host below a third namespace's wildcard",
	  "head news a.example/ grant a.example=shop; claim 5 news a.example; " BLOG_ANY,
	  "shop a.example/x", "none", "a.example/x" },
	{ "a port", "head blog tcp/5432; claim 10 blog tcp/5432", "shop tcp/5432",
	  "tcp/5432: it belongs to namespace blog", NULL },
	{ "another port", "head blog tcp/5432; claim 10 blog tcp/5432", "shop tcp/5433", "none",
	  "tcp/5433" },
	{ "a claim whose namespace has the route no more", "head blog; claim 10 blog a.example",
	  "shop a.example/", "none", "a.example" },
	{ "a claim of a namespace that never committed", "claim 10 blog a.example",
	  "shop a.example/", "none", "a.example" },
	{ "a claim of an open deploy", "head blog open d7:3; claim 10 blog a.example d7:3",
	  "shop a.example/", "a.example/: it is being claimed by deploy d7 of namespace blog",
	  NULL },
	{ "of an earlier epoch of that deploy", "head blog open d7:4; claim 10 blog a.example d7:3",
	  "shop a.example/", "none", "a.example" },
	{ "of a deploy that is open no more", "head blog open d8:3; claim 10 blog a.example d7:3",
	  "shop a.example/", "none", "a.example" },
	{ "two open deploys, host and wildcard: the earlier claim wins",
	  "head shop open d1:1; head blog open d2:1; claim 10 shop a.example d1:1; claim 11 blog "
	  "*.example d2:1",
	  "shop a.example/", "none", "" },
	{ "and the wildcard above it is allowed",
	  "head shop open d1:1; head blog open d2:1; claim 10 shop a.example d1:1; claim 11 blog "
	  "*.example d2:1",
	  "blog *.example/", "none", "" },
	{ "two open deploys, wildcard first: the host fails",
	  "head shop open d1:1; head blog open d2:1; claim 12 shop a.example d1:1; claim 11 blog "
	  "*.example d2:1",
	  "shop a.example/",
	  "a.example/: wildcard *.example is being claimed by deploy d2 of namespace blog, which "
	  "does not grant a.example to shop",
	  NULL },
	{ "and the wildcard does not",
	  "head shop open d1:1; head blog open d2:1; claim 12 shop a.example d1:1; claim 11 blog "
	  "*.example d2:1",
	  "blog *.example/", "none", "" },
	{ "a route without a claim belongs to its head's namespace", "head blog a.example/",
	  "shop a.example/x",
	  "a.example/x: host a.example belongs to namespace blog, which does not grant it to shop",
	  NULL },
	{ "unless another one has the claim",
	  "head blog a.example/; head shop a.example/; claim 10 shop a.example", "shop a.example/",
	  "none", "" },
	{ "a wildcard without a claim takes no host that has one",
	  "head blog *.example/; head shop a.example/; claim 10 shop a.example", "shop a.example/",
	  "none", "" },
	{ "an own route without a claim is claimed again", "head shop a.example/",
	  "shop a.example/", "none", "a.example" },
	{ "the claims of a head that cannot be decoded count",
	  "unreadable blog; claim 10 blog a.example", "shop a.example/x",
	  "a.example/x: host a.example belongs to namespace blog, which does not grant it to shop",
	  NULL },
	{ "hosts in any case", "head blog A.Example/; claim 10 blog a.example", "shop a.EXAMPLE/x",
	  "a.EXAMPLE/x: host a.EXAMPLE belongs to namespace blog, which does not grant it to shop",
	  NULL },
	{ "the first conflict of several",
	  "head blog a.example/ b.example/; claim 1 blog a.example; "
	  "claim 2 blog b.example",
	  "shop c.example/ b.example/ a.example/", "b.example/: it belongs to namespace blog",
	  NULL },
	{ "a host that ends like another", BLOG_A, "shop aa.example/ example/", "none",
	  "aa.example example" },
};

static void try_row(const struct row *row)
{
	struct known known = { .n_heads = 0 };
	_cleanup_(strv_freep) char **words = strv_split(row->wanted, " ");
	_cleanup_(head_freep) struct head *wanted = make_head(words);
	struct route_conflict conflict = { NULL, NULL, NULL };
	_cleanup_(route_owners_freep) struct route_owners *owners = NULL;
	_cleanup_free_ char *text = NULL;

	make_known(&known, row->known);
	owners = owners_of(&known);
	if (route_conflict(owners, wanted, &conflict))
		text = xasprintf("%s: %s", conflict.key, conflict.reason);
	is(text ? text : "none", row->conflict, row->name);
	if (text)
		ok(strstr(row->conflict, conflict.ns) != NULL, "and it names the owner");
	if (row->needed) {
		_cleanup_(strv_freep) char **needed = route_claims_needed(owners, wanted);
		_cleanup_free_ char *list = strv_join(needed, " ");

		is(list, row->needed, "the claims that it needs");
	}
	route_conflict_clear(&conflict);
	clear_known(&known);
}

/* --- Concurrent deploys: each claims one key after the other, asks again, and commits. */

#define NAMESPACES 4
#define STEPS 60000

static const char *const keys[] = { "a.x/",   "a.x/p",	"b.x/",	 "b.x/p", "*.x/",
				    "c.b.x/", "*.b.x/", "tcp/1", "a.x/q" };

static struct {
	struct known known;
	struct head *wanted[NAMESPACES]; /* of the open deploy; NULL: none */
	uint64_t read[NAMESPACES];	 /* sequence at which it read the claims */
	uint64_t sequence;
	int64_t deploys;
	size_t commits, refused, lost;
} model;

static uint32_t random_state = 7;

static uint32_t chance(uint32_t below)
{
	random_state = random_state * 1664525u + 1013904223u;
	return (random_state >> 8) % below;
}

static struct route_claimed *claim_on(const char *key)
{
	for (size_t i = 0; i < model.known.n_claims; i++)
		if (streq(model.known.claims[i]->key, key))
			return &model.known.claimed[i];
	return NULL;
}

/* Namespace 0 grants a.x to 1, namespace 2 its wildcard to 3. */
static void take_grants(struct head *head, size_t i)
{
	if (i == 0)
		add_grant(head, "a.x=n1");
	if (i == 2)
		add_grant(head, "*.x=n3");
}

static void begin(size_t i)
{
	struct head *head = model.known.heads[i];
	struct head *wanted = codec_new(&head_schema);
	_cleanup_(route_owners_freep) struct route_owners *owners = NULL;

	wanted->ns = xstrdup(head->ns);
	for (size_t k = 0; k < ARRAY_SIZE(keys); k++)
		if (chance(4) == 0)
			add_route(wanted, keys[k]);
	take_grants(wanted, i);
	owners = owners_of(&model.known);
	if (route_conflict(owners, wanted, NULL)) {
		model.refused++;
		head_free(wanted);
		return;
	}
	model.wanted[i] = wanted;
	model.read[i] = ++model.sequence;
	head->open = codec_new(&open_deploy_schema);
	head->open->deploy = xasprintf("d%lld", (long long)++model.deploys);
	head->open->epoch = model.deploys;
}

static void end(size_t i, bool commit)
{
	struct head *head = model.known.heads[i], *wanted = model.wanted[i];

	model.wanted[i] = NULL;
	open_deploy_free(steal(head->open));
	model.sequence++;
	if (commit) {
		model.commits++;
		model.known.heads[i] = wanted;
		wanted = head;
	}
	head_free(wanted);
}

static void claim_or_commit(size_t i)
{
	struct head *head = model.known.heads[i];
	_cleanup_(route_owners_freep) struct route_owners *owners = owners_of(&model.known);
	_cleanup_(strv_freep) char **needed = route_claims_needed(owners, model.wanted[i]);
	struct route_claimed *entry = needed ? claim_on(needed[0]) : NULL;
	struct route_claim *claim;

	if (!needed) {
		if (route_conflict(owners, model.wanted[i], NULL))
			model.lost++, end(i, false);
		else
			end(i, true);
		return;
	}
	/* Compare-and-set: what was written since the claims were read is not overwritten. */
	if (entry && entry->sequence > model.read[i]) {
		model.lost++;
		end(i, false);
		return;
	}
	if (!entry) {
		add_claim(&model.known, 0, head->ns, needed[0], "new");
		entry = &model.known.claimed[model.known.n_claims - 1];
	}
	claim = (struct route_claim *)entry->claim;
	free(claim->ns);
	free(claim->deploy);
	claim->ns = xstrdup(head->ns);
	claim->deploy = xstrdup(head->open->deploy);
	claim->epoch = head->open->epoch;
	entry->sequence = ++model.sequence;
}

static uint64_t host_claim(const char *host)
{
	const struct route_claimed *entry = claim_on(host);

	return entry ? entry->sequence : 0;
}

/* Whether two committed routes of different namespaces exclude each other, grants aside. */
static bool exclusive(size_t i, const struct head_route *a, size_t j, const struct head_route *b)
{
	bool granted_a = i == 0 && j == 1, granted_any = i == 2 && j == 3;

	if (streq(a->key, b->key))
		return true;
	if (!a->host || !b->host)
		return false;
	if (streq(a->host, b->host))
		return !(streq(a->host, "a.x") && (granted_a || (i == 1 && j == 0)));
	return route_host_covers(a->host, b->host) && !granted_any && !granted_a &&
	       host_claim(b->host) > host_claim(a->host);
}

static size_t exclusions(void)
{
	size_t count = 0;

	for (size_t i = 0; i < NAMESPACES; i++)
		for (size_t j = 0; j < NAMESPACES; j++)
			for (size_t k = 0; i != j && k < model.known.heads[i]->n_routes; k++)
				for (size_t l = 0; l < model.known.heads[j]->n_routes; l++)
					count += exclusive(i, &model.known.heads[i]->routes[k], j,
							   &model.known.heads[j]->routes[l]);
	return count;
}

static void concurrent_deploys(void)
{
	size_t violations = 0;

	for (size_t i = 0; i < NAMESPACES; i++) {
		_cleanup_free_ char *text = xasprintf("head n%zu", i);

		make_known(&model.known, text);
		take_grants(model.known.heads[i], i);
	}
	for (int step = 0; step < STEPS; step++) {
		size_t i = chance(NAMESPACES);

		if (!model.wanted[i])
			begin(i);
		else if (chance(12) == 0)
			end(i, false);
		else
			claim_or_commit(i);
		violations += exclusions();
	}
	is_int((long long)violations, 0, "no two namespaces commit routes that exclude each other");
	ok(model.commits > 1000 && model.refused > 1000 && model.lost > 50,
	   "%zu commits, %zu refused, %zu lost", model.commits, model.refused, model.lost);
	for (size_t i = 0; i < NAMESPACES; i++)
		head_free(model.wanted[i]);
	clear_known(&model.known);
}

int main(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		try_row(&rows[i]);
	concurrent_deploys();
	return tap_done();
}
