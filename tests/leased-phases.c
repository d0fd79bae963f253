/* Tests each phase with a table of scripts: a model and events as input, a result and commands as
 * output. tests/rollouts/script.h describes the lines. */
#include "tests/rollouts/script.h"

#include "tests/tap.h"

#define WEB "{\"namespace\":\"shop\",\"services\":{\"web\":{\"image\":\"w:2\",\"replicas\":2}}}"
#define ROUTED                                                                                   \
	"{\"namespace\":\"shop\",\"services\":{\"web\":{\"image\":\"w:2\",\"ports\":{\"http\":{" \
	"\"port\":80}},\"routes\":[{\"http\":{\"port\":\"http\",\"hosts\":[\"shop.test\"]}}]}}}"
#define PRE                                                                                    \
	"{\"namespace\":\"shop\",\"services\":{\"db\":{\"image\":\"d:2\"},\"web\":{\"image\":" \
	"\"w:2\",\"depends_on\":[\"db\"],\"pre_deploy\":{\"command\":[\"/migrate\"]}}}}"
#define HEAD                                                                                       \
	"{\"namespace\":\"shop\",\"revision\":3,\"deploy\":\"d1\",\"writer\":\"d1\",\"epoch\":2,"  \
	"\"generation\":1,\"hash\":\"h\",\"release\":9,\"release_number\":4,\"services\":[{"       \
	"\"name\":\"web\",\"digest\":\"sha256:1\",\"stop_grace\":\"2s\",\"slots\":[{\"slot\":0,"   \
	"\"instance\":\"shop-web-0-d1\",\"machine\":\"m1\",\"address\":\"10.101.1.2\"},{\"slot\":" \
	"1,"                                                                                       \
	"\"instance\":\"shop-web-1-d1\",\"machine\":\"m2\",\"address\":\"10.101.2.2\"}]}]}"
#define ROW(service, slot, action, machine, more)                             \
	"{\"service\":\"" service "\",\"slot\":" slot ",\"action\":\"" action \
	"\",\"machine\":\"" machine "\"" more "}"
#define PLAN(rows) \
	"{\"namespace\":\"shop\",\"head\":5,\"sequence\":4,\"changes\":true,\"slots\":[" rows "]}"
#define REPLACE                                                                      \
	PLAN(ROW("web", "0", "replace", "m1", ",\"old\":\"shop-web-0-d1\"") "," ROW( \
		"web", "1", "replace", "m2", ",\"old\":\"shop-web-1-d1\""))
#define KEEP_AND_START                     \
	PLAN(ROW("web", "0", "keep", "m1", \
		 ",\"instance\":\"shop-web-0-d1\"") "," ROW("web", "1", "start", "m2", ""))
#define STOP_FIRST                            \
	PLAN(ROW("web", "0", "replace", "m1", \
		 ",\"old\":\"shop-web-0-d1\",\"update\":\"stop-first\""))
#define HEAD_LONG                                                                              \
	"{\"namespace\":\"shop\",\"revision\":3,\"deploy\":\"d1\",\"services\":[{\"name\":"    \
	"\"web\",\"stop_grace\":\"2h\",\"slots\":[{\"slot\":0,\"instance\":\"shop-web-0-d1\"," \
	"\"machine\":\"m1\"}]}]}"
#define OLD                                                                                       \
	"{\"id\":\"shop-web-0-d0\",\"namespace\":\"shop\",\"service\":\"web\",\"deploy\":\"d0\"," \
	"\"state\":\"ready\"}"
#define PENDING_D0 \
	"{\"deploy\":\"d0\",\"namespace\":\"shop\",\"phase\":\"cleanup_pending\",\"sequence\":3}"
/* Nobody confirms, and the lease is renewed meanwhile. */
#define UNCONFIRMED    \
	"lease held\n" \
	"tick 20\n"    \
	"lease held\n" \
	"tick 11\n"    \
	"fails CLEANUP_PENDING has not confirmed\n"
#define PENDING                                                                                   \
	"{\"deploy\":\"d1\",\"namespace\":\"shop\",\"phase\":\"cleanup_pending\",\"sequence\":3," \
	"\"left\":[{\"instance\":\"shop-web-1-d0\",\"machine\":\"m2\"}]}"
#define ALWAYS \
	"{\"namespace\":\"shop\",\"services\":{\"web\":{\"image\":\"w:2\",\"pull\":\"always\"}}}"
#define HEAD_ALWAYS                                                                               \
	"{\"namespace\":\"shop\",\"revision\":3,\"deploy\":\"d1\",\"writer\":\"d1\",\"epoch\":2," \
	"\"generation\":1,\"services\":[{\"name\":\"web\",\"digest\":\"sha256:1\",\"slots\":[{"   \
	"\"slot\":0,\"instance\":\"shop-web-0-d1\",\"machine\":\"m1\",\"hash\":"                  \
	"\"b730661005ecbc743981adff9d47253dd49422f492811e59ce9f12cd44488c7a\"}]}]}"
#define INSTANCE(id, state)                                                                  \
	"{\"id\":\"" id                                                                      \
	"\",\"namespace\":\"shop\",\"service\":\"web\",\"deploy\":\"d2\",\"state\":\"" state \
	"\",\"address\":\"10.101.1.9\"}"
#define STATE(id, state) "{\"instance\":" INSTANCE(id, state) ",\"sequence\":7}"
#define APPLIED(n) "{\"applied\":{\"generation\":1,\"intent\":" #n ",\"facts\":99}}"

