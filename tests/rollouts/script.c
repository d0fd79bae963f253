#include "tests/rollouts/script.h"

#include <stdio.h>

#include "lib/str.h"

#define OPENED 5 /* sequence of the opening entry */
#define SECOND 1000000ull

struct script {
	struct rollout *rollout;
	uint64_t now;
	char **commands; /* sent, and not matched by a line yet */
	char **notes;
	char **members;
	bool members_live, members_checking;
	struct rpc *waiting[64];
	size_t n_waiting;
	struct store_read *reading;
	char *read_subject;
	struct store_write *writing;
	int nonces;
	bool entered; /* a phase was entered: before, nothing is polled */
	char *wrong;
};

static struct script *of(const struct rollout *r)
{
	return r->userdata;
}

static void _printf_(2, 3) sent(struct script *s, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	strv_push(&s->commands, xvasprintf(format, args));
	va_end(args);
}

static void _printf_(2, 3) wrong(struct script *s, const char *format, ...)
{
	va_list args;

	if (s->wrong)
		return;
	va_start(args, format);
	s->wrong = xvasprintf(format, args);
	va_end(args);
}

/* --- ops */

static void ask(struct rpc *rpc, const void *request, uint64_t timeout_usec)
{
	struct script *s = of(rpc->rollout);
	_cleanup_free_ char *text = codec_print(subjects[rpc->subject].request, request);

	(void)timeout_usec;
	sent(s, "%s %s.%s %s", rpc->machine, subjects[rpc->subject].owner,
	     subject_verb(rpc->subject), text);
	rpc->handle = s;
	s->waiting[s->n_waiting++] = rpc;
}

static void cancel_rpc(struct rpc *rpc)
{
	struct script *s = of(rpc->rollout);
	size_t kept = 0;

	for (size_t i = 0; i < s->n_waiting; i++)
		if (s->waiting[i] != rpc)
			s->waiting[kept++] = s->waiting[i];
	s->n_waiting = kept;
}

static void begin_read(struct store_read *read, const char *what, const char *subject)
{
	struct script *s = of(read->rollout);

	sent(s, "read %s", what);
	s->reading = read;
	free(s->read_subject);
	s->read_subject = xstrdup(subject);
}

static void read_last(struct store_read *read, const char *stream, const char *subject)
{
	_cleanup_free_ char *what = xasprintf("last %s %s", stream, subject);

	begin_read(read, what, subject);
}

static void read_at(struct store_read *read, const char *stream, uint64_t sequence)
{
	_cleanup_free_ char *what = xasprintf("at %s %llu", stream, (unsigned long long)sequence);

	begin_read(read, what, "ployz.v1.manifest.shop");
}

static void read_next(struct store_read *read, const char *subject, uint64_t after)
{
	_cleanup_free_ char *what = xasprintf("next %s %llu", subject, (unsigned long long)after);

	begin_read(read, what, subject);
}

static void read_history(struct store_read *read, const char *subject)
{
	_cleanup_free_ char *what = xasprintf("history %s", subject);

	begin_read(read, what, subject);
}

static void read_claims(struct store_read *read)
{
	begin_read(read, "claims", NULL);
}

static void cancel_read(struct store_read *read)
{
	of(read->rollout)->reading = NULL;
}

static void append(struct store_write *write, const struct store_append *a)
{
	struct script *s = of(write->rollout);

	sent(s, "append %s %s %llu %s", a->stream, a->subject, (unsigned long long)a->expected,
	     a->text);
	s->writing = write;
}

static void cancel_write(struct store_write *write)
{
	of(write->rollout)->writing = NULL;
}

static void lease_take(struct rollout *r)
{
	sent(of(r), "lease take");
}

static void lease_raise(struct rollout *r, int64_t above)
{
	sent(of(r), "lease raise above %lld", (long long)above);
}

static void lease_release(struct rollout *r)
{
	sent(of(r), "lease release");
}

static bool checking(struct rollout *r)
{
	return of(r)->members_checking;
}

static bool members(struct rollout *r, char ***ret)
{
	*ret = strv_copy(of(r)->members);
	return of(r)->members_live;
}

static void progress(struct rollout *r, struct progress *p)
{
	if (p->kind == PROGRESS_NOTE)
		strv_push(&of(r)->notes, xstrdup(p->message));
}

static void record(_unused_ struct rollout *r, _unused_ bool final)
{
}

static void close_record(struct rollout *r, const char *deploy, enum deploy_phase phase,
			 const char *note)
{
	sent(of(r), "close %s %s %s", deploy, deploy_phase_names[phase], note);
}

