/* Documents: JSON and YAML text, with the position of every value. */
#include "lib/document.h"

#include <errno.h>
#include <math.h>
#include <yaml.h>

#include "lib/str.h"

/* A tree parallel to the value's: paths as text would need memory that grows with the square of the
 * input. */
struct place {
	int line, column;
	struct place *children; /* in the order of the value's members or items */
	size_t n_children;
};

struct document {
	json_t *root;
	struct place place;
};

static void place_clear(struct place *place)
{
	for (size_t i = 0; i < place->n_children; i++)
		place_clear(&place->children[i]);
	free(place->children);
}

void document_free(struct document *document)
{
	if (!document)
		return;
	json_decref(document->root);
	place_clear(&document->place);
	free(document);
}

const json_t *document_root(const struct document *document)
{
	return document->root;
}

/* The length of `key` where the path begins with it as a whole part. */
static size_t part_length(const char *path, const char *key)
{
	size_t n = strlen(key);

	if (n == 0 || strncmp(path, key, n) != 0)
		return 0;
	return path[n] == '\0' || path[n] == '.' || path[n] == '[' ? n : 0;
}

bool document_step(const json_t *json, const char **path, char **ret_key, size_t *ret_index)
{
	const char *p = *path, *key, *found = NULL;
	size_t longest = 0, index = 0;
	json_t *value;
	char *end;

	if (json_is_array(json)) {
		if (*p != '[')
			return false;
		index = strtoul(p + 1, &end, 10);
		if (*end != ']')
			return false;
		p = end + 1;
	} else {
		if (*p == '.')
			p++;
		/* Keys of maps may contain dots: the longest key that matches counts. */
		json_object_foreach ((json_t *)json, key, value)
			if (part_length(p, key) > longest) {
				longest = part_length(p, key);
				found = key;
			}
		if (!found)
			longest = strcspn(p, ".[");
		if (longest == 0)
			return false;
		*ret_key = xstrndup(p, longest);
		p += longest;
	}
	*ret_index = index;
	*path = p;
	return true;
}

static size_t member_index(const json_t *object, const char *wanted)
{
	const char *key;
	json_t *value;
	size_t i = 0;

	json_object_foreach ((json_t *)object, key, value) {
		if (streq(key, wanted))
			return i;
		i++;
	}
	return SIZE_MAX;
}

void document_where(const struct document *document, const char *path, int *ret_line,
		    int *ret_column)
{
	const struct place *place = &document->place;
	const json_t *json = document->root;

	while (path && *path) {
		_cleanup_free_ char *key = NULL;
		size_t index;

		if (!document_step(json, &path, &key, &index))
			break;
		if (key)
			index = member_index(json, key);
		if (index >= place->n_children)
			break;
		json = key ? json_object_get(json, key) : json_array_get(json, index);
		place = &place->children[index];
	}
	*ret_line = place->line;
	*ret_column = place->column;
}

static struct place *place_add(struct place *parent, int line, int column)
{
	struct place *child = array_add(parent->children, parent->n_children);

	child->line = line;
	child->column = column;
	return child;
}

/* Scans JSON that jansson has accepted, to record the positions of its values. */
struct scan {
	const char *at, *end;
	int line, column;
};

static void scan_byte(struct scan *s)
{
	if (*s->at == '\n') {
		s->line++;
		s->column = 1;
	} else if (((unsigned char)*s->at & 0xc0) != 0x80) {
		s->column++; /* the first byte of a character counts */
	}
	s->at++;
}

static void scan_to_token(struct scan *s)
{
	while (s->at < s->end && strchr(" \t\r\n,:", *s->at))
		scan_byte(s);
}

static void scan_scalar(struct scan *s)
{
	if (s->at < s->end && *s->at == '"') {
		scan_byte(s);
		while (s->at < s->end && *s->at != '"') {
			if (*s->at == '\\')
				scan_byte(s);
			if (s->at < s->end)
				scan_byte(s);
		}
		if (s->at < s->end)
			scan_byte(s);
		return;
	}
	while (s->at < s->end && !strchr(" \t\r\n,:]}", *s->at))
		scan_byte(s);
}

