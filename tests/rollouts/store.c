/* Store: simulates one log with compare-and-set per subject. Reads are served by its leader. An
 * append may be late, lose its answer or be refused; one whose writer has ended may still be
 * stored. */
#include "tests/rollouts/world.h"

#include <stdio.h>

#include "lib/str.h"

static struct world *world_of(const struct rollout *r)
{
	return holder_of(r)->world;
}

const struct log_entry *store_last(const struct world *w, const char *stream, const char *subject)
{
	for (size_t i = w->n_log; i-- > 0;)
		if (streq(w->log[i].subject, subject) && streq(w->log[i].stream, stream))
			return &w->log[i];
	return NULL;
}

const struct log_entry *store_head(const struct world *w, const char *ns)
{
	for (size_t i = w->n_log; i-- > 0;)
		if (w->log[i].head && streq(w->log[i].head->ns, ns))
			return &w->log[i];
	return NULL;
}

const struct head *store_head_at(const struct world *w, const char *ns, uint64_t sequence)
{
	for (size_t i = w->n_log; i-- > 0;)
		if (w->log[i].head && w->log[i].sequence <= sequence &&
		    streq(w->log[i].head->ns, ns))
			return w->log[i].head;
	return NULL;
}

static struct log_entry *put(struct world *w, const char *stream, const char *subject,
			     const char *text, const char *nonce)
{
	struct log_entry *entry = array_add(w->log, w->n_log);

	entry->stream = stream;
	entry->subject = xstrdup(subject);
	entry->text = xstrdup(text);
	entry->nonce = xstrdup(nonce);
	entry->sequence = ++w->last;
	if (w->trace)
		printf("# %9.3f stored %llu: %.90s\n", (double)(w->now - 1000 * S) / 1e6,
		       (unsigned long long)entry->sequence, text);
	if (subject_match(SUBJECT_NAMESPACE, subject, NULL, NULL)) {
		void *head = NULL;

		codec_parse(&head_schema, text, strlen(text), CODEC_LENIENT, &head, NULL);
		entry->head = head;
	}
	return entry;
}

void store_put(struct world *w, const char *stream, const char *subject, const char *text)
{
	put(w, stream, subject, text, NULL);
}

void store_free(struct world *w)
{
	for (size_t i = 0; i < w->n_log; i++) {
		free(w->log[i].subject);
		free(w->log[i].text);
		free(w->log[i].nonce);
		head_free(w->log[i].head);
	}
	free(w->log);
}

/* --- reads */

/* A read returns the leader's entries at the time when the request arrives. */
struct reading {
	struct store_read *read; /* NULL: the reader has ended */
	enum { READ_LAST, READ_AT, READ_NEXT, READ_HISTORY, READ_CLAIMS } what;
	const char *stream;
	char *subject;
	uint64_t sequence;
};

static void reading_free(void *p)
{
	struct reading *reading = p;

	if (reading->read)
		reading->read->handle = NULL;
	free(reading->subject);
	free(reading);
}

static bool wanted(const struct reading *reading, const struct log_entry *entry)
{
	switch (reading->what) {
	case READ_LAST:
	case READ_HISTORY:
		return streq(entry->subject, reading->subject);
	case READ_AT:
		return entry->sequence == reading->sequence &&
		       streq(entry->stream, reading->stream);
	case READ_NEXT:
		return streq(entry->subject, reading->subject) &&
		       entry->sequence > reading->sequence;
	case READ_CLAIMS:
		return subject_match(SUBJECT_NAMESPACE, entry->subject, NULL, NULL) ||
		       subject_match(SUBJECT_ROUTE, entry->subject, NULL, NULL);
	}
	return false;
}

static bool is_last(const struct world *w, const struct log_entry *entry)
{
	return store_last(w, entry->stream, entry->subject) == entry;
}

static void answer_read(struct world *w, void *userdata)
{
	struct reading *reading = userdata;
	struct store_read *read = reading->read;
	struct failure failure = FAILURE_INIT;

	if (read && w->now < w->store_away_until) {
		failure_set(&failure, FAILURE_NO_QUORUM, NULL, "the store does not answer");
		reading->read = NULL;
		read->handle = NULL;
		read_done(read, &failure);
		failure_clear(&failure);
		reading_free(reading);
		return;
	}
	for (size_t i = 0; read && i < w->n_log; i++) {
		const struct log_entry *entry = &w->log[i];

		if (!wanted(reading, entry))
			continue;
		if ((reading->what == READ_LAST || reading->what == READ_CLAIMS) &&
		    !is_last(w, entry))
			continue;
		read_add(read, entry->subject, entry->sequence, entry->text, strlen(entry->text));
		if (reading->what == READ_NEXT)
			break;
	}
	if (read) {
		reading->read = NULL;
		read->handle = NULL;
		read_done(read, NULL);
	}
	reading_free(reading);
}

static void begin_read(struct store_read *read, int what, const char *stream, const char *subject,
		       uint64_t sequence)
{
	struct world *w = world_of(read->rollout);
	struct reading *reading = xcalloc(1, sizeof(*reading));

	reading->read = read;
	reading->what = what;
	reading->stream = stream;
	reading->subject = xstrdup(subject);
	reading->sequence = sequence;
	read->handle = reading;
	world_at(w, world_latency(w), answer_read, reading, reading_free);
}

