/* A store of one process: it answers JetStream's API (the part that lib uses) on the fake bus, and
 * a test decides what it refuses, loses and delays. Included once in a test. */
#ifndef PLOYZ_TESTS_LIB_STORE_H
#define PLOYZ_TESTS_LIB_STORE_H

#include <inttypes.h>
#include <jansson.h>
#include <sodium.h>
#include <stdio.h>

#include "lib/stream.h"
#include "lib/streams.h"
#include "tests/fuzz/fake/bus.h"
#include "tests/fuzz/fake/log.h"
#include "tests/fuzz/fake/loop.h"

#define STORE_STREAMS 8
#define STORE_ENTRIES 2048
#define STORE_CONSUMERS 64
#define SECONDS(n) ((uint64_t)((n)*1000000ull))

struct store_entry {
	char *subject, *data;
	uint64_t sequence, time_usec;
	bool gone; /* a limit dropped it */
};

struct store_stream {
	char *domain, *name;
	int per_subject; /* entries that a subject keeps; 0: no limit */
	char created[40];
	int64_t generation; /* 0: no metadata */
	char store[16];
	struct store_entry entries[STORE_ENTRIES];
	size_t n_entries;
	uint64_t last;
	uint64_t visible; /* consumers are on a replica that has no more than this; 0: all */
};

struct store_consumer {
	struct store_stream *stream; /* NULL: free */
	char *name, *inbox;
	char *filters[8];
	size_t n_filters;
	bool last_per_subject;
	uint64_t next;	   /* sequence that is looked at next */
	uint64_t frontier; /* last_per_subject: the stream's last when it was created */
	uint64_t delivered;
};

/* What happens to appends and to reads. */
enum store_mode {
	STORE_ANSWERS,
	STORE_SILENT,	 /* nothing is done and nothing answered */
	STORE_LOSES_ACK, /* done, and not answered */
	STORE_GONE,	 /* no responders */
	STORE_REFUSES,	 /* answers `store_refusal` */
};

static struct store_stream store_streams[STORE_STREAMS];
static struct store_consumer store_consumers[STORE_CONSUMERS];
static enum store_mode store_appends, store_reads, store_infos, store_creations, store_healths;
static const char *store_refusal = "{\"error\":{\"code\":400,\"err_code\":10054,\"description\":"
				   "\"message size exceeds maximum allowed\"}}";
/* Called before each append is looked at; may be NULL. */
static void (*store_interfere)(void);
static const char *store_health; /* answer; NULL: no responders */
static size_t store_n_appends, store_n_reads, store_n_infos, store_n_creations, store_n_healths;
static bool store_mute;		  /* consumers deliver nothing, heartbeats neither */
static char *store_last_creation; /* the request of the last consumer */

static inline bool store_matches(const char *filter, const char *subject)
{
	while (*filter && *subject) {
		if (*filter == '>')
			return true;
		if (*filter == '*') {
			filter++;
			subject += strcspn(subject, ".");
		} else if (*filter++ != *subject++) {
			return false;
		}
	}
	return !*filter && !*subject;
}

static inline struct store_stream *store_find(const char *domain, const char *name)
{
	for (size_t i = 0; i < STORE_STREAMS; i++)
		if (store_streams[i].name && streq(store_streams[i].domain, domain) &&
		    streq(store_streams[i].name, name))
			return &store_streams[i];
	return NULL;
}

static inline struct store_stream *store_stream(const char *domain, const char *name,
						int per_subject, int64_t generation)
{
	struct store_stream *s = NULL;
	static int births;

	for (size_t i = 0; i < STORE_STREAMS && !s; i++)
		if (!store_streams[i].name)
			s = &store_streams[i];
	HOLDS(s);
	memset(s, 0, sizeof(*s));
	s->domain = xstrdup(domain);
	s->name = xstrdup(name);
	s->per_subject = per_subject;
	s->generation = generation;
	snprintf(s->created, sizeof(s->created), "2025-11-24T16:00:00.%06dZ", births++);
	snprintf(s->store, sizeof(s->store), "s1");
	return s;
}

