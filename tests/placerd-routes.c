/* Routes and ports in a plan: who owns a host, and which ports the gateways can listen on. */
#include "placerd/placerd.h"
#include "tests/lib/plan-rows.h"

#define TCP(port) ",'routes':[{'tcp':{'port':'http','listen':" #port "}}]"
#define PATH(path) ",'routes':[{'http':{'port':'http','hosts':['shop.example'],'path':'" path "'}}]"
#define ANY ",'routes':[{'http':{'port':'http','hosts':['*.example']}}]"
#define STARTED "start web.0 m1: new service; the only machine\n"
#define ADDED STARTED "route add shop.example/ web\n"
#define TCP_ADDED STARTED "route add tcp/5432 web\n"
#define WITH(other_, running_) .other = other_, .other_running = running_

static const struct row rows[] = {
	{ ROW("added, kept, changed, removed", "m1",
	      NS "{'web':{'image':'web:1'" PORTS
		 ",'routes':[{'http':{'port':'http','hosts':['a.example','b.example','c."
		 "example']}}]}}}",
	      "web.0@m1=ready",
	      NS "{'web':{'image':'web:1'" PORTS
		 ",'routes':[{'http':{'port':'http','hosts':['a.example','d.example']}},"
		 "{'http':{'port':'http','hosts':['b.example'],'strip':true}}]}}}",
	      "keep web.0 m1: unchanged\nroute keep a.example/ web\nroute add d.example/ "
	      "web\nroute "
	      "change b.example/ web\n"
	      "route remove c.example/\n") },
	{ ROW("to another service, to another port", "m1",
	      NS "{'web':{'image':'web:1','ports':{'a':{'port':80},'b':{'port':81}},'routes':["
		 "{'tcp':{'port':'a','listen':1000}},{'tcp':{'port':'a','listen':1001}}]},"
		 "'api':{'image':'web:1','ports':{'a':{'port':80}}}}}",
	      "web.0@m1=ready api.0@m1=ready",
	      NS "{'web':{'image':'web:1','ports':{'a':{'port':80},'b':{'port':81}},'routes':["
		 "{'tcp':{'port':'b','listen':1000}}]},"
		 "'api':{'image':'web:1','ports':{'a':{'port':80}},'routes':[{'tcp':{'port':'a',"
		 "'listen':1001}}]}}}",
	      "keep web.0 m1: unchanged\nkeep api.0 m1: unchanged\n"
	      "route change tcp/1000 web\nroute change tcp/1001 api\n") },
	{ ROW("routes alone change", "m1", WEB(PORTS), "web.0@m1=ready", WEB(PORTS ROUTE),
	      "keep web.0 m1: unchanged\nroute add shop.example/ web\n") },
	{ ROW("a host of another namespace", "m1; claim 9 blog shop.example", NULL, NULL,
	      WEB(PORTS ROUTE),
	      ADDED "refused services.web.routes[0].http.hosts[0]: cannot claim route "
		    "shop.example/: it belongs to namespace blog\n"),
	  WITH(OTHER(PORTS ROUTE), "blog.0@m1=ready") },
	{ ROW("one of another namespace's head without a claim", "m1", NULL, NULL, WEB(PORTS ROUTE),
	      ADDED "refused services.web.routes[0].http.hosts[0]: cannot claim route "
		    "shop.example/: it belongs to namespace blog\n"),
	  WITH(OTHER(PORTS ROUTE), "blog.0@m1=ready") },
	{ ROW("a redeploy does not take a route over", "m1; claim 9 blog shop.example",
	      WEB(PORTS ROUTE), "web.0@m1=ready", WEB(PORTS ROUTE),
	      "keep web.0 m1: unchanged\nroute keep shop.example/ web\n"
	      "refused services.web.routes[0].http.hosts[0]: cannot claim route shop.example/: it "
	      "belongs to namespace blog\n"),
	  WITH(OTHER(PORTS ROUTE), "blog.0@m1=ready") },
	{ ROW("the owner's redeploy is no change", "m1; claim 9 shop shop.example",
	      WEB(PORTS ROUTE), "web.0@m1=ready", WEB(PORTS ROUTE),
	      "keep web.0 m1: unchanged\nroute keep shop.example/ web\nno changes\n"),
	  WITH(OTHER(PORTS ROUTE), "blog.0@m1=ready") },
	{ ROW("a path of another namespace's host", "m1; claim 9 blog shop.example", NULL, NULL,
	      WEB(PORTS PATH("/x")),
	      STARTED "route add shop.example/x web\n"
		      "refused services.web.routes[0].http.hosts[0]: cannot claim route "
		      "shop.example/x: host shop.example belongs to namespace blog, which does not "
		      "grant it to shop\n"),
	  WITH(OTHER(PORTS ROUTE), "blog.0@m1=ready") },
	{ ROW("a path that is granted", "m1; claim 9 blog shop.example", NULL, NULL,
	      WEB(PORTS PATH("/x")), STARTED "route add shop.example/x web\n"),
	  WITH("{'namespace':'blog','services':{'blog':{'image':'b:1'" PORTS ROUTE
	       "}},'grants':{'shop.example':['shop']}}",
	       "blog.0@m1=ready") },
	{ ROW("a host below another namespace's wildcard", "m1; claim 9 blog *.example", NULL, NULL,
	      WEB(PORTS ROUTE),
	      ADDED "refused services.web.routes[0].http.hosts[0]: cannot claim route "
		    "shop.example/: wildcard *.example belongs to namespace blog, which does not "
		    "grant shop.example to shop\n"),
	  WITH(OTHER(PORTS ANY), "blog.0@m1=ready") },
	{ ROW("a wildcard above another namespace's host", "m1; claim 9 blog shop.example", NULL,
	      NULL, WEB(PORTS ANY), STARTED "route add *.example/ web\n"),
	  WITH(OTHER(PORTS ROUTE), "blog.0@m1=ready") },
	{ ROW("a claim that holds no more", "m1; claim 9 blog shop.example", NULL, NULL,
	      WEB(PORTS ROUTE), ADDED),
	  WITH(OTHER(PORTS), "blog.0@m1=ready") },
	{ ROW("each route that has a conflict is refused",
	      "m1; claim 9 blog a.example; claim 10 blog b.example", NULL, NULL,
	      WEB(PORTS ",'routes':[{'tcp':{'port':'http','listen':99}},{'http':{'port':'http',"
			"'hosts':['c.example','b.example','a.example']}}]"),
	      STARTED
	      "route add tcp/99 web\nroute add c.example/ web\nroute add b.example/ web\n"
	      "route add a.example/ web\n"
	      "refused services.web.routes[1].http.hosts[1]: cannot claim route b.example/: "
	      "it belongs to namespace blog\n"
	      "refused services.web.routes[1].http.hosts[2]: cannot claim route a.example/: "
	      "it belongs to namespace blog\n"),
	  WITH(OTHER(PORTS
		     ",'routes':[{'http':{'port':'http','hosts':['a.example','b.example']}}]"),
	       NULL) },
	{ ROW("a grant that is withdrawn, and whom that concerns",
	      "m1; claim 9 shop shop.example; claim 10 blog shop.example/x",
	      NS "{'web':{'image':'web:1'" PORTS ROUTE "}},'grants':{'shop.example':['blog']}}",
	      "web.0@m1=ready", WEB(PORTS ROUTE),
	      "keep web.0 m1: unchanged\nroute keep shop.example/ web\n"
	      "warning: namespace blog keeps route shop.example/x, but its next deploy will be "
	      "refused: host shop.example belongs to namespace shop, which does not grant it to "
	      "blog\n"),
	  WITH(OTHER(PORTS PATH("/x")), "blog.0@m1=ready") },
	{ ROW("a grant that stays", "m1; claim 9 shop shop.example; claim 10 blog shop.example/x",
	      NS "{'web':{'image':'web:1'" PORTS ROUTE "}},'grants':{'shop.example':['blog']}}",
	      "web.0@m1=ready",
	      NS "{'web':{'image':'web:1'" PORTS ROUTE "}},'grants':{'shop.example':['blog']}}",
	      "keep web.0 m1: unchanged\nroute keep shop.example/ web\nno changes\n"),
	  WITH(OTHER(PORTS PATH("/x")), "blog.0@m1=ready") },
	{ ROW("a tcp port of another namespace", "m1; claim 9 blog tcp/5432", NULL, NULL,
	      WEB(PORTS TCP(5432)),
	      TCP_ADDED
	      "refused services.web.routes[0].tcp.listen: cannot claim route tcp/5432: it "
	      "belongs to namespace blog\n"),
	  WITH(OTHER(PORTS TCP(5432)), "blog.0@m1=ready") },
	{ ROW("a free port", "m1 port=5433: port=5432:@10.0.0.1 gateway=127.0.0.1", NULL, NULL,
	      WEB(PORTS TCP(5432)), TCP_ADDED) },
	{ ROW("a port of another program", "m1 port=5432:", NULL, NULL, WEB(PORTS TCP(5432)),
	      TCP_ADDED "refused services.web.routes[0].tcp.listen: cannot serve route tcp/5432: a "
			"program outside the cluster listens on port 5432 of machine m1\n") },
	{ ROW("on the gateway's address", "m1 port=5432:@10.0.0.1 gateway=10.0.0.1", NULL, NULL,
	      WEB(PORTS TCP(5432)),
	      TCP_ADDED "refused services.web.routes[0].tcp.listen: cannot serve route tcp/5432: a "
			"program outside the cluster listens on port 5432 of machine m1\n") },
	{ ROW("on one address while the gateway takes all", "m1 port=5432:@127.0.0.1 gateway=*",
	      NULL, NULL, WEB(PORTS TCP(5432)),
	      TCP_ADDED "refused services.web.routes[0].tcp.listen: cannot serve route tcp/5432: a "
			"program outside the cluster listens on port 5432 of machine m1\n") },
	{ ROW("on all addresses while the gateway takes one", "m1 port=5432:@:: gateway=10.0.0.1",
	      NULL, NULL, WEB(PORTS TCP(5432)),
	      TCP_ADDED "refused services.web.routes[0].tcp.listen: cannot serve route tcp/5432: a "
			"program outside the cluster listens on port 5432 of machine m1\n") },
	{ ROW("of several machines, two of them unlike",
	      "m1; m2 port=5432:; m3 port=5432:blog/blog; m4 unreachable", NULL, NULL,
	      WEB(PORTS TCP(5432) ",'placement':{'machines':['m1']}"),
	      "start web.0 m1: new service; the only machine that can take it\n"
	      "route add tcp/5432 web\n"
	      "refused services.web.routes[0].tcp.listen: cannot serve route tcp/5432: a program "
	      "outside the cluster listens on port 5432 of machine m2 (and on 1 other machine)\n"
	      "warning: machine m4 did not answer: nobody listens\n") },
	{ ROW("a port that a service publishes", "m1 port=5432:blog/blog", NULL, NULL,
	      WEB(PORTS TCP(5432)),
	      TCP_ADDED "refused services.web.routes[0].tcp.listen: cannot serve route tcp/5432: "
			"service blog/blog listens on port 5432 of machine m1\n") },
	{ ROW("a port of the gateway's HTTP", "m1 http=127.0.0.1:5432 http=*:80", NULL, NULL,
	      WEB(PORTS TCP(5432)),
	      TCP_ADDED "refused services.web.routes[0].tcp.listen: cannot serve route tcp/5432: "
			"the gateway itself, for HTTP, listens on port 5432 of machine m1\n") },
	{ ROW("a committed route's listener is the gateway", "m1 port=5432:; claim 9 shop tcp/5432",
	      WEB(PORTS TCP(5432)), "web.0@m1=ready", WEB(PORTS TCP(5432)),
	      "keep web.0 m1: unchanged\nroute keep tcp/5432 web\nno changes\n") },
	{ ROW("a port that a gateway has served may be the gateway's still",
	      "m1 port=5432:; claim 9 shop tcp/5432", WEB(PORTS), "web.0@m1=ready",
	      WEB(PORTS TCP(5432)),
	      "keep web.0 m1: unchanged\nroute add tcp/5432 web\n"
	      "warning: route tcp/5432: on machine m1 a program outside the cluster listens on "
	      "that "
	      "port; unless it is the gateway, the route cannot be served there\n") },
	{ ROW("one that a service publishes is not",
	      "m1 port=5432:blog/blog; claim 9 shop tcp/5432", WEB(PORTS), "web.0@m1=ready",
	      WEB(PORTS TCP(5432)),
	      "keep web.0 m1: unchanged\nroute add tcp/5432 web\n"
	      "refused services.web.routes[0].tcp.listen: cannot serve route tcp/5432: service "
	      "blog/blog listens on port 5432 of machine m1\n") },
	{ ROW("a udp port is another port", "m1", NULL, NULL,
	      NS "{'web':{'image':'web:1','ports':{'http':{'port':80},'dns':{'port':53,'protocol':"
		 "'udp'}},'publish':[{'port':'dns','host_port':5432}]" TCP(5432) "}}}",
	      TCP_ADDED) },
	{ ROW("a host port that another namespace has", "m1 port=8080:blog/blog", NULL, NULL,
	      WEB(PORTS PUBLISH),
	      "refused services.web.publish: no machine can take slot 0 of service web: m1: host "
	      "port 8080/tcp is taken by blog/blog\n") },
	{ ROW("a host port that another program has", "m1 port=8080:; m2", NULL, NULL,
	      WEB(PORTS PUBLISH),
	      "start web.0 m2: new service; the only machine that can take it\n") },
	{ ROW("on another address than the published one", "m1 port=8080:@10.0.0.1", NULL, NULL,
	      WEB(PORTS ",'publish':[{'port':'http','host_port':8080,'address':'10.0.0.2'}]"),
	      STARTED) },
	{ ROW("a host port of the gateway", "m1 http=*:8080", NULL, NULL, WEB(PORTS PUBLISH),
	      "refused services.web.publish: no machine can take slot 0 of service web: m1: host "
	      "port 8080/tcp is taken by the gateway\n") },
	{ ROW("the gateway is at another address", "m1 http=10.0.0.1:8080", NULL, NULL,
	      WEB(PORTS ",'publish':[{'port':'http','host_port':8080,'address':'10.0.0.2'}]"),
	      STARTED) },
	{ ROW("a host port of another namespace's tcp route", "m1", NULL, NULL, WEB(PORTS PUBLISH),
	      "refused services.web.publish: no machine can take slot 0 of service web: m1: host "
	      "port 8080/tcp is taken by the gateway, for route tcp/8080 of namespace blog\n"),
	  WITH(OTHER(PORTS TCP(8080)), NULL) },
	{ ROW("a service that publishes the port of its own route", "m1", NULL, NULL,
	      WEB(PORTS PUBLISH TCP(8080)),
	      "route add tcp/8080 web\n"
	      "refused services.web.publish: no machine can take slot 0 of service web: m1: host "
	      "port 8080/tcp is taken by the gateway, for route tcp/8080 of namespace shop\n") },
};

