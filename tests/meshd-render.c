/* The configurations of the two nats-servers, and what each user may publish and subscribe to. */
#include "meshd/meshd.h"
#include "tests/tap.h"

static const struct render_member alone[] = {
	{ .machine = "maaa", .leaf = "127.0.0.1:7422" },
};
static const struct render_member three[] = {
	{ .machine = "maaa", .route = "[fd00::a]:6222", .leaf = "[fd00::a]:7422" },
	{ .machine = "mbbb", .route = "[fd00::b]:6222", .leaf = "[fd00::b]:7422" },
	{ .machine = "mccc", .route = "[fd00::c]:6222", .leaf = "[fd00::c]:7422" },
};
static const struct render_user machines[] = {
	{ .name = (char *)"maaa", .password = (char *)"pa" },
	{ .name = (char *)"mbbb", .password = (char *)"pb" },
};
static const struct render_user dnsd[] = {
	{ .name = (char *)"dnsd", .password = (char *)"secret" },
};

static const char *const bus_golden =
	"# The local bus of this machine. Written by meshd --prepare: changes are lost.\n"
	"server_name: \"maaa\"\n"
	"listen: \"127.0.0.1:4222\"\n"
	"max_payload: 8388608\n"
	"ping_interval: \"2s\"\n"
	"ping_max: 2\n"
	"logtime: false\n"
	"jetstream {\n"
	"\tdomain: \"maaa\"\n"
	"\tstore_dir: \"/var/lib/ployz/\\\"bus\\\"\"\n"
	"\tmax_file_store: 1342177280\n"
	"}\n"
	"leafnodes {\n"
	"\treconnect: \"1s\"\n"
	"\tremotes: [\n"
	"\t\t{\n"
	"\t\t\taccount: PLOYZ\n"
	"\t\t\turls: [\n"
	"\t\t\t\t\"nats-leaf://maaa:pa@127.0.0.1:7422\"\n"
	"\t\t\t]\n"
	"\t\t}\n"
	"\t]\n"
	"}\n"
	"system_account: SYS\n"
	"accounts {\n"
	"\tSYS {\n"
	"\t\texports: [ { service: \"$SYS.REQ.SERVER.PING.HEALTHZ\" } ]\n"
	"\t}\n"
	"\tPLOYZ {\n"
	"\t\tjetstream: enabled\n"
	"\t\timports: [ { service: { account: SYS, subject: \"$SYS.REQ.SERVER.PING.HEALTHZ\" }, "
	"to: \"$HEALTH.maaa\" } ]\n"
	"\t\tusers: [\n"
	"\t\t\t{\n"
	"\t\t\t\tuser: \"dnsd\"\n"
	"\t\t\t\tpassword: \"secret\"\n"
	"\t\t\t\tpermissions: {\n"
	"\t\t\t\t\tpublish: [\n"
	"\t\t\t\t\t\t\"_INBOX.leased.>\"\n"
	"\t\t\t\t\t\t\"_INBOX.operator.>\"\n"
	"\t\t\t\t\t\t\"$JS.ployz.API.STREAM.INFO.PLOYZ_INTENT\"\n"
	"\t\t\t\t\t\t\"$JS.ployz.API.STREAM.MSG.GET.PLOYZ_INTENT\"\n"
	"\t\t\t\t\t\t\"$JS.ployz.API.CONSUMER.CREATE.PLOYZ_INTENT\"\n"
	"\t\t\t\t\t\t\"$JS.ployz.API.CONSUMER.CREATE.PLOYZ_INTENT.>\"\n"
	"\t\t\t\t\t\t\"$JS.ployz.API.CONSUMER.DELETE.PLOYZ_INTENT.*\"\n"
	"\t\t\t\t\t\t\"$JS.FC.PLOYZ_INTENT.>\"\n"
	"\t\t\t\t\t\t\"$JS.ployz.API.STREAM.INFO.PLOYZ_FACTS\"\n"
	"\t\t\t\t\t\t\"$JS.ployz.API.STREAM.MSG.GET.PLOYZ_FACTS\"\n"
	"\t\t\t\t\t\t\"$JS.ployz.API.CONSUMER.CREATE.PLOYZ_FACTS\"\n"
	"\t\t\t\t\t\t\"$JS.ployz.API.CONSUMER.CREATE.PLOYZ_FACTS.>\"\n"
	"\t\t\t\t\t\t\"$JS.ployz.API.CONSUMER.DELETE.PLOYZ_FACTS.*\"\n"
	"\t\t\t\t\t\t\"$JS.FC.PLOYZ_FACTS.>\"\n"
	"\t\t\t\t\t\t\"$JS.maaa.API.STREAM.INFO.PLOYZ_INTENT\"\n"
	"\t\t\t\t\t\t\"$JS.maaa.API.STREAM.MSG.GET.PLOYZ_INTENT\"\n"
	"\t\t\t\t\t\t\"$JS.maaa.API.CONSUMER.CREATE.PLOYZ_INTENT\"\n"
	"\t\t\t\t\t\t\"$JS.maaa.API.CONSUMER.CREATE.PLOYZ_INTENT.>\"\n"
	"\t\t\t\t\t\t\"$JS.maaa.API.CONSUMER.DELETE.PLOYZ_INTENT.*\"\n"
	"\t\t\t\t\t\t\"$JS.maaa.API.STREAM.INFO.PLOYZ_FACTS\"\n"
	"\t\t\t\t\t\t\"$JS.maaa.API.STREAM.MSG.GET.PLOYZ_FACTS\"\n"
	"\t\t\t\t\t\t\"$JS.maaa.API.CONSUMER.CREATE.PLOYZ_FACTS\"\n"
	"\t\t\t\t\t\t\"$JS.maaa.API.CONSUMER.CREATE.PLOYZ_FACTS.>\"\n"
	"\t\t\t\t\t\t\"$JS.maaa.API.CONSUMER.DELETE.PLOYZ_FACTS.*\"\n"
	"\t\t\t\t\t\t\"$JS.API.STREAM.INFO.PLOYZ_INTENT\"\n"
	"\t\t\t\t\t\t\"$JS.API.STREAM.MSG.GET.PLOYZ_INTENT\"\n"
	"\t\t\t\t\t\t\"$JS.API.CONSUMER.CREATE.PLOYZ_INTENT\"\n"
	"\t\t\t\t\t\t\"$JS.API.CONSUMER.CREATE.PLOYZ_INTENT.>\"\n"
	"\t\t\t\t\t\t\"$JS.API.CONSUMER.DELETE.PLOYZ_INTENT.*\"\n"
	"\t\t\t\t\t\t\"$JS.API.STREAM.INFO.PLOYZ_FACTS\"\n"
	"\t\t\t\t\t\t\"$JS.API.STREAM.MSG.GET.PLOYZ_FACTS\"\n"
	"\t\t\t\t\t\t\"$JS.API.CONSUMER.CREATE.PLOYZ_FACTS\"\n"
	"\t\t\t\t\t\t\"$JS.API.CONSUMER.CREATE.PLOYZ_FACTS.>\"\n"
	"\t\t\t\t\t\t\"$JS.API.CONSUMER.DELETE.PLOYZ_FACTS.*\"\n"
	"\t\t\t\t\t]\n"
	"\t\t\t\t\tsubscribe: [\n"
	"\t\t\t\t\t\t\"_INBOX.dnsd.>\"\n"
	"\t\t\t\t\t\t\"ployz.v1.maaa.dnsd.>\"\n"
	"\t\t\t\t\t\t\"ployz.v1.all.dnsd.>\"\n"
	"\t\t\t\t\t\t\"$SRV.>\"\n"
	"\t\t\t\t\t]\n"
	"\t\t\t\t}\n"
	"\t\t\t}\n"
	"\t\t]\n"
	"\t}\n"
	"}\n";

