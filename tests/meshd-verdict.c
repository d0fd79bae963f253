/* What the streams, the marker and the local mirrors say about the store: tables. */
#include "meshd/meshd.h"
#include "tests/tap.h"

static const char *const names[STREAMS_COUNT] = { "intent", "facts", "manifests", "status",
						  "leases" };

/* `STORE:GENERATION:LAST[@TIME]`, `-` (absent) or `?` (no answer). */
static void set_stream(struct polled_stream *stream, const char *text)
{
	_cleanup_(strv_freep) char **parts = strv_split(text, ":@");

	free(stream->store);
	*stream = (struct polled_stream){ .result = POLL_ABSENT };
	if (streq(text, "-"))
		return;
	stream->result = streq(text, "?") ? POLL_UNANSWERED : POLL_PRESENT;
	if (stream->result == POLL_UNANSWERED)
		return;
	stream->store = streq(parts[0], "none") ? NULL : xstrdup(parts[0]);
	stream->generation = strtol(parts[1], NULL, 10);
	stream->last_sequence = strtol(parts[2], NULL, 10);
	stream->last_time_usec = parts[3] ? strtol(parts[3], NULL, 10) : 0;
	stream->messages = stream->last_time_usec ? 1 : 0;
}

/* `all=…` every stream of the store, then single ones by name; `m.NAME=…` a local mirror;
 * `marked=SEQUENCE@TIME`. */
static struct poll *make_poll(const char *text)
{
	_cleanup_(strv_freep) char **words = strv_split(text, " ");
	struct poll *poll = xcalloc(1, sizeof(*poll));

	for (size_t i = 0; i < STREAMS_COUNT; i++) {
		set_stream(&poll->store[i], "-");
		set_stream(&poll->mirrors[i], "-");
	}
	for (char **word = words; word && *word; word++) {
		char *value = strchr(*word, '=') + 1, *at = strchr(value, '@');
		const char *name = *word;
		struct polled_stream *streams = poll->store;

		value[-1] = '\0';
		if (streq(name, "marked")) {
			poll->marked.sequence = strtol(value, NULL, 10);
			poll->marked.time_usec = strtol(at + 1, NULL, 10);
			continue;
		}
		if (str_starts(name, "m.")) {
			streams = poll->mirrors;
			name += 2;
		}
		for (size_t i = 0; i < STREAMS_COUNT; i++)
			if (streq(name, "all") || streq(name, names[i]))
				set_stream(&streams[i], value);
	}
	return poll;
}

/* `STORE:GENERATION`, then `NAME=SEQUENCE@TIME`; NULL: no marker. */
static struct marker *make_marker(const char *text)
{
	_cleanup_(strv_freep) char **words = strv_split(text ? text : "", " ");
	struct marker *marker;
	char *colon;

	if (!text)
		return NULL;
	marker = codec_new(&marker_schema);
	colon = strchr(words[0], ':');
	marker->store = xstrndup(words[0], (size_t)(colon - words[0]));
	marker->generation = strtol(colon + 1, NULL, 10);
	marker->since = xstrdup("then");
	for (char **word = words + 1; *word; word++) {
		char *value = strchr(*word, '='), *at = strchr(*word, '@');

		*value++ = '\0';
		for (size_t i = 0; i < STREAMS_COUNT; i++)
			if (streq(*word, names[i]))
				marker->seen[i] = (struct seen){
					.sequence = strtol(value, NULL, 10),
					.time_usec = at ? strtol(at + 1, NULL, 10) : 0,
				};
	}
	return marker;
}

static struct init_request *make_request(const char *store)
{
	struct init_request *request;

	if (!store)
		return NULL;
	request = codec_new(&init_request_schema);
	request->cluster = xstrdup("prod");
	request->store = xstrdup(store);
	return request;
}

