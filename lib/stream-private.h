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

#endif
