/* `ployzctl deploy ls|show`: deploys of the last 90 days, from their records. */
#include "ployzctl/ployzctl.h"

struct listing {
	struct ployzctl *ctl;
	struct records_read *read;
	const char *deploy; /* show: its id */
	int code;
};

static void print_errors(const struct records *records)
{
	for (char **error = records->errors; error && *error; error++)
		session_refuse(FAILURE_INVALID, "it is left out", "%s", *error);
}

/* --- ls */

static void print_list(const struct records *records)
{
	static const char *const heading[] = { "DEPLOY", "NAMESPACE", "VERB", "PHASE", "REVISION",
					       "WHO",	 "MACHINE",   "AGE",  "WHY",   NULL };
	struct table table;

	table_init(&table, heading);
	for (size_t i = 0; i < records->count; i++) {
		const struct deploy *record = records->items[i];
		_cleanup_free_ char *age = age_of(record->at, time_now_usec());
		_cleanup_free_ char *revision =
			record->revision ? xasprintf("%lld", (long long)record->revision) : NULL;

		table_row(&table, record->deploy, record->ns, record->verb,
			  deploy_phase_names[record->phase], revision, record->operator_,
			  record->machine, age, record->why);
	}
	table_print(&table);
	table_clear(&table);
}

static void on_list(const struct failure *failure, const struct records *records, void *userdata)
{
	const struct listing *listing = userdata;

	if (failure) {
		session_fail(listing->ctl, failure);
		return;
	}
	print_errors(records);
	if (!listing->ctl->options.json)
		print_list(records);
	for (size_t i = 0; listing->ctl->options.json && i < records->count; i++)
		session_json(&deploy_schema, records->items[i]);
	session_end(listing->ctl, records->errors ? EXIT_NO : EXIT_DONE);
}

int verb_deploy_ls(struct ployzctl *ctl, int argc, char **argv)
{
	_cleanup_(strv_freep) char **words = NULL;
	struct listing listing = { .ctl = ctl };
	int code = arguments_take(ctl, "deploy ls", NULL, NULL, NULL, argc, argv, 0, 1, &words);

	if (!code && words)
		code = namespace_argument(words[0]);
	if (!code)
		code = session_open(ctl);
	if (code)
		return MAX2(code, 0);
	listing.read = records_read(ctl, words ? words[0] : NULL, NULL, on_list, &listing);
	code = session_run(ctl);
	records_read_free(listing.read);
	return code;
}

/* --- show */

static void print_phases(const struct deploy *record)
{
	for (size_t i = 0; i < record->n_phases; i++) {
		const struct phase_change *change = &record->phases[i];
		_cleanup_free_ char *note = text_safe(change->note);

		printf("  %-16s %8.1f s  %s  %s\n", deploy_phase_names[change->phase],
		       (double)change->elapsed_ms / 1000, change->at ? change->at : "-", note);
	}
}

static void print_rest(const struct deploy *record)
{
	for (size_t i = 0; i < record->n_left; i++) {
		const struct left *left = &record->left[i];
		_cleanup_free_ char *reason = text_safe(left->reason);

		printf("left       %s on machine %s%s%s\n", left->instance, left->machine,
		       *reason ? ": " : "", reason);
	}
	for (char **route = record->unserved; route && *route; route++) {
		_cleanup_free_ char *safe = text_safe(*route);

		printf("unserved   %s\n", safe);
	}
	if (record->failure) {
		_cleanup_free_ char *message = text_safe(record->failure->message);
		_cleanup_free_ char *hint = text_safe(record->failure->hint);

		printf("failure    %s: %s%s%s\n", failure_code_names[record->failure->code],
		       message, *hint ? "; " : "", hint);
	}
	if (record->phase == DEPLOY_UNKNOWN)
		printf("next       ployzctl deploy attach %s\n", record->deploy);
	if (record->phase == DEPLOY_CLEANUP_PENDING)
		printf("next       ployzctl deploy sweep %s\n", record->ns);
}

static void print_record(const struct deploy *record)
{
	printf("deploy     %s\nnamespace  %s\nverb       %s\nphase      %s\n", record->deploy,
	       record->ns, record->verb ? record->verb : "-", deploy_phase_names[record->phase]);
	printf("who        %s from %s\n", record->operator_ ? record->operator_ : "-",
	       record->from ? record->from : "-");
	if (record->why)
		printf("why        %s\n", record->why);
	printf("executor   leased of machine %s, epoch %lld\n",
	       record->machine ? record->machine : "-", (long long)record->epoch);
	if (record->revision)
		printf("committed  revision %lld, sequence %lld\n", (long long)record->revision,
		       (long long)record->sequence);
	print_phases(record);
	print_rest(record);
}

static void on_shown(const struct failure *failure, const struct records *records, void *userdata)
{
	const struct listing *listing = userdata;
	struct ployzctl *ctl = listing->ctl;

	if (failure) {
		session_fail(ctl, failure);
		return;
	}
	print_errors(records);
	if (!records->count) {
		session_end(ctl, session_refuse(FAILURE_NOT_FOUND, "run `ployzctl deploy ls`",
						"cannot show deploy %s: there is no record of it",
						listing->deploy));
		return;
	}
	if (ctl->options.json)
		session_json(&deploy_schema, records->items[0]);
	else
		print_record(records->items[0]);
	session_end(ctl, EXIT_DONE);
}

int verb_deploy_show(struct ployzctl *ctl, int argc, char **argv)
{
	_cleanup_(strv_freep) char **words = NULL;
	struct listing listing = { .ctl = ctl };
	int code = arguments_take(ctl, "deploy show", NULL, NULL, NULL, argc, argv, 1, 1, &words);

	if (!code)
		code = deploy_argument(words[0]);
	if (!code)
		code = session_open(ctl);
	if (code)
		return MAX2(code, 0);
	listing.deploy = words[0];
	listing.read = records_read(ctl, NULL, words[0], on_shown, &listing);
	code = session_run(ctl);
	records_read_free(listing.read);
	return code;
}
