/* The planner in rows: a world, what was committed and runs in it, and a manifest give a plan, as
 * text. */
#include "placerd/placerd.h"
#include "tests/lib/plan-rows.h"

static const struct row rows[] = {
	{ "a new service on one machine", "m1", NULL, NULL, WEB(""),
	  "start web.0 m1: new service; the only machine\n", NULL, NULL },
	{ "nothing changed", "m1", WEB(""), "web.0@m1=ready", WEB(""),
	  "keep web.0 m1: unchanged\nno changes\n", NULL, NULL },
	{ "starting and unready ones are kept too", "m1", WEB(",'replicas':2"),
	  "web.0@m1=starting web.1@m1=unready", WEB(",'replicas':2"),
	  "keep web.0 m1: unchanged\nkeep web.1 m1: unchanged\nno changes\n", NULL, NULL },
	{ "another image", "m1", WEB(""), "web.0@m1=ready", NS "{'web':{'image':'web:2'}}}",
	  "replace web.0 m1: changed: image web:1 → web:2\n", NULL, NULL },
	{ "another build of the same name", "m1 image=web:1@sha256:0123456789abcdef", WEB(""),
	  "web.0@m1=ready", WEB(""),
	  "replace web.0 m1: changed: image web:1 has another id (id-web:1 → 0123456789ab)\n", NULL,
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
	  WEB(",'replicas':2,'placement':{'spread':'machine'}"),
	  "start web.0 m1: new service; of 3 machines that can take it: first by id of equals\n"
	  "start web.1 m2: new service; of 3 machines that can take it: first by id of equals\n",
	  NULL, NULL },
	{ "and what has none to compute",
	  "m1 region=d; m2 region=c; region c=compute; region d=home_data", NULL, NULL, WEB(""),
	  "start web.0 m2: new service; of 2 machines that can take it: its region's role suits "
	  "the service\n",
	  NULL, NULL },
	{ "the most free capacity", "m1 free=1G; m2", NULL, NULL, WEB(""),
	  "start web.0 m2: new service; of 2 machines that can take it: it has the most free "
	  "capacity\n",
	  NULL, NULL },
	{ "the fewest instances", "m1; m2", NULL, NULL,
	  NS "{'a':{'image':'a:1'},'b':{'image':'b:1'}}}",
	  "start a.0 m1: new service; of 2 machines that can take it: first by id of equals\n"
	  "start b.0 m2: new service; of 2 machines that can take it: it has the fewest "
	  "instances\n",
	  NULL, NULL },
	{ "life cycle, region, engine, no answer",
	  "m1 life=draining; m2 region=x; m3 engine=refused; m4 unreachable; m5 life=standby; "
	  "region "
	  "x=disabled",
	  NULL, NULL, WEB(""),
	  "refused services.web: no machine can take slot 0 of service web: m1: it is draining; "
	  "m2: its region x is "
	  "disabled; m3: its container engine cannot be reached: refused; m4: it did not answer: "
	  "nobody "
	  "listens; m5: it is standby\n"
	  "warning: machine m4 did not answer: nobody listens\n",
	  NULL, NULL },
	{ "no machine at all", "", NULL, NULL, WEB(""),
	  "refused services.web: no machine can take slot 0 of service web: there is none\n", NULL,
	  NULL },
	{ "place by machine, zone and label", "m1 zone=a; m2 zone=b; m3 zone=b label=disk:ssd",
	  NULL, NULL, WEB(",'placement':{'zones':['b'],'labels':{'disk':'ssd'}}"),
	  "start web.0 m3: new service; the only machine that can take it\n", NULL, NULL },
	{ "place that nothing fits", "m1 zone=a label=disk:hdd; m2", NULL, NULL,
	  WEB(",'placement':{'labels':{'disk':'ssd'}}"),
	  "refused services.web.placement: no machine can take slot 0 of service web: m1: its "
	  "label "
	  "disk is hdd, not ssd; "
	  "m2: it has no label disk\n",
	  NULL, NULL },
	{ "architecture without a label", "m1; m2 arch=aarch64", NULL, NULL,
	  WEB(",'placement':{'labels':{'arch':'aarch64'}}"),
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
	{ "a host port of its own: stop first", "m1 port=8080:shop/web", WEB(PORTS PUBLISH),
	  "web.0@m1=ready", WEB(PORTS PUBLISH ",'command':['x']"),
	  "replace web.0 m1 stop-first: changed: command\n", NULL, NULL },
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
	{ "a volume goes to home_data",
	  "m1 region=c; m2 region=d; region c=compute; region d=home_data", NULL, NULL,
	  NS "{'web':{'image':'web:1'" DATA,
	  "start web.0 m2: new service; of 2 machines that can take it: its region's role suits "
	  "the service; new volume data\nvolume data m2 new\n",
	  NULL, NULL },
	{ "a machine that does not answer is given up", "m1 unreachable; m2", WEB(""),
	  "web.0@m1=ready", WEB(""),
	  "start web.0 m2: machine m1 did not answer; the only machine that can take it\n"
	  "warning: machine m1 did not answer: nobody listens\n"
	  "warning: machine m1 did not answer: instance shop-web-0-old of slot 0 of service web is "
	  "left there and gets no traffic\n",
	  NULL, NULL },
	{ "so is one whose container engine cannot be reached", "m1 engine=refused; m2", WEB(""),
	  "web.0@m1", WEB(""),
	  "start web.0 m2: the container engine of machine m1 cannot be reached; the only machine "
	  "that can take it\n"
	  "warning: the container engine of machine m1 cannot be reached: instance shop-web-0-old "
	  "of slot 0 of service web is left there and gets no traffic\n",
	  NULL, NULL },
	{ "a machine that was removed", "m2", WEB(""), "web.0@m1=ready", WEB(""),
	  "start web.0 m2: machine m1 is not a member; the only machine\n"
	  "warning: machine m1 is not a member: instance shop-web-0-old of slot 0 of service web "
	  "is "
	  "left there and gets no traffic\n",
	  NULL, NULL },
	{ "a machine whose member record cannot be decoded takes nothing new", "m1 unreadable; m2",
	  NULL, NULL, WEB(""), "start web.0 m2: new service; the only machine that can take it\n",
	  NULL, NULL },
	{ "and what it has is replaced, not forgotten", "m1 unreadable; m2", WEB(""),
	  "web.0@m1=ready", WEB(""),
	  "replace web.0 m2 from m1: leaves machine m1: its member record cannot be decoded: not "
	  "JSON; the only machine that can take it\n",
	  NULL, NULL },
	{ "a standby machine takes nothing new, and what it has is replaced", "m1 life=standby; m2",
	  WEB(",'replicas':2"), "web.0@m1=ready web.1@m2=ready", WEB(",'replicas':2"),
	  "replace web.0 m2 from m1: leaves machine m1: it is standby; the only machine that can "
	  "take it\nkeep web.1 m2: unchanged\n",
	  NULL, NULL },
	{ "what a standby machine has of an omitted service is removed", "m1 life=standby; m2",
	  WEB(""), "web.0@m1=ready", NS "{}}",
	  "remove web.0 m1: the manifest does not name the service\n"
	  "warning: service web is not in the manifest: it is removed with its 1 instance\n"
	  "warning: this removes everything in namespace shop\nremoves all\n",
	  NULL, NULL },
	{ "what runs is reserved; what has committed is not reserved twice",
	  "m1 mem=1G reserved=blog:old,512M", NULL, NULL, WEB(",'resources':{'memory':'512M'}"),
	  "start web.0 m1: new service; the only machine\n",
	  OTHER(",'resources':{'memory':'512M'}"), "blog.0@m1=ready" },
	{ "a reservation of a deploy that has not committed counts beside what runs",
	  "m1 mem=1G reserved=blog:d9,1M", NULL, NULL, WEB(",'resources':{'memory':'512M'}"),
	  "refused services.web.resources.memory: no machine can take slot 0 of service web: m1: "
	  "the service requests 512 MiB of memory, 511 MiB is available\n",
	  OTHER(",'resources':{'memory':'512M'}"), "blog.0@m1=ready" },
	{ "what runs leaves too few cpus", "m1 mem=1G", NULL, NULL,
	  WEB(",'resources':{'cpus':3.5}"),
	  "refused services.web.resources.cpus: no machine can take slot 0 of service web: m1: the "
	  "service requests 3.5 cpus, 3 are available\n",
	  OTHER(",'resources':{'cpus':1}"), "blog.0@m1=ready" },
	{ "as many cpus as there are", "m1", NULL, NULL, WEB(",'resources':{'cpus':3}"),
	  "start web.0 m1: new service; the only machine\n", OTHER(",'resources':{'cpus':1}"),
	  "blog.0@m1=ready" },
	{ "as much memory as there is", "m1 mem=1G", NULL, NULL,
	  WEB(",'resources':{'memory':'1G'}"), "start web.0 m1: new service; the only machine\n",
	  NULL, NULL },
};

static void open_deploy(void)
{
	struct world world = { .n_machines = 0 };
	_cleanup_(manifest_freep) struct manifest *manifest = from_text(&manifest_schema, WEB(""));
	_cleanup_(plan_freep) struct plan *preview = NULL, *own = NULL;
	struct plan_input input;

	make_world(&world, "m1 image=web:1@id-web:1");
	commit(&world, WEB(""), "web.0@m1=ready");
	world.head->open = codec_new(&open_deploy_schema);
	world.head->open->deploy = xstrdup("d1");
	input = input_of(&world, manifest);
	input.deploy = NULL;
	preview = plan_make(&input);
	input.deploy = "d1";
	own = plan_make(&input);
	ok(preview->warnings && strstr(preview->warnings[0], "deploy d1 of this namespace is open"),
	   "an open deploy is named");
	ok(!own->warnings, "but not in its own plan");
	is_int(own->sequence, 41, "the sequence that committed the state");
	is_int(own->head, 43, "the entry that the plan is made from");
	is_int(own->revision, 3, "and the revision");
	is(own->slots[0].digest, "id-web:1", "what is kept has its image's id");
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
	try_rows(rows, ARRAY_SIZE(rows));
	open_deploy();
	at_size();
	return tap_done();
}
