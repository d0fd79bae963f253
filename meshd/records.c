/* This machine's record, its subnet and its region: read from the store, written by
 * compare-and-set. */
#include "meshd/meshd.h"

static void read_record(struct meshd *meshd);
static void claim(struct meshd *meshd);

/* An entry that cannot be read must not be written over. */
static int unreadable(const struct stream_entry *entry, const struct failure *why,
		      struct failure *ret)
{
	return failure_set(ret, FAILURE_BUG, "are all of this cluster's programs of one version?",
			   "entry %llu on %s cannot be read: %s",
			   (unsigned long long)entry->sequence, entry->subject, why->message);
}

static void on_record(const struct failure *failure, const struct stream_entry *entry,
		      void *userdata)
{
	struct meshd *meshd = userdata;
	struct failure why = FAILURE_INIT, told = FAILURE_INIT;
	void *record = NULL;

	meshd->request = NULL;
	if (failure) {
		founding_again(meshd, failure);
		return;
	}
	if (entry && codec_parse(&machine_schema, entry->data, entry->size, CODEC_LENIENT, &record,
				 &why) < 0) {
		unreadable(entry, &why, &told);
		founding_again(meshd, &told);
		failure_clear(&why);
		failure_clear(&told);
		return;
	}
	machine_free(meshd->record);
	meshd->record = record;
	meshd->record_sequence = entry ? entry->sequence : 0;
	if (meshd->subnet < 0 && meshd->record)
		meshd->subnet = plan_subnet_parse(&meshd->pool, meshd->record->subnet);
	founding_go(meshd, meshd->subnet < 0 ? FOUNDING_SUBNET : FOUNDING_WRITE);
}

static void read_record(struct meshd *meshd)
{
	_cleanup_free_ char *subject = subject_make(SUBJECT_MACHINE, meshd->machine, NULL);

	stream_last(meshd->bus, STORE_DOMAIN, STREAM_INTENT, subject, STORE_ASK_USEC, on_record,
		    meshd, &meshd->request);
}

static char *claim_subject(const struct meshd *meshd, int third)
{
	_cleanup_free_ char *name = plan_subnet_claim(&meshd->pool, third);

	return subject_make(SUBJECT_SUBNET, name, NULL);
}

static void claimed(struct meshd *meshd, int third)
{
	meshd->subnet = third;
	founding_go(meshd, FOUNDING_WRITE);
}

/* The claim is somebody's: ours from a start whose answer was lost, or another machine's. */
static void on_claim_read(const struct failure *failure, const struct stream_entry *entry,
			  void *userdata)
{
	struct meshd *meshd = userdata;
	int third = plan_subnet(&meshd->pool, meshd->machine, meshd->subnet_attempt);
	struct failure why = FAILURE_INIT, told = FAILURE_INIT;
	const struct subnet_claim *holder;
	void *object = NULL;

	meshd->request = NULL;
	if (failure) {
		founding_again(meshd, failure);
		return;
	}
	if (!entry) {
		claim(meshd);
		return;
	}
	if (codec_parse(&subnet_claim_schema, entry->data, entry->size, CODEC_LENIENT, &object,
			&why) < 0) {
		unreadable(entry, &why, &told);
		log_warning("%s; passing it by", told.message);
		failure_clear(&why);
		failure_clear(&told);
	}
	holder = object;
	if (holder && streq(holder->machine, meshd->machine)) {
		claimed(meshd, third);
	} else {
		log_debug("subnet %d is taken by %s", third, holder ? holder->machine : "somebody");
		meshd->subnet_attempt++;
		founding_go(meshd, FOUNDING_SUBNET);
	}
	codec_destroy(&subnet_claim_schema, object);
}

static void on_claimed(enum stream_outcome outcome, _unused_ uint64_t sequence,
		       const struct failure *failure, void *userdata)
{
	struct meshd *meshd = userdata;
	int third = plan_subnet(&meshd->pool, meshd->machine, meshd->subnet_attempt);
	_cleanup_free_ char *subject = claim_subject(meshd, third);

	meshd->request = NULL;
	switch (outcome) {
	case STREAM_DONE: {
		_cleanup_free_ char *text = plan_subnet_text(&meshd->pool, third);

		log_info("claimed subnet %s", text);
		claimed(meshd, third);
		return;
	}
	case STREAM_REFUSED:
		founding_again(meshd, failure);
		return;
	case STREAM_CONFLICT:
	case STREAM_UNKNOWN:
		stream_last(meshd->bus, STORE_DOMAIN, STREAM_INTENT, subject, STORE_ASK_USEC,
			    on_claim_read, meshd, &meshd->request);
		return;
	}
}

