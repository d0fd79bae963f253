/* Rebuild: rebuilds a local mirror from a snapshot of the store's stream. nats-server 2.10 checks
 * the compare-and-set header of an entry in a mirror too, against the mirror's own content: a
 * mirror that lacks an earlier entry of the subject, which the stream has dropped, stops at it for
 * good. So a mirror of a stream that has entries is restored from a snapshot, after which it
 * follows by itself, and one that has stopped is replaced. The old mirror is deleted only when the
 * snapshot is complete. */
#include "meshd/meshd.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define SNAPSHOT_FILE "snapshot"
#define STEP_USEC 10000000ull	  /* one answer, or one chunk */
#define CHUNK_BYTES (256u * 1024) /* sent to the local bus at once */

struct rebuilding {
	struct meshd *meshd;
	enum streams_id id;
	char *path;
	FILE *file;
	json_t *state; /* of the snapshot; NULL: not answered yet */
	bool complete; /* the last chunk has come */
	char *deliver; /* where the local bus takes the chunks */
	struct bus_subscription *subscription;
	struct bus_request *request;
	struct timer *patience, *finish;
	struct failure failure;
};

static void free_rebuilding(struct rebuilding *rebuilding)
{
	bus_subscription_free(rebuilding->subscription);
	bus_request_cancelp(&rebuilding->request);
	timer_free(rebuilding->patience);
	timer_free(rebuilding->finish);
	if (rebuilding->file)
		fclose(rebuilding->file);
	unlink(rebuilding->path);
	json_decref(rebuilding->state);
	failure_clear(&rebuilding->failure);
	free(rebuilding->deliver);
	free(rebuilding->path);
	free(rebuilding);
}

void rebuild_free(struct meshd *meshd)
{
	struct rebuilding *rebuilding = steal(meshd->rebuilding);

	if (rebuilding)
		free_rebuilding(rebuilding);
}

/* --- the end, from the loop: never inside a callback of the subscription */

static void on_finish(void *userdata)
{
	struct rebuilding *rebuilding = userdata;
	struct meshd *meshd = rebuilding->meshd;
	const char *name = streams_rows[rebuilding->id].name;
	bool failed = failure_is_set(&rebuilding->failure);

	if (failed)
		log_warning("cannot rebuild the local mirror of %s: %s; retrying", name,
			    rebuilding->failure.message);
	else
		log_info("rebuilt the local mirror of %s from the store", name);
	rebuild_free(meshd);
	bootstrap_poll_within(meshd, failed ? WATCH_ERROR_USEC : 0);
}

static void end(struct rebuilding *rebuilding)
{
	timer_disarm(rebuilding->patience);
	timer_arm(rebuilding->finish, 0);
}

static void fail(struct rebuilding *rebuilding, const char *format, ...) _printf_(2, 3);
static void fail(struct rebuilding *rebuilding, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	if (!failure_is_set(&rebuilding->failure))
		failure_vset(&rebuilding->failure, FAILURE_FAILED, NULL, format, args);
	va_end(args);
	end(rebuilding);
}

static void on_patience(void *userdata)
{
	fail(userdata, "no answer within %llu s", (unsigned long long)(STEP_USEC / 1000000));
}

/* The error of a JetStream answer; NULL: none. Borrowed from `json`. */
static const char *error_of(const json_t *json)
{
	const json_t *error = json_object_get(json, "error");

	return error ? json_string_value(json_object_get(error, "description")) : NULL;
}

static json_t *answer_of(struct rebuilding *rebuilding, const char *what, int error,
			 const struct bus_message *reply)
{
	json_t *json = NULL;

	if (error < 0) {
		fail(rebuilding, "%s: %s", what, strerror(-error));
		return NULL;
	}
	json = json_loadb(reply->data, reply->size, 0, NULL);
	if (!json_is_object(json) || json_object_get(json, "error")) {
		fail(rebuilding, "%s: %s", what, error_of(json) ? error_of(json) : "no reason");
		json_decref(json);
		return NULL;
	}
	return json;
}

/* --- into the local bus */

static void send_chunk(struct rebuilding *rebuilding);

static void on_last_chunk(int error, const struct bus_message *reply, void *userdata)
{
	struct rebuilding *rebuilding = userdata;
	_cleanup_json_ json_t *json = NULL;

	rebuilding->request = NULL;
	json = answer_of(rebuilding, "the local bus refuses the snapshot", error, reply);
	if (json)
		end(rebuilding);
}

static void on_chunk_sent(int error, const struct bus_message *reply, void *userdata)
{
	struct rebuilding *rebuilding = userdata;

	rebuilding->request = NULL;
	if (error < 0)
		fail(rebuilding, "the local bus does not take the snapshot: %s", strerror(-error));
	else if (reply->size)
		fail(rebuilding, "the local bus refuses the snapshot: %.200s", reply->data);
	else
		send_chunk(rebuilding);
}

static void send_chunk(struct rebuilding *rebuilding)
{
	_cleanup_free_ char *chunk = xmalloc(CHUNK_BYTES);
	size_t size = fread(chunk, 1, CHUNK_BYTES, rebuilding->file);

	if (size == 0 && ferror(rebuilding->file)) {
		fail(rebuilding, "cannot read %s", rebuilding->path);
		return;
	}
	timer_arm(rebuilding->patience, STEP_USEC + 1000000);
	bus_request(rebuilding->meshd->bus, rebuilding->deliver, NULL, chunk, size, STEP_USEC,
		    size ? on_chunk_sent : on_last_chunk, rebuilding, &rebuilding->request);
}