static void test_bus(void)
{
	const struct render_bus bus = {
		.machine = "maaa",
		.listen = "127.0.0.1:4222",
		.data = "/var/lib/ployz/\"bus\"",
		.users = dnsd,
		.n_users = 1,
		.stores = alone,
		.n_stores = 1,
		.leaf_password = "pa",
	};
	struct render_bus many = bus;
	_cleanup_free_ char *text = render_bus(&bus), *linked = NULL;

	is(text, bus_golden, "the local bus of one machine");
	many.stores = three;
	many.n_stores = 3;
	linked = render_bus(&many);
	ok(strstr(linked, "\"nats-leaf://maaa:pa@[fd00::a]:7422\"\n") &&
		   strstr(linked, "\"nats-leaf://maaa:pa@[fd00::b]:7422\"\n") &&
		   strstr(linked, "\"nats-leaf://maaa:pa@[fd00::c]:7422\"\n"),
	   "the leaf link knows every store");
}

static void test_store(void)
{
	struct render_store store = {
		.machine = "maaa",
		.data = "/data",
		.generation = 4,
		.members = alone,
		.n_members = 1,
		.machines = machines,
		.n_machines = 2,
	};
	_cleanup_free_ char *one = render_store(&store), *clustered = NULL;

	ok(str_starts(one,
		      "# The store of the cluster. Written by meshd --prepare: changes are lost.\n"
		      "server_name: \"store-maaa\"\n"
		      "listen: \"127.0.0.1:-1\"\n"
		      "max_payload: 8388608\n"
		      "ping_interval: \"2s\"\n"
		      "ping_max: 2\n"
		      "logtime: false\n"
		      "jetstream {\n"
		      "\tdomain: \"ployz\"\n"
		      "\tstore_dir: \"/data\"\n"
		      "\tmax_file_store: 1342177280\n"
		      "\tsync_interval: always\n"
		      "}\n"
		      "leafnodes {\n"
		      "\tlisten: \"127.0.0.1:7422\"\n"
		      "}\n"
		      "system_account: SYS\n"),
	   "the store of one machine: no cluster block, synced always");
	ok(strstr(one, "user: \"maaa\"\n\t\t\t\tpassword: \"pa\"\n") &&
		   strstr(one, "user: \"mbbb\"\n\t\t\t\tpassword: \"pb\"\n"),
	   "every machine signs in as itself");
	store.members = three;
	store.n_members = 3;
	clustered = render_store(&store);
	ok(strstr(clustered, "cluster {\n"
			     "\tname: \"ployz-4\"\n"
			     "\tlisten: \"[fd00::a]:6222\"\n"
			     "\troutes: [\n"
			     "\t\t\"nats-route://[fd00::b]:6222\"\n"
			     "\t\t\"nats-route://[fd00::c]:6222\"\n"
			     "\t]\n"
			     "}\n") != NULL,
	   "one store of three: named for its generation, with routes to the others");
}