/* False: nested too deep. */
static bool scan_value(struct scan *s, const json_t *json, struct place *place, int depth)
{
	size_t n = json_is_object(json) ? json_object_size(json) : json_array_size(json);
	void *iter = json_object_iter((json_t *)json);

	scan_to_token(s);
	if (!json_is_object(json) && !json_is_array(json)) {
		scan_scalar(s);
		return true;
	}
	if (depth >= DOCUMENT_MAX_DEPTH)
		return false;
	scan_byte(s);
	for (size_t i = 0; i < n; i++) {
		struct place *child;

		scan_to_token(s);
		child = place_add(place, s->line, s->column);
		if (iter)
			scan_scalar(s);
		if (!scan_value(s, iter ? json_object_iter_value(iter) : json_array_get(json, i),
				child, depth + 1))
			return false;
		iter = iter ? json_object_iter_next((json_t *)json, iter) : NULL;
	}
	scan_to_token(s);
	if (s->at < s->end)
		scan_byte(s);
	return true;
}

static int json_read(const char *name, const char *text, size_t size, struct document *document,
		     struct failure *failure)
{
	struct scan scan = { text, text + size, 1, 1 };
	json_error_t error;

	document->root = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
	if (!document->root)
		return failure_set(failure, FAILURE_INVALID, NULL, "%s:%d:%d: not valid JSON: %s",
				   name, MAX2(error.line, 1), MAX2(error.column, 1), error.text);
	scan_to_token(&scan);
	document->place = (struct place){ .line = scan.line, .column = scan.column };
	if (!scan_value(&scan, document->root, &document->place, 0))
		return failure_set(failure, FAILURE_INVALID, NULL,
				   "%s:%d:%d: nested deeper than %d levels", name, scan.line,
				   scan.column, DOCUMENT_MAX_DEPTH);
	return 0;
}

struct reader {
	yaml_parser_t yaml;
	const char *name;
	struct failure *failure;
};

static int refuse(struct reader *r, yaml_mark_t mark, const char *what)
{
	return failure_set(r->failure, FAILURE_INVALID, NULL, "%s:%zu:%zu: %s", r->name,
			   mark.line + 1, mark.column + 1, what);
}

/* The caller deletes the event, also after an error. */
static int next_event(struct reader *r, yaml_event_t *event)
{
	yaml_mark_t mark;

	memset(event, 0, sizeof(*event));
	if (yaml_parser_parse(&r->yaml, event))
		return 0;
	if (r->yaml.error == YAML_MEMORY_ERROR)
		mem_exhausted();
	mark = r->yaml.error == YAML_READER_ERROR ? r->yaml.mark : r->yaml.problem_mark;
	return refuse(r, mark, r->yaml.problem ? r->yaml.problem : "not valid YAML");
}

static bool is_one_of(const char *s, const char *const *words)
{
	for (; *words; words++)
		if (streq(s, *words))
			return true;
	return false;
}

/* Value of a plain scalar of digits: [-+]?[0-9]+, 0o7, 0xf. False: it is none. */
static bool plain_integer(const char *s, json_t **ret, bool *ret_too_large)
{
	const char *digits = s[0] == '-' || s[0] == '+' ? s + 1 : s;
	const char *allowed = "0123456789";
	int base = 10;
	long long value;

	if (str_starts(s, "0o") || str_starts(s, "0x")) {
		base = s[1] == 'o' ? 8 : 16;
		allowed = base == 8 ? "01234567" : "0123456789abcdefABCDEF";
		digits = s + 2;
	}
	if (!*digits || digits[strspn(digits, allowed)])
		return false;
	errno = 0;
	value = strtoll(base == 10 ? s : digits, NULL, base);
	*ret_too_large = errno == ERANGE;
	*ret = *ret_too_large ? NULL : json_integer(value);
	return true;
}

/* [-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )? */
static bool is_real(const char *s)
{
	size_t before, after = 0;

	s += *s == '-' || *s == '+';
	before = strspn(s, "0123456789");
	s += before;
	if (*s == '.') {
		after = strspn(++s, "0123456789");
		s += after;
	}
	if (before + after == 0)
		return false;
	if (*s == 'e' || *s == 'E') {
		s++;
		s += *s == '-' || *s == '+';
		if (!*s)
			return false;
		s += strspn(s, "0123456789");
	}
	return *s == '\0';
}

