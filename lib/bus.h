/* Bus: the NATS connection. Messages of nats.c's threads are queued for the loop; every function
 * here is called, and calls back, on the loop's thread only. Nothing here blocks. */
#ifndef PLOYZ_BUS_H
#define PLOYZ_BUS_H

#include <systemd/sd-event.h>

#include "lib/codec.h"
#include "lib/subjects.h"

/* Largest payload that is ever sent; the servers are configured with the same limit. */
#define BUS_PAYLOAD_MAX (8u * 1024 * 1024)

struct bus;

struct bus_options {
	const char *url;  /* nats://127.0.0.1:4222 */
	const char *name; /* what nats-server lists the connection as */
	const char *user; /* or NULL: no sign-in */
	const char *password;
	const char *inbox;     /* private inbox prefix, `_INBOX.<user>`; NULL: `_INBOX` */
	uint64_t connect_usec; /* how long bus_open may wait for a first answer; 0: 2 s */
};

/* Connects, waiting at most connect_usec (the one blocking call, made before the loop runs).
 * Afterwards it reconnects by itself for ever; each loss fails the pending requests. When the
 * server refuses the user later, the loop ends with -EACCES. A nats-server older than 2.10 is
 * refused. 0, or a negative errno with `failure`. */
int bus_open(sd_event *loop, const struct bus_options *options, struct bus **ret,
	     struct failure *failure);
/* The version that the server at `url` names in its INFO line (NATS client protocol), asked on a
 * connection of its own: nats.c 3.4 has no call for it. Blocks at most `timeout_usec`. 0 with *ret
 * owned by the caller, or a negative errno. */
int bus_server_version(const char *url, uint64_t timeout_usec, char **ret);
/* Whether the project runs on this version of nats-server (`2.10.27`). */
bool bus_version_suits(const char *version);
/* Whether the nats-server `program` is installed and of a version that the project runs on: runs it
 * for its version, at most 5 s. SIGCHLD is blocked afterwards. 0, or a negative errno with
 * `failure`. */
int bus_program_check(const char *program, struct failure *failure);
void bus_free(struct bus *bus);
DEFINE_CLEANUP(struct bus, bus_free);
sd_event *bus_loop(const struct bus *bus);
/* `fn` is called at each loss (connected = false) and each return of the connection, until
 * bus_unwatch_state with the same userdata (also from inside `fn`). */
typedef void (*bus_state_fn)(bool connected, void *userdata);
void bus_watch_state(struct bus *bus, bus_state_fn fn, void *userdata);
void bus_unwatch_state(struct bus *bus, const void *userdata);
/* A new subject under the private inbox prefix; owned by the caller. */
char *bus_inbox(struct bus *bus);
/* Waits (blocking, at most `usec`) until what was published has reached the server; used before a
 * program exits. 0 or -ETIMEDOUT. */
int bus_flush(struct bus *bus, uint64_t usec);

/* A received message; valid during the callback only. */
struct bus_message {
	const char *subject;
	const char *reply; /* or NULL */
	const char *data;  /* zero-terminated beyond `size` */
	size_t size;
	void *native; /* natsMsg, for headers */
};
/* A header's value, borrowed from the message, or NULL. */
const char *bus_header(const struct bus_message *message, const char *key);
/* The message's Status header as a number (503: no responders; 100: control; 404, 408, 409 …), or
 * 0. */
int bus_status(const struct bus_message *message);

struct bus_headers {
	const char *keys[4];
	const char *values[4];
	size_t count;
};

/* Sends; `headers` and `reply` may be NULL. 0; -EMSGSIZE over the payload limit; -ENOTCONN. */
int bus_publish(struct bus *bus, const char *subject, const char *reply,
		const struct bus_headers *headers, const void *data, size_t size);

/* A subscription; `fn` is called with each message until the subscription is freed (also from
 * inside `fn`). */
struct bus_subscription;
typedef void (*bus_message_fn)(const struct bus_message *message, void *userdata);
int bus_subscribe(struct bus *bus, const char *subject, bus_message_fn fn, void *userdata,
		  struct bus_subscription **ret);
