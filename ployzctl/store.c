/* `ployzctl store usage|compact|accept`: the bytes of the store, and an operator's decisions about
 * its entries. */
#include <inttypes.h>

#include "ployzctl/ployzctl.h"

#define COMPACT_KEEP "16"
/* Lowering and restoring a limit updates each stream on each replica and every local mirror. */
#define STORE_CHANGE_USEC (60 * 1000000ull)

struct store_options {
	int64_t keep;
	bool yes;
	bool force;
	char *why;
};
struct store_task {
	struct ployzctl *ctl;
	struct store_options options;
};

/* --- usage */

static void print_streams(const struct store_usage *usage)
{
	static const char *const heading[] = { "STREAM",   "BYTES",	    "LIMIT",	"USED",
					       "MESSAGES", "LAST-SEQUENCE", "REPLICAS", NULL };
	struct table table;

	table_init(&table, heading);
	for (size_t i = 0; i < usage->n_streams; i++) {
		const struct stream_usage *stream = &usage->streams[i];
		_cleanup_free_ char *bytes = size_human(stream->bytes);
		_cleanup_free_ char *limit =
			stream->max_bytes ? size_human(stream->max_bytes) : NULL;
		_cleanup_free_ char *used =
			stream->max_bytes ? xasprintf("%" PRIu64 " %%%s",
						      stream->bytes * 100 / stream->max_bytes,
						      stream->alarm ? ", nearly full" : "")
					  : NULL;
		_cleanup_free_ char *messages = xasprintf("%" PRId64, stream->messages);
		_cleanup_free_ char *last = xasprintf("%" PRId64, stream->last_sequence);
		_cleanup_free_ char *replicas = xasprintf("%" PRId64, stream->replicas);

		table_row(&table, stream->stream, bytes, limit, used, messages, last, replicas);
	}
	table_print(&table);
	table_clear(&table);
}

static void print_namespaces(const struct store_usage *usage)
{
	static const char *const heading[] = { "NAMESPACE", "BYTES", "MESSAGES",
					       "ROUTES",    "SLOTS", NULL };
	struct table table;

	table_init(&table, heading);
	for (size_t i = 0; i < usage->n_namespaces; i++) {
		const struct namespace_usage *ns = &usage->namespaces[i];
		_cleanup_free_ char *bytes = size_human(ns->bytes);
		_cleanup_free_ char *messages = xasprintf("%" PRId64, ns->messages);
		_cleanup_free_ char *routes = xasprintf("%" PRId64, ns->routes);
		_cleanup_free_ char *slots = xasprintf("%" PRId64, ns->slots);

		table_row(&table, ns->ns, bytes, messages, routes, slots);
	}
	table_print(&table);
	table_clear(&table);
}

static int report_alarms(const struct store_usage *usage)
{
	int code = EXIT_DONE;

	for (size_t i = 0; i < usage->n_streams; i++)
		if (usage->streams[i].alarm)
			code = session_refuse(FAILURE_NOT_READY, "run `ployzctl store compact`",
					      "stream %s at 80 %% of its limit or more",
					      usage->streams[i].stream);
	return code;
}

static void on_usage(const struct failure *failure, void *answer, void *userdata)
{
	struct ployzctl *ctl = userdata;
	const struct store_usage *usage = answer;

	if (failure) {
		session_fail(ctl, failure);
		return;
	}
	if (ctl->options.json) {
		session_json(&store_usage_schema, usage);
	} else {
		printf("generation %" PRId64 "\n", usage->generation);
		print_streams(usage);
		print_namespaces(usage);
	}
	session_end(ctl, report_alarms(usage));
}

int verb_store_usage(struct ployzctl *ctl, int argc, char **argv)
{
	_cleanup_(strv_freep) char **words = NULL;
	int code = arguments_take(ctl, "store usage", NULL, NULL, NULL, argc, argv, 0, 0, &words);

	if (!code)
		code = session_open(ctl);
	if (code)
		return MAX2(code, 0);
	bus_ask(ctl->bus, SUBJECT_STORE_USAGE, ctl->machine, NULL, STORE_CHANGE_USEC, on_usage, ctl,
		NULL);
	return session_run(ctl);
}

/* --- compact */

static const struct config_row compact_rows[] = {
	{ "keep", CONFIG_INT, offsetof(struct store_options, keep), COMPACT_KEEP, "N",
	  "entries of each subject that stay", 1, 256 },
	{ "yes", CONFIG_BOOL, offsetof(struct store_options, yes), NULL, NULL, "do not ask", 0, 0 },
	CONFIG_END,
};

