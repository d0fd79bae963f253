/* The planner in rows: a world, what was committed and runs in it, a manifest → the plan in
 * words. */
#include "placerd/placerd.h"
#include "tests/lib/world.h"
#include "tests/tap.h"

static char *in_words(const struct plan *plan)
{
	struct strbuf b = STRBUF_INIT;

	for (size_t i = 0; i < plan->n_slots; i++) {
		const struct plan_slot *s = &plan->slots[i];

		strbuf_printf(&b, "%s %s.%lld %s%s%s%s: %s\n", slot_action_names[s->action],
			      s->service, (long long)s->slot, s->machine, s->from ? " from " : "",
			      s->from ? s->from : "",
			      s->action == SLOT_REPLACE && s->update == UPDATE_STOP_FIRST
				      ? " stop-first"
				      : "",
			      s->why);
	}
	for (size_t i = 0; i < plan->n_routes; i++)
		strbuf_printf(&b, "route %s %s%s%s\n", plan->routes[i].action, plan->routes[i].key,
			      plan->routes[i].service ? " " : "",
			      plan->routes[i].service ? plan->routes[i].service : "");
	for (size_t i = 0; i < plan->n_refusals; i++)
		strbuf_printf(&b, "refused %s: %s\n", plan->refusals[i].path,
			      plan->refusals[i].message);
	for (char **w = plan->warnings; w && *w; w++)
		strbuf_printf(&b, "warning: %s\n", *w);
	strbuf_puts(&b, plan->changes ? "" : "no changes\n");
	strbuf_puts(&b, plan->removes_all ? "removes all\n" : "");
	return strbuf_steal(&b);
}

#define NS "{'namespace':'shop','services':"
#define WEB(more) NS "{'web':{'image':'web:1'" more "}}}"
#define PORTS ",'ports':{'http':{'port':80}}"
#define PUBLISH ",'publish':[{'port':'http','host_port':8080}]"
#define ROUTE ",'routes':[{'http':{'port':'http','hosts':['shop.example']}}]"
#define DATA ",'mounts':[{'volume':'data','target':'/data'}]}},'volumes':{'data':{}}}"
#define OTHER(more) "{'namespace':'blog','services':{'blog':{'image':'b:1'" more "}}}"

