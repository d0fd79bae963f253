/* `ployzctl lease ls|show|break`: the holders of leases. */
#include <inttypes.h>

#include "ployzctl/ployzctl.h"
#include "ployzctl/pure.h"

/* The store may be electing a leader, and leased repeats its write until then. */
#define BREAK_USEC (40 * 1000000ull)

static char *free_in(const struct lease_view *view)
{
	if (view->lease.state == LEASE_FREE)
		return xstrdup("now");
	return view->free_in_ms ? duration_human((uint64_t)view->free_in_ms * 1000)
				: xstrdup("now, for the next deploy");
}

/* --- ls */

static void print_leases(const struct lease_list *list)
{
	static const char *const heading[] = { "NAMESPACE",	  "STATE",   "BY",    "VERB",
					       "DEPLOY",	  "MACHINE", "EPOCH", "SINCE",
					       "FREE IN AT MOST", NULL };
	struct table table;

	table_init(&table, heading);
	for (size_t i = 0; i < list->n_leases; i++) {
		const struct lease_view *view = &list->leases[i];
		const struct lease *lease = &view->lease;
		_cleanup_free_ char *age = age_of(lease->since, time_now_usec()),
				    *left = free_in(view);
		_cleanup_free_ char *epoch = xasprintf("%" PRId64, lease->epoch);

		table_row(&table, lease->ns, lease_state_names[lease->state], lease->operator_,
			  lease->verb, lease->deploy, lease->machine, epoch, age, left);
	}
	table_print(&table);
	table_clear(&table);
}

static void on_list(const struct failure *failure, void *answer, void *userdata)
{
	struct ployzctl *ctl = userdata;
	const struct lease_list *list = answer;

	if (failure) {
		session_fail(ctl, failure);
		return;
	}
	if (!ctl->options.json)
		print_leases(list);
	for (size_t i = 0; ctl->options.json && i < list->n_leases; i++)
		session_json(&lease_view_schema, &list->leases[i]);
	session_end(ctl, EXIT_DONE);
}

int verb_lease_ls(struct ployzctl *ctl, int argc, char **argv)
{
	_cleanup_(strv_freep) char **words = NULL;
	int code = arguments_take(ctl, "lease ls", NULL, NULL, NULL, argc, argv, 0, 0, &words);

	if (!code)
		code = session_open(ctl);
	if (code)
		return MAX2(code, 0);
	bus_ask(ctl->bus, SUBJECT_LEASE_LIST, ctl->machine, NULL, REQUEST_USEC, on_list, ctl, NULL);
	return session_run(ctl);
}

/* --- show */

static void add(struct strbuf *text, const char *what, const char *value)
{
	_cleanup_free_ char *safe = text_safe(value);

	if (value)
		strbuf_printf(text, "%-10s %s\n", what, safe);
}

char *lease_text(const struct lease_view *view, uint64_t now_usec)
{
	const struct lease *lease = &view->lease;
	_cleanup_free_ char *age = age_of(lease->since, now_usec), *left = free_in(view);
	_cleanup_free_ char *since = age ? xasprintf("%s (%s ago)", lease->since, age) : NULL;
	_cleanup_free_ char *epoch = xasprintf("%" PRId64, lease->epoch);
	struct strbuf text = STRBUF_INIT;

	add(&text, "namespace", lease->ns);
	add(&text, "state", lease_state_names[lease->state]);
	add(&text, lease->state == LEASE_HELD ? "held by" : "last held", lease->operator_);
	add(&text, "verb", lease->verb);
	add(&text, "deploy", lease->deploy);
	add(&text, "machine", lease->machine);
	add(&text, "epoch", epoch);
	add(&text, "since", since);
	if (lease->state == LEASE_HELD) {
		if (view->quiet_ms >= 0) {
			_cleanup_free_ char *quiet =
				duration_human((uint64_t)view->quiet_ms * 1000);
			_cleanup_free_ char *renewed = xasprintf("%s ago", quiet);

			add(&text, "renewed", renewed);
		}
		add(&text, "free in", left);
	}
	return strbuf_steal(&text);
}