void bus_subscription_free(struct bus_subscription *subscription);
DEFINE_CLEANUP(struct bus_subscription, bus_subscription_free);

/* A pending request. `fn` is called exactly once unless it is cancelled: with 0 and the reply, or
 * with NULL and -EHOSTUNREACH (no subscriber: at once), -ETIMEDOUT, -ENOTCONN or -EMSGSIZE. It is
 * never called before bus_request has returned. *ret (may be NULL) is valid until then. */
struct bus_request;
typedef void (*bus_reply_fn)(int error, const struct bus_message *reply, void *userdata);
void bus_request(struct bus *bus, const char *subject, const struct bus_headers *headers,
		 const void *data, size_t size, uint64_t timeout_usec, bus_reply_fn fn,
		 void *userdata, struct bus_request **ret);
void bus_request_cancel(struct bus_request *request);
static inline void bus_request_cancelp(struct bus_request **request)
{
	if (*request)
		bus_request_cancel(*request);
}

/* Sends a request to a daemon: encodes `request` with the subject's request schema (NULL request:
 * `{}`) and decodes the answer with its reply schema. `fn` gets either a failure or the decoded
 * answer, which is freed after `fn` returns. The failure of a daemon that does not answer names it,
 * its machine and the next step. `machine` NULL: this subject has no machine; "all" is not for this
 * call. */
typedef void (*bus_answer_fn)(const struct failure *failure, void *answer, void *userdata);
void bus_ask(struct bus *bus, enum subject_id subject, const char *machine, const void *request,
	     uint64_t timeout_usec, bus_answer_fn fn, void *userdata, struct bus_request **ret);

/* Sends the same request to several machines at once. `fn` is called once for each (failure or
 * answer) and then, with machine NULL, once at the end. Cancelling frees all. */
struct bus_scatter;
typedef void (*bus_gather_fn)(const char *machine, const struct failure *failure, void *answer,
			      void *userdata);
void bus_scatter(struct bus *bus, enum subject_id subject, char *const *machines,
		 const void *request, uint64_t timeout_usec, bus_gather_fn fn, void *userdata,
		 struct bus_scatter **ret);
void bus_scatter_cancel(struct bus_scatter *scatter);
DEFINE_CLEANUP(struct bus_scatter, bus_scatter_cancel);

/* A request to this daemon. One of the bus_call_… functions frees it, which may be long after the
 * handler has returned. */
struct bus_call;
/* `request` is decoded with the subject's schema; owned by the call. */
typedef void (*bus_endpoint_fn)(struct bus_call *call, void *request, void *userdata);
struct bus_endpoint {
	enum subject_id subject; /* kind SUBJECT_REQUEST */
	bus_endpoint_fn handler;
};
/* Answers {"ok": …} with the subject's reply schema (object NULL: {"ok": {}}) and frees the
 * call. */
void bus_call_ok(struct bus_call *call, const void *object);
/* Answers {"error": …} and frees the call; `failure` is borrowed. */
void bus_call_fail(struct bus_call *call, const struct failure *failure);
void bus_call_failf(struct bus_call *call, enum failure_code code, const char *hint,
		    const char *format, ...) _printf_(4, 5);
/* Frees the call without an answer (the client's request times out). */
void bus_call_drop(struct bus_call *call);
/* The decoded request; borrowed. */
void *bus_call_request(struct bus_call *call);

/* Serves a daemon's endpoints: subscribes to ployz.v1.<machine>.<daemon>.<verb> and
 * ployz.v1.all.<daemon>.<verb> for each row (a request that does not fit its schema is refused with
 * the field's path) and answers the NATS Services protocol (ADR-32: $SRV.PING|INFO|STATS) with
 * counts, errors and times. Every daemon also answers `status` with what `status` returns (an own
 * reference; may be NULL). */
typedef json_t *(*bus_status_fn)(void *userdata);
int bus_serve(struct bus *bus, const char *daemon, const char *machine,
	      const struct bus_endpoint *endpoints, size_t count, bus_status_fn status,
	      void *userdata);

/* Publishes an event encoded with its subject's request schema. Errors as bus_publish. */
int bus_event(struct bus *bus, enum subject_id subject, const char *a, const char *b,
	      const void *object);

#endif
