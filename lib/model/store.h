/* Store: requests to meshd about the streams and its answers. */
#ifndef PLOYZ_MODEL_STORE_H
#define PLOYZ_MODEL_STORE_H

#include "lib/codec.h"

struct stream_usage {
	char *stream;
	uint64_t bytes, max_bytes;
	int64_t messages, last_sequence;
	int64_t replicas;
	bool alarm; /* 80 % of its limit or more */
};
struct namespace_usage {
	char *ns;
	uint64_t bytes;	  /* of all streams */
	int64_t messages; /* the same */
	int64_t routes, slots;
};
struct store_usage { /* meshd.store.usage */
	int64_t generation;
	struct stream_usage *streams;
	size_t n_streams;
	struct namespace_usage *namespaces;
	size_t n_namespaces;
};
DEFINE_MODEL(store_usage);

struct store_compact_request { /* meshd.store.compact */
	int64_t keep;	       /* entries per subject that stay, 1 to the stream's own limit */
	char *operator_;
};
struct store_compacted {
	uint64_t bytes_before, bytes_after;
	int64_t messages_before, messages_after;
};
DEFINE_MODEL(store_compact_request);
DEFINE_MODEL(store_compacted);

struct store_accept_request { /* meshd.store.accept: readers drop the entries that the store lacks
			       */
	char *operator_;
	char *why;
	bool force; /* also a store in which meshd sees no error */
};
struct store_accepted {
	int64_t generation; /* the new one */
};
DEFINE_MODEL(store_accept_request);
DEFINE_MODEL(store_accepted);

#endif
