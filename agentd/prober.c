/* Prober: probes one instance by TCP, HTTP or a command, or lets it run for its time, and reports
 * what is new. */
#include "agentd/agentd.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define PROBE_ANSWER_MAX (64 * 1024) /* only the status counts */
#define EXEC_OUTPUT_MAX 200

struct prober {
	struct agentd *agentd;
	struct service *service;
	struct ready ready; /* borrowed from the service */
	char *container, *address;
	struct schedule schedule;
	struct timer *due;     /* the next probe */
	struct timer *timeout; /* of the one that is under way */
	sd_event_source *connecting;
	int fd;
	struct http_request *http;
	struct engine_request *exec;
	struct engine_request *output;
	char *exec_id;
	struct strbuf said; /* first output of an exec */
	prober_fn fn;
	void *userdata;
};

static void stop_trying(struct prober *prober)
{
	timer_disarm(prober->timeout);
	prober->connecting = sd_event_source_disable_unref(prober->connecting);
	if (prober->fd >= 0)
		close(prober->fd);
	prober->fd = -1;
	http_cancel(steal(prober->http));
	engine_cancel(steal(prober->output));
	engine_cancel(steal(prober->exec));
	free(steal(prober->exec_id));
}

static void passed(struct prober *prober)
{
	bool news = !prober->schedule.ready || prober->schedule.failures > 0;

	stop_trying(prober);
	timer_arm(prober->due, schedule_passed(&prober->schedule, &prober->ready));
	/* The last thing: it may free the probe. */
	if (news)
		prober->fn(EVENT_PASSED, NULL, prober->userdata);
}

static void missed(struct prober *prober, const char *why)
{
	enum schedule_verdict verdict;
	uint64_t usec;

	stop_trying(prober);
	verdict = schedule_missed(&prober->schedule, &prober->ready, boot_now_usec(), &usec);
	timer_arm(prober->due, usec);
	if (verdict == SCHEDULE_MISSED) {
		prober->fn(EVENT_MISSED, why, prober->userdata);
	} else if (verdict == SCHEDULE_SPENT) {
		_cleanup_free_ char *reason = xasprintf("not ready after %lld probes: %s",
							(long long)prober->schedule.failures, why);

		prober->fn(EVENT_SPENT, reason, prober->userdata);
	}
}

static const char *port_name(const struct ready *ready)
{
	return ready->http ? ready->http->port : ready->tcp ? ready->tcp->port : NULL;
}

static int port_of(const struct prober *prober)
{
	const char *name = port_name(&prober->ready);
	const struct port *port = name ? service_port(prober->service, name) : NULL;

	return port ? (int)port->port : 0;
}

static void on_timeout(void *userdata)
{
	struct prober *prober = userdata;
	_cleanup_free_ char *limit = duration_human(prober->ready.timeout);
	_cleanup_free_ char *why = xasprintf("no answer within %s", limit);

	missed(prober, why);
}

static void tcp_missed(struct prober *prober, int error)
{
	_cleanup_free_ char *why = xasprintf("port %d: %s", port_of(prober), strerror(error));

	missed(prober, why);
}

static int on_connected(_unused_ sd_event_source *source, int fd, _unused_ uint32_t events,
			void *userdata)
{
	struct prober *prober = userdata;
	socklen_t size = sizeof(int);
	int error = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
		error = errno;
	if (error)
		tcp_missed(prober, error);
	else
		passed(prober);
	return 0;
}

static void try_tcp(struct prober *prober)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons((uint16_t)port_of(prober)) };
	int r;

	if (!prober->address || inet_pton(AF_INET, prober->address, &to.sin_addr) != 1) {
		missed(prober, "it has no address");
		return;
	}
	prober->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (prober->fd < 0) {
		tcp_missed(prober, errno);
		return;
	}
	r = connect(prober->fd, (const struct sockaddr *)&to, sizeof(to));
	if (r < 0 && errno != EINPROGRESS) {
		tcp_missed(prober, errno);
		return;
	}
	if (sd_event_add_io(prober->agentd->daemon->loop, &prober->connecting, prober->fd, EPOLLOUT,
			    on_connected, prober) < 0)
		tcp_missed(prober, ENOMEM);
}

static void on_http(const struct http_answer *answer, void *userdata)
{
	struct prober *prober = userdata;
	const struct ready_http *http = prober->ready.http;
	_cleanup_free_ char *why = NULL;

	prober->http = NULL;
	/* A status that came counts, whatever became of the body. */
	if (answer->status >= http->status.first && answer->status <= http->status.last) {
		passed(prober);
		return;
	}
	why = answer->status ? xasprintf("GET %s: status %d", http->path, answer->status)
			     : xasprintf("GET %s: %s", http->path, answer->text);
	missed(prober, why);
}

static void try_http(struct prober *prober)
{
	_cleanup_free_ char *path = http_escape(prober->ready.http->path, "/%?&=+,;:@!$'()*");
	_cleanup_free_ char *url = xasprintf(
		"http://%s:%d%s", prober->address ? prober->address : "", port_of(prober), path);
	const struct http_options options = {
		.url = url,
		.max = PROBE_ANSWER_MAX,
		.fresh = true,
		.timeout_usec = prober->ready.timeout,
		.done = on_http,
		.userdata = prober,
	};

	if (!prober->address || http_start(prober->agentd->http, &options, &prober->http) < 0)
		missed(prober, "it has no address");
}

