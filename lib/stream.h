/* Streams: non-blocking requests to JetStream's wire API (nats-server 2.10: $JS.API.…, ADR-1 and
 * ADR-17). `domain` is STORE_DOMAIN or a machine's id. */
#ifndef PLOYZ_STREAM_H
#define PLOYZ_STREAM_H

#include "lib/bus.h"
#include "lib/stream-seen.h"

/* JetStream's error codes that this library distinguishes (server/errors.json). */
#define JS_ERR_WRONG_LAST_SEQUENCE 10071
#define JS_ERR_WRONG_LAST_SEQUENCE_CONSTANT 10164
#define JS_ERR_NO_MESSAGE 10037
#define JS_ERR_STREAM_NOT_FOUND 10059
#define JS_ERR_STREAM_NAME_IN_USE 10058
#define JS_ERR_CONSUMER_NOT_FOUND 10014
#define JS_ERR_STORE_FAILED 10077

enum stream_outcome {
	STREAM_DONE,	 /* stored at `sequence` */
	STREAM_CONFLICT, /* not stored: another writer's entry is there; never repeat */
	STREAM_UNKNOWN,	 /* no answer, or an inconclusive one (FAILURE_REFUSED: with the store's
			    reason, for example a full disk): read the subject back */
	STREAM_REFUSED,	 /* not stored: `failure` has the reason (full, too large …) */
};
typedef void (*stream_append_fn)(enum stream_outcome outcome, uint64_t sequence,
				 const struct failure *failure, void *userdata);
#define STREAM_ANY UINT64_MAX
struct stream_append {
	const char *subject;
	const void *data;
	size_t size;
	uint64_t expected;     /* last sequence of this subject that the writer read; 0: none yet;
				  STREAM_ANY: no condition */
	uint64_t timeout_usec; /* 0: 5 s */
};
/* Appends to the store. `fn` is called once; *ret (may be NULL) cancels as a bus_request. */
void stream_append(struct bus *bus, const struct stream_append *append, stream_append_fn fn,
		   void *userdata, struct bus_request **ret);

struct stream_entry {
	const char *subject;
	uint64_t sequence;
	uint64_t time_usec; /* when the store stored it, CLOCK_REALTIME */
	const char *data;   /* zero-terminated beyond `size` */
	size_t size;
};
/* Reads from the stream's leader the last entry of a subject or of all subjects that match a
 * filter. `entry` NULL with no failure: there is none. Another writer may append meanwhile: only
 * the answer of a compare-and-set write is conclusive. */
typedef void (*stream_entry_fn)(const struct failure *failure, const struct stream_entry *entry,
				void *userdata);
void stream_last(struct bus *bus, const char *domain, const char *stream, const char *filter,
		 uint64_t timeout_usec, stream_entry_fn fn, void *userdata,
		 struct bus_request **ret);
/* The same for the first of these entries at `sequence` or later. */
void stream_next(struct bus *bus, const char *domain, const char *stream, const char *filter,
		 uint64_t sequence, uint64_t timeout_usec, stream_entry_fn fn, void *userdata,
		 struct bus_request **ret);

/* Reads from the stream's leader the entry at a sequence. `entry` NULL with no failure: the stream
 * does not have it (any more). */
void stream_at(struct bus *bus, const char *domain, const char *stream, uint64_t sequence,
	       uint64_t timeout_usec, stream_entry_fn fn, void *userdata, struct bus_request **ret);

/* Creates the stream of this configuration (JetStream's StreamConfig) or updates it. */
typedef void (*stream_done_fn)(const struct failure *failure, void *userdata);
void stream_ensure(struct bus *bus, const char *domain, const json_t *config, stream_done_fn fn,
		   void *userdata);
/* One request that changes a stream: `config` is its whole StreamConfig (NULL for STREAM_DELETE).
 * Unlike stream_ensure, STREAM_CREATE never changes a stream that exists with another
 * configuration: JetStream refuses it. *ret (may be NULL) cancels. */
enum stream_verb { STREAM_CREATE, STREAM_UPDATE, STREAM_DELETE };
void stream_manage(struct bus *bus, const char *domain, enum stream_verb verb, const char *stream,
		   const json_t *config, stream_done_fn fn, void *userdata,
		   struct bus_request **ret);
/* STREAM.INFO; `info` is borrowed. */
typedef void (*stream_info_fn)(const struct failure *failure, const json_t *info, void *userdata);
void stream_info(struct bus *bus, const char *domain, const char *stream, uint64_t timeout_usec,
		 stream_info_fn fn, void *userdata, struct bus_request **ret);
