/* Manifests: reads the committed manifest of every namespace from PLOYZ_MANIFESTS, at the sequence
 * in its head. */
#include "placerd/placerd.h"

/* One manifest that is being read. */
struct fetch {
	struct manifests *manifests;
	size_t at; /* index into the snapshot's namespaces */
	struct bus_request *request;
};
struct manifests {
	struct placerd *placerd;
	struct snapshot *snapshot;
	manifests_fn fn;
	void *userdata;
	size_t next; /* next namespace to read */
	size_t waiting;
	struct fetch fetches[MANIFESTS_AT_ONCE]; /* `manifests` NULL: free */
	struct deferred *end;
};

void manifests_free(struct manifests *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < MANIFESTS_AT_ONCE; i++)
		if (m->fetches[i].manifests)
			bus_request_cancel(m->fetches[i].request);
	deferred_free(m->end);
	free(m);
}

/* An entry that is no manifest of this namespace is treated like one that was dropped. */
static struct manifest *take(struct snapshot *s, const struct namespace_entry *of,
			     const struct stream_entry *entry)
{
	_cleanup_(release_freep) struct release *release = NULL;
	struct failure failure = FAILURE_INIT;
	void *object = NULL;

	if (codec_parse(&release_schema, entry->data, entry->size, CODEC_LENIENT, &object,
			&failure) < 0)
		strv_push(&s->warnings,
			  xasprintf("cannot decode entry %llu of " STREAM_MANIFESTS ": %s%s%s",
				    (unsigned long long)entry->sequence,
				    failure.path ? failure.path : "", failure.path ? ": " : "",
				    failure.message));
	failure_clear(&failure);
	release = object;
	return release && streq(release->ns, of->ns) ? steal(release->manifest) : NULL;
}

static void fetch_more(struct manifests *m);

static void on_manifest(const struct failure *failure, const struct stream_entry *entry,
			void *userdata)
{
	struct fetch *fetch = userdata;
	struct manifests *m = steal(fetch->manifests);
	struct namespace_entry *of = &m->snapshot->namespaces[fetch->at];

	m->waiting--;
	if (failure) {
		m->fn(failure, m->userdata);
		return;
	}
	if (entry)
		of->manifest = take(m->snapshot, of, entry);
	fetch_more(m);
}

static bool wanted(const struct namespace_entry *entry)
{
	return entry->head && entry->head->revision && entry->head->release;
}

static void fetch_more(struct manifests *m)
{
	const struct snapshot *s = m->snapshot;

	for (size_t i = 0; i < MANIFESTS_AT_ONCE; i++) {
		struct fetch *fetch = &m->fetches[i];

		while (m->next < s->n_namespaces && !wanted(&s->namespaces[m->next]))
			m->next++;
		if (m->next == s->n_namespaces)
			break;
		if (fetch->manifests)
			continue;
		*fetch = (struct fetch){ .manifests = m, .at = m->next++ };
		m->waiting++;
		stream_at(m->placerd->daemon->bus, STORE_DOMAIN, STREAM_MANIFESTS,
			  (uint64_t)s->namespaces[fetch->at].head->release, MANIFEST_USEC,
			  on_manifest, fetch, &fetch->request);
	}
	if (!m->waiting)
		deferred_schedule(m->end);
}

static void on_end(void *userdata)
{
	struct manifests *m = userdata;

	m->fn(NULL, m->userdata);
}

struct manifests *manifests_read(struct placerd *placerd, struct snapshot *snapshot,
				 manifests_fn fn, void *userdata)
{
	struct manifests *m = xcalloc(1, sizeof(*m));

	m->placerd = placerd;
	m->snapshot = snapshot;
	m->fn = fn;
	m->userdata = userdata;
	m->end = deferred_new(placerd->daemon->loop, on_end, m);
	fetch_more(m);
	return m;
}
