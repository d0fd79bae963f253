/* Rows of the planner's tests: a world and a manifest give a plan, as text. */
#ifndef PLOYZ_TESTS_PLAN_ROWS_H
#define PLOYZ_TESTS_PLAN_ROWS_H

#include "tests/lib/world.h"
#include "tests/tap.h"

static char *plan_text(const struct plan *plan)
{
	struct strbuf b = STRBUF_INIT;

	for (size_t i = 0; i < plan->n_slots; i++) {
		const struct plan_slot *s = &plan->slots[i];

		strbuf_printf(&b, "%s %s.%lld %s%s%s%s: %s\n", slot_action_names[s->action],
			      s->service, (long long)s->slot, s->machine, s->from ? " from " : "",
			      s->from ? s->from : "",
			      s->action == SLOT_REPLACE && s->update == UPDATE_STOP_FIRST
				      ? " stop-first"
				      : "",
			      s->why);
	}
	for (size_t i = 0; i < plan->n_routes; i++)
		strbuf_printf(&b, "route %s %s%s%s\n", plan->routes[i].action, plan->routes[i].key,
			      plan->routes[i].service ? " " : "",
			      plan->routes[i].service ? plan->routes[i].service : "");
	for (size_t i = 0; i < plan->n_volumes; i++)
		strbuf_printf(&b, "volume %s %s%s%s\n", plan->volumes[i].name,
			      plan->volumes[i].machine,
			      plan->volumes[i].mode == VOLUME_SHARED ? " shared" : "",
			      plan->volumes[i].new_ ? " new" : "");
	for (size_t i = 0; i < plan->n_refusals; i++)
		strbuf_printf(&b, "refused %s: %s\n", plan->refusals[i].path,
			      plan->refusals[i].message);
	for (char **w = plan->warnings; w && *w; w++)
		strbuf_printf(&b, "warning: %s\n", *w);
	strbuf_puts(&b, plan->changes ? "" : "no changes\n");
	strbuf_puts(&b, plan->removes_all ? "removes all\n" : "");
	return strbuf_steal(&b);
}

#define NS "{'namespace':'shop','services':"
#define WEB(more) NS "{'web':{'image':'web:1'" more "}}}"
#define PORTS ",'ports':{'http':{'port':80}}"
#define PUBLISH ",'publish':[{'port':'http','host_port':8080}]"
#define ROUTE ",'routes':[{'http':{'port':'http','hosts':['shop.example']}}]"
#define DATA ",'mounts':[{'volume':'data','target':'/data'}]}},'volumes':{'data':{}}}"
#define OTHER(more) "{'namespace':'blog','services':{'blog':{'image':'b:1'" more "}}}"

/* One plan: what there is, what was committed and how it runs, and what is wanted. */
struct row {
	const char *name, *world, *before, *running, *manifest, *expected;
	const char *other, *other_running; /* another namespace */
};

#define ROW(name_, world_, before_, running_, manifest_, expected_)             \
	.name = name_, .world = world_, .before = before_, .running = running_, \
	.manifest = manifest_, .expected = expected_

static struct plan *plan_of(struct world *world, const struct row *row)
{
	_cleanup_(manifest_freep) struct manifest *manifest =
		from_text(&manifest_schema, row->manifest);
	struct plan_input input;

	make_world(world, row->world);
	if (row->before)
		commit(world, row->before, row->running);
	if (row->other)
		commit_other(world, row->other, row->other_running);
	for (size_t i = 0; i < world->n_machines; i++) {
		const struct manifest *seen[] = { manifest, world->before };

		for (size_t j = 0; j < 2; j++)
			for (size_t k = 0; seen[j] && k < seen[j]->n_services; k++) {
				_cleanup_free_ char *id = image_id(seen[j]->services[k].image);

				see_image(world->probes[i], seen[j]->services[k].image, id);
			}
	}
	input = input_of(world, manifest);
	return plan_make(&input);
}

static void try_row(const struct row *row)
{
	struct world world = { .n_machines = 0 }, again = { .n_machines = 0 };
	_cleanup_(plan_freep) struct plan *plan = plan_of(&world, row),
					  *second = plan_of(&again, row);
	_cleanup_free_ char *text = plan_text(plan);
	_cleanup_free_ char *wire = codec_print(&plan_schema, plan),
			    *wire_again = codec_print(&plan_schema, second);

	is(text, row->expected, row->name);
	if (!streq(wire, wire_again))
		is(wire, wire_again, "the same again");
	end_world(&world);
	end_world(&again);
}

static void try_rows(const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++)
		try_row(&rows[i]);
}

#endif
