/* Usage: store.usage reports how full each stream is, and the bytes of each namespace. The sizes
 * come from consumers that deliver headers only, so that no payload crosses the bus; the last heads
 * and route claims are read whole. No result is kept between two requests, but requests share one
 * that is under way. */
#include "meshd/meshd.h"

/* --- gathering */

#define GATHERED (STREAMS_COUNT + 1) /* every stream's sizes; heads and route claims */

struct gathering {
	struct accounting *accounting;
	struct stream_follow *follow;
};
struct accounting {
	struct account *account;
	struct gathering all[GATHERED];
	size_t left;
	struct failure failure;
	struct timer *deadline, *finish;
	accounting_fn fn;
	void *userdata;
};

void accounting_cancel(struct accounting *accounting)
{
	if (!accounting)
		return;
	for (size_t i = 0; i < GATHERED; i++)
		stream_follow_free(accounting->all[i].follow);
	timer_free(accounting->deadline);
	timer_free(accounting->finish);
	failure_clear(&accounting->failure);
	account_free(accounting->account);
	free(accounting);
}

/* From the loop, never from inside a follower's callback. */
static void on_finish(void *userdata)
{
	struct accounting *accounting = userdata;
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;
	struct account *account = NULL;
	accounting_fn fn = accounting->fn;
	void *fn_userdata = accounting->userdata;

	failure_move(&failure, &accounting->failure);
	if (!failure_is_set(&failure))
		account = steal(accounting->account);
	accounting_cancel(accounting);
	fn(failure_is_set(&failure) ? &failure : NULL, account, fn_userdata);
}

static void on_deadline(void *userdata)
{
	struct accounting *accounting = userdata;

	failure_set(&accounting->failure, FAILURE_TIMEOUT,
		    "repeat the command; `ployzctl status` shows the store",
		    "cannot account the streams of the store: not done within %llu s",
		    (unsigned long long)(USAGE_USEC / 1000000));
	timer_arm(accounting->finish, 0);
}

static void on_size(const struct stream_entry *entry, void *userdata)
{
	struct gathering *gathering = userdata;

	account_entry(gathering->accounting->account, entry->subject, (int64_t)entry->sequence,
		      entry->size);
}

/* An entry that cannot be decoded counts with its size alone. */
static void on_content(const struct stream_entry *entry, void *userdata)
{
	struct gathering *gathering = userdata;
	struct account *account = gathering->accounting->account;
	struct failure why = FAILURE_INIT;
	void *object = NULL;

	if (subject_match(SUBJECT_NAMESPACE, entry->subject, NULL, NULL)) {
		if (codec_parse(&head_schema, entry->data, entry->size, CODEC_LENIENT, &object,
				&why) == 0)
			account_head(account, object);
		codec_destroy(&head_schema, object);
	} else if (codec_parse(&route_claim_schema, entry->data, entry->size, CODEC_LENIENT,
			       &object, &why) == 0) {
		account_claim(account, entry->subject, ((const struct route_claim *)object)->ns);
		codec_destroy(&route_claim_schema, object);
	}
	failure_clear(&why);
}

static void on_live(_unused_ uint64_t sequence, void *userdata)
{
	struct gathering *gathering = userdata;
	struct accounting *accounting = gathering->accounting;

	stream_follow_free(steal(gathering->follow));
	if (--accounting->left == 0)
		timer_arm(accounting->finish, 0);
}

static void on_lost(const struct failure *why, void *userdata)
{
	struct gathering *gathering = userdata;
	struct accounting *accounting = gathering->accounting;

	failure_copy(&accounting->failure, why);
	timer_arm(accounting->finish, 0);
}

/* The counted stream does not exist any more. */
static void on_restart(void *userdata)
{
	struct failure why = FAILURE_INIT;

	failure_set(&why, FAILURE_STALE, "repeat the command",
		    "cannot account the streams of the store: a stream was created again");
	on_lost(&why, userdata);
	failure_clear(&why);
}

static const struct stream_follow_ops size_ops = {
	.entry = on_size,
	.live = on_live,
	.restart = on_restart,
	.lost = on_lost,
};
static const struct stream_follow_ops content_ops = {
	.entry = on_content,
	.live = on_live,
	.restart = on_restart,
	.lost = on_lost,
};

struct accounting *accounting_start(struct meshd *meshd, accounting_fn fn, void *userdata)
{
	_cleanup_free_ char *heads = subject_filter(SUBJECT_NAMESPACE);
	_cleanup_free_ char *claims = subject_filter(SUBJECT_ROUTE);
	const char *const filters[] = { heads, claims, NULL };
	struct accounting *accounting = xcalloc(1, sizeof(*accounting));

