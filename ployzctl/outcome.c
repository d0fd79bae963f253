/* Outcome: the report and exit code of an ended deploy, and its outcome by the log if its leased
 * ended before it could report. */
#include "ployzctl/ployzctl.h"
#include "ployzctl/pure.h"

/* --- from the log */

void outcome_log_add(struct outcome_log *log, const struct head *head, uint64_t sequence)
{
	if (!log->first)
		log->first = sequence;
	if (head->revision && streq(head->deploy, log->deploy))
		log->found = OUTCOME_COMMITTED;
	if (log->found == OUTCOME_COMMITTED)
		return;
	if (head->open && streq(head->open->deploy, log->deploy))
		log->found = OUTCOME_OPEN;
	else if (log->found == OUTCOME_OPEN || streq(head->writer, log->deploy))
		log->found = OUTCOME_CLOSED;
}

/* An entry after the opening one decides. A deploy without an opening entry cannot commit; but when
 * its record names one that the log does not have, nothing is certain. */
enum outcome_found outcome_log_result(const struct outcome_log *log, uint64_t opened)
{
	if (log->found == OUTCOME_ABSENT && opened && log->first != opened)
		return OUTCOME_OPEN;
	return log->found;
}

/* --- the report */

static char *duration_of(const struct deploy *record)
{
	int64_t ms = record->n_phases ? record->phases[record->n_phases - 1].elapsed_ms : 0;

	return duration_human((uint64_t)ms * 1000);
}

static void print_phases(FILE *to, const struct deploy *record)
{
	for (size_t i = 0; i + 1 < record->n_phases; i++) {
		int64_t ms = record->phases[i + 1].elapsed_ms - record->phases[i].elapsed_ms;
		_cleanup_free_ char *time = duration_human((uint64_t)MAX2(ms, (int64_t)0) * 1000);

		fprintf(to, "  %-12s %s\n", deploy_phase_names[record->phases[i].phase], time);
	}
}

static int report_failure(const struct deploy *record)
{
	static const char *const states[] = {
		[DEPLOY_FAILED] = "failed before the commit, nothing changed",
		[DEPLOY_CLEANUP_PENDING] = "committed, clean-up pending",
		[DEPLOY_REFUSED] = "refused, nothing changed",
		[DEPLOY_UNKNOWN] = "outcome unknown",
	};
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;
	_cleanup_free_ char *next = NULL;
	const char *state = states[record->phase];
	int code;

	if (record->failure)
		error_to_failure(record->failure, &failure);
	/* A sweep, which commits nothing. */
	if (record->phase == DEPLOY_FAILED && failure.code == FAILURE_CLEANUP_PENDING)
		state = "did not finish the clean-up";
	if (record->phase == DEPLOY_UNKNOWN)
		next = xasprintf("run `ployzctl deploy attach %s`", record->deploy);
	else if (failure.code == FAILURE_CLEANUP_PENDING || record->phase == DEPLOY_CLEANUP_PENDING)
		next = xasprintf("run `ployzctl deploy sweep %s`", record->ns);
	code = session_refuse(failure.code ? (enum failure_code)failure.code : FAILURE_FAILED,
			      next ? next : failure.hint, "deploy %s of namespace %s %s: %s",
			      record->deploy, record->ns, state,
			      failure.message ? failure.message : "no reason given");
	switch ((enum deploy_phase)record->phase) {
	case DEPLOY_UNKNOWN:
		return EXIT_UNKNOWN;
	case DEPLOY_CLEANUP_PENDING:
		return EXIT_CLEANUP_PENDING;
	case DEPLOY_FAILED:
		return code == EXIT_NO_QUORUM || code == EXIT_CLEANUP_PENDING ? code : EXIT_FAILED;
	default:
		return code;
	}
}

static void report_done(FILE *to, const struct deploy *record)
{
	_cleanup_free_ char *time = duration_of(record);
	const char *note = record->n_phases ? record->phases[record->n_phases - 1].note : NULL;

	if (streq(record->verb, "sweep"))
		fprintf(to, "sweep %s of namespace %s: %s\n", record->deploy, record->ns,
			note ? note : "done");
	else if (!record->revision || !record->changed)
		fprintf(to, "deploy %s of namespace %s: nothing to change\n", record->deploy,
			record->ns);
	else
		fprintf(to,
			"deploy %s of namespace %s: committed revision %lld (sequence %lld) in "
			"%s\n",
			record->deploy, record->ns, (long long)record->revision,
			(long long)record->sequence, time);
}

static int report_left(const struct deploy *record, int code)
{
	_cleanup_free_ char *hint = xasprintf("run `ployzctl deploy sweep %s`", record->ns);
	_cleanup_(strbuf_clear) struct strbuf text = STRBUF_INIT;

	if (!record->n_left)
		return code;
	for (size_t i = 0; i < record->n_left; i++) {
		const struct left *left = &record->left[i];

		strbuf_printf(&text, "\n%s on machine %s%s%s", left->instance, left->machine,
			      left->reason ? ": " : "", left->reason ? left->reason : "");
	}
	session_refuse(FAILURE_CLEANUP_PENDING, hint,
		       "%zu instance%s of namespace %s not removed%s", record->n_left,
		       record->n_left == 1 ? "" : "s", record->ns, text.text);
	return code == EXIT_DONE ? EXIT_CLEANUP_PENDING : code;
}

static int report_unserved(const struct deploy *record, int code)
{
	_cleanup_(strbuf_clear) struct strbuf text = STRBUF_INIT;
	size_t n = strv_count(record->unserved);

	if (!n)
		return code;
	for (char **route = record->unserved; *route; route++)
		strbuf_printf(&text, "\n%s", *route);
	session_refuse(FAILURE_NOT_READY, "run `ployzctl route ls`",
		       "%zu route%s of namespace %s not served%s", n, n == 1 ? "" : "s", record->ns,
		       text.text);
	return code == EXIT_DONE ? EXIT_NO : code;
}

int outcome_report(FILE *to, const struct deploy *record, bool verbose)
{
	int code = EXIT_DONE;

	if (record->phase == DEPLOY_DONE)
		report_done(to, record);
	else
		code = report_failure(record);
	code = report_left(record, code);
	code = report_unserved(record, code);
	if (verbose)
		print_phases(to, record);
	return code;
}
