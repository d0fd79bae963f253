/* Route owner (pure): decides from the claims and heads of all namespaces which one may have a
 * route. */
#include <strings.h>

#include "lib/map.h"
#include "lib/model/route.h"
#include "lib/str.h"

/* A key that a namespace owns: by a valid claim, or by a route of its head for which no namespace
 * has a valid claim. */
struct owned {
	const char *ns;
	const char *key;
	const struct head *head;	 /* of the namespace; NULL: it cannot be decoded */
	const struct route_claim *claim; /* NULL: there is none */
	uint64_t sequence;		 /* of the claim */
};
struct route_owners {
	struct owned *items;
	size_t n_items;
};

/* Length of the host at the start of a key; 0: the key of a tcp port. */
static size_t host_length(const char *key)
{
	return str_starts(key, "tcp/") ? 0 : strcspn(key, "/");
}

static bool host_is(const char *key, const char *host)
{
	size_t length = host_length(key);

	return length && strlen(host) == length && strncasecmp(key, host, length) == 0;
}

/* Whether the key covers a whole host: a claim's `host`, or a route's `host/`. */
static bool is_whole_host(const char *key)
{
	size_t length = host_length(key);

	return length && (!key[length] || !key[length + 1]);
}

/* The key of the claim that a route's key needs; owned by the caller. */
static char *claim_key(const char *key)
{
	return xstrndup(key, is_whole_host(key) ? host_length(key) : strlen(key));
}

static bool same_key(const char *a, const char *b)
{
	size_t length = host_length(a);

	if (!is_whole_host(a) || !is_whole_host(b))
		return streq(a, b);
	return length == host_length(b) && strncasecmp(a, b, length) == 0;
}

static void add(struct route_owners *owners, const struct owned *owned)
{
	*array_add(owners->items, owners->n_items) = *owned;
}

struct route_owners *route_owners_new(const struct route_known *known)
{
	struct route_owners *owners = xcalloc(1, sizeof(*owners));
	struct map heads = MAP_INIT, claimed = MAP_INIT;

	for (size_t i = 0; i < known->n_heads; i++)
		map_put(&heads, known->heads[i]->ns, (void *)known->heads[i]);
	for (size_t i = 0; i < known->n_claims; i++) {
		const struct route_claim *claim = known->claims[i].claim;
		const struct head *head = map_get(&heads, claim->ns);
		_cleanup_free_ char *key = claim_key(claim->key);

		if (!strv_contains(known->unreadable, claim->ns) && !route_claim_valid(claim, head))
			continue;
		map_put(&claimed, key, (void *)claim);
		add(owners, &(struct owned){ claim->ns, claim->key, head, claim,
					     known->claims[i].sequence });
	}
	for (size_t i = 0; i < known->n_heads; i++)
		for (size_t j = 0; j < known->heads[i]->n_routes; j++) {
			const struct head *head = known->heads[i];
			_cleanup_free_ char *key = claim_key(head->routes[j].key);

			if (!map_get(&claimed, key))
				add(owners, &(struct owned){ head->ns, head->routes[j].key, head,
							     NULL, 0 });
		}
	map_clear(&heads, NULL);
	map_clear(&claimed, NULL);
	return owners;
}

void route_owners_free(struct route_owners *owners)
{
	if (!owners)
		return;
	free(owners->items);
	free(owners);
}

/* Whether `head` lets `ns` claim below `host`. `wildcard`: `host` itself is below a wildcard of
 * `head`. */
static bool grants(const struct head *head, const char *host, const char *ns, bool wildcard)
{
	for (size_t i = 0; head && i < head->n_grants; i++) {
		const struct grant *grant = &head->grants[i];
		bool fits = wildcard ? route_host_covers(grant->host, host)
				     : strcasecmp(grant->host, host) == 0;

		if (fits && strv_contains(grant->namespaces, ns))
			return true;
	}
	return false;
}

/* One wanted route while it is compared with the keys of other namespaces. */
struct search {
	const struct head *wanted;
	const struct head_route *route;
	const struct owned *own_host;	/* own claim on the route's host, or NULL */
	const struct owned *other_host; /* another namespace's claim on it, or NULL */
};
/* Whether another namespace's key excludes the route. */
typedef bool (*excludes_fn)(const struct search *search, const struct owned *owned);

/* Of two claims under different keys the lower sequence was first. */
static bool own_is_first(const struct search *search, const struct owned *owned)
{
	return search->own_host && search->own_host->claim &&
	       (!owned->claim || search->own_host->sequence < owned->sequence);
}

