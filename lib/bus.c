/* The NATS connection: nats.c's threads queue messages (lib/handoff.c), the loop dispatches them.
 */
#include "lib/bus.h"

#include <errno.h>
#include <nats/nats.h>
#include <stdio.h>
#include <unistd.h>

#include "lib/bus-private.h"
#include "lib/handoff.h"
#include "lib/log.h"
#include "lib/str.h"

#define CONNECT_USEC 2000000ull
/* a local server that was killed is running again within two seconds */
#define RECONNECT_WAIT_MSEC 100
#define PING_INTERVAL_MSEC 10000 /* a frozen server is noticed after two unanswered pings */
#define WRITE_DEADLINE_MSEC 2000 /* a publish may block in the socket; well below any watchdog */
#define HANDOFF_BATCH 256	 /* messages handled in one wake-up of the loop */

struct closure {
	struct handoff *handoff;
	uint64_t subscription;
};

struct bus_subscription {
	struct bus *bus;
	struct bus_subscription *next;
	uint64_t id;
	uint64_t read; /* messages that the connection had read when it was freed */
	natsSubscription *native;
	bus_message_fn fn;
	void *userdata;
};

struct bus_request {
	struct bus *bus;
	struct bus_request *next, **link;
	uint64_t token;
	int error; /* reported when the timer expires: -ETIMEDOUT, or why it was not sent */
	struct timer *timer;
	bus_reply_fn fn;
	void *userdata;
	void (*destroy)(void *userdata); /* on cancellation; may be NULL */
};

static void on_native_message(_unused_ natsConnection *nc, _unused_ natsSubscription *sub,
			      natsMsg *message, void *userdata)
{
	struct closure *closure = userdata;

	handoff_put(closure->handoff, INCOMING_MESSAGE, closure->subscription, message);
}

static void on_native_complete(void *userdata)
{
	struct closure *closure = userdata;

	handoff_unref(closure->handoff);
	free(closure);
}

static void on_native_lost(_unused_ natsConnection *nc, void *userdata)
{
	handoff_put(userdata, INCOMING_LOST, 0, NULL);
}

static void on_native_back(_unused_ natsConnection *nc, void *userdata)
{
	handoff_put(userdata, INCOMING_BACK, 0, NULL);
}

static void on_native_closed(_unused_ natsConnection *nc, void *userdata)
{
	handoff_put(userdata, INCOMING_CLOSED, 0, NULL);
}

static void on_native_error(_unused_ natsConnection *nc, _unused_ natsSubscription *sub,
			    natsStatus status, _unused_ void *userdata)
{
	/* The server's text (for example a missing permission) is in this thread's last error. */
	natsStatus last = NATS_OK;
	const char *text = nats_GetLastError(&last);

	log_warning("bus error: %s%s%s", natsStatus_GetText(status), text && *text ? ": " : "",
		    text ? text : "");
}

static void request_unlink(struct bus_request *request)
{
	*request->link = request->next;
	if (request->next)
		request->next->link = request->link;
}

static void request_finish(struct bus_request *request, int error, const struct bus_message *reply)
{
	bus_reply_fn fn = request->fn;
	void *userdata = request->userdata;

	request->destroy = NULL;
	bus_request_cancel(request);
	fn(error, reply, userdata);
}

void bus_request_cancel(struct bus_request *request)
{
	if (!request)
		return;
	request_unlink(request);
	timer_free(request->timer);
	if (request->destroy)
		request->destroy(request->userdata);
	free(request);
}

void bus_request_own(struct bus_request *request, void (*destroy)(void *userdata))
{
	request->destroy = destroy;
}

static void on_request_timer(void *userdata)
{
	struct bus_request *request = userdata;

	request_finish(request, request->error, NULL);
}

static void on_reply(const struct bus_message *message, void *userdata)
{
	const char *word = strrchr(message->subject, '.');
	struct bus *bus = userdata;
	int64_t token;

	if (!word || int_parse(word + 1, 0, INT64_MAX, &token) < 0)
		return;
	for (struct bus_request *r = bus->requests[(uint64_t)token % ARRAY_SIZE(bus->requests)]; r;
	     r = r->next)
		if (r->token == (uint64_t)token) {
			if (natsMsg_IsNoResponders(message->native))
				request_finish(r, -EHOSTUNREACH, NULL);
			else
				request_finish(r, 0, message);
			return;
		}
}

