/* Lookup (pure): resolves a name for a caller.
 *
 * A candidate finds its deploy's instances before their commit, so that members of one service, and
 * services that need each other, can become ready: ready candidates first, then committed
 * instances, then running candidates. Every other caller finds committed instances only. */
#include "dnsd/dnsd.h"

#include <stdio.h>

static const struct zone_port *find_port(const struct zone_service *service,
					 const struct name *name)
{
	int64_t number = 0;

	int_parse(name->port, 1, 65535, &number);
	for (size_t i = 0; service && i < service->n_ports; i++) {
		const struct zone_port *port = &service->ports[i];

		if (port->protocol == name->protocol &&
		    (streq(port->name, name->port) || port->port == number))
			return port;
	}
	return NULL;
}

/* The rule above. `candidate` and `committed` say what the two services have: NULL is none. */
static enum lookup_set choose(const struct zone_service *candidate, size_t ready, size_t running,
			      const struct zone_service *committed, size_t committed_ready)
{
	if (candidate && ready)
		return LOOKUP_READY;
	if (committed && committed_ready)
		return LOOKUP_COMMITTED;
	if (candidate && (running || !committed))
		return LOOKUP_RUNNING;
	return LOOKUP_COMMITTED;
}

static int choose_service(const struct zone_service *candidate,
			  const struct zone_service *committed, struct lookup *ret)
{
	ret->set = choose(candidate, candidate ? candidate->n_ready : 0,
			  candidate ? candidate->n_running : 0, committed,
			  committed ? committed->n_ready : 0);
	ret->service = ret->set == LOOKUP_COMMITTED ? committed : candidate;
	return LOOKUP_SERVICE;
}

static int choose_slot(const struct zone_service *candidate, const struct zone_service *committed,
		       int64_t number, struct lookup *ret)
{
	const struct zone_slot *a = candidate ? zone_slot(candidate, number) : NULL;
	const struct zone_slot *b = committed ? zone_slot(committed, number) : NULL;

	ret->set = choose(a ? candidate : NULL, a && a->ready, a && a->running,
			  b ? committed : NULL, b && b->ready);
	ret->service = committed ? committed : candidate;
	if (!a && !b)
		return LOOKUP_NO_SLOT;
	ret->slot = ret->set == LOOKUP_COMMITTED ? b : a;
	ret->service = ret->set == LOOKUP_COMMITTED ? committed : candidate;
	return LOOKUP_SLOT;
}

static int choose_port(const struct zone_service *candidate, const struct zone_service *committed,
		       const struct name *name, struct lookup *ret)
{
	const struct zone_port *a = find_port(candidate, name), *b = find_port(committed, name);

	if (!a && !b) {
		ret->service = committed ? committed : candidate;
		return LOOKUP_NO_PORT;
	}
	choose_service(a ? candidate : NULL, b ? committed : NULL, ret);
	ret->port = ret->set == LOOKUP_COMMITTED ? b : a;
	return LOOKUP_PORT;
}

/* A name of the namespace `ret->ns`. */
static int lookup_below(const struct name *name, bool candidate, struct lookup *ret)
{
	const struct zone_service *started =
		candidate ? zone_candidate(ret->ns, name->service) : NULL;
	const struct zone_service *committed = zone_service(ret->ns, name->service);

	if (!started && !committed)
		return ret->ns->unknown ? LOOKUP_UNKNOWN : LOOKUP_NO_SERVICE;
	switch (name->kind) {
	case NAME_SLOT:
		return choose_slot(started, committed, name->slot, ret);
	case NAME_PORT:
		return choose_port(started, committed, name, ret);
	case NAME_PROTOCOL:
		return LOOKUP_EMPTY;
	default:
		return choose_service(started, committed, ret);
	}
}

/* `web` of the caller's namespace. `shop.ployz.internal` has names below it where shop is a
 * namespace: to deny it would deny them (RFC 8020). */
static int lookup_own(const struct zone *zone, const struct caller *caller, const struct name *name,
		      struct lookup *ret)
{
	int verdict = LOOKUP_NO_CALLER;

	ret->ns = caller->ns ? zone_find(zone, caller->ns) : NULL;
	if (ret->ns)
		verdict = lookup_below(name, caller->candidate, ret);
	else if (caller->ns)
		verdict = LOOKUP_NO_SERVICE;
	if ((verdict == LOOKUP_NO_CALLER || verdict == LOOKUP_NO_SERVICE) &&
	    name->kind == NAME_SERVICE && !name->single && zone_find(zone, name->service))
		return LOOKUP_EMPTY;
	return verdict;
}

static int lookup_reverse(const struct zone *zone, uint32_t address, struct lookup *ret)
{
	if (!zone_is_inside(zone, address))
		return LOOKUP_FORWARD;
	ret->host = zone_host(zone, address);
	if (!ret->host)
		return LOOKUP_NO_HOST;
	/* A pre_deploy container has no name. */
	return ret->host->slot < 0 ? LOOKUP_EMPTY : LOOKUP_REVERSE;
}

