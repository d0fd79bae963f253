/* Volumes in a plan: a slot is bound to where its data is recorded, and nothing starts empty that
 * is not named as new. */
#include "placerd/placerd.h"
#include "tests/lib/plan-rows.h"

#define DB NS "{'db':{'image':'web:1'" DATA
#define DB2 NS "{'db':{'image':'web:2'" DATA
#define SHARED(more)                                                                   \
	NS "{'db':{'image':'web:1','mounts':[{'volume':'data','target':'/data'}]" more \
	   "}},'volumes':{'data':{'mode':'shared'}}}"

static const struct row rows[] = {
	{ ROW("a slot stays where its volume is", "m1; m2", DB, "db.0@m2=ready", DB2,
	      "replace db.0 m2 stop-first: changed: image web:1 → web:2\nvolume data m2\n") },
	{ ROW("a service that comes back finds its volume", "m1; m2; volume data=m2", WEB(""),
	      "web.0@m1=ready", NS "{'web':{'image':'web:1'},'db':{'image':'web:1'" DATA,
	      "keep web.0 m1: unchanged\n"
	      "start db.0 m2: new service; the only machine that can take it\nvolume data m2\n") },
	{ ROW("also where nothing else is left of its namespace", "m1; m2; volume data=m2",
	      NS "{}}", NULL, DB,
	      "start db.0 m2: new service; the only machine that can take it\n"
	      "volume data m2\n") },
	{ ROW("refused rather than started empty: the machine is not a member",
	      "m1; volume data=m2", NS "{}}", NULL, DB,
	      "volume data m2\n"
	      "refused services.db.mounts: no machine can take slot 0 of service db: m1: volume "
	      "data is on machine m2, which is not a member\n") },
	{ ROW("it does not answer", "m1; m2 unreachable; volume data=m2", NS "{}}", NULL, DB,
	      "volume data m2\n"
	      "refused services.db.mounts: no machine can take slot 0 of service db: m1: volume "
	      "data is on machine m2; m2: it did not answer: nobody listens\n"
	      "warning: machine m2 did not answer: nobody listens\n") },
	{ ROW("it drains", "m1; m2 life=draining", DB, "db.0@m2=ready", DB,
	      "volume data m2\n"
	      "refused services.db.mounts: no machine can take slot 0 of service db: m1: volume "
	      "data is on machine m2; m2: it is draining\n") },
	{ ROW("its engine is down", "m1; m2 engine=refused", DB, "db.0@m2", DB,
	      "volume data m2\n"
	      "refused services.db.mounts: no machine can take slot 0 of service db: m1: volume "
	      "data is on machine m2; m2: its container engine cannot be reached: refused\n"
	      "warning: the container engine of machine m2 cannot be reached: instance "
	      "shop-db-0-old of slot 0 of service db is left there and gets no traffic\n") },
	{ ROW("it has no room", "m1; m2 mem=1G; volume data=m2", NS "{}}", NULL,
	      NS "{'db':{'image':'web:1','resources':{'memory':'2G'}" DATA,
	      "volume data m2\n"
	      "refused services.db.resources.memory: no machine can take slot 0 of service db: m1: "
	      "volume data is on machine m2; m2: the service requests 2.0 GiB of memory, 1.0 GiB "
	      "is "
	      "available\n") },
	{ ROW("a new volume is named as such", "m1", NULL, NULL, DB,
	      "start db.0 m1: new service; the only machine; new volume data\n"
	      "volume data m1 new\n") },
	{ ROW("two of them", "m1", NULL, NULL,
	      NS "{'db':{'image':'web:1','mounts':[{'volume':'b','target':'/b'},{'volume':'a',"
		 "'target':'/a'}]}},'volumes':{'a':{},'b':{},'unused':{}}}",
	      "start db.0 m1: new service; the only machine; new volumes b, a\n"
	      "volume a m1 new\nvolume b m1 new\n") },
	{ ROW("a second volume of a service that has one", "m1; m2; volume data=m2", WEB(""),
	      "web.0@m1=ready",
	      NS "{'web':{'image':'web:1','mounts':[{'volume':'data','target':'/data'},{'volume':"
		 "'more','target':'/more'}]}},'volumes':{'data':{},'more':{}}}",
	      "replace web.0 m2 from m1 stop-first: leaves machine m1: volume data is on machine "
	      "m2; "
	      "the only machine that can take it; new volume more\n"
	      "volume data m2\nvolume more m2 new\n") },
	{ ROW("a service that mounts it readonly is bound too", "m1; m2", DB, "db.0@m2=ready",
	      NS "{'copy':{'image':'web:1','mounts':[{'volume':'data','target':'/data','readonly':"
		 "true}]},'db':{'image':'web:1'" DATA,
	      "start copy.0 m2: new service; the only machine that can take it\n"
	      "keep db.0 m2: unchanged\nvolume data m2\n") },
	{ ROW("two services with one new volume", "m1; m2", NULL, NULL,
	      NS "{'copy':{'image':'web:1','mounts':[{'volume':'data','target':'/data','readonly':"
		 "true}]},'db':{'image':'web:1'" DATA,
	      "start copy.0 m1: new service; of 2 machines that can take it: first by id of "
	      "equals; new volume data\n"
	      "start db.0 m1: new service; the only machine that can take it\n"
	      "volume data m1 new\n") },
	{ ROW("no replicas: the record stays, and comes back", "m1; m2", DB, "db.0@m2=ready",
	      NS "{'db':{'image':'web:1','replicas':0" DATA,
	      "remove db.0 m2: the service has 0 replicas now\nvolume data m2\n") },
	{ ROW("no replicas and no record: no volume", "m1", NULL, NULL,
	      NS "{'db':{'image':'web:1','replicas':0" DATA, "") },
	{ ROW("a volume that is omitted keeps its data", "m1", NS "{'web':{'image':'web:1'" DATA,
	      "web.0@m1=ready", WEB(""),
	      "replace web.0 m1: changed: mounts\n"
	      "warning: volume data is no longer in the manifest: its data stays on machine "
	      "m1\n") },
	{ ROW("and is named once", "m1; volume data=m1", WEB(""), "web.0@m1=ready", WEB(""),
	      "keep web.0 m1: unchanged\nno changes\n") },
	{ ROW("shared: one on each machine", "m1; m2; volume data=m1:shared", NS "{}}", NULL,
	      SHARED(",'replicas':2"),
	      "start db.0 m1: new service; of 2 machines that can take it: it has volumes of the "
	      "service\n"
	      "start db.1 m2: new service; of 2 machines that can take it: spread over machines; "
	      "new volume data\n"
	      "volume data m1 shared\nvolume data m2 shared new\n") },
	{ ROW("shared: comes back where it was", "m1; m2; m3; volume data=m3:shared", NS "{}}",
	      NULL, SHARED(""),
	      "start db.0 m3: new service; of 3 machines that can take it: it has volumes of the "
	      "service\nvolume data m3 shared\n") },
	{ ROW("shared: spread comes first", "m1; m2; volume data=m1:shared",
	      SHARED(",'replicas':1"), "db.0@m1=ready", SHARED(",'replicas':2"),
	      "keep db.0 m1: unchanged\n"
	      "start db.1 m2: new slot; of 2 machines that can take it: spread over machines; new "
	      "volume data\nvolume data m1 shared\nvolume data m2 shared new\n") },
	{ ROW("shared: two slots of one machine create it once", "m1", NULL, NULL,
	      SHARED(",'replicas':2"),
	      "start db.0 m1: new service; the only machine; new volume data\n"
	      "start db.1 m1: new service; the only machine\nvolume data m1 shared new\n") },
	{ ROW("shared: on a lost machine it stays recorded",
	      "m1; m2 life=draining; volume "
	      "data=m2:shared",
	      NS "{}}", NULL, SHARED(""),
	      "start db.0 m1: new service; the only machine that can take it; new volume data\n"
	      "volume data m1 shared new\nvolume data m2 shared\n") },
	{ ROW("global: one on each machine", "m1; m2", NULL, NULL, SHARED(",'replicas':'global'"),
	      "start db.0 m1: new service; one on each machine that can take it; new volume data\n"
	      "start db.1 m2: new service; one on each machine that can take it; new volume data\n"
	      "volume data m1 shared new\nvolume data m2 shared new\n") },
	{ ROW("from shared to exclusive: any of its machines",
	      "m1; m2; m3; volume data=m2:shared; "
	      "volume data=m3:shared",
	      NS "{}}", NULL, DB,
	      "start db.0 m2: new service; of 2 machines that can take it: first by id of equals\n"
	      "volume data m2\nvolume data m3\n") },
	{ ROW("from exclusive to shared is a change", "m1", DB, "db.0@m1=ready", SHARED(""),
	      "keep db.0 m1: unchanged\nvolume data m1 shared\n") },
	{ ROW("drivers and quotas that nothing offers", "m1", NULL, NULL,
	      NS "{},'volumes':{'a':{'driver':'zfs'},'b':{'quota':'1G'},'c':{'driver':'btrfs'}}}",
	      "refused volumes.a.driver: no machine offers the volume driver zfs\n"
	      "refused volumes.b.quota: a volume that is a plain directory cannot have a quota\n"
	      "refused volumes.c.driver: no machine offers the volume driver btrfs\n") },
	{ ROW("one writer: several instances", "m1", NULL, NULL,
	      NS "{'db':{'image':'web:1','replicas':2" DATA,
	      "start db.0 m1: new service; the only machine; new volume data\n"
	      "start db.1 m1: new service; the only machine\nvolume data m1 new\n"
	      "refused services.db.replicas: volume data is exclusive and has one writer, service "
	      "db would have several instances\n") },
	{ ROW("one writer: one on each machine", "m1", NULL, NULL,
	      NS "{'db':{'image':'web:1','replicas':'global'" DATA,
	      "start db.0 m1: new service; one on each machine that can take it; new volume data\n"
	      "volume data m1 new\n"
	      "refused services.db.replicas: volume data is exclusive and has one writer, service "
	      "db would have several instances\n") },
	{ ROW("one writer: two services", "m1", NULL, NULL,
	      NS
	      "{'a':{'image':'web:1','mounts':[{'volume':'data','target':'/data'}]},'db':{'image'"
	      ":'web:1'" DATA,
	      "start a.0 m1: new service; the only machine; new volume data\n"
	      "start db.0 m1: new service; the only machine\nvolume data m1 new\n"
	      "refused services.db.mounts[0]: volume data is exclusive and has one writer, which "
	      "is "
	      "service a already\n") },
};

