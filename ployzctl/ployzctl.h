/* ployzctl: thin verbs over request/reply. One verb table gives dispatch, --help and what the
 * manual is held against; one file a family of verbs. */
#ifndef PLOYZ_PLOYZCTL_H
#define PLOYZ_PLOYZCTL_H

#include <stdio.h>

#include "lib/document.h"
#include "lib/ployz.h"

#define ASK_USEC (5 * 1000000ull)     /* a daemon answers in milliseconds, or not at all */
#define PLAN_USEC (15 * 1000000ull)   /* a plan probes every machine */
#define QUIET_USEC (2 * 1000000ull)   /* a deploy that says nothing for so long is asked about */
/* No leased answers for so long: how it ended is not known. */
#define SILENT_USEC (30 * 1000000ull)
#define GATHER_USEC 500000ull	      /* whoever answers $SRV.PING, answers within this */

struct global_options {
	bool json;
	char *bus;
	char *context;
	char *dir;
	char *machine;
	bool version;
	bool help;
};

/* How a cluster is reached: a file of key = value. */
struct context {
	char *bus;
	char *user;
	char *password;
	char *machine;
};

struct ployzctl {
	struct global_options options;
	struct context context;
	char *context_file;  /* that it was read from, or NULL */
	const char *machine; /* whose daemons are asked */
	sd_event *loop;	     /* after session_open */
	struct bus *bus;
	int exit_code;
	loop_fn interrupted; /* ^C: NULL ends the program */
	void *interrupted_data;
};

enum verb_flag {
	VERB_HIDDEN = 1 << 0, /* not in --help */
	VERB_RAW = 1 << 1,    /* takes its options itself */
};
struct verb {
	const char *name; /* one word or two: `ns show` */
	const char *arguments;
	const char *summary;
	int (*run)(struct ployzctl *ctl, int argc,
		   char **argv); /* argv[0] is its last word; the exit code */
	unsigned flags;
};
struct short_option {
	char letter; /* 0 ends the list */
	const char *key;
};

/* --- verbs.c: the table and --help from it */
extern const struct config_row global_rows[];
extern const struct verb verbs[];
extern const size_t n_verbs;
void verbs_help(FILE *to);
/* Runs the verb that argv begins with; the exit code. */
int verbs_run(struct ployzctl *ctl, int argc, char **argv);

/* --- arguments.c */
/* The verb of that name, or NULL. */
const struct verb *verb_find(const char *name);
/* The verb that argv begins with (the longer name wins) and how many words it is; NULL: none. */
const struct verb *verb_match(int argc, char **argv, int *ret_used);
/* Options anywhere among the words, the verb's own and the global ones. 0 with *ret_words owned by
 * the caller, or a negative errno with `failure`. */
int arguments_parse(struct global_options *global, const struct config_row *rows,
		    const struct short_option *shorts, void *config, int argc, char **argv,
		    char ***ret_words, struct failure *failure);
/* The same for a verb, between `min` and `max` words: 0 to go on, -1 when --help was the whole
 * task, or the exit code after having said why. `config` is to be cleared by the caller in each
 * case. */
int arguments_take(struct ployzctl *ctl, const char *name, const struct config_row *rows,
		   const struct short_option *shorts, void *config, int argc, char **argv,
		   size_t min, size_t max, char ***ret_words);

/* --- session.c */
/* A failure on stderr (what, why, next); its exit code. */
int session_say(const struct failure *failure);
/* The same, and the loop ends with that exit code. */
void session_fail(struct ployzctl *ctl, const struct failure *failure);
void session_end(struct ployzctl *ctl, int exit_code);
/* One wire object as a line of JSON on stdout; session_json_value takes the reference. */
void session_json_value(json_t *json);
void session_json(const struct codec_schema *schema, const void *object);
/* Who asks; owned by the caller. */
char *session_operator(void);
/* Context, loop and bus: 0, or the exit code after having said why. */
int session_open(struct ployzctl *ctl);
/* The loop until session_end; the exit code. */
int session_run(struct ployzctl *ctl);
void session_close(struct ployzctl *ctl);

/* --- table.c (pure but for table_print) */
struct table {
	char **cells;
	size_t n_cells, columns;
};
/* Letters of a UTF-8 text. */
size_t text_width(const char *text);
/* A copy without what would move a terminal's cursor; owned by the caller. NULL gives "". */
char *text_safe(const char *text);
void table_init(struct table *table, const char *const *heading); /* NULL-terminated */
/* As many `const char *` as there are columns; NULL or empty is shown as -. */
void table_row(struct table *table, ...);
char *table_render(const struct table *table); /* owned by the caller */
void table_print(const struct table *table);
void table_clear(struct table *table);
/* `3 min` since an RFC 3339 time; NULL when it is none. Owned by the caller. */
char *age_of(const char *since, uint64_t now_usec);

