/* lease.show and lease.break: an operator looks at a lease, or frees it. */
#include "leased/leased.h"

struct asked {
	struct leased *leased;
	struct bus_call *call;
	struct lease_ref *ref;
	struct lease *lease; /* as it is to be written */
	char *text;
	uint64_t revision;
	bool breaking;
	struct sure *write;
};

static void asked_free(struct asked *asked)
{
	sure_free(asked->write);
	codec_destroy(&lease_ref_schema, asked->ref);
	lease_free(asked->lease);
	free(asked->text);
	free(asked);
}

static void answer(struct asked *asked, const struct lease *lease, uint64_t revision)
{
	struct lease_view view = { .lease = *lease, .revision = (int64_t)revision };
	uint64_t quiet = watch_quiet(asked->leased, lease->ns, revision);

	view.quiet_ms = (int64_t)(quiet / 1000);
	if (lease->state == LEASE_HELD && quiet < LEASE_TERM_USEC)
		view.free_in_ms = (int64_t)((LEASE_TERM_USEC - quiet) / 1000);
	bus_call_ok(asked->call, &view);
	asked_free(asked);
}

static void on_broken(enum sure_outcome outcome, uint64_t revision, const struct failure *failure,
		      void *userdata)
{
	struct asked *asked = userdata;

	if (outcome != SURE_DONE) {
		bus_call_fail(asked->call, failure);
		asked_free(asked);
		return;
	}
	log_notice("the lease of namespace %s was broken by %s%s%s", asked->lease->ns,
		   asked->ref->operator_ ? asked->ref->operator_ : "an operator",
		   asked->ref->why ? ": " : "", asked->ref->why ? asked->ref->why : "");
	answer(asked, asked->lease, revision);
}

/* Free, the epoch kept: the next holder raises it, and its opening entry fences whoever held it. */
static void break_it(struct asked *asked, struct lease *lease, uint64_t revision)
{
	struct sure_append append = {
		.bucket = BUCKET_LEASES,
		.expected = revision,
		.deadline_usec = boot_now_usec() + RIDE_OUT_USEC,
	};

	asked->lease = lease;
	lease->state = LEASE_FREE;
	free(lease->operator_);
	lease->operator_ = xstrdup(asked->ref->operator_);
	free(lease->verb);
	lease->verb = xstrdup("break");
	free(lease->since);
	lease->since = time_format(time_now_usec());
	free(lease->nonce);
	lease->nonce = id_new();
	asked->text = codec_print(&lease_schema, lease);
	append.key = lease->ns;
	append.text = asked->text;
	append.nonce = lease->nonce;
	asked->write = sure_append_new(asked->leased->daemon->bus, &append, on_broken, NULL, asked);
}

static void on_read(const struct failure *failure, const struct stream_entry *entry, void *userdata)
{
	struct asked *asked = userdata;
	struct failure broken = FAILURE_INIT;
	void *decoded = NULL;
	struct lease *lease;

	if (!failure && !entry)
		failure_set(&broken, FAILURE_NOT_FOUND, "`ployzctl lease ls` lists them",
			    "namespace %s has never had a lease", asked->ref->ns);
	else if (!failure)
		codec_parse(&lease_schema, entry->data, entry->size, CODEC_LENIENT, &decoded,
			    &broken);
	if (!decoded) {
		bus_call_fail(asked->call, failure ? failure : &broken);
		failure_clear(&broken);
		asked_free(asked);
		return;
	}
	lease = decoded;
	if (asked->breaking && lease->state == LEASE_HELD) {
		break_it(asked, lease, entry->sequence);
		return;
	}
	answer(asked, lease, entry->sequence);
	lease_free(lease);
}

static void ask(struct leased *leased, struct bus_call *call, const struct lease_ref *ref,
		bool breaking)
{
	struct asked *asked;

	if (!name_valid(ref->ns)) {
		bus_call_failf(call, FAILURE_INVALID, "`ployzctl lease ls` lists them",
			       "'%s' is not a namespace's name", ref->ns ? ref->ns : "");
		return;
	}
	asked = xcalloc(1, sizeof(*asked));
	asked->leased = leased;
	asked->call = call;
	asked->ref = codec_copy(&lease_ref_schema, ref);
	asked->breaking = breaking;
	bucket_get(leased->daemon->bus, BUCKET_LEASES, ref->ns, STORE_USEC, on_read, asked, NULL);
}

void lease_show(struct leased *leased, struct bus_call *call, const struct lease_ref *ref)
{
	ask(leased, call, ref, false);
}

void lease_break(struct leased *leased, struct bus_call *call, const struct lease_ref *ref)
{
	ask(leased, call, ref, true);
}
