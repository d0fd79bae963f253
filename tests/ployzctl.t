#!/bin/sh
# ployzctl's verbs against two real nats-servers with the real streams; the daemons' answers are written by this test.
. tests/lib/tap.sh
. tests/lib/fixture.sh
. tests/lib/bus.sh

bus=$BUILD/tool/bus
answers=$work/answers requests=$work/requests

ctl() {
	ployzctl --bus "$bus_url" --machine m1 "$@"
}

# answer VERB JSON: what machine m1 answers to requests of DAEMON.VERB from now on; they are kept in $requests/VERB.
answer() {
	printf '%s' "$2" >"$answers/$1"
	[ ! -e "$requests/$1" ] || return 0
	start "$requests/$1" "$bus" "$bus_url" answer "ployz.v1.m1.$1" "$answers/$1"
	within 5 asked "$1"
	: >"$requests/$1"
}

# The subscription is there when a request is answered.
asked() {
	"$bus" "$bus_url" request "ployz.v1.m1.$1" '{}' 1
}

refuse() {
	answer "$1" "{\"error\":{\"code\":\"$2\",\"message\":\"$3\",\"hint\":\"$4\"}}"
}

# append SUBJECT JSON: prints its sequence.
append() {
	"$bus" "$bus_url" append "$1" "$2" any
}

# record NAMESPACE DEPLOY PHASE [MORE]: the JSON of a deploy record.
record() {
	printf '{"deploy":"%s","namespace":"%s","machine":"m1","phase":"%s"%s}' "$2" "$1" "$3" "${4-}"
}

status_record() {
	append "ployz.v1.status.deploy.$1.$2" "$(record "$@")" >"$work/out"
}

# submitted VERB: the id of the deploy that was submitted to leased.VERB, once it was.
submitted() {
	sed -n 's/.*"deploy":"\([a-z2-7]*\)".*/\1/p' "$requests/leased.$1" | tail -n 1
}
is_submitted() {
	[ -n "$(submitted "$1")" ]
}

# ends DEPLOY RECORD: its leased reports its end.
ends() {
	"$bus" "$bus_url" publish "ployz.v1.progress.$1" "{\"kind\":\"end\",\"record\":$2}"
}

# in_background VERB COMMAND…: a verb that submits to leased.VERB; sets $id and $pid.
in_background() {
	verb=$1
	shift
	: >"$requests/leased.$verb"
	start "$work/background" ployzctl --bus "$bus_url" --machine m1 "$@"
	pid=$started
	within 10 is_submitted "$verb"
	id=$(submitted "$verb")
	isnt "$id" '' "$1: submitted"
}

# ended CODE NAME: the exit code of the one in the background; its output in $out.
ended() {
	wait "$pid"
	code=$?
	out=$(cat "$work/background") err='' ran='in the background'
	exits "$1" "$2"
}

mkdir -p "$answers" "$requests"
bus_start && streams_make && mirrors_make || bail 'no bus'

# --- records: two revisions of a namespace, each with its release
append ployz.v1.intent.member.m1 '{"id":"m1","name":"box","life_cycle":"active","subnet":"10.101.1.0/24"}' >"$work/out"
append ployz.v1.intent.member.m2 '{"id":"m2","name":"gone","life_cycle":"removed"}' >"$work/out"
append ployz.v1.facts.m1 '{"machine":"m1","version":"1.2.3","arch":"x86_64","cpus":2}' >"$work/out"

