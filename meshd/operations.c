/* Several changes of streams that are sent at once and awaited together. */
#include "meshd/meshd.h"

#include <assert.h>

static const char *const done_texts[] = {
	[STREAM_CREATE] = "created",
	[STREAM_UPDATE] = "updated",
	[STREAM_DELETE] = "deleted",
};

struct operation {
	struct operations *operations;
	enum stream_verb verb;
	enum streams_id id;
	bool mirror;
	json_t *config;
	struct bus_request *request;
};
struct operations {
	struct meshd *meshd;
	struct operation *all[2 * STREAMS_COUNT];
	size_t count, left;
	struct failure failure; /* the first one */
	struct timer *finish;
	operations_fn fn;
	void *userdata;
};

static void finish(void *userdata)
{
	struct operations *operations = userdata;
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;

	failure_move(&failure, &operations->failure);
	operations->fn(failure_is_set(&failure) ? &failure : NULL, operations->userdata);
}

static void on_done(const struct failure *failure, void *userdata)
{
	struct operation *operation = userdata;
	struct operations *operations = operation->operations;
	const char *name = streams_rows[operation->id].name;

	operation->request = NULL;
	if (failure && !failure_is_set(&operations->failure))
		failure_copy(&operations->failure, failure);
	if (!failure)
		log_info("%s %s%s", done_texts[operation->verb],
			 operation->mirror ? "the local mirror of " : "", name);
	/* From the loop: fn may free the operations. */
	if (--operations->left == 0)
		timer_arm(operations->finish, 0);
}

struct operations *operations_new(struct meshd *meshd, operations_fn fn, void *userdata)
{
	struct operations *operations = xcalloc(1, sizeof(*operations));

	operations->meshd = meshd;
	operations->fn = fn;
	operations->userdata = userdata;
	operations->finish = timer_new(meshd->loop, finish, operations);
	return operations;
}

void operations_add(struct operations *operations, enum stream_verb verb, enum streams_id id,
		    bool mirror, json_t *config)
{
	struct operation *operation = xcalloc(1, sizeof(*operation));

	assert(operations->count < ARRAY_SIZE(operations->all));
	*operation = (struct operation){
		.operations = operations,
		.verb = verb,
		.id = id,
		.mirror = mirror,
		.config = config,
	};
	operations->all[operations->count++] = operation;
}

size_t operations_count(const struct operations *operations)
{
	return operations->count;
}

void operations_run(struct operations *operations)
{
	struct meshd *meshd = operations->meshd;

	operations->left = operations->count;
	if (!operations->count)
		timer_arm(operations->finish, 0);
	for (size_t i = 0; i < operations->count; i++) {
		struct operation *operation = operations->all[i];

		stream_manage(meshd->bus, operation->mirror ? meshd->machine : STORE_DOMAIN,
			      operation->verb, streams_rows[operation->id].name, operation->config,
			      on_done, operation, &operation->request);
	}
}

void operations_free(struct operations *operations)
{
	if (!operations)
		return;
	for (size_t i = 0; i < operations->count; i++) {
		bus_request_cancelp(&operations->all[i]->request);
		json_decref(operations->all[i]->config);
		free(operations->all[i]);
	}
	timer_free(operations->finish);
	failure_clear(&operations->failure);
	free(operations);
}