/* YAML 1.2's core schema. NULL: a number that this program cannot represent. */
static json_t *plain_value(const char *s)
{
	static const char *const nulls[] = { "", "~", "null", "Null", "NULL", NULL };
	static const char *const trues[] = { "true", "True", "TRUE", NULL };
	static const char *const falses[] = { "false", "False", "FALSE", NULL };
	static const char *const endless[] = { ".inf",	".Inf",	 ".INF",  "+.inf", "+.Inf",
					       "+.INF", "-.inf", "-.Inf", "-.INF", ".nan",
					       ".NaN",	".NAN",	 NULL };
	json_t *number;
	bool too_large;

	if (is_one_of(s, nulls))
		return json_null();
	if (is_one_of(s, trues))
		return json_true();
	if (is_one_of(s, falses))
		return json_false();
	if (is_one_of(s, endless))
		return NULL;
	if (plain_integer(s, &number, &too_large))
		return number;
	if (is_real(s))
		return isfinite(strtod(s, NULL)) ? json_real(strtod(s, NULL)) : NULL;
	return json_string(s);
}

static int read_scalar(struct reader *r, const yaml_event_t *event, json_t **ret)
{
	const char *text = (const char *)event->data.scalar.value;
	size_t length = event->data.scalar.length;

	*ret = event->data.scalar.plain_implicit && strlen(text) == length
		       ? plain_value(text)
		       : json_stringn(text, length);
	if (!*ret)
		return refuse(r, event->start_mark,
			      "a number out of range: put it in quotes if it is text");
	return 0;
}

/* Anchors, aliases and tags are refused: a short text would expand to a large one. */
static int refuse_extras(struct reader *r, const yaml_event_t *event)
{
	const yaml_char_t *anchor = NULL, *tag = NULL;

	switch (event->type) {
	case YAML_ALIAS_EVENT:
		return refuse(r, event->start_mark,
			      "aliases (*name) are refused: write the value out");
	case YAML_SCALAR_EVENT:
		anchor = event->data.scalar.anchor;
		tag = event->data.scalar.tag;
		break;
	case YAML_SEQUENCE_START_EVENT:
		anchor = event->data.sequence_start.anchor;
		tag = event->data.sequence_start.tag;
		break;
	case YAML_MAPPING_START_EVENT:
		anchor = event->data.mapping_start.anchor;
		tag = event->data.mapping_start.tag;
		break;
	default:
		break;
	}
	if (anchor)
		return refuse(r, event->start_mark,
			      "anchors (&name) are refused: write the value out");
	if (tag)
		return refuse(r, event->start_mark, "tags (!name) are refused");
	return 0;
}

static int read_value(struct reader *r, const yaml_event_t *event, struct place *place, int depth,
		      json_t **ret);

static int read_list(struct reader *r, struct place *place, int depth, json_t *list)
{
	for (;;) {
		_cleanup_(yaml_event_delete) yaml_event_t event;
		json_t *item = NULL;
		struct place *child;
		int e = next_event(r, &event);

		if (e < 0)
			return e;
		if (event.type == YAML_SEQUENCE_END_EVENT)
			return 0;
		child = place_add(place, (int)event.start_mark.line + 1,
				  (int)event.start_mark.column + 1);
		e = read_value(r, &event, child, depth, &item);
		if (e < 0)
			return e;
		json_array_append_new(list, item);
	}
}

static int check_key(struct reader *r, const yaml_event_t *event, json_t *object)
{
	_cleanup_free_ char *what = NULL;
	const char *key;
	int e = refuse_extras(r, event);

	if (e < 0)
		return e;
	if (event->type != YAML_SCALAR_EVENT)
		return refuse(r, event->start_mark, "a key must be plain text");
	key = (const char *)event->data.scalar.value;
	if (strlen(key) != event->data.scalar.length)
		return refuse(r, event->start_mark, "a key holds a zero byte");
	if (streq(key, "<<") && event->data.scalar.plain_implicit)
		return refuse(r, event->start_mark,
			      "merge keys (<<) are refused: write the keys out");
	if (!json_object_get(object, key))
		return 0;
	what = xasprintf("the key '%s' is there twice", key);
	return refuse(r, event->start_mark, what);
}

