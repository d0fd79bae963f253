/* `ployzctl ns ls|show|history|rm`: namespaces and their revisions. */
#include "ployzctl/ployzctl.h"

struct ns_view {
	struct ployzctl *ctl;
	const char *ns;
	const struct snapshot *snapshot;
	struct table table;
	size_t found;
	int64_t revision; /* history: revision of the entry before */
};

static json_t *head_json(const struct head *head, uint64_t sequence)
{
	json_t *json = codec_encode(&head_schema, head);

	json_object_set_new(json, "sequence", json_integer((json_int_t)sequence));
	return json;
}

static void no_namespace(struct ployzctl *ctl, const char *ns)
{
	session_end(ctl,
		    session_refuse(FAILURE_NOT_FOUND, "run `ployzctl ns ls`",
				   "cannot find namespace %s: the log has no entry of it", ns));
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
	struct ns_view *view = userdata;

	for (size_t i = 0; i < snapshot->n_heads; i++) {
		const struct head *head = snapshot->heads[i].head;
		_cleanup_free_ char *revision = xasprintf("%lld", (long long)head->revision);
		_cleanup_free_ char *services = xasprintf("%zu", head->n_services);
		_cleanup_free_ char *slots = xasprintf("%zu", slot_count(head)),
				    *age = age_of(head->at, time_now_usec());

		/* An emptied namespace stays in the log; the list leaves it out. */
		if (!head->n_services && !head->open)
			continue;
		if (view->ctl->options.json)
			session_json_value(head_json(head, snapshot->heads[i].sequence));
		else
			table_row(&view->table, head->ns, revision, services, slots,
				  head->operator_, age, head->open ? head->open->deploy : NULL,
				  head->why);
	}
	if (!view->ctl->options.json)
		table_print(&view->table);
	session_end(view->ctl, EXIT_DONE);
}

int verb_ns_ls(struct ployzctl *ctl, int argc, char **argv)
{
	static const char *const heading[] = { "NAMESPACE",   "REVISION", "SERVICES",
					       "SLOTS",	      "WHO",	  "AGE",
					       "OPEN-DEPLOY", "WHY",	  NULL };
	_cleanup_(strv_freep) char **words = NULL;
	struct ns_view view = { .ctl = ctl };
	int code = arguments_take(ctl, "ns ls", NULL, NULL, NULL, argc, argv, 0, 0, &words);

	if (!code)
		code = session_open(ctl);
	if (code)
		return MAX2(code, 0);
	table_init(&view.table, heading);
	snapshot_read(ctl, on_list, &view);
	code = session_run(ctl);
	table_clear(&view.table);
	return code;
}

/* --- show */

static void show_slots(const struct snapshot *snapshot, const struct head *head,
		       const struct release *release)
{
	static const char *const heading[] = { "SERVICE", "SLOT",  "MACHINE",  "STATE",
					       "ADDRESS", "IMAGE", "INSTANCE", NULL };
	struct table table;

	table_init(&table, heading);
	for (size_t i = 0; i < head->n_services; i++) {
		const struct head_service *service = &head->services[i];
		const struct service *spec =
			release ? manifest_service(release->manifest, service->name) : NULL;

		for (size_t j = 0; j < service->n_slots; j++) {
			const struct slot *slot = &service->slots[j];
			const struct instance *fact =
				snapshot_instance(snapshot, slot->machine, slot->instance);
			_cleanup_free_ char *number = xasprintf("%lld", (long long)slot->slot);

			table_row(&table, service->name, number, slot->machine,
				  fact ? instance_state_names[fact->state] : "unknown",
				  fact && fact->address ? fact->address : slot->address,
				  spec ? spec->image : service->digest, slot->instance);
		}
	}
	table_print(&table);
	table_clear(&table);
}

static void show_head(const struct head *head, uint64_t sequence)
{
	printf("namespace  %s\nrevision   %lld, committed at sequence %llu, %s\n", head->ns,
	       (long long)head->revision, (unsigned long long)head_committed(head, sequence),
	       head->at ? head->at : "-");
	printf("by         %s from %s, %s %s\n", head->operator_ ? head->operator_ : "-",
	       head->from ? head->from : "-", head->verb ? head->verb : "deploy",
	       head->deploy ? head->deploy : "-");
	if (head->why)
		printf("why        %s\n", head->why);
	if (head->open)
		printf("open       %s %s by %s on machine %s since %s\n",
		       head->open->verb ? head->open->verb : "deploy", head->open->deploy,
		       head->open->operator_ ? head->open->operator_ : "-",
		       head->open->machine ? head->open->machine : "-",
		       head->open->since ? head->open->since : "-");
	for (size_t i = 0; i < head->n_routes; i++)
		printf("route      %s to %s\n", head->routes[i].key, head->routes[i].service);
	for (size_t i = 0; i < head->n_volumes; i++)
		printf("volume     %s on machine %s (%s, generation %lld)\n", head->volumes[i].name,
		       head->volumes[i].machine, volume_driver_names[head->volumes[i].driver],
		       (long long)head->volumes[i].generation);
}