static void on_exec_result(const struct engine_answer *answer, void *userdata)
{
	struct prober *prober = userdata;
	const json_t *code = json_object_get(answer->json, "ExitCode");
	_cleanup_free_ char *why = NULL;

	prober->exec = NULL;
	if (!engine_ok(answer)) {
		missed(prober, answer->message);
		return;
	}
	if (json_is_integer(code) && json_integer_value(code) == 0) {
		passed(prober);
		return;
	}
	why = xasprintf("%s: exit code %lld%s%s", prober->ready.exec[0],
			(long long)json_integer_value(code), prober->said.size ? ": " : "",
			prober->said.size ? prober->said.text : "");
	missed(prober, why);
}

static void add_said(_unused_ const char *stream, const char *line, size_t size, _unused_ bool cut,
		     void *userdata)
{
	struct strbuf *said = userdata;

	for (size_t i = 0; i < size && said->size < EXEC_OUTPUT_MAX; i++)
		if (line[i] >= ' ' && line[i] < 127)
			strbuf_add(said, &line[i], 1);
}

static enum http_flow on_exec_output(_unused_ int status, const char *data, size_t size,
				     void *userdata)
{
	struct prober *prober = userdata;
	struct lines lines = { .fn = add_said, .userdata = &prober->said };

	/* The first piece is enough for a reason; the rest only has to flow. */
	if (prober->said.size == 0) {
		lines_feed(&lines, data, size);
		lines_flush(&lines);
		lines_clear(&lines);
	}
	return HTTP_GO_ON;
}

static void on_exec_end(const struct http_answer *answer, void *userdata)
{
	struct prober *prober = userdata;
	_cleanup_free_ char *path = NULL;

	prober->output = NULL;
	if (answer->error < 0 || answer->status >= 300) {
		missed(prober,
		       answer->error < 0 ? answer->text : "the engine could not run the command");
		return;
	}
	path = xasprintf("/exec/%s/json", prober->exec_id);
	engine_ask(prober->agentd->engine, "GET", path, NULL, prober->ready.timeout, on_exec_result,
		   prober, &prober->exec);
}

static void on_exec_created(const struct engine_answer *answer, void *userdata)
{
	struct prober *prober = userdata;
	const char *id = json_string_value(json_object_get(answer->json, "Id"));
	_cleanup_json_ json_t *body = json_pack("{s:b, s:b}", "Detach", 0, "Tty", 0);
	_cleanup_free_ char *path = NULL;

	prober->exec = NULL;
	if (!engine_ok(answer) || !id) {
		missed(prober, answer->message);
		return;
	}
	prober->exec_id = xstrdup(id);
	path = xasprintf("/exec/%s/start", id);
	engine_stream(prober->agentd->engine, "POST", path, body, on_exec_output, on_exec_end,
		      prober, &prober->output);
}

static void try_exec(struct prober *prober)
{
	_cleanup_json_ json_t *body = json_pack("{s:b, s:b}", "AttachStdout", 1, "AttachStderr", 1);
	_cleanup_free_ char *path = xasprintf("/containers/%s/exec", prober->container);
	json_t *command = json_array();

	for (char **word = prober->ready.exec; *word; word++)
		json_array_append_new(command, json_string(*word));
	json_object_set_new(body, "Cmd", command);
	strbuf_clear(&prober->said);
	engine_ask(prober->agentd->engine, "POST", path, body, prober->ready.timeout,
		   on_exec_created, prober, &prober->exec);
}

static void on_due(void *userdata)
{
	struct prober *prober = userdata;

	if (prober->ready.exec && !prober->agentd->engine->up) {
		/* The result does not depend on the service. */
		timer_arm(prober->due, prober->ready.interval);
		return;
	}
	timer_arm(prober->timeout, prober->ready.timeout);
	if (prober->ready.http)
		try_http(prober);
	else if (prober->ready.exec)
		try_exec(prober);
	else if (prober->ready.tcp)
		try_tcp(prober);
	else {
		/* It has run for its time without ending. */
		stop_trying(prober);
		prober->schedule.ready = true;
		prober->fn(EVENT_PASSED, NULL, prober->userdata);
	}
}

/* A service without a probe, or an unknown one, is ready once it has run for its time. */
static uint64_t first_probe(const struct prober *prober)
{
	const struct ready *ready = &prober->ready;

	if (!prober->service)
		return READY_RUNNING_USEC;
	return ready->http || ready->tcp || ready->exec ? 0 : ready->running;
}

struct prober *prober_new(struct agentd *agentd, const struct service *service,
			  const char *container, const char *address, bool ready, prober_fn fn,
			  void *userdata)
{
	struct prober *prober = xcalloc(1, sizeof(*prober));

	prober->agentd = agentd;
	prober->service = service ? codec_copy(&service_schema, service) : NULL;
	if (prober->service)
		service_ready(prober->service, &prober->ready);
	prober->container = xstrdup(container);
	prober->address = xstrdup(address);
	prober->fd = -1;
	prober->fn = fn;
	prober->userdata = userdata;
	prober->due = timer_new(agentd->daemon->loop, on_due, prober);
	prober->timeout = timer_new(agentd->daemon->loop, on_timeout, prober);
	schedule_begin(&prober->schedule, boot_now_usec(), ready);
	timer_arm(prober->due, first_probe(prober));
	return prober;
}

void prober_free(struct prober *prober)
{
	if (!prober)
		return;
	stop_trying(prober);
	timer_free(prober->due);
	timer_free(prober->timeout);
	strbuf_clear(&prober->said);
	service_free(prober->service);
	free(prober->container);
	free(prober->address);
	free(prober);
}
