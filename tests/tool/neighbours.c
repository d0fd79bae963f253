/* neighbours: the daemons of a machine that leased sends requests to, besides placerd, without an
 * engine, for tests of leased alone. An agentd whose containers are a list, a routed and a dnsd
 * that apply everything at once.
 *
 *   neighbours URL MACHINE
 *
 * The image decides how an instance behaves: ok:… is ready after 20 ms, slow:… never is, fail:…
 * fails, dies:… is ready and has ended at the last query, absent:… cannot be fetched; the
 * pre_deploy command of prefail:… fails. */
#include <stdio.h>

#include "lib/log.h"
#include "lib/ployz.h"

#define READY_USEC 20000ull

struct neighbours {
	struct bus *bus;
	const char *machine;
	struct instance **instances;
	size_t n_instances;
	struct map epochs; /* namespace → the highest epoch seen, as a number in a pointer */
	struct later *laters;
};

struct later {
	struct later *next, **link; /* of neighbours.laters */
	struct neighbours *n;
	struct instance *instance;
	char *deploy;
	struct timer *timer;
};

static struct instance *find(struct neighbours *n, const char *id)
{
	for (size_t i = 0; i < n->n_instances; i++)
		if (streq(n->instances[i]->id, id))
			return n->instances[i];
	return NULL;
}

static void tell(struct neighbours *n, const struct instance *instance, const char *deploy)
{
	const struct progress progress = {
		.kind = PROGRESS_SLOT,
		.machine = (char *)n->machine,
		.service = instance->service,
		.slot = instance->slot,
		.instance = instance->id,
		.state = (char *)instance_state_names[instance->state],
	};

	bus_event(n->bus, SUBJECT_PROGRESS, deploy, NULL, &progress);
}

static void later_free(struct later *later)
{
	*later->link = later->next;
	if (later->next)
		later->next->link = later->link;
	timer_free(later->timer);
	free(later->deploy);
	free(later);
}

static void on_later(void *userdata)
{
	struct later *later = userdata;
	struct instance *instance = later->instance;

	if (instance->state == INSTANCE_STARTING && !str_starts(instance->image, "slow")) {
		instance->state =
			str_starts(instance->image, "fail") ? INSTANCE_FAILED : INSTANCE_READY;
		if (instance->state == INSTANCE_FAILED)
			instance->reason = xstrdup("it exited with code 1");
		tell(later->n, instance, later->deploy);
	}
	later_free(later);
}

static void neighbours_end(struct neighbours *n)
{
	while (n->laters)
		later_free(n->laters);
	for (size_t i = 0; i < n->n_instances; i++)
		instance_free(n->instances[i]);
	free(n->instances);
	map_clear(&n->epochs, NULL);
}

static bool fenced(struct neighbours *n, struct bus_call *call, const char *ns, int64_t epoch)
{
	intptr_t seen = (intptr_t)map_get(&n->epochs, ns);

	if (epoch >= seen) {
		map_put(&n->epochs, ns, (void *)(intptr_t)epoch);
		return false;
	}
	bus_call_failf(call, FAILURE_FENCED, NULL, "epoch %lld is over, %lld was seen",
		       (long long)epoch, (long long)seen);
	return true;
}

static void on_lock(struct bus_call *call, void *request, void *userdata)
{
	const struct agent_lock *lock = request;
	struct neighbours *n = userdata;
	struct agent_locked locked = { NULL, 0 };

	if (fenced(n, call, lock->command.ns, lock->command.epoch))
		return;
	for (size_t i = 0; i < n->n_instances; i++)
		if (n->instances[i]->state != INSTANCE_GONE &&
		    streq(n->instances[i]->ns, lock->command.ns))
			*array_add(locked.instances, locked.n_instances) = *n->instances[i];
	bus_call_ok(call, &locked);
	free(locked.instances);
}

/* The last query. What is made from dies:… has ended by then. */
static void on_probe(struct bus_call *call, void *request, void *userdata)
{
	const struct agent_probe *probe = request;
	struct neighbours *n = userdata;
	struct agent_probed probed = { NULL, 0 };

	if (fenced(n, call, probe->command.ns, probe->command.epoch))
		return;
	for (char **id = probe->instances; id && *id; id++) {
		struct agent_instance *one = array_add(probed.instances, probed.n_instances);

		one->instance = find(n, *id);
		one->sequence = 1;
		if (one->instance && str_starts(one->instance->image, "dies:") &&
		    one->instance->state == INSTANCE_READY) {
			one->instance->state = INSTANCE_FAILED;
			one->instance->reason = xstrdup("it exited with code 3");
		}
	}
	bus_call_ok(call, &probed);
	free(probed.instances);
}

