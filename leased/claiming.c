/* Claiming routes: reads all claims and heads, writes the claims that are missing, each by
 * compare-and-set, and reads everything again. An answer is used only if it contains our own claims
 * at their sequences; of two conflicting new claims the lower sequence wins. */
#include "leased/rollout.h"

enum claiming_state { CLAIMING_READ, CLAIMING_WRITE, CLAIMING_VERIFY };
struct claiming_written {
	char *key;
	uint64_t sequence;
};
struct claiming {
	struct rollout *rollout;
	enum claiming_state state;
	struct head *wanted; /* ns, routes and grants of the manifest */
	/* The result of the last read; `claimed` and `heads` refer to its decoded entries. */
	struct route_claim **claims;
	struct route_claimed *claimed;
	size_t n_claims;
	struct head **heads;
	size_t n_heads;
	char **unreadable;
	char **needed; /* keys */
	size_t n_written;
	struct claiming_written *written;
	char *nonce;
	int attempts;
};

#define ATTEMPTS_MAX 4 /* reads while other writers change claims */

struct claiming *claiming_new(struct rollout *r)
{
	struct claiming *claiming = xcalloc(1, sizeof(*claiming));

	claiming->rollout = r;
	claiming->wanted = codec_new(&head_schema);
	claiming->wanted->ns = xstrdup(r->ns);
	head_take_routes(claiming->wanted, r->manifest);
	return claiming;
}

static void forget_read(struct claiming *claiming)
{
	for (size_t i = 0; i < claiming->n_claims; i++)
		route_claim_free(claiming->claims[i]);
	free(steal(claiming->claims));
	free(steal(claiming->claimed));
	claiming->n_claims = 0;
	for (size_t i = 0; i < claiming->n_heads; i++)
		head_free(claiming->heads[i]);
	free(steal(claiming->heads));
	claiming->n_heads = 0;
	strv_free(steal(claiming->unreadable));
}

void claiming_free(struct claiming *claiming)
{
	if (!claiming)
		return;
	forget_read(claiming);
	head_free(claiming->wanted);
	strv_free(claiming->needed);
	for (size_t i = 0; i < claiming->n_written; i++)
		free(claiming->written[i].key);
	free(claiming->written);
	free(claiming->nonce);
	free(claiming);
}

static void take_entry(struct claiming *claiming, const struct store_entry *entry)
{
	_cleanup_free_ char *ns = NULL;
	void *object = NULL;
	size_t n;

	if (subject_match(SUBJECT_NAMESPACE, entry->subject, &ns, NULL)) {
		if (codec_parse(&head_schema, entry->text, entry->size, CODEC_LENIENT, &object,
				NULL) < 0)
			strv_push(&claiming->unreadable, steal(ns));
		else
			*array_add(claiming->heads, claiming->n_heads) = object;
	} else if (subject_match(SUBJECT_ROUTE, entry->subject, NULL, NULL) &&
		   codec_parse(&route_claim_schema, entry->text, entry->size, CODEC_LENIENT,
			       &object, NULL) == 0) {
		n = claiming->n_claims;
		claiming->claims = array_grow(claiming->claims, n, sizeof(*claiming->claims));
		claiming->claimed = array_grow(claiming->claimed, n, sizeof(*claiming->claimed));
		claiming->claims[n] = object;
		claiming->claimed[n] = (struct route_claimed){ object, entry->sequence };
		claiming->n_claims++;
	}
}

static struct route_owners *owners_of(struct claiming *claiming)
{
	const struct route_known known = {
		.claims = claiming->claimed,
		.n_claims = claiming->n_claims,
		.heads = (const struct head *const *)claiming->heads,
		.n_heads = claiming->n_heads,
		.unreadable = claiming->unreadable,
	};

	return route_owners_new(&known);
}

static enum phase_result refuse(struct claiming *claiming, const struct route_owners *owners)
{
	struct route_conflict conflict = { NULL, NULL, NULL };
	enum phase_result result = PHASE_DONE;

	if (route_conflict(owners, claiming->wanted, &conflict))
		result = rollout_failf(
			claiming->rollout, FAILURE_REFUSED,
			"choose another host or path, or have its owner grant it (`grants`)",
			"cannot take route %s: %s", conflict.key, conflict.reason);
	route_conflict_clear(&conflict);
	return result;
}

/* Sequence of the claim with this key; 0: none. */
static uint64_t claim_sequence(const struct claiming *claiming, const char *key,
			       const struct route_claim **ret)
{
	for (size_t i = 0; i < claiming->n_claims; i++)
		if (streq(claiming->claims[i]->key, key)) {
			if (ret)
				*ret = claiming->claims[i];
			return claiming->claimed[i].sequence;
		}
	return 0;
}

