/* Records: this machine's facts, member record, subnet and region. Each is read from the stream's
 * leader and written by compare-and-set, only when something has changed. */
#include "meshd/meshd.h"

#define NOTE_PENDING_MAX 16 /* unconfirmed writes that are remembered */

static const struct {
	const char *writing;
} steps[] = {
	[RECORD_FACTS] = { "write this machine's facts" },
	[RECORD_MEMBER] = { "read this machine's member record" },
	[RECORD_SUBNET] = { "claim a subnet" },
	[RECORD_ADMISSION] = { "write this machine's member record" },
	[RECORD_REGION] = { "write the record of this machine's region" },
};

static void step(struct meshd *meshd, enum record_step to);

static void retry(struct meshd *meshd, const struct failure *failure)
{
	bootstrap_retry(meshd, steps[meshd->record_step].writing, failure);
}

static void read_last(struct meshd *meshd, const char *stream, const char *subject,
		      stream_entry_fn fn)
{
	stream_last(meshd->bus, STORE_DOMAIN, stream, subject, STORE_ASK_USEC, fn, meshd,
		    &meshd->request);
}

/* An entry that cannot be decoded is never overwritten. NULL: `entry` is NULL, or *ret_failed. */
static void *decode(const struct codec_schema *schema, const struct stream_entry *entry,
		    struct failure *failure)
{
	_cleanup_(failure_clear) struct failure why = FAILURE_INIT;
	void *object = NULL;

	if (!entry)
		return NULL;
	if (codec_parse(schema, entry->data, entry->size, CODEC_LENIENT, &object, &why) < 0)
		failure_set(failure, FAILURE_BUG, "check that all machines run the same version",
			    "cannot decode entry %llu on %s: %s",
			    (unsigned long long)entry->sequence, entry->subject, why.message);
	return object;
}

static void append(struct meshd *meshd, const char *stream, const char *subject,
		   const struct codec_schema *schema, const void *object, uint64_t expected,
		   cas_fn fn)
{
	_cleanup_free_ char *text = codec_print(schema, object);
	const struct cas_options options = {
		.stream = stream,
		.key = subject,
		.text = text,
		.nonce = meshd->nonce,
		.expected = expected,
		.deadline_usec = boot_now_usec() + RECORD_USEC,
	};

	meshd->cas = cas_append(meshd->bus, &options, fn, NULL, meshd);
}

static void new_nonce(struct meshd *meshd)
{
	free(meshd->nonce);
	meshd->nonce = id_new();
}

static void written(struct meshd *meshd)
{
	cas_free(steal(meshd->cas));
}

static struct plan_machine describe(const struct meshd *meshd, const char *subnet, const char *now)
{
	return (struct plan_machine){
		.machine = meshd->machine,
		.name = meshd->name,
		.region = meshd->config->region,
		.subnet = subnet,
		.arch = meshd->arch,
		.version = PLOYZ_VERSION,
		.cpus = meshd->cpus,
		.memory = meshd->memory,
		.generation = meshd->marker->generation,
		.now = now,
		.nonce = meshd->nonce,
	};
}

/* --- facts.<machine>: this meshd is the only writer, so an unknown nonce shows another machine
 * with this id. */

static bool is_own(const struct meshd *meshd, const struct machine_facts *facts)
{
	const struct facts_note *note = meshd->note;

	/* Without a note the state directory is new, and the last entry is taken for this machine's
	 * own. */
	return !note || (!note->written && !note->pending) ||
	       (facts->nonce &&
		(streq(note->written, facts->nonce) || strv_contains(note->pending, facts->nonce)));
}

