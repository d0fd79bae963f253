/* Removal: waits until an instance has no connections or its grace period is over, then repeats
 * agentd.remove until the instance is gone. */
#include "leased/rollout.h"

struct removed {
	char *machine, *instance;
	uint64_t grace_usec; /* UINT64_MAX: the service's own */
	uint64_t drain_usec; /* how long its connections may continue; 0: do not wait */
	struct rpc rpc;
	bool drained, gone, again;
	struct failure last; /* reason of the last failed attempt */
};
struct removal {
	struct rollout *rollout;
	struct removed *items;
	size_t n_items;
	struct draining *draining;
	bool begun;
	uint64_t until_usec;
};

struct removal *removal_new(struct rollout *r)
{
	struct removal *removal = xcalloc(1, sizeof(*removal));

	removal->rollout = r;
	return removal;
}

void removal_add(struct removal *removal, const char *machine, const char *instance,
		 uint64_t grace_usec, uint64_t drain_usec)
{
	struct removed *item = array_add(removal->items, removal->n_items);

	item->machine = xstrdup(machine);
	item->instance = xstrdup(instance);
	item->grace_usec = grace_usec;
	item->drain_usec = drain_usec;
	item->drained = drain_usec == 0;
}

bool removal_is_empty(const struct removal *removal)
{
	return removal->n_items == 0;
}

void removal_free(struct removal *removal)
{
	if (!removal)
		return;
	draining_free(removal->draining);
	for (size_t i = 0; i < removal->n_items; i++) {
		rpc_clear(&removal->items[i].rpc);
		free(removal->items[i].machine);
		free(removal->items[i].instance);
		failure_clear(&removal->items[i].last);
	}
	free(removal->items);
	free(removal);
}

static void begin(struct removal *removal)
{
	struct rollout *r = removal->rollout;
	_cleanup_(strv_freep) char **instances = NULL;
	const struct watermark wanted = rollout_watermark(r);
	uint64_t longest = 0, drain = 0;

	removal->begun = true;
	for (size_t i = 0; i < removal->n_items; i++) {
		const struct removed *item = &removal->items[i];
		uint64_t grace =
			item->grace_usec == UINT64_MAX ? DEFAULT_GRACE_USEC : item->grace_usec;

		longest = MAX2(longest, item->drain_usec + grace);
		drain = MAX2(drain, item->drain_usec);
		if (!item->drained)
			strv_push(&instances, xstrdup(item->instance));
	}
	removal->until_usec = r->now_usec + longest + REMOVE_EXTRA_USEC;
	if (instances)
		removal->draining = draining_new(r, instances, &wanted, drain);
}

static void ask(struct removal *removal, struct removed *item)
{
	struct rollout *r = removal->rollout;
	struct agent_ref ref = {
		.instance = item->instance,
		.grace_ms =
			item->grace_usec == UINT64_MAX ? -1 : (int64_t)(item->grace_usec / 1000),
	};

	rollout_command(r, &ref.command);
	item->again = false;
	rpc_ask(r, &item->rpc, SUBJECT_AGENT_REMOVE, item->machine, &ref, AGENT_USEC);
}

static void take(struct removed *item)
{
	const struct agent_instance *answer = item->rpc.answer;

	if (!answer->instance || answer->instance->state == INSTANCE_GONE) {
		item->gone = true;
		return;
	}
	failure_set(&item->last, FAILURE_CLEANUP_PENDING, NULL, "it is still %s",
		    instance_state_names[answer->instance->state]);
}

static enum phase_result poll_item(struct removal *removal, struct removed *item)
{
	struct rollout *r = removal->rollout;

	if (item->gone)
		return PHASE_DONE;
	if (item->rpc.state == RPC_ANSWERED)
		take(item);
	else if (item->rpc.state == RPC_FAILED)
		failure_copy(&item->last, &item->rpc.failure);
	if (item->gone)
		return PHASE_DONE;
	if (item->last.code == FAILURE_FENCED)
		return PHASE_LOST;
	if (item->drained && rpc_is_due(&item->rpc, r->now_usec, item->again))
		ask(removal, item);
	return PHASE_WAIT;
}

static void describe(const struct removal *removal, struct failure *ret)
{
	_cleanup_(strbuf_clear) struct strbuf names = STRBUF_INIT;
	const struct removed *last = NULL;

	for (size_t i = 0; i < removal->n_items; i++) {
		const struct removed *item = &removal->items[i];

		if (item->gone)
			continue;
		last = item;
		strbuf_printf(&names, "%s%s on machine %s", names.size ? ", " : "", item->instance,
			      item->machine);
	}
	failure_set(ret, FAILURE_CLEANUP_PENDING,
		    "the next deploy or `ployzctl deploy sweep` of the namespace removes them",
		    "cannot remove %s: %s", names.text ? names.text : "",
		    last && last->last.message ? last->last.message : "no answer");
}

enum phase_result removal_poll(struct removal *removal, struct failure *ret)
{
	struct rollout *r = removal->rollout;
	bool all = true;

	if (!removal->begun)
		begin(removal);
	if (removal->draining && draining_poll(removal->draining) == PHASE_DONE) {
		draining_free(steal(removal->draining));
		for (size_t i = 0; i < removal->n_items; i++)
			removal->items[i].drained = true;
	}
	for (size_t i = 0; i < removal->n_items; i++) {
		enum phase_result result = poll_item(removal, &removal->items[i]);

		if (result == PHASE_LOST) {
			failure_copy(ret, &removal->items[i].last);
			return PHASE_LOST;
		}
		all &= result == PHASE_DONE;
	}
	if (all)
		return PHASE_DONE;
	if (r->now_usec <= removal->until_usec)
		return PHASE_WAIT;
	describe(removal, ret);
	return PHASE_FAILED;
}

void removal_on_progress(struct removal *removal, const char *instance)
{
	for (size_t i = 0; i < removal->n_items; i++)
		if (streq(removal->items[i].instance, instance))
			removal->items[i].again = true;
}

void removal_left(const struct removal *removal, struct deploy *record)
{
	for (size_t i = 0; i < removal->n_items; i++) {
		const struct removed *item = &removal->items[i];
		struct left *left;

		if (item->gone)
			continue;
		left = array_add(record->left, record->n_left);
		left->instance = xstrdup(item->instance);
		left->machine = xstrdup(item->machine);
		left->reason = xstrdup(item->last.message);
	}
}
