/* Objects of a schema from bytes: each field is absent, right, at the end of its range or beyond,
 * or of another type, so that an input reaches what lies behind the decoding far more often than
 * text does. */
#ifndef PLOYZ_TESTS_FUZZ_GENERATE_H
#define PLOYZ_TESTS_FUZZ_GENERATE_H

#include "lib/codec.h"
#include "tests/fuzz/fuzz.h"

/* A new reference; the same bytes make the same object. */
json_t *generate(struct cursor *cursor, const struct codec_schema *schema);

#endif
