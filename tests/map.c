#include "lib/map.h"

#include "tests/tap.h"

int main(void)
{
	struct map map = MAP_INIT;
	struct map_item *item = NULL;
	size_t seen = 0;
	bool ordered = true, all = true;
	int values[2000], last = -1;
	char key[16];

	ok(!map_get(&map, "a") && !map_remove(&map, "a") && !map_next(&map, NULL),
	   "an empty map holds nothing");
	for (int i = 0; i < 2000; i++) {
		values[i] = i;
		snprintf(key, sizeof(key), "k%d", i);
		map_put(&map, key, &values[i]);
	}
	is_int((long long)map.count, 2000, "2000 keys");
	ok(map_put(&map, "k7", &values[8]) == &values[7] && map_get(&map, "k7") == &values[8],
	   "a key's value is replaced");
	map_put(&map, "k7", &values[7]);
	for (int i = 0; i < 2000; i += 2) {
		snprintf(key, sizeof(key), "k%d", i);
		all = all && map_remove(&map, key) == &values[i];
	}
	ok(all && map.count == 1000, "half of them removed");
	ok(!map_get(&map, "k0") && map_get(&map, "k1") == &values[1], "the others stay");
	while ((item = map_next(&map, item))) {
		int value = *(int *)item->value;

		ordered = ordered && value > last && value % 2 == 1;
		last = value;
		seen++;
	}
	ok(ordered && seen == 1000, "iteration sees each once, in the order of insertion");
	for (int round = 0; round < 5000; round++) {
		map_put(&map, "again", &values[0]);
		map_remove(&map, "again");
	}
	ok(map.n_items < 4096 && map.count == 1000,
	   "putting and removing for ever does not grow it");
	while ((item = map_next(&map, NULL)))
		map_remove(&map, item->key);
	ok(map.count == 0, "items may be removed while they are gone through");
	map_clear(&map, NULL);
	return tap_done();
}
