/* Tables of text: each column is as wide as its widest cell. */
#include "ployzctl/ployzctl.h"

#define GAP 2

size_t text_width(const char *text)
{
	size_t width = 0;

	for (; *text; text++)
		width += ((unsigned char)*text & 0xc0) != 0x80;
	return width;
}

char *text_safe(const char *text)
{
	char *safe = xstrdup(text ? text : "");

	for (unsigned char *p = (unsigned char *)safe; *p; p++) {
		/* C1 controls are two bytes in UTF-8: 0xc2 0x80–0x9f. */
		if ((*p < 0x20 && *p != '\t') || *p == 0x7f)
			*p = '?';
		else if (*p == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0)
			p[0] = p[1] = '?';
	}
	return safe;
}

void table_init(struct table *table, const char *const *heading)
{
	*table = (struct table){ 0 };
	for (; *heading; heading++, table->columns++)
		strv_push(&table->cells, xstrdup(*heading));
	table->n_cells = table->columns;
}

void table_row(struct table *table, ...)
{
	va_list args;

	table->cells =
		xrealloc(table->cells, table->n_cells + table->columns + 1, sizeof(*table->cells));
	va_start(args, table);
	for (size_t i = 0; i < table->columns; i++) {
		const char *text = va_arg(args, const char *);

		table->cells[table->n_cells++] = text && *text ? text_safe(text) : xstrdup("-");
	}
	va_end(args);
	table->cells[table->n_cells] = NULL;
}

bool table_is_empty(const struct table *table)
{
	return table->n_cells == table->columns;
}

char *table_render(const struct table *table)
{
	_cleanup_free_ size_t *widths = xcalloc(table->columns + 1, sizeof(*widths));
	struct strbuf text = STRBUF_INIT;

	for (size_t i = 0; i < table->n_cells; i++)
		widths[i % table->columns] =
			MAX2(widths[i % table->columns], text_width(table->cells[i]));
	for (size_t i = 0; i < table->n_cells; i++) {
		size_t column = i % table->columns;

		strbuf_puts(&text, table->cells[i]);
		if (column + 1 < table->columns)
			strbuf_printf(&text, "%*s",
				      (int)(widths[column] - text_width(table->cells[i]) + GAP),
				      "");
		else
			strbuf_puts(&text, "\n");
	}
	return strbuf_steal(&text);
}

void table_print(const struct table *table)
{
	_cleanup_free_ char *text = table_render(table);

	fputs(text, stdout);
}

void table_clear(struct table *table)
{
	strv_free(table->cells);
	*table = (struct table){ 0 };
}

char *age_of(const char *since, uint64_t now_usec)
{
	uint64_t at;

	if (!since || time_parse(since, &at) < 0)
		return NULL;
	/* A clock that runs behind gives 0, never a huge number. */
	return duration_human(at > now_usec ? 0 : now_usec - at);
}
