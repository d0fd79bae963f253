/* `ployzctl ns ls|show|history|rm`: namespaces and their revisions. */
#include "ployzctl/ployzctl.h"

struct looking {
	struct ployzctl *ctl;
	const char *ns;
	struct table table;
	size_t found;
	int64_t revision; /* of the entry before, in a history */
};

static json_t *head_json(const struct head *head, uint64_t sequence)
{
	json_t *json = codec_encode(&head_schema, head);

	json_object_set_new(json, "sequence", json_integer((json_int_t)sequence));
	return json;
}

static void no_namespace(struct ployzctl *ctl, const char *ns)
{
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;

	failure_set(&failure, FAILURE_NOT_FOUND, "ployzctl ns ls", "there is no namespace %s", ns);
	session_fail(ctl, &failure);
}

static size_t slot_count(const struct head *head)
{
	size_t n = 0;

	for (size_t i = 0; i < head->n_services; i++)
		n += head->services[i].n_slots;
	return n;
}

/* --- ls */

static void on_list(const struct snapshot *snapshot, void *userdata)
{
	struct looking *looking = userdata;

	for (size_t i = 0; i < snapshot->n_heads; i++) {
		const struct head *head = snapshot->heads[i].head;
		_cleanup_free_ char *revision = xasprintf("%lld", (long long)head->revision);
		_cleanup_free_ char *services = xasprintf("%zu", head->n_services);
		_cleanup_free_ char *slots = xasprintf("%zu", slot_count(head)),
				    *age = age_of(head->at, time_now_usec());

		/* One that was emptied is history: it stands in the log, not in the list. */
		if (!head->n_services && !head->open)
			continue;
		if (looking->ctl->options.json)
			session_json_value(head_json(head, snapshot->heads[i].sequence));
		else
			table_row(&looking->table, head->ns, revision, services, slots,
				  head->operator_, age, head->open ? head->open->deploy : NULL,
				  head->why);
	}
	if (!looking->ctl->options.json)
		table_print(&looking->table);
	session_end(looking->ctl, EXIT_DONE);
}

int verb_ns_ls(struct ployzctl *ctl, int argc, char **argv)
{
	static const char *const heading[] = { "NAMESPACE", "REVISION",	 "SERVICES", "SLOTS", "WHO",
					       "AGE",	    "UNDER-WAY", "WHY",	     NULL };
	_cleanup_(strv_freep) char **words = NULL;
	struct looking looking = { .ctl = ctl };
	int code = arguments_take(ctl, "ns ls", NULL, NULL, NULL, argc, argv, 0, 0, &words);

	if (!code)
		code = session_open(ctl);
	if (code)
		return MAX2(code, 0);
	table_init(&looking.table, heading);
	snapshot_read(ctl, on_list, &looking);
	code = session_run(ctl);
	table_clear(&looking.table);
	return code;
}

/* --- show */

static void show_slots(const struct snapshot *snapshot, const struct head *head)
{
	static const char *const heading[] = { "SERVICE", "SLOT",  "MACHINE",  "STATE",
					       "ADDRESS", "IMAGE", "INSTANCE", NULL };
	struct table table;

	table_init(&table, heading);
	for (size_t i = 0; i < head->n_services; i++) {
		const struct head_service *service = &head->services[i];
		const struct service *asked =
			head->manifest ? manifest_service(head->manifest, service->name) : NULL;

		for (size_t j = 0; j < service->n_slots; j++) {
			const struct slot *slot = &service->slots[j];
			const struct instance *fact = snapshot_instance(snapshot, slot->instance);
			_cleanup_free_ char *number = xasprintf("%lld", (long long)slot->slot);

			table_row(&table, service->name, number, slot->machine,
				  fact ? instance_state_names[fact->state] : "unknown",
				  fact && fact->address ? fact->address : slot->address,
				  asked ? asked->image : NULL, slot->instance);
		}
	}
	table_print(&table);
	table_clear(&table);
}

static void show_routes(const struct head *head)
{
	for (size_t i = 0; head->manifest && i < head->manifest->n_services; i++) {
		const struct service *service = &head->manifest->services[i];
		_cleanup_(strv_freep) char **keys = route_keys(service);

		for (char **key = keys; key && *key; key++)
			printf("route      %s to %s\n", *key, service->name);
	}
}

static void on_show(const struct snapshot *snapshot, void *userdata)
{
	struct looking *looking = userdata;
	const struct snapshot_head *at = snapshot_head(snapshot, looking->ns);
	const struct head *head = at ? at->head : NULL;

	if (!head) {
		no_namespace(looking->ctl, looking->ns);
		return;
	}
	if (looking->ctl->options.json) {
		session_json_value(head_json(head, at->sequence));
	} else {
		printf("namespace  %s\nrevision   %lld, committed at sequence %llu, %s\n", head->ns,
		       (long long)head->revision,
		       (unsigned long long)head_committed(head, at->sequence),
		       head->at ? head->at : "-");
		printf("by         %s from %s, %s %s\n", head->operator_ ? head->operator_ : "-",
		       head->from ? head->from : "-", head->verb ? head->verb : "deploy",
		       head->deploy ? head->deploy : "-");
		if (head->why)
			printf("why        %s\n", head->why);
		if (head->open)
			printf("under way  %s %s by %s since %s\n",
			       head->open->verb ? head->open->verb : "deploy", head->open->deploy,
			       head->open->operator_ ? head->open->operator_ : "-",
			       head->open->since ? head->open->since : "-");
		show_routes(head);
		show_slots(snapshot, head);
	}
	session_end(looking->ctl, EXIT_DONE);
}

