/* What `ployzctl status` lists as a problem: each thing that can be wrong, alone. */
#include "ployzctl/status.h"
#include "tests/tap.h"

#define M1 (char *)"m1"

/* A cluster of one machine in which nothing is wrong; a row changes one thing of it. */
static struct slot slot = { .instance = (char *)"i1", .machine = M1 };
static struct head_service service = { .name = (char *)"web", .slots = &slot, .n_slots = 1 };
static struct head_route route = { .key = (char *)"a.test/", .service = (char *)"web" };
static struct head head;
static struct snapshot_head snapshot_head_;
static struct member member, *members[] = { &member };
static struct instance instance;
static struct instances instances = { .machine = M1, .ns = (char *)"shop", .instances = &instance };
static struct snapshot_facts facts;
static struct snapshot snapshot;
static struct route_server server;
static struct route_view view;
static struct route_list routes;
static struct observed_routes observed_routes;
static struct stream_usage stream;
static struct store_usage usage;
static struct open_deploy open_deploy = { .deploy = (char *)"d2", .machine = M1 };
static struct left left = { .instance = (char *)"i0", .machine = M1 };
static char *unserved[] = { (char *)"a.test/: in use", NULL };
static char *superseded[] = { (char *)"d1", NULL };
static struct deploy deploys[2], *records_of[] = { &deploys[0], &deploys[1] };
static struct records records;
static struct ployzctl ctl = { .machine = "m1" };
static struct observed observed[2];
static struct status status;

static void build(const char *leased, const char *routed)
{
	head = (struct head){ .ns = (char *)"shop",
			      .revision = 3,
			      .deploy = (char *)"d1",
			      .services = &service,
			      .n_services = 1,
			      .routes = &route,
			      .n_routes = 1 };
	snapshot_head_ = (struct snapshot_head){ &head, 10, 0 };
	member = (struct member){ .id = M1, .life_cycle = MACHINE_ACTIVE };
	instance = (struct instance){ .id = (char *)"i1", .state = INSTANCE_READY };
	instances.n_instances = 1;
	facts = (struct snapshot_facts){ &instances, 5 };
	snapshot = (struct snapshot){ .applied = { 1, 12, 6 },
				      .heads = &snapshot_head_,
				      .n_heads = 1,
				      .members = members,
				      .n_members = 1,
				      .instances = &facts,
				      .n_instances = 1 };
	server = (struct route_server){ .instance = (char *)"i1", .state = (char *)"ready" };
	view = (struct route_view){ .key = (char *)"a.test/",
				    .ns = (char *)"shop",
				    .service = (char *)"web",
				    .servers = &server,
				    .n_servers = 1 };
	routes = (struct route_list){ .applied = { 1, 11, 6 }, .routes = &view, .n_routes = 1 };
	observed_routes = (struct observed_routes){ M1, &routes };
	stream = (struct stream_usage){ .stream = (char *)"PLOYZ_INTENT" };
	usage = (struct store_usage){ .streams = &stream, .n_streams = 1 };
	deploys[0] = (struct deploy){
		.deploy = (char *)"d1", .ns = (char *)"shop", .machine = M1, .phase = DEPLOY_DONE
	};
	deploys[1] = (struct deploy){
		.deploy = (char *)"d2", .ns = (char *)"shop", .machine = M1, .phase = DEPLOY_FAILED
	};
	records = (struct records){ .items = records_of, .count = 2 };
	observed[0] = (struct observed){ .machine = M1,
					 .daemon = (char *)"leased",
					 .answer = json_loads(leased, 0, NULL) };
	observed[1] = (struct observed){ .machine = M1,
					 .daemon = (char *)"routed",
					 .answer = json_loads(routed, 0, NULL) };
	status = (struct status){ .ctl = &ctl,
				  .snapshot = &snapshot,
				  .records = &records,
				  .usage = &usage,
				  .observed = observed,
				  .n_observed = 2,
				  .routes = &observed_routes,
				  .n_routes = 1 };
}

