/* Locks (pure): the highest epoch of each namespace, the deploy that holds it on this machine, and
 * the instances that a deploy has taken out of service. */
#include "agentd/agentd.h"

static const struct codec_field stopped_fields[] = {
	FIELD(struct stopped, instance, CODEC_STRING, .flags = CODEC_REQUIRED),
	FIELD(struct stopped, service, CODEC_NAME, .flags = CODEC_REQUIRED),
	FIELD(struct stopped, slot, CODEC_INT),
	FIELD(struct stopped, deploy, CODEC_STRING, .flags = CODEC_REQUIRED),
	FIELD(struct stopped, opened, CODEC_INT),
	FIELD(struct stopped, stop, CODEC_BOOL),
	FIELD(struct stopped, state, CODEC_ENUM, .names = aborting_state_names),
	FIELD_END,
};
static const struct codec_schema stopped_schema = {
	.name = "stopped",
	.size = sizeof(struct stopped),
	.fields = stopped_fields,
};

void stopped_clear(struct stopped *stopped)
{
	codec_clear(&stopped_schema, stopped);
}

static void lock_free(void *p)
{
	struct lock *lock = p;

	for (size_t i = 0; i < lock->n_stopped; i++)
		stopped_clear(&lock->stopped[i]);
	free(lock->stopped);
	strv_free(lock->removed);
	free(lock->ns);
	free(lock->deploy);
	free(lock->holder);
	free(lock->last_deploy);
	codec_clear(&reservation_schema, &lock->reserve);
	free(lock);
}

void locks_clear(struct locks *locks)
{
	map_clear(&locks->map, lock_free);
}

struct lock *locks_get(const struct locks *locks, const char *ns)
{
	return map_get(&locks->map, ns);
}

struct lock *locks_add(struct locks *locks, const char *ns)
{
	struct lock *lock = locks_get(locks, ns);

	if (lock)
		return lock;
	lock = xcalloc(1, sizeof(*lock));
	lock->ns = xstrdup(ns);
	codec_init(&reservation_schema, &lock->reserve);
	map_put(&locks->map, ns, lock);
	return lock;
}

int64_t locks_epoch(const struct locks *locks, const char *ns)
{
	const struct lock *lock = locks_get(locks, ns);

	return lock ? lock->epoch : 0;
}

bool locks_held(const struct lock *lock, const char *deploy, uint64_t now)
{
	return lock && lock->held && streq(lock->deploy, deploy) && now < lock->until;
}

static void release(struct lock *lock)
{
	lock->held = false;
	free(steal(lock->deploy));
	free(steal(lock->holder));
	codec_clear(&reservation_schema, &lock->reserve);
	codec_init(&reservation_schema, &lock->reserve);
}

static void forget_removed(struct lock *lock)
{
	strv_free(steal(lock->removed));
}

bool locks_shown(struct locks *locks, const char *ns, int64_t epoch, const char *open)
{
	struct lock *lock;

	if (epoch <= locks_epoch(locks, ns))
		return false;
	lock = locks_add(locks, ns);
	lock->epoch = epoch;
	/* A holder that has raised its epoch keeps its lock; another one's is void. */
	if (!open || !streq(open, lock->deploy)) {
		release(lock);
		forget_removed(lock);
	}
	return true;
}

bool locks_take(struct locks *locks, const struct agent_lock *want, uint64_t now)
{
	struct lock *lock = locks_add(locks, want->command.ns);
	bool other = !streq(lock->last_deploy, want->command.deploy);

	release(lock);
	lock->held = true;
	lock->deploy = xstrdup(want->command.deploy);
	lock->holder = xstrdup(want->holder);
	if (other) {
		forget_removed(lock);
		free(lock->last_deploy);
		lock->last_deploy = xstrdup(want->command.deploy);
	}
	codec_clear(&reservation_schema, &lock->reserve);
	codec_copy_into(&reservation_schema, &lock->reserve, &want->reserve);
	lock->until = now + LOCK_TERM_USEC;
	return other;
}

void locks_message(struct locks *locks, const char *ns, const char *deploy, uint64_t now)
{
	struct lock *lock = locks_get(locks, ns);

	if (locks_held(lock, deploy, now))
		lock->until = now + LOCK_TERM_USEC;
}

