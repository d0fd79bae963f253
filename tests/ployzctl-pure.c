/* The pure decisions and texts of ployzctl. */
#include "ployzctl/pure.h"
#include "ployzctl/ployzctl.h"
#include "ployzctl/status.h"
#include "tests/tap.h"

/* --- targets of logs */

static const struct {
	const char *name, *expected; /* ns/service, or the failure */
} targets[] = {
	{ "web", "shop/web" },
	{ "shop/web", "shop/web" },
	{ "blog/api", "blog/api" },
	{ "blog", "blog/*" },
	{ "api", "cannot choose service 'api': several namespaces have it: shop, blog; run "
		 "`ployzctl logs shop/api`" },
	{ "wbe", "cannot show the output of 'wbe': no such service or namespace; the nearest is "
		 "'web', see `ployzctl ps`" },
	{ "shop/nothing-near", "cannot show the output of 'shop/nothing-near': no such service or "
			       "namespace; run `ployzctl ps`" },
	{ "both", "shop/both" }, /* a service's name wins over a namespace's */
};

static void try_targets(void)
{
	_cleanup_(targets_clear) struct targets known = { NULL, 0 };

	targets_add(&known, "shop", "web");
	targets_add(&known, "shop", "web");
	targets_add(&known, "shop", "api");
	targets_add(&known, "shop", "both");
	targets_add(&known, "blog", "api");
	targets_add(&known, "both", "other");
	is_int((long long)known.count, 5, "each target once");
	for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
		_cleanup_(targets_clear) struct targets found = { NULL, 0 };
		_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;
		_cleanup_free_ char *got = NULL;

		if (targets_find(&known, targets[i].name, &found, &failure) < 0)
			got = xasprintf("%s; %s", failure.message, failure.hint);
		else
			got = xasprintf("%s/%s", found.items[0].ns,
					found.items[0].service ? found.items[0].service : "*");
		is(got, targets[i].expected, targets[i].name);
	}
}

/* --- events, each entry after those above it */

#define NAMESPACE "ployz.v1.intent.namespace.shop"
#define FACTS "ployz.v1.facts.m1.shop"

