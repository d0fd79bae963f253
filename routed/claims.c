/* Claims: which namespace is served at a route. lib/model/route-owner.c decides whether a deploy
 * may have a route; every route that it permits is served here:
 *
 * 1. A route needs the claim with its key, for its namespace. For `/` of a host that is the claim
 * on the host, below `/` the one on host and path, for tcp the one on the port.
 * 2. A host belongs to one namespace: that of the claim on it. Below `/` another namespace is
 * served only if the owner's head grants it the host.
 * 3. A host below another namespace's wildcard belongs to the wildcard's namespace if that claimed
 *    earlier (lower sequence) and does not grant it to the claimant. A wildcard that was claimed
 *    later leaves the host alone: the exact host wins.
 *
 * A claim counts against another namespace only once its own namespace's head contains the route: a
 * deploy that has claimed but not committed leaves no trace in traffic. */
#include "routed/routed.h"

#include <strings.h>

/* A claim that its namespace has committed. */
struct owner {
	const struct route_claim *claim;
	const struct head *head;
	uint64_t sequence;
};

/* Whether the owner of `host` grants `ns` paths below it. */
static bool grants_paths(const struct head *head, const char *host, const char *ns)
{
	for (size_t i = 0; i < head->n_grants; i++)
		if (strcasecmp(head->grants[i].host, host) == 0 &&
		    strv_contains(head->grants[i].namespaces, ns))
			return true;
	return false;
}

/* Whether the owner of a wildcard above `host` grants `ns` that host: by its name, or by a wildcard
 * that covers it. */
static bool grants_host(const struct head *head, const char *host, const char *ns)
{
	for (size_t i = 0; i < head->n_grants; i++)
		if (route_host_covers(head->grants[i].host, host) &&
		    strv_contains(head->grants[i].namespaces, ns))
			return true;
	return false;
}

/* The claim on a host, if its namespace's committed routes hold it. */
static bool find_owner(const struct view *view, const char *host, struct owner *ret)
{
	const struct view_item *item = view_claim(view, host);
	const struct head *head;
	struct head committed;

	if (!item)
		return false;
	ret->claim = item->object;
	ret->sequence = item->sequence;
	ret->head = head = view_head(view, ret->claim->ns);
	if (!head || !head->revision)
		return false;
	committed = *head;
	committed.open = NULL;
	return route_claim_valid(ret->claim, &committed);
}

/* The wildcard that takes `host` from namespace `ns`, which claimed it at `sequence`; of several,
 * the one claimed first. */
static bool find_wildcard(const struct view *view, const char *host, const char *ns,
			  uint64_t sequence, struct owner *ret)
{
	const char *rest = str_starts(host, "*.") ? host + 2 : host;
	bool found = false;

	while ((rest = strchr(rest, '.'))) {
		_cleanup_free_ char *wildcard = xasprintf("*%s", rest++);
		struct owner owner;

		if (find_owner(view, wildcard, &owner) && !streq(owner.claim->ns, ns) &&
		    owner.sequence < sequence && !grants_host(owner.head, host, ns) &&
		    (!found || owner.sequence < ret->sequence)) {
			*ret = owner;
			found = true;
		}
	}
	return found;
}

/* Rules 2 and 3; `own` is the namespace's claim on the route. */
static char *refuse_host(const struct view *view, const struct head *head, const char *host,
			 const struct view_item *own)
{
	struct owner owner = { 0 }, wildcard = { 0 };
	bool owned = find_owner(view, host, &owner);
	const char *holder = owned ? owner.claim->ns : head->ns;

	if (find_wildcard(view, host, holder, owned ? owner.sequence : own->sequence, &wildcard)) {
		if (streq(wildcard.claim->ns, head->ns) ||
		    grants_host(wildcard.head, host, head->ns))
			return NULL;
		return xasprintf("host %s is below %s of namespace %s, which claimed it earlier "
				 "and does not grant it to %s",
				 host, wildcard.claim->key, wildcard.claim->ns, head->ns);
	}
	if (owned && !streq(holder, head->ns) && !grants_paths(owner.head, host, head->ns))
		return xasprintf("host %s belongs to namespace %s, which does not grant it to %s",
				 host, holder, head->ns);
	return NULL;
}

char *claims_refuse(const struct view *view, const struct head *head,
		    const struct head_route *route)
{
	_cleanup_free_ char *root = route->host ? route_key_http(route->host, NULL) : NULL;
	/* In lower case; the key of `/` without its slash. */
	_cleanup_free_ char *host = root ? xstrndup(root, strlen(root) - 1) : NULL;
	const char *key = streq(route->key, root) ? host : route->key;
	const struct view_item *own = view_claim(view, key);
	const struct route_claim *claim = own ? own->object : NULL;

	if (!claim)
		return xasprintf("no namespace has claimed %s; deploy %s again", key, head->ns);
	if (!streq(claim->ns, head->ns))
		return xasprintf("namespace %s has claimed %s", claim->ns, key);
	return host ? refuse_host(view, head, host, own) : NULL;
}