# release REVISION IMAGE DIGEST MORE
release() {
	append ployz.v1.manifest.shop "{\"namespace\":\"shop\",\"revision\":$1,\"number\":$1,\"deploy\":\"d$1\",\"hash\":\"h$1\",\"nonce\":\"n$1\",\"digests\":{\"web\":\"sha256:$3\"},\"manifest\":{\"namespace\":\"shop\",\"services\":{\"web\":{\"image\":\"$2\"$4}}}}"
}
# head_of REVISION RELEASE MORE
head_of() {
	append ployz.v1.intent.namespace.shop "{\"namespace\":\"shop\",\"revision\":$1,\"deploy\":\"d$1\",\"verb\":\"deploy\",\"operator\":\"ada\",\"from\":\"m1\",\"release\":$2,\"nonce\":\"n$1\",\"services\":[{\"name\":\"web\",\"digest\":\"sha256:x\",\"slots\":[{\"slot\":0,\"instance\":\"shop-web-0-d$1\",\"machine\":\"m1\",\"address\":\"10.101.1.2\"}]}],\"routes\":[{\"key\":\"shop.test/\",\"service\":\"web\",\"port\":\"http\",\"host\":\"shop.test\",\"path\":\"/\"}],\"volumes\":[{\"name\":\"data\",\"machine\":\"m1\",\"driver\":\"dir\",\"generation\":1}]$3}"
}
facts_of() {
	append ployz.v1.facts.m1.shop "{\"machine\":\"m1\",\"namespace\":\"shop\",\"instances\":[{\"id\":\"shop-web-0-d2\",\"namespace\":\"shop\",\"service\":\"web\",\"slot\":0,\"state\":\"$1\",\"address\":\"10.101.1.2\"}]}" >"$work/out"
}
first=$(release 1 shop:1 111111111111aaaa ',"env":{"A":"old"}')
head_of 1 "$first" >"$work/out"
second=$(release 2 shop:2 222222222222bbbb ',"replicas":2')
last=$(head_of 2 "$second" ',"why":"newer"')
facts_of ready
append ployz.v1.facts.m2.shop '{"machine":"m2","namespace":"shop","instances":[{"id":"shop-web-1-d1","namespace":"shop","service":"web","slot":1,"state":"ready"}]}' >"$work/out"

run ctl ns ls
exits 0 'ns ls'
like "$out" '^shop +2 +1 +1 +ada' 'has the revision, services and slots'
run ctl ns show shop
exits 0 'ns show'
like "$out" '^route +shop\.test/ to web$' 'has the routes'
like "$out" '^volume +data on machine m1 \(dir, generation 1\)$' 'and the volumes'
like "$out" '^web +0 +m1 +ready +10\.101\.1\.2 +shop:2 ' 'and the image of its release'
run ctl --json ns show shop
like "$out" "\"release\":$second" 'in JSON, the head with the sequence of its release'
run ctl ns show nobody
exits 1 'ns show of a namespace that does not exist'
is "$err" 'ployzctl: cannot find namespace nobody: the log has no entry of it; run `ployzctl ns ls`' 'what, why and the next step'
run ctl ns history shop
exits 0 'ns history'
is "$(printf '%s\n' "$out" | grep -c .)" 3 'two revisions'

# --- diff
run ctl diff shop 1
exits 1 'two revisions differ'
is "$out" 'namespace shop: revision 1 (deploy d1) to revision 2 (deploy d2)
~ services.web
    ~ image: shop:1 to shop:2
    ~ replicas: 1 to 2
    ~ digest: sha256:111111111111 to sha256:222222222222
    - env.A: old' 'field by field, digests too'
run ctl diff shop 2 1
like "$out" '~ image: shop:2 to shop:1' 'the other way round'
run ctl diff shop 2
exits 0 'the current one and itself'
run ctl --json diff shop 1
like "$out" '^\{"namespace":"shop","part":"services\.web","field":"image","from":"shop:1","to":"shop:2"\}$' 'in JSON, a line for each'
run ctl diff shop 7
exits 1 'a revision that does not exist'
like "$err" 'cannot find revision 7 of namespace shop: revisions 1 to 2 are kept; run `ployzctl ns history shop`' 'says which are kept'
run ctl diff shop one
exits 2 'a revision that is no number'
run ctl diff shop
exits 2 'no revision'

