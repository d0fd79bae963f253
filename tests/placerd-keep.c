/* What a deploy keeps of what runs: scaling down, a deploy that changes nothing, a rollback, a
 * committed manifest that is gone. */
#include "placerd/placerd.h"
#include "tests/lib/plan-rows.h"

#define THREE WEB(",'replicas':3")
#define NOW_1 "the service has 1 replica now"

static const struct row scale[] = {
	{ ROW("fewer replicas: of equals the lower numbers stay", "m1", THREE,
	      "web.0@m1=ready web.1@m1=ready web.2@m1=ready", WEB(""),
	      "keep web.0 m1: unchanged\nremove web.1 m1: " NOW_1 "\nremove web.2 m1: " NOW_1
	      "\n") },
	{ ROW("what is ready stays, whatever its number", "m1", THREE,
	      "web.0@m1=unready web.1@m1=ready web.2@m1=ready", WEB(""),
	      "keep web.1 m1: unchanged\nremove web.0 m1: " NOW_1
	      "; this instance is not ready\nremove web.2 m1: " NOW_1 "\n") },
	{ ROW("what runs stays before what does not", "m1", THREE,
	      "web.0@m1=failed web.1@m1 web.2@m1=starting", WEB(""),
	      "keep web.2 m1: unchanged\nremove web.0 m1: " NOW_1 "\nremove web.1 m1: " NOW_1
	      "\nwarning: service web: no instance is ready, so none that stays is ready\n") },
	{ ROW("two stay of four", "m1", WEB(",'replicas':4"),
	      "web.0@m1=starting web.1@m1=ready web.2@m1=stopped web.3@m1=ready",
	      WEB(",'replicas':2"),
	      "keep web.1 m1: unchanged\nkeep web.3 m1: unchanged\n"
	      "remove web.0 m1: the service has 2 replicas now; this instance is not ready\n"
	      "remove web.2 m1: the service has 2 replicas now; this instance is not running\n") },
	{ ROW("what is unchanged stays before what would be replaced", "m1 life=draining; m2",
	      WEB(",'replicas':2"), "web.0@m1=ready web.1@m2=ready", WEB(""),
	      "keep web.1 m2: unchanged\nremove web.0 m1: " NOW_1 "\n") },
	{ ROW("but what is ready before what is unchanged", "m1 life=draining; m2",
	      WEB(",'replicas':2"), "web.0@m1=ready web.1@m2=unready", WEB(""),
	      "replace web.0 m2 from m1: leaves machine m1: it is draining; the only machine that "
	      "can take it\nremove web.1 m2: " NOW_1 "; this instance is not ready\n") },
	{ ROW("what has the wanted image stays before what would be replaced",
	      "m1 image=web:1@id-new; m2", WEB(",'replicas':2"), "web.0@m1=ready web.1@m2=ready",
	      WEB(""), "keep web.1 m2: unchanged\nremove web.0 m1: " NOW_1 "\n") },
	{ ROW("numbers need not be dense: nothing changes", "m1", WEB(",'replicas':2"),
	      "web.1@m1=ready web.7@m1=ready", WEB(",'replicas':2"),
	      "keep web.1 m1: unchanged\nkeep web.7 m1: unchanged\nno changes\n") },
	{ ROW("up again: the lowest free numbers", "m1", WEB(",'replicas':2"),
	      "web.1@m1=ready web.3@m1=ready", WEB(",'replicas':4"),
	      "start web.0 m1: new slot; the only machine\nkeep web.1 m1: unchanged\n"
	      "start web.2 m1: new slot; the only machine\nkeep web.3 m1: unchanged\n") },
	{ ROW("a slot of a lost machine is not started again when enough others stay",
	      "m1 unreachable; m2", WEB(",'replicas':2"), "web.0@m1=ready web.1@m2=ready", WEB(""),
	      "keep web.1 m2: unchanged\n"
	      "warning: machine m1 did not answer: nobody listens\n"
	      "warning: machine m1 did not answer: instance shop-web-0-old of slot 0 of service "
	      "web is left there and gets no traffic\n") },
	{ ROW("a lost slot is started elsewhere under its number", "m1 unreachable; m2",
	      WEB(",'replicas':2"), "web.4@m1=ready web.5@m2=ready", WEB(",'replicas':3"),
	      "start web.0 m2: new slot; the only machine that can take it\n"
	      "start web.4 m2: machine m1 did not answer; the only machine that can take it\n"
	      "keep web.5 m2: unchanged\n"
	      "warning: machine m1 did not answer: nobody listens\n"
	      "warning: machine m1 did not answer: instance shop-web-4-old of slot 4 of service "
	      "web is left there and gets no traffic\n") },
	{ ROW("no replicas: the service stays defined", "m1", WEB(",'replicas':2" PORTS ROUTE),
	      "web.0@m1=ready web.1@m1=ready", WEB(",'replicas':0" PORTS ROUTE),
	      "remove web.0 m1: the service has 0 replicas now\n"
	      "remove web.1 m1: the service has 0 replicas now\nroute keep shop.example/ web\n") },
	{ ROW("none again: no changes", "m1", WEB(",'replicas':0" PORTS ROUTE), NULL,
	      WEB(",'replicas':0" PORTS ROUTE), "route keep shop.example/ web\nno changes\n") },
	{ ROW("a new service without replicas", "m1", NULL, NULL, WEB(",'replicas':0"), "") },
	{ ROW("no replicas, no machine that could take one", "m1 life=draining", NULL, NULL,
	      WEB(",'replicas':0"), "") },
	{ ROW("global: replaced where it is", "m1; m2", WEB(",'replicas':'global'"),
	      "web.0@m1=ready web.1@m2=ready", NS "{'web':{'image':'web:2','replicas':'global'}}}",
	      "replace web.0 m1: changed: image web:1 → web:2\n"
	      "replace web.1 m2: changed: image web:1 → web:2\n") },
	{ ROW("global: the new one does not fit beside the old one", "m1 mem=1G",
	      WEB(",'replicas':'global','resources':{'memory':'600M'}"), "web.0@m1=ready",
	      WEB(",'replicas':'global','command':['x'],'resources':{'memory':'600M'}"),
	      "refused services.web.resources.memory: no machine can take slot 0 of service web: "
	      "m1: the service requests 600 MiB of memory, 424 MiB is available\n") },
	{ ROW("from global to a number", "m1; m2; m3", WEB(",'replicas':'global'"),
	      "web.0@m1=unready web.1@m2=ready web.2@m3=ready", WEB(",'replicas':2"),
	      "keep web.1 m2: unchanged\nkeep web.2 m3: unchanged\n"
	      "remove web.0 m1: the service has 2 replicas now; this instance is not ready\n") },
	{ ROW("the port of a slot that is removed is not free before the commit",
	      "m1 port=8080:shop/web; m2 port=8080:shop/web; m3",
	      WEB(PORTS PUBLISH ",'replicas':2"), "web.0@m1=ready web.1@m2=unready",
	      NS "{'web':{'image':'web:1'" PORTS PUBLISH "},'api':{'image':'web:1'" PORTS PUBLISH
		 "}}}",
	      "keep web.0 m1: unchanged\n"
	      "start api.0 m3: new service; the only machine that can take it\n"
	      "remove web.1 m2: " NOW_1 "; this instance is not ready\n") },
};

