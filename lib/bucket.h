/* Buckets: key-value on a stream (ADR-8), compare-and-set on revisions only. In the store. */
#ifndef PLOYZ_BUCKET_H
#define PLOYZ_BUCKET_H

#include "lib/stream.h"

/* The StreamConfig of a bucket with history 1, no age limit and no deletes; an own reference. */
json_t *bucket_config(const char *bucket, uint64_t max_bytes, int replicas);
/* As stream_last and stream_append on the key's subject; revision = sequence. */
void bucket_get(struct bus *bus, const char *bucket, const char *key, uint64_t timeout_usec,
		stream_entry_fn fn, void *userdata, struct bus_request **ret);
void bucket_put(struct bus *bus, const char *bucket, const char *key, const void *data, size_t size,
		uint64_t revision, uint64_t timeout_usec, stream_append_fn fn, void *userdata,
		struct bus_request **ret);
/* The key of an entry's subject; borrowed from it. */
const char *bucket_key(const char *subject);
/* A follower of all keys, last values first. */
struct stream_follow *bucket_watch(struct bus *bus, const char *bucket,
				   const struct stream_follow_ops *ops, void *userdata);

#endif
