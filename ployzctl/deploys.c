/* `ployzctl deploy attach|ls|show`: deploys of now and of before, from their status records. */
#include "ployzctl/ployzctl.h"

struct attach_options {
	bool verbose;
};
static const struct config_row attach_rows[] = {
	{ "verbose", CONFIG_BOOL, offsetof(struct attach_options, verbose), NULL, NULL,
	  "tell the time of each phase (-v)", 0, 0 },
	CONFIG_END,
};
static const struct short_option attach_shorts[] = { { 'v', "verbose" }, { 0, NULL } };

int verb_deploy_attach(struct ployzctl *ctl, int argc, char **argv)
{
	_cleanup_(strv_freep) char **words = NULL;
	struct attach_options options;
	int code = arguments_take(ctl, "deploy attach", attach_rows, attach_shorts, &options, argc,
				  argv, 1, 1, &words);

	if (!code)
		code = session_open(ctl);
	if (code)
		return MAX2(code, 0);
	follow_deploy(ctl, NULL, words[0], options.verbose);
	return session_run(ctl);
}

/* --- ls */

struct listing {
	struct ployzctl *ctl;
	struct table table;
};

static void on_record(const struct stream_entry *entry, void *userdata)
{
	struct listing *listing = userdata;
	_cleanup_free_ char *age = NULL, *revision = NULL;
	void *object = NULL;
	const struct deploy *record;

	if (codec_parse(&deploy_schema, entry->data, entry->size, CODEC_LENIENT, &object, NULL) <
	    0) {
		fprintf(stderr, "ployzctl: the record on %s cannot be read; it is left out\n",
			entry->subject);
		return;
	}
	record = object;
	if (listing->ctl->options.json) {
		session_json(&deploy_schema, record);
	} else {
		age = age_of(record->at, time_now_usec());
		revision = record->revision ? xasprintf("%lld", (long long)record->revision) : NULL;
		table_row(&listing->table, record->deploy, record->ns, record->verb,
			  deploy_phase_names[record->phase], revision, record->operator_,
			  record->machine, age, record->why);
	}
	deploy_free(object);
}

static void on_listed(_unused_ uint64_t sequence, void *userdata)
{
	struct listing *listing = userdata;

	if (!listing->ctl->options.json)
		table_print(&listing->table);
	session_end(listing->ctl, EXIT_DONE);
}

static void on_lost(const struct failure *why, void *userdata)
{
	struct listing *listing = userdata;

	session_fail(listing->ctl, why);
}

int verb_deploy_ls(struct ployzctl *ctl, int argc, char **argv)
{
	static const char *const heading[] = { "DEPLOY", "NAMESPACE", "VERB", "PHASE", "REVISION",
					       "WHO",	 "MACHINE",   "AGE",  "WHY",   NULL };
	static const struct stream_follow_ops ops = { .entry = on_record,
						      .live = on_listed,
						      .lost = on_lost };
	_cleanup_(strv_freep) char **words = NULL;
	_cleanup_free_ char *filter = NULL;
	_cleanup_(stream_follow_freep) struct stream_follow *follow = NULL;
	struct stream_follow_options options = {
		.domain = STORE_DOMAIN,
		.stream = STREAM_STATUS,
		.from = STREAM_FROM_LAST_PER_SUBJECT,
		.once = true,
	};
	struct listing listing = { .ctl = ctl };
	int code = arguments_take(ctl, "deploy ls", NULL, NULL, NULL, argc, argv, 0, 1, &words);

	if (!code)
		code = session_open(ctl);
	if (code)
		return MAX2(code, 0);
	filter = subject_make(SUBJECT_DEPLOY_STATUS, words ? words[0] : "*", "*");
	options.filter = filter;
	table_init(&listing.table, heading);
	follow = stream_follow_new(ctl->bus, &options, &ops, &listing);
	code = session_run(ctl);
	table_clear(&listing.table);
	return code;
}

/* --- show */

static void show(const struct deploy *record)
{
	printf("deploy     %s\nnamespace  %s\nverb       %s\nphase      %s\n", record->deploy,
	       record->ns, record->verb ? record->verb : "-", deploy_phase_names[record->phase]);
	printf("who        %s from %s\n", record->operator_ ? record->operator_ : "-",
	       record->from ? record->from : "-");
	if (record->why)
		printf("why        %s\n", record->why);
	printf("walked by  machine %s, epoch %lld\n", record->machine ? record->machine : "-",
	       (long long)record->epoch);
	if (record->revision)
		printf("committed  revision %lld, sequence %lld\n", (long long)record->revision,
		       (long long)record->sequence);
	for (size_t i = 0; i < record->n_phases; i++) {
		const struct phase_change *change = &record->phases[i];
		_cleanup_free_ char *note = text_safe(change->note);

		printf("  %-16s %8.1f s  %s  %s\n", deploy_phase_names[change->phase],
		       (double)change->elapsed_ms / 1000, change->at ? change->at : "-", note);
	}
	if (record->failure) {
		_cleanup_free_ char *message = text_safe(record->failure->message),
				    *hint = text_safe(record->failure->hint);

		printf("failure    %s: %s\n", failure_code_names[record->failure->code], message);
		if (*hint)
			printf("  try: %s\n", hint);
	}
}

static void on_shown(const struct failure *failure, void *answer, void *userdata)
{
	struct ployzctl *ctl = userdata;
	const struct deploy_accepted *accepted = answer;

	if (failure) {
		session_fail(ctl, failure);
		return;
	}
	if (ctl->options.json)
		session_json(&deploy_schema, accepted->record);
	else if (accepted->record)
		show(accepted->record);
	session_end(ctl, EXIT_DONE);
}

int verb_deploy_show(struct ployzctl *ctl, int argc, char **argv)
{
	_cleanup_(strv_freep) char **words = NULL;
	struct deploy_ref ref = { 0 };
	int code = arguments_take(ctl, "deploy show", NULL, NULL, NULL, argc, argv, 1, 1, &words);

	if (!code)
		code = session_open(ctl);
	if (code)
		return MAX2(code, 0);
	ref.deploy = words[0];
	bus_ask(ctl->bus, SUBJECT_ATTACH, ctl->machine, &ref, ASK_USEC, on_shown, ctl, NULL);
	return session_run(ctl);
}
