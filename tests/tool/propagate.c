/* propagate: how soon a commit is seen by who asks the gateway and the resolver.
 *
 *   propagate URL USER:PASSWORD NAMESPACE HOST GATEWAY RESOLVER
 *
 * Follows the log for commits of NAMESPACE, whose only service is `web` with one replica and a name
 * as the last word of its command; asks the gateway for HOST and the resolver for the service's
 * address a thousand times a second each, and notes when an answer is another one than before.
 *
 * A commit counts from the time that the store gave its entry when it took it in: before it was
 * written, acknowledged, or delivered to anybody. An answer counts when it has come whole. All on
 * the clock of this machine. At TERM or INT, a line for each commit:
 *
 *   commit NAME ADDRESS http_us N dns_us N log_us N
 *
 * where log_us says when the entry reached this process, and -1 that no such answer came; last,
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
#include "lib/str.h"
#include "lib/stream.h"
#include "tests/tool/target.h"

#define PERIOD_USEC 1000
#define PATIENCE_S 5

/* The first answer of its kind after another one. */
struct sighting {
	char what[64];
	uint64_t at_usec;
};

struct asker {
	pthread_t thread;
	struct sockaddr_in to;
	char *question; /* HTTP: the request; DNS: the name */
	bool (*ask)(struct asker *asker, int *fd, char answer[64]);
	struct sighting *sightings; /* read once the thread has ended */
	size_t n_sightings;
	unsigned long asked, failed;
};

struct commit {
	char *name, *address;
	uint64_t at_usec, heard_usec;
};

struct tool {
	sd_event *loop;
	struct commit *commits;
	size_t n_commits;
	int64_t revision;
};

static atomic_bool ending;

