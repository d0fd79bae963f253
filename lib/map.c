/* Map: open addressing over an array of items in the order of insertion. */
#include "lib/map.h"

/* FNV-1a, 64 bits: keys are short and from this cluster's own streams. */
static size_t hash(const char *key)
{
	uint64_t h = 14695981039346656037ull;

	for (; *key; key++)
		h = (h ^ (unsigned char)*key) * 1099511628211ull;
	return (size_t)(h ^ (h >> 32));
}

/* The slot that holds the key, or the empty one where it would go. */
static size_t *probe(const struct map *map, const char *key)
{
	for (size_t i = hash(key);; i++) {
		size_t *slot = &map->slots[i & (map->n_slots - 1)];
		const struct map_item *item = *slot ? &map->items[*slot - 1] : NULL;

		if (!item || (item->key && strcmp(item->key, key) == 0))
			return slot;
	}
}

/* Drops removed items and rebuilds the slots, at most half full. */
static void rebuild(struct map *map)
{
	size_t kept = 0;

	for (size_t i = 0; i < map->n_items; i++)
		if (map->items[i].key)
			map->items[kept++] = map->items[i];
	map->n_items = kept;
	map->n_slots = 16;
	while (map->n_slots < 4 * (kept + 1))
		map->n_slots *= 2;
	free(map->slots);
	map->slots = xcalloc(map->n_slots, sizeof(*map->slots));
	map->items = xrealloc(map->items, map->n_slots / 2, sizeof(*map->items));
	for (size_t i = 0; i < kept; i++)
		*probe(map, map->items[i].key) = i + 1;
}

void *map_get(const struct map *map, const char *key)
{
	size_t slot = map->n_slots ? *probe(map, key) : 0;

	return slot ? map->items[slot - 1].value : NULL;
}

void *map_put(struct map *map, const char *key, void *value)
{
	size_t *slot;
	void *old;

	if (map->n_items >= map->n_slots / 2)
		rebuild(map);
	slot = probe(map, key);
	if (*slot) {
		old = map->items[*slot - 1].value;
		map->items[*slot - 1].value = value;
		return old;
	}
	map->items[map->n_items] = (struct map_item){ xstrdup(key), value };
	*slot = ++map->n_items;
	map->count++;
	return NULL;
}

void *map_remove(struct map *map, const char *key)
{
	size_t slot = map->n_slots ? *probe(map, key) : 0;
	struct map_item *item;

	if (!slot)
		return NULL;
	/* The item stays without a key, so that probing continues past it; rebuild drops it. */
	item = &map->items[slot - 1];
	free(steal(item->key));
	map->count--;
	return steal(item->value);
}

void map_clear(struct map *map, void (*destroy)(void *value))
{
	for (size_t i = 0; i < map->n_items; i++) {
		if (map->items[i].key && destroy)
			destroy(map->items[i].value);
		free(map->items[i].key);
	}
	free(map->items);
	free(map->slots);
	*map = (struct map)MAP_INIT;
}

struct map_item *map_next(const struct map *map, const struct map_item *after)
{
	for (size_t i = after ? (size_t)(after - map->items) + 1 : 0; i < map->n_items; i++)
		if (map->items[i].key)
			return &map->items[i];
	return NULL;
}