static inline void store_stream_clear(struct store_stream *s)
{
	for (size_t i = 0; i < s->n_entries; i++) {
		free(s->entries[i].subject);
		free(s->entries[i].data);
	}
	s->n_entries = 0;
	s->last = 0;
}

static inline uint64_t store_put(struct store_stream *s, const char *subject, const char *data)
{
	struct store_entry *entry = &s->entries[s->n_entries];
	int kept = 0;

	HOLDS(s->n_entries < STORE_ENTRIES);
	*entry = (struct store_entry){ .subject = xstrdup(subject),
				       .data = xstrdup(data),
				       .sequence = ++s->last,
				       .time_usec = time_now_usec() + s->last };
	s->n_entries++;
	for (size_t i = s->n_entries; s->per_subject && i--;)
		if (!s->entries[i].gone && streq(s->entries[i].subject, subject) &&
		    ++kept > s->per_subject)
			s->entries[i].gone = true;
	return s->last;
}

static inline const struct store_entry *store_last_of(const struct store_stream *s,
						      const char *filter)
{
	for (size_t i = s ? s->n_entries : 0; i--;)
		if (!s->entries[i].gone && store_matches(filter, s->entries[i].subject))
			return &s->entries[i];
	return NULL;
}

static inline const struct store_entry *store_from(const struct store_stream *s, uint64_t sequence,
						   const char *filter)
{
	for (size_t i = 0; s && i < s->n_entries; i++)
		if (!s->entries[i].gone && s->entries[i].sequence >= sequence &&
		    store_matches(filter, s->entries[i].subject))
			return &s->entries[i];
	return NULL;
}

static inline void store_reply_json(struct bus_request *request, json_t *json)
{
	char *text = json_dumps(json, JSON_COMPACT);

	json_decref(json);
	fake_answer(request, 0, text, strlen(text));
	free(text);
}

static inline void store_reply_error(struct bus_request *request, int code, int err_code,
				     const char *description)
{
	store_reply_json(request, json_pack("{s:{s:i, s:i, s:s}}", "error", "code", code,
					    "err_code", err_code, "description", description));
}

/* Nanoseconds, as the server has them. */
static inline char *store_time(uint64_t usec)
{
	_cleanup_free_ char *milliseconds = time_format(usec);

	return xasprintf("%.*s.%06" PRIu64 "123Z", 19, milliseconds, usec % 1000000);
}

/* Whether the mode has dealt with the request. */
static inline bool store_deals(struct bus_request *request, enum store_mode mode)
{
	switch (mode) {
	case STORE_SILENT:
		request->held = true;
		return true;
	case STORE_GONE:
		fake_answer(request, -EHOSTUNREACH, "", 0);
		return true;
	case STORE_REFUSES:
		fake_answer(request, 0, store_refusal, strlen(store_refusal));
		return true;
	case STORE_ANSWERS:
	case STORE_LOSES_ACK:
		return false;
	}
	return false;
}

static inline void store_append(struct store_stream *s, struct bus_request *request,
				const char *subject)
{
	const struct store_entry *last;
	uint64_t sequence;

	if (store_interfere)
		store_interfere();
	last = store_last_of(s, subject);
	store_n_appends++;
	if (store_deals(request, store_appends))
		return;
	if (!s) {
		fake_answer(request, -EHOSTUNREACH, "", 0);
		return;
	}
	if (request->expected &&
	    strtoull(request->expected, NULL, 10) != (last ? last->sequence : 0)) {
		store_reply_error(request, 400, JS_ERR_WRONG_LAST_SEQUENCE, "wrong last sequence");
		return;
	}
	sequence = store_put(s, subject, request->data);
	if (store_appends == STORE_LOSES_ACK)
		request->held = true;
	else
		store_reply_json(request, json_pack("{s:s, s:I}", "stream", s->name, "seq",
						    (json_int_t)sequence));
}

