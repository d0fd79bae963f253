#include "dnsd/dnsd.h"

/* The doorplate: what dnsd hears, and what it says. */

static void say(struct dnsd *dnsd)
{
	if (!dnsd->loaded)
		daemon_status(dnsd->daemon, "waiting for the log");
	else
		daemon_status(dnsd->daemon, "%zu namespaces, log up to %llu%s",
			      dnsd->zone->namespaces.count, (unsigned long long)dnsd->sequence,
			      projection_stale_since(dnsd->projection) ? ", maybe behind" : "");
}

static char *stale_since(const struct dnsd *dnsd)
{
	uint64_t since = projection_stale_since(dnsd->projection);

	return since ? time_format(since) : NULL;
}

static void answer_applied(struct dnsd *dnsd, struct bus_call *call)
{
	_cleanup_free_ char *stale = stale_since(dnsd);
	struct applied applied = { .sequence = (int64_t)dnsd->sequence, .stale_since = stale };

	bus_call_ok(call, &applied);
}

static void drop_waiting(struct dnsd *dnsd, size_t at)
{
	memmove(&dnsd->waiting[at], &dnsd->waiting[at + 1],
		(--dnsd->n_waiting - at) * sizeof(*dnsd->waiting));
	memset(&dnsd->waiting[dnsd->n_waiting], 0, sizeof(*dnsd->waiting));
}

static void verb_applied(struct bus_call *call, void *request, void *userdata)
{
	const struct applied_request *asked = request;
	struct dnsd *dnsd = userdata;
	struct waiting *waiting;

	if (dnsd->loaded && dnsd->sequence >= (uint64_t)asked->sequence) {
		answer_applied(dnsd, call);
		return;
	}
	if (dnsd->n_waiting >= DNSD_WAITING) {
		bus_call_failf(dnsd->waiting[0].call, FAILURE_NOT_READY, "ask again",
			       "the zone has the log up to %llu only, and too many wait for more",
			       (unsigned long long)dnsd->sequence);
		drop_waiting(dnsd, 0);
	}
	waiting = array_add(dnsd->waiting, dnsd->n_waiting);
	waiting->sequence = (uint64_t)asked->sequence;
	waiting->call = call;
	projection_expect(dnsd->projection, waiting->sequence);
}

static const char *rcode_name(uint16_t rcode)
{
	const knot_lookup_t *row = knot_lookup_by_id(knot_rcode_names, rcode);

	return row ? row->name : "SERVFAIL";
}

/* The answer's records as text: what is told is what is sent. */
static void tell_records(const knot_pkt_t *answer, struct resolved *resolved)
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

/* Asks the zone exactly as a packet would, over TCP so that nothing is cut. */
static void resolve(struct dnsd *dnsd, const uint8_t *name, uint16_t type, const char *ns,
		    struct resolved *resolved)
{
	struct answer_caller caller = { .ns = ns,
					.allowed = true,
					.tcp = true,
					.loaded = dnsd->loaded,
					.rotate = dnsd->rotate++,
					.self = dnsd->bridge };
	_cleanup_free_ uint8_t *wire = xmalloc(UINT16_MAX);
	knot_pkt_t *query = knot_pkt_new(NULL, KNOT_WIRE_MIN_PKTSIZE, NULL), *answer;
	size_t size = 0;

	knot_pkt_put_question(query, name, KNOT_CLASS_IN, type);
	if (answer_make(dnsd->zone, &caller, query->wire, query->size, wire, &size) ==
	    ANSWER_FORWARD) {
		resolved->status = xstrdup("FORWARDED");
	} else {
		answer = knot_pkt_new(wire, (uint16_t)size, NULL);
		if (knot_pkt_parse(answer, KNOT_PF_NOCANON) == KNOT_EOK)
			tell_records(answer, resolved);
		resolved->status = xstrdup(rcode_name(knot_wire_get_rcode(wire)));
		knot_pkt_free(answer);
	}
	knot_pkt_free(query);
}

