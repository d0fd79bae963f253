/* Store: the reads and compare-and-set writes of a rollout, as its model keeps them. */
#include "leased/rollout.h"

void read_clear(struct store_read *read)
{
	if (read->state == RPC_WAITING)
		read->rollout->ops->cancel_read(read);
	for (size_t i = 0; i < read->n_entries; i++) {
		free(read->entries[i].subject);
		free(read->entries[i].text);
	}
	free(steal(read->entries));
	read->n_entries = 0;
	failure_clear(&read->failure);
	read->state = RPC_IDLE;
}

struct store_entry *read_add(struct store_read *read, const char *subject, uint64_t sequence,
			     const char *text, size_t size)
{
	struct store_entry *entry = array_add(read->entries, read->n_entries);

	entry->subject = xstrdup(subject);
	entry->sequence = sequence;
	entry->text = xmemdup(text, size);
	entry->size = size;
	return entry;
}

void read_done(struct store_read *read, const struct failure *failure)
{
	read->state = failure ? RPC_FAILED : RPC_ANSWERED;
	if (failure)
		failure_copy(&read->failure, failure);
	read->rollout->ops->schedule(read->rollout);
}

void write_clear(struct store_write *write)
{
	if (write->state == WRITE_WAITING)
		write->rollout->ops->cancel_write(write);
	failure_clear(&write->failure);
	write->state = WRITE_IDLE;
	write->sequence = 0;
}

void write_done(struct store_write *write, enum write_state state, uint64_t sequence,
		const struct failure *failure)
{
	write->state = state;
	write->sequence = sequence;
	if (failure)
		failure_copy(&write->failure, failure);
	write->rollout->ops->schedule(write->rollout);
}

void rollout_append_head(struct rollout *rollout, const struct head *head, bool eager)
{
	_cleanup_free_ char *subject = subject_make(SUBJECT_NAMESPACE, rollout->ns, NULL);
	_cleanup_free_ char *text = codec_print(&head_schema, head);
	const struct store_append append = {
		.stream = STREAM_INTENT,
		.subject = subject,
		.text = text,
		.nonce = head->nonce,
		.expected = rollout->sequence,
		.eager = eager,
	};

	write_clear(&rollout->write);
	rollout->write.state = WRITE_WAITING;
	rollout->ops->append(&rollout->write, &append);
}

struct head *entry_head(const struct store_entry *entry, struct failure *failure)
{
	struct failure broken = FAILURE_INIT;
	void *head = NULL;

	if (codec_parse(&head_schema, entry->text, entry->size, CODEC_LENIENT, &head, &broken) < 0)
		failure_set(failure, FAILURE_BUG,
			    "check that all programs of this cluster are of one version",
			    "cannot decode entry %llu on %s: %s%s%s",
			    (unsigned long long)entry->sequence, entry->subject,
			    broken.path ? broken.path : "", broken.path ? ": " : "",
			    broken.message);
	failure_clear(&broken);
	return head;
}