static void nothing(void)
{
}
static void mirror(void)
{
	snapshot.mirror = true;
}
static void undecoded(void)
{
	static char *errors[] = { (char *)"cannot decode entry 4 on x", NULL };

	snapshot.errors = errors;
}
static void no_records(void)
{
	status.records = NULL;
	status.records_error = (char *)"no answer";
}
static void no_leases(void)
{
	status.leases_error = (char *)"no answer";
}
static void no_usage(void)
{
	status.usage = NULL;
	status.usage_error = (char *)"no answer";
}
static void stream_full(void)
{
	stream.alarm = true;
}
static void daemon_silent(void)
{
	json_decref(observed[0].answer);
	observed[0].answer = NULL;
	observed[0].error = (char *)"does not answer";
}
static void instance_unready(void)
{
	instance.state = INSTANCE_UNREADY;
	instance.reason = (char *)"probe failed";
}
static void instance_absent(void)
{
	instances.n_instances = 0;
}
static void instance_elsewhere(void)
{
	static struct instances other;

	other = instances;
	other.machine = (char *)"m2";
	facts.list = &other;
}
static void route_error(void)
{
	view.error = (char *)"in use";
}
static void route_missing(void)
{
	routes.n_routes = 0;
}
static void route_missing_not_applied(void)
{
	routes.n_routes = 0;
	routes.applied.intent = 9;
}
static void route_down(void)
{
	server.state = (char *)"down";
}
static void route_down_not_applied(void)
{
	server.state = (char *)"down";
	routes.applied.facts = 4;
}
static void route_without_slots(void)
{
	service.n_slots = 0;
	view.n_servers = 0;
}
static void unknown(void)
{
	deploys[1].phase = DEPLOY_UNKNOWN;
}
static void pending(void)
{
	deploys[1].phase = DEPLOY_CLEANUP_PENDING;
	deploys[1].left = &left;
	deploys[1].n_left = 1;
}
static void pending_superseded(void)
{
	deploys[0].phase = DEPLOY_CLEANUP_PENDING;
	deploys[1].supersedes = superseded;
}
static void done_with_left(void)
{
	deploys[0].left = &left;
	deploys[0].n_left = 1;
}
static void unserved_now(void)
{
	deploys[0].unserved = unserved;
	view.error = (char *)"in use";
}
static void unserved_gateway_silent(void)
{
	deploys[0].unserved = unserved;
	observed_routes.list = NULL;
}
static void unserved_once(void)
{
	deploys[0].unserved = unserved;
}
static void unserved_of_earlier(void)
{
	deploys[1].unserved = unserved;
	observed_routes.list = NULL;
}
static void executed(void)
{
	head.open = &open_deploy;
	deploys[1].phase = DEPLOY_STARTING;
}
static void orphan_cleaning(void)
{
	deploys[0].phase = DEPLOY_CLEANING;
}
static void open_without_record(void)
{
	head.open = &open_deploy;
	records.count = 1;
}

#define IDLE "{\"rollouts\":[]}"
#define BUSY "{\"rollouts\":[{\"deploy\":\"d2\"}]}"
#define FINE "{\"log\":{\"applied\":{}}}"
#define I1 "instance i1 of shop/web on machine m1 "
#define LOGS "; run `ployzctl logs shop/web`"
#define NOT_SERVED "not served by the gateway of machine m1: "

