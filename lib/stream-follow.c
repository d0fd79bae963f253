/* Following a stream: an ephemeral push consumer of JetStream (nats-server 2.10:
 * $JS.API.CONSUMER.CREATE; deliveries name their place in their reply subject, ADR-15) that is made
 * anew from the last sequence whenever something is missing: a heartbeat, a delivery, the
 * connection. */
#include <errno.h>
#include <stdio.h>

#include "lib/log.h"
#include "lib/loop.h"
#include "lib/str.h"
#include "lib/stream-private.h"

#define HEARTBEAT_USEC 5000000ull
#define ATTACH_USEC 5000000ull	   /* for each of the two requests of an attachment */
#define RETRY_FIRST_USEC 100000ull /* doubled from try to try */
#define RETRY_MAX_USEC 5000000ull
#define GONE_AFTER_USEC 60000000ull /* the server forgets a consumer that nobody listens to */

struct stream_follow {
	struct bus *bus;
	char *domain, *stream;
	char **filters; /* NULL: all */
	enum stream_from from;
	uint64_t start; /* of STREAM_FROM_SEQUENCE */
	uint64_t heartbeat_usec;
	bool once;
	bool headers_only;
	const struct stream_follow_ops *ops;
	void *userdata;

	bool dead; /* freed while one of its callbacks runs */
	int busy;  /* callbacks that run now */
	bool live;
	char *created;		    /* the stream's birth: another one is another stream */
	uint64_t last;		    /* last stream sequence that was handed over */
	uint64_t head;		    /* the stream's last sequence when this attachment began */
	uint64_t consumer_sequence; /* last delivery of this consumer */
	bool attached;		    /* the consumer's creation was answered */
	bool nothing_pending;	    /* nothing was waiting when it was created */
	bool drained;		    /* the last delivery said that nothing waits behind it */
	char *consumer;		    /* its name on the server */
	char *inbox;
	struct bus_subscription *subscription;
	struct bus_request *request;
	struct timer *silence, *retry;
	uint64_t retry_usec;
};

static void attach(void *userdata);

static void consumer_delete(struct stream_follow *f)
{
	_cleanup_free_ char *api = NULL;

	if (!f->consumer)
		return;
	api = stream_api(f->domain, "CONSUMER.DELETE", f->stream, f->consumer);
	/* Nobody waits for the answer: a consumer that stays behind ends by itself. */
	if (bus_publish(f->bus, api, NULL, NULL, "", 0) < 0)
		log_debug("could not delete consumer %s of %s", f->consumer, f->stream);
	free(steal(f->consumer));
}

static void detach(struct stream_follow *f)
{
	consumer_delete(f);
	bus_subscription_free(steal(f->subscription));
	if (f->request)
		bus_request_cancel(steal(f->request));
	timer_disarm(f->silence);
	timer_disarm(f->retry);
	f->attached = f->nothing_pending = f->drained = f->live = false;
	f->consumer_sequence = 0;
}

static void destroy(struct stream_follow *f)
{
	timer_free(f->silence);
	timer_free(f->retry);
	free(f->domain);
	free(f->stream);
	strv_free(f->filters);
	free(f->created);
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

/* Callbacks may free the follower: it then goes when the outermost of them has returned. */
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
	bool again = !f->once;

	detach(f);
	if (again) {
		f->retry_usec =
			MIN2(f->retry_usec ? f->retry_usec * 2 : RETRY_FIRST_USEC, RETRY_MAX_USEC);
		timer_arm(f->retry, f->retry_usec);
	}
	f->busy++;
	if (f->ops->lost)
		f->ops->lost(why, f->userdata);
	leave(f);
}

static void now_live(struct stream_follow *f)
{
	f->live = true;
	f->retry_usec = 0;
	f->busy++;
	if (f->ops->live)
		f->ops->live(MAX2(f->last, f->head), f->userdata);
	leave(f);
}

static void check_live(struct stream_follow *f)
{
	if (!f->live && f->attached && (f->consumer_sequence ? f->drained : f->nothing_pending))
		now_live(f);
}

static void on_silence(void *userdata)
{
	struct stream_follow *f = userdata;
	struct failure why = FAILURE_INIT;

	failure_set(&why, FAILURE_NO_QUORUM, "is the store running and linked to the local bus?",
		    "nothing was heard of %s for %llu s", f->stream,
		    (unsigned long long)(f->heartbeat_usec * 5 / 2 / 1000000));
	f->retry_usec = 0;
	lost(f, &why);
	failure_clear(&why);
}

/* $JS.ACK.<stream>.<consumer>.<deliveries>.<sequence>.<consumer sequence>.<time>.<pending>, or with
 * <domain>.<account> before the stream and a token at the end (ADR-15). */