/* The requests may or may not have been carried out: their callers learn that at once, not when
 * they time out. Callbacks may send requests, so only those that are pending now fail. */
static void fail_pending(struct bus *bus)
{
	uint64_t newest = bus->next_token;

	for (size_t i = 0; i < ARRAY_SIZE(bus->requests); i++) {
		struct bus_request *r = bus->requests[i];

		while (r) {
			if (r->token < newest) {
				request_finish(r, -ENOTCONN, NULL);
				r = bus->requests[i];
			} else {
				r = r->next;
			}
		}
	}
}

static void connection_changed(struct bus *bus, bool connected)
{
	if (bus->connected == connected)
		return;
	bus->connected = connected;
	if (connected)
		log_info("bus connected again");
	else
		log_warning("bus connection lost; reconnecting");
	if (!connected)
		fail_pending(bus);
	for (size_t i = 0; i < bus->n_watchers; i++) {
		struct bus_watcher watcher = bus->watchers[i];

		if (watcher.fn)
			watcher.fn(connected, watcher.userdata);
	}
}

/* nats.c closes a connection when the server has refused its user twice. This process would not
 * receive anything again; after a restart it reads the credentials anew. */
static void connection_closed(struct bus *bus)
{
	const char *text = NULL;

	connection_changed(bus, false);
	natsConnection_GetLastError(bus->native, &text);
	log_error("cannot sign in to the bus again%s%s; exiting, so that a new start reads the "
		  "current credentials",
		  text && *text ? ": " : "", text ? text : "");
	sd_event_exit(bus->loop, -EACCES);
}

static void dispatch(struct bus *bus, struct incoming *incoming)
{
	struct bus_message message;
	struct bus_subscription *sub;

	if (incoming->kind == INCOMING_CLOSED) {
		connection_closed(bus);
		return;
	}
	if (incoming->kind != INCOMING_MESSAGE) {
		connection_changed(bus, incoming->kind == INCOMING_BACK);
		return;
	}
	for (sub = bus->subscriptions; sub && sub->id != incoming->subscription; sub = sub->next)
		;
	if (!sub)
		return;
	message.native = incoming->message;
	message.subject = natsMsg_GetSubject(incoming->message);
	message.reply = natsMsg_GetReply(incoming->message);
	message.data = natsMsg_GetData(incoming->message);
	message.size = (size_t)natsMsg_GetDataLength(incoming->message);
	if (!message.data)
		message.data = "";
	sub->fn(&message, sub->userdata);
}

/* Number of messages that nats.c's reading thread has begun to process. */
static uint64_t messages_read(struct bus *bus)
{
	uint64_t count = 0;

	if (natsConnection_GetStats(bus->native, bus->statistics) == NATS_OK)
		natsStatistics_GetCounts(bus->statistics, &count, NULL, NULL, NULL, NULL);
	return count;
}

static void subscription_destroy(struct bus_subscription *subscription)
{
	natsSubscription_Destroy(subscription->native);
	free(subscription);
}

/* nats.c's reading thread looks up a message's subscription and, up to nats.c 3.5, uses it without
 * a reference of its own (natsConn_processMsg): a freed subscription must not be destroyed before
 * that message is processed. When the thread has begun a later message, it does not use the
 * subscription any more. */
static void destroy_retired(struct bus *bus)
{
	struct bus_subscription **at = &bus->retired, *sub;
	uint64_t now;

	if (!bus->retired || !bus->connected)
		return;
	now = messages_read(bus);
	while ((sub = *at)) {
		if (sub->read < now) {
			*at = sub->next;
			subscription_destroy(sub);
		} else {
			at = &sub->next;
		}
	}
}