static char *nonce(struct rollout *r)
{
	return xasprintf("n%d", ++of(r)->nonces);
}

static char *now_text(_unused_ struct rollout *r)
{
	return xstrdup("2026-01-01T00:00:00.000Z");
}

static void schedule(_unused_ struct rollout *r)
{
}

static const struct rollout_ops ops = {
	.ask = ask,
	.cancel_rpc = cancel_rpc,
	.read_last = read_last,
	.read_at = read_at,
	.read_next = read_next,
	.read_history = read_history,
	.read_claims = read_claims,
	.cancel_read = cancel_read,
	.append = append,
	.cancel_write = cancel_write,
	.lease_take = lease_take,
	.lease_raise = lease_raise,
	.lease_release = lease_release,
	.checking = checking,
	.members = members,
	.progress = progress,
	.record = record,
	.close_record = close_record,
	.nonce = nonce,
	.now_text = now_text,
	.schedule = schedule,
};

/* --- lines */

static void *decode(struct script *s, const struct codec_schema *schema, const char *text)
{
	struct failure failure = FAILURE_INIT;
	void *object = NULL;

	if (codec_parse(schema, text, strlen(text), CODEC_LENIENT, &object, &failure) < 0)
		wrong(s, "bad JSON for %s: %s %s: %s", schema->name,
		      failure.path ? failure.path : "", failure.message, text);
	failure_clear(&failure);
	return object;
}

static void poll_rollout(struct script *s)
{
	if (s->entered)
		rollout_poll(s->rollout, s->now);
}

static struct rpc *take_rpc(struct script *s, const char *machine, const char *verb)
{
	for (size_t i = 0; i < s->n_waiting; i++) {
		struct rpc *rpc = s->waiting[i];

		if (!streq(rpc->machine, machine) || !streq(subject_verb(rpc->subject), verb))
			continue;
		memmove(s->waiting + i, s->waiting + i + 1,
			(--s->n_waiting - i) * sizeof(struct rpc *));
		return rpc;
	}
	wrong(s, "no request of %s to %s is on its way", verb, machine);
	return NULL;
}

static int code_of(const char *name)
{
	for (int i = 0; failure_code_names[i]; i++)
		if (streq(failure_code_names[i], name))
			return i;
	return FAILURE_BUG;
}

/* Cuts the first word off a line. */
static char *word(char **line)
{
	char *start = *line + strspn(*line, " ");
	size_t length = strcspn(start, " ");

	*line = start + length;
	if (**line)
		*(*line)++ = '\0';
	return start;
}

static void line_answer(struct script *s, char *line)
{
	const char *machine = word(&line), *verb = word(&line);
	struct rpc *rpc = take_rpc(s, machine, verb);
	void *answer = rpc ? decode(s, subjects[rpc->subject].reply, line) : NULL;

	if (answer)
		rpc_answer(rpc, NULL, answer);
	poll_rollout(s);
}

static void line_fail(struct script *s, char *line)
{
	const char *machine = word(&line), *verb = word(&line), *code = word(&line);
	struct rpc *rpc = take_rpc(s, machine, verb);
	struct failure failure = FAILURE_INIT;

	failure_set(&failure, (enum failure_code)code_of(code), NULL, "%s",
		    *line ? line : "no answer");
	if (rpc)
		rpc_answer(rpc, &failure, NULL);
	failure_clear(&failure);
	poll_rollout(s);
}

static void line_read(struct script *s, char *line)
{
	struct store_read *read = s->reading;

	if (!read) {
		wrong(s, "no read is on its way");
		return;
	}
	s->reading = NULL;
	/* Entries are separated by ` ;; `; those of claims name their subject first. */
	while (*line) {
		char *end = strstr(line, " ;; "), *next = end ? end + 4 : line + strlen(line);
		const char *subject = s->read_subject;
		uint64_t sequence;

		if (end)
			*end = '\0';
		sequence = strtoull(word(&line), NULL, 10);
		if (!subject)
			subject = word(&line);
		read_add(read, subject, sequence, line, strlen(line));
		line = next;
	}
	read_done(read, NULL);
	poll_rollout(s);
}

static void line_read_fails(struct script *s, char *line)
{
	struct failure failure = FAILURE_INIT;
	struct store_read *read = s->reading;

	if (!read) {
		wrong(s, "no read is on its way");
		return;
	}
	s->reading = NULL;
	failure_set(&failure, (enum failure_code)code_of(word(&line)), NULL, "no answer");
	read_done(read, &failure);
	failure_clear(&failure);
	poll_rollout(s);
}

