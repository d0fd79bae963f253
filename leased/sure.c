/* An append whose answer is missing is neither done nor failed: the subject is read back, our own
 * entry is known by its nonce, and the same compare-and-set is repeated until the deadline. A
 * refusal is never repeated. */
#include "leased/leased.h"

struct sure {
	struct bus *bus;
	char *bucket, *key, *text, *nonce;
	uint64_t expected, deadline_usec;
	bool doubtful; /* an answer was missing: an entry of ours may be there already */
	bool eager;
	struct bus_request *request;
	struct bus_request *health;
	struct timer *again;
	struct failure last;
	sure_fn fn;
	void (*waiting)(const char *why, void *userdata);
	void *userdata;
};

static void send(void *userdata);

static void finish(struct sure *sure, enum sure_outcome outcome, uint64_t sequence,
		   const struct failure *failure)
{
	sure_fn fn = sure->fn;
	void *userdata = sure->userdata;
	struct failure kept = FAILURE_INIT;

	if (failure)
		failure_copy(&kept, failure);
	/* The caller's handle is its own to free: from inside `fn` too. */
	sure->fn = NULL;
	fn(outcome, sequence, failure ? &kept : NULL, userdata);
	failure_clear(&kept);
}

/* A store that can write nothing more answers no append, but says why when it is asked. */
static void on_health(_unused_ const struct failure *failure, const char *server,
		      const char *trouble, void *userdata)
{
	struct sure *sure = userdata;
	struct failure full = FAILURE_INIT;

	sure->health = NULL;
	if (!trouble || !stream_disk_full(trouble, server, &full))
		return;
	if (sure->waiting)
		sure->waiting(full.message, sure->userdata);
	if (sure->eager) {
		bus_request_cancelp(&sure->request);
		timer_disarm(sure->again);
		finish(sure, SURE_UNKNOWN, 0, &full);
	}
	failure_clear(&full);
}

static void again(struct sure *sure, const struct failure *why)
{
	failure_copy(&sure->last, why);
	if (boot_now_usec() >= sure->deadline_usec) {
		finish(sure, SURE_UNKNOWN, 0, &sure->last);
		return;
	}
	if (!sure->doubtful && sure->waiting)
		sure->waiting("the store does not answer (it may be choosing a leader)",
			      sure->userdata);
	if (!sure->doubtful)
		stream_health(sure->bus, STORE_DOMAIN, STORE_USEC, on_health, sure, &sure->health);
	sure->doubtful = true;
	timer_arm(sure->again, REPEAT_USEC);
}

static bool is_ours(const struct sure *sure, const struct stream_entry *entry)
{
	_cleanup_json_ json_t *json = json_loadb(entry->data, entry->size, JSON_ALLOW_NUL, NULL);

	return streq(json_string_value(json_object_get(json, "nonce")), sure->nonce);
}

static void on_read_back(const struct failure *failure, const struct stream_entry *entry,
			 void *userdata)
{
	struct sure *sure = userdata;
	struct failure conflict = FAILURE_INIT;

	sure->request = NULL;
	if (failure) {
		again(sure, failure);
	} else if (entry && is_ours(sure, entry)) {
		finish(sure, SURE_DONE, entry->sequence, NULL);
	} else if ((entry ? entry->sequence : 0) == sure->expected) {
		/* Not there (yet): if the first one still arrives, this one is refused and read
		 * back again. */
		timer_arm(sure->again, 0);
	} else {
		failure_set(&conflict, FAILURE_STALE, "read it again and decide anew",
			    "somebody else has written %s meanwhile", sure->key);
		finish(sure, SURE_CONFLICT, 0, &conflict);
		failure_clear(&conflict);
	}
}

static void read_back(struct sure *sure)
{
	if (sure->bucket)
		bucket_get(sure->bus, sure->bucket, sure->key, STORE_USEC, on_read_back, sure,
			   &sure->request);
	else
		stream_last(sure->bus, STORE_DOMAIN, STREAM_INTENT, sure->key, STORE_USEC,
			    on_read_back, sure, &sure->request);
}

static void on_again(void *userdata)
{
	struct sure *sure = userdata;
	struct failure late = FAILURE_INIT;

	/* This process may have slept: what is past its deadline is not written any more. */
	if (boot_now_usec() >= sure->deadline_usec) {
		failure_set(&late, FAILURE_NO_QUORUM, "`ployzctl status` shows the store",
			    "the store did not answer for %s in time", sure->key);
		finish(sure, SURE_UNKNOWN, 0, &late);
		failure_clear(&late);
		return;
	}
	/* After a missing answer the truth is read first; after that reading the write is
	 * repeated. */
	if (failure_is_set(&sure->last)) {
		failure_clear(&sure->last);
		read_back(sure);
	} else {
		send(sure);
	}
}

static void on_appended(enum stream_outcome outcome, uint64_t sequence,
			const struct failure *failure, void *userdata)
{
	struct sure *sure = userdata;

	sure->request = NULL;
	switch (outcome) {
	case STREAM_DONE:
		finish(sure, SURE_DONE, sequence, NULL);
		return;
	case STREAM_CONFLICT:
		if (sure->doubtful)
			read_back(sure);
		else
			finish(sure, SURE_CONFLICT, 0, failure);
		return;
	case STREAM_REFUSED:
		finish(sure, SURE_FAILED, 0, failure);
		return;
	case STREAM_UNKNOWN:
		again(sure, failure);
		return;
	}
}

static void send(void *userdata)
{
	struct sure *sure = userdata;
	const struct stream_append append = {
		.subject = sure->key,
		.data = sure->text,
		.size = strlen(sure->text),
		.expected = sure->expected,
		.timeout_usec = STORE_USEC,
	};

	if (sure->bucket)
		bucket_put(sure->bus, sure->bucket, sure->key, sure->text, strlen(sure->text),
			   sure->expected, STORE_USEC, on_appended, sure, &sure->request);
	else
		stream_append(sure->bus, &append, on_appended, sure, &sure->request);
}

struct sure *sure_append_new(struct bus *bus, const struct sure_append *append, sure_fn fn,
			     void (*waiting)(const char *why, void *userdata), void *userdata)
{
	struct sure *sure = xcalloc(1, sizeof(*sure));

	sure->bus = bus;
	sure->bucket = xstrdup(append->bucket);
	sure->key = xstrdup(append->key);
	sure->text = xstrdup(append->text);
	sure->nonce = xstrdup(append->nonce);
	sure->expected = append->expected;
	sure->deadline_usec = append->deadline_usec;
	sure->eager = append->eager;
	sure->fn = fn;
	sure->waiting = waiting;
	sure->userdata = userdata;
	sure->again = timer_new(bus_loop(bus), on_again, sure);
	send(sure);
	return sure;
}

void sure_free(struct sure *sure)
{
	if (!sure)
		return;
	bus_request_cancel(sure->request);
	bus_request_cancel(sure->health);
	timer_free(sure->again);
	failure_clear(&sure->last);
	free(sure->bucket);
	free(sure->key);
	free(sure->text);
	free(sure->nonce);
	free(sure);
}
