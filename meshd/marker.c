/* Marker: the files of meshd's state directory: the store that this machine belongs to, a request
 * to create one, and the nonces of its own facts. */
#include "meshd/meshd.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define STATE_FILE_MAX 65536
#define STATE_FILE_MODE 0600
#define MARKER_FILE "store.json"
#define REQUEST_FILE "init.json"
#define NOTE_FILE "facts.json"

static const struct codec_field seen_fields[] = {
	FIELD(struct seen, sequence, CODEC_INT),
	FIELD(struct seen, time_usec, CODEC_INT),
	FIELD_END,
};
static const struct codec_schema seen_schema = {
	.name = "seen",
	.size = sizeof(struct seen),
	.fields = seen_fields,
};

#define SEEN(id, key_) \
	FIELD_KEY(struct marker, seen[id], key_, CODEC_STRUCT, .schema = &seen_schema)

static const struct codec_field marker_fields[] = {
	FIELD(struct marker, cluster, CODEC_STRING),
	FIELD(struct marker, store, CODEC_STRING, .flags = CODEC_REQUIRED),
	FIELD(struct marker, generation, CODEC_INT, .flags = CODEC_REQUIRED, .min = 1,
	      .max = INT64_MAX),
	SEEN(STREAMS_INTENT, "intent"),
	SEEN(STREAMS_FACTS, "facts"),
	SEEN(STREAMS_MANIFESTS, "manifests"),
	SEEN(STREAMS_STATUS, "status"),
	SEEN(STREAMS_LEASES, "leases"),
	FIELD(struct marker, since, CODEC_STRING),
	FIELD_END,
};
const struct codec_schema marker_schema = {
	.name = "marker",
	.size = sizeof(struct marker),
	.fields = marker_fields,
};

static const struct codec_field init_request_fields[] = {
	FIELD(struct init_request, cluster, CODEC_NAME, .flags = CODEC_REQUIRED),
	FIELD(struct init_request, store, CODEC_STRING, .flags = CODEC_REQUIRED),
	FIELD(struct init_request, since, CODEC_STRING),
	FIELD_END,
};
const struct codec_schema init_request_schema = {
	.name = "init_request",
	.size = sizeof(struct init_request),
	.fields = init_request_fields,
};

static const struct codec_field facts_note_fields[] = {
	FIELD(struct facts_note, written, CODEC_STRING),
	FIELD(struct facts_note, pending, CODEC_STRV),
	FIELD_END,
};
const struct codec_schema facts_note_schema = {
	.name = "facts_note",
	.size = sizeof(struct facts_note),
	.fields = facts_note_fields,
};

static char *path_of(const char *state, const char *file)
{
	return xasprintf("%s/%s", state, file);
}

/* A damaged file is an error and not treated as absent, because the protection that it gives would
 * be lost. */
static int read_object(const char *state, const char *file, const struct codec_schema *schema,
		       const char *hint, void **ret, struct failure *failure)
{
	_cleanup_free_ char *path = path_of(state, file), *text = NULL;
	_cleanup_(failure_clear) struct failure why = FAILURE_INIT;
	size_t size = 0;
	int r = file_read(path, STATE_FILE_MAX, &text, &size);

	*ret = NULL;
	if (r == -ENOENT)
		return 0;
	if (r < 0) {
		failure_set(failure, FAILURE_FAILED, hint, "cannot read %s: %s", path,
			    strerror(-r));
		return r;
	}
	if (codec_parse(schema, text, size, CODEC_LENIENT, ret, &why) < 0)
		return failure_set(failure, FAILURE_FAILED, hint, "cannot decode %s: %s%s%s", path,
				   why.path ? why.path : "", why.path ? ": " : "", why.message);
	return 0;
}

static int write_object(const char *state, const char *file, const struct codec_schema *schema,
			const void *object)
{
	_cleanup_free_ char *path = path_of(state, file), *text = codec_print(schema, object);
	_cleanup_free_ char *line = xasprintf("%s\n", text);

	return file_write_atomic(path, line, strlen(line), STATE_FILE_MODE);
}

