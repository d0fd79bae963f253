/* What the reading verbs decide without a bus: pure, and held by tests. */
#ifndef PLOYZ_READING_H
#define PLOYZ_READING_H

#include "lib/ployz.h"

/* --- schema.c */

/* Every schema of the wire once, each before those that its fields name. The list is the
 * caller's. */
const struct codec_schema **schema_list(size_t *ret_count);
/* A field's type in words: `integer 1 to 65535`, `list of slot`; owned by the caller. */
char *schema_type(const struct codec_field *field);

/* --- event-lines.c: entries of the log in words */

/* What was read before of each subject, so that only what changed is told. */
struct event_memory {
	struct map facts; /* subject → struct instances */
};
void event_memory_clear(struct event_memory *memory);
/* Adds a line of `what` for each thing that the entry says; *ret_about is the namespace, or
 * `machine`, `region`, `subnet` (owned by the caller). An entry that nobody can read is told
 * too. */
void event_lines(struct event_memory *memory, const struct stream_entry *entry, char **ret_about,
		 char ***ret_lines);

/* --- targets.c: whose output `logs` shows */

struct target {
	char *ns;
	char *service; /* NULL: the whole namespace */
};
/* All services that are known, as targets. */
struct targets {
	struct target *items;
	size_t count;
};
void targets_add(struct targets *targets, const char *ns, const char *service); /* once */
void targets_clear(struct targets *targets);
/* `web`, `shop/web` or `shop` among the known ones, added to `to`. 0, or a negative errno with
 * `failure`. */
int targets_find(const struct targets *known, const char *word, struct targets *to,
		 struct failure *failure);

/* --- lease.c */

/* A lease in lines of `what  value`; `now_usec` is CLOCK_REALTIME. Owned by the caller. */
char *lease_text(const struct lease_view *view, uint64_t now_usec);

/* --- route.c */

/* `2/3`, the ready ones first; and what the route comes to: served, held, no server. */
size_t route_ready(const struct route_view *route);
const char *route_state(const struct route_view *route);

#endif