static const struct row {
	const char *name, *world, *before, *running, *manifest, *expected;
	const char *other, *other_running; /* another namespace */
} rows[] = {
	{ "a new service on one machine", "m1", NULL, NULL, WEB(""),
	  "start web.0 m1: new service; the only machine\n", NULL, NULL },
	{ "nothing changed", "m1", WEB(""), "web.0@m1=ready", WEB(""),
	  "keep web.0 m1: unchanged\nno changes\n", NULL, NULL },
	{ "starting and unready ones are kept too", "m1", WEB(",'replicas':2"),
	  "web.0@m1=starting web.1@m1=unready", WEB(",'replicas':2"),
	  "keep web.0 m1: unchanged\nkeep web.1 m1: unchanged\nno changes\n", NULL, NULL },
	{ "another image", "m1", WEB(""), "web.0@m1=ready", NS "{'web':{'image':'web:2'}}}",
	  "replace web.0 m1: changed: image web:1 → web:2\n", NULL, NULL },
	{ "the same name, built anew", "m1 image=web:1@sha256:0123456789abcdef", WEB(""),
	  "web.0@m1=ready", WEB(""),
	  "replace web.0 m1: changed: image web:1 was built anew (id-web:1 → 0123456789ab)\n", NULL,
	  NULL },
	{ "another name for the same image", "m1 image=web:2@id-web:1", WEB(""), "web.0@m1=ready",
	  NS "{'web':{'image':'web:2'}}}", "keep web.0 m1: unchanged\n", NULL, NULL },
	{ "environment and command, values untold", "m1", WEB(",'env':{'A':'1','B':'2'}"),
	  "web.0@m1=ready", WEB(",'env':{'A':'7','C':'3'},'command':['run']"),
	  "replace web.0 m1: changed: env (A +C -B), command\n", NULL, NULL },
	{ "pull always decides after the pull", "m1", WEB(",'pull':'always'"), "web.0@m1=ready",
	  WEB(",'pull':'always'"),
	  "replace web.0 m1: pull is always: the image is fetched first, and the instance kept if "
	  "it is the same\n",
	  NULL, NULL },
	{ "an image whose name is gone is no reason to stop what runs", "m1 image=web:1@", WEB(""),
	  "web.0@m1=ready", WEB(""), "keep web.0 m1: unchanged\nno changes\n", NULL, NULL },
	{ "a new image that is nowhere yet", "m1 image=web:2@", WEB(""), "web.0@m1=ready",
	  NS "{'web':{'image':'web:2'}}}",
	  "replace web.0 m1: changed: image web:1 → web:2; the image is fetched first\n", NULL,
	  NULL },
	{ "pull never and no image", "m1 image=web:1@", NULL, NULL, WEB(",'pull':'never'"),
	  "refused services.web.image: no machine can take slot 0 of service web: m1: it does not "
	  "have image web:1, and "
	  "pull is never\n",
	  NULL, NULL },
	{ "an instance that is gone", "m1", WEB(""), "web.0@m1", WEB(""),
	  "start web.0 m1: the instance is gone (shop-web-0-old)\n", NULL, NULL },
	{ "an instance that failed", "m1", WEB(""), "web.0@m1=failed", WEB(""),
	  "replace web.0 m1: the instance is failed\n", NULL, NULL },
	{ "an instance that a dead deploy stopped", "m1", WEB(""), "web.0@m1=stopped", WEB(""),
	  "replace web.0 m1: the instance is stopped\n", NULL, NULL },
	{ "more replicas", "m1", WEB(""), "web.0@m1=ready", WEB(",'replicas':2"),
	  "keep web.0 m1: unchanged\nstart web.1 m1: new slot; the only machine\n", NULL, NULL },
	{ "fewer replicas: the highest go", "m1", WEB(",'replicas':3"),
	  "web.0@m1=ready web.1@m1=ready web.2@m1=ready", WEB(""),
	  "keep web.0 m1: unchanged\nremove web.1 m1: the service has 1 replica now\n"
	  "remove web.2 m1: the service has 1 replica now\n",
	  NULL, NULL },
	{ "a service that is omitted", "m1", NS "{'web':{'image':'web:1'},'api':{'image':'a:1'}}}",
	  "web.0@m1=ready api.0@m1=ready", WEB(""),
	  "keep web.0 m1: unchanged\nremove api.0 m1: the manifest does not name the service\n"
	  "warning: service api is not in the manifest: it is removed with its 1 instance\n",
	  NULL, NULL },
	{ "everything omitted", "m1", WEB(""), "web.0@m1=ready", NS "{}}",
	  "remove web.0 m1: the manifest does not name the service\n"
	  "warning: service web is not in the manifest: it is removed with its 1 instance\n"
	  "warning: this removes everything in namespace shop\nremoves all\n",
	  NULL, NULL },
	{ "nothing of nothing", "m1", NULL, NULL, NS "{}}", "no changes\n", NULL, NULL },
	{ "spread over zones, then machines", "m1 zone=a; m2 zone=a; m3 zone=b", NULL, NULL,
	  WEB(",'replicas':4"),
	  "start web.0 m1: new service; of 3 machines that can take it: first by id of equals\n"
	  "start web.1 m3: new service; of 3 machines that can take it: spread over zones\n"
	  "start web.2 m2: new service; of 3 machines that can take it: spread over machines\n"
	  "start web.3 m3: new service; of 3 machines that can take it: spread over zones\n",
	  NULL, NULL },
	{ "spread over machines only", "m1 zone=a; m2 zone=a; m3 zone=b", NULL, NULL,
	  WEB(",'replicas':2,'place':{'spread':'machine'}"),
	  "start web.0 m1: new service; of 3 machines that can take it: first by id of equals\n"
	  "start web.1 m2: new service; of 3 machines that can take it: first by id of equals\n",
	  NULL, NULL },
	{ "a volume goes to home_data",
	  "m1 region=c; m2 region=d; region c=compute; region d=home_data", NULL, NULL,
	  NS "{'web':{'image':'web:1'" DATA,
	  "start web.0 m2: new service; of 2 machines that can take it: its region's role suits "
	  "the service\n",
	  NULL, NULL },
	{ "and what has none to compute",
	  "m1 region=d; m2 region=c; region c=compute; region d=home_data", NULL, NULL, WEB(""),
	  "start web.0 m2: new service; of 2 machines that can take it: its region's role suits "
	  "the service\n",
	  NULL, NULL },
	{ "the most room", "m1 free=1G; m2", NULL, NULL, WEB(""),
	  "start web.0 m2: new service; of 2 machines that can take it: it has the most room\n",
	  NULL, NULL },
	{ "the fewest instances", "m1; m2", NULL, NULL,
	  NS "{'a':{'image':'a:1'},'b':{'image':'b:1'}}}",
	  "start a.0 m1: new service; of 2 machines that can take it: first by id of equals\n"
	  "start b.0 m2: new service; of 2 machines that can take it: it has the fewest "
	  "instances\n",
	  NULL, NULL },
	{ "life cycle, region, engine, silence",
	  "m1 life=draining; m2 region=x; m3 engine=refused; m4 silent; m5 life=standby; region "
	  "x=disabled",
	  NULL, NULL, WEB(""),
	  "refused services.web: no machine can take slot 0 of service web: m1: it is draining; "
	  "m2: its region x is "
	  "disabled; m3: its engine cannot be reached: refused; m4: it did not answer: nobody "
	  "listens; m5: it is standby\n"
	  "warning: machine m4 did not answer: nobody listens\n",
	  NULL, NULL },
	{ "no machine at all", "", NULL, NULL, WEB(""),
	  "refused services.web: no machine can take slot 0 of service web: there is none\n", NULL,
	  NULL },
	{ "place by machine, zone and label", "m1 zone=a; m2 zone=b; m3 zone=b label=disk:ssd",
	  NULL, NULL, WEB(",'place':{'zones':['b'],'labels':{'disk':'ssd'}}"),
	  "start web.0 m3: new service; the only machine that can take it\n", NULL, NULL },
	{ "place that nothing fits", "m1 zone=a label=disk:hdd; m2", NULL, NULL,
	  WEB(",'place':{'labels':{'disk':'ssd'}}"),
	  "refused services.web.place: no machine can take slot 0 of service web: m1: its label "
	  "disk is hdd, not ssd; "
	  "m2: it has no label disk\n",
	  NULL, NULL },
	{ "architecture without a label", "m1; m2 arch=aarch64", NULL, NULL,
	  WEB(",'place':{'labels':{'arch':'aarch64'}}"),
	  "start web.0 m2: new service; the only machine that can take it\n", NULL, NULL },
	{ "many machines with one reason",
	  "m1 life=draining; m2 life=draining; m3 life=draining; m4 life=draining; "
	  "m5 life=draining",
	  NULL, NULL, WEB(""),
	  "refused services.web: no machine can take slot 0 of service web: m1, m2, m3 and 2 "
	  "others: it is draining\n",
	  NULL, NULL },
	{ "a machine that drains loses its slots, start first", "m1 life=draining; m2", WEB(""),
	  "web.0@m1=ready", WEB(""),
	  "replace web.0 m2 from m1: leaves machine m1: it is draining; the only machine that can "
	  "take it\n",
	  NULL, NULL },
	{ "a machine that does not answer is given up", "m1 silent; m2", WEB(""), "web.0@m1=ready",
	  WEB(""),
	  "start web.0 m2: machine m1 did not answer; the only machine that can take it\n"
	  "warning: machine m1 did not answer: nobody listens\n"
	  "warning: machine m1 did not answer: what it has of slot 0 of service web "
	  "(shop-web-0-old) is left there and "
	  "gets no traffic\n",
	  NULL, NULL },
	{ "a machine that was removed", "m2", WEB(""), "web.0@m1=ready", WEB(""),
	  "start web.0 m2: machine m1 is no member any more; the only machine\n"
	  "warning: machine m1 is no member any more: what it has of slot 0 of service web "
	  "(shop-web-0-old) is left there "
	  "and gets no traffic\n",
	  NULL, NULL },
	{ "a slot is bound to its volume", "m1; m2", NS "{'web':{'image':'web:1'" DATA,
	  "web.0@m2=ready", NS "{'web':{'image':'web:2'" DATA,
	  "replace web.0 m2 stop-first: changed: image web:1 → web:2\n", NULL, NULL },
	{ "refused rather than blank", "m1; m2 life=draining", NS "{'web':{'image':'web:1'" DATA,
	  "web.0@m2=ready", NS "{'web':{'image':'web:1'" DATA,
	  "refused services.web.mounts: no machine can take slot 0 of service web: m1: volume data "
	  "lives on machine m2; "
	  "m2: it is draining\n",
	  NULL, NULL },
	{ "drivers and quotas that nothing offers", "m1", NULL, NULL,
	  NS "{},'volumes':{'a':{'driver':'zfs'},'b':{'quota':'1G'}}}",
	  "refused volumes.a.driver: no machine offers the volume driver zfs\n"
	  "refused volumes.b.quota: a volume that is a plain directory has no quota to hold it "
	  "to\n",
	  NULL, NULL },
	{ "a host port of its own: stop first", "m1 port=8080:shop/web", WEB(PORTS PUBLISH),
	  "web.0@m1=ready", WEB(PORTS PUBLISH ",'command':['x']"),
	  "replace web.0 m1 stop-first: changed: command\n", NULL, NULL },
	{ "a host port that another namespace has", "m1 port=8080:blog/blog", NULL, NULL,
	  WEB(PORTS PUBLISH),
	  "refused services.web.publish: no machine can take slot 0 of service web: m1: host port "
	  "8080/tcp is taken by "
	  "blog/blog\n",
	  NULL, NULL },
	{ "a host port that something else has", "m1 port=8080:; m2", NULL, NULL,
	  WEB(PORTS PUBLISH), "start web.0 m2: new service; the only machine that can take it\n",
	  NULL, NULL },
	{ "one host port a machine", "m1", NULL, NULL, WEB(PORTS PUBLISH ",'replicas':2"),
	  "start web.0 m1: new service; the only machine\n"
	  "refused services.web.publish: no machine can take slot 1 of service web: m1: host port "
	  "8080/tcp is taken by "
	  "shop/web\n",
	  NULL, NULL },
	{ "room for memory: machine and reservations", "m1 mem=1G reserved=blog:d9,600M; m2 mem=1G",
	  NULL, NULL, WEB(",'resources':{'memory':'512M'}"),
	  "start web.0 m2: new service; the only machine that can take it\n", NULL, NULL },
	{ "own reservations do not count", "m1 mem=1G reserved=shop:d1,600M", NULL, NULL,
	  WEB(",'resources':{'memory':'512M'}"), "start web.0 m1: new service; the only machine\n",
	  NULL, NULL },
	{ "what runs is promised; what has committed is not promised twice",
	  "m1 mem=1G reserved=blog:old,512M", NULL, NULL, WEB(",'resources':{'memory':'512M'}"),
	  "start web.0 m1: new service; the only machine\n",
	  OTHER(",'resources':{'memory':'512M'}"), "blog.0@m1=ready" },
	{ "no room beside what runs", "m1 mem=1G", NULL, NULL, WEB(",'resources':{'cpus':3.5}"),
	  "refused services.web.resources.cpus: no machine can take slot 0 of service web: m1: the "
	  "service reserves 3.5 "
	  "cpus, it has 3 left to promise\n",
	  OTHER(",'resources':{'cpus':1}"), "blog.0@m1=ready" },
	{ "old and new do not fit at once: stop-first does", "m1 mem=1G",
	  WEB(",'update':'stop-first','resources':{'memory':'600M'}"), "web.0@m1=ready",
	  WEB(",'update':'stop-first','resources':{'memory':'700M'}"),
	  "replace web.0 m1 stop-first: changed: resources\n", NULL, NULL },
	{ "global: one on each that is eligible", "m1; m2 life=draining; m3", NULL, NULL,
	  WEB(",'replicas':'global'"),
	  "start web.0 m1: new service; one on each machine that can take it\n"
	  "start web.1 m3: new service; one on each machine that can take it\n",
	  NULL, NULL },
	{ "global: a machine comes, another drains", "m1; m2 life=draining; m3",
	  WEB(",'replicas':'global'"), "web.0@m1=ready web.1@m2=ready", WEB(",'replicas':'global'"),
	  "keep web.0 m1: unchanged\nstart web.2 m3: new slot; one on each machine that can take "
	  "it\n"
	  "remove web.1 m2: machine m2 takes no instance any more: it is draining\n",
	  NULL, NULL },
	{ "routes: added, kept, changed, removed", "m1",
	  NS "{'web':{'image':'web:1'" PORTS
	     ",'routes':[{'http':{'port':'http','hosts':['a.example','b.example','c."
	     "example']}}]}}}",
	  "web.0@m1=ready",
	  NS "{'web':{'image':'web:1'" PORTS
	     ",'routes':[{'http':{'port':'http','hosts':['a.example','d.example']}},"
	     "{'http':{'port':'http','hosts':['b.example'],'strip':true}}]}}}",
	  "keep web.0 m1: unchanged\nroute keep a.example/ web\nroute add d.example/ web\nroute "
	  "change b.example/ web\n"
	  "route remove c.example/\n",
	  NULL, NULL },
	{ "a route of another namespace", "m1", NULL, NULL, WEB(PORTS ROUTE),
	  "start web.0 m1: new service; the only machine\nroute add shop.example/ web\n"
	  "refused services.web.routes[0]: route shop.example/ belongs to service blog/blog "
	  "already\n",
	  OTHER(PORTS ROUTE), "blog.0@m1=ready" },
	{ "a route that another deploy is taking", "m1 reserved=blog:d7,shop.example/", NULL, NULL,
	  WEB(PORTS ROUTE),
	  "start web.0 m1: new service; the only machine\nroute add shop.example/ web\n"
	  "refused services.web.routes[0]: route shop.example/ is being taken by deploy d7 of "
	  "namespace blog\n",
	  NULL, NULL },
	{ "the namespace's routes change, nothing runs differently", "m1", WEB(PORTS),
	  "web.0@m1=ready", WEB(PORTS ROUTE),
	  "keep web.0 m1: unchanged\nroute add shop.example/ web\n", NULL, NULL },
	{ "a volume that is omitted keeps its data", "m1", NS "{'web':{'image':'web:1'" DATA,
	  "web.0@m1=ready", WEB(""),
	  "replace web.0 m1: changed: mounts\nwarning: volume data is no longer in the manifest: "
	  "its data is left where "
	  "it is\n",
	  NULL, NULL },
};

