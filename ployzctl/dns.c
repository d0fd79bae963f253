/* `ployzctl dns query`: what this machine's resolver would answer, and why. */
#include <inttypes.h>

#include "ployzctl/ployzctl.h"

struct dns_options {
	char *as;
	char *type;
};
static const struct config_row dns_rows[] = {
	{ "as", CONFIG_STRING, offsetof(struct dns_options, as), NULL, "NS",
	  "query as a container of this namespace does", 0, 0 },
	{ "type", CONFIG_STRING, offsetof(struct dns_options, type), "A", "TYPE",
	  "A, AAAA, SRV or TXT", 0, 0 },
	CONFIG_END,
};

static void print_answer(const struct resolved *resolved)
{
	_cleanup_free_ char *why = text_safe(resolved->why);
	_cleanup_free_ char *applied = watermark_text(&resolved->applied);

	for (size_t i = 0; i < resolved->n_records; i++) {
		const struct resolve_record *record = &resolved->records[i];
		_cleanup_free_ char *data = text_safe(record->data);

		printf("%s %" PRId64 " %s %s\n", record->name, record->ttl, record->type, data);
	}
	printf("%s%s%s (applied: %s)\n", resolved->status, *why ? ": " : "", why, applied);
	if (resolved->stale_since)
		session_refuse(FAILURE_NOT_READY, "run `ployzctl status`",
			       "resolver stale since %s: it cannot follow the store and answers "
			       "from the last known state",
			       resolved->stale_since);
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
	session_end(ctl, streq(resolved->status, "NOERROR") || streq(resolved->status, "FORWARDED")
				 ? EXIT_DONE
				 : EXIT_NO);
}

int verb_dns_query(struct ployzctl *ctl, int argc, char **argv)
{
	_cleanup_(strv_freep) char **words = NULL;
	struct dns_options options;
	struct resolve_request request = { 0 };
	int code = arguments_take(ctl, "dns query", dns_rows, NULL, &options, argc, argv, 1, 1,
				  &words);

	if (!code)
		code = session_open(ctl);
	if (!code) {
		request = (struct resolve_request){ .name = words[0],
						    .type = options.type,
						    .ns = options.as };
		bus_ask(ctl->bus, SUBJECT_DNSD_RESOLVE, ctl->machine, &request, REQUEST_USEC,
			on_resolved, ctl, NULL);
		code = session_run(ctl);
	}
	config_clear(dns_rows, &options);
	return MAX2(code, 0);
}
