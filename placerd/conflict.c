/* Routes: each key belongs to one service of the whole cluster; and what becomes of those there
 * are. */
#include "placerd/placerd.h"

/* One key of one service of a manifest. */
struct owned {
	char *key;
	const struct service *service;
	const struct route_spec *spec;
	size_t index; /* of the spec in the service */
};
struct owned_list {
	struct owned *items;
	size_t count;
};

static void owned_clear(struct owned_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i].key);
	free(list->items);
}

static void add(struct owned_list *list, const struct service *service, size_t index, char *key)
{
	*array_add(list->items, list->count) = (struct owned){
		.key = key,
		.service = service,
		.spec = &service->routes[index],
		.index = index,
	};
}

static struct owned_list owned_by(const struct manifest *manifest)
{
	struct owned_list list = { NULL, 0 };

	for (size_t i = 0; manifest && i < manifest->n_services; i++) {
		const struct service *service = &manifest->services[i];

		for (size_t j = 0; j < service->n_routes; j++) {
			const struct route_spec *spec = &service->routes[j];

			if (spec->tcp)
				add(&list, service, j, route_key_tcp(spec->tcp->listen));
			for (char **host = spec->http ? spec->http->hosts : NULL; host && *host;
			     host++)
				add(&list, service, j, route_key_http(*host, spec->http->path));
		}
	}
	return list;
}

static const struct owned *find(const struct owned_list *list, const char *key)
{
	for (size_t i = 0; i < list->count; i++)
		if (streq(list->items[i].key, key))
			return &list->items[i];
	return NULL;
}

static void refuse_owned(struct planning *planning, const struct owned *route, const char *ns,
			 const char *service)
{
	plan_refuse(planning,
		    xasprintf("services.%s.routes[%zu]", route->service->name, route->index),
		    "choose another host or path, or remove it there first",
		    "route %s belongs to service %s/%s already", route->key, ns, service);
}

static void check_heads(struct planning *planning, const struct owned_list *wanted)
{
	const struct plan_input *input = planning->input;

	for (size_t i = 0; i < input->n_others; i++) {
		_cleanup_(owned_clear) struct owned_list theirs =
			owned_by(input->others[i]->manifest);

		for (size_t j = 0; j < wanted->count; j++) {
			const struct owned *owner = find(&theirs, wanted->items[j].key);

			if (owner)
				refuse_owned(planning, &wanted->items[j], input->others[i]->ns,
					     owner->service->name);
		}
	}
}

/* Another namespace's deploy that has not committed yet holds its routes by its reservations: once
 * each. */
static void check_reservations(struct planning *planning, const struct owned *route)
{
	const struct plan_input *input = planning->input;

	for (size_t i = 0; i < input->n_sights; i++) {
		const struct probe *probe = input->sights[i].probe;

		for (size_t j = 0; probe && j < probe->n_reservations; j++) {
			const struct reservation *r = &probe->reservations[j];

			if (streq(r->ns, input->manifest->ns) ||
			    !strv_contains(r->routes, route->key))
				continue;
			/* What that namespace has committed was told already. */
			for (size_t k = 0; k < input->n_others; k++)
				if (streq(input->others[k]->ns, r->ns) &&
				    streq(input->others[k]->deploy, r->deploy))
					return;
			plan_refuse(
				planning,
				xasprintf("services.%s.routes[%zu]", route->service->name,
					  route->index),
				"wait until that deploy has ended, or choose another host or path",
				"route %s is being taken by deploy %s of namespace %s", route->key,
				r->deploy ? r->deploy : "unknown", r->ns ? r->ns : "unknown");
			return;
		}
	}
}

/* The gateway listens on every machine. What holds the port there may listen on another address: a
 * warning. */
static void check_listen(struct planning *planning, const struct owned *route)
{
	const struct plan_input *input = planning->input;

	for (size_t i = 0; i < input->n_sights; i++) {
		const struct probe *probe = input->sights[i].probe;

		for (size_t j = 0; probe && j < probe->n_host_ports; j++) {
			const struct host_port *taken = &probe->host_ports[j];

			if (taken->port == route->spec->tcp->listen &&
			    taken->protocol == PROTOCOL_TCP)
				plan_warn(planning,
					  "route %s: on machine %s %s listens on that port; where "
					  "it is the gateway's "
					  "address, the route cannot be served there",
					  route->key, probe->machine,
					  taken->owner ? taken->owner
						       : "something that is not of this cluster");
		}
	}
}

void conflicts_check(struct planning *planning)
{
	const struct plan_input *input = planning->input;
	_cleanup_(owned_clear) struct owned_list wanted = owned_by(input->manifest);
	_cleanup_(owned_clear) struct owned_list before =
		owned_by(input->head ? input->head->manifest : NULL);

	check_heads(planning, &wanted);
	for (size_t i = 0; i < wanted.count; i++) {
		const struct owned *route = &wanted.items[i];
		const struct owned *first = find(&wanted, route->key);

		if (first != route)
			refuse_owned(planning, route, input->manifest->ns, first->service->name);
		if (find(&before, route->key))
			continue;
		check_reservations(planning, route);
		if (route->spec->tcp)
			check_listen(planning, route);
	}
}

static bool same_route(const struct owned *a, const struct owned *b)
{
	if (!streq(a->service->name, b->service->name))
		return false;
	if (a->spec->http && b->spec->http)
		return streq(a->spec->http->port, b->spec->http->port) &&
		       a->spec->http->strip == b->spec->http->strip;
	return a->spec->tcp && b->spec->tcp && streq(a->spec->tcp->port, b->spec->tcp->port);
}

static void add_row(struct plan *plan, const char *key, const char *service, const char *action)
{
	*array_add(plan->routes, plan->n_routes) = (struct plan_route){
		.key = xstrdup(key),
		.service = xstrdup(service),
		.action = xstrdup(action),
	};
}

void routes_plan(struct planning *planning)
{
	const struct plan_input *input = planning->input;
	_cleanup_(owned_clear) struct owned_list wanted = owned_by(input->manifest);
	_cleanup_(owned_clear) struct owned_list before =
		owned_by(input->head ? input->head->manifest : NULL);

	for (size_t i = 0; i < wanted.count; i++) {
		const struct owned *was = find(&before, wanted.items[i].key);

		add_row(planning->plan, wanted.items[i].key, wanted.items[i].service->name,
			!was				    ? "add"
			: same_route(was, &wanted.items[i]) ? "keep"
							    : "change");
	}
	for (size_t i = 0; i < before.count; i++)
		if (!find(&wanted, before.items[i].key))
			add_row(planning->plan, before.items[i].key, NULL, "remove");
}
