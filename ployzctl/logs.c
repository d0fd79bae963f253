/* `ployzctl logs`: the output of services, from every machine that may run one of their instances.
 */
#include <inttypes.h>
#include <unistd.h>

#include "ployzctl/ployzctl.h"
#include "ployzctl/pure.h"

#define RENEW_USEC (10 * 1000000ull) /* agentd ends a stream 30 s after its last request */
#define FLUSH_USEC (1000000ull)
#define QUIET_TURNS 3 /* renewals without a line: the event of its end was lost */

struct logs_options {
	bool follow;
	uint64_t since;
	int64_t tail;
};
static const struct config_row logs_rows[] = {
	{ "follow", CONFIG_BOOL, offsetof(struct logs_options, follow), NULL, NULL,
	  "continue as lines arrive (-f)", 0, 0 },
	{ "since", CONFIG_DURATION, offsetof(struct logs_options, since), NULL, "DURATION",
	  "not older than this: 10m", 0, 0 },
	{ "tail", CONFIG_INT, offsetof(struct logs_options, tail), "-1", "N",
	  "the last N lines of each instance; -1: all", -1, 1000000 },
	CONFIG_END,
};
static const struct short_option shorts[] = { { 'f', "follow" }, { 0, NULL } };

struct logs;

/* One service's output on one machine. */
struct source {
	struct logs *logs;
	struct output *output;
	char *machine;
	bool answered; /* it has answered once */
	bool failing;  /* its last answer was a failure, which was printed */
	bool ended;
	unsigned quiet;		/* renewals since its last line */
	uint64_t answered_usec; /* CLOCK_BOOTTIME of its last answer */
};
/* One service (or namespace) that was asked for: a stream of its own. */
struct output {
	struct logs *logs;
	struct target target;
	char *id;
	struct source *sources;
	size_t n_sources;
};
struct logs {
	struct ployzctl *ctl;
	struct logs_options options;
	char **names; /* of the targets */
	struct output *outputs;
	size_t n_outputs;
	struct targets targets;
	struct timer *renew;
	size_t width; /* of the widest name so far */
	bool colours;
	bool namespaces; /* of more than one: each line names its namespace */
	int code;
};

/* An instance has the same colour in every run. */
static int colour(const char *instance)
{
	static const int colours[] = { 31, 32, 33, 34, 35, 36, 91, 92, 93, 94, 95, 96 };
	uint32_t hash = 2166136261u;

	for (const unsigned char *p = (const unsigned char *)instance; p && *p; p++)
		hash = (hash ^ *p) * 16777619u;
	return colours[hash % ARRAY_SIZE(colours)];
}

static void print_line(struct logs *logs, const struct progress *line)
{
	_cleanup_free_ char *name = xasprintf("%s%s%s/%" PRId64, logs->namespaces ? line->ns : "",
					      logs->namespaces ? "/" : "",
					      line->service ? line->service : "?", line->slot);
	/* Control characters are kept off a terminal; a file or a pipe gets every byte. */
	_cleanup_free_ char *text = logs->colours ? text_safe(line->message)
						  : xstrdup(line->message ? line->message : "");

	logs->width = MAX2(logs->width, strlen(name));
	if (logs->colours)
		printf("\033[%dm%-*s |\033[0m %s\n", colour(line->instance), (int)logs->width, name,
		       text);
	else
		printf("%-*s | %s\n", (int)logs->width, name, text);
}

static void end_when_all_ended(struct logs *logs)
{
	for (size_t i = 0; i < logs->n_outputs; i++)
		for (size_t j = 0; j < logs->outputs[i].n_sources; j++)
			if (!logs->outputs[i].sources[j].ended)
				return;
	session_end(logs->ctl, logs->code);
}

static struct source *source_of(struct output *output, const char *machine)
{
	for (size_t i = 0; i < output->n_sources; i++)
		if (streq(output->sources[i].machine, machine))
			return &output->sources[i];
	return NULL;
}