static void on_run(struct bus_call *call, void *request, void *userdata)
{
	const struct agent_run *run = request;
	struct agent_ran ran = { .state = (char *)"done" };

	if (fenced(userdata, call, run->command.ns, run->command.epoch))
		return;
	if (str_starts(run->service->image, "prefail:"))
		ran = (struct agent_ran){ .state = (char *)"failed",
					  .exit_code = 1,
					  .reason = (char *)"it exited with code 1" };
	bus_call_ok(call, &ran);
}

static void on_unlock(struct bus_call *call, _unused_ void *request, _unused_ void *userdata)
{
	bus_call_ok(call, NULL);
}

static void on_prepare(struct bus_call *call, void *request, void *userdata)
{
	const struct agent_prepare *prepare = request;
	struct neighbours *n = userdata;
	/* A rollback asks for an image by its id. */
	_cleanup_free_ char *digest = str_starts(prepare->image, "sha256:")
					      ? xstrdup(prepare->image)
					      : xasprintf("sha256:%s", prepare->image);
	struct agent_prepared prepared = { .state = (char *)"ready", .digest = digest };

	if (fenced(n, call, prepare->command.ns, prepare->command.epoch))
		return;
	if (str_starts(prepare->image, "absent:"))
		prepared = (struct agent_prepared){ .state = (char *)"failed",
						    .reason = (char *)"no such image" };
	bus_call_ok(call, &prepared);
}

static void answer(struct bus_call *call, struct instance *instance)
{
	const struct agent_instance reply = { .instance = instance, .sequence = 1 };

	bus_call_ok(call, &reply);
}

static void on_start(struct bus_call *call, void *request, void *userdata)
{
	const struct agent_start *start = request;
	struct neighbours *n = userdata;
	struct instance *instance = find(n, start->instance);
	struct later *later;

	if (fenced(n, call, start->command.ns, start->command.epoch))
		return;
	if (!instance) {
		instance = codec_new(&instance_schema);
		instance->id = xstrdup(start->instance);
		instance->ns = xstrdup(start->command.ns);
		instance->service = xstrdup(start->service->name);
		instance->slot = start->slot;
		instance->deploy = xstrdup(start->command.deploy);
		instance->image = xstrdup(start->service->image);
		instance->digest = xstrdup(start->digest);
		instance->hash = service_hash(start->service, start->digest);
		instance->address = xstrdup("10.101.1.2");
		instance->state = INSTANCE_STARTING;
		*array_add(n->instances, n->n_instances) = instance;
		later = xcalloc(1, sizeof(*later));
		later->n = n;
		later->next = n->laters;
		later->link = &n->laters;
		if (later->next)
			later->next->link = &later->next;
		n->laters = later;
		later->instance = instance;
		later->deploy = xstrdup(start->command.deploy);
		later->timer = timer_new(bus_loop(n->bus), on_later, later);
		timer_arm(later->timer, READY_USEC);
	}
	answer(call, instance);
}

static void on_ref(struct bus_call *call, void *request, void *userdata)
{
	const struct agent_ref *ref = request;

	if (!fenced(userdata, call, ref->command.ns, ref->command.epoch))
		answer(call, find(userdata, ref->instance));
}

static void on_stop(struct bus_call *call, void *request, void *userdata)
{
	const struct agent_ref *ref = request;
	struct instance *instance = find(userdata, ref->instance);

	if (fenced(userdata, call, ref->command.ns, ref->command.epoch))
		return;
	if (instance)
		instance->state = INSTANCE_STOPPED;
	answer(call, instance);
}

static void on_resume(struct bus_call *call, void *request, void *userdata)
{
	const struct agent_ref *ref = request;
	struct instance *instance = find(userdata, ref->instance);

	if (instance)
		instance->state = INSTANCE_READY;
	answer(call, instance);
}

