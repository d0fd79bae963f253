/* Subjects: made from the table, matched against it, and the stream of each; the configuration of
 * each stream. */
#include "lib/streams.h"
#include "lib/str.h"
#include "lib/subjects.h"
#include "tests/tap.h"

static const struct {
	enum subject_id id;
	const char *a, *b, *subject;
} made[] = {
	{ SUBJECT_LEASE_SHOW, "m1", NULL, "ployz.v1.m1.leased.lease.show" },
	{ SUBJECT_LEASE_SHOW, NULL, NULL, "ployz.v1.all.leased.lease.show" },
	{ SUBJECT_INSTANCES, "m1", "shop", "ployz.v1.facts.m1.shop" },
	{ SUBJECT_MACHINE_FACTS, "m1", NULL, "ployz.v1.facts.m1" },
	{ SUBJECT_NAMESPACE, "shop", NULL, "ployz.v1.intent.namespace.shop" },
	{ SUBJECT_DEPLOY_STATUS, "shop", "d1", "ployz.v1.status.deploy.shop.d1" },
};

static const struct {
	enum subject_id id;
	const char *subject, *a, *b;
	bool matches;
} matched[] = {
	{ SUBJECT_INSTANCES, "ployz.v1.facts.m1.shop", "m1", "shop", true },
	{ SUBJECT_INSTANCES, "ployz.v1.facts.m1", NULL, NULL, false },
	{ SUBJECT_INSTANCES, "ployz.v1.facts.m1.", NULL, NULL, false },
	{ SUBJECT_INSTANCES, "ployz.v1.facts..shop", NULL, NULL, false },
	{ SUBJECT_INSTANCES, "ployz.v1.facts.m1.shop.x", NULL, NULL, false },
	{ SUBJECT_INSTANCES, "ployz.v1.intent.m1.shop", NULL, NULL, false },
	{ SUBJECT_MACHINE_FACTS, "ployz.v1.facts.m1", "m1", NULL, true },
	{ SUBJECT_MACHINE_FACTS, "ployz.v1.facts.m1.shop", NULL, NULL, false },
	{ SUBJECT_MACHINE_FACTS, "", NULL, NULL, false },
	{ SUBJECT_LEASE_SHOW, "ployz.v1.m1.leased.lease.show", "m1", NULL, true },
	{ SUBJECT_LEASE_SHOW, "ployz.v1.m1.leased.lease.list", NULL, NULL, false },
};

static void test_subjects(void)
{
	char *text;

	for (size_t i = 0; i < ARRAY_SIZE(made); i++) {
		text = subject_make(made[i].id, made[i].a, made[i].b);
		is(text, made[i].subject, made[i].subject);
		free(text);
	}
	for (size_t i = 0; i < ARRAY_SIZE(matched); i++) {
		char *a = NULL, *b = NULL;
		bool matches = subject_match(matched[i].id, matched[i].subject, &a, &b);

		ok(matches == matched[i].matches && streq(a, matched[i].a) &&
			   streq(b, matched[i].b),
		   "'%s' %s", matched[i].subject, matches ? "matches" : "does not match");
		free(a);
		free(b);
	}
	ok(subject_match(SUBJECT_INSTANCES, "ployz.v1.facts.m1.shop", NULL, NULL),
	   "the values need not be wanted");
	text = subject_filter(SUBJECT_INSTANCES);
	is(text, "ployz.v1.facts.*.*", "a filter");
	free(text);
	is(subject_stream(SUBJECT_INTENT), "PLOYZ_INTENT", "intent");
	is(subject_stream(SUBJECT_FACTS), "PLOYZ_FACTS", "facts");
	is(subject_stream(SUBJECT_MANIFESTS), "PLOYZ_MANIFESTS", "manifests");
	is(subject_stream(SUBJECT_STATUS), "PLOYZ_STATUS", "status");
	ok(!subject_stream(SUBJECT_REQUEST) && !subject_stream(SUBJECT_EVENT), "others: none");
	is(subject_verb(SUBJECT_LEASE_SHOW), "lease.show", "the verb of a request");
	text = subject_status("m1", "leased");
	is(text, "ployz.v1.m1.leased.status", "a daemon's status");
	free(text);
	text = subject_endpoints("m1", "leased");
	is(text, "ployz.v1.m1.leased.>", "all requests to a daemon");
	free(text);
	text = subject_endpoints(NULL, "leased");
	is(text, "ployz.v1.all.leased.>", "of all machines");
	free(text);
}

