/* Facts judge (pure): classifies the entry with which an append of facts conflicted. */
#include "agentd/agentd.h"

static bool written_by(const struct instances *entry, const char *incarnation)
{
	size_t length = incarnation ? strlen(incarnation) : 0;

	/* A nonce is the writer's incarnation, a hyphen and an id. */
	return length && entry->nonce && strncmp(entry->nonce, incarnation, length) == 0 &&
	       entry->nonce[length] == '-';
}

enum facts_verdict facts_judge(const struct instances *entry, uint64_t sequence, uint64_t expected,
			       const char *sent_nonce, const char *incarnation,
			       const char *previous)
{
	if (!entry || sequence <= expected)
		return FACTS_RETRY;
	if (streq(entry->nonce, sent_nonce))
		return FACTS_STORED;
	/* A write of this process, or of the last one, that arrived late. */
	if (written_by(entry, incarnation) || written_by(entry, previous))
		return FACTS_RETRY;
	return FACTS_CLONED;
}
