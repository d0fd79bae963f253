/* Map: strings to pointers. Iteration is in the order of insertion. */
#ifndef PLOYZ_MAP_H
#define PLOYZ_MAP_H

#include "lib/mem.h"

struct map_item {
	char *key;   /* owned by the map; NULL: removed */
	void *value; /* owned by the caller */
};
struct map {
	struct map_item *items;
	size_t n_items; /* removed ones included */
	size_t count;	/* without removed ones */
	size_t *slots;	/* 1 + index into items, 0 empty; a power of two */
	size_t n_slots;
};
#define MAP_INIT                    \
	{                           \
		NULL, 0, 0, NULL, 0 \
	}

/* The value, or NULL. */
void *map_get(const struct map *map, const char *key);
/* Sets it and gives the value that was there before, or NULL. `value` must not be NULL. */
void *map_put(struct map *map, const char *key, void *value);
/* Removes it and gives the value that was there, or NULL. */
void *map_remove(struct map *map, const char *key);
/* Frees the map and its keys; values are `destroy`ed when that is given. */
void map_clear(struct map *map, void (*destroy)(void *value));

/* for (struct map_item *i = NULL; (i = map_next(map, i));) — removing `i` meanwhile is allowed,
 * adding is not. */
struct map_item *map_next(const struct map *map, const struct map_item *after);

#endif
