/* Logs: output of instances, streamed to the client as progress. */
#include "agentd/agentd.h"

#include <inttypes.h>

/* One client's stream: the output of some instances, each with its own request to the engine. */
struct log_stream {
	struct logs *logs;
	char *id;
	char *ns, *service, *instance;
	bool follow;
	int64_t tail;
	int64_t since_s; /* of the machine's clock, as the engine wants it; 0: from the beginning */
	struct map tails; /* instance → struct log_tail */
	size_t running;	  /* tails that are not at their end */
	struct timer *term;
	struct deferred *finish;
	bool ended; /* its client has ended it, or everything was sent */
};

struct log_tail {
	struct log_stream *stream;
	char *instance, *service, *container;
	int64_t slot;
	struct engine_request *request;
	struct lines lines;
	struct timer *resume;
	size_t passed;	/* bytes in this stretch */
	uint64_t since; /* when it began */
	bool paused;
};

struct logs {
	struct agentd *agentd;
	struct map streams; /* id → struct log_stream */
};

struct logs *logs_new(struct agentd *agentd)
{
	struct logs *logs = xcalloc(1, sizeof(*logs));

	logs->agentd = agentd;
	return logs;
}

static void tail_free(void *p)
{
	struct log_tail *tail = p;

	engine_cancel(tail->request);
	timer_free(tail->resume);
	lines_clear(&tail->lines);
	free(tail->instance);
	free(tail->service);
	free(tail->container);
	free(tail);
}

static void stream_free(void *p)
{
	struct log_stream *stream = p;

	map_clear(&stream->tails, tail_free);
	timer_free(stream->term);
	deferred_free(stream->finish);
	free(stream->id);
	free(stream->ns);
	free(stream->service);
	free(stream->instance);
	free(stream);
}

void logs_free(struct logs *logs)
{
	if (!logs)
		return;
	map_clear(&logs->streams, stream_free);
	free(logs);
}

/* Ended in the loop's next turn: its callers may stand inside it. */
static void finish(void *userdata)
{
	struct log_stream *stream = userdata;
	struct progress progress;

	if (!stream->ended) {
		codec_init(&progress_schema, &progress);
		progress.kind = PROGRESS_END;
		progress.ns = xstrdup(stream->ns);
		progress.slot = -1;
		bus_progress(stream->logs->agentd, stream->id, &progress);
		codec_clear(&progress_schema, &progress);
	}
	map_remove(&stream->logs->streams, stream->id);
	stream_free(stream);
}

static void on_term(void *userdata)
{
	struct log_stream *stream = userdata;

	log_debug("the output stream %s was not renewed: it ends", stream->id);
	stream->ended = true;
	deferred_schedule(stream->finish);
}

static void on_line(const char *name, const char *line, size_t size, bool cut, void *userdata)
{
	struct log_tail *tail = userdata;
	struct progress progress;

	codec_init(&progress_schema, &progress);
	progress.kind = PROGRESS_LINE;
	progress.ns = xstrdup(tail->stream->ns);
	progress.service = xstrdup(tail->service);
	progress.slot = tail->slot;
	progress.instance = xstrdup(tail->instance);
	progress.stream = xstrdup(name);
	progress.message = str_valid(line, size);
	if (cut) {
		char *more = xasprintf("%s … (line cut at %d KiB)", progress.message,
				       LINE_MAX_BYTES / 1024);

		free(progress.message);
		progress.message = more;
	}
	bus_progress(tail->stream->logs->agentd, tail->stream->id, &progress);
	codec_clear(&progress_schema, &progress);
}

static void on_resume(void *userdata)
{
	struct log_tail *tail = userdata;

	tail->passed = 0;
	tail->since = boot_now_usec();
	tail->paused = false;
	if (tail->request)
		engine_resume(tail->request);
}

/* Whatever a container writes, this much of it passes in a stretch; the rest waits in the
 * engine. */
static enum http_flow on_output(_unused_ int status, const char *data, size_t size, void *userdata)
{
	struct log_tail *tail = userdata;
	uint64_t now = boot_now_usec();

	if (now - tail->since > LOGS_TURN_USEC) {
		tail->since = now;
		tail->passed = 0;
	}
	if (tail->passed + size > LOGS_TURN_BYTES) {
		tail->paused = true;
		timer_arm(tail->resume, LOGS_TURN_USEC);
		return HTTP_PAUSE;
	}
	tail->passed += size;
	lines_feed(&tail->lines, data, size);
	return HTTP_GO_ON;
}

