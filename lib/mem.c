/* Memory: allocation that never fails. */
#include "lib/mem.h"

#include <stdio.h>
#include <unistd.h>

void mem_exhausted(void)
{
	static const char text[] =
		"out of memory, ending; the supervisor starts this program again\n";
	ssize_t written = write(STDERR_FILENO, text, sizeof(text) - 1);

	(void)written;
	_exit(MEM_EXIT_CODE);
}

void *xmalloc(size_t size)
{
	void *p = malloc(size ? size : 1);

	if (!p)
		mem_exhausted();
	return p;
}

void *xcalloc(size_t count, size_t size)
{
	void *p = calloc(count ? count : 1, size ? size : 1);

	if (!p)
		mem_exhausted();
	return p;
}

void *xrealloc(void *p, size_t count, size_t size)
{
	p = reallocarray(p, count ? count : 1, size ? size : 1);
	if (!p)
		mem_exhausted();
	return p;
}

char *xstrdup(const char *s)
{
	return s ? xmemdup(s, strlen(s)) : NULL;
}

char *xstrndup(const char *s, size_t n)
{
	return xmemdup(s, strnlen(s, n));
}

void *xmemdup(const void *p, size_t size)
{
	char *copy = xmalloc(size + 1);

	if (size)
		memcpy(copy, p, size);
	copy[size] = '\0';
	return copy;
}

char *xvasprintf(const char *format, va_list args)
{
	char *s = NULL;

	if (vasprintf(&s, format, args) < 0)
		mem_exhausted();
	return s;
}

char *xasprintf(const char *format, ...)
{
	va_list args;
	char *s;

	va_start(args, format);
	s = xvasprintf(format, args);
	va_end(args);
	return s;
}

void *array_grow(void *array, size_t count, size_t element_size)
{
	size_t capacity;

	/* Full exactly when empty or a power of two. */
	if (count & (count - 1))
		return array;
	capacity = count ? count * 2 : 1;
	array = xrealloc(array, capacity, element_size);
	memset((char *)array + count * element_size, 0, (capacity - count) * element_size);
	return array;
}

void *array_new(size_t count, size_t element_size)
{
	size_t capacity = 1;

	while (capacity < count)
		capacity *= 2;
	return xcalloc(capacity, element_size);
}
