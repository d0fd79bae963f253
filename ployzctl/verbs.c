/* The table of verbs: dispatch and --help come from it. */
#include "ployzctl/ployzctl.h"

const struct config_row global_rows[] = {
	{ "json", CONFIG_BOOL, offsetof(struct global_options, json), NULL, NULL,
	  "print the wire objects, one a line", 0, 0 },
	{ "bus", CONFIG_STRING, offsetof(struct global_options, bus), NULL, "URL",
	  "the bus to talk to", 0, 0 },
	{ "context", CONFIG_STRING, offsetof(struct global_options, context), NULL, "NAME|FILE",
	  "a context file, or its name in ~/.config/ployz", 0, 0 },
	{ "dir", CONFIG_STRING, offsetof(struct global_options, dir), NULL, "DIR",
	  "the cluster of `ployzctl dev --dir DIR`", 0, 0 },
	{ "machine", CONFIG_STRING, offsetof(struct global_options, machine), NULL, "ID",
	  "ask the daemons of this machine", 0, 0 },
	{ "version", CONFIG_BOOL, offsetof(struct global_options, version), NULL, NULL,
	  "print the version", 0, 0 },
	{ "help", CONFIG_BOOL, offsetof(struct global_options, help), NULL, NULL,
	  "print help, also of a verb", 0, 0 },
	CONFIG_END,
};

const struct verb verbs[] = {
	{ "dev", "[OPTION]...", "The whole cluster on this machine, in the foreground", verb_dev,
	  VERB_RAW },
	{ "plan", "-f FILE", "What a deploy would do, and why; 1 when there are changes", verb_plan,
	  0 },
	{ "deploy", "-f FILE [--yes] [--plan-seq N] [--why TEXT] [-v]",
	  "Deploy a namespace and show its way", verb_deploy, 0 },
	{ "deploy attach", "ID [-v]", "Follow a deploy to its end", verb_deploy_attach, 0 },
	{ "deploy ls", "[NS]", "Deploys, the latest last", verb_deploy_ls, 0 },
	{ "deploy show", "ID", "A deploy's phases and outcome", verb_deploy_show, 0 },
	{ "ns ls", "", "Namespaces", verb_ns_ls, 0 },
	{ "ns show", "NS", "A namespace: services, slots, routes", verb_ns_show, 0 },
	{ "ns history", "NS", "The revisions of a namespace", verb_ns_history, 0 },
	{ "ns rm", "NS [--yes] [--why TEXT] [-v]", "Remove everything of a namespace", verb_ns_rm,
	  0 },
	{ "ps", "[NS]", "Instances of all machines", verb_ps, 0 },
	{ "logs", "[-f] [--since DURATION] [--tail N] TARGET...",
	  "The output of services: web, shop/web, or all of shop", verb_logs, 0 },
	{ "status", "", "Intent, status and observation side by side", verb_status, 0 },
	{ "lease ls", "", "Who may change which namespace now", verb_lease_ls, 0 },
	{ "lease show", "NS", "A namespace's lease: holder, verb, since, free in", verb_lease_show,
	  0 },
	{ "lease break", "NS [--yes] [--why TEXT]", "Take the lease from its holder",
	  verb_lease_break, 0 },
	{ "route ls", "", "What the gateway sends where", verb_route_ls, 0 },
	{ "dns query", "NAME [--as NS] [--type TYPE]", "What the resolver would answer, and why",
	  verb_dns_query, 0 },
	{ "events", "[-f] [--since SEQ] [NS]", "The log: who did what from where", verb_events, 0 },
	{ "schema", "[NAME | --all]", "The wire: its subjects, or the fields of an object",
	  verb_schema, VERB_HIDDEN },
	{ "version", "", "The version", verb_version, 0 },
	{ "help", "[VERB]", "This help, or a verb's", verb_help, 0 },
};
const size_t n_verbs = ARRAY_SIZE(verbs);

void verbs_help(FILE *to)
{
	fprintf(to, "ployzctl: the operator's hand\n\nUsage: ployzctl [OPTION]... VERB "
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
#define X(id, code, words) fprintf(to, "  %-3d %s\n", code, words);
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
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;
	_cleanup_free_ char *typed =
		argc > 1 ? xasprintf("%s %s", argv[0], argv[1]) : xstrdup(argv[0]);
	struct strbuf family = STRBUF_INIT;
	const char *near;

	for (size_t i = 0; i < n_verbs; i++) {
		size_t n = strlen(argv[0]);

		if (strncmp(verbs[i].name, argv[0], n) == 0 && verbs[i].name[n] == ' ')
			strbuf_printf(&family, "%s%s", family.size ? ", " : "", verbs[i].name);
	}
	near = nearest_verb(typed);
	if (family.size)
		failure_set(&failure, FAILURE_INVALID, "ployzctl help",
			    "'%s' is no verb; there is %s", typed, family.text);
	else if (near)
		failure_set(&failure, FAILURE_INVALID, "ployzctl help",
			    "'%s' is no verb; did you mean '%s'?", argv[0], near);
	else
		failure_set(&failure, FAILURE_INVALID, "ployzctl help", "'%s' is no verb", argv[0]);
	strbuf_clear(&family);
	return session_say(&failure);
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
