/* Memory: allocation that ends the process when there is none, and cleanup attributes. */
#ifndef PLOYZ_MEM_H
#define PLOYZ_MEM_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* clang 14 reports a variable as unused that only its cleanup uses. */
#define _cleanup_(fn) __attribute__((cleanup(fn), unused))
#define _printf_(fmt, first) __attribute__((format(printf, fmt, first)))
#define _unused_ __attribute__((unused))
#define _noreturn_ __attribute__((noreturn))

#define MEM_EXIT_CODE 71 /* how the process ends when there is no memory */

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MIN2(a, b) ((a) < (b) ? (a) : (b))
#define MAX2(a, b) ((a) > (b) ? (a) : (b))

/* Returns a pointer's value and sets it to NULL: ownership moves. */
#define steal(p)                                  \
	({                                        \
		__typeof__(p) *steal_at = &(p);   \
		__typeof__(p) stolen = *steal_at; \
		*steal_at = NULL;                 \
		stolen;                           \
	})

/* Defines `static inline void NAMEp(TYPE **)` for _cleanup_() from a destructor NAME(TYPE *). */
#define DEFINE_CLEANUP(type, destroy)           \
	static inline void destroy##p(type **p) \
	{                                       \
		if (*p)                         \
			destroy(*p);            \
	}                                       \
	struct mem_cleanup_needs_semicolon

/* These end the process with a message when memory is exhausted; they never return NULL. The
 * caller owns what they return and gives it back with free(). */
void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *p, size_t count, size_t size);
/* A copy of a string; NULL gives NULL. */
char *xstrdup(const char *s);
/* The first `n` bytes of `s` (or all, if shorter) as a string. */
char *xstrndup(const char *s, size_t n);
/* `size` bytes copied, with a zero byte behind them that is not counted. */
void *xmemdup(const void *p, size_t size);
char *xasprintf(const char *format, ...) _printf_(1, 2);
char *xvasprintf(const char *format, va_list args) _printf_(1, 0);
/* Ends the process: memory is exhausted, and the state is in the store. */
_noreturn_ void mem_exhausted(void);

/* Grows an array of `count` elements by one, doubling its capacity, which follows from the count
 * alone. The array is zero-initialised beyond `count`. */
void *array_grow(void *array, size_t count, size_t element_size);

/* A zeroed array of `count` elements that array_grow and array_add can extend. */
void *array_new(size_t count, size_t element_size);

/* Appends a zeroed element to (array, count) and gives a pointer to it. */
#define array_add(array, count)                                           \
	({                                                                \
		(array) = array_grow((array), (count), sizeof(*(array))); \
		&(array)[(count)++];                                      \
	})

static inline void freep(void *p)
{
	free(*(void **)p);
}

#define _cleanup_free_ _cleanup_(freep)

#endif
