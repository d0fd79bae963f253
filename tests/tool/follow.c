/* follow: prints each callback of a projection of both streams, one line each, until it is ended.
 * For tests in sh.
 *
 *   follow URL MACHINE     entry SUBJECT SEQUENCE DATA | gone SUBJECT |
 *                          settled GENERATION INTENT FACTS | stale | fresh | reason TEXT */
#include <stdio.h>

#include "lib/log.h"
#include "lib/loop.h"
#include "lib/projection.h"
#include "lib/str.h"

static void on_entry(const char *subject, uint64_t sequence, const char *data, _unused_ size_t size,
		     _unused_ void *userdata)
{
	if (data)
		printf("entry %s %llu %s\n", subject, (unsigned long long)sequence, data);
	else
		printf("gone %s\n", subject);
	fflush(stdout);
}

static void on_settled(const struct watermark *applied, _unused_ void *userdata)
{
	printf("settled %lld %lld %lld\n", (long long)applied->generation,
	       (long long)applied->intent, (long long)applied->facts);
	fflush(stdout);
}

static struct projection *projection;
static char *reason;

/* The reason of staleness changes without a call. */
static int on_iteration(_unused_ sd_event_source *source, _unused_ void *userdata)
{
	const char *now = projection ? projection_stale_reason(projection) : NULL;

	if (streq(now, reason))
		return 0;
	free(reason);
	reason = xstrdup(now);
	printf("reason %s\n", now ? now : "none");
	fflush(stdout);
	return 0;
}

static void on_stale(bool stale, _unused_ void *userdata)
{
	puts(stale ? "stale" : "fresh");
	fflush(stdout);
}

static const struct projection_ops ops = { .entry = on_entry,
					   .settled = on_settled,
					   .stale = on_stale };

int main(int argc, char **argv)
{
	_cleanup_(sd_event_unrefp) sd_event *loop = NULL;
	_cleanup_(bus_freep) struct bus *bus = NULL;
	_cleanup_(event_source_unrefp) sd_event_source *iteration = NULL;
	struct failure failure = FAILURE_INIT;
	int r;
	struct bus_options options = { .name = "follow" };
	struct projection_options of = { .intent = (const char *const[]){ INTENT_ALL, NULL },
					 .facts = (const char *const[]){ FACTS_ALL, NULL } };

	log_open("follow");
	if (argc != 3) {
		fputs("usage: follow URL MACHINE\n", stderr);
		return EXIT_USAGE;
	}
	options.url = argv[1];
	of.machine = argv[2];
	if (loop_new(&loop) < 0 || bus_open(loop, &options, &bus, &failure) < 0) {
		fprintf(stderr, "follow: %s\n", failure.message ? failure.message : "no loop");
		failure_clear(&failure);
		return EXIT_UNREACHABLE;
	}
	projection = projection_new(bus, &of, &ops, NULL);
	if (sd_event_add_post(loop, &iteration, on_iteration, NULL) < 0)
		return EXIT_BUG;
	r = sd_event_loop(loop);
	projection_free(projection);
	free(reason);
	return r < 0 ? EXIT_BUG : EXIT_DONE;
}