static int delivery_parse(const char *reply, uint64_t *sequence, uint64_t *consumer_sequence,
			  uint64_t *time_nsec, uint64_t *pending)
{
	_cleanup_(strv_freep) char **words = strv_split(reply ? reply : "", ".");
	size_t n = strv_count(words), base = n >= 11 ? 6 : 4;
	int64_t values[4];

	if (n < 9 || !streq(words[0], "$JS") || !streq(words[1], "ACK"))
		return -EBADMSG;
	for (size_t i = 0; i < 4; i++)
		if (int_parse(words[base + 1 + i], 0, INT64_MAX, &values[i]) < 0)
			return -EBADMSG;
	*sequence = (uint64_t)values[0];
	*consumer_sequence = (uint64_t)values[1];
	*time_nsec = (uint64_t)values[2];
	*pending = (uint64_t)values[3];
	return 0;
}

/* A control message: flow control wants an answer on its reply subject; a heartbeat says how many
 * deliveries there were, and where to answer when the consumer stalls. */
static void on_control(struct stream_follow *f, const struct bus_message *message)
{
	const char *stalled = bus_header(message, "Nats-Consumer-Stalled");
	const char *delivered = bus_header(message, "Nats-Last-Consumer");
	const char *answer = message->reply && *message->reply ? message->reply : stalled;
	int64_t n;

	if (answer && bus_publish(f->bus, answer, NULL, NULL, "", 0) < 0)
		log_debug("could not answer flow control of %s", f->stream);
	if (delivered && int_parse(delivered, 0, INT64_MAX, &n) == 0 &&
	    (uint64_t)n > f->consumer_sequence) {
		log_info("deliveries of %s are missing (%llu of %lld): following it anew",
			 f->stream, (unsigned long long)f->consumer_sequence, (long long)n);
		stream_follow_kick(f);
	}
}

static void on_delivery(const struct bus_message *message, void *userdata)
{
	struct stream_follow *f = userdata;
	struct stream_entry entry = { .subject = message->subject,
				      .data = message->data,
				      .size = message->size };
	uint64_t consumer_sequence, time_nsec, pending;
	int64_t size;
	int status = bus_status(message);

	timer_arm(f->silence, f->heartbeat_usec * 5 / 2);
	if (status == 100) {
		on_control(f, message);
		return;
	}
	if (status) { /* 409 and the like: the consumer or its leader is gone */
		log_info("the server ended the consumer of %s (status %d): following it anew",
			 f->stream, status);
		stream_follow_kick(f);
		return;
	}
	if (delivery_parse(message->reply, &entry.sequence, &consumer_sequence, &time_nsec,
			   &pending) < 0)
		return;
	/* Whoever keeps what was handed over counts on the order. */
	if (consumer_sequence != f->consumer_sequence + 1 || entry.sequence <= f->last) {
		log_info("a delivery of %s was skipped, or came twice: following it anew",
			 f->stream);
		stream_follow_kick(f);
		return;
	}
	entry.time_usec = time_nsec / 1000;
	if (f->headers_only &&
	    int_parse(bus_header(message, "Nats-Msg-Size"), 0, INT64_MAX, &size) == 0)
		entry.size = (size_t)size;
	f->consumer_sequence = consumer_sequence;
	f->last = entry.sequence;
	f->drained = pending == 0;
	f->busy++;
	f->ops->entry(&entry, f->userdata);
	if (leave(f))
		check_live(f);
}

static json_t *consumer_config(const struct stream_follow *f)
{
	json_t *config = json_pack("{s:s, s:s, s:s, s:s, s:b, s:I, s:b, s:i, s:I, s:i}", "name",
				   f->consumer, "deliver_subject", f->inbox, "ack_policy", "none",
				   "replay_policy", "instant", "flow_control", 1, "idle_heartbeat",
				   (json_int_t)f->heartbeat_usec * 1000, "mem_storage", 1,
				   "num_replicas", 1, "inactive_threshold",
				   (json_int_t)GONE_AFTER_USEC * 1000, "max_deliver", 1);
	const char *policy = "all";
	json_t *filters;
	uint64_t sequence = f->last ? f->last + 1 : f->start;

	if (f->last || f->from == STREAM_FROM_SEQUENCE) {
		policy = "by_start_sequence";
		json_object_set_new(config, "opt_start_seq", json_integer((json_int_t)sequence));
	} else if (f->from == STREAM_FROM_LAST_PER_SUBJECT) {
		policy = "last_per_subject";
	} else if (f->from == STREAM_FROM_NEW) {
		policy = "new";
	}
	json_object_set_new(config, "deliver_policy", json_string(policy));
	if (f->headers_only)
		json_object_set_new(config, "headers_only", json_true());
	if (strv_count(f->filters) > 1) {
		filters = json_array();
		for (size_t i = 0; f->filters[i]; i++)
			json_array_append_new(filters, json_string(f->filters[i]));
		json_object_set_new(config, "filter_subjects", filters);
	} else if (f->filters || f->from == STREAM_FROM_LAST_PER_SUBJECT) {
		json_object_set_new(config, "filter_subject",
				    json_string(f->filters ? f->filters[0] : ">"));
	}
	return config;
}