static inline void store_info(struct store_stream *s, struct bus_request *request)
{
	_cleanup_free_ char *last = NULL, *generation = NULL;
	json_t *info;

	store_n_infos++;
	if (store_deals(request, store_infos))
		return;
	if (!s) {
		store_reply_error(request, 404, JS_ERR_STREAM_NOT_FOUND, "stream not found");
		return;
	}
	last = s->n_entries ? store_time(s->entries[s->n_entries - 1].time_usec)
			    : xstrdup("0001-01-01T00:00:00Z");
	info = json_pack("{s:s, s:{s:I, s:s}, s:{s:s}}", "created", s->created, "state", "last_seq",
			 (json_int_t)s->last, "last_ts", last, "config", "name", s->name);
	generation = xasprintf("%" PRId64, s->generation);
	if (s->generation)
		json_object_set_new(json_object_get(info, "config"), "metadata",
				    json_pack("{s:s, s:s}", STREAMS_GENERATION, generation,
					      STREAMS_STORE, s->store));
	store_reply_json(request, info);
}

static inline void store_get(struct store_stream *s, struct bus_request *request)
{
	json_t *which = json_loads(request->data, 0, NULL);
	const char *last = json_string_value(json_object_get(which, "last_by_subj"));
	const char *next = json_string_value(json_object_get(which, "next_by_subj"));
	uint64_t sequence = (uint64_t)json_integer_value(json_object_get(which, "seq"));
	const struct store_entry *entry;
	_cleanup_free_ char *time = NULL;
	char encoded[65536];

	store_n_reads++;
	entry = last   ? store_last_of(s, last)
		: next ? store_from(s, sequence, next)
		       : store_from(s, sequence, ">");
	if (!last && !next && entry && entry->sequence != sequence)
		entry = NULL;
	json_decref(which);
	if (store_deals(request, store_reads))
		return;
	if (!entry) {
		store_reply_error(request, 404, s ? JS_ERR_NO_MESSAGE : JS_ERR_STREAM_NOT_FOUND,
				  "no message found");
		return;
	}
	time = store_time(entry->time_usec);
	sodium_bin2base64(encoded, sizeof(encoded), (const unsigned char *)entry->data,
			  strlen(entry->data), sodium_base64_VARIANT_ORIGINAL);
	store_reply_json(request, json_pack("{s:{s:s, s:I, s:s, s:s}}", "message", "subject",
					    entry->subject, "seq", (json_int_t)entry->sequence,
					    "data", encoded, "time", time));
}

static inline void store_create(struct store_stream *s, struct bus_request *request)
{
	struct store_consumer *c = NULL;
	json_t *json = json_loads(request->data, 0, NULL),
	       *config = json_object_get(json, "config");
	json_t *filters = json_object_get(config, "filter_subjects");
	const char *filter = json_string_value(json_object_get(config, "filter_subject"));
	const char *policy = json_string_value(json_object_get(config, "deliver_policy"));

	store_n_creations++;
	free(store_last_creation);
	store_last_creation = json_dumps(config, JSON_SORT_KEYS | JSON_COMPACT);
	if (store_deals(request, store_creations)) {
		json_decref(json);
		return;
	}
	HOLDS(s && policy);
	for (size_t i = 0; i < STORE_CONSUMERS && !c; i++)
		if (!store_consumers[i].stream)
			c = &store_consumers[i];
	HOLDS(c);
	*c = (struct store_consumer){ .stream = s };
	c->name = xstrdup(json_string_value(json_object_get(config, "name")));
	c->inbox = xstrdup(json_string_value(json_object_get(config, "deliver_subject")));
	for (size_t i = 0; i < json_array_size(filters); i++)
		c->filters[c->n_filters++] = xstrdup(json_string_value(json_array_get(filters, i)));
	if (!c->n_filters)
		c->filters[c->n_filters++] = xstrdup(filter ? filter : ">");
	c->last_per_subject = streq(policy, "last_per_subject");
	c->frontier = s->visible ? MIN2(s->visible, s->last) : s->last;
	c->next = streq(policy, "by_start_sequence")
			  ? (uint64_t)json_integer_value(json_object_get(config, "opt_start_seq"))
			  : 1;
	json_decref(json);
	store_reply_json(request, json_pack("{s:i}", "num_pending", 0));
}

