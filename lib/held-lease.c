/* Held lease: taken, renewed every LEASE_RENEW_USEC and released, each by a compare-and-set on the
 * revision last read. Callbacks of writes only record the result; `advance` chooses the next step.
 */
#include "lib/bucket.h"
#include "lib/lease.h"
#include "lib/loop.h"
#include "lib/str.h"

enum write { WRITE_NONE, WRITE_TAKE, WRITE_RENEW, WRITE_RAISE, WRITE_RELEASE };

struct held_lease {
	struct bus *bus;
	struct lease_watch *watch;
	const struct held_lease_ops *ops;
	void *userdata;
	enum held_state state;
	struct failure failure;
	struct lease *lease;	/* the value that this process writes; epoch and nonce change */
	struct lease *previous; /* the value that was taken over, or NULL */
	uint64_t revision;	/* of the last acknowledged write */
	uint64_t sent_usec;	/* boot-time clock: when that write was first sent */
	uint64_t sending_usec;	/* the same of the pending write */
	uint64_t give_up_usec;	/* deadline for taking */
	int64_t raise_above;	/* -1: no higher epoch is wanted */
	bool releasing;		/* release when the pending write has ended */
	enum write writing;
	struct cas *write;
	struct bus_request *reading;
	struct timer *next;	/* the next step: read, renew */
	struct timer *deadline; /* the holder stops acting */
};

static void on_written(enum cas_outcome outcome, uint64_t revision, const struct failure *failure,
		       void *userdata);

/* The callback may free the lease: callers return after this. */
static void enter(struct held_lease *held, enum held_state state)
{
	held->state = state;
	if (state != HELD_HELD && state != HELD_RAISING) {
		timer_disarm(held->next);
		timer_disarm(held->deadline);
	}
	held->ops->changed(held->userdata);
}

static void report_waiting(const char *why, void *userdata)
{
	struct held_lease *held = userdata;

	if (held->ops->waiting)
		held->ops->waiting(why, held->userdata);
}

static void write_lease(struct held_lease *held, enum write what, uint64_t deadline_usec)
{
	_cleanup_free_ char *text = NULL;
	struct cas_options options = {
		.bucket = BUCKET_LEASES,
		.key = held->lease->ns,
		.expected = held->revision,
		.deadline_usec = deadline_usec,
		.eager = what == WRITE_TAKE,
	};

	free(held->lease->nonce);
	held->lease->nonce = id_new();
	held->lease->state = what == WRITE_RELEASE ? LEASE_FREE : LEASE_HELD;
	text = codec_print(&lease_schema, held->lease);
	options.text = text;
	options.nonce = held->lease->nonce;
	held->writing = what;
	held->sending_usec = boot_now_usec();
	cas_free(steal(held->write));
	held->write = cas_append(held->bus, &options, on_written, report_waiting, held);
}

static void lose(struct held_lease *held, const char *hint, const char *format, ...) _printf_(3, 4);
static void lose(struct held_lease *held, const char *hint, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	failure_vset(&held->failure, FAILURE_LEASE_LOST, hint, format, args);
	va_end(args);
	/* A pending renewal would set HELD_HELD again. */
	cas_free(steal(held->write));
	held->writing = WRITE_NONE;
	enter(held, HELD_LOST);
}

static void on_deadline(void *userdata)
{
	struct held_lease *held = userdata;

	lose(held, "`ployzctl status` shows whether the store is reachable; then deploy again",
	     "lease of namespace %s lost: it could not be renewed in time%s%s", held->lease->ns,
	     failure_is_set(&held->failure) ? ": " : "",
	     failure_is_set(&held->failure) ? held->failure.message : "");
}

static void refuse(struct held_lease *held, const struct failure *failure)
{
	failure_copy(&held->failure, failure);
	enter(held, HELD_REFUSED);
}

static void acknowledged(struct held_lease *held, uint64_t revision)
{
	uint64_t now = boot_now_usec(), until;

	held->revision = revision;
	held->sent_usec = held->sending_usec;
	failure_clear(&held->failure);
	if (held->releasing)
		return;
	until = held->sent_usec + LEASE_TERM_USEC - LEASE_MARGIN_USEC;
	timer_arm(held->deadline, until > now ? until - now : 0);
	timer_arm(held->next, LEASE_RENEW_USEC);
}

static void write_release(struct held_lease *held)
{
	write_lease(held, WRITE_RELEASE, boot_now_usec() + LEASE_TAKE_USEC);
}