# --- rollback
refuse leased.rollback LEASE_HELD 'held by eve' 'wait'
answer placerd.plan "{\"ok\":{\"namespace\":\"shop\",\"sequence\":$last,\"revision\":2,\"changes\":true,\"slots\":[{\"service\":\"web\",\"slot\":0,\"action\":\"replace\",\"machine\":\"m1\",\"why\":\"image\"}]}}"
run ctl rollback shop
exits 4 'a rollback while the lease is held'
is "$(printf '%s\n' "$err" | tail -n 1)" 'ployzctl: held by eve; wait' 'says who holds it'
like "$err" '^namespace shop: back to revision 1, deployed by d1$' 'it goes to the revision before'
like "$err" '~ 0 replace on m1: image' 'it shows the plan'
like "$(cat "$requests/placerd.plan")" '"image":"shop:1"' 'made of the stored manifest'
like "$(cat "$requests/placerd.plan")" '"digests":\{"web":"sha256:111111111111aaaa"\}' 'with the images that it ran'
like "$(cat "$requests/leased.rollback")" "\"namespace\":\"shop\",.*\"plan_seq\":$last,\"to\":1" 'leased gets the revision and the plan'"'"'s sequence'
unlike "$(cat "$requests/leased.rollback")" '"manifest"' 'and no manifest'
run ctl rollback shop --to 9
exits 1 'to a revision that does not exist'
run ctl rollback nobody
exits 1 'of a namespace that does not exist'
append ployz.v1.intent.namespace.blog '{"namespace":"blog","revision":4,"deploy":"b4","nonce":"n"}' >"$work/out"
run ctl rollback blog
exits 1 'where no earlier revision is kept'
like "$err" 'cannot find a revision of namespace blog before revision 4: none is kept' 'says so'
run ctl rollback blog --to 4
exits 1 'to a revision without services'
like "$err" 'cannot roll back namespace blog to revision 4: it has no services; run `ployzctl ns rm blog`' 'names the verb for that'
append ployz.v1.intent.namespace.blog '{"namespace":"blog","revision":5,"deploy":"b5","release":999,"nonce":"n"}' >"$work/out"
run ctl rollback blog --to 5
exits 1 'to a revision whose manifest was dropped'
like "$err" 'its manifest is not kept any more' 'says so'
answer placerd.plan "{\"ok\":{\"namespace\":\"shop\",\"sequence\":$last,\"revision\":2,\"changes\":true,\"removes_all\":true}}"
: >"$requests/leased.rollback"
run ctl rollback shop
exits 2 'a rollback that removes everything needs --yes'
is "$(cat "$requests/leased.rollback")" '' 'nothing was submitted'
answer placerd.plan "{\"ok\":{\"namespace\":\"shop\",\"sequence\":$last,\"revision\":2,\"changes\":true,\"refusals\":[{\"path\":\"services.web.image\",\"message\":\"no machine has it\",\"hint\":\"push it\"}]}}"
run ctl rollback shop --yes
exits 6 'a rollback that the plan refuses'
is "$(printf '%s\n' "$err" | tail -n 1)" 'ployzctl: cannot roll back namespace shop: services.web.image: no machine has it; push it' 'says why and what to do'

# --- how a deploy ends
answer placerd.plan "{\"ok\":{\"namespace\":\"shop\",\"sequence\":$last,\"revision\":2,\"changes\":true}}"
answer leased.deploy '{"ok":{"deploy":"x"}}'
printf 'namespace: shop\nservices: {web: {image: "shop:3"}}\n' >"$work/shop.yaml"
in_background deploy deploy -f "$work/shop.yaml"
ends "$id" "$(record shop "$id" done ',"revision":3,"sequence":20,"changed":true')"
ended 0 'done'
in_background deploy deploy -f "$work/shop.yaml"
ends "$id" "$(record shop "$id" done ',"revision":3,"sequence":20,"changed":true,"unserved":["shop.test/ on m1: port 80 is taken"]')"
ended 1 'done, but a route is not served'
like "$out" '^ployzctl: 1 route of namespace shop not served; run `ployzctl route ls`$' 'says so'
like "$out" '^  shop\.test/ on m1: port 80 is taken$' 'with the reason'
in_background deploy deploy -f "$work/shop.yaml"
ends "$id" "$(record shop "$id" cleanup_pending ',"revision":3,"left":[{"instance":"shop-web-0-d2","machine":"m1","reason":"no answer"}],"failure":{"code":"CLEANUP_PENDING","message":"m1 does not answer"}')"
ended 7 'committed, clean-up pending'
like "$out" '^  shop-web-0-d2 on machine m1: no answer$' 'names what is left'
like "$out" 'run `ployzctl deploy sweep shop`' 'and the next step'
in_background deploy deploy -f "$work/shop.yaml"
ends "$id" "$(record shop "$id" unknown ',"failure":{"code":"UNKNOWN","message":"the store did not answer"}')"
ended 9 'the commit was not acknowledged'
like "$out" "outcome unknown: the store did not answer; run .ployzctl deploy attach $id." 'names the next step'
in_background deploy --json deploy -f "$work/shop.yaml"
ends "$id" "$(record shop "$id" failed ',"failure":{"code":"FAILED","message":"because"}')"
ended 6 'failed before the commit'
like "$out" "^\\{\"deploy\":\"$id\".*\"phase\":\"failed\"" 'in JSON, the record'

