/* Render: the configurations of the two nats-servers. */
#include "meshd/meshd.h"

/* Strings in nats-server's configuration are quoted as in JSON. */
static void quoted(struct strbuf *out, const char *text)
{
	_cleanup_json_ json_t *json = json_string(text);
	_cleanup_free_ char *quoted_text = json_dumps(json, JSON_ENCODE_ANY | JSON_ENSURE_ASCII);

	strbuf_puts(out, quoted_text);
}

static void row(struct strbuf *out, unsigned depth, const char *key, const char *value)
{
	strbuf_printf(out, "%.*s%s: ", (int)depth, "\t\t\t\t\t\t", key);
	quoted(out, value);
	strbuf_puts(out, "\n");
}

static void list(struct strbuf *out, const char *key, char *const *subjects_)
{
	strbuf_printf(out, "\t\t\t\t\t%s: [\n", key);
	for (; subjects_ && *subjects_; subjects_++) {
		strbuf_puts(out, "\t\t\t\t\t\t");
		quoted(out, *subjects_);
		strbuf_puts(out, "\n");
	}
	strbuf_puts(out, "\t\t\t\t\t]\n");
}

static void user(struct strbuf *out, const struct render_user *who, const struct permissions *may)
{
	strbuf_puts(out, "\t\t\t{\n");
	row(out, 4, "user", who->name);
	row(out, 4, "password", who->password);
	strbuf_puts(out, "\t\t\t\tpermissions: {\n");
	list(out, "publish", may->publish);
	list(out, "subscribe", may->subscribe);
	strbuf_puts(out, "\t\t\t\t}\n\t\t\t}\n");
}

static void head(struct strbuf *out, const char *what, const char *server_name, const char *listen)
{
	strbuf_printf(out, "# %s. Written by meshd --prepare: changes are lost.\n", what);
	row(out, 0, "server_name", server_name);
	row(out, 0, "listen", listen);
	strbuf_printf(out, "max_payload: %u\n", BUS_PAYLOAD_MAX);
	/* Clients, routes and leaf links alike: a link that was cut is noticed after 6 s. */
	strbuf_puts(out, "ping_interval: \"2s\"\nping_max: 2\n");
	/* The journal adds the time. */
	strbuf_puts(out, "logtime: false\n");
}

/* The system account has no users. Of its services one is exported, the server's health, under the
 * name of the server's domain, so that it can be asked for across a leaf link. */
static void accounts_begin(struct strbuf *out, const char *domain)
{
	_cleanup_free_ char *subject = stream_health_subject(domain);

	strbuf_puts(out, "system_account: SYS\naccounts {\n\tSYS {\n\t\texports: [ { service: "
			 "\"$SYS.REQ.SERVER.PING.HEALTHZ\" } ]\n\t}\n\tPLOYZ {\n\t\tjetstream: "
			 "enabled\n\t\timports: [ { service: { account: SYS, subject: "
			 "\"$SYS.REQ.SERVER.PING.HEALTHZ\" }, to: ");
	quoted(out, subject);
	strbuf_puts(out, " } ]\n\t\tusers: [\n");
}

static void accounts_end(struct strbuf *out)
{
	strbuf_puts(out, "\t\t]\n\t}\n}\n");
}

/* Without this limit JetStream takes three quarters of what is free on the disk at its start: on a
 * disk that is nearly full it would refuse to create its streams. */
static void file_store(struct strbuf *out)
{
	strbuf_printf(out, "\tmax_file_store: %llu\n", FILE_STORE_MAX_BYTES);
}

/* Id and password are letters and digits, which need no escaping in a URL. */
static void remotes(struct strbuf *out, const struct render_bus *bus)
{
	strbuf_puts(out, "leafnodes {\n\treconnect: \"1s\"\n\tremotes: [\n\t\t{\n\t\t\taccount: "
			 "PLOYZ\n\t\t\turls: [\n");
	for (size_t i = 0; i < bus->n_stores; i++) {
		_cleanup_free_ char *url = xasprintf("nats-leaf://%s:%s@%s", bus->machine,
						     bus->leaf_password, bus->stores[i].leaf);

		strbuf_puts(out, "\t\t\t\t");
		quoted(out, url);
		strbuf_puts(out, "\n");
	}
	strbuf_puts(out, "\t\t\t]\n\t\t}\n\t]\n}\n");
}

char *render_bus(const struct render_bus *bus)
{
	struct strbuf out = STRBUF_INIT;

	head(&out, "The local bus of this machine", bus->machine, bus->listen);
	strbuf_puts(&out, "jetstream {\n");
	row(&out, 1, "domain", bus->machine);
	row(&out, 1, "store_dir", bus->data);
	file_store(&out);
	strbuf_puts(&out, "}\n");
	remotes(&out, bus);
	accounts_begin(&out, bus->machine);
	for (size_t i = 0; i < bus->n_users; i++) {
		_cleanup_(permissions_clear) struct permissions may;

		permissions_local(bus->users[i].name, bus->machine, &may);
		user(&out, &bus->users[i], &may);
	}
	accounts_end(&out);
	return strbuf_steal(&out);
}

static const struct render_member *member_find(const struct render_store *store)
{
	for (size_t i = 0; i < store->n_members; i++)
		if (streq(store->members[i].machine, store->machine))
			return &store->members[i];
	return NULL;
}

/* A single store has no cluster block: with a route to itself alone it elects no leader and serves
 * nothing. */
static void cluster(struct strbuf *out, const struct render_store *store,
		    const struct render_member *own)
{
	_cleanup_free_ char *name = xasprintf("ployz-%lld", (long long)store->generation);

	if (store->n_members < 2 || !own->route)
		return;
	strbuf_puts(out, "cluster {\n");
	row(out, 1, "name", name);
	row(out, 1, "listen", own->route);
	strbuf_puts(out, "\troutes: [\n");
	for (size_t i = 0; i < store->n_members; i++) {
		_cleanup_free_ char *url = NULL;

		if (&store->members[i] == own)
			continue;
		url = xasprintf("nats-route://%s", store->members[i].route);
		strbuf_puts(out, "\t\t");
		quoted(out, url);
		strbuf_puts(out, "\n");
	}
	strbuf_puts(out, "\t]\n}\n");
}

char *render_store(const struct render_store *store)
{
	const struct render_member *own = member_find(store);
	_cleanup_free_ char *name = xasprintf("store-%s", store->machine);
	struct strbuf out = STRBUF_INIT;

	/* The store has no clients, only leaf links. nats-server requires a port; -1: any. */
	head(&out, "The store of the cluster", name, "127.0.0.1:-1");
	/* An acknowledged entry is on the disk: sync_interval. */
	strbuf_puts(&out, "jetstream {\n\tdomain: \"" STORE_DOMAIN "\"\n");
	row(&out, 1, "store_dir", store->data);
	file_store(&out);
	strbuf_puts(&out, "\tsync_interval: always\n}\n");
	strbuf_puts(&out, "leafnodes {\n");
	row(&out, 1, "listen", own->leaf);
	strbuf_puts(&out, "}\n");
	cluster(&out, store, own);
	accounts_begin(&out, STORE_DOMAIN);
	for (size_t i = 0; i < store->n_machines; i++) {
		_cleanup_(permissions_clear) struct permissions may;

		permissions_leaf(store->machines[i].name, &may);
		user(&out, &store->machines[i], &may);
	}
	accounts_end(&out);
	return strbuf_steal(&out);
}