/* One row: a user (or the leaf link of maaa), what it would do, and whether it may. */
static const struct {
	const char *user;
	bool publish;
	const char *subject;
	bool may;
} rows[] = {
	{ "leased", true, "ployz.v1.intent.namespace.shop", true },
	{ "leased", true, "ployz.v1.intent.route.shop%2Etest", true },
	{ "leased", true, "ployz.v1.manifest.shop", true },
	{ "leased", true, "ployz.v1.status.deploy.shop.d1", true },
	{ "leased", true, "$JS.ployz.API.$KV.PLOYZ_LEASES.shop", true },
	{ "leased", true, "ployz.v1.mbbb.agentd.start", true },
	{ "leased", true, "ployz.v1.mbbb.agentd.probe", true },
	{ "leased", true, "ployz.v1.mbbb.agentd.logs", false },
	{ "leased", true, "ployz.v1.mbbb.agentd.status", false },
	{ "leased", true, "ployz.v1.maaa.placerd.plan", true },
	{ "leased", true, "ployz.v1.maaa.placerd.probe", false },
	{ "leased", true, "ployz.v1.mbbb.meshd.reach", true },
	{ "leased", true, "ployz.v1.mbbb.meshd.store.accept", false },
	{ "leased", true, "ployz.v1.maaa.routed.applied", true },
	{ "leased", true, "ployz.v1.maaa.routed.drained", true },
	{ "leased", true, "ployz.v1.maaa.routed.routes", false },
	{ "leased", true, "ployz.v1.maaa.dnsd.applied", true },
	{ "leased", true, "ployz.v1.maaa.dnsd.resolve", false },
	{ "leased", true, "ployz.v1.mbbb.leased.deploy", false },
	{ "leased", true, "ployz.v1.progress.d1", true },
	{ "leased", false, "ployz.v1.progress.d1", true },
	{ "leased", false, "ployz.v1.maaa.leased.deploy", true },
	{ "leased", false, "ployz.v1.maaa.leased.rollback", true },
	{ "leased", false, "ployz.v1.mbbb.leased.deploy", false },
	{ "leased", false, "ployz.v1.maaa.agentd.start", false },
	{ "leased", true, "ployz.v1.intent.member.maaa", false },
	{ "leased", true, "ployz.v1.facts.maaa.shop", false },
	{ "leased", true, "$JS.ployz.API.STREAM.MSG.GET.PLOYZ_MANIFESTS", true },
	{ "leased", true, "$JS.maaa.API.CONSUMER.CREATE.PLOYZ_MANIFESTS", true },
	{ "leased", true, "$JS.ployz.API.STREAM.CREATE.PLOYZ_INTENT", false },
	{ "leased", true, "$JS.ployz.API.STREAM.UPDATE.PLOYZ_INTENT", false },
	{ "leased", true, "$JS.ployz.API.STREAM.DELETE.PLOYZ_INTENT", false },
	{ "leased", true, "_INBOX.operator.abc.1", true },
	{ "leased", true, "_INBOX.agentd.abc.1", false },
	{ "placerd", true, "ployz.v1.mbbb.placerd.probe", true },
	{ "placerd", true, "ployz.v1.mbbb.agentd.list", true },
	{ "placerd", true, "ployz.v1.mbbb.agentd.start", false },
	{ "placerd", true, "ployz.v1.intent.namespace.shop", false },
	{ "placerd", true, "$JS.ployz.API.$KV.PLOYZ_LEASES.shop", false },
	{ "placerd", true, "$JS.ployz.API.STREAM.MSG.GET.PLOYZ_MANIFESTS", true },
	{ "placerd", true, "_INBOX.leased.abc.1", true },
	{ "placerd", true, "_INBOX.placerd.abc.1", true },
	{ "placerd", true, "_INBOX.meshd.abc.1", false },
	{ "agentd", true, "ployz.v1.facts.maaa.shop", true },
	{ "agentd", true, "ployz.v1.facts.mbbb.shop", false },
	{ "agentd", true, "ployz.v1.facts.maaa", false },
	{ "agentd", true, "ployz.v1.progress.d1", true },
	{ "agentd", true, "ployz.v1.maaa.leased.deploy", false },
	{ "agentd", true, "ployz.v1.maaa.agentd.list", false },
	{ "agentd", true, "$JS.ployz.API.STREAM.MSG.GET.PLOYZ_FACTS", true },
	{ "agentd", true, "$JS.ployz.API.STREAM.MSG.GET.PLOYZ_INTENT", true },
	{ "agentd", true, "$JS.ployz.API.STREAM.MSG.GET.PLOYZ_MANIFESTS", false },
	{ "agentd", true, "_INBOX.leased.abc.1", true },
	{ "agentd", true, "_INBOX.placerd.abc.1", true },
	{ "agentd", true, "_INBOX.dnsd.abc.1", false },
	{ "routed", true, "$JS.ployz.API.CONSUMER.CREATE.PLOYZ_INTENT", true },
	{ "routed", true, "$JS.ployz.API.CONSUMER.CREATE.PLOYZ_FACTS.c1.ployz.v1.facts.>", true },
	{ "routed", true, "$JS.ployz.API.CONSUMER.CREATE.PLOYZ_MANIFESTS", false },
	{ "routed", true, "$JS.ployz.API.STREAM.MSG.GET.PLOYZ_MANIFESTS", false },
	{ "routed", true, "$JS.maaa.API.CONSUMER.CREATE.PLOYZ_MANIFESTS", false },
	{ "routed", true, "$JS.API.CONSUMER.CREATE.PLOYZ_MANIFESTS", false },
	{ "routed", true, "$JS.ployz.API.CONSUMER.CREATE.KV_PLOYZ_LEASES", false },
	{ "routed", true, "$JS.maaa.API.CONSUMER.CREATE.PLOYZ_INTENT", true },
	{ "routed", true, "ployz.v1.maaa.agentd.remove", false },
	{ "dnsd", false, "_INBOX.dnsd.abc.1", true },
	{ "dnsd", false, "_INBOX.leased.abc.1", false },
	{ "dnsd", true, "_INBOX.operator.abc.1", true },
	{ "dnsd", true, "_INBOX.leased.abc.1", true },
	{ "dnsd", true, "_INBOX.routed.abc.1", false },
	{ "dnsd", true, "$JS.ployz.API.STREAM.MSG.GET.PLOYZ_MANIFESTS", false },
	{ "meshd", true, "ployz.v1.intent.member.maaa", true },
	{ "meshd", true, "ployz.v1.intent.member.mbbb", true },
	{ "meshd", true, "ployz.v1.facts.maaa", true },
	{ "meshd", true, "ployz.v1.facts.mbbb", false },
	{ "meshd", true, "ployz.v1.facts.maaa.shop", false },
	{ "meshd", true, "ployz.v1.intent.subnet.10-101-7", true },
	{ "meshd", true, "ployz.v1.intent.region.default", true },
	{ "meshd", true, "ployz.v1.intent.namespace.shop", false },
	{ "meshd", true, "$JS.ployz.API.STREAM.MSG.GET.PLOYZ_FACTS", true },
	{ "meshd", true, "$JS.ployz.API.STREAM.CREATE.PLOYZ_INTENT", true },
	{ "meshd", true, "$JS.ployz.API.STREAM.UPDATE.KV_PLOYZ_LEASES", true },
	{ "meshd", true, "$JS.ployz.API.STREAM.CREATE.OTHER", false },
	{ "meshd", true, "$JS.API.STREAM.CREATE.PLOYZ_INTENT", true },
	{ "meshd", true, "$JS.maaa.API.STREAM.DELETE.PLOYZ_FACTS", true },
	{ "meshd", true, "$JS.ployz.API.STREAM.DELETE.PLOYZ_INTENT", false },
	{ "meshd", true, "$JS.ployz.API.STREAM.PURGE.PLOYZ_INTENT", false },
	{ "meshd", true, "$JS.ployz.API.STREAM.MSG.DELETE.PLOYZ_INTENT", false },
	{ "meshd", true, "$JS.maaa.API.STREAM.PURGE.PLOYZ_INTENT", false },
	{ "meshd", true, "$JS.maaa.API.CONSUMER.CREATE.PLOYZ_MANIFESTS", false },
	{ "meshd", true, "ployz.v1.mbbb.agentd.start", false },
	{ "meshd", true, "_INBOX.leased.abc.1", true },
	{ "operator", true, "ployz.v1.mbbb.leased.lease.break", true },
	{ "operator", true, "ployz.v1.mbbb.leased.rollback", true },
	{ "operator", true, "ployz.v1.mbbb.leased.sweep", true },
	{ "operator", true, "ployz.v1.mbbb.leased.cancel", true },
	{ "operator", true, "ployz.v1.mbbb.meshd.status", true },
	{ "operator", true, "ployz.v1.mbbb.meshd.store.usage", true },
	{ "operator", true, "ployz.v1.mbbb.meshd.store.compact", true },
	{ "operator", true, "ployz.v1.mbbb.meshd.store.accept", true },
	{ "operator", true, "ployz.v1.mbbb.placerd.plan", true },
	{ "operator", true, "ployz.v1.mbbb.placerd.status", true },
	{ "operator", true, "ployz.v1.mbbb.placerd.probe", false },
	{ "operator", true, "ployz.v1.mbbb.agentd.list", true },
	{ "operator", true, "ployz.v1.mbbb.agentd.logs", true },
	{ "operator", true, "ployz.v1.mbbb.agentd.status", true },
	{ "operator", true, "ployz.v1.mbbb.agentd.start", false },
	{ "operator", true, "ployz.v1.mbbb.agentd.run", false },
	{ "operator", true, "ployz.v1.mbbb.agentd.remove", false },
	{ "operator", true, "ployz.v1.mbbb.routed.routes", true },
	{ "operator", true, "ployz.v1.mbbb.dnsd.resolve", true },
	{ "operator", true, "$SRV.PING", true },
	{ "operator", false, "ployz.v1.progress.d1", true },
	{ "operator", true, "ployz.v1.progress.d1", false },
	{ "operator", true, "ployz.v1.intent.namespace.shop", false },
	{ "operator", true, "ployz.v1.manifest.shop", false },
	{ "operator", true, "$JS.ployz.API.STREAM.MSG.GET.PLOYZ_MANIFESTS", true },
	{ "operator", true, "$JS.ployz.API.$KV.PLOYZ_LEASES.shop", false },
	{ "operator", false, "ployz.v1.maaa.leased.deploy", false },
	{ "leaf", true, "ployz.v1.intent.namespace.shop", true },
	{ "leaf", true, "ployz.v1.manifest.shop", true },
	{ "leaf", true, "ployz.v1.intent.member.mbbb", true },
	{ "leaf", true, "ployz.v1.facts.maaa", true },
	{ "leaf", true, "ployz.v1.facts.mbbb", false },
	{ "leaf", true, "ployz.v1.facts.maaa.shop", true },
	{ "leaf", true, "ployz.v1.facts.mbbb.shop", false },
	{ "leaf", true, "$JS.ployz.API.STREAM.DELETE.PLOYZ_INTENT", false },
	{ "leaf", true, "$JS.API.STREAM.DELETE.PLOYZ_INTENT", false },
	{ "leaf", true, "$JS.ployz.API.STREAM.PURGE.PLOYZ_INTENT", false },
	{ "leaf", true, "$JS.ployz.API.STREAM.MSG.DELETE.PLOYZ_INTENT", false },
	{ "leaf", true, "$JS.ployz.API.$KV.PLOYZ_LEASES.shop", true },
	{ "leaf", false, "ployz.v1.maaa.agentd.start", true },
	{ "leaf", false, "ployz.v1.mbbb.agentd.start", false },
	{ "leaf", false, "ployz.v1.all.placerd.probe", true },
	{ "leaf", false, "ployz.v1.intent.namespace.shop", false },
};

