/* `ployzctl lease ls|show|break`: who may change which namespace now, since when, why. */
#include "ployzctl/ployzctl.h"

struct lease_options {
	char *why;
};
static const struct config_row break_rows[] = {
	{ "why", CONFIG_STRING, offsetof(struct lease_options, why), NULL, "TEXT", "for the log of leased", 0, 0 },
	CONFIG_END,
};

static char *free_in(const struct lease_view *view)
{
	return view->lease.state == LEASE_HELD ? duration_human((uint64_t)MAX2(view->free_in_ms, (int64_t)0) * 1000) : NULL;
}

static void on_list(const struct failure *failure, void *answer, void *userdata)
{
	static const char *const heading[] = { "NAMESPACE", "STATE", "VERB",  "DEPLOY",	     "WHO",
					       "MACHINE",   "SINCE", "EPOCH", "FREE-WITHIN", NULL };
	struct ployzctl *ctl = userdata;
	const struct lease_list *list = answer;
	struct table table;

	if (failure) {
		session_fail(ctl, failure);
		return;
	}
	table_init(&table, heading);
	for (size_t i = 0; i < list->n_leases; i++) {
		const struct lease *lease = &list->leases[i].lease;
		_cleanup_free_ char *epoch = xasprintf("%lld", (long long)lease->epoch), *in = free_in(&list->leases[i]);
		bool held = lease->state == LEASE_HELD;

		if (ctl->options.json)
			session_json(&lease_view_schema, &list->leases[i]);
		table_row(&table, lease->ns, lease_state_names[lease->state], held ? lease->verb : NULL,
			  held ? lease->deploy : NULL, held ? lease->operator_ : NULL, held ? lease->machine : NULL,
			  held ? lease->since : NULL, epoch, in);
	}
	if (!ctl->options.json)
		table_print(&table);
	table_clear(&table);
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
	bus_ask(ctl->bus, SUBJECT_LEASE_LIST, ctl->machine, NULL, ASK_USEC, on_list, ctl, NULL);
	return session_run(ctl);
}

static void on_view(const struct failure *failure, void *answer, void *userdata)
{
	struct ployzctl *ctl = userdata;
	const struct lease_view *view = answer;
	const struct lease *lease;

	if (failure) {
		session_fail(ctl, failure);
		return;
	}
	lease = &view->lease;
	if (ctl->options.json) {
		session_json(&lease_view_schema, view);
	} else if (lease->state == LEASE_HELD) {
		_cleanup_free_ char *age = age_of(lease->since, time_now_usec()), *in = free_in(view);

		printf("namespace  %s\nstate      held, epoch %lld\n", lease->ns, (long long)lease->epoch);
		printf("holder     leased of machine %s\n", lease->machine ? lease->machine : "-");
		printf("for        %s %s by %s\n", lease->verb ? lease->verb : "deploy", lease->deploy ? lease->deploy : "-",
		       lease->operator_ ? lease->operator_ : "-");
		printf("since      %s (%s ago)\n", lease->since ? lease->since : "-", age ? age : "?");
		printf("free       in at most %s, if its holder has died\n", in);
	} else {
		printf("namespace  %s\nstate      free, epoch %lld\n", lease->ns, (long long)lease->epoch);
	}
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
	bus_ask(ctl->bus, SUBJECT_LEASE_SHOW, ctl->machine, &ref, ASK_USEC, on_view, ctl, NULL);
	return session_run(ctl);
}

int verb_lease_break(struct ployzctl *ctl, int argc, char **argv)
{
	_cleanup_(strv_freep) char **words = NULL;
	_cleanup_free_ char *operator_ = session_operator();
	struct lease_options options = { 0 };
	struct lease_ref ref = { .operator_ = operator_ };
	int code = arguments_take(ctl, "lease break", break_rows, NULL, &options, argc, argv, 1, 1, &words);

	if (!code)
		code = session_open(ctl);
	if (!code) {
		ref.ns = words[0];
		ref.why = options.why;
		bus_ask(ctl->bus, SUBJECT_LEASE_BREAK, ctl->machine, &ref, ASK_USEC, on_view, ctl, NULL);
		code = session_run(ctl);
	}
	config_clear(break_rows, &options);
	return MAX2(code, 0);
}
