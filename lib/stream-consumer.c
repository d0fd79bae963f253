/* Consumer: the configuration of a follower's consumer, and the place that a delivery names (pure).
 */
#include <errno.h>

#include "lib/str.h"
#include "lib/stream-private.h"

#define INACTIVE_USEC 60000000ull /* the server deletes a consumer without a subscriber */

json_t *stream_consumer_config(const struct stream_consumer *c)
{
	json_t *config =
		json_pack("{s:s, s:s, s:s, s:s, s:b, s:I, s:b, s:i, s:I, s:i}", "name", c->name,
			  "deliver_subject", c->inbox, "ack_policy", "none", "replay_policy",
			  "instant", "flow_control", 1, "idle_heartbeat",
			  (json_int_t)c->heartbeat_usec * 1000, "mem_storage", 1, "num_replicas", 1,
			  "inactive_threshold", (json_int_t)INACTIVE_USEC * 1000, "max_deliver", 1);
	const char *policy = "all";
	json_t *filters;

	if (c->start) {
		policy = "by_start_sequence";
		json_object_set_new(config, "opt_start_seq", json_integer((json_int_t)c->start));
	} else if (c->last_per_subject) {
		policy = "last_per_subject";
	}
	json_object_set_new(config, "deliver_policy", json_string(policy));
	if (c->headers_only)
		json_object_set_new(config, "headers_only", json_true());
	if (strv_count(c->filters) > 1) {
		filters = json_array();
		for (size_t i = 0; c->filters[i]; i++)
			json_array_append_new(filters, json_string(c->filters[i]));
		json_object_set_new(config, "filter_subjects", filters);
	} else if (c->filters || c->last_per_subject) {
		json_object_set_new(config, "filter_subject",
				    json_string(c->filters ? c->filters[0] : STREAM_ALL_SUBJECTS));
	}
	return config;
}

/* $JS.ACK.<stream>.<consumer>.<deliveries>.<sequence>.<consumer sequence>.<time>.<pending>, or with
 * <domain>.<account> before the stream and a token at the end (ADR-15). */
int stream_delivery_parse(const char *reply, uint64_t *sequence, uint64_t *consumer_sequence,
			  uint64_t *time_nsec)
{
	_cleanup_(strv_freep) char **words = strv_split(reply ? reply : "", ".");
	size_t n = strv_count(words), base = n >= 11 ? 6 : 4;
	int64_t values[3];

	if (n < 9 || !streq(words[0], "$JS") || !streq(words[1], "ACK"))
		return -EBADMSG;
	for (size_t i = 0; i < ARRAY_SIZE(values); i++)
		if (int_parse(words[base + 1 + i], 0, INT64_MAX, &values[i]) < 0)
			return -EBADMSG;
	*sequence = (uint64_t)values[0];
	*consumer_sequence = (uint64_t)values[1];
	*time_nsec = (uint64_t)values[2];
	return 0;
}