/* Whether a subject fits a pattern with `*` and `>`. */
static bool fits(const char *pattern, const char *subject)
{
	for (;;) {
		size_t p = strcspn(pattern, "."), s = strcspn(subject, ".");

		if (streq(pattern, ">"))
			return *subject != '\0';
		if (!(p == 1 && *pattern == '*' && s > 0) &&
		    (p != s || strncmp(pattern, subject, p) != 0))
			return false;
		pattern += p;
		subject += s;
		if (!*pattern || !*subject)
			return *pattern == *subject;
		pattern++;
		subject++;
	}
}

static bool any_fits(char *const *patterns, const char *subject)
{
	for (; patterns && *patterns; patterns++)
		if (fits(*patterns, subject))
			return true;
	return false;
}

static void test_permissions(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_(permissions_clear) struct permissions may;

		if (streq(rows[i].user, "leaf"))
			permissions_leaf("maaa", &may);
		else
			permissions_local(rows[i].user, "maaa", &may);
		ok(any_fits(rows[i].publish ? may.publish : may.subscribe, rows[i].subject) ==
			   rows[i].may,
		   "%s %s %s %s", rows[i].user, rows[i].may ? "may" : "may not",
		   rows[i].publish ? "publish" : "subscribe to", rows[i].subject);
	}
}

