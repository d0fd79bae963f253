/* Permissions: the table of the subjects that each user of the bus may publish and subscribe to. No
 * user may delete or purge a stream of the store, or delete its entries; rollups, which permissions
 * do not see, are refused by the streams themselves. */
#include "meshd/meshd.h"

struct user {
	const char *name;
	const char *asks;    /* DAEMON.VERB of any machine, separated by blanks; `*`: every verb */
	const char *reads;   /* streams of the store, by letter */
	const char *mirrors; /* local mirrors that it reads, by letter */
	bool reports;	     /* publishes progress */
	bool follows;	     /* subscribes to progress */
	bool manages;	     /* creates and updates the streams and the local mirrors */
	bool leases;	     /* writes leases */
	bool health;	     /* requests the store's health */
};

static const char letters[STREAMS_COUNT + 1] = {
	[STREAMS_INTENT] = 'I', [STREAMS_FACTS] = 'F',	[STREAMS_MANIFESTS] = 'M',
	[STREAMS_STATUS] = 'S', [STREAMS_LEASES] = 'L',
};

/* Manifests hold environment and files: only leased, placerd and operators use them. meshd accounts
 * their sizes, in the store alone. */
static const struct user users[] = {
	{ .name = "meshd",
	  .asks = "meshd.*",
	  .reads = "IFMSL",
	  .mirrors = "",
	  .manages = true,
	  .health = true },
	{ .name = "leased",
	  .asks = "placerd.plan agentd.lock agentd.unlock agentd.prepare agentd.start agentd.run "
		  "agentd.probe agentd.drain agentd.stop agentd.resume agentd.remove agentd.list "
		  "meshd.reach routed.applied routed.drained dnsd.applied",
	  .reads = "IFMSL",
	  .mirrors = "IFM",
	  .reports = true,
	  .follows = true,
	  .leases = true,
	  .health = true },
	{ .name = "placerd",
	  .asks = "placerd.probe agentd.list",
	  .reads = "IFM",
	  .mirrors = "IFM" },
	{ .name = "routed", .asks = "", .reads = "IF", .mirrors = "IF" },
	{ .name = "dnsd", .asks = "", .reads = "IF", .mirrors = "IF" },
	{ .name = "agentd",
	  .asks = "",
	  .reads = "IF",
	  .mirrors = "IF",
	  .reports = true,
	  .health = true },
	{ .name = OPERATOR,
	  .asks = "leased.* meshd.* placerd.plan placerd.status agentd.list agentd.logs "
		  "agentd.status routed.* dnsd.*",
	  .reads = "IFMSL",
	  .mirrors = "IFM",
	  .follows = true },
};

const char *const permission_users[] = { "meshd", "leased", "placerd", "routed",
					 "dnsd",  "agentd", OPERATOR,  NULL };

/* What lib/stream, lib/bucket and lib/cas need to read a stream; %s is the stream. */
static const char *const reading[] = {
	"STREAM.INFO.%s",	"STREAM.MSG.GET.%s",	"CONSUMER.CREATE.%s",
	"CONSUMER.CREATE.%s.>", "CONSUMER.DELETE.%s.*", NULL,
};
static const char *const managing[] = { "STREAM.INFO.%s", "STREAM.CREATE.%s", "STREAM.UPDATE.%s",
					NULL };
/* A local mirror, in the machine's own domain, is replaced by a snapshot of the store when it is of
 * an earlier generation or has stopped. */
static const char *const mirroring[] = { "STREAM.INFO.%s",    "STREAM.CREATE.%s",
					 "STREAM.UPDATE.%s",  "STREAM.DELETE.%s",
					 "STREAM.RESTORE.%s", NULL };
static const char *const snapshot[] = { "STREAM.SNAPSHOT.%s", NULL };

static void add(char ***list, char *subject)
{
	if (strv_contains(*list, subject))
		free(subject);
	else
		strv_push(list, subject);
}

static void add_api(char ***publish, const char *prefix, const char *const *verbs,
		    const char *stream)
{
	for (; *verbs; verbs++) {
		const char *hole = strstr(*verbs, "%s");

		add(publish, xasprintf("%s.%.*s%s%s", prefix, (int)(hole - *verbs), *verbs, stream,
				       hole + 2));
	}
}

static void add_reading(char ***publish, const char *prefix, const char *stream)
{
	add_api(publish, prefix, reading, stream);
	/* A consumer with flow control stalls until its reader has answered. */
	add(publish, xasprintf("$JS.FC.%s.>", stream));
}

static void add_streams(char ***publish, const struct user *user)
{
	for (size_t i = 0; i < STREAMS_COUNT; i++) {
		if (strchr(user->reads, letters[i]))
			add_reading(publish, "$JS." STORE_DOMAIN ".API", streams_rows[i].name);
		if (user->manages)
			add_api(publish, "$JS." STORE_DOMAIN ".API", managing,
				streams_rows[i].name);
		if (user->manages && streams_rows[i].mirrored) {
			add_api(publish, "$JS." STORE_DOMAIN ".API", snapshot,
				streams_rows[i].name);
			add(publish, xasprintf("$JS.SNAPSHOT.ACK.%s.>", streams_rows[i].name));
		}
	}
}

/* nats-server maps `$JS.<domain>.API` of its own domain onto `$JS.API` before it checks
 * permissions, so the mapped form is needed too. */