/* A repeated write has the epoch that was chosen first. */
static void write_raise(struct held_lease *held)
{
	held->lease->epoch = MAX2(held->lease->epoch, held->raise_above + 1);
	held->raise_above = -1;
	write_lease(held, WRITE_RAISE, held_lease_deadline(held));
}

static void on_taken(struct held_lease *held, enum cas_outcome outcome, uint64_t revision,
		     const struct failure *failure)
{
	if (outcome == CAS_DONE) {
		acknowledged(held, revision);
		if (held->releasing)
			write_release(held);
		else
			enter(held, HELD_HELD);
	} else if (held->releasing) {
		/* The write may be stored later; it is not renewed and lapses. */
		if (failure)
			failure_copy(&held->failure, failure);
		enter(held, HELD_RELEASED);
	} else if (outcome == CAS_CONFLICT || outcome == CAS_SUPERSEDED) {
		/* Another writer was first: read the new value. */
		timer_arm(held->next, CAS_REPEAT_USEC);
	} else {
		refuse(held, failure);
	}
}

/* A renewal, or one that raises the epoch. */
static void on_renewed(struct held_lease *held, enum cas_outcome outcome, uint64_t revision,
		       const struct failure *failure)
{
	if (outcome == CAS_DONE)
		acknowledged(held, revision);
	if (held->releasing) {
		write_release(held);
	} else if (outcome == CAS_CONFLICT || outcome == CAS_SUPERSEDED) {
		lose(held, "`ployzctl lease show` names the holder; then deploy again",
		     "lease of namespace %s lost: another writer changed it", held->lease->ns);
	} else if (outcome != CAS_DONE) {
		/* The lease stays held until the deadline. */
		failure_copy(&held->failure, failure);
		if (outcome == CAS_REFUSED)
			report_waiting(failure->message, held);
		timer_arm(held->next, CAS_REPEAT_USEC);
	} else if (held->raise_above >= 0) {
		write_raise(held);
	} else {
		if (held->ops->renewed)
			held->ops->renewed(held->userdata);
		if (held->state == HELD_RAISING)
			enter(held, HELD_HELD);
	}
}

static void on_written(enum cas_outcome outcome, uint64_t revision, const struct failure *failure,
		       void *userdata)
{
	struct held_lease *held = userdata;
	enum write what = held->writing;

	cas_free(steal(held->write));
	held->writing = WRITE_NONE;
	switch (what) {
	case WRITE_NONE:
		return;
	case WRITE_TAKE:
		on_taken(held, outcome, revision, failure);
		return;
	case WRITE_RENEW:
	case WRITE_RAISE:
		on_renewed(held, outcome, revision, failure);
		return;
	case WRITE_RELEASE:
		if (failure)
			failure_copy(&held->failure, failure);
		enter(held, HELD_RELEASED);
		return;
	}
}

static void decide(struct held_lease *held, struct lease *lease, uint64_t revision)
{
	uint64_t quiet = lease_watch_quiet(held->watch, held->lease->ns, revision);
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;
	bool executes = lease && lease->deploy && held->ops->executes &&
			held->ops->executes(lease->deploy, held->userdata);
	enum lease_decision decision;

	/* A lease of this incarnation whose deploy has ended is treated like one of an earlier
	 * incarnation. */
	decision = lease_decide(lease, held->lease->machine,
				executes || !held->ops->executes ? held->lease->incarnation : "",
				quiet);
	if (decision == LEASE_REFUSE) {
		lease_refusal(lease, quiet, time_now_usec(), &failure);
		lease_free(lease);
		refuse(held, &failure);
		return;
	}
	held->lease->epoch = (lease ? lease->epoch : 0) + 1;
	held->revision = revision;
	lease_free(steal(held->previous));
	if (decision == LEASE_TAKE_FREE)
		lease_free(lease);
	else
		held->previous = lease;
	write_lease(held, WRITE_TAKE, held->give_up_usec);
}

static void on_read(const struct failure *failure, const struct stream_entry *entry, void *userdata)
{
	struct held_lease *held = userdata;
	_cleanup_(failure_clear) struct failure broken = FAILURE_INIT;
	void *lease = NULL;

	held->reading = NULL;
	if (failure) {
		failure_copy(&held->failure, failure);
		report_waiting(failure->message, held);
		timer_arm(held->next, CAS_REPEAT_USEC);
		return;
	}
	if (entry && codec_parse(&lease_schema, entry->data, entry->size, CODEC_LENIENT, &lease,
				 &broken) < 0) {
		_cleanup_free_ char *hint =
			xasprintf("`ployzctl lease break %s` replaces it", held->lease->ns);

		failure_set(&broken, FAILURE_BUG, hint,
			    "cannot take the lease of namespace %s: its value cannot be decoded",
			    held->lease->ns);
		refuse(held, &broken);
		return;
	}
	decide(held, lease, entry ? entry->sequence : 0);
}

