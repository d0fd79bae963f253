/* Streams: the configuration of each stream and bucket of the store, and of a machine's local
 * mirrors (pure). `init` and `dev` create them once; a migration restores them. */
#ifndef PLOYZ_STREAMS_H
#define PLOYZ_STREAMS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum streams_id {
	STREAMS_INTENT,
	STREAMS_FACTS,
	STREAMS_MANIFESTS,
	STREAMS_STATUS,
	STREAMS_LEASES,
	STREAMS_COUNT,
};
struct streams_row {
	const char *name;    /* name of the stream; a bucket's begins with KV_ */
	const char *subject; /* subject filter */
	int64_t per_subject; /* entries kept per subject; 0: no limit */
	uint64_t max_bytes;
	uint64_t max_age_usec; /* 0: none */
	bool discard_old;      /* when full: drop the oldest; otherwise refuse the newest */
	bool mirrored;	       /* every machine has a local mirror */
};
extern const struct streams_row streams_rows[STREAMS_COUNT];

/* Metadata keys of a stream's configuration (nats-server 2.10: StreamConfig.metadata). */
#define STREAMS_GENERATION "ployz.generation" /* a decimal number */
#define STREAMS_STORE "ployz.store"	      /* random id of this creation of the store */

/* JetStream's StreamConfig; a new reference. */
json_t *streams_config(enum streams_id id, int replicas, int64_t generation, const char *store);
/* The StreamConfig of a machine's local mirror of it. */
json_t *streams_mirror_config(enum streams_id id);
/* Sets the metadata of a StreamConfig, as streams_config does; a local mirror has those of the
 * store that it was created from. Other keys of the metadata stay. */
void streams_mark(json_t *config, int64_t generation, const char *store);
/* Reads them from a STREAM.INFO answer: the generation (0: none) and the store's id (NULL: none;
 * borrowed from `info`). */
int64_t streams_generation(const json_t *info);
const char *streams_store(const json_t *info);

#endif
