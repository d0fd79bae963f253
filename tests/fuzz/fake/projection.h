/* Replaces lib/projection.c: the target itself hands entries over. */
#ifndef PLOYZ_TESTS_FUZZ_FAKE_PROJECTION_H
#define PLOYZ_TESTS_FUZZ_FAKE_PROJECTION_H

#include "lib/projection.h"
#include "tests/fuzz/fuzz.h"

struct projection {
	const struct projection_ops *ops;
	void *userdata;
	struct watermark applied; /* the target sets it before it calls `settled` */
};

struct projection *projection_new(_unused_ struct bus *bus,
				  _unused_ const struct projection_options *options,
				  const struct projection_ops *ops, void *userdata)
{
	struct projection *projection = xcalloc(1, sizeof(*projection));

	*projection = (struct projection){ .ops = ops, .userdata = userdata };
	return projection;
}

void projection_free(struct projection *projection)
{
	free(projection);
}

const struct watermark *projection_applied(const struct projection *projection)
{
	return &projection->applied;
}

char *projection_seen(_unused_ const struct projection *projection)
{
	return xstrdup("{}");
}

bool projection_is_live(_unused_ const struct projection *projection)
{
	return true;
}

uint64_t projection_stale_since(_unused_ const struct projection *projection)
{
	return 0;
}

const char *projection_stale_reason(_unused_ const struct projection *projection)
{
	return NULL;
}

void projection_expect(_unused_ struct projection *projection,
		       _unused_ const struct watermark *wanted)
{
}

json_t *projection_status(_unused_ const struct projection *projection)
{
	return json_object();
}

#endif
