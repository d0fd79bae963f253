/* Buckets: key-value on a stream (ADR-8), compare-and-set on revisions only. In the store. */
#ifndef PLOYZ_BUCKET_H
#define PLOYZ_BUCKET_H

#include "lib/stream.h"

/* The stream of a bucket, the subject of a key in it, and the subject through which another domain
 * writes that key; owned by the caller. */
char *bucket_stream(const char *bucket);
char *bucket_subject(const char *bucket, const char *key);
char *bucket_write_subject(const char *bucket, const char *key);
/* Reads a key from the leader, as stream_last; its revision is the entry's sequence. */
void bucket_get(struct bus *bus, const char *bucket, const char *key, uint64_t timeout_usec,
		stream_entry_fn fn, void *userdata, struct bus_request **ret);
/* The key of an entry's subject; borrowed from it. */
const char *bucket_key(const char *subject);
/* A follower of all keys, last values first. */
struct stream_follow *bucket_watch(struct bus *bus, const char *bucket,
				   const struct stream_follow_ops *ops, void *userdata);

#endif