int marker_read(const char *state, struct marker **ret, struct failure *failure)
{
	return read_object(state, MARKER_FILE, &marker_schema,
			   "restore it; without it, this machine adopts the store that it finds",
			   (void **)ret, failure);
}

int init_request_read(const char *state, struct init_request **ret, struct failure *failure)
{
	return read_object(state, REQUEST_FILE, &init_request_schema,
			   "remove it and run `ployzctl init NAME` again", (void **)ret, failure);
}

int facts_note_read(const char *state, struct facts_note **ret, struct failure *failure)
{
	return read_object(
		state, NOTE_FILE, &facts_note_schema,
		"remove it: the next entry of this machine's facts is then taken for its "
		"own",
		(void **)ret, failure);
}

int marker_write(const char *state, const struct marker *marker)
{
	return write_object(state, MARKER_FILE, &marker_schema, marker);
}

int init_request_write(const char *state, const struct init_request *request)
{
	return write_object(state, REQUEST_FILE, &init_request_schema, request);
}

int facts_note_write(const char *state, const struct facts_note *note)
{
	return write_object(state, NOTE_FILE, &facts_note_schema, note);
}

void init_request_remove(const char *state)
{
	_cleanup_free_ char *path = path_of(state, REQUEST_FILE);

	if (unlink(path) < 0 && errno != ENOENT)
		log_errno(LOG_WARNING, errno, "cannot remove %s", path);
}

/* `init` runs as root, meshd as a user of its own, which may run already. */
static int give_to_owner(const char *state, const char *file)
{
	_cleanup_free_ char *path = path_of(state, file);
	struct stat directory;

	if (stat(state, &directory) < 0)
		return -errno;
	if (directory.st_uid != geteuid() && lchown(path, directory.st_uid, directory.st_gid) < 0)
		return -errno;
	return 0;
}

/* Whether the marker lets this machine be initialised as `name`: 1 when there is nothing to do, 0
 * when there is no marker. */
static int check_marker(const char *state, const char *name)
{
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;
	_cleanup_(marker_freep) struct marker *marker = NULL;
	int r = marker_read(state, &marker, &failure);

	if (r < 0) {
		log_failure(&failure);
		return r;
	}
	if (!marker)
		return 0;
	if (streq(marker->cluster, name)) {
		log_info("this machine belongs to cluster %s already", name);
		return 1;
	}
	log_error("cannot initialise cluster %s: this machine belongs to %s%s; keep that cluster, "
		  "or set up another machine",
		  name, marker->cluster ? "cluster " : "store ",
		  marker->cluster ? marker->cluster : marker->store);
	return -EEXIST;
}

int init_request_make(const char *state, const char *name)
{
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;
	_cleanup_(init_request_freep) struct init_request *request = NULL;
	int r;

	if (!name_valid(name)) {
		log_error("cannot initialise cluster '%s': its name is not valid; use 1 to 63 of "
			  "a-z, 0-9 and '-', a letter first",
			  name);
		return -EINVAL;
	}
	r = private_directory(state, 0700);
	if (r >= 0)
		r = check_marker(state, name);
	if (r != 0)
		return MIN2(r, 0);
	r = init_request_read(state, &request, &failure);
	if (r < 0) {
		log_failure(&failure);
		return r;
	}
	if (request && streq(request->cluster, name))
		return 0;
	/* Streams may exist already under the id of an earlier request. */
	if (!request) {
		request = codec_new(&init_request_schema);
		request->store = id_new();
		request->since = time_format(time_now_usec());
	}
	free(request->cluster);
	request->cluster = xstrdup(name);
	r = init_request_write(state, request);
	if (r >= 0)
		r = give_to_owner(state, REQUEST_FILE);
	if (r < 0)
		return log_errno(LOG_ERR, r, "cannot write the request to create cluster %s to %s",
				 name, state);
	log_info("requested the store of cluster %s: meshd creates it", name);
	return 0;
}