static const struct row changes[] = {
	{ ROW("ready, starting and unready are no changes", "m1", THREE,
	      "web.0@m1=ready web.1@m1=starting web.2@m1=unready", THREE,
	      "keep web.0 m1: unchanged\nkeep web.1 m1: unchanged\nkeep web.2 m1: unchanged\n"
	      "no changes\n") },
	{ ROW("an instance that has ended", "m1", WEB(""), "web.0@m1=gone", WEB(""),
	      "replace web.0 m1: the instance is gone (shop-web-0-old)\n") },
	{ ROW("one that is being drained", "m1", WEB(""), "web.0@m1=draining", WEB(""),
	      "replace web.0 m1: the instance is draining\n") },
	{ ROW("a global service's instance on a machine that does not answer", "m1; m2 unreachable",
	      WEB(",'replicas':'global'"), "web.0@m1=ready web.1@m2=ready",
	      WEB(",'replicas':'global'"),
	      "keep web.0 m1: unchanged\n"
	      "warning: machine m2 did not answer: nobody listens\n"
	      "warning: machine m2 did not answer: instance shop-web-1-old of slot 1 of service "
	      "web is left there and gets no traffic\n") },
	{ ROW("volumes, routes and grants are no changes", "m1; claim 5 shop shop.example",
	      NS "{'web':{'image':'web:1'" PORTS ROUTE
		 ",'mounts':[{'volume':'data','target':'/data'}]}},'volumes':{'data':{}},"
		 "'grants':{'shop.example':['blog']}}",
	      "web.0@m1=ready",
	      NS "{'web':{'image':'web:1'" PORTS ROUTE
		 ",'mounts':[{'volume':'data','target':'/data'}]}},'volumes':{'data':{}},"
		 "'grants':{'shop.example':['blog']}}",
	      "keep web.0 m1: unchanged\nroute keep shop.example/ web\nvolume data m1\n"
	      "no changes\n") },
	{ ROW("another grant", "m1; claim 5 shop shop.example",
	      NS "{'web':{'image':'web:1'" PORTS ROUTE "}},'grants':{'shop.example':['blog']}}",
	      "web.0@m1=ready",
	      NS "{'web':{'image':'web:1'" PORTS ROUTE "}},'grants':{'shop.example':['news']}}",
	      "keep web.0 m1: unchanged\nroute keep shop.example/ web\n") },
	{ ROW("grants alone are something to commit", "m1", NULL, NULL,
	      NS "{},'grants':{'shop.example':['blog']}}", "") },
	{ ROW("what only the next instance would notice", "m1", WEB(""), "web.0@m1=ready",
	      WEB(",'depends_on':[],'update':'stop-first'"), "keep web.0 m1: unchanged\n") },
};