bool locks_release(struct locks *locks, const char *ns, const char *deploy)
{
	struct lock *lock = locks_get(locks, ns);

	if (!lock || !lock->held || !streq(lock->deploy, deploy))
		return false;
	release(lock);
	return true;
}

bool locks_lapse(struct locks *locks, uint64_t now)
{
	bool any = false;

	for (struct map_item *i = NULL; (i = map_next(&locks->map, i));) {
		struct lock *lock = i->value;

		if (!lock->held || lock->until > now)
			continue;
		release(lock);
		any = true;
	}
	return any;
}

bool locks_refuse(struct locks *locks, const char *ns, const char *instance)
{
	struct lock *lock = locks_add(locks, ns);

	if (strv_contains(lock->removed, instance))
		return false;
	strv_push(&lock->removed, xstrdup(instance));
	return true;
}

bool locks_refuses(const struct locks *locks, const char *ns, const char *instance)
{
	const struct lock *lock = locks_get(locks, ns);

	return lock && strv_contains(lock->removed, instance);
}

static json_t *encode_lock(const struct lock *lock)
{
	json_t *json = json_pack("{s:I, s:s*}", "epoch", (json_int_t)lock->epoch, "last_deploy",
				 lock->last_deploy);
	json_t *removed = json_array(), *stopped = json_array();

	if (lock->held) {
		json_object_set_new(json, "deploy", json_string(lock->deploy));
		json_object_set_new(json, "holder", json_string(lock->holder ? lock->holder : ""));
		json_object_set_new(json, "reserve",
				    codec_encode(&reservation_schema, &lock->reserve));
	}
	for (char **instance = lock->removed; instance && *instance; instance++)
		json_array_append_new(removed, json_string(*instance));
	for (size_t i = 0; i < lock->n_stopped; i++)
		if (lock->stopped[i].state != ABORTING_DONE)
			json_array_append_new(stopped,
					      codec_encode(&stopped_schema, &lock->stopped[i]));
	json_object_set_new(json, "removed", removed);
	json_object_set_new(json, "stopped", stopped);
	return json;
}

json_t *locks_encode(const struct locks *locks)
{
	json_t *all = json_object();

	for (struct map_item *i = NULL; (i = map_next(&locks->map, i));)
		json_object_set_new(all, i->key, encode_lock(i->value));
	return all;
}

static int decode_lists(struct lock *lock, const json_t *json)
{
	const json_t *item;
	size_t i;

	json_array_foreach (json_object_get(json, "removed"), i, item)
		if (json_is_string(item))
			strv_push(&lock->removed, xstrdup(json_string_value(item)));
	json_array_foreach (json_object_get(json, "stopped"), i, item) {
		struct stopped *stopped = array_add(lock->stopped, lock->n_stopped);
		int r = codec_decode(&stopped_schema, item, CODEC_LENIENT, stopped, NULL);

		if (r < 0) {
			lock->n_stopped--;
			return r;
		}
	}
	return 0;
}

int locks_decode(struct locks *locks, const json_t *json, uint64_t now)
{
	const char *ns;
	json_t *one;

	if (!json_is_object(json))
		return -EINVAL;
	json_object_foreach ((json_t *)json, ns, one) {
		const json_t *epoch = json_object_get(one, "epoch");
		const char *deploy = json_string_value(json_object_get(one, "deploy"));
		struct lock *lock;

		if (!json_is_integer(epoch) || json_integer_value(epoch) < 0)
			return -EINVAL;
		lock = locks_add(locks, ns);
		lock->epoch = json_integer_value(epoch);
		lock->last_deploy = xstrdup(json_string_value(json_object_get(one, "last_deploy")));
		if (decode_lists(lock, one) < 0)
			return -EINVAL;
		if (!deploy || codec_decode(&reservation_schema, json_object_get(one, "reserve"),
					    CODEC_LENIENT, &lock->reserve, NULL) < 0)
			continue;
		/* How long agentd was away is unknown: the holder has its whole term again. */
		lock->held = true;
		lock->deploy = xstrdup(deploy);
		lock->holder = xstrdup(json_string_value(json_object_get(one, "holder")));
		lock->until = now + LOCK_TERM_USEC;
	}
	return 0;
}
