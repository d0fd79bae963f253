/* permitted: what a user of the bus really can do, tried with everything that lib/stream, lib/cas
 * and lib/bucket have.
 *
 *   permitted URL USER PASSWORD MACHINE
 *           prints one line each: `yes`, `no` or `refused` (by the stream, not by a permission),
 * and what was tried
 *
 * It appends under names of its own, and nothing that it tries deletes anything. */
#include <stdio.h>

#include "lib/bucket.h"
#include "lib/loop.h"
#include "lib/model/route.h"
#include "lib/str.h"
#include "lib/streams.h"

#define ANSWER_USEC 1500000ull
#define NAME "permitted"
#define TRIES_MAX 160

struct
try {
	char *what;
	const char *outcome; /* NULL: not known yet */
	size_t *left;
	sd_event *loop;
	struct stream_follow *follow;
};

struct tries {
	struct bus *bus;
	const char *machine;
	struct try all[TRIES_MAX];
	size_t count, left;
};

static void answered(struct try *try, const char *outcome)
{
	if (try->outcome)
		return;
	try->outcome = outcome;
	if (--*try->left == 0)
		sd_event_exit(try->loop, 0);
}

static struct try *add(struct tries *tries, char *what)
{
	struct try *try = &tries->all[tries->count++];

	try->what = what;
	try->left = &tries->left;
	try->loop = bus_loop(tries->bus);
	tries->left++;
	return try;
}

static void on_info(const struct failure *failure, _unused_ const json_t *info, void *userdata)
{
	answered(userdata, failure ? "no" : "yes");
}

static void on_last(const struct failure *failure, _unused_ const struct stream_entry *entry,
		    void *userdata)
{
	answered(userdata, failure ? "no" : "yes");
}

/* A conflict is as good as an acknowledgement: the user may append there. */
static void on_append(enum stream_outcome outcome, _unused_ uint64_t sequence,
		      _unused_ const struct failure *failure, void *userdata)
{
	answered(userdata, outcome == STREAM_DONE || outcome == STREAM_CONFLICT ? "yes" : "no");
}

static void on_reply(int error, _unused_ const struct bus_message *reply, void *userdata)
{
	answered(userdata, error ? "no" : "yes");
}

static void on_rollup(int error, const struct bus_message *reply, void *userdata)
{
	_cleanup_json_ json_t *json = error ? NULL : json_loadb(reply->data, reply->size, 0, NULL);

	answered(userdata, error ? "no" : json_object_get(json, "error") ? "refused" : "yes");
}

static void on_live(_unused_ uint64_t sequence, void *userdata)
{
	answered(userdata, "yes");
}

static void on_entry(_unused_ const struct stream_entry *entry, _unused_ void *userdata)
{
}

static void on_lost(_unused_ const struct failure *why, void *userdata)
{
	answered(userdata, "no");
}

static const struct stream_follow_ops follow_ops = { .entry = on_entry,
						     .live = on_live,
						     .lost = on_lost };

static void try_reading(struct tries *tries, const char *domain, const struct streams_row *row)
{
	const char *where = streq(domain, STORE_DOMAIN) ? "the store" : "the mirror";
	const struct stream_follow_options options = { .domain = domain,
						       .stream = row->name,
						       .from = STREAM_FROM_LAST_PER_SUBJECT };
	struct try *try = add(tries, xasprintf("info %s of %s", row->name, where));

	stream_info(tries->bus, domain, row->name, ANSWER_USEC, on_info, try, NULL);
	try = add(tries, xasprintf("last %s of %s", row->name, where));
	stream_last(tries->bus, domain, row->name, row->subject, ANSWER_USEC, on_last, try, NULL);
	try = add(tries, xasprintf("follow %s of %s", row->name, where));
	try->follow = stream_follow_new(tries->bus, &options, &follow_ops, try);
}

static void try_rollup(struct tries *tries, const char *subject, const char *what,
		       const char *scope)
{
	const struct bus_headers headers = {
		.keys = { "Nats-Rollup" },
		.values = { scope },
		.count = 1,
	};

	bus_request(tries->bus, subject, &headers, "{}", 2, ANSWER_USEC, on_rollup,
		    add(tries, xasprintf("roll up %s (%s)", what, scope)), NULL);
}

static void try_append(struct tries *tries, const char *what, char *subject)
{
	_cleanup_free_ char *owned = subject;
	const struct stream_append append = { .subject = subject,
					      .data = "{}",
					      .size = 2,
					      .expected = 4711,
					      .timeout_usec = ANSWER_USEC };

	stream_append(tries->bus, &append, on_append, add(tries, xasprintf("append %s", what)),
		      NULL);
	try_rollup(tries, subject, what, "all");
	try_rollup(tries, subject, what, "sub");
}

