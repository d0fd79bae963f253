/* Endpoints: the requests that dnsd answers, and the projection that feeds the zone. */
#include "dnsd/dnsd.h"

uint64_t dnsd_stale_since(const struct dnsd *dnsd)
{
	return dnsd->projection ? projection_stale_since(dnsd->projection) : dnsd->started;
}

static char *stale_since(const struct dnsd *dnsd)
{
	uint64_t since = dnsd_stale_since(dnsd);

	return since ? time_format(since) : NULL;
}

void dnsd_report(struct dnsd *dnsd)
{
	const struct zone *zone = dnsd_zone(dnsd);
	_cleanup_free_ char *applied = watermark_text(dnsd_applied(dnsd));

	if (!zone)
		daemon_status(dnsd->daemon, "waiting for the store");
	else
		daemon_status(dnsd->daemon, "%zu namespaces, %s%s", zone->namespaces.count, applied,
			      dnsd_stale_since(dnsd) ? ", stale" : "");
}

static void verb_applied(struct bus_call *call, _unused_ void *request, void *userdata)
{
	confirmation_add(userdata, call);
}

static const char *rcode_name(uint16_t rcode)
{
	const knot_lookup_t *row = knot_lookup_by_id(knot_rcode_names, rcode);

	return row ? row->name : "SERVFAIL";
}

/* The records of the answer section as text. */
static void add_records(const knot_pkt_t *answer, struct resolved *resolved)
{
	const knot_pktsection_t *section = knot_pkt_section(answer, KNOT_ANSWER);
	char data[1500], type[32];

	for (uint16_t i = 0; i < section->count; i++) {
		const knot_rrset_t *rr = knot_pkt_rr(section, i);
		struct resolve_record *record;

		if (knot_rrset_txt_dump_data(rr, 0, data, sizeof(data), &KNOT_DUMP_STYLE_DEFAULT) <
			    0 ||
		    knot_rrtype_to_string(rr->type, type, sizeof(type)) < 0)
			continue;
		record = array_add(resolved->records, resolved->n_records);
		record->name = knot_dname_to_str_alloc(rr->owner);
		record->type = xstrdup(type);
		record->ttl = rr->ttl;
		record->data = xstrdup(data);
	}
}

/* Makes the answer that a packet would get, over TCP so that nothing is truncated. */
static void resolve(struct dnsd *dnsd, const struct zone *zone, const uint8_t *name, uint16_t type,
		    const struct caller *from, struct resolved *resolved)
{
	struct answer_caller caller = { .caller = *from,
					.allowed = true,
					.tcp = true,
					.loaded = dnsd_zone(dnsd) != NULL,
					.rotation = dnsd->rotation++,
					.self = dnsd->bridge };
	_cleanup_free_ uint8_t *wire = xmalloc(UINT16_MAX);
	knot_pkt_t *query = knot_pkt_new(NULL, KNOT_WIRE_MIN_PKTSIZE, NULL), *answer;
	size_t size = 0;

	knot_pkt_put_question(query, name, KNOT_CLASS_IN, type);
	if (answer_make(zone, &caller, query->wire, query->size, wire, &size) == ANSWER_FORWARD) {
		resolved->status = xstrdup("FORWARDED");
	} else {
		answer = knot_pkt_new(wire, (uint16_t)size, NULL);
		if (knot_pkt_parse(answer, KNOT_PF_NOCANON) == KNOT_EOK)
			add_records(answer, resolved);
		resolved->status = xstrdup(rcode_name(knot_wire_get_rcode(wire)));
		knot_pkt_free(answer);
	}
	knot_pkt_free(query);
}

