/* Pure decisions and texts of ployzctl, tested without a bus. */
#ifndef PLOYZ_PURE_H
#define PLOYZ_PURE_H

#include "lib/ployz.h"

/* --- outcome.c: the outcome of a deploy whose leased ended, by the entries of its namespace */

enum outcome_found {
	OUTCOME_ABSENT,	   /* no entry of this deploy: it never opened */
	OUTCOME_OPEN,	   /* only its opening entry: a late commit may follow */
	OUTCOME_CLOSED,	   /* a later entry closed it without its commit */
	OUTCOME_COMMITTED, /* its commit is in the log */
};
struct outcome_log {
	const char *deploy;
	enum outcome_found found;
	uint64_t first; /* sequence of the first entry that was read; 0: none */
};
/* Entries are added in the order of their sequences. */
void outcome_log_add(struct outcome_log *log, const struct head *head, uint64_t sequence);
/* `opened`: sequence of its opening entry as its record has it; 0: none. */
enum outcome_found outcome_log_result(const struct outcome_log *log, uint64_t opened);

/* --- records.c */

/* Whether a leased's status lists the deploy among those that it executes. */
bool rollout_listed(const json_t *status, const char *deploy);
/* Whether the clean-up of this deploy is pending, and no later deploy has taken it over. */
struct records;
bool record_pending(const struct records *records, const struct deploy *record);

/* --- revisions.c */

/* Revisions of a namespace, the oldest first, as its entries show them. */
struct revision_list {
	struct revision_row {
		int64_t number;
		int64_t release; /* sequence in PLOYZ_MANIFESTS; 0: none */
		char *deploy;
	} * rows;
	size_t count;
};
void revision_list_add(struct revision_list *list, const struct head *head);
void revision_list_clear(struct revision_list *list);
/* The row of a number, REVISION_CURRENT or REVISION_BEFORE; borrowed. NULL with `failure`. */
const struct revision_row *revision_list_find(const struct revision_list *list, const char *ns,
					      int64_t wanted, struct failure *failure);

/* --- release-diff.c: what differs between two releases */

struct difference {
	char *part;  /* services.web, volumes.data, grants */
	char *field; /* env.COLOUR; NULL: the part itself */
	char *from;  /* as JSON or as text; NULL: it is new */
	char *to;    /* NULL: it is gone */
};
struct differences {
	struct difference *items;
	size_t count;
};
void release_diff(const struct release *from, const struct release *to, struct differences *ret);
void differences_clear(struct differences *differences);
/* Lines with `+`, `-` and `~` under a heading for each part; owned by the caller. */
char *differences_text(const struct differences *differences);

/* --- schema.c */

/* Every schema of the wire once, each before those that its fields name. The caller owns the
 * list. */
const struct codec_schema **schema_list(size_t *ret_count);
/* A field's type as text: `integer 1 to 65535`, `list of slot`; owned by the caller. */
char *schema_type(const struct codec_field *field);

/* --- event-lines.c: entries of the log as text */

/* What was read before of each subject, so that only changes are shown. */
struct event_memory {
	struct map facts; /* subject → struct instances */
};
void event_memory_clear(struct event_memory *memory);
/* Adds a line for each change that the entry contains; *ret_about is the namespace, or `machine`,
 * `region`, `subnet` (owned by the caller). An entry that cannot be decoded gives a line too. */
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
/* Adds `web`, `shop/web` or `shop` from the known ones to `to`. 0, or a negative errno with
 * `failure`. */
int targets_find(const struct targets *known, const char *name, struct targets *to,
		 struct failure *failure);

/* --- lease.c */

/* A lease as lines of `field  value`; `now_usec` is CLOCK_REALTIME. Owned by the caller. */
char *lease_text(const struct lease_view *view, uint64_t now_usec);

/* --- route.c */

/* The number of servers that are ready; and the route's state: served, held, no server, error. */
size_t route_ready(const struct route_view *route);
const char *route_state(const struct route_view *route);

#endif