static const struct {
	const char *subject, *data, *about, *lines; /* lines joined by ` / ` */
} entries[] = {
	{ "ployz.v1.intent.subnet.10-101-4", "{\"machine\":\"m1\"}", "subnet",
	  "m1 claimed 10.101.4.0/24 for its containers" },
	{ "ployz.v1.intent.member.m1",
	  "{\"id\":\"m1\",\"name\":\"box\",\"life_cycle\":\"active\",\"region\":\"eu\",\"subnet\":"
	  "\"10.101.4.0/24\",\"seat\":true}",
	  "machine",
	  "m1 (box) is active, region eu, containers in 10.101.4.0/24, with a store seat" },
	{ "ployz.v1.facts.m1",
	  "{\"machine\":\"m1\",\"version\":\"1.0\",\"arch\":\"x86_64\",\"cpus\":2,\"memory\":"
	  "\"1G\","
	  "\"generation\":3}",
	  "machine", "m1 reports version 1.0, x86_64, 2 CPUs, 1.0 GiB of memory, generation 3" },
	{ "ployz.v1.intent.region.eu", "{\"name\":\"eu\",\"role\":\"compute\",\"who\":\"ada\"}",
	  "region", "ada set region eu to compute" },
	{ NAMESPACE,
	  "{\"namespace\":\"shop\",\"revision\":0,\"open\":{\"deploy\":\"d1\",\"epoch\":1,"
	  "\"machine\":\"m1\",\"verb\":\"deploy\","
	  "\"operator\":\"ada\"}}",
	  "shop", "ada opened deploy d1, executed by m1, epoch 1" },
	{ NAMESPACE, "{\"namespace\":\"shop\",\"revision\":0,\"outcome\":\"failed\"}", "shop",
	  "the open deploy was closed: failed; nothing was ever committed" },
	{ "ployz.v1.intent.route.shop%2Etest",
	  "{\"key\":\"shop.test\",\"namespace\":\"shop\",\"deploy\":\"d2\",\"epoch\":2}", "shop",
	  "deploy d2 claimed route shop.test, epoch 2" },
	{ "ployz.v1.manifest.shop",
	  "{\"namespace\":\"shop\",\"revision\":1,\"number\":1,\"deploy\":\"d2\",\"hash\":\"abc\","
	  "\"manifest\":{\"namespace\":\"shop\",\"services\":{\"web\":{\"image\":\"i\"}}},"
	  "\"nonce\":\"n\"}",
	  "shop", "deploy d2 stored the manifest for revision 1: 1 service" },
	{ NAMESPACE,
	  "{\"namespace\":\"shop\",\"revision\":1,\"deploy\":\"d2\",\"verb\":\"deploy\","
	  "\"operator\":\"ada\",\"from\":\"desk\","
	  "\"why\":\"first\",\"services\":[{\"name\":\"web\",\"slots\":[{\"slot\":0,\"instance\":"
	  "\"i\",\"machine\":\"m1\"}]}]}",
	  "shop",
	  "ada committed revision 1 by deploy d2 from desk: 1 service, 1 instance, because: "
	  "first" },
	{ NAMESPACE,
	  "{\"namespace\":\"shop\",\"revision\":1,\"committed\":5,\"outcome\":\"refused\"}", "shop",
	  "the open deploy was closed: refused; revision 1 remains" },
	{ FACTS,
	  "{\"machine\":\"m1\",\"namespace\":\"shop\",\"instances\":["
	  "{\"id\":\"a\",\"namespace\":\"shop\",\"service\":\"web\",\"slot\":0,\"state\":"
	  "\"starting\"},"
	  "{\"id\":\"b\",\"namespace\":\"shop\",\"service\":\"web\",\"slot\":1,\"state\":\"ready\","
	  "\"address\":\"10.101.4.2\"}]}",
	  "shop", "web/0 starting on m1 (a) / web/1 ready on m1 at 10.101.4.2 (b)" },
	{ FACTS,
	  "{\"machine\":\"m1\",\"namespace\":\"shop\",\"instances\":["
	  "{\"id\":\"a\",\"namespace\":\"shop\",\"service\":\"web\",\"slot\":0,\"state\":"
	  "\"failed\",\"reason\":\"exited\"},"
	  "{\"id\":\"b\",\"namespace\":\"shop\",\"service\":\"web\",\"slot\":1,\"state\":\"ready\","
	  "\"address\":\"10.101.4.2\"}]}",
	  "shop", "web/0 starting, then failed on m1 (a): exited" },
	{ FACTS,
	  "{\"machine\":\"m1\",\"namespace\":\"shop\",\"instances\":["
	  "{\"id\":\"b\",\"namespace\":\"shop\",\"service\":\"web\",\"slot\":1,\"state\":\"ready\","
	  "\"address\":\"10.101.4.2\","
	  "\"restarts\":1}]}",
	  "shop", "web/1 ready on m1 at 10.101.4.2, restart 1 (b) / a is no longer listed on m1" },
	{ FACTS,
	  "{\"machine\":\"m1\",\"namespace\":\"shop\",\"instances\":["
	  "{\"id\":\"b\",\"namespace\":\"shop\",\"service\":\"web\",\"slot\":1,\"state\":\"ready\","
	  "\"address\":\"10.101.4.2\","
	  "\"restarts\":1}]}",
	  "shop", "" },
	{ NAMESPACE, "{\"revision\":1}", "shop", "cannot decode the entry: namespace is missing" },
	{ "ployz.v1.intent.later.x", "{}", "-", "ployz.v1.intent.later.x: unknown subject" },
};