static void report_clone(struct meshd *meshd, const struct machine_facts *facts, uint64_t sequence)
{
	_cleanup_free_ char *hint = NULL;

	if (failure_is_set(&meshd->clone))
		return;
	hint = xasprintf("give the other machine an id of its own (remove %s/machine and its state "
			 "there); if this machine was restored from a backup, remove "
			 "%s/facts.json here; then restart meshd",
			 meshd->config->daemon.credentials, meshd->config->daemon.state);
	failure_set(&meshd->clone, FAILURE_REFUSED, hint,
		    "cannot write this machine's records: another machine with the id %s has "
		    "written entry %llu of its facts%s%s",
		    meshd->machine, (unsigned long long)sequence, facts->since ? " at " : "",
		    facts->since ? facts->since : "");
	log_failure(&meshd->clone);
	records_stop(meshd);
	bootstrap_poll_within(meshd, WATCH_ERROR_USEC);
}

static int note_write(struct meshd *meshd)
{
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;
	int r = facts_note_write(meshd->config->daemon.state, meshd->note);

	if (r < 0) {
		failure_set(&failure, FAILURE_FAILED, NULL, "cannot write %s/facts.json: %s",
			    meshd->config->daemon.state, strerror(-r));
		retry(meshd, &failure);
	}
	return r;
}

/* The last entry is this machine's: it needs no list of candidates any more. */
static int note_confirm(struct meshd *meshd, const char *nonce)
{
	struct facts_note *note = meshd->note;

	if (streq(note->written, nonce) && !note->pending)
		return 0;
	free(note->written);
	note->written = xstrdup(nonce);
	strv_free(steal(note->pending));
	return note_write(meshd);
}

/* Noted before the write, which may be stored even if this process ends. */
static int note_pending(struct meshd *meshd)
{
	struct facts_note *note = meshd->note;

	if (strv_count(note->pending) >= NOTE_PENDING_MAX) {
		free(note->pending[0]);
		memmove(note->pending, note->pending + 1,
			strv_count(note->pending + 1) * sizeof(*note->pending) +
				sizeof(*note->pending));
	}
	strv_push(&note->pending, xstrdup(meshd->nonce));
	return note_write(meshd);
}

static void on_facts_written(enum cas_outcome outcome, uint64_t sequence,
			     const struct failure *failure, void *userdata)
{
	struct meshd *meshd = userdata;

	written(meshd);
	switch (outcome) {
	case CAS_DONE:
		log_info("this machine's facts are entry %llu: %s", (unsigned long long)sequence,
			 meshd->wanted_why);
		if (note_confirm(meshd, meshd->nonce) == 0)
			step(meshd, RECORD_MEMBER);
		return;
	case CAS_SUPERSEDED:
	case CAS_CONFLICT:
		/* Reading the entry shows whether another machine wrote it. */
		step(meshd, RECORD_FACTS);
		return;
	case CAS_REFUSED:
	case CAS_UNKNOWN:
		retry(meshd, failure);
		return;
	}
}

static void write_facts(struct meshd *meshd, const struct machine_facts *actual, uint64_t sequence)
{
	_cleanup_free_ char *subject = subject_make(SUBJECT_MACHINE_FACTS, meshd->machine, NULL);
	_cleanup_free_ char *now = time_format(time_now_usec());
	struct plan_machine machine;

	new_nonce(meshd);
	machine = describe(meshd, NULL, now);
	machine_facts_free(steal(meshd->facts_wanted));
	free(steal(meshd->wanted_why));
	meshd->facts_wanted = plan_facts(actual, &machine, &meshd->wanted_why);
	if (!meshd->facts_wanted) {
		/* Without an entry there is always something to write. */
		if (note_confirm(meshd, actual ? actual->nonce : NULL) == 0)
			step(meshd, RECORD_MEMBER);
	} else if (note_pending(meshd) == 0) {
		append(meshd, STREAM_FACTS, subject, &machine_facts_schema, meshd->facts_wanted,
		       sequence, on_facts_written);
	}
}

