#include "meshd/meshd.h"

/* What a user asks, writes and reads, beyond its own doorplate. Streams as letters: I the intent in
 * the store and this machine's copy of it, S the status records, L the leases. */
struct user {
	const char *name;
	const char *asks; /* daemons, separated by blanks; of any machine */
	const char *reads;
	bool reports; /* publishes progress */
	bool follows; /* hears progress */
	bool manages; /* makes the streams and the copy */
	bool leases;  /* writes leases */
};

static const struct user users[] = {
	{ .name = "meshd", .asks = "", .reads = "ISL", .manages = true },
	{ .name = "leased",
	  .asks = "leased placerd agentd routed dnsd",
	  .reads = "ISL",
	  .reports = true,
	  .follows = true,
	  .leases = true },
	{ .name = "placerd", .asks = "placerd agentd", .reads = "I" },
	{ .name = "routed", .asks = "", .reads = "I" },
	{ .name = "dnsd", .asks = "", .reads = "I" },
	{ .name = "agentd", .asks = "", .reads = "I", .reports = true },
	{ .name = OPERATOR,
	  .asks = "meshd leased placerd agentd routed dnsd",
	  .reads = "ISL",
	  .follows = true },
};

const char *const permission_users[] = { "meshd", "leased", "placerd", "routed",
					 "dnsd",  "agentd", OPERATOR,  NULL };

static const struct {
	char letter;
	const char *stream;
} streams[] = {
	{ 'I', STREAM_INTENT },
	{ 'S', STREAM_STATUS },
	{ 'L', "KV_" BUCKET_LEASES },
};

/* What lib/stream and lib/bucket need in order to read a stream. */
static const char *const reading[] = {
	"STREAM.INFO.%s",	"STREAM.MSG.GET.%s",	"CONSUMER.CREATE.%s",
	"CONSUMER.CREATE.%s.>", "CONSUMER.DELETE.%s.*",
};

static void add(char ***list, char *subject)
{
	if (strv_contains(*list, subject))
		free(subject);
	else
		strv_push(list, subject);
}

static void add_api(char ***publish, const char *prefix, const char *verb, const char *stream)
{
	_cleanup_free_ char *pattern = xasprintf("%s.%s", prefix, verb);
	struct strbuf made = STRBUF_INIT;
	const char *hole = strstr(pattern, "%s");

	strbuf_add(&made, pattern, (size_t)(hole - pattern));
	strbuf_puts(&made, stream);
	strbuf_puts(&made, hole + 2);
	add(publish, strbuf_steal(&made));
}

static void add_reading(char ***publish, const char *prefix, const char *stream)
{
	for (size_t i = 0; i < ARRAY_SIZE(reading); i++)
		add_api(publish, prefix, reading[i], stream);
	/* A consumer with flow control stalls until its reader has answered. */
	add(publish, xasprintf("$JS.FC.%s.>", stream));
}

/* nats-server maps `$JS.<domain>.API` of its own domain onto `$JS.API` before it looks at
 * permissions, so what is meant for the copy needs the mapped form too. */
static char **copy_prefixes(const char *machine)
{
	char **prefixes = NULL;

	strv_push(&prefixes, xasprintf("$JS.%s.API", machine));
	strv_push(&prefixes, xstrdup("$JS.API"));
	return prefixes;
}

static void add_streams(char ***publish, const struct user *user)
{
	for (size_t i = 0; i < ARRAY_SIZE(streams); i++) {
		if (strchr(user->reads, streams[i].letter))
			add_reading(publish, "$JS." STORE_DOMAIN ".API", streams[i].stream);
		if (user->manages)
			add_api(publish, "$JS." STORE_DOMAIN ".API", "STREAM.CREATE.%s",
				streams[i].stream);
	}
}

static void add_copy(char ***publish, const struct user *user, const char *machine)
{
	_cleanup_(strv_freep) char **prefixes = copy_prefixes(machine);

	for (char **prefix = prefixes; *prefix; prefix++) {
		if (strchr(user->reads, 'I'))
			add_reading(publish, *prefix, STREAM_INTENT);
		if (user->manages)
			add_api(publish, *prefix, "STREAM.CREATE.%s", STREAM_INTENT);
	}
}

/* The subjects that `user` alone writes in the log and in the status records: where a subject names
 * a machine, only with its own. */