static void on_progress(const struct bus_message *message, void *userdata)
{
	struct output *output = userdata;
	struct logs *logs = output->logs;
	_cleanup_(progress_freep) struct progress *progress = NULL;
	struct failure failure = FAILURE_INIT;
	struct source *source;

	if (codec_parse(&progress_schema, message->data, message->size, CODEC_LENIENT,
			(void **)&progress, &failure) < 0) {
		failure_clear(&failure);
		return;
	}
	source = source_of(output, progress->machine);
	if (source)
		source->quiet = 0;
	if (progress->kind == PROGRESS_LINE) {
		if (logs->ctl->options.json)
			session_json(&progress_schema, progress);
		else
			print_line(logs, progress);
		/* The process that reads the output has ended. */
		if (logs->options.follow && fflush(stdout) != 0)
			session_end(logs->ctl, EXIT_DONE);
	} else if (progress->kind == PROGRESS_END && source) {
		source->ended = true;
		end_when_all_ended(logs);
	}
}

static void on_answered(const struct failure *failure, _unused_ void *answer, void *userdata)
{
	struct source *source = userdata;
	struct logs *logs = source->logs;

	if (!failure) {
		if (source->failing)
			fprintf(stderr, "ployzctl: machine %s answers again\n", source->machine);
		source->answered = true;
		source->failing = false;
		source->answered_usec = boot_now_usec();
		return;
	}
	if (!source->failing)
		session_report(failure);
	source->failing = true;
	logs->code = EXIT_NO;
	if (logs->options.follow)
		return;
	source->ended = true;
	end_when_all_ended(logs);
}

static void request_lines(struct source *source)
{
	const struct logs *logs = source->logs;
	const struct output *output = source->output;
	struct agent_logs request = {
		.stream = output->id,
		.ns = output->target.ns,
		.service = output->target.service,
		.follow = logs->options.follow,
		.tail = logs->options.tail,
		.since_ms = logs->options.since ? (int64_t)(logs->options.since / 1000) : -1,
	};

	/* A restarted agentd has no such stream: requests the lines that were not shown yet. */
	if (source->answered) {
		request.tail = -1;
		request.since_ms = (int64_t)((boot_now_usec() - source->answered_usec) / 1000);
	}
	bus_ask(logs->ctl->bus, SUBJECT_AGENT_LOGS, source->machine, &request, REQUEST_USEC,
		on_answered, source, NULL);
}

static void renew_source(struct source *source)
{
	if (source->ended)
		return;
	if (!source->logs->options.follow && ++source->quiet >= QUIET_TURNS) {
		session_refuse(FAILURE_TIMEOUT, "run `ployzctl logs` again",
			       "cannot show all output of machine %s: its stream stopped",
			       source->machine);
		source->logs->code = EXIT_NO;
		source->ended = true;
		return;
	}
	request_lines(source);
}

static void renew(void *userdata)
{
	struct logs *logs = userdata;

	for (size_t i = 0; i < logs->n_outputs; i++)
		for (size_t j = 0; j < logs->outputs[i].n_sources; j++)
			renew_source(&logs->outputs[i].sources[j]);
	timer_arm(logs->renew, RENEW_USEC);
	end_when_all_ended(logs);
}

/* Services that the heads name, and those of instances that no head names yet. */
static void gather_known(const struct snapshot *snapshot, struct targets *known)
{
	for (size_t i = 0; i < snapshot->n_heads; i++) {
		const struct head *head = snapshot->heads[i].head;

		for (size_t j = 0; j < head->n_services; j++)
			targets_add(known, head->ns, head->services[j].name);
	}
	for (size_t i = 0; i < snapshot->n_instances; i++)
		for (size_t j = 0; j < snapshot->instances[i].list->n_instances; j++) {
			const struct instance *instance =
				&snapshot->instances[i].list->instances[j];

			if (instance->state != INSTANCE_GONE)
				targets_add(known, instance->ns, instance->service);
		}
}

static int choose(struct logs *logs, const struct snapshot *snapshot, struct failure *failure)
{
	_cleanup_(targets_clear) struct targets known = { NULL, 0 };
	int r = 0;

	gather_known(snapshot, &known);
	for (char **name = logs->names; name && *name && r >= 0; name++)
		r = targets_find(&known, *name, &logs->targets, failure);
	for (size_t i = 1; i < logs->targets.count; i++)
		logs->namespaces |= !streq(logs->targets.items[i].ns, logs->targets.items[0].ns);
	return r;
}

