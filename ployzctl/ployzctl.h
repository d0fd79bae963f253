/* ployzctl: verbs that send requests and print answers. Dispatch, --help and the list that the
 * manual is compared with come from one verb table; each file has one verb or one family of verbs.
 */
#ifndef PLOYZ_PLOYZCTL_H
#define PLOYZ_PLOYZCTL_H

#include <stdio.h>

#include "lib/document.h"
#include "lib/ployz.h"

#define REQUEST_USEC (5 * 1000000ull) /* a daemon answers in milliseconds */
#define PLAN_USEC (15 * 1000000ull)   /* a plan probes every machine */
#define POLL_USEC (2 * 1000000ull)    /* a deploy without progress for this long is polled */
/* While no leased answers for this long, its restart is awaited. */
#define SILENT_USEC (30 * 1000000ull)
/* Time for leased to resolve an outcome: a lease term and an election of the store. */
#define RESOLVE_USEC (45 * 1000000ull)
#define GATHER_USEC 500000ull /* every service answers $SRV.PING within this */

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
	bool signalled;	     /* SIGINT or SIGTERM was received */
	loop_fn interrupted; /* on SIGINT and SIGTERM; NULL: the program ends */
	void *interrupted_data;
};

enum verb_flag {
	VERB_HIDDEN = 1 << 0, /* not in --help */
	VERB_RAW = 1 << 1,    /* parses its own options */
};
struct verb {
	const char *name; /* one word or two: `ns show` */
	const char *arguments;
	const char *summary;
	int (*run)(struct ployzctl *ctl, int argc,
		   char **argv); /* argv[0] is its last word; returns the exit code */
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
/* Runs the verb that argv begins with; returns the exit code. */
int verbs_run(struct ployzctl *ctl, int argc, char **argv);

/* --- arguments.c */
/* The verb of that name, or NULL. */
const struct verb *verb_find(const char *name);
/* The verb that argv begins with (the longer name wins) and its number of words; NULL: none. */
const struct verb *verb_match(int argc, char **argv, int *ret_used);
/* Parses options anywhere among the words: the verb's own and the global ones. 0 with *ret_words
 * owned by the caller, or a negative errno with `failure`. */
int arguments_parse(struct global_options *global, const struct config_row *rows,
		    const struct short_option *shorts, void *config, int argc, char **argv,
		    char ***ret_words, struct failure *failure);
/* The same for a verb, with `min` to `max` words: 0 to continue, -1 when --help was the whole task,
 * or the exit code after the error was printed. The caller clears `config` in each case. */
int arguments_take(struct ployzctl *ctl, const char *name, const struct config_row *rows,
		   const struct short_option *shorts, void *config, int argc, char **argv,
		   size_t min, size_t max, char ***ret_words);
/* A revision's number from a word: 0 with *ret, or the exit code after the error was printed. */
int revision_argument(const char *word, int64_t *ret);
/* Refuses what cannot be a namespace: 0, or the exit code after the error was printed. */
int namespace_argument(const char *word);
/* The same of a deploy's id. */
int deploy_argument(const char *word);

/* --- session.c */
/* Prints `message; hint` on stderr; returns the exit code. */
int session_report(const struct failure *failure);
/* The same for a failure with this text. `hint` may be NULL. */
int session_refuse(enum failure_code code, const char *hint, const char *format, ...)
	_printf_(3, 4);
/* session_report, then the loop ends with its exit code. */
void session_fail(struct ployzctl *ctl, const struct failure *failure);
void session_end(struct ployzctl *ctl, int exit_code);
/* One wire object as a line of JSON on stdout; session_json_value takes the reference. */
void session_json_value(json_t *json);
void session_json(const struct codec_schema *schema, const void *object);
/* The operator's name; owned by the caller. */
char *session_operator(void);
/* Asks for a confirmation at the terminal. False with *ret_code if it is declined or there is no
 * terminal. `what` completes "cannot …". */
bool session_confirm(bool yes, const char *question, const char *what, int *ret_code);
/* Context, loop and bus: 0, or the exit code after the error was printed. */
int session_open(struct ployzctl *ctl);
/* Runs the loop until session_end; returns the exit code. */
int session_run(struct ployzctl *ctl);
void session_close(struct ployzctl *ctl);

/* --- table.c (pure but for table_print) */
struct table {
	char **cells;
	size_t n_cells, columns;
};
/* Characters of a UTF-8 text. */
size_t text_width(const char *text);
/* A copy without characters that would control a terminal; owned by the caller. NULL gives "". */
char *text_safe(const char *text);
void table_init(struct table *table, const char *const *heading); /* NULL-terminated */
/* As many `const char *` as there are columns; NULL or empty is shown as -. */
void table_row(struct table *table, ...);
bool table_is_empty(const struct table *table);
char *table_render(const struct table *table); /* owned by the caller */
void table_print(const struct table *table);
void table_clear(struct table *table);
/* `3 min` since an RFC 3339 time; NULL when it is none. Owned by the caller. */
char *age_of(const char *since, uint64_t now_usec);

/* --- tree.c (pure): a plan as a tree, with the reason for each slot */
void tree_plan(const struct plan *plan, struct strbuf *to);

/* --- manifest-file.c */
/* Reads a manifest from a file (`-`: standard input); prints every error. 0, or the exit code. */
int manifest_file_read(const char *file, struct manifest **ret);

/* --- programs.c */
/* The daemons' directory: that of ployzctl where it was built, or the installed one. Owned by the
 * caller. */
char *programs_directory(void);

/* --- plan.c */
typedef void (*plan_fn)(const struct plan *plan, void *userdata);
/* Requests a plan; `digests` (may be NULL) pins images. A failure ends the session. */
void plan_request(struct ployzctl *ctl, const struct manifest *manifest,
		  const struct pairs *digests, plan_fn fn, void *userdata);

/* --- live.c: progress as it happens */
struct live;
/* `animated`: a block that is redrawn; `plan`: shows the plan when it arrives. */
struct live *live_new(FILE *to, bool animated, bool plan);
/* One event as a line, or NULL; owned by the caller (pure). */
char *live_line(const struct progress *progress);
void live_tick(struct live *live);
void live_print(struct live *live, const char *format, ...) _printf_(2, 3);
void live_progress(struct live *live, const struct progress *progress);
void live_free(struct live *live);

/* --- outcome.c */
/* Prints how a deploy ended, with its unserved routes and what it left; returns the exit code. */
int outcome_report(FILE *to, const struct deploy *record, bool verbose);

/* --- follow.c */
struct follow_options {
	const struct deploy_request *request; /* submitted first; NULL: the deploy is under way */
	enum subject_id subject;	      /* of the request */
	const char *deploy;
	const char *machine; /* whose leased is asked */
	bool verbose;
	bool report; /* print the outcome */
};
struct follow;
/* The deploy has ended, or following it has: `record` is the last one received, or NULL. */
typedef void (*follow_fn)(int exit_code, const struct deploy *record, void *userdata);
/* Submits the request and follows the deploy to its end; `fn` is called once. */
struct follow *follow_new(struct ployzctl *ctl, const struct follow_options *options, follow_fn fn,
			  void *userdata);
void follow_free(struct follow *follow);
DEFINE_CLEANUP(struct follow, follow_free);

/* --- snapshot.c: the last entry of each subject of intent and facts, read once */
struct snapshot_head {
	struct head *head;
	uint64_t sequence;
	uint64_t time_usec;
};
struct snapshot_facts {
	struct instances *list;
	uint64_t sequence;
};
struct snapshot {
	struct watermark applied;    /* generation 0: read from the mirror */
	bool mirror;		     /* read from the machine's local mirror */
	char **errors;		     /* entries that cannot be decoded */
	struct snapshot_head *heads; /* by name */
	size_t n_heads;
	struct member **members;
	size_t n_members;
	struct machine_facts **machine_facts;
	size_t n_machine_facts;
	struct snapshot_facts *instances; /* without those of removed members */
	size_t n_instances;
};
typedef void (*snapshot_fn)(const struct snapshot *snapshot, void *userdata);
/* `fn` once; a failure ends the session. The snapshot lives until the program ends. */
void snapshot_read(struct ployzctl *ctl, snapshot_fn fn, void *userdata);
/* Borrowed look-ups; NULL: there is none. */
const struct snapshot_head *snapshot_head(const struct snapshot *snapshot, const char *ns);
const struct instance *snapshot_instance(const struct snapshot *snapshot, const char *machine,
					 const char *id);
const struct machine_facts *snapshot_machine_facts(const struct snapshot *snapshot,
						   const char *machine);
/* Members that are not removed; owned by the caller. */
char **snapshot_machines(const struct snapshot *snapshot);

/* --- revisions.c: revisions of a namespace and their releases */
#define REVISION_CURRENT 0
#define REVISION_BEFORE (-1) /* the one before the current one */
struct revision {
	int64_t number;
	int64_t release;	 /* sequence in PLOYZ_MANIFESTS; 0: it has no manifest */
	struct release *content; /* NULL: none, or it is not kept any more */
	char *deploy;
};
typedef void (*revisions_fn)(struct revision *revisions, size_t count, void *userdata);
/* Reads these revisions (at most 2) of a namespace, each with its release, in the given order. A
 * failure ends the session. The revisions live until the program ends. */
void revisions_read(struct ployzctl *ctl, const char *ns, const int64_t *wanted, size_t count,
		    revisions_fn fn, void *userdata);

/* --- records.c: deploy records of PLOYZ_STATUS */
struct records {
	struct deploy **items; /* the oldest first */
	size_t count;
	char **errors; /* records that cannot be decoded */
};
typedef void (*records_fn)(const struct failure *failure, const struct records *records,
			   void *userdata);
struct records_read;
/* Reads the records of a namespace and a deploy; NULL: all. `fn` is called once. */
struct records_read *records_read(struct ployzctl *ctl, const char *ns, const char *deploy,
				  records_fn fn, void *userdata);
void records_read_free(struct records_read *read);
DEFINE_CLEANUP(struct records_read, records_read_free);

/* --- deploy.c */
struct deploy_options {
	char *file;
	bool yes;
	int64_t plan_seq;
	int64_t to;
	char *why;
	bool verbose;
};
/* What is planned, confirmed, submitted and followed. */
struct deploy_task {
	struct ployzctl *ctl;
	const struct deploy_options *options;
	const char *verb;
	enum subject_id subject; /* SUBJECT_DEPLOY or SUBJECT_ROLLBACK */
	const struct manifest *manifest;
	const struct pairs *digests; /* that a rollback pins, or NULL */
	int64_t to;		     /* rollback: the revision */
	struct follow *follow;
};
/* Within an open session; the end of the deploy ends the session. */
void deploy_task_start(struct deploy_task *task);
/* Opens the session, runs the task; returns the exit code. */
int deploy_task_run(struct deploy_task *task);

/* --- the verbs, each in the file of its family */
int verb_dev(struct ployzctl *ctl, int argc, char **argv);
int verb_init(struct ployzctl *ctl, int argc, char **argv);
int verb_plan(struct ployzctl *ctl, int argc, char **argv);
int verb_deploy(struct ployzctl *ctl, int argc, char **argv);
int verb_deploy_attach(struct ployzctl *ctl, int argc, char **argv);
int verb_deploy_cancel(struct ployzctl *ctl, int argc, char **argv);
int verb_deploy_sweep(struct ployzctl *ctl, int argc, char **argv);
int verb_deploy_ls(struct ployzctl *ctl, int argc, char **argv);
int verb_deploy_show(struct ployzctl *ctl, int argc, char **argv);
int verb_rollback(struct ployzctl *ctl, int argc, char **argv);
int verb_diff(struct ployzctl *ctl, int argc, char **argv);
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
int verb_store_usage(struct ployzctl *ctl, int argc, char **argv);
int verb_store_compact(struct ployzctl *ctl, int argc, char **argv);
int verb_store_accept(struct ployzctl *ctl, int argc, char **argv);
int verb_schema(struct ployzctl *ctl, int argc, char **argv);
int verb_version(struct ployzctl *ctl, int argc, char **argv);
int verb_help(struct ployzctl *ctl, int argc, char **argv);

#endif