/* No request of JetStream's has these bytes: it answers with an error, and does nothing. */
static void try_request(struct tries *tries, char *subject)
{
	_cleanup_free_ char *owned = subject;

	bus_request(tries->bus, subject, NULL, "[0]", 3, ANSWER_USEC, on_reply,
		    add(tries, xasprintf("ask %s", subject)), NULL);
}

static void try_all(struct tries *tries)
{
	static const char *const managing[] = { "CREATE", "UPDATE", "DELETE", "PURGE",
						"MSG.DELETE" };
	const char *machine = tries->machine;

	for (size_t i = 0; i < STREAMS_COUNT; i++)
		try_reading(tries, STORE_DOMAIN, &streams_rows[i]);
	for (size_t i = 0; i < STREAMS_COUNT; i++)
		if (streams_rows[i].mirrored)
			try_reading(tries, machine, &streams_rows[i]);
	try_append(tries, "a namespace", subject_make(SUBJECT_NAMESPACE, NAME, NULL));
	try_append(tries, "a route claim", subject_make(SUBJECT_ROUTE, NAME, NULL));
	try_append(tries, "a manifest", subject_make(SUBJECT_MANIFEST, NAME, NULL));
	try_append(tries, "a deploy's status", subject_make(SUBJECT_DEPLOY_STATUS, NAME, "d"));
	try_append(tries, "a member", subject_make(SUBJECT_MEMBER, "another", NULL));
	try_append(tries, "a subnet", subject_make(SUBJECT_SUBNET, "10-1-1", NULL));
	try_append(tries, "a region", subject_make(SUBJECT_REGION, NAME, NULL));
	try_append(tries, "its machine's facts",
		   subject_make(SUBJECT_MACHINE_FACTS, machine, NULL));
	try_append(tries, "another's facts", subject_make(SUBJECT_MACHINE_FACTS, "another", NULL));
	try_append(tries, "its instances", subject_make(SUBJECT_INSTANCES, machine, NAME));
	try_append(tries, "another's instances", subject_make(SUBJECT_INSTANCES, "another", NAME));
	try_append(tries, "a lease",
		   xstrdup("$JS." STORE_DOMAIN ".API.$KV." BUCKET_LEASES "." NAME));
	for (size_t i = 0; i < ARRAY_SIZE(managing); i++) {
		try_request(tries, xasprintf("$JS." STORE_DOMAIN ".API.STREAM.%s." STREAM_INTENT,
					     managing[i]));
		try_request(tries, xasprintf("$JS." STORE_DOMAIN ".API.STREAM.%s.KV_" BUCKET_LEASES,
					     managing[i]));
		try_request(tries,
			    xasprintf("$JS.%s.API.STREAM.%s." STREAM_INTENT, machine, managing[i]));
	}
	try_request(tries, xstrdup("$JS." STORE_DOMAIN ".API.STREAM.CREATE.OTHER"));
	try_request(tries, subject_status(machine, "meshd"));
}

int main(int argc, char **argv)
{
	struct tries tries = { .count = 0 };
	struct failure failure = FAILURE_INIT;
	_cleanup_free_ char *inbox = NULL;
	struct bus_options options = { .name = "permitted" };
	sd_event *loop = NULL;

	if (argc != 5) {
		fprintf(stderr, "usage: permitted URL USER PASSWORD MACHINE\n");
		return 2;
	}
	inbox = xasprintf("_INBOX.%s", argv[2]);
	options.url = argv[1];
	options.user = argv[2];
	options.password = argv[3];
	options.inbox = inbox;
	tries.machine = argv[4];
	if (loop_new(&loop) < 0 || bus_open(loop, &options, &tries.bus, &failure) < 0) {
		fprintf(stderr, "permitted: %s\n", failure.message ? failure.message : "no loop");
		failure_clear(&failure);
		sd_event_unref(loop);
		return 1;
	}
	try_all(&tries);
	sd_event_loop(loop);
	for (size_t i = 0; i < tries.count; i++) {
		printf("%s %s\n", tries.all[i].outcome ? tries.all[i].outcome : "no",
		       tries.all[i].what);
		stream_follow_free(tries.all[i].follow);
		free(tries.all[i].what);
	}
	bus_free(tries.bus);
	sd_event_unref(loop);
	return 0;
}
