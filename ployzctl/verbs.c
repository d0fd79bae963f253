/* The table of verbs, from which dispatch and --help are made. */
#include "ployzctl/ployzctl.h"

const struct config_row global_rows[] = {
	{ "json", CONFIG_BOOL, offsetof(struct global_options, json), NULL, NULL,
	  "print the wire objects, one per line", 0, 0 },
	{ "bus", CONFIG_STRING, offsetof(struct global_options, bus), NULL, "URL",
	  "address of the bus", 0, 0 },
	{ "context", CONFIG_STRING, offsetof(struct global_options, context), NULL, "NAME|FILE",
	  "a context file, or its name in ~/.config/ployz", 0, 0 },
	{ "dir", CONFIG_STRING, offsetof(struct global_options, dir), NULL, "DIR",
	  "the cluster of `ployzctl dev --dir DIR`", 0, 0 },
	{ "machine", CONFIG_STRING, offsetof(struct global_options, machine), NULL, "ID",
	  "send requests to the daemons of this machine", 0, 0 },
	{ "version", CONFIG_BOOL, offsetof(struct global_options, version), NULL, NULL,
	  "print the version", 0, 0 },
	{ "help", CONFIG_BOOL, offsetof(struct global_options, help), NULL, NULL,
	  "print help; after a verb, its own", 0, 0 },
	CONFIG_END,
};

const struct verb verbs[] = {
	{ "dev", "[OPTION]...", "Run the whole cluster on this machine, in the foreground",
	  verb_dev, VERB_RAW },
	{ "init", "NAME [--config FILE]", "Set up this machine as the first of a cluster",
	  verb_init, 0 },
	{ "plan", "-f FILE", "Show what a deploy would do, and why; 1 when there are changes",
	  verb_plan, 0 },
	{ "deploy", "-f FILE [--yes] [--plan-seq N] [--why TEXT] [-v]",
	  "Deploy a namespace and show its progress", verb_deploy, 0 },
	{ "deploy attach", "ID [-v]", "Follow a deploy to its end; resolve an unknown outcome",
	  verb_deploy_attach, 0 },
	{ "deploy cancel", "ID [-v]", "Stop a deploy that has not committed", verb_deploy_cancel,
	  0 },
	{ "deploy sweep", "[NS] [-v]", "Finish pending clean-ups", verb_deploy_sweep, 0 },
	{ "deploy ls", "[NS]", "List deploys, the latest last", verb_deploy_ls, 0 },
	{ "deploy show", "ID", "Show a deploy's phases and outcome", verb_deploy_show, 0 },
	{ "rollback", "NS [--to N] [--yes] [--why TEXT] [-v]",
	  "Deploy an earlier revision again, with the images it ran", verb_rollback, 0 },
	{ "diff", "NS A [B]", "Compare two revisions; 1 when they differ", verb_diff, 0 },
	{ "ns ls", "", "List namespaces", verb_ns_ls, 0 },
	{ "ns show", "NS", "Show a namespace: services, slots, routes, volumes", verb_ns_show, 0 },
	{ "ns history", "NS", "List the revisions of a namespace", verb_ns_history, 0 },
	{ "ns rm", "NS [--yes] [--why TEXT] [-v]", "Remove everything of a namespace", verb_ns_rm,
	  0 },
	{ "ps", "[NS]", "List the instances of all machines", verb_ps, 0 },
	{ "logs", "[-f] [--since DURATION] [--tail N] TARGET...",
	  "Show the output of services: web, shop/web, or all of shop", verb_logs, 0 },
	{ "status", "", "Show intent, status and observation, and list every problem", verb_status,
	  0 },
	{ "route ls", "", "List what each gateway serves", verb_route_ls, 0 },
	{ "dns query", "NAME [--as NS] [--type TYPE]",
	  "Show what the resolver would answer, and why", verb_dns_query, 0 },
	{ "events", "[-f] [--since SEQ] [NS]", "Show the log: who did what from where", verb_events,
	  0 },
	{ "lease ls", "", "List the holders of leases", verb_lease_ls, 0 },
	{ "lease show", "NS", "Show a namespace's lease: holder, verb, age, expiry",
	  verb_lease_show, 0 },
	{ "lease break", "NS [--yes] [--why TEXT]", "Take the lease from its holder",
	  verb_lease_break, 0 },
	{ "store usage", "", "Show the bytes of each stream and namespace", verb_store_usage, 0 },
	{ "store compact", "[--keep N] [--yes]", "Drop old entries", verb_store_compact, 0 },
	{ "store accept", "[--force] [--yes] [--why TEXT]", "Accept a store that has lost entries",
	  verb_store_accept, 0 },
	{ "schema", "[NAME | --all]", "Show the subjects, or the fields of a wire object",
	  verb_schema, VERB_HIDDEN },
	{ "version", "", "Print the version", verb_version, 0 },
	{ "help", "[VERB]", "Print this help, or that of a verb", verb_help, 0 },
};
const size_t n_verbs = ARRAY_SIZE(verbs);