static const struct {
	enum streams_id id;
	const char *config, *mirror;
} configs[] = {
	{ STREAMS_INTENT,
	  "{\"allow_direct\":false,\"allow_rollup_hdrs\":false,\"deny_delete\":true,\"deny_purge\":"
	  "true,\"discard\":\"new\",\"max_bytes\":268435456,\"max_msgs_per_subject\":256,"
	  "\"metadata\":{\"ployz.generation\":\"7\",\"ployz.store\":\"s\"},\"name\":\"PLOYZ_"
	  "INTENT\",\"num_replicas\":3,\"retention\":\"limits\",\"storage\":\"file\",\"subjects\":["
	  "\"ployz.v1.intent.>\"]}",
	  "{\"allow_rollup_hdrs\":false,\"deny_delete\":true,\"deny_purge\":true,\"max_msgs_per_"
	  "subject\":256,\"mirror\":{\"external\":{\"api\":\"$JS.ployz.API\",\"deliver\":\"\"},"
	  "\"name\":\"PLOYZ_INTENT\"},\"name\":\"PLOYZ_INTENT\",\"num_replicas\":1,\"retention\":"
	  "\"limits\",\"storage\":\"file\"}" },
	{ STREAMS_STATUS,
	  "{\"allow_direct\":false,\"allow_rollup_hdrs\":false,\"deny_delete\":true,\"deny_purge\":"
	  "true,\"discard\":\"old\",\"max_age\":7776000000000000,\"max_bytes\":134217728,"
	  "\"metadata\":{\"ployz.generation\":\"7\",\"ployz.store\":\"s\"},\"name\":\"PLOYZ_"
	  "STATUS\",\"num_replicas\":3,\"retention\":\"limits\",\"storage\":\"file\",\"subjects\":["
	  "\"ployz.v1.status.>\"]}",
	  NULL },
	{ STREAMS_LEASES,
	  "{\"allow_direct\":false,\"allow_rollup_hdrs\":false,\"deny_delete\":true,\"deny_purge\":"
	  "true,\"discard\":\"new\",\"max_bytes\":16777216,\"max_msgs_per_subject\":1,"
	  "\"metadata\":{\"ployz.generation\":\"7\",\"ployz.store\":\"s\"},\"name\":\"KV_PLOYZ_"
	  "LEASES\",\"num_replicas\":3,\"retention\":\"limits\",\"storage\":\"file\",\"subjects\":["
	  "\"$KV.PLOYZ_LEASES.>\"]}",
	  NULL },
};

static void test_streams(void)
{
	static const char *const generations[] = { "0", "-1", "x", "99999999999999999999" };
	json_t *info;

	for (size_t i = 0; i < ARRAY_SIZE(configs); i++) {
		json_t *config = streams_config(configs[i].id, 3, 7, "s");
		char *text = json_sorted(config);

		is(text, configs[i].config, streams_rows[configs[i].id].name);
		free(text);
		json_decref(config);
		if (!configs[i].mirror)
			continue;
		config = streams_mirror_config(configs[i].id);
		text = json_sorted(config);
		is(text, configs[i].mirror, "and its mirror");
		free(text);
		json_decref(config);
	}
	info = json_pack("{s:o}", "config", streams_config(STREAMS_FACTS, 1, 7, "s"));
	ok(streams_generation(info) == 7 && streq(streams_store(info), "s"),
	   "generation and store are read back");
	streams_mark(json_object_get(info, "config"), 8, "t");
	ok(streams_generation(info) == 8 && streq(streams_store(info), "t"), "and changed");
	for (size_t i = 0; i < ARRAY_SIZE(generations); i++) {
		json_object_set_new(json_object_get(json_object_get(info, "config"), "metadata"),
				    STREAMS_GENERATION, json_string(generations[i]));
		ok(streams_generation(info) == 0, "generation %s is none", generations[i]);
	}
	json_decref(info);
	info = json_object();
	ok(streams_generation(info) == 0 && !streams_store(info), "without metadata neither");
	json_decref(info);
}

int main(void)
{
	test_subjects();
	test_streams();
	return tap_done();
}