/* The manifest that the head refers to has the images' names. */
static void on_release(struct revision *revisions, _unused_ size_t count, void *userdata)
{
	const struct ns_view *view = userdata;
	const struct snapshot_head *at = snapshot_head(view->snapshot, view->ns);

	show_head(at->head, at->sequence);
	show_slots(view->snapshot, at->head, revisions[0].content);
	session_end(view->ctl, EXIT_DONE);
}

static void on_show(const struct snapshot *snapshot, void *userdata)
{
	static const int64_t wanted = REVISION_CURRENT;
	struct ns_view *view = userdata;
	const struct snapshot_head *at = snapshot_head(snapshot, view->ns);

	view->snapshot = snapshot;
	if (!at) {
		no_namespace(view->ctl, view->ns);
	} else if (view->ctl->options.json) {
		session_json_value(head_json(at->head, at->sequence));
		session_end(view->ctl, EXIT_DONE);
	} else if (at->head->release) {
		revisions_read(view->ctl, view->ns, &wanted, 1, on_release, view);
	} else {
		show_head(at->head, at->sequence);
		show_slots(snapshot, at->head, NULL);
		session_end(view->ctl, EXIT_DONE);
	}
}

int verb_ns_show(struct ployzctl *ctl, int argc, char **argv)
{
	_cleanup_(strv_freep) char **words = NULL;
	struct ns_view view = { .ctl = ctl };
	int code = arguments_take(ctl, "ns show", NULL, NULL, NULL, argc, argv, 1, 1, &words);

	if (!code)
		code = namespace_argument(words[0]);
	if (!code)
		code = session_open(ctl);
	if (code)
		return MAX2(code, 0);
	view.ns = words[0];
	snapshot_read(ctl, on_show, &view);
	return session_run(ctl);
}

/* --- history */

static void on_revision(const struct stream_entry *entry, void *userdata)
{
	struct ns_view *view = userdata;
	_cleanup_free_ char *revision = NULL, *services = NULL, *slots = NULL, *sequence = NULL;
	void *object = NULL;
	const struct head *head;

	if (codec_parse(&head_schema, entry->data, entry->size, CODEC_LENIENT, &object, NULL) < 0) {
		session_refuse(FAILURE_INVALID, "it is left out", "cannot decode entry %llu on %s",
			       (unsigned long long)entry->sequence, entry->subject);
		return;
	}
	head = object;
	/* Opening and closing entries repeat the state that was committed before them. */
	if (head->revision && head->revision != view->revision) {
		view->revision = head->revision;
		view->found++;
		revision = xasprintf("%lld", (long long)head->revision);
		sequence = xasprintf("%llu",
				     (unsigned long long)head_committed(head, entry->sequence));
		services = xasprintf("%zu", head->n_services);
		slots = xasprintf("%zu", slot_count(head));
		if (view->ctl->options.json)
			session_json_value(head_json(head, entry->sequence));
		else
			table_row(&view->table, revision, sequence, head->at, head->verb,
				  head->operator_, head->from, services, slots, head->deploy,
				  head->why);
	}
	head_free(object);
}

static void on_history(_unused_ uint64_t sequence, void *userdata)
{
	struct ns_view *view = userdata;

	if (!view->found) {
		no_namespace(view->ctl, view->ns);
		return;
	}
	if (!view->ctl->options.json)
		table_print(&view->table);
	session_end(view->ctl, EXIT_DONE);
}

static void on_lost(const struct failure *why, void *userdata)
{
	struct ns_view *view = userdata;

	session_fail(view->ctl, why);
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
	const char *const filters[] = { filter, NULL };
	const struct stream_follow_options options = {
		.domain = STORE_DOMAIN,
		.stream = STREAM_INTENT,
		.filters = filters,
		.from = STREAM_FROM_ALL,
		.once = true,
	};
	struct ns_view view = { .ctl = ctl, .ns = ns };
	int code;

	table_init(&view.table, heading);
	follow = stream_follow_new(ctl->bus, &options, &ops, &view);
	code = session_run(ctl);
	table_clear(&view.table);
	return code;
}

int verb_ns_history(struct ployzctl *ctl, int argc, char **argv)
{
	_cleanup_(strv_freep) char **words = NULL;
	int code = arguments_take(ctl, "ns history", NULL, NULL, NULL, argc, argv, 1, 1, &words);

	if (!code)
		code = namespace_argument(words[0]);
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
	  "print the time of each phase (-v)", 0, 0 },
	CONFIG_END,
};
static const struct short_option rm_shorts[] = { { 'v', "verbose" }, { 0, NULL } };

int verb_ns_rm(struct ployzctl *ctl, int argc, char **argv)
{
	_cleanup_(strv_freep) char **words = NULL;
	struct deploy_options options = { 0 };
	struct manifest nothing = { 0 };
	struct deploy_task task = {
		.ctl = ctl,
		.options = &options,
		.verb = "remove",
		.subject = SUBJECT_DEPLOY,
		.manifest = &nothing,
	};
	int code = arguments_take(ctl, "ns rm", rm_rows, rm_shorts, &options, argc, argv, 1, 1,
				  &words);

	if (!code)
		code = namespace_argument(words[0]);
	if (!code) {
		nothing.ns = words[0];
		options.plan_seq = -1;
		code = deploy_task_run(&task);
	}
	config_clear(rm_rows, &options);
	return MAX2(code, 0);
}
