/* Holders: simulates leased, each with one rollout, its lease and its pending requests. */
#include "tests/rollouts/world.h"

#include <stdio.h>

#include "lib/str.h"

struct holder *holder_of(const struct rollout *r)
{
	return r->userdata;
}

static bool runs(const struct holder *h)
{
	return h->rollout && !h->dead && !h->frozen && !h->rollout->ended;
}

/* --- polling */

static void on_poll(struct world *w, void *userdata)
{
	struct holder *h = userdata;

	h->scheduled = false;
	if (runs(h))
		rollout_poll(h->rollout, w->now);
}

static void schedule(struct rollout *r)
{
	struct holder *h = holder_of(r);

	if (h->scheduled)
		return;
	h->scheduled = true;
	world_at(h->world, 0, on_poll, h, NULL);
}

static void on_tick(struct world *w, void *userdata)
{
	struct holder *h = userdata;

	if (!h->rollout || h->dead || h->rollout->ended)
		return;
	world_at(w, S, on_tick, h, NULL);
	if (runs(h))
		rollout_poll(h->rollout, w->now);
}

/* --- requests */

struct flight {
	struct world *world;
	struct holder *holder;
	struct rpc *rpc; /* NULL: the rollout does not wait for it any more */
	enum subject_id subject;
	int machine;
	void *answer;
	struct failure failure;
	int references;
	union {
		struct agent_command command;
		struct agent_start start;
		struct agent_ref ref;
		struct agent_probe probe;
		struct agent_prepare prepare;
		struct plan_request plan;
	} request;
	char *ns, *deploy, *instance, **instances, *image;
};

static void flight_unref(void *p)
{
	struct flight *f = p;

	if (--f->references)
		return;
	if (f->rpc)
		f->rpc->handle = NULL;
	if (f->answer)
		codec_destroy(subjects[f->subject].reply, f->answer);
	failure_clear(&f->failure);
	free(f->ns);
	free(f->deploy);
	free(f->instance);
	free(f->image);
	strv_free(f->instances);
	free(f);
}

static void deliver(struct flight *f, const struct failure *failure, void *answer)
{
	struct rpc *rpc = steal(f->rpc);

	rpc->handle = NULL;
	rpc_answer(rpc, failure, answer);
}

/* Stores the last query's report for checks.c. */
static void note_probe(struct flight *f)
{
	const struct agent_probed *probed = f->answer;
	struct holder *h = f->holder;

	for (size_t i = 0; i < strv_count(f->instances); i++) {
		const struct agent_instance *one = &probed->instances[i];
		bool ready = one->instance && one->instance->state == INSTANCE_READY;
		size_t kept = 0;

		for (char **id = h->ready; id && *id; id++) {
			if (streq(*id, f->instances[i]))
				free(*id);
			else
				h->ready[kept++] = *id;
		}
		if (h->ready)
			h->ready[kept] = NULL;
		if (ready)
			strv_push(&h->ready, xstrdup(f->instances[i]));
	}
}

static void on_answer(struct world *w, void *userdata)
{
	struct flight *f = userdata;

	(void)w;
	if (f->rpc && !f->holder->dead) {
		if (f->subject == SUBJECT_AGENT_PROBE && f->answer)
			note_probe(f);
		if (f->answer)
			deliver(f, NULL, steal(f->answer));
		else
			deliver(f, &f->failure, NULL);
	}
	flight_unref(f);
}

static void on_arrival(struct world *w, void *userdata)
{
	struct flight *f = userdata;
	void *answer = NULL;

	failure_clear(&f->failure);
	if (f->answer)
		codec_destroy(subjects[f->subject].reply, steal(f->answer));
	if (f->subject == SUBJECT_PLAN) {
		if (f->rpc)
			answer = placer_answer(w, &f->request.plan);
	} else if (f->subject == SUBJECT_ROUTED_APPLIED || f->subject == SUBJECT_DNSD_APPLIED ||
		   f->subject == SUBJECT_ROUTED_DRAINED) {
		answer = gateway_answer(w, f->machine, f->subject, NULL, &f->failure);
	} else {
		answer = agent_answer(w, &w->agents[f->machine], f->subject, &f->request,
				      &f->failure);
	}
	f->answer = answer;
	if ((answer || failure_is_set(&f->failure)) && !world_chance(w, 4)) {
		f->references++;
		world_at(w, world_latency(w), on_answer, f, flight_unref);
	}
	flight_unref(f);
}