static void verb_resolve(struct bus_call *call, void *request, void *userdata)
{
	const struct resolve_request *asked = request;
	struct dnsd *dnsd = userdata;
	struct resolved *resolved;
	knot_dname_storage_t wire = { 0 };
	struct name name;
	struct look look;
	uint16_t type = KNOT_RRTYPE_A;

	if (!asked->name || !name_write(asked->name, wire)) {
		bus_call_failf(call, FAILURE_INVALID,
			       "a name is labels of at most 63 bytes joined by dots",
			       "'%s' is no name", asked->name ? asked->name : "");
		return;
	}
	if (asked->type && knot_rrtype_from_string(asked->type, &type) < 0) {
		bus_call_failf(call, FAILURE_INVALID,
			       "A, AAAA, SRV, TXT and PTR are types of the zone",
			       "'%s' is no type of record", asked->type);
		return;
	}
	knot_dname_to_lower(wire);
	resolved = codec_new(&resolved_schema);
	resolve(dnsd, wire, type, asked->ns, resolved);
	name_parse(wire, &name);
	look_up(dnsd->zone, asked->ns, &name, &look);
	free(resolved->why);
	resolved->why =
		dnsd->loaded || look.verdict == LOOK_FORWARD
			? look_why(&look, &name, asked->ns, type)
			: xstrdup("the log was not read yet: nothing can be said of its names");
	resolved->sequence = (int64_t)dnsd->sequence;
	resolved->stale_since = stale_since(dnsd);
	bus_call_ok(call, resolved);
	resolved_free(resolved);
}

static json_t *troubles(const struct dnsd *dnsd)
{
	json_t *list = json_array();

	for (struct map_item *item = NULL; (item = map_next(&dnsd->zone->namespaces, item));) {
		const struct zone_namespace *ns = item->value;

		if (ns->trouble)
			json_array_append_new(list, json_pack("{s:s,s:s}", "namespace", ns->ns,
							      "why", ns->trouble));
	}
	return list;
}

static json_t *status(void *userdata)
{
	struct dnsd *dnsd = userdata;
	json_t *upstreams = json_array();

	for (size_t i = 0; i < dnsd->forward->n_upstreams; i++) {
		_cleanup_free_ char *text = place_format(&dnsd->forward->upstreams[i]);

		json_array_append_new(upstreams, json_string(text));
	}
	return json_pack(
		"{s:o, s:b, s:I, s:o, s:o, s:o, s:s*, s:I, s:I, s:{s:I, s:I, s:I, s:I, s:I, s:I}}",
		"log", projection_status(dnsd->projection), "loaded", dnsd->loaded, "namespaces",
		(json_int_t)dnsd->zone->namespaces.count, "troubles", troubles(dnsd), "listens",
		listen_status(dnsd), "forwards_to", upstreams, "bridge_trouble",
		dnsd->bridge_trouble, "connections", (json_int_t)dnsd->n_connections, "under_way",
		(json_int_t)dnsd->forward->count, "counts", "udp", (json_int_t)dnsd->counts.udp,
		"tcp", (json_int_t)dnsd->counts.tcp, "answered", (json_int_t)dnsd->counts.answered,
		"forwarded", (json_int_t)dnsd->counts.forwarded, "failed",
		(json_int_t)dnsd->counts.failed, "dropped", (json_int_t)dnsd->counts.dropped);
}

static void on_entry(const char *subject, uint64_t sequence, const char *data, size_t size,
		     void *userdata)
{
	struct dnsd *dnsd = userdata;

	if (zone_entry(dnsd->zone, subject, data, size) < 0)
		log_error(
			"entry %llu on %s cannot be read: its last good one goes on being answered",
			(unsigned long long)sequence, subject);
}

static void on_settled(uint64_t sequence, void *userdata)
{
	struct dnsd *dnsd = userdata;

	zone_settle(dnsd->zone);
	dnsd->loaded = true;
	dnsd->sequence = sequence;
	listen_bridge(dnsd);
	for (size_t i = 0; i < dnsd->n_waiting;) {
		if (dnsd->waiting[i].sequence > sequence) {
			i++;
			continue;
		}
		answer_applied(dnsd, dnsd->waiting[i].call);
		drop_waiting(dnsd, i);
	}
	say(dnsd);
}

/* The projection has logged it. */
static void on_stale(bool stale _unused_, void *userdata)
{
	say(userdata);
}

int dnsd_serve(struct dnsd *dnsd)
{
	static const struct bus_verb verbs[] = {
		{ SUBJECT_DNSD_APPLIED, verb_applied },
		{ SUBJECT_DNSD_RESOLVE, verb_resolve },
	};

	return daemon_serve(dnsd->daemon, verbs, ARRAY_SIZE(verbs), status, dnsd);
}

void dnsd_follow(struct dnsd *dnsd)
{
	static const struct projection_ops ops = { on_entry, on_settled, on_stale };

	dnsd->projection = projection_new(dnsd->bus, dnsd->machine, NULL, &ops, dnsd);
}

void dnsd_unfollow(struct dnsd *dnsd)
{
	projection_free(steal(dnsd->projection));
	while (dnsd->n_waiting)
		bus_call_drop(dnsd->waiting[--dnsd->n_waiting].call);
	free(steal(dnsd->waiting));
}
