/* HTTP: requests on the loop, over TCP or a Unix socket; several at once, connections kept
 * alive. */
#ifndef PLOYZ_HTTP_H
#define PLOYZ_HTTP_H

#include <systemd/sd-event.h>

#include "lib/mem.h"

/* Largest gathered answer by default. */
#define HTTP_ANSWER_MAX (1024 * 1024)

struct http;
/* A client on the loop. 0 or negative errno. */
int http_new(sd_event *loop, struct http **ret);
/* Ends every request without calling its callbacks. */
void http_free(struct http *http);
DEFINE_CLEANUP(struct http, http_free);

struct http_request;

/* The result; valid during the callback. */
struct http_answer {
	int error;  /* 0, or negative errno: -ETIMEDOUT, -ECONNREFUSED, -ENOENT (no such socket),
		       -EFBIG (the answer is over the limit), -EPROTO (it has no status),
		       -ECONNRESET, -EHOSTUNREACH … */
	int status; /* the HTTP status as soon as it came, even where `error` is set; else 0 */
	const char *
		body; /* zero-terminated beyond `size`; never NULL; empty where `on_body` took it */
	size_t size;
	const char *text; /* curl's error text; "" without error */
};
typedef void (*http_done_fn)(const struct http_answer *answer, void *userdata);

enum http_flow {
	HTTP_GO_ON,
	HTTP_PAUSE, /* this piece was not taken: it is passed again after http_resume */
	HTTP_END,   /* ends the request with -ECANCELED */
};
/* A piece of a streaming answer, at most 16 KiB; nothing is gathered beyond it. `status` is
 * known. */
typedef enum http_flow (*http_body_fn)(int status, const char *data, size_t size, void *userdata);

struct http_options {
	const char *socket;	    /* a Unix socket's path; NULL: TCP */
	const char *method;	    /* NULL: GET */
	const char *url;	    /* http://… only */
	const char *const *headers; /* `Name: value`, NULL-terminated; or NULL */
	const void *body;	    /* copied */
	size_t size;
	const char *type;      /* Content-Type of the body; NULL: application/json */
	uint64_t timeout_usec; /* for the whole request; 0: none */
	uint64_t idle_usec;    /* without receiving a byte of the answer; 0: none */
	size_t max;	       /* of a gathered answer; 0: HTTP_ANSWER_MAX */
	bool fresh;	       /* a connection of its own, closed afterwards */
	http_body_fn on_body;  /* streams the answer of a successful status; others are gathered */
	http_done_fn done;     /* called once unless cancelled, never before http_start returned */
	void *userdata;
};
/* Begins a request. *ret (may be NULL) is valid until `done` is called. 0, or -EINVAL for an
 * address that is none. */
int http_start(struct http *http, const struct http_options *options, struct http_request **ret);
/* Cancels it: its callbacks are not called any more (may be called inside `on_body`). */
void http_cancel(struct http_request *request);
DEFINE_CLEANUP(struct http_request, http_cancel);
void http_resume(struct http_request *request);

/* `s` for use in a URL: everything but letters, digits, `-._~` and the bytes of `keep` is escaped.
 * The caller owns it. */
char *http_escape(const char *s, const char *keep);

#endif
