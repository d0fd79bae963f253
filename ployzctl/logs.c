/* logs: the output of services, from every machine that may run one of their instances. */
#include <inttypes.h>
#include <unistd.h>

#include "ployzctl/ployzctl.h"
#include "ployzctl/reading.h"

#define RENEW_USEC (10 * 1000000ull) /* agentd ends a stream that nobody asked for in 30 s */
#define FLUSH_USEC (1000000ull)
#define QUIET_TURNS 3 /* renewals without a line: the word that it ended was lost */

struct logs_options {
	bool follow;
	uint64_t since;
	int64_t tail;
};
static const struct config_row logs_rows[] = {
	{ "follow", CONFIG_BOOL, offsetof(struct logs_options, follow), NULL, NULL,
	  "go on as lines come (-f)", 0, 0 },
	{ "since", CONFIG_DURATION, offsetof(struct logs_options, since), NULL, "DURATION",
	  "not older than this: 10m", 0, 0 },
	{ "tail", CONFIG_INT, offsetof(struct logs_options, tail), "-1", "N",
	  "the last N lines of each instance; -1: all", -1, 1000000 },
	CONFIG_END,
};
static const struct short_option shorts[] = { { 'f', "follow" }, { 0, NULL } };

struct logs;

/* One service's output on one machine. */
struct part {
	struct logs *logs;
	struct wish *wish;
	char *machine;
	bool asked;    /* it has answered once */
	bool troubled; /* its last answer was a failure, and that was said */
	bool ended;
	unsigned quiet;	     /* renewals since its last line */
	uint64_t heard_usec; /* CLOCK_BOOTTIME of its last answer */
};
/* One service (or namespace) that was asked for: a stream of its own. */
struct wish {
	struct logs *logs;
	struct target target;
	char *id;
	struct part *parts;
	size_t n_parts;
};
struct logs {
	struct ployzctl *ctl;
	struct logs_options options;
	char **words;
	struct wish *wishes;
	size_t n_wishes;
	struct targets targets;
	struct timer *renew;
	size_t width; /* of the widest name so far */
	bool colours;
	bool namespaces; /* lines of more than one: each says whose it is */
	int code;
};

/* The same instance has the same colour on every day and every terminal. */
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
	/* A terminal obeys what it is sent; a file or a pipe gets every byte. */
	_cleanup_free_ char *text = logs->colours ? text_safe(line->message)
						  : xstrdup(line->message ? line->message : "");

	logs->width = MAX2(logs->width, strlen(name));
	if (logs->colours)
		printf("\033[%dm%-*s |\033[0m %s\n", colour(line->instance), (int)logs->width, name,
		       text);
	else
		printf("%-*s | %s\n", (int)logs->width, name, text);
}

static void end_when_all_have(struct logs *logs)
{
	for (size_t i = 0; i < logs->n_wishes; i++)
		for (size_t j = 0; j < logs->wishes[i].n_parts; j++)
			if (!logs->wishes[i].parts[j].ended)
				return;
	session_end(logs->ctl, logs->code);
}

static struct part *part_of(struct wish *wish, const char *machine)
{
	for (size_t i = 0; i < wish->n_parts; i++)
		if (streq(wish->parts[i].machine, machine))
			return &wish->parts[i];
	return NULL;
}

static void on_progress(const struct bus_message *message, void *userdata)
{
	struct wish *wish = userdata;
	struct logs *logs = wish->logs;
	_cleanup_(progress_freep) struct progress *progress = NULL;
	struct failure failure = FAILURE_INIT;
	struct part *part;

	if (codec_parse(&progress_schema, message->data, message->size, CODEC_LENIENT,
			(void **)&progress, &failure) < 0) {
		failure_clear(&failure);
		return;
	}
	part = part_of(wish, progress->machine);
	if (part)
		part->quiet = 0;
	if (progress->kind == PROGRESS_LINE) {
		if (logs->ctl->options.json)
			session_json(&progress_schema, progress);
		else
			print_line(logs, progress);
		/* Whoever read this has gone. */
		if (logs->options.follow && fflush(stdout) != 0)
			session_end(logs->ctl, EXIT_DONE);
	} else if (progress->kind == PROGRESS_END && part) {
		part->ended = true;
		end_when_all_have(logs);
	}
}

static void on_asked(const struct failure *failure, _unused_ void *answer, void *userdata)
{
	struct part *part = userdata;
	struct logs *logs = part->logs;

	if (!failure) {
		if (part->troubled)
			fprintf(stderr, "ployzctl: machine %s answers again\n", part->machine);
		part->asked = true;
		part->troubled = false;
		part->heard_usec = boot_now_usec();
		return;
	}
	if (!part->troubled)
		session_say(failure);
	part->troubled = true;
	logs->code = EXIT_NO;
	if (logs->options.follow)
		return;
	part->ended = true;
	end_when_all_have(logs);
}

static void ask(struct part *part)
{
	const struct logs *logs = part->logs;
	const struct wish *wish = part->wish;
	struct agent_logs request = {
		.stream = wish->id,
		.ns = wish->target.ns,
		.service = wish->target.service,
		.follow = logs->options.follow,
		.tail = logs->options.tail,
		.since_ms = logs->options.since ? (int64_t)(logs->options.since / 1000) : -1,
	};

	/* An agentd that has come back knows nothing of the stream: what it goes on with was not
	 * shown yet. */
	if (part->asked) {
		request.tail = -1;
		request.since_ms = (int64_t)((boot_now_usec() - part->heard_usec) / 1000);
	}
	bus_ask(logs->ctl->bus, SUBJECT_AGENT_LOGS, part->machine, &request, ASK_USEC, on_asked,
		part, NULL);
}

