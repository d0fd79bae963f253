#include "lib/streams.h"

#include <stdlib.h>

#include "lib/str.h"
#include "lib/subjects.h"

#define DAY_USEC (24ull * 3600 * 1000000)

const struct streams_row streams_rows[STREAMS_COUNT] = {
	[STREAMS_INTENT] = { STREAM_INTENT, INTENT_ALL, 256, 256ull << 20, 0, false, true },
	[STREAMS_FACTS] = { STREAM_FACTS, FACTS_ALL, 1, 128ull << 20, 0, false, true },
	[STREAMS_MANIFESTS] = { STREAM_MANIFESTS, MANIFESTS_ALL, 64, 256ull << 20, 0, false, true },
	[STREAMS_STATUS] = { STREAM_STATUS, STATUS_ALL, 0, 128ull << 20, 90 * DAY_USEC, true,
			     false },
	[STREAMS_LEASES] = { "KV_" BUCKET_LEASES, "$KV." BUCKET_LEASES ".>", 1, 16ull << 20, 0,
			     false, false },
};

/* Settings that store and mirror have in common. Rollup headers are forbidden: permissions do not
 * cover headers, and `Nats-Rollup: all` on one subject would erase a whole stream. */
static json_t *common(const struct streams_row *row)
{
	json_t *config = json_pack("{s:s, s:s, s:s, s:b, s:b, s:b}", "name", row->name, "storage",
				   "file", "retention", "limits", "deny_delete", 1, "deny_purge", 1,
				   "allow_rollup_hdrs", 0);

	if (row->per_subject)
		json_object_set_new(config, "max_msgs_per_subject", json_integer(row->per_subject));
	return config;
}

json_t *streams_config(enum streams_id id, int replicas, int64_t generation, const char *store)
{
	const struct streams_row *row = &streams_rows[id];
	json_t *config = common(row);

	json_object_set_new(config, "subjects", json_pack("[s]", row->subject));
	json_object_set_new(config, "max_bytes", json_integer((json_int_t)row->max_bytes));
	json_object_set_new(config, "discard", json_string(row->discard_old ? "old" : "new"));
	json_object_set_new(config, "num_replicas", json_integer(replicas));
	json_object_set_new(config, "allow_direct", json_false());
	if (row->max_age_usec)
		json_object_set_new(config, "max_age",
				    json_integer((json_int_t)(row->max_age_usec * 1000)));
	streams_mark(config, generation, store);
	return config;
}

void streams_mark(json_t *config, int64_t generation, const char *store)
{
	_cleanup_free_ char *number = xasprintf("%lld", (long long)generation);
	json_t *metadata = json_object_get(config, "metadata");

	if (!metadata) {
		metadata = json_object();
		json_object_set_new(config, "metadata", metadata);
	}
	json_object_set_new(metadata, STREAMS_GENERATION, json_string(number));
	json_object_set_new(metadata, STREAMS_STORE, json_string(store));
}

json_t *streams_mirror_config(enum streams_id id)
{
	const struct streams_row *row = &streams_rows[id];
	json_t *config = common(row);

	json_object_set_new(config, "num_replicas", json_integer(1));
	json_object_set_new(config, "mirror",
			    json_pack("{s:s, s:{s:s, s:s}}", "name", row->name, "external", "api",
				      "$JS." STORE_DOMAIN ".API", "deliver", ""));
	return config;
}

static const char *metadata_get(const json_t *info, const char *key)
{
	const json_t *config = json_object_get(info, "config");

	return json_string_value(json_object_get(json_object_get(config, "metadata"), key));
}

int64_t streams_generation(const json_t *info)
{
	const char *text = metadata_get(info, STREAMS_GENERATION);
	int64_t generation;

	return text && int_parse(text, 1, INT64_MAX, &generation) == 0 ? generation : 0;
}

const char *streams_store(const json_t *info)
{
	return metadata_get(info, STREAMS_STORE);
}
