/* Reads from the store's leader and compare-and-set appends of a rollout. */
#include "leased/leased.h"

/* One pending read: a request, or a follower that ends once it is live. */
struct reading {
	struct store_read *read;
	struct bus_request *request;
	struct stream_follow *follow;
	struct timer *deadline;
};

static struct bus *bus_of(const struct rollout *r)
{
	const struct execution *execution = r->userdata;

	return execution->leased->daemon->bus;
}

static void reading_free(struct reading *reading)
{
	stream_follow_free(reading->follow);
	bus_request_cancelp(&reading->request);
	timer_free(reading->deadline);
	free(reading);
}

static struct reading *reading_new(struct store_read *read)
{
	struct reading *reading = xcalloc(1, sizeof(*reading));

	reading->read = read;
	read->handle = reading;
	return reading;
}

static void finish(struct reading *reading, const struct failure *failure)
{
	struct store_read *read = reading->read;

	read->handle = NULL;
	read_done(read, failure);
	reading_free(reading);
}

static void on_entry(const struct failure *failure, const struct stream_entry *entry,
		     void *userdata)
{
	struct reading *reading = userdata;

	reading->request = NULL;
	if (entry)
		read_add(reading->read, entry->subject, entry->sequence, entry->data, entry->size);
	finish(reading, failure);
}

void execution_read_last(struct store_read *read, const char *stream, const char *subject)
{
	struct reading *reading = reading_new(read);

	stream_last(bus_of(read->rollout), STORE_DOMAIN, stream, subject, CAS_STORE_USEC, on_entry,
		    reading, &reading->request);
}

void execution_read_at(struct store_read *read, const char *stream, uint64_t sequence)
{
	struct reading *reading = reading_new(read);

	stream_at(bus_of(read->rollout), STORE_DOMAIN, stream, sequence, CAS_STORE_USEC, on_entry,
		  reading, &reading->request);
}

void execution_read_next(struct store_read *read, const char *subject, uint64_t after)
{
	struct reading *reading = reading_new(read);

	stream_next(bus_of(read->rollout), STORE_DOMAIN, STREAM_INTENT, subject, after + 1,
		    CAS_STORE_USEC, on_entry, reading, &reading->request);
}

static void on_followed(const struct stream_entry *entry, void *userdata)
{
	struct reading *reading = userdata;

	read_add(reading->read, entry->subject, entry->sequence, entry->data, entry->size);
}

static void on_live(_unused_ uint64_t sequence, void *userdata)
{
	finish(userdata, NULL);
}

static void on_lost(const struct failure *why, void *userdata)
{
	finish(userdata, why);
}

static void on_deadline(void *userdata)
{
	struct failure late = FAILURE_INIT;

	failure_set(&late, FAILURE_NO_QUORUM, "`ployzctl status` shows whether the store answers",
		    "cannot read " STREAM_INTENT ": the store did not answer within %llu s",
		    (unsigned long long)(STORE_READ_USEC / 1000000));
	finish(userdata, &late);
	failure_clear(&late);
}

static void follow(struct store_read *read, const char *const *filters, enum stream_from from)
{
	static const struct stream_follow_ops ops = {
		.entry = on_followed,
		.live = on_live,
		.lost = on_lost,
	};
	const struct stream_follow_options options = {
		.domain = STORE_DOMAIN,
		.stream = STREAM_INTENT,
		.filters = filters,
		.from = from,
		.once = true,
	};
	struct reading *reading = reading_new(read);
	struct bus *bus = bus_of(read->rollout);

	reading->deadline = timer_new(bus_loop(bus), on_deadline, reading);
	timer_arm(reading->deadline, STORE_READ_USEC);
	reading->follow = stream_follow_new(bus, &options, &ops, reading);
}

void execution_read_history(struct store_read *read, const char *subject)
{
	const char *const filters[] = { subject, NULL };

	follow(read, filters, STREAM_FROM_ALL);
}

void execution_read_claims(struct store_read *read)
{
	_cleanup_free_ char *claims = subject_filter(SUBJECT_ROUTE);
	const char *const filters[] = { INTENT_NAMESPACES, claims, NULL };

	follow(read, filters, STREAM_FROM_LAST_PER_SUBJECT);
}

void execution_cancel_read(struct store_read *read)
{
	if (read->handle)
		reading_free(steal(read->handle));
}

/* --- appends */

static void on_written(enum cas_outcome outcome, uint64_t sequence, const struct failure *failure,
		       void *userdata)
{
	static const enum write_state states[] = {
		[CAS_DONE] = WRITE_DONE,	 [CAS_SUPERSEDED] = WRITE_SUPERSEDED,
		[CAS_CONFLICT] = WRITE_CONFLICT, [CAS_REFUSED] = WRITE_REFUSED,
		[CAS_UNKNOWN] = WRITE_UNKNOWN,
	};
	struct store_write *write = userdata;

	write_done(write, states[outcome], sequence, failure);
	cas_free(steal(write->handle));
}

static void on_waiting(const char *why, void *userdata)
{
	struct store_write *write = userdata;

	rollout_note(write->rollout, "%s; repeating the append until the lease's deadline", why);
}

void execution_append(struct store_write *write, const struct store_append *append)
{
	const struct cas_options options = {
		.stream = append->stream,
		.key = append->subject,
		.text = append->text,
		.nonce = append->nonce,
		.expected = append->expected,
		.deadline_usec = write->rollout->lease.deadline_usec,
		.eager = append->eager,
	};

	write->handle = cas_append(bus_of(write->rollout), &options, on_written, on_waiting, write);
}

void execution_cancel_write(struct store_write *write)
{
	cas_free(steal(write->handle));
}

void execution_extend_write(struct execution *execution)
{
	struct store_write *write = &execution->rollout->write;

	if (write->handle)
		cas_extend(write->handle, held_lease_deadline(execution->lease));
}