static void append(struct meshd *meshd, const char *subject, const struct codec_schema *schema,
		   const void *object, uint64_t expected, stream_append_fn fn)
{
	_cleanup_free_ char *text = codec_print(schema, object);
	const struct stream_append entry = {
		.subject = subject,
		.data = text,
		.size = strlen(text),
		.expected = expected,
		.timeout_usec = STORE_ASK_USEC,
	};

	stream_append(meshd->bus, &entry, fn, meshd, &meshd->request);
}

static void claim(struct meshd *meshd)
{
	int third = plan_subnet(&meshd->pool, meshd->machine, meshd->subnet_attempt);
	_cleanup_free_ char *subject = NULL, *now = time_format(time_now_usec());
	struct subnet_claim object = { .machine = (char *)meshd->machine, .since = now };
	struct failure failure = FAILURE_INIT;

	if (third < 0) {
		failure_set(&failure, FAILURE_REFUSED,
			    "remove machines that are no more, or give another --subnet",
			    "no subnet of %s is left: other machines have claimed them",
			    meshd->config->subnet);
		meshd->subnet_attempt = 0;
		founding_again(meshd, &failure);
		failure_clear(&failure);
		return;
	}
	subject = claim_subject(meshd, third);
	append(meshd, subject, &subnet_claim_schema, &object, 0, on_claimed);
}

static void on_written(enum stream_outcome outcome, uint64_t sequence,
		       const struct failure *failure, void *userdata)
{
	struct meshd *meshd = userdata;

	meshd->request = NULL;
	switch (outcome) {
	case STREAM_DONE:
		log_info("this machine's record is entry %llu: %s", (unsigned long long)sequence,
			 meshd->wanted_why);
		machine_free(meshd->record);
		meshd->record = steal(meshd->wanted);
		meshd->record_sequence = sequence;
		founding_go(meshd, FOUNDING_REGION);
		return;
	case STREAM_CONFLICT:
	case STREAM_UNKNOWN:
		/* Somebody else's entry, or ours whose answer was lost: read it and decide anew. */
		meshd->step = FOUNDING_RECORD;
		founding_again(meshd, failure);
		return;
	case STREAM_REFUSED:
		founding_again(meshd, failure);
		return;
	}
}

static void write_record(struct meshd *meshd)
{
	_cleanup_free_ char *subject = subject_make(SUBJECT_MACHINE, meshd->machine, NULL);
	_cleanup_free_ char *now = time_format(time_now_usec());
	_cleanup_free_ char *subnet = plan_subnet_text(&meshd->pool, meshd->subnet);
	const struct plan_facts facts = {
		.machine = meshd->machine,
		.name = meshd->name,
		.region = meshd->config->region,
		.subnet = subnet,
		.arch = meshd->arch,
		.version = PLOYZ_VERSION,
		.now = now,
	};

	machine_free(steal(meshd->wanted));
	free(steal(meshd->wanted_why));
	meshd->wanted = plan_record(meshd->record, &facts, &meshd->wanted_why);
	if (meshd->wanted)
		append(meshd, subject, &machine_schema, meshd->wanted, meshd->record_sequence,
		       on_written);
	else
		founding_go(meshd, FOUNDING_REGION);
}

static void on_region(enum stream_outcome outcome, _unused_ uint64_t sequence,
		      const struct failure *failure, void *userdata)
{
	struct meshd *meshd = userdata;

	meshd->request = NULL;
	switch (outcome) {
	case STREAM_DONE:
		log_info("region %s: role %s", meshd->record->region,
			 region_role_names[REGION_COMPUTE]);
		founding_go(meshd, FOUNDING_DONE);
		return;
	case STREAM_CONFLICT: /* it has a record, whatever an operator made of it */
		founding_go(meshd, FOUNDING_DONE);
		return;
	case STREAM_UNKNOWN:
	case STREAM_REFUSED:
		founding_again(meshd, failure);
		return;
	}
}

static void write_region(struct meshd *meshd)
{
	const char *name = meshd->record->region;
	_cleanup_free_ char *subject = NULL, *now = time_format(time_now_usec());
	struct region region = {
		.name = (char *)name,
		.role = REGION_COMPUTE,
		.since = now,
		.who = meshd->name,
	};

	if (!name) {
		founding_go(meshd, FOUNDING_DONE);
		return;
	}
	subject = subject_make(SUBJECT_REGION, name, NULL);
	append(meshd, subject, &region_schema, &region, 0, on_region);
}

void records_step(struct meshd *meshd)
{
	switch (meshd->step) {
	case FOUNDING_RECORD:
		read_record(meshd);
		break;
	case FOUNDING_SUBNET:
		claim(meshd);
		break;
	case FOUNDING_WRITE:
		write_record(meshd);
		break;
	case FOUNDING_REGION:
		write_region(meshd);
		break;
	default:
		break;
	}
}
