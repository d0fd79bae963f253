/* Images: fetched once for each deploy, with the progress of the pull. */
#include "agentd/agentd.h"

#define PULL_LINE_MAX (64 * 1024)

/* One image for one deploy: a repeated request is answered with its progress. */
struct image_job {
	struct images *images;
	char *ns, *deploy, *image;
	int pull;
	char *state; /* pulling, ready, failed */
	char *digest, *reason;
	struct engine_request *request;
	struct engine_request *pulling;
	struct pull_layers layers;
	struct strbuf line;
	uint64_t reported; /* boot-time clock */
};

struct images {
	struct agentd *agentd;
	struct map jobs; /* <ns>/<deploy>/<image> */
};

struct pull_layer {
	int64_t done, total;
};

void pull_line(struct pull_layers *layers, const char *line, size_t size)
{
	_cleanup_json_ json_t *json = json_loadb(line, size, 0, NULL);
	const char *id = json_string_value(json_object_get(json, "id"));
	const char *error = json_string_value(json_object_get(json, "error"));
	const char *status = json_string_value(json_object_get(json, "status"));
	const json_t *detail = json_object_get(json, "progressDetail");
	int64_t total = json_integer_value(json_object_get(detail, "total"));
	int64_t done = json_integer_value(json_object_get(detail, "current"));
	struct pull_layer *layer;

	if (error) {
		free(layers->error);
		layers->error = xstrdup(error);
	}
	/* A layer is downloaded, then unpacked, which counts from zero again. */
	if (!id || total <= 0 || done < 0 || (status && !str_starts(status, "Downloading")))
		return;
	layer = map_get(&layers->map, id);
	if (!layer) {
		layer = xcalloc(1, sizeof(*layer));
		map_put(&layers->map, id, layer);
	}
	layer->total = total;
	layer->done = MIN2(done, total);
}

void pull_sum(const struct pull_layers *layers, int64_t *ret_done, int64_t *ret_total)
{
	*ret_done = *ret_total = 0;
	for (struct map_item *i = NULL; (i = map_next(&layers->map, i));) {
		const struct pull_layer *layer = i->value;

		*ret_done += layer->done;
		*ret_total += layer->total;
	}
}

void pull_clear(struct pull_layers *layers)
{
	map_clear(&layers->map, free);
	free(steal(layers->error));
}

void images_split(const char *reference, char **ret_repository, char **ret_tag)
{
	const char *at = strchr(reference, '@'), *slash = strrchr(reference, '/');
	const char *colon = strchr(slash ? slash : reference, ':');

	if (at) {
		/* A tag beside a digest adds nothing. */
		const char *end = colon && colon < at ? colon : at;

		*ret_repository = xstrndup(reference, (size_t)(end - reference));
		*ret_tag = xstrdup(at + 1);
	} else if (colon) {
		*ret_repository = xstrndup(reference, (size_t)(colon - reference));
		*ret_tag = xstrdup(colon + 1);
	} else {
		*ret_repository = xstrdup(reference);
		*ret_tag = xstrdup("latest");
	}
}

struct images *images_new(struct agentd *agentd)
{
	struct images *images = xcalloc(1, sizeof(*images));

	images->agentd = agentd;
	return images;
}

static void job_free(void *p)
{
	struct image_job *job = p;

	engine_cancel(job->request);
	engine_cancel(job->pulling);
	pull_clear(&job->layers);
	strbuf_clear(&job->line);
	free(job->ns);
	free(job->deploy);
	free(job->image);
	free(job->state);
	free(job->digest);
	free(job->reason);
	free(job);
}

void images_free(struct images *images)
{
	if (!images)
		return;
	map_clear(&images->jobs, job_free);
	free(images);
}

void images_forget(struct images *images, const char *ns)
{
	for (struct map_item *i = NULL; (i = map_next(&images->jobs, i));) {
		struct image_job *job = i->value;

		if (!streq(job->ns, ns))
			continue;
		_cleanup_free_ char *key = xstrdup(i->key);

		map_remove(&images->jobs, key);
		job_free(job);
	}
}

static void report(struct image_job *job, const char *message)
{
	struct progress progress;

	codec_init(&progress_schema, &progress);
	progress.kind = PROGRESS_PULL;
	progress.ns = xstrdup(job->ns);
	progress.slot = -1;
	progress.state = xstrdup(job->state);
	progress.message = xstrdup(message);
	pull_sum(&job->layers, &progress.done_bytes, &progress.total_bytes);
	bus_progress(job->images->agentd, job->deploy, &progress);
	codec_clear(&progress_schema, &progress);
	job->reported = boot_now_usec();
}

static void finish(struct image_job *job, const char *state, const char *digest, char *reason)
{
	/* A pull reports a full disk in its stream, not in an answer. */
	if (job->layers.error && reason)
		reason = engine_disk_message(job->images->agentd->engine, reason);
	free(job->state);
	job->state = xstrdup(state);
	job->digest = xstrdup(digest);
	job->reason = reason;
	if (reason)
		log_warning("%s", reason);
	/* The deploy asks for the result when it gets this. */
	report(job, reason);
}