static int on_handoff(_unused_ sd_event_source *source, int fd, _unused_ uint32_t events,
		      void *userdata)
{
	struct bus *bus = userdata;
	const uint64_t one = 1;
	uint64_t counter;
	bool more = true;

	if (read(fd, &counter, sizeof(counter)) < 0 && errno != EAGAIN)
		return -errno;
	for (int i = 0; i < HANDOFF_BATCH && more; i++) {
		struct incoming *incoming = handoff_take(bus->handoff, &more);

		if (!incoming)
			break;
		dispatch(bus, incoming);
		incoming_free(incoming);
	}
	destroy_retired(bus);
	/* Other event sources run before the rest. */
	if (more && write(fd, &one, sizeof(one)) < 0)
		return -errno;
	return 0;
}

int bus_subscribe(struct bus *bus, const char *subject, bus_message_fn fn, void *userdata,
		  struct bus_subscription **ret)
{
	struct bus_subscription *sub = xcalloc(1, sizeof(*sub));
	struct closure *closure = xcalloc(1, sizeof(*closure));
	natsStatus s;

	sub->bus = bus;
	sub->id = closure->subscription = ++bus->next_subscription;
	sub->fn = fn;
	sub->userdata = userdata;
	closure->handoff = handoff_ref(bus->handoff);
	s = natsConnection_Subscribe(&sub->native, bus->native, subject, on_native_message,
				     closure);
	if (s != NATS_OK) {
		on_native_complete(closure);
		free(sub);
		return s == NATS_CONNECTION_CLOSED ? -ENOTCONN : -EINVAL;
	}
	natsSubscription_SetOnCompleteCB(sub->native, on_native_complete, closure);
	natsSubscription_SetPendingLimits(sub->native, 4 * HANDOFF_MAX, 256 * 1024 * 1024);
	sub->next = bus->subscriptions;
	bus->subscriptions = sub;
	if (ret)
		*ret = sub;
	return 0;
}

void bus_subscription_free(struct bus_subscription *subscription)
{
	struct bus_subscription **at;
	struct bus *bus;

	if (!subscription)
		return;
	bus = subscription->bus;
	for (at = &bus->subscriptions; *at != subscription; at = &(*at)->next)
		;
	*at = subscription->next;
	natsSubscription_Unsubscribe(subscription->native);
	subscription->read = messages_read(bus);
	subscription->next = bus->retired;
	bus->retired = subscription;
}

int bus_publish(struct bus *bus, const char *subject, const char *reply,
		const struct bus_headers *headers, const void *data, size_t size)
{
	natsMsg *message = NULL;
	natsStatus s;

	if (size > BUS_PAYLOAD_MAX)
		return -EMSGSIZE;
	if (!bus->connected)
		return -ENOTCONN;
	s = natsMsg_Create(&message, subject, reply, data, (int)size);
	for (size_t i = 0; s == NATS_OK && headers && i < headers->count; i++)
		s = natsMsgHeader_Set(message, headers->keys[i], headers->values[i]);
	if (s == NATS_OK)
		s = natsConnection_PublishMsg(bus->native, message);
	natsMsg_Destroy(message);
	switch (s) {
	case NATS_OK:
		return 0;
	case NATS_MAX_PAYLOAD:
		return -EMSGSIZE;
	case NATS_NO_MEMORY:
		mem_exhausted();
	default:
		return -ENOTCONN;
	}
}

void bus_request(struct bus *bus, const char *subject, const struct bus_headers *headers,
		 const void *data, size_t size, uint64_t timeout_usec, bus_reply_fn fn,
		 void *userdata, struct bus_request **ret)
{
	struct bus_request *request = xcalloc(1, sizeof(*request)), **head;
	_cleanup_free_ char *reply = NULL;
	int r;

	request->bus = bus;
	request->token = bus->next_token++;
	request->fn = fn;
	request->userdata = userdata;
	request->timer = timer_new(bus->loop, on_request_timer, request);
	head = &bus->requests[request->token % ARRAY_SIZE(bus->requests)];
	request->next = *head;
	if (request->next)
		request->next->link = &request->next;
	request->link = head;
	*head = request;
	reply = xasprintf("%s.%llu", bus->inbox, (unsigned long long)request->token);
	r = bus_publish(bus, subject, reply, headers, data, size);
	/* A failure to send is reported in the next iteration: never before the caller has its
	 * handle. */
	request->error = r < 0 ? r : -ETIMEDOUT;
	timer_arm(request->timer, r < 0 ? 0 : timeout_usec);
	if (ret)
		*ret = request;
}