static inline void store_consumer_end(struct store_consumer *c)
{
	free(c->name);
	free(c->inbox);
	for (size_t i = 0; i < c->n_filters; i++)
		free(c->filters[i]);
	*c = (struct store_consumer){ 0 };
}

static inline struct bus_subscription *store_inbox(const struct store_consumer *c)
{
	struct bus_subscription *sub = fake_subscriptions;

	while (sub && !streq(sub->subject, c->inbox))
		sub = sub->next;
	return sub;
}

static inline bool store_wants(const struct store_consumer *c, const struct store_entry *entry)
{
	bool wanted = false;

	for (size_t i = 0; i < c->n_filters; i++)
		wanted = wanted || store_matches(c->filters[i], entry->subject);
	if (!wanted || entry->gone)
		return false;
	/* Of what was there when it was created, only the last of each subject. */
	for (size_t i = 0;
	     c->last_per_subject && entry->sequence <= c->frontier && i < c->stream->n_entries; i++)
		if (c->stream->entries[i].sequence > entry->sequence &&
		    c->stream->entries[i].sequence <= c->frontier &&
		    streq(c->stream->entries[i].subject, entry->subject))
			return false;
	return true;
}

static inline bool store_deliver_one(struct store_consumer *c)
{
	struct store_stream *s = c->stream;
	uint64_t visible = s->visible ? s->visible : s->last;

	for (size_t i = 0; i < s->n_entries; i++) {
		const struct store_entry *entry = &s->entries[i];
		struct bus_subscription *sub = store_inbox(c);
		_cleanup_free_ char *reply = NULL;

		if (entry->sequence < c->next || entry->sequence > visible)
			continue;
		c->next = entry->sequence + 1;
		if (!store_wants(c, entry) || !sub)
			continue;
		reply = xasprintf("$JS.ACK.ployz.hash.%s.%s.1.%" PRIu64 ".%" PRIu64 ".%" PRIu64
				  ".0.token",
				  s->name, c->name, entry->sequence, ++c->delivered,
				  entry->time_usec * 1000 + 123);
		fake_deliver(sub, entry->subject, reply, NULL, entry->data, strlen(entry->data));
		return true;
	}
	return false;
}

/* A heartbeat to every follower. */
static inline void store_beat(void)
{
	for (size_t i = 0; i < STORE_CONSUMERS; i++) {
		struct store_consumer *c = &store_consumers[i];
		struct bus_subscription *sub = c->stream ? store_inbox(c) : NULL;
		char delivered[24];
		struct fake_headers headers = { "100",
						{ "Nats-Last-Consumer", NULL },
						{ delivered } };

		snprintf(delivered, sizeof(delivered), "%" PRIu64, c->delivered);
		if (sub && !store_mute)
			fake_deliver(sub, c->inbox, NULL, &headers, "", 0);
	}
}

/* `$JS.<domain>.API.<verb>.<stream>…` */
static inline void store_api(struct bus_request *request)
{
	char **words = strv_split(request->subject, ".");
	struct store_stream *s;

	HOLDS(strv_count(words) >= 6);
	if (streq(words[3], "CONSUMER"))
		store_create(store_find(words[1], words[5]), request);
	else if (streq(words[4], "INFO"))
		store_info(store_find(words[1], words[5]), request);
	else if (streq(words[4], "MSG"))
		store_get(store_find(words[1], words[6]), request);
	else if (streq(words[3], "$KV")) {
		_cleanup_free_ char *subject = xasprintf("$KV.%s.%s", words[4], words[5]);
		_cleanup_free_ char *name = xasprintf("KV_%s", words[4]);

		s = store_find(words[1], name);
		store_append(s, request, subject);
	} else {
		fake_answer(request, -EHOSTUNREACH, "", 0);
	}
	strv_free(words);
}

static inline void store_answer(struct bus_request *request)
{
	if (str_starts(request->subject, "$HEALTH.")) {
		store_n_healths++;
		if (store_deals(request, store_healths))
			return;
		if (store_health)
			fake_answer(request, 0, store_health, strlen(store_health));
		else
			fake_answer(request, -EHOSTUNREACH, "", 0);
	} else if (str_starts(request->subject, "$JS.")) {
		store_api(request);
	} else {
		store_append(store_find("ployz", strstr(request->subject, ".facts.")
							 ? "PLOYZ_FACTS"
							 : "PLOYZ_INTENT"),
			     request, request->subject);
	}
}