static int read_map(struct reader *r, struct place *place, int depth, json_t *object)
{
	for (;;) {
		_cleanup_(yaml_event_delete) yaml_event_t key = { .type = YAML_NO_EVENT };
		_cleanup_(yaml_event_delete) yaml_event_t event = { .type = YAML_NO_EVENT };
		struct place *child;
		json_t *value = NULL;
		int e = next_event(r, &key);

		if (e < 0)
			return e;
		if (key.type == YAML_MAPPING_END_EVENT)
			return 0;
		e = check_key(r, &key, object);
		if (e < 0)
			return e;
		child = place_add(place, (int)key.start_mark.line + 1,
				  (int)key.start_mark.column + 1);
		e = next_event(r, &event);
		if (e == 0)
			e = read_value(r, &event, child, depth, &value);
		if (e < 0)
			return e;
		json_object_set_new(object, (const char *)key.data.scalar.value, value);
	}
}

static int read_value(struct reader *r, const yaml_event_t *event, struct place *place, int depth,
		      json_t **ret)
{
	_cleanup_json_ json_t *value = NULL;
	int e = refuse_extras(r, event);

	if (e < 0)
		return e;
	if (event->type == YAML_SCALAR_EVENT)
		return read_scalar(r, event, ret);
	if (depth >= DOCUMENT_MAX_DEPTH)
		return refuse(r, event->start_mark, "nested too deep");
	value = event->type == YAML_MAPPING_START_EVENT ? json_object() : json_array();
	e = event->type == YAML_MAPPING_START_EVENT ? read_map(r, place, depth + 1, value)
						    : read_list(r, place, depth + 1, value);
	if (e == 0)
		*ret = steal(value);
	return e;
}

/* Reads events up to the end of one document: *ret stays NULL where there is none. */
static int yaml_events(struct reader *r, struct document *document)
{
	for (;;) {
		_cleanup_(yaml_event_delete) yaml_event_t event;
		int e = next_event(r, &event);

		if (e < 0)
			return e;
		if (event.type == YAML_STREAM_END_EVENT && !document->root)
			return refuse(r, event.start_mark, "there is nothing in it");
		if (event.type == YAML_STREAM_END_EVENT)
			return 0;
		if (event.type == YAML_DOCUMENT_START_EVENT && document->root)
			return refuse(r, event.start_mark,
				      "a second document: one file is one document");
		if (event.type == YAML_STREAM_START_EVENT ||
		    event.type == YAML_DOCUMENT_START_EVENT ||
		    event.type == YAML_DOCUMENT_END_EVENT)
			continue;
		document->place.line = (int)event.start_mark.line + 1;
		document->place.column = (int)event.start_mark.column + 1;
		e = read_value(r, &event, &document->place, 0, &document->root);
		if (e < 0)
			return e;
	}
}

static int yaml_read(const char *name, const char *text, size_t size, struct document *document,
		     struct failure *failure)
{
	struct reader reader = { .name = name, .failure = failure };
	int r;

	if (!yaml_parser_initialize(&reader.yaml))
		mem_exhausted();
	yaml_parser_set_input_string(&reader.yaml, (const unsigned char *)text, size);
	r = yaml_events(&reader, document);
	yaml_parser_delete(&reader.yaml);
	return r;
}

static bool looks_like_json(const char *name, const char *text, size_t size)
{
	size_t n = strlen(name), i = 0;

	if (n >= 5 && streq(name + n - 5, ".json"))
		return true;
	while (i < size && strchr(" \t\r\n", text[i]) && text[i])
		i++;
	return i < size && text[i] == '{';
}

int document_parse(const char *name, const char *text, size_t size, struct document **ret,
		   struct failure *failure)
{
	_cleanup_(document_freep) struct document *document = xcalloc(1, sizeof(*document));
	int r = looks_like_json(name, text, size) ? json_read(name, text, size, document, failure)
						  : yaml_read(name, text, size, document, failure);

	if (r == 0)
		*ret = steal(document);
	return r;
}
