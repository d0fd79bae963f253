/* A store in the test's own process, in the place of lib/stream.c: entries by subject,
 * compare-and-set, readers. It answers at once, in order, unless the test says that it is away.
 * Part of surroundings.h. */
#ifndef PLOYZ_TESTS_FAKE_STORE_H
#define PLOYZ_TESTS_FAKE_STORE_H

#include "lib/ployz.h"

struct entry {
	struct entry *next;
	char *stream, *subject, *data;
	uint64_t sequence;
};
struct bus_request {
	struct bus_request *next, **link;
	char *stream, *subject, *data;
	uint64_t expected, sequence;
	bool append;
	stream_append_fn appended;
	stream_entry_fn entry;
	void *userdata;
};
struct stream_follow {
	struct stream_follow *next, **link;
	char *filter, *stream;
	bool live;
	const struct stream_follow_ops *ops;
	void *userdata;
};
static struct {
	struct entry *entries; /* the newest first */
	struct bus_request *requests;
	struct stream_follow *follows;
	uint64_t intent, facts; /* last sequences */
	bool away;		/* requests wait */
	bool lost;		/* appends are stored, and their answers lost */
	bool full;		/* appends are refused */
	size_t appends, reads;	/* that were answered */
} store;

static const struct entry *store_last(const char *stream, const char *subject)
{
	for (const struct entry *entry = store.entries; entry; entry = entry->next)
		if (streq(entry->stream, stream) && streq(entry->subject, subject))
			return entry;
	return NULL;
}

static uint64_t store_put(const char *stream, const char *subject, const char *data)
{
	struct entry *entry = xcalloc(1, sizeof(*entry));
	uint64_t *last = streq(stream, STREAM_FACTS) ? &store.facts : &store.intent;

	*entry = (struct entry){ .next = store.entries,
				 .stream = xstrdup(stream),
				 .subject = xstrdup(subject),
				 .data = xstrdup(data),
				 .sequence = ++*last };
	store.entries = entry;
	return entry->sequence;
}

/* An older copy of PLOYZ_FACTS, from before the first entry. */
static void store_revert_facts(void)
{
	struct entry **link = &store.entries;

	while (*link) {
		struct entry *entry = *link;

		if (!streq(entry->stream, STREAM_FACTS)) {
			link = &entry->next;
			continue;
		}
		*link = entry->next;
		free(entry->stream);
		free(entry->subject);
		free(entry->data);
		free(entry);
	}
	store.facts = 0;
}

static void store_clear(void)
{
	while (store.entries) {
		struct entry *entry = store.entries;

		store.entries = entry->next;
		free(entry->stream);
		free(entry->subject);
		free(entry->data);
		free(entry);
	}
}

static struct bus_request *request_new(const char *stream, const char *subject, void *userdata)
{
	struct bus_request *request = xcalloc(1, sizeof(*request));
	struct bus_request **at = &store.requests;

	/* At the end: the oldest is answered first. */
	while (*at)
		at = &(*at)->next;
	*request = (struct bus_request){ .link = at,
					 .stream = xstrdup(stream),
					 .subject = xstrdup(subject),
					 .userdata = userdata };
	*at = request;
	return request;
}

void bus_request_cancel(struct bus_request *request)
{
	if (!request)
		return;
	*request->link = request->next;
	if (request->next)
		request->next->link = request->link;
	free(request->stream);
	free(request->subject);
	free(request->data);
	free(request);
}

sd_event *bus_loop(_unused_ const struct bus *bus)
{
	return NULL;
}

void stream_append(_unused_ struct bus *bus, const struct stream_append *append,
		   stream_append_fn fn, void *userdata, struct bus_request **ret)
{
	struct bus_request *request = request_new(STREAM_FACTS, append->subject, userdata);

	request->append = true;
	request->data = xstrdup(append->data);
	request->expected = append->expected;
	request->appended = fn;
	*ret = request;
}

void stream_last(_unused_ struct bus *bus, _unused_ const char *domain, const char *stream,
		 const char *filter, _unused_ uint64_t timeout_usec, stream_entry_fn fn,
		 void *userdata, struct bus_request **ret)
{
	struct bus_request *request = request_new(stream, filter, userdata);

	request->entry = fn;
	*ret = request;
}

void stream_next(struct bus *bus, const char *domain, const char *stream, const char *filter,
		 uint64_t sequence, uint64_t timeout_usec, stream_entry_fn fn, void *userdata,
		 struct bus_request **ret)
{
	stream_last(bus, domain, stream, filter, timeout_usec, fn, userdata, ret);
	(*ret)->sequence = sequence;
}

void stream_health(_unused_ struct bus *bus, _unused_ const char *domain,
		   _unused_ uint64_t timeout_usec, _unused_ stream_health_fn fn, void *userdata,
		   struct bus_request **ret)
{
	/* Never answered. */
	*ret = request_new("health", "health", userdata);
}

