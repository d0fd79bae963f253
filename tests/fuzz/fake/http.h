/* Replaces lib/http.c: the target gives the answers, by the same rules (lib/http.h). Included once
 * in a target. */
#ifndef PLOYZ_TESTS_FUZZ_FAKE_HTTP_H
#define PLOYZ_TESTS_FUZZ_FAKE_HTTP_H

#include <errno.h>

#include "lib/http.h"
#include "lib/str.h"
#include "tests/fuzz/fuzz.h"

struct http {
	struct http_request *requests; /* the newest first */
	size_t count;
};

struct http_request {
	struct http *http;
	struct http_request *next, **link;
	char *method, *url, *body;
	http_body_fn on_body;
	http_done_fn done;
	void *userdata;
	int status; /* 0: nothing was received yet */
	struct strbuf gathered;
	struct strbuf piece; /* that was not taken */
	bool paused, inside, ending, cancelled;
	bool over; /* it ended itself while it was resumed: `done` follows in the next iteration */
};

/* A longer address is refused; 0: none is. */
static size_t fake_url_max;

int http_new(_unused_ sd_event *loop, struct http **ret)
{
	*ret = xcalloc(1, sizeof(**ret));
	return 0;
}

static void request_free(struct http_request *request)
{
	*request->link = request->next;
	if (request->next)
		request->next->link = request->link;
	request->http->count--;
	strbuf_clear(&request->gathered);
	strbuf_clear(&request->piece);
	free(request->method);
	free(request->url);
	free(request->body);
	free(request);
}

void http_free(struct http *http)
{
	if (!http)
		return;
	while (http->requests)
		request_free(http->requests);
	free(http);
}

int http_start(struct http *http, const struct http_options *options, struct http_request **ret)
{
	struct http_request *request;

	HOLDS(options->done && str_starts(options->url, "http://"));
	if (fake_url_max && strlen(options->url) > fake_url_max)
		return -EINVAL;
	request = xcalloc(1, sizeof(*request));
	*request =
		(struct http_request){ .http = http,
				       .next = http->requests,
				       .link = &http->requests,
				       .method = xstrdup(options->method ? options->method : "GET"),
				       .url = xstrdup(options->url),
				       .body = options->body ? xmemdup(options->body, options->size)
							     : NULL,
				       .on_body = options->on_body,
				       .done = options->done,
				       .userdata = options->userdata };
	if (request->next)
		request->next->link = &request->next;
	http->requests = request;
	http->count++;
	if (ret)
		*ret = request;
	return 0;
}

void http_cancel(struct http_request *request)
{
	if (!request || request->ending)
		return;
	if (request->inside)
		request->cancelled = true;
	else
		request_free(request);
}

char *http_escape(const char *s, const char *keep)
{
	struct strbuf out = STRBUF_INIT;

	for (; *s; s++)
		if ((*s >= 'a' && *s <= 'z') || (keep && strchr(keep, *s)))
			strbuf_add(&out, s, 1);
		else
			strbuf_printf(&out, "%%%02X", (unsigned char)*s);
	return strbuf_steal(&out);
}

/* Ends a request: with `error`, or with a status. */
static inline void fake_end(struct http_request *request, int error, int status)
{
	struct http_answer answer = {
		.error = error, .status = request->status, .body = "", .text = ""
	};

	if (!error && !answer.status)
		answer.status = status;
	if (request->gathered.text) {
		answer.body = request->gathered.text;
		answer.size = request->gathered.size;
	}
	if (error)
		answer.text = "it broke off";
	request->ending = true;
	request->done(&answer, request->userdata);
	request_free(request);
}

/* False: the request was freed. */
static inline bool hand_over(struct http_request *request, const char *data, size_t size)
{
	enum http_flow flow;

	request->inside = true;
	flow = request->on_body(request->status, data, size, request->userdata);
	request->inside = false;
	if (request->cancelled) {
		request_free(request);
		return false;
	}
	if (flow == HTTP_PAUSE) {
		HOLDS(!request->paused);
		request->paused = true;
		strbuf_add(&request->piece, data, size);
	}
	request->over = flow == HTTP_END;
	return true;
}

void http_resume(struct http_request *request)
{
	struct strbuf piece = request->piece;

	HOLDS(request->paused);
	request->paused = false;
	request->piece = (struct strbuf)STRBUF_INIT;
	hand_over(request, piece.text ? piece.text : "", piece.size);
	strbuf_clear(&piece);
}

/* Passes a piece of its answer; false: the request was freed. A paused one gets nothing. */
static inline bool fake_piece(struct http_request *request, int status, const char *data,
			      size_t size)
{
	if (request->paused || request->over)
		return true;
	if (!request->status)
		request->status = status;
	if (request->on_body && request->status >= 200 && request->status < 300)
		return size ? hand_over(request, data, size) : true;
	strbuf_add(&request->gathered, data, size);
	return true;
}

/* Ends those that ended themselves. */
static inline void fake_http_turn(struct http *http)
{
	struct http_request *request = http->requests;

	while (request) {
		if (!request->over) {
			request = request->next;
			continue;
		}
		fake_end(request, -ECANCELED, 0);
		request = http->requests;
	}
}

/* The request of this index, modulo their number; NULL: there is none. */
static inline struct http_request *fake_request(struct http *http, size_t n)
{
	struct http_request *request = http->requests;

	for (n = http->count ? n % http->count : 0; request && n; n--)
		request = request->next;
	return request;
}

#endif