/* One line a line of the script. */
/* clang-format off */
static const struct {
	const char *what;
	struct script_options options;
	const char *script;
} rows[] = {
	/* --- lease, head */
	{ "a lease that is held refuses the deploy",
	  { .manifest = WEB, .head = HEAD },
	  "enter lease\n"
	  "> lease take\n"
	  "lease refused\n"
	  "= end\n"
	  "fails LEASE_HELD lease held\n"
	  "state record refused" },
	{ "a plan made from another state is refused, and the lease released",
	  { .manifest = WEB, .plan_seq = 2 },
	  "enter head\n"
	  "> read last PLOYZ_INTENT ployz.v1.intent.namespace.shop\n"
	  "read 4 " HEAD "\n"
	  "fails STALE namespace shop has changed\n"
	  "= release\n"
	  "> lease release\n"
	  "lease released\n"
	  "= end\n"
	  "state record refused" },
	{ "a store that does not answer is read again",
	  { .manifest = WEB },
	  "enter head\n"
	  "> read last\n"
	  "read! NO_QUORUM\n"
	  "notes repeating\n"
	  "tick 1\n"
	  "> read last\n"
	  "read 4 " HEAD "\n"
	  "= preview" },
	{ "and no longer than 10 s",
	  { .manifest = WEB },
	  "enter head\n"
	  "> read last\n"
	  "tick 11\n"
	  "read! NO_QUORUM\n"
	  "= release\n"
	  "fails NO_QUORUM no answer" },
	/* --- preview */
	{ "nothing to change ends without an append",
	  { .manifest = WEB, .head = HEAD },
	  "enter preview\n"
	  "> m1 placerd.plan\n"
	  "> m1 agentd.list\n"
	  "> m2 agentd.list\n"
	  "> read last PLOYZ_STATUS ployz.v1.status.deploy.shop.d1\n"
	  "read\n"
	  "< m1 list {}\n"
	  "< m2 list {}\n"
	  "< m1 plan {\"namespace\":\"shop\",\"head\":4,\"changes\":false}\n"
	  "state nothing yes\n"
	  "= release\n"
	  "> lease release\n"
	  ">\n"
	  "lease released\n"
	  "state record done" },
	{ "but not while a dead deploy's instances are left",
	  { .manifest = WEB, .head = HEAD },
	  "enter preview\n"
	  "> m1 placerd.plan\n"
	  "> m1 agentd.list\n"
	  "> m2 agentd.list\n"
	  "> read last\n"
	  "read\n"
	  "< m1 list {\"instances\":[" INSTANCE("shop-web-0-d0", "ready") "]}\n"
	  "< m2 list {}\n"
	  "< m1 plan {\"namespace\":\"shop\",\"head\":4,\"changes\":false}\n"
	  "= open" },
	{ "nor while the record of what is committed says unknown",
	  { .manifest = WEB, .head = HEAD },
	  "enter preview\n"
	  "read 3 {\"deploy\":\"d1\",\"namespace\":\"shop\",\"phase\":\"unknown\"}\n"
	  "< m1 list {}\n"
	  "< m2 list {}\n"
	  "< m1 plan {\"namespace\":\"shop\",\"head\":4,\"changes\":false}\n"
	  "= open" },
	{ "a machine view that is not live is an error, never nobody to ask",
	  { .manifest = WEB, .head = HEAD },
	  "members -\n"
	  "enter preview\n"
	  "> m1 placerd.plan\n"
	  "> read last\n"
	  ">\n"
	  "read\n"
	  "tick 9\n"
	  "= preview\n"
	  "tick 2\n"
	  "= release\n"
	  "fails NO_QUORUM machine view is not loaded" },
	{ "the machine view is compared with the store before a machine is asked",
	  { .manifest = WEB, .head = HEAD },
	  "members ?\n"
	  "enter preview\n"
	  "> m1 placerd.plan\n"
	  "> read last\n"
	  ">\n"
	  "read\n"
	  "tick 20\n"
	  "= preview\n"
	  "members m1 m2\n"
	  "tick 1\n"
	  "> m1 agentd.list\n"
	  "> m2 agentd.list\n"
	  "= preview" },
	{ "a plan that removes everything needs --yes",
	  { .manifest = WEB, .head = HEAD },
	  "enter preview\n"
	  "read\n"
	  "< m1 list {}\n"
	  "< m2 list {}\n"
	  "< m1 plan {\"namespace\":\"shop\",\"head\":4,\"changes\":true,\"removes_all\":true}\n"
	  "= open\n"
	  "> append\n"
	  "write done 5\n"
	  "< m1 list {}\n"
	  "< m2 list {}\n"
	  "< m1 plan {\"namespace\":\"shop\",\"head\":5,\"changes\":true,\"removes_all\":true}\n"
	  "fails REFUSED removes everything\n"
	  "= close" },
	/* --- open */
	{ "the opening entry is compare-and-set on the head that was read",
	  { .manifest = WEB, .head = HEAD },
	  "enter open\n"
	  "> append PLOYZ_INTENT ployz.v1.intent.namespace.shop 4\n"
	  ">\n"
	  "write done 5\n"
	  "state opened 5\n"
	  "= list" },
	{ "a deploy that is cancelled while its opening entry is on its way closes it",
	  { .manifest = WEB, .head = HEAD },
	  "enter open\n"
	  "> append PLOYZ_INTENT ployz.v1.intent.namespace.shop 4\n"
	  "cancel\n"
	  "= open\n"
	  "write done 5\n"
	  "= close\n"
	  "fails FAILED cancelled by boss\n"
	  "> append PLOYZ_INTENT ployz.v1.intent.namespace.shop 5" },
	{ "an earlier holder's late entry is read and opened over",
	  { .manifest = WEB, .head = HEAD },
	  "enter open\n"
	  "> append PLOYZ_INTENT ployz.v1.intent.namespace.shop 4\n"
	  "write conflict\n"
	  "> read last PLOYZ_INTENT\n"
	  "read 6 " HEAD "\n"
	  "> append PLOYZ_INTENT ployz.v1.intent.namespace.shop 6\n"
	  "write done 7\n"
	  "state opened 7" },
	{ "a head of a higher epoch: the lease's epoch is raised first",
	  { .manifest = WEB, .head = HEAD },
	  "lease held 2\n"
	  "enter open\n"
	  "> lease raise above 2\n"
	  ">\n"
	  "lease held 3\n"
	  "> append PLOYZ_INTENT ployz.v1.intent.namespace.shop 4" },
	{ "an opening that is not acknowledged fails, and nothing has changed",
	  { .manifest = WEB, .head = HEAD },
	  "enter open\n"
	  "> append\n"
	  "write unknown\n"
	  "= release\n"
	  "lease released\n"
	  "state record failed\n"
	  "state unknown no" },
	/* --- list */
	{ "every machine is listed with epoch and opening sequence",
	  { .manifest = WEB, .head = HEAD, .plan = REPLACE },
	  "enter list\n"
	  "> m1 agentd.list {\"namespace\":\"shop\",\"epoch\":3,\"deploy\":\"d2\",\"generation\":1,\"opened\":5}\n"
	  "> m2 agentd.list {\"namespace\":\"shop\",\"epoch\":3\n"
	  "< m1 list {\"epoch\":3}\n"
	  "= list\n"
	  "< m2 list {\"epoch\":3}\n"
	  "= plan" },
	{ "a machine that reports an epoch beyond all deploys is left out",
	  { .manifest = WEB, .head = HEAD, .plan = REPLACE },
	  "enter list\n"
	  "> m1 agentd.list\n"
	  "> m2 agentd.list\n"
	  "< m1 list {\"epoch\":9223372036854775807}\n"
	  "notes cannot fence machine m1: it reports epoch 9223372036854775807\n"
	  "< m2 list {\"epoch\":4294967299}\n"
	  "= list\n"
	  "> lease raise above 4294967299" },
	{ "a machine that remembers a higher epoch: raised, opened and listed again",
	  { .manifest = WEB, .head = HEAD, .plan = REPLACE },
	  "enter list\n"
	  "> m1 agentd.list\n"
	  "> m2 agentd.list\n"
	  "< m1 list {\"epoch\":9}\n"
	  "< m2 list {\"epoch\":3}\n"
	  "> lease raise above 9\n"
	  "lease held 10\n"
	  "> append PLOYZ_INTENT ployz.v1.intent.namespace.shop 5\n"
	  "write done 6\n"
	  "> m1 agentd.list {\"namespace\":\"shop\",\"epoch\":10\n"
	  "> m2 agentd.list\n"
	  "< m1 list {\"epoch\":10}\n"
	  "< m2 list {\"epoch\":10}\n"
	  "= plan\n"
	  "state opened 6" },
	{ "a machine with committed instances is asked for 10 s before it is left out",
	  { .manifest = WEB, .head = HEAD, .plan = REPLACE },
	  "enter list\n"
	  "< m2 list {}\n"
	  "! m1 list UNREACHABLE\n"
	  "= list\n"
	  "tick 1\n"
	  "> m1 agentd.list\n"
	  "> m1 agentd.list\n"
	  "tick 10\n"
	  "! m1 list UNREACHABLE gone\n"
	  "= plan\n"
	  "notes cannot fence machine m1: gone" },
	{ "also while the store, whose head it has to read, elects a leader",
	  { .manifest = WEB, .head = HEAD, .plan = REPLACE },
	  "enter list\n"
	  "< m2 list {}\n"
	  "! m1 list NO_QUORUM\n"
	  "= list\n"
	  "> m1 agentd.list\n"
	  "tick 1\n"
	  "> m2 agentd.list\n"
	  "> m1 agentd.list\n"
	  "< m1 list {}\n"
	  "= plan" },
	{ "a participant that was fenced ends the rollout",
	  { .manifest = WEB, .head = HEAD, .plan = REPLACE },
	  "enter list\n"
	  "! m1 list FENCED over\n"
	  "= end\n"
	  "state lost yes\n"
	  "state record failed" },
	/* --- sweep */
	{ "a candidate of a failed deploy is removed before the plan, without confirmations",
	  { .manifest = WEB, .head = HEAD, .plan = REPLACE },
	  "enter list\n"
	  "> m1 agentd.list\n"
	  "> m2 agentd.list\n"
	  "< m2 list {}\n"
	  "< m1 list {\"instances\":[{\"id\":\"shop-web-0-d0\",\"namespace\":\"shop\",\"service\":\"web\",\"deploy\":\"d0\",\"state\":\"ready\"}]}\n"
	  "> read last PLOYZ_STATUS ployz.v1.status.deploy.shop.d0\n"
	  "read 2 {\"deploy\":\"d0\",\"namespace\":\"shop\",\"phase\":\"failed\"}\n"
	  "> m1 agentd.remove\n"
	  ">\n"
	  "< m1 remove {}\n"
	  "= plan\n"
	  "state leftovers 0" },
	{ "an instance that an earlier head may have named is removed after the commit",
	  { .manifest = WEB, .head = HEAD, .plan = REPLACE },
	  "enter list\n"
	  "> m1 agentd.list\n"
	  "> m2 agentd.list\n"
	  "< m2 list {}\n"
	  "< m1 list {\"instances\":[{\"id\":\"shop-web-0-d0\",\"namespace\":\"shop\",\"service\":\"web\",\"deploy\":\"d0\",\"state\":\"ready\"}]}\n"
	  "> read last\n"
	  "read 2 " PENDING_D0 "\n"
	  "> m1 placerd.plan\n"
	  ">\n"
	  "= plan\n"
	  "state leftovers 1" },
	{ "what an earlier clean-up left on a machine that does not answer is not forgotten",
	  { .head = HEAD, .verb = "sweep" },
	  "enter preview\n"
	  "read 3 " PENDING "\n"
	  "< m1 list {}\n"
	  "! m2 list UNREACHABLE\n"
	  "= open\n"
	  "write done 5\n"
	  "> read last\n"
	  "< m1 list {}\n"
	  "tick 11\n"
	  "! m2 list UNREACHABLE gone\n"
	  "state leftovers 1\n"
	  "= confirm" },
	/* --- plan, lock */
	{ "a plan made from another entry than the opened one is not executed",
	  { .manifest = WEB, .head = HEAD, .plan = REPLACE },
	  "enter plan\n"
	  "> m1 placerd.plan\n"
	  "< m1 plan {\"namespace\":\"shop\",\"head\":4,\"changes\":true}\n"
	  "fails STALE placerd made it from entry 4\n"
	  "= close" },
	{ "locks are taken in machine order, one after the other",
	  { .manifest = WEB, .head = HEAD, .plan = REPLACE },
	  "enter lock\n"
	  "> m1 agentd.lock\n"
	  ">\n"
	  "< m1 lock {}\n"
	  "> m2 agentd.lock\n"
	  "< m2 lock {}\n"
	  "= prepare" },
	{ "a lock that is refused releases those that were taken",
	  { .manifest = WEB, .head = HEAD, .plan = REPLACE },
	  "enter lock\n"
	  "> m1 agentd.lock\n"
	  "< m1 lock {}\n"
	  "> m2 agentd.lock\n"
	  "! m2 lock REFUSED full\n"
	  "fails REFUSED full\n"
	  "> append\n"
	  "write done 6\n"
	  "> m1 agentd.unlock\n"
	  ">\n"
	  "< m1 unlock {}\n"
	  "= release" },
	{ "a kept instance that has ended: planned again",
	  { .manifest = WEB, .head = HEAD, .plan = KEEP_AND_START },
	  "enter lock\n"
	  "> m1 agentd.lock\n"
	  "< m1 lock {\"instances\":[" INSTANCE("shop-web-0-d1", "failed") "]}\n"
	  "notes planning again\n"
	  "> m1 placerd.plan\n"
	  "< m1 plan " REPLACE "\n"
	  "> m1 agentd.lock\n"
	  "< m1 lock {}\n"
	  "> m2 agentd.lock\n"
	  "< m2 lock {}\n"
	  "= prepare" },
	{ "a kept instance that still runs",
	  { .manifest = WEB, .head = HEAD, .plan = KEEP_AND_START },
	  "enter lock\n"
	  "< m1 lock {\"instances\":[" INSTANCE("shop-web-0-d1", "unready") "]}\n"
	  "< m2 lock {}\n"
	  "= prepare" },
	/* --- claim */
	{ "a host that is free is claimed and read back",
	  { .manifest = ROUTED, .plan = PLAN(ROW("web", "0", "start", "m1", "")) },
	  "enter claim\n"
	  "> read claims\n"
	  "read\n"
	  "> append PLOYZ_INTENT ployz.v1.intent.route.shop%2Etest 0\n"
	  "write done 8\n"
	  "> read claims\n"
	  "read 8 ployz.v1.intent.route.shop%2Etest {\"key\":\"shop.test\",\"namespace\":\"shop\",\"deploy\":\"d2\",\"epoch\":3,\"generation\":1} ;; 5 ployz.v1.intent.namespace.shop {\"namespace\":\"shop\",\"open\":{\"deploy\":\"d2\",\"epoch\":3}}\n"
	  "= prepare" },
	{ "a claim that another namespace holds refuses the deploy",
	  { .manifest = ROUTED, .plan = PLAN(ROW("web", "0", "start", "m1", "")) },
	  "enter claim\n"
	  "read 2 ployz.v1.intent.route.shop%2Etest {\"key\":\"shop.test\",\"namespace\":\"blog\",\"deploy\":\"b1\",\"epoch\":1} ;; 3 ployz.v1.intent.namespace.blog {\"namespace\":\"blog\",\"revision\":1,\"routes\":[{\"key\":\"shop.test/\",\"service\":\"web\",\"port\":\"http\",\"host\":\"shop.test\",\"path\":\"/\"}]}\n"
	  "fails REFUSED shop.test\n"
	  "= close" },
	{ "a claim whose own entry is not in the answer does not count",
	  { .manifest = ROUTED, .plan = PLAN(ROW("web", "0", "start", "m1", "")) },
	  "enter claim\n"
	  "> read claims\n"
	  "read\n"
	  "> append\n"
	  "write done 8\n"
	  "> read claims\n"
	  "read\n"
	  "tick 1\n"
	  "> read claims\n"
	  "= claim" },
	/* --- prepare, start */
	{ "an image is fetched once for each machine",
	  { .manifest = WEB, .head = HEAD, .plan = REPLACE },
	  "enter prepare\n"
	  "> m1 agentd.prepare\n"
	  "> m2 agentd.prepare\n"
	  ">\n"
	  "< m1 prepare {\"state\":\"ready\",\"digest\":\"sha256:2\"}\n"
	  "< m2 prepare {\"state\":\"failed\",\"reason\":\"no space\"}\n"
	  "fails FAILED no space\n"
	  "= close" },
	{ "an instance that has ended is replaced though its image has not changed",
	  { .manifest = ALWAYS, .head = HEAD_ALWAYS, .plan = STOP_FIRST },
	  "enter lock\n"
	  "< m1 lock {\"instances\":[" INSTANCE("shop-web-0-d1", "failed") "]}\n"
	  "= prepare\n"
	  "> m1 agentd.prepare\n"
	  "< m1 prepare {\"state\":\"ready\",\"digest\":\"sha256:1\"}\n"
	  "= start" },
	{ "one that runs is kept then",
	  { .manifest = ALWAYS, .head = HEAD_ALWAYS, .plan = STOP_FIRST },
	  "enter lock\n"
	  "< m1 lock {\"instances\":[" INSTANCE("shop-web-0-d1", "unready") "]}\n"
	  "< m1 prepare {\"state\":\"ready\",\"digest\":\"sha256:1\"}\n"
	  "= manifest" },
	{ "a candidate is ready once its fact is stored",
	  { .manifest = WEB, .head = HEAD, .plan = KEEP_AND_START },
	  "enter start\n"
	  "> m2 agentd.start\n"
	  "< m2 start {\"instance\":" INSTANCE("shop-web-1-d2", "ready") "}\n"
	  "= start\n"
	  "tick 1\n"
	  "> m2 agentd.start\n"
	  "< m2 start " STATE("shop-web-1-d2", "ready") "\n"
	  "= manifest" },
	{ "a candidate that was removed from outside fails the deploy",
	  { .manifest = WEB, .head = HEAD, .plan = KEEP_AND_START },
	  "enter start\n"
	  "> m2 agentd.start\n"
	  "< m2 start {\"instance\":" INSTANCE("shop-web-1-d2", "gone") "}\n"
	  "fails FAILED stopped or removed it\n"
	  "= abort\n"
	  "> m2 agentd.remove" },
	{ "progress of an agent makes the rollout repeat its request at once",
	  { .manifest = WEB, .head = HEAD, .plan = KEEP_AND_START },
	  "enter start\n"
	  "> m2 agentd.start\n"
	  "< m2 start {\"instance\":" INSTANCE("shop-web-1-d2", "starting") "}\n"
	  ">\n"
	  "progress shop-web-1-d2 starting\n"
	  ">\n"
	  "progress shop-web-1-d2 ready\n"
	  "> m2 agentd.start" },
	{ "an agent without an answer for 25 s fails the deploy",
	  { .manifest = WEB, .head = HEAD, .plan = KEEP_AND_START },
	  "enter start\n"
	  "> m2 agentd.start\n"
	  "! m2 start TIMEOUT\n"
	  "= start\n"
	  "tick 1\n"
	  "> m2 agentd.start\n"
	  "lease held\n"
	  "tick 22\n"
	  "! m2 start TIMEOUT\n"
	  "= start\n"
	  "tick 3\n"
	  "! m2 start TIMEOUT away\n"
	  "fails TIMEOUT away\n"
	  "= abort" },
	{ "pre_deploy runs after its dependency is ready and before its candidate",
	  { .manifest = PRE, .plan = PLAN(ROW("db", "0", "start", "m1", "") "," ROW("web", "0", "start", "m1", "")) },
	  "enter start\n"
	  "> m1 agentd.start\n"
	  ">\n"
	  "< m1 start " STATE("shop-db-0-d2", "ready") "\n"
	  "> m1 agentd.run\n"
	  ">\n"
	  "< m1 run {\"state\":\"running\"}\n"
	  ">\n"
	  "tick 1\n"
	  "> m1 agentd.run\n"
	  "< m1 run {\"state\":\"done\"}\n"
	  "> m1 agentd.start\n"
	  ">" },
	{ "stop-first: drain, wait for connections, stop, start",
	  { .manifest = WEB, .head = HEAD, .plan = STOP_FIRST },
	  "enter start\n"
	  "> m1 agentd.drain\n"
	  ">\n"
	  "< m1 drain " STATE("shop-web-0-d1", "draining") "\n"
	  "> m1 routed.drained {\"instances\":[\"shop-web-0-d1\"],\"wanted\":{\"generation\":1,\"intent\":5,\"facts\":7},\"wait_ms\":2000}\n"
	  "> m2 routed.drained\n"
	  ">\n"
	  "< m1 drained {}\n"
	  ">\n"
	  "< m2 drained {}\n"
	  "> m1 agentd.stop\n"
	  "< m1 stop " STATE("shop-web-0-d1", "stopped") "\n"
	  "> m1 agentd.start\n"
	  ">\n"
	  "< m1 start " STATE("shop-web-0-d2", "failed") "\n"
	  "= abort\n"
	  "> m1 agentd.remove\n"
	  "< m1 remove {}\n"
	  "> m1 agentd.resume\n"
	  "< m1 resume " STATE("shop-web-0-d1", "unready") "\n"
	  "= resume\n"
	  "tick 1\n"
	  "> m1 agentd.resume\n"
	  "< m1 resume " STATE("shop-web-0-d1", "ready") "\n"
	  "= close" },
	{ "an old instance that does not stop ends the deploy",
	  { .manifest = WEB, .head = HEAD, .plan = STOP_FIRST },
	  "enter start\n"
	  "< m1 drain " STATE("shop-web-0-d1", "draining") "\n"
	  "< m1 drained {}\n"
	  "< m2 drained {}\n"
	  "> m1 agentd.stop\n"
	  "< m1 stop " STATE("shop-web-0-d1", "draining") "\n"
	  "lease held\n"
	  "tick 20\n"
	  "< m1 stop " STATE("shop-web-0-d1", "draining") "\n"
	  "lease held\n"
	  "tick 20\n"
	  "< m1 stop " STATE("shop-web-0-d1", "draining") "\n"
	  "fails FAILED it is not stopped after" },
	{ "one whose draining nobody can learn, too",
	  { .manifest = WEB, .head = HEAD, .plan = STOP_FIRST },
	  "enter start\n"
	  "< m1 drain {\"instance\":" INSTANCE("shop-web-0-d1", "draining") "}\n"
	  "tick 20\n"
	  "< m1 drain {\"instance\":" INSTANCE("shop-web-0-d1", "draining") "}\n"
	  "= start\n"
	  "lease held\n"
	  "tick 6\n"
	  "< m1 drain {\"instance\":" INSTANCE("shop-web-0-d1", "draining") "}\n"
	  "fails FAILED it is not known as draining after\n"
	  "= resume" },
	{ "a grace of hours is waited for piece by piece",
	  { .manifest = WEB, .head = HEAD_LONG, .plan = STOP_FIRST },
	  "enter start\n"
	  "> m1 agentd.drain\n"
	  "< m1 drain " STATE("shop-web-0-d1", "draining") "\n"
	  "> m1 routed.drained {\"instances\":[\"shop-web-0-d1\"],\"wanted\":{\"generation\":1,\"intent\":5,\"facts\":7},\"wait_ms\":30000}\n"
	  "> m2 routed.drained\n"
	  "< m2 drained {}\n"
	  "< m1 drained {\"connections\":2}\n"
	  ">\n"
	  "tick 1\n"
	  "> m1 routed.drained\n"
	  "< m1 drained {}\n"
	  "> m1 agentd.stop" },
	/* --- manifest, query, commit */
	{ "the release is appended after the namespace's last one",
	  { .manifest = WEB, .head = HEAD, .plan = KEEP_AND_START },
	  "enter manifest\n"
	  "> read last PLOYZ_MANIFESTS ployz.v1.manifest.shop\n"
	  "read 9 {\"namespace\":\"shop\",\"number\":4,\"hash\":\"x\",\"manifest\":" WEB "}\n"
	  "> append PLOYZ_MANIFESTS ployz.v1.manifest.shop 9 {\"namespace\":\"shop\",\"revision\":4,\"number\":5\n"
	  "write done 10\n"
	  "state release 10\n"
	  "= query" },
	{ "an earlier holder's release that arrives late does not fail the deploy",
	  { .manifest = WEB, .head = HEAD, .plan = KEEP_AND_START },
	  "enter manifest\n"
	  "> read last\n"
	  "read 9 {\"namespace\":\"shop\",\"number\":4,\"hash\":\"x\",\"manifest\":" WEB "}\n"
	  "> append PLOYZ_MANIFESTS ployz.v1.manifest.shop 9\n"
	  "write conflict\n"
	  "> read last PLOYZ_MANIFESTS ployz.v1.manifest.shop\n"
	  "read 10 {\"namespace\":\"shop\",\"number\":5,\"hash\":\"y\",\"manifest\":" WEB "}\n"
	  "> append PLOYZ_MANIFESTS ployz.v1.manifest.shop 10 {\"namespace\":\"shop\",\"revision\":4,\"number\":6\n"
	  "write done 11\n"
	  "state release 11" },
	{ "the committed release is appended again before it would be dropped",
	  { .manifest = WEB, .head = HEAD, .plan = KEEP_AND_START },
	  "enter manifest\n"
	  "> read last\n"
	  "read 70 {\"namespace\":\"shop\",\"number\":52,\"hash\":\"x\",\"manifest\":" WEB "}\n"
	  "> read at PLOYZ_MANIFESTS 9\n"
	  "read 9 {\"namespace\":\"shop\",\"number\":4,\"hash\":\"old\",\"manifest\":" WEB "}\n"
	  "> append PLOYZ_MANIFESTS ployz.v1.manifest.shop 70\n"
	  "write done 71\n"
	  "> append PLOYZ_MANIFESTS ployz.v1.manifest.shop 71\n"
	  "write done 72\n"
	  "state release 72" },
	{ "the last query finds a candidate that has ended",
	  { .manifest = WEB, .head = HEAD, .plan = KEEP_AND_START },
	  "enter lock\n"
	  "< m1 lock {\"instances\":[" INSTANCE("shop-web-0-d1", "ready") "]}\n"
	  "< m2 lock {}\n"
	  "> m1 agentd.lock\n"
	  "> m2 agentd.lock\n"
	  "enter query\n"
	  "> m2 agentd.probe\n"
	  "< m2 probe {\"instances\":[{\"instance\":{\"id\":\"shop-web-1-d2\",\"namespace\":\"shop\",\"service\":\"web\",\"state\":\"failed\",\"reason\":\"exit 3\"},\"sequence\":8}]}\n"
	  "fails FAILED exit 3\n"
	  "= close" },
	{ "and waits for an unready candidate within its limit",
	  { .manifest = WEB, .head = HEAD, .plan = KEEP_AND_START },
	  "enter lock\n"
	  "< m1 lock {\"instances\":[" INSTANCE("shop-web-0-d1", "ready") "]}\n"
	  "< m2 lock {}\n"
	  "enter start\n"
	  "< m2 start " STATE("shop-web-1-d2", "ready") "\n"
	  "enter query\n"
	  "< m2 probe {\"instances\":[" STATE("shop-web-1-d2", "unready") "]}\n"
	  "= query\n"
	  "tick 1\n"
	  "> m2 agentd.probe\n"
	  "> m2 agentd.probe\n"
	  "< m2 probe {\"instances\":[" STATE("shop-web-1-d2", "ready") "]}\n"
	  "= commit" },
	{ "a lock that was not renewed within its term forbids the commit",
	  { .manifest = WEB, .head = HEAD, .plan = KEEP_AND_START },
	  "enter lock\n"
	  "< m1 lock {\"instances\":[" INSTANCE("shop-web-0-d1", "ready") "]}\n"
	  "< m2 lock {}\n"
	  "tick 20\n"
	  "lease held\n"
	  "tick 6\n"
	  "enter query\n"
	  "! m1 lock TIMEOUT\n"
	  "< m2 probe {\"instances\":[" STATE("shop-web-1-d2", "ready") "]}\n"
	  "fails FAILED has not confirmed its lock" },
	{ "a last query of what is ready without its fact ends",
	  { .manifest = WEB, .head = HEAD, .plan = KEEP_AND_START },
	  "enter start\n"
	  "< m2 start " STATE("shop-web-1-d2", "ready") "\n"
	  "enter query\n"
	  "< m2 probe {\"instances\":[{\"instance\":" INSTANCE("shop-web-1-d2", "ready") "}]}\n"
	  "lease held\n"
	  "tick 25\n"
	  "lease held\n"
	  "tick 25\n"
	  "lease held\n"
	  "tick 25\n"
	  "< m2 probe {\"instances\":[{\"instance\":" INSTANCE("shop-web-1-d2", "ready") "}]}\n"
	  "fails FAILED is not stored" },
	{ "the commit is compare-and-set on the opening entry",
	  { .manifest = WEB, .head = HEAD, .plan = KEEP_AND_START },
	  "enter commit\n"
	  "> append PLOYZ_INTENT ployz.v1.intent.namespace.shop 5 {\"namespace\":\"shop\",\"revision\":4\n"
	  "write done 6\n"
	  "state committed yes\n"
	  "= confirm" },
	{ "a commit without an answer is unknown, never failed",
	  { .manifest = WEB, .head = HEAD, .plan = KEEP_AND_START },
	  "enter commit\n"
	  "> append\n"
	  "write unknown\n"
	  "= end\n"
	  "state unknown yes\n"
	  "state record unknown\n"
	  ">" },
	{ "also when the lease is lost before its answer",
	  { .manifest = WEB, .head = HEAD, .plan = KEEP_AND_START },
	  "enter commit\n"
	  "> append\n"
	  "lease lost\n"
	  "= end\n"
	  "state unknown yes\n"
	  "state record unknown" },
	{ "a commit that was refused is failed, and undone",
	  { .manifest = WEB, .head = HEAD, .plan = KEEP_AND_START },
	  "enter commit\n"
	  "write refused\n"
	  "= close\n"
	  "state committed no" },
	{ "a commit that another holder has opened over is committed, and its clean-up pending",
	  { .manifest = WEB, .head = HEAD, .plan = REPLACE },
	  "enter commit\n"
	  "write superseded 6\n"
	  "= end\n"
	  "state committed yes\n"
	  "state record cleanup_pending\n"
	  "state left 2" },
	{ "a cancelled deploy fails before the commit",
	  { .manifest = WEB, .head = HEAD, .plan = KEEP_AND_START },
	  "enter start\n"
	  "> m2 agentd.start\n"
	  "cancel\n"
	  "fails FAILED cancelled by boss\n"
	  "= abort\n"
	  "> m2 agentd.remove" },
	/* --- confirm, clean */
	{ "nothing is removed before every gateway and resolver has the commit",
	  { .manifest = WEB, .head = HEAD, .plan = REPLACE },
	  "enter commit\n"
	  "> append\n"
	  "write done 6\n"
	  "> m1 routed.applied\n"
	  "> m1 dnsd.applied\n"
	  "> m2 routed.applied\n"
	  "> m2 dnsd.applied\n"
	  ">\n"
	  "< m1 applied " APPLIED(6) "\n"
	  "< m1 applied " APPLIED(6) "\n"
	  "< m2 applied " APPLIED(5) "\n"
	  ">\n"
	  "< m2 applied " APPLIED(6) "\n"
	  "= confirm\n"
	  "tick 1\n"
	  "> m2\n"
	  "< m2 applied " APPLIED(6) "\n"
	  "= clean\n"
	  "> m1 routed.drained\n"
	  "> m2 routed.drained\n"
	  ">\n"
	  "< m1 drained {}\n"
	  "< m2 drained {}\n"
	  "> m1 agentd.remove\n"
	  "> m2 agentd.remove\n"
	  "< m1 remove {}\n"
	  "< m2 remove {}\n"
	  "= release" },
	{ "a missing confirmation leaves the clean-up pending and the instances recorded",
	  { .manifest = WEB, .head = HEAD, .plan = REPLACE },
	  "enter commit\n"
	  "write done 6\n"
	  "< m1 applied " APPLIED(6) "\n"
	  "< m1 applied " APPLIED(6) "\n"
	  "< m2 applied " APPLIED(6) "\n"
	  UNCONFIRMED
	  "= release\n"
	  "lease released\n"
	  "state record cleanup_pending\n"
	  "state left 2" },
	{ "a sweep without a confirmation leaves the pending clean-up to the deploy that committed",
	  { .head = HEAD, .verb = "sweep" },
	  "enter preview\n"
	  "read 3 " PENDING "\n"
	  "< m1 list {\"instances\":[" OLD "]}\n"
	  "< m2 list {}\n"
	  "= open\n"
	  "write done 5\n"
	  "< m1 list {\"instances\":[" OLD "]}\n"
	  "< m2 list {}\n"
	  "read 2 " PENDING_D0 "\n"
	  "= confirm\n"
	  UNCONFIRMED
	  "= close\n"
	  "write done 6\n"
	  "lease released\n"
	  "state record failed\n"
	  "state left 1" },
	{ "so does a deploy that has nothing to commit, which is done",
	  { .manifest = WEB, .head = HEAD },
	  "enter preview\n"
	  "read 3 " PENDING "\n"
	  "< m1 list {\"instances\":[" OLD "]}\n"
	  "< m2 list {}\n"
	  "< m1 plan {\"namespace\":\"shop\",\"head\":4,\"changes\":false}\n"
	  "= open\n"
	  "write done 5\n"
	  "< m1 list {\"instances\":[" OLD "]}\n"
	  "< m2 list {}\n"
	  "read 2 " PENDING_D0 "\n"
	  "= plan\n"
	  "< m1 plan {\"namespace\":\"shop\",\"head\":5,\"changes\":false}\n"
	  "= confirm\n"
	  UNCONFIRMED
	  "= close\n"
	  "write done 6\n"
	  "lease released\n"
	  "state record done\n"
	  "state left 1" },
	{ "an item that is held back is not confirmed",
	  { .manifest = WEB, .head = HEAD, .plan = REPLACE },
	  "enter commit\n"
	  "write done 6\n"
	  "< m1 applied {\"applied\":{\"generation\":1,\"intent\":6,\"facts\":99},\"held\":\"the head\"}\n"
	  "< m1 applied " APPLIED(6) "\n"
	  "< m2 applied " APPLIED(6) "\n"
	  "< m2 applied " APPLIED(6) "\n"
	  "= confirm" },
	{ "a watermark of another generation is not confirmed",
	  { .manifest = WEB, .head = HEAD, .plan = REPLACE },
	  "enter commit\n"
	  "write done 6\n"
	  "< m1 applied {\"applied\":{\"generation\":2,\"intent\":99,\"facts\":99}}\n"
	  "< m1 applied " APPLIED(6) "\n"
	  "< m2 applied " APPLIED(6) "\n"
	  "< m2 applied " APPLIED(6) "\n"
	  "= confirm" },
	{ "a machine that joined since the plan confirms too",
	  { .manifest = WEB, .head = HEAD, .plan = REPLACE },
	  "enter commit\n"
	  "> append\n"
	  "members m1 m2 m3\n"
	  "write done 6\n"
	  "> m3 routed.applied\n"
	  "> m3 dnsd.applied" },
	{ "a machine view that is not live: nothing is removed",
	  { .manifest = WEB, .head = HEAD, .plan = REPLACE },
	  "enter commit\n"
	  "> append\n"
	  "members -\n"
	  "write done 6\n"
	  ">\n"
	  "tick 9\n"
	  "= confirm\n"
	  "tick 3\n"
	  "= release\n"
	  "fails CLEANUP_PENDING machine view is not live" },
	{ "routes that a gateway cannot serve are in the record",
	  { .manifest = WEB, .head = HEAD, .plan = KEEP_AND_START },
	  "enter commit\n"
	  "write done 6\n"
	  "< m1 applied {\"applied\":{\"generation\":1,\"intent\":6,\"facts\":9},\"unserved\":[\"tcp/80: taken\"]}\n"
	  "state unserved tcp/80: taken (machine m1)" },
	{ "a stop-first update continues when the store has elected a leader",
	  { .manifest = WEB, .head = HEAD, .plan = STOP_FIRST },
	  "enter start\n"
	  "> m1 agentd.drain\n"
	  "! m1 drain NO_QUORUM\n"
	  "= start\n"
	  "tick 1\n"
	  "> m1 agentd.drain" },
	{ "what a holder that died after its commit left where no answer comes is not called clean",
	  { .head = HEAD, .verb = "sweep" },
	  "enter preview\n"
	  "read 3 {\"deploy\":\"d1\",\"namespace\":\"shop\",\"phase\":\"cleaning\",\"sequence\":4}\n"
	  "< m1 list {}\n"
	  "! m2 list UNREACHABLE\n"
	  "= open\n"
	  "write done 5\n"
	  "< m1 list {}\n"
	  "tick 11\n"
	  "! m2 list UNREACHABLE gone\n"
	  "> append\n"
	  "write done 6\n"
	  "lease released\n"
	  "state record failed" },
	{ "a machine whose engine does not answer has not said what is left on it",
	  { .head = HEAD, .verb = "sweep" },
	  "enter preview\n"
	  "read 3 " PENDING "\n"
	  "< m1 list {}\n"
	  "< m2 list {\"engine\":false,\"engine_error\":\"no answer yet\"}\n"
	  "= open\n"
	  "write done 5\n"
	  "< m1 list {}\n"
	  "< m2 list {\"engine\":false,\"engine_error\":\"no answer yet\"}\n"
	  "state leftovers 1\n"
	  "= confirm" },
	{ "a lost lease after the commit undoes nothing",
	  { .manifest = WEB, .head = HEAD, .plan = REPLACE },
	  "enter commit\n"
	  "> append\n"
	  "write done 6\n"
	  "lease lost\n"
	  "= end\n"
	  "state record cleanup_pending\n"
	  "state left 2" },
	{ "a lease that is lost before it is released is not released",
	  { .manifest = WEB, .head = HEAD },
	  "lease lost\n"
	  "enter release\n"
	  ">\n"
	  "= end" },
	{ "a lost lease before the commit stops at once",
	  { .manifest = WEB, .head = HEAD, .plan = REPLACE },
	  "enter start\n"
	  "> m1 agentd.start\n"
	  "> m2 agentd.start\n"
	  "lease lost\n"
	  "= end\n"
	  ">\n"
	  "state record failed" },
	{ "so does a lease whose term is over without a report",
	  { .manifest = WEB, .head = HEAD, .plan = REPLACE },
	  "enter start\n"
	  "tick 28\n"
	  "= end\n"
	  "fails LEASE_LOST not renewed within its term" },
};
/* clang-format on */

int main(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char *problem = script_run(&rows[i].options, rows[i].script);

		ok(!problem, "%s", rows[i].what);
		if (problem)
			tap_show("problem", problem);
		free(problem);
	}
	return tap_done();
}