struct stream_follow *stream_follow_new(_unused_ struct bus *bus,
					const struct stream_follow_options *options,
					const struct stream_follow_ops *ops, void *userdata)
{
	struct stream_follow *follow = xcalloc(1, sizeof(*follow));

	*follow = (struct stream_follow){ .next = store.follows,
					  .link = &store.follows,
					  .filter = xstrdup(options->filters[0]),
					  .stream = xstrdup(options->stream),
					  .ops = ops,
					  .userdata = userdata };
	if (follow->next)
		follow->next->link = &follow->next;
	store.follows = follow;
	return follow;
}

void stream_follow_free(struct stream_follow *follow)
{
	if (!follow)
		return;
	*follow->link = follow->next;
	if (follow->next)
		follow->next->link = follow->link;
	free(follow->filter);
	free(follow->stream);
	free(follow);
}

/* Whether a filter that ends with `*`, or none, covers the subject. */
static bool covers(const char *filter, const char *subject)
{
	size_t length = strlen(filter);

	if (filter[length - 1] != '*')
		return streq(filter, subject);
	return strncmp(filter, subject, length - 1) == 0;
}

static bool follow_answer(void)
{
	for (struct stream_follow *follow = store.follows; follow; follow = follow->next) {
		if (follow->live)
			continue;
		follow->live = true;
		for (const struct entry *entry = store.entries; entry; entry = entry->next)
			if (streq(entry->stream, follow->stream) &&
			    covers(follow->filter, entry->subject) &&
			    store_last(entry->stream, entry->subject) == entry)
				follow->ops->entry(
					&(struct stream_entry){ entry->subject, entry->sequence, 0,
								entry->data, strlen(entry->data) },
					follow->userdata);
		follow->ops->live(0, follow->userdata);
		return true;
	}
	return false;
}

static void answer_append(const struct bus_request *request)
{
	const struct entry *last = store_last(request->stream, request->subject);
	struct failure failure = FAILURE_INIT;
	uint64_t sequence;

	store.appends++;
	if (store.full) {
		failure_set(&failure, FAILURE_REFUSED, NULL, "no space left on device");
		request->appended(STREAM_REFUSED, 0, &failure, request->userdata);
	} else if ((last ? last->sequence : 0) != request->expected) {
		failure_set(&failure, FAILURE_STALE, NULL, "wrong last sequence");
		request->appended(STREAM_CONFLICT, 0, &failure, request->userdata);
	} else {
		sequence = store_put(request->stream, request->subject, request->data);
		if (store.lost) {
			failure_set(&failure, FAILURE_NO_QUORUM, NULL, "no answer");
			request->appended(STREAM_UNKNOWN, 0, &failure, request->userdata);
		} else {
			request->appended(STREAM_DONE, sequence, NULL, request->userdata);
		}
	}
	failure_clear(&failure);
}

static void answer_read(const struct bus_request *request)
{
	const struct entry *found = store_last(request->stream, request->subject);
	struct stream_entry entry;

	store.reads++;
	/* The first one from `sequence` on. */
	for (const struct entry *older = found; request->sequence && older; older = older->next)
		if (streq(older->stream, request->stream) &&
		    streq(older->subject, request->subject) && older->sequence >= request->sequence)
			found = older;
	if (found && found->sequence < request->sequence)
		found = NULL;
	if (!found) {
		request->entry(NULL, NULL, request->userdata);
		return;
	}
	entry = (struct stream_entry){ found->subject, found->sequence, 0, found->data,
				       strlen(found->data) };
	request->entry(NULL, &entry, request->userdata);
}

/* The oldest request is answered. */
static bool store_answer(void)
{
	struct bus_request *request = store.requests, copy;

	while (request && !request->append && !request->entry)
		request = request->next;
	if (store.away || !request)
		return false;
	copy = *request;
	request->stream = request->subject = request->data = NULL;
	bus_request_cancel(request);
	if (copy.append)
		answer_append(&copy);
	else
		answer_read(&copy);
	free(copy.stream);
	free(copy.subject);
	free(copy.data);
	return true;
}

/* Nobody answered in time. */
static void store_time_out(void)
{
	struct failure failure = FAILURE_INIT;
	struct bus_request *request = store.requests, copy;

	while (request && !request->append && !request->entry)
		request = request->next;
	if (!request)
		return;
	failure_set(&failure, FAILURE_NO_QUORUM, NULL, "no answer");
	copy = *request;
	request->stream = request->subject = request->data = NULL;
	bus_request_cancel(request);
	if (copy.append)
		copy.appended(STREAM_UNKNOWN, 0, &failure, copy.userdata);
	else
		copy.entry(&failure, NULL, copy.userdata);
	free(copy.stream);
	free(copy.subject);
	free(copy.data);
	failure_clear(&failure);
}

#endif