static void try_events(void)
{
	struct event_memory memory = { MAP_INIT };

	for (size_t i = 0; i < ARRAY_SIZE(entries); i++) {
		const struct stream_entry entry = { .subject = entries[i].subject,
						    .sequence = i + 1,
						    .data = entries[i].data,
						    .size = strlen(entries[i].data) };
		_cleanup_free_ char *about = NULL, *joined = NULL;
		_cleanup_(strv_freep) char **lines = NULL;

		event_lines(&memory, &entry, &about, &lines);
		joined = strv_join(lines, " / ");
		is(about, entries[i].about, entries[i].subject);
		is(joined, entries[i].lines, "its lines");
	}
	event_memory_clear(&memory);
}

/* --- leases */

static void try_leases(void)
{
	uint64_t now;
	struct lease_view view = {
		.lease = { .ns = (char *)"shop",
			   .state = LEASE_HELD,
			   .epoch = 3,
			   .machine = (char *)"m1",
			   .operator_ = (char *)"ada",
			   .deploy = (char *)"d1",
			   .verb = (char *)"deploy",
			   .since = (char *)"2026-01-01T00:00:00.000Z" },
		.quiet_ms = 2000,
		.free_in_ms = 28000,
	};
	_cleanup_free_ char *held = NULL, *free_ = NULL;

	time_parse("2026-01-01T00:00:05.000Z", &now);
	held = lease_text(&view, now);
	is(held,
	   "namespace  shop\nstate      held\nheld by    ada\nverb       deploy\ndeploy     "
	   "d1\nmachine    m1\nepoch      3\n"
	   "since      2026-01-01T00:00:00.000Z (5.0 s ago)\nrenewed    2.0 s ago\nfree in    28 "
	   "s\n",
	   "a lease that is held");
	view = (struct lease_view){ .lease = { .ns = (char *)"shop", .epoch = 3 } };
	free_ = lease_text(&view, now);
	is(free_, "namespace  shop\nstate      free\nepoch      3\n", "a lease that is free");
}

/* --- routes */

static const struct {
	const char *states[3], *error, *expected;
	size_t ready;
} routes[] = {
	{ { "ready", "ready" }, NULL, "served", 2 },
	{ { "drain", "ready" }, NULL, "served", 1 },
	{ { "drain", "held" }, NULL, "held", 0 },
	{ { "down" }, NULL, "no server", 0 },
	{ { NULL }, NULL, "no server", 0 },
	{ { "ready" }, "taken by other/web", "error", 1 },
};

static void try_routes(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
		struct route_server servers[3] = { { 0 } };
		struct route_view view = { .servers = servers, .error = (char *)routes[i].error };

		for (; routes[i].states[view.n_servers]; view.n_servers++)
			servers[view.n_servers].state = (char *)routes[i].states[view.n_servers];
		is(route_state(&view), routes[i].expected, routes[i].expected);
		is_int((long long)route_ready(&view), (long long)routes[i].ready,
		       "servers that are ready");
	}
}

/* --- schemas */

static const struct {
	const char *schema, *key, *type;
} types[] = {
	{ "port", "port", "integer 1 to 65535" },
	{ "port", "protocol", "tcp | udp" },
	{ "manifest", "services", "map of service" },
	{ "service", "replicas", "int or \"global\"" },
	{ "service", "command", "list of string" },
	{ "service", "env", "map of string" },
	{ "service", "ready", "object ready" },
	{ "head", "services", "list of head_service" },
	{ "lease_view", "quiet_ms", "integer from -1" },
	{ "ready", "interval", "duration" },
	{ "resources", "memory", "bytes" },
};

static void try_schemas(void)
{
	size_t n, seen = 0;
	_cleanup_free_ const struct codec_schema **schemas = schema_list(&n);

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		_cleanup_free_ char *got = NULL;

		for (size_t j = 0; j < n; j++)
			for (const struct codec_field *f = schemas[j]->fields; f->key; f++)
				if (streq(schemas[j]->name, types[i].schema) &&
				    streq(f->key, types[i].key))
					got = schema_type(f);
		is(got, types[i].type, types[i].key);
	}
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < n; j++)
			seen += streq(schemas[i]->name, schemas[j]->name);
	is_int((long long)seen, (long long)n, "each schema once");
}