static void on_remove(struct bus_call *call, void *request, void *userdata)
{
	const struct agent_ref *ref = request;
	struct neighbours *n = userdata;

	if (fenced(n, call, ref->command.ns, ref->command.epoch))
		return;
	/* The record stays: a slow start may still point to it. Its state says that it is gone. */
	if (find(n, ref->instance))
		find(n, ref->instance)->state = INSTANCE_GONE;
	answer(call, NULL);
}

static void on_list(struct bus_call *call, void *request, void *userdata)
{
	const struct agent_list *list = request;
	struct neighbours *n = userdata;
	struct agent_listed listed = { .engine = true,
				       .engine_version = (char *)"none",
				       .arch = (char *)"x86_64" };
	struct image_seen seen = { .image = (char *)"ok:1", .digest = (char *)"sha256:ok:1" };

	for (size_t i = 0; i < n->n_instances; i++)
		if (n->instances[i]->state != INSTANCE_GONE &&
		    (!list->command.ns || streq(n->instances[i]->ns, list->command.ns)))
			*array_add(listed.instances, listed.n_instances) = *n->instances[i];
	listed.epoch = list->command.ns ? (intptr_t)map_get(&n->epochs, list->command.ns) : 0;
	if (list->command.epoch > listed.epoch) {
		map_put(&n->epochs, list->command.ns, (void *)(intptr_t)list->command.epoch);
		listed.epoch = list->command.epoch;
	}
	listed.images = &seen;
	listed.n_images = 1;
	bus_call_ok(call, &listed);
	free(listed.instances);
}

static void on_applied(struct bus_call *call, void *request, _unused_ void *userdata)
{
	const struct applied_request *asked = request;
	const struct applied applied = { .applied = asked->wanted };

	bus_call_ok(call, &applied);
}

static void on_drained(struct bus_call *call, _unused_ void *request, _unused_ void *userdata)
{
	const struct drained drained = { 0 };

	bus_call_ok(call, &drained);
}

static const struct bus_endpoint agent_verbs[] = {
	{ SUBJECT_AGENT_LOCK, on_lock },       { SUBJECT_AGENT_UNLOCK, on_unlock },
	{ SUBJECT_AGENT_PREPARE, on_prepare }, { SUBJECT_AGENT_START, on_start },
	{ SUBJECT_AGENT_DRAIN, on_ref },       { SUBJECT_AGENT_STOP, on_stop },
	{ SUBJECT_AGENT_RESUME, on_resume },   { SUBJECT_AGENT_REMOVE, on_remove },
	{ SUBJECT_AGENT_LIST, on_list },       { SUBJECT_AGENT_PROBE, on_probe },
	{ SUBJECT_AGENT_RUN, on_run },
};
static const struct bus_endpoint routed_verbs[] = {
	{ SUBJECT_ROUTED_APPLIED, on_applied },
	{ SUBJECT_ROUTED_DRAINED, on_drained },
};
static const struct bus_endpoint dnsd_verbs[] = {
	{ SUBJECT_DNSD_APPLIED, on_applied },
};

int main(int argc, char **argv)
{
	_cleanup_(sd_event_unrefp) sd_event *loop = NULL;
	_cleanup_(bus_freep) struct bus *bus = NULL;
	struct bus_options options = { .name = "neighbours" };
	struct failure failure = FAILURE_INIT;
	_cleanup_(neighbours_end) struct neighbours n = { 0 };

	log_open("neighbours");
	if (argc != 3) {
		fputs("usage: neighbours URL MACHINE\n", stderr);
		return EXIT_USAGE;
	}
	options.url = argv[1];
	if (loop_new(&loop) < 0 || bus_open(loop, &options, &bus, &failure) < 0) {
		fprintf(stderr, "neighbours: %s\n", failure.message ? failure.message : "no loop");
		failure_clear(&failure);
		return EXIT_UNREACHABLE;
	}
	n.bus = bus;
	n.machine = argv[2];
	bus_serve(bus, "agentd", n.machine, agent_verbs, ARRAY_SIZE(agent_verbs), NULL, &n);
	bus_serve(bus, "routed", n.machine, routed_verbs, ARRAY_SIZE(routed_verbs), NULL, &n);
	bus_serve(bus, "dnsd", n.machine, dnsd_verbs, ARRAY_SIZE(dnsd_verbs), NULL, &n);
	puts("ready");
	fflush(stdout);
	return sd_event_loop(loop) < 0 ? EXIT_BUG : EXIT_DONE;
}
