/* Watermark: the sequences up to which a reader has applied the store. */
#ifndef PLOYZ_MODEL_WATERMARK_H
#define PLOYZ_MODEL_WATERMARK_H

#include "lib/codec.h"

struct watermark {
	int64_t generation; /* of the store; sequences of two generations are not compared */
	int64_t intent;	    /* last sequence of PLOYZ_INTENT */
	int64_t facts;	    /* last sequence of PLOYZ_FACTS */
};
DEFINE_MODEL(watermark);

/* Whether `applied` has reached every sequence of `wanted`. Always false between two generations.
 */
bool watermark_reached(const struct watermark *applied, const struct watermark *wanted);
/* Raises each sequence of `to` to that of `from` and sets its generation. */
void watermark_raise(struct watermark *to, const struct watermark *from);
/* `generation 1, intent 4711, facts 12`; owned by the caller. */
char *watermark_text(const struct watermark *watermark);

#endif
