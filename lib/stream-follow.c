/* Following a stream: an ephemeral push consumer of JetStream (nats-server 2.10:
 * $JS.API.CONSUMER.CREATE; the reply subject of a delivery has its sequences, ADR-15) that is
 * replaced by one from the last sequence on whenever something is missing: a heartbeat, a delivery,
 * the connection, or an entry that the leader has. */
#include <errno.h>
#include <stdio.h>

#include "lib/log.h"
#include "lib/loop.h"
#include "lib/str.h"
#include "lib/stream-private.h"

#define HEARTBEAT_USEC 5000000ull
#define ATTACH_USEC 5000000ull	   /* time limit of each request of an attachment */
#define RETRY_FIRST_USEC 100000ull /* doubled after each attempt */
#define RETRY_MAX_USEC 5000000ull
#define LAG_USEC 1000000ull	/* without a delivery: the consumer's replica is behind */
#define LAG_ONCE_MAX 5		/* consumers that a follower with `once` replaces for that */
#define VERIFY_USEC 30000000ull /* between two requests to the leader while live */

/* The request for the last entry of one filter. */
struct target {
	struct stream_follow *follow;
	struct bus_request *request;
};

struct stream_follow {
	struct bus *bus;
	char *domain, *stream;
	char **filters; /* NULL: all */
	enum stream_from from;
	uint64_t start; /* first wanted sequence; 0: unknown, or any */
	uint64_t heartbeat_usec;
	bool once;
	bool headers_only;
	const struct stream_follow_ops *ops;
	void *userdata;

	bool dead;		 /* freed while one of its callbacks runs: destroyed afterwards */
	int busy;		 /* number of callbacks that run now */
	struct stream_seen seen; /* the stream as known from earlier attachments */
	struct stream_seen now;	 /* the stream as the leader last described it */
	uint64_t last;		 /* last stream sequence that was handed over */
	uint64_t consumer_sequence; /* last delivery of this consumer */
	bool attached;		    /* the consumer's creation was answered */
	bool live;
	bool checking;		/* a request to the leader is pending while live */
	uint64_t asked_usec;	/* when the leader was last asked for its state */
	uint64_t checked_usec;	/* `asked_usec` of the last answer that was reached */
	uint64_t head;		/* the stream's last sequence when the leader answered */
	uint64_t target;	/* the leader's last sequence for the filters */
	size_t targets_pending; /* filters whose last entry is not known yet */
	struct target *targets;
	uint64_t lag_last; /* `last` when the lag timer was armed */
	int lags;	   /* consumers on replicas that were behind, with `once` */
	char *consumer;	   /* its name on the server */
	char *inbox;
	struct bus_subscription *subscription;
	struct bus_request *request;  /* the stream's description, or an entry of it */
	struct bus_request *creation; /* of the consumer */
	struct timer *silence, *retry, *lag, *verify;
	uint64_t retry_usec;
};

static void attach(void *userdata);

static void consumer_delete(struct stream_follow *f)
{
	_cleanup_free_ char *api = NULL;

	if (!f->consumer)
		return;
	api = stream_api(f->domain, "CONSUMER.DELETE", f->stream, f->consumer);
	/* The answer is not needed: the server deletes an unused consumer after INACTIVE_USEC. */
	if (bus_publish(f->bus, api, NULL, NULL, "", 0) < 0)
		log_debug("cannot delete consumer %s of %s: the bus is not connected", f->consumer,
			  f->stream);
	free(steal(f->consumer));
}

static size_t n_targets(const struct stream_follow *f)
{
	return f->filters ? strv_count(f->filters) : 1;
}

static void detach(struct stream_follow *f)
{
	consumer_delete(f);
	bus_subscription_free(steal(f->subscription));
	bus_request_cancel(steal(f->request));
	bus_request_cancel(steal(f->creation));
	for (size_t i = 0; i < n_targets(f); i++)
		bus_request_cancel(steal(f->targets[i].request));
	f->targets_pending = 0;
	timer_disarm(f->silence);
	timer_disarm(f->retry);
	timer_disarm(f->lag);
	timer_disarm(f->verify);
	f->attached = f->live = f->checking = false;
	f->consumer_sequence = 0;
}