static void on_facts(const struct failure *failure, const struct stream_entry *entry,
		     void *userdata)
{
	struct meshd *meshd = userdata;
	_cleanup_(failure_clear) struct failure why = FAILURE_INIT;
	_cleanup_(machine_facts_freep) struct machine_facts *facts = NULL;

	meshd->request = NULL;
	if (!failure)
		facts = decode(&machine_facts_schema, entry, &why);
	if (failure || failure_is_set(&why)) {
		retry(meshd, failure ? failure : &why);
		return;
	}
	if (facts && !is_own(meshd, facts)) {
		report_clone(meshd, facts, entry->sequence);
		return;
	}
	write_facts(meshd, facts, entry ? entry->sequence : 0);
}

static void read_facts(struct meshd *meshd, stream_entry_fn fn, struct bus_request **request)
{
	_cleanup_free_ char *subject = subject_make(SUBJECT_MACHINE_FACTS, meshd->machine, NULL);

	stream_last(meshd->bus, STORE_DOMAIN, STREAM_FACTS, subject, STORE_ASK_USEC, fn, meshd,
		    request);
}

static void on_check(_unused_ const struct failure *failure, const struct stream_entry *entry,
		     void *userdata)
{
	struct meshd *meshd = userdata;
	_cleanup_(failure_clear) struct failure why = FAILURE_INIT;
	_cleanup_(machine_facts_freep) struct machine_facts *facts = NULL;

	meshd->facts_check = NULL;
	facts = decode(&machine_facts_schema, entry, &why);
	if (facts && !is_own(meshd, facts))
		report_clone(meshd, facts, entry->sequence);
}

void records_check(struct meshd *meshd)
{
	if (!meshd->facts_check && !failure_is_set(&meshd->clone))
		read_facts(meshd, on_check, &meshd->facts_check);
}

/* --- the member record and the subnet */

static void on_member(const struct failure *failure, const struct stream_entry *entry,
		      void *userdata)
{
	struct meshd *meshd = userdata;
	_cleanup_(failure_clear) struct failure why = FAILURE_INIT;
	struct member *member = NULL;

	meshd->request = NULL;
	if (!failure)
		member = decode(&member_schema, entry, &why);
	if (failure || failure_is_set(&why)) {
		retry(meshd, failure ? failure : &why);
		return;
	}
	member_free(meshd->member);
	meshd->member = member;
	meshd->member_sequence = entry ? entry->sequence : 0;
	meshd->subnet = member ? plan_subnet_parse(&meshd->pool, member->subnet) : meshd->subnet;
	step(meshd, meshd->subnet < 0 || !member ? RECORD_SUBNET : RECORD_ADMISSION);
}

static void read_member(struct meshd *meshd)
{
	_cleanup_free_ char *subject = subject_make(SUBJECT_MEMBER, meshd->machine, NULL);

	read_last(meshd, STREAM_INTENT, subject, on_member);
}

static int third_tried(const struct meshd *meshd)
{
	return plan_subnet(&meshd->pool, meshd->machine, meshd->subnet_attempt);
}

static char *claim_subject(const struct meshd *meshd)
{
	_cleanup_free_ char *name = plan_subnet_claim(&meshd->pool, third_tried(meshd));

	return subject_make(SUBJECT_SUBNET, name, NULL);
}

static void claimed(struct meshd *meshd)
{
	meshd->subnet = third_tried(meshd);
	step(meshd, RECORD_ADMISSION);
}

static void try_next_subnet(struct meshd *meshd)
{
	meshd->subnet_attempt++;
	step(meshd, RECORD_SUBNET);
}

static void on_claimed(enum cas_outcome outcome, _unused_ uint64_t sequence,
		       const struct failure *failure, void *userdata)
{
	struct meshd *meshd = userdata;
	_cleanup_free_ char *text = plan_subnet_text(&meshd->pool, third_tried(meshd));

	written(meshd);
	switch (outcome) {
	case CAS_DONE:
		log_info("claimed subnet %s", text);
		claimed(meshd);
		return;
	case CAS_SUPERSEDED:
	case CAS_CONFLICT:
		step(meshd, RECORD_SUBNET);
		return;
	case CAS_REFUSED:
	case CAS_UNKNOWN:
		retry(meshd, failure);
		return;
	}
}

