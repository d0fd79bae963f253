/* `ployzctl schema`: the wire objects, from the rows that encode and decode them. */
#include "ployzctl/ployzctl.h"

struct schema_options {
	bool all;
};
static const struct config_row rows[] = {
	{ "all", CONFIG_BOOL, offsetof(struct schema_options, all), NULL, NULL, "every object", 0, 0 },
	CONFIG_END,
};

static const char *const types[] = {
	[CODEC_STRING] = "string", [CODEC_NAME] = "name",	[CODEC_BOOL] = "boolean", [CODEC_INT] = "integer",
	[CODEC_REAL] = "number",   [CODEC_ENUM] = "one of",	[CODEC_DURATION] = "duration", [CODEC_SIZE] = "size",
	[CODEC_STRV] = "strings",  [CODEC_PAIRS] = "map of strings", [CODEC_STRUCT] = "object", [CODEC_POINTER] = "object",
	[CODEC_LIST] = "list of",  [CODEC_MAP] = "map of",	[CODEC_JSON] = "any",	  [CODEC_CUSTOM] = "",
};

/* Every schema that a subject leads to, each once. */
static void gather(const struct codec_schema *schema, struct map *to)
{
	if (!schema || map_get(to, schema->name))
		return;
	map_put(to, schema->name, (void *)(uintptr_t)schema);
	for (const struct codec_field *field = schema->fields; field && field->key; field++)
		gather(field->schema, to);
}

static char *type_words(const struct codec_field *field)
{
	struct strbuf text = STRBUF_INIT;

	strbuf_puts(&text, field->custom ? field->custom->type : types[field->type]);
	for (size_t i = 0; field->names && field->names[i]; i++)
		strbuf_printf(&text, "%s%s", i ? ", " : " ", field->names[i]);
	if (field->schema)
		strbuf_printf(&text, " %s", field->schema->name);
	if (field->flags & CODEC_REQUIRED)
		strbuf_puts(&text, ", required");
	return strbuf_steal(&text);
}

static void print_text(const struct codec_schema *schema)
{
	printf("%s\n", schema->name);
	for (const struct codec_field *field = schema->fields; field && field->key; field++) {
		_cleanup_free_ char *type = type_words(field);

		printf("  %s: %s%s%s\n", field->key, type, field->note ? "; " : "", field->note ? field->note : "");
	}
}

static void print_json(const struct codec_schema *schema)
{
	json_t *fields = json_array();

	for (const struct codec_field *field = schema->fields; field && field->key; field++) {
		_cleanup_free_ char *type = type_words(field);

		json_array_append_new(fields, json_pack("{s:s, s:s, s:s*}", "key", field->key, "type", type, "note", field->note));
	}
	session_json_value(json_pack("{s:s, s:o}", "schema", schema->name, "fields", fields));
}

static void print(const struct ployzctl *ctl, const struct codec_schema *schema)
{
	if (ctl->options.json)
		print_json(schema);
	else
		print_text(schema);
}

static int no_schema(const char *name)
{
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;

	failure_set(&failure, name ? FAILURE_NOT_FOUND : FAILURE_INVALID, "ployzctl schema --all",
		    name ? "there is no wire object %s" : "which wire object%s?", name ? name : "");
	return session_say(&failure);
}

int verb_schema(struct ployzctl *ctl, int argc, char **argv)
{
	_cleanup_(strv_freep) char **words = NULL;
	struct schema_options options;
	struct map all = MAP_INIT;
	int code = arguments_take(ctl, "schema", rows, NULL, &options, argc, argv, 0, 1, &words);

	if (code)
		return MAX2(code, 0);
	for (size_t i = 0; i < SUBJECT_COUNT; i++) {
		gather(subjects[i].request, &all);
		gather(subjects[i].reply, &all);
	}
	gather(&lease_schema, &all);
	if (options.all)
		for (struct map_item *i = NULL; (i = map_next(&all, i));)
			print(ctl, i->value);
	else if (words && map_get(&all, words[0]))
		print(ctl, map_get(&all, words[0]));
	else
		code = no_schema(words ? words[0] : NULL);
	map_clear(&all, NULL);
	return code;
}
