/* propagate: time from a commit until the gateway and the resolver answer by it.
 *
 *   propagate URL USER:PASSWORD NAMESPACE HOST GATEWAY RESOLVER
 *
 * Follows the commits of NAMESPACE and their manifests. Its only service is `web` with one replica
 * and a name as the last word of its command. Requests HOST from the gateway and the service's
 * address from the resolver a thousand times a second each, and notes when an answer differs from
 * the one before.
 *
 * A commit counts from the time that the store gave its entry on arrival: before it was written,
 * acknowledged, or delivered. An answer counts when it is complete. All on the clock of this
 * machine. At TERM or INT, a line for each commit:
 *
 *   commit NAME ADDRESS http_us N dns_us N log_us N
 *
 * where log_us is when the entry reached this process, and -1 means that no such answer came; last,
 * `asked http N dns N failed http N dns N`. */
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <libknot/libknot.h>
/* libknot has attributes of its own by these names. */
#undef _cleanup_
#undef _noreturn_
#undef _unused_

#include "lib/bus.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/model/namespace.h"
#include "lib/model/release.h"
#include "lib/str.h"
#include "lib/stream.h"
#include "tests/tool/target.h"

#define PERIOD_USEC 1000
#define TIMEOUT_S 5

/* The first answer of its kind after another one. */
struct sighting {
	char what[64];
	uint64_t at_usec;
};

struct client {
	pthread_t thread;
	struct sockaddr_in to;
	char *text; /* HTTP: the request; DNS: the name */
	bool (*request)(struct client *client, int *fd, char answer[64]);
	struct sighting *sightings; /* read once the thread has ended */
	size_t n_sightings;
	unsigned long requests, failed;
};

struct commit {
	char *address;
	int64_t release; /* sequence of its manifest */
	uint64_t at_usec, received_usec;
};
/* What a manifest names its service. */
struct release_name {
	char *name;
	int64_t release;
};

struct tool {
	sd_event *loop;
	struct commit *commits;
	size_t n_commits;
	int64_t revision;
	struct release_name *names;
	size_t n_names;
	int loading; /* streams that are not live yet */
};

static atomic_bool ending;