/* What the plan says of a volume beyond its place. */
static void records(void)
{
	static const struct row row = { ROW("", "m1; m2; volume data=m1:shared", NS "{}}", NULL,
					    SHARED(",'replicas':2"), "") };
	struct world world = { .n_machines = 0 };
	_cleanup_(plan_freep) struct plan *plan = plan_of(&world, &row);

	is_int(plan->volumes[0].generation, 2, "the recorded generation");
	is_int(plan->volumes[0].driver, VOLUME_DIR, "the recorded driver");
	is_int(plan->volumes[1].generation, 1, "a new volume's generation");
	is_int(plan->volumes[1].driver, VOLUME_DIR, "the driver that auto stands for");
	end_world(&world);
}

/* A driver cannot be changed under the data. */
static void recorded_driver(void)
{
	struct world world = { .n_machines = 0 };
	_cleanup_(manifest_freep) struct manifest *manifest =
		from_text(&manifest_schema, NS
			  "{'db':{'image':'web:1','mounts':[{'volume':'data','target':'/data'}]}},"
			  "'volumes':{'data':{'driver':'dir'}}}");
	_cleanup_(plan_freep) struct plan *plan = NULL;
	struct plan_input input;

	make_world(&world, "m1 image=web:1@id-web:1; volume data=m1");
	commit(&world, NS "{}}", NULL);
	world.head->volumes[0].driver = VOLUME_ZFS;
	input = input_of(&world, manifest);
	plan = plan_make(&input);
	ok(plan->n_refusals == 1, "another driver than the recorded one is refused");
	is(plan->refusals[0].path, "volumes.data.driver", "by its path");
	is(plan->refusals[0].message,
	   "volume data on machine m1 has the driver zfs, which cannot be changed",
	   "with the reason");
	end_world(&world);
}

int main(void)
{
	try_rows(rows, ARRAY_SIZE(rows));
	records();
	recorded_driver();
	return tap_done();
}
