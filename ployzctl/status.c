/* `ployzctl status`: gathers the three truths. Intent is read from the log, status from its stream,
 * and observation is asked of every daemon now; none is made from another. */
#include "ployzctl/status.h"

static const char *const daemons[] = { "meshd", "agentd", "placerd", "leased", "routed", "dnsd" };

static void done(struct status *status)
{
	bool whole;

	if (--status->pending)
		return;
	status->now_usec = time_now_usec();
	whole = status->ctl->options.json ? status_print_json(status) : status_print(status);
	session_end(status->ctl, whole ? EXIT_DONE : EXIT_NO);
}

/* --- status: deploys */

static void on_deploy(const struct stream_entry *entry, void *userdata)
{
	struct status *status = userdata;
	void *object = NULL;

	if (codec_parse(&deploy_schema, entry->data, entry->size, CODEC_LENIENT, &object, NULL) >=
	    0)
		*array_add(status->deploys, status->n_deploys) = object;
}

static void on_deploys(_unused_ uint64_t sequence, void *userdata)
{
	done(userdata);
}

static void on_deploys_lost(const struct failure *why, void *userdata)
{
	struct status *status = userdata;

	status->deploys_trouble = xstrdup(why->message);
	done(status);
}

static void ask_deploys(struct status *status)
{
	static const struct stream_follow_ops ops = { .entry = on_deploy,
						      .live = on_deploys,
						      .lost = on_deploys_lost };
	_cleanup_free_ char *filter = subject_filter(SUBJECT_DEPLOY_STATUS);
	const struct stream_follow_options options = {
		.domain = STORE_DOMAIN,
		.stream = STREAM_STATUS,
		.filter = filter,
		.from = STREAM_FROM_LAST_PER_SUBJECT,
		.once = true,
	};

	status->pending++;
	status->follow = stream_follow_new(status->ctl->bus, &options, &ops, status);
}

/* --- observation: leases, daemons */

static void on_leases(const struct failure *failure, void *answer, void *userdata)
{
	struct status *status = userdata;

	if (failure)
		status->leases_trouble = xstrdup(failure->message);
	else
		status->leases = codec_copy(&lease_list_schema, answer);
	done(status);
}

struct question {
	struct status *status;
	size_t index; /* in `observed`, which does not move once all were asked */
};

static void on_said(int error, const struct bus_message *reply, void *userdata)
{
	struct question *question = userdata;
	struct status *status = question->status;
	struct observed *observed = &status->observed[question->index];
	_cleanup_json_ json_t *json = NULL;

	free(question);
	observed->took_ms = (int64_t)((boot_now_usec() - status->begun_usec) / 1000);
	if (error < 0) {
		observed->trouble = xstrdup(error == -EHOSTUNREACH ? "does not run"
					    : error == -ETIMEDOUT  ? "does not answer"
								   : "the bus is not connected");
	} else {
		json = json_loadb(reply->data, reply->size, JSON_ALLOW_NUL, NULL);
		observed->said = json_incref(json_object_get(json, "ok"));
		if (!observed->said)
			observed->trouble = xstrdup("answers with something that cannot be read");
	}
	done(status);
}

static void ask_daemons(struct status *status, const char *machine)
{
	for (size_t i = 0; i < ARRAY_SIZE(daemons); i++) {
		struct question *question = xcalloc(1, sizeof(*question));
		_cleanup_free_ char *subject = subject_status(machine, daemons[i]);
		struct observed *observed = array_add(status->observed, status->n_observed);

		observed->machine = xstrdup(machine);
		observed->daemon = xstrdup(daemons[i]);
		*question = (struct question){ status, status->n_observed - 1 };
		status->pending++;
		bus_request(status->ctl->bus, subject, NULL, "{}", 2, ASK_USEC, on_said, question,
			    NULL);
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

/* NATS Services protocol: whoever serves says so. */
static void ask_services(struct status *status)
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
	_cleanup_(strv_freep) char **machines = snapshot_machines(snapshot);

	status->snapshot = snapshot;
	status->begun_usec = boot_now_usec();
	for (char **machine = machines; machine && *machine; machine++)
		ask_daemons(status, *machine);
	ask_services(status);
	ask_deploys(status);
	status->pending++;
	bus_ask(status->ctl->bus, SUBJECT_LEASE_LIST, status->ctl->machine, NULL, ASK_USEC,
		on_leases, status, NULL);
}

static void status_clear(struct status *status)
{
	for (size_t i = 0; i < status->n_deploys; i++)
		deploy_free(status->deploys[i]);
	free(status->deploys);
	for (size_t i = 0; i < status->n_observed; i++) {
		free(status->observed[i].machine);
		free(status->observed[i].daemon);
		free(status->observed[i].version);
		free(status->observed[i].trouble);
		json_decref(status->observed[i].said);
	}
	free(status->observed);
	free(status->deploys_trouble);
	free(status->leases_trouble);
	lease_list_free(status->leases);
	stream_follow_free(status->follow);
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