static uint64_t now_usec(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static int open_socket(const struct client *client, int type)
{
	struct timeval timeout = { TIMEOUT_S, 0 };
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	if (type == SOCK_STREAM)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
	if (fd >= 0 && connect(fd, (const struct sockaddr *)&client->to, sizeof(client->to)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/* The first line of a 200's body; the connection is kept. */
static bool request_http(struct client *client, int *fd, char answer[64])
{
	char text[4096];
	size_t size = 0, want = sizeof(text) - 1;
	const char *body = NULL;

	if (*fd < 0)
		*fd = open_socket(client, SOCK_STREAM);
	if (*fd < 0 || send(*fd, client->text, strlen(client->text), MSG_NOSIGNAL) < 0)
		return false;
	while (size < want) {
		ssize_t n = recv(*fd, text + size, want - size, 0);

		if (n <= 0)
			return false;
		size += (size_t)n;
		text[size] = '\0';
		if (!body && (body = strstr(text, "\r\n\r\n"))) {
			const char *length = strcasestr(text, "\r\ncontent-length:");

			body += 4;
			if (!length || length > body)
				return false;
			want = (size_t)(body - text) + strtoul(length + 17, NULL, 10);
		}
	}
	if (!body || !str_starts(text, "HTTP/1.1 200 "))
		return false;
	snprintf(answer, 64, "%.*s", (int)strcspn(body, "\r\n"), body);
	return true;
}

/* The address in a NOERROR answer with one A record; one without any is an answer, too. */
static bool read_address(uint8_t *wire, size_t size, char answer[64])
{
	knot_pkt_t *pkt = knot_pkt_new(wire, (uint16_t)size, NULL);
	const knot_pktsection_t *section = knot_pkt_section(pkt, KNOT_ANSWER);
	bool good = knot_pkt_parse(pkt, KNOT_PF_NOCANON) == KNOT_EOK &&
		    knot_wire_get_rcode(wire) == KNOT_RCODE_NOERROR;

	if (good && section->count > 0) {
		const knot_rrset_t *rr = knot_pkt_rr(section, 0);

		good = rr->type == KNOT_RRTYPE_A && rr->rrs.rdata->len == 4 &&
		       inet_ntop(AF_INET, rr->rrs.rdata->data, answer, 64) != NULL;
	}
	knot_pkt_free(pkt);
	return good;
}

static bool request_dns(struct client *client, int *fd, char answer[64])
{
	uint8_t wire[KNOT_WIRE_MIN_PKTSIZE];
	knot_dname_storage_t name;
	knot_pkt_t *query;
	ssize_t n;
	bool sent;

	if (*fd < 0)
		*fd = open_socket(client, SOCK_DGRAM);
	query = knot_pkt_new(NULL, KNOT_WIRE_MIN_PKTSIZE, NULL);
	knot_wire_set_id(query->wire, (uint16_t)client->requests);
	sent = knot_dname_from_str(name, client->text, sizeof(name)) &&
	       knot_pkt_put_question(query, name, KNOT_CLASS_IN, KNOT_RRTYPE_A) == KNOT_EOK &&
	       send(*fd, query->wire, query->size, MSG_NOSIGNAL) == (ssize_t)query->size;
	knot_pkt_free(query);
	if (!sent)
		return false;
	n = recv(*fd, wire, sizeof(wire), 0);
	return n >= KNOT_WIRE_HEADER_SIZE && knot_wire_get_id(wire) == (uint16_t)client->requests &&
	       read_address(wire, (size_t)n, answer);
}

static void *run(void *arg)
{
	struct client *client = arg;
	char last[64] = "";
	int fd = -1;

	while (!ending) {
		char answer[64] = "";

		client->requests++;
		if (!client->request(client, &fd, answer)) {
			client->failed++;
			if (fd >= 0)
				close(fd);
			fd = -1;
		} else if (!streq(answer, last)) {
			struct sighting *seen = array_add(client->sightings, client->n_sightings);

			seen->at_usec = now_usec();
			strcpy(seen->what, answer);
			strcpy(last, answer);
		}
		usleep(PERIOD_USEC);
	}
	if (fd >= 0)
		close(fd);
	return NULL;
}

/* NULL after having logged the reason. */
static void *parse(const struct codec_schema *schema, const struct stream_entry *entry)
{
	struct failure failure = FAILURE_INIT;
	void *parsed = NULL;

	if (codec_parse(schema, entry->data, entry->size, CODEC_LENIENT, &parsed, &failure) < 0)
		fprintf(stderr, "propagate: cannot decode entry %llu: %s\n",
			(unsigned long long)entry->sequence, failure.message);
	failure_clear(&failure);
	return parsed;
}

static void on_head(const struct stream_entry *entry, void *userdata)
{
	_cleanup_(head_freep) struct head *head = parse(&head_schema, entry);
	struct tool *tool = userdata;
	struct commit *commit;

	if (!head || head->open || head->revision <= tool->revision || !head->release ||
	    head->n_services != 1 || head->services[0].n_slots != 1)
		return;
	commit = array_add(tool->commits, tool->n_commits);
	commit->release = head->release;
	commit->address = xstrdup(head->services[0].slots[0].address);
	commit->at_usec = entry->time_usec;
	commit->received_usec = now_usec();
	tool->revision = head->revision;
}

static void on_release(const struct stream_entry *entry, void *userdata)
{
	_cleanup_(release_freep) struct release *release = parse(&release_schema, entry);
	struct tool *tool = userdata;
	char **command;

	if (!release || !release->manifest || release->manifest->n_services != 1)
		return;
	command = release->manifest->services[0].command;
	if (command)
		*array_add(tool->names, tool->n_names) =
			(struct release_name){ xstrdup(command[strv_count(command) - 1]),
					       (int64_t)entry->sequence };
}

/* The script that started this tool waits for the line. */
static void on_live(_unused_ uint64_t sequence, void *userdata)
{
	struct tool *tool = userdata;

	if (--tool->loading)
		return;
	puts("following");
	fflush(stdout);
}

static void on_lost(const struct failure *why, _unused_ void *userdata)
{
	fprintf(stderr, "propagate: cannot follow the store: %s\n", why->message);
}

static const struct stream_follow_ops head_ops = { .entry = on_head,
						   .live = on_live,
						   .lost = on_lost };
static const struct stream_follow_ops release_ops = { .entry = on_release,
						      .live = on_live,
						      .lost = on_lost };

/* `-` for a commit whose manifest names nothing. */
static const char *name_of(const struct tool *tool, const struct commit *commit)
{
	for (size_t i = 0; i < tool->n_names; i++)
		if (tool->names[i].release == commit->release)
			return tool->names[i].name;
	return "-";
}

/* Microseconds from the commit to the first answer `what` after it, or -1. */
static long long seen_after(const struct client *client, const char *what, uint64_t at_usec)
{
	for (size_t i = 0; i < client->n_sightings; i++)
		if (client->sightings[i].at_usec >= at_usec &&
		    streq(client->sightings[i].what, what))
			return (long long)(client->sightings[i].at_usec - at_usec);
	return -1;
}

static void report(const struct tool *tool, const struct client *http, const struct client *dns)
{
	for (size_t i = 0; i < tool->n_commits; i++) {
		const struct commit *c = &tool->commits[i];

		const char *name = name_of(tool, c);

		printf("commit %s %s http_us %lld dns_us %lld log_us %lld\n", name, c->address,
		       seen_after(http, name, c->at_usec), seen_after(dns, c->address, c->at_usec),
		       (long long)(c->received_usec - c->at_usec));
	}
	printf("asked http %lu dns %lu failed http %lu dns %lu\n", http->requests, dns->requests,
	       http->failed, dns->failed);
}

static void client_free(struct client *client)
{
	free(client->text);
	free(client->sightings);
}

static int follow(struct tool *tool, struct bus *bus, const char *ns, struct client *http,
		  struct client *dns)
{
	_cleanup_free_ char *head = subject_make(SUBJECT_NAMESPACE, ns, NULL);
	_cleanup_free_ char *manifest = subject_make(SUBJECT_MANIFEST, ns, NULL);
	const struct stream_follow_options of_heads = {
		.domain = STORE_DOMAIN,
		.stream = STREAM_INTENT,
		.filters = (const char *const[]){ head, NULL },
		.from = STREAM_FROM_NEW,
	};
	const struct stream_follow_options of_releases = {
		.domain = STORE_DOMAIN,
		.stream = STREAM_MANIFESTS,
		.filters = (const char *const[]){ manifest, NULL },
		.from = STREAM_FROM_LAST_PER_SUBJECT,
	};
	_cleanup_(stream_follow_freep) struct stream_follow *heads =
		stream_follow_new(bus, &of_heads, &head_ops, tool);
	_cleanup_(stream_follow_freep) struct stream_follow *releases =
		stream_follow_new(bus, &of_releases, &release_ops, tool);

	tool->loading = 2;
	if (pthread_create(&http->thread, NULL, run, http) != 0 ||
	    pthread_create(&dns->thread, NULL, run, dns) != 0)
		return -1;
	sd_event_loop(tool->loop);
	ending = true;
	pthread_join(http->thread, NULL);
	pthread_join(dns->thread, NULL);
	report(tool, http, dns);
	return 0;
}

int main(int argc, char **argv)
{
	struct client http = { .request = request_http }, dns = { .request = request_dns };
	_cleanup_(sd_event_unrefp) sd_event *loop = NULL;
	_cleanup_(bus_freep) struct bus *bus = NULL;
	_cleanup_free_ char *inbox = NULL;
	struct failure failure = FAILURE_INIT;
	struct bus_options options = { .name = "propagate" };
	struct tool tool = { 0 };
	char *colon;
	int r;

	log_open("propagate");
	if (argc != 7 || !(colon = strchr(argv[2], ':')) || !target_parse(argv[5], &http.to) ||
	    !target_parse(argv[6], &dns.to)) {
		fputs("usage: propagate URL USER:PASSWORD NAMESPACE HOST GATEWAY RESOLVER\n",
		      stderr);
		return EXIT_USAGE;
	}
	*colon = '\0';
	options.url = argv[1];
	options.user = argv[2];
	options.password = colon + 1;
	options.inbox = inbox = xasprintf("_INBOX.%s", options.user);
	if (loop_new(&loop) < 0 || bus_open(loop, &options, &bus, &failure) < 0) {
		fprintf(stderr, "propagate: %s\n", failure.message ? failure.message : "no loop");
		failure_clear(&failure);
		return EXIT_UNREACHABLE;
	}
	http.text = xasprintf("GET / HTTP/1.1\r\nHost: %s\r\n\r\n", argv[4]);
	dns.text = xasprintf("web.%s.ployz.internal", argv[3]);
	tool.loop = loop;
	r = follow(&tool, bus, argv[3], &http, &dns);
	for (size_t i = 0; i < tool.n_commits; i++)
		free(tool.commits[i].address);
	free(tool.commits);
	for (size_t i = 0; i < tool.n_names; i++)
		free(tool.names[i].name);
	free(tool.names);
	client_free(&http);
	client_free(&dns);
	return r < 0 ? EXIT_BUG : EXIT_DONE;
}
