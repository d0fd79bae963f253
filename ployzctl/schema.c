/* `ployzctl schema`: every subject, and the fields of every object on the wire, from the tables
 * that the daemons use. A test compares ployz-wire(7) with it. */
#include <inttypes.h>

#include "ployzctl/ployzctl.h"
#include "ployzctl/pure.h"

struct schema_options {
	bool all;
};
static const struct config_row schema_rows[] = {
	{ "all", CONFIG_BOOL, offsetof(struct schema_options, all), NULL, NULL,
	  "every schema, each after those that name it", 0, 0 },
	CONFIG_END,
};

static bool known(const struct codec_schema *const *schemas, size_t n,
		  const struct codec_schema *schema)
{
	for (size_t i = 0; i < n; i++)
		if (schemas[i] == schema)
			return true;
	return false;
}

/* A schema, then those that its fields name. */
static void gather(const struct codec_schema ***schemas, size_t *n,
		   const struct codec_schema *schema)
{
	if (known(*schemas, *n, schema))
		return;
	*array_add(*schemas, *n) = schema;
	for (const struct codec_field *field = schema->fields; field->key; field++)
		if (field->schema)
			gather(schemas, n, field->schema);
}

const struct codec_schema **schema_list(size_t *ret_count)
{
	const struct codec_schema **schemas = NULL;

	*ret_count = 0;
	for (int i = 0; i < SUBJECT_COUNT; i++) {
		gather(&schemas, ret_count, subjects[i].request);
		gather(&schemas, ret_count, subjects[i].reply);
	}
	return schemas;
}

static void add_range(struct strbuf *text, const struct codec_field *field)
{
	if (!field->min && !field->max)
		return;
	if (field->max == INT64_MAX)
		strbuf_printf(text, " from %" PRId64, field->min);
	else
		strbuf_printf(text, " %" PRId64 " to %" PRId64, field->min, field->max);
}

static void add_names(struct strbuf *text, const struct codec_field *field)
{
	for (const char *const *name = field->names; *name; name++)
		strbuf_printf(text, "%s%s", name == field->names ? "" : " | ", *name);
}

char *schema_type(const struct codec_field *field)
{
	static const char *const names[] = {
		[CODEC_STRING] = "string",
		[CODEC_NAME] = "name",
		[CODEC_BOOL] = "boolean",
		[CODEC_INT] = "integer",
		[CODEC_REAL] = "number",
		[CODEC_ENUM] = "",
		[CODEC_DURATION] = "duration",
		[CODEC_SIZE] = "bytes",
		[CODEC_STRV] = "list of string",
		[CODEC_PAIRS] = "map of string",
		[CODEC_STRUCT] = "object ",
		[CODEC_POINTER] = "object ",
		[CODEC_LIST] = "list of ",
		[CODEC_MAP] = "map of ",
		[CODEC_JSON] = "any",
		[CODEC_CUSTOM] = "",
	};
	struct strbuf text = STRBUF_INIT;

	strbuf_puts(&text, names[field->type]);
	if (field->type == CODEC_INT)
		add_range(&text, field);
	else if (field->type == CODEC_ENUM)
		add_names(&text, field);
	else if (field->type == CODEC_CUSTOM)
		strbuf_puts(&text, field->custom->type);
	else if (field->schema)
		strbuf_puts(&text, field->schema->name);
	return strbuf_steal(&text);
}

static json_t *field_json(const struct codec_field *field)
{
	_cleanup_free_ char *type = schema_type(field);
	json_t *json = json_pack("{s:s, s:s}", "key", field->key, "type", type);

	if (field->flags & CODEC_REQUIRED)
		json_object_set_new(json, "required", json_true());
	if (field->note)
		json_object_set_new(json, "note", json_string(field->note));
	return json;
}

/* A keyed object has its name as key in a map, and as a field where it stands alone. */
static const struct codec_field name_field = {
	.key = "name",
	.type = CODEC_NAME,
	.note = "where it stands alone; in a map, its key",
};

static void print_json(const struct codec_schema *schema)
{
	json_t *fields = json_array();

	if (schema->keyed)
		json_array_append_new(fields, field_json(&name_field));
	for (const struct codec_field *field = schema->fields; field->key; field++)
		json_array_append_new(fields, field_json(field));
	session_json_value(json_pack("{s:s, s:o}", "schema", schema->name, "fields", fields));
}