static const struct {
	const char *name, *marker, *request, *poll;
	enum store_state state;
	enum streams_id stream;
	int64_t seen, is;
} rows[] = {
	/* Nothing is known. */
	{ "no streams, no request: waits", NULL, NULL, "", STORE_UNINITIALISED, 0, 0, 0 },
	{ "some streams: not whole yet", NULL, NULL, "all=s:1:0 status=-", STORE_UNINITIALISED,
	  STREAMS_STATUS, 0, 0 },
	{ "a whole store is taken", NULL, NULL, "all=s:1:7@3", STORE_TAKE, 0, 0, 0 },
	{ "streams without metadata", NULL, NULL, "all=none:0:7@3", STORE_OTHER, 0, 0, 0 },
	{ "a stream of another store among them", NULL, NULL, "all=s:1:7 leases=t:1:7", STORE_OTHER,
	  STREAMS_LEASES, 0, 0 },
	{ "of several generations", NULL, NULL, "all=s:1:7 facts=s:2:7", STORE_MIXED, STREAMS_FACTS,
	  1, 2 },
	{ "one stream does not answer", NULL, NULL, "all=s:1:7 facts=?", STORE_UNREACHABLE,
	  STREAMS_FACTS, 0, 0 },
	/* A request. */
	{ "requested: created", NULL, "s", "", STORE_CREATE, STREAMS_INTENT, 0, 0 },
	{ "half of them after a crash: the rest", NULL, "s", "intent=s:1:0 facts=s:1:0",
	  STORE_CREATE, STREAMS_MANIFESTS, 0, 0 },
	{ "all of them: taken", NULL, "s", "all=s:1:0", STORE_TAKE, 0, 0, 0 },
	{ "all of them, with mirrors, before the marker", NULL, "s", "all=s:1:0 m.intent=s:1:0",
	  STORE_TAKE, 0, 0, 0 },
	{ "another store is there", NULL, "s", "all=t:1:9", STORE_FOREIGN, STREAMS_INTENT, 0, 0 },
	{ "a part of another store is there", NULL, "s", "status=t:1:9", STORE_FOREIGN,
	  STREAMS_STATUS, 0, 0 },
	{ "unreachable: nothing is created", NULL, "s", "all=- leases=?", STORE_UNREACHABLE,
	  STREAMS_LEASES, 0, 0 },
	{ "mirrors of another store: nothing is created", NULL, "s", "m.intent=t:1:9",
	  STORE_MISSING, STREAMS_INTENT, 0, 0 },
	{ "a marker: the request is over", "s:1", "s", "", STORE_MISSING, STREAMS_INTENT, 0, 0 },
	/* A marker. */
	{ "as it was", "s:1 intent=7@3", NULL, "all=s:1:0 intent=s:1:7@3", STORE_GOOD, 0, 0, 0 },
	{ "grown", "s:1 intent=7@3", NULL, "all=s:1:0 intent=s:1:9@5 marked=7@3", STORE_GOOD, 0, 0,
	  0 },
	{ "grown, the marked entry dropped", "s:1 intent=7@3", NULL, "all=s:1:0 intent=s:1:9@5",
	  STORE_GOOD, 0, 0, 0 },
	{ "empty", "s:1 intent=7@3", NULL, "", STORE_MISSING, STREAMS_INTENT, 0, 0 },
	{ "one stream missing", "s:1", NULL, "all=s:1:0 facts=-", STORE_MISSING, STREAMS_FACTS, 0,
	  0 },
	{ "created anew by another", "s:1 intent=7@3", NULL, "all=t:1:0", STORE_OTHER,
	  STREAMS_INTENT, 0, 0 },
	{ "another store with a higher generation", "s:1", NULL, "all=t:9:0", STORE_OTHER,
	  STREAMS_INTENT, 0, 0 },
	{ "one stream created anew by another", "s:1", NULL, "all=s:1:0 leases=t:1:0", STORE_OTHER,
	  STREAMS_LEASES, 0, 0 },
	{ "a lower generation", "s:4", NULL, "all=s:3:90@9", STORE_OLDER, 0, 4, 3 },
	{ "an interrupted accept", "s:1", NULL, "all=s:1:0 facts=s:2:0", STORE_MIXED, STREAMS_FACTS,
	  1, 2 },
	{ "a higher generation is taken, whatever it holds", "s:1 intent=7@3", NULL, "all=s:2:0",
	  STORE_TAKE, 0, 1, 2 },
	{ "intent is behind", "s:1 intent=7@3", NULL, "all=s:1:0 intent=s:1:6@2", STORE_BEHIND,
	  STREAMS_INTENT, 7, 6 },
	{ "facts are behind", "s:1 facts=70@3", NULL, "all=s:1:0 facts=s:1:69@2", STORE_BEHIND,
	  STREAMS_FACTS, 70, 69 },
	{ "leases are behind", "s:1 leases=2@3", NULL, "all=s:1:0 leases=s:1:1@2", STORE_BEHIND,
	  STREAMS_LEASES, 2, 1 },
	{ "another last entry", "s:1 intent=7@3", NULL, "all=s:1:0 intent=s:1:7@4", STORE_DIVERGED,
	  STREAMS_INTENT, 7, 7 },
	{ "another last entry of manifests", "s:1 manifests=7@3", NULL,
	  "all=s:1:0 manifests=s:1:7@4", STORE_DIVERGED, STREAMS_MANIFESTS, 7, 7 },
	{ "all its entries have expired", "s:1 status=7@3", NULL, "all=s:1:0 status=s:1:7",
	  STORE_GOOD, 0, 0, 0 },
	{ "reverted, and grown past what was seen", "s:1 intent=7@3", NULL,
	  "all=s:1:0 intent=s:1:9@5 marked=7@4", STORE_DIVERGED, STREAMS_INTENT, 7, 7 },
	{ "reverted, and a mirror has followed it", "s:1 intent=7@3", NULL,
	  "all=s:1:0 intent=s:1:9@5 m.intent=s:1:9@5 marked=7@4", STORE_DIVERGED, STREAMS_INTENT, 7,
	  7 },
	/* The mirrors as evidence. */
	{ "a mirror knows more than marker and store", "s:1 intent=7@3", NULL,
	  "all=s:1:0 intent=s:1:7@3 m.intent=s:1:8@4", STORE_BEHIND, STREAMS_INTENT, 8, 7 },
	{ "a mirror behind the store", "s:1 intent=7@3", NULL,
	  "all=s:1:0 intent=s:1:9@5 m.intent=s:1:8@4 marked=7@3", STORE_GOOD, 0, 0, 0 },
	{ "a mirror with another last entry", "s:1", NULL,
	  "all=s:1:0 intent=s:1:8@5 m.intent=s:1:8@4", STORE_DIVERGED, STREAMS_INTENT, 8, 8 },
	{ "a mirror of an earlier generation says nothing", "s:2 intent=7@3", NULL,
	  "all=s:2:0 intent=s:2:7@3 m.intent=s:1:80@4", STORE_GOOD, 0, 0, 0 },
	{ "a mirror of another store says nothing", "s:1 intent=7@3", NULL,
	  "all=s:1:0 intent=s:1:7@3 m.intent=t:1:80@4", STORE_GOOD, 0, 0, 0 },
	{ "without a marker, a mirror that fits", NULL, NULL,
	  "all=s:1:0 intent=s:1:9@5 m.intent=s:1:9@5", STORE_TAKE, 0, 0, 0 },
	{ "without a marker, a mirror that knows more", NULL, NULL,
	  "all=s:1:0 intent=s:1:9@5 m.intent=s:1:10@6", STORE_BEHIND, STREAMS_INTENT, 10, 9 },
	{ "without a marker, a mirror of another store", NULL, NULL, "all=s:1:0 m.facts=t:1:0",
	  STORE_OTHER, STREAMS_INTENT, 0, 0 },
	{ "without a marker, a mirror of a higher generation", NULL, NULL,
	  "all=s:1:0 m.facts=s:2:0 m.intent=s:1:0", STORE_OLDER, 0, 2, 1 },
	{ "without a marker and streams, a mirror", NULL, NULL, "m.intent=s:1:10@6", STORE_MISSING,
	  STREAMS_INTENT, 0, 0 },
	{ "a mirror without metadata says nothing", NULL, NULL, "m.intent=none:0:10@6",
	  STORE_UNINITIALISED, 0, 0, 0 },
	{ "a mirror without an answer says nothing", "s:1", NULL, "all=s:1:0 m.intent=?",
	  STORE_GOOD, 0, 0, 0 },
};

