/* Internals that codec.c and codec-encode.c share. */
#ifndef PLOYZ_CODEC_PRIVATE_H
#define PLOYZ_CODEC_PRIVATE_H

#include "lib/codec.h"

/* The key of a keyed struct's name where the struct is not in a map. */
#define KEY_OF_ITS_OWN "name"

/* Address of a field in an object, and of its count. */
static inline void *codec_member(const struct codec_field *field, const void *object)
{
	return (char *)object + field->offset;
}

static inline size_t *codec_count(const struct codec_field *field, const void *object)
{
	return (size_t *)((char *)object + field->count_offset);
}

#endif
