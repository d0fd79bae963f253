/* Holding a lease: taken, renewed every 10 s, given back; each a compare-and-set on the revision
 * last read. */
#include "leased/leased.h"

struct holding {
	struct leased *leased;
	struct lease *holder;  /* what we write: epoch and nonce change with each write */
	uint64_t revision;     /* of our last acknowledged write; 0: not taken yet */
	uint64_t sent_usec;    /* boot-time clock: when that write was sent */
	uint64_t sending_usec; /* the same of the write that is on its way */
	uint64_t give_up_usec; /* taking: until when */
	struct bus_request *reading;
	struct sure *write;
	struct timer *renew;	/* next renewal, or another try at taking */
	struct timer *deadline; /* stop acting */
	const struct holding_ops *ops;
	bool renewing;	  /* a renewal is on its way: giving back waits for its revision */
	loop_fn released; /* set: it is being given back */
	void *userdata;
};

static void take(void *userdata);
static void write_release(struct holding *h);

static char *write_text(struct holding *h)
{
	free(h->holder->nonce);
	h->holder->nonce = id_new();
	return codec_print(&lease_schema, h->holder);
}

static void on_waiting(const char *why, void *userdata)
{
	struct holding *h = userdata;

	h->ops->waiting(why, h->userdata);
}

static void write_lease(struct holding *h, uint64_t expected, uint64_t deadline_usec, sure_fn fn)
{
	_cleanup_free_ char *text = write_text(h);
	const struct sure_append append = {
		.bucket = BUCKET_LEASES,
		.key = h->holder->ns,
		.text = text,
		.nonce = h->holder->nonce,
		.expected = expected,
		.deadline_usec = deadline_usec,
		.eager = !h->revision,
	};

	h->sending_usec = boot_now_usec();
	sure_free(h->write);
	h->write = sure_append_new(h->leased->daemon->bus, &append, fn, on_waiting, h);
}

static void lose(struct holding *h, const struct failure *failure)
{
	struct failure kept = FAILURE_INIT;

	failure_copy(&kept, failure);
	timer_disarm(h->renew);
	timer_disarm(h->deadline);
	/* A renewal on its way would bring a lost lease back to life. */
	sure_free(steal(h->write));
	h->revision = 0;
	h->ops->lost(&kept, h->userdata);
	failure_clear(&kept);
}

static void on_deadline(void *userdata)
{
	struct holding *h = userdata;
	struct failure failure = FAILURE_INIT;

	failure_set(&failure, FAILURE_LEASE_LOST,
		    "is the store reachable? `ployzctl status` shows it; then deploy again",
		    "the lease of namespace %s could not be renewed in time", h->holder->ns);
	lose(h, &failure);
	failure_clear(&failure);
}

static void acknowledged(struct holding *h, uint64_t revision)
{
	uint64_t now = boot_now_usec(), until;

	h->revision = revision;
	h->sent_usec = h->sending_usec;
	until = holding_deadline(h);
	timer_arm(h->deadline, until > now ? until - now : 0);
	timer_arm(h->renew, LEASE_RENEW_USEC);
}

static void on_renewed(enum sure_outcome outcome, uint64_t revision, const struct failure *failure,
		       void *userdata)
{
	struct holding *h = userdata;
	struct failure lost = FAILURE_INIT;

	h->renewing = false;
	if (h->released) {
		if (outcome == SURE_DONE)
			h->revision = revision;
		write_release(h);
		return;
	}
	if (outcome == SURE_DONE) {
		acknowledged(h, revision);
		h->ops->renewed(h->userdata);
		return;
	}
	if (outcome == SURE_UNKNOWN) { /* until the deadline */
		on_deadline(h);
		return;
	}
	failure_set(&lost, FAILURE_LEASE_LOST,
		    "`ployzctl lease show` says who holds it now; then deploy again",
		    "the lease of namespace %s was lost: %s", h->holder->ns, failure->message);
	lose(h, &lost);
	failure_clear(&lost);
}

static void on_taken(enum sure_outcome outcome, uint64_t revision, const struct failure *failure,
		     void *userdata)
{
	struct holding *h = userdata;

	if (outcome == SURE_DONE) {
		acknowledged(h, revision);
		h->ops->taken(h->userdata);
	} else if (outcome == SURE_CONFLICT) {
		timer_arm(h->renew,
			  0); /* somebody was faster: read who, and refuse in their name */
	} else {
		h->ops->refused(failure, h->userdata);
	}
}

/* Whether the deploy that holds it is walked here: it may have lost the lease, and ended, while the
 * store took no word of it. */
static bool is_walked(const struct leased *leased, const struct lease *lease)
{
	for (size_t i = 0; i < leased->n_walks; i++) {
		const struct walk *walk = leased->walks[i];

		if (!walk->ended && !walk->lost && streq(walk->request->deploy, lease->deploy))
			return true;
	}
	return false;
}