static void destroy(struct stream_follow *f)
{
	timer_free(f->silence);
	timer_free(f->retry);
	timer_free(f->lag);
	timer_free(f->verify);
	stream_seen_clear(&f->seen);
	stream_seen_clear(&f->now);
	strv_free(f->filters);
	free(f->targets);
	free(f->domain);
	free(f->stream);
	free(f->inbox);
	free(f);
}

void stream_follow_free(struct stream_follow *f)
{
	if (!f || f->dead)
		return;
	detach(f);
	bus_unwatch_state(f->bus, f);
	f->dead = true;
	if (!f->busy)
		destroy(f);
}

/* Callbacks may free the follower: it is destroyed when the outermost of them has returned. */
static bool leave(struct stream_follow *f)
{
	f->busy--;
	if (f->dead && !f->busy) {
		destroy(f);
		return false;
	}
	return !f->dead;
}

static void lost(struct stream_follow *f, const struct failure *why)
{
	detach(f);
	if (!f->once) {
		f->retry_usec =
			MIN2(f->retry_usec ? f->retry_usec * 2 : RETRY_FIRST_USEC, RETRY_MAX_USEC);
		timer_arm(f->retry, f->retry_usec);
	}
	f->busy++;
	if (f->ops->lost)
		f->ops->lost(why, f->userdata);
	leave(f);
}

static void on_silence(void *userdata)
{
	struct stream_follow *f = userdata;
	_cleanup_(failure_clear) struct failure why = FAILURE_INIT;

	failure_set(&why, FAILURE_NO_QUORUM,
		    "`ployzctl status` shows whether the store is reachable",
		    "no heartbeat of %s for %llu s", f->stream,
		    (unsigned long long)(f->heartbeat_usec * 5 / 2 / 1000000));
	f->retry_usec = 0;
	lost(f, &why);
}

/* --- comparing deliveries with the leader's entries --- */

static bool is_complete(const struct stream_follow *f)
{
	uint64_t before = f->start ? f->start - 1 : 0;

	return MAX2(f->last, before) >= f->target;
}

static void lag_arm(struct stream_follow *f)
{
	f->lag_last = f->last;
	timer_arm(f->lag, LAG_USEC);
}

/* Ends an attachment or a request to the leader if everything was delivered. */
static void check_complete(struct stream_follow *f)
{
	uint64_t reached = MAX2(f->last, f->head);
	bool was_live = f->live;

	if (!f->attached || f->targets_pending || (f->live && !f->checking))
		return;
	if (!is_complete(f)) {
		if (!timer_is_armed(f->lag))
			lag_arm(f);
		return;
	}
	timer_disarm(f->lag);
	timer_arm(f->verify, VERIFY_USEC);
	f->live = true;
	f->checking = false;
	f->checked_usec = f->asked_usec;
	f->retry_usec = 0;
	f->busy++;
	if (!was_live && f->ops->live)
		f->ops->live(reached, f->userdata);
	else if (was_live && f->ops->reached)
		f->ops->reached(reached, f->userdata);
	leave(f);
}

static void on_lag(void *userdata)
{
	struct stream_follow *f = userdata;
	_cleanup_(failure_clear) struct failure why = FAILURE_INIT;

	if (f->last > f->lag_last) {
		lag_arm(f);
		return;
	}
	/* The next consumer may be on another replica. */
	if (f->once && f->lags++ < LAG_ONCE_MAX) {
		stream_follow_kick(f);
		return;
	}
	failure_set(&why, FAILURE_NO_QUORUM, "retrying",
		    "a replica of %s is behind: delivered up to %llu, the leader has %llu",
		    f->stream, (unsigned long long)f->last, (unsigned long long)f->target);
	lost(f, &why);
}