static struct plan *plan_of(struct world *world, const struct row *row)
{
	struct manifest *manifest = from_text(&manifest_schema, row->manifest);
	struct plan *plan;

	make_world(world, row->world);
	if (row->before)
		world->head = make_head(world, row->before, row->running);
	if (row->other)
		world->others[world->n_others++] = make_head(world, row->other, row->other_running);
	for (size_t i = 0; i < world->n_machines; i++) {
		const struct manifest *seen[] = { manifest,
						  world->head ? world->head->manifest : NULL };

		for (size_t j = 0; j < 2; j++)
			for (size_t k = 0; seen[j] && k < seen[j]->n_services; k++) {
				_cleanup_free_ char *id = image_id(seen[j]->services[k].image);

				see_image(world->probes[i], seen[j]->services[k].image, id);
			}
	}
	plan = plan_make(&(struct plan_input){
		.manifest = manifest,
		.head = world->head,
		.sequence = world->head ? 41 : 0,
		.others = (const struct head *const *)world->others,
		.n_others = world->n_others,
		.sights = world->sights,
		.n_sights = world->n_machines,
		.regions = (const struct region *const *)world->regions,
		.n_regions = world->n_regions,
		.deploy = "d1",
	});
	manifest_free(manifest);
	return plan;
}

static void try_row(const struct row *row)
{
	struct world world = { .n_machines = 0 }, again = { .n_machines = 0 };
	_cleanup_(plan_freep) struct plan *plan = plan_of(&world, row),
					  *second = plan_of(&again, row);
	_cleanup_free_ char *words = in_words(plan);
	_cleanup_free_ char *wire = codec_print(&plan_schema, plan),
			    *wire_again = codec_print(&plan_schema, second);

	is(words, row->expected, row->name);
	if (!streq(wire, wire_again))
		is(wire, wire_again, "the same again");
	end_world(&world);
	end_world(&again);
}

