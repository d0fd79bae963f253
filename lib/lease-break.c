/* Lease break: frees a held lease for an operator. It keeps the epoch, so that the next holder has
 * a higher one and its opening entry fences the former holder. */
#include "lib/bucket.h"
#include "lib/lease.h"
#include "lib/loop.h"
#include "lib/str.h"

struct lease_breaking {
	struct bus *bus;
	char *key, *operator_;
	struct lease *lease; /* the value to write */
	uint64_t give_up_usec;
	struct bus_request *reading;
	struct cas *write;
	struct timer *repeat;
	struct failure last; /* reason of the last failed attempt */
	lease_broken_fn fn;
	void *userdata;
};

static void repeat(struct lease_breaking *breaking, const struct failure *why)
{
	failure_copy(&breaking->last, why);
	timer_arm(breaking->repeat, CAS_REPEAT_USEC);
}

static void on_written(enum cas_outcome outcome, uint64_t revision, const struct failure *failure,
		       void *userdata)
{
	struct lease_breaking *breaking = userdata;

	cas_free(steal(breaking->write));
	switch (outcome) {
	case CAS_DONE:
	case CAS_SUPERSEDED:
		breaking->fn(NULL, breaking->lease, revision, breaking->userdata);
		return;
	case CAS_CONFLICT:
		/* The holder has renewed the lease since it was read. */
		repeat(breaking, failure);
		return;
	case CAS_REFUSED:
	case CAS_UNKNOWN:
		breaking->fn(failure, NULL, 0, breaking->userdata);
		return;
	}
}

static void write_free(struct lease_breaking *breaking, uint64_t revision)
{
	struct lease *lease = breaking->lease;
	_cleanup_free_ char *text = NULL;
	struct cas_options options = {
		.bucket = BUCKET_LEASES,
		.key = breaking->key,
		.expected = revision,
		.deadline_usec = breaking->give_up_usec,
	};

	lease->state = LEASE_FREE;
	free(lease->ns);
	lease->ns = xstrdup(breaking->key);
	free(lease->operator_);
	lease->operator_ = xstrdup(breaking->operator_);
	free(lease->verb);
	lease->verb = xstrdup("break");
	free(lease->since);
	lease->since = time_format(time_now_usec());
	free(lease->nonce);
	lease->nonce = id_new();
	text = codec_print(&lease_schema, lease);
	options.text = text;
	options.nonce = lease->nonce;
	breaking->write = cas_append(breaking->bus, &options, on_written, NULL, breaking);
}

static void on_read(const struct failure *failure, const struct stream_entry *entry, void *userdata)
{
	struct lease_breaking *breaking = userdata;
	_cleanup_(failure_clear) struct failure none = FAILURE_INIT;
	void *lease = NULL;

	breaking->reading = NULL;
	if (failure) {
		repeat(breaking, failure);
		return;
	}
	if (!entry) {
		failure_set(&none, FAILURE_NOT_FOUND, "`ployzctl lease ls` lists the leases",
			    "cannot break the lease of namespace %s: it has never had one",
			    breaking->key);
		breaking->fn(&none, NULL, 0, breaking->userdata);
		return;
	}
	lease_free(steal(breaking->lease));
	if (codec_parse(&lease_schema, entry->data, entry->size, CODEC_LENIENT, &lease, NULL) < 0) {
		/* A value that cannot be decoded gives no epoch; the next holder raises it above
		 * those of the head and of the machines. */
		breaking->lease = codec_new(&lease_schema);
	} else {
		breaking->lease = lease;
		if (breaking->lease->state == LEASE_FREE) {
			breaking->fn(NULL, breaking->lease, entry->sequence, breaking->userdata);
			return;
		}
	}
	write_free(breaking, entry->sequence);
}

static void read_lease(void *userdata)
{
	struct lease_breaking *breaking = userdata;
	_cleanup_(failure_clear) struct failure last = FAILURE_INIT;

	if (boot_now_usec() >= breaking->give_up_usec) {
		failure_move(&last, &breaking->last);
		breaking->fn(&last, NULL, 0, breaking->userdata);
		return;
	}
	bucket_get(breaking->bus, BUCKET_LEASES, breaking->key, CAS_STORE_USEC, on_read, breaking,
		   &breaking->reading);
}

struct lease_breaking *lease_break(struct bus *bus, const char *key, const char *operator_,
				   lease_broken_fn fn, void *userdata)
{
	struct lease_breaking *breaking = xcalloc(1, sizeof(*breaking));

	breaking->bus = bus;
	breaking->key = xstrdup(key);
	breaking->operator_ = xstrdup(operator_);
	breaking->give_up_usec = boot_now_usec() + LEASE_TAKE_USEC;
	breaking->fn = fn;
	breaking->userdata = userdata;
	breaking->repeat = timer_new(bus_loop(bus), read_lease, breaking);
	read_lease(breaking);
	return breaking;
}

void lease_breaking_free(struct lease_breaking *breaking)
{
	if (!breaking)
		return;
	bus_request_cancel(breaking->reading);
	cas_free(breaking->write);
	timer_free(breaking->repeat);
	lease_free(breaking->lease);
	failure_clear(&breaking->last);
	free(breaking->key);
	free(breaking->operator_);
	free(breaking);
}
