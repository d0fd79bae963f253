/* permitted: what a user of the bus really can do, tried with everything that lib/stream and
 * lib/bucket have.
 *
 *   permitted URL USER PASSWORD MACHINE     prints one line each: `yes` or `no`, and what was tried
 *
 * It appends under names of its own and purges nothing that it may not. */
#include <stdio.h>

#include "lib/bucket.h"
#include "lib/loop.h"
#include "lib/str.h"

#define ANSWER_USEC 1500000ull

struct
try {
	char *what;
	char yes; /* 'y', 'n', 0: not known yet */
	size_t *left;
	sd_event *loop;
	struct stream_follow *follow;
};

struct tries {
	struct bus *bus;
	const char *machine;
	struct try all[64];
	size_t count, left;
};

static void answered(struct try *try, bool yes)
{
	if (try->yes)
		return;
	try->yes = yes ? 'y' : 'n';
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
	answered(userdata, !failure);
}

static void on_last(const struct failure *failure, _unused_ const struct stream_entry *entry,
		    void *userdata)
{
	answered(userdata, !failure);
}

/* The store's word that somebody was faster is as good as its yes: the user may write there. */
static void on_append(enum stream_outcome outcome, _unused_ uint64_t sequence,
		      _unused_ const struct failure *failure, void *userdata)
{
	answered(userdata, outcome == STREAM_DONE || outcome == STREAM_CONFLICT);
}

static void on_reply(int error, _unused_ const struct bus_message *reply, void *userdata)
{
	answered(userdata, error == 0);
}

static void on_live(_unused_ uint64_t sequence, void *userdata)
{
	answered(userdata, true);
}

static void on_entry(_unused_ const struct stream_entry *entry, _unused_ void *userdata)
{
}

static void on_lost(_unused_ const struct failure *why, void *userdata)
{
	answered(userdata, false);
}

static const struct stream_follow_ops follow_ops = { .entry = on_entry,
						     .live = on_live,
						     .lost = on_lost };

static void try_reading(struct tries *tries, const char *domain, const char *stream,
			const char *subject)
{
	const char *where = streq(domain, STORE_DOMAIN) ? "the store" : "the copy";
	const struct stream_follow_options options = { .domain = domain,
						       .stream = stream,
						       .from = STREAM_FROM_LAST_PER_SUBJECT };
	struct try *try = add(tries, xasprintf("info %s of %s", stream, where));

	stream_info(tries->bus, domain, stream, ANSWER_USEC, on_info, try, NULL);
	try = add(tries, xasprintf("last %s of %s", stream, where));
	stream_last(tries->bus, domain, stream, subject, ANSWER_USEC, on_last, try, NULL);
	try = add(tries, xasprintf("follow %s of %s", stream, where));
	try->follow = stream_follow_new(tries->bus, &options, &follow_ops, try);
}

static void try_append(struct tries *tries, char *what, char *subject)
{
	_cleanup_free_ char *owned = subject;
	const struct stream_append append = { .subject = subject,
					      .data = "{}",
					      .size = 2,
					      .expected = 4711,
					      .timeout_usec = ANSWER_USEC };

	stream_append(tries->bus, &append, on_append, add(tries, what), NULL);
}

static void try_request(struct tries *tries, char *subject)
{
	_cleanup_free_ char *owned = subject;

	bus_request(tries->bus, subject, NULL, "{}", 2, ANSWER_USEC, on_reply,
		    add(tries, xasprintf("ask %s", subject)), NULL);
}

static void try_all(struct tries *tries)
{
	static const char *const managing[] = { "UPDATE", "DELETE", "PURGE", "MSG.DELETE" };
	const char *machine = tries->machine;

	try_reading(tries, STORE_DOMAIN, STREAM_INTENT, "ployz.v1.intent.namespace.permitted");
	try_reading(tries, STORE_DOMAIN, STREAM_STATUS, "ployz.v1.status.deploy.permitted.d");
	try_reading(tries, STORE_DOMAIN, "KV_" BUCKET_LEASES, "$KV." BUCKET_LEASES ".permitted");
	try_reading(tries, machine, STREAM_INTENT, "ployz.v1.intent.namespace.permitted");
	try_append(tries, xstrdup("append a namespace"),
		   subject_make(SUBJECT_NAMESPACE, "permitted", NULL));
	try_append(tries, xstrdup("append a deploy's status"),
		   subject_make(SUBJECT_DEPLOY_STATUS, "permitted", "d"));
	try_append(tries, xstrdup("append its machine"),
		   subject_make(SUBJECT_MACHINE, machine, NULL));
	try_append(tries, xstrdup("append another machine"),
		   subject_make(SUBJECT_MACHINE, "another", NULL));
	try_append(tries, xstrdup("append a subnet"), subject_make(SUBJECT_SUBNET, "10-1-1", NULL));
	try_append(tries, xstrdup("append a region"),
		   subject_make(SUBJECT_REGION, "permitted", NULL));
	try_append(tries, xstrdup("append its instances"),
		   subject_make(SUBJECT_INSTANCES, machine, "permitted"));
	try_append(tries, xstrdup("append another's instances"),
		   subject_make(SUBJECT_INSTANCES, "another", "permitted"));
	bucket_put(tries->bus, BUCKET_LEASES, "permitted", "{}", 2, 4711, ANSWER_USEC, on_append,
		   add(tries, xstrdup("put a lease")), NULL);
	for (size_t i = 0; i < ARRAY_SIZE(managing); i++) {
		try_request(tries, xasprintf("$JS." STORE_DOMAIN ".API.STREAM.%s." STREAM_INTENT,
					     managing[i]));
		try_request(tries,
			    xasprintf("$JS.%s.API.STREAM.%s." STREAM_INTENT, machine, managing[i]));
	}
	try_request(tries, xasprintf("$JS." STORE_DOMAIN ".API.STREAM.CREATE." STREAM_INTENT));
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
		printf("%s %s\n", tries.all[i].yes == 'y' ? "yes" : "no", tries.all[i].what);
		stream_follow_free(tries.all[i].follow);
		free(tries.all[i].what);
	}
	bus_free(tries.bus);
	sd_event_unref(loop);
	return 0;
}