static void renew_part(struct part *part)
{
	if (part->ended)
		return;
	if (!part->logs->options.follow && ++part->quiet >= QUIET_TURNS) {
		fprintf(stderr, "ployzctl: machine %s went silent: its output may not be whole\n",
			part->machine);
		part->logs->code = EXIT_NO;
		part->ended = true;
		return;
	}
	ask(part);
}

static void renew(void *userdata)
{
	struct logs *logs = userdata;

	for (size_t i = 0; i < logs->n_wishes; i++)
		for (size_t j = 0; j < logs->wishes[i].n_parts; j++)
			renew_part(&logs->wishes[i].parts[j]);
	timer_arm(logs->renew, RENEW_USEC);
	end_when_all_have(logs);
}

/* What the heads name, and what runs without being named yet. */
static void gather_known(const struct snapshot *snapshot, struct targets *known)
{
	for (size_t i = 0; i < snapshot->n_heads; i++) {
		const struct head *head = snapshot->heads[i].head;

		for (size_t j = 0; j < head->n_services; j++)
			targets_add(known, head->ns, head->services[j].name);
	}
	for (size_t i = 0; i < snapshot->n_instances; i++)
		for (size_t j = 0; j < snapshot->instances[i]->n_instances; j++) {
			const struct instance *instance = &snapshot->instances[i]->instances[j];

			if (instance->state != INSTANCE_GONE)
				targets_add(known, instance->ns, instance->service);
		}
}

static int choose(struct logs *logs, const struct snapshot *snapshot, struct failure *failure)
{
	_cleanup_(targets_clear) struct targets known = { NULL, 0 };
	int r = 0;

	gather_known(snapshot, &known);
	for (char **word = logs->words; word && *word && r >= 0; word++)
		r = targets_find(&known, *word, &logs->targets, failure);
	for (size_t i = 1; i < logs->targets.count; i++)
		logs->namespaces |= !streq(logs->targets.items[i].ns, logs->targets.items[0].ns);
	return r;
}

static int open_wish(struct logs *logs, struct wish *wish, const struct target *target,
		     char *const *machines)
{
	_cleanup_free_ char *subject = NULL;

	wish->logs = logs;
	wish->target = *target; /* borrowed from logs->targets */
	wish->id = id_new();
	wish->n_parts = strv_count(machines);
	wish->parts = xcalloc(wish->n_parts + 1, sizeof(*wish->parts));
	for (size_t i = 0; i < wish->n_parts; i++)
		wish->parts[i] = (struct part){ .logs = logs,
						.wish = wish,
						.machine = xstrdup(machines[i]) };
	subject = subject_make(SUBJECT_PROGRESS, wish->id, NULL);
	return bus_subscribe(logs->ctl->bus, subject, on_progress, wish, NULL);
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
	logs->n_wishes = logs->targets.count;
	logs->wishes = xcalloc(logs->n_wishes, sizeof(*logs->wishes));
	for (size_t i = 0; i < logs->n_wishes; i++) {
		struct wish *wish = &logs->wishes[i];

		if (open_wish(logs, wish, &logs->targets.items[i], machines) < 0) {
			failure_set(&failure, FAILURE_UNREACHABLE, "ployzctl status",
				    "the local bus is not connected");
			session_fail(logs->ctl, &failure);
			return;
		}
		for (size_t j = 0; j < wish->n_parts; j++)
			ask(&wish->parts[j]);
	}
	timer_arm(logs->renew, RENEW_USEC);
	end_when_all_have(logs);
}

static void stop(const struct part *part)
{
	struct agent_logs request = { .stream = part->wish->id,
				      .ns = part->wish->target.ns,
				      .stop = true };
	_cleanup_free_ char *subject = subject_make(SUBJECT_AGENT_LOGS, part->machine, NULL);
	_cleanup_free_ char *text = codec_print(&agent_logs_schema, &request);

	bus_publish(part->logs->ctl->bus, subject, NULL, NULL, text, strlen(text));
}

/* What is followed on the machines ends there too, now and not in half a minute. The loop has
 * ended: nobody hears an answer, and none is asked for. */
static void stop_all(const struct logs *logs)
{
	for (size_t i = 0; i < logs->n_wishes; i++)
		for (size_t j = 0; j < logs->wishes[i].n_parts; j++)
			if (!logs->wishes[i].parts[j].ended)
				stop(&logs->wishes[i].parts[j]);
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

/* The connection may still hold subscriptions and requests that point here, but nothing is called
 * any more: the loop has ended, and the session's end cancels them unheard. */
static void logs_clear(struct logs *logs)
{
	for (size_t i = 0; i < logs->n_wishes; i++) {
		for (size_t j = 0; j < logs->wishes[i].n_parts; j++)
			free(logs->wishes[i].parts[j].machine);
		free(logs->wishes[i].parts);
		free(logs->wishes[i].id);
	}
	free(logs->wishes);
	targets_clear(&logs->targets);
}

int verb_logs(struct ployzctl *ctl, int argc, char **argv)
{
	_cleanup_(strv_freep) char **words = NULL;
	struct logs logs = { .ctl = ctl };
	int code = arguments_take(ctl, "logs", logs_rows, shorts, &logs.options, argc, argv, 1,
				  SIZE_MAX, &words);

	if (!code) {
		logs.words = words;
		code = stream(&logs);
	}
	logs_clear(&logs);
	config_clear(logs_rows, &logs.options);
	return MAX2(code, 0);
}