const char *bus_header(const struct bus_message *message, const char *key)
{
	const char *value = NULL;

	return natsMsgHeader_Get(message->native, key, &value) == NATS_OK ? value : NULL;
}

int bus_status(const struct bus_message *message)
{
	const char *value = bus_header(message, "Status");

	return value ? atoi(value) : 0;
}

sd_event *bus_loop(const struct bus *bus)
{
	return bus->loop;
}

void bus_watch_state(struct bus *bus, bus_state_fn fn, void *userdata)
{
	struct bus_watcher *watcher = NULL;

	for (size_t i = 0; i < bus->n_watchers && !watcher; i++)
		if (!bus->watchers[i].fn)
			watcher = &bus->watchers[i];
	if (!watcher)
		watcher = array_add(bus->watchers, bus->n_watchers);
	*watcher = (struct bus_watcher){ fn, userdata };
}

void bus_unwatch_state(struct bus *bus, const void *userdata)
{
	for (size_t i = 0; i < bus->n_watchers; i++)
		if (bus->watchers[i].userdata == userdata)
			bus->watchers[i] = (struct bus_watcher){ NULL, NULL };
}

char *bus_inbox(struct bus *bus)
{
	/* Two tokens deep: the subscription for replies does not match it. */
	return xasprintf("%s.x.%llu", bus->inbox, (unsigned long long)bus->next_token++);
}

int bus_flush(struct bus *bus, uint64_t usec)
{
	return natsConnection_FlushTimeout(bus->native, (int64_t)(usec / 1000)) == NATS_OK
		       ? 0
		       : -ETIMEDOUT;
}

static natsStatus native_options(natsOptions *o, const struct bus_options *options,
				 struct handoff *handoff, uint64_t connect_usec)
{
	natsStatus s = NATS_OK;

	/* One delivery thread for all subscriptions: it only queues. */
	IFOK(s, natsOptions_SetURL(o, options->url));
	IFOK(s, natsOptions_SetName(o, options->name));
	if (options->user)
		IFOK(s, natsOptions_SetUserInfo(o, options->user, options->password));
	IFOK(s, natsOptions_UseGlobalMessageDelivery(o, true));
	IFOK(s, natsOptions_SetTimeout(o, (int64_t)(connect_usec / 1000)));
	IFOK(s, natsOptions_SetMaxReconnect(o, -1));
	IFOK(s, natsOptions_SetReconnectWait(o, RECONNECT_WAIT_MSEC));
	IFOK(s,
	     natsOptions_SetReconnectJitter(o, RECONNECT_WAIT_MSEC / 2, RECONNECT_WAIT_MSEC / 2));
	IFOK(s, natsOptions_SetIgnoreDiscoveredServers(o, true));
	IFOK(s, natsOptions_SetPingInterval(o, PING_INTERVAL_MSEC));
	IFOK(s, natsOptions_SetWriteDeadline(o, WRITE_DEADLINE_MSEC));
	IFOK(s, natsOptions_SetSendAsap(o, true));
	IFOK(s, natsOptions_SetDisconnectedCB(o, on_native_lost, handoff));
	IFOK(s, natsOptions_SetReconnectedCB(o, on_native_back, handoff));
	IFOK(s, natsOptions_SetClosedCB(o, on_native_closed, handoff));
	IFOK(s, natsOptions_SetErrorHandler(o, on_native_error, NULL));
	return s;
}

