/* Replaces lib/bus.c: requests and subscriptions wait here until the target or test answers,
 * delivers, lets a request time out or cuts the connection. By the same rules (lib/bus.h). Included
 * once in a target or test, after fake/loop.h. */
#ifndef PLOYZ_TESTS_FUZZ_FAKE_BUS_H
#define PLOYZ_TESTS_FUZZ_FAKE_BUS_H

#include <errno.h>

#include "lib/bus-private.h"
#include "lib/str.h"
#include "tests/fuzz/fake/loop.h"
#include "tests/fuzz/fuzz.h"

struct bus_subscription {
	struct bus_subscription *next, **link;
	char *subject;
	bus_message_fn fn;
	void *userdata;
};
struct bus_request {
	struct bus_request *next, **link;
	char *subject;
	char *data; /* zero-terminated beyond `size` */
	size_t size;
	char *expected; /* value of the header for compare-and-set, or NULL */
	int error;	/* when it times out */
	struct timer *timer;
	bool held; /* for tests: not to be answered */
	bus_reply_fn fn;
	void *userdata;
	void (*destroy)(void *userdata);
};
struct fake_headers {
	const char *status, *keys[2], *values[2];
};

static struct bus fake_bus = { .connected = true, .inbox = (char *)"_INBOX.x" };
static struct bus_subscription *fake_subscriptions;
static struct bus_request *fake_requests;
/* Called for everything that is published without a reply; may be NULL. */
static void (*fake_published)(const char *subject, const char *data, size_t size);
/* The last message that was published: for tests. */
static struct {
	char *subject, *data, *keys[2], *values[2];
} fake_last;
/* Subscribing is refused. */
static bool fake_deaf;

#define FAKE_LINK(first, item)                              \
	do {                                                \
		(item)->next = (first);                     \
		(item)->link = &(first);                    \
		if ((item)->next)                           \
			(item)->next->link = &(item)->next; \
		(first) = (item);                           \
	} while (0)
#define FAKE_UNLINK(item)                                  \
	do {                                               \
		*(item)->link = (item)->next;              \
		if ((item)->next)                          \
			(item)->next->link = (item)->link; \
	} while (0)

int bus_subscribe(_unused_ struct bus *bus, const char *subject, bus_message_fn fn, void *userdata,
		  struct bus_subscription **ret)
{
	struct bus_subscription *sub;

	if (fake_deaf)
		return -ENOTCONN;
	sub = xcalloc(1, sizeof(*sub));
	*sub = (struct bus_subscription){ .subject = xstrdup(subject),
					  .fn = fn,
					  .userdata = userdata };
	FAKE_LINK(fake_subscriptions, sub);
	if (ret)
		*ret = sub;
	return 0;
}

void bus_subscription_free(struct bus_subscription *sub)
{
	if (!sub)
		return;
	FAKE_UNLINK(sub);
	free(sub->subject);
	free(sub);
}

static inline void fake_last_clear(void)
{
	free(steal(fake_last.subject));
	free(steal(fake_last.data));
	for (size_t i = 0; i < ARRAY_SIZE(fake_last.keys); i++) {
		free(steal(fake_last.keys[i]));
		free(steal(fake_last.values[i]));
	}
}

static inline void fake_last_keep(const char *subject, const struct bus_headers *headers,
				  const void *data, size_t size)
{
	fake_last_clear();
	fake_last.subject = xstrdup(subject);
	fake_last.data = xmemdup(data, size);
	for (size_t i = 0; headers && i < MIN2(headers->count, ARRAY_SIZE(fake_last.keys)); i++) {
		fake_last.keys[i] = xstrdup(headers->keys[i]);
		fake_last.values[i] = xstrdup(headers->values[i]);
	}
}

int bus_publish(struct bus *bus, const char *subject, _unused_ const char *reply,
		const struct bus_headers *headers, const void *data, size_t size)
{
	if (size > BUS_PAYLOAD_MAX)
		return -EMSGSIZE;
	/* A header cannot contain a line break. */
	for (size_t i = 0; headers && i < headers->count; i++)
		HOLDS(headers->keys[i] && headers->values[i] &&
		      !strpbrk(headers->values[i], "\r\n"));
	if (!bus->connected)
		return -ENOTCONN;
	fake_last_keep(subject, headers, data, size);
	if (fake_published)
		fake_published(subject, data, size);
	return 0;
}

static void fake_timed_out(void *userdata);

void bus_request(struct bus *bus, const char *subject, const struct bus_headers *headers,
		 const void *data, size_t size, uint64_t timeout_usec, bus_reply_fn fn,
		 void *userdata, struct bus_request **ret)
{
	struct bus_request *request = xcalloc(1, sizeof(*request));
	bool fits = size <= BUS_PAYLOAD_MAX;

	HOLDS(timeout_usec);
	*request = (struct bus_request){ .subject = xstrdup(subject),
					 .data = xmemdup(data, fits ? size : 0),
					 .size = fits ? size : 0,
					 .error = !fits		    ? -EMSGSIZE
						  : !bus->connected ? -ENOTCONN
								    : -ETIMEDOUT,
					 .fn = fn,
					 .userdata = userdata };
	for (size_t i = 0; headers && i < headers->count; i++)
		if (streq(headers->keys[i], "Nats-Expected-Last-Subject-Sequence"))
			request->expected = xstrdup(headers->values[i]);
	request->timer = timer_new(NULL, fake_timed_out, request);
	timer_arm(request->timer, request->error == -ETIMEDOUT ? timeout_usec : 0);
	FAKE_LINK(fake_requests, request);
	if (ret)
		*ret = request;
}