/* --- what the log says about a deploy whose leased ended */

static const struct {
	const char *name;
	const char *heads[3]; /* JSON without namespace */
	uint64_t first, opened;
	enum outcome_found expected;
} outcomes[] = {
	{ "no entry, never opened", { NULL }, 0, 0, OUTCOME_ABSENT },
	{ "entries of others, never opened",
	  { "\"revision\":4,\"deploy\":\"c\",\"writer\":\"c\"" },
	  7,
	  0,
	  OUTCOME_ABSENT },
	{ "its opening entry alone",
	  { "\"revision\":4,\"deploy\":\"c\",\"committed\":3,\"writer\":\"d\",\"open\":{\"deploy\":"
	    "\"d\",\"epoch\":1}" },
	  7,
	  7,
	  OUTCOME_OPEN },
	{ "opened twice, with a higher epoch",
	  { "\"revision\":4,\"deploy\":\"c\",\"committed\":3,\"writer\":\"d\",\"open\":{\"deploy\":"
	    "\"d\",\"epoch\":1}",
	    "\"revision\":4,\"deploy\":\"c\",\"committed\":3,\"writer\":\"d\",\"open\":{\"deploy\":"
	    "\"d\",\"epoch\":2}" },
	  7,
	  7,
	  OUTCOME_OPEN },
	{ "committed",
	  { "\"revision\":4,\"deploy\":\"c\",\"committed\":3,\"writer\":\"d\",\"open\":{\"deploy\":"
	    "\"d\",\"epoch\":1}",
	    "\"revision\":5,\"deploy\":\"d\",\"writer\":\"d\"" },
	  7,
	  7,
	  OUTCOME_COMMITTED },
	{ "committed, then superseded",
	  { "\"revision\":4,\"deploy\":\"c\",\"committed\":3,\"writer\":\"d\",\"open\":{\"deploy\":"
	    "\"d\",\"epoch\":1}",
	    "\"revision\":5,\"deploy\":\"d\",\"writer\":\"d\"",
	    "\"revision\":6,\"deploy\":\"e\",\"writer\":\"e\"" },
	  7,
	  7,
	  OUTCOME_COMMITTED },
	{ "committed, and the next one has opened",
	  { "\"revision\":5,\"deploy\":\"d\",\"committed\":8,\"writer\":\"e\",\"open\":{\"deploy\":"
	    "\"e\",\"epoch\":2}" },
	  9,
	  7,
	  OUTCOME_COMMITTED },
	{ "closed by itself",
	  { "\"revision\":4,\"deploy\":\"c\",\"committed\":3,\"writer\":\"d\",\"open\":{\"deploy\":"
	    "\"d\",\"epoch\":1}",
	    "\"revision\":4,\"deploy\":\"c\",\"committed\":3,\"writer\":\"d\",\"outcome\":"
	    "\"failed\"" },
	  7,
	  7,
	  OUTCOME_CLOSED },
	{ "fenced by the next one",
	  { "\"revision\":4,\"deploy\":\"c\",\"committed\":3,\"writer\":\"d\",\"open\":{\"deploy\":"
	    "\"d\",\"epoch\":1}",
	    "\"revision\":4,\"deploy\":\"c\",\"committed\":3,\"writer\":\"e\",\"open\":{\"deploy\":"
	    "\"e\",\"epoch\":2}" },
	  7,
	  7,
	  OUTCOME_CLOSED },
	{ "nothing was ever committed, still open",
	  { "\"revision\":0,\"writer\":\"d\",\"open\":{\"deploy\":\"d\",\"epoch\":1}" },
	  7,
	  7,
	  OUTCOME_OPEN },
	{ "its opening entry is not kept",
	  { "\"revision\":9,\"deploy\":\"x\",\"writer\":\"x\"" },
	  70,
	  7,
	  OUTCOME_OPEN },
	{ "the store has lost its opening entry", { NULL }, 0, 7, OUTCOME_OPEN },
};