void verbs_help(FILE *to)
{
	fprintf(to, "ployzctl: command line of a Ployz cluster\n\nUsage: ployzctl [OPTION]... VERB "
		    "[ARGUMENT]...\n\n");
	for (size_t i = 0; i < n_verbs; i++)
		if (!(verbs[i].flags & VERB_HIDDEN)) {
			_cleanup_free_ char *left =
				xasprintf("%s %s", verbs[i].name, verbs[i].arguments);

			fprintf(to, "  %-42s %s\n", left, verbs[i].summary);
		}
	fprintf(to, "\nOptions:\n");
	config_help(global_rows, to);
	fprintf(to, "\nExit codes:\n");
#define X(id, code, meaning) fprintf(to, "  %-3d %s\n", code, meaning);
	EXIT_CODES(X)
#undef X
	fprintf(to, "\nMore: man ployzctl\n");
}

int verb_version(struct ployzctl *ctl, int argc, char **argv)
{
	_cleanup_(strv_freep) char **words = NULL;
	int r = arguments_take(ctl, "version", NULL, NULL, NULL, argc, argv, 0, 0, &words);

	if (r)
		return MAX2(r, 0);
	if (ctl->options.json)
		session_json_value(json_pack("{s:s}", "version", PLOYZ_VERSION));
	else
		printf("ployzctl %s\n", PLOYZ_VERSION);
	return EXIT_DONE;
}

static const char *nearest_verb(const char *word)
{
	const char *names[ARRAY_SIZE(verbs) + 1] = { NULL };

	for (size_t i = 0; i < n_verbs; i++)
		names[i] = verbs[i].name;
	return str_nearest(word, names);
}

static int unknown_verb(int argc, char **argv)
{
	_cleanup_free_ char *typed =
		argc > 1 ? xasprintf("%s %s", argv[0], argv[1]) : xstrdup(argv[0]);
	_cleanup_(strbuf_clear) struct strbuf family = STRBUF_INIT;
	const char *nearest = nearest_verb(typed);
	_cleanup_free_ char *hint = NULL;

	for (size_t i = 0; i < n_verbs; i++) {
		size_t n = strlen(argv[0]);

		if (strncmp(verbs[i].name, argv[0], n) == 0 && verbs[i].name[n] == ' ')
			strbuf_printf(&family, "%s%s", family.size ? ", " : "", verbs[i].name);
	}
	if (family.size)
		hint = xasprintf("use one of: %s", family.text);
	else if (nearest)
		hint = xasprintf("the nearest verb is '%s', see `ployzctl help`", nearest);
	return session_refuse(FAILURE_INVALID, hint ? hint : "run `ployzctl help`",
			      "cannot run '%s': not a verb", family.size ? typed : argv[0]);
}

int verbs_run(struct ployzctl *ctl, int argc, char **argv)
{
	int used;
	const struct verb *verb = verb_match(argc, argv, &used);

	if (!verb)
		return unknown_verb(argc, argv);
	return verb->run(ctl, argc - used + 1, argv + used - 1);
}

int verb_help(struct ployzctl *ctl, int argc, char **argv)
{
	char *words[] = { NULL, NULL, (char *)"--help", NULL };

	if (argc < 2 || argv[1][0] == '-') {
		verbs_help(stdout);
		return EXIT_DONE;
	}
	if (argc == 2) {
		words[1] = argv[1];
		return verbs_run(ctl, 2, words + 1);
	}
	words[0] = argv[1];
	words[1] = argv[2];
	return verbs_run(ctl, 3, words);
}
