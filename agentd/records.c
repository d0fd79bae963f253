/* Records: which containers agentd has made, by name and engine id. Labels alone identify none: an
 * image committed from a container carries them too. A name is recorded before the request to
 * create its container, so that a container whose answer was lost is still known. */
#include "agentd/agentd.h"

#define RECORDS_MAX_BYTES (16 * 1024 * 1024)
/* Ids and removals are saved together this much later: until then name and label identify. */
#define RECORDS_GATHER_USEC 100000ull

struct record {
	char *id;      /* the engine's; NULL: not known */
	bool saved;    /* the name is in the file */
	bool doubtful; /* an earlier request may have made it */
};

struct records {
	char *path;
	struct map map;	   /* name → struct record */
	char *incarnation; /* of this process: its writes of facts carry it */
	char *previous;	   /* of the process that wrote facts before */
	bool writes;
	struct deferred *save; /* names are waited for … */
	struct timer *gather;  /* … ids are not */
	void (*saved)(int error, void *userdata);
	void *userdata;
};

static void record_free(void *p)
{
	struct record *record = p;

	free(record->id);
	free(record);
}

void records_free(struct records *records)
{
	if (!records)
		return;
	deferred_free(records->save);
	timer_free(records->gather);
	map_clear(&records->map, record_free);
	free(records->path);
	free(records->incarnation);
	free(records->previous);
	free(records);
}

static json_t *encode(const struct records *records)
{
	json_t *containers = json_object();

	for (struct map_item *i = NULL; (i = map_next(&records->map, i));) {
		const struct record *record = i->value;

		json_object_set_new(containers, i->key, json_string(record->id ? record->id : ""));
	}
	return json_pack("{s:s*, s:o}", "incarnation",
			 records->writes ? records->incarnation : records->previous, "containers",
			 containers);
}

static int save(struct records *records)
{
	_cleanup_json_ json_t *json = encode(records);
	_cleanup_free_ char *text = json_text(json);
	int r = file_write_atomic(records->path, text, strlen(text), 0600);

	timer_disarm(records->gather);
	if (r < 0)
		return log_errno(LOG_ERR, r, "cannot write %s", records->path);
	for (struct map_item *i = NULL; (i = map_next(&records->map, i));)
		((struct record *)i->value)->saved = true;
	return 0;
}

static void on_save(void *userdata)
{
	struct records *records = userdata;
	int r = save(records);

	records->saved(r, records->userdata);
}

static int load(struct records *records)
{
	_cleanup_free_ char *text = NULL;
	_cleanup_json_ json_t *json = NULL;
	const char *name;
	json_t *id;
	size_t size = 0;
	int r = file_read(records->path, RECORDS_MAX_BYTES, &text, &size);

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return log_errno(LOG_ERR, r, "cannot read %s", records->path);
	json = json_loadb(text, size, 0, NULL);
	if (!json_is_object(json_object_get(json, "containers"))) {
		log_error("cannot read %s, which records agentd's containers: it is damaged; "
			  "remove it and start agentd again",
			  records->path);
		return -EINVAL;
	}
	records->previous = xstrdup(json_string_value(json_object_get(json, "incarnation")));
	json_object_foreach (json_object_get(json, "containers"), name, id) {
		const char *value = json_string_value(id);
		struct record *record = xcalloc(1, sizeof(*record));

		record->id = value && *value ? xstrdup(value) : NULL;
		record->saved = true;
		record->doubtful = true;
		map_put(&records->map, name, record);
	}
	return 0;
}

int records_new(sd_event *loop, const char *directory, void (*saved)(int error, void *userdata),
		void *userdata, struct records **ret)
{
	struct records *records = xcalloc(1, sizeof(*records));
	int r;

	records->path = xasprintf("%s/containers.json", directory);
	records->saved = saved;
	records->userdata = userdata;
	records->save = deferred_new(loop, on_save, records);
	records->gather = timer_new(loop, on_save, records);
	records->incarnation = id_new();
	r = load(records);
	if (r < 0) {
		records_free(records);
		return r;
	}
	*ret = records;
	return 0;
}

const char *records_incarnation(const struct records *records)
{
	return records->incarnation;
}

const char *records_previous(const struct records *records)
{
	return records->previous;
}

void records_write_facts(struct records *records)
{
	records->writes = true;
	/* Without it a late write of this process would look like that of another machine. */
	if (save(records) < 0)
		deferred_schedule(records->save);
}

static struct record *record_add(struct records *records, const char *name)
{
	struct record *record = map_get(&records->map, name);

	if (record)
		return record;
	record = xcalloc(1, sizeof(*record));
	map_put(&records->map, name, record);
	return record;
}

bool records_expect(struct records *records, const char *name)
{
	const struct record *record = record_add(records, name);

	if (!record->saved)
		deferred_schedule(records->save);
	return record->saved;
}

void records_doubt(struct records *records, const char *name)
{
	struct record *record = map_get(&records->map, name);

	if (record)
		record->doubtful = true;
}

void records_made(struct records *records, const char *name, const char *id)
{
	struct record *record = record_add(records, name);

	if (streq(record->id, id))
		return;
	free(record->id);
	record->id = xstrdup(id);
	timer_arm_within(records->gather, RECORDS_GATHER_USEC);
}

void records_remove(struct records *records, const char *name)
{
	struct record *record = map_remove(&records->map, name);

	if (!record)
		return;
	record_free(record);
	timer_arm_within(records->gather, RECORDS_GATHER_USEC);
}

const char *records_id(const struct records *records, const char *name)
{
	const struct record *record = map_get(&records->map, name);

	return record ? record->id : NULL;
}

bool records_owner(const struct records *records, const struct container_seen *seen,
		   const char *machine)
{
	const char *name = seen->run ? seen->run : seen->instance ? seen->instance->id : NULL;
	const struct record *record = name ? map_get(&records->map, name) : NULL;

	if (!record || !seen->id || !streq(seen->machine, machine))
		return false;
	if (record->id)
		return streq(record->id, seen->id);
	return record->doubtful && streq(seen->name, name);
}