# The end is missed: the record is polled.
refuse leased.attach NOT_FOUND 'cannot attach to deploy: no record' 'run it'
answer leased.deploy "{\"ok\":{\"deploy\":\"x\",\"record\":$(record shop x planning)}}"
run ctl deploy -f "$work/shop.yaml"
exits 6 'leased ended before it stored a record, and the log has no entry of the deploy'
like "$err" 'failed before the commit, nothing changed: leased of machine m1 ended; deploy again' 'nothing changed'

# --- attach
answer leased.attach "{\"ok\":{\"deploy\":\"dx\",\"record\":$(record shop dx unknown)}}"
start "$work/background" ployzctl --bus "$bus_url" --machine m1 deploy attach dx
pid=$started
within 10 grep -q 'waiting until leased resolves it' "$work/background"
answer leased.attach "{\"ok\":{\"deploy\":\"dx\",\"record\":$(record shop dx done ',"revision":3,"sequence":20,"changed":true')}}"
ended 0 'attach waits until an unknown outcome is resolved'
like "$out" 'committed revision 3' 'and reports it'
answer leased.attach "{\"ok\":{\"deploy\":\"dx\",\"record\":$(record shop dx failed ',"failure":{"code":"FAILED","message":"it did not commit"}')}}"
run ctl deploy attach dx
exits 6 'resolved: it did not commit'
run ctl deploy attach 'd.x'
exits 2 'what cannot be an id'

# --- cancel: the leased of the machine in the record is asked
status_record shop dc starting
answer leased.cancel "{\"ok\":{\"deploy\":\"dc\",\"record\":$(record shop dc starting)}}"
answer leased.attach "{\"ok\":{\"deploy\":\"dc\",\"record\":$(record shop dc failed ',"failure":{"code":"FAILED","message":"cancelled"}')}}"
run ctl deploy cancel dc
exits 0 'cancelled'
is "$out" 'deploy dc of namespace shop: cancelled, nothing changed' 'once it has ended without its commit'
like "$(cat "$requests/leased.cancel")" '"deploy":"dc","operator":"[^"]*","namespace":"shop"' 'leased gets the id and who'
answer leased.attach "{\"ok\":{\"deploy\":\"dc\",\"record\":$(record shop dc done ',"revision":3,"changed":true')}}"
run ctl deploy cancel dc
exits 1 'one that commits all the same'
like "$err" 'cannot cancel deploy dc of namespace shop: it has committed' 'says so'
refuse leased.cancel INVALID 'cannot cancel deploy dc: it has committed' 'run `ployzctl rollback`'
run ctl deploy cancel dc
exits 2 'one that has committed'
is "$err" 'ployzctl: cannot cancel deploy dc: it has committed; run `ployzctl rollback`' 'as leased says it'

# --- sweep
run ctl deploy sweep
exits 0 'nothing is pending'
is "$out" 'no clean-up is pending' 'says so'
status_record blog db1 cleanup_pending
status_record blog db2 done ',"supersedes":["db1"]'
status_record shop ds1 done
status_record shop ds2 cleanup_pending ',"left":[{"instance":"i","machine":"m1"}]'
status_record shop ds3 failed
answer leased.sweep '{"ok":{"deploy":"x"}}'
in_background sweep deploy sweep
like "$(cat "$requests/leased.sweep")" '"namespace":"shop","verb":"sweep"' 'the namespace whose clean-up is pending'
ends "$id" "$(record shop "$id" done ',"verb":"sweep","phases":[{"phase":"done","note":"cleaned"}]')"
ended 0 'is swept'
like "$out" 'sweep [a-z2-7]* of namespace shop: cleaned' 'and that is reported'
is "$(grep -c '"namespace":"blog"' "$requests/leased.sweep")" 0 'not the one that a later deploy has cleaned'
status_record wiki dw1 cleanup_pending
in_background sweep deploy sweep
first_id=$id
ends "$id" "$(record shop "$id" cleanup_pending ',"failure":{"code":"CLEANUP_PENDING","message":"m1 does not answer"}')"
another() {
	[ "$(submitted sweep)" != "$first_id" ]
}
within 10 another
ends "$(submitted sweep)" "$(record wiki "$(submitted sweep)" done ',"verb":"sweep"')"
ended 7 'of two namespaces one keeps its clean-up'
in_background sweep deploy sweep blog
like "$(cat "$requests/leased.sweep")" '"namespace":"blog"' 'a namespace that is named is swept whatever its records say'
ends "$id" "$(record blog "$id" done ',"verb":"sweep"')"
ended 0 'and ends'