static void print_lease(const struct ployzctl *ctl, const struct lease_view *view)
{
	_cleanup_free_ char *text = NULL;

	if (ctl->options.json) {
		session_json(&lease_view_schema, view);
		return;
	}
	text = lease_text(view, time_now_usec());
	fputs(text, stdout);
}

static void on_view(const struct failure *failure, void *answer, void *userdata)
{
	struct ployzctl *ctl = userdata;

	if (failure) {
		session_fail(ctl, failure);
		return;
	}
	print_lease(ctl, answer);
	session_end(ctl, EXIT_DONE);
}

int verb_lease_show(struct ployzctl *ctl, int argc, char **argv)
{
	_cleanup_(strv_freep) char **words = NULL;
	struct lease_ref ref = { 0 };
	int code = arguments_take(ctl, "lease show", NULL, NULL, NULL, argc, argv, 1, 1, &words);

	if (!code)
		code = session_open(ctl);
	if (code)
		return MAX2(code, 0);
	ref.ns = words[0];
	bus_ask(ctl->bus, SUBJECT_LEASE_SHOW, ctl->machine, &ref, REQUEST_USEC, on_view, ctl, NULL);
	return session_run(ctl);
}

/* --- break */

struct break_options {
	bool yes;
	char *why;
};
static const struct config_row break_rows[] = {
	{ "yes", CONFIG_BOOL, offsetof(struct break_options, yes), NULL, NULL, "do not ask", 0, 0 },
	{ "why", CONFIG_STRING, offsetof(struct break_options, why), NULL, "TEXT",
	  "the reason, for the log", 0, 0 },
	CONFIG_END,
};

struct breaking {
	struct ployzctl *ctl;
	struct break_options options;
	char *operator_;
	const char *ns;
};

/* The holder loses the lease in the middle of a deploy: an operator has to agree. */
static bool agreed(const struct breaking *breaking, const struct lease_view *view)
{
	_cleanup_free_ char *what = xasprintf("break the lease of namespace %s", breaking->ns);
	_cleanup_free_ char *text = lease_text(view, time_now_usec());
	int code = EXIT_DONE;

	if (!breaking->options.yes)
		fputs(text, stderr);
	if (session_confirm(breaking->options.yes,
			    "The deploy that runs under it will fail. Break it?", what, &code))
		return true;
	session_end(breaking->ctl, code);
	return false;
}

static void on_held(const struct failure *failure, void *answer, void *userdata)
{
	const struct breaking *breaking = userdata;
	const struct lease_view *view = answer;
	struct ployzctl *ctl = breaking->ctl;
	struct lease_ref ref = { .ns = (char *)breaking->ns,
				 .operator_ = breaking->operator_,
				 .why = breaking->options.why };

	if (failure) {
		session_fail(ctl, failure);
		return;
	}
	if (view->lease.state == LEASE_FREE) {
		fprintf(stderr, "lease of namespace %s free: nothing to break\n", breaking->ns);
		on_view(NULL, answer, ctl);
		return;
	}
	if (agreed(breaking, view))
		bus_ask(ctl->bus, SUBJECT_LEASE_BREAK, ctl->machine, &ref, BREAK_USEC, on_view, ctl,
			NULL);
}

static int break_lease(struct breaking *breaking)
{
	struct lease_ref ref = { .ns = (char *)breaking->ns };
	int code = session_open(breaking->ctl);

	if (code)
		return code;
	breaking->operator_ = session_operator();
	bus_ask(breaking->ctl->bus, SUBJECT_LEASE_SHOW, breaking->ctl->machine, &ref, REQUEST_USEC,
		on_held, breaking, NULL);
	code = session_run(breaking->ctl);
	free(breaking->operator_);
	return code;
}

int verb_lease_break(struct ployzctl *ctl, int argc, char **argv)
{
	_cleanup_(strv_freep) char **words = NULL;
	struct breaking breaking = { .ctl = ctl };
	int code = arguments_take(ctl, "lease break", break_rows, NULL, &breaking.options, argc,
				  argv, 1, 1, &words);

	if (!code) {
		breaking.ns = words[0];
		code = break_lease(&breaking);
	}
	config_clear(break_rows, &breaking.options);
	return MAX2(code, 0);
}
