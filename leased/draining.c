/* Connections to instances that go, or are stopped for others: every gateway is asked whether some
 * are left, until none is or their grace is over. */
#include "leased/leased.h"

struct draining_gateway {
	struct draining *draining;
	char *machine;
	bool asking, done;
};

struct draining {
	char **instances;
	uint64_t sequence; /* of the log: from here on the gateways send nothing there */
	uint64_t until_usec;
	struct draining_gateway *gateways;
	size_t n_gateways, pending;
	draining_fn then;
};

static void draining_free(struct draining *draining)
{
	for (size_t i = 0; i < draining->n_gateways; i++)
		free(draining->gateways[i].machine);
	free(draining->gateways);
	strv_free(draining->instances);
	free(draining);
}

void drainings_clear(struct walk *walk)
{
	for (size_t i = 0; i < walk->n_drainings; i++)
		draining_free(walk->drainings[i]);
	free(steal(walk->drainings));
	walk->n_drainings = 0;
}

static void finish(struct walk *walk, struct draining *draining)
{
	size_t left = 0;

	for (size_t i = 0; i < walk->n_drainings; i++)
		if (walk->drainings[i] != draining)
			walk->drainings[left++] = walk->drainings[i];
	walk->n_drainings = left;
	draining->then(walk, draining->instances);
	draining_free(draining);
}

/* One that does not answer is asked again until the grace is over. */
static void on_drained(struct walk *walk, const struct failure *failure, void *answer, void *what)
{
	const struct drained *drained = answer;
	struct draining_gateway *gateway = what;

	gateway->asking = false;
	if (failure && boot_now_usec() < gateway->draining->until_usec)
		return;
	if (failure)
		progress_note(
			walk,
			"the gateway of machine %s does not say whether connections are left: %s",
			gateway->machine, failure->message);
	else if (drained->connections > 0)
		progress_note(walk, "%lld connections did not end within their grace on machine %s",
			      (long long)drained->connections, gateway->machine);
	gateway->done = true;
	if (--gateway->draining->pending == 0)
		finish(walk, gateway->draining);
}

static void ask(struct walk *walk, struct draining *draining)
{
	uint64_t now = boot_now_usec();
	const struct drained_request request = {
		.instances = draining->instances,
		.sequence = (int64_t)draining->sequence,
		.wait_ms = now < draining->until_usec
				   ? (int64_t)((draining->until_usec - now) / 1000)
				   : 0,
	};

	for (size_t i = 0; i < draining->n_gateways; i++) {
		struct draining_gateway *gateway = &draining->gateways[i];

		if (gateway->asking || gateway->done)
			continue;
		gateway->asking = true;
		errand(walk, SUBJECT_ROUTED_DRAINED, gateway->machine, &request,
		       (uint64_t)request.wait_ms * 1000 + AGENT_USEC, on_drained, gateway);
	}
}

void draining_begin(struct walk *walk, char **instances, uint64_t sequence, uint64_t grace_usec,
		    draining_fn then)
{
	struct draining *draining = xcalloc(1, sizeof(*draining));

	draining->instances = instances;
	draining->sequence = sequence;
	draining->until_usec = boot_now_usec() + grace_usec;
	draining->then = then;
	*array_add(walk->drainings, walk->n_drainings) = draining;
	for (char **machine = walk->peers; machine && *machine; machine++)
		*array_add(draining->gateways, draining->n_gateways) =
			(struct draining_gateway){ .machine = xstrdup(*machine) };
	/* The list does not move any more. */
	for (size_t i = 0; i < draining->n_gateways; i++)
		draining->gateways[i].draining = draining;
	draining->pending = draining->n_gateways;
	if (draining->pending)
		ask(walk, draining);
	else
		finish(walk, draining);
}

void drainings_tick(struct walk *walk)
{
	for (size_t i = 0; i < walk->n_drainings; i++)
		ask(walk, walk->drainings[i]);
}
