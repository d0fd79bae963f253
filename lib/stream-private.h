/* What stream.c and stream-follow.c share; nobody else includes it. */
#ifndef PLOYZ_STREAM_PRIVATE_H
#define PLOYZ_STREAM_PRIVATE_H

#include "lib/bus-private.h"
#include "lib/stream.h"

/* `$JS.<domain>.API.<what>[.<stream>[.<more>]]`; owned by the caller. */
char *stream_api(const char *domain, const char *what, const char *stream, const char *more);
/* The words for a request that the store did not answer; gives the failure's errno. */
int stream_transport_failure(int error, const char *what, struct failure *failure);
/* 0 when an answer of JetStream's API holds no error; otherwise its err_code with `failure` set. */
int stream_api_error(const json_t *json, const char *what, struct failure *failure);

#endif