static const struct {
	const char *a, *b;
	bool overlap;
} addresses[] = {
	{ "127.0.0.1", "127.0.0.1", true },
	{ "127.0.0.1", "127.0.0.2", false },
	{ "127.0.0.1", "127.0.0.10", false },
	{ NULL, "127.0.0.1", true },
	{ "*", "10.0.0.1", true },
	{ "0.0.0.0", "10.0.0.1", true },
	{ "::", "10.0.0.1", true },
	{ "[::]", "fd00::1", true },
	{ "[fd00::1]", "fd00::1", true },
	{ "fd00::1", "fd00::2", false },
};

/* The hint names the owner and what it could do. */
static void hints(void)
{
	struct world world = { .n_machines = 0 };
	static const struct row row = { ROW("", "m1; claim 9 blog shop.example", NULL, NULL,
					    WEB(PORTS ROUTE), ""),
					WITH(OTHER(PORTS ROUTE), NULL) };
	_cleanup_(plan_freep) struct plan *plan = plan_of(&world, &row);

	is(plan->refusals[0].hint,
	   "choose another host or path, remove it from namespace blog first, or let its manifest "
	   "grant it "
	   "to shop",
	   "what to do about a host of another namespace");
	end_world(&world);
}

int main(void)
{
	try_rows(rows, ARRAY_SIZE(rows));
	for (size_t i = 0; i < ARRAY_SIZE(addresses); i++)
		ok(addresses_overlap(addresses[i].a, addresses[i].b) == addresses[i].overlap &&
			   addresses_overlap(addresses[i].b, addresses[i].a) ==
				   addresses[i].overlap,
		   "%s and %s %s", addresses[i].a ? addresses[i].a : "no address", addresses[i].b,
		   addresses[i].overlap ? "overlap" : "do not overlap");
	hints();
	return tap_done();
}