static void on_target(const struct failure *failure, const struct stream_entry *entry,
		      void *userdata)
{
	struct target *target = userdata;
	struct stream_follow *f = target->follow;

	target->request = NULL;
	if (failure) {
		lost(f, failure);
		return;
	}
	if (entry)
		f->target = MAX2(f->target, entry->sequence);
	f->targets_pending--;
	check_complete(f);
}

/* Adopts `now`, then requests the leader's last entries for the filters, so that every entry up to
 * `head` is covered. */
static void ask_targets(struct stream_follow *f)
{
	stream_seen_copy(&f->seen, &f->now);
	f->head = f->now.sequence;
	f->target = 0;
	f->targets_pending = n_targets(f);
	for (size_t i = 0; i < n_targets(f); i++)
		stream_last(f->bus, f->domain, f->stream,
			    f->filters ? f->filters[i] : STREAM_ALL_SUBJECTS, ATTACH_USEC,
			    on_target, &f->targets[i], &f->targets[i].request);
}

static void on_check_info(const struct failure *failure, const json_t *info, void *userdata)
{
	struct stream_follow *f = userdata;

	f->request = NULL;
	if (failure) {
		lost(f, failure);
		return;
	}
	stream_seen_clear(&f->now);
	stream_seen_parse(info, &f->now);
	/* The next attachment handles every other change. */
	if (stream_seen_compare(&f->seen, &f->now, f->stream, NULL) == STREAM_SAME)
		ask_targets(f);
	else
		stream_follow_kick(f);
}

static void on_verify(void *userdata)
{
	struct stream_follow *f = userdata;

	f->checking = true;
	f->asked_usec = boot_now_usec();
	stream_info(f->bus, f->domain, f->stream, ATTACH_USEC, on_check_info, f, &f->request);
}

/* --- deliveries --- */

/* A control message: a flow control message must be answered on its reply subject; a heartbeat has
 * the number of deliveries and, if the consumer has stalled, the subject to answer on. */
static void on_control(struct stream_follow *f, const struct bus_message *message)
{
	const char *stalled = bus_header(message, "Nats-Consumer-Stalled");
	const char *delivered = bus_header(message, "Nats-Last-Consumer");
	const char *answer = message->reply && *message->reply ? message->reply : stalled;
	int64_t n;

	if (answer && bus_publish(f->bus, answer, NULL, NULL, "", 0) < 0)
		log_debug("cannot answer flow control of %s: the bus is not connected", f->stream);
	if (delivered && int_parse(delivered, 0, INT64_MAX, &n) == 0 &&
	    (uint64_t)n > f->consumer_sequence) {
		log_info("deliveries of %s are missing (%llu of %lld); attaching again", f->stream,
			 (unsigned long long)f->consumer_sequence, (long long)n);
		stream_follow_kick(f);
	}
}

static void on_delivery(const struct bus_message *message, void *userdata)
{
	struct stream_follow *f = userdata;
	struct stream_entry entry = { .subject = message->subject,
				      .data = message->data,
				      .size = message->size };
	uint64_t consumer_sequence, time_nsec;
	int64_t size;
	int status = bus_status(message);

	timer_arm(f->silence, f->heartbeat_usec * 5 / 2);
	if (status == 100) {
		on_control(f, message);
		return;
	}
	if (status) { /* for example 409: the consumer or its leader is gone */
		log_info("the server ended the consumer of %s (status %d); attaching again",
			 f->stream, status);
		stream_follow_kick(f);
		return;
	}
	if (stream_delivery_parse(message->reply, &entry.sequence, &consumer_sequence, &time_nsec) <
	    0)
		return;
	/* Readers depend on the order. */
	if (consumer_sequence != f->consumer_sequence + 1 || entry.sequence <= f->last) {
		log_info("a delivery of %s was skipped or repeated; attaching again", f->stream);
		stream_follow_kick(f);
		return;
	}
	entry.time_usec = time_nsec / 1000;
	if (f->headers_only &&
	    int_parse(bus_header(message, "Nats-Msg-Size"), 0, INT64_MAX, &size) == 0)
		entry.size = (size_t)size;
	f->consumer_sequence = consumer_sequence;
	f->last = entry.sequence;
	if (entry.sequence > f->seen.sequence) {
		f->seen.sequence = entry.sequence;
		f->seen.time_usec = entry.time_usec;
	}
	f->busy++;
	f->ops->entry(&entry, f->userdata);
	if (leave(f))
		check_complete(f);
}