static void on_end(const struct http_answer *answer, void *userdata)
{
	struct log_tail *tail = userdata;
	struct log_stream *stream = tail->stream;

	tail->request = NULL;
	lines_flush(&tail->lines);
	if (answer->error < 0 || answer->status >= 300)
		log_debug("output of %s: %s", tail->instance,
			  answer->error < 0 ? answer->text : answer->body);
	/* A followed instance may start again and others may be added: the client ends the stream.
	 */
	if (--stream->running == 0 && !stream->follow)
		deferred_schedule(stream->finish);
}

static void read_output(struct log_tail *tail)
{
	const struct log_stream *stream = tail->stream;
	_cleanup_free_ char *count =
		stream->tail < 0 ? xstrdup("all") : xasprintf("%" PRId64, stream->tail);
	_cleanup_free_ char *path =
		xasprintf("/containers/%s/logs?stdout=1&stderr=1&follow=%d&tail=%s&since=%" PRId64,
			  tail->container, stream->follow, count, stream->since_s);

	engine_stream(stream->logs->agentd->engine, "GET", path, NULL, on_output, on_end, tail,
		      &tail->request);
	tail->stream->running++;
}

static bool shows(const struct log_stream *stream, const struct control *control)
{
	return control->container && streq(control->fact->ns, stream->ns) &&
	       (!stream->service || streq(control->fact->service, stream->service)) &&
	       (!stream->instance || streq(control->fact->id, stream->instance));
}

/* Instances that were started meanwhile are shown from their beginning. */
static void add_tails(struct log_stream *stream)
{
	struct agentd *agentd = stream->logs->agentd;

	for (struct map_item *i = NULL; (i = map_next(&agentd->controls, i));) {
		const struct control *control = i->value;
		struct log_tail *tail;

		if (!shows(stream, control) || map_get(&stream->tails, control->fact->id))
			continue;
		tail = xcalloc(1, sizeof(*tail));
		tail->stream = stream;
		tail->instance = xstrdup(control->fact->id);
		tail->service = xstrdup(control->fact->service);
		tail->container = xstrdup(control->container);
		tail->slot = control->fact->slot;
		tail->lines = (struct lines){ .fn = on_line, .userdata = tail };
		tail->resume = timer_new(agentd->daemon->loop, on_resume, tail);
		map_put(&stream->tails, tail->instance, tail);
		read_output(tail);
	}
}

/* The engine has started some again: what they write from now on is shown too. */
static void follow_again(struct log_stream *stream)
{
	for (struct map_item *i = NULL; (i = map_next(&stream->tails, i));) {
		struct log_tail *tail = i->value;
		const struct control *control =
			agentd_control(stream->logs->agentd, tail->instance);

		if (tail->request || !control || !control->container)
			continue;
		stream->tail = 0;
		read_output(tail);
	}
}

static struct log_stream *stream_new(struct logs *logs, const struct agent_logs *request)
{
	struct log_stream *stream = xcalloc(1, sizeof(*stream));

	stream->logs = logs;
	stream->id = xstrdup(request->stream);
	stream->ns = xstrdup(request->ns);
	stream->service = xstrdup(request->service);
	stream->instance = xstrdup(request->instance);
	stream->follow = request->follow;
	stream->tail = request->tail;
	if (request->since_ms >= 0)
		stream->since_s = (int64_t)(time_now_usec() / 1000000) - request->since_ms / 1000;
	stream->term = timer_new(logs->agentd->daemon->loop, on_term, stream);
	stream->finish = deferred_new(logs->agentd->daemon->loop, finish, stream);
	map_put(&logs->streams, stream->id, stream);
	return stream;
}

int64_t logs_serve(struct logs *logs, const struct agent_logs *request)
{
	struct log_stream *stream = map_get(&logs->streams, request->stream);

	if (request->stop) {
		if (stream)
			on_term(stream);
		return 0;
	}
	if (!stream)
		stream = stream_new(logs, request);
	else if (stream->follow)
		follow_again(stream);
	timer_arm(stream->term, LOGS_TERM_USEC);
	add_tails(stream);
	if (!stream->follow && stream->running == 0)
		deferred_schedule(stream->finish);
	return (int64_t)stream->tails.count;
}