static void on_timeout(struct world *w, void *userdata)
{
	struct flight *f = userdata;
	struct failure failure = FAILURE_INIT;

	(void)w;
	if (f->rpc && !f->holder->dead) {
		failure_set(&failure, FAILURE_TIMEOUT, NULL, "no answer");
		deliver(f, &failure, NULL);
		failure_clear(&failure);
	}
	flight_unref(f);
}

/* Requests continue to exist when the rollout that sent them has ended. */
static void copy_request(struct flight *f, const void *request)
{
	const struct agent_command *command = request;

	if (f->subject == SUBJECT_PLAN) {
		f->request.plan = *(const struct plan_request *)request;
		return;
	}
	if (f->subject == SUBJECT_ROUTED_APPLIED || f->subject == SUBJECT_DNSD_APPLIED ||
	    f->subject == SUBJECT_ROUTED_DRAINED)
		return;
	f->request.command = *command;
	f->request.command.ns = f->ns = xstrdup(command->ns);
	f->request.command.deploy = f->deploy = xstrdup(command->deploy);
	switch (f->subject) {
	case SUBJECT_AGENT_START:
		f->request.start.slot = ((const struct agent_start *)request)->slot;
		f->request.start.instance = f->instance =
			xstrdup(((const struct agent_start *)request)->instance);
		break;
	case SUBJECT_AGENT_PROBE:
		f->request.probe.instances = f->instances =
			strv_copy(((const struct agent_probe *)request)->instances);
		break;
	case SUBJECT_AGENT_PREPARE:
		f->request.prepare.image = f->image =
			xstrdup(((const struct agent_prepare *)request)->image);
		break;
	case SUBJECT_AGENT_DRAIN:
	case SUBJECT_AGENT_STOP:
	case SUBJECT_AGENT_RESUME:
	case SUBJECT_AGENT_REMOVE:
		f->request.ref.instance = f->instance =
			xstrdup(((const struct agent_ref *)request)->instance);
		break;
	default:
		break;
	}
}

static void ask(struct rpc *rpc, const void *request, uint64_t timeout_usec)
{
	struct holder *h = holder_of(rpc->rollout);
	struct world *w = h->world;
	struct flight *f = xcalloc(1, sizeof(*f));

	f->world = w;
	f->holder = h;
	f->rpc = rpc;
	f->subject = rpc->subject;
	f->machine = rpc->machine[1] - '1';
	f->references = 1;
	copy_request(f, request);
	rpc->handle = f;
	world_at(w, timeout_usec, on_timeout, f, flight_unref);
	if (world_chance(w, 3))
		return; /* the request is lost */
	f->references++;
	world_at(w, world_latency(w), on_arrival, f, flight_unref);
	if (world_chance(w, 3) && f->subject != SUBJECT_PLAN) {
		f->references++;
		world_at(w, world_random(w, 40 * S), on_arrival, f, flight_unref);
	}
}

static void cancel_rpc(struct rpc *rpc)
{
	struct flight *f = steal(rpc->handle);

	if (f)
		f->rpc = NULL;
}

/* --- the lease */

static struct sim_lease *lease_of(struct holder *h)
{
	return &h->world->leases[world_namespace(h->ns)];
}

static bool is_ours(struct holder *h)
{
	const struct sim_lease *lease = lease_of(h);

	return lease->held && lease->holder == h->index && lease->epoch == h->epoch;
}

static void tell(struct holder *h, enum held_state state)
{
	struct failure failure = FAILURE_INIT;

	if (h->dead || h->rollout->ended)
		return;
	if (state == HELD_REFUSED)
		failure_set(&failure, FAILURE_LEASE_HELD, NULL, "held");
	if (state == HELD_LOST)
		failure_set(&failure, FAILURE_LEASE_LOST, NULL, "lost");
	rollout_lease(h->rollout, state, h->epoch, h->deadline, &failure);
	failure_clear(&failure);
}

