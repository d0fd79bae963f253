/* Internals that the stream*.c files share. */
#ifndef PLOYZ_STREAM_PRIVATE_H
#define PLOYZ_STREAM_PRIVATE_H

#include "lib/bus-private.h"
#include "lib/stream.h"

/* `$JS.<domain>.API.<what>[.<stream>[.<more>]]`; owned by the caller. */
char *stream_api(const char *domain, const char *what, const char *stream, const char *more);
/* Fills the failure of a request that the store did not answer; returns its errno. */
int stream_transport_failure(int error, const char *what, struct failure *failure);
/* 0 when an answer of JetStream's API holds no error; otherwise its err_code with `failure` set. */
int stream_api_error(const json_t *json, const char *what, struct failure *failure);

#define STREAM_ALL_SUBJECTS ">"

/* --- stream-consumer.c */

struct stream_consumer {
	const char *name, *inbox;
	char **filters; /* NULL: all */
	bool last_per_subject;
	uint64_t start; /* sequence; 0: from the beginning */
	uint64_t heartbeat_usec;
	bool headers_only;
};
/* JetStream's ConsumerConfig; an own reference. */
json_t *stream_consumer_config(const struct stream_consumer *consumer);
/* Sequences and time from a delivery's reply subject. 0 or -EBADMSG. */
int stream_delivery_parse(const char *reply, uint64_t *sequence, uint64_t *consumer_sequence,
			  uint64_t *time_nsec);

#endif