# --- deploy ls, deploy show
run ctl deploy ls shop
exits 0 'deploy ls'
like "$out" '^ds2 +shop .*cleanup_pending' 'has the phases'
run ctl deploy show ds2
exits 0 'deploy show'
like "$out" '^left +i on machine m1$' 'has what is left'
like "$out" '^next +ployzctl deploy sweep shop$' 'and the next step'
run ctl deploy show dnone
exits 1 'deploy show of a deploy without a record'
like "$err" 'cannot show deploy dnone: there is no record of it; run `ployzctl deploy ls`' 'says so'

# --- store
usage='{"ok":{"generation":3,"streams":[{"stream":"PLOYZ_INTENT","bytes":"1M","max_bytes":"4M","messages":7,"last_sequence":9,"replicas":1}],"namespaces":[{"namespace":"shop","bytes":"12K","messages":5,"routes":1,"slots":1}]}}'
answer meshd.store.usage "$usage"
run ctl store usage
exits 0 'store usage'
like "$out" '^PLOYZ_INTENT +1\.0 MiB +4\.0 MiB +25 % +7 +9 +1$' 'has the streams'
like "$out" '^shop +12 KiB +5 +1 +1$' 'and the namespaces'
answer meshd.store.usage '{"ok":{"streams":[{"stream":"PLOYZ_FACTS","bytes":"9M","max_bytes":"10M","alarm":true}]}}'
run ctl store usage
exits 1 'a stream over 80 %'
like "$err" 'stream PLOYZ_FACTS at 80 % of its limit or more; run `ployzctl store compact`' 'says so'
answer meshd.store.compact '{"ok":{"bytes_before":"4M","bytes_after":"1M","messages_before":90,"messages_after":9}}'
run ctl store compact
exits 2 'compacting needs a confirmation'
is "$err" 'ployzctl: cannot drop entries of the store: it needs a confirmation, and standard input is no terminal; repeat the command with --yes' 'says so'
is "$(cat "$requests/meshd.store.compact")" '' 'nothing was requested'
run ctl store compact --yes --keep 5
exits 0 'store compact'
is "$out" 'store: 4.0 MiB in 90 messages before, 1.0 MiB in 9 now' 'has before and after'
like "$(cat "$requests/meshd.store.compact")" '"keep":5' 'keeps as many as were asked for'
run ctl store compact --yes --keep 0
exits 2 'keeping none'
answer meshd.store.accept '{"ok":{"generation":4}}'
run ctl store accept
exits 2 'accepting needs a confirmation'
run ctl store accept --yes --why 'disk replaced'
exits 0 'store accept'
is "$out" 'store accepted as generation 4' 'has the generation'
like "$(cat "$requests/meshd.store.accept")" '"why":"disk replaced"' 'meshd gets the reason'

# --- status, route ls
routes() {
	answer routed.routes "{\"ok\":{\"applied\":{\"generation\":1,\"intent\":1000,\"facts\":1000},\"routes\":[{\"key\":\"shop.test/\",\"kind\":\"http\",\"namespace\":\"shop\",\"service\":\"web\",\"servers\":[{\"instance\":\"shop-web-0-d2\",\"machine\":\"m1\",\"state\":\"ready\"}]$1}]}}"
}
routes ''
answer meshd.store.usage "$usage"
answer leased.lease.list '{"ok":{"leases":[]}}'
for daemon in meshd agentd placerd leased routed dnsd; do
	answer $daemon.status '{"ok":{"log":{"applied":{"generation":1,"intent":9,"facts":3}}}}'
done
status_record shop ds2 done
status_record wiki dw1 done
run ctl status
exits 0 'status, when nothing is wrong'
is "$(printf '%s\n' "$out" | tail -n 2)" 'PROBLEMS
  none' 'says so'
like "$out" '^  shop +12 KiB +5$' 'accounts the bytes of each namespace'
like "$out" '^  m1 +box +active .* 1\.2\.3 ' 'has the members with their facts'
like "$out" '^  m1 +dnsd .*applied generation 1, intent 9, facts 3' 'and how far each daemon is'
run ctl --json status
like "$out" '^\{"problems":\[\],' 'in JSON, no problem'

