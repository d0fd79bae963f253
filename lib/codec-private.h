/* What codec.c and codec-encode.c share; nobody else includes it. */
#ifndef PLOYZ_CODEC_PRIVATE_H
#define PLOYZ_CODEC_PRIVATE_H

#include "lib/codec.h"

/* Where a keyed struct stands alone, its name goes by this key. */
#define KEY_OF_ITS_OWN "name"

/* A field's place in an object, and that of its count. */
static inline void *codec_member(const struct codec_field *field, const void *object)
{
	return (char *)object + field->offset;
}

static inline size_t *codec_count(const struct codec_field *field, const void *object)
{
	return (size_t *)((char *)object + field->count_offset);
}

#endif