static void on_renew(struct world *w, void *userdata)
{
	struct holder *h = userdata;

	if (!h->rollout || h->dead || h->rollout->ended || h->rollout->lost ||
	    h->rollout->lease.state >= HELD_REFUSED)
		return;
	if (h->frozen || w->now < w->store_away_until) {
		world_at(w, 250 * MS, on_renew, h, NULL);
		return;
	}
	if (!is_ours(h)) {
		tell(h, HELD_LOST);
		return;
	}
	lease_of(h)->moved = w->now;
	h->deadline = w->now + LEASE_TERM_USEC - LEASE_MARGIN_USEC;
	tell(h, h->rollout->lease.state);
	world_at(w, LEASE_RENEW_USEC, on_renew, h, NULL);
}

static void on_take(struct world *w, void *userdata)
{
	struct holder *h = userdata;
	struct sim_lease *lease = lease_of(h);

	if (h->dead)
		return;
	if (w->now < w->store_away_until || h->frozen) {
		world_at(w, 250 * MS, on_take, h, NULL);
		return;
	}
	if (lease->held && w->now - lease->moved < LEASE_TERM_USEC) {
		tell(h, HELD_REFUSED);
		return;
	}
	lease->held = true;
	lease->holder = h->index;
	lease->moved = w->now;
	h->epoch = ++lease->epoch;
	h->deadline = w->now + LEASE_TERM_USEC - LEASE_MARGIN_USEC;
	tell(h, HELD_HELD);
	world_at(w, LEASE_RENEW_USEC, on_renew, h, NULL);
}

static void lease_take(struct rollout *r)
{
	struct holder *h = holder_of(r);

	world_at(h->world, 500, on_take, h, NULL);
}

static void on_raise(struct world *w, void *userdata)
{
	struct holder *h = userdata;

	if (h->dead || h->rollout->ended)
		return;
	if (!is_ours(h)) {
		tell(h, HELD_LOST);
		return;
	}
	lease_of(h)->moved = w->now;
	h->epoch = ++lease_of(h)->epoch;
	tell(h, HELD_HELD);
}

static void lease_raise(struct rollout *r, int64_t above)
{
	struct holder *h = holder_of(r);

	if (is_ours(h) && lease_of(h)->epoch < above)
		h->epoch = lease_of(h)->epoch = above;
	world_at(h->world, 500, on_raise, h, NULL);
}

static void on_release(struct world *w, void *userdata)
{
	struct holder *h = userdata;

	if (is_ours(h)) {
		lease_of(h)->held = false;
		lease_of(h)->moved = w->now;
	}
	if (!h->dead)
		tell(h, HELD_RELEASED);
}

static void lease_release(struct rollout *r)
{
	struct holder *h = holder_of(r);

	world_at(h->world, 500, on_release, h, NULL);
}

static void on_broken(struct world *w, void *userdata)
{
	struct holder *h = userdata;

	(void)w;
	if (h->rollout && !h->dead && !h->frozen && h->rollout->lease.state == HELD_HELD &&
	    !is_ours(h))
		tell(h, HELD_LOST);
}

void holder_break(struct world *w, const char *ns)
{
	struct sim_lease *lease = &w->leases[world_namespace(ns)];
	struct holder *h = &w->holders[lease->holder];

	if (!lease->held)
		return;
	lease->held = false;
	lease->moved = w->now;
	if (!world_chance(w, 50))
		world_at(w, world_latency(w), on_broken, h, NULL);
}

/* --- the rest of the ops */

static bool checking(struct rollout *r)
{
	return world_chance(holder_of(r)->world, 10);
}

static bool members(struct rollout *r, char ***ret)
{
	char **names = NULL;

	r->generation = 1;
	for (int i = 0; i < MACHINES; i++)
		strv_push(&names, xstrdup(holder_of(r)->world->agents[i].name));
	*ret = names;
	return !world_chance(holder_of(r)->world, 2);
}

static void progress(struct rollout *r, struct progress *p)
{
	const struct holder *h = holder_of(r);

	if (h->world->trace)
		printf("# %9.3f %s %s: %s %s\n", (double)(h->world->now - 1000 * S) / 1e6,
		       h->deploy, phases[r->phase].name, progress_kind_names[p->kind],
		       p->message ? p->message : "");
}