static void claim(struct meshd *meshd, uint64_t expected)
{
	_cleanup_free_ char *subject = claim_subject(meshd), *now = time_format(time_now_usec());
	struct subnet_claim object = { .machine = (char *)meshd->machine, .since = now };

	new_nonce(meshd);
	object.nonce = meshd->nonce;
	append(meshd, STREAM_INTENT, subject, &subnet_claim_schema, &object, expected, on_claimed);
}

/* The claimant's member record: a machine that was removed has given its subnet up. */
static void on_claimant(const struct failure *failure, const struct stream_entry *entry,
			void *userdata)
{
	struct meshd *meshd = userdata;
	_cleanup_(failure_clear) struct failure why = FAILURE_INIT;
	_cleanup_(member_freep) struct member *member = NULL;

	meshd->request = NULL;
	if (failure) {
		retry(meshd, failure);
		return;
	}
	member = decode(&member_schema, entry, &why);
	if (member && member->life_cycle == MACHINE_REMOVED)
		claim(meshd, meshd->claim_sequence);
	else
		try_next_subnet(meshd);
}

static void on_claim(const struct failure *failure, const struct stream_entry *entry,
		     void *userdata)
{
	struct meshd *meshd = userdata;
	_cleanup_(failure_clear) struct failure why = FAILURE_INIT;
	_cleanup_(subnet_claim_freep) struct subnet_claim *holder = NULL;
	_cleanup_free_ char *subject = NULL;

	meshd->request = NULL;
	if (failure) {
		retry(meshd, failure);
		return;
	}
	holder = decode(&subnet_claim_schema, entry, &why);
	if (!entry) {
		claim(meshd, 0);
	} else if (!holder) {
		log_warning("%s; trying the next subnet", why.message);
		try_next_subnet(meshd);
	} else if (streq(holder->machine, meshd->machine)) {
		claimed(meshd);
	} else {
		log_debug("subnet %d is claimed by %s", third_tried(meshd), holder->machine);
		meshd->claim_sequence = entry->sequence;
		subject = subject_make(SUBJECT_MEMBER, holder->machine, NULL);
		read_last(meshd, STREAM_INTENT, subject, on_claimant);
	}
}

static void read_claim(struct meshd *meshd)
{
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;
	_cleanup_free_ char *subject = NULL;

	if (third_tried(meshd) < 0) {
		failure_set(&failure, FAILURE_REFUSED,
			    "remove machines that no longer exist, or change --subnet",
			    "no subnet of %s is left, other machines have claimed them",
			    meshd->config->subnet);
		meshd->subnet_attempt = 0;
		retry(meshd, &failure);
		return;
	}
	subject = claim_subject(meshd);
	read_last(meshd, STREAM_INTENT, subject, on_claim);
}

static void on_admitted(enum cas_outcome outcome, uint64_t sequence, const struct failure *failure,
			void *userdata)
{
	struct meshd *meshd = userdata;

	written(meshd);
	switch (outcome) {
	case CAS_DONE:
		log_info("this machine's member record is entry %llu: %s",
			 (unsigned long long)sequence, meshd->wanted_why);
		member_free(meshd->member);
		meshd->member = steal(meshd->member_wanted);
		meshd->member_sequence = sequence;
		step(meshd, RECORD_REGION);
		return;
	case CAS_SUPERSEDED:
	case CAS_CONFLICT:
		step(meshd, RECORD_MEMBER);
		return;
	case CAS_REFUSED:
	case CAS_UNKNOWN:
		retry(meshd, failure);
		return;
	}
}