/* Nothing may delete or replace a stream, but meshd a mirror of its own machine, from a snapshot.
 */
static void test_nothing_deletes(void)
{
	static const struct {
		const char *verb;
		bool store, mirror; /* whether meshd may, for a stream that is mirrored */
	} verbs[] = {
		{ "STREAM.DELETE.", false, true },	{ "STREAM.PURGE.", false, false },
		{ "STREAM.MSG.DELETE.", false, false }, { "STREAM.RESTORE.", false, true },
		{ "STREAM.SNAPSHOT.", true, false },
	};

	for (const char *const *user = permission_users; *user; user++) {
		_cleanup_(permissions_clear) struct permissions may, leaf;
		bool meshd = streq(*user, "meshd");
		const char *found = NULL;

		permissions_local(*user, "maaa", &may);
		permissions_leaf("maaa", &leaf);
		for (size_t i = 0; i < STREAMS_COUNT * ARRAY_SIZE(verbs); i++) {
			size_t verb = i / STREAMS_COUNT;
			const struct streams_row *row = &streams_rows[i % STREAMS_COUNT];
			_cleanup_free_ char *store =
				xasprintf("$JS.ployz.API.%s%s", verbs[verb].verb, row->name);
			_cleanup_free_ char *mirror =
				xasprintf("$JS.maaa.API.%s%s", verbs[verb].verb, row->name);
			bool on_store = verbs[verb].store && row->mirrored;
			bool on_mirror = verbs[verb].mirror && row->mirrored;

			if (any_fits(may.publish, store) != (meshd && on_store) ||
			    any_fits(leaf.publish, store) != on_store ||
			    any_fits(may.publish, mirror) != (meshd && on_mirror) ||
			    any_fits(leaf.publish, mirror))
				found = verbs[verb].verb;
		}
		ok(!found, "%s deletes nothing%s%s", *user, found ? ": " : "", found ? found : "");
	}
}

