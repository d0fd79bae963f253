/* Deploy records: the last entry of each deploy in PLOYZ_STATUS, read once. */
#include "ployzctl/ployzctl.h"
#include "ployzctl/pure.h"

struct records_read {
	struct records records;
	records_fn fn;
	void *userdata;
	struct stream_follow *follow;
};

bool rollout_listed(const json_t *status, const char *deploy)
{
	const json_t *list = json_object_get(status, "rollouts"), *rollout;
	size_t i;

	json_array_foreach (list, i, rollout)
		if (streq(json_string_value(json_object_get(rollout, "deploy")), deploy))
			return true;
	return false;
}

bool record_pending(const struct records *records, const struct deploy *record)
{
	if (record->phase != DEPLOY_CLEANUP_PENDING)
		return false;
	for (size_t i = 0; i < records->count; i++)
		if (streq(records->items[i]->ns, record->ns) &&
		    strv_contains(records->items[i]->supersedes, record->deploy))
			return false;
	return true;
}

static void on_entry(const struct stream_entry *entry, void *userdata)
{
	struct records_read *read = userdata;
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;
	void *record = NULL;

	if (codec_parse(&deploy_schema, entry->data, entry->size, CODEC_LENIENT, &record,
			&failure) < 0)
		strv_push(&read->records.errors,
			  xasprintf("cannot decode entry %llu on %s: %s%s%s",
				    (unsigned long long)entry->sequence, entry->subject,
				    failure.path ? failure.path : "", failure.path ? " " : "",
				    failure.message));
	else
		*array_add(read->records.items, read->records.count) = record;
}

static void on_live(_unused_ uint64_t sequence, void *userdata)
{
	struct records_read *read = userdata;

	read->fn(NULL, &read->records, read->userdata);
}

static void on_lost(const struct failure *why, void *userdata)
{
	struct records_read *read = userdata;

	read->fn(why, &read->records, read->userdata);
}

struct records_read *records_read(struct ployzctl *ctl, const char *ns, const char *deploy,
				  records_fn fn, void *userdata)
{
	static const struct stream_follow_ops ops = { .entry = on_entry,
						      .live = on_live,
						      .lost = on_lost };
	struct records_read *read = xcalloc(1, sizeof(*read));
	_cleanup_free_ char *filter =
		subject_make(SUBJECT_DEPLOY_STATUS, ns ? ns : "*", deploy ? deploy : "*");
	const char *const filters[] = { filter, NULL };
	const struct stream_follow_options options = {
		.domain = STORE_DOMAIN,
		.stream = STREAM_STATUS,
		.filters = filters,
		.from = STREAM_FROM_LAST_PER_SUBJECT,
		.once = true,
	};

	read->fn = fn;
	read->userdata = userdata;
	read->follow = stream_follow_new(ctl->bus, &options, &ops, read);
	return read;
}

void records_read_free(struct records_read *read)
{
	if (!read)
		return;
	stream_follow_free(read->follow);
	for (size_t i = 0; i < read->records.count; i++)
		deploy_free(read->records.items[i]);
	free(read->records.items);
	strv_free(read->records.errors);
	free(read);
}