#define GONE                                                                                  \
	"warning: the committed manifest (revision 3, entry 7 of PLOYZ_MANIFESTS) is not in " \
	"the store: instances are compared by their hash alone, and this deploy stores its "  \
	"manifest anew\n"

static const struct row missing[] = {
	{ ROW("a committed manifest that is gone: the hash decides, and it is stored anew",
	      "m1; missing", WEB(""), "web.0@m1=ready", WEB(""),
	      "keep web.0 m1: unchanged\n" GONE) },
	{ ROW("what changed is not known then", "m1; missing", WEB(""), "web.0@m1=ready",
	      WEB(",'command':['x']"),
	      "replace web.0 m1: changed: in what is not known, its committed manifest is "
	      "missing\n" GONE) },
	{ ROW("an image whose name is gone as well", "m1 image=web:1@; missing", WEB(""),
	      "web.0@m1=ready", WEB(""), "keep web.0 m1: unchanged\n" GONE) },
	{ ROW("what runs is reserved by what is wanted", "m1 mem=1G; missing",
	      WEB(",'resources':{'memory':'600M'}"), "web.0@m1=ready",
	      WEB(",'replicas':2,'resources':{'memory':'600M'}"),
	      "keep web.0 m1: unchanged\n"
	      "refused services.web.resources.memory: no machine can take slot 1 of service web: "
	      "m1: the service requests 600 MiB of memory, 424 MiB is available\n" GONE) },
	{ ROW("routes and volumes are the head's", "m1; missing; claim 5 shop shop.example",
	      NS "{'web':{'image':'web:1'" PORTS ROUTE DATA, "web.0@m1=ready",
	      NS "{'web':{'image':'web:1'" PORTS ROUTE DATA,
	      "keep web.0 m1: unchanged\nroute keep shop.example/ web\nvolume data m1\n" GONE) },
};

#define SAME "m1 image=id-web:1@id-web:1"