/* --- attaching --- */

static void on_created(int error, const struct bus_message *reply, void *userdata)
{
	struct stream_follow *f = userdata;
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;
	_cleanup_json_ json_t *json = NULL;

	f->creation = NULL;
	if (error < 0) {
		stream_transport_failure(error, f->stream, &failure);
	} else {
		json = json_loadb(reply->data, reply->size, 0, NULL);
		stream_api_error(json, f->stream, &failure);
	}
	if (failure_is_set(&failure)) {
		lost(f, &failure);
		return;
	}
	f->attached = true;
	check_complete(f);
}

static void create(struct stream_follow *f)
{
	struct stream_consumer consumer = {
		.filters = f->filters,
		.last_per_subject = f->from == STREAM_FROM_LAST_PER_SUBJECT,
		.start = f->last ? f->last + 1 : f->start,
		.heartbeat_usec = f->heartbeat_usec,
		.headers_only = f->headers_only,
	};
	_cleanup_json_ json_t *request = NULL;
	_cleanup_free_ char *api = NULL, *text = NULL, *more = NULL;
	const char *filter;

	f->consumer = id_new();
	free(f->inbox);
	f->inbox = bus_inbox(f->bus);
	if (bus_subscribe(f->bus, f->inbox, on_delivery, f, &f->subscription) < 0) {
		detach(f);
		timer_arm(f->retry, RETRY_FIRST_USEC);
		return;
	}
	consumer.name = f->consumer;
	consumer.inbox = f->inbox;
	request = json_pack("{s:s, s:o}", "stream_name", f->stream, "config",
			    stream_consumer_config(&consumer));
	filter = json_string_value(
		json_object_get(json_object_get(request, "config"), "filter_subject"));
	more = filter ? xasprintf("%s.%s", f->consumer, filter) : xstrdup(f->consumer);
	api = stream_api(f->domain, "CONSUMER.CREATE", f->stream, more);
	text = json_text(request);
	timer_arm(f->silence, f->heartbeat_usec * 5 / 2);
	bus_request(f->bus, api, NULL, text, strlen(text), ATTACH_USEC, on_created, f,
		    &f->creation);
}

static void begin(struct stream_follow *f)
{
	if (f->from == STREAM_FROM_NEW && !f->start)
		f->start = f->now.sequence + 1;
	ask_targets(f);
	create(f);
}

static void begin_anew(struct stream_follow *f)
{
	f->last = 0;
	if (f->from == STREAM_FROM_NEW)
		f->start = 0;
	f->busy++;
	if (f->ops->restart)
		f->ops->restart(f->userdata);
	if (leave(f))
		begin(f);
}

/* The last known entry: if it is unchanged, the entries after it continue those that were handed
 * over. */
static void on_evidence(const struct failure *failure, const struct stream_entry *entry,
			void *userdata)
{
	struct stream_follow *f = userdata;
	_cleanup_(failure_clear) struct failure reverted = FAILURE_INIT;

	f->request = NULL;
	if (failure) {
		lost(f, failure);
	} else if (entry && entry->time_usec != f->seen.time_usec) {
		stream_seen_reverted(&f->seen, f->stream, &reverted);
		lost(f, &reverted);
	} else if (!entry && f->last && f->from == STREAM_FROM_LAST_PER_SUBJECT) {
		log_debug("%s has dropped the last entry that was read; reading it from the "
			  "beginning",
			  f->stream);
		begin_anew(f);
	} else {
		begin(f);
	}
}