static void on_created(int error, const struct bus_message *reply, void *userdata)
{
	struct stream_follow *f = userdata;
	struct failure failure = FAILURE_INIT;
	_cleanup_json_ json_t *json = NULL;
	int code = 0;

	f->request = NULL;
	if (error < 0) {
		stream_transport_failure(error, f->stream, &failure);
	} else {
		json = json_loadb(reply->data, reply->size, 0, NULL);
		code = stream_api_error(json, f->stream, &failure);
	}
	if (error < 0 || code != 0) {
		lost(f, &failure);
		failure_clear(&failure);
		return;
	}
	f->attached = true;
	f->nothing_pending = json_integer_value(json_object_get(json, "num_pending")) == 0;
	check_live(f);
}

static void create(struct stream_follow *f)
{
	_cleanup_json_ json_t *request = NULL;
	_cleanup_free_ char *api = NULL, *text = NULL, *more = NULL;
	const char *filter;

	free(f->consumer);
	f->consumer = id_new();
	free(f->inbox);
	f->inbox = bus_inbox(f->bus);
	if (bus_subscribe(f->bus, f->inbox, on_delivery, f, &f->subscription) < 0) {
		timer_arm(f->retry, RETRY_FIRST_USEC);
		return;
	}
	request = json_pack("{s:s, s:o}", "stream_name", f->stream, "config", consumer_config(f));
	filter = json_string_value(
		json_object_get(json_object_get(request, "config"), "filter_subject"));
	more = filter ? xasprintf("%s.%s", f->consumer, filter) : xstrdup(f->consumer);
	api = stream_api(f->domain, "CONSUMER.CREATE", f->stream, more);
	text = json_text(request);
	timer_arm(f->silence, f->heartbeat_usec * 5 / 2);
	bus_request(f->bus, api, NULL, text, strlen(text), ATTACH_USEC, on_created, f, &f->request);
}

/* The stream first: one that was made anew, or that is shorter than what was seen of it, is another
 * stream, and nothing that was handed over counts any more. */
static void on_stream_info(const struct failure *failure, const json_t *info, void *userdata)
{
	struct stream_follow *f = userdata;
	const json_t *state = json_object_get(info, "state");
	const char *created = json_string_value(json_object_get(info, "created"));

	f->request = NULL;
	if (failure) {
		lost(f, failure);
		return;
	}
	f->head = (uint64_t)json_integer_value(json_object_get(state, "last_seq"));
	if (f->created && (!streq(f->created, created) || f->head < f->last)) {
		log_notice("stream %s is another one than before: reading it from the beginning",
			   f->stream);
		f->last = 0;
		f->busy++;
		if (f->ops->restart)
			f->ops->restart(f->userdata);
		if (!leave(f))
			return;
	}
	free(f->created);
	f->created = xstrdup(created);
	create(f);
}

static void attach(void *userdata)
{
	struct stream_follow *f = userdata;

	detach(f);
	stream_info(f->bus, f->domain, f->stream, ATTACH_USEC, on_stream_info, f, &f->request);
}

void stream_follow_kick(struct stream_follow *f)
{
	detach(f);
	timer_arm(f->retry, 0);
}

static void on_bus(bool connected, void *userdata)
{
	struct stream_follow *f = userdata;
	struct failure why = FAILURE_INIT;

	if (connected) {
		stream_follow_kick(f);
		return;
	}
	failure_set(&why, FAILURE_UNREACHABLE, "is nats-server running on this machine?",
		    "the local bus is not connected");
	lost(f, &why);
	failure_clear(&why);
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
	f->from = options->from;
	f->start = options->sequence;
	f->heartbeat_usec = options->heartbeat_usec ? options->heartbeat_usec : HEARTBEAT_USEC;
	f->once = options->once;
	f->headers_only = options->headers_only;
	f->ops = ops;
	f->userdata = userdata;
	f->silence = timer_new(bus_loop(bus), on_silence, f);
	f->retry = timer_new(bus_loop(bus), attach, f);
	bus_watch_state(bus, on_bus, f);
	timer_arm(f->retry, 0);
	return f;
}

bool stream_follow_is_live(const struct stream_follow *f)
{
	return f->live;
}
