#include "dnsd/dnsd.h"

#include <stdio.h>

static bool find_port(const struct zone_service *service, const struct name *name, struct look *ret)
{
	int64_t number = 0;

	int_parse(name->port, 1, 65535, &number);
	for (size_t i = 0; i < service->n_ports; i++) {
		const struct zone_port *port = &service->ports[i];

		if (port->protocol == name->protocol &&
		    (streq(port->name, name->port) || port->port == number)) {
			ret->port = port;
			return true;
		}
	}
	return false;
}

static int look_below(const struct name *name, struct look *ret)
{
	ret->service = zone_service(ret->ns, name->service);
	if (!ret->service)
		return LOOK_NO_SERVICE;
	switch (name->kind) {
	case NAME_SLOT:
		ret->slot = zone_slot(ret->service, name->slot);
		return ret->slot ? LOOK_SLOT : LOOK_NO_SLOT;
	case NAME_PORT:
		return find_port(ret->service, name, ret) ? LOOK_PORT : LOOK_NO_PORT;
	case NAME_PROTOCOL:
		return LOOK_EMPTY;
	default:
		return LOOK_SERVICE;
	}
}

/* `web` of the caller's namespace; but `shop.ployz.internal` has names below it where shop is a
 * namespace, and to deny it would deny them (RFC 8020). */
static int look_own(const struct zone *zone, const char *ns, const struct name *name,
		    struct look *ret)
{
	int verdict;

	ret->ns = ns ? zone_find(zone, ns) : NULL;
	verdict = !ns ? LOOK_NO_CALLER : ret->ns ? look_below(name, ret) : LOOK_NO_SERVICE;
	if ((verdict == LOOK_NO_CALLER || verdict == LOOK_NO_SERVICE) &&
	    name->kind == NAME_SERVICE && !name->single && zone_find(zone, name->service))
		return LOOK_EMPTY;
	return verdict;
}

void look_up(const struct zone *zone, const char *ns, const struct name *name, struct look *ret)
{
	memset(ret, 0, sizeof(*ret));
	switch ((enum name_kind)name->kind) {
	case NAME_ELSEWHERE:
		ret->verdict = LOOK_FORWARD;
		return;
	case NAME_APEX:
		ret->verdict = LOOK_APEX;
		return;
	case NAME_STRANGE:
		ret->verdict = LOOK_STRANGE;
		return;
	case NAME_REVERSE:
		if (!zone_is_inside(zone, name->address)) {
			ret->verdict = LOOK_FORWARD;
			return;
		}
		ret->host = zone_host(zone, name->address);
		ret->verdict = ret->host ? LOOK_REVERSE : LOOK_NO_HOST;
		return;
	case NAME_SERVICE:
	case NAME_SLOT:
	case NAME_PORT:
	case NAME_PROTOCOL:
		break;
	}
	if (!name->ns[0]) {
		ret->verdict = look_own(zone, ns, name, ret);
		return;
	}
	ret->ns = zone_find(zone, name->ns);
	ret->verdict = ret->ns ? look_below(name, ret) : LOOK_NO_NAMESPACE;
}

bool look_exists(const struct look *look)
{
	switch ((enum look_verdict)look->verdict) {
	case LOOK_APEX:
	case LOOK_SERVICE:
	case LOOK_SLOT:
	case LOOK_PORT:
	case LOOK_REVERSE:
	case LOOK_EMPTY:
		return true;
	default:
		return false;
	}
}

static const char *state_name(const struct zone_slot *slot)
{
	return slot->state < 0 ? "its machine has said nothing of it"
			       : instance_state_names[slot->state];
}

static char *why_service(const struct look *look, uint16_t type)
{
	const struct zone_service *service = look->service;
	struct strbuf text = STRBUF_INIT;

	strbuf_printf(&text, "%s in %s, revision %lld: %zu of %zu instances are ready",
		      service->name, look->ns->ns, (long long)look->ns->revision, service->n_ready,
		      service->n_slots);
	for (size_t i = 0; i < service->n_slots; i++)
		if (!service->slots[i].ready)
			strbuf_printf(&text, "; slot %lld: %s", (long long)service->slots[i].slot,
				      state_name(&service->slots[i]));
	if (type == KNOT_RRTYPE_AAAA)
		strbuf_puts(&text, "; containers have IPv4 addresses only");
	return strbuf_steal(&text);
}

char *look_why(const struct look *look, const struct name *name, const char *ns, uint16_t type)
{
	switch ((enum look_verdict)look->verdict) {
	case LOOK_FORWARD:
		return xstrdup("no name of ployz.internal: it is forwarded");
	case LOOK_APEX:
		return xstrdup("the zone itself");
	case LOOK_SERVICE:
	case LOOK_PORT:
		return why_service(look, type);
	case LOOK_SLOT:
		return xasprintf("slot %lld of %s in %s: instance %s on %s, %s",
				 (long long)look->slot->slot, look->service->name, look->ns->ns,
				 look->slot->instance ? look->slot->instance : "none",
				 look->slot->machine ? look->slot->machine : "no machine",
				 state_name(look->slot));
	case LOOK_REVERSE:
		return xasprintf("slot %lld of %s in %s has this address",
				 (long long)look->host->slot, look->host->service,
				 look->host->ns->ns);
	case LOOK_EMPTY:
		return xstrdup("there are names below this one, but it has no records itself");
	case LOOK_NO_CALLER:
		return xstrdup("a name without a namespace means the caller's own, and this caller "
			       "has none: ask for "
			       "SERVICE.NAMESPACE.ployz.internal");
	case LOOK_NO_NAMESPACE:
		return xasprintf("there is no namespace %s", name->ns);
	case LOOK_NO_SERVICE:
		return xasprintf("namespace %s has no service %s", name->ns[0] ? name->ns : ns,
				 name->service);
	case LOOK_NO_SLOT:
		return xasprintf("%s in %s has %zu slots, none with number %lld", name->service,
				 look->ns->ns, look->service->n_slots, (long long)name->slot);
	case LOOK_NO_PORT:
		return xasprintf("%s in %s has no %s port %s", name->service, look->ns->ns,
				 protocol_names[name->protocol], name->port);
	case LOOK_NO_HOST:
		return xstrdup("no container has this address");
	case LOOK_STRANGE:
		break;
	}
	return xstrdup("no service can have this name");
}