static void on_restore(int error, const struct bus_message *reply, void *userdata)
{
	struct rebuilding *rebuilding = userdata;
	_cleanup_json_ json_t *json = NULL;

	rebuilding->request = NULL;
	json = answer_of(rebuilding, "the local bus refuses to restore it", error, reply);
	if (!json)
		return;
	rebuilding->deliver = xstrdup(json_string_value(json_object_get(json, "deliver_subject")));
	if (!rebuilding->deliver)
		fail(rebuilding, "the answer of the local bus has no subject for the snapshot");
	else
		send_chunk(rebuilding);
}

static void restore(struct rebuilding *rebuilding)
{
	struct meshd *meshd = rebuilding->meshd;
	_cleanup_free_ char *api = xasprintf("$JS.%s.API.STREAM.RESTORE.%s", meshd->machine,
					     streams_rows[rebuilding->id].name);
	_cleanup_json_ json_t *request =
		json_pack("{s:o, s:O}", "config", mirror_config(meshd, rebuilding->id), "state",
			  rebuilding->state);
	_cleanup_free_ char *text = json_text(request);

	timer_arm(rebuilding->patience, STEP_USEC + 1000000);
	bus_request(meshd->bus, api, NULL, text, strlen(text), STEP_USEC, on_restore, rebuilding,
		    &rebuilding->request);
}

static void on_deleted(const struct failure *failure, void *userdata)
{
	struct rebuilding *rebuilding = userdata;

	rebuilding->request = NULL;
	if (failure && failure->code != FAILURE_NOT_FOUND)
		fail(rebuilding, "%s", failure->message);
	else
		restore(rebuilding);
}

/* --- out of the store */

static void received(struct rebuilding *rebuilding)
{
	if (!rebuilding->complete || !rebuilding->state)
		return;
	bus_subscription_free(steal(rebuilding->subscription));
	rewind(rebuilding->file);
	timer_arm(rebuilding->patience, STEP_USEC + 1000000);
	stream_manage(rebuilding->meshd->bus, rebuilding->meshd->machine, STREAM_DELETE,
		      streams_rows[rebuilding->id].name, NULL, on_deleted, rebuilding,
		      &rebuilding->request);
}

/* Each chunk is acknowledged: the store sends no more than a few ahead. The last one is empty. */
static void on_chunk(const struct bus_message *message, void *userdata)
{
	struct rebuilding *rebuilding = userdata;
	int status = bus_status(message);

	timer_arm(rebuilding->patience, STEP_USEC);
	if (message->size == 0) {
		if (status != 0 && status != 204) {
			fail(rebuilding, "the store ended its snapshot (status %d)", status);
			return;
		}
		rebuilding->complete = true;
		received(rebuilding);
		return;
	}
	if (fwrite(message->data, 1, message->size, rebuilding->file) != message->size) {
		fail(rebuilding, "cannot write %s: %s", rebuilding->path, strerror(errno));
		return;
	}
	if (message->reply && *message->reply)
		bus_publish(rebuilding->meshd->bus, message->reply, NULL, NULL, "", 0);
}

static void on_snapshot(int error, const struct bus_message *reply, void *userdata)
{
	struct rebuilding *rebuilding = userdata;
	_cleanup_json_ json_t *json = NULL;

	rebuilding->request = NULL;
	json = answer_of(rebuilding, "the store refuses a snapshot", error, reply);
	if (!json)
		return;
	rebuilding->state = json_incref(json_object_get(json, "state"));
	if (!rebuilding->state)
		fail(rebuilding, "the answer has no state of the snapshot");
	else
		received(rebuilding);
}

static int open_file(struct rebuilding *rebuilding)
{
	int fd = open(rebuilding->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	rebuilding->file = fd < 0 ? NULL : fdopen(fd, "w+");
	if (!rebuilding->file && fd >= 0)
		close(fd);
	return rebuilding->file ? 0 : -errno;
}

void rebuild_start(struct meshd *meshd, enum streams_id id)
{
	_cleanup_free_ char *inbox = bus_inbox(meshd->bus), *text = NULL;
	_cleanup_free_ char *api =
		xasprintf("$JS." STORE_DOMAIN ".API.STREAM.SNAPSHOT.%s", streams_rows[id].name);
	_cleanup_json_ json_t *request =
		json_pack("{s:s, s:b}", "deliver_subject", inbox, "no_consumers", 1);
	struct rebuilding *rebuilding = xcalloc(1, sizeof(*rebuilding));
	int r;

	meshd->rebuilding = rebuilding;
	rebuilding->meshd = meshd;
	rebuilding->id = id;
	rebuilding->path = xasprintf("%s/" SNAPSHOT_FILE, meshd->config->daemon.state);
	rebuilding->patience = timer_new(meshd->loop, on_patience, rebuilding);
	rebuilding->finish = timer_new(meshd->loop, on_finish, rebuilding);
	r = open_file(rebuilding);
	if (r < 0) {
		fail(rebuilding, "cannot open %s: %s", rebuilding->path, strerror(-r));
		return;
	}
	r = bus_subscribe(meshd->bus, inbox, on_chunk, rebuilding, &rebuilding->subscription);
	if (r < 0) {
		fail(rebuilding, "cannot subscribe to the snapshot: %s", strerror(-r));
		return;
	}
	text = json_text(request);
	timer_arm(rebuilding->patience, STEP_USEC + 1000000);
	bus_request(meshd->bus, api, NULL, text, strlen(text), STEP_USEC, on_snapshot, rebuilding,
		    &rebuilding->request);
}

bool rebuild_is_of(const struct meshd *meshd, enum streams_id id)
{
	return meshd->rebuilding && meshd->rebuilding->id == id;
}