static void decide(struct holding *h, const struct lease *lease, uint64_t revision)
{
	uint64_t quiet = watch_quiet(h->leased, h->holder->ns, revision);
	struct failure failure = FAILURE_INIT;

	/* What of this life walks no more is as good as an earlier one's. */
	switch (lease_decide(lease, h->holder->machine,
			     lease && !is_walked(h->leased, lease) ? "" : h->leased->life, quiet)) {
	case LEASE_REFUSE:
		lease_refusal(lease, quiet, time_now_usec(), &failure);
		h->ops->refused(&failure, h->userdata);
		failure_clear(&failure);
		return;
	case LEASE_TAKE_OWN:
		log_notice(
			"namespace %s: taking over what an earlier deploy of this leased left (%s)",
			h->holder->ns, lease && lease->deploy ? lease->deploy : "unknown");
		break;
	case LEASE_TAKE_EXPIRED:
		log_notice("namespace %s: its holder on machine %s has been quiet for a whole "
			   "term, taking over",
			   h->holder->ns, lease && lease->machine ? lease->machine : "unknown");
		break;
	case LEASE_TAKE_FREE:
		break;
	}
	h->holder->state = LEASE_HELD;
	h->holder->epoch = (lease ? lease->epoch : 0) + 1;
	write_lease(h, revision, h->give_up_usec, on_taken);
}

static void on_read(const struct failure *failure, const struct stream_entry *entry, void *userdata)
{
	struct holding *h = userdata;
	struct failure broken = FAILURE_INIT;
	void *lease = NULL;

	h->reading = NULL;
	if (failure) {
		if (boot_now_usec() >= h->give_up_usec) {
			h->ops->refused(failure, h->userdata);
			return;
		}
		h->ops->waiting(failure->message, h->userdata);
		timer_arm(h->renew, REPEAT_USEC);
		return;
	}
	if (entry && codec_parse(&lease_schema, entry->data, entry->size, CODEC_LENIENT, &lease,
				 &broken) < 0) {
		failure_set(&broken, FAILURE_BUG, "`ployzctl lease break` writes it anew",
			    "the lease of namespace %s cannot be read", h->holder->ns);
		h->ops->refused(&broken, h->userdata);
		failure_clear(&broken);
		return;
	}
	decide(h, lease, entry ? entry->sequence : 0);
	lease_free(lease);
}

static void take(void *userdata)
{
	struct holding *h = userdata;

	if (h->revision) { /* the same timer renews */
		h->renewing = true;
		write_lease(h, h->revision, holding_deadline(h), on_renewed);
		return;
	}
	bucket_get(h->leased->daemon->bus, BUCKET_LEASES, h->holder->ns, STORE_USEC, on_read, h,
		   &h->reading);
}

struct holding *holding_new(struct leased *leased, const struct lease *holder,
			    const struct holding_ops *ops, void *userdata)
{
	sd_event *loop = leased->daemon->loop;
	struct holding *h = xcalloc(1, sizeof(*h));

	h->leased = leased;
	h->holder = codec_copy(&lease_schema, holder);
	h->ops = ops;
	h->userdata = userdata;
	h->give_up_usec = boot_now_usec() + RIDE_OUT_USEC;
	h->renew = timer_new(loop, take, h);
	h->deadline = timer_new(loop, on_deadline, h);
	timer_arm(h->renew, 0);
	return h;
}

const struct lease *holding_lease(const struct holding *h)
{
	return h->holder;
}

uint64_t holding_deadline(const struct holding *h)
{
	return h->sent_usec + LEASE_TERM_USEC - LEASE_MARGIN_USEC;
}

void holding_observe(struct holding *h, const struct lease *lease, uint64_t revision)
{
	struct failure failure = FAILURE_INIT;

	/* Who gives it back learns from that write's answer. */
	if (!h->revision || h->released || revision <= h->revision ||
	    streq(lease->nonce, h->holder->nonce))
		return;
	failure_set(&failure, FAILURE_LEASE_LOST,
		    "`ployzctl lease show` says more; then deploy again",
		    lease->state == LEASE_FREE ? "the lease of namespace %s was broken by %s"
					       : "the lease of namespace %s was taken over by %s",
		    h->holder->ns, lease->operator_ ? lease->operator_ : lease->machine);
	lose(h, &failure);
	failure_clear(&failure);
}

static void on_released(enum sure_outcome outcome, _unused_ uint64_t revision,
			const struct failure *failure, void *userdata)
{
	struct holding *h = userdata;

	if (outcome != SURE_DONE)
		log_warning(
			"the lease of namespace %s was not given back (%s): it lapses by itself",
			h->holder->ns, failure->message);
	h->revision = 0;
	h->released(h->userdata);
}

static void write_release(struct holding *h)
{
	h->holder->state = LEASE_FREE;
	write_lease(h, h->revision, boot_now_usec() + RIDE_OUT_USEC, on_released);
}

void holding_release(struct holding *h, loop_fn done, void *userdata)
{
	timer_disarm(h->renew);
	timer_disarm(h->deadline);
	h->released = done;
	h->userdata = userdata;
	if (!h->renewing)
		write_release(h);
}

void holding_free(struct holding *h)
{
	if (!h)
		return;
	bus_request_cancel(h->reading);
	sure_free(h->write);
	timer_free(h->renew);
	timer_free(h->deadline);
	lease_free(h->holder);
	free(h);
}