void sim_read_last(struct store_read *read, const char *stream, const char *subject)
{
	begin_read(read, READ_LAST, stream, subject, 0);
}

void sim_read_at(struct store_read *read, const char *stream, uint64_t sequence)
{
	begin_read(read, READ_AT, stream, NULL, sequence);
}

void sim_read_next(struct store_read *read, const char *subject, uint64_t after)
{
	begin_read(read, READ_NEXT, STREAM_INTENT, subject, after);
}

void sim_read_history(struct store_read *read, const char *subject)
{
	begin_read(read, READ_HISTORY, STREAM_INTENT, subject, 0);
}

void sim_read_claims(struct store_read *read)
{
	begin_read(read, READ_CLAIMS, STREAM_INTENT, NULL, 0);
}

void sim_cancel_read(struct store_read *read)
{
	struct reading *reading = steal(read->handle);

	if (reading)
		reading->read = NULL;
}

/* --- appends */

static void attempt_unref(void *p)
{
	struct attempt *a = p;

	if (--a->references)
		return;
	if (a->write)
		a->write->handle = NULL;
	free(a->subject);
	free(a->text);
	free(a->nonce);
	free(a);
}

/* The request reaches the leader. */
static void arrive(struct world *w, void *userdata)
{
	struct attempt *a = userdata;
	const struct log_entry *last = store_last(w, a->stream, a->subject);

	if (w->now < w->store_away_until) {
		/* A lost request is repeated while its writer exists. */
		if (a->write && w->now < a->deadline) {
			world_at(w, 250 * MS, arrive, a, attempt_unref);
			return;
		}
	} else if ((last ? last->sequence : 0) == a->expected) {
		struct log_entry *entry = put(w, a->stream, a->subject, a->text, a->nonce);

		a->outcome = ATTEMPT_STORED;
		a->sequence = entry->sequence;
		check_append(w, entry);
		if (entry->head)
			agents_head_changed(w, entry->head->ns);
	} else {
		a->outcome = ATTEMPT_CONFLICT;
	}
	attempt_unref(a);
}

/* The writer gets the outcome, from the answer or by reading the subject back. */
static void resolve(struct world *w, void *userdata)
{
	struct attempt *a = userdata;
	struct failure failure = FAILURE_INIT;
	const struct log_entry *last;

	if (!a->write || a->resolved) {
		attempt_unref(a);
		return;
	}
	if (a->outcome == ATTEMPT_FLYING && w->now < a->deadline) {
		world_at(w, 250 * MS, resolve, a, attempt_unref);
		return;
	}
	a->resolved = true;
	a->write->handle = NULL;
	switch (a->outcome) {
	case ATTEMPT_FLYING:
		failure_set(&failure, FAILURE_NO_QUORUM, NULL, "the store did not answer");
		write_done(a->write, WRITE_UNKNOWN, 0, &failure);
		break;
	case ATTEMPT_STORED:
		last = store_last(w, a->stream, a->subject);
		write_done(a->write, last->sequence == a->sequence ? WRITE_DONE : WRITE_SUPERSEDED,
			   a->sequence, NULL);
		break;
	case ATTEMPT_CONFLICT:
		failure_set(&failure, FAILURE_STALE, NULL, "another writer changed it");
		write_done(a->write, WRITE_CONFLICT, 0, &failure);
		break;
	}
	failure_clear(&failure);
	a->write = NULL;
	attempt_unref(a);
}

static void refuse(struct world *w, void *userdata)
{
	struct attempt *a = userdata;
	struct failure failure = FAILURE_INIT;

	(void)w;
	if (a->write) {
		failure_set(&failure, FAILURE_REFUSED, NULL, "the stream is full");
		a->write->handle = NULL;
		write_done(a->write, WRITE_REFUSED, 0, &failure);
		failure_clear(&failure);
	}
	attempt_unref(a);
}

void sim_append(struct store_write *write, const struct store_append *append)
{
	struct world *w = world_of(write->rollout);
	struct attempt *a = xcalloc(1, sizeof(*a));
	uint64_t arrival = world_latency(w), answer;

	a->world = w;
	a->write = write;
	a->stream = append->stream;
	a->subject = xstrdup(append->subject);
	a->text = xstrdup(append->text);
	a->nonce = xstrdup(append->nonce);
	a->expected = append->expected;
	a->deadline = MIN2(write->rollout->lease.deadline_usec, w->now + 60 * S);
	write->handle = a;
	if (world_chance(w, 2)) {
		a->references = 1;
		world_at(w, world_latency(w), refuse, a, attempt_unref);
		return;
	}
	/* Delays beyond the writer's deadline test late appends. */
	if (world_chance(w, 6))
		arrival = world_random(w, 60 * S);
	answer = arrival + (world_chance(w, 10) ? world_random(w, 20 * S) : world_latency(w));
	answer = MIN2(answer, a->deadline > w->now ? a->deadline - w->now : 0);
	a->references = 2;
	world_at(w, arrival, arrive, a, attempt_unref);
	world_at(w, answer, resolve, a, attempt_unref);
}

void sim_cancel_write(struct store_write *write)
{
	struct attempt *a = steal(write->handle);

	if (a)
		a->write = NULL;
}