/* The oldest request that waits for an answer. */
static inline struct bus_request *store_oldest(void)
{
	struct bus_request *oldest = NULL;

	for (struct bus_request *r = fake_requests; r; r = r->next)
		if (!r->held && r->error == -ETIMEDOUT)
			oldest = r;
	return oldest;
}

/* Answers and delivers until nothing is left to do at this moment. */
static inline void store_run(void)
{
	bool more = true;

	for (int rounds = 0; more; rounds++) {
		struct bus_request *request = store_oldest();

		HOLDS(rounds < 100000);
		more = request != NULL;
		if (request)
			store_answer(request);
		for (size_t i = 0; !store_mute && i < STORE_CONSUMERS; i++)
			if (store_consumers[i].stream && store_deliver_one(&store_consumers[i]))
				more = true;
		fake_turn();
		/* Timers that are due now. */
		if (fake_earliest() && fake_earliest()->at <= fake_now) {
			fake_tick();
			more = true;
		}
	}
}

/* Requests that were left without an answer are answered after all. */
static inline void store_release(const char *prefix)
{
	for (struct bus_request *r = fake_requests; r; r = r->next)
		if (str_starts(r->subject, prefix))
			r->held = false;
}

/* Time passes; heartbeats come every 5 s. */
static inline void store_pass(uint64_t usec)
{
	uint64_t until = fake_now + usec, beat = fake_now / SECONDS(5) * SECONDS(5) + SECONDS(5);

	for (;;) {
		struct timer *timer = fake_earliest();
		uint64_t next = timer ? timer->at : UINT64_MAX;

		store_run();
		timer = fake_earliest();
		next = timer ? timer->at : UINT64_MAX;
		if (MIN2(next, beat) > until)
			break;
		if (beat < next) {
			fake_now = beat;
			beat += SECONDS(5);
			store_beat();
		} else {
			fake_tick();
		}
	}
	fake_now = until;
	store_run();
}

/* What readers publish: the end of a consumer, answers to flow control. */
static char *store_flow; /* subject of the last one */
static inline void store_published(const char *subject, _unused_ const char *data,
				   _unused_ size_t size)
{
	const char *name = strrchr(subject, '.');

	if (!strstr(subject, ".CONSUMER.DELETE.")) {
		free(store_flow);
		store_flow = xstrdup(subject);
		return;
	}
	for (size_t i = 0; i < STORE_CONSUMERS; i++)
		if (store_consumers[i].stream && streq(store_consumers[i].name, name + 1))
			store_consumer_end(&store_consumers[i]);
}

static inline size_t store_n_consumers(void)
{
	size_t n = 0;

	for (size_t i = 0; i < STORE_CONSUMERS; i++)
		n += store_consumers[i].stream != NULL;
	return n;
}

/* Forgets its consumers, as a server that was restarted. */
static inline void store_forget_consumers(void)
{
	for (size_t i = 0; i < STORE_CONSUMERS; i++)
		if (store_consumers[i].stream)
			store_consumer_end(&store_consumers[i]);
}

/* A store without anything, for the next test. */
static inline void store_reset(void)
{
	store_forget_consumers();
	for (size_t i = 0; i < STORE_STREAMS; i++) {
		store_stream_clear(&store_streams[i]);
		free(steal(store_streams[i].domain));
		free(steal(store_streams[i].name));
	}
	store_appends = store_reads = store_infos = STORE_ANSWERS;
	store_creations = store_healths = STORE_ANSWERS;
	store_health = NULL;
	store_interfere = NULL;
	store_mute = false;
	store_n_appends = store_n_reads = store_n_infos = store_n_creations = store_n_healths = 0;
	free(steal(store_last_creation));
	free(steal(store_flow));
	fake_log_line[0] = '\0';
	fake_log_warnings = 0;
	fake_published = store_published;
	fake_bus_end();
	fake_loop_end();
}

#endif