static void line_write(struct script *s, char *line)
{
	static const char *const names[] = { "idle",	 "waiting", "done",   "superseded",
					     "conflict", "refused", "unknown" };
	const char *outcome = word(&line);
	uint64_t sequence = strtoull(line, NULL, 10);
	struct store_write *write = s->writing;
	struct failure failure = FAILURE_INIT;

	if (!write) {
		wrong(s, "no append is on its way");
		return;
	}
	s->writing = NULL;
	failure_set(&failure, FAILURE_NO_QUORUM, NULL, "outcome %s", outcome);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (streq(names[i], outcome))
			write_done(write, (enum write_state)i, sequence,
				   i <= WRITE_SUPERSEDED ? NULL : &failure);
	failure_clear(&failure);
	poll_rollout(s);
}

static void line_lease(struct script *s, char *line)
{
	const char *name = word(&line);
	struct rollout *r = s->rollout;
	int64_t epoch = *line ? strtoll(line, NULL, 10) : r->lease.epoch;
	struct failure failure = FAILURE_INIT;
	enum held_state state = HELD_HELD;

	if (streq(name, "lost")) {
		state = HELD_LOST;
		failure_set(&failure, FAILURE_LEASE_LOST, NULL, "lease lost");
	} else if (streq(name, "refused")) {
		state = HELD_REFUSED;
		failure_set(&failure, FAILURE_LEASE_HELD, NULL, "lease held");
	} else if (streq(name, "released")) {
		state = HELD_RELEASED;
	}
	rollout_lease(r, state, epoch, s->now + 27 * SECOND, &failure);
	failure_clear(&failure);
	poll_rollout(s);
}

static void line_members(struct script *s, char *line)
{
	s->members_checking = streq(line, "?");
	if (s->members_checking)
		return;
	strv_free(s->members);
	s->members_live = !streq(line, "-");
	s->members = s->members_live ? strv_split(line, " ") : NULL;
	poll_rollout(s);
}

static void line_progress(struct script *s, char *line)
{
	char *instance = word(&line);
	const struct progress p = {
		.kind = PROGRESS_SLOT,
		.instance = instance,
		.state = line,
		.machine = (char *)"m1",
	};

	rollout_on_progress(s->rollout, &p);
	poll_rollout(s);
}

static void line_tick(struct script *s, char *line)
{
	for (long i = strtol(line, NULL, 10); i > 0; i--) {
		s->now += SECOND;
		poll_rollout(s);
	}
}

static void line_expect(struct script *s, const char *line)
{
	char **all = s->commands;

	if (!*line) {
		if (strv_count(all))
			wrong(s, "unexpected: %s", all[0]);
		return;
	}
	/* Commands that are sent to several machines at once have no order. */
	for (size_t i = 0; all && all[i]; i++) {
		if (!str_starts(all[i], line))
			continue;
		free(all[i]);
		memmove(all + i, all + i + 1, (strv_count(all + i + 1) + 1) * sizeof(char *));
		return;
	}
	wrong(s, "expected > %s; sent: %s", line, all && all[0] ? all[0] : "nothing");
}

static void line_enter(struct script *s, const char *line)
{
	struct rollout *r = s->rollout;

	for (int i = 0; i < PHASE_COUNT; i++)
		if (streq(phases[i].name, line))
			r->phase = (enum phase)i;
	r->entered = false;
	r->phase_usec = s->now;
	s->entered = true;
	poll_rollout(s);
}

static void line_state(struct script *s, char *line)
{
	const struct rollout *r = s->rollout;
	const char *field = word(&line);
	_cleanup_free_ char *value = NULL;

	if (streq(field, "committed"))
		value = xstrdup(r->committed ? "yes" : "no");
	else if (streq(field, "unknown"))
		value = xstrdup(r->unknown ? "yes" : "no");
	else if (streq(field, "lost"))
		value = xstrdup(r->lost ? "yes" : "no");
	else if (streq(field, "nothing"))
		value = xstrdup(r->nothing ? "yes" : "no");
	else if (streq(field, "opened"))
		value = xasprintf("%llu", (unsigned long long)r->opened);
	else if (streq(field, "release"))
		value = xasprintf("%lld", (long long)r->release);
	else if (streq(field, "left"))
		value = xasprintf("%zu", r->record->n_left);
	else if (streq(field, "leftovers"))
		value = xasprintf("%zu", r->n_leftovers);
	else if (streq(field, "unserved"))
		value = xstrdup(r->unserved ? r->unserved[0] : "none");
	else if (streq(field, "record"))
		value = xstrdup(deploy_phase_names[r->record->phase]);
	if (!streq(value, line))
		wrong(s, "%s is %s, not %s", field, value ? value : "no field", line);
}