int verb_ns_show(struct ployzctl *ctl, int argc, char **argv)
{
	_cleanup_(strv_freep) char **words = NULL;
	struct looking looking = { .ctl = ctl };
	int code = arguments_take(ctl, "ns show", NULL, NULL, NULL, argc, argv, 1, 1, &words);

	if (!code)
		code = session_open(ctl);
	if (code)
		return MAX2(code, 0);
	looking.ns = words[0];
	snapshot_read(ctl, on_show, &looking);
	return session_run(ctl);
}

/* --- history */

static void on_revision(const struct stream_entry *entry, void *userdata)
{
	struct looking *looking = userdata;
	_cleanup_free_ char *revision = NULL, *services = NULL, *slots = NULL, *sequence = NULL;
	void *object = NULL;
	const struct head *head;

	if (codec_parse(&head_schema, entry->data, entry->size, CODEC_LENIENT, &object, NULL) < 0) {
		fprintf(stderr, "ployzctl: entry %llu cannot be read; it is left out\n",
			(unsigned long long)entry->sequence);
		return;
	}
	head = object;
	/* Opening and aborting entries carry the state that was there before. */
	if (head->revision && head->revision != looking->revision) {
		looking->revision = head->revision;
		looking->found++;
		revision = xasprintf("%lld", (long long)head->revision);
		sequence = xasprintf("%llu",
				     (unsigned long long)head_committed(head, entry->sequence));
		services = xasprintf("%zu", head->n_services);
		slots = xasprintf("%zu", slot_count(head));
		if (looking->ctl->options.json)
			session_json_value(head_json(head, entry->sequence));
		else
			table_row(&looking->table, revision, sequence, head->at, head->verb,
				  head->operator_, head->from, services, slots, head->deploy,
				  head->why);
	}
	head_free(object);
}

static void on_history(_unused_ uint64_t sequence, void *userdata)
{
	struct looking *looking = userdata;

	if (!looking->found) {
		no_namespace(looking->ctl, looking->ns);
		return;
	}
	if (!looking->ctl->options.json)
		table_print(&looking->table);
	session_end(looking->ctl, EXIT_DONE);
}

static void on_lost(const struct failure *why, void *userdata)
{
	struct looking *looking = userdata;

	session_fail(looking->ctl, why);
}

static int history(struct ployzctl *ctl, const char *ns)
{
	static const char *const heading[] = { "REVISION", "SEQUENCE", "AT",	   "VERB",
					       "WHO",	   "FROM",     "SERVICES", "SLOTS",
					       "DEPLOY",   "WHY",      NULL };
	static const struct stream_follow_ops ops = { .entry = on_revision,
						      .live = on_history,
						      .lost = on_lost };
	_cleanup_free_ char *filter = subject_make(SUBJECT_NAMESPACE, ns, NULL);
	_cleanup_(stream_follow_freep) struct stream_follow *follow = NULL;
	const struct stream_follow_options options = {
		.domain = STORE_DOMAIN,
		.stream = STREAM_INTENT,
		.filter = filter,
		.from = STREAM_FROM_ALL,
		.once = true,
	};
	struct looking looking = { .ctl = ctl, .ns = ns };
	int code;

	table_init(&looking.table, heading);
	follow = stream_follow_new(ctl->bus, &options, &ops, &looking);
	code = session_run(ctl);
	table_clear(&looking.table);
	return code;
}

static int check_name(const char *ns)
{
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;

	if (name_valid(ns))
		return 0;
	failure_set(&failure, FAILURE_INVALID, "ployzctl ns ls", "'%s' is not a namespace's name",
		    ns);
	return session_say(&failure);
}

int verb_ns_history(struct ployzctl *ctl, int argc, char **argv)
{
	_cleanup_(strv_freep) char **words = NULL;
	int code = arguments_take(ctl, "ns history", NULL, NULL, NULL, argc, argv, 1, 1, &words);

	if (!code)
		code = check_name(words[0]);
	if (!code)
		code = session_open(ctl);
	return code ? MAX2(code, 0) : history(ctl, words[0]);
}

/* --- rm: a deploy of nothing */

static const struct config_row rm_rows[] = {
	{ "yes", CONFIG_BOOL, offsetof(struct deploy_options, yes), NULL, NULL, "do not ask", 0,
	  0 },
	{ "why", CONFIG_STRING, offsetof(struct deploy_options, why), NULL, "TEXT",
	  "kept with the revision", 0, 0 },
	{ "verbose", CONFIG_BOOL, offsetof(struct deploy_options, verbose), NULL, NULL,
	  "tell the time of each phase (-v)", 0, 0 },
	CONFIG_END,
};
static const struct short_option rm_shorts[] = { { 'v', "verbose" }, { 0, NULL } };

int verb_ns_rm(struct ployzctl *ctl, int argc, char **argv)
{
	_cleanup_(strv_freep) char **words = NULL;
	struct deploy_options options = { 0 };
	struct manifest nothing = { 0 };
	int code = arguments_take(ctl, "ns rm", rm_rows, rm_shorts, &options, argc, argv, 1, 1,
				  &words);

	if (!code)
		code = check_name(words[0]);
	if (!code) {
		nothing.ns = words[0];
		options.plan_seq = -1;
		code = deploy_run(ctl, &nothing, &options, "remove");
	}
	config_clear(rm_rows, &options);
	return MAX2(code, 0);
}
