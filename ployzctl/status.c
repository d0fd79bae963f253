/* `ployzctl status`: gathers intent and facts from the log, status from the deploy records, and
 * observation from every daemon now; none is derived from another. */
#include "ployzctl/status.h"

static const char *const daemons[] = { "meshd", "agentd", "placerd", "leased", "routed", "dnsd" };

static void print(struct status *status)
{
	_cleanup_(strv_freep) char **problems = NULL;

	status->now_usec = time_now_usec();
	problems = status_problems(status);
	if (status->ctl->options.json)
		status_print_json(status, problems);
	else
		status_print(status, problems);
	session_end(status->ctl, problems ? EXIT_NO : EXIT_DONE);
}

/* --- status: deploys, read after the daemons were asked: a deploy that its leased does not execute
 * any more has its last record by then */

static void on_records(const struct failure *failure, const struct records *records, void *userdata)
{
	struct status *status = userdata;

	if (failure)
		status->records_error = xstrdup(failure->message);
	else
		status->records = records;
	print(status);
}

static void done(struct status *status)
{
	if (--status->pending == 0)
		status->read = records_read(status->ctl, NULL, NULL, on_records, status);
}

/* --- observation: leases, usage, daemons, routes */

static void on_leases(const struct failure *failure, void *answer, void *userdata)
{
	struct status *status = userdata;

	if (failure)
		status->leases_error = xstrdup(failure->message);
	else
		status->leases = codec_copy(&lease_list_schema, answer);
	done(status);
}

static void on_usage(const struct failure *failure, void *answer, void *userdata)
{
	struct status *status = userdata;

	if (failure)
		status->usage_error = xstrdup(failure->message);
	else
		status->usage = codec_copy(&store_usage_schema, answer);
	done(status);
}

static void on_routes(const char *machine, const struct failure *failure, void *answer,
		      void *userdata)
{
	struct status *status = userdata;
	struct observed_routes *routes;

	if (!machine) {
		status->scatter = NULL;
		done(status);
		return;
	}
	routes = array_add(status->routes, status->n_routes);
	routes->machine = xstrdup(machine);
	routes->list = failure ? NULL : codec_copy(&route_list_schema, answer);
}

struct question {
	struct status *status;
	size_t index; /* in `observed`, which does not move once all were asked */
};

static void on_status(int error, const struct bus_message *reply, void *userdata)
{
	_cleanup_free_ struct question *question = userdata;
	struct status *status = question->status;
	struct observed *observed = &status->observed[question->index];
	_cleanup_json_ json_t *json = NULL;

	observed->took_ms = (int64_t)((boot_now_usec() - status->begun_usec) / 1000);
	if (error < 0) {
		observed->error = xstrdup(error == -EHOSTUNREACH ? "does not run"
					  : error == -ETIMEDOUT	 ? "does not answer"
								 : strerror(-error));
	} else {
		json = json_loadb(reply->data, reply->size, JSON_ALLOW_NUL, NULL);
		observed->answer = json_incref(json_object_get(json, "ok"));
		if (!observed->answer)
			observed->error = xstrdup("answer cannot be decoded");
	}
	done(status);
}

static void request_daemons(struct status *status, const char *machine)
{
	for (size_t i = 0; i < ARRAY_SIZE(daemons); i++) {
		struct question *question = xcalloc(1, sizeof(*question));
		_cleanup_free_ char *subject = subject_status(machine, daemons[i]);
		struct observed *observed = array_add(status->observed, status->n_observed);

		observed->machine = xstrdup(machine);
		observed->daemon = xstrdup(daemons[i]);
		*question = (struct question){ status, status->n_observed - 1 };
		status->pending++;
		bus_request(status->ctl->bus, subject, NULL, "{}", 2, REQUEST_USEC, on_status,
			    question, NULL);
	}
}

static void on_pong(const struct bus_message *message, void *userdata)
{
	struct status *status = userdata;
	_cleanup_json_ json_t *json = json_loadb(message->data, message->size, 0, NULL);
	const char *name = json_string_value(json_object_get(json, "name"));
	const char *version = json_string_value(json_object_get(json, "version"));
	const char *machine =
		json_string_value(json_object_get(json_object_get(json, "metadata"), "machine"));

	for (size_t i = 0; i < status->n_observed; i++)
		if (streq(status->observed[i].daemon, name) &&
		    streq(status->observed[i].machine, machine) && !status->observed[i].version)
			status->observed[i].version = xstrdup(version);
}

static void on_gathered(void *userdata)
{
	done(userdata);
}

/* NATS Services protocol: every service answers $SRV.PING with its version. */
static void request_versions(struct status *status)
{
	_cleanup_free_ char *inbox = bus_inbox(status->ctl->bus);

	status->pending++;
	status->gather = timer_new(status->ctl->loop, on_gathered, status);
	timer_arm(status->gather, GATHER_USEC);
	if (bus_subscribe(status->ctl->bus, inbox, on_pong, status, &status->pings) >= 0)
		bus_publish(status->ctl->bus, "$SRV.PING", inbox, NULL, "", 0);
}

static void on_snapshot(const struct snapshot *snapshot, void *userdata)
{
	struct status *status = userdata;
	struct ployzctl *ctl = status->ctl;
	_cleanup_(strv_freep) char **machines = snapshot_machines(snapshot);

	status->snapshot = snapshot;
	status->begun_usec = boot_now_usec();
	for (char **machine = machines; machine && *machine; machine++)
		request_daemons(status, *machine);
	request_versions(status);
	status->pending += 3;
	bus_ask(ctl->bus, SUBJECT_LEASE_LIST, ctl->machine, NULL, REQUEST_USEC, on_leases, status,
		NULL);
	bus_ask(ctl->bus, SUBJECT_STORE_USAGE, ctl->machine, NULL, REQUEST_USEC, on_usage, status,
		NULL);
	bus_scatter(ctl->bus, SUBJECT_ROUTED_ROUTES, machines, NULL, REQUEST_USEC, on_routes,
		    status, &status->scatter);
}

static void status_clear(struct status *status)
{
	for (size_t i = 0; i < status->n_observed; i++) {
		free(status->observed[i].machine);
		free(status->observed[i].daemon);
		free(status->observed[i].version);
		free(status->observed[i].error);
		json_decref(status->observed[i].answer);
	}
	free(status->observed);
	for (size_t i = 0; i < status->n_routes; i++) {
		free(status->routes[i].machine);
		route_list_free(status->routes[i].list);
	}
	free(status->routes);
	free(status->records_error);
	free(status->leases_error);
	free(status->usage_error);
	lease_list_free(status->leases);
	store_usage_free(status->usage);
	records_read_free(status->read);
	bus_scatter_cancel(status->scatter);
	bus_subscription_free(status->pings);
	timer_free(status->gather);
}

int verb_status(struct ployzctl *ctl, int argc, char **argv)
{
	_cleanup_(strv_freep) char **words = NULL;
	_cleanup_(status_clear) struct status status = { .ctl = ctl };
	int code = arguments_take(ctl, "status", NULL, NULL, NULL, argc, argv, 0, 0, &words);

	if (!code)
		code = session_open(ctl);
	if (code)
		return MAX2(code, 0);
	snapshot_read(ctl, on_snapshot, &status);
	return session_run(ctl);
}