static void write_next(struct claiming *claiming)
{
	struct rollout *r = claiming->rollout;
	const char *key = claiming->needed[claiming->n_written];
	_cleanup_free_ char *token = route_token(key);
	_cleanup_free_ char *subject = subject_make(SUBJECT_ROUTE, token, NULL);
	_cleanup_free_ char *now = r->ops->now_text(r), *text = NULL;
	struct route_claim claim = {
		.key = (char *)key,
		.ns = (char *)r->ns,
		.deploy = r->request->deploy,
		.epoch = r->lease.epoch,
		.generation = r->generation,
		.at = now,
	};
	struct store_append append;

	free(claiming->nonce);
	claiming->nonce = claim.nonce = r->ops->nonce(r);
	text = codec_print(&route_claim_schema, &claim);
	append = (struct store_append){
		.stream = STREAM_INTENT,
		.subject = subject,
		.text = text,
		.nonce = claim.nonce,
		.expected = claim_sequence(claiming, key, NULL),
	};
	write_clear(&r->write);
	r->write.state = WRITE_WAITING;
	r->ops->append(&r->write, &append);
}

/* Another writer was first: its claim may conflict, so everything is read again. */
static enum phase_result read_again(struct claiming *claiming)
{
	if (++claiming->attempts >= ATTEMPTS_MAX)
		return rollout_failf(claiming->rollout, FAILURE_REFUSED, "deploy again",
				     "cannot claim the routes of namespace %s: other deploys keep "
				     "changing the claims",
				     claiming->rollout->ns);
	claiming->state = CLAIMING_READ;
	read_clear(&claiming->rollout->read);
	return PHASE_WAIT;
}

static bool own_claims_are_there(const struct claiming *claiming)
{
	for (size_t i = 0; i < claiming->n_written; i++) {
		const struct route_claim *claim = NULL;

		if (claim_sequence(claiming, claiming->written[i].key, &claim) !=
			    claiming->written[i].sequence ||
		    !streq(claim->deploy, claiming->rollout->request->deploy))
			return false;
	}
	return true;
}

static void forget_written(struct claiming *claiming)
{
	for (size_t i = 0; i < claiming->n_written; i++)
		free(claiming->written[i].key);
	free(steal(claiming->written));
	claiming->n_written = 0;
}

static enum phase_result take_read(struct claiming *claiming)
{
	struct rollout *r = claiming->rollout;
	_cleanup_(route_owners_freep) struct route_owners *owners = NULL;
	enum phase_result result;

	forget_read(claiming);
	for (size_t i = 0; i < r->read.n_entries; i++)
		take_entry(claiming, &r->read.entries[i]);
	read_clear(&r->read);
	owners = owners_of(claiming);
	result = refuse(claiming, owners);
	if (result != PHASE_DONE)
		return result;
	if (claiming->state == CLAIMING_VERIFY)
		return own_claims_are_there(claiming) ? PHASE_DONE : read_again(claiming);
	forget_written(claiming);
	strv_free(claiming->needed);
	claiming->needed = route_claims_needed(owners, claiming->wanted);
	if (!claiming->needed)
		return PHASE_DONE;
	claiming->state = CLAIMING_WRITE;
	write_next(claiming);
	return PHASE_WAIT;
}

static enum phase_result poll_read(struct claiming *claiming)
{
	struct rollout *r = claiming->rollout;

	switch (r->read.state) {
	case RPC_IDLE:
		r->read.state = RPC_WAITING;
		r->ops->read_claims(&r->read);
		return PHASE_WAIT;
	case RPC_WAITING:
		return PHASE_WAIT;
	case RPC_FAILED:
		if (!rollout_may_retry(r, &r->read.failure))
			return rollout_fail(r, &r->read.failure);
		read_clear(&r->read);
		return PHASE_WAIT; /* the next tick reads again */
	case RPC_ANSWERED:
		return take_read(claiming);
	}
	return PHASE_WAIT;
}

static enum phase_result poll_write(struct claiming *claiming)
{
	struct rollout *r = claiming->rollout;
	struct claiming_written *written;

	switch (r->write.state) {
	case WRITE_IDLE:
	case WRITE_WAITING:
		return PHASE_WAIT;
	case WRITE_DONE:
		written = array_add(claiming->written, claiming->n_written);
		written->key = xstrdup(claiming->needed[claiming->n_written - 1]);
		written->sequence = r->write.sequence;
		write_clear(&r->write);
		if (claiming->needed[claiming->n_written]) {
			write_next(claiming);
			return PHASE_WAIT;
		}
		claiming->state = CLAIMING_VERIFY;
		return poll_read(claiming);
	case WRITE_SUPERSEDED:
	case WRITE_CONFLICT:
		write_clear(&r->write);
		return read_again(claiming);
	case WRITE_REFUSED:
	case WRITE_UNKNOWN:
		return rollout_fail(r, &r->write.failure);
	}
	return PHASE_WAIT;
}

enum phase_result claiming_poll(struct claiming *claiming)
{
	enum phase_result result;

	if (claiming->state == CLAIMING_WRITE) {
		result = poll_write(claiming);
		if (claiming->state != CLAIMING_READ)
			return result;
		if (result != PHASE_WAIT)
			return result;
	}
	return poll_read(claiming);
}