static void verb_resolve(struct bus_call *call, void *data, void *userdata)
{
	const struct resolve_request *request = data;
	/* Only a candidate's own address identifies it. */
	const struct caller caller = { .ns = request->ns, .candidate = false };
	struct dnsd *dnsd = userdata;
	const struct zone *zone = dnsd_zone(dnsd);
	struct resolved *resolved;
	knot_dname_storage_t wire = { 0 };
	struct name name;
	struct lookup found;
	uint16_t type = KNOT_RRTYPE_A;

	if (!request->name || !name_write(request->name, wire)) {
		bus_call_failf(call, FAILURE_INVALID,
			       "a name consists of labels of at most 63 bytes, joined by dots",
			       "cannot resolve '%s': not a name",
			       request->name ? request->name : "");
		return;
	}
	if (request->type && knot_rrtype_from_string(request->type, &type) < 0) {
		bus_call_failf(call, FAILURE_INVALID, "use A, AAAA, SRV, TXT or PTR",
			       "cannot resolve %s: '%s' is not a record type", request->name,
			       request->type);
		return;
	}
	knot_dname_to_lower(wire);
	resolved = codec_new(&resolved_schema);
	resolve(dnsd, zone ? zone : dnsd->zone, wire, type, &caller, resolved);
	name_parse(wire, &name);
	lookup(zone ? zone : dnsd->zone, &caller, &name, &found);
	free(resolved->why);
	resolved->why = zone || found.verdict == LOOKUP_FORWARD
				? lookup_why(&found, &name, &caller, type)
				: xstrdup("the zone is not loaded yet");
	resolved->applied = *dnsd_applied(dnsd);
	resolved->stale_since = stale_since(dnsd);
	bus_call_ok(call, resolved);
	resolved_free(resolved);
}

static json_t *errors(const struct zone *zone)
{
	json_t *list = json_array();

	for (struct map_item *item = NULL; zone && (item = map_next(&zone->errors, item));) {
		const struct zone_error *error = item->value;

		json_array_append_new(list, json_pack("{s:s*, s:s*, s:o}", "namespace", error->ns,
						      "machine", error->machine, "error",
						      json_utf8(error->text)));
	}
	return list;
}

/* The projection's, with the watermark of what is served. */
static json_t *log_status(const struct dnsd *dnsd)
{
	json_t *log = projection_status(dnsd->projection);

	json_object_set_new(log, "applied", codec_encode(&watermark_schema, dnsd_applied(dnsd)));
	return log;
}

static json_t *counts_status(const struct dnsd_counts *counts)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "udp", (json_int_t)counts->udp, "tcp",
			 (json_int_t)counts->tcp, "answered", (json_int_t)counts->answered,
			 "forwarded", (json_int_t)counts->forwarded, "failed",
			 (json_int_t)counts->failed, "dropped", (json_int_t)counts->dropped);
}

static json_t *status(void *userdata)
{
	struct dnsd *dnsd = userdata;
	const struct zone *zone = dnsd_zone(dnsd);
	json_t *upstreams = json_array();

	for (size_t i = 0; i < dnsd->forward->n_upstreams; i++) {
		_cleanup_free_ char *text = address_format(&dnsd->forward->upstreams[i]);

		json_array_append_new(upstreams, json_string(text));
	}
	return json_pack("{s:o, s:s, s:o, s:I, s:o, s:o, s:o, s:s*, s:I, s:I, s:I, s:I, s:o}",
			 "log", log_status(dnsd), "serving",
			 dnsd->loaded ? "projection"
			 : zone	      ? "stored view"
				      : "nothing",
			 "stored", codec_encode(&watermark_schema, &dnsd->stored), "namespaces",
			 zone ? (json_int_t)zone->namespaces.count : 0, "errors", errors(zone),
			 "listening", listen_status(dnsd), "upstreams", upstreams, "bridge_error",
			 dnsd->bridge_error, "connections", (json_int_t)dnsd->n_connections,
			 "pending", (json_int_t)dnsd->forward->count, "deferred",
			 (json_int_t)dnsd->n_deferred, "confirmations",
			 (json_int_t)dnsd->n_confirmations, "counts", counts_status(&dnsd->counts));
}

/* The last entry of a subject cannot be decoded, or waits: an earlier one may be in the stored view
 * only. */
