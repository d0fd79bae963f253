/* A plan as a tree of text (pure). */
#include "ployzctl/ployzctl.h"

static const char *const signs[] = {
	[SLOT_KEEP] = "=",
	[SLOT_START] = "+",
	[SLOT_REPLACE] = "~",
	[SLOT_REMOVE] = "-",
};

static void slot_line(const struct plan_slot *slot, struct strbuf *to)
{
	strbuf_printf(to, "    %s %lld %s", signs[slot->action], (long long)slot->slot,
		      slot_action_names[slot->action]);
	if (slot->machine)
		strbuf_printf(to, " %s %s", slot->action == SLOT_REMOVE ? "from" : "on",
			      slot->machine);
	if (slot->from && !streq(slot->from, slot->machine))
		strbuf_printf(to, " (was on %s)", slot->from);
	if (slot->why)
		strbuf_printf(to, ": %s", slot->why);
	strbuf_puts(to, "\n");
	if (slot->action == SLOT_REPLACE && slot->update != UPDATE_DEFAULT)
		strbuf_printf(to, "        %s%s%s\n", update_order_names[slot->update],
			      slot->why_update ? ": " : "",
			      slot->why_update ? slot->why_update : "");
}

static void slots(const struct plan *plan, struct strbuf *to)
{
	const char *service = NULL;
	bool removing = false;

	for (size_t i = 0; i < plan->n_slots; i++) {
		const struct plan_slot *slot = &plan->slots[i];
		bool removed = slot->action == SLOT_REMOVE;

		/* Removals are last in the plan; their service may have been named before. */
		if (!streq(service, slot->service) || removed != removing)
			strbuf_printf(to, "  %s\n", slot->service);
		service = slot->service;
		removing = removed;
		slot_line(slot, to);
	}
}

static void routes(const struct plan *plan, struct strbuf *to)
{
	if (plan->n_routes)
		strbuf_puts(to, "  routes\n");
	for (size_t i = 0; i < plan->n_routes; i++) {
		const struct plan_route *route = &plan->routes[i];
		const char *sign = streq(route->action, "add")	    ? "+"
				   : streq(route->action, "remove") ? "-"
				   : streq(route->action, "change") ? "~"
								    : "=";

		strbuf_printf(to, "    %s %s%s%s\n", sign, route->key, route->service ? " to " : "",
			      route->service ? route->service : "");
	}
}

static void volumes(const struct plan *plan, struct strbuf *to)
{
	if (plan->n_volumes)
		strbuf_puts(to, "  volumes\n");
	for (size_t i = 0; i < plan->n_volumes; i++) {
		const struct plan_volume *volume = &plan->volumes[i];

		strbuf_printf(to, "    %s %s on %s%s\n", volume->new_ ? "+" : "=", volume->name,
			      volume->machine, volume->new_ ? ": new, empty" : "");
	}
}

static void totals(const struct plan *plan, struct strbuf *to)
{
	size_t counts[4] = { 0 };

	for (size_t i = 0; i < plan->n_slots; i++)
		counts[plan->slots[i].action]++;
	if (!plan->changes && !plan->n_refusals)
		strbuf_puts(to, "  nothing to change\n");
	else
		strbuf_printf(to, "  %zu to start, %zu to replace, %zu to remove, %zu kept\n",
			      counts[SLOT_START], counts[SLOT_REPLACE], counts[SLOT_REMOVE],
			      counts[SLOT_KEEP]);
}

void tree_plan(const struct plan *plan, struct strbuf *to)
{
	struct strbuf text = STRBUF_INIT;
	_cleanup_(strv_freep) char **lines = NULL;

	if (plan->revision)
		strbuf_printf(&text, "namespace %s, from revision %lld (sequence %lld)\n", plan->ns,
			      (long long)plan->revision, (long long)plan->sequence);
	else
		strbuf_printf(&text, "namespace %s, nothing committed yet\n", plan->ns);
	slots(plan, &text);
	routes(plan, &text);
	volumes(plan, &text);
	totals(plan, &text);
	if (plan->removes_all)
		strbuf_puts(&text, "  warning: everything is removed\n");
	for (char **warning = plan->warnings; warning && *warning; warning++)
		strbuf_printf(&text, "  warning: %s\n", *warning);
	for (char **machine = plan->unreachable; machine && *machine; machine++)
		strbuf_printf(&text, "  warning: machine %s does not answer\n", *machine);
	for (size_t i = 0; i < plan->n_refusals; i++) {
		const struct plan_refusal *refusal = &plan->refusals[i];

		strbuf_printf(&text, "  refused: %s%s%s%s%s\n", refusal->path ? refusal->path : "",
			      refusal->path ? ": " : "", refusal->message,
			      refusal->hint ? "; " : "", refusal->hint ? refusal->hint : "");
	}
	lines = strv_split(text.text, "\n");
	strbuf_clear(&text);
	for (char **line = lines; line && *line; line++) {
		_cleanup_free_ char *safe = text_safe(*line);

		strbuf_printf(to, "%s\n", safe);
	}
}
