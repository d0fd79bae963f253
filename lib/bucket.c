#include "lib/bucket.h"

#include "lib/str.h"

/* Where a bucket's keys are kept (ADR-8), and where a client of another domain writes them: `$KV.>`
 * itself does not cross a leaf link, its alias under the domain's API does. */
#define BUCKET_STREAM "KV_%s"
#define BUCKET_SUBJECT "$KV.%s.%s"
#define BUCKET_WRITE "$JS." STORE_DOMAIN ".API.$KV.%s.%s"

json_t *bucket_config(const char *bucket, uint64_t max_bytes, int replicas)
{
	_cleanup_free_ char *stream = xasprintf(BUCKET_STREAM, bucket);
	_cleanup_free_ char *subject = xasprintf(BUCKET_SUBJECT, bucket, ">");

	return json_pack("{s:s, s:[s], s:i, s:I, s:s, s:s, s:i, s:b, s:b, s:b, s:b, s:s}", "name",
			 stream, "subjects", subject, "max_msgs_per_subject", 1, "max_bytes",
			 (json_int_t)max_bytes, "discard", "new", "storage", "file", "num_replicas",
			 replicas, "deny_delete", 1, "deny_purge", 1, "allow_rollup_hdrs", 0,
			 "allow_direct", 0, "retention", "limits");
}

void bucket_get(struct bus *bus, const char *bucket, const char *key, uint64_t timeout_usec,
		stream_entry_fn fn, void *userdata, struct bus_request **ret)
{
	_cleanup_free_ char *stream = xasprintf(BUCKET_STREAM, bucket);
	_cleanup_free_ char *subject = xasprintf(BUCKET_SUBJECT, bucket, key);

	stream_last(bus, STORE_DOMAIN, stream, subject, timeout_usec, fn, userdata, ret);
}

void bucket_put(struct bus *bus, const char *bucket, const char *key, const void *data, size_t size,
		uint64_t revision, uint64_t timeout_usec, stream_append_fn fn, void *userdata,
		struct bus_request **ret)
{
	_cleanup_free_ char *subject = xasprintf(BUCKET_WRITE, bucket, key);
	const struct stream_append append = {
		.subject = subject,
		.data = data,
		.size = size,
		.expected = revision,
		.timeout_usec = timeout_usec,
	};

	stream_append(bus, &append, fn, userdata, ret);
}

const char *bucket_key(const char *subject)
{
	const char *bucket = strchr(subject, '.'), *key = bucket ? strchr(bucket + 1, '.') : NULL;

	return key ? key + 1 : subject;
}

struct stream_follow *bucket_watch(struct bus *bus, const char *bucket,
				   const struct stream_follow_ops *ops, void *userdata)
{
	_cleanup_free_ char *stream = xasprintf(BUCKET_STREAM, bucket);
	const struct stream_follow_options options = {
		.domain = STORE_DOMAIN,
		.stream = stream,
		.from = STREAM_FROM_LAST_PER_SUBJECT,
	};

	return stream_follow_new(bus, &options, ops, userdata);
}
