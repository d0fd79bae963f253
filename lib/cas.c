/* Compare-and-set writer: repeats one append until its outcome is known. */
#include "lib/cas.h"

#include "lib/bucket.h"
#include "lib/loop.h"
#include "lib/str.h"
#include "lib/streams.h"

struct cas {
	struct bus *bus;
	char *stream, *subject;
	char *target; /* subject of the publication: differs from `subject` for a bucket's key */
	char *text, *nonce;
	uint64_t expected;
	uint64_t began_usec, deadline_usec;
	bool keeps_one; /* the stream keeps only the last entry of a subject */
	bool eager;
	bool doubtful;	/* the outcome of an attempt is unknown: the log decides */
	bool paused;	/* there was a pause since the last attempt to append */
	bool named;	/* the store has named a reason, which `waiting` got */
	uint64_t found; /* our own entry in the log; 0: not found */
	loop_fn next;	/* after the pause: append or read back */
	struct timer *pause;
	struct bus_request *request; /* an append or a read; never both */
	struct bus_request *health;
	struct failure last; /* why the outcome is not known */
	cas_fn fn;
	void (*waiting)(const char *why, void *userdata);
	void *userdata;
};

static void append(void *userdata);
static void read_back(void *userdata);

static void cancel(struct bus_request **request)
{
	bus_request_cancel(steal(*request));
}

/* Cancels everything that is pending, then calls `fn`, which may free the writer. */
static void finish(struct cas *cas, enum cas_outcome outcome, uint64_t sequence,
		   const struct failure *failure)
{
	_cleanup_(failure_clear) struct failure kept = FAILURE_INIT;

	cancel(&cas->request);
	cancel(&cas->health);
	timer_disarm(cas->pause);
	if (failure)
		failure_copy(&kept, failure);
	cas->fn(outcome, sequence, failure ? &kept : NULL, cas->userdata);
}

/* The deadline has passed. Without any attempt, nothing can be stored. */
static void finish_unknown(struct cas *cas)
{
	if (!cas->doubtful)
		failure_set(&cas->last, FAILURE_NO_QUORUM, "`ployzctl status` shows the store",
			    "cannot append to %s: the deadline passed before the first attempt",
			    cas->subject);
	finish(cas, cas->doubtful ? CAS_UNKNOWN : CAS_REFUSED, 0, &cas->last);
}

static uint64_t deadline(const struct cas *cas)
{
	return MIN2(cas->deadline_usec, cas->began_usec + CAS_MAX_USEC);
}

static uint64_t time_left(const struct cas *cas)
{
	uint64_t now = boot_now_usec(), until = deadline(cas);

	return until > now ? until - now : 0;
}

static void on_pause(void *userdata)
{
	struct cas *cas = userdata;

	/* Checked again because the machine may have been suspended: nothing is written after the
	 * deadline. */
	if (!time_left(cas)) {
		finish_unknown(cas);
		return;
	}
	cas->paused = true;
	cas->next(cas);
}

static void pause_then(struct cas *cas, loop_fn next)
{
	cas->next = next;
	timer_arm(cas->pause, MIN2(CAS_REPEAT_USEC, time_left(cas)));
}

/* Handles a reason that the store reported. True: the writer has ended, because a full disk stays
 * full until an operator frees space. */
static bool named(struct cas *cas, const struct failure *why)
{
	failure_copy(&cas->last, why);
	if (!cas->named && cas->waiting)
		cas->waiting(why->message, cas->userdata);
	cas->named = true;
	if (!cas->eager || !stream_disk_full(why->message, NULL, NULL))
		return false;
	finish(cas, CAS_UNKNOWN, 0, &cas->last);
	return true;
}

/* nats-server 2.14 or newer answers no append after a failed write; its health response has the
 * reason. */
static void on_health(_unused_ const struct failure *failure, const char *server, const char *error,
		      void *userdata)
{
	struct cas *cas = userdata;
	_cleanup_(failure_clear) struct failure full = FAILURE_INIT;

	cas->health = NULL;
	if (error && stream_disk_full(error, server, &full))
		named(cas, &full);
}

static void doubt(struct cas *cas, const struct failure *why)
{
	bool first = !cas->doubtful;

	cas->doubtful = true;
	if (!cas->named)
		failure_copy(&cas->last, why);
	pause_then(cas, read_back);
	if (first && !cas->named && cas->waiting)
		cas->waiting("the store does not answer (it may be electing a leader)",
			     cas->userdata);
	if (!cas->health)
		stream_health(cas->bus, STORE_DOMAIN, CAS_STORE_USEC, on_health, cas, &cas->health);
}

static void on_appended(enum stream_outcome outcome, uint64_t sequence,
			const struct failure *failure, void *userdata)
{
	struct cas *cas = userdata;

	cas->request = NULL;
	switch (outcome) {
	case STREAM_DONE:
		finish(cas, CAS_DONE, sequence, NULL);
		return;
	case STREAM_CONFLICT:
		/* After an attempt with an unknown outcome the conflicting entry may be our own. */
		if (cas->doubtful)
			read_back(cas);
		else
			finish(cas, CAS_CONFLICT, 0, failure);
		return;
	case STREAM_REFUSED:
		if (!cas->doubtful) {
			finish(cas, CAS_REFUSED, 0, failure);
			return;
		}
		if (!named(cas, failure))
			read_back(cas);
		return;
	case STREAM_UNKNOWN:
		if (failure->code != FAILURE_REFUSED || !named(cas, failure))
			doubt(cas, failure);
		return;
	}
}