static int connect_failure(natsStatus s, const struct bus_options *options, struct failure *failure)
{
	if (s == NATS_CONNECTION_AUTH_FAILED)
		failure_set(
			failure, FAILURE_UNREACHABLE,
			"run `meshd --prepare`, which writes current credentials, and start this "
			"program again",
			"cannot sign in to the bus at %s as user %s: it is unknown, or its "
			"password is another",
			options->url, options->user ? options->user : "(none)");
	else
		failure_set(failure, FAILURE_UNREACHABLE,
			    "start it (ployz-nats.service, or `ployzctl dev`)",
			    "cannot connect to the bus at %s: %s", options->url,
			    natsStatus_GetText(s));
	return s == NATS_CONNECTION_AUTH_FAILED ? -EACCES : -ECONNREFUSED;
}

static int check_version(const struct bus_options *options, uint64_t connect_usec,
			 struct failure *failure)
{
	_cleanup_free_ char *version = NULL;
	int r;

	r = bus_server_version(options->url, connect_usec, &version);
	if (r < 0) {
		failure_set(failure, FAILURE_UNREACHABLE,
			    "start it (ployz-nats.service, or `ployzctl dev`)",
			    "cannot connect to the bus at %s: %s", options->url, strerror(-r));
		return r;
	}
	if (!bus_version_suits(version)) {
		failure_set(failure, FAILURE_INVALID,
			    "install nats-server 2.10 or newer (Debian 13 has it)",
			    "cannot use nats-server %s at %s: it is too old, acknowledged writes "
			    "would not be on disk",
			    version, options->url);
		return -EPROTONOSUPPORT;
	}
	return 0;
}

int bus_open(sd_event *loop, const struct bus_options *options, struct bus **ret,
	     struct failure *failure)
{
	uint64_t connect_usec = options->connect_usec ? options->connect_usec : CONNECT_USEC;
	_cleanup_(bus_freep) struct bus *bus = NULL;
	_cleanup_free_ char *wildcard = NULL, *id = id_new();
	natsOptions *native = NULL;
	natsStatus s;
	int r;

	r = check_version(options, connect_usec, failure);
	if (r < 0)
		return r;
	bus = xcalloc(1, sizeof(*bus));
	bus->handoff = handoff_new();
	bus->loop = sd_event_ref(loop);
	bus->next_token = 1;
	bus->inbox = xasprintf("%s.%s", options->inbox ? options->inbox : "_INBOX", id);
	s = nats_Open(-1);
	IFOK(s, nats_SetMessageDeliveryPoolSize(1));
	IFOK(s, natsStatistics_Create(&bus->statistics));
	IFOK(s, natsOptions_Create(&native));
	IFOK(s, native_options(native, options, bus->handoff, connect_usec));
	IFOK(s, natsConnection_Connect(&bus->native, native));
	natsOptions_Destroy(native);
	if (s != NATS_OK)
		return connect_failure(s, options, failure);
	bus->connected = true;
	r = sd_event_add_io(loop, &bus->source, handoff_event(bus->handoff), EPOLLIN, on_handoff,
			    bus);
	if (r < 0)
		return r;
	wildcard = xasprintf("%s.*", bus->inbox);
	r = bus_subscribe(bus, wildcard, on_reply, bus, NULL);
	if (r < 0)
		return r;
	*ret = steal(bus);
	return 0;
}

void bus_free(struct bus *bus)
{
	struct bus_subscription *sub;

	if (!bus)
		return;
	bus_services_free(bus);
	handoff_close(bus->handoff);
	for (size_t i = 0; i < ARRAY_SIZE(bus->requests); i++)
		while (bus->requests[i])
			bus_request_cancel(bus->requests[i]);
	while (bus->subscriptions)
		bus_subscription_free(bus->subscriptions);
	if (bus->connected)
		natsConnection_FlushTimeout(bus->native, 500);
	/* Waits for the reading thread: afterwards it uses nothing of this bus. */
	natsConnection_Close(bus->native);
	while ((sub = bus->retired)) {
		bus->retired = sub->next;
		subscription_destroy(sub);
	}
	natsConnection_Destroy(bus->native);
	natsStatistics_Destroy(bus->statistics);
	sd_event_source_disable_unref(bus->source);
	sd_event_unref(bus->loop);
	handoff_retire(bus->handoff);
	free(bus->watchers);
	free(bus->inbox);
	free(bus);
}