static void on_compacted(const struct failure *failure, void *answer, void *userdata)
{
	const struct store_task *task = userdata;
	const struct store_compacted *compacted = answer;

	if (failure) {
		session_fail(task->ctl, failure);
		return;
	}
	if (task->ctl->options.json) {
		session_json(&store_compacted_schema, compacted);
	} else {
		_cleanup_free_ char *before = size_human(compacted->bytes_before);
		_cleanup_free_ char *after = size_human(compacted->bytes_after);

		printf("store: %s in %" PRId64 " messages before, %s in %" PRId64 " now\n", before,
		       compacted->messages_before, after, compacted->messages_after);
	}
	session_end(task->ctl, EXIT_DONE);
}

static int compact(struct store_task *task)
{
	_cleanup_free_ char *question =
		xasprintf("Drop all but the last %" PRId64 " entries of each subject? Older "
			  "revisions can then neither be shown nor be rolled back to.",
			  task->options.keep);
	_cleanup_free_ char *operator_ = session_operator();
	const struct store_compact_request request = { .keep = task->options.keep,
						       .operator_ = operator_ };
	int code = EXIT_DONE;

	if (!session_confirm(task->options.yes, question, "drop entries of the store", &code))
		return code;
	code = session_open(task->ctl);
	if (code)
		return code;
	bus_ask(task->ctl->bus, SUBJECT_STORE_COMPACT, task->ctl->machine, &request,
		STORE_CHANGE_USEC, on_compacted, task, NULL);
	return session_run(task->ctl);
}

int verb_store_compact(struct ployzctl *ctl, int argc, char **argv)
{
	_cleanup_(strv_freep) char **words = NULL;
	struct store_task task = { .ctl = ctl };
	int code = arguments_take(ctl, "store compact", compact_rows, NULL, &task.options, argc,
				  argv, 0, 0, &words);

	if (!code)
		code = compact(&task);
	config_clear(compact_rows, &task.options);
	return MAX2(code, 0);
}

/* --- accept */

static const struct config_row accept_rows[] = {
	{ "force", CONFIG_BOOL, offsetof(struct store_options, force), NULL, NULL,
	  "also if meshd sees no error in it", 0, 0 },
	{ "yes", CONFIG_BOOL, offsetof(struct store_options, yes), NULL, NULL, "do not ask", 0, 0 },
	{ "why", CONFIG_STRING, offsetof(struct store_options, why), NULL, "TEXT",
	  "the reason, for the log of meshd", 0, 0 },
	CONFIG_END,
};

static void on_accept(const struct failure *failure, void *answer, void *userdata)
{
	const struct store_task *task = userdata;
	const struct store_accepted *accepted = answer;

	if (failure) {
		session_fail(task->ctl, failure);
		return;
	}
	if (task->ctl->options.json)
		session_json(&store_accepted_schema, accepted);
	else
		printf("store accepted as generation %" PRId64 "\n", accepted->generation);
	session_end(task->ctl, EXIT_DONE);
}

static int accept_store(struct store_task *task)
{
	static const char question[] =
		"The store has fewer entries than this cluster has seen. Gateways, resolvers and "
		"deploys still work with the last known state.\n"
		"After this command the cluster uses the entries of this store only: entries that "
		"it lacks are dropped, and routes and names that it lacks are no longer served.\n"
		"Restore the store from a backup or a local mirror instead, if there is one.\n"
		"Accept the store as it is?";
	_cleanup_free_ char *operator_ = session_operator();
	const struct store_accept_request request = { .operator_ = operator_,
						      .why = task->options.why,
						      .force = task->options.force };
	int code = EXIT_DONE;

	if (!session_confirm(task->options.yes, question, "accept the store", &code))
		return code;
	code = session_open(task->ctl);
	if (code)
		return code;
	bus_ask(task->ctl->bus, SUBJECT_STORE_ACCEPT, task->ctl->machine, &request,
		STORE_CHANGE_USEC, on_accept, task, NULL);
	return session_run(task->ctl);
}

int verb_store_accept(struct ployzctl *ctl, int argc, char **argv)
{
	_cleanup_(strv_freep) char **words = NULL;
	struct store_task task = { .ctl = ctl };
	int code = arguments_take(ctl, "store accept", accept_rows, NULL, &task.options, argc, argv,
				  0, 0, &words);

	if (!code)
		code = accept_store(&task);
	config_clear(accept_rows, &task.options);
	return MAX2(code, 0);
}