static int lookup_verdict(const struct zone *zone, const struct caller *caller,
			  const struct name *name, struct lookup *ret)
{
	switch ((enum name_kind)name->kind) {
	case NAME_FOREIGN:
		return LOOKUP_FORWARD;
	case NAME_APEX:
		return LOOKUP_APEX;
	case NAME_INVALID:
		return LOOKUP_INVALID;
	case NAME_REVERSE:
		return lookup_reverse(zone, name->address, ret);
	case NAME_SERVICE:
	case NAME_SLOT:
	case NAME_PORT:
	case NAME_PROTOCOL:
		break;
	}
	if (!name->ns[0])
		return lookup_own(zone, caller, name, ret);
	ret->ns = zone_find(zone, name->ns);
	if (!ret->ns)
		return LOOKUP_NO_NAMESPACE;
	return lookup_below(name, caller->candidate && streq(caller->ns, name->ns), ret);
}

void lookup(const struct zone *zone, const struct caller *caller, const struct name *name,
	    struct lookup *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->verdict = lookup_verdict(zone, caller, name, ret);
}

bool lookup_exists(const struct lookup *lookup)
{
	switch ((enum lookup_verdict)lookup->verdict) {
	case LOOKUP_APEX:
	case LOOKUP_SERVICE:
	case LOOKUP_SLOT:
	case LOOKUP_PORT:
	case LOOKUP_REVERSE:
	case LOOKUP_EMPTY:
		return true;
	default:
		return false;
	}
}

bool lookup_has(const struct lookup *lookup, const struct zone_slot *slot)
{
	return lookup->set == LOOKUP_RUNNING ? slot->running : slot->ready;
}

static const char *state_name(const struct zone_slot *slot)
{
	return slot->state < 0 ? "no facts" : instance_state_names[slot->state];
}

static char *why_service(const struct lookup *lookup, uint16_t type)
{
	const struct zone_service *service = lookup->service;
	struct strbuf text = STRBUF_INIT;

	strbuf_printf(&text, "%s in %s, ", service->name, lookup->ns->ns);
	if (lookup->set == LOOKUP_COMMITTED)
		strbuf_printf(&text, "revision %lld: ", (long long)lookup->ns->revision);
	else
		strbuf_printf(&text, "open deploy %s: ", lookup->ns->open);
	strbuf_printf(&text, "%zu of %zu instances are ready", service->n_ready, service->n_slots);
	for (size_t i = 0; i < service->n_slots; i++)
		if (!service->slots[i].ready)
			strbuf_printf(&text, "; slot %lld: %s", (long long)service->slots[i].slot,
				      state_name(&service->slots[i]));
	if (type == KNOT_RRTYPE_AAAA)
		strbuf_puts(&text, "; containers have only IPv4 addresses");
	return strbuf_steal(&text);
}

char *lookup_why(const struct lookup *lookup, const struct name *name, const struct caller *caller,
		 uint16_t type)
{
	const char *ns = name->ns[0] ? name->ns : caller->ns;

	switch ((enum lookup_verdict)lookup->verdict) {
	case LOOKUP_FORWARD:
		return xstrdup("not a name of ployz.internal: forwarded");
	case LOOKUP_APEX:
		return xstrdup("the zone's apex");
	case LOOKUP_SERVICE:
	case LOOKUP_PORT:
		return why_service(lookup, type);
	case LOOKUP_SLOT:
		return xasprintf("slot %lld of %s in %s: instance %s on %s, %s",
				 (long long)lookup->slot->slot, lookup->service->name,
				 lookup->ns->ns, lookup->slot->instance, lookup->slot->machine,
				 state_name(lookup->slot));
	case LOOKUP_REVERSE:
		return xasprintf("slot %lld of %s in %s has this address",
				 (long long)lookup->host->slot, lookup->host->service,
				 lookup->host->ns->ns);
	case LOOKUP_EMPTY:
		return xstrdup("the name exists and has no records");
	case LOOKUP_NO_CALLER:
		return xstrdup("a name without a namespace is one of the caller's namespace, and "
			       "this caller has none; use SERVICE.NAMESPACE.ployz.internal");
	case LOOKUP_NO_NAMESPACE:
		return xasprintf("no namespace %s", name->ns);
	case LOOKUP_NO_SERVICE:
		return xasprintf("namespace %s has no service %s", ns, name->service);
	case LOOKUP_NO_SLOT:
		return xasprintf("%s in %s has %zu slots, none with number %lld", name->service, ns,
				 lookup->service->n_slots, (long long)name->slot);
	case LOOKUP_NO_PORT:
		return xasprintf("%s in %s has no %s port %s", name->service, ns,
				 protocol_names[name->protocol], name->port);
	case LOOKUP_NO_HOST:
		return xstrdup("no container has this address");
	case LOOKUP_UNKNOWN:
		return xasprintf("cannot decode the head of namespace %s", ns);
	case LOOKUP_INVALID:
		break;
	}
	return xstrdup("no service can have this name");
}