static void add_writing(char ***publish, const char *user, const char *machine)
{
	for (size_t i = 0; i < SUBJECT_COUNT; i++) {
		const struct subject *subject = &subjects[i];
		bool own = i == SUBJECT_MACHINE || i == SUBJECT_INSTANCES;

		if (subject->kind != SUBJECT_INTENT && subject->kind != SUBJECT_STATUS)
			continue;
		if (streq(subject->owner, user))
			add(publish, subject_make((enum subject_id)i, own ? machine : "*", "*"));
	}
}

static void add_asking(char ***publish, const struct user *user)
{
	_cleanup_(strv_freep) char **daemons = strv_split(user->asks, " ");

	for (char **daemon = daemons; daemon && *daemon; daemon++)
		add(publish, subject_door("*", *daemon));
}

/* Every daemon answers at its own door, here and where all are asked. */
static void add_door(char ***subscribe, const char *user, const char *machine)
{
	add(subscribe, subject_door(machine, user));
	add(subscribe, subject_door(NULL, user));
	add(subscribe, xstrdup("$SRV.>"));
}

static const struct user *user_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(users); i++)
		if (streq(users[i].name, name))
			return &users[i];
	return NULL;
}

void permissions_local(const char *name, const char *machine, struct permissions *ret)
{
	const struct user *user = user_find(name);
	bool operator_ = streq(name, OPERATOR);

	*ret = (struct permissions){ NULL, NULL };
	add(&ret->subscribe, xasprintf("_INBOX.%s.>", name));
	if (!operator_) {
		add_door(&ret->subscribe, name, machine);
		/* Answers. Not nats-server's allow_responses: that remembers the reply subject of
		 * every delivered entry of a stream as well. An inbox is private to who may
		 * subscribe to it. */
		add(&ret->publish, xstrdup("_INBOX.>"));
	} else {
		add(&ret->publish, xstrdup("$SRV.>"));
	}
	if (user->reports)
		add(&ret->publish, subject_filter(SUBJECT_PROGRESS));
	if (user->follows)
		add(&ret->subscribe, subject_filter(SUBJECT_PROGRESS));
	add_asking(&ret->publish, user);
	add_writing(&ret->publish, name, machine);
	if (user->leases)
		add(&ret->publish, xstrdup("$JS." STORE_DOMAIN ".API.$KV." BUCKET_LEASES ".*"));
	/* Who writes in the store may ask why it does not answer. */
	if (user->leases || user->manages || user->reports)
		add(&ret->publish, stream_health_subject(STORE_DOMAIN));
	if (user->manages)
		add(&ret->publish, stream_health_subject(machine));
	add_streams(&ret->publish, user);
	add_copy(&ret->publish, user, machine);
}

void permissions_leaf(const char *machine, struct permissions *ret)
{
	*ret = (struct permissions){ NULL, NULL };
	for (size_t i = 0; i < ARRAY_SIZE(users); i++) {
		const struct user *user = &users[i];

		if (!streq(user->name, OPERATOR))
			add(&ret->subscribe, subject_door(machine, user->name));
		if (!streq(user->name, OPERATOR))
			add(&ret->subscribe, subject_door(NULL, user->name));
		add_asking(&ret->publish, user);
		add_writing(&ret->publish, user->name, machine);
		if (user->leases)
			add(&ret->publish,
			    xstrdup("$JS." STORE_DOMAIN ".API.$KV." BUCKET_LEASES ".*"));
		add_streams(&ret->publish, user);
	}
	add(&ret->publish, stream_health_subject(STORE_DOMAIN));
	add(&ret->publish, subject_filter(SUBJECT_PROGRESS));
	add(&ret->subscribe, subject_filter(SUBJECT_PROGRESS));
	add(&ret->publish, xstrdup("$SRV.>"));
	add(&ret->subscribe, xstrdup("$SRV.>"));
	add(&ret->publish, xstrdup("_INBOX.>"));
	add(&ret->subscribe, xstrdup("_INBOX.>"));
	/* The copy: nats-server makes its consumer with a reply to the one, and is sent to the
	 * other. */
	add(&ret->subscribe, xstrdup("$JSC.R.>"));
	add(&ret->subscribe, xstrdup("$JS.M.>"));
}

void permissions_clear(struct permissions *permissions)
{
	strv_free(steal(permissions->publish));
	strv_free(steal(permissions->subscribe));
}