static void try_outcomes(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(outcomes); i++) {
		struct outcome_log log = { .deploy = "d" };

		for (size_t j = 0; j < 3 && outcomes[i].heads[j]; j++) {
			_cleanup_free_ char *text =
				xasprintf("{\"namespace\":\"shop\",%s}", outcomes[i].heads[j]);
			void *head = NULL;

			if (codec_parse(&head_schema, text, strlen(text), CODEC_LENIENT, &head,
					NULL) < 0)
				exit(EXIT_FAILURE);
			outcome_log_add(&log, head, outcomes[i].first + j);
			head_free(head);
		}
		is_int(outcome_log_result(&log, outcomes[i].opened), outcomes[i].expected,
		       outcomes[i].name);
	}
}

/* --- revisions */

static const struct {
	int64_t wanted;
	const char *expected; /* number, release, deploy; or the failure */
} revisions[] = {
	{ REVISION_CURRENT, "6 30 f" },
	{ REVISION_BEFORE, "5 20 e" },
	{ 4, "4 0 d" },
	{ 5, "5 20 e" },
	{ 3, "cannot find revision 3 of namespace shop: revisions 4 to 6 are kept" },
	{ 7, "cannot find revision 7 of namespace shop: revisions 4 to 6 are kept" },
};

static char *revision_found(const struct revision_list *list, int64_t wanted)
{
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;
	const struct revision_row *row = revision_list_find(list, "shop", wanted, &failure);

	return row ? xasprintf("%lld %lld %s", (long long)row->number, (long long)row->release,
			       row->deploy)
		   : xstrdup(failure.message);
}

static void try_revisions(void)
{
	static const struct head heads[] = {
		{ .revision = 0 },
		{ .revision = 4, .deploy = (char *)"d" },
		{ .revision = 4, .deploy = (char *)"d", .committed = 2 },
		{ .revision = 5, .deploy = (char *)"e", .release = 10 },
		{ .revision = 5, .deploy = (char *)"e", .release = 20, .committed = 4 },
		{ .revision = 6, .deploy = (char *)"f", .release = 30 },
	};
	struct revision_list list = { NULL, 0 };
	_cleanup_free_ char *none = revision_found(&list, REVISION_CURRENT), *first = NULL;

	is(none, "cannot find a revision of namespace shop: nothing was ever committed",
	   "no revision");
	revision_list_add(&list, &heads[1]);
	first = revision_found(&list, REVISION_BEFORE);
	is(first, "cannot find a revision of namespace shop before revision 4: none is kept",
	   "no revision before the first");
	revision_list_clear(&list);
	for (size_t i = 0; i < ARRAY_SIZE(heads); i++)
		revision_list_add(&list, &heads[i]);
	is_int((long long)list.count, 3, "each revision once");
	for (size_t i = 0; i < ARRAY_SIZE(revisions); i++) {
		_cleanup_free_ char *got = revision_found(&list, revisions[i].wanted);

		is(got, revisions[i].expected, revisions[i].expected);
	}
	revision_list_clear(&list);
}

/* --- what differs between two releases */

static struct release *release_of(const char *services, const char *more, const char *digests)
{
	_cleanup_free_ char *text =
		xasprintf("{\"namespace\":\"shop\",\"revision\":1,\"number\":1,\"deploy\":\"d\","
			  "\"hash\":\"h\",\"nonce\":\"n\",\"digests\":{%s},\"manifest\":{"
			  "\"namespace\":\"shop\",\"services\":{%s}%s}}",
			  digests, services, more);
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;
	void *release = NULL;

