/* The founding: what has to be in the store before anybody can work. Each step asks, and is asked
 * again until the store has answered; what is there already stays as it is. */
#include "meshd/meshd.h"

static const struct {
	const char *words;
} steps[] = {
	[FOUNDING_INTENT] = { "making " STREAM_INTENT },
	[FOUNDING_STATUS] = { "making " STREAM_STATUS },
	[FOUNDING_LEASES] = { "making " BUCKET_LEASES },
	[FOUNDING_COPY] = { "making this machine's copy of the log" },
	[FOUNDING_RECORD] = { "reading this machine's record" },
	[FOUNDING_SUBNET] = { "claiming a subnet" },
	[FOUNDING_WRITE] = { "writing this machine's record" },
	[FOUNDING_REGION] = { "looking at the region" },
	[FOUNDING_DONE] = { "done" },
};

static void step(void *userdata);

static json_t *intent_config(void)
{
	/* Rollups of the instances' facts need the stream's own permission to purge: that nobody
	 * purges is in the users' permissions. */
	return json_pack("{s:s, s:[s], s:s, s:s, s:i, s:I, s:s, s:i, s:b, s:b}", "name",
			 STREAM_INTENT, "subjects", INTENT_ALL, "storage", "file", "retention",
			 "limits", "max_msgs_per_subject", INTENT_HISTORY, "max_bytes",
			 (json_int_t)INTENT_MAX_BYTES, "discard", "new", "num_replicas", 1,
			 "allow_rollup_hdrs", 1, "deny_delete", 1);
}

static json_t *status_config(void)
{
	return json_pack("{s:s, s:[s], s:s, s:s, s:I, s:I, s:s, s:i, s:b, s:b}", "name",
			 STREAM_STATUS, "subjects", STATUS_ALL, "storage", "file", "retention",
			 "limits", "max_age", (json_int_t)(STATUS_MAX_AGE_USEC * 1000), "max_bytes",
			 (json_int_t)STATUS_MAX_BYTES, "discard", "old", "num_replicas", 1,
			 "deny_delete", 1, "deny_purge", 1);
}

/* The copy has the store's name and sequence numbers, in a domain of its own. It has to allow
 * roll-ups too: a mirror that does not stalls at the first one (measured on 2.10.27). */
static json_t *copy_config(void)
{
	return json_pack("{s:s, s:s, s:b, s:s, s:i, s:i, s:{s:s, s:{s:s, s:s}}}", "name",
			 STREAM_INTENT, "storage", "file", "allow_rollup_hdrs", 1, "retention",
			 "limits", "max_msgs_per_subject", INTENT_HISTORY, "num_replicas", 1,
			 "mirror", "name", STREAM_INTENT, "external", "api",
			 "$JS." STORE_DOMAIN ".API", "deliver", "");
}

static json_t *step_config(enum founding_step which)
{
	switch (which) {
	case FOUNDING_INTENT:
		return intent_config();
	case FOUNDING_STATUS:
		return status_config();
	case FOUNDING_LEASES:
		return bucket_config(BUCKET_LEASES, LEASES_MAX_BYTES, 1);
	default:
		return copy_config();
	}
}

static const char *step_domain(const struct meshd *meshd)
{
	return meshd->step == FOUNDING_COPY ? meshd->machine : STORE_DOMAIN;
}

/* A stream that another version made stays as it is: changing it is an operator's decision. */
static void tell_difference(const json_t *wanted, const json_t *info)
{
	static const char *const keys[] = { "max_bytes", "max_msgs_per_subject", "discard",
					    "allow_rollup_hdrs" };
	const json_t *actual = json_object_get(info, "config");

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		json_t *is = json_object_get(actual, keys[i]),
		       *should = json_object_get(wanted, keys[i]);

		if (is && should && !json_is_boolean(is) && !json_equal(is, should))
			log_notice("%s was made with another %s than this version would; it stays",
				   json_string_value(json_object_get(wanted, "name")), keys[i]);
	}
}

static void on_made(const struct failure *failure, void *userdata)
{
	struct meshd *meshd = userdata;

	if (failure) {
		founding_again(meshd, failure);
		return;
	}
	log_info("%s: done", steps[meshd->step].words);
	founding_go(meshd, meshd->step + 1);
}

static void on_info(const struct failure *failure, const json_t *info, void *userdata)
{
	struct meshd *meshd = userdata;
	_cleanup_json_ json_t *config = step_config(meshd->step);

	meshd->request = NULL;
	if (!failure) {
		tell_difference(config, info);
		founding_go(meshd, meshd->step + 1);
	} else if (failure->code == FAILURE_NOT_FOUND) {
		stream_ensure(meshd->bus, step_domain(meshd), config, on_made, meshd);
	} else {
		founding_again(meshd, failure);
	}
}

static void step(void *userdata)
{
	struct meshd *meshd = userdata;
	_cleanup_json_ json_t *config = NULL;

	if (meshd->step >= FOUNDING_RECORD) {
		records_step(meshd);
		return;
	}
	config = step_config(meshd->step);
	stream_info(meshd->bus, step_domain(meshd),
		    json_string_value(json_object_get(config, "name")), STORE_ASK_USEC, on_info,
		    meshd, &meshd->request);
}

void founding_go(struct meshd *meshd, enum founding_step to)
{
	if (meshd->silent_said)
		log_notice("the store answers");
	meshd->silent_since = 0;
	meshd->silent_said = false;
	meshd->retry_usec = STORE_RETRY_USEC;
	meshd->step = to;
	if (to == FOUNDING_DONE) {
		meshd->ready(meshd);
		return;
	}
	daemon_status(meshd->daemon, "%s", steps[to].words);
	timer_arm(meshd->retry, 0);
}

void founding_again(struct meshd *meshd, const struct failure *failure)
{
	bool silent = failure->code == FAILURE_NO_QUORUM || failure->code == FAILURE_UNREACHABLE ||
		      failure->code == FAILURE_TIMEOUT;
	uint64_t now = boot_now_usec();

	if (!meshd->silent_since)
		meshd->silent_since = now;
	/* At a start the store is a moment behind; what it refuses in so many words is told at
	 * once. */
	if (!meshd->silent_said && (!silent || now - meshd->silent_since >= STORE_SILENT_USEC)) {
		meshd->silent_said = true;
		log_warning("%s: %s; trying on%s%s", steps[meshd->step].words, failure->message,
			    failure->hint ? ". " : "", failure->hint ? failure->hint : "");
		daemon_status(meshd->daemon, "%s: %s", steps[meshd->step].words, failure->message);
	}
	timer_arm(meshd->retry, meshd->retry_usec);
	meshd->retry_usec = MIN2(meshd->retry_usec * 2, STORE_RETRY_MAX_USEC);
}

void founding_start(struct meshd *meshd)
{
	meshd->retry = timer_new(meshd->loop, step, meshd);
	founding_go(meshd, FOUNDING_INTENT);
}

const char *founding_words(const struct meshd *meshd)
{
	return steps[meshd->step].words;
}

void founding_free(struct meshd *meshd)
{
	bus_request_cancelp(&meshd->request);
	timer_free(steal(meshd->retry));
	machine_free(steal(meshd->record));
	machine_free(steal(meshd->wanted));
	free(steal(meshd->wanted_why));
}