	accounting->account = account_new();
	accounting->fn = fn;
	accounting->userdata = userdata;
	accounting->left = GATHERED;
	accounting->finish = timer_new(meshd->loop, on_finish, accounting);
	accounting->deadline = timer_new(meshd->loop, on_deadline, accounting);
	timer_arm(accounting->deadline, USAGE_USEC);
	for (size_t i = 0; i < GATHERED; i++) {
		struct gathering *gathering = &accounting->all[i];
		bool sizes = i < STREAMS_COUNT;
		const struct stream_follow_options options = {
			.domain = STORE_DOMAIN,
			.stream = sizes ? streams_rows[i].name : STREAM_INTENT,
			.filters = sizes ? NULL : filters,
			.from = sizes ? STREAM_FROM_ALL : STREAM_FROM_LAST_PER_SUBJECT,
			.once = true,
			.headers_only = sizes,
		};

		gathering->accounting = accounting;
		gathering->follow = stream_follow_new(meshd->bus, &options,
						      sizes ? &size_ops : &content_ops, gathering);
	}
	return accounting;
}

/* --- the answer */

struct usage {
	struct meshd *meshd;
	struct bus_call **calls; /* that wait for it */
	size_t n_calls;
	struct polling *polling;
	struct accounting *accounting;
	struct store_usage *answer;
};

static void finish(struct usage *usage, const struct failure *failure)
{
	struct meshd *meshd = usage->meshd;

	for (size_t i = 0; i < usage->n_calls; i++) {
		if (failure)
			bus_call_fail(usage->calls[i], failure);
		else
			bus_call_ok(usage->calls[i], usage->answer);
	}
	usage->n_calls = 0;
	usage_free(meshd);
}

static void on_account(const struct failure *failure, struct account *account, void *userdata)
{
	struct usage *usage = userdata;

	usage->accounting = NULL;
	if (account)
		account_usage(account, usage->answer);
	account_free(account);
	finish(usage, failure);
}

static void add_stream(struct store_usage *answer, enum streams_id id,
		       const struct polled_stream *stream)
{
	struct stream_usage *row = array_add(answer->streams, answer->n_streams);

	row->stream = xstrdup(streams_rows[id].name);
	row->bytes = stream->bytes;
	row->max_bytes = stream->max_bytes;
	row->messages = (int64_t)stream->messages;
	row->last_sequence = stream->last_sequence;
	row->replicas = stream->replicas;
	row->alarm = stream_refuses(id, stream);
}

static void on_polled(struct poll *poll, void *userdata)
{
	struct usage *usage = userdata;
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;

	usage->polling = NULL;
	usage->answer->generation = poll->store[STREAMS_INTENT].generation;
	for (size_t i = 0; i < STREAMS_COUNT && !failure_is_set(&failure); i++) {
		if (poll->store[i].result == POLL_PRESENT)
			add_stream(usage->answer, (enum streams_id)i, &poll->store[i]);
		else if (poll->store[i].result == POLL_UNANSWERED)
			failure_copy(&failure, &poll->unanswered);
		else
			failure_set(&failure, FAILURE_NOT_FOUND,
				    "`ployzctl status` shows the store",
				    "cannot account the store: %s does not exist",
				    streams_rows[i].name);
	}
	poll_free(poll);
	if (failure_is_set(&failure))
		finish(usage, &failure);
	else
		usage->accounting = accounting_start(usage->meshd, on_account, usage);
}

void usage_serve(struct bus_call *call, _unused_ void *request, void *userdata)
{
	struct meshd *meshd = userdata;
	struct usage *usage = meshd->usage;

	if (!usage) {
		usage = meshd->usage = xcalloc(1, sizeof(*usage));
		usage->meshd = meshd;
		usage->answer = codec_new(&store_usage_schema);
		usage->polling = poll_start(meshd, on_polled, usage);
	}
	*array_add(usage->calls, usage->n_calls) = call;
}

void usage_free(struct meshd *meshd)
{
	struct usage *usage = steal(meshd->usage);

	if (!usage)
		return;
	poll_cancel(usage->polling);
	accounting_cancel(usage->accounting);
	for (size_t i = 0; i < usage->n_calls; i++)
		bus_call_drop(usage->calls[i]);
	free(usage->calls);
	store_usage_free(usage->answer);
	free(usage);
}