static void on_info(const struct failure *failure, const json_t *info, void *userdata)
{
	struct stream_follow *f = userdata;
	_cleanup_(failure_clear) struct failure foreign = FAILURE_INIT;

	f->request = NULL;
	if (failure) {
		lost(f, failure);
		return;
	}
	stream_seen_clear(&f->now);
	stream_seen_parse(info, &f->now);
	switch (stream_seen_compare(&f->seen, &f->now, f->stream, &foreign)) {
	case STREAM_FOREIGN:
		/* A higher generation was set by an operator, who has accepted the store. */
		if (!f->seen.generation)
			f->seen.generation = f->now.generation;
		lost(f, &foreign);
		return;
	case STREAM_NEWER:
		log_notice("%s is of store generation %lld now; reading it from the beginning",
			   f->stream, (long long)f->now.generation);
		begin_anew(f);
		return;
	case STREAM_SAME:
		if (f->seen.time_usec && f->now.sequence > f->seen.sequence) {
			stream_at(f->bus, f->domain, f->stream, f->seen.sequence, ATTACH_USEC,
				  on_evidence, f, &f->request);
			return;
		}
		begin(f);
		return;
	case STREAM_FIRST:
		begin(f);
		return;
	}
}

static void attach(void *userdata)
{
	struct stream_follow *f = userdata;

	f->asked_usec = boot_now_usec();
	stream_info(f->bus, f->domain, f->stream, ATTACH_USEC, on_info, f, &f->request);
}

void stream_follow_kick(struct stream_follow *f)
{
	detach(f);
	timer_arm(f->retry, 0);
}

void stream_follow_check(struct stream_follow *f)
{
	if (timer_is_armed(f->retry)) {
		timer_arm(f->retry, 0);
	} else if (f->live && !f->checking) {
		timer_disarm(f->verify);
		on_verify(f);
	}
}

static void on_bus(bool connected, void *userdata)
{
	struct stream_follow *f = userdata;
	_cleanup_(failure_clear) struct failure why = FAILURE_INIT;

	if (connected) {
		stream_follow_kick(f);
		return;
	}
	failure_set(&why, FAILURE_UNREACHABLE, "start nats-server on this machine",
		    "the local bus is not connected");
	lost(f, &why);
}

struct stream_follow *stream_follow_new(struct bus *bus,
					const struct stream_follow_options *options,
					const struct stream_follow_ops *ops, void *userdata)
{
	struct stream_follow *f = xcalloc(1, sizeof(*f));

	f->bus = bus;
	f->domain = xstrdup(options->domain);
	f->stream = xstrdup(options->stream);
	f->filters = options->filters ? strv_copy((char *const *)options->filters) : NULL;
	f->targets = xcalloc(n_targets(f), sizeof(*f->targets));
	for (size_t i = 0; i < n_targets(f); i++)
		f->targets[i].follow = f;
	f->from = options->from;
	f->start = options->from == STREAM_FROM_SEQUENCE ? options->sequence : 0;
	f->heartbeat_usec = options->heartbeat_usec ? options->heartbeat_usec : HEARTBEAT_USEC;
	f->once = options->once;
	f->headers_only = options->headers_only;
	if (options->seen)
		stream_seen_copy(&f->seen, options->seen);
	f->ops = ops;
	f->userdata = userdata;
	f->silence = timer_new(bus_loop(bus), on_silence, f);
	f->retry = timer_new(bus_loop(bus), attach, f);
	f->lag = timer_new(bus_loop(bus), on_lag, f);
	f->verify = timer_new(bus_loop(bus), on_verify, f);
	bus_watch_state(bus, on_bus, f);
	timer_arm(f->retry, 0);
	return f;
}

uint64_t stream_follow_checked(const struct stream_follow *f)
{
	return f->live ? f->checked_usec : 0;
}

bool stream_follow_is_live(const struct stream_follow *f)
{
	return f->live;
}

const struct stream_seen *stream_follow_seen(const struct stream_follow *f)
{
	return &f->seen;
}

void stream_follow_learn(struct stream_follow *f, const struct stream_seen *seen)
{
	if (seen->sequence <= f->seen.sequence)
		return;
	f->seen.sequence = seen->sequence;
	f->seen.time_usec = seen->time_usec;
}
