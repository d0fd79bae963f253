/* Subjects: subjects.def defines every subject; this file names the streams. */
#ifndef PLOYZ_SUBJECTS_H
#define PLOYZ_SUBJECTS_H

#include "lib/codec.h"

enum subject_kind {
	SUBJECT_REQUEST,   /* request/reply; <machine> first */
	SUBJECT_INTENT,	   /* stored in PLOYZ_INTENT */
	SUBJECT_FACTS,	   /* stored in PLOYZ_FACTS */
	SUBJECT_MANIFESTS, /* stored in PLOYZ_MANIFESTS */
	SUBJECT_STATUS,	   /* stored in PLOYZ_STATUS */
	SUBJECT_EVENT,	   /* published, not stored */
};

enum subject_id {
#define SUBJECT(id, pattern, kind, request, reply, owner, note) SUBJECT_##id,
#include "lib/subjects.def"
#undef SUBJECT
	SUBJECT_COUNT,
};

struct subject {
	const char *pattern;
	enum subject_kind kind;
	const struct codec_schema *request; /* requests: the request; others: the entry or event */
	const struct codec_schema *reply;   /* requests only */
	const char *owner;		    /* the daemon that answers, or the only writer */
	const char *note;
};
extern const struct subject subjects[SUBJECT_COUNT];

#define STREAM_INTENT "PLOYZ_INTENT"
#define STREAM_FACTS "PLOYZ_FACTS"
#define STREAM_MANIFESTS "PLOYZ_MANIFESTS"
#define STREAM_STATUS "PLOYZ_STATUS"
#define BUCKET_LEASES "PLOYZ_LEASES"
/* The domain of the store; a machine's local bus has its machine id as domain. */
#define STORE_DOMAIN "ployz"
#define INTENT_ALL "ployz.v1.intent.>"
#define INTENT_NAMESPACES "ployz.v1.intent.namespace.*"
#define FACTS_ALL "ployz.v1.facts.>"
#define MANIFESTS_ALL "ployz.v1.manifest.*"
#define STATUS_ALL "ployz.v1.status.>"

/* The subject with its <placeholders> filled in order by `a` and `b` (NULL where there are fewer; a
 * machine NULL becomes "all"). The caller owns it. */
char *subject_make(enum subject_id id, const char *a, const char *b);
/* Whether `subject` is one of `id`; fills the placeholders' values (owned by the caller) in order
 * when so. `ret_a` and `ret_b` may be NULL. */
bool subject_match(enum subject_id id, const char *subject, char **ret_a, char **ret_b);
/* The same with `*` for every placeholder: for filters and permissions. The caller owns it. */
char *subject_filter(enum subject_id id);
/* The stream that keeps this kind, or NULL. */
const char *subject_stream(enum subject_kind kind);
/* The verb of a request: `start`, `lease.show`. Borrowed from the table. */
const char *subject_verb(enum subject_id id);
/* The subject of a daemon's status, which every daemon answers with an object of its own. The
 * caller owns it. */
char *subject_status(const char *machine, const char *daemon);
/* Matches all requests to a daemon of a machine (NULL: of all). The caller owns it. */
char *subject_endpoints(const char *machine, const char *daemon);

#endif
