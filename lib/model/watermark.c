#include "lib/model/watermark.h"

#include "lib/str.h"

static const struct codec_field watermark_fields[] = {
	FIELD(struct watermark, generation, CODEC_INT, .note = "of the store"),
	FIELD(struct watermark, intent, CODEC_INT, .note = "last sequence of PLOYZ_INTENT"),
	FIELD(struct watermark, facts, CODEC_INT, .note = "last sequence of PLOYZ_FACTS"),
	FIELD_END,
};
const struct codec_schema watermark_schema = {
	.name = "watermark",
	.size = sizeof(struct watermark),
	.fields = watermark_fields,
};

bool watermark_reached(const struct watermark *applied, const struct watermark *wanted)
{
	return applied->generation == wanted->generation && applied->intent >= wanted->intent &&
	       applied->facts >= wanted->facts;
}

void watermark_raise(struct watermark *to, const struct watermark *from)
{
	to->generation = from->generation;
	to->intent = MAX2(to->intent, from->intent);
	to->facts = MAX2(to->facts, from->facts);
}

char *watermark_text(const struct watermark *watermark)
{
	return xasprintf("generation %lld, intent %lld, facts %lld",
			 (long long)watermark->generation, (long long)watermark->intent,
			 (long long)watermark->facts);
}