static bool by_key(const struct search *search, const struct owned *owned)
{
	return same_key(owned->key, search->route->key);
}

static bool by_host(const struct search *search, const struct owned *owned)
{
	const char *host = search->route->host;

	if (!host || !host_is(owned->key, host) || own_is_first(search, owned))
		return false;
	/* A path that an earlier owner of the host granted; this one grants it too. */
	if (!is_whole_host(owned->key) && grants(search->wanted, host, owned->ns, false))
		return false;
	return !grants(owned->head, host, search->wanted->ns, false);
}

static bool by_wildcard(const struct search *search, const struct owned *owned)
{
	const char *host = search->route->host;
	_cleanup_free_ char *above = xstrndup(owned->key, host_length(owned->key));

	/* The owner of the exact host decides, not that of a wildcard. */
	if (!host || search->other_host || own_is_first(search, owned))
		return false;
	if (!str_starts(above, "*.") || !strcasecmp(above, host) || !route_host_covers(above, host))
		return false;
	return !grants(owned->head, host, search->wanted->ns, true);
}

static char *describe(const struct search *search, const struct owned *owned, excludes_fn by)
{
	const struct open_deploy *open = owned->head ? owned->head->open : NULL;
	bool being_claimed = owned->claim && open && streq(open->deploy, owned->claim->deploy) &&
			     open->epoch == owned->claim->epoch;
	_cleanup_free_ char *owner =
		being_claimed ? xasprintf("is being claimed by deploy %s of namespace %s",
					  open->deploy, owned->ns)
			      : xasprintf("belongs to namespace %s", owned->ns);
	const char *ns = search->wanted->ns;

	if (by == by_key)
		return xasprintf("it %s", owner);
	if (by == by_host)
		return xasprintf("host %s %s, which does not grant it to %s", search->route->host,
				 owner, ns);
	return xasprintf("wildcard %.*s %s, which does not grant %s to %s",
			 (int)host_length(owned->key), owned->key, owner, search->route->host, ns);
}

static bool route_excluded(const struct route_owners *owners, const struct search *search,
			   struct route_conflict *ret)
{
	static const excludes_fn rules[] = { by_key, by_host, by_wildcard };

	for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
		for (size_t j = 0; j < owners->n_items; j++) {
			const struct owned *owned = &owners->items[j];

			if (streq(owned->ns, search->wanted->ns) || !rules[i](search, owned))
				continue;
			if (ret)
				*ret = (struct route_conflict){
					.key = xstrdup(search->route->key),
					.ns = xstrdup(owned->ns),
					.reason = describe(search, owned, rules[i]),
				};
			return true;
		}
	return false;
}

bool route_conflict_of(const struct route_owners *owners, const struct head *wanted,
		       const struct head_route *route, struct route_conflict *ret)
{
	struct search search = { .wanted = wanted, .route = route };

	for (size_t i = 0; route->host && i < owners->n_items; i++) {
		const struct owned *owned = &owners->items[i];

		if (!is_whole_host(owned->key) || !host_is(owned->key, route->host))
			continue;
		if (streq(owned->ns, wanted->ns))
			search.own_host = owned;
		else
			search.other_host = owned;
	}
	return route_excluded(owners, &search, ret);
}

bool route_conflict(const struct route_owners *owners, const struct head *wanted,
		    struct route_conflict *ret)
{
	for (size_t i = 0; i < wanted->n_routes; i++)
		if (route_conflict_of(owners, wanted, &wanted->routes[i], ret))
			return true;
	return false;
}

void route_conflict_clear(struct route_conflict *conflict)
{
	free(steal(conflict->key));
	free(steal(conflict->ns));
	free(steal(conflict->reason));
}

char **route_claims_needed(const struct route_owners *owners, const struct head *wanted)
{
	_cleanup_(strv_freep) char **keys = route_claim_keys(wanted);
	char **needed = NULL;

	for (char **key = keys; key && *key; key++) {
		bool taken = false;

		/* A granted path does not change the owner of its host. */
		for (size_t i = 0; i < owners->n_items; i++)
			taken |= owners->items[i].claim && same_key(owners->items[i].key, *key) &&
				 (streq(owners->items[i].ns, wanted->ns) || is_whole_host(*key));
		if (!taken)
			strv_push(&needed, xstrdup(*key));
	}
	return needed;
}