static void test_judge(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_(marker_freep) struct marker *marker = make_marker(rows[i].marker);
		_cleanup_(init_request_freep) struct init_request *request =
			make_request(rows[i].request);
		struct poll *poll = make_poll(rows[i].poll);
		_cleanup_(marker_freep) struct marker *known = store_known(marker, poll);
		struct store_verdict verdict = store_judge(marker, known, request, poll);
		_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;

		if (!ok(verdict.state == rows[i].state && verdict.stream == rows[i].stream &&
				verdict.seen == rows[i].seen && verdict.is == rows[i].is,
			"%s", rows[i].name))
			printf("#   got: %s %s %lld %lld\n", store_state_names[verdict.state],
			       names[verdict.stream], (long long)verdict.seen,
			       (long long)verdict.is);
		if (poll->unanswered.code == FAILURE_NONE && verdict.state == STORE_UNREACHABLE)
			failure_set(&poll->unanswered, FAILURE_NO_QUORUM, "wait", "unreachable");
		store_failure(&verdict, known, request, poll, &failure);
		ok(failure_is_set(&failure) ==
			   (store_is_error(verdict.state) || verdict.state == STORE_UNREACHABLE ||
			    verdict.state == STORE_UNINITIALISED),
		   "%s: %s", rows[i].name, failure.message ? failure.message : "no failure");
		ok(!failure_is_set(&failure) || failure.hint, "%s: with a next step", rows[i].name);
		poll_free(poll);
	}
}