static const struct row rollback[] = {
	{ ROW("a pinned image that the name still means", "m1; pin web=id-web:1", WEB(""),
	      "web.0@m1=ready", WEB(""), "keep web.0 m1: unchanged\nno changes\n") },
	{ ROW("the name means another image now: the pinned one runs",
	      "m1 image=web:1@id-new image=id-web:1@id-web:1; pin web=id-web:1", WEB(""),
	      "web.0@m1=ready", WEB(""), "keep web.0 m1: unchanged\nno changes\n") },
	{ ROW("another image runs: the pinned one replaces it",
	      "m1 image=web:1@id-web:1 image=id-old@id-old; pin web=id-old", WEB(""),
	      "web.0@m1=ready", WEB(""),
	      "replace web.0 m1: changed: image web:1 has another id (id-web:1 → id-old)\n") },
	{ ROW("pull: always does not pull a pinned one", SAME "; pin web=id-web:1",
	      WEB(",'pull':'always'"), "web.0@m1=ready", WEB(",'pull':'always'"),
	      "keep web.0 m1: unchanged\nno changes\n") },
	{ ROW("placed only where it is",
	      "m1 image=web:1@id-new; m2 image=web:1@id-new image=id-old@id-old; pin web=id-old",
	      NULL, NULL, WEB(""),
	      "start web.0 m2: new service; the only machine that can take "
	      "it\n") },
	{ ROW("it is nowhere, and its name may mean another image",
	      "m1 image=web:1@id-new; m2 image=web:1@ image=id-old@; pin web=id-old", NULL, NULL,
	      WEB(""),
	      "refused services.web.image: no machine can take slot 0 of service web: m1, m2: it "
	      "does not have image id-old, which the service has to run, and web:1 cannot be "
	      "pulled "
	      "by digest\n") },
	{ ROW("it is nowhere, and can be pulled by digest",
	      "m1 image=web@sha256:1@; pin web=id-old", NULL, NULL,
	      NS "{'web':{'image':'web@sha256:1'}}}",
	      "start web.0 m1: new service; the only machine\n") },
	{ ROW("pull: never excludes that", "m1 image=web@sha256:1@; pin web=id-old", NULL, NULL,
	      NS "{'web':{'image':'web@sha256:1','pull':'never'}}}",
	      "refused services.web.image: no machine can take slot 0 of service web: m1: it does "
	      "not have image id-old, which the service has to run, and web@sha256:1 cannot be "
	      "pulled by digest\n") },
	{ ROW("an instance of the pinned image stays where the machine lists no image",
	      "m1 image=web:1@; pin web=id-web:1", WEB(""), "web.0@m1=ready", WEB(""),
	      "keep web.0 m1: unchanged\nno changes\n") },
	{ ROW("a pin for another service", "m1 image=web:1@id-new; pin api=id-old", NULL, NULL,
	      WEB(""), "start web.0 m1: new service; the only machine\n") },
};

/* The row of a slot names the pinned image where it is, and none where it has to be pulled. */
static void pinned_digests(void)
{
	static const struct row there = { ROW("",
					      "m1 image=web:1@id-new image=id-old@id-old; pin "
					      "web=id-old",
					      NULL, NULL, WEB(""), "") };
	static const struct row pulled = { ROW("", "m1 image=web@sha256:1@; pin web=id-old", NULL,
					       NULL, NS "{'web':{'image':'web@sha256:1'}}}", "") };
	struct world world = { .n_machines = 0 }, other = { .n_machines = 0 };
	_cleanup_(plan_freep) struct plan *a = plan_of(&world, &there),
					  *b = plan_of(&other, &pulled);

	is(a->slots[0].digest, "id-old", "the pinned image is named");
	is(b->slots[0].digest, NULL, "not before it is pulled");
	end_world(&world);
	end_world(&other);
}

int main(void)
{
	try_rows(scale, ARRAY_SIZE(scale));
	try_rows(changes, ARRAY_SIZE(changes));
	try_rows(missing, ARRAY_SIZE(missing));
	try_rows(rollback, ARRAY_SIZE(rollback));
	pinned_digests();
	return tap_done();
}