static void write_member(struct meshd *meshd)
{
	_cleanup_free_ char *subject = subject_make(SUBJECT_MEMBER, meshd->machine, NULL);
	_cleanup_free_ char *now = time_format(time_now_usec());
	_cleanup_free_ char *subnet = plan_subnet_text(&meshd->pool, meshd->subnet);
	struct plan_machine machine;

	new_nonce(meshd);
	machine = describe(meshd, subnet, now);
	member_free(steal(meshd->member_wanted));
	free(steal(meshd->wanted_why));
	meshd->member_wanted = plan_member(meshd->member, &machine, &meshd->wanted_why);
	if (meshd->member_wanted)
		append(meshd, STREAM_INTENT, subject, &member_schema, meshd->member_wanted,
		       meshd->member_sequence, on_admitted);
	else
		step(meshd, RECORD_REGION);
}

/* --- the region: an operator sets its role; a region without a record gets one. */

static void on_region_written(enum cas_outcome outcome, _unused_ uint64_t sequence,
			      const struct failure *failure, void *userdata)
{
	struct meshd *meshd = userdata;

	written(meshd);
	switch (outcome) {
	case CAS_DONE:
		log_info("region %s: role %s", meshd->member->region,
			 region_role_names[REGION_COMPUTE]);
		step(meshd, RECORD_DONE);
		return;
	case CAS_SUPERSEDED:
	case CAS_CONFLICT:
		step(meshd, RECORD_DONE);
		return;
	case CAS_REFUSED:
	case CAS_UNKNOWN:
		retry(meshd, failure);
		return;
	}
}

static void on_region(const struct failure *failure, const struct stream_entry *entry,
		      void *userdata)
{
	struct meshd *meshd = userdata;
	const char *name = meshd->member->region;
	_cleanup_free_ char *subject = subject_make(SUBJECT_REGION, name, NULL);
	_cleanup_free_ char *now = time_format(time_now_usec());
	struct region region = {
		.name = (char *)name,
		.role = REGION_COMPUTE,
		.since = now,
		.who = meshd->name,
	};

	meshd->request = NULL;
	if (failure) {
		retry(meshd, failure);
		return;
	}
	if (entry) {
		step(meshd, RECORD_DONE);
		return;
	}
	new_nonce(meshd);
	region.nonce = meshd->nonce;
	append(meshd, STREAM_INTENT, subject, &region_schema, &region, 0, on_region_written);
}

static void read_region(struct meshd *meshd)
{
	_cleanup_free_ char *subject = NULL;

	if (!meshd->member->region) {
		step(meshd, RECORD_DONE);
		return;
	}
	subject = subject_make(SUBJECT_REGION, meshd->member->region, NULL);
	read_last(meshd, STREAM_INTENT, subject, on_region);
}

/* --- the steps */

static void step(struct meshd *meshd, enum record_step to)
{
	meshd->record_step = to;
	switch (to) {
	case RECORD_FACTS:
		read_facts(meshd, on_facts, &meshd->request);
		break;
	case RECORD_MEMBER:
		read_member(meshd);
		break;
	case RECORD_SUBNET:
		read_claim(meshd);
		break;
	case RECORD_ADMISSION:
		write_member(meshd);
		break;
	case RECORD_REGION:
		read_region(meshd);
		break;
	case RECORD_DONE:
		bootstrap_records_done(meshd);
		break;
	}
}

void records_run(struct meshd *meshd)
{
	if (meshd->request || meshd->cas || failure_is_set(&meshd->clone))
		return;
	if (!meshd->note)
		meshd->note = codec_new(&facts_note_schema);
	step(meshd, RECORD_FACTS);
}

void records_stop(struct meshd *meshd)
{
	bus_request_cancelp(&meshd->request);
	meshd->request = NULL;
	cas_free(steal(meshd->cas));
}

void records_free(struct meshd *meshd)
{
	records_stop(meshd);
	bus_request_cancelp(&meshd->facts_check);
	member_free(steal(meshd->member));
	member_free(steal(meshd->member_wanted));
	machine_facts_free(steal(meshd->facts_wanted));
	facts_note_free(steal(meshd->note));
	failure_clear(&meshd->clone);
	free(steal(meshd->wanted_why));
	free(steal(meshd->nonce));
}