/* The texts of the errors. */
static void test_texts(void)
{
	static const struct {
		const char *marker, *request, *poll, *message, *hint;
	} texts[] = {
		{ NULL, NULL, "", "cannot find a cluster: PLOYZ_INTENT does not exist",
		  "ployzctl init NAME" },
		{ NULL, "s", "all=t:1:9",
		  "cannot initialise cluster prod: PLOYZ_INTENT exists already, of store t",
		  "store accept" },
		{ "s:1 intent=7@3", NULL, "",
		  "cannot use the store: PLOYZ_INTENT does not exist, this machine has seen it at "
		  "entry 7",
		  "store accept" },
		{ "s:1", NULL, "all=t:1:0",
		  "cannot use the store: PLOYZ_INTENT is of store t, this machine belongs to store "
		  "s",
		  "store accept" },
		{ "s:1", NULL, "all=none:0:0",
		  "cannot use the store: PLOYZ_INTENT is of store (no id), this machine belongs to "
		  "store s",
		  "store accept" },
		{ "s:1", NULL, "all=s:1:0 facts=s:2:0",
		  "cannot use the store: PLOYZ_FACTS has generation 2, PLOYZ_INTENT has 1",
		  "store accept" },
		{ "s:4", NULL, "all=s:3:0",
		  "cannot use the store: its generation is 3, this machine has seen 4",
		  "store accept" },
		{ "s:1 facts=7@3", NULL, "all=s:1:0 facts=s:1:6@3",
		  "cannot use the store: it has lost entries, PLOYZ_FACTS ends at 6, this machine "
		  "has seen 7",
		  "store accept" },
		{ "s:1 facts=7@3", NULL, "all=s:1:0 facts=s:1:7@4",
		  "cannot use the store: it has lost entries, entry 7 of PLOYZ_FACTS is another "
		  "than this machine has seen",
		  "store accept" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		_cleanup_(marker_freep) struct marker *marker = make_marker(texts[i].marker);
		_cleanup_(init_request_freep) struct init_request *request =
			make_request(texts[i].request);
		struct poll *poll = make_poll(texts[i].poll);
		_cleanup_(marker_freep) struct marker *known = store_known(marker, poll);
		struct store_verdict verdict = store_judge(marker, known, request, poll);
		_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;

		store_failure(&verdict, known, request, poll, &failure);
		is(failure.message, texts[i].message, texts[i].message);
		ok(failure.hint && strstr(failure.hint, texts[i].hint), "its next step");
		poll_free(poll);
	}
}

static void test_mark(void)
{
	static const struct {
		const char *name, *marker, *request, *poll;
		const char *store, *cluster, *since;
		int64_t generation;
		struct seen intent;
		bool changed;
	} marks[] = {
		{ "the first one",
		  NULL,
		  "s",
		  "all=s:1:7@3",
		  "s",
		  "prod",
		  "now",
		  1,
		  { 7, 3 },
		  true },
		{ "a store that was found",
		  NULL,
		  NULL,
		  "all=s:5:7@3",
		  "s",
		  NULL,
		  "now",
		  5,
		  { 7, 3 },
		  true },
		{ "nothing new",
		  "s:1 intent=7@3",
		  NULL,
		  "all=s:1:0 intent=s:1:7@3",
		  "s",
		  NULL,
		  "then",
		  1,
		  { 7, 3 },
		  false },
		{ "more entries",
		  "s:1 intent=7@3",
		  NULL,
		  "all=s:1:0 intent=s:1:8@4",
		  "s",
		  NULL,
		  "then",
		  1,
		  { 8, 4 },
		  true },
		{ "more entries of another stream",
		  "s:1 intent=7@3",
		  NULL,
		  "all=s:1:1@1 intent=s:1:7@3",
		  "s",
		  NULL,
		  "then",
		  1,
		  { 7, 3 },
		  true },
		{ "a time that was not known",
		  "s:1 intent=7@0",
		  NULL,
		  "all=s:1:0 intent=s:1:7@3",
		  "s",
		  NULL,
		  "then",
		  1,
		  { 7, 3 },
		  true },
		{ "a higher generation starts anew",
		  "s:1 intent=70@30",
		  NULL,
		  "all=s:2:8@4",
		  "s",
		  NULL,
		  "now",
		  2,
		  { 8, 4 },
		  true },
		{ "mirrors alone",
		  NULL,
		  NULL,
		  "all=s:1:9@5 m.intent=s:1:9@5",
		  "s",
		  NULL,
		  "now",
		  1,
		  { 9, 5 },
		  true },
		{ "a request for another store gives no name",
		  NULL,
		  "t",
		  "all=s:1:0 m.intent=s:1:0",
		  "s",
		  NULL,
		  "now",
		  1,
		  { 0, 0 },
		  true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(marks); i++) {
		_cleanup_(marker_freep) struct marker *marker = make_marker(marks[i].marker);
		_cleanup_(init_request_freep) struct init_request *request =
			make_request(marks[i].request);
		struct poll *poll = make_poll(marks[i].poll);
		_cleanup_(marker_freep) struct marker *known = store_known(marker, poll), *made;
		bool changed = !marks[i].changed;

		made = store_mark(marker, known, request, poll, "now", &changed);
		is(made->store, marks[i].store, marks[i].name);
		is(made->cluster, marks[i].cluster, "its cluster");
		is(made->since, marks[i].since, "since when");
		is_int(made->generation, marks[i].generation, "its generation");
		is_int(made->seen[STREAMS_INTENT].sequence, marks[i].intent.sequence,
		       "its last entry");
		is_int(made->seen[STREAMS_INTENT].time_usec, marks[i].intent.time_usec,
		       "and when that was stored");
		is_int(changed, marks[i].changed, "whether it has to be written");
		poll_free(poll);
	}
}

static void test_accept(void)
{
	static const struct {
		const char *name, *marker, *request, *poll, *store;
		int64_t generation;
	} accepts[] = {
		{ "behind", "s:1", NULL, "all=s:1:0", "s", 2 },
		{ "another store", "s:1", NULL, "all=t:7:0", "s", 8 },
		{ "a lower generation", "s:4", NULL, "all=s:3:0", "s", 5 },
		{ "empty", "s:4", NULL, "", "s", 5 },
		{ "an interrupted accept", "s:1", NULL, "all=s:1:0 leases=s:2:0", "s", 3 },
		{ "mirrors alone", NULL, NULL, "m.facts=s:3:0", "s", 4 },
		{ "a mirror of a later generation", "s:1", NULL, "all=t:1:0 m.facts=t:3:0", "s",
		  4 },
		{ "init on a store that exists", NULL, "s", "all=t:1:0", "t", 2 },
		{ "without ids", NULL, "s", "all=none:0:0", "s", 1 },
		{ "nothing at all", NULL, NULL, "", NULL, 1 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(accepts); i++) {
		_cleanup_(marker_freep) struct marker *marker = make_marker(accepts[i].marker);
		_cleanup_(init_request_freep) struct init_request *request =
			make_request(accepts[i].request);
		struct poll *poll = make_poll(accepts[i].poll);
		_cleanup_(marker_freep) struct marker *known = store_known(marker, poll);

		is(store_accept_id(known, request, poll), accepts[i].store, accepts[i].name);
		is_int(store_accept_generation(known, poll), accepts[i].generation,
		       "its generation");
		poll_free(poll);
	}
}

static void test_alarm(void)
{
	static const struct {
		uint64_t bytes, max_bytes;
		bool alarm;
	} alarms[] = {
		{ 0, 1000, false },
		{ 799, 1000, false },
		{ 800, 1000, true },
		{ 1000, 1000, true },
		{ 5000, 0, false },
		{ 0, 0, false },
		{ 79, 100, false },
		{ 80, 100, true },
		{ 1ull << 60, 1ull << 60, true },
		{ 1ull << 59, 1ull << 60, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(alarms); i++)
		is_int(stream_alarm(alarms[i].bytes, alarms[i].max_bytes), alarms[i].alarm,
		       "the alarm's line");
	for (size_t i = 0; i < STREAMS_COUNT; i++) {
		const struct polled_stream full = { .bytes = 80, .max_bytes = 100 };
		const struct polled_stream empty = { .bytes = 79, .max_bytes = 100 };

		is_int(stream_refuses((enum streams_id)i, &full), i != STREAMS_STATUS, names[i]);
		ok(!stream_refuses((enum streams_id)i, &empty), "%s below it", names[i]);
	}
}

static void test_outdated(void)
{
	static const struct {
		const char *mirror;
		bool outdated;
	} mirrors[] = {
		{ "s:2:0", false }, { "s:1:0", true },	  { "s:3:0", true },
		{ "t:2:0", true },  { "none:0:0", true },
	};
	_cleanup_(marker_freep) struct marker *marker = make_marker("s:2");

	for (size_t i = 0; i < ARRAY_SIZE(mirrors); i++) {
		struct polled_stream mirror = { .store = NULL };

		set_stream(&mirror, mirrors[i].mirror);
		is_int(mirror_outdated(&mirror, marker), mirrors[i].outdated, mirrors[i].mirror);
		free(mirror.store);
	}
}

/* `STORE:GENERATION:LAST[@TIME]` with a time: the stream has entries. */
static void test_mirror(void)
{
	static const struct {
		const char *name, *mirror, *stream;
		int64_t per_subject; /* of the mirror; it should be 256 */
		bool stalled;
		enum mirror_step step;
	} mirrors[] = {
		{ "unreachable", "?", "s:2:5@1", 0, false, MIRROR_LEAVE },
		{ "as it should be", "s:2:5@1", "s:2:5@1", 256, false, MIRROR_LEAVE },
		{ "missing, the stream is empty", "-", "s:2:0", 0, false, MIRROR_CREATE },
		{ "missing, the stream has entries", "-", "s:2:5@1", 0, false, MIRROR_REBUILD },
		{ "of a lower generation", "s:1:5@1", "s:2:5@1", 256, false, MIRROR_REBUILD },
		{ "of another store", "t:2:5@1", "s:2:5@1", 256, false, MIRROR_REBUILD },
		{ "without metadata", "none:0:5@1", "s:2:5@1", 256, false, MIRROR_REBUILD },
		{ "of a lower generation, the stream is empty", "s:1:5@1", "s:2:0", 256, false,
		  MIRROR_DELETE },
		{ "stalled", "s:2:4@1", "s:2:5@1", 256, true, MIRROR_REBUILD },
		{ "stalled before an empty stream", "s:2:4@1", "s:2:5", 256, true, MIRROR_LEAVE },
		{ "behind", "s:2:4@1", "s:2:5@1", 256, false, MIRROR_LEAVE },
		{ "with a lowered limit", "s:2:5@1", "s:2:5@1", 255, false, MIRROR_UPDATE },
		{ "without a limit", "s:2:5@1", "s:2:5@1", 0, false, MIRROR_UPDATE },
	};
	_cleanup_(marker_freep) struct marker *marker = make_marker("s:2");

	for (size_t i = 0; i < ARRAY_SIZE(mirrors); i++) {
		struct polled_stream mirror = { .store = NULL }, stream = { .store = NULL };

		set_stream(&mirror, mirrors[i].mirror);
		set_stream(&stream, mirrors[i].stream);
		mirror.per_subject = mirrors[i].per_subject;
		is_int(mirror_decide(&mirror, &stream, marker, 256, mirrors[i].stalled),
		       mirrors[i].step, mirrors[i].name);
		free(mirror.store);
		free(stream.store);
	}
}

static void test_stall(void)
{
	static const struct {
		const char *name, *mirror, *stream;
		uint64_t now;
		bool stalled;
	} steps[] = {
		{ "level", "s:1:5@1", "s:1:5@1", 1, false },
		{ "behind for the first time", "s:1:5@1", "s:1:6@1", 2, false },
		{ "not long enough", "s:1:5@1", "s:1:9@1", 1 + MIRROR_STALLED_USEC, false },
		{ "long enough", "s:1:5@1", "s:1:9@1", 2 + MIRROR_STALLED_USEC, true },
		{ "it advances", "s:1:6@1", "s:1:9@1", 3 + MIRROR_STALLED_USEC, false },
		{ "and stops again", "s:1:6@1", "s:1:9@1", 3 + 2 * MIRROR_STALLED_USEC, true },
		{ "level again", "s:1:9@1", "s:1:9@1", 4 + 2 * MIRROR_STALLED_USEC, false },
		{ "behind anew", "s:1:9@1", "s:1:10@1", 5 + 2 * MIRROR_STALLED_USEC, false },
		{ "the mirror does not answer", "?", "s:1:10@1", 5 + 3 * MIRROR_STALLED_USEC,
		  false },
		{ "behind anew after that", "s:1:9@1", "s:1:10@1", 6 + 3 * MIRROR_STALLED_USEC,
		  false },
	};
	struct stall stall = { .since = 0 };

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		struct polled_stream mirror = { .store = NULL }, stream = { .store = NULL };

		set_stream(&mirror, steps[i].mirror);
		set_stream(&stream, steps[i].stream);
		is_int(mirror_stalled(&stall, &mirror, &stream, steps[i].now), steps[i].stalled,
		       steps[i].name);
		free(mirror.store);
		free(stream.store);
	}
}

int main(void)
{
	test_judge();
	test_texts();
	test_mark();
	test_accept();
	test_alarm();
	test_outdated();
	test_mirror();
	test_stall();
	return tap_done();
}
