/* Subjects: made from and matched against the patterns of subjects.def. */
#include "lib/subjects.h"

#include "lib/model/agent.h"
#include "lib/model/deploy.h"
#include "lib/model/lease.h"
#include "lib/model/machine.h"
#include "lib/model/namespace.h"
#include "lib/model/plan.h"
#include "lib/model/release.h"
#include "lib/model/route.h"
#include "lib/model/store.h"
#include "lib/str.h"

const struct subject subjects[SUBJECT_COUNT] = {
#define SUBJECT(id, pattern, kind, request, reply, owner, note) \
	[SUBJECT_##id] = { pattern, kind, &request##_schema, &reply##_schema, owner, note },
#include "lib/subjects.def"
#undef SUBJECT
};

char *subject_make(enum subject_id id, const char *a, const char *b)
{
	const char *values[2] = { a ? a : "all", b ? b : "all" };
	struct strbuf made = STRBUF_INIT;
	size_t n = 0;

	for (const char *p = subjects[id].pattern; *p; p++) {
		if (*p == '<' && n < ARRAY_SIZE(values)) {
			strbuf_puts(&made, values[n++]);
			p = strchr(p, '>');
		} else {
			strbuf_add(&made, p, 1);
		}
	}
	return strbuf_steal(&made);
}

bool subject_match(enum subject_id id, const char *subject, char **ret_a, char **ret_b)
{
	const char *pattern = subjects[id].pattern, *starts[2] = { NULL, NULL };
	size_t lengths[2] = { 0, 0 }, n = 0;

	while (*pattern) {
		if (*pattern == '<') {
			lengths[n] = strcspn(subject, ".");
			if (!lengths[n])
				return false;
			starts[n] = subject;
			subject += lengths[n++];
			pattern = strchr(pattern, '>') + 1;
		} else if (*pattern++ != *subject++) {
			return false;
		}
	}
	if (*subject)
		return false;
	if (ret_a)
		*ret_a = starts[0] ? xstrndup(starts[0], lengths[0]) : NULL;
	if (ret_b)
		*ret_b = starts[1] ? xstrndup(starts[1], lengths[1]) : NULL;
	return true;
}

char *subject_filter(enum subject_id id)
{
	return subject_make(id, "*", "*");
}

const char *subject_stream(enum subject_kind kind)
{
	switch (kind) {
	case SUBJECT_INTENT:
		return STREAM_INTENT;
	case SUBJECT_FACTS:
		return STREAM_FACTS;
	case SUBJECT_MANIFESTS:
		return STREAM_MANIFESTS;
	case SUBJECT_STATUS:
		return STREAM_STATUS;
	case SUBJECT_REQUEST:
	case SUBJECT_EVENT:
		return NULL;
	}
	return NULL;
}

const char *subject_verb(enum subject_id id)
{
	const char *p = subjects[id].pattern;

	/* ployz . v1 . <machine> . daemon . verb */
	for (int dots = 0; dots < 4; dots++)
		p = strchr(p, '.') + 1;
	return p;
}

char *subject_status(const char *machine, const char *daemon)
{
	return xasprintf("ployz.v1.%s.%s.status", machine, daemon);
}

char *subject_endpoints(const char *machine, const char *daemon)
{
	return xasprintf("ployz.v1.%s.%s.>", machine ? machine : "all", daemon);
}