static void read_lease(struct held_lease *held)
{
	if (boot_now_usec() < held->give_up_usec) {
		bucket_get(held->bus, BUCKET_LEASES, held->lease->ns, CAS_STORE_USEC, on_read, held,
			   &held->reading);
		return;
	}
	if (!failure_is_set(&held->failure))
		failure_set(
			&held->failure, FAILURE_NO_QUORUM, "repeat the command",
			"cannot take the lease of namespace %s: other writers were first each time",
			held->lease->ns);
	enter(held, HELD_REFUSED);
}

static void on_next(void *userdata)
{
	struct held_lease *held = userdata;

	switch (held->state) {
	case HELD_TAKING:
		read_lease(held);
		return;
	case HELD_HELD:
		write_lease(held, WRITE_RENEW, held_lease_deadline(held));
		return;
	case HELD_RAISING:
		write_raise(held);
		return;
	case HELD_RELEASING:
		enter(held, HELD_RELEASED);
		return;
	case HELD_REFUSED:
	case HELD_LOST:
	case HELD_RELEASED:
		return;
	}
}

struct held_lease *held_lease_new(struct bus *bus, struct lease_watch *watch,
				  const struct lease *holder, const struct held_lease_ops *ops,
				  void *userdata)
{
	struct held_lease *held = xcalloc(1, sizeof(*held));

	held->bus = bus;
	held->watch = watch;
	held->ops = ops;
	held->userdata = userdata;
	held->lease = codec_copy(&lease_schema, holder);
	held->state = HELD_TAKING;
	held->raise_above = -1;
	held->give_up_usec = boot_now_usec() + LEASE_TAKE_USEC;
	held->next = timer_new(bus_loop(bus), on_next, held);
	held->deadline = timer_new(bus_loop(bus), on_deadline, held);
	timer_arm(held->next, 0);
	return held;
}

enum held_state held_lease_state(const struct held_lease *held)
{
	return held->state;
}

const struct failure *held_lease_failure(const struct held_lease *held)
{
	return &held->failure;
}

const struct lease *held_lease_get(const struct held_lease *held)
{
	return held->lease;
}

const struct lease *held_lease_previous(const struct held_lease *held)
{
	return held->previous;
}

uint64_t held_lease_deadline(const struct held_lease *held)
{
	if (held->state != HELD_HELD && held->state != HELD_RAISING)
		return 0;
	return held->sent_usec + LEASE_TERM_USEC - LEASE_MARGIN_USEC;
}

void held_lease_raise(struct held_lease *held, int64_t above)
{
	if (held->state != HELD_HELD && held->state != HELD_RAISING)
		return;
	if (above < held->lease->epoch)
		return;
	held->state = HELD_RAISING;
	held->raise_above = MAX2(held->raise_above, above);
	if (held->writing == WRITE_NONE)
		write_raise(held);
}

void held_lease_observe(struct held_lease *held, const struct lease *lease, uint64_t revision)
{
	bool is_held = held->state == HELD_HELD || held->state == HELD_RAISING;

	if (!is_held || revision <= held->revision || streq(lease->nonce, held->lease->nonce))
		return;
	lose(held, "`ployzctl lease show` names the holder; then deploy again",
	     lease->state == LEASE_FREE ? "lease of namespace %s lost: broken by %s"
					: "lease of namespace %s lost: taken over by %s",
	     held->lease->ns,
	     lease->operator_ ? lease->operator_
	     : lease->machine ? lease->machine
			      : "an unnamed holder");
}

void held_lease_release(struct held_lease *held)
{
	if (held->state != HELD_TAKING && held->state != HELD_HELD && held->state != HELD_RAISING)
		return;
	timer_disarm(held->next);
	timer_disarm(held->deadline);
	held->releasing = true;
	if (held->writing == WRITE_NONE && held->state != HELD_TAKING) {
		write_release(held);
	} else if (held->writing == WRITE_NONE) {
		/* Nothing was written: this process does not hold it. */
		bus_request_cancel(steal(held->reading));
		timer_arm(held->next, 0);
	}
	held->state = HELD_RELEASING;
}

void held_lease_free(struct held_lease *held)
{
	if (!held)
		return;
	bus_request_cancel(held->reading);
	cas_free(held->write);
	timer_free(held->next);
	timer_free(held->deadline);
	lease_free(held->lease);
	lease_free(held->previous);
	failure_clear(&held->failure);
	free(held);
}