static void add_mirrors(char ***publish, const struct user *user, const char *machine)
{
	_cleanup_free_ char *own = xasprintf("$JS.%s.API", machine);
	const char *const prefixes[] = { own, "$JS.API" };

	for (size_t p = 0; p < ARRAY_SIZE(prefixes); p++)
		for (size_t i = 0; i < STREAMS_COUNT; i++) {
			if (!streams_rows[i].mirrored)
				continue;
			if (strchr(user->mirrors, letters[i]))
				add_reading(publish, prefixes[p], streams_rows[i].name);
			if (user->manages)
				add_api(publish, prefixes[p], mirroring, streams_rows[i].name);
		}
}

/* The subjects that only `user` appends. Each machine appends only its own facts. */
static void add_appending(char ***publish, const char *user, const char *machine)
{
	for (size_t i = 0; i < SUBJECT_COUNT; i++) {
		const struct subject *subject = &subjects[i];
		bool own = subject->kind == SUBJECT_FACTS;

		if (subject_stream(subject->kind) && streq(subject->owner, user))
			add(publish, subject_make((enum subject_id)i, own ? machine : "*", "*"));
	}
}

/* `agentd.list` → `ployz.v1.*.agentd.list`; `meshd.*` → `ployz.v1.*.meshd.>`. */
static char *ask_subject(const char *ask)
{
	const char *verb = strchr(ask, '.') + 1;
	_cleanup_free_ char *daemon = xstrndup(ask, (size_t)(verb - 1 - ask));
	_cleanup_free_ char *door = subject_endpoints("*", daemon);

	if (streq(verb, "*"))
		return steal(door);
	door[strlen(door) - 1] = '\0';
	return xasprintf("%s%s", door, verb);
}

static void add_asking(char ***publish, const struct user *user)
{
	_cleanup_(strv_freep) char **asks = strv_split(user->asks, " ");

	for (char **ask = asks; ask && *ask; ask++)
		add(publish, ask_subject(*ask));
}

static bool asks(const struct user *user, const char *daemon)
{
	_cleanup_(strv_freep) char **all = strv_split(user->asks, " ");
	size_t length = strlen(daemon);

	for (char **ask = all; ask && *ask; ask++)
		if (str_starts(*ask, daemon) && (*ask)[length] == '.')
			return true;
	return false;
}

/* A daemon may reply to the inboxes of the users that may send it requests. allow_responses of
 * nats-server is not used, because it also stores the reply subject of every stream entry. */
static void add_answering(char ***publish, const char *daemon)
{
	for (size_t i = 0; i < ARRAY_SIZE(users); i++)
		if (asks(&users[i], daemon))
			add(publish, xasprintf("_INBOX.%s.>", users[i].name));
}

/* A daemon's endpoints, on its machine's subjects and on those for all machines. */
static void add_endpoints(char ***subscribe, const char *user, const char *machine)
{
	add(subscribe, subject_endpoints(machine, user));
	add(subscribe, subject_endpoints(NULL, user));
	add(subscribe, xstrdup("$SRV.>"));
}

static const struct user *user_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(users); i++)
		if (streq(users[i].name, name))
			return &users[i];
	return NULL;
}

/* Subjects to the store and to other machines, for a local user and through the leaf link. */
static void add_outgoing(char ***publish, const struct user *user, const char *machine)
{
	if (user->reports)
		add(publish, subject_filter(SUBJECT_PROGRESS));
	add_asking(publish, user);
	add_appending(publish, user->name, machine);
	if (user->leases)
		add(publish, xstrdup("$JS." STORE_DOMAIN ".API.$KV." BUCKET_LEASES ".*"));
	if (user->health)
		add(publish, stream_health_subject(STORE_DOMAIN));
	add_streams(publish, user);
}

void permissions_local(const char *name, const char *machine, struct permissions *ret)
{
	const struct user *user = user_find(name);

	*ret = (struct permissions){ NULL, NULL };
	add(&ret->subscribe, xasprintf("_INBOX.%s.>", name));
	if (streq(name, OPERATOR)) {
		add(&ret->publish, xstrdup("$SRV.>"));
	} else {
		add_endpoints(&ret->subscribe, name, machine);
		add_answering(&ret->publish, name);
	}
	if (user->follows)
		add(&ret->subscribe, subject_filter(SUBJECT_PROGRESS));
	add_outgoing(&ret->publish, user, machine);
	if (user->manages) {
		add(&ret->publish, stream_health_subject(machine));
		add(&ret->publish, xstrdup("$JS.SNAPSHOT.RESTORE.>"));
	}
	add_mirrors(&ret->publish, user, machine);
}

void permissions_leaf(const char *machine, struct permissions *ret)
{
	*ret = (struct permissions){ NULL, NULL };
	for (size_t i = 0; i < ARRAY_SIZE(users); i++) {
		if (!streq(users[i].name, OPERATOR))
			add_endpoints(&ret->subscribe, users[i].name, machine);
		add_outgoing(&ret->publish, &users[i], machine);
	}
	add(&ret->subscribe, subject_filter(SUBJECT_PROGRESS));
	add(&ret->publish, xstrdup("$SRV.>"));
	add(&ret->publish, xstrdup("_INBOX.>"));
	add(&ret->subscribe, xstrdup("_INBOX.>"));
	/* A local mirror: nats-server creates its consumer with a reply to the one, and is sent the
	 * entries on the other. */
	add(&ret->subscribe, xstrdup("$JSC.R.>"));
	add(&ret->subscribe, xstrdup("$JS.M.>"));
}

void permissions_clear(struct permissions *permissions)
{
	strv_free(steal(permissions->publish));
	strv_free(steal(permissions->subscribe));
}