static void inspect(struct image_job *job, engine_fn fn)
{
	_cleanup_free_ char *name = http_escape(job->image, "/:@");
	_cleanup_free_ char *path = xasprintf("/images/%s/json", name);

	engine_ask(job->images->agentd->engine, "GET", path, NULL, ENGINE_USEC, fn, job,
		   &job->request);
}

static void on_inspected_after(const struct engine_answer *answer, void *userdata)
{
	struct image_job *job = userdata;
	const char *id = json_string_value(json_object_get(answer->json, "Id"));

	job->request = NULL;
	if (engine_ok(answer) && id) {
		finish(job, "ready", id, NULL);
	} else {
		finish(job, "failed", NULL,
		       xasprintf("cannot fetch image %s: %s", job->image,
				 job->layers.error ? job->layers.error : answer->message));
	}
}

static enum http_flow on_pull(_unused_ int status, const char *data, size_t size, void *userdata)
{
	struct image_job *job = userdata;
	_cleanup_free_ char *message = NULL;
	size_t begin = 0;

	strbuf_add(&job->line, data, size);
	for (size_t i = 0; i < job->line.size; i++) {
		if (job->line.text[i] != '\n')
			continue;
		pull_line(&job->layers, job->line.text + begin, i - begin);
		begin = i + 1;
	}
	strbuf_consume(&job->line, begin);
	if (job->line.size > PULL_LINE_MAX)
		return HTTP_END;
	if (boot_now_usec() - job->reported < PULL_EVENT_USEC)
		return HTTP_GO_ON;
	message = xasprintf("fetching %s", job->image);
	report(job, message);
	return HTTP_GO_ON;
}

static void on_pulled(const struct http_answer *answer, void *userdata)
{
	struct image_job *job = userdata;
	_cleanup_json_ json_t *json = json_loadb(answer->body, answer->size, 0, NULL);
	const char *message = json_string_value(json_object_get(json, "message"));

	job->pulling = NULL;
	if (job->line.size)
		pull_line(&job->layers, job->line.text, job->line.size);
	strbuf_clear(&job->line);
	if (answer->error < 0) {
		finish(job, "failed", NULL,
		       xasprintf("cannot fetch image %s: %s", job->image, answer->text));
	} else if (answer->status >= 300 || job->layers.error) {
		const char *why = job->layers.error ? job->layers.error
				  : message	    ? message
						    : "the engine refuses it";

		finish(job, "failed", NULL,
		       xasprintf("cannot fetch image %s: %s", job->image, why));
	} else {
		inspect(job, on_inspected_after);
	}
}

static void pull(struct image_job *job)
{
	_cleanup_free_ char *repository = NULL, *tag = NULL, *from = NULL, *escaped = NULL,
			    *path = NULL;
	_cleanup_free_ char *message = xasprintf("fetching %s", job->image);

	images_split(job->image, &repository, &tag);
	from = http_escape(repository, NULL);
	escaped = http_escape(tag, NULL);
	path = xasprintf("/images/create?fromImage=%s&tag=%s", from, escaped);
	report(job, message);
	engine_stream(job->images->agentd->engine, "POST", path, NULL, on_pull, on_pulled, job,
		      &job->pulling);
}

static void on_inspected(const struct engine_answer *answer, void *userdata)
{
	struct image_job *job = userdata;
	const char *id = json_string_value(json_object_get(answer->json, "Id"));

	job->request = NULL;
	if (engine_ok(answer) && id) {
		finish(job, "ready", id, NULL);
	} else if (answer->status == 404 && job->pull == PULL_MISSING) {
		pull(job);
	} else if (answer->status == 404) {
		finish(job, "failed", NULL,
		       xasprintf("cannot use image %s: it is not on this machine, and pull is "
				 "never",
				 job->image));
	} else {
		finish(job, "failed", NULL,
		       xasprintf("cannot inspect image %s: %s", job->image, answer->message));
	}
}

void images_prepare(struct images *images, const struct agent_prepare *order,
		    struct agent_prepared *ret)
{
	_cleanup_free_ char *key =
		xasprintf("%s/%s/%s", order->command.ns, order->command.deploy, order->image);
	struct image_job *job = map_get(&images->jobs, key);

	if (!job) {
		job = xcalloc(1, sizeof(*job));
		job->images = images;
		job->ns = xstrdup(order->command.ns);
		job->deploy = xstrdup(order->command.deploy);
		job->image = xstrdup(order->image);
		job->pull = order->pull;
		job->state = xstrdup("pulling");
		map_put(&images->jobs, key, job);
		if (job->pull == PULL_ALWAYS)
			pull(job);
		else
			inspect(job, on_inspected);
	}
	codec_init(&agent_prepared_schema, ret);
	ret->state = xstrdup(job->state);
	ret->digest = xstrdup(job->digest);
	ret->reason = xstrdup(job->reason);
	pull_sum(&job->layers, &ret->done_bytes, &ret->total_bytes);
}
