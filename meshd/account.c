/* Account: bytes and entries of each namespace, from the subject and size of every entry. The size
 * of an entry is that of its subject and payload: what JetStream adds (headers, about 90 bytes of
 * framing) is in the figures of the streams only. */
#include "meshd/meshd.h"

/* All entries of one subject. */
struct tally {
	uint64_t bytes;
	int64_t messages;
	int64_t *sequences; /* of a manifest subject */
	size_t n_sequences;
};
/* The values of one namespace's head. */
struct holding {
	int64_t routes, slots;
	int64_t release; /* sequence in PLOYZ_MANIFESTS; 0: none */
};
struct account {
	struct map tallies;  /* subject → struct tally */
	struct map holdings; /* namespace → struct holding */
	struct map claims;   /* subject of a route claim → namespace, char * */
};

struct account *account_new(void)
{
	return xcalloc(1, sizeof(struct account));
}

static void tally_free(void *p)
{
	struct tally *tally = p;

	free(tally->sequences);
	free(tally);
}

void account_free(struct account *account)
{
	if (!account)
		return;
	map_clear(&account->tallies, tally_free);
	map_clear(&account->holdings, free);
	map_clear(&account->claims, free);
	free(account);
}

void account_entry(struct account *account, const char *subject, int64_t sequence, size_t size)
{
	struct tally *tally = map_get(&account->tallies, subject);

	if (!tally) {
		tally = xcalloc(1, sizeof(*tally));
		map_put(&account->tallies, subject, tally);
	}
	tally->bytes += size + strlen(subject);
	tally->messages++;
	if (subject_match(SUBJECT_MANIFEST, subject, NULL, NULL))
		*array_add(tally->sequences, tally->n_sequences) = sequence;
}

void account_head(struct account *account, const struct head *head)
{
	struct holding *holding = xcalloc(1, sizeof(*holding));

	holding->routes = (int64_t)head->n_routes;
	for (size_t i = 0; i < head->n_services; i++)
		holding->slots += (int64_t)head->services[i].n_slots;
	holding->release = head->release;
	free(map_put(&account->holdings, head->ns, holding));
}

void account_claim(struct account *account, const char *subject, const char *ns)
{
	free(map_put(&account->claims, subject, xstrdup(ns)));
}

/* The namespace in a subject, where a subject of lib/subjects.def has one; owned by the caller. */
static char *namespace_of(const struct account *account, const char *subject)
{
	const char *key_prefix = "$KV." BUCKET_LEASES ".";

	if (str_starts(subject, key_prefix))
		return xstrdup(subject + strlen(key_prefix));
	for (size_t i = 0; i < SUBJECT_COUNT; i++) {
		const char *first = strchr(subjects[i].pattern, '<');
		_cleanup_free_ char *a = NULL, *b = NULL;

		if (!subject_stream(subjects[i].kind) ||
		    !subject_match((enum subject_id)i, subject, &a, &b))
			continue;
		if (first && str_starts(first, "<ns>"))
			return steal(a);
		if (b && first && strstr(first + 1, "<ns>"))
			return steal(b);
		break;
	}
	return xstrdup(map_get(&account->claims, subject));
}

static struct namespace_usage *find_or_add(struct store_usage *usage, struct map *index,
					   const char *ns)
{
	size_t at = (size_t)map_get(index, ns);
	struct namespace_usage *row;

	if (at)
		return &usage->namespaces[at - 1];
	row = array_add(usage->namespaces, usage->n_namespaces);
	row->ns = xstrdup(ns);
	map_put(index, ns, (void *)usage->n_namespaces);
	return row;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct namespace_usage *)a)->ns,
		      ((const struct namespace_usage *)b)->ns);
}

void account_usage(const struct account *account, struct store_usage *usage)
{
	struct map index = MAP_INIT;

	for (struct map_item *i = NULL; (i = map_next(&account->tallies, i));) {
		_cleanup_free_ char *ns = namespace_of(account, i->key);
		const struct tally *tally = i->value;
		struct namespace_usage *row;

		if (!ns)
			continue;
		row = find_or_add(usage, &index, ns);
		row->bytes += tally->bytes;
		row->messages += tally->messages;
	}
	for (struct map_item *i = NULL; (i = map_next(&account->holdings, i));) {
		struct namespace_usage *row = find_or_add(usage, &index, i->key);
		const struct holding *holding = i->value;

		row->routes = holding->routes;
		row->slots = holding->slots;
	}
	map_clear(&index, NULL);
	if (usage->n_namespaces)
		qsort(usage->namespaces, usage->n_namespaces, sizeof(*usage->namespaces), by_name);
}

int64_t account_manifests_kept(const struct account *account)
{
	int64_t kept = 1;

	for (struct map_item *i = NULL; (i = map_next(&account->holdings, i));) {
		_cleanup_free_ char *subject = subject_make(SUBJECT_MANIFEST, i->key, NULL);
		const struct tally *tally = map_get(&account->tallies, subject);
		const struct holding *holding = i->value;
		int64_t from_release = 0;

		for (size_t n = 0; tally && holding->release && n < tally->n_sequences; n++)
			from_release += tally->sequences[n] >= holding->release;
		kept = MAX2(kept, from_release);
	}
	return kept;
}