static uint64_t now_usec(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static int open_socket(const struct asker *asker, int type)
{
	struct timeval patience = { PATIENCE_S, 0 };
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (type == SOCK_STREAM)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
	if (fd >= 0 && connect(fd, (const struct sockaddr *)&asker->to, sizeof(asker->to)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/* The first line of a 200's body; the connection is kept. */
static bool ask_http(struct asker *asker, int *fd, char answer[64])
{
	char text[4096];
	size_t size = 0, want = sizeof(text) - 1;
	const char *body = NULL;

	if (*fd < 0)
		*fd = open_socket(asker, SOCK_STREAM);
	if (*fd < 0 || send(*fd, asker->question, strlen(asker->question), MSG_NOSIGNAL) < 0)
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

static bool ask_dns(struct asker *asker, int *fd, char answer[64])
{
	uint8_t wire[KNOT_WIRE_MIN_PKTSIZE];
	knot_dname_storage_t name;
	knot_pkt_t *query;
	ssize_t n;
	bool sent;

	if (*fd < 0)
		*fd = open_socket(asker, SOCK_DGRAM);
	query = knot_pkt_new(NULL, KNOT_WIRE_MIN_PKTSIZE, NULL);
	knot_wire_set_id(query->wire, (uint16_t)asker->asked);
	sent = knot_dname_from_str(name, asker->question, sizeof(name)) &&
	       knot_pkt_put_question(query, name, KNOT_CLASS_IN, KNOT_RRTYPE_A) == KNOT_EOK &&
	       send(*fd, query->wire, query->size, MSG_NOSIGNAL) == (ssize_t)query->size;
	knot_pkt_free(query);
	if (!sent)
		return false;
	n = recv(*fd, wire, sizeof(wire), 0);
	return n >= KNOT_WIRE_HEADER_SIZE && knot_wire_get_id(wire) == (uint16_t)asker->asked &&
	       read_address(wire, (size_t)n, answer);
}

static void *run(void *arg)
{
	struct asker *asker = arg;
	char last[64] = "";
	int fd = -1;

	while (!ending) {
		char answer[64] = "";

		asker->asked++;
		if (!asker->ask(asker, &fd, answer)) {
			asker->failed++;
			if (fd >= 0)
				close(fd);
			fd = -1;
		} else if (!streq(answer, last)) {
			struct sighting *seen = array_add(asker->sightings, asker->n_sightings);

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

static void on_entry(const struct stream_entry *entry, void *userdata)
{
	struct tool *tool = userdata;
	struct failure failure = FAILURE_INIT;
	struct commit *commit;
	const struct head *head;
	void *parsed = NULL;

	if (codec_parse(&head_schema, entry->data, entry->size, CODEC_LENIENT, &parsed, &failure) <
	    0) {
		fprintf(stderr, "propagate: entry %llu: %s\n", (unsigned long long)entry->sequence,
			failure.message);
		failure_clear(&failure);
		return;
	}
	head = parsed;
	/* The bench gives each deploy the name that its instance answers with as the reason. */
	if (!head->open && head->revision > tool->revision && head->why && head->n_services == 1 &&
	    head->services[0].n_slots == 1) {
		commit = array_add(tool->commits, tool->n_commits);
		commit->name = xstrdup(head->why);
		commit->address = xstrdup(head->services[0].slots[0].address);
		commit->at_usec = entry->time_usec;
		commit->heard_usec = now_usec();
		tool->revision = head->revision;
	}
	head_free(parsed);
}

/* Who waits for the tool reads it. */
static void on_live(_unused_ uint64_t sequence, _unused_ void *userdata)
{
	puts("following");
	fflush(stdout);
}

static void on_lost(const struct failure *why, _unused_ void *userdata)
{
	fprintf(stderr, "propagate: the log cannot be followed: %s\n", why->message);
}

static const struct stream_follow_ops ops = { .entry = on_entry, .live = on_live, .lost = on_lost };

/* Microseconds from the commit to the first answer `what` after it, or -1. */
static long long seen_after(const struct asker *asker, const char *what, uint64_t at_usec)
{
	for (size_t i = 0; i < asker->n_sightings; i++)
		if (asker->sightings[i].at_usec >= at_usec && streq(asker->sightings[i].what, what))
			return (long long)(asker->sightings[i].at_usec - at_usec);
	return -1;
}

static void report(const struct tool *tool, const struct asker *http, const struct asker *dns)
{
	for (size_t i = 0; i < tool->n_commits; i++) {
		const struct commit *c = &tool->commits[i];

		printf("commit %s %s http_us %lld dns_us %lld log_us %lld\n", c->name, c->address,
		       seen_after(http, c->name, c->at_usec),
		       seen_after(dns, c->address, c->at_usec),
		       (long long)(c->heard_usec - c->at_usec));
	}
	printf("asked http %lu dns %lu failed http %lu dns %lu\n", http->asked, dns->asked,
	       http->failed, dns->failed);
}

static void asker_free(struct asker *asker)
{
	free(asker->question);
	free(asker->sightings);
}

static int follow(struct tool *tool, struct bus *bus, const char *ns, struct asker *http,
		  struct asker *dns)
{
	_cleanup_free_ char *subject = subject_make(SUBJECT_NAMESPACE, ns, NULL);
	const char *const filters[] = { subject, NULL };
	const struct stream_follow_options options = { .domain = STORE_DOMAIN,
						       .stream = STREAM_INTENT,
						       .filters = filters,
						       .from = STREAM_FROM_NEW };
	_cleanup_(stream_follow_freep) struct stream_follow *log =
		stream_follow_new(bus, &options, &ops, tool);

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
	struct asker http = { .ask = ask_http }, dns = { .ask = ask_dns };
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
	http.question = xasprintf("GET / HTTP/1.1\r\nHost: %s\r\n\r\n", argv[4]);
	dns.question = xasprintf("web.%s.ployz.internal", argv[3]);
	tool.loop = loop;
	r = follow(&tool, bus, argv[3], &http, &dns);
	for (size_t i = 0; i < tool.n_commits; i++) {
		free(tool.commits[i].name);
		free(tool.commits[i].address);
	}
	free(tool.commits);
	asker_free(&http);
	asker_free(&dns);
	return r < 0 ? EXIT_BUG : EXIT_DONE;
}
