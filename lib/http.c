/* HTTP: libcurl's multi interface on the loop. */
#include "lib/http.h"

#include <curl/curl.h>
#include <errno.h>
#include <sys/epoll.h>

#include "lib/loop.h"
#include "lib/str.h"

#define CONNECTIONS_KEPT 16l
#define URL_MAX (4u * 1024 * 1024)

struct http {
	sd_event *loop;
	CURLM *multi;
	struct timer *timer;	/* curl's own */
	struct deferred *later; /* work that curl's callbacks may not do */
	unsigned inside;	/* depth of running curl callbacks, in which curl refuses calls */
	struct http_request *requests;
};

struct http_request {
	struct http *http;
	struct http_request *next, **link;
	CURL *easy;
	struct curl_slist *headers;
	struct timer *idle;
	uint64_t idle_usec;
	size_t max;
	struct strbuf answer;
	http_body_fn on_body;
	http_done_fn done;
	void *userdata;
	int error;	/* of this file, where curl only reports an aborted transfer */
	bool added;	/* added to curl */
	bool ending;	/* inside `done` */
	bool ended;	/* by this file, inside a callback of curl */
	bool cancelled; /* freed as soon as curl is not inside a callback */
	char text[CURL_ERROR_SIZE];
};

static void request_free(struct http_request *request)
{
	*request->link = request->next;
	if (request->next)
		request->next->link = request->link;
	if (request->added)
		curl_multi_remove_handle(request->http->multi, request->easy);
	curl_easy_cleanup(request->easy);
	curl_slist_free_all(request->headers);
	timer_free(request->idle);
	strbuf_clear(&request->answer);
	free(request);
}

static int error_of(const struct http_request *request, CURLcode code)
{
	long number = 0;

	if (request->error < 0)
		return request->error;
	curl_easy_getinfo(request->easy, CURLINFO_OS_ERRNO, &number);
	switch (code) {
	case CURLE_OK:
		return 0;
	case CURLE_OPERATION_TIMEDOUT:
		return -ETIMEDOUT;
	case CURLE_COULDNT_RESOLVE_HOST:
		return -EHOSTUNREACH;
	case CURLE_COULDNT_CONNECT:
		return number > 0 ? -(int)number : -ECONNREFUSED;
	case CURLE_URL_MALFORMAT:
		return -EINVAL;
	case CURLE_UNSUPPORTED_PROTOCOL: /* of the answer: the URL's scheme was checked */
	case CURLE_WEIRD_SERVER_REPLY:
		return -EPROTO;
	default:
		return -ECONNRESET;
	}
}

static void request_end(struct http_request *request, CURLcode code)
{
	struct http_answer answer = { .body = "", .text = "" };
	long status = 0;

	curl_easy_getinfo(request->easy, CURLINFO_RESPONSE_CODE, &status);
	answer.error = error_of(request, code);
	/* curl accepts others. */
	if (status >= 100 && status <= 999) {
		answer.status = (int)status;
	} else if (!answer.error) {
		answer.error = -EPROTO;
		snprintf(request->text, sizeof(request->text), "its answer has no status");
	}
	if (request->answer.text) {
		answer.body = request->answer.text;
		answer.size = request->answer.size;
	}
	if (answer.error < 0)
		answer.text = request->text[0] ? request->text : strerror(-answer.error);
	/* Removed from curl first: the callback may begin requests and free any. */
	curl_multi_remove_handle(request->http->multi, request->easy);
	request->added = false;
	request->ending = true;
	request->done(&answer, request->userdata);
	request_free(request);
}

/* One at a time: a callback may cancel any other request, also a completed one. */
static void harvest(struct http *http)
{
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(http->multi, &left))) {
		struct http_request *request = NULL;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &request);
		if (!request->cancelled && !request->ended)
			request_end(request, message->data.result);
	}
}

static int on_socket(_unused_ sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct http *http = userdata;
	int what = 0, running;

	if (events & EPOLLIN)
		what |= CURL_CSELECT_IN;
	if (events & EPOLLOUT)
		what |= CURL_CSELECT_OUT;
	if (events & (EPOLLERR | EPOLLHUP))
		what |= CURL_CSELECT_ERR;
	curl_multi_socket_action(http->multi, fd, what, &running);
	harvest(http);
	return 0;
}