/* Every verb of lib/subjects.def may be asked by somebody, and is answered by its owner. */
static void test_verbs(void)
{
	for (size_t i = 0; i < SUBJECT_COUNT; i++) {
		_cleanup_free_ char *subject = subject_make((enum subject_id)i, "maaa", "x");
		bool asked = false;

		if (subjects[i].kind != SUBJECT_REQUEST)
			continue;
		for (const char *const *user = permission_users; *user; user++) {
			_cleanup_(permissions_clear) struct permissions may;

			permissions_local(*user, "maaa", &may);
			asked |= any_fits(may.publish, subject);
			ok(any_fits(may.subscribe, subject) == streq(*user, subjects[i].owner),
			   "%s: answered by %s alone (%s)", subject, subjects[i].owner, *user);
		}
		ok(asked, "%s may be asked", subject);
	}
}

/* The leaf link passes whatever a local user sends to the store or to other machines. */
static void test_leaf_covers(void)
{
	_cleanup_(permissions_clear) struct permissions leaf;

	permissions_leaf("maaa", &leaf);
	for (const char *const *user = permission_users; *user; user++) {
		_cleanup_(permissions_clear) struct permissions may;
		const char *missing = NULL;

		permissions_local(*user, "maaa", &may);
		for (char **p = may.publish; *p; p++)
			if (!str_starts(*p, "$JS.maaa.") && !str_starts(*p, "$JS.API.") &&
			    !str_starts(*p, "_INBOX.") && !streq(*p, "$JS.SNAPSHOT.RESTORE.>") &&
			    !streq(*p, "$HEALTH.maaa") && !strv_contains(leaf.publish, *p))
				missing = *p;
		ok(!missing, "the leaf link passes what %s publishes%s%s", *user,
		   missing ? ", not " : "", missing ? missing : "");
	}
}

int main(void)
{
	test_bus();
	test_store();
	test_permissions();
	test_nothing_deletes();
	test_verbs();
	test_leaf_covers();
	return tap_done();
}
