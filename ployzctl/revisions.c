/* Revisions of a namespace: their numbers from the entries of its log, what each ran from its
 * release in PLOYZ_MANIFESTS. */
#include "ployzctl/ployzctl.h"
#include "ployzctl/pure.h"

/* --- the list (pure) */

void revision_list_add(struct revision_list *list, const struct head *head)
{
	struct revision_row *last = list->count ? &list->rows[list->count - 1] : NULL;
	struct revision_row *row = last && last->number == head->revision ? last : NULL;

	/* Opening and closing entries repeat the state that was committed before them. */
	if (!head->revision)
		return;
	if (!row)
		row = array_add(list->rows, list->count);
	free(row->deploy);
	row->number = head->revision;
	row->release = head->release;
	row->deploy = xstrdup(head->deploy);
}

void revision_list_clear(struct revision_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->rows[i].deploy);
	free(list->rows);
	*list = (struct revision_list){ NULL, 0 };
}

static int not_kept(const struct revision_list *list, const char *ns, int64_t wanted,
		    struct failure *failure)
{
	_cleanup_free_ char *hint = xasprintf("run `ployzctl ns history %s`", ns);
	int64_t first = list->rows[0].number, last = list->rows[list->count - 1].number;

	if (wanted == REVISION_BEFORE)
		return failure_set(failure, FAILURE_NOT_FOUND, hint,
				   "cannot find a revision of namespace %s before revision %lld: "
				   "none is kept",
				   ns, (long long)last);
	return failure_set(failure, FAILURE_NOT_FOUND, hint,
			   "cannot find revision %lld of namespace %s: revisions %lld to %lld are "
			   "kept",
			   (long long)wanted, ns, (long long)first, (long long)last);
}

const struct revision_row *revision_list_find(const struct revision_list *list, const char *ns,
					      int64_t wanted, struct failure *failure)
{
	if (!list->count) {
		failure_set(failure, FAILURE_NOT_FOUND, "run `ployzctl ns ls`",
			    "cannot find a revision of namespace %s: nothing was ever committed",
			    ns);
		return NULL;
	}
	if (wanted == REVISION_CURRENT)
		return &list->rows[list->count - 1];
	if (wanted == REVISION_BEFORE && list->count > 1)
		return &list->rows[list->count - 2];
	for (size_t i = 0; i < list->count; i++)
		if (list->rows[i].number == wanted)
			return &list->rows[i];
	not_kept(list, ns, wanted, failure);
	return NULL;
}

/* --- reading */

/* The one read of a session exists until the program ends. */
static struct {
	struct ployzctl *ctl;
	const char *ns;
	int64_t wanted[2];
	struct revision revisions[2];
	size_t count, done; /* releases that are read */
	bool mirror;	    /* the store does not answer */
	struct revision_list list;
	struct stream_follow *follow;
	struct deferred *next;
	revisions_fn fn;
	void *userdata;
} reading;

static const char *domain(void)
{
	return reading.mirror ? reading.ctl->machine : STORE_DOMAIN;
}

/* Everything is read again from the local mirrors. */
static void on_lost(const struct failure *why, _unused_ void *userdata)
{
	if (reading.mirror) {
		session_fail(reading.ctl, why);
		return;
	}
	fprintf(stderr, "ployzctl: %s; reading this machine's local mirrors\n", why->message);
	reading.mirror = true;
	for (; reading.done > 0; reading.done--)
		release_free(steal(reading.revisions[reading.done - 1].content));
	revision_list_clear(&reading.list);
	deferred_schedule(reading.next);
}

/* --- releases */

static void decode_release(const struct stream_entry *entry, struct revision *revision)
{
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;
	void *release = NULL;

	if (codec_parse(&release_schema, entry->data, entry->size, CODEC_LENIENT, &release,
			&failure) < 0) {
		session_refuse(FAILURE_INVALID, NULL, "cannot decode entry %llu on %s: %s%s%s",
			       (unsigned long long)entry->sequence, entry->subject,
			       failure.path ? failure.path : "", failure.path ? " " : "",
			       failure.message);
		return;
	}
	if (streq(((struct release *)release)->ns, reading.ns))
		revision->content = release;
	else
		release_free(release);
}

static void on_release(const struct failure *failure, const struct stream_entry *entry,
		       _unused_ void *userdata)
{
	if (failure) {
		on_lost(failure, NULL);
		return;
	}
	if (entry)
		decode_release(entry, &reading.revisions[reading.done]);
	reading.done++;
	deferred_schedule(reading.next);
}

static void next_release(void)
{
	while (reading.done < reading.count && !reading.revisions[reading.done].release)
		reading.done++;
	if (reading.done < reading.count)
		stream_at(reading.ctl->bus, domain(), STREAM_MANIFESTS,
			  (uint64_t)reading.revisions[reading.done].release, REQUEST_USEC,
			  on_release, NULL, NULL);
	else
		reading.fn(reading.revisions, reading.count, reading.userdata);
}

/* --- the namespace's entries */

static void on_head(const struct stream_entry *entry, _unused_ void *userdata)
{
	void *head = NULL;

	if (codec_parse(&head_schema, entry->data, entry->size, CODEC_LENIENT, &head, NULL) < 0) {
		session_refuse(FAILURE_INVALID, "it is left out", "cannot decode entry %llu on %s",
			       (unsigned long long)entry->sequence, entry->subject);
		return;
	}
	revision_list_add(&reading.list, head);
	head_free(head);
}

static void on_heads_live(_unused_ uint64_t sequence, _unused_ void *userdata)
{
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;

	for (size_t i = 0; i < reading.count; i++) {
		const struct revision_row *row =
			revision_list_find(&reading.list, reading.ns, reading.wanted[i], &failure);

		if (!row) {
			session_fail(reading.ctl, &failure);
			return;
		}
		reading.revisions[i] = (struct revision){ .number = row->number,
							  .release = row->release,
							  .deploy = row->deploy };
	}
	deferred_schedule(reading.next);
}

static void read_next(_unused_ void *userdata)
{
	static const struct stream_follow_ops ops = { .entry = on_head,
						      .live = on_heads_live,
						      .lost = on_lost };
	_cleanup_free_ char *filter = subject_make(SUBJECT_NAMESPACE, reading.ns, NULL);
	const char *const filters[] = { filter, NULL };
	const struct stream_follow_options options = {
		.domain = domain(),
		.stream = STREAM_INTENT,
		.filters = filters,
		.from = STREAM_FROM_ALL,
		.once = true,
	};

	if (reading.list.count) {
		next_release();
		return;
	}
	stream_follow_free(reading.follow);
	reading.follow = stream_follow_new(reading.ctl->bus, &options, &ops, NULL);
}

void revisions_read(struct ployzctl *ctl, const char *ns, const int64_t *wanted, size_t count,
		    revisions_fn fn, void *userdata)
{
	reading.ctl = ctl;
	reading.ns = ns;
	reading.count = count;
	reading.fn = fn;
	reading.userdata = userdata;
	for (size_t i = 0; i < count; i++)
		reading.wanted[i] = wanted[i];
	reading.next = deferred_new(ctl->loop, read_next, NULL);
	read_next(NULL);
}