static void on_timer(void *userdata)
{
	struct http *http = userdata;
	int running;

	curl_multi_socket_action(http->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	harvest(http);
}

/* curl names the events that it waits for on a socket; the event source is the socket's own
 * pointer. */
static int watch_socket(_unused_ CURL *easy, curl_socket_t fd, int what, void *userdata,
			void *socketp)
{
	struct http *http = userdata;
	sd_event_source *source = socketp;
	uint32_t events =
		(what & CURL_POLL_IN ? EPOLLIN : 0) | (what & CURL_POLL_OUT ? EPOLLOUT : 0);

	if (what == CURL_POLL_REMOVE) {
		sd_event_source_disable_unref(source);
		curl_multi_assign(http->multi, fd, NULL);
		return 0;
	}
	if (source)
		return sd_event_source_set_io_events(source, events) < 0 ? -1 : 0;
	if (sd_event_add_io(http->loop, &source, fd, events, on_socket, http) < 0)
		return -1;
	curl_multi_assign(http->multi, fd, source);
	return 0;
}

static int watch_timer(_unused_ CURLM *multi, long ms, void *userdata)
{
	struct http *http = userdata;

	if (ms < 0)
		timer_disarm(http->timer);
	else
		timer_arm(http->timer, (uint64_t)ms * 1000);
	return 0;
}

static void do_later(void *userdata)
{
	struct http *http = userdata;
	struct http_request *request = http->requests;

	while (request) {
		struct http_request *next = request->next;

		if (request->cancelled) {
			request_free(request);
		} else if (request->ended) {
			/* The callback may free others: the list is scanned from its beginning. */
			request_end(request, CURLE_WRITE_ERROR);
			next = http->requests;
		} else if (!request->added) {
			request->added = true;
			if (curl_multi_add_handle(http->multi, request->easy) != CURLM_OK)
				mem_exhausted();
		}
		request = next;
	}
}

int http_new(sd_event *loop, struct http **ret)
{
	struct http *http;

	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return -EIO;
	http = xcalloc(1, sizeof(*http));
	http->loop = loop;
	http->multi = curl_multi_init();
	if (!http->multi)
		mem_exhausted();
	http->timer = timer_new(loop, on_timer, http);
	http->later = deferred_new(loop, do_later, http);
	curl_multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
	curl_multi_setopt(http->multi, CURLMOPT_SOCKETDATA, http);
	curl_multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION, watch_timer);
	curl_multi_setopt(http->multi, CURLMOPT_TIMERDATA, http);
	curl_multi_setopt(http->multi, CURLMOPT_MAXCONNECTS, CONNECTIONS_KEPT);
	*ret = http;
	return 0;
}

void http_free(struct http *http)
{
	if (!http)
		return;
	while (http->requests)
		request_free(http->requests);
	curl_multi_cleanup(http->multi);
	timer_free(http->timer);
	deferred_free(http->later);
	free(http);
	curl_global_cleanup();
}

static size_t stream_body(struct http_request *request, int status, const char *data, size_t size)
{
	enum http_flow flow;

	request->http->inside++;
	flow = request->on_body(status, data, size, request->userdata);
	request->http->inside--;
	if (request->cancelled)
		return 0;
	if (flow == HTTP_PAUSE) {
		if (request->idle)
			timer_disarm(request->idle);
		return CURL_WRITEFUNC_PAUSE;
	}
	if (flow == HTTP_END) {
		request->error = -ECANCELED;
		return 0;
	}
	return size;
}

static size_t on_body(char *data, size_t one, size_t count, void *userdata)
{
	struct http_request *request = userdata;
	size_t size = one * count;
	long status = 0;

	if (request->idle)
		timer_arm(request->idle, request->idle_usec);
	curl_easy_getinfo(request->easy, CURLINFO_RESPONSE_CODE, &status);
	if (request->on_body && status >= 200 && status < 300)
		return stream_body(request, (int)status, data, size);
	if (size > request->max - request->answer.size) {
		request->error = -EFBIG;
		snprintf(request->text, sizeof(request->text), "the answer is over %zu bytes",
			 request->max);
		return 0;
	}
	strbuf_add(&request->answer, data, size);
	return size;
}