static int open_output(struct logs *logs, struct output *output, const struct target *target,
		       char *const *machines)
{
	_cleanup_free_ char *subject = NULL;

	output->logs = logs;
	output->target = *target; /* borrowed from logs->targets */
	output->id = id_new();
	output->n_sources = strv_count(machines);
	output->sources = xcalloc(output->n_sources + 1, sizeof(*output->sources));
	for (size_t i = 0; i < output->n_sources; i++)
		output->sources[i] = (struct source){ .logs = logs,
						      .output = output,
						      .machine = xstrdup(machines[i]) };
	subject = subject_make(SUBJECT_PROGRESS, output->id, NULL);
	return bus_subscribe(logs->ctl->bus, subject, on_progress, output, NULL);
}

static void on_snapshot(const struct snapshot *snapshot, void *userdata)
{
	struct logs *logs = userdata;
	_cleanup_(strv_freep) char **machines = snapshot_machines(snapshot);
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;

	if (choose(logs, snapshot, &failure) < 0) {
		session_fail(logs->ctl, &failure);
		return;
	}
	logs->n_outputs = logs->targets.count;
	logs->outputs = xcalloc(logs->n_outputs, sizeof(*logs->outputs));
	for (size_t i = 0; i < logs->n_outputs; i++) {
		struct output *output = &logs->outputs[i];

		if (open_output(logs, output, &logs->targets.items[i], machines) < 0) {
			failure_set(&failure, FAILURE_UNREACHABLE, "run `ployzctl status`",
				    "cannot subscribe to output: the local bus is not connected");
			session_fail(logs->ctl, &failure);
			return;
		}
		for (size_t j = 0; j < output->n_sources; j++)
			request_lines(&output->sources[j]);
	}
	timer_arm(logs->renew, RENEW_USEC);
	end_when_all_ended(logs);
}

static void stop(const struct source *source)
{
	struct agent_logs request = { .stream = source->output->id,
				      .ns = source->output->target.ns,
				      .stop = true };
	_cleanup_free_ char *subject = subject_make(SUBJECT_AGENT_LOGS, source->machine, NULL);
	_cleanup_free_ char *text = codec_print(&agent_logs_schema, &request);

	bus_publish(source->logs->ctl->bus, subject, NULL, NULL, text, strlen(text));
}

/* Ends the streams on their machines now rather than after 30 s. No answer is requested: the loop
 * has ended. */
static void stop_all(const struct logs *logs)
{
	for (size_t i = 0; i < logs->n_outputs; i++)
		for (size_t j = 0; j < logs->outputs[i].n_sources; j++)
			if (!logs->outputs[i].sources[j].ended)
				stop(&logs->outputs[i].sources[j]);
	bus_flush(logs->ctl->bus, FLUSH_USEC);
}

static void on_interrupt(void *userdata)
{
	struct logs *logs = userdata;

	stop_all(logs);
	session_end(logs->ctl, logs->options.follow ? EXIT_DONE : EXIT_NO);
}

static int stream(struct logs *logs)
{
	struct ployzctl *ctl = logs->ctl;
	int code = session_open(ctl);

	if (code)
		return code;
	ctl->interrupted = on_interrupt;
	ctl->interrupted_data = logs;
	logs->colours = isatty(STDOUT_FILENO) && !getenv("NO_COLOR");
	logs->renew = timer_new(ctl->loop, renew, logs);
	snapshot_read(ctl, on_snapshot, logs);
	code = session_run(ctl);
	timer_free(logs->renew);
	return code;
}

/* Subscriptions and requests of the connection may still point here, but the loop has ended, and
 * session_close cancels them without calling back. */
static void logs_clear(struct logs *logs)
{
	for (size_t i = 0; i < logs->n_outputs; i++) {
		for (size_t j = 0; j < logs->outputs[i].n_sources; j++)
			free(logs->outputs[i].sources[j].machine);
		free(logs->outputs[i].sources);
		free(logs->outputs[i].id);
	}
	free(logs->outputs);
	targets_clear(&logs->targets);
}

int verb_logs(struct ployzctl *ctl, int argc, char **argv)
{
	_cleanup_(strv_freep) char **words = NULL;
	struct logs logs = { .ctl = ctl };
	int code = arguments_take(ctl, "logs", logs_rows, shorts, &logs.options, argc, argv, 1,
				  SIZE_MAX, &words);

	if (!code) {
		logs.names = words;
		code = stream(&logs);
	}
	logs_clear(&logs);
	config_clear(logs_rows, &logs.options);
	return MAX2(code, 0);
}