static void add_field(struct table *table, const struct codec_field *field)
{
	_cleanup_free_ char *type = schema_type(field);

	table_row(table, field->key, type, field->flags & CODEC_REQUIRED ? "yes" : "no",
		  field->note);
}

static void print_table(const struct codec_schema *schema)
{
	static const char *const heading[] = { "FIELD", "TYPE", "NEEDED", "NOTE", NULL };
	struct table table;

	printf("%s\n", schema->name);
	table_init(&table, heading);
	if (schema->keyed)
		add_field(&table, &name_field);
	for (const struct codec_field *field = schema->fields; field->key; field++)
		add_field(&table, field);
	table_print(&table);
	table_clear(&table);
}

static const char *const kinds[] = {
	[SUBJECT_REQUEST] = "request",	  [SUBJECT_INTENT] = "intent", [SUBJECT_FACTS] = "facts",
	[SUBJECT_MANIFESTS] = "manifest", [SUBJECT_STATUS] = "status", [SUBJECT_EVENT] = "event",
};

static void print_subjects_json(void)
{
	for (int i = 0; i < SUBJECT_COUNT; i++) {
		const struct subject *subject = &subjects[i];

		session_json_value(json_pack(
			"{s:s, s:s, s:s, s:s*, s:s*, s:s}", "subject", subject->pattern, "kind",
			kinds[subject->kind], "object", subject->request->name, "answer",
			subject->kind == SUBJECT_REQUEST ? subject->reply->name : NULL, "owner",
			subject->owner, "note", subject->note));
	}
}

static void print_subjects(void)
{
	static const char *const heading[] = { "SUBJECT", "KIND", "OBJECT", "ANSWER",
					       "OWNER",	  "NOTE", NULL };
	struct table table;

	table_init(&table, heading);
	for (int i = 0; i < SUBJECT_COUNT; i++) {
		const struct subject *subject = &subjects[i];

		table_row(&table, subject->pattern, kinds[subject->kind], subject->request->name,
			  subject->kind == SUBJECT_REQUEST ? subject->reply->name : NULL,
			  subject->owner, subject->note);
	}
	table_print(&table);
	table_clear(&table);
}

static const char *nearest(const struct codec_schema *const *schemas, size_t n, const char *word)
{
	_cleanup_free_ const char **names = xcalloc(n + 1, sizeof(*names));

	for (size_t i = 0; i < n; i++)
		names[i] = schemas[i]->name;
	return str_nearest(word, names);
}

static int unknown(const char *nearest_name, const char *name)
{
	_cleanup_free_ char *hint =
		nearest_name ? xasprintf("the nearest is '%s', see `ployzctl schema --all`",
					 nearest_name)
			     : xstrdup("run `ployzctl schema --all`");

	return session_refuse(FAILURE_NOT_FOUND, hint, "cannot show schema '%s': no such schema",
			      name);
}

/* The schema of that name, or all; false: there is none. */
static bool print_schemas(const struct ployzctl *ctl, const struct codec_schema *const *schemas,
			  size_t n, const char *word)
{
	bool found = false;

	for (size_t i = 0; i < n; i++) {
		if (word && !streq(word, schemas[i]->name))
			continue;
		if (ctl->options.json)
			print_json(schemas[i]);
		else {
			if (found)
				putchar('\n');
			print_table(schemas[i]);
		}
		found = true;
	}
	return found;
}

int verb_schema(struct ployzctl *ctl, int argc, char **argv)
{
	struct schema_options options;
	_cleanup_(strv_freep) char **words = NULL;
	_cleanup_free_ const struct codec_schema **schemas = NULL;
	size_t n;
	int code = arguments_take(ctl, "schema", schema_rows, NULL, &options, argc, argv, 0, 1,
				  &words);

	if (code)
		return MAX2(code, 0);
	schemas = schema_list(&n);
	if (options.all || words) {
		const char *word = options.all ? NULL : words[0];

		return print_schemas(ctl, schemas, n, word)
			       ? EXIT_DONE
			       : unknown(nearest(schemas, n, word), word);
	}
	if (ctl->options.json)
		print_subjects_json();
	else
		print_subjects();
	return EXIT_DONE;
}