static void line_check(struct script *s, const char *kind, char *line)
{
	const struct rollout *r = s->rollout;

	if (streq(kind, "=")) {
		if (!streq(phases[r->phase].name, line))
			wrong(s, "the phase is %s, not %s (%s)", phases[r->phase].name, line,
			      r->failure.message ? r->failure.message : "no failure");
	} else if (streq(kind, "fails")) {
		const char *code = word(&line);

		if (!failure_is_set(&r->failure) || r->failure.code != code_of(code) ||
		    !strstr(r->failure.message, line))
			wrong(s, "the failure is %s %s, not %s %s",
			      failure_code_names[r->failure.code],
			      r->failure.message ? r->failure.message : "", code, line);
	} else {
		bool found = false;

		for (char **note = s->notes; note && *note; note++)
			found |= strstr(*note, line) != NULL;
		if (!found)
			wrong(s, "no note has: %s", line);
		strv_free(steal(s->notes));
	}
}

static void run_line(struct script *s, char *line)
{
	const char *kind = word(&line);

	if (streq(kind, "enter"))
		line_enter(s, line);
	else if (streq(kind, ">"))
		line_expect(s, line);
	else if (streq(kind, "<"))
		line_answer(s, line);
	else if (streq(kind, "!"))
		line_fail(s, line);
	else if (streq(kind, "read"))
		line_read(s, line);
	else if (streq(kind, "read!"))
		line_read_fails(s, line);
	else if (streq(kind, "write"))
		line_write(s, line);
	else if (streq(kind, "lease"))
		line_lease(s, line);
	else if (streq(kind, "members"))
		line_members(s, line);
	else if (streq(kind, "progress"))
		line_progress(s, line);
	else if (streq(kind, "tick"))
		line_tick(s, line);
	else if (streq(kind, "state"))
		line_state(s, line);
	else if (streq(kind, "cancel"))
		rollout_cancel(s->rollout, "boss"), poll_rollout(s);
	else if (streq(kind, "=") || streq(kind, "fails") || streq(kind, "notes"))
		line_check(s, kind, line);
	else
		wrong(s, "unknown line: %s", kind);
}

/* Fills the model as it is before the phases after PHASE_PLAN. */
static void prepare(struct script *s, const struct script_options *options)
{
	struct rollout *r = s->rollout;

	r->generation = 1;
	r->began_usec = s->now;
	rollout_lease(r, HELD_HELD, 3, s->now + 27 * SECOND, NULL);
	if (options->head) {
		r->head = decode(s, &head_schema, options->head);
		r->sequence = 4;
		if (r->head && r->head->revision)
			r->base = codec_copy(&head_schema, r->head);
	}
	if (!options->plan)
		return;
	r->plan = decode(s, &plan_schema, options->plan);
	r->opened = r->sequence = OPENED;
	if (!r->head)
		r->head = codec_new(&head_schema);
	if (r->head && !r->head->open) {
		r->head->open = xcalloc(1, sizeof(*r->head->open));
		r->head->open->deploy = xstrdup("d2");
		free(r->head->writer);
		r->head->writer = xstrdup("d2");
		r->head->epoch = 3;
	}
	if (r->plan)
		planning_take(r);
}

char *script_run(const struct script_options *options, const char *text)
{
	struct script s = { .now = 1000 * SECOND, .members_live = true };
	struct deploy_request request = {
		.deploy = (char *)"d2",
		.ns = (char *)"shop",
		.verb = (char *)(options->verb ? options->verb : "deploy"),
		.operator_ = (char *)"boss",
		.plan_seq = options->plan_seq ? options->plan_seq : -1,
		.yes = options->yes,
	};
	_cleanup_(strv_freep) char **lines = strv_split(text, "\n");
	char *result = NULL;

	if (options->manifest)
		request.manifest = decode(&s, &manifest_schema, options->manifest);
	s.members = strv_split("m1 m2", " ");
	s.rollout = rollout_new(&ops, &s, "m1", &request);
	manifest_free(request.manifest);
	prepare(&s, options);
	for (char **line = lines; *line && !s.wrong; line++) {
		_cleanup_free_ char *copy = xstrdup(*line + strspn(*line, "\t "));
		_cleanup_free_ char *shown = xstrdup(copy);

		run_line(&s, copy);
		if (s.wrong)
			result = xasprintf("%s: %s", shown, s.wrong);
	}
	if (s.wrong && !result)
		result = xstrdup(s.wrong);
	rollout_free(s.rollout);
	strv_free(s.commands);
	strv_free(s.notes);
	strv_free(s.members);
	free(s.read_subject);
	free(s.wrong);
	return result;
}