# problem NAME REGEX: status lists it and ends with 1.
problem() {
	run ctl status
	exits 1 "$1: status says no"
	like "$(printf '%s\n' "$out" | sed '1,/^PROBLEMS/d')" "$2" "$1: is listed"
}
routes ',"error":"port 80 is taken"'
problem 'a route with an error' 'route shop\.test/ of shop/web not served by the gateway of machine m1: port 80 is taken'
run ctl route ls
exits 1 'route ls, with a route that is not served'
like "$out" '^shop\.test/ .* error ' 'has its state'
like "$err" 'cannot serve route shop\.test/ of shop/web on machine m1: port 80 is taken' 'and the reason'
run ctl --json route ls
exits 1 'in JSON too'
routes ''
run ctl route ls
exits 0 'route ls, when all are served'
status_record shop ds2 cleanup_pending ',"left":[{"instance":"i","machine":"m1"}]'
problem 'a pending clean-up' 'deploy ds2 of namespace shop clean-up pending: 1 instance left; run `ployzctl deploy sweep shop`'
status_record shop ds2 unknown
problem 'an unknown outcome' 'deploy ds2 of namespace shop outcome unknown.*run `ployzctl deploy attach ds2`'
status_record shop ds2 done
facts_of unready
problem 'an instance that is not ready' 'instance shop-web-0-d2 of shop/web on machine m1 unready'
facts_of ready
answer meshd.status '{"ok":{"store":{"streams":[{"stream":"PLOYZ_INTENT","error":"the store has lost entries"}]}}}'
problem 'a store that lost entries' 'meshd of machine m1: the store has lost entries'
answer meshd.status '{"ok":{}}'
answer dnsd.status '{"ok":{"log":{"stale_since":"2026-01-01T00:00:00Z","stale_reason":"the store does not answer"}}}'
problem 'a stale projection' 'dnsd of machine m1 stale since 2026-01-01T00:00:00Z: the store does not answer'
answer dnsd.status '{"ok":{}}'
append ployz.v1.intent.namespace.broken '{"revision":1}' >"$work/out"
problem 'an entry that cannot be decoded' 'cannot decode entry [0-9]+ on ployz\.v1\.intent\.namespace\.broken'

# --- events: three streams in the order of time
run ctl events shop
exits 0 'events'
is "$(printf '%s\n' "$out" | sed -n '1,4p' | sed 's/^[^ ]* //; s/  */ /g')" "manifest 1 shop deploy d1 stored the manifest for revision 1: 1 service
intent 3 shop ada committed revision 1 by deploy d1 from m1: 1 service, 1 instance
manifest 2 shop deploy d2 stored the manifest for revision 2: 1 service
intent 4 shop ada committed revision 2 by deploy d2 from m1: 1 service, 1 instance, because: newer" 'in the order of time'
like "$out" 'facts +[0-9]+ +shop +web/0 ready on m1 at 10\.101\.1\.2' 'with the facts'
run ctl events --since "$last" shop
is "$(printf '%s\n' "$out" | head -n 1 | sed 's/^[^ ]* //; s/  */ /g')" "intent 4 shop ada committed revision 2 by deploy d2 from m1: 1 service, 1 instance, because: newer" 'from a sequence of the intent on, without what was before it'
like "$out" 'facts +[0-9]+ ' 'the other streams from that time on'
run ctl events --since 100000
is "$out" '' 'from a sequence that is not there yet: nothing'
run ctl --json events shop
like "$out" '^\{"stream":"PLOYZ_MANIFESTS","sequence":1,"time":"[^"]*","subject":"ployz\.v1\.manifest\.shop","entry":\{' 'in JSON, each with its stream'
run ctl events
like "$out" 'machine +m1 reports version 1\.2\.3' 'without a namespace, the machines too'
start "$work/background" ployzctl --bus "$bus_url" --machine m1 events -f shop
pid=$started
within 10 grep -q 'committed revision 2' "$work/background"
facts_of unready
ok 'followed: what changes is shown' within 10 grep -q 'web/0 ready, then unready on m1' "$work/background"
kill -TERM "$pid"
ended 0 'a signal ends it'

# --- the store is away: the local mirrors
mirrored() {
	"$bus" "$bus_url" request '$JS.m1.API.STREAM.INFO.PLOYZ_MANIFESTS' '' | grep -q '"messages":2'
}
within 20 mirrored
kill -KILL "$store_pid"
run ctl ns show shop
exits 0 'without the store'
like "$err" "reading this machine's local mirrors" 'says what it reads'
like "$out" 'shop:2' 'the release too'
run ctl diff shop 1
exits 1 'diff reads them too'
problem 'a store that does not answer' 'store unreachable: the local mirrors of machine m1 were read'
run ctl events shop
exits 0 'events reads them too'
done_testing
