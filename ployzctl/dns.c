/* `ployzctl dns query`: what this machine's resolver would answer, and why. */
#include "ployzctl/ployzctl.h"

struct dns_options {
	char *as;
	char *type;
};
static const struct config_row rows[] = {
	{ "as", CONFIG_STRING, offsetof(struct dns_options, as), NULL, "NS", "as a container of this namespace asks", 0, 0 },
	{ "type", CONFIG_STRING, offsetof(struct dns_options, type), "A", "TYPE", "A, AAAA, SRV or TXT", 0, 0 },
	CONFIG_END,
};

static void print_answer(const struct resolved *resolved)
{
	static const char *const heading[] = { "NAME", "TTL", "TYPE", "DATA", NULL };
	struct table table;

	printf("status    %s, as of sequence %lld\n", resolved->status ? resolved->status : "?", (long long)resolved->sequence);
	if (resolved->stale_since)
		printf("stale     since %s\n", resolved->stale_since);
	if (resolved->why)
		printf("why       %s\n", resolved->why);
	if (!resolved->n_records)
		return;
	table_init(&table, heading);
	for (size_t i = 0; i < resolved->n_records; i++) {
		const struct resolve_record *record = &resolved->records[i];
		_cleanup_free_ char *ttl = xasprintf("%lld", (long long)record->ttl);

		table_row(&table, record->name, ttl, record->type, record->data);
	}
	table_print(&table);
	table_clear(&table);
}

static void on_resolved(const struct failure *failure, void *answer, void *userdata)
{
	struct ployzctl *ctl = userdata;
	const struct resolved *resolved = answer;

	if (failure) {
		session_fail(ctl, failure);
		return;
	}
	if (ctl->options.json)
		session_json(&resolved_schema, resolved);
	else
		print_answer(resolved);
	session_end(ctl, streq(resolved->status, "NOERROR") || streq(resolved->status, "FORWARDED") ? EXIT_DONE : EXIT_NO);
}

int verb_dns_query(struct ployzctl *ctl, int argc, char **argv)
{
	_cleanup_(strv_freep) char **words = NULL;
	struct dns_options options = { 0 };
	struct resolve_request request = { 0 };
	int code = arguments_take(ctl, "dns query", rows, NULL, &options, argc, argv, 1, 1, &words);

	if (!code)
		code = session_open(ctl);
	if (!code) {
		request = (struct resolve_request){ .name = words[0], .type = options.type, .ns = options.as };
		bus_ask(ctl->bus, SUBJECT_DNSD_RESOLVE, ctl->machine, &request, ASK_USEC, on_resolved, ctl, NULL);
		code = session_run(ctl);
	}
	config_clear(rows, &options);
	return MAX2(code, 0);
}