static void open_deploy(void)
{
	struct world world = { .n_machines = 0 };
	struct manifest *manifest = from_text(&manifest_schema, WEB(""));
	_cleanup_(plan_freep) struct plan *preview = NULL, *own = NULL;
	struct plan_input input = { .manifest = manifest, .sights = world.sights, .sequence = 41 };

	make_world(&world, "m1 image=web:1@id-web:1");
	world.head = make_head(&world, WEB(""), "web.0@m1=ready");
	world.head->open = xcalloc(1, sizeof(struct open_deploy));
	world.head->open->deploy = xstrdup("d1");
	input.head = world.head;
	input.n_sights = world.n_machines;
	preview = plan_make(&input);
	input.deploy = "d1";
	own = plan_make(&input);
	ok(preview->warnings && strstr(preview->warnings[0], "deploy d1 of this namespace is open"),
	   "an open deploy is told of");
	ok(!own->warnings, "but not to itself");
	is_int(own->sequence, 41, "the sequence it was made from");
	is_int(own->revision, 3, "and the revision");
	is(own->slots[0].digest, "id-web:1", "what is kept has its image's id");
	manifest_free(manifest);
	end_world(&world);
}

/* 200 machines, 1,000 slots. */
static void at_size(void)
{
	struct world world = { .n_machines = 0 };
	struct strbuf text = STRBUF_INIT;
	_cleanup_(plan_freep) struct plan *plan = NULL;
	struct row row = { .manifest = WEB(",'replicas':1000") };
	uint64_t began = boot_now_usec();
	size_t on_first = 0;

	for (int i = 0; i < 200; i++)
		strbuf_printf(&text, "m%03d zone=z%d;", i, i % 3);
	row.world = text.text;
	plan = plan_of(&world, &row);
	for (size_t i = 0; i < plan->n_slots; i++)
		on_first += streq(plan->slots[i].machine, "m000");
	is_int((long long)plan->n_slots, 1000, "1000 slots over 200 machines");
	is_int((long long)on_first, 5, "evenly");
	printf("# planned in %llu ms\n", (unsigned long long)((boot_now_usec() - began) / 1000));
	strbuf_clear(&text);
	end_world(&world);
}

int main(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		try_row(&rows[i]);
	open_deploy();
	at_size();
	return tap_done();
}
