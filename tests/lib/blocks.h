/* Counts the blocks of memory that are in use, so that a test notices what is left behind without a
 * sanitizer (which counts itself). Included once in a test. */
#ifndef PLOYZ_TESTS_LIB_BLOCKS_H
#define PLOYZ_TESTS_LIB_BLOCKS_H

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static long blocks_live; /* threads may allocate too */

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *p, size_t size);
extern void __libc_free(void *p);

void *malloc(size_t size)
{
	__atomic_add_fetch(&blocks_live, 1, __ATOMIC_RELAXED);
	return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	__atomic_add_fetch(&blocks_live, 1, __ATOMIC_RELAXED);
	return __libc_calloc(count, size);
}

void *realloc(void *p, size_t size)
{
	__atomic_add_fetch(&blocks_live, p == NULL, __ATOMIC_RELAXED);
	return __libc_realloc(p, size);
}

void free(void *p)
{
	__atomic_sub_fetch(&blocks_live, p != NULL, __ATOMIC_RELAXED);
	__libc_free(p);
}
#endif

/* What the C library allocates once and keeps. */
static inline void blocks_begin(void)
{
	tzset();
	puts("# blocks are counted");
}

#endif
