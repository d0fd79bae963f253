/* View (pure): the last decodable entry of each subject as the store has it, and the file that
 * keeps them across a restart:
 *
 *   ployz-dnsd-view 1 GENERATION INTENT FACTS COUNT
 *   SEEN
 *   SUBJECT SIZE
 *   DATA                      these two for each entry
 *   end */
#include "dnsd/dnsd.h"

#include <stdio.h>

#define MAGIC "ployz-dnsd-view 1"
#define END "end\n"
#define LINE_MAX_BYTES 1024 /* longer than every subject that dnsd follows, and than SEEN */

struct view *view_new(void)
{
	return xcalloc(1, sizeof(struct view));
}

void view_free(struct view *view)
{
	if (!view)
		return;
	map_clear(&view->entries, free);
	free(view->seen);
	free(view);
}

void view_put(struct view *view, const char *subject, const char *data, size_t size)
{
	struct view_entry *entry;

	if (!data) {
		free(map_remove(&view->entries, subject));
		return;
	}
	entry = xmalloc(sizeof(*entry) + size + 1);
	entry->size = size;
	memcpy(entry->data, data, size);
	entry->data[size] = '\0';
	free(map_put(&view->entries, subject, entry));
}

const struct view_entry *view_get(const struct view *view, const char *subject)
{
	return map_get(&view->entries, subject);
}

char *view_encode(const struct view *view, size_t *ret_size)
{
	const struct watermark *applied = &view->applied;
	struct strbuf text = STRBUF_INIT;

	strbuf_printf(&text, MAGIC " %lld %lld %lld %zu\n%s\n", (long long)applied->generation,
		      (long long)applied->intent, (long long)applied->facts, view->entries.count,
		      view->seen ? view->seen : "");
	for (struct map_item *item = NULL; (item = map_next(&view->entries, item));) {
		const struct view_entry *entry = item->value;

		strbuf_printf(&text, "%s %zu\n", item->key, entry->size);
		strbuf_add(&text, entry->data, entry->size);
		strbuf_puts(&text, "\n");
	}
	strbuf_puts(&text, END);
	*ret_size = text.size;
	return strbuf_steal(&text);
}

struct reader {
	const char *at, *end;
};

/* The bytes up to the next newline, which is consumed; false: there is none within `max`. */
static bool read_line(struct reader *reader, size_t max, const char **ret, size_t *ret_size)
{
	size_t left = (size_t)(reader->end - reader->at);
	const char *newline = memchr(reader->at, '\n', MIN2(left, max + 1));

	if (!newline)
		return false;
	*ret = reader->at;
	*ret_size = (size_t)(newline - reader->at);
	reader->at = newline + 1;
	return true;
}

static bool read_header(struct reader *reader, struct view *view, int64_t *ret_count)
{
	struct watermark *applied = &view->applied;
	int64_t *const numbers[] = { &applied->generation, &applied->intent, &applied->facts,
				     ret_count };
	_cleanup_(strv_freep) char **words = NULL;
	_cleanup_free_ char *text = NULL;
	const char *line;
	size_t size;

	if (!read_line(reader, LINE_MAX_BYTES, &line, &size))
		return false;
	text = xstrndup(line, size);
	if (!str_starts(text, MAGIC " "))
		return false;
	words = strv_split(text + strlen(MAGIC), " ");
	if (strv_count(words) != ARRAY_SIZE(numbers))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		if (int_parse(words[i], 0, INT64_MAX, numbers[i]) < 0)
			return false;
	if (!read_line(reader, LINE_MAX_BYTES, &line, &size))
		return false;
	/* A text with a zero byte would not be read back as it was written. */
	if (memchr(line, 0, size))
		return false;
	view->seen = size ? xstrndup(line, size) : NULL;
	return true;
}

static bool read_entry(struct reader *reader, struct view *view)
{
	_cleanup_free_ char *text = NULL;
	const char *line;
	char *space;
	int64_t length;
	size_t size;

	if (!read_line(reader, LINE_MAX_BYTES, &line, &size))
		return false;
	text = xstrndup(line, size);
	space = strchr(text, ' ');
	if (!space || int_parse(space + 1, 0, reader->end - reader->at, &length) < 0)
		return false;
	*space = '\0';
	/* A newline follows the data. */
	if (length == reader->end - reader->at || reader->at[length] != '\n')
		return false;
	view_put(view, text, reader->at, (size_t)length);
	reader->at += length + 1;
	return true;
}

int view_decode(const char *text, size_t size, struct view **ret)
{
	_cleanup_(view_freep) struct view *view = view_new();
	struct reader reader = { text, text + size };
	int64_t count;

	if (!read_header(&reader, view, &count))
		return -EBADMSG;
	for (int64_t i = 0; i < count; i++)
		if (!read_entry(&reader, view))
			return -EBADMSG;
	if ((size_t)(reader.end - reader.at) != strlen(END) ||
	    memcmp(reader.at, END, strlen(END)) != 0)
		return -EBADMSG;
	*ret = steal(view);
	return 0;
}