/* --- tree.c (pure): a plan as a tree, with the reason for each slot */
void tree_plan(const struct plan *plan, struct strbuf *to);

/* --- asking.c */
/* Reads a manifest from a file (`-`: standard input); every error is said. 0, or the exit code. */
int manifest_read(const char *file, struct manifest **ret);
typedef void (*planned_fn)(const struct plan *plan, void *userdata);
/* `fn` gets the plan; a failure ends the session. */
void plan_ask(struct ployzctl *ctl, const struct manifest *manifest, planned_fn fn, void *userdata);
bool ask_yes(const char *question);

/* --- live.c: progress as it happens */
struct live;
/* `animated`: a block that is drawn again; `plan`: shows the plan when it comes. */
struct live *live_new(FILE *to, bool animated, bool plan);
/* One event as a line, or NULL; owned by the caller (pure). */
char *live_line(const struct progress *progress);
void live_tick(struct live *live);
void live_say(struct live *live, const char *format, ...) _printf_(2, 3);
void live_progress(struct live *live, const struct progress *progress);
void live_free(struct live *live);

/* --- follow.c */
/* The outcome in words; its exit code. */
int follow_outcome(FILE *to, const struct deploy *record, bool verbose);
/* Hands `request` over (NULL: it is under way) and follows the deploy to its end, which ends the
 * session. */
void follow_deploy(struct ployzctl *ctl, const struct deploy_request *request, const char *deploy,
		   bool verbose);

/* --- snapshot.c: the last entry of each subject of the log, read once */
struct snapshot_head {
	struct head *head;
	uint64_t sequence;
	uint64_t time_usec;
};
struct snapshot {
	uint64_t sequence;	     /* of the log */
	bool copy;		     /* read from the machine's copy: the store does not answer */
	struct snapshot_head *heads; /* by name */
	size_t n_heads;
	struct machine **machines;
	size_t n_machines;
	struct instances **instances;
	size_t n_instances;
};
typedef void (*snapshot_fn)(const struct snapshot *snapshot, void *userdata);
/* `fn` once; a failure ends the session. The snapshot lives until the program's end. */
void snapshot_read(struct ployzctl *ctl, snapshot_fn fn, void *userdata);
/* Borrowed look-ups; NULL: there is none. */
const struct snapshot_head *snapshot_head(const struct snapshot *snapshot, const char *ns);
const struct instance *snapshot_instance(const struct snapshot *snapshot, const char *id);
/* Machines that have not left; owned by the caller. */
char **snapshot_machines(const struct snapshot *snapshot);

/* --- deploy.c */
struct deploy_options {
	char *file;
	bool yes;
	int64_t plan_seq;
	char *why;
	bool verbose;
};
/* Plans, asks where everything goes, hands over and follows; the exit code. */
int deploy_run(struct ployzctl *ctl, struct manifest *manifest,
	       const struct deploy_options *options, const char *verb);

/* --- the verbs, each in the file of its family */
int verb_dev(struct ployzctl *ctl, int argc, char **argv);
int verb_plan(struct ployzctl *ctl, int argc, char **argv);
int verb_deploy(struct ployzctl *ctl, int argc, char **argv);
int verb_deploy_attach(struct ployzctl *ctl, int argc, char **argv);
int verb_deploy_ls(struct ployzctl *ctl, int argc, char **argv);
int verb_deploy_show(struct ployzctl *ctl, int argc, char **argv);
int verb_ns_ls(struct ployzctl *ctl, int argc, char **argv);
int verb_ns_show(struct ployzctl *ctl, int argc, char **argv);
int verb_ns_history(struct ployzctl *ctl, int argc, char **argv);
int verb_ns_rm(struct ployzctl *ctl, int argc, char **argv);
int verb_ps(struct ployzctl *ctl, int argc, char **argv);
int verb_logs(struct ployzctl *ctl, int argc, char **argv);
int verb_status(struct ployzctl *ctl, int argc, char **argv);
int verb_lease_ls(struct ployzctl *ctl, int argc, char **argv);
int verb_lease_show(struct ployzctl *ctl, int argc, char **argv);
int verb_lease_break(struct ployzctl *ctl, int argc, char **argv);
int verb_route_ls(struct ployzctl *ctl, int argc, char **argv);
int verb_dns_query(struct ployzctl *ctl, int argc, char **argv);
int verb_events(struct ployzctl *ctl, int argc, char **argv);
int verb_schema(struct ployzctl *ctl, int argc, char **argv);
int verb_version(struct ployzctl *ctl, int argc, char **argv);
int verb_help(struct ployzctl *ctl, int argc, char **argv);

#endif