/* The same with `state.subjects`: how many entries each subject has (100,000 subjects at most). */
void stream_info_subjects(struct bus *bus, const char *domain, const char *stream,
			  uint64_t timeout_usec, stream_info_fn fn, void *userdata,
			  struct bus_request **ret);

/* Asks the server that keeps the streams of a domain for its health. `server` is its name, `error`
 * its error text, or NULL when it is well; `failure` is set when it did not answer. A server
 * of 2.14 or newer stores nothing more after a failed write, answers no append, and names the
 * reason here. */
typedef void (*stream_health_fn)(const struct failure *failure, const char *server,
				 const char *error, void *userdata);
void stream_health(struct bus *bus, const char *domain, uint64_t timeout_usec, stream_health_fn fn,
		   void *userdata, struct bus_request **ret);
/* The subject of that request (the servers' configuration imports it); owned by the caller. */
char *stream_health_subject(const char *domain);
/* Whether a server's error text says that its disk is full; `failure` (may be NULL) is the message
 * for the operator then. `server` may be NULL. */
bool stream_disk_full(const char *message, const char *server, struct failure *failure);

/* Follows a stream in order without a gap: an ephemeral push consumer with heartbeats, which is
 * replaced by one from the last sequence on when a heartbeat or a delivery is missing or the
 * connection comes back.
 *
 * It is live when the last delivered entry has reached what the stream's leader has for the
 * filters: a consumer may be on a replica that is behind. Every 30 s the leader is asked again.
 *
 * A stream that was created again, lacks entries that were seen or is of a lower store generation
 * is refused (`lost` names the reason) until its generation is higher than the one that was seen.
 */
struct stream_follow;
enum stream_from {
	STREAM_FROM_LAST_PER_SUBJECT, /* the last entry of each subject, then what follows */
	STREAM_FROM_ALL,	      /* every entry that is still there, then what follows */
	STREAM_FROM_NEW,	      /* what follows the first attachment */
	STREAM_FROM_SEQUENCE,	      /* from `sequence` on */
};
struct stream_follow_ops {
	/* One entry, in order, each once. */
	void (*entry)(const struct stream_entry *entry, void *userdata);
	/* Everything up to `sequence` has been handed over: the leader's last at this attachment.
	 * Called after each attachment. May free the follower. */
	void (*live)(uint64_t sequence, void *userdata);
	/* The same while it is live, with a later `sequence` whose entries other filters match. May
	 * be NULL. May free the follower. */
	void (*reached)(uint64_t sequence, void *userdata);
	/* Everything is handed over from the beginning: the generation is higher, or (with
	 * STREAM_FROM_LAST_PER_SUBJECT) the last entry that was handed over was dropped. May be
	 * NULL. */
	void (*restart)(void *userdata);
	/* Not attached: the follower retries by itself (0.1 s, 0.2 s, … 5 s). May be NULL. */
	void (*lost)(const struct failure *why, void *userdata);
};
struct stream_follow_options {
	const char *domain;
	const char *stream;
	const char *const *filters; /* NULL-terminated; none may match a subject of another; NULL:
				       all */
	enum stream_from from;
	uint64_t sequence;
	uint64_t heartbeat_usec; /* 0: 5 s */
	bool once; /* no retry, except on a replica that is behind: it ends with the first `lost` or
		      `live` */
	bool headers_only; /* `data` of an entry is empty, `size` is that of the stored data */
	const struct stream_seen *seen; /* what the reader knows already, or NULL; copied */
};
struct stream_follow *stream_follow_new(struct bus *bus,
					const struct stream_follow_options *options,
					const struct stream_follow_ops *ops, void *userdata);
/* Ends it and deletes the consumer on the server (best effort: the server deletes it when it is
 * inactive). */
void stream_follow_free(struct stream_follow *follow);
DEFINE_CLEANUP(struct stream_follow, stream_follow_free);
/* Attaches again at once, from the last sequence on. */
void stream_follow_kick(struct stream_follow *follow);
/* Compares at once with the leader's last entries: calls `reached`, or attaches again when entries
 * are missing. A follower that is not attached retries at once. */
void stream_follow_check(struct stream_follow *follow);
/* When the leader was asked (boot_now_usec) whose last state has been reached; 0: it is not live.
 */
uint64_t stream_follow_checked(const struct stream_follow *follow);
/* Whether it is attached and has missed no entry. */
bool stream_follow_is_live(const struct stream_follow *follow);
/* What is known of the stream; borrowed. */
const struct stream_seen *stream_follow_seen(const struct stream_follow *follow);
/* The reader has entries up to seen->sequence from elsewhere (a local mirror). */
void stream_follow_learn(struct stream_follow *follow, const struct stream_seen *seen);

#endif
