/* Phase manifest: appends the release that the commit refers to (the manifest with its resolved
 * digests), unless the namespace's last entry has its hash. */
#include "leased/rollout.h"

static void digests_of(const struct rollout *r, struct pairs *ret)
{
	for (size_t i = 0; i < r->manifest->n_services; i++) {
		const char *name = r->manifest->services[i].name, *digest = NULL;
		const struct head_service *before = r->base ? head_service(r->base, name) : NULL;

		for (size_t j = 0; j < r->n_candidates && !digest; j++)
			if (r->candidates[j]->service &&
			    streq(r->candidates[j]->service->name, name))
				digest = r->candidates[j]->digest;
		if (!digest && before)
			digest = before->digest;
		if (digest)
			pairs_add(ret, name, digest);
	}
}

enum phase_result phase_manifest_start(struct rollout *r)
{
	_cleanup_free_ char *subject = NULL;

	if (r->nothing || !r->manifest || !r->plan->changes)
		return PHASE_DONE;
	subject = subject_make(SUBJECT_MANIFEST, r->ns, NULL);
	r->read.state = RPC_WAITING;
	r->ops->read_last(&r->read, STREAM_MANIFESTS, subject);
	return PHASE_WAIT;
}

static void append(struct rollout *r, const struct release *release, uint64_t expected)
{
	_cleanup_free_ char *subject = subject_make(SUBJECT_MANIFEST, r->ns, NULL);
	_cleanup_free_ char *text = codec_print(&release_schema, release);
	const struct store_append what = {
		.stream = STREAM_MANIFESTS,
		.subject = subject,
		.text = text,
		.nonce = release->nonce,
		.expected = expected,
	};

	write_clear(&r->write);
	r->write.state = WRITE_WAITING;
	r->ops->append(&r->write, &what);
}

static void append_new(struct rollout *r, int64_t number, uint64_t expected)
{
	_cleanup_free_ char *nonce = r->ops->nonce(r), *now = r->ops->now_text(r);
	struct pairs digests = { NULL, 0 };
	_cleanup_free_ char *hash = NULL;
	struct release release = {
		.ns = (char *)r->ns,
		.revision = (r->base ? r->base->revision : 0) + 1,
		.number = number,
		.deploy = r->request->deploy,
		.manifest = r->manifest,
		.at = now,
		.nonce = nonce,
	};

	digests_of(r, &digests);
	release.digests = digests;
	release.hash = hash = release_hash(r->manifest, &digests);
	append(r, &release, expected);
	r->release_number = number;
	pairs_free(&digests);
}

/* Whether the namespace's last release equals this one. */
static bool is_same(const struct rollout *r, const struct release *last)
{
	struct pairs digests = { NULL, 0 };
	_cleanup_free_ char *hash = NULL;

	digests_of(r, &digests);
	hash = release_hash(r->manifest, &digests);
	pairs_free(&digests);
	return streq(hash, last->hash);
}

/* The stream would soon drop the committed release, because each failed deploy appends one too: it
 * is appended again, and the namespace's next entry refers to the new entry. */
static bool copy_is_needed(const struct rollout *r, const struct release *last)
{
	return r->head && r->head->release &&
	       last->number - r->head->release_number >= RELEASES_BEFORE_COPY;
}

static enum phase_result take_last(struct rollout *r)
{
	const struct store_entry *entry = r->read.n_entries ? &r->read.entries[0] : NULL;
	_cleanup_(release_freep) struct release *last = NULL;
	uint64_t sequence = entry ? entry->sequence : 0;
	void *decoded = NULL;

	if (entry && codec_parse(&release_schema, entry->text, entry->size, CODEC_LENIENT, &decoded,
				 NULL) == 0)
		last = decoded;
	read_clear(&r->read);
	if (last && is_same(r, last)) {
		r->release = (int64_t)sequence;
		r->release_number = last->number;
		return PHASE_DONE;
	}
	if (last && copy_is_needed(r, last)) {
		r->read.state = RPC_WAITING;
		r->ops->read_at(&r->read, STREAM_MANIFESTS, (uint64_t)r->head->release);
		r->copy_after = sequence;
		r->release_number = last->number + 1;
		return PHASE_WAIT;
	}
	append_new(r, last ? last->number + 1 : 1, sequence);
	return PHASE_WAIT;
}

static enum phase_result take_copy(struct rollout *r)
{
	const struct store_entry *entry = r->read.n_entries ? &r->read.entries[0] : NULL;
	_cleanup_free_ char *nonce = r->ops->nonce(r);
	void *decoded = NULL;
	struct release *release;

	if (!entry || codec_parse(&release_schema, entry->text, entry->size, CODEC_LENIENT,
				  &decoded, NULL) < 0) {
		read_clear(&r->read);
		append_new(r, r->release_number, r->copy_after);
		r->copy_after = 0;
		return PHASE_WAIT;
	}
	release = decoded;
	release->number = r->release_number;
	free(release->nonce);
	release->nonce = steal(nonce);
	append(r, release, r->copy_after);
	release_free(release);
	read_clear(&r->read);
	return PHASE_WAIT;
}

static enum phase_result take_write(struct rollout *r)
{
	uint64_t sequence = r->write.sequence;

	if (r->copy_after) {
		r->copy_after = 0;
		r->head->release = (int64_t)sequence;
		r->head->release_number = r->release_number;
		append_new(r, r->release_number + 1, sequence);
		return PHASE_WAIT;
	}
	r->release = (int64_t)sequence;
	return PHASE_DONE;
}

/* An earlier holder's release arrived late. The lease is ours, so ours follows it. */
static enum phase_result read_again(struct rollout *r)
{
	if (++r->releases >= RELEASES_MAX)
		return rollout_fail(r, &r->write.failure);
	write_clear(&r->write);
	r->copy_after = 0;
	return phase_manifest_start(r);
}

enum phase_result phase_manifest_poll(struct rollout *r)
{
	switch (r->read.state) {
	case RPC_WAITING:
		return PHASE_WAIT;
	case RPC_FAILED:
		return rollout_fail(r, &r->read.failure);
	case RPC_ANSWERED:
		return r->copy_after ? take_copy(r) : take_last(r);
	case RPC_IDLE:
		break;
	}
	switch (r->write.state) {
	case WRITE_IDLE:
	case WRITE_WAITING:
		return PHASE_WAIT;
	case WRITE_DONE:
	case WRITE_SUPERSEDED:
		return take_write(r);
	case WRITE_CONFLICT:
		return read_again(r);
	case WRITE_REFUSED:
	case WRITE_UNKNOWN:
		return rollout_fail(r, &r->write.failure);
	}
	return PHASE_WAIT;
}