static void record(struct rollout *r, bool final)
{
	struct holder *h = holder_of(r);
	_cleanup_free_ char *subject =
		subject_make(SUBJECT_DEPLOY_STATUS, r->ns, r->request->deploy);
	_cleanup_free_ char *text = NULL;

	if (!final)
		return;
	deploy_free(h->record);
	h->record = codec_copy(&deploy_schema, r->record);
	h->ended_at = h->world->now;
	text = codec_print(&deploy_schema, r->record);
	store_put(h->world, STREAM_STATUS, subject, text);
	if (h->world->trace)
		printf("# %9.3f %s ends: %s %s\n", (double)(h->world->now - 1000 * S) / 1e6,
		       h->deploy, deploy_phase_names[r->record->phase],
		       r->failure.message ? r->failure.message : "");
}

static void close_record(struct rollout *r, const char *deploy, enum deploy_phase phase,
			 _unused_ const char *note)
{
	check_closed(holder_of(r)->world, r->ns, deploy, phase);
}

static char *nonce(struct rollout *r)
{
	struct world *w = holder_of(r)->world;

	return xasprintf("n%llx", (unsigned long long)world_random(w, UINT64_MAX));
}

static char *now_text(_unused_ struct rollout *r)
{
	return xstrdup("2026-01-01T00:00:00.000Z");
}

static const struct rollout_ops ops = {
	.ask = ask,
	.cancel_rpc = cancel_rpc,
	.read_last = sim_read_last,
	.read_at = sim_read_at,
	.read_next = sim_read_next,
	.read_history = sim_read_history,
	.read_claims = sim_read_claims,
	.cancel_read = sim_cancel_read,
	.append = sim_append,
	.cancel_write = sim_cancel_write,
	.lease_take = lease_take,
	.lease_raise = lease_raise,
	.lease_release = lease_release,
	.checking = checking,
	.members = members,
	.progress = progress,
	.record = record,
	.close_record = close_record,
	.nonce = nonce,
	.now_text = now_text,
	.schedule = schedule,
};

static struct manifest *manifest_of(const struct world *w, const char *ns, const char *image)
{
	struct manifest *manifest = codec_new(&manifest_schema);
	struct service *service = array_add(manifest->services, manifest->n_services);
	struct route_spec *route;
	struct port *port;

	manifest->ns = xstrdup(ns);
	codec_init(&service_schema, service);
	service->name = xstrdup("web");
	service->image = xstrdup(image);
	service->replicas = w->options.replicas;
	if (!w->options.routes)
		return manifest;
	port = array_add(service->ports, service->n_ports);
	port->name = xstrdup("http");
	port->port = 80;
	route = array_add(service->routes, service->n_routes);
	route->http = xcalloc(1, sizeof(*route->http));
	route->http->port = xstrdup("http");
	strv_push(&route->http->hosts, xstrdup("h.test"));
	route->http->path = xstrdup(streq(ns, "blog") ? "/blog" : "/");
	return manifest;
}

void holder_begin(struct world *w, int index, const char *ns, const char *deploy, const char *image,
		  bool sweep)
{
	struct holder *h = &w->holders[index];
	struct deploy_request request = {
		.deploy = (char *)deploy,
		.ns = (char *)ns,
		.verb = (char *)(sweep ? "sweep" : "deploy"),
		.plan_seq = -1,
		.yes = true,
	};

	rollout_free(h->rollout);
	deploy_free(steal(h->record));
	strv_free(steal(h->ready));
	h->dead = h->frozen = false;
	h->started = true;
	strcpy(h->ns, ns);
	strcpy(h->deploy, deploy);
	if (!sweep)
		request.manifest = manifest_of(w, ns, image);
	h->rollout = rollout_new(&ops, h, w->agents[index % MACHINES].name, &request);
	if (w->options.table && !h->final)
		h->rollout->table = w->options.table;
	manifest_free(request.manifest);
	world_at(w, S, on_tick, h, NULL);
	schedule(h->rollout);
}

void holder_free(struct holder *h)
{
	rollout_free(h->rollout);
	deploy_free(h->record);
	strv_free(h->ready);
}