static uint64_t request_usec(const struct cas *cas)
{
	return MAX2(MIN2(CAS_STORE_USEC, time_left(cas)), 1);
}

static void append(void *userdata)
{
	struct cas *cas = userdata;
	const struct stream_append entry = {
		.subject = cas->target,
		.data = cas->text,
		.size = strlen(cas->text),
		.expected = cas->expected,
		.timeout_usec = request_usec(cas),
	};

	cas->paused = false;
	stream_append(cas->bus, &entry, on_appended, cas, &cas->request);
}

static bool is_ours(const struct cas *cas, const struct stream_entry *entry)
{
	_cleanup_json_ json_t *json = json_loadb(entry->data, entry->size, JSON_ALLOW_NUL, NULL);

	return streq(json_string_value(json_object_get(json, "nonce")), cas->nonce);
}

static void read_next(struct cas *cas, uint64_t sequence, stream_entry_fn fn)
{
	stream_next(cas->bus, STORE_DOMAIN, cas->stream, cas->subject, sequence, request_usec(cas),
		    fn, cas, &cas->request);
}

/* Our entry is stored at `found`; this is the next one of the subject. */
static void on_successor(_unused_ const struct failure *failure, const struct stream_entry *entry,
			 void *userdata)
{
	struct cas *cas = userdata;

	cas->request = NULL;
	finish(cas, entry ? CAS_SUPERSEDED : CAS_DONE, cas->found, NULL);
}

static void not_in_log(struct cas *cas)
{
	/* An earlier attempt may still arrive; then this one conflicts and the log is read again.
	 */
	if (cas->paused)
		append(cas);
	else
		pause_then(cas, append);
}

static void conflict(struct cas *cas)
{
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;

	failure_set(&failure, FAILURE_STALE, "read it again and retry",
		    "cannot append to %s: another writer changed it", cas->subject);
	finish(cas, CAS_CONFLICT, 0, &failure);
}

/* The first entry after `expected`: no other entry can be ours. */
static void on_first(const struct failure *failure, const struct stream_entry *entry,
		     void *userdata)
{
	struct cas *cas = userdata;

	cas->request = NULL;
	if (failure) {
		doubt(cas, failure);
	} else if (!entry) {
		not_in_log(cas);
	} else if (is_ours(cas, entry)) {
		cas->found = entry->sequence;
		read_next(cas, cas->found + 1, on_successor);
	} else {
		conflict(cas);
	}
}

/* The first entry at `expected` or later. Where `expected` itself is gone, entries after it may be
 * gone too, ours among them. */
static void on_expected(const struct failure *failure, const struct stream_entry *entry,
			void *userdata)
{
	struct cas *cas = userdata;

	cas->request = NULL;
	if (!failure && entry && entry->sequence == cas->expected) {
		read_next(cas, cas->expected + 1, on_first);
	} else if (!failure && entry && !cas->keeps_one && !is_ours(cas, entry)) {
		failure_set(&cas->last, FAILURE_UNKNOWN, "read it again and retry",
			    "cannot find the outcome of an append to %s: the entries after %llu "
			    "are gone",
			    cas->subject, (unsigned long long)cas->expected);
		finish_unknown(cas);
	} else {
		on_first(failure, entry, cas);
	}
}

static void read_back(void *userdata)
{
	struct cas *cas = userdata;

	if (cas->expected)
		read_next(cas, cas->expected, on_expected);
	else
		read_next(cas, 1, on_first);
}

static bool stream_keeps_one(const char *stream)
{
	for (size_t i = 0; i < STREAMS_COUNT; i++)
		if (streq(streams_rows[i].name, stream))
			return streams_rows[i].per_subject == 1;
	return false;
}

struct cas *cas_append(struct bus *bus, const struct cas_options *options, cas_fn fn,
		       void (*waiting)(const char *why, void *userdata), void *userdata)
{
	struct cas *cas = xcalloc(1, sizeof(*cas));

	cas->bus = bus;
	if (options->bucket) {
		cas->stream = bucket_stream(options->bucket);
		cas->subject = bucket_subject(options->bucket, options->key);
		cas->target = bucket_write_subject(options->bucket, options->key);
	} else {
		cas->stream = xstrdup(options->stream ? options->stream : STREAM_INTENT);
		cas->subject = xstrdup(options->key);
		cas->target = xstrdup(options->key);
	}
	cas->keeps_one = stream_keeps_one(cas->stream);
	cas->text = xstrdup(options->text);
	cas->nonce = xstrdup(options->nonce);
	cas->expected = options->expected;
	cas->began_usec = boot_now_usec();
	cas->deadline_usec = options->deadline_usec;
	cas->eager = options->eager;
	cas->fn = fn;
	cas->waiting = waiting;
	cas->userdata = userdata;
	cas->pause = timer_new(bus_loop(bus), on_pause, cas);
	if (time_left(cas))
		append(cas);
	else
		timer_arm(cas->pause, 0);
	return cas;
}

void cas_extend(struct cas *cas, uint64_t deadline_usec)
{
	cas->deadline_usec = MAX2(cas->deadline_usec, deadline_usec);
}

void cas_free(struct cas *cas)
{
	if (!cas)
		return;
	cancel(&cas->request);
	cancel(&cas->health);
	timer_free(cas->pause);
	failure_clear(&cas->last);
	free(cas->stream);
	free(cas->subject);
	free(cas->target);
	free(cas->text);
	free(cas->nonce);
	free(cas);
}