static void restore(struct dnsd *dnsd, const char *subject)
{
	const struct view_entry *entry = dnsd->saved ? view_get(dnsd->saved, subject) : NULL;

	if (entry && !view_get(dnsd->view, subject) &&
	    zone_restore(dnsd->zone, subject, entry->data, entry->size) > 0)
		view_put(dnsd->view, subject, entry->data, entry->size);
}

static void on_entry(const char *subject, uint64_t sequence, const char *data, size_t size,
		     void *userdata)
{
	struct dnsd *dnsd = userdata;
	int r = zone_entry(dnsd->zone, subject, sequence, data, size);
	bool waits = data && subject_match(SUBJECT_NAMESPACE, subject, NULL, NULL);

	dnsd->settled = false;
	if (r > 0) {
		view_put(dnsd->waiting, subject, waits ? data : NULL, size);
		if (!waits)
			view_put(dnsd->view, subject, data, size);
		dnsd->changed = true;
	} else if (r < 0) {
		log_error("cannot decode %s; serving its last good entry",
			  zone_error(dnsd->zone, subject));
		restore(dnsd, subject);
	}
}

/* Heads whose facts are applied take effect; for a head that waits, the one before it stays. */
static void apply_heads(struct dnsd *dnsd, const struct watermark *applied)
{
	zone_apply(dnsd->zone, applied);
	for (struct map_item *item = NULL; (item = map_next(&dnsd->waiting->entries, item));) {
		_cleanup_free_ char *subject = xstrdup(item->key), *ns = NULL;
		const struct view_entry *entry = item->value;

		subject_match(SUBJECT_NAMESPACE, subject, &ns, NULL);
		if (zone_waits(dnsd->zone, ns)) {
			restore(dnsd, subject);
			continue;
		}
		view_put(dnsd->view, subject, entry->data, entry->size);
		view_put(dnsd->waiting, subject, NULL, 0);
		dnsd->changed = true;
	}
}

static void on_settled(const struct watermark *applied, void *userdata)
{
	struct dnsd *dnsd = userdata;

	apply_heads(dnsd, applied);
	zone_settle(dnsd->zone);
	if (!dnsd->loaded && dnsd->saved_zone)
		log_info("the zone is loaded; the stored view is no longer served");
	dnsd->loaded = dnsd->settled = true;
	dnsd->applied = *applied;
	dnsd->changed = dnsd->changed || applied->generation != dnsd->stored.generation;
	zone_free(steal(dnsd->saved_zone));
	view_free(steal(dnsd->saved));
	listen_bridge(dnsd);
	defer_settled(dnsd);
	confirmation_poll(dnsd);
	dnsd_report(dnsd);
}

/* The projection has logged it. */
static void on_stale(bool stale _unused_, void *userdata)
{
	dnsd_report(userdata);
}

int dnsd_serve(struct dnsd *dnsd)
{
	static const struct bus_endpoint verbs[] = {
		{ SUBJECT_DNSD_APPLIED, verb_applied },
		{ SUBJECT_DNSD_RESOLVE, verb_resolve },
	};

	return daemon_serve(dnsd->daemon, verbs, ARRAY_SIZE(verbs), status, dnsd);
}

void dnsd_follow(struct dnsd *dnsd)
{
	static const struct projection_ops ops = { .entry = on_entry,
						   .settled = on_settled,
						   .stale = on_stale };
	_cleanup_free_ char *heads = subject_filter(SUBJECT_NAMESPACE);
	_cleanup_free_ char *members = subject_filter(SUBJECT_MEMBER);
	_cleanup_free_ char *instances = subject_filter(SUBJECT_INSTANCES);
	const char *const intent[] = { heads, members, NULL }, *const facts[] = { instances, NULL };
	const struct projection_options options = {
		.machine = dnsd->machine,
		.intent = intent,
		.facts = facts,
		.served = dnsd->stored,
		.seen = dnsd->saved ? dnsd->saved->seen : NULL,
	};

	dnsd->projection = projection_new(dnsd->bus, &options, &ops, dnsd);
	confirmation_follow(dnsd);
}

void dnsd_unfollow(struct dnsd *dnsd)
{
	projection_free(steal(dnsd->projection));
}