	if (codec_parse(&release_schema, text, strlen(text), CODEC_LENIENT, &release, &failure) <
	    0) {
		ok(false, "%s: %s", text, failure.message);
		exit(EXIT_FAILURE);
	}
	return release;
}

static const struct {
	const char *name;
	const char *services[2], *more[2], *digests[2];
	const char *expected;
} diffs[] = {
	{ "the same",
	  { "\"web\":{\"image\":\"i:1\"}", "\"web\":{\"image\":\"i:1\"}" },
	  { "", "" },
	  { "\"web\":\"sha256:aa\"", "\"web\":\"sha256:aa\"" },
	  "  no difference\n" },
	{ "the same name, another image",
	  { "\"web\":{\"image\":\"i:1\"}", "\"web\":{\"image\":\"i:1\"}" },
	  { "", "" },
	  { "\"web\":\"sha256:0123456789abcdef\"", "\"web\":\"sha256:fedcba9876543210\"" },
	  "~ services.web\n    ~ digest: sha256:0123456789ab to sha256:fedcba987654\n" },
	{ "fields of a service",
	  { "\"web\":{\"image\":\"i:1\",\"env\":{\"A\":\"1\",\"B\":\"2\"},\"command\":[\"a\"]}",
	    "\"web\":{\"image\":\"i:2\",\"env\":{\"A\":\"1\",\"C\":\"3\"},\"command\":[\"a\",\"b\"]"
	    ","
	    "\"replicas\":3}" },
	  { "", "" },
	  { "", "" },
	  "~ services.web\n"
	  "    ~ image: i:1 to i:2\n"
	  "    ~ replicas: 1 to 3\n"
	  "    ~ command: [\"a\"] to [\"a\",\"b\"]\n"
	  "    + env.C: 3\n"
	  "    - env.B: 2\n" },
	{ "services that are new and gone, volumes, grants",
	  { "\"web\":{\"image\":\"i:1\"},\"old\":{\"image\":\"o:1\"}",
	    "\"web\":{\"image\":\"i:1\"},\"new\":{\"image\":\"n:1\"}" },
	  { ",\"volumes\":{\"data\":{\"mode\":\"exclusive\"}}",
	    ",\"volumes\":{\"data\":{\"mode\":\"shared\"}},\"grants\":{\"a.test\":[\"blog\"]}" },
	  { "", "" },
	  "+ services.new (n:1)\n"
	  "- services.old (o:1)\n"
	  "~ volumes.data\n"
	  "    + mode: shared\n"
	  "~ grants\n"
	  "    + a.test: [\"blog\"]\n" },
	{ "a long text is its size, control characters are not shown",
	  { "\"web\":{\"image\":\"i\",\"files\":{\"/a\":\"x\\ny\"},\"env\":{\"A\":\"\\u001b[1m\"}}",
	    "\"web\":{\"image\":\"i\",\"files\":{\"/a\":\"x\\ny\\nz\"},\"env\":{\"A\":\"\"}}" },
	  { "", "" },
	  { "", "" },
	  "~ services.web\n"
	  "    ~ env.A: ?[1m to (empty)\n"
	  "    ~ files./a: (3 bytes) to (5 bytes)\n" },
};

static void try_diffs(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(diffs); i++) {
		_cleanup_(release_freep) struct release *from =
			release_of(diffs[i].services[0], diffs[i].more[0], diffs[i].digests[0]);
		_cleanup_(release_freep) struct release *to =
			release_of(diffs[i].services[1], diffs[i].more[1], diffs[i].digests[1]);
		_cleanup_(differences_clear) struct differences differences = { NULL, 0 };
		_cleanup_free_ char *text = NULL;

		release_diff(from, to, &differences);
		text = differences_text(&differences);
		is(text, diffs[i].expected, diffs[i].name);
	}
}

int main(void)
{
	try_targets();
	try_events();
	try_leases();
	try_routes();
	try_schemas();
	try_outcomes();
	try_revisions();
	try_diffs();
	return tap_done();
}