static void on_idle(void *userdata)
{
	struct http_request *request = userdata;

	request->error = -ETIMEDOUT;
	snprintf(request->text, sizeof(request->text), "nothing came for %llu ms",
		 (unsigned long long)request->idle_usec / 1000);
	request_end(request, CURLE_OPERATION_TIMEDOUT);
}

static void set_request(struct http_request *request, const struct http_options *options)
{
	_cleanup_free_ char *type =
		xasprintf("Content-Type: %s", options->type ? options->type : "application/json");
	const char *method = options->method ? options->method : "GET";
	CURL *easy = request->easy;

	/* Expect: 100-continue would cost a round trip. */
	request->headers = curl_slist_append(request->headers, "Expect:");
	for (const char *const *header = options->headers; header && *header; header++)
		request->headers = curl_slist_append(request->headers, *header);
	if (options->body || streq(method, "POST")) {
		request->headers =
			curl_slist_append(request->headers, options->body ? type : "Content-Type:");
		curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)options->size);
		curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS, options->body ? options->body : "");
	}
	if (streq(method, "HEAD"))
		curl_easy_setopt(easy, CURLOPT_NOBODY, 1l);
	curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, request->headers);
	if (options->socket)
		curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, options->socket);
	if (options->timeout_usec)
		curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS,
				 (long)MAX2(options->timeout_usec / 1000, 1ull));
	curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, (long)options->fresh);
	curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, (long)options->fresh);
}

int http_start(struct http *http, const struct http_options *options, struct http_request **ret)
{
	struct http_request *request;

	if (!str_starts(options->url, "http://") || strlen(options->url) > URL_MAX)
		return -EINVAL;
	request = xcalloc(1, sizeof(*request));
	request->http = http;
	request->max = options->max ? options->max : HTTP_ANSWER_MAX;
	request->on_body = options->on_body;
	request->done = options->done;
	request->userdata = options->userdata;
	request->easy = curl_easy_init();
	if (!request->easy)
		mem_exhausted();
	request->next = http->requests;
	request->link = &http->requests;
	if (request->next)
		request->next->link = &request->next;
	http->requests = request;
	if (options->idle_usec) {
		request->idle_usec = options->idle_usec;
		request->idle = timer_new(http->loop, on_idle, request);
		timer_arm(request->idle, options->idle_usec);
	}
	curl_easy_setopt(request->easy, CURLOPT_PRIVATE, request);
	curl_easy_setopt(request->easy, CURLOPT_URL, options->url);
	curl_easy_setopt(request->easy, CURLOPT_PROTOCOLS_STR, "http");
	/* Proxies of the environment are not for local services. */
	curl_easy_setopt(request->easy, CURLOPT_PROXY, "");
	curl_easy_setopt(request->easy, CURLOPT_NOSIGNAL, 1l);
	curl_easy_setopt(request->easy, CURLOPT_ERRORBUFFER, request->text);
	curl_easy_setopt(request->easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(request->easy, CURLOPT_WRITEDATA, request);
	set_request(request, options);
	if (http->inside) {
		deferred_schedule(http->later);
	} else {
		request->added = true;
		if (curl_multi_add_handle(http->multi, request->easy) != CURLM_OK)
			mem_exhausted();
	}
	if (ret)
		*ret = request;
	return 0;
}

void http_cancel(struct http_request *request)
{
	if (!request || request->ending)
		return;
	if (!request->http->inside) {
		request_free(request);
		return;
	}
	request->cancelled = true;
	deferred_schedule(request->http->later);
}

void http_resume(struct http_request *request)
{
	CURLcode code;

	if (request->idle)
		timer_arm(request->idle, request->idle_usec);
	/* curl passes the held piece to on_body inside this call. */
	code = curl_easy_pause(request->easy, CURLPAUSE_CONT);
	if (code != CURLE_OK && !request->cancelled) {
		request->ended = true;
		deferred_schedule(request->http->later);
	}
}

char *http_escape(const char *s, const char *keep)
{
	struct strbuf out = STRBUF_INIT;

	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
		    strchr("-._~", c) || (keep && strchr(keep, c)))
			strbuf_add(&out, s, 1);
		else
			strbuf_printf(&out, "%%%02X", c);
	}
	return strbuf_steal(&out);
}
