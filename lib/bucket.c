/* Buckets: where a bucket's keys are kept (ADR-8), and where a client of another domain writes
 * them:
 * `$KV.>` does not cross a leaf link, its alias under the domain's API does. */
#include "lib/bucket.h"

#include "lib/str.h"

char *bucket_stream(const char *bucket)
{
	return xasprintf("KV_%s", bucket);
}

char *bucket_subject(const char *bucket, const char *key)
{
	return xasprintf("$KV.%s.%s", bucket, key);
}

char *bucket_write_subject(const char *bucket, const char *key)
{
	return xasprintf("$JS." STORE_DOMAIN ".API.$KV.%s.%s", bucket, key);
}

void bucket_get(struct bus *bus, const char *bucket, const char *key, uint64_t timeout_usec,
		stream_entry_fn fn, void *userdata, struct bus_request **ret)
{
	_cleanup_free_ char *stream = bucket_stream(bucket);
	_cleanup_free_ char *subject = bucket_subject(bucket, key);

	stream_last(bus, STORE_DOMAIN, stream, subject, timeout_usec, fn, userdata, ret);
}

const char *bucket_key(const char *subject)
{
	const char *bucket = strchr(subject, '.'), *key = bucket ? strchr(bucket + 1, '.') : NULL;

	return key ? key + 1 : subject;
}

struct stream_follow *bucket_watch(struct bus *bus, const char *bucket,
				   const struct stream_follow_ops *ops, void *userdata)
{
	_cleanup_free_ char *stream = bucket_stream(bucket);
	const struct stream_follow_options options = {
		.domain = STORE_DOMAIN,
		.stream = stream,
		.from = STREAM_FROM_LAST_PER_SUBJECT,
	};

	return stream_follow_new(bus, &options, ops, userdata);
}