static const struct {
	const char *name;
	void (*change)(void);
	const char *leased, *routed;
	const char *expected; /* joined by ` / ` */
} rows[] = {
	{ "nothing", nothing, IDLE, FINE, "" },
	{ "the store", mirror, IDLE, FINE,
	  "store unreachable: the local mirrors of machine m1 were read" },
	{ "an entry", undecoded, IDLE, FINE,
	  "cannot decode entry 4 on x; its last good state is served" },
	{ "deploy records", no_records, IDLE, FINE, "deploy records unreadable: no answer" },
	{ "leases", no_leases, IDLE, FINE, "leases unreadable: no answer" },
	{ "usage", no_usage, IDLE, FINE, "usage of the store unreadable: no answer" },
	{ "a stream over 80 %", stream_full, IDLE, FINE,
	  "stream PLOYZ_INTENT nearly full: 80 % of its limit or more is used; run `ployzctl store "
	  "compact`" },
	{ "a daemon that does not answer", daemon_silent, IDLE, FINE,
	  "leased of machine m1 unreachable: does not answer; see its log: journalctl -u "
	  "ployz-leased" },
	{ "a stale projection", nothing, IDLE,
	  "{\"log\":{\"stale_since\":\"yesterday\",\"stale_reason\":\"the store has lost "
	  "entries\"}}",
	  "routed of machine m1 stale since yesterday: the store has lost entries" },
	{ "an error in a daemon's status", nothing, IDLE,
	  "{\"haproxy\":{\"answers\":false,\"error\":\"no socket\"}}",
	  "routed of machine m1: no socket" },
	{ "an outside program that does not answer", nothing, IDLE,
	  "{\"haproxy\":{\"answers\":false}}", "routed of machine m1: HAProxy does not answer" },
	{ "an engine that does not answer", nothing, "{\"engine\":{\"reachable\":false}}", FINE,
	  "leased of machine m1: the container engine does not answer" },
	{ "errors within lists", nothing, "{\"store\":{\"streams\":[{\"error\":\"lost\"},{}]}}",
	  FINE, "leased of machine m1: lost" },
	{ "an error with its next step", nothing, "{\"error\":\"lost\",\"hint\":\"accept it\"}",
	  FINE, "leased of machine m1: lost; accept it" },
	{ "a list of errors", nothing,
	  "{\"errors\":[\"one\",{\"namespace\":\"shop\",\"machine\":\"m2\",\"error\":\"two\"},"
	  "{\"why\":\"three\"}]}",
	  FINE,
	  "leased of machine m1: one / leased of machine m1: namespace shop, machine m2: two / "
	  "leased of machine m1: {\"why\":\"three\"}" },
	{ "an instance that is not ready", instance_unready, IDLE, FINE,
	  I1 "unready: probe failed" LOGS },
	{ "an instance without facts", instance_absent, IDLE, FINE, I1 "without facts" LOGS },
	{ "facts of another machine", instance_elsewhere, IDLE, FINE, I1 "without facts" LOGS },
	{ "a route with an error, listed once", route_error, IDLE,
	  "{\"errors\":[\"a.test/ of shop/web: in use\",\"map file unreadable\"]}",
	  "routed of machine m1: map file unreadable / route a.test/ of shop/web " NOT_SERVED
	  "in use" },
	{ "a route that the gateway lacks", route_missing, IDLE, FINE,
	  "route a.test/ of namespace shop " NOT_SERVED "it does not have the route" },
	{ "a route that the gateway has not read yet", route_missing_not_applied, IDLE, FINE, "" },
	{ "a route without a ready server", route_down, IDLE, FINE,
	  "route a.test/ of namespace shop " NOT_SERVED "no server; run `ployzctl route ls`" },
	{ "facts that the gateway has not read yet", route_down_not_applied, IDLE, FINE, "" },
	{ "a route of a service with no replicas", route_without_slots, IDLE, FINE, "" },
	{ "an unknown outcome", unknown, IDLE, FINE,
	  "deploy d2 of namespace shop outcome unknown: the commit was not acknowledged; run "
	  "`ployzctl deploy attach d2`" },
	{ "a pending clean-up", pending, IDLE, FINE,
	  "deploy d2 of namespace shop clean-up pending: 1 instance left; run `ployzctl deploy "
	  "sweep shop`" },
	{ "a pending clean-up that a later deploy has taken over", pending_superseded, IDLE, FINE,
	  "" },
	{ "instances that a finished deploy left", done_with_left, IDLE, FINE,
	  "deploy d1 of namespace shop left 1 instance; run `ployzctl deploy sweep shop`" },
	{ "an unserved route", unserved_now, IDLE, FINE,
	  "route a.test/ of shop/web " NOT_SERVED "in use / deploy d1 of namespace shop route not "
	  "served: a.test/: in use; run `ployzctl route ls`" },
	{ "an unserved route, while a gateway does not answer", unserved_gateway_silent, IDLE, FINE,
	  "deploy d1 of namespace shop route not served: a.test/: in use; run `ployzctl route "
	  "ls`" },
	{ "an unserved route that is served by now", unserved_once, IDLE, FINE, "" },
	{ "an unserved route of an earlier deploy", unserved_of_earlier, IDLE, FINE, "" },
	{ "a deploy under way", executed, BUSY, FINE, "" },
	{ "an open deploy that no leased executes", executed, IDLE, FINE,
	  "deploy d2 of namespace shop stopped in phase starting: no leased executes it; run "
	  "`ployzctl deploy attach d2`" },
	{ "a clean-up that no leased executes", orphan_cleaning, IDLE, FINE,
	  "deploy d1 of namespace shop stopped in phase cleaning: no leased executes it; run "
	  "`ployzctl deploy attach d1`" },
	{ "an open deploy without a record", open_without_record, IDLE, FINE,
	  "deploy d2 of namespace shop stopped: no leased executes it; run `ployzctl deploy sweep "
	  "shop`" },
	{ "an open deploy without a record, under way", open_without_record, BUSY, FINE, "" },
};

int main(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_(strv_freep) char **problems = NULL;
		_cleanup_free_ char *joined = NULL;

		service.n_slots = 1;
		build(rows[i].leased, rows[i].routed);
		rows[i].change();
		problems = status_problems(&status);
		joined = strv_join(problems, " / ");
		is(joined ? joined : "", rows[i].expected, rows[i].name);
		json_decref(observed[0].answer);
		json_decref(observed[1].answer);
	}
	return tap_done();
}