void bus_request_own(struct bus_request *request, void (*destroy)(void *userdata))
{
	request->destroy = destroy;
}

void bus_request_cancel(struct bus_request *request)
{
	if (!request)
		return;
	FAKE_UNLINK(request);
	if (request->destroy)
		request->destroy(request->userdata);
	timer_free(request->timer);
	free(request->subject);
	free(request->data);
	free(request->expected);
	free(request);
}

void bus_watch_state(struct bus *bus, bus_state_fn fn, void *userdata)
{
	struct bus_watcher *watcher = array_add(bus->watchers, bus->n_watchers);

	*watcher = (struct bus_watcher){ fn, userdata };
}

void bus_unwatch_state(struct bus *bus, const void *userdata)
{
	for (size_t i = 0; i < bus->n_watchers; i++)
		if (bus->watchers[i].userdata == userdata)
			bus->watchers[i] = (struct bus_watcher){ NULL, NULL };
}

static void fake_timed_out(void *userdata)
{
	struct bus_request *request = userdata;
	int error = request->error;
	bus_reply_fn fn = request->fn;
	void *asker = request->userdata;

	request->destroy = NULL;
	bus_request_cancel(request);
	fn(error, NULL, asker);
}

sd_event *bus_loop(_unused_ const struct bus *bus)
{
	return NULL;
}

char *bus_inbox(struct bus *bus)
{
	return xasprintf("%s.x%llu", bus->inbox, (unsigned long long)bus->next_token++);
}

const char *bus_header(const struct bus_message *message, const char *key)
{
	const struct fake_headers *headers = message->native;

	for (size_t i = 0; headers && i < ARRAY_SIZE(headers->keys); i++)
		if (streq(headers->keys[i], key))
			return headers->values[i];
	return NULL;
}

int bus_status(const struct bus_message *message)
{
	const struct fake_headers *headers = message->native;

	return headers && headers->status ? atoi(headers->status) : 0;
}

/* The bytes end with a zero byte, as in lib/bus.h, and nothing follows it. */
static inline void fake_deliver(struct bus_subscription *sub, const char *subject,
				const char *reply, const struct fake_headers *headers,
				const void *data, size_t size)
{
	_cleanup_free_ char *bytes = xmemdup(data, size);
	struct bus_message message = { subject, reply, bytes, size, (void *)headers };

	sub->fn(&message, sub->userdata);
}

static inline void fake_answer(struct bus_request *request, int error, const void *data,
			       size_t size)
{
	_cleanup_free_ char *bytes = xmemdup(data, size);
	struct bus_message message = { "_INBOX.x.1", NULL, bytes, size, NULL };
	bus_reply_fn fn = request->fn;
	void *userdata = request->userdata;

	request->destroy = NULL;
	bus_request_cancel(request);
	fn(error, error ? NULL : &message, userdata);
}

static inline struct bus_request *fake_asked(size_t n)
{
	struct bus_request *request = fake_requests;
	size_t count = 0;

	for (; request; request = request->next)
		count++;
	for (request = fake_requests, n = count ? n % count : 0; request && n; n--)
		request = request->next;
	return request;
}

static inline struct bus_subscription *fake_listening(size_t n)
{
	struct bus_subscription *sub = fake_subscriptions;
	size_t count = 0;

	for (; sub; sub = sub->next)
		count++;
	for (sub = fake_subscriptions, n = count ? n % count : 0; sub && n; n--)
		sub = sub->next;
	return sub;
}

/* Pending requests fail at once, as in lib/bus.c. */
static inline void fake_connection(bool connected)
{
	if (fake_bus.connected == connected)
		return;
	fake_bus.connected = connected;
	if (!connected)
		for (size_t n = 50; n && fake_requests; n--)
			fake_answer(fake_requests, -ENOTCONN, "", 0);
	for (size_t i = 0; i < fake_bus.n_watchers; i++) {
		struct bus_watcher watcher = fake_bus.watchers[i];

		if (watcher.fn)
			watcher.fn(connected, watcher.userdata);
	}
}

static inline void fake_bus_end(void)
{
	HOLDS(!fake_requests && !fake_subscriptions);
	fake_last_clear();
	for (size_t i = 0; i < fake_bus.n_watchers; i++)
		HOLDS(!fake_bus.watchers[i].fn);
	free(steal(fake_bus.watchers));
	fake_bus.n_watchers = 0;
	fake_bus.connected = true;
	fake_bus.next_token = 0;
}

#endif
