/* Heads: the last entry of each namespace that agentd was asked about, read from the stream's
 * leader. Reads are numbered, so that a reader knows one that began after its question. */
#include "agentd/agentd.h"

struct heads {
	struct agentd *agentd;
	struct map map; /* ns → struct head_seen */
	head_fn fn;
};

struct heads *heads_new(struct agentd *agentd, head_fn fn)
{
	struct heads *heads = xcalloc(1, sizeof(*heads));

	heads->agentd = agentd;
	heads->fn = fn;
	return heads;
}

static void seen_free(void *p)
{
	struct head_seen *seen = p;

	bus_request_cancel(seen->request);
	head_free(seen->head);
	free(seen->ns);
	free(seen);
}

void heads_free(struct heads *heads)
{
	if (!heads)
		return;
	map_clear(&heads->map, seen_free);
	free(heads);
}

static struct head_seen *seen_add(struct heads *heads, const char *ns)
{
	struct head_seen *seen = map_get(&heads->map, ns);

	if (seen)
		return seen;
	seen = xcalloc(1, sizeof(*seen));
	seen->heads = heads;
	seen->ns = xstrdup(ns);
	map_put(&heads->map, ns, seen);
	return seen;
}

static void begin(struct head_seen *seen);

static int take(struct head_seen *seen, const struct stream_entry *entry, struct failure *failure)
{
	struct failure why = FAILURE_INIT;
	struct head *head = NULL;

	if (entry && codec_parse(&head_schema, entry->data, entry->size, CODEC_LENIENT,
				 (void **)&head, &why) < 0) {
		failure_set(failure, FAILURE_FAILED, "deploy again with a leased of this version",
			    "cannot decode entry %llu on %s: %s%s%s",
			    (unsigned long long)entry->sequence, entry->subject,
			    why.path ? why.path : "", why.path ? ": " : "", why.message);
		failure_clear(&why);
		return -EBADMSG;
	}
	head_free(seen->head);
	seen->head = head;
	seen->sequence = entry ? entry->sequence : 0;
	seen->known = true;
	return 0;
}

static void on_read(const struct failure *failure, const struct stream_entry *entry, void *userdata)
{
	struct head_seen *seen = userdata;
	_cleanup_(failure_clear) struct failure why = FAILURE_INIT;

	seen->request = NULL;
	seen->done = seen->begun;
	if (failure) {
		failure_copy(&why, failure);
		free(why.message);
		why.message = xasprintf("cannot read the head of namespace %s: %s", seen->ns,
					failure->message);
	} else {
		take(seen, entry, &why);
	}
	if (seen->again)
		begin(seen);
	seen->heads->fn(seen, failure_is_set(&why) ? &why : NULL, seen->heads->agentd);
}

static void begin(struct head_seen *seen)
{
	_cleanup_free_ char *subject = subject_make(SUBJECT_NAMESPACE, seen->ns, NULL);

	seen->again = false;
	seen->begun++;
	stream_last(seen->heads->agentd->daemon->bus, STORE_DOMAIN, STREAM_INTENT, subject,
		    HEAD_READ_USEC, on_read, seen, &seen->request);
}

const struct head_seen *heads_get(const struct heads *heads, const char *ns)
{
	return map_get(&heads->map, ns);
}

uint64_t heads_read(struct heads *heads, const char *ns)
{
	struct head_seen *seen = seen_add(heads, ns);

	if (!seen->request) {
		begin(seen);
		return seen->begun;
	}
	seen->again = true;
	return seen->begun + 1;
}

void heads_forget(struct heads *heads, const char *ns)
{
	struct head_seen *seen = map_get(&heads->map, ns);

	if (seen)
		seen->known = false;
}
